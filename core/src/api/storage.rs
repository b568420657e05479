//! What a machine asks of its disk, in meaning, not in bytes of files.
//!
//! A lane is a queue of its own: its operations take place in order, and its tickets are answered in order. What
//! survives which crash is in the table of ARCHITECTURE.md ("Lanes").

use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition, ZabEpoch, Zxid};
use crate::ordered::OrdMap;
use crate::record::batch::Stamped;
use crate::record::epoch_cache::EpochCache;
use crate::record::offset::{LogRange, Offset, Position};
use crate::record::producer::{ProducerSnapshot, ProducerStates};
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

/// A queue of storage operations with a durability of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Keeper: transactions, epoch files, and the snapshot a synchronisation writes, in one order.
    Journal,
    /// Keeper: the periodic, fuzzy snapshot. Nobody waits for it but the purge of old logs.
    Snapshot,
    /// Broker: one partition's batches.
    Log(TopicPartition),
    /// Broker: high watermarks, leader epochs, producer snapshots: replaced whole, old or new.
    Checkpoint,
}

/// One thing to do on a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreOp {
    // Keeper, `Lane::Journal`.
    /// Appends one transaction: header, body and digest, serialised as the log file holds them.
    AppendTxn {
        zxid: Zxid,
        txn: Bytes,
    },
    /// Cuts the journal after `to` (which stays), and drops every snapshot above it (Z19).
    TruncateJournal {
        to: Zxid,
    },
    /// Replaces `acceptedEpoch`: a barrier of its lane.
    AcceptedEpoch(ZabEpoch),
    /// Replaces `currentEpoch`: a barrier of its lane.
    CurrentEpoch(ZabEpoch),

    // Keeper, `Lane::Journal` (a snapshot received while synchronising) or `Lane::Snapshot` (the periodic one).
    /// Begins `snapshot.<zxid>`; it does not exist before `SnapshotEnd`.
    SnapshotBegin {
        zxid: Zxid,
    },
    /// The next piece of the snapshot that was begun, as the file holds it (from the header on).
    SnapshotPiece {
        piece: Bytes,
    },
    /// The snapshot is whole: it appears under its name, old or new, never half.
    /// `replaces_journal`: the transactions logged before it are history of another leader; recovery must not replay them.
    SnapshotEnd {
        zxid: Zxid,
        replaces_journal: bool,
    },
    /// Starts a new log file with the next transaction (a snapshot was begun).
    RollJournal,
    /// Removes all but the newest `keep` snapshots, and the log files wholly before the oldest kept.
    PurgeJournal {
        keep: u32,
    },

    // Broker, `Lane::Log`.
    /// Creates the partition's folder with its topic id, if absent.
    CreateLog {
        topic_id: TopicId,
    },
    /// Appends batches whose offsets follow each other (gaps are legal, C.6).
    Append {
        batches: Vec<Stamped>,
    },
    /// Starts a new segment at `base`; the machine decides when.
    Roll {
        base: Offset,
    },
    /// Cuts the log so that it ends at `to`.
    TruncateLog {
        to: Offset,
    },
    /// Drops everything; the log goes on at `start`.
    RestartLog {
        start: Offset,
    },
    /// Removes segments that end at or below `to`, which becomes the log start.
    DropSegments {
        to: Offset,
    },
    /// Deletes the partition.
    DeleteLog,

    // Broker, `Lane::Checkpoint`. Each replaces its file.
    HighWatermarks(Vec<(TopicPartition, Offset)>),
    RecoveryPoints(Vec<(TopicPartition, Offset)>),
    LogStarts(Vec<(TopicPartition, Offset)>),
    LeaderEpochs {
        partition: TopicPartition,
        entries: Vec<(LeaderEpoch, Offset)>,
    },
    Producers {
        partition: TopicPartition,
        snapshot: ProducerSnapshot,
    },
    /// `meta.properties`.
    Meta {
        broker: BrokerId,
        cluster: String,
    },
    /// Everything is on disk: the next start believes the time indexes, and takes no gap between segments for the mark of a
    /// crash. Every checksum is verified all the same.
    CleanShutdown,
}

/// A read. Answered by `Loaded` after the earlier stores of its lane, in bounded pieces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Transactions of the journal above `after`, up to and including `upto`, about `max_bytes` of them.
    Txns { after: Zxid, upto: Zxid, max_bytes: u32 },
    /// The newest snapshot at or below `upto`, and the transactions from there to `upto`.
    Database { upto: Zxid },
    /// Batches of a log, for the machine itself.
    Records(LogRange),
    /// The producers' states at `upto`: the newest snapshot at or below it, and the batches from there replayed.
    Producers { partition: TopicPartition, upto: Offset },
    /// The first offset at or above `from` whose timestamp is at least `timestamp` (`None`: the latest of the log), below
    /// `upto`.
    OffsetForTime { partition: TopicPartition, timestamp: Option<i64>, from: Offset, upto: Offset },
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Loaded {
    /// `complete`: nothing is left between the last of these and `upto`. `None`: the journal no longer reaches back to `after`.
    Txns {
        txns: Option<Vec<(Zxid, Bytes)>>,
        complete: bool,
    },
    Database {
        snapshot: Option<(Zxid, Bytes)>,
        txns: Vec<(Zxid, Bytes)>,
    },
    Records(Bytes),
    Producers(ProducerStates),
    /// The offset and its timestamp.
    OffsetForTime(Option<(Offset, i64)>),
}

/// What a keeper finds on its disk when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeeperImage {
    /// `acceptedEpoch`; where the file is missing, the epoch of the newest transaction.
    pub accepted_epoch: ZabEpoch,
    /// `currentEpoch`; likewise.
    pub current_epoch: ZabEpoch,
    /// The newest whole snapshot: the zxid of its name, and the file's bytes.
    pub snapshot: Option<(Zxid, Bytes)>,
    /// The transactions above it, in order, as [`StoreOp::AppendTxn`] was given them.
    pub txns: Vec<(Zxid, Bytes)>,
    /// Transactions at or below the snapshot that the journal still holds, the newest at most 500: what DIFF is served from.
    pub recent: Vec<(Zxid, Bytes)>,
    pub cuts: Vec<Cut>,
}

impl KeeperImage {
    /// The newest zxid on the disk.
    pub fn last_zxid(&self) -> Zxid {
        let newest = self.txns.last().map(|(zxid, _)| *zxid);
        newest.or(self.snapshot.as_ref().map(|(zxid, _)| *zxid)).unwrap_or_default()
    }
}

/// What a broker finds on its disk when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BrokerImage {
    /// From `meta.properties`; `None` on a new disk.
    pub broker: Option<BrokerId>,
    pub cluster: Option<String>,
    /// The last stop was orderly. Every checksum was verified all the same.
    pub clean: bool,
    pub partitions: OrdMap<TopicPartition, PartitionImage>,
    pub cuts: Vec<Cut>,
}

/// One partition's log as recovery left it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PartitionImage {
    pub topic_id: TopicId,
    pub log_start: Offset,
    pub log_end: Offset,
    /// Oldest first, never empty.
    pub segments: Vec<SegmentInfo>,
    pub epochs: EpochCache,
    /// From the newest snapshot and the batches after it.
    pub producers: ProducerStates,
    /// As checkpointed, 0 if it never was, clamped to log start and end.
    pub high_watermark: Offset,
    /// Everything below was on the disk when it was checkpointed.
    pub recovery_point: Offset,
    /// The log went on after `log_end`, with records that this replica had promised, and they cannot be read any more. They
    /// are still on the disk: cutting the log removes them, and until then nothing may be appended.
    pub damaged: bool,
}

/// A segment of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentInfo {
    pub base: Offset,
    pub bytes: u64,
    /// The largest timestamp in it, −1 of none.
    pub max_timestamp: i64,
}

/// Something recovery took away, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    pub file: Arc<str>,
    /// Where the file ends now; `None`: the file is gone.
    pub at: Option<Position>,
    pub bytes: u64,
    pub why: String,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}: {} bytes cut at {at}: {}", self.file, self.bytes, self.why),
            None => write!(f, "{}: removed with its {} bytes: {}", self.file, self.bytes, self.why),
        }
    }
}

/// Why a node cannot start from this disk: a sentence that names file and position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    pub file: Arc<str>,
    pub at: Option<Position>,
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} at byte {at}: {}", self.file, self.why),
            None => write!(f, "{}: {}", self.file, self.why),
        }
    }
}

impl std::error::Error for Refused {}
