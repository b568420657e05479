//! The keeper's journal: log files of transactions, snapshots beside them, and the two epoch files.
//!
//! Formats and names are ZooKeeper's (protocol.md A.9): `version-2/log.<first zxid>`, `version-2/snapshot.<zxid>`,
//! `acceptedEpoch`, `currentEpoch`. Two things differ from Apache's code: a truncation also drops the snapshots above
//! it (Z19), and a snapshot that replaces the history before it does so in one step, by a marker that recovery obeys.
//! Knows nothing of what a transaction or a snapshot says.

pub mod frame;
pub mod snapshot;

use super::StoreError;
use super::disk::{Disk, Extent, FileId, FileName};
use crate::api::storage::{Lane, Loaded};
use crate::id::{ZabEpoch, Zxid};
use crate::ordered::{OrdMap, OrdSet};
use crate::record::offset::Position;
use bytes::Bytes;
use frame::{END_OF_FRAME, FILE_HEADER, FRAME_EXTRA, Frame};

/// Every so many transactions the journal remembers where one begins.
const INDEX_EVERY: u32 = 64;

/// A keeper's files, as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Journal {
    /// By first zxid.
    pub(super) files: OrdMap<Zxid, LogFile>,
    /// Whole ones.
    pub(super) snapshots: OrdSet<Zxid>,
    /// Snapshots that are being written, by lane; nothing of them is on the disk.
    pending: OrdMap<Lane, (Zxid, Vec<Bytes>)>,
    /// The next transaction begins a new file.
    pub(super) roll: bool,
}

/// One log file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LogFile {
    pub(super) file: FileId,
    pub(super) last: Zxid,
    /// Where the transactions end; zeros may follow.
    pub(super) end: u64,
    /// Sparse: where some of its transactions begin, the first among them.
    pub(super) index: Vec<(Zxid, u64)>,
    pub(super) since_indexed: u32,
}

impl LogFile {
    pub(super) fn new(file: FileId) -> LogFile {
        LogFile { file, last: Zxid::ZERO, end: FILE_HEADER.len() as u64, index: Vec::new(), since_indexed: 0 }
    }

    pub(super) fn note(&mut self, zxid: Zxid, at: u64, size: u64) {
        if self.index.is_empty() || self.since_indexed >= INDEX_EVERY {
            self.index.push((zxid, at));
            self.since_indexed = 0;
        }
        self.since_indexed += 1;
        self.last = zxid;
        self.end = at + size;
    }

    /// A place at or before the first transaction above `zxid`.
    fn seek(&self, zxid: Zxid) -> u64 {
        let after = self.index.partition_point(|(first, _)| *first <= zxid);
        after.checked_sub(1).map_or(FILE_HEADER.len() as u64, |at| self.index[at].1)
    }
}

pub(super) fn log_name(first: Zxid) -> String {
    format!("version-2/log.{:x}", first.0)
}

pub(super) fn snapshot_name(zxid: Zxid) -> String {
    format!("version-2/snapshot.{:x}", zxid.0)
}

/// The zxid in the name of a log file or a snapshot.
pub(super) fn zxid_of(name: &FileName, kind: &str) -> Option<Zxid> {
    let hex = name.strip_prefix("version-2/")?.strip_prefix(kind)?;
    u64::from_str_radix(hex, 16).ok().map(Zxid)
}

impl Journal {
    pub fn append(&mut self, disk: &mut impl Disk, zxid: Zxid, txn: Bytes) {
        if self.roll || self.files.is_empty() {
            let file = disk.open(&Lane::Journal, &log_name(zxid));
            assert!(disk.end(file).0 == 0, "log.{:x} begins twice, with {} bytes in it", zxid.0, disk.end(file).0);
            disk.append(file, &[Bytes::from_static(FILE_HEADER)]);
            self.files.insert(zxid, LogFile::new(file));
            self.roll = false;
        }
        let mut entry = self.files.last_entry().expect("a file was opened");
        let log = entry.get_mut();
        assert!(zxid > log.last, "transaction {zxid} after {}", log.last);
        let size = FRAME_EXTRA + txn.len() as u64;
        let head = Bytes::copy_from_slice(&frame::head(&txn));
        let at = disk.append(log.file, &[head, txn, Bytes::from_static(&[END_OF_FRAME])]);
        log.note(zxid, at.0, size);
    }

    /// Starts a new log file with the next transaction.
    pub fn roll(&mut self) {
        self.roll = true;
    }

    /// Cuts the journal after `to`, which stays; later snapshots go too, and first: a crash in between leaves the old
    /// history whole.
    ///
    /// # Errors
    /// When `to` is not in the journal, nor in a snapshot that is all there is: nothing is cut then.
    pub fn truncate(&mut self, disk: &mut impl Disk, to: Zxid) -> Result<(), StoreError> {
        let held = self.snapshots.contains(&to) || to == Zxid::ZERO || self.find(disk, to)?.is_some();
        if !held {
            return Err(StoreError::Impossible(format!(
                "the journal cannot be cut at {to}: it holds no such transaction, and ends at {}",
                self.last()
            )));
        }
        for dirty in self.snapshots.split_off(&Zxid(to.0 + 1)) {
            disk.remove(&Lane::Journal, &snapshot_name(dirty));
        }
        // Files wholly above go newest first, so that a prefix of the removals leaves no gap.
        while let Some(entry) = self.files.last_entry().filter(|entry| *entry.key() > to) {
            disk.remove(&Lane::Journal, &log_name(*entry.key()));
            entry.remove();
        }
        let Some(mut entry) = self.files.last_entry() else { return Ok(()) };
        if entry.get().last > to {
            let first = *entry.key();
            let log = entry.get_mut();
            let mut kept = LogFile::new(log.file);
            for frame in frames_from(disk, log, FILE_HEADER.len() as u64)?.take_while(|frame| frame.zxid <= to) {
                kept.note(frame.zxid, frame.at, frame.end() - frame.at);
            }
            assert!(first <= to, "a file that begins at {first} was kept below {to}");
            disk.truncate(log.file, Position(kept.end));
            *log = kept;
        }
        self.roll = true;
        Ok(())
    }

    pub fn accepted_epoch(&mut self, disk: &mut impl Disk, epoch: ZabEpoch) {
        disk.replace(&Lane::Journal, "version-2/acceptedEpoch", &[epoch.to_string().into()]);
    }

    pub fn current_epoch(&mut self, disk: &mut impl Disk, epoch: ZabEpoch) {
        disk.replace(&Lane::Journal, "version-2/currentEpoch", &[epoch.to_string().into()]);
    }

    pub fn snapshot_begin(&mut self, lane: &Lane, zxid: Zxid) {
        self.pending.insert(lane.clone(), (zxid, Vec::new()));
    }

    pub fn snapshot_piece(&mut self, lane: &Lane, piece: Bytes) {
        let (_, pieces) = self.pending.get_mut(lane).expect("a piece of a snapshot that was not begun");
        pieces.push(piece);
    }

    pub fn snapshot_end(&mut self, disk: &mut impl Disk, lane: &Lane, zxid: Zxid, replaces_journal: bool) {
        let (begun, pieces) = self.pending.remove(lane).expect("the end of a snapshot that was not begun");
        assert!(begun == zxid, "the end of snapshot {zxid}, but {begun} was begun");
        if replaces_journal {
            let older: Vec<String> = self.files.keys().map(|first| log_name(*first)).collect();
            let newer: Vec<String> =
                self.snapshots.range(Zxid(zxid.0 + 1)..).map(|zxid| snapshot_name(*zxid)).collect();
            let obsolete: Vec<String> = newer.into_iter().chain(older).collect();
            let marker = snapshot::Marker::new(zxid, &pieces, obsolete.clone());
            disk.replace(&Lane::Journal, snapshot::MARKER_NAME, &[marker.to_bytes()]);
            disk.replace(lane, &snapshot_name(zxid), &pieces);
            for name in &obsolete {
                disk.remove(&Lane::Journal, name);
            }
            disk.remove(&Lane::Journal, snapshot::MARKER_NAME);
            self.files.clear();
            self.snapshots.split_off(&zxid);
        } else {
            disk.replace(lane, &snapshot_name(zxid), &pieces);
        }
        self.snapshots.insert(zxid);
    }

    /// Removes all but the newest `keep` snapshots, and the log files that end before the oldest kept.
    pub fn purge(&mut self, disk: &mut impl Disk, keep: u32) {
        while self.snapshots.len() as u64 > u64::from(keep.max(1)) {
            let oldest = self.snapshots.pop_first().expect("more than one");
            disk.remove(&Lane::Snapshot, &snapshot_name(oldest));
        }
        let Some(needed) = self.snapshots.first().copied() else { return };
        while self.files.len() > 1
            && let Some(entry) = self.files.first_entry().filter(|entry| entry.get().last <= needed)
        {
            disk.remove(&Lane::Journal, &log_name(*entry.key()));
            entry.remove();
        }
    }

    /// The newest transaction or snapshot.
    pub fn last(&self) -> Zxid {
        let logged = self.files.last_key_value().map(|(_, log)| log.last);
        logged.max(self.snapshots.last().copied()).unwrap_or_default()
    }

    /// Transactions above `after` up to `upto`, about `max_bytes` of them and at least one.
    ///
    /// # Errors
    /// Of the disk.
    pub fn txns(&self, disk: &impl Disk, after: Zxid, upto: Zxid, max_bytes: u32) -> Result<Loaded, StoreError> {
        // A file that begins right behind `after` leaves nothing out.
        if self.files.first_key_value().is_none_or(|(first, _)| first.0 > after.0 + 1) {
            return Ok(Loaded::Txns { txns: None, complete: false });
        }
        let (mut txns, mut bytes) = (Vec::new(), 0);
        for log in self.files.values().filter(|log| log.last > after) {
            for frame in frames_from(disk, log, log.seek(after))?.filter(|frame| frame.zxid > after) {
                if frame.zxid > upto {
                    return Ok(Loaded::Txns { txns: Some(txns), complete: true });
                }
                if bytes > 0 && bytes + frame.txn.len() as u64 > u64::from(max_bytes) {
                    return Ok(Loaded::Txns { txns: Some(txns), complete: false });
                }
                bytes += frame.txn.len() as u64;
                txns.push((frame.zxid, frame.txn));
            }
        }
        Ok(Loaded::Txns { txns: Some(txns), complete: true })
    }

    /// The newest snapshot at or below `upto`, and the transactions from there to `upto`.
    ///
    /// # Errors
    /// Of the disk.
    pub fn database(&self, disk: &mut impl Disk, upto: Zxid) -> Result<Loaded, StoreError> {
        let base = self.snapshots.range(..=upto).next_back().copied();
        let snapshot = match base {
            Some(zxid) => {
                let file = disk.open(&Lane::Snapshot, &snapshot_name(zxid));
                Some((zxid, disk.read_all(file)?))
            }
            None => None,
        };
        let after = base.unwrap_or_default();
        let mut txns = Vec::new();
        for log in self.files.values().filter(|log| log.last > after) {
            let above = frames_from(disk, log, log.seek(after))?.filter(|frame| frame.zxid > after);
            txns.extend(above.take_while(|frame| frame.zxid <= upto).map(|frame| (frame.zxid, frame.txn)));
        }
        Ok(Loaded::Database { snapshot, txns })
    }

    /// Where `zxid` is, if the journal holds it.
    fn find(&self, disk: &impl Disk, zxid: Zxid) -> Result<Option<u64>, StoreError> {
        let Some((_, log)) = self.files.range(..=zxid).next_back() else { return Ok(None) };
        Ok(frames_from(disk, log, log.seek(zxid))?.find(|frame| frame.zxid == zxid).map(|frame| frame.at))
    }
}

/// The frames of a file that recovery or we ourselves have found sound, from one of them on.
fn frames_from(disk: &impl Disk, log: &LogFile, at: u64) -> Result<impl Iterator<Item = Frame>, StoreError> {
    let bytes = disk.read(Extent { file: log.file, at: Position(at), len: log.end - at })?;
    let mut next = 0;
    Ok(core::iter::from_fn(move || {
        // Bits may have rotted since it was written; the reader finds the journal shorter then, and asks for a snapshot.
        let mut frame = frame::frame_at(&bytes, next).ok()??;
        next = frame.end();
        frame.at += at;
        Some(frame)
    }))
}
