//! CreateTopics (key 19) and DeleteTopics (key 20).

use super::ErrorCode;
use super::table::message;
use crate::id::{BrokerId, TopicId};
use std::sync::Arc;

message! {
    CreateTopicsRequest {
        topics: Vec<CreatableTopic> [ALL],
        timeout_ms: i32 [ALL] = 60_000,
        validate_only: bool [since(1)],
    }
    CreatableTopic {
        name: Arc<str> [ALL],
        /// −1 with an assignment, or for the broker's default (KIP-464).
        num_partitions: i32 [ALL],
        replication_factor: i16 [ALL],
        assignments: Vec<CreatableAssignment> [ALL],
        configs: Vec<CreatableConfig> [ALL],
    }
    CreatableAssignment {
        partition: i32 [ALL],
        brokers: Vec<BrokerId> [ALL],
    }
    CreatableConfig {
        name: String [ALL],
        value: Option<String> [ALL],
    }
    CreateTopicsResponse {
        throttle_ms: i32 [since(2)],
        topics: Vec<CreatedTopic> [ALL],
    }
    CreatedTopic {
        name: Arc<str> [ALL],
        topic_id: TopicId [since(7)],
        error: ErrorCode [ALL],
        error_message: Option<String> [since(1)],
        /// Why the configs are null (KIP-525).
        config_error: ErrorCode [since(5).tag(0)],
        num_partitions: i32 [since(5)] = -1,
        replication_factor: i16 [since(5)] = -1,
        configs: Option<Vec<CreatedConfig>> [since(5)],
    }
    CreatedConfig {
        name: String [ALL],
        value: Option<String> [ALL],
        read_only: bool [ALL],
        source: i8 [ALL] = -1,
        is_sensitive: bool [ALL],
    }

    DeleteTopicsRequest {
        topics: Vec<DeleteTopic> [since(6)],
        names: Vec<Arc<str>> [until(5)],
        timeout_ms: i32 [ALL],
    }
    /// A topic by its name or by its id (KIP-516).
    DeleteTopic {
        name: Option<Arc<str>> [ALL],
        topic_id: TopicId [ALL],
    }
    DeleteTopicsResponse {
        throttle_ms: i32 [since(1)],
        topics: Vec<DeletedTopic> [ALL],
    }
    DeletedTopic {
        name: Option<Arc<str>> [ALL.null_since(6)],
        topic_id: TopicId [since(6)],
        error: ErrorCode [ALL],
        error_message: Option<String> [since(5)],
    }
}
