//! Folders for tests, below the system's temporary one. They go when a test has passed; one that failed leaves them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of a test's own.
pub struct Scratch {
    folder: PathBuf,
    made: AtomicU32,
}

impl Scratch {
    /// Makes an empty one.
    pub fn new(test: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("glasshouse-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Scratch { folder, made: AtomicU32::new(0) }
    }

    /// The path of a new folder in it, which is not made yet.
    pub fn next(&self) -> PathBuf {
        self.folder.join(self.made.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A copy of a folder, with the attributes of its files.
    pub fn copy(&self, of: &Path) -> PathBuf {
        let copy = self.next();
        let copied = std::process::Command::new("cp").arg("-a").args([of, &copy]).status().unwrap();
        assert!(copied.success(), "{} cannot be copied", of.display());
        copy
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Every file below a folder, as a path from there, in order.
pub fn files_below(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                into.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, folder, &mut names);
    names.sort_unstable();
    names
}
