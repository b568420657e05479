//! Leaders, ISRs and controllers as the ensemble has them: every committed write of the znodes that say so
//! (protocol.md D.2-2, -3, -17, -18, -20).

use super::{Findings, listed, or_none};
use crate::api::kafka::{self, AlterableConfig};
use crate::broker::config::TopicSettings;
use crate::broker::znodes::{self, PartitionState, TopicInfo};
use crate::id::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, NodeId, PartitionEpoch, TopicId, TopicPartition, Zxid,
};
use crate::ordered::{OrdMap, OrdSet};
use crate::znode::Txn;
use bytes::Bytes;

use std::sync::Arc;

/// A partition as its znodes say.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    pub topic_id: TopicId,
    pub state: Option<PartitionState>,
    /// The version of the state znode.
    pub version: i32,
    /// Every assigned replica, those that come and those that go included.
    pub assigned: Vec<BrokerId>,
    /// Those of `assigned` that a reassignment is adding.
    pub(super) adding: Vec<BrokerId>,
    /// Replicas that a reassignment was adding when it was called off: they leave the ISR right after the assignment
    /// (C.3).
    pub(super) leaving: Vec<BrokerId>,
}

impl Partition {
    /// A reassignment was called off, and its new replicas alone were in sync: nobody who is assigned may lead.
    pub fn is_dropped(&self) -> bool {
        let isr_is_gone = |state: &PartitionState| !state.isr.iter().any(|id| self.assigned.contains(id));
        self.state.as_ref().is_some_and(|state| state.leader.is_none() && isr_is_gone(state))
    }

    /// A member of the ISR that has no business in it.
    fn stray(&self, isr: &[BrokerId]) -> Option<BrokerId> {
        isr.iter().copied().find(|id| !self.assigned.contains(id) && !self.leaving.contains(id))
    }
}

/// What a replica knows of the state of its partition.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub topic_id: TopicId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// The ISR, of a leader.
    pub isr: Option<&'a [BrokerId]>,
}

/// `min.insync.replicas` of a topic.
#[derive(Clone, Copy, Debug)]
struct MinIsr {
    /// The least since it was created: a change reaches its leader late.
    least: u32,
    now: u32,
}

/// What the znodes of the brokers' side say.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    partitions: OrdMap<TopicPartition, Partition>,
    /// What `/controller_epoch` holds.
    controller_epoch: Option<ControllerEpoch>,
    /// Who said that it became controller in which epoch; pruned to the newest.
    controllers: OrdMap<ControllerEpoch, NodeId>,
    registrations: OrdMap<BrokerId, BrokerEpoch>,
    /// What each topic asks for.
    min_isr: OrdMap<Arc<str>, MinIsr>,
    /// Brokers that started again, and no controller has said since that it takes them in.
    restarted: OrdSet<BrokerId>,
    /// Those of them that were taken into an ISR, not yet fetched by [`Cluster::take_unaware`].
    unaware: Vec<(TopicPartition, BrokerId)>,
    /// Topics that somebody wants deleted.
    deleting: OrdSet<Arc<str>>,
    /// Unclean elections that operators asked for and that have not taken place.
    unclean_asked: OrdMap<TopicPartition, u32>,
    /// Topics whose settings were made to allow unclean elections since the world began; `None`: those of every broker.
    unclean_allowed: OrdSet<Option<Arc<str>>>,
    /// Leaders elected from outside the ISR, not yet fetched by [`Cluster::take_unclean`].
    unclean: Vec<(TopicPartition, LeaderEpoch)>,
    /// Partitions whose whole ISR leaves with a reassignment that was called off, not yet fetched by
    /// [`Cluster::take_dropped`].
    dropped: Vec<(TopicPartition, LeaderEpoch)>,
}

/// The partition whose state a path holds.
fn state_of(path: &str) -> Option<TopicPartition> {
    let rest = path.strip_prefix(znodes::TOPICS)?.strip_prefix('/')?;
    let (topic, rest) = rest.split_once("/partitions/")?;
    let partition = rest.strip_suffix("/state")?.parse().ok()?;
    Some(TopicPartition::new(topic, partition))
}

/// The topic whose assignment a path holds.
fn topic_of(path: &str) -> Option<&str> {
    let topic = path.strip_prefix(znodes::TOPICS)?.strip_prefix('/')?;
    (!topic.contains('/')).then_some(topic)
}

/// The topic whose end a path asks for.
fn deleted_topic(path: &str) -> Option<&str> {
    path.strip_prefix(znodes::DELETE_TOPICS)?.strip_prefix('/')
}

/// The topic whose settings a path holds.
fn configured_topic(path: &str) -> Option<&str> {
    path.strip_prefix("/config/topics/").filter(|topic| !topic.contains('/'))
}

impl Cluster {
    pub fn partitions(&self) -> impl Iterator<Item = (&TopicPartition, &Partition)> {
        self.partitions.iter()
    }

    /// Whether a write of the whole ISR can be owed: somebody leads, and enough are in sync. Of a topic that is being
    /// deleted nothing is, however long that waits. Of a topic that is not there, what is owed is its creation, to
    /// whoever asks for that.
    pub fn takes_writes(&self, partition: &TopicPartition) -> bool {
        let Some(told) = self.partitions.get(partition) else { return false };
        let enough = |state: &PartitionState| {
            let asked = self.min_isr.get(&partition.topic).map_or(1, |min_isr| min_isr.now);
            state.leader.is_some() && state.isr.len() as u32 >= asked.min(told.assigned.len() as u32)
        };
        !told.is_dropped() && !self.is_being_deleted(&partition.topic) && told.state.as_ref().is_none_or(enough)
    }

    pub fn is_being_deleted(&self, topic: &str) -> bool {
        self.deleting.contains(topic)
    }

    /// ISR-6. What this broker knows of a partition it was told of by what the ensemble has.
    pub fn judge_known(&self, name: &TopicPartition, id: BrokerId, known: Known<'_>, find: &mut Findings) {
        let Some(told) = self.partitions.get(name).filter(|told| told.topic_id == known.topic_id) else { return };
        let Some(state) = &told.state else { return };
        let Known { leader_epoch, partition_epoch, isr, .. } = known;
        let other = isr.filter(|isr| !(isr.len() == state.isr.len() && isr.iter().all(|id| state.isr.contains(id))));
        let is_ahead = leader_epoch > state.leader_epoch || partition_epoch.0 > told.version;
        if is_ahead || (partition_epoch.0 == told.version && other.is_some()) {
            find.fire("ISR-6", || {
                format!(
                    "broker {id} knows {name} in leader epoch {leader_epoch}, partition epoch {partition_epoch}, ISR {}; \
                     its znode has {}, {}, {}",
                    or_none(isr.map(listed)),
                    state.leader_epoch,
                    told.version,
                    listed(&state.isr)
                )
            });
        }
    }

    /// The ISR, if this broker leads in this epoch as far as the ensemble knows.
    pub fn isr_led_by(&self, partition: &TopicPartition, leader: BrokerId, epoch: i32) -> Option<&[BrokerId]> {
        let state = self.partitions.get(partition)?.state.as_ref()?;
        (state.leader == Some(leader) && state.leader_epoch.0 == epoch).then_some(state.isr.as_slice())
    }

    pub fn is_in_sync(&self, partition: &TopicPartition, id: BrokerId) -> bool {
        let state = self.partitions.get(partition).and_then(|partition| partition.state.as_ref());
        state.is_some_and(|state| state.isr.contains(&id))
    }

    /// How many of these replicas a write of this topic has to be on, at least.
    pub fn min_isr(&self, topic: &str, replicas: usize) -> u32 {
        self.min_isr.get(topic).map_or(1, |min_isr| min_isr.least.min(replicas as u32))
    }

    /// A transaction was committed.
    pub fn on_committed(&mut self, zxid: Zxid, txn: &Txn, find: &mut Findings) {
        match txn {
            Txn::Multi(parts) => {
                if !parts.iter().any(|part| matches!(part, Txn::Error(_))) {
                    for part in parts {
                        self.on_committed(zxid, part, find);
                    }
                }
            }
            Txn::Create { path, data, .. } => self.on_written(zxid, path.as_str(), data.as_ref(), 0, find),
            Txn::SetData { path, data, version } => {
                self.on_written(zxid, path.as_str(), data.as_ref(), *version, find);
            }
            Txn::Delete { path } => self.on_deleted(path.as_str()),
            Txn::DeleteContainer { .. }
            | Txn::Reconfig { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::CreateSession { .. }
            | Txn::CloseSession { .. }
            | Txn::Error(_) => {}
        }
    }

    fn on_written(&mut self, zxid: Zxid, path: &str, data: Option<&Bytes>, version: i32, find: &mut Findings) {
        // The wish is a node without data.
        if let Some(topic) = deleted_topic(path) {
            self.deleting.insert(topic.into());
        }
        let Some(data) = data else { return };
        if path == znodes::CONTROLLER_EPOCH {
            let Some(epoch) = znodes::decode_controller_epoch(data) else { return };
            if let Some(before) = self.controller_epoch.replace(epoch)
                && before >= epoch
            {
                find.fire("CTL-1", || format!("/controller_epoch goes from {before} to {epoch} at {zxid}"));
            }
        } else if let Some(topic) = configured_topic(path) {
            self.on_topic_config(topic, data);
        } else if let Some(topic) = topic_of(path) {
            self.on_topic(zxid, topic, data, find);
        } else if let Some(partition) = state_of(path)
            && let Some(state) = PartitionState::decode(data)
        {
            self.on_state(zxid, partition, state, version, find);
        }
    }

    fn on_topic_config(&mut self, topic: &str, data: &[u8]) {
        let configs = znodes::decode_configs(data).unwrap_or_default();
        let asked = configs.get("min.insync.replicas").and_then(|value| value.parse().ok()).unwrap_or(1);
        let min_isr = self.min_isr.entry(topic.into()).or_insert(MinIsr { least: asked, now: asked });
        *min_isr = MinIsr { least: asked.min(min_isr.least), now: asked };
    }

    fn on_topic(&mut self, zxid: Zxid, topic: &str, data: &[u8], find: &mut Findings) {
        let Some(info) = TopicInfo::decode(data) else { return };
        let topic: Arc<str> = topic.into();
        for (number, assignment) in info.partitions {
            let name = TopicPartition::new(topic.clone(), number);
            let partition = self.partitions.entry(name.clone()).or_default();
            let called_off = core::mem::replace(&mut partition.adding, assignment.adding);
            partition.assigned = assignment.replicas;
            partition.topic_id = info.id;
            let isr = partition.state.as_ref().map_or(&[][..], |state| &state.isr);
            partition.leaving.extend(called_off);
            partition.leaving.retain(|id| !partition.assigned.contains(id) && isr.contains(id));
            if let Some(state) = &partition.state
                && state.isr.iter().all(|id| partition.leaving.contains(id))
            {
                self.dropped.push((name.clone(), state.leader_epoch));
            }
            if let Some(state) = &partition.state
                && let Some(stray) = partition.stray(&state.isr)
            {
                let assigned = &partition.assigned;
                find.fire("ISR-1", || {
                    format!(
                        "{name} is assigned to {} at {zxid} while broker {stray} is in its ISR {}",
                        listed(assigned),
                        listed(&state.isr)
                    )
                });
            }
        }
    }

    fn on_state(&mut self, zxid: Zxid, name: TopicPartition, state: PartitionState, version: i32, find: &mut Findings) {
        let partition = self.partitions.entry(name.clone()).or_default();
        let PartitionState { isr, leader, leader_epoch, controller_epoch, .. } = &state;
        if isr.is_empty() || leader.is_some_and(|leader| !isr.contains(&leader)) {
            find.fire("ISR-1", || {
                format!("{name} is led by {} with the ISR {} at {zxid}", or_none(*leader), listed(isr))
            });
        }
        if let Some(stray) = partition.stray(isr) {
            let assigned = &partition.assigned;
            find.fire("ISR-1", || {
                format!("broker {stray} is in the ISR of {name} at {zxid}, assigned are {}", listed(assigned))
            });
        }
        if let Some(before) = &partition.state {
            let back = *leader_epoch < before.leader_epoch;
            let same = *leader_epoch == before.leader_epoch;
            let moved = same && before.leader != *leader;
            if back || moved || version <= partition.version {
                let (was, old, at) = (before.leader, before.leader_epoch, partition.version);
                find.fire("ISR-3", || {
                    format!(
                        "{name} goes from leader {}, epoch {old}, version {at} to {}, {leader_epoch}, {version} at {zxid}",
                        or_none(was),
                        or_none(*leader)
                    )
                });
            }
        }
        if let Some(before) = &partition.state {
            let joined = isr.iter().filter(|id| !before.isr.contains(id) && self.restarted.contains(id));
            self.unaware.extend(joined.map(|id| (name.clone(), *id)));
        }
        if let (Some(before), Some(leader)) = (&partition.state, leader)
            && !before.isr.contains(leader)
        {
            self.unclean.push((name.clone(), *leader_epoch));
        }
        if let Some(current) = self.controller_epoch
            && current != *controller_epoch
        {
            find.fire("CTL-2", || {
                format!("{name} is written at {zxid} by a controller of epoch {controller_epoch}; the current one is {current}")
            });
        }
        partition.leaving.retain(|id| isr.contains(id));
        partition.version = version;
        partition.state = Some(state);
    }

    fn on_deleted(&mut self, path: &str) {
        if let Some(topic) = configured_topic(path) {
            self.min_isr.remove(topic);
        } else if let Some(topic) = deleted_topic(path) {
            self.deleting.remove(topic);
        } else if let Some(topic) = topic_of(path) {
            self.partitions.retain(|name, _| &*name.topic != topic);
        } else if let Some(partition) = state_of(path) {
            self.partitions.remove(&partition);
        }
    }

    pub fn on_controller(&mut self, node: NodeId, epoch: ControllerEpoch, find: &mut Findings) {
        let before = *self.controllers.entry(epoch).or_insert(node);
        if before != node {
            find.fire("CTL-3", || format!("{before} and {node} are both controller of epoch {epoch}"));
        }
        if self.controllers.len() > 64 {
            self.controllers.pop_first();
        }
    }

    pub fn on_restarted(&mut self, id: BrokerId) {
        self.restarted.insert(id);
    }

    pub fn on_taken_in(&mut self, id: BrokerId) {
        self.restarted.remove(&id);
    }

    pub fn on_registered(&mut self, id: BrokerId, epoch: BrokerEpoch, find: &mut Findings) {
        if let Some(before) = self.registrations.insert(id, epoch)
            && before >= epoch
        {
            find.fire("CTL-5", || format!("broker {id} is registered with epoch {epoch} after {before}"));
        }
    }

    /// A client asks a broker for something that may let leaders come from outside the ISR.
    pub fn on_asked(&mut self, request: &kafka::Request) {
        match request {
            kafka::Request::ElectLeaders(elect) if elect.election_type == 1 => {
                let named = elect.topics.as_ref().map(|topics| {
                    let parts = topics.iter().map(|topic| (&topic.name, &topic.partitions));
                    let all =
                        parts.flat_map(|(name, parts)| parts.iter().map(|p| TopicPartition::new(name.clone(), *p)));
                    all.collect::<Vec<_>>()
                });
                for partition in named.unwrap_or_else(|| self.partitions.keys().cloned().collect()) {
                    *self.unclean_asked.entry(partition).or_default() += 1;
                }
            }
            kafka::Request::IncrementalAlterConfigs(alter) => {
                for resource in &alter.resources {
                    let sets = |config: &&AlterableConfig| config.operation == 0;
                    if resource.configs.iter().filter(sets).any(|config| allows(&config.name, config.value.as_deref()))
                    {
                        let topic = (resource.resource_type == TOPIC).then(|| resource.resource_name.as_str().into());
                        self.unclean_allowed.insert(topic);
                    }
                }
            }
            kafka::Request::CreateTopics(create) => {
                for topic in &create.topics {
                    if topic.configs.iter().any(|config| allows(&config.name, config.value.as_deref())) {
                        self.unclean_allowed.insert(Some(topic.name.clone()));
                    }
                }
            }
            _ => {}
        }
    }

    /// The unclean elections since this was asked last.
    pub fn take_unclean(&mut self) -> Vec<(TopicPartition, LeaderEpoch)> {
        core::mem::take(&mut self.unclean)
    }

    /// The brokers that joined an ISR though they had started again, which no controller knew, since this was asked last.
    pub fn take_unaware(&mut self) -> Vec<(TopicPartition, BrokerId)> {
        core::mem::take(&mut self.unaware)
    }

    /// The partitions that lost their ISR to a reassignment that was called off, since this was asked last.
    pub fn take_dropped(&mut self) -> Vec<(TopicPartition, LeaderEpoch)> {
        core::mem::take(&mut self.dropped)
    }

    /// Whether somebody wanted this unclean election or allowed it since the world began. One wish is for one election.
    pub fn was_unclean_asked(&mut self, partition: &TopicPartition) -> bool {
        if self.unclean_allowed.contains(&None) || self.unclean_allowed.contains(&Some(partition.topic.clone())) {
            return true;
        }
        match self.unclean_asked.get_mut(partition) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

/// The resource type of a topic in the config requests.
const TOPIC: i8 = 2;

fn allows(name: &str, value: Option<&str>) -> bool {
    let mut settings = TopicSettings::default();
    value.is_some_and(|value| settings.set(name, value).is_ok()) && settings.unclean_leader_election_enable
}
