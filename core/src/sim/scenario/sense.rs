//! What no single line of a scenario shows: nodes and topics that do not exist, sizes and times that cannot be.
//!
//! A text that passes is one that a world can live through: without an assertion, without standing still for ever, and
//! without a line that does nothing because of a slip.

use super::text::{Mistake, span_text};
use super::{Action, ClientSpec, Command, Scenario, TopicSpec};
use crate::api::kafka::ErrorCode;
use crate::check::register;
use crate::id::{NodeId, TopicPartition};
use crate::ordered::OrdMap;
use crate::sim::build;
use crate::sim::clock::DRIFT_MOST;
use crate::time::{Instant, Span};
use std::sync::Arc;

/// On which line stands what, counted from 1; in the order of the scenario's lists.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What may stand once: `seed`, `run`, `expect`, `rule NAME` and `set NAME`.
    once: OrdMap<String, u32>,
    pub topics: Vec<u32>,
    pub clients: Vec<u32>,
    pub actions: Vec<u32>,
}

impl Lines {
    /// This stands here, for the first time.
    ///
    /// # Errors
    /// It stands elsewhere already.
    pub fn once(&mut self, what: String, line: u32) -> Result<(), String> {
        match self.once.get(&what) {
            Some(first) => Err(format!("{what} stands on line {first} already")),
            None => {
                self.once.insert(what, line);
                Ok(())
            }
        }
    }

    /// Where this stands; the first line, if nowhere.
    fn of(&self, what: &str) -> u32 {
        self.once.get(what).copied().unwrap_or(1)
    }
}

/// Time-outs and intervals are at least so long: at zero a world's time would stand still.
const SPAN_LEAST: Span = Span::millis(1);
const SPAN_MOST: Span = Span::secs(24 * 3600);
const RETENTION_MOST: Span = Span::secs(3650 * 24 * 3600);
/// They add to others, and may be nothing.
const DELAYS: &[&str] = &["latency", "jitter", "sync-latency", "sync-jitter"];
const RATE_MOST: u32 = 10_000;
/// Ten years.
const JUMP_MOST: i64 = 3650 * 24 * 3600 * 1000;
/// Kafka's `message.max.bytes`, rounded.
const BATCH_MOST: u32 = 1_000_000;

/// The first mistake, by line.
pub fn check(scenario: &Scenario, lines: &Lines) -> Result<(), Mistake> {
    let mut check = Check { scenario, lines, nodes: build::nodes(scenario), mistakes: Vec::new() };
    check.settings();
    check.spans();
    check.sessions();
    // A world of impossible size is not looked at any further.
    if check.mistakes.is_empty() {
        for (topic, line) in scenario.topics.iter().zip(&lines.topics) {
            check.topic(topic, *line);
        }
        check.names();
        for (client, line) in scenario.clients.iter().zip(&lines.clients) {
            check.client(client, *line);
        }
        for (timed, line) in scenario.actions.iter().zip(&lines.actions) {
            check.moment(timed.at, *line);
            check.action(&timed.action, *line);
        }
        if let Some(name) = scenario.expect.as_ref().filter(|name| register::find(name).is_none()) {
            check.mistaken(
                lines.of("expect"),
                format!("no invariant is called {name:?}; `cargo sim --invariants` lists them"),
            );
        }
    }
    match check.mistakes.into_iter().min_by_key(|mistake| mistake.line) {
        Some(mistake) => Err(mistake),
        None => Ok(()),
    }
}

struct Check<'a> {
    scenario: &'a Scenario,
    lines: &'a Lines,
    nodes: Vec<NodeId>,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    fn mistaken(&mut self, line: u32, expected: String) {
        self.mistakes.push(Mistake { line, expected });
    }

    fn bound(&mut self, line: u32, what: &str, value: u32, low: u32, high: u32) {
        if !(low..=high).contains(&value) {
            self.mistaken(line, format!("{what} is between {low} and {high}, not {value}"));
        }
    }

    fn line_of(&self, setting: &str) -> u32 {
        self.lines.of(&format!("set {setting}"))
    }

    fn settings(&mut self) {
        let settings = &self.scenario.settings;
        let brokers = settings.brokers;
        for (name, value, low, high) in [
            ("keepers", settings.keepers, 1, 9),
            ("observers", settings.observers, 0, 5),
            ("brokers", brokers, 0, 16),
            ("racks", settings.racks, 0, 16),
            ("init-limit", settings.init_limit, 1, 1_000),
            ("sync-limit", settings.sync_limit, 1, 1_000),
            ("snap-count", settings.snap_count, 1, u32::MAX),
            ("snapshot-piece", settings.snapshot_piece, 1, 1 << 20),
            ("commit-log-count", settings.commit_log_count, 1, 1_000_000),
            ("segment-bytes", settings.segment_bytes, 14, i32::MAX as u32),
            ("min-isr", settings.min_isr, 1, brokers.max(1)),
            ("record-bytes", settings.record_bytes, 0, BATCH_MOST),
            ("batch-records", settings.batch_records, 1, 1_000),
        ] {
            self.bound(self.line_of(name), name, value, low, high);
        }
        let batch = settings.record_bytes.max(8).saturating_mul(settings.batch_records);
        if self.mistakes.is_empty() && batch > BATCH_MOST {
            let line = self.line_of("record-bytes").max(self.line_of("batch-records"));
            self.mistaken(
                line,
                format!("a batch holds at most {BATCH_MOST} bytes, not batch-records times record-bytes: {batch}"),
            );
        }
    }

    fn spans(&mut self) {
        for (name, span) in self.scenario.settings.spans() {
            let least = if DELAYS.contains(&name) { Span::ZERO } else { SPAN_LEAST };
            let most = if name == "retention" { RETENTION_MOST } else { SPAN_MOST };
            if !(least..=most).contains(&span) {
                let (least, most, span) = (span_text(least), span_text(most), span_text(span));
                self.mistaken(self.line_of(name), format!("{name} is between {least} and {most}, not {span}"));
            }
        }
    }

    /// A session is asked of one keeper after another, each has its share of the time-out, and needs two ways there and
    /// back and a sync. Who has less gives every keeper up and dials the next, for ever.
    fn sessions(&mut self) {
        if !self.mistakes.is_empty() {
            return;
        }
        let scenario = self.scenario;
        let settings = &scenario.settings;
        let keepers = settings.keepers + settings.observers;
        let each = (settings.latency + settings.jitter) * 4 + settings.sync_latency + settings.sync_jitter;
        let least = each * u64::from(keepers);
        let has_session = scenario.clients.iter().any(|client| matches!(client, ClientSpec::Keeper { .. }));
        for (name, session, matters) in [
            ("broker-session", settings.broker_session, settings.brokers > 0),
            ("client-session", settings.client_session, has_session),
        ] {
            if matters && session < least {
                let causes = [name, "keepers", "observers"].into_iter().chain(DELAYS.iter().copied());
                let line = causes.map(|cause| self.line_of(cause)).max().unwrap_or(1);
                let (least, session) = (span_text(least), span_text(session));
                let why = format!("the time it takes to try each of {keepers} keepers");
                self.mistaken(line, format!("{name} is at least {least} here, {why}, not {session}"));
            }
        }
    }

    /// What comes after the end never comes.
    fn moment(&mut self, at: Instant, line: u32) {
        let (end, at) = (self.scenario.length, at.since(Instant::ZERO));
        if at > end {
            let (end, at) = (span_text(end), span_text(at));
            self.mistaken(line, format!("the run ends at {end}; expected no later time than that, not {at}"));
        }
    }

    fn topic(&mut self, topic: &TopicSpec, line: u32) {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let name = &topic.name;
        if name.is_empty() || name.len() > 249 || !name.bytes().all(legal) || matches!(&**name, "." | "..") {
            self.mistaken(line, format!("a topic's name is of letters, digits, `.`, `_` and `-`, not {name:?}"));
        }
        if self.scenario.settings.brokers == 0 {
            return self.mistaken(line, "a topic needs brokers, and there are none".to_owned());
        }
        self.bound(line, "a topic's number of partitions", topic.partitions, 1, 1_000);
        self.bound(line, "a topic's number of replicas", topic.replicas, 1, self.scenario.settings.brokers);
        self.bound(line, "a topic's min-isr", topic.min_isr, 1, topic.replicas.max(1));
    }

    /// No topic stands twice.
    fn names(&mut self) {
        for (at, (topic, line)) in self.scenario.topics.iter().zip(&self.lines.topics).enumerate() {
            if self.scenario.topics[..at].iter().any(|other| other.name == topic.name) {
                self.mistaken(*line, format!("there is a topic {:?} already", topic.name));
            }
        }
    }

    fn client(&mut self, client: &ClientSpec, line: u32) {
        match client {
            ClientSpec::Producer { topic, per_second, .. } => {
                self.known(topic, None, line);
                self.bound(line, "a producer's rate", *per_second, 0, RATE_MOST);
            }
            ClientSpec::Consumer { topic } => self.known(topic, None, line),
            ClientSpec::Keeper { per_second } => {
                self.bound(line, "a ZooKeeper client's rate", *per_second, 1, RATE_MOST);
            }
            ClientSpec::Admin => {}
        }
    }

    /// A topic that there is from the beginning, or that somebody is asked to create; and a partition of it.
    fn known(&mut self, name: &Arc<str>, partition: Option<i32>, line: u32) {
        let created = self.scenario.actions.iter().filter_map(|timed| match &timed.action {
            Action::Ask { command: Command::CreateTopic(topic), .. } => Some(topic),
            _ => None,
        });
        let mut known = self.scenario.topics.iter().chain(created).filter(|topic| topic.name == *name).peekable();
        if known.peek().is_none() {
            return self.mistaken(line, format!("there is no topic {name:?}"));
        }
        if let Some(partition) = partition
            && !known.any(|topic| i64::from(partition) < i64::from(topic.partitions))
        {
            self.mistaken(line, format!("{name} has no partition {partition}"));
        }
    }

    fn node(&mut self, node: NodeId, line: u32) {
        if !self.nodes.contains(&node) {
            let names: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
            self.mistaken(line, format!("there is no {node}; there are {}", names.join(", ")));
        }
    }

    fn pair(&mut self, a: NodeId, b: NodeId, line: u32) {
        self.node(a, line);
        self.node(b, line);
        if a == b {
            self.mistaken(line, format!("between {a} and itself there is no link"));
        }
    }

    fn answer(&mut self, server: NodeId, client: NodeId, line: u32) {
        self.pair(server, client, line);
        if !matches!((server, client), (NodeId::Broker(_), NodeId::Client(_))) {
            self.mistaken(line, format!("expected a broker and a client, not {server} and {client}"));
        }
    }

    fn action(&mut self, action: &Action, line: u32) {
        match action {
            Action::Kill(node)
            | Action::PowerOff(node)
            | Action::Restart(node)
            | Action::Wipe(node)
            | Action::Pause(node)
            | Action::Resume(node)
            | Action::Shutdown(node)
            | Action::SlowDisk { node, .. }
            | Action::FullDisk(node)
            | Action::LyingDisk(node)
            | Action::GoodDisk(node)
            | Action::BitRot(node) => self.node(*node, line),
            Action::Cut { from, to }
            | Action::Stall { from, to }
            | Action::Slow { from, to, .. }
            | Action::Heal { from, to } => self.pair(*from, *to, line),
            Action::Break { a, b } => self.pair(*a, *b, line),
            Action::LoseReply { server, client } | Action::DelayReply { server, client, .. } => {
                self.answer(*server, *client, line)
            }
            Action::FailReply { server, client, error } => {
                self.answer(*server, *client, line);
                let code = ErrorCode(*error);
                if code.is_none() || code.name().is_none() {
                    let such = "such as 7 for REQUEST_TIMED_OUT";
                    self.mistaken(line, format!("expected the code of one of Kafka's errors, {such}, not {error}"));
                }
            }
            Action::Drift { node, ppm } => {
                self.node(*node, line);
                let most = DRIFT_MOST;
                if !(-most..=most).contains(ppm) {
                    let range = format!("between -{most} and {most} parts per million");
                    self.mistaken(line, format!("a clock drifts by {range}, not {ppm}"));
                }
            }
            Action::Jump { node, millis } => {
                self.node(*node, line);
                let most = JUMP_MOST;
                if !(-most..=most).contains(millis) {
                    let range = format!("between -{most} and {most} milliseconds");
                    self.mistaken(line, format!("a wall clock jumps by {range}, not {millis}"));
                }
            }
            Action::Ask { client, command } => self.command(*client, command, line),
            Action::PowerOffAll | Action::RestartAll | Action::HealAll => {}
        }
    }

    fn command(&mut self, client: NodeId, command: &Command, line: u32) {
        let NodeId::Client(number) = client else {
            return self.mistaken(line, format!("expected a client, not {client}"));
        };
        let clients = build::clients(self.scenario);
        let Some(spec) = (number as usize).checked_sub(1).and_then(|at| clients.get(at)) else {
            return self.node(client, line);
        };
        let (fits, expected) = match command {
            Command::Produce { .. } => (matches!(spec, ClientSpec::Producer { .. }), "a producer"),
            Command::Still | Command::Busy => (
                matches!(spec, ClientSpec::Producer { .. } | ClientSpec::Keeper { .. }),
                "a producer or a ZooKeeper client",
            ),
            Command::Watch(_) | Command::List(_) | Command::Multi(_) => {
                (matches!(spec, ClientSpec::Keeper { .. }), "a ZooKeeper client")
            }
            Command::CreateTopic(_)
            | Command::DeleteTopic(_)
            | Command::Reassign { .. }
            | Command::ElectPreferred(_)
            | Command::ElectUnclean(_)
            | Command::SetTopicConfig { .. } => (matches!(spec, ClientSpec::Admin), "an admin"),
        };
        if !fits {
            return self.mistaken(line, format!("{expected} can be asked that, and {client} is `{spec}`"));
        }
        match command {
            Command::CreateTopic(topic) => self.topic(topic, line),
            Command::DeleteTopic(topic) | Command::SetTopicConfig { topic, .. } => self.known(topic, None, line),
            Command::Reassign { partition, replicas } => {
                self.partition(partition, line);
                self.brokers(replicas, line);
            }
            Command::ElectPreferred(partition) | Command::ElectUnclean(partition) => self.partition(partition, line),
            Command::Produce { partition, records } => {
                self.partition(partition, line);
                let most = BATCH_MOST / self.scenario.settings.record_bytes.max(8);
                self.bound(line, "the number of records", *records, 1, most.min(1_000));
            }
            Command::Watch(_) | Command::List(_) | Command::Multi(_) | Command::Still | Command::Busy => {}
        }
    }

    fn partition(&mut self, partition: &TopicPartition, line: u32) {
        self.known(&partition.topic, Some(partition.partition), line);
    }

    /// Brokers by their ids, each once. Generated ids are not known before they are given out.
    fn brokers(&mut self, ids: &[i32], line: u32) {
        let settings = &self.scenario.settings;
        let known = |id: &i32| settings.generated_ids || (1..=settings.brokers as i32).contains(id);
        if let Some(id) = ids.iter().find(|id| !known(id)) {
            self.mistaken(line, format!("there is no broker with the id {id}"));
        }
        if let Some((at, id)) = ids.iter().enumerate().find(|(at, id)| ids[..*at].contains(id)) {
            self.mistaken(line, format!("broker {id} stands twice, again in place {}", at + 1));
        }
    }
}
