//! One state of the small world, and what each action does to it.

use super::controller::{Controller, Proposal};
use super::promises::Ghost;
use super::replica::{Alter, Replica, Talk, batch, broker, name, seat, settings};
use super::{Action, Bounds, REPLICAS};
use crate::api::kafka::{
    DivergingEpoch, ErrorCode, FetchPartition, FetchPartitionResponse, OffsetForLeaderPartition, UpdateMetadataBroker,
    UpdateMetadataRequest,
};
use crate::broker::config::{Settings, TopicSettings};
use crate::broker::fetcher::epoch_end;
use crate::broker::metadata::Metadata;
use crate::broker::partition::follower::Phase;
use crate::broker::partition::isr::Change;
use crate::broker::partition::leader::{Found, Reader, Settled};
use crate::broker::partition::log::Log;
use crate::broker::partition::{Context, Partition};
use crate::digest::Digest;
use crate::id::{BrokerEpoch, LeaderEpoch, TopicId};
use crate::machine::{Effects, Ticket};
use crate::node::Effect;
use crate::record::offset::Offset;
use crate::rules::Rules;
use crate::sim::explore::search::{Small, Trouble};
use crate::time::{Instant, Now, Span, UnixMillis};
use bytes::Bytes;
use core::hash::{Hash, Hasher};
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub struct World {
    pub replicas: [Arc<Replica>; REPLICAS],
    /// The digest of each replica, kept beside it; zero: it changed.
    digests: [u64; REPLICAS],
    pub controller: Controller,
    pub ghost: Arc<Ghost>,
    spent: Spent,
}

/// What of the bounds is used up.
#[derive(Clone, Copy, Default, Hash)]
struct Spent {
    records: u8,
    elections: u8,
    crashes: u8,
    power_losses: u8,
    shrinks: u8,
}

/// What is the same in all worlds of a search.
pub struct Setup {
    bounds: Bounds,
    rules: Rules,
    settings: Settings,
    topic: TopicSettings,
    /// Everybody is alive: who is not is the controller's to know.
    metadata: Metadata,
}

impl Setup {
    pub fn new(bounds: Bounds, rules: Rules) -> Setup {
        let mut metadata = Metadata::default();
        let live = |at| UpdateMetadataBroker { id: broker(at), ..UpdateMetadataBroker::default() };
        let live_brokers = (0..REPLICAS).map(live).collect();
        metadata.on_update(&UpdateMetadataRequest { live_brokers, ..UpdateMetadataRequest::default() });
        let topic = TopicSettings { min_insync_replicas: bounds.min_isr, ..TopicSettings::default() };
        Setup { bounds, rules, settings: settings(), topic, metadata }
    }

    fn context(&self, at: usize) -> Context<'_> {
        // Long after anything that is remembered: time has passed since.
        let now = Now { at: Instant::ZERO + Span::secs(100), wall: UnixMillis(0) };
        Context { me: broker(at), now, settings: &self.settings, rules: self.rules, metadata: &self.metadata }
    }

    /// Whether the disk syncs as it is asked.
    fn at_once(&self) -> bool {
        self.bounds.power_losses == 0
    }

    /// Three empty replicas that know who leads.
    pub fn first_world(&self) -> World {
        let mut world = World {
            replicas: Default::default(),
            digests: [0; REPLICAS],
            controller: Controller::new(),
            ghost: Arc::default(),
            spent: Spent::default(),
        };
        for at in 0..REPLICAS {
            let log = Log::create(name(), TopicId([1; 16]), Ticket::default(), &mut Effects::default());
            world.replica(at).machine = Some(Partition::new(log, self.topic.clone()));
            world.replica(at).mail.push(Controller::new().state);
            world.tell(at, LeaderEpoch(0), self);
        }
        world.rehash();
        world
    }
}

impl Small for World {
    type Setup = Setup;
    type Action = Action;
    type Step = Action;

    fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        self.digests.hash(&mut digest);
        self.controller.hash(&mut digest);
        self.ghost.hash(&mut digest);
        self.spent.hash(&mut digest);
        digest.finish()
    }

    fn actions(&self, setup: &Setup) -> Vec<Action> {
        let mut actions = Vec::with_capacity(16);
        for at in 0..REPLICAS {
            self.actions_of(at, setup, &mut actions);
        }
        self.actions_of_the_controller(setup, &mut actions);
        actions
    }

    fn step(&self, action: Action) -> Action {
        action
    }

    fn take(&mut self, action: Action, setup: &Setup, trouble: &mut Trouble) {
        let before = self.before();
        let mut lost_power = None;
        match action {
            Action::Append(at) => self.append(at as usize, setup, trouble),
            Action::Sync(at) => self.replica(at as usize).sync(&setup.context(at as usize)),
            Action::Ask(at) => self.ask(at as usize, setup),
            Action::Answer { follower, leader } => self.answer(follower as usize, leader as usize, setup),
            Action::Hear { follower, leader } => self.hear(follower as usize, leader as usize, setup),
            Action::Shrink(at) => self.shrink(at as usize, setup),
            Action::Decide(at) => self.decide(at as usize),
            Action::Learn(at) => self.learn(at as usize, setup),
            Action::Tell { replica, epoch } => self.tell(replica as usize, LeaderEpoch(epoch), setup),
            Action::Elect(at) => {
                self.spent.elections += 1;
                self.controller.elect(Some(at));
                self.announce(trouble);
            }
            Action::Replace { gone, leader } => {
                self.replica(gone as usize).alter = None;
                if self.controller.replace(gone, leader) {
                    self.announce(trouble);
                }
            }
            Action::Crash { replica, power } => {
                self.crash(replica as usize, power);
                lost_power = power.then_some(replica as usize);
            }
            Action::Boot(at) => self.boot(at as usize, setup, trouble),
        }
        self.check(&before, lost_power, trouble);
        self.rehash();
    }
}

// What can happen.
impl World {
    fn actions_of(&self, at: usize, setup: &Setup, actions: &mut Vec<Action>) {
        let (replica, own, bounds) = (&self.replicas[at], at as u8, &setup.bounds);
        if let Some(alter) = &replica.alter {
            match alter.decided {
                None => actions.push(Action::Decide(own)),
                Some(_) => actions.push(Action::Learn(own)),
            }
        }
        let Some(machine) = &replica.machine else { return };
        if self.spent.crashes < bounds.crashes {
            actions.push(Action::Crash { replica: own, power: false });
        }
        if self.spent.power_losses < bounds.power_losses {
            actions.push(Action::Crash { replica: own, power: true });
        }
        if replica.syncing.is_some() {
            actions.push(Action::Sync(own));
        }
        let told = replica.mail.iter().map(|state| Action::Tell { replica: own, epoch: state.leader_epoch.0 });
        actions.extend(told);
        if machine.leader().is_some() {
            if self.spent.records < bounds.records {
                actions.push(Action::Append(own));
            }
            let lags = || !machine.may_shrink(&setup.context(at)).is_empty();
            if self.spent.shrinks < bounds.shrinks && replica.alter.is_none() && lags() {
                actions.push(Action::Shrink(own));
            }
        }
        if self.question(at, setup).is_some() {
            actions.push(Action::Ask(own));
        }
        for (leader, talk) in replica.talks.iter().enumerate() {
            let (follower, leader) = (own, leader as u8);
            actions.extend(talk.as_ref().map(|talk| match talk.is_question() {
                true => Action::Answer { follower, leader },
                false => Action::Hear { follower, leader },
            }));
        }
    }

    fn actions_of_the_controller(&self, setup: &Setup, actions: &mut Vec<Action>) {
        let state = &self.controller.state;
        for at in 0..REPLICAS as u8 {
            let (is_up, is_alive) = (self.replicas[at as usize].machine.is_some(), self.controller.alive[at as usize]);
            if !is_up && !is_alive {
                actions.push(Action::Boot(at));
            }
            if !is_up && is_alive {
                let mut others = self.controller.candidates().filter(|other| *other != at).peekable();
                if state.leader != Some(at) || others.peek().is_none() {
                    actions.push(Action::Replace { gone: at, leader: None });
                } else {
                    actions.extend(others.map(|other| Action::Replace { gone: at, leader: Some(other) }));
                }
            }
        }
        if self.spent.elections < setup.bounds.elections {
            let others = self.controller.candidates().filter(|at| Some(*at) != state.leader);
            actions.extend(others.map(Action::Elect));
        }
    }

    /// What a follower would ask now, and whom.
    fn question(&self, at: usize, setup: &Setup) -> Option<(usize, Talk)> {
        let replica = &self.replicas[at];
        let machine = replica.machine.as_ref()?;
        let follower = machine.follower()?;
        let leader = seat(follower.leader);
        if replica.talks[leader].is_some() || self.replicas[leader].machine.is_none() {
            return None;
        }
        let epoch = machine.leader_epoch();
        let talk = match follower.phase {
            Phase::Truncating => Talk::EpochEnd(OffsetForLeaderPartition {
                current_leader_epoch: epoch,
                leader_epoch: machine.log.epochs().latest(),
                ..OffsetForLeaderPartition::default()
            }),
            Phase::OutOfRange => Talk::Range(epoch),
            Phase::Fetching if !machine.waits_for_disk(setup.settings.flush) => {
                Talk::Fetch(machine.next_fetch(&setup.context(at))?)
            }
            Phase::Fetching | Phase::Fenced | Phase::Stopped => return None,
        };
        Some((leader, talk))
    }
}

// What it does.
impl World {
    pub fn replica(&mut self, at: usize) -> &mut Replica {
        self.digests[at] = 0;
        Arc::make_mut(&mut self.replicas[at])
    }

    pub fn ghost(&mut self) -> &mut Ghost {
        Arc::make_mut(&mut self.ghost)
    }

    fn rehash(&mut self) {
        for (replica, digest) in self.replicas.iter().zip(&mut self.digests) {
            if *digest == 0 {
                *digest = Digest::of(&**replica).max(1);
            }
        }
    }

    /// Lets a machine do something, and does what it wants done.
    fn run<T>(
        &mut self,
        at: usize,
        setup: &Setup,
        run: impl FnOnce(&mut Partition, &Context<'_>, &mut Effects<Effect>) -> T,
    ) -> Option<T> {
        let context = setup.context(at);
        let replica = self.replica(at);
        let mut fx = Effects::default();
        let result = run(replica.machine.as_mut()?, &context, &mut fx);
        replica.perform(fx, &context, setup.at_once());
        Some(result)
    }

    fn append(&mut self, at: usize, setup: &Setup, trouble: &mut Trouble) {
        let payload = self.spent.records;
        self.spent.records += 1;
        let appended = self.run(at, setup, |machine, at, fx| machine.append_produced(&batch(payload), 1, at, fx));
        if let Some(Ok(_)) = appended {
            let epoch = self.replicas[at].machine.as_ref().map_or(LeaderEpoch::NONE, Partition::leader_epoch);
            self.check_append(at, epoch, trouble);
        }
    }

    fn ask(&mut self, at: usize, setup: &Setup) {
        if let Some((leader, talk)) = self.question(at, setup) {
            self.replica(at).talks[leader] = Some(talk);
            if !setup.bounds.late_questions {
                self.answer(at, leader, setup);
            }
        }
    }

    /// The leader hears what was asked. If it is gone, so is the question.
    fn answer(&mut self, follower: usize, leader: usize, setup: &Setup) {
        let Some(talk) = self.replica(follower).talks[leader].take() else { return };
        let answer = match talk {
            Talk::Fetch(wanted) => self.serve(follower, leader, &wanted, setup).map(|it| Talk::Fetched(wanted, it)),
            Talk::EpochEnd(asked) => {
                let machine = self.replicas[leader].machine.as_ref();
                machine.map(|machine| epoch_end(machine, &asked)).map(|end| Talk::EpochEnded(asked, end))
            }
            Talk::Range(epoch) => self.range(leader, epoch).map(|range| Talk::Ranged(epoch, range)),
            answered => Some(answered),
        };
        let news = answer.filter(|answer| !self.is_no_news(follower, answer));
        self.replica(follower).talks[leader] = news;
    }

    /// An answer to a fetch that will change nothing, whenever it is heard.
    fn is_no_news(&self, follower: usize, answer: &Talk) -> bool {
        let Talk::Fetched(_, answer) = answer else { return false };
        let known = self.replicas[follower].machine.as_ref().map(|machine| machine.log.high_watermark());
        answer.error.is_none()
            && answer.diverging_epoch.epoch == LeaderEpoch::NONE
            && answer.records.as_ref().is_none_or(Bytes::is_empty)
            && known == Some(answer.high_watermark)
    }

    fn range(&self, leader: usize, epoch: LeaderEpoch) -> Option<Result<(Offset, Offset), ErrorCode>> {
        let machine = self.replicas[leader].machine.as_ref()?;
        let leads = machine.leader().ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        Some(machine.check_epoch(epoch).and(leads).map(|_| (machine.log.start(), machine.log.end())))
    }

    /// A follower's fetch at its leader, as the broker serves it.
    fn serve(
        &mut self,
        follower: usize,
        leader: usize,
        wanted: &FetchPartition,
        setup: &Setup,
    ) -> Option<FetchPartitionResponse<Bytes>> {
        let replica = broker(follower);
        let read = self.replicas[leader].machine.as_ref()?.read(wanted, Reader::Replica(replica));
        let answer = FetchPartitionResponse::default();
        let read = match read {
            Ok(read) => read,
            Err(error) => return Some(FetchPartitionResponse { error, ..answer }),
        };
        let answer =
            FetchPartitionResponse { high_watermark: read.high_watermark, log_start_offset: read.start, ..answer };
        Some(match read.found {
            Found::Diverging(end) => {
                let diverging_epoch = DivergingEpoch { epoch: end.epoch, end_offset: end.end, ..Default::default() };
                FetchPartitionResponse { diverging_epoch, ..answer }
            }
            Found::Upto(upto) => {
                let records = self.replicas[leader].records(wanted.fetch_offset, upto);
                let expand = self.run(leader, setup, |machine, at, fx| {
                    machine.on_follower_at((replica, BrokerEpoch::NONE), wanted, read.end, at, fx);
                    machine.may_expand(replica, at)
                });
                if expand == Some(true) && self.replicas[leader].alter.is_none() {
                    self.propose(leader, Change::Expand(replica), setup);
                }
                FetchPartitionResponse { records: Some(records), ..answer }
            }
        })
    }

    fn hear(&mut self, follower: usize, leader: usize, setup: &Setup) {
        let Some(talk) = self.replica(follower).talks[leader].take() else { return };
        self.run(follower, setup, |machine, at, fx| match talk {
            Talk::Fetched(sent, answer) => machine.on_fetched(&sent, answer, at, fx),
            Talk::EpochEnded(asked, end) => machine.on_epoch_end(asked.current_leader_epoch, &end, at, fx),
            Talk::Ranged(epoch, range) => machine.on_leader_range(epoch, range, at, fx),
            Talk::Fetch(_) | Talk::EpochEnd(_) | Talk::Range(_) => {}
        });
    }

    fn shrink(&mut self, at: usize, setup: &Setup) {
        self.spent.shrinks += 1;
        let out = self.replicas[at].machine.as_ref().map(|machine| machine.may_shrink(&setup.context(at)));
        self.propose(at, Change::Shrink(out.unwrap_or_default()), setup);
    }

    fn propose(&mut self, at: usize, change: Change, setup: &Setup) {
        self.run(at, setup, |machine, _, fx| machine.propose(change, fx));
        let Some(machine) = &self.replicas[at].machine else { return };
        let Some(leader) = machine.leader() else { return };
        let proposal = Proposal {
            leader_epoch: machine.leader_epoch(),
            partition_epoch: leader.isr.epoch(),
            isr: leader.isr.proposed().unwrap_or_default(),
        };
        self.replica(at).alter = Some(Alter { proposal, decided: None });
    }

    fn decide(&mut self, at: usize) {
        let Some(alter) = self.replicas[at].alter.clone() else { return };
        let decision = self.controller.decide(&alter.proposal);
        let replica = self.replica(at);
        let is_up = replica.machine.is_some();
        replica.alter = is_up.then_some(Alter { decided: Some(decision), ..alter });
    }

    /// The proposer hears the decision, if it still is what it proposed.
    fn learn(&mut self, at: usize, setup: &Setup) {
        let Some(Alter { proposal, decided: Some(decision) }) = self.replica(at).alter.take() else { return };
        let is_same = |machine: &Partition| {
            machine.leader().is_some_and(|leader| {
                machine.leader_epoch() == proposal.leader_epoch
                    && leader.isr.epoch() == proposal.partition_epoch
                    && leader.isr.proposed().as_ref() == Some(&proposal.isr)
            })
        };
        let settled = self.run(at, setup, |machine, at, fx| {
            is_same(machine).then(|| machine.on_alter_answer(&decision.answer(), at, fx))
        });
        assert!(settled.flatten() != Some(Settled::Resend), "{:?} is final", decision.error);
    }

    /// A LeaderAndIsr arrives; what is older and still under way does not.
    fn tell(&mut self, at: usize, epoch: LeaderEpoch, setup: &Setup) {
        let mail = &mut self.replica(at).mail;
        let Some(place) = mail.iter().position(|state| state.leader_epoch == epoch) else { return };
        let state = mail.drain(..=place).next_back().expect("it was found");
        self.run(at, setup, |machine, at, fx| {
            let told = state.told();
            match state.leader {
                Some(_) if !machine.is_news(&told) => {}
                Some(_) if told.leader == at.me => machine.become_leader(&told, at, fx),
                Some(_) => machine.become_follower(&told, at, fx),
                // Role and epoch stay as they were (C.5).
                None => {}
            }
        });
    }

    /// Whoever is up will be told of the new state.
    fn announce(&mut self, trouble: &mut Trouble) {
        self.check_elected(trouble);
        for at in 0..REPLICAS {
            if self.replicas[at].machine.is_some() {
                let state = self.controller.state.clone();
                self.replica(at).mail.push(state);
            }
        }
    }

    fn crash(&mut self, at: usize, power: bool) {
        if power {
            self.spent.power_losses += 1;
        } else {
            self.spent.crashes += 1;
        }
        self.replica(at).crash(power);
        for other in 0..REPLICAS {
            if self.replicas[other].talks[at].is_some() {
                self.replica(other).talks[at] = None;
            }
        }
        // A decision on its way to it is lost; what it proposed may still be decided.
        if self.replicas[at].alter.as_ref().is_some_and(|alter| alter.decided.is_some()) {
            self.replica(at).alter = None;
        }
    }

    /// It registers anew; if the partition waited for it, it leads again.
    fn boot(&mut self, at: usize, setup: &Setup, trouble: &mut Trouble) {
        self.replica(at).boot(&setup.topic);
        self.controller.alive[at] = true;
        if self.controller.state.leader.is_none() && self.controller.state.has(at) {
            self.controller.elect(Some(at as u8));
            self.announce(trouble);
        } else {
            let state = self.controller.state.clone();
            self.replica(at).mail.push(state);
        }
    }
}
