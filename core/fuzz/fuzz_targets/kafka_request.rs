//! A request from a stranger: what is understood must survive writing and reading.
#![no_main]

use bytes::Bytes;
use glasshouse_core::wire::kafka::{decode_request, encode_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode_request(Bytes::copy_from_slice(bytes)) {
        assert_eq!(decode_request(encode_request(&request)), Ok(request));
    }
});
