//! Many worlds: the swarm's first seeds end well, equal scenarios give equal runs, and old rules and lying disks are
//! caught.

mod command;
mod model;
mod recordings;
mod stories;

use glasshouse_core::check::COUNTED;
use glasshouse_core::id::NodeId;
use glasshouse_core::rules::{HISTORICAL, Rules};
use glasshouse_core::sim::run::{Outcome, Verdict, run};
use glasshouse_core::sim::scenario::{Action, FlushMode, Scenario};
use glasshouse_core::sim::swarm;
use glasshouse_core::sim::trace::Keep;
use glasshouse_core::time::{Instant, Span};
use glasshouse_tests::texts::below;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// In debug every assertion is on and everything is ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) { 6 } else { 300 };
/// A thousand seeds hold each of what is counted at least fifty times: so many of these hold at least so many.
const COUNTED_AT_LEAST: u64 = if cfg!(debug_assertions) { 0 } else { 15 };
/// So many seeds may pass before an old rule is caught.
const SEEDS_TO_CATCH: u64 = if cfg!(debug_assertions) { 20 } else { 200 };

/// Runs what `scenario` gives for each seed, on every core, until `enough` says so; the outcomes in order of seed.
fn swarm_of(
    seeds: u64,
    scenario: impl Fn(u64) -> Scenario + Sync,
    keep: Keep,
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
            let (outcome, _) = run(&scenario(seed), keep);
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
    let outcomes = swarm_of(SEEDS, |seed| swarm::scenario(seed, Rules::default()), Keep::Nothing, |_| false);
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
    let unasked: Vec<u64> = outcomes.iter().filter(|(_, outcome)| !outcome.at_rest).map(|(seed, _)| *seed).collect();
    assert!(unasked.is_empty(), "seeds that never came to rest: nothing is proved of what must come back: {unasked:?}");
    let count = |what| outcomes.iter().map(|(_, outcome)| outcome.counts.get(what).copied().unwrap_or_default()).sum();
    let counts: BTreeMap<&str, u64> = COUNTED.into_iter().map(|what| (what, count(what))).collect();
    println!("{counts:?}");
    let seldom: Vec<_> = counts.iter().filter(|(_, count)| !(COUNTED_AT_LEAST..).contains(*count)).collect();
    assert!(seldom.is_empty(), "too seldom to prove anything (at least {COUNTED_AT_LEAST}): {seldom:?}");
    they_run_the_same_way_again(&outcomes);
}

/// Keeping the whole trace changes nothing, and neither does the way through the text.
fn they_run_the_same_way_again(outcomes: &[(u64, Outcome)]) {
    let reread = |seed| {
        let drawn = swarm::scenario(seed, Rules::default());
        Scenario::parse(&drawn.to_string()).expect("a scenario's own text can be read")
    };
    let again = swarm_of(SEEDS, reread, Keep::All, |_| false);
    assert_eq!(again.len(), outcomes.len());
    for ((seed, first), (_, second)) in outcomes.iter().zip(&again) {
        assert_eq!((first.digest, first.entries), (second.digest, second.entries), "seed {seed}");
    }
}

/// Every eye of the checkers is open: a hook that nothing reaches is a checker that cannot fail. What is too rare for so
/// few seeds, a story shows.
#[test]
fn every_observation_reaches_the_checkers() {
    let seeds = if cfg!(debug_assertions) { 4 } else { 50 };
    let mut ran: BTreeMap<&str, u64> = BTreeMap::new();
    let drawn = (0..seeds).map(|seed| swarm::scenario(seed, Rules::default()));
    let told = below("scenarios/brokers").into_iter().map(|text| Scenario::parse(&text.text).expect("it is a story"));
    for scenario in drawn.chain(told) {
        let (_, world) = run(&scenario, Keep::Nothing);
        for (hook, times) in world.checks.wiring() {
            *ran.entry(hook).or_default() += times;
        }
    }
    println!("{ran:?}");
    let never: Vec<_> = ran.iter().filter(|(_, times)| **times == 0).collect();
    assert!(never.is_empty() || cfg!(debug_assertions), "the checkers are never told that {never:?}");
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

/// At least four of them, by chance alone; `tests/scenarios/rules` shows each of them.
#[test]
fn most_old_rules_are_caught_by_drawn_scenarios() {
    let mut caught = Vec::new();
    let mut missed = Vec::new();
    for old in HISTORICAL {
        let mut rules = Rules::default();
        rules.set(old.rule, old.value).expect("it is in the list of rules");
        let outcomes = swarm_of(
            SEEDS_TO_CATCH,
            |seed| swarm::scenario(seed, rules),
            Keep::Nothing,
            |outcome| outcome.broken().is_some(),
        );
        match outcomes.iter().find_map(|(seed, outcome)| Some((seed, outcome.broken()?))) {
            Some((seed, invariant)) => caught.push(format!("{}={}: {invariant}, seed {seed}", old.rule, old.value)),
            None => missed.push(format!("{}={}", old.rule, old.value)),
        }
    }
    println!("caught:\n  {}\nmissed: {missed:?}", caught.join("\n  "));
    let least = if cfg!(debug_assertions) { 1 } else { 4 };
    assert!(caught.len() >= least, "caught {caught:?}, missed {missed:?}");
}

/// Runs seeds with disks that answer a sync without doing it, until one breaks something. Gives what it breaks.
fn lied(liars: impl Fn(&Scenario) -> Vec<NodeId> + Sync) -> Option<&'static str> {
    let lying = |seed: u64| {
        let mut scenario = swarm::scenario(seed, Rules::default());
        // What replicas hold in their page caches only is owed to nobody.
        scenario.settings.flush = FlushMode::Batch;
        for node in liars(&scenario) {
            scenario.act(Instant::ZERO + Span::secs(1), Action::LyingDisk(node));
        }
        scenario
    };
    let outcomes = swarm_of(50, lying, Keep::Nothing, |outcome| outcome.broken().is_some());
    outcomes.iter().find_map(|(_, outcome)| outcome.broken())
}

/// The proof that durability is really looked at.
#[test]
fn lying_disks_of_keepers_are_caught() {
    let keepers = |scenario: &Scenario| (1..=scenario.settings.keepers).map(|n| NodeId::keeper(n as u8)).collect();
    assert_eq!(lied(keepers), Some("ZAB-11"));
}

#[test]
fn lying_disks_of_brokers_are_caught() {
    assert_eq!(lied(|scenario| (1..=scenario.settings.brokers).map(NodeId::Broker).collect()), Some("LOG-8"));
}
