//! What the disk knows of one file: how far it was submitted and written, and the end of it that is in memory.

use super::act::Act;
use super::bytes_at;
use super::slot::Slot;
use super::tail::Tail;
use bytes::Bytes;
use glasshouse_core::store::disk::DiskError;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// `tail.at ≤ written ≤ submitted ≤ tail.end`: what lies before the tail is read from the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: Arc<Slot>,
    /// `None` until somebody opens a file that was found.
    pub(super) lane: Option<usize>,
    /// Its tail stays in memory when it is written.
    keeps: bool,
    tail: RefCell<Tail>,
    submitted: u64,
    written: u64,
    /// A write of it waits for the flush.
    queued: bool,
    /// It was cut below what was submitted, so where a sync thread left it says nothing.
    cut: bool,
    /// Bytes of its tail, and its turn, in [`Recent`](super::recent::Recent).
    pub(super) kept: u64,
    pub(super) turn: u64,
    /// It was used since its handle was last looked at; it is in the list of those that have one.
    pub(super) used: Cell<bool>,
    pub(super) listed: Cell<bool>,
}

impl Entry {
    /// A file that is to be made.
    pub(super) fn new(slot: Arc<Slot>, lane: usize, keeps: bool) -> Entry {
        Entry { lane: Some(lane), keeps, ..Entry::found(slot, 0) }
    }

    /// A file of `len` bytes that lies in the folder.
    pub(super) fn found(slot: Arc<Slot>, len: u64) -> Entry {
        Entry {
            slot,
            lane: None,
            keeps: false,
            tail: RefCell::new(Tail::empty(len)),
            submitted: len,
            written: len,
            queued: false,
            cut: false,
            kept: 0,
            turn: 0,
            used: Cell::new(false),
            listed: Cell::new(false),
        }
    }

    /// A file that was found belongs to the lane that opens it first. Returns whether this one does.
    pub(super) fn adopt(&mut self, lane: usize, keeps: bool) -> bool {
        let first = self.lane.is_none();
        if first {
            self.lane = Some(lane);
            self.keeps = keeps;
        }
        first
    }

    pub(super) fn end(&self) -> u64 {
        self.tail.borrow().end()
    }

    /// Returns whether its write has to be queued.
    pub(super) fn append(&mut self, parts: &[Bytes]) -> bool {
        let tail = self.tail.get_mut();
        parts.iter().for_each(|part| tail.push(part.clone()));
        !std::mem::replace(&mut self.queued, true)
    }

    /// The contents of a file that replaces another; they are submitted as a whole.
    pub(super) fn fill(&mut self, contents: &[Bytes]) {
        let tail = self.tail.get_mut();
        contents.iter().for_each(|part| tail.push(part.clone()));
        self.submitted = tail.end();
    }

    /// Returns whether the file itself has to be cut, and not only what is in memory.
    pub(super) fn truncate(&mut self, to: u64) -> bool {
        self.tail.get_mut().truncate(to);
        let cut = self.submitted > to;
        if cut {
            self.submitted = to;
            self.written = self.written.min(to);
            self.queued = false;
            self.cut = true;
        }
        cut
    }

    /// The write of what was accepted since the last one.
    pub(super) fn submit(&mut self) -> Option<Act> {
        self.queued = false;
        let tail = self.tail.get_mut();
        let at = std::mem::replace(&mut self.submitted, tail.end());
        (at < tail.end()).then(|| Act::Write { slot: self.slot.clone(), at, parts: tail.from(at) })
    }

    /// What was submitted is in the page cache. At most `keep` bytes stay in memory, if any; returns how many.
    pub(super) fn written(&mut self, keep: u64) -> u64 {
        let from = std::mem::replace(&mut self.written, self.submitted);
        let tail = self.tail.get_mut();
        if !self.keeps {
            tail.forget(self.written, 0);
            return 0;
        }
        tail.compact(from);
        tail.forget(self.written, keep);
        tail.len()
    }

    /// A sync thread has written the file up to `end`.
    pub(super) fn landed(&mut self, end: u64) {
        if !self.cut {
            self.written = self.written.max(end.min(self.submitted));
            self.forget();
        }
    }

    /// Lets go of what can be read from the file.
    pub(super) fn forget(&mut self) {
        self.tail.get_mut().forget(self.written, 0);
    }

    /// `len` bytes from `at` on; `None` if they are not all there.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn read(&self, at: u64, len: u64) -> Result<Option<Bytes>, DiskError> {
        let mut tail = self.tail.borrow_mut();
        let Some(end) = at.checked_add(len).filter(|end| *end <= tail.end()) else { return Ok(None) };
        if at >= tail.at() {
            return Ok(Some(tail.read(at, len as usize)));
        }
        let Some(file) = self.slot.file()? else { return Ok(None) };
        self.used.set(true);
        let in_file = (tail.at().min(end) - at) as usize;
        let mut bytes = Vec::with_capacity(len as usize);
        let there =
            bytes_at::read(&file, at, in_file, &mut bytes).map_err(|error| self.slot.trouble("reading", &error))?;
        if !there {
            return Ok(None);
        }
        if end > tail.at() {
            tail.copy(tail.at(), (end - tail.at()) as usize, &mut bytes);
        }
        Ok(Some(bytes.into()))
    }
}
