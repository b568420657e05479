//! A node's folder on a real disk, under the core's storage code.

use glasshouse_core::api::storage::Lane;
use glasshouse_core::id::NodeId;
use glasshouse_core::record::offset::Position;
use glasshouse_core::store::disk::{Disk, DiskError, Extent, FileId, FileName};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

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

/// Called by the sync thread when it is done with a lane.
pub type Done = Arc<dyn Fn(Lane, Result<(), DiskError>) + Send + Sync>;

/// See the module.
#[derive(Debug)]
pub struct FileDisk {}

impl FileDisk {
    /// Takes the folder: makes it, locks it against a second process, checks whose it is, starts the sync thread.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn open(_folder: &Path, _identity: &Identity, _hold: Hold, _done: Done) -> Result<FileDisk, String> {
        unimplemented!("FileDisk is being written")
    }

    /// Everything is durable when it returns, as before an orderly stop.
    ///
    /// # Errors
    /// Of the disk.
    pub fn sync_everything(&mut self) -> Result<(), DiskError> {
        self.sync_all()
    }
}

#[expect(unused_variables, reason = "being written")]
impl Disk for FileDisk {
    fn open(&mut self, lane: &Lane, name: &str) -> FileId {
        unimplemented!()
    }
    fn append(&mut self, file: FileId, parts: &[Bytes]) -> Position {
        unimplemented!()
    }
    fn truncate(&mut self, file: FileId, to: Position) {}
    fn replace(&mut self, lane: &Lane, name: &str, contents: &[Bytes]) {}
    fn remove(&mut self, lane: &Lane, name: &str) {}
    fn flush(&mut self) -> Result<(), DiskError> {
        unimplemented!()
    }
    fn begin_sync(&mut self, lane: &Lane) {}
    fn end_sync(&mut self, lane: &Lane) {}
    fn sync_all(&mut self) -> Result<(), DiskError> {
        unimplemented!()
    }
    fn read(&self, extent: Extent) -> Result<Bytes, DiskError> {
        unimplemented!()
    }
    fn end(&self, file: FileId) -> Position {
        unimplemented!()
    }
    fn list(&self) -> Vec<(FileName, Position)> {
        unimplemented!()
    }
    fn exists(&self, name: &str) -> bool {
        unimplemented!()
    }
}
