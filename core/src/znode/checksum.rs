//! The two sums ZooKeeper's files use: Adler-32 over frames and snapshots, CRC-32 in the tree's digest.

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

/// A running CRC-32 (the polynomial of zip and Java's `CRC32`; not Kafka's CRC-32C).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crc32 {
    state: u32,
}

/// Row k takes a byte that k more bytes follow, so that eight bytes are folded in at once.
static CRC_TABLE: [[u32; 256]; 8] = crc_table();

const fn crc_table() -> [[u32; 256]; 8] {
    let mut table = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[0][byte] = crc;
        byte += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = table[row - 1][byte];
            table[row][byte] = (before >> 8) ^ table[0][(before & 0xff) as usize];
            byte += 1;
        }
        row += 1;
    }
    table
}

impl Default for Crc32 {
    fn default() -> Crc32 {
        Crc32 { state: u32::MAX }
    }
}

impl Crc32 {
    pub fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut crc = self.state;
        for [a, b, c, d, e, f, g, h] in words {
            let low = crc ^ u32::from_le_bytes([*a, *b, *c, *d]);
            crc = CRC_TABLE[7][(low & 0xff) as usize]
                ^ CRC_TABLE[6][((low >> 8) & 0xff) as usize]
                ^ CRC_TABLE[5][((low >> 16) & 0xff) as usize]
                ^ CRC_TABLE[4][(low >> 24) as usize]
                ^ CRC_TABLE[3][*e as usize]
                ^ CRC_TABLE[2][*f as usize]
                ^ CRC_TABLE[1][*g as usize]
                ^ CRC_TABLE[0][*h as usize];
        }
        for byte in rest {
            crc = (crc >> 8) ^ CRC_TABLE[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
        }
        self.state = crc;
    }

    pub fn value(self) -> u32 {
        !self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_the_published_check_values() {
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 20_000]), {
            let (mut low, mut high) = (1u64, 0u64);
            for _ in 0..20_000 {
                low = (low + 255) % 65_521;
                high = (high + low) % 65_521;
            }
            ((high << 16) | low) as u32
        });
        let mut crc = Crc32::default();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
        let (mut whole, mut parts) = (Crc32::default(), Crc32::default());
        whole.update(b"the quick brown fox jumps over the lazy dog");
        parts.update(b"the quick brown fox ");
        parts.update(b"jumps over the lazy dog");
        assert_eq!(whole, parts);
    }
}
