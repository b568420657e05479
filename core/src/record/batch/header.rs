//! The 61 bytes at the front of a v2 batch.

use super::BatchError;
use crate::id::{LeaderEpoch, ProducerEpoch, ProducerId};
use crate::record::offset::Offset;
use core::fmt;

/// Bytes of a header: what is parsed of a batch.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the checksummed part; base offset and leader epoch are among them.
pub const PREFIX_BYTES: usize = 21;
/// Bytes up to and including the length field, which counts what follows it.
pub const LENGTH_END: usize = 12;

pub(super) const ATTRIBUTES_AT: usize = PREFIX_BYTES;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const AFTER_MAX_TIMESTAMP: usize = 43;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const MAGIC: i8 = 2;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
    /// A number without a codec.
    Unknown(u8),
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Gzip => f.write_str("gzip"),
            Compression::Snappy => f.write_str("snappy"),
            Compression::Lz4 => f.write_str("lz4"),
            Compression::Zstd => f.write_str("zstd"),
            Compression::Unknown(number) => write!(f, "an unknown codec {number}"),
        }
    }
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    pub fn compression(self) -> Compression {
        match self.0 & 0x07 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            other => Compression::Unknown(other as u8),
        }
    }

    pub(super) fn known_compression(self) -> Result<Compression, BatchError> {
        match self.compression() {
            Compression::Unknown(_) => Err(BatchError::Forbidden("an unknown compression codec")),
            known => Ok(known),
        }
    }

    /// The timestamps are the broker's.
    pub fn is_log_append_time(self) -> bool {
        self.0 & Attributes::LOG_APPEND_TIME != 0
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Attributes::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Attributes::CONTROL != 0
    }

    /// The base timestamp is the time from which tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Attributes::DELETE_HORIZON != 0
    }

    pub fn with_log_append_time(self) -> Attributes {
        Attributes(self.0 | Attributes::LOG_APPEND_TIME)
    }

    pub fn with_transactional(self) -> Attributes {
        Attributes(self.0 | Attributes::TRANSACTIONAL)
    }

    pub fn with_control(self) -> Attributes {
        Attributes(self.0 | Attributes::CONTROL)
    }
}

/// The parsed front of a batch. Offsets in a body are relative to `base`, timestamps to `base_timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    pub base: Offset,
    /// Bytes after the length field.
    pub length: i32,
    pub epoch: LeaderEpoch,
    pub crc: u32,
    pub attributes: Attributes,
    /// The last offset covered, relative to `base`; stays when compaction takes records out.
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    /// Milliseconds; −1 where there is none.
    pub max_timestamp: i64,
    pub producer: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// −1 where there is no idempotent producer, or in a control batch.
    pub base_sequence: i32,
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`. A result is consistent: the length holds a header, deltas and counts
    /// are not negative, and the offsets do not overflow.
    ///
    /// # Errors
    /// [`BatchError::Short`] if 61 bytes are not there.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(front) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Short { have: bytes.len() as u64, need: HEADER_BYTES as u64 });
        };
        let header = BatchHeader {
            base: Offset(i64_at(front, 0)),
            length: i32_at(front, 8),
            epoch: LeaderEpoch(i32_at(front, EPOCH_AT)),
            crc: i32_at(front, CRC_AT) as u32,
            attributes: Attributes(i16_at(front, ATTRIBUTES_AT)),
            last_offset_delta: i32_at(front, 23),
            base_timestamp: i64_at(front, 27),
            max_timestamp: i64_at(front, MAX_TIMESTAMP_AT),
            producer: ProducerId(i64_at(front, AFTER_MAX_TIMESTAMP)),
            producer_epoch: ProducerEpoch(i16_at(front, 51)),
            base_sequence: i32_at(front, 53),
            count: i32_at(front, 57),
        };
        let magic = front[MAGIC_AT] as i8;
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        if header.length < (HEADER_BYTES - LENGTH_END) as i32 {
            return Err(BatchError::Length(header.length));
        }
        if header.last_offset_delta < 0 || header.count < 0 {
            return Err(BatchError::Counts("a negative count or offset delta"));
        }
        if header.base.0 < 0 || header.base.0 > i64::MAX - i64::from(i32::MAX) - 1 {
            return Err(BatchError::Counts("a base offset that is none"));
        }
        Ok(header)
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> u64 {
        LENGTH_END as u64 + self.length as u64
    }

    /// The last offset covered.
    pub fn last(&self) -> Offset {
        self.base + i64::from(self.last_offset_delta)
    }

    /// The offset after the batch.
    pub fn next(&self) -> Offset {
        self.last().next()
    }

    /// An idempotent producer wrote it.
    pub fn is_idempotent(&self) -> bool {
        self.producer.0 >= 0
    }

    /// The sequence of the last record; after 2^31−1 comes 0. −1 where there is no sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (last & i64::from(i32::MAX)) as i32
    }
}

/// Writes base offset and leader epoch into the front of a batch.
pub(super) fn put_place(front: &mut [u8], base: Offset, epoch: LeaderEpoch) {
    front[..8].copy_from_slice(&base.0.to_be_bytes());
    front[EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.0.to_be_bytes());
}

pub(super) fn put_crc(front: &mut [u8], crc: u32) {
    front[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// Writes a header; the checksum is put in later, over all that follows it.
pub(super) fn write(to: &mut crate::codec::Writer, header: &BatchHeader) {
    to.i64(header.base.0);
    to.i32(header.length);
    to.i32(header.epoch.0);
    to.i8(MAGIC);
    to.u32(header.crc);
    to.i16(header.attributes.0);
    to.i32(header.last_offset_delta);
    to.i64(header.base_timestamp);
    to.i64(header.max_timestamp);
    to.i64(header.producer.0);
    to.i16(header.producer_epoch.0);
    to.i32(header.base_sequence);
    to.i32(header.count);
}

fn i64_at(front: &[u8; HEADER_BYTES], at: usize) -> i64 {
    i64::from_be_bytes(core::array::from_fn(|byte| front[at + byte]))
}

fn i32_at(front: &[u8; HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes(core::array::from_fn(|byte| front[at + byte]))
}

fn i16_at(front: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes(core::array::from_fn(|byte| front[at + byte]))
}
