//! A quorum packet from a strange keeper: what is understood must survive writing and reading.
#![no_main]

use bytes::Bytes;
use glasshouse_core::wire::keeper::quorum::{decode_packet, encode_packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(read) = decode_packet(Bytes::copy_from_slice(bytes)) {
        assert_eq!(decode_packet(encode_packet(&read)), Ok(read));
    }
});
