//! Names and numbers that wear a type: who a node is, which session, which epoch.
//!
//! Five kinds of epoch are five types, so that none is ever compared with another. Knows nothing of
//! what the numbers are used for.

use core::fmt;
use std::sync::Arc;

/// Defines a number with a name: ordered, hashable, shown as the bare number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A keeper's server id (ZooKeeper's `myid`), 1 to 254: it is the top byte of the session ids it hands out.
    KeeperId(u8)
}
number! {
    /// A broker's id in Kafka's sense: configured, or handed out through `/brokers/seqid`.
    BrokerId(i32)
}
number! {
    /// One client's connection to a node; never used twice by one boot of a node.
    ConnId(u64)
}
number! {
    /// One attempt of a node to reach another as its client; chosen by the node that dials, never used twice by one boot.
    DialId(u64)
}
number! {
    /// The epoch of a keeper leader: the upper half of a [`Zxid`].
    ZabEpoch(u32)
}
number! {
    /// The epoch of a partition leader (KIP-101). −1 where none is known.
    LeaderEpoch(i32)
}
number! {
    /// The epoch of a controller, from `/controller_epoch`.
    ControllerEpoch(i32)
}
number! {
    /// One registration of a broker: the czxid of its `/brokers/ids` znode (KIP-380). −1 where none is known.
    BrokerEpoch(i64)
}
number! {
    /// The version of a partition's state znode; bumped by every change of leader or ISR.
    PartitionEpoch(i32)
}
number! {
    /// An idempotent producer's id. −1 where there is none.
    ProducerId(i64)
}
number! {
    /// The epoch of one incarnation of a producer id.
    ProducerEpoch(i16)
}

impl LeaderEpoch {
    /// No epoch: the log is empty, or the sender is older than epochs.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl BrokerEpoch {
    /// No registration that is known.
    pub const NONE: BrokerEpoch = BrokerEpoch(-1);
}

impl ProducerId {
    /// The batch does not come from an idempotent producer.
    pub const NONE: ProducerId = ProducerId(-1);
}

/// A ZooKeeper session. Shown in hexadecimal, as every ZooKeeper tool does.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// ZooKeeper's transaction id: (epoch << 32) | counter. Shown as `epoch:counter`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid(pub u64);

impl Zxid {
    pub const ZERO: Zxid = Zxid(0);

    pub const fn new(epoch: ZabEpoch, counter: u32) -> Zxid {
        Zxid(((epoch.0 as u64) << 32) | counter as u64)
    }

    /// The mark of a new epoch: `epoch << 32`, the zxid of NEWLEADER.
    pub const fn start_of(epoch: ZabEpoch) -> Zxid {
        Zxid::new(epoch, 0)
    }

    pub const fn epoch(self) -> ZabEpoch {
        ZabEpoch((self.0 >> 32) as u32)
    }

    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid as the wire and the files carry it.
    pub const fn to_wire(self) -> i64 {
        self.0 as i64
    }

    pub const fn from_wire(raw: i64) -> Zxid {
        Zxid(raw as u64)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch(), self.counter())
    }
}

/// A topic's id, a UUID given at its creation (KIP-516). All zero where a topic has none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    pub const NONE: TopicId = TopicId([0; 16]);

    /// Whether both name the same topic, as far as both are known.
    pub fn may_be(self, other: TopicId) -> bool {
        self == other || self == TopicId::NONE || other == TopicId::NONE
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Base64 without padding, in the URL alphabet: how Kafka prints topic ids.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for chunk in self.0.chunks(3) {
            let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for digit in 0..=chunk.len() {
                let at = (word >> (18 - 6 * digit)) & 63;
                write!(f, "{}", ALPHABET[at as usize] as char)?;
            }
        }
        Ok(())
    }
}

/// A partition of a topic. Cheap to clone: the name is shared. Shown as `orders-0`.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

/// Out of line: it is cloned in a thousand places.
impl Clone for TopicPartition {
    #[inline(never)]
    fn clone(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Who takes part: a node of the mesh, or a client in the laboratory. A process that is keeper and broker is two nodes.
///
/// A broker's number here is its place in the mesh; its [`BrokerId`] may be handed out later and differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    Keeper(KeeperId),
    Broker(u32),
    Client(u32),
}

impl NodeId {
    pub const fn keeper(id: u8) -> NodeId {
        NodeId::Keeper(KeeperId(id))
    }

    /// Reads what [`Display`](fmt::Display) writes: `keeper-1`, `broker-2`, `client-3`.
    pub fn parse(text: &str) -> Option<NodeId> {
        let (kind, number) = text.split_once('-')?;
        match kind {
            "keeper" => number.parse().ok().map(NodeId::keeper),
            "broker" => number.parse().ok().map(NodeId::Broker),
            "client" => number.parse().ok().map(NodeId::Client),
            _ => None,
        }
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeId::Keeper(id) => write!(f, "keeper-{id}"),
            NodeId::Broker(number) => write!(f, "broker-{number}"),
            NodeId::Client(number) => write!(f, "client-{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxid_is_epoch_and_counter() {
        let zxid = Zxid::new(ZabEpoch(3), 7);
        assert_eq!((zxid.0, zxid.epoch(), zxid.counter()), (0x3_0000_0007, ZabEpoch(3), 7));
        assert_eq!(zxid.to_string(), "3:7");
    }

    #[test]
    fn topic_id_prints_as_kafka_prints_it() {
        assert_eq!(TopicId::NONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn node_names_are_read_back() {
        for node in [NodeId::keeper(1), NodeId::Broker(2), NodeId::Client(30)] {
            assert_eq!(NodeId::parse(&node.to_string()), Some(node));
        }
        assert_eq!(NodeId::parse("keeper-999"), None);
    }
}
