//! One peer's history: the transactions it holds and how far each promise about them reaches. Knows nothing of roles.
//!
//! ```text
//!   floor ≤ applied ≤ committed ≤ appended ≤ received        durable ≤ appended
//! ```
//!
//! Up to `floor` only the snapshot and the journal know the transactions; above it they are in memory. Between
//! `appended` and `received` lie proposals of a synchronisation that are not handed to the disk yet.

use crate::id::Zxid;
use crate::queue::Queue;
use bytes::Bytes;

/// The recent transactions of one peer, and its watermarks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    /// Everything above is in `recent`; everything at or below is applied.
    floor: Zxid,
    recent: Queue<(Zxid, Bytes)>,
    /// Handed to the keeper.
    applied: Zxid,
    /// Known to be committed.
    committed: Zxid,
    /// Handed to the disk: what elections compare.
    appended: Zxid,
    /// Known to be on the disk; acknowledgements promise this and nothing above it.
    durable: Zxid,
    /// How many applied transactions stay in memory for learners that lag.
    keep: u32,
}

impl History {
    /// What a disk holds: a snapshot, which is committed, and the journal above it, of which that is not known.
    pub fn recover(snapshot: Zxid, tail: Vec<(Zxid, Bytes)>, keep: u32) -> History {
        let last = tail.last().map_or(snapshot, |(zxid, _)| *zxid);
        History {
            floor: snapshot,
            recent: tail.into(),
            applied: snapshot,
            committed: snapshot,
            appended: last,
            durable: last,
            keep,
        }
    }

    pub fn floor(&self) -> Zxid {
        self.floor
    }
    pub fn applied(&self) -> Zxid {
        self.applied
    }
    pub fn committed(&self) -> Zxid {
        self.committed
    }
    pub fn appended(&self) -> Zxid {
        self.appended
    }
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// The last transaction in memory, or the floor.
    pub fn received(&self) -> Zxid {
        self.recent.back().map_or(self.floor, |(zxid, _)| *zxid)
    }

    /// The transactions in memory above `after`, in order.
    pub fn above(&self, after: Zxid) -> impl Iterator<Item = &(Zxid, Bytes)> {
        self.recent[self.index_above(after)..].iter()
    }

    /// The first transaction in memory above `after`.
    pub fn first_above(&self, after: Zxid) -> Option<Zxid> {
        self.recent.get(self.index_above(after)).map(|(zxid, _)| *zxid)
    }

    /// Whether a history that ends at `zxid` is a beginning of this one, as far as memory can tell.
    pub fn passes_through(&self, zxid: Zxid) -> bool {
        zxid == self.floor || self.recent.binary_search_by_key(&zxid, |(zxid, _)| *zxid).is_ok()
    }

    /// The last transaction in memory below `zxid`, or the floor.
    pub fn last_below(&self, zxid: Zxid) -> Zxid {
        match self.recent.partition_point(|(other, _)| *other < zxid) {
            0 => self.floor,
            above => self.recent[above - 1].0,
        }
    }

    fn index_above(&self, after: Zxid) -> usize {
        // Most questions are about the end.
        match self.recent.back() {
            Some((last, _)) if *last <= after => self.recent.len(),
            _ => self.recent.partition_point(|(zxid, _)| *zxid <= after),
        }
    }

    /// Takes a transaction into memory.
    pub fn receive(&mut self, zxid: Zxid, txn: Bytes) {
        let last = self.received();
        assert!(last < zxid, "{zxid} was received behind {last}");
        self.recent.push_back((zxid, txn));
    }

    /// Everything up to `upto` was handed to the disk.
    pub fn advance_appended(&mut self, upto: Zxid) {
        assert!(upto <= self.received(), "appended up to {upto}, received up to {}", self.received());
        self.appended = self.appended.max(upto);
    }

    /// Everything up to `upto` is on the disk.
    pub fn advance_durable(&mut self, upto: Zxid) {
        assert!(upto <= self.appended, "durable up to {upto}, appended up to {}", self.appended);
        self.durable = self.durable.max(upto);
    }

    /// Everything up to `upto` is committed.
    pub fn advance_committed(&mut self, upto: Zxid) {
        assert!(upto <= self.appended, "committed up to {upto}, appended up to {}", self.appended);
        self.committed = self.committed.max(upto);
    }

    /// The next committed transaction that the keeper has not seen, which it now sees.
    pub fn apply_next(&mut self) -> Option<(Zxid, Bytes)> {
        if self.applied >= self.committed {
            return None;
        }
        let next = self.recent.get(self.index_above(self.applied))?.clone();
        self.applied = next.0;
        while self.recent.len() > self.keep as usize && self.recent[0].0 < self.applied {
            if let Some((zxid, _)) = self.recent.pop_front() {
                self.floor = zxid;
            }
        }
        Some(next)
    }

    /// Forgets proposals that were never handed to the disk: their leader is gone.
    pub fn forget_unappended(&mut self) {
        let keep = self.index_above(self.appended);
        self.recent.truncate(keep);
    }

    /// Cuts everything above `to`. True if transactions were cut that are not in memory or were applied, so that the
    /// tree must be read again.
    pub fn truncate(&mut self, to: Zxid) -> bool {
        let keep = self.index_above(to);
        self.recent.truncate(keep);
        let below = to < self.applied;
        self.floor = self.floor.min(to);
        self.appended = self.appended.min(to);
        self.durable = self.durable.min(to);
        self.committed = self.committed.min(to);
        self.applied = self.applied.min(to);
        below
    }

    /// A snapshot took the place of everything.
    pub fn replace(&mut self, snapshot: Zxid) {
        *self = History::recover(snapshot, Vec::new(), self.keep);
        self.durable = Zxid::ZERO;
    }

    /// The chain of watermarks, checked after every step.
    pub fn check(&self) {
        let received = self.received();
        assert!(
            self.floor <= self.applied
                && self.applied <= self.committed
                && self.committed <= self.appended
                && self.appended <= received,
            "floor {} ≤ applied {} ≤ committed {} ≤ appended {} ≤ received {received}",
            self.floor,
            self.applied,
            self.committed,
            self.appended
        );
        assert!(self.durable <= self.appended, "durable {} ≤ appended {}", self.durable, self.appended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ZabEpoch;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(ZabEpoch(epoch), counter)
    }

    fn txn(zxid: Zxid) -> (Zxid, Bytes) {
        (zxid, Bytes::from(zxid.to_string()))
    }

    #[test]
    fn a_recovered_tail_is_appended_and_not_committed() {
        let mut history = History::recover(z(1, 2), vec![txn(z(1, 3)), txn(z(1, 4))], 10);
        assert_eq!((history.applied(), history.appended(), history.durable()), (z(1, 2), z(1, 4), z(1, 4)));
        assert_eq!(history.apply_next(), None);
        history.advance_committed(z(1, 3));
        assert_eq!(history.apply_next(), Some(txn(z(1, 3))));
        assert_eq!(history.apply_next(), None);
        history.check();
    }

    #[test]
    fn the_window_forgets_only_what_was_applied() {
        let mut history = History::recover(Zxid::ZERO, (1..=5).map(|n| txn(z(1, n))).collect(), 2);
        history.advance_committed(z(1, 4));
        while history.apply_next().is_some() {}
        assert_eq!((history.floor(), history.first_above(Zxid::ZERO)), (z(1, 3), Some(z(1, 4))));
        history.check();
    }

    #[test]
    fn where_histories_part() {
        let history = History::recover(z(1, 1), vec![txn(z(1, 2)), txn(z(3, 1))], 10);
        assert!(history.passes_through(z(1, 1)) && history.passes_through(z(1, 2)));
        assert!(!history.passes_through(z(2, 1)));
        assert_eq!((history.last_below(z(3, 1)), history.last_below(z(1, 2))), (z(1, 2), z(1, 1)));
        assert_eq!(history.first_above(z(2, 1)), Some(z(3, 1)));
    }

    #[test]
    fn truncation_says_whether_the_tree_must_be_read_again() {
        let mut history = History::recover(Zxid::ZERO, (1..=5).map(|n| txn(z(1, n))).collect(), 10);
        history.advance_committed(z(1, 3));
        while history.apply_next().is_some() {}
        assert!(!history.truncate(z(1, 3)));
        assert!(history.truncate(z(1, 2)));
        assert_eq!((history.applied(), history.appended()), (z(1, 2), z(1, 2)));
        history.check();
    }
}
