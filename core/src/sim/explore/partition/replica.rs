//! One replica of the small world: the partition as a broker runs it, its disk, and what it has under way.

use super::REPLICAS;
use super::controller::{Decision, Proposal, State};
use crate::api::kafka::{EpochEndOffset, ErrorCode, FetchPartition, FetchPartitionResponse, OffsetForLeaderPartition};
use crate::api::storage::{PartitionImage, SegmentInfo, StoreOp};
use crate::broker::config::{Settings, TopicSettings};
use crate::broker::partition::isr::Progress;
use crate::broker::partition::log::Log;
use crate::broker::partition::{Context, Partition, Role};
use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::machine::{Effects, Ticket};
use crate::node::Effect;
use crate::record::batch::{Batch, BatchBuilder, NewRecord, Stamped};
use crate::record::epoch_cache::EpochCache;
use crate::record::offset::Offset;
use crate::record::producer::ProducerStates;
use crate::time::{Instant, Span};
use bytes::{Bytes, BytesMut};

/// A record: the epoch it was appended in, and which of the run's records it is.
pub type Record = (LeaderEpoch, u8);

pub fn broker(at: usize) -> BrokerId {
    BrokerId(at as i32 + 1)
}

pub fn seat(id: BrokerId) -> usize {
    id.0 as usize - 1
}

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Files {
    pub log: Vec<Record>,
    /// The leader epoch checkpoint.
    epochs: EpochCache,
}

impl Files {
    pub fn begins_with(&self, records: &[Record]) -> bool {
        self.log.starts_with(records)
    }

    fn store(&mut self, op: StoreOp) {
        match op {
            StoreOp::Append { batches } => self.log.extend(batches.iter().map(record_of)),
            StoreOp::TruncateLog { to } => self.log.truncate(to.0 as usize),
            StoreOp::RestartLog { .. } => self.log.clear(),
            StoreOp::LeaderEpochs { entries, .. } => self.epochs = EpochCache::from_entries(entries),
            _ => {}
        }
    }

    /// The epochs of the checkpoint as far as the log bears them out (as a broker's boot does it).
    fn recover_epochs(&self) -> EpochCache {
        let mut cache = self.epochs.clone();
        for (at, (epoch, _)) in self.log.iter().enumerate() {
            let base = Offset(at as i64);
            if cache.epoch_at(base) != Some(*epoch) {
                cache.assign(*epoch, base);
            }
        }
        cache.truncate_from_end(Offset(self.log.len() as i64));
        cache
    }
}

fn record_of(batch: &Stamped) -> Record {
    // The value is the last byte but one: after it comes the number of headers, none.
    (batch.epoch, batch.body[batch.body.len() - 2])
}

/// A producer's batch of one record.
pub fn batch(payload: u8) -> Bytes {
    BatchBuilder::default().record(NewRecord::new(0, None, Some(&[payload]))).build()
}

/// What a follower has under way with one leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Talk {
    Fetch(FetchPartition),
    Fetched(FetchPartition, FetchPartitionResponse<Bytes>),
    EpochEnd(OffsetForLeaderPartition),
    EpochEnded(OffsetForLeaderPartition, EpochEndOffset),
    Range(LeaderEpoch),
    Ranged(LeaderEpoch, Result<(Offset, Offset), ErrorCode>),
}

impl Talk {
    pub fn is_question(&self) -> bool {
        matches!(self, Talk::Fetch(_) | Talk::EpochEnd(_) | Talk::Range(_))
    }
}

/// What a leader has under way with the controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alter {
    pub proposal: Proposal,
    pub decided: Option<Decision>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    pub machine: Option<Partition>,
    pub written: Files,
    pub durable: Files,
    /// The newest sync asked for.
    pub syncing: Option<Ticket>,
    /// LeaderAndIsr under way, oldest first.
    pub mail: Vec<State>,
    /// By leader: a broker has one fetcher for each it follows.
    pub talks: [Option<Talk>; REPLICAS],
    pub alter: Option<Alter>,
}

/// A topic of one partition.
pub fn name() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

impl Replica {
    /// Starts on what the disk holds.
    pub fn boot(&mut self, settings: &TopicSettings) {
        let written = &self.written;
        let end = Offset(written.log.len() as i64);
        let bytes: u64 = written.log.iter().map(|(_, payload)| batch(*payload).len() as u64).sum();
        let image = PartitionImage {
            topic_id: TopicId([1; 16]),
            log_start: Offset::ZERO,
            log_end: end,
            segments: vec![SegmentInfo { base: Offset::ZERO, bytes, max_timestamp: -1 }],
            epochs: written.recover_epochs(),
            producers: ProducerStates::default(),
            high_watermark: Offset::ZERO,
            recovery_point: end,
            damaged: false,
        };
        self.durable = self.written.clone();
        self.machine = Some(Partition::new(Log::recover(name(), image), settings.clone()));
    }

    /// The process ends; with `power` also what was not synced.
    pub fn crash(&mut self, power: bool) {
        if power {
            self.written = self.durable.clone();
        }
        self.machine = None;
        self.syncing = None;
        self.mail.clear();
        self.talks = Default::default();
    }

    /// Does what the machine wants done. With `at_once` the disk syncs as it is asked.
    pub fn perform(&mut self, fx: Effects<Effect>, at: &Context<'_>, at_once: bool) {
        for effect in fx.effects {
            match effect {
                Effect::Store { op, .. } => self.written.store(op),
                Effect::Sync { ticket, .. } => self.syncing = Some(ticket),
                other => unreachable!("a partition does not {other:?}"),
            }
        }
        if at_once {
            self.sync(at);
        }
        self.settle(at);
    }

    /// The disk has done all it was asked.
    pub fn sync(&mut self, at: &Context<'_>) {
        self.durable = self.written.clone();
        if let (Some(upto), Some(machine)) = (self.syncing.take(), &mut self.machine)
            && machine.log.on_synced(upto)
        {
            // (Nothing else comes of it than a note.)
            machine.advance_high_watermark(at, &mut Effects::default());
        }
        self.settle(at);
    }

    /// Producers' states are read again after a cut; and time passes, so that nobody is caught up any more.
    fn settle(&mut self, at: &Context<'_>) {
        let Some(machine) = &mut self.machine else { return };
        if let Some(upto) = machine.log.ask_for_producers() {
            machine.log.on_producers(ProducerStates::default(), upto);
        }
        match &mut machine.role {
            Role::Leader(leader) => {
                for progress in leader.progress.values_mut() {
                    *progress = Progress { end: progress.end, ..Progress::unknown(false, Instant::ZERO) };
                }
            }
            Role::Follower(follower) => follower.resting_until = None,
            Role::Idle => {}
        }
        machine.assert_sound(at.me);
    }

    /// The bytes of a range of the log.
    pub fn records(&self, from: Offset, upto: Offset) -> Bytes {
        let mut bytes = BytesMut::new();
        for at in from.0..upto.0 {
            let (epoch, payload) = self.written.log[at as usize];
            let batch = Batch::take(&batch(payload)).expect("a batch we built");
            bytes.extend_from_slice(&batch.stamp(Offset(at), epoch).to_bytes());
        }
        bytes.freeze()
    }
}

/// The brokers' settings: nobody rests, and a replica lags after a second.
pub fn settings() -> Settings {
    Settings { replica_lag_time_max: Span::secs(1), replica_fetch_backoff: Span::ZERO, ..Settings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_by_its_payload() {
        let stamped = Batch::take(&batch(7)).unwrap().stamp(Offset(3), LeaderEpoch(2));
        assert_eq!(record_of(&stamped), (LeaderEpoch(2), 7));
    }
}
