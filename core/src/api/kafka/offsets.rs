//! ListOffsets (key 2) and OffsetForLeaderEpoch (key 23): where a log begins and ends, by time and by leader epoch.

use super::ErrorCode;
use super::table::message;
use crate::id::{BrokerId, LeaderEpoch, TopicPartition};
use crate::record::offset::Offset;
use std::sync::Arc;

/// Where the partition ends for whoever asks, as a ListOffsets timestamp.
pub const LATEST: i64 = -1;
/// Where it begins.
pub const EARLIEST: i64 = -2;
/// Where the record of the highest timestamp is (KIP-734).
pub const MAX_TIMESTAMP: i64 = -3;
/// Where it begins on the leader's own disk (KIP-405).
pub const EARLIEST_LOCAL: i64 = -4;

message! {
    ListOffsetsRequest {
        /// −1 for a consumer.
        replica_id: BrokerId [ALL] = BrokerId(-1),
        /// 0: read uncommitted; 1: read committed.
        isolation_level: i8 [since(2)],
        topics: Vec<ListOffsetsTopic> [ALL],
    }
    ListOffsetsTopic {
        name: Arc<str> [ALL],
        partitions: Vec<ListOffsetsPartition> [ALL],
    }
    ListOffsetsPartition {
        partition: i32 [ALL],
        current_leader_epoch: LeaderEpoch [since(4)] = LeaderEpoch::NONE,
        /// A time in milliseconds, or a question: [`LATEST`], [`EARLIEST`], [`MAX_TIMESTAMP`], [`EARLIEST_LOCAL`]; −5 is
        /// the latest tiered.
        timestamp: i64 [ALL],
        max_num_offsets: i32 [only(0)] = 1,
    }

    ListOffsetsResponse {
        throttle_ms: i32 [since(2)],
        topics: Vec<ListOffsetsTopicResponse> [ALL],
    }
    ListOffsetsTopicResponse {
        name: Arc<str> [ALL],
        partitions: Vec<ListOffsetsPartitionResponse> [ALL],
    }
    ListOffsetsPartitionResponse {
        partition: i32 [ALL],
        error: ErrorCode [ALL],
        old_style_offsets: Vec<Offset> [only(0)],
        timestamp: i64 [since(1)] = -1,
        offset: Offset [since(1)] = Offset(-1),
        leader_epoch: LeaderEpoch [since(4)] = LeaderEpoch::NONE,
    }

    OffsetForLeaderEpochRequest {
        /// −1 for a consumer; −2 where the version has no such field.
        replica_id: BrokerId [since(3)] = BrokerId(-2),
        topics: Vec<OffsetForLeaderTopic> [ALL],
    }
    OffsetForLeaderTopic {
        name: Arc<str> [ALL],
        partitions: Vec<OffsetForLeaderPartition> [ALL],
    }
    OffsetForLeaderPartition {
        partition: i32 [ALL],
        current_leader_epoch: LeaderEpoch [since(2)] = LeaderEpoch::NONE,
        /// The epoch whose end is asked for.
        leader_epoch: LeaderEpoch [ALL],
    }

    OffsetForLeaderEpochResponse {
        throttle_ms: i32 [since(2)],
        topics: Vec<OffsetForLeaderTopicResponse> [ALL],
    }
    OffsetForLeaderTopicResponse {
        name: Arc<str> [ALL],
        partitions: Vec<EpochEndOffset> [ALL],
    }
    EpochEndOffset {
        error: ErrorCode [ALL],
        partition: i32 [ALL],
        /// The largest epoch not above the asked one; version 0 cannot say (KIP-279).
        leader_epoch: LeaderEpoch [since(1)] = LeaderEpoch::NONE,
        end_offset: Offset [ALL] = Offset(-1),
    }
}

impl ListOffsetsRequest {
    /// A client's question about one partition, for its leader of this epoch.
    pub fn of_one(partition: &TopicPartition, current_leader_epoch: LeaderEpoch, timestamp: i64) -> ListOffsetsRequest {
        let line = ListOffsetsPartition {
            partition: partition.partition,
            current_leader_epoch,
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let name = partition.topic.clone();
        let topic = ListOffsetsTopic { name, partitions: vec![line], ..ListOffsetsTopic::default() };
        ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() }
    }
}

impl ListOffsetsResponse {
    /// The offset in the answer about one partition, unless it was refused or there is none.
    pub fn of_one(&self) -> Option<Offset> {
        let part = self.topics.first()?.partitions.first()?;
        (part.error.is_none() && part.offset >= Offset::ZERO).then_some(part.offset)
    }
}
