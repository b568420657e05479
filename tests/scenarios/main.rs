//! Stories that are held to their end: each text below this folder runs on the simulator as it stands. One that is to
//! end well is given the time in which everything must come back, and is asked whether it did.
//!
//! `expect LOG-6` says that this invariant, and none before it, is broken; without an `expect` the story ends well.
//! `# twin: RULE=VALUE` (or `# twin: default rules`) says that the same schedule under those rules ends well.
//! `# portable` says that it is told on real processes, too ([`portable`]).
//! `# sees: WORDS` says that the story tells these words in either case: the schedule does what its comments claim.

mod portable;

use glasshouse_core::rules::{HISTORICAL, Rules};
use glasshouse_core::sim::run::{Verdict, rests_at, run};
use glasshouse_core::sim::scenario::Scenario;
use glasshouse_core::sim::trace::Keep;
use glasshouse_core::time::Instant;
use glasshouse_tests::texts::{Text, below};

fn parsed(text: &Text) -> Scenario {
    Scenario::parse(&text.text).unwrap_or_else(|mistake| panic!("{}: {mistake}", text.name))
}

/// The same schedule under the rules that a twin names.
fn twin(scenario: &Scenario, rules: &str) -> Scenario {
    let mut twin = Scenario { rules: Rules::default(), expect: None, ..scenario.clone() };
    if rules != "default rules" {
        for word in rules.split_whitespace() {
            let (name, value) = word.split_once('=').expect("a twin is `default rules` or NAME=VALUE");
            twin.rules.set(name, value).expect("a twin's rule exists");
        }
    }
    twin
}

/// Runs the scenario; what is not as it says, in one sentence.
fn trouble(name: &str, scenario: &Scenario, sees: &[&str]) -> Option<String> {
    let mut scenario = scenario.clone();
    if scenario.expect.is_none() {
        scenario.length = scenario.length.max(rests_at(&scenario).since(Instant::ZERO));
    }
    let (outcome, world) = run(&scenario, Keep::Notes);
    let told: Vec<String> = world.trace.story.iter().map(ToString::to_string).collect();
    let unseen = sees.iter().find(|words| !told.iter().any(|line| line.contains(**words)));
    let ended = match &outcome.verdict {
        Verdict::Clean => "well".to_owned(),
        Verdict::Violated(v) | Verdict::Stuck(v) => format!("with {} at {}: {}", v.invariant, v.at, v.detail),
    };
    match (&scenario.expect, outcome.broken()) {
        (expected, broken) if expected.as_deref() != broken => {
            let expected = expected.as_ref().map_or("well".to_owned(), |name| format!("with {name}"));
            Some(format!("{name}: should end {expected}, but ended {ended}"))
        }
        (None, _) if !outcome.at_rest => {
            let down =
                world.hosts().iter().filter_map(|host| Some(format!("{}: {}", host.id, host.down.as_ref()?.why)));
            let down = down.collect::<Vec<_>>().join("; ");
            Some(format!("{name}: nothing is proved while something is down, cut or paused: {down}"))
        }
        _ => unseen.map(|words| format!("{name}: nothing tells {words:?}; it ended {ended}")),
    }
}

#[test]
fn every_story_ends_as_it_says_and_its_twins_end_well() {
    let texts = below("scenarios");
    assert!(!texts.is_empty(), "there are stories");
    let mut troubles = Vec::new();
    for text in &texts {
        let scenario = parsed(text);
        let sees: Vec<&str> = text.remarks("sees").collect();
        troubles.extend(trouble(&text.name, &scenario, &sees));
        for rules in text.remarks("twin") {
            troubles.extend(trouble(&format!("{} under {rules}", text.name), &twin(&scenario, rules), &[]));
        }
    }
    assert!(troubles.is_empty(), "\n{}\n", troubles.join("\n"));
}

#[test]
fn a_story_is_the_same_after_it_was_read_and_written() {
    for text in below("scenarios") {
        let scenario = parsed(&text);
        assert_eq!(Scenario::parse(&scenario.to_string()).as_ref(), Ok(&scenario), "{}", text.name);
    }
}

/// `cargo sim --rules` promises that each of them goes wrong: here is the proof, and that the mended rule does not.
#[test]
fn every_historical_rule_has_its_story_and_a_twin_that_ends_well() {
    let stories: Vec<(Scenario, usize)> =
        below("scenarios").iter().map(|text| (parsed(text), text.remarks("twin").count())).collect();
    for old in HISTORICAL {
        let shown = stories.iter().any(|(scenario, twins)| {
            scenario.expect.is_some() && *twins > 0 && scenario.rules.changed() == [(old.rule, old.value.to_owned())]
        });
        assert!(
            shown,
            "no story shows {}={} ({}) going wrong, with a twin that ends well",
            old.rule, old.value, old.issue
        );
    }
}
