//! Moving partitions to other replicas, in the order of protocol.md C.3, and calling that off (KIP-455).

use super::*;
use crate::api::kafka::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, OngoingReassignment, OngoingTopicReassignment, PartitionResult,
    ReassignedTopic,
};
use crate::broker::znodes::{Assignment, PartitionState, TopicInfo};

impl Controller {
    /// Where `tp` would be moved to, or why not.
    fn plan_move(&self, tp: &TopicPartition, to: Option<&[BrokerId]>) -> Result<Assignment, ErrorCode> {
        // What is to be deleted is not moved any more, but a move that can never end may be called off: the deletion waits
        // for it.
        let is_refused = to.is_some() && self.context.deleting.contains(&tp.topic);
        let Some(partition) = self.context.partitions.get(tp).filter(|_| !is_refused) else {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let current = &partition.assignment;
        match to {
            None if !current.is_reassigning() => Err(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS),
            None => Ok(current.reassign_to(&current.origin())),
            Some(target) => {
                let distinct: OrdSet<&BrokerId> = target.iter().collect();
                let moved = current.reassign_to(target);
                // Nobody is added who could not fetch now, also if an earlier move, while it lived, was adding it already
                // (KafkaController.validateReplicas).
                let can_fetch = moved.adding.iter().all(|id| self.context.is_live(*id));
                let is_valid = !target.is_empty() && distinct.len() == target.len() && can_fetch;
                if is_valid { Ok(moved) } else { Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT) }
            }
        }
    }

    pub(super) fn alter_reassignments(&mut self, request: &AlterPartitionReassignmentsRequest) {
        let mut steps = Vec::new();
        let mut response = AlterPartitionReassignmentsResponse::default();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for wish in &topic.partitions {
                let tp = TopicPartition { topic: topic.name.clone(), partition: wish.partition };
                let planned = self.plan_move(&tp, wish.replicas.as_deref());
                let error = planned.as_ref().err().copied().unwrap_or(ErrorCode::NONE);
                partitions.push(PartitionResult { partition: wish.partition, error, ..PartitionResult::default() });
                if let Ok(to) = planned {
                    self.context.by_znode.remove(&tp);
                    steps.push(Step::Reassign(tp, to));
                }
            }
            response.topics.push(ReassignedTopic {
                name: topic.name.clone(),
                partitions,
                ..ReassignedTopic::default()
            });
        }
        steps.push(Step::Answer(Box::new(response.into())));
        self.next(steps);
    }

    pub(super) fn list_reassignments(&mut self, request: &ListPartitionReassignmentsRequest, fx: Fx<'_>) {
        let asked = |tp: &TopicPartition| match &request.topics {
            None => true,
            Some(topics) => topics.iter().any(|of| of.name == tp.topic && of.partitions.contains(&tp.partition)),
        };
        let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
        for tp in self.context.reassigning.iter().filter(|tp| asked(tp)) {
            let Some(partition) = self.context.partitions.get(tp) else { continue };
            let row = OngoingReassignment {
                partition: tp.partition,
                replicas: partition.assignment.replicas.clone(),
                adding: partition.assignment.adding.clone(),
                removing: partition.assignment.removing.clone(),
                ..OngoingReassignment::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.name == tp.topic => topic.partitions.push(row),
                _ => topics.push(OngoingTopicReassignment {
                    name: tp.topic.clone(),
                    partitions: vec![row],
                    ..OngoingTopicReassignment::default()
                }),
            }
        }
        self.reply(ListPartitionReassignmentsResponse { topics, ..Default::default() }.into(), fx);
    }

    pub(super) fn on_reassignments_read(&mut self, answer: Answer, fx: Fx<'_>) {
        if answer == Err(KeeperError::NONODE) {
            let again = Then::Armed(Box::new(Event::ReassignmentsWanted));
            return self.ask([Op::exists(znodes::REASSIGN_PARTITIONS, true)], again, fx);
        }
        let wanted = data(answer).and_then(|data| znodes::decode_reassignments(&data)).unwrap_or_default();
        let mut steps = Vec::new();
        for (tp, target) in wanted {
            if self.context.by_znode.contains(&tp) {
                continue;
            }
            if let Ok(to) = self.plan_move(&tp, Some(&target)) {
                self.context.by_znode.insert(tp.clone());
                steps.push(Step::Reassign(tp, to));
            }
        }
        steps.push(Step::TrimReassignments);
        self.next(steps);
    }

    /// Writes the topic's assignment if it changes, and begins.
    pub(super) fn reassign(&mut self, tp: TopicPartition, to: Assignment, fx: Fx<'_>) {
        let Some(partition) = self.context.partitions.get(&tp) else { return };
        self.context.deletion_waits.insert(tp.topic.clone());
        if partition.assignment == to {
            self.context.reassigning.insert(tp.clone());
            return self.next([Step::ContinueReassign(tp)]);
        }
        let write = self.write_assignment(&tp, &to);
        self.ask([write], Then::AssignmentWritten(tp, to), fx);
    }

    fn write_assignment(&self, tp: &TopicPartition, to: &Assignment) -> Op {
        let others = self.context.of_topic(&tp.topic).map(|(tp, part)| (tp.partition, part.assignment.clone()));
        let mut partitions: OrdMap<i32, Assignment> = others.collect();
        partitions.insert(tp.partition, to.clone());
        let info = TopicInfo { id: self.context.topics.get(&tp.topic).copied().unwrap_or_default(), partitions };
        self.fenced(Op::set(&znodes::topic(&tp.topic), info.encode(), ANY_VERSION))
    }

    /// Replicas that an earlier, now overridden reassignment was adding go at once.
    pub(super) fn on_assignment_written(&mut self, tp: TopicPartition, to: Assignment, answer: Answer, fx: Fx<'_>) {
        if written(answer).is_err() {
            // Nothing moves: a deletion need not wait for it.
            if !self.context.is_moving(&tp.topic) {
                self.context.deletion_waits.remove(&tp.topic);
                self.next([Step::ResumeDeletions]);
            }
            return;
        }
        let Some(partition) = self.context.partitions.get_mut(&tp) else { return };
        fx.note(ControllerNote::ReassignmentStarted { partition: tp.clone(), to: to.target() });
        let unneeded = partition.assignment.replicas.iter().copied().filter(|id| !to.replicas.contains(id));
        let unneeded = unneeded.map(|id| (tp.clone(), id)).collect();
        partition.assignment = to;
        self.context.reassigning.insert(tp.clone());
        let mut steps = removal(unneeded);
        steps.push(Step::ContinueReassign(tp));
        self.next(steps);
    }

    pub(super) fn check_for(&mut self, tp: TopicPartition, then: fn(TopicPartition) -> Then, fx: Fx<'_>) {
        self.ask([Op::get(&znodes::partition_state(&tp), false)], then(tp), fx);
    }

    /// Whether every replica of the target is in the ISR.
    fn is_complete(&self, tp: &TopicPartition, answer: Answer) -> Option<bool> {
        let partition = self.context.partitions.get(tp)?;
        if !partition.assignment.is_reassigning() {
            return Some(true);
        }
        let state = PartitionState::decode(&data(answer)?)?;
        Some(partition.assignment.target().iter().all(|id| state.isr.contains(id)))
    }

    /// Begins the move: all replicas hear of the assignment at a new leader epoch, and the new ones start.
    pub(super) fn on_finish_check(&mut self, tp: TopicPartition, answer: Answer) {
        match self.is_complete(&tp, answer) {
            Some(true) => self.next([Step::FinishReassign(tp)]),
            Some(false) => {
                let adding = self.context.partitions.get(&tp).map(|part| part.assignment.adding.clone());
                let of = adding.into_iter().flatten().map(|id| (tp.clone(), id)).collect();
                self.next([Step::Bump(tp), Step::Replicas { to: ReplicaState::New, of }]);
            }
            None => {}
        }
    }

    pub(super) fn on_checked(&mut self, tp: TopicPartition, answer: Answer) {
        if self.is_complete(&tp, answer) == Some(true) {
            self.next([Step::FinishReassign(tp)]);
        }
    }

    /// All of the target are in the ISR: new replicas online, leader moved or told, old replicas stopped and deleted,
    /// and only then the target written.
    pub(super) fn finish_reassign(&mut self, tp: TopicPartition) {
        let Some(partition) = self.context.partitions.get_mut(&tp) else { return };
        let online: Vec<Replica> = partition.assignment.adding.iter().map(|id| (tp.clone(), *id)).collect();
        let removing: Vec<Replica> = partition.assignment.removing.iter().map(|id| (tp.clone(), *id)).collect();
        let mut steps = vec![Step::Replicas { to: ReplicaState::Online, of: online }, Step::TakeTarget(tp.clone())];
        steps.push(Step::MoveLeader(tp.clone()));
        steps.extend(removal(removing));
        steps.extend([Step::WriteTarget(tp.clone()), Step::EndReassign(tp)]);
        self.next(steps);
    }

    pub(super) fn take_target(&mut self, tp: &TopicPartition) {
        if let Some(partition) = self.context.partitions.get_mut(tp) {
            partition.assignment = Assignment::of(partition.assignment.target());
        }
    }

    /// A leader that may stay learns of the new replicas at a new leader epoch; another is elected otherwise.
    pub(super) fn move_leader(&mut self, tp: TopicPartition) {
        let Some(partition) = self.context.partitions.get(&tp) else { return };
        let stays = partition.leader().is_some_and(|leader| {
            partition.assignment.replicas.contains(&leader) && self.context.is_online(&tp, leader)
        });
        if stays {
            self.next([Step::Bump(tp)]);
        } else {
            self.next([Step::Online { of: vec![tp], strategy: Strategy::Reassign }]);
        }
    }

    pub(super) fn write_target(&mut self, tp: TopicPartition, fx: Fx<'_>) {
        let Some(partition) = self.context.partitions.get(&tp) else { return };
        let write = self.write_assignment(&tp, &partition.assignment);
        self.ask([write], Then::Nothing, fx);
    }

    pub(super) fn end_reassign(&mut self, tp: TopicPartition, fx: Fx<'_>) {
        self.context.reassigning.remove(&tp);
        if !self.context.is_moving(&tp.topic) {
            self.context.deletion_waits.remove(&tp.topic);
        }
        if let Some(partition) = self.context.partitions.get(&tp) {
            let replicas = partition.assignment.replicas.clone();
            fx.note(ControllerNote::ReassignmentFinished { partition: tp.clone(), replicas });
        }
        let mut steps = Vec::new();
        if self.context.by_znode.remove(&tp) {
            steps.push(Step::TrimReassignments);
        }
        steps.push(Step::UpdateMetadata { to: self.context.broker_ids(), of: vec![tp] });
        steps.push(Step::ResumeDeletions);
        self.next(steps);
    }

    /// Leaves in `/admin/reassign_partitions` what is still under way; an empty wish is deleted.
    pub(super) fn on_reassign_node(&mut self, answer: Answer, fx: Fx<'_>) {
        let Some(mut wanted) = data(answer).and_then(|data| znodes::decode_reassignments(&data)) else { return };
        let before = wanted.len();
        wanted.retain(|tp, _| self.context.by_znode.contains(tp));
        let path = znodes::REASSIGN_PARTITIONS;
        if wanted.is_empty() {
            let delete = self.fenced(Op::delete(path, ANY_VERSION));
            self.ask([delete], Then::Nothing, fx);
        } else if wanted.len() < before {
            let set = self.fenced(Op::set(path, znodes::encode_reassignments(&wanted), ANY_VERSION));
            self.ask([set], Then::Nothing, fx);
        }
    }

    pub(super) fn resume_reassignments(&mut self) {
        let all: Vec<Step> = self.context.reassigning.iter().cloned().map(Step::ContinueReassign).collect();
        self.next(all);
    }
}

/// Out of the ISR, stopped, deleted, forgotten.
fn removal(of: Vec<Replica>) -> Vec<Step> {
    if of.is_empty() {
        return Vec::new();
    }
    use ReplicaState::{DeletionStarted, DeletionSuccessful, NonExistent, Offline};
    [Offline, DeletionStarted, DeletionSuccessful, NonExistent].map(|to| Step::Replicas { to, of: of.clone() }).into()
}
