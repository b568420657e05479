//! One replica's log as the checker follows it: how far it agrees with what was committed, what it holds beyond, what was
//! cut from it and may come back. Knows nothing of what is owed of it.

use super::Batch;
use crate::broker::partition::log::Log;
use crate::check::run::Run;
use crate::queue::Queue;

/// One replica's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Replica {
    pub(super) start: i64,
    pub(super) high_watermark: i64,
    /// Position in the committed history up to which this log holds it.
    pub(super) agreed: usize,
    /// What lies above that.
    pub(super) tail: Queue<Batch>,
    /// The leader epoch it last heard of.
    pub(super) epoch: i32,
    /// The newest epoch in which it led, or took something from its leader.
    pub(super) joined: i32,
    /// It leads in this epoch.
    pub(super) leads: Option<i32>,
    /// What its disk lost, as it may, and it has not fetched again.
    pub(super) damaged: Option<Damage>,
    /// What was cut since its broker started, and from where on; the oldest first. A power loss may undo a cut.
    pub(super) cuts: Queue<(i64, Vec<Batch>)>,
}

/// Cuts of a log that are remembered until its broker starts again.
const CUTS: usize = 8;

/// A log as its broker found it when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub start: i64,
    pub end: i64,
    pub high_watermark: i64,
    /// The epoch of its last record, as its epoch cache has it.
    pub last_epoch: Option<i32>,
}

impl Recovered {
    pub fn of(log: &Log) -> Recovered {
        let end = log.end().0;
        let entries = log.epochs().entries();
        let last = entries.partition_point(|(_, start)| start.0 < end).checked_sub(1);
        Recovered {
            start: log.start().0,
            end,
            high_watermark: log.high_watermark().0,
            last_epoch: last.map(|at| entries[at].0.0),
        }
    }
}

/// A replica lost its log from one offset to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damage {
    pub(super) from: i64,
    pub(super) upto: i64,
    pub(super) how: &'static str,
    /// It was in the ISR, or joined it before a controller could know: it was counted on, and may be elected.
    pub(super) counted: bool,
}

impl Replica {
    pub(super) fn end(&self, committed: &Run<Batch>) -> i64 {
        let agreed = || self.agreed.checked_sub(1).and_then(|at| committed.get(at)).map(|batch| batch.last + 1);
        self.tail.back().map(|batch| batch.last + 1).or_else(agreed).unwrap_or(0).max(self.start)
    }

    pub(super) fn last_epoch(&self, committed: &Run<Batch>) -> i32 {
        let agreed = || self.agreed.checked_sub(1).and_then(|at| committed.get(at)).map(|batch| batch.epoch);
        self.tail.back().map(|batch| batch.epoch).or_else(agreed).unwrap_or(-1)
    }

    /// Follows the committed history as far as this log holds it.
    pub(super) fn advance(&mut self, committed: &Run<Batch>) {
        if committed.get(self.agreed).is_some_and(|batch| batch.base < self.start) {
            self.agreed = committed.partition_point(|batch| batch.base < self.start);
        }
        while let Some(front) = self.tail.front()
            && committed.get(self.agreed) == Some(front)
        {
            self.tail.pop_front();
            self.agreed += 1;
        }
    }

    /// Goes back to agree with no more than `len` committed batches; what it holds beyond is its own again.
    pub(super) fn retreat(&mut self, committed: &Run<Batch>, len: usize) {
        while self.agreed > len {
            self.agreed -= 1;
            match committed.get(self.agreed) {
                Some(batch) if batch.base >= self.start => self.tail.push_front(*batch),
                _ => {}
            }
        }
    }

    /// Removes every batch that reaches to `to` or beyond. Gives the first committed offset that went.
    pub(super) fn cut(&mut self, committed: &Run<Batch>, to: i64) -> Option<i64> {
        while self.tail.pop_back_if(|batch| batch.last >= to).is_some() {}
        let mut lost = None;
        while let Some(batch) = self.agreed.checked_sub(1).and_then(|at| committed.get(at))
            && batch.last >= to
            && batch.base >= self.start
        {
            lost = Some(batch.base);
            self.agreed -= 1;
        }
        lost
    }

    /// Remembers what a cut back to `to` is about to take.
    pub(super) fn note_cut(&mut self, committed: &Run<Batch>, to: i64) {
        let from = committed.partition_point(|batch| batch.last < to);
        let agreed = committed.iter_from(from).take(self.agreed.saturating_sub(from)).copied();
        let taken: Vec<Batch> = agreed.chain(self.tail.iter().filter(|batch| batch.last >= to).copied()).collect();
        if !taken.is_empty() {
            if self.cuts.len() == CUTS {
                self.cuts.pop_front();
            }
            self.cuts.push_back((to, taken));
        }
    }

    /// Whether this log, or the beginning that a crash left of it, is what was found.
    pub(super) fn is_found(&self, committed: &Run<Batch>, found: Recovered) -> bool {
        let mut left = self.clone();
        left.cut(committed, found.end);
        let epoch = (found.end > found.start).then(|| left.last_epoch(committed));
        left.end(committed) == found.end && (epoch.is_none() || epoch == found.last_epoch)
    }

    /// The log as it would be found ending at `found.end`, had the last cuts not reached the disk: it takes as many of
    /// them back as explain what was found. `None` if none does, or if none has to be.
    pub(super) fn without_cuts(&self, committed: &Run<Batch>, found: Recovered) -> Option<Replica> {
        if self.is_found(committed, found) {
            return None;
        }
        let mut before = self.clone();
        while let Some((to, taken)) = before.cuts.pop_back() {
            before.cut(committed, to);
            before.tail.extend(taken);
            before.advance(committed);
            if before.is_found(committed, found) {
                return Some(before);
            }
        }
        None
    }
}
