//! One suite for every disk: what storage code relies on, and what recovery makes of files that were torn or rotted.
//!
//! Called by tests over the simulated disk and over real files; every check asserts with what it expected.

use super::Store;
use super::disk::{Disk, Extent};
use super::journal::frame;
use crate::api::storage::{Lane, StoreOp};
use crate::id::{LeaderEpoch, TopicId, TopicPartition, ZabEpoch, Zxid};
use crate::machine::Ticket;
use crate::record::batch::{Batch, BatchBuilder, NewRecord, Stamped};
use crate::record::offset::{LogRange, Offset, Position};
use bytes::Bytes;

/// What the suite needs of a kind of disk.
pub trait Bench {
    type Disk: Disk;

    /// An empty disk.
    fn fresh(&mut self) -> Self::Disk;
    /// The disk as the next process finds it, after everything was flushed.
    fn reopen(&mut self, disk: Self::Disk) -> Self::Disk;
    /// A foreign hand shortens a file.
    fn cut(&mut self, disk: Self::Disk, name: &str, to: Position) -> Self::Disk;
    /// A foreign hand flips a bit of a file.
    fn flip(&mut self, disk: Self::Disk, name: &str, at: Position) -> Self::Disk;
}

/// Runs everything.
pub fn check<B: Bench>(bench: &mut B) {
    appends_are_read_back(bench);
    truncated_files_grow_again(bench);
    replaced_files_are_new_and_open_ones_old(bench);
    one_sync_answers_many(bench);
    keeper_recovers(bench);
    broker_recovers(bench);
}

fn extent(file: super::disk::FileId, at: u64, len: u64) -> Extent {
    Extent { file, at: Position(at), len }
}

fn appends_are_read_back<B: Bench>(bench: &mut B) {
    let mut disk = bench.fresh();
    let file = disk.open(&Lane::Journal, "a/one");
    assert_eq!(disk.append(file, &[Bytes::from_static(b"hello "), Bytes::from_static(b"world")]), Position(0));
    assert_eq!(disk.append(file, &[Bytes::from_static(b"!")]), Position(11));
    assert_eq!(disk.read(extent(file, 6, 6)).unwrap(), "world!", "what was accepted is read, flushed or not");
    assert!(disk.read(extent(file, 6, 7)).is_err(), "a read beyond the end is short");
    disk.flush().unwrap();
    let mut disk = bench.reopen(disk);
    let file = disk.open(&Lane::Journal, "a/one");
    assert_eq!(disk.read_all(file).unwrap(), "hello world!");
    let names: Vec<String> = disk.list().iter().map(|(name, end)| format!("{name} {end}")).collect();
    assert_eq!(names, ["a/one 12"]);
    disk.remove(&Lane::Journal, "a/one");
    assert!(!disk.exists("a/one") && disk.list().is_empty());
}

fn truncated_files_grow_again<B: Bench>(bench: &mut B) {
    let mut disk = bench.fresh();
    let file = disk.open(&Lane::Journal, "one");
    disk.append(file, &[Bytes::from_static(b"0123456789")]);
    disk.truncate(file, Position(4));
    assert_eq!(disk.append(file, &[Bytes::from_static(b"xy")]), Position(4));
    disk.flush().unwrap();
    let mut disk = bench.reopen(disk);
    let file = disk.open(&Lane::Journal, "one");
    assert_eq!(disk.read_all(file).unwrap(), "0123xy");
}

fn replaced_files_are_new_and_open_ones_old<B: Bench>(bench: &mut B) {
    let mut disk = bench.fresh();
    disk.replace(&Lane::Checkpoint, "small", &[Bytes::from_static(b"old")]);
    let old = disk.open(&Lane::Checkpoint, "small");
    disk.replace(&Lane::Checkpoint, "small", &[Bytes::from_static(b"ne"), Bytes::from_static(b"wer")]);
    let new = disk.open(&Lane::Checkpoint, "small");
    assert_ne!(old, new, "another file, though of the same name");
    assert_eq!(disk.read_all(new).unwrap(), "newer");
    if let Ok(late) = disk.read(extent(old, 0, 3)) {
        assert_eq!(late, "old", "never somebody else's bytes");
    }
    disk.flush().unwrap();
    let mut disk = bench.reopen(disk);
    let file = disk.open(&Lane::Checkpoint, "small");
    assert_eq!(disk.read_all(file).unwrap(), "newer");
}

fn one_sync_answers_many<B: Bench>(bench: &mut B) {
    let mut store = Store::new(bench.fresh());
    store.boot_keeper().unwrap();
    append_txns(&mut store, 1..=1);
    assert!(store.ask_sync(&Lane::Journal, Ticket(1)), "the first begins at once");
    append_txns(&mut store, 2..=3);
    assert!(!store.ask_sync(&Lane::Journal, Ticket(2)));
    assert!(!store.ask_sync(&Lane::Journal, Ticket(3)));
    assert_eq!(store.complete_sync(&Lane::Journal), (Ticket(1), true));
    assert_eq!(store.complete_sync(&Lane::Journal), (Ticket(3), false));
}

/// A transaction as long as real ones, that says nothing.
fn txn(counter: u32) -> Bytes {
    let mut txn = vec![0; 12];
    txn.extend_from_slice(&Zxid::new(ZabEpoch(1), counter).0.to_be_bytes());
    txn.resize(32 + 60, counter as u8);
    txn.into()
}

fn append_txns<D: Disk>(store: &mut Store<D>, counters: core::ops::RangeInclusive<u32>) {
    for counter in counters {
        let op = StoreOp::AppendTxn { zxid: Zxid::new(ZabEpoch(1), counter), txn: txn(counter) };
        store.perform(&Lane::Journal, op).unwrap();
    }
    store.flush().unwrap();
}

/// A keeper's disk with transactions 1:1 to 1:5 in one file, after a stop.
fn keeper_disk<B: Bench>(bench: &mut B) -> B::Disk {
    let mut store = Store::new(bench.fresh());
    let image = store.boot_keeper().unwrap();
    assert_eq!((image.last_zxid(), image.current_epoch), (Zxid::ZERO, ZabEpoch(0)), "an empty disk");
    store.perform(&Lane::Journal, StoreOp::AcceptedEpoch(ZabEpoch(1))).unwrap();
    store.perform(&Lane::Journal, StoreOp::CurrentEpoch(ZabEpoch(1))).unwrap();
    append_txns(&mut store, 1..=5);
    bench.reopen(store.disk)
}

fn keeper_recovers<B: Bench>(bench: &mut B) {
    const LOG: &str = "version-2/log.100000001";
    let frame = frame::FRAME_EXTRA + txn(1).len() as u64;
    let at = |ordinal: u64| Position(frame::FILE_HEADER.len() as u64 + ordinal * frame);

    let mut whole = Store::new(keeper_disk(bench));
    let image = whole.boot_keeper().unwrap();
    let all: Vec<(Zxid, Bytes)> = (1..=5).map(|n| (Zxid::new(ZabEpoch(1), n), txn(n))).collect();
    assert_eq!((image.txns, image.accepted_epoch, image.cuts.len()), (all.clone(), ZabEpoch(1), 0));
    append_txns(&mut whole, 6..=6);
    let reopened = bench.reopen(whole.disk);
    assert_eq!(Store::new(reopened).boot_keeper().unwrap().txns.len(), 6, "it goes on in another file");

    let disk = keeper_disk(bench);
    let mut torn = Store::new(bench.cut(disk, LOG, at(4) + 40));
    let image = torn.boot_keeper().unwrap();
    assert_eq!(image.txns, all[..4], "torn in the last transaction");
    assert_eq!(image.cuts.len(), 1, "and said so");
    append_txns(&mut torn, 5..=7);
    let reopened = bench.reopen(torn.disk);
    assert_eq!(Store::new(reopened).boot_keeper().unwrap().last_zxid(), Zxid::new(ZabEpoch(1), 7));

    let disk = keeper_disk(bench);
    let rotten = bench.flip(disk, LOG, at(4) + 40);
    assert_eq!(Store::new(rotten).boot_keeper().unwrap().txns, all[..4], "nothing good follows the last");

    let disk = keeper_disk(bench);
    let rotten = bench.flip(disk, LOG, at(2) + 40);
    let refused = Store::new(rotten).boot_keeper().unwrap_err();
    assert_eq!((&*refused.file, refused.at), (LOG, Some(at(2))), "{refused}");

    let mut cut = Store::new(keeper_disk(bench));
    cut.boot_keeper().unwrap();
    cut.perform(&Lane::Journal, StoreOp::TruncateJournal { to: Zxid::new(ZabEpoch(1), 2) }).unwrap();
    append_txns(&mut cut, 4..=4);
    let beyond = StoreOp::TruncateJournal { to: Zxid::new(ZabEpoch(1), 3) };
    assert!(cut.perform(&Lane::Journal, beyond).is_err(), "3 is not there");
    let reopened = bench.reopen(cut.disk);
    let zxids: Vec<u32> =
        Store::new(reopened).boot_keeper().unwrap().txns.iter().map(|(zxid, _)| zxid.counter()).collect();
    assert_eq!(zxids, [1, 2, 4]);
}

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

/// Two records at `base`, in epoch 3.
fn batch(base: i64) -> Stamped {
    let record = |at: i64| NewRecord::new(1_000 + base + at, Some(b"key"), Some(b"value"));
    let built = BatchBuilder::default().record(record(0)).record(record(1)).build();
    Batch::take(&built).unwrap().stamp(Offset(base), LeaderEpoch(3))
}

/// A broker's disk with batches at 0, 2 and 4, and after a roll at 6 and 8.
fn broker_disk<B: Bench>(bench: &mut B) -> B::Disk {
    let mut store = Store::new(bench.fresh());
    assert!(store.boot_broker().unwrap().partitions.is_empty(), "an empty disk");
    let lane = Lane::Log(partition());
    store.perform(&lane, StoreOp::CreateLog { topic_id: TopicId([9; 16]) }).unwrap();
    store.perform(&lane, StoreOp::Append { batches: vec![batch(0), batch(2), batch(4)] }).unwrap();
    store.perform(&lane, StoreOp::Roll { base: Offset(6) }).unwrap();
    store.perform(&lane, StoreOp::Append { batches: vec![batch(6)] }).unwrap();
    store.perform(&lane, StoreOp::Append { batches: vec![batch(8)] }).unwrap();
    store.flush().unwrap();
    bench.reopen(store.disk)
}

fn broker_recovers<B: Bench>(bench: &mut B) {
    const FIRST: &str = "orders-0/00000000000000000000.log";
    const SECOND: &str = "orders-0/00000000000000000006.log";
    let size = batch(0).size();
    let ends = |disk: B::Disk| {
        let mut store = Store::new(disk);
        let image = store.boot_broker().unwrap();
        let found = &image.partitions[&partition()];
        let range = LogRange { partition: partition(), from: Offset(0), upto: found.log_end, max_bytes: u32::MAX };
        let first = store.materialize(&range).unwrap().len() as u64 / size;
        (found.log_end, found.segments.len(), image.cuts.len(), first)
    };
    let disk = broker_disk(bench);
    assert_eq!(ends(disk), (Offset(10), 2, 0, 3));
    let disk = broker_disk(bench);
    assert_eq!(ends(bench.cut(disk, SECOND, Position(size + 70))), (Offset(8), 2, 1, 3), "torn in the last batch");
    let disk = broker_disk(bench);
    assert_eq!(ends(bench.flip(disk, SECOND, Position(70))), (Offset(6), 2, 1, 3), "rotten: cut there");
    let disk = broker_disk(bench);
    assert_eq!(ends(bench.flip(disk, FIRST, Position(size + 70))), (Offset(2), 1, 2, 1), "later segments go too");

    let mut store = Store::new(broker_disk(bench));
    let image = store.boot_broker().unwrap();
    assert_eq!(image.partitions[&partition()].epochs.entries(), [(LeaderEpoch(3), Offset(0))], "from the batches");
    let lane = Lane::Log(partition());
    let late = store
        .locate(&LogRange { partition: partition(), from: Offset(8), upto: Offset(10), max_bytes: 1 })
        .unwrap()
        .unwrap();
    store.perform(&lane, StoreOp::TruncateLog { to: Offset(8) }).unwrap();
    store.perform(&lane, StoreOp::Append { batches: vec![batch(20)] }).unwrap();
    assert!(store.disk.read(late).is_err(), "who reads late finds it short");
    store.flush().unwrap();
    let mut store = Store::new(bench.reopen(store.disk));
    let image = store.boot_broker().unwrap();
    let found = &image.partitions[&partition()];
    assert_eq!((found.log_end, found.segments.len(), image.cuts.len()), (Offset(22), 3, 0));
    store.perform(&lane, StoreOp::DropSegments { to: Offset(6) }).unwrap();
    store.perform(&lane, StoreOp::RestartLog { start: Offset(50) }).unwrap();
    store.flush().unwrap();
    let mut store = Store::new(bench.reopen(store.disk));
    let found = store.boot_broker().unwrap().partitions.remove(&partition()).unwrap();
    assert_eq!((found.log_start, found.log_end, found.topic_id), (Offset(50), Offset(50), TopicId([9; 16])));
    store.perform(&lane, StoreOp::DeleteLog).unwrap();
    assert!(store.disk.list().is_empty(), "{:?}", store.disk.list());
}
