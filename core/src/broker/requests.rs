//! What is asked of a broker: dispatch, produce, metadata, producer ids (protocol.md C.8); fetches and offsets are in
//! [`super::reads`].
//! Whatever only a controller answers goes to the controller in this broker, which knows whether it is one.

use super::config::TopicSettings;
use super::connection::Asker;
use super::metadata::{self, api_versions};
use super::partition::isr::Change;
use super::partition::purgatory::{ProducePart, ProduceWait};
use super::partition::{Context, Partition};
use super::reads::named_twice;
use super::{Broker, Call, Timer, topic_names};
use crate::api::kafka::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, CreateTopicsRequest, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribeConfigsResult, ErrorCode, InitProducerIdRequest, InitProducerIdResponse,
    MetadataRequest, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse, Request,
};
use crate::id::{BrokerId, ProducerEpoch, ProducerId, TopicPartition};
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::broker::BrokerNote;
use crate::record::offset::Offset;
use crate::time::{Instant, Now, Span};
use std::sync::Arc;

/// How long a producer id is waited for before the controller is asked again.
const PRODUCER_IDS_AGAIN: Span = Span::millis(500);

/// Topics that are made at once because somebody asked for them; more are to be asked for again.
const MADE_AT_ONCE: usize = 1000;

impl Broker {
    /// Everything that is asked of this broker comes in here.
    pub(super) fn on_request(
        &mut self,
        now: Now,
        asker: Asker,
        version: i16,
        request: Request,
        fx: &mut Effects<Effect>,
    ) {
        match request {
            Request::Produce(request) => self.on_produce(now, asker, &request, fx),
            Request::Fetch(request) => self.on_fetch(now, asker, version, request, fx),
            Request::ListOffsets(request) => self.on_list_offsets(asker, version, &request, fx),
            Request::OffsetForLeaderEpoch(request) => self.on_offset_for_leader_epoch(asker, &request, fx),
            Request::Metadata(request) => self.on_metadata(now, asker, version, &request, fx),
            Request::ApiVersions(_) => self.answer(asker, api_versions(version).into(), fx),
            Request::DescribeCluster(_) => self.answer(asker, self.metadata.describe_cluster().into(), fx),
            Request::DescribeConfigs(request) => self.answer(asker, configs_not_served(&request).into(), fx),
            Request::InitProducerId(request) => self.on_init_producer_id(now, asker, &request, fx),
            request if self.is_too_early(&request) => self.early.push((asker, version, request)),
            Request::LeaderAndIsr(request) => self.on_leader_and_isr(now, asker, &request, fx),
            Request::StopReplica(request) => self.on_stop_replica(now, asker, &request, fx),
            Request::UpdateMetadata(request) => self.on_update_metadata(now, asker, &request, fx),
            request @ (Request::ControlledShutdown(_)
            | Request::CreateTopics(_)
            | Request::DeleteTopics(_)
            | Request::ElectLeaders(_)
            | Request::IncrementalAlterConfigs(_)
            | Request::AlterPartitionReassignments(_)
            | Request::ListPartitionReassignments(_)
            | Request::AlterPartition(_)
            | Request::AllocateProducerIds(_)) => self.ask_controller(now, asker, version, request, fx),
        }
    }

    // Produce.

    fn on_produce(&mut self, now: Now, asker: Asker, request: &ProduceRequest, fx: &mut Effects<Effect>) {
        let acks = request.acks;
        let refused = match acks {
            -1..=1 if request.transactional_id.is_some() => Some(ErrorCode::INVALID_TXN_STATE),
            -1..=1 => None,
            _ => Some(ErrorCode::INVALID_REQUIRED_ACKS),
        };
        let rows = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|row| (&topic.name, row.index)));
        let twice = named_twice(rows);
        let mut parts = Vec::with_capacity(request.topics.len());
        let mut open = 0;
        for topic in &request.topics {
            for wanted in &topic.partitions {
                let name = TopicPartition { topic: topic.name.clone(), partition: wanted.index };
                let records = wanted.records.as_ref();
                let is_repeated = twice.binary_search(&(&topic.name, wanted.index)).is_ok();
                let part = match (refused, records) {
                    (Some(code), _) => failed_part(name, code),
                    (None, _) if is_repeated => failed_part(name, ErrorCode::INVALID_REQUEST),
                    (None, None) => failed_part(name, ErrorCode::INVALID_RECORD),
                    (None, Some(records)) => self.append(now, name, records, acks, fx),
                };
                open += u32::from(part.outcome.is_none());
                parts.push(part);
            }
        }
        let wait = ProduceWait { asker, parts, open };
        if wait.open == 0 {
            return self.answer_produce(wait, acks, fx);
        }
        let until = now.at + Span::millis(request.timeout_ms.max(0) as u64);
        let names: Vec<TopicPartition> = wait.parts.iter().map(|part| part.partition.clone()).collect();
        self.purgatory.park_produce(wait, until);
        // It may be there already: a duplicate, or an ISR of one.
        for name in names {
            self.settle_produces(&name, fx);
        }
    }

    /// Appends one partition's batch. With acks = all the part has no outcome yet.
    fn append(
        &mut self,
        now: Now,
        name: TopicPartition,
        records: &bytes::Bytes,
        acks: i16,
        fx: &mut Effects<Effect>,
    ) -> ProducePart {
        let at =
            Context { me: self.id, now, settings: &self.settings, rules: self.config.rules, metadata: &self.metadata };
        let Some(partition) = self.partitions.get_mut(&name) else {
            let code = self.missing(&name);
            return failed_part(name, code);
        };
        let before = partition.log.high_watermark();
        let appended = match partition.append_produced(records, acks, &at, fx) {
            Ok(appended) => appended,
            Err(code) => return failed_part(name, code),
        };
        let log_start = partition.log.start();
        let moved = partition.log.high_watermark() > before;
        let (base, last) = (appended.base, appended.last);
        if !appended.duplicate {
            self.wake_fetches(now, &name, fx);
        }
        if moved {
            self.on_high_watermark(now, &name, fx);
        }
        let outcome = if acks == -1 { None } else { Some(ErrorCode::NONE) };
        if acks == 1 {
            fx.note(BrokerNote::Acknowledged { partition: name.clone(), base, last, all: false });
        }
        ProducePart { partition: name, base, last, log_start, outcome }
    }

    /// Why there is no replica here.
    pub(super) fn missing(&self, name: &TopicPartition) -> ErrorCode {
        if self.metadata.knows(name) {
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        } else {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
    }

    /// Answers the produce requests whose last outcome came with the partition's present state.
    pub(super) fn settle_produces(&mut self, name: &TopicPartition, fx: &mut Effects<Effect>) {
        let partition = self.partitions.get(name);
        let outcome = |last: Offset| match partition {
            None => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Some(partition) => partition.is_acknowledged(last).map(|told| told.err().unwrap_or(ErrorCode::NONE)),
        };
        for wait in self.purgatory.settle_produces(name, outcome) {
            self.answer_produce(wait, -1, fx);
        }
    }

    pub(super) fn answer_produce(&mut self, wait: ProduceWait, acks: i16, fx: &mut Effects<Effect>) {
        let mut topics: Vec<ProduceTopicResponse> = Vec::new();
        for part in wait.parts {
            let error = part.outcome.unwrap_or(ErrorCode::NONE);
            let partition = self.partitions.get(&part.partition);
            if acks == -1 && error.is_none() {
                let (partition, base, last) = (part.partition.clone(), part.base, part.last);
                fx.note(BrokerNote::Acknowledged { partition, base, last, all: true });
            } else if error == ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                && let Some(partition) = partition
                && let Some(leader) = partition.leader()
            {
                partition.note_not_enough(leader.isr.maximal_len(), true, fx);
            }
            let current_leader = match (error, partition) {
                (ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(partition)) => partition.current_leader(self.id),
                _ => Default::default(),
            };
            let row = ProducePartitionResponse {
                index: part.partition.partition,
                error,
                base_offset: if error.is_none() { part.base } else { Offset(-1) },
                log_start_offset: if error.is_none() { part.log_start } else { Offset(-1) },
                current_leader,
                ..ProducePartitionResponse::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.name == part.partition.topic => topic.partitions.push(row),
                _ => topics.push(ProduceTopicResponse {
                    name: part.partition.topic,
                    partitions: vec![row],
                    ..ProduceTopicResponse::default()
                }),
            }
        }
        self.answer(wait.asker, ProduceResponse { topics, ..ProduceResponse::default() }.into(), fx);
    }

    /// The high watermark of a partition moved: who waited for it is answered.
    pub(super) fn on_high_watermark(&mut self, now: Now, name: &TopicPartition, fx: &mut Effects<Effect>) {
        self.settle_produces(name, fx);
        self.wake_fetches(now, name, fx);
    }

    // Metadata.

    fn on_metadata(
        &mut self,
        now: Now,
        asker: Asker,
        version: i16,
        request: &MetadataRequest,
        fx: &mut Effects<Effect>,
    ) {
        let (mut response, unknown) = self.metadata.answer(request, version);
        if request.allow_auto_topic_creation && self.settings.auto_create_topics_enable {
            self.being_made.retain(|_, number| self.askers.contains_key(number));
            let told: Vec<ErrorCode> = unknown.iter().map(|name| self.make_topic(now, name, fx)).collect();
            for topic in &mut response.topics {
                if let Some(Ok(at)) = topic.name.as_ref().map(|name| unknown.binary_search(name)) {
                    topic.error = told[at];
                    topic.is_internal = topic_names::is_internal(&unknown[at]);
                }
            }
        }
        self.answer(asker, response.into(), fx);
    }

    /// Begins to make a topic that somebody asked for, and says what they are told: what is wrong with it, if that is known
    /// at once, or that it is being made and to be asked for again (AutoTopicCreationManager).
    fn make_topic(&mut self, now: Now, name: &Arc<str>, fx: &mut Effects<Effect>) -> ErrorCode {
        if self.being_made.contains_key(name) {
            return ErrorCode::LEADER_NOT_AVAILABLE;
        }
        if self.being_made.len() >= MADE_AT_ONCE {
            return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        }
        if self.metadata.collides(name) {
            return ErrorCode::INVALID_TOPIC_EXCEPTION;
        }
        let topics = vec![topic_names::creatable(name, &self.settings)];
        let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
        let (number, seats) = (self.number_asker(Asker::Nobody), self.metadata.seats());
        let mut begun = Err(ErrorCode::BROKER_NOT_AVAILABLE);
        self.controller_do(now, fx, |controller, now, fx| {
            begun = controller.create_topic(now, request, seats, number, fx);
        });
        match begun {
            Ok(()) => {
                self.being_made.insert(name.clone(), number);
                ErrorCode::LEADER_NOT_AVAILABLE
            }
            Err(error) => {
                self.askers.remove(&number);
                // This broker can make nothing now; another may.
                if error == ErrorCode::BROKER_NOT_AVAILABLE { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { error }
            }
        }
    }

    // Producer ids.

    fn on_init_producer_id(
        &mut self,
        now: Now,
        asker: Asker,
        request: &InitProducerIdRequest,
        fx: &mut Effects<Effect>,
    ) {
        if request.transactional_id.is_some() {
            // There is no transaction coordinator here yet.
            let error = ErrorCode::COORDINATOR_NOT_AVAILABLE;
            return self.answer(asker, InitProducerIdResponse { error, ..Default::default() }.into(), fx);
        }
        self.wants_producer_id.push_back(asker);
        self.hand_out_producer_ids(fx);
        self.ask_for_producer_ids(now, fx);
    }

    fn hand_out_producer_ids(&mut self, fx: &mut Effects<Effect>) {
        while self.producer_ids.1 > 0
            && let Some(asker) = self.wants_producer_id.pop_front()
        {
            let producer_id = self.producer_ids.0;
            self.producer_ids = (ProducerId(producer_id.0 + 1), self.producer_ids.1 - 1);
            let response =
                InitProducerIdResponse { producer_id, producer_epoch: ProducerEpoch(0), ..Default::default() };
            self.answer(asker, response.into(), fx);
        }
    }

    /// Asks the controller for a block of ids, if somebody waits for one. Who was the controller may never answer, paused
    /// or cut off: who is now is asked.
    pub(super) fn ask_for_producer_ids(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if self.wants_producer_id.is_empty() {
            return;
        }
        self.deadlines.set(Timer::ProducerIds, now.at + PRODUCER_IDS_AGAIN);
        let controller = self.metadata.controller();
        let is_over = |to: BrokerId, until: Instant| Some(to) != controller || until <= now.at;
        self.calls
            .retain(|_, (call, _)| !matches!(call, Call::AllocateProducerIds { to, until } if is_over(*to, *until)));
        if self.calls.values().any(|(call, _)| matches!(call, Call::AllocateProducerIds { .. })) {
            return;
        }
        if let Some(to) = self.reachable_controller() {
            let request = AllocateProducerIdsRequest {
                broker_id: self.id,
                broker_epoch: self.registration.epoch,
                ..AllocateProducerIdsRequest::default()
            };
            let until = now.at + self.settings.controller_socket_timeout;
            self.call(Call::AllocateProducerIds { to, until }, request.into(), fx);
        }
    }

    pub(super) fn on_producer_ids(&mut self, now: Now, answer: &AllocateProducerIdsResponse, fx: &mut Effects<Effect>) {
        if answer.error.is_none() && answer.count > 0 {
            self.producer_ids = (answer.first, answer.count);
            self.deadlines.clear(&Timer::ProducerIds);
            self.hand_out_producer_ids(fx);
        }
        if !self.wants_producer_id.is_empty() {
            self.deadlines.set(Timer::ProducerIds, now.at + PRODUCER_IDS_AGAIN);
        }
    }
}

fn failed_part(partition: TopicPartition, code: ErrorCode) -> ProducePart {
    let none = Offset(-1);
    ProducePart { partition, base: none, last: none, log_start: none, outcome: Some(code) }
}

/// Settings are not described here yet; each resource is told so, as the client listener tells it (`net/kafka/refusal`).
fn configs_not_served(request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| DescribeConfigsResult {
        error: ErrorCode::UNSUPPORTED_VERSION,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..DescribeConfigsResult::default()
    });
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

/// Whether a client's version of an API is one we serve.
pub fn is_served(request: &Request, version: i16) -> bool {
    metadata::is_served(request.key(), version)
}

/// The ISR changes that are due: who lagged for too long is proposed to leave.
impl Broker {
    pub(super) fn shrink_isrs(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let at =
            Context { me: self.id, now, settings: &self.settings, rules: self.config.rules, metadata: &self.metadata };
        let mut shrunk = Vec::new();
        for (name, partition) in &mut self.partitions {
            if self.alter.is_busy(name) {
                continue;
            }
            let out = partition.may_shrink(&at);
            if !out.is_empty() {
                partition.propose(Change::Shrink(out), fx);
                shrunk.push(name.clone());
            }
        }
        for name in shrunk {
            self.queue_proposal(&name);
        }
    }

    /// The settings of a topic changed, or without one those of all: its partitions live by them, and what they held back
    /// may go on.
    pub(super) fn apply_topic_settings(&mut self, now: Now, topic: Option<&Arc<str>>, fx: &mut Effects<Effect>) {
        let mut moved = Vec::new();
        let names: Vec<TopicPartition> = match topic {
            Some(topic) => self.replicas_of(topic).cloned().collect(),
            None => self.partitions.keys().cloned().collect(),
        };
        for name in &names {
            let Some(partition) = self.partitions.get_mut(name) else { continue };
            let overrides = self.topic_configs.get(&name.topic);
            let (settings, are_read) = (TopicSettings::of(&self.settings, overrides), overrides.is_some());
            if partition.settings == settings && partition.settings_are_read == are_read {
                continue;
            }
            (partition.settings, partition.settings_are_read) = (settings, are_read);
            let at = Context {
                me: self.id,
                now,
                settings: &self.settings,
                rules: self.config.rules,
                metadata: &self.metadata,
            };
            if Partition::advance_high_watermark(partition, &at, fx) {
                moved.push(name.clone());
            }
        }
        for name in moved {
            self.on_high_watermark(now, &name, fx);
        }
    }
}
