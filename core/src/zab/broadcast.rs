//! Phase 3: PROPOSAL, ACK, COMMIT, in zxid order and pipelined (protocol.md A.5); and what travels beside them. The
//! leader's own vote counts once its own disk has answered. Upholds ZAB-2 to ZAB-8 and ZAB-11.

use super::Effect;
use super::following::Stage as Learning;
use super::leading::{LearnerStage, Outstanding, Stage};
use super::peer::{Fx, Peer, State, Then};
use super::sync::send;
use crate::api::peer::{Channel, PacketType, QuorumPacket};
use crate::id::{KeeperId, Zxid};
use crate::machine::Effects;
use crate::note::zab::{ZabNote, breach};
use crate::quorum::KeeperSet;
use crate::rules::ProposalAck;
use crate::time::Now;
use bytes::Bytes;

// The leader.
impl Peer {
    /// The zxid that the next proposal must carry. `None`: not an established leader, or the counter is used up, in
    /// which case the leader has just stepped down for a new epoch (ZOOKEEPER-1277).
    pub fn next_zxid(&mut self, now: Now, fx: &mut Effects<Effect>) -> Option<Zxid> {
        let limit = self.config.counter_limit;
        let leading = self.leading().filter(|leading| leading.stage == Stage::Established)?;
        let (epoch, counter) = (leading.epoch, leading.counter + 1);
        if counter >= limit {
            self.step_down("the counter of its epoch is used up", now, fx);
            return None;
        }
        Some(Zxid::new(epoch, counter))
    }

    /// Proposes a transaction under the zxid that `next_zxid` gave.
    pub fn propose(&mut self, now: Now, zxid: Zxid, txn: Bytes, fx: &mut Effects<Effect>) {
        let State::Leading(leading) = &mut self.state else {
            panic!("{zxid} is proposed by a peer that does not lead")
        };
        let next = Zxid::new(leading.epoch, leading.counter + 1);
        assert!(leading.stage == Stage::Established && zxid == next, "{zxid} is proposed where {next} is due");
        leading.counter += 1;
        leading.outstanding.push_back(Outstanding { zxid, acks: KeeperSet::default() });
        fx.note(ZabNote::Proposed { zxid });
        for learner in leading.learners.iter_mut().filter(|learner| !learner.observer && learner.is_forwarding()) {
            if learner.stage == LearnerStage::Serving {
                learner.time_proposal(zxid, now.at);
            }
            let packet = QuorumPacket::new(PacketType::Proposal, zxid, Some(txn.clone()));
            fx.emit(Effect::Send { channel: learner.channel, packet });
        }
        self.history.receive(zxid, txn);
        self.append(zxid, fx);
        self.sync(Then::CountOwnAck { upto: zxid }, fx);
    }

    /// The leader's proposals up to `upto` are on its own disk.
    pub(super) fn count_own_ack(&mut self, upto: Zxid, fx: &mut Fx) {
        let me = self.config.me;
        let State::Leading(leading) = &mut self.state else { return };
        for outstanding in leading.outstanding.iter_mut().take_while(|outstanding| outstanding.zxid <= upto) {
            outstanding.acks.insert(me);
        }
        self.advance_committed(fx);
    }

    fn on_ack(&mut self, from: KeeperId, zxid: Zxid, now: Now, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        let (epoch, last) = (leading.epoch, Zxid::new(leading.epoch, leading.counter));
        if zxid == Zxid::start_of(epoch) {
            return self.on_new_leader_ack(from, now, fx);
        }
        if zxid > last {
            return self.drop_learner(from, breach::NEVER_PROPOSED, fx);
        }
        let Some(learner) = leading.learner_mut(from).filter(|learner| !learner.observer && learner.has_joined())
        else {
            return;
        };
        learner.time_ack(zxid);
        let Ok(at) = leading.outstanding.binary_search_by_key(&zxid, |outstanding| outstanding.zxid) else { return };
        leading.outstanding[at].acks.insert(from);
        if at == 0 {
            self.advance_committed(fx);
        }
    }

    /// Commits, strictly in order, what a quorum has on disk.
    fn advance_committed(&mut self, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        let mut committed = None;
        while let Some(first) = leading.outstanding.front()
            && self.config.voters.is_reached(|voter| first.acks.contains(voter))
        {
            let zxid = first.zxid;
            committed = Some(zxid);
            leading.outstanding.pop_front();
            for learner in leading.learners.iter().filter(|learner| learner.is_forwarding()) {
                if !learner.observer {
                    send(learner.channel, PacketType::Commit, zxid, fx);
                } else if let Some((_, txn)) = self.history.above(Zxid(zxid.0 - 1)).next() {
                    let packet = QuorumPacket::new(PacketType::Inform, zxid, Some(txn.clone()));
                    fx.emit(Effect::Send { channel: learner.channel, packet });
                }
            }
        }
        if let Some(upto) = committed {
            self.history.advance_committed(upto);
            self.apply_committed(fx);
        }
    }

    /// A packet from a peer, while this one leads.
    pub(super) fn on_learner_packet(
        &mut self,
        from: KeeperId,
        channel: Channel,
        packet: QuorumPacket,
        now: Now,
        fx: &mut Fx,
    ) {
        if matches!(packet.kind, PacketType::FollowerInfo | PacketType::ObserverInfo) {
            return self.on_learner_info(from, channel, &packet, now, fx);
        }
        let State::Leading(leading) = &mut self.state else { return };
        let established = leading.stage == Stage::Established;
        let Some(learner) = leading.learner_mut(from).filter(|learner| learner.channel == channel) else {
            return self.hang_up(channel, fx);
        };
        learner.heard = now.at;
        match packet.kind {
            PacketType::AckEpoch => self.on_ack_epoch(from, &packet, now, fx),
            PacketType::Ack => self.on_ack(from, packet.zxid(), now, fx),
            PacketType::Ping => fx.emit(Effect::Touched { from, table: packet.data.unwrap_or_default() }),
            PacketType::Request | PacketType::Revalidate | PacketType::Sync if established => {
                fx.emit(Effect::FromLearner { from, packet });
            }
            PacketType::Request | PacketType::Revalidate | PacketType::Sync => {}
            PacketType::FollowerInfo | PacketType::ObserverInfo => {}
            PacketType::Proposal
            | PacketType::Commit
            | PacketType::Inform
            | PacketType::CommitAndActivate
            | PacketType::InformAndActivate
            | PacketType::NewLeader
            | PacketType::UpToDate
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::SnapPiece
            | PacketType::LeaderInfo => self.drop_learner(from, breach::LEADERS_PACKET, fx),
        }
    }

    /// The last outstanding proposal: a `sync` waits until it is applied. `None`: answer at once.
    pub fn last_outstanding(&self) -> Option<Zxid> {
        self.leading()?.outstanding.back().map(|outstanding| outstanding.zxid)
    }

    /// The leader sends a SYNC or REVALIDATE answer to a learner, behind what it has sent it before; false if it is
    /// gone.
    pub fn send_to(&mut self, learner: KeeperId, packet: QuorumPacket, fx: &mut Effects<Effect>) -> bool {
        let Some(learner) = self.leading().and_then(|leading| leading.learner(learner)) else { return false };
        fx.emit(Effect::Send { channel: learner.channel, packet });
        true
    }
}

// The learner.
impl Peer {
    /// A packet from the leader.
    pub(super) fn on_leader_packet(&mut self, packet: QuorumPacket, now: Now, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        following.heard(&self.config, now.at);
        let (stage, zxid) = (following.stage, packet.zxid());
        let image_ends = following.image.is_some() && !matches!(packet.kind, PacketType::SnapPiece | PacketType::Ping);
        if image_ends && !self.complete_image(now, fx) {
            return;
        }
        let in_stream = stage >= Learning::Synchronising;
        let data = |packet: QuorumPacket| packet.data.unwrap_or_default();
        match packet.kind {
            PacketType::LeaderInfo if stage == Learning::Registered => self.on_leader_info(zxid.epoch(), now, fx),
            PacketType::Diff | PacketType::Trunc | PacketType::Snap if stage == Learning::EpochAcked => {
                self.on_sync_header(packet.kind, zxid, fx);
            }
            PacketType::SnapPiece if stage == Learning::Synchronising => self.on_image_piece(&data(packet), now, fx),
            PacketType::Proposal if in_stream => {
                self.on_proposal(zxid, data(packet), now, fx);
            }
            PacketType::Commit if in_stream => self.on_commit(zxid, now, fx),
            PacketType::Inform if in_stream => {
                if self.on_proposal(zxid, data(packet), now, fx) {
                    self.on_commit(zxid, now, fx);
                }
            }
            PacketType::NewLeader if stage == Learning::Synchronising => self.on_new_leader(now, fx),
            PacketType::UpToDate if stage == Learning::Joined => self.on_up_to_date(fx),
            // Before UPTODATE the learner has no sessions to speak of; ZooKeeper's ignores PING there too.
            PacketType::Ping => {
                if stage == Learning::Serving
                    && let Some(channel) = self.channel_to_leader()
                {
                    fx.emit(Effect::AnswerPing { channel, zxid });
                }
            }
            PacketType::Sync | PacketType::Revalidate if stage == Learning::Serving => {
                fx.emit(Effect::FromLeader { packet });
            }
            PacketType::Sync | PacketType::Revalidate => {}
            // By votes of before each took the other for the leader: neither is.
            PacketType::FollowerInfo | PacketType::ObserverInfo => {
                self.step_down("its leader takes it for the leader", now, fx);
            }
            PacketType::LeaderInfo
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::SnapPiece
            | PacketType::Proposal
            | PacketType::Commit
            | PacketType::Inform
            | PacketType::NewLeader
            | PacketType::UpToDate
            | PacketType::Request
            | PacketType::Ack
            | PacketType::AckEpoch
            | PacketType::CommitAndActivate
            | PacketType::InformAndActivate => {
                self.step_down(breach::OUT_OF_TURN, now, fx);
            }
        }
    }

    /// A proposal. In the stream of a synchronisation it waits in memory; serving, it is logged. False if it was refused.
    fn on_proposal(&mut self, zxid: Zxid, txn: Bytes, now: Now, fx: &mut Fx) -> bool {
        let received = self.history.received();
        let State::Following(following) = &mut self.state else { return false };
        let previous = following.previous.unwrap_or(received);
        if zxid <= received {
            // It is here already: a leader may send again what a database image held.
            return true;
        }
        if following.previous.is_some() && !follows(previous, zxid) {
            self.step_down(breach::LEFT_OUT, now, fx);
            return false;
        }
        following.previous = Some(zxid);
        let serving = following.stage == Learning::Serving;
        self.history.receive(zxid, txn);
        if serving {
            self.log_proposals(fx);
        }
        true
    }

    /// Hands what was received to the disk, and promises an ACK for each proposal of this epoch.
    pub(super) fn log_proposals(&mut self, fx: &mut Fx) {
        let State::Following(following) = &self.state else { return };
        let epoch = following.epoch;
        let (before, last) = (self.history.appended(), self.history.received());
        if before == last {
            return;
        }
        let first = self.history.first_above(before.max(Zxid::start_of(epoch)));
        self.append(last, fx);
        let then = match first {
            Some(first) if !self.config.is_observer() => Then::AckProposals { first, last },
            Some(_) | None => Then::Nothing,
        };
        match (self.config.rules.proposal_ack, then) {
            (ProposalAck::BeforeSync, Then::AckProposals { first, last }) => {
                self.ack_proposals(first, last, fx);
                self.sync(Then::Nothing, fx);
            }
            (ProposalAck::AfterSync | ProposalAck::BeforeSync, then) => self.sync(then, fx),
        }
    }

    /// An ACK for each: Apache's leader counts them per zxid.
    pub(super) fn ack_proposals(&mut self, first: Zxid, last: Zxid, fx: &mut Fx) {
        let Some(channel) = self.channel_to_leader() else { return };
        for zxid in first.0..=last.0 {
            send(channel, PacketType::Ack, Zxid(zxid), fx);
        }
    }

    fn on_commit(&mut self, zxid: Zxid, now: Now, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        if following.stage != Learning::Serving {
            if zxid > self.history.received() {
                return self.step_down(breach::NOT_PROPOSED, now, fx);
            }
            following.commit_upto = following.commit_upto.max(zxid);
            return;
        }
        if zxid <= self.history.committed() {
            return;
        }
        match self.history.first_above(self.history.committed()) {
            Some(next) if next == zxid => {
                self.history.advance_committed(zxid);
                self.apply_committed(fx);
            }
            Some(next) => {
                fx.note(ZabNote::SteppedDown { why: breach::PARTED });
                fx.emit(Effect::Halt {
                    why: format!("the leader committed {zxid} where {next} is due: the histories have parted"),
                });
            }
            None => {}
        }
    }

    /// Sends a REQUEST, SYNC or REVALIDATE to the leader; false if there is none to send to.
    pub fn forward(&mut self, packet: QuorumPacket, fx: &mut Effects<Effect>) -> bool {
        let serving = matches!(&self.state, State::Following(following) if following.stage == Learning::Serving);
        match self.channel_to_leader().filter(|_| serving) {
            Some(channel) => {
                fx.emit(Effect::Send { channel, packet });
                true
            }
            None => false,
        }
    }
}

/// Whether a proposal may follow another: the next counter, or the first of a later epoch (ZOOKEEPER-4925).
fn follows(previous: Zxid, zxid: Zxid) -> bool {
    zxid.0 == previous.0 + 1 || (zxid.epoch() > previous.epoch() && zxid.counter() == 1)
}
