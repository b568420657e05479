//! The end of a file in memory: what was accepted and is not written yet, and of a log what was appended lately, so
//! that followers and consumers at the tail are served without a read. Knows nothing of files.

use bytes::Bytes;
use std::collections::VecDeque;

/// Reads of at least so many bytes that span parts join these for the readers to come; smaller ones are just copied.
const JOIN: usize = 32 * 1024;
/// Parts smaller than this on average are copied into one: a slice of a few bytes would keep a whole frame alive.
const SMALL: u64 = 4 * 1024;

/// Consecutive bytes up to the end of a file, in shared parts.
#[derive(Debug, Default)]
pub(super) struct Tail {
    at: u64,
    len: u64,
    parts: VecDeque<Part>,
}

#[derive(Debug)]
struct Part {
    at: u64,
    bytes: Bytes,
}

impl Part {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

impl Tail {
    /// Nothing, of a file that ends at `at`.
    pub(super) fn empty(at: u64) -> Tail {
        Tail { at, len: 0, parts: VecDeque::new() }
    }

    /// Where it begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes it holds.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn end(&self) -> u64 {
        self.at + self.len
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let part = Part { at: self.end(), bytes };
            self.len += part.bytes.len() as u64;
            self.parts.push_back(part);
        }
    }

    /// What lies from `from` on, which it must reach.
    pub(super) fn from(&self, from: u64) -> Vec<Bytes> {
        let first = self.parts.partition_point(|part| part.end() <= from);
        let slice = |part: &Part| part.bytes.slice(from.saturating_sub(part.at) as usize..);
        self.parts.range(first..).map(slice).collect()
    }

    /// Lets go of everything from `to` on. May leave it empty, at `to`.
    pub(super) fn truncate(&mut self, to: u64) {
        if to <= self.at {
            *self = Tail::empty(to);
            return;
        }
        while let Some(mut last) = self.parts.pop_back() {
            if last.at < to {
                last.bytes.truncate((to - last.at) as usize);
                self.parts.push_back(last);
                break;
            }
        }
        self.len = to.min(self.end()) - self.at;
    }

    /// Lets go of the parts that end at or below `upto`, while it holds more than `keep` bytes.
    pub(super) fn forget(&mut self, upto: u64, keep: u64) {
        while self.len > keep
            && let Some(first) = self.parts.pop_front_if(|first| first.end() <= upto)
        {
            self.at = first.end();
            self.len -= first.bytes.len() as u64;
        }
        if self.parts.is_empty() && self.parts.capacity() > 64 {
            self.parts = VecDeque::new();
        }
    }

    /// Copies the parts from `from` on into one if they are small.
    pub(super) fn compact(&mut self, from: u64) {
        let first = self.parts.partition_point(|part| part.at < from);
        let count = (self.parts.len() - first) as u64;
        if count > 1 && (self.end() - from) / count < SMALL {
            self.join(first, self.parts.len());
        }
    }

    /// `len` bytes from `from` on, all of which it holds. What a large read had to put together stays so.
    pub(super) fn read(&mut self, from: u64, len: usize) -> Bytes {
        let end = from + len as u64;
        assert!(self.at <= from && end <= self.end(), "{len} bytes at {from} of {}..{}", self.at, self.end());
        let first = self.parts.partition_point(|part| part.end() <= from);
        let Some(part) = self.parts.get(first) else { return Bytes::new() };
        let skip = (from - part.at) as usize;
        if end <= part.end() {
            return part.bytes.slice(skip..skip + len);
        }
        let after = self.parts.partition_point(|part| part.at < end);
        // Joined parts are let go together: one that holds far more than was read is not worth it.
        let whole = self.parts[after - 1].end() - part.at;
        if len >= JOIN && whole <= 2 * len as u64 {
            return self.join(first, after).slice(skip..skip + len);
        }
        let mut copy = Vec::with_capacity(len);
        self.copy(from, len, &mut copy);
        copy.into()
    }

    /// Adds `len` bytes from `from` on to `into`.
    pub(super) fn copy(&self, from: u64, len: usize, into: &mut Vec<u8>) {
        let end = into.len() + len;
        let first = self.parts.partition_point(|part| part.end() <= from);
        for part in self.parts.range(first..) {
            let bytes = &part.bytes[from.saturating_sub(part.at) as usize..];
            into.extend_from_slice(&bytes[..bytes.len().min(end - into.len())]);
            if into.len() == end {
                break;
            }
        }
        assert!(into.len() == end, "a tail ends {} bytes too early", end - into.len());
    }

    fn join(&mut self, first: usize, after: usize) -> Bytes {
        let at = self.parts[first].at;
        let end = self.parts[after - 1].end();
        let mut joined = Vec::with_capacity((end - at) as usize);
        for part in self.parts.drain(first..after) {
            joined.extend_from_slice(&part.bytes);
        }
        let bytes = Bytes::from(joined);
        self.parts.insert(first, Part { at, bytes: bytes.clone() });
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(seed: u64, len: u64) -> Bytes {
        (0..len).map(|at| (seed + at) as u8).collect()
    }

    #[test]
    fn a_tail_agrees_with_a_plain_vector() {
        let mut rng = glasshouse_core::rng::Rng::new(5);
        let (mut tail, mut plain) = (Tail::empty(0), Vec::new());
        for step in 0..2_000u64 {
            match rng.below(10) {
                0 => {
                    let to = rng.below(plain.len() as u64 + 1);
                    plain.truncate(to as usize);
                    tail.truncate(to);
                }
                1 => tail.forget(rng.below(tail.end() + 1), rng.below(100_000)),
                2 => {
                    let from = tail.at() + rng.below(tail.len() + 1);
                    tail.compact(from);
                }
                _ => {
                    let more = bytes(step, rng.below(20_000));
                    plain.extend_from_slice(&more);
                    tail.push(more);
                }
            }
            assert_eq!(tail.end(), plain.len() as u64);
            let from = tail.at() + rng.below(tail.len() + 1);
            let len = rng.below(tail.end() - from + 1) as usize;
            assert_eq!(tail.read(from, len), plain[from as usize..from as usize + len]);
            let rest: Vec<u8> = tail.from(from).concat();
            assert_eq!(rest, plain[from as usize..]);
        }
    }

    #[test]
    fn a_large_read_is_put_together_once() {
        let mut tail = Tail::empty(10);
        tail.push(bytes(1, 21));
        tail.push(bytes(2, 100_000));
        let first = tail.read(10, 100_021);
        let second = tail.read(31, 50_000);
        assert_eq!(second.as_ptr(), first[21..].as_ptr(), "the second reader shares the first one's bytes");
    }
}
