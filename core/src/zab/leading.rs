//! A leader's own state, and its clock: who learns from it, what is outstanding, who has gone silent. The phases that
//! change it are in discovery.rs, sync.rs and broadcast.rs.

use super::peer::{Fx, Peer, State};
use super::sync::JournalRead;
use super::{Config, Effect, Role};
use crate::api::peer::{Channel, PacketType, QuorumPacket};
use crate::id::{KeeperId, ZabEpoch, Zxid};
use crate::note::zab::ZabNote;
use crate::queue::Queue;
use crate::quorum::KeeperSet;
use crate::time::{Instant, Now, Span, Wake};

/// What a leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leading {
    pub stage: Stage,
    /// The epoch it leads; before `Stage::Gathering` has ended, the highest it has heard of.
    pub epoch: ZabEpoch,
    /// When the stage must have ended. Meaningless once established.
    pub deadline: Instant,
    /// By id.
    pub learners: Vec<Learner>,
    /// Its own history and `currentEpoch` are durable.
    pub own_ack: bool,
    /// The counter of the last proposal of this epoch.
    pub counter: u32,
    /// Proposed and not committed, in order.
    pub outstanding: Queue<Outstanding>,
    /// The next look at the learners, twice each tick, and whether that one ends a tick.
    pub next_beat: Instant,
    pub beat_ends_tick: bool,
}

/// How far a leader has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waits for FOLLOWERINFO from a quorum.
    Gathering,
    /// Writes its `acceptedEpoch`.
    Accepting,
    /// Waits for ACKEPOCH from a quorum.
    Offering,
    /// Waits for a quorum that holds its history.
    Synchronising,
    /// Proposes and commits.
    Established,
}

/// A proposal that waits for a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outstanding {
    pub zxid: Zxid,
    pub acks: KeeperSet,
}

/// One learner, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Learner {
    pub id: KeeperId,
    pub channel: Channel,
    pub observer: bool,
    pub stage: LearnerStage,
    /// When it was heard last.
    pub heard: Instant,
    /// The oldest and the newest proposal whose ACK is timed, as ZooKeeper times two (`SyncLimitCheck`).
    pub timed: Option<(Zxid, Instant)>,
    pub timed_next: Option<(Zxid, Instant)>,
}

/// How far a learner has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LearnerStage {
    /// FOLLOWERINFO arrived.
    Registered,
    /// LEADERINFO was sent.
    Offered,
    /// ACKEPOCH arrived, with the end of its history. `counts`: it had not accepted this epoch before.
    EpochAcked { last: Zxid, counts: bool },
    /// Part of what it lacks is being read from the journal.
    Reading(JournalRead),
    /// The stream up to NEWLEADER was sent; everything proposed or committed follows it.
    Forwarding,
    /// It acknowledged NEWLEADER.
    Joined,
    /// UPTODATE was sent.
    Serving,
}

impl Learner {
    /// Whether it gets what is proposed and committed.
    pub fn is_forwarding(&self) -> bool {
        match self.stage {
            LearnerStage::Registered
            | LearnerStage::Offered
            | LearnerStage::EpochAcked { .. }
            | LearnerStage::Reading(_) => false,
            LearnerStage::Forwarding | LearnerStage::Joined | LearnerStage::Serving => true,
        }
    }

    /// Whether it holds the leader's initial history.
    pub fn has_joined(&self) -> bool {
        matches!(self.stage, LearnerStage::Joined | LearnerStage::Serving)
    }

    /// A proposal was sent to it.
    pub fn time_proposal(&mut self, zxid: Zxid, now: Instant) {
        match self.timed {
            None => self.timed = Some((zxid, now)),
            Some(_) => self.timed_next = Some((zxid, now)),
        }
    }

    /// It acknowledged a proposal.
    pub fn time_ack(&mut self, zxid: Zxid) {
        if self.timed.is_some_and(|(timed, _)| timed == zxid) {
            self.timed = self.timed_next.take();
        } else if self.timed_next.is_some_and(|(timed, _)| timed == zxid) {
            self.timed_next = None;
        }
    }

    /// Why it should be let go, if it should: silence, or a proposal that it leaves unacknowledged.
    fn complaint(&self, config: &Config, now: Instant) -> Option<&'static str> {
        let limit = if self.has_joined() { config.sync_limit } else { config.init_limit };
        let slow = |(_, at): (Zxid, Instant)| now.since(at) > ticks(config, config.sync_limit);
        if now.since(self.heard) > ticks(config, limit) {
            Some("nothing was heard from it within its limit")
        } else if self.timed.is_some_and(slow) {
            Some("it left a proposal unacknowledged for syncLimit ticks")
        } else {
            None
        }
    }
}

/// `limit` ticks.
pub(super) fn ticks(config: &Config, limit: u32) -> Span {
    config.tick * u64::from(limit)
}

impl Leading {
    pub(super) fn new(config: &Config, highest_epoch: ZabEpoch, now: Instant) -> Leading {
        Leading {
            stage: Stage::Gathering,
            epoch: highest_epoch,
            deadline: now + ticks(config, config.init_limit),
            learners: Vec::new(),
            own_ack: false,
            counter: 0,
            outstanding: Queue::new(),
            next_beat: now + config.tick / 2,
            beat_ends_tick: false,
        }
    }

    pub fn learner(&self, id: KeeperId) -> Option<&Learner> {
        self.learners.binary_search_by_key(&id, |learner| learner.id).ok().map(|at| &self.learners[at])
    }

    pub(super) fn learner_mut(&mut self, id: KeeperId) -> Option<&mut Learner> {
        self.learners.binary_search_by_key(&id, |learner| learner.id).ok().map(|at| &mut self.learners[at])
    }

    pub(super) fn insert(&mut self, learner: Learner) {
        match self.learners.binary_search_by_key(&learner.id, |other| other.id) {
            Ok(at) => self.learners[at] = learner,
            Err(at) => self.learners.insert(at, learner),
        }
    }

    pub(super) fn remove(&mut self, id: KeeperId) -> Option<Learner> {
        self.learners.binary_search_by_key(&id, |learner| learner.id).ok().map(|at| self.learners.remove(at))
    }

    /// Whether a quorum of voters satisfies `question`; the leader itself counts if `own`.
    pub(super) fn has_quorum(&self, config: &Config, own: bool, question: impl Fn(&Learner) -> bool) -> bool {
        config.voters.is_reached(|voter| {
            if voter == config.me {
                own
            } else {
                self.learner(voter).is_some_and(|learner| !learner.observer && question(learner))
            }
        })
    }

    pub(super) fn wake_at(&self) -> Wake {
        if self.stage != Stage::Established && self.deadline < self.next_beat {
            return Wake { at: self.deadline, why: "the leader gives up unless a quorum has joined it" };
        }
        Wake { at: self.next_beat, why: "the leader looks at its learners, twice each tick" }
    }
}

impl Peer {
    pub(super) fn become_leading(&mut self, now: Now, fx: &mut Fx) {
        self.state = State::Leading(Box::new(Leading::new(&self.config, self.accepted, now.at)));
        fx.emit(Effect::Became(Role::Leading { epoch: self.accepted, established: false }));
        self.offer_epoch_if_gathered(fx);
    }

    /// Lets a learner go; the leader goes on.
    pub(super) fn drop_learner(&mut self, id: KeeperId, why: &'static str, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        if let Some(learner) = leading.remove(id) {
            fx.note(ZabNote::LearnerDropped { learner: id, why });
            self.hang_up(learner.channel, fx);
        }
    }

    /// Twice each tick: who is silent, who is slow, PING, and once each tick whether a quorum still follows.
    pub(super) fn on_leader_wake(&mut self, now: Now, fx: &mut Fx) {
        let State::Leading(leading) = &mut self.state else { return };
        if leading.stage != Stage::Established && leading.deadline <= now.at {
            return self.step_down("no quorum joined it within initLimit ticks", now, fx);
        }
        if now.at < leading.next_beat {
            return;
        }
        leading.next_beat = now.at + self.config.tick / 2;
        let tick_ends = leading.beat_ends_tick;
        leading.beat_ends_tick = !tick_ends;
        let config = &self.config;
        let complaints: Vec<_> = leading
            .learners
            .iter()
            .filter_map(|learner| learner.complaint(config, now.at).map(|why| (learner.id, why)))
            .collect();
        for (id, why) in complaints {
            self.drop_learner(id, why, fx);
        }
        let State::Leading(leading) = &self.state else { return };
        if leading.stage != Stage::Established {
            return;
        }
        let limit = ticks(&self.config, self.config.sync_limit);
        let alive = |learner: &Learner| now.at.since(learner.heard) <= limit || !learner.has_joined();
        if tick_ends && !leading.has_quorum(&self.config, true, alive) {
            return self.step_down("it hears no quorum within syncLimit ticks", now, fx);
        }
        let last = Zxid::new(leading.epoch, leading.counter);
        for learner in leading.learners.iter().filter(|learner| learner.is_forwarding()) {
            fx.emit(Effect::Send { channel: learner.channel, packet: QuorumPacket::new(PacketType::Ping, last, None) });
        }
    }
}
