//! One state of the small world: the keepers with their disks, what is under way between them, and what each action
//! does to it.

use super::promises::Ghost;
use super::{Action, Bounds, KEEPERS, QUORUM, Step};
use crate::api::peer::{Channel, ChannelKind, PacketType, QuorumPacket};
use crate::api::storage::{Load, Loaded, StoreOp};
use crate::digest::Digest;
use crate::id::{KeeperId, NodeId, ZabEpoch, Zxid};
use crate::machine::{Effects, Machine, Ticket};
use crate::rng::Rng;
use crate::rules::Rules;
use crate::sim::explore::search::{Small, Trouble};
use crate::time::Now;
use crate::zab::{Config, Effect, FollowingStage, Input, Peer, Recovered, Role};
use bytes::Bytes;
use core::hash::{Hash, Hasher};
use std::collections::VecDeque;
use std::sync::Arc;

/// Payloads: each proposal of a run has its own byte.
static PAYLOADS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// What ends a database on its way to a learner.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

pub type Txn = (Zxid, u8);

/// What a disk holds.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Files {
    pub accepted: ZabEpoch,
    pub current: ZabEpoch,
    /// The last zxid of the snapshot, and the database in it.
    pub snapshot: Option<(Zxid, Vec<Txn>)>,
    pub journal: Vec<Txn>,
}

impl Files {
    /// The transactions that a recovery would find.
    pub fn history(&self) -> impl Iterator<Item = Txn> + '_ {
        let image = self.snapshot.iter().flat_map(|(_, txns)| txns.iter().copied());
        image.chain(self.tail())
    }

    fn tail(&self) -> impl Iterator<Item = Txn> + '_ {
        let from = self.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        self.journal.iter().copied().filter(move |(zxid, _)| *zxid > from)
    }

    pub fn begins_with(&self, history: &[Txn]) -> bool {
        let mut own = self.history();
        history.iter().all(|txn| own.next() == Some(*txn))
    }
}

#[derive(Clone)]
pub struct Node {
    pub peer: Option<Peer>,
    pub written: Arc<Files>,
    pub syncing: VecDeque<(Ticket, Arc<Files>)>,
    pub durable: Arc<Files>,
    /// What was applied to the tree.
    pub tree: Vec<Txn>,
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.peer.hash(state);
        self.written.hash(state);
        self.durable.hash(state);
        state.write_u64(self.syncing.len() as u64);
        for (ticket, files) in &self.syncing {
            ticket.hash(state);
            files.hash(state);
        }
        self.tree.hash(state);
    }
}

/// One state.
#[derive(Clone)]
pub struct World {
    pub nodes: [Arc<Node>; KEEPERS],
    /// The digest of each node, kept beside it.
    pub digests: [u64; KEEPERS],
    pub streams: [[Arc<VecDeque<QuorumPacket>>; KEEPERS]; KEEPERS],
    pub ghost: Arc<Ghost>,
    pub proposed: u8,
    pub crashes: u8,
    pub time_outs: u8,
}

/// What is the same in all worlds of a search.
pub struct Setup {
    configs: [Config; KEEPERS],
    bounds: Bounds,
}

pub fn id(at: usize) -> KeeperId {
    KeeperId(at as u8 + 1)
}

pub fn members(bits: u8) -> impl Iterator<Item = usize> {
    (0..KEEPERS).filter(move |at| bits & (1 << at) != 0)
}

fn channel_to(at: usize) -> Channel {
    // Streams are emptied when they break, so that generations are not needed to tell old packets.
    Channel { peer: NodeId::Keeper(id(at)), kind: ChannelKind::Quorum, generation: 0 }
}

fn index(channel: Channel) -> usize {
    match channel.peer {
        NodeId::Keeper(KeeperId(id)) => usize::from(id) - 1,
        NodeId::Broker(_) | NodeId::Client(_) => unreachable!("keepers speak to keepers"),
    }
}

fn txn_of(zxid: Zxid, txn: &Bytes) -> Txn {
    (zxid, txn.first().copied().unwrap_or(u8::MAX))
}

fn payload(txn: u8) -> Bytes {
    let at = usize::from(txn);
    Bytes::from_static(&PAYLOADS[at..=at])
}

/// A database image, as the world carries it: each transaction's zxid and payload.
fn image_of(tree: &[Txn]) -> Bytes {
    tree.iter().flat_map(|(zxid, txn)| zxid.0.to_be_bytes().into_iter().chain([*txn])).collect()
}

fn tree_of(image: &[u8]) -> Vec<Txn> {
    let (txns, _) = image.as_chunks::<9>();
    let zxid = |txn: &[u8; 9]| txn[..8].iter().fold(0, |zxid, byte| zxid << 8 | u64::from(*byte));
    txns.iter().map(|txn| (Zxid(zxid(txn)), txn[8])).collect()
}

impl Setup {
    pub fn new(bounds: Bounds, rules: Rules) -> Setup {
        let config = |at| {
            let mut config = Config::new(id(at), (0..KEEPERS).map(id));
            config.rules = rules;
            config.disk_diff_max_bytes = 0;
            config
        };
        Setup { configs: core::array::from_fn(config), bounds }
    }

    pub fn first_world(&self) -> World {
        let node = |_| {
            let files = Arc::new(Files::default());
            let (written, durable) = (Arc::clone(&files), files);
            Arc::new(Node { peer: None, written, syncing: VecDeque::new(), durable, tree: Vec::new() })
        };
        let mut world = World {
            nodes: core::array::from_fn(node),
            digests: [0; KEEPERS],
            streams: Default::default(),
            ghost: Arc::default(),
            proposed: 0,
            crashes: 0,
            time_outs: 0,
        };
        for at in 0..KEEPERS {
            world.boot(at, self, &mut Vec::new());
        }
        world.rehash();
        world
    }
}

// What can happen.
impl Small for World {
    type Setup = Setup;
    type Action = Action;
    type Step = Step;

    fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        self.digests.hash(&mut digest);
        for (from, streams) in self.streams.iter().enumerate() {
            for (to, stream) in streams.iter().enumerate().filter(|(_, stream)| !stream.is_empty()) {
                digest.write_u64((from * KEEPERS + to) as u64);
                for packet in stream.iter() {
                    digest.write_u64(packet.kind as u64 | (stream.len() as u64) << 32);
                    digest.write_i64(packet.zxid);
                    digest.write(packet.data.as_deref().unwrap_or_default());
                }
            }
        }
        self.ghost.hash(&mut digest);
        digest.write_u32(u32::from_le_bytes([self.proposed, self.crashes, self.time_outs, 0]));
        digest.finish()
    }

    fn actions(&self, setup: &Setup) -> Vec<Action> {
        let bounds = &setup.bounds;
        let mut actions = Vec::with_capacity(16);
        let crash = self.crashes < bounds.crashes;
        let time_out = self.time_outs < bounds.time_outs;
        for at in 0..KEEPERS {
            let (node, keeper) = (&self.nodes[at], at as u8);
            let Some(role) = self.role(at) else {
                actions.push(Action::Boot(keeper));
                continue;
            };
            if crash {
                actions.push(Action::Crash { keeper, power: false });
                if node.written != node.durable {
                    actions.push(Action::Crash { keeper, power: true });
                }
            }
            if time_out && role != Role::Looking {
                actions.push(Action::TimeOut(keeper));
            }
            if !node.syncing.is_empty() {
                actions.push(Action::Sync(keeper));
            }
            for to in (0..KEEPERS).filter(|to| !self.streams[at][*to].is_empty()) {
                actions.push(Action::Deliver { from: keeper, to: to as u8 });
            }
            match role {
                Role::Leading { .. } if !self.has_quorum(at) => actions.push(Action::Abdicate(keeper)),
                Role::Leading { established: true, .. } if self.proposed < bounds.txns => {
                    actions.push(Action::Propose(keeper));
                }
                Role::Looking => {
                    let leaders = (0..KEEPERS).filter(|leader| self.leads(*leader) && self.has_quorum(*leader));
                    actions.extend(leaders.map(|leader| Action::Join { keeper, leader: leader as u8 }));
                }
                Role::Leading { .. } | Role::Following { .. } | Role::Observing { .. } => {}
            }
        }
        for quorum in 0..1u8 << KEEPERS {
            if quorum.count_ones() as usize >= QUORUM && members(quorum).all(|at| self.is_looking(at)) {
                let best = members(quorum).max_by_key(|at| self.candidate(*at));
                actions.extend(best.map(|leader| Action::Elect { leader: leader as u8, quorum }));
            }
        }
        actions
    }

    fn step(&self, action: Action) -> Step {
        let packet = match action {
            Action::Deliver { from, to } => self.streams[from as usize][to as usize].front(),
            _ => None,
        };
        Step { action, packet: packet.map(|packet| (packet.kind, packet.zxid())) }
    }

    fn take(&mut self, action: Action, setup: &Setup, trouble: &mut Trouble) {
        match action {
            Action::Deliver { from, to } => {
                let (from, to) = (from as usize, to as usize);
                if let Some(packet) = Arc::make_mut(&mut self.streams[from][to]).pop_front() {
                    self.hear(to, Input::Packet { channel: channel_to(from), packet }, trouble);
                }
            }
            Action::Sync(at) => {
                let node = self.node(at as usize);
                if let Some((upto, files)) = node.syncing.pop_front() {
                    node.durable = files;
                    self.hear(at as usize, Input::Synced { upto }, trouble);
                }
            }
            Action::Crash { keeper, power } => {
                self.crashes += 1;
                self.crash(keeper as usize, power, trouble);
            }
            Action::Boot(at) => self.boot(at as usize, setup, trouble),
            Action::TimeOut(at) => {
                self.time_outs += 1;
                self.call(at as usize, |peer, now, fx| peer.step_down("a time-out", now, fx), trouble);
            }
            Action::Abdicate(at) => {
                self.call(at as usize, |peer, now, fx| peer.step_down("no quorum follows it", now, fx), trouble);
            }
            Action::Elect { leader, quorum } => {
                self.elect(leader as usize, leader as usize, trouble);
                for at in members(quorum).filter(|at| *at != leader as usize) {
                    self.elect(at, leader as usize, trouble);
                }
            }
            Action::Join { keeper, leader } => self.elect(keeper as usize, leader as usize, trouble),
            Action::Propose(at) => self.propose(at as usize, trouble),
        }
        self.let_go_of_the_unreachable(trouble);
        self.check_committed(trouble);
        self.rehash();
    }
}

impl World {
    /// Takes the digest of each node that changed (its digest was set to zero) anew.
    fn rehash(&mut self) {
        for (node, digest) in self.nodes.iter().zip(&mut self.digests) {
            if *digest == 0 {
                *digest = Digest::of(&**node).max(1);
            }
        }
    }

    fn role(&self, at: usize) -> Option<Role> {
        self.nodes[at].peer.as_ref().map(Peer::role)
    }

    fn is_looking(&self, at: usize) -> bool {
        self.role(at) == Some(Role::Looking)
    }

    fn leads(&self, at: usize) -> bool {
        matches!(self.role(at), Some(Role::Leading { .. }))
    }

    fn follows(&self, at: usize, leader: usize) -> bool {
        matches!(self.role(at), Some(Role::Following { leader: other, .. }) if other == id(leader))
    }

    /// Whether the oracle sees a quorum behind this leader.
    fn has_quorum(&self, leader: usize) -> bool {
        1 + (0..KEEPERS).filter(|at| self.follows(*at, leader)).count() >= QUORUM
    }

    /// What an election compares.
    fn candidate(&self, at: usize) -> (ZabEpoch, Zxid, usize) {
        self.nodes[at].peer.as_ref().map(|peer| (peer.current_epoch(), peer.last_zxid(), at)).unwrap_or_default()
    }

    fn elect(&mut self, at: usize, leader: usize, trouble: &mut Trouble) {
        self.call(at, |peer, now, fx| peer.elect_by_oracle(id(leader), now, fx), trouble);
    }

    fn propose(&mut self, at: usize, trouble: &mut Trouble) {
        let txn = self.proposed;
        self.proposed += 1;
        let propose = |peer: &mut Peer, now, fx: &mut Effects<Effect>| {
            if let Some(zxid) = peer.next_zxid(now, fx) {
                peer.propose(now, zxid, payload(txn), fx);
            }
        };
        self.call(at, propose, trouble);
    }

    /// A learner whose leader hung up before it registered would try again and then look for a leader; here it looks
    /// at once.
    fn let_go_of_the_unreachable(&mut self, trouble: &mut Trouble) {
        for at in 0..KEEPERS {
            let following = self.nodes[at].peer.as_ref().and_then(Peer::following);
            if following.is_some_and(|following| following.stage == FollowingStage::Connecting) {
                self.call(at, |peer, now, fx| peer.step_down("its leader cannot be reached", now, fx), trouble);
            }
        }
    }
}

// What it does.
impl World {
    pub fn node(&mut self, at: usize) -> &mut Node {
        self.digests[at] = 0;
        Arc::make_mut(&mut self.nodes[at])
    }

    fn hear(&mut self, at: usize, input: Input, trouble: &mut Trouble) {
        self.call(at, |peer, now, fx| peer.step(now, input, fx), trouble);
    }

    fn call(&mut self, at: usize, run: impl FnOnce(&mut Peer, Now, &mut Effects<Effect>), trouble: &mut Trouble) {
        let mut fx = Effects::default();
        if let Some(peer) = &mut self.node(at).peer {
            run(peer, Now::default(), &mut fx);
            self.perform(at, fx, trouble);
        }
    }

    fn boot(&mut self, at: usize, setup: &Setup, trouble: &mut Trouble) {
        let node = self.node(at);
        let files = Arc::clone(&node.written);
        let (snapshot_zxid, tree) = files.snapshot.clone().unwrap_or_default();
        node.tree = tree;
        let recovered = Recovered {
            accepted_epoch: files.accepted,
            current_epoch: files.current,
            snapshot_zxid,
            history: files.tail().map(|(zxid, txn)| (zxid, payload(txn))).collect(),
            rng: Rng::new(0),
        };
        let mut fx = Effects::default();
        node.peer = Some(Peer::recover(setup.configs[at].clone(), recovered, Now::default(), &mut fx));
        self.perform(at, fx, trouble);
        for other in (0..KEEPERS).filter(|other| *other != at) {
            if self.nodes[other].peer.is_some() {
                self.hear(at, Input::Up { channel: channel_to(other) }, trouble);
                self.hear(other, Input::Up { channel: channel_to(at) }, trouble);
            }
        }
    }

    fn crash(&mut self, at: usize, power: bool, trouble: &mut Trouble) {
        let node = self.node(at);
        node.peer = None;
        if power {
            node.written = Arc::clone(&node.durable);
        }
        // (The page cache outlives the process; it is durable once the next boot has synced.)
        node.syncing.clear();
        node.tree.clear();
        for other in (0..KEEPERS).filter(|other| *other != at) {
            self.clear_streams(at, other);
            self.hear(other, Input::Down { channel: channel_to(at) }, trouble);
        }
    }

    fn clear_streams(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            if !self.streams[from][to].is_empty() {
                self.streams[from][to] = Arc::default();
            }
        }
    }

    fn perform(&mut self, at: usize, fx: Effects<Effect>, trouble: &mut Trouble) {
        for effect in fx.effects {
            match effect {
                Effect::Notify { .. } | Effect::Touched { .. } => {}
                Effect::FromLearner { .. } | Effect::FromLeader { .. } | Effect::AnswerPing { .. } => {}
                Effect::Send { channel, packet } => self.send(at, index(channel), packet, trouble),
                Effect::Hangup { channel } => self.hang_up(at, index(channel), trouble),
                Effect::Store(op) => store(Arc::make_mut(&mut self.node(at).written), op),
                Effect::Sync(ticket) => {
                    let node = self.node(at);
                    let files = Arc::clone(&node.written);
                    node.syncing.push_back((ticket, files));
                }
                Effect::Load { ticket, what } => {
                    let what = load(&self.nodes[at].written, &what);
                    self.hear(at, Input::Loaded { ticket, what }, trouble);
                }
                Effect::Halt { why } => trouble.push(("ZAB-8", format!("keeper-{} stops: {why}", at + 1))),
                Effect::Became(role) => self.on_role(at, role, trouble),
                Effect::Apply { zxid, txn } => self.apply(at, txn_of(zxid, &txn), trouble),
                Effect::Restore { zxid, image } => {
                    let node = self.node(at);
                    node.tree = tree_of(image.strip_suffix(SIGNATURE).unwrap_or(&image));
                    let files = Arc::make_mut(&mut node.written);
                    files.snapshot = Some((zxid, node.tree.clone()));
                    files.journal.clear();
                }
                Effect::Reloaded { snapshot, txns, .. } => {
                    let image = snapshot.map(|(_, image)| tree_of(&image)).unwrap_or_default();
                    let txns = txns.iter().map(|(zxid, txn)| txn_of(*zxid, txn));
                    self.node(at).tree = image.into_iter().chain(txns).collect();
                }
                Effect::Dump { channel, .. } => {
                    let mut image = image_of(&self.nodes[at].tree).to_vec();
                    image.extend_from_slice(SIGNATURE);
                    let piece = QuorumPacket::new(PacketType::SnapPiece, Zxid::ZERO, Some(Bytes::from(image)));
                    self.send(at, index(channel), piece, trouble);
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, packet: QuorumPacket, trouble: &mut Trouble) {
        if packet.kind == PacketType::Ack && packet.zxid().counter() == 0 {
            self.check_joined(from, to, packet.zxid().epoch(), trouble);
        }
        if self.nodes[to].peer.is_some() {
            Arc::make_mut(&mut self.streams[from][to]).push_back(packet);
        }
    }

    /// Breaks a stream for both ends; it comes up again at once.
    fn hang_up(&mut self, at: usize, to: usize, trouble: &mut Trouble) {
        self.clear_streams(at, to);
        if self.nodes[to].peer.is_some() {
            self.hear(to, Input::Down { channel: channel_to(at) }, trouble);
            self.hear(at, Input::Up { channel: channel_to(to) }, trouble);
            self.hear(to, Input::Up { channel: channel_to(at) }, trouble);
        }
    }
}

fn store(files: &mut Files, op: StoreOp) {
    match op {
        StoreOp::AppendTxn { zxid, txn } => files.journal.push(txn_of(zxid, &txn)),
        StoreOp::TruncateJournal { to } => {
            files.journal.retain(|(zxid, _)| *zxid <= to);
            files.snapshot = files.snapshot.take().filter(|(zxid, _)| *zxid <= to);
        }
        StoreOp::AcceptedEpoch(epoch) => files.accepted = epoch,
        StoreOp::CurrentEpoch(epoch) => files.current = epoch,
        _ => unreachable!("atomic broadcast stores only these"),
    }
}

fn load(files: &Files, what: &Load) -> Loaded {
    match what {
        Load::Database { upto } => {
            let snapshot = files.snapshot.as_ref().map(|(zxid, tree)| (*zxid, image_of(tree)));
            let txns = files.tail().filter(|(zxid, _)| zxid <= upto).map(|(zxid, txn)| (zxid, payload(txn)));
            Loaded::Database { snapshot, txns: txns.collect() }
        }
        _ => Loaded::Txns { txns: None, complete: false },
    }
}
