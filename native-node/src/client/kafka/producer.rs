//! Writes records: gathers them into batches, keeps several batches of a partition under way, and repeats what did not
//! arrive, in order, and with idempotence exactly once.
//!
//! Whoever sends puts records into [`state`]'s queues and waits only for room; [`engine`] is the task that moves them.

mod engine;
mod state;

use super::connection::Result;
use super::{Client, Error, partitioner};
use glasshouse_core::api::kafka::ErrorCode;
use glasshouse_core::id::TopicPartition;
use glasshouse_core::record::batch::NewRecord;
use glasshouse_core::record::offset::Offset;
use state::{Outcome, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};

/// How a producer behaves.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// 0: nobody confirms; 1: the leader; −1: all in-sync replicas.
    pub acks: i16,
    /// A repeated batch is recognised. Needs acks −1.
    pub idempotent: bool,
    /// How long a batch that is not full waits for more.
    pub linger: Duration,
    /// A batch is full at so many bytes.
    pub batch_bytes: usize,
    /// Batches of one partition under way at once; brokers recognise a repetition among the last five.
    pub in_flight: usize,
    /// Bytes of records that wait or are under way; who sends more waits.
    pub buffer_bytes: usize,
    /// After so long a record that is not confirmed has failed.
    pub delivery_timeout: Duration,
    /// For one answer; also what a leader is told to wait for its ISR.
    pub request_timeout: Duration,
}

impl Default for ProducerSettings {
    fn default() -> ProducerSettings {
        ProducerSettings {
            acks: -1,
            idempotent: true,
            linger: Duration::from_millis(5),
            batch_bytes: 256 * 1024,
            in_flight: 5,
            buffer_bytes: 64 << 20,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// Where a record has come to lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub partition: TopicPartition,
    /// −1 where no broker told: acks 0, or a repetition whose first answer was lost.
    pub offset: Offset,
}

/// The fate of one record; need not be awaited.
#[derive(Clone, Debug)]
pub struct Delivery {
    partition: TopicPartition,
    index: i64,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Delivery {
    /// Waits until it is decided.
    ///
    /// # Errors
    /// Why it failed; [`Error::is_unknown`] tells whether it may lie in the log all the same.
    pub async fn wait(mut self) -> Result<Delivered> {
        let decided = self.outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        let gone = || Error::Lost { address: self.partition.to_string(), why: "the producer was dropped".into() };
        self.read(decided.map_err(|_| gone())?.ok_or_else(gone)?)
    }

    /// The outcome, if it is decided.
    pub fn now(&self) -> Option<Result<Delivered>> {
        let decided = self.outcome.borrow().clone();
        decided.map(|outcome| self.read(outcome))
    }

    fn read(&self, outcome: Outcome) -> Result<Delivered> {
        let base = outcome?;
        let offset = if base.0 < 0 { base } else { base + self.index };
        Ok(Delivered { partition: self.partition.clone(), offset })
    }
}

/// A producer; share it by reference or `Arc`. Dropping it gives up what is under way: [`Producer::flush`] first.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    shared: Arc<Shared>,
    engine: tokio::task::AbortHandle,
}

/// Between those who send and the engine.
#[derive(Debug)]
struct Shared {
    settings: ProducerSettings,
    state: Mutex<State>,
    /// Something may be sent that could not be before.
    wake: Notify,
    /// Bytes that may still be taken in.
    room: Semaphore,
    /// For records without a key: where the next batch goes.
    sticky: Mutex<BTreeMap<Arc<str>, i32>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.engine.abort();
    }
}

impl Producer {
    /// Gets a producer id, if it is to be idempotent, and starts.
    ///
    /// # Errors
    /// No broker hands a producer id out in time. Panics on settings that contradict each other: idempotence without
    /// acks −1, or with more than five batches in flight.
    pub async fn start(client: Client, settings: ProducerSettings) -> Result<Producer> {
        assert!((-1..=1).contains(&settings.acks), "acks {} is none of -1, 0, 1", settings.acks);
        assert!((1..=1 << 30).contains(&settings.buffer_bytes), "a buffer of {} bytes", settings.buffer_bytes);
        assert!(settings.in_flight >= 1, "{} batches in flight", settings.in_flight);
        if settings.idempotent {
            assert!(settings.acks == -1, "idempotence with acks {}, not -1", settings.acks);
            assert!(settings.in_flight <= 5, "idempotence with {} batches in flight, more than 5", settings.in_flight);
        }
        let identity = if settings.idempotent { Some(client.init_producer_id().await?) } else { None };
        let shared = Arc::new(Shared {
            room: Semaphore::new(settings.buffer_bytes),
            settings,
            state: Mutex::new(State::new(identity)),
            wake: Notify::new(),
            sticky: Mutex::default(),
        });
        let engine = tokio::spawn(engine::run(client.clone(), shared.clone())).abort_handle();
        Ok(Producer { client, shared, engine })
    }

    /// Takes a record in, once there is room for it. Without a partition its key decides, and without a key each batch
    /// goes to the next.
    ///
    /// # Errors
    /// No broker knows the topic, or it has no such partition.
    pub async fn send(&self, topic: &Arc<str>, partition: Option<i32>, record: NewRecord) -> Result<Delivery> {
        let partitions = match self.client.partitions(topic) {
            Some(partitions) => partitions,
            None => self.client.topic(topic, self.client.settings().timeout).await?.partitions.len() as i32,
        };
        if let Some(partition) = partition.filter(|partition| !(0..partitions).contains(partition)) {
            let what = format!("{topic} has partitions 0 to {}, and none {partition}", partitions - 1);
            return Err(super::refused(what, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None));
        }
        let bytes = state::weight(&record).min(self.shared.settings.buffer_bytes);
        let permit = match self.shared.room.try_acquire_many(bytes as u32) {
            Ok(permit) => permit,
            Err(_) => self.shared.room.acquire_many(bytes as u32).await.expect("the semaphore is never closed"),
        };
        permit.forget();
        let keyed = record.key.as_ref().map(|key| partitioner::of_key(key, partitions));
        let chosen = partition.or(keyed).unwrap_or_else(|| self.sticky(topic, partitions));
        let place = TopicPartition { topic: topic.clone(), partition: chosen };
        let taken = self.shared.state().take(place, record, bytes, &self.shared.settings);
        if taken.is_full && partition.is_none() && keyed.is_none() {
            self.turn(topic, partitions);
        }
        if taken.is_first || taken.is_full {
            self.shared.wake.notify_one();
        }
        Ok(taken.delivery)
    }

    fn sticky(&self, topic: &Arc<str>, partitions: i32) -> i32 {
        let mut sticky = self.shared.sticky.lock().unwrap_or_else(PoisonError::into_inner);
        *sticky.entry(topic.clone()).or_insert(0) % partitions.max(1)
    }

    fn turn(&self, topic: &Arc<str>, partitions: i32) {
        let mut sticky = self.shared.sticky.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chosen) = sticky.get_mut(topic) {
            *chosen = (*chosen + 1) % partitions.max(1);
        }
    }

    /// Sends what was taken in without further delay, and waits until the fate of each record is decided. Says nothing
    /// of how: each [`Delivery`] does.
    pub async fn flush(&self) {
        let outcomes = self.shared.state().flush();
        self.shared.wake.notify_one();
        for mut outcome in outcomes {
            let _decided_or_dropped = outcome.wait_for(Option::is_some).await;
        }
    }

    /// Records that are taken in and not decided.
    pub fn outstanding(&self) -> usize {
        self.shared.state().outstanding()
    }
}
