//! Controllers on an ensemble in memory: what they leave in ZooKeeper and tell brokers, C.2 to C.4 step by step.

use super::*;
use crate::api::kafka::{
    AlterPartitionData, AlterPartitionReassignmentsRequest, AlterPartitionRequest, AlterPartitionTopic,
    ControlledShutdownRequest, CreatableAssignment, CreatableConfig, CreatableTopic, CreateTopicsRequest,
    DeleteTopicsRequest, IsrMember, LeaderAndIsrResponse, ReassignablePartition, ReassignableTopic,
    StopReplicaResponse, UpdateMetadataResponse,
};
use crate::broker::znodes::{BrokerInfo, Endpoint, PartitionState, TopicInfo};
use crate::id::{BrokerEpoch, LeaderEpoch, PartitionEpoch, Zxid};
use crate::time::UnixMillis;
use crate::znode::stat::Stat;
use std::collections::VecDeque;

mod admin;

#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    data: Option<Bytes>,
    stat: Stat,
    created: u32,
}

/// Brokers with a controller each, and one tree that answers at once.
struct World {
    nodes: OrdMap<String, Node>,
    zxid: u64,
    /// (session owner, path, is for children).
    watches: OrdSet<(i32, String, bool)>,
    controllers: OrdMap<i32, Controller>,
    sessions: OrdMap<i32, i64>,
    inbox: VecDeque<(i32, Told)>,
    /// `2<-LeaderAndIsr` and the like, since last asked.
    sent: Vec<String>,
    replies: OrdMap<Asker, Response<LogRange>>,
    /// Its answers from ZooKeeper are held back: a process that is paused.
    frozen: Option<i32>,
    /// It has lost what it held, and says so as long as it is counted among the ISR.
    damaged: Option<i32>,
    /// While one is damaged: what controllers are told of replicas that stop, once it is released.
    late: VecDeque<(i32, Told)>,
    next_session: i64,
    notes: Vec<String>,
}

enum Told {
    Answer(ZkToken, Answer),
    Watch(WatchKind, String),
    Response(i32, i32, Response<Bytes>),
}

impl World {
    fn new(brokers: &[i32]) -> World {
        let mut world = World {
            nodes: OrdMap::new(),
            zxid: 0,
            watches: OrdSet::new(),
            controllers: OrdMap::new(),
            sessions: OrdMap::new(),
            inbox: VecDeque::new(),
            sent: Vec::new(),
            replies: OrdMap::new(),
            frozen: None,
            damaged: None,
            late: VecDeque::new(),
            next_session: 100,
            notes: Vec::new(),
        };
        for path in znodes::PERSISTENT_PATHS {
            world.create(0, path, None, CreateMode::Persistent).unwrap();
        }
        brokers.iter().for_each(|id| world.start(*id));
        world
    }

    fn now() -> Now {
        Now { at: Instant(1), wall: UnixMillis(7) }
    }

    /// A broker starts, registers, and looks for a controller.
    fn start(&mut self, id: i32) {
        self.next_session += 1;
        self.sessions.insert(id, self.next_session);
        let endpoint = Endpoint { listener: "P".into(), protocol: "PLAINTEXT".into(), host: "h".into(), port: 9092 };
        let info = BrokerInfo { endpoints: vec![endpoint], rack: None, timestamp: UnixMillis(1) };
        self.create(id, &znodes::broker(BrokerId(id)), Some(info.encode()), CreateMode::Ephemeral).unwrap();
        let mut controller = Controller::new(BrokerId(id), Settings::default(), Rng::new(id as u64));
        let mut fx = Effects::default();
        for other in 1..=4 {
            controller.on_channel(World::now(), BrokerId(other), true, &mut fx);
        }
        controller.on_session(World::now(), SessionId(self.next_session), &mut fx);
        self.controllers.insert(id, controller);
        self.perform(id, fx);
        self.settle();
    }

    /// The broker's process dies; its session is gone.
    fn kill(&mut self, id: i32) {
        self.controllers.remove(&id);
        self.watches.retain(|(owner, _, _)| *owner != id);
        self.end_session(id);
        self.settle();
    }

    fn end_session(&mut self, id: i32) {
        let session = self.sessions.remove(&id).unwrap();
        self.zxid += 1;
        let owned = self.nodes.iter().filter(|(_, node)| node.stat.ephemeral_owner == SessionId(session));
        let owned: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
        for path in owned {
            self.remove(&path);
        }
    }

    fn fire(&mut self, path: &str, kind: WatchKind) {
        let of_children = kind == WatchKind::ChildrenChanged;
        let hit =
            |watch: &(i32, String, bool)| watch.1 == path && (watch.2 == of_children || kind == WatchKind::Deleted);
        let hits: Vec<(i32, String, bool)> = self.watches.iter().filter(|watch| hit(watch)).cloned().collect();
        for watch in hits {
            self.watches.remove(&watch);
            self.inbox.push_back((watch.0, Told::Watch(kind, path.to_owned())));
        }
    }

    fn create(&mut self, owner: i32, path: &str, data: Option<Bytes>, mode: CreateMode) -> Answer {
        let parent = path.rsplit_once('/').unwrap().0.to_owned();
        if !parent.is_empty() && !self.nodes.contains_key(&parent) {
            return Err(KeeperError::NONODE);
        }
        let mut path = path.to_owned();
        let number = self.nodes.get(&parent).map_or(0, |node| node.created);
        if mode == CreateMode::PersistentSequential {
            path = format!("{path}{number:010}");
        }
        if self.nodes.contains_key(&path) {
            return Err(KeeperError::NODEEXISTS);
        }
        let owner = if mode == CreateMode::Ephemeral { SessionId(self.sessions[&owner]) } else { SessionId(0) };
        let zxid = Zxid(self.zxid);
        let stat = Stat { czxid: zxid, mzxid: zxid, ephemeral_owner: owner, ..Stat::default() };
        self.nodes.insert(path.clone(), Node { data, stat, created: 0 });
        if let Some(parent) = self.nodes.get_mut(&parent) {
            parent.created += 1;
        }
        self.fire(&path, WatchKind::Created);
        self.fire(&parent, WatchKind::ChildrenChanged);
        Ok(Done::Created { path: path.into() })
    }

    fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
        self.fire(path, WatchKind::Deleted);
        let parent = path.rsplit_once('/').unwrap().0.to_owned();
        self.fire(&parent, WatchKind::ChildrenChanged);
    }

    fn children(&self, path: &str) -> Vec<Arc<str>> {
        let prefix = format!("{path}/");
        let below = self.nodes.keys().filter_map(|other| other.strip_prefix(&prefix));
        below.filter(|rest| !rest.contains('/')).map(Arc::from).collect()
    }

    /// Does one operation; a write takes a zxid unless it is part of a multi.
    fn operate(&mut self, from: i32, op: &Op) -> Answer {
        let found = |world: &World, path: &str| world.nodes.get(path).cloned().ok_or(KeeperError::NONODE);
        let version_ok = |node: &Node, version: i32| match version {
            ANY_VERSION => Ok(()),
            version if version == node.stat.version => Ok(()),
            _ => Err(KeeperError::BADVERSION),
        };
        match op {
            Op::Exists { path, watch } | Op::Get { path, watch } | Op::Children { path, watch } => {
                let node = found(self, path);
                let for_children = matches!(op, Op::Children { .. });
                if *watch && (node.is_ok() || matches!(op, Op::Exists { .. })) {
                    self.watches.insert((from, path.to_string(), for_children));
                }
                let Node { data, stat, .. } = node?;
                Ok(match op {
                    Op::Exists { .. } => Done::Stat(stat),
                    Op::Get { .. } => Done::Data { data, stat },
                    _ => Done::Children { names: self.children(path), stat },
                })
            }
            Op::Create { path, data, mode } => self.create(from, path, data.clone(), *mode),
            Op::Set { path, data, version } => {
                version_ok(&found(self, path)?, *version)?;
                let zxid = Zxid(self.zxid);
                let node = self.nodes.get_mut(&**path).unwrap();
                node.data = data.clone();
                node.stat.version += 1;
                node.stat.mzxid = zxid;
                let stat = node.stat;
                self.fire(path, WatchKind::DataChanged);
                Ok(Done::Stat(stat))
            }
            Op::Delete { path, version } => {
                version_ok(&found(self, path)?, *version)?;
                if !self.children(path).is_empty() {
                    return Err(KeeperError::NOTEMPTY);
                }
                self.remove(path);
                Ok(Done::Nothing)
            }
            Op::Check { path, version } => version_ok(&found(self, path)?, *version).map(|()| Done::Nothing),
            Op::Multi(parts) => {
                let before = (self.nodes.clone(), self.watches.clone(), self.inbox.len());
                let mut results = Vec::new();
                for part in parts {
                    let failed = results.iter().any(Result::is_err);
                    results.push(if failed {
                        Err(KeeperError::RUNTIMEINCONSISTENCY)
                    } else {
                        self.operate(from, part)
                    });
                }
                if results.iter().any(Result::is_err) {
                    (self.nodes, self.watches) = (before.0, before.1);
                    self.inbox.truncate(before.2);
                    results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Ok(Done::Nothing));
                }
                Ok(Done::Multi(results))
            }
            Op::Sync { .. } => Ok(Done::Nothing),
            Op::CreateWith { .. } | Op::GetAcl { .. } | Op::SetAcl { .. } => Err(KeeperError::UNIMPLEMENTED),
        }
    }

    fn perform(&mut self, from: i32, fx: Effects<Effect>) {
        self.notes.extend(fx.notes.iter().map(|note| format!("broker-{from} {note}")));
        for effect in fx.effects {
            match effect {
                Effect::Zk { token, op } => {
                    self.zxid += 1;
                    let answer = self.operate(from, &op);
                    self.inbox.push_back((from, Told::Answer(token, answer)));
                }
                Effect::Send { to, correlation, request } => {
                    self.sent.push(told(to, &request));
                    let response = match &request {
                        Request::LeaderAndIsr(request) => {
                            led(request, self.damaged.filter(|id| *id == to.0).map(BrokerId)).into()
                        }
                        Request::StopReplica(_) => {
                            let fails = self.damaged == Some(to.0);
                            let error = if fails { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NONE };
                            StopReplicaResponse { error, ..Default::default() }.into()
                        }
                        _ => UpdateMetadataResponse::default().into(),
                    };
                    if self.controllers.contains_key(&to.0) {
                        let is_late = matches!(request, Request::StopReplica(_)) && self.damaged.is_some();
                        let queue = if is_late { &mut self.late } else { &mut self.inbox };
                        queue.push_back((from, Told::Response(to.0, correlation, response)));
                    }
                }
                Effect::Reply { to, response } => {
                    assert!(self.replies.insert(to, response).is_none(), "two answers to {to}");
                }
            }
        }
    }

    fn settle(&mut self) {
        let mut held = VecDeque::new();
        while let Some((to, told)) = self.inbox.pop_front() {
            if self.frozen == Some(to) {
                held.push_back((to, told));
                continue;
            }
            let Some(controller) = self.controllers.get_mut(&to) else { continue };
            let mut fx = Effects::default();
            match told {
                Told::Answer(token, answer) => controller.on_answer(World::now(), token, answer, &mut fx),
                Told::Watch(kind, path) => controller.on_watch(World::now(), kind, &path, &mut fx),
                Told::Response(from, correlation, response) => {
                    controller.on_response(World::now(), BrokerId(from), correlation, response, &mut fx);
                }
            }
            self.perform(to, fx);
        }
        self.inbox = held;
    }

    fn release(&mut self) {
        self.inbox.append(&mut self.late);
        self.settle();
    }

    fn ask(&mut self, of: i32, from: Asker, version: i16, request: impl Into<Request>) -> Response<LogRange> {
        let mut fx = Effects::default();
        self.controllers.get_mut(&of).unwrap().on_request(World::now(), from, version, request.into(), &mut fx);
        self.perform(of, fx);
        self.settle();
        self.replies.remove(&from).expect("an answer")
    }

    fn create_topic(&mut self, name: &str, replicas: &[i32]) {
        let brokers = replicas.iter().map(|id| BrokerId(*id)).collect();
        let assignment = CreatableAssignment { partition: 0, brokers, ..Default::default() };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..Default::default()
        };
        assert_eq!(self.ask_for_topics(vec![topic]), [ErrorCode::NONE]);
    }

    fn ask_for_topics(&mut self, topics: Vec<CreatableTopic>) -> Vec<ErrorCode> {
        let active = self.active();
        let answer = self.ask(active, 90, 7, CreateTopicsRequest { topics, ..Default::default() });
        let Response::CreateTopics(answer) = answer else { panic!("{answer:?}") };
        answer.topics.iter().map(|topic| topic.error).collect()
    }

    /// Makes a topic from a broker that need not be the controller.
    fn make_here(&mut self, id: i32, topic: CreatableTopic) -> ErrorCode {
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let seats = self.controllers.keys().map(|id| place::Seat { id: BrokerId(*id), rack: None }).collect();
        let mut fx = Effects::default();
        let begun = self.controllers.get_mut(&id).unwrap().create_topic(World::now(), request, seats, 91, &mut fx);
        if let Err(error) = begun {
            assert!(fx.is_empty(), "{fx:?}");
            return error;
        }
        self.perform(id, fx);
        self.settle();
        let Some(Response::CreateTopics(answer)) = self.replies.remove(&91) else { panic!("no answer") };
        answer.topics[0].error
    }

    fn active(&self) -> i32 {
        let active = self.controllers.iter().filter(|(_, controller)| controller.is_active().is_some());
        let active: Vec<i32> = active.map(|(id, _)| *id).collect();
        assert_eq!(active.len(), 1, "{active:?}");
        active[0]
    }

    /// "leader of isr at epoch/controller, version" of partition 0.
    fn state(&self, topic: &str) -> String {
        let node = &self.nodes[&znodes::partition_state(&TopicPartition::new(topic, 0))];
        let state = PartitionState::decode(node.data.as_ref().unwrap()).unwrap();
        let isr: Vec<String> = state.isr.iter().map(BrokerId::to_string).collect();
        let leader = state.leader.map_or(-1, |id| id.0);
        let (epoch, controller) = (state.leader_epoch, state.controller_epoch);
        format!("{leader} of {} at {epoch}/{controller}, v{}", isr.join(","), node.stat.version)
    }

    fn broker_epoch(&self, id: i32) -> BrokerEpoch {
        BrokerEpoch(self.nodes[&znodes::broker(BrokerId(id))].stat.czxid.to_wire())
    }

    fn alter_request(
        &self,
        leader: i32,
        topic: &str,
        leader_epoch: i32,
        version: i32,
        isr: &[i32],
    ) -> AlterPartitionRequest {
        let info = TopicInfo::decode(self.nodes[&znodes::topic(topic)].data.as_ref().unwrap()).unwrap();
        let member = |id: &i32| IsrMember { broker: BrokerId(*id), ..Default::default() };
        let data = AlterPartitionData {
            partition: 0,
            leader_epoch: LeaderEpoch(leader_epoch),
            new_isr_with_epochs: isr.iter().map(member).collect(),
            partition_epoch: PartitionEpoch(version),
            ..Default::default()
        };
        let topics = vec![AlterPartitionTopic { topic_id: info.id, partitions: vec![data], ..Default::default() }];
        let (broker_id, broker_epoch) = (BrokerId(leader), self.broker_epoch(leader));
        AlterPartitionRequest { broker_id, broker_epoch, topics, ..Default::default() }
    }

    fn alter(&mut self, leader: i32, topic: &str, leader_epoch: i32, version: i32, isr: &[i32]) -> ErrorCode {
        let request = self.alter_request(leader, topic, leader_epoch, version, isr);
        self.ask_for_isr(request)
    }

    fn ask_for_isr(&mut self, request: AlterPartitionRequest) -> ErrorCode {
        let active = self.active();
        match self.ask(active, 91, 3, request) {
            Response::AlterPartition(answer) if answer.error.is_error() => answer.error,
            Response::AlterPartition(answer) => answer.topics[0].partitions[0].error,
            other => panic!("{other:?}"),
        }
    }
}

fn told(to: BrokerId, request: &Request) -> String {
    match request {
        Request::LeaderAndIsr(request) => {
            let parts = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|part| (&topic.name, part)));
            let parts = parts.map(|(name, part)| {
                let new = if part.is_new { " new" } else { "" };
                format!(" {name}-{} {}@{}{new}", part.partition, part.leader, part.leader_epoch)
            });
            format!("{to} LAI{}", parts.collect::<String>())
        }
        Request::StopReplica(request) => {
            let parts = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|part| (&topic.name, part)));
            let parts = parts.map(|(name, part)| {
                format!(" {name}-{}@{}{}", part.partition, part.leader_epoch, if part.delete { " delete" } else { "" })
            });
            format!("{to} Stop{}", parts.collect::<String>())
        }
        other => format!("{to} {}", other.name()),
    }
}

/// The answer of a broker that does as told, except with what is `damaged`: there it must not be in the ISR.
fn led(request: &kafka::LeaderAndIsrRequest, damaged: Option<BrokerId>) -> LeaderAndIsrResponse {
    let row = |told: &kafka::LeaderAndIsrPartition| {
        let refused = damaged.is_some_and(|id| told.isr.contains(&id));
        let error = if refused { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NONE };
        kafka::LeaderAndIsrPartitionError { partition: told.partition, error, ..Default::default() }
    };
    let topics = request.topics.iter().map(|topic| kafka::LeaderAndIsrTopicError {
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(row).collect(),
        ..Default::default()
    });
    LeaderAndIsrResponse { topics: topics.collect(), ..Default::default() }
}

#[test]
fn the_first_broker_becomes_controller_and_a_topic_gets_its_first_leader() {
    let mut world = World::new(&[1, 2, 3]);
    assert_eq!(world.active(), 1);
    assert_eq!(world.controllers[&3].controller(), Some(BrokerId(1)));
    assert_eq!(world.nodes[znodes::CONTROLLER_EPOCH].data.as_deref(), Some(&b"1"[..]));
    assert_eq!(world.nodes[znodes::FEATURE].data, Some(znodes::encode_feature()));
    world.sent.clear();
    world.create_topic("t", &[2, 3]);
    assert_eq!(world.state("t"), "2 of 2,3 at 0/1, v0");
    assert!(world.sent.contains(&"2 LAI t-0 2@0 new".to_owned()), "{:?}", world.sent);
    assert!(world.sent.contains(&"3 LAI t-0 2@0 new".to_owned()), "{:?}", world.sent);
}

fn setting(name: &str, value: &str) -> CreatableConfig {
    CreatableConfig { name: name.to_owned(), value: Some(value.to_owned()), ..Default::default() }
}

#[test]
fn a_setting_that_no_topic_has_is_refused() {
    let mut world = World::new(&[1, 2, 3]);
    let mut ask = |name: &str, value: &str| {
        let configs = vec![setting(name, value)];
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: 1,
            replication_factor: 1,
            configs,
            ..Default::default()
        };
        world.ask_for_topics(vec![topic])
    };
    assert_eq!(ask("retention.msx", "1000"), [ErrorCode::INVALID_CONFIG]);
    assert_eq!(ask("retention.ms", "soon"), [ErrorCode::INVALID_CONFIG]);
    assert_eq!(ask("message.timestamp.type", "LogAppendTime"), [ErrorCode::INVALID_CONFIG]);
}

/// Nothing is planned that a client cannot have meant, and nothing asked that a keeper would hang up on.
#[test]
fn a_request_that_is_too_large_is_refused_and_the_controller_goes_on() {
    let mut world = World::new(&[1, 2, 3]);
    let topic = |name: &str, num_partitions: i32, value: &str| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        configs: vec![setting("leader.replication.throttled.replicas", value)],
        ..Default::default()
    };
    assert_eq!(world.ask_for_topics(vec![topic("t", i32::MAX, "")]), [ErrorCode::INVALID_PARTITIONS]);
    let many = vec![topic("a", 6_000, ""), topic("b", 5_000, "")];
    let dry = CreateTopicsRequest { topics: many, validate_only: true, ..Default::default() };
    let Response::CreateTopics(answer) = world.ask(1, 90, 7, dry) else { panic!("another answer") };
    let errors: Vec<ErrorCode> = answer.topics.iter().map(|topic| topic.error).collect();
    assert_eq!(errors, [ErrorCode::INVALID_PARTITIONS, ErrorCode::NONE], "together they are too many");
    let large = "1:1,".repeat(1 << 19);
    assert_eq!(world.ask_for_topics(vec![topic("c", 1, &large)]), [ErrorCode::INVALID_CONFIG]);
    let twice = world.ask_for_topics(vec![topic("d", 1, ""), topic("e", 1, ""), topic("d", 1, "")]);
    assert_eq!(twice.iter().filter(|error| **error == ErrorCode::INVALID_REQUEST).count(), 2, "{twice:?}");
    world.create_topic("t", &[2, 3]);
}

/// A broker that has not heard of a topic yet makes it for a client (auto-creation): what exists stays as it is.
#[test]
fn a_topic_that_exists_keeps_its_settings_when_it_is_made_again() {
    let mut world = World::new(&[1, 2, 3]);
    let mut topic =
        CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 2, ..CreatableTopic::default() };
    let plain = topic.clone();
    topic.configs = vec![setting("min.insync.replicas", "2")];
    assert_eq!(world.ask_for_topics(vec![topic]), [ErrorCode::NONE]);
    let settings = world.nodes[&znodes::config("topics", "t")].clone();

    assert_eq!(world.make_here(2, plain.clone()), ErrorCode::TOPIC_ALREADY_EXISTS);
    assert_eq!(world.nodes[&znodes::config("topics", "t")], settings);

    // What is being deleted loses its settings last.
    world.remove(&znodes::topic("t"));
    world.create(0, &znodes::delete_topic("t"), None, CreateMode::Persistent).unwrap();
    assert_eq!(world.make_here(2, plain.clone()), ErrorCode::TOPIC_ALREADY_EXISTS);
    assert_eq!(world.nodes[&znodes::config("topics", "t")], settings);

    // Settings that somebody left behind are not those of a new topic.
    world.remove(&znodes::delete_topic("t"));
    assert_eq!(world.make_here(2, plain), ErrorCode::NONE);
    let new = znodes::encode_configs(&znodes::Configs::new());
    assert_eq!(world.nodes[&znodes::config("topics", "t")].data, Some(new));
}

#[test]
fn a_dead_leader_is_replaced_and_leaves_the_isr() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    world.kill(2);
    // Elected without it already: the ISR is written once.
    assert_eq!(world.state("t"), "3 of 3 at 1/1, v1");
    world.kill(3);
    // The last member stays in the ISR, without a leader.
    assert_eq!(world.state("t"), "-1 of 3 at 2/1, v2");
    world.start(2);
    assert_eq!(world.state("t"), "-1 of 3 at 2/1, v2");
    world.start(3);
    assert_eq!(world.state("t"), "3 of 3 at 3/1, v3");
}

#[test]
fn an_unclean_leader_is_chosen_only_where_the_topic_allows_it() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    assert_eq!(world.alter(2, "t", 0, 0, &[2]), ErrorCode::NONE);
    let configs = OrdMap::from([("unclean.leader.election.enable".to_owned(), "true".to_owned())]);
    world.nodes.get_mut(&znodes::config("topics", "t")).unwrap().data = Some(znodes::encode_configs(&configs));
    world.kill(2);
    assert_eq!(world.state("t"), "3 of 3 at 1/1, v2");
}

#[test]
fn a_new_controller_finds_a_dead_leader_at_two_epochs() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[1, 2]);
    world.kill(1);
    assert_eq!(world.active(), 2);
    assert_eq!(world.state("t"), "2 of 2 at 2/2, v2");
}

#[test]
fn a_zombie_controllers_write_is_fenced() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    // Broker 1 is paused, its session goes, broker 2 takes over and leaves the znode of t-0 as it is. Then broker 1
    // goes on with what it was asked before it hears of that: by the znode's version alone its write would succeed.
    world.frozen = Some(1);
    world.end_session(1);
    world.settle();
    assert_eq!(world.controllers[&2].is_active(), Some(ControllerEpoch(2)));
    let before = world.state("t");
    assert_eq!(before, "2 of 2,3 at 0/1, v0");
    let request = world.alter_request(2, "t", 0, 0, &[2]);
    let mut fx = Effects::default();
    world.controllers.get_mut(&1).unwrap().on_request(World::now(), 7, 3, request.into(), &mut fx);
    world.perform(1, fx);
    world.frozen = None;
    world.settle();
    let Some(Response::AlterPartition(answer)) = world.replies.remove(&7) else { panic!("no answer") };
    assert_eq!(answer.error, ErrorCode::NOT_CONTROLLER);
    let fenced = "broker-1 is refused a write as controller of epoch 1: a newer controller is elected";
    assert!(world.notes.iter().any(|note| note == fenced), "{:?}", world.notes);
    assert_eq!(world.state("t"), before);
    assert_eq!(world.active(), 2);
    assert_eq!(world.nodes[znodes::CONTROLLER_EPOCH].data.as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_lost_reply_to_the_winning_multi_does_not_lose_the_office() {
    let mut world = World::new(&[]);
    world.sessions.insert(1, 55);
    let mut controller = Controller::new(BrokerId(1), Settings::default(), Rng::new(1));
    let mut fx = Effects::default();
    controller.on_session(World::now(), SessionId(55), &mut fx);
    world.controllers.insert(1, controller);
    world.perform(1, fx);
    // Goes on until /controller is there; the answer to that is lost.
    while !world.nodes.contains_key(znodes::CONTROLLER) {
        let (to, told) = world.inbox.pop_front().unwrap();
        let mut fx = Effects::default();
        let controller = world.controllers.get_mut(&to).unwrap();
        match told {
            Told::Answer(token, answer) => controller.on_answer(World::now(), token, answer, &mut fx),
            Told::Watch(kind, path) => controller.on_watch(World::now(), kind, &path, &mut fx),
            Told::Response(..) => {}
        }
        world.perform(to, fx);
    }
    for told in world.inbox.iter_mut() {
        if let (_, Told::Answer(_, answer)) = told {
            *answer = Err(KeeperError::CONNECTIONLOSS);
        }
    }
    world.settle();
    assert_eq!(world.controllers[&1].is_active(), None);
    let mut fx = Effects::default();
    world.controllers.get_mut(&1).unwrap().on_connected(World::now(), &mut fx);
    world.perform(1, fx);
    world.settle();
    assert_eq!(world.controllers[&1].is_active(), Some(ControllerEpoch(1)));
}

#[test]
fn a_bounced_broker_is_failed_and_started() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    world.frozen = Some(1);
    world.kill(2);
    world.start(2);
    world.frozen = None;
    world.sent.clear();
    world.settle();
    assert_eq!(world.state("t"), "3 of 3 at 1/1, v1");
    assert!(world.sent.contains(&"2 LAI t-0 3@1".to_owned()), "{:?}", world.sent);
}

/// The whole cluster lost its power, and every broker is back before there is a controller: the leader may have lost what
/// it had not synced, so it leads on in a new epoch. Who was there all the time keeps its epoch.
#[test]
fn a_leader_that_restarted_unseen_leads_in_a_new_epoch() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    world.create_topic("u", &[3, 2]);
    world.create_topic("v", &[2, 3, 1]);
    world.frozen = Some(1);
    world.kill(2);
    world.start(2);
    world.frozen = None;
    world.sent.clear();
    world.kill(1);
    assert_eq!(world.active(), 2);
    assert_eq!(world.state("t"), "2 of 2,3 at 1/2, v1");
    assert_eq!(world.state("u"), "3 of 3,2 at 0/1, v0");
    assert_eq!(world.state("v"), "2 of 2,3 at 2/2, v2", "also where broker 1 leaves the ISR first");
    assert!(!world.sent.iter().any(|sent| sent.contains("t-0 2@0") || sent.contains("v-0 2@0")), "{:?}", world.sent);
}

/// Broker 2 has lost records that it had promised. Another member leads on; 2 is taken out of the ISR, hears so, cuts its log
/// and follows. Alone in the ISR it stays, and the partition has no leader until it is mended by hand.
#[test]
fn a_damaged_replica_leaves_the_isr_and_is_told_so() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    world.create_topic("f", &[3, 2]);
    world.create_topic("alone", &[2]);
    world.damaged = Some(2);
    world.sent.clear();
    world.kill(1);
    assert_eq!(world.active(), 2);
    assert_eq!(world.state("t"), "3 of 3 at 1/2, v1");
    assert_eq!(world.state("f"), "3 of 3 at 1/2, v1");
    assert_eq!(world.state("alone"), "-1 of 2 at 1/2, v1");
    let to_it: Vec<&String> =
        world.sent.iter().filter(|sent| sent.starts_with("2 LAI") && sent.contains("3@1")).collect();
    assert!(!to_it.is_empty() && !world.sent.iter().any(|sent| sent.starts_with("2 Stop")), "{:?}", world.sent);
    let broken: Vec<Replica> = world.controllers[&2].context.broken.iter().cloned().collect();
    assert_eq!(broken, [(TopicPartition::new("alone", 0), BrokerId(2))]);
    world.damaged = None;
    world.kill(2);
    world.start(2);
    assert_eq!(world.state("alone"), "2 of 2 at 3/3, v3");
}

#[test]
fn an_isr_is_changed_only_by_who_leads_now_and_with_live_members() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    assert_eq!(world.alter(2, "t", 0, 0, &[2]), ErrorCode::NONE);
    assert_eq!(world.state("t"), "2 of 2 at 0/1, v1");
    assert_eq!(world.alter(2, "t", 0, 0, &[2]), ErrorCode::NONE);
    assert_eq!(world.alter(2, "t", 0, 0, &[2, 3]), ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(world.alter(2, "t", 1, 1, &[2, 3]), ErrorCode::NOT_CONTROLLER);
    assert_eq!(world.alter(2, "t", -1, 1, &[2, 3]), ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(world.alter(2, "t", 0, 1, &[2, 4]), ErrorCode::INELIGIBLE_REPLICA);
    let named_by = |world: &World, epoch: BrokerEpoch| {
        let mut request = world.alter_request(2, "t", 0, 1, &[2, 3]);
        request.topics[0].partitions[0].new_isr_with_epochs[1].broker_epoch = epoch;
        request
    };
    let now = world.broker_epoch(3);
    let request = named_by(&world, BrokerEpoch(now.0 - 1));
    assert_eq!(world.ask_for_isr(request), ErrorCode::INELIGIBLE_REPLICA, "3 has been registered anew (K14)");
    let request = named_by(&world, now);
    assert_eq!(world.ask_for_isr(request), ErrorCode::NONE);
    assert_eq!(world.state("t"), "2 of 2,3 at 0/1, v2");
}

#[test]
fn an_isr_whose_writing_was_lost_with_the_connection_is_found_written() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    let request = world.alter_request(2, "t", 0, 0, &[2]).into();
    let mut fx = Effects::default();
    world.controllers.get_mut(&1).unwrap().on_request(World::now(), 91, 3, request, &mut fx);
    world.perform(1, fx);
    assert_eq!(world.state("t"), "2 of 2 at 0/1, v1");
    for (_, told) in &mut world.inbox {
        if let Told::Answer(_, answer) = told {
            *answer = Err(KeeperError::CONNECTIONLOSS);
        }
    }
    world.settle();
    assert!(!world.replies.contains_key(&91));
    let mut fx = Effects::default();
    world.controllers.get_mut(&1).unwrap().on_connected(World::now(), &mut fx);
    world.perform(1, fx);
    world.settle();
    let Some(Response::AlterPartition(answer)) = world.replies.remove(&91) else { panic!("no answer") };
    let row = &answer.topics[0].partitions[0];
    assert_eq!(
        (row.error, row.partition_epoch, row.isr.clone()),
        (ErrorCode::NONE, PartitionEpoch(1), vec![BrokerId(2)])
    );
    assert_eq!(world.alter(2, "t", 0, 1, &[2, 3]), ErrorCode::NONE);
}

#[test]
fn a_controlled_shutdown_moves_leaders_and_leaves_isrs() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("led", &[2, 3]);
    world.create_topic("followed", &[3, 2]);
    let request =
        ControlledShutdownRequest { broker_id: BrokerId(2), broker_epoch: world.broker_epoch(2), ..Default::default() };
    world.sent.clear();
    let Response::ControlledShutdown(answer) = world.ask(1, 5, 3, request) else { panic!("another answer") };
    assert_eq!((answer.error, answer.remaining.len()), (ErrorCode::NONE, 0));
    assert_eq!(world.state("led"), "3 of 3 at 1/1, v1");
    assert_eq!(world.state("followed"), "3 of 3 at 1/1, v1");
    assert!(world.sent.contains(&"2 Stop followed-0@0".to_owned()), "{:?}", world.sent);
    assert_eq!(world.alter(3, "led", 1, 1, &[3, 2]), ErrorCode::INELIGIBLE_REPLICA);
}

/// Partition 0 of topic `re` is on its way from brokers 1 and 2 to 2 and 3.
fn moving() -> World {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("re", &[1, 2]);
    let target = Some(vec![BrokerId(2), BrokerId(3)]);
    let partitions = vec![ReassignablePartition { partition: 0, replicas: target, ..Default::default() }];
    let topics = vec![ReassignableTopic { name: "re".into(), partitions, ..Default::default() }];
    let _ = world.ask(1, 5, 0, AlterPartitionReassignmentsRequest { topics, ..Default::default() });
    world
}

#[test]
fn a_reassignment_goes_step_by_step() {
    let mut world = moving();
    let assignment = |world: &World| {
        let info = TopicInfo::decode(world.nodes[&znodes::topic("re")].data.as_ref().unwrap()).unwrap();
        let of = |ids: &[BrokerId]| ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",");
        let part = &info.partitions[&0];
        format!("{} +{} -{}", of(&part.replicas), of(&part.adding), of(&part.removing))
    };
    // As in Apache's dump "reassignment of re-0 from [1,2] to [2,3] in progress".
    assert_eq!(assignment(&world), "2,3,1 +3 -1");
    assert_eq!(world.state("re"), "1 of 1,2 at 1/1, v1");
    world.sent.clear();
    assert_eq!(world.alter(1, "re", 1, 1, &[1, 2, 3]), ErrorCode::NONE);
    assert_eq!(assignment(&world), "2,3 + -");
    assert_eq!(world.state("re"), "2 of 2,3 at 3/1, v4");
    assert!(world.sent.contains(&"1 Stop re-0@3 delete".to_owned()), "{:?}", world.sent);
}

#[test]
fn preferred_leaders_come_back_by_themselves() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    world.kill(2);
    world.start(2);
    assert_eq!(world.alter(3, "t", 1, 1, &[3, 2]), ErrorCode::NONE);
    let wake = world.controllers[&1].wake_at().unwrap();
    assert_eq!(wake.at, World::now().at + FIRST_REBALANCE);
    let mut fx = Effects::default();
    world.controllers.get_mut(&1).unwrap().on_wake(Now { at: wake.at, ..World::now() }, &mut fx);
    world.perform(1, fx);
    world.settle();
    assert_eq!(world.state("t"), "2 of 3,2 at 2/1, v3");
    assert!(
        world.notes.contains(&"broker-1 elects broker-2 to lead t-0 at epoch 2, ISR [3, 2] (preferred)".to_owned()),
        "{:?}",
        world.notes
    );
}
