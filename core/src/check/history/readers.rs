//! What consumers were told of a partition: nothing that is not committed, nothing that changes, never less than before,
//! and nothing left out (protocol.md D.2-9, -10).

use super::is_it;
use crate::check::log::Ghost;
use crate::check::{Findings, or_none};
use crate::id::{NodeId, TopicId, TopicPartition};
use crate::ordered::OrdMap;

/// What was read in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub base: i64,
    pub records: u32,
    /// What its first record holds.
    pub first: u64,
}

/// Up to where one reader knows a partition to be committed.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    topic: TopicId,
    upto: i64,
    /// `upto` when it asked for the end: it goes on reading, and the answer may be older than what it reads.
    when_asked: i64,
    /// Where it reads next; `None` before its first read, and after it lost its place.
    next: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Readers {
    known: OrdMap<(NodeId, TopicPartition), Known>,
}

impl Readers {
    /// HIST-2, HIST-3 and HIST-12.
    pub fn on_read(
        &mut self,
        partition: &TopicPartition,
        read: Piece,
        high_watermark: i64,
        ghost: &Ghost,
        find: &mut Findings,
    ) {
        let Piece { base, records, first } = read;
        let last = base + i64::from(records) - 1;
        let is_of = |ghost: &Ghost| ghost.committed_at(base).is_some_and(|batch| is_it(batch, records, first));
        if ghost.earlier().any(is_of) && !is_of(ghost) {
            // The leader of a topic that was made again had not heard yet that it is gone.
            return;
        }
        if let Some(known) = self.known(partition, ghost, find) {
            known.upto = known.upto.max(last + 1);
            let next = known.next.replace(last + 1).unwrap_or(base);
            let may_lack = next < ghost.forgotten_below() || ghost.may_be_gone(next).is_some();
            if next < base && !may_lack && ghost.committed_at(next).is_some() {
                find.fire("HIST-12", || {
                    format!(
                        "a consumer that read {partition} up to {next} goes on at {base}; what is between is committed"
                    )
                });
            }
        }
        if base < ghost.forgotten_below() {
            return;
        }
        let is_same = || is_of(ghost);
        if let Some(why) = ghost.may_be_gone(last) {
            if !is_same() {
                find.allow("HIST-2", || {
                    format!("somebody read offset {base} of {partition}, which was given up: {why}")
                });
            }
        } else if last >= ghost.high_watermark() || is_too_much(high_watermark, ghost) {
            let hw = ghost.high_watermark();
            find.fire("HIST-3", || {
                format!("a consumer reads up to offset {last} of {partition} (told {high_watermark}); committed is only up to {hw}")
            });
        } else if !is_same() {
            let held = or_none(ghost.committed_at(base));
            find.fire("HIST-2", || {
                format!("a consumer reads value {first} at offset {base} of {partition}; committed there: {held}")
            });
        }
    }

    /// A reader was told that its place is none, and goes on elsewhere.
    pub fn on_place_lost(&mut self, partition: &TopicPartition, find: &Findings) {
        let known = find.node.and_then(|node| self.known.get_mut(&(node, partition.clone())));
        if let Some(known) = known {
            known.next = None;
        }
    }

    /// A reader asks where the partition ends.
    pub fn on_end_asked(&mut self, partition: &TopicPartition, ghost: &Ghost, find: &Findings) {
        if let Some(known) = self.known(partition, ghost, find) {
            known.when_asked = known.upto;
        }
    }

    /// HIST-11, and HIST-3: a leader answers where the partition ends for readers.
    pub fn on_end(&mut self, partition: &TopicPartition, end: i64, ghost: &Ghost, find: &mut Findings) {
        if is_too_much(end, ghost) {
            if ghost.earlier().any(|earlier| end <= earlier.high_watermark()) {
                return;
            }
            let hw = ghost.high_watermark();
            find.fire("HIST-3", || {
                format!("a consumer is told that {partition} ends at {end}; committed is only up to {hw}")
            });
        }
        let Some(known) = self.known(partition, ghost, find) else { return };
        let before = known.when_asked;
        if end >= before {
            known.upto = known.upto.max(end);
            return;
        }
        known.upto = end;
        match ghost.may_be_gone(before - 1) {
            Some(why) => find.allow("HIST-11", || {
                format!("somebody knew {partition} up to {before} and is told that it ends at {end}: {why}")
            }),
            None => find.fire("HIST-11", || {
                format!("a consumer that knew {partition} up to {before} is told that it ends at {end}")
            }),
        }
    }

    /// Of the reader that is looked at. A topic that was made again is another one.
    fn known(&mut self, partition: &TopicPartition, ghost: &Ghost, find: &Findings) -> Option<&mut Known> {
        let topic = ghost.topic_id();
        let known = self.known.entry((find.node?, partition.clone())).or_default();
        if known.topic != topic {
            *known = Known { topic, ..Known::default() };
        }
        Some(known)
    }
}

/// An answer may have been under way while what it calls committed was given up.
fn is_too_much(told: i64, ghost: &Ghost) -> bool {
    told > ghost.high_watermark() && ghost.may_be_gone(told - 1).is_none()
}
