//! A keeper and two brokers on one thread, without sockets and clocks, all of them recorded: for the tests of recordings.
//! Everything they say goes through the codecs that sockets would need.

use crate::observe::recorder::Recorder;
use crate::observe::recording::boot::{Beginning, What};
use bytes::Bytes;
use glasshouse_core::api::kafka;
use glasshouse_core::api::keeper;
use glasshouse_core::api::peer::{Channel, ChannelKind, PeerMessage};
use glasshouse_core::broker::config::BrokerConfig;
use glasshouse_core::id::{BrokerId, ConnId, DialId, KeeperId, NodeId};
use glasshouse_core::keeper::{Boot, Config};
use glasshouse_core::machine::{Effects, Machine};
use glasshouse_core::node::{Address, Effect, Input, KafkaRequest, Principal, Reply, Request, RequestBody};
use glasshouse_core::nodes::Node;
use glasshouse_core::record::offset::LogRange;
use glasshouse_core::sim::disk::SimDisk;
use glasshouse_core::store::Store;
use glasshouse_core::time::{Instant, Now, UnixMillis};
use glasshouse_core::wire;
use glasshouse_core::wire::link::LinkCodec;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

/// Where the keeper sits.
pub const KEEPER: usize = 0;

pub struct Lab {
    pub seats: Vec<Seat>,
    /// Answers to requests of the test itself.
    pub answers: Vec<Reply<Bytes>>,
    now: Instant,
    queue: VecDeque<(usize, Input)>,
    conns: u64,
}

pub struct Seat {
    pub id: NodeId,
    pub node: Node,
    pub file: PathBuf,
    pub stopped: bool,
    store: Store<SimDisk>,
    recorder: Recorder,
    links: BTreeMap<NodeId, LinkCodec>,
    /// At a broker: its dials, with the keeper's name of the connection.
    dials: BTreeMap<DialId, (ConnId, wire::keeper::ClientCodec)>,
    /// At the keeper: who dialled; nobody if it is the test.
    conns: BTreeMap<ConnId, (Option<(usize, DialId)>, wire::keeper::ServerCodec)>,
}

impl Lab {
    pub fn new(folder: &Path) -> Lab {
        let keepers = vec![Address { host: "keeper-1".into(), port: 2181 }];
        let mut config = Config::new(glasshouse_core::zab::Config::new(KeeperId(1), [KeeperId(1)]));
        config.words.insert(*b"ruok");
        config.snap_count = 40;
        let mut begins = vec![(NodeId::keeper(1), What::Keeper(Box::new(config), Boot::default()))];
        for number in [1, 2] {
            let config = BrokerConfig::new(number, Some(BrokerId(number as i32)), keepers.clone());
            begins.push((NodeId::Broker(number), What::Broker(Box::new(config), Default::default())));
        }
        let mut lab =
            Lab { seats: Vec::new(), answers: Vec::new(), now: Instant(1_000), queue: VecDeque::new(), conns: 0 };
        let mut wanted = Vec::new();
        for (number, (node, what)) in begins.into_iter().enumerate() {
            let mut fx = Effects::default();
            let beginning = Beginning { node, entropy: 77 + number as u64, now: lab.now(), what };
            lab.seats.push(Seat::new(beginning, folder, &mut fx));
            wanted.push(fx.effects);
        }
        for (at, effects) in wanted.into_iter().enumerate() {
            effects.into_iter().for_each(|effect| lab.perform(at, effect));
        }
        for (at, peer) in [(1, 2), (2, 1)] {
            let channel = Channel { peer: NodeId::Broker(peer), kind: ChannelKind::Requests, generation: 1 };
            lab.queue.push_back((at, Input::Up { channel }));
        }
        lab
    }

    fn now(&self) -> Now {
        Now { at: self.now, wall: UnixMillis(1_700_000_000_000 + (self.now.0 / 1_000_000) as i64) }
    }

    /// Goes on until it is so.
    pub fn until(&mut self, what: &str, is: impl Fn(&Lab) -> bool) {
        for _ in 0..200_000 {
            if is(self) {
                return;
            }
            self.step();
        }
        panic!("it never comes to this: {what}");
    }

    fn step(&mut self) {
        if let Some((at, input)) = self.queue.pop_front() {
            return self.give(at, input);
        }
        let wakes = self.seats.iter().enumerate().filter(|(_, seat)| !seat.stopped);
        let next = wakes.filter_map(|(at, seat)| Some((seat.node.wake_at()?.at, at))).min();
        let (due, at) = next.expect("somebody wants to be woken");
        self.now = Instant(self.now.0 + 1_000).max(due);
        self.give(at, Input::Wake);
    }

    /// One step of one machine.
    pub fn give(&mut self, at: usize, input: Input) {
        let now = self.now();
        let seat = &mut self.seats[at];
        if seat.stopped {
            return;
        }
        let mut fx = Effects::default();
        seat.recorder.record(now, &input);
        seat.node.step(now, input, &mut fx);
        seat.recorder.stepped(&fx.effects, &seat.node);
        fx.effects.into_iter().for_each(|effect| self.perform(at, effect));
    }

    fn perform(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Send { channel, message } => self.send(at, channel, message),
            Effect::Reply { conn, reply } => self.reply(at, conn, reply),
            Effect::Dial { dial, .. } => {
                self.conns += 1;
                let conn = ConnId(self.conns);
                self.seats[at].dials.insert(dial, (conn, Default::default()));
                self.seats[KEEPER].conns.insert(conn, (Some((at, dial)), Default::default()));
                self.queue.push_back((at, Input::Opened { dial }));
            }
            Effect::Ask { dial, request } => {
                let Some((conn, codec)) = self.seats[at].dials.get_mut(&dial) else { return };
                let RequestBody::Keeper(request) = request.body else { panic!("brokers dial keepers") };
                let (conn, frame) = (*conn, codec.encode(&request));
                self.arrive_at_keeper(conn, frame);
            }
            Effect::HangupDial { dial } => {
                if let Some((conn, _)) = self.seats[at].dials.remove(&dial) {
                    self.seats[KEEPER].conns.remove(&conn);
                    self.queue.push_back((KEEPER, Input::Closed { conn }));
                }
            }
            Effect::Close { conn } => {
                if let Some((Some((broker, dial)), _)) = self.seats[at].conns.remove(&conn)
                    && self.seats[broker].dials.remove(&dial).is_some()
                {
                    self.queue.push_back((broker, Input::Hung { dial }));
                }
            }
            Effect::Hangup { channel } => panic!("{} hangs up on {channel}", self.seats[at].id),
            Effect::Store { lane, op } => self.seats[at].store.perform(&lane, op).unwrap(),
            Effect::Sync { lane, ticket } => {
                let store = &mut self.seats[at].store;
                store.flush().unwrap();
                assert!(store.ask_sync(&lane, ticket), "syncs are done at once here");
                let (upto, again) = store.complete_sync(&lane);
                assert!(!again);
                self.queue.push_back((at, Input::Synced { lane, upto }));
            }
            Effect::Load { ticket, what, .. } => {
                let what = self.seats[at].store.load(&what).unwrap();
                self.queue.push_back((at, Input::Loaded { ticket, what }));
            }
            Effect::Halt { why } => panic!("{} halts: {why}", self.seats[at].id),
            Effect::Stopped => {
                let seat = &mut self.seats[at];
                seat.stopped = true;
                seat.recorder.ended("stopped in order", &seat.node);
            }
        }
    }

    fn send(&mut self, at: usize, channel: Channel, message: PeerMessage<LogRange>) {
        let me = self.seats[at].id;
        let to = self.seats.iter().position(|seat| seat.id == channel.peer).expect("peers are here");
        let store = &self.seats[at].store;
        let message = match message {
            PeerMessage::Response { correlation, response } => {
                let response = response.try_map_records(|range| store.materialize(&range)).unwrap();
                PeerMessage::Response { correlation, response }
            }
            PeerMessage::Request { correlation, request } => PeerMessage::Request { correlation, request },
            PeerMessage::Election(_) | PeerMessage::Quorum(_) => panic!("one keeper has no peers"),
        };
        let frame = self.seats[at].links.entry(channel.peer).or_default().encode(&message);
        let message = self.seats[to].links.entry(me).or_default().decode_on(channel.kind, frame).unwrap();
        self.queue.push_back((to, Input::Peer { channel: Channel { peer: me, ..channel }, message }));
    }

    fn reply(&mut self, at: usize, conn: ConnId, reply: Reply<LogRange>) {
        let store = &self.seats[at].store;
        let reply = match reply {
            Reply::Kafka { version, correlation, body } => {
                let body = body.try_map_records(|range| store.materialize(&range)).unwrap();
                Reply::Kafka { version, correlation, body }
            }
            Reply::Keeper(reply) => Reply::Keeper(reply),
        };
        let dialler = self.seats[at].conns.get(&conn).and_then(|(dialler, _)| *dialler);
        match (dialler, reply) {
            (Some((broker, dial)), Reply::Keeper(reply)) => {
                let Some((_, codec)) = self.seats[broker].dials.get_mut(&dial) else { return };
                let reply = codec.decode(wire::keeper::encode_reply(&reply)).unwrap();
                self.queue.push_back((broker, Input::Answer { dial, reply: Reply::Keeper(reply) }));
            }
            (_, reply) => self.answers.push(reply),
        }
    }

    fn arrive_at_keeper(&mut self, conn: ConnId, frame: Bytes) {
        let Some((_, codec)) = self.seats[KEEPER].conns.get_mut(&conn) else { return };
        let body = RequestBody::Keeper(codec.decode(frame).unwrap());
        let request = Request { listener: 0, principal: Principal::Address("127.0.0.1".into()), body };
        self.queue.push_back((KEEPER, Input::Request { conn, request }));
    }

    /// The test connects to the keeper.
    pub fn connect(&mut self) -> ConnId {
        self.conns += 1;
        self.seats[KEEPER].conns.insert(ConnId(self.conns), (None, Default::default()));
        ConnId(self.conns)
    }

    pub fn ask_keeper(&mut self, conn: ConnId, request: &keeper::Request) {
        self.arrive_at_keeper(conn, wire::keeper::encode_request(request));
    }

    /// The test asks a broker; the answer, if one comes, is the last of the answers.
    pub fn ask_broker(&mut self, at: usize, body: impl Into<kafka::Request>) {
        let body = body.into();
        let version = body.key().max_version();
        let request = KafkaRequest { version, correlation: 5, client: Some("test".into()), body };
        let body = RequestBody::Kafka(wire::kafka::decode_request(wire::kafka::encode_request(&request)).unwrap());
        let request = Request { listener: 0, principal: Principal::Anonymous, body };
        self.queue.push_back((at, Input::Request { conn: ConnId(9_000), request }));
    }

    /// The body of the answer that comes next.
    pub fn kafka_answer(&mut self) -> kafka::Response {
        self.until("an answer", |lab| !lab.answers.is_empty());
        match self.answers.remove(0) {
            Reply::Kafka { body, .. } => body,
            Reply::Keeper(reply) => panic!("an answer of a keeper: {reply}"),
        }
    }
}

impl Seat {
    fn new(beginning: Beginning, folder: &Path, fx: &mut Effects<Effect>) -> Seat {
        let id = beginning.node;
        let mut store = Store::new(SimDisk::new());
        match &beginning.what {
            What::Keeper(..) => drop(store.boot_keeper().unwrap()),
            What::Broker(..) => drop(store.boot_broker().unwrap()),
        }
        let file = folder.join(id.to_string());
        let mut recorder = Recorder::create(&file, &beginning).unwrap();
        let node = beginning.boot(fx);
        recorder.began(&fx.effects, &node);
        Seat {
            id,
            node,
            file,
            stopped: false,
            store,
            recorder,
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            conns: BTreeMap::new(),
        }
    }
}
