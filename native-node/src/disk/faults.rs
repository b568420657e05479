//! A disk that fails because a file says so: it is full, or refuses to make anything durable. For tests, which must not
//! fill somebody's disk to see what a node does then.
//!
//! Nobody comes by it by accident: the setting `faults` wants stones to be allowed, is in no help, and does nothing until
//! the file is put there. It holds one word; the disk is well again once the file is gone.

use super::bytes_at;
use bytes::Bytes;
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Nothing has room any more.
const FULL: &str = "full";
/// What is written may or may not become durable; nobody is told that it did.
const FDATASYNC: &str = "fdatasync";
/// What was removed keeps its room.
const UNLINK: &str = "unlink";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Faults {
    file: OnceLock<PathBuf>,
}

impl Faults {
    /// From now on the disk fails as this file says.
    pub(super) fn obey(&self, file: PathBuf) {
        self.file.get_or_init(|| file);
    }

    /// Writes all parts from `at` on. A full disk takes some of them, as a real one does: the end of the file is torn.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn write(&self, file: &File, at: u64, parts: &[Bytes]) -> io::Result<()> {
        if !self.say(FULL)? {
            return bytes_at::write(file, at, parts);
        }
        bytes_at::write(file, at, &first_half(parts))?;
        Err(Errno::NOSPC.into())
    }

    /// Whether there is room for a new file.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn room(&self) -> io::Result<()> {
        if self.say(FULL)? { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// `fdatasync`.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        if self.say(FDATASYNC)? { Err(Errno::IO.into()) } else { file.sync_data() }
    }

    /// `syncfs` of the file system that the folder lies in.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn sync_all(&self, folder: &File) -> io::Result<()> {
        if self.say(FDATASYNC)? { Err(Errno::IO.into()) } else { Ok(rustix::fs::syncfs(folder)?) }
    }

    /// Whether what was removed can be unlinked.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn unlink(&self) -> io::Result<()> {
        if self.say(UNLINK)? { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn say(&self, fault: &str) -> io::Result<bool> {
        let Some(file) = self.file.get() else { return Ok(false) };
        match fs::read_to_string(file) {
            Ok(said) if [FULL, FDATASYNC, UNLINK].contains(&said.trim()) => Ok(said.trim() == fault),
            Ok(other) => Err(io::Error::other(format!("{} says {other:?}, which is no fault", file.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The first half of all bytes.
fn first_half(parts: &[Bytes]) -> Vec<Bytes> {
    let mut left = parts.iter().map(Bytes::len).sum::<usize>() / 2;
    let mut half = Vec::new();
    for part in parts {
        let some = left.min(part.len());
        half.push(part.slice(..some));
        left -= some;
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_written_to_a_full_disk_is_there() {
        let parts = ["one ", "two ", "three"].map(|part| Bytes::from_static(part.as_bytes()));
        assert_eq!(first_half(&parts).concat(), b"one tw");
        assert_eq!(first_half(&[]), Vec::<Bytes>::new());
    }
}
