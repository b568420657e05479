//! How fast the page runs a world: the trace that `cargo sim --bench` measures, for whoever asks from outside
//! (`wasmBindings.measure(60)` in the browser's console, and the tests of the page).

use crate::browser;
use glasshouse_core::sim::scenario::Scenario;
use glasshouse_core::sim::{World, trace::Keep};
use glasshouse_core::time::{Instant, Span};
use std::fmt::Write;
use wasm_bindgen::prelude::wasm_bindgen;

/// A digest is taken this often, as for keyframes.
const KEYFRAME_EVERY: Span = Span::secs(10);

/// Runs so many simulated seconds. One line: the entries, the milliseconds they took, and the trace's digest after every
/// ten seconds in hexadecimal.
#[wasm_bindgen]
pub fn measure(seconds: u32) -> String {
    let length = Span::secs(seconds.into());
    let mut world = World::new(&Scenario::bench(length));
    world.trace.keep = Keep::Nothing;
    let mut digests = String::new();
    let mut until = Instant::ZERO;
    let begun = browser::millis();
    while until < Instant::ZERO + length {
        until += KEYFRAME_EVERY;
        world.run_until(until);
        let _ = write!(digests, " {:016x}", world.trace_digest());
    }
    format!("{} {}{digests}", world.entries(), browser::millis() - begun)
}
