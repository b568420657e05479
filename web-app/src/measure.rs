//! How fast the page runs a world: the trace that `cargo sim --bench` measures, for whoever asks from outside
//! (`wasmBindings.measure(60)` in the browser's console, and the tests of the page).

use crate::browser;
use crate::draw::px;
use glasshouse_core::sim::run::{bench, keyframes};
use glasshouse_core::time::Span;
use std::fmt::Write;
use wasm_bindgen::prelude::wasm_bindgen;

/// Runs so many simulated seconds. One line: the entries, the milliseconds they took, and the trace's digest after every
/// ten seconds in hexadecimal.
#[wasm_bindgen(skip_jsdoc)]
pub fn measure(seconds: u32) -> String {
    let length = Span::secs(seconds.into());
    let mut world = bench(length);
    let begun = browser::millis();
    let digests = keyframes(&mut world, length);
    let mut line = format!("{} {}", world.entries(), px(browser::millis() - begun));
    for digest in digests {
        let _ = write!(line, " {digest:016x}");
    }
    line
}
