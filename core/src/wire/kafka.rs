//! Kafka's frames: a header and the body that its key and version announce (KIP-482, KIP-511). Knows no connection but
//! for [`ClientCodec`], which remembers what was asked on one, because a response does not say what it answers.

use crate::api::kafka::{ApiKey, ApiVersion, ApiVersionsResponse, ErrorCode, Request, Response, table};
use crate::codec::{Malformed, Reader, Result, Writer};
use crate::node::{KafkaRequest, Reply};
use crate::queue::Queue;
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

/// Why a request was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Nothing can be said to the sender; the connection is to be closed.
    Malformed(Malformed),
    /// Its header is sound, but we do not speak this API, or not in this version. To ApiVersions (key 18) the answer is
    /// [`encode_unsupported_version`]; with any other key the connection is closed.
    UnsupportedVersion { key: i16, version: i16, correlation: i32 },
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Refused {
        Refused::Malformed(malformed)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Malformed(malformed) => malformed.fmt(f),
            Refused::UnsupportedVersion { key, version, .. } => match ApiKey::from_code(*key) {
                Some(api) => write!(f, "{api} has no version {version} here"),
                None => write!(f, "no API has the key {key} here"),
            },
        }
    }
}

impl std::error::Error for Refused {}

/// How much of a header a request has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RequestHeader {
    /// Without a client id: ControlledShutdown 0 only.
    V0,
    V1,
    /// With tagged fields; the client id's length stays an int16.
    V2,
}

fn request_header(key: ApiKey, version: i16) -> RequestHeader {
    match key {
        ApiKey::ControlledShutdown if version == 0 => RequestHeader::V0,
        _ if key.is_flexible(version) => RequestHeader::V2,
        _ => RequestHeader::V1,
    }
}

/// Whether the response's header has tagged fields. ApiVersions' never has: its reader does not know the version yet.
fn has_tags(key: ApiKey, version: i16) -> bool {
    key != ApiKey::ApiVersions && key.is_flexible(version)
}

/// Reads a request. Bytes behind its body are ignored, as Apache does (librdkafka's Metadata 12 has some).
pub fn decode_request(frame: Bytes) -> core::result::Result<KafkaRequest, Refused> {
    let mut reader = Reader::new(frame);
    let (code, version, correlation) = (reader.i16()?, reader.i16()?, reader.i32()?);
    let Some(key) = ApiKey::from_code(code).filter(|key| key.supports(version)) else {
        return Err(Refused::UnsupportedVersion { key: code, version, correlation });
    };
    let header = request_header(key, version);
    let client = if header >= RequestHeader::V1 { read_client(&mut reader)? } else { None };
    if header >= RequestHeader::V2 {
        table::read_tags(&mut reader, &mut |_, _| Ok(false))?;
    }
    let body = Request::decode(key, version, &mut reader)?;
    Ok(KafkaRequest { version, correlation, client, body })
}

fn read_client(reader: &mut Reader) -> Result<Option<Arc<str>>> {
    let declared = i64::from(reader.i16()?);
    match reader.count(declared, 1)? {
        None => Ok(None),
        Some(length) => Ok(Some(Arc::from(reader.text(length)?))),
    }
}

/// Writes a request. Panics if its API has no such version: whoever chose it asks [`ApiKey::supports`].
pub fn encode_request(request: &KafkaRequest) -> Bytes {
    let mut writer = Writer::with_capacity(256);
    write_request(request, &mut writer);
    writer.finish()
}

/// As [`encode_request`]; the writer's segments share long records.
pub fn write_request(request: &KafkaRequest, writer: &mut Writer) {
    write_request_of(request.correlation, request.version, request.client.as_deref(), &request.body, writer);
}

/// As [`write_request`], from its parts.
pub fn write_request_of(correlation: i32, version: i16, client: Option<&str>, body: &Request, writer: &mut Writer) {
    writer.i16(body.key().code());
    writer.i16(version);
    writer.i32(correlation);
    let header = request_header(body.key(), version);
    match client {
        _ if header == RequestHeader::V0 => {}
        None => writer.i16(-1),
        Some(client) => {
            assert!(client.len() <= i16::MAX as usize, "a client id of {} bytes, more than 32767", client.len());
            writer.i16(client.len() as i16);
            writer.put(client.as_bytes());
        }
    }
    if header == RequestHeader::V2 {
        writer.u8(0);
    }
    body.encode(version, writer);
}

/// Reads a response to a request of this key and version; with the correlation id comes the version it was written in,
/// which is 0 where a broker does not know the asked version of ApiVersions (KIP-511).
pub fn decode_response(key: ApiKey, version: i16, frame: Bytes) -> Result<(i32, i16, Response<Bytes>)> {
    let mut reader = Reader::new(frame);
    if !key.supports(version) {
        return reader.malformed("an answer in a version we know");
    }
    let correlation = reader.i32()?;
    if has_tags(key, version) {
        table::read_tags(&mut reader, &mut |_, _| Ok(false))?;
    }
    let refused = key == ApiKey::ApiVersions && ErrorCode(reader.clone().i16()?) == ErrorCode::UNSUPPORTED_VERSION;
    let version = if refused { 0 } else { version };
    let body = Response::decode(key, version, &mut reader)?;
    if !reader.is_empty() {
        return reader.malformed("the end of the response");
    }
    Ok((correlation, version, body))
}

/// Writes a response in the version of its request.
pub fn encode_response(version: i16, correlation: i32, body: &Response<Bytes>) -> Bytes {
    let mut writer = Writer::with_capacity(256);
    write_response(version, correlation, body, &mut writer);
    writer.finish()
}

/// As [`encode_response`]; the writer's segments share long records.
pub fn write_response(version: i16, correlation: i32, body: &Response<Bytes>, writer: &mut Writer) {
    writer.i32(correlation);
    if has_tags(body.key(), version) {
        writer.u8(0);
    }
    body.encode(version, writer);
}

/// The answer to an ApiVersions request of a version we do not know: version 0, error 35, and the one entry that tells
/// the sender what to ask instead (KIP-511).
pub fn encode_unsupported_version(correlation: i32) -> Bytes {
    let (min_version, max_version) = ApiKey::ApiVersions.versions();
    let known = ApiVersion { key: ApiKey::ApiVersions.code(), min_version, max_version, ..ApiVersion::default() };
    let error = ErrorCode::UNSUPPORTED_VERSION;
    let body = ApiVersionsResponse { error, apis: vec![known], ..ApiVersionsResponse::default() };
    encode_response(0, correlation, &body.into())
}

/// The client's end of one connection: what it asked, in order, so that the answers can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientCodec {
    asked: Queue<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    correlation: i32,
    key: ApiKey,
    version: i16,
}

impl ClientCodec {
    /// Writes a request and remembers it, unless it is a Produce that wants no answer.
    pub fn encode(&mut self, request: &KafkaRequest) -> Bytes {
        let unanswered = matches!(&request.body, Request::Produce(produce) if produce.acks == 0);
        if !unanswered {
            let (correlation, key, version) = (request.correlation, request.body.key(), request.version);
            self.asked.push_back(Asked { correlation, key, version });
        }
        encode_request(request)
    }

    /// Reads the answer to the oldest request that still waits for one.
    pub fn decode(&mut self, frame: Bytes) -> Result<Reply<Bytes>> {
        let Some(asked) = self.asked.pop_front() else {
            return Err(Malformed { at: 0, expected: "no answer, for nothing was asked" });
        };
        let (correlation, version, body) = decode_response(asked.key, asked.version, frame)?;
        if correlation != asked.correlation {
            return Err(Malformed { at: 0, expected: "the correlation id of the oldest request" });
        }
        Ok(Reply::Kafka { version, correlation, body })
    }

    /// How many requests wait for an answer.
    pub fn waiting(&self) -> usize {
        self.asked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kafka::{
        ControlledShutdownRequest, FetchPartitionResponse, FetchResponse, FetchTopicResponse, MetadataRequest,
        ProduceRequest,
    };
    use crate::id::BrokerId;

    fn hex(text: &str) -> Bytes {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn request(version: i16, body: impl Into<Request>) -> KafkaRequest {
        KafkaRequest { version, correlation: 7, client: Some("c".into()), body: body.into() }
    }

    #[test]
    fn the_header_grows_with_the_version() {
        let body = ControlledShutdownRequest { broker_id: BrokerId(3), ..Default::default() };
        let v0 = KafkaRequest { client: None, ..request(0, body.clone()) };
        assert_eq!(encode_request(&v0), hex("0007 0000 00000007 00000003"));
        assert_eq!(encode_request(&request(1, body.clone())), hex("0007 0001 00000007 0001 63 00000003"));
        let v3 = hex("0007 0003 00000007 0001 63 00 00000003 ffffffffffffffff 00");
        assert_eq!(encode_request(&request(3, body.clone())), v3);
        assert_eq!(decode_request(v3), Ok(request(3, body)));
    }

    #[test]
    fn an_unknown_version_of_api_versions_is_told_apart_and_answered_as_apache_does() {
        let refused = decode_request(hex("0012007f0000004d00036f6464000278023100"));
        assert_eq!(refused, Err(Refused::UnsupportedVersion { key: 18, version: 127, correlation: 77 }));
        let answer = encode_unsupported_version(77);
        assert_eq!(answer, hex("0000004d 0023 00000001 0012 0000 0004"));
        let (correlation, version, body) = decode_response(ApiKey::ApiVersions, 4, answer).unwrap();
        let Response::ApiVersions(body) = body else { panic!("{}", body.name()) };
        assert_eq!((correlation, version, body.error), (77, 0, ErrorCode::UNSUPPORTED_VERSION));
    }

    #[test]
    fn what_follows_a_request_is_ignored_and_what_follows_a_response_is_not() {
        let mut frame = encode_request(&request(12, MetadataRequest::default())).to_vec();
        frame.extend([0, 0, 0]);
        assert_eq!(decode_request(frame.into()), Ok(request(12, MetadataRequest::default())));
        let mut frame = encode_response(0, 1, &ApiVersionsResponse::default().into()).to_vec();
        frame.push(0);
        assert!(decode_response(ApiKey::ApiVersions, 0, frame.into()).is_err());
    }

    #[test]
    fn unknown_tags_are_kept_and_disordered_ones_refused() {
        // ApiVersions 3: "x", "1", then tags 5 and 9.
        let frame = hex("0012 0003 00000007 0001 63 00 0278 0231 02 0501aa 0902bbcc");
        let decoded = decode_request(frame.clone()).unwrap();
        let Request::ApiVersions(body) = &decoded.body else { panic!("{}", decoded.body.name()) };
        assert_eq!(body.tags.as_slice(), [(5, hex("aa")), (9, hex("bbcc"))]);
        assert_eq!(encode_request(&decoded), frame);
        for disordered in ["02 0901aa 0502bbcc", "02 0501aa 0502bbcc"] {
            let frame = hex(&format!("0012 0003 00000007 0001 63 00 0278 0231 {disordered}"));
            assert!(matches!(decode_request(frame), Err(Refused::Malformed(_))), "{disordered}");
        }
    }

    #[test]
    fn a_hostile_count_is_refused() {
        let frame = hex("0001 0004 00000000 ffff ffffffff 00000000 00000000 7fffffff 00 7fffffff");
        let refused = decode_request(frame);
        let expected = "a count that fits into the bytes that follow";
        assert_eq!(refused, Err(Refused::Malformed(Malformed { at: 31, expected })));
    }

    #[test]
    fn long_records_are_shared_not_copied() {
        let records = Bytes::from(vec![7u8; 4096]);
        let partition = FetchPartitionResponse { records: Some(records.clone()), ..Default::default() };
        let topic = FetchTopicResponse { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let body = Response::from(FetchResponse { topics: vec![topic], ..Default::default() });
        let mut writer = Writer::new();
        write_response(12, 1, &body, &mut writer);
        let segments = writer.into_segments();
        assert_eq!(segments.len(), 3);
        assert_eq!(segments[1].as_ptr(), records.as_ptr());
        let whole = encode_response(12, 1, &body);
        assert_eq!(segments.concat(), whole);
        assert_eq!(decode_response(ApiKey::Fetch, 12, whole), Ok((1, 12, body)));
    }

    #[test]
    fn answers_are_read_in_the_order_of_the_questions() {
        let mut codec = ClientCodec::default();
        codec.encode(&request(9, ProduceRequest { acks: 0, ..Default::default() }));
        codec.encode(&KafkaRequest { correlation: 8, ..request(0, crate::api::kafka::ApiVersionsRequest::default()) });
        assert_eq!(codec.waiting(), 1);
        let body: Response<Bytes> = ApiVersionsResponse::default().into();
        let reply = codec.decode(encode_response(0, 8, &body));
        assert_eq!(reply, Ok(Reply::Kafka { version: 0, correlation: 8, body: body.clone() }));
        assert!(codec.decode(encode_response(0, 9, &body)).is_err());
    }
}
