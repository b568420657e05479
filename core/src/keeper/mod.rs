//! One keeper: atomic broadcast, the tree, the sessions, the watches, and the clients that speak to it
//! (protocol.md A.5 to A.9, B).
//!
//! ```text
//!  client ── read ──▶ pipeline ─────────────────────────────▶ reads: tree, watches ──▶ answer
//!         ── write ─▶ pipeline, waits ─▶ REQUEST ─▶ leader: prepare ─▶ propose        ▲
//!                                                     zab ─▶ committed ─▶ apply: tree, events, answers
//! ```
//!
//! A leader keeps, for every proposal that is not yet applied, the tree as it will be: requests are judged against the
//! last of them, and applying is taking the first. Trees share what they have in common, so this costs what changed.
//!
//! The keeper never meets bytes of client frames, files or sockets. Whoever hosts it refuses frames longer than
//! `jute.maxbuffer`.

mod apply;
pub mod client;
mod clients;
mod lead;
mod learn;
mod pipeline;
pub mod prepare;
mod reads;
pub mod session;
mod snapshots;
#[cfg(test)]
mod tests;
mod words;

pub use lead::Lead;
pub use pipeline::{Connection, Standing};
pub use words::{Client, Outside, is_about_clients};

use crate::api::keeper::Reply;
use crate::api::peer::{ChannelKind, PeerMessage};
use crate::api::storage::{KeeperImage, Lane, StoreOp};
use crate::id::{ConnId, SessionId, ZabEpoch, Zxid};
use crate::machine::{Effects, Machine};
use crate::node;
use crate::note::keeper::KeeperNote;
use crate::ordered::{OrdMap, OrdSet};
use crate::rng::Rng;
use crate::time::{Now, Span, UnixMillis, Wake};
use crate::zab::{self, Peer, Role};
use crate::znode::snapshot::{self, Target};
use crate::znode::watch::WatchTable;
use crate::znode::{LoggedTxn, Tree};
use bytes::Bytes;
use learn::Learn;
use session::SessionIds;
use snapshots::Snapshots;
use std::sync::Arc;

/// What one keeper is configured with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub zab: zab::Config,
    /// `minSessionTimeout`, two ticks by default.
    pub session_timeout_min: Span,
    /// `maxSessionTimeout`, twenty ticks by default.
    pub session_timeout_max: Span,
    /// `snapCount`: a snapshot is begun after half of these transactions and a random part of the other half.
    pub snap_count: u32,
    /// Snapshots kept (`autopurge.snapRetainCount`).
    pub snap_retain: u32,
    /// Bytes of one piece of a snapshot.
    pub snapshot_piece: u32,
    /// Sessions expire in buckets this wide: an end of time is rounded up to the next bucket's. ZooKeeper's are a tick.
    pub expiry_interval: Span,
    /// How often the leader looks for containers and nodes whose time to live is over.
    pub reaper_interval: Span,
    /// `extendedTypesEnabled`: nodes with a time to live.
    pub ttl_enabled: bool,
    /// `4lw.commands.whitelist`; srvr is always allowed.
    pub words: OrdSet<[u8; 4]>,
    /// For the word `conf`.
    pub client_port: u16,
    /// What `/zookeeper/config` holds: a line for each server, and the version.
    pub members: Bytes,
}

impl Config {
    /// ZooKeeper's defaults over those of its broadcast.
    pub fn new(zab: zab::Config) -> Config {
        Config {
            session_timeout_min: zab.tick * 2,
            session_timeout_max: zab.tick * 20,
            snap_count: 100_000,
            snap_retain: 3,
            snapshot_piece: 64 << 10,
            expiry_interval: zab.tick,
            reaper_interval: Span::secs(60),
            ttl_enabled: false,
            words: OrdSet::new(),
            client_port: 2181,
            members: Bytes::new(),
            zab,
        }
    }
}

/// What a keeper finds on its disk when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Boot {
    pub accepted: ZabEpoch,
    pub current: ZabEpoch,
    /// The newest valid snapshot, as its file holds it.
    pub snapshot: Option<(Zxid, Bytes)>,
    /// The journal above the snapshot, in order.
    pub txns: Vec<(Zxid, Bytes)>,
}

impl From<KeeperImage> for Boot {
    fn from(image: KeeperImage) -> Boot {
        let KeeperImage { accepted_epoch, current_epoch, snapshot, txns, recent: _, cuts: _ } = image;
        Boot { accepted: accepted_epoch, current: current_epoch, snapshot, txns }
    }
}

/// One server of the ensemble.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keeper {
    config: Arc<Config>,
    peer: Peer,
    /// As far as this keeper has handled what the peer told it.
    role: Role,

    /// Everything committed and applied here, and nothing else.
    tree: Tree,
    watches: WatchTable,
    snapshots: Snapshots,

    connections: OrdMap<ConnId, Connection>,
    /// The connection each session speaks through here.
    by_session: OrdMap<SessionId, ConnId>,
    /// Writes of sessions whose connections were gone before the answer, in order. The next connection of the session may
    /// call a write of its own by the same number (kazoo counts anew with each).
    unheard: OrdMap<SessionId, Vec<i32>>,
    session_ids: SessionIds,
    /// Requests and replies since the start, for the word srvr.
    received: u64,
    sent: u64,

    /// While this keeper is an established leader.
    lead: Option<Box<Lead>>,
    /// What a learner owes its leader, or waits for from it.
    learn: Learn,
}

type Fx = Effects<node::Effect>;

/// Where a step puts what it wants done: effects for the host, and those of the peer that are still to be handled.
struct Out<'a> {
    now: Now,
    fx: &'a mut Fx,
    zab: Effects<zab::Effect>,
}

impl Out<'_> {
    fn reply(&mut self, conn: ConnId, reply: Reply) {
        self.fx.emit(node::Effect::Reply { conn, reply: node::Reply::Keeper(reply) });
    }

    fn store(&mut self, lane: Lane, op: StoreOp) {
        self.fx.emit(node::Effect::Store { lane, op });
    }

    fn halt(&mut self, why: String) {
        self.fx.emit(node::Effect::Halt { why });
    }
}

impl Keeper {
    /// Starts from what the disk holds. `rng`: chance for this boot.
    pub fn recover(config: Config, boot: Boot, rng: Rng, now: Now, fx: &mut Fx) -> Keeper {
        let mut out = Out { now, fx, zab: Effects::default() };
        let zxid = boot.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        let mut tree = match boot.snapshot.map(|(zxid, bytes)| snapshot::parse(bytes, Target::File, zxid)) {
            None => Tree::new(),
            Some(Ok(tree)) => tree,
            Some(Err(why)) => {
                out.halt(format!("the snapshot of {zxid} cannot be read: {why}"));
                Tree::new()
            }
        };
        if !config.members.is_empty() {
            tree.set_config(config.members.clone(), Zxid::ZERO, UnixMillis(0));
        }
        let recovered = zab::Recovered {
            accepted_epoch: boot.accepted,
            current_epoch: boot.current,
            snapshot_zxid: zxid,
            history: boot.txns,
            rng: rng.fork("zab"),
        };
        let peer = Peer::recover(config.zab.clone(), recovered, now, &mut out.zab);
        let mut keeper = Keeper {
            peer,
            role: Role::Looking,
            tree,
            watches: WatchTable::default(),
            snapshots: Snapshots::new(rng.fork("snapshots"), config.snap_count),
            connections: OrdMap::new(),
            by_session: OrdMap::new(),
            unheard: OrdMap::new(),
            session_ids: SessionIds::new(config.zab.me, now.wall),
            received: 0,
            sent: 0,
            lead: None,
            learn: Learn::default(),
            config: Arc::new(config),
        };
        keeper.drain(&mut out);
        keeper
    }

    // What may be known of it.

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// What is committed and applied here: its digest is equal on all keepers at equal `last_zxid`.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn watches(&self) -> &WatchTable {
        &self.watches
    }

    /// The connections of clients, with their sessions.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.connections.iter().map(|(conn, connection)| (*conn, connection))
    }

    /// The connection a session speaks through here.
    pub fn connection_of(&self, session: SessionId) -> Option<ConnId> {
        self.by_session.get(&session).copied()
    }

    /// What only an established leader has: proposals under way and the table of sessions with their deadlines.
    pub fn lead(&self) -> Option<&Lead> {
        self.lead.as_deref()
    }

    // Steps.

    /// Handles what the peer wants, in the order in which it wanted it; what that makes the peer want comes after.
    fn drain(&mut self, out: &mut Out<'_>) {
        loop {
            out.fx.notes.append(&mut out.zab.notes);
            if out.zab.effects.is_empty() {
                return;
            }
            for effect in core::mem::take(&mut out.zab.effects) {
                self.on_zab(effect, out);
            }
        }
    }

    fn on_zab(&mut self, effect: zab::Effect, out: &mut Out<'_>) {
        match effect {
            zab::Effect::Notify { channel, notification } => {
                out.fx.emit(node::Effect::Send { channel, message: PeerMessage::Election(notification) });
            }
            zab::Effect::Send { channel, packet } => {
                out.fx.emit(node::Effect::Send { channel, message: PeerMessage::Quorum(packet) });
            }
            zab::Effect::Hangup { channel } => out.fx.emit(node::Effect::Hangup { channel }),
            zab::Effect::Store(op) => out.store(Lane::Journal, op),
            zab::Effect::Sync(ticket) => out.fx.emit(node::Effect::Sync { lane: Lane::Journal, ticket }),
            zab::Effect::Load { ticket, what } => {
                out.fx.emit(node::Effect::Load { lane: Lane::Journal, ticket, what });
            }
            zab::Effect::Halt { why } => out.halt(why),
            zab::Effect::Became(role) => self.on_became(role, out),
            zab::Effect::Apply { zxid, txn } => self.on_committed(zxid, txn, out),
            zab::Effect::Restore { zxid, image } => self.restore(zxid, image, out),
            zab::Effect::Reloaded { to, snapshot, txns } => self.reload(to, snapshot, txns, out),
            zab::Effect::Dump { channel, zxid } => self.dump(channel, zxid, out),
            zab::Effect::AnswerPing { channel, zxid } => self.answer_ping(channel, zxid, out),
            zab::Effect::Touched { from: _, table } => self.on_touched(table, out),
            zab::Effect::FromLearner { from, packet } => self.on_learner(from, packet, out),
            zab::Effect::FromLeader { packet } => self.on_leader(packet, out),
        }
    }

    fn on_became(&mut self, role: Role, out: &mut Out<'_>) {
        let before = core::mem::replace(&mut self.role, role);
        if before.is_serving() {
            self.stop_serving(out);
        }
        if role.is_serving() {
            self.snapshots.become_whole(out);
            let leading = matches!(role, Role::Leading { .. });
            out.fx.note(KeeperNote::Serving { zxid: self.tree.last_zxid(), leading });
            if leading {
                self.lead = Some(Box::new(Lead::new(&self.config, &self.tree, out.now.at)));
            }
        }
    }

    /// Without a role nobody is served: every client must find another keeper.
    fn stop_serving(&mut self, out: &mut Out<'_>) {
        out.fx.note(KeeperNote::StoppedServing { connections: self.connections.len() as u32 });
        for conn in self.connections.keys() {
            out.fx.emit(node::Effect::Close { conn: *conn });
        }
        self.connections.clear();
        self.by_session.clear();
        self.unheard.clear();
        self.watches = WatchTable::default();
        self.lead = None;
        self.learn = Learn::default();
    }

    fn on_peer(&mut self, input: zab::Input, out: &mut Out<'_>) {
        self.peer.step(out.now, input, &mut out.zab);
        self.drain(out);
    }
}

impl Machine for Keeper {
    type Input = node::Input;
    type Effect = node::Effect;

    fn step(&mut self, now: Now, input: node::Input, fx: &mut Fx) {
        let mut out = Out { now, fx, zab: Effects::default() };
        let out = &mut out;
        match input {
            node::Input::Wake => {
                self.on_peer(zab::Input::Wake, out);
                self.on_wake(out);
            }
            node::Input::Up { channel } => self.on_peer(zab::Input::Up { channel }, out),
            node::Input::Down { channel } => self.on_peer(zab::Input::Down { channel }, out),
            node::Input::Peer { channel, message } => match message {
                PeerMessage::Election(notification) if channel.kind == ChannelKind::Election => {
                    self.on_peer(zab::Input::Election { channel, notification }, out);
                }
                PeerMessage::Quorum(packet) if channel.kind == ChannelKind::Quorum => {
                    self.on_peer(zab::Input::Packet { channel, packet }, out);
                }
                // Brokers do not speak to keepers this way.
                PeerMessage::Election(_)
                | PeerMessage::Quorum(_)
                | PeerMessage::Request { .. }
                | PeerMessage::Response { .. } => out.fx.emit(node::Effect::Hangup { channel }),
            },
            node::Input::Request { conn, request } => self.on_request(conn, request, out),
            node::Input::Closed { conn } => self.forget_connection(conn),
            node::Input::Synced { lane: Lane::Journal, upto } => self.on_peer(zab::Input::Synced { upto }, out),
            node::Input::Synced { lane: Lane::Snapshot, upto } => self.on_snapshot_synced(upto, out),
            node::Input::Loaded { ticket, what } => self.on_peer(zab::Input::Loaded { ticket, what }, out),
            node::Input::Shutdown => {
                self.role = Role::Looking;
                self.stop_serving(out);
                out.fx.emit(node::Effect::Stopped);
            }
            // A keeper dials nobody and has no other lanes.
            node::Input::Opened { .. }
            | node::Input::Answer { .. }
            | node::Input::Hung { .. }
            | node::Input::Command(_)
            | node::Input::Synced { lane: Lane::Log(_) | Lane::Checkpoint, .. } => {}
        }
        self.drain(out);
        self.write_snapshot_piece(out);
    }

    fn wake_at(&self) -> Option<Wake> {
        Wake::soonest(self.peer.wake_at(), self.lead.as_ref().and_then(|lead| lead.wake_at()))
    }
}

/// Applies logged transactions that nobody waits for.
fn replay(tree: &mut Tree, txns: Vec<(Zxid, Bytes)>) -> Result<(), String> {
    for (zxid, bytes) in txns {
        let logged = LoggedTxn::decode(bytes).map_err(|why| format!("transaction {zxid} cannot be read: {why}"))?;
        tree.apply(&logged.header, &logged.txn);
    }
    Ok(())
}
