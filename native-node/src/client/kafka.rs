//! A client of brokers: finds out who leads what, asks the right one, and tries again elsewhere when it was not.
//!
//! [`Client`] asks single questions; [`Producer`] writes records, [`Consumer`] reads them. A client is cheap to clone
//! and its clones share connections. Waiting fetches and produce requests travel on connections of their own, because a
//! broker answers one connection in order.

mod admin;
mod connection;
mod consumer;
mod partitioner;
mod producer;
mod unpack;

pub use admin::{At, ConfigEntry, NewTopic};
pub use consumer::{Consumed, Consumer, ConsumerSettings, Reset, Start};
pub use partitioner::murmur2;
pub use producer::{Delivered, Delivery, Producer, ProducerSettings};

use super::Error;
use bytes::Bytes;
use connection::{Connection, Result};
use glasshouse_core::api::kafka::{
    ErrorCode, MetadataRequest, MetadataResponse, MetadataTopic, MetadataTopicResponse, Request, Response,
};
use glasshouse_core::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use glasshouse_core::node::Address;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it calls itself.
    pub name: Arc<str>,
    /// For a connection to come about, greeting included.
    pub connect_timeout: Duration,
    /// For one answer. A connection that is late with one is broken off.
    pub request_timeout: Duration,
    /// For a question with all its repetitions.
    pub timeout: Duration,
    /// The rest before the first repetition; it doubles up to a second.
    pub backoff: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name: "glasshouse".into(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            backoff: Duration::from_millis(50),
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Questions,
    Produce,
    Fetch,
}

/// A client of one cluster.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bootstrap: Vec<Address>,
    settings: Settings,
    known: Mutex<Known>,
}

/// What was learned, and the connections there are.
#[derive(Debug, Default)]
struct Known {
    brokers: BTreeMap<BrokerId, Address>,
    leaders: BTreeMap<TopicPartition, Led>,
    /// How many partitions a topic has.
    partitions: BTreeMap<Arc<str>, i32>,
    connections: BTreeMap<(Address, Lane), Connection>,
    /// Turns the order in which brokers are asked, so that one with old news is not believed for ever.
    turn: usize,
}

#[derive(Clone, Copy, Debug)]
struct Led {
    leader: BrokerId,
    epoch: LeaderEpoch,
    topic: TopicId,
}

impl Client {
    /// Reaches one of the addresses and learns the cluster.
    ///
    /// # Errors
    /// [`Error::Unreachable`] at once if no address can be reached.
    pub async fn connect(bootstrap: Vec<Address>, settings: Settings) -> Result<Client> {
        let client = Client { shared: Arc::new(Shared { bootstrap, settings, known: Mutex::default() }) };
        client.metadata(Some(&[])).await?;
        Ok(client)
    }

    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a broker is, as last learned.
    pub fn address(&self, broker: BrokerId) -> Option<Address> {
        self.known().brokers.get(&broker).cloned()
    }

    /// Who leads a partition, and where that is, as last learned.
    pub fn leader(&self, partition: &TopicPartition) -> Option<(BrokerId, Address)> {
        let known = self.known();
        let led = known.leaders.get(partition).filter(|led| led.leader.0 >= 0)?;
        Some((led.leader, known.brokers.get(&led.leader)?.clone()))
    }

    /// How many partitions a topic has, as last learned.
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.known().partitions.get(topic).copied()
    }

    /// Asks one broker one question, once; the others on this connection go before it.
    ///
    /// # Errors
    /// Of the connection; what the broker thinks of the question is in the answer.
    pub async fn ask(&self, broker: &Address, body: impl Into<Request>) -> Result<Response<Bytes>> {
        self.ask_on(broker, Lane::Questions, body.into(), self.shared.settings.request_timeout).await
    }

    /// Queues a question at once, so that those to one broker leave in the order of the calls.
    fn ask_on(
        &self,
        broker: &Address,
        lane: Lane,
        body: Request,
        limit: Duration,
    ) -> impl Future<Output = Result<Response<Bytes>>> + Send + use<> {
        let connection = self.connection(broker, lane);
        let answer = connection.ask(body);
        async move {
            match timeout(limit, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(connection.too_late(limit)),
            }
        }
    }

    fn connection(&self, broker: &Address, lane: Lane) -> Connection {
        let settings = &self.shared.settings;
        let open = || Connection::open(broker.clone(), settings.name.clone(), settings.connect_timeout);
        let mut known = self.known();
        let place = known.connections.entry((broker.clone(), lane)).or_insert_with(open);
        if place.is_over() {
            *place = open();
        }
        place.clone()
    }

    /// Asks for the cluster and these topics (`None`: all) whoever answers first, and learns from it.
    ///
    /// # Errors
    /// No broker that is known can be reached.
    pub async fn metadata(&self, topics: Option<&[Arc<str>]>) -> Result<MetadataResponse> {
        let topics = topics.map(|names| {
            let topic = |name: &Arc<str>| MetadataTopic { name: Some(name.clone()), ..MetadataTopic::default() };
            names.iter().map(topic).collect::<Vec<_>>()
        });
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let mut errors = Vec::new();
        // A broker that hangs must not hide those that do not, nor all of them together take longer than a question may.
        let candidates = self.candidates();
        let Settings { request_timeout, timeout, .. } = self.shared.settings;
        let limit = request_timeout.min(Duration::from_secs(3)).min(timeout / candidates.len().max(1) as u32);
        for address in candidates {
            match self.ask_on(&address, Lane::Questions, request.clone().into(), limit).await {
                Ok(Response::Metadata(metadata)) => {
                    self.learn(&metadata);
                    return Ok(metadata);
                }
                Ok(other) => errors.push(unexpected(&address, &other)),
                Err(error) => errors.push(error),
            }
        }
        Err(first_told(errors, &self.shared.bootstrap))
    }

    /// Whom to ask, in turn: the brokers that are known, then where it all began.
    fn candidates(&self) -> Vec<Address> {
        let mut known = self.known();
        let mut candidates: Vec<Address> = known.brokers.values().cloned().collect();
        if !candidates.is_empty() {
            known.turn = (known.turn + 1) % candidates.len();
            let turn = known.turn;
            candidates.rotate_left(turn);
        }
        for address in &self.shared.bootstrap {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        candidates
    }

    fn learn(&self, metadata: &MetadataResponse) {
        let mut known = self.known();
        if !metadata.brokers.is_empty() {
            let address = |port: i32, host: &Arc<str>| Address { host: host.clone(), port: port as u16 };
            known.brokers = metadata.brokers.iter().map(|b| (b.node, address(b.port, &b.host))).collect();
        }
        for topic in &metadata.topics {
            let Some(name) = &topic.name else { continue };
            if topic.error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                known.partitions.remove(name);
                known.leaders.retain(|at, _| at.topic != *name);
            }
            if topic.partitions.is_empty() {
                continue;
            }
            known.partitions.insert(name.clone(), topic.partitions.len() as i32);
            for part in &topic.partitions {
                let led = Led { leader: part.leader, epoch: part.leader_epoch, topic: topic.topic_id };
                let place = TopicPartition { topic: name.clone(), partition: part.partition };
                let old = known.leaders.get(&place);
                if old.is_none_or(|old| old.topic != led.topic || old.epoch <= led.epoch) {
                    known.leaders.insert(place, led);
                }
            }
        }
    }

    /// The topic, once a broker knows it.
    ///
    /// # Errors
    /// [`Error::Refused`] with UNKNOWN_TOPIC_OR_PARTITION if none does, after `patience`.
    pub async fn topic(&self, name: &Arc<str>, patience: Duration) -> Result<MetadataTopicResponse> {
        let mut again = Again::within(patience, self.shared.settings.backoff);
        loop {
            let error = match self.metadata(Some(std::slice::from_ref(name))).await {
                Err(error) => error,
                Ok(metadata) => match metadata.topics.into_iter().next() {
                    Some(topic) if topic.error == ErrorCode::NONE => return Ok(topic),
                    Some(topic) => refused(format!("topic {name}"), topic.error, None),
                    None => refused(format!("topic {name}"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None),
                },
            };
            if !may_pass(&error) || !again.rest().await {
                return Err(error);
            }
        }
    }
}

/// Repetitions with growing rests, up to a deadline.
struct Again {
    deadline: Instant,
    rest: Duration,
}

impl Again {
    fn within(limit: Duration, rest: Duration) -> Again {
        Again { deadline: Instant::now() + limit, rest }
    }

    /// Rests; false without a rest where the time is up before its end.
    async fn rest(&mut self) -> bool {
        if Instant::now() + self.rest > self.deadline {
            return false;
        }
        sleep(self.rest).await;
        self.rest = (self.rest * 2).min(Duration::from_secs(1));
        true
    }
}

fn refused(what: String, code: ErrorCode, message: Option<String>) -> Error {
    Error::Refused { what, code, message }
}

fn unexpected(address: &Address, response: &Response<Bytes>) -> Error {
    Error::Malformed { address: address.to_string(), why: format!("a {} answer to something else", response.name()) }
}

/// The same question may succeed later.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Lost { .. } => true,
        Error::Refused { code, .. } => passes(*code),
        Error::TimedOut { .. } | Error::Keeper { .. } | Error::Unsupported { .. } | Error::Malformed { .. } => false,
    }
}

/// Errors after which the same request may succeed, perhaps elsewhere.
fn passes(code: ErrorCode) -> bool {
    let also = [
        ErrorCode::BROKER_NOT_AVAILABLE,
        ErrorCode::REPLICA_NOT_AVAILABLE,
        ErrorCode::NETWORK_EXCEPTION,
        ErrorCode::THROTTLING_QUOTA_EXCEEDED,
    ];
    glasshouse_core::client::links::is_retriable(code) || also.contains(&code)
}

/// One error for many tries: what somebody said beats that nobody was there.
fn first_told(errors: Vec<Error>, bootstrap: &[Address]) -> Error {
    let told = errors.iter().position(|error| !error.is_unreachable());
    match (told, errors.len()) {
        (Some(at), _) => errors.into_iter().nth(at).expect("its position was found"),
        (None, 1) => errors.into_iter().next().expect("it is the one"),
        (None, _) => {
            let why = match errors.first() {
                Some(Error::Unreachable { why, .. }) if all_same(&errors) => why.clone(),
                Some(error) => error.to_string(),
                None => "there is no address to try".into(),
            };
            Error::Unreachable { address: super::join(bootstrap), why }
        }
    }
}

fn all_same(errors: &[Error]) -> bool {
    let why = |error: &Error| match error {
        Error::Unreachable { why, .. } => Some(why.clone()),
        _ => None,
    };
    errors.windows(2).all(|pair| why(&pair[0]) == why(&pair[1]))
}

#[cfg(test)]
mod tests;
