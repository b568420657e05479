//! A Kafka client's connections: one to each broker it talks to, answers matched to questions by correlation id, and the
//! cluster as Metadata last described it. Shared by producer, consumer and admin; knows nothing of what they ask.

use crate::api::kafka::{self, ErrorCode, MetadataRequest, MetadataResponse, MetadataTopic};
use crate::id::{BrokerId, DialId, LeaderEpoch, TopicId, TopicPartition};
use crate::machine::Effects;
use crate::node::{Address, Effect, KafkaRequest, Principal, Reply, Request, RequestBody};
use crate::ordered::OrdMap;
use crate::rng::Rng;
use crate::time::{Instant, Span};
use bytes::Bytes;
use std::sync::Arc;

/// The versions a client of ours speaks: the highest of each API that every broker here knows.
fn version_of(request: &kafka::Request) -> i16 {
    match request {
        // Names instead of topic ids: a client may not know them yet.
        kafka::Request::Fetch(_) => 12,
        other => other.key().max_version(),
    }
}

/// Where a partition's leader was when the cluster was last described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Led {
    pub leader: BrokerId,
    pub epoch: LeaderEpoch,
}

/// What arrived for the owner of the links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arrived<P> {
    /// The answer to what was asked.
    Answer { what: P, response: kafka::Response<Bytes> },
    /// No answer will come: the connection is gone, or it took too long. The request may have taken effect.
    Unknown { what: P },
    /// The cluster was described anew.
    Described,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    to: Address,
    open: bool,
    /// Asked before the connection was open.
    waiting: Vec<(i32, kafka::Request)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asked<P> {
    Metadata,
    Owner(P),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending<P> {
    dial: DialId,
    what: Asked<P>,
    deadline: Instant,
}

/// `P` is what the owner wants to remember of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Links<P> {
    bootstrap: Vec<Address>,
    timeout: Span,
    backoff: Span,
    rng: Rng,
    next_dial: u64,
    next_correlation: i32,
    links: OrdMap<DialId, Link>,
    pending: OrdMap<i32, Pending<P>>,
    pub brokers: OrdMap<BrokerId, Address>,
    pub controller: Option<BrokerId>,
    pub leaders: OrdMap<TopicPartition, Led>,
    /// A topic that was made again is another one, and its epochs begin anew.
    ids: OrdMap<Arc<str>, TopicId>,
    topics: Vec<Arc<str>>,
    /// A description is wanted, and not asked for before this.
    describe_at: Option<Instant>,
    described_last: Instant,
}

/// A description older than this is fetched again, as a client's `metadata.max.age.ms` would.
const MAX_AGE: Span = Span::secs(30);

impl<P: Clone> Links<P> {
    pub fn new(bootstrap: Vec<Address>, topics: Vec<Arc<str>>, timeout: Span, backoff: Span, rng: Rng) -> Links<P> {
        Links {
            bootstrap,
            timeout,
            backoff,
            rng,
            next_dial: 0,
            next_correlation: 0,
            links: OrdMap::new(),
            pending: OrdMap::new(),
            brokers: OrdMap::new(),
            controller: None,
            leaders: OrdMap::new(),
            ids: OrdMap::new(),
            topics,
            describe_at: Some(Instant::ZERO),
            described_last: Instant::ZERO,
        }
    }

    /// The cluster has changed, as an error told: ask for a description after a pause.
    pub fn describe(&mut self, now: Instant) {
        let at = now + self.backoff;
        self.describe_at = Some(self.describe_at.map_or(at, |planned| planned.min(at)));
    }

    /// Asks a broker. False if nobody knows where it is.
    pub fn ask(
        &mut self,
        now: Instant,
        to: BrokerId,
        what: P,
        request: kafka::Request,
        fx: &mut Effects<Effect>,
    ) -> bool {
        let Some(address) = self.brokers.get(&to).cloned() else { return false };
        self.ask_at(now, address, Asked::Owner(what), request, fx);
        true
    }

    fn ask_at(&mut self, now: Instant, to: Address, what: Asked<P>, request: kafka::Request, fx: &mut Effects<Effect>) {
        self.next_correlation += 1;
        let correlation = self.next_correlation;
        let dial = match self.links.iter().find(|(_, link)| link.to == to) {
            Some((dial, _)) => *dial,
            None => {
                self.next_dial += 1;
                let dial = DialId(self.next_dial);
                self.links.insert(dial, Link { to: to.clone(), open: false, waiting: Vec::new() });
                fx.emit(Effect::Dial { dial, to });
                dial
            }
        };
        self.pending.insert(correlation, Pending { dial, what, deadline: now + self.timeout });
        match self.links.get_mut(&dial) {
            Some(link) if link.open => emit(dial, correlation, request, fx),
            Some(link) => link.waiting.push((correlation, request)),
            None => {}
        }
    }

    /// A produce request with acks=0 has no answer; nothing is remembered of it.
    pub fn tell(
        &mut self,
        now: Instant,
        to: BrokerId,
        what: P,
        request: kafka::Request,
        fx: &mut Effects<Effect>,
    ) -> bool {
        let told = self.ask(now, to, what, request, fx);
        self.pending.remove(&self.next_correlation);
        told
    }

    pub fn on_opened(&mut self, dial: DialId, fx: &mut Effects<Effect>) {
        if let Some(link) = self.links.get_mut(&dial) {
            link.open = true;
            for (correlation, request) in core::mem::take(&mut link.waiting) {
                emit(dial, correlation, request, fx);
            }
        }
    }

    /// Everything asked over this connection has an unknown outcome.
    pub fn on_hung(&mut self, now: Instant, dial: DialId) -> Vec<Arrived<P>> {
        self.links.remove(&dial);
        let lost: Vec<i32> = self.pending.iter().filter(|(_, p)| p.dial == dial).map(|(id, _)| *id).collect();
        self.describe(now);
        lost.into_iter().filter_map(|id| self.give_up(id)).collect()
    }

    fn give_up(&mut self, correlation: i32) -> Option<Arrived<P>> {
        match self.pending.remove(&correlation)?.what {
            Asked::Metadata => None,
            Asked::Owner(what) => Some(Arrived::Unknown { what }),
        }
    }

    pub fn on_answer(&mut self, now: Instant, reply: Reply<Bytes>) -> Option<Arrived<P>> {
        let Reply::Kafka { correlation, body, .. } = reply else { return None };
        match (self.pending.remove(&correlation)?.what, body) {
            (Asked::Metadata, kafka::Response::Metadata(described)) => {
                self.on_description(now, &described);
                Some(Arrived::Described)
            }
            (Asked::Metadata, _) => None,
            (Asked::Owner(what), response) => Some(Arrived::Answer { what, response }),
        }
    }

    fn on_description(&mut self, now: Instant, described: &MetadataResponse) {
        self.described_last = now;
        self.brokers = described
            .brokers
            .iter()
            .map(|broker| (broker.node, Address { host: broker.host.clone(), port: broker.port as u16 }))
            .collect();
        self.controller = Some(described.controller_id).filter(|id| id.0 >= 0);
        let mut incomplete = self.brokers.is_empty();
        for topic in &described.topics {
            let Some(name) = &topic.name else { continue };
            incomplete |= topic.error != ErrorCode::NONE;
            if topic.topic_id != TopicId::NONE && self.ids.insert(name.clone(), topic.topic_id) != Some(topic.topic_id)
            {
                self.leaders.retain(|partition, _| partition.topic != *name);
            }
            for partition in &topic.partitions {
                let id = TopicPartition::new(name.clone(), partition.partition);
                incomplete |= partition.leader.0 < 0;
                let known = self.leaders.get(&id).map_or(LeaderEpoch::NONE, |led| led.epoch);
                // A description by a broker that lags must not take us back to an older leader (KIP-320).
                if partition.leader.0 >= 0 && partition.leader_epoch >= known {
                    self.leaders.insert(id, Led { leader: partition.leader, epoch: partition.leader_epoch });
                }
            }
        }
        if incomplete {
            self.describe(now);
        }
    }

    /// Time-outs, and the description if one is due.
    pub fn on_wake(&mut self, now: Instant, fx: &mut Effects<Effect>) -> Vec<Arrived<P>> {
        let late: Vec<i32> = self.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(id, _)| *id).collect();
        let mut arrived = Vec::new();
        for correlation in late {
            // A connection that does not answer is given up with everything asked over it.
            if let Some(dial) = self.pending.get(&correlation).map(|p| p.dial) {
                fx.emit(Effect::HangupDial { dial });
                arrived.extend(self.on_hung(now, dial));
            }
        }
        if now.since(self.described_last) >= MAX_AGE && self.describe_at.is_none() {
            self.describe_at = Some(now);
        }
        let asking = self.pending.values().any(|p| matches!(p.what, Asked::Metadata));
        if self.describe_at.is_some_and(|at| at <= now) && !asking {
            self.describe_at = None;
            let known: Vec<&Address> = self.brokers.values().collect();
            let to = if known.is_empty() || self.rng.chance(1, 4) {
                self.rng.pick(&self.bootstrap).cloned()
            } else {
                self.rng.pick(&known).map(|address| (*address).clone())
            };
            if let Some(to) = to {
                let topics = self
                    .topics
                    .iter()
                    .map(|name| MetadataTopic { name: Some(name.clone()), ..MetadataTopic::default() });
                let request = MetadataRequest {
                    topics: Some(topics.collect()),
                    allow_auto_topic_creation: false,
                    ..MetadataRequest::default()
                };
                self.ask_at(now, to, Asked::Metadata, request.into(), fx);
            }
        }
        arrived
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let deadline = self.pending.values().map(|p| p.deadline).min();
        let asking = self.pending.values().any(|p| matches!(p.what, Asked::Metadata));
        let describe = if asking { None } else { Some(self.describe_at.unwrap_or(self.described_last + MAX_AGE)) };
        [deadline, describe].into_iter().flatten().min()
    }

    /// Questions that wait for an answer.
    pub fn in_flight(&self) -> u32 {
        self.pending.values().filter(|p| matches!(p.what, Asked::Owner(_))).count() as u32
    }
}

fn emit(dial: DialId, correlation: i32, body: kafka::Request, fx: &mut Effects<Effect>) {
    let version = version_of(&body);
    let request = KafkaRequest { version, correlation, client: Some("glasshouse".into()), body };
    fx.emit(Effect::Ask {
        dial,
        request: Request { listener: 0, principal: Principal::Anonymous, body: RequestBody::Kafka(request) },
    });
}

/// Errors after which the same request may succeed later, perhaps elsewhere.
pub fn is_retriable(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::NOT_CONTROLLER
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::OFFSET_NOT_AVAILABLE
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::CORRUPT_MESSAGE
    )
}
