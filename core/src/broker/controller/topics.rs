//! Topics that appear, grow, or vanish under `/brokers/topics`.

use super::*;
use crate::broker::znodes::TopicInfo;

impl Controller {
    pub(super) fn on_topic_names(&mut self, failover: bool, answer: Answer, fx: Fx<'_>) {
        let now: OrdSet<Arc<str>> = names(answer).into_iter().collect();
        let gone: Vec<Arc<str>> = self.context.topics.keys().filter(|topic| !now.contains(*topic)).cloned().collect();
        for topic in gone {
            self.context.remove_topic(&topic);
        }
        let fresh: Vec<Arc<str>> = now.into_iter().filter(|topic| !self.context.topics.contains_key(topic)).collect();
        let ops: Vec<Op> = fresh.iter().map(|topic| Op::get(&znodes::topic(topic), true)).collect();
        self.ask(ops, Then::Topics { failover, names: fresh }, fx);
    }

    pub(super) fn on_topics_read(&mut self, failover: bool, names: Vec<Arc<str>>, answers: Vec<Answer>) {
        let mut fresh = Vec::new();
        for (topic, answer) in names.into_iter().zip(answers) {
            if let Some(info) = data(answer).and_then(|data| TopicInfo::decode(&data)) {
                self.context.topics.insert(topic.clone(), info.id);
                fresh.extend(self.add_partitions(&topic, info));
            }
        }
        if !failover && !fresh.is_empty() {
            self.next([Step::NewPartitions(fresh)]);
        }
    }

    /// Takes in the partitions of a topic that are not known yet.
    fn add_partitions(&mut self, topic: &Arc<str>, info: TopicInfo) -> Vec<TopicPartition> {
        let mut fresh = Vec::new();
        for (number, assignment) in info.partitions {
            let tp = TopicPartition { topic: topic.clone(), partition: number };
            if !self.context.partitions.contains_key(&tp) {
                if assignment.is_reassigning() {
                    self.context.reassigning.insert(tp.clone());
                }
                self.context.partitions.insert(tp.clone(), context::Partition::of(assignment));
                fresh.push(tp);
            }
        }
        fresh
    }

    pub(super) fn on_topic_read(&mut self, topic: Arc<str>, answer: Answer) {
        let Some(info) = data(answer).and_then(|data| TopicInfo::decode(&data)) else { return };
        if !self.context.topics.contains_key(&topic) || self.context.is_deleting(&topic) {
            return;
        }
        let fresh = self.add_partitions(&topic, info);
        if !fresh.is_empty() {
            self.next([Step::NewPartitions(fresh)]);
        }
    }

    /// Partitions → New, replicas → New, partitions → Online, replicas → Online (C.3).
    pub(super) fn new_partitions(&mut self, of: Vec<TopicPartition>) {
        let replicas = of.iter().filter_map(|tp| Some((tp, self.context.partitions.get(tp)?)));
        let replicas = replicas.flat_map(|(tp, part)| part.assignment.replicas.iter().map(|id| (tp.clone(), *id)));
        let replicas: Vec<Replica> = replicas.collect();
        self.next([
            Step::Partitions { to: Status::New, of: of.clone() },
            Step::Replicas { to: ReplicaState::New, of: replicas.clone() },
            Step::Online { of, strategy: Strategy::Offline { unclean: false } },
            Step::Replicas { to: ReplicaState::Online, of: replicas },
        ]);
    }
}
