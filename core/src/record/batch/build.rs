//! Makes uncompressed batches: simulated producers, consumer offsets, transaction markers.

use super::header::{self, ATTRIBUTES_AT};
use super::{Attributes, BatchHeader, ControlKind, HEADER_BYTES, Header, LENGTH_END};
use crate::checksum;
use crate::codec::Writer;
use crate::id::{LeaderEpoch, ProducerEpoch, ProducerId};
use crate::record::offset::Offset;
use bytes::Bytes;

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NewRecord {
    /// Milliseconds.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

impl NewRecord {
    /// Copies key and value.
    pub fn new(timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> NewRecord {
        NewRecord {
            timestamp,
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            headers: Vec::new(),
        }
    }

    pub fn header(mut self, key: &str, value: Option<&[u8]>) -> NewRecord {
        self.headers.push(Header { key: key.into(), value: value.map(Bytes::copy_from_slice) });
        self
    }
}

/// Collects records into one batch with base offset 0, as a producer sends it.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    attributes: Attributes,
    producer: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    records: Vec<NewRecord>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder {
            attributes: Attributes::default(),
            producer: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            records: Vec::new(),
        }
    }
}

impl BatchBuilder {
    /// The batch comes from an idempotent producer; `sequence` is that of its first record.
    pub fn idempotent(mut self, producer: ProducerId, epoch: ProducerEpoch, sequence: i32) -> BatchBuilder {
        (self.producer, self.producer_epoch, self.base_sequence) = (producer, epoch, sequence);
        self
    }

    /// The batch belongs to the producer's open transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes = self.attributes.with_transactional();
        self
    }

    pub fn record(mut self, record: NewRecord) -> BatchBuilder {
        self.records.push(record);
        self
    }

    pub fn records(mut self, records: impl IntoIterator<Item = NewRecord>) -> BatchBuilder {
        self.records.extend(records);
        self
    }

    /// The batch, sealed. It must hold a record.
    pub fn build(self) -> Bytes {
        assert!(!self.records.is_empty(), "a batch of 0 records");
        let first = self.records[0].timestamp;
        let header = BatchHeader {
            base: Offset::ZERO,
            length: 0,
            epoch: LeaderEpoch::NONE,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.records.len() as i32 - 1,
            base_timestamp: first,
            max_timestamp: self.records.iter().map(|record| record.timestamp).max().unwrap_or(first),
            producer: self.producer,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            count: self.records.len() as i32,
        };
        let payload: usize = self.records.iter().map(room).sum();
        let mut to = Writer::with_capacity(HEADER_BYTES + payload);
        header::write(&mut to, &header);
        for (delta, record) in self.records.iter().enumerate() {
            write_record(&mut to, delta as i32, record.timestamp - first, record);
        }
        seal(to)
    }
}

/// A transaction's end marker (control record version 0), as the coordinator has it written.
pub fn control_batch(
    producer: ProducerId,
    epoch: ProducerEpoch,
    kind: ControlKind,
    coordinator_epoch: i32,
    timestamp: i64,
) -> Bytes {
    let mut key = Writer::new();
    key.i16(0);
    key.i16(kind.to_wire());
    let mut value = Writer::new();
    value.i16(0);
    value.i32(coordinator_epoch);
    let record = NewRecord { timestamp, key: Some(key.finish()), value: Some(value.finish()), headers: Vec::new() };
    BatchBuilder {
        attributes: Attributes::default().with_transactional().with_control(),
        producer,
        producer_epoch: epoch,
        base_sequence: -1,
        records: vec![record],
    }
    .build()
}

/// Bytes a record takes at most.
fn room(record: &NewRecord) -> usize {
    let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len) + 5;
    let headers: usize = record.headers.iter().map(|header| header.key.len() + 5 + bytes(&header.value)).sum();
    26 + bytes(&record.key) + bytes(&record.value) + headers
}

fn write_record(to: &mut Writer, offset_delta: i32, timestamp_delta: i64, record: &NewRecord) {
    let mut body = Writer::with_capacity(room(record));
    body.i8(0);
    body.varlong(timestamp_delta);
    body.varint(offset_delta);
    nullable(&mut body, record.key.as_deref());
    nullable(&mut body, record.value.as_deref());
    body.varint(record.headers.len() as i32);
    for header in &record.headers {
        nullable(&mut body, Some(header.key.as_bytes()));
        nullable(&mut body, header.value.as_deref());
    }
    to.varint(body.len() as i32);
    to.put(body.as_slice());
}

fn nullable(to: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        None => to.varint(-1),
        Some(bytes) => {
            to.varint(bytes.len() as i32);
            to.put(bytes);
        }
    }
}

/// Puts in length and checksum, which are known only now.
fn seal(mut to: Writer) -> Bytes {
    let length = to.len() - LENGTH_END;
    to.patch_i32(8, length as i32);
    let crc = checksum::crc32c(&to.as_slice()[ATTRIBUTES_AT..]);
    to.patch_i32(ATTRIBUTES_AT - 4, crc as i32);
    to.finish()
}
