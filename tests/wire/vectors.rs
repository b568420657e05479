//! Every frame that Apache's brokers, controllers and clients exchanged in APIs we speak: read, written, the same bytes.

use bytes::Bytes;
use glasshouse_core::api::kafka::{ApiKey, ErrorCode, Request, Response};
use glasshouse_core::id::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::wire::kafka::{
    Refused, decode_request, decode_response, encode_request, encode_response, encode_unsupported_version,
};
use std::collections::{BTreeMap, BTreeSet};

/// A recorded frame, without its four bytes of length.
pub struct Recorded {
    pub conn: i64,
    pub seq: i64,
    /// Of a response: the `seq` of its request.
    pub answers: Option<i64>,
    pub key: i16,
    pub version: i16,
    /// Bytes that the sender put behind the message by mistake.
    pub surplus: usize,
    pub bytes: Bytes,
}

pub fn recorded() -> Vec<Recorded> {
    let lines = include_str!("../vectors/kafka/frames.jsonl").lines();
    lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let hex = line["hex"].as_str().unwrap();
            let bytes: Vec<u8> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            Recorded {
                conn: line["conn"].as_i64().unwrap(),
                seq: line["seq"].as_i64().unwrap(),
                answers: line["req_seq"].as_i64(),
                key: line["api_key"].as_i64().unwrap() as i16,
                version: line["version"].as_i64().unwrap() as i16,
                surplus: if line["note"].as_str().is_some_and(|note| note.contains("sends 3 bytes more")) {
                    3
                } else {
                    0
                },
                bytes: Bytes::from(bytes).slice(4..),
            }
        })
        .collect()
}

impl Recorded {
    pub fn is_request(&self) -> bool {
        self.answers.is_none()
    }

    pub fn api(&self) -> ApiKey {
        ApiKey::from_code(self.key).unwrap()
    }
}

fn name(frame: &Recorded) -> String {
    let what = if frame.is_request() { "request" } else { "response" };
    format!("{} {} {what}, conn {} seq {}", frame.api(), frame.version, frame.conn, frame.seq)
}

/// Conn 140 asks for ApiVersions 127.
const UNKNOWN_VERSION: i16 = 127;

#[test]
fn every_recorded_request_is_written_as_it_was_read() {
    let mut seen = BTreeSet::new();
    for frame in recorded().iter().filter(|frame| frame.is_request()) {
        if frame.version == UNKNOWN_VERSION {
            let refused = Refused::UnsupportedVersion { key: 18, version: 127, correlation: 77 };
            assert_eq!(decode_request(frame.bytes.clone()), Err(refused));
            continue;
        }
        let request = decode_request(frame.bytes.clone()).unwrap_or_else(|error| panic!("{}: {error}", name(frame)));
        assert_eq!((request.body.key(), request.version), (frame.api(), frame.version));
        let written = encode_request(&request);
        assert_eq!(written, frame.bytes[..frame.bytes.len() - frame.surplus], "{}: {request:?}", name(frame));
        seen.insert((frame.api(), frame.version));
    }
    assert_eq!(seen, every_version(), "each version of each API was recorded");
}

#[test]
fn every_recorded_response_is_written_as_it_was_read() {
    let mut seen = BTreeSet::new();
    let frames = recorded();
    let asked: BTreeMap<_, _> = frames
        .iter()
        .filter(|frame| frame.is_request())
        .map(|frame| ((frame.conn, frame.seq), (frame.api(), frame.version)))
        .collect();
    for frame in frames.iter().filter(|frame| !frame.is_request()) {
        if frame.version == UNKNOWN_VERSION {
            assert_eq!(frame.bytes, encode_unsupported_version(77));
            continue;
        }
        let (key, version) = asked[&(frame.conn, frame.answers.unwrap())];
        let (correlation, written_in, response) = decode_response(key, version, frame.bytes.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", name(frame)));
        assert_eq!((response.key(), written_in), (frame.api(), frame.version));
        assert_eq!(encode_response(version, correlation, &response), frame.bytes, "{}: {response:?}", name(frame));
        seen.insert((key, version));
    }
    assert_eq!(seen, every_version(), "each version of each API was recorded");
}

/// What a version lacks is dropped; what it has survives.
#[test]
fn recorded_requests_can_be_told_in_every_version_of_their_api() {
    for frame in recorded().iter().filter(|frame| frame.is_request() && frame.version != UNKNOWN_VERSION) {
        let mut request = decode_request(frame.bytes.clone()).unwrap();
        let original = request.body.clone();
        for version in frame.api().min_version()..=frame.api().max_version() {
            request.version = version;
            request.body = original.clone();
            let frame_there = encode_request(&request);
            let there = decode_request(frame_there.clone()).unwrap_or_else(|error| panic!("{}: {error}", name(frame)));
            assert_eq!((there.version, encode_request(&there)), (version, frame_there), "{}", name(frame));
            if version == frame.version {
                assert_eq!(there.body, original);
            }
        }
    }
}

fn every_version() -> BTreeSet<(ApiKey, i16)> {
    let versions = |key: ApiKey| (key.min_version()..=key.max_version()).map(move |version| (key, version));
    ApiKey::ALL.iter().copied().flat_map(versions).collect()
}

/// The same bytes could come from fields whose names are confused, so some are looked at by name; what they should be is
/// what Kafka's own converters print (frames_decoded.jsonl of the recording).
#[test]
fn fields_have_the_names_kafka_gives_them() {
    let frames = recorded();
    let find = |conn, seq| frames.iter().find(|frame| (frame.conn, frame.seq) == (conn, seq)).unwrap();
    let request = |conn, seq| decode_request(find(conn, seq).bytes.clone()).unwrap().body;
    let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();

    let Request::LeaderAndIsr(told) = request(139, 227) else { panic!() };
    let partition = &told.topics[0].partitions[0];
    assert_eq!(told.topics[0].topic_id.to_string(), "xvaVtzDqTFqXhHbhiAY1_A");
    assert_eq!((told.controller_id, told.controller_epoch), (BrokerId(1), ControllerEpoch(0)));
    assert_eq!((partition.partition, partition.leader, partition.leader_epoch), (0, BrokerId(1), LeaderEpoch(3)));
    assert_eq!((partition.partition_epoch, partition.isr.clone()), (PartitionEpoch(4), brokers(&[1, 2])));
    let sets = (&partition.replicas, &partition.adding_replicas, &partition.removing_replicas);
    assert_eq!(sets, (&brokers(&[1, 2, 3]), &brokers(&[3]), &brokers(&[2])));
    assert_eq!((told.live_leaders[0].broker, told.live_leaders[0].port), (BrokerId(1), 29092));

    let Request::Fetch(fetch) = request(6, 357) else { panic!() };
    let partition = &fetch.topics[0].partitions[0];
    assert_eq!((fetch.replica(), fetch.replica_state.replica_epoch), (Some(BrokerId(3)), BrokerEpoch(4294967360)));
    assert_eq!((fetch.max_wait_ms, fetch.min_bytes, fetch.max_bytes), (500, 1, 10485760));
    assert_eq!((fetch.session_id, fetch.session_epoch), (801328298, 176));
    assert_eq!((partition.fetch_offset, partition.log_start_offset), (Offset(54), Offset(0)));
    assert_eq!((partition.last_fetched_epoch, partition.max_bytes), (LeaderEpoch(0), 1048576));

    let answer = find(270, 6);
    let (_, _, answer) = decode_response(ApiKey::AlterPartition, 3, answer.bytes.clone()).unwrap();
    let Response::AlterPartition(altered) = answer else { panic!() };
    let partition = &altered.topics[0].partitions[0];
    assert_eq!((altered.error, partition.error), (ErrorCode::NONE, ErrorCode::NONE));
    assert_eq!((partition.leader, partition.leader_epoch), (BrokerId(2), LeaderEpoch(2)));
    assert_eq!((partition.partition_epoch, &partition.isr), (PartitionEpoch(4), &brokers(&[3, 2, 1])));

    let Request::StopReplica(stop) = request(329, 87) else { panic!() };
    let first = (&*stop.topics[0].name, &stop.topics[0].partitions[0]);
    assert_eq!((stop.controller_epoch, stop.broker_epoch), (ControllerEpoch(3), BrokerEpoch(4294967811)));
    assert_eq!((first.0, first.1.leader_epoch, first.1.delete), ("compacted", LeaderEpoch(9), false));

    let Request::UpdateMetadata(update) = request(1, 5) else { panic!() };
    let (partition, broker) = (&update.topics[0].partitions[1], &update.live_brokers[2]);
    assert_eq!((&*update.topics[0].name, partition.partition, partition.leader), ("t1", 1, BrokerId(1)));
    assert_eq!((&partition.replicas, partition.offline_replicas.len()), (&brokers(&[1, 3, 2]), 0));
    let endpoint = &broker.endpoints[0];
    assert_eq!((broker.id, &*endpoint.host, endpoint.port), (BrokerId(3), "127.0.0.1", 29094));
    assert_eq!((&*endpoint.listener, endpoint.security_protocol), ("PLAINTEXT", 0));
}
