//! Everything durable, now: once when a node starts, and once when it stops in order.

use super::act::{Dirty, FEW, is_derived};
use super::{FileDisk, Hold};
use glasshouse_core::api::storage::Lane;
use glasshouse_core::store::disk::{Disk, DiskError, FileId};
use std::collections::BTreeSet;
use std::path::PathBuf;

impl FileDisk {
    /// Everything is durable when it returns, as before an orderly stop.
    ///
    /// # Errors
    /// Of the disk.
    pub fn sync_everything(&mut self) -> Result<(), DiskError> {
        self.settle()
    }

    /// All lanes at once: the threads take them, and so does this one.
    pub(super) fn settle(&mut self) -> Result<(), DiskError> {
        self.flush()?;
        if let Some(folders) = self.unsettled.take() {
            self.found(folders)?;
        }
        let owed = self.lanes.iter().map(|state| state.dirty.files.len() + state.dirty.derived.len()).sum::<usize>();
        if self.hold == Hold::PageCache && owed > FEW {
            // All of it was written: what is left are names that files wait for.
            self.ground.sync_all()?;
            for state in &mut self.lanes {
                state.dirty.files.clear();
                state.dirty.derived.clear();
            }
            self.dirty_files = 0;
        }
        for at in 0..self.lanes.len() {
            let indexes = std::mem::take(&mut self.lanes[at].dirty.derived);
            for (id, slot) in indexes {
                if let Some(file) = slot.file()? {
                    self.count(at, |dirty| drop(dirty.files.insert(id, (slot, file))));
                }
            }
            let dirty = self.lanes[at].dirty.take();
            if !dirty.is_empty() || !self.lanes[at].held.is_empty() {
                self.submit_job(at, dirty, false)?;
            }
        }
        self.syncer.drain()?;
        self.land();
        if let Some(mark) = self.last_words.take() {
            let mut dirty = Dirty::default();
            dirty.perform(&mark)?;
            dirty.sync()?;
            if self.hold == Hold::PageCache {
                self.written(&mark);
            }
        }
        Ok(())
    }

    /// What a process that is gone has written may be in the page cache only.
    fn found(&mut self, folders: Vec<PathBuf>) -> Result<(), DiskError> {
        let found = |disk: &FileDisk| -> Vec<FileId> {
            let first = disk.files.iter().take_while(|(id, _)| id.0 <= disk.found);
            first.filter(|(_, entry)| !is_derived(&entry.slot.name)).map(|(id, _)| *id).collect()
        };
        let files = found(self);
        let root = self.ground.root.clone();
        if files.len() + folders.len() > FEW {
            return self.ground.sync_all();
        }
        let checkpoint = self.lane(&Lane::Checkpoint);
        for id in files {
            let Some(entry) = self.files.get(&id) else { continue };
            let lane = entry.lane.unwrap_or(checkpoint);
            if let Some(file) = entry.slot.file()? {
                self.recent.opened(entry, &self.files);
                let slot = entry.slot.clone();
                self.count(lane, |dirty| drop(dirty.files.insert(id, (slot, file))));
            }
        }
        let folders: BTreeSet<PathBuf> = folders.into_iter().collect();
        if !folders.is_empty() || self.found > 0 {
            self.lanes[checkpoint].dirty.folders.extend(folders);
            self.lanes[checkpoint].dirty.folders.insert(root);
        }
        Ok(())
    }

    /// Changes what a lane owes, and counts its files.
    fn count(&mut self, lane: usize, change: impl FnOnce(&mut Dirty)) {
        let dirty = &mut self.lanes[lane].dirty;
        let before = dirty.files.len();
        change(dirty);
        self.dirty_files = self.dirty_files + dirty.files.len() - before;
    }
}
