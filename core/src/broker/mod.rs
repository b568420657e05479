//! The broker: its replicas, its place in the cluster, and the cluster as it believes it to be.
//!
//! A [`Machine`] over [`Input`] and [`Effect`]. This file holds what a broker is and routes what comes in:
//!
//! | comes in | goes to |
//! |---|---|
//! | a client's or broker's request | [`requests`], [`reads`]; the controller's own, to [`controller`] |
//! | the controller's orders | [`control`] |
//! | answers of other brokers | [`peers`]: [`fetcher`], [`alter`] |
//! | what the ensemble says | [`registration`], through the session client |
//! | the disk | the [`partition`] whose lane it is |
//!
//! What this broker says to itself (it may be its own controller) waits in a queue that the next wake empties: a later
//! input, never recursion. Group coordination is not here yet.

pub mod alter;
pub mod config;
pub mod connection;
pub mod control;
pub mod controller;
pub mod fetch_sessions;
pub mod fetcher;
mod link;
pub mod metadata;
pub mod orders;
pub mod partition;
pub mod peers;
pub mod reads;
pub mod registration;
pub mod requests;
mod timers;
pub mod topic_names;
pub mod znodes;

use crate::api::kafka;
use crate::api::peer::{Channel, ChannelKind, PeerMessage};
use crate::api::storage::{BrokerImage, Lane, Loaded};
use crate::id::{BrokerEpoch, BrokerId, ControllerEpoch, NodeId, ProducerId, SessionId, TopicPartition};
use crate::keeper::client::{ClientConfig, SessionClient};
use crate::machine::{Effects, Machine, Ticket};
use crate::node::{Address, Effect, Input, Reply, RequestBody};
use crate::note::broker::BrokerNote;
use crate::ordered::{OrdMap, OrdSet};
use crate::queue::Queue;
use crate::record::offset::{LogRange, Offset};
use crate::rng::Rng;
use crate::time::{Deadlines, Instant, Now, Wake};
use alter::AlterPartitions;
use config::{BrokerConfig, Settings, TopicSettings};
use connection::{Asker, Connections};
use controller::Controller;
use fetch_sessions::FetchSessions;
use fetcher::Fetcher;
use metadata::Metadata;
use partition::log::Log;
use partition::purgatory::Purgatory;
use partition::{Context, Partition};
use registration::{Question, Registration};
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    config: BrokerConfig,
    /// What is in force: the configured ones under `/config/brokers`' overrides.
    settings: Settings,
    default_configs: OrdMap<String, String>,
    own_configs: OrdMap<String, String>,
    /// What topics override, as far as it was read.
    topic_configs: OrdMap<Arc<str>, OrdMap<String, String>>,
    rng: Rng,

    // Who it is.
    /// −1 until it is known.
    id: BrokerId,
    /// `meta.properties`, as on the disk.
    meta: Option<(BrokerId, String)>,
    registration: Registration,
    keeper: SessionClient<Question>,

    // The cluster.
    metadata: Metadata,
    /// The highest controller epoch heard of: lower ones are fenced.
    controller_epoch: ControllerEpoch,
    controller: Option<Controller>,
    /// The controller's askers, under the numbers it knows them by.
    askers: OrdMap<u64, Asker>,
    last_asker: u64,
    /// Topics that clients asked for and that are being made, with the asker's number: as long as somebody has it.
    being_made: OrdMap<Arc<str>, u64>,

    // Its replicas.
    partitions: OrdMap<TopicPartition, Partition>,
    /// The last ticket of a lane whose log was deleted: a new log of that name goes on from there.
    retired: OrdMap<TopicPartition, Ticket>,
    purgatory: Purgatory,
    fetch_sessions: FetchSessions,
    fetchers: OrdMap<BrokerId, Fetcher>,
    alter: AlterPartitions,
    /// The first LeaderAndIsr of this boot has come: high watermarks are checkpointed from now on (C.5).
    told_to_lead: bool,
    /// The checkpoints as last written: high watermarks, recovery points, log starts.
    checkpointed: Checkpoints,
    /// Syncs of checkpoints that were asked for.
    checkpoint_tickets: Ticket,

    // Conversations.
    connections: Connections,
    channels: OrdMap<NodeId, Channel>,
    /// Brokers that the controller was told can be reached.
    told_up: OrdSet<BrokerId>,
    /// Requests under way by correlation id, each with where in the mesh it went: when that channel breaks, the metadata
    /// may have forgotten the broker.
    calls: OrdMap<i32, (Call, NodeId)>,
    last_correlation: i32,
    to_myself: Queue<ToMyself>,
    reads: reads::Reads,
    listings: OrdMap<u64, reads::Listing>,

    /// Producer ids handed out by the controller and not yet by us: the next, and how many.
    producer_ids: (ProducerId, i32),
    wants_producer_id: Queue<Asker>,
    /// What controllers asked before this broker was registered for the first time.
    early: Vec<(Asker, i16, kafka::Request)>,
    /// A LeaderAndIsr or StopReplica too large for one step.
    orders: Option<Box<orders::Orders>>,

    deadlines: Deadlines<Timer>,
    shutdown: Option<Shutdown>,
    /// When it last did anything: what it says to itself is due at once.
    now: Instant,
}

/// One list of offsets for each checkpoint file.
type Checkpoints = (Vec<(TopicPartition, Offset)>, Vec<(TopicPartition, Offset)>, Vec<(TopicPartition, Offset)>);

/// A request to another broker that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// By the fetcher of that leader.
    Fetcher(BrokerId),
    AlterPartition {
        to: BrokerId,
    },
    ControlledShutdown {
        to: BrokerId,
    },
    AllocateProducerIds {
        to: BrokerId,
        /// No answer is waited for any longer.
        until: Instant,
    },
    /// By the controller in this broker, under its own number.
    Controller {
        to: BrokerId,
        correlation: i32,
    },
}

/// A message of this broker to itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ToMyself {
    Request { correlation: i32, request: kafka::Request },
    Response { correlation: i32, response: kafka::Response<LogRange> },
}

/// What a broker wakes up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    ShrinkIsr,
    CheckpointHighWatermarks,
    Retention,
    Fetcher(BrokerId),
    /// The answer to a fetcher's request is overdue.
    FetcherTimeout(BrokerId),
    AlterPartition,
    /// The controller's answer to AlterPartition is overdue.
    AlterPartitionTimeout,
    /// Asks for producer ids again.
    ProducerIds,
    Registration,
    Shutdown,
}

/// An orderly stop under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shutdown {
    /// ControlledShutdown requests that may still be sent.
    attempts: u32,
}

impl Broker {
    /// Starts a broker from what its disk holds. It dials the ensemble at once.
    /// `entropy` is this boot's, a recorded input.
    pub fn recover(
        config: BrokerConfig,
        image: BrokerImage,
        entropy: u64,
        now: Now,
        fx: &mut Effects<Effect>,
    ) -> Broker {
        let rng = Rng::at(&[entropy, u64::from(config.number)]).fork("broker");
        let meta = image.broker.zip(image.cluster);
        for cut in image.cuts {
            fx.note(BrokerNote::LogCut { file: cut.file, why: cut.why });
        }
        let settings = config.settings.clone();
        let client = ClientConfig::new(config.keepers.clone(), settings.zookeeper_session_timeout);
        let mut broker = Broker {
            id: meta.as_ref().map(|(id, _)| *id).or(config.broker_id).unwrap_or(BrokerId(-1)),
            meta,
            registration: Registration::default(),
            keeper: SessionClient::new(client, rng.fork("session")),
            default_configs: OrdMap::new(),
            own_configs: OrdMap::new(),
            topic_configs: OrdMap::new(),
            metadata: Metadata::default(),
            controller_epoch: ControllerEpoch(-1),
            controller: None,
            askers: OrdMap::new(),
            last_asker: 0,
            being_made: OrdMap::new(),
            partitions: OrdMap::new(),
            retired: OrdMap::new(),
            purgatory: Purgatory::default(),
            fetch_sessions: FetchSessions::new(rng.fork("fetch sessions")),
            fetchers: OrdMap::new(),
            alter: AlterPartitions::default(),
            told_to_lead: false,
            checkpointed: Checkpoints::default(),
            checkpoint_tickets: Ticket::default(),
            connections: Connections::default(),
            channels: OrdMap::new(),
            told_up: OrdSet::new(),
            calls: OrdMap::new(),
            last_correlation: 0,
            to_myself: Queue::new(),
            reads: reads::Reads::default(),
            listings: OrdMap::new(),
            producer_ids: (ProducerId::NONE, 0),
            wants_producer_id: Queue::new(),
            early: Vec::new(),
            orders: None,
            deadlines: Deadlines::default(),
            shutdown: None,
            now: now.at,
            rng,
            settings,
            config,
        };
        for (name, image) in image.partitions {
            let settings = TopicSettings::of(&broker.settings, None);
            let log = Log::recover(name.clone(), image);
            if log.is_damaged() {
                fx.note(BrokerNote::ReplicaDamaged { partition: name.clone(), from: log.end() });
            }
            let mut partition = Partition::new(log, settings);
            partition.settings_are_read = false;
            broker.partitions.insert(name, partition);
        }
        broker.set_timers(now);
        broker.with_keeper(fx, |keeper, fx| keeper.start(now, fx));
        broker
    }

    pub fn id(&self) -> BrokerId {
        self.id
    }

    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.values()
    }

    pub fn partition(&self, name: &TopicPartition) -> Option<&Partition> {
        self.partitions.get(name)
    }

    /// The epoch it is controller in, if it is.
    pub fn controller_epoch(&self) -> Option<ControllerEpoch> {
        self.controller.as_ref().and_then(Controller::is_active)
    }

    /// The controller that lives in this broker, active or not; there is one as soon as the broker has an id.
    pub fn controller(&self) -> Option<&Controller> {
        self.controller.as_ref()
    }

    /// Its session with the ensemble, if it has one.
    pub fn session(&self) -> Option<SessionId> {
        self.keeper.session()
    }

    /// The keeper its session is connected to now.
    pub fn keeper(&self) -> Option<&Address> {
        self.keeper.address().filter(|_| self.keeper.is_connected())
    }

    /// The czxid of its registration; −1 before the first.
    pub fn epoch(&self) -> BrokerEpoch {
        self.registration.epoch
    }

    pub fn is_registered(&self) -> bool {
        self.registration.step == registration::Step::Registered
    }

    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Produce and fetch requests that wait.
    pub fn waiting(&self) -> (u32, u32) {
        self.purgatory.waiting()
    }

    /// Incremental fetch sessions, and the partitions that they want together.
    pub fn fetch_sessions(&self) -> (usize, usize) {
        self.fetch_sessions.len()
    }

    fn halt(&mut self, why: String, fx: &mut Effects<Effect>) {
        fx.emit(Effect::Halt { why });
    }

    /// What every step must leave behind: of a few partitions in all of them, of thousands in some, each time others.
    fn assert_sound(&self) {
        let all = self.partitions.len() as u64;
        let from = if all > SOME { self.now.0 % all } else { 0 };
        for partition in self.partitions.values().skip(from as usize).take(SOME as usize) {
            partition.assert_sound(self.id);
        }
    }

    fn on_synced(&mut self, now: Now, lane: &Lane, upto: Ticket, fx: &mut Effects<Effect>) {
        let name = match lane {
            Lane::Log(name) => name,
            Lane::Checkpoint => return self.on_checkpoint_synced(now, upto, fx),
            Lane::Journal | Lane::Snapshot => return,
        };
        let Some(partition) = self.partitions.get_mut(name) else { return };
        if !partition.log.on_synced(upto) {
            return;
        }
        let at =
            Context { me: self.id, now, settings: &self.settings, rules: self.config.rules, metadata: &self.metadata };
        if partition.advance_high_watermark(&at, fx) {
            self.on_high_watermark(now, name, fx);
        }
        if let Some(leader) = self.partitions.get(name).and_then(Partition::follower).map(|follower| follower.leader) {
            self.run_fetcher(now, leader, fx);
        }
    }
}

impl Machine for Broker {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input, fx: &mut Effects<Effect>) {
        self.now = now.at;
        let before = fx.effects.len();
        match input {
            Input::Wake => self.on_wake(now, fx),
            Input::Up { channel } => self.on_up(now, channel, fx),
            Input::Down { channel } => self.on_down(now, channel, fx),
            Input::Peer { channel, message } => match message {
                PeerMessage::Request { correlation, request } => {
                    let version = request.key().max_version();
                    self.on_request(now, Asker::Peer { channel, correlation }, version, request, fx);
                }
                PeerMessage::Response { correlation, response } => {
                    self.on_response(now, correlation, response, fx);
                }
                PeerMessage::Election(_) | PeerMessage::Quorum(_) => {}
            },
            Input::Request { conn, request } => match request.body {
                RequestBody::Kafka(request) => {
                    let no_answer = matches!(&request.body, kafka::Request::Produce(produce) if produce.acks == 0);
                    let asker = self.connections.on_request(conn, request.version, request.correlation, no_answer);
                    if let Some(asker) = asker {
                        self.on_request(now, asker, request.version, request.body, fx);
                    }
                }
                RequestBody::Keeper(_) => fx.emit(Effect::Close { conn }),
            },
            Input::Closed { conn } => {
                self.connections.on_closed(conn);
                self.purgatory.forget(|asker| matches!(asker, Asker::Client { conn: gone, .. } if *gone == conn));
            }
            Input::Opened { dial } => self.with_keeper(fx, |keeper, fx| keeper.on_opened(now, dial, fx)),
            Input::Answer { dial, reply: Reply::Keeper(reply) } => self.on_keeper_reply(now, dial, reply, fx),
            Input::Answer { reply: Reply::Kafka { .. }, .. } => {}
            Input::Hung { dial } => {
                let events = self.with_keeper(fx, |keeper, fx| keeper.on_hung(now, dial, fx));
                self.on_keeper_events(now, events, fx);
            }
            Input::Synced { lane, upto } => self.on_synced(now, &lane, upto, fx),
            Input::Loaded { ticket, what: Loaded::OffsetForTime(found) } => self.on_offset_found(ticket, found, fx),
            Input::Loaded { ticket, what: Loaded::Producers(states) } => self.on_producers(now, ticket, states, fx),
            Input::Loaded { what: Loaded::Txns { .. } | Loaded::Database { .. } | Loaded::Records(_), .. } => {}
            // For simulated clients.
            Input::Command(_) => {}
            Input::Shutdown => self.on_shutdown(now, fx),
        }
        self.run_alter_partition(now, fx);
        self.reload_producers(before, fx);
        self.assert_sound();
    }

    fn wake_at(&self) -> Option<Wake> {
        if !self.to_myself.is_empty() {
            return Some(Wake { at: self.now, why: "it has something to say to itself" });
        }
        if self.orders.is_some() {
            return Some(Wake { at: self.now, why: "it has more of a LeaderAndIsr to do" });
        }
        let timer = self.deadlines.soonest().map(|(at, timer)| Wake { at, why: timer.why() });
        let of_children = Wake::soonest(self.keeper.wake_at(), self.purgatory.wake_at());
        let controller = self.controller.as_ref().and_then(Controller::wake_at);
        Wake::soonest(timer, Wake::soonest(of_children, controller))
    }
}

/// Partitions that are looked at after each step.
const SOME: u64 = 32;

/// The kind of channel brokers talk over.
const REQUESTS: ChannelKind = ChannelKind::Requests;
