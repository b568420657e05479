//! A segment of a partition's log: whatever is in it, what is recovered is a beginning of the file, and recovering that
//! again gives the same.
#![no_main]

use bytes::Bytes;
use glasshouse_core::id::LeaderEpoch;
use glasshouse_core::record::offset::Offset;
use glasshouse_core::store::segments::recover::recover_segment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = Bytes::copy_from_slice(bytes);
    for sums in [true, false] {
        let recovered = recover_segment(&file, Offset::ZERO, None, LeaderEpoch::NONE, sums);
        assert!(recovered.end <= file.len() as u64, "recovered up to {} of {}", recovered.end, file.len());
        let again = recover_segment(&file.slice(..recovered.end as usize), Offset::ZERO, None, LeaderEpoch::NONE, sums);
        assert_eq!((again.end, again.batches.len()), (recovered.end, recovered.batches.len()));
    }
});
