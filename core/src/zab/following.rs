//! A learner's own state, and its clock. The phases that change it are in discovery.rs, sync.rs and broadcast.rs.

use super::leading::ticks;
use super::peer::{Fx, Peer, State};
use super::{Config, Effect, Role};
use crate::api::peer::ChannelKind;
use crate::id::{KeeperId, ZabEpoch, Zxid};
use crate::time::{Instant, Now, Wake};

/// How often a learner tries to reach a leader that is not there (yet).
const TRIES: u8 = 5;

/// What a learner (a follower or an observer) knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Following {
    pub leader: KeeperId,
    pub stage: Stage,
    /// The leader's epoch, once LEADERINFO told it.
    pub epoch: ZabEpoch,
    /// The end of what the leader sent, which the next proposal must follow; none right behind the header.
    pub previous: Option<Zxid>,
    /// What the leader said is committed, before UPTODATE makes it so here.
    pub commit_upto: Zxid,
    /// The database image as far as it has come.
    pub image: Option<(Zxid, Vec<u8>)>,
    /// The socket's time-out: nothing heard until then, and the leader is lost.
    pub deadline: Instant,
    /// Tries to reach the leader so far, and when the next may be.
    pub tries: u8,
    pub retry_at: Instant,
    /// The last try was refused: the next waits for its time, even if the channel is up again before.
    pub refused: bool,
}

/// How far a learner has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waits for the channel to its leader, or for its next try.
    Connecting,
    /// FOLLOWERINFO was sent.
    Registered,
    /// Writes its `acceptedEpoch`.
    Accepting,
    /// ACKEPOCH was sent.
    EpochAcked,
    /// DIFF, TRUNC or SNAP arrived, NEWLEADER has not.
    Synchronising,
    /// NEWLEADER arrived; its ACK waits for the disk.
    Joining,
    /// NEWLEADER is acknowledged.
    Joined,
    /// UPTODATE arrived.
    Serving,
}

impl Following {
    pub(super) fn wake_at(&self) -> Wake {
        match self.stage {
            Stage::Connecting => Wake { at: self.retry_at, why: "the learner tries again to reach its leader" },
            Stage::Registered
            | Stage::Accepting
            | Stage::EpochAcked
            | Stage::Synchronising
            | Stage::Joining
            | Stage::Joined
            | Stage::Serving => {
                Wake { at: self.deadline, why: "the learner gives up its leader unless it hears from it" }
            }
        }
    }

    /// The socket's time-out: initLimit ticks until the history is agreed on, syncLimit ticks after.
    pub(super) fn heard(&mut self, config: &Config, now: Instant) {
        let limit = if self.stage < Stage::Joining { config.init_limit } else { config.sync_limit };
        self.deadline = now + ticks(config, limit);
    }
}

impl Peer {
    pub(super) fn become_following(&mut self, leader: KeeperId, now: Now, fx: &mut Fx) {
        let following = Following {
            leader,
            stage: Stage::Connecting,
            epoch: ZabEpoch(0),
            previous: None,
            commit_upto: Zxid::ZERO,
            image: None,
            deadline: now.at + ticks(&self.config, self.config.init_limit),
            tries: 0,
            retry_at: now.at,
            refused: false,
        };
        self.state = State::Following(Box::new(following));
        fx.emit(Effect::Became(match self.config.is_observer() {
            true => Role::Observing { leader, serving: false },
            false => Role::Following { leader, serving: false },
        }));
        self.try_to_register(now, fx);
    }

    /// One try to reach the leader. None is lost while the channel that it closed, not leading yet, is not up again: two
    /// peers that conclude a moment apart would otherwise elect and refuse each other for ever. (Apache's learner dials
    /// anew for each try.)
    pub(super) fn try_to_register(&mut self, now: Now, fx: &mut Fx) {
        let State::Following(following) = &self.state else { return };
        let is_closed = following.refused && self.channel(following.leader, ChannelKind::Quorum).is_none();
        let State::Following(following) = &mut self.state else { return };
        if is_closed && now.at < following.deadline {
            following.retry_at = now.at + self.config.finalize_wait / 2;
            return;
        }
        if following.tries >= TRIES {
            return self.step_down("its leader cannot be reached", now, fx);
        }
        following.tries += 1;
        following.refused = false;
        following.retry_at = now.at + self.config.finalize_wait / 2;
        self.register(now, fx);
    }

    pub(super) fn on_leader_hung_up(&mut self, now: Now, fx: &mut Fx) {
        let State::Following(following) = &mut self.state else { return };
        match following.stage {
            // It does not lead yet, or not any more: as a refused connection.
            Stage::Registered => {
                following.stage = Stage::Connecting;
                following.refused = true;
            }
            Stage::Connecting => {}
            Stage::Accepting
            | Stage::EpochAcked
            | Stage::Synchronising
            | Stage::Joining
            | Stage::Joined
            | Stage::Serving => self.step_down("its leader hung up", now, fx),
        }
    }

    pub(super) fn on_learner_wake(&mut self, now: Now, fx: &mut Fx) {
        let State::Following(following) = &self.state else { return };
        if following.stage == Stage::Connecting {
            if following.retry_at <= now.at {
                self.try_to_register(now, fx);
            }
        } else if following.deadline <= now.at {
            self.step_down("nothing was heard from its leader within its limit", now, fx);
        }
    }
}
