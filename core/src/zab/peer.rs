//! The peer: its state, its dispatcher and its clock. What each phase does is in the file of that phase.

use super::election::{Election, Outcome};
use super::following::{Following, Stage as FollowingStage};
use super::history::History;
use super::leading::{Leading, Stage as LeadingStage};
use super::vote::Vote;
use super::{Config, Effect, Input, Recovered, Role};
use crate::api::peer::{Channel, ChannelKind, Notification, PacketType, QuorumPacket, ServerState};
use crate::api::storage::{Load, Loaded, StoreOp};
use crate::id::{KeeperId, NodeId, ZabEpoch, Zxid};
use crate::machine::{Effects, Machine, Ticket};
use crate::note::zab::ZabNote;
use crate::queue::Queue;
use crate::rng::Rng;
use crate::time::{Instant, Now, Span, Wake};
use bytes::Bytes;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use std::sync::Arc;

pub(super) type Fx = Effects<Effect>;

/// One member of the ensemble, as atomic broadcast sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub(super) config: Settled,
    /// An observer draws its pause before an election from it.
    rng: Rng,

    /// The two epoch files, as handed to the disk.
    pub(super) accepted: ZabEpoch,
    pub(super) current: ZabEpoch,
    pub(super) history: History,

    /// The last ticket of `Lane::Journal`, and who waits for which.
    tickets: Ticket,
    waiting: Queue<Waiting>,
    /// The tree is being read again after a cut below what was applied; nothing is applied until then.
    reloading: Option<Ticket>,

    /// The channels that are up.
    links: Vec<Link>,
    pub(super) election: Election,
    pub(super) state: State,
}

/// The configuration: shared, and the same for as long as the peer lives, so that a digest need not say it each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled(Arc<Config>);

impl Hash for Settled {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Deref for Settled {
    type Target = Config;
    fn deref(&self) -> &Config {
        &self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// `begins`: an observer's pause before it asks around.
    Looking {
        begins: Option<Instant>,
    },
    Leading(Box<Leading>),
    Following(Box<Following>),
}

/// The channels to one peer, by their generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Link {
    peer: KeeperId,
    election: Option<u32>,
    quorum: Option<u32>,
}

/// Something waits for a ticket of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    ticket: Ticket,
    /// The end of the journal when the ticket was drawn: durable once it is answered.
    appended: Zxid,
    then: Then,
}

/// What happens when the disk has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// Its role is gone; only the durable mark advances.
    Nothing,
    /// The leader's acceptedEpoch: offer the epoch to the learners.
    OfferEpoch,
    /// The learner's acceptedEpoch: ACKEPOCH.
    AckEpoch,
    /// The leader's currentEpoch: it holds its own history in its own epoch.
    CountOwnNewLeader,
    /// The learner's history and currentEpoch: ACK NEWLEADER.
    AckNewLeader,
    /// The leader's proposals up to this one.
    CountOwnAck { upto: Zxid },
    /// A follower's proposals of one epoch: an ACK for each.
    AckProposals { first: Zxid, last: Zxid },
}

impl Peer {
    /// Starts from what the disk holds, looking for a leader.
    ///
    /// ZooKeeper refuses to start if a transaction is newer than `currentEpoch`, which a crash between "the leader's
    /// history is durable" and "currentEpoch is written" leaves behind (Z13). This peer goes on if `acceptedEpoch`
    /// covers the transaction: its journal is then a beginning of that leader's history, cut where the crash came,
    /// and a transaction of epoch e proves that e's leader was established, so that a quorum holds
    /// `currentEpoch ≥ e` on disk. One of them is in every later quorum of votes, and its vote beats this peer's, whose
    /// `currentEpoch` is older: the peer cannot lead before it has synchronised, and a learner with a true beginning of
    /// an established history is brought up like any other.
    ///
    /// A disk that contradicts itself (`acceptedEpoch` below the rest) gives an `Effect::Halt`.
    pub fn recover(config: Config, recovered: Recovered, now: Now, fx: &mut Effects<Effect>) -> Peer {
        let history = History::recover(recovered.snapshot_zxid, recovered.history, config.commit_log_count);
        if recovered.accepted_epoch < recovered.current_epoch || recovered.accepted_epoch < history.appended().epoch() {
            fx.emit(Effect::Halt {
                why: format!(
                    "acceptedEpoch is {}, but currentEpoch is {} and the last transaction {}: the epoch files do not belong to this journal",
                    recovered.accepted_epoch,
                    recovered.current_epoch,
                    history.appended()
                ),
            });
        }
        let mut peer = Peer {
            rng: recovered.rng,
            accepted: recovered.accepted_epoch,
            current: recovered.current_epoch,
            history,
            tickets: Ticket::default(),
            waiting: Queue::new(),
            reloading: None,
            links: Vec::new(),
            election: Election::new(config.me, config.finalize_wait),
            state: State::Looking { begins: None },
            config: Settled(Arc::new(config)),
        };
        peer.look_for_leader(now, fx);
        peer
    }

    // What the keeper may know.

    pub fn role(&self) -> Role {
        match &self.state {
            State::Looking { .. } => Role::Looking,
            State::Leading(leading) => {
                Role::Leading { epoch: leading.epoch, established: leading.stage == LeadingStage::Established }
            }
            State::Following(following) => {
                let (leader, serving) = (following.leader, following.stage == FollowingStage::Serving);
                match self.config.is_observer() {
                    true => Role::Observing { leader, serving },
                    false => Role::Following { leader, serving },
                }
            }
        }
    }

    /// The epoch file `currentEpoch`, as handed to the disk.
    pub fn current_epoch(&self) -> ZabEpoch {
        self.current
    }

    /// The epoch file `acceptedEpoch`, as handed to the disk.
    pub fn accepted_epoch(&self) -> ZabEpoch {
        self.accepted
    }

    /// The last transaction of the journal or snapshot: what elections compare.
    pub fn last_zxid(&self) -> Zxid {
        self.history.appended()
    }

    /// The last transaction handed to the keeper.
    pub fn applied(&self) -> Zxid {
        self.history.applied()
    }

    /// The last transaction known to be committed.
    pub fn committed(&self) -> Zxid {
        self.history.committed()
    }

    /// The last transaction known to be on this peer's disk.
    pub fn durable(&self) -> Zxid {
        self.history.durable()
    }

    /// The watermarks and the transactions in memory.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The current vote and, while looking, how many voters are known to agree with it.
    pub fn vote(&self) -> (Vote, u32) {
        let mine = self.election.proposal();
        (mine, self.election.votes().filter(|(_, vote)| *vote == mine).count() as u32)
    }

    /// The round of the election.
    pub fn round(&self) -> u64 {
        self.election.clock()
    }

    /// While it looks for a leader: how long it waits before it finalizes, or says its vote again.
    pub fn election_waits(&self) -> Span {
        self.election.waits()
    }

    pub fn leading(&self) -> Option<&Leading> {
        match &self.state {
            State::Leading(leading) => Some(leading),
            State::Looking { .. } | State::Following(_) => None,
        }
    }

    pub fn following(&self) -> Option<&Following> {
        match &self.state {
            State::Following(following) => Some(following),
            State::Looking { .. } | State::Leading(_) => None,
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    // Channels.

    pub(super) fn channel(&self, peer: KeeperId, kind: ChannelKind) -> Option<Channel> {
        let link = self.links.iter().find(|link| link.peer == peer)?;
        let generation = match kind {
            ChannelKind::Election => link.election,
            ChannelKind::Quorum => link.quorum,
            ChannelKind::Requests => None,
        }?;
        Some(Channel { peer: NodeId::Keeper(peer), kind, generation })
    }

    fn set_link(&mut self, channel: Channel, up: bool) -> Option<KeeperId> {
        let NodeId::Keeper(peer) = channel.peer else { return None };
        let at = match self.links.binary_search_by_key(&peer, |link| link.peer) {
            Ok(at) => at,
            Err(at) => {
                self.links.insert(at, Link { peer, election: None, quorum: None });
                at
            }
        };
        let slot = match channel.kind {
            ChannelKind::Election => &mut self.links[at].election,
            ChannelKind::Quorum => &mut self.links[at].quorum,
            ChannelKind::Requests => return None,
        };
        if up {
            *slot = Some(channel.generation);
        } else if *slot == Some(channel.generation) {
            *slot = None;
        } else {
            return None;
        }
        Some(peer)
    }

    /// Breaks a quorum channel; it counts as down at once.
    pub(super) fn hang_up(&mut self, channel: Channel, fx: &mut Fx) {
        if self.set_link(channel, false).is_some() {
            fx.emit(Effect::Hangup { channel });
        }
    }

    fn on_up(&mut self, channel: Channel, now: Now, fx: &mut Fx) {
        if let NodeId::Keeper(peer) = channel.peer
            && let Some(old) = self.channel(peer, channel.kind)
            && old != channel
        {
            self.on_down(old, now, fx);
        }
        let Some(peer) = self.set_link(channel, true) else { return };
        match channel.kind {
            ChannelKind::Election => {
                if matches!(self.state, State::Looking { begins: None }) && self.config.voters.is_voter(peer) {
                    let notification = self.notification();
                    fx.emit(Effect::Notify { channel, notification });
                }
            }
            ChannelKind::Quorum => self.on_quorum_up(peer, now, fx),
            ChannelKind::Requests => {}
        }
    }

    fn on_down(&mut self, channel: Channel, now: Now, fx: &mut Fx) {
        let Some(peer) = self.set_link(channel, false) else { return };
        if channel.kind == ChannelKind::Quorum {
            match &mut self.state {
                State::Looking { .. } => {}
                State::Leading(leading) => {
                    leading.remove(peer);
                }
                State::Following(following) if following.leader == peer => self.on_leader_hung_up(now, fx),
                State::Following(_) => {}
            }
        }
    }

    // Phase 0.

    pub(super) fn look_for_leader(&mut self, now: Now, fx: &mut Fx) {
        if self.config.is_observer() {
            let pause = self.rng.below(self.config.finalize_wait.0.max(1));
            self.state = State::Looking { begins: Some(Instant(now.at.0 + pause)) };
        } else {
            self.start_round(now, fx);
        }
    }

    fn start_round(&mut self, now: Now, fx: &mut Fx) {
        self.state = State::Looking { begins: None };
        let leader = if self.config.is_observer() { KeeperId(0) } else { self.config.me };
        let own = Vote { leader, zxid: self.history.appended(), peer_epoch: self.current };
        self.election.start(own, &self.config.voters, now.at);
        fx.note(ZabNote::Looking { round: self.election.clock() });
        self.broadcast_vote(fx);
    }

    fn notification(&self) -> Notification {
        self.election.notification(match &self.state {
            State::Looking { .. } => ServerState::Looking,
            State::Leading(_) => ServerState::Leading,
            State::Following(_) if self.config.is_observer() => ServerState::Observing,
            State::Following(_) => ServerState::Following,
        })
    }

    fn broadcast_vote(&mut self, fx: &mut Fx) {
        let vote = self.election.proposal();
        // An observer sends its opinion around, which counts nowhere: it is how it hears the others' votes.
        if !self.config.is_observer() {
            fx.note(ZabNote::VotedFor { leader: vote.leader, zxid: vote.zxid, peer_epoch: vote.peer_epoch });
        }
        let notification = self.notification();
        for voter in self.config.voters.voters().filter(|voter| *voter != self.config.me) {
            if let Some(channel) = self.channel(voter, ChannelKind::Election) {
                fx.emit(Effect::Notify { channel, notification: notification.clone() });
            }
        }
    }

    fn on_notification(&mut self, channel: Channel, n: &Notification, now: Now, fx: &mut Fx) {
        let NodeId::Keeper(from) = channel.peer else { return };
        let outcome = match &self.state {
            State::Looking { begins: None } => self.election.on_notification(from, n, &self.config.voters, now.at),
            State::Looking { begins: Some(_) } => Outcome::Nothing,
            State::Leading(_) | State::Following(_) if n.state == ServerState::Looking => Outcome::Answer,
            State::Leading(_) | State::Following(_) => Outcome::Nothing,
        };
        match outcome {
            Outcome::Nothing => {}
            Outcome::Broadcast => self.broadcast_vote(fx),
            Outcome::Answer => {
                // The mailbox may have come up anew since.
                if let Some(channel) = self.channel(from, ChannelKind::Election) {
                    fx.emit(Effect::Notify { channel, notification: self.notification() });
                }
            }
            Outcome::Decided => self.become_elected(now, fx),
        }
    }

    fn become_elected(&mut self, now: Now, fx: &mut Fx) {
        let leader = self.election.proposal().leader;
        fx.note(ZabNote::Elected { leader });
        if leader == self.config.me {
            self.become_leading(now, fx);
        } else {
            self.become_following(leader, now, fx);
        }
    }

    /// Ends the election in favour of `leader`, as an oracle would: for models that look at the phases after it.
    pub fn elect_by_oracle(&mut self, leader: KeeperId, now: Now, fx: &mut Effects<Effect>) {
        assert!(matches!(self.state, State::Looking { .. }), "the oracle speaks only to who looks for a leader");
        self.election.decide_by_oracle(leader);
        self.become_elected(now, fx);
    }

    /// Leaves the current role, whatever it is, and looks for a leader.
    pub fn step_down(&mut self, why: &'static str, now: Now, fx: &mut Effects<Effect>) {
        fx.note(ZabNote::SteppedDown { why });
        match core::mem::replace(&mut self.state, State::Looking { begins: None }) {
            State::Looking { .. } => {}
            State::Leading(leading) => {
                for learner in &leading.learners {
                    self.hang_up(learner.channel, fx);
                }
            }
            State::Following(following) => {
                if let Some(channel) = self.channel(following.leader, ChannelKind::Quorum) {
                    self.hang_up(channel, fx);
                }
            }
        }
        self.history.forget_unappended();
        for waiting in &mut self.waiting {
            waiting.then = Then::Nothing;
        }
        fx.emit(Effect::Became(Role::Looking));
        self.look_for_leader(now, fx);
    }

    // The disk.

    /// Asks the disk to be told when everything so far is durable.
    pub(super) fn sync(&mut self, then: Then, fx: &mut Fx) {
        let ticket = self.tickets.take_next();
        self.waiting.push_back(Waiting { ticket, appended: self.history.appended(), then });
        fx.emit(Effect::Sync(ticket));
    }

    pub(super) fn load(&mut self, what: Load, fx: &mut Fx) -> Ticket {
        let ticket = self.tickets.take_next();
        fx.emit(Effect::Load { ticket, what });
        ticket
    }

    /// Hands every received transaction up to `upto` to the disk.
    pub(super) fn append(&mut self, upto: Zxid, fx: &mut Fx) {
        for (zxid, txn) in self.history.above(self.history.appended()).take_while(|(zxid, _)| *zxid <= upto) {
            fx.emit(Effect::Store(StoreOp::AppendTxn { zxid: *zxid, txn: txn.clone() }));
        }
        self.history.advance_appended(upto.min(self.history.received()));
    }

    fn on_synced(&mut self, upto: Ticket, now: Now, fx: &mut Fx) {
        while let Some(waiting) = self.waiting.front().copied().filter(|waiting| waiting.ticket <= upto) {
            self.waiting.pop_front();
            self.history.advance_durable(waiting.appended);
            match waiting.then {
                Then::Nothing => {}
                Then::OfferEpoch => self.offer_epoch(now, fx),
                Then::AckEpoch => self.ack_epoch(fx),
                Then::CountOwnNewLeader => self.count_own_new_leader(now, fx),
                Then::AckNewLeader => self.ack_new_leader(now, fx),
                Then::CountOwnAck { upto } => self.count_own_ack(upto, fx),
                Then::AckProposals { first, last } => self.ack_proposals(first, last, fx),
            }
        }
    }

    fn on_loaded(&mut self, ticket: Ticket, what: Loaded, fx: &mut Fx) {
        match what {
            Loaded::Txns { txns, complete } => self.on_journal_read(ticket, txns, complete, fx),
            Loaded::Database { snapshot, txns } if self.reloading == Some(ticket) => {
                self.reloading = None;
                fx.emit(Effect::Reloaded { to: self.history.applied(), snapshot, txns });
                self.apply_committed(fx);
            }
            _ => {}
        }
    }

    /// Cuts the journal after `to`.
    pub(super) fn truncate(&mut self, to: Zxid, fx: &mut Fx) {
        fx.note(ZabNote::Truncated { from: self.history.appended(), to });
        fx.emit(Effect::Store(StoreOp::TruncateJournal { to }));
        for waiting in &mut self.waiting {
            waiting.appended = waiting.appended.min(to);
        }
        if self.history.truncate(to) {
            self.reloading = Some(self.load(Load::Database { upto: to }, fx));
        }
    }

    /// Puts a database image in the place of the history.
    pub(super) fn restore(&mut self, zxid: Zxid, image: Bytes, fx: &mut Fx) {
        fx.note(ZabNote::Restored { zxid });
        fx.emit(Effect::Restore { zxid, image });
        self.history.replace(zxid);
        self.reloading = None;
        for waiting in &mut self.waiting {
            waiting.appended = Zxid::ZERO;
        }
    }

    /// Hands what is committed to the keeper.
    pub(super) fn apply_committed(&mut self, fx: &mut Fx) {
        if self.reloading.is_some() {
            return;
        }
        while let Some((zxid, txn)) = self.history.apply_next() {
            fx.note(ZabNote::Committed { zxid });
            fx.emit(Effect::Apply { zxid, txn });
        }
    }

    // Packets.

    fn on_packet(&mut self, channel: Channel, packet: QuorumPacket, now: Now, fx: &mut Fx) {
        let NodeId::Keeper(from) = channel.peer else { return };
        if self.channel(from, ChannelKind::Quorum) != Some(channel) {
            return;
        }
        match &self.state {
            State::Leading(_) => self.on_learner_packet(from, channel, packet, now, fx),
            State::Following(following) if following.leader == from => self.on_leader_packet(packet, now, fx),
            State::Following(_) | State::Looking { .. } => match packet.kind {
                // As a refused connection: this peer does not lead (yet). The learner tries again.
                PacketType::FollowerInfo | PacketType::ObserverInfo => self.hang_up(channel, fx),
                _ => {}
            },
        }
    }

    fn on_wake(&mut self, now: Now, fx: &mut Fx) {
        match &self.state {
            State::Looking { begins: Some(at) } if *at <= now.at => self.start_round(now, fx),
            State::Looking { begins: Some(_) } => {}
            State::Looking { begins: None } => {
                match self.election.on_wake(now.at, self.config.max_notification_interval) {
                    Outcome::Broadcast => self.broadcast_vote(fx),
                    Outcome::Decided => self.become_elected(now, fx),
                    Outcome::Nothing | Outcome::Answer => {}
                }
            }
            State::Leading(_) => self.on_leader_wake(now, fx),
            State::Following(_) => self.on_learner_wake(now, fx),
        }
    }
}

impl Machine for Peer {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input, fx: &mut Effects<Effect>) {
        match input {
            Input::Wake => self.on_wake(now, fx),
            Input::Up { channel } => self.on_up(channel, now, fx),
            Input::Down { channel } => self.on_down(channel, now, fx),
            Input::Election { channel, notification } => self.on_notification(channel, &notification, now, fx),
            Input::Packet { channel, packet } => self.on_packet(channel, packet, now, fx),
            Input::Synced { upto } => self.on_synced(upto, now, fx),
            Input::Loaded { ticket, what } => self.on_loaded(ticket, what, fx),
        }
        self.history.check();
        assert!(self.current <= self.accepted, "currentEpoch {} ≤ acceptedEpoch {}", self.current, self.accepted);
    }

    fn wake_at(&self) -> Option<Wake> {
        Some(match &self.state {
            State::Looking { begins: Some(at) } => Wake { at: *at, why: "the observer asks who leads" },
            State::Looking { begins: None } if self.election.is_finalizing() => {
                Wake { at: self.election.wake_at(), why: "the election ends unless a better vote comes" }
            }
            State::Looking { begins: None } => Wake { at: self.election.wake_at(), why: "the vote is sent again" },
            State::Leading(leading) => leading.wake_at(),
            State::Following(following) => following.wake_at(),
        })
    }
}
