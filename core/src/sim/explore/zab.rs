//! The small world of atomic broadcast: three keepers, FIFO streams, disks that sync when they like, crashes, power
//! losses and time-outs. Elections are an oracle's: it lets a quorum of keepers that look follow the best of them, and
//! a keeper that looks join a leader that has a quorum. Time stands still; what a time-out does is an action.
//!
//! A broken stream is seen at both ends at once. That leaves nothing out: what was still under way could as well have
//! arrived before the break, and answers to it are lost either way.

use super::seen::Seen;
use super::{Report, Violation};
use crate::api::peer::{Channel, ChannelKind, PacketType, QuorumPacket};
use crate::api::storage::{Load, Loaded, StoreOp};
use crate::digest::Digest;
use crate::id::{KeeperId, NodeId, ZabEpoch, Zxid};
use crate::machine::{Effects, Machine, Ticket};
use crate::rng::Rng;
use crate::rules::Rules;
use crate::time::Now;
use crate::zab::{Config, Effect, FollowingStage, Input, LeadingStage, Peer, Recovered, Role};
use bytes::Bytes;
use core::fmt;
use core::hash::{Hash, Hasher};
use std::collections::VecDeque;
use std::sync::Arc;

const KEEPERS: usize = 3;
const QUORUM: usize = 2;

/// Payloads: each proposal of a run has its own byte.
static PAYLOADS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// How much may happen in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Proposals.
    pub txns: u8,
    /// Process crashes and power losses.
    pub crashes: u8,
    /// Roles given up although nothing is wrong.
    pub time_outs: u8,
    /// The search ends there.
    pub states: u64,
    /// The search ends with the first violation.
    pub until_violation: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { txns: 2, crashes: 1, time_outs: 0, states: u64::MAX, until_violation: false }
    }
}

type Txn = (Zxid, u8);

/// What a disk holds.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Files {
    accepted: ZabEpoch,
    current: ZabEpoch,
    /// The last zxid of the snapshot, and the database in it.
    snapshot: Option<(Zxid, Vec<Txn>)>,
    journal: Vec<Txn>,
}

impl Files {
    /// The transactions that a recovery would find.
    fn history(&self) -> impl Iterator<Item = Txn> + '_ {
        let image = self.snapshot.iter().flat_map(|(_, txns)| txns.iter().copied());
        image.chain(self.tail())
    }

    fn tail(&self) -> impl Iterator<Item = Txn> + '_ {
        let from = self.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        self.journal.iter().copied().filter(move |(zxid, _)| *zxid > from)
    }

    fn begins_with(&self, history: &[Txn]) -> bool {
        let mut own = self.history();
        history.iter().all(|txn| own.next() == Some(*txn))
    }
}

#[derive(Clone)]
struct Node {
    peer: Option<Peer>,
    written: Arc<Files>,
    syncing: VecDeque<(Ticket, Arc<Files>)>,
    durable: Arc<Files>,
    /// What was applied to the tree.
    tree: Vec<Txn>,
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

/// What no keeper reads.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Ghost {
    /// Everything that any tree ever held, in order.
    committed: Vec<Txn>,
    /// Who was established, and with which history.
    leaders: Vec<(ZabEpoch, u8, Vec<Txn>)>,
}

/// One state.
#[derive(Clone)]
struct World {
    nodes: [Arc<Node>; KEEPERS],
    /// The digest of each node, kept beside it.
    digests: [u64; KEEPERS],
    streams: [[Arc<VecDeque<QuorumPacket>>; KEEPERS]; KEEPERS],
    ghost: Arc<Ghost>,
    proposed: u8,
    crashes: u8,
    time_outs: u8,
}

/// What can happen next. Keepers are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Deliver {
        from: u8,
        to: u8,
    },
    Sync(u8),
    Crash {
        keeper: u8,
        power: bool,
    },
    Boot(u8),
    TimeOut(u8),
    /// A leader without a quorum of followers steps down.
    Abdicate(u8),
    /// Everyone in `quorum` (bits) follows `leader`.
    Elect {
        leader: u8,
        quorum: u8,
    },
    Join {
        keeper: u8,
        leader: u8,
    },
    Propose(u8),
}

/// Explores every run of three keepers within the bounds.
pub fn zab(bounds: Bounds, rules: Rules) -> Report {
    let setup = Setup::new(rules);
    let mut search = Search { setup, bounds, report: Report::default(), seen: Seen::new(), path: Vec::new() };
    let world = search.setup.first_world();
    search.run(world);
    search.report
}

/// What is the same in all worlds of a search.
struct Setup {
    configs: [Config; KEEPERS],
}

struct Search {
    setup: Setup,
    bounds: Bounds,
    report: Report,
    seen: Seen,
    /// What led to the present state.
    path: Vec<Step>,
}

/// An action as a violation tells it.
#[derive(Clone, Copy)]
struct Step {
    action: Action,
    /// What was delivered.
    packet: Option<(PacketType, Zxid)>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.action, self.packet) {
            (Action::Deliver { from, to }, Some((kind, zxid))) => {
                write!(f, "keeper-{} hears {} {zxid} from keeper-{}", to + 1, kind.name(), from + 1)
            }
            (Action::Deliver { from, to }, None) => write!(f, "keeper-{} hears from keeper-{}", to + 1, from + 1),
            (Action::Sync(at), _) => write!(f, "keeper-{}'s disk has synced", at + 1),
            (Action::Crash { keeper, power: false }, _) => write!(f, "keeper-{} crashes", keeper + 1),
            (Action::Crash { keeper, power: true }, _) => write!(f, "keeper-{} loses power", keeper + 1),
            (Action::Boot(at), _) => write!(f, "keeper-{} starts", at + 1),
            (Action::TimeOut(at), _) => write!(f, "keeper-{} gives up its role", at + 1),
            (Action::Abdicate(at), _) => write!(f, "keeper-{} steps down: no quorum follows it", at + 1),
            (Action::Elect { leader, quorum }, _) => {
                let who: Vec<_> = members(quorum).map(|at| format!("keeper-{}", at + 1)).collect();
                write!(f, "keeper-{} is elected by {}", leader + 1, who.join(", "))
            }
            (Action::Join { keeper, leader }, _) => write!(f, "keeper-{} joins keeper-{}", keeper + 1, leader + 1),
            (Action::Propose(at), _) => write!(f, "keeper-{} proposes", at + 1),
        }
    }
}

/// A state on the path, and what is still to be tried in it.
struct Frame {
    world: World,
    actions: Vec<Action>,
}

impl Search {
    fn run(&mut self, world: World) {
        self.seen.insert(world.digest());
        let mut stack = vec![self.frame(world)];
        while let Some(frame) = stack.last_mut() {
            let Some(action) = frame.actions.pop() else {
                stack.pop();
                self.path.pop();
                continue;
            };
            let packet = match action {
                Action::Deliver { from, to } => frame.world.streams[from as usize][to as usize].front(),
                _ => None,
            };
            self.path.push(Step { action, packet: packet.map(|packet| (packet.kind, packet.zxid())) });
            let mut next = frame.world.clone();
            let mut trouble = Vec::new();
            next.take(action, &self.setup, &mut trouble);
            self.report.transitions += 1;
            for (invariant, what) in trouble {
                self.tell(invariant, what);
            }
            if !self.seen.insert(next.digest()) {
                self.path.pop();
                continue;
            }
            self.report.depth = self.report.depth.max(self.path.len() as u32);
            let broken = self.bounds.until_violation && !self.report.violations.is_empty();
            if broken || self.seen.len() as u64 >= self.bounds.states {
                self.report.states = self.seen.len() as u64;
                return;
            }
            stack.push(self.frame(next));
        }
        self.report.states = self.seen.len() as u64;
        self.report.exhausted = true;
    }

    fn frame(&self, world: World) -> Frame {
        let actions = world.actions(&self.bounds);
        Frame { world, actions }
    }

    fn tell(&mut self, invariant: &'static str, what: String) {
        if self.report.violations.iter().all(|violation| violation.invariant != invariant) {
            let path = self.path.iter().map(Step::to_string).collect();
            self.report.violations.push(Violation { invariant, what, path });
        }
    }
}

type Trouble = Vec<(&'static str, String)>;

fn id(at: usize) -> KeeperId {
    KeeperId(at as u8 + 1)
}

fn members(bits: u8) -> impl Iterator<Item = usize> {
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
    fn new(rules: Rules) -> Setup {
        let config = |at| {
            let mut config = Config::new(id(at), (0..KEEPERS).map(id));
            config.rules = rules;
            config.disk_diff_max_bytes = 0;
            config
        };
        Setup { configs: core::array::from_fn(config) }
    }

    fn first_world(&self) -> World {
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
impl World {
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

    fn actions(&self, bounds: &Bounds) -> Vec<Action> {
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

    fn take(&mut self, action: Action, setup: &Setup, trouble: &mut Trouble) {
        match action {
            Action::Deliver { from, to } => {
                let (from, to) = (from as usize, to as usize);
                if let Some(packet) = Arc::make_mut(&mut self.streams[from][to]).pop_front() {
                    self.step(to, Input::Packet { channel: channel_to(from), packet }, trouble);
                }
            }
            Action::Sync(at) => {
                let node = self.node(at as usize);
                if let Some((upto, files)) = node.syncing.pop_front() {
                    node.durable = files;
                    self.step(at as usize, Input::Synced { upto }, trouble);
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
    fn node(&mut self, at: usize) -> &mut Node {
        self.digests[at] = 0;
        Arc::make_mut(&mut self.nodes[at])
    }

    fn step(&mut self, at: usize, input: Input, trouble: &mut Trouble) {
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
                self.step(at, Input::Up { channel: channel_to(other) }, trouble);
                self.step(other, Input::Up { channel: channel_to(at) }, trouble);
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
            self.step(other, Input::Down { channel: channel_to(at) }, trouble);
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
                    self.step(at, Input::Loaded { ticket, what }, trouble);
                }
                Effect::Halt { why } => trouble.push(("ZAB-8", format!("keeper-{} stops: {why}", at + 1))),
                Effect::Became(role) => self.on_role(at, role, trouble),
                Effect::Apply { zxid, txn } => self.apply(at, txn_of(zxid, &txn), trouble),
                Effect::Restore { zxid, image } => {
                    let node = self.node(at);
                    node.tree = tree_of(&image);
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
                    image.extend_from_slice(b"\0\0\0\x0aBenWasHere");
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
            self.step(to, Input::Down { channel: channel_to(at) }, trouble);
            self.step(at, Input::Up { channel: channel_to(to) }, trouble);
            self.step(to, Input::Up { channel: channel_to(at) }, trouble);
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

// The invariants (protocol.md D.1).
impl World {
    fn ghost(&mut self) -> &mut Ghost {
        Arc::make_mut(&mut self.ghost)
    }

    /// ZAB-8, and with it agreement, integrity and total order: what trees hold are beginnings of one sequence.
    fn apply(&mut self, at: usize, txn: Txn, trouble: &mut Trouble) {
        let node = self.node(at);
        node.tree.push(txn);
        let place = node.tree.len() - 1;
        match self.ghost.committed.get(place).copied() {
            None => self.ghost().committed.push(txn),
            Some(other) if other == txn => {}
            Some(other) => {
                let what = format!("keeper-{} applies {} as number {place}, another keeper {}", at + 1, txn.0, other.0);
                trouble.push(("ZAB-8", what));
            }
        }
    }

    /// ZAB-1 and ZAB-10.
    fn on_role(&mut self, at: usize, role: Role, trouble: &mut Trouble) {
        let Role::Leading { epoch, established: true } = role else { return };
        if let Some((_, other, _)) = self.ghost.leaders.iter().find(|(led, _, _)| *led == epoch) {
            let what = format!("keeper-{} and keeper-{} lead epoch {epoch}", at + 1, other + 1);
            trouble.push(("ZAB-1", what));
        }
        let history: Vec<Txn> = self.nodes[at].written.history().collect();
        if !history.starts_with(&self.ghost.committed) {
            let what = format!("keeper-{} is established in epoch {epoch} without all that was committed", at + 1);
            trouble.push(("ZAB-10", what));
        }
        self.ghost().leaders.push((epoch, at as u8, history));
    }

    /// ZAB-9 and ZAB-13: who acknowledges NEWLEADER has the leader's history and its epoch on disk.
    fn check_joined(&mut self, at: usize, leader: usize, epoch: ZabEpoch, trouble: &mut Trouble) {
        let (node, leader_node) = (&self.nodes[at], &self.nodes[leader]);
        let leads = leader_node.peer.as_ref().and_then(Peer::leading).filter(|leading| leading.epoch == epoch);
        let Some(leading) = leads else { return };
        let history: Vec<Txn> = leader_node.written.history().collect();
        let initial: Vec<Txn> = history.iter().copied().filter(|(zxid, _)| zxid.epoch() < epoch).collect();
        if leading.stage >= LeadingStage::Synchronising
            && (node.durable.current < epoch || !node.durable.begins_with(&initial))
        {
            let what = format!("keeper-{} acknowledges epoch {epoch} without its history on disk", at + 1);
            trouble.push(("ZAB-13", what));
        }
        let own: Vec<Txn> = node.written.history().collect();
        if !history.starts_with(&own) {
            let what = format!("keeper-{} has joined keeper-{} with a history of its own", at + 1, leader + 1);
            trouble.push(("ZAB-9", what));
        }
    }

    /// ZAB-11 and the epoch files of ZAB-13.
    fn check_committed(&self, trouble: &mut Trouble) {
        let committed = &self.ghost.committed;
        if !committed.is_empty() {
            let holders = self.nodes.iter().filter(|node| node.durable.begins_with(committed)).count();
            if holders < QUORUM {
                let what = format!("{} committed transactions are on {holders} disk(s) of {KEEPERS}", committed.len());
                trouble.push(("ZAB-11", what));
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if node.written.current > node.written.accepted {
                trouble.push(("ZAB-13", format!("keeper-{}'s currentEpoch is ahead of its acceptedEpoch", at + 1)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{NewleaderAck, ProposalAck};

    #[test]
    fn without_faults_the_small_world_is_exhausted_and_holds() {
        let report = zab(Bounds { txns: 1, crashes: 0, ..Bounds::default() }, Rules::default());
        assert!(report.exhausted && report.states > 1_000, "{report:?}");
        assert_eq!(report.violations, []);
    }

    #[test]
    fn crashes_and_time_outs_break_nothing() {
        for (crashes, time_outs) in [(1, 0), (0, 1)] {
            let bounds = Bounds { txns: 1, crashes, time_outs, states: 30_000, until_violation: false };
            assert_eq!(zab(bounds, Rules::default()).violations, []);
        }
    }

    #[test]
    fn each_old_rule_breaks_a_promise() {
        let newleader = |newleader_ack| Rules { newleader_ack, ..Rules::default() };
        for rules in [
            newleader(NewleaderAck::BeforeHistory),
            newleader(NewleaderAck::EpochFirst),
            Rules { proposal_ack: ProposalAck::BeforeSync, ..Rules::default() },
        ] {
            let report = zab(Bounds { txns: 1, states: 300_000, until_violation: true, ..Bounds::default() }, rules);
            let violation = report.violations.first();
            assert!(violation.is_some_and(|violation| !violation.path.is_empty()), "{rules:?}: {report:?}");
        }
    }
}
