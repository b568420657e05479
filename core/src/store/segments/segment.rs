//! One segment: a run of batches in a `.log` file, and its sparse `.index` and `.timeindex` (protocol.md C.8).

use crate::api::storage::{Lane, SegmentInfo};
use crate::record::batch::{BatchHeader, HEADER_BYTES, Stamped};
use crate::record::offset::{Offset, Position};
use crate::store::StoreError;
use crate::store::disk::{Disk, Extent, FileId};
use bytes::Bytes;

/// A segment with its indexes in memory; the files hold the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Segment {
    pub(in crate::store) base: Offset,
    pub(in crate::store) log: FileId,
    index_file: FileId,
    time_file: FileId,
    pub(in crate::store) scan: Scan,
}

/// What reading a segment's batches from its start gives: its indexes, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Scan {
    base: Offset,
    interval: u32,
    /// (last offset − base, position) of batches, one in about every `interval` bytes.
    pub(in crate::store) offsets: Vec<(u32, u32)>,
    /// (largest timestamp so far, last offset − base of its batch), both rising.
    pub(in crate::store) times: Vec<(i64, u32)>,
    since_entry: u64,
    /// Largest timestamp, and the last offset of its batch.
    latest: Option<(i64, Offset)>,
    /// The offset after the last batch.
    pub(in crate::store) next: Offset,
    pub(in crate::store) bytes: u64,
}

impl Scan {
    pub(in crate::store) fn new(base: Offset, interval: u32) -> Scan {
        Scan {
            base,
            interval,
            offsets: Vec::new(),
            times: Vec::new(),
            since_entry: 0,
            latest: None,
            next: base,
            bytes: 0,
        }
    }

    /// Adds a batch; returns the index entries it caused.
    pub(in crate::store) fn add(
        &mut self,
        last: Offset,
        max_timestamp: i64,
        size: u64,
    ) -> (Option<[u8; 8]>, Option<[u8; 12]>) {
        let relative = u32::try_from(last - self.base).ok().filter(|relative| *relative <= i32::MAX as u32);
        let relative = relative.unwrap_or_else(|| panic!("offset {last} does not fit a segment from {}", self.base));
        if self.latest.is_none_or(|(latest, _)| max_timestamp > latest) {
            self.latest = Some((max_timestamp, last));
        }
        let mut entries = (None, None);
        if self.since_entry > u64::from(self.interval) {
            let at = self.bytes as u32;
            self.offsets.push((relative, at));
            entries = (Some(offset_entry(relative, at)), self.time_entry());
            self.since_entry = 0;
        }
        self.since_entry += size;
        self.bytes += size;
        self.next = last.next();
        entries
    }

    /// The time index's next entry, if the largest timestamp rose since its last. Also made when the segment is closed.
    pub(in crate::store) fn time_entry(&mut self) -> Option<[u8; 12]> {
        let (latest, offset) = self.latest?;
        if self.times.last().is_some_and(|(known, _)| *known >= latest) || latest < 0 {
            return None;
        }
        let relative = (offset - self.base) as u32;
        self.times.push((latest, relative));
        let mut entry = [0; 12];
        entry[..8].copy_from_slice(&latest.to_be_bytes());
        entry[8..].copy_from_slice(&relative.to_be_bytes());
        Some(entry)
    }

    pub(in crate::store) fn max_timestamp(&self) -> i64 {
        self.latest.map_or(-1, |(latest, _)| latest)
    }

    /// A position at or before the batch that holds `offset`.
    fn seek(&self, offset: Offset) -> u64 {
        let relative = offset - self.base;
        let after = self.offsets.partition_point(|(last, _)| i64::from(*last) <= relative);
        // The entry names a batch by its last offset, so that batch may still hold `offset`.
        after.checked_sub(1).map_or(0, |at| u64::from(self.offsets[at].1))
    }

    /// A position at or before the first batch with a timestamp of at least `timestamp`.
    fn seek_time(&self, timestamp: i64) -> u64 {
        let after = self.times.partition_point(|(known, _)| *known < timestamp);
        after.checked_sub(1).map_or(0, |at| self.seek(self.base + i64::from(self.times[at].1)))
    }

    fn index_bytes(&self) -> Bytes {
        self.offsets.iter().flat_map(|(relative, at)| offset_entry(*relative, *at)).collect()
    }

    fn time_bytes(&self) -> Bytes {
        let entry = |(timestamp, relative): &(i64, u32)| {
            let mut entry = [0; 12];
            entry[..8].copy_from_slice(&timestamp.to_be_bytes());
            entry[8..].copy_from_slice(&relative.to_be_bytes());
            entry
        };
        self.times.iter().flat_map(entry).collect()
    }
}

fn offset_entry(relative: u32, at: u32) -> [u8; 8] {
    let mut entry = [0; 8];
    entry[..4].copy_from_slice(&relative.to_be_bytes());
    entry[4..].copy_from_slice(&at.to_be_bytes());
    entry
}

/// The name of a file of the segment that begins at `base`.
pub(in crate::store) fn name(folder: &str, base: Offset, kind: &str) -> String {
    format!("{folder}/{:020}.{kind}", base.0)
}

/// Batches are read in pieces of this many bytes when one is looked for.
const PIECE: u64 = 8 * 1024;

impl Segment {
    /// Opens, or makes, the files of a segment that is empty, or that `scan` has read.
    pub(in crate::store) fn open(disk: &mut impl Disk, lane: &Lane, folder: &str, scan: Scan) -> Segment {
        let base = scan.base;
        Segment {
            base,
            log: disk.open(lane, &name(folder, base, "log")),
            index_file: disk.open(lane, &name(folder, base, "index")),
            time_file: disk.open(lane, &name(folder, base, "timeindex")),
            scan,
        }
    }

    pub(in crate::store) fn append(&mut self, disk: &mut impl Disk, batches: &[Stamped]) {
        let mut parts = Vec::with_capacity(batches.len() * 2);
        let from = self.scan.bytes;
        for batch in batches {
            assert!(batch.base >= self.scan.next, "a batch at {} in a log that ends at {}", batch.base, self.scan.next);
            let (offset, time) = self.scan.add(batch.last, batch.max_timestamp, batch.size());
            if let Some(entry) = offset {
                disk.append(self.index_file, &[Bytes::copy_from_slice(&entry)]);
            }
            if let Some(entry) = time {
                disk.append(self.time_file, &[Bytes::copy_from_slice(&entry)]);
            }
            parts.push(batch.prefix.clone());
            parts.push(batch.body.clone());
        }
        let at = disk.append(self.log, &parts);
        assert!(at.0 == from, "a segment of {from} bytes grew at {at}");
    }

    /// The segment takes no more batches: its time index gets its last entry.
    pub(in crate::store) fn close(&mut self, disk: &mut impl Disk) {
        if let Some(entry) = self.scan.time_entry() {
            disk.append(self.time_file, &[Bytes::copy_from_slice(&entry)]);
        }
    }

    /// Shortens the segment so that no batch reaches `to` or beyond, and closes it.
    pub(in crate::store) fn truncate(
        &mut self,
        disk: &mut impl Disk,
        lane: &Lane,
        folder: &str,
        to: Offset,
    ) -> Result<(), StoreError> {
        let mut kept = Scan::new(self.base, self.scan.interval);
        let mut headers = Headers::new(self.log, 0, self.scan.bytes);
        while let Some((_, header)) = headers.next(disk)?.filter(|(_, header)| header.last() < to) {
            kept.add(header.last(), header.max_timestamp, header.size());
        }
        kept.time_entry();
        disk.truncate(self.log, Position(kept.bytes));
        self.scan = kept;
        self.rewrite_indexes(disk, lane, folder);
        Ok(())
    }

    /// Takes the time index's entries in place of those made anew, if they can be true of this segment: a broker that
    /// stopped in order has written some that its batches alone do not tell.
    pub(in crate::store) fn read_times(&mut self, disk: &impl Disk) -> bool {
        let Ok(file) = disk.read_all(self.time_file) else { return false };
        let (entries, rest) = file.as_chunks::<12>();
        let entry = |entry: &[u8; 12]| {
            let (stamp, relative) = entry.split_at(8);
            let stamp = i64::from_be_bytes(core::array::from_fn(|byte| stamp[byte]));
            (stamp, u32::from_be_bytes(core::array::from_fn(|byte| relative[byte])))
        };
        let times: Vec<(i64, u32)> = entries.iter().map(entry).collect();
        let inside = |relative: u32| i64::from(relative) < self.scan.next - self.base;
        let sound = rest.is_empty()
            && times.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
            && times.last().is_none_or(|(stamp, relative)| inside(*relative) && *stamp <= self.scan.max_timestamp());
        if sound {
            self.scan.times = times;
        }
        sound
    }

    /// Makes the index files say what memory says.
    pub(in crate::store) fn rewrite_indexes(&mut self, disk: &mut impl Disk, lane: &Lane, folder: &str) {
        for (kind, bytes) in [("index", self.scan.index_bytes()), ("timeindex", self.scan.time_bytes())] {
            let name = name(folder, self.base, kind);
            let file = disk.open(lane, &name);
            if disk.read_all(file).is_ok_and(|present| present == bytes) {
                continue;
            }
            disk.replace(lane, &name, &[bytes]);
        }
        self.index_file = disk.open(lane, &name(folder, self.base, "index"));
        self.time_file = disk.open(lane, &name(folder, self.base, "timeindex"));
    }

    /// Batches from the one that holds `from`, or the next there is, below `upto`; about `max_bytes`, but at least one.
    pub(in crate::store) fn locate(
        &self,
        disk: &impl Disk,
        from: Offset,
        upto: Offset,
        max_bytes: u32,
    ) -> Result<Option<Extent>, StoreError> {
        let mut headers = Headers::new(self.log, self.scan.seek(from), self.scan.bytes);
        let (at, first) = loop {
            match headers.next(disk)? {
                None => return Ok(None),
                Some((at, header)) if header.last() >= from => break (at, header),
                Some(_) => {}
            }
        };
        if first.base >= upto {
            return Ok(None);
        }
        let rest = self.scan.bytes - at;
        if upto >= self.scan.next && rest <= u64::from(max_bytes) {
            return Ok(Some(Extent { file: self.log, at: Position(at), len: rest }));
        }
        let mut len = first.size();
        while let Some((_, header)) = headers.next(disk)?.filter(|(_, header)| header.base < upto) {
            if len + header.size() > u64::from(max_bytes) {
                break;
            }
            len += header.size();
        }
        Ok(Some(Extent { file: self.log, at: Position(at), len }))
    }

    /// Headers of batches from one that may still lie before `from` or `timestamp`.
    pub(in crate::store) fn headers_from_time(&self, timestamp: i64) -> Headers {
        Headers::new(self.log, self.scan.seek_time(timestamp), self.scan.bytes)
    }

    pub(in crate::store) fn headers(&self) -> Headers {
        Headers::new(self.log, 0, self.scan.bytes)
    }

    pub(in crate::store) fn info(&self) -> SegmentInfo {
        SegmentInfo { base: self.base, bytes: self.scan.bytes, max_timestamp: self.scan.max_timestamp() }
    }
}

/// Walks over the headers of batches that are known to be whole, reading the file in pieces.
pub(in crate::store) struct Headers {
    file: FileId,
    at: u64,
    end: u64,
    piece: Bytes,
    piece_at: u64,
}

impl Headers {
    fn new(file: FileId, at: u64, end: u64) -> Headers {
        Headers { file, at, end, piece: Bytes::new(), piece_at: at }
    }

    /// The next batch's position and header.
    pub(in crate::store) fn next(&mut self, disk: &impl Disk) -> Result<Option<(u64, BatchHeader)>, StoreError> {
        if self.at + HEADER_BYTES as u64 > self.end {
            return Ok(None);
        }
        let here = (self.at - self.piece_at) as usize;
        if self.piece.len() < here + HEADER_BYTES {
            let len = PIECE.min(self.end - self.at);
            self.piece = disk.read(Extent { file: self.file, at: Position(self.at), len })?;
            self.piece_at = self.at;
        }
        let here = (self.at - self.piece_at) as usize;
        let at = self.at;
        match BatchHeader::parse(&self.piece[here..]) {
            Ok(header) => {
                self.at += header.size();
                Ok(Some((at, header)))
            }
            // A bit has rotted since recovery.
            Err(error) => Err(StoreError::Damaged { file: self.file, at: Position(at), why: error.to_string() }),
        }
    }
}
