//! To be replaced by the Kafka message table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {}
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response<R> { Records(R) }
