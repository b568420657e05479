//! A log by itself, on a disk that obeys: when it rolls, what it drops, and how far a committed reader may see.

use super::*;
use crate::id::{ProducerEpoch, ProducerId};
use crate::record::batch::build::control_batch;
use crate::record::batch::{Batch, BatchBuilder, ControlKind, NewRecord};

struct Bench {
    log: Log,
    settings: TopicSettings,
    fx: Effects<Effect>,
}

impl Bench {
    fn new(settings: TopicSettings) -> Bench {
        let mut fx = Effects::default();
        let name = TopicPartition::new("orders", 0);
        let log = Log::create(name, TopicId([1; 16]), Ticket::default(), &mut fx);
        fx.effects.clear();
        Bench { log, settings, fx }
    }

    /// Appends one sealed batch.
    fn append(&mut self, batch: &[u8]) {
        let batch = Batch::take(&batch.to_vec().into()).unwrap().stamp(self.log.end(), LeaderEpoch(1));
        self.log.append(vec![batch], &self.settings, &mut self.fx);
    }

    /// Appends a record that was made at this time.
    fn record_at(&mut self, millis: i64) {
        let batch = BatchBuilder::default().record(NewRecord::new(millis, None, Some(b"x"))).build();
        self.append(&batch);
    }

    fn commit(&mut self, upto: i64) {
        self.log.advance_high_watermark(Offset(upto), &mut self.fx);
    }

    fn retain_at(&mut self, millis: i64) {
        self.log.retain(&self.settings, UnixMillis(millis), &mut self.fx);
    }

    fn bases(&self) -> Vec<i64> {
        self.log.segments().map(|segment| segment.base.0).collect()
    }

    /// What the disk was told to roll or drop since last asked.
    fn told(&mut self) -> Vec<String> {
        let told = self.fx.effects.drain(..).filter_map(|effect| match effect {
            Effect::Store { op: StoreOp::Roll { base }, .. } => Some(format!("roll {base}")),
            Effect::Store { op: StoreOp::DropSegments { to }, .. } => Some(format!("drop {to}")),
            _ => None,
        });
        told.collect()
    }
}

fn settings() -> TopicSettings {
    TopicSettings { retention_ms: -1, retention_bytes: -1, segment_ms: i64::MAX, ..TopicSettings::default() }
}

/// Bytes of a batch as [`Bench::record_at`] makes them.
fn batch_bytes() -> i32 {
    BatchBuilder::default().record(NewRecord::new(0, None, Some(b"x"))).build().len() as i32
}

#[test]
fn a_segment_rolls_when_it_is_full_or_old() {
    let mut full = Bench::new(TopicSettings { segment_bytes: 2 * batch_bytes(), ..settings() });
    (0..5).for_each(|_| full.record_at(0));
    assert_eq!((full.bases(), full.told()), (vec![0, 2, 4], vec!["roll 2".to_owned(), "roll 4".to_owned()]));

    // Its age counts from its first record, and only an append looks at it.
    let mut old = Bench::new(TopicSettings { segment_ms: 1_000, ..settings() });
    for millis in [5_000, 5_900, 6_000, 6_001, 9_000] {
        old.record_at(millis);
    }
    assert_eq!((old.bases(), old.told()), (vec![0, 3, 4], vec!["roll 3".to_owned(), "roll 4".to_owned()]));
}

#[test]
fn too_many_bytes_go_from_the_oldest_end_but_nothing_that_is_not_committed() {
    let size = i64::from(batch_bytes());
    let settings = TopicSettings { segment_bytes: batch_bytes(), retention_bytes: 2 * size, ..settings() };
    let mut bench = Bench::new(settings);
    (0..6).for_each(|_| bench.record_at(0));
    bench.told();
    bench.retain_at(0);
    assert_eq!((bench.told(), bench.log.start()), (vec![], Offset(0)), "nothing is committed yet");
    bench.commit(2);
    bench.retain_at(0);
    assert_eq!((bench.told(), bench.log.start()), (vec!["drop 2".to_owned()], Offset(2)));
    bench.commit(6);
    bench.retain_at(0);
    assert_eq!((bench.told(), bench.bases()), (vec!["drop 4".to_owned()], vec![4, 5]), "two segments are kept");
    bench.retain_at(0);
    assert_eq!(bench.told(), [""; 0]);
    bench.log.assert_ordered();
}

/// Compaction would keep the newest of each key for ever; here everything is kept.
#[test]
fn a_compacted_log_loses_nothing_to_age_or_size() {
    let compact = TopicSettings { cleanup_policy: Cleanup::Compact, segment_bytes: batch_bytes(), ..settings() };
    let mut bench = Bench::new(TopicSettings { retention_ms: 1_000, retention_bytes: 1, ..compact });
    for millis in [1_000, 2_000, 3_000] {
        bench.record_at(millis);
    }
    bench.commit(3);
    bench.told();
    bench.retain_at(9_000);
    assert_eq!((bench.told(), bench.log.start()), (vec![], Offset(0)));
}

#[test]
fn what_is_too_old_goes_and_the_active_segment_too_once_all_of_it_is_committed() {
    let mut bench = Bench::new(TopicSettings { segment_bytes: batch_bytes(), retention_ms: 1_000, ..settings() });
    for millis in [1_000, 2_000, 3_000] {
        bench.record_at(millis);
    }
    bench.commit(2);
    bench.told();
    bench.retain_at(2_000);
    assert_eq!(bench.told(), [""; 0], "exactly as old as allowed");
    bench.retain_at(2_001);
    assert_eq!((bench.told(), bench.bases()), (vec!["drop 1".to_owned()], vec![1, 2]));
    bench.retain_at(9_000);
    assert_eq!((bench.told(), bench.bases()), (vec!["drop 2".to_owned()], vec![2]), "offset 2 is not committed");
    bench.commit(3);
    bench.retain_at(9_000);
    assert_eq!(bench.told(), ["roll 3", "drop 3"]);
    assert_eq!((bench.log.start(), bench.log.end(), bench.bases()), (Offset(3), Offset(3), vec![3]));
    bench.log.assert_ordered();
}

/// A transaction keeps what follows it from committed readers until its marker, too, is committed (C.8).
#[test]
fn a_committed_reader_sees_no_open_transaction() {
    let (anna, bob) = (ProducerId(1), ProducerId(2));
    let batch = |producer| {
        let builder = BatchBuilder::default().idempotent(producer, ProducerEpoch(0), 0).transactional();
        builder.record(NewRecord::new(1, None, Some(b"x"))).build()
    };
    let marker = |producer, kind| control_batch(producer, ProducerEpoch(0), kind, 3, 1);
    let mut bench = Bench::new(settings());
    bench.record_at(1);
    bench.append(&batch(anna));
    bench.append(&batch(bob));
    bench.commit(3);
    assert_eq!((bench.log.high_watermark(), bench.log.last_stable()), (Offset(3), Offset(1)));
    bench.append(&marker(anna, ControlKind::Commit));
    assert_eq!(bench.log.last_stable(), Offset(1), "her marker is not committed yet");
    bench.commit(4);
    assert_eq!(bench.log.last_stable(), Offset(2), "his transaction is open still");
    bench.append(&marker(bob, ControlKind::Abort));
    bench.record_at(1);
    bench.commit(6);
    assert_eq!((bench.log.high_watermark(), bench.log.last_stable()), (Offset(6), Offset(6)));
    assert_eq!(bench.log.producers().first_unstable(Offset(6)), None);
}

/// Between a cut and the disk's answer the producers' states count what is gone (C.8).
#[test]
fn no_snapshot_is_written_of_producers_that_count_what_was_cut() {
    let batch = |sequence| {
        let builder = BatchBuilder::default().idempotent(ProducerId(1), ProducerEpoch(0), sequence);
        builder.record(NewRecord::new(1, None, Some(b"x"))).build()
    };
    let mut bench = Bench::new(TopicSettings { retention_ms: 1_000, ..settings() });
    (0..3).for_each(|sequence| bench.append(&batch(sequence)));
    bench.log.truncate(Offset(2), Cause::Divergence, &mut bench.fx);
    bench.commit(2);
    bench.fx.effects.clear();
    let snapshots = |bench: &mut Bench| {
        let written = bench.fx.effects.drain(..).filter_map(|effect| match effect {
            Effect::Store { op: StoreOp::Producers { snapshot, .. }, .. } => Some(snapshot.entries[0].last_sequence),
            _ => None,
        });
        written.collect::<Vec<i32>>()
    };
    // All of it is too old, and a broker may stop at any time.
    bench.retain_at(9_000);
    bench.log.snapshot_producers(&mut bench.fx);
    assert_eq!((bench.log.start(), snapshots(&mut bench)), (Offset(2), vec![]));
    assert_eq!(bench.log.ask_for_producers(), Some(Offset(2)));
    bench.log.snapshot_producers(&mut bench.fx);
    assert_eq!(snapshots(&mut bench), []);
    let mut states = ProducerStates::default();
    for sequence in 0..2 {
        let stamped = Batch::take(&batch(sequence)).unwrap().stamp(Offset(i64::from(sequence)), LeaderEpoch(1));
        states.record(&stamped.header());
    }
    bench.log.on_producers(states, Offset(2));
    bench.log.snapshot_producers(&mut bench.fx);
    assert_eq!(snapshots(&mut bench), [1]);
}
