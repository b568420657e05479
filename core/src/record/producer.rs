//! Idempotent-producer state of one partition (protocol.md C.8).

use super::offset::Offset;

/// What a `.snapshot` file holds: the state at `upto`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProducerSnapshot {
    pub upto: Offset,
}
