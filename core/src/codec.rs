//! Bounded reading and writing of big-endian bytes, shared by files and wires.
//!
//! A reader never panics and never reserves more than the bytes that arrived can hold: a declared length or count is
//! checked against what remains first. Jute's primitives are here because files and the wire both speak them.

use bytes::{BufMut, Bytes, BytesMut};
use core::fmt;

/// The bytes are not what they should be: where, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Malformed {
    /// Bytes from the start of what was being read.
    pub at: u64,
    pub expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed at byte {}: expected {}", self.at, self.expected)
    }
}

impl std::error::Error for Malformed {}

pub type Result<T> = core::result::Result<T, Malformed>;

/// Reads from shared bytes; slices of them are handed out without a copy.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The failure "expected `expected` here".
    pub fn malformed<T>(&self, expected: &'static str) -> Result<T> {
        Err(Malformed { at: self.at as u64, expected })
    }

    /// Takes `length` bytes, shared with the input.
    pub fn take(&mut self, length: usize, expected: &'static str) -> Result<Bytes> {
        if length > self.remaining() {
            return self.malformed(expected);
        }
        let taken = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(taken)
    }

    /// Takes `length` bytes of UTF-8, lent.
    pub fn text(&mut self, length: usize) -> Result<&str> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..length)).map(core::str::from_utf8) {
            Some(Ok(text)) => {
                self.at += length;
                Ok(text)
            }
            _ => Err(Malformed { at: self.at as u64, expected: "a string in UTF-8" }),
        }
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => self.malformed(expected),
        }
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>("a byte").map(|[byte]| byte)
    }
    pub fn i8(&mut self) -> Result<i8> {
        self.array("an int8").map(i8::from_be_bytes)
    }
    pub fn i16(&mut self) -> Result<i16> {
        self.array("an int16").map(i16::from_be_bytes)
    }
    pub fn u16(&mut self) -> Result<u16> {
        self.array("a uint16").map(u16::from_be_bytes)
    }
    pub fn i32(&mut self) -> Result<i32> {
        self.array("an int32").map(i32::from_be_bytes)
    }
    pub fn u32(&mut self) -> Result<u32> {
        self.array("a uint32").map(u32::from_be_bytes)
    }
    pub fn i64(&mut self) -> Result<i64> {
        self.array("an int64").map(i64::from_be_bytes)
    }
    pub fn f64(&mut self) -> Result<f64> {
        self.array("a float64").map(f64::from_be_bytes)
    }
    pub fn bytes16(&mut self) -> Result<[u8; 16]> {
        self.array("16 bytes")
    }

    /// Jute and Kafka agree: one byte, not zero is true.
    pub fn bool(&mut self) -> Result<bool> {
        self.u8().map(|byte| byte != 0)
    }

    /// A count of elements of at least `smallest` bytes each, which must fit into what remains. Negative gives `None`.
    pub fn count(&mut self, declared: i64, smallest: usize) -> Result<Option<usize>> {
        if declared < 0 {
            return Ok(None);
        }
        let room = (self.remaining() / smallest.max(1)) as i64;
        if declared > room {
            return self.malformed("a count that fits into the bytes that follow");
        }
        Ok(Some(declared as usize))
    }

    /// Jute `buffer`: an i32 length, −1 for null, then the bytes.
    pub fn jute_buffer(&mut self) -> Result<Option<Bytes>> {
        let declared = i64::from(self.i32()?);
        match self.count(declared, 1)? {
            None => Ok(None),
            Some(length) => self.take(length, "a buffer").map(Some),
        }
    }

    /// Jute `ustring`; null reads as empty, as ZooKeeper's own servers treat it.
    pub fn jute_string(&mut self) -> Result<String> {
        let at = self.at;
        let bytes = self.jute_buffer()?.unwrap_or_default();
        match core::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Malformed { at: at as u64, expected: "a string in UTF-8" }),
        }
    }

    /// Jute `vector`: an i32 count, −1 for null (read as empty), then the elements of at least `smallest` bytes each.
    pub fn jute_vector<T>(&mut self, smallest: usize, read: impl Fn(&mut Reader) -> Result<T>) -> Result<Vec<T>> {
        let declared = i64::from(self.i32()?);
        let count = self.count(declared, smallest)?.unwrap_or(0);
        let mut elements = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// An unsigned varint of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            if shift == 28 && byte > 0x0f {
                return self.malformed("a varint of at most 32 bits");
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.malformed("a varint of at most 5 bytes")
    }

    /// A zig-zag varint of at most 32 bits.
    pub fn varint(&mut self) -> Result<i32> {
        self.uvarint().map(|raw| ((raw >> 1) as i32) ^ -((raw & 1) as i32))
    }

    /// A zig-zag varint of at most 64 bits.
    pub fn varlong(&mut self) -> Result<i64> {
        let mut raw = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return self.malformed("a varlong of at most 64 bits");
            }
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64));
            }
        }
        self.malformed("a varlong of at most 10 bytes")
    }
}

/// Writes big-endian bytes into a growing buffer. Long shared bytes need not be copied into it: they are remembered,
/// and [`Writer::into_segments`] puts them in their places.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: BytesMut,
    /// Where in `bytes` which shared bytes belong, ascending.
    shared: Vec<(usize, Bytes)>,
}

/// Shorter bytes are copied: a segment costs more than they do.
const WORTH_SHARING: usize = 512;

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { bytes: BytesMut::with_capacity(capacity), shared: Vec::new() }
    }

    /// Bytes written into the buffer; shared ones are not among them.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.shared.is_empty()
    }

    /// All that was written, in one piece.
    pub fn finish(self) -> Bytes {
        if self.shared.is_empty() {
            return self.bytes.freeze();
        }
        let mut segments = self.into_segments();
        if segments.len() == 1 {
            return segments.remove(0);
        }
        let mut whole = BytesMut::with_capacity(segments.iter().map(Bytes::len).sum());
        for segment in &segments {
            whole.put_slice(segment);
        }
        whole.freeze()
    }

    /// All that was written, in pieces, so that shared bytes are not copied.
    pub fn into_segments(self) -> Vec<Bytes> {
        let own = self.bytes.freeze();
        let mut segments = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut from = 0;
        for (at, shared) in self.shared {
            if at > from {
                segments.push(own.slice(from..at));
            }
            segments.push(shared);
            from = at;
        }
        if from < own.len() {
            segments.push(own.slice(from..));
        }
        segments
    }

    /// The buffer; shared bytes are not in it.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes bytes that are shared, without a copy if they are long.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < WORTH_SHARING {
            self.put(bytes);
        } else {
            self.shared.push((self.bytes.len(), bytes.clone()));
        }
    }

    /// Writes what `write` writes behind its length as an unsigned varint. It must not write long shared bytes.
    pub fn length_prefixed(&mut self, write: impl FnOnce(&mut Writer)) {
        let (at, shared) = (self.bytes.len(), self.shared.len());
        self.u8(0);
        write(self);
        assert_eq!(self.shared.len(), shared, "shared bytes behind a length that does not count them");
        let mut length = self.bytes.len() - at - 1;
        // Almost always one byte; a longer length moves what was written.
        let mut end = at;
        while length >= 0x80 {
            self.bytes[end] = length as u8 | 0x80;
            length >>= 7;
            end += 1;
            self.u8(0);
            let last = self.bytes.len() - 1;
            self.bytes.copy_within(end..last, end + 1);
        }
        self.bytes[end] = length as u8;
    }

    /// Overwrites four bytes written earlier: a length that is known only now.
    pub fn patch_i32(&mut self, at: usize, value: i32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub fn put(&mut self, raw: &[u8]) {
        self.bytes.put_slice(raw);
    }
    pub fn u8(&mut self, n: u8) {
        self.bytes.put_u8(n);
    }
    pub fn i8(&mut self, n: i8) {
        self.bytes.put_i8(n);
    }
    pub fn i16(&mut self, n: i16) {
        self.bytes.put_i16(n);
    }
    pub fn u16(&mut self, n: u16) {
        self.bytes.put_u16(n);
    }
    pub fn i32(&mut self, n: i32) {
        self.bytes.put_i32(n);
    }
    pub fn u32(&mut self, n: u32) {
        self.bytes.put_u32(n);
    }
    pub fn i64(&mut self, n: i64) {
        self.bytes.put_i64(n);
    }
    pub fn f64(&mut self, n: f64) {
        self.bytes.put_f64(n);
    }
    pub fn bool(&mut self, yes: bool) {
        self.bytes.put_u8(u8::from(yes));
    }

    pub fn jute_buffer(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.i32(-1),
            Some(bytes) => {
                self.i32(bytes.len() as i32);
                self.put(bytes);
            }
        }
    }

    pub fn jute_string(&mut self, text: &str) {
        self.jute_buffer(Some(text.as_bytes()));
    }

    pub fn jute_vector<T>(&mut self, elements: &[T], write: impl Fn(&mut Writer, &T)) {
        self.i32(elements.len() as i32);
        for element in elements {
            write(self, element);
        }
    }

    pub fn uvarint(&mut self, mut n: u32) {
        while n >= 0x80 {
            self.u8(n as u8 | 0x80);
            n >>= 7;
        }
        self.u8(n as u8);
    }

    pub fn varint(&mut self, n: i32) {
        self.uvarint(((n << 1) ^ (n >> 31)) as u32);
    }

    pub fn varlong(&mut self, n: i64) {
        let mut raw = ((n << 1) ^ (n >> 63)) as u64;
        while raw >= 0x80 {
            self.u8(raw as u8 | 0x80);
            raw >>= 7;
        }
        self.u8(raw as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_their_ends() {
        for n in [0, 1, -1, 63, -64, 64, i32::MAX, i32::MIN] {
            let mut writer = Writer::new();
            writer.varint(n);
            writer.varlong(i64::from(n) * 7);
            let mut reader = Reader::new(writer.finish());
            assert_eq!((reader.varint(), reader.varlong()), (Ok(n), Ok(i64::from(n) * 7)));
            assert!(reader.is_empty());
        }
        for n in [i64::MAX, i64::MIN] {
            let mut writer = Writer::new();
            writer.varlong(n);
            assert_eq!(Reader::new(writer.finish()).varlong(), Ok(n));
        }
    }

    #[test]
    fn a_hostile_count_is_refused_before_anything_is_reserved() {
        let mut reader = Reader::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 1, 2]));
        assert_eq!(
            reader.jute_vector(4, Reader::i32),
            Err(Malformed { at: 4, expected: "a count that fits into the bytes that follow" })
        );
        let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x7f]));
        assert!(reader.uvarint().is_err());
    }

    #[test]
    fn a_length_known_only_afterwards_takes_as_many_bytes_as_it_needs() {
        for length in [0usize, 1, 127, 128, 300, 16_383, 16_384, 70_000] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut writer = Writer::new();
            writer.u8(9);
            writer.length_prefixed(|writer| writer.put(&payload));
            let mut reader = Reader::new(writer.finish());
            assert_eq!((reader.u8(), reader.uvarint()), (Ok(9), Ok(length as u32)));
            assert_eq!(reader.rest(), payload);
        }
    }

    #[test]
    fn shared_bytes_stand_where_they_were_put() {
        let (long, short) = (Bytes::from(vec![1; 600]), Bytes::from(vec![2; 3]));
        let mut writer = Writer::new();
        writer.put_shared(&long);
        writer.put_shared(&short);
        writer.put_shared(&long);
        writer.u8(4);
        let segments = writer.clone().into_segments();
        assert_eq!(segments, [long.clone(), short, long.clone(), Bytes::from_static(&[4])]);
        assert_eq!(writer.finish(), segments.concat());
        let mut writer = Writer::new();
        writer.put_shared(&long);
        assert_eq!(writer.finish().as_ptr(), long.as_ptr());
    }

    #[test]
    fn jute_null_is_kept_apart_from_empty() {
        let mut writer = Writer::new();
        writer.jute_buffer(None);
        writer.jute_buffer(Some(b""));
        let mut reader = Reader::new(writer.finish());
        assert_eq!(reader.jute_buffer(), Ok(None));
        assert_eq!(reader.jute_buffer(), Ok(Some(Bytes::new())));
    }
}
