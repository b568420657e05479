//! A znode's text: JSON, and what each kind of znode makes of it.
#![no_main]

use glasshouse_core::broker::znodes::json::Json;
use glasshouse_core::broker::znodes::{self, BrokerInfo, PartitionState, ProducerIdBlock, TopicInfo};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(read) = std::str::from_utf8(bytes).ok().and_then(Json::parse) {
        assert_eq!(Json::parse(&read.to_string()), Some(read));
    }
    if let Some(read) = BrokerInfo::decode(bytes) {
        assert_eq!(BrokerInfo::decode(&read.encode()), Some(read));
    }
    if let Some(read) = TopicInfo::decode(bytes) {
        assert_eq!(TopicInfo::decode(&read.encode()), Some(read));
    }
    if let Some(read) = PartitionState::decode(bytes) {
        assert_eq!(PartitionState::decode(&read.encode()), Some(read));
    }
    if let Some(read) = ProducerIdBlock::decode(bytes) {
        assert_eq!(ProducerIdBlock::decode(&read.encode()), Some(read));
    }
    if let Some(read) = znodes::decode_configs(bytes) {
        assert_eq!(znodes::decode_configs(&znodes::encode_configs(&read)), Some(read));
    }
    if let Some(read) = znodes::decode_reassignments(bytes) {
        assert_eq!(znodes::decode_reassignments(&znodes::encode_reassignments(&read)), Some(read));
    }
    if let Some(read) = znodes::decode_partitions(bytes) {
        assert_eq!(znodes::decode_partitions(&znodes::encode_partitions(&read)), Some(read));
    }
    if let Some(epoch) = znodes::decode_controller_epoch(bytes) {
        assert_eq!(znodes::decode_controller_epoch(&znodes::encode_controller_epoch(epoch)), Some(epoch));
    }
    if let Some(id) = znodes::decode_cluster_id(bytes) {
        assert_eq!(znodes::decode_cluster_id(&znodes::encode_cluster_id(&id)), Some(id));
    }
    znodes::decode_controller(bytes);
    znodes::decode_config_change(bytes);
    znodes::decode_log_dir_event(bytes);
});
