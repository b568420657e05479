//! AlterPartition (key 56), ControlledShutdown (key 7) and AllocateProducerIds (key 67): what brokers ask of the
//! controller (protocol.md C.7).

use super::ErrorCode;
use super::table::message;
use crate::id::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, ProducerId, TopicId};
use std::sync::Arc;

message! {
    AlterPartitionRequest {
        broker_id: BrokerId [ALL],
        broker_epoch: BrokerEpoch [ALL] = BrokerEpoch::NONE,
        topics: Vec<AlterPartitionTopic> [ALL],
    }
    AlterPartitionTopic {
        name: Arc<str> [until(1)],
        topic_id: TopicId [since(2)],
        partitions: Vec<AlterPartitionData> [ALL],
    }
    AlterPartitionData {
        partition: i32 [ALL],
        leader_epoch: LeaderEpoch [ALL],
        new_isr: Vec<BrokerId> [until(2)],
        new_isr_with_epochs: Vec<IsrMember> [since(3)],
        /// 0 recovered, 1 recovering after an unclean election (KIP-704).
        leader_recovery_state: i8 [since(1)],
        partition_epoch: PartitionEpoch [ALL],
    }
    /// A member of the proposed ISR and the registration it was seen with (KIP-903).
    IsrMember {
        broker: BrokerId [ALL],
        broker_epoch: BrokerEpoch [ALL] = BrokerEpoch::NONE,
    }
    AlterPartitionResponse {
        throttle_ms: i32 [ALL],
        error: ErrorCode [ALL],
        topics: Vec<AlterPartitionTopicResponse> [ALL],
    }
    AlterPartitionTopicResponse {
        name: Arc<str> [until(1)],
        topic_id: TopicId [since(2)],
        partitions: Vec<AlterPartitionDataResponse> [ALL],
    }
    AlterPartitionDataResponse {
        partition: i32 [ALL],
        error: ErrorCode [ALL],
        leader: BrokerId [ALL],
        leader_epoch: LeaderEpoch [ALL],
        isr: Vec<BrokerId> [ALL],
        leader_recovery_state: i8 [since(1)],
        partition_epoch: PartitionEpoch [ALL],
    }

    ControlledShutdownRequest {
        broker_id: BrokerId [ALL],
        broker_epoch: BrokerEpoch [since(2)] = BrokerEpoch::NONE,
    }
    ControlledShutdownResponse {
        error: ErrorCode [ALL],
        /// Partitions that the broker still leads.
        remaining: Vec<RemainingPartition> [ALL],
    }
    RemainingPartition {
        topic: Arc<str> [ALL],
        partition: i32 [ALL],
    }

    AllocateProducerIdsRequest {
        broker_id: BrokerId [ALL],
        broker_epoch: BrokerEpoch [ALL] = BrokerEpoch::NONE,
    }
    AllocateProducerIdsResponse {
        throttle_ms: i32 [ALL],
        error: ErrorCode [ALL],
        first: ProducerId [ALL],
        count: i32 [ALL],
    }
}
