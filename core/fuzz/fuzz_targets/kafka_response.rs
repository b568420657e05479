//! A response from a strange broker; the first two bytes choose what was asked.
#![no_main]

use bytes::Bytes;
use glasshouse_core::api::kafka::ApiKey;
use glasshouse_core::wire::kafka::{decode_response, encode_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [key, version, frame @ ..] = bytes else { return };
    let Some(key) = ApiKey::from_code(i16::from(*key)) else { return };
    let version = i16::from(*version);
    if let Ok((correlation, version, body)) = decode_response(key, version, Bytes::copy_from_slice(frame)) {
        let again = decode_response(key, version, encode_response(version, correlation, &body));
        assert_eq!(again, Ok((correlation, version, body)));
    }
});
