//! Produce (key 0) and InitProducerId (key 22): how records come in, and how a producer gets its id (protocol.md C.8).

use super::ErrorCode;
use super::table::message;
use crate::id::{BrokerId, LeaderEpoch, ProducerEpoch, ProducerId};
use crate::record::offset::Offset;
use bytes::Bytes;
use std::sync::Arc;

message! {
    ProduceRequest {
        transactional_id: Option<Arc<str>> [since(3)],
        /// 0: no answer; 1: the leader's append; −1: all of the ISR.
        acks: i16 [ALL],
        timeout_ms: i32 [ALL],
        topics: Vec<ProduceTopic> [ALL],
    }
    ProduceTopic {
        name: Arc<str> [ALL],
        partitions: Vec<ProducePartition> [ALL],
    }
    ProducePartition {
        index: i32 [ALL],
        /// A slice of the request: one v2 batch from version 3 on, older message sets before.
        records: Option<Bytes> [ALL],
    }

    ProduceResponse {
        topics: Vec<ProduceTopicResponse> [ALL],
        throttle_ms: i32 [since(1)],
        /// Where the current leaders are (KIP-951).
        node_endpoints: Vec<NodeEndpoint> [since(10).tag(0)],
    }
    ProduceTopicResponse {
        name: Arc<str> [ALL],
        partitions: Vec<ProducePartitionResponse> [ALL],
    }
    ProducePartitionResponse {
        index: i32 [ALL],
        error: ErrorCode [ALL],
        base_offset: Offset [ALL],
        /// −1 unless the topic stamps records when they are appended.
        log_append_time_ms: i64 [since(2)] = -1,
        log_start_offset: Offset [since(5)] = Offset(-1),
        record_errors: Vec<RecordError> [since(8)],
        error_message: Option<String> [since(8)],
        current_leader: LeaderIdAndEpoch [since(10).tag(0)],
    }
    /// Why one record of a refused batch was refused (KIP-467).
    RecordError {
        batch_index: i32 [ALL],
        message: Option<String> [ALL],
    }

    /// The leader a partition has now, where the asked broker is not it (KIP-951).
    LeaderIdAndEpoch {
        leader: BrokerId [ALL] = BrokerId(-1),
        epoch: LeaderEpoch [ALL] = LeaderEpoch(-1),
    }
    /// A broker that a response names (KIP-951).
    NodeEndpoint {
        node: BrokerId [ALL],
        host: Arc<str> [ALL],
        port: i32 [ALL],
        rack: Option<Arc<str>> [ALL],
    }

    InitProducerIdRequest {
        transactional_id: Option<Arc<str>> [ALL],
        transaction_timeout_ms: i32 [ALL],
        producer_id: ProducerId [since(3)] = ProducerId::NONE,
        producer_epoch: ProducerEpoch [since(3)] = ProducerEpoch(-1),
    }
    InitProducerIdResponse {
        throttle_ms: i32 [ALL],
        error: ErrorCode [ALL],
        producer_id: ProducerId [ALL] = ProducerId::NONE,
        producer_epoch: ProducerEpoch [ALL],
    }
}
