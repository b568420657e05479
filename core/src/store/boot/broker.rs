//! A broker's start: every partition's segments, each batch checked, and the checkpoints beside them.
//!
//! Every checksum is verified at every start. What lies above the recovery point may be torn: it is cut at once. Below it
//! damage is no tear, and what it took was promised: the log is given up to there, the disk is left as it is, and a mark
//! beside it remembers. The machine cuts once the replica has left the ISR ([`PartitionImage::damaged`]).

use crate::api::storage::{BrokerImage, Cut, Lane, PartitionImage, Refused};
use crate::id::{LeaderEpoch, TopicId, TopicPartition};
use crate::ordered::{OrdMap, OrdSet};
use crate::record::epoch_cache::EpochCache;
use crate::record::offset::{Offset, Position};
use crate::record::producer::{ProducerSnapshot, ProducerStates};
use crate::store::disk::{Disk, FileName};
use crate::store::segments::recover::{Found, RecoveredSegment, recover_segment};
use crate::store::segments::segment::{Scan, name};
use crate::store::segments::{CUT, DAMAGED, LogCut, PartitionLog, Spoiled, replay};
use crate::store::small_file;
use crate::store::{Store, Told};
use bytes::Bytes;

/// The checkpoints of a log directory.
struct Checkpoints {
    high_watermarks: OrdMap<TopicPartition, Offset>,
    recovery_points: OrdMap<TopicPartition, Offset>,
    log_starts: OrdMap<TopicPartition, Offset>,
}

impl Checkpoints {
    fn files(&mut self) -> [(&'static str, &mut OrdMap<TopicPartition, Offset>); 3] {
        [
            (small_file::HIGH_WATERMARKS, &mut self.high_watermarks),
            (small_file::RECOVERY_POINTS, &mut self.recovery_points),
            (small_file::LOG_STARTS, &mut self.log_starts),
        ]
    }
}

impl<D: Disk> Store<D> {
    /// Reads a broker's disk and cuts what a crash may have torn. The mark of a clean stop is taken away: the next
    /// start is unclean unless it is set again.
    ///
    /// # Errors
    /// [`Refused`] when a checkpoint or `meta.properties` is not understood; of the disk.
    pub fn boot_broker(&mut self) -> Result<BrokerImage, Refused> {
        self.syncs.clear();
        self.logs.clear();
        let names: Vec<FileName> = self.disk.list().into_iter().map(|(name, _)| name).collect();
        let mut image = BrokerImage { clean: self.disk.exists(small_file::CLEAN_SHUTDOWN), ..BrokerImage::default() };
        self.disk.remove(&Lane::Checkpoint, small_file::CLEAN_SHUTDOWN);
        if let Some(bytes) = self.small(small_file::META)? {
            let Some((broker, cluster)) = small_file::meta_from_bytes(&bytes) else {
                return Err(not_understood(small_file::META, "it does not name a broker and a cluster"));
            };
            (image.broker, image.cluster) = (Some(broker), Some(cluster));
        }
        let checkpoints = Checkpoints {
            high_watermarks: self.offsets(small_file::HIGH_WATERMARKS)?,
            recovery_points: self.offsets(small_file::RECOVERY_POINTS)?,
            log_starts: self.offsets(small_file::LOG_STARTS)?,
        };
        let folders: OrdSet<&str> = names.iter().filter_map(|name| Some(name.split_once('/')?.0)).collect();
        for partition in folders.into_iter().filter_map(small_file::partition_of) {
            if let Some(found) = self.boot_partition(&partition, &names, &checkpoints, image.clean, &mut image.cuts)? {
                image.partitions.insert(partition, found);
            }
        }
        self.forget_cuts(checkpoints)?;
        Ok(image)
    }

    /// What was found is made durable. What checkpoints say above a cut is taken back; only then the cut need not be
    /// remembered.
    fn forget_cuts(&mut self, mut checkpoints: Checkpoints) -> Result<(), Refused> {
        let cut: Vec<(TopicPartition, Offset)> =
            self.logs.iter().filter_map(|(partition, log)| Some((partition.clone(), log.cut?.to))).collect();
        self.told = Told::default();
        for (name, offsets) in checkpoints.files() {
            let mut is_stale = false;
            for (partition, to) in &cut {
                if let Some(offset) = offsets.get_mut(partition).filter(|offset| **offset > *to) {
                    (*offset, is_stale) = (*to, true);
                }
            }
            let offsets: Vec<_> = offsets.iter().map(|(partition, offset)| (partition.clone(), *offset)).collect();
            self.told.note(&offsets);
            if is_stale {
                self.disk.replace(&Lane::Checkpoint, name, &[small_file::offsets_to_bytes(&offsets)]);
            }
        }
        self.settle()?;
        let Store { disk, logs, told, .. } = self;
        logs.values_mut().for_each(|log| log.on_checkpoint(disk, told.written));
        Ok(())
    }

    /// One partition; `None` if its creation did not survive: without `partition.metadata` or a segment there is no log.
    fn boot_partition(
        &mut self,
        partition: &TopicPartition,
        names: &[FileName],
        checkpoints: &Checkpoints,
        clean: bool,
        cuts: &mut Vec<Cut>,
    ) -> Result<Option<PartitionImage>, Refused> {
        let mut log = PartitionLog::new(partition, self.interval);
        let prefix = format!("{}/", log.folder());
        let files: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(prefix.as_str())).collect();
        let offset = |file: &&str, kind: &str| file.strip_suffix(kind)?.parse().ok().map(Offset);
        let bases: OrdSet<Offset> = files.iter().filter_map(|file| offset(file, ".log")).collect();
        let Some(topic_id) = self.topic_id(&prefix)?.filter(|_| !bases.is_empty()) else {
            log.delete(&mut self.disk);
            return Ok(None);
        };
        log.snapshots = files.iter().filter_map(|file| offset(file, ".snapshot")).collect();
        log.is_damaged = files.contains(&DAMAGED);
        if files.contains(&CUT) {
            let to =
                self.small(&format!("{prefix}{CUT}"))?.and_then(|text| core::str::from_utf8(&text).ok()?.parse().ok());
            log.cut = Some(LogCut { to: Offset(to.unwrap_or_default()), checkpoints: 0 });
        }
        let told = |offsets: &OrdMap<TopicPartition, Offset>| {
            let offset = offsets.get(partition).copied().unwrap_or_default();
            log.cut.map_or(offset, |cut| offset.min(cut.to))
        };
        let recovery_point = told(&checkpoints.recovery_points);
        let (log_start, high_watermark) = (told(&checkpoints.log_starts), told(&checkpoints.high_watermarks));
        let found = self.recover_log(&mut log, &bases, recovery_point, clean, cuts)?;
        if log.is_damaged {
            log.mark(&mut self.disk);
        } else if log_start > log.end() {
            let why = format!("its log starts at {log_start}, after its end at {}", log.end());
            cuts.push(Cut { file: log.folder().into(), at: None, bytes: 0, why });
            log.restart(&mut self.disk, log_start);
        }
        let first = log.segments.first_key_value().map_or(Offset::ZERO, |(base, _)| *base);
        let mut image = log.image();
        image.topic_id = topic_id;
        image.damaged = log.is_damaged;
        image.log_start = log_start.max(first).min(image.log_end);
        image.recovery_point = recovery_point.clamp(image.log_start, image.log_end);
        image.high_watermark = high_watermark.clamp(image.log_start, image.log_end);
        image.epochs = self.recover_epochs(&prefix, &found, image.log_start, image.log_end)?;
        image.producers = self.recover_producers(&mut log, &found, image.log_end)?;
        self.logs.insert(partition.clone(), log);
        Ok(Some(image))
    }

    /// Reads the segments in order. At the first damage the log ends: the segment is cut there and later ones go, now or,
    /// where it cannot be a tear, when the machine says so.
    fn recover_log(
        &mut self,
        log: &mut PartitionLog,
        bases: &OrdSet<Offset>,
        recovery_point: Offset,
        clean: bool,
        cuts: &mut Vec<Cut>,
    ) -> Result<Vec<Found>, Refused> {
        let unsynced_from = if clean { Offset(i64::MAX) } else { recovery_point };
        let mut all: Vec<Found> = Vec::new();
        let mut ended: Option<String> = None;
        for base in bases.iter().copied() {
            let file_name: FileName = name(log.folder(), base, "log").into();
            let file = self.disk.open(log.lane(), &file_name);
            let bytes = self.disk.read_all(file).map_err(|error| refused(&file_name, &error))?;
            let before = log.segments.last_key_value().map(|(_, segment)| segment.scan.next);
            if let Some(end) = before.filter(|end| *end != base && base > unsynced_from && ended.is_none()) {
                ended = Some(format!("the log ends at {end} before it"));
            }
            if let Some(why) = &ended {
                cuts.push(Cut { file: file_name, at: None, bytes: bytes.len() as u64, why: why.clone() });
                log.give_up(Spoiled::Segment(base));
                continue;
            }
            let limit = bases.range(base.next()..).next().copied();
            let epoch = all.last().map_or(LeaderEpoch::NONE, |last| last.header.epoch);
            let read = recover_segment(&bytes, base, limit, epoch, true);
            if read.end < bytes.len() as u64 {
                let why = read.damage.clone().unwrap_or_default();
                let cut = bytes.len() as u64 - read.end;
                cuts.push(Cut { file: file_name, at: Some(Position(read.end)), bytes: cut, why });
                log.give_up(Spoiled::Tail(file, Position(read.end)));
                // Where the next segment begins the log goes on, if that is all that was wrong.
                let reached = read.batches.last().map_or(base, |last| last.header.next());
                ended = (limit != Some(reached)).then(|| format!("the log is damaged at {reached}"));
            }
            log.adopt(&mut self.disk, scan(base, self.interval, &read), base, clean);
            all.extend(read.batches);
        }
        log.is_damaged |= log.end() < recovery_point;
        if !log.is_damaged {
            log.cut_spoiled(&mut self.disk);
        }
        Ok(all)
    }

    /// The epochs of the checkpoint as far as the log bears them out, and those the log knows better.
    fn recover_epochs(
        &mut self,
        prefix: &str,
        found: &[Found],
        start: Offset,
        end: Offset,
    ) -> Result<EpochCache, Refused> {
        let file = format!("{prefix}{}", small_file::LEADER_EPOCHS);
        let mut cache = match self.small(&file)? {
            Some(bytes) => EpochCache::from_entries(
                small_file::epochs_from_bytes(&bytes).map_err(|why| not_understood(&file, why))?,
            ),
            None => EpochCache::default(),
        };
        for batch in found {
            let header = &batch.header;
            if header.epoch > LeaderEpoch::NONE && cache.epoch_at(header.base) != Some(header.epoch) {
                cache.correct(header.epoch, header.base);
            }
        }
        cache.truncate_from_end(end);
        cache.truncate_from_start(start);
        Ok(cache)
    }

    /// The producers' states: the newest snapshot that can be read, and the batches after it.
    fn recover_producers(
        &mut self,
        log: &mut PartitionLog,
        found: &[Found],
        end: Offset,
    ) -> Result<ProducerStates, Refused> {
        for stale in log.snapshots.split_off(&end.next()) {
            self.disk.remove(&Lane::Checkpoint, &name(log.folder(), stale, "snapshot"));
        }
        let mut states = ProducerStates::default();
        while let Some(newest) = log.snapshots.last().copied() {
            let file = name(log.folder(), newest, "snapshot");
            let bytes = self.small(&file)?.unwrap_or_default();
            if let Ok(snapshot) = ProducerSnapshot::from_bytes(newest, bytes) {
                states = ProducerStates::from_snapshot(&snapshot);
                break;
            }
            log.snapshots.pop_last();
            self.disk.remove(&Lane::Checkpoint, &file);
        }
        let from = found.partition_point(|batch| batch.header.base < states.upto());
        found[..from].iter().rev().for_each(|batch| states.recall(&batch.header));
        replay(&mut states, &found[from..]);
        Ok(states)
    }

    fn topic_id(&mut self, prefix: &str) -> Result<Option<TopicId>, Refused> {
        let file = format!("{prefix}{}", small_file::PARTITION_METADATA);
        let Some(bytes) = self.small(&file)? else { return Ok(None) };
        match small_file::topic_id_from_bytes(&bytes) {
            Some(id) => Ok(Some(id)),
            None => Err(not_understood(&file, "it does not hold a topic id")),
        }
    }

    fn offsets(&mut self, file: &str) -> Result<OrdMap<TopicPartition, Offset>, Refused> {
        let Some(bytes) = self.small(file)? else { return Ok(OrdMap::new()) };
        let entries = small_file::offsets_from_bytes(&bytes).map_err(|why| not_understood(file, why))?;
        Ok(entries.into_iter().collect())
    }

    /// A small file's contents, `None` if there is no such file.
    fn small(&mut self, file: &str) -> Result<Option<Bytes>, Refused> {
        if !self.disk.exists(file) {
            return Ok(None);
        }
        let id = self.disk.open(&Lane::Checkpoint, file);
        self.disk.read_all(id).map(Some).map_err(|error| refused(file, &error))
    }
}

fn scan(base: Offset, interval: u32, read: &RecoveredSegment) -> Scan {
    let mut scan = Scan::new(base, interval);
    for batch in &read.batches {
        scan.add(batch.header.last(), batch.header.max_timestamp, batch.header.size());
    }
    scan
}

fn refused(file: &str, error: &dyn core::fmt::Display) -> Refused {
    Refused { file: file.into(), at: None, why: error.to_string() }
}

fn not_understood(file: &str, why: &'static str) -> Refused {
    Refused { file: file.into(), at: None, why: why.to_owned() }
}
