//! What happened, entry by entry: one entry is one input stepped, one effect performed, or one thing that befell a node.
//!
//! An entry is small and plain; its `Display` is a line of a transcript. The running digest covers every entry with a
//! hash of its bytes, so that two runs are equal exactly if their digests are. Its number names it: notes and violations
//! say the number of the entry they came of. The digest leaves it out, since it only counts.

use super::network::Label;
use crate::api::peer::ChannelKind;
use crate::id::{NodeId, Zxid};
use crate::machine::Ticket;
use crate::note::Note;
use crate::time::Instant;
use core::fmt;
use core::hash::{Hash, Hasher};
use std::sync::Arc;

/// One entry: at most 150 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// They rise from 1, and skip one for each step of a machine.
    pub number: u64,
    pub at: Instant,
    pub node: NodeId,
    pub what: What,
    /// Of the bytes it carried.
    pub bytes: u64,
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, digest: &mut H) {
        let Entry { number: _, at, node, what, bytes } = self;
        (at, node, what, bytes).hash(digest);
    }
}

/// What an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    // What befell the node.
    Booted {
        boot: u32,
    },
    Killed,
    LostPower,
    DiskReplaced,
    Paused,
    Resumed,
    Halted,

    // Inputs.
    Woke,
    ChannelUp {
        peer: NodeId,
        kind: ChannelKind,
        generation: u32,
    },
    ChannelDown {
        peer: NodeId,
        kind: ChannelKind,
        generation: u32,
    },
    Received {
        from: NodeId,
        label: Label,
    },
    /// A client's connection is gone.
    Closed {
        by: NodeId,
    },
    Opened {
        to: NodeId,
    },
    Hung {
        to: NodeId,
    },
    Synced {
        upto: Ticket,
    },
    Loaded {
        ticket: Ticket,
    },
    ShutdownAsked,
    Commanded,

    // Effects.
    Sent {
        to: NodeId,
        label: Label,
        lost: bool,
    },
    HungUp {
        peer: NodeId,
    },
    Dialled {
        to: NodeId,
    },
    Stored {
        op: Stored,
    },
    SyncAsked {
        ticket: Ticket,
    },
    LoadAsked {
        ticket: Ticket,
    },
    Stopped,
}

/// What was stored, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    Txn(Zxid),
    /// The journal was cut after this.
    Cut(Zxid),
    AcceptedEpoch(u32),
    CurrentEpoch(u32),
    Snapshot(Zxid),
    /// Batches up to, but not including, this offset.
    Records {
        from: i64,
        upto: i64,
    },
    LogCut(i64),
    Checkpoint,
    Other,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Vote => f.write_str("vote"),
            Label::Packet { kind, zxid } if zxid.0 as i64 > 0 => write!(f, "{} {zxid}", kind.name()),
            Label::Packet { kind, .. } => f.write_str(kind.name()),
            Label::KafkaRequest { key, .. } => write!(f, "{}", api_name(*key)),
            Label::KafkaReply { key, error: 0, .. } => write!(f, "{} reply", api_name(*key)),
            Label::KafkaReply { key, error, .. } => write!(f, "{} reply, error {error}", api_name(*key)),
            Label::KeeperRequest { op } => write!(f, "{}", op_name(*op)),
            Label::KeeperReply { op, error: 0 } => write!(f, "{} reply", op_name(*op)),
            Label::KeeperReply { op, error } => write!(f, "{} reply, error {error}", op_name(*op)),
            Label::KeeperEvent => f.write_str("watch event"),
        }
    }
}

/// A Kafka API by its key, as Kafka names it.
pub fn api_name(key: i16) -> &'static str {
    match key {
        0 => "Produce",
        1 => "Fetch",
        2 => "ListOffsets",
        3 => "Metadata",
        4 => "LeaderAndIsr",
        5 => "StopReplica",
        6 => "UpdateMetadata",
        7 => "ControlledShutdown",
        18 => "ApiVersions",
        19 => "CreateTopics",
        20 => "DeleteTopics",
        22 => "InitProducerId",
        23 => "OffsetForLeaderEpoch",
        32 => "DescribeConfigs",
        43 => "ElectLeaders",
        44 => "IncrementalAlterConfigs",
        45 => "AlterPartitionReassignments",
        46 => "ListPartitionReassignments",
        56 => "AlterPartition",
        60 => "DescribeCluster",
        67 => "AllocateProducerIds",
        _ => "request",
    }
}

/// A ZooKeeper operation by its code.
pub fn op_name(op: i32) -> &'static str {
    match op {
        0 => "connect",
        1 | 15 | 19 | 21 => "create",
        2 => "delete",
        3 => "exists",
        4 => "get",
        5 => "set",
        6 => "getACL",
        7 => "setACL",
        8 | 12 => "children",
        9 => "sync",
        11 => "ping",
        13 => "check",
        14 => "multi",
        22 => "multiRead",
        100 => "auth",
        101 | 105 => "setWatches",
        106 => "addWatch",
        -11 => "closeSession",
        _ => "request",
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:<9} {}", self.at, self.node, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Booted { boot: 1 } => f.write_str("starts"),
            What::Booted { boot } => write!(f, "starts again, boot {boot}"),
            What::Killed => f.write_str("is killed"),
            What::LostPower => f.write_str("loses power"),
            What::DiskReplaced => f.write_str("gets an empty disk"),
            What::Paused => f.write_str("is paused"),
            What::Resumed => f.write_str("goes on"),
            What::Halted => f.write_str("halts"),
            What::Woke => f.write_str("wakes"),
            What::ChannelUp { peer, kind, generation } => write!(f, "up    {peer} {kind}#{generation}"),
            What::ChannelDown { peer, kind, generation } => write!(f, "down  {peer} {kind}#{generation}"),
            What::Received { from, label } => write!(f, "<-    {from} {label}"),
            What::Closed { by } => write!(f, "closed by {by}"),
            What::Opened { to } => write!(f, "open  {to}"),
            What::Hung { to } => write!(f, "hung  {to}"),
            What::Synced { upto } => write!(f, "synced upto {}", upto.0),
            What::Loaded { ticket } => write!(f, "loaded {}", ticket.0),
            What::ShutdownAsked => f.write_str("is asked to shut down"),
            What::Commanded => f.write_str("is asked by you"),
            What::Sent { to, label, lost: false } => write!(f, "->    {to} {label}"),
            What::Sent { to, label, lost: true } => write!(f, "-x    {to} {label}"),
            What::HungUp { peer } => write!(f, "hangs up {peer}"),
            What::Dialled { to } => write!(f, "dials {to}"),
            What::Stored { op } => write!(f, "store {op}"),
            What::SyncAsked { ticket } => write!(f, "sync  {}", ticket.0),
            What::LoadAsked { ticket } => write!(f, "load  {}", ticket.0),
            What::Stopped => f.write_str("has stopped"),
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stored::Txn(zxid) => write!(f, "txn {zxid}"),
            Stored::Cut(zxid) => write!(f, "journal cut after {zxid}"),
            Stored::AcceptedEpoch(epoch) => write!(f, "acceptedEpoch {epoch}"),
            Stored::CurrentEpoch(epoch) => write!(f, "currentEpoch {epoch}"),
            Stored::Snapshot(zxid) => write!(f, "snapshot {zxid}"),
            Stored::Records { from, upto } => write!(f, "records {from} to {}", upto - 1),
            Stored::LogCut(to) => write!(f, "log cut to {to}"),
            Stored::Checkpoint => f.write_str("checkpoint"),
            Stored::Other => f.write_str("housekeeping"),
        }
    }
}

/// A fact with its place in time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Told {
    pub at: Instant,
    pub node: NodeId,
    /// The number of the entry whose step told it.
    pub entry: u64,
    pub note: Note,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:<9} * {}", self.at, self.node.to_string(), self.note)
    }
}

/// A list that only grows and is cheap to clone: full chunks are shared.
#[derive(Clone, Debug)]
pub struct Growing<T> {
    chunks: Vec<Arc<Vec<T>>>,
    last: Vec<T>,
    /// Elements in `chunks`.
    full: u64,
}

const CHUNK: usize = 1024;

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Growing { chunks: Vec::new(), last: Vec::new(), full: 0 }
    }
}

impl<T> Growing<T> {
    pub fn push(&mut self, element: T) {
        self.last.push(element);
        if self.last.len() == CHUNK {
            self.chunks.push(Arc::new(core::mem::replace(&mut self.last, Vec::with_capacity(CHUNK))));
            self.full += CHUNK as u64;
        }
    }

    pub fn len(&self) -> u64 {
        self.full + self.last.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, at: u64) -> Option<&T> {
        if at < self.full {
            self.chunks[(at / CHUNK as u64) as usize].get((at % CHUNK as u64) as usize)
        } else {
            self.last.get((at - self.full) as usize)
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).chain(self.last.iter())
    }
}

/// How much of the trace is kept. The digest covers all of it in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Only notes.
    #[default]
    Notes,
    /// Notes and every entry.
    All,
    Nothing,
}

/// The trace of a world.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub keep: Keep,
    pub entries: Growing<Entry>,
    pub story: Growing<Told>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert!(core::mem::size_of::<Entry>() <= 150, "{}", core::mem::size_of::<Entry>());
    }

    #[test]
    fn a_growing_list_keeps_everything_in_order() {
        let mut list = Growing::default();
        for n in 0..3000u64 {
            list.push(n);
        }
        let copy = list.clone();
        list.push(3000);
        assert_eq!(copy.len(), 3000);
        assert_eq!((list.get(0), list.get(1024), list.get(3000)), (Some(&0), Some(&1024), Some(&3000)));
        assert!(list.iter().copied().eq(0..=3000));
    }
}
