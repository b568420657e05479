//! A node's folder on a real disk, under the core's storage code.
//!
//! ```text
//!  append, truncate, replace, remove ─▶ operations, in order ── flush ──▶ page cache ── begin_sync ──▶ sync threads
//!                  │                                            writev                                fdatasync, rename
//!                  └─▶ tail in memory ─▶ read                                                         fsync of folders
//! ```
//!
//! Appends are kept as the shared bytes they came in and are written by one vectored write for each file and flush. A
//! replaced file takes its name when it is durable: on the journal, where that is a barrier, within `flush`; on any
//! other lane on a sync thread. What is removed has lost its name after `flush`; its room is given back by a thread of its
//! own (`waste`). Knows nothing of what the bytes mean, but for three things: an index can be made anew, a log has a folder
//! to itself, and the mark of a clean stop must not be on the disk before everything else is.

mod act;
mod bytes_at;
mod entry;
mod faults;
mod folder;
mod owed;
mod recent;
mod seal;
mod settle;
mod slot;
mod sync;
mod tail;
#[cfg(test)]
mod tests;
mod waste;

use act::{Act, Dirty, is_derived};
use bytes::Bytes;
use entry::Entry;
use faults::Faults;
pub(crate) use folder::put;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::id::NodeId;
use glasshouse_core::record::offset::Position;
use glasshouse_core::store::disk::{Disk, DiskError, Extent, FileId, FileName};
use glasshouse_core::store::small_file::CLEAN_SHUTDOWN;
use owed::Owed;
use recent::Recent;
use slot::{Ground, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use sync::{Job, Syncer};
use waste::Waste;

/// Files that are written and not synced, over which they are synced though nobody asks (`flush = kafka`).
const DIRTY_FILES: usize = 256;
/// Jobs that nobody has begun, over which this thread helps until half of them are: each may hold files open.
const JOBS: usize = 256;
/// Bytes that a lane may hold back with [`Hold::Process`], over which they are written though nobody asks.
const HELD_BYTES: u64 = 64 << 20;

/// Whose folder it is; written into it at its first start, and compared at every later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    pub node: NodeId,
}

/// What a write that was not synced yet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// In the page cache: it survives `kill -9`.
    #[default]
    PageCache,
    /// In this process, until `fdatasync`: `kill -9` is then a power loss. For tests.
    Process,
}

/// Called by a sync thread when it is done with a lane. It may wait: whoever owns the disk never waits for it to return.
pub type Done = Arc<dyn Fn(Lane, Result<(), DiskError>) + Send + Sync>;

/// See the module.
pub struct FileDisk {
    ground: Arc<Ground>,
    hold: Hold,
    names: BTreeMap<FileName, FileId>,
    files: BTreeMap<FileId, Entry>,
    next_file: u64,
    lane_at: BTreeMap<Lane, usize>,
    lanes: Vec<LaneState>,
    /// Places among the lanes that are free again.
    spare: Vec<usize>,
    /// Lanes whose logs were deleted, and which are to be let go of.
    ended: BTreeSet<usize>,
    /// Accepted and not flushed, in order.
    ops: Vec<Op>,
    /// Lanes in which a file waits for its name since the flush began.
    naming: Vec<usize>,
    dirty_files: usize,
    /// The mark of a clean stop, until everything else is durable.
    last_words: Option<Act>,
    /// Writes that sync threads have been given, with [`Hold::Process`].
    flights: Vec<Flight>,
    /// Found when the folder was taken, and perhaps only in the page cache: synced by the first [`Disk::sync_all`].
    unsettled: Option<Vec<PathBuf>>,
    /// Files that were found: those with ids up to this one.
    found: u64,
    /// A sync that could not be begun; the next flush tells.
    failed: Option<DiskError>,
    recent: Recent,
    owed: Owed,
    syncer: Syncer,
}

struct LaneState {
    lane: Lane,
    /// Files that belong to it.
    files: u64,
    dirty: Dirty,
    /// With [`Hold::Process`]: submitted, and not given to a sync thread yet.
    held: Vec<Act>,
    held_bytes: u64,
}

/// Something that was accepted.
enum Op {
    Create(Arc<Slot>, usize),
    /// What the file's tail holds beyond what was submitted.
    Write(FileId),
    Truncate(FileId, u64),
    Remove {
        slot: Arc<Slot>,
        lane: usize,
        last: bool,
    },
    RemoveLog {
        slot: Arc<Slot>,
        others: Vec<Arc<Slot>>,
        folder: String,
        lane: usize,
    },
    Replace {
        slot: Arc<Slot>,
        lane: usize,
        contents: Vec<Bytes>,
        old: Option<Arc<Slot>>,
    },
}

/// Where files will end on the disk when a job is done.
struct Flight {
    finished: Arc<AtomicBool>,
    ends: Vec<(FileId, u64)>,
}

impl FileDisk {
    /// Takes the folder: makes it, locks it against a second process, checks whose it is.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn open(folder: &Path, identity: &Identity, hold: Hold, done: Done) -> Result<FileDisk, String> {
        let (lock, contents) = folder::take(folder, identity)?;
        let lock = Arc::new(lock);
        let faults = Arc::new(Faults::default());
        let seed = getrandom::u64().map_err(|error| format!("no entropy: {error}"))?;
        let (root, name) = (folder.to_path_buf(), format!("{} waste", identity.node));
        let waste = Waste::new(root.clone(), seed, name, faults.clone(), done.clone(), lock.clone());
        let ground = Ground::new(root, faults, waste)
            .map_err(|error| format!("the folder {} cannot be used: {error}", folder.display()))?;
        let mut disk = FileDisk {
            syncer: Syncer::new(format!("{} sync", identity.node), done, lock),
            ground: Arc::new(ground),
            hold,
            names: BTreeMap::new(),
            files: BTreeMap::new(),
            next_file: 0,
            lane_at: BTreeMap::new(),
            lanes: Vec::new(),
            spare: Vec::new(),
            ended: BTreeSet::new(),
            ops: Vec::new(),
            naming: Vec::new(),
            dirty_files: 0,
            last_words: None,
            flights: Vec::new(),
            unsettled: Some(contents.folders),
            found: contents.files.len() as u64,
            failed: None,
            recent: Recent::default(),
            owed: Owed::default(),
        };
        for found in contents.files {
            let name: FileName = found.name.into();
            let id = disk.next_id();
            let slot = Slot::found(id, name.clone(), found.inode, disk.ground.clone());
            disk.names.insert(name, id);
            disk.files.insert(id, Entry::found(Arc::new(slot), found.len));
        }
        disk.ground.waste.give(contents.waste);
        Ok(disk)
    }

    /// From now on the disk fails as this file says. For tests.
    pub fn obey(&self, faults: PathBuf) {
        self.ground.faults.obey(faults);
    }

    /// Whether so much is not durable yet that the node should not take up what would make it more. It passes with a sync
    /// that will be told of.
    pub fn is_backed_up(&self) -> bool {
        self.owed.is_much()
    }

    /// The folder that was taken.
    pub fn folder(&self) -> &Path {
        &self.ground.root
    }

    fn next_id(&mut self) -> FileId {
        self.next_file += 1;
        FileId(self.next_file)
    }

    fn lane(&mut self, lane: &Lane) -> usize {
        if let Some(at) = self.lane_at.get(lane) {
            return *at;
        }
        let state =
            LaneState { lane: lane.clone(), files: 0, dirty: Dirty::default(), held: Vec::new(), held_bytes: 0 };
        let at = match self.spare.pop() {
            Some(at) => {
                self.lanes[at] = state;
                at
            }
            None => {
                self.lanes.push(state);
                self.lanes.len() - 1
            }
        };
        self.lane_at.insert(lane.clone(), at);
        at
    }

    /// Makes a name mean a new file; returns the slot of the one that had it.
    fn name(&mut self, lane: usize, name: &str) -> (Arc<Slot>, Option<Arc<Slot>>) {
        let name: FileName = match self.names.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => name.into(),
        };
        let id = self.next_id();
        let slot = Arc::new(Slot::new(id, name.clone(), self.ground.clone()));
        let keeps = self.keeps(lane, &name);
        self.files.insert(id, Entry::new(slot.clone(), lane, keeps));
        self.lanes[lane].files += 1;
        let old = self.names.insert(name, id).and_then(|old| self.forget(old));
        (slot, old)
    }

    /// Whether what was appended lately is kept for those who read at the end: of a log it is.
    fn keeps(&self, lane: usize, name: &str) -> bool {
        let log = matches!(self.lanes[lane].lane, Lane::Log(_));
        log && self.hold == Hold::PageCache && !is_derived(name)
    }

    /// Drops what is known of a file that lost its name; its space is free once nobody syncs it any more.
    fn forget(&mut self, id: FileId) -> Option<Arc<Slot>> {
        let mut entry = self.files.remove(&id)?;
        self.recent.forget(&mut entry);
        if let Some(lane) = entry.lane {
            self.lanes[lane].files -= 1;
        }
        Some(entry.slot)
    }

    /// Submits one thing: into the page cache, or into this process's own.
    fn submit(&mut self, op: Op) -> Result<(), DiskError> {
        let (lane, act) = match op {
            Op::Create(slot, lane) => (lane, Act::Create(slot)),
            Op::Write(id) => {
                let Some(entry) = self.files.get_mut(&id) else { return Ok(()) };
                let Some(act) = entry.submit() else { return Ok(()) };
                (entry.lane.expect("a file that was opened has a lane"), act)
            }
            Op::Truncate(id, to) => {
                let Some(entry) = self.files.get(&id) else { return Ok(()) };
                (entry.lane.expect("a file that was opened has a lane"), Act::Truncate { slot: entry.slot.clone(), to })
            }
            Op::Remove { slot, lane, last } => {
                // A keeper has few files to remove, and another name would not hide one from ZooKeeper's tools.
                let is_of_log = matches!(self.lanes[lane].lane, Lane::Log(_));
                (lane, Act::Remove { slot, last, at_once: self.hold == Hold::Process || !is_of_log })
            }
            Op::RemoveLog { slot, others, folder, lane } => {
                self.ended.insert(lane);
                (lane, Act::RemoveLog { slot, others, folder })
            }
            Op::Replace { slot, lane, contents, old } => {
                let barrier = self.lanes[lane].lane == Lane::Journal;
                let act = Act::Replace { slot, contents, old, barrier };
                if &*act.slot().name == CLEAN_SHUTDOWN {
                    self.last_words = Some(act);
                    return Ok(());
                }
                if !barrier {
                    self.naming.push(lane);
                } else if self.hold == Hold::PageCache {
                    // What a thread is still syncing came before it.
                    self.syncer.drain()?;
                }
                (lane, act)
            }
        };
        let state = &mut self.lanes[lane];
        self.owed.wrote(&state.lane, act.bytes());
        if self.hold == Hold::Process {
            state.held_bytes += act.bytes();
            state.held.push(act);
            return Ok(());
        }
        let before = state.dirty.files.len();
        state.dirty.perform(&act)?;
        self.dirty_files = self.dirty_files + state.dirty.files.len() - before;
        self.written(&act);
        Ok(())
    }

    /// Whether no name lies in the folder.
    fn is_empty(&self, folder: &str) -> bool {
        let prefix = format!("{folder}/");
        let next = self.names.range(FileName::from(prefix.as_str())..).next();
        next.is_none_or(|(name, _)| !name.starts_with(&prefix))
    }

    /// The removal of a file that has lost its name. With the last one of a log the folder goes as a whole, and with it
    /// what was to be removed before: a thousand files cost one change of a name. (Where threads write for each lane as
    /// it comes, another lane's may have put a file of the next log into the folder already.)
    fn removal(&mut self, lane: usize, slot: Arc<Slot>) -> Op {
        if self.hold == Hold::PageCache
            && let Lane::Log(partition) = &self.lanes[lane].lane
            && let folder = partition.to_string()
            && slot.is_below(&folder)
            && self.is_empty(&folder)
        {
            let mut others = Vec::new();
            self.ops.retain(|op| match op {
                Op::Remove { slot, lane: of, .. } if *of == lane && slot.is_below(&folder) => {
                    others.push(slot.clone());
                    false
                }
                _ => true,
            });
            return Op::RemoveLog { slot, others, folder, lane };
        }
        let last = slot.name.rsplit_once('/').is_some_and(|(folder, _)| self.is_empty(folder));
        Op::Remove { slot, lane, last }
    }

    /// The page cache holds it now.
    fn written(&mut self, act: &Act) {
        let id = act.slot().id;
        match act {
            Act::Write { .. } | Act::Replace { .. } => self.recent.keep(id, &mut self.files),
            Act::Create(_) | Act::Truncate { .. } | Act::Remove { .. } | Act::RemoveLog { .. } => {}
        }
        if let Some(entry) = self.files.get(&id) {
            self.recent.opened(entry, &self.files);
        }
    }

    /// Gives a sync thread what a lane has to do.
    fn submit_job(&mut self, at: usize, dirty: Dirty, report: bool) -> Result<(), DiskError> {
        let state = &mut self.lanes[at];
        if !report {
            self.owed.left(&state.lane);
        }
        let acts = std::mem::take(&mut state.held);
        state.held_bytes = 0;
        self.dirty_files -= dirty.files.len();
        let finished = (!acts.is_empty()).then(|| Arc::new(AtomicBool::new(false)));
        if let Some(finished) = &finished {
            self.flights.push(Flight { finished: finished.clone(), ends: ends(&acts) });
        }
        self.syncer.submit(Job { lane: state.lane.clone(), acts, dirty, report, finished })
    }

    /// What sync threads have written need not be kept in memory.
    fn land(&mut self) {
        let files = &mut self.files;
        self.flights.retain(|flight| {
            let landed = flight.finished.load(Ordering::Acquire);
            if landed {
                for (id, end) in &flight.ends {
                    if let Some(entry) = files.get_mut(id) {
                        entry.landed(*end);
                    }
                }
            }
            !landed
        });
    }

    /// After a flush: what somebody has to do even if nobody asks for a sync.
    fn in_background(&mut self) -> Result<(), DiskError> {
        match self.hold {
            Hold::PageCache => {
                for at in std::mem::take(&mut self.naming) {
                    let dirty = self.lanes[at].dirty.take_names();
                    if !dirty.is_empty() {
                        self.submit_job(at, dirty, false)?;
                    }
                }
                if self.syncer.waiting() > JOBS {
                    self.syncer.drain_to(JOBS / 2)?;
                }
                if self.dirty_files > DIRTY_FILES {
                    for at in 0..self.lanes.len() {
                        let dirty = self.lanes[at].dirty.take();
                        if !dirty.is_empty() {
                            self.submit_job(at, dirty, false)?;
                        }
                    }
                }
            }
            Hold::Process => {
                self.naming.clear();
                for at in 0..self.lanes.len() {
                    let state = &self.lanes[at];
                    let unasked = state.lane == Lane::Checkpoint || state.held_bytes > HELD_BYTES;
                    if unasked && !state.held.is_empty() {
                        self.submit_job(at, Dirty::default(), false)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Forgets the lanes of deleted logs, of which a broker may see more than it will ever have at once. What such a lane
    /// owes goes to a sync thread, ahead of what the next log of its name does; not all at once, where many are deleted.
    fn let_go(&mut self) -> Result<(), DiskError> {
        if self.ended.is_empty() {
            return Ok(());
        }
        let mut room = (JOBS / 2).saturating_sub(self.syncer.waiting());
        while room > 0
            && let Some(at) = self.ended.pop_first()
        {
            // There may be a log of the name again.
            if self.lanes[at].files > 0 {
                continue;
            }
            let dirty = self.lanes[at].dirty.take();
            if !dirty.is_empty() {
                room -= 1;
                self.submit_job(at, dirty, false)?;
            }
            // Indexes that nobody has to sync any more.
            self.lanes[at].dirty = Dirty::default();
            self.lane_at.remove(&self.lanes[at].lane);
            self.spare.push(at);
        }
        Ok(())
    }
}

/// Where the files end that acts write to.
fn ends(acts: &[Act]) -> Vec<(FileId, u64)> {
    let mut ends = BTreeMap::new();
    for act in acts {
        let id = act.slot().id;
        match act {
            Act::Write { at, .. } => drop(ends.insert(id, at + act.bytes())),
            Act::Replace { .. } => drop(ends.insert(id, act.bytes())),
            Act::Create(_) | Act::Truncate { .. } | Act::Remove { .. } | Act::RemoveLog { .. } => {}
        }
    }
    ends.into_iter().collect()
}

impl Disk for FileDisk {
    fn open(&mut self, lane: &Lane, name: &str) -> FileId {
        let lane = self.lane(lane);
        if let Some(id) = self.names.get(name).copied() {
            let keeps = self.keeps(lane, name);
            if let Some(entry) = self.files.get_mut(&id)
                && entry.adopt(lane, keeps)
            {
                self.lanes[lane].files += 1;
            }
            return id;
        }
        let (slot, _) = self.name(lane, name);
        let id = slot.id;
        self.ops.push(Op::Create(slot, lane));
        id
    }

    fn append(&mut self, file: FileId, parts: &[Bytes]) -> Position {
        let entry = self.files.get_mut(&file).expect("an append to a file that is gone");
        let at = entry.end();
        if entry.append(parts) {
            self.ops.push(Op::Write(file));
        }
        Position(at)
    }

    fn truncate(&mut self, file: FileId, to: Position) {
        let entry = self.files.get_mut(&file).expect("a truncation of a file that is gone");
        assert!(to.0 <= entry.end(), "a truncation to {to} of a file of {} bytes", entry.end());
        self.recent.forget(entry);
        if entry.truncate(to.0) {
            // What is appended after the cut must not be written before it.
            self.ops.retain(|op| !matches!(op, Op::Write(id) if *id == file));
            self.ops.push(Op::Truncate(file, to.0));
        }
    }

    fn replace(&mut self, lane: &Lane, name: &str, contents: &[Bytes]) {
        let lane = self.lane(lane);
        let (slot, old) = self.name(lane, name);
        if let Some(entry) = self.files.get_mut(&slot.id) {
            entry.fill(contents);
        }
        self.ops.push(Op::Replace { slot, lane, contents: contents.to_vec(), old });
    }

    fn remove(&mut self, lane: &Lane, name: &str) {
        if let Some(slot) = self.names.remove(name).and_then(|id| self.forget(id)) {
            if self.last_words.as_ref().is_some_and(|act| act.slot().id == slot.id) {
                self.last_words = None;
            }
            let lane = self.lane(lane);
            let removal = self.removal(lane, slot);
            self.ops.push(removal);
        }
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.ops.is_empty() {
            return Ok(());
        }
        self.land();
        let mut ops = std::mem::take(&mut self.ops);
        ops.drain(..).try_for_each(|op| self.submit(op))?;
        if ops.capacity() <= 1024 {
            self.ops = ops;
        }
        self.in_background()?;
        self.let_go()
    }

    fn begin_sync(&mut self, lane: &Lane) {
        self.owed.began(lane);
        let begun = match self.lane_at.get(lane).copied() {
            Some(at) => {
                let dirty = self.lanes[at].dirty.take();
                self.submit_job(at, dirty, true)
            }
            // Nothing was done on it, or its log is deleted: what it owes, threads have been given.
            None => self.syncer.submit(Job {
                lane: lane.clone(),
                acts: Vec::new(),
                dirty: Dirty::default(),
                report: true,
                finished: None,
            }),
        };
        if let Err(error) = begun {
            self.failed = Some(error);
        }
    }

    fn end_sync(&mut self, lane: &Lane) {
        self.owed.ended(lane);
        self.land();
    }

    fn sync_all(&mut self) -> Result<(), DiskError> {
        self.settle()
    }

    fn read(&self, extent: Extent) -> Result<Bytes, DiskError> {
        let Extent { file, at, len } = extent;
        let short = DiskError::ShortRead { file, at, len };
        let Some(entry) = self.files.get(&file) else { return Err(short) };
        let bytes = entry.read(at.0, len)?.ok_or(short);
        if entry.used.get() {
            self.recent.opened(entry, &self.files);
        }
        bytes
    }

    fn end(&self, file: FileId) -> Position {
        Position(self.files.get(&file).map_or(0, Entry::end))
    }

    fn list(&self) -> Vec<(FileName, Position)> {
        self.names.iter().map(|(name, id)| (name.clone(), self.end(*id))).collect()
    }

    fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }
}

impl Drop for FileDisk {
    fn drop(&mut self) {
        self.ground.waste.stop();
    }
}

impl fmt::Debug for FileDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileDisk").field("folder", &self.ground.root).field("files", &self.files.len()).finish()
    }
}
