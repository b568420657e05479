//! What a producer holds: for each partition a queue of batches, the last of which may still be open. Decides what is
//! sent next and what an answer means; knows no connection and no clock but the moments it is given.

use super::super::connection::Result;
use super::super::{passes, refused};
use super::{Delivery, Error, ProducerSettings};
use bytes::Bytes;
use glasshouse_core::api::kafka::ErrorCode;
use glasshouse_core::id::{ProducerEpoch, ProducerId, TopicPartition};
use glasshouse_core::record::batch::{BatchBuilder, HEADER_BYTES, NewRecord};
use glasshouse_core::record::offset::Offset;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The base offset, or why not.
pub(super) type Outcome = Result<Offset>;

/// Who writes a batch, and the sequence of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    id: ProducerId,
    epoch: ProducerEpoch,
    sequence: i32,
}

/// Records that go together, once and for all.
#[derive(Debug)]
struct Lot {
    number: u64,
    records: Vec<NewRecord>,
    /// What they count against the batch limit.
    size: usize,
    /// What they hold of the producer's buffer.
    held: usize,
    made: Instant,
    /// No more records come in.
    sealed: bool,
    stamp: Option<Stamp>,
    in_flight: bool,
    /// It was sent, and no answer said that it is not in the log.
    unknown: bool,
    last_error: Option<Error>,
    outcome: watch::Sender<Option<Outcome>>,
}

/// The batches of one partition, oldest first.
#[derive(Debug, Default)]
struct Queue {
    lots: VecDeque<Lot>,
    /// Under which identity this partition is written; changes only while nothing of it is under way.
    identity: Option<(ProducerId, ProducerEpoch)>,
    next_sequence: i32,
    /// Something failed: nothing is sent until all that is under way is answered, so that the order stays.
    draining: bool,
    /// Sequences begin anew under a new epoch, as soon as nothing is under way.
    renumber: bool,
    not_before: Option<Instant>,
}

impl Queue {
    fn in_flight(&self) -> usize {
        self.lots.iter().filter(|lot| lot.in_flight).count()
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    identity: Option<(ProducerId, ProducerEpoch)>,
    queues: BTreeMap<TopicPartition, Queue>,
    last_number: u64,
    /// Batches up to this one do not linger.
    flushed: u64,
}

/// What became of a record that was taken in.
pub(super) struct Taken {
    pub(super) delivery: Delivery,
    /// It opened a batch.
    pub(super) is_first: bool,
    /// It filled one.
    pub(super) is_full: bool,
}

/// A batch to be sent now.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) partition: TopicPartition,
    pub(super) number: u64,
    stamp: Option<Stamp>,
    records: Vec<NewRecord>,
}

impl Send {
    /// Its bytes.
    pub(super) fn encode(self) -> Bytes {
        let batch = BatchBuilder::default().records(self.records);
        match self.stamp {
            None => batch.build(),
            Some(stamp) => batch.idempotent(stamp.id, stamp.epoch, stamp.sequence).build(),
        }
    }
}

/// What a record takes of a batch, at most.
pub(super) fn weight(record: &NewRecord) -> usize {
    let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len) + 5;
    let headers: usize = record.headers.iter().map(|header| header.key.len() + 5 + bytes(&header.value)).sum();
    26 + bytes(&record.key) + bytes(&record.value) + headers
}

impl State {
    pub(super) fn new(identity: Option<(ProducerId, ProducerEpoch)>) -> State {
        State { identity, queues: BTreeMap::new(), last_number: 0, flushed: 0 }
    }

    /// Puts a record into the open batch of its partition, or into a new one.
    pub(super) fn take(
        &mut self,
        place: TopicPartition,
        record: NewRecord,
        held: usize,
        settings: &ProducerSettings,
    ) -> Taken {
        let size = weight(&record);
        let queue = self.queues.entry(place.clone()).or_default();
        if let Some(last) = queue.lots.back_mut()
            && !last.sealed
            && last.size + size > settings.batch_bytes
        {
            last.sealed = true;
        }
        let is_first = queue.lots.back().is_none_or(|last| last.sealed);
        if is_first {
            self.last_number += 1;
            queue.lots.push_back(Lot {
                number: self.last_number,
                records: Vec::new(),
                size: HEADER_BYTES,
                held: 0,
                made: Instant::now(),
                sealed: false,
                stamp: None,
                in_flight: false,
                unknown: false,
                last_error: None,
                outcome: watch::Sender::new(None),
            });
        }
        let lot = queue.lots.back_mut().expect("one was pushed if there was none");
        let delivery = Delivery { partition: place, index: lot.records.len() as i64, outcome: lot.outcome.subscribe() };
        lot.records.push(record);
        lot.size += size;
        lot.held += held;
        // Another like it would not fit.
        lot.sealed = lot.size + size > settings.batch_bytes;
        Taken { delivery, is_first, is_full: lot.sealed }
    }

    /// Nothing that is here lingers any more; gives the outcomes that are awaited.
    pub(super) fn flush(&mut self) -> Vec<watch::Receiver<Option<Outcome>>> {
        self.flushed = self.last_number;
        self.queues.values().flat_map(|queue| &queue.lots).map(|lot| lot.outcome.subscribe()).collect()
    }

    pub(super) fn outstanding(&self) -> usize {
        self.queues.values().flat_map(|queue| &queue.lots).map(|lot| lot.records.len()).sum()
    }

    /// The topics that something waits for.
    pub(super) fn topics(&self) -> Vec<std::sync::Arc<str>> {
        let waiting = self.queues.iter().filter(|(_, queue)| !queue.lots.is_empty());
        let mut topics: Vec<_> = waiting.map(|(place, _)| place.topic.clone()).collect();
        topics.dedup();
        topics
    }

    /// What is to be sent at `now`, how much of the buffer was freed by what expired, and when to ask again.
    /// `is_led`: whether a partition's leader is known.
    pub(super) fn next(
        &mut self,
        now: Instant,
        settings: &ProducerSettings,
        is_led: impl Fn(&TopicPartition) -> bool,
    ) -> Next {
        let mut next = Next::default();
        let places: Vec<TopicPartition> = self.queues.keys().cloned().collect();
        for place in places {
            next.freed += self.expire(now, &place, settings);
            self.renumber(&place);
            self.next_of(now, &place, settings, &is_led, &mut next);
        }
        next
    }

    fn next_of(
        &mut self,
        now: Instant,
        place: &TopicPartition,
        settings: &ProducerSettings,
        is_led: &impl Fn(&TopicPartition) -> bool,
        next: &mut Next,
    ) {
        let (identity, flushed) = (self.identity, self.flushed);
        let Some(queue) = self.queues.get_mut(place) else { return };
        let in_flight = queue.in_flight();
        if let Some(front) = queue.lots.front().filter(|front| !front.in_flight) {
            next.wake(front.made + settings.delivery_timeout);
        }
        if queue.renumber || (queue.draining && in_flight > 0) || queue.lots.len() == in_flight {
            return;
        }
        queue.draining = false;
        if let Some(until) = queue.not_before.filter(|until| *until > now) {
            return next.wake(until);
        }
        if !is_led(place) {
            next.leaderless = true;
            return;
        }
        // An identity changes only between batches that were all decided.
        if queue.identity != identity && queue.lots.iter().all(|lot| lot.stamp.is_none()) {
            (queue.identity, queue.next_sequence) = (identity, 0);
        }
        let mut room = settings.in_flight.saturating_sub(in_flight);
        for lot in queue.lots.iter_mut().filter(|lot| !lot.in_flight) {
            if room == 0 {
                return;
            }
            let due = lot.made + settings.linger;
            if !lot.sealed && lot.number > flushed && due > now {
                return next.wake(due);
            }
            lot.sealed = true;
            if let (None, Some((id, epoch))) = (lot.stamp, queue.identity) {
                lot.stamp = Some(Stamp { id, epoch, sequence: queue.next_sequence });
                queue.next_sequence = advance(queue.next_sequence, lot.records.len());
            }
            lot.in_flight = true;
            room -= 1;
            let (number, stamp, records) = (lot.number, lot.stamp, lot.records.clone());
            next.sends.push(Send { partition: place.clone(), number, stamp, records });
        }
    }

    /// Gives up what is too old. Before sequences begin anew, also what may be in the log: sent again under another
    /// sequence it might be there twice.
    fn expire(&mut self, now: Instant, place: &TopicPartition, settings: &ProducerSettings) -> usize {
        let Some(queue) = self.queues.get_mut(place) else { return 0 };
        if queue.in_flight() > 0 {
            return 0;
        }
        let mut freed = 0;
        while let Some(at) = queue
            .lots
            .iter()
            .position(|lot| lot.made + settings.delivery_timeout <= now || (queue.renumber && lot.unknown))
        {
            let lot = &queue.lots[at];
            let error = Error::TimedOut {
                what: format!("{} records to {place}", lot.records.len()),
                after: settings.delivery_timeout,
                last: lot.last_error.clone().map(Box::new),
            };
            queue.renumber |= lot.stamp.is_some();
            freed += settle_at(queue, at, Err(error));
        }
        freed
    }

    /// A gap in the sequences: a new epoch begins at sequence 0 (KIP-360). Other partitions go over to it between
    /// batches.
    fn renumber(&mut self, place: &TopicPartition) {
        let Some(queue) = self.queues.get_mut(place) else { return };
        if !queue.renumber || queue.in_flight() > 0 {
            return;
        }
        queue.renumber = false;
        queue.lots.iter_mut().for_each(|lot| lot.stamp = None);
        if self.identity == queue.identity
            && let Some((_, epoch)) = &mut self.identity
        {
            *epoch = next_epoch(*epoch);
        }
        (queue.identity, queue.next_sequence) = (self.identity, 0);
    }

    /// A send ended. Gives what of the buffer is free again.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        place: &TopicPartition,
        number: u64,
        answer: Result<(ErrorCode, Offset, Option<String>)>,
        backoff: Duration,
    ) -> Answered {
        let nothing = Answered { freed: 0, stale: false };
        let Some(queue) = self.queues.get_mut(place) else { return nothing };
        let Some(at) = queue.lots.iter().position(|lot| lot.number == number) else { return nothing };
        queue.lots[at].in_flight = false;
        let (code, error) = match answer {
            Ok((ErrorCode::NONE, base, _)) => return Answered { freed: settle_at(queue, at, Ok(base)), stale: false },
            // It is there; nobody remembers where.
            Ok((ErrorCode::DUPLICATE_SEQUENCE_NUMBER, ..)) => {
                return Answered { freed: settle_at(queue, at, Ok(Offset(-1))), stale: false };
            }
            Ok((code, _, message)) => (Some(code), refused(place.to_string(), code, message)),
            Err(error) => (None, error),
        };
        let out_of_turn = matches!(
            code,
            Some(
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                    | ErrorCode::UNKNOWN_PRODUCER_ID
                    | ErrorCode::INVALID_PRODUCER_EPOCH
            )
        );
        let again = match code {
            // The one before it has to go first, or all of them get new numbers.
            Some(_) if out_of_turn => at > 0 || queue.renumber,
            Some(code) => passes(code),
            None => !matches!(error, Error::Unsupported { .. }),
        };
        let lot = &mut queue.lots[at];
        lot.unknown = match code {
            None => lot.unknown || error.is_unknown(),
            Some(ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND) => true,
            // Out of turn may also mean: in the log already, and so long ago that the broker does not remember.
            Some(_) => lot.unknown,
        };
        queue.draining = true;
        if again {
            lot.last_error = Some(error);
            queue.not_before = Some(now + backoff);
            return Answered { freed: 0, stale: true };
        }
        queue.renumber |= lot.stamp.is_some();
        // Refused now, but perhaps taken before.
        let error = match lot.unknown {
            true => Error::Lost { address: place.to_string(), why: format!("an earlier answer was, and now: {error}") },
            false => error,
        };
        Answered { freed: settle_at(queue, at, Err(error)), stale: false }
    }
}

/// What [`State::next`] found.
#[derive(Debug, Default)]
pub(super) struct Next {
    pub(super) sends: Vec<Send>,
    pub(super) freed: usize,
    /// A partition has something to send and no leader is known.
    pub(super) leaderless: bool,
    pub(super) wake_at: Option<Instant>,
}

impl Next {
    fn wake(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |sooner| sooner.min(at)));
    }
}

/// What [`State::on_answer`] found.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) freed: usize,
    /// Who leads may have changed.
    pub(super) stale: bool,
}

fn settle_at(queue: &mut Queue, at: usize, outcome: Outcome) -> usize {
    let lot = queue.lots.remove(at).expect("its position was found");
    settle(lot, outcome)
}

fn settle(lot: Lot, outcome: Outcome) -> usize {
    lot.outcome.send_replace(Some(outcome));
    lot.held
}

/// The sequence after a batch: after 2^31 − 1 comes 0.
fn advance(sequence: i32, records: usize) -> i32 {
    ((i64::from(sequence) + records as i64) & i64::from(i32::MAX)) as i32
}

fn next_epoch(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.checked_add(1).unwrap_or(0))
}

#[cfg(test)]
mod tests;
