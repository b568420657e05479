//! Storage from outside: Apache's own files read and written again, and the suite that every disk passes.

mod conformance;
mod damage;
mod file;
mod kafka;
mod keeper;
mod outage;
mod rot;
mod scratch;
mod waste;

use bytes::Bytes;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::sim::disk::SimDisk;
use glasshouse_core::store::disk::Disk;
use std::path::{Path, PathBuf};

fn vectors(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(below)
}

/// A simulated disk with the files of a folder on it, all durable. Texts that describe them are left out.
fn disk_of(folder: &Path) -> SimDisk {
    fn put(disk: &mut SimDisk, root: &Path, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                put(disk, root, &path);
            } else if !name.ends_with(".txt") {
                disk.replace(&Lane::Checkpoint, &name, &[Bytes::from(std::fs::read(&path).unwrap())]);
            }
        }
    }
    let mut disk = SimDisk::new();
    put(&mut disk, folder, folder);
    disk.flush().unwrap();
    disk.begin_sync(&Lane::Checkpoint);
    disk.end_sync(&Lane::Checkpoint);
    disk
}
