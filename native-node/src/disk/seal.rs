//! Checksums for the small files that have none in their formats: epochs, checkpoints, `meta.properties`. A flipped bit
//! would turn one epoch into another, so each carries its length and checksum beside its contents, as an extended
//! attribute, where Apache's tools do not stumble over it. On a file system without such attributes nothing is compared.

use super::act::is_derived;
use super::bytes_at;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

const ATTRIBUTE: &str = "user.glasshouse.seal";
/// Longer files are snapshots, which end with a seal of their own.
const LONGEST: u64 = 64 * 1024;

/// Whether a file of this name can do without: logs, indexes and snapshots tell by themselves when they are damaged.
fn tells_itself(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    is_derived(file) || file.ends_with(".log") || file.starts_with("log.") || is_snapshot(file)
}

fn is_snapshot(file: &str) -> bool {
    file.ends_with(".snapshot") || (file.starts_with("snapshot.") && file != "snapshot.replaces")
}

/// Seals a file that was written and has not got its name yet.
///
/// # Errors
/// Of the disk; not that it knows no attributes.
pub(super) fn put(file: &File, name: &str, len: u64, sum: u32) -> io::Result<()> {
    if len > LONGEST || tells_itself(name) {
        return Ok(());
    }
    match fsetxattr(file, ATTRIBUTE, format!("{len}-{sum:08x}").as_bytes(), XattrFlags::empty()) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether a file holds what it was sealed with; true of one without a seal.
///
/// # Errors
/// Of the disk.
pub(super) fn holds(path: &Path, name: &str) -> io::Result<bool> {
    if tells_itself(name) {
        return Ok(true);
    }
    let file = File::open(path)?;
    let mut seal = [0; 32];
    let Ok(read) = fgetxattr(&file, ATTRIBUTE, &mut seal[..]) else { return Ok(true) };
    let len = file.metadata()?.len();
    if len > LONGEST {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    let there = bytes_at::read(&file, 0, len as usize, &mut bytes)?;
    Ok(there && seal[..read] == *format!("{len}-{:08x}", crc32c::crc32c(&bytes)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_checksum_of_their_own_are_sealed() {
        for sealed in
            ["version-2/acceptedEpoch", "meta.properties", "orders-0/partition.metadata", "version-2/snapshot.replaces"]
        {
            assert!(!tells_itself(sealed), "{sealed}");
        }
        for other in ["version-2/log.100000001", "version-2/snapshot.5", "orders-0/00000000000000000000.log"] {
            assert!(tells_itself(other), "{other}");
        }
    }
}
