//! Phase 2: brings one learner's history up to the leader's (protocol.md A.3, A.4). The leader decides DIFF, TRUNC or
//! SNAP; the learner makes what it got durable, then `currentEpoch`, and then acknowledges NEWLEADER. Knows nothing of
//! sessions, nor of what a database image holds. Upholds ZAB-9, ZAB-10 and ZAB-13.

use super::following::Stage as Learning;
use super::history::History;
use super::leading::{LearnerStage, Stage};
use super::peer::{Fx, Peer, State, Then};
use super::{Effect, Role};
use crate::api::peer::{Channel, PacketType, QuorumPacket};
use crate::api::storage::{Load, StoreOp};
use crate::id::{KeeperId, Zxid};
use crate::machine::Ticket;
use crate::note::zab::{SyncKind, ZabNote, breach};
use crate::rules::NewleaderAck;
use crate::time::Now;
use bytes::Bytes;

/// How the last piece of a database image ends: the jute string "BenWasHere".
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// What a learner gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Its history is a beginning of the leader's: what lies above `after`.
    Diff { after: Zxid },
    /// The same, but memory does not reach back that far: the journal may.
    Journal { after: Zxid },
    /// Its history parts from the leader's behind `to`.
    Trunc { to: Zxid },
    /// Anything else: the database.
    Snap,
}

/// Decides for a learner whose history ends at `peer`; `upto` is the last transaction that counts as committed
/// (protocol.md A.3, table and rule R).
pub fn choose(peer: Zxid, history: &History, upto: Zxid, disk_diff: bool) -> Choice {
    // A bare `e << 32` names no transaction: its holder knows nothing of epoch e.
    let bare = peer.counter() == 0;
    if peer > upto && !bare {
        return Choice::Trunc { to: upto };
    }
    if peer < history.floor() {
        return if disk_diff { Choice::Journal { after: peer } } else { Choice::Snap };
    }
    if history.passes_through(peer) || bare {
        return Choice::Diff { after: peer };
    }
    match history.first_above(peer) {
        Some(next) if next.epoch() == peer.epoch() => Choice::Trunc { to: history.last_below(next) },
        Some(_) | None => Choice::Snap,
    }
}

/// What the journal answered so far, for a learner that memory cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JournalRead {
    ticket: Ticket,
    /// How far the journal was asked.
    upto: Zxid,
    last: Zxid,
    bytes: u64,
    txns: Vec<(Zxid, Bytes)>,
}

/// When a learner hands the history it was sent to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logging {
    /// Before `currentEpoch`, and both before the ACK (ZOOKEEPER-4785, 4394).
    BeforeEpoch,
    /// Once NEWLEADER is acknowledged (ZOOKEEPER-4643).
    AfterAck,
    /// At UPTODATE (ZOOKEEPER-3911).
    AtUpToDate,
}

const fn logging(rule: NewleaderAck) -> Logging {
    match rule {
        NewleaderAck::AfterHistoryAndEpoch => Logging::BeforeEpoch,
        NewleaderAck::EpochFirst => Logging::AfterAck,
        NewleaderAck::BeforeHistory => Logging::AtUpToDate,
    }
}

// The leader.
impl Peer {
    /// Brings up a learner whose ACKEPOCH has arrived.
    pub(super) fn synchronise(&mut self, id: KeeperId, fx: &mut Fx) {
        let upto = self.committed_for_sync();
        let disk_diff = self.config.disk_diff_max_bytes > 0;
        let State::Leading(leading) = &self.state else { return };
        let Some(learner) = leading.learner(id) else { return };
        let LearnerStage::EpochAcked { last: from, .. } = learner.stage else { return };
        let channel = learner.channel;
        let choice = choose(from, &self.history, upto, disk_diff);
        match choice {
            Choice::Diff { after } => {
                fx.note(ZabNote::SyncChosen { learner: id, sync: SyncKind::Diff, from, to: upto });
                send(channel, PacketType::Diff, upto, fx);
                self.forward_from(id, channel, after, fx);
            }
            Choice::Trunc { to } => {
                fx.note(ZabNote::SyncChosen { learner: id, sync: SyncKind::Trunc, from, to });
                self.forget_acks(id);
                send(channel, PacketType::Trunc, to, fx);
                self.forward_from(id, channel, to, fx);
            }
            Choice::Snap => self.send_database(id, channel, from, fx),
            Choice::Journal { after } => {
                // From the learner's own last transaction on, to see that it is the leader's too.
                let after = Zxid(after.0 - u64::from(after.counter() > 0));
                let (ticket, upto) = self.read_journal(after, fx);
                let read = JournalRead { ticket, upto, last: from, bytes: 0, txns: Vec::new() };
                self.set_stage(id, LearnerStage::Reading(read));
            }
        }
    }

    /// What a learner is told is committed: the whole history of a leader that is not established, for it will be when
    /// the leader is.
    fn committed_for_sync(&self) -> Zxid {
        match &self.state {
            State::Leading(leading) if leading.stage == Stage::Established => self.history.committed(),
            State::Looking { .. } | State::Leading(_) | State::Following(_) => self.history.appended(),
        }
    }

    /// Asks the journal for what lies between `after` and the memory.
    fn read_journal(&mut self, after: Zxid, fx: &mut Fx) -> (Ticket, Zxid) {
        let (upto, max_bytes) = (self.history.floor(), self.config.load_bytes);
        (self.load(Load::Txns { after, upto, max_bytes }, fx), upto)
    }

    fn set_stage(&mut self, id: KeeperId, stage: LearnerStage) {
        if let State::Leading(leading) = &mut self.state
            && let Some(learner) = leading.learner_mut(id)
        {
            learner.stage = stage;
        }
    }

    /// What a learner is about to lose no longer counts. (ZooKeeper keeps these ACKs: with a leader whose own fsync is
    /// late, a transaction could commit by the ACK of a follower that was told to cut it.)
    fn forget_acks(&mut self, id: KeeperId) {
        if let State::Leading(leading) = &mut self.state {
            for outstanding in &mut leading.outstanding {
                outstanding.acks.remove(id);
            }
        }
    }

    fn send_database(&mut self, id: KeeperId, channel: Channel, from: Zxid, fx: &mut Fx) {
        let applied = self.history.applied();
        fx.note(ZabNote::SyncChosen { learner: id, sync: SyncKind::Snap, from, to: applied });
        self.forget_acks(id);
        send(channel, PacketType::Snap, applied, fx);
        fx.emit(Effect::Dump { channel, zxid: applied });
        self.forward_from(id, channel, applied, fx);
    }

    /// The rest of the stream: committed transactions in pairs, outstanding proposals, NEWLEADER. From here on the
    /// learner gets everything that is proposed and committed.
    fn forward_from(&mut self, id: KeeperId, channel: Channel, after: Zxid, fx: &mut Fx) {
        let upto = self.committed_for_sync();
        let State::Leading(leading) = &mut self.state else { return };
        let epoch = leading.epoch;
        let Some(learner) = leading.learner_mut(id) else { return };
        learner.stage = LearnerStage::Forwarding;
        let observer = learner.observer;
        for (zxid, txn) in self.history.above(after) {
            let committed = *zxid <= upto;
            if committed || !observer {
                let packet = QuorumPacket::new(PacketType::Proposal, *zxid, Some(txn.clone()));
                fx.emit(Effect::Send { channel, packet });
            }
            if committed {
                send(channel, PacketType::Commit, *zxid, fx);
            }
        }
        send(channel, PacketType::NewLeader, Zxid::start_of(epoch), fx);
    }

    /// A piece of the journal, for a learner that waits for it.
    pub(super) fn on_journal_read(
        &mut self,
        ticket: Ticket,
        txns: Option<Vec<(Zxid, Bytes)>>,
        complete: bool,
        fx: &mut Fx,
    ) {
        let (floor, limit) = (self.history.floor(), self.config.disk_diff_max_bytes);
        let State::Leading(leading) = &mut self.state else { return };
        let waits = |stage: &LearnerStage| matches!(stage, LearnerStage::Reading(read) if read.ticket == ticket);
        let Some(learner) = leading.learners.iter_mut().find(|learner| waits(&learner.stage)) else { return };
        let (id, channel) = (learner.id, learner.channel);
        let LearnerStage::Reading(read) = &mut learner.stage else { return };
        let from = read.last;
        let Some(mut txns) = txns.filter(|txns| read.accepts(txns)) else {
            return self.send_database(id, channel, from, fx);
        };
        if txns.first().is_some_and(|(zxid, _)| *zxid == from) {
            txns.remove(0);
        }
        read.bytes += txns.iter().map(|(_, txn)| txn.len() as u64).sum::<u64>();
        read.txns.append(&mut txns);
        let end = read.txns.last().map_or(from, |(zxid, _)| *zxid);
        let gap = complete && end < read.upto;
        if read.bytes > limit || gap {
            return self.send_database(id, channel, from, fx);
        }
        if end < floor {
            // More to come, or the memory's beginning moved on meanwhile.
            let (ticket, upto) = self.read_journal(end, fx);
            return self.continue_reading(id, ticket, upto);
        }
        let txns = core::mem::take(&mut read.txns);
        let upto = self.committed_for_sync();
        fx.note(ZabNote::SyncChosen { learner: id, sync: SyncKind::DiffFromDisk, from, to: upto });
        send(channel, PacketType::Diff, upto, fx);
        for (zxid, txn) in txns {
            fx.emit(Effect::Send { channel, packet: QuorumPacket::new(PacketType::Proposal, zxid, Some(txn)) });
            send(channel, PacketType::Commit, zxid, fx);
        }
        self.forward_from(id, channel, end, fx);
    }

    fn continue_reading(&mut self, id: KeeperId, ticket: Ticket, upto: Zxid) {
        if let State::Leading(leading) = &mut self.state
            && let Some(learner) = leading.learner_mut(id)
            && let LearnerStage::Reading(read) = &mut learner.stage
        {
            (read.ticket, read.upto) = (ticket, upto);
        }
    }

    /// ACK of NEWLEADER.
    pub(super) fn on_new_leader_ack(&mut self, from: KeeperId, now: Now, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        let stage = leading.stage;
        let Some(learner) = leading.learner_mut(from).filter(|learner| learner.stage == LearnerStage::Forwarding)
        else {
            // UPTODATE is acknowledged in the same words; that one is ignored.
            return;
        };
        learner.stage = LearnerStage::Joined;
        match stage {
            Stage::Gathering | Stage::Accepting | Stage::Offering => {}
            Stage::Synchronising => self.establish_if_joined(now, fx),
            Stage::Established => self.send_up_to_date(from, fx),
        }
    }

    /// The leader's own history and `currentEpoch` are durable.
    pub(super) fn count_own_new_leader(&mut self, now: Now, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        leading.own_ack = true;
        self.establish_if_joined(now, fx);
    }

    /// A quorum holds the leader's history: all of it is committed.
    fn establish_if_joined(&mut self, now: Now, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        if leading.stage != Stage::Synchronising
            || !leading.has_quorum(&self.config, leading.own_ack, |learner| learner.has_joined())
        {
            return;
        }
        leading.stage = Stage::Established;
        leading.next_beat = now.at + self.config.tick / 2;
        leading.beat_ends_tick = false;
        let epoch = leading.epoch;
        let joined: Vec<_> =
            leading.learners.iter().filter(|learner| learner.has_joined()).map(|learner| learner.id).collect();
        self.election.refresh_epoch(epoch);
        let history = self.history.appended();
        fx.note(ZabNote::Established { epoch, history });
        self.history.advance_committed(history);
        self.apply_committed(fx);
        fx.emit(Effect::Became(Role::Leading { epoch, established: true }));
        for id in joined {
            self.send_up_to_date(id, fx);
        }
    }

    fn send_up_to_date(&mut self, id: KeeperId, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        let Some(learner) = leading.learner_mut(id) else { return };
        learner.stage = LearnerStage::Serving;
        let packet = QuorumPacket { kind: PacketType::UpToDate, zxid: -1, data: None, authinfo: None };
        fx.emit(Effect::Send { channel: learner.channel, packet });
    }
}

impl JournalRead {
    /// Whether this piece goes on where the learner's history, or the last piece, ended.
    fn accepts(&self, txns: &[(Zxid, Bytes)]) -> bool {
        if !self.txns.is_empty() || self.last.counter() == 0 {
            return true;
        }
        txns.first().is_some_and(|(zxid, _)| *zxid == self.last)
    }
}

// The learner.
impl Peer {
    /// DIFF, TRUNC or SNAP.
    pub(super) fn on_sync_header(&mut self, kind: PacketType, zxid: Zxid, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        following.stage = Learning::Synchronising;
        following.previous = None;
        match kind {
            PacketType::Trunc => self.truncate(zxid, fx),
            PacketType::Snap => following.image = Some((zxid, Vec::new())),
            _ => {}
        }
        self.agree_so_far();
    }

    /// What is left here is a beginning of the leader's history, and committed once that is a quorum's.
    fn agree_so_far(&mut self) {
        let agreed = self.history.appended();
        if let State::Following(following) = &mut self.state {
            following.commit_upto = agreed;
        }
    }

    /// A piece of the database.
    pub(super) fn on_image_piece(&mut self, piece: &[u8], now: Now, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        match &mut following.image {
            Some((_, image)) => image.extend_from_slice(piece),
            None => self.step_down(breach::NO_DATABASE, now, fx),
        }
    }

    /// The pieces have ended, for something else arrived: the database takes the place of what was here. (A znode may
    /// hold the signature too, so that it ends nothing by itself.) False if the pieces are not whole.
    pub(super) fn complete_image(&mut self, now: Now, fx: &mut Fx) -> bool {
        let State::Following(following) = &mut self.state else { return false };
        let Some((zxid, image)) = following.image.take() else { return true };
        if !image.ends_with(SIGNATURE) {
            self.step_down(breach::UNSIGNED, now, fx);
            return false;
        }
        self.restore(zxid, Bytes::from(image), fx);
        self.agree_so_far();
        true
    }

    /// The history is complete: make it durable, then the epoch, then say so.
    pub(super) fn on_new_leader(&mut self, now: Now, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        following.stage = Learning::Joining;
        following.heard(&self.config, now.at);
        let (epoch, committed) = (following.epoch, following.commit_upto);
        if logging(self.config.rules.newleader_ack) == Logging::BeforeEpoch {
            self.append(committed, fx);
        }
        self.current = epoch;
        fx.emit(Effect::Store(StoreOp::CurrentEpoch(epoch)));
        self.sync(Then::AckNewLeader, fx);
    }

    /// History and `currentEpoch` are durable.
    pub(super) fn ack_new_leader(&mut self, _now: Now, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        following.stage = Learning::Joined;
        let (epoch, committed) = (following.epoch, following.commit_upto);
        fx.note(ZabNote::Joined { epoch });
        if let Some(channel) = self.channel_to_leader() {
            send(channel, PacketType::Ack, Zxid::start_of(epoch), fx);
        }
        if logging(self.config.rules.newleader_ack) == Logging::AfterAck {
            self.append(committed, fx);
            self.sync(Then::Nothing, fx);
        }
    }

    /// A quorum holds the leader's history: serve.
    pub(super) fn on_up_to_date(&mut self, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        following.stage = Learning::Serving;
        let (leader, epoch, commit_upto) = (following.leader, following.epoch, following.commit_upto);
        self.election.refresh_epoch(epoch);
        if let Some(channel) = self.channel_to_leader() {
            send(channel, PacketType::Ack, Zxid::start_of(epoch), fx);
        }
        let committed = commit_upto.max(self.history.committed());
        self.log_proposals(fx);
        self.history.advance_committed(committed);
        fx.note(ZabNote::UpToDate { leader, committed });
        self.apply_committed(fx);
        fx.emit(Effect::Became(match self.config.is_observer() {
            true => Role::Observing { leader, serving: true },
            false => Role::Following { leader, serving: true },
        }));
    }
}

/// A packet without data.
pub(super) fn send(channel: Channel, kind: PacketType, zxid: Zxid, fx: &mut Fx) {
    fx.emit(Effect::Send { channel, packet: QuorumPacket::new(kind, zxid, None) });
}
