//! Small worlds to exhaustion: the rules as they are hold in all of them, and each old rule breaks one.

use glasshouse_core::rules::{HISTORICAL, Rules};
use glasshouse_core::sim::explore::{partition, zab};

fn old(rule: &str, value: &str) -> Rules {
    let mut rules = Rules::default();
    rules.set(rule, value).expect("it is in the list of rules");
    rules
}

/// In debug the smallest only.
const SMALL: bool = cfg!(debug_assertions);

#[test]
fn every_run_of_three_keepers_keeps_the_promises_of_zab() {
    for (crashes, time_outs) in [(1, 0), (0, 1)] {
        let states = if SMALL { 20_000 } else { u64::MAX };
        let txns = if SMALL { 1 } else { 2 };
        let bounds = zab::Bounds { txns, crashes, time_outs, states, ..zab::Bounds::default() };
        let report = zab::zab(bounds, Rules::default());
        assert_eq!(report.violations, []);
        assert!(report.exhausted || SMALL, "{report:?}");
    }
}

#[test]
fn every_run_of_one_partition_keeps_the_promises_of_its_log() {
    let one = partition::Bounds { records: 1, elections: 1, ..partition::Bounds::default() };
    let larger = [
        partition::Bounds { elections: 2, ..one },
        partition::Bounds { elections: 1, shrinks: 1, ..one },
        partition::Bounds { elections: 0, crashes: 1, shrinks: 1, ..one },
        partition::Bounds { elections: 0, power_losses: 1, ..one },
    ];
    let bounds = if SMALL { &[one][..] } else { &larger };
    // Asking first and hearing of a divergence from the fetch are equally safe.
    for rules in [Rules::default(), old("truncation", "leader-epoch-query")] {
        for bounds in bounds {
            let report = partition::partition(*bounds, rules);
            assert_eq!(report.violations, [], "{bounds:?}");
            assert!(report.exhausted, "{report:?}");
        }
    }
}

#[test]
fn every_old_rule_breaks_a_promise_in_a_small_world() {
    let keepers = zab::Bounds { txns: 1, states: 300_000, until_violation: true, ..zab::Bounds::default() };
    let replicas = partition::Bounds { states: 1_000_000, until_violation: true, ..partition::Bounds::default() };
    for it in HISTORICAL {
        let rules = old(it.rule, it.value);
        let report = match (it.rule, it.value) {
            // The small world replaces no disks; `tests/scenarios/rules` shows it.
            ("isr_members", _) => continue,
            ("truncation", "offset-only") if SMALL => continue,
            ("truncation", "offset-only") => partition::partition(replicas, rules),
            ("truncation", _) => {
                partition::partition(partition::Bounds { records: 1, elections: 1, ..replicas }, rules)
            }
            ("isr_join", _) => {
                let bounds = partition::Bounds { records: 1, elections: 0, crashes: 1, shrinks: 1, ..replicas };
                partition::partition(bounds, rules)
            }
            _ => zab::zab(keepers, rules),
        };
        let path = report.violations.first().map(|violation| violation.path.len());
        assert!(path.is_some_and(|steps| steps > 0), "{}={}: {report:?}", it.rule, it.value);
    }
}
