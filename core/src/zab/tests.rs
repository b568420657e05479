//! Each phase and each rule on a small ensemble: real peers, FIFO links that break, election mailboxes, and a disk whose
//! syncs can be held back. Time stands still while anything can happen without it.

use super::*;
use crate::api::peer::{ChannelKind, PacketType};
use crate::id::NodeId;
use crate::machine::{Effects, Machine};
use crate::rules::{NewleaderAck, ProposalAck};
use crate::time::{Instant, Now, UnixMillis};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    nodes: BTreeMap<u8, Node>,
    /// Quorum streams and election mailboxes, by (from, to), and the generation of each pair.
    streams: BTreeMap<(u8, u8), VecDeque<QuorumPacket>>,
    mailboxes: BTreeMap<(u8, u8), Notification>,
    generations: BTreeMap<(u8, u8), u32>,
    cut: BTreeSet<(u8, u8)>,
    held: BTreeSet<(u8, u8)>,
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
        let mut nodes = BTreeMap::new();
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
            streams: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            generations: BTreeMap::new(),
            cut: BTreeSet::new(),
            held: BTreeSet::new(),
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

#[test]
fn three_keepers_elect_the_highest_id_and_commit() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    assert_eq!(world.run_to_leader(), 3);
    assert_eq!(world.role(1), Role::Following { leader: KeeperId(3), serving: true });
    world.commit(3, &["a", "b"]);
    for id in [1, 2, 3] {
        assert_eq!((world.tree(id), world.peer(id).committed()), ("a b".to_owned(), z(1, 2)));
        assert_eq!(world.peer(id).durable(), z(1, 2));
    }
}

#[test]
fn the_packets_of_a_first_election() {
    let mut world = Ensemble::new(&[1, 2]);
    world.start(&[1, 2]);
    assert_eq!(world.run_to_leader(), 2);
    assert_eq!(
        world.told(SYNC),
        // The first FOLLOWERINFO comes before keeper-2 has decided: it hangs up, and keeper-1 tries again.
        "\
keeper-1 → keeper-2 FOLLOWERINFO
keeper-1 → keeper-2 FOLLOWERINFO
keeper-2 → keeper-1 LEADERINFO 1:0
keeper-1 → keeper-2 ACKEPOCH
keeper-2 brings keeper-1 from 0:0 to 0:0 by DIFF
keeper-2 → keeper-1 DIFF
keeper-2 → keeper-1 NEWLEADER 1:0
keeper-1 → keeper-2 ACK 1:0
keeper-2 → keeper-1 UPTODATE
keeper-1 → keeper-2 ACK 1:0"
    );
    world.commit(2, &["a"]);
    assert_eq!(
        world.told(&[""]),
        "\
keeper-2 proposes 1:1
keeper-2 → keeper-1 PROPOSAL 1:1
keeper-1 → keeper-2 ACK 1:1
keeper-2 knows 1:1 as committed
keeper-2 → keeper-1 COMMIT 1:1
keeper-1 knows 1:1 as committed"
    );
}

#[test]
fn a_crashed_leader_is_replaced_and_its_return_finds_the_new_one() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.crash(3, false);
    assert_eq!(world.run_to_leader(), 2);
    world.commit(2, &["b"]);
    assert_eq!(world.peer(2).last_zxid(), z(2, 1));
    world.told(&[]);
    world.start(&[3]);
    world.run(Span::secs(2));
    assert_eq!(world.role(3), Role::Following { leader: KeeperId(2), serving: true });
    assert_eq!((world.tree(1), world.tree(3)), ("a b".to_owned(), "a b".to_owned()));
    assert!(world.told(&["brings"]).contains("brings keeper-3 from 1:1 to 2:1 by DIFF"));
}

#[test]
fn a_learner_that_lags_beyond_memory_is_served_from_the_journal() {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| {
        config.commit_log_count = 2;
        config.load_bytes = 3;
    });
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.crash(1, false);
    world.commit(3, &["b", "c", "d", "e", "f", "g"]);
    assert!(world.peer(3).history().floor() > z(1, 3));
    world.start(&[1]);
    world.run(Span::secs(2));
    assert_eq!(world.told(&["brings keeper-1 from 1"]), "keeper-3 brings keeper-1 from 1:1 to 1:7 by DIFF from disk");
    assert_eq!(world.tree(1), "a b c d e f g");
}

#[test]
fn a_learner_that_lags_beyond_the_journal_gets_the_database() {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.commit_log_count = 1);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.crash(1, false);
    world.commit(3, &["b", "c", "d"]);
    world.snapshot(3);
    world.start(&[1]);
    world.run(Span::secs(2));
    assert_eq!(
        world.told(&["brings keeper-1 from 1", "database"]),
        "\
keeper-3 brings keeper-1 from 1:1 to 1:4 by SNAP
keeper-1 takes its leader's database as of 1:4 in place of its own"
    );
    world.commit(3, &["e"]);
    assert_eq!(world.tree(1), "a b c d e");
    // What came by SNAP survives a power loss at once.
    world.crash(1, true);
    world.start(&[1]);
    world.run(Span::secs(2));
    assert_eq!(world.tree(1), "a b c d e");
}

#[test]
fn what_a_dead_leader_proposed_alone_is_truncated() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.held.extend([(3, 1), (3, 2)]);
    world.propose(3, "lost");
    world.settle();
    world.crash(3, false);
    world.held.clear();
    assert_eq!(world.run_to_leader(), 2);
    world.start(&[3]);
    world.run(Span::secs(2));
    assert!(world.told(&["brings"]).ends_with("brings keeper-3 from 1:2 to 1:1 by TRUNC"));
    world.commit(2, &["b"]);
    assert_eq!((world.tree(3), world.peer(3).durable()), ("a b".to_owned(), z(2, 1)));
}

#[test]
fn a_divergent_history_of_an_older_epoch_is_replaced() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.held.extend([(3, 1), (3, 2)]);
    world.propose(3, "lost");
    world.settle();
    world.crash(3, false);
    world.held.clear();
    world.run_to_leader();
    world.commit(2, &["b", "c"]);
    world.start(&[3]);
    world.run(Span::secs(2));
    assert!(world.told(&["brings"]).ends_with("brings keeper-3 from 1:2 to 2:2 by SNAP"));
    assert_eq!(world.tree(3), "a b c");
}

#[test]
fn a_late_joiner_gets_what_is_proposed_between_newleader_and_uptodate() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.nodes.get_mut(&1).expect("keeper-1").slow_disk = true;
    world.start(&[1]);
    world.run(Span::millis(300));
    world.sync_disk(1); // acceptedEpoch
    world.settle();
    assert!(world.told(&["NEWLEADER"]).ends_with("keeper-3 → keeper-1 NEWLEADER 1:0"));
    world.commit(3, &["b"]); // proposed and committed while keeper-1 writes its history
    world.propose(3, "c");
    world.held.insert((2, 3));
    world.sync_disk(1);
    world.settle();
    assert_eq!(world.tree(1), "a b");
    world.sync_disk(1);
    world.settle();
    assert_eq!((world.tree(1), world.tree(3)), ("a b c".to_owned(), "a b c".to_owned()));
}

#[test]
fn an_observer_hears_what_is_committed_and_never_counts() {
    let mut world = Ensemble::with(&[1, 2, 3], &[4], |_| {});
    world.start(&[1, 2, 3, 4]);
    world.run_to_leader();
    world.run(Span::secs(1));
    assert_eq!(world.role(4), Role::Observing { leader: KeeperId(3), serving: true });
    world.commit(3, &["a"]);
    assert_eq!((world.tree(4), world.peer(4).durable()), ("a".to_owned(), z(1, 1)));
    world.crash(1, false);
    world.crash(2, false);
    world.propose(3, "b");
    world.settle();
    assert_eq!((world.peer(3).last_outstanding(), world.tree(4)), (Some(z(1, 2)), "a".to_owned()));
    assert!(!world.told(&["INFORM", "ACK 1:2"]).contains("keeper-4 → keeper-3 ACK 1:2"));
}

#[test]
fn a_leader_without_a_quorum_abdicates() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.isolate(3);
    assert_eq!(world.role(3), Role::Leading { epoch: ZabEpoch(1), established: true }, "it has not noticed yet");
    world.run(Span::secs(12));
    assert_eq!(world.role(3), Role::Looking);
    assert!(
        world.told(&["gives up"]).contains("keeper-3 gives up its role: it hears no quorum within syncLimit ticks")
    );
    assert_eq!(world.run_to_leader(), 2);
    world.commit(2, &["a"]);
    world.heal(3, 1);
    world.heal(3, 2);
    world.run(Span::secs(2));
    assert_eq!(
        (world.role(3), world.tree(3)),
        (Role::Following { leader: KeeperId(2), serving: true }, "a".to_owned())
    );
}

#[test]
fn a_silent_leader_is_given_up_after_sync_limit_ticks() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.held.extend([(3, 1), (3, 2)]);
    world.run(Span::secs(9));
    assert!(world.role(1).is_serving());
    world.run(Span::secs(3));
    assert_ne!(world.role(1), Role::Following { leader: KeeperId(3), serving: true });
}

#[test]
fn a_used_up_counter_forces_a_new_epoch() {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.counter_limit = 3);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a", "b"]);
    assert_eq!(world.propose(3, "c"), None);
    assert_eq!(world.role(3), Role::Looking);
    let leader = world.run_to_leader();
    world.commit(leader, &["c"]);
    assert_eq!(world.peer(leader).last_zxid(), z(2, 1));
    assert_eq!(world.tree(1), "a b c");
}

#[test]
fn the_leader_counts_itself_only_when_its_own_disk_has_answered() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.nodes.get_mut(&3).expect("keeper-3").slow_disk = true;
    world.held.insert((3, 1));
    world.propose(3, "a");
    world.settle();
    assert_eq!(world.tree(3), "", "keeper-2 alone is no quorum");
    world.held.clear();
    world.settle();
    assert_eq!(world.tree(3), "a", "the leader's own ACK is not needed");
    assert_eq!(world.peer(3).durable(), Zxid::ZERO);
}

#[test]
fn an_ack_of_what_was_cut_does_not_count() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.nodes.get_mut(&3).expect("keeper-3").slow_disk = true;
    world.held.insert((3, 1));
    world.propose(3, "a");
    world.settle(); // keeper-2 has it on disk and said so
    world.disconnect(3, 2, None);
    world.connect(3, 2, ChannelKind::Quorum);
    world.held.insert((3, 2));
    world.run(Span::secs(1));
    world.held.remove(&(3, 2));
    while world.deliver_one() && !world.story.last().is_some_and(|line| line.contains("cuts its journal")) {}
    world.held.insert((3, 2));
    world.sync_disk(3);
    world.settle();
    assert_eq!(world.tree(3), "", "keeper-2 was told to cut it");
    world.held.clear();
    world.run(Span::secs(1));
    assert_eq!(world.tree(3), "a");
}

#[test]
fn a_crash_between_history_and_epoch_is_no_reason_to_stay_down() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.start(&[1]);
    world.run(Span::secs(1));
    world.crash(1, false);
    world.nodes.get_mut(&1).expect("keeper-1").disk.written.current = ZabEpoch(0);
    world.start(&[1]);
    world.run(Span::secs(1));
    assert_eq!(
        (world.role(1), world.tree(1)),
        (Role::Following { leader: KeeperId(3), serving: true }, "a".to_owned())
    );
}

/// Z2: keeper-3 alone holds `t`; {1, 3} establish it; 1 crashes before it logs `t`; {1, 2} go on.
fn acknowledge_before_history(rule: NewleaderAck) -> (String, String) {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.rules.newleader_ack = rule);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.held.extend([(3, 1), (3, 2)]);
    world.propose(3, "t");
    world.settle();
    for id in [1, 2, 3] {
        world.crash(id, false);
    }
    world.held.clear();
    world.start(&[3, 1]);
    // Stop the world when the leader serves `t` and keeper-1 has not read UPTODATE.
    world.run_until(|world| world.role(3).is_serving());
    let seen = world.tree(3);
    world.crash(1, false);
    world.crash(3, false);
    world.start(&[1, 2]);
    let leader = world.run_to_leader();
    (seen, world.tree(leader))
}

#[test]
fn newleader_acknowledged_before_history_loses_a_committed_write() {
    let (seen, left) = acknowledge_before_history(NewleaderAck::BeforeHistory);
    assert_eq!((seen.as_str(), left.as_str()), ("t", ""));
    let (seen, left) = acknowledge_before_history(NewleaderAck::AfterHistoryAndEpoch);
    assert_eq!((seen.as_str(), left.as_str()), ("t", "t"));
}

/// Z3: {1, 3} commit `t`; 2 synchronises and crashes right behind writing currentEpoch; {1, 2} go on.
fn epoch_before_history(rule: NewleaderAck) -> (String, String) {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.rules.newleader_ack = rule);
    world.start(&[1, 3]);
    world.run_to_leader();
    world.commit(3, &["t"]);
    let seen = world.tree(1);
    world.crash(1, false);
    world.crash(3, false);
    world.nodes.get_mut(&2).expect("keeper-2").slow_disk = true;
    world.start(&[2, 3]);
    world.run(Span::secs(1));
    world.sync_disk(2); // acceptedEpoch
    world.settle();
    world.crash(2, false); // currentEpoch is written, its sync not answered
    world.crash(3, false);
    world.nodes.get_mut(&2).expect("keeper-2").slow_disk = false;
    world.start(&[1, 2]);
    let leader = world.run_to_leader();
    (seen, world.tree(leader))
}

#[test]
fn an_epoch_written_before_the_history_cuts_a_committed_write() {
    let (seen, left) = epoch_before_history(NewleaderAck::EpochFirst);
    assert_eq!((seen.as_str(), left.as_str()), ("t", ""));
    let (seen, left) = epoch_before_history(NewleaderAck::AfterHistoryAndEpoch);
    assert_eq!((seen.as_str(), left.as_str()), ("t", "t"));
}

/// Z17: all disks are slow; `t` commits; the power goes everywhere.
fn acknowledge_before_sync(rule: ProposalAck) -> (String, String) {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.rules.proposal_ack = rule);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    for node in world.nodes.values_mut() {
        node.slow_disk = true;
    }
    world.propose(3, "t");
    world.settle();
    let seen = world.tree(3);
    for id in [1, 2, 3] {
        world.crash(id, true);
    }
    for node in world.nodes.values_mut() {
        node.slow_disk = false;
    }
    world.start(&[1, 2, 3]);
    let leader = world.run_to_leader();
    (seen, world.tree(leader))
}

#[test]
fn a_proposal_acknowledged_from_the_page_cache_is_lost_with_the_power() {
    let (seen, left) = acknowledge_before_sync(ProposalAck::BeforeSync);
    assert_eq!((seen.as_str(), left.as_str()), ("t", ""));
    let (seen, left) = acknowledge_before_sync(ProposalAck::AfterSync);
    assert_eq!((seen.as_str(), left.as_str()), ("", ""), "nothing was promised");
}
