//! What a broker needs from its disk to start: the machine's side of recovery. Whoever reads the files fills it; how
//! they are laid out is not known here.

use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::record::offset::Offset;
use crate::record::producer::ProducerSnapshot;

/// Everything that survived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Boot {
    /// `meta.properties`: the id and cluster this disk belongs to; `None` on an empty disk.
    pub meta: Option<(BrokerId, String)>,
    /// The last stop was orderly: nothing had to be scanned.
    pub clean: bool,
    /// The entropy of this boot, a recorded input.
    pub entropy: u64,
    pub logs: Vec<LogImage>,
}

/// One partition's log as recovery found it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogImage {
    pub partition: TopicPartition,
    /// From `partition.metadata`; `TopicId::NONE` where it is missing.
    pub topic_id: TopicId,
    /// The first offset kept.
    pub start: Offset,
    /// The offset after the last record that is whole.
    pub end: Offset,
    /// The checkpointed high watermark; zero if there was none. May lie outside the log: the broker clamps it.
    pub high_watermark: Offset,
    /// Oldest first, the last is the active one; never empty.
    pub segments: Vec<SegmentImage>,
    /// The leader-epoch cache, cut to the log.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Producer state rebuilt from the newest snapshot and the batches after it.
    pub producers: ProducerSnapshot,
    /// The newest batches (base, last, epoch, bytes), oldest first; at most a few dozen, for the eye and for byte counts.
    pub recent: Vec<RecentBatch>,
    /// Recovery cut the log to `end` because of what it found there, in a sentence.
    pub cut: Option<String>,
}

/// A segment's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentImage {
    pub base: Offset,
    pub bytes: u64,
    /// The timestamp of its first batch, for rolling by time; −1 if it is empty.
    pub first_timestamp: i64,
    /// The largest timestamp in it, for retention by time; −1 if it is empty.
    pub max_timestamp: i64,
}

/// A batch as one sees it from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecentBatch {
    pub base: Offset,
    pub last: Offset,
    pub epoch: LeaderEpoch,
    pub bytes: u32,
}
