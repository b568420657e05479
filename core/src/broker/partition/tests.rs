//! Replicas of one partition side by side, without brokers: the schedules of protocol.md E.1, under old and new rules.

use super::isr::Change;
use super::leader::{Found, Reader, Settled};
use super::*;
use crate::api::kafka::{
    AlterPartitionDataResponse, DivergingEpoch, EpochEndOffset, FetchPartition, FetchPartitionResponse,
    UpdateMetadataBroker, UpdateMetadataRequest,
};
use crate::api::storage::StoreOp;
use crate::broker::config::{Cleanup, Flush};
use crate::id::{BrokerEpoch, ProducerEpoch, ProducerId, TopicId};
use crate::machine::Ticket;
use crate::ordered::OrdMap;
use crate::record::batch::{BatchBuilder, NewRecord, Stamped, batches};
use crate::record::offset::Offset;
use crate::record::producer::ProducerStates;
use crate::rules::{IsrJoin, Truncation};
use crate::time::{Instant, Span, UnixMillis};
use bytes::{Bytes, BytesMut};

const A: BrokerId = BrokerId(1);
const B: BrokerId = BrokerId(2);
const C: BrokerId = BrokerId(3);
const D: BrokerId = BrokerId(4);

/// Replicas whose disks obey at once.
struct Replicas {
    now: Now,
    rules: Rules,
    settings: Settings,
    metadata: Metadata,
    min_isr: u32,
    assigned: Vec<BrokerId>,
    replicas: OrdMap<BrokerId, Partition>,
    logs: OrdMap<BrokerId, Vec<Stamped>>,
}

impl Replicas {
    fn new(assigned: &[BrokerId], rules: Rules) -> Replicas {
        let mut metadata = Metadata::default();
        let live = assigned.iter().map(|id| UpdateMetadataBroker { id: *id, ..UpdateMetadataBroker::default() });
        metadata.on_update(&UpdateMetadataRequest { live_brokers: live.collect(), ..UpdateMetadataRequest::default() });
        let mut replicas = Replicas {
            now: Now { at: Instant::ZERO + Span::secs(1), wall: UnixMillis(1_000_000) },
            rules,
            settings: Settings { flush: Flush::Kafka, ..Settings::default() },
            metadata,
            min_isr: 1,
            assigned: assigned.to_vec(),
            replicas: OrdMap::new(),
            logs: OrdMap::new(),
        };
        for id in assigned {
            let name = TopicPartition::new("orders", 0);
            let log = Log::create(name, TopicId([1; 16]), Ticket::default(), &mut Effects::default());
            replicas.replicas.insert(*id, Partition::new(log, TopicSettings::default()));
            replicas.logs.insert(*id, Vec::new());
        }
        replicas
    }

    fn with<T>(
        &mut self,
        id: BrokerId,
        run: impl FnOnce(&mut Partition, &Context<'_>, &mut Effects<Effect>) -> T,
    ) -> T {
        let mut fx = Effects::default();
        let at =
            Context { me: id, now: self.now, settings: &self.settings, rules: self.rules, metadata: &self.metadata };
        let partition = self.replicas.get_mut(&id).unwrap();
        partition.settings.min_insync_replicas = self.min_isr;
        let result = run(partition, &at, &mut fx);
        let disk = self.logs.get_mut(&id).unwrap();
        for effect in fx.effects {
            if let Effect::Store { op, .. } = effect {
                match op {
                    StoreOp::Append { batches } => disk.extend(batches),
                    StoreOp::TruncateLog { to } => disk.retain(|batch| batch.last < to),
                    StoreOp::RestartLog { .. } => disk.clear(),
                    _ => {}
                }
            }
        }
        if let Some(upto) = partition.log.ask_for_producers() {
            let mut states = ProducerStates::default();
            disk.iter().for_each(|batch| states.record(&batch.header()));
            partition.log.on_producers(states, upto);
        }
        partition.assert_sound(id);
        result
    }

    fn told(&self, leader: BrokerId, epoch: i32, isr: &[BrokerId]) -> LeaderAndIsrPartition {
        LeaderAndIsrPartition {
            leader,
            leader_epoch: LeaderEpoch(epoch),
            isr: isr.to_vec(),
            partition_epoch: PartitionEpoch(epoch * 10),
            replicas: self.assigned.clone(),
            ..LeaderAndIsrPartition::default()
        }
    }

    fn lead(&mut self, id: BrokerId, epoch: i32, isr: &[BrokerId]) {
        let told = self.told(id, epoch, isr);
        self.with(id, |partition, at, fx| partition.become_leader(&told, at, fx));
    }

    fn follow(&mut self, id: BrokerId, leader: BrokerId, epoch: i32) {
        let told = self.told(leader, epoch, &[leader]);
        self.with(id, |partition, at, fx| partition.become_follower(&told, at, fx));
    }

    fn produce(&mut self, leader: BrokerId, value: &str, acks: i16) -> Result<i64, ErrorCode> {
        let batch = BatchBuilder::default().record(NewRecord::new(1, None, Some(value.as_bytes()))).build();
        self.with(leader, |partition, at, fx| partition.append_produced(&batch, acks, at, fx)).map(|to| to.base.0)
    }

    /// The follower asks, the leader hears it, and if `answered` the follower hears the answer.
    fn fetch_and(&mut self, id: BrokerId, leader: BrokerId, answered: bool) {
        if self.replicas[&id].follower().is_some_and(|follower| follower.phase == follower::Phase::Truncating) {
            self.ask_epoch_end(id, leader);
        }
        let Some(sent) = self.with(id, |partition, at, _| partition.next_fetch(at)) else { return };
        let read = self.with(leader, |partition, at, fx| {
            let read = partition.read(&sent, Reader::Replica(id));
            if let Ok(read) = &read
                && let Found::Upto(_) = read.found
            {
                partition.on_follower_at((id, BrokerEpoch::NONE), &sent, read.end, at, fx);
            }
            read
        });
        if !answered {
            return;
        }
        let mut answer = FetchPartitionResponse::<Bytes>::default();
        match read {
            Err(error) => answer.error = error,
            Ok(read) => {
                answer.high_watermark = read.high_watermark;
                answer.log_start_offset = read.start;
                match read.found {
                    Found::Diverging(end) => {
                        answer.diverging_epoch =
                            DivergingEpoch { epoch: end.epoch, end_offset: end.end, ..DivergingEpoch::default() };
                    }
                    Found::Upto(upto) => {
                        let mut records = BytesMut::new();
                        for batch in &self.logs[&leader] {
                            if batch.last >= sent.fetch_offset && batch.base < upto {
                                records.extend_from_slice(&batch.to_bytes());
                            }
                        }
                        answer.records = Some(records.freeze());
                    }
                }
            }
        }
        self.with(id, |partition, at, fx| partition.on_fetched(&sent, answer, at, fx));
        let (start, end) = (self.replicas[&leader].log.start(), self.replicas[&leader].log.end());
        self.with(id, |partition, at, fx| {
            partition.on_leader_range(partition.leader_epoch(), Ok((start, end)), at, fx)
        });
    }

    fn fetch(&mut self, id: BrokerId, leader: BrokerId) {
        self.fetch_and(id, leader, true);
    }

    fn ask_epoch_end(&mut self, id: BrokerId, leader: BrokerId) {
        let epoch = self.replicas[&id].log.epochs().latest();
        let found = self.replicas[&leader].log.end_of_epoch(epoch);
        let answer = EpochEndOffset {
            leader_epoch: found.map_or(LeaderEpoch::NONE, |end| end.epoch),
            end_offset: found.map_or(Offset(-1), |end| end.end),
            ..EpochEndOffset::default()
        };
        self.with(id, |partition, at, fx| partition.on_epoch_end(partition.leader_epoch(), &answer, at, fx));
    }

    fn high_watermark(&self, id: BrokerId) -> i64 {
        self.replicas[&id].log.high_watermark().0
    }

    fn end(&self, id: BrokerId) -> i64 {
        self.replicas[&id].log.end().0
    }

    /// The log as `x@0(e1) y@1(e2)`.
    fn show(&self, id: BrokerId) -> String {
        let mut shown = Vec::new();
        for stamped in &self.logs[&id] {
            for batch in batches(stamped.to_bytes()).flatten() {
                for record in batch.records().unwrap().flatten() {
                    let value = record.value.unwrap_or_default();
                    let value = String::from_utf8_lossy(&value).into_owned();
                    shown.push(format!("{value}@{}(e{})", record.offset, batch.header.epoch));
                }
            }
        }
        shown.join(" ")
    }
}

fn truncation(rule: Truncation) -> Rules {
    Rules { truncation: rule, ..Rules::default() }
}

/// K1, KIP-101: r1 is acknowledged; A is cut to its own lagging high watermark, then elected.
fn k1(rule: Truncation) -> Replicas {
    let mut world = Replicas::new(&[C, A, B], truncation(rule));
    world.lead(B, 0, &[A, B, C]);
    world.follow(A, B, 0);
    world.follow(C, B, 0);
    world.produce(B, "r0", -1).unwrap();
    for id in [A, C, A, C, A] {
        world.fetch(id, B);
    }
    world.produce(B, "r1", -1).unwrap();
    world.fetch(A, B);
    world.fetch(C, B);
    // Both say that they have r1; A does not hear that it is committed.
    world.fetch_and(A, B, false);
    world.fetch(C, B);
    assert_eq!((world.high_watermark(B), world.high_watermark(A)), (2, 1));
    world.lead(C, 1, &[A, B, C]);
    world.follow(A, C, 1);
    world.lead(A, 2, &[A, B]);
    world.follow(B, A, 2);
    world.fetch(B, A);
    world
}

#[test]
fn k1_a_committed_record_is_lost_by_truncation_to_the_high_watermark_only() {
    let old = k1(Truncation::HighWatermark);
    assert_eq!((old.show(A), old.show(B)), ("r0@0(e0)".to_owned(), "r0@0(e0)".to_owned()), "r1 is gone");
    for rule in [Truncation::LeaderEpoch, Truncation::LeaderEpochQuery] {
        let new = k1(rule);
        assert_eq!((new.show(A), new.show(B)), ("r0@0(e0) r1@1(e0)".to_owned(), "r0@0(e0) r1@1(e0)".to_owned()));
    }
}

/// A leads, misses the epoch in which C led, and leads again. What it knew of B is of no use: C has had B cut its log.
#[test]
fn a_leader_that_missed_an_epoch_forgets_how_far_its_followers_were() {
    let mut world = Replicas::new(&[A, B, C], Rules::default());
    world.lead(A, 0, &[A, B, C]);
    world.follow(B, A, 0);
    world.produce(A, "x", 1).unwrap();
    world.fetch(B, A);
    world.fetch_and(B, A, false);
    world.lead(C, 1, &[A, B, C]);
    world.follow(B, C, 1);
    world.fetch(B, C);
    assert_eq!(world.show(B), "", "C never had x");
    world.lead(A, 2, &[A, B]);
    assert_eq!(world.high_watermark(A), 0, "B says first where its log ends");
    world.follow(B, A, 2);
    for _ in 0..2 {
        world.fetch(B, A);
    }
    assert_eq!((world.high_watermark(A), world.show(B)), (1, "x@0(e0)".to_owned()));
}

/// What an earlier leader says of its epochs settles nothing with the present one.
#[test]
fn an_answer_of_an_earlier_epoch_is_dropped() {
    let mut world = Replicas::new(&[A, B, C], truncation(Truncation::LeaderEpochQuery));
    world.lead(A, 0, &[A, B, C]);
    world.follow(B, A, 0);
    world.produce(A, "x", 1).unwrap();
    world.fetch(B, A);
    world.follow(B, A, 1);
    let late = EpochEndOffset { leader_epoch: LeaderEpoch(0), end_offset: Offset(0), ..EpochEndOffset::default() };
    world.follow(B, C, 2);
    world.with(B, |partition, at, fx| partition.on_epoch_end(LeaderEpoch(1), &late, at, fx));
    assert_eq!(world.show(B), "x@0(e0)");
    assert!(world.replicas[&B].follower().is_some_and(|follower| follower.phase == follower::Phase::Truncating));
}

/// K3, KIP-279: two quick elections; B has y of an epoch that A never saw.
fn k3(rule: Truncation) -> Replicas {
    let mut world = Replicas::new(&[B, A], truncation(rule));
    world.lead(A, 1, &[A, B]);
    world.produce(A, "x", 1).unwrap();
    world.lead(B, 2, &[A, B]);
    world.produce(B, "y", 1).unwrap();
    world.lead(A, 3, &[A]);
    world.produce(A, "z", 1).unwrap();
    world.follow(B, A, 3);
    for _ in 0..4 {
        world.fetch(B, A);
    }
    world
}

#[test]
fn k3_a_follower_keeps_foreign_records_when_the_answer_has_no_epoch() {
    let old = k3(Truncation::OffsetOnly);
    assert_eq!((old.show(A), old.show(B)), ("x@0(e1) z@1(e3)".to_owned(), "y@0(e2) z@1(e3)".to_owned()));
    for rule in [Truncation::LeaderEpoch, Truncation::LeaderEpochQuery] {
        let new = k3(rule);
        assert_eq!(new.show(B), "x@0(e1) z@1(e3)");
        assert_eq!(new.show(A), new.show(B));
    }
}

/// K5, KAFKA-7128: C fetches at 1, where the new leader's lagging high watermark already is; r1 was committed.
fn k5(rule: IsrJoin) -> bool {
    let mut world = Replicas::new(&[A, B, C, D], Rules { isr_join: rule, ..Rules::default() });
    world.lead(A, 1, &[A, B, D]);
    for id in [B, C, D] {
        world.follow(id, A, 1);
    }
    world.produce(A, "r0", -1).unwrap();
    world.fetch(C, A);
    world.produce(A, "r1", -1).unwrap();
    world.fetch(B, A);
    world.fetch(D, A);
    world.lead(B, 2, &[B, D]);
    world.follow(C, B, 2);
    assert_eq!((world.end(B), world.high_watermark(B), world.end(C)), (2, 0, 1));
    world.fetch_and(C, B, false);
    world.with(B, |partition, at, _| partition.may_expand(C, at))
}

#[test]
fn k5_joining_needs_the_start_of_the_epoch() {
    assert!(k5(IsrJoin::HighWatermark), "the old rule lets C in without r1");
    assert!(!k5(IsrJoin::EpochStart));
}

/// At the end of a reassignment the leader hears of the target before the old replica leaves the ISR (C.3).
#[test]
fn a_replica_that_is_reassigned_away_counts_until_it_leaves_the_isr() {
    let mut world = Replicas::new(&[A, B, C], Rules::default());
    world.lead(A, 1, &[A, B, C]);
    world.follow(B, A, 1);
    world.follow(C, A, 1);
    world.produce(A, "x", -1).unwrap();
    world.fetch(B, A);
    world.fetch(B, A);
    world.assigned = vec![A, B];
    world.lead(A, 2, &[A, B, C]);
    world.follow(B, A, 2);
    world.fetch(B, A);
    assert_eq!(world.high_watermark(A), 0, "C, in the ISR, does not have x");
    world.lead(A, 3, &[A, B]);
    assert_eq!(world.high_watermark(A), 1);
}

#[test]
fn below_min_isr_nothing_is_promised_and_the_high_watermark_rests() {
    let mut world = Replicas::new(&[A, B], Rules::default());
    world.min_isr = 2;
    world.lead(A, 1, &[A]);
    assert_eq!(world.produce(A, "x", -1), Err(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert_eq!(world.produce(A, "y", 1), Ok(0));
    assert_eq!((world.end(A), world.high_watermark(A)), (1, 0));
}

#[test]
fn an_isr_that_shrank_after_the_append_promises_nothing() {
    let mut world = Replicas::new(&[A, B], Rules::default());
    world.lead(A, 1, &[A, B]);
    world.follow(B, A, 1);
    world.produce(A, "x", -1).unwrap();
    assert_eq!(world.replicas[&A].is_acknowledged(Offset(0)), None);
    world.fetch(B, A);
    world.fetch(B, A);
    assert_eq!(world.replicas[&A].is_acknowledged(Offset(0)), Some(Ok(())));
    world.min_isr = 2;
    world.with(A, |partition, at, fx| {
        partition.propose(Change::Shrink(vec![B]), fx);
        let accepted = AlterPartitionDataResponse {
            leader_epoch: LeaderEpoch(1),
            isr: vec![A],
            partition_epoch: PartitionEpoch(11),
            ..AlterPartitionDataResponse::default()
        };
        assert_eq!(partition.on_alter_answer(&accepted, at, fx), Settled::Done);
    });
    let told = world.replicas[&A].is_acknowledged(Offset(0));
    assert_eq!(told, Some(Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)));
}

#[test]
fn what_a_refused_proposal_leaves_behind() {
    let outcome = |error: ErrorCode| {
        let mut world = Replicas::new(&[A, B, C], Rules::default());
        world.lead(A, 1, &[A, B]);
        world.with(A, |partition, at, fx| {
            partition.propose(Change::Expand(C), fx);
            let refused = AlterPartitionDataResponse { error, ..AlterPartitionDataResponse::default() };
            let settled = partition.on_alter_answer(&refused, at, fx);
            (settled, partition.leader().unwrap().isr.maximal_len())
        })
    };
    assert_eq!(outcome(ErrorCode::INVALID_UPDATE_VERSION), (Settled::Done, 3), "it may have been applied");
    assert_eq!(outcome(ErrorCode::FENCED_LEADER_EPOCH), (Settled::Done, 3));
    assert_eq!(outcome(ErrorCode::INELIGIBLE_REPLICA), (Settled::Done, 2), "it was not");
    assert_eq!(outcome(ErrorCode::UNKNOWN_SERVER_ERROR), (Settled::Resend, 3));
}

#[test]
fn a_batch_sent_twice_lands_once_also_at_the_next_leader() {
    let mut world = Replicas::new(&[A, B], Rules::default());
    world.lead(A, 1, &[A, B]);
    world.follow(B, A, 1);
    let batch = |sequence: i32| {
        let builder = BatchBuilder::default().idempotent(ProducerId(7), ProducerEpoch(0), sequence);
        builder.record(NewRecord::new(1, None, Some(b"x"))).build()
    };
    let append = |world: &mut Replicas, to: BrokerId, sequence: i32| {
        let records = batch(sequence);
        world.with(to, |partition, at, fx| partition.append_produced(&records, -1, at, fx))
    };
    assert_eq!(append(&mut world, A, 0).map(|at| (at.base.0, at.duplicate)), Ok((0, false)));
    assert_eq!(append(&mut world, A, 1).map(|at| (at.base.0, at.duplicate)), Ok((1, false)));
    assert_eq!(append(&mut world, A, 3), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    world.fetch(B, A);
    world.lead(B, 2, &[A, B]);
    assert_eq!(append(&mut world, B, 1).map(|at| (at.base.0, at.duplicate)), Ok((1, true)));
    assert_eq!(world.end(B), 2);
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let mut world = Replicas::new(&[A], Rules::default());
    world.lead(A, 1, &[A]);
    let append = |world: &mut Replicas, key: Option<&[u8]>| {
        let records = BatchBuilder::default().record(NewRecord::new(1, key, Some(b"x"))).build();
        world.with(A, |partition, at, fx| {
            partition.settings.cleanup_policy = Cleanup::Compact;
            partition.append_produced(&records, -1, at, fx).map(|to| to.base.0)
        })
    };
    assert_eq!(append(&mut world, None), Err(ErrorCode::INVALID_RECORD));
    assert_eq!(append(&mut world, Some(b"k")), Ok(0));
}

/// LogValidator.validateTimestamp: one record too old, or too far ahead, and nothing of the batch is taken.
#[test]
fn records_of_another_time_than_the_topic_allows_are_refused() {
    let mut world = Replicas::new(&[A], Rules::default());
    world.lead(A, 1, &[A]);
    world.now.wall = UnixMillis(1_000);
    let mut append = |settings: &TopicSettings, timestamps: &[i64]| {
        let record = |at: &i64| NewRecord::new(*at, None, Some(b"x"));
        let records = BatchBuilder::default().records(timestamps.iter().map(record)).build();
        world.with(A, |partition, at, fx| {
            partition.settings = settings.clone();
            partition.append_produced(&records, 1, at, fx).map(|to| to.base.0)
        })
    };
    let anything = TopicSettings::default();
    let near = TopicSettings { message_timestamp_before_max: 10, message_timestamp_after_max: 20, ..anything.clone() };
    assert_eq!(append(&near, &[990, 1_020]), Ok(0));
    assert_eq!(append(&near, &[990, 989, 1_000]), Err(ErrorCode::INVALID_TIMESTAMP));
    assert_eq!(append(&near, &[1_021]), Err(ErrorCode::INVALID_TIMESTAMP));
    assert_eq!(append(&near, &[-1]), Ok(2));
    assert_eq!(append(&anything, &[0, 9_000]), Ok(3));
}

/// A segment's age is that of its records: whoever copies records of last year gets one segment for them, not one each.
#[test]
fn records_of_long_ago_share_a_segment() {
    let mut log =
        Log::create(TopicPartition::new("orders", 0), TopicId([1; 16]), Ticket::default(), &mut Effects::default());
    let settings = TopicSettings { segment_ms: 1_000, ..TopicSettings::default() };
    let mut rolls = |timestamp: i64| {
        let built = BatchBuilder::default().record(NewRecord::new(timestamp, None, None)).build();
        let batch = batches(built).next().unwrap().unwrap().stamp(log.end(), LeaderEpoch(1));
        let mut fx = Effects::default();
        log.append(vec![batch], &settings, &mut fx);
        fx.effects.iter().any(|effect| matches!(effect, Effect::Store { op: StoreOp::Roll { .. }, .. }))
    };
    assert_eq!([0, 10, 1_000, 5, 1_001, 1_500].map(&mut rolls), [false, false, false, false, true, false]);
}

#[test]
fn a_fresh_leader_does_not_say_where_its_log_ends() {
    let mut world = Replicas::new(&[A, B], Rules::default());
    world.lead(A, 1, &[A, B]);
    world.follow(B, A, 1);
    world.produce(A, "x", -1).unwrap();
    world.fetch(B, A);
    world.lead(B, 2, &[A, B]);
    assert!(!world.replicas[&B].latest_is_known(), "its high watermark 0 lags the start of its epoch, 1");
    world.follow(A, B, 2);
    world.fetch(A, B);
    assert!(world.replicas[&B].latest_is_known());
}

#[test]
fn fetches_of_another_epoch_are_fenced() {
    let mut world = Replicas::new(&[A, B], Rules::default());
    world.lead(A, 3, &[A, B]);
    let read = |epoch: i32, reader: Reader| {
        let wanted = FetchPartition { current_leader_epoch: LeaderEpoch(epoch), ..FetchPartition::default() };
        world.replicas[&A].read(&wanted, reader).err()
    };
    let consumer = Reader::Consumer { committed: false, at_leader: true };
    assert_eq!(read(2, Reader::Replica(B)), Some(ErrorCode::FENCED_LEADER_EPOCH));
    assert_eq!(read(4, consumer), Some(ErrorCode::UNKNOWN_LEADER_EPOCH));
    assert_eq!(read(3, Reader::Replica(C)), Some(ErrorCode::UNKNOWN_LEADER_EPOCH), "C is not assigned");
    assert_eq!(read(-1, consumer), None, "a client that knows no epochs");
}

#[test]
fn with_flush_batch_the_leader_counts_what_is_on_its_disk() {
    let mut world = Replicas::new(&[A], Rules::default());
    world.settings.flush = Flush::Batch;
    world.lead(A, 1, &[A]);
    world.produce(A, "x", -1).unwrap();
    assert_eq!((world.end(A), world.high_watermark(A)), (1, 0), "appended, not durable");
    world.with(A, |partition, at, fx| {
        assert!(partition.log.on_synced(Ticket(1)));
        assert!(partition.advance_high_watermark(at, fx));
    });
    assert_eq!(world.high_watermark(A), 1);
}
