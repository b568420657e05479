//! What ZooKeeper's clients ask of a keeper and hear from it, as values (protocol.md B).
//!
//! Paths arrive as text and are judged where requests are prepared, because a bad one has its place in the order of
//! checks (B.5). Operation bodies have their bytes in [`body`], since keepers forward them to each other; frames,
//! replies and the connection's first record are the wire's.

pub mod body;
pub mod error;

pub use error::ErrorCode;

use crate::id::{SessionId, Zxid};
use crate::znode::acl::{AclList, Id};
use crate::znode::stat::Stat;
use crate::znode::txn::CreateKind;
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

/// What a client sends over its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// The first record of a connection.
    Connect(Connect),
    Op {
        xid: i32,
        op: Op,
    },
    /// An administrator's word instead of the first record: `ruok`, `srvr`.
    FourLetter([u8; 4]),
    /// A frame with a header whose body cannot be read. An unknown op code is no such thing: it is [`Op::Unknown`].
    Undecodable {
        xid: i32,
        op: i32,
    },
}

/// Asks for a session: a new one, or one that was had before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connect {
    pub protocol_version: i32,
    /// The highest zxid the client has seen in a reply.
    pub last_zxid_seen: Zxid,
    /// The session timeout it wishes, in milliseconds.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session: SessionId,
    pub password: Bytes,
    /// Absent from old clients' records, and then from the answer.
    pub read_only: Option<bool>,
}

/// One operation. Paths are as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// create, create2, createContainer and createTTL.
    Create(Create),
    Delete {
        path: Arc<str>,
        version: i32,
    },
    Exists {
        path: Arc<str>,
        watch: bool,
    },
    GetData {
        path: Arc<str>,
        watch: bool,
    },
    SetData {
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
    /// getChildren, or getChildren2 with `stat`.
    GetChildren {
        path: Arc<str>,
        watch: bool,
        stat: bool,
    },
    Sync {
        path: Arc<str>,
    },
    Ping,
    /// Only inside a multi.
    Check {
        path: Arc<str>,
        version: i32,
    },
    Multi(Vec<Op>),
    MultiRead(Vec<Op>),
    Reconfig {
        joining: Option<Arc<str>>,
        leaving: Option<Arc<str>>,
        members: Option<Arc<str>>,
        config: i64,
    },
    CheckWatches {
        path: Arc<str>,
        kind: i32,
    },
    RemoveWatches {
        path: Arc<str>,
        kind: i32,
    },
    Auth {
        scheme: Arc<str>,
        credentials: Bytes,
    },
    Sasl {
        token: Option<Bytes>,
    },
    /// setWatches, or setWatches2 where one of the persistent kinds is there.
    SetWatches(SetWatches),
    AddWatch {
        path: Arc<str>,
        mode: i32,
    },
    GetEphemerals {
        prefix: Arc<str>,
    },
    GetAllChildrenNumber {
        path: Arc<str>,
    },
    WhoAmI,
    CloseSession,

    // Between keepers only; a client that sends one is refused.
    CreateSession {
        timeout_ms: i32,
    },
    DeleteContainer {
        path: Arc<str>,
    },

    /// An op code nobody knows.
    Unknown {
        code: i32,
        body: Bytes,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Create {
    /// Which of the four requests it is.
    pub kind: CreateKind,
    pub path: Arc<str>,
    /// Null and empty are two things to ZooKeeper.
    pub data: Option<Bytes>,
    pub acl: AclList,
    /// A [`CreateMode`]'s number, if it is one.
    pub flags: i32,
}

/// ZooKeeper's create modes (protocol.md B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum CreateMode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
    EphemeralSequential = 3,
    Container = 4,
    PersistentTtl = 5,
    PersistentSequentialTtl = 6,
}

impl CreateMode {
    pub const fn from_flags(flags: i32) -> Option<CreateMode> {
        Some(match flags {
            0 => CreateMode::Persistent,
            1 => CreateMode::Ephemeral,
            2 => CreateMode::PersistentSequential,
            3 => CreateMode::EphemeralSequential,
            4 => CreateMode::Container,
            5 => CreateMode::PersistentTtl,
            6 => CreateMode::PersistentSequentialTtl,
            _ => return None,
        })
    }

    pub const fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential | CreateMode::EphemeralSequential | CreateMode::PersistentSequentialTtl
        )
    }

    pub const fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl)
    }
}

/// The watches a client had before it came here, to be armed again (protocol.md B.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetWatches {
    /// setWatches2, which knows the persistent kinds.
    pub second: bool,
    /// What the client had seen last: later changes fire at once.
    pub relative_zxid: Zxid,
    pub data: Vec<Arc<str>>,
    pub exist: Vec<Arc<str>>,
    pub child: Vec<Arc<str>>,
    pub persistent: Vec<Arc<str>>,
    pub recursive: Vec<Arc<str>>,
}

/// The xids no ordinary request may carry (protocol.md B.1).
pub mod xid {
    pub const EVENT: i32 = -1;
    pub const PING: i32 = -2;
    pub const AUTH: i32 = -4;
    pub const SET_WATCHES: i32 = -8;
}

/// What a keeper sends over a client's connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Connected(Connected),
    Answer {
        xid: i32,
        /// What the server had applied; the txn's own for a write, zero for auth.
        zxid: Zxid,
        err: ErrorCode,
        /// Only where `err` is `Ok`, and not for every operation.
        body: Option<Body>,
    },
    Event(WatchEvent),
    /// The answer to a four-letter word; the connection closes behind it.
    Text(String),
}

/// The answer to [`Connect`]. A timeout of zero: the session is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connected {
    pub protocol_version: i32,
    pub timeout_ms: i32,
    pub session: SessionId,
    pub password: [u8; 16],
    /// As in the request: absent where it was absent.
    pub read_only: Option<bool>,
}

/// A watch fired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    /// The txn that fired it; `None` (−1 on the wire) for what setWatches finds to have changed before.
    pub zxid: Option<Zxid>,
    pub kind: EventKind,
    pub state: SessionState,
    pub path: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventKind {
    None = -1,
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
    DataWatchRemoved = 5,
    ChildWatchRemoved = 6,
    PersistentWatchRemoved = 7,
}

impl EventKind {
    pub const fn from_code(code: i32) -> Option<EventKind> {
        Some(match code {
            -1 => EventKind::None,
            1 => EventKind::NodeCreated,
            2 => EventKind::NodeDeleted,
            3 => EventKind::NodeDataChanged,
            4 => EventKind::NodeChildrenChanged,
            5 => EventKind::DataWatchRemoved,
            6 => EventKind::ChildWatchRemoved,
            7 => EventKind::PersistentWatchRemoved,
            _ => return None,
        })
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// ZooKeeper's `KeeperState`, as events carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum SessionState {
    Disconnected = 0,
    SyncConnected = 3,
    AuthFailed = 4,
    ConnectedReadOnly = 5,
    SaslAuthenticated = 6,
    Closed = 7,
    Expired = -112,
}

impl SessionState {
    pub const fn from_code(code: i32) -> Option<SessionState> {
        Some(match code {
            0 => SessionState::Disconnected,
            3 => SessionState::SyncConnected,
            4 => SessionState::AuthFailed,
            5 => SessionState::ConnectedReadOnly,
            6 => SessionState::SaslAuthenticated,
            7 => SessionState::Closed,
            -112 => SessionState::Expired,
            _ => return None,
        })
    }
}

/// What an operation that went well returns. Which one belongs to which operation: [`Op::answer`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// create, sync.
    Path(Arc<str>),
    /// create2, createContainer, createTTL.
    Created {
        path: Arc<str>,
        stat: Stat,
    },
    /// exists, setData, setACL.
    Stat(Stat),
    /// getData, reconfig.
    Data {
        data: Option<Bytes>,
        stat: Stat,
    },
    Acl {
        acl: AclList,
        stat: Stat,
    },
    /// getChildren, without a stat; getChildren2, with one. Names, not paths.
    Children {
        names: Vec<Arc<str>>,
        stat: Option<Stat>,
    },
    /// getEphemerals.
    Ephemerals(Vec<Arc<str>>),
    /// getAllChildrenNumber.
    Count(i32),
    /// addWatch: an error number that is always zero.
    WatchAdded,
    /// multi and multiRead: one for each operation.
    Multi(Vec<Part>),
    /// Scheme and user.
    WhoAmI(Vec<Id>),
    Sasl {
        token: Option<Bytes>,
    },
}

impl Body {
    /// Bytes of what may be long in it, about: data and names, each name behind its length.
    pub fn length(&self) -> usize {
        match self {
            Body::Data { data, .. } | Body::Sasl { token: data } => data.as_ref().map_or(0, Bytes::len),
            Body::Children { names, .. } | Body::Ephemerals(names) => names.iter().map(|name| 4 + name.len()).sum(),
            Body::Multi(parts) => parts.iter().map(Part::length).sum(),
            Body::Path(_)
            | Body::Created { .. }
            | Body::Stat(_)
            | Body::Acl { .. }
            | Body::Count(_)
            | Body::WatchAdded
            | Body::WhoAmI(_) => 0,
        }
    }
}

/// The outcome of one operation of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `op`: the type that the result's header carries (15 for create2, createContainer and createTTL); no body for
    /// delete and check.
    Done { op: i32, body: Option<Body> },
    /// `Ok` for one that was in order and was rolled back, `RuntimeInconsistency` for one that was not tried.
    Failed(ErrorCode),
}

impl Part {
    /// As [`Body::length`].
    pub fn length(&self) -> usize {
        match self {
            Part::Done { body: Some(body), .. } => body.length(),
            Part::Done { body: None, .. } | Part::Failed(_) => 0,
        }
    }
}

/// The shape of an operation's answer, for whoever decodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    Nothing,
    Path,
    Created,
    Stat,
    Data,
    Acl,
    Children,
    ChildrenAndStat,
    Ephemerals,
    Count,
    WatchAdded,
    Multi,
    WhoAmI,
    Sasl,
}

/// Op codes (protocol.md B.2).
pub mod op_code {
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const ERROR: i32 = -1;
}

impl Op {
    /// The op code of its request header.
    pub fn code(&self) -> i32 {
        match self {
            Op::Create(create) => match create.kind {
                CreateKind::Plain => op_code::CREATE,
                CreateKind::WithStat => op_code::CREATE2,
                CreateKind::Container => op_code::CREATE_CONTAINER,
                CreateKind::Ttl { .. } => op_code::CREATE_TTL,
            },
            Op::Delete { .. } => op_code::DELETE,
            Op::Exists { .. } => op_code::EXISTS,
            Op::GetData { .. } => op_code::GET_DATA,
            Op::SetData { .. } => op_code::SET_DATA,
            Op::GetAcl { .. } => op_code::GET_ACL,
            Op::SetAcl { .. } => op_code::SET_ACL,
            Op::GetChildren { stat: false, .. } => op_code::GET_CHILDREN,
            Op::GetChildren { stat: true, .. } => op_code::GET_CHILDREN2,
            Op::Sync { .. } => op_code::SYNC,
            Op::Ping => op_code::PING,
            Op::Check { .. } => op_code::CHECK,
            Op::Multi(_) => op_code::MULTI,
            Op::MultiRead(_) => op_code::MULTI_READ,
            Op::Reconfig { .. } => op_code::RECONFIG,
            Op::CheckWatches { .. } => op_code::CHECK_WATCHES,
            Op::RemoveWatches { .. } => op_code::REMOVE_WATCHES,
            Op::Auth { .. } => op_code::AUTH,
            Op::Sasl { .. } => op_code::SASL,
            Op::SetWatches(SetWatches { second: false, .. }) => op_code::SET_WATCHES,
            Op::SetWatches(SetWatches { second: true, .. }) => op_code::SET_WATCHES2,
            Op::AddWatch { .. } => op_code::ADD_WATCH,
            Op::GetEphemerals { .. } => op_code::GET_EPHEMERALS,
            Op::GetAllChildrenNumber { .. } => op_code::GET_ALL_CHILDREN_NUMBER,
            Op::WhoAmI => op_code::WHO_AM_I,
            Op::CloseSession => op_code::CLOSE_SESSION,
            Op::CreateSession { .. } => op_code::CREATE_SESSION,
            Op::DeleteContainer { .. } => op_code::DELETE_CONTAINER,
            Op::Unknown { code, .. } => *code,
        }
    }

    /// The shape of its answer.
    pub fn answer(&self) -> Answer {
        match self {
            Op::Create(Create { kind: CreateKind::Plain, .. }) | Op::Sync { .. } => Answer::Path,
            Op::Create(_) => Answer::Created,
            Op::Exists { .. } | Op::SetData { .. } | Op::SetAcl { .. } => Answer::Stat,
            Op::GetData { .. } | Op::Reconfig { .. } => Answer::Data,
            Op::GetAcl { .. } => Answer::Acl,
            Op::GetChildren { stat: false, .. } => Answer::Children,
            Op::GetChildren { stat: true, .. } => Answer::ChildrenAndStat,
            Op::Multi(_) | Op::MultiRead(_) => Answer::Multi,
            Op::Sasl { .. } => Answer::Sasl,
            Op::AddWatch { .. } => Answer::WatchAdded,
            Op::GetEphemerals { .. } => Answer::Ephemerals,
            Op::GetAllChildrenNumber { .. } => Answer::Count,
            Op::WhoAmI => Answer::WhoAmI,
            Op::Delete { .. }
            | Op::Ping
            | Op::Check { .. }
            | Op::CheckWatches { .. }
            | Op::RemoveWatches { .. }
            | Op::Auth { .. }
            | Op::SetWatches(_)
            | Op::CloseSession
            | Op::CreateSession { .. }
            | Op::DeleteContainer { .. }
            | Op::Unknown { .. } => Answer::Nothing,
        }
    }

    /// Does it go through the leader as a transaction?
    pub fn is_write(&self) -> bool {
        match self {
            Op::Create(_)
            | Op::Delete { .. }
            | Op::SetData { .. }
            | Op::SetAcl { .. }
            | Op::Check { .. }
            | Op::Multi(_)
            | Op::Reconfig { .. }
            | Op::CloseSession
            | Op::CreateSession { .. }
            | Op::DeleteContainer { .. } => true,
            Op::Exists { .. }
            | Op::GetData { .. }
            | Op::GetAcl { .. }
            | Op::GetChildren { .. }
            | Op::Sync { .. }
            | Op::Ping
            | Op::MultiRead(_)
            | Op::CheckWatches { .. }
            | Op::RemoveWatches { .. }
            | Op::Auth { .. }
            | Op::Sasl { .. }
            | Op::SetWatches(_)
            | Op::AddWatch { .. }
            | Op::GetEphemerals { .. }
            | Op::GetAllChildrenNumber { .. }
            | Op::WhoAmI
            | Op::Unknown { .. } => false,
        }
    }
}

/// `create /a`, `getData /a`, `multi of 2`: ZooKeeper's name of the operation and what it is about.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Create(create) => match create.kind {
                CreateKind::Plain => write!(f, "create {}", create.path),
                CreateKind::WithStat => write!(f, "create2 {}", create.path),
                CreateKind::Container => write!(f, "createContainer {}", create.path),
                CreateKind::Ttl { millis } => write!(f, "createTTL {} {millis}ms", create.path),
            },
            Op::Delete { path, .. } => write!(f, "delete {path}"),
            Op::Exists { path, .. } => write!(f, "exists {path}"),
            Op::GetData { path, .. } => write!(f, "getData {path}"),
            Op::SetData { path, .. } => write!(f, "setData {path}"),
            Op::GetAcl { path } => write!(f, "getACL {path}"),
            Op::SetAcl { path, .. } => write!(f, "setACL {path}"),
            Op::GetChildren { path, stat: false, .. } => write!(f, "getChildren {path}"),
            Op::GetChildren { path, stat: true, .. } => write!(f, "getChildren2 {path}"),
            Op::Sync { path } => write!(f, "sync {path}"),
            Op::Ping => f.write_str("ping"),
            Op::Check { path, version } => write!(f, "check {path} {version}"),
            Op::Multi(ops) => write!(f, "multi of {}", ops.len()),
            Op::MultiRead(ops) => write!(f, "multiRead of {}", ops.len()),
            Op::Reconfig { .. } => f.write_str("reconfig"),
            Op::CheckWatches { path, .. } => write!(f, "checkWatches {path}"),
            Op::RemoveWatches { path, .. } => write!(f, "removeWatches {path}"),
            Op::Auth { scheme, .. } => write!(f, "auth {scheme}"),
            Op::Sasl { .. } => f.write_str("sasl"),
            Op::SetWatches(watches) => {
                let count = watches.data.len()
                    + watches.exist.len()
                    + watches.child.len()
                    + watches.persistent.len()
                    + watches.recursive.len();
                write!(f, "setWatches of {count}")
            }
            Op::AddWatch { path, .. } => write!(f, "addWatch {path}"),
            Op::GetEphemerals { prefix } => write!(f, "getEphemerals {prefix}"),
            Op::GetAllChildrenNumber { path } => write!(f, "getAllChildrenNumber {path}"),
            Op::WhoAmI => f.write_str("whoAmI"),
            Op::CloseSession => f.write_str("closeSession"),
            Op::CreateSession { .. } => f.write_str("createSession"),
            Op::DeleteContainer { path } => write!(f, "deleteContainer {path}"),
            Op::Unknown { code, .. } => write!(f, "op {code}"),
        }
    }
}

/// One line, for a person: `setData /a #7`, `connect 0x1…`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Connect(Connect { session: SessionId(0), .. }) => f.write_str("connect"),
            Request::Connect(connect) => write!(f, "connect {}", connect.session),
            Request::Op { op, .. } => op.fmt(f),
            Request::FourLetter(word) => f.write_str(&String::from_utf8_lossy(word)),
            Request::Undecodable { op, .. } => write!(f, "unreadable op {op}"),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Connected(Connected { timeout_ms: ..=0, .. }) => f.write_str("session expired"),
            Reply::Connected(connected) => write!(f, "connected {}", connected.session),
            Reply::Answer { zxid, err: ErrorCode::Ok, .. } => write!(f, "answer {zxid}"),
            Reply::Answer { zxid, err, .. } => write!(f, "{err} {zxid}"),
            Reply::Event(event) => write!(f, "{} {}", event.kind, event.path),
            Reply::Text(text) => f.write_str(text.lines().next().unwrap_or_default()),
        }
    }
}
