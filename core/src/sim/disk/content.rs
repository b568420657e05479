//! The bytes of one simulated file: cheap to clone, cheap to append to, cheap to read.

use bytes::Bytes;
use std::sync::Arc;

/// Every sealed chunk has exactly this many bytes, so equal contents are equal values however they came to be.
const CHUNK: usize = 16 * 1024;

/// Sealed chunks are shared by all clones; the tail, below one chunk, is copied by the first to append after a clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Content {
    sealed: Arc<Vec<Bytes>>,
    tail: Arc<Vec<u8>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        (self.sealed.len() * CHUNK + self.tail.len()) as u64
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let tail = Arc::make_mut(&mut self.tail);
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - tail.len()));
            tail.extend_from_slice(now);
            bytes = later;
            if tail.len() == CHUNK {
                let full = Bytes::from(core::mem::take(tail));
                Arc::make_mut(&mut self.sealed).push(full);
            }
        }
    }

    pub(super) fn truncate(&mut self, to: u64) {
        if to >= self.len() {
            return;
        }
        let (chunk, rest) = (to as usize / CHUNK, to as usize % CHUNK);
        if chunk < self.sealed.len() {
            let tail = self.sealed[chunk][..rest].to_vec();
            self.tail = Arc::new(tail);
            Arc::make_mut(&mut self.sealed).truncate(chunk);
        } else {
            Arc::make_mut(&mut self.tail).truncate(rest);
        }
    }

    /// Writes where the bytes belong: over what is there, or behind zeros if the end is not reached.
    pub(super) fn write_at(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        let after = if end < self.len() { self.read(end, self.len() - end) } else { None };
        self.truncate(at);
        if self.len() < at {
            self.append(&vec![0; (at - self.len()) as usize]);
        }
        self.append(bytes);
        self.append(&after.unwrap_or_default());
    }

    /// `None` if it is not all there.
    pub(super) fn read(&self, at: u64, len: u64) -> Option<Bytes> {
        let end = at.checked_add(len).filter(|end| *end <= self.len())?;
        let (at, end) = (at as usize, end as usize);
        let chunk = at / CHUNK;
        let from = chunk * CHUNK;
        if let Some(sealed) = self.sealed.get(chunk)
            && end <= from + CHUNK
        {
            return Some(sealed.slice(at - from..end - from));
        }
        let mut all = Vec::with_capacity(end - at);
        for sealed in self.sealed.iter().skip(chunk) {
            let skip = (at + all.len()) % CHUNK;
            let take = (CHUNK - skip).min(end - at - all.len());
            all.extend_from_slice(&sealed[skip..skip + take]);
        }
        if all.len() < end - at {
            let from = (at + all.len()) - self.sealed.len() * CHUNK;
            all.extend_from_slice(&self.tail[from..end - self.sealed.len() * CHUNK]);
        }
        Some(all.into())
    }

    /// Flips the bits of `mask` in one byte. Returns whether it is there.
    pub(super) fn flip(&mut self, at: u64, mask: u8) -> bool {
        let Some(byte) = self.read(at, 1) else { return false };
        self.write_at(at, &[byte[0] ^ mask]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_agree_with_a_plain_vector() {
        let mut rng = crate::rng::Rng::new(3);
        let (mut content, mut plain) = (Content::default(), Vec::new());
        let mut kept = Vec::new();
        for step in 0..600u64 {
            match rng.below(8) {
                0 => {
                    let to = rng.below(plain.len() as u64 + 1);
                    content.truncate(to);
                    plain.truncate(to as usize);
                }
                1 => kept.push((content.clone(), plain.clone())),
                2 => {
                    let at = rng.below(plain.len() as u64 + 100);
                    content.write_at(at, &[7; 33]);
                    plain.resize(plain.len().max(at as usize + 33), 0);
                    plain[at as usize..at as usize + 33].fill(7);
                }
                _ => {
                    let more = vec![step as u8; rng.below(9_000) as usize];
                    content.append(&more);
                    plain.extend_from_slice(&more);
                }
            }
            let at = rng.below(plain.len() as u64 + 1);
            let len = rng.below(plain.len() as u64 - at + 1);
            assert_eq!(content.len(), plain.len() as u64);
            assert_eq!(content.read(at, len).unwrap(), plain[at as usize..(at + len) as usize]);
            assert_eq!(content.read(at, plain.len() as u64 - at + 1), None);
        }
        for (content, plain) in kept {
            assert_eq!(content.read(0, content.len()).unwrap(), plain);
            let mut afresh = Content::default();
            afresh.append(&plain);
            assert_eq!(afresh, content, "equal bytes are equal values");
        }
    }
}
