//! One fetcher for each broker this one follows: a single request under way, covering all partitions led there
//! (protocol.md C.6). Decides when to ask what; what an answer means is the partition's to decide.

use super::partition::follower::Phase;
use super::partition::{Context, Partition};
use crate::api::kafka::{
    EARLIEST, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic, ListOffsetsRequest,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic, Request,
};
use crate::id::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition};
use crate::machine::Effects;
use crate::node::Effect;
use crate::ordered::{OrdMap, OrdSet};
use crate::record::offset::Offset;
use crate::time::Instant;
use bytes::Bytes;

/// Partitions by name, as the broker holds them.
pub type Partitions = OrdMap<TopicPartition, Partition>;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fetcher {
    pub partitions: OrdSet<TopicPartition>,
    /// What is under way, by its correlation id.
    call: Option<(i32, Asked)>,
    /// The leader could not be reached: not before this.
    resting_until: Option<Instant>,
}

/// A request that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    Fetch(Vec<(TopicPartition, FetchPartition)>),
    /// Of which partitions, and in which epoch of each.
    EpochEnds(Vec<(TopicPartition, LeaderEpoch)>),
    /// Where the leader's log starts, then where it ends.
    Range {
        partition: TopicPartition,
        epoch: LeaderEpoch,
        start: Option<Offset>,
    },
}

impl Fetcher {
    pub fn is_idle(&self) -> bool {
        self.call.is_none()
    }

    /// The next request, if one is due: first what must be known before a fetch, then the fetch.
    pub fn next_request(
        &mut self,
        partitions: &Partitions,
        at: &Context<'_>,
        epoch: BrokerEpoch,
    ) -> Option<(Asked, Request)> {
        if self.call.is_some() || self.resting_until.is_some_and(|until| until > at.now.at) {
            return None;
        }
        self.resting_until = None;
        let mine = || self.partitions.iter().filter_map(|name| partitions.get(name));
        let in_phase = |phase: Phase| {
            mine().filter(move |partition| {
                partition.follower().is_some_and(|follower| follower.phase == phase && follower.is_awake(at.now.at))
            })
        };
        if in_phase(Phase::Truncating).next().is_some() {
            return Some(ask_epoch_ends(in_phase(Phase::Truncating), at.me));
        }
        if let Some(partition) = in_phase(Phase::OutOfRange).next() {
            return Some(ask_range(partition, EARLIEST, None, at.me));
        }
        // A fetch says "I hold everything below": it waits until that is true of all it covers.
        if in_phase(Phase::Fetching).any(|partition| partition.waits_for_disk(at.settings.flush)) {
            return None;
        }
        let mut asked = Vec::new();
        let mut topics: Vec<FetchTopic> = Vec::new();
        for partition in mine() {
            let Some(line) = partition.next_fetch(at) else { continue };
            asked.push((partition.name().clone(), line.clone()));
            let (name, topic_id) = (&partition.name().topic, partition.log.topic_id);
            match topics.last_mut() {
                Some(topic) if topic.name == *name => topic.partitions.push(line),
                _ => topics.push(FetchTopic {
                    name: name.clone(),
                    topic_id,
                    partitions: vec![line],
                    ..FetchTopic::default()
                }),
            }
        }
        if asked.is_empty() {
            return None;
        }
        let request = FetchRequest {
            max_wait_ms: at.settings.replica_fetch_wait_max.as_millis() as i32,
            min_bytes: at.settings.replica_fetch_min_bytes,
            max_bytes: at.settings.replica_fetch_response_max_bytes,
            topics,
            ..FetchRequest::default()
        };
        Some((Asked::Fetch(asked), request.from_replica(at.me, epoch).into()))
    }

    /// The request was sent under this number.
    pub fn sent(&mut self, correlation: i32, asked: Asked) {
        self.call = Some((correlation, asked));
    }

    /// Takes what the answer with this number answers.
    pub fn answered(&mut self, correlation: i32) -> Option<Asked> {
        match &self.call {
            Some((sent, _)) if *sent == correlation => self.call.take().map(|(_, asked)| asked),
            _ => None,
        }
    }

    /// The channel broke, or the leader did not answer in time: asks again later.
    pub fn lost(&mut self, until: Instant) {
        self.call = None;
        self.resting_until = Some(until);
    }

    /// The leader can be reached again.
    pub fn reachable(&mut self) {
        self.resting_until = None;
    }

    pub fn call(&self) -> Option<i32> {
        self.call.as_ref().map(|(correlation, _)| *correlation)
    }

    /// When it next has something to ask, if nothing else happens.
    pub fn wakes_at(&self, partitions: &Partitions, now: Instant) -> Option<Instant> {
        if self.call.is_some() {
            return None;
        }
        let resting = self.partitions.iter().filter_map(|name| partitions.get(name)?.follower()?.resting_until);
        resting.chain(self.resting_until).filter(|until| *until > now).min()
    }
}

fn ask_epoch_ends<'a>(of: impl Iterator<Item = &'a Partition>, me: BrokerId) -> (Asked, Request) {
    let mut asked = Vec::new();
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for partition in of {
        asked.push((partition.name().clone(), partition.leader_epoch()));
        let line = OffsetForLeaderPartition {
            partition: partition.name().partition,
            current_leader_epoch: partition.leader_epoch(),
            leader_epoch: partition.log.epochs().latest(),
            ..OffsetForLeaderPartition::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.name == partition.name().topic => topic.partitions.push(line),
            _ => topics.push(OffsetForLeaderTopic {
                name: partition.name().topic.clone(),
                partitions: vec![line],
                ..OffsetForLeaderTopic::default()
            }),
        }
    }
    let request = OffsetForLeaderEpochRequest { replica_id: me, topics, ..OffsetForLeaderEpochRequest::default() };
    (Asked::EpochEnds(asked), request.into())
}

/// Asks for one end of the leader's log.
pub fn ask_range(partition: &Partition, end: i64, start: Option<Offset>, me: BrokerId) -> (Asked, Request) {
    let question = ListOffsetsRequest::of_one(partition.name(), partition.leader_epoch(), end);
    let request = ListOffsetsRequest { replica_id: me, ..question };
    let (partition, epoch) = (partition.name().clone(), partition.leader_epoch());
    (Asked::Range { partition, epoch, start }, request.into())
}

/// Hands the parts of a fetch's answer to their partitions; those that failed as a whole rest.
pub fn on_fetch_answer(
    asked: Vec<(TopicPartition, FetchPartition)>,
    answer: FetchResponse<Bytes>,
    partitions: &mut Partitions,
    at: &Context<'_>,
    fx: &mut Effects<Effect>,
) {
    if answer.error.is_error() {
        for (name, _) in &asked {
            if let Some(partition) = partitions.get_mut(name) {
                partition.rest(at);
            }
        }
        return;
    }
    for topic in answer.topics {
        for part in topic.partitions {
            let same = |name: &TopicPartition| {
                name.partition == part.partition
                    && (name.topic == topic.name
                        || partitions.get(name).is_some_and(|ours| ours.log.topic_id == topic.topic_id))
            };
            let Some((name, sent)) = asked.iter().find(|(name, _)| same(name)) else { continue };
            if let Some(partition) = partitions.get_mut(name) {
                partition.on_fetched(sent, part, at, fx);
            }
        }
    }
}

pub fn on_epoch_ends(
    asked: &[(TopicPartition, LeaderEpoch)],
    answer: &OffsetForLeaderEpochResponse,
    partitions: &mut Partitions,
    at: &Context<'_>,
    fx: &mut Effects<Effect>,
) {
    for topic in &answer.topics {
        for part in &topic.partitions {
            let same = |name: &TopicPartition| name.partition == part.partition && name.topic == topic.name;
            let Some((name, epoch)) = asked.iter().find(|(name, _)| same(name)) else { continue };
            if let Some(partition) = partitions.get_mut(name) {
                partition.on_epoch_end(*epoch, part, at, fx);
            }
        }
    }
}

/// The answer to OffsetsForLeaderEpoch about one partition.
pub fn epoch_end(partition: &Partition, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let answer = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    if let Err(error) = partition.check_epoch(asked.current_leader_epoch) {
        return EpochEndOffset { error, ..answer };
    }
    if partition.leader().is_none() {
        return EpochEndOffset { error: crate::api::kafka::ErrorCode::NOT_LEADER_OR_FOLLOWER, ..answer };
    }
    match partition.log.end_of_epoch(asked.leader_epoch) {
        Some(end) => EpochEndOffset { leader_epoch: end.epoch, end_offset: end.end, ..answer },
        None => EpochEndOffset { leader_epoch: LeaderEpoch::NONE, end_offset: Offset(-1), ..answer },
    }
}
