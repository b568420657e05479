//! Which leader epoch began at which offset: how two logs find the place where they diverge (KIP-101; protocol.md C.6).

use super::offset::Offset;
use crate::id::LeaderEpoch;

/// The epochs of one log with their first offsets, both strictly rising.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// Up to where an epoch reaches in a log, as OffsetsForLeaderEpoch and a diverging fetch tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset after the last record of `epoch`.
    pub end: Offset,
}

impl EpochCache {
    /// The cache as a checkpoint lists it; entries that break the order are dealt with as if they were assigned.
    pub fn from_entries(entries: impl IntoIterator<Item = (LeaderEpoch, Offset)>) -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, start) in entries {
            cache.assign(epoch, start);
        }
        cache
    }

    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest epoch, `LeaderEpoch::NONE` of an empty cache.
    pub fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(LeaderEpoch::NONE, |(epoch, _)| *epoch)
    }

    /// Where the newest epoch began.
    pub fn latest_start(&self) -> Option<Offset> {
        self.entries.last().map(|(_, start)| *start)
    }

    /// Says that `epoch` begins at `start`; entries that this contradicts go. Returns whether anything changed.
    /// A leader does this when it becomes one, not at its first append (KAFKA-7415, K6).
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch(0) || start < Offset::ZERO {
            return false;
        }
        match self.entries.last() {
            Some((latest, latest_start)) if *latest == epoch && *latest_start <= start => return false,
            _ => {}
        }
        while self.entries.pop_if(|(old, old_start)| *old >= epoch || *old_start >= start).is_some() {}
        self.entries.push((epoch, start));
        true
    }

    /// A record of `epoch` lies at `offset`, whatever a checkpoint said: entries that this contradicts go, and the epoch
    /// keeps its beginning if it began before.
    pub fn correct(&mut self, epoch: LeaderEpoch, offset: Offset) {
        while self.entries.pop_if(|(old, start)| *old > epoch || *start >= offset).is_some() {}
        self.assign(epoch, offset);
    }

    /// Where `requested` ends in a log that ends at `log_end`. `None`: this log cannot say.
    ///
    /// With epochs 1 from 0 and 4 from 20 and an end of 30: 4 ends at 30; 1, 2 and 3 are answered (1, 20); 0 is answered
    /// (0, 0), because it ended before this log begins; 5 is unknown.
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if requested < LeaderEpoch(0) {
            return None;
        }
        if requested == self.latest() {
            return Some(EpochEnd { epoch: requested, end: log_end });
        }
        let higher = self.entries.partition_point(|(epoch, _)| *epoch <= requested);
        let (_, end) = *self.entries.get(higher)?;
        let epoch = if higher == 0 { requested } else { self.entries[higher - 1].0 };
        Some(EpochEnd { epoch, end })
    }

    /// The epoch of the record at `offset`, if the log reaches so far back.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// The log now ends at `end`: epochs that would begin there or later go, also when nothing was cut (KAFKA-10706).
    /// Returns whether anything changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.truncate(self.entries.partition_point(|(_, start)| *start < end));
        self.entries.len() != before
    }

    /// The log now starts at `start`: what ended before goes, and the epoch in force there begins there.
    /// Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let covered = self.entries.partition_point(|(_, first)| *first <= start);
        let Some(in_force) = covered.checked_sub(1) else { return false };
        if in_force == 0 && self.entries[0].1 == start {
            return false;
        }
        self.entries.drain(..in_force);
        self.entries[0].1 = start;
        true
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        EpochCache::from_entries(entries.iter().map(|(epoch, start)| (LeaderEpoch(*epoch), Offset(*start))))
    }

    fn end(cache: &EpochCache, requested: i32, log_end: i64) -> Option<(i32, i64)> {
        cache.end_offset_for(LeaderEpoch(requested), Offset(log_end)).map(|found| (found.epoch.0, found.end.0))
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let cache = cache(&[(1, 0), (4, 20)]);
        assert_eq!(end(&cache, 4, 30), Some((4, 30)));
        assert_eq!(end(&cache, 3, 30), Some((1, 20)));
        assert_eq!(end(&cache, 1, 30), Some((1, 20)));
        assert_eq!(end(&cache, 0, 30), Some((0, 0)));
        assert_eq!(end(&cache, 5, 30), None);
        assert_eq!(end(&cache, -1, 30), None);
        assert_eq!(end(&EpochCache::default(), 0, 0), None);
    }

    /// A power loss undid a cut: records 8 to 11 are of epoch 4, and the checkpoint already told of epoch 5 from 9 on.
    #[test]
    fn records_correct_a_checkpoint_and_an_epoch_keeps_its_beginning() {
        let mut table = cache(&[(3, 0), (4, 8), (5, 9)]);
        table.correct(LeaderEpoch(4), Offset(9));
        assert_eq!(table, cache(&[(3, 0), (4, 8)]));
        table.correct(LeaderEpoch(6), Offset(12));
        assert_eq!(table, cache(&[(3, 0), (4, 8), (6, 12)]));
        table.correct(LeaderEpoch(4), Offset(5));
        assert_eq!(table, cache(&[(3, 0), (4, 5)]));
    }

    #[test]
    fn assigning_removes_what_it_contradicts() {
        let mut table = cache(&[(1, 0), (4, 20), (5, 30)]);
        assert!(!table.assign(LeaderEpoch(5), Offset(31)), "the same epoch goes on");
        assert!(table.assign(LeaderEpoch(6), Offset(20)), "a later epoch at an earlier place");
        assert_eq!(table, cache(&[(1, 0), (6, 20)]));
        assert!(table.assign(LeaderEpoch(3), Offset(25)), "an older epoch, after an unclean election");
        assert_eq!(table, cache(&[(1, 0), (3, 25)]));
        assert!(!table.assign(LeaderEpoch(-1), Offset(40)));
    }

    #[test]
    fn truncating_from_the_end_drops_an_epoch_that_has_no_record_yet() {
        let mut table = cache(&[(1, 0), (4, 20), (5, 30)]);
        assert!(table.truncate_from_end(Offset(30)), "KAFKA-10706");
        assert_eq!(table, cache(&[(1, 0), (4, 20)]));
        assert!(!table.truncate_from_end(Offset(30)));
        assert!(table.truncate_from_end(Offset(0)));
        assert!(table.is_empty());
    }

    #[test]
    fn truncating_from_the_start_clamps_the_epoch_in_force() {
        let mut table = cache(&[(1, 0), (4, 20), (5, 30)]);
        assert!(table.truncate_from_start(Offset(25)));
        assert_eq!(table, cache(&[(4, 25), (5, 30)]));
        assert!(!table.truncate_from_start(Offset(10)), "before the first entry");
        assert!(table.truncate_from_start(Offset(40)));
        assert_eq!(table, cache(&[(5, 40)]));
        assert!(!table.truncate_from_start(Offset(40)));
        assert_eq!(table.epoch_at(Offset(39)), None);
        assert_eq!(table.epoch_at(Offset(41)), Some(LeaderEpoch(5)));
    }
}
