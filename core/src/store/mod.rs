//! Storage below the machines: formats, framing, checksums, indexes and recovery, over any [`disk::Disk`].
//!
//! File formats are exactly Kafka's and ZooKeeper's, so that Apache's own tools read our files. Machines never see it:
//! they speak `api::storage`, and a host carries their words here: [`Store::boot_keeper`] or [`Store::boot_broker`]
//! first, then [`Store::perform`], [`Store::load`], [`Store::locate`], and [`Store::ask_sync`] with
//! [`Store::complete_sync`].

mod boot;
pub mod conformance;
pub mod disk;
pub mod journal;
pub mod segments;
pub mod small_file;
pub mod sync_lane;

use crate::api::storage::{Lane, Load, Loaded, StoreOp};
use crate::id::TopicPartition;
use crate::machine::Ticket;
use crate::ordered::OrdMap;
use crate::record::offset::{LogRange, Offset, Position};
use bytes::Bytes;
use core::fmt;
use disk::{Disk, DiskError, Extent, FileId};
use journal::Journal;
use segments::{INDEX_INTERVAL, PartitionLog};
use sync_lane::SyncLane;

/// Why the store could not do what it was asked. The node stops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreError {
    Disk(DiskError),
    /// Bytes that were sound when they were written or recovered no longer are.
    Damaged {
        file: FileId,
        at: Position,
        why: String,
    },
    /// What was asked for cannot be done with what is on the disk.
    Impossible(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Disk(error) => error.fmt(f),
            StoreError::Damaged { file, at, why } => write!(f, "open file {} at byte {at}: {why}", file.0),
            StoreError::Impossible(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> StoreError {
        StoreError::Disk(error)
    }
}

/// One node's storage. A keeper uses the journal, a broker the logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store<D> {
    pub disk: D,
    journal: Journal,
    logs: OrdMap<TopicPartition, PartitionLog>,
    syncs: OrdMap<Lane, SyncLane>,
    told: Told,
    interval: u32,
}

/// What the three checkpoints of offsets say of logs: recovery points, high watermarks, log starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Told {
    /// The highest offset that any of them ever said of a log: a crash may leave an old one on the disk.
    most: OrdMap<TopicPartition, Offset>,
    /// How often one was written.
    written: u64,
    /// As many had been written when the sync began that runs on their lane.
    syncing: u64,
}

impl Told {
    fn note(&mut self, offsets: &[(TopicPartition, Offset)]) {
        self.written += 1;
        for (partition, offset) in offsets {
            let most = self.most.entry(partition.clone()).or_default();
            *most = (*most).max(*offset);
        }
    }
}

impl<D: Disk> Store<D> {
    /// A store over a disk that was not looked at yet: boot before anything else.
    pub fn new(disk: D) -> Store<D> {
        Store {
            disk,
            journal: Journal::default(),
            logs: OrdMap::new(),
            syncs: OrdMap::new(),
            told: Told::default(),
            interval: INDEX_INTERVAL,
        }
    }

    /// As [`new`](Store::new), with another `index.interval.bytes`.
    pub fn with_index_interval(disk: D, interval: u32) -> Store<D> {
        Store { interval, ..Store::new(disk) }
    }

    /// Does one thing. It is accepted then: our own reads see it; [`flush`](Store::flush) submits it.
    ///
    /// # Errors
    /// When it cannot be done; the host stops the node and says why.
    pub fn perform(&mut self, lane: &Lane, op: StoreOp) -> Result<(), StoreError> {
        match lane {
            Lane::Journal | Lane::Snapshot => self.perform_keeper(lane, op),
            Lane::Log(partition) => self.perform_log(partition, op),
            Lane::Checkpoint => {
                self.perform_checkpoint(op);
                Ok(())
            }
        }
    }

    fn perform_keeper(&mut self, lane: &Lane, op: StoreOp) -> Result<(), StoreError> {
        let Store { disk, journal, .. } = self;
        match op {
            StoreOp::AppendTxn { zxid, txn } => journal.append(disk, zxid, txn),
            StoreOp::TruncateJournal { to } => journal.truncate(disk, to)?,
            StoreOp::AcceptedEpoch(epoch) => journal.accepted_epoch(disk, epoch),
            StoreOp::CurrentEpoch(epoch) => journal.current_epoch(disk, epoch),
            StoreOp::SnapshotBegin { zxid } => journal.snapshot_begin(lane, zxid),
            StoreOp::SnapshotPiece { piece } => journal.snapshot_piece(lane, piece),
            StoreOp::SnapshotEnd { zxid, replaces_journal } => {
                journal.snapshot_end(disk, lane, zxid, replaces_journal);
            }
            StoreOp::RollJournal => journal.roll(),
            StoreOp::PurgeJournal { keep } => journal.purge(disk, keep),
            _ => unreachable!("not an operation of a keeper's lane"),
        }
        Ok(())
    }

    fn perform_log(&mut self, partition: &TopicPartition, op: StoreOp) -> Result<(), StoreError> {
        let Store { disk, logs, told, interval, .. } = self;
        let (most, checkpoints) = (told.most.get(partition).copied().unwrap_or_default(), told.written);
        let log = match logs.get_mut(partition) {
            Some(log) => log,
            None => logs.entry(partition.clone()).or_insert_with(|| PartitionLog::new(partition, *interval)),
        };
        match op {
            StoreOp::CreateLog { topic_id } => {
                log.ends_below(disk, log.end(), most, checkpoints);
                log.create(disk, topic_id);
            }
            StoreOp::Append { batches } => log.append(disk, &batches),
            StoreOp::Roll { base } => log.roll(disk, base),
            StoreOp::TruncateLog { to } => {
                log.ends_below(disk, to, most, checkpoints);
                log.truncate(disk, to)?;
                // A batch that straddled `to` is gone, too.
                log.ends_below(disk, log.end(), most, checkpoints);
            }
            StoreOp::RestartLog { start } => {
                log.ends_below(disk, start, most, checkpoints);
                log.restart(disk, start);
            }
            StoreOp::DropSegments { to } => log.drop_segments(disk, to),
            StoreOp::DeleteLog => {
                log.delete(disk);
                logs.remove(partition);
            }
            _ => unreachable!("not an operation of a log's lane"),
        }
        Ok(())
    }

    fn perform_checkpoint(&mut self, op: StoreOp) {
        if let StoreOp::HighWatermarks(offsets) | StoreOp::RecoveryPoints(offsets) | StoreOp::LogStarts(offsets) = &op {
            self.told.note(offsets);
        }
        let (name, contents) = match op {
            StoreOp::HighWatermarks(offsets) => {
                (small_file::HIGH_WATERMARKS.to_owned(), small_file::offsets_to_bytes(&offsets))
            }
            StoreOp::RecoveryPoints(offsets) => {
                (small_file::RECOVERY_POINTS.to_owned(), small_file::offsets_to_bytes(&offsets))
            }
            StoreOp::LogStarts(offsets) => (small_file::LOG_STARTS.to_owned(), small_file::offsets_to_bytes(&offsets)),
            StoreOp::LeaderEpochs { partition, entries } => {
                (format!("{partition}/{}", small_file::LEADER_EPOCHS), small_file::epochs_to_bytes(&entries))
            }
            StoreOp::Producers { partition, snapshot } => {
                if let Some(log) = self.logs.get_mut(&partition) {
                    log.snapshot_producers(&mut self.disk, &snapshot);
                }
                return;
            }
            StoreOp::Meta { broker, cluster } => {
                (small_file::META.to_owned(), small_file::meta_to_bytes(broker, &cluster))
            }
            StoreOp::CleanShutdown => {
                // The last words: time indexes get their last entries, as Apache does when it closes its logs.
                for log in self.logs.values_mut() {
                    log.close(&mut self.disk);
                }
                (small_file::CLEAN_SHUTDOWN.to_owned(), small_file::clean_shutdown())
            }
            _ => unreachable!("not an operation of the lane of checkpoints"),
        };
        self.disk.replace(&Lane::Checkpoint, &name, &[contents]);
    }

    /// Submits everything performed: it survives a crash of the process.
    ///
    /// # Errors
    /// Of the disk, about anything since the last flush.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.disk.flush().map_err(StoreError::Disk)
    }

    /// A machine wants to hear when what it wrote to the lane is durable. True: a sync was begun, and the host calls
    /// [`complete_sync`](Store::complete_sync) when the disk is done; false: one is running, and the next will answer.
    #[must_use]
    pub fn ask_sync(&mut self, lane: &Lane, ticket: Ticket) -> bool {
        let begun = self.syncs.entry(lane.clone()).or_default().ask(ticket);
        if begun {
            self.begin_sync(lane);
        }
        begun
    }

    fn begin_sync(&mut self, lane: &Lane) {
        if *lane == Lane::Checkpoint {
            self.told.syncing = self.told.written;
        }
        self.disk.begin_sync(lane);
    }

    /// The sync that was begun on the lane is done: `Synced` may speak up to this ticket. True: the next was begun.
    #[must_use]
    pub fn complete_sync(&mut self, lane: &Lane) -> (Ticket, bool) {
        self.disk.end_sync(lane);
        if *lane == Lane::Checkpoint {
            let Store { disk, logs, told, .. } = self;
            logs.values_mut().for_each(|log| log.on_checkpoint(disk, told.syncing));
        }
        let (upto, again) =
            self.syncs.get_mut(lane).expect("a sync completes on a lane that asked for none").complete();
        if again {
            self.begin_sync(lane);
        }
        (upto, again)
    }

    /// Reads something.
    ///
    /// # Errors
    /// Of the disk, or that the bytes are damaged.
    pub fn load(&mut self, load: &Load) -> Result<Loaded, StoreError> {
        let Store { disk, journal, logs, .. } = self;
        match load {
            Load::Txns { after, upto, max_bytes } => journal.txns(disk, *after, *upto, *max_bytes),
            Load::Database { upto } => journal.database(disk, *upto),
            Load::Records(range) => self.materialize(range).map(Loaded::Records),
            Load::Producers { partition, upto } => {
                let states = logs.get(partition).map(|log| log.producers(disk, *upto)).transpose()?;
                Ok(Loaded::Producers(states.unwrap_or_default()))
            }
            Load::OffsetForTime { partition, timestamp, from, upto } => {
                let Some(log) = logs.get(partition) else { return Ok(Loaded::OffsetForTime(None)) };
                log.offset_for_time(disk, *timestamp, *from, *upto).map(Loaded::OffsetForTime)
            }
        }
    }

    /// Where the batches of a range lie; `None` where there are none (any more).
    ///
    /// # Errors
    /// Of the disk, or that the bytes are damaged.
    pub fn locate(&self, range: &LogRange) -> Result<Option<Extent>, StoreError> {
        self.logs.get(&range.partition).map_or(Ok(None), |log| log.locate(&self.disk, range))
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// As [`locate`](Store::locate).
    pub fn materialize(&self, range: &LogRange) -> Result<Bytes, StoreError> {
        match self.locate(range)? {
            Some(extent) => Ok(self.disk.read(extent)?),
            None => Ok(Bytes::new()),
        }
    }
}
