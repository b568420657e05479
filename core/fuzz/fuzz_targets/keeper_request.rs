//! A ZooKeeper client's frame from a stranger: what is understood must survive writing and reading. An even first byte
//! makes it the first of its connection.
#![no_main]

use bytes::Bytes;
use glasshouse_core::api::keeper::Request;
use glasshouse_core::wire::keeper::{ServerCodec, encode_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [first, frame @ ..] = bytes else { return };
    let mut codec = ServerCodec::default();
    if first % 2 == 1 {
        codec.decode(Bytes::from_static(&CONNECT)).unwrap();
    }
    match codec.clone().decode(Bytes::copy_from_slice(frame)) {
        Ok(Request::Undecodable { .. }) | Err(_) => {}
        Ok(request) => assert_eq!(codec.decode(encode_request(&request)), Ok(request)),
    }
});

/// The shortest connect record: all zero but the password's length.
const CONNECT: [u8; 44] = {
    let mut bytes = [0; 44];
    bytes[27] = 16;
    bytes
};
