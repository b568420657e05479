//! `cargo sim --bench`: how fast the simulator is, on one core.

use crate::say;
use glasshouse_core::sim::run::bench;
use glasshouse_core::time::{Instant, Span};
use serde_json::json;

/// Measures and prints entries per second, the real-time factor and entries per simulated second.
pub fn run(as_json: bool) {
    let length = Span::secs(600);
    let mut world = bench(length);
    let started = std::time::Instant::now();
    world.run_until(Instant::ZERO + length);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(world.checks.fired(), None, "the bench's scenario holds its promises");
    let simulated = length.as_millis() as f64 / 1000.0;
    let (rate, factor) = (world.entries() as f64 / seconds, simulated / seconds);
    let density = world.entries() as f64 / simulated;
    if as_json {
        say!(
            "{}",
            json!({"entries_per_second": rate, "real_time_factor": factor, "entries": world.entries(),
            "entries_per_simulated_second": density, "simulated_seconds": simulated, "seconds": seconds})
        );
    } else {
        say!("{:.0} entries/s, {factor:.0}x real time, {density:.0} entries per simulated second", rate);
        say!(
            "({} entries, {simulated:.0} simulated seconds in {seconds:.2} s, one core, all checkers on)",
            world.entries()
        );
    }
}
