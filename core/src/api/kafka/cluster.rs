//! ElectLeaders (key 43), Alter- and ListPartitionReassignments (keys 45 and 46, KIP-455) and DescribeCluster (key 60):
//! how an operator moves and asks.

use super::table::message;
use super::{ErrorCode, OPERATIONS_NOT_ASKED};
use crate::id::BrokerId;
use std::sync::Arc;

message! {
    ElectLeadersRequest {
        /// 0 preferred, 1 unclean (KIP-460).
        election_type: i8 [since(1)],
        /// Null for all partitions.
        topics: Option<Vec<ElectLeadersTopic>> [ALL],
        timeout_ms: i32 [ALL] = 60_000,
    }
    ElectLeadersTopic {
        name: Arc<str> [ALL],
        partitions: Vec<i32> [ALL],
    }
    ElectLeadersResponse {
        throttle_ms: i32 [ALL],
        error: ErrorCode [since(1)],
        topics: Vec<ElectLeadersTopicResponse> [ALL],
    }
    ElectLeadersTopicResponse {
        name: Arc<str> [ALL],
        partitions: Vec<PartitionResult> [ALL],
    }
    /// How an operator's wish about one partition ended.
    PartitionResult {
        partition: i32 [ALL],
        error: ErrorCode [ALL],
        error_message: Option<String> [ALL],
    }

    AlterPartitionReassignmentsRequest {
        timeout_ms: i32 [ALL] = 60_000,
        topics: Vec<ReassignableTopic> [ALL],
    }
    ReassignableTopic {
        name: Arc<str> [ALL],
        partitions: Vec<ReassignablePartition> [ALL],
    }
    ReassignablePartition {
        partition: i32 [ALL],
        /// Null to cancel a reassignment that is under way.
        replicas: Option<Vec<BrokerId>> [ALL],
    }
    AlterPartitionReassignmentsResponse {
        throttle_ms: i32 [ALL],
        error: ErrorCode [ALL],
        error_message: Option<String> [ALL],
        topics: Vec<ReassignedTopic> [ALL],
    }
    ReassignedTopic {
        name: Arc<str> [ALL],
        partitions: Vec<PartitionResult> [ALL],
    }

    ListPartitionReassignmentsRequest {
        timeout_ms: i32 [ALL] = 60_000,
        /// Null for all topics.
        topics: Option<Vec<ListReassignmentsTopic>> [ALL],
    }
    ListReassignmentsTopic {
        name: Arc<str> [ALL],
        partitions: Vec<i32> [ALL],
    }
    ListPartitionReassignmentsResponse {
        throttle_ms: i32 [ALL],
        error: ErrorCode [ALL],
        error_message: Option<String> [ALL],
        topics: Vec<OngoingTopicReassignment> [ALL],
    }
    OngoingTopicReassignment {
        name: Arc<str> [ALL],
        partitions: Vec<OngoingReassignment> [ALL],
    }
    OngoingReassignment {
        partition: i32 [ALL],
        replicas: Vec<BrokerId> [ALL],
        adding: Vec<BrokerId> [ALL],
        removing: Vec<BrokerId> [ALL],
    }

    DescribeClusterRequest {
        include_cluster_authorized_operations: bool [ALL],
        /// 1 brokers, 2 controllers.
        endpoint_type: i8 [since(1)] = 1,
    }
    DescribeClusterResponse {
        throttle_ms: i32 [ALL],
        error: ErrorCode [ALL],
        error_message: Option<String> [ALL],
        endpoint_type: i8 [since(1)] = 1,
        cluster_id: Arc<str> [ALL],
        controller_id: BrokerId [ALL] = BrokerId(-1),
        brokers: Vec<DescribeClusterBroker> [ALL],
        cluster_authorized_operations: i32 [ALL] = OPERATIONS_NOT_ASKED,
    }
    DescribeClusterBroker {
        broker: BrokerId [ALL],
        host: Arc<str> [ALL],
        port: i32 [ALL],
        rack: Option<Arc<str>> [ALL],
    }
}
