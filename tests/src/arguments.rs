//! What `cargo sim` was asked.

use glasshouse_core::rules::Rules;

/// The command line, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub seeds: Option<(u64, u64)>,
    pub seed: Option<u64>,
    pub scenario: Option<String>,
    /// What a native node recorded.
    pub replay: Option<String>,
    pub explore: Option<String>,
    pub rules: Rules,
    /// The rules as they were given, those with their default value too.
    pub named_rules: Vec<(String, String)>,
    pub trace: bool,
    pub shrink: bool,
    pub print: bool,
    pub doublecheck: bool,
    pub keep_going: bool,
    pub threads: usize,
    pub bench: bool,
    pub rules_list: bool,
    pub invariants: bool,
    pub json: bool,
    pub help: bool,
}

/// What there is to do, and what else each of them heeds; `--json` goes with all.
const MODES: [(&str, &[&str]); 8] = [
    ("--seeds", &["--rule", "--doublecheck", "--keep-going", "--threads"]),
    ("--seed", &["--rule", "--trace", "--shrink", "--print", "--doublecheck"]),
    ("--scenario", &["--rule", "--trace", "--shrink", "--print", "--doublecheck"]),
    ("--replay", &["--trace"]),
    ("--explore", &["--rule"]),
    ("--bench", &[]),
    ("--rules", &[]),
    ("--invariants", &[]),
];

/// At most so many runs at once.
const THREADS_MOST: u64 = 256;

impl Arguments {
    /// Reads a command line. What it would pass over is a mistake, too: an option that the mode does not heed, a second
    /// mode, and a second value that hides the first.
    ///
    /// # Errors
    /// One sentence that says what is wrong.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut words = words.peekable();
        let mut read = Arguments {
            threads: std::thread::available_parallelism().map_or(1, core::num::NonZero::get),
            ..Arguments::default()
        };
        let mut given: Vec<String> = Vec::new();
        while let Some(word) = words.next() {
            if word != "--rule" && given.contains(&word) {
                return Err(format!("{word} is given twice"));
            }
            given.push(word.clone());
            let mut value = |what: &str| words.next().ok_or_else(|| format!("{word} needs {what}"));
            match word.as_str() {
                "--seeds" => read.seeds = Some(range(&value("a range such as 0..100")?)?),
                "--seed" => read.seed = Some(number(&value("a number")?)?),
                "--scenario" => read.scenario = Some(value("a file")?),
                "--replay" => read.replay = Some(value("a file that a node recorded")?),
                "--explore" => read.explore = Some(value("zab or partition")?),
                "--rule" => {
                    let rule = value("NAME=VALUE")?;
                    let (name, value) =
                        rule.split_once('=').ok_or_else(|| format!("--rule needs NAME=VALUE, not {rule:?}"))?;
                    read.rules.set(name, value)?;
                    if read.named_rules.iter().any(|(other, _)| other == name) {
                        return Err(format!("the rule {name} is given twice"));
                    }
                    read.named_rules.push((name.to_owned(), value.to_owned()));
                }
                "--threads" => read.threads = threads(&value("a number")?)?,
                "--trace" => read.trace = true,
                "--shrink" => read.shrink = true,
                "--print" => read.print = true,
                "--doublecheck" => read.doublecheck = true,
                "--keep-going" => read.keep_going = true,
                "--bench" => read.bench = true,
                "--rules" => read.rules_list = true,
                "--invariants" => read.invariants = true,
                "--json" => read.json = true,
                "--help" | "-h" => read.help = true,
                other => return Err(format!("{other:?} is not understood")),
            }
        }
        if !read.help {
            fit(&given)?;
        }
        Ok(read)
    }
}

/// Is everything that was given heeded?
fn fit(given: &[String]) -> Result<(), String> {
    let is_given = |option: &str| given.iter().any(|word| word == option);
    let mut modes = MODES.iter().filter(|(mode, _)| is_given(mode));
    let Some((mode, heeded)) = modes.next() else { return Ok(()) };
    if let Some((other, _)) = modes.next() {
        return Err(format!("expected one of {mode} and {other}, not both"));
    }
    if let Some(option) =
        given.iter().find(|word| *word != mode && *word != "--json" && !heeded.contains(&word.as_str()))
    {
        let with: Vec<&str> =
            MODES.iter().filter(|(_, heeded)| heeded.contains(&option.as_str())).map(|(mode, _)| *mode).collect();
        return Err(format!("{option} means nothing with {mode}; expected it with {}", with.join(" or ")));
    }
    let of_a_run = ["--trace", "--shrink", "--doublecheck"].into_iter().find(|option| is_given(option));
    match of_a_run.filter(|_| is_given("--print")) {
        Some(option) => Err(format!("--print runs nothing; expected it without {option}")),
        None => Ok(()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    let threads = number(text)?;
    if (1..=THREADS_MOST).contains(&threads) {
        Ok(threads as usize)
    } else {
        Err(format!("--threads is between 1 and {THREADS_MOST}, not {threads}"))
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number, not {text:?}"))
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match parts {
        Some((from, to)) if from < to => Ok((from, to)),
        _ => Err(format!("expected a range such as 0..100, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_command_line_is_read_and_a_mistake_gets_one_sentence() {
        assert_eq!(read("--seeds 3..9").unwrap().seeds, Some((3, 9)));
        assert_eq!(read("--seeds 9..3").unwrap_err(), "expected a range such as 0..100, not \"9..3\"");
        assert_eq!(read("--seed").unwrap_err(), "--seed needs a number");
        assert_eq!(read("--replay keeper-1.rec --trace").unwrap().replay.as_deref(), Some("keeper-1.rec"));
        assert_eq!(read("--replay").unwrap_err(), "--replay needs a file that a node recorded");
        assert!(read("--rule truncation=never --seed 1").unwrap_err().contains("truncation is one of"));
        let given = read("--rule truncation=leader-epoch --seed 1").unwrap();
        assert_eq!(given.named_rules, [("truncation".to_owned(), "leader-epoch".to_owned())]);
        assert!(given.rules.changed().is_empty(), "it is the default, and named all the same");
        assert_eq!(read("--speed").unwrap_err(), "\"--speed\" is not understood");
    }

    #[test]
    fn what_would_be_passed_over_is_a_mistake() {
        for (line, sentence) in [
            (
                "--seeds 0..9 --trace",
                "--trace means nothing with --seeds; expected it with --seed or --scenario or --replay",
            ),
            ("--shrink --seeds 0..9", "--shrink means nothing with --seeds; expected it with --seed or --scenario"),
            ("--seeds 0..9 --print", "--print means nothing with --seeds; expected it with --seed or --scenario"),
            (
                "--bench --rule truncation=high-watermark",
                "--rule means nothing with --bench; expected it with --seeds or --seed or --scenario or --explore",
            ),
            ("--seed 1 --threads 2", "--threads means nothing with --seed; expected it with --seeds"),
            ("--seed 1 --keep-going", "--keep-going means nothing with --seed; expected it with --seeds"),
            (
                "--replay a.rec --doublecheck",
                "--doublecheck means nothing with --replay; expected it with --seeds or --seed or --scenario",
            ),
            (
                "--explore zab --trace",
                "--trace means nothing with --explore; expected it with --seed or --scenario or --replay",
            ),
            ("--seed 1 --seeds 0..9", "expected one of --seeds and --seed, not both"),
            ("--rules --invariants", "expected one of --rules and --invariants, not both"),
            ("--bench --seed 1", "expected one of --seed and --bench, not both"),
            ("--seed 1 --print --trace", "--print runs nothing; expected it without --trace"),
            ("--seed 1 --seed 2", "--seed is given twice"),
            (
                "--seed 1 --rule truncation=offset-only --rule truncation=high-watermark",
                "the rule truncation is given twice",
            ),
            ("--seeds 0..9 --threads 0", "--threads is between 1 and 256, not 0"),
            ("--seeds 0..9 --threads 257", "--threads is between 1 and 256, not 257"),
        ] {
            assert_eq!(read(line).unwrap_err(), sentence, "{line}");
        }
        for line in [
            "--help --seeds 0..9 --trace",
            "--json --seed 1 --trace --shrink --doublecheck --rule truncation=offset-only --rule isr_join=high-watermark",
            "--seeds 0..9 --threads 2 --keep-going --doublecheck --json --rule truncation=offset-only",
            "--scenario - --print --json",
            "--explore zab --rule truncation=offset-only --json",
            "--bench --json",
            "--rules --json",
        ] {
            assert!(read(line).is_ok(), "{line}: {:?}", read(line));
        }
    }
}
