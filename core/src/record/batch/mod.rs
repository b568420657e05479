//! Kafka's v2 record batch: the 61-byte header is parsed, the body stays opaque from producer to disk to consumer.
//!
//! Reads, validates and stamps batches, and makes the few that brokers and simulated clients write themselves
//! ([`build`]). Knows nothing of logs, files or producers' histories. Layout: protocol.md C.8, wire.md 1.4.

pub mod build;
mod header;
mod records;

pub use build::{BatchBuilder, NewRecord};
pub use header::{Attributes, BatchHeader, Compression, HEADER_BYTES, LENGTH_END, PREFIX_BYTES};
pub use records::{ControlKind, Header, Record, Records};

use super::offset::Offset;
use crate::checksum;
use crate::id::LeaderEpoch;
use crate::time::UnixMillis;
use bytes::Bytes;
use core::fmt;
use header::{AFTER_MAX_TIMESTAMP, ATTRIBUTES_AT, MAX_TIMESTAMP_AT};

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BatchError {
    /// Fewer bytes than the batch says it has, or than a header needs.
    Short {
        have: u64,
        need: u64,
    },
    /// A length that cannot hold a header.
    Length(i32),
    Magic(i8),
    Checksum {
        declared: u32,
        computed: u32,
    },
    /// Counts or offsets that contradict each other, or the records.
    Counts(&'static str),
    /// What a producer may not send.
    Forbidden(&'static str),
    /// The body is compressed and is not read here.
    Compressed(Compression),
    /// A record of an uncompressed body cannot be read.
    Record(crate::codec::Malformed),
}

impl BatchError {
    /// The error code of Kafka's protocol that a producer is answered: CORRUPT_MESSAGE or INVALID_RECORD.
    pub fn code(&self) -> i16 {
        const CORRUPT_MESSAGE: i16 = 2;
        const INVALID_RECORD: i16 = 87;
        match self {
            BatchError::Short { .. } | BatchError::Length(_) | BatchError::Checksum { .. } => CORRUPT_MESSAGE,
            BatchError::Magic(_)
            | BatchError::Counts(_)
            | BatchError::Forbidden(_)
            | BatchError::Compressed(_)
            | BatchError::Record(_) => INVALID_RECORD,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Short { have, need } => write!(f, "a batch of {need} bytes is cut off after {have}"),
            BatchError::Length(length) => write!(f, "a batch length of {length}, too small for a header"),
            BatchError::Magic(magic) => write!(f, "magic {magic}, expected 2"),
            BatchError::Checksum { declared, computed } => {
                write!(f, "checksum {declared:#010x}, computed {computed:#010x}")
            }
            BatchError::Counts(what) | BatchError::Forbidden(what) => f.write_str(what),
            BatchError::Compressed(codec) => write!(f, "the body is compressed with {codec}"),
            BatchError::Record(malformed) => malformed.fmt(f),
        }
    }
}

impl std::error::Error for BatchError {}

/// One whole batch: its header, and all of its bytes, shared with where they came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    pub header: BatchHeader,
    /// Header and body.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes the batch at the front of `bytes`, which may go on after it. The checksum is not verified here.
    ///
    /// # Errors
    /// [`BatchError::Short`] when the batch is not all there; otherwise what the header gets wrong.
    pub fn take(bytes: &Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size();
        if (bytes.len() as u64) < size {
            return Err(BatchError::Short { have: bytes.len() as u64, need: size });
        }
        Ok(Batch { header, bytes: bytes.slice(..size as usize) })
    }

    /// Verifies the CRC-32C over everything from the attributes on.
    ///
    /// # Errors
    /// [`BatchError::Checksum`].
    pub fn verify(&self) -> Result<(), BatchError> {
        let computed = checksum::crc32c(&self.bytes[ATTRIBUTES_AT..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Checksum { declared: self.header.crc, computed })
        }
    }

    /// The records of an uncompressed body, one by one.
    ///
    /// # Errors
    /// [`BatchError::Compressed`].
    pub fn records(&self) -> Result<Records, BatchError> {
        match self.header.attributes.compression() {
            Compression::None => Ok(Records::new(&self.header, self.bytes.slice(HEADER_BYTES..))),
            codec => Err(BatchError::Compressed(codec)),
        }
    }

    /// What a control batch says, `None` of an ordinary one or of an unknown kind.
    pub fn control(&self) -> Option<ControlKind> {
        if !self.header.attributes.is_control() {
            return None;
        }
        ControlKind::of(&self.records().ok()?.next()?.ok()?)
    }

    /// What a transaction marker says, and its coordinator's epoch (−1 if it does not tell).
    pub fn marker(&self) -> Option<(ControlKind, i32)> {
        let kind = self.control()?;
        let record = self.records().ok()?.next()?.ok()?;
        // The value: {version i16, coordinator epoch i32}.
        let epoch = record.value.as_deref().and_then(|value| value.get(2..6)?.first_chunk::<4>().copied());
        Some((kind, epoch.map_or(-1, i32::from_be_bytes)))
    }

    /// Gives the batch its place in the log: base offset and leader epoch lie before the checksummed part, so the
    /// body is neither copied nor summed again.
    pub fn stamp(&self, base: Offset, epoch: LeaderEpoch) -> Stamped {
        let mut prefix = [0; PREFIX_BYTES];
        prefix.copy_from_slice(&self.bytes[..PREFIX_BYTES]);
        header::put_place(&mut prefix, base, epoch);
        Stamped {
            base,
            last: base + i64::from(self.header.last_offset_delta),
            epoch,
            max_timestamp: self.header.max_timestamp,
            prefix: Bytes::copy_from_slice(&prefix),
            body: self.bytes.slice(PREFIX_BYTES..),
        }
    }

    /// As [`stamp`](Batch::stamp), for a topic with `message.timestamp.type=LogAppendTime`: the time of the append
    /// becomes the timestamp of every record, and the batch is sealed with a new checksum.
    pub fn stamp_append_time(&self, base: Offset, epoch: LeaderEpoch, now: UnixMillis) -> Stamped {
        let mut prefix = [0; AFTER_MAX_TIMESTAMP];
        prefix.copy_from_slice(&self.bytes[..AFTER_MAX_TIMESTAMP]);
        header::put_place(&mut prefix, base, epoch);
        let attributes = self.header.attributes.with_log_append_time();
        prefix[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.0.to_be_bytes());
        prefix[MAX_TIMESTAMP_AT..].copy_from_slice(&now.0.to_be_bytes());
        let body = self.bytes.slice(AFTER_MAX_TIMESTAMP..);
        let crc = checksum::crc32c_append(checksum::crc32c(&prefix[ATTRIBUTES_AT..]), &body);
        header::put_crc(&mut prefix, crc);
        Stamped {
            base,
            last: base + i64::from(self.header.last_offset_delta),
            epoch,
            max_timestamp: now.0,
            prefix: Bytes::copy_from_slice(&prefix),
            body,
        }
    }

    /// The batch as it was fetched from a leader, whose offsets and epoch it keeps.
    pub fn keep(&self) -> Stamped {
        Stamped {
            base: self.header.base,
            last: self.header.last(),
            epoch: self.header.epoch,
            max_timestamp: self.header.max_timestamp,
            prefix: self.bytes.slice(..PREFIX_BYTES),
            body: self.bytes.slice(PREFIX_BYTES..),
        }
    }
}

/// A batch as the log holds it: offsets and leader epoch stamped, ready to be written as two parts of one vectored
/// write. `prefix` is what was stamped, usually the 21 bytes before the checksummed part; `body` is never copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stamped {
    pub base: Offset,
    /// The last offset the batch covers.
    pub last: Offset,
    pub epoch: LeaderEpoch,
    pub max_timestamp: i64,
    pub prefix: Bytes,
    pub body: Bytes,
}

impl Stamped {
    /// Bytes in the log.
    pub fn size(&self) -> u64 {
        (self.prefix.len() + self.body.len()) as u64
    }

    /// The header as it will be read back.
    pub fn header(&self) -> BatchHeader {
        let mut front = [0; HEADER_BYTES];
        let cut = self.prefix.len().min(HEADER_BYTES);
        front[..cut].copy_from_slice(&self.prefix[..cut]);
        front[cut..].copy_from_slice(&self.body[..HEADER_BYTES - cut]);
        BatchHeader::parse(&front).expect("a stamped batch has a header that was read before")
    }

    /// As [`Batch::marker`]; copies, as nobody writes markers often.
    pub fn marker(&self) -> Option<(ControlKind, i32)> {
        Batch::take(&self.to_bytes()).ok()?.marker()
    }

    /// All of its bytes in one piece; copies.
    pub fn to_bytes(&self) -> Bytes {
        let mut all = bytes::BytesMut::with_capacity(self.size() as usize);
        all.extend_from_slice(&self.prefix);
        all.extend_from_slice(&self.body);
        all.freeze()
    }
}

/// The batches of a record set, one after another. A batch that is cut off at the end is given as
/// [`BatchError::Short`]; after an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

/// Walks through a record set; checksums are not verified.
pub fn batches(records: Bytes) -> Batches {
    Batches { rest: records }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Result<Batch, BatchError>> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = Batch::take(&self.rest);
        match &taken {
            Ok(batch) => self.rest = self.rest.slice(batch.bytes.len()..),
            Err(_) => self.rest = Bytes::new(),
        }
        Some(taken)
    }
}

/// What a leader accepts from a producer (Produce v3 and later): exactly one batch, whole and sound, offsets from 0.
///
/// The records of a compressed body are not looked into (Apache decompresses them); those of a plain one are counted.
///
/// # Errors
/// What is wrong; [`BatchError::code`] is what the producer is told.
pub fn validate_produced(records: &Bytes) -> Result<Batch, BatchError> {
    if records.is_empty() {
        return Err(BatchError::Forbidden("a produce request without a record batch"));
    }
    let batch = Batch::take(records)?;
    if batch.bytes.len() != records.len() {
        return Err(BatchError::Forbidden("more than one record batch for a partition"));
    }
    let header = &batch.header;
    if header.attributes.is_control() {
        return Err(BatchError::Forbidden("a control batch from a client"));
    }
    if header.base != Offset::ZERO {
        return Err(BatchError::Forbidden("a base offset other than 0 from a client"));
    }
    if header.count <= 0 || header.count - 1 != header.last_offset_delta {
        return Err(BatchError::Counts("the record count is not the last offset delta and one"));
    }
    if header.is_idempotent() && (header.base_sequence < 0 || header.producer_epoch.0 < 0) {
        return Err(BatchError::Forbidden("a producer id without a sequence or an epoch"));
    }
    if header.attributes.is_transactional() && !header.is_idempotent() {
        return Err(BatchError::Forbidden("a transactional batch without a producer id"));
    }
    header.attributes.known_compression()?;
    batch.verify()?;
    if header.attributes.compression() == Compression::None {
        records::check_plain(&batch)?;
    }
    Ok(batch)
}

/// What a follower takes from a fetch response: whole batches with sound checksums, their epochs and offsets kept.
/// A batch cut off at the end is left out, as every reader of a fetch response does.
///
/// # Errors
/// The first batch that is damaged; nothing of the response is taken then.
pub fn fetched(records: Bytes) -> Result<Vec<Batch>, BatchError> {
    let mut taken = Vec::new();
    for batch in batches(records) {
        match batch {
            Ok(batch) => {
                batch.verify()?;
                taken.push(batch);
            }
            Err(BatchError::Short { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProducerEpoch, ProducerId};

    fn three() -> Bytes {
        BatchBuilder::default()
            .record(NewRecord::new(1_000, Some(b"k1"), Some(b"one")))
            .record(NewRecord::new(1_005, None, Some(b"two")).header("trace", Some(b"7")))
            .record(NewRecord::new(1_002, Some(b"k3"), None))
            .build()
    }

    #[test]
    fn a_built_batch_is_accepted_and_read_back() {
        let batch = validate_produced(&three()).unwrap();
        assert_eq!((batch.header.count, batch.header.last_offset_delta), (3, 2));
        assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (1_000, 1_005));
        let records: Vec<Record> = batch.records().unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(
            records[1],
            Record {
                offset: Offset(1),
                timestamp: 1_005,
                key: None,
                value: Some(Bytes::from_static(b"two")),
                headers: vec![Header { key: "trace".into(), value: Some(Bytes::from_static(b"7")) }],
            }
        );
        assert_eq!((records[2].key.as_deref(), &records[2].value), (Some(&b"k3"[..]), &None));
    }

    #[test]
    fn stamping_keeps_the_checksum() {
        let batch = validate_produced(&three()).unwrap();
        let stamped = batch.stamp(Offset(40), LeaderEpoch(7));
        assert_eq!((stamped.base, stamped.last, stamped.prefix.len()), (Offset(40), Offset(42), PREFIX_BYTES));
        let read = Batch::take(&stamped.to_bytes()).unwrap();
        assert_eq!(read.verify(), Ok(()));
        assert_eq!((read.header.base, read.header.epoch, read.header.last()), (Offset(40), LeaderEpoch(7), Offset(42)));
        assert_eq!(read.keep().to_bytes(), stamped.to_bytes());
        assert_eq!(stamped.header(), read.header);
    }

    #[test]
    fn log_append_time_seals_the_batch_again() {
        let batch = validate_produced(&three()).unwrap();
        let stamped = batch.stamp_append_time(Offset(5), LeaderEpoch(1), UnixMillis(77_000));
        let read = Batch::take(&stamped.to_bytes()).unwrap();
        assert_eq!(read.verify(), Ok(()));
        assert!(read.header.attributes.is_log_append_time());
        assert_eq!((read.header.max_timestamp, stamped.max_timestamp), (77_000, 77_000));
        assert!(read.records().unwrap().all(|record| record.unwrap().timestamp == 77_000));
        assert_eq!(stamped.header(), read.header);
    }

    #[test]
    fn what_a_producer_may_not_send_is_named() {
        let refuse = |records: &Bytes| validate_produced(records).unwrap_err();
        let good = three();
        assert_eq!(refuse(&Bytes::new()).code(), 87);
        let mut flipped = good.to_vec();
        flipped[70] ^= 1;
        assert!(matches!(refuse(&flipped.into()), BatchError::Checksum { .. }));
        assert_eq!(refuse(&good.slice(..good.len() - 1)).code(), 2);
        assert_eq!(refuse(&[&good[..], &good[..]].concat().into()).code(), 87);
        let stamped = Batch::take(&good).unwrap().stamp(Offset(1), LeaderEpoch(0)).to_bytes();
        assert_eq!(refuse(&stamped), BatchError::Forbidden("a base offset other than 0 from a client"));
        let control = build::control_batch(ProducerId(1), ProducerEpoch(0), ControlKind::Commit, 3, 1_000);
        assert_eq!(refuse(&control), BatchError::Forbidden("a control batch from a client"));
        let mut old = good.to_vec();
        old[16] = 1;
        assert_eq!(refuse(&old.into()), BatchError::Magic(1));
    }

    #[test]
    fn a_control_batch_says_what_it_says() {
        let control = build::control_batch(ProducerId(9), ProducerEpoch(2), ControlKind::Abort, 3, 1_000);
        let batch = Batch::take(&control).unwrap();
        assert_eq!((batch.verify(), batch.control()), (Ok(()), Some(ControlKind::Abort)));
        assert!(batch.header.attributes.is_transactional());
        assert_eq!(Batch::take(&three()).unwrap().control(), None);
    }

    #[test]
    fn a_fetched_tail_that_is_cut_off_is_left_out() {
        let good = three();
        let cut: Bytes = [&good[..], &good[..80]].concat().into();
        assert_eq!(fetched(cut).unwrap().len(), 1);
        let mut bad = good.to_vec();
        bad[61] ^= 4;
        assert!(fetched(bad.into()).is_err());
    }

    #[test]
    fn hostile_bytes_never_panic() {
        let mut rng = crate::rng::Rng::new(61);
        let good = three();
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..rng.range(1, 4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next() as u8;
            }
            bytes.truncate(rng.range(0, bytes.len() as u64) as usize);
            let bytes = Bytes::from(bytes);
            let _ = validate_produced(&bytes);
            for batch in batches(bytes).flatten() {
                let _ = batch.control();
                let Ok(records) = batch.records() else { continue };
                assert!(records.clone().count() <= batch.bytes.len());
                for record in records.flatten() {
                    let (at, header) = (record.offset, &batch.header);
                    assert!((header.base..=header.last()).contains(&at), "offset {at} outside of its batch");
                }
            }
        }
    }
}
