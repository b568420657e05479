//! What a mesh link carries: one message per frame, in the encoding of the conversation it belongs to. Between keepers
//! that is ZooKeeper's own, an election notification or a quorum packet.
//!
//! On a link between brokers both sides ask, so a frame begins with one byte of ours: 0 before a Kafka request, 1 before
//! a Kafka response. Each API is spoken in its highest version; the client id is null. A response does not say what it
//! answers, so each end remembers its own questions; a new generation of the channel begins with a new codec.

use super::kafka::{self, Refused};
use super::keeper::quorum;
use crate::api::kafka::ApiKey;
use crate::api::peer::{ChannelKind, PeerMessage};
use crate::codec::{Malformed, Result, Writer};
use crate::node::KafkaRequest;
use crate::ordered::OrdMap;
use bytes::{Buf, Bytes};

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;

/// One end of a link of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkCodec {
    /// Our questions that wait for an answer, by correlation id.
    asked: OrdMap<i32, ApiKey>,
}

impl LinkCodec {
    /// Writes a message.
    pub fn encode(&mut self, message: &PeerMessage<Bytes>) -> Bytes {
        let mut writer = Writer::with_capacity(256);
        self.write(message, &mut writer);
        writer.finish()
    }

    /// As [`LinkCodec::encode`]; the writer's segments share long records.
    pub fn write(&mut self, message: &PeerMessage<Bytes>, writer: &mut Writer) {
        match message {
            PeerMessage::Request { correlation, request } => {
                self.asked.insert(*correlation, request.key());
                writer.u8(REQUEST);
                kafka::write_request_of(*correlation, request.key().max_version(), None, request, writer);
            }
            PeerMessage::Response { correlation, response } => {
                writer.u8(RESPONSE);
                kafka::write_response(response.key().max_version(), *correlation, response, writer);
            }
            PeerMessage::Election(notification) => writer.put_shared(&quorum::encode_notification(notification)),
            PeerMessage::Quorum(packet) => writer.put_shared(&quorum::encode_packet(packet)),
        }
    }

    /// Reads a message that came over a channel of this kind.
    pub fn decode_on(&mut self, kind: ChannelKind, frame: Bytes) -> Result<PeerMessage<Bytes>> {
        match kind {
            ChannelKind::Election => quorum::decode_notification(frame).map(PeerMessage::Election),
            ChannelKind::Quorum => quorum::decode_packet(frame).map(PeerMessage::Quorum),
            ChannelKind::Requests => self.decode(frame),
        }
    }

    /// Reads what came over a link between brokers: a request of the other end, or its response to one of ours.
    pub fn decode(&mut self, mut frame: Bytes) -> Result<PeerMessage<Bytes>> {
        let kind = if frame.has_remaining() { Some(frame.get_u8()) } else { None };
        match kind {
            Some(REQUEST) => match kafka::decode_request(frame) {
                Ok(KafkaRequest { correlation, body, version, .. }) if version == body.key().max_version() => {
                    Ok(PeerMessage::Request { correlation, request: body })
                }
                Ok(_) | Err(Refused::UnsupportedVersion { .. }) => {
                    Err(Malformed { at: 3, expected: "a request in its highest version" })
                }
                Err(Refused::Malformed(malformed)) => Err(malformed),
            },
            Some(RESPONSE) => {
                let correlation = frame.first_chunk().copied().map(i32::from_be_bytes);
                let Some(key) = correlation.and_then(|correlation| self.asked.remove(&correlation)) else {
                    return Err(Malformed { at: 1, expected: "the correlation id of a request of ours" });
                };
                let (correlation, _, response) = kafka::decode_response(key, key.max_version(), frame)?;
                Ok(PeerMessage::Response { correlation, response })
            }
            _ => Err(Malformed { at: 0, expected: "0 for a request, 1 for a response" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kafka::{AlterPartitionRequest, AlterPartitionResponse, ErrorCode, FetchRequest, FetchResponse};
    use crate::api::peer::{PacketType, QuorumPacket};
    use crate::id::{BrokerEpoch, BrokerId, ZabEpoch, Zxid};

    #[test]
    fn both_ends_ask_at_once_under_the_same_number() {
        let (mut left, mut right) = (LinkCodec::default(), LinkCodec::default());
        let fetch = FetchRequest::default().from_replica(BrokerId(2), BrokerEpoch(5));
        let alter = AlterPartitionRequest { broker_id: BrokerId(1), ..Default::default() };
        let fetch_asked = left.encode(&PeerMessage::Request { correlation: 1, request: fetch.into() });
        let alter_asked = right.encode(&PeerMessage::Request { correlation: 1, request: alter.clone().into() });

        let Ok(PeerMessage::Request { request: crate::api::kafka::Request::Fetch(heard), .. }) =
            right.decode(fetch_asked)
        else {
            panic!("not the Fetch that was sent")
        };
        assert_eq!(heard.replica(), Some(BrokerId(2)));
        assert_eq!(left.decode(alter_asked), Ok(PeerMessage::Request { correlation: 1, request: alter.into() }));

        // The parked Fetch is answered after the AlterPartition that came later.
        let answers = [
            PeerMessage::Response {
                correlation: 1,
                response: AlterPartitionResponse { error: ErrorCode::NOT_CONTROLLER, ..Default::default() }.into(),
            },
            PeerMessage::Response { correlation: 1, response: FetchResponse::default().into() },
        ];
        let frame = left.encode(&answers[0]);
        assert_eq!(right.decode(frame).as_ref(), Ok(&answers[0]));
        let frame = right.encode(&answers[1]);
        assert_eq!(left.decode(frame.clone()).as_ref(), Ok(&answers[1]));
        assert!(left.decode(frame).is_err(), "an answer is taken once");
    }

    #[test]
    fn each_conversation_has_its_own_encoding() {
        let packet = QuorumPacket::new(PacketType::Commit, Zxid::new(ZabEpoch(1), 2), None);
        for (kind, message) in [
            (ChannelKind::Quorum, PeerMessage::Quorum(packet)),
            (ChannelKind::Requests, PeerMessage::Request { correlation: 4, request: FetchRequest::default().into() }),
        ] {
            let mut codec = LinkCodec::default();
            let frame = codec.encode(&message);
            assert_eq!(codec.decode_on(kind, frame.clone()), Ok(message));
            assert!(codec.decode_on(ChannelKind::Election, frame).is_err());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut codec = LinkCodec::default();
        for frame in [&b""[..], b"\x02", b"\x01", b"\x01\0\0\0\x01", b"\x00", b"\x00\0\x01\0\x00\0\0\0\x01\xff\xff"] {
            assert!(codec.decode(Bytes::from_static(frame)).is_err(), "{frame:?}");
        }
    }
}
