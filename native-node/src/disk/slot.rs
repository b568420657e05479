//! One file of a node's folder: whether it is there yet, under which name, and its handle while it is open.
//!
//! A file that replaces another is written aside first, as `<name>.<number>-<length>-<checksum>.new`, and takes its name
//! once its bytes are durable. So a reader finds the old contents or the new ones whole; and since such a name tells
//! what the file must hold, a start after a crash of the process finishes what was written, and after a power loss
//! throws away what was torn.

use super::faults::Faults;
use super::waste::{Piece, Waste, deleted_file};
use super::{bytes_at, seal};
use bytes::Bytes;
use glasshouse_core::store::disk::{DiskError, FileId, FileName};
use glasshouse_core::store::small_file::PARTITION_METADATA;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the names of files end with that have not taken their own yet.
const ASIDE: &str = ".new";

/// The folder that a node's files lie in.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) root: PathBuf,
    /// Open from the start: what of the file system could not be written back since, a sync of it all reports here.
    folder: File,
    pub(super) faults: Arc<Faults>,
    pub(super) waste: Waste,
    /// Held by whoever changes what a name means.
    names: Mutex<()>,
    aside: AtomicU64,
}

impl Ground {
    /// # Errors
    /// The folder cannot be opened.
    pub(super) fn new(root: PathBuf, faults: Arc<Faults>, waste: Waste) -> io::Result<Ground> {
        let folder = File::open(&root)?;
        Ok(Ground { root, folder, faults, waste, names: Mutex::new(()), aside: AtomicU64::new(0) })
    }

    /// Makes the whole file system durable in one go, where there are too many files to sync each.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn sync_all(&self) -> Result<(), DiskError> {
        self.faults.sync_all(&self.folder).map_err(|error| trouble(&self.root, "syncfs", &error))
    }

    /// Removes a log's folder, which is below the root, with everything in it: from now on it has another name, and
    /// another thread unlinks the files. Those with a slot are these.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn remove_log(&self, log: &str, slots: &[Arc<Slot>]) -> Result<(), DiskError> {
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().for_each(|slot| slot.lose());
        let (path, deleted) = (self.root.join(log), self.waste.path_of_log(log));
        match fs::rename(&path, &deleted) {
            Ok(()) => self.waste.give([Piece::Folder(deleted)]),
            // It never came to be.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // A full disk has no room for another name either. What a crash leaves without this file is no log.
            Err(_) => {
                unlink(&path.join(PARTITION_METADATA))?;
                fs::remove_dir_all(&path).map_err(|error| trouble(&path, "removing", &error))?;
            }
        }
        Ok(())
    }

    /// Removes a file: now, or by another name and another thread.
    fn discard(&self, path: &Path, at_once: bool) -> Result<(), DiskError> {
        if at_once {
            return unlink(path);
        }
        let deleted = deleted_file(path);
        match fs::rename(path, &deleted) {
            Ok(()) => self.waste.give([Piece::File(deleted)]),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return unlink(path),
        }
        Ok(())
    }
}

/// One file, under one name. A file that comes to be under the same name later has another slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: FileId,
    pub(super) name: FileName,
    ground: Arc<Ground>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    place: Place,
    file: Option<Arc<File>>,
    /// Tells the file from another that has its name now.
    inode: u64,
}

#[derive(Debug)]
enum Place {
    /// Not on the disk yet.
    Nowhere,
    /// Written, but the name is still that of the one it replaces.
    Aside { path: PathBuf, over: Option<Arc<Slot>> },
    /// Under its name.
    Here,
    /// Removed, or replaced.
    Gone,
}

impl Slot {
    /// A file that is to be made.
    pub(super) fn new(id: FileId, name: FileName, ground: Arc<Ground>) -> Slot {
        Slot { id, name, ground, state: Mutex::new(State { place: Place::Nowhere, file: None, inode: 0 }) }
    }

    /// A file that lies in the folder.
    pub(super) fn found(id: FileId, name: FileName, inode: u64, ground: Arc<Ground>) -> Slot {
        Slot { id, name, ground, state: Mutex::new(State { place: Place::Here, file: None, inode }) }
    }

    pub(super) fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// The node's folder.
    pub(super) fn root(&self) -> &Path {
        &self.ground.root
    }

    pub(super) fn path(&self) -> PathBuf {
        self.ground.root.join(&*self.name)
    }

    /// The folder it lies in.
    pub(super) fn folder(&self) -> PathBuf {
        self.path().parent().map_or_else(|| self.ground.root.clone(), Path::to_path_buf)
    }

    /// Whether it lies in this folder, or below it.
    pub(super) fn is_below(&self, folder: &str) -> bool {
        self.name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Why something could not be done with it.
    pub(super) fn trouble(&self, doing: &str, error: &io::Error) -> DiskError {
        trouble(&self.path(), doing, error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its handle, opened if need be; `None` if it is not on the disk, or no longer.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn file(&self) -> Result<Option<Arc<File>>, DiskError> {
        let mut state = self.state();
        match (&state.place, &state.file) {
            (Place::Gone | Place::Nowhere, _) => Ok(None),
            (_, Some(file)) => Ok(Some(file.clone())),
            (Place::Here | Place::Aside { .. }, None) => {
                let opened = OpenOptions::new().read(true).write(true).open(self.path());
                let file = Arc::new(opened.map_err(|error| self.trouble("opening", &error))?);
                state.file = Some(file.clone());
                Ok(Some(file))
            }
        }
    }

    /// Closes its handle, if it can be opened again. Returns whether it is closed.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        match state.place {
            Place::Aside { .. } => false,
            Place::Nowhere | Place::Here | Place::Gone => {
                state.file = None;
                true
            }
        }
    }

    /// Writes all parts from `at` on.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn write(&self, file: &File, at: u64, parts: &[Bytes]) -> Result<(), DiskError> {
        self.ground.faults.write(file, at, parts).map_err(|error| self.trouble("writing", &error))
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn sync(&self, file: &File) -> Result<(), DiskError> {
        self.ground.faults.sync(file).map_err(|error| self.trouble("fdatasync", &error))
    }

    /// Makes the file, empty.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn create(&self) -> Result<(), DiskError> {
        let _names = self.ground.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        if matches!(state.place, Place::Gone) {
            return Ok(());
        }
        let path = self.path();
        // What is there still belongs to another file, whose removal another lane has not got round to.
        let made = self.ground.faults.room().and_then(|()| make(&path));
        let (file, _) = made.map_err(|error| trouble(&path, "creating", &error))?;
        state.inode = file.metadata().map_err(|error| trouble(&path, "creating", &error))?.ino();
        state.file = Some(Arc::new(file));
        state.place = Place::Here;
        Ok(())
    }

    /// Writes its contents beside the file it is to replace. Returns its handle and whether folders had to be made;
    /// `None` if it was removed meanwhile.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn write_aside(
        &self,
        contents: &[Bytes],
        old: Option<&Arc<Slot>>,
    ) -> Result<Option<(Arc<File>, bool)>, DiskError> {
        let mut sum = 0;
        for part in contents {
            sum = crc32c::crc32c_append(sum, part);
        }
        let len: u64 = contents.iter().map(|part| part.len() as u64).sum();
        let number = self.ground.aside.fetch_add(1, Ordering::Relaxed);
        let path = self.ground.root.join(format!("{}.{number}-{len}-{sum:08x}{ASIDE}", self.name));
        let faults = &self.ground.faults;
        let made = make(&path).and_then(|(file, folders)| faults.write(&file, 0, contents).map(|()| (file, folders)));
        let (file, folders) = made.map_err(|error| trouble(&path, "writing", &error))?;
        seal::put(&file, &self.name, len, sum).map_err(|error| trouble(&path, "sealing", &error))?;
        let file = Arc::new(file);
        let _names = self.ground.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        if matches!(state.place, Place::Gone) {
            unlink(&path)?;
            return Ok(None);
        }
        let over = match old {
            Some(old) => old.step_aside()?,
            None => None,
        };
        state.inode = file.metadata().map_err(|error| trouble(&path, "writing", &error))?.ino();
        state.file = Some(file.clone());
        state.place = Place::Aside { path, over };
        Ok(Some((file, folders)))
    }

    /// Another file is about to take its name: returns the one that has the name until then.
    fn step_aside(self: &Arc<Slot>) -> Result<Option<Arc<Slot>>, DiskError> {
        let mut state = self.state();
        match std::mem::replace(&mut state.place, Place::Gone) {
            Place::Nowhere | Place::Gone => Ok(None),
            Place::Aside { path, over } => {
                state.file = None;
                unlink(&path)?;
                Ok(over)
            }
            Place::Here => {
                state.place = Place::Here;
                state.file = None;
                Ok(Some(self.clone()))
            }
        }
    }

    /// Its bytes are durable: it takes its name.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn take_name(&self) -> Result<(), DiskError> {
        let _names = self.ground.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        if let Place::Aside { path, over } = &state.place {
            fs::rename(path, self.path()).map_err(|error| trouble(path, "renaming", &error))?;
            if let Some(over) = over {
                over.state().place = Place::Gone;
            }
            state.place = Place::Here;
        }
        Ok(())
    }

    /// Removes it, if it is there; what takes time of that is left to another thread unless it is to be done at once.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn remove(&self, at_once: bool) -> Result<(), DiskError> {
        let _names = self.ground.names.lock().unwrap_or_else(PoisonError::into_inner);
        self.unname(at_once)
    }

    fn unname(&self, at_once: bool) -> Result<(), DiskError> {
        let mut state = self.state();
        state.file = None;
        match std::mem::replace(&mut state.place, Place::Gone) {
            Place::Nowhere | Place::Gone => Ok(()),
            Place::Aside { path, over } => {
                unlink(&path)?;
                over.map_or(Ok(()), |over| over.unname(at_once))
            }
            Place::Here => {
                let path = self.path();
                // Another lane may have given the name to another file already.
                let mine = fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == state.inode);
                if mine { self.ground.discard(&path, at_once) } else { Ok(()) }
            }
        }
    }

    /// Its folder is removed, whatever is in it.
    fn lose(&self) {
        let mut state = self.state();
        state.file = None;
        if let Place::Aside { over: Some(over), .. } = std::mem::replace(&mut state.place, Place::Gone) {
            over.lose();
        }
    }
}

/// Makes a new file in the place of whatever has its name, and the folders above it if need be; returns whether there
/// was need.
fn make(path: &Path) -> io::Result<(File, bool)> {
    let mut folders = false;
    loop {
        match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
            Ok(file) => return Ok((file, folders)),
            Err(error) if error.kind() == ErrorKind::NotFound && !folders => {
                fs::create_dir_all(path.parent().unwrap_or(path))?;
                folders = true;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
}

fn unlink(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(trouble(path, "removing", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A file that was to replace another when the process ended, if its name says so.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) number: u64,
    pub(super) name: String,
    len: u64,
    sum: u32,
}

impl Leftover {
    pub(super) fn parse(file: &str) -> Option<Leftover> {
        let (name, told) = file.strip_suffix(ASIDE)?.rsplit_once('.')?;
        let mut told = told.split('-');
        let number = told.next()?.parse().ok()?;
        let len = told.next()?.parse().ok()?;
        let sum = u32::from_str_radix(told.next()?, 16).ok()?;
        told.next().is_none().then(|| Leftover { number, name: name.to_owned(), len, sum })
    }

    /// Gives the file the name it was written for if it holds what it should, and throws it away otherwise. Returns
    /// whether it stayed.
    pub(super) fn finish(&self, path: &Path, target: &Path) -> io::Result<bool> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        let long = file.metadata()?.len() >= self.len;
        let whole =
            long && bytes_at::read(&file, 0, self.len as usize, &mut bytes)? && crc32c::crc32c(&bytes) == self.sum;
        if whole {
            fs::rename(path, target)?;
        } else {
            fs::remove_file(path)?;
        }
        Ok(whole)
    }
}

/// A misfortune in the words of the operator.
pub(super) fn trouble(path: &Path, doing: &str, error: &io::Error) -> DiskError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskError::Full,
        _ => DiskError::Io(format!("{}: {doing} failed: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_spent_quota_are_told_apart_from_the_rest() {
        let told = |errno: i32| trouble(Path::new("/data/x.log"), "writing", &io::Error::from_raw_os_error(errno));
        assert_eq!(told(28), DiskError::Full, "ENOSPC");
        assert_eq!(told(122), DiskError::Full, "EDQUOT");
        let DiskError::Io(why) = told(5) else { panic!("EIO is no full disk") };
        assert!(why.starts_with("/data/x.log: writing failed: "), "{why}");
    }

    #[test]
    fn names_aside_are_read_as_they_are_written() {
        let read = Leftover::parse("orders-0/leader-epoch-checkpoint.12-34-0000abcd.new").unwrap();
        assert_eq!((read.number, read.len, read.sum), (12, 34, 0xabcd));
        assert_eq!(read.name, "orders-0/leader-epoch-checkpoint");
        for other in ["orders-0/00000000000000000000.log", "a.new", "a.1-2.new", "a.1-2-zz.new", "a.1-2-3-4.new"] {
            assert!(Leftover::parse(other).is_none(), "{other}");
        }
    }
}
