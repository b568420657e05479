//! Fetch (key 1): how consumers read and followers replicate (protocol.md C.6, C.7).

use super::table::message;
use super::{ErrorCode, LeaderIdAndEpoch, NodeEndpoint};
use crate::id::{BrokerEpoch, BrokerId, LeaderEpoch, ProducerId, TopicId};
use crate::record::offset::Offset;
use bytes::Bytes;
use std::sync::Arc;

message! {
    FetchRequest {
        cluster_id: Option<Arc<str>> [since(12).tag(0)],
        /// −1 for a consumer. From version 15 on it is in `replica_state`; see [`FetchRequest::replica`].
        replica_id: BrokerId [until(14)] = BrokerId(-1),
        replica_state: ReplicaState [since(15).tag(1)],
        max_wait_ms: i32 [ALL],
        min_bytes: i32 [ALL],
        max_bytes: i32 [since(3)] = i32::MAX,
        /// 0: read uncommitted; 1: read committed.
        isolation_level: i8 [since(4)],
        session_id: i32 [since(7)],
        session_epoch: i32 [since(7)] = -1,
        topics: Vec<FetchTopic> [ALL],
        forgotten_topics: Vec<ForgottenTopic> [since(7)],
        rack: Arc<str> [since(11)],
    }
    /// Which registration of which broker fetches (KIP-903).
    ReplicaState {
        replica_id: BrokerId [ALL] = BrokerId(-1),
        replica_epoch: BrokerEpoch [ALL] = BrokerEpoch::NONE,
    }
    FetchTopic {
        name: Arc<str> [until(12)],
        topic_id: TopicId [since(13)],
        partitions: Vec<FetchPartition> [ALL],
    }
    FetchPartition {
        partition: i32 [ALL],
        /// The leader epoch the sender believes in (KIP-320).
        current_leader_epoch: LeaderEpoch [since(9)] = LeaderEpoch::NONE,
        fetch_offset: Offset [ALL],
        /// The epoch of the sender's last record, for truncation on fetch (KIP-595).
        last_fetched_epoch: LeaderEpoch [since(12)] = LeaderEpoch::NONE,
        /// The follower's own log start; −1 from a consumer.
        log_start_offset: Offset [since(5)] = Offset(-1),
        max_bytes: i32 [ALL],
        replica_directory_id: [u8; 16] [since(17).tag(0)],
    }
    /// What an incremental fetch session no longer wants.
    ForgottenTopic {
        name: Arc<str> [until(12)],
        topic_id: TopicId [since(13)],
        partitions: Vec<i32> [ALL],
    }

    FetchResponse<R = Bytes> {
        throttle_ms: i32 [since(1)],
        error: ErrorCode [since(7)],
        session_id: i32 [since(7)],
        topics: Vec<FetchTopicResponse<R>> [ALL],
        node_endpoints: Vec<NodeEndpoint> [since(16).tag(0)],
    }
    FetchTopicResponse<R = Bytes> {
        name: Arc<str> [until(12)],
        topic_id: TopicId [since(13)],
        partitions: Vec<FetchPartitionResponse<R>> [ALL],
    }
    FetchPartitionResponse<R = Bytes> {
        partition: i32 [ALL],
        error: ErrorCode [ALL],
        high_watermark: Offset [ALL],
        last_stable_offset: Offset [since(4)] = Offset(-1),
        log_start_offset: Offset [since(5)] = Offset(-1),
        diverging_epoch: DivergingEpoch [since(12).tag(0)],
        current_leader: LeaderIdAndEpoch [since(12).tag(1)],
        snapshot_id: SnapshotId [since(12).tag(2)],
        aborted_transactions: Option<Vec<AbortedTransaction>> [since(4)],
        preferred_read_replica: BrokerId [since(11)] = BrokerId(-1),
        records: Option<R> [ALL],
    }
    /// The largest epoch below the fetcher's that the leader knows, and its end: where to truncate. −1, −1 for none.
    DivergingEpoch {
        epoch: LeaderEpoch [ALL] = LeaderEpoch::NONE,
        end_offset: Offset [ALL] = Offset(-1),
    }
    /// Only Raft's fetches answer with one.
    SnapshotId {
        end_offset: Offset [ALL] = Offset(-1),
        epoch: LeaderEpoch [ALL] = LeaderEpoch::NONE,
    }
    AbortedTransaction {
        producer_id: ProducerId [ALL],
        first_offset: Offset [ALL],
    }
}

impl FetchRequest {
    /// The follower that fetches, in whichever place the version has it; `None` for a consumer.
    pub fn replica(&self) -> Option<BrokerId> {
        let id = self.replica_state.replica_id.0.max(self.replica_id.0);
        (id >= 0).then_some(BrokerId(id))
    }

    /// The same request as a follower sends it, in the places of every version.
    pub fn from_replica(mut self, id: BrokerId, epoch: BrokerEpoch) -> FetchRequest {
        self.replica_id = id;
        self.replica_state = ReplicaState { replica_id: id, replica_epoch: epoch, ..ReplicaState::default() };
        self
    }
}

impl<R> FetchResponse<R> {
    /// Puts other records in the place of these; the first failure ends it.
    pub fn try_map_records<S, E>(self, mut map: impl FnMut(R) -> Result<S, E>) -> Result<FetchResponse<S>, E> {
        let topics = self.topics.into_iter().map(|topic| topic.try_map_records(&mut map)).collect::<Result<_, E>>()?;
        Ok(FetchResponse {
            throttle_ms: self.throttle_ms,
            error: self.error,
            session_id: self.session_id,
            topics,
            node_endpoints: self.node_endpoints,
            tags: self.tags,
        })
    }

    /// Puts other records in the place of these.
    pub fn map_records<S>(self, mut map: impl FnMut(R) -> S) -> FetchResponse<S> {
        match self.try_map_records(|records| Ok::<S, core::convert::Infallible>(map(records))) {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl<R> FetchTopicResponse<R> {
    fn try_map_records<S, E>(self, map: &mut impl FnMut(R) -> Result<S, E>) -> Result<FetchTopicResponse<S>, E> {
        let partitions = self.partitions.into_iter().map(|part| part.try_map_records(map)).collect::<Result<_, E>>()?;
        Ok(FetchTopicResponse { name: self.name, topic_id: self.topic_id, partitions, tags: self.tags })
    }
}

impl<R> FetchPartitionResponse<R> {
    fn try_map_records<S, E>(self, map: &mut impl FnMut(R) -> Result<S, E>) -> Result<FetchPartitionResponse<S>, E> {
        Ok(FetchPartitionResponse {
            partition: self.partition,
            error: self.error,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset,
            log_start_offset: self.log_start_offset,
            diverging_epoch: self.diverging_epoch,
            current_leader: self.current_leader,
            snapshot_id: self.snapshot_id,
            aborted_transactions: self.aborted_transactions,
            preferred_read_replica: self.preferred_read_replica,
            records: self.records.map(map).transpose()?,
            tags: self.tags,
        })
    }
}
