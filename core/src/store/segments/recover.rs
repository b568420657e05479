//! Which batches of a segment's bytes can be trusted: a plain function, and a target for hostile bytes.

use crate::id::LeaderEpoch;
use crate::record::batch::{Batch, BatchError, BatchHeader, ControlKind};
use crate::record::offset::Offset;
use bytes::Bytes;

/// A batch that was found sound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    pub at: u64,
    pub header: BatchHeader,
    /// What a transaction marker says, and its coordinator's epoch.
    pub marker: Option<(ControlKind, i32)>,
}

/// What a segment file holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecoveredSegment {
    pub batches: Vec<Found>,
    /// Where the last sound batch ends.
    pub end: u64,
    /// What is wrong with what follows; `None`: nothing follows.
    pub damage: Option<String>,
}

/// Reads a segment that begins at `base`, up to its first bad batch or the first that reaches `limit` (where the next
/// segment begins). `epoch` is that of the log's last batch before it. With `sums` every checksum is verified.
pub fn recover_segment(
    file: &Bytes,
    base: Offset,
    limit: Option<Offset>,
    epoch: LeaderEpoch,
    sums: bool,
) -> RecoveredSegment {
    let mut recovered = RecoveredSegment { batches: Vec::new(), end: 0, damage: None };
    let mut place = Place { base, next: base, limit, epoch };
    while recovered.end < file.len() as u64 {
        match whole(&file.slice(recovered.end as usize..), sums) {
            Ok(batch) => {
                if let Err(why) = place.take(&batch.header) {
                    recovered.damage = Some(why);
                    if batch.header.base < place.next || is_older(batch.header.epoch, place.epoch) {
                        recovered.distrust_last(&batch.header, base, epoch);
                    }
                    break;
                }
                recovered.batches.push(Found { at: recovered.end, header: batch.header, marker: batch.marker() });
                recovered.end += batch.bytes.len() as u64;
            }
            Err(why) => {
                recovered.damage = Some(why);
                break;
            }
        }
    }
    recovered
}

impl RecoveredSegment {
    /// The last batch and `refused` contradict each other, and place and epoch are under no checksum: if without the last one
    /// `refused` would be in its place, the last one may be wrong, and goes as well.
    fn distrust_last(&mut self, refused: &BatchHeader, base: Offset, epoch: LeaderEpoch) {
        let before = self.batches.len().checked_sub(2).map(|at| &self.batches[at].header);
        let (next, epoch) = before.map_or((base, epoch), |before| (before.next(), before.epoch));
        if !self.batches.is_empty() && refused.base >= next && !is_older(refused.epoch, epoch) {
            self.end = self.batches.pop().map_or(0, |last| last.at);
        }
    }
}

/// Leader epochs never go down in a log. (Without one, a batch says nothing about it.)
fn is_older(epoch: LeaderEpoch, before: LeaderEpoch) -> bool {
    epoch != LeaderEpoch::NONE && epoch < before
}

/// Where the next batch may lie.
struct Place {
    base: Offset,
    next: Offset,
    limit: Option<Offset>,
    epoch: LeaderEpoch,
}

impl Place {
    fn take(&mut self, header: &BatchHeader) -> Result<(), String> {
        let (base, next) = (self.base, self.next);
        if header.base < next {
            return Err(format!("a batch at offset {} where {next} or more was due", header.base));
        }
        if let Some(limit) = self.limit.filter(|limit| header.last() >= *limit) {
            return Err(format!("a batch up to offset {} in a segment that ends before {limit}", header.last()));
        }
        if header.last() - base > i64::from(i32::MAX) {
            return Err(format!("offset {} is too far from the segment's base {base}", header.last()));
        }
        if is_older(header.epoch, self.epoch) {
            return Err(format!("a batch of epoch {} after one of epoch {}", header.epoch, self.epoch));
        }
        self.next = header.next();
        self.epoch = self.epoch.max(header.epoch);
        Ok(())
    }
}

/// The batch at the front, if it is whole and, with `sums`, sealed.
fn whole(rest: &Bytes, sums: bool) -> Result<Batch, String> {
    let batch = Batch::take(rest).map_err(|error| match error {
        BatchError::Short { have, need } => format!("a batch of {need} bytes is cut off after {have}"),
        other => other.to_string(),
    })?;
    if sums {
        batch.verify().map_err(|error| error.to_string())?;
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LeaderEpoch;
    use crate::record::batch::{BatchBuilder, NewRecord};

    fn batch(base: i64) -> Bytes {
        of_epoch(1, base)
    }

    fn of_epoch(epoch: i32, base: i64) -> Bytes {
        let built = BatchBuilder::default()
            .record(NewRecord::new(1_000 + base, Some(b"key"), Some(b"value")))
            .record(NewRecord::new(1_001 + base, None, Some(b"other")))
            .build();
        Batch::take(&built).unwrap().stamp(Offset(base), LeaderEpoch(epoch)).to_bytes()
    }

    fn file() -> Vec<u8> {
        [batch(10), batch(12), batch(20)].concat()
    }

    #[test]
    fn gaps_are_legal_and_steps_back_are_not() {
        let read = recover_segment(&file().into(), Offset(10), None, LeaderEpoch::NONE, true);
        assert_eq!((read.batches.len(), read.damage), (3, None));
        let back: Bytes = [batch(10), batch(11)].concat().into();
        let read = recover_segment(&back, Offset(10), None, LeaderEpoch::NONE, true);
        assert_eq!(read.damage.as_deref(), Some("a batch at offset 11 where 12 or more was due"));
        let read = recover_segment(&file().into(), Offset(10), Some(Offset(21)), LeaderEpoch::NONE, true);
        assert_eq!((read.batches.len(), read.damage.is_some()), (2, true), "the next segment begins at 21");
    }

    fn read(batches: &[(i32, i64)], after: i32) -> (Vec<i64>, Option<String>) {
        let file: Bytes = batches.iter().flat_map(|(epoch, base)| of_epoch(*epoch, *base)).collect();
        let read = recover_segment(&file, Offset(10), None, LeaderEpoch(after), true);
        assert_eq!(read.end, read.batches.last().map_or(0, |last| last.at + u64::from(last.header.size() as u32)));
        (read.batches.iter().map(|batch| batch.header.base.0).collect(), read.damage)
    }

    /// Place and epoch are under no checksum: what they say is held against the batches around.
    #[test]
    fn epochs_never_go_down_and_who_contradicts_its_neighbours_goes() {
        assert_eq!(read(&[(3, 10), (3, 12), (5, 14)], 3), (vec![10, 12, 14], None));
        assert_eq!(read(&[(-1, 10), (3, 12), (-1, 14)], 2), (vec![10, 12, 14], None), "without an epoch, no witness");
        let down = "a batch of epoch 3 after one of epoch 5";
        assert_eq!(
            read(&[(5, 10), (5, 12), (3, 14), (5, 16)], 5),
            (vec![10, 12], Some(down.into())),
            "14 is the odd one"
        );
        let up = "a batch of epoch 3 after one of epoch 7";
        assert_eq!(
            read(&[(3, 10), (3, 12), (7, 14), (3, 16)], 3),
            (vec![10, 12], Some(up.into())),
            "14 is the odd one"
        );
        let first = "a batch of epoch 3 after one of epoch 4";
        assert_eq!(read(&[(3, 10), (3, 12)], 4), (vec![], Some(first.into())), "after the segment before");
        let far = "a batch at offset 14 where 1014 or more was due";
        assert_eq!(read(&[(3, 10), (3, 1012), (3, 14)], 3), (vec![10], Some(far.into())), "1012 is the odd one");
    }

    #[test]
    fn every_cut_of_a_segment_gives_the_batches_before_it() {
        let whole = file();
        let size = whole.len() / 3;
        for cut in 0..=whole.len() {
            let read =
                recover_segment(&Bytes::copy_from_slice(&whole[..cut]), Offset(10), None, LeaderEpoch::NONE, true);
            assert_eq!((read.batches.len(), read.end as usize), (cut / size, cut / size * size), "cut at {cut}");
            assert_eq!(read.damage.is_some(), cut % size != 0);
        }
    }

    #[test]
    fn a_hole_of_zeros_is_no_batch() {
        let mut whole = file();
        let size = whole.len() / 3;
        whole[size..2 * size].fill(0);
        let read = recover_segment(&whole.into(), Offset(10), None, LeaderEpoch::NONE, true);
        assert_eq!((read.batches.len(), read.end as usize), (1, size));
    }

    #[test]
    fn hostile_bytes_never_panic_and_give_only_sound_batches() {
        let mut rng = crate::rng::Rng::new(99);
        let whole = file();
        let good = recover_segment(&whole.clone().into(), Offset(10), None, LeaderEpoch::NONE, true).batches;
        for _ in 0..5_000 {
            let mut bytes = whole.clone();
            for _ in 0..rng.range(1, 6) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next() as u8;
            }
            bytes.truncate(rng.range(0, bytes.len() as u64) as usize);
            let bytes = Bytes::from(bytes);
            for (found, good) in
                recover_segment(&bytes, Offset(10), None, LeaderEpoch::NONE, true).batches.iter().zip(&good)
            {
                // Base offset and epoch lie outside the checksum; all else must be as it was written.
                assert_eq!(
                    (found.at, found.header.crc, found.header.count),
                    (good.at, good.header.crc, good.header.count)
                );
            }
            recover_segment(&bytes, Offset(10), None, LeaderEpoch::NONE, false);
        }
    }
}
