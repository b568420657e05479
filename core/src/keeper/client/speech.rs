//! Between what a session's client says and hears, and the client vocabulary of [`crate::api::keeper`].

use super::op::{Answer, CreateMode, Done, KeeperError, Op, WatchKind};
use super::{Heard, Say};
use crate::api::keeper::{self as wire, Body, Connect, EventKind, Part, Reply, Request, SetWatches, xid};
use crate::time::Span;
use crate::znode::acl::AclList;
use crate::znode::txn::CreateKind;
use bytes::Bytes;
use std::sync::Arc;

/// The request that says this.
pub fn request(say: Say) -> Request {
    match say {
        Say::Connect { last_zxid, timeout, session, password } => Request::Connect(Connect {
            protocol_version: 0,
            last_zxid_seen: last_zxid,
            timeout_ms: timeout.as_millis() as i32,
            session,
            password: Bytes::copy_from_slice(&password),
            read_only: Some(false),
        }),
        Say::Auth { scheme, credentials } => {
            Request::Op { xid: xid::AUTH, op: wire::Op::Auth { scheme: scheme.into(), credentials } }
        }
        Say::Ping => Request::Op { xid: xid::PING, op: wire::Op::Ping },
        Say::SetWatches { relative, data, exist, child } => {
            let watches = SetWatches { relative_zxid: relative, data, exist, child, ..SetWatches::default() };
            Request::Op { xid: xid::SET_WATCHES, op: wire::Op::SetWatches(watches) }
        }
        Say::Op { xid, op } => Request::Op { xid, op: op_of(op) },
        Say::CloseSession { xid } => Request::Op { xid, op: wire::Op::CloseSession },
    }
}

fn op_of(op: Op) -> wire::Op {
    match op {
        Op::Exists { path, watch } => wire::Op::Exists { path, watch },
        Op::Get { path, watch } => wire::Op::GetData { path, watch },
        Op::Children { path, watch } => wire::Op::GetChildren { path, watch, stat: true },
        Op::Create { path, data, mode } => create(CreateKind::Plain, path, data, mode, AclList::open()),
        Op::CreateWith { path, data, mode, acl } => create(CreateKind::WithStat, path, data, mode, acl),
        Op::GetAcl { path } => wire::Op::GetAcl { path },
        Op::SetAcl { path, acl, version } => wire::Op::SetAcl { path, acl, version },
        Op::Set { path, data, version } => wire::Op::SetData { path, data, version },
        Op::Delete { path, version } => wire::Op::Delete { path, version },
        Op::Check { path, version } => wire::Op::Check { path, version },
        Op::Multi(ops) => wire::Op::Multi(ops.into_iter().map(op_of).collect()),
        Op::Sync { path } => wire::Op::Sync { path },
    }
}

fn create(kind: CreateKind, path: Arc<str>, data: Option<Bytes>, mode: CreateMode, acl: AclList) -> wire::Op {
    wire::Op::Create(wire::Create { kind, path, data, acl, flags: mode.flags() })
}

/// What a reply means to the client; `None` of one that no client of ours asks for.
pub fn heard(reply: Reply) -> Option<Heard> {
    Some(match reply {
        Reply::Connected(connected) => Heard::Connected {
            timeout: Span::millis(connected.timeout_ms.max(0) as u64),
            session: connected.session,
            password: connected.password,
        },
        Reply::Event(event) => Heard::Watch { kind: watch_kind(event.kind)?, path: event.path },
        Reply::Answer { xid: xid::AUTH, err, .. } if !err.is_ok() => Heard::AuthFailed,
        Reply::Answer { xid: xid::PING | xid::AUTH | xid::SET_WATCHES, .. } => Heard::Alive,
        Reply::Answer { xid, zxid, err, body } => {
            let answer = if err.is_ok() { done(body) } else { Err(KeeperError(err.code())) };
            Heard::Reply { xid, zxid, answer }
        }
        Reply::Text(_) => return None,
    })
}

fn watch_kind(kind: EventKind) -> Option<WatchKind> {
    Some(match kind {
        EventKind::NodeCreated => WatchKind::Created,
        EventKind::NodeDeleted => WatchKind::Deleted,
        EventKind::NodeDataChanged => WatchKind::DataChanged,
        EventKind::NodeChildrenChanged => WatchKind::ChildrenChanged,
        EventKind::None
        | EventKind::DataWatchRemoved
        | EventKind::ChildWatchRemoved
        | EventKind::PersistentWatchRemoved => return None,
    })
}

fn done(body: Option<Body>) -> Answer {
    Ok(match body {
        None => Done::Nothing,
        Some(Body::Stat(stat)) => Done::Stat(stat),
        Some(Body::Data { data, stat }) => Done::Data { data, stat },
        Some(Body::Children { names, stat }) => Done::Children { names, stat: stat.unwrap_or_default() },
        Some(Body::Acl { acl, stat }) => Done::Acl { acl, stat },
        // A sync's answer is its path too; nobody asks which.
        Some(Body::Path(path)) => Done::Created { path },
        Some(Body::Created { path, stat }) => Done::CreatedWith { path, stat },
        Some(Body::Multi(parts)) => Done::Multi(parts.into_iter().map(part).collect()),
        Some(Body::Ephemerals(_) | Body::Count(_) | Body::WatchAdded | Body::WhoAmI(_) | Body::Sasl { .. }) => {
            Done::Nothing
        }
    })
}

fn part(part: Part) -> Answer {
    match part {
        Part::Done { body, .. } => done(body),
        Part::Failed(error) if error.is_ok() => Ok(Done::Nothing),
        Part::Failed(error) => Err(KeeperError(error.code())),
    }
}
