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
//! create_topic(now, request: CreateTopicsRequest, seats: Vec<place::Seat>, from: Asker, fx) -> Result<(), ErrorCode>
//!     (auto-creation, on any broker)
//! set_settings(settings: Settings)
//! fx: &mut Effects<controller::Effect>
//! ```

mod admin;
mod agenda;
mod brokers;
mod configs;
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
mod work;

#[cfg(test)]
mod tests;

use crate::api::kafka::{self, ErrorCode, Request, Response};
use crate::broker::config::Settings;
use crate::broker::znodes;
use crate::id::{BrokerEpoch, BrokerId, ControllerEpoch, SessionId, TopicPartition};
use crate::keeper::client::op::{ANY_VERSION, Answer, CreateMode, Done, KeeperError, Op, WatchKind};
use crate::machine::Effects;
use crate::note::controller::ControllerNote;
use crate::ordered::{OrdMap, OrdSet};
use crate::queue::Queue;
use crate::record::offset::LogRange;
use crate::rng::Rng;
use crate::time::{Deadlines, Instant, Now, Span, Wake};
use agenda::{Event, Learned, Step, Then};
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

    /// The settings of a topic, or of all brokers, allow an unclean leader from now on: partitions without one need not
    /// wait for a member of their ISR any more.
    pub fn on_unclean_allowed(&mut self, now: Now, fx: Fx<'_>) {
        self.events.push_back(Event::UncleanAllowed);
        self.run(now, fx);
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
    ///
    /// # Errors
    /// What is known at once to be wrong with it: nothing is made, and nobody answered.
    pub fn create_topic(
        &mut self,
        now: Now,
        request: kafka::CreateTopicsRequest,
        seats: Vec<Seat>,
        from: Asker,
        fx: Fx<'_>,
    ) -> Result<(), ErrorCode> {
        if self.office.session.is_none() {
            return Err(ErrorCode::BROKER_NOT_AVAILABLE);
        }
        self.foresee(&request, &seats)?;
        self.events.push_back(Event::CreateHere { from, request, seats });
        self.run(now, fx);
        Ok(())
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
