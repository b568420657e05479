//! Produce and fetch requests that wait: for the high watermark, for bytes, or for their time to run out.
//!
//! Knows who waits for which partition and until when; whether a wait is over is decided by the partition.

use crate::api::kafka::{ErrorCode, FetchRequest};
use crate::broker::connection::Asker;
use crate::broker::fetch_sessions::Within;
use crate::id::TopicPartition;
use crate::ordered::{OrdMap, OrdSet};
use crate::record::offset::Offset;
use crate::time::{Deadlines, Instant, Wake};
use std::sync::Arc;

/// Numbers what waits, in the order of arrival.
pub type WaitId = u64;

/// Everything of one broker that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Purgatory {
    last: WaitId,
    produces: OrdMap<WaitId, ProduceWait>,
    fetches: OrdMap<WaitId, FetchWait>,
    /// Who waits for a partition's high watermark to pass an offset.
    above: OrdMap<TopicPartition, OrdSet<(Offset, WaitId)>>,
    /// Who waits for a partition's bytes.
    bytes: OrdMap<TopicPartition, OrdSet<WaitId>>,
    deadlines: Deadlines<WaitId>,
}

/// A produce request with acks = all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProduceWait {
    pub asker: Asker,
    pub parts: Vec<ProducePart>,
    /// Of `parts`, those without an outcome.
    pub open: u32,
}

/// One partition's share of a produce request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProducePart {
    pub partition: TopicPartition,
    pub base: Offset,
    pub last: Offset,
    pub log_start: Offset,
    /// `None` while it waits.
    pub outcome: Option<ErrorCode>,
}

/// A fetch that found too little.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchWait {
    pub asker: Asker,
    pub version: i16,
    pub within: Within,
    pub request: Arc<FetchRequest>,
}

impl Purgatory {
    pub fn park_produce(&mut self, wait: ProduceWait, until: Instant) {
        self.last += 1;
        for part in wait.parts.iter().filter(|part| part.outcome.is_none()) {
            self.above.entry(part.partition.clone()).or_default().insert((part.last, self.last));
        }
        self.deadlines.set(self.last, until);
        self.produces.insert(self.last, wait);
    }

    pub fn park_fetch(&mut self, wait: FetchWait, partitions: impl Iterator<Item = TopicPartition>, until: Instant) {
        self.last += 1;
        for partition in partitions {
            self.bytes.entry(partition).or_default().insert(self.last);
        }
        self.deadlines.set(self.last, until);
        self.fetches.insert(self.last, wait);
    }

    /// Gives the produces of `partition` their outcome, lowest offset first, as long as there is one. Returns those
    /// that have all their outcomes now.
    pub fn settle_produces(
        &mut self,
        partition: &TopicPartition,
        outcome: impl Fn(Offset) -> Option<ErrorCode>,
    ) -> Vec<ProduceWait> {
        let mut done = Vec::new();
        let Some(waits) = self.above.get_mut(partition) else { return done };
        while let Some((last, id)) = waits.first().copied()
            && let Some(code) = outcome(last)
        {
            waits.pop_first();
            let Some(wait) = self.produces.get_mut(&id) else { continue };
            let parts = wait.parts.iter_mut();
            for part in parts.filter(|part| part.partition == *partition && part.last == last) {
                if part.outcome.replace(code).is_none() {
                    wait.open -= 1;
                }
            }
            if wait.open == 0 {
                self.deadlines.clear(&id);
                done.extend(self.produces.remove(&id));
            }
        }
        if waits.is_empty() {
            self.above.remove(partition);
        }
        done
    }

    /// The fetches that wait for bytes of `partition`.
    pub fn fetches_of(&self, partition: &TopicPartition) -> Vec<WaitId> {
        self.bytes.get(partition).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    pub fn fetch(&self, id: WaitId) -> Option<&FetchWait> {
        self.fetches.get(&id)
    }

    /// Takes a fetch out, because it is to be answered.
    pub fn take_fetch(&mut self, id: WaitId) -> Option<FetchWait> {
        let wait = self.fetches.remove(&id)?;
        self.deadlines.clear(&id);
        self.bytes.retain(|_, ids| {
            ids.remove(&id);
            !ids.is_empty()
        });
        Some(wait)
    }

    /// The next wait whose time has run out: a fetch is answered with what there is, a produce with
    /// REQUEST_TIMED_OUT for what has no outcome.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let id = self.deadlines.pop_due(now)?;
        if let Some(wait) = self.take_fetch(id) {
            return Some(Due::Fetch(wait));
        }
        let mut wait = self.produces.remove(&id)?;
        self.above.retain(|_, waits| {
            waits.retain(|(_, other)| *other != id);
            !waits.is_empty()
        });
        for part in wait.parts.iter_mut().filter(|part| part.outcome.is_none()) {
            part.outcome = Some(ErrorCode::REQUEST_TIMED_OUT);
        }
        Some(Due::Produce(wait))
    }

    /// Its connection or channel is gone: nobody waits any more.
    pub fn forget(&mut self, gone: impl Fn(&Asker) -> bool) {
        let fetches: Vec<WaitId> =
            self.fetches.iter().filter(|(_, wait)| gone(&wait.asker)).map(|(id, _)| *id).collect();
        for id in fetches {
            self.take_fetch(id);
        }
        let produces: Vec<WaitId> =
            self.produces.iter().filter(|(_, wait)| gone(&wait.asker)).map(|(id, _)| *id).collect();
        for id in produces {
            self.deadlines.clear(&id);
            self.produces.remove(&id);
            self.above.retain(|_, waits| {
                waits.retain(|(_, other)| *other != id);
                !waits.is_empty()
            });
        }
    }

    pub fn wake_at(&self) -> Option<Wake> {
        self.deadlines.soonest().map(|(at, _)| Wake { at, why: "a request has waited long enough" })
    }

    pub fn waiting(&self) -> (u32, u32) {
        (self.produces.len() as u32, self.fetches.len() as u32)
    }
}

/// What ran out of time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    Produce(ProduceWait),
    Fetch(FetchWait),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ConnId;

    fn orders(partition: i32) -> TopicPartition {
        TopicPartition::new("orders", partition)
    }

    fn part(partition: i32, last: i64) -> ProducePart {
        let (base, last) = (Offset(last), Offset(last));
        ProducePart { partition: orders(partition), base, last, log_start: Offset::ZERO, outcome: None }
    }

    #[test]
    fn a_produce_is_answered_when_all_its_partitions_are() {
        let mut purgatory = Purgatory::default();
        let asker = Asker::Client { conn: ConnId(1), seq: 0 };
        let wait = ProduceWait { asker, parts: vec![part(0, 4), part(1, 9)], open: 2 };
        purgatory.park_produce(wait, Instant(100));
        let upto = |hw: i64| move |last: Offset| (last.0 < hw).then_some(ErrorCode::NONE);
        assert!(purgatory.settle_produces(&orders(0), upto(4)).is_empty(), "the HW is at 4, record 4 is not below");
        assert!(purgatory.settle_produces(&orders(0), upto(5)).is_empty(), "orders-1 is open");
        let done = purgatory.settle_produces(&orders(1), upto(10));
        assert_eq!(done.len(), 1);
        assert!(done[0].parts.iter().all(|part| part.outcome == Some(ErrorCode::NONE)));
        assert_eq!((purgatory.pop_due(Instant(100)), purgatory), (None, Purgatory { last: 1, ..Purgatory::default() }));
    }

    #[test]
    fn what_has_no_outcome_in_time_timed_out() {
        let mut purgatory = Purgatory::default();
        let asker = Asker::Client { conn: ConnId(1), seq: 0 };
        let mut wait = ProduceWait { asker, parts: vec![part(0, 4), part(1, 9)], open: 1 };
        wait.parts[0].outcome = Some(ErrorCode::NONE);
        purgatory.park_produce(wait, Instant(100));
        assert_eq!(purgatory.pop_due(Instant(99)), None);
        let Some(Due::Produce(wait)) = purgatory.pop_due(Instant(100)) else { panic!("nothing was due") };
        let outcomes: Vec<_> = wait.parts.iter().map(|part| part.outcome).collect();
        assert_eq!(outcomes, [Some(ErrorCode::NONE), Some(ErrorCode::REQUEST_TIMED_OUT)]);
        assert_eq!(purgatory.wake_at(), None);
    }

    #[test]
    fn a_closed_connection_waits_for_nothing() {
        let mut purgatory = Purgatory::default();
        let asker = Asker::Client { conn: ConnId(1), seq: 0 };
        let wait = FetchWait { asker, version: 12, within: Within::None, request: Arc::default() };
        purgatory.park_fetch(wait, [orders(0)].into_iter(), Instant(100));
        purgatory.forget(|asker| matches!(asker, Asker::Client { conn: ConnId(1), .. }));
        assert_eq!((purgatory.waiting(), purgatory.fetches_of(&orders(0)).len()), ((0, 0), 0));
    }
}
