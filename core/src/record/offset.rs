//! Offsets count records, positions count bytes; a range of a log is pointed at, not carried.

use crate::id::TopicPartition;
use core::fmt;
use core::ops::{Add, Sub};

/// The number of a record in its partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    pub const ZERO: Offset = Offset(0);

    /// The offset after this one.
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Offset;
    fn add(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }
}

impl Sub for Offset {
    type Output = i64;
    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a file, in bytes from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Add<u64> for Position {
    type Output = Position;
    fn add(self, bytes: u64) -> Position {
        Position(self.0 + bytes)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Batches of a log that a reply points at: those from the one that holds `from`, below `upto`, at most `max_bytes`
/// (but always one whole batch if there is one, KIP-74). The host puts the bytes in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogRange {
    pub partition: TopicPartition,
    pub from: Offset,
    /// Exclusive.
    pub upto: Offset,
    pub max_bytes: u32,
}
