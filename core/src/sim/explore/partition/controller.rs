//! The abstract controller: the partition's state as ZooKeeper holds it, elections of any ISR member, and decisions on
//! ISR changes as the controller makes them (protocol.md C.3, C.4).

use super::REPLICAS;
use super::replica::{broker, seat};
use crate::api::kafka::{AlterPartitionDataResponse, ErrorCode, LeaderAndIsrPartition};
use crate::id::{BrokerId, LeaderEpoch, PartitionEpoch};

/// The state znode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub leader: Option<u8>,
    pub leader_epoch: LeaderEpoch,
    /// Its version.
    pub epoch: PartitionEpoch,
    /// In order of number.
    pub isr: Vec<u8>,
}

impl State {
    pub fn has(&self, at: usize) -> bool {
        self.isr.contains(&(at as u8))
    }

    /// What a broker is told of it.
    pub fn told(&self) -> LeaderAndIsrPartition {
        LeaderAndIsrPartition {
            leader: self.leader.map_or(BrokerId(-1), |at| broker(at as usize)),
            leader_epoch: self.leader_epoch,
            isr: self.isr.iter().map(|at| broker(*at as usize)).collect(),
            partition_epoch: self.epoch,
            replicas: (0..REPLICAS).map(broker).collect(),
            ..LeaderAndIsrPartition::default()
        }
    }
}

/// AlterPartition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<BrokerId>,
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    pub error: ErrorCode,
    pub state: State,
}

impl Decision {
    pub fn answer(&self) -> AlterPartitionDataResponse {
        let told = self.state.told();
        AlterPartitionDataResponse {
            error: self.error,
            leader: told.leader,
            leader_epoch: told.leader_epoch,
            isr: told.isr,
            partition_epoch: told.partition_epoch,
            ..AlterPartitionDataResponse::default()
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    pub state: State,
    /// Who is registered, as far as the controller has noticed.
    pub alive: [bool; REPLICAS],
}

impl Controller {
    /// All replicas alive and in sync, the first leads.
    pub fn new() -> Controller {
        let isr = (0..REPLICAS as u8).collect();
        let state = State { leader: Some(0), leader_epoch: LeaderEpoch(0), epoch: PartitionEpoch(0), isr };
        Controller { state, alive: [true; REPLICAS] }
    }

    /// Who may be elected now.
    pub fn candidates(&self) -> impl Iterator<Item = u8> + '_ {
        self.state.isr.iter().copied().filter(|at| self.alive[*at as usize])
    }

    /// Writes a new leader into the state. Returns whether all are to be told.
    pub fn elect(&mut self, leader: Option<u8>) {
        self.state.leader = leader;
        self.state.leader_epoch.0 += 1;
        self.state.epoch.0 += 1;
    }

    /// A registration is gone. Returns whether the state changed.
    pub fn replace(&mut self, gone: u8, leader: Option<u8>) -> bool {
        self.alive[gone as usize] = false;
        let led = self.state.leader == Some(gone);
        if !self.state.isr.contains(&gone) {
            return false;
        }
        if self.state.isr.len() > 1 {
            self.state.isr.retain(|at| *at != gone);
        }
        let leader = if led { leader } else { self.state.leader };
        self.elect(leader);
        true
    }

    /// AlterPartition, in the order of its checks (C.4).
    pub fn decide(&mut self, proposal: &Proposal) -> Decision {
        let error = self.judge(proposal);
        if error.is_none() {
            let mut isr: Vec<u8> = proposal.isr.iter().map(|id| seat(*id) as u8).collect();
            isr.sort_unstable();
            if isr != self.state.isr {
                self.state.isr = isr;
                self.state.epoch.0 += 1;
            }
        }
        Decision { error, state: self.state.clone() }
    }

    fn judge(&self, proposal: &Proposal) -> ErrorCode {
        if proposal.leader_epoch < self.state.leader_epoch {
            ErrorCode::FENCED_LEADER_EPOCH
        } else if proposal.partition_epoch < self.state.epoch {
            ErrorCode::INVALID_UPDATE_VERSION
        } else if proposal.isr.iter().any(|id| !self.alive[seat(*id)]) {
            ErrorCode::INELIGIBLE_REPLICA
        } else {
            ErrorCode::NONE
        }
    }
}
