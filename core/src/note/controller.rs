//! What the controller tells. Reads well after "broker-3 ".

use crate::id::{BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
use core::fmt;
use std::sync::Arc;

/// A fact of the controller's. Each names what changed, and why where that is not plain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ControllerNote {
    BecameController {
        epoch: ControllerEpoch,
    },
    /// It works: its picture of the cluster is read and every broker has it.
    FailoverDone {
        epoch: ControllerEpoch,
        brokers: u32,
        partitions: u32,
    },
    Resigned {
        why: &'static str,
    },
    /// A write was refused because `/controller_epoch` had moved on (KAFKA-6082).
    Fenced {
        epoch: ControllerEpoch,
    },
    BrokerUp {
        id: BrokerId,
    },
    BrokerDown {
        id: BrokerId,
    },
    /// Down and up between two looks: only its epoch tells (KIP-380).
    BrokerBounced {
        id: BrokerId,
    },
    Elected {
        partition: TopicPartition,
        leader: BrokerId,
        epoch: LeaderEpoch,
        isr: Vec<BrokerId>,
        strategy: &'static str,
    },
    UncleanElection {
        partition: TopicPartition,
        leader: BrokerId,
        epoch: LeaderEpoch,
    },
    OfflinePartition {
        partition: TopicPartition,
    },
    LeftIsr {
        partition: TopicPartition,
        replica: BrokerId,
        isr: Vec<BrokerId>,
    },
    IsrChanged {
        partition: TopicPartition,
        isr: Vec<BrokerId>,
    },
    IsrRefused {
        partition: TopicPartition,
        why: &'static str,
    },
    ReassignmentStarted {
        partition: TopicPartition,
        to: Vec<BrokerId>,
    },
    ReassignmentFinished {
        partition: TopicPartition,
        replicas: Vec<BrokerId>,
    },
    TopicCreated {
        topic: Arc<str>,
        partitions: u32,
    },
    TopicDeleted {
        topic: Arc<str>,
    },
    ControlledShutdown {
        id: BrokerId,
        remaining: u32,
    },
    ProducerIds {
        start: i64,
        end: i64,
        to: BrokerId,
    },
}

/// `[1, 2, 3]`, as the page writes lists of brokers.
struct List<'a>(&'a [BrokerId]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for ControllerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControllerNote::BecameController { epoch } => write!(f, "becomes controller, epoch {epoch}"),
            ControllerNote::FailoverDone { epoch, brokers, partitions } => {
                write!(f, "works as controller of epoch {epoch}: {brokers} brokers, {partitions} partitions")
            }
            ControllerNote::Resigned { why } => write!(f, "resigns as controller: {why}"),
            ControllerNote::Fenced { epoch } => {
                write!(f, "is refused a write as controller of epoch {epoch}: a newer controller is elected")
            }
            ControllerNote::BrokerUp { id } => write!(f, "takes in broker-{id}"),
            ControllerNote::BrokerDown { id } => write!(f, "counts broker-{id} as dead: its registration is gone"),
            ControllerNote::BrokerBounced { id } => {
                write!(f, "counts broker-{id} as dead and back: its registration is a newer one")
            }
            ControllerNote::Elected { partition, leader, epoch, isr, strategy } => {
                write!(f, "elects broker-{leader} to lead {partition} at epoch {epoch}, ISR {} ({strategy})", List(isr))
            }
            ControllerNote::UncleanElection { partition, leader, epoch } => write!(
                f,
                "elects broker-{leader} to lead {partition} at epoch {epoch} though it is not in the ISR: records may be lost"
            ),
            ControllerNote::OfflinePartition { partition } => {
                write!(f, "leaves {partition} without a leader: nobody in its ISR is live")
            }
            ControllerNote::LeftIsr { partition, replica, isr } => {
                write!(f, "takes broker-{replica} out of the ISR of {partition}: now {}", List(isr))
            }
            ControllerNote::IsrChanged { partition, isr } => write!(f, "sets the ISR of {partition} to {}", List(isr)),
            ControllerNote::IsrRefused { partition, why } => write!(f, "refuses a new ISR of {partition}: {why}"),
            ControllerNote::ReassignmentStarted { partition, to } => {
                write!(f, "moves {partition} to brokers {}", List(to))
            }
            ControllerNote::ReassignmentFinished { partition, replicas } => {
                write!(f, "has moved {partition}: it is on brokers {}", List(replicas))
            }
            ControllerNote::TopicCreated { topic, partitions: 1 } => write!(f, "creates {topic} with 1 partition"),
            ControllerNote::TopicCreated { topic, partitions } => {
                write!(f, "creates {topic} with {partitions} partitions")
            }
            ControllerNote::TopicDeleted { topic } => write!(f, "has deleted {topic}"),
            ControllerNote::ControlledShutdown { id, remaining: 0 } => {
                write!(f, "lets broker-{id} stop: it leads nothing that another could lead")
            }
            ControllerNote::ControlledShutdown { id, remaining } => {
                write!(f, "asks broker-{id} to wait with its stop: it still leads {remaining} partitions")
            }
            ControllerNote::ProducerIds { start, end, to } => {
                write!(f, "gives producer ids {start} to {end} to broker-{to}")
            }
        }
    }
}
