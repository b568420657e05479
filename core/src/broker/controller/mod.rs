//! Kafka's controller: won by creating `/controller`, it turns what changes in ZooKeeper into leaders, ISRs and
//! requests to brokers (protocol.md C.2 to C.4).
//!
//! Every broker has one; at most one of them is active. It speaks to ZooKeeper through its parent's session and to
//! brokers through its parent's channels, the broker it lives in included; it never sees a connection.
//!
//! # How the parent calls it
//!
//! | parent hears | parent calls |
//! |---|---|
//! | session established and `/brokers/ids/N` written | [`Controller::on_session`] |
//! | the same session connected again | [`Controller::on_connected`] |
//! | session expired | [`Controller::on_expired`], before it starts a new session |
//! | reply to an [`Effect::Zk`] | [`Controller::on_answer`] |
//! | any watch event | [`Controller::on_watch`]: ignores what is not its own |
//! | a request that only a controller answers, see [`Controller::wants`] | [`Controller::on_request`] |
//! | the answer to an [`Effect::Send`] | [`Controller::on_response`] |
//! | a channel to a broker comes up or breaks | [`Controller::on_channel`] |

//!
//! ```text
//! Controller::new(id: BrokerId, settings: Settings, rng: Rng) -> Controller
//! on_session(now, session: SessionId, fx)         on_connected(now, fx)        on_expired(now, fx)
//! on_answer(now, token: ZkToken, answer: Answer, fx)
//! on_watch(now, kind: WatchKind, path: &str, fx)
//! wants(request: &kafka::Request) -> bool
//! on_request(now, from: Asker, version: i16, request: kafka::Request, fx)
//! on_response(now, from: BrokerId, correlation: i32, response: kafka::Response<Bytes>, fx)
//! on_channel(now, broker: BrokerId, up: bool, fx)
//! on_wake(now, fx)         wake_at() -> Option<Wake>
//! is_active() -> Option<ControllerEpoch>           controller() -> Option<BrokerId>   (who holds /controller, as last read)
//! create_topic(now, request: CreateTopicsRequest, seats: Vec<place::Seat>, from: Asker, fx)   (auto-creation, on any broker)
//! set_settings(settings: Settings)
//! fx: &mut Effects<controller::Effect>
//! ```

mod admin;
mod agenda;
mod brokers;
mod context;
mod deletion;
pub mod elect;
mod election;
mod isr;
pub mod place;
mod plan;
mod reassign;
mod requests;
mod states;
mod topics;

#[cfg(test)]
mod tests;

use crate::api::kafka::{self, ErrorCode, Request, Response};
use crate::broker::config::Settings;
use crate::broker::znodes;
use crate::id::{BrokerId, ControllerEpoch, SessionId, TopicPartition};
use crate::keeper::client::op::{ANY_VERSION, Answer, CreateMode, Done, KeeperError, Op, WatchKind};
use crate::machine::Effects;
use crate::note::controller::ControllerNote;
use crate::ordered::{OrdMap, OrdSet};
use crate::queue::Queue;
use crate::record::offset::LogRange;
use crate::rng::Rng;
use crate::time::{Deadlines, Instant, Now, Span, Wake};
use agenda::{Event, Step, Then};
use bytes::Bytes;
use context::{Context, Replica, ReplicaState, Status};
use elect::Strategy;
use place::Seat;
use plan::{Batch, Outbox};
use std::sync::Arc;

/// The first look at who should lead what, after a controller took over; later ones come at the settings' interval.
const FIRST_REBALANCE: Span = Span::secs(5);

/// Numbers a question to ZooKeeper; answered with the same number.
pub type ZkToken = u64;

/// Who asked, in the parent's own numbering; the answer goes back to it.
pub type Asker = u64;

/// What the controller asks of the broker it lives in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Zk {
        token: ZkToken,
        op: Op,
    },
    /// To a broker's control queue. To the own broker it is a later input, never recursion.
    Send {
        to: BrokerId,
        correlation: i32,
        request: Request,
    },
    Reply {
        to: Asker,
        response: Response<LogRange>,
    },
}

type Fx<'a> = &'a mut Effects<Effect>;

/// One round of pipelined questions to ZooKeeper; nothing else runs until all are answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    first: ZkToken,
    asked: Vec<(Op, Option<Answer>)>,
    /// Lost with the connection; asked again on the next one.
    lost: OrdSet<u32>,
    then: Then,
}

/// Where this broker stands between being nobody and being the controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Office {
    /// The session `/controller` would be held with; `None` without one.
    session: Option<SessionId>,
    /// Who holds `/controller`, as last read.
    holder: Option<BrokerId>,
    /// Set while this broker is the controller, with the version of `/controller_epoch` that its writes are fenced by.
    active: Option<(ControllerEpoch, i32)>,
    /// What a campaign under way would win.
    candidacy: Option<(ControllerEpoch, i32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Rebalance,
    Parked,
}

/// A reply that waits until brokers would see its topics come or go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parked {
    from: Asker,
    deadline: Instant,
    topics: Vec<Arc<str>>,
    response: Response<LogRange>,
}

/// The controller of one broker; see the head of this file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    id: BrokerId,
    settings: Settings,
    rng: Rng,
    office: Office,
    context: Context,
    batch: Batch,
    outbox: Outbox,

    // One event at a time; its steps; the questions the present step waits for.
    events: Queue<Event>,
    agenda: Queue<Step>,
    waiting: Option<Waiting>,
    /// The request the present event answers, until it is answered.
    answering: Option<(Asker, i16, Request)>,
    next_token: ZkToken,

    parked: Vec<Parked>,
    deadlines: Deadlines<Timer>,
}

impl Controller {
    pub fn new(id: BrokerId, settings: Settings, rng: Rng) -> Controller {
        let mut outbox = Outbox::default();
        outbox.on_channel(id, true);
        Controller {
            id,
            settings,
            rng,
            office: Office::default(),
            context: Context::default(),
            batch: Batch::default(),
            outbox,
            events: Queue::new(),
            agenda: Queue::new(),
            waiting: None,
            answering: None,
            next_token: 1,
            parked: Vec::new(),
            deadlines: Deadlines::default(),
        }
    }

    /// The epoch, while this broker is the controller.
    pub fn is_active(&self) -> Option<ControllerEpoch> {
        self.office.active.map(|(epoch, _)| epoch)
    }

    /// Who is controller, as far as this broker has read.
    pub fn controller(&self) -> Option<BrokerId> {
        self.office.holder
    }

    /// The registration of a live broker, as last read; only while this is the controller.
    pub fn broker_info(&self, id: BrokerId) -> Option<&znodes::BrokerInfo> {
        self.context.brokers.get(&id).map(|broker| &broker.info)
    }

    /// The live brokers, likewise.
    pub fn brokers(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.context.brokers.keys().copied()
    }

    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether this request is the controller's to answer (or to refuse with NOT_CONTROLLER).
    pub fn wants(request: &Request) -> bool {
        matches!(
            request,
            Request::AlterPartition(_)
                | Request::ControlledShutdown(_)
                | Request::CreateTopics(_)
                | Request::DeleteTopics(_)
                | Request::ElectLeaders(_)
                | Request::IncrementalAlterConfigs(_)
                | Request::AlterPartitionReassignments(_)
                | Request::ListPartitionReassignments(_)
                | Request::AllocateProducerIds(_)
        )
    }

    /// A session is established and the broker registered with it.
    pub fn on_session(&mut self, now: Now, session: SessionId, fx: Fx<'_>) {
        self.office.session = Some(session);
        self.events.push_back(Event::Elect);
        self.run(now, fx);
    }

    /// The same session on a new connection: questions lost with the old one are asked again.
    pub fn on_connected(&mut self, now: Now, fx: Fx<'_>) {
        if let Some(waiting) = &mut self.waiting {
            for at in core::mem::take(&mut waiting.lost) {
                fx.emit(Effect::Zk { token: waiting.first + u64::from(at), op: waiting.asked[at as usize].0.clone() });
            }
        }
        self.run(now, fx);
    }

    /// The session is gone, and `/controller` with it if we held it. What was to be done is dropped (C.2).
    pub fn on_expired(&mut self, _: Now, fx: Fx<'_>) {
        self.office.session = None;
        self.leave_office("its session expired", fx);
        self.drop_events(fx);
        self.office.holder = None;
    }

    /// ZooKeeper answered an [`Effect::Zk`].
    pub fn on_answer(&mut self, now: Now, token: ZkToken, answer: Answer, fx: Fx<'_>) {
        let Some(waiting) = &mut self.waiting else { return };
        let Some(at) = token.checked_sub(waiting.first).filter(|at| *at < waiting.asked.len() as u64) else { return };
        match answer {
            Err(KeeperError::CONNECTIONLOSS) => {
                waiting.lost.insert(at as u32);
            }
            Err(KeeperError::SESSIONEXPIRED) => {}
            answer => waiting.asked[at as usize].1 = Some(answer),
        }
        self.run(now, fx);
    }

    /// A watch fired. Paths that are not the controller's are passed over.
    pub fn on_watch(&mut self, now: Now, kind: WatchKind, path: &str, fx: Fx<'_>) {
        if path == znodes::CONTROLLER {
            self.events.push_back(Event::Elect);
            return self.run(now, fx);
        }
        if self.office.active.is_none() {
            return;
        }
        let event = match path {
            znodes::BROKER_IDS => Event::BrokersChanged,
            znodes::TOPICS => Event::TopicsChanged,
            znodes::DELETE_TOPICS => Event::DeletionsWanted,
            znodes::REASSIGN_PARTITIONS => Event::ReassignmentsWanted,
            znodes::PREFERRED_ELECTION => Event::PreferredWanted,
            znodes::LOG_DIR_EVENTS => Event::LogDirsFailed,
            znodes::ISR_CHANGES => Event::IsrsChanged,
            _ => match path.rsplit_once('/') {
                Some((znodes::BROKER_IDS, _)) if kind == WatchKind::DataChanged => Event::BrokerChanged,
                Some((znodes::TOPICS, topic)) if kind == WatchKind::DataChanged => Event::TopicChanged(topic.into()),
                _ => return,
            },
        };
        self.events.push_back(event);
        self.run(now, fx);
    }

    /// A request that [`Controller::wants`] says is ours. Answered by exactly one [`Effect::Reply`].
    pub fn on_request(&mut self, now: Now, from: Asker, version: i16, request: Request, fx: Fx<'_>) {
        let anywhere = matches!(request, Request::IncrementalAlterConfigs(_));
        if self.office.session.is_none() || (self.office.active.is_none() && !anywhere) {
            return self.refuse(from, &request, ErrorCode::NOT_CONTROLLER, fx);
        }
        self.events.push_back(Event::Request { from, version, request });
        self.run(now, fx);
    }

    /// Creates a topic from this broker, controller or not (auto-creation). `seats`: the live brokers as it knows them.
    pub fn create_topic(
        &mut self,
        now: Now,
        request: kafka::CreateTopicsRequest,
        seats: Vec<Seat>,
        from: Asker,
        fx: Fx<'_>,
    ) {
        if self.office.session.is_none() {
            return self.refuse(from, &Request::CreateTopics(request), ErrorCode::BROKER_NOT_AVAILABLE, fx);
        }
        self.events.push_back(Event::CreateHere { from, request, seats });
        self.run(now, fx);
    }

    /// A broker answered an [`Effect::Send`].
    pub fn on_response(&mut self, now: Now, from: BrokerId, correlation: i32, response: Response<Bytes>, fx: Fx<'_>) {
        if let Some(request) = self.outbox.on_response(from, correlation)
            && let Some(event) = self.learned(from, &request, &response)
        {
            self.events.push_back(event);
        }
        self.run(now, fx);
    }

    /// The channel to a broker came up or broke; told always, controller or not.
    pub fn on_channel(&mut self, now: Now, broker: BrokerId, up: bool, fx: Fx<'_>) {
        if broker != self.id {
            self.outbox.on_channel(broker, up);
        }
        self.run(now, fx);
    }

    pub fn on_wake(&mut self, now: Now, fx: Fx<'_>) {
        while let Some(timer) = self.deadlines.pop_due(now.at) {
            match timer {
                Timer::Rebalance => {
                    self.deadlines.set(Timer::Rebalance, now.at + self.settings.leader_imbalance_check_interval);
                    self.events.push_back(Event::Rebalance);
                }
                Timer::Parked => {}
            }
        }
        self.run(now, fx);
    }

    pub fn wake_at(&self) -> Option<Wake> {
        let (at, timer) = self.deadlines.soonest()?;
        let why = match timer {
            Timer::Rebalance => "looks for leaders that are not the preferred ones",
            Timer::Parked => "gives up waiting for a topic",
        };
        Some(Wake { at, why })
    }

    /// Runs answers, steps and events, in this order of precedence, until it has to wait for ZooKeeper.
    fn run(&mut self, now: Now, fx: Fx<'_>) {
        loop {
            if let Some(waiting) = &self.waiting {
                if waiting.asked.iter().any(|(_, answer)| answer.is_none()) {
                    break;
                }
                let Some(Waiting { asked, then, .. }) = self.waiting.take() else { break };
                if self.office.active.is_some() && asked.iter().any(|(op, answer)| is_fenced(op, answer.as_ref())) {
                    self.on_fenced(fx);
                    continue;
                }
                let answers = asked.into_iter().filter_map(|(_, answer)| answer).collect();
                self.resume(now, then, answers, fx);
            } else if let Some(step) = self.agenda.pop_front() {
                self.perform(now, step, fx);
            } else {
                if let Some((from, _, request)) = self.answering.take() {
                    self.refuse(from, &request, ErrorCode::UNKNOWN_SERVER_ERROR, fx);
                }
                self.settle_parked(now, fx);
                match self.events.pop_front() {
                    Some(event) => self.on_event(now, event, fx),
                    None => break,
                }
            }
        }
        for (to, correlation, request) in self.outbox.ready() {
            fx.emit(Effect::Send { to, correlation, request });
        }
    }

    fn on_event(&mut self, now: Now, event: Event, fx: Fx<'_>) {
        match event {
            Event::Elect => {
                if self.office.session.is_some() {
                    self.ask([Op::exists(znodes::CONTROLLER, true)], Then::LookedForController, fx);
                }
            }
            Event::CreateHere { from, request, seats } => {
                self.answering = Some((from, 7, Request::CreateTopics(request)));
                self.create_topics(now, Some(seats), fx)
            }
            Event::Request { from, version, request } => {
                let anywhere = matches!(request, Request::IncrementalAlterConfigs(_));
                if self.office.active.is_none() && !anywhere {
                    return self.refuse(from, &request, ErrorCode::NOT_CONTROLLER, fx);
                }
                self.answering = Some((from, version, request));
                self.on_asked(now, fx)
            }
            _ if self.office.active.is_none() => (),
            Event::BrokersChanged | Event::BrokerChanged => self.next([Step::ReadBrokers { failover: false }]),
            Event::TopicsChanged => self.next([Step::ReadTopics { failover: false }]),
            Event::TopicChanged(topic) => {
                let path = znodes::topic(&topic);
                self.ask([Op::get(&path, true)], Then::TopicChanged(topic), fx);
            }
            Event::DeletionsWanted => self.next([Step::ReadDeletions { failover: false }]),
            Event::ReassignmentsWanted => self.next([Step::ReadReassignments]),
            Event::PreferredWanted => self.next([Step::ReadPreferred]),
            Event::LogDirsFailed => self.read_notifications(znodes::LOG_DIR_EVENTS, fx),
            Event::IsrsChanged => self.read_notifications(znodes::ISR_CHANGES, fx),
            Event::ReplicasJudged { broken, mended } => self.replicas_judged(broken, mended),
            Event::ReplicasDeleted { done, failed } => self.on_replicas_deleted(done, failed),
            Event::Rebalance => self.rebalance(),
        }
    }

    fn perform(&mut self, now: Now, step: Step, fx: Fx<'_>) {
        match step {
            Step::Campaign => self.campaign(fx),
            Step::OldNotifications => self.delete_old_notifications(fx),
            Step::WatchNodes => {
                let nodes = [znodes::PREFERRED_ELECTION, znodes::REASSIGN_PARTITIONS];
                self.ask(nodes.map(|path| Op::exists(path, true)), Then::Nothing, fx);
            }
            Step::ReadBrokers { failover } => {
                self.ask([Op::children(znodes::BROKER_IDS, true)], Then::BrokerIds { failover }, fx);
            }
            Step::ReadTopics { failover } => {
                self.ask([Op::children(znodes::TOPICS, true)], Then::TopicNames { failover }, fx);
            }
            Step::ReadStates => {
                let all: Vec<TopicPartition> = self.context.partitions.keys().cloned().collect();
                let ops: Vec<Op> = all.iter().map(|tp| Op::get(&znodes::partition_state(tp), false)).collect();
                self.ask(ops, Then::States(all), fx);
            }
            Step::ReadDeletions { failover } => {
                self.ask([Op::children(znodes::DELETE_TOPICS, true)], Then::Deletions { failover }, fx);
            }
            Step::StartReplicas => self.start_replicas(),
            Step::StartPartitions => self.start_partitions(),
            Step::FailoverDone => self.on_failover_done(now, fx),
            Step::Replicas { to, of } => self.replicas_to(to, of),
            Step::Partitions { to, of } => self.partitions_to(to, of, fx),
            Step::Online { of, strategy } => self.partitions_online(of, strategy),
            Step::Initialize(of) => self.initialize(of, fx),
            Step::Elect { of, strategy } => self.read_for_election(of, strategy, fx),
            Step::LeaveIsr { replica, of } => self.read_to_leave_isr(replica, of, fx),
            Step::OnlineAll => self.online_all(),
            Step::Bump(tp) => self.ask([Op::get(&znodes::partition_state(&tp), false)], Then::BumpRead(tp), fx),
            Step::Flush => self.flush(),
            Step::Gather(batch) => self.batch = *batch,
            Step::UpdateMetadata { to, of } => {
                self.batch.update(to, of);
                self.flush();
            }
            Step::BrokersUp(brokers) => self.brokers_up(brokers, fx),
            Step::BrokersDown(ids) => self.brokers_down(ids, fx),
            Step::ReplicasOffline(replicas) => self.replicas_offline(replicas, fx),
            Step::NewPartitions(of) => self.new_partitions(of),
            Step::ResumeDeletions => self.resume_deletions(),
            Step::DeleteReplicas(topics) => self.delete_replicas(&topics),
            Step::DropTopic(topic) => self.drop_topic(topic, fx),
            Step::ReadReassignments => {
                self.ask([Op::get(znodes::REASSIGN_PARTITIONS, true)], Then::Reassignments, fx);
            }
            Step::Reassign(tp, to) => self.reassign(tp, to, fx),
            Step::ContinueReassign(tp) => self.check_for(tp, Then::FinishCheck, fx),
            Step::FinishReassign(tp) => self.finish_reassign(tp),
            Step::TakeTarget(tp) => self.take_target(&tp),
            Step::MoveLeader(tp) => self.move_leader(tp),
            Step::TrimReassignments => self.ask([Op::get(znodes::REASSIGN_PARTITIONS, true)], Then::ReassignNode, fx),
            Step::WriteTarget(tp) => self.write_target(tp, fx),
            Step::EndReassign(tp) => self.end_reassign(tp, fx),
            Step::CheckReassign(tp) => {
                if self.context.reassigning.contains(&tp) {
                    self.check_for(tp, Then::Checked, fx);
                }
            }
            Step::ResumeReassignments => self.resume_reassignments(),
            Step::ReadPreferred => self.ask([Op::get(znodes::PREFERRED_ELECTION, true)], Then::Preferred, fx),
            Step::EndPreferred => {
                let op = self.fenced(Op::delete(znodes::PREFERRED_ELECTION, -1));
                self.ask([op], Then::Nothing, fx);
            }
            Step::ShutdownReply(id) => self.reply_shutdown(id, fx),
            Step::ElectReply(refused, strategy, before) => self.reply_elections(refused, strategy, before, fx),
            Step::Answer(response) => self.reply(*response, fx),
            Step::ReadStatesOf(of) => {
                let ops: Vec<Op> = of.iter().map(|tp| Op::get(&znodes::partition_state(tp), false)).collect();
                self.ask(ops, Then::StatesAgain(of), fx);
            }
            Step::ProducerIds(to) => self.ask([Op::get(znodes::PRODUCER_ID_BLOCK, false)], Then::ProducerBlock(to), fx),
        }
    }

    fn resume(&mut self, now: Now, then: Then, mut answers: Vec<Answer>, fx: Fx<'_>) {
        match then {
            Then::Nothing => {}
            Then::LookedForController => self.on_looked(answers.remove(0), fx),
            Then::ReadController => self.on_controller_read(answers, fx),
            Then::ReadControllerEpoch => self.on_epoch_read(now, answers.pop().unwrap_or(Err(KeeperError::NONODE)), fx),
            Then::Campaigned => self.on_campaigned(answers.remove(0), fx),
            Then::Features => self.on_features(answers.remove(0), fx),
            Then::OldNotifications => self.on_old_notifications(answers, fx),
            Then::Armed(event) => {
                if answers.remove(0).is_ok() {
                    self.events.push_back(*event);
                }
            }
            Then::Notifications { dir } => self.on_notifications(dir, answers.remove(0), fx),
            Then::NotificationsOf { dir, names } => self.on_notifications_read(dir, names, answers, fx),
            Then::BrokerIds { failover } => self.on_broker_ids(failover, answers.remove(0), fx),
            Then::Brokers { failover, ids } => self.on_brokers_read(failover, ids, answers, fx),
            Then::TopicNames { failover } => self.on_topic_names(failover, answers.remove(0), fx),
            Then::Topics { failover, names } => self.on_topics_read(failover, names, answers),
            Then::States(of) => self.on_states_read(true, of, answers),
            Then::StatesAgain(of) => {
                self.on_states_read(false, of.clone(), answers);
                let to = self.context.broker_ids();
                self.next([Step::UpdateMetadata { to, of }]);
            }
            Then::Deletions { failover } => self.on_deletions_read(failover, answers.remove(0), fx),
            Then::Initialized(of) => self.on_initialized(of, answers, fx),
            Then::Adopt(of) => self.on_adopted(of, answers),
            Then::ElectRead { of, topics, strategy } => self.on_read_for_election(of, &topics, strategy, answers, fx),
            Then::Elected { of, strategy } => self.on_elected(of, strategy, answers, fx),
            Then::LeaveIsrRead { replica, of } => self.on_read_to_leave_isr(replica, of, answers, fx),
            Then::LeftIsr { replica, of } => self.on_left_isr(replica, of, answers, fx),
            Then::BumpRead(tp) => self.on_read_to_bump(tp, answers.remove(0), fx),
            Then::Bumped(tp, state) => self.on_bumped(tp, state, answers.remove(0)),
            Then::TopicChanged(topic) => self.on_topic_read(topic, answers.remove(0)),
            Then::Reassignments => self.on_reassignments_read(answers.remove(0), fx),
            Then::AssignmentWritten(tp, to) => self.on_assignment_written(tp, to, answers.remove(0), fx),
            Then::FinishCheck(tp) => self.on_finish_check(tp, answers.remove(0)),
            Then::Checked(tp) => self.on_checked(tp, answers.remove(0)),
            Then::ReassignNode => self.on_reassign_node(answers.remove(0), fx),
            Then::Preferred => self.on_preferred_read(answers.remove(0), fx),
            Then::TopicTree(topic) => self.on_topic_tree(topic, answers.remove(0), fx),
            Then::TopicDropped(topic) => self.on_topic_dropped(topic, fx),
            Then::IsrWritten(alter) => self.on_isr_written(*alter, answers, fx),
            Then::IsrReadBack(alter) => self.on_isr_read_back(*alter, answers, fx),
            Then::ConfigsSet(creation) => self.on_configs_set(*creation, answers, fx),
            Then::TopicsMade(creation) => self.on_topics_made(now, *creation, answers, fx),
            Then::DeletionsAsked(deletion) => self.on_deletions_asked(now, *deletion, answers, fx),
            Then::ConfigsRead(alteration) => self.on_configs_read(*alteration, answers, fx),
            Then::ConfigsWritten(alteration) => self.on_configs_written(*alteration, answers, fx),
            Then::ProducerBlock(to) => self.on_producer_block(to, answers.remove(0), fx),
            Then::ProducerBlockWritten(to, block) => self.on_producer_block_written(to, block, answers.remove(0), fx),
        }
    }

    /// Puts steps before everything else that is to be done.
    fn next(&mut self, steps: impl IntoIterator<Item = Step, IntoIter: DoubleEndedIterator>) {
        for step in steps.into_iter().rev() {
            self.agenda.push_front(step);
        }
    }

    /// Asks ZooKeeper all of these at once; `then` has the answers in the same order.
    fn ask(&mut self, ops: impl IntoIterator<Item = Op>, then: Then, fx: Fx<'_>) {
        assert!(self.waiting.is_none(), "a second round of questions while waiting for the first");
        let asked: Vec<(Op, Option<Answer>)> = ops.into_iter().map(|op| (op, None)).collect();
        let first = self.next_token;
        self.next_token += asked.len() as u64;
        for (at, (op, _)) in asked.iter().enumerate() {
            fx.emit(Effect::Zk { token: first + at as u64, op: op.clone() });
        }
        self.waiting = Some(Waiting { first, asked, lost: OrdSet::new(), then });
    }

    /// The write, done only if no newer controller was elected (KAFKA-6082).
    fn fenced(&self, op: Op) -> Op {
        match self.office.active {
            Some((_, version)) => Op::Multi(vec![Op::check(znodes::CONTROLLER_EPOCH, version), op]),
            None => op,
        }
    }

    fn epoch(&self) -> ControllerEpoch {
        self.office.active.map_or(ControllerEpoch(0), |(epoch, _)| epoch)
    }

    fn flush(&mut self) {
        let epoch = self.epoch();
        for (to, request) in self.batch.take(self.id, epoch, &self.context) {
            self.outbox.push(to, request);
        }
    }

    /// Answers the request at hand.
    fn reply(&mut self, response: Response<LogRange>, fx: Fx<'_>) {
        if let Some((to, _, _)) = self.answering.take() {
            fx.emit(Effect::Reply { to, response });
        }
    }

    fn on_fenced(&mut self, fx: Fx<'_>) {
        fx.note(ControllerNote::Fenced { epoch: self.epoch() });
        self.leave_office("a newer controller is elected", fx);
        self.events.push_back(Event::Elect);
    }

    /// Forgets everything a controller knows; what it was asked is refused.
    fn leave_office(&mut self, why: &'static str, fx: Fx<'_>) {
        if self.office.active.take().is_some() {
            fx.note(ControllerNote::Resigned { why });
        }
        self.office.candidacy = None;
        self.agenda.clear();
        self.waiting = None;
        self.batch = Batch::default();
        self.context = Context::default();
        self.outbox.clear();
        self.deadlines.clear_all();
        if let Some((from, _, request)) = self.answering.take() {
            self.refuse(from, &request, ErrorCode::NOT_CONTROLLER, fx);
        }
        for parked in core::mem::take(&mut self.parked) {
            fx.emit(Effect::Reply { to: parked.from, response: parked.response });
        }
    }

    fn drop_events(&mut self, fx: Fx<'_>) {
        for event in core::mem::take(&mut self.events) {
            match event {
                Event::Request { from, request, .. } => self.refuse(from, &request, ErrorCode::NOT_CONTROLLER, fx),
                Event::CreateHere { from, request, .. } => {
                    self.refuse(from, &Request::CreateTopics(request), ErrorCode::NOT_CONTROLLER, fx);
                }
                _ => {}
            }
        }
    }
}

/// Whether a write was refused because `/controller_epoch` had moved on.
fn is_fenced(op: &Op, answer: Option<&Answer>) -> bool {
    let Op::Multi(parts) = op else { return false };
    let fenced = matches!(parts.first(), Some(Op::Check { path, .. }) if &**path == znodes::CONTROLLER_EPOCH);
    let failed = match answer {
        Some(Ok(Done::Multi(results))) => results.first().and_then(|first| first.as_ref().err().copied()),
        _ => None,
    };
    fenced && matches!(failed, Some(KeeperError::BADVERSION | KeeperError::NONODE))
}

/// How the write inside a fenced multi went; of a plain one, how it went.
fn written(answer: Answer) -> Answer {
    match answer {
        Ok(Done::Multi(mut parts)) => parts.pop().unwrap_or(Err(KeeperError::SYSTEMERROR)),
        answer => answer,
    }
}

/// The data a read found.
fn data(answer: Answer) -> Option<Bytes> {
    match answer {
        Ok(Done::Data { data, .. }) => data,
        _ => None,
    }
}

/// The names a listing found, none if the node is not there.
fn names(answer: Answer) -> Vec<Arc<str>> {
    match answer {
        Ok(Done::Children { names, .. }) => names,
        _ => Vec::new(),
    }
}
