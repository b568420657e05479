//! Many worlds: the swarm's first seeds end well, equal scenarios give equal runs, and old rules and lying disks are
//! caught.

mod model;
mod stories;

use glasshouse_core::id::NodeId;
use glasshouse_core::rules::{HISTORICAL, Rules};
use glasshouse_core::sim::run::{Outcome, Verdict, run};
use glasshouse_core::sim::scenario::{Action, Scenario};
use glasshouse_core::sim::swarm;
use glasshouse_core::sim::trace::Keep;
use glasshouse_core::time::{Instant, Span};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// In debug every assertion is on and everything is ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 6 } else { 300 };
const SEEDS_TWICE: u64 = if cfg!(debug_assertions) { 2 } else { 20 };
/// So many seeds may pass before an old rule is caught.
const SEEDS_TO_CATCH: u64 = if cfg!(debug_assertions) { 20 } else { 200 };

/// Runs what `scenario` gives for each seed, on every core, until `enough` says so; the outcomes in order of seed.
fn swarm_of(
    seeds: u64,
    scenario: impl Fn(u64) -> Scenario + Sync,
    enough: impl Fn(&Outcome) -> bool + Sync,
) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let (outcome, _) = run(&scenario(seed), Keep::Nothing);
            if enough(&outcome) {
                next.store(seeds, Ordering::Relaxed);
            }
            outcomes.lock().expect("no run panics").push((seed, outcome));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no run panics");
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes
}

#[test]
fn the_first_seeds_end_well() {
    let outcomes = swarm_of(SEEDS, |seed| swarm::scenario(seed, Rules::default()), |_| false);
    let troubles: Vec<String> = outcomes
        .iter()
        .filter_map(|(seed, outcome)| match &outcome.verdict {
            Verdict::Clean => None,
            Verdict::Violated(v) | Verdict::Stuck(v) => {
                Some(format!("seed {seed}: {} at {}: {}", v.invariant, v.at, v.detail))
            }
        })
        .collect();
    assert_eq!(outcomes.len() as u64, SEEDS);
    assert!(troubles.is_empty(), "\n{}\ncargo sim --seed N --trace shows one\n", troubles.join("\n"));
}

#[test]
fn a_scenario_runs_the_same_way_twice() {
    for seed in 0..SEEDS_TWICE {
        let scenario = swarm::scenario(seed, Rules::default());
        let (first, _) = run(&scenario, Keep::Nothing);
        // Keeping the whole trace changes nothing, and neither does the way through the text.
        let again = Scenario::parse(&scenario.to_string()).expect("a scenario's own text can be read");
        let (second, _) = run(&again, Keep::All);
        assert_eq!((first.digest, first.entries), (second.digest, second.entries), "seed {seed}");
    }
}

#[test]
fn a_world_that_was_cloned_goes_on_as_the_first() {
    let scenario = swarm::scenario(3, Rules::default());
    let mut world = glasshouse_core::sim::World::new(&scenario);
    world.run_until(Instant::ZERO + Span::secs(10));
    let mut other = world.clone();
    world.run_until(Instant::ZERO + Span::secs(20));
    other.run_until(Instant::ZERO + Span::secs(20));
    assert_eq!(world.digest(), other.digest());
}

/// At least four of the six, by chance alone; `tests/scenarios/rules` shows each of them.
#[test]
fn most_old_rules_are_caught_by_drawn_scenarios() {
    let mut caught = Vec::new();
    let mut missed = Vec::new();
    for old in HISTORICAL {
        let mut rules = Rules::default();
        rules.set(old.rule, old.value).expect("it is in the list of rules");
        let outcomes =
            swarm_of(SEEDS_TO_CATCH, |seed| swarm::scenario(seed, rules), |outcome| outcome.broken().is_some());
        match outcomes.iter().find_map(|(seed, outcome)| Some((seed, outcome.broken()?))) {
            Some((seed, invariant)) => caught.push(format!("{}={}: {invariant}, seed {seed}", old.rule, old.value)),
            None => missed.push(format!("{}={}", old.rule, old.value)),
        }
    }
    println!("caught:\n  {}\nmissed: {missed:?}", caught.join("\n  "));
    let least = if cfg!(debug_assertions) { 1 } else { 4 };
    assert!(caught.len() >= least, "caught {caught:?}, missed {missed:?}");
}

/// The proof that durability is really looked at: disks that answer a sync without doing it.
#[test]
fn lying_disks_are_caught() {
    let lying = |seed: u64| {
        let mut scenario = swarm::scenario(seed, Rules::default());
        for keeper in 1..=scenario.settings.keepers {
            scenario.act(Instant::ZERO + Span::secs(1), Action::LyingDisk(NodeId::keeper(keeper as u8)));
        }
        scenario
    };
    let outcomes = swarm_of(50, lying, |outcome| outcome.broken().is_some());
    let caught = outcomes.iter().find_map(|(seed, outcome)| Some((seed, outcome.broken()?)));
    assert!(caught.is_some(), "50 seeds with lying disks, and nobody noticed");
}
