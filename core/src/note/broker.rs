//! What a broker tells of its partitions, its session and its registration. Reads well after "broker-1 ".

use crate::id::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, SessionId, TopicPartition};
use crate::record::offset::Offset;
use core::fmt;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BrokerNote {
    // Registration.
    IdTaken {
        id: BrokerId,
    },
    Registered {
        id: BrokerId,
        epoch: BrokerEpoch,
    },
    /// The new session's registration met the znode of the last one, and removes it first (K25).
    StaleRegistration {
        owner: SessionId,
    },
    /// `/brokers/ids/N` belongs to somebody else: it runs on unregistered.
    NotRegistered {
        id: BrokerId,
        owner: SessionId,
    },
    SessionLost {
        session: SessionId,
    },
    ShuttingDown {
        remaining: u32,
    },
    Stopped,

    // Roles.
    BecameLeader {
        partition: TopicPartition,
        epoch: LeaderEpoch,
        start: Offset,
    },
    BecameFollower {
        partition: TopicPartition,
        epoch: LeaderEpoch,
        leader: BrokerId,
    },
    /// StopReplica: it neither leads nor follows any more, or the log is gone too.
    ReplicaStopped {
        partition: TopicPartition,
        deleted: bool,
    },
    /// A request of a controller that is no longer one, or of an earlier registration, was refused.
    FencedControl {
        controller_epoch: i32,
    },

    // Replication.
    HighWatermark {
        partition: TopicPartition,
        offset: Offset,
    },
    IsrProposed {
        partition: TopicPartition,
        isr: Vec<BrokerId>,
    },
    IsrShrunk {
        partition: TopicPartition,
        out: Vec<BrokerId>,
        isr: Vec<BrokerId>,
        epoch: PartitionEpoch,
    },
    IsrExpanded {
        partition: TopicPartition,
        joined: Vec<BrokerId>,
        isr: Vec<BrokerId>,
        epoch: PartitionEpoch,
    },
    /// AlterPartition was refused; `kept` says whether the proposal still counts as possibly applied.
    IsrRefused {
        partition: TopicPartition,
        error: i16,
        kept: bool,
    },
    /// A follower's log differs from ours: it is told where.
    Divergence {
        partition: TopicPartition,
        replica: BrokerId,
        epoch: LeaderEpoch,
        end: Offset,
    },
    Truncated {
        partition: TopicPartition,
        from: Offset,
        to: Offset,
        cause: Cause,
    },
    /// The leader fenced our fetch: the partition waits for a new LeaderAndIsr.
    FetchFenced {
        partition: TopicPartition,
        epoch: LeaderEpoch,
    },

    // The log.
    /// Recovery cut the log, and why.
    LogCut {
        file: Arc<str>,
        why: String,
    },
    /// Something that was promised cannot be read any more: the replica waits until it is out of the ISR.
    ReplicaDamaged {
        partition: TopicPartition,
        from: Offset,
    },
    /// It is out of the ISR, and cuts its log there.
    DamageCut {
        partition: TopicPartition,
        from: Offset,
    },
    Rolled {
        partition: TopicPartition,
        base: Offset,
    },
    Retained {
        partition: TopicPartition,
        start: Offset,
    },

    // Clients.
    NotEnoughReplicas {
        partition: TopicPartition,
        isr: u32,
        min: u32,
        appended: bool,
    },
    DuplicateBatch {
        partition: TopicPartition,
        offset: Offset,
    },
    /// Acknowledged by the whole ISR, or by the leader alone if acks=1: the producer has its promise.
    Acknowledged {
        partition: TopicPartition,
        base: Offset,
        last: Offset,
        all: bool,
    },
}

/// Why a log was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The leader's epochs differ from ours at that offset (KIP-101, KIP-279).
    Divergence,
    /// To its own high watermark: the old rule, or no epoch is known.
    HighWatermark,
    /// The leader's log ends before ours.
    LeaderEndsEarlier,
    /// The leader's log starts after ours ends.
    LeaderStartsLater,
    /// We sent records and had them cut before anyone else had them.
    Restarted,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Divergence => "the leader's history differs from there on",
            Cause::HighWatermark => "it does not trust what is above its own HW",
            Cause::LeaderEndsEarlier => "the leader's log ends there",
            Cause::LeaderStartsLater => "the leader's log starts later",
            Cause::Restarted => "the log starts again",
        })
    }
}

/// `broker-1, broker-2`.
struct Brokers<'a>(&'a [BrokerId]);

impl fmt::Display for Brokers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.0.iter().enumerate() {
            write!(f, "{}{id}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for BrokerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use BrokerNote::*;
        match self {
            IdTaken { id } => write!(f, "takes the broker id {id} from the ensemble"),
            Registered { id, epoch } => write!(f, "is registered as broker {id} with broker epoch {epoch}"),
            StaleRegistration { owner } => write!(f, "finds its own registration of session {owner} and removes it"),
            NotRegistered { id, owner } => write!(f, "cannot register: broker {id} belongs to session {owner}"),
            SessionLost { session } => write!(f, "lost its session {session} with the ensemble"),
            ShuttingDown { remaining: 0 } => write!(f, "shuts down: it leads nothing any more"),
            ShuttingDown { remaining } => write!(f, "shuts down: it still leads {remaining} partitions"),
            Stopped => write!(f, "stopped in order"),
            BecameLeader { partition, epoch, start } => {
                write!(f, "leads {partition} in epoch {epoch} from offset {start}")
            }
            BecameFollower { partition, epoch, leader } => {
                write!(f, "follows broker {leader} for {partition} in epoch {epoch}")
            }
            ReplicaStopped { partition, deleted: false } => write!(f, "stops replicating {partition}"),
            ReplicaStopped { partition, deleted: true } => write!(f, "deletes {partition}"),
            FencedControl { controller_epoch } => {
                write!(f, "refuses a stale request of controller epoch {controller_epoch}")
            }
            HighWatermark { partition, offset } => write!(f, "moves the HW of {partition} to {offset}"),
            IsrProposed { partition, isr } => write!(f, "proposes the ISR of {partition}: {}", Brokers(isr)),
            IsrShrunk { partition, out, isr, .. } => {
                write!(f, "dropped {} from the ISR of {partition}: {} remain", Brokers(out), Brokers(isr))
            }
            IsrExpanded { partition, joined, isr, .. } => {
                write!(f, "took {} into the ISR of {partition}: now {}", Brokers(joined), Brokers(isr))
            }
            IsrRefused { partition, error, kept } => {
                let then = if *kept { "waits for the controller" } else { "keeps the old one" };
                write!(f, "was refused a new ISR of {partition} with error {error}: it {then}")
            }
            Divergence { partition, replica, epoch, end } => {
                write!(f, "tells broker {replica} that {partition} parted from its log: epoch {epoch} ends at {end}")
            }
            Truncated { partition, from, to, cause } => {
                write!(f, "cuts {partition} from {from} to {to}: {cause}")
            }
            FetchFenced { partition, epoch } => {
                write!(f, "is fenced from fetching {partition} in epoch {epoch} and waits for the controller")
            }
            LogCut { file, why } => write!(f, "does not trust {file}: {why}"),
            ReplicaDamaged { partition, from } => {
                write!(
                    f,
                    "has lost {partition} from {from} on and neither leads nor follows until it is out of the ISR"
                )
            }
            DamageCut { partition, from } => write!(f, "cuts {partition} at {from}, where it is damaged"),
            Rolled { partition, base } => write!(f, "starts a new segment of {partition} at {base}"),
            Retained { partition, start } => write!(f, "drops what {partition} held below {start}"),
            NotEnoughReplicas { partition, isr, min, appended } => {
                let then = if *appended { "it is written, not promised" } else { "it is refused" };
                write!(f, "has {isr} in the ISR of {partition} where {min} are asked for: {then}")
            }
            DuplicateBatch { partition, offset } => {
                write!(f, "has that batch of {partition} already at {offset}: it answers, and appends nothing")
            }
            Acknowledged { partition, base, last, all } => {
                let by = if *all { "by the whole ISR" } else { "by itself" };
                if base == last {
                    write!(f, "acknowledges {base} of {partition}, held {by}")
                } else {
                    write!(f, "acknowledges {base} to {last} of {partition}, held {by}")
                }
            }
        }
    }
}
