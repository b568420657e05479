//! What was removed and still takes up room. A file is unlinked in milliseconds, where the file system is busy, and a
//! log has many: so the thread that decides only renames, one folder for a whole log, and another thread unlinks.
//!
//! A log's folder becomes `<topic>-<partition>.<unique>-delete`, a single file of a log `<name>.deleted`, as with Kafka.
//! Neither is what it was any more, whatever crashes: a start gives what it finds of them back here. Nobody waits for the
//! thread, not even an orderly stop.

use super::Done;
use super::act::sync_folder;
use super::faults::Faults;
use super::folder::Lock;
use super::sync::STACK;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::store::small_file::partition_of;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the names of folders end with whose logs are deleted.
const FOLDER: &str = "-delete";
/// What the names of files end with that were removed.
const FILE: &str = ".deleted";
/// Digits that tell two deleted logs of the same name apart.
const UNIQUE: usize = 32;
/// Bytes of a file's name that file systems take.
const LONGEST_NAME: usize = 255;

/// Something that is to be unlinked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    File(PathBuf),
    /// With all that is in it.
    Folder(PathBuf),
}

/// See the module.
pub(super) struct Waste {
    shared: Arc<Shared>,
    seed: u64,
    count: AtomicU64,
}

struct Shared {
    heap: Mutex<Heap>,
    root: PathBuf,
    faults: Arc<Faults>,
    done: Done,
    name: String,
    /// The folder is free for another process when nobody changes it any more.
    _lock: Arc<Lock>,
}

#[derive(Debug, Default)]
struct Heap {
    pieces: Vec<Piece>,
    /// A thread is at it.
    worked: bool,
    stopped: bool,
}

impl Waste {
    /// Of a node's folder. `seed` is chance, so that no two starts give the same name.
    pub(super) fn new(
        root: PathBuf,
        seed: u64,
        name: String,
        faults: Arc<Faults>,
        done: Done,
        lock: Arc<Lock>,
    ) -> Waste {
        let shared = Shared { heap: Mutex::default(), root, faults, done, name, _lock: lock };
        Waste { shared: Arc::new(shared), seed, count: AtomicU64::new(0) }
    }

    /// The path that the folder of a deleted log gets.
    pub(super) fn path_of_log(&self, log: &str) -> PathBuf {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.shared.root.join(deleted_log(log, &format!("{:016x}{count:016x}", self.seed)))
    }

    /// Gives pieces to the thread, which is started if need be.
    pub(super) fn give(&self, pieces: impl IntoIterator<Item = Piece>) {
        let mut heap = self.shared.heap();
        heap.pieces.extend(pieces);
        if heap.pieces.is_empty() || heap.worked || heap.stopped {
            return;
        }
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(shared.name.clone()).stack_size(STACK);
        // Without a thread it stays for the next one, or for the next start.
        heap.worked = thread.spawn(move || shared.work()).is_ok();
    }

    /// What is not unlinked then is left for the next start.
    pub(super) fn stop(&self) {
        let mut heap = self.shared.heap();
        heap.stopped = true;
        heap.pieces.clear();
    }
}

impl std::fmt::Debug for Waste {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waste").field("heap", &self.shared.heap).finish_non_exhaustive()
    }
}

impl Shared {
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life: it ends when nothing is left.
    fn work(&self) {
        loop {
            let pieces = {
                let mut heap = self.heap();
                heap.worked = !heap.stopped && !heap.pieces.is_empty();
                if !heap.worked {
                    return;
                }
                std::mem::take(&mut heap.pieces)
            };
            // A log must not lose its files before it has lost its name: half of one would be a log without a beginning.
            if pieces.iter().any(|piece| matches!(piece, Piece::Folder(_)))
                && let Err(error) = sync_folder(&self.root)
            {
                // An fsync tells its failure once, and nobody else would hear of it.
                return (self.done)(Lane::Checkpoint, Err(error));
            }
            for piece in &pieces {
                if self.heap().stopped {
                    return;
                }
                // It is no log and no part of one: the next start tries again.
                if let Err(error) = self.unlink(piece) {
                    tracing::warn!("{}: what was removed stays on the disk: {error}", self.name);
                }
            }
        }
    }

    fn unlink(&self, piece: &Piece) -> io::Result<()> {
        let folder = match piece {
            Piece::File(file) => return self.unlink_file(file),
            Piece::Folder(folder) => folder,
        };
        for entry in fs::read_dir(folder)? {
            if self.heap().stopped {
                return Ok(());
            }
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                self.unlink_file(&entry.path())?;
            }
        }
        match fs::remove_dir(folder) {
            // Somebody has put it elsewhere, and left a link.
            Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(folder),
            result => result,
        }
    }

    fn unlink_file(&self, file: &Path) -> io::Result<()> {
        match self.faults.unlink().and_then(|()| fs::remove_file(file)) {
            // Its folder was removed as a whole, or another was put in its place and is gone as well.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// What the folder of a log is called once it is deleted; a long topic's name is cut.
fn deleted_log(log: &str, unique: &str) -> String {
    let (topic, partition) = log.rsplit_once('-').unwrap_or((log, ""));
    let rest = format!("-{partition}.{unique}{FOLDER}");
    let topic = &topic[..topic.len().min(LONGEST_NAME - rest.len())];
    format!("{topic}{rest}")
}

/// Whether this is the folder of a log that was deleted. No log's own folder is: those end with a number.
pub(super) fn is_deleted_log(folder: &str) -> bool {
    let told = folder.strip_suffix(FOLDER).and_then(|folder| folder.rsplit_once('.'));
    told.is_some_and(|(log, unique)| {
        let hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        unique.len() == UNIQUE && unique.bytes().all(hex) && partition_of(log).is_some()
    })
}

/// The path that a file gets when it is removed.
pub(super) fn deleted_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(FILE);
    name.into()
}

/// Whether this is a file of a log that was removed, by its path below the node's folder.
pub(super) fn is_deleted_file(name: &str) -> bool {
    let told = name.strip_suffix(FILE).and_then(|name| name.split_once('/'));
    told.is_some_and(|(folder, file)| partition_of(folder).is_some() && !file.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_deleted_logs_are_told_from_all_others() {
        let unique = "0123456789abcdef0123456789abcdef";
        for log in ["orders-0", "a.b-c_d-12", "-delete-3"] {
            let deleted = deleted_log(log, unique);
            assert_eq!(deleted, format!("{log}.{unique}-delete"));
            assert!(is_deleted_log(&deleted), "{deleted}");
            assert_eq!(partition_of(&deleted), None);
            // The log of a topic that is called like it.
            assert!(!is_deleted_log(&format!("{deleted}-0")));
        }
        let long = format!("{}-2147483647", "t".repeat(249));
        let deleted = deleted_log(&long, unique);
        assert_eq!(deleted.len(), LONGEST_NAME);
        assert!(is_deleted_log(&deleted) && deleted.ends_with(&format!("t-2147483647.{unique}-delete")));
        for other in [
            "orders-0",
            "orders-delete",
            "orders-0-delete",
            "version-2",
            "orders-0.0123456789abcdef0123456789abcde-delete",
            "orders-0.0123456789ABCDEF0123456789abcdef-delete",
            "orders-0.0123456789abcdef0123456789abcdef",
            "orders.0123456789abcdef0123456789abcdef-delete",
            "-0.0123456789abcdef0123456789abcdef-delete",
        ] {
            assert!(!is_deleted_log(other), "{other}");
        }
    }

    #[test]
    fn files_that_were_removed_are_told_from_all_others() {
        let removed = deleted_file(Path::new("orders-0/00000000000000000000.log"));
        assert_eq!(removed, Path::new("orders-0/00000000000000000000.log.deleted"));
        assert!(is_deleted_file(removed.to_str().unwrap()));
        for other in
            ["orders-0/0.log", "orders.deleted", "orders-0/deleted", "orders-0/a/b.deleted", "version/b.deleted"]
        {
            assert!(!is_deleted_file(other), "{other}");
        }
    }
}
