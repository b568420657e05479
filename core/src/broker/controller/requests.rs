//! What brokers and operators ask of the controller: controlled shutdown, elections, producer ids; and the refusal of
//! anything, in the shape of its answer.

use super::*;
use crate::api::kafka::{
    AllocateProducerIdsResponse, AlterConfigsResult, AlterPartitionReassignmentsResponse, AlterPartitionResponse,
    ControlledShutdownRequest, ControlledShutdownResponse, CreateTopicsResponse, CreatedTopic, DeleteTopicsResponse,
    DeletedTopic, ElectLeadersRequest, ElectLeadersResponse, ElectLeadersTopicResponse,
    IncrementalAlterConfigsResponse, ListPartitionReassignmentsResponse, PartitionResult, RemainingPartition,
};
use crate::broker::znodes::ProducerIdBlock;
use crate::id::{BrokerEpoch, ProducerId};

impl Controller {
    /// Begins to answer the request at hand.
    pub(super) fn on_asked(&mut self, now: Now, fx: Fx<'_>) {
        let Some((_, version, request)) = self.answering.clone() else { return };
        match &request {
            Request::AlterPartition(request) => self.alter_partition(version, request, fx),
            Request::ControlledShutdown(request) => self.controlled_shutdown(version, request, fx),
            Request::CreateTopics(_) => self.create_topics(now, None, fx),
            Request::DeleteTopics(request) => self.delete_topics(version, request, fx),
            Request::ElectLeaders(request) => self.elect_leaders(request),
            Request::IncrementalAlterConfigs(request) => self.alter_configs(request, fx),
            Request::AlterPartitionReassignments(request) => self.alter_reassignments(request),
            Request::ListPartitionReassignments(request) => self.list_reassignments(request, fx),
            Request::AllocateProducerIds(request) => {
                if self.broker_epoch(request.broker_id) != Some(request.broker_epoch) {
                    let error = ErrorCode::STALE_BROKER_EPOCH;
                    return self.reply(AllocateProducerIdsResponse { error, ..Default::default() }.into(), fx);
                }
                self.next([Step::ProducerIds(request.broker_id)]);
            }
            other => panic!("a {} is not the controller's to answer", other.name()),
        }
    }

    fn broker_epoch(&self, id: BrokerId) -> Option<BrokerEpoch> {
        self.context.brokers.get(&id).map(|broker| broker.epoch)
    }

    /// Moves what the broker leads, and takes it out of the ISRs it follows in, so that it can stop unmissed.
    fn controlled_shutdown(&mut self, version: i16, request: &ControlledShutdownRequest, fx: Fx<'_>) {
        let id = request.broker_id;
        let known = self.broker_epoch(id);
        let error = match known {
            None => ErrorCode::BROKER_NOT_AVAILABLE,
            Some(epoch) if version >= 2 && request.broker_epoch < epoch => ErrorCode::STALE_BROKER_EPOCH,
            Some(_) => ErrorCode::NONE,
        };
        if error.is_error() {
            return self.reply(ControlledShutdownResponse { error, ..Default::default() }.into(), fx);
        }
        self.context.shutting_down.insert(id);
        let (mut led, mut followed) = (Vec::new(), Vec::new());
        for (tp, partition) in &self.context.partitions {
            let has_others = partition.assignment.replicas.len() > 1 && partition.led.is_some();
            if !partition.assignment.replicas.contains(&id) || !has_others || self.context.is_deleting(&tp.topic) {
                continue;
            }
            if partition.leader() == Some(id) { led.push(tp.clone()) } else { followed.push((tp.clone(), id)) }
        }
        for (tp, _) in &followed {
            self.batch.stop(id, tp, false);
        }
        let stops = core::mem::take(&mut self.batch);
        let elections = Step::Online { of: led, strategy: Strategy::ControlledShutdown };
        self.next([
            elections,
            Step::Gather(Box::new(stops)),
            Step::Flush,
            Step::Replicas { to: ReplicaState::Offline, of: followed },
            Step::ShutdownReply(id),
        ]);
    }

    pub(super) fn reply_shutdown(&mut self, id: BrokerId, fx: Fx<'_>) {
        let led = self
            .context
            .partitions
            .iter()
            .filter(|(_, part)| part.assignment.replicas.len() > 1 && part.leader() == Some(id));
        let remaining: Vec<RemainingPartition> = led
            .map(|(tp, _)| RemainingPartition {
                topic: tp.topic.clone(),
                partition: tp.partition,
                ..Default::default()
            })
            .collect();
        fx.note(ControllerNote::ControlledShutdown { id, remaining: remaining.len() as u32 });
        self.reply(ControlledShutdownResponse { remaining, ..Default::default() }.into(), fx);
    }

    fn elect_leaders(&mut self, request: &ElectLeadersRequest) {
        let asked: Vec<TopicPartition> = match &request.topics {
            None => self.context.partitions.keys().cloned().collect(),
            Some(topics) => {
                let of = |topic: &kafka::ElectLeadersTopic| {
                    let name = topic.name.clone();
                    topic.partitions.clone().into_iter().map(move |number| TopicPartition::new(name.clone(), number))
                };
                topics.iter().flat_map(of).collect()
            }
        };
        let preferred = request.election_type == 0;
        let strategy = if preferred { Strategy::Preferred } else { Strategy::Offline { unclean: true } };
        let (mut refused, mut before) = (Vec::new(), Vec::new());
        for tp in asked {
            let Some(partition) = self.context.partitions.get(&tp).filter(|_| !self.context.is_deleting(&tp.topic))
            else {
                refused.push((tp, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
                continue;
            };
            let leader = partition.leader();
            let not_needed = if preferred {
                leader.is_some() && leader == partition.assignment.replicas.first().copied()
            } else {
                leader.is_some_and(|id| self.context.is_online(&tp, id))
            };
            match not_needed {
                // Asked for all, what needs nothing is not spoken of.
                true if request.topics.is_none() => {}
                true => refused.push((tp, ErrorCode::ELECTION_NOT_NEEDED)),
                false => before.push((tp, leader)),
            }
        }
        let of = before.iter().map(|(tp, _)| tp.clone()).collect();
        self.next([Step::Online { of, strategy }, Step::ElectReply(refused, strategy, before)]);
    }

    pub(super) fn reply_elections(
        &mut self,
        refused: Vec<(TopicPartition, ErrorCode)>,
        strategy: Strategy,
        before: Vec<(TopicPartition, Option<BrokerId>)>,
        fx: Fx<'_>,
    ) {
        let failed = match strategy {
            Strategy::Preferred => ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
            _ => ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
        };
        let mut results: OrdMap<TopicPartition, ErrorCode> = refused.into_iter().collect();
        for (tp, leader) in before {
            let after = self.context.partitions.get(&tp).and_then(context::Partition::leader);
            let elected = after.is_some() && after != leader;
            results.insert(tp, if elected { ErrorCode::NONE } else { failed });
        }
        let mut topics: Vec<ElectLeadersTopicResponse> = Vec::new();
        for (tp, error) in results {
            let row = PartitionResult { partition: tp.partition, error, ..Default::default() };
            match topics.last_mut() {
                Some(topic) if topic.name == tp.topic => topic.partitions.push(row),
                _ => topics.push(ElectLeadersTopicResponse {
                    name: tp.topic,
                    partitions: vec![row],
                    ..Default::default()
                }),
            }
        }
        self.reply(ElectLeadersResponse { topics, ..Default::default() }.into(), fx);
    }

    /// The znode's wish is dropped once it is read; what cannot be elected now is left to the automatic rebalance. Who leads
    /// already is left alone (KafkaController.processReplicaLeaderElection): the old tool writes all partitions.
    pub(super) fn on_preferred_read(&mut self, answer: Answer, fx: Fx<'_>) {
        let wanted = match answer {
            Ok(Done::Data { data, .. }) => data.as_deref().and_then(znodes::decode_partitions).unwrap_or_default(),
            _ => {
                let again = Then::Armed(Box::new(Event::PreferredWanted));
                return self.ask([Op::exists(znodes::PREFERRED_ELECTION, true)], again, fx);
            }
        };
        let is_needed = |tp: &TopicPartition| {
            let partition = self.context.partitions.get(tp).filter(|_| !self.context.is_deleting(&tp.topic));
            partition.is_some_and(|part| part.leader() != part.assignment.replicas.first().copied())
        };
        let of = wanted.into_iter().filter(is_needed).collect();
        self.next([Step::Online { of, strategy: Strategy::Preferred }, Step::EndPreferred]);
    }

    /// Preferred elections for brokers that lead too few of the partitions they are preferred for (C.3).
    pub(super) fn rebalance(&mut self) {
        let mut preferred: OrdMap<BrokerId, (u64, Vec<TopicPartition>)> = OrdMap::new();
        for (tp, partition) in &self.context.partitions {
            let Some(head) = partition.assignment.replicas.first().copied() else { continue };
            if self.context.is_deleting(&tp.topic) {
                continue;
            }
            let (all, elsewhere) = preferred.entry(head).or_default();
            *all += 1;
            if partition.leader() != Some(head) {
                elsewhere.push(tp.clone());
            }
        }
        let allowed = u64::from(self.settings.leader_imbalance_per_broker_percentage);
        let mut of = Vec::new();
        for (head, (all, elsewhere)) in preferred {
            if elsewhere.len() as u64 * 100 > allowed * all {
                of.extend(elsewhere.into_iter().filter(|tp| {
                    let led = self.context.partitions.get(tp).and_then(|partition| partition.led.as_ref());
                    self.context.is_online(tp, head) && led.is_some_and(|led| led.state.isr.contains(&head))
                }));
            }
        }
        if !of.is_empty() {
            self.next([Step::Online { of, strategy: Strategy::Preferred }]);
        }
    }

    pub(super) fn on_producer_block(&mut self, to: BrokerId, answer: Answer, fx: Fx<'_>) {
        let Ok(Done::Data { data, stat }) = answer else {
            let error = ErrorCode::UNKNOWN_SERVER_ERROR;
            return self.reply(AllocateProducerIdsResponse { error, ..Default::default() }.into(), fx);
        };
        let latest = data.as_deref().and_then(ProducerIdBlock::decode);
        let Some(block) = ProducerIdBlock::after(latest, to) else {
            let error = ErrorCode::UNKNOWN_SERVER_ERROR;
            return self.reply(AllocateProducerIdsResponse { error, ..Default::default() }.into(), fx);
        };
        let set = Op::set(znodes::PRODUCER_ID_BLOCK, block.encode(), stat.version);
        self.ask([set], Then::ProducerBlockWritten(to, block), fx);
    }

    pub(super) fn on_producer_block_written(
        &mut self,
        to: BrokerId,
        block: ProducerIdBlock,
        answer: Answer,
        fx: Fx<'_>,
    ) {
        if answer.is_err() {
            // Another controller, or ourselves before a lost reply: a block may be skipped, never given twice.
            return self.next([Step::ProducerIds(to)]);
        }
        fx.note(ControllerNote::ProducerIds { start: block.start, end: block.end, to });
        let (first, count) = (ProducerId(block.start), ProducerIdBlock::LENGTH as i32);
        self.reply(AllocateProducerIdsResponse { first, count, ..Default::default() }.into(), fx);
    }

    /// Answers a request with one error for all of it.
    pub(super) fn refuse(&self, to: Asker, request: &Request, error: ErrorCode, fx: Fx<'_>) {
        let response: Response<LogRange> = match request {
            Request::AlterPartition(_) => AlterPartitionResponse { error, ..Default::default() }.into(),
            Request::ControlledShutdown(_) => ControlledShutdownResponse { error, ..Default::default() }.into(),
            Request::AllocateProducerIds(_) => AllocateProducerIdsResponse { error, ..Default::default() }.into(),
            Request::ElectLeaders(_) => ElectLeadersResponse { error, ..Default::default() }.into(),
            Request::AlterPartitionReassignments(_) => {
                AlterPartitionReassignmentsResponse { error, ..Default::default() }.into()
            }
            Request::ListPartitionReassignments(_) => {
                ListPartitionReassignmentsResponse { error, ..Default::default() }.into()
            }
            Request::CreateTopics(request) => {
                let refused = |name: &Arc<str>| CreatedTopic { name: name.clone(), error, ..Default::default() };
                let topics = request.topics.iter().map(|topic| refused(&topic.name)).collect();
                CreateTopicsResponse { topics, ..Default::default() }.into()
            }
            Request::DeleteTopics(request) => {
                let by_name = request.names.iter().map(|name| (Some(name.clone()), Default::default()));
                let by_either = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
                let refused = |(name, topic_id)| DeletedTopic { name, topic_id, error, ..Default::default() };
                DeleteTopicsResponse { topics: by_name.chain(by_either).map(refused).collect(), ..Default::default() }
                    .into()
            }
            Request::IncrementalAlterConfigs(request) => {
                let responses = request.resources.iter().map(|resource| AlterConfigsResult {
                    error,
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    ..Default::default()
                });
                IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }.into()
            }
            other => panic!("a {} is not the controller's to refuse", other.name()),
        };
        fx.emit(Effect::Reply { to, response });
    }
}
