//! ISR changes on their way to the controller: one AlterPartition under way, all that wait in the next
//! (protocol.md C.7, KIP-497). Knows what was proposed and whether it must be asked again; not what it means.

use crate::api::kafka::{
    AlterPartitionData, AlterPartitionRequest, AlterPartitionResponse, AlterPartitionTopic, ErrorCode, IsrMember,
};
use crate::id::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};
use crate::ordered::OrdMap;
use crate::time::{Instant, Span};

/// How long a request waits before it is sent again.
const AGAIN_AFTER: Span = Span::millis(50);

/// What a leader proposed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    pub topic_id: TopicId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// Each with the epoch of the registration that it was last seen with (KIP-903).
    pub isr: Vec<IsrMember>,
}

impl Proposal {
    pub fn ids(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.isr.iter().map(|member| member.broker)
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AlterPartitions {
    /// One for each partition, until it is answered for good.
    waiting: OrdMap<TopicPartition, Proposal>,
    under_way: Option<(i32, OrdMap<TopicPartition, Proposal>)>,
    not_before: Option<Instant>,
}

impl AlterPartitions {
    /// Whether a proposal of this partition is not answered yet: then there is no other.
    pub fn is_busy(&self, partition: &TopicPartition) -> bool {
        self.waiting.contains_key(partition) || self.is_under_way(partition)
    }

    fn is_under_way(&self, partition: &TopicPartition) -> bool {
        self.under_way.as_ref().is_some_and(|(_, sent)| sent.contains_key(partition))
    }

    pub fn propose(&mut self, partition: TopicPartition, proposal: Proposal) {
        assert!(!self.is_busy(&partition), "a second ISR proposal for {partition}");
        self.waiting.insert(partition, proposal);
    }

    /// LeaderAndIsr or StopReplica made the proposal pointless: it is not sent if it has not been.
    pub fn withdraw(&mut self, partition: &TopicPartition) {
        self.waiting.remove(partition);
    }

    /// Whether a request is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.under_way.is_none() && !self.waiting.is_empty() && self.not_before.is_none_or(|at| at <= now)
    }

    /// Takes all that waits into one request, sent under `correlation`.
    pub fn take_request(&mut self, me: BrokerId, epoch: BrokerEpoch, correlation: i32) -> AlterPartitionRequest {
        let sent = core::mem::take(&mut self.waiting);
        let mut topics: Vec<AlterPartitionTopic> = Vec::new();
        for (partition, proposal) in &sent {
            let line = AlterPartitionData {
                partition: partition.partition,
                leader_epoch: proposal.leader_epoch,
                new_isr: proposal.ids().collect(),
                new_isr_with_epochs: proposal.isr.clone(),
                partition_epoch: proposal.partition_epoch,
                ..AlterPartitionData::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.name == partition.topic => topic.partitions.push(line),
                _ => topics.push(AlterPartitionTopic {
                    name: partition.topic.clone(),
                    topic_id: proposal.topic_id,
                    partitions: vec![line],
                    ..AlterPartitionTopic::default()
                }),
            }
        }
        self.under_way = Some((correlation, sent));
        self.not_before = None;
        AlterPartitionRequest { broker_id: me, broker_epoch: epoch, topics, ..AlterPartitionRequest::default() }
    }

    pub fn call(&self) -> Option<i32> {
        self.under_way.as_ref().map(|(correlation, _)| *correlation)
    }

    /// The answer: what each proposal got. What is not answered, or answered as a whole with an error, is sent again.
    pub fn answered(
        &mut self,
        correlation: i32,
        answer: &AlterPartitionResponse,
        now: Instant,
    ) -> Vec<(TopicPartition, Proposal, crate::api::kafka::AlterPartitionDataResponse)> {
        let Some((_, mut sent)) = self.under_way.take_if(|(ours, _)| *ours == correlation) else { return Vec::new() };
        let mut told = Vec::new();
        let stale = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let not_controller = stale.clone().any(|part| part.error == ErrorCode::NOT_CONTROLLER);
        if answer.error.is_none() && !not_controller {
            for topic in &answer.topics {
                for part in &topic.partitions {
                    let same = |(name, proposal): &(&TopicPartition, &Proposal)| {
                        name.partition == part.partition
                            && (name.topic == topic.name || proposal.topic_id == topic.topic_id)
                    };
                    let Some(name) = sent.iter().find(same).map(|(name, _)| name.clone()) else { continue };
                    if let Some(proposal) = sent.remove(&name) {
                        told.push((name, proposal, part.clone()));
                    }
                }
            }
        }
        self.ask_again(sent, now);
        told
    }

    /// The same proposal must be asked again.
    pub fn resend(&mut self, partition: TopicPartition, proposal: Proposal, now: Instant) {
        self.ask_again(OrdMap::from([(partition, proposal)]), now);
    }

    /// The channel to the controller broke: whether it heard us is not known.
    pub fn lost(&mut self, now: Instant) {
        if let Some((_, sent)) = self.under_way.take() {
            self.ask_again(sent, now);
        }
    }

    fn ask_again(&mut self, proposals: OrdMap<TopicPartition, Proposal>, now: Instant) {
        if !proposals.is_empty() {
            self.not_before = Some(now + AGAIN_AFTER);
            for (partition, proposal) in proposals {
                self.waiting.entry(partition).or_insert(proposal);
            }
        }
    }

    pub fn wakes_at(&self) -> Option<Instant> {
        if self.waiting.is_empty() || self.under_way.is_some() { None } else { self.not_before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kafka::{AlterPartitionDataResponse, AlterPartitionTopicResponse};

    fn proposal() -> Proposal {
        let isr = [1, 2].map(|id| IsrMember { broker: BrokerId(id), ..IsrMember::default() }).to_vec();
        Proposal { topic_id: TopicId([1; 16]), leader_epoch: LeaderEpoch(3), partition_epoch: PartitionEpoch(5), isr }
    }

    fn answer(code: ErrorCode) -> AlterPartitionResponse {
        let part = AlterPartitionDataResponse { error: code, ..AlterPartitionDataResponse::default() };
        let topic = AlterPartitionTopicResponse {
            topic_id: TopicId([1; 16]),
            partitions: vec![part],
            ..AlterPartitionTopicResponse::default()
        };
        AlterPartitionResponse { topics: vec![topic], ..AlterPartitionResponse::default() }
    }

    fn sent() -> (AlterPartitions, TopicPartition) {
        let mut alter = AlterPartitions::default();
        let orders = TopicPartition::new("orders", 0);
        alter.propose(orders.clone(), proposal());
        assert!(alter.is_due(Instant::ZERO));
        let request = alter.take_request(BrokerId(1), BrokerEpoch(9), 7);
        assert_eq!(request.topics[0].partitions[0].new_isr, [BrokerId(1), BrokerId(2)]);
        assert!(!alter.is_due(Instant::ZERO) && alter.is_busy(&orders));
        (alter, orders)
    }

    #[test]
    fn an_answered_proposal_is_told_once() {
        let (mut alter, orders) = sent();
        assert!(alter.answered(6, &answer(ErrorCode::NONE), Instant::ZERO).is_empty(), "an answer to something else");
        let told = alter.answered(7, &answer(ErrorCode::NONE), Instant::ZERO);
        assert_eq!((told.len(), &told[0].1), (1, &proposal()));
        assert!(!alter.is_busy(&orders));
    }

    #[test]
    fn not_controller_and_a_broken_channel_send_the_whole_request_again() {
        for stale in [
            answer(ErrorCode::NOT_CONTROLLER),
            AlterPartitionResponse { error: ErrorCode::STALE_BROKER_EPOCH, ..AlterPartitionResponse::default() },
        ] {
            let (mut alter, _) = sent();
            assert!(alter.answered(7, &stale, Instant::ZERO).is_empty());
            assert!(!alter.is_due(Instant::ZERO) && alter.is_due(Instant::ZERO + AGAIN_AFTER));
        }
        let (mut alter, _) = sent();
        alter.lost(Instant::ZERO);
        assert!(alter.is_due(Instant::ZERO + AGAIN_AFTER));
    }

    #[test]
    fn a_withdrawn_proposal_is_not_sent() {
        let (mut alter, orders) = sent();
        alter.lost(Instant::ZERO);
        alter.withdraw(&orders);
        assert!(!alter.is_due(Instant::ZERO + AGAIN_AFTER) && !alter.is_busy(&orders));
    }
}
