//! Kafka's v2 record batch: only the 61-byte header is parsed, the body is opaque.

use super::offset::Offset;
use crate::id::LeaderEpoch;
use bytes::Bytes;

/// A batch as the log holds it: offsets and leader epoch stamped, ready to be written as two parts of one vectored
/// write (`prefix` is the 21 bytes before the checksummed part, which is never copied).
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
