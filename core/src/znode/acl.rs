//! Access lists: who may do what to a znode, and the few schemes by which that is decided.

use crate::codec::{Reader, Result, Writer};
use core::fmt;
use std::sync::Arc;

/// Permission bits (protocol.md B.2). CREATE and DELETE are about children, so they are asked of the parent.
pub mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// Somebody, as a scheme names them: `world:anyone`, `digest:bob:<hash>`, `ip:10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub scheme: Arc<str>,
    pub id: Arc<str>,
}

impl Id {
    pub fn new(scheme: &str, id: &str) -> Id {
        Id { scheme: Arc::from(scheme), id: Arc::from(id) }
    }

    pub fn anyone() -> Id {
        Id::new("world", "anyone")
    }

    /// May everything, whatever an access list says.
    pub fn is_super(&self) -> bool {
        &*self.scheme == "super"
    }

    pub fn encode(&self, writer: &mut Writer) {
        writer.jute_string(&self.scheme);
        writer.jute_string(&self.id);
    }

    pub fn decode(reader: &mut Reader) -> Result<Id> {
        Ok(Id { scheme: reader.jute_string()?.into(), id: reader.jute_string()?.into() })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.id)
    }
}

/// One line of an access list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// Bits of [`perms`].
    pub perms: i32,
    pub id: Id,
}

impl Acl {
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, id: Id::new(scheme, id) }
    }

    pub fn encode(&self, writer: &mut Writer) {
        writer.i32(self.perms);
        self.id.encode(writer);
    }

    pub fn decode(reader: &mut Reader) -> Result<Acl> {
        Ok(Acl { perms: reader.i32()?, id: Id::decode(reader)? })
    }
}

/// A znode's access list. Cheap to clone; equal lists of a tree are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclList(Arc<[Acl]>);

impl AclList {
    pub fn new(lines: impl Into<Arc<[Acl]>>) -> AclList {
        AclList(lines.into())
    }

    /// `OPEN_ACL_UNSAFE`: anyone may do everything.
    pub fn open() -> AclList {
        AclList::new([Acl::new(perms::ALL, "world", "anyone")])
    }

    /// `READ_ACL_UNSAFE`: anyone may read.
    pub fn read_only() -> AclList {
        AclList::new([Acl::new(perms::READ, "world", "anyone")])
    }

    pub fn lines(&self) -> &[Acl] {
        &self.0
    }

    /// May somebody who holds `ids` do what `wanted` (bits of [`perms`]; one of them suffices) asks? An empty list
    /// allows all, and so does an id of scheme `super`.
    pub fn allows(&self, wanted: i32, ids: &[Id]) -> bool {
        if self.0.is_empty() || ids.iter().any(Id::is_super) {
            return true;
        }
        self.0.iter().filter(|acl| acl.perms & wanted != 0).any(|acl| {
            let anyone = &*acl.id.scheme == "world" && &*acl.id.id == "anyone";
            anyone || ids.iter().any(|id| id.scheme == acl.id.scheme && matches(acl, id))
        })
    }

    /// The list with digests hidden, for who may read it but not administer the node.
    pub fn masked(&self) -> AclList {
        let mask = |acl: &Acl| match acl.id.id.split_once(':') {
            Some((user, _)) if &*acl.id.scheme == "digest" => Acl::new(acl.perms, "digest", &format!("{user}:x")),
            _ => acl.clone(),
        };
        AclList::new(self.0.iter().map(mask).collect::<Vec<_>>())
    }

    pub fn encode(&self, writer: &mut Writer) {
        writer.jute_vector(&self.0, |writer, acl| acl.encode(writer));
    }

    /// A null list reads as empty.
    pub fn decode(reader: &mut Reader) -> Result<AclList> {
        Ok(AclList(reader.jute_vector(12, Acl::decode)?.into()))
    }
}

/// Does `id` fall under this line? Schemes are equal already.
fn matches(acl: &Acl, id: &Id) -> bool {
    match &*acl.id.scheme {
        "ip" => ip_matches(&acl.id.id, &id.id),
        _ => acl.id.id == id.id,
    }
}

/// Is `address` within `expression` (`10.0.0.1`, `10.0.0.0/8`, the same in IPv6)?
fn ip_matches(expression: &str, address: &str) -> bool {
    let (base, bits) = match expression.split_once('/') {
        Some((base, bits)) => (base, Some(bits)),
        None => (expression, None),
    };
    let (Some(base), Some(address)) = (octets(base), octets(address)) else { return false };
    let width = base.len() as u32 * 8;
    let bits = match bits.map(str::parse::<u32>) {
        None => width,
        Some(Ok(bits)) if bits <= width => bits,
        Some(_) => return false,
    };
    base.len() == address.len()
        && (0..bits as usize).all(|bit| (base[bit / 8] ^ address[bit / 8]) & (0x80 >> (bit % 8)) == 0)
}

fn octets(text: &str) -> Option<Vec<u8>> {
    match text.parse::<core::net::IpAddr>().ok()? {
        core::net::IpAddr::V4(address) => Some(address.octets().to_vec()),
        core::net::IpAddr::V6(address) => Some(address.octets().to_vec()),
    }
}

/// Is this a line an access list may hold? (`AuthenticationProvider.isValid`; scheme `auth` is replaced before.)
pub fn is_valid(id: &Id) -> bool {
    match &*id.scheme {
        "world" => &*id.id == "anyone",
        "digest" => id.id.split(':').count() == 2,
        "ip" => {
            let (base, bits) = id.id.split_once('/').unwrap_or((&id.id, "0"));
            octets(base).is_some_and(|octets| bits.parse::<usize>().is_ok_and(|bits| bits <= octets.len() * 8))
        }
        "x509" | "sasl" => !id.id.is_empty(),
        _ => false,
    }
}

/// The id that scheme `digest` gives to `user:password`: `user:base64(sha1(user:password))`.
pub fn digest_id(credentials: &str) -> String {
    let user = credentials.split(':').next().unwrap_or_default();
    format!("{user}:{}", base64(&sha1(credentials.as_bytes())))
}

/// Base64 in the usual alphabet, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let symbol = ALPHABET[((word >> (18 - 6 * digit)) & 63) as usize];
            text.push(if digit <= chunk.len() { symbol as char } else { '=' });
        }
    }
    text
}

/// SHA-1 (FIPS 180-4), which ZooKeeper's `digest` scheme is defined by. Not used for anything that must resist.
pub fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64) + if padded.len() % 64 > 56 { 64 } else { 0 }, 0);
    let length_at = padded.len() - 8;
    padded[length_at..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());

    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.as_chunks::<64>().0 {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mix, constant) = match at / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999u32),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut hash = [0; 20];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_and_base64_agree_with_the_standards_examples() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&sha1(two_blocks)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&sha1(&[b'a'; 64])), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
        assert_eq!((base64(b"f"), base64(b"fo"), base64(b"foo")), ("Zg==".into(), "Zm8=".into(), "Zm9v".into()));
        // The example of ZooKeeper's own documentation.
        assert_eq!(digest_id("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }

    #[test]
    fn a_list_allows_whom_one_of_its_lines_names() {
        let bob = Id::new("digest", "bob:hash");
        let list = AclList::new([
            Acl::new(perms::READ, "world", "anyone"),
            Acl::new(perms::WRITE, "digest", "bob:hash"),
            Acl::new(perms::CREATE, "ip", "10.1.0.0/16"),
        ]);
        assert!(list.allows(perms::READ, &[]));
        assert!(!list.allows(perms::WRITE, &[Id::new("ip", "10.1.2.3")]));
        assert!(list.allows(perms::WRITE, std::slice::from_ref(&bob)));
        assert!(list.allows(perms::CREATE, &[Id::new("ip", "10.1.2.3")]));
        assert!(!list.allows(perms::CREATE, &[Id::new("ip", "10.2.2.3")]));
        assert!(!list.allows(perms::ADMIN, &[bob]));
        assert!(list.allows(perms::ADMIN, &[Id::new("super", "")]));
        assert!(AclList::new([]).allows(perms::ADMIN, &[]));
        assert_eq!(list.masked().lines()[1].id.to_string(), "digest:bob:x");
    }

    #[test]
    fn only_known_schemes_may_stand_in_a_list() {
        let good = ["world:anyone", "digest:a:b", "ip:10.0.0.1", "ip:::1/64"];
        let bad = ["world:me", "digest:a", "ip:10.0.0", "ip:10.0.0.1/33", "auth:", "magic:x"];
        let id = |text: &str| text.split_once(':').map(|(scheme, id)| Id::new(scheme, id)).unwrap();
        assert!(good.iter().all(|text| is_valid(&id(text))));
        assert!(!bad.iter().any(|text| is_valid(&id(text))));
    }
}
