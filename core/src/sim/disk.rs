//! A virtual disk below the real storage code, that breaks in the ways disks break.
//!
//! | Fault | Model | Must survive |
//! |---|---|---|
//! | process crash | writes that were not flushed vanish; so does what waited behind a barrier of the journal | every flushed byte |
//! | power loss | of each lane's un-synced writes a prefix stays, its last write cut at a sector; as an option each append is kept, lost or cut by itself, which leaves holes of zeros | everything synced; recovery cuts the rest |
//! | bit rot | one bit flips, anywhere | recovery cuts an un-synced tail, or refuses and says where |
//! | disk replaced | everything is gone | the cluster, as long as enough others have it |
//! | disk full | `flush` fails | the node stops with a sentence and starts again once there is space |
//! | lying sync *(sabotage)* | a sync is reported complete and made nothing durable | the checkers must notice |
//!
//! The journal never loses a middle: it keeps a prefix under either kind of power loss. A `replace` is a barrier there:
//! what stands behind it in the lane was not begun before everything up to it is durable. Small files that are
//! replaced are old or new, never mixed. How long a sync takes is the host's business.
//!
//! Only the live state is kept, and for every un-synced write how to take it back; a crash undoes what it must and
//! redoes what it likes. Clones share all sealed bytes.

mod content;
#[cfg(test)]
mod crash_points;

use crate::api::storage::Lane;
use crate::digest::Digest;
use crate::ordered::OrdMap;
use crate::queue::Queue;
use crate::record::offset::Position;
use crate::rng::Rng;
use crate::store::disk::{Disk, DiskError, Extent, FileId, FileName};
use bytes::Bytes;
use content::Content;
use core::hash::{Hash, Hasher};

/// A write is cut only where a sector of the disk ends.
const SECTOR: u64 = 512;
/// Un-synced writes a lane keeps; older ones the kernel has written back meanwhile. (A lane that is never synced, as
/// under `flush = kafka`, must not grow without end.)
const UNSYNCED_KEPT: usize = 1024;

/// The disk of one simulated node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SimDisk {
    names: OrdMap<FileName, FileId>,
    files: OrdMap<FileId, File>,
    lanes: OrdMap<Lane, LaneWrites>,
    next_file: u64,
    /// Ordinal of the newest write accepted, and of the newest submitted.
    accepted: u64,
    submitted: u64,
    full: bool,
    lying: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct File {
    lane: Lane,
    content: Content,
}

/// What one lane has written since its last complete sync, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct LaneWrites {
    unsynced: Queue<Write>,
    /// The newest write that the running sync covers.
    syncing: u64,
}

/// One write, and how to take it back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Write {
    ordinal: u64,
    kind: WriteKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum WriteKind {
    Append {
        file: FileId,
        at: u64,
    },
    Truncate {
        file: FileId,
        to: u64,
        was: Content,
    },
    /// A name came to mean another file, or none. `barrier`: a replace on the journal.
    Name {
        name: FileName,
        was: Option<FileId>,
        now: Option<FileId>,
        barrier: bool,
    },
}

/// How un-synced writes fare when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PowerLoss {
    /// A prefix of each lane's writes is on the disk, the last one perhaps in part.
    InOrder,
    /// Outside the journal each append is kept, lost or cut by itself. Names and lengths change in order all the same, as
    /// on any file system that journals its metadata.
    AnyOrder,
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// The process is gone, the machine runs on: flushed writes stay. Open files are forgotten by whoever had them.
    pub fn process_crash(&mut self, rng: &mut Rng) {
        let submitted = self.submitted;
        for lane in self.lane_keys() {
            let taken = self.take_back(&lane);
            let mut begun = taken.iter().take_while(|write| write.0.ordinal <= submitted).count();
            for (at, write) in taken.iter().enumerate().take(begun) {
                if write.0.is_barrier() && (at > 0 || rng.chance(1, 2)) {
                    begun = at;
                    break;
                }
            }
            // The kernel still holds them: they stay un-synced.
            for (write, bytes) in taken.into_iter().take(begun) {
                self.redo(&lane, write, &bytes);
            }
        }
        self.settle();
    }

    /// Whether all that was written is on the disk.
    pub fn is_synced(&self) -> bool {
        self.lanes.values().all(|lane| lane.unsynced.is_empty())
    }

    /// The power goes: of what was not synced the disk keeps what it likes. What is left is durable.
    pub fn power_loss(&mut self, kind: PowerLoss, rng: &mut Rng) {
        for lane in self.lane_keys() {
            let taken = self.take_back(&lane);
            if kind == PowerLoss::InOrder || lane == Lane::Journal {
                let keep = rng.below(taken.len() as u64 + 1) as usize;
                self.lose_suffix(&lane, taken, keep, |room| rng.below(room + 1));
            } else {
                self.lose_any(&lane, taken, rng);
            }
            self.forget(&lane);
        }
        self.settle();
    }

    /// As a power loss in order that keeps exactly the first `keep` un-synced writes of every lane, and of the next one
    /// the sectors up to the `sectors`-th: how a test visits every crash point.
    pub fn power_loss_at(&mut self, keep: usize, sectors: u64) {
        for lane in self.lane_keys() {
            let taken = self.take_back(&lane);
            let keep = keep.min(taken.len());
            self.lose_suffix(&lane, taken, keep, |room| sectors.min(room));
            self.forget(&lane);
        }
        self.settle();
    }

    /// Another disk, empty, in its place.
    pub fn replace_disk(&mut self) {
        *self = SimDisk { next_file: self.next_file, full: self.full, lying: self.lying, ..SimDisk::default() };
    }

    /// Flips one bit of a file. Returns whether there is such a place.
    pub fn flip(&mut self, name: &str, at: Position, bit: u8) -> bool {
        let Some(file) = self.names.get(name).and_then(|id| self.files.get_mut(id)) else { return false };
        file.content.flip(at.0, 1 << (bit & 7))
    }

    /// Flips a bit somewhere, drawn over all bytes of the files whose names `eligible` accepts. Returns where.
    pub fn rot(&mut self, rng: &mut Rng, eligible: impl Fn(&str) -> bool) -> Option<(FileName, Position)> {
        let files: Vec<(FileName, Position)> = self.list().into_iter().filter(|(name, _)| eligible(name)).collect();
        let total: u64 = files.iter().map(|(_, end)| end.0).sum();
        let mut at = rng.below(total.max(1));
        let (name, _) = files.into_iter().find(|(_, end)| {
            let here = at < end.0;
            at -= if here { 0 } else { end.0 };
            here
        })?;
        self.flip(&name, Position(at), rng.below(8) as u8);
        Some((name, Position(at)))
    }

    /// While full, every flush fails.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    pub fn is_full(&self) -> bool {
        self.full
    }

    /// While lying, syncs are reported complete and make nothing durable.
    pub fn set_lying(&mut self, lying: bool) {
        self.lying = lying;
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|file| file.content.len()).sum()
    }

    /// Writes of a lane that a power loss may take.
    pub fn unsynced(&self, lane: &Lane) -> u64 {
        self.lanes.get(lane).map_or(0, |writes| writes.unsynced.len() as u64)
    }

    /// The contents of a file by its name, for people and tests.
    pub fn contents(&self, name: &str) -> Option<Bytes> {
        let file = self.files.get(self.names.get(name)?)?;
        file.content.read(0, file.content.len())
    }

    /// A digest of every name and its contents; how they came to be does not matter.
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        for (name, id) in &self.names {
            name.hash(&mut digest);
            if let Some(file) = self.files.get(id) {
                file.content.hash(&mut digest);
            }
        }
        digest.finish()
    }

    fn lane_keys(&self) -> Vec<Lane> {
        self.lanes.keys().cloned().collect()
    }

    fn accept(&mut self, lane: &Lane, kind: WriteKind) {
        self.accepted += 1;
        let write = Write { ordinal: self.accepted, kind };
        let unsynced = match self.lanes.get_mut(lane) {
            Some(writes) => &mut writes.unsynced,
            None => &mut self.lanes.entry(lane.clone()).or_default().unsynced,
        };
        unsynced.push_back(write);
        let written_back =
            if unsynced.len() > UNSYNCED_KEPT && *lane != Lane::Journal { unsynced.pop_front() } else { None };
        if let Some(write) = written_back {
            self.made_durable(write);
        }
    }

    /// The write can no longer be taken back: a file that lost its name to it is gone.
    fn made_durable(&mut self, write: Write) {
        if let WriteKind::Name { was: Some(was), .. } = write.kind {
            self.files.remove(&was);
        }
    }

    fn forget(&mut self, lane: &Lane) {
        let writes = self.lanes.get_mut(lane).map(|lane| core::mem::take(&mut lane.unsynced)).unwrap_or_default();
        for write in writes {
            self.made_durable(write);
        }
    }

    /// After a crash: nothing is waiting to be submitted, no sync runs, files without a name are gone.
    fn settle(&mut self) {
        self.submitted = self.accepted;
        for writes in self.lanes.values_mut() {
            writes.syncing = 0;
        }
        let held: Vec<FileId> = self
            .lanes
            .values()
            .flat_map(|writes| &writes.unsynced)
            .filter_map(|write| match &write.kind {
                WriteKind::Name { was, .. } => *was,
                WriteKind::Append { .. } | WriteKind::Truncate { .. } => None,
            })
            .chain(self.names.values().copied())
            .collect();
        self.files.retain(|id, _| held.contains(id));
        self.lanes.retain(|_, writes| !writes.unsynced.is_empty());
    }

    /// Undoes all un-synced writes of a lane, newest first, and gives them oldest first with what they had appended.
    fn take_back(&mut self, lane: &Lane) -> Vec<(Write, Bytes)> {
        let Some(writes) = self.lanes.get_mut(lane) else { return Vec::new() };
        let mut taken = Vec::with_capacity(writes.unsynced.len());
        for write in core::mem::take(&mut writes.unsynced).into_iter().rev() {
            let mut bytes = Bytes::new();
            match &write.kind {
                WriteKind::Append { file, at } => {
                    if let Some(file) = self.files.get_mut(file) {
                        bytes = file.content.read(*at, file.content.len() - at).unwrap_or_default();
                        file.content.truncate(*at);
                    }
                }
                WriteKind::Truncate { file, was, .. } => {
                    if let Some(file) = self.files.get_mut(file) {
                        file.content = was.clone();
                    }
                }
                WriteKind::Name { name, was, .. } => match was {
                    Some(was) => drop(self.names.insert(name.clone(), *was)),
                    None => drop(self.names.remove(name)),
                },
            }
            taken.push((write, bytes));
        }
        taken.reverse();
        taken
    }

    /// Does a write again, onto what the disk holds now; `bytes` is what an append had written, or as much of it as stays.
    fn redo(&mut self, lane: &Lane, mut write: Write, bytes: &[u8]) {
        match &mut write.kind {
            WriteKind::Append { file, at } => {
                if let Some(file) = self.files.get_mut(file) {
                    file.content.write_at(*at, bytes);
                }
            }
            WriteKind::Truncate { file, to, was } => {
                if let Some(file) = self.files.get_mut(file) {
                    *was = file.content.clone();
                    file.content.truncate(*to);
                }
            }
            WriteKind::Name { name, was, now, .. } => {
                *was = match now {
                    Some(now) => self.names.insert(name.clone(), *now),
                    None => self.names.remove(name),
                };
            }
        }
        self.lanes.entry(lane.clone()).or_default().unsynced.push_back(write);
    }

    /// Redoes the first `keep` writes, and of an append after them the sectors that `cut` chooses out of how many.
    fn lose_suffix(&mut self, lane: &Lane, taken: Vec<(Write, Bytes)>, keep: usize, mut cut: impl FnMut(u64) -> u64) {
        for (at, (write, bytes)) in taken.into_iter().enumerate().take(keep + 1) {
            if at < keep {
                self.redo(lane, write, &bytes);
            } else if let Some(left) = write.torn(&bytes, &mut cut) {
                self.redo(lane, write, &left);
            }
        }
    }

    /// Each append is kept, lost or cut by itself; of what changed names and lengths a prefix is kept.
    fn lose_any(&mut self, lane: &Lane, taken: Vec<(Write, Bytes)>, rng: &mut Rng) {
        let journaled = taken.iter().filter(|(write, _)| !write.is_append()).count();
        let mut journaled = rng.below(journaled as u64 + 1);
        for (write, bytes) in taken {
            if !write.is_append() {
                if journaled > 0 {
                    journaled -= 1;
                    self.redo(lane, write, &bytes);
                }
                continue;
            }
            match rng.below(3) {
                0 => {}
                1 => self.redo(lane, write, &bytes),
                _ => {
                    if let Some(left) = write.torn(&bytes, &mut |room| rng.below(room + 1)) {
                        self.redo(lane, write, &left);
                    }
                }
            }
        }
    }
}

impl Write {
    fn is_append(&self) -> bool {
        matches!(self.kind, WriteKind::Append { .. })
    }

    fn is_barrier(&self) -> bool {
        matches!(self.kind, WriteKind::Name { barrier: true, .. })
    }

    /// What of an append is on the disk if it ends where a sector ends; `cut` says behind which of those within it.
    fn torn(&self, bytes: &Bytes, cut: &mut impl FnMut(u64) -> u64) -> Option<Bytes> {
        let WriteKind::Append { at, .. } = self.kind else { return None };
        let first = at / SECTOR;
        let boundaries = (at + bytes.len() as u64).saturating_sub(1) / SECTOR - first;
        match cut(boundaries) {
            0 => None,
            sectors => Some(bytes.slice(..((first + sectors) * SECTOR - at) as usize)),
        }
    }
}

impl Disk for SimDisk {
    fn open(&mut self, lane: &Lane, name: &str) -> FileId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        self.name(lane, name, Some(Content::default()), false)
    }

    fn append(&mut self, file: FileId, parts: &[Bytes]) -> Position {
        let entry = self.files.get_mut(&file).expect("an append to a file that is gone");
        let at = entry.content.len();
        for part in parts {
            entry.content.append(part);
        }
        let lane = entry.lane.clone();
        self.accept(&lane, WriteKind::Append { file, at });
        Position(at)
    }

    fn truncate(&mut self, file: FileId, to: Position) {
        let entry = self.files.get_mut(&file).expect("a truncation of a file that is gone");
        let was = entry.content.clone();
        assert!(to.0 <= was.len(), "a truncation to {to} of a file of {} bytes", was.len());
        entry.content.truncate(to.0);
        let lane = entry.lane.clone();
        self.accept(&lane, WriteKind::Truncate { file, to: to.0, was });
    }

    fn replace(&mut self, lane: &Lane, name: &str, contents: &[Bytes]) {
        let mut content = Content::default();
        for part in contents {
            content.append(part);
        }
        self.name(lane, name, Some(content), *lane == Lane::Journal);
    }

    fn remove(&mut self, lane: &Lane, name: &str) {
        if self.names.contains_key(name) {
            self.name(lane, name, None, false);
        }
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if self.full && self.submitted < self.accepted {
            return Err(DiskError::Full);
        }
        self.submitted = self.accepted;
        Ok(())
    }

    fn begin_sync(&mut self, lane: &Lane) {
        let submitted = self.submitted;
        if let Some(writes) = self.lanes.get_mut(lane) {
            writes.syncing = submitted;
        }
    }

    fn end_sync(&mut self, lane: &Lane) {
        if self.lying {
            return;
        }
        while let Some(writes) = self.lanes.get_mut(lane)
            && let Some(write) = writes.unsynced.pop_front_if(|write| write.ordinal <= writes.syncing)
        {
            self.made_durable(write);
        }
    }

    fn sync_all(&mut self) -> Result<(), DiskError> {
        self.flush()?;
        for lane in self.lane_keys() {
            self.begin_sync(&lane);
            self.end_sync(&lane);
        }
        Ok(())
    }

    fn read(&self, extent: Extent) -> Result<Bytes, DiskError> {
        let Extent { file, at, len } = extent;
        let found = self.files.get(&file).and_then(|file| file.content.read(at.0, len));
        found.ok_or(DiskError::ShortRead { file, at, len })
    }

    fn end(&self, file: FileId) -> Position {
        Position(self.files.get(&file).map_or(0, |file| file.content.len()))
    }

    fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn list(&self) -> Vec<(FileName, Position)> {
        self.names.iter().map(|(name, id)| (name.clone(), self.end(*id))).collect()
    }
}

impl SimDisk {
    /// Makes a name mean a new file with this content, or none.
    fn name(&mut self, lane: &Lane, name: &str, content: Option<Content>, barrier: bool) -> FileId {
        let name: FileName = match self.names.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => name.into(),
        };
        // Names are ordered across lanes: what another lane has done to this one is written back first.
        let other = self.names.get(&name).and_then(|id| self.files.get(id)).map(|file| &file.lane);
        if let Some(other) = other.filter(|other| *other != lane).cloned() {
            self.forget(&other);
        }
        self.next_file += 1;
        let id = FileId(self.next_file);
        let now = content.map(|content| {
            self.files.insert(id, File { lane: lane.clone(), content });
            id
        });
        let was = match now {
            Some(now) => self.names.insert(name.clone(), now),
            None => self.names.remove(&name),
        };
        self.accept(lane, WriteKind::Name { name, was, now, barrier });
        id
    }
}
