//! AlterPartition: what a leader may make of its ISR (protocol.md C.4).

use super::context::Led;
use super::states::read_state;
use super::*;
use crate::api::kafka::{
    AlterPartitionData, AlterPartitionDataResponse, AlterPartitionRequest, AlterPartitionResponse,
    AlterPartitionTopicResponse, IsrMember,
};
use crate::broker::znodes::PartitionState;
use crate::id::{BrokerEpoch, PartitionEpoch, TopicId};

/// One AlterPartition whose new ISRs are being written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Alter {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Row {
    topic: Arc<str>,
    id: TopicId,
    partition: i32,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Refused(ErrorCode),
    /// As it is already: an answer that was lost, asked for again.
    Same(Led),
    Writing(PartitionState),
    Written(Led),
}

impl Controller {
    pub(super) fn alter_partition(&mut self, version: i16, request: &AlterPartitionRequest, fx: Fx<'_>) {
        let known = self.context.brokers.get(&request.broker_id).map(|broker| broker.epoch);
        if known != Some(request.broker_epoch) {
            let response = AlterPartitionResponse { error: ErrorCode::STALE_BROKER_EPOCH, ..Default::default() };
            return self.reply(response.into(), fx);
        }
        let mut rows = Vec::new();
        let mut ops = Vec::new();
        for topic in &request.topics {
            let name =
                if version > 1 { self.context.topic_named(topic.topic_id).cloned() } else { Some(topic.name.clone()) };
            for wish in &topic.partitions {
                let outcome = match &name {
                    None => Outcome::Refused(ErrorCode::UNKNOWN_TOPIC_ID),
                    Some(name) => {
                        let tp = TopicPartition { topic: name.clone(), partition: wish.partition };
                        self.judge(&tp, version, request.broker_id, wish, &mut ops, fx)
                    }
                };
                let topic_name = name.clone().unwrap_or_default();
                rows.push(Row { topic: topic_name, id: topic.topic_id, partition: wish.partition, outcome });
            }
        }
        self.ask(ops, Then::IsrWritten(Box::new(Alter { rows })), fx);
    }

    /// The checks, in their order; a wish that passes them adds its write to `ops`.
    fn judge(
        &self,
        tp: &TopicPartition,
        version: i16,
        leader: BrokerId,
        wish: &AlterPartitionData,
        ops: &mut Vec<Op>,
        fx: Fx<'_>,
    ) -> Outcome {
        let Some(led) = self.context.partitions.get(tp).and_then(|partition| partition.led.as_ref()) else {
            return Outcome::Refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let mut refuse = |code, why| {
            fx.note(ControllerNote::IsrRefused { partition: tp.clone(), why });
            Outcome::Refused(code)
        };
        // The sender knows more than we do: we are no longer the controller (KAFKA-14154).
        if wish.leader_epoch > led.state.leader_epoch || wish.partition_epoch > led.epoch {
            return refuse(ErrorCode::NOT_CONTROLLER, "its leader knows a newer epoch");
        }
        if wish.leader_epoch < led.state.leader_epoch {
            return refuse(ErrorCode::FENCED_LEADER_EPOCH, "its leader epoch is over");
        }
        let named = &wish.new_isr_with_epochs;
        let isr: Vec<BrokerId> =
            if version >= 3 { named.iter().map(|member| member.broker).collect() } else { wish.new_isr.clone() };
        let recovering = wish.leader_recovery_state == 1;
        let now = &led.state;
        if now.leader == Some(leader) && now.recovering == recovering && now.isr == isr {
            return Outcome::Same(led.clone());
        }
        if wish.partition_epoch < led.epoch {
            return refuse(ErrorCode::INVALID_UPDATE_VERSION, "its partition epoch is over");
        }
        if recovering && (isr.len() > 1 || !now.recovering) {
            return refuse(ErrorCode::INVALID_REQUEST, "a recovering leader is alone in its ISR");
        }
        if !isr.iter().all(|id| self.context.is_live(*id)) {
            let code = if version <= 1 { ErrorCode::OPERATION_NOT_ATTEMPTED } else { ErrorCode::INELIGIBLE_REPLICA };
            return refuse(code, "a member is not live or is shutting down");
        }
        if version >= 3 && named.iter().any(|member| !self.is_registered_so(member)) {
            return refuse(ErrorCode::INELIGIBLE_REPLICA, "a member has been registered anew");
        }
        let new =
            PartitionState { controller_epoch: self.epoch(), isr, recovering, leader: Some(leader), ..now.clone() };
        ops.push(self.fenced(Op::set(&znodes::partition_state(tp), new.encode(), led.epoch.0)));
        Outcome::Writing(new)
    }

    /// Whether a member is named by no epoch, or by that of its registration (KIP-903).
    fn is_registered_so(&self, member: &IsrMember) -> bool {
        let known = self.context.brokers.get(&member.broker).map(|broker| broker.epoch);
        member.broker_epoch == BrokerEpoch::NONE || known == Some(member.broker_epoch)
    }

    pub(super) fn on_isr_written(&mut self, mut alter: Alter, answers: Vec<Answer>, fx: Fx<'_>) {
        let mut answers = answers.into_iter();
        let mut disputed = Vec::new();
        for Row { topic, partition, outcome, .. } in &mut alter.rows {
            let Outcome::Writing(state) = outcome else { continue };
            match answers.next().map(written) {
                Some(Ok(done)) => {
                    let epoch = PartitionEpoch(done.stat().map_or(0, |stat| stat.version));
                    *outcome = Outcome::Written(Led { state: state.clone(), epoch });
                }
                Some(Err(KeeperError::BADVERSION)) => {
                    let tp = TopicPartition { topic: topic.clone(), partition: *partition };
                    disputed.push(Op::get(&znodes::partition_state(&tp), false));
                }
                Some(Err(_)) | None => *outcome = Outcome::Refused(ErrorCode::UNKNOWN_SERVER_ERROR),
            }
        }
        if disputed.is_empty() {
            return self.finish_alter(alter, fx);
        }
        self.ask(disputed, Then::IsrReadBack(Box::new(alter)), fx);
    }

    /// A write that met another version may have met itself: its answer was lost with a connection and it was asked
    /// again. What stands there tells. (Kafka does not look, and its leader waits for another LeaderAndIsr.)
    pub(super) fn on_isr_read_back(&mut self, mut alter: Alter, answers: Vec<Answer>, fx: Fx<'_>) {
        let mut answers = answers.into_iter();
        for Row { topic, partition, outcome, .. } in &mut alter.rows {
            let Outcome::Writing(wanted) = outcome else { continue };
            let found = answers.next().and_then(read_state);
            let found = found.map(|(state, version)| Led { state, epoch: PartitionEpoch(version) });
            let tp = TopicPartition { topic: topic.clone(), partition: *partition };
            if let (Some(known), Some(led)) = (self.context.partitions.get_mut(&tp), &found) {
                known.led = Some(led.clone());
            }
            *outcome = match found {
                Some(led) if led.state == *wanted => Outcome::Written(led),
                Some(_) | None => Outcome::Refused(ErrorCode::INVALID_UPDATE_VERSION),
            };
        }
        self.finish_alter(alter, fx);
    }

    fn finish_alter(&mut self, alter: Alter, fx: Fx<'_>) {
        let mut response = AlterPartitionResponse::default();
        let mut changed = Vec::new();
        for Row { topic, id, partition, outcome } in alter.rows {
            let result = match outcome {
                Outcome::Refused(code) => Err(code),
                Outcome::Writing(_) => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
                Outcome::Same(led) => Ok(led),
                Outcome::Written(led) => {
                    let tp = TopicPartition { topic: topic.clone(), partition };
                    if let Some(partition) = self.context.partitions.get_mut(&tp) {
                        partition.led = Some(led.clone());
                    }
                    fx.note(ControllerNote::IsrChanged { partition: tp.clone(), isr: led.state.isr.clone() });
                    changed.push(tp);
                    Ok(led)
                }
            };
            let row = data_response(partition, result);
            match response.topics.last_mut() {
                Some(last) if last.name == topic && last.topic_id == id => last.partitions.push(row),
                _ => response.topics.push(AlterPartitionTopicResponse {
                    name: topic,
                    topic_id: id,
                    partitions: vec![row],
                    ..Default::default()
                }),
            }
        }
        self.reply(response.into(), fx);
        if changed.is_empty() {
            return;
        }
        let mut steps = vec![Step::UpdateMetadata { to: self.context.broker_ids(), of: changed.clone() }];
        steps.extend(changed.into_iter().map(Step::CheckReassign));
        self.next(steps);
    }
}

fn data_response(partition: i32, result: Result<Led, ErrorCode>) -> AlterPartitionDataResponse {
    match result {
        Err(error) => AlterPartitionDataResponse { partition, error, ..Default::default() },
        Ok(Led { state, epoch }) => AlterPartitionDataResponse {
            partition,
            error: ErrorCode::NONE,
            leader: state.leader.unwrap_or(plan::NO_LEADER),
            leader_epoch: state.leader_epoch,
            isr: state.isr,
            leader_recovery_state: i8::from(state.recovering),
            partition_epoch: epoch,
            ..Default::default()
        },
    }
}
