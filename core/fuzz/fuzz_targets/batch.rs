//! A set of record batches, as a producer or a leader sends it: its records, and what its control batches say.
#![no_main]

use bytes::Bytes;
use glasshouse_core::record::batch::{batches, fetched, validate_produced};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let set = Bytes::copy_from_slice(bytes);
    for batch in batches(set.clone()).map_while(Result::ok) {
        let _ = (batch.verify(), batch.marker());
        if let Ok(records) = batch.records() {
            for record in records.map_while(Result::ok) {
                assert!(record.offset >= batch.header.base, "a record at {} before its batch", record.offset);
            }
        }
    }
    let _ = (validate_produced(&set), fetched(set));
});
