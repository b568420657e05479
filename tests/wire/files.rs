//! What recovery reads from a disk that rotted, or that an enemy wrote: journals, segments and snapshots. Bent by a
//! seeded hand, and with their sums put right again, as only a bug or an enemy would: nothing panics, nothing holds much
//! more than the file has, and what is recovered is a beginning of it. `core/fuzz` has a target for each.

use crate::allocations::peak;
use crate::small::{MULTIPLE, SLACK, Verdicts, crc32c};
use bytes::Bytes;
use glasshouse_core::id::LeaderEpoch;
use glasshouse_core::record::batch::{BatchBuilder, NewRecord};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::store::journal::frame::{END_OF_FRAME, FILE_HEADER, FRAME_HEAD, head, recover_journal};
use glasshouse_core::store::segments::recover::recover_segment;
use glasshouse_core::znode::checksum::adler32;
use glasshouse_core::znode::snapshot::{SnapshotImage, Target};

const JOURNAL: &[u8] = include_bytes!("../vectors/zookeeper/files/server-1/version-2/log.300000001");
const SEGMENT: &[u8] = include_bytes!("../vectors/kafka/files/log-dir/t1-0/00000000000000000000.log");
const SNAPSHOTS: [&[u8]; 2] = [
    include_bytes!("../vectors/zookeeper/files/server-1/version-2/snapshot.0"),
    include_bytes!("../vectors/zookeeper/files/server-1/version-2/snapshot.100000102"),
];
const THOUSANDS_OF_MILLIONS: [u8; 4] = i32::MAX.to_be_bytes();
/// Of a batch: up to its length, and up to its sum.
const LENGTH_END: usize = 12;
const CRC_AT: usize = 17;

/// The frames of a log file, and the part of it that they fill; `None` if there are none.
fn journal(file: Bytes) -> Option<(Bytes, usize)> {
    let read = recover_journal(&file);
    assert!(read.end <= file.len() as u64, "recovered up to {} of {}", read.end, file.len());
    (!read.frames.is_empty()).then(|| (file.slice(..read.end as usize), read.frames.len()))
}

/// The batches of a segment, and the part of it that they fill; `None` if there are none.
fn segment(file: Bytes, sums: bool) -> Option<(Bytes, usize)> {
    let read = recover_segment(&file, Offset::ZERO, None, LeaderEpoch::NONE, sums);
    assert!(read.end <= file.len() as u64, "recovered up to {} of {}", read.end, file.len());
    (!read.batches.is_empty()).then(|| (file.slice(..read.end as usize), read.batches.len()))
}

/// Every frame's sum put right, as far as their lengths lead.
fn resummed_journal(file: Bytes) -> Bytes {
    let (mut file, mut at) = (file.to_vec(), FILE_HEADER.len());
    while let Some(length) = int(&file, at + 8) {
        let from = at + FRAME_HEAD as usize;
        let Some(txn) = file.get(from..from + length) else { break };
        let sum = i64::from(adler32(txn));
        file[at..at + 8].copy_from_slice(&sum.to_be_bytes());
        at = from + length + 1;
    }
    file.into()
}

/// Every batch's sum put right, as far as their lengths lead.
fn resummed_segment(file: Bytes) -> Bytes {
    let (mut file, mut at) = (file.to_vec(), 0);
    while let Some(length) = int(&file, at + 8) {
        let end = at + LENGTH_END + length;
        let Some(summed) = file.get(at + CRC_AT + 4..end) else { break };
        let sum = crc32c(summed);
        file[at + CRC_AT..at + CRC_AT + 4].copy_from_slice(&sum.to_be_bytes());
        at = end;
    }
    file.into()
}

/// A length that is not negative.
fn int(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..at + 4)?;
    usize::try_from(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).ok()
}

/// A snapshot's seal: the sum of all before it, and a slash.
fn sealed(body: &[u8]) -> Bytes {
    let sum = i64::from(adler32(body)).to_be_bytes();
    [body, &sum, &[0, 0, 0, 1], b"/"].concat().into()
}

#[test]
fn bent_journals_are_recovered_up_to_the_damage_and_never_hurt() {
    let wholes = [journal(Bytes::from_static(JOURNAL)).expect("Apache's own frames").0];
    let mut verdicts = Verdicts::default();
    verdicts.provoke("journal", &wholes, journal, |(filled, _)| filled.clone());
    let resummed = |file| journal(resummed_journal(file));
    verdicts.provoke("resummed journal", &wholes, resummed, |(filled, _)| filled.clone());
    verdicts.assert_both(100);
}

#[test]
fn bent_segments_are_recovered_up_to_the_damage_and_never_hurt() {
    let wholes = [Bytes::from_static(SEGMENT)];
    let mut verdicts = Verdicts::default();
    let filled = |read: &(Bytes, usize)| read.0.clone();
    verdicts.provoke("segment", &wholes, |file| segment(file, true), filled);
    verdicts.provoke("segment without sums", &wholes, |file| segment(file, false), filled);
    verdicts.provoke("resummed segment", &wholes, |file| segment(resummed_segment(file), true), filled);
    verdicts.assert_both(100);
}

#[test]
fn bent_snapshots_are_refused_or_understood_but_never_hurt() {
    let wholes = SNAPSHOTS.map(Bytes::from_static);
    let mut verdicts = Verdicts::default();
    let parse = |file| SnapshotImage::parse(file, Target::File).ok();
    verdicts.provoke("snapshot", &wholes, parse, |image| image.encode(Target::File));
    // One without what follows its first seal, and that seal put right.
    let unsealed = |image: &SnapshotImage| {
        let bare = SnapshotImage { digest: None, last_zxid: None, ..image.clone() };
        let file = bare.encode(Target::File);
        file.slice(..file.len() - sealed(b"").len())
    };
    let bodies = wholes.map(|whole| unsealed(&parse(whole).expect("Apache's own snapshot")));
    verdicts.provoke("resealed snapshot", &bodies, |body| parse(sealed(&body)), unsealed);
    verdicts.assert_both(100);
}

/// Headers that promise thousands of millions of bytes, or of elements, with next to nothing behind them.
#[test]
fn what_a_file_only_claims_to_hold_costs_nothing() {
    let mut file = [&FILE_HEADER[..], &[0; 8], &THOUSANDS_OF_MILLIONS, &[0; 40]].concat();
    file.push(END_OF_FRAME);
    let (held, frames) = peak(|| recover_journal(&file.into()).frames);
    assert!(frames.is_empty() && held < 256, "{frames:?}, {held} bytes");

    let batch = BatchBuilder::default().record(NewRecord::new(1_000, Some(b"key"), Some(b"value"))).build();
    // Its length; the offset of its last record and how many there are.
    for at in [[8, 8], [23, 57]] {
        let mut file = batch.to_vec();
        at.into_iter().for_each(|at| file[at..at + 4].copy_from_slice(&THOUSANDS_OF_MILLIONS));
        let file = resummed_segment(file.into());
        for sums in [true, false] {
            let (held, read) = peak(|| recover_segment(&file, Offset::ZERO, None, LeaderEpoch::NONE, sums));
            assert!(held < SLACK, "{held} bytes of {read:?}");
        }
    }

    let snapshot = SnapshotImage { sessions: vec![], lists: vec![], nodes: vec![], digest: None, last_zxid: None };
    let snapshot = snapshot.encode(Target::File);
    let claims: [&[u8]; 5] = [
        // Sessions; access lists; the lines of one; the bytes of a path; those of a node's data.
        &THOUSANDS_OF_MILLIONS,
        &[[0; 4], THOUSANDS_OF_MILLIONS].concat(),
        &[[0; 4], [0, 0, 0, 1], [0; 4], [0; 4], THOUSANDS_OF_MILLIONS].concat(),
        &[[0; 4], [0; 4], THOUSANDS_OF_MILLIONS].concat(),
        &[[0; 4], [0; 4], [0; 4], THOUSANDS_OF_MILLIONS].concat(),
    ];
    for claim in claims {
        let file = sealed(&[&snapshot[..16], claim, &[0; 64]].concat());
        let (held, read) = peak(|| SnapshotImage::parse(file, Target::File));
        assert!(read.is_err() && held < SLACK, "{claim:?} made a snapshot hold {held} bytes: {read:?}");
    }
}

/// Elements of the fewest bytes, as many as there is room for: where memory is furthest from the file.
#[test]
fn the_smallest_elements_of_files_stay_within_the_limit() {
    const MANY: usize = 20_000;
    let assert_within = |what: &str, size: usize, held: u64| {
        assert!(held <= size as u64 * MULTIPLE + SLACK, "{what} of {size} bytes held {held}");
    };

    let txn = [0; 32];
    let frame = [&head(&txn)[..], &txn, &[END_OF_FRAME]].concat();
    let file = Bytes::from([&FILE_HEADER[..], &frame.repeat(MANY)].concat());
    let (held, read) = peak(|| recover_journal(&file));
    assert_eq!(read.frames.len(), MANY);
    assert_within("a journal", file.len(), held);

    // Compacted away but for its header, each batch.
    let mut file = Vec::new();
    for base in 0..MANY as i64 {
        let mut batch = [0; 61];
        batch[..8].copy_from_slice(&base.to_be_bytes());
        batch[8..12].copy_from_slice(&49i32.to_be_bytes());
        batch[16] = 2;
        batch[43..57].fill(0xff);
        file.extend(batch);
    }
    let file = resummed_segment(file.into());
    let (held, read) = peak(|| recover_segment(&file, Offset::ZERO, None, LeaderEpoch::NONE, true));
    assert_eq!((read.batches.len(), read.damage), (MANY, None));
    assert_within("a segment", file.len(), held);

    let count = (MANY as u32).to_be_bytes();
    let header = &SNAPSHOTS[0][..16];
    let tail = [&[0, 0, 0, 1][..], b"/"].concat();
    let sessions = [&count[..], &[0; 12].repeat(MANY), &[0; 4], &tail].concat();
    let lists = [&[0; 4][..], &count, &[0; 12].repeat(MANY), &tail].concat();
    let lines = [&[0; 4][..], &[0, 0, 0, 1], &[0; 8], &count, &[0; 12].repeat(MANY), &tail].concat();
    // The root again and again: without a name, and with neither data nor list.
    let nodes = [&[0; 8][..], &[&[0; 4][..], &[0xff; 12], &[0; 60]].concat().repeat(MANY), &tail].concat();
    for (what, body) in [("sessions", sessions), ("lists", lists), ("lines", lines), ("nodes", nodes)] {
        let file = sealed(&[header, &body].concat());
        let size = file.len();
        let (held, read) = peak(|| SnapshotImage::parse(file, Target::File));
        assert!(read.is_ok(), "{what}: {:?}", read.err());
        assert_within(what, size, held);
    }
}
