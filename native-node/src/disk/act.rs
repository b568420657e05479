//! What is done to files, and what of it is not durable yet.

use super::slot::{Slot, trouble};
use bytes::Bytes;
use glasshouse_core::store::disk::{DiskError, FileId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// One thing that is done to a file, in the order of its lane.
#[derive(Debug)]
pub(super) enum Act {
    Create(Arc<Slot>),
    Write {
        slot: Arc<Slot>,
        at: u64,
        parts: Vec<Bytes>,
    },
    Truncate {
        slot: Arc<Slot>,
        to: u64,
    },
    /// `last`: nothing is left in its folder. `at_once`: it is the present thread that unlinks.
    Remove {
        slot: Arc<Slot>,
        last: bool,
        at_once: bool,
    },
    /// All files of a log's folder, of which `slot` is the last one.
    RemoveLog {
        slot: Arc<Slot>,
        others: Vec<Arc<Slot>>,
        folder: String,
    },
    Replace {
        slot: Arc<Slot>,
        contents: Vec<Bytes>,
        old: Option<Arc<Slot>>,
        /// Everything before it is made durable first, and it is durable when it is done.
        barrier: bool,
    },
}

impl Act {
    /// The file it is about.
    pub(super) fn slot(&self) -> &Arc<Slot> {
        match self {
            Act::Create(slot)
            | Act::Write { slot, .. }
            | Act::Truncate { slot, .. }
            | Act::Remove { slot, .. }
            | Act::RemoveLog { slot, .. }
            | Act::Replace { slot, .. } => slot,
        }
    }

    /// Bytes that it keeps in memory.
    pub(super) fn bytes(&self) -> u64 {
        let parts = match self {
            Act::Write { parts, .. } => parts,
            Act::Replace { contents, .. } => contents,
            Act::Create(_) | Act::Truncate { .. } | Act::Remove { .. } | Act::RemoveLog { .. } => return 0,
        };
        parts.iter().map(|part| part.len() as u64).sum()
    }
}

/// Files and folders, over which the whole file system is synced instead of each of them.
pub(super) const FEW: usize = 64;

/// What a lane has changed since it was last synced.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Held open until they are synced: whoever wrote a file must be the one who hears that writing it back failed.
    pub(super) files: BTreeMap<FileId, (Arc<Slot>, Arc<File>)>,
    /// Indexes. A start makes them anew unless the stop before it was in order, so only an orderly stop syncs them.
    pub(super) derived: BTreeMap<FileId, Arc<Slot>>,
    /// Files that take their names once they are durable.
    pub(super) aside: Vec<Arc<Slot>>,
    /// Folders with changed entries.
    pub(super) folders: BTreeSet<PathBuf>,
}

/// Whether a file says nothing that is not in another one.
pub(super) fn is_derived(name: &str) -> bool {
    name.ends_with(".index") || name.ends_with(".timeindex")
}

impl Dirty {
    /// Does it; what is then owed to the disk is added.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn perform(&mut self, act: &Act) -> Result<(), DiskError> {
        match act {
            Act::Create(slot) => {
                slot.create()?;
                // Another lane may have made its folder, and be late with syncing that.
                self.entry(slot, true);
            }
            Act::Write { slot, at, parts } => {
                // Removed meanwhile, by another lane: nobody will read it.
                let Some(file) = slot.file()? else { return Ok(()) };
                slot.write(&file, *at, parts)?;
                self.wrote(slot, file);
            }
            Act::Truncate { slot, to } => {
                let Some(file) = slot.file()? else { return Ok(()) };
                file.set_len(*to).map_err(|error| slot.trouble("truncating", &error))?;
                self.wrote(slot, file);
            }
            Act::Remove { slot, last, at_once } => {
                // What is put aside in a folder would keep it from being removed.
                slot.remove(*at_once || *last)?;
                self.forget(slot);
                self.entry(slot, false);
                let folder = slot.folder();
                // A folder that is in use again, or holds what is not ours, stays.
                if *last && folder != slot.root() && fs::remove_dir(&folder).is_ok() {
                    self.folders.remove(&folder);
                    self.folders.extend(folder.parent().map(PathBuf::from));
                }
            }
            Act::RemoveLog { slot, others, folder } => {
                let ground = slot.ground();
                let slots: Vec<Arc<Slot>> = others.iter().chain([slot]).cloned().collect();
                ground.remove_log(folder, &slots)?;
                slots.iter().for_each(|slot| self.forget(slot));
                self.folders.remove(&ground.root.join(folder));
                self.folders.insert(ground.root.clone());
            }
            Act::Replace { slot, contents, old, barrier } => {
                if *barrier {
                    self.sync()?;
                }
                if let Some((_, folders)) = slot.write_aside(contents, old.as_ref())? {
                    self.aside.push(slot.clone());
                    self.entry(slot, folders);
                }
                if *barrier {
                    self.sync()?;
                }
            }
        }
        Ok(())
    }

    /// It is gone: nobody need make it durable.
    fn forget(&mut self, slot: &Slot) {
        self.files.remove(&slot.id);
        self.derived.remove(&slot.id);
    }

    fn wrote(&mut self, slot: &Arc<Slot>, file: Arc<File>) {
        if is_derived(&slot.name) {
            self.derived.entry(slot.id).or_insert_with(|| slot.clone());
        } else {
            self.files.entry(slot.id).or_insert_with(|| (slot.clone(), file));
        }
    }

    /// The folder's entry for the file changed; `folders`: so did those of folders above.
    fn entry(&mut self, slot: &Slot, folders: bool) {
        let folder = slot.folder();
        if folders {
            let above = folder.ancestors().skip(1).take_while(|above| above.starts_with(slot.root()));
            self.folders.extend(above.map(PathBuf::from));
        }
        self.folders.insert(folder);
    }

    /// Makes all of it durable, but for what can be made anew. One `fdatasync` for each file; where they are many, the
    /// file system as a whole, which commits once what would be a commit for each.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn sync(&mut self) -> Result<(), DiskError> {
        let Dirty { files, aside, folders, .. } = self.take();
        let some = aside.first().or_else(|| files.values().next().map(|(slot, _)| slot));
        let many = some.filter(|_| files.len() + aside.len() + folders.len() > FEW).map(|slot| slot.ground().clone());
        if let Some(ground) = &many {
            ground.sync_all()?;
        }
        for slot in &aside {
            if many.is_none()
                && let Some(file) = slot.file()?
            {
                slot.sync(&file)?;
            }
            slot.take_name()?;
        }
        match many {
            // The files are durable by then, their new names are not.
            Some(_) if aside.is_empty() && folders.is_empty() => Ok(()),
            Some(ground) => ground.sync_all(),
            None => {
                files.values().try_for_each(|(slot, file)| slot.sync(file))?;
                folders.iter().try_for_each(|folder| sync_folder(folder))
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.aside.is_empty() && self.folders.is_empty()
    }

    /// Takes what somebody has to do even if the lane is never synced: names that files wait for.
    pub(super) fn take_names(&mut self) -> Dirty {
        Dirty { aside: std::mem::take(&mut self.aside), folders: std::mem::take(&mut self.folders), ..Dirty::default() }
    }

    /// Takes what a sync of the lane covers.
    pub(super) fn take(&mut self) -> Dirty {
        Dirty { files: std::mem::take(&mut self.files), ..self.take_names() }
    }
}

/// Makes a folder's entries durable; one that is gone has none.
pub(super) fn sync_folder(folder: &std::path::Path) -> Result<(), DiskError> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(trouble(folder, "fsync", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
