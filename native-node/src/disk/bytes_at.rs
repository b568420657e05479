//! Bytes to a place in a file and back, without a copy on the way out and without zeros on the way in.

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread, pwritev};
use std::fs::File;
use std::io::{self, IoSlice};

/// Parts that one system call takes (`IOV_MAX`).
const PARTS: usize = 1024;

/// Writes all parts, one behind the other, from `at` on.
pub(super) fn write(file: &File, mut at: u64, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let some = left.len().min(PARTS);
        match pwritev(file, &left[..some], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Adds `len` bytes from `at` on to `into`, which has room for them. False: the file is shorter.
pub(super) fn read(file: &File, mut at: u64, len: usize, into: &mut Vec<u8>) -> io::Result<bool> {
    let end = into.len() + len;
    into.reserve_exact(len);
    while into.len() < end {
        match pread(file, spare_capacity(into), at) {
            Ok(0) => return Ok(false),
            Ok(read) => at += read as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    into.truncate(end);
    Ok(true)
}
