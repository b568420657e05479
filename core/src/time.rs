//! Time as a value: an own monotone clock, spans, the wall clock beside it, and a table of deadlines.
//!
//! Nothing here reads a clock; every host hands in [`Now`].

use crate::ordered::{OrdMap, OrdSet};
use core::fmt;
use core::ops::{Add, AddAssign, Div, Mul, Sub};

/// A moment of a node's monotone clock, in nanoseconds since a zero of the host's choice.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

/// A wall clock's milliseconds since 1970. For stamping, never for deciding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// What time it is: monotone for deciding, wall for stamping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    pub at: Instant,
    pub wall: UnixMillis,
}

/// When a machine next wants to be woken, and why (for a person to read).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wake {
    pub at: Instant,
    pub why: &'static str,
}

impl Wake {
    /// The sooner of two wishes.
    pub fn soonest(a: Option<Wake>, b: Option<Wake>) -> Option<Wake> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

impl Instant {
    pub const ZERO: Instant = Instant(0);

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Instant) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn micros(n: u64) -> Span {
        Span(n * 1_000)
    }
    pub const fn millis(n: u64) -> Span {
        Span(n * 1_000_000)
    }
    pub const fn secs(n: u64) -> Span {
        Span(n * 1_000_000_000)
    }
    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl Add<Span> for Instant {
    type Output = Instant;
    fn add(self, span: Span) -> Instant {
        Instant(self.0 + span.0)
    }
}
impl AddAssign<Span> for Instant {
    fn add_assign(&mut self, span: Span) {
        self.0 += span.0;
    }
}
impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0 + other.0)
    }
}
impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}
impl Mul<u64> for Span {
    type Output = Span;
    fn mul(self, n: u64) -> Span {
        Span(self.0 * n)
    }
}
impl Div<u64> for Span {
    type Output = Span;
    fn div(self, n: u64) -> Span {
        Span(self.0 / n)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
/// Minutes, seconds and milliseconds, as the page's playhead shows them: `1:47.203`.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0 / 1_000_000;
        write!(f, "{}:{:02}.{:03}", millis / 60_000, millis / 1_000 % 60, millis % 1_000)
    }
}
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
/// `250us`, `40ms`, `1.5s`: the shortest of these that loses nothing a person would miss.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1_000;
        if micros < 1_000 {
            write!(f, "{micros}us")
        } else if micros < 1_000_000 {
            write!(f, "{}ms", micros / 1_000)
        } else if micros % 1_000_000 < 1_000 {
            write!(f, "{}s", micros / 1_000_000)
        } else {
            write!(f, "{}.{:03}s", micros / 1_000_000, micros / 1_000 % 1_000)
        }
    }
}

/// A table of named deadlines: at most one for each timer, the soonest at hand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deadlines<T: Ord + Clone> {
    by_timer: OrdMap<T, Instant>,
    by_time: OrdSet<(Instant, T)>,
}

impl<T: Ord + Clone> Default for Deadlines<T> {
    fn default() -> Self {
        Deadlines { by_timer: OrdMap::new(), by_time: OrdSet::new() }
    }
}

impl<T: Ord + Clone> Deadlines<T> {
    /// Sets a timer, replacing what it was set to.
    pub fn set(&mut self, timer: T, at: Instant) {
        match self.by_timer.insert(timer.clone(), at) {
            Some(old) if old == at => return,
            Some(old) => {
                self.by_time.remove(&(old, timer.clone()));
            }
            None => {}
        }
        self.by_time.insert((at, timer));
    }

    pub fn clear(&mut self, timer: &T) {
        if let Some(at) = self.by_timer.remove(timer) {
            self.by_time.remove(&(at, timer.clone()));
        }
    }

    pub fn clear_all(&mut self) {
        self.by_timer.clear();
        self.by_time.clear();
    }

    pub fn get(&self, timer: &T) -> Option<Instant> {
        self.by_timer.get(timer).copied()
    }

    pub fn soonest(&self) -> Option<(Instant, &T)> {
        self.by_time.first().map(|(at, timer)| (*at, timer))
    }

    /// Takes the soonest timer out if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }

    /// Every timer that is set, the soonest first.
    pub fn iter(&self) -> impl Iterator<Item = (Instant, &T)> {
        self.by_time.iter().map(|(at, timer)| (*at, timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_give_the_soonest_once() {
        let mut table = Deadlines::default();
        table.set("late", Instant(30));
        table.set("soon", Instant(50));
        table.set("soon", Instant(10));
        assert_eq!(table.soonest(), Some((Instant(10), &"soon")));
        assert_eq!(table.pop_due(Instant(9)), None);
        assert_eq!(table.pop_due(Instant(40)), Some("soon"));
        assert_eq!(table.pop_due(Instant(40)), Some("late"));
        assert_eq!(table.pop_due(Instant(40)), None);
    }

    #[test]
    fn moments_and_spans_read_well() {
        assert_eq!(Instant(107_203_000_000).to_string(), "1:47.203");
        assert_eq!(Span::micros(250).to_string(), "250us");
        assert_eq!(Span::millis(40).to_string(), "40ms");
        assert_eq!(Span::millis(1500).to_string(), "1.500s");
    }
}
