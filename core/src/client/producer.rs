//! A Kafka producer: batches in order to each partition, retried until answered; idempotent if asked (KIP-98).
//!
//! At most five batches of a partition are in flight. After a failure nothing more is sent to that partition until all
//! of them are answered; then they go again in order and one at a time, so that sequences never overtake each other, and
//! so that none that may be in the log is older than the five a broker remembers. An answer that overtakes an earlier
//! batch's counts as a failure, too: the earlier one went to another leader, and each further batch would push it out of
//! those five. It never gives a batch up: what is unanswered at the end of a run has an unknown outcome.

use super::links::{Arrived, Links, is_retriable};
use crate::api::kafka::{self, ErrorCode, InitProducerIdRequest, ProducePartition, ProduceRequest, ProduceTopic};
use crate::id::{ProducerEpoch, ProducerId, TopicPartition};
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::client::ClientNote;
use crate::ordered::OrdMap;
use crate::queue;
use crate::record::batch::{BatchBuilder, NewRecord};
use crate::record::offset::Offset;
use crate::time::{Instant, Now, Span};
use bytes::Bytes;
use std::sync::Arc;

/// What a producer is asked to do by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub topic: Arc<str>,
    pub partitions: u32,
    /// 0, 1, or −1 for all.
    pub acks: i16,
    pub idempotent: bool,
    /// Between two batches; zero: only when commanded.
    pub every: Span,
    pub records: u32,
    /// Bytes of a record's value.
    pub record_bytes: u32,
    /// Told to the broker: how long it may wait for the ISR.
    pub request_timeout: Span,
    pub backoff: Span,
    /// Makes every value of a run unique: the client's number.
    pub number: u32,
}

/// Batches of one partition in flight at once (`max.in.flight.requests.per.connection`).
const IN_FLIGHT: usize = 5;
/// Batches waiting for one partition; more are not made (`buffer.memory`).
const BUFFERED: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Batch {
    /// The value of its first record; the others follow.
    first: u64,
    records: u32,
    sequence: i32,
    /// When it was made: since then it waits for an answer.
    made: Instant,
    /// Unanswered sends of it.
    in_flight: bool,
    /// It was sent at least once: it may be in the log.
    sent: bool,
}

/// What is remembered of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    ProducerId,
    Produce { partition: TopicPartition, first: u64, epoch: ProducerEpoch },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Queue {
    batches: queue::Queue<Batch>,
    next_sequence: i32,
    /// Its sequences count in this epoch.
    epoch: ProducerEpoch,
    /// Something failed: wait until nothing is in flight.
    draining: bool,
    /// What failed goes again, one at a time.
    retrying: bool,
    not_before: Instant,
}

impl Queue {
    /// Its sequences begin anew.
    fn begin_epoch(&mut self, epoch: ProducerEpoch) {
        self.epoch = epoch;
        self.next_sequence = 0;
        for batch in &mut self.batches {
            batch.sequence = self.next_sequence;
            self.next_sequence = advance(self.next_sequence, batch.records);
        }
    }

    /// Something is to be sent, and nothing but time keeps it.
    fn is_waiting_to_send(&self) -> bool {
        let in_flight = self.batches.iter().any(|batch| batch.in_flight);
        self.batches.front().is_some_and(|batch| !batch.in_flight) && !(self.draining && in_flight)
    }
}

/// A producer of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    config: Config,
    links: Links<Asked>,
    id: Option<(ProducerId, ProducerEpoch)>,
    asking_id: bool,
    id_not_before: Instant,
    queues: OrdMap<TopicPartition, Queue>,
    next_value: u64,
    next_partition: u32,
    next_batch_at: Instant,
    busy: bool,
    pub acknowledged: u64,
    pub failed: u64,
}

impl Producer {
    pub fn new(config: Config, links: Links<Asked>, now: Now) -> Producer {
        let queues = (0..config.partitions)
            .map(|p| (TopicPartition::new(config.topic.clone(), p as i32), Queue::default()))
            .collect();
        Producer {
            next_batch_at: now.at + config.every,
            next_value: u64::from(config.number) << 40,
            config,
            links,
            id: None,
            asking_id: false,
            id_not_before: Instant::ZERO,
            queues,
            next_partition: 0,
            busy: true,
            acknowledged: 0,
            failed: 0,
        }
    }

    pub fn links(&mut self) -> &mut Links<Asked> {
        &mut self.links
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn set_busy(&mut self, now: Now, busy: bool) {
        self.busy = busy;
        self.next_batch_at = now.at + self.config.every;
    }

    /// Records sent and not answered.
    pub fn in_flight(&self) -> u32 {
        self.queues.values().flat_map(|queue| &queue.batches).filter(|b| b.sent).map(|b| b.records).sum()
    }

    /// Records made and not answered, sent or not.
    pub fn waiting(&self) -> u32 {
        self.queues.values().flat_map(|queue| &queue.batches).map(|batch| batch.records).sum()
    }

    /// Since when the oldest batch without an answer waits, whatever else is answered meanwhile, of those partitions that
    /// count.
    pub fn waits_since(&self, counts: impl Fn(&TopicPartition) -> bool) -> Option<Instant> {
        let queues = self.queues.iter().filter(|(partition, _)| counts(partition));
        queues.flat_map(|(_, queue)| &queue.batches).map(|batch| batch.made).min()
    }

    /// Puts one batch into a partition's queue.
    pub fn enqueue(&mut self, now: Instant, partition: &TopicPartition, records: u32, fx: &mut Effects<Effect>) {
        let Some(queue) = self.queues.get_mut(partition) else { return };
        let first = self.next_value;
        self.next_value += u64::from(records);
        let sequence = queue.next_sequence;
        queue.next_sequence = advance(sequence, records);
        queue.batches.push_back(Batch { first, records, sequence, made: now, in_flight: false, sent: false });
        fx.note(ClientNote::Produces { partition: partition.clone(), first, records });
    }

    pub fn on_wake(&mut self, now: Now, fx: &mut Effects<Effect>) {
        for arrived in self.links.on_wake(now.at, fx) {
            self.on_arrived(now, arrived, fx);
        }
        while self.busy && self.config.every > Span::ZERO && self.next_batch_at <= now.at {
            self.next_batch_at += self.config.every;
            let index = self.next_partition % self.config.partitions.max(1);
            self.next_partition = self.next_partition.wrapping_add(1);
            let partition = TopicPartition::new(self.config.topic.clone(), index as i32);
            if self.queues.get(&partition).is_some_and(|queue| queue.batches.len() < BUFFERED) {
                self.enqueue(now.at, &partition, self.config.records, fx);
            }
        }
        self.pump(now, fx);
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let next = (self.busy && self.config.every > Span::ZERO).then_some(self.next_batch_at);
        let retry = self
            .queues
            .values()
            .filter(|queue| queue.is_waiting_to_send())
            .map(|queue| queue.not_before)
            .filter(|at| *at > Instant::ZERO)
            .min();
        let id = (self.id.is_none() && !self.asking_id && self.config.idempotent).then_some(self.id_not_before);
        [next, retry, id.filter(|at| *at > Instant::ZERO), self.links.wake_at()].into_iter().flatten().min()
    }

    pub fn on_arrived(&mut self, now: Now, arrived: Arrived<Asked>, fx: &mut Effects<Effect>) {
        match arrived {
            Arrived::Described => {}
            Arrived::Unknown { what: Asked::ProducerId } => self.retry_id(now.at),
            Arrived::Unknown { what: Asked::Produce { partition, first, .. } } => self.fail(now.at, &partition, first),
            Arrived::Answer { what: Asked::ProducerId, response: kafka::Response::InitProducerId(answer) } => {
                self.asking_id = false;
                if answer.error == ErrorCode::NONE {
                    self.id = Some((answer.producer_id, answer.producer_epoch));
                    self.queues.values_mut().for_each(|queue| queue.epoch = answer.producer_epoch);
                } else {
                    self.retry_id(now.at);
                }
            }
            Arrived::Answer { what: Asked::Produce { partition, first, epoch }, response } => {
                if let kafka::Response::Produce(answer) = response {
                    let part = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
                    if let Some(part) = part {
                        self.on_produced(now, &partition, first, epoch, part.error, part.base_offset, fx);
                    }
                }
            }
            Arrived::Answer { .. } => {}
        }
        self.pump(now, fx);
    }

    fn retry_id(&mut self, now: Instant) {
        self.asking_id = false;
        self.id_not_before = now + self.config.backoff;
    }

    fn on_produced(
        &mut self,
        now: Now,
        partition: &TopicPartition,
        first: u64,
        epoch: ProducerEpoch,
        error: ErrorCode,
        base: Offset,
        fx: &mut Effects<Effect>,
    ) {
        let Some(queue) = self.queues.get_mut(partition) else { return };
        let Some(at) = queue.batches.iter().position(|batch| batch.first == first) else { return };
        match error {
            ErrorCode::NONE => {
                queue.draining |= at > 0;
                if let Some(batch) = queue.batches.remove(at) {
                    self.acknowledged += u64::from(batch.records);
                    fx.note(ClientNote::Acknowledged {
                        partition: partition.clone(),
                        base,
                        records: batch.records,
                        first,
                        acks: self.config.acks,
                    });
                }
            }
            error if is_retriable(error) => {
                fx.note(ClientNote::Refused { partition: partition.clone(), first, error });
                self.links.describe(now.at);
                self.fail(now.at, partition, first);
            }
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER if at > 0 => self.fail(now.at, partition, first),
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID
                if self.id.is_some() && queue.epoch == epoch =>
            {
                fx.note(ClientNote::Refused { partition: partition.clone(), first, error });
                self.fail(now.at, partition, first);
                self.bump_epoch(partition);
            }
            ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::UNKNOWN_PRODUCER_ID => self.fail(now.at, partition, first),
            error => {
                queue.batches.remove(at);
                self.failed += 1;
                fx.note(ClientNote::GaveUp { partition: partition.clone(), first, error });
            }
        }
    }

    /// The batch goes again, after everything in flight to its partition is answered.
    fn fail(&mut self, now: Instant, partition: &TopicPartition, first: u64) {
        let Some(queue) = self.queues.get_mut(partition) else { return };
        queue.draining = true;
        queue.not_before = now + self.config.backoff;
        if let Some(batch) = queue.batches.iter_mut().find(|batch| batch.first == first) {
            batch.in_flight = false;
        }
    }

    /// A gap in the sequences that no retry can fill: a new epoch begins, and with it this partition's sequences at 0, as
    /// an idempotent producer without transactions does since KIP-360. Other partitions stay in the old epoch until all
    /// they have sent is answered: under new numbers a broker would take for new what it has already.
    fn bump_epoch(&mut self, partition: &TopicPartition) {
        let Some((_, epoch)) = &mut self.id else { return };
        epoch.0 = epoch.0.wrapping_add(1).max(0);
        let epoch = *epoch;
        if let Some(queue) = self.queues.get_mut(partition) {
            queue.draining = true;
            queue.begin_epoch(epoch);
        }
    }

    /// Sends whatever may be sent now.
    fn pump(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if self.config.idempotent && self.id.is_none() {
            self.ask_id(now.at, fx);
            return;
        }
        let partitions: Vec<TopicPartition> = self.queues.keys().cloned().collect();
        for partition in partitions {
            self.pump_partition(now, &partition, fx);
        }
    }

    fn ask_id(&mut self, now: Instant, fx: &mut Effects<Effect>) {
        if self.asking_id || self.id_not_before > now {
            return;
        }
        let Some(broker) = self.links.brokers.keys().next().copied() else {
            self.id_not_before = now + self.config.backoff;
            return;
        };
        let request = InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..InitProducerIdRequest::default() };
        self.asking_id = self.links.ask(now, broker, Asked::ProducerId, request.into(), fx);
        self.id_not_before = now + self.config.backoff;
    }

    fn pump_partition(&mut self, now: Now, partition: &TopicPartition, fx: &mut Effects<Effect>) {
        let led = self.links.leaders.get(partition).copied();
        let Some(queue) = self.queues.get_mut(partition) else { return };
        let Some(led) = led else {
            queue.not_before = now.at + self.config.backoff;
            return;
        };
        let in_flight = queue.batches.iter().filter(|batch| batch.in_flight).count();
        if queue.not_before > now.at || (queue.draining && in_flight > 0) {
            return;
        }
        queue.draining = false;
        let (id, newest) = self.id.unwrap_or((ProducerId::NONE, ProducerEpoch(-1)));
        if queue.epoch != newest && !queue.batches.iter().any(|batch| batch.sent) {
            queue.begin_epoch(newest);
        }
        let epoch = queue.epoch;
        // What was sent before and is not answered goes alone.
        let again = queue.batches.iter().any(|batch| batch.sent && !batch.in_flight);
        queue.retrying = again || (queue.retrying && in_flight > 0);
        let room = if queue.retrying { 1usize } else { IN_FLIGHT }.saturating_sub(in_flight);
        let mut sends = Vec::new();
        for batch in queue.batches.iter_mut().filter(|batch| !batch.in_flight).take(room) {
            batch.in_flight = true;
            batch.sent = true;
            sends.push(batch.clone());
        }
        for batch in sends {
            let records = self.encode(now, &batch, id, epoch);
            let request = ProduceRequest {
                acks: self.config.acks,
                timeout_ms: self.config.request_timeout.as_millis() as i32,
                topics: vec![ProduceTopic {
                    name: partition.topic.clone(),
                    partitions: vec![ProducePartition {
                        index: partition.partition,
                        records: Some(records),
                        ..ProducePartition::default()
                    }],
                    ..ProduceTopic::default()
                }],
                ..ProduceRequest::default()
            };
            let what = Asked::Produce { partition: partition.clone(), first: batch.first, epoch };
            if self.config.acks == 0 {
                self.links.tell(now.at, led.leader, what, request.into(), fx);
                if let Some(queue) = self.queues.get_mut(partition) {
                    queue.batches.retain(|other| other.first != batch.first);
                }
            } else if !self.links.ask(now.at, led.leader, what, request.into(), fx) {
                self.fail(now.at, partition, batch.first);
                self.links.describe(now.at);
            }
        }
    }

    fn encode(&self, now: Now, batch: &Batch, id: ProducerId, epoch: ProducerEpoch) -> Bytes {
        let mut value = vec![0u8; self.config.record_bytes.max(8) as usize];
        let records = (batch.first..batch.first + u64::from(batch.records)).map(|number| {
            value[..8].copy_from_slice(&number.to_be_bytes());
            NewRecord::new(now.wall.0, None, Some(&value))
        });
        let build = BatchBuilder::default().records(records);
        if id == ProducerId::NONE { build.build() } else { build.idempotent(id, epoch, batch.sequence).build() }
    }
}

/// The sequence after a batch: after 2^31 − 1 comes 0.
fn advance(sequence: i32, records: u32) -> i32 {
    ((i64::from(sequence) + i64::from(records)) & i64::from(i32::MAX)) as i32
}
