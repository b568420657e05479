//! `cargo sim`: runs seeds and scenarios, prints what broke, shrinks it, measures.

use glasshouse_core::check::{COUNTED, INVARIANTS};
use glasshouse_core::rules::{HISTORICAL, Rules};
use glasshouse_core::sim::World;
use glasshouse_core::sim::run::{Outcome, Verdict, conclude};
use glasshouse_core::sim::scenario::Scenario;
use glasshouse_core::sim::shrink::shrink;
use glasshouse_core::sim::swarm;
use glasshouse_core::sim::trace::Keep;
use glasshouse_core::time;
use glasshouse_tests::{arguments::Arguments, bench, explore, replay, say};
use serde_json::{Value, json};
use std::any::Any;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

const HELP: &str = "\
cargo sim: a Kafka and ZooKeeper cluster under a deterministic simulator

  --seeds A..B            run the swarm's scenarios of these seeds
  --seed N                run one seed; with --trace print every entry by its number, with --shrink a smaller
                          scenario
  --scenario FILE         run a scenario's text (- for standard input); --trace, --shrink as above
  --replay FILE           run what a native node recorded (glasshouse node --record FILE) through the same machine; with
                          --trace print every input, note and effect
  --print                 with --seed or --scenario: print the scenario instead of running it
  --doublecheck           run everything twice and compare the digests
  --rule NAME=VALUE       run under a historical rule (may be given again); --rules lists them
  --keep-going            for --seeds: do not stop at the first failing one
  --threads N             for --seeds: so many at once, 1 to 256 (default: one per core)
  --explore zab           exhaust small worlds of three keepers
  --explore partition     the same of three replicas; of the last world, which is too large, the nearest million states
  --bench                 measure the simulator
  --rules                 the historical rules: name=value, its JIRA or KIP, what goes wrong
  --invariants            the invariants: name, sentence
  --json                  print JSON lines, with any of these
  --help                  this text

Exit code: 0 clean, 2 bad usage, 3 our own assertion failed, 4 an invariant was violated, 5 a healed world did not
recover, 6 two runs of one scenario, or a node and its replay, differed, 7 the violation that a scenario expects did not
happen. A damaged recording is bad usage, and so is an option that the mode does not heed.
";

/// Exit codes, the more basic failure first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    Clean = 0,
    Usage = 2,
    Crash = 3,
    Violation = 4,
    Liveness = 5,
    Nondeterminism = 6,
    Unexpected = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<replay::Came> for Exit {
    fn from(came: replay::Came) -> Exit {
        match came {
            replay::Came::Same => Exit::Clean,
            replay::Came::Unreadable => Exit::Usage,
            replay::Came::Crashed => Exit::Crash,
            replay::Came::Differed => Exit::Nondeterminism,
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(mistake) => {
            eprintln!("cargo sim: {mistake} (--help lists what there is)");
            return Exit::Usage.into();
        }
    };
    // What one run does wrong is told with its seed; this is for all the rest.
    let exit = catch_unwind(AssertUnwindSafe(|| carry_out(&arguments))).unwrap_or_else(|panic| {
        let words = words_of(&*panic);
        if arguments.json {
            say!("{}", json!({"crash": words}));
        } else {
            say!("cargo sim: our own mistake: {words}");
        }
        Exit::Crash
    });
    exit.into()
}

fn carry_out(arguments: &Arguments) -> Exit {
    match arguments {
        _ if arguments.help => {
            say!("{}", HELP.trim_end());
            Exit::Clean
        }
        _ if arguments.rules_list => {
            list_rules(arguments.json);
            Exit::Clean
        }
        _ if arguments.invariants => {
            list_invariants(arguments.json);
            Exit::Clean
        }
        _ if arguments.bench => {
            bench::run(arguments.json);
            Exit::Clean
        }
        Arguments { explore: Some(what), .. } => match explore::run(what, arguments.rules, arguments.json) {
            Ok(true) => Exit::Clean,
            Ok(false) => Exit::Violation,
            Err(mistake) => {
                eprintln!("cargo sim: {mistake}");
                Exit::Usage
            }
        },
        Arguments { replay: Some(file), .. } => replay::run(file, arguments.trace, arguments.json).into(),
        Arguments { scenario: Some(file), .. } => one_file(file, arguments),
        Arguments { seed: Some(seed), .. } => {
            one(&swarm::scenario(*seed, arguments.rules), &format!("--seed {seed}"), arguments)
        }
        Arguments { seeds: Some((from, to)), .. } => many(*from, *to, arguments),
        _ => {
            eprint!("{HELP}");
            Exit::Usage
        }
    }
}

/// What an assertion said when it failed.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn list_rules(as_json: bool) {
    for old in HISTORICAL {
        if as_json {
            say!("{}", json!({"rule": old.rule, "value": old.value, "issue": old.issue, "wrong": old.wrong}));
        } else {
            say!("{}={}\t{}\t{}", old.rule, old.value, old.issue, old.wrong);
        }
    }
}

fn list_invariants(as_json: bool) {
    for invariant in INVARIANTS {
        if as_json {
            say!("{}", json!({"name": invariant.name, "sentence": invariant.sentence, "source": invariant.source}));
        } else {
            say!("{}\t{}", invariant.name, invariant.sentence);
        }
    }
}

fn one_file(file: &str, arguments: &Arguments) -> Exit {
    let text = if file == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cargo sim: {file} cannot be read: {error}");
            return Exit::Usage;
        }
    };
    match Scenario::parse(&text) {
        Ok(mut scenario) => {
            let told = scenario.rules;
            for (name, value) in &arguments.named_rules {
                let set = scenario.rules.set(name, value);
                assert_eq!(set, Ok(()), "a rule that is set can be set again");
            }
            // What it expects, it expects under its own rules.
            scenario.expect = scenario.expect.filter(|_| scenario.rules == told);
            one(&scenario, &format!("--scenario {file}"), arguments)
        }
        Err(mistake) => {
            eprintln!("cargo sim: {file}, {mistake}");
            Exit::Usage
        }
    }
}

/// What came of one run: an outcome, or our own assertion's words.
enum Came {
    To(Box<Outcome>),
    Crashed(Crash),
    Differed(Difference),
}

/// An assertion of ours that failed.
struct Crash {
    words: String,
    /// The last entry before it and its time; `None` if there was no world yet.
    after: Option<(u64, time::Instant)>,
}

/// Two runs of one scenario.
struct Difference {
    digests: [u64; 2],
    /// The first entry they did not have in common when they were run side by side; there they may have been the same.
    entry: Option<u64>,
}

impl Came {
    fn exit(&self) -> Exit {
        match self {
            Came::To(outcome) => match outcome.verdict {
                Verdict::Clean => Exit::Clean,
                Verdict::Violated(_) => Exit::Violation,
                Verdict::Stuck(_) => Exit::Liveness,
            },
            Came::Crashed(_) => Exit::Crash,
            Came::Differed(_) => Exit::Nondeterminism,
        }
    }

    /// What two failures have in common if they are the same failure.
    fn kind(&self) -> Option<String> {
        match self {
            Came::To(outcome) => outcome.broken().map(str::to_owned),
            Came::Crashed(crash) => {
                Some(crash.words.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned())
            }
            Came::Differed(_) => Some("digest".to_owned()),
        }
    }
}

fn try_run(scenario: &Scenario, doublecheck: bool) -> Came {
    come_of(doublecheck, || attempt(scenario), || first_difference(scenario))
}

/// What comes of one run, or of two that must be equal; `entry` finds where they begin to differ.
fn come_of(
    doublecheck: bool,
    mut run: impl FnMut() -> Result<Outcome, Crash>,
    entry: impl FnOnce() -> Option<u64>,
) -> Came {
    match run() {
        Err(crash) => Came::Crashed(crash),
        Ok(first) if doublecheck => match run() {
            Ok(second) if second.digest == first.digest => Came::To(Box::new(first)),
            Ok(second) => Came::Differed(Difference { digests: [first.digest, second.digest], entry: entry() }),
            Err(crash) => Came::Crashed(crash),
        },
        Ok(first) => Came::To(Box::new(first)),
    }
}

/// One run; of one that fails, how far it came.
fn attempt(scenario: &Scenario) -> Result<Outcome, Crash> {
    let mut kept = None;
    let whole = catch_unwind(AssertUnwindSafe(|| {
        let world = kept.insert(World::new(scenario));
        world.trace.keep = Keep::Nothing;
        world.run_until(time::Instant::ZERO + scenario.length);
        conclude(world)
    }));
    whole.map_err(|panic| {
        let after = kept.map(|world| (world.newest_entry(), world.now()));
        Crash { words: words_of(&*panic), after }
    })
}

/// Two worlds of one scenario, step by step, up to the first entry that differs.
fn first_difference(scenario: &Scenario) -> Option<u64> {
    let end = time::Instant::ZERO + scenario.length;
    let side_by_side = || {
        let [mut one, mut other] = [World::new(scenario), World::new(scenario)];
        while one.trace_digest() == other.trace_digest() {
            let goes_on = one.next_at().is_some_and(|at| at <= end);
            if !goes_on || !one.step() || !other.step() {
                return None;
            }
        }
        Some(one.newest_entry())
    };
    catch_unwind(AssertUnwindSafe(side_by_side)).ok().flatten()
}

/// How to come back to a run: what it was, and under which rules.
fn replay(which: &str, arguments: &Arguments) -> String {
    let rules = arguments.named_rules.iter().map(|(name, value)| format!(" --rule {name}={value}"));
    format!("cargo sim {which}{}", rules.collect::<String>())
}

fn print_scenario(scenario: &Scenario, as_json: bool) {
    if as_json {
        say!("{}", json!({"scenario": scenario.to_string()}));
    } else {
        say!("{}", scenario.to_string().trim_end());
    }
}

fn one(scenario: &Scenario, which: &str, arguments: &Arguments) -> Exit {
    if arguments.print {
        print_scenario(scenario, arguments.json);
        return Exit::Clean;
    }
    if arguments.trace {
        print_trace(scenario, arguments.json);
    }
    let came = try_run(scenario, arguments.doublecheck);
    let exit = exit_of(scenario, &came);
    if arguments.shrink && came.exit() != Exit::Clean {
        quietly(|| {
            let kind = came.kind();
            let fails_alike = |candidate: &Scenario| try_run(candidate, arguments.doublecheck).kind() == kind;
            let mut small = shrink(scenario, 400, fails_alike);
            if let Came::To(outcome) = &came {
                small.expect = outcome.broken().map(str::to_owned);
            }
            print_scenario(&small, arguments.json);
        });
        return exit;
    }
    report(&format!("seed {}", scenario.seed), scenario, &came, &replay(which, arguments), arguments.json);
    if let (Some(expected), Exit::Unexpected) = (&scenario.expect, exit) {
        if arguments.json {
            say!("{}", json!({"seed": scenario.seed, "expected": expected}));
        } else {
            say!("    it was to end with {expected}, which did not happen");
        }
    }
    exit
}

/// What a scenario's end is worth, whether it is reported or shrunk.
fn exit_of(scenario: &Scenario, came: &Came) -> Exit {
    match (&scenario.expect, came) {
        // A scenario that is known to violate something ends well when it does.
        (Some(expected), Came::To(outcome)) if outcome.broken() == Some(expected) => Exit::Clean,
        (Some(_), Came::To(outcome)) if outcome.broken().is_none() => Exit::Unexpected,
        _ => came.exit(),
    }
}

/// Prints every entry and note as it happens, also those before an assertion fails.
fn print_trace(scenario: &Scenario, as_json: bool) {
    // A world that cannot be made is told of by the run that is reported.
    let Ok(mut world) = catch_unwind(|| World::keeping(scenario, Keep::All)) else { return };
    let (mut entries, mut notes) = (0, 0);
    let end = time::Instant::ZERO + scenario.length;
    loop {
        let going = world.next_at().is_some_and(|at| at <= end)
            && catch_unwind(AssertUnwindSafe(|| world.step())).unwrap_or(false);
        while let Some(entry) = world.trace.entries.get(entries) {
            entries += 1;
            if as_json {
                let (at, node, what) = (entry.at.to_string(), entry.node.to_string(), entry.what.to_string());
                say!("{}", json!({"entry": entry.number, "at": at, "node": node, "what": what}));
            } else {
                say!("{:>7} {entry}", entry.number);
            }
        }
        while let Some(told) = world.trace.story.get(notes) {
            notes += 1;
            if as_json {
                let (at, node, note) = (told.at.to_string(), told.node.to_string(), told.note.to_string());
                say!("{}", json!({"entry": told.entry, "at": at, "node": node, "note": note}));
            } else {
                say!("{:>7} {told}", told.entry);
            }
        }
        if !going {
            return;
        }
    }
}

fn report(name: &str, scenario: &Scenario, came: &Came, replay: &str, as_json: bool) {
    match came {
        Came::To(outcome) if as_json => {
            let broken = match &outcome.verdict {
                Verdict::Clean => json!(null),
                Verdict::Violated(v) | Verdict::Stuck(v) => {
                    json!({"invariant": v.invariant, "at": v.at.to_string(), "entry": v.entry, "detail": v.detail,
                        "node": v.node.map(|node| node.to_string())})
                }
            };
            say!(
                "{}",
                json!({"seed": scenario.seed, "entries": outcome.entries, "simulated_seconds": outcome.length.as_millis() / 1000,
                    "digest": format!("{:016x}", outcome.digest), "broken": broken, "at_rest": outcome.at_rest,
                    "allowed_losses": outcome.allowed.len(), "losses": losses(outcome),
                    "counts": outcome.counts.iter().collect::<BTreeMap<_, _>>()})
            );
        }
        Came::To(outcome) => {
            match &outcome.verdict {
                Verdict::Clean => say!(
                    "{name}: clean, {} entries in {} simulated, {}, digest {:016x}",
                    outcome.entries,
                    outcome.length,
                    if outcome.at_rest { "and all came back" } else { "not long enough undisturbed to ask for more" },
                    outcome.digest
                ),
                Verdict::Violated(v) | Verdict::Stuck(v) => {
                    let sentence = INVARIANTS.iter().find(|i| i.name == v.invariant).map_or("", |i| i.sentence);
                    let node = v.node.map(|node| format!("{node}: ")).unwrap_or_default();
                    say!("{name}: violated {} ({sentence}) at {}, entry {}", v.invariant, v.at, v.entry);
                    say!("    {node}{}", v.detail);
                    say!("    replay   {replay} --trace");
                    say!("    shrink   {replay} --shrink");
                }
            }
            for loss in &outcome.allowed {
                say!("    allowed loss at {}: {} ({})", loss.at, loss.why, loss.invariant);
            }
        }
        Came::Crashed(Crash { words, after }) if as_json => {
            let (entry, at) = (after.map(|(entry, _)| entry), after.map(|(_, at)| at.to_string()));
            say!("{}", json!({"seed": scenario.seed, "crash": words, "entry": entry, "at": at}));
        }
        Came::Crashed(Crash { words, after }) => {
            let place = after.map(|(entry, at)| format!(" at {at}, after entry {entry}")).unwrap_or_default();
            say!("{name}: our own mistake{place}: {words}");
            say!("    replay   {replay} --trace");
            say!("    shrink   {replay} --shrink");
        }
        Came::Differed(Difference { digests: [a, b], entry }) if as_json => {
            let digests = [format!("{a:016x}"), format!("{b:016x}")];
            say!("{}", json!({"seed": scenario.seed, "digests": digests, "entry": entry}));
        }
        Came::Differed(Difference { digests: [a, b], entry }) => {
            let place = entry.map(|entry| format!(" from entry {entry} on")).unwrap_or_default();
            say!("{name}: two runs differ{place}: {a:016x} and {b:016x}");
            say!("    replay   {replay} --doublecheck");
        }
    }
}

fn losses(outcome: &Outcome) -> Vec<Value> {
    let told = outcome.allowed.iter();
    told.map(|loss| json!({"invariant": loss.invariant, "at": loss.at.to_string(), "why": loss.why})).collect()
}

/// Runs something whose assertions may fail often, without their messages.
fn quietly(run: impl FnOnce()) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    run();
    std::panic::set_hook(hook);
}

#[derive(Default)]
struct Tally {
    runs: u64,
    /// Of them, those that were asked whether everything came back.
    at_rest: u64,
    failed: u64,
    worst: Option<Exit>,
    entries: u64,
    millis: u64,
    allowed: u64,
    counts: BTreeMap<&'static str, u64>,
    broken: BTreeMap<String, u64>,
}

/// Says on standard error how far a long run is: at a terminal in one line that is written over, else now and then.
struct Progress {
    of: u64,
    began: Instant,
    at_terminal: bool,
}

impl Progress {
    fn tell(&self, tally: &Tally) {
        let (done, of, failed) = (tally.runs, self.of, tally.failed);
        if done == of || !done.is_multiple_of(if self.at_terminal { 10 } else { 1000 }) {
            return;
        }
        let left = self.began.elapsed().as_secs_f64() / done as f64 * (of - done) as f64;
        let (start, end) = if self.at_terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        eprint!("{start}{done} of {of} seeds, {failed} failed, about {:.0} min left{end}", (left / 60.0).ceil());
    }

    fn clear(&self) {
        if self.at_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn many(from: u64, to: u64, arguments: &Arguments) -> Exit {
    let started = Instant::now();
    let progress =
        Progress { of: to.saturating_sub(from), began: started, at_terminal: std::io::stderr().is_terminal() };
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            // Checked: the last seed there is has no next one.
            let taken = next
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seed| (seed < to).then(|| seed.saturating_add(1)));
            let Ok(seed) = taken else { return };
            let scenario = swarm::scenario(seed, arguments.rules);
            let came = try_run(&scenario, arguments.doublecheck);
            let Ok(mut tally) = tally.lock() else { return };
            tally.add(&came);
            if came.exit() != Exit::Clean {
                progress.clear();
                let replay = replay(&format!("--seed {seed}"), arguments);
                report(&format!("seed {seed}"), &scenario, &came, &replay, arguments.json);
                if !arguments.keep_going {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            progress.tell(&tally);
        }
    };
    quietly(|| {
        std::thread::scope(|scope| {
            for _ in 0..arguments.threads {
                scope.spawn(work);
            }
        });
    });
    progress.clear();
    let Ok(tally) = tally.into_inner() else { return Exit::Crash };
    tally.print(started.elapsed().as_secs_f64(), arguments);
    tally.worst.unwrap_or(Exit::Clean)
}

impl Tally {
    fn add(&mut self, came: &Came) {
        self.runs += 1;
        if let Came::To(outcome) = came {
            self.entries += outcome.entries;
            self.at_rest += u64::from(outcome.at_rest);
            self.millis += outcome.length.as_millis();
            self.allowed += outcome.allowed.len() as u64;
            for (what, count) in &outcome.counts {
                *self.counts.entry(what).or_default() += count;
            }
        }
        let exit = came.exit();
        if exit != Exit::Clean {
            self.failed += 1;
            self.worst = Some(self.worst.map_or(exit, |worst| worst.min(exit)));
            *self.broken.entry(came.kind().unwrap_or_default()).or_default() += 1;
        }
    }

    fn print(&self, seconds: f64, arguments: &Arguments) {
        let simulated = self.millis as f64 / 1000.0;
        let mut counts: BTreeMap<&str, u64> = COUNTED.iter().map(|name| (*name, 0)).collect();
        counts.extend(&self.counts);
        if arguments.json {
            say!(
                "{}",
                json!({"runs": self.runs, "at_rest": self.at_rest, "failed": self.failed, "entries": self.entries, "seconds": seconds,
                    "simulated_seconds": simulated, "allowed_losses": self.allowed, "counts": counts,
                    "broken": self.broken})
            );
            return;
        }
        say!(
            "{} seeds, {} failed; {} entries in {simulated:.0} simulated and {seconds:.1} real seconds ({:.0} entries/s, {:.0}x)",
            self.runs,
            self.failed,
            self.entries,
            self.entries as f64 / seconds,
            simulated / seconds
        );
        for (what, count) in &self.broken {
            say!("  {count:>8}  runs broke {what}");
        }
        for (what, count) in &counts {
            say!("  {count:>8}  {what}");
        }
        say!("  {:>8}  runs that were asked whether everything came back", self.at_rest);
        say!("  {:>8}  allowed losses", self.allowed);
        let changed = Rules::changed(&arguments.rules);
        for (name, value) in changed {
            say!("  under the rule {name}={value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::check::Violation;

    fn calm() -> Scenario {
        Scenario::parse("glasshouse scenario 1\nseed 7\nset brokers 0\nrun 1s\n").expect("a scenario")
    }

    fn violation(invariant: &'static str) -> Violation {
        Violation { invariant, at: time::Instant::ZERO, entry: 1, node: None, detail: String::new() }
    }

    fn outcome(verdict: Verdict, digest: u64) -> Outcome {
        let length = time::Span::secs(1);
        let (counts, allowed) = (glasshouse_core::check::Counts::new(), Vec::new());
        Outcome { verdict, at_rest: true, entries: 3, length, digest, counts, allowed }
    }

    fn crash(words: &str) -> Crash {
        Crash { words: words.to_owned(), after: Some((4, time::Instant::ZERO)) }
    }

    /// One of each end that a run may have.
    fn ends() -> [(Came, Exit); 5] {
        let to = |verdict| Came::To(Box::new(outcome(verdict, 1)));
        [
            (to(Verdict::Clean), Exit::Clean),
            (Came::Crashed(crash("durable 5 ≤ appended 4")), Exit::Crash),
            (to(Verdict::Violated(violation("LOG-3"))), Exit::Violation),
            (to(Verdict::Stuck(violation("LIVE-1"))), Exit::Liveness),
            (Came::Differed(Difference { digests: [1, 2], entry: None }), Exit::Nondeterminism),
        ]
    }

    #[test]
    fn the_codes_are_those_of_the_help() {
        let codes = [Exit::Clean, Exit::Usage, Exit::Crash, Exit::Violation, Exit::Liveness, Exit::Nondeterminism];
        assert_eq!(codes.map(ExitCode::from), [0, 2, 3, 4, 5, 6].map(ExitCode::from));
        assert_eq!(ExitCode::from(Exit::Unexpected), ExitCode::from(7));
        let replays = [replay::Came::Same, replay::Came::Unreadable, replay::Came::Crashed, replay::Came::Differed];
        assert_eq!(replays.map(Exit::from), [Exit::Clean, Exit::Usage, Exit::Crash, Exit::Nondeterminism]);
    }

    #[test]
    fn each_end_of_a_run_has_its_code_and_only_what_was_expected_is_well() {
        let known = Scenario { expect: Some("LOG-3".to_owned()), ..calm() };
        for (came, exit) in ends() {
            assert_eq!(exit_of(&calm(), &came), exit);
            let expected = match exit {
                Exit::Violation => Exit::Clean,
                Exit::Clean => Exit::Unexpected,
                other => other,
            };
            assert_eq!(exit_of(&known, &came), expected, "of a scenario that expects LOG-3, instead of {exit:?}");
        }
    }

    /// Of many runs the most basic failure counts, whichever came first.
    #[test]
    fn a_tally_ends_with_the_worst_that_came() {
        let mut tally = Tally::default();
        for (came, exit) in ends().into_iter().rev() {
            tally.add(&came);
            assert_eq!(tally.worst, (exit != Exit::Clean).then_some(exit).or(Some(Exit::Crash)));
        }
        assert_eq!((tally.runs, tally.failed), (5, 4));
        let broken = [("LIVE-1", 1), ("LOG-3", 1), ("digest", 1), ("durable ", 1)];
        assert_eq!(tally.broken, broken.map(|(kind, count)| (kind.to_owned(), count)).into());
    }

    #[test]
    fn two_runs_are_asked_for_the_same_digest_only_if_they_are_wanted() {
        let runs = |digests: [u64; 2]| {
            let mut digests = digests.into_iter();
            move || Ok(outcome(Verdict::Clean, digests.next().expect("no third run")))
        };
        let never = || -> Option<u64> { panic!("nobody asked where") };
        assert_eq!(come_of(false, runs([1, 2]), never).exit(), Exit::Clean);
        assert_eq!(come_of(true, runs([1, 1]), never).exit(), Exit::Clean);
        let Came::Differed(Difference { digests, entry }) = come_of(true, runs([1, 2]), || Some(5)) else {
            panic!("they differ")
        };
        assert_eq!((digests, entry), ([1, 2], Some(5)));
        let mut second_crashes = [Ok(outcome(Verdict::Clean, 1)), Err(crash("no"))].into_iter();
        assert_eq!(come_of(true, || second_crashes.next().expect("no third run"), never).exit(), Exit::Crash);
        assert_eq!(first_difference(&calm()), None, "the simulator's own runs are equal");
    }

    #[test]
    fn what_an_assertion_said_is_told() {
        let panics: [fn(); 3] = [|| panic!("no figures"), || panic!("{} of {}", 2, 3), || std::panic::panic_any(7)];
        let mut said = Vec::new();
        quietly(|| said.extend(panics.map(|panic| words_of(&*catch_unwind(panic).unwrap_err()))));
        assert_eq!(said, ["no figures", "2 of 3", ""]);
    }
}
