//! What quorum packets carry inside, from a strange keeper: what is understood must survive writing and reading.
#![no_main]

use bytes::Bytes;
use glasshouse_core::api::quorum::{
    Activate, ForwardedRequest, LearnerInfo, Revalidate, Revalidated, decode_ack_epoch, decode_leader_info,
    decode_touches, encode_touches,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let data = Some(Bytes::copy_from_slice(bytes));
    let data = data.as_ref();
    if let Ok(read) = LearnerInfo::decode(data) {
        assert_eq!(LearnerInfo::decode(Some(&read.encode())), Ok(read));
    }
    if let Ok(read) = ForwardedRequest::decode(data) {
        assert_eq!(ForwardedRequest::decode(Some(&read.encode())), Ok(read));
    }
    if let Ok(read) = Revalidate::decode(data) {
        assert_eq!(Revalidate::decode(Some(&read.encode())), Ok(read));
    }
    if let Ok(read) = Revalidated::decode(data) {
        assert_eq!(Revalidated::decode(Some(&read.encode())), Ok(read));
    }
    if let Ok(read) = Activate::decode(data) {
        assert_eq!(Activate::decode(Some(&read.encode())), Ok(read));
    }
    if let Ok(read) = decode_touches(data) {
        assert_eq!(decode_touches(Some(&encode_touches(&read))), Ok(read));
    }
    let _ = (decode_leader_info(data), decode_ack_epoch(data));
});
