//! What must never happen, and what is owed: invariants checked after every entry, incrementally, and at rest in full.
//!
//! Checkers look from outside: at effects, notes and machines' views, never at a host. What they keep beside the machines
//! is ghost state that no node reads. A loss that the settings allow is told as *allowed loss*, never as a pass or a
//! violation: [`Promise`] says which is which.

//! Each checker keeps one file: [`zab`] and [`tree`] for the ensemble, [`log`] and [`isr`] for partitions, [`history`] for
//! what clients were told, [`watches`] for what they wait for, [`liveness`] for what must come back once everything is
//! healed. They share nothing but the
//! [`Findings`] they report to. A step costs what it changed: they look at what it emitted and told, and at nothing else.

pub mod afterwards;
mod clients;
mod history;
mod isr;
mod liveness;
mod log;
pub mod register;
mod run;
#[cfg(test)]
mod tests;
mod tree;
mod watches;
mod wiring;
mod zab;

pub use register::{INVARIANTS, Invariant};

use crate::api::storage::{Lane, StoreOp};
use crate::broker::Broker;
use crate::id::{BrokerId, KeeperId, LeaderEpoch, NodeId, TopicPartition, Zxid};
use crate::keeper::Keeper;
use crate::machine::Effects;
use crate::node::Effect;
use crate::nodes::Node;
use crate::note::Note;
use crate::note::broker::{BrokerNote, Cause};
use crate::note::controller::ControllerNote;
use crate::note::keeper::KeeperNote;
use crate::note::zab::{SyncKind, ZabNote};
use crate::ordered::{OrdMap, OrdSet};
use crate::record::offset::{LogRange, Offset};
use crate::rules::Rules;
use crate::time::{Instant, Span};
use crate::znode::LoggedTxn;
use bytes::Bytes;
use core::fmt;
use history::Histories;
use isr::Cluster;
use log::{Logs, Restart};

use std::sync::Arc;
use tree::Trees;
use watches::Watches;
use wiring::{Hook, Wiring};
use zab::{Ensemble, View};

/// What the settings of a world owe its clients.
///
/// What is *allowed loss*, and why:
///
/// - **acks=0 and acks=1** (K11). Nobody but the leader was asked to hold the record; a clean election may drop it. Told
///   as HIST-1.
/// - **An unclean election** (K10), by `unclean.leader.election.enable` or an operator's command: the new leader's log is
///   the partition's from there on, whatever was committed before. A leader that was replaced by one and does not know it
///   may even commit what nobody will ever read again (K20). Told as LOG-3, HIST-1 and HIST-2.
/// - **A reassignment that is called off** (C.3) when only replicas that it was adding are in sync: a controller of
///   ZooKeeper mode deletes those at once, and the only logs that had everything with them. (KRaft refuses.) What the
///   other replicas lack is gone, and none of them may lead until somebody asks for an unclean election or assigns a
///   deleted one again. Told as LOG-3, HIST-1, HIST-2 and LIVE-3.
/// - **Power loss with `flush = kafka`** (K12, K13). A replica counts what is in its page cache; one that loses it stays in
///   the ISR and can be elected, or lead on in its epoch and write the same offsets again, which no follower can tell from
///   the first time. From the lowest offset that was lost, nothing is owed.
/// - **A replaced or rotten disk** of a replica that held the records and was in the ISR, or joined it before a
///   controller could know: the same. One that joins later must have fetched them again (K14).
/// - **min.insync.replicas = 1**: a record on one replica is committed. It is lost only by one of the above.
///
/// What is never allowed: losing what was fsynced because the disk lied (that is sabotage, and must be caught), because
/// of a process crash (the page cache is whole), or because an old rule of the protocol was in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Promise {
    pub rules: Rules,
    /// Replicas count what is on their disks, not what is in their page caches.
    pub flush: bool,
    /// Each topic's `min.insync.replicas` and whether it allows unclean elections.
    pub topics: OrdMap<Arc<str>, TopicPromise>,
    pub voters: u32,
    /// How long a healed world may take until everything moves again.
    pub patience: Span,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopicPromise {
    pub min_isr: u32,
    pub unclean: bool,
}

/// What befell a node, as far as promises depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process ended; its page cache is whole.
    Crash,
    /// Un-synced bytes may be gone.
    PowerLoss,
    DiskReplaced,
    /// Syncs were answered without being done.
    LyingSync,
    BitRot,
    /// It stopped by itself and said why.
    Halt,
    /// It would not start from what its disk holds.
    Refused,
}

/// An invariant that was broken: which, when, where, and how one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// Its stable name, such as `LOG-3`.
    pub invariant: &'static str,
    pub at: Instant,
    /// The number of the entry after which it was seen.
    pub entry: u64,
    pub node: Option<NodeId>,
    pub detail: String,
}

/// A loss that the settings allow: told, and neither a pass nor a violation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedLoss {
    pub invariant: &'static str,
    pub at: Instant,
    /// Which setting or event allows it, and what is gone.
    pub why: String,
}

/// How often something happened; the swarm prints it.
pub type Counts = OrdMap<&'static str, u64>;

/// What a swarm must have seen often, or it proves little: of each of these it prints the count, zero too.
pub const COUNTED: [&str; 14] = [
    "election",
    "DIFF",
    "DIFF from disk",
    "TRUNC",
    "SNAP",
    "session expiry",
    "session moved",
    "ISR shrink",
    "ISR expand",
    "truncation by epoch",
    "controller failover",
    "reassignment",
    "unclean election",
    "power loss with un-synced bytes lost",
];

/// Gives the bytes of a range of a node's log.
pub type ReadLog<'a> = &'a dyn Fn(NodeId, &LogRange) -> Result<Bytes, String>;

/// Where an observation was made.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub at: Instant,
    pub entry: u64,
    pub node: NodeId,
}

/// What befell a node since it started last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Its page cache may be gone: the power, or a disk that refused a write.
    cache: bool,
    replaced: bool,
    rotten: bool,
    lying: bool,
}

impl Faults {
    fn has_lost_cache(self) -> bool {
        self.cache || self.replaced || self.rotten
    }

    fn has_bad_disk(self) -> bool {
        self.replaced || self.rotten
    }

    fn how(self) -> &'static str {
        if self.replaced {
            "a replaced disk"
        } else if self.rotten {
            "a rotten disk"
        } else {
            "a power loss"
        }
    }
}

/// Where checkers report to. Only the first violation is kept: what follows is often its echo.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    at: Instant,
    entry: u64,
    node: Option<NodeId>,
    fired: Option<Violation>,
    allowed: Vec<AllowedLoss>,
}

/// Allowed losses that are listed; the rest of a bad day is like them.
const ALLOWED: usize = 1_000;

impl Findings {
    fn look(&mut self, seen: Seen) {
        (self.at, self.entry, self.node) = (seen.at, seen.entry, Some(seen.node));
    }

    fn at(&self) -> Instant {
        self.at
    }

    fn fire(&mut self, invariant: &'static str, detail: impl FnOnce() -> String) {
        if self.fired.is_none() {
            let (at, entry, node) = (self.at, self.entry, self.node);
            self.fired = Some(Violation { invariant, at, entry, node, detail: detail() });
        }
    }

    fn allow(&mut self, invariant: &'static str, why: impl FnOnce() -> String) {
        if self.allowed.len() < ALLOWED {
            let loss = AllowedLoss { invariant, at: self.at, why: why() };
            if self.allowed.last().is_none_or(|last| last.why != loss.why) {
                self.allowed.push(loss);
            }
        }
    }
}

/// How far a keeper's tree was compared with others'.
#[derive(Clone, Debug, Default)]
struct Compared {
    zxid: Zxid,
}

/// Every checker of one world.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    promise: Promise,
    find: Findings,
    faults: OrdMap<NodeId, Faults>,
    ensemble: Ensemble,
    trees: Trees,
    compared: OrdMap<KeeperId, Compared>,
    cluster: Cluster,
    logs: Logs,
    histories: Histories,
    watches: Watches,
    /// Nodes whose disk is rotten, as the scenario wants it: what they hold is not compared.
    rotten: OrdSet<NodeId>,
    wiring: Wiring,
}

impl Checks {
    pub fn new(promise: Promise) -> Checks {
        Checks { ensemble: Ensemble::new(promise.voters), promise, ..Checks::default() }
    }

    /// A node has started; `machine` is what it recovered. Its first effects and notes come with `stepped`, next.
    pub fn booted(&mut self, seen: Seen, machine: &Node, _fx: &Effects<Effect>) {
        self.find.look(seen);
        let faults = self.faults.remove(&seen.node).unwrap_or_default();
        match machine {
            Node::Keeper(keeper) => {
                let me = keeper.peer().config().me;
                self.wiring.ran(Hook::KeeperBoot);
                self.ensemble.on_boot(me, View::of(keeper.peer()), faults, &mut self.find);
                let compared = self.compared.entry(me).or_default();
                compared.zxid = Zxid::ZERO;
            }
            Node::Broker(broker) => self.on_broker_boot(broker, faults),
            Node::Client(_) => {}
        }
    }

    fn on_broker_boot(&mut self, broker: &Broker, faults: Faults) {
        let id = broker.id();
        let Checks { promise, cluster, logs, find, wiring, .. } = self;
        wiring.ran(Hook::BrokerBoot);
        let flush = promise.flush;
        let restart = |partition: &_| Restart { faults, flush, in_sync: cluster.is_in_sync(partition, id) };
        for partition in broker.partitions() {
            wiring.ran(Hook::LogBoot);
            let (name, log) = (partition.name(), &partition.log);
            if logs.is_of(name, log.topic_id) {
                logs.on_boot(id, name, log::Recovered::of(log), restart(name), find);
            }
        }
        let found = |name: &_| broker.partition(name).map(|partition| partition.log.topic_id);
        logs.on_boot_without(id, found, restart, find);
        cluster.on_restarted(id);
    }

    /// Something befell a node.
    pub fn befell(&mut self, seen: Seen, fault: Fault, _why: &str) {
        let faults = self.faults.entry(seen.node).or_default();
        match fault {
            Fault::Crash | Fault::Refused => {}
            Fault::PowerLoss | Fault::Halt => faults.cache = true,
            Fault::DiskReplaced => {
                faults.replaced = true;
                self.rotten.remove(&seen.node);
            }
            Fault::LyingSync => faults.lying = true,
            Fault::BitRot => {
                faults.rotten = true;
                self.rotten.insert(seen.node);
            }
        }
    }

    /// A node has taken an input: its effects are not yet performed.
    pub fn stepped(&mut self, seen: Seen, machine: &Node, fx: &Effects<Effect>, counts: &mut Counts) {
        if fx.is_empty() {
            return;
        }
        self.find.look(seen);
        match machine {
            Node::Keeper(keeper) => self.on_keeper(keeper, fx),
            Node::Broker(broker) => self.on_broker(broker, fx),
            Node::Client(client) => self.on_client(client, fx),
        }
        for note in &fx.notes {
            if let Some(what) = counted(note) {
                *counts.entry(what).or_default() += 1;
            }
        }
    }

    fn on_keeper(&mut self, keeper: &Keeper, fx: &Effects<Effect>) {
        let (view, id) = (View::of(keeper.peer()), keeper.peer().config().me);
        for effect in &fx.effects {
            if let Effect::Store { lane: Lane::Journal, op } = effect {
                self.wiring.ran(Hook::JournalStore);
                self.ensemble.on_store(id, op, &mut self.find);
            }
        }
        self.ensemble.on_durable(id, view.durable);
        for note in &fx.notes {
            match note {
                Note::Zab(note) => {
                    self.wiring.ran(Hook::ZabNote);
                    if let Some((zxid, body)) = self.ensemble.on_note(id, view, note, &mut self.find) {
                        self.on_committed(zxid, body);
                    }
                }
                Note::Keeper(note) => {
                    self.wiring.ran(Hook::KeeperNote);
                    self.trees.on_note(note, &mut self.find);
                }
                Note::Broker(_) | Note::Controller(_) | Note::Client(_) => {}
            }
        }
        let applied = keeper.tree().last_zxid();
        let compared = self.compared.entry(id).or_default();
        // A tree read from a fuzzy snapshot, its own or its leader's, may hold later changes until the keeper serves.
        if compared.zxid != applied && keeper.role().is_serving() {
            let from = core::mem::replace(&mut compared.zxid, applied).min(applied);
            self.wiring.ran(Hook::TreeApplied);
            self.trees.on_applied(id, keeper.tree(), from, &mut self.find);
        }
    }

    /// A transaction was committed, for the first time anywhere.
    fn on_committed(&mut self, zxid: Zxid, body: Option<bytes::Bytes>) {
        let Some(Ok(LoggedTxn { header, txn, .. })) = body.map(LoggedTxn::decode) else { return };
        self.wiring.ran(Hook::Committed);
        self.trees.on_committed(&header, &txn, &mut self.find);
        self.histories.on_committed(self.find.at(), &header, &txn, &mut self.find);
        self.cluster.on_committed(zxid, &txn, &mut self.find);
        for (partition, epoch) in self.cluster.take_unclean() {
            self.wiring.ran(Hook::Unclean);
            let allowed = self.promise.topics.get(&partition.topic).is_some_and(|topic| topic.unclean);
            judge_unclean(&partition, epoch, allowed || self.cluster.was_unclean_asked(&partition), &mut self.find);
            self.logs.on_unclean(&partition, epoch);
        }
        for (partition, id) in self.cluster.take_unaware() {
            self.logs.on_unaware(&partition, id);
        }
        for (partition, epoch) in self.cluster.take_dropped() {
            self.logs.on_dropped(&partition, epoch);
        }
    }

    fn on_broker(&mut self, broker: &Broker, fx: &Effects<Effect>) {
        let id = broker.id();
        let Checks { logs, find, wiring, .. } = self;
        for effect in &fx.effects {
            let Effect::Store { lane, op } = effect else { continue };
            let hook = match (lane, op) {
                (Lane::Log(partition), StoreOp::Append { batches }) => {
                    logs.on_append(id, partition, batches, find);
                    Hook::LogAppend
                }
                (Lane::Log(partition), StoreOp::CreateLog { topic_id }) => {
                    logs.on_create(id, partition, *topic_id);
                    Hook::LogCreate
                }
                (Lane::Log(partition), StoreOp::TruncateLog { to }) => {
                    logs.on_truncate(id, partition, to.0, find);
                    Hook::LogTruncate
                }
                (Lane::Log(partition), StoreOp::RestartLog { start }) => {
                    logs.on_restart(id, partition, start.0, find);
                    Hook::LogRestart
                }
                (Lane::Log(partition), StoreOp::DropSegments { to }) => {
                    logs.on_drop_below(id, partition, to.0);
                    Hook::LogDropBelow
                }
                (Lane::Log(partition), StoreOp::DeleteLog) => {
                    logs.on_delete(id, partition);
                    Hook::LogDelete
                }
                (Lane::Checkpoint, StoreOp::LeaderEpochs { partition, entries }) => {
                    logs.on_epochs(id, partition, entries, find);
                    Hook::LogEpochs
                }
                _ => continue,
            };
            wiring.ran(hook);
        }
        for note in &fx.notes {
            match note {
                Note::Broker(note) => self.on_broker_note(broker, id, note),
                Note::Controller(ControllerNote::BecameController { epoch }) => {
                    self.wiring.ran(Hook::BecameController);
                    let node = self.find.node.unwrap_or(NodeId::Broker(0));
                    self.cluster.on_controller(node, *epoch, &mut self.find);
                }
                Note::Controller(ControllerNote::BrokerUp { id }) => self.cluster.on_taken_in(*id),
                Note::Controller(_) | Note::Zab(_) | Note::Keeper(_) | Note::Client(_) => {}
            }
        }
    }

    fn on_broker_note(&mut self, broker: &Broker, id: BrokerId, note: &BrokerNote) {
        let Checks { cluster, logs, histories, find, wiring, .. } = self;
        let hook = match note {
            BrokerNote::HighWatermark { partition, offset } => {
                let Some(replica) = broker.partition(partition) else { return };
                if let Some(leader) = replica.leader() {
                    let members = leader.isr.members().len() as u32;
                    let needed = cluster.min_isr(&partition.topic, replica.replicas().len());
                    judge_in_sync(id, partition, *offset, members, needed, find);
                    let in_sync = cluster.isr_led_by(partition, id, replica.leader_epoch().0);
                    logs.on_leader_high_watermark(id, partition, offset.0, in_sync, find);
                    if let Some(ghost) = logs.ghost(partition) {
                        histories.on_committed_log(partition, ghost, find);
                    }
                    Hook::LeaderHighWatermark
                } else {
                    logs.on_follower_high_watermark(id, partition, offset.0, find);
                    Hook::FollowerHighWatermark
                }
            }
            BrokerNote::BecameLeader { partition, epoch, .. } => {
                logs.on_leader(id, partition, *epoch, find);
                if let Some(ghost) = logs.ghost(partition) {
                    histories.on_committed_log(partition, ghost, find);
                }
                Hook::BecameLeader
            }
            BrokerNote::BecameFollower { partition, epoch, .. } => {
                logs.on_follower(id, partition, *epoch);
                Hook::BecameFollower
            }
            BrokerNote::Acknowledged { partition, last, all: true, .. } => {
                if let Some(replica) = broker.partition(partition)
                    && let Some(leader) = replica.leader()
                {
                    let needed = cluster.min_isr(&partition.topic, replica.replicas().len());
                    judge_in_sync(id, partition, last.next(), leader.isr.maximal_len(), needed, find);
                }
                logs.on_acknowledged(id, partition, last.0, find);
                Hook::Acknowledged
            }
            BrokerNote::Registered { id, epoch } => {
                cluster.on_registered(*id, *epoch, find);
                Hook::Registered
            }
            _ => return,
        };
        wiring.ran(hook);
    }

    /// Compares everything with everything, in full: too dear for every entry.
    pub fn compare<'a>(
        &mut self,
        at: Instant,
        entry: u64,
        machines: impl Iterator<Item = (NodeId, &'a Node)>,
        read: ReadLog<'_>,
    ) {
        (self.find.at, self.find.entry, self.find.node) = (at, entry, None);
        self.wiring.ran(Hook::Compared);
        liveness::Nodes::of(machines).compare(self, read);
    }

    /// The world has come to rest: everything healed, everybody up that was not stopped, and time enough. `down`: who
    /// should run and does not, and why.
    pub fn at_rest<'a>(
        &mut self,
        at: Instant,
        entry: u64,
        machines: impl Iterator<Item = (NodeId, &'a Node)>,
        down: &[(NodeId, &str)],
    ) {
        (self.find.at, self.find.entry, self.find.node) = (at, entry, None);
        self.wiring.ran(Hook::AtRest);
        liveness::started(down, &mut self.find);
        liveness::Nodes::of(machines).check(self);
    }

    /// How often each kind of observation reached the checkers.
    pub fn wiring(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.wiring.counts()
    }

    pub fn has_fired(&self) -> bool {
        self.find.fired.is_some()
    }

    pub fn fired(&self) -> Option<&Violation> {
        self.find.fired.as_ref()
    }

    pub fn allowed(&self) -> &[AllowedLoss] {
        &self.find.allowed
    }

    pub fn promise(&self) -> &Promise {
        &self.promise
    }
}

fn judge_unclean(partition: &TopicPartition, epoch: LeaderEpoch, allowed: bool, find: &mut Findings) {
    if !allowed {
        find.fire("CTL-4", || {
            format!("{partition} gets a leader from outside its ISR in epoch {epoch}, which nobody allows")
        });
    }
}

fn judge_in_sync(
    id: BrokerId,
    partition: &TopicPartition,
    upto: Offset,
    members: u32,
    needed: u32,
    find: &mut Findings,
) {
    if members < needed {
        find.fire("ISR-5", || {
            format!("broker {id} commits {partition} up to {upto} with {members} in sync, {needed} are needed")
        });
    }
}

/// `1, 2, 3`, or `none`. Sentences for people are not made with `Debug`, which would bring every field's name along.
fn listed<'a, T: fmt::Display + 'a>(items: impl IntoIterator<Item = &'a T>) -> String {
    let mut list = String::new();
    for item in items {
        list += if list.is_empty() { "" } else { ", " };
        list += &item.to_string();
    }
    if list.is_empty() { "none".to_owned() } else { list }
}

/// What is there, or `none`.
fn or_none(what: Option<impl fmt::Display>) -> String {
    what.map_or_else(|| "none".to_owned(), |what| what.to_string())
}

/// Under which name the swarm counts a fact.
fn counted(note: &Note) -> Option<&'static str> {
    Some(match note {
        Note::Zab(ZabNote::Established { .. }) => "election",
        Note::Zab(ZabNote::SyncChosen { sync: SyncKind::Diff, .. }) => "DIFF",
        Note::Zab(ZabNote::SyncChosen { sync: SyncKind::DiffFromDisk, .. }) => "DIFF from disk",
        Note::Zab(ZabNote::SyncChosen { sync: SyncKind::Trunc, .. }) => "TRUNC",
        Note::Zab(ZabNote::SyncChosen { sync: SyncKind::Snap, .. }) => "SNAP",
        Note::Keeper(KeeperNote::SessionExpired { .. }) => "session expiry",
        Note::Keeper(KeeperNote::SessionMoved { .. }) => "session moved",
        Note::Broker(BrokerNote::IsrShrunk { .. }) => "ISR shrink",
        Note::Broker(BrokerNote::IsrExpanded { .. }) => "ISR expand",
        Note::Broker(BrokerNote::Truncated { cause: Cause::Divergence, .. }) => "truncation by epoch",
        Note::Controller(ControllerNote::FailoverDone { .. }) => "controller failover",
        Note::Controller(ControllerNote::ReassignmentFinished { .. }) => "reassignment",
        Note::Controller(ControllerNote::UncleanElection { .. }) => "unclean election",
        _ => return None,
    })
}
