//! Snapshot files as the store sees them: whole or not, and the marker by which one replaces the history before it.
//!
//! Their contents are `znode::snapshot`'s business.

use super::snapshot_name;
use crate::id::Zxid;
use crate::znode::checksum::Adler32;
use bytes::Bytes;

/// The marker's file. Not one of ZooKeeper's, whose tools pass over it.
pub(in crate::store) const MARKER_NAME: &str = "version-2/snapshot.replaces";

/// Bytes of a seal: an Adler-32 as i64 over all before it, and the string "/".
const SEAL: usize = 13;

/// Whether a snapshot file is whole: it has its header, and ends with a seal over everything before it.
pub fn is_whole(file: &[u8]) -> bool {
    let Some(sealed) = file.len().checked_sub(SEAL).filter(|_| file.starts_with(b"ZKSN")) else { return false };
    let mut sum = Adler32::default();
    sum.update(&file[..sealed]);
    file[sealed..sealed + 8] == i64::from(sum.value()).to_be_bytes() && file[sealed + 8..] == *b"\0\0\0\x01/"
}

/// Says: once this snapshot is there, these files are history of another leader and must go.
///
/// It is written before the snapshot and removed after the files, each step a barrier or behind one, so that a crash
/// leaves the old history whole or the new one alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marker {
    snapshot: String,
    bytes: u64,
    sum: u32,
    pub(in crate::store) obsolete: Vec<String>,
}

impl Marker {
    pub(in crate::store) fn new(zxid: Zxid, pieces: &[Bytes], obsolete: Vec<String>) -> Marker {
        let mut sum = Adler32::default();
        pieces.iter().for_each(|piece| sum.update(piece));
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Marker { snapshot: snapshot_name(zxid), bytes, sum: sum.value(), obsolete }
    }

    /// A line on the snapshot, one for each file, and one with the Adler-32 of all of them.
    pub fn to_bytes(&self) -> Bytes {
        let mut text = format!("{} {} {:08x}\n", self.snapshot, self.bytes, self.sum);
        for name in &self.obsolete {
            text.push_str(name);
            text.push('\n');
        }
        text.push_str(&seal(&text));
        text.into()
    }

    /// `None` for anything but a whole marker: one wrong byte in it would leave, or remove, another file.
    pub fn parse(bytes: &[u8]) -> Option<Marker> {
        let text = core::str::from_utf8(bytes).ok()?;
        let (sealed, sum) = text.split_at_checked(text.len().checked_sub(seal("").len())?)?;
        let mut lines = sealed.strip_suffix('\n').filter(|_| sum == seal(sealed))?.split('\n');
        let mut first = lines.next()?.split(' ');
        let marker = Marker {
            snapshot: first.next()?.to_owned(),
            bytes: first.next()?.parse().ok()?,
            sum: u32::from_str_radix(first.next()?, 16).ok()?,
            obsolete: lines.map(str::to_owned).collect(),
        };
        first.next().is_none().then_some(marker)
    }

    /// The file the marker waits for.
    pub(in crate::store) fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// Whether these are the snapshot's bytes, not those of an older file of its name.
    pub(in crate::store) fn is(&self, file: &[u8]) -> bool {
        let mut sum = Adler32::default();
        sum.update(file);
        file.len() as u64 == self.bytes && sum.value() == self.sum
    }
}

/// The last line of a marker.
fn seal(text: &str) -> String {
    let mut sum = Adler32::default();
    sum.update(text.as_bytes());
    format!("{:08x}\n", sum.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ZabEpoch;

    #[test]
    fn a_marker_is_read_as_it_was_written_or_not_at_all() {
        let obsolete = vec!["version-2/log.100000001".to_owned(), "version-2/snapshot.0".to_owned()];
        let marker = Marker::new(Zxid::new(ZabEpoch(2), 7), &[Bytes::from_static(b"ZKSN")], obsolete);
        let written = marker.to_bytes();
        assert_eq!(Marker::parse(&written), Some(marker));
        for at in 0..written.len() {
            assert_eq!(Marker::parse(&written[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut flipped = written.to_vec();
                flipped[at] ^= 1 << bit;
                assert_eq!(Marker::parse(&flipped), None, "bit {bit} of byte {at} flipped");
            }
        }
    }
}
