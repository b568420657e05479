//! What quorum packets carry inside, as values and as ZooKeeper's bytes (protocol.md A.2 and A.5). Shared by atomic
//! broadcast and by the keeper, which fill the packets; the packets themselves are `wire`'s.
//!
//! Decoders take the packet's data as it came, null included, and are bounded.

use crate::codec::{Malformed, Reader, Result, Writer};
use crate::id::{KeeperId, SessionId, Zxid};
use crate::znode::Id;
use bytes::Bytes;

/// The version of the protocol between learner and leader, told in FOLLOWERINFO and LEADERINFO.
pub const PROTOCOL_VERSION: i32 = 0x10000;

fn open(data: Option<&Bytes>) -> Reader {
    Reader::new(data.cloned().unwrap_or_default())
}

/// FOLLOWERINFO and OBSERVERINFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LearnerInfo {
    pub id: KeeperId,
    pub protocol: i32,
    /// The version of the configuration the learner knows; a leader refuses one newer than its own.
    pub config_version: Zxid,
}

impl LearnerInfo {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(20);
        writer.i64(i64::from(self.id.0));
        writer.i32(self.protocol);
        writer.i64(self.config_version.to_wire());
        writer.finish()
    }

    pub fn decode(data: Option<&Bytes>) -> Result<LearnerInfo> {
        let mut reader = open(data);
        Ok(LearnerInfo {
            id: read_keeper(&mut reader)?,
            protocol: reader.i32()?,
            config_version: Zxid::from_wire(reader.i64()?),
        })
    }
}

/// A server id, which the wire carries as an i64.
fn read_keeper(reader: &mut Reader) -> Result<KeeperId> {
    let at = reader.position() as u64;
    let raw = reader.i64()?;
    u8::try_from(raw).map(KeeperId).map_err(|_| Malformed { at, expected: "a server id from 0 to 255" })
}

/// LEADERINFO's data.
pub fn encode_leader_info() -> Bytes {
    encode_i32(PROTOCOL_VERSION)
}

/// The leader's protocol version.
pub fn decode_leader_info(data: Option<&Bytes>) -> Result<i32> {
    open(data).i32()
}

/// ACKEPOCH's data: the learner's currentEpoch, or −1 for "do not count me again".
pub fn encode_ack_epoch(current_epoch: i32) -> Bytes {
    encode_i32(current_epoch)
}

pub fn decode_ack_epoch(data: Option<&Bytes>) -> Result<i32> {
    open(data).i32()
}

fn encode_i32(value: i32) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

/// REQUEST: a client's write, sent on by the learner it spoke to. Who the client is stands in the packet's authinfo.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardedRequest {
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    /// The op code.
    pub op: i32,
    /// The request's body as the client sent it.
    pub body: Bytes,
}

impl ForwardedRequest {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(16 + self.body.len());
        writer.i64(self.session.0);
        writer.i32(self.cxid);
        writer.i32(self.op);
        writer.put(&self.body);
        writer.finish()
    }

    /// The body shares the packet's bytes.
    pub fn decode(data: Option<&Bytes>) -> Result<ForwardedRequest> {
        let mut reader = open(data);
        Ok(ForwardedRequest {
            session: SessionId(reader.i64()?),
            cxid: reader.i32()?,
            op: reader.i32()?,
            body: reader.rest(),
        })
    }
}

/// A packet's authinfo as ids; null is nobody.
pub fn ids_of(authinfo: Option<&[(String, String)]>) -> Vec<Id> {
    authinfo.unwrap_or_default().iter().map(|(scheme, id)| Id::new(scheme, id)).collect()
}

/// Ids as a packet's authinfo.
pub fn authinfo_of(ids: &[Id]) -> Option<Vec<(String, String)>> {
    Some(ids.iter().map(|id| (id.scheme.to_string(), id.id.to_string())).collect())
}

/// The answer to PING: which sessions were heard of since the last one, with their timeouts in milliseconds.
pub fn encode_touches(touches: &[(SessionId, i32)]) -> Bytes {
    let mut writer = Writer::with_capacity(touches.len() * 12);
    for (session, timeout) in touches {
        writer.i64(session.0);
        writer.i32(*timeout);
    }
    writer.finish()
}

pub fn decode_touches(data: Option<&Bytes>) -> Result<Vec<(SessionId, i32)>> {
    let mut reader = open(data);
    let mut touches = Vec::with_capacity(reader.remaining() / 12);
    while !reader.is_empty() {
        touches.push((SessionId(reader.i64()?), reader.i32()?));
    }
    Ok(touches)
}

/// REVALIDATE towards the leader: a client came to this learner with a session of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revalidate {
    pub session: SessionId,
    /// Milliseconds, as this server negotiated it.
    pub timeout: i32,
}

impl Revalidate {
    pub fn encode(&self) -> Bytes {
        encode_touches(&[(self.session, self.timeout)])
    }

    pub fn decode(data: Option<&Bytes>) -> Result<Revalidate> {
        let mut reader = open(data);
        Ok(Revalidate { session: SessionId(reader.i64()?), timeout: reader.i32()? })
    }
}

/// REVALIDATE from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revalidated {
    pub session: SessionId,
    /// Is the session alive, and this server its owner from now on?
    pub valid: bool,
}

impl Revalidated {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(9);
        writer.i64(self.session.0);
        writer.bool(self.valid);
        writer.finish()
    }

    pub fn decode(data: Option<&Bytes>) -> Result<Revalidated> {
        let mut reader = open(data);
        Ok(Revalidated { session: SessionId(reader.i64()?), valid: reader.bool()? })
    }
}

/// COMMITANDACTIVATE and INFORMANDACTIVATE: who is to lead under the new configuration, and for an observer the txn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Activate {
    pub designated: KeeperId,
    /// Empty in COMMITANDACTIVATE.
    pub txn: Bytes,
}

impl Activate {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(8 + self.txn.len());
        writer.i64(i64::from(self.designated.0));
        writer.put(&self.txn);
        writer.finish()
    }

    pub fn decode(data: Option<&Bytes>) -> Result<Activate> {
        let mut reader = open(data);
        Ok(Activate { designated: read_keeper(&mut reader)?, txn: reader.rest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_apaches_bytes() {
        // From tests/vectors/zookeeper/quorum.jsonl: FOLLOWERINFO, REQUEST, PING, REVALIDATE both ways.
        let info = LearnerInfo { id: KeeperId(2), protocol: PROTOCOL_VERSION, config_version: Zxid::ZERO };
        check(&info.encode(), "0000000000000002000100000000000000000000");
        assert_eq!(LearnerInfo::decode(Some(&info.encode())), Ok(info));

        let session = SessionId(0x0100_0043_ebd3_0000);
        let body = Bytes::from_static(&[0, 0, 0x17, 0x70]);
        let request = ForwardedRequest { session, cxid: 0, op: -10, body };
        check(&request.encode(), "01000043ebd3000000000000fffffff600001770");
        assert_eq!(ForwardedRequest::decode(Some(&request.encode())), Ok(request));

        let session = SessionId(0x0100_0043_ebd3_0006);
        let revalidate = Revalidate { session, timeout: 8000 };
        check(&revalidate.encode(), "01000043ebd3000600001f40");
        assert_eq!(Revalidate::decode(Some(&revalidate.encode())), Ok(revalidate));
        assert_eq!(decode_touches(Some(&revalidate.encode())), Ok(vec![(session, 8000)]));
        let valid = Revalidated { session, valid: true };
        check(&valid.encode(), "01000043ebd3000601");
        assert_eq!(Revalidated::decode(Some(&valid.encode())), Ok(valid));

        check(&encode_leader_info(), "00010000");
        check(&encode_ack_epoch(-1), "ffffffff");
        assert_eq!(decode_touches(None), Ok(vec![]));
    }

    fn check(bytes: &Bytes, hex: &str) {
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex);
    }

    #[test]
    fn short_and_strange_payloads_are_refused() {
        let short = Bytes::from_static(&[0; 7]);
        assert!(LearnerInfo::decode(None).is_err());
        assert!(LearnerInfo::decode(Some(&Bytes::from_static(&[0x7f; 20]))).is_err());
        assert!(ForwardedRequest::decode(Some(&short)).is_err());
        assert!(decode_touches(Some(&short)).is_err());
        assert!(Revalidated::decode(Some(&short)).is_err());
        assert!(decode_ack_epoch(Some(&Bytes::from_static(&[0; 3]))).is_err());
    }
}
