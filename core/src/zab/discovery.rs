//! Phase 1: learners and their leader agree on a new epoch (protocol.md A.2). `acceptedEpoch` is durable on both sides
//! before the other side hears of it, so that no older leader is followed again. Upholds ZAB-1 and ZAB-13.

use super::Effect;
use super::following::Stage as Learning;
use super::leading::{Leading, Learner, LearnerStage, Stage, ticks};
use super::peer::{Fx, Peer, State, Then};
use crate::api::peer::{Channel, ChannelKind, PacketType, QuorumPacket};
use crate::api::storage::StoreOp;
use crate::codec::{Reader, Writer};
use crate::id::{KeeperId, ZabEpoch, Zxid};
use crate::note::zab::{ZabNote, breach};
use crate::time::Now;
use bytes::Bytes;

/// The version of the quorum protocol that FOLLOWERINFO and LEADERINFO carry.
const PROTOCOL_VERSION: i32 = 0x10000;

impl Peer {
    // The learner.

    /// FOLLOWERINFO or OBSERVERINFO, if the leader can be reached.
    pub(super) fn register(&mut self, now: Now, fx: &mut Fx) {
        let State::Following(following) = &self.state else { return };
        let Some(channel) = self.channel(following.leader, ChannelKind::Quorum) else { return };
        let mut data = Writer::with_capacity(20);
        data.i64(i64::from(self.config.me.0));
        data.i32(PROTOCOL_VERSION);
        data.i64(0);
        let kind = if self.config.is_observer() { PacketType::ObserverInfo } else { PacketType::FollowerInfo };
        let packet = QuorumPacket::new(kind, Zxid::start_of(self.accepted), Some(data.finish()));
        fx.emit(Effect::Send { channel, packet });
        if let State::Following(following) = &mut self.state {
            following.stage = Learning::Registered;
            following.deadline = now.at + ticks(&self.config, self.config.init_limit);
        }
    }

    pub(super) fn on_quorum_up(&mut self, peer: KeeperId, now: Now, fx: &mut Fx) {
        let State::Following(following) = &self.state else { return };
        // The try under way was waiting for this channel; as late as it comes, it is not another try.
        if following.leader == peer && following.stage == Learning::Connecting && !following.refused {
            self.register(now, fx);
        }
    }

    pub(super) fn on_leader_info(&mut self, epoch: ZabEpoch, now: Now, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        if epoch < self.accepted {
            return self.step_down("its leader offers an epoch older than the accepted one", now, fx);
        }
        following.epoch = epoch;
        following.stage = Learning::Accepting;
        if epoch > self.accepted {
            self.accepted = epoch;
            fx.emit(Effect::Store(StoreOp::AcceptedEpoch(epoch)));
            self.sync(Then::AckEpoch, fx);
        } else {
            // It may have been counted in this epoch before: "do not count me again".
            self.send_ack_epoch(-1, fx);
        }
    }

    /// `acceptedEpoch` is durable.
    pub(super) fn ack_epoch(&mut self, fx: &mut Fx) {
        fx.note(ZabNote::EpochAccepted { epoch: self.accepted });
        self.send_ack_epoch(self.current.0 as i32, fx);
    }

    fn send_ack_epoch(&mut self, current: i32, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        following.stage = Learning::EpochAcked;
        let data = Bytes::copy_from_slice(&current.to_be_bytes());
        let packet = QuorumPacket::new(PacketType::AckEpoch, self.history.appended(), Some(data));
        if let Some(channel) = self.channel_to_leader() {
            fx.emit(Effect::Send { channel, packet });
        }
    }

    pub(super) fn channel_to_leader(&self) -> Option<Channel> {
        match &self.state {
            State::Following(following) => self.channel(following.leader, ChannelKind::Quorum),
            State::Looking { .. } | State::Leading(_) => None,
        }
    }

    // The leader.

    pub(super) fn on_learner_info(
        &mut self,
        from: KeeperId,
        channel: Channel,
        packet: &QuorumPacket,
        now: Now,
        fx: &mut Fx,
    ) {
        if !is_learner_info(packet) {
            return self.hang_up(channel, fx);
        }
        let State::Leading(leading) = &mut self.state else { return };
        let observer = packet.kind == PacketType::ObserverInfo || !self.config.voters.is_voter(from);
        leading.insert(Learner {
            id: from,
            channel,
            observer,
            stage: LearnerStage::Registered,
            heard: now.at,
            timed: None,
            timed_next: None,
        });
        match leading.stage {
            Stage::Gathering => {
                leading.epoch = leading.epoch.max(packet.zxid().epoch());
                self.offer_epoch_if_gathered(fx);
            }
            Stage::Accepting => {}
            Stage::Offering | Stage::Synchronising | Stage::Established => self.offer_epoch_to(from, fx),
        }
    }

    /// Fixes the epoch once a quorum, the leader included, has told what it accepted.
    pub(super) fn offer_epoch_if_gathered(&mut self, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        if leading.stage != Stage::Gathering || !leading.has_quorum(&self.config, true, |_| true) {
            return;
        }
        leading.epoch = ZabEpoch(leading.epoch.max(self.accepted).0 + 1);
        leading.stage = Stage::Accepting;
        self.accepted = leading.epoch;
        fx.emit(Effect::Store(StoreOp::AcceptedEpoch(self.accepted)));
        self.sync(Then::OfferEpoch, fx);
    }

    /// The leader's `acceptedEpoch` is durable.
    pub(super) fn offer_epoch(&mut self, now: Now, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        fx.note(ZabNote::EpochAccepted { epoch: leading.epoch });
        leading.stage = Stage::Offering;
        leading.deadline = now.at + ticks(&self.config, self.config.init_limit);
        let registered: Vec<_> = leading.learners.iter().map(|learner| learner.id).collect();
        for id in registered {
            self.offer_epoch_to(id, fx);
        }
        self.synchronise_if_epoch_acked(now, fx);
    }

    fn offer_epoch_to(&mut self, id: KeeperId, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        let epoch = leading.epoch;
        let Some(learner) = leading.learner_mut(id) else { return };
        learner.stage = LearnerStage::Offered;
        let data = Bytes::copy_from_slice(&PROTOCOL_VERSION.to_be_bytes());
        let packet = QuorumPacket::new(PacketType::LeaderInfo, Zxid::start_of(epoch), Some(data));
        fx.emit(Effect::Send { channel: learner.channel, packet });
    }

    pub(super) fn on_ack_epoch(&mut self, from: KeeperId, packet: &QuorumPacket, now: Now, fx: &mut Fx) {
        let Some(current) =
            packet.data.as_ref().and_then(|data| data.first_chunk::<4>()).map(|raw| i32::from_be_bytes(*raw))
        else {
            return self.drop_learner(from, breach::NO_EPOCH, fx);
        };
        let (own, last) = ((self.current, self.history.appended()), packet.zxid());
        let State::Leading(leading) = &mut self.state else { return };
        let stage = leading.stage;
        let Some(learner) = leading.learner_mut(from).filter(|learner| learner.stage == LearnerStage::Offered) else {
            return self.drop_learner(from, breach::EPOCH_OUT_OF_TURN, fx);
        };
        if stage == Stage::Offering && current >= 0 && (ZabEpoch(current as u32), last) > own {
            return self.drop_learner(from, "its history is ahead of the leader's", fx);
        }
        learner.stage = LearnerStage::EpochAcked { last, counts: current >= 0 };
        match stage {
            Stage::Gathering | Stage::Accepting => {}
            Stage::Offering => self.synchronise_if_epoch_acked(now, fx),
            Stage::Synchronising | Stage::Established => self.synchronise(from, fx),
        }
    }

    /// A quorum promised the epoch: it becomes the leader's own, and the learners are brought up.
    fn synchronise_if_epoch_acked(&mut self, now: Now, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        let acked = |learner: &Learner| matches!(learner.stage, LearnerStage::EpochAcked { counts: true, .. });
        if leading.stage != Stage::Offering || !leading.has_quorum(&self.config, true, acked) {
            return;
        }
        leading.stage = Stage::Synchronising;
        leading.deadline = now.at + ticks(&self.config, self.config.init_limit);
        self.current = leading.epoch;
        let waiting = epoch_acked(leading);
        fx.emit(Effect::Store(StoreOp::CurrentEpoch(self.current)));
        self.sync(Then::CountOwnNewLeader, fx);
        for id in waiting {
            self.synchronise(id, fx);
        }
    }
}

fn epoch_acked(leading: &Leading) -> Vec<KeeperId> {
    let acked = |learner: &&Learner| matches!(learner.stage, LearnerStage::EpochAcked { .. });
    leading.learners.iter().filter(acked).map(|learner| learner.id).collect()
}

/// Whether FOLLOWERINFO or OBSERVERINFO carries what it must, and a configuration no newer than ours, which is static.
fn is_learner_info(packet: &QuorumPacket) -> bool {
    let mut data = Reader::new(packet.data.clone().unwrap_or_default());
    let read =
        |data: &mut Reader| -> crate::codec::Result<(i64, i32, i64)> { Ok((data.i64()?, data.i32()?, data.i64()?)) };
    matches!(read(&mut data), Ok((_, version, config)) if version >= PROTOCOL_VERSION && config <= 0)
}
