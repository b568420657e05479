//! What an operator asks: to create, to delete, to describe, and where logs begin and end.

use super::connection::Result;
use super::{Again, Client, Error, may_pass, passes, refused, unexpected};
use bytes::Bytes;
use glasshouse_core::api::kafka::{
    CreatableAssignment, CreatableConfig, CreatableTopic, CreateTopicsRequest, CreatedTopic, DeleteTopic,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeConfigsResource, EARLIEST, ErrorCode, InitProducerIdRequest,
    LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic, Request, Response,
};
use glasshouse_core::id::{BrokerId, ProducerEpoch, ProducerId, TopicPartition};
use glasshouse_core::node::Address;
use glasshouse_core::record::offset::Offset;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    pub name: String,
    /// −1: the broker's default.
    pub partitions: i32,
    /// −1: the broker's default.
    pub replicas: i16,
    /// Which brokers hold which partition; where there is any, the two numbers above are −1.
    pub assignment: Vec<Vec<BrokerId>>,
    pub configs: Vec<(String, String)>,
}

/// One setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    pub value: Option<String>,
    /// Nobody set it for this topic.
    pub is_default: bool,
}

/// A place in a log that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Earliest,
    /// What readers see the end of: the high watermark.
    Latest,
    /// The leader's own end of the log, which readers may not see yet.
    LogEnd,
    /// The first record that is not older, in milliseconds.
    Time(i64),
}

impl Client {
    /// Makes a topic, through the controller.
    ///
    /// # Errors
    /// [`Error::Refused`] with the controller's reason.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<CreatedTopic> {
        let name: Arc<str> = topic.name.as_str().into();
        let assignments = topic.assignment.iter().enumerate().map(|(partition, brokers)| CreatableAssignment {
            partition: partition as i32,
            brokers: brokers.clone(),
            ..CreatableAssignment::default()
        });
        let configs = topic.configs.iter().map(|(name, value)| CreatableConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..CreatableConfig::default()
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.clone(),
                num_partitions: topic.partitions,
                replication_factor: topic.replicas,
                assignments: assignments.collect(),
                configs: configs.collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: self.settings().request_timeout.as_millis() as i32 / 2,
            ..CreateTopicsRequest::default()
        };
        let what = format!("topic {name}");
        let mut unknown = false;
        let judge = |response| match response {
            Response::CreateTopics(answer) => {
                let created = answer.topics.into_iter().next().unwrap_or_default();
                Some((created.error, created.error_message.clone(), created))
            }
            _ => None,
        };
        match self.ask_controller(&what, request.into(), &mut unknown, judge).await {
            // It was us, when the answer was lost.
            Err(error) if unknown && error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                Ok(CreatedTopic { name, ..CreatedTopic::default() })
            }
            made => made,
        }
    }

    /// Deletes a topic, through the controller.
    ///
    /// # Errors
    /// [`Error::Refused`] with the controller's reason.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let topic: Arc<str> = name.into();
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopic { name: Some(topic.clone()), ..DeleteTopic::default() }],
            names: vec![topic],
            timeout_ms: self.settings().request_timeout.as_millis() as i32 / 2,
            ..DeleteTopicsRequest::default()
        };
        let mut unknown = false;
        let judge = |response| match response {
            Response::DeleteTopics(answer) => {
                let deleted = answer.topics.into_iter().next().unwrap_or_default();
                Some((deleted.error, deleted.error_message, ()))
            }
            _ => None,
        };
        match self.ask_controller(&format!("topic {name}"), request.into(), &mut unknown, judge).await {
            Err(error) if unknown && error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => Ok(()),
            deleted => deleted,
        }
    }

    /// Asks the controller, whoever that is by then. `unknown` is set once an answer was lost. UNKNOWN_TOPIC_OR_PARTITION
    /// is the controller's last word; of a broker it might only be old news.
    async fn ask_controller<T>(
        &self,
        what: &str,
        request: Request,
        unknown: &mut bool,
        judge: impl Fn(Response<Bytes>) -> Option<(ErrorCode, Option<String>, T)>,
    ) -> Result<T> {
        let mut again = Again::within(self.settings().timeout, self.settings().backoff);
        loop {
            let error = match self.controller().await {
                Err(error) => error,
                Ok(controller) => match self.ask(&controller, request.clone()).await {
                    Err(error) => error,
                    Ok(response) => {
                        let strange = unexpected(&controller, &response);
                        match judge(response) {
                            None => return Err(strange),
                            Some((ErrorCode::NONE, _, value)) => return Ok(value),
                            Some((code, message, _)) => refused(what.to_owned(), code, message),
                        }
                    }
                },
            };
            *unknown |= error.is_unknown() || error.code() == Some(ErrorCode::REQUEST_TIMED_OUT);
            let last_word = error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            if last_word || !may_pass(&error) || !again.rest().await {
                return Err(error);
            }
        }
    }

    /// Where the controller is.
    ///
    /// # Errors
    /// No broker can be reached, or none is the controller at the moment.
    pub async fn controller(&self) -> Result<Address> {
        let metadata = self.metadata(Some(&[])).await?;
        let found = self.address(metadata.controller_id);
        found.ok_or_else(|| refused("the controller".into(), ErrorCode::BROKER_NOT_AVAILABLE, None))
    }

    /// A topic's settings; `None` if the brokers do not tell.
    ///
    /// # Errors
    /// [`Error::Refused`] with the broker's reason.
    pub async fn describe_configs(&self, topic: &str) -> Result<Option<Vec<ConfigEntry>>> {
        let broker = self.controller().await?;
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: 2,
                resource_name: topic.into(),
                ..DescribeConfigsResource::default()
            }],
            ..DescribeConfigsRequest::default()
        };
        let answer = match self.ask(&broker, request).await {
            Ok(Response::DescribeConfigs(answer)) => answer,
            Ok(other) => return Err(unexpected(&broker, &other)),
            Err(Error::Unsupported { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(result) = answer.results.into_iter().next() else { return Ok(None) };
        match result.error {
            ErrorCode::NONE => {}
            ErrorCode::UNSUPPORTED_VERSION | ErrorCode::NOT_CONTROLLER => return Ok(None),
            code => return Err(refused(format!("settings of {topic}"), code, result.error_message)),
        }
        let entry = |config: glasshouse_core::api::kafka::DescribedConfig| ConfigEntry {
            // Source 1: set for this topic.
            is_default: config.is_default || config.source > 1,
            name: config.name,
            value: config.value,
        };
        Ok(Some(result.configs.into_iter().map(entry).collect()))
    }

    /// Asks the leaders for a place in each of these partitions. One that nobody can tell has its reason in its place.
    ///
    /// # Errors
    /// Never as a whole; each partition has its own answer.
    pub async fn list_offsets(&self, topic: &Arc<str>, partitions: &[i32], at: At) -> BTreeMap<i32, Result<Offset>> {
        let mut again = Again::within(self.settings().timeout, self.settings().backoff);
        let mut open: Vec<i32> = partitions.to_vec();
        let mut found = BTreeMap::new();
        loop {
            for (partition, answer) in self.list_offsets_once(topic, &open, at).await {
                found.insert(partition, answer);
            }
            open.retain(|partition| found.get(partition).is_none_or(|answer| answer.as_ref().is_err_and(may_pass)));
            if open.is_empty() || !again.rest().await {
                return found;
            }
            let _shown_by_the_answers = self.metadata(Some(std::slice::from_ref(topic))).await;
        }
    }

    /// As [`list_offsets`](Client::list_offsets), without repetitions.
    pub async fn list_offsets_once(&self, topic: &Arc<str>, partitions: &[i32], at: At) -> Vec<(i32, Result<Offset>)> {
        let mut leaders: BTreeMap<(BrokerId, Address), Vec<i32>> = BTreeMap::new();
        let mut answers = Vec::new();
        for partition in partitions {
            match self.leader(&TopicPartition { topic: topic.clone(), partition: *partition }) {
                Some(leader) => leaders.entry(leader).or_default().push(*partition),
                None => {
                    let what = format!("{topic}-{partition}");
                    answers.push((*partition, Err(refused(what, ErrorCode::LEADER_NOT_AVAILABLE, None))));
                }
            }
        }
        let asked = leaders.into_iter().map(|((leader, address), partitions)| async move {
            match self.ask(&address, offsets_request(topic, &partitions, at, leader)).await {
                Ok(response) => offsets_of(topic, &address, response, &partitions),
                Err(error) => partitions.iter().map(|partition| (*partition, Err(error.clone()))).collect(),
            }
        });
        answers.extend(futures_util::future::join_all(asked).await.into_iter().flatten());
        answers
    }

    /// A number for an idempotent producer.
    ///
    /// # Errors
    /// No broker hands one out in time.
    pub async fn init_producer_id(&self) -> Result<(ProducerId, ProducerEpoch)> {
        let request = InitProducerIdRequest { transaction_timeout_ms: i32::MAX, ..InitProducerIdRequest::default() };
        let mut again = Again::within(self.settings().timeout, self.settings().backoff);
        loop {
            let mut error = refused("a producer id".into(), ErrorCode::BROKER_NOT_AVAILABLE, None);
            for broker in self.candidates() {
                match self.ask(&broker, request.clone()).await {
                    Ok(Response::InitProducerId(answer)) if answer.error == ErrorCode::NONE => {
                        return Ok((answer.producer_id, answer.producer_epoch));
                    }
                    Ok(Response::InitProducerId(answer)) => {
                        error = refused("a producer id".into(), answer.error, None);
                        if !passes(answer.error) {
                            return Err(error);
                        }
                    }
                    Ok(other) => return Err(unexpected(&broker, &other)),
                    Err(unanswered) => error = unanswered,
                }
            }
            if !may_pass(&error) || !again.rest().await {
                return Err(error);
            }
            let _shown_by_the_next_try = self.metadata(Some(&[])).await;
        }
    }
}

fn offsets_request(topic: &Arc<str>, partitions: &[i32], at: At, leader: BrokerId) -> ListOffsetsRequest {
    let timestamp = match at {
        At::Earliest => EARLIEST,
        At::Latest | At::LogEnd => LATEST,
        At::Time(millis) => millis.max(0),
    };
    let part =
        |partition: &i32| ListOffsetsPartition { partition: *partition, timestamp, ..ListOffsetsPartition::default() };
    ListOffsetsRequest {
        // Only replicas are told the end of the log; the leader is one.
        replica_id: if at == At::LogEnd { leader } else { BrokerId(-1) },
        topics: vec![ListOffsetsTopic {
            name: topic.clone(),
            partitions: partitions.iter().map(part).collect(),
            ..ListOffsetsTopic::default()
        }],
        ..ListOffsetsRequest::default()
    }
}

fn offsets_of(
    topic: &str,
    address: &Address,
    response: Response<Bytes>,
    partitions: &[i32],
) -> Vec<(i32, Result<Offset>)> {
    let Response::ListOffsets(answer) = response else {
        let error = unexpected(address, &response);
        return partitions.iter().map(|partition| (*partition, Err(error.clone()))).collect();
    };
    let rows = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let told = rows.map(|row| match row.error {
        ErrorCode::NONE => (row.partition, Ok(row.offset)),
        code => (row.partition, Err(refused(format!("{topic}-{}", row.partition), code, None))),
    });
    told.collect()
}
