//! A frame from a strange keeper; the first byte chooses what was asked, with xid 0.
#![no_main]

use bytes::Bytes;
use glasshouse_core::api::keeper::body::decode_body;
use glasshouse_core::api::keeper::{Op, Request};
use glasshouse_core::codec::Reader;
use glasshouse_core::wire::keeper::{ClientCodec, encode_reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [code, frame @ ..] = bytes else { return };
    let mut codec = ClientCodec::default();
    // 0 leaves the codec waiting for the answer to its connect record.
    if *code > 0 {
        let mut connected = vec![0; 36];
        connected[19] = 16;
        codec.decode(Bytes::from(connected)).unwrap();
        let op = decode_body(i32::from(*code), &mut Reader::new(Bytes::from_static(&[0; 64])));
        codec.encode(&Request::Op { xid: 0, op: op.unwrap_or(Op::Multi(Vec::new())) });
    }
    if let Ok(reply) = codec.clone().decode(Bytes::copy_from_slice(frame)) {
        assert_eq!(codec.decode(encode_reply(&reply)), Ok(reply));
    }
});
