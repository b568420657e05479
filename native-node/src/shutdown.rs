//! When an operator wants a process to stop: SIGINT and SIGTERM. The second one no longer asks, if it comes a moment later.

use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// A signal that follows the first sooner says the same thing once more: `timeout` sends its own to its child and then to
/// the whole group, and a container's runtime or a terminal may do so as well. A person's second Ctrl-C comes later.
pub const INSISTS_AFTER: Duration = Duration::from_secs(1);

/// Hears both signals.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    asked: Asked,
}

/// What was heard so far: when the first came.
#[derive(Clone, Copy, Debug, Default)]
struct Asked(Option<Instant>);

impl Asked {
    /// One came now. True if it is a second one, which does not want to wait.
    fn hear(&mut self, now: Instant) -> bool {
        let first = *self.0.get_or_insert(now);
        now - first >= INSISTS_AFTER
    }
}

impl Signals {
    /// From now on the signals are heard and no longer kill.
    ///
    /// # Errors
    /// Of the system.
    pub fn new() -> std::io::Result<Signals> {
        let asked = Asked::default();
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, asked })
    }

    /// Returns when an end is asked for.
    pub async fn asked(&mut self) {
        self.hear().await;
    }

    /// Returns when it is asked for once more: [`INSISTS_AFTER`] the first time, or later.
    pub async fn insisted(&mut self) {
        while !self.hear().await {}
    }

    /// The next of either.
    async fn hear(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.asked.hear(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_signals_in_a_moment_are_one() {
        let mut asked = Asked::default();
        let first = Instant::now();
        let after = |ms| first + Duration::from_millis(ms);
        let heard = [0, 0, 1, 999, 1000, 5000].map(|ms| asked.hear(after(ms)));
        assert_eq!(heard, [false, false, false, false, true, true]);
    }
}
