//! How small values are written into a recording and read back. Big-endian, lengths before contents, nothing reserved
//! that the bytes at hand cannot hold.

use bytes::Bytes;
use glasshouse_core::api::peer::{Channel, ChannelKind};
use glasshouse_core::api::storage::Lane;
use glasshouse_core::codec::{Reader, Result, Writer};
use glasshouse_core::id::*;
use glasshouse_core::machine::Ticket;
use glasshouse_core::node::{Address, Principal};
use glasshouse_core::record::offset::{Offset, Position};
use glasshouse_core::time::{Instant, Now, Span, UnixMillis};
use std::sync::Arc;

/// A value with bytes of its own in a recording.
pub trait Coded: Sized {
    fn put(&self, to: &mut Writer);
    fn get(from: &mut Reader) -> Result<Self>;
}

/// Numbers, by the reader's and writer's own methods.
macro_rules! plain {
    ($($kind:ty: $method:ident;)*) => {$(
        impl Coded for $kind {
            fn put(&self, to: &mut Writer) {
                to.$method(*self);
            }
            fn get(from: &mut Reader) -> Result<Self> {
                from.$method()
            }
        }
    )*};
}
plain! { u8: u8; u16: u16; u32: u32; i16: i16; i32: i32; i64: i64; bool: bool; }

impl Coded for u64 {
    fn put(&self, to: &mut Writer) {
        to.i64(*self as i64);
    }
    fn get(from: &mut Reader) -> Result<u64> {
        from.i64().map(|raw| raw as u64)
    }
}

/// Types that wear a number.
macro_rules! worn {
    ($($kind:ident)*) => {$(
        impl Coded for $kind {
            fn put(&self, to: &mut Writer) {
                self.0.put(to);
            }
            fn get(from: &mut Reader) -> Result<Self> {
                Coded::get(from).map($kind)
            }
        }
    )*};
}
worn! {
    KeeperId BrokerId ConnId DialId ZabEpoch LeaderEpoch SessionId Zxid Ticket Offset Position Instant Span UnixMillis
    ProducerId
}

/// Structs, field by field.
macro_rules! fields {
    ($kind:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::observe::recording::coded::Coded for $kind {
            fn put(&self, to: &mut glasshouse_core::codec::Writer) {
                $($crate::observe::recording::coded::Coded::put(&self.$field, to);)+
            }
            fn get(from: &mut glasshouse_core::codec::Reader) -> glasshouse_core::codec::Result<Self> {
                Ok($kind { $($field: $crate::observe::recording::coded::Coded::get(from)?),+ })
            }
        }
    };
}
pub(crate) use fields;

fields!(Now { at, wall });
fields!(Address { host, port });
fields!(Channel { peer, kind, generation });
fields!(TopicPartition { topic, partition });

impl Coded for Bytes {
    fn put(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.len()).expect("what a recording holds in one piece is below 4 GB"));
        to.put_shared(self);
    }
    fn get(from: &mut Reader) -> Result<Bytes> {
        let length = from.u32()?;
        from.take(length as usize, "as many bytes as were declared")
    }
}

impl Coded for Arc<str> {
    fn put(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.len()).expect("a text below 4 GB"));
        to.put(self.as_bytes());
    }
    fn get(from: &mut Reader) -> Result<Arc<str>> {
        let length = from.u32()?;
        from.text(length as usize).map(Arc::from)
    }
}

impl Coded for String {
    fn put(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.len()).expect("a text below 4 GB"));
        to.put(self.as_bytes());
    }
    fn get(from: &mut Reader) -> Result<String> {
        let length = from.u32()?;
        from.text(length as usize).map(str::to_owned)
    }
}

impl<T: Coded> Coded for Option<T> {
    fn put(&self, to: &mut Writer) {
        to.bool(self.is_some());
        if let Some(value) = self {
            value.put(to);
        }
    }
    fn get(from: &mut Reader) -> Result<Option<T>> {
        if from.bool()? { T::get(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Coded> Coded for Vec<T> {
    fn put(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.len()).expect("a list below 4 G"));
        for one in self {
            one.put(to);
        }
    }
    fn get(from: &mut Reader) -> Result<Vec<T>> {
        let declared = i64::from(from.u32()?);
        let count = from.count(declared, 1)?.unwrap_or(0);
        let mut all = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            all.push(T::get(from)?);
        }
        Ok(all)
    }
}

impl<A: Coded, B: Coded> Coded for (A, B) {
    fn put(&self, to: &mut Writer) {
        self.0.put(to);
        self.1.put(to);
    }
    fn get(from: &mut Reader) -> Result<(A, B)> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

impl Coded for TopicId {
    fn put(&self, to: &mut Writer) {
        to.put(&self.0);
    }
    fn get(from: &mut Reader) -> Result<TopicId> {
        from.bytes16().map(TopicId)
    }
}

impl Coded for NodeId {
    fn put(&self, to: &mut Writer) {
        let (kind, number) = match self {
            NodeId::Keeper(id) => (0, u32::from(id.0)),
            NodeId::Broker(number) => (1, *number),
            NodeId::Client(number) => (2, *number),
        };
        to.u8(kind);
        to.u32(number);
    }
    fn get(from: &mut Reader) -> Result<NodeId> {
        let (kind, number) = (from.u8()?, from.u32()?);
        match (kind, u8::try_from(number)) {
            (0, Ok(id)) => Ok(NodeId::keeper(id)),
            (1, _) => Ok(NodeId::Broker(number)),
            (2, _) => Ok(NodeId::Client(number)),
            _ => from.malformed("a node"),
        }
    }
}

impl Coded for ChannelKind {
    fn put(&self, to: &mut Writer) {
        to.u8(match self {
            ChannelKind::Election => 0,
            ChannelKind::Quorum => 1,
            ChannelKind::Requests => 2,
        });
    }
    fn get(from: &mut Reader) -> Result<ChannelKind> {
        Ok(match from.u8()? {
            0 => ChannelKind::Election,
            1 => ChannelKind::Quorum,
            2 => ChannelKind::Requests,
            _ => return from.malformed("a kind of channel"),
        })
    }
}

impl Coded for Lane {
    fn put(&self, to: &mut Writer) {
        match self {
            Lane::Journal => to.u8(0),
            Lane::Snapshot => to.u8(1),
            Lane::Log(partition) => {
                to.u8(2);
                partition.put(to);
            }
            Lane::Checkpoint => to.u8(3),
        }
    }
    fn get(from: &mut Reader) -> Result<Lane> {
        Ok(match from.u8()? {
            0 => Lane::Journal,
            1 => Lane::Snapshot,
            2 => Lane::Log(Coded::get(from)?),
            3 => Lane::Checkpoint,
            _ => return from.malformed("a lane"),
        })
    }
}

impl Coded for Principal {
    fn put(&self, to: &mut Writer) {
        match self {
            Principal::Anonymous => to.u8(0),
            Principal::Address(address) => {
                to.u8(1);
                address.put(to);
            }
            Principal::User(name) => {
                to.u8(2);
                name.put(to);
            }
        }
    }
    fn get(from: &mut Reader) -> Result<Principal> {
        Ok(match from.u8()? {
            0 => Principal::Anonymous,
            1 => Principal::Address(Coded::get(from)?),
            2 => Principal::User(Coded::get(from)?),
            _ => return from.malformed("a principal"),
        })
    }
}
