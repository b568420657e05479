//! What a machine asks of its disk, in meaning, not in bytes of files.
//!
//! A lane is a queue of its own: its operations take place in order, and its tickets are answered in order. What
//! survives which crash is in the table of ARCHITECTURE.md ("Lanes").

use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition, ZabEpoch, Zxid};
use crate::record::batch::Stamped;
use crate::record::offset::{LogRange, Offset};
use crate::record::producer::ProducerSnapshot;
use bytes::Bytes;

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
    /// Everything is on disk: the next start need not scan.
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
    /// The first offset at or above `from` whose timestamp is at least `timestamp`, below `upto`.
    OffsetForTime { partition: TopicPartition, timestamp: i64, from: Offset, upto: Offset },
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
    /// The offset and its timestamp.
    OffsetForTime(Option<(Offset, i64)>),
}
