//! `cargo sim` as a shell sees it: its exit codes, its lines for people, its lines for programs.

use glasshouse_core::check::INVARIANTS;
use glasshouse_core::rules::HISTORICAL;
use glasshouse_tests::texts;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// What came of one command.
pub struct Came {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Came {
    /// Every line as JSON.
    pub fn lines(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        self.out.lines().map(read).collect()
    }
}

fn told(line: &str, text: &str) -> Came {
    let mut sim = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo sim can be started");
    // A command that reads no scenario may have ended by now.
    let _ = sim.stdin.take().expect("it has an input").write_all(text.as_bytes());
    let came = sim.wait_with_output().expect("cargo sim ends");
    let words = |bytes: Vec<u8>| String::from_utf8(bytes).expect("cargo sim writes UTF-8");
    Came { code: came.status.code(), out: words(came.stdout), err: words(came.stderr) }
}

/// A command that reads no scenario.
pub fn sim(line: &str) -> Came {
    told(line, "")
}

/// Three keepers and one client, for two seconds; the settings that all stories here have in common.
const CALM: &str = "\
glasshouse scenario 1
seed 7
set brokers 0
set tick 100ms
set dead-peer 500ms
set broker-session 100ms
set replica-lag 100ms
set fetch-backoff 100ms
set request-timeout 100ms
zookeeper-client rate 5
";

fn calm(more: &str) -> String {
    format!("{CALM}{more}")
}

/// Acknowledgements from page caches: broken by the first commit.
const BROKEN: &str = "rule proposal_ack=before-sync\nrun 5s\n";

#[test]
fn each_end_has_its_exit_code() {
    let expected = calm(&format!("{BROKEN}expect ZAB-11\n"));
    let (broken, unlike) = (calm(BROKEN), calm(&format!("{BROKEN}expect LOG-6\n")));
    let unexpected = calm("run 2s\nexpect ZAB-11\n");
    // It stopped by itself, and nobody starts it when there is space again.
    let stuck = calm("run 14s\nat 1s full-disk keeper-2\nat 2s good-disk keeper-2\n");
    let clean = calm("run 2s\n");
    for (text, options, code) in [
        (&clean, "", 0),
        (&clean, "--doublecheck", 0),
        (&clean, "--shrink", 0),
        (&clean, "--rule proposal_ack=before-sync", 4),
        (&expected, "", 0),
        (&expected, "--shrink", 0),
        // What it expects, it expects under its own rules.
        (&expected, "--rule proposal_ack=after-sync", 0),
        (&broken, "", 4),
        (&broken, "--shrink", 4),
        (&unlike, "", 4),
        (&stuck, "", 5),
        (&unexpected, "", 7),
        (&unexpected, "--shrink", 7),
    ] {
        for json in ["", " --json"] {
            let came = told(&format!("--scenario - {options}{json}"), text);
            assert_eq!(came.code, Some(code), "{options}{json}\n{text}{}{}", came.out, came.err);
        }
    }
}

#[test]
fn bad_usage_is_one_sentence_on_standard_error() {
    for line in [
        "--seeds",
        "--seeds 9..3",
        "--seeds 0..9 --trace",
        "--seeds 0..9 --shrink",
        "--seeds 0..9 --print",
        "--seeds 0..9 --threads 0",
        "--seed many",
        "--seed 1 --seeds 0..9",
        "--seed 1 --rule truncation=never",
        "--bench --rule truncation=high-watermark",
        "--rules --invariants",
        "--explore everything",
        "--scenario no-such-file.txt",
        "--replay no-such-file.rec",
        "--speed",
    ] {
        let came = sim(line);
        assert_eq!(came.code, Some(2), "{line}: {}{}", came.out, came.err);
        assert_eq!(came.out, "", "{line}");
        let one = came.err.lines().count() == 1 && came.err.starts_with("cargo sim: ");
        assert!(one, "{line}: {}", came.err);
    }
    let nothing = sim("");
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(2), ""));
    assert!(nothing.err.contains("--seeds A..B"), "{}", nothing.err);
    let mistaken = told("--scenario -", &calm("at 1s explode keeper-1\n"));
    assert_eq!(mistaken.code, Some(2));
    assert!(mistaken.err.starts_with("cargo sim: -, line 11: expected kill"), "{}", mistaken.err);
}

#[test]
fn the_help_names_every_option_and_every_exit_code() {
    let help = sim("--help");
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for words in ["--seeds A..B", "--scenario FILE", "--json", "0 clean", "2 bad usage", "3 our own", "7 the violation"]
    {
        assert!(help.out.contains(words), "{words}: {}", help.out);
    }
}

/// Who reads a failure knows which run, which invariant and which entry, and how to come back to it.
#[test]
fn a_violation_is_told_with_its_seed_its_entry_and_its_invariant() {
    let came = told("--scenario -", &calm(BROKEN));
    let first = came.out.lines().next().unwrap_or_default();
    assert!(first.starts_with("seed 7: violated ZAB-11 ("), "{}", came.out);
    let entry = first.rsplit_once(", entry ").and_then(|(_, entry)| entry.parse::<u64>().ok());
    assert!(entry.is_some_and(|entry| entry > 0), "{first}");
    assert!(came.out.contains("replay   cargo sim --scenario - --trace"), "{}", came.out);

    let lines = told("--scenario - --json", &calm(BROKEN)).lines();
    let [run] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!((&run["seed"], &run["broken"]["invariant"]), (&7.into(), &"ZAB-11".into()));
    assert_eq!(run["broken"]["entry"].as_u64(), entry);
    assert!(run["broken"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{run}");
    // Nothing was lost that might be.
    assert_eq!((&run["allowed_losses"], &run["losses"]), (&0.into(), &Value::Array(Vec::new())));
}

#[test]
fn what_was_shrunk_is_a_scenario_that_expects_what_it_breaks() {
    let small = told("--scenario - --shrink", &calm(BROKEN));
    assert!(small.out.starts_with("glasshouse scenario 1\n"), "{}", small.out);
    assert!(small.out.contains("\nexpect ZAB-11\n"), "{}", small.out);
    let again = told("--scenario -", &small.out);
    assert_eq!(again.code, Some(0), "{}", again.out);
    let lines = told("--scenario - --shrink --json", &calm(BROKEN)).lines();
    let [shrunk] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!(shrunk["scenario"].as_str().map(str::trim_end), Some(small.out.trim_end()));
}

#[test]
fn a_trace_tells_entries_and_notes_and_then_how_it_ended() {
    let plain = told("--scenario - --trace", &calm("run 1s\n"));
    assert!(plain.out.lines().any(|line| line.contains("keeper-1") && line.contains(" * ")), "{}", plain.out);
    assert!(plain.out.lines().next_back().is_some_and(|line| line.starts_with("seed 7: clean, ")), "{}", plain.out);

    let mut lines = told("--scenario - --trace --json", &calm("run 1s\n")).lines();
    let end = lines.pop().expect("it ends");
    assert_eq!((&end["seed"], &end["broken"]), (&7.into(), &Value::Null));
    let numbers = |what: &str| -> Vec<u64> {
        lines.iter().filter(|line| line[what].is_string()).filter_map(|it| it["entry"].as_u64()).collect()
    };
    let (entries, notes) = (numbers("what"), numbers("note"));
    assert_eq!(entries.len() + notes.len(), lines.len(), "each line is an entry or a note");
    assert!(entries[0] == 1 && entries.is_sorted_by(|a, b| a < b), "the numbers of entries rise from 1: {entries:?}");
    assert!(
        !notes.is_empty() && notes.iter().all(|entry| entries.contains(entry)),
        "a note names its entry: {notes:?}"
    );
    // Steps are counted, too.
    assert!(end["entries"].as_u64() >= entries.last().copied(), "{end}");
    let first = plain.out.lines().next().unwrap_or_default();
    assert!(first.trim_start().starts_with("1 0:00.000 keeper-1 starts"), "{first}");
}

/// Who reads of a violation can look its entry up in the trace: one of that number, at that time, on that node.
#[test]
fn the_entry_that_a_violation_names_is_in_the_trace() {
    let mut seen = 0;
    for text in texts::below("scenarios/rules") {
        let command = format!("--scenario {} --trace", text.file.display());
        let mut lines = sim(&format!("{command} --json")).lines();
        let end = lines.pop().expect("it ends");
        let broken = &end["broken"];
        let named = lines.iter().filter(|line| line["what"].is_string() && line["entry"] == broken["entry"]);
        let named: Vec<&Value> = named.collect();
        let [line] = named[..] else { panic!("{}: one entry of the number in {broken}: {named:?}", text.name) };
        assert_eq!(line["at"], broken["at"], "{}: {line}", text.name);
        if broken["node"].is_string() {
            assert_eq!(line["node"], broken["node"], "{}: {line}", text.name);
        }
        let (entry, at) = (broken["entry"].to_string(), broken["at"].as_str().unwrap_or_default());
        let plain = sim(&command).out;
        let has_it = |line: &str| line.trim_start().starts_with(&format!("{entry} {at} "));
        assert!(plain.lines().any(has_it), "{}: no line of {entry} at {at}", text.name);
        seen += 1;
    }
    assert!(seen >= 7, "{seen} stories of historical rules");
}

#[test]
fn a_seed_is_printed_as_the_scenario_it_stands_for() {
    let printed = sim("--seed 4711 --print");
    assert_eq!(printed.code, Some(0));
    assert!(printed.out.starts_with("glasshouse scenario 1\nseed 4711\n"), "{}", printed.out);
    let lines = sim("--seed 4711 --print --json").lines();
    let [line] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!(line["scenario"].as_str(), Some(printed.out.as_str()));
    // It is understood again, and means the same.
    assert_eq!(told("--scenario - --print", &printed.out).out, printed.out);
}

/// The last seeds there are: what counts them does not begin anew after the last.
#[test]
fn seeds_end_with_a_tally() {
    let end = u64::MAX;
    let rule = "--rule newleader_ack=before-history";
    let came = sim(&format!("--seeds {}..{end} --threads 2 --keep-going --json {rule}", end - 1));
    let lines = came.lines();
    let tally = lines.last().expect("there is a tally");
    assert_eq!(tally["runs"], 1, "{tally}");
    let failed = tally["failed"].as_u64().expect("a number");
    assert_eq!(lines.len() as u64, 1 + failed, "{}", came.out);
    assert_eq!(came.code == Some(0), failed == 0, "{:?}: {}", came.code, came.out);
    for run in &lines[..lines.len() - 1] {
        assert_eq!(run["seed"].as_u64(), Some(end - 1));
    }
}

#[test]
fn rules_and_invariants_are_lines_of_columns() {
    let rules = sim("--rules");
    let columns: Vec<Vec<&str>> = rules.out.lines().map(|line| line.split('\t').collect()).collect();
    let expected: Vec<Vec<String>> = HISTORICAL
        .iter()
        .map(|old| vec![format!("{}={}", old.rule, old.value), old.issue.to_owned(), old.wrong.to_owned()])
        .collect();
    assert_eq!(
        (rules.code, columns),
        (Some(0), expected.iter().map(|it| it.iter().map(String::as_str).collect()).collect())
    );

    let invariants = sim("--invariants");
    let columns: Vec<_> = invariants.out.lines().filter_map(|line| line.split_once('\t')).collect();
    let expected: Vec<_> = INVARIANTS.iter().map(|it| (it.name, it.sentence)).collect();
    assert_eq!((invariants.code, columns), (Some(0), expected));
    assert!(!invariants.out.replacen('\t', "", INVARIANTS.len()).contains('\t'), "two columns");

    for (line, keys, count) in [
        ("--rules --json", &["rule", "value", "issue", "wrong"][..], HISTORICAL.len()),
        ("--invariants --json", &["name", "sentence", "source"][..], INVARIANTS.len()),
    ] {
        let came = sim(line);
        let lines = came.lines();
        assert_eq!((came.code, lines.len()), (Some(0), count), "{line}");
        for told in &lines {
            assert!(keys.iter().all(|key| told[key].as_str().is_some_and(|text| !text.is_empty())), "{line}: {told}");
        }
    }
}

/// In debug what is measured, and what is exhausted, takes minutes.
#[test]
fn what_is_measured_and_exhausted_is_told_by_name() {
    if cfg!(debug_assertions) {
        return;
    }
    let came = sim("--bench --json");
    let lines = came.lines();
    let [bench] = &lines[..] else { panic!("one line: {lines:?}") };
    for key in
        ["entries_per_second", "real_time_factor", "entries", "entries_per_simulated_second", "simulated_seconds"]
    {
        assert!(bench[key].as_f64().is_some_and(|figure| figure > 0.0), "{key}: {bench}");
    }
    assert_eq!(came.code, Some(0));
    let came = sim("--explore zab --json --rule newleader_ack=epoch-first");
    let worlds = came.lines();
    assert_eq!(came.code, Some(4));
    assert!(worlds.iter().all(|world| world["world"].is_string() && world["states"].as_u64() > Some(0)), "{worlds:?}");
    let broken = |world: &Value| world["violations"][0]["invariant"].is_string();
    assert!(worlds.iter().any(broken), "{worlds:?}");
}
