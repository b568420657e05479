//! How simulated time follows the reader's: play, pause, speed, and the opening. Knows no world and no clock.

use glasshouse_core::time::Span;

/// A rate of simulated to real time, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    pub times: u32,
    pub over: u32,
}

/// Every speed of the slider, the slowest first.
pub const SPEEDS: [Speed; 10] = [
    Speed { times: 1, over: 100 },
    Speed { times: 1, over: 50 },
    Speed { times: 1, over: 20 },
    Speed { times: 1, over: 10 },
    Speed { times: 1, over: 5 },
    Speed { times: 1, over: 2 },
    Speed { times: 1, over: 1 },
    Speed { times: 2, over: 1 },
    Speed { times: 5, over: 1 },
    Speed { times: 10, over: 1 },
];

/// A tenth: slow enough to follow a message with the eye.
const USUAL: usize = 3;
/// The opening runs at twice real time, so that the first record is there within seconds of loading.
const OPENING: usize = 7;

/// The most simulated time one frame may ask for; a page in the background comes back without a leap.
const FRAME_MOST: f64 = 100.0;

impl Speed {
    pub fn read_out(self) -> String {
        if self.over == 1 { format!("{}×", self.times) } else { format!("{}/{}", self.times, self.over) }
    }

    /// Messages carry labels from 1/10 downward.
    pub fn is_slow(self) -> bool {
        self.over >= 10
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Playback {
    pub playing: bool,
    chosen: usize,
    /// Until the first record is committed, or until a person chooses a speed.
    opening: bool,
    /// Simulated nanoseconds owed and not yet asked for, because they are less than one.
    rest: f64,
}

impl Default for Playback {
    fn default() -> Playback {
        Playback { playing: true, chosen: USUAL, opening: true, rest: 0.0 }
    }
}

impl Playback {
    pub fn speed(&self) -> Speed {
        SPEEDS[self.index()]
    }

    /// The speed's place in [`SPEEDS`].
    pub fn index(&self) -> usize {
        if self.opening { OPENING } else { self.chosen }
    }

    pub fn choose(&mut self, index: usize) {
        self.chosen = index.min(SPEEDS.len() - 1);
        self.opening = false;
    }

    pub fn faster(&mut self) {
        self.choose(self.index() + 1);
    }

    pub fn slower(&mut self) {
        self.choose(self.index().saturating_sub(1));
    }

    pub fn is_opening(&self) -> bool {
        self.opening
    }

    pub fn end_opening(&mut self) {
        self.opening = false;
    }

    /// How far simulated time goes for `millis` of the reader's time.
    pub fn advance(&mut self, millis: f64) -> Span {
        if !self.playing {
            self.rest = 0.0;
            return Span::ZERO;
        }
        let speed = self.speed();
        let due = millis.clamp(0.0, FRAME_MOST) * 1e6 * f64::from(speed.times) / f64::from(speed.over) + self.rest;
        self.rest = due.fract();
        Span(due as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_a_tenth_however_often_the_page_paints() {
        let mut playback = Playback::default();
        playback.choose(USUAL);
        let total: u64 = (0..600).map(|_| playback.advance(1000.0 / 60.0).0).sum();
        assert!((999_999_000..=1_000_000_000).contains(&total), "{total}");
    }

    #[test]
    fn choosing_a_speed_ends_the_opening() {
        let mut playback = Playback::default();
        assert_eq!(playback.speed().read_out(), "2×");
        playback.slower();
        assert_eq!((playback.speed().read_out().as_str(), playback.is_opening()), ("1×", false));
    }

    #[test]
    fn nothing_moves_while_paused_and_a_long_sleep_is_no_leap() {
        let mut playback = Playback { playing: false, ..Playback::default() };
        assert_eq!(playback.advance(500.0), Span::ZERO);
        playback.playing = true;
        assert_eq!(playback.advance(60_000.0), Span::millis(200));
    }
}
