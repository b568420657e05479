//! A partition's log on disk: segments with sparse indexes, in Kafka's files (protocol.md C.8).
//!
//! A truncation never overwrites: it shortens a segment and starts a new one, so who reads late gets the old bytes or a
//! short read, never somebody else's. Knows offsets, epochs and timestamps of batches, not what leaders and followers
//! make of them.

pub mod recover;
pub(super) mod segment;

use super::StoreError;
use super::disk::{Disk, Extent, FileId};
use super::small_file::PARTITION_METADATA;
use crate::api::storage::{Lane, PartitionImage};
use crate::id::{LeaderEpoch, TopicId, TopicPartition};
use crate::ordered::{OrdMap, OrdSet};
use crate::record::batch::{Batch, Compression, Stamped};
use crate::record::offset::{LogRange, Offset, Position};
use crate::record::producer::{ProducerSnapshot, ProducerStates};
use bytes::Bytes;
use segment::{Scan, Segment, name};

/// Bytes of batches between two entries of an index, Kafka's `index.interval.bytes`.
pub const INDEX_INTERVAL: u32 = 4096;

/// A file in a partition's folder: its log is damaged, and what is damaged was not cut yet. Not one of Kafka's, whose tools
/// pass over it.
pub(super) const DAMAGED: &str = "damaged";
/// Another: the offset at which the log was cut, or begun, below what a checkpoint that a crash may leave on the disk says
/// of it. Such a checkpoint tells of records that are gone on purpose: while this file is there it counts only up to here.
pub(super) const CUT: &str = "cut";

/// What the file [`CUT`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LogCut {
    pub to: Offset,
    /// Checkpoints written when the log was last cut: one that is written later knows of it.
    pub checkpoints: u64,
}

/// Something that recovery does not believe and that is still on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Spoiled {
    /// What lies in a segment's file from here on.
    Tail(FileId, Position),
    /// A whole segment.
    Segment(Offset),
}

/// One partition's files, as they stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionLog {
    folder: String,
    lane: Lane,
    interval: u32,
    /// By base offset; never empty once the log was created.
    pub(super) segments: OrdMap<Offset, Segment>,
    /// Offsets of producer snapshots on the disk.
    pub(super) snapshots: OrdSet<Offset>,
    /// What recovery gave up, in the log's order; it goes before anything else is done to the log.
    spoiled: Vec<Spoiled>,
    /// What recovery gave up was promised: it goes when the machine cuts the log.
    pub(super) is_damaged: bool,
    pub(super) cut: Option<LogCut>,
}

impl PartitionLog {
    pub(super) fn new(partition: &TopicPartition, interval: u32) -> PartitionLog {
        PartitionLog {
            folder: partition.to_string(),
            lane: Lane::Log(partition.clone()),
            interval,
            segments: OrdMap::new(),
            snapshots: OrdSet::new(),
            spoiled: Vec::new(),
            is_damaged: false,
            cut: None,
        }
    }

    /// The log is about to end at `to`. A checkpoint may say up to `told` of it, after as many as were written.
    pub(super) fn ends_below(&mut self, disk: &mut impl Disk, to: Offset, told: Offset, checkpoints: u64) {
        let before = self.cut.map_or(told, |cut| cut.to);
        if to < before {
            disk.replace(&self.lane, &format!("{}/{CUT}", self.folder), &[to.to_string().into()]);
            self.cut = Some(LogCut { to, checkpoints });
        } else if let Some(cut) = &mut self.cut {
            cut.checkpoints = checkpoints;
        }
    }

    /// The checkpoint with this number, and with it all older ones' places, is durable: if it was written after the last
    /// cut, that need not be remembered.
    pub(super) fn on_checkpoint(&mut self, disk: &mut impl Disk, durable: u64) {
        if self.cut.take_if(|cut| cut.checkpoints < durable).is_some() {
            disk.remove(&self.lane, &format!("{}/{CUT}", self.folder));
        }
    }

    /// Makes the folder with `partition.metadata` and an empty segment, unless they are there.
    pub fn create(&mut self, disk: &mut impl Disk, topic_id: TopicId) {
        if self.segments.is_empty() {
            let metadata = format!("version: 0\ntopic_id: {topic_id}");
            disk.replace(&self.lane, &format!("{}/{PARTITION_METADATA}", self.folder), &[metadata.into()]);
            self.begin_segment(disk, Offset::ZERO);
        }
    }

    /// Appends batches whose offsets rise, from the log's end on.
    pub fn append(&mut self, disk: &mut impl Disk, batches: &[Stamped]) {
        assert!(!self.is_damaged, "an append to {}, which is damaged at {}", self.folder, self.end());
        let mut active = self.segments.last_entry().expect("an append to a log that was not created");
        active.get_mut().append(disk, batches);
    }

    /// Starts a new segment at the log's end, which should be `base`.
    pub fn roll(&mut self, disk: &mut impl Disk, base: Offset) {
        let mut active = self.segments.last_entry().expect("a roll of a log that was not created");
        let active = active.get_mut();
        assert!(base >= active.scan.next, "a roll at {base} of a log that ends at {}", active.scan.next);
        if active.scan.bytes > 0 {
            active.close(disk);
            let base = active.scan.next;
            self.begin_segment(disk, base);
        }
    }

    /// Cuts the log so that no batch reaches `to`.
    ///
    /// # Errors
    /// Of the disk.
    pub fn truncate(&mut self, disk: &mut impl Disk, to: Offset) -> Result<(), StoreError> {
        self.cut_spoiled(disk);
        if self.end() <= to {
            return Ok(());
        }
        // Newest first, so that a crash in between leaves no hole.
        while let Some(last) = self.segments.last_key_value().map(|(base, _)| *base).filter(|base| *base >= to) {
            self.remove_segment(disk, last);
        }
        let next = match self.segments.last_entry() {
            None => to,
            Some(mut active) => {
                let segment = active.get_mut();
                if segment.scan.next > to {
                    segment.truncate(disk, &self.lane, &self.folder, to)?;
                }
                segment.scan.next
            }
        };
        for stale in self.snapshots.split_off(&to.next()) {
            disk.remove(&self.lane, &name(&self.folder, stale, "snapshot"));
        }
        // A segment that was cut down to nothing is begun again, as another file of the same name.
        if self.segments.contains_key(&next) {
            self.remove_segment(disk, next);
        }
        self.begin_segment(disk, next);
        Ok(())
    }

    /// Drops everything; the log goes on at `start`.
    pub fn restart(&mut self, disk: &mut impl Disk, start: Offset) {
        self.cut_spoiled(disk);
        while let Some((base, _)) = self.segments.last_key_value() {
            let base = *base;
            self.remove_segment(disk, base);
        }
        for stale in core::mem::take(&mut self.snapshots) {
            disk.remove(&self.lane, &name(&self.folder, stale, "snapshot"));
        }
        self.begin_segment(disk, start);
    }

    /// Removes the segments that end at or below `to`, but never the active one.
    pub fn drop_segments(&mut self, disk: &mut impl Disk, to: Offset) {
        while self.segments.len() > 1
            && let Some(entry) = self.segments.first_key_value().filter(|(_, oldest)| oldest.scan.next <= to)
        {
            let base = *entry.0;
            self.remove_segment(disk, base);
        }
        let first = self.segments.first_key_value().map_or(to, |(base, _)| *base);
        while self.snapshots.len() > 1
            && let Some(stale) = self.snapshots.first().copied().filter(|offset| *offset < first)
        {
            self.snapshots.pop_first();
            disk.remove(&self.lane, &name(&self.folder, stale, "snapshot"));
        }
    }

    /// Removes every file of the partition. `partition.metadata` goes first: a start takes what a crash leaves without it
    /// for no log. (Half of one would have lost its beginning, and say that retention took it.)
    pub fn delete(&mut self, disk: &mut impl Disk) {
        let prefix = format!("{}/", self.folder);
        disk.remove(&self.lane, &format!("{prefix}partition.metadata"));
        for (name, _) in disk.list().into_iter().filter(|(name, _)| name.starts_with(&prefix)) {
            disk.remove(&self.lane, &name);
        }
        self.segments.clear();
        self.snapshots.clear();
        self.spoiled.clear();
        self.is_damaged = false;
        self.cut = None;
    }

    /// Recovery met this and does not believe it.
    pub(super) fn give_up(&mut self, what: Spoiled) {
        self.spoiled.push(what);
    }

    /// Remembers the damage, whatever becomes of the process.
    pub(super) fn mark(&mut self, disk: &mut impl Disk) {
        disk.replace(&self.lane, &format!("{}/{DAMAGED}", self.folder), &[self.end().to_string().into()]);
    }

    /// Removes what recovery gave up, newest first, so that a crash in between leaves no hole.
    pub(super) fn cut_spoiled(&mut self, disk: &mut impl Disk) {
        while let Some(spoiled) = self.spoiled.pop() {
            match spoiled {
                Spoiled::Tail(file, end) => disk.truncate(file, end),
                Spoiled::Segment(base) => self.remove_segment(disk, base),
            }
        }
        if core::mem::take(&mut self.is_damaged) {
            disk.remove(&self.lane, &format!("{}/{DAMAGED}", self.folder));
        }
    }

    /// Writes a producer snapshot. Those before the oldest segment go when segments are dropped.
    pub fn snapshot_producers(&mut self, disk: &mut impl Disk, snapshot: &ProducerSnapshot) {
        // As Apache does, not where there is one already, nor for a log without records.
        let is_empty = self.segments.first_key_value().is_none_or(|(base, _)| *base == snapshot.upto);
        if is_empty && snapshot.entries.is_empty() || self.snapshots.contains(&snapshot.upto) {
            return;
        }
        let file = name(&self.folder, snapshot.upto, "snapshot");
        disk.replace(&Lane::Checkpoint, &file, &[snapshot.to_bytes()]);
        self.snapshots.insert(snapshot.upto);
    }

    /// The time index gets its last entry, as when a broker stops in order.
    pub fn close(&mut self, disk: &mut impl Disk) {
        if let Some(mut active) = self.segments.last_entry() {
            active.get_mut().close(disk);
        }
    }

    /// The offset after the last batch.
    pub fn end(&self) -> Offset {
        self.segments.last_key_value().map_or(Offset::ZERO, |(_, active)| active.scan.next)
    }

    /// Where the batches of a range lie: from the one that holds `from`, below `upto`, at most `max_bytes` but always
    /// one (KIP-74). An answer may be shorter than it could be: it ends with a segment.
    ///
    /// # Errors
    /// Of the disk.
    pub fn locate(&self, disk: &impl Disk, range: &LogRange) -> Result<Option<Extent>, StoreError> {
        let floor = self.segments.range(..=range.from).next_back().map_or(range.from, |(base, _)| *base);
        for segment in self.segments.range(floor..).map(|(_, segment)| segment) {
            if segment.base >= range.upto {
                break;
            }
            if segment.scan.next <= range.from {
                continue;
            }
            if let Some(extent) = segment.locate(disk, range.from, range.upto, range.max_bytes)? {
                return Ok(Some(extent));
            }
        }
        Ok(None)
    }

    /// The first record in `[from, upto)` with a timestamp of at least `timestamp`, without one of the latest that the log
    /// holds: its offset and timestamp. Of a compressed batch, whose records are not read here, the first offset and the
    /// largest timestamp.
    ///
    /// # Errors
    /// Of the disk.
    pub fn offset_for_time(
        &self,
        disk: &impl Disk,
        timestamp: Option<i64>,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<(Offset, i64)>, StoreError> {
        let latest = || self.segments.values().map(|segment| segment.scan.max_timestamp()).max();
        let Some(timestamp) = timestamp.or_else(latest).filter(|timestamp| *timestamp >= 0) else { return Ok(None) };
        let late = |segment: &&Segment| segment.scan.max_timestamp() >= timestamp && segment.scan.next > from;
        for segment in self.segments.values().filter(late) {
            let mut headers = segment.headers_from_time(timestamp);
            while let Some((at, header)) = headers.next(disk)?.filter(|(_, header)| header.base < upto) {
                if header.max_timestamp < timestamp || header.last() < from {
                    continue;
                }
                let extent = Extent { file: segment.log, at: Position(at), len: header.size() };
                let bytes = disk.read(extent)?;
                if let Some(found) = first_at(&bytes, timestamp, from).filter(|(offset, _)| *offset < upto) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The producers' states at `upto`: the newest snapshot at or below it, and the batches from there.
    ///
    /// # Errors
    /// Of the disk.
    pub fn producers(&self, disk: &mut impl Disk, upto: Offset) -> Result<ProducerStates, StoreError> {
        let mut states = ProducerStates::default();
        for offset in self.snapshots.range(..=upto).rev() {
            let file = disk.open(&Lane::Checkpoint, &name(&self.folder, *offset, "snapshot"));
            if let Ok(snapshot) = ProducerSnapshot::from_bytes(*offset, disk.read_all(file)?) {
                states = ProducerStates::from_snapshot(&snapshot);
                break;
            }
        }
        let from = states.upto();
        for segment in self.segments.values().rev().filter(|segment| segment.base < from) {
            if !states.wants_older() {
                break;
            }
            let mut headers = segment.headers();
            let mut older = Vec::new();
            while let Some((_, header)) = headers.next(disk)?.filter(|(_, header)| header.base < from) {
                older.push(header);
            }
            older.iter().rev().for_each(|header| states.recall(header));
        }
        for segment in self.segments.values().filter(|segment| segment.scan.next > from) {
            let mut headers = segment.headers();
            while let Some((at, header)) = headers.next(disk)?.filter(|(_, header)| header.last() < upto) {
                if header.base < from {
                    continue;
                }
                if header.attributes.is_control() {
                    let extent = Extent { file: segment.log, at: Position(at), len: header.size() };
                    let bytes = disk.read(extent)?;
                    replay(
                        &mut states,
                        &recover::recover_segment(&bytes, header.base, None, LeaderEpoch::NONE, false).batches,
                    );
                } else {
                    states.record(&header);
                }
            }
        }
        Ok(states)
    }

    /// What the broker starts with; epochs, marks and log start are filled in by who knows the checkpoints.
    pub(super) fn image(&self) -> PartitionImage {
        PartitionImage {
            log_end: self.end(),
            segments: self.segments.values().map(Segment::info).collect(),
            ..PartitionImage::default()
        }
    }

    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    pub(super) fn begin_segment(&mut self, disk: &mut impl Disk, base: Offset) {
        let segment = Segment::open(disk, &self.lane, &self.folder, Scan::new(base, self.interval));
        self.segments.insert(base, segment);
    }

    /// Takes a segment that recovery has read. Its offset index is made anew; its time index is believed after a
    /// clean stop.
    pub(super) fn adopt(&mut self, disk: &mut impl Disk, scan: Scan, base: Offset, clean: bool) {
        let mut segment = Segment::open(disk, &self.lane, &self.folder, scan);
        if !(clean && segment.read_times(disk)) {
            segment.scan.time_entry();
        }
        segment.rewrite_indexes(disk, &self.lane, &self.folder);
        self.segments.insert(base, segment);
    }

    fn remove_segment(&mut self, disk: &mut impl Disk, base: Offset) {
        self.segments.remove(&base);
        for kind in ["log", "index", "timeindex"] {
            disk.remove(&self.lane, &name(&self.folder, base, kind));
        }
    }
}

/// Records batches found in the log.
pub(super) fn replay(states: &mut ProducerStates, batches: &[recover::Found]) {
    for batch in batches {
        match batch.marker {
            Some((kind, epoch)) => drop(states.record_marker(&batch.header, kind, epoch)),
            None if batch.header.attributes.is_control() => {}
            None => states.record(&batch.header),
        }
    }
}

/// The first record of a batch at or above `from` that is at least as late as `timestamp`.
fn first_at(bytes: &Bytes, timestamp: i64, from: Offset) -> Option<(Offset, i64)> {
    let batch = Batch::take(bytes).ok()?;
    match batch.header.attributes.compression() {
        Compression::None => {
            let mut records = batch.records().ok()?.filter_map(Result::ok);
            let found = records.find(|record| record.offset >= from && record.timestamp >= timestamp)?;
            Some((found.offset, found.timestamp))
        }
        Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd | Compression::Unknown(_) => {
            Some((batch.header.base.max(from), batch.header.max_timestamp))
        }
    }
}
