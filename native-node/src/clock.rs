//! The clocks of this machine: monotonic for deciding, wall for stamping.

use glasshouse_core::time::{Instant, Now, UnixMillis};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads both clocks. Its zero is the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: tokio::time::Instant,
}

impl Clock {
    #[expect(clippy::new_without_default, reason = "reading a clock is no default")]
    pub fn new() -> Clock {
        Clock { zero: tokio::time::Instant::now() }
    }

    pub fn now(&self) -> Now {
        let at = u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at: Instant(at), wall: UnixMillis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)) }
    }

    /// The runtime's moment of ours.
    pub fn moment(&self, at: Instant) -> tokio::time::Instant {
        self.zero + Duration::from_nanos(at.0)
    }
}
