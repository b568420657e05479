//! A keeper's log file: whatever is in it, what is recovered is a beginning of the file, and recovering that again gives
//! the same.
#![no_main]

use bytes::Bytes;
use glasshouse_core::store::journal::frame::recover_journal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = Bytes::copy_from_slice(bytes);
    let recovered = recover_journal(&file);
    assert!(recovered.end <= file.len() as u64, "recovered up to {} of {}", recovered.end, file.len());
    let again = recover_journal(&file.slice(..recovered.end as usize));
    assert_eq!((again.end, again.frames.len()), (recovered.end, recovered.frames.len()));
});
