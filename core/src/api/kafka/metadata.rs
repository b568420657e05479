//! ApiVersions (key 18) and Metadata (key 3): what a client asks first.

use super::ErrorCode;
use super::table::message;
use crate::id::{BrokerId, LeaderEpoch, TopicId};
use std::sync::Arc;

/// Kafka's "I was not asked" in a field of authorized operations.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

message! {
    ApiVersionsRequest {
        client_software_name: String [since(3)],
        client_software_version: String [since(3)],
    }
    ApiVersionsResponse {
        error: ErrorCode [ALL],
        apis: Vec<ApiVersion> [ALL],
        throttle_ms: i32 [since(1)],
        supported_features: Vec<SupportedFeature> [since(3).tag(0)],
        finalized_features_epoch: i64 [since(3).tag(1)] = -1,
        finalized_features: Vec<FinalizedFeature> [since(3).tag(2)],
        zk_migration_ready: bool [since(3).tag(3)],
    }
    ApiVersion {
        key: i16 [ALL],
        min_version: i16 [ALL],
        max_version: i16 [ALL],
    }
    SupportedFeature {
        name: String [ALL],
        min_version: i16 [ALL],
        max_version: i16 [ALL],
    }
    FinalizedFeature {
        name: String [ALL],
        max_version_level: i16 [ALL],
        min_version_level: i16 [ALL],
    }

    MetadataRequest {
        /// Null for all topics; so is empty in version 0, which knows no null.
        topics: Option<Vec<MetadataTopic>> [ALL.null_since(1)],
        allow_auto_topic_creation: bool [since(4)] = true,
        include_cluster_authorized_operations: bool [between(8, 10)],
        include_topic_authorized_operations: bool [since(8)],
    }
    MetadataTopic {
        topic_id: TopicId [since(10)],
        name: Option<Arc<str>> [ALL.null_since(10)],
    }
    MetadataResponse {
        throttle_ms: i32 [since(3)],
        brokers: Vec<MetadataBroker> [ALL],
        cluster_id: Option<Arc<str>> [since(2)],
        controller_id: BrokerId [since(1)] = BrokerId(-1),
        topics: Vec<MetadataTopicResponse> [ALL],
        cluster_authorized_operations: i32 [between(8, 10)] = OPERATIONS_NOT_ASKED,
    }
    MetadataBroker {
        node: BrokerId [ALL],
        host: Arc<str> [ALL],
        port: i32 [ALL],
        rack: Option<Arc<str>> [since(1)],
    }
    MetadataTopicResponse {
        error: ErrorCode [ALL],
        name: Option<Arc<str>> [ALL.null_since(12)],
        topic_id: TopicId [since(10)],
        is_internal: bool [since(1)],
        partitions: Vec<MetadataPartition> [ALL],
        topic_authorized_operations: i32 [since(8)] = OPERATIONS_NOT_ASKED,
    }
    MetadataPartition {
        error: ErrorCode [ALL],
        partition: i32 [ALL],
        /// −1 where there is none.
        leader: BrokerId [ALL],
        leader_epoch: LeaderEpoch [since(7)] = LeaderEpoch::NONE,
        replicas: Vec<BrokerId> [ALL],
        isr: Vec<BrokerId> [ALL],
        offline_replicas: Vec<BrokerId> [since(5)],
    }
}
