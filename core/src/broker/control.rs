//! What the controller orders: UpdateMetadata and, in [`orders`](super::orders), LeaderAndIsr and StopReplica, fenced by
//! broker and controller epoch (protocol.md C.5, KIP-380); and the orderly stop that is asked of it.

use super::connection::Asker;
use super::partition::Partition;
use super::{Broker, Call, Shutdown, Timer};
use crate::api::kafka::{
    ControlledShutdownRequest, ControlledShutdownResponse, ErrorCode, Request, UpdateMetadataRequest,
    UpdateMetadataResponse,
};
use crate::api::storage::{Lane, StoreOp};
use crate::id::{BrokerEpoch, ControllerEpoch, LeaderEpoch, TopicPartition};
use crate::machine::{Effects, Ticket};
use crate::node::Effect;
use crate::note::broker::BrokerNote;
use crate::record::offset::Offset;
use crate::time::Now;

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

    /// Whether a control request is meant for this registration and comes from the newest controller. What was ordered
    /// before it is done first.
    pub(super) fn check_control(
        &mut self,
        now: Now,
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
            self.obey_all(now, fx);
            return Ok(());
        };
        fx.note(BrokerNote::FencedControl { controller_epoch: controller.0 });
        Err(stale)
    }

    pub(super) fn on_update_metadata(
        &mut self,
        now: Now,
        asker: Asker,
        request: &UpdateMetadataRequest,
        fx: &mut Effects<Effect>,
    ) {
        let checked = self.check_control(now, request.broker_epoch, request.controller_epoch, fx);
        if checked.is_ok() {
            self.metadata.on_update(request);
        }
        let error = checked.err().unwrap_or(ErrorCode::NONE);
        self.answer(asker, UpdateMetadataResponse { error, ..UpdateMetadataResponse::default() }.into(), fx);
        if error.is_none() {
            self.ask_for_producer_ids(now, fx);
            self.run_shutdown(now, fx);
        }
    }

    /// Whoever waited for what the role promised is told.
    pub(super) fn on_role_changed(&mut self, now: Now, name: &TopicPartition, fx: &mut Effects<Effect>) {
        self.settle_produces(name, fx);
        self.wake_fetches(now, name, fx);
    }

    pub(super) fn stop_replica(
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
            self.call(Call::ControlledShutdown { to }, request.into(), fx);
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
        self.obey_all(now, fx);
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
