//! One line about a message, for a person: `Fetch orders-0@42`, `Produce NOT_LEADER_OR_FOLLOWER`.

use super::*;
use crate::id::TopicId;
use bytes::Bytes;
use core::fmt;

/// Writes items with a space before each; after the third only how many more there are.
struct Line<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    items: usize,
}

impl Line<'_, '_> {
    const SHOWN: usize = 3;

    fn item(&mut self, item: fmt::Arguments<'_>) -> fmt::Result {
        self.items += 1;
        if self.items > Self::SHOWN { Ok(()) } else { write!(self.f, " {item}") }
    }

    fn end(self) -> fmt::Result {
        match self.items.checked_sub(Self::SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(self.f, " and {more} more"),
        }
    }
}

/// A topic by its name, or by its id where the version has no name.
struct Named<'a>(&'a str, TopicId);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { self.1.fmt(f) } else { f.write_str(self.0) }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut line = Line { f, items: 0 };
        match self {
            Request::Produce(produce) => {
                for (topic, part) in produce.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (&t.name, p)))
                {
                    let bytes = part.records.as_ref().map_or(0, Bytes::len);
                    line.item(format_args!("{topic}-{} {bytes} B", part.index))?;
                }
            }
            Request::Fetch(fetch) => {
                for topic in &fetch.topics {
                    let name = Named(&topic.name, topic.topic_id);
                    for part in &topic.partitions {
                        line.item(format_args!("{name}-{}@{}", part.partition, part.fetch_offset))?;
                    }
                }
            }
            Request::LeaderAndIsr(told) => {
                let ungrouped = told.ungrouped_partitions.iter().map(|part| (&part.topic, part));
                let grouped = told.topics.iter().flat_map(|t| t.partitions.iter().map(move |part| (&t.name, part)));
                for (topic, part) in ungrouped.chain(grouped) {
                    line.item(format_args!(
                        "{topic}-{} leader {} epoch {}",
                        part.partition, part.leader, part.leader_epoch
                    ))?;
                }
            }
            Request::StopReplica(stop) => {
                for (topic, part) in stop.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (&t.name, p))) {
                    let how = if part.delete { " delete" } else { "" };
                    line.item(format_args!("{topic}-{}{how}", part.partition))?;
                }
            }
            Request::AlterPartition(alter) => {
                for topic in &alter.topics {
                    let name = Named(&topic.name, topic.topic_id);
                    for part in &topic.partitions {
                        let members = part.new_isr.len().max(part.new_isr_with_epochs.len());
                        line.item(format_args!("{name}-{} ISR of {members}", part.partition))?;
                    }
                }
            }
            Request::OffsetForLeaderEpoch(asked) => {
                for (topic, part) in asked.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (&t.name, p))) {
                    line.item(format_args!("{topic}-{} epoch {}", part.partition, part.leader_epoch))?;
                }
            }
            Request::ListOffsets(asked) => {
                for (topic, part) in asked.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (&t.name, p))) {
                    line.item(format_args!("{topic}-{} at {}", part.partition, part.timestamp))?;
                }
            }
            Request::CreateTopics(create) => {
                for topic in &create.topics {
                    line.item(format_args!("{}", topic.name))?;
                }
            }
            Request::DeleteTopics(delete) => {
                for name in delete.names.iter().chain(delete.topics.iter().filter_map(|topic| topic.name.as_ref())) {
                    line.item(format_args!("{name}"))?;
                }
            }
            Request::UpdateMetadata(update) => {
                line.item(format_args!("{} brokers", update.live_brokers.len()))?;
                let grouped: usize = update.topics.iter().map(|topic| topic.partitions.len()).sum();
                line.item(format_args!("{} partitions", grouped + update.ungrouped_partitions.len()))?;
            }
            Request::ControlledShutdown(shutdown) => line.item(format_args!("of broker {}", shutdown.broker_id))?,
            Request::Metadata(_)
            | Request::ApiVersions(_)
            | Request::InitProducerId(_)
            | Request::DescribeConfigs(_)
            | Request::ElectLeaders(_)
            | Request::IncrementalAlterConfigs(_)
            | Request::AlterPartitionReassignments(_)
            | Request::ListPartitionReassignments(_)
            | Request::DescribeCluster(_)
            | Request::AllocateProducerIds(_) => {}
        }
        line.end()
    }
}

impl<R> Response<R> {
    /// The first error the response tells, of the whole or of a part; `NONE` where all went well.
    pub fn first_error(&self) -> ErrorCode {
        fn first(whole: ErrorCode, parts: impl Iterator<Item = ErrorCode>) -> ErrorCode {
            core::iter::once(whole).chain(parts).find(|error| error.is_error()).unwrap_or(ErrorCode::NONE)
        }
        const NONE: ErrorCode = ErrorCode::NONE;
        match self {
            Response::Produce(b) => first(NONE, b.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error)),
            Response::Fetch(b) => first(b.error, b.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error)),
            Response::ListOffsets(b) => first(NONE, b.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error)),
            Response::Metadata(b) => {
                let within = b.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.error));
                first(NONE, b.topics.iter().map(|t| t.error).chain(within))
            }
            Response::LeaderAndIsr(b) => {
                let grouped = b.topics.iter().flat_map(|t| &t.partitions);
                first(b.error, b.ungrouped_partitions.iter().chain(grouped).map(|p| p.error))
            }
            Response::StopReplica(b) => first(b.error, b.partitions.iter().map(|p| p.error)),
            Response::OffsetForLeaderEpoch(b) => {
                first(NONE, b.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error))
            }
            Response::CreateTopics(b) => first(NONE, b.topics.iter().map(|t| t.error)),
            Response::DeleteTopics(b) => first(NONE, b.topics.iter().map(|t| t.error)),
            Response::AlterPartition(b) => first(b.error, b.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error)),
            Response::DescribeConfigs(b) => first(NONE, b.results.iter().map(|r| r.error)),
            Response::IncrementalAlterConfigs(b) => first(NONE, b.responses.iter().map(|r| r.error)),
            Response::ElectLeaders(b) => first(b.error, b.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error)),
            Response::AlterPartitionReassignments(b) => {
                first(b.error, b.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error))
            }
            Response::ListPartitionReassignments(b) => b.error,
            Response::UpdateMetadata(b) => b.error,
            Response::ControlledShutdown(b) => b.error,
            Response::ApiVersions(b) => b.error,
            Response::InitProducerId(b) => b.error,
            Response::DescribeCluster(b) => b.error,
            Response::AllocateProducerIds(b) => b.error,
        }
    }
}

impl<R> fmt::Display for Response<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.first_error();
        if error.is_error() { write!(f, "{} {error}", self.name()) } else { write!(f, "{} answer", self.name()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::offset::Offset;

    #[test]
    fn a_request_says_what_it_is_about() {
        let partition =
            |partition, offset| FetchPartition { partition, fetch_offset: Offset(offset), ..FetchPartition::default() };
        let named = FetchTopic {
            name: "orders".into(),
            partitions: vec![partition(0, 42), partition(1, 7)],
            ..Default::default()
        };
        let unnamed = FetchTopic { partitions: vec![partition(0, 1), partition(1, 2)], ..Default::default() };
        let fetch = Request::from(FetchRequest { topics: vec![named, unnamed], ..Default::default() });
        assert_eq!(fetch.to_string(), "Fetch orders-0@42 orders-1@7 AAAAAAAAAAAAAAAAAAAAAA-0@1 and 1 more");
    }

    #[test]
    fn a_response_says_its_first_error() {
        let partition = ProducePartitionResponse { error: ErrorCode::NOT_ENOUGH_REPLICAS, ..Default::default() };
        let topic = ProduceTopicResponse { partitions: vec![Default::default(), partition], ..Default::default() };
        let refused: Response = ProduceResponse { topics: vec![topic], ..Default::default() }.into();
        assert_eq!(refused.to_string(), "Produce NOT_ENOUGH_REPLICAS");
        assert_eq!(Response::<Bytes>::from(ProduceResponse::default()).to_string(), "Produce answer");
    }
}
