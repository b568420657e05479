//! One replica of a partition: who leads it, in which epoch, and what this broker does about it.
//!
//! ```text
//!            LeaderAndIsr, leader = me             LeaderAndIsr, leader = another, alive
//!   Idle ───────────────────────────▶ Leader ◀──────────────────────────────▶ Follower
//!    ▲                                   │  StopReplica                           │
//!    └───────────────────────────────────┴───────────────────────────────────────┘
//! ```
//!
//! Leader's part: [`leader`]; follower's: [`follower`]; the ISR: [`isr`]; what waits: [`purgatory`]. It knows of the
//! cluster only what [`Context`] says, and nothing of connections.

pub mod follower;
pub mod isr;
pub mod leader;
pub mod log;
pub mod purgatory;

use crate::api::kafka::{ErrorCode, LeaderAndIsrPartition, LeaderIdAndEpoch};
use crate::broker::config::{Settings, TopicSettings};
use crate::broker::metadata::Metadata;
use crate::id::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::broker::BrokerNote;
use crate::rules::Rules;
use crate::time::Now;
use follower::Follower;
use leader::Leader;
use log::Log;

/// What a partition is told of the world around it.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub me: BrokerId,
    pub now: Now,
    pub settings: &'a Settings,
    pub rules: Rules,
    pub metadata: &'a Metadata,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Partition {
    pub log: Log,
    pub settings: TopicSettings,
    /// What the topic overrides is known. Until then nothing is appended for a producer and nothing deleted, and what is
    /// committed is on every replica.
    pub settings_are_read: bool,
    /// Of the last LeaderAndIsr that was applied; −1 before the first.
    leader_epoch: LeaderEpoch,
    /// The version of the state znode that LeaderAndIsr came from.
    partition_epoch: PartitionEpoch,
    /// The registration of this broker in which a LeaderAndIsr last named it.
    pub named_in: BrokerEpoch,
    /// The assignment, in order of preference.
    replicas: Vec<BrokerId>,
    pub role: Role,
}

/// What this broker is for the partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// No LeaderAndIsr said yet, or it was stopped.
    Idle,
    Leader(Leader),
    Follower(Follower),
}

impl Partition {
    pub fn new(log: Log, settings: TopicSettings) -> Partition {
        Partition {
            log,
            settings,
            settings_are_read: true,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch(-1),
            named_in: BrokerEpoch::NONE,
            replicas: Vec::new(),
            role: Role::Idle,
        }
    }

    pub fn name(&self) -> &TopicPartition {
        &self.log.partition
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The version of the state znode this replica knows: the ISR's if it leads.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        match &self.role {
            Role::Leader(leader) => leader.isr.epoch(),
            Role::Idle | Role::Follower(_) => self.partition_epoch,
        }
    }

    pub fn replicas(&self) -> &[BrokerId] {
        &self.replicas
    }

    pub fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Idle | Role::Follower(_) => None,
        }
    }

    pub fn follower(&self) -> Option<&Follower> {
        match &self.role {
            Role::Follower(follower) => Some(follower),
            Role::Idle | Role::Leader(_) => None,
        }
    }

    /// How many in-sync replicas a write needs: never more than there are replicas.
    pub fn min_isr(&self) -> u32 {
        let all = self.replicas.len() as u32;
        if self.settings_are_read { self.settings.min_insync_replicas.min(all) } else { all }
    }

    /// Whether a LeaderAndIsr of this epoch is news (C.5: only a higher leader epoch is, in ZooKeeper mode).
    pub fn is_news(&self, told: &LeaderAndIsrPartition) -> bool {
        told.leader_epoch > self.leader_epoch
    }

    /// LeaderAndIsr made us leader: our log is the partition's from here on.
    pub fn become_leader(&mut self, told: &LeaderAndIsrPartition, at: &Context<'_>, fx: &mut Effects<Effect>) {
        assert!(told.leader_epoch > self.leader_epoch, "epoch {} after {}", told.leader_epoch, self.leader_epoch);
        // What we knew of followers' ends holds if nobody led in between: another leader may have cut their logs. (Apache
        // keeps it in any case, and may count as committed what a follower no longer has.)
        let nobody_between = told.leader_epoch.0 == self.leader_epoch.0.saturating_add(1);
        self.adopt(told);
        self.log.begin_epoch(told.leader_epoch, fx);
        let before = match core::mem::replace(&mut self.role, Role::Idle) {
            Role::Leader(leader) if nobody_between => Some(leader),
            Role::Leader(_) | Role::Idle | Role::Follower(_) => None,
        };
        let start = self.log.end();
        self.role = Role::Leader(Leader::new(told, start, at.me, before, at.now.at));
        fx.note(BrokerNote::BecameLeader { partition: self.name().clone(), epoch: told.leader_epoch, start });
        self.advance_high_watermark(at, fx);
    }

    /// LeaderAndIsr made us a follower of a broker that is alive: our log must become a prefix of its.
    pub fn become_follower(&mut self, told: &LeaderAndIsrPartition, at: &Context<'_>, fx: &mut Effects<Effect>) {
        assert!(told.leader_epoch > self.leader_epoch, "epoch {} after {}", told.leader_epoch, self.leader_epoch);
        assert!(told.leader != at.me, "{} told to follow itself", at.me);
        self.adopt(told);
        fx.note(BrokerNote::BecameFollower {
            partition: self.name().clone(),
            epoch: told.leader_epoch,
            leader: told.leader,
        });
        let follower = Follower::begin(told.leader, at.rules.truncation, &mut self.log, fx);
        self.role = Role::Follower(follower);
    }

    /// StopReplica: it leads and follows no more; the log stays.
    pub fn stop(&mut self, fx: &mut Effects<Effect>) {
        if let Role::Follower(follower) = &mut self.role {
            follower.stop();
            fx.note(BrokerNote::ReplicaStopped { partition: self.name().clone(), deleted: false });
        }
    }

    fn adopt(&mut self, told: &LeaderAndIsrPartition) {
        self.leader_epoch = told.leader_epoch;
        self.partition_epoch = told.partition_epoch;
        self.replicas.clone_from(&told.replicas);
    }

    /// The epoch a request believes in against ours (KIP-320). −1 is not checked.
    pub fn check_epoch(&self, believed: LeaderEpoch) -> Result<(), ErrorCode> {
        if believed == LeaderEpoch::NONE || believed == self.leader_epoch {
            Ok(())
        } else if believed < self.leader_epoch {
            Err(ErrorCode::FENCED_LEADER_EPOCH)
        } else {
            Err(ErrorCode::UNKNOWN_LEADER_EPOCH)
        }
    }

    /// Why it does not serve what only a leader serves.
    pub fn not_leading(&self) -> ErrorCode {
        if self.log.is_damaged() { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NOT_LEADER_OR_FOLLOWER }
    }

    /// The leader this replica knows of, for a client that asked the wrong one (KIP-951).
    pub fn current_leader(&self, me: BrokerId) -> LeaderIdAndEpoch {
        let leader = match &self.role {
            Role::Leader(_) => me,
            Role::Follower(follower) => follower.leader,
            Role::Idle => BrokerId(-1),
        };
        LeaderIdAndEpoch { leader, epoch: self.leader_epoch, ..LeaderIdAndEpoch::default() }
    }

    /// What must hold after every step.
    pub fn assert_sound(&self, me: BrokerId) {
        self.log.assert_ordered();
        assert!(!self.log.is_damaged() || matches!(self.role, Role::Idle), "{}: damaged, with a role", self.name());
        match &self.role {
            Role::Leader(leader) => {
                assert!(leader.isr.members().contains(&me), "{}: leads outside the ISR", self.name());
                assert!(leader.epoch_start <= self.log.end(), "{}: cut below its epoch", self.name());
            }
            Role::Follower(follower) => {
                assert!(follower.leader != me, "{}: follows itself", self.name());
            }
            Role::Idle => {}
        }
    }
}

#[cfg(test)]
mod tests;
