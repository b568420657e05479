//! An election notification from a strange keeper: what is understood must survive writing and reading.
#![no_main]

use bytes::Bytes;
use glasshouse_core::wire::keeper::quorum::{decode_notification, encode_notification};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = decode_notification(Bytes::copy_from_slice(bytes)) {
        assert_eq!(decode_notification(encode_notification(&read)), Ok(read));
    }
});
