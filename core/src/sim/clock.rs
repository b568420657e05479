//! A node's own clocks inside the world: a monotone one whose rate may drift, and a wall clock that may jump.

use crate::time::{Instant, Now, Span, UnixMillis};

/// Maps the world's time to one node's. Continuous: a change of rate does not make the monotone clock jump.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// Parts per million by which the monotone clock runs fast (slow, if negative).
    drift_ppm: i32,
    /// Where world and node time met when the rate was last changed.
    world_anchor: Instant,
    node_anchor: Instant,
    /// The wall clock's milliseconds at the node's monotone zero.
    wall_at_zero: i64,
}

const MILLION: u64 = 1_000_000;

/// A monotone clock runs at most by half too fast or too slow, in parts per million.
pub const DRIFT_MOST: i32 = 500_000;
/// No wall clock is set further ahead (about the year 5138), nor back to before 1970.
const WALL_MOST: i64 = 100_000_000_000_000;

impl Clock {
    pub fn new(wall_at_zero: UnixMillis) -> Clock {
        Clock { drift_ppm: 0, world_anchor: Instant::ZERO, node_anchor: Instant::ZERO, wall_at_zero: wall_at_zero.0 }
    }

    /// What the node reads when the world is at `world`.
    pub fn read(&self, world: Instant) -> Now {
        let at = self.to_node(world);
        Now { at, wall: UnixMillis(self.wall_at_zero + (at.0 / MILLION) as i64) }
    }

    fn rate(&self) -> u64 {
        (MILLION as i64 + i64::from(self.drift_ppm)) as u64
    }

    fn to_node(&self, world: Instant) -> Instant {
        let elapsed = world.since(self.world_anchor).0;
        if self.drift_ppm == 0 {
            return self.node_anchor + Span(elapsed);
        }
        self.node_anchor + Span((u128::from(elapsed) * u128::from(self.rate()) / u128::from(MILLION)) as u64)
    }

    /// The first moment of the world at which the node reads `node` or later.
    pub fn to_world(&self, node: Instant) -> Instant {
        let elapsed = node.since(self.node_anchor).0;
        if self.drift_ppm == 0 {
            return self.world_anchor + Span(elapsed);
        }
        let rate = u128::from(self.rate());
        self.world_anchor + Span((u128::from(elapsed) * u128::from(MILLION)).div_ceil(rate) as u64)
    }

    /// From `world` on the monotone clock runs at another rate. Bounded to ±[`DRIFT_MOST`].
    pub fn set_drift(&mut self, world: Instant, ppm: i32) {
        self.node_anchor = self.to_node(world);
        self.world_anchor = world;
        self.drift_ppm = ppm.clamp(-DRIFT_MOST, DRIFT_MOST);
    }

    pub fn drift_ppm(&self) -> i32 {
        self.drift_ppm
    }

    /// The wall clock jumps by so many milliseconds, and never out of the years that it can show.
    pub fn jump_wall(&mut self, millis: i64) {
        self.wall_at_zero = self.wall_at_zero.saturating_add(millis).clamp(0, WALL_MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_clock_stays_continuous_and_its_wakes_are_never_early() {
        let mut clock = Clock::new(UnixMillis(1_000));
        clock.set_drift(Instant(1_000_000), 100_000);
        assert_eq!(clock.read(Instant(1_000_000)).at, Instant(1_000_000));
        assert_eq!(clock.read(Instant(11_000_000)).at, Instant(12_000_000));
        for node in [1_000_000, 1_000_001, 5_555_555, 12_000_000] {
            let world = clock.to_world(Instant(node));
            assert!(clock.read(world).at >= Instant(node));
            assert!(world == Instant(1_000_000) || clock.read(Instant(world.0 - 1)).at < Instant(node));
        }
    }

    #[test]
    fn the_wall_clock_jumps_and_the_monotone_does_not() {
        let mut clock = Clock::new(UnixMillis(1_000));
        let before = clock.read(Instant(7_000_000));
        clock.jump_wall(-500);
        let after = clock.read(Instant(7_000_000));
        assert_eq!((before.at, before.wall), (after.at, UnixMillis(after.wall.0 + 500)));
    }

    #[test]
    fn no_jump_leads_out_of_the_years_there_are() {
        let mut clock = Clock::new(UnixMillis(1_000));
        clock.jump_wall(i64::MAX);
        assert_eq!(clock.read(Instant(7_000_000)).wall, UnixMillis(WALL_MOST + 7));
        clock.jump_wall(i64::MIN);
        assert_eq!(clock.read(Instant(7_000_000)).wall, UnixMillis(7));
    }
}
