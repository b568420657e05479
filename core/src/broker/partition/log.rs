//! One replica's log as its broker knows it: start ≤ high watermark ≤ end, segments, epochs and producers.
//!
//! Holds offsets and counters, never payload: what is read is pointed at with a [`LogRange`]. It does what it is told;
//! whether to append, cut or roll forward the high watermark is decided by leader and follower.

use crate::api::storage::{Lane, PartitionImage, SegmentInfo, StoreOp};
use crate::broker::config::{Cleanup, Flush, TopicSettings};
use crate::id::{LeaderEpoch, TopicId, TopicPartition};
use crate::machine::{Effects, Ticket};
use crate::node::Effect;
use crate::note::broker::{BrokerNote, Cause};
use crate::queue::Queue;
use crate::record::batch::Stamped;
use crate::record::epoch_cache::{EpochCache, EpochEnd};
use crate::record::offset::{LogRange, Offset};
use crate::record::producer::ProducerStates;
use crate::time::{Span, UnixMillis};

/// How many of the newest batches are remembered one by one.
const RECENT: usize = 64;

/// What is remembered of a batch that was appended lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RecentBatch {
    base: Offset,
    last: Offset,
    epoch: LeaderEpoch,
    bytes: u32,
}

/// The log was cut, so that the producers' states may count what is gone: the disk is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reload {
    No,
    Wanted,
    Asked(Offset),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log {
    pub partition: TopicPartition,
    pub topic_id: TopicId,

    /// The first offset a reader may ask for.
    start: Offset,
    /// What is committed lies below.
    high_watermark: Offset,
    /// The offset the next record gets (the log end offset).
    end: Offset,
    /// What lies below is on the disk, whatever happens to the power.
    durable: Offset,
    /// It went on after `end` with records that were promised, and recovery could not read them.
    damaged: bool,

    /// Oldest first; the last is appended to.
    segments: Queue<SegmentInfo>,
    epochs: EpochCache,
    producers: ProducerStates,
    reload: Reload,
    /// The first timestamp of the active segment, from which its age counts; −1 if none was seen.
    rolls_after: i64,
    /// The newest batches, oldest first.
    recent: Queue<RecentBatch>,

    last_ticket: Ticket,
    /// Syncs asked for, and up to where each makes the log durable.
    syncing: Queue<(Ticket, Offset)>,
}

impl Log {
    /// An empty log, created on the disk. Its tickets go on after those of an earlier log of that name.
    pub fn create(partition: TopicPartition, topic_id: TopicId, after: Ticket, fx: &mut Effects<Effect>) -> Log {
        let lane = Lane::Log(partition.clone());
        fx.emit(Effect::Store { lane, op: StoreOp::CreateLog { topic_id } });
        Log {
            partition,
            topic_id,
            start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            end: Offset::ZERO,
            durable: Offset::ZERO,
            damaged: false,
            segments: Queue::from([empty_segment(Offset::ZERO)]),
            epochs: EpochCache::default(),
            producers: ProducerStates::default(),
            reload: Reload::No,
            rolls_after: -1,
            recent: Queue::new(),
            last_ticket: after,
            syncing: Queue::new(),
        }
    }

    /// The log that recovery found. Its high watermark is the checkpointed one, put inside the log (C.7).
    pub fn recover(partition: TopicPartition, image: PartitionImage) -> Log {
        let (start, end) = (image.log_start, image.log_end);
        assert!(start <= end, "{partition}: a log from {start} to {end}");
        let mut segments: Queue<SegmentInfo> = image.segments.into();
        if segments.is_empty() {
            segments.push_back(empty_segment(end));
        }
        Log {
            partition,
            topic_id: image.topic_id,
            start,
            high_watermark: image.high_watermark.clamp(start, end),
            end,
            durable: end,
            damaged: image.damaged,
            segments,
            epochs: image.epochs,
            producers: image.producers,
            reload: Reload::No,
            rolls_after: -1,
            recent: Queue::new(),
            last_ticket: Ticket::default(),
            syncing: Queue::new(),
        }
    }

    pub fn start(&self) -> Offset {
        self.start
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Below it every transaction is decided: what `read_committed` sees ends here (C.8).
    pub fn last_stable(&self) -> Offset {
        let unstable = self.producers.first_unstable(self.high_watermark);
        unstable.map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// The log end offset.
    pub fn end(&self) -> Offset {
        self.end
    }

    pub fn durable(&self) -> Offset {
        self.durable
    }

    /// Whether it lacks records that were promised: neither a leader's log nor an in-sync follower's.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The replica is out of the ISR: nobody counts on what is gone, and what is left goes on from here.
    pub fn cut_damage(&mut self, fx: &mut Effects<Effect>) {
        if core::mem::take(&mut self.damaged) {
            let (partition, from) = (self.partition.clone(), self.end);
            fx.note(BrokerNote::DamageCut { partition, from });
            fx.emit(Effect::Store { lane: self.lane(), op: StoreOp::TruncateLog { to: from } });
        }
    }

    /// How far this replica may say that it holds the log.
    pub fn counted_end(&self, flush: Flush) -> Offset {
        match flush {
            Flush::Batch => self.durable,
            Flush::Kafka => self.end,
        }
    }

    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    pub fn segments(&self) -> impl Iterator<Item = &SegmentInfo> {
        self.segments.iter()
    }

    /// Where `epoch` ends here.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_offset_for(epoch, self.end)
    }

    /// Bytes of batches from the one that holds `from` up to `upto`, as far back as batches are remembered one by one;
    /// what is older counts as more than anybody asks for.
    pub fn bytes_between(&self, from: Offset, upto: Offset) -> u64 {
        if from >= upto {
            return 0;
        }
        if self.recent.front().is_none_or(|oldest| oldest.base > from) {
            return u64::from(u32::MAX);
        }
        let inside = self.recent.iter().rev().skip_while(|batch| batch.base >= upto);
        inside.take_while(|batch| batch.last >= from).map(|batch| u64::from(batch.bytes)).sum()
    }

    pub fn range(&self, from: Offset, upto: Offset, max_bytes: u32) -> LogRange {
        LogRange { partition: self.partition.clone(), from, upto, max_bytes }
    }

    /// Appends batches that continue the log (a follower's may leave gaps), rolling first where that is due.
    pub fn append(&mut self, batches: Vec<Stamped>, settings: &TopicSettings, fx: &mut Effects<Effect>) {
        let mut run = Vec::with_capacity(batches.len());
        let mut new_epoch = false;
        for batch in batches {
            assert!(batch.base >= self.end, "a batch at {} appended to a log that ends at {}", batch.base, self.end);
            let size = batch.size();
            if self.must_roll(size, batch.max_timestamp, settings) {
                self.store_append(core::mem::take(&mut run), fx);
                self.roll(fx);
            }
            new_epoch |= self.epochs.assign(batch.epoch, batch.base);
            let header = batch.header();
            if !header.attributes.is_control() {
                self.producers.record(&header);
            } else if let Some((kind, coordinator)) = batch.marker() {
                self.producers.record_marker(&header, kind, coordinator);
            }
            let active = self.segments.back_mut().expect("a log has an active segment");
            active.bytes += size;
            active.max_timestamp = active.max_timestamp.max(batch.max_timestamp);
            if self.rolls_after < 0 {
                self.rolls_after = batch.max_timestamp;
            }
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            let (base, last) = (batch.base, batch.last);
            self.recent.push_back(RecentBatch { base, last, epoch: batch.epoch, bytes: size as u32 });
            self.end = last.next();
            run.push(batch);
        }
        self.store_append(run, fx);
        if new_epoch {
            self.checkpoint_epochs(fx);
        }
    }

    fn store_append(&self, batches: Vec<Stamped>, fx: &mut Effects<Effect>) {
        if !batches.is_empty() {
            fx.emit(Effect::Store { lane: self.lane(), op: StoreOp::Append { batches } });
        }
    }

    /// Asks that what was appended be made durable.
    pub fn sync(&mut self, fx: &mut Effects<Effect>) {
        if self.durable < self.end && self.syncing.back().is_none_or(|(_, upto)| *upto < self.end) {
            let ticket = self.last_ticket.take_next();
            self.syncing.push_back((ticket, self.end));
            fx.emit(Effect::Sync { lane: self.lane(), ticket });
        }
    }

    /// The disk answers. Returns whether more of the log is durable now.
    pub fn on_synced(&mut self, upto: Ticket) -> bool {
        let before = self.durable;
        while let Some((_, end)) = self.syncing.pop_front_if(|(ticket, _)| *ticket <= upto) {
            self.durable = self.durable.max(end);
        }
        self.durable > before
    }

    /// The producers' states have to be read again, because the log was cut.
    pub fn must_reload_producers(&self) -> bool {
        self.reload != Reload::No
    }

    /// Up to where the disk is to be asked for the producers' states, if it is.
    pub fn ask_for_producers(&mut self) -> Option<Offset> {
        if self.reload != Reload::Wanted {
            return None;
        }
        self.reload = Reload::Asked(self.end);
        Some(self.end)
    }

    /// What the disk says of the producers below `upto`; of no use if the log was cut again meanwhile. (Nothing
    /// is appended while they are awaited.)
    pub fn on_producers(&mut self, states: ProducerStates, upto: Offset) {
        if self.reload == Reload::Asked(upto) {
            self.producers = states;
            self.reload = Reload::No;
        }
    }

    /// The leader's: forward only. Returns whether it moved.
    pub fn advance_high_watermark(&mut self, to: Offset, fx: &mut Effects<Effect>) -> bool {
        let to = to.min(self.end);
        if to <= self.high_watermark {
            return false;
        }
        self.move_high_watermark(to, fx);
        true
    }

    /// The follower's: the leader's, put inside this log; it may go back (C.7). Returns whether it moved.
    pub fn follow_high_watermark(&mut self, leader: Offset, fx: &mut Effects<Effect>) -> bool {
        let to = leader.clamp(self.start, self.end);
        let moved = to != self.high_watermark;
        if moved {
            self.move_high_watermark(to, fx);
        }
        moved
    }

    fn move_high_watermark(&mut self, to: Offset, fx: &mut Effects<Effect>) {
        self.high_watermark = to;
        self.producers.on_high_watermark(to);
        fx.note(BrokerNote::HighWatermark { partition: self.partition.clone(), offset: to });
    }

    /// A leader's epoch begins here, also without a record (KAFKA-7415).
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch, fx: &mut Effects<Effect>) {
        if self.epochs.assign(epoch, self.end) {
            self.checkpoint_epochs(fx);
        }
    }

    /// Cuts the log so that it ends at `to` (or leaves it, if it ends before). Epochs that would begin there go in any
    /// case (KAFKA-10706).
    pub fn truncate(&mut self, to: Offset, cause: Cause, fx: &mut Effects<Effect>) {
        if to < self.start {
            return self.restart(to, cause, fx);
        }
        let epochs_changed = self.epochs.truncate_from_end(to);
        if to < self.end {
            let (partition, from) = (self.partition.clone(), self.end);
            fx.note(BrokerNote::Truncated { partition, from, to, cause });
            fx.emit(Effect::Store { lane: self.lane(), op: StoreOp::TruncateLog { to } });
            self.cut_counters(to);
        }
        if epochs_changed {
            self.checkpoint_epochs(fx);
        }
    }

    /// A batch that straddles `to` is cut with what follows it, so the end may come to lie before `to`.
    fn cut_counters(&mut self, to: Offset) {
        let mut end = to;
        while let Some(batch) = self.recent.pop_back_if(|batch| batch.last >= to) {
            end = end.min(batch.base);
            let active = self.segments.back_mut().expect("a log has an active segment");
            active.bytes = active.bytes.saturating_sub(u64::from(batch.bytes));
            if active.base > batch.base && self.segments.len() > 1 {
                self.segments.pop_back();
            }
        }
        while self.segments.len() > 1 && self.segments.back().is_some_and(|segment| segment.base >= to) {
            self.segments.pop_back();
        }
        self.end = end;
        self.durable = self.durable.min(end);
        self.high_watermark = self.high_watermark.min(end);
        for (_, upto) in &mut self.syncing {
            *upto = (*upto).min(end);
        }
        self.reload = Reload::Wanted;
    }

    /// Drops everything; the log goes on at `start`.
    pub fn restart(&mut self, start: Offset, cause: Cause, fx: &mut Effects<Effect>) {
        fx.note(BrokerNote::Truncated { partition: self.partition.clone(), from: self.end, to: start, cause });
        fx.emit(Effect::Store { lane: self.lane(), op: StoreOp::RestartLog { start } });
        (self.start, self.end, self.high_watermark, self.durable) = (start, start, start, start);
        self.segments = Queue::from([empty_segment(start)]);
        self.recent.clear();
        self.producers = ProducerStates::default();
        self.reload = Reload::No;
        for (_, upto) in &mut self.syncing {
            *upto = start;
        }
        self.epochs.clear();
        self.checkpoint_epochs(fx);
    }

    /// The leader deleted what lies below `start`; so do we.
    pub fn advance_start(&mut self, start: Offset, fx: &mut Effects<Effect>) {
        let start = start.min(self.high_watermark);
        if start > self.start {
            self.drop_below(start, fx);
        }
    }

    /// Drops segments that are too old or too many (C.8): only such as lie wholly below the high watermark, and never
    /// the one appended to. (An active segment that is itself too old is rolled first.)
    pub fn retain(&mut self, settings: &TopicSettings, now: UnixMillis, fx: &mut Effects<Effect>) {
        if self.damaged || matches!(settings.cleanup_policy, Cleanup::Compact | Cleanup::Nothing) {
            return;
        }
        let active_expired = self.segments.back().is_some_and(|active| self.is_expired(active, settings, now));
        if active_expired && self.high_watermark == self.end && self.end > self.start {
            self.roll(fx);
        }
        let keep_bytes = settings.retention_bytes;
        let mut bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let mut start = self.start;
        for (segment, next) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            let too_many = keep_bytes >= 0 && bytes.saturating_sub(segment.bytes) >= keep_bytes as u64;
            if next.base > self.high_watermark || !(too_many || self.is_expired(segment, settings, now)) {
                break;
            }
            bytes -= segment.bytes;
            start = next.base;
        }
        if start > self.start {
            self.drop_below(start, fx);
        }
    }

    fn is_expired(&self, segment: &SegmentInfo, settings: &TopicSettings, now: UnixMillis) -> bool {
        let has_time = segment.bytes > 0 && segment.max_timestamp >= 0;
        settings.retention_ms >= 0 && has_time && now.0.saturating_sub(segment.max_timestamp) > settings.retention_ms
    }

    fn drop_below(&mut self, start: Offset, fx: &mut Effects<Effect>) {
        while self.segments.get(1).is_some_and(|next| next.base <= start) {
            self.segments.pop_front();
        }
        while self.recent.pop_front_if(|batch| batch.last < start).is_some() {}
        self.start = start;
        self.high_watermark = self.high_watermark.max(start);
        fx.note(BrokerNote::Retained { partition: self.partition.clone(), start });
        fx.emit(Effect::Store { lane: self.lane(), op: StoreOp::DropSegments { to: start } });
        if self.epochs.truncate_from_start(start) {
            self.checkpoint_epochs(fx);
        }
    }

    /// Whether `start` lies inside a segment, so that it has to be written down.
    pub fn starts_inside_segment(&self) -> bool {
        self.segments.front().is_some_and(|first| first.base < self.start)
    }

    pub fn expire_producers(&mut self, now: UnixMillis, expiration: Span) {
        self.producers.expire(now, expiration);
    }

    /// Deletes the log from the disk. Returns its last ticket.
    pub fn delete(self, fx: &mut Effects<Effect>) -> Ticket {
        fx.emit(Effect::Store { lane: self.lane(), op: StoreOp::DeleteLog });
        self.last_ticket
    }

    /// A segment is as old as what is to be written is younger than its first batch, by their own timestamps: records
    /// of long ago, written today, do not get a segment each.
    fn must_roll(&self, size: u64, timestamp: i64, settings: &TopicSettings) -> bool {
        let active = self.segments.back().expect("a log has an active segment");
        if active.bytes == 0 {
            return false;
        }
        let age = timestamp.saturating_sub(self.rolls_after);
        active.bytes + size > settings.segment_bytes.max(1) as u64
            || (self.rolls_after >= 0 && age > settings.segment_ms)
    }

    fn roll(&mut self, fx: &mut Effects<Effect>) {
        let base = self.end;
        fx.note(BrokerNote::Rolled { partition: self.partition.clone(), base });
        fx.emit(Effect::Store { lane: self.lane(), op: StoreOp::Roll { base } });
        self.segments.push_back(empty_segment(base));
        self.rolls_after = -1;
        self.snapshot_producers(fx);
    }

    /// Writes the producers' state down, as at a roll and at an orderly stop; not while it may count what was cut: a start
    /// would believe it, and take for written what a producer sends again.
    pub fn snapshot_producers(&self, fx: &mut Effects<Effect>) {
        if self.must_reload_producers() {
            return;
        }
        let snapshot = self.producers.snapshot(self.end);
        let op = StoreOp::Producers { partition: self.partition.clone(), snapshot };
        fx.emit(Effect::Store { lane: Lane::Checkpoint, op });
    }

    fn checkpoint_epochs(&self, fx: &mut Effects<Effect>) {
        let entries = self.epochs.entries().to_vec();
        let op = StoreOp::LeaderEpochs { partition: self.partition.clone(), entries };
        fx.emit(Effect::Store { lane: Lane::Checkpoint, op });
    }

    fn lane(&self) -> Lane {
        Lane::Log(self.partition.clone())
    }

    /// The number line every step must leave behind (LOG-1).
    pub fn assert_ordered(&self) {
        let (start, hw, durable, end) = (self.start, self.high_watermark, self.durable, self.end);
        assert!(start <= hw && hw <= end && durable <= end, "{}: {start} <= {hw} <= {end}, {durable}", self.partition);
    }
}

fn empty_segment(base: Offset) -> SegmentInfo {
    SegmentInfo { base, bytes: 0, max_timestamp: -1 }
}

#[cfg(test)]
mod tests;
