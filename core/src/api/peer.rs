//! What nodes say to each other: ZooKeeper's election notifications and quorum packets between keepers, Kafka's own
//! requests between brokers.

use super::kafka;
use crate::id::{KeeperId, NodeId, ZabEpoch, Zxid};
use bytes::Bytes;
use core::fmt;

/// Which of the three conversations between a pair of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelKind {
    /// Keeper to keeper, outside any order: a one-slot mailbox each way. A newer message overwrites an unsent older
    /// one, and the newest is sent again when the channel comes up.
    Election,
    /// Learner and leader: a FIFO stream whose break ends their relation.
    Quorum,
    /// Broker to broker: a FIFO stream of requests and answers, matched by correlation id.
    Requests,
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChannelKind::Election => "election",
            ChannelKind::Quorum => "quorum",
            ChannelKind::Requests => "requests",
        })
    }
}

/// One incarnation of a conversation with a peer. The host keeps channels up by itself: after a break or a `Hangup` it
/// comes up again with a higher generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel {
    pub peer: NodeId,
    pub kind: ChannelKind,
    pub generation: u32,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}#{}", self.peer, self.kind, self.generation)
    }
}

/// A message between two nodes of the mesh. `R` is how records are represented: a `LogRange` when a machine emits it,
/// `Bytes` when it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerMessage<R> {
    Election(Notification),
    Quorum(QuorumPacket),
    Request { correlation: i32, request: kafka::Request },
    Response { correlation: i32, response: kafka::Response<R> },
}

/// The state a keeper is in, as notifications tell it (protocol.md A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum ServerState {
    Looking = 0,
    Following = 1,
    Leading = 2,
    Observing = 3,
}

/// An election notification (protocol.md A.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    pub state: ServerState,
    pub leader: KeeperId,
    pub zxid: Zxid,
    /// The sender's logical clock.
    pub election_epoch: u64,
    pub peer_epoch: ZabEpoch,
    /// The quorum verifier's text; empty where the configuration is static.
    pub config: Bytes,
}

/// Quorum packet types (protocol.md A.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum PacketType {
    Request = 1,
    Proposal = 2,
    Ack = 3,
    Commit = 4,
    Ping = 5,
    Revalidate = 6,
    Sync = 7,
    Inform = 8,
    CommitAndActivate = 9,
    NewLeader = 10,
    FollowerInfo = 11,
    UpToDate = 12,
    Diff = 13,
    Trunc = 14,
    Snap = 15,
    ObserverInfo = 16,
    LeaderInfo = 17,
    AckEpoch = 18,
    InformAndActivate = 19,
    /// Ours: a piece of the database stream that follows SNAP. (ZooKeeper writes it raw between two packets; the last
    /// piece ends with "BenWasHere".) On our links a packet is a message, so the stream is cut into packets.
    SnapPiece = 64,
}

impl PacketType {
    pub const ALL: [PacketType; 20] = [
        PacketType::Request,
        PacketType::Proposal,
        PacketType::Ack,
        PacketType::Commit,
        PacketType::Ping,
        PacketType::Revalidate,
        PacketType::Sync,
        PacketType::Inform,
        PacketType::CommitAndActivate,
        PacketType::NewLeader,
        PacketType::FollowerInfo,
        PacketType::UpToDate,
        PacketType::Diff,
        PacketType::Trunc,
        PacketType::Snap,
        PacketType::ObserverInfo,
        PacketType::LeaderInfo,
        PacketType::AckEpoch,
        PacketType::InformAndActivate,
        PacketType::SnapPiece,
    ];

    /// The type's name as ZooKeeper writes it.
    pub const fn name(self) -> &'static str {
        match self {
            PacketType::Request => "REQUEST",
            PacketType::Proposal => "PROPOSAL",
            PacketType::Ack => "ACK",
            PacketType::Commit => "COMMIT",
            PacketType::Ping => "PING",
            PacketType::Revalidate => "REVALIDATE",
            PacketType::Sync => "SYNC",
            PacketType::Inform => "INFORM",
            PacketType::CommitAndActivate => "COMMITANDACTIVATE",
            PacketType::NewLeader => "NEWLEADER",
            PacketType::FollowerInfo => "FOLLOWERINFO",
            PacketType::UpToDate => "UPTODATE",
            PacketType::Diff => "DIFF",
            PacketType::Trunc => "TRUNC",
            PacketType::Snap => "SNAP",
            PacketType::ObserverInfo => "OBSERVERINFO",
            PacketType::LeaderInfo => "LEADERINFO",
            PacketType::AckEpoch => "ACKEPOCH",
            PacketType::InformAndActivate => "INFORMANDACTIVATE",
            PacketType::SnapPiece => "SNAPPIECE",
        }
    }
}

/// A quorum packet: `{type, zxid, data, authinfo}` (protocol.md A.5 says what each carries).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuorumPacket {
    pub kind: PacketType,
    /// As the wire carries it: −1 in REQUEST and UPTODATE.
    pub zxid: i64,
    pub data: Option<Bytes>,
    /// (scheme, id) of the client that a REQUEST comes from; `None` is jute's null vector.
    pub authinfo: Option<Vec<(String, String)>>,
}

impl QuorumPacket {
    pub fn new(kind: PacketType, zxid: Zxid, data: Option<Bytes>) -> QuorumPacket {
        QuorumPacket { kind, zxid: zxid.to_wire(), data, authinfo: None }
    }

    pub fn zxid(&self) -> Zxid {
        Zxid::from_wire(self.zxid)
    }
}

impl fmt::Display for QuorumPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.name())?;
        if self.zxid > 0 {
            write!(f, " {}", self.zxid())?;
        }
        Ok(())
    }
}
