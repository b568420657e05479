//! The follower's part: bring the log to a prefix of the leader's, then copy (protocol.md C.6).
//!
//! Decides what to cut and what to append; the requests themselves are made by [`crate::broker::fetcher`], which
//! covers all partitions of a leader with one.

use super::log::Log;
use super::{Context, Partition, Role};
use crate::api::kafka::{EpochEndOffset, ErrorCode, FetchPartition, FetchPartitionResponse};
use crate::broker::config::Flush;
use crate::id::{BrokerId, LeaderEpoch};
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::broker::{BrokerNote, Cause};
use crate::record::batch::{Batch, Stamped, fetched};
use crate::record::epoch_cache::{EpochCache, EpochEnd};
use crate::record::offset::Offset;
use crate::rules::Truncation;
use crate::time::Instant;
use bytes::Bytes;

/// A follower's state for one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    pub leader: BrokerId,
    pub phase: Phase,
    /// It asks nothing before this.
    pub resting_until: Option<Instant>,
    /// It has taken an answer of the leader in this epoch: its log is a prefix of the leader's.
    pub in_step: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Asks the leader where our last epoch ended (OffsetsForLeaderEpoch).
    Truncating,
    Fetching,
    /// Our end is outside the leader's log: asks it where that starts and ends.
    OutOfRange,
    /// The leader fenced us: only a new LeaderAndIsr helps.
    Fenced,
    /// StopReplica.
    Stopped,
}

/// How a rule of truncation works, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reconciliation {
    /// Cut to the own high watermark first, whatever the epochs say (before KIP-101).
    distrust_tail: bool,
    /// Ask OffsetsForLeaderEpoch before the first fetch.
    ask_first: bool,
    /// Tell the last epoch with each fetch, so that the leader sees a divergence.
    tell_epoch: bool,
    /// Heed the epoch in the answer, not its offset alone (KIP-279).
    heed_epoch: bool,
}

impl Reconciliation {
    const fn of(rule: Truncation) -> Reconciliation {
        let none = Reconciliation { distrust_tail: false, ask_first: false, tell_epoch: false, heed_epoch: true };
        match rule {
            Truncation::LeaderEpoch => Reconciliation { tell_epoch: true, ..none },
            Truncation::LeaderEpochQuery => Reconciliation { ask_first: true, ..none },
            Truncation::HighWatermark => Reconciliation { distrust_tail: true, ..none },
            Truncation::OffsetOnly => Reconciliation { ask_first: true, heed_epoch: false, ..none },
        }
    }
}

/// Where to cut, given where the leader says an epoch ends; and whether that settles it, or it must be asked again
/// because the leader named an epoch that we do not have (KIP-279).
pub fn cut_point(answer: EpochEnd, ours: &EpochCache, log_end: Offset) -> (Offset, bool) {
    match ours.end_offset_for(answer.epoch, log_end) {
        Some(local) if local.epoch == answer.epoch => (local.end.min(answer.end).min(log_end), true),
        Some(local) => (local.end.min(log_end), false),
        None => (answer.end.min(log_end), true),
    }
}

impl Follower {
    /// A new epoch begins: what of our log can be trusted?
    pub fn begin(leader: BrokerId, rule: Truncation, log: &mut Log, fx: &mut Effects<Effect>) -> Follower {
        let how = Reconciliation::of(rule);
        let knows_epochs = !log.epochs().is_empty();
        if how.distrust_tail || !knows_epochs {
            log.truncate(log.high_watermark(), Cause::HighWatermark, fx);
        }
        let phase = if how.ask_first && knows_epochs { Phase::Truncating } else { Phase::Fetching };
        Follower { leader, phase, resting_until: None, in_step: false }
    }

    pub fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }

    /// Whether it may ask now.
    pub fn is_awake(&self, now: Instant) -> bool {
        self.resting_until.is_none_or(|until| until <= now)
    }
}

impl Partition {
    /// The line of the next fetch, if this follower is to fetch now. `Err` if it has to wait for its disk first.
    pub fn next_fetch(&self, at: &Context<'_>) -> Option<FetchPartition> {
        let follower = self.follower()?;
        if follower.phase != Phase::Fetching || !follower.is_awake(at.now.at) || self.log.must_reload_producers() {
            return None;
        }
        let tell = Reconciliation::of(at.rules.truncation).tell_epoch;
        Some(FetchPartition {
            partition: self.name().partition,
            current_leader_epoch: self.leader_epoch,
            fetch_offset: self.log.end(),
            last_fetched_epoch: if tell { self.log.epochs().latest() } else { LeaderEpoch::NONE },
            log_start_offset: self.log.start(),
            max_bytes: at.settings.replica_fetch_max_bytes,
            ..FetchPartition::default()
        })
    }

    /// A fetch tells the leader that we hold everything below our end; with `flush = batch` that must be true first.
    pub fn waits_for_disk(&self, flush: Flush) -> bool {
        self.log.counted_end(flush) < self.log.end() || self.log.must_reload_producers()
    }

    /// The leader's answer to our fetch of `sent`. Dropped if our state moved on meanwhile.
    pub fn on_fetched(
        &mut self,
        sent: &FetchPartition,
        mut answer: FetchPartitionResponse<Bytes>,
        at: &Context<'_>,
        fx: &mut Effects<Effect>,
    ) {
        let unchanged = self.leader_epoch == sent.current_leader_epoch && self.log.end() == sent.fetch_offset;
        let Role::Follower(follower) = &mut self.role else { return };
        if !unchanged || follower.phase != Phase::Fetching || !follower.is_awake(at.now.at) {
            return;
        }
        match answer.error {
            ErrorCode::NONE if answer.diverging_epoch.epoch != LeaderEpoch::NONE => {
                let told = EpochEnd { epoch: answer.diverging_epoch.epoch, end: answer.diverging_epoch.end_offset };
                let (to, _) = cut_point(told, self.log.epochs(), self.log.end());
                self.log.truncate(to, Cause::Divergence, fx);
                if at.settings.flush == Flush::Batch {
                    self.log.sync(fx);
                }
            }
            ErrorCode::NONE => {
                let records = answer.records.take();
                if let Some(records) = records.filter(|records| !records.is_empty())
                    && !self.append_fetched(records, at, fx)
                {
                    return self.rest(at);
                }
                self.log.follow_high_watermark(answer.high_watermark, fx);
                self.log.advance_start(answer.log_start_offset, fx);
                if let Role::Follower(follower) = &mut self.role {
                    follower.in_step = true;
                }
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => follower.phase = Phase::OutOfRange,
            ErrorCode::FENCED_LEADER_EPOCH => {
                follower.phase = Phase::Fenced;
                fx.note(BrokerNote::FetchFenced { partition: self.name().clone(), epoch: self.leader_epoch });
            }
            _ => self.rest(at),
        }
    }

    /// Asks again after the back-off (1 s by default).
    pub fn rest(&mut self, at: &Context<'_>) {
        if let Role::Follower(follower) = &mut self.role {
            follower.resting_until = Some(at.now.at + at.settings.replica_fetch_backoff);
        }
    }

    /// Appends what the leader sent, its offsets and epochs kept. False if it is damaged or does not fit.
    fn append_fetched(&mut self, records: Bytes, at: &Context<'_>, fx: &mut Effects<Effect>) -> bool {
        let Ok(batches) = fetched(records) else { return false };
        let Some(first) = batches.first() else { return true };
        let end = self.log.end();
        if first.header.base < end {
            let is_empty = self.log.start() == end;
            if !is_empty || first.header.last() < end {
                return false;
            }
            self.log.restart(first.header.base, Cause::Restarted, fx);
        }
        let mut next = self.log.end();
        let mut stamped: Vec<Stamped> = Vec::with_capacity(batches.len());
        // A batch of a later epoch than the one we fetch in must come with that epoch's LeaderAndIsr (3.9.1).
        for batch in batches.iter().take_while(|batch: &&Batch| batch.header.epoch <= self.leader_epoch) {
            if batch.header.base < next {
                return false;
            }
            next = batch.header.next();
            stamped.push(batch.keep());
        }
        self.log.append(stamped, &self.settings, fx);
        if at.settings.flush == Flush::Batch {
            self.log.sync(fx);
        }
        true
    }

    /// The leader's answer to "where did my last epoch end?" (Truncating), which we asked in epoch `asked_in`. Dropped if
    /// another epoch has begun meanwhile: what an earlier leader says does not settle it with this one.
    pub fn on_epoch_end(
        &mut self,
        asked_in: LeaderEpoch,
        answer: &EpochEndOffset,
        at: &Context<'_>,
        fx: &mut Effects<Effect>,
    ) {
        let Role::Follower(follower) = &mut self.role else { return };
        if asked_in != self.leader_epoch || follower.phase != Phase::Truncating {
            return;
        }
        match answer.error {
            ErrorCode::NONE => {
                let undefined = answer.end_offset < Offset::ZERO;
                let heed = Reconciliation::of(at.rules.truncation).heed_epoch;
                let end = self.log.end();
                let (to, settled, cause) = if undefined {
                    (self.log.high_watermark(), true, Cause::HighWatermark)
                } else if heed && answer.leader_epoch != LeaderEpoch::NONE {
                    let told = EpochEnd { epoch: answer.leader_epoch, end: answer.end_offset };
                    let (to, settled) = cut_point(told, self.log.epochs(), end);
                    (to, settled || self.log.epochs().is_empty(), Cause::Divergence)
                } else {
                    (answer.end_offset.min(end), true, Cause::Divergence)
                };
                if settled {
                    follower.phase = Phase::Fetching;
                }
                self.log.truncate(to, cause, fx);
                // Cut to nothing, there is no epoch left to ask about.
                if self.log.epochs().is_empty()
                    && let Role::Follower(follower) = &mut self.role
                {
                    follower.phase = Phase::Fetching;
                }
            }
            ErrorCode::FENCED_LEADER_EPOCH => {
                follower.phase = Phase::Fenced;
                fx.note(BrokerNote::FetchFenced { partition: self.name().clone(), epoch: self.leader_epoch });
            }
            _ => self.rest(at),
        }
    }

    /// The leader's answer to "where does your log start and end?" (OutOfRange), asked in epoch `asked_in`.
    pub fn on_leader_range(
        &mut self,
        asked_in: LeaderEpoch,
        range: Result<(Offset, Offset), ErrorCode>,
        at: &Context<'_>,
        fx: &mut Effects<Effect>,
    ) {
        let Role::Follower(follower) = &mut self.role else { return };
        if asked_in != self.leader_epoch || follower.phase != Phase::OutOfRange {
            return;
        }
        let Ok((start, end)) = range else { return self.rest(at) };
        follower.phase = Phase::Fetching;
        if end < self.log.end() {
            self.log.truncate(end, Cause::LeaderEndsEarlier, fx);
        } else if start > self.log.end() {
            self.log.restart(start, Cause::LeaderStartsLater, fx);
        } else {
            // It is in range again: the leader's log grew. Fetch on from where we are.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        EpochCache::from_entries(entries.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start))))
    }

    fn cut(told: (i32, i64), ours: &[(i32, i64)], end: i64) -> (i64, bool) {
        let answer = EpochEnd { epoch: LeaderEpoch(told.0), end: Offset(told.1) };
        let (to, settled) = cut_point(answer, &cache(ours), Offset(end));
        (to.0, settled)
    }

    #[test]
    fn a_follower_cuts_where_the_epochs_part() {
        assert_eq!(cut((1, 5), &[(1, 0)], 7), (5, true), "the leader's epoch 1 ended at 5");
        assert_eq!(cut((1, 9), &[(1, 0)], 7), (7, true), "we are behind, nothing to cut");
        assert_eq!(cut((3, 4), &[], 7), (4, true), "we know no epoch");
        assert_eq!(cut((3, 4), &[(1, 0)], 7), (4, true), "a later epoch than ours");
    }

    #[test]
    fn an_epoch_we_do_not_have_is_asked_about_again() {
        // K3: the leader has e1 from 0 and e3 from 1; B has only y@0 of e2 and asks for e2: told (e1, 1).
        assert_eq!(cut((1, 1), &[(2, 0)], 1), (0, true), "y@0 goes");
        // The old rule would keep y@0: min(1, 1) = 1. With an older epoch of our own we ask about that one next:
        assert_eq!(cut((1, 5), &[(0, 0), (2, 3)], 6), (3, false));
    }

    #[test]
    fn each_rule_is_one_decision() {
        let of = Reconciliation::of;
        assert!(of(Truncation::LeaderEpoch).tell_epoch && !of(Truncation::LeaderEpoch).ask_first);
        assert!(of(Truncation::LeaderEpochQuery).ask_first && of(Truncation::LeaderEpochQuery).heed_epoch);
        assert!(of(Truncation::HighWatermark).distrust_tail && !of(Truncation::HighWatermark).tell_epoch);
        assert!(of(Truncation::OffsetOnly).ask_first && !of(Truncation::OffsetOnly).heed_epoch);
    }
}
