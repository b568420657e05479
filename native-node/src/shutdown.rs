//! When an operator wants a process to stop: SIGINT and SIGTERM, the second of which no longer asks.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears both signals.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals are heard and no longer kill.
    ///
    /// # Errors
    /// Of the system.
    pub fn new() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
