//! What the controller orders: LeaderAndIsr, StopReplica, UpdateMetadata, fenced by broker and controller epoch
//! (protocol.md C.5, KIP-380); and the orderly stop that is asked of it.

use super::config::TopicSettings;
use super::connection::Asker;
use super::partition::log::Log;
use super::partition::{Context, Partition};
use super::{Broker, Call, Shutdown, Timer};
use crate::api::kafka::{
    ControlledShutdownRequest, ControlledShutdownResponse, ErrorCode, LeaderAndIsrPartition,
    LeaderAndIsrPartitionError, LeaderAndIsrRequest, LeaderAndIsrResponse, LeaderAndIsrTopicError, Request,
    StopReplicaPartitionError, StopReplicaRequest, StopReplicaResponse, UpdateMetadataRequest, UpdateMetadataResponse,
};
use crate::api::storage::{Lane, StoreOp};
use crate::id::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition};
use crate::machine::{Effects, Ticket};
use crate::node::Effect;
use crate::note::broker::BrokerNote;
use crate::ordered::OrdSet;
use crate::record::offset::Offset;
use crate::time::Now;
use std::sync::Arc;

impl Broker {
    /// A control request from before the first registration may be meant for the process that had this id before, whose
    /// registration is still there; which one, the own registration will tell. (Apache's brokers read no requests before
    /// they are registered.)
    pub(super) fn is_too_early(&self, request: &Request) -> bool {
        let broker = match request {
            Request::LeaderAndIsr(request) => request.broker_epoch,
            Request::StopReplica(request) => request.broker_epoch,
            Request::UpdateMetadata(request) => request.broker_epoch,
            _ => return false,
        };
        self.registration.epoch == BrokerEpoch::NONE && broker != BrokerEpoch::NONE
    }

    /// This broker is registered: what was asked before can be judged.
    pub(super) fn take_early(&mut self, now: Now, fx: &mut Effects<Effect>) {
        for (asker, version, request) in core::mem::take(&mut self.early) {
            self.on_request(now, asker, version, request, fx);
        }
    }

    /// Whether a control request is meant for this registration and comes from the newest controller.
    fn check_control(
        &mut self,
        broker: BrokerEpoch,
        controller: ControllerEpoch,
        fx: &mut Effects<Effect>,
    ) -> Result<(), ErrorCode> {
        let stale = if broker < self.registration.epoch && broker != BrokerEpoch::NONE {
            ErrorCode::STALE_BROKER_EPOCH
        } else if controller < self.controller_epoch {
            ErrorCode::STALE_CONTROLLER_EPOCH
        } else {
            self.controller_epoch = controller;
            return Ok(());
        };
        fx.note(BrokerNote::FencedControl { controller_epoch: controller.0 });
        Err(stale)
    }

    pub(super) fn on_update_metadata(
        &mut self,
        now: Now,
        asker: Asker,
        request: UpdateMetadataRequest,
        fx: &mut Effects<Effect>,
    ) {
        let checked = self.check_control(request.broker_epoch, request.controller_epoch, fx);
        if checked.is_ok() {
            self.metadata.on_update(&request);
        }
        let error = checked.err().unwrap_or(ErrorCode::NONE);
        self.answer(asker, UpdateMetadataResponse { error, ..UpdateMetadataResponse::default() }.into(), fx);
        if error.is_none() {
            self.ask_for_producer_ids(now, fx);
            self.run_shutdown(now, fx);
        }
    }

    pub(super) fn on_leader_and_isr(
        &mut self,
        now: Now,
        asker: Asker,
        request: LeaderAndIsrRequest,
        fx: &mut Effects<Effect>,
    ) {
        if let Err(error) = self.check_control(request.broker_epoch, request.controller_epoch, fx) {
            let response = LeaderAndIsrResponse { error, ..LeaderAndIsrResponse::default() };
            return self.answer(asker, response.into(), fx);
        }
        if !self.told_to_lead {
            self.told_to_lead = true;
            let at = now.at + self.settings.high_watermark_checkpoint_interval;
            self.deadlines.set(Timer::CheckpointHighWatermarks, at);
        }
        let mut touched = OrdSet::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|told| {
                let error = self.lead_or_follow(now, &topic.name, topic.topic_id, told, &mut touched, fx);
                LeaderAndIsrPartitionError {
                    topic: topic.name.clone(),
                    partition: told.partition,
                    error: error.err().unwrap_or(ErrorCode::NONE),
                    ..LeaderAndIsrPartitionError::default()
                }
            });
            topics.push(LeaderAndIsrTopicError {
                topic_id: topic.topic_id,
                partitions: partitions.collect(),
                ..LeaderAndIsrTopicError::default()
            });
        }
        self.answer(asker, LeaderAndIsrResponse { topics, ..LeaderAndIsrResponse::default() }.into(), fx);
        for name in touched {
            self.on_role_changed(now, &name, fx);
        }
        let leaders: Vec<BrokerId> = self.fetchers.keys().copied().collect();
        for leader in leaders {
            self.run_fetcher(now, leader, fx);
        }
    }

    fn lead_or_follow(
        &mut self,
        now: Now,
        topic: &Arc<str>,
        topic_id: TopicId,
        told: &LeaderAndIsrPartition,
        touched: &mut OrdSet<TopicPartition>,
        fx: &mut Effects<Effect>,
    ) -> Result<(), ErrorCode> {
        let name = TopicPartition::new(topic.clone(), told.partition);
        if let Some(ours) = self.partitions.get(&name) {
            let id = ours.log.topic_id;
            if id != topic_id && id != TopicId::NONE && topic_id != TopicId::NONE {
                return Err(ErrorCode::INCONSISTENT_TOPIC_ID);
            }
            if !ours.is_news(told) {
                return Err(ErrorCode::STALE_CONTROLLER_EPOCH);
            }
        }
        if !told.replicas.contains(&self.id) {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        self.create_partition(now, &name, topic_id, fx);
        if let Some(ours) = self.partitions.get_mut(&name).filter(|ours| ours.log.is_damaged()) {
            // As a member it would be counted for what it lost. The controller takes it out, and tells it so; as the last
            // member it stays, and the partition offline.
            if told.isr.contains(&self.id) {
                return Err(ErrorCode::KAFKA_STORAGE_ERROR);
            }
            ours.log.cut_damage(fx);
        }
        let at =
            Context { me: self.id, now, settings: &self.settings, rules: self.config.rules, metadata: &self.metadata };
        let Some(partition) = self.partitions.get_mut(&name) else { return Err(ErrorCode::KAFKA_STORAGE_ERROR) };
        let led_by = partition.follower().map(|follower| follower.leader);
        if told.leader == self.id {
            partition.become_leader(told, &at, fx);
        } else if self.metadata.is_alive(told.leader) {
            partition.become_follower(told, &at, fx);
        } else {
            // The log is there; role, epoch and fetcher stay as they were (C.5).
            return Ok(());
        }
        self.alter.withdraw(&name);
        if let Some(fetcher) = led_by.and_then(|leader| self.fetchers.get_mut(&leader)) {
            fetcher.partitions.remove(&name);
        }
        if told.leader != self.id {
            self.fetchers.entry(told.leader).or_default().partitions.insert(name.clone());
        }
        touched.insert(name);
        Ok(())
    }

    fn create_partition(&mut self, now: Now, name: &TopicPartition, topic_id: TopicId, fx: &mut Effects<Effect>) {
        if let Some(ours) = self.partitions.get_mut(name) {
            if ours.log.topic_id == TopicId::NONE {
                ours.log.topic_id = topic_id;
            }
            return;
        }
        // What is known of its settings may be about a topic of the same name that is gone.
        if !self.has_replica_of(&name.topic) {
            self.read_topic_config(now, &name.topic, fx);
        }
        let overrides = self.topic_configs.get(&name.topic);
        let (settings, are_read) = (TopicSettings::of(&self.settings, overrides), overrides.is_some());
        let after = self.retired.remove(name).unwrap_or_default();
        let log = Log::create(name.clone(), topic_id, after, fx);
        let mut partition = Partition::new(log, settings);
        partition.settings_are_read = are_read;
        self.partitions.insert(name.clone(), partition);
    }

    fn has_replica_of(&self, topic: &Arc<str>) -> bool {
        let first = TopicPartition::new(topic.clone(), i32::MIN);
        self.partitions.range(first..).next().is_some_and(|(name, _)| name.topic == *topic)
    }

    /// Whoever waited for what the role promised is told.
    fn on_role_changed(&mut self, now: Now, name: &TopicPartition, fx: &mut Effects<Effect>) {
        self.settle_produces(name, fx);
        self.wake_fetches(now, name, fx);
    }

    pub(super) fn on_stop_replica(
        &mut self,
        now: Now,
        asker: Asker,
        request: StopReplicaRequest,
        fx: &mut Effects<Effect>,
    ) {
        if let Err(error) = self.check_control(request.broker_epoch, request.controller_epoch, fx) {
            let response = StopReplicaResponse { error, ..StopReplicaResponse::default() };
            return self.answer(asker, response.into(), fx);
        }
        let mut partitions = Vec::new();
        for topic in &request.topics {
            for told in &topic.partitions {
                let name = TopicPartition::new(topic.name.clone(), told.partition);
                let error = self.stop_replica(now, &name, told.leader_epoch, told.delete, fx);
                partitions.push(StopReplicaPartitionError {
                    topic: topic.name.clone(),
                    partition: told.partition,
                    error: error.err().unwrap_or(ErrorCode::NONE),
                    ..StopReplicaPartitionError::default()
                });
            }
        }
        self.answer(asker, StopReplicaResponse { partitions, ..StopReplicaResponse::default() }.into(), fx);
    }

    fn stop_replica(
        &mut self,
        now: Now,
        name: &TopicPartition,
        epoch: LeaderEpoch,
        delete: bool,
        fx: &mut Effects<Effect>,
    ) -> Result<(), ErrorCode> {
        let Some(partition) = self.partitions.get_mut(name) else { return Ok(()) };
        // −1 and −2 stand for "whatever epoch" (KAFKA-13972).
        if epoch >= LeaderEpoch(0) && epoch < partition.leader_epoch() {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if let Some(leader) = partition.follower().map(|follower| follower.leader)
            && let Some(fetcher) = self.fetchers.get_mut(&leader)
        {
            fetcher.partitions.remove(name);
        }
        partition.stop(fx);
        if delete && let Some(partition) = self.partitions.remove(name) {
            fx.note(BrokerNote::ReplicaStopped { partition: name.clone(), deleted: true });
            self.alter.withdraw(name);
            self.retired.insert(name.clone(), partition.log.delete(fx));
            if !self.has_replica_of(&name.topic) {
                self.topic_configs.remove(&name.topic);
            }
            self.on_role_changed(now, name, fx);
        }
        Ok(())
    }

    // The orderly stop.

    pub(super) fn on_shutdown(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if self.shutdown.is_some() {
            return;
        }
        let settings = &self.settings;
        let attempts = if settings.controlled_shutdown_enable { settings.controlled_shutdown_max_retries } else { 0 };
        self.shutdown = Some(Shutdown { attempts });
        if attempts == 0 || !self.is_registered() {
            return self.stop_now(now, fx);
        }
        self.ask_to_shut_down(now, fx);
    }

    /// Asks the controller to move what this broker leads elsewhere; each try costs an attempt.
    fn ask_to_shut_down(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let Some(shutdown) = &mut self.shutdown else { return };
        if shutdown.attempts == 0 {
            return self.stop_now(now, fx);
        }
        shutdown.attempts -= 1;
        if let Some(to) = self.reachable_controller() {
            let request = ControlledShutdownRequest {
                broker_id: self.id,
                broker_epoch: self.registration.epoch,
                ..ControlledShutdownRequest::default()
            };
            self.call(Call::ControlledShutdown { to }, Request::ControlledShutdown(request), fx);
        }
        // An answer moves it on earlier; silence is a failed attempt.
        self.deadlines.set(Timer::Shutdown, now.at + self.settings.controlled_shutdown_retry_backoff);
    }

    pub(super) fn on_shutdown_timer(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if self.registration.step == super::registration::Step::Leaving {
            return self.become_stopped(fx);
        }
        self.ask_to_shut_down(now, fx);
    }

    pub(super) fn on_controlled_shutdown(
        &mut self,
        now: Now,
        answer: &ControlledShutdownResponse,
        fx: &mut Effects<Effect>,
    ) {
        if self.shutdown.is_none() || answer.error.is_error() {
            return;
        }
        let remaining = answer.remaining.len() as u32;
        fx.note(BrokerNote::ShuttingDown { remaining });
        if remaining == 0 {
            self.stop_now(now, fx);
        }
    }

    /// Leaves nothing that the next start would have to repair, then closes the session.
    fn stop_now(&mut self, now: Now, fx: &mut Effects<Effect>) {
        for partition in self.partitions.values_mut() {
            partition.log.sync(fx);
            partition.log.snapshot_producers(fx);
        }
        self.checkpoint(fx);
        fx.emit(Effect::Store { lane: Lane::Checkpoint, op: StoreOp::CleanShutdown });
        self.leave(now, fx);
        self.deadlines.set(Timer::Shutdown, now.at + self.settings.controlled_shutdown_retry_backoff);
        self.run_shutdown(now, fx);
    }

    /// Stops once the session is closed.
    pub(super) fn run_shutdown(&mut self, _: Now, fx: &mut Effects<Effect>) {
        if self.registration.step == super::registration::Step::Leaving && self.keeper.is_closed() {
            self.become_stopped(fx);
        }
    }

    pub(super) fn become_stopped(&mut self, fx: &mut Effects<Effect>) {
        if self.shutdown.take().is_some() {
            // What was synced since the last words.
            self.checkpoint(fx);
            self.deadlines.clear_all();
            fx.note(BrokerNote::Stopped);
            fx.emit(Effect::Stopped);
        }
    }

    /// Writes down the recovery points, the high watermark of every partition that was named in a LeaderAndIsr, and the log
    /// starts that lie inside a segment, as far as they changed. Nobody waits for the sync; the store forgets by it what
    /// older checkpoints said.
    pub(super) fn checkpoint(&mut self, fx: &mut Effects<Effect>) {
        let told = |partition: &&Partition| partition.leader_epoch() != LeaderEpoch::NONE;
        let marks: Vec<(TopicPartition, Offset)> = self
            .partitions
            .values()
            .filter(told)
            .map(|partition| (partition.name().clone(), partition.log.high_watermark()))
            .collect();
        let recovery: Vec<(TopicPartition, Offset)> =
            self.partitions.values().map(|partition| (partition.name().clone(), partition.log.durable())).collect();
        let starts: Vec<(TopicPartition, Offset)> = self
            .partitions
            .values()
            .filter(|partition| partition.log.starts_inside_segment())
            .map(|partition| (partition.name().clone(), partition.log.start()))
            .collect();
        let changed = [
            (marks != self.checkpointed.0).then(|| StoreOp::HighWatermarks(marks.clone())),
            (recovery != self.checkpointed.1).then(|| StoreOp::RecoveryPoints(recovery.clone())),
            (starts != self.checkpointed.2).then(|| StoreOp::LogStarts(starts.clone())),
        ];
        if changed.iter().any(Option::is_some) {
            for op in changed.into_iter().flatten() {
                fx.emit(Effect::Store { lane: Lane::Checkpoint, op });
            }
            self.sync_checkpoints(fx);
        }
        self.checkpointed = (marks, recovery, starts);
    }

    /// Asks for what was written to the lane of checkpoints to be made durable.
    pub(super) fn sync_checkpoints(&mut self, fx: &mut Effects<Effect>) -> Ticket {
        let ticket = self.checkpoint_tickets.take_next();
        fx.emit(Effect::Sync { lane: Lane::Checkpoint, ticket });
        ticket
    }
}
