//! A data directory that ZooKeeper 3.9.5 left behind, killed in the middle: read as TxnLogToolkit reads it, and its
//! transactions written again to the byte.

use crate::{disk_of, vectors};
use bytes::Bytes;
use glasshouse_core::api::storage::{Lane, StoreOp};
use glasshouse_core::id::{ZabEpoch, Zxid};
use glasshouse_core::sim::disk::SimDisk;
use glasshouse_core::store::Store;
use glasshouse_core::store::journal::frame::{Tail, recover_journal};
use glasshouse_core::store::journal::snapshot::is_whole;

fn folder() -> std::path::PathBuf {
    vectors("zookeeper/files/server-1")
}

fn files(kind: &str) -> Vec<(u64, Bytes)> {
    let mut found: Vec<(u64, Bytes)> = std::fs::read_dir(folder().join("version-2"))
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let zxid = u64::from_str_radix(path.file_name()?.to_str()?.strip_prefix(kind)?, 16).ok()?;
            Some((zxid, Bytes::from(std::fs::read(&path).unwrap())))
        })
        .collect();
    found.sort_unstable_by_key(|(zxid, _)| *zxid);
    found
}

#[test]
fn transactions_are_those_of_the_dump() {
    let mut compared = 0;
    for (first, log) in files("log.") {
        let read = recover_journal(&log);
        assert_eq!(read.tail, Tail::Clean, "log.{first:x} ends in reserved zeros");
        let dump = folder().join(format!("version-2/log.{first:x}.txt"));
        let dump = String::from_utf8_lossy(&std::fs::read(dump).unwrap()).into_owned();
        let told: Vec<u64> = dump
            .lines()
            .filter_map(|line| line.split_once(" zxid 0x")?.1.split(' ').next())
            .map(|hex| u64::from_str_radix(hex, 16).unwrap())
            .collect();
        let ours: Vec<u64> = read.frames.iter().map(|frame| frame.zxid.0).collect();
        assert_eq!(ours, told, "log.{first:x}");
        compared += ours.len();
    }
    assert!(compared > 50, "{compared} transactions");
}

#[test]
fn snapshots_are_whole_and_a_flipped_bit_is_seen() {
    for (zxid, file) in files("snapshot.") {
        assert!(is_whole(&file), "snapshot.{zxid:x}");
        let mut rotten = file.to_vec();
        rotten[file.len() / 2] ^= 0x10;
        assert!(!is_whole(&rotten), "snapshot.{zxid:x}");
        assert!(!is_whole(&file[..file.len() - 1]), "snapshot.{zxid:x}");
    }
}

#[test]
fn a_killed_server_boots_from_its_newest_snapshot() {
    let mut store = Store::new(disk_of(&folder()));
    let image = store.boot_keeper().unwrap();
    assert_eq!((image.accepted_epoch, image.current_epoch), (ZabEpoch(4), ZabEpoch(4)));
    assert_eq!(image.snapshot.as_ref().map(|(zxid, _)| *zxid), Some(Zxid(0x4_0000_0016)));
    assert_eq!(image.txns.first().map(|(zxid, _)| *zxid), Some(Zxid(0x4_0000_0017)));
    assert_eq!(image.cuts, []);
}

#[test]
fn a_journal_is_written_again_to_the_byte() {
    for (first, log) in files("log.") {
        let mut store = Store::new(SimDisk::new());
        store.boot_keeper().unwrap();
        let read = recover_journal(&log);
        for frame in read.frames {
            store.perform(&Lane::Journal, StoreOp::AppendTxn { zxid: frame.zxid, txn: frame.txn }).unwrap();
        }
        let ours = store.disk.contents(&format!("version-2/log.{first:x}")).unwrap();
        assert_eq!(ours, log[..read.end as usize], "all but the reserved zeros of log.{first:x}");
    }
}
