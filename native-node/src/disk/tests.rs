//! What a disk keeps in memory of what is gone.

use super::{Disk, FileDisk, Hold, Identity};
use bytes::Bytes;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::id::{NodeId, TopicPartition};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let number = getrandom::u64().expect("entropy");
        Folder(std::env::temp_dir().join(format!("glasshouse-disk-{number:016x}")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(disk: &mut FileDisk, lane: &Lane, name: &str) {
    let file = disk.open(lane, name);
    disk.append(file, &[Bytes::from_static(b"records")]);
    disk.flush().unwrap();
}

#[test]
fn lanes_of_deleted_logs_are_let_go() {
    let folder = Folder::new();
    let (tell, told) = mpsc::channel();
    let done = Arc::new(move |lane, result| drop(tell.send((lane, result))));
    let identity = Identity { cluster: "c".to_owned(), node: NodeId::Broker(1) };
    let mut disk = FileDisk::open(&folder.0, &identity, Hold::PageCache, done).unwrap();
    let log = |number: i32| (Lane::Log(TopicPartition::new("orders", number)), format!("orders-{number}/0.log"));
    let (kept, name_of_kept) = log(0);
    write(&mut disk, &kept, &name_of_kept);
    for number in 1..=100 {
        let (lane, name) = log(number);
        write(&mut disk, &lane, &name);
        // One that is under way, or is begun afterwards, is told all the same.
        if number % 2 == 0 {
            disk.begin_sync(&lane);
        }
        disk.remove(&lane, &name);
        disk.flush().unwrap();
        assert!(!disk.lane_at.contains_key(&lane));
        if number % 2 == 1 {
            disk.begin_sync(&lane);
        }
        assert_eq!(told.recv().unwrap(), (lane.clone(), Ok(())));
        disk.end_sync(&lane);
    }
    assert_eq!((disk.lanes.len(), disk.lane_at.len(), disk.dirty_files), (2, 1, 1), "the kept log's, and a free place");

    // A log that is made again under the name, between two flushes, keeps its lane.
    let (lane, name) = log(1);
    write(&mut disk, &lane, &name);
    disk.remove(&lane, &name);
    write(&mut disk, &lane, &name);
    assert!(disk.lane_at.contains_key(&lane));
    disk.begin_sync(&lane);
    assert_eq!(told.recv().unwrap(), (lane.clone(), Ok(())));
    disk.remove(&lane, &name);
    disk.flush().unwrap();
    assert_eq!((disk.lanes.len(), disk.lane_at.len(), disk.ended.len()), (2, 1, 0));
    disk.sync_everything().unwrap();
    drop(disk);
    let disk = FileDisk::open(&folder.0, &identity, Hold::PageCache, Arc::new(|_, _| {})).unwrap();
    assert_eq!(disk.list().iter().map(|(name, _)| &**name).collect::<Vec<_>>(), [name_of_kept]);
}
