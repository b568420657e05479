//! What storage code asks of a disk: a few verbs on append-only files and on small files that are replaced whole.
//!
//! Three cursors on what was written, `durable ≤ submitted ≤ accepted`: [`append`](Disk::append) accepts (our own
//! reads see it), [`flush`](Disk::flush) submits (it survives a crash of the process), and a sync that the host has
//! reported complete makes durable (it survives a loss of power). Nothing here knows what the bytes mean.

use crate::api::storage::Lane;
use crate::record::offset::Position;
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

/// An open file. Never a name: a file that is replaced or removed and made again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// A path below the node's folder, with `/` between its parts: `orders-0/00000000000000000000.log`.
pub type FileName = Arc<str>;

/// A run of bytes of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    pub file: FileId,
    pub at: Position,
    pub len: u64,
}

/// A host's misfortune with its disk. The node stops: nobody knows what is on it now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DiskError {
    Full,
    /// The file is gone, or shorter than what was asked for.
    ShortRead {
        file: FileId,
        at: Position,
        len: u64,
    },
    /// Anything else, in the words of the host.
    Io(String),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskError::Full => f.write_str("the disk is full"),
            DiskError::ShortRead { file, at, len } => {
                write!(f, "{len} bytes at {at} of open file {} are not there", file.0)
            }
            DiskError::Io(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DiskError {}

/// The disk of one node. Writes cannot fail where they are made; what went wrong is told by [`flush`](Disk::flush).
///
/// Every file belongs to the lane it was opened or written through; a sync of a lane covers its files, names included.
pub trait Disk {
    /// Opens a file, or makes an empty one. Files of a lane keep it when a node opens them again after a start.
    fn open(&mut self, lane: &Lane, name: &str) -> FileId;
    /// Adds to the end; returns where the first part begins. Our own reads see it at once.
    fn append(&mut self, file: FileId, parts: &[Bytes]) -> Position;
    /// Shortens the file to `to`, which it must reach.
    fn truncate(&mut self, file: FileId, to: Position);
    /// Gives `name` new contents: a reader finds the old or the new ones whole, whatever crashes. On `Lane::Journal` it
    /// is a barrier: it begins when everything before it in the lane is durable, and what follows waits for it.
    fn replace(&mut self, lane: &Lane, name: &str, contents: &[Bytes]);
    /// Removes a file, if it is there. Who has it open may read on, or find it short.
    fn remove(&mut self, lane: &Lane, name: &str);
    /// Submits everything accepted. After an error the node must stop.
    ///
    /// # Errors
    /// Of anything written since the last flush.
    fn flush(&mut self) -> Result<(), DiskError>;
    /// Starts to make durable what the lane has submitted. One sync of a lane at a time.
    fn begin_sync(&mut self, lane: &Lane);
    /// The host says that the sync of this lane is complete.
    fn end_sync(&mut self, lane: &Lane);
    /// Makes everything durable before it returns. A start does this once: a process that crashed leaves bytes that only
    /// the page cache holds, and whoever recovers them is about to promise something on them.
    ///
    /// # Errors
    /// As [`flush`](Disk::flush).
    fn sync_all(&mut self) -> Result<(), DiskError>;
    /// Reads what was accepted.
    ///
    /// # Errors
    /// [`DiskError::ShortRead`] if the extent is not all there.
    fn read(&self, extent: Extent) -> Result<Bytes, DiskError>;
    /// Where the file ends; zero if it is gone.
    fn end(&self, file: FileId) -> Position;
    /// Every file's name and end, by name.
    fn list(&self) -> Vec<(FileName, Position)>;

    /// Whether there is a file of this name.
    fn exists(&self, name: &str) -> bool;

    /// All of a file.
    ///
    /// # Errors
    /// As [`read`](Disk::read).
    fn read_all(&self, file: FileId) -> Result<Bytes, DiskError> {
        self.read(Extent { file, at: Position(0), len: self.end(file).0 })
    }
}
