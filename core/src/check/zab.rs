//! Atomic broadcast, keeper by keeper, against the one sequence that was committed (protocol.md D.1-1 to D.1-15).
//!
//! It keeps the committed transactions in order, and of each keeper how far its journal agrees with them, what it holds
//! beyond, and how much of that the keeper takes for durable. It sees what keepers ask of their disks, what they tell,
//! and what they find when they start.

use super::run::Run;
use super::{Faults, Findings, or_none};
use crate::api::storage::StoreOp;
use crate::digest::Digest;
use crate::id::{KeeperId, ZabEpoch, Zxid};
use crate::note::zab::{ZabNote, breach};
use crate::ordered::OrdMap;
use crate::queue::Queue;
use crate::time::Instant;
use crate::zab::{Peer, Role};
use bytes::Bytes;

/// Committed transactions that are remembered.
const KEEP: usize = 200_000;

/// A transaction as far as its identity goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Txn {
    pub zxid: Zxid,
    pub digest: u64,
}

/// One keeper's journal and watermarks.
#[derive(Clone, Debug, Default)]
struct Journal {
    /// Position in the committed sequence up to which the journal, or the snapshot below it, holds it.
    agreed: usize,
    /// What the journal holds above that.
    tail: Queue<Txn>,
    /// The end of journal or snapshot.
    end: Zxid,
    /// What the keeper takes for durable.
    durable: Zxid,
    /// Where the journal ended when files were replaced that may not be durable yet, oldest first: what follows waits
    /// behind them, and goes with the process.
    barriers: Queue<Zxid>,
    /// The last transaction that was delivered here.
    delivered: Zxid,
    accepted: ZabEpoch,
    current: ZabEpoch,
    /// The highest epoch it promised, or joined, to others.
    promised: (ZabEpoch, ZabEpoch),
    /// Up to where the leader's stream brings it, as told when the way was chosen.
    brought_to: Zxid,
    /// It lost what it had promised, as the scenario allows.
    excused: bool,
    observer: bool,
}

impl Journal {
    /// An epoch is written: a barrier of the journal.
    fn replaces_a_file(&mut self) {
        if self.barriers.back() != Some(&self.end) {
            self.barriers.push_back(self.end);
        }
    }

    /// What outlives the process: what the disk was given, unless it waits behind a barrier.
    fn begun(&self) -> Zxid {
        self.barriers.front().map_or(self.end, |barrier| self.end.min(self.durable.max(*barrier)))
    }
}

/// What a keeper's peer says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    pub applied: Zxid,
    /// What it votes with.
    pub last: Zxid,
    pub durable: Zxid,
    pub accepted: ZabEpoch,
    pub current: ZabEpoch,
    pub follows: Option<KeeperId>,
    pub observer: bool,
}

impl View {
    pub fn of(peer: &Peer) -> View {
        View {
            applied: peer.applied(),
            last: peer.last_zxid(),
            durable: peer.durable(),
            accepted: peer.accepted_epoch(),
            current: peer.current_epoch(),
            follows: match peer.role() {
                Role::Following { leader, .. } | Role::Observing { leader, .. } => Some(leader),
                Role::Looking | Role::Leading { .. } => None,
            },
            observer: peer.config().is_observer(),
        }
    }
}

/// The ghost of the ensemble.
#[derive(Clone, Debug, Default)]
pub struct Ensemble {
    committed: Run<Txn>,
    /// When each of them was first delivered anywhere.
    times: Run<Instant>,
    keepers: OrdMap<KeeperId, Journal>,
    /// Established leaders by epoch; pruned to the newest.
    leaders: OrdMap<ZabEpoch, KeeperId>,
    /// Proposed and not yet committed.
    proposed: OrdMap<Zxid, u64>,
    /// The bytes of what was appended somewhere and is not yet committed.
    bodies: OrdMap<Zxid, Bytes>,
    voters: u32,
}

impl Ensemble {
    pub fn new(voters: u32) -> Ensemble {
        Ensemble { voters, ..Ensemble::default() }
    }

    /// The newest transaction that was committed anywhere.
    pub fn last_committed(&self) -> Zxid {
        self.committed.last().map_or(Zxid::ZERO, |txn| txn.zxid)
    }

    /// When the first transaction was committed that a keeper lacks which has applied up to `applied`.
    pub fn committed_beyond(&self, applied: Zxid) -> Option<Instant> {
        self.times.get(self.committed.partition_point(|txn| txn.zxid <= applied)).copied()
    }

    /// The newest epoch that has, or had, an established leader.
    pub fn newest_epoch(&self) -> ZabEpoch {
        self.leaders.last_key_value().map_or_else(ZabEpoch::default, |(epoch, _)| *epoch)
    }

    /// The epoch a keeper has joined.
    pub fn epoch_of(&self, id: KeeperId) -> ZabEpoch {
        self.keepers.get(&id).map_or_else(ZabEpoch::default, |journal| journal.current)
    }

    fn position(&self, zxid: Zxid) -> usize {
        self.committed.partition_point(|txn| txn.zxid < zxid)
    }

    /// One past the position of the committed transaction `zxid`, 0 for none at all.
    fn past(&self, zxid: Zxid) -> Option<usize> {
        if zxid.counter() == 0 || zxid == Zxid::ZERO {
            return Some(self.position(zxid));
        }
        let at = self.position(zxid);
        if at == self.committed.floor() && at > 0 {
            return Some(at);
        }
        self.committed.get(at).filter(|txn| txn.zxid == zxid).map(|_| at + 1)
    }

    // What keepers do.

    pub fn on_store(&mut self, id: KeeperId, op: &StoreOp, find: &mut Findings) {
        match op {
            StoreOp::AppendTxn { zxid, txn } => self.on_append(id, *zxid, txn, find),
            StoreOp::TruncateJournal { to } => self.on_truncate(id, *to, find),
            StoreOp::SnapshotEnd { zxid, replaces_journal: true } => self.on_replaced(id, *zxid, find),
            StoreOp::AcceptedEpoch(epoch) => {
                let journal = self.keepers.entry(id).or_default();
                journal.replaces_a_file();
                let before = core::mem::replace(&mut journal.accepted, *epoch);
                if before > *epoch {
                    find.fire("ZAB-13", || format!("keeper-{id} takes acceptedEpoch back from {before} to {epoch}"));
                }
            }
            StoreOp::CurrentEpoch(epoch) => {
                let journal = self.keepers.entry(id).or_default();
                journal.replaces_a_file();
                let (before, accepted) = (core::mem::replace(&mut journal.current, *epoch), journal.accepted);
                if before > *epoch || *epoch > accepted {
                    find.fire("ZAB-13", || {
                        format!(
                            "keeper-{id} writes currentEpoch {epoch} after {before}, while acceptedEpoch is {accepted}"
                        )
                    });
                }
            }
            _ => {}
        }
    }

    fn on_append(&mut self, id: KeeperId, zxid: Zxid, bytes: &Bytes, find: &mut Findings) {
        let digest = Digest::of(bytes);
        let journal = self.keepers.entry(id).or_default();
        let end = core::mem::replace(&mut journal.end, zxid);
        let follows = if zxid.epoch() == end.epoch() { zxid.0 == end.0 + 1 } else { zxid > end && zxid.counter() == 1 };
        if !follows {
            find.fire("ZAB-14", || format!("keeper-{id} logs {zxid} behind {end}"));
        }
        let known = self.committed.get(journal.agreed);
        if journal.tail.is_empty() && known == Some(&Txn { zxid, digest }) {
            journal.agreed += 1;
            return;
        }
        journal.tail.push_back(Txn { zxid, digest });
        if zxid > self.committed.last().map_or(Zxid::ZERO, |txn| txn.zxid) {
            self.bodies.entry(zxid).or_insert_with(|| bytes.clone());
        }
    }

    fn on_truncate(&mut self, id: KeeperId, to: Zxid, find: &mut Findings) {
        let is_held = self.is_held_without(id);
        let Some(journal) = self.keepers.get_mut(&id) else { return };
        let last = self.committed.last().map_or(Zxid::ZERO, |txn| txn.zxid);
        while journal.tail.pop_back_if(|txn| txn.zxid > to).is_some() {}
        let mut lost = None;
        while let Some(txn) = journal.agreed.checked_sub(1).and_then(|at| self.committed.get(at))
            && txn.zxid > to
        {
            lost = Some(txn.zxid);
            journal.agreed -= 1;
        }
        journal.end = to;
        journal.durable = journal.durable.min(to);
        for end in &mut journal.barriers {
            *end = (*end).min(to);
        }
        if let Some(lost) = lost.filter(|_| !is_held)
            && !self.keepers.values().any(|journal| journal.excused)
        {
            find.fire("ZAB-11", || {
                format!("keeper-{id} cuts {lost} from its journal, which is committed up to {last}")
            });
        }
    }

    /// Whether what a keeper has of the committed sequence is durable on a quorum without it, its leader included. An
    /// established leader cuts back to what is committed, and the rest of its history follows (A.3): what commits on
    /// the way, by the acknowledgements of others, is sent again in the same breath.
    fn is_held_without(&self, id: KeeperId) -> bool {
        let Some(cut) = self.keepers.get(&id) else { return false };
        let last = cut.agreed.checked_sub(1).and_then(|at| self.committed.get(at)).map_or(Zxid::ZERO, |txn| txn.zxid);
        let holds = |other: &Journal| !other.observer && other.agreed >= cut.agreed && other.durable >= last;
        let holders = self.keepers.iter().filter(|(other, journal)| **other != id && holds(journal));
        let leader = self.leaders.get(&cut.accepted).and_then(|leader| self.keepers.get(leader));
        leader.is_some_and(holds) && holders.count() as u32 * 2 > self.voters
    }

    fn on_replaced(&mut self, id: KeeperId, zxid: Zxid, find: &mut Findings) {
        let past = self.past(zxid);
        let journal = self.keepers.entry(id).or_default();
        journal.tail.clear();
        journal.end = zxid;
        journal.durable = Zxid::ZERO;
        journal.barriers = Queue::from([Zxid::ZERO]);
        match past {
            Some(past) => journal.agreed = past,
            None => {
                find.fire("ZAB-8", || format!("keeper-{id} takes a database as of {zxid}, which was never committed"))
            }
        }
    }

    /// Takes what the keeper holds for durable. Before its notes are looked at.
    pub fn on_durable(&mut self, id: KeeperId, durable: Zxid) {
        let journal = self.keepers.entry(id).or_default();
        journal.durable = durable;
        while journal.barriers.pop_front_if(|end| *end < durable).is_some() {}
    }

    /// A keeper told something. Gives what was committed by it for the first time.
    pub fn on_note(
        &mut self,
        id: KeeperId,
        view: View,
        note: &ZabNote,
        find: &mut Findings,
    ) -> Option<(Zxid, Option<Bytes>)> {
        match note {
            ZabNote::Committed { zxid } => return self.on_committed(id, *zxid, find),
            ZabNote::Proposed { zxid } => self.on_proposed(id, *zxid, find),
            ZabNote::Established { epoch, history } => self.on_established(id, *epoch, *history, find),
            ZabNote::Joined { epoch } => self.on_joined(id, view, *epoch, find),
            ZabNote::SyncChosen { learner, to, .. } => {
                self.keepers.entry(*learner).or_default().brought_to = *to;
            }
            ZabNote::EpochAccepted { epoch } => {
                let journal = self.keepers.entry(id).or_default();
                journal.promised.0 = journal.promised.0.max(*epoch);
            }
            ZabNote::Truncated { to, .. } => {
                let journal = self.keepers.entry(id).or_default();
                journal.delivered = journal.delivered.min(*to);
            }
            ZabNote::Restored { zxid } => self.keepers.entry(id).or_default().delivered = *zxid,
            ZabNote::Looking { .. } => self.on_looking(id, view, find),
            ZabNote::VotedFor { .. } | ZabNote::Elected { .. } | ZabNote::UpToDate { .. } => {}
            ZabNote::LearnerDropped { learner, why } if breach::ALL.contains(why) => {
                find.fire("ZAB-17", || format!("keeper-{id} lets keeper-{learner} go: {why}"));
            }
            ZabNote::SteppedDown { why } if breach::ALL.contains(why) => {
                find.fire("ZAB-17", || format!("keeper-{id} leaves its leader: {why}"));
            }
            ZabNote::LearnerDropped { .. } | ZabNote::SteppedDown { .. } => {}
        }
        None
    }

    fn on_looking(&mut self, id: KeeperId, view: View, find: &mut Findings) {
        let journal = self.keepers.entry(id).or_default();
        let (end, applied, last) = (journal.end, view.applied, view.last);
        // A leader without a transaction keeps the bare mark of its epoch in memory.
        let mark = |zxid: Zxid| zxid.counter() == 0;
        if (applied > end && !mark(applied)) || (last != end && !mark(last)) {
            find.fire("ZAB-15", || {
                format!("keeper-{id} looks for a leader with {applied} in memory and a vote for {last}; its disk ends at {end}")
            });
        }
    }

    fn on_proposed(&mut self, id: KeeperId, zxid: Zxid, find: &mut Findings) {
        let Some(journal) = self.keepers.get(&id) else { return };
        if self.leaders.get(&zxid.epoch()).is_none_or(|leader| *leader != id) {
            find.fire("ZAB-1", || format!("keeper-{id} proposes {zxid}, though it does not lead that epoch"));
        }
        let last = self.last_committed();
        if last.epoch() < zxid.epoch() && journal.agreed < self.committed.len() {
            find.fire("ZAB-7", || format!("keeper-{id} proposes {zxid} without all that is committed, up to {last}"));
        }
        let digest = journal.tail.iter().rev().find(|txn| txn.zxid == zxid).map_or(0, |txn| txn.digest);
        if self.proposed.insert(zxid, digest).is_some_and(|before| before != digest) {
            find.fire("ZAB-2", || format!("{zxid} is proposed twice, with different contents"));
        }
    }

    fn on_established(&mut self, id: KeeperId, epoch: ZabEpoch, history: Zxid, find: &mut Findings) {
        let before = *self.leaders.entry(epoch).or_insert(id);
        if before != id {
            find.fire("ZAB-1", || format!("keeper-{before} and keeper-{id} both lead epoch {epoch}"));
        }
        if self.leaders.len() > 64 {
            self.leaders.pop_first();
        }
        let Some(journal) = self.keepers.get(&id) else { return };
        if let Some(missing) = self.committed.get(journal.agreed).copied() {
            if self.keepers.values().any(|journal| journal.excused) {
                self.give_up(journal.agreed, find);
            } else {
                find.fire("ZAB-10", || {
                    format!(
                        "keeper-{id} leads epoch {epoch} with a history up to {history} that lacks {}, committed",
                        missing.zxid
                    )
                });
            }
        }
    }

    /// Replaced disks took committed transactions from a quorum: the sequence goes on without them.
    fn give_up(&mut self, len: usize, find: &mut Findings) {
        let from = self.committed.get(len).map_or(Zxid::ZERO, |txn| txn.zxid);
        find.allow("ZAB-11", || {
            format!("everything from {from} on is lost: disks that held it were replaced or rotten")
        });
        self.committed.truncate(len);
        self.times.truncate(len);
        for journal in self.keepers.values_mut() {
            journal.agreed = journal.agreed.min(len);
            journal.excused = false;
        }
    }

    fn on_joined(&mut self, id: KeeperId, view: View, epoch: ZabEpoch, find: &mut Findings) {
        let Some(journal) = self.keepers.get_mut(&id) else { return };
        journal.promised.1 = journal.promised.1.max(epoch);
        let (durable, end, to) = (view.durable, journal.end, journal.brought_to);
        if view.current != epoch || durable < end || end < to {
            let current = view.current;
            find.fire("ZAB-13", || {
                format!(
                    "keeper-{id} acknowledges NEWLEADER of epoch {epoch} with currentEpoch {current}, its journal at {end} and durable up to {durable}; the leader brought it to {to}"
                )
            });
        }
        let Some(leader) = view.follows else { return };
        if let Some(differs) = self.differs(id, leader) {
            find.fire("ZAB-9", || {
                format!(
                    "keeper-{id} joins epoch {epoch}, and its journal differs from that of keeper-{leader} at {differs}"
                )
            });
        }
    }

    /// Where the first journal is not a beginning of the second.
    fn differs(&self, learner: KeeperId, leader: KeeperId) -> Option<Zxid> {
        let (ours, theirs) = (self.keepers.get(&learner)?, self.keepers.get(&leader)?);
        let held = |txn: &Txn| {
            let at = self.position(txn.zxid);
            let committed = at < theirs.agreed && self.committed.get(at) == Some(txn);
            committed || theirs.tail.iter().any(|other| other == txn)
        };
        let above = self.committed.iter_from(theirs.agreed).take(ours.agreed.saturating_sub(theirs.agreed));
        above.chain(&ours.tail).find(|txn| !held(txn)).map(|txn| txn.zxid)
    }

    fn on_committed(&mut self, id: KeeperId, zxid: Zxid, find: &mut Findings) -> Option<(Zxid, Option<Bytes>)> {
        let last = self.last_committed();
        let journal = self.keepers.entry(id).or_default();
        let before = core::mem::replace(&mut journal.delivered, zxid);
        if zxid <= last {
            self.on_delivered_again(id, before, zxid, find);
            return None;
        }
        let follows = if zxid.epoch() == last.epoch() { zxid.0 == last.0 + 1 } else { zxid.counter() == 1 };
        if !follows {
            find.fire("ZAB-5", || {
                format!("keeper-{id} delivers {zxid} after {last}: what was proposed between is skipped")
            });
        }
        if journal.agreed < self.committed.len() {
            let lacks = self.committed.get(journal.agreed).map_or(last, |txn| txn.zxid);
            find.fire("ZAB-12", || format!("keeper-{id} delivers {zxid} without {lacks}, which is committed"));
            return None;
        }
        let Some(txn) = journal.tail.front().copied().filter(|txn| txn.zxid == zxid) else {
            find.fire("ZAB-2", || format!("keeper-{id} delivers {zxid}, which its journal does not hold there"));
            return None;
        };
        if before.max(last) != last || (before < last && before != Zxid::ZERO) {
            find.fire("ZAB-4", || {
                format!("keeper-{id} delivers {zxid} after {before}; between them {last} is committed")
            });
        }
        match self.proposed.remove(&zxid) {
            Some(digest) if digest == txn.digest => {}
            Some(_) => find.fire("ZAB-2", || format!("{zxid} is committed with other contents than were proposed")),
            None => find.fire("ZAB-2", || format!("{zxid} is committed and was never proposed")),
        }
        self.committed.push(txn);
        self.committed.keep_newest(KEEP);
        self.times.push(find.at());
        self.times.keep_newest(KEEP);
        let len = self.committed.len();
        let mut durable = 0;
        for journal in self.keepers.values_mut() {
            if journal.agreed + 1 == len && journal.tail.front() == Some(&txn) {
                journal.tail.pop_front();
                journal.agreed = len;
            }
            durable += u32::from(!journal.observer && journal.agreed == len && journal.durable >= zxid);
        }
        if durable * 2 <= self.voters {
            let voters = self.voters;
            find.fire("ZAB-11", || format!("{zxid} is committed, and durable on {durable} of {voters} keepers"));
        }
        let body = self.bodies.remove(&zxid);
        while let Some(stale) = self.bodies.first_entry().filter(|entry| *entry.key() <= zxid) {
            stale.remove();
        }
        while let Some(stale) = self.proposed.first_entry().filter(|entry| *entry.key() <= zxid) {
            stale.remove();
        }
        Some((zxid, body))
    }

    /// A transaction that another keeper delivered before.
    fn on_delivered_again(&mut self, id: KeeperId, before: Zxid, zxid: Zxid, find: &mut Findings) {
        let at = self.position(zxid);
        if at == self.committed.floor() && at > 0 {
            return;
        }
        let Some(journal) = self.keepers.get(&id) else { return };
        match self.committed.get(at).filter(|txn| txn.zxid == zxid) {
            None => {
                find.fire("ZAB-8", || format!("keeper-{id} delivers {zxid}, which is not among what was committed"))
            }
            Some(_) if journal.agreed <= at => {
                let held = journal.tail.front().copied();
                let name = if held.is_some_and(|held| held.zxid == zxid) { "ZAB-3" } else { "ZAB-2" };
                let held = held.map(|held| held.zxid);
                find.fire(name, || {
                    format!(
                        "keeper-{id} delivers {zxid}, its next is {}, others delivered something else",
                        or_none(held)
                    )
                });
            }
            Some(_) => {}
        }
        let previous = at.checked_sub(1).and_then(|at| self.committed.get(at)).map_or(Zxid::ZERO, |txn| txn.zxid);
        if before >= zxid || (before != previous && before.counter() != 0 && before != Zxid::ZERO) {
            let name = if before.epoch() == zxid.epoch() { "ZAB-4" } else { "ZAB-6" };
            find.fire(name, || {
                format!("keeper-{id} delivers {zxid} after {before}; committed before it is {previous}")
            });
        }
    }

    // What befalls keepers.

    /// A keeper started and found this on its disk.
    pub fn on_boot(&mut self, id: KeeperId, view: View, faults: Faults, find: &mut Findings) {
        let View { applied: snapshot, last, accepted, current, observer, .. } = view;
        let past = self.past(snapshot);
        let journal = self.keepers.entry(id).or_default();
        journal.observer = observer;
        journal.delivered = snapshot;
        let owed = if faults.has_lost_cache() || faults.lying { journal.durable } else { journal.begun() };
        let (promised, joined) = journal.promised;
        let lost = last < owed || accepted < promised || current < joined;
        let end = journal.end;
        while journal.tail.pop_back_if(|txn| txn.zxid > last).is_some() {}
        while let Some(txn) = journal.agreed.checked_sub(1).and_then(|at| self.committed.get(at))
            && txn.zxid > last
        {
            journal.agreed -= 1;
        }
        (journal.end, journal.durable, journal.brought_to) = (last, last, Zxid::ZERO);
        journal.barriers.clear();
        (journal.accepted, journal.current) = (accepted, current);
        if lost && faults.has_bad_disk() {
            journal.excused = true;
            journal.promised = (accepted, current);
            find.allow("ZAB-11", || format!("keeper-{id} lost its history up to {end}: {}", faults.how()));
        } else if last < owed {
            find.fire("ZAB-11", || {
                format!(
                    "keeper-{id} starts with a history up to {last}; it had taken everything up to {owed} for durable"
                )
            });
        } else if lost {
            find.fire("ZAB-13", || {
                format!(
                    "keeper-{id} starts with acceptedEpoch {accepted} and currentEpoch {current} after it promised {promised} and joined {joined}"
                )
            });
        }
        if past.is_none() {
            find.fire("ZAB-8", || {
                format!("keeper-{id} starts from a snapshot of {snapshot}, which was never committed")
            });
        }
    }
}
