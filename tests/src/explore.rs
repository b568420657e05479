//! `cargo sim --explore`: exhausts small worlds, and says how it came to each violation.

use crate::say;
use glasshouse_core::check::INVARIANTS;
use glasshouse_core::rules::Rules;
use glasshouse_core::sim::explore::{Report, partition, zab};
use serde_json::json;
use std::time::Instant;

/// Explores `what`. True if nothing was violated.
///
/// # Errors
/// There is no such world.
pub fn run(what: &str, rules: Rules, as_json: bool) -> Result<bool, String> {
    let worlds = match what {
        "zab" => zab_worlds(),
        "partition" => partition_worlds(),
        _ => return Err(format!("expected zab or partition, not {what:?}")),
    };
    let mut clean = true;
    for (name, explore) in worlds {
        let started = Instant::now();
        let report = explore(rules);
        print(&name, &report, started.elapsed().as_secs_f64(), as_json);
        clean &= report.violations.is_empty();
    }
    Ok(clean)
}

/// A world's name, and its search.
type World = (String, Box<dyn FnOnce(Rules) -> Report>);

fn zab_worlds() -> Vec<World> {
    [(1, 0), (0, 1)]
        .map(|(crashes, time_outs)| -> World {
            let bounds = zab::Bounds { txns: 2, crashes, time_outs, ..zab::Bounds::default() };
            let faults = if crashes > 0 { "1 crash or power loss" } else { "1 time-out" };
            (format!("zab, 3 keepers, 2 txns, {faults}"), Box::new(move |rules| zab::zab(bounds, rules)))
        })
        .into()
}

fn partition_worlds() -> Vec<World> {
    let one = partition::Bounds { records: 1, elections: 0, ..partition::Bounds::default() };
    [
        ("1 record, 2 elections", partition::Bounds { elections: 2, ..one }),
        ("2 records, 1 election", partition::Bounds { records: 2, elections: 1, ..one }),
        ("1 record, 1 election, 1 shrink", partition::Bounds { elections: 1, shrinks: 1, ..one }),
        ("1 record, 1 crash, 1 shrink", partition::Bounds { crashes: 1, shrinks: 1, ..one }),
        ("1 record, 1 power loss", partition::Bounds { power_losses: 1, ..one }),
        (
            "2 records, 2 elections, the nearest",
            partition::Bounds { records: 2, elections: 2, states: 1_000_000, ..one },
        ),
    ]
    .map(|(words, bounds)| -> World {
        (format!("partition, 3 replicas, {words}"), Box::new(move |rules| partition::partition(bounds, rules)))
    })
    .into()
}

fn print(name: &str, report: &Report, seconds: f64, as_json: bool) {
    let rate = report.states as f64 / seconds.max(1e-9);
    if as_json {
        let violations: Vec<_> = report
            .violations
            .iter()
            .map(|v| json!({"invariant": v.invariant, "detail": v.what, "path": v.path}))
            .collect();
        say!(
            "{}",
            json!({"world": name, "states": report.states, "transitions": report.transitions, "depth": report.depth,
                "exhausted": report.exhausted, "seconds": seconds, "states_per_second": rate,
                "violations": violations})
        );
        return;
    }
    let end = if report.exhausted { "exhausted" } else { "not exhausted" };
    say!(
        "{name}: {end}, {} states, {} transitions, depth {}, {seconds:.1} s, {rate:.0} states/s",
        report.states,
        report.transitions,
        report.depth
    );
    for violation in &report.violations {
        let sentence = INVARIANTS.iter().find(|i| i.name == violation.invariant).map_or("", |i| i.sentence);
        say!("  violated {} ({sentence}): {}", violation.invariant, violation.what);
        for (at, step) in violation.path.iter().enumerate() {
            say!("    {:>3}  {step}", at + 1);
        }
    }
}
