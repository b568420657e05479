//! Partition logs, replica by replica, against the one history that was committed (protocol.md D.2-6 to D.2-13).
//!
//! For each partition it keeps the *committed* batches, those that ever lay below a leader's high watermark, and for
//! each replica how far it agrees with them and what it holds beyond. It sees only what brokers ask of their disks, what
//! they find there when they start, and how they move their high watermarks.

mod duties;
mod replica;
pub mod whole;

use super::run::Run;
use super::{Faults, Findings, listed, or_none};
use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::ordered::OrdMap;
use crate::record::batch::{HEADER_BYTES, Stamped};
use crate::time::Instant;
use core::fmt;
use duties::{
    bring_back, commit, excuse, give_up, lose, match_below, note_rewrite, require_complete, require_in_sync, take_back,
};
pub use replica::Recovered;
use replica::{Damage, Replica};
use std::sync::Arc;

/// Committed batches that are remembered of each partition.
const KEEP: usize = 100_000;

/// What is remembered of a batch: enough to tell any two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub base: i64,
    pub last: i64,
    pub epoch: i32,
    /// The checksum over everything from the attributes on.
    pub crc: u32,
    /// The number a simulated producer put into the first record.
    pub first: Option<u64>,
    pub producer: i64,
    pub producer_epoch: i16,
    pub sequence: i32,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batch { base, last, epoch, crc, .. } = self;
        write!(f, "{base} to {last} of epoch {epoch}, checksum {crc:08x}, value {}", or_none(self.first))
    }
}

impl Batch {
    pub fn of(stamped: &Stamped) -> Batch {
        let header = stamped.header();
        Batch {
            base: stamped.base.0,
            last: stamped.last.0,
            epoch: stamped.epoch.0,
            crc: header.crc,
            first: first_value(stamped),
            producer: header.producer.0,
            producer_epoch: header.producer_epoch.0,
            sequence: header.base_sequence,
        }
    }

    pub fn records(&self) -> i64 {
        self.last - self.base + 1
    }
}

/// The first eight bytes of the first record's value, read in place. `None` where there are none or they are compressed.
fn first_value(stamped: &Stamped) -> Option<u64> {
    let compressed = stamped.header().attributes.0 & 7 != 0;
    let mut at = HEADER_BYTES.checked_sub(stamped.prefix.len())?;
    let body = &stamped.body;
    let varint = |at: &mut usize| -> Option<i64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = *body.get(*at)?;
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 || shift > 63 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
    };
    varint(&mut at)?;
    at += 1;
    varint(&mut at)?;
    varint(&mut at)?;
    at += varint(&mut at)?.max(0) as usize;
    let length = varint(&mut at)?;
    if compressed || length < 8 {
        return None;
    }
    body.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// How a broker came to start again, as far as its logs are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    pub faults: Faults,
    /// It counted only what was fsynced.
    pub flush: bool,
    /// It is in the ISR.
    pub in_sync: bool,
}

/// A partition's ghost.
#[derive(Clone, Debug, Default)]
pub struct Ghost {
    topic_id: TopicId,
    /// What was committed in the topic of this name before it: who led that may not know yet that it is gone.
    before: Option<Arc<Ghost>>,
    committed: Run<Batch>,
    /// The highest high watermark a leader ever had.
    high_watermark: i64,
    /// Who led in each epoch; pruned to the newest.
    leaders: OrdMap<i32, BrokerId>,
    replicas: OrdMap<BrokerId, Replica>,
    /// Committed batches from here on were given up, and why that was allowed.
    given_up: Option<(i64, String)>,
    /// A power loss took page caches that counted, from this offset on (`flush = kafka`). A leader may write such offsets
    /// again in the same epoch, which nobody can tell from the first time: nothing is owed there any more.
    torn: Option<i64>,
    /// The leader epoch with which the history went on after that: who has not heard of it may believe anything.
    resumed: i32,
    /// An unclean election, by its epoch, whose leader has not begun to lead yet.
    unclean: Option<i32>,
    /// The epoch of the last unclean election: older leaders that live on promise nothing.
    last_unclean: i32,
    /// The leader epoch in which a reassignment was called off that had only its own new replicas in sync: they were
    /// dropped.
    dropped: Option<i32>,
    /// Logs that each broker deleted since it started, the oldest first; a power loss may bring one back.
    deleted: OrdMap<BrokerId, Vec<Replica>>,
    /// A power loss took what its leader had written from this offset on, and an epoch up to this one goes on without a
    /// new election: it writes these offsets a second time.
    rewritten: Option<(i64, i32, &'static str)>,
    /// When the committed history last grew.
    grew: Instant,
}

impl Ghost {
    /// A history that is known as a whole: these batches were committed, in order of offset, and nothing else.
    pub fn of_committed(batches: impl IntoIterator<Item = Batch>) -> Ghost {
        let mut ghost = Ghost::default();
        for batch in batches {
            assert!(batch.base >= ghost.high_watermark, "offset {} behind {}", batch.base, ghost.high_watermark);
            ghost.high_watermark = batch.last + 1;
            ghost.committed.push(batch);
        }
        ghost
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The committed batch at exactly this base offset.
    pub fn committed_at(&self, base: i64) -> Option<&Batch> {
        let at = self.committed.partition_point(|batch| batch.base < base);
        self.committed.get(at).filter(|batch| batch.base == base)
    }

    pub fn committed(&self) -> &Run<Batch> {
        &self.committed
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Whether what was committed at `offset` may be gone or different, and why.
    pub fn may_be_gone(&self, offset: i64) -> Option<&str> {
        let torn = self.is_torn(offset).then_some("a power loss took page caches that counted");
        torn.or(self.given_up.as_ref().filter(|(from, _)| *from <= offset).map(|(_, why)| why.as_str()))
    }

    /// Below this nothing is remembered.
    pub fn forgotten_below(&self) -> i64 {
        self.committed.get(self.committed.floor()).map_or(0, |batch| batch.base)
    }

    /// It is known only from an offset above zero on: retention took what was before.
    pub fn begins_late(&self) -> bool {
        self.committed.get(0).is_some_and(|first| first.base > 0)
    }

    /// There was a topic of the same name before: producers go on with the sequences they had there (D.2-15).
    pub fn is_reborn(&self) -> bool {
        self.before.is_some()
    }

    /// The topics of the same name before it, the last one first.
    pub fn earlier(&self) -> impl Iterator<Item = &Ghost> {
        core::iter::successors(self.before.as_deref(), |ghost| ghost.before.as_deref())
    }

    /// Whether any replica holds this batch.
    pub fn holds(&self, base: i64, first: u64) -> bool {
        let is_it = |batch: &Batch| batch.base == base && batch.first == Some(first);
        self.committed_at(base).is_some_and(is_it)
            || self.replicas.values().any(|replica| replica.tail.iter().any(is_it))
    }

    fn is_torn(&self, offset: i64) -> bool {
        self.torn.is_some_and(|from| from <= offset)
    }

    /// Whether this replica knows the leader from whose log the history went on.
    fn has_heard(&self, replica: &Replica) -> bool {
        replica.epoch >= self.resumed
    }

    /// Whether this replica's log has met that leader's: until then it holds what was given up.
    fn has_joined(&self, replica: &Replica) -> bool {
        replica.joined >= self.resumed
    }

    /// When the committed history last grew.
    pub fn grew(&self) -> Instant {
        self.grew
    }

    pub fn leader(&self) -> Option<(i32, BrokerId)> {
        self.leaders.last_key_value().map(|(epoch, id)| (*epoch, *id))
    }
}

/// The checker of every partition's log.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    ghosts: OrdMap<TopicPartition, Ghost>,
}

impl Logs {
    pub fn ghost(&self, partition: &TopicPartition) -> Option<&Ghost> {
        self.ghosts.get(partition)
    }

    /// A history that was not followed but is known.
    pub fn put(&mut self, partition: TopicPartition, ghost: Ghost) {
        self.ghosts.insert(partition, ghost);
    }

    /// Every replica of every partition against what was committed.
    pub fn compare(&mut self, find: &mut Findings) {
        for (partition, ghost) in &mut self.ghosts {
            let ids: Vec<BrokerId> = ghost.replicas.keys().copied().collect();
            for id in ids {
                let Some(mut replica) = ghost.replicas.remove(&id) else { continue };
                replica.advance(&ghost.committed);
                match_below(ghost, &replica, id, partition, find);
                ghost.replicas.insert(id, replica);
            }
        }
    }

    fn replica(&mut self, id: BrokerId, partition: &TopicPartition) -> Option<(&mut Ghost, Replica)> {
        let ghost = self.ghosts.get_mut(partition)?;
        let replica = core::mem::take(ghost.replicas.get_mut(&id)?);
        Some((ghost, replica))
    }

    pub fn on_create(&mut self, id: BrokerId, partition: &TopicPartition, topic_id: TopicId) {
        let ghost = self.ghosts.entry(partition.clone()).or_default();
        if ghost.topic_id != topic_id {
            // Another topic of the same name: whatever was promised of the last one went with it.
            let old = core::mem::replace(ghost, Ghost { topic_id, ..Ghost::default() });
            if old.topic_id != TopicId::NONE {
                let Ghost { topic_id, committed, high_watermark, before, .. } = old;
                let old = Ghost { topic_id, committed, high_watermark, before, ..Ghost::default() };
                ghost.before = Some(Arc::new(old));
            }
        }
        // A log that a start did not find is created again: what it held is still missing.
        let damaged = ghost.replicas.get(&id).and_then(|replica| replica.damaged);
        ghost.replicas.insert(id, Replica { damaged, ..Replica::default() });
    }

    pub fn on_delete(&mut self, id: BrokerId, partition: &TopicPartition) {
        if let Some(ghost) = self.ghosts.get_mut(partition)
            && let Some(replica) = ghost.replicas.remove(&id)
        {
            ghost.deleted.entry(id).or_default().push(replica);
        }
    }

    pub fn on_append(&mut self, id: BrokerId, partition: &TopicPartition, batches: &[Stamped], find: &mut Findings) {
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return };
        // It fetched these when all it has was on its disk: only now is what it lost there again.
        let (end, whole) = (replica.end(&ghost.committed), replica.agreed == ghost.committed.len());
        replica.damaged = replica.damaged.filter(|damage| !whole || end < damage.upto);
        for stamped in batches {
            let batch = Batch::of(stamped);
            let (end, epoch) = (replica.end(&ghost.committed), replica.last_epoch(&ghost.committed));
            if (batch.base < end || batch.epoch < epoch) && !ghost.is_torn(batch.base) {
                find.fire("LOG-5", || {
                    format!(
                        "broker {id} appends offset {} of epoch {} to {partition}, which ends at {end} in epoch {epoch}",
                        batch.base, batch.epoch
                    )
                });
            }
            let twin = ghost.committed_at(batch.base).copied().or_else(|| {
                let of = |other: &Replica| {
                    let at = other.tail.partition_point(|other| other.base < batch.base);
                    other.tail.get(at).copied()
                };
                ghost.replicas.values().filter_map(of).find(|twin| twin.base == batch.base && twin.epoch == batch.epoch)
            });
            if let Some(twin) = twin
                && twin.base == batch.base
                && twin.epoch == batch.epoch
                && twin != batch
            {
                let told = || {
                    let (at, epoch) = (batch.base, batch.epoch);
                    format!(
                        "{partition}: broker {id} has another batch at offset {at} of epoch {epoch} than was written there"
                    )
                };
                match ghost.rewritten {
                    Some((from, upto, how)) if from <= batch.base && batch.epoch <= upto => {
                        find.allow("LOG-2", || format!("{}: {how} took it from its leader", told()));
                        give_up(
                            ghost,
                            batch.base,
                            batch.epoch,
                            format!("{how} took it from a leader that goes on in its epoch"),
                        );
                    }
                    _ if ghost.is_torn(batch.base) => find.allow("LOG-2", told),
                    _ => find.fire("LOG-2", told),
                }
            }
            replica.tail.push_back(batch);
        }
        replica.joined = replica.epoch;
        replica.advance(&ghost.committed);
        ghost.replicas.insert(id, replica);
    }

    pub fn on_truncate(&mut self, id: BrokerId, partition: &TopicPartition, to: i64, find: &mut Findings) {
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return };
        replica.note_cut(&ghost.committed, to);
        if let Some(lost) = replica.cut(&ghost.committed, to) {
            let hw = ghost.high_watermark;
            match excuse(ghost, &replica, lost) {
                Some(why) => {
                    find.allow("LOG-6", || format!("broker {id} cuts {partition} back to {to} below {hw}: {why}"))
                }
                None => find.fire("LOG-6", || {
                    format!(
                        "broker {id} cuts {partition} back to {to}, and with it offset {lost}, committed below {hw}"
                    )
                }),
            }
        }
        replica.high_watermark = replica.high_watermark.min(to);
        ghost.replicas.insert(id, replica);
    }

    /// The log is dropped and goes on at `start`.
    pub fn on_restart(&mut self, id: BrokerId, partition: &TopicPartition, start: i64, find: &mut Findings) {
        self.on_truncate(id, partition, start, find);
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return };
        replica.start = start;
        replica.high_watermark = start;
        replica.tail.clear();
        replica.agreed = ghost.committed.partition_point(|batch| batch.base < start);
        ghost.replicas.insert(id, replica);
    }

    pub fn on_drop_below(&mut self, id: BrokerId, partition: &TopicPartition, start: i64) {
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return };
        replica.start = replica.start.max(start);
        while replica.tail.pop_front_if(|batch| batch.last < start).is_some() {}
        replica.advance(&ghost.committed);
        ghost.replicas.insert(id, replica);
    }

    /// The epoch cache as it is checkpointed.
    pub fn on_epochs(
        &mut self,
        id: BrokerId,
        partition: &TopicPartition,
        entries: &[(LeaderEpoch, crate::record::offset::Offset)],
        find: &mut Findings,
    ) {
        if entries.windows(2).any(|pair| pair[0].0 >= pair[1].0 || pair[0].1 >= pair[1].1) {
            find.fire("LOG-5", || format!("broker {id}: the epochs of {partition} do not rise"));
        }
        let Some(ghost) = self.ghosts.get(partition) else { return };
        if let Some(last) = ghost.replicas.get(&id).and_then(|replica| replica.tail.back()) {
            let is_torn = ghost.is_torn(last.base);
            let at = entries.partition_point(|(_, start)| start.0 <= last.base);
            let epoch = at.checked_sub(1).map(|at| entries[at].0.0);
            if epoch != Some(last.epoch) && !is_torn {
                find.fire("LOG-5", || {
                    format!(
                        "broker {id}: offset {} of {partition} is of epoch {}, its epoch cache says {}",
                        last.base,
                        last.epoch,
                        or_none(epoch)
                    )
                });
            }
        }
    }

    /// An election that may lose records was announced.
    pub fn on_unclean(&mut self, partition: &TopicPartition, epoch: LeaderEpoch) {
        if let Some(ghost) = self.ghosts.get_mut(partition) {
            ghost.unclean = ghost.unclean.max(Some(epoch.0));
            ghost.last_unclean = ghost.last_unclean.max(epoch.0);
        }
    }

    /// A reassignment was called off, and every member of the ISR goes with it.
    pub fn on_dropped(&mut self, partition: &TopicPartition, epoch: LeaderEpoch) {
        if let Some(ghost) = self.ghosts.get_mut(partition) {
            ghost.dropped = Some(epoch.0);
        }
    }

    /// A broker that started again was taken into an ISR, and no controller could know yet that it had.
    pub fn on_unaware(&mut self, partition: &TopicPartition, id: BrokerId) {
        let replica = self.ghosts.get_mut(partition).and_then(|ghost| ghost.replicas.get_mut(&id));
        if let Some(damage) = replica.and_then(|replica| replica.damaged.as_mut()) {
            damage.counted = true;
        }
    }

    pub fn on_leader(&mut self, id: BrokerId, partition: &TopicPartition, epoch: LeaderEpoch, find: &mut Findings) {
        let Some(ghost) = self.ghosts.get_mut(partition) else { return };
        let before = *ghost.leaders.entry(epoch.0).or_insert(id);
        if before != id {
            find.fire("ISR-2", || format!("brokers {before} and {id} both lead {partition} in epoch {epoch}"));
        }
        if ghost.leaders.len() > 64 {
            ghost.leaders.pop_first();
        }
        let is_newest = ghost.leader() == Some((epoch.0, id));
        let Some(replica) = ghost.replicas.get_mut(&id) else { return };
        (replica.leads, replica.epoch, replica.joined) = (Some(epoch.0), epoch.0, epoch.0);
        replica.advance(&ghost.committed);
        if is_newest {
            require_complete(ghost, id, partition, find);
            take_back(ghost, id, epoch.0);
            ghost.unclean = ghost.unclean.filter(|unclean| *unclean > epoch.0);
            ghost.dropped = ghost.dropped.filter(|dropped| *dropped >= epoch.0);
        }
    }

    pub fn on_follower(&mut self, id: BrokerId, partition: &TopicPartition, epoch: LeaderEpoch) {
        let replica = self.ghosts.get_mut(partition).and_then(|ghost| ghost.replicas.get_mut(&id));
        if let Some(replica) = replica {
            (replica.leads, replica.epoch) = (None, epoch.0);
        }
    }

    /// A follower's high watermark moved.
    pub fn on_follower_high_watermark(
        &mut self,
        id: BrokerId,
        partition: &TopicPartition,
        to: i64,
        find: &mut Findings,
    ) {
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return };
        replica.advance(&ghost.committed);
        let end = replica.end(&ghost.committed);
        if to > end || (to > ghost.high_watermark && ghost.has_heard(&replica) && !ghost.is_torn(to - 1)) {
            let hw = ghost.high_watermark;
            find.fire("LOG-7", || {
                format!("broker {id} follows {partition} with high watermark {to}, its end is {end}, the leader's {hw}")
            });
        }
        replica.high_watermark = to;
        (replica.leads, replica.joined) = (None, replica.epoch);
        match_below(ghost, &replica, id, partition, find);
        ghost.replicas.insert(id, replica);
    }

    /// A leader's high watermark moved. `in_sync`: the ISR as the ensemble has it, if this broker leads there.
    pub fn on_leader_high_watermark(
        &mut self,
        id: BrokerId,
        partition: &TopicPartition,
        to: i64,
        in_sync: Option<&[BrokerId]>,
        find: &mut Findings,
    ) {
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return };
        let before = replica.high_watermark;
        if to < before {
            find.fire("LOG-4", || {
                format!("broker {id} leads {partition} and takes its high watermark back from {before} to {to}")
            });
        }
        replica.high_watermark = to;
        let leads_newest = ghost.leader().is_some_and(|(_, leader)| leader == id);
        if !leads_newest && replica.leads.is_some_and(|epoch| epoch < ghost.last_unclean) && ghost.has_heard(&replica) {
            let why = format!("broker {id} was replaced by an unclean election and did not know it yet");
            find.allow("LOG-3", || format!("{partition} is committed up to {to} for nobody: {why}"));
            give_up(ghost, ghost.high_watermark, ghost.last_unclean, why);
        }
        if leads_newest || ghost.has_heard(&replica) {
            if to > ghost.high_watermark {
                ghost.grew = find.at();
                commit(ghost, &mut replica, to);
            }
            replica.advance(&ghost.committed);
            match_below(ghost, &replica, id, partition, find);
        }
        ghost.replicas.insert(id, replica);
        if !leads_newest {
            // A leader that was replaced commits what its successor has, or nothing.
            if let Some((_, leader)) = ghost.leader() {
                require_complete(ghost, leader, partition, find);
            }
        } else if let Some(in_sync) = in_sync {
            require_in_sync(ghost, partition, in_sync, find);
        }
    }

    /// An acknowledgement by the whole ISR leaves a leader.
    pub fn on_acknowledged(&mut self, id: BrokerId, partition: &TopicPartition, last: i64, find: &mut Findings) {
        let Some(ghost) = self.ghosts.get(partition) else { return };
        let has_heard = ghost.replicas.get(&id).is_some_and(|replica| ghost.has_heard(replica));
        if last >= ghost.high_watermark && has_heard && !ghost.is_torn(last) {
            let hw = ghost.high_watermark;
            find.fire("LOG-9", || {
                format!("broker {id} acknowledges offset {last} of {partition} for the whole ISR; committed is only up to {hw}")
            });
        }
    }

    /// A broker started and found this log.
    pub fn on_boot(
        &mut self,
        id: BrokerId,
        partition: &TopicPartition,
        found: Recovered,
        restart: Restart,
        find: &mut Findings,
    ) {
        let Recovered { start, end, high_watermark, .. } = found;
        if let Some(ghost) = self.ghosts.get_mut(partition) {
            bring_back(ghost, id, found);
        }
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return };
        if restart.faults.has_lost_cache()
            && let Some(before) = replica.without_cuts(&ghost.committed, found)
        {
            if !restart.flush
                && let Some((from, _)) = replica.cuts.iter().min_by_key(|(from, _)| *from)
            {
                ghost.torn = Some(ghost.torn.map_or(*from, |torn| torn.min(*from)));
            }
            replica = before;
        }
        replica.cuts.clear();
        let before = replica.end(&ghost.committed);
        replica.leads = None;
        replica.high_watermark = high_watermark;
        replica.start = replica.start.max(start.min(before));
        if end < before {
            note_rewrite(ghost, id, end, restart.faults);
            lose(ghost, &mut replica, id, partition, end, restart, find);
        }
        replica.start = replica.start.max(start);
        replica.advance(&ghost.committed);
        ghost.replicas.insert(id, replica);
    }

    /// Whether a log of this topic belongs to the partition as it is now: another topic of the same name may have left it.
    pub fn is_of(&self, partition: &TopicPartition, topic_id: TopicId) -> bool {
        self.ghosts.get(partition).is_none_or(|ghost| ghost.topic_id.may_be(topic_id))
    }

    /// A broker started without what it held of all partitions but those that are found, each with its topic's id.
    pub fn on_boot_without(
        &mut self,
        id: BrokerId,
        found: impl Fn(&TopicPartition) -> Option<TopicId>,
        restart: impl Fn(&TopicPartition) -> Restart,
        find: &mut Findings,
    ) {
        for (partition, ghost) in &mut self.ghosts {
            if found(partition).is_some_and(|topic_id| ghost.topic_id.may_be(topic_id)) {
                continue;
            }
            ghost.deleted.remove(&id);
            let Some(mut replica) = ghost.replicas.remove(&id) else { continue };
            // A log that held nothing is not lost, perhaps since an earlier start that found nothing either. With one that
            // is, it is forgotten where it began: the next one begins at 0.
            if replica.end(&ghost.committed) > replica.start {
                let restart = restart(partition);
                note_rewrite(ghost, id, 0, restart.faults);
                lose(ghost, &mut replica, id, partition, 0, restart, find);
            }
            ghost.replicas.insert(id, Replica { damaged: replica.damaged, ..Replica::default() });
        }
    }
}
