//! Cyclic sums: CRC-32 as ZooKeeper's tree digest takes it, CRC-32C as Kafka's record batches do.
//!
//! The tables are computed when they are first needed: they cannot be compressed, and a page would download them.

use std::sync::LazyLock;

/// Row k takes a byte that k more bytes follow, so that eight bytes are folded in at once.
type Table = [[u32; 256]; 8];

/// The polynomial of zip and of Java's `CRC32`.
static CRC_32: LazyLock<Table> = LazyLock::new(|| table(0xedb8_8320));
/// Castagnoli's.
static CRC_32C: LazyLock<Table> = LazyLock::new(|| table(0x82f6_3b78));

fn table(polynomial: u32) -> Table {
    let mut table = [[0u32; 256]; 8];
    for byte in 0..256 {
        let mut crc = byte as u32;
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ polynomial } else { crc >> 1 };
        }
        for row in &mut table {
            row[byte] = crc;
        }
    }
    for row in 1..8 {
        for byte in 0..256 {
            let before = table[row - 1][byte];
            table[row][byte] = (before >> 8) ^ table[0][(before & 0xff) as usize];
        }
    }
    table
}

/// Takes `bytes` into a sum that is not yet inverted.
fn fold(table: &Table, mut crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in words {
        let low = crc ^ u32::from_le_bytes([*a, *b, *c, *d]);
        crc = table[7][(low & 0xff) as usize]
            ^ table[6][((low >> 8) & 0xff) as usize]
            ^ table[5][((low >> 16) & 0xff) as usize]
            ^ table[4][(low >> 24) as usize]
            ^ table[3][*e as usize]
            ^ table[2][*f as usize]
            ^ table[1][*g as usize]
            ^ table[0][*h as usize];
    }
    for byte in rest {
        crc = (crc >> 8) ^ table[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
    }
    crc
}

/// A running CRC-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crc32 {
    state: u32,
}

impl Default for Crc32 {
    fn default() -> Crc32 {
        Crc32 { state: u32::MAX }
    }
}

impl Crc32 {
    pub fn update(&mut self, bytes: &[u8]) {
        self.state = fold(&CRC_32, self.state, bytes);
    }

    pub fn value(self) -> u32 {
        !self.state
    }
}

/// The CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// The CRC-32C of what had `crc`, and `bytes` behind it. Natively processors have an instruction for it.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    if cfg!(target_arch = "wasm32") { castagnoli(crc, bytes) } else { crc32c::crc32c_append(crc, bytes) }
}

fn castagnoli(crc: u32, bytes: &[u8]) -> u32 {
    !fold(&CRC_32C, !crc, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_the_published_check_values() {
        let mut crc = Crc32::default();
        crc.update(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
        assert_eq!((crc32c(b"123456789"), castagnoli(0, b"123456789")), (0xe306_9283, 0xe306_9283));
        let (mut whole, mut parts) = (Crc32::default(), Crc32::default());
        whole.update(b"the quick brown fox jumps over the lazy dog");
        parts.update(b"the quick brown fox ");
        parts.update(b"jumps over the lazy dog");
        assert_eq!(whole, parts);
    }

    #[test]
    fn the_page_sums_as_the_processor_does() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * n) as u8).collect();
        for cut in [0, 1, 7, 8, 9, 500, 1000] {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(castagnoli(castagnoli(0, head), tail), crc32c::crc32c(&bytes));
        }
    }
}
