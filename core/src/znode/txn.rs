//! Transactions: the deterministic deltas a leader broadcasts and every keeper applies, and their bytes as the log and
//! the quorum packets hold them (protocol.md A.9). Validation has happened before; a txn states results.

use super::acl::AclList;
use super::path::ZPath;
use crate::codec::{Malformed, Reader, Result, Writer};
use crate::id::{SessionId, Zxid};
use crate::time::UnixMillis;
use bytes::Bytes;
use core::fmt;

/// Txn types, as the log's header and a multi's parts carry them. The same numbers as the requests' op codes.
pub mod op {
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const SET_DATA: i32 = 5;
    pub const SET_ACL: i32 = 7;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const ERROR: i32 = -1;
}

/// The error codes a tree itself can meet (protocol.md B.3); an error txn may hold any other.
pub mod code {
    pub const OK: i32 = 0;
    pub const RUNTIME_INCONSISTENCY: i32 = -2;
    pub const NO_NODE: i32 = -101;
    pub const BAD_VERSION: i32 = -103;
    pub const NODE_EXISTS: i32 = -110;
}

/// Who asked for a txn, which request of theirs it was, its place in the one order, and when the leader made it. The
/// type, which ZooKeeper keeps here too, is the [`Txn`]'s own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TxnHeader {
    pub session: SessionId,
    /// The client's xid.
    pub cxid: i32,
    pub zxid: Zxid,
    /// The leader's wall clock; becomes ctime and mtime.
    pub time: UnixMillis,
}

/// What a create makes, and whether its answer carries a stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateKind {
    /// create: the answer is the path.
    Plain,
    /// create2: the answer is path and stat.
    WithStat,
    Container,
    Ttl {
        millis: i64,
    },
}

/// A change to the tree or the sessions. Versions are those that result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Txn {
    Create {
        kind: CreateKind,
        path: ZPath,
        /// Null and empty are two things to ZooKeeper.
        data: Option<Bytes>,
        acl: AclList,
        ephemeral: bool,
        /// The parent's persisted cversion that results; −1 (old logs) means one more than now.
        parent_cversion: i32,
    },
    Delete {
        path: ZPath,
    },
    DeleteContainer {
        path: ZPath,
    },
    SetData {
        path: ZPath,
        data: Option<Bytes>,
        version: i32,
    },
    /// Data of `/zookeeper/config`; its zxid is the configuration's version.
    Reconfig {
        path: ZPath,
        data: Option<Bytes>,
        version: i32,
    },
    SetAcl {
        path: ZPath,
        acl: AclList,
        version: i32,
    },
    /// Only inside a multi.
    Check {
        path: ZPath,
        version: i32,
    },
    CreateSession {
        /// The negotiated timeout in milliseconds.
        timeout: i32,
    },
    /// Ends the header's session; `paths` are its ephemerals as the leader knew them.
    CloseSession {
        paths: Vec<ZPath>,
    },
    /// A request that failed validation; it consumed a zxid all the same.
    Error(i32),
    /// All parts or none, at one zxid. A multi that failed validation holds error parts.
    Multi(Vec<Txn>),
}

/// The tree's digest after a txn, as the leader foretold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TxnDigest {
    /// 2 in ZooKeeper 3.9; digests of other versions cannot be compared with ours.
    pub version: i32,
    pub tree: u64,
}

/// The digest version computed here.
pub const DIGEST_VERSION: i32 = 2;

/// A txn as the log stores it and PROPOSAL and INFORM carry it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoggedTxn {
    pub header: TxnHeader,
    pub txn: Txn,
    pub digest: Option<TxnDigest>,
}

impl Txn {
    /// The type, for the header.
    pub fn op(&self) -> i32 {
        match self {
            Txn::Create { kind: CreateKind::Plain, .. } => op::CREATE,
            Txn::Create { kind: CreateKind::WithStat, .. } => op::CREATE2,
            Txn::Create { kind: CreateKind::Container, .. } => op::CREATE_CONTAINER,
            Txn::Create { kind: CreateKind::Ttl { .. }, .. } => op::CREATE_TTL,
            Txn::Delete { .. } => op::DELETE,
            Txn::DeleteContainer { .. } => op::DELETE_CONTAINER,
            Txn::SetData { .. } => op::SET_DATA,
            Txn::Reconfig { .. } => op::RECONFIG,
            Txn::SetAcl { .. } => op::SET_ACL,
            Txn::Check { .. } => op::CHECK,
            Txn::CreateSession { .. } => op::CREATE_SESSION,
            Txn::CloseSession { .. } => op::CLOSE_SESSION,
            Txn::Error(_) => op::ERROR,
            Txn::Multi(_) => op::MULTI,
        }
    }

    fn encode_body(&self, writer: &mut Writer) {
        match self {
            Txn::Create { kind, path, data, acl, ephemeral, parent_cversion } => {
                writer.jute_string(path.as_str());
                writer.jute_buffer(data.as_deref());
                acl.encode(writer);
                match kind {
                    CreateKind::Plain | CreateKind::WithStat => writer.bool(*ephemeral),
                    CreateKind::Container | CreateKind::Ttl { .. } => {}
                }
                writer.i32(*parent_cversion);
                if let CreateKind::Ttl { millis } = kind {
                    writer.i64(*millis);
                }
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => writer.jute_string(path.as_str()),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                writer.jute_string(path.as_str());
                writer.jute_buffer(data.as_deref());
                writer.i32(*version);
            }
            Txn::SetAcl { path, acl, version } => {
                writer.jute_string(path.as_str());
                acl.encode(writer);
                writer.i32(*version);
            }
            Txn::Check { path, version } => {
                writer.jute_string(path.as_str());
                writer.i32(*version);
            }
            Txn::CreateSession { timeout } => writer.i32(*timeout),
            Txn::CloseSession { paths } => writer.jute_vector(paths, |writer, path| writer.jute_string(path.as_str())),
            Txn::Error(code) => writer.i32(*code),
            Txn::Multi(parts) => writer.jute_vector(parts, |writer, part| {
                writer.i32(part.op());
                let length_at = writer.len();
                writer.i32(0);
                part.encode_body(writer);
                writer.patch_i32(length_at, (writer.len() - length_at - 4) as i32);
            }),
        }
    }

    fn decode_body(op: i32, reader: &mut Reader) -> Result<Txn> {
        match op {
            op::MULTI => reader.jute_vector(8, Txn::decode_part).map(Txn::Multi),
            _ => Txn::decode_single(op, reader),
        }
    }

    /// One part of a multi. Parts do not nest.
    fn decode_part(reader: &mut Reader) -> Result<Txn> {
        let op = reader.i32()?;
        let at = reader.position() as u64 + 4;
        let body = reader.jute_buffer()?.unwrap_or_default();
        let within = |error: Malformed| Malformed { at: at + error.at, ..error };
        Txn::decode_single(op, &mut Reader::new(body)).map_err(within)
    }

    fn decode_single(op: i32, reader: &mut Reader) -> Result<Txn> {
        Ok(match op {
            op::CREATE => Txn::decode_create(CreateKind::Plain, reader)?,
            op::CREATE2 => Txn::decode_create(CreateKind::WithStat, reader)?,
            op::CREATE_CONTAINER => Txn::decode_create(CreateKind::Container, reader)?,
            op::CREATE_TTL => Txn::decode_create(CreateKind::Ttl { millis: 0 }, reader)?,
            op::DELETE => Txn::Delete { path: read_path(reader)? },
            op::DELETE_CONTAINER => Txn::DeleteContainer { path: read_path(reader)? },
            op::SET_DATA => {
                Txn::SetData { path: read_path(reader)?, data: reader.jute_buffer()?, version: reader.i32()? }
            }
            op::RECONFIG => {
                Txn::Reconfig { path: read_path(reader)?, data: reader.jute_buffer()?, version: reader.i32()? }
            }
            op::SET_ACL => {
                Txn::SetAcl { path: read_path(reader)?, acl: AclList::decode(reader)?, version: reader.i32()? }
            }
            op::CHECK => Txn::Check { path: read_path(reader)?, version: reader.i32()? },
            op::CREATE_SESSION => Txn::CreateSession { timeout: reader.i32()? },
            // Before 3.6 a closeSession had no body.
            op::CLOSE_SESSION if reader.is_empty() => Txn::CloseSession { paths: Vec::new() },
            op::CLOSE_SESSION => Txn::CloseSession { paths: reader.jute_vector(5, read_path)? },
            op::ERROR => Txn::Error(reader.i32()?),
            _ => return reader.malformed("a txn type"),
        })
    }

    fn decode_create(kind: CreateKind, reader: &mut Reader) -> Result<Txn> {
        let path = read_path(reader)?;
        let data = reader.jute_buffer()?;
        let acl = AclList::decode(reader)?;
        let ephemeral = match kind {
            CreateKind::Plain | CreateKind::WithStat => reader.bool()?,
            CreateKind::Container | CreateKind::Ttl { .. } => false,
        };
        let parent_cversion = reader.i32()?;
        let kind = match kind {
            CreateKind::Ttl { .. } => CreateKind::Ttl { millis: reader.i64()? },
            CreateKind::Plain | CreateKind::WithStat | CreateKind::Container => kind,
        };
        Ok(Txn::Create { kind, path, data, acl, ephemeral, parent_cversion })
    }
}

/// A path in UTF-8 that is valid.
pub(crate) fn read_path(reader: &mut Reader) -> Result<ZPath> {
    let at = reader.position() as u64;
    ZPath::parse(&reader.jute_string()?).map_err(|_| Malformed { at, expected: "a valid path" })
}

impl LoggedTxn {
    pub fn encode(&self) -> Bytes {
        encode_txn(&self.header, &self.txn, self.digest)
    }

    pub fn decode(bytes: Bytes) -> Result<LoggedTxn> {
        decode_txn(bytes)
    }
}

/// Header, body and digest, as the log stores them.
pub fn encode_txn(header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>) -> Bytes {
    let mut writer = Writer::with_capacity(128);
    writer.i64(header.session.0);
    writer.i32(header.cxid);
    writer.i64(header.zxid.to_wire());
    writer.i64(header.time.0);
    writer.i32(txn.op());
    txn.encode_body(&mut writer);
    if let Some(digest) = digest {
        writer.i32(digest.version);
        writer.i64(digest.tree as i64);
    }
    writer.finish()
}

/// Reads what [`encode_txn`] writes, and Apache's logs and packets.
pub fn decode_txn(bytes: Bytes) -> Result<LoggedTxn> {
    let mut reader = Reader::new(bytes);
    let (header, op) = decode_header(&mut reader)?;
    let txn = Txn::decode_body(op, &mut reader)?;
    let digest = match reader.is_empty() {
        true => None,
        false => Some(TxnDigest { version: reader.i32()?, tree: reader.i64()? as u64 }),
    };
    if !reader.is_empty() {
        return reader.malformed("the end of a txn");
    }
    Ok(LoggedTxn { header, txn, digest })
}

/// Only the header and the type: what a log scan needs.
pub fn decode_header(reader: &mut Reader) -> Result<(TxnHeader, i32)> {
    let header = TxnHeader {
        session: SessionId(reader.i64()?),
        cxid: reader.i32()?,
        zxid: Zxid::from_wire(reader.i64()?),
        time: UnixMillis(reader.i64()?),
    };
    Ok((header, reader.i32()?))
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Txn::Create { kind, path, ephemeral, .. } => match kind {
                CreateKind::Plain | CreateKind::WithStat if *ephemeral => write!(f, "create ephemeral {path}"),
                CreateKind::Plain | CreateKind::WithStat => write!(f, "create {path}"),
                CreateKind::Container => write!(f, "create container {path}"),
                CreateKind::Ttl { millis } => write!(f, "create {path} with a time to live of {millis} ms"),
            },
            Txn::Delete { path } => write!(f, "delete {path}"),
            Txn::DeleteContainer { path } => write!(f, "delete container {path}"),
            Txn::SetData { path, version, .. } => write!(f, "set {path} to version {version}"),
            Txn::Reconfig { version, .. } => write!(f, "reconfigure to version {version}"),
            Txn::SetAcl { path, version, .. } => write!(f, "set access of {path} to version {version}"),
            Txn::Check { path, version } => write!(f, "check {path} at version {version}"),
            Txn::CreateSession { timeout } => write!(f, "create session with a timeout of {timeout} ms"),
            Txn::CloseSession { paths } => write!(f, "close session and its {} ephemerals", paths.len()),
            Txn::Error(code) => write!(f, "error {code}"),
            Txn::Multi(parts) => {
                f.write_str("multi [")?;
                for (at, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}
