//! What is kept of files because it was used lately: handles, and of logs the bytes at their ends. Both are bounded for
//! the whole node, so neither a thousand segments nor a thousand partitions exhaust it.

use super::entry::Entry;
use glasshouse_core::store::disk::FileId;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

/// Handles of a node that stay open, beside those of files that are not synced.
const HANDLES: usize = 256;
/// How many are looked at when one is opened: several, so that the list shrinks again after it has grown.
const LOOKED_AT: usize = 8;
/// Bytes of one file's end that stay in memory: the largest batch that a topic takes by default, and some.
const BYTES_OF_FILE: u64 = 1280 * 1024;
/// And of all files together.
const BYTES: u64 = 8 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Files that may have a handle; who is at the front is closed unless it was used since it was last there.
    handles: RefCell<VecDeque<FileId>>,
    /// Files with bytes in memory, least recently appended first.
    turns: BTreeMap<u64, FileId>,
    last_turn: u64,
    bytes: u64,
}

impl Recent {
    /// A file's handle was used.
    pub(super) fn opened(&self, entry: &Entry, files: &BTreeMap<FileId, Entry>) {
        entry.used.set(true);
        if entry.listed.replace(true) {
            return;
        }
        let mut handles = self.handles.borrow_mut();
        handles.push_back(entry.slot.id);
        // A few at a time: thousands may be in use, or wait for their names, and nobody looks at all of them for each.
        let mut left = LOOKED_AT;
        while handles.len() > HANDLES
            && left > 0
            && let Some(first) = handles.pop_front()
        {
            left -= 1;
            match files.get(&first) {
                Some(entry) if entry.used.replace(false) || !entry.slot.close() => handles.push_back(first),
                Some(entry) => entry.listed.set(false),
                None => {}
            }
        }
    }

    /// What was submitted of a file was written: of a log, the newest bytes stay.
    pub(super) fn keep(&mut self, id: FileId, files: &mut BTreeMap<FileId, Entry>) {
        let Some(entry) = files.get_mut(&id) else { return };
        let kept = entry.written(BYTES_OF_FILE);
        self.forget(entry);
        if kept == 0 {
            return;
        }
        self.last_turn += 1;
        (entry.kept, entry.turn) = (kept, self.last_turn);
        self.bytes += kept;
        self.turns.insert(entry.turn, id);
        while self.bytes > BYTES
            && let Some((_, oldest)) = self.turns.first_key_value()
            && let Some(entry) = files.get_mut(oldest)
        {
            entry.forget();
            self.forget(entry);
        }
    }

    /// What was kept of a file is not counted any more.
    pub(super) fn forget(&mut self, entry: &mut Entry) {
        if entry.kept > 0 {
            self.turns.remove(&entry.turn);
            self.bytes -= entry.kept;
            entry.kept = 0;
        }
    }
}
