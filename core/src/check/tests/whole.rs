//! Logs in full: what is on the disk, where it ends, what the epoch cache says.

use super::*;
use crate::check::log::whole::Held;
use crate::record::epoch_cache::EpochCache;
use bytes::Bytes;

fn bytes(batches: &[Stamped]) -> Bytes {
    batches.iter().flat_map(|batch| [&batch.prefix[..], &batch.body]).collect::<Vec<_>>().concat().into()
}

/// Broker 1 has committed offsets 0 and 1 in epoch 1 and has written 2 in epoch 2. It says that its log ends at `end`
/// and that epoch 2 begins at `second`; its disk holds `disk`.
fn compared(disk: &Bytes, end: i64, second: i64) -> Option<&'static str> {
    let (mut logs, mut find) = two_committed();
    logs.on_append(A, &orders(), &[batch(2, 2, 12)], &mut find);
    let epochs = EpochCache::from_entries([(LeaderEpoch(1), Offset(0)), (LeaderEpoch(2), Offset(second))]);
    let held = Held { topic_id: TopicId([1; 16]), start: 0, end, epochs: &epochs };
    // As a disk does, it gives what it has from the batch that holds the offset.
    let read = |from: i64, _| {
        let mut rest = disk.clone();
        while let Ok(batch) = Batch::take(&rest) {
            if batch.header.last().0 >= from {
                break;
            }
            rest = rest.slice(batch.bytes.len()..);
        }
        Ok(rest)
    };
    assert!(logs.compare_held(A, &orders(), held, &read, &mut find));
    fired(&find)
}

#[test]
fn a_disk_holds_what_was_written() {
    let written = [batch(0, 1, 10), batch(1, 1, 11), batch(2, 2, 12)];
    assert_eq!(compared(&bytes(&written), 3, 2), None);
    assert_eq!(compared(&bytes(&written), 4, 2), Some("LOG-10"), "its broker believes in one more");
    assert_eq!(compared(&bytes(&written[..2]), 3, 2), Some("LOG-10"), "the last is missing");
    assert_eq!(compared(&bytes(&written), 3, 1), Some("LOG-5"), "offset 1 is of epoch 1");
    let other = [batch(0, 1, 10), batch(1, 1, 99), batch(2, 2, 12)];
    assert_eq!(compared(&bytes(&other), 3, 2), Some("LOG-10"), "another record");
    let whole = bytes(&written);
    for at in 0..whole.len() {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1;
        assert_eq!(compared(&flipped.into(), 3, 2), Some("LOG-10"), "a bit of byte {at} flipped");
    }
}
