//! The Kafka protocol's listener: frames in, requests to the inbox, answers out.
//!
//! Says which APIs are served over TCP, and in which versions. What the brokers ask of each other is not among them:
//! that goes over the mesh, and a stranger who asks it is sent away.

pub mod refusal;

use super::conn::{Protocol, Verdict};
use super::{Limits, listener};
use crate::inbox::Inbox;
use crate::stones::Stones;
use bytes::Bytes;
use glasshouse_core::api::kafka::{
    ApiKey, ApiVersion, ApiVersionsRequest, ApiVersionsResponse, ErrorCode, Request as Body,
};
use glasshouse_core::node::{KafkaRequest, Principal, Request, RequestBody};
use glasshouse_core::wire::kafka as wire;
use tokio::net::TcpListener;

/// What clients may ask, with the versions that ApiVersions tells them: without topic ids in Fetch, and nothing that a
/// group or transaction needs. kafkajs ignores the lowest versions, so none is above what it sends.
const SERVED: [(ApiKey, i16, i16); 10] = [
    // Below 3 the records would have to be older than the v2 batch, but librdkafka looks for 0 here (KAFKA-18659).
    (ApiKey::Produce, 0, 11),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 9),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeCluster, 0, 1),
];

/// Serves clients until the node is gone.
pub async fn serve(listener: TcpListener, inbox: Inbox, limits: Limits, stones: Stones) {
    let requests = limits.requests;
    listener::serve(listener, inbox, limits, stones, |_| Kafka { requests }).await;
}

/// Puts what this listener serves in the place of what the machine can.
pub fn advertise(response: &mut ApiVersionsResponse) {
    if response.error.is_none() {
        let served = SERVED.iter().map(|(key, min_version, max_version)| ApiVersion {
            key: key.code(),
            min_version: *min_version,
            max_version: *max_version,
            ..ApiVersion::default()
        });
        response.apis = served.collect();
    }
}

/// One connection.
#[derive(Debug)]
struct Kafka {
    /// How many may wait for answers.
    requests: usize,
}

impl Protocol for Kafka {
    const WORD: Option<fn([u8; 4]) -> bool> = None;
    const PROVEN_BY_ASKING: bool = true;

    fn judge(&mut self, frame: Bytes) -> Verdict {
        let Some(asked) = Asked::of(&frame) else {
            return Verdict::Nonsense(format!("a request of {} bytes", frame.len()));
        };
        if !asked.is_served() {
            return refuse(asked, frame);
        }
        match wire::decode_request(frame) {
            Ok(request) => self.take(request),
            Err(refused) => Verdict::Nonsense(refused.to_string()),
        }
    }

    fn is_answer(_frame: &[Bytes]) -> bool {
        true
    }
}

impl Kafka {
    fn take(&self, request: KafkaRequest) -> Verdict {
        let (mut answered, mut behind) = (true, self.requests.max(1));
        match &request.body {
            Body::Produce(produce) if produce.acks == 0 => answered = false,
            // Its answer may be large, and the next one is not worked on before it is written.
            Body::Fetch(_) => behind = 1,
            Body::ApiVersions(body) if request.version >= 3 && !is_sound(body) => {
                let error = ErrorCode::INVALID_REQUEST;
                let answer = ApiVersionsResponse { error, ..ApiVersionsResponse::default() };
                return Verdict::Answer(wire::encode_response(request.version, request.correlation, &answer.into()));
            }
            _ => {}
        }
        let body = RequestBody::Kafka(request);
        Verdict::Ask { request: Request { listener: 0, principal: Principal::Anonymous, body }, answered, behind }
    }
}

/// What every request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    key: i16,
    version: i16,
    correlation: i32,
}

impl Asked {
    fn of(frame: &[u8]) -> Option<Asked> {
        let [k0, k1, v0, v1, c0, c1, c2, c3] = *frame.first_chunk::<8>()?;
        Some(Asked {
            key: i16::from_be_bytes([k0, k1]),
            version: i16::from_be_bytes([v0, v1]),
            correlation: i32::from_be_bytes([c0, c1, c2, c3]),
        })
    }

    fn is_served(self) -> bool {
        SERVED.iter().any(|(key, min, max)| key.code() == self.key && (*min..=*max).contains(&self.version))
    }
}

/// Of what is not served: the protocol's own error where there is one, and otherwise the end, as Apache does it.
fn refuse(asked: Asked, frame: Bytes) -> Verdict {
    if asked.key == ApiKey::ApiVersions.code() {
        return Verdict::Answer(wire::encode_unsupported_version(asked.correlation));
    }
    match refusal::answer(frame) {
        Some(answer) => Verdict::Answer(answer),
        None => Verdict::Refuse(format!("API key {} version {} is not served here", asked.key, asked.version)),
    }
}

/// Whether a client's software calls itself something that may be logged (KIP-511).
fn is_sound(request: &ApiVersionsRequest) -> bool {
    let sound = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let ends = [text.bytes().next(), text.bytes().next_back()];
        ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric())) && text.bytes().all(inner)
    };
    sound(&request.client_software_name) && sound(&request.client_software_version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::wire::kafka::decode_response;

    #[test]
    fn what_is_advertised_can_be_read_and_what_brokers_ask_is_not_among_it() {
        let mut response = ApiVersionsResponse::default();
        advertise(&mut response);
        assert_eq!(response.apis.len(), 10);
        for (key, min, max) in SERVED {
            assert!(key.supports(min) && key.supports(max), "{key} {min}..={max}");
        }
        for key in [4, 5, 6, 7, 56, 67, 10, 32] {
            assert!(response.apis.iter().all(|api| api.key != key), "key {key}");
        }
    }

    #[test]
    fn an_unknown_version_of_api_versions_is_answered_and_inter_broker_requests_are_not() {
        let mut kafka = Kafka { requests: 5 };
        let frame = Bytes::from_static(&[0, 18, 0, 127, 0, 0, 0, 77, 0xff, 0xff]);
        let Verdict::Answer(answer) = kafka.judge(frame) else { panic!("it is not answered") };
        let (correlation, version, _) =
            decode_response(ApiKey::ApiVersions, 4, answer).expect("an answer in version 0");
        assert_eq!((correlation, version), (77, 0));
        for key in [4, 5, 6, 7, 56, 67, 1000] {
            let frame = [&[(key >> 8) as u8, key as u8][..], &[0, 0, 0, 0, 0, 1, 0xff, 0xff]].concat();
            assert!(matches!(kafka.judge(frame.into()), Verdict::Refuse(_)), "key {key}");
        }
        assert!(matches!(kafka.judge(Bytes::from_static(&[0, 18, 0, 0])), Verdict::Nonsense(_)));
    }

    #[test]
    fn a_client_calls_itself_something_sound() {
        let called = |name: &str, version: &str| {
            is_sound(&ApiVersionsRequest {
                client_software_name: name.to_owned(),
                client_software_version: version.to_owned(),
                ..ApiVersionsRequest::default()
            })
        };
        assert!(called("apache-kafka-java", "3.9.1") && called("a", "1"));
        assert!(
            !called("", "1") && !called("-a", "1") && !called("a", "1.") && !called("a b", "1") && !called("é", "1")
        );
    }
}
