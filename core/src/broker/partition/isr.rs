//! Who is in sync: shrink and expand as pure decisions, and the difference between an ISR the controller has
//! committed and one that was only proposed (KIP-497; protocol.md C.7). Knows nothing of logs or requests.

use crate::id::{BrokerEpoch, BrokerId, PartitionEpoch};
use crate::ordered::OrdMap;
use crate::record::offset::Offset;
use crate::rules::{IsrJoin, IsrMembers};
use crate::time::{Instant, Span};

/// The ISR as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Isr {
    /// What the controller committed last, in its order.
    committed: Vec<BrokerId>,
    /// The state znode's version that `committed` was written with.
    epoch: PartitionEpoch,
    pending: Option<Pending>,
}

/// A proposal whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    pub change: Change,
    /// No answer will come that settles it: only a new LeaderAndIsr does. (It may have been applied.)
    pub stuck: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Expand(BrokerId),
    Shrink(Vec<BrokerId>),
}

impl Isr {
    pub fn committed(isr: Vec<BrokerId>, epoch: PartitionEpoch) -> Isr {
        Isr { committed: isr, epoch, pending: None }
    }

    pub fn members(&self) -> &[BrokerId] {
        &self.committed
    }

    pub fn epoch(&self) -> PartitionEpoch {
        self.epoch
    }

    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// Every broker that the controller may count as in sync: with an expansion pending, the new one too; with a
    /// shrink pending, the old ones still. What is committed must be on all of these (K9).
    pub fn maximal(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let joining = match &self.pending {
            Some(Pending { change: Change::Expand(id), .. }) => Some(*id),
            Some(Pending { change: Change::Shrink(_), .. }) | None => None,
        };
        self.committed.iter().copied().chain(joining)
    }

    pub fn maximal_contains(&self, id: BrokerId) -> bool {
        self.maximal().any(|member| member == id)
    }

    pub fn maximal_len(&self) -> u32 {
        self.maximal().count() as u32
    }

    /// What the controller is asked for, if anything is.
    pub fn proposed(&self) -> Option<Vec<BrokerId>> {
        Some(match &self.pending.as_ref()?.change {
            Change::Expand(id) => self.committed.iter().copied().chain([*id]).collect(),
            Change::Shrink(out) => self.committed.iter().copied().filter(|id| !out.contains(id)).collect(),
        })
    }

    /// Proposes a change. Only one can be in flight.
    pub fn propose(&mut self, change: Change) {
        assert!(self.pending.is_none(), "a second ISR change while one is pending");
        self.pending = Some(Pending { change, stuck: false });
    }

    /// The controller committed this.
    pub fn commit(&mut self, isr: Vec<BrokerId>, epoch: PartitionEpoch) {
        *self = Isr::committed(isr, epoch);
    }

    /// The proposal was proven not to have been applied.
    pub fn revert(&mut self) {
        self.pending = None;
    }

    /// The proposal was refused, but an earlier copy of it may have been applied: it keeps counting.
    pub fn keep_pending(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.stuck = true;
        }
    }
}

/// How far a follower is, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// The follower's log end as its last fetch told it; `None` before the first.
    pub end: Option<Offset>,
    /// Its log start, likewise.
    pub start: Offset,
    /// When it last had everything; `None` is long ago.
    pub caught_up: Option<Instant>,
    pub last_fetch: Instant,
    /// Our own end when it fetched last.
    pub our_end_then: Offset,
    /// The registration that it fetched with last.
    pub broker_epoch: BrokerEpoch,
}

impl Progress {
    /// A replica no fetch has come from in this epoch. ISR members get the benefit of the doubt.
    pub fn unknown(in_isr: bool, now: Instant) -> Progress {
        let caught_up = in_isr.then_some(now);
        Progress {
            end: None,
            start: Offset::ZERO,
            caught_up,
            last_fetch: Instant::ZERO,
            our_end_then: Offset::ZERO,
            broker_epoch: BrokerEpoch::NONE,
        }
    }

    /// Folds in one fetch: it asked for `offset` at `now`, when our log ended at `our_end`.
    pub fn on_fetch(&mut self, offset: Offset, start: Offset, our_end: Offset, now: Instant) {
        if offset >= our_end {
            self.caught_up = Some(self.caught_up.map_or(now, |then| then.max(now)));
        } else if self.end.is_some() && offset >= self.our_end_then {
            self.caught_up = Some(self.caught_up.map_or(self.last_fetch, |then| then.max(self.last_fetch)));
        }
        self.end = Some(offset);
        self.start = start;
        self.last_fetch = now;
        self.our_end_then = our_end;
    }

    /// It has everything, or had it not longer than `lag_max` ago.
    pub fn is_caught_up(&self, our_end: Offset, now: Instant, lag_max: Span) -> bool {
        self.end == Some(our_end) || self.caught_up.is_some_and(|then| now.since(then) <= lag_max)
    }
}

/// Which ISR members have lagged for longer than `lag_max` (`me` never does).
pub fn laggards(
    isr: &Isr,
    progress: &OrdMap<BrokerId, Progress>,
    me: BrokerId,
    our_end: Offset,
    now: Instant,
    lag_max: Span,
) -> Vec<BrokerId> {
    let lags = |id: &BrokerId| progress.get(id).is_none_or(|follower| !follower.is_caught_up(our_end, now, lag_max));
    isr.members().iter().copied().filter(|id| *id != me && lags(id)).collect()
}

/// May a follower whose log ends at `end` join the ISR? It must reach the high watermark, and the start of the
/// leader's epoch as well: a new leader's high watermark may lag the true one (KAFKA-7128).
pub fn may_join(rule: IsrJoin, end: Offset, high_watermark: Offset, epoch_start: Offset) -> bool {
    match rule {
        IsrJoin::EpochStart => end >= high_watermark && end >= epoch_start,
        IsrJoin::HighWatermark => end >= high_watermark,
    }
}

/// By which epoch a member of a proposed ISR is named: that of the registration it was last `seen` with.
/// The controller refuses a member that has been registered anew: it may have lost what it had (KIP-903).
pub fn told_epoch(rule: IsrMembers, seen: BrokerEpoch) -> BrokerEpoch {
    match rule {
        IsrMembers::WithEpoch => seen,
        IsrMembers::ById => BrokerEpoch::NONE,
    }
}

/// The high watermark that the replicas support: what every broker of the maximal ISR has, and every eligible one that
/// is caught up and about to join. `None` while fewer than `min_isr` are committed as in sync (KAFKA-15583), or while
/// a member's end is not known yet.
pub struct Support<'a> {
    pub isr: &'a Isr,
    pub progress: &'a OrdMap<BrokerId, Progress>,
    pub me: BrokerId,
    /// What we count of our own log: its end, or its durable end.
    pub own_end: Offset,
    /// Our log end, against which "caught up" is measured.
    pub log_end: Offset,
    pub min_isr: u32,
    pub lag_max: Span,
}

impl Support<'_> {
    pub fn high_watermark(&self, now: Instant, eligible: impl Fn(BrokerId) -> bool) -> Option<Offset> {
        if (self.isr.members().len() as u32) < self.min_isr {
            return None;
        }
        let mut candidate = self.own_end;
        for (id, follower) in self.progress {
            let counts = self.isr.maximal_contains(*id)
                || (follower.is_caught_up(self.log_end, now, self.lag_max) && eligible(*id));
            if *id != self.me && counts {
                candidate = candidate.min(follower.end?);
            }
        }
        Some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(2);
    const C: BrokerId = BrokerId(3);
    const LAG: Span = Span::secs(30);

    fn at(end: i64, caught_up: Instant) -> Progress {
        Progress { end: Some(Offset(end)), caught_up: Some(caught_up), ..Progress::unknown(true, Instant::ZERO) }
    }

    fn support<'a>(isr: &'a Isr, progress: &'a OrdMap<BrokerId, Progress>, min_isr: u32) -> Support<'a> {
        Support { isr, progress, me: A, own_end: Offset(5), log_end: Offset(5), min_isr, lag_max: LAG }
    }

    #[test]
    fn the_high_watermark_counts_the_maximal_isr() {
        let mut isr = Isr::committed(vec![A, B], PartitionEpoch(1));
        let late = Instant::ZERO + Span::secs(100);
        let progress = OrdMap::from([(B, at(5, late)), (C, at(3, Instant::ZERO))]);
        assert_eq!(support(&isr, &progress, 1).high_watermark(late, |_| true), Some(Offset(5)));
        isr.propose(Change::Expand(C));
        assert_eq!(support(&isr, &progress, 1).high_watermark(late, |_| true), Some(Offset(3)), "C may be in already");
        isr.revert();
        isr.propose(Change::Shrink(vec![B]));
        let progress = OrdMap::from([(B, at(2, Instant::ZERO)), (C, at(5, late))]);
        assert_eq!(support(&isr, &progress, 1).high_watermark(late, |_| true), Some(Offset(2)), "B may be in still");
    }

    #[test]
    fn the_high_watermark_rests_below_min_isr() {
        let isr = Isr::committed(vec![A], PartitionEpoch(1));
        let progress = OrdMap::from([(B, at(1, Instant::ZERO))]);
        let late = Instant::ZERO + Span::secs(100);
        assert_eq!(support(&isr, &progress, 2).high_watermark(late, |_| true), None);
        assert_eq!(support(&isr, &progress, 1).high_watermark(late, |_| true), Some(Offset(5)));
    }

    #[test]
    fn a_caught_up_follower_counts_before_it_joins() {
        let isr = Isr::committed(vec![A], PartitionEpoch(1));
        let progress = OrdMap::from([(B, at(4, Instant::ZERO))]);
        let soon = Instant::ZERO + Span::secs(1);
        assert_eq!(support(&isr, &progress, 1).high_watermark(soon, |_| true), Some(Offset(4)));
        assert_eq!(support(&isr, &progress, 1).high_watermark(soon, |_| false), Some(Offset(5)), "B is not alive");
    }

    #[test]
    fn laggards_are_those_that_lagged_too_long() {
        let isr = Isr::committed(vec![A, B, C], PartitionEpoch(1));
        let progress = OrdMap::from([(B, at(5, Instant::ZERO)), (C, at(4, Instant::ZERO))]);
        let find = |now| laggards(&isr, &progress, A, Offset(5), now, LAG);
        assert_eq!(find(Instant::ZERO + Span::secs(30)), []);
        assert_eq!(find(Instant::ZERO + Span::secs(31)), [C], "B has everything, however long ago it fetched");
    }

    #[test]
    fn joining_needs_the_epoch_start() {
        // K5: the new leader's high watermark 0 lags the true one, 2, at which its epoch starts.
        assert!(!may_join(IsrJoin::EpochStart, Offset(1), Offset(0), Offset(2)));
        assert!(may_join(IsrJoin::HighWatermark, Offset(1), Offset(0), Offset(2)), "the old rule");
        assert!(may_join(IsrJoin::EpochStart, Offset(2), Offset(0), Offset(2)));
    }

    #[test]
    fn caught_up_is_the_fetch_that_had_everything() {
        let mut follower = Progress::unknown(false, Instant::ZERO);
        let t = |n| Instant::ZERO + Span::secs(n);
        follower.on_fetch(Offset(0), Offset(0), Offset(10), t(1));
        assert_eq!(follower.caught_up, None);
        follower.on_fetch(Offset(10), Offset(0), Offset(20), t(2));
        assert_eq!(follower.caught_up, Some(t(1)), "it has what we had at its fetch before");
        follower.on_fetch(Offset(20), Offset(0), Offset(20), t(3));
        assert_eq!(follower.caught_up, Some(t(3)));
    }

    #[test]
    fn a_refused_proposal_keeps_counting_until_it_is_disproved() {
        let mut isr = Isr::committed(vec![A, B], PartitionEpoch(4));
        isr.propose(Change::Expand(C));
        assert_eq!(isr.proposed(), Some(vec![A, B, C]));
        isr.keep_pending();
        assert!(isr.maximal_contains(C) && isr.pending().is_some_and(|pending| pending.stuck));
        isr.revert();
        assert!(!isr.maximal_contains(C));
    }
}
