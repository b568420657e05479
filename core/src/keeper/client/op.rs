//! What the client of a session asks and is answered, as a caller thinks of it: paths as text, one result for one
//! question. [`super::SessionClient`] turns it into the protocol's requests and back.

use crate::id::SessionId;
use crate::znode::AclList;
use crate::znode::stat::Stat;
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

/// Matches any version of a znode.
pub const ANY_VERSION: i32 = -1;

/// How long a created znode stays, and whether its name is completed with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateMode {
    Persistent,
    Ephemeral,
    PersistentSequential,
    EphemeralSequential,
}

impl CreateMode {
    /// As requests carry it (protocol.md B.4).
    pub const fn flags(self) -> i32 {
        match self {
            CreateMode::Persistent => 0,
            CreateMode::Ephemeral => 1,
            CreateMode::PersistentSequential => 2,
            CreateMode::EphemeralSequential => 3,
        }
    }
}

/// One question or wish. Nodes are created with the open access list, unless one is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// With `watch` on a node that is not there, its creation is told.
    Exists {
        path: Arc<str>,
        watch: bool,
    },
    Get {
        path: Arc<str>,
        watch: bool,
    },
    Children {
        path: Arc<str>,
        watch: bool,
    },
    Create {
        path: Arc<str>,
        data: Option<Bytes>,
        mode: CreateMode,
    },
    /// create2.
    CreateWith {
        path: Arc<str>,
        data: Option<Bytes>,
        mode: CreateMode,
        acl: AclList,
    },
    Set {
        path: Arc<str>,
        data: Option<Bytes>,
        version: i32,
    },
    GetAcl {
        path: Arc<str>,
    },
    SetAcl {
        path: Arc<str>,
        acl: AclList,
        version: i32,
    },
    Delete {
        path: Arc<str>,
        version: i32,
    },
    /// Only inside `Multi`.
    Check {
        path: Arc<str>,
        version: i32,
    },
    /// All or nothing, in one transaction; of the creations, `Set`, `Delete` and `Check`.
    Multi(Vec<Op>),
    /// What follows sees at least everything committed before this was asked.
    Sync {
        path: Arc<str>,
    },
}

impl Op {
    pub fn exists(path: &str, watch: bool) -> Op {
        Op::Exists { path: path.into(), watch }
    }
    pub fn get(path: &str, watch: bool) -> Op {
        Op::Get { path: path.into(), watch }
    }
    pub fn children(path: &str, watch: bool) -> Op {
        Op::Children { path: path.into(), watch }
    }
    pub fn create(path: &str, data: Option<Bytes>, mode: CreateMode) -> Op {
        Op::Create { path: path.into(), data, mode }
    }
    pub fn set(path: &str, data: Bytes, version: i32) -> Op {
        Op::Set { path: path.into(), data: Some(data), version }
    }
    pub fn delete(path: &str, version: i32) -> Op {
        Op::Delete { path: path.into(), version }
    }
    pub fn check(path: &str, version: i32) -> Op {
        Op::Check { path: path.into(), version }
    }
}

/// The answer to an [`Op`] that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// Of `Exists`, `Set` and `SetAcl`.
    Stat(Stat),
    Data {
        data: Option<Bytes>,
        stat: Stat,
    },
    Children {
        names: Vec<Arc<str>>,
        stat: Stat,
    },
    /// The path as it became.
    Created {
        path: Arc<str>,
    },
    /// The same of `CreateWith`.
    CreatedWith {
        path: Arc<str>,
        stat: Stat,
    },
    Acl {
        acl: AclList,
        stat: Stat,
    },
    /// Of `Delete`, `Check` and `Sync`.
    Nothing,
    /// One result for each part. In a failed multi the parts before the failing one are `Ok(Nothing)`, those behind it
    /// RUNTIMEINCONSISTENCY.
    Multi(Vec<Result<Done, KeeperError>>),
}

impl Done {
    pub fn stat(&self) -> Option<&Stat> {
        match self {
            Done::Stat(stat)
            | Done::Data { stat, .. }
            | Done::Children { stat, .. }
            | Done::CreatedWith { stat, .. }
            | Done::Acl { stat, .. } => Some(stat),
            Done::Created { .. } | Done::Nothing | Done::Multi(_) => None,
        }
    }
}

pub type Answer = Result<Done, KeeperError>;

/// ZooKeeper's error code (protocol.md B.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeeperError(pub i32);

macro_rules! keeper_errors {
    ($($code:literal $name:ident;)+) => {
        impl KeeperError {
            $(pub const $name: KeeperError = KeeperError($code);)+

            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

keeper_errors! {
    -1 SYSTEMERROR;
    -2 RUNTIMEINCONSISTENCY;
    -4 CONNECTIONLOSS;
    -5 MARSHALLINGERROR;
    -6 UNIMPLEMENTED;
    -8 BADARGUMENTS;
    -101 NONODE;
    -102 NOAUTH;
    -103 BADVERSION;
    -108 NOCHILDRENFOREPHEMERALS;
    -110 NODEEXISTS;
    -111 NOTEMPTY;
    -112 SESSIONEXPIRED;
    -114 INVALIDACL;
    -115 AUTHFAILED;
    -118 SESSIONMOVED;
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What changed at a watched path (protocol.md B.6). Carries no data: read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchKind {
    Created,
    Deleted,
    DataChanged,
    ChildrenChanged,
}

/// What a session tells its owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event<T> {
    /// The session lives on this connection. Watches are armed again; questions lost with the last one are not repeated.
    Connected {
        session: SessionId,
        new: bool,
    },
    /// The outcome of what was under way is unknown: each gets a `Reply` of CONNECTIONLOSS right before this.
    Disconnected,
    /// The session and its ephemerals are gone. Nothing happens any more until [`super::SessionClient::start`].
    Expired {
        session: SessionId,
    },
    /// Comes before any reply that reflects the change.
    Watch {
        kind: WatchKind,
        path: Arc<str>,
    },
    Reply {
        token: T,
        answer: Answer,
    },
}
