//! A broker's standing with the ensemble: its session, its id, its ephemeral registration, and the configuration it
//! reads there (protocol.md C.1, C.2).
//!
//! One step after another, each asked again when a connection broke before its answer. A new session registers anew;
//! the old session's znode may still be there, and is removed then (KAFKA-7165, K25).

use super::config::TopicSettings;
use super::controller;
use super::metadata::{MESH, endpoints};
use super::znodes::{self, BrokerInfo};
use super::{Broker, Timer};
use crate::api::storage::{Lane, StoreOp};
use crate::id::{BrokerEpoch, BrokerId, SessionId};
use crate::keeper::client::op::{ANY_VERSION, Answer, CreateMode, Done, Event, KeeperError, Op, WatchKind};
use crate::machine::{Effects, Ticket};
use crate::node::Effect;
use crate::note::broker::BrokerNote;
use crate::ordered::{OrdMap, OrdSet, sort_by};
use crate::time::{Instant, Now, Span};
use std::sync::Arc;

/// Ids up to this one are for configured brokers; generated ones lie above (`reserved.broker.max.id`).
const RESERVED_IDS: i32 = 1000;
/// A step that failed for no reason it knows is tried again after this.
const TRY_AGAIN: Span = Span::millis(500);

/// Where a broker stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    pub step: Step,
    /// The session that wrote `/brokers/ids/N` last: a znode that it owns is ours to remove.
    wrote: Option<SessionId>,
    /// It was registered once: a later failure does not stop the broker.
    once: bool,
    /// The czxid of the registration; −1 before the first.
    pub epoch: BrokerEpoch,
    /// Since when somebody else's registration stands in the way of the first.
    refused_since: Option<Instant>,
    /// The newest configuration change that was applied.
    config_seen: Option<Arc<str>>,
    /// The sync that makes a generated id durable, while it is owed.
    id_owed: Option<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// No session yet.
    Waiting,
    /// Creates what every broker expects to be there; so many answers are owed.
    Paths {
        owed: u32,
        lost: bool,
    },
    ReadCluster,
    CreateCluster,
    TakeId,
    /// The id that was handed out is on its way to the disk: without it the next start would take another one, and all
    /// that is assigned to this one would be orphaned.
    StoreId,
    Register,
    /// NODEEXISTS: whose is it?
    ReadOwner,
    /// It was ours, of a session that is gone.
    RemoveStale,
    Registered,
    /// Somebody else has our id, and we were registered before: we wait until that is gone. It may be a session of our own,
    /// that ended for us before we heard that it had registered. (Apache's broker runs on unregistered.)
    Refused,
    /// The session is being closed.
    Leaving,
}

/// How long a change of settings is told of (ZkNodeChangeNotificationListener.changeExpirationMs). Every broker looks
/// whenever something changes.
const CONFIG_CHANGE_EXPIRES: Span = Span::secs(900);

/// What a question to the ensemble was about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    Step(Step),
    Controller(controller::ZkToken),
    /// The children of `/config/topics`.
    TopicConfigs,
    /// The children of `/config/changes`.
    ConfigChanges,
    ConfigChange(Arc<str>),
    /// Nothing depends on the answer: our keeper is to catch up, or a change of long ago is taken away.
    Done,
    /// An entity's configuration: topics, brokers.
    Config(Arc<str>, Arc<str>),
}

impl Default for Registration {
    fn default() -> Self {
        let epoch = BrokerEpoch::NONE;
        Registration {
            step: Step::Waiting,
            wrote: None,
            once: false,
            epoch,
            refused_since: None,
            config_seen: None,
            id_owed: None,
        }
    }
}

impl Broker {
    pub(super) fn on_keeper_events(&mut self, now: Now, events: Vec<Event<Question>>, fx: &mut Effects<Effect>) {
        for event in events {
            if let Event::Connected { .. } = event {
                // An ensemble that was interrupted gives every session a whole time-out more, that of whoever holds our
                // id as well.
                self.registration.refused_since = None;
            }
            match event {
                Event::Connected { session, new: true } => self.on_session(now, session, fx),
                Event::Connected { new: false, .. } => {
                    if self.registration.step == Step::Registered {
                        self.controller_do(now, fx, |controller, now, fx| controller.on_connected(now, fx));
                        self.read_configs(now, fx);
                    } else {
                        self.take_step(now, self.registration.step, fx);
                    }
                }
                Event::Disconnected => {}
                Event::Expired { session } => self.on_expired(now, session, fx),
                Event::Watch { kind, path } => self.on_watch(now, kind, &path, fx),
                Event::Reply { token, answer } => self.on_keeper_answer(now, token, answer, fx),
            }
        }
    }

    fn on_session(&mut self, now: Now, _: SessionId, fx: &mut Effects<Effect>) {
        let first = if self.registration.once { Step::Register } else { Step::Paths { owed: 0, lost: false } };
        self.take_step(now, first, fx);
    }

    fn on_expired(&mut self, now: Now, session: SessionId, fx: &mut Effects<Effect>) {
        fx.note(BrokerNote::SessionLost { session });
        // What the controller still has to do under the old session it does before there is a new one (C.2).
        self.controller_do(now, fx, |controller, now, fx| controller.on_expired(now, fx));
        if self.shutdown.is_some() {
            return self.become_stopped(fx);
        }
        self.registration.step = Step::Waiting;
        self.with_keeper(fx, |keeper, fx| keeper.start(now, fx));
    }

    /// Asks what the step needs; also to ask it again.
    fn take_step(&mut self, now: Now, step: Step, fx: &mut Effects<Effect>) {
        // Answers to this step are still owed: the last of them says how it goes on.
        if matches!(self.registration.step, Step::Paths { owed, .. } if owed > 0) {
            return;
        }
        self.registration.step = step;
        self.deadlines.clear(&Timer::Registration);
        let me = znodes::broker(self.id);
        let op = match step {
            Step::Waiting | Step::StoreId | Step::Registered | Step::Refused | Step::Leaving => return,
            Step::Paths { .. } => {
                let owed = znodes::PERSISTENT_PATHS.len() as u32;
                self.registration.step = Step::Paths { owed, lost: false };
                for path in znodes::PERSISTENT_PATHS {
                    let op = Op::create(path, None, CreateMode::Persistent);
                    self.ask_keeper(now, op, Question::Step(Step::Paths { owed: 0, lost: false }), fx);
                }
                return;
            }
            Step::ReadCluster => Op::get(znodes::CLUSTER_ID, false),
            Step::CreateCluster => {
                let id = self.draw_cluster_id();
                let data = match &self.config.cluster {
                    Some(name) => znodes::encode_named_cluster_id(&id, name),
                    None => znodes::encode_cluster_id(&id),
                };
                Op::create(znodes::CLUSTER_ID, Some(data), CreateMode::Persistent)
            }
            Step::TakeId => Op::Set { path: znodes::SEQ_ID.into(), data: None, version: ANY_VERSION },
            Step::Register => Op::Multi(vec![
                Op::create(&me, None, CreateMode::Ephemeral),
                Op::set(&me, self.broker_info(now).encode(), 0),
            ]),
            // If it is of before a crash, its end is told.
            Step::ReadOwner => Op::get(&me, true),
            Step::RemoveStale => Op::delete(&me, ANY_VERSION),
        };
        self.ask_keeper(now, op, Question::Step(step), fx);
    }

    fn broker_info(&self, now: Now) -> BrokerInfo {
        let config = &self.config;
        let endpoints = endpoints(&config.host, config.port, config.number);
        debug_assert!(endpoints.iter().any(|endpoint| endpoint.listener == MESH));
        BrokerInfo { endpoints, rack: config.rack.as_deref().map(str::to_owned), timestamp: now.wall }
    }

    fn draw_cluster_id(&mut self) -> String {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        id[8..].copy_from_slice(&self.rng.next().to_be_bytes());
        crate::id::TopicId(id).to_string()
    }

    fn on_keeper_answer(&mut self, now: Now, question: Question, answer: Answer, fx: &mut Effects<Effect>) {
        match question {
            Question::Controller(token) => {
                self.controller_do(now, fx, |controller, now, fx| controller.on_answer(now, token, answer, fx));
            }
            Question::Step(asked) => self.on_step(now, asked, answer, fx),
            Question::TopicConfigs => {
                let Ok(Done::Children { names, .. }) = answer else { return };
                let ours = self.partitions.keys().map(|name| name.topic.clone());
                let topics: OrdSet<Arc<str>> = names.into_iter().chain(ours).collect();
                for topic in topics {
                    self.read_config(now, "topics", &topic, fx);
                }
            }
            Question::ConfigChanges => {
                let Ok(Done::Children { mut names, .. }) = answer else { return };
                sort_by(&mut names, Ord::cmp);
                let seen = self.registration.config_seen.clone();
                for name in names {
                    let path = format!("{}/{name}", znodes::CONFIG_CHANGES);
                    let is_new = seen.as_ref().is_none_or(|seen| name > *seen);
                    // Of the others only the age is of interest.
                    let op = if is_new { Op::get(&path, false) } else { Op::exists(&path, false) };
                    if is_new {
                        self.registration.config_seen = Some(name.clone());
                    }
                    self.ask_keeper(now, op, Question::ConfigChange(name), fx);
                }
            }
            Question::ConfigChange(name) => {
                let Ok(Some(created)) = answer.as_ref().map(|done| done.stat().map(|stat| stat.ctime)) else { return };
                if let Ok(Done::Data { data: Some(data), .. }) = answer
                    && let Some((kind, name)) = znodes::decode_config_change(&data)
                {
                    self.read_config(now, &kind, &name, fx);
                }
                if now.wall.0 - created.0 > CONFIG_CHANGE_EXPIRES.as_millis() as i64 {
                    let path = format!("{}/{name}", znodes::CONFIG_CHANGES);
                    self.ask_keeper(now, Op::delete(&path, ANY_VERSION), Question::Done, fx);
                }
            }
            Question::Done => {}
            Question::Config(kind, name) => {
                let configs = match answer {
                    Ok(Done::Data { data: Some(data), .. }) => znodes::decode_configs(&data).unwrap_or_default(),
                    Ok(_) | Err(KeeperError::NONODE) => Default::default(),
                    Err(_) => return,
                };
                let configs: OrdMap<String, String> = configs.into_iter().collect();
                self.apply_config(now, &kind, name, configs, fx);
            }
        }
    }

    fn on_step(&mut self, now: Now, asked: Step, answer: Answer, fx: &mut Effects<Effect>) {
        if let Step::Paths { owed, lost } = self.registration.step {
            // A path that is there already is as good as created.
            let lost = lost || !matches!(answer, Ok(_) | Err(KeeperError::NODEEXISTS));
            let owed = owed - 1;
            self.registration.step = Step::Paths { owed, lost };
            if owed == 0 && !lost {
                self.take_step(now, Step::ReadCluster, fx);
            } else if owed == 0 {
                self.deadlines.set(Timer::Registration, now.at + TRY_AGAIN);
            }
            return;
        }
        if asked != self.registration.step {
            return;
        }
        let unknown = matches!(answer, Err(KeeperError::CONNECTIONLOSS | KeeperError::SESSIONEXPIRED));
        if unknown {
            // Asked again by `Connected`, or from the start by the next session. (A multi may have succeeded: then it
            // meets its own znode, and sees so.)
            return;
        }
        match (asked, answer) {
            (Step::ReadCluster, Ok(Done::Data { data: Some(data), .. })) => match znodes::decode_cluster_id(&data) {
                Some(id) => match self.stranger(znodes::decode_cluster_name(&data)) {
                    Some(why) => self.halt(why, fx),
                    None => self.on_cluster_id(now, id, fx),
                },
                None => self.halt("the ensemble's /cluster/id cannot be read".to_owned(), fx),
            },
            (Step::ReadCluster, Err(KeeperError::NONODE)) => self.take_step(now, Step::CreateCluster, fx),
            (Step::CreateCluster, _) => self.take_step(now, Step::ReadCluster, fx),
            (Step::TakeId, Ok(Done::Stat(stat))) => {
                let id = BrokerId(RESERVED_IDS + stat.version);
                fx.note(BrokerNote::IdTaken { id });
                self.adopt_id(now, id, fx);
            }
            (Step::Register, Ok(done)) => {
                let stat = match &done {
                    Done::Multi(parts) => parts.iter().find_map(|part| part.as_ref().ok()?.stat()),
                    other => other.stat(),
                };
                match stat {
                    Some(stat) => self.become_registered(now, BrokerEpoch(stat.czxid.to_wire()), fx),
                    None => self.take_step(now, Step::ReadOwner, fx),
                }
            }
            (Step::Register, Err(_)) => self.take_step(now, Step::ReadOwner, fx),
            (Step::ReadOwner, Ok(Done::Data { stat, .. })) => {
                let owner = stat.ephemeral_owner;
                let session = self.keeper.session();
                if session == Some(owner) {
                    self.become_registered(now, BrokerEpoch(stat.czxid.to_wire()), fx);
                } else if self.registration.wrote == Some(owner) {
                    fx.note(BrokerNote::StaleRegistration { owner });
                    self.take_step(now, Step::RemoveStale, fx);
                } else if self.registration.once {
                    fx.note(BrokerNote::NotRegistered { id: self.id, owner });
                    self.registration.step = Step::Refused;
                } else if now.at.since(*self.registration.refused_since.get_or_insert(now.at)) <= self.patience() {
                    // Our own znode of before a crash stands until its session expires. (Apache's broker aborts, and
                    // its supervisor starts it again until it succeeds.)
                    self.deadlines.set(Timer::Registration, now.at + TRY_AGAIN);
                } else {
                    self.halt(format!("broker {} is registered by session {owner} already", self.id), fx);
                }
            }
            (Step::ReadOwner | Step::RemoveStale, _) => self.take_step(now, Step::Register, fx),
            (_, _) => self.deadlines.set(Timer::Registration, now.at + TRY_AGAIN),
        }
    }

    /// How long a start waits for an earlier registration to go: its session may outlive some elections of the keepers,
    /// each of which gives it a whole timeout more.
    fn patience(&self) -> Span {
        self.settings.zookeeper_session_timeout * 10
    }

    /// The step is tried again.
    pub(super) fn on_registration_timer(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let step = match self.registration.step {
            Step::ReadOwner | Step::Refused => Step::Register,
            step => step,
        };
        if self.keeper.is_connected() {
            self.take_step(now, step, fx);
        }
    }

    /// Why this broker has no business with the ensemble: it is that of a cluster with another name. A new disk says
    /// nothing of that, and registered, a stranger would be given partitions. (Kafka only has the id to compare,
    /// InconsistentClusterIdException, which lets every new disk in.)
    fn stranger(&self, theirs: Option<String>) -> Option<String> {
        let (ours, theirs) = (self.config.cluster.as_deref()?, theirs?);
        (ours != theirs)
            .then(|| format!("it is of the cluster {ours}, and the ensemble is that of the cluster {theirs}"))
    }

    fn on_cluster_id(&mut self, now: Now, id: String, fx: &mut Effects<Effect>) {
        if let Some((_, ours)) = &self.meta
            && *ours != id
        {
            let why = format!("this disk belongs to cluster {ours}, the ensemble to cluster {id}");
            return self.halt(why, fx);
        }
        self.metadata.cluster_id = id.into();
        let stored = self.meta.as_ref().map(|(id, _)| *id);
        match (self.config.broker_id, stored) {
            (Some(wanted), Some(stored)) if wanted != stored => {
                self.halt(format!("broker.id is {wanted}, this disk belongs to broker {stored}"), fx);
            }
            (Some(id), _) | (None, Some(id)) => self.adopt_id(now, id, fx),
            (None, None) => self.take_step(now, Step::TakeId, fx),
        }
    }

    fn adopt_id(&mut self, now: Now, id: BrokerId, fx: &mut Effects<Effect>) {
        self.id = id;
        if self.meta.is_none() {
            let cluster = self.metadata.cluster_id.to_string();
            self.meta = Some((id, cluster.clone()));
            fx.emit(Effect::Store { lane: Lane::Checkpoint, op: StoreOp::Meta { broker: id, cluster } });
            if self.config.broker_id.is_none() {
                self.registration.id_owed = Some(self.sync_checkpoints(fx));
            }
        }
        self.start_controller();
        let next = if self.registration.id_owed.is_some() { Step::StoreId } else { Step::Register };
        self.take_step(now, next, fx);
    }

    /// A checkpoint is on the disk; only a generated id is waited for.
    pub(super) fn on_checkpoint_synced(&mut self, now: Now, upto: Ticket, fx: &mut Effects<Effect>) {
        self.registration.id_owed = self.registration.id_owed.filter(|ticket| *ticket > upto);
        if self.registration.step == Step::StoreId && self.registration.id_owed.is_none() {
            self.take_step(now, Step::Register, fx);
        }
    }

    fn become_registered(&mut self, now: Now, epoch: BrokerEpoch, fx: &mut Effects<Effect>) {
        let Some(session) = self.keeper.session() else { return };
        self.registration.step = Step::Registered;
        self.registration.wrote = Some(session);
        self.registration.once = true;
        self.registration.epoch = epoch;
        fx.note(BrokerNote::Registered { id: self.id, epoch });
        self.take_early(now, fx);
        self.read_configs(now, fx);
        self.controller_do(now, fx, |controller, now, fx| controller.on_session(now, session, fx));
    }

    fn on_watch(&mut self, now: Now, kind: WatchKind, path: &str, fx: &mut Effects<Effect>) {
        if matches!(self.registration.step, Step::ReadOwner | Step::Refused) && path == znodes::broker(self.id) {
            self.on_registration_timer(now, fx);
        }
        if path == znodes::CONFIG_CHANGES {
            self.ask_keeper(now, Op::children(znodes::CONFIG_CHANGES, true), Question::ConfigChanges, fx);
        }
        self.controller_do(now, fx, |controller, now, fx| controller.on_watch(now, kind, path, fx));
    }

    /// Reads every override there is, and waits for changes.
    fn read_configs(&mut self, now: Now, fx: &mut Effects<Effect>) {
        self.ask_keeper(now, Op::children(znodes::CONFIG_CHANGES, true), Question::ConfigChanges, fx);
        self.ask_keeper(now, Op::children("/config/topics", false), Question::TopicConfigs, fx);
        self.read_config(now, "brokers", "<default>", fx);
        self.read_config(now, "brokers", &self.id.to_string(), fx);
    }

    /// Asks for the settings of a topic whose first replica is made here. Until they are read, nobody may write to it.
    pub(super) fn read_topic_config(&mut self, now: Now, topic: &Arc<str>, fx: &mut Effects<Effect>) {
        self.topic_configs.remove(topic);
        // The controller knows the topic; our keeper may be behind its own, and not have its settings yet.
        let path = znodes::config("topics", topic).into();
        self.ask_keeper(now, Op::Sync { path }, Question::Done, fx);
        self.read_config(now, "topics", topic, fx);
    }

    fn read_config(&mut self, now: Now, kind: &str, name: &str, fx: &mut Effects<Effect>) {
        let op = Op::get(&znodes::config(kind, name), false);
        self.ask_keeper(now, op, Question::Config(kind.into(), name.into()), fx);
    }

    fn apply_config(
        &mut self,
        now: Now,
        kind: &str,
        name: Arc<str>,
        configs: OrdMap<String, String>,
        fx: &mut Effects<Effect>,
    ) {
        let unclean_before = self.settings.unclean_leader_election_enable;
        let (topic, unclean_now) = match kind {
            "topics" => {
                let allowed = TopicSettings::unclean_leader(&configs) == Some(true);
                self.topic_configs.insert(name.clone(), configs);
                (Some(name), allowed)
            }
            "brokers" => {
                let mine = *name == *self.id.to_string();
                if *name == *"<default>" {
                    self.default_configs = configs;
                } else if mine {
                    self.own_configs = configs;
                } else {
                    return;
                }
                self.settings = self.config.settings.clone();
                for (name, value) in self.default_configs.iter().chain(&self.own_configs) {
                    // A value that cannot be read leaves the setting as it was.
                    let _ = self.settings.set(name, value);
                }
                if let Some(controller) = &mut self.controller {
                    controller.set_settings(self.settings.clone());
                }
                (None, !unclean_before && self.settings.unclean_leader_election_enable)
            }
            _ => return,
        };
        self.apply_topic_settings(now, topic.as_ref(), fx);
        if unclean_now {
            self.controller_do(now, fx, |controller, now, fx| controller.on_unclean_allowed(now, fx));
        }
    }

    pub(super) fn ask_keeper(&mut self, now: Now, op: Op, question: Question, fx: &mut Effects<Effect>) {
        self.with_keeper(fx, |keeper, fx| keeper.ask(now, op, question, fx));
    }

    /// Closes the session: its ephemerals go at once.
    pub(super) fn leave(&mut self, now: Now, fx: &mut Effects<Effect>) {
        self.registration.step = Step::Leaving;
        self.with_keeper(fx, |keeper, fx| keeper.close(now, fx));
    }
}
