//! The bytes of an operation's body, as client frames and the REQUEST packets between keepers carry them (wire.md 3.3).
//! Knows no frame, no header and no reply.

use super::{Create, Op, SetWatches, op_code};
use crate::codec::{Reader, Result, Writer};
use crate::id::Zxid;
use crate::znode::acl::AclList;
use crate::znode::txn::CreateKind;
use bytes::Bytes;
use std::sync::Arc;

/// Writes the body of an operation, without its header.
pub fn encode_body(op: &Op, w: &mut Writer) {
    match op {
        Op::Create(create) => encode_create(create, w),
        Op::Delete { path, version } | Op::Check { path, version } => {
            w.jute_string(path);
            w.i32(*version);
        }
        Op::Exists { path, watch } | Op::GetData { path, watch } | Op::GetChildren { path, watch, .. } => {
            w.jute_string(path);
            w.bool(*watch);
        }
        Op::SetData { path, data, version } => {
            w.jute_string(path);
            w.jute_buffer(data.as_deref());
            w.i32(*version);
        }
        Op::GetAcl { path }
        | Op::Sync { path }
        | Op::GetEphemerals { prefix: path }
        | Op::GetAllChildrenNumber { path }
        | Op::DeleteContainer { path } => w.jute_string(path),
        Op::SetAcl { path, acl, version } => {
            w.jute_string(path);
            acl.encode(w);
            w.i32(*version);
        }
        Op::Multi(ops) | Op::MultiRead(ops) => encode_multi(ops, w),
        Op::Reconfig { joining, leaving, members, config } => {
            for text in [joining, leaving, members] {
                w.jute_buffer(text.as_deref().map(str::as_bytes));
            }
            w.i64(*config);
        }
        Op::CheckWatches { path, kind } | Op::RemoveWatches { path, kind } => {
            w.jute_string(path);
            w.i32(*kind);
        }
        Op::Auth { scheme, credentials } => {
            w.i32(0);
            w.jute_string(scheme);
            w.jute_buffer(Some(credentials));
        }
        Op::Sasl { token } => w.jute_buffer(token.as_deref()),
        Op::SetWatches(watches) => encode_set_watches(watches, w),
        Op::AddWatch { path, mode } => {
            w.jute_string(path);
            w.i32(*mode);
        }
        Op::CreateSession { timeout_ms } => w.i32(*timeout_ms),
        Op::Unknown { body, .. } => w.put(body),
        Op::Ping | Op::WhoAmI | Op::CloseSession => {}
    }
}

fn encode_create(create: &Create, w: &mut Writer) {
    w.jute_string(&create.path);
    w.jute_buffer(create.data.as_deref());
    create.acl.encode(w);
    w.i32(create.flags);
    if let CreateKind::Ttl { millis } = create.kind {
        w.i64(millis);
    }
}

/// Each operation behind a header {type, done = false, err = −1}; at the end {−1, true, −1}.
fn encode_multi(ops: &[Op], w: &mut Writer) {
    for op in ops {
        w.i32(op.code());
        w.bool(false);
        w.i32(-1);
        encode_body(op, w);
    }
    w.i32(-1);
    w.bool(true);
    w.i32(-1);
}

fn encode_set_watches(watches: &SetWatches, w: &mut Writer) {
    w.i64(watches.relative_zxid.to_wire());
    let SetWatches { data, exist, child, persistent, recursive, .. } = watches;
    let kinds = [data, exist, child, persistent, recursive];
    for paths in &kinds[..if watches.second { 5 } else { 3 }] {
        w.jute_vector(paths, |w, path| w.jute_string(path));
    }
}

/// Reads the body that belongs to an op code. Bytes behind it are left to the caller, as ZooKeeper leaves them.
///
/// # Errors
/// The body cannot be read. An op code nobody knows is no error but [`Op::Unknown`], which takes all bytes.
pub fn decode_body(code: i32, r: &mut Reader) -> Result<Op> {
    Ok(match code {
        op_code::CREATE => decode_create(CreateKind::Plain, r)?,
        op_code::CREATE2 => decode_create(CreateKind::WithStat, r)?,
        op_code::CREATE_CONTAINER => decode_create(CreateKind::Container, r)?,
        op_code::CREATE_TTL => decode_create(CreateKind::Ttl { millis: 0 }, r)?,
        op_code::DELETE => Op::Delete { path: text(r)?, version: r.i32()? },
        op_code::EXISTS => Op::Exists { path: text(r)?, watch: r.bool()? },
        op_code::GET_DATA => Op::GetData { path: text(r)?, watch: r.bool()? },
        op_code::SET_DATA => Op::SetData { path: text(r)?, data: r.jute_buffer()?, version: r.i32()? },
        op_code::GET_ACL => Op::GetAcl { path: text(r)? },
        op_code::SET_ACL => Op::SetAcl { path: text(r)?, acl: AclList::decode(r)?, version: r.i32()? },
        op_code::GET_CHILDREN => Op::GetChildren { path: text(r)?, watch: r.bool()?, stat: false },
        op_code::GET_CHILDREN2 => Op::GetChildren { path: text(r)?, watch: r.bool()?, stat: true },
        op_code::SYNC => Op::Sync { path: text(r)? },
        op_code::PING => Op::Ping,
        op_code::CHECK => Op::Check { path: text(r)?, version: r.i32()? },
        op_code::MULTI => Op::Multi(decode_multi(r, is_in_multi)?),
        op_code::MULTI_READ => Op::MultiRead(decode_multi(r, is_in_multi_read)?),
        op_code::RECONFIG => Op::Reconfig {
            joining: optional_text(r)?,
            leaving: optional_text(r)?,
            members: optional_text(r)?,
            config: r.i64()?,
        },
        op_code::CHECK_WATCHES => Op::CheckWatches { path: text(r)?, kind: r.i32()? },
        op_code::REMOVE_WATCHES => Op::RemoveWatches { path: text(r)?, kind: r.i32()? },
        op_code::AUTH => {
            let _always_zero = r.i32()?;
            Op::Auth { scheme: text(r)?, credentials: r.jute_buffer()?.unwrap_or_default() }
        }
        op_code::SASL => Op::Sasl { token: r.jute_buffer()? },
        op_code::SET_WATCHES => decode_set_watches(false, r)?,
        op_code::SET_WATCHES2 => decode_set_watches(true, r)?,
        op_code::ADD_WATCH => Op::AddWatch { path: text(r)?, mode: r.i32()? },
        op_code::GET_EPHEMERALS => Op::GetEphemerals { prefix: text(r)? },
        op_code::GET_ALL_CHILDREN_NUMBER => Op::GetAllChildrenNumber { path: text(r)? },
        op_code::WHO_AM_I => Op::WhoAmI,
        op_code::CLOSE_SESSION => Op::CloseSession,
        op_code::CREATE_SESSION => Op::CreateSession { timeout_ms: r.i32()? },
        op_code::DELETE_CONTAINER => Op::DeleteContainer { path: text(r)? },
        code => Op::Unknown { code, body: r.rest() },
    })
}

fn decode_create(kind: CreateKind, r: &mut Reader) -> Result<Op> {
    let (path, data, acl, flags) = (text(r)?, r.jute_buffer()?, AclList::decode(r)?, r.i32()?);
    let kind = match kind {
        CreateKind::Ttl { .. } => CreateKind::Ttl { millis: r.i64()? },
        CreateKind::Plain | CreateKind::WithStat | CreateKind::Container => kind,
    };
    Ok(Op::Create(Create { kind, path, data, acl, flags }))
}

fn is_in_multi(code: i32) -> bool {
    matches!(
        code,
        op_code::CREATE
            | op_code::CREATE2
            | op_code::CREATE_CONTAINER
            | op_code::CREATE_TTL
            | op_code::DELETE
            | op_code::SET_DATA
            | op_code::CHECK
    )
}

fn is_in_multi_read(code: i32) -> bool {
    matches!(code, op_code::GET_DATA | op_code::GET_CHILDREN)
}

fn decode_multi(r: &mut Reader, is_allowed: fn(i32) -> bool) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    loop {
        let (code, done, _err) = (r.i32()?, r.bool()?, r.i32()?);
        if done {
            return Ok(ops);
        }
        if !is_allowed(code) {
            return r.malformed("an operation that may stand in this multi");
        }
        ops.push(decode_body(code, r)?);
    }
}

fn decode_set_watches(second: bool, r: &mut Reader) -> Result<Op> {
    let mut watches = SetWatches { second, relative_zxid: Zxid::from_wire(r.i64()?), ..SetWatches::default() };
    watches.data = r.jute_vector(4, text)?;
    watches.exist = r.jute_vector(4, text)?;
    watches.child = r.jute_vector(4, text)?;
    if second {
        watches.persistent = r.jute_vector(4, text)?;
        watches.recursive = r.jute_vector(4, text)?;
    }
    Ok(Op::SetWatches(watches))
}

fn text(r: &mut Reader) -> Result<Arc<str>> {
    let declared = i64::from(r.i32()?);
    let length = r.count(declared, 1)?.unwrap_or(0);
    r.text(length).map(Arc::from)
}

fn optional_text(r: &mut Reader) -> Result<Option<Arc<str>>> {
    let at = r.position() as u64;
    let Some(bytes) = r.jute_buffer()? else { return Ok(None) };
    match core::str::from_utf8(&bytes) {
        Ok(text) => Ok(Some(Arc::from(text))),
        Err(_) => Err(crate::codec::Malformed { at, expected: "a string in UTF-8" }),
    }
}

/// The body of an operation in bytes of its own.
pub fn body_bytes(op: &Op) -> Bytes {
    let mut writer = Writer::with_capacity(64);
    encode_body(op, &mut writer);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(kind: CreateKind, flags: i32) -> Op {
        Op::Create(Create { kind, path: "/a".into(), data: None, acl: AclList::open(), flags })
    }

    #[test]
    fn a_body_is_read_back() {
        let ops = [
            create(CreateKind::Plain, 3),
            create(CreateKind::Ttl { millis: 9 }, 5),
            Op::SetData { path: "/a".into(), data: Some(Bytes::from_static(b"x")), version: -1 },
            Op::SetAcl { path: "/a".into(), acl: AclList::read_only(), version: 2 },
            Op::GetChildren { path: "/".into(), watch: true, stat: true },
            Op::Multi(vec![create(CreateKind::WithStat, 1), Op::Check { path: "/a".into(), version: 0 }]),
            Op::MultiRead(vec![Op::GetData { path: "/a".into(), watch: false }]),
            Op::SetWatches(SetWatches {
                second: true,
                relative_zxid: Zxid(7),
                recursive: vec!["/a".into()],
                ..SetWatches::default()
            }),
            Op::Reconfig { joining: None, leaving: Some("2".into()), members: None, config: -1 },
            Op::Auth { scheme: "digest".into(), credentials: Bytes::from_static(b"a:b") },
            Op::CloseSession,
            Op::CreateSession { timeout_ms: 4000 },
            Op::Unknown { code: 77, body: Bytes::from_static(b"?") },
        ];
        for op in ops {
            let mut reader = Reader::new(body_bytes(&op));
            assert_eq!(decode_body(op.code(), &mut reader), Ok(op));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_multi_holds_only_what_may_stand_in_it() {
        let nested = Op::Multi(vec![Op::GetData { path: "/a".into(), watch: false }]);
        assert!(decode_body(op_code::MULTI, &mut Reader::new(body_bytes(&nested))).is_err());
        let unfinished = Bytes::from_static(&[0, 0, 0, 2, 0, 0, 0, 0]);
        assert!(decode_body(op_code::MULTI, &mut Reader::new(unfinished)).is_err());
    }
}
