//! A frame of a link between brokers: a request of the other end, or its answer to one of ours. What is understood must
//! survive writing and reading.
#![no_main]

use bytes::Bytes;
use glasshouse_core::api::kafka::{AlterPartitionRequest, FetchRequest};
use glasshouse_core::api::peer::PeerMessage;
use glasshouse_core::wire::link::LinkCodec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut end = LinkCodec::default();
    end.encode(&PeerMessage::Request { correlation: 0, request: FetchRequest::default().into() });
    end.encode(&PeerMessage::Request { correlation: 1, request: AlterPartitionRequest::default().into() });
    if let Ok(read) = end.clone().decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(end.decode(LinkCodec::default().encode(&read)), Ok(read));
    }
});
