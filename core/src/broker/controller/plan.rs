//! From what changed to requests: one batch at a time is gathered, then queued for each broker as LeaderAndIsr,
//! UpdateMetadata and StopReplica, in this order (protocol.md C.2).
//!
//! One FIFO queue for each broker, one request under way; sent again when its channel breaks, until the broker leaves.
//! What a request says is fixed when it is queued.

use super::context::{Context, Led, Partition};
use crate::api::kafka::{
    LeaderAndIsrPartition, LeaderAndIsrRequest, LeaderAndIsrTopic, LiveLeader, Request, StopReplicaPartition,
    StopReplicaRequest, StopReplicaTopic, UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartition,
    UpdateMetadataRequest, UpdateMetadataTopic,
};
use crate::id::{BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
use crate::ordered::{OrdMap, OrdSet};
use crate::queue;

/// No leader, in requests and znodes.
pub const NO_LEADER: BrokerId = BrokerId(-1);
/// The topic is being deleted: removes the partition from a broker's metadata.
const LEADER_DURING_DELETE: BrokerId = BrokerId(-2);
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// What one change has to tell the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Batch {
    lead: OrdMap<BrokerId, OrdMap<TopicPartition, LeaderAndIsrPartition>>,
    stop: OrdMap<BrokerId, OrdMap<TopicPartition, bool>>,
    update_to: OrdSet<BrokerId>,
    update: OrdSet<TopicPartition>,
}

impl Batch {
    /// LeaderAndIsr for one partition to these brokers, and its metadata to all. What is being deleted is led no more:
    /// its logs would be made anew where they are gone already. (Apache's next controller does that.)
    pub fn lead(&mut self, to: &[BrokerId], tp: &TopicPartition, is_new: bool, context: &Context) {
        let Some(partition) = context.partitions.get(tp).filter(|_| !context.is_deleting(&tp.topic)) else { return };
        let Some(led) = &partition.led else { return };
        for id in to.iter().filter(|id| context.brokers.contains_key(id)) {
            let of_broker = self.lead.entry(*id).or_default();
            let was_new = of_broker.get(tp).is_some_and(|old| old.is_new);
            of_broker.insert(tp.clone(), lead_partition(tp, partition, led, is_new || was_new));
        }
        self.update(context.broker_ids(), [tp.clone()]);
    }

    /// StopReplica for one partition to one broker.
    pub fn stop(&mut self, to: BrokerId, tp: &TopicPartition, delete: bool) {
        *self.stop.entry(to).or_default().entry(tp.clone()).or_default() |= delete;
    }

    /// UpdateMetadata for these partitions (and who is live) to these brokers.
    pub fn update(&mut self, to: impl IntoIterator<Item = BrokerId>, of: impl IntoIterator<Item = TopicPartition>) {
        self.update_to.extend(to);
        self.update.extend(of);
    }

    /// The requests for each broker, in the order in which they are to be queued; leaves the batch empty.
    pub fn take(&mut self, me: BrokerId, epoch: ControllerEpoch, context: &Context) -> Vec<(BrokerId, Request)> {
        let batch = core::mem::take(self);
        let mut requests = Vec::new();
        for (to, partitions) in batch.lead {
            if let Some(broker) = context.brokers.get(&to) {
                let mut request = lead_request(partitions, context);
                request.controller_id = me;
                request.controller_epoch = epoch;
                request.broker_epoch = broker.epoch;
                requests.push((to, request.into()));
            }
        }
        if !batch.update_to.is_empty() {
            let mut request = update_request(&batch.update, context);
            request.controller_id = me;
            request.controller_epoch = epoch;
            for to in &batch.update_to {
                if let Some(broker) = context.brokers.get(to) {
                    let request = UpdateMetadataRequest { broker_epoch: broker.epoch, ..request.clone() };
                    requests.push((*to, request.into()));
                }
            }
        }
        for (to, partitions) in batch.stop {
            if let Some(broker) = context.brokers.get(&to) {
                let mut request = stop_request(partitions, context);
                request.controller_id = me;
                request.controller_epoch = epoch;
                request.broker_epoch = broker.epoch;
                requests.push((to, request.into()));
            }
        }
        requests
    }
}

fn lead_partition(tp: &TopicPartition, partition: &Partition, led: &Led, is_new: bool) -> LeaderAndIsrPartition {
    LeaderAndIsrPartition {
        topic: tp.topic.clone(),
        partition: tp.partition,
        controller_epoch: led.state.controller_epoch,
        leader: led.state.leader.unwrap_or(NO_LEADER),
        leader_epoch: led.state.leader_epoch,
        isr: led.state.isr.clone(),
        partition_epoch: led.epoch,
        replicas: partition.assignment.replicas.clone(),
        adding_replicas: partition.assignment.adding.clone(),
        removing_replicas: partition.assignment.removing.clone(),
        is_new,
        leader_recovery_state: i8::from(led.state.recovering),
        ..LeaderAndIsrPartition::default()
    }
}

fn lead_request(partitions: OrdMap<TopicPartition, LeaderAndIsrPartition>, context: &Context) -> LeaderAndIsrRequest {
    let leaders: OrdSet<BrokerId> = partitions.values().map(|partition| partition.leader).collect();
    let mut topics: Vec<LeaderAndIsrTopic> = Vec::new();
    for (tp, partition) in partitions {
        match topics.last_mut() {
            Some(topic) if topic.name == tp.topic => topic.partitions.push(partition),
            _ => topics.push(LeaderAndIsrTopic {
                topic_id: context.topics.get(&tp.topic).copied().unwrap_or_default(),
                name: tp.topic,
                partitions: vec![partition],
                ..LeaderAndIsrTopic::default()
            }),
        }
    }
    let live_leaders = leaders.into_iter().filter_map(|broker| {
        let endpoint = context.brokers.get(&broker)?.info.endpoints.first()?;
        let (host, port) = (endpoint.host.as_str().into(), endpoint.port);
        Some(LiveLeader { broker, host, port, ..LiveLeader::default() })
    });
    LeaderAndIsrRequest { live_leaders: live_leaders.collect(), topics, ..LeaderAndIsrRequest::default() }
}

fn update_request(partitions: &OrdSet<TopicPartition>, context: &Context) -> UpdateMetadataRequest {
    let mut topics: Vec<UpdateMetadataTopic> = Vec::new();
    for tp in partitions {
        let Some(partition) = context.partitions.get(tp) else { continue };
        let Some(led) = &partition.led else { continue };
        let deleting = context.is_deleting(&tp.topic);
        let replicas = &partition.assignment.replicas;
        let row = UpdateMetadataPartition {
            topic: tp.topic.clone(),
            partition: tp.partition,
            controller_epoch: led.state.controller_epoch,
            leader: if deleting { LEADER_DURING_DELETE } else { led.state.leader.unwrap_or(NO_LEADER) },
            leader_epoch: led.state.leader_epoch,
            isr: led.state.isr.clone(),
            partition_epoch: led.epoch,
            replicas: replicas.clone(),
            offline_replicas: replicas.iter().copied().filter(|id| !context.is_online(tp, *id)).collect(),
            ..UpdateMetadataPartition::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.name == tp.topic => topic.partitions.push(row),
            _ => topics.push(UpdateMetadataTopic {
                name: tp.topic.clone(),
                topic_id: context.topics.get(&tp.topic).copied().unwrap_or_default(),
                partitions: vec![row],
                ..UpdateMetadataTopic::default()
            }),
        }
    }
    let live_brokers = context.brokers.iter().map(|(id, broker)| {
        let endpoints = broker.info.endpoints.iter().map(|endpoint| UpdateMetadataEndpoint {
            port: endpoint.port,
            host: endpoint.host.as_str().into(),
            listener: endpoint.listener.as_str().into(),
            security_protocol: security_protocol(&endpoint.protocol),
            ..UpdateMetadataEndpoint::default()
        });
        UpdateMetadataBroker {
            id: *id,
            endpoints: endpoints.collect(),
            rack: broker.info.rack.as_deref().map(Into::into),
            ..UpdateMetadataBroker::default()
        }
    });
    UpdateMetadataRequest { live_brokers: live_brokers.collect(), topics, ..UpdateMetadataRequest::default() }
}

fn stop_request(partitions: OrdMap<TopicPartition, bool>, context: &Context) -> StopReplicaRequest {
    let mut topics: Vec<StopReplicaTopic> = Vec::new();
    for (tp, delete) in partitions {
        let led = context.partitions.get(&tp).and_then(|partition| partition.led.as_ref());
        let leader_epoch = match led {
            _ if context.is_deleting(&tp.topic) => EPOCH_DURING_DELETE,
            Some(led) => led.state.leader_epoch,
            None => LeaderEpoch::NONE,
        };
        let row =
            StopReplicaPartition { partition: tp.partition, leader_epoch, delete, ..StopReplicaPartition::default() };
        match topics.last_mut() {
            Some(topic) if topic.name == tp.topic => topic.partitions.push(row),
            _ => topics.push(StopReplicaTopic { name: tp.topic, partitions: vec![row], ..StopReplicaTopic::default() }),
        }
    }
    StopReplicaRequest { topics, ..StopReplicaRequest::default() }
}

fn security_protocol(name: &str) -> i16 {
    match name {
        "SSL" => 1,
        "SASL_PLAINTEXT" => 2,
        "SASL_SSL" => 3,
        _ => 0,
    }
}

/// What waits for one broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Queue {
    waiting: queue::Queue<Request>,
    /// Sent and not answered; sent again on a new channel.
    under_way: Option<(i32, Request)>,
}

/// The queues of all live brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outbox {
    queues: OrdMap<BrokerId, Queue>,
    up: OrdSet<BrokerId>,
    last_correlation: i32,
}

impl Outbox {
    /// Starts a queue; one that is there already (of an earlier registration) is emptied.
    pub fn add(&mut self, id: BrokerId) {
        self.queues.insert(id, Queue::default());
    }

    pub fn remove(&mut self, id: BrokerId) {
        self.queues.remove(&id);
    }

    pub fn clear(&mut self) {
        self.queues.clear();
    }

    /// Queues a request; dropped if the broker has left.
    pub fn push(&mut self, to: BrokerId, request: Request) {
        if let Some(queue) = self.queues.get_mut(&to) {
            queue.waiting.push_back(request);
        }
    }

    /// A channel came up or broke: what was under way will be sent again.
    pub fn on_channel(&mut self, id: BrokerId, up: bool) {
        if up {
            self.up.insert(id);
        } else {
            self.up.remove(&id);
        }
        if let Some(queue) = self.queues.get_mut(&id)
            && let Some((_, request)) = queue.under_way.take()
        {
            queue.waiting.push_front(request);
        }
    }

    /// Takes the request this answers; `None` if the answer is to an earlier sending.
    pub fn on_response(&mut self, from: BrokerId, correlation: i32) -> Option<Request> {
        let queue = self.queues.get_mut(&from)?;
        if queue.under_way.as_ref()?.0 != correlation {
            return None;
        }
        queue.under_way.take().map(|(_, request)| request)
    }

    /// The requests that can be sent now.
    pub fn ready(&mut self) -> Vec<(BrokerId, i32, Request)> {
        let mut ready = Vec::new();
        for (id, queue) in &mut self.queues {
            if queue.under_way.is_none()
                && self.up.contains(id)
                && let Some(request) = queue.waiting.pop_front()
            {
                self.last_correlation = self.last_correlation.wrapping_add(1);
                queue.under_way = Some((self.last_correlation, request.clone()));
                ready.push((*id, self.last_correlation, request));
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_under_way_and_is_sent_again_until_the_broker_leaves() {
        let mut outbox = Outbox::default();
        let first = Request::from(UpdateMetadataRequest::default());
        let second = Request::from(StopReplicaRequest::default());
        outbox.add(BrokerId(1));
        outbox.push(BrokerId(1), first.clone());
        outbox.push(BrokerId(1), second.clone());
        assert_eq!(outbox.ready(), []);
        outbox.on_channel(BrokerId(1), true);
        assert_eq!(outbox.ready(), [(BrokerId(1), 1, first.clone())]);
        assert_eq!(outbox.ready(), []);
        outbox.on_channel(BrokerId(1), false);
        outbox.on_channel(BrokerId(1), true);
        assert_eq!(outbox.ready(), [(BrokerId(1), 2, first.clone())]);
        assert_eq!(outbox.on_response(BrokerId(1), 1), None);
        assert_eq!(outbox.on_response(BrokerId(1), 2), Some(first));
        assert_eq!(outbox.ready(), [(BrokerId(1), 3, second)]);
        outbox.remove(BrokerId(1));
        outbox.on_channel(BrokerId(1), false);
        assert_eq!(outbox.ready(), []);
    }
}
