//! Each phase and each rule on a small ensemble: real peers, FIFO links that break, election mailboxes, and a disk whose
//! syncs can be held back. Time stands still while anything can happen without it.

use super::*;
use crate::api::peer::{ChannelKind, PacketType};
use crate::id::NodeId;
use crate::machine::{Effects, Machine};
use crate::ordered::{OrdMap, OrdSet};
use crate::rules::{NewleaderAck, ProposalAck};
use crate::time::{Instant, Now, Span, UnixMillis};
use std::collections::VecDeque;

mod phases;
mod rules;

type Txns = Vec<(Zxid, Bytes)>;

/// What a disk holds.
#[derive(Clone, Default)]
struct Files {
    accepted: ZabEpoch,
    current: ZabEpoch,
    snapshot: Option<(Zxid, Bytes)>,
    journal: Txns,
}

#[derive(Clone, Default)]
struct TestDisk {
    written: Files,
    syncing: VecDeque<(Ticket, Files)>,
    durable: Files,
}

struct Node {
    config: Config,
    peer: Option<Peer>,
    disk: TestDisk,
    tree: Txns,
    role: Role,
    slow_disk: bool,
}

/// An ensemble under glass.
struct Ensemble {
    now: Instant,
    nodes: OrdMap<u8, Node>,
    /// Quorum streams and election mailboxes, by (from, to), and the generation of each pair.
    streams: OrdMap<(u8, u8), VecDeque<QuorumPacket>>,
    mailboxes: OrdMap<(u8, u8), Notification>,
    generations: OrdMap<(u8, u8), u32>,
    cut: OrdSet<(u8, u8)>,
    held: OrdSet<(u8, u8)>,
    /// What was told and what was sent on the quorum channels, in words.
    story: Vec<String>,
}

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(ZabEpoch(epoch), counter)
}

fn image_of(tree: &Txns) -> Vec<u8> {
    tree.iter().flat_map(|(zxid, txn)| [&zxid.0.to_be_bytes()[..], &[txn.len() as u8], txn].concat()).collect()
}

fn tree_of(image: &[u8]) -> Txns {
    let (mut tree, mut rest) = (Vec::new(), image);
    while let Some((zxid, tail)) = rest.split_first_chunk::<8>() {
        let (txn, tail) = tail[1..].split_at(usize::from(tail[0]));
        tree.push((Zxid(u64::from_be_bytes(*zxid)), Bytes::copy_from_slice(txn)));
        rest = tail;
    }
    tree
}

impl Ensemble {
    fn new(voters: &[u8]) -> Ensemble {
        Ensemble::with(voters, &[], |_| {})
    }

    fn with(voters: &[u8], observers: &[u8], adjust: impl Fn(&mut Config)) -> Ensemble {
        let mut nodes = OrdMap::new();
        for id in voters.iter().chain(observers) {
            let mut config = Config::new(KeeperId(*id), voters.iter().copied().map(KeeperId));
            config.observers = observers.iter().copied().map(KeeperId).collect();
            adjust(&mut config);
            let node = Node {
                config,
                peer: None,
                disk: TestDisk::default(),
                tree: Vec::new(),
                role: Role::Looking,
                slow_disk: false,
            };
            nodes.insert(*id, node);
        }
        Ensemble {
            now: Instant::ZERO,
            nodes,
            streams: OrdMap::new(),
            mailboxes: OrdMap::new(),
            generations: OrdMap::new(),
            cut: OrdSet::new(),
            held: OrdSet::new(),
            story: Vec::new(),
        }
    }

    fn pair(a: u8, b: u8) -> (u8, u8) {
        (a.min(b), a.max(b))
    }

    fn start(&mut self, ids: &[u8]) {
        for id in ids {
            let now = Now { at: self.now, wall: UnixMillis(0) };
            let node = self.nodes.get_mut(id).expect("a keeper of the ensemble");
            let files = node.disk.written.clone();
            node.disk = TestDisk { written: files.clone(), syncing: VecDeque::new(), durable: files.clone() };
            node.tree = files.snapshot.as_ref().map(|(_, image)| tree_of(image)).unwrap_or_default();
            let snapshot_zxid = files.snapshot.map_or(Zxid::ZERO, |(zxid, _)| zxid);
            let recovered = Recovered {
                accepted_epoch: files.accepted,
                current_epoch: files.current,
                snapshot_zxid,
                history: files.journal.into_iter().filter(|(zxid, _)| *zxid > snapshot_zxid).collect(),
                rng: Rng::new(u64::from(*id)),
            };
            let mut fx = Effects::default();
            node.peer = Some(Peer::recover(node.config.clone(), recovered, now, &mut fx));
            self.perform(*id, fx);
            for other in self.alive() {
                if other != *id && !self.cut.contains(&Self::pair(*id, other)) {
                    self.connect(*id, other, ChannelKind::Election);
                    self.connect(*id, other, ChannelKind::Quorum);
                }
            }
        }
    }

    fn alive(&self) -> Vec<u8> {
        self.nodes.iter().filter(|(_, node)| node.peer.is_some()).map(|(id, _)| *id).collect()
    }

    fn channel(&self, at: u8, to: u8, kind: ChannelKind) -> Channel {
        let generation = match kind {
            ChannelKind::Quorum => self.generations.get(&Self::pair(at, to)).copied().unwrap_or(0),
            ChannelKind::Election | ChannelKind::Requests => 0,
        };
        Channel { peer: NodeId::keeper(to), kind, generation }
    }

    fn connect(&mut self, a: u8, b: u8, kind: ChannelKind) {
        if kind == ChannelKind::Quorum {
            *self.generations.entry(Self::pair(a, b)).or_default() += 1;
        }
        for (at, to) in [(a, b), (b, a)] {
            let channel = self.channel(at, to, kind);
            self.step(at, Input::Up { channel });
        }
    }

    /// Breaks the quorum stream of a pair; what was under way is lost.
    fn disconnect(&mut self, a: u8, b: u8, except: Option<u8>) {
        for (at, to) in [(a, b), (b, a)] {
            self.streams.remove(&(at, to));
            if except != Some(at) {
                let channel = self.channel(at, to, ChannelKind::Quorum);
                self.step(at, Input::Down { channel });
            }
        }
    }

    fn sever(&mut self, a: u8, b: u8) {
        self.cut.insert(Self::pair(a, b));
        self.mailboxes.remove(&(a, b));
        self.mailboxes.remove(&(b, a));
        for (at, to) in [(a, b), (b, a)] {
            let channel = self.channel(at, to, ChannelKind::Election);
            self.step(at, Input::Down { channel });
        }
        self.disconnect(a, b, None);
    }

    fn heal(&mut self, a: u8, b: u8) {
        self.cut.remove(&Self::pair(a, b));
        self.connect(a, b, ChannelKind::Election);
        self.connect(a, b, ChannelKind::Quorum);
    }

    fn isolate(&mut self, id: u8) {
        for other in self.alive() {
            if other != id {
                self.sever(id, other);
            }
        }
    }

    /// Ends the process. With `power`, what was not synced is gone.
    fn crash(&mut self, id: u8, power: bool) {
        let node = self.nodes.get_mut(&id).expect("a keeper of the ensemble");
        node.peer = None;
        node.role = Role::Looking;
        if power {
            node.disk.written = node.disk.durable.clone();
        }
        node.disk.syncing.clear();
        for other in self.alive() {
            self.mailboxes.remove(&(id, other));
            self.mailboxes.remove(&(other, id));
            self.disconnect(id, other, None);
            let channel = self.channel(other, id, ChannelKind::Election);
            self.step(other, Input::Down { channel });
        }
    }

    fn step(&mut self, id: u8, input: Input) {
        let now = Now { at: self.now, wall: UnixMillis(0) };
        let Some(peer) = self.nodes.get_mut(&id).and_then(|node| node.peer.as_mut()) else { return };
        let mut fx = Effects::default();
        peer.step(now, input, &mut fx);
        self.perform(id, fx);
    }

    fn tell(&mut self, id: u8, what: impl std::fmt::Display) {
        self.story.push(format!("keeper-{id} {what}"));
    }

    fn perform(&mut self, id: u8, fx: Effects<Effect>) {
        for note in fx.notes {
            self.tell(id, note);
        }
        for effect in fx.effects {
            self.perform_one(id, effect);
        }
    }

    fn perform_one(&mut self, id: u8, effect: Effect) {
        let to = |channel: &Channel| match channel.peer {
            NodeId::Keeper(peer) => peer.0,
            other => panic!("a channel to {other}"),
        };
        let node = self.nodes.get_mut(&id).expect("a keeper of the ensemble");
        match effect {
            Effect::Notify { channel, notification } => {
                self.mailboxes.insert((id, to(&channel)), notification);
            }
            Effect::Send { channel, packet } => self.send(id, channel, packet),
            Effect::Hangup { channel } => {
                if channel == self.channel(id, to(&channel), ChannelKind::Quorum) {
                    self.disconnect(id, to(&channel), Some(id));
                    self.connect(id, to(&channel), ChannelKind::Quorum);
                }
            }
            Effect::Store(op) => node.disk.store(op),
            Effect::Sync(ticket) => {
                let files = node.disk.written.clone();
                node.disk.syncing.push_back((ticket, files));
            }
            Effect::Load { ticket, what } => {
                let what = node.disk.load(what);
                self.step(id, Input::Loaded { ticket, what });
            }
            Effect::Halt { why } => panic!("keeper-{id} halts: {why}"),
            Effect::Became(role) => node.role = role,
            Effect::Apply { zxid, txn } => node.tree.push((zxid, txn)),
            Effect::Restore { zxid, image } => {
                let image = image.slice(..image.len() - b"\0\0\0\x0aBenWasHere".len());
                node.tree = tree_of(&image);
                node.disk.written.snapshot = Some((zxid, image));
                node.disk.written.journal.clear();
            }
            Effect::Reloaded { snapshot, txns, .. } => {
                node.tree = snapshot.map(|(_, image)| tree_of(&image)).unwrap_or_default();
                node.tree.extend(txns);
            }
            Effect::Dump { channel, zxid } => {
                assert_eq!(node.tree.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid), zxid);
                let mut image = image_of(&node.tree);
                image.extend_from_slice(b"\0\0\0\x0aBenWasHere");
                for piece in image.chunks(16) {
                    let data = Some(Bytes::copy_from_slice(piece));
                    self.send(id, channel, QuorumPacket::new(PacketType::SnapPiece, Zxid::ZERO, data));
                }
            }
            Effect::AnswerPing { channel, zxid } => {
                self.send(id, channel, QuorumPacket::new(PacketType::Ping, zxid, Some(Bytes::from_static(b"touched"))));
            }
            Effect::Touched { from, table } => assert!(from != KeeperId(id) && table == "touched"),
            Effect::FromLearner { from, packet } => self.tell(id, format!("hears {packet} from keeper-{from}")),
            Effect::FromLeader { packet } => self.tell(id, format!("hears {packet} from its leader")),
        }
    }

    fn send(&mut self, id: u8, channel: Channel, packet: QuorumPacket) {
        let NodeId::Keeper(to) = channel.peer else { panic!("a channel to {}", channel.peer) };
        if channel == self.channel(id, to.0, ChannelKind::Quorum) && !self.cut.contains(&Self::pair(id, to.0)) {
            if packet.kind != PacketType::Ping {
                self.tell(id, format!("→ keeper-{to} {packet}"));
            }
            self.streams.entry((id, to.0)).or_default().push_back(packet);
        }
    }

    /// One thing that can happen without time passing.
    fn deliver_one(&mut self) -> bool {
        if let Some((from, to)) = self.mailboxes.keys().next().copied() {
            let notification = self.mailboxes.remove(&(from, to)).expect("just seen");
            let channel = self.channel(to, from, ChannelKind::Election);
            self.step(to, Input::Election { channel, notification });
            return true;
        }
        let ready = |pair: &(u8, u8), stream: &VecDeque<QuorumPacket>| !self.held.contains(pair) && !stream.is_empty();
        if let Some((from, to)) = self.streams.iter().find(|(pair, stream)| ready(pair, stream)).map(|(pair, _)| *pair)
        {
            let packet = self.streams.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("just seen");
            let channel = self.channel(to, from, ChannelKind::Quorum);
            self.step(to, Input::Packet { channel, packet });
            return true;
        }
        let slow = |node: &Node| !node.slow_disk && !node.disk.syncing.is_empty();
        if let Some(id) = self.nodes.iter().find(|(_, node)| slow(node)).map(|(id, _)| *id) {
            self.sync_disk(id);
            return true;
        }
        false
    }

    fn sync_disk(&mut self, id: u8) {
        let disk = &mut self.nodes.get_mut(&id).expect("a keeper of the ensemble").disk;
        if let Some((upto, files)) = disk.syncing.pop_back() {
            disk.syncing.clear();
            disk.durable = files;
            self.step(id, Input::Synced { upto });
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.deliver_one() {
                return;
            }
        }
        panic!("no end of messages:\n{}", self.story[self.story.len().saturating_sub(40)..].join("\n"));
    }

    fn run(&mut self, span: Span) {
        let end = self.now + span;
        for wakes in 0.. {
            assert!(wakes < 10_000, "woken for ever at {}", self.now);
            self.settle();
            let wakes = self.nodes.iter().filter_map(|(id, node)| Some((node.peer.as_ref()?.wake_at()?.at, *id)));
            match wakes.min() {
                Some((at, id)) if at <= end => {
                    self.now = self.now.max(at);
                    self.step(id, Input::Wake);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Runs until something is so, and not one message further.
    fn run_until(&mut self, so: impl Fn(&Ensemble) -> bool) {
        for _ in 0..10_000 {
            if so(self) {
                return;
            }
            if !self.deliver_one() {
                let wakes = self.nodes.iter().filter_map(|(id, node)| Some((node.peer.as_ref()?.wake_at()?.at, *id)));
                let (at, id) = wakes.min().expect("a running keeper");
                self.now = self.now.max(at);
                self.step(id, Input::Wake);
            }
        }
        panic!("it never came:\n{}", self.story[self.story.len().saturating_sub(40)..].join("\n"));
    }

    fn run_to_leader(&mut self) -> u8 {
        for _ in 0..600 {
            self.run(Span::millis(100));
            let leads = |node: &Node| matches!(node.role, Role::Leading { established: true, .. });
            if let Some((id, _)) = self.nodes.iter().find(|(_, node)| leads(node)) {
                return *id;
            }
        }
        panic!("no leader within a minute:\n{}", self.story.join("\n"));
    }

    fn propose(&mut self, id: u8, txn: &'static str) -> Option<Zxid> {
        let now = Now { at: self.now, wall: UnixMillis(0) };
        let peer = self.nodes.get_mut(&id).and_then(|node| node.peer.as_mut()).expect("a running keeper");
        let mut fx = Effects::default();
        let zxid = peer.next_zxid(now, &mut fx);
        if let Some(zxid) = zxid {
            peer.propose(now, zxid, Bytes::from_static(txn.as_bytes()), &mut fx);
        }
        self.perform(id, fx);
        zxid
    }

    fn commit(&mut self, id: u8, txns: &[&'static str]) {
        for txn in txns {
            assert!(self.propose(id, txn).is_some(), "keeper-{id} does not lead");
            self.settle();
        }
    }

    fn tree(&self, id: u8) -> String {
        self.nodes[&id].tree.iter().map(|(_, txn)| String::from_utf8_lossy(txn)).collect::<Vec<_>>().join(" ")
    }

    fn role(&self, id: u8) -> Role {
        self.nodes[&id].role
    }

    fn peer(&self, id: u8) -> &Peer {
        self.nodes[&id].peer.as_ref().expect("a running keeper")
    }

    /// Writes the tree as a snapshot, and purges the journal.
    fn snapshot(&mut self, id: u8) {
        let node = self.nodes.get_mut(&id).expect("a keeper of the ensemble");
        let zxid = node.tree.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        for files in [&mut node.disk.written, &mut node.disk.durable] {
            files.snapshot = Some((zxid, Bytes::from(image_of(&node.tree))));
            files.journal.retain(|(other, _)| *other > zxid);
        }
    }

    /// The lines told since the last call that hold one of these words.
    fn told(&mut self, words: &[&str]) -> String {
        let story = std::mem::take(&mut self.story);
        let lines: Vec<_> = story.into_iter().filter(|line| words.iter().any(|word| line.contains(word))).collect();
        lines.join("\n")
    }
}

impl TestDisk {
    fn store(&mut self, op: StoreOp) {
        let files = &mut self.written;
        match op {
            StoreOp::AppendTxn { zxid, txn } => files.journal.push((zxid, txn)),
            StoreOp::TruncateJournal { to } => {
                files.journal.retain(|(zxid, _)| *zxid <= to);
                files.snapshot = files.snapshot.take().filter(|(zxid, _)| *zxid <= to);
            }
            StoreOp::AcceptedEpoch(epoch) => files.accepted = epoch,
            StoreOp::CurrentEpoch(epoch) => files.current = epoch,
            other => panic!("not a keeper's store: {other:?}"),
        }
    }

    fn load(&self, what: Load) -> Loaded {
        let files = &self.written;
        match what {
            Load::Txns { after, upto, max_bytes } => {
                let first = files.journal.first().map_or(Zxid(u64::MAX), |(first, _)| *first);
                let reaches = files.snapshot.is_none() || first.0 <= after.0 + 1;
                let wanted = files.journal.iter().filter(|(zxid, _)| *zxid > after && *zxid <= upto);
                let (mut txns, mut bytes) = (Txns::new(), 0);
                for (zxid, txn) in wanted {
                    if bytes < max_bytes as usize {
                        bytes += txn.len();
                        txns.push((*zxid, txn.clone()));
                    }
                }
                let complete = txns.last().is_some_and(|(zxid, _)| *zxid == upto);
                Loaded::Txns { txns: reaches.then_some(txns), complete }
            }
            Load::Database { upto } => {
                let snapshot = files.snapshot.clone();
                let from = snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
                let txns = files.journal.iter().filter(|(zxid, _)| *zxid > from && *zxid <= upto).cloned().collect();
                Loaded::Database { snapshot, txns }
            }
            other => panic!("not a keeper's read: {other:?}"),
        }
    }
}

const SYNC: &[&str] = &[
    "brings",
    "FOLLOWERINFO",
    "LEADERINFO",
    "EPOCH",
    "DIFF",
    "TRUNC",
    "SNAP",
    "PROPOSAL",
    "COMMIT",
    "LEADER ",
    "ACK",
    "UPTODATE",
];
