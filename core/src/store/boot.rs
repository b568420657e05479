//! From a disk to everything a node needs to start: what is there, what was cut and why, or why it cannot start.
//!
//! Two rules decide about damage. What a broker had not synced may be torn: its log is cut at the first bad batch and
//! the ISR makes up for it; below its recovery point the ISR is asked first. A keeper has promised what it acknowledged:
//! its journal may be cut only where nothing good follows, for a power loss tears the end and never the middle; anything
//! else is refused, with file and position.
//!
//! And one about promises: a process that crashed leaves bytes that only the page cache holds. A keeper that voted on
//! them, or a replica that counted them, and then lost power would have promised what it no longer has. So whatever
//! recovery found is made durable before the machine sees it.

mod broker;
mod keeper;

use super::Store;
use super::disk::Disk;
use crate::api::storage::Refused;

impl<D: Disk> Store<D> {
    /// Makes what recovery found, and what it mended, durable.
    fn settle(&mut self) -> Result<(), Refused> {
        let refuse =
            |error: super::disk::DiskError| Refused { file: "the disk".into(), at: None, why: error.to_string() };
        self.disk.sync_all().map_err(refuse)
    }
}
