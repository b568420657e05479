//! Every crash point of a small log: a script is run up to each of its steps, the disk is broken there in every legal
//! way, and what recovery finds is checked: everything synced is there, and nothing that nobody wrote.

use super::{PowerLoss, SimDisk};
use crate::api::storage::{KeeperImage, Lane, Load, Loaded, StoreOp};
use crate::id::{LeaderEpoch, TopicId, TopicPartition, ZabEpoch, Zxid};
use crate::machine::Ticket;
use crate::record::batch::{Batch, BatchBuilder, NewRecord, Stamped};
use crate::record::offset::{LogRange, Offset};
use crate::rng::Rng;
use crate::store::Store;
use crate::znode::checksum::adler32;
use bytes::Bytes;

/// A step of a script.
#[derive(Clone, Debug)]
enum Step {
    Do(Lane, StoreOp),
    Sync(Lane),
}

/// A transaction whose body says which history it belongs to.
fn txn(zxid: Zxid, history: u8) -> Bytes {
    let mut txn = vec![0; 12];
    txn.extend_from_slice(&zxid.0.to_be_bytes());
    txn.resize(32 + 700, history);
    txn.into()
}

/// A snapshot file that lists what it contains.
fn snapshot(history: &[(Zxid, u8)]) -> Bytes {
    let mut file = b"ZKSN".to_vec();
    for (zxid, tag) in history {
        file.extend_from_slice(&zxid.0.to_be_bytes());
        file.push(*tag);
    }
    file.extend_from_slice(&i64::from(adler32(&file)).to_be_bytes());
    file.extend_from_slice(b"\0\0\0\x01/");
    file.into()
}

/// What a keeper knows: its epochs and all the transactions in its tree.
type Knowledge = (ZabEpoch, ZabEpoch, Vec<(Zxid, u8)>);

fn knowledge(image: &KeeperImage) -> Knowledge {
    let mut history = Vec::new();
    if let Some((_, file)) = &image.snapshot {
        let listed = &file[4..file.len() - 13];
        history.extend(listed.as_chunks::<9>().0.iter().map(|entry| {
            let zxid = u64::from_be_bytes(core::array::from_fn(|byte| entry[byte]));
            (Zxid(zxid), entry[8])
        }));
    }
    history.extend(image.txns.iter().map(|(zxid, txn)| (*zxid, txn[40])));
    (image.accepted_epoch, image.current_epoch, history)
}

/// A keeper's life: two epochs of its own, a truncation, a periodic snapshot, and a snapshot that replaces it all.
fn keeper_script() -> Vec<Step> {
    let zxid = |epoch, counter| Zxid::new(ZabEpoch(epoch), counter);
    let mut script = Vec::new();
    let mut journal = |op| script.push(Step::Do(Lane::Journal, op));
    let txns = |epoch, counters: core::ops::RangeInclusive<u32>, tag| {
        counters.map(move |counter| {
            let zxid = zxid(epoch, counter);
            StoreOp::AppendTxn { zxid, txn: txn(zxid, tag) }
        })
    };
    journal(StoreOp::AcceptedEpoch(ZabEpoch(1)));
    journal(StoreOp::CurrentEpoch(ZabEpoch(1)));
    txns(1, 1..=3, b'a').for_each(&mut journal);
    script.push(Step::Sync(Lane::Journal));
    let mut journal = |op| script.push(Step::Do(Lane::Journal, op));
    txns(1, 4..=5, b'a').for_each(&mut journal);
    journal(StoreOp::RollJournal);
    let own: Vec<(Zxid, u8)> = (1..=5).map(|counter| (zxid(1, counter), b'a')).collect();
    let mut periodic = |op| script.push(Step::Do(Lane::Snapshot, op));
    periodic(StoreOp::SnapshotBegin { zxid: zxid(1, 5) });
    periodic(StoreOp::SnapshotPiece { piece: snapshot(&own) });
    periodic(StoreOp::SnapshotEnd { zxid: zxid(1, 5), replaces_journal: false });
    script.push(Step::Sync(Lane::Journal));
    script.push(Step::Sync(Lane::Snapshot));
    let mut journal = |op| script.push(Step::Do(Lane::Journal, op));
    txns(1, 6..=7, b'a').for_each(&mut journal);
    journal(StoreOp::TruncateJournal { to: zxid(1, 4) });
    journal(StoreOp::AcceptedEpoch(ZabEpoch(2)));
    journal(StoreOp::CurrentEpoch(ZabEpoch(2)));
    txns(2, 1..=2, b'b').for_each(&mut journal);
    script.push(Step::Sync(Lane::Journal));
    let mut journal = |op| script.push(Step::Do(Lane::Journal, op));
    let other: Vec<(Zxid, u8)> = vec![(zxid(1, 1), b'a'), (zxid(2, 1), b'c')];
    journal(StoreOp::AcceptedEpoch(ZabEpoch(3)));
    journal(StoreOp::SnapshotBegin { zxid: zxid(2, 1) });
    journal(StoreOp::SnapshotPiece { piece: snapshot(&other) });
    journal(StoreOp::SnapshotEnd { zxid: zxid(2, 1), replaces_journal: true });
    journal(StoreOp::CurrentEpoch(ZabEpoch(3)));
    txns(3, 1..=2, b'd').for_each(&mut journal);
    script.push(Step::Sync(Lane::Journal));
    script.push(Step::Do(Lane::Journal, StoreOp::PurgeJournal { keep: 1 }));
    script
}

fn take(store: &mut Store<SimDisk>, step: &Step) {
    match step {
        Step::Do(lane, op) => {
            store.perform(lane, op.clone()).unwrap();
            store.flush().unwrap();
        }
        Step::Sync(lane) => {
            assert!(store.ask_sync(lane, Ticket(1)));
            assert_eq!(store.complete_sync(lane), (Ticket(1), false));
        }
    }
}

fn boot_keeper(disk: SimDisk) -> (SimDisk, Knowledge) {
    let mut store = Store::new(disk);
    let image = store.boot_keeper().unwrap_or_else(|refused| panic!("refused: {refused}"));
    (store.disk, knowledge(&image))
}

#[test]
fn a_keeper_finds_what_was_synced_and_nothing_else_at_every_crash_point() {
    let mut store = Store::new(SimDisk::new());
    store.boot_keeper().unwrap();
    // What recovery may find: what the keeper knew after each step since the last sync of its journal.
    let mut since_sync = vec![boot_keeper(store.disk.clone()).1];
    let mut points = 0;
    for step in keeper_script() {
        take(&mut store, &step);
        let now = boot_keeper(store.disk.clone()).1;
        if matches!(&step, Step::Sync(Lane::Journal)) {
            since_sync.clear();
        }
        since_sync.push(now);
        let mut broken = Vec::new();
        for keep in 0..=store.disk.unsynced(&Lane::Journal) as usize + 1 {
            for sectors in 0..3 {
                let mut disk = store.disk.clone();
                disk.power_loss_at(keep, sectors);
                broken.push(disk);
            }
        }
        for seed in 0..8 {
            let mut disk = store.disk.clone();
            disk.process_crash(&mut Rng::new(seed));
            broken.push(disk.clone());
            disk.power_loss(PowerLoss::AnyOrder, &mut Rng::new(seed));
            broken.push(disk);
        }
        for disk in broken {
            let (mended, found) = boot_keeper(disk);
            assert!(since_sync.contains(&found), "after {step:?}: {found:?} is none of {since_sync:?}");
            let (_, again) = boot_keeper(mended);
            assert_eq!(again, found, "a second start finds the same");
            points += 1;
        }
    }
    assert!(points > 500, "{points} crash points");
}

#[test]
fn a_lying_sync_loses_what_was_promised() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut store = Store::new(SimDisk::new());
        store.disk.set_lying(true);
        store.boot_keeper().unwrap();
        for step in keeper_script().iter().take(6) {
            take(&mut store, step);
        }
        store.disk.power_loss(PowerLoss::InOrder, &mut Rng::new(seed));
        lost += u32::from(boot_keeper(store.disk).1.2.len() < 3);
    }
    assert!(lost > 5, "{lost} of 20 power losses took synced transactions");
}

#[test]
fn a_full_disk_fails_the_flush_and_keeps_what_was_flushed() {
    let mut store = Store::new(SimDisk::new());
    store.boot_keeper().unwrap();
    for step in keeper_script().iter().take(4) {
        take(&mut store, step);
    }
    let before = store.disk.digest();
    store.disk.set_full(true);
    let zxid = Zxid::new(ZabEpoch(1), 9);
    store.perform(&Lane::Journal, StoreOp::AppendTxn { zxid, txn: txn(zxid, b'z') }).unwrap();
    assert_eq!(store.flush().unwrap_err().to_string(), "the disk is full");
    // Both epoch files wait behind each other's barrier: without a sync a crash may take them, so sync what is submitted.
    let mut disk = store.disk;
    disk.set_full(false);
    crate::store::disk::Disk::begin_sync(&mut disk, &Lane::Journal);
    crate::store::disk::Disk::end_sync(&mut disk, &Lane::Journal);
    disk.process_crash(&mut Rng::new(1));
    assert_eq!(disk.digest(), before, "what could not be submitted is gone, the rest is there");
}

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn batch(base: i64, epoch: i32) -> Stamped {
    let value = vec![b'a' + epoch as u8; 600];
    let built = BatchBuilder::default().record(NewRecord::new(1_000 + base, None, Some(&value))).build();
    Batch::take(&built).unwrap().stamp(Offset(base), LeaderEpoch(epoch))
}

fn broker_script() -> Vec<Step> {
    let lane = Lane::Log(partition());
    let act = |op| Step::Do(Lane::Log(partition()), op);
    let append = |base, epoch| act(StoreOp::Append { batches: vec![batch(base, epoch)] });
    let mut script = vec![act(StoreOp::CreateLog { topic_id: TopicId([3; 16]) }), Step::Sync(lane.clone())];
    script.extend((0..3).map(|base| append(base, 1)));
    script.push(Step::Sync(lane.clone()));
    script.extend((3..6).map(|base| append(base, 1)));
    script.push(act(StoreOp::Roll { base: Offset(6) }));
    script.extend((6..9).map(|base| append(base, 1)));
    script.push(Step::Sync(lane.clone()));
    script.push(append(9, 1));
    script.push(act(StoreOp::TruncateLog { to: Offset(7) }));
    script.extend((7..9).map(|base| append(base, 2)));
    script.push(Step::Sync(lane.clone()));
    script.push(act(StoreOp::TruncateLog { to: Offset(4) }));
    script.extend((4..6).map(|base| append(base, 3)));
    script.push(Step::Sync(lane));
    script
}

fn boot_broker(disk: SimDisk) -> (SimDisk, Vec<(i64, i32)>) {
    let mut store = Store::new(disk);
    let image = store.boot_broker().unwrap();
    let mut found = Vec::new();
    let mut from = Offset(0);
    let Some(log) = image.partitions.get(&partition()) else { return (store.disk, found) };
    loop {
        let range = LogRange { partition: partition(), from, upto: log.log_end, max_bytes: 1 };
        let bytes = store.materialize(&range).unwrap();
        if bytes.is_empty() {
            break;
        }
        let read = Batch::take(&bytes).unwrap();
        assert_eq!(read.verify(), Ok(()), "nothing unsound is served");
        assert_eq!(read.bytes, batch(read.header.base.0, read.header.epoch.0).to_bytes(), "nor invented");
        assert_eq!(log.epochs.epoch_at(read.header.base), Some(read.header.epoch));
        found.push((read.header.base.0, read.header.epoch.0));
        from = read.header.next();
    }
    assert_eq!(from, log.log_end, "the log ends where its last batch does");
    (store.disk, found)
}

#[test]
fn a_broker_finds_a_prefix_of_what_it_wrote_with_all_that_was_synced() {
    let mut store = Store::new(SimDisk::new());
    store.boot_broker().unwrap();
    let mut since_sync = vec![Vec::new()];
    let mut points = 0;
    for step in broker_script() {
        take(&mut store, &step);
        let now = boot_broker(store.disk.clone()).1;
        if matches!(step, Step::Sync(_)) {
            since_sync.clear();
        }
        since_sync.push(now);
        // What no step since the sync has truncated must be there.
        let owed = since_sync[0]
            .iter()
            .zip(0..)
            .take_while(|(entry, at)| since_sync.iter().all(|state| state.get(*at as usize) == Some(*entry)));
        let owed = owed.count();
        for seed in 0..60 {
            let kind = if seed % 3 == 0 { PowerLoss::InOrder } else { PowerLoss::AnyOrder };
            let mut disk = store.disk.clone();
            disk.power_loss(kind, &mut Rng::new(seed));
            let (mended, found) = boot_broker(disk);
            assert!(
                since_sync.iter().any(|state| state.starts_with(&found)) && found.len() >= owed,
                "after {step:?}, {kind:?}, seed {seed}: {found:?} with {owed} owed, of {since_sync:?}"
            );
            let (_, again) = boot_broker(mended);
            assert_eq!(again, found, "a second start finds the same");
            points += 1;
        }
        let mut disk = store.disk.clone();
        disk.process_crash(&mut Rng::new(1));
        assert_eq!(boot_broker(disk).1, *since_sync.last().unwrap(), "all that was flushed outlives the process");
    }
    assert!(points > 500, "{points} crash points");
}

/// A log that is cut or begun anew is not what an old recovery point was about, wherever that stands: what was written
/// since is checked, and after a hole nothing counts.
#[test]
fn a_recovery_point_does_not_outlive_its_log() {
    let act = |op| Step::Do(Lane::Log(partition()), op);
    let append = |base, epoch| act(StoreOp::Append { batches: vec![batch(base, epoch)] });
    let create = || act(StoreOp::CreateLog { topic_id: TopicId([3; 16]) });
    let checkpoint = |points| Step::Do(Lane::Checkpoint, StoreOp::RecoveryPoints(points));
    let mut before = vec![create()];
    let roll = |base| act(StoreOp::Roll { base: Offset(base) });
    before.extend((0..6).flat_map(|base| [append(base, 1), roll(base + 1)]));
    before.push(Step::Sync(Lane::Log(partition())));
    before.push(checkpoint(vec![(partition(), Offset(6))]));
    before.push(Step::Sync(Lane::Checkpoint));
    let deleted = vec![act(StoreOp::DeleteLog), checkpoint(Vec::new()), create()];
    let cut = vec![act(StoreOp::TruncateLog { to: Offset(0) })];
    for begin_anew in [deleted, cut] {
        let mut store = Store::new(SimDisk::new());
        store.boot_broker().unwrap();
        before.iter().chain(&begin_anew).for_each(|step| take(&mut store, step));
        for base in 0..6 {
            take(&mut store, &append(base, 2));
            take(&mut store, &roll(base + 1));
        }
        for seed in 0..200 {
            let mut disk = store.disk.clone();
            disk.power_loss(PowerLoss::AnyOrder, &mut Rng::new(seed));
            let (mended, found) = boot_broker(disk);
            let is_whole = found.iter().zip(0..).all(|((base, epoch), at)| *base == at && *epoch == found[0].1);
            assert!(is_whole, "seed {seed}: {found:?}");
            assert_eq!(boot_broker(mended).1, found, "a second start finds the same");
        }
    }
}

/// The latest record there is, and not the latest there ever was.
#[test]
fn a_log_that_was_cut_has_another_latest_record() {
    let act = |op| Step::Do(Lane::Log(partition()), op);
    let mut store = Store::new(SimDisk::new());
    store.boot_broker().unwrap();
    take(&mut store, &act(StoreOp::CreateLog { topic_id: TopicId([3; 16]) }));
    let mut latest = |ops: Vec<StoreOp>| {
        ops.into_iter().for_each(|op| take(&mut store, &act(op)));
        let (from, upto) = (Offset(0), Offset(9));
        let found = store.load(&Load::OffsetForTime { partition: partition(), timestamp: None, from, upto });
        let Ok(Loaded::OffsetForTime(found)) = found else { panic!("{found:?}") };
        found.map(|(offset, timestamp)| (offset.0, timestamp))
    };
    let append = |base| StoreOp::Append { batches: vec![batch(base, 1)] };
    assert_eq!(latest(vec![]), None);
    assert_eq!(latest(vec![append(0), append(1), append(2)]), Some((2, 1_002)));
    assert_eq!(latest(vec![StoreOp::TruncateLog { to: Offset(1) }]), Some((0, 1_000)));
    assert_eq!(latest(vec![StoreOp::TruncateLog { to: Offset(0) }]), None);
}
