//! The shared harness of the tests and of `cargo sim`.

pub mod aftermath;
pub mod arguments;
pub mod bench;
pub mod cluster;
pub mod explore;
pub mod ledger;
pub mod load;
pub mod process;
pub mod replay;
pub mod texts;
