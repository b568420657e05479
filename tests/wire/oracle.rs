//! Differential tests against the crate `kafka-protocol`: what one writes the other reads and writes back, in every
//! version that both know. It knows no broker-to-broker API of the ZooKeeper days.

use crate::vectors::recorded;
use bytes::{Bytes, BytesMut};
use glasshouse_core::api::kafka::{self, ApiKey, Request, Response};
use glasshouse_core::codec::{Reader, Writer};
use glasshouse_core::id::{BrokerEpoch, BrokerId, LeaderEpoch, ProducerId, TopicId};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::wire::kafka::{decode_request, decode_response};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Encodable, StrBytes};
use std::collections::BTreeMap;

/// The versions both know.
fn common(key: ApiKey) -> impl Iterator<Item = i16> {
    let known = theirs::ApiKey::try_from(key.code()).map(|key| key.valid_versions());
    let (low, high) = known.map_or((1, 0), |range| (range.min, range.max));
    low.max(key.min_version())..=high.min(key.max_version())
}

fn request_through_oracle(request: &Request, version: i16) -> Bytes {
    let mut writer = Writer::new();
    request.encode(version, &mut writer);
    let ours = writer.finish();
    let name = || format!("{} {version} request {request:?}\n{ours:02x?}", request.name());
    let mut rest = ours.clone();
    let key = theirs::ApiKey::try_from(request.key().code()).unwrap();
    let read = theirs::RequestKind::decode(key, &mut rest, version).unwrap_or_else(|e| panic!("{}: {e}", name()));
    assert!(rest.is_empty(), "{}", name());
    let mut back = BytesMut::new();
    read.encode(&mut back, version).unwrap_or_else(|e| panic!("{}: {e}", name()));
    assert_eq!(back, ours, "{}", name());
    ours
}

fn response_through_oracle(response: &Response, version: i16) -> Bytes {
    let mut writer = Writer::new();
    response.encode(version, &mut writer);
    let ours = writer.finish();
    let name = || format!("{} {version} response {response:?}\n{ours:02x?}", response.name());
    let mut rest = ours.clone();
    let key = theirs::ApiKey::try_from(response.key().code()).unwrap();
    let read = theirs::ResponseKind::decode(key, &mut rest, version).unwrap_or_else(|e| panic!("{}: {e}", name()));
    assert!(rest.is_empty(), "{}", name());
    let mut back = BytesMut::new();
    read.encode(&mut back, version).unwrap_or_else(|e| panic!("{}: {e}", name()));
    assert_eq!(back, ours, "{}", name());
    ours
}

/// Each recorded value is also written in all the other versions, and read again by ourselves.
#[test]
fn recorded_values_pass_through_the_other_implementation_in_every_common_version() {
    let frames = recorded();
    let mut asked = BTreeMap::new();
    let mut passed = 0;
    for frame in &frames {
        if !frame.api().supports(frame.version) {
            continue;
        }
        if frame.is_request() {
            asked.insert((frame.conn, frame.seq), (frame.api(), frame.version));
            let request = decode_request(frame.bytes.clone()).unwrap().body;
            for version in common(frame.api()) {
                let bytes = request_through_oracle(&request, version);
                let again = Request::decode(frame.api(), version, &mut Reader::new(bytes.clone())).unwrap();
                assert_eq!(request_through_oracle(&again, version), bytes);
                passed += 1;
            }
        } else {
            let (key, version) = asked[&(frame.conn, frame.answers.unwrap())];
            let (_, _, response) = decode_response(key, version, frame.bytes.clone()).unwrap();
            for version in common(key) {
                let bytes = response_through_oracle(&response, version);
                let again = Response::decode(key, version, &mut Reader::new(bytes.clone())).unwrap();
                assert_eq!(response_through_oracle(&again, version), bytes);
                passed += 1;
            }
        }
    }
    assert!(passed > 2000, "only {passed} values were compared");
}

#[test]
fn defaults_pass_through_the_other_implementation() {
    for key in ApiKey::ALL {
        for version in common(*key) {
            // Zeros are a value of every message: empty or absent, and no tagged field.
            let zeros = Bytes::from_static(&[0; 64]);
            let request = Request::decode(*key, version, &mut Reader::new(zeros.clone()));
            let response = Response::decode(*key, version, &mut Reader::new(zeros));
            // (A string that must not be null cannot be a compact zero.)
            request.into_iter().for_each(|request| drop(request_through_oracle(&request, version)));
            response.into_iter().for_each(|response| drop(response_through_oracle(&response, version)));
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn written(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

/// The same value, made by the names of both: equal bytes.
#[test]
fn a_fetch_with_every_field_is_the_same() {
    let ours = Request::from(kafka::FetchRequest {
        max_wait_ms: 1,
        min_bytes: 2,
        max_bytes: 3,
        isolation_level: 1,
        session_id: 4,
        session_epoch: 5,
        topics: vec![kafka::FetchTopic {
            name: "orders".into(),
            topic_id: TopicId([9; 16]),
            partitions: vec![kafka::FetchPartition {
                partition: 6,
                current_leader_epoch: LeaderEpoch(7),
                fetch_offset: Offset(8),
                last_fetched_epoch: LeaderEpoch(9),
                log_start_offset: Offset(10),
                max_bytes: 11,
                ..Default::default()
            }],
            ..Default::default()
        }],
        forgotten_topics: vec![kafka::ForgottenTopic {
            name: "old".into(),
            topic_id: TopicId([8; 16]),
            partitions: vec![12],
            ..Default::default()
        }],
        rack: "rack".into(),
        ..Default::default()
    });
    for version in common(ApiKey::Fetch) {
        let (named, since) = (version <= 12, |first| version >= first);
        let mut partition = theirs::fetch_request::FetchPartition::default()
            .with_partition(6)
            .with_fetch_offset(8)
            .with_partition_max_bytes(11);
        if since(5) {
            partition = partition.with_log_start_offset(10);
        }
        if since(9) {
            partition = partition.with_current_leader_epoch(7);
        }
        if since(12) {
            partition = partition.with_last_fetched_epoch(9);
        }
        let topic = theirs::fetch_request::FetchTopic::default().with_partitions(vec![partition]);
        let topic =
            if named { topic.with_topic(theirs::TopicName(text("orders"))) } else { topic.with_topic_id(uuid(9)) };
        let mut request = theirs::FetchRequest::default()
            .with_max_wait_ms(1)
            .with_min_bytes(2)
            .with_max_bytes(3)
            .with_isolation_level(1)
            .with_topics(vec![topic]);
        if since(7) {
            let forgotten = theirs::fetch_request::ForgottenTopic::default().with_partitions(vec![12]);
            let forgotten = if named {
                forgotten.with_topic(theirs::TopicName(text("old")))
            } else {
                forgotten.with_topic_id(uuid(8))
            };
            request = request.with_session_id(4).with_session_epoch(5).with_forgotten_topics_data(vec![forgotten]);
        }
        if since(11) {
            request = request.with_rack_id(text("rack"));
        }
        assert_eq!(request_through_oracle(&ours, version), written(&request, version), "version {version}");
    }
}

/// A UUID of one byte, repeated; its type is a crate's that we do not depend on.
fn uuid<T: core::str::FromStr<Err: core::fmt::Debug>>(byte: u8) -> T {
    format!("{byte:02x}").repeat(16).parse().unwrap()
}

#[test]
fn a_fetched_partition_with_every_field_is_the_same() {
    let records = Bytes::from(vec![5u8; 1000]);
    let ours = Response::from(kafka::FetchResponse {
        throttle_ms: 1,
        session_id: 2,
        error: kafka::ErrorCode(3),
        topics: vec![kafka::FetchTopicResponse {
            name: "orders".into(),
            topic_id: TopicId([9; 16]),
            partitions: vec![kafka::FetchPartitionResponse {
                partition: 4,
                error: kafka::ErrorCode(5),
                high_watermark: Offset(6),
                last_stable_offset: Offset(7),
                log_start_offset: Offset(8),
                diverging_epoch: kafka::DivergingEpoch {
                    epoch: LeaderEpoch(9),
                    end_offset: Offset(10),
                    ..Default::default()
                },
                current_leader: kafka::LeaderIdAndEpoch {
                    leader: BrokerId(11),
                    epoch: LeaderEpoch(12),
                    ..Default::default()
                },
                aborted_transactions: Some(vec![kafka::AbortedTransaction {
                    producer_id: ProducerId(13),
                    first_offset: Offset(14),
                    ..Default::default()
                }]),
                preferred_read_replica: BrokerId(15),
                records: Some(records.clone()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    });
    for version in common(ApiKey::Fetch) {
        let (named, since) = (version <= 12, |first| version >= first);
        let aborted = theirs::fetch_response::AbortedTransaction::default()
            .with_producer_id(theirs::ProducerId(13))
            .with_first_offset(14);
        let mut partition = theirs::fetch_response::PartitionData::default()
            .with_partition_index(4)
            .with_error_code(5)
            .with_high_watermark(6)
            .with_last_stable_offset(7)
            .with_aborted_transactions(Some(vec![aborted]))
            .with_records(Some(records.clone()));
        if since(5) {
            partition = partition.with_log_start_offset(8);
        }
        if since(11) {
            partition = partition.with_preferred_read_replica(theirs::BrokerId(15));
        }
        if since(12) {
            let diverging = theirs::fetch_response::EpochEndOffset::default().with_epoch(9).with_end_offset(10);
            let leader = theirs::fetch_response::LeaderIdAndEpoch::default()
                .with_leader_id(theirs::BrokerId(11))
                .with_leader_epoch(12);
            partition = partition.with_diverging_epoch(diverging).with_current_leader(leader);
        }
        let topic = theirs::fetch_response::FetchableTopicResponse::default().with_partitions(vec![partition]);
        let topic =
            if named { topic.with_topic(theirs::TopicName(text("orders"))) } else { topic.with_topic_id(uuid(9)) };
        let mut response = theirs::FetchResponse::default().with_throttle_time_ms(1).with_responses(vec![topic]);
        if since(7) {
            response = response.with_error_code(3).with_session_id(2);
        }
        assert_eq!(response_through_oracle(&ours, version), written(&response, version), "version {version}");
    }
}

#[test]
fn a_proposed_isr_is_the_same() {
    let isr = [(1, 100), (2, 200)];
    let ours = Request::from(kafka::AlterPartitionRequest {
        broker_id: BrokerId(1),
        broker_epoch: BrokerEpoch(2),
        topics: vec![kafka::AlterPartitionTopic {
            topic_id: TopicId([3; 16]),
            partitions: vec![kafka::AlterPartitionData {
                partition: 4,
                leader_epoch: LeaderEpoch(5),
                new_isr: isr.iter().map(|(id, _)| BrokerId(*id)).collect(),
                new_isr_with_epochs: isr
                    .iter()
                    .map(|(id, epoch)| kafka::IsrMember {
                        broker: BrokerId(*id),
                        broker_epoch: BrokerEpoch(*epoch),
                        ..Default::default()
                    })
                    .collect(),
                leader_recovery_state: 1,
                partition_epoch: glasshouse_core::id::PartitionEpoch(6),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    });
    for version in common(ApiKey::AlterPartition) {
        let partition = theirs::alter_partition_request::PartitionData::default()
            .with_partition_index(4)
            .with_leader_epoch(5)
            .with_leader_recovery_state(1)
            .with_partition_epoch(6);
        let partition = if version < 3 {
            partition.with_new_isr(isr.iter().map(|(id, _)| theirs::BrokerId(*id)).collect())
        } else {
            let member = |(id, epoch): &(i32, i64)| {
                theirs::alter_partition_request::BrokerState::default()
                    .with_broker_id(theirs::BrokerId(*id))
                    .with_broker_epoch(*epoch)
            };
            partition.with_new_isr_with_epochs(isr.iter().map(member).collect())
        };
        let topic = theirs::alter_partition_request::TopicData::default()
            .with_topic_id(uuid(3))
            .with_partitions(vec![partition]);
        let request = theirs::AlterPartitionRequest::default()
            .with_broker_id(theirs::BrokerId(1))
            .with_broker_epoch(2)
            .with_topics(vec![topic]);
        assert_eq!(request_through_oracle(&ours, version), written(&request, version), "version {version}");
    }
}
