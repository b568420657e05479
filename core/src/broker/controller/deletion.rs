//! Deleting topics: a child of `/admin/delete_topics` is the wish; it waits while a replica is offline or being
//! reassigned (protocol.md C.3).

use super::*;

impl Controller {
    pub(super) fn on_deletions_read(&mut self, failover: bool, answer: Answer, fx: Fx<'_>) {
        let wanted = names(answer);
        // Where deleting is not allowed a wish is taken back, whoever wrote it (KafkaController.processTopicDeletion, and
        // TopicDeletionManager.init for those from before).
        let is_allowed = self.settings.delete_topic_enable;
        let (known, dropped): (Vec<Arc<str>>, Vec<Arc<str>>) =
            wanted.into_iter().partition(|topic| is_allowed && self.context.topics.contains_key(topic));
        for topic in known {
            let moving = self.context.is_moving(&topic);
            let replicas = self.context.replicas_of_topic(&topic);
            if moving || (failover && replicas.iter().any(|(tp, id)| !self.context.is_online(tp, *id))) {
                self.context.deletion_waits.insert(topic.clone());
            }
            self.context.deleting.insert(topic);
        }
        if !failover {
            self.next([Step::ResumeDeletions]);
        }
        let gone = dropped.iter().map(|topic| self.fenced(Op::delete(&znodes::delete_topic(topic), ANY_VERSION)));
        let gone: Vec<Op> = gone.collect();
        self.ask(gone, Then::Nothing, fx);
    }

    /// Looks at every topic that is to be deleted: it is done, under way, to be tried again, or to be begun.
    pub(super) fn resume_deletions(&mut self) {
        let mut steps = Vec::new();
        let mut begin = Vec::new();
        for topic in &self.context.deleting {
            let replicas = self.context.replicas_of_topic(topic);
            let all_gone = replicas.iter().all(|of| self.context.state_of(of) == ReplicaState::DeletionSuccessful);
            if all_gone && self.context.deletion_begun.contains(topic) {
                steps.push(Step::Replicas { to: ReplicaState::NonExistent, of: replicas });
                steps.push(Step::DropTopic(topic.clone()));
                continue;
            }
            if self.context.any_replica(topic, ReplicaState::DeletionStarted)
                || self.context.deletion_waits.contains(topic)
            {
                continue;
            }
            let again = replicas.into_iter().filter(|of| self.context.state_of(of) == ReplicaState::DeletionIneligible);
            let again: Vec<Replica> = again.collect();
            if !again.is_empty() {
                steps.push(Step::Replicas { to: ReplicaState::Offline, of: again });
            }
            begin.push(topic.clone());
        }
        if !begin.is_empty() {
            let of: Vec<TopicPartition> =
                begin.iter().flat_map(|topic| self.context.of_topic(topic).map(|(tp, _)| tp.clone())).collect();
            for topic in &begin {
                if self.context.deletion_begun.insert(topic.clone()) {
                    let of: Vec<TopicPartition> = self.context.of_topic(topic).map(|(tp, _)| tp.clone()).collect();
                    steps.push(Step::Partitions { to: Status::Offline, of: of.clone() });
                    steps.push(Step::Partitions { to: Status::NonExistent, of });
                }
            }
            steps.push(Step::UpdateMetadata { to: self.context.broker_ids(), of });
            steps.push(Step::DeleteReplicas(begin));
        }
        self.next(steps);
    }

    /// Live replicas → Offline → DeletionStarted; with a dead one the topic waits.
    pub(super) fn delete_replicas(&mut self, topics: &[Arc<str>]) {
        let mut alive = Vec::new();
        let mut dead = Vec::new();
        for topic in topics {
            for (tp, id) in self.context.replicas_of_topic(topic) {
                if !self.context.is_online(&tp, id) {
                    self.context.deletion_waits.insert(topic.clone());
                    dead.push((tp, id));
                } else if self.context.state_of(&(tp.clone(), id)) != ReplicaState::DeletionSuccessful {
                    alive.push((tp, id));
                }
            }
        }
        self.next([
            Step::Replicas { to: ReplicaState::DeletionIneligible, of: dead },
            Step::Replicas { to: ReplicaState::Offline, of: alive.clone() },
            Step::Replicas { to: ReplicaState::DeletionStarted, of: alive },
        ]);
    }

    /// How deletions on one broker went. A replica that a move left behind is no part of its topic's deletion: that it
    /// could not be deleted holds nothing up. (`failReplicaDeletion` of Apache looks at the topic only, and waits until
    /// some broker of it starts anew.)
    pub(super) fn on_replicas_deleted(&mut self, done: Vec<Replica>, mut failed: Vec<Replica>) {
        failed.retain(|of| self.context.state_of(of) == ReplicaState::DeletionStarted);
        for (tp, _) in &failed {
            self.context.deletion_waits.insert(tp.topic.clone());
        }
        self.next([
            Step::Replicas { to: ReplicaState::DeletionIneligible, of: failed },
            Step::Replicas { to: ReplicaState::DeletionSuccessful, of: done },
            Step::ResumeDeletions,
        ]);
    }

    pub(super) fn drop_topic(&mut self, topic: Arc<str>, fx: Fx<'_>) {
        self.ask([Op::children(&znodes::partitions(&topic), false)], Then::TopicTree(topic), fx);
    }

    /// Every replica is deleted: the topic's znodes go from the leaves up, then its settings, then the wish.
    pub(super) fn on_topic_tree(&mut self, topic: Arc<str>, answer: Answer, fx: Fx<'_>) {
        let mut paths = Vec::new();
        for number in names(answer).iter().filter_map(|name| name.parse().ok()) {
            let tp = TopicPartition { topic: topic.clone(), partition: number };
            paths.extend([znodes::partition_state(&tp), znodes::partition(&tp)]);
        }
        paths.extend([znodes::partitions(&topic), znodes::topic(&topic)]);
        paths.extend([znodes::config("topics", &topic), znodes::delete_topic(&topic)]);
        let ops: Vec<Op> = paths.iter().map(|path| self.fenced(Op::delete(path, ANY_VERSION))).collect();
        self.ask(ops, Then::TopicDropped(topic), fx);
    }

    pub(super) fn on_topic_dropped(&mut self, topic: Arc<str>, fx: Fx<'_>) {
        self.context.remove_topic(&topic);
        self.context.deleting.remove(&topic);
        self.context.deletion_begun.remove(&topic);
        self.context.deletion_waits.remove(&topic);
        fx.note(ControllerNote::TopicDeleted { topic });
    }
}
