//! The cluster as the controller knows it: brokers, assignments, leaders, and the state machines' states.
//!
//! A cache of ZooKeeper and nothing more; it asks and decides nothing by itself.

use super::elect::Ballot;
use crate::broker::znodes::{Assignment, BrokerInfo, PartitionState};
use crate::id::{BrokerEpoch, BrokerId, PartitionEpoch, TopicId, TopicPartition};
use crate::ordered::{OrdMap, OrdSet};
use std::sync::Arc;

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveBroker {
    pub epoch: BrokerEpoch,
    pub info: BrokerInfo,
}

/// The life of one replica (C.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplicaState {
    New,
    Online,
    Offline,
    DeletionStarted,
    DeletionSuccessful,
    DeletionIneligible,
    NonExistent,
}

impl ReplicaState {
    /// Whether a replica may go from `from` to `self`.
    pub fn follows(self, from: ReplicaState) -> bool {
        use ReplicaState::{
            DeletionIneligible, DeletionStarted, DeletionSuccessful, New, NonExistent, Offline, Online,
        };
        match self {
            New => from == NonExistent,
            Online | Offline => matches!(from, New | Online | Offline | DeletionIneligible),
            DeletionStarted => from == Offline,
            DeletionSuccessful => from == DeletionStarted,
            DeletionIneligible => matches!(from, Offline | DeletionStarted),
            NonExistent => from == DeletionSuccessful,
        }
    }
}

/// The life of a partition (C.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    #[default]
    NonExistent,
    New,
    Online,
    Offline,
}

impl Status {
    /// Whether a partition may go from `from` to `self`.
    pub fn follows(self, from: Status) -> bool {
        match self {
            Status::New => from == Status::NonExistent,
            Status::Online | Status::Offline => from != Status::NonExistent,
            Status::NonExistent => from == Status::Offline,
        }
    }
}

/// Leader and ISR as the state znode held them when last read or written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Led {
    pub state: PartitionState,
    pub epoch: PartitionEpoch,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Partition {
    pub assignment: Assignment,
    pub status: Status,
    /// `None` until the state znode exists.
    pub led: Option<Led>,
    pub replicas: OrdMap<BrokerId, ReplicaState>,
}

impl Partition {
    pub fn of(assignment: Assignment) -> Partition {
        Partition { assignment, ..Partition::default() }
    }

    pub fn replica(&self, id: BrokerId) -> ReplicaState {
        self.replicas.get(&id).copied().unwrap_or(ReplicaState::NonExistent)
    }

    pub fn leader(&self) -> Option<BrokerId> {
        self.led.as_ref().and_then(|led| led.state.leader)
    }
}

/// A replica: of this partition, on this broker.
pub type Replica = (TopicPartition, BrokerId);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// Registered brokers, those that are shutting down included.
    pub brokers: OrdMap<BrokerId, LiveBroker>,
    /// Asked for a controlled shutdown; until their registration goes.
    pub shutting_down: OrdSet<BrokerId>,
    pub topics: OrdMap<Arc<str>, TopicId>,
    pub partitions: OrdMap<TopicPartition, Partition>,
    /// Replicas whose log directory failed.
    pub broken: OrdSet<Replica>,

    pub reassigning: OrdSet<TopicPartition>,
    /// Of these, the ones asked for through `/admin/reassign_partitions`.
    pub by_znode: OrdSet<TopicPartition>,

    /// Topics below `/admin/delete_topics`.
    pub deleting: OrdSet<Arc<str>>,
    pub deletion_begun: OrdSet<Arc<str>>,
    /// Deletion waits: a replica is offline or being reassigned.
    pub deletion_waits: OrdSet<Arc<str>>,
}

impl Context {
    /// Registered and not shutting down.
    pub fn is_live(&self, id: BrokerId) -> bool {
        self.brokers.contains_key(&id) && !self.shutting_down.contains(&id)
    }

    /// On a live broker with a working log directory.
    pub fn is_online(&self, tp: &TopicPartition, id: BrokerId) -> bool {
        self.is_live(id) && !self.is_broken(tp, id)
    }

    fn is_broken(&self, tp: &TopicPartition, id: BrokerId) -> bool {
        !self.broken.is_empty() && self.broken.contains(&(tp.clone(), id))
    }

    /// Runs a decision of [`super::elect`] with what this cluster knows about one partition.
    pub fn ballot<T>(&self, tp: &TopicPartition, decide: impl FnOnce(Ballot<'_>) -> T) -> T {
        let none = Assignment::default();
        decide(Ballot {
            assignment: self.partitions.get(tp).map_or(&none, |partition| &partition.assignment),
            registered: &|id| self.brokers.contains_key(&id) && !self.is_broken(tp, id),
            shutting_down: &|id| self.shutting_down.contains(&id),
        })
    }

    pub fn broker_ids(&self) -> Vec<BrokerId> {
        self.brokers.keys().copied().collect()
    }

    /// Whether its deletion has begun, or may at any time. Until a move of it has ended it is a topic like others: the
    /// move needs leaders. (Apache elects none from the wish on, and then waits for the move without end.)
    pub fn is_deleting(&self, topic: &str) -> bool {
        self.deleting.contains(topic) && !self.is_moving(topic)
    }

    /// Whether a partition of it is being reassigned.
    pub fn is_moving(&self, topic: &str) -> bool {
        self.reassigning.iter().any(|tp| *tp.topic == *topic)
    }

    pub fn of_topic(&self, topic: &str) -> impl Iterator<Item = (&TopicPartition, &Partition)> {
        let from = TopicPartition::new(topic, i32::MIN);
        let name = from.topic.clone();
        self.partitions.range(from..).take_while(move |(tp, _)| tp.topic == name)
    }

    /// Every replica assigned to one of these brokers.
    pub fn replicas_on(&self, ids: &OrdSet<BrokerId>) -> Vec<Replica> {
        let all = self.partitions.iter().flat_map(|(tp, partition)| {
            partition.assignment.replicas.iter().filter(|id| ids.contains(id)).map(|id| (tp.clone(), *id))
        });
        all.collect()
    }

    pub fn replicas_of_topic(&self, topic: &str) -> Vec<Replica> {
        let of = self.of_topic(topic);
        of.flat_map(|(tp, part)| part.assignment.replicas.iter().map(|id| (tp.clone(), *id))).collect()
    }

    pub fn state_of(&self, replica: &Replica) -> ReplicaState {
        self.partitions.get(&replica.0).map_or(ReplicaState::NonExistent, |partition| partition.replica(replica.1))
    }

    /// Whether any replica of a topic is in this state.
    pub fn any_replica(&self, topic: &str, state: ReplicaState) -> bool {
        self.of_topic(topic).any(|(_, partition)| partition.replicas.values().any(|of| *of == state))
    }

    pub fn remove_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.partitions.retain(|tp, _| &*tp.topic != topic);
        self.broken.retain(|(tp, _)| &*tp.topic != topic);
        self.reassigning.retain(|tp| &*tp.topic != topic);
        self.by_znode.retain(|tp| &*tp.topic != topic);
    }

    pub fn topic_named(&self, id: TopicId) -> Option<&Arc<str>> {
        self.topics.iter().find(|(_, of)| **of == id && id != TopicId::NONE).map(|(name, _)| name)
    }
}
