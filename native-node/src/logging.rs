//! Where the log goes: standard error, as text or as JSON, behind a filter.

use crate::config::Usage;
use crate::config::check::Log;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Starts it, once for each process.
///
/// # Errors
/// One sentence, if the filter is none.
pub fn start(log: &Log) -> Result<(), Usage> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| Usage(format!("log: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // A line that cannot be written is lost: to tell of it there, as is usual, would panic, and end the node.
    let builder = builder.log_internal_errors(false);
    // A second start is a second node in one process: the first one's log serves both.
    let _ = match log.json {
        true => builder.json().try_init(),
        false => builder.with_ansi(stderr().is_terminal()).try_init(),
    };
    Ok(())
}
