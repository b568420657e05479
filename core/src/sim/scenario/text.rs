//! The scenario's text: one statement a line, `#` begins a comment.

use super::sense::{self, Lines};
use super::{Action, Change, ClientSpec, Command, FORMAT, Scenario, Settings, Timed, TopicSpec};
use crate::id::{NodeId, TopicPartition};
use crate::time::{Instant, Span};
use crate::znode::ZPath;
use core::fmt;

/// What is wrong with a text: one clear sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1.
    pub line: u32,
    pub expected: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.expected)
    }
}

impl std::error::Error for Mistake {}

/// `1.5s`, `40ms`, `250us`, `17ns`: exact, the largest unit that loses nothing.
pub fn span_text(span: Span) -> String {
    let ns = span.0;
    if ns.is_multiple_of(1_000_000_000) {
        format!("{}s", ns / 1_000_000_000)
    } else if ns > 1_000_000_000 {
        let fraction = format!("{:09}", ns % 1_000_000_000);
        format!("{}.{}s", ns / 1_000_000_000, fraction.trim_end_matches('0'))
    } else if ns.is_multiple_of(1_000_000) {
        format!("{}ms", ns / 1_000_000)
    } else if ns.is_multiple_of(1_000) {
        format!("{}us", ns / 1_000)
    } else {
        format!("{ns}ns")
    }
}

/// Longer than anything one waits for; so times can be added without thought.
const LONGEST: Span = Span::secs(3650 * 24 * 3600);

/// Reads what [`span_text`] writes, and decimals of each unit.
pub fn read_span(text: &str) -> Option<Span> {
    let (number, unit) = [("ns", 1u64), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)]
        .into_iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, unit)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let mut ns = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let scaled = fraction.parse::<u64>().ok()?.checked_mul(unit)?;
        let divisor = 10u64.pow(fraction.len() as u32);
        if !scaled.is_multiple_of(divisor) {
            return None;
        }
        ns = ns.checked_add(scaled / divisor)?;
    }
    Some(Span(ns))
}

type Read<T> = Result<T, String>;

/// The words of one line.
struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
    /// The settings of the whole text: what a topic is that does not say it.
    settings: &'a Settings,
}

impl<'a> Words<'a> {
    fn next(&mut self, expected: &str) -> Read<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word.ok_or_else(|| format!("expected {expected} at the end of the line"))
    }

    fn number<T: core::str::FromStr>(&mut self, expected: &str) -> Read<T> {
        let word = self.next(expected)?;
        word.parse().map_err(|_| format!("expected {expected}, not {word:?}"))
    }

    fn span(&mut self) -> Read<Span> {
        let word = self.next("a time such as 250us, 40ms or 1.5s")?;
        let span =
            read_span(word).ok_or_else(|| format!("expected a time such as 250us, 40ms or 1.5s, not {word:?}"))?;
        if span > LONGEST {
            Err(format!("no time is longer than {}, not {word:?}", span_text(LONGEST)))
        } else {
            Ok(span)
        }
    }

    fn node(&mut self) -> Read<NodeId> {
        let word = self.next("a node such as keeper-1, broker-2 or client-1")?;
        NodeId::parse(word)
            .ok_or_else(|| format!("expected a node such as keeper-1, broker-2 or client-1, not {word:?}"))
    }

    fn partition(&mut self) -> Read<TopicPartition> {
        let word = self.next("a partition such as orders-0")?;
        read_partition(word).ok_or_else(|| format!("expected a partition such as orders-0, not {word:?}"))
    }

    fn topic(&mut self) -> Read<std::sync::Arc<str>> {
        self.next("a topic's name").map(Into::into)
    }

    fn path(&mut self) -> Read<std::sync::Arc<str>> {
        let word = self.next("a znode's path such as /app/a")?;
        if ZPath::parse(word).is_ok() {
            Ok(word.into())
        } else {
            Err(format!("expected a znode's path such as /app/a, not {word:?}"))
        }
    }

    /// Takes the word if it comes next.
    fn is_next(&mut self, word: &str) -> bool {
        let is = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is);
        is
    }

    fn keyword(&mut self, word: &str) -> Read<()> {
        if self.is_next(word) { Ok(()) } else { self.mistaken(&format!("expected `{word}`")) }
    }

    fn mistaken<T>(&self, expected: &str) -> Read<T> {
        match self.words.get(self.at) {
            Some(word) => Err(format!("{expected}, not {word:?}")),
            None => Err(format!("{expected} at the end of the line")),
        }
    }

    fn end(&self) -> Read<()> {
        match self.words.get(self.at) {
            None => Ok(()),
            Some(word) => Err(format!("expected the end of the line, not {word:?}")),
        }
    }
}

fn read_partition(word: &str) -> Option<TopicPartition> {
    let (topic, partition) = word.rsplit_once('-')?;
    Some(TopicPartition::new(topic, partition.parse().ok().filter(|p| *p >= 0)?))
}

/// What a line says, without its comment.
fn words_of(line: &str) -> Vec<&str> {
    line.split('#').next().unwrap_or_default().split_whitespace().collect()
}

/// The settings of the whole text: a topic may stand above them. A mistake among them is told when its line is read.
fn settings_of(text: &str) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines() {
        if let ["set", name, value] = words_of(line)[..] {
            let _ = settings.set(name, value);
        }
    }
    settings
}

/// Reads a whole scenario.
pub fn parse(text: &str) -> Result<Scenario, Mistake> {
    let mut scenario = Scenario { length: Span::secs(60), ..Scenario::default() };
    let mut begun = false;
    let mut lines = Lines::default();
    let settings = settings_of(text);
    for (number, line) in text.lines().enumerate() {
        let words = words_of(line);
        if words.is_empty() {
            continue;
        }
        let mut words = Words { words, at: 0, settings: &settings };
        let line = number as u32 + 1;
        let outcome =
            if begun { statement(&mut scenario, &mut words, &mut lines, line) } else { first_line(&mut words) };
        let once = outcome.and_then(|once| words.end().map(|()| once));
        once.and_then(|once| once.map_or(Ok(()), |what| lines.once(what, line)))
            .map_err(|expected| Mistake { line, expected })?;
        begun = true;
    }
    if !begun {
        return Err(Mistake {
            line: 1,
            expected: format!("expected `glasshouse scenario {FORMAT}` as the first line"),
        });
    }
    sense::check(&scenario, &lines)?;
    Ok(scenario)
}

fn first_line(words: &mut Words<'_>) -> Read<Option<String>> {
    words.keyword("glasshouse")?;
    words.keyword("scenario")?;
    let version: u32 = words.number("the format's version")?;
    if version == FORMAT { Ok(None) } else { Err(format!("this is format {version}; expected format {FORMAT}")) }
}

/// Gives what it is, if that may stand once only.
fn statement(scenario: &mut Scenario, words: &mut Words<'_>, lines: &mut Lines, line: u32) -> Read<Option<String>> {
    let mut once = None;
    match words.next("a statement")? {
        "seed" => {
            once = Some("seed".to_owned());
            scenario.seed = words.number("a whole number")?;
        }
        "run" => {
            once = Some("run".to_owned());
            scenario.length = words.span()?;
        }
        "rule" => {
            let word = words.next("NAME=VALUE")?;
            let (name, value) = word.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, not {word:?}"))?;
            scenario.rules.set(name, value)?;
            once = Some(format!("rule {name}"));
        }
        "set" => {
            let name = words.next("a setting's name")?;
            let value = words.next("a value")?;
            scenario.settings.set(name, value)?;
            once = Some(format!("set {name}"));
        }
        "topic" => {
            scenario.topics.push(topic(words)?);
            lines.topics.push(line);
        }
        word @ ("producer" | "consumer" | "zookeeper-client" | "admin") => {
            scenario.clients.push(client(word, words)?);
            lines.clients.push(line);
        }
        "expect" => {
            once = Some("expect".to_owned());
            scenario.expect = Some(words.next("an invariant's name, or `clean`")?.to_owned()).filter(|w| w != "clean");
        }
        "at" => {
            let at = Instant::ZERO + words.span()?;
            let action = action(words)?;
            if scenario.actions.last().is_some_and(|last| last.at > at) {
                return Err("actions stand in order of time; this one is earlier than the one before it".to_owned());
            }
            scenario.actions.push(Timed { at, action });
            lines.actions.push(line);
        }
        other => {
            return Err(format!(
                "expected seed, run, rule, set, topic, producer, consumer, zookeeper-client, admin, expect or at, not {other:?}"
            ));
        }
    }
    Ok(once)
}

fn client(word: &str, words: &mut Words<'_>) -> Read<ClientSpec> {
    Ok(match word {
        "producer" => {
            let topic = words.topic()?;
            words.keyword("acks")?;
            let acks = match words.next("0, 1 or all")? {
                "all" => -1,
                "0" => 0,
                "1" => 1,
                other => return Err(format!("expected 0, 1 or all, not {other:?}")),
            };
            let idempotent = match words.next("idempotent or plain")? {
                "idempotent" => true,
                "plain" => false,
                other => return Err(format!("expected idempotent or plain, not {other:?}")),
            };
            words.keyword("rate")?;
            ClientSpec::Producer { topic, acks, idempotent, per_second: words.number("batches per second")? }
        }
        "consumer" => ClientSpec::Consumer { topic: words.topic()? },
        "zookeeper-client" => {
            words.keyword("rate")?;
            ClientSpec::Keeper { per_second: words.number("writes per second")? }
        }
        _ => ClientSpec::Admin,
    })
}

/// `orders partitions 2 replicas 3 [min-isr 2] [unclean]`; what it does not say, the settings say.
fn topic(words: &mut Words<'_>) -> Read<TopicSpec> {
    let name = words.topic()?;
    words.keyword("partitions")?;
    let partitions = words.number("a number of partitions")?;
    words.keyword("replicas")?;
    let replicas = words.number("a number of replicas")?;
    let min_isr = if words.is_next("min-isr") { words.number("min.insync.replicas")? } else { words.settings.min_isr };
    let unclean = words.is_next("unclean") || words.settings.unclean;
    Ok(TopicSpec { name, partitions, replicas, min_isr, unclean })
}

fn action(words: &mut Words<'_>) -> Read<Action> {
    let verb = words.next("an action")?;
    Ok(match verb {
        "kill" => Action::Kill(words.node()?),
        "power-off" if words.is_next("all") => Action::PowerOffAll,
        "power-off" => Action::PowerOff(words.node()?),
        "restart" if words.is_next("all") => Action::RestartAll,
        "restart" => Action::Restart(words.node()?),
        "wipe" => Action::Wipe(words.node()?),
        "pause" => Action::Pause(words.node()?),
        "resume" => Action::Resume(words.node()?),
        "shut-down" => Action::Shutdown(words.node()?),
        "heal" if words.is_next("all") => Action::HealAll,
        "cut" | "stall" | "slow" | "heal" => {
            let from = words.node()?;
            words.keyword("->")?;
            let to = words.node()?;
            match verb {
                "cut" => Action::Cut { from, to },
                "stall" => Action::Stall { from, to },
                "heal" => Action::Heal { from, to },
                _ => Action::Slow { from, to, by: words.span()? },
            }
        }
        "break" => Action::Break { a: words.node()?, b: words.node()? },
        "drift" => Action::Drift { node: words.node()?, ppm: words.number("parts per million")? },
        "jump" => Action::Jump { node: words.node()?, millis: words.number("milliseconds")? },
        "slow-disk" => Action::SlowDisk { node: words.node()?, by: words.span()? },
        "full-disk" => Action::FullDisk(words.node()?),
        "lying-disk" => Action::LyingDisk(words.node()?),
        "good-disk" => Action::GoodDisk(words.node()?),
        "bit-rot" => Action::BitRot(words.node()?),
        "lose-reply" => Action::LoseReply { server: words.node()?, client: words.node()? },
        "delay-reply" => Action::DelayReply { server: words.node()?, client: words.node()?, by: words.span()? },
        "fail-reply" => Action::FailReply {
            server: words.node()?,
            client: words.node()?,
            error: words.number("a Kafka error code")?,
        },
        "ask" => Action::Ask { client: words.node()?, command: command(words)? },
        other => {
            return Err(format!(
                "expected kill, power-off, restart, wipe, pause, resume, shut-down, cut, stall, slow, heal, break, drift, \
                 jump, slow-disk, full-disk, lying-disk, good-disk, bit-rot, lose-reply, delay-reply, fail-reply or ask, \
                 not {other:?}"
            ));
        }
    })
}

fn command(words: &mut Words<'_>) -> Read<Command> {
    Ok(match words.next("a command")? {
        "create-topic" => Command::CreateTopic(topic(words)?),
        "delete-topic" => Command::DeleteTopic(words.topic()?),
        "reassign" => {
            let partition = words.partition()?;
            let list = words.next("broker ids such as 2,3,1")?;
            let replicas: Option<Vec<i32>> = list.split(',').map(|id| id.parse().ok()).collect();
            let replicas = replicas.ok_or_else(|| format!("expected broker ids such as 2,3,1, not {list:?}"))?;
            Command::Reassign { partition, replicas }
        }
        "elect-preferred" => Command::ElectPreferred(words.partition()?),
        "elect-unclean" => Command::ElectUnclean(words.partition()?),
        "configure" => {
            let topic = words.topic()?;
            let word = words.next("KEY=VALUE")?;
            let (key, value) = word.split_once('=').ok_or_else(|| format!("expected KEY=VALUE, not {word:?}"))?;
            Command::SetTopicConfig { topic, key: key.to_owned(), value: value.to_owned() }
        }
        "produce" => Command::Produce { partition: words.partition()?, records: words.number("a number of records")? },
        "watch" => Command::Watch(words.path()?),
        "list" => Command::List(words.path()?),
        "multi" => {
            let mut changes = vec![change(words)?];
            while words.end().is_err() {
                changes.push(change(words)?);
            }
            Command::Multi(changes)
        }
        "still" => Command::Still,
        "busy" => Command::Busy,
        other => {
            return Err(format!(
                "expected create-topic, delete-topic, reassign, elect-preferred, elect-unclean, configure, produce, watch, \
                 list, multi, still or busy, not {other:?}"
            ));
        }
    })
}

/// One part of a multi.
fn change(words: &mut Words<'_>) -> Read<Change> {
    Ok(match words.next("create, set, delete or check")? {
        "create" => Change::Create(words.path()?),
        "set" => Change::Set(words.path()?),
        "delete" => Change::Delete(words.path()?),
        "check" => Change::Check(words.path()?, words.number("the version it must have")?),
        other => return Err(format!("expected create, set, delete or check, not {other:?}")),
    })
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "glasshouse scenario {FORMAT}")?;
        writeln!(f, "seed {}", self.seed)?;
        for (name, value) in self.rules.changed() {
            writeln!(f, "rule {name}={value}")?;
        }
        for (name, value) in self.settings.changed() {
            writeln!(f, "set {name} {value}")?;
        }
        for topic in &self.topics {
            writeln!(f, "topic {topic}")?;
        }
        for client in &self.clients {
            writeln!(f, "{client}")?;
        }
        writeln!(f, "run {}", span_text(self.length))?;
        if let Some(name) = &self.expect {
            writeln!(f, "expect {name}")?;
        }
        for timed in &self.actions {
            writeln!(f, "at {} {}", span_text(Span(timed.at.0)), timed.action)?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Kill(node) => write!(f, "kill {node}"),
            Action::PowerOff(node) => write!(f, "power-off {node}"),
            Action::PowerOffAll => f.write_str("power-off all"),
            Action::Restart(node) => write!(f, "restart {node}"),
            Action::RestartAll => f.write_str("restart all"),
            Action::Wipe(node) => write!(f, "wipe {node}"),
            Action::Pause(node) => write!(f, "pause {node}"),
            Action::Resume(node) => write!(f, "resume {node}"),
            Action::Shutdown(node) => write!(f, "shut-down {node}"),
            Action::Cut { from, to } => write!(f, "cut {from} -> {to}"),
            Action::Stall { from, to } => write!(f, "stall {from} -> {to}"),
            Action::Slow { from, to, by } => write!(f, "slow {from} -> {to} {}", span_text(*by)),
            Action::Heal { from, to } => write!(f, "heal {from} -> {to}"),
            Action::HealAll => f.write_str("heal all"),
            Action::Break { a, b } => write!(f, "break {a} {b}"),
            Action::Drift { node, ppm } => write!(f, "drift {node} {ppm}"),
            Action::Jump { node, millis } => write!(f, "jump {node} {millis}"),
            Action::SlowDisk { node, by } => write!(f, "slow-disk {node} {}", span_text(*by)),
            Action::FullDisk(node) => write!(f, "full-disk {node}"),
            Action::LyingDisk(node) => write!(f, "lying-disk {node}"),
            Action::GoodDisk(node) => write!(f, "good-disk {node}"),
            Action::BitRot(node) => write!(f, "bit-rot {node}"),
            Action::LoseReply { server, client } => write!(f, "lose-reply {server} {client}"),
            Action::DelayReply { server, client, by } => write!(f, "delay-reply {server} {client} {}", span_text(*by)),
            Action::FailReply { server, client, error } => write!(f, "fail-reply {server} {client} {error}"),
            Action::Ask { client, command } => write!(f, "ask {client} {command}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = "\
glasshouse scenario 1
seed 7
rule truncation=high-watermark
set tick 500ms
set flush kafka
topic orders partitions 2 replicas 3 min-isr 2
producer orders acks all idempotent rate 20
consumer orders
zookeeper-client rate 5
admin
run 30s
expect LOG-6
at 1.5s kill broker-1
at 1.5s cut keeper-1 -> keeper-2
at 2s slow broker-2 -> broker-3 80ms
at 3s ask client-4 reassign orders-0 2,3,1
at 3.5s ask client-3 multi create /app/a set /app/b check /app/c -1
at 4s heal all
";

    #[test]
    fn a_text_becomes_a_value_and_the_same_text() {
        let scenario = Scenario::parse(STORY).unwrap();
        assert_eq!(scenario.to_string(), STORY);
        assert_eq!(Scenario::parse(&scenario.to_string()).unwrap(), scenario);
        assert_eq!(
            scenario.actions[2].action,
            Action::Slow { from: NodeId::Broker(2), to: NodeId::Broker(3), by: Span::millis(80) }
        );
    }

    #[test]
    fn a_mistake_gets_one_sentence_that_names_the_line() {
        let mistake = |line: &str| {
            let text = format!("glasshouse scenario 1\nseed 1\n{line}\n");
            Scenario::parse(&text).unwrap_err().to_string()
        };
        assert_eq!(mistake("at 1 kill broker-1"), "line 3: expected a time such as 250us, 40ms or 1.5s, not \"1\"");
        assert_eq!(mistake("at 1s cut broker-1 broker-2"), "line 3: expected `->`, not \"broker-2\"");
        assert_eq!(mistake("set flush never"), "line 3: flush is batch or kafka, not \"never\"");
        assert_eq!(mistake("seed 1 2"), "line 3: expected the end of the line, not \"2\"");
        assert!(Scenario::parse("").unwrap_err().to_string().contains("line 1: expected `glasshouse scenario 1`"));
        assert_eq!(
            Scenario::parse("glasshouse scenario 2").unwrap_err().to_string(),
            "line 1: this is format 2; expected format 1"
        );
    }

    fn first_mistake(text: &str) -> String {
        Scenario::parse(&format!("glasshouse scenario 1\n{text}\n")).unwrap_err().to_string()
    }

    #[test]
    fn what_may_stand_once_stands_once() {
        for (statements, sentence) in [
            ("seed 1\nseed 2", "line 3: seed stands on line 2 already"),
            ("run 5s\n\nrun 5s", "line 4: run stands on line 2 already"),
            ("expect LOG-6\nexpect clean", "line 3: expect stands on line 2 already"),
            ("set tick 1s\nset tick 2s", "line 3: set tick stands on line 2 already"),
            (
                "rule truncation=leader-epoch\nrule truncation=offset-only",
                "line 3: rule truncation stands on line 2 already",
            ),
        ] {
            assert_eq!(first_mistake(statements), sentence);
        }
    }

    #[test]
    fn numbers_that_would_be_bent_or_do_nothing_are_mistakes() {
        let clients = "topic a partitions 1 replicas 3\nproducer a acks all plain rate 1\nrun 12s";
        for (statement, sentence) in [
            (
                "at 1s jump keeper-1 9223372036854775807",
                "a wall clock jumps by between -315360000000 and 315360000000 milliseconds, not 9223372036854775807",
            ),
            (
                "at 1s drift keeper-1 -2147483648",
                "a clock drifts by between -500000 and 500000 parts per million, not -2147483648",
            ),
            (
                "at 1s fail-reply broker-1 client-1 999",
                "expected the code of one of Kafka's errors, such as 7 for REQUEST_TIMED_OUT, not 999",
            ),
            (
                "at 1s fail-reply broker-1 client-1 0",
                "expected the code of one of Kafka's errors, such as 7 for REQUEST_TIMED_OUT, not 0",
            ),
            ("at 99s kill broker-1", "the run ends at 12s; expected no later time than that, not 99s"),
            (
                "set latency 1s",
                "broker-session is at least 12.0081s here, the time it takes to try each of 3 keepers, not 1ms",
            ),
        ] {
            let session = if statement.contains("latency") { "set broker-session 1ms" } else { "" };
            let text = format!("{clients}\n{session}\n{statement}");
            assert_eq!(first_mistake(&text), format!("line 6: {sentence}"));
        }
        for statement in [
            "at 1s jump keeper-1 -315360000000",
            "at 1s drift keeper-1 500000",
            "at 1s fail-reply broker-1 client-1 -1",
            "at 12s kill broker-1",
        ] {
            let text = format!("glasshouse scenario 1\n{clients}\n{statement}\n");
            assert_eq!(Scenario::parse(&text).map(drop), Ok(()), "{statement}");
        }
    }

    #[test]
    fn a_topic_is_as_the_settings_say_where_it_says_nothing_itself() {
        let text = "\
glasshouse scenario 1
topic a partitions 1 replicas 3
topic b partitions 1 replicas 3 min-isr 3
admin
set min-isr 2
set unclean yes
at 1s ask client-1 create-topic c partitions 1 replicas 2
";
        let scenario = Scenario::parse(text).unwrap();
        let said: Vec<_> = scenario.topics.iter().map(|topic| (topic.min_isr, topic.unclean)).collect();
        assert_eq!(said, [(2, true), (3, true)]);
        let last = scenario.actions[0].action.to_string();
        assert_eq!(last, "ask client-1 create-topic c partitions 1 replicas 2 min-isr 2 unclean");
        assert_eq!(Scenario::parse(&scenario.to_string()), Ok(scenario));
    }

    #[test]
    fn times_lose_nothing() {
        for ns in [0, 1, 999, 1_500, 40_000_000, 1_234_567_891, 60_000_000_000] {
            assert_eq!(read_span(&span_text(Span(ns))), Some(Span(ns)));
        }
        assert_eq!(read_span("1.5ms"), Some(Span(1_500_000)));
        assert_eq!(read_span("0.1ns"), None);
        assert_eq!(read_span("99999999999999999999s"), None);
    }
}
