//! The leader's part: appending what producers send, serving fetches, following the followers' progress, and moving
//! the high watermark (protocol.md C.5 to C.8).

use super::isr::{self, Change, Isr, Progress, Support};
use super::{Context, Partition, Role};
use crate::api::kafka::{AlterPartitionDataResponse, ErrorCode, FetchPartition, LeaderAndIsrPartition};
use crate::broker::config::Flush;
use crate::id::{BrokerEpoch, BrokerId, LeaderEpoch};
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::broker::BrokerNote;
use crate::ordered::OrdMap;
use crate::record::batch::{Batch, Compression, validate_produced};
use crate::record::epoch_cache::EpochEnd;
use crate::record::offset::Offset;
use crate::record::producer::Verdict;
use crate::time::{Instant, UnixMillis};
use bytes::Bytes;

/// A leader's state for one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    /// Our log end when the epoch began: who reaches it has all that was committed before (LESO).
    pub epoch_start: Offset,
    pub isr: Isr,
    /// Every other assigned replica, and every other member of the ISR: a reassignment takes a replica out of the
    /// assignment before it leaves the ISR, and until then nothing is committed that it lacks (C.7).
    pub progress: OrdMap<BrokerId, Progress>,
}

/// Whether some record of a batch that is not compressed has no key.
fn has_no_key(batch: &Batch) -> bool {
    let is_plain = batch.header.attributes.compression() == Compression::None;
    is_plain && batch.records().is_ok_and(|mut records| records.any(|record| record.is_ok_and(|it| it.key.is_none())))
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Appended {
    pub base: Offset,
    pub last: Offset,
    /// It was there already.
    pub duplicate: bool,
}

/// What a fetch may read, captured before its own position counts (C.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    pub high_watermark: Offset,
    pub last_stable: Offset,
    pub start: Offset,
    pub end: Offset,
    pub found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// Records from the asked offset up to this one, which is the asked one if there are none.
    Upto(Offset),
    /// The fetcher's log parted from ours: where its epoch ends here.
    Diverging(EpochEnd),
}

/// How far a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    Replica(BrokerId),
    /// `at_leader`: it may not read from a follower (it does not know KIP-392).
    Consumer {
        committed: bool,
        at_leader: bool,
    },
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It is decided, or nothing waits for it any more.
    Done,
    /// The same must be asked again.
    Resend,
}

impl Leader {
    /// `before`: we led already, in an earlier epoch; what we knew of followers' ends still holds.
    pub fn new(
        told: &LeaderAndIsrPartition,
        epoch_start: Offset,
        me: BrokerId,
        before: Option<Leader>,
        now: Instant,
    ) -> Leader {
        let progress = told.replicas.iter().chain(&told.isr).filter(|id| **id != me).map(|id| {
            let fresh = Progress::unknown(told.isr.contains(id), now);
            let known = before.as_ref().and_then(|leader| leader.progress.get(id));
            (
                *id,
                known.map_or(fresh, |old| Progress {
                    end: old.end,
                    start: old.start,
                    broker_epoch: old.broker_epoch,
                    ..fresh
                }),
            )
        });
        let isr = Isr::committed(told.isr.clone(), told.partition_epoch);
        Leader { epoch_start, isr, progress: progress.collect() }
    }

    /// The registration that this replica fetched with last, from us as we lead now.
    pub fn seen_epoch(&self, replica: BrokerId) -> BrokerEpoch {
        self.progress.get(&replica).map_or(BrokerEpoch::NONE, |progress| progress.broker_epoch)
    }
}

impl Partition {
    /// Appends a producer's batch. The error is what the producer is told.
    pub fn append_produced(
        &mut self,
        records: &Bytes,
        acks: i16,
        at: &Context<'_>,
        fx: &mut Effects<Effect>,
    ) -> Result<Appended, ErrorCode> {
        let Role::Leader(leader) = &self.role else { return Err(self.not_leading()) };
        // It was cut a moment ago as a follower and cannot judge sequences yet, or does not know what its topic allows: the
        // producer asks again.
        if self.log.must_reload_producers() || !self.settings_are_read {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let in_sync = leader.isr.members().len() as u32;
        if acks == -1 && in_sync < self.min_isr() {
            self.note_not_enough(in_sync, false, fx);
            return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        let batch = validate_produced(records).map_err(|error| ErrorCode(error.code()))?;
        if batch.header.size() > self.settings.max_message_bytes.max(0) as u64 {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        // (LogValidator.validateKey. Apache looks into compressed batches as well; the core has no codecs.)
        if self.settings.cleanup_policy.is_by_key() && has_no_key(&batch) {
            return Err(ErrorCode::INVALID_RECORD);
        }
        if self.settings.limits_timestamps() && !self.bears_allowed_times(&batch, at.now.wall) {
            return Err(ErrorCode::INVALID_TIMESTAMP);
        }
        match self.log.producers().judge(&batch.header) {
            Verdict::Fresh => {}
            Verdict::Duplicate { base, last, .. } => {
                fx.note(BrokerNote::DuplicateBatch { partition: self.name().clone(), offset: base });
                return Ok(Appended { base, last, duplicate: true });
            }
            refused @ (Verdict::OutOfOrder { .. } | Verdict::Fenced { .. } | Verdict::NotInTransaction) => {
                return Err(ErrorCode(refused.code()));
            }
        }
        let stamped = batch.stamp(self.log.end(), self.leader_epoch);
        let appended = Appended { base: stamped.base, last: stamped.last, duplicate: false };
        self.log.append(vec![stamped], &self.settings, fx);
        if at.settings.flush == Flush::Batch {
            self.log.sync(fx);
        }
        self.advance_high_watermark(at, fx);
        Ok(appended)
    }

    /// Whether all records of a batch may be of when they are. A compressed body is not read: there it is its first record
    /// and its latest one.
    fn bears_allowed_times(&self, batch: &Batch, now: UnixMillis) -> bool {
        let is_allowed = |timestamp: i64| self.settings.allows_timestamp(timestamp, now);
        match batch.records() {
            Ok(mut records) => records.all(|record| record.is_ok_and(|record| is_allowed(record.timestamp))),
            Err(_) => is_allowed(batch.header.base_timestamp) && is_allowed(batch.header.max_timestamp),
        }
    }

    pub fn note_not_enough(&self, isr: u32, appended: bool, fx: &mut Effects<Effect>) {
        let (partition, min) = (self.name().clone(), self.min_isr());
        fx.note(BrokerNote::NotEnoughReplicas { partition, isr, min, appended });
    }

    /// What a fetch finds. The checks come in Kafka's order (C.6).
    pub fn read(&self, wanted: &FetchPartition, reader: Reader) -> Result<Read, ErrorCode> {
        self.check_epoch(wanted.current_leader_epoch)?;
        let upto = match (reader, &self.role) {
            (Reader::Replica(id), Role::Leader(_)) => {
                if !self.replicas.contains(&id) {
                    return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
                }
                self.log.end()
            }
            (Reader::Consumer { committed, .. }, Role::Leader(_))
            | (Reader::Consumer { committed, at_leader: false }, Role::Follower(_)) => {
                if committed {
                    self.log.last_stable()
                } else {
                    self.log.high_watermark()
                }
            }
            (Reader::Replica(_) | Reader::Consumer { .. }, Role::Idle | Role::Follower(_)) => {
                return Err(self.not_leading());
            }
        };
        let found = self.find(wanted, upto)?;
        Ok(Read {
            high_watermark: self.log.high_watermark(),
            last_stable: self.log.last_stable(),
            start: self.log.start(),
            end: self.log.end(),
            found,
        })
    }

    fn find(&self, wanted: &FetchPartition, upto: Offset) -> Result<Found, ErrorCode> {
        let from = wanted.fetch_offset;
        if wanted.last_fetched_epoch != LeaderEpoch::NONE {
            let known = self.log.end_of_epoch(wanted.last_fetched_epoch).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
            if from < self.log.start() {
                return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
            }
            if known.epoch < wanted.last_fetched_epoch || known.end < from {
                return Ok(Found::Diverging(known));
            }
        }
        if from < self.log.start() || from > self.log.end() {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        Ok(Found::Upto(upto.max(from)))
    }

    /// A follower of this registration asked for `offset`: it has everything below. `our_end` is our log end as its read found it.
    /// Returns whether the high watermark moved.
    pub fn on_follower_at(
        &mut self,
        (replica, broker_epoch): (BrokerId, BrokerEpoch),
        wanted: &FetchPartition,
        our_end: Offset,
        at: &Context<'_>,
        fx: &mut Effects<Effect>,
    ) -> bool {
        let Role::Leader(leader) = &mut self.role else { return false };
        let Some(progress) = leader.progress.get_mut(&replica) else { return false };
        let before = progress.end;
        progress.broker_epoch = broker_epoch;
        progress.on_fetch(wanted.fetch_offset, wanted.log_start_offset, our_end, at.now.at);
        before != Some(wanted.fetch_offset) && self.advance_high_watermark(at, fx)
    }

    /// Whether this follower, at its last fetch, earned its place in the ISR.
    pub fn may_expand(&self, replica: BrokerId, at: &Context<'_>) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let Some(end) = leader.progress.get(&replica).and_then(|progress| progress.end) else { return false };
        leader.isr.pending().is_none()
            && !leader.isr.maximal_contains(replica)
            && at.metadata.is_alive(replica)
            && isr::may_join(at.rules.isr_join, end, self.log.high_watermark(), leader.epoch_start)
    }

    /// The ISR members that have lagged for too long, if a change may be proposed now.
    pub fn may_shrink(&self, at: &Context<'_>) -> Vec<BrokerId> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        if leader.isr.pending().is_some() {
            return Vec::new();
        }
        let lag_max = at.settings.replica_lag_time_max;
        isr::laggards(&leader.isr, &leader.progress, at.me, self.log.end(), at.now.at, lag_max)
    }

    /// Proposes another ISR to the controller; until it answers, the maximal ISR counts.
    pub fn propose(&mut self, change: Change, fx: &mut Effects<Effect>) {
        let partition = self.name().clone();
        let Role::Leader(leader) = &mut self.role else { return };
        leader.isr.propose(change);
        let isr = leader.isr.proposed().unwrap_or_default();
        fx.note(BrokerNote::IsrProposed { partition, isr });
    }

    /// The controller's answer to what we proposed (C.7). Whether it is still the same proposal is the caller's to know.
    pub fn on_alter_answer(
        &mut self,
        answer: &AlterPartitionDataResponse,
        at: &Context<'_>,
        fx: &mut Effects<Effect>,
    ) -> Settled {
        let (partition, epoch) = (self.name().clone(), self.leader_epoch);
        let Role::Leader(leader) = &mut self.role else { return Settled::Done };
        match answer.error {
            ErrorCode::NONE => {
                if answer.leader_epoch == epoch && answer.partition_epoch >= leader.isr.epoch() {
                    let before = leader.isr.members().to_vec();
                    leader.isr.commit(answer.isr.clone(), answer.partition_epoch);
                    note_change(&partition, &before, &leader.isr, fx);
                    self.advance_high_watermark(at, fx);
                }
                Settled::Done
            }
            ErrorCode::INELIGIBLE_REPLICA | ErrorCode::OPERATION_NOT_ATTEMPTED => {
                leader.isr.revert();
                fx.note(BrokerNote::IsrRefused { partition, error: answer.error.0, kept: false });
                Settled::Done
            }
            ErrorCode::INVALID_UPDATE_VERSION
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::NEW_LEADER_ELECTED => {
                leader.isr.keep_pending();
                fx.note(BrokerNote::IsrRefused { partition, error: answer.error.0, kept: true });
                Settled::Done
            }
            _ => Settled::Resend,
        }
    }

    /// Moves the high watermark to what the replicas support. Returns whether it moved.
    pub fn advance_high_watermark(&mut self, at: &Context<'_>, fx: &mut Effects<Effect>) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let support = Support {
            isr: &leader.isr,
            progress: &leader.progress,
            me: at.me,
            own_end: self.log.counted_end(at.settings.flush),
            log_end: self.log.end(),
            min_isr: self.min_isr(),
            lag_max: at.settings.replica_lag_time_max,
        };
        match support.high_watermark(at.now.at, |id| at.metadata.is_alive(id)) {
            Some(to) => self.log.advance_high_watermark(to, fx),
            None => false,
        }
    }

    /// A write that needed the whole ISR up to `last`: is it there, and by enough replicas? `None`: not yet.
    pub fn is_acknowledged(&self, last: Offset) -> Option<Result<(), ErrorCode>> {
        let Role::Leader(leader) = &self.role else { return Some(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)) };
        if self.log.high_watermark() <= last {
            return None;
        }
        let enough = leader.isr.maximal_len() >= self.min_isr();
        Some(if enough { Ok(()) } else { Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND) })
    }

    /// Whether a client may be told where the log ends: a new leader's high watermark may lag what clients have seen
    /// until it reaches the start of the epoch (KIP-207).
    pub fn latest_is_known(&self) -> bool {
        self.leader().is_none_or(|leader| self.log.high_watermark() >= leader.epoch_start)
    }
}

fn note_change(partition: &crate::id::TopicPartition, before: &[BrokerId], isr: &Isr, fx: &mut Effects<Effect>) {
    let (partition, epoch, now) = (partition.clone(), isr.epoch(), isr.members().to_vec());
    let out: Vec<BrokerId> = before.iter().copied().filter(|id| !now.contains(id)).collect();
    let joined: Vec<BrokerId> = now.iter().copied().filter(|id| !before.contains(id)).collect();
    if !out.is_empty() {
        fx.note(BrokerNote::IsrShrunk { partition: partition.clone(), out, isr: now.clone(), epoch });
    }
    if !joined.is_empty() {
        fx.note(BrokerNote::IsrExpanded { partition, joined, isr: now, epoch });
    }
}
