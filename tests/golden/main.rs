//! Golden transcripts: what a short scenario tells, word for word, kept beside it in the same file.
//!
//! A file is a scenario, a line `----`, and the transcript. `UPDATE_EXPECT=1 cargo golden` writes the transcripts anew;
//! then read the difference. `# tell: keeper-1 broker` keeps the nodes whose names begin so; without it all are kept.
//! `# of: scenarios/rules/x.txt` stands for the scenario of that file of `tests/`; `# hush: WORDS`
//! leaves out the lines that hold these words. `# wire: PROPOSAL ACK` shows what those nodes send of these kinds, too.

use glasshouse_core::id::NodeId;
use glasshouse_core::rules::HISTORICAL;
use glasshouse_core::sim::run::{Verdict, run};
use glasshouse_core::sim::scenario::Scenario;
use glasshouse_core::sim::trace::{Entry, Keep, What};
use glasshouse_tests::texts::{Text, below};
use std::fmt::Write;

const RULER: &str = "\n----\n";

/// What the scenario tells, and how it ends.
fn transcript(text: &Text, scenario: &Scenario) -> String {
    let wanted: Vec<&str> = text.remarks("tell").flat_map(str::split_whitespace).collect();
    let hushed: Vec<&str> = text.remarks("hush").collect();
    let wire: Vec<&str> = text.remarks("wire").flat_map(str::split_whitespace).collect();
    let (outcome, world) = run(scenario, if wire.is_empty() { Keep::Notes } else { Keep::All });
    let mut lines = String::new();
    let mut show = |node: NodeId, line: String| {
        let node = node.to_string();
        let is_wanted = wanted.is_empty() || wanted.iter().any(|start| node.starts_with(start));
        if is_wanted && !hushed.iter().any(|words| line.contains(words)) {
            writeln!(lines, "{line}").expect("a string takes all");
        }
    };
    // What a step tells stands before what it sends.
    let mut sent = world.trace.entries.iter().filter(|entry| is_sent(entry, &wire)).peekable();
    for told in world.trace.story.iter() {
        while let Some(entry) = sent.next_if(|entry| entry.at < told.at) {
            show(entry.node, entry.to_string());
        }
        show(told.node, told.to_string());
    }
    sent.for_each(|entry| show(entry.node, entry.to_string()));
    for host in world.hosts() {
        if let Some(down) = &host.down {
            writeln!(lines, "{} is down: {}", host.id, down.why).expect("a string takes all");
        }
    }
    let end = match &outcome.verdict {
        Verdict::Clean => "ends well".to_owned(),
        Verdict::Violated(v) | Verdict::Stuck(v) => format!("breaks {} at {}: {}", v.invariant, v.at, v.detail),
    };
    writeln!(lines, "{end}").expect("a string takes all");
    lines
}

/// Is it a message of one of these kinds that leaves a node?
fn is_sent(entry: &Entry, kinds: &[&str]) -> bool {
    let What::Sent { label, .. } = entry.what else { return false };
    let label = label.to_string();
    label.split([' ', ',']).next().is_some_and(|kind| kinds.contains(&kind))
}

/// The first line in which they differ, with both sides.
fn difference(kept: &str, told: &str) -> String {
    let (mut kept, mut told) = (kept.lines(), told.lines());
    let mut line = 0;
    loop {
        line += 1;
        match (kept.next(), told.next()) {
            (None, None) => return "only the ends of lines differ".to_owned(),
            (a, b) if a == b => {}
            (a, b) => {
                let side = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return format!("line {line} of the transcript\n    kept: {}\n    told: {}", side(a), side(b));
            }
        }
    }
}

/// The scenario of a file, which may be told elsewhere.
fn scenario_of(text: &Text) -> Scenario {
    let (script, _) = text.text.split_once(RULER).unwrap_or((text.text.trim_end(), ""));
    let told_elsewhere = text.remarks("of").next().map(|file| {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {}: {error}", text.name, file.display()))
    });
    Scenario::parse(told_elsewhere.as_deref().unwrap_or(script))
        .unwrap_or_else(|mistake| panic!("{}: {mistake}", text.name))
}

#[test]
fn each_scenario_tells_what_it_told_before() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let texts = below("golden");
    assert!(!texts.is_empty(), "there are transcripts");
    let mut troubles = Vec::new();
    for text in &texts {
        let (script, kept) = text.text.split_once(RULER).unwrap_or((text.text.trim_end(), ""));
        let told = transcript(text, &scenario_of(text));
        if told == kept {
            continue;
        }
        if update {
            std::fs::write(&text.file, format!("{script}{RULER}{told}")).expect("a transcript can be written");
        } else {
            troubles.push(format!("{}: {}", text.name, difference(kept, &told)));
        }
    }
    assert!(troubles.is_empty(), "\n{}\nUPDATE_EXPECT=1 cargo golden writes them anew\n", troubles.join("\n"));
}

/// Each old rule is told once, word for word, down to what it breaks.
#[test]
fn every_historical_rule_has_its_transcript() {
    let texts = below("golden/rules");
    let breaks = |text: &Text| text.text.lines().next_back().is_some_and(|line| line.starts_with("breaks "));
    let told: Vec<_> = texts.iter().filter(|text| breaks(text)).map(|text| scenario_of(text).rules).collect();
    for old in HISTORICAL {
        assert!(
            told.iter().any(|rules| rules.changed() == [(old.rule, old.value.to_owned())]),
            "no transcript tells how {}={} ({}) goes wrong",
            old.rule,
            old.value,
            old.issue
        );
    }
}
