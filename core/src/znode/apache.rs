//! Tests against files that Apache's servers wrote (ZooKeeper 3.9.5; `tests/vectors/zookeeper/files`).

use super::snapshot::{self, SnapshotImage, Target};
use super::tree::{OpResult, Tree};
use super::txn::{DIGEST_VERSION, LoggedTxn, Txn, decode_txn};
use crate::codec::Reader;
use crate::id::Zxid;
use crate::rng::Rng;
use bytes::Bytes;

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../tests/vectors/zookeeper/files/", $name)) as &'static [u8])
    };
}

type File = (&'static str, &'static [u8]);

const SNAPSHOTS: [File; 13] = [
    file!("server-1/version-2/snapshot.0"),
    file!("server-1/version-2/snapshot.100000102"),
    file!("server-1/version-2/snapshot.300000009"),
    file!("server-1/version-2/snapshot.400000016"),
    file!("server-2/version-2/snapshot.0"),
    file!("server-2/version-2/snapshot.100000023"),
    file!("server-2/version-2/snapshot.10000005c"),
    file!("server-2/version-2/snapshot.100000093"),
    file!("server-2/version-2/snapshot.1000000b4"),
    file!("server-2/version-2/snapshot.1000000d7"),
    file!("server-2/version-2/snapshot.100000104"),
    file!("server-2/version-2/snapshot.200000002"),
    file!("server-2/version-2/snapshot.40000002d"),
];

/// Each server's logs, in order.
const LOGS: [&[File]; 3] = [
    &[
        file!("server-1/version-2/log.100000103"),
        file!("server-1/version-2/log.300000001"),
        file!("server-1/version-2/log.400000018"),
    ],
    &[
        file!("server-2/version-2/log.100000001"),
        file!("server-2/version-2/log.100000025"),
        file!("server-2/version-2/log.10000005e"),
        file!("server-2/version-2/log.100000095"),
        file!("server-2/version-2/log.1000000b6"),
        file!("server-2/version-2/log.1000000d9"),
        file!("server-2/version-2/log.100000100"),
        file!("server-2/version-2/log.300000001"),
        file!("server-2/version-2/log.40000002f"),
    ],
    &[
        file!("server-3/version-2/log.100000001"),
        file!("server-3/version-2/log.10000003b"),
        file!("server-3/version-2/log.100000064"),
        file!("server-3/version-2/log.10000009a"),
        file!("server-3/version-2/log.1000000b9"),
        file!("server-3/version-2/log.1000000d8"),
        file!("server-3/version-2/log.100000104"),
        file!("server-3/version-2/log.200000001"),
        file!("server-3/version-2/log.300000001"),
        file!("server-3/version-2/log.400000023"),
    ],
];

fn zxid_in(name: &str) -> Zxid {
    Zxid(u64::from_str_radix(name.rsplit('.').next().unwrap(), 16).unwrap())
}

/// The frames of a log file: checksum, length, txn, end byte; up to the padding.
fn frames(log: &'static [u8]) -> Vec<Bytes> {
    let mut reader = Reader::new(Bytes::from_static(&log[16..]));
    let mut frames = Vec::new();
    while reader.remaining() > 12 {
        let (checksum, length) = (reader.i64().unwrap(), reader.i32().unwrap());
        if length == 0 {
            break;
        }
        let frame = reader.take(length as usize, "a txn").unwrap();
        assert_eq!(checksum, i64::from(super::checksum::adler32(&frame)));
        assert_eq!(reader.u8(), Ok(0x42));
        frames.push(frame);
    }
    frames
}

fn load(file: &File) -> Tree {
    let (name, bytes) = file;
    snapshot::parse(Bytes::from_static(bytes), Target::File, zxid_in(name)).unwrap()
}

#[test]
fn every_logged_txn_decodes_and_encodes_to_the_same_bytes() {
    let mut seen = crate::ordered::OrdMap::new();
    for (name, log) in LOGS.iter().flat_map(|logs| logs.iter()) {
        for frame in frames(log) {
            let logged = decode_txn(frame.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(logged.encode(), frame, "{name}: {:?}", logged.txn);
            *seen.entry(logged.txn.op()).or_insert(0u32) += 1;
        }
    }
    let kinds: Vec<i32> = seen.keys().copied().collect();
    assert_eq!(kinds, [-11, -10, -1, 1, 2, 5, 7, 14, 15, 16, 19, 20, 21]);
}

#[test]
fn every_snapshot_encodes_to_the_same_bytes_and_its_digest_is_ours() {
    for file in &SNAPSHOTS {
        let (name, bytes) = file;
        let bytes = Bytes::from_static(bytes);
        let image = SnapshotImage::parse(bytes.clone(), Target::File).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(image.encode(Target::File), bytes, "{name}");
        let tree = load(file);
        let (zxid, digest) = image.digest.expect("3.9 writes a digest");
        // A server that has applied no txn yet writes 0.
        let ours = if zxid == Zxid::ZERO { 0 } else { tree.digest() };
        assert_eq!((digest.version, digest.tree), (DIGEST_VERSION, ours), "{name}");
    }
}

#[test]
fn our_snapshot_of_apaches_tree_reads_back_as_the_same_tree() {
    for file in &SNAPSHOTS {
        let tree = load(file);
        for target in [Target::File, Target::Stream] {
            let again = snapshot::parse(snapshot::serialize(&tree, target), target, tree.last_zxid());
            assert_eq!(again, Ok(tree.clone()), "{}", file.0);
        }
    }
}

/// Every snapshot of every server, with that server's log behind it: each digest the leader foretold comes true.
#[test]
fn replaying_the_logs_reaches_every_digest_the_leader_foretold() {
    let mut compared = 0;
    for (server, logs) in LOGS.iter().enumerate() {
        let prefix = format!("server-{}/", server + 1);
        let txns: Vec<LoggedTxn> =
            logs.iter().flat_map(|(_, log)| frames(log)).map(|frame| decode_txn(frame).unwrap()).collect();
        let starts = SNAPSHOTS.iter().filter(|(name, _)| name.starts_with(&prefix)).map(load);
        for mut tree in starts.chain((server == 2).then(Tree::new)) {
            for logged in &txns {
                let (zxid, last) = (logged.header.zxid, tree.last_zxid());
                if zxid <= last {
                    continue;
                }
                if zxid.0 != last.0 + 1 && zxid.counter() != 1 {
                    break; // What is missing in this log came by SNAP; a later snapshot holds it.
                }
                let applied = tree.apply(&logged.header, &logged.txn);
                if let (OpResult::Error(code), false) = (&applied.result, matches!(logged.txn, Txn::Error(_))) {
                    panic!("{zxid} failed with {code}: {}", logged.txn);
                }
                if let Some(digest) = logged.digest {
                    assert_eq!(digest.tree, tree.digest(), "{zxid} {}", logged.txn);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000, "only {compared} digests were compared");
}

/// Replaying from any earlier txn over a later tree ends in the same tree, as a replay over a fuzzy snapshot must.
#[test]
fn replaying_twice_changes_nothing() {
    let txns: Vec<LoggedTxn> =
        LOGS[2].iter().flat_map(|(_, log)| frames(log)).map(|frame| decode_txn(frame).unwrap()).collect();
    let mut tree = Tree::new();
    for logged in &txns {
        tree.apply(&logged.header, &logged.txn);
    }
    for from in (0..txns.len()).step_by(7) {
        let mut again = tree.clone();
        for logged in &txns[from..] {
            again.apply(&logged.header, &logged.txn);
        }
        assert_eq!(again.digest(), tree.digest(), "replayed from {}", txns[from].header.zxid);
        assert_eq!(again, tree);
    }
}

/// A snapshot written piece by piece while the log goes on is made whole by replaying the log from its name.
#[test]
fn a_fuzzy_snapshot_is_made_whole_by_replay() {
    let txns: Vec<LoggedTxn> =
        LOGS[2].iter().flat_map(|(_, log)| frames(log)).map(|frame| decode_txn(frame).unwrap()).collect();
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut tree = Tree::new();
        let begin = rng.below(txns.len() as u64 - 60) as usize;
        for logged in &txns[..begin] {
            tree.apply(&logged.header, &logged.txn);
        }
        let mut cursor = snapshot::SnapshotCursor::new(&tree, Target::File);
        let (mut written, mut at) = (Vec::new(), begin);
        while let Some(piece) = cursor.next_piece(&tree, 200) {
            written.extend_from_slice(&piece);
            for logged in txns.iter().skip(at).take(rng.below(12) as usize) {
                tree.apply(&logged.header, &logged.txn);
                at += 1;
            }
        }
        assert!(at > begin, "nothing happened while the snapshot was written");
        let mut restored = snapshot::parse(Bytes::from(written), Target::File, cursor.zxid()).unwrap();
        for logged in &txns[begin..at] {
            restored.apply(&logged.header, &logged.txn);
        }
        assert_eq!(restored, tree, "seed {seed}");
    }
}

/// Truncated and mutated bytes are refused or read as something else; they never panic.
#[test]
fn hostile_bytes_are_refused_without_a_panic() {
    let mut rng = Rng::new(3);
    let (name, whole) = SNAPSHOTS[6];
    for round in 0..3000u32 {
        let mut bytes = whole.to_vec();
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        for _ in 0..rng.below(4) {
            if let Some(at) = (!bytes.is_empty()).then(|| rng.below(bytes.len() as u64) as usize) {
                bytes[at] = rng.next() as u8;
            }
        }
        if bytes != whole {
            // Cutting behind the first seal leaves a whole snapshot, as of older servers.
            if let Ok(image) = SnapshotImage::parse(Bytes::from(bytes.clone()), Target::File) {
                assert!(image.digest.is_none() || image.last_zxid.is_none(), "{name}, round {round}");
            }
            // A stream has no seal, so that what is read may be wrong; putting it together must hold all the same.
            let mut stream = snapshot::serialize(&load(&SNAPSHOTS[6]), Target::Stream).to_vec();
            let at = rng.below(stream.len() as u64) as usize;
            stream[at] = rng.next() as u8;
            let _either_way = snapshot::parse(Bytes::from(stream), Target::Stream, Zxid::ZERO);
        }
    }
    let logs: Vec<Bytes> = LOGS[2].iter().flat_map(|(_, log)| frames(log)).collect();
    for frame in logs {
        for _ in 0..30 {
            let mut bytes = frame.to_vec();
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            if let Some(at) = (!bytes.is_empty()).then(|| rng.below(bytes.len() as u64) as usize) {
                bytes[at] = rng.next() as u8;
            }
            if let Ok(logged) = decode_txn(Bytes::from(bytes)) {
                Tree::new().apply(&logged.header, &logged.txn);
            }
        }
    }
}
