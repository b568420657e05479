//! The first record each way on a client's connection (wire.md 3.2). The byte that says "read only is fine" is absent
//! from old clients, and then from the answer.

use crate::api::keeper::{Connect, Connected};
use crate::codec::{Malformed, Reader, Result, Writer};
use crate::id::{SessionId, Zxid};
use bytes::Bytes;

pub(super) fn encode_request(connect: &Connect, w: &mut Writer) {
    w.i32(connect.protocol_version);
    w.i64(connect.last_zxid_seen.to_wire());
    w.i32(connect.timeout_ms);
    w.i64(connect.session.0);
    w.jute_buffer(Some(&connect.password));
    encode_read_only(connect.read_only, w);
}

pub(super) fn decode_request(frame: Bytes) -> Result<Connect> {
    let mut r = Reader::new(frame);
    Ok(Connect {
        protocol_version: r.i32()?,
        last_zxid_seen: Zxid::from_wire(r.i64()?),
        timeout_ms: r.i32()?,
        session: SessionId(r.i64()?),
        password: r.jute_buffer()?.unwrap_or_default(),
        read_only: decode_read_only(&mut r)?,
    })
}

pub(super) fn encode_response(connected: &Connected, w: &mut Writer) {
    w.i32(connected.protocol_version);
    w.i32(connected.timeout_ms);
    w.i64(connected.session.0);
    w.jute_buffer(Some(&connected.password));
    encode_read_only(connected.read_only, w);
}

pub(super) fn decode_response(frame: Bytes) -> Result<Connected> {
    let mut r = Reader::new(frame);
    let (protocol_version, timeout_ms, session) = (r.i32()?, r.i32()?, SessionId(r.i64()?));
    let at = r.position() as u64;
    let password = r.jute_buffer()?.unwrap_or_default();
    let Some(password) = password.as_array::<16>().copied() else {
        return Err(Malformed { at, expected: "a password of 16 bytes" });
    };
    let read_only = decode_read_only(&mut r)?;
    Ok(Connected { protocol_version, timeout_ms, session, password, read_only })
}

fn encode_read_only(read_only: Option<bool>, w: &mut Writer) {
    if let Some(read_only) = read_only {
        w.bool(read_only);
    }
}

fn decode_read_only(r: &mut Reader) -> Result<Option<bool>> {
    if r.is_empty() { Ok(None) } else { r.bool().map(Some) }
}
