//! Adler-32, the sum over the frames and snapshots of ZooKeeper's files.

/// A running Adler-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Adler32 {
    low: u32,
    high: u32,
}

const ADLER_PRIME: u32 = 65_521;
/// As many bytes as can be summed before a 32-bit sum could overflow.
const ADLER_STRIDE: usize = 5552;

impl Default for Adler32 {
    fn default() -> Adler32 {
        Adler32 { low: 1, high: 0 }
    }
}

impl Adler32 {
    pub fn update(&mut self, bytes: &[u8]) {
        for stride in bytes.chunks(ADLER_STRIDE) {
            for byte in stride {
                self.low += u32::from(*byte);
                self.high += self.low;
            }
            self.low %= ADLER_PRIME;
            self.high %= ADLER_PRIME;
        }
    }

    pub fn value(self) -> u32 {
        (self.high << 16) | self.low
    }
}

/// The Adler-32 of `bytes`.
pub fn adler32(bytes: &[u8]) -> u32 {
    let mut sum = Adler32::default();
    sum.update(bytes);
    sum.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_agrees_with_the_published_check_value() {
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 20_000]), {
            let (mut low, mut high) = (1u64, 0u64);
            for _ in 0..20_000 {
                low = (low + 255) % 65_521;
                high = (high + low) % 65_521;
            }
            ((high << 16) | low) as u32
        });
    }
}
