//! LeaderAndIsr and StopReplica: which replicas this broker has, and who leads them (protocol.md C.5). Thousands of
//! partitions in one request are taken a few at a time, so that the session lives on and others are served meanwhile; the
//! answer waits for all of them. Knows nothing of the controller behind it.

use super::config::TopicSettings;
use super::connection::Asker;
use super::partition::log::Log;
use super::partition::{Context, Partition};
use super::{Broker, Timer};
use crate::api::kafka::{
    ErrorCode, LeaderAndIsrPartition, LeaderAndIsrPartitionError, LeaderAndIsrRequest, LeaderAndIsrResponse,
    LeaderAndIsrTopic, LeaderAndIsrTopicError, Response, StopReplicaPartition, StopReplicaPartitionError,
    StopReplicaRequest, StopReplicaResponse, StopReplicaTopic,
};
use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::machine::Effects;
use crate::node::Effect;
use crate::ordered::OrdSet;
use crate::record::offset::LogRange;
use crate::time::Now;
use std::sync::Arc;

/// Partitions that are taken in one step. Each may mean a folder and five files, and a file system may take several
/// milliseconds for them.
const AT_ONCE: usize = 16;

/// A control request that is being obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Orders {
    asker: Asker,
    /// The last one first.
    rest: Vec<Order>,
    done: Done,
}

/// What is to become of one replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Order {
    Lead(Arc<str>, TopicId, LeaderAndIsrPartition),
    Stop(Arc<str>, StopReplicaPartition),
}

/// The answer as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Done {
    Led(Vec<LeaderAndIsrTopicError>),
    Stopped(Vec<StopReplicaPartitionError>),
}

impl Orders {
    fn lead(asker: Asker, request: &LeaderAndIsrRequest) -> Orders {
        let of = |topic: &LeaderAndIsrTopic| {
            let (name, id) = (topic.name.clone(), topic.topic_id);
            topic.partitions.clone().into_iter().map(move |told| Order::Lead(name.clone(), id, told))
        };
        Orders { asker, rest: request.topics.iter().flat_map(of).rev().collect(), done: Done::Led(Vec::new()) }
    }

    fn stop(asker: Asker, request: &StopReplicaRequest) -> Orders {
        let of = |topic: &StopReplicaTopic| {
            let name = topic.name.clone();
            topic.partitions.clone().into_iter().map(move |told| Order::Stop(name.clone(), told))
        };
        Orders { asker, rest: request.topics.iter().flat_map(of).rev().collect(), done: Done::Stopped(Vec::new()) }
    }
}

impl Done {
    fn led(&mut self, topic: Arc<str>, topic_id: TopicId, partition: i32, error: ErrorCode) {
        let Done::Led(topics) = self else { return };
        let answered = LeaderAndIsrPartitionError { topic: topic.clone(), partition, error, ..Default::default() };
        // Without ids, as in old versions, names tell topics apart.
        let is_same = |last: &&mut LeaderAndIsrTopicError| {
            last.topic_id == topic_id && last.partitions.last().is_some_and(|other| other.topic == topic)
        };
        match topics.last_mut().filter(is_same) {
            Some(last) => last.partitions.push(answered),
            None => topics.push(LeaderAndIsrTopicError { topic_id, partitions: vec![answered], ..Default::default() }),
        }
    }

    fn stopped(&mut self, topic: Arc<str>, partition: i32, error: ErrorCode) {
        let Done::Stopped(partitions) = self else { return };
        partitions.push(StopReplicaPartitionError { topic, partition, error, ..Default::default() });
    }

    fn response(self) -> Response<LogRange> {
        match self {
            Done::Led(topics) => LeaderAndIsrResponse { topics, ..Default::default() }.into(),
            Done::Stopped(partitions) => StopReplicaResponse { partitions, ..Default::default() }.into(),
        }
    }
}

impl Broker {
    pub(super) fn on_leader_and_isr(
        &mut self,
        now: Now,
        asker: Asker,
        request: &LeaderAndIsrRequest,
        fx: &mut Effects<Effect>,
    ) {
        if let Err(error) = self.check_control(now, request.broker_epoch, request.controller_epoch, fx) {
            let response = LeaderAndIsrResponse { error, ..LeaderAndIsrResponse::default() };
            return self.answer(asker, response.into(), fx);
        }
        if !self.told_to_lead {
            self.told_to_lead = true;
            let at = now.at + self.settings.high_watermark_checkpoint_interval;
            self.deadlines.set(Timer::CheckpointHighWatermarks, at);
        }
        self.orders = Some(Box::new(Orders::lead(asker, request)));
        self.obey(now, fx);
    }

    pub(super) fn on_stop_replica(
        &mut self,
        now: Now,
        asker: Asker,
        request: &StopReplicaRequest,
        fx: &mut Effects<Effect>,
    ) {
        if let Err(error) = self.check_control(now, request.broker_epoch, request.controller_epoch, fx) {
            let response = StopReplicaResponse { error, ..StopReplicaResponse::default() };
            return self.answer(asker, response.into(), fx);
        }
        self.orders = Some(Box::new(Orders::stop(asker, request)));
        self.obey(now, fx);
    }

    /// Takes the next partitions of what was ordered, and answers after the last.
    pub(super) fn obey(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let Some(mut orders) = self.orders.take() else { return };
        let mut touched = OrdSet::new();
        for _ in 0..AT_ONCE {
            match orders.rest.pop() {
                Some(Order::Lead(topic, topic_id, told)) => {
                    let taken = self.lead_or_follow(now, &topic, topic_id, &told, &mut touched, fx);
                    orders.done.led(topic, topic_id, told.partition, taken.err().unwrap_or(ErrorCode::NONE));
                }
                Some(Order::Stop(topic, told)) => {
                    let name = TopicPartition::new(topic.clone(), told.partition);
                    let stopped = self.stop_replica(now, &name, told.leader_epoch, told.delete, fx);
                    orders.done.stopped(topic, told.partition, stopped.err().unwrap_or(ErrorCode::NONE));
                }
                None => break,
            }
        }
        if orders.rest.is_empty() {
            self.answer(orders.asker, orders.done.response(), fx);
        } else {
            self.orders = Some(orders);
        }
        for name in touched {
            self.on_role_changed(now, &name, fx);
        }
        // One that stopped may have been waiting for the disk, and with it all that come from the same leader.
        self.run_fetchers(now, fx);
    }

    /// What a fetcher has to cover changed, or what it waited for went away.
    pub(super) fn run_fetchers(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let leaders: Vec<BrokerId> = self.fetchers.keys().copied().collect();
        for leader in leaders {
            self.run_fetcher(now, leader, fx);
        }
    }

    /// Before anything else is ordered.
    pub(super) fn obey_all(&mut self, now: Now, fx: &mut Effects<Effect>) {
        while self.orders.is_some() {
            self.obey(now, fx);
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
        if !told.replicas.contains(&self.id) {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        if let Some(ours) = self.partitions.get(&name) {
            let id = ours.log.topic_id;
            if id.may_be(topic_id) {
                if !ours.is_news(told) {
                    return Err(ErrorCode::STALE_CONTROLLER_EPOCH);
                }
            } else if ours.named_in == self.registration.epoch {
                return Err(ErrorCode::INCONSISTENT_TOPIC_ID);
            } else {
                // Of a topic that was deleted while nobody could tell us, or whose deletion a power loss undid. It has
                // not been named since we registered, and whoever names the other one knows of our registration: it
                // goes, as StopReplica would have had it. (Apache refuses the other one until the folder is removed.)
                let whatever = LeaderEpoch::NONE;
                self.stop_replica(now, &name, whatever, true, fx)?;
            }
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
        partition.named_in = self.registration.epoch;
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
        // What is known of its settings may be about a topic of the same name that is gone, a log of which may lie here.
        let is_of_it =
            |other: &TopicPartition| self.partitions.get(other).is_some_and(|it| it.log.topic_id == topic_id);
        if !self.replicas_of(&name.topic).any(is_of_it) {
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

    pub(super) fn has_replica_of(&self, topic: &Arc<str>) -> bool {
        self.replicas_of(topic).next().is_some()
    }

    pub(super) fn replicas_of(&self, topic: &Arc<str>) -> impl Iterator<Item = &TopicPartition> {
        let first = TopicPartition::new(topic.clone(), i32::MIN);
        self.partitions.range(first..).map(|(name, _)| name).take_while(move |name| name.topic == *topic)
    }
}
