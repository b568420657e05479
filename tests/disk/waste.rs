//! What is removed is out of the way at once, and unlinked by another thread: a log with its folder, a file by itself. Where
//! the disk unlinks nothing (the fault `unlink`), what the node's own thread has done can be seen.

use crate::file::{log, open, open_heard, text};
use crate::scratch::{Scratch, files_below};
use glasshouse_core::api::storage::{Lane, StoreOp};
use glasshouse_core::id::{LeaderEpoch, TopicId, TopicPartition};
use glasshouse_core::machine::Ticket;
use glasshouse_core::record::batch::{Batch, BatchBuilder, NewRecord, Stamped};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::rng::Rng;
use glasshouse_core::store::Store;
use glasshouse_core::store::disk::Disk;
use glasshouse_node::disk::{FileDisk, Hold};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const SEGMENTS: i64 = 100;

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn batch(base: i64) -> Stamped {
    let built = BatchBuilder::default().record(NewRecord::new(1_000 + base, Some(b"key"), Some(b"value"))).build();
    Batch::take(&built).unwrap().stamp(Offset(base), LeaderEpoch(3))
}

/// A store over a folder, whose disk unlinks nothing if so told.
fn start(folder: &Path, unlinks: bool) -> Store<FileDisk> {
    let disk = open(folder, Hold::PageCache).unwrap();
    if !unlinks {
        let faults = folder.with_extension("faults");
        fs::write(&faults, "unlink").unwrap();
        disk.obey(faults);
    }
    let mut store = Store::new(disk);
    store.boot_broker().unwrap();
    store
}

fn perform(store: &mut Store<FileDisk>, op: StoreOp) {
    store.perform(&Lane::Log(partition()), op).unwrap();
}

/// A log of one batch a segment.
fn fill(store: &mut Store<FileDisk>, topic: u8, segments: i64) {
    perform(store, StoreOp::CreateLog { topic_id: TopicId([topic; 16]) });
    for base in 0..segments {
        perform(store, StoreOp::Roll { base: Offset(base) });
        perform(store, StoreOp::Append { batches: vec![batch(base)] });
    }
    store.flush().unwrap();
}

fn folders(of: &Path) -> Vec<String> {
    let entries = fs::read_dir(of).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// What another thread does in its own time.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ends(disk: &FileDisk) -> Vec<(String, u64)> {
    disk.list().iter().map(|(name, end)| (name.to_string(), end.0)).collect()
}

#[test]
fn a_deleted_log_loses_its_name_to_the_node_and_its_files_to_another_thread() {
    let scratch = Scratch::new("waste-log");
    let folder = scratch.next();
    let mut store = start(&folder, false);
    fill(&mut store, 7, SEGMENTS);
    // Every file has its own name then.
    store.disk.sync_everything().unwrap();
    let before = files_below(&folder.join("orders-0"));
    assert!(before.len() as i64 > 3 * SEGMENTS);
    perform(&mut store, StoreOp::DeleteLog);
    store.flush().unwrap();
    assert!(store.disk.list().is_empty());
    let [deleted] = &folders(&folder)[..] else { panic!("{:?}", folders(&folder)) };
    assert!(deleted.starts_with("orders-0.") && deleted.ends_with("-delete"), "{deleted}");
    assert_eq!(files_below(&folder.join(deleted)), before, "the node's own thread unlinks none of them");
    // As a crash would leave it.
    drop(store);
    let mut store = start(&folder, true);
    assert!(store.disk.list().is_empty(), "it is no log");
    eventually("it is unlinked", || folders(&folder).is_empty());
    fill(&mut store, 8, 1);
    assert_eq!(folders(&folder), ["orders-0"]);
    perform(&mut store, StoreOp::DeleteLog);
    store.flush().unwrap();
    eventually("it is unlinked while the node runs", || folders(&folder).is_empty());
}

#[test]
fn a_log_that_is_made_while_the_last_one_of_its_name_is_unlinked_keeps_its_files() {
    let scratch = Scratch::new("waste-again");
    let folder = scratch.next();
    let mut store = start(&folder, false);
    fill(&mut store, 1, 3);
    // All that was accepted between two flushes goes in its order, too.
    for (topic, segments) in [(2, 2), (3, 4)] {
        perform(&mut store, StoreOp::DeleteLog);
        perform(&mut store, StoreOp::CreateLog { topic_id: TopicId([9; 16]) });
        perform(&mut store, StoreOp::Append { batches: vec![batch(0), batch(1)] });
        perform(&mut store, StoreOp::DeleteLog);
        fill(&mut store, topic, segments);
    }
    let ours = ends(&store.disk);
    let found = folders(&folder);
    assert_eq!((found.len(), &*found[0]), (5, "orders-0"), "{found:?}");
    let lies = |name: &str| files_below(&folder.join(name)).iter().any(|file| file == "00000000000000000002.log");
    assert_eq!(found.iter().filter(|name| lies(name)).count(), 2, "that of three segments and that of four");
    drop(store);
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    eventually("the old ones are unlinked", || folders(&folder) == ["orders-0"]);
    assert_eq!(ends(&disk), ours);
    disk.sync_all().unwrap();
    let image = Store::new(disk).boot_broker().unwrap();
    let log = &image.partitions[&partition()];
    assert_eq!((log.topic_id, log.log_end, log.segments.len()), (TopicId([3; 16]), Offset(4), 4));
}

#[test]
fn segments_that_go_are_unlinked_by_another_thread() {
    let scratch = Scratch::new("waste-segments");
    let folder = scratch.next();
    let mut store = start(&folder, false);
    fill(&mut store, 7, SEGMENTS);
    perform(&mut store, StoreOp::DropSegments { to: Offset(SEGMENTS - 2) });
    store.flush().unwrap();
    let left = ends(&store.disk);
    let put_aside = |folder: &Path| files_below(folder).iter().filter(|name| name.ends_with(".deleted")).count();
    assert_eq!(put_aside(&folder), 3 * (SEGMENTS as usize - 2));
    drop(store);
    let disk = open(&folder, Hold::PageCache).unwrap();
    assert_eq!(ends(&disk), left, "they are no part of the log");
    eventually("they are unlinked", || put_aside(&folder) == 0);
}

#[test]
fn a_removal_is_durable_when_its_lane_is() {
    let scratch = Scratch::new("waste-sync");
    let (disk, told) = open_heard(&scratch.next(), Hold::PageCache);
    let mut store = Store::new(disk);
    store.boot_broker().unwrap();
    for round in 0..50 {
        fill(&mut store, round, 2);
        perform(&mut store, StoreOp::DeleteLog);
        store.flush().unwrap();
        assert!(store.ask_sync(&log(), Ticket(u64::from(round))));
        assert_eq!(told.recv().unwrap(), (log(), Ok(())));
        assert_eq!(store.complete_sync(&log()), (Ticket(u64::from(round)), false));
    }
}

#[test]
fn a_start_unlinks_what_was_deleted_and_nothing_else() {
    let scratch = Scratch::new("waste-start");
    let folder = scratch.next();
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    let unique = "0123456789abcdef0123456789abcdef";
    let stays = [
        "orders-0/00000000000000000000.log".to_owned(),
        "orders-0/partition.metadata".to_owned(),
        format!("orders-0.{unique}-delete-0/00000000000000000000.log"),
        "orders-delete/a".to_owned(),
        format!("orders.{unique}-delete/a"),
        format!("orders-0/orders-0.{unique}-delete/a"),
        "b.deleted".to_owned(),
    ];
    for name in &stays {
        let file = disk.open(&Lane::Checkpoint, name);
        disk.append(file, &text("kept"));
    }
    disk.flush().unwrap();
    drop(disk);
    let deleted = folder.join(format!("orders-0.{unique}-delete"));
    fs::create_dir_all(deleted.join("more")).unwrap();
    for name in ["00000000000000000000.log", "partition.metadata", "more/file"] {
        fs::write(deleted.join(name), "old").unwrap();
    }
    fs::write(folder.join("orders-0/00000000000000000000.index.deleted"), "old").unwrap();
    // A folder that lies elsewhere.
    let elsewhere = scratch.next();
    fs::create_dir_all(&elsewhere).unwrap();
    fs::write(elsewhere.join("partition.metadata"), "old").unwrap();
    let link = folder.join(format!("orders-1.{unique}-delete"));
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();

    let disk = open(&folder, Hold::PageCache).unwrap();
    let mut names: Vec<String> = disk.list().iter().map(|(name, _)| name.to_string()).collect();
    let mut stays = stays.to_vec();
    names.sort_unstable();
    stays.sort_unstable();
    assert_eq!(names, stays);
    eventually("it is unlinked", || !deleted.exists() && link.symlink_metadata().is_err());
    eventually("the file, too", || {
        let files = files_below(&folder).into_iter().filter(|name| !name.starts_with("glasshouse."));
        files.collect::<Vec<_>>() == stays
    });
    assert!(files_below(&elsewhere).is_empty());
}

/// Logs that are made, written and deleted at random, with small files that another lane replaces in their folders, synced
/// or not, stopped or not: what is there is what a plain map says.
#[test]
fn logs_come_and_go_as_a_plain_map_says() {
    let scratch = Scratch::new("waste-plain");
    let folder = scratch.next();
    let mut rng = Rng::new(17);
    let mut plain: BTreeMap<String, u64> = BTreeMap::new();
    let (mut disk, mut told) = open_heard(&folder, Hold::PageCache);
    for step in 0..3_000u64 {
        let number = rng.below(3);
        let (of, lane) = (format!("orders-{number}"), Lane::Log(TopicPartition::new("orders", number as i32)));
        let name = format!("{of}/{}.log", rng.below(5));
        let small = format!("{of}/epochs-{}", rng.below(2));
        match rng.below(12) {
            0 | 1 => {
                let gone = plain.extract_if(.., |name, _| name.starts_with(&format!("{of}/")));
                gone.for_each(|(name, _)| disk.remove(&lane, &name));
            }
            2 => {
                disk.remove(&lane, &name);
                plain.remove(&name);
            }
            3 | 4 => {
                disk.replace(&Lane::Checkpoint, &small, &[vec![1; step as usize].into()]);
                plain.insert(small, step);
            }
            5 | 6 => disk.flush().unwrap(),
            7 => {
                let lane = if rng.chance(1, 2) { lane } else { Lane::Checkpoint };
                disk.flush().unwrap();
                disk.begin_sync(&lane);
                assert_eq!(told.recv().unwrap(), (lane.clone(), Ok(())));
                disk.end_sync(&lane);
            }
            8 if rng.chance(1, 10) => {
                disk.flush().unwrap();
                drop(disk);
                (disk, told) = open_heard(&folder, Hold::PageCache);
            }
            _ => {
                let file = disk.open(&lane, &name);
                disk.append(file, &[vec![2; 100].into()]);
                *plain.entry(name).or_default() += 100;
            }
        }
        let there: BTreeMap<String, u64> = disk.list().iter().map(|(name, end)| (name.to_string(), end.0)).collect();
        assert_eq!(there, plain, "step {step}");
    }
    disk.flush().unwrap();
    disk.sync_everything().unwrap();
    for name in plain.keys() {
        let file = disk.open(&Lane::Checkpoint, name);
        assert_eq!(disk.read_all(file).unwrap().len() as u64, fs::metadata(folder.join(name)).unwrap().len(), "{name}");
    }
    let ours: Vec<String> = plain.into_keys().collect();
    eventually("nothing else is there in the end", || {
        files_below(&folder).into_iter().filter(|name| !name.starts_with("glasshouse.")).collect::<Vec<_>>() == ours
    });
}
