//! Real files: the suite that every disk passes, whose a folder is, and what outlives the end of a process.

use crate::scratch::{Scratch, files_below};
use bytes::Bytes;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::id::{NodeId, TopicPartition};
use glasshouse_core::record::offset::Position;
use glasshouse_core::store::conformance::{self, Bench};
use glasshouse_core::store::disk::{Disk, DiskError, Extent};
use glasshouse_node::disk::{FileDisk, Hold, Identity};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, mpsc};

pub fn identity() -> Identity {
    Identity { cluster: "c".to_owned(), node: NodeId::Broker(1) }
}

/// Takes a folder; nobody hears of syncs.
pub fn open(folder: &Path, hold: Hold) -> Result<FileDisk, String> {
    FileDisk::open(folder, &identity(), hold, Arc::new(|_, _| {}))
}

pub type Told = mpsc::Receiver<(Lane, Result<(), DiskError>)>;

pub fn open_heard(folder: &Path, hold: Hold) -> (FileDisk, Told) {
    let (tell, told) = mpsc::channel();
    let done = Arc::new(move |lane, result| drop(tell.send((lane, result))));
    (FileDisk::open(folder, &identity(), hold, done).unwrap(), told)
}

pub fn text(text: &'static str) -> [Bytes; 1] {
    [Bytes::from_static(text.as_bytes())]
}

pub fn log() -> Lane {
    Lane::Log(TopicPartition::new("orders", 0))
}

struct Files {
    hold: Hold,
    scratch: Scratch,
}

impl Files {
    fn again(&self, mut disk: FileDisk, change: impl FnOnce(&Path)) -> FileDisk {
        // What this process holds back would go with it.
        if self.hold == Hold::Process {
            disk.sync_everything().unwrap();
        }
        let folder = disk.folder().to_path_buf();
        drop(disk);
        change(&folder);
        open(&folder, self.hold).unwrap()
    }
}

impl Bench for Files {
    type Disk = FileDisk;

    fn fresh(&mut self) -> FileDisk {
        open(&self.scratch.next(), self.hold).unwrap()
    }

    fn reopen(&mut self, disk: FileDisk) -> FileDisk {
        self.again(disk, |_| {})
    }

    fn cut(&mut self, disk: FileDisk, name: &str, to: Position) -> FileDisk {
        self.again(disk, |folder| {
            let file = std::fs::OpenOptions::new().write(true).open(folder.join(name)).unwrap();
            assert!(file.metadata().unwrap().len() >= to.0, "{name} reaches {to}");
            file.set_len(to.0).unwrap();
        })
    }

    fn flip(&mut self, disk: FileDisk, name: &str, at: Position) -> FileDisk {
        self.again(disk, |folder| flip(&folder.join(name), at.0))
    }
}

/// A foreign hand flips a bit.
pub fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 4;
    file.write_all_at(&byte, at).unwrap();
}

#[test]
fn real_files_conform() {
    conformance::check(&mut Files { hold: Hold::PageCache, scratch: Scratch::new("conform") });
}

#[test]
fn real_files_conform_when_writes_are_held_back() {
    conformance::check(&mut Files { hold: Hold::Process, scratch: Scratch::new("conform-held") });
}

#[test]
fn a_folder_is_held_by_one_and_free_when_that_one_is_gone() {
    let scratch = Scratch::new("lock");
    let folder = scratch.next();
    let first = open(&folder, Hold::PageCache).unwrap();
    let refused = open(&folder, Hold::PageCache).unwrap_err();
    assert!(refused.contains("holds the folder") && refused.contains(folder.to_str().unwrap()), "{refused}");
    drop(first);
    open(&folder, Hold::PageCache).unwrap();
    // As another process would leave it: locked, with another number in it.
    let lock = std::fs::OpenOptions::new().write(true).open(folder.join("glasshouse.lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(folder.join("glasshouse.lock"), "4711").unwrap();
    let refused = open(&folder, Hold::PageCache).unwrap_err();
    assert_eq!(refused, format!("another process (4711) holds the folder {}", folder.display()));
}

#[test]
fn a_folder_of_another_cluster_or_node_is_refused() {
    let scratch = Scratch::new("identity");
    let folder = scratch.next();
    drop(open(&folder, Hold::PageCache).unwrap());
    let refused = |cluster: &str, node| {
        let identity = Identity { cluster: cluster.to_owned(), node };
        FileDisk::open(&folder, &identity, Hold::PageCache, Arc::new(|_, _| {})).unwrap_err()
    };
    let at = folder.display();
    let why = format!("the folder {at} belongs to broker-1 of cluster c, not to broker-2 of cluster c");
    assert_eq!(refused("c", NodeId::Broker(2)), why);
    let why = format!("the folder {at} belongs to broker-1 of cluster c, not to broker-1 of cluster d");
    assert_eq!(refused("d", NodeId::Broker(1)), why);
    std::fs::write(folder.join("glasshouse.identity"), "version=1\nnode=bro").unwrap();
    let why = refused("c", NodeId::Broker(1));
    assert!(why.ends_with("glasshouse.identity is damaged: it does not say whose folder this is"), "{why}");
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let scratch = Scratch::new("stranger");
    let folder = scratch.next();
    std::fs::create_dir_all(folder.join("photos-2024")).unwrap();
    std::fs::write(folder.join("photos-2024/1.jpg"), "a picture").unwrap();
    let refused = open(&folder, Hold::PageCache).unwrap_err();
    assert!(refused.contains("is no node's") && refused.contains("photos-2024"), "{refused}");
    assert_eq!(files_below(&folder), ["photos-2024/1.jpg"], "nothing was written into it");
}

/// It is the file that is sealed: whoever mends what it says makes another.
#[test]
fn a_small_file_is_mended_by_another_in_its_place() {
    let scratch = Scratch::new("mended");
    let folder = scratch.next();
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    disk.replace(&log(), "orders-0/partition.metadata", &text("version: 0"));
    disk.sync_everything().unwrap();
    drop(disk);
    let file = folder.join("orders-0/partition.metadata");
    std::fs::write(&file, "version: 0\n").unwrap();
    let refused = open(&folder, Hold::PageCache).unwrap_err();
    assert_eq!(refused, format!("{} is damaged: it does not hold what was written into it", file.display()));
    std::fs::rename(&file, scratch.next()).unwrap();
    std::fs::write(&file, "version: 0\n").unwrap();
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    let file = disk.open(&log(), "orders-0/partition.metadata");
    assert_eq!(disk.read_all(file).unwrap(), "version: 0\n");
}

#[test]
fn a_full_disk_fails_the_flush_and_says_so() {
    let scratch = Scratch::new("full");
    let folder = scratch.next();
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    disk.open(&log(), "orders-0/x.log");
    disk.flush().unwrap();
    drop(disk);
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    // The device that is always full takes the file's place before it is opened.
    std::fs::remove_file(folder.join("orders-0/x.log")).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.join("orders-0/x.log")).unwrap();
    let file = disk.open(&log(), "orders-0/x.log");
    disk.append(file, &text("no room"));
    assert_eq!(disk.flush(), Err(DiskError::Full));
}

#[test]
fn a_disk_fails_as_long_as_its_file_says_so() {
    let scratch = Scratch::new("faults");
    let (folder, faults) = (scratch.next(), scratch.next());
    let (mut disk, told) = open_heard(&folder, Hold::PageCache);
    disk.obey(faults.clone());
    let file = disk.open(&log(), "orders-0/0.log");
    disk.append(file, &text("one "));
    disk.flush().unwrap();

    std::fs::write(&faults, "full\n").unwrap();
    disk.append(file, &text("two "));
    assert_eq!(disk.flush(), Err(DiskError::Full));
    assert_eq!(std::fs::read(folder.join("orders-0/0.log")).unwrap(), b"one tw", "there was room for so much");
    disk.replace(&Lane::Checkpoint, "marks", &text("no room"));
    assert_eq!(disk.flush(), Err(DiskError::Full));
    disk.open(&log(), "orders-0/1.log");
    assert_eq!(disk.flush(), Err(DiskError::Full));

    let failure = |result| match result {
        Err(DiskError::Io(why)) => why,
        other => panic!("{other:?}"),
    };
    std::fs::write(&faults, "fdatasync").unwrap();
    disk.append(file, &text("three"));
    disk.flush().unwrap();
    disk.begin_sync(&log());
    let why = failure(told.recv().unwrap().1);
    assert!(why.ends_with("orders-0/0.log: fdatasync failed: Input/output error (os error 5)"), "{why}");

    std::fs::write(&faults, "ful").unwrap();
    disk.append(file, &text("four"));
    let why = failure(disk.flush());
    assert!(why.ends_with("says \"ful\", which is no fault"), "{why}");
    std::fs::remove_file(&faults).unwrap();
    disk.append(file, &text("five"));
    assert_eq!(disk.flush(), Ok(()));
}

#[test]
fn a_sync_covers_its_lane_and_is_told_once() {
    let scratch = Scratch::new("told");
    let (mut disk, told) = open_heard(&scratch.next(), Hold::PageCache);
    let lanes: Vec<Lane> = (0..8).map(|number| Lane::Log(TopicPartition::new("orders", number))).collect();
    for round in 0..20 {
        for (number, lane) in lanes.iter().enumerate() {
            let file = disk.open(lane, &format!("orders-{number}/{round}.log"));
            disk.append(file, &text("records"));
        }
        disk.flush().unwrap();
        lanes.iter().for_each(|lane| disk.begin_sync(lane));
        let mut heard: Vec<Lane> = lanes
            .iter()
            .map(|_| {
                let (lane, result) = told.recv().unwrap();
                result.unwrap();
                lane
            })
            .collect();
        heard.sort_unstable();
        assert_eq!(heard, lanes);
        heard.iter().for_each(|lane| disk.end_sync(lane));
    }
    assert!(told.try_recv().is_err(), "nothing is told that nobody asked for");
}

#[test]
fn what_a_killed_process_had_flushed_is_there() {
    let scratch = Scratch::new("kill");
    let folder = scratch.next();
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    let file = disk.open(&log(), "orders-0/0.log");
    disk.append(file, &text("one "));
    for contents in ["old", "newer", "newest"] {
        disk.replace(&log(), "orders-0/partition.metadata", &text(contents));
        disk.replace(&Lane::Checkpoint, "marks", &text(contents));
    }
    disk.replace(&Lane::Checkpoint, "gone", &text("removed again"));
    disk.flush().unwrap();
    disk.remove(&Lane::Checkpoint, "gone");
    disk.append(file, &text("two"));
    disk.flush().unwrap();
    disk.append(file, &text(" three"));
    disk.replace(&log(), "orders-0/partition.metadata", &text("not flushed"));
    // Dropping does nothing that an end of the process would not: no thread is waited for, nothing is flushed.
    drop(disk);
    let mut disk = open(&folder, Hold::PageCache).unwrap();
    let names: Vec<String> = disk.list().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["marks", "orders-0/0.log", "orders-0/partition.metadata"]);
    for (name, contents) in
        [("marks", "newest"), ("orders-0/0.log", "one two"), ("orders-0/partition.metadata", "newest")]
    {
        let file = disk.open(&Lane::Checkpoint, name);
        assert_eq!(disk.read_all(file).unwrap(), contents, "{name}");
    }
}

#[test]
fn what_was_held_back_goes_with_the_process_but_for_what_was_synced() {
    let scratch = Scratch::new("held");
    let folder = scratch.next();
    let (mut disk, told) = open_heard(&folder, Hold::Process);
    let file = disk.open(&log(), "orders-0/0.log");
    disk.append(file, &text("synced"));
    disk.flush().unwrap();
    assert!(!folder.join("orders-0").exists(), "nothing is on the disk before the sync");
    disk.begin_sync(&log());
    disk.append(file, &text(", lost"));
    let journal = disk.open(&Lane::Journal, "version-2/log.1");
    disk.append(journal, &text("of another lane"));
    disk.flush().unwrap();
    assert_eq!(told.recv().unwrap(), (log(), Ok(())));
    disk.end_sync(&log());
    assert_eq!(disk.read_all(file).unwrap(), "synced, lost", "our own reads see it");
    assert_eq!(disk.read_all(journal).unwrap(), "of another lane");
    drop(disk);
    let mut disk = open(&folder, Hold::Process).unwrap();
    let file = disk.open(&log(), "orders-0/0.log");
    assert_eq!(disk.read_all(file).unwrap(), "synced");
    assert_eq!(disk.list().len(), 1);
}

#[test]
fn a_thousand_segments_need_no_thousand_handles() {
    let scratch = Scratch::new("handles");
    let (mut disk, told) = open_heard(&scratch.next(), Hold::PageCache);
    let files: Vec<_> = (0..1_000).map(|number| disk.open(&log(), &format!("orders-0/{number}.log"))).collect();
    for (number, file) in files.iter().enumerate() {
        disk.append(*file, &[Bytes::from(vec![number as u8; 16 * 1024])]);
        disk.flush().unwrap();
    }
    disk.begin_sync(&log());
    assert_eq!(told.recv().unwrap(), (log(), Ok(())));
    disk.end_sync(&log());
    for (number, file) in files.iter().enumerate() {
        assert!(disk.read_all(*file).unwrap().iter().all(|byte| *byte == number as u8));
    }
    let handles =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    let ours = handles.filter(|path| path.starts_with(disk.folder().join("orders-0"))).count();
    assert!((1..=257).contains(&ours), "{ours} handles are open");
}

/// A long life at random, compared with a plain map, over both kinds of disk.
#[test]
fn real_files_agree_with_plain_vectors() {
    for hold in [Hold::PageCache, Hold::Process] {
        let scratch = Scratch::new(&format!("plain-{hold:?}"));
        let folder = scratch.next();
        let mut rng = glasshouse_core::rng::Rng::new(11);
        let mut plain: std::collections::BTreeMap<String, Vec<u8>> = std::collections::BTreeMap::new();
        let (mut disk, mut told) = open_heard(&folder, hold);
        for step in 0..1_500u64 {
            let name = format!("orders-{}/{}.log", rng.below(3), rng.below(4));
            let lane = log();
            match rng.below(12) {
                0 => {
                    disk.remove(&lane, &name);
                    plain.remove(&name);
                }
                1 => {
                    disk.replace(&lane, &name, &[Bytes::from(vec![step as u8; 100])]);
                    plain.insert(name.clone(), vec![step as u8; 100]);
                }
                2 if plain.contains_key(&name) => {
                    let to = rng.below(plain[&name].len() as u64 + 1);
                    let file = disk.open(&lane, &name);
                    disk.truncate(file, Position(to));
                    plain.get_mut(&name).unwrap().truncate(to as usize);
                }
                3 => disk.flush().unwrap(),
                4 => {
                    disk.flush().unwrap();
                    disk.begin_sync(&lane);
                    if rng.chance(1, 2) {
                        told.recv().unwrap().1.unwrap();
                        disk.end_sync(&lane);
                    }
                }
                5 if rng.chance(1, 12) => {
                    disk.sync_everything().unwrap();
                    drop(disk);
                    (disk, told) = open_heard(&folder, hold);
                    let names: Vec<String> = disk.list().iter().map(|(name, _)| name.to_string()).collect();
                    assert_eq!(names, plain.keys().cloned().collect::<Vec<_>>(), "{hold:?}, step {step}");
                    disk.sync_all().unwrap();
                }
                _ => {
                    let more = vec![step as u8; rng.below(50_000) as usize];
                    let file = disk.open(&lane, &name);
                    let known = plain.entry(name.clone()).or_default();
                    let (one, two) = more.split_at(more.len() / 3);
                    let at = disk.append(file, &[Bytes::copy_from_slice(one), Bytes::copy_from_slice(two)]);
                    assert_eq!(at.0, known.len() as u64);
                    known.extend_from_slice(&more);
                }
            }
            if let Some(known) = plain.get(&name) {
                let file = disk.open(&lane, &name);
                let at = rng.below(known.len() as u64 + 1);
                let len = rng.below(known.len() as u64 - at + 1);
                let read = disk.read(Extent { file, at: Position(at), len }).unwrap();
                assert!(
                    read == known[at as usize..(at + len) as usize],
                    "{hold:?}, step {step}, {name}: {len} at {at}"
                );
            }
        }
    }
}
