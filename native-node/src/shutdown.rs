//! When an operator wants a process to stop: SIGINT and SIGTERM, and SIGHUP, which a terminal says that is closed. The
//! second one no longer asks, if it comes a moment later.

use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// A signal that follows the first sooner says the same thing once more: `timeout` sends its own to its child and then to
/// the whole group, and a container's runtime or a terminal may do so as well. A person's second Ctrl-C comes later.
pub const INSISTS_AFTER: Duration = Duration::from_secs(1);

/// Hears the signals.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None under `nohup`, which wants it to be ignored.
    hang_up: Option<Signal>,
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
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: minds_a_hang_up().then(|| signal(SignalKind::hangup())).transpose()?,
            asked: Asked::default(),
        })
    }

    /// Returns when an end is asked for.
    pub async fn asked(&mut self) {
        self.hear().await;
    }

    /// Returns when it is asked for once more: [`INSISTS_AFTER`] the first time, or later.
    pub async fn insisted(&mut self) {
        while !self.hear().await {}
    }

    /// The next of any.
    async fn hear(&mut self) -> bool {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
        self.asked.hear(Instant::now())
    }
}

/// Whether SIGHUP would end this process. Where the system does not tell, it is left as it is.
fn minds_a_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    // The signals' bits begin with that of signal 1, which it is.
    ignored.is_some_and(|signals| signals & 1 == 0)
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
