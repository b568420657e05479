//! The frames of a ZooKeeper log file: an Adler-32, a length, a transaction, an end byte (protocol.md A.9).
//!
//! Plain functions over the bytes of one file; what a damaged frame means for the node is decided in `boot`.

use crate::id::Zxid;
use crate::znode::checksum::adler32;
use bytes::Bytes;

/// Bytes of a file's header: "ZKLG", version 2, database id 0.
pub const FILE_HEADER: &[u8; 16] = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";
/// Bytes before a transaction: an i64 checksum and an i32 length.
pub const FRAME_HEAD: u64 = 12;
/// What ends a frame.
pub const END_OF_FRAME: u8 = 0x42;
/// Bytes of a frame beside its transaction.
pub const FRAME_EXTRA: u64 = FRAME_HEAD + 1;
/// The zxid's place in a serialised transaction: after clientId i64 and cxid i32.
const ZXID_AT: usize = 12;
/// The smallest transaction: its header alone.
const SMALLEST_TXN: usize = 32;

/// The head of the frame that holds `txn`.
pub fn head(txn: &[u8]) -> [u8; FRAME_HEAD as usize] {
    let mut head = [0; FRAME_HEAD as usize];
    head[..8].copy_from_slice(&i64::from(adler32(txn)).to_be_bytes());
    head[8..].copy_from_slice(&(txn.len() as i32).to_be_bytes());
    head
}

/// A transaction and where its frame begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    pub at: u64,
    pub zxid: Zxid,
    /// Shared with the file's bytes.
    pub txn: Bytes,
}

impl Frame {
    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.at + FRAME_EXTRA + self.txn.len() as u64
    }
}

/// How the frames of a file end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    /// With the file, or with nothing but zeros: space that ZooKeeper reserves ahead.
    Clean,
    /// With something that is no frame: what is wrong with it, and where a good frame follows after all.
    Damaged { why: &'static str, good_after: Option<u64> },
}

/// What a log file holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovered {
    pub frames: Vec<Frame>,
    /// The end of the last good frame, or of the file's header.
    pub end: u64,
    pub tail: Tail,
}

/// Reads a log file up to its first damaged frame. Never panics, never reserves more than the file has.
pub fn recover_journal(file: &Bytes) -> Recovered {
    if file.get(..FILE_HEADER.len()).is_none_or(|header| header[..8] != FILE_HEADER[..8]) {
        let why = "not the header of a log file";
        let nothing = file.iter().all(|byte| *byte == 0);
        let tail = if nothing { Tail::Clean } else { Tail::Damaged { why, good_after: find_frame(file, 0) } };
        return Recovered { frames: Vec::new(), end: 0, tail };
    }
    let mut frames = Vec::new();
    let mut at = FILE_HEADER.len() as u64;
    loop {
        match frame_at(file, at) {
            Ok(Some(frame)) => {
                at = frame.end();
                frames.push(frame);
            }
            Ok(None) => return Recovered { frames, end: at, tail: Tail::Clean },
            Err(why) => {
                let good_after = find_frame(file, at + 1);
                return Recovered { frames, end: at, tail: Tail::Damaged { why, good_after } };
            }
        }
    }
}

/// The frame that begins at `at`; `None` where the file ends, or nothing but zeros follows.
///
/// # Errors
/// What is wrong with it.
pub fn frame_at(file: &Bytes, at: u64) -> Result<Option<Frame>, &'static str> {
    let rest = &file[file.len().min(at as usize)..];
    let Some(head) = rest.first_chunk::<{ FRAME_HEAD as usize }>() else {
        return if rest.iter().all(|byte| *byte == 0) { Ok(None) } else { Err("a frame's head is cut off") };
    };
    let sum = i64::from_be_bytes(core::array::from_fn(|byte| head[byte]));
    let length = i32::from_be_bytes(core::array::from_fn(|byte| head[8 + byte]));
    if length == 0 {
        return if rest.iter().all(|byte| *byte == 0) { Ok(None) } else { Err("a frame without a length") };
    }
    let Ok(length) = usize::try_from(length) else { return Err("a frame with a negative length") };
    if length < SMALLEST_TXN {
        return Err("a frame too short for a transaction");
    }
    let from = FRAME_HEAD as usize;
    let Some(txn) = rest.get(from..from + length) else { return Err("a frame is cut off") };
    if rest.get(from + length) != Some(&END_OF_FRAME) {
        return Err("a frame without its end");
    }
    if i64::from(adler32(txn)) != sum {
        return Err("a transaction's checksum is wrong");
    }
    let zxid = i64::from_be_bytes(core::array::from_fn(|byte| txn[ZXID_AT + byte]));
    let start = at as usize + from;
    Ok(Some(Frame { at, zxid: Zxid::from_wire(zxid), txn: file.slice(start..start + length) }))
}

/// The first good frame at or after `from`, wherever it may begin.
fn find_frame(file: &Bytes, from: u64) -> Option<u64> {
    (from..file.len() as u64).find(|at| {
        let at = *at as usize;
        // Cheap before dear: the length must fit and the end byte be there before anything is summed.
        let Some(head) = file[at..].first_chunk::<{ FRAME_HEAD as usize }>() else { return false };
        let length = i32::from_be_bytes(core::array::from_fn(|byte| head[8 + byte]));
        length >= SMALLEST_TXN as i32
            && file.get(at + FRAME_HEAD as usize + length as usize) == Some(&END_OF_FRAME)
            && matches!(frame_at(file, at as u64), Ok(Some(_)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn txn(zxid: u64, body: &[u8]) -> Bytes {
        let mut txn = vec![0; 12];
        txn.extend_from_slice(&zxid.to_be_bytes());
        txn.extend_from_slice(&[0; 12]);
        txn.extend_from_slice(body);
        txn.into()
    }

    fn file(zxids: core::ops::RangeInclusive<u64>) -> Vec<u8> {
        let mut file = FILE_HEADER.to_vec();
        for zxid in zxids {
            let txn = txn(zxid, b"set /config");
            file.extend_from_slice(&head(&txn));
            file.extend_from_slice(&txn);
            file.push(END_OF_FRAME);
        }
        file
    }

    #[test]
    fn padding_is_the_end() {
        let mut bytes = file(1..=3);
        let end = bytes.len() as u64;
        bytes.resize(4096, 0);
        let read = recover_journal(&bytes.into());
        assert_eq!((read.frames.len(), read.end, read.tail), (3, end, Tail::Clean));
    }

    #[test]
    fn every_cut_of_a_file_gives_the_frames_before_it() {
        let whole = file(1..=3);
        let frame = (whole.len() - 16) / 3;
        for cut in 0..whole.len() {
            let read = recover_journal(&Bytes::copy_from_slice(&whole[..cut]));
            assert_eq!(read.frames.len(), cut.saturating_sub(16) / frame, "cut at {cut}");
            assert!(!matches!(read.tail, Tail::Damaged { good_after: Some(_), .. }), "cut at {cut}");
        }
    }

    #[test]
    fn a_good_frame_after_a_damaged_one_is_found() {
        let mut bytes = file(1..=3);
        let frame = (bytes.len() - 16) / 3;
        bytes[16 + frame + 20] ^= 1;
        let read = recover_journal(&bytes.clone().into());
        assert_eq!((read.frames.len(), read.end), (1, (16 + frame) as u64));
        let why = "a transaction's checksum is wrong";
        assert_eq!(read.tail, Tail::Damaged { why, good_after: Some((16 + 2 * frame) as u64) });
        bytes.truncate(16 + 2 * frame + 5);
        let read = recover_journal(&bytes.into());
        assert_eq!(read.tail, Tail::Damaged { why, good_after: None });
    }

    #[test]
    fn hostile_bytes_never_panic_and_give_only_sound_frames() {
        let mut rng = crate::rng::Rng::new(42);
        let good = file(1..=5);
        for _ in 0..5_000 {
            let mut bytes = good.clone();
            for _ in 0..rng.range(1, 6) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next() as u8;
            }
            bytes.truncate(rng.range(0, bytes.len() as u64) as usize);
            let read = recover_journal(&bytes.into());
            for frame in read.frames {
                assert_eq!(frame.txn, txn(frame.zxid.0, b"set /config"), "a frame that nobody wrote");
            }
        }
    }
}
