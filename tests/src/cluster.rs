//! A cluster that a story is told on: the simulator's, or one of real processes. A story is a scenario's text without
//! rules and without faults that only a simulator has; it runs on both as it stands, and ends the same way.

use crate::aftermath::Aftermath;
use crate::load::Load;
use crate::process::{ProcessCluster, eventually, signal, signal_all};
use glasshouse_core::id::NodeId;
use glasshouse_core::rules::Rules;
use glasshouse_core::sim::run::{Verdict, conclude};
use glasshouse_core::sim::scenario::{Action, ClientSpec, Command, Scenario, Settings};
use glasshouse_core::sim::swarm::calm;
use glasshouse_core::sim::trace::Keep;
use glasshouse_core::sim::world::World;
use glasshouse_core::time::{Instant, Span};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub trait Cluster {
    /// Time goes on to this moment of the story.
    fn go_on_until(&mut self, at: Instant);

    /// Does one thing to the cluster, now.
    fn act(&mut self, action: &Action);

    /// The story is over. What is wrong: everybody serves again, every replica is in sync, what was acknowledged is
    /// there, once and in order, and no read went back; or else it is said here.
    fn end(self) -> Vec<String>;
}

/// Tells a story; what is wrong in the end.
pub fn tell(mut cluster: impl Cluster, story: &Scenario) -> Vec<String> {
    for timed in &story.actions {
        cluster.go_on_until(timed.at);
        cluster.act(&timed.action);
    }
    cluster.go_on_until(Instant::ZERO + story.length);
    cluster.end()
}

/// What of a story no process can do, if anything.
pub fn unportable(story: &Scenario) -> Option<String> {
    if story.rules != Rules::default() || story.expect.is_some() {
        return Some("it has rules of its own, or ends badly".to_owned());
    }
    if let Err(why) = flags(&story.settings) {
        return Some(why);
    }
    story.actions.iter().find_map(|timed| match &timed.action {
        Action::Kill(_)
        | Action::PowerOff(_)
        | Action::PowerOffAll
        | Action::Restart(_)
        | Action::RestartAll
        | Action::Pause(_)
        | Action::Resume(_)
        | Action::Shutdown(_)
        | Action::HealAll
        | Action::LoseReply { .. }
        | Action::DelayReply { .. }
        | Action::FailReply { .. } => None,
        // A cut between processes is one in both directions.
        Action::Cut { from, to } | Action::Slow { from, to, .. } | Action::Heal { from, to } => {
            let back = |other: &Action| match (&timed.action, other) {
                (Action::Cut { .. }, Action::Cut { from: f, to: t })
                | (Action::Slow { .. }, Action::Slow { from: f, to: t, .. })
                | (Action::Heal { .. }, Action::Heal { from: f, to: t }) => (f, t) == (to, from),
                _ => false,
            };
            let both = story.actions.iter().any(|other| other.at == timed.at && back(&other.action));
            (!both).then(|| format!("{} only one way", timed.action))
        }
        Action::Ask {
            command: Command::CreateTopic(_) | Command::DeleteTopic(_) | Command::Produce { .. }, ..
        } => None,
        other => Some(format!("{other}")),
    })
}

// -- the simulator --

/// A world of the simulator.
pub struct SimCluster {
    world: World,
}

impl SimCluster {
    pub fn new(story: &Scenario) -> SimCluster {
        let mut world = World::new(&Scenario { actions: Vec::new(), ..story.clone() });
        world.trace.keep = Keep::Notes;
        SimCluster { world }
    }
}

impl Cluster for SimCluster {
    fn go_on_until(&mut self, at: Instant) {
        self.world.run_until(at);
    }

    fn act(&mut self, action: &Action) {
        self.world.inject(action.clone());
    }

    fn end(mut self) -> Vec<String> {
        let rest = calm(&self.world.scenario().settings);
        self.world.run_until(self.world.now() + rest + Span::secs(1));
        let mut wrongs = Vec::new();
        if let Verdict::Violated(violation) | Verdict::Stuck(violation) = conclude(&mut self.world).verdict {
            wrongs.push(format!("{} at {}: {}", violation.invariant, violation.at, violation.detail));
        }
        if !self.world.is_whole() {
            wrongs.push("somebody is down or cut off in the end".to_owned());
        }
        wrongs
    }
}

// -- processes --

/// Processes, and clients of theirs that do what a scenario's clients do.
pub struct Processes {
    cluster: ProcessCluster,
    load: Load,
    begun: std::time::Instant,
    /// Topics that there should be.
    topics: BTreeSet<Arc<str>>,
}

/// Settings of the simulated links and disks; processes have real ones.
const WEATHER: [&str; 7] =
    ["latency", "jitter", "dead-peer", "reconnect", "sync-latency", "sync-jitter", "client-session"];

/// The flags of `glasshouse up` that mean these settings.
fn flags(settings: &Settings) -> Result<Vec<String>, String> {
    let ms = |span: Span| span.as_millis();
    let mut flags = vec![
        format!("--keepers={}", settings.keepers),
        format!("--brokers={}", settings.brokers),
        format!("--tick-ms={}", ms(settings.tick)),
        // As the simulator has it.
        format!("--set=controlled.shutdown.retry.backoff.ms={}", ms(settings.request_timeout) / 6),
        format!("--set=replica.socket.timeout.ms={}", ms(settings.request_timeout)),
        format!("--set=controller.socket.timeout.ms={}", ms(settings.request_timeout)),
    ];
    for (name, _) in settings.changed() {
        let (setting, value) = match name {
            "keepers" | "brokers" | "tick" | "record-bytes" | "batch-records" => continue,
            weather if WEATHER.contains(&weather) => continue,
            "broker-session" => ("zookeeper.session.timeout.ms", ms(settings.broker_session)),
            "replica-lag" => ("replica.lag.time.max.ms", ms(settings.replica_lag)),
            "fetch-wait" => ("replica.fetch.wait.max.ms", ms(settings.fetch_wait)),
            "fetch-backoff" => ("replica.fetch.backoff.ms", ms(settings.fetch_backoff)),
            "request-timeout" => ("request.timeout.ms", ms(settings.request_timeout)),
            "checkpoint-every" => ("replica.high.watermark.checkpoint.interval.ms", ms(settings.checkpoint_every)),
            "rebalance-every" => ("leader.imbalance.check.interval.ms", ms(settings.rebalance_every)),
            "retention-every" => ("log.retention.check.interval.ms", ms(settings.retention_every)),
            "retention" => ("log.retention.ms", ms(settings.retention)),
            "retention-bytes" => ("log.retention.bytes", u64::from(settings.retention_bytes)),
            "segment-bytes" => ("log.segment.bytes", u64::from(settings.segment_bytes)),
            "min-isr" => ("min.insync.replicas", u64::from(settings.min_isr)),
            other => return Err(format!("set {other}")),
        };
        flags.push(format!("--set={setting}={value}"));
    }
    Ok(flags)
}

impl Processes {
    /// Starts what the story needs. Panics if it is not portable. Writes are held in the processes, so that whoever is
    /// killed loses what was not synced, if the story has a power loss.
    pub fn start(story: &Scenario) -> Processes {
        let mut all = flags(&story.settings).unwrap_or_else(|why| panic!("no process can do this: {why}"));
        let power = |action: &Action| matches!(action, Action::PowerOff(_) | Action::PowerOffAll);
        let hold = story.actions.iter().any(|timed| power(&timed.action));
        all.extend(["--stones".to_owned(), format!("--hold={}", if hold { "process" } else { "page-cache" })]);
        let cluster = ProcessCluster::start(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let begun = std::time::Instant::now();
        let mut load = Load::new(&cluster.kafka, &cluster.zookeeper, story.seed);
        load.session = Duration::from_nanos(story.settings.client_session.0);
        load.retention = story.settings.changed().iter().any(|(name, _)| name.starts_with("retention"));
        story.topics.iter().for_each(|topic| load.create(topic));
        story.clients.iter().for_each(|client: &ClientSpec| load.start(client));
        Processes { cluster, load, begun, topics: story.topics.iter().map(|topic| topic.name.clone()).collect() }
    }

    fn pid(&self, node: NodeId) -> Option<u32> {
        let name = node.to_string();
        self.cluster.running().into_iter().find(|running| running.name == name).map(|running| running.pid)
    }

    fn throw(&self, stone: &serde_json::Value) {
        // A node that was started a moment ago may still be on its way.
        eventually(&format!("{stone} is thrown"), || self.cluster.throw(stone).ok());
    }

    fn on(&self, stone: &str, node: NodeId) {
        self.throw(&json!({"stone": stone, "on": node.to_string()}));
    }

    fn restart_all(&self) {
        let running = self.cluster.running();
        for node in self.cluster.nodes.iter().filter(|node| !running.iter().any(|other| other.name == node.name)) {
            self.throw(&json!({"stone": "restart", "on": node.name}));
        }
    }

    /// Tampers with what a broker answers next, whoever asked.
    fn tamper(&self, server: NodeId, how: &str, ms: u64, code: i16) {
        self.throw(&json!({"stone": "reply", "on": server.to_string(), "how": how, "ms": ms, "code": code}));
    }

    fn ask(&mut self, client: NodeId, command: &Command) {
        match command {
            Command::CreateTopic(topic) => {
                self.load.create(topic);
                self.topics.insert(topic.name.clone());
            }
            Command::DeleteTopic(name) => {
                self.load.delete(client, name);
                self.topics.remove(name);
            }
            Command::Produce { partition, records } => {
                let NodeId::Client(number) = client else { panic!("{client} is no client") };
                self.load.write(number, partition, *records);
            }
            other => panic!("no process can do this: {other}"),
        }
    }

    /// Waits until the cluster is what the story says it should be.
    fn come_to_rest(&mut self) {
        let (all, topics) = (self.cluster.nodes.len(), &self.topics);
        eventually("every node runs", || (self.cluster.running().len() == all).then_some(()));
        eventually("the topics are those of the story", || {
            let there: BTreeSet<Arc<str>> = self.load.topics().into_iter().map(|(name, _)| name).collect();
            (there == *topics).then_some(())
        });
        self.load.in_sync();
        self.load.moves();
        self.load.finish();
        self.load.in_sync();
    }
}

impl Cluster for Processes {
    fn go_on_until(&mut self, at: Instant) {
        let passed = self.begun.elapsed();
        std::thread::sleep(Duration::from_nanos(at.0).saturating_sub(passed));
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Kill(node) | Action::PowerOff(node) => self.on("kill", *node),
            Action::PowerOffAll => {
                let pids: Vec<u32> = self.cluster.running().iter().map(|node| node.pid).collect();
                signal_all("KILL", &pids);
                eventually("everybody is gone", || self.cluster.running().is_empty().then_some(()));
            }
            Action::Restart(node) => self.on("restart", *node),
            Action::RestartAll => self.restart_all(),
            Action::Pause(node) => self.on("pause", *node),
            Action::Resume(node) => self.on("resume", *node),
            Action::Shutdown(node) => {
                signal("TERM", self.pid(*node).unwrap_or_else(|| panic!("{node} is down")));
                eventually(&format!("{node} stops in order"), || self.pid(*node).is_none().then_some(()));
            }
            Action::Cut { from, to } => {
                self.throw(&json!({"stone": "cut", "on": from.to_string(), "node": to.to_string()}));
            }
            Action::Slow { from, to, by } => {
                let (from, to, ms) = (from.to_string(), to.to_string(), by.as_millis());
                self.throw(&json!({"stone": "slow", "on": from, "node": to, "ms": ms}));
            }
            Action::Heal { from, to } => {
                self.throw(&json!({"stone": "heal", "on": from.to_string(), "node": to.to_string()}));
            }
            Action::HealAll => self.throw(&json!({"stone": "heal"})),
            Action::LoseReply { server, .. } => self.tamper(*server, "lost", 0, 0),
            Action::DelayReply { server, by, .. } => self.tamper(*server, "delayed", by.as_millis(), 0),
            Action::FailReply { server, error, .. } => self.tamper(*server, "failed", 0, *error),
            Action::Ask { client, command } => self.ask(*client, command),
            other => panic!("no process can do this: {other}"),
        }
    }

    fn end(mut self) -> Vec<String> {
        self.come_to_rest();
        let Processes { mut cluster, load, .. } = self;
        let data = cluster.data.clone();
        cluster.keep_data();
        let said = cluster.said();
        let stopped = cluster.stop();
        let mut wrongs = load.book.wrongs();
        if !stopped.success() {
            wrongs.push(format!("the cluster did not stop in order: {stopped}"));
        }
        wrongs.extend(Aftermath::read(&data).judge(&load.book.told()));
        if wrongs.is_empty() {
            let _ = std::fs::remove_dir_all(&data);
        } else {
            wrongs.push(format!("the folder is kept: {}; it said:\n{said}", data.display()));
        }
        wrongs
    }
}
