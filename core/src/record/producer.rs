//! Idempotent-producer state of one partition (protocol.md C.8, KIP-98): what makes a retried batch land once.
//!
//! For each producer id the epoch and the last five batches are kept; open transactions too, for the last stable offset.
//! Only a leader judges what a client sends ([`ProducerStates::judge`]); followers and replay rebuild the same state
//! from the batches ([`ProducerStates::record`]). The bytes are Kafka's `.snapshot` file.

use super::batch::{BatchHeader, ControlKind};
use super::offset::Offset;
use crate::checksum;
use crate::codec::{self, Reader, Writer};
use crate::id::{ProducerEpoch, ProducerId};
use crate::ordered::{OrdMap, OrdSet};
use crate::queue::Queue;
use crate::time::{Span, UnixMillis};
use bytes::Bytes;

/// Batches remembered for each producer: as many as it may have in flight.
const REMEMBERED: usize = 5;

/// What the log knows of every producer that wrote to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerStates {
    by_id: OrdMap<ProducerId, ProducerState>,
    /// First offsets of the transactions that are open.
    open: OrdSet<Offset>,
    /// Ended transactions as (first offset, marker's offset): unstable until the marker is below the high watermark.
    ended: Queue<(Offset, Offset)>,
    /// The offset after the last batch that was recorded.
    upto: Offset,
}

/// One producer's recent past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProducerState {
    pub epoch: ProducerEpoch,
    /// Oldest first, at most five, all of `epoch`.
    pub batches: Queue<BatchTrace>,
    /// Of its newest batch or marker, in milliseconds.
    pub last_timestamp: i64,
    /// Of the last transaction marker; −1 before one.
    pub coordinator_epoch: i32,
    /// Where its open transaction began.
    pub transaction: Option<Offset>,
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchTrace {
    pub last_sequence: i32,
    pub last: Offset,
    /// Last offset minus base offset.
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl BatchTrace {
    fn of(batch: &BatchHeader) -> BatchTrace {
        BatchTrace {
            last_sequence: batch.last_sequence(),
            last: batch.last(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        }
    }

    pub fn base(&self) -> Offset {
        self.last + -i64::from(self.offset_delta)
    }

    fn decode(from: &mut Reader) -> codec::Result<BatchTrace> {
        Ok(BatchTrace {
            last_sequence: from.i32()?,
            last: Offset(from.i64()?),
            offset_delta: from.i32()?,
            timestamp: from.i64()?,
        })
    }

    /// The sequence of its first record, before which 2^31−1 may have come.
    pub fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        (first & i64::from(i32::MAX)) as i32
    }
}

/// What a leader does with a client's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Append it.
    Fresh,
    /// It is in the log already: answer success with the offset it got then.
    Duplicate { base: Offset, last: Offset, timestamp: i64 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch before it is missing, or it is a duplicate older than what is remembered.
    OutOfOrder { expected: i32, got: i32 },
    /// INVALID_PRODUCER_EPOCH: a newer incarnation of the producer has written.
    Fenced { current: ProducerEpoch, got: ProducerEpoch },
    /// INVALID_TXN_STATE: not transactional inside an open transaction.
    NotInTransaction,
}

impl Verdict {
    /// The error code of Kafka's protocol, 0 of none.
    pub fn code(&self) -> i16 {
        match self {
            Verdict::Fresh | Verdict::Duplicate { .. } => 0,
            Verdict::OutOfOrder { .. } => 45,
            Verdict::Fenced { .. } => 47,
            Verdict::NotInTransaction => 48,
        }
    }
}

/// A transaction that a marker ended, as `.txnindex` lists the aborted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndedTransaction {
    pub producer: ProducerId,
    pub first: Offset,
    pub marker: Offset,
    pub kind: ControlKind,
}

impl ProducerStates {
    /// Judges a client's batch before it is appended.
    pub fn judge(&self, batch: &BatchHeader) -> Verdict {
        if !batch.is_idempotent() {
            return Verdict::Fresh;
        }
        let Some(known) = self.by_id.get(&batch.producer) else { return Verdict::Fresh };
        if batch.producer_epoch < known.epoch {
            return Verdict::Fenced { current: known.epoch, got: batch.producer_epoch };
        }
        if batch.producer_epoch == known.epoch
            && let Some(seen) = known.find(batch)
        {
            return Verdict::Duplicate { base: seen.base(), last: seen.last, timestamp: seen.timestamp };
        }
        let expected = if batch.producer_epoch > known.epoch { 0 } else { next_sequence(known.last_sequence()) };
        if batch.base_sequence != expected {
            return Verdict::OutOfOrder { expected, got: batch.base_sequence };
        }
        if known.transaction.is_some() && !batch.attributes.is_transactional() {
            return Verdict::NotInTransaction;
        }
        Verdict::Fresh
    }

    /// Takes note of an appended batch (its header as stamped, so with its offsets in the log).
    pub fn record(&mut self, batch: &BatchHeader) {
        assert!(!batch.attributes.is_control(), "a marker is recorded with what it says");
        self.upto = self.upto.max(batch.next());
        if !batch.is_idempotent() {
            return;
        }
        let state = self.by_id.entry(batch.producer).or_insert_with(|| ProducerState::new(batch.producer_epoch));
        state.enter(batch.producer_epoch);
        if state.batches.len() == REMEMBERED {
            state.batches.pop_front();
        }
        state.batches.push_back(BatchTrace::of(batch));
        state.last_timestamp = batch.max_timestamp;
        if state.transaction.is_none() && batch.attributes.is_transactional() {
            state.transaction = Some(batch.base);
            self.open.insert(batch.base);
        }
    }

    /// A snapshot keeps of each producer's batches only the newest; the log has those before it. Takes note of one that
    /// is older than all that is remembered of its producer: they come newest first.
    pub fn recall(&mut self, batch: &BatchHeader) {
        let Some(state) = self.by_id.get_mut(&batch.producer) else { return };
        let is_older = state.batches.front().is_some_and(|oldest| batch.last() < oldest.last);
        let counts = !batch.attributes.is_control() && batch.producer_epoch == state.epoch;
        if is_older && counts && state.batches.len() < REMEMBERED {
            state.batches.push_front(BatchTrace::of(batch));
        }
    }

    /// Whether the log may hold more that is worth to [`recall`](ProducerStates::recall).
    pub fn wants_older(&self) -> bool {
        let wants = |state: &ProducerState| {
            let begins = state.batches.front().is_none_or(|oldest| oldest.first_sequence() == 0);
            !begins && state.batches.len() < REMEMBERED
        };
        self.by_id.values().any(wants)
    }

    /// Takes note of an appended transaction marker. Returns the transaction that it ended.
    pub fn record_marker(
        &mut self,
        batch: &BatchHeader,
        kind: ControlKind,
        coordinator_epoch: i32,
    ) -> Option<EndedTransaction> {
        self.upto = self.upto.max(batch.next());
        let state = self.by_id.entry(batch.producer).or_insert_with(|| ProducerState::new(batch.producer_epoch));
        state.enter(batch.producer_epoch);
        state.coordinator_epoch = coordinator_epoch;
        state.last_timestamp = batch.max_timestamp;
        let first = state.transaction.take()?;
        self.open.remove(&first);
        self.ended.push_back((first, batch.last()));
        Some(EndedTransaction { producer: batch.producer, first, marker: batch.last(), kind })
    }

    /// The first offset that a transaction keeps from being stable, below which `read_committed` may read: of those
    /// open, or ended by a marker that is not yet below `high_watermark`.
    pub fn first_unstable(&self, high_watermark: Offset) -> Option<Offset> {
        let ended = self.ended.iter().filter(|(_, marker)| *marker >= high_watermark).map(|(first, _)| *first).min();
        match (self.open.first().copied(), ended) {
            (Some(open), Some(ended)) => Some(open.min(ended)),
            (open, ended) => open.or(ended),
        }
    }

    /// Forgets ended transactions whose markers are below the high watermark.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.ended.retain(|(_, marker)| *marker >= high_watermark);
    }

    /// Forgets producers without an open transaction that were silent for `expiration` (`producer.id.expiration.ms`).
    pub fn expire(&mut self, now: UnixMillis, expiration: Span) {
        let oldest = now.0.saturating_sub(expiration.as_millis() as i64);
        self.by_id.retain(|_, state| state.transaction.is_some() || state.last_timestamp > oldest);
    }

    /// The offset after the last batch recorded.
    pub fn upto(&self) -> Offset {
        self.upto
    }

    pub fn get(&self, producer: ProducerId) -> Option<&ProducerState> {
        self.by_id.get(&producer)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerState)> {
        self.by_id.iter().map(|(id, state)| (*id, state))
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All of it, as a recording keeps it; a snapshot keeps less.
    pub fn encode(&self, to: &mut Writer) {
        to.i64(self.upto.0);
        to.jute_vector(&self.open.iter().copied().collect::<Vec<_>>(), |to, first| to.i64(first.0));
        to.i32(self.ended.len() as i32);
        for (first, marker) in &self.ended {
            to.i64(first.0);
            to.i64(marker.0);
        }
        to.i32(self.by_id.len() as i32);
        for (id, state) in &self.by_id {
            to.i64(id.0);
            state.encode(to);
        }
    }

    /// Reads what [`encode`](ProducerStates::encode) wrote.
    pub fn decode(from: &mut Reader) -> codec::Result<ProducerStates> {
        let upto = Offset(from.i64()?);
        let open = from.jute_vector(8, |from| from.i64().map(Offset))?.into_iter().collect();
        let ended = from.jute_vector(16, |from| Ok((Offset(from.i64()?), Offset(from.i64()?))))?.into();
        let by_id = from.jute_vector(34, |from| Ok((ProducerId(from.i64()?), ProducerState::decode(from)?)))?;
        Ok(ProducerStates { by_id: by_id.into_iter().collect(), open, ended, upto })
    }

    /// The state as a snapshot keeps it: of each producer's batches only the newest.
    pub fn snapshot(&self, upto: Offset) -> ProducerSnapshot {
        let entry = |(id, state): (&ProducerId, &ProducerState)| {
            let newest = state.batches.back();
            SnapshotEntry {
                producer: *id,
                epoch: state.epoch,
                last_sequence: state.last_sequence(),
                last: newest.map_or(Offset(-1), |batch| batch.last),
                offset_delta: newest.map_or(0, |batch| batch.offset_delta),
                timestamp: state.last_timestamp,
                coordinator_epoch: state.coordinator_epoch,
                transaction: state.transaction,
            }
        };
        ProducerSnapshot { upto, entries: self.by_id.iter().map(entry).collect() }
    }

    /// The state a snapshot kept; replaying the log from `snapshot.upto` brings it up to date.
    pub fn from_snapshot(snapshot: &ProducerSnapshot) -> ProducerStates {
        let mut states = ProducerStates { upto: snapshot.upto, ..ProducerStates::default() };
        for entry in &snapshot.entries {
            let newest = (entry.last_sequence >= 0).then_some(BatchTrace {
                last_sequence: entry.last_sequence,
                last: entry.last,
                offset_delta: entry.offset_delta,
                timestamp: entry.timestamp,
            });
            states.open.extend(entry.transaction);
            states.by_id.insert(
                entry.producer,
                ProducerState {
                    epoch: entry.epoch,
                    batches: newest.into_iter().collect(),
                    last_timestamp: entry.timestamp,
                    coordinator_epoch: entry.coordinator_epoch,
                    transaction: entry.transaction,
                },
            );
        }
        states
    }
}

impl ProducerState {
    fn encode(&self, to: &mut Writer) {
        to.i16(self.epoch.0);
        to.i64(self.last_timestamp);
        to.i32(self.coordinator_epoch);
        to.i64(self.transaction.map_or(-1, |first| first.0));
        to.i32(self.batches.len() as i32);
        for batch in &self.batches {
            to.i32(batch.last_sequence);
            to.i64(batch.last.0);
            to.i32(batch.offset_delta);
            to.i64(batch.timestamp);
        }
    }

    fn decode(from: &mut Reader) -> codec::Result<ProducerState> {
        Ok(ProducerState {
            epoch: ProducerEpoch(from.i16()?),
            last_timestamp: from.i64()?,
            coordinator_epoch: from.i32()?,
            transaction: Some(from.i64()?).filter(|first| *first >= 0).map(Offset),
            batches: from.jute_vector(24, BatchTrace::decode)?.into(),
        })
    }

    fn new(epoch: ProducerEpoch) -> ProducerState {
        ProducerState { epoch, batches: Queue::new(), last_timestamp: -1, coordinator_epoch: -1, transaction: None }
    }

    /// Of its newest batch; −1 if its epoch has none.
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }

    /// A new epoch forgets the batches of the old one.
    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    fn find(&self, batch: &BatchHeader) -> Option<&BatchTrace> {
        let same = |seen: &&BatchTrace| {
            seen.first_sequence() == batch.base_sequence && seen.last_sequence == batch.last_sequence()
        };
        self.batches.iter().find(same)
    }
}

/// The sequence that follows; after 2^31−1 comes 0.
fn next_sequence(last: i32) -> i32 {
    if last == i32::MAX { 0 } else { last + 1 }
}

/// What a `.snapshot` file holds: the state at `upto`, which is the file's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerSnapshot {
    pub upto: Offset,
    pub entries: Vec<SnapshotEntry>,
}

/// One producer in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotEntry {
    pub producer: ProducerId,
    pub epoch: ProducerEpoch,
    pub last_sequence: i32,
    pub last: Offset,
    pub offset_delta: i32,
    pub timestamp: i64,
    pub coordinator_epoch: i32,
    pub transaction: Option<Offset>,
}

/// Bytes of one entry in a `.snapshot` file.
const ENTRY_BYTES: usize = 46;
/// Bytes before the checksummed part: version and checksum.
const SUMMED_FROM: usize = 6;

impl ProducerSnapshot {
    /// The file's bytes: {version i16 = 1, CRC-32C of what follows, count, entries}.
    pub fn to_bytes(&self) -> Bytes {
        let mut to = Writer::with_capacity(SUMMED_FROM + 4 + self.entries.len() * ENTRY_BYTES);
        to.i16(1);
        to.i32(0);
        to.i32(self.entries.len() as i32);
        for entry in &self.entries {
            to.i64(entry.producer.0);
            to.i16(entry.epoch.0);
            to.i32(entry.last_sequence);
            to.i64(entry.last.0);
            to.i32(entry.offset_delta);
            to.i64(entry.timestamp);
            to.i32(entry.coordinator_epoch);
            to.i64(entry.transaction.map_or(-1, |first| first.0));
        }
        let crc = checksum::crc32c(&to.as_slice()[SUMMED_FROM..]);
        to.patch_i32(2, crc as i32);
        to.finish()
    }

    /// Reads a file named for `upto`.
    ///
    /// # Errors
    /// What is malformed; a snapshot that cannot be read is left aside, and an older one or the log speaks.
    pub fn from_bytes(upto: Offset, bytes: Bytes) -> codec::Result<ProducerSnapshot> {
        let computed = checksum::crc32c(bytes.get(SUMMED_FROM..).unwrap_or_default());
        let mut from = Reader::new(bytes);
        if from.i16()? != 1 {
            return from.malformed("version 1 of a producer snapshot");
        }
        if from.u32()? != computed {
            return from.malformed("the checksum of what follows");
        }
        let declared = i64::from(from.i32()?);
        let Some(count) = from.count(declared, ENTRY_BYTES)? else {
            return from.malformed("a count that is not negative");
        };
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(SnapshotEntry {
                producer: ProducerId(from.i64()?),
                epoch: ProducerEpoch(from.i16()?),
                last_sequence: from.i32()?,
                last: Offset(from.i64()?),
                offset_delta: from.i32()?,
                timestamp: from.i64()?,
                coordinator_epoch: from.i32()?,
                transaction: Some(from.i64()?).filter(|first| *first >= 0).map(Offset),
            });
        }
        Ok(ProducerSnapshot { upto, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LeaderEpoch;
    use crate::record::batch::{Batch, BatchBuilder, NewRecord, build};

    const PID: ProducerId = ProducerId(7);

    fn batch(epoch: i16, sequence: i32, count: usize, base: i64) -> BatchHeader {
        let records = (0..count).map(|at| NewRecord::new(1_000 + at as i64, None, Some(b"v")));
        let bytes = BatchBuilder::default().idempotent(PID, ProducerEpoch(epoch), sequence).records(records).build();
        Batch::take(&bytes).unwrap().stamp(Offset(base), LeaderEpoch(0)).header()
    }

    fn marker(epoch: i16, base: i64) -> BatchHeader {
        let bytes = build::control_batch(PID, ProducerEpoch(epoch), ControlKind::Commit, 3, 2_000);
        Batch::take(&bytes).unwrap().stamp(Offset(base), LeaderEpoch(0)).header()
    }

    #[test]
    fn a_retry_is_answered_with_the_offset_it_got_then() {
        let mut states = ProducerStates::default();
        assert_eq!(states.judge(&batch(0, 41, 2, 0)), Verdict::Fresh, "no state: any sequence");
        for at in 0..6 {
            states.record(&batch(0, at * 2, 2, 100 + i64::from(at) * 2));
        }
        let duplicate = Verdict::Duplicate { base: Offset(104), last: Offset(105), timestamp: 1_001 };
        assert_eq!(states.judge(&batch(0, 4, 2, 0)), duplicate);
        assert_eq!(states.judge(&batch(0, 12, 1, 0)), Verdict::Fresh);
        assert_eq!(states.judge(&batch(0, 0, 2, 0)), Verdict::OutOfOrder { expected: 12, got: 0 }, "older than five");
        assert_eq!(states.judge(&batch(0, 4, 1, 0)), Verdict::OutOfOrder { expected: 12, got: 4 }, "half of one");
        assert_eq!(states.judge(&batch(0, 14, 1, 0)), Verdict::OutOfOrder { expected: 12, got: 14 }, "a gap");
    }

    /// A snapshot keeps one batch; the others are read back from the log, or a retry of them would be out of order, and
    /// its producer would begin a new epoch with what is in the log already.
    #[test]
    fn a_retry_is_known_again_after_a_restart() {
        let log: Vec<BatchHeader> = (0..7).map(|at| batch(0, at * 2, 2, 100 + i64::from(at) * 2)).collect();
        let mut before = ProducerStates::default();
        log.iter().for_each(|header| before.record(header));
        let mut after = ProducerStates::from_snapshot(&before.snapshot(Offset(114)));
        assert_eq!(after.judge(&batch(0, 10, 2, 0)).code(), 45, "the snapshot alone has forgotten it");
        assert!(after.wants_older());
        log.iter().rev().for_each(|header| after.recall(header));
        assert_eq!((&after, after.wants_older()), (&before, false));
        after.recall(&batch(1, 0, 2, 90));
        assert_eq!(after, before, "of another epoch, and five are enough");
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old() {
        let mut states = ProducerStates::default();
        states.record(&batch(1, 9, 1, 0));
        assert_eq!(states.judge(&batch(2, 10, 1, 0)), Verdict::OutOfOrder { expected: 0, got: 10 });
        assert_eq!(states.judge(&batch(2, 0, 1, 0)), Verdict::Fresh);
        let fenced = Verdict::Fenced { current: ProducerEpoch(1), got: ProducerEpoch(0) };
        assert_eq!(states.judge(&batch(0, 10, 1, 0)), fenced);
        assert_eq!(states.record_marker(&marker(2, 1), ControlKind::Commit, 3), None);
        assert_eq!(states.judge(&batch(2, 5, 1, 0)), Verdict::OutOfOrder { expected: 0, got: 5 }, "after a marker too");
    }

    #[test]
    fn after_the_largest_sequence_comes_zero() {
        let mut states = ProducerStates::default();
        states.record(&batch(0, i32::MAX - 1, 3, 50));
        assert_eq!(states.get(PID).unwrap().last_sequence(), 0);
        let duplicate = Verdict::Duplicate { base: Offset(50), last: Offset(52), timestamp: 1_002 };
        assert_eq!(states.judge(&batch(0, i32::MAX - 1, 3, 0)), duplicate);
        assert_eq!(states.judge(&batch(0, 1, 1, 0)), Verdict::Fresh);
    }

    #[test]
    fn a_transaction_is_unstable_until_its_marker_is_committed() {
        let mut states = ProducerStates::default();
        let bytes = BatchBuilder::default()
            .idempotent(PID, ProducerEpoch(0), 0)
            .transactional()
            .record(NewRecord::new(1, None, None))
            .build();
        states.record(&Batch::take(&bytes).unwrap().stamp(Offset(10), LeaderEpoch(0)).header());
        assert_eq!(states.judge(&batch(0, 1, 1, 0)), Verdict::NotInTransaction);
        assert_eq!(states.first_unstable(Offset(11)), Some(Offset(10)));
        let ended = states.record_marker(&marker(0, 11), ControlKind::Commit, 3);
        assert_eq!(ended.map(|ended| (ended.first, ended.marker)), Some((Offset(10), Offset(11))));
        assert_eq!(states.first_unstable(Offset(11)), Some(Offset(10)), "the marker is at the high watermark");
        assert_eq!(states.first_unstable(Offset(12)), None);
    }

    #[test]
    fn a_snapshot_keeps_the_newest_batch_and_round_trips() {
        let mut states = ProducerStates::default();
        states.record(&batch(0, 0, 2, 0));
        states.record(&batch(0, 2, 3, 2));
        let mut whole = Writer::new();
        states.encode(&mut whole);
        assert_eq!(ProducerStates::decode(&mut Reader::new(whole.finish())), Ok(states.clone()));
        let snapshot = states.snapshot(Offset(5));
        let read = ProducerSnapshot::from_bytes(Offset(5), snapshot.to_bytes()).unwrap();
        assert_eq!(read, snapshot);
        let restored = ProducerStates::from_snapshot(&read);
        let duplicate = Verdict::Duplicate { base: Offset(2), last: Offset(4), timestamp: 1_002 };
        assert_eq!(restored.judge(&batch(0, 2, 3, 0)), duplicate);
        assert_eq!(restored.judge(&batch(0, 5, 1, 0)), Verdict::Fresh);
        let mut rotten = snapshot.to_bytes().to_vec();
        rotten[20] ^= 1;
        assert!(ProducerSnapshot::from_bytes(Offset(5), rotten.into()).is_err());
    }

    #[test]
    fn silent_producers_expire() {
        let mut states = ProducerStates::default();
        states.record(&batch(0, 0, 1, 0));
        states.expire(UnixMillis(1_000 + 86_399_999), Span::secs(86_400));
        assert!(states.get(PID).is_some());
        states.expire(UnixMillis(1_000 + 86_400_000), Span::secs(86_400));
        assert!(states.is_empty());
    }
}
