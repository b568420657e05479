//! LeaderAndIsr (key 4), StopReplica (key 5) and UpdateMetadata (key 6): what the controller tells brokers
//! (protocol.md C.5).

use super::ErrorCode;
use super::table::message;
use crate::id::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, TopicId};
use std::sync::Arc;

message! {
    LeaderAndIsrRequest {
        controller_id: BrokerId [ALL],
        is_kraft_controller: bool [since(7)],
        controller_epoch: ControllerEpoch [ALL],
        /// The receiver's registration, as the controller knows it (KIP-380).
        broker_epoch: BrokerEpoch [since(2)] = BrokerEpoch::NONE,
        /// 0 unknown, which ZooKeeper controllers send; 1 incremental; 2 full.
        kind: i8 [since(5)],
        ungrouped_partitions: Vec<LeaderAndIsrPartition> [until(1)],
        topics: Vec<LeaderAndIsrTopic> [since(2)],
        live_leaders: Vec<LiveLeader> [ALL],
    }
    LeaderAndIsrTopic {
        name: Arc<str> [ALL],
        topic_id: TopicId [since(5)],
        partitions: Vec<LeaderAndIsrPartition> [ALL],
    }
    LeaderAndIsrPartition {
        topic: Arc<str> [until(1)],
        partition: i32 [ALL],
        controller_epoch: ControllerEpoch [ALL],
        leader: BrokerId [ALL],
        leader_epoch: LeaderEpoch [ALL],
        isr: Vec<BrokerId> [ALL],
        partition_epoch: PartitionEpoch [ALL],
        replicas: Vec<BrokerId> [ALL],
        adding_replicas: Vec<BrokerId> [since(3)],
        removing_replicas: Vec<BrokerId> [since(3)],
        is_new: bool [since(1)],
        /// 0 recovered, 1 recovering after an unclean election (KIP-704).
        leader_recovery_state: i8 [since(6)],
    }
    LiveLeader {
        broker: BrokerId [ALL],
        host: Arc<str> [ALL],
        port: i32 [ALL],
    }
    LeaderAndIsrResponse {
        error: ErrorCode [ALL],
        ungrouped_partitions: Vec<LeaderAndIsrPartitionError> [until(4)],
        topics: Vec<LeaderAndIsrTopicError> [since(5)],
    }
    LeaderAndIsrTopicError {
        topic_id: TopicId [ALL],
        partitions: Vec<LeaderAndIsrPartitionError> [ALL],
    }
    LeaderAndIsrPartitionError {
        topic: Arc<str> [until(4)],
        partition: i32 [ALL],
        error: ErrorCode [ALL],
    }

    StopReplicaRequest {
        controller_id: BrokerId [ALL],
        is_kraft_controller: bool [since(4)],
        controller_epoch: ControllerEpoch [ALL],
        broker_epoch: BrokerEpoch [since(1)] = BrokerEpoch::NONE,
        /// For all partitions; from version 3 on each says it for itself.
        delete_partitions: bool [until(2)],
        ungrouped_partitions: Vec<StopReplicaUngrouped> [only(0)],
        plain_topics: Vec<StopReplicaPlainTopic> [between(1, 2)],
        topics: Vec<StopReplicaTopic> [since(3)],
    }
    StopReplicaUngrouped {
        topic: Arc<str> [ALL],
        partition: i32 [ALL],
    }
    StopReplicaPlainTopic {
        name: Arc<str> [ALL],
        partitions: Vec<i32> [ALL],
    }
    StopReplicaTopic {
        name: Arc<str> [ALL],
        partitions: Vec<StopReplicaPartition> [ALL],
    }
    StopReplicaPartition {
        partition: i32 [ALL],
        /// −1: none; −2: the topic is being deleted (both pass any check).
        leader_epoch: LeaderEpoch [ALL] = LeaderEpoch::NONE,
        delete: bool [ALL],
    }
    StopReplicaResponse {
        error: ErrorCode [ALL],
        partitions: Vec<StopReplicaPartitionError> [ALL],
    }
    StopReplicaPartitionError {
        topic: Arc<str> [ALL],
        partition: i32 [ALL],
        error: ErrorCode [ALL],
    }

    UpdateMetadataRequest {
        controller_id: BrokerId [ALL],
        is_kraft_controller: bool [since(8)],
        kind: i8 [since(8).tag(0)],
        controller_epoch: ControllerEpoch [ALL],
        broker_epoch: BrokerEpoch [since(5)] = BrokerEpoch::NONE,
        ungrouped_partitions: Vec<UpdateMetadataPartition> [until(4)],
        topics: Vec<UpdateMetadataTopic> [since(5)],
        live_brokers: Vec<UpdateMetadataBroker> [ALL],
    }
    UpdateMetadataTopic {
        name: Arc<str> [ALL],
        topic_id: TopicId [since(7)],
        partitions: Vec<UpdateMetadataPartition> [ALL],
    }
    UpdateMetadataPartition {
        topic: Arc<str> [until(4)],
        partition: i32 [ALL],
        controller_epoch: ControllerEpoch [ALL],
        /// −1: none; −2: the topic is being deleted.
        leader: BrokerId [ALL],
        leader_epoch: LeaderEpoch [ALL],
        isr: Vec<BrokerId> [ALL],
        partition_epoch: PartitionEpoch [ALL],
        replicas: Vec<BrokerId> [ALL],
        offline_replicas: Vec<BrokerId> [since(4)],
    }
    UpdateMetadataBroker {
        id: BrokerId [ALL],
        v0_host: Arc<str> [only(0)],
        v0_port: i32 [only(0)],
        endpoints: Vec<UpdateMetadataEndpoint> [since(1)],
        rack: Option<Arc<str>> [since(2)],
    }
    UpdateMetadataEndpoint {
        port: i32 [ALL],
        host: Arc<str> [ALL],
        listener: Arc<str> [since(3)],
        /// 0 plaintext, 1 SSL, 2 SASL over plaintext, 3 SASL over SSL.
        security_protocol: i16 [ALL],
    }
    UpdateMetadataResponse {
        error: ErrorCode [ALL],
    }
}
