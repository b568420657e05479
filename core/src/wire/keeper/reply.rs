//! A keeper's replies and events as frames: a header {xid, zxid, err}, and behind it what the operation returns.

use super::connect;
use crate::api::keeper::{Answer, Body, ErrorCode, EventKind, Part, Reply, SessionState, WatchEvent, op_code, xid};
use crate::codec::{Malformed, Reader, Result, Writer};
use crate::id::Zxid;
use crate::znode::acl::{AclList, Id};
use crate::znode::stat::Stat;
use bytes::Bytes;
use std::sync::Arc;

/// What a reply begins with.
pub(super) struct Header {
    pub xid: i32,
    zxid: i64,
    err: ErrorCode,
}

/// Writes a reply or an event; a text goes as it is.
pub fn encode_reply(reply: &Reply) -> Bytes {
    let mut w = Writer::with_capacity(128);
    match reply {
        Reply::Connected(connected) => connect::encode_response(connected, &mut w),
        Reply::Text(text) => w.put(text.as_bytes()),
        Reply::Event(event) => {
            encode_header(xid::EVENT, event.zxid.map_or(-1, Zxid::to_wire), ErrorCode::Ok, &mut w);
            w.i32(event.kind as i32);
            w.i32(event.state as i32);
            w.jute_string(&event.path);
        }
        Reply::Answer { xid, zxid, err, body } => {
            encode_header(*xid, zxid.to_wire(), *err, &mut w);
            if let Some(body) = body {
                encode_body(body, &mut w);
            }
        }
    }
    w.finish()
}

fn encode_header(xid: i32, zxid: i64, err: ErrorCode, w: &mut Writer) {
    w.i32(xid);
    w.i64(zxid);
    w.i32(err.code());
}

fn encode_body(body: &Body, w: &mut Writer) {
    match body {
        Body::Path(path) => w.jute_string(path),
        Body::Created { path, stat } => {
            w.jute_string(path);
            stat.encode(w);
        }
        Body::Stat(stat) => stat.encode(w),
        Body::Data { data, stat } => {
            w.jute_buffer(data.as_deref());
            stat.encode(w);
        }
        Body::Acl { acl, stat } => {
            acl.encode(w);
            stat.encode(w);
        }
        Body::Children { names, stat } => {
            w.jute_vector(names, |w, name| w.jute_string(name));
            if let Some(stat) = stat {
                stat.encode(w);
            }
        }
        Body::Ephemerals(paths) => w.jute_vector(paths, |w, path| w.jute_string(path)),
        Body::Count(count) => w.i32(*count),
        Body::WatchAdded => w.i32(0),
        Body::Multi(parts) => {
            parts.iter().for_each(|part| encode_part(part, w));
            encode_part_header(-1, true, -1, w);
        }
        Body::WhoAmI(ids) => w.jute_vector(ids, |w, id| id.encode(w)),
        Body::Sasl { token } => w.jute_buffer(token.as_deref()),
    }
}

fn encode_part(part: &Part, w: &mut Writer) {
    match part {
        Part::Done { op, body } => {
            encode_part_header(*op, false, 0, w);
            if let Some(body) = body {
                encode_body(body, w);
            }
        }
        Part::Failed(code) => {
            encode_part_header(op_code::ERROR, false, code.code(), w);
            w.i32(code.code());
        }
    }
}

fn encode_part_header(op: i32, done: bool, err: i32, w: &mut Writer) {
    w.i32(op);
    w.bool(done);
    w.i32(err);
}

/// Reads a reply's header; the reader is left at what follows it.
pub(super) fn decode_header(frame: Bytes) -> Result<(Header, Reader)> {
    let mut r = Reader::new(frame);
    let (xid, zxid) = (r.i32()?, r.i64()?);
    Ok((Header { xid, zxid, err: read_code(&mut r)? }, r))
}

fn read_code(r: &mut Reader) -> Result<ErrorCode> {
    let at = r.position() as u64;
    ErrorCode::from_code(r.i32()?).ok_or(Malformed { at, expected: "an error code of ZooKeeper's" })
}

pub(super) fn decode_event(header: &Header, r: &mut Reader) -> Result<Reply> {
    let (kind, state) = (EventKind::from_code(r.i32()?), SessionState::from_code(r.i32()?));
    let (Some(kind), Some(state)) = (kind, state) else {
        return Err(Malformed { at: 16, expected: "an event's type and state" });
    };
    let zxid = (header.zxid != -1).then_some(Zxid::from_wire(header.zxid));
    Ok(Reply::Event(WatchEvent { zxid, kind, state, path: text(r)? }))
}

/// Reads what an operation of this shape returns; behind an error there is nothing.
pub(super) fn decode_answer(header: &Header, answer: Answer, r: &mut Reader) -> Result<Reply> {
    let body = match header.err {
        ErrorCode::Ok => decode_body(answer, r)?,
        _ => None,
    };
    Ok(Reply::Answer { xid: header.xid, zxid: Zxid::from_wire(header.zxid), err: header.err, body })
}

fn decode_body(answer: Answer, r: &mut Reader) -> Result<Option<Body>> {
    Ok(Some(match answer {
        Answer::Nothing => return Ok(None),
        Answer::Multi => Body::Multi(decode_parts(r)?),
        Answer::Path => Body::Path(text(r)?),
        Answer::Created => Body::Created { path: text(r)?, stat: Stat::decode(r)? },
        Answer::Stat => Body::Stat(Stat::decode(r)?),
        Answer::Data => Body::Data { data: r.jute_buffer()?, stat: Stat::decode(r)? },
        Answer::Acl => Body::Acl { acl: AclList::decode(r)?, stat: Stat::decode(r)? },
        Answer::Children => Body::Children { names: r.jute_vector(4, text)?, stat: None },
        Answer::ChildrenAndStat => Body::Children { names: r.jute_vector(4, text)?, stat: Some(Stat::decode(r)?) },
        Answer::Ephemerals => Body::Ephemerals(r.jute_vector(4, text)?),
        Answer::Count => Body::Count(r.i32()?),
        Answer::WatchAdded => {
            let _always_zero = r.i32()?;
            Body::WatchAdded
        }
        Answer::WhoAmI => Body::WhoAmI(r.jute_vector(8, Id::decode)?),
        Answer::Sasl => Body::Sasl { token: r.jute_buffer()? },
    }))
}

/// The results of a multi. They do not nest.
fn decode_parts(r: &mut Reader) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    loop {
        let (op, done, _err) = (r.i32()?, r.bool()?, r.i32()?);
        if done {
            return Ok(parts);
        }
        let answer = match op {
            op_code::ERROR => {
                parts.push(Part::Failed(read_code(r)?));
                continue;
            }
            op_code::CREATE => Answer::Path,
            op_code::CREATE2 | op_code::CREATE_CONTAINER | op_code::CREATE_TTL => Answer::Created,
            op_code::DELETE | op_code::CHECK => Answer::Nothing,
            op_code::SET_DATA => Answer::Stat,
            op_code::GET_DATA => Answer::Data,
            op_code::GET_CHILDREN => Answer::Children,
            _ => return r.malformed("the result of an operation that may stand in a multi"),
        };
        parts.push(Part::Done { op, body: decode_body(answer, r)? });
    }
}

fn text(r: &mut Reader) -> Result<Arc<str>> {
    let declared = i64::from(r.i32()?);
    let length = r.count(declared, 1)?.unwrap_or(0);
    r.text(length).map(Arc::from)
}
