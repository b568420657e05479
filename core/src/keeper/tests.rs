//! A small ensemble on links that deliver and disks that obey: what clients see of it, in their own words.

use super::*;
use crate::api::keeper::{
    Body, Connect, Create, ErrorCode, Op, Part, Request, SetWatches, WatchEvent, body::body_bytes, op_code,
};
use crate::api::peer::{Channel, PacketType, QuorumPacket};
use crate::api::storage::{Load, Loaded};
use crate::codec::Writer;
use crate::id::{KeeperId, NodeId};
use crate::node::{Input, Principal, RequestBody};
use crate::time::Instant;
use crate::znode::{AclList, CreateKind};
use std::collections::VecDeque;

mod limits;

#[derive(Default)]
struct TestDisk {
    boot: Boot,
    pieces: Vec<u8>,
    begun: Zxid,
}

impl TestDisk {
    fn perform(&mut self, op: StoreOp) {
        let boot = &mut self.boot;
        match op {
            StoreOp::AppendTxn { zxid, txn } => boot.txns.push((zxid, txn)),
            StoreOp::TruncateJournal { to } => boot.txns.retain(|(zxid, _)| *zxid <= to),
            StoreOp::AcceptedEpoch(epoch) => boot.accepted = epoch,
            StoreOp::CurrentEpoch(epoch) => boot.current = epoch,
            StoreOp::SnapshotBegin { zxid } => {
                self.begun = zxid;
                self.pieces.clear();
            }
            StoreOp::SnapshotPiece { piece } => self.pieces.extend_from_slice(&piece),
            StoreOp::SnapshotEnd { zxid, replaces_journal } => {
                assert_eq!(zxid, self.begun, "a snapshot ends as it began");
                boot.snapshot = Some((zxid, Bytes::from(core::mem::take(&mut self.pieces))));
                boot.txns.retain(|(logged, _)| *logged > zxid && !replaces_journal);
            }
            StoreOp::RollJournal | StoreOp::PurgeJournal { .. } => {}
            other => panic!("a keeper does not ask for {other:?}"),
        }
    }
}

struct Ensemble {
    now: Now,
    configs: OrdMap<u8, Config>,
    keepers: OrdMap<u8, Keeper>,
    disks: OrdMap<u8, TestDisk>,
    /// What is on its way, in one order, and so in order on every link.
    queue: VecDeque<(u8, Input)>,
    /// What each connection heard and has not been asked about.
    heard: OrdMap<ConnId, Vec<String>>,
    raw: Vec<(ConnId, Reply)>,
    notes: Vec<String>,
    connections: u64,
}

#[derive(Clone, Copy)]
struct Client {
    at: u8,
    conn: ConnId,
    session: SessionId,
}

const KIND: [ChannelKind; 2] = [ChannelKind::Election, ChannelKind::Quorum];

impl Ensemble {
    /// Keepers 1 to 3, keeper 4 an observer; all serve.
    fn new() -> Ensemble {
        Ensemble::with(|_| {})
    }

    fn with(adjust: impl Fn(&mut Config)) -> Ensemble {
        let configs = (1..=4).map(|id| {
            let mut zab = zab::Config::new(KeeperId(id), [1, 2, 3].map(KeeperId));
            zab.observers = OrdSet::from([KeeperId(4)]);
            let mut config = Config::new(zab);
            adjust(&mut config);
            (id, config)
        });
        let mut ensemble = Ensemble {
            now: Now { at: Instant::ZERO, wall: UnixMillis(1_700_000_000_000) },
            configs: configs.collect(),
            keepers: OrdMap::new(),
            disks: (1..=4).map(|id| (id, TestDisk::default())).collect(),
            queue: VecDeque::new(),
            heard: OrdMap::new(),
            raw: Vec::new(),
            notes: Vec::new(),
            connections: 0,
        };
        for id in 1..=4 {
            ensemble.start(id);
        }
        ensemble.settle();
        ensemble
    }

    fn start(&mut self, id: u8) {
        let mut fx = Fx::default();
        let boot = self.disks[&id].boot.clone();
        let rng = Rng::new(u64::from(id));
        let keeper = Keeper::recover(self.configs[&id].clone(), boot, rng, self.now, &mut fx);
        self.keepers.insert(id, keeper);
        self.perform(id, fx);
        let others: Vec<u8> = self.keepers.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            for kind in KIND {
                self.queue.push_back((id, Input::Up { channel: channel(other, kind) }));
                self.queue.push_back((other, Input::Up { channel: channel(id, kind) }));
            }
        }
    }

    fn crash(&mut self, id: u8) {
        self.keepers.remove(&id);
        self.queue.retain(|(to, _)| *to != id);
        let others: Vec<u8> = self.keepers.keys().copied().collect();
        for other in others {
            for kind in KIND {
                self.queue.push_back((other, Input::Down { channel: channel(id, kind) }));
            }
        }
    }

    fn step(&mut self, id: u8, input: Input) {
        let Some(keeper) = self.keepers.get_mut(&id) else { return };
        let mut fx = Fx::default();
        keeper.step(self.now, input, &mut fx);
        self.perform(id, fx);
    }

    fn perform(&mut self, id: u8, fx: Fx) {
        self.notes.extend(fx.notes.iter().map(|note| format!("keeper-{id} {note}")));
        for effect in fx.effects {
            match effect {
                node::Effect::Send { channel: to, message } => {
                    let NodeId::Keeper(to_id) = to.peer else { panic!("keepers speak to keepers") };
                    let message = match message {
                        PeerMessage::Election(notification) => PeerMessage::Election(notification),
                        PeerMessage::Quorum(packet) => PeerMessage::Quorum(packet),
                        _ => panic!("keepers do not replicate partitions"),
                    };
                    self.queue.push_back((to_id.0, Input::Peer { channel: channel(id, to.kind), message }));
                }
                node::Effect::Hangup { channel: with } => {
                    let NodeId::Keeper(other) = with.peer else { continue };
                    for (at, to) in [(id, other.0), (other.0, id)] {
                        self.queue.push_back((at, Input::Down { channel: channel(to, with.kind) }));
                        self.queue.push_back((at, Input::Up { channel: channel(to, with.kind) }));
                    }
                }
                node::Effect::Reply { conn, reply: node::Reply::Keeper(reply) } => {
                    self.heard.entry(conn).or_default().push(words(&reply));
                    self.raw.push((conn, reply));
                }
                node::Effect::Close { conn } => self.heard.entry(conn).or_default().push("closed".to_owned()),
                node::Effect::Store { op, .. } => self.disks.get_mut(&id).unwrap().perform(op),
                node::Effect::Sync { lane, ticket } => self.queue.push_back((id, Input::Synced { lane, upto: ticket })),
                node::Effect::Load { ticket, what: Load::Txns { .. }, .. } => {
                    let what = Loaded::Txns { txns: None, complete: true };
                    self.queue.push_back((id, Input::Loaded { ticket, what }));
                }
                other => panic!("keeper-{id} asked for {other:?}"),
            }
        }
    }

    /// Lets everything happen that needs no time.
    fn run(&mut self) {
        while let Some((id, input)) = self.queue.pop_front() {
            self.step(id, input);
        }
    }

    fn run_for(&mut self, span: Span) {
        let end = self.now.at + span;
        self.run();
        loop {
            let wakes = self.keepers.iter().filter_map(|(id, keeper)| Some((keeper.wake_at()?.at, *id)));
            let Some((at, id)) = wakes.min().filter(|(at, _)| *at <= end) else { break };
            self.advance_to(at.max(self.now.at));
            self.step(id, Input::Wake);
            self.run();
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, at: Instant) {
        self.now.wall.0 += at.since(self.now.at).as_millis() as i64;
        self.now.at = at;
    }

    /// Until everybody serves.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.run_for(Span::millis(100));
            if self.keepers.values().all(|keeper| keeper.role().is_serving()) {
                return;
            }
        }
        panic!("nobody leads: {:#?}", self.notes);
    }

    fn leader(&self) -> u8 {
        *self.keepers.iter().find(|(_, keeper)| keeper.lead().is_some()).expect("somebody leads").0
    }

    fn follower(&self) -> u8 {
        (1..=3).find(|id| *id != self.leader() && self.keepers.contains_key(id)).expect("somebody follows")
    }

    fn connect(&mut self, at: u8) -> Client {
        let mut client = self.reconnect(at, SessionId(0));
        client.session = self.keepers[&at].connections().find(|(conn, _)| *conn == client.conn).unwrap().1.session;
        assert_eq!(self.hear(client), ["connected"]);
        client
    }

    fn reconnect(&mut self, at: u8, session: SessionId) -> Client {
        self.connections += 1;
        let conn = ConnId(self.connections);
        let password = Bytes::copy_from_slice(&session::password(session));
        let connect = Connect {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 4_000,
            session,
            password,
            read_only: None,
        };
        self.send(at, conn, Request::Connect(connect));
        self.run();
        Client { at, conn, session }
    }

    /// Connection 7 comes from 10.0.0.7.
    fn send(&mut self, at: u8, conn: ConnId, body: Request) {
        let principal = Principal::Address(format!("10.0.0.{}", conn.0).into());
        let request = node::Request { listener: 0, principal, body: RequestBody::Keeper(body) };
        self.step(at, Input::Request { conn, request });
    }

    /// Sends without letting anything else happen.
    fn say(&mut self, client: Client, xid: i32, op: Op) {
        self.send(client.at, client.conn, Request::Op { xid, op });
    }

    fn ask(&mut self, client: Client, xid: i32, op: Op) -> String {
        self.say(client, xid, op);
        self.run();
        self.hear(client).join(", ")
    }

    fn hear(&mut self, client: Client) -> Vec<String> {
        self.heard.remove(&client.conn).unwrap_or_default()
    }

    fn assert_one_tree(&self) {
        let digests: OrdSet<_> =
            self.keepers.values().map(|keeper| (keeper.tree().last_zxid(), keeper.tree().digest())).collect();
        assert_eq!(digests.len(), 1, "{digests:?}");
        let diverged = self.notes.iter().find(|note| note.contains("another tree"));
        assert_eq!(diverged, None);
    }
}

fn channel(peer: u8, kind: ChannelKind) -> Channel {
    Channel { peer: NodeId::keeper(peer), kind, generation: 1 }
}

/// A reply as a person would say it.
fn words(reply: &Reply) -> String {
    match reply {
        Reply::Connected(connected) if connected.timeout_ms == 0 => "expired".to_owned(),
        Reply::Connected(_) => "connected".to_owned(),
        Reply::Event(WatchEvent { kind, path, .. }) => format!("{kind} {path}"),
        Reply::Text(text) => text.clone(),
        Reply::Answer { xid, err: ErrorCode::Ok, body, .. } => format!("{xid}: {}", body_words(body.as_ref())),
        Reply::Answer { xid, err, .. } => format!("{xid}: {err}"),
    }
}

fn body_words(body: Option<&Body>) -> String {
    match body {
        None => "ok".to_owned(),
        Some(Body::Path(path) | Body::Created { path, .. }) => path.to_string(),
        Some(Body::Stat(stat)) => format!("v{}", stat.version),
        Some(Body::Data { data, stat }) => {
            format!("{} v{}", String::from_utf8_lossy(data.as_deref().unwrap_or(b"null")), stat.version)
        }
        Some(Body::Children { names, stat: None }) => names.join(" "),
        Some(Body::Children { names, stat: Some(stat) }) => format!("{} c{}", names.join(" "), stat.cversion),
        Some(Body::Acl { acl, stat }) => {
            let lines = acl.lines().iter().map(|line| format!("{}={}", line.id, line.perms)).collect::<Vec<_>>();
            format!("{} a{}", lines.join(" "), stat.aversion)
        }
        Some(Body::Ephemerals(paths)) => paths.join(" "),
        Some(Body::Multi(parts)) => {
            let part = |part: &Part| match part {
                Part::Done { op, body } => format!("{op} {}", body_words(body.as_ref())),
                Part::Failed(err) => err.to_string(),
            };
            parts.iter().map(part).collect::<Vec<_>>().join("; ")
        }
        Some(other) => format!("{other:?}"),
    }
}

fn create(path: &str, flags: i32) -> Op {
    let data = Some(Bytes::from_static(b"x"));
    Op::Create(Create { kind: CreateKind::Plain, path: path.into(), data, acl: AclList::open(), flags })
}

fn get(path: &str, watch: bool) -> Op {
    Op::GetData { path: path.into(), watch }
}

fn set(path: &str, data: &'static str, version: i32) -> Op {
    Op::SetData { path: path.into(), data: Some(Bytes::from_static(data.as_bytes())), version }
}

fn delete(path: &str) -> Op {
    Op::Delete { path: path.into(), version: -1 }
}

#[test]
fn a_client_writes_and_reads_back_through_any_keeper() {
    let mut ensemble = Ensemble::new();
    for at in 1..=4 {
        let client = ensemble.connect(at);
        assert_eq!(ensemble.ask(client, 1, create(&format!("/n{at}"), 0)), format!("1: /n{at}"));
        assert_eq!(ensemble.ask(client, 2, get(&format!("/n{at}"), false)), "2: x v0");
        assert_eq!(ensemble.ask(client, 3, create("/seq-", 2)), format!("3: /seq-{:010}", 2 * at - 1));
        assert_eq!(ensemble.ask(client, 4, create(&format!("/n{at}"), 0)), "4: NODEEXISTS");
        assert_eq!(ensemble.ask(client, 5, Op::Sync { path: "/".into() }), "5: /");
        assert_eq!(ensemble.ask(client, -2, Op::Ping), "-2: ok");
        assert_eq!(ensemble.ask(client, 6, Op::CloseSession), "6: ok, closed");
    }
    ensemble.assert_one_tree();
}

#[test]
fn reads_wait_behind_their_own_writes_and_not_behind_those_of_others() {
    let mut ensemble = Ensemble::new();
    let at = ensemble.follower();
    let (anna, bob) = (ensemble.connect(at), ensemble.connect(at));
    ensemble.say(anna, 1, create("/a", 0));
    ensemble.say(anna, 2, get("/a", false));
    ensemble.say(anna, 3, set("/a", "y", 0));
    ensemble.say(anna, 4, Op::Sync { path: "/".into() });
    ensemble.say(anna, 5, get("/a", false));
    ensemble.say(anna, -2, Op::Ping);
    assert_eq!(ensemble.hear(anna), [""; 0]);
    ensemble.say(bob, 1, get("/a", false));
    assert_eq!(ensemble.hear(bob), ["1: NONODE"]);
    ensemble.run();
    // The first read is served once the first write is applied, and here before the second is.
    assert_eq!(ensemble.hear(anna), ["1: /a", "2: x v0", "3: v1", "4: /", "5: y v1", "-2: ok"]);
    let zxids = ensemble.raw.iter().filter(|(conn, _)| *conn == anna.conn).filter_map(|(_, reply)| match reply {
        Reply::Answer { zxid, .. } => Some(*zxid),
        _ => None,
    });
    assert!(zxids.is_sorted());
}

#[test]
fn a_watch_fires_before_the_reply_that_shows_the_change() {
    let mut ensemble = Ensemble::new();
    let (here, there) = (ensemble.follower(), ensemble.leader());
    let (anna, bob) = (ensemble.connect(here), ensemble.connect(there));
    assert_eq!(ensemble.ask(anna, 1, Op::Exists { path: "/a".into(), watch: true }), "1: NONODE");
    ensemble.say(anna, 2, create("/a", 0));
    ensemble.say(anna, 3, get("/a", true));
    ensemble.run();
    assert_eq!(ensemble.hear(anna), ["NodeCreated /a", "2: /a", "3: x v0"]);
    assert_eq!(ensemble.ask(bob, 1, set("/a", "y", -1)), "1: v1");
    assert_eq!(ensemble.ask(bob, 2, set("/a", "z", -1)), "2: v2");
    assert_eq!(ensemble.ask(anna, 4, get("/a", false)), "NodeDataChanged /a, 4: z v2");
    assert_eq!(ensemble.ask(anna, 5, Op::AddWatch { path: "/".into(), mode: 1 }), "5: WatchAdded");
    ensemble.ask(bob, 3, create("/a/b", 1));
    ensemble.ask(bob, 4, Op::CloseSession);
    assert_eq!(ensemble.hear(anna), ["NodeCreated /a/b", "NodeDeleted /a/b"]);
    assert_eq!(ensemble.ask(anna, 6, Op::RemoveWatches { path: "/".into(), kind: 3 }), "6: ok");
    assert_eq!(ensemble.ask(anna, 7, Op::CheckWatches { path: "/".into(), kind: 3 }), "7: NOWATCHER");
}

#[test]
fn a_client_that_comes_back_hears_what_it_missed() {
    let mut ensemble = Ensemble::new();
    let at = ensemble.follower();
    let anna = ensemble.connect(at);
    for (xid, path) in [(1, "/a"), (2, "/b"), (3, "/gone")] {
        ensemble.ask(anna, xid, create(path, 0));
    }
    let seen = ensemble.keepers[&at].tree().last_zxid();
    ensemble.ask(anna, 4, set("/a", "y", -1));
    ensemble.ask(anna, 5, delete("/gone"));
    let again = ensemble.reconnect(ensemble.leader(), anna.session);
    let paths = |paths: &[&str]| paths.iter().map(|path| Arc::from(*path)).collect();
    let watches = SetWatches {
        relative_zxid: seen,
        data: paths(&["/a", "/b", "/gone"]),
        exist: paths(&["/b", "/new"]),
        ..SetWatches::default()
    };
    ensemble.hear(again);
    let heard = ensemble.ask(again, -8, Op::SetWatches(watches));
    assert_eq!(heard, "NodeDataChanged /a, NodeDeleted /gone, NodeCreated /b, -8: ok");
    assert_eq!(ensemble.ask(again, 6, create("/new", 0)), "NodeCreated /new, 6: /new");
}

#[test]
fn a_failed_multi_answers_for_every_operation() {
    let mut ensemble = Ensemble::new();
    let client = ensemble.connect(ensemble.follower());
    let fine = Op::Multi(vec![create("/id", 1), set("/id", "y", 0)]);
    assert_eq!(ensemble.ask(client, 1, fine), "1: 1 /id; 5 v1");
    let check = Op::Check { path: "/id".into(), version: 7 };
    assert_eq!(ensemble.ask(client, 2, check.clone()), "2: UNIMPLEMENTED, closed");
    let again = ensemble.reconnect(ensemble.follower(), client.session);
    ensemble.hear(again);
    let fails = Op::Multi(vec![create("/x", 0), check, create("/y", 0)]);
    assert_eq!(ensemble.ask(again, 3, fails), "3: OK; BADVERSION; RUNTIMEINCONSISTENCY");
    assert_eq!(ensemble.ask(again, 4, get("/x", false)), "4: NONODE");
    ensemble.assert_one_tree();
}

#[test]
fn an_ephemeral_dies_with_its_silent_session_on_every_keeper() {
    let mut ensemble = Ensemble::new();
    let (at, elsewhere) = (ensemble.follower(), ensemble.leader());
    let (silent, lively) = (ensemble.connect(at), ensemble.connect(at));
    ensemble.ask(silent, 1, create("/silent", 1));
    ensemble.ask(lively, 1, create("/lively", 1));
    for _ in 0..10 {
        ensemble.run_for(Span::secs(1));
        ensemble.ask(lively, -2, Op::Ping);
    }
    assert_eq!(ensemble.hear(silent), ["closed"]);
    for keeper in ensemble.keepers.values() {
        let left: Vec<_> = keeper.tree().all_ephemerals().map(|(_, path)| path.to_string()).collect();
        assert_eq!(left, ["/lively"]);
    }
    let back = ensemble.reconnect(elsewhere, silent.session);
    assert_eq!(ensemble.hear(back), ["expired", "closed"]);
    assert!(ensemble.notes.iter().any(|note| note.contains("it expires")));
    ensemble.assert_one_tree();
}

#[test]
fn a_session_that_moved_is_not_served_where_it_was() {
    let mut ensemble = Ensemble::new();
    let (old, new) = (ensemble.follower(), ensemble.leader());
    let before = ensemble.connect(old);
    ensemble.ask(before, 1, create("/a", 0));
    let after = ensemble.reconnect(new, before.session);
    assert_eq!(ensemble.hear(after), ["connected"]);
    assert_eq!(ensemble.ask(before, 2, set("/a", "late", -1)), "closed");
    assert_eq!(ensemble.ask(after, 3, get("/a", false)), "3: x v0");
    assert!(ensemble.notes.iter().any(|note| note.contains(&format!("from keeper-{old} to keeper-{new}"))));
}

#[test]
fn a_wrong_password_and_a_client_from_the_future_are_refused() {
    let mut ensemble = Ensemble::new();
    let at = ensemble.follower();
    let client = ensemble.connect(at);
    let mut connect = Connect {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 4_000,
        session: client.session,
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    };
    ensemble.send(at, ConnId(90), Request::Connect(connect.clone()));
    assert_eq!(ensemble.heard[&ConnId(90)], ["expired", "closed"]);
    connect.last_zxid_seen = Zxid(u64::MAX >> 1);
    ensemble.send(at, ConnId(91), Request::Connect(connect));
    assert_eq!(ensemble.heard[&ConnId(91)], ["closed"]);
}

#[test]
fn sessions_and_their_ephemerals_outlive_the_leader() {
    let mut ensemble = Ensemble::new();
    let at = ensemble.follower();
    let client = ensemble.connect(at);
    ensemble.ask(client, 1, create("/e", 1));
    let dead = ensemble.leader();
    ensemble.crash(dead);
    ensemble.settle();
    assert_eq!(ensemble.hear(client), ["closed"]);
    let back = ensemble.reconnect(at, client.session);
    assert_eq!(ensemble.hear(back), ["connected"]);
    assert_eq!(ensemble.ask(back, 2, Op::GetEphemerals { prefix: "/".into() }), "2: /e");
    ensemble.start(dead);
    ensemble.settle();
    assert_eq!(ensemble.ask(back, 3, set("/e", "y", 0)), "3: v1");
    ensemble.assert_one_tree();
}

#[test]
fn a_keeper_starts_again_from_a_fuzzy_snapshot_and_the_journal_behind_it() {
    let mut ensemble = Ensemble::with(|config| {
        config.snap_count = 20;
        config.snapshot_piece = 64;
    });
    let at = ensemble.follower();
    let client = ensemble.connect(ensemble.leader());
    for xid in 0..60 {
        ensemble.ask(client, xid, create("/n-", 2));
        ensemble.ask(client, 100 + xid, set("/n-0000000000", "y", -1));
    }
    assert!(ensemble.notes.iter().any(|note| note.starts_with(&format!("keeper-{at} has a snapshot"))));
    ensemble.crash(at);
    assert!(ensemble.disks[&at].boot.snapshot.is_some());
    ensemble.ask(client, 300, create("/while-down", 0));
    ensemble.start(at);
    ensemble.settle();
    assert_eq!(ensemble.ask(client, 301, set("/n-0000000000", "z", 60)), "301: v61");
    // While the replay is under way the tree holds later changes than its zxid says: nobody takes that for a divergence.
    ensemble.assert_one_tree();
}

#[test]
fn a_client_that_dials_twice_is_answered_once() {
    let mut ensemble = Ensemble::new();
    let at = ensemble.follower();
    let session = ensemble.connect(at).session;
    let connect = Connect {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 4_000,
        session,
        password: Bytes::copy_from_slice(&session::password(session)),
        read_only: None,
    };
    // Both reach the follower before its leader has answered for the first.
    ensemble.send(at, ConnId(90), Request::Connect(connect.clone()));
    ensemble.send(at, ConnId(91), Request::Connect(connect));
    ensemble.run();
    assert_eq!(ensemble.heard[&ConnId(90)], ["closed"]);
    assert_eq!(ensemble.heard[&ConnId(91)], ["connected"]);
}

#[test]
fn what_cannot_be_read_is_refused_and_holds_up_nobody() {
    let mut ensemble = Ensemble::new();
    let (at, leader) = (ensemble.follower(), ensemble.leader());
    let client = ensemble.connect(at);
    ensemble.send(at, client.conn, Request::Undecodable { xid: 1, op: op_code::SET_DATA });
    assert_eq!(ensemble.hear(client), ["1: MARSHALLINGERROR", "closed"]);
    // A follower that did forward it: the leader answers with an error transaction.
    let bad = ensemble.connect(at);
    let mut data = Writer::new();
    data.i64(bad.session.0);
    data.i32(1);
    data.i32(op_code::SET_DATA);
    data.put(&body_bytes(&set("/a", "y", 0))[..3]);
    let kind = PacketType::Request;
    let packet = QuorumPacket { kind, zxid: -1, data: Some(data.finish()), authinfo: None };
    let before = ensemble.keepers[&leader].tree().last_zxid();
    let message = PeerMessage::Quorum(packet);
    ensemble.step(leader, Input::Peer { channel: channel(at, ChannelKind::Quorum), message });
    ensemble.run();
    assert_eq!(ensemble.keepers[&at].tree().last_zxid().0, before.0 + 1);
    assert_eq!(ensemble.ask(bad, 2, create("/a", 0)), "2: /a");
    ensemble.assert_one_tree();
}

#[test]
fn only_the_credentials_given_open_a_closed_node() {
    let mut ensemble = Ensemble::new();
    let at = ensemble.follower();
    let (anna, bob) = (ensemble.connect(at), ensemble.connect(at));
    let auth =
        |text: &'static str| Op::Auth { scheme: "digest".into(), credentials: Bytes::from_static(text.as_bytes()) };
    assert_eq!(ensemble.ask(anna, -4, auth("anna:secret")), "-4: ok");
    let acl = AclList::new([crate::znode::Acl::new(31, "auth", "")]);
    let kind = CreateKind::Plain;
    let mine = Op::Create(Create { kind, path: "/mine".into(), data: None, acl, flags: 0 });
    assert_eq!(ensemble.ask(anna, 1, mine), "1: /mine");
    assert_eq!(ensemble.ask(bob, 1, get("/mine", false)), "1: NOAUTH");
    assert_eq!(ensemble.ask(bob, 2, set("/mine", "y", -1)), "2: NOAUTH");
    ensemble.ask(bob, -4, auth("anna:secret"));
    assert_eq!(ensemble.ask(bob, 3, set("/mine", "y", -1)), "3: v1");
    let magic = Op::Auth { scheme: "magic".into(), credentials: Bytes::new() };
    assert_eq!(ensemble.ask(bob, -4, magic), "-4: AUTHFAILED, closed");
}

fn acl_of(path: &str) -> Op {
    Op::GetAcl { path: path.into() }
}

fn close(path: &str, acl: &[(i32, &str, &str)], version: i32) -> Op {
    let lines = acl.iter().map(|(perms, scheme, id)| crate::znode::Acl::new(*perms, scheme, id));
    Op::SetAcl { path: path.into(), acl: AclList::new(lines.collect::<Vec<_>>()), version }
}

#[test]
fn an_access_list_is_read_replaced_by_version_and_obeyed_by_every_keeper() {
    let mut ensemble = Ensemble::new();
    let (here, there) = (ensemble.follower(), ensemble.leader());
    let (anna, bob) = (ensemble.connect(here), ensemble.connect(there));
    ensemble.ask(anna, 1, create("/a", 0));
    assert_eq!(ensemble.ask(anna, 2, acl_of("/a")), "2: world:anyone=31 a0");
    ensemble.ask(anna, -4, Op::Auth { scheme: "digest".into(), credentials: Bytes::from_static(b"anna:secret") });
    let lines = [(31, "auth", ""), (1, "world", "anyone")];
    assert_eq!(ensemble.ask(anna, 3, close("/a", &lines, 7)), "3: BADVERSION");
    assert_eq!(ensemble.ask(anna, 4, close("/a", &lines, 0)), "4: v0");
    let hash = crate::znode::acl::digest_id("anna:secret");
    assert_eq!(ensemble.ask(anna, 5, acl_of("/a")), format!("5: digest:{hash}=31 world:anyone=1 a1"));
    assert_eq!(ensemble.ask(bob, 1, acl_of("/a")), "1: digest:anna:x=31 world:anyone=1 a1", "the hash is hers");
    assert_eq!(ensemble.ask(bob, 2, get("/a", false)), "2: x v0");
    assert_eq!(ensemble.ask(bob, 3, set("/a", "y", -1)), "3: NOAUTH");
    assert_eq!(ensemble.ask(bob, 4, close("/a", &[(31, "world", "anyone")], -1)), "4: NOAUTH");
    ensemble.assert_one_tree();
}

#[test]
fn an_address_opens_what_is_closed_to_others() {
    let mut ensemble = Ensemble::new();
    let (here, there) = (ensemble.follower(), ensemble.leader());
    let (one, two) = (ensemble.connect(here), ensemble.connect(there));
    assert_eq!((one.conn, two.conn), (ConnId(1), ConnId(2)));
    ensemble.ask(one, 1, create("/mine", 0));
    ensemble.ask(one, 2, create("/ours", 0));
    assert_eq!(ensemble.ask(one, 3, close("/mine", &[(31, "ip", "10.0.0.1")], -1)), "3: v0");
    assert_eq!(ensemble.ask(one, 4, close("/ours", &[(31, "ip", "10.0.0.0/24")], -1)), "4: v0");
    assert_eq!(ensemble.ask(two, 1, get("/mine", false)), "1: NOAUTH");
    assert_eq!(ensemble.ask(two, 2, set("/mine", "y", -1)), "2: NOAUTH", "the leader is told whence it comes");
    assert_eq!(ensemble.ask(two, 3, set("/ours", "y", -1)), "3: v1");
    assert_eq!(ensemble.ask(one, 5, set("/mine", "z", -1)), "5: v1", "forwarded with its address");
    assert_eq!(ensemble.ask(one, 6, get("/mine", false)), "6: z v1");
    ensemble.assert_one_tree();
}

#[test]
fn children_are_listed_and_their_next_change_is_told() {
    let mut ensemble = Ensemble::new();
    let (here, there) = (ensemble.follower(), ensemble.leader());
    let (anna, bob) = (ensemble.connect(here), ensemble.connect(there));
    let children = |stat, watch| Op::GetChildren { path: "/a".into(), watch, stat };
    assert_eq!(ensemble.ask(anna, 1, children(false, true)), "1: NONODE");
    for (xid, path) in [(2, "/a"), (3, "/a/c"), (4, "/a/b")] {
        ensemble.ask(anna, xid, create(path, 0));
    }
    assert_eq!(ensemble.ask(anna, 5, children(false, true)), "5: b c");
    assert_eq!(ensemble.ask(anna, 6, children(true, false)), "6: b c c2");
    ensemble.ask(bob, 1, set("/a", "y", -1));
    assert_eq!(ensemble.hear(anna), [""; 0], "its children are the same");
    ensemble.ask(bob, 2, delete("/a/c"));
    ensemble.ask(bob, 3, create("/a/d", 0));
    assert_eq!(ensemble.ask(anna, 7, children(true, false)), "NodeChildrenChanged /a, 7: b d c4");
}

#[test]
fn a_multi_that_checks_first_is_one_transaction() {
    let mut ensemble = Ensemble::new();
    let client = ensemble.connect(ensemble.follower());
    ensemble.ask(client, 1, create("/guard", 0));
    ensemble.ask(client, 2, create("/old", 0));
    let before = ensemble.keepers[&client.at].tree().last_zxid();
    let check = |version| Op::Check { path: "/guard".into(), version };
    let all = vec![check(0), create("/new", 0), set("/guard", "y", 0), delete("/old"), check(1)];
    assert_eq!(ensemble.ask(client, 3, Op::Multi(all)), "3: 13 ok; 1 /new; 5 v1; 2 ok; 13 ok");
    assert_eq!(ensemble.keepers[&client.at].tree().last_zxid().0, before.0 + 1);
    assert_eq!(ensemble.ask(client, 4, get("/guard", false)), "4: y v1");
    let late = Op::Multi(vec![check(0), delete("/new")]);
    assert_eq!(ensemble.ask(client, 5, late), "5: BADVERSION; RUNTIMEINCONSISTENCY");
    assert_eq!(ensemble.ask(client, 6, get("/new", false)), "6: x v0");
    ensemble.assert_one_tree();
}

#[test]
fn an_empty_container_is_deleted_and_words_are_answered() {
    let mut ensemble = Ensemble::with(|config| {
        config.words.insert(*b"ruok");
    });
    let at = ensemble.leader();
    let client = ensemble.connect(at);
    let acl = AclList::open();
    let kind = CreateKind::Container;
    ensemble.ask(client, 1, Op::Create(Create { kind, path: "/c".into(), data: None, acl, flags: 4 }));
    ensemble.ask(client, 2, create("/c/x", 0));
    ensemble.ask(client, 3, delete("/c/x"));
    ensemble.run_for(Span::secs(61));
    assert!(ensemble.keepers.values().all(|keeper| keeper.tree().len() == 4));
    let mut word = |word: &[u8; 4]| {
        ensemble.send(at, ConnId(99), Request::FourLetter(*word));
        ensemble.heard.remove(&ConnId(99)).unwrap().remove(0)
    };
    assert_eq!(word(b"ruok"), "imok");
    assert_eq!(word(b"mntr"), "mntr is not executed because it is not in the whitelist.\n");
    assert!(word(b"srvr").contains("Mode: leader\nNode count: 4\n"));
}

#[test]
fn words_tell_what_the_host_knows() {
    let mut ensemble = Ensemble::with(|config| {
        config.words.insert(*b"stat");
        config.words.insert(*b"mntr");
    });
    let leader = &ensemble.keepers[&ensemble.leader()];
    assert_eq!(leader.tree().last_zxid(), Zxid::ZERO);
    let srvr = leader.word(*b"srvr", &leader.inside());
    assert!(srvr.contains("\nZxid: 0x100000000\n"), "before the first write of its epoch: {srvr}");
    let client = ensemble.connect(ensemble.leader());
    ensemble.ask(client, 1, create("/a", 0));
    let outside = Outside {
        latency: "0/0.4213/7".to_owned(),
        clients: vec![
            words::Client { address: "127.0.0.1:54321".to_owned(), reading: true, queued: 0, received: 4, sent: 5 },
            words::Client {
                address: "[0:0:0:0:0:0:0:1]:9".to_owned(),
                reading: false,
                queued: 2,
                received: 1,
                sent: 0,
            },
        ],
        proposals: Some("48/32/191".to_owned()),
        figures: "zk_avg_latency\t0.4213\n".to_owned(),
    };
    let keeper = &ensemble.keepers[&client.at];
    let zxid = keeper.tree().last_zxid().0;
    let stat = format!(
        "Zookeeper version: 3.9.3-glasshouse\n\
         Clients:\n \
         /127.0.0.1:54321[1](queued=0,recved=4,sent=5)\n \
         /[0:0:0:0:0:0:0:1]:9[0](queued=2,recved=1,sent=0)\n\
         \n\
         Latency min/avg/max: 0/0.4213/7\n\
         Received: 2\n\
         Sent: 2\n\
         Connections: 2\n\
         Outstanding: 0\n\
         Zxid: {zxid:#x}\n\
         Mode: leader\n\
         Node count: 5\n\
         Proposal sizes last/min/max: 48/32/191\n"
    );
    assert_eq!(keeper.word(*b"stat", &outside), stat);
    let mntr = "zk_version\t3.9.3-glasshouse\n\
                zk_server_state\tleader\n\
                zk_peer_state\tleading - broadcast\n\
                zk_num_alive_connections\t2\n\
                zk_packets_received\t2\n\
                zk_packets_sent\t2\n\
                zk_outstanding_requests\t0\n\
                zk_znode_count\t5\n\
                zk_watch_count\t0\n\
                zk_ephemerals_count\t0\n\
                zk_global_sessions\t1\n\
                zk_outstanding_proposals\t0\n\
                zk_pending_syncs\t0\n\
                zk_avg_latency\t0.4213\n";
    assert_eq!(keeper.word(*b"mntr", &outside), mntr);
}
