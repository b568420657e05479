//! The records of an uncompressed batch: varints all the way, bounded by the bytes that are there.

use super::{Batch, BatchError, BatchHeader};
use crate::codec::{Malformed, Reader};
use crate::record::offset::Offset;
use bytes::Bytes;
use std::sync::Arc;

/// A name and a value beside a record (KIP-82). Names may repeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub key: Arc<str>,
    pub value: Option<Bytes>,
}

/// One record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub offset: Offset,
    /// Milliseconds: the producer's, or the broker's where the batch says LogAppendTime.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// The end of a transaction, as a control batch tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlKind {
    Abort,
    Commit,
}

impl ControlKind {
    /// Reads a control record's key: {version i16, type i16}.
    pub fn of(record: &Record) -> Option<ControlKind> {
        match record.key.as_deref()? {
            [_, _, 0, 0, ..] => Some(ControlKind::Abort),
            [_, _, 0, 1, ..] => Some(ControlKind::Commit),
            _ => None,
        }
    }

    pub(super) fn to_wire(self) -> i16 {
        match self {
            ControlKind::Abort => 0,
            ControlKind::Commit => 1,
        }
    }
}

/// Reads the records of a body one by one; after an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Records {
    base: Offset,
    base_timestamp: i64,
    append_time: Option<i64>,
    last_offset_delta: i32,
    left: i32,
    body: Reader,
}

impl Records {
    pub(super) fn new(header: &BatchHeader, body: Bytes) -> Records {
        Records {
            base: header.base,
            base_timestamp: header.base_timestamp,
            append_time: header.attributes.is_log_append_time().then_some(header.max_timestamp),
            last_offset_delta: header.last_offset_delta,
            left: header.count,
            body: Reader::new(body),
        }
    }

    fn read(&mut self) -> Result<Record, Malformed> {
        let length = self.body.varint()?;
        let Some(length) = self.body.count(i64::from(length), 1)? else {
            return self.body.malformed("a record length that is not negative");
        };
        let end = self.body.position() + length;
        self.body.i8()?; // attributes: none are defined
        let timestamp_delta = self.body.varlong()?;
        let offset_delta = self.body.varint()?;
        if !(0..=self.last_offset_delta).contains(&offset_delta) {
            return self.body.malformed("an offset within its batch");
        }
        let key = self.nullable()?;
        let value = self.nullable()?;
        let declared = self.body.varint()?;
        let Some(count) = self.body.count(i64::from(declared), 2)? else {
            return self.body.malformed("a header count that is not negative");
        };
        let mut headers = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let Some(key) = self.nullable()? else {
                return self.body.malformed("a header's name");
            };
            let Ok(key) = core::str::from_utf8(&key) else {
                return self.body.malformed("a header's name in UTF-8");
            };
            headers.push(Header { key: key.into(), value: self.nullable()? });
        }
        if self.body.position() != end {
            return self.body.malformed("the end of the record where its length says");
        }
        Ok(Record {
            offset: self.base + i64::from(offset_delta),
            timestamp: self.append_time.unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
        })
    }

    fn nullable(&mut self) -> Result<Option<Bytes>, Malformed> {
        let declared = self.body.varint()?;
        match self.body.count(i64::from(declared), 1)? {
            None => Ok(None),
            Some(length) => self.body.take(length, "a key, a value or a header").map(Some),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Result<Record, BatchError>> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record.map_err(BatchError::Record))
    }
}

/// What a leader checks of a producer's plain records: as many as declared, offsets 0, 1, 2 …, nothing after them.
/// Walks without building them: this runs for every produced batch.
pub(super) fn check_plain(batch: &Batch) -> Result<(), BatchError> {
    let mut body = Reader::new(batch.bytes.slice(super::HEADER_BYTES..));
    for ordinal in 0..batch.header.count {
        let offset_delta = skip(&mut body).map_err(BatchError::Record)?;
        if offset_delta != ordinal {
            return Err(BatchError::Counts("offsets inside a batch that do not count from 0"));
        }
    }
    if body.is_empty() { Ok(()) } else { Err(BatchError::Counts("bytes after the last record")) }
}

/// Passes over one record and gives its offset delta.
fn skip(body: &mut Reader) -> Result<i32, Malformed> {
    let length = body.varint()?;
    let Some(length) = body.count(i64::from(length), 1)? else {
        return body.malformed("a record length that is not negative");
    };
    let end = body.position() + length;
    body.i8()?;
    body.varlong()?;
    let offset_delta = body.varint()?;
    for what in ["a key", "a value"] {
        let declared = body.varint()?;
        let length = body.count(i64::from(declared), 1)?.unwrap_or(0);
        body.take(length, what)?;
    }
    let declared = body.varint()?;
    let Some(count) = body.count(i64::from(declared), 2)? else {
        return body.malformed("a header count that is not negative");
    };
    for _ in 0..count {
        for what in ["a header's name", "a header's value"] {
            let declared = body.varint()?;
            let length = body.count(i64::from(declared), 1)?.unwrap_or(0);
            body.take(length, what)?;
        }
    }
    if body.position() != end {
        return body.malformed("the end of the record where its length says");
    }
    Ok(offset_delta)
}
