//! What a keeper tells of its sessions, znodes and snapshots. Reads well after "keeper-3 ".

use crate::api::keeper::{ErrorCode, EventKind};
use crate::id::{KeeperId, SessionId, Zxid};
use crate::time::Span;
use core::fmt;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeeperNote {
    /// Clients are let in.
    Serving {
        zxid: Zxid,
        leading: bool,
    },
    /// Its role is gone, and with it every connection.
    StoppedServing {
        connections: u32,
    },
    /// At the keeper the client speaks to.
    SessionCreated {
        session: SessionId,
        timeout: Span,
    },
    /// At the keeper a client comes to with its session: the leader vouches for it.
    SessionResumed {
        session: SessionId,
    },
    /// At the leader: nobody vouched for the session in time.
    SessionExpired {
        session: SessionId,
        silent: Span,
    },
    /// At the leader: the session speaks through another keeper now.
    SessionMoved {
        session: SessionId,
        from: KeeperId,
        to: KeeperId,
    },
    /// At the leader: its end is committed.
    SessionClosed {
        session: SessionId,
        ephemerals: u32,
    },
    /// At the keeper the client speaks to: gone, wrong password, or from a future this keeper has not seen.
    SessionRefused {
        session: SessionId,
        why: &'static str,
    },
    /// At the leader: the request became an error transaction.
    WriteRefused {
        session: SessionId,
        zxid: Zxid,
        err: ErrorCode,
    },
    WatchFired {
        session: SessionId,
        kind: EventKind,
        path: Arc<str>,
    },
    SnapshotBegun {
        zxid: Zxid,
    },
    SnapshotTaken {
        zxid: Zxid,
    },
    /// Its tree is not what the leader foretold.
    TreeDiverged {
        zxid: Zxid,
        ours: u64,
        foretold: u64,
    },
}

impl fmt::Display for KeeperNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeeperNote::Serving { zxid, leading: true } => write!(f, "serves clients as the leader, from {zxid}"),
            KeeperNote::Serving { zxid, leading: false } => write!(f, "serves clients, from {zxid}"),
            KeeperNote::StoppedServing { connections } => {
                write!(f, "stops serving: it closes {connections} connections")
            }
            KeeperNote::SessionCreated { session, timeout } => write!(f, "opens session {session} for {timeout}"),
            KeeperNote::SessionResumed { session } => write!(f, "goes on with session {session}"),
            KeeperNote::SessionExpired { session, silent } => {
                write!(f, "heard nothing of session {session} for {silent}: it expires")
            }
            KeeperNote::SessionMoved { session, from, to } => {
                write!(f, "sees session {session} move from keeper-{from} to keeper-{to}")
            }
            KeeperNote::SessionClosed { session, ephemerals: 0 } => write!(f, "closes session {session}"),
            KeeperNote::SessionClosed { session, ephemerals: 1 } => {
                write!(f, "closes session {session} and deletes its ephemeral znode")
            }
            KeeperNote::SessionClosed { session, ephemerals } => {
                write!(f, "closes session {session} and deletes its {ephemerals} ephemeral znodes")
            }
            KeeperNote::SessionRefused { session, why } => write!(f, "refuses session {session}: {why}"),
            KeeperNote::WriteRefused { session, zxid, err } => {
                write!(f, "refuses a write of session {session} at {zxid}: {err}")
            }
            KeeperNote::WatchFired { session, kind, path } => write!(f, "tells session {session}: {kind} {path}"),
            KeeperNote::SnapshotBegun { zxid } => write!(f, "begins a snapshot at {zxid}"),
            KeeperNote::SnapshotTaken { zxid } => write!(f, "has a snapshot of {zxid}"),
            KeeperNote::TreeDiverged { zxid, ours, foretold } => {
                write!(f, "has another tree at {zxid} than its leader foretold: {ours:#x} instead of {foretold:#x}")
            }
        }
    }
}
