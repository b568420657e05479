//! A znode's metadata: as it is stored, and as clients see it.

use crate::codec::{Reader, Result, Writer};
use crate::id::{SessionId, Zxid};
use crate::time::UnixMillis;

/// Who keeps a znode alive; stored in `ephemeralOwner` (protocol.md B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// Nobody: it stays until deleted.
    Persistent,
    /// It dies with this session.
    Session(SessionId),
    /// Deleted by the leader once it had a child and has none any more.
    Container,
    /// Deleted by the leader when empty and unmodified for this many milliseconds.
    Ttl { millis: i64 },
}

const CONTAINER: i64 = i64::MIN;
const EXTENDED_MASK: i64 = 0xff00_0000_0000_0000_u64 as i64;
/// The largest time to live, five bytes of milliseconds.
pub const MAX_TTL_MILLIS: i64 = 0xff_ffff_ffff;

impl Owner {
    pub fn from_raw(raw: i64) -> Owner {
        match raw {
            0 => Owner::Persistent,
            CONTAINER => Owner::Container,
            ttl if ttl & EXTENDED_MASK == EXTENDED_MASK => Owner::Ttl { millis: ttl & MAX_TTL_MILLIS },
            session => Owner::Session(SessionId(session)),
        }
    }

    pub fn to_raw(self) -> i64 {
        match self {
            Owner::Persistent => 0,
            Owner::Container => CONTAINER,
            Owner::Ttl { millis } => EXTENDED_MASK | (millis & MAX_TTL_MILLIS),
            Owner::Session(session) => session.0,
        }
    }
}

/// A znode's metadata as log and snapshot hold it (`StatPersisted`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoredStat {
    /// The txn that created it.
    pub czxid: Zxid,
    /// The txn that last set its data.
    pub mzxid: Zxid,
    pub ctime: UnixMillis,
    pub mtime: UnixMillis,
    /// Grows by one with each setData.
    pub version: i32,
    /// How many children were ever created. Not what clients see.
    pub cversion: i32,
    /// Grows by one with each setACL.
    pub aversion: i32,
    /// Raw, see [`Owner`].
    pub owner: i64,
    /// The txn that last created or deleted a child; at first the one that created the node.
    pub pzxid: Zxid,
}

impl StoredStat {
    /// The metadata of a node just created.
    pub fn born(zxid: Zxid, time: UnixMillis, owner: Owner) -> StoredStat {
        StoredStat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            owner: owner.to_raw(),
            ..StoredStat::default()
        }
    }

    pub fn owner(&self) -> Owner {
        Owner::from_raw(self.owner)
    }

    /// What a client sees: cversion moves with deletes too, and only a session shows as owner.
    pub fn seen(&self, data_length: u32, children: u32) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(children as i32),
            aversion: self.aversion,
            ephemeral_owner: match self.owner() {
                Owner::Session(session) => session,
                Owner::Persistent | Owner::Container | Owner::Ttl { .. } => SessionId(0),
            },
            data_length: data_length as i32,
            num_children: children as i32,
            pzxid: self.pzxid,
        }
    }

    /// 60 bytes, in the order of the snapshot.
    pub fn encode(&self, writer: &mut Writer) {
        writer.i64(self.czxid.to_wire());
        writer.i64(self.mzxid.to_wire());
        writer.i64(self.ctime.0);
        writer.i64(self.mtime.0);
        writer.i32(self.version);
        writer.i32(self.cversion);
        writer.i32(self.aversion);
        writer.i64(self.owner);
        writer.i64(self.pzxid.to_wire());
    }

    pub fn decode(reader: &mut Reader) -> Result<StoredStat> {
        Ok(StoredStat {
            czxid: Zxid::from_wire(reader.i64()?),
            mzxid: Zxid::from_wire(reader.i64()?),
            ctime: UnixMillis(reader.i64()?),
            mtime: UnixMillis(reader.i64()?),
            version: reader.i32()?,
            cversion: reader.i32()?,
            aversion: reader.i32()?,
            owner: reader.i64()?,
            pzxid: Zxid::from_wire(reader.i64()?),
        })
    }
}

/// A znode's metadata as clients see it, in wire order (protocol.md B.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub ctime: UnixMillis,
    pub mtime: UnixMillis,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    /// The session an ephemeral node belongs to; 0 for every other node.
    pub ephemeral_owner: SessionId,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: Zxid,
}

impl Stat {
    /// Bytes on the wire.
    pub const ENCODED: usize = 68;

    pub fn encode(&self, writer: &mut Writer) {
        writer.i64(self.czxid.to_wire());
        writer.i64(self.mzxid.to_wire());
        writer.i64(self.ctime.0);
        writer.i64(self.mtime.0);
        writer.i32(self.version);
        writer.i32(self.cversion);
        writer.i32(self.aversion);
        writer.i64(self.ephemeral_owner.0);
        writer.i32(self.data_length);
        writer.i32(self.num_children);
        writer.i64(self.pzxid.to_wire());
    }

    pub fn decode(reader: &mut Reader) -> Result<Stat> {
        Ok(Stat {
            czxid: Zxid::from_wire(reader.i64()?),
            mzxid: Zxid::from_wire(reader.i64()?),
            ctime: UnixMillis(reader.i64()?),
            mtime: UnixMillis(reader.i64()?),
            version: reader.i32()?,
            cversion: reader.i32()?,
            aversion: reader.i32()?,
            ephemeral_owner: SessionId(reader.i64()?),
            data_length: reader.i32()?,
            num_children: reader.i32()?,
            pzxid: Zxid::from_wire(reader.i64()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_by_its_top_byte() {
        let session = Owner::Session(SessionId(0x0100_1234_5678_0001));
        for owner in [Owner::Persistent, Owner::Container, Owner::Ttl { millis: 86_400_000 }, session] {
            assert_eq!(Owner::from_raw(owner.to_raw()), owner);
        }
        // A session of server 128 and above is a negative number, and neither container nor TTL.
        let high = SessionId(0x8000_0000_0000_0001_u64 as i64);
        assert_eq!(Owner::from_raw(high.0), Owner::Session(high));
    }

    #[test]
    fn clients_see_creations_and_deletions_in_cversion_and_only_sessions_as_owners() {
        let mut stored = StoredStat::born(Zxid(5), UnixMillis(9), Owner::Container);
        stored.cversion = 3; // three children were created, one is left
        let seen = stored.seen(4, 1);
        assert_eq!((seen.cversion, seen.num_children, seen.data_length), (5, 1, 4));
        assert_eq!((seen.ephemeral_owner, seen.pzxid), (SessionId(0), Zxid(5)));
    }
}
