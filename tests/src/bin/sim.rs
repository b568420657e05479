//! `cargo sim`: runs seeds and scenarios, prints what broke, shrinks it, measures.

use glasshouse_core::check::INVARIANTS;
use glasshouse_core::rules::{HISTORICAL, Rules};
use glasshouse_core::sim::run::{Outcome, Verdict, run};
use glasshouse_core::sim::scenario::Scenario;
use glasshouse_core::sim::shrink::shrink;
use glasshouse_core::sim::swarm;
use glasshouse_core::sim::trace::Keep;
use glasshouse_tests::{arguments::Arguments, bench, explore, replay};
use serde_json::json;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

const HELP: &str = "\
cargo sim: a Kafka and ZooKeeper cluster under a deterministic simulator

  --seeds A..B            run the swarm's scenarios of these seeds
  --seed N                run one seed; with --trace print every entry, with --shrink a smaller scenario
  --scenario FILE         run a scenario's text (- for standard input); --trace, --shrink as above
  --replay FILE           run what a native node recorded (glasshouse node --record FILE) through the same machine; with
                          --trace print every input, note and effect
  --print                 with --seed: print its scenario instead of running it
  --doublecheck           run everything twice and compare the digests
  --rule NAME=VALUE       run under a historical rule (may be given again); --rules lists them
  --keep-going            do not stop at the first failing seed
  --threads N             for --seeds (default: one per core)
  --explore zab           exhaust a small world of three keepers; --explore partition, one of three replicas
  --bench                 measure the simulator
  --rules                 the historical rules: name=value, its JIRA or KIP, what goes wrong
  --invariants            the invariants: name, sentence
  --json                  print JSON lines
  --help                  this text

Exit code: 0 clean, 2 bad usage, 3 our own assertion failed, 4 an invariant was violated, 5 a healed world did not
recover, 6 two runs of one scenario, or a node and its replay, differed. A damaged recording is bad usage.
";

/// Exit codes, the more basic failure first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    Clean = 0,
    Usage = 2,
    Crash = 3,
    Violation = 4,
    Liveness = 5,
    Nondeterminism = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
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
    let exit = match &arguments {
        _ if arguments.help => {
            print!("{HELP}");
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
        Arguments { replay: Some(file), .. } => match replay::run(file, arguments.trace, arguments.json) {
            replay::Came::Same => Exit::Clean,
            replay::Came::Unreadable => Exit::Usage,
            replay::Came::Crashed => Exit::Crash,
            replay::Came::Differed => Exit::Nondeterminism,
        },
        Arguments { scenario: Some(file), .. } => one_file(file, &arguments),
        Arguments { seed: Some(seed), .. } => one(&swarm::scenario(*seed, arguments.rules), &arguments),
        Arguments { seeds: Some((from, to)), .. } => many(*from, *to, &arguments),
        _ => {
            eprint!("{HELP}");
            Exit::Usage
        }
    };
    exit.into()
}

fn list_rules(as_json: bool) {
    for old in HISTORICAL {
        if as_json {
            println!("{}", json!({"rule": old.rule, "value": old.value, "issue": old.issue, "wrong": old.wrong}));
        } else {
            println!("{}={}\t{}\t{}", old.rule, old.value, old.issue, old.wrong);
        }
    }
}

fn list_invariants(as_json: bool) {
    for invariant in INVARIANTS {
        if as_json {
            println!("{}", json!({"name": invariant.name, "sentence": invariant.sentence, "source": invariant.source}));
        } else {
            println!("{}\t{}", invariant.name, invariant.sentence);
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
            for (name, value) in arguments.rules.changed() {
                let set = scenario.rules.set(name, &value);
                assert_eq!(set, Ok(()), "a rule that is set can be set again");
            }
            one(&scenario, arguments)
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
    Crashed(String),
    Differed(u64, u64),
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
            Came::Differed(..) => Exit::Nondeterminism,
        }
    }

    /// What two failures have in common if they are the same failure.
    fn kind(&self) -> Option<String> {
        match self {
            Came::To(outcome) => outcome.broken().map(str::to_owned),
            Came::Crashed(words) => {
                Some(words.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned())
            }
            Came::Differed(..) => Some("digest".to_owned()),
        }
    }
}

fn try_run(scenario: &Scenario, doublecheck: bool) -> Came {
    let attempt = || {
        catch_unwind(AssertUnwindSafe(|| run(scenario, Keep::Nothing).0)).map_err(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
        })
    };
    match attempt() {
        Err(words) => Came::Crashed(words),
        Ok(first) if doublecheck => match attempt() {
            Ok(second) if second.digest == first.digest => Came::To(Box::new(first)),
            Ok(second) => Came::Differed(first.digest, second.digest),
            Err(words) => Came::Crashed(words),
        },
        Ok(first) => Came::To(Box::new(first)),
    }
}

fn one(scenario: &Scenario, arguments: &Arguments) -> Exit {
    if arguments.print {
        print!("{scenario}");
        return Exit::Clean;
    }
    if arguments.trace {
        print_trace(scenario);
    }
    let came = try_run(scenario, arguments.doublecheck);
    if arguments.shrink && came.exit() != Exit::Clean {
        quietly(|| {
            let kind = came.kind();
            let mut small = shrink(scenario, 400, |candidate| try_run(candidate, false).kind() == kind);
            if let Came::To(outcome) = &came {
                small.expect = outcome.broken().map(str::to_owned);
            }
            print!("{small}");
        });
        return came.exit();
    }
    report(&format!("seed {}", scenario.seed), scenario, &came, arguments.json);
    match (&scenario.expect, &came) {
        // A scenario that is known to violate something ends well when it does.
        (Some(expected), Came::To(outcome)) if outcome.broken() == Some(expected) => Exit::Clean,
        _ => came.exit(),
    }
}

/// Prints every entry and note as it happens, also those before an assertion fails.
fn print_trace(scenario: &Scenario) {
    use glasshouse_core::sim::world::World;
    let mut world = World::new(scenario);
    world.trace.keep = Keep::All;
    let (mut entries, mut notes) = (0, 0);
    let end = glasshouse_core::time::Instant::ZERO + scenario.length;
    loop {
        let going = world.next_at().is_some_and(|at| at <= end)
            && catch_unwind(AssertUnwindSafe(|| world.step())).unwrap_or(false);
        while let Some(entry) = world.trace.entries.get(entries) {
            println!("{entry}");
            entries += 1;
        }
        while let Some(told) = world.trace.story.get(notes) {
            println!("{told}");
            notes += 1;
        }
        if !going {
            return;
        }
    }
}

fn report(name: &str, scenario: &Scenario, came: &Came, as_json: bool) {
    match came {
        Came::To(outcome) if as_json => {
            let broken = match &outcome.verdict {
                Verdict::Clean => json!(null),
                Verdict::Violated(v) | Verdict::Stuck(v) => {
                    json!({"invariant": v.invariant, "at": v.at.to_string(), "entry": v.entry, "detail": v.detail,
                        "node": v.node.map(|node| node.to_string())})
                }
            };
            println!(
                "{}",
                json!({"seed": scenario.seed, "entries": outcome.entries, "simulated_seconds": outcome.length.as_millis() / 1000,
                    "digest": format!("{:016x}", outcome.digest), "broken": broken,
                    "allowed_losses": outcome.allowed.len(),
                    "counts": outcome.counts.iter().collect::<BTreeMap<_, _>>()})
            );
        }
        Came::To(outcome) => {
            match &outcome.verdict {
                Verdict::Clean => println!(
                    "{name}: clean, {} entries in {} simulated, digest {:016x}",
                    outcome.entries, outcome.length, outcome.digest
                ),
                Verdict::Violated(v) | Verdict::Stuck(v) => {
                    let sentence = INVARIANTS.iter().find(|i| i.name == v.invariant).map_or("", |i| i.sentence);
                    let node = v.node.map(|node| format!("{node}: ")).unwrap_or_default();
                    println!("{name}: violated {} ({sentence}) at {}, entry {}", v.invariant, v.at, v.entry);
                    println!("    {node}{}", v.detail);
                    println!("    replay   cargo sim --seed {} --trace", scenario.seed);
                    println!("    shrink   cargo sim --seed {} --shrink", scenario.seed);
                }
            }
            for loss in &outcome.allowed {
                println!("    allowed loss at {}: {} ({})", loss.at, loss.why, loss.invariant);
            }
        }
        Came::Crashed(words) if as_json => println!("{}", json!({"seed": scenario.seed, "crash": words})),
        Came::Crashed(words) => {
            println!("{name}: our own mistake: {words}");
            println!("    replay   cargo sim --seed {} --trace", scenario.seed);
        }
        Came::Differed(a, b) if as_json => {
            println!("{}", json!({"seed": scenario.seed, "digests": [format!("{a:016x}"), format!("{b:016x}")]}));
        }
        Came::Differed(a, b) => println!("{name}: two runs differ: {a:016x} and {b:016x}"),
    }
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
    failed: u64,
    worst: Option<Exit>,
    entries: u64,
    millis: u64,
    allowed: u64,
    counts: BTreeMap<&'static str, u64>,
    broken: BTreeMap<String, u64>,
}

fn many(from: u64, to: u64, arguments: &Arguments) -> Exit {
    let started = Instant::now();
    let next = AtomicU64::new(from);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                return;
            }
            let scenario = swarm::scenario(seed, arguments.rules);
            let came = try_run(&scenario, arguments.doublecheck);
            let Ok(mut tally) = tally.lock() else { return };
            tally.add(&came);
            if came.exit() != Exit::Clean {
                report(&format!("seed {seed}"), &scenario, &came, arguments.json);
                if !arguments.keep_going {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    quietly(|| {
        std::thread::scope(|scope| {
            for _ in 0..arguments.threads {
                scope.spawn(work);
            }
        });
    });
    let Ok(tally) = tally.into_inner() else { return Exit::Crash };
    tally.print(started.elapsed().as_secs_f64(), arguments);
    tally.worst.unwrap_or(Exit::Clean)
}

impl Tally {
    fn add(&mut self, came: &Came) {
        self.runs += 1;
        if let Came::To(outcome) = came {
            self.entries += outcome.entries;
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
        if arguments.json {
            println!(
                "{}",
                json!({"runs": self.runs, "failed": self.failed, "entries": self.entries, "seconds": seconds,
                    "simulated_seconds": simulated, "allowed_losses": self.allowed, "counts": self.counts,
                    "broken": self.broken})
            );
            return;
        }
        println!(
            "{} seeds, {} failed; {} entries in {simulated:.0} simulated and {seconds:.1} real seconds ({:.0} entries/s, {:.0}x)",
            self.runs,
            self.failed,
            self.entries,
            self.entries as f64 / seconds,
            simulated / seconds
        );
        for (what, count) in &self.broken {
            println!("  {count:>8}  runs broke {what}");
        }
        for (what, count) in &self.counts {
            println!("  {count:>8}  {what}");
        }
        println!("  {:>8}  allowed losses", self.allowed);
        let changed = Rules::changed(&arguments.rules);
        for (name, value) in changed {
            println!("  under the rule {name}={value}");
        }
    }
}
