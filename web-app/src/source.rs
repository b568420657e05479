//! Where views come from. The page draws what a source shows and hands it the reader's intentions.

use crate::intent::{Stone, Target, TimeIntent};
use crate::playback::Speed;
use glasshouse_core::time::Instant;
use glasshouse_core::view::ClusterView;
use std::rc::Rc;

/// What the time bar shows beside the view.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    pub playing: bool,
    /// At the newest moment there is.
    pub live: bool,
    pub speed: Speed,
    /// The place of the speed on the slider.
    pub notch: usize,
    /// Until the first record is committed time runs faster than the reader's choice.
    pub opening: bool,
    /// The speed that is reached, in hundredths of real time, when it falls behind the wished one.
    pub reached: Option<u32>,
}

pub trait Source {
    /// The cluster at the playhead. The same pointer as long as nothing changed.
    fn view(&self) -> Rc<ClusterView>;

    fn clock(&self) -> Clock;

    /// A frame is about to be painted, `millis` after the one before; `budget` milliseconds may be spent.
    fn frame(&mut self, millis: f64, budget: f64, clock: &dyn Fn() -> f64);

    fn time(&mut self, intent: TimeIntent);

    /// Throws a stone at the playhead's moment.
    fn throw(&mut self, stone: Stone, target: Target);

    /// The seed of the run, to name it by.
    fn seed(&self) -> u64;

    /// The moment reached, for the last words after a panic.
    fn now(&self) -> Instant {
        self.view().now
    }
}
