//! Phase 0: fast leader election (protocol.md A.1), as a state machine over notifications. Knows votes and time;
//! channels, disks and what a leader does are not known here.

use super::vote::Vote;
use crate::api::peer::{Notification, ServerState};
use crate::id::KeeperId;
use crate::ordered::OrdMap;
use crate::quorum::Quorum;
use crate::time::{Instant, Span};
use bytes::Bytes;

/// A vote as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Received {
    pub vote: Vote,
    pub election_epoch: u64,
    pub state: ServerState,
}

impl Received {
    /// ZooKeeper's equality of votes: exact while somebody looks; between peers that have a leader only whom they
    /// follow in which epoch (ZOOKEEPER-1805).
    fn agrees(&self, other: &Received) -> bool {
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            self.vote == other.vote && self.election_epoch == other.election_epoch
        } else {
            self.vote.leader == other.vote.leader && self.vote.peer_epoch == other.vote.peer_epoch
        }
    }
}

/// What a notification asks of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Nothing,
    /// The own vote or clock changed: tell every voter.
    Broadcast,
    /// The sender lags: tell it the own vote.
    Answer,
    /// A leader is found.
    Decided,
}

/// The current round, or the vote that ended the last one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    me: KeeperId,
    /// ZooKeeper's logical clock: the number of the round.
    clock: u64,
    /// While looking the current proposal, afterwards the vote that won.
    proposal: Vote,
    /// The own vote at the start of the round.
    initial: Vote,
    /// Votes of this round, the last of each voter.
    received: OrdMap<KeeperId, Received>,
    /// Votes of peers that have a leader.
    outside: OrdMap<KeeperId, Received>,
    /// A quorum agrees; decided then unless a better vote comes first.
    finalize_at: Option<Instant>,
    /// When the own vote is sent again, and the pause that led there.
    resend_at: Instant,
    interval: Span,
    finalize_wait: Span,
}

impl Election {
    pub fn new(me: KeeperId, finalize_wait: Span) -> Election {
        let nobody = Vote { leader: KeeperId(0), zxid: crate::id::Zxid::ZERO, peer_epoch: crate::id::ZabEpoch(0) };
        Election {
            me,
            clock: 0,
            proposal: nobody,
            initial: nobody,
            received: OrdMap::new(),
            outside: OrdMap::new(),
            finalize_at: None,
            resend_at: Instant::ZERO,
            interval: finalize_wait,
            finalize_wait,
        }
    }

    pub fn clock(&self) -> u64 {
        self.clock
    }

    pub fn proposal(&self) -> Vote {
        self.proposal
    }

    /// The votes of this round, by voter.
    pub fn votes(&self) -> impl Iterator<Item = (KeeperId, Vote)> + '_ {
        self.received.iter().map(|(id, received)| (*id, received.vote))
    }

    /// When the round wants to be woken.
    pub fn wake_at(&self) -> Instant {
        self.finalize_at.map_or(self.resend_at, |at| at.min(self.resend_at))
    }

    /// How long it waits in all for what [`wake_at`](Election::wake_at) ends.
    pub fn waits(&self) -> Span {
        if self.finalize_at.is_some_and(|at| at <= self.resend_at) { self.finalize_wait } else { self.interval }
    }

    /// Whether a quorum agrees already.
    pub fn is_finalizing(&self) -> bool {
        self.finalize_at.is_some()
    }

    /// Begins a round with the own vote. The caller broadcasts it.
    pub fn start(&mut self, own: Vote, voters: &Quorum, now: Instant) {
        self.clock += 1;
        self.initial = own;
        self.proposal = own;
        self.received.clear();
        self.outside.clear();
        self.finalize_at = None;
        self.interval = self.finalize_wait;
        self.resend_at = now + self.interval;
        self.count_own_vote(voters, now);
    }

    /// The notification that tells the own vote.
    pub fn notification(&self, state: ServerState) -> Notification {
        Notification {
            state,
            leader: self.proposal.leader,
            zxid: self.proposal.zxid,
            election_epoch: self.clock,
            peer_epoch: self.proposal.peer_epoch,
            config: Bytes::new(),
        }
    }

    /// The epoch of the own vote is refreshed once it is known (ZOOKEEPER-1732).
    pub fn refresh_epoch(&mut self, epoch: crate::id::ZabEpoch) {
        self.proposal.peer_epoch = epoch;
    }

    /// An oracle decides for `leader`, in place of a round: nothing of the rounds before is worth remembering.
    pub fn decide_by_oracle(&mut self, leader: KeeperId) {
        *self = Election::new(self.me, self.finalize_wait);
        self.proposal.leader = leader;
    }

    /// A notification arrives while looking.
    pub fn on_notification(&mut self, from: KeeperId, n: &Notification, voters: &Quorum, now: Instant) -> Outcome {
        if !voters.is_voter(from) {
            // An observer asks around.
            return if n.state == ServerState::Looking { Outcome::Answer } else { Outcome::Nothing };
        }
        if !voters.is_voter(n.leader) {
            return Outcome::Nothing;
        }
        self.resend_at = now + self.interval;
        match n.state {
            ServerState::Looking => self.on_looking(from, n, voters, now),
            ServerState::Following | ServerState::Leading => self.on_settled(from, n, voters),
            ServerState::Observing => Outcome::Nothing,
        }
    }

    fn on_looking(&mut self, from: KeeperId, n: &Notification, voters: &Quorum, now: Instant) -> Outcome {
        let vote = Vote { leader: n.leader, zxid: n.zxid, peer_epoch: n.peer_epoch };
        if n.election_epoch < self.clock {
            return Outcome::Answer;
        }
        if self.finalize_at.is_some() && !vote.beats(self.proposal) {
            // Nothing better: the wait for something better starts again. (ZooKeeper drops such a notification, even
            // of a later round.)
            self.finalize_at = Some(now + self.finalize_wait);
            return Outcome::Nothing;
        }
        let mut outcome = Outcome::Nothing;
        if n.election_epoch > self.clock {
            self.clock = n.election_epoch;
            self.received.clear();
            self.proposal = if vote.beats(self.initial) { vote } else { self.initial };
            self.count_own_vote(voters, now);
            outcome = Outcome::Broadcast;
        } else if vote.beats(self.proposal) {
            self.proposal = vote;
            self.count_own_vote(voters, now);
            outcome = Outcome::Broadcast;
        }
        let received = Received { vote, election_epoch: n.election_epoch, state: ServerState::Looking };
        self.received.insert(from, received);
        self.finalize_if_agreed(voters, now);
        outcome
    }

    fn on_settled(&mut self, from: KeeperId, n: &Notification, voters: &Quorum) -> Outcome {
        let vote = Vote { leader: n.leader, zxid: n.zxid, peer_epoch: n.peer_epoch };
        let received = Received { vote, election_epoch: n.election_epoch, state: n.state };
        if n.election_epoch == self.clock {
            self.received.insert(from, received);
            // ZooKeeper keeps these without their version, so that here, where the rounds are equal, whom they follow
            // alone decides.
            let follows_too = |id| {
                self.received.get(&id).is_some_and(|other: &Received| match other.state {
                    ServerState::Looking => other.agrees(&received),
                    _ => other.vote.leader == vote.leader,
                })
            };
            if voters.is_reached(follows_too) && self.is_leader(&self.received, n) {
                return self.settle(vote, n.election_epoch);
            }
        }
        self.outside.insert(from, received);
        if agreed(&self.outside, &received, voters) && self.is_leader(&self.outside, n) {
            return self.settle(vote, n.election_epoch);
        }
        Outcome::Nothing
    }

    fn settle(&mut self, vote: Vote, clock: u64) -> Outcome {
        self.clock = clock;
        self.proposal = vote;
        self.finalize_at = None;
        Outcome::Decided
    }

    /// ZooKeeper's `checkLeader`: never join a leader that only third parties still believe in.
    fn is_leader(&self, votes: &OrdMap<KeeperId, Received>, n: &Notification) -> bool {
        if n.leader == self.me {
            return self.clock == n.election_epoch;
        }
        votes.get(&n.leader).is_some_and(|of_leader| of_leader.state == ServerState::Leading)
    }

    fn count_own_vote(&mut self, voters: &Quorum, now: Instant) {
        self.finalize_at = None;
        if voters.is_voter(self.me) {
            let own = Received { vote: self.proposal, election_epoch: self.clock, state: ServerState::Looking };
            self.received.insert(self.me, own);
            self.finalize_if_agreed(voters, now);
        }
    }

    fn finalize_if_agreed(&mut self, voters: &Quorum, now: Instant) {
        let mine = Received { vote: self.proposal, election_epoch: self.clock, state: ServerState::Looking };
        if self.finalize_at.is_none() && agreed(&self.received, &mine, voters) {
            self.finalize_at = Some(now + self.finalize_wait);
        }
    }

    /// Time passed while looking.
    pub fn on_wake(&mut self, now: Instant, longest: Span) -> Outcome {
        if self.finalize_at.is_some_and(|at| at <= now) {
            self.finalize_at = None;
            return Outcome::Decided;
        }
        if self.resend_at <= now {
            self.interval = (self.interval * 2).min(longest);
            self.resend_at = now + self.interval;
            return Outcome::Broadcast;
        }
        Outcome::Nothing
    }
}

/// Whether a quorum's votes agree with this one.
fn agreed(votes: &OrdMap<KeeperId, Received>, with: &Received, voters: &Quorum) -> bool {
    voters.is_reached(|id| votes.get(&id).is_some_and(|vote| vote.agrees(with)))
}
