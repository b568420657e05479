//! Records without their contents: what a recording keeps of a batch, and a batch of the same make to put in its place.
//!
//! A machine looks at a batch's header, at whether its checksum holds and, where the body is not compressed, at whether
//! as many records are in it as the header says; never at what they say. So a recording keeps the header without its
//! checksum (which could betray a short body), the verdict on the body, and a hash that only this recording's hidden
//! key could compute again. A replay is given a body of the same length with the same verdict, of zeros.
//!
//! Transaction markers are kept whole: the machine reads them, and nobody's data is in them.

use bytes::Bytes;
use glasshouse_core::codec::{Reader, Result, Writer};
use glasshouse_core::record::batch::{Batch, BatchHeader, Compression, HEADER_BYTES, PREFIX_BYTES, validate_produced};
use sha2::{Digest, Sha256};

/// The most bytes that one set of records is blown up to again.
const MAX_SET: u64 = 256 << 20;
/// Where a header's checksum stands.
const CRC: std::ops::Range<usize> = 17..PREFIX_BYTES;

const WHOLE: u8 = 0;
const BATCH: u8 = 1;
const TAIL: u8 = 2;

/// What a machine could find out about a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The checksum is wrong.
    Broken = 0,
    /// The checksum holds.
    Sealed = 1,
    /// And there are as many plain records as the header says.
    Counted = 2,
}

/// Keys the hashes of one recording; never written down.
#[derive(Clone, Debug)]
pub struct Key(pub [u8; 32]);

impl Key {
    fn hash(&self, body: &[u8]) -> [u8; 16] {
        let whole = Sha256::new().chain_update(self.0).chain_update(body).finalize();
        std::array::from_fn(|at| whole[at])
    }
}

/// What a recording keeps of a set of records.
pub fn fold(records: &Bytes, key: &Key) -> Bytes {
    let mut to = Writer::new();
    let mut rest = records.clone();
    while !rest.is_empty() {
        let Ok(batch) = Batch::take(&rest) else {
            fold_tail(&rest, key, &mut to);
            break;
        };
        rest = rest.slice(batch.bytes.len()..);
        let body = &batch.bytes[HEADER_BYTES..];
        if batch.header.attributes.is_control() || body.is_empty() {
            to.u8(WHOLE);
            to.u32(batch.bytes.len() as u32);
            to.put(&batch.bytes);
            continue;
        }
        let mut header: [u8; HEADER_BYTES] = std::array::from_fn(|at| batch.bytes[at]);
        header[CRC].fill(0);
        to.u8(BATCH);
        to.u8(judge(&batch) as u8);
        to.put(&header);
        to.put(&key.hash(body));
    }
    to.finish()
}

/// What is no whole batch: a cut one at the end of a fetch, or nonsense. Only what could be a header counts.
fn fold_tail(rest: &Bytes, key: &Key, to: &mut Writer) {
    let head = rest.len().min(HEADER_BYTES);
    to.u8(TAIL);
    to.u32(u32::try_from(rest.len()).unwrap_or(u32::MAX));
    to.put(&rest[..head]);
    to.put(&key.hash(&rest[head..]));
}

fn judge(batch: &Batch) -> Verdict {
    if batch.verify().is_err() {
        Verdict::Broken
    } else if batch.header.attributes.compression() == Compression::None && validate_produced(&batch.bytes).is_ok() {
        Verdict::Counted
    } else {
        Verdict::Sealed
    }
}

/// Records of the same make in the place of those that were folded.
pub fn unfold(folded: Bytes) -> Result<Bytes> {
    let mut from = Reader::new(folded);
    let mut to = Writer::new();
    let mut size = 0;
    while !from.is_empty() {
        match from.u8()? {
            WHOLE => {
                let length = from.u32()?;
                to.put(&from.take(length as usize, "a whole batch")?);
            }
            BATCH => unfold_batch(&mut from, &mut to, &mut size)?,
            TAIL => {
                let length = from.u32()? as usize;
                let head = from.take(length.min(HEADER_BYTES), "the front of what is no batch")?;
                from.take(16, "a hash")?;
                afford(&from, &mut size, length as u64)?;
                to.put(&head);
                to.put(&vec![0; length - head.len()]);
            }
            _ => return from.malformed("a kind of folded records"),
        }
    }
    Ok(to.finish())
}

fn unfold_batch(from: &mut Reader, to: &mut Writer, size: &mut u64) -> Result<()> {
    let verdict = from.u8()?;
    let mut header = from.take(HEADER_BYTES, "a batch's header")?.to_vec();
    from.take(16, "a hash")?;
    let Ok(parsed) = BatchHeader::parse(&header) else { return from.malformed("a batch's header") };
    afford(from, size, parsed.size())?;
    let length = parsed.size() as usize - HEADER_BYTES;
    let body = match verdict {
        2 => match plain_body(parsed.count, length) {
            Some(body) => body,
            None => return from.malformed("a body that can hold as many records"),
        },
        0 | 1 => vec![0; length],
        _ => return from.malformed("a verdict on a body"),
    };
    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[PREFIX_BYTES..]), &body);
    let sum = if verdict == Verdict::Broken as u8 { !sum } else { sum };
    header[CRC].copy_from_slice(&sum.to_be_bytes());
    to.put(&header);
    to.put(&body);
    Ok(())
}

fn afford(from: &Reader, size: &mut u64, more: u64) -> Result<()> {
    *size += more;
    if *size > MAX_SET { from.malformed("records of at most 256 MB") } else { Ok(()) }
}

/// So many empty records with offsets from 0, the last of which fills what is left of `length`. `None`: they do not fit.
fn plain_body(count: i32, length: usize) -> Option<Vec<u8>> {
    // Attributes, timestamp, a key and a value that are null, no headers; and the offset, of one to five bytes.
    let fixed = |ordinal: i32| 5 + width(zigzag(ordinal));
    let mut body = Vec::with_capacity(length.min(1 << 20));
    for ordinal in 0..count.checked_sub(1)? {
        if body.len() >= length {
            return None;
        }
        put_varint(&mut body, zigzag(fixed(ordinal) as i32), 1);
        put_front(&mut body, ordinal);
        body.extend([1, 0]);
    }
    let left = length.checked_sub(body.len())?;
    // A length may be written with more bytes than it needs: so every total can be reached.
    for outer in 1..=5 {
        for inner in 1..=5 {
            let last = count - 1;
            let Some(content) = left.checked_sub(outer) else { continue };
            let Some(value) = content.checked_sub(fixed(last) - 1 + inner) else { continue };
            let (content_length, value_length) = (zigzag(content as i32), zigzag(value as i32));
            if width(content_length) > outer || width(value_length) > inner {
                continue;
            }
            put_varint(&mut body, content_length, outer);
            put_front(&mut body, last);
            put_varint(&mut body, value_length, inner);
            body.resize(length, 0);
            return Some(body);
        }
    }
    None
}

/// Attributes, timestamp, offset, and a key that is null.
fn put_front(body: &mut Vec<u8>, ordinal: i32) {
    body.extend([0, 0]);
    put_varint(body, zigzag(ordinal), width(zigzag(ordinal)));
    body.push(1);
}

fn zigzag(n: i32) -> u32 {
    ((n << 1) ^ (n >> 31)) as u32
}

/// Bytes that a varint needs.
fn width(n: u32) -> usize {
    (32 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

/// A varint in exactly `width` bytes.
fn put_varint(body: &mut Vec<u8>, n: u32, width: usize) {
    for at in 0..width {
        let more = if at + 1 < width { 0x80 } else { 0 };
        body.push((n >> (7 * at)) as u8 & 0x7f | more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::id::{ProducerEpoch, ProducerId};
    use glasshouse_core::record::batch::build::control_batch;
    use glasshouse_core::record::batch::{BatchBuilder, ControlKind, NewRecord, fetched};

    const KEY: Key = Key([7; 32]);

    fn batch(values: &[&[u8]]) -> Bytes {
        let records = values.iter().map(|value| NewRecord::new(9, None, Some(value)));
        BatchBuilder::default().idempotent(ProducerId(3), ProducerEpoch(0), 8).records(records).build()
    }

    fn round(records: &Bytes) -> Bytes {
        let hollow = unfold(fold(records, &KEY)).unwrap();
        assert_eq!(hollow.len(), records.len());
        hollow
    }

    /// The header but for its checksum.
    fn front(records: &Bytes) -> BatchHeader {
        BatchHeader { crc: 0, ..BatchHeader::parse(records).unwrap() }
    }

    #[test]
    fn a_hollow_batch_is_judged_as_the_one_it_stands_for() {
        let long = vec![b'x'; 70_000];
        let many = vec![&b"v"[..]; 300];
        let mut cases = vec![batch(&[b""]), batch(&[b"one", b"two"]), batch(&[&long]), batch(&many)];
        // Every length about the places where a varint grows.
        cases.extend((40..140).map(|length| batch(&[&long[..length]])));
        cases.extend((8_170..8_200).map(|length| batch(&[&long[..length], b"end"])));
        for records in cases {
            let hollow = round(&records);
            assert_eq!(front(&hollow), front(&records));
            assert!(validate_produced(&hollow).is_ok(), "{} bytes", records.len());
            assert!(!fold(&records, &KEY).windows(3).any(|window| window == b"xxx" || window == b"two"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_batch_stays_wrong() {
        let good = batch(&[b"one value that is long enough", b"two"]);
        let mut flipped = good.to_vec();
        flipped[80] ^= 1;
        let mut miscounted = good.to_vec();
        miscounted[60] = 9;
        miscounted[26] = 8;
        let sum = crc32c::crc32c(&miscounted[PREFIX_BYTES..]);
        miscounted[CRC].copy_from_slice(&sum.to_be_bytes());
        let twice = [&good[..], &good[..]].concat();
        for (records, code) in [
            (Bytes::from(flipped), 2),
            (Bytes::from(miscounted), 87),
            (Bytes::from(twice), 87),
            (good.slice(..good.len() - 1), 2),
            (good.slice(..30), 2),
            (Bytes::from_static(&[0xff; 100]), 87),
            (Bytes::new(), 87),
        ] {
            let was = validate_produced(&records).map(|_| ()).map_err(|error| error.code());
            assert_eq!(was, Err(code));
            assert_eq!(validate_produced(&round(&records)).map(|_| ()).map_err(|error| error.code()), was);
        }
    }

    #[test]
    fn compressed_bodies_markers_and_cut_ends_are_read_as_a_follower_reads_them() {
        let mut compressed = batch(&[b"pretend that this is zstd"]).to_vec();
        compressed[22] |= 4;
        let sum = crc32c::crc32c(&compressed[PREFIX_BYTES..]);
        compressed[CRC].copy_from_slice(&sum.to_be_bytes());
        let marker = control_batch(ProducerId(3), ProducerEpoch(0), ControlKind::Abort, 2, 7);
        let cut = batch(&[b"cut off"]);
        let set = [&compressed[..], &marker, &cut[..cut.len() - 3]].concat();
        let hollow = fetched(round(&Bytes::from(set))).unwrap();
        assert_eq!(hollow.len(), 2);
        assert_eq!(hollow[0].header.attributes.compression(), Compression::Zstd);
        assert_eq!((hollow[1].bytes.clone(), hollow[1].control()), (marker, Some(ControlKind::Abort)));
    }

    #[test]
    fn hostile_bytes_are_refused_without_much_memory() {
        let good = fold(&batch(&[b"one", b"two"]), &KEY);
        for cut in 1..good.len() {
            assert!(unfold(good.slice(..cut)).is_err(), "{cut}");
        }
        let mut huge = good.to_vec();
        huge[10..14].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(unfold(huge.into()).is_err());
        let mut crowded = good.to_vec();
        crowded[59..63].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(unfold(crowded.into()).is_err());
        assert!(unfold(Bytes::from_static(&[2, 0xff, 0xff, 0xff, 0xff])).is_err());
    }
}
