//! To be replaced by ZooKeeper's client vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {}
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {}
