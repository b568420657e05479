//! Which batches of a segment's bytes can be trusted: a plain function, and a target for hostile bytes.

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
/// segment begins). With `sums` every checksum is verified; a segment that was synced before is not summed again.
pub fn recover_segment(file: &Bytes, base: Offset, limit: Option<Offset>, sums: bool) -> RecoveredSegment {
    let mut recovered = RecoveredSegment { batches: Vec::new(), end: 0, damage: None };
    let mut next = base;
    while recovered.end < file.len() as u64 {
        match sound(&file.slice(recovered.end as usize..), base, next, limit, sums) {
            Ok(batch) => {
                next = batch.header.next();
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

/// The batch at the front, if it is whole, sound, and in its place.
fn sound(rest: &Bytes, base: Offset, next: Offset, limit: Option<Offset>, sums: bool) -> Result<Batch, String> {
    let batch = Batch::take(rest).map_err(|error| match error {
        BatchError::Short { have, need } => format!("a batch of {need} bytes is cut off after {have}"),
        other => other.to_string(),
    })?;
    if sums {
        batch.verify().map_err(|error| error.to_string())?;
    }
    let header = &batch.header;
    if header.base < next {
        return Err(format!("a batch at offset {} where {next} or more was due", header.base));
    }
    if let Some(limit) = limit.filter(|limit| header.last() >= *limit) {
        return Err(format!("a batch up to offset {} in a segment that ends before {limit}", header.last()));
    }
    if header.last() - base > i64::from(i32::MAX) {
        return Err(format!("offset {} is too far from the segment's base {base}", header.last()));
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LeaderEpoch;
    use crate::record::batch::{BatchBuilder, NewRecord};

    fn batch(base: i64) -> Bytes {
        let built = BatchBuilder::default()
            .record(NewRecord::new(1_000 + base, Some(b"key"), Some(b"value")))
            .record(NewRecord::new(1_001 + base, None, Some(b"other")))
            .build();
        Batch::take(&built).unwrap().stamp(Offset(base), LeaderEpoch(1)).to_bytes()
    }

    fn file() -> Vec<u8> {
        [batch(10), batch(12), batch(20)].concat()
    }

    #[test]
    fn gaps_are_legal_and_steps_back_are_not() {
        let read = recover_segment(&file().into(), Offset(10), None, true);
        assert_eq!((read.batches.len(), read.damage), (3, None));
        let back: Bytes = [batch(10), batch(11)].concat().into();
        let read = recover_segment(&back, Offset(10), None, true);
        assert_eq!(read.damage.as_deref(), Some("a batch at offset 11 where 12 or more was due"));
        let read = recover_segment(&file().into(), Offset(10), Some(Offset(21)), true);
        assert_eq!((read.batches.len(), read.damage.is_some()), (2, true), "the next segment begins at 21");
    }

    #[test]
    fn every_cut_of_a_segment_gives_the_batches_before_it() {
        let whole = file();
        let size = whole.len() / 3;
        for cut in 0..=whole.len() {
            let read = recover_segment(&Bytes::copy_from_slice(&whole[..cut]), Offset(10), None, true);
            assert_eq!((read.batches.len(), read.end as usize), (cut / size, cut / size * size), "cut at {cut}");
            assert_eq!(read.damage.is_some(), cut % size != 0);
        }
    }

    #[test]
    fn a_hole_of_zeros_is_no_batch() {
        let mut whole = file();
        let size = whole.len() / 3;
        whole[size..2 * size].fill(0);
        let read = recover_segment(&whole.into(), Offset(10), None, true);
        assert_eq!((read.batches.len(), read.end as usize), (1, size));
    }

    #[test]
    fn hostile_bytes_never_panic_and_give_only_sound_batches() {
        let mut rng = crate::rng::Rng::new(99);
        let whole = file();
        let good = recover_segment(&whole.clone().into(), Offset(10), None, true).batches;
        for _ in 0..5_000 {
            let mut bytes = whole.clone();
            for _ in 0..rng.range(1, 6) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next() as u8;
            }
            bytes.truncate(rng.range(0, bytes.len() as u64) as usize);
            let bytes = Bytes::from(bytes);
            for (found, good) in recover_segment(&bytes, Offset(10), None, true).batches.iter().zip(&good) {
                // Base offset and epoch lie outside the checksum; all else must be as it was written.
                assert_eq!(
                    (found.at, found.header.crc, found.header.count),
                    (good.at, good.header.crc, good.header.count)
                );
            }
            recover_segment(&bytes, Offset(10), None, false);
        }
    }
}
