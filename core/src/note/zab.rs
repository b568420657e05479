//! What atomic broadcast tells. Each reads on from the keeper it is about: "keeper-1 looks for a leader".

use crate::id::{KeeperId, ZabEpoch, Zxid};
use core::fmt;

/// How a learner's history is brought up to its leader's (protocol.md A.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncKind {
    Diff,
    /// DIFF whose first part is read from the journal.
    DiffFromDisk,
    Trunc,
    Snap,
}

impl fmt::Display for SyncKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyncKind::Diff => "DIFF",
            SyncKind::DiffFromDisk => "DIFF from disk",
            SyncKind::Trunc => "TRUNC",
            SyncKind::Snap => "SNAP",
        })
    }
}

/// Why a peer is left that breaks the protocol: no packet does that between peers that keep it (the *action invariants*
/// of protocol.md D.1).
pub mod breach {
    pub const OUT_OF_TURN: &str = "its leader sent a packet that is out of turn";
    pub const LEFT_OUT: &str = "its leader left out a proposal";
    pub const NOT_PROPOSED: &str = "its leader committed what it did not propose";
    pub const PARTED: &str = "its leader committed another transaction than is due here";
    pub const NO_DATABASE: &str = "its leader sent a piece of no database";
    pub const UNSIGNED: &str = "its leader's database came without its signature";
    pub const LEADERS_PACKET: &str = "it sent what only a leader sends";
    pub const NO_EPOCH: &str = "its ACKEPOCH has no epoch";
    pub const EPOCH_OUT_OF_TURN: &str = "its ACKEPOCH came out of turn";
    pub const NEVER_PROPOSED: &str = "it acknowledged what was never proposed";

    pub const ALL: [&str; 10] = [
        OUT_OF_TURN,
        LEFT_OUT,
        NOT_PROPOSED,
        PARTED,
        NO_DATABASE,
        UNSIGNED,
        LEADERS_PACKET,
        NO_EPOCH,
        EPOCH_OUT_OF_TURN,
        NEVER_PROPOSED,
    ];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ZabNote {
    /// A round of the election begins.
    Looking {
        round: u64,
    },
    VotedFor {
        leader: KeeperId,
        zxid: Zxid,
        peer_epoch: ZabEpoch,
    },
    /// The election ended here.
    Elected {
        leader: KeeperId,
    },
    /// This epoch is promised: no older leader will be followed.
    EpochAccepted {
        epoch: ZabEpoch,
    },
    /// The leader decided how to bring up this learner, from the end of its history to where the stream leads.
    SyncChosen {
        learner: KeeperId,
        sync: SyncKind,
        from: Zxid,
        to: Zxid,
    },
    /// The leader's history is on this learner's disk, and the epoch with it.
    Joined {
        epoch: ZabEpoch,
    },
    /// The leader's history is a quorum's; what it holds is committed.
    Established {
        epoch: ZabEpoch,
        history: Zxid,
    },
    /// The learner may serve clients.
    UpToDate {
        leader: KeeperId,
        committed: Zxid,
    },
    Proposed {
        zxid: Zxid,
    },
    Committed {
        zxid: Zxid,
    },
    /// Transactions above `to` were cut from the journal.
    Truncated {
        from: Zxid,
        to: Zxid,
    },
    /// A database image took the place of the history.
    Restored {
        zxid: Zxid,
    },
    /// The leader lets a learner go.
    LearnerDropped {
        learner: KeeperId,
        why: &'static str,
    },
    /// The role ended; a new election begins.
    SteppedDown {
        why: &'static str,
    },
}

impl fmt::Display for ZabNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ZabNote::Looking { round } => write!(f, "looks for a leader, round {round}"),
            ZabNote::VotedFor { leader, zxid, peer_epoch } => {
                write!(f, "votes for keeper-{leader}, whose epoch is {peer_epoch} and last write {zxid}")
            }
            ZabNote::Elected { leader } => write!(f, "takes keeper-{leader} for the leader: a quorum votes for it"),
            ZabNote::EpochAccepted { epoch } => write!(f, "accepts epoch {epoch} and no older one"),
            ZabNote::SyncChosen { learner, sync, from, to } => {
                write!(f, "brings keeper-{learner} from {from} to {to} by {sync}")
            }
            ZabNote::Joined { epoch } => write!(f, "has its leader's history on disk and joins epoch {epoch}"),
            ZabNote::Established { epoch, history } => {
                write!(f, "leads epoch {epoch}: a quorum holds its history up to {history}")
            }
            ZabNote::UpToDate { leader, committed } => {
                write!(f, "follows keeper-{leader} and serves, committed up to {committed}")
            }
            ZabNote::Proposed { zxid } => write!(f, "proposes {zxid}"),
            ZabNote::Committed { zxid } => write!(f, "knows {zxid} as committed"),
            ZabNote::Truncated { from, to } => write!(f, "cuts its journal from {from} back to {to}"),
            ZabNote::Restored { zxid } => write!(f, "takes its leader's database as of {zxid} in place of its own"),
            ZabNote::LearnerDropped { learner, why } => write!(f, "lets keeper-{learner} go: {why}"),
            ZabNote::SteppedDown { why } => write!(f, "gives up its role: {why}"),
        }
    }
}
