//! The shared harness of the tests and of `cargo sim`.

pub mod arguments;
pub mod bench;
pub mod explore;
pub mod process;
pub mod replay;
pub mod texts;
