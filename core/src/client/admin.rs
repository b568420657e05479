//! An administrator: carries out commands (topics, reassignments, elections, settings) through Kafka's own requests,
//! again and again until each has succeeded or was refused for good.

use super::links::{Arrived, Links, is_retriable};
use crate::api::command::{Command, TopicSpec};
use crate::api::kafka::Response;
use crate::api::kafka::*;
use crate::id::BrokerId;
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::client::ClientNote;
use crate::queue::Queue;
use crate::time::{Instant, Now, Span};
use bytes::Bytes;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admin {
    links: Links<()>,
    todo: Queue<Command>,
    /// Since when the first of them is the one to be carried out.
    since: Instant,
    asking: bool,
    not_before: Instant,
    backoff: Span,
    /// How often the present command was told that there is no such topic.
    unknown: u32,
}

impl Admin {
    pub fn new(links: Links<()>, backoff: Span, todo: impl IntoIterator<Item = Command>) -> Admin {
        Admin {
            links,
            todo: todo.into_iter().collect(),
            since: Instant::ZERO,
            asking: false,
            not_before: Instant::ZERO,
            backoff,
            unknown: 0,
        }
    }

    pub fn links(&mut self) -> &mut Links<()> {
        &mut self.links
    }

    /// The command to be carried out next, and since when it waits.
    pub fn waits(&self) -> Option<(&Command, Instant)> {
        self.todo.front().map(|command| (command, self.since))
    }

    pub fn enqueue(&mut self, now: Instant, command: Command) {
        if self.todo.is_empty() {
            self.since = now;
        }
        self.todo.push_back(command);
    }

    pub fn on_wake(&mut self, now: Now, fx: &mut Effects<Effect>) {
        for arrived in self.links.on_wake(now.at, fx) {
            self.on_arrived(now, arrived, fx);
        }
        self.pump(now, fx);
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let retry =
            (!self.todo.is_empty() && !self.asking && self.not_before > Instant::ZERO).then_some(self.not_before);
        [retry, self.links.wake_at()].into_iter().flatten().min()
    }

    pub fn on_arrived(&mut self, now: Now, arrived: Arrived<()>, fx: &mut Effects<Effect>) {
        match arrived {
            Arrived::Described => {}
            Arrived::Unknown { .. } => self.again(now.at),
            Arrived::Answer { response, .. } => {
                self.asking = false;
                match outcome(response) {
                    error if self.is_done(error) => self.finish(now.at, ErrorCode::NONE, fx),
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION if self.unknown >= PATIENCE => {
                        self.finish(now.at, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, fx);
                    }
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                        self.unknown += 1;
                        self.again(now.at);
                    }
                    error if is_retriable(error) || error == ErrorCode::INVALID_REPLICATION_FACTOR => {
                        self.again(now.at)
                    }
                    error => self.finish(now.at, error, fx),
                }
            }
        }
        self.pump(now, fx);
    }

    /// Creating what is there, deleting what is gone, electing who leads: the command has come true.
    fn is_done(&self, error: ErrorCode) -> bool {
        let deletes = matches!(self.todo.front(), Some(Command::DeleteTopic(_)));
        matches!(error, ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS | ErrorCode::ELECTION_NOT_NEEDED)
            || deletes && error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    }

    fn again(&mut self, now: Instant) {
        self.asking = false;
        self.not_before = now + self.backoff;
        self.links.describe(now);
    }

    fn finish(&mut self, now: Instant, error: ErrorCode, fx: &mut Effects<Effect>) {
        self.unknown = 0;
        if let Some(command) = self.todo.pop_front() {
            self.since = now;
            fx.note(ClientNote::Administered { command: command.to_string(), error });
        }
    }

    fn pump(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if self.asking || self.not_before > now.at {
            return;
        }
        let Some(command) = self.todo.front() else { return };
        let Some(controller) = self.links.controller else {
            self.not_before = now.at + self.backoff;
            return;
        };
        match request(command) {
            Some(request) => {
                self.asking = self.links.ask(now.at, controller, (), request, fx);
                if !self.asking {
                    self.again(now.at);
                }
            }
            None => {
                self.todo.pop_front();
                self.since = now.at;
            }
        }
    }
}

/// Answers that a topic is not known, after which it is believed to be gone and not only news.
const PATIENCE: u32 = 20;

const TIMEOUT_MS: i32 = 10_000;

fn request(command: &Command) -> Option<Request> {
    Some(match command {
        Command::CreateTopic(TopicSpec { name, partitions, replicas, min_isr, unclean }) => {
            let config = |name: &str, value: String| CreatableConfig {
                name: name.to_owned(),
                value: Some(value),
                ..CreatableConfig::default()
            };
            let configs = vec![
                config("min.insync.replicas", min_isr.to_string()),
                config("unclean.leader.election.enable", unclean.to_string()),
            ];
            CreateTopicsRequest {
                topics: vec![CreatableTopic {
                    name: name.clone(),
                    num_partitions: *partitions as i32,
                    replication_factor: *replicas as i16,
                    configs,
                    ..CreatableTopic::default()
                }],
                timeout_ms: TIMEOUT_MS,
                ..CreateTopicsRequest::default()
            }
            .into()
        }
        Command::DeleteTopic(name) => DeleteTopicsRequest {
            topics: vec![DeleteTopic { name: Some(name.clone()), ..DeleteTopic::default() }],
            timeout_ms: TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        }
        .into(),
        Command::Reassign { partition, replicas } => AlterPartitionReassignmentsRequest {
            timeout_ms: TIMEOUT_MS,
            topics: vec![ReassignableTopic {
                name: partition.topic.clone(),
                partitions: vec![ReassignablePartition {
                    partition: partition.partition,
                    replicas: Some(replicas.iter().copied().map(BrokerId).collect()),
                    ..ReassignablePartition::default()
                }],
                ..ReassignableTopic::default()
            }],
            ..AlterPartitionReassignmentsRequest::default()
        }
        .into(),
        Command::ElectPreferred(partition) | Command::ElectUnclean(partition) => ElectLeadersRequest {
            election_type: i8::from(matches!(command, Command::ElectUnclean(_))),
            topics: Some(vec![ElectLeadersTopic {
                name: partition.topic.clone(),
                partitions: vec![partition.partition],
                ..ElectLeadersTopic::default()
            }]),
            timeout_ms: TIMEOUT_MS,
            ..ElectLeadersRequest::default()
        }
        .into(),
        Command::SetTopicConfig { topic, key, value } => IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: topic.to_string(),
                configs: vec![AlterableConfig {
                    name: key.clone(),
                    operation: 0,
                    value: Some(value.clone()),
                    ..AlterableConfig::default()
                }],
                ..AlterConfigsResource::default()
            }],
            ..IncrementalAlterConfigsRequest::default()
        }
        .into(),
        Command::Produce { .. }
        | Command::Watch(_)
        | Command::List(_)
        | Command::Multi(_)
        | Command::Still
        | Command::Busy => return None,
    })
}

/// The resource type of a topic in the config requests.
const TOPIC: i8 = 2;

/// The first error an answer names.
fn outcome(response: Response<Bytes>) -> ErrorCode {
    let first = |errors: Vec<ErrorCode>| errors.into_iter().find(|e| *e != ErrorCode::NONE).unwrap_or(ErrorCode::NONE);
    match response {
        Response::CreateTopics(answer) => first(answer.topics.iter().map(|t| t.error).collect()),
        Response::DeleteTopics(answer) => first(answer.topics.iter().map(|t| t.error).collect()),
        Response::AlterPartitionReassignments(answer) => {
            let parts = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error);
            first(core::iter::once(answer.error).chain(parts).collect())
        }
        Response::ElectLeaders(answer) => {
            let parts = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error);
            first(core::iter::once(answer.error).chain(parts).collect())
        }
        Response::IncrementalAlterConfigs(answer) => first(answer.responses.iter().map(|r| r.error).collect()),
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}
