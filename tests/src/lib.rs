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

/// Prints a line. Nobody may read any more (`cargo sim … | head`): then it is said to nobody, and the exit code stays true.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}
