//! The shared harness of the tests and of `cargo sim`.

pub mod arguments;
pub mod bench;
pub mod explore;
pub mod texts;

/// Prints a line. Nobody may read any more (`cargo sim … | head`): then it is said to nobody, and the exit code stays true.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}
