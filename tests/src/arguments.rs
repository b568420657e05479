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

impl Arguments {
    /// Reads a command line.
    ///
    /// # Errors
    /// One sentence that says what is wrong.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut words = words.peekable();
        let mut read = Arguments {
            threads: std::thread::available_parallelism().map_or(1, core::num::NonZero::get),
            ..Arguments::default()
        };
        while let Some(word) = words.next() {
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
                    read.named_rules.push((name.to_owned(), value.to_owned()));
                }
                "--threads" => read.threads = number(&value("a number")?)?.clamp(1, 256) as usize,
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
        Ok(read)
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
}
