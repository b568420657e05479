//! From values to bytes and back, at the edge of a simulated host: the world's only use of the wire codecs.

use super::host::{DialCodec, ServerCodec};
use super::network::Label;
use super::trace::Stored;
use crate::api::kafka::{self, ErrorCode};
use crate::api::peer::PeerMessage;
use crate::api::storage::StoreOp;
use crate::api::{kafka::Response, keeper};
use crate::codec::{Malformed, Result};
use crate::id::NodeId;
use crate::node::{Principal, Reply, Request, RequestBody};
use crate::record::offset::LogRange;
use crate::sim::disk::SimDisk;
use crate::store::{Store, StoreError};
use crate::wire;
use bytes::Bytes;

// ---- between nodes of the mesh -------------------------------------------------------------------------------------

pub fn label_peer<R: Records>(message: &PeerMessage<R>) -> Label {
    match message {
        PeerMessage::Election(_) => Label::Vote,
        PeerMessage::Quorum(packet) => Label::Packet { kind: packet.kind, zxid: packet.zxid() },
        PeerMessage::Request { request, .. } => label_asked(request),
        PeerMessage::Response { response, .. } => label_response(response),
    }
}

/// Puts bytes in the place of ranges.
pub fn materialize_peer(
    message: PeerMessage<LogRange>,
    store: &Store<SimDisk>,
) -> core::result::Result<PeerMessage<Bytes>, StoreError> {
    Ok(match message {
        PeerMessage::Election(notification) => PeerMessage::Election(notification),
        PeerMessage::Quorum(packet) => PeerMessage::Quorum(packet),
        PeerMessage::Request { correlation, request } => PeerMessage::Request { correlation, request },
        PeerMessage::Response { correlation, response } => {
            let response = response.try_map_records(|range| store.materialize(&range))?;
            PeerMessage::Response { correlation, response }
        }
    })
}

// ---- between clients and servers -----------------------------------------------------------------------------------

/// The codec of a client of this node.
pub fn dial_codec(to: NodeId) -> DialCodec {
    match to {
        NodeId::Keeper(_) => DialCodec::Keeper(wire::keeper::ClientCodec::default()),
        NodeId::Broker(_) | NodeId::Client(_) => DialCodec::Kafka(wire::kafka::ClientCodec::default()),
    }
}

pub fn encode_request(codec: &mut DialCodec, request: &Request) -> Bytes {
    match (codec, &request.body) {
        (DialCodec::Kafka(codec), RequestBody::Kafka(request)) => codec.encode(request),
        (DialCodec::Keeper(codec), RequestBody::Keeper(request)) => codec.encode(request),
        (DialCodec::Kafka(_) | DialCodec::Keeper(_), _) => panic!("a client asked the wrong kind of server"),
    }
}

pub fn decode_reply(codec: &mut DialCodec, bytes: Bytes) -> Result<Reply<Bytes>> {
    match codec {
        DialCodec::Kafka(codec) => codec.decode(bytes),
        DialCodec::Keeper(codec) => codec.decode(bytes).map(Reply::Keeper),
    }
}

/// The address a node's connections come from: `10.0.0.1` for the first client, `10.1.0.1` and `10.2.0.1` for the first
/// broker and keeper.
pub fn address_of(node: NodeId) -> String {
    let (net, number) = match node {
        NodeId::Client(number) => (0, number),
        NodeId::Broker(number) => (1, number),
        NodeId::Keeper(id) => (2, u32::from(id.0)),
    };
    format!("10.{net}.{}.{}", number >> 8 & 0xff, number & 0xff)
}

/// Reads what a client sent to this server. As on a native node, a keeper knows where a connection comes from, a broker
/// does not ask.
pub fn decode_request(codec: &mut ServerCodec, from: NodeId, bytes: Bytes) -> Result<Request> {
    let principal = match codec {
        ServerCodec::Keeper(_) => Principal::Address(address_of(from).into()),
        ServerCodec::Kafka => Principal::Anonymous,
    };
    let body = match codec {
        ServerCodec::Keeper(codec) => RequestBody::Keeper(codec.decode(bytes)?),
        ServerCodec::Kafka => match wire::kafka::decode_request(bytes) {
            Ok(request) => RequestBody::Kafka(request),
            Err(wire::kafka::Refused::Malformed(malformed)) => return Err(malformed),
            Err(wire::kafka::Refused::UnsupportedVersion { .. }) => {
                return Err(Malformed { at: 2, expected: "a version that every broker here speaks" });
            }
        },
    };
    Ok(Request { listener: 0, principal, body })
}

/// The codec of this server's end of a connection.
pub fn server_codec(server: NodeId) -> ServerCodec {
    match server {
        NodeId::Keeper(_) => ServerCodec::Keeper(wire::keeper::ServerCodec::default()),
        NodeId::Broker(_) | NodeId::Client(_) => ServerCodec::Kafka,
    }
}

pub fn encode_reply(reply: &Reply<Bytes>) -> Bytes {
    match reply {
        Reply::Kafka { version, correlation, body } => wire::kafka::encode_response(*version, *correlation, body),
        Reply::Keeper(reply) => wire::keeper::encode_reply(reply),
    }
}

pub fn materialize_reply(
    reply: Reply<LogRange>,
    store: &Store<SimDisk>,
) -> core::result::Result<Reply<Bytes>, StoreError> {
    Ok(match reply {
        Reply::Kafka { version, correlation, body } => {
            let body = body.try_map_records(|range| store.materialize(&range))?;
            Reply::Kafka { version, correlation, body }
        }
        Reply::Keeper(reply) => Reply::Keeper(reply),
    })
}

pub fn label_request(request: &Request) -> Label {
    match &request.body {
        RequestBody::Kafka(request) => label_asked(&request.body),
        RequestBody::Keeper(keeper::Request::Op { op, .. }) => Label::KeeperRequest { op: op.code() },
        RequestBody::Keeper(keeper::Request::Undecodable { op, .. }) => Label::KeeperRequest { op: *op },
        RequestBody::Keeper(keeper::Request::Connect(_) | keeper::Request::FourLetter(_)) => {
            Label::KeeperRequest { op: 0 }
        }
    }
}

pub fn label_reply<R: Records>(reply: &Reply<R>) -> Label {
    match reply {
        Reply::Kafka { body, .. } => label_response(body),
        Reply::Keeper(keeper::Reply::Event(_)) => Label::KeeperEvent,
        Reply::Keeper(keeper::Reply::Answer { err, xid, .. }) => {
            Label::KeeperReply { op: if *xid == keeper::xid::PING { 11 } else { 1000 }, error: err.code() }
        }
        Reply::Keeper(keeper::Reply::Connected(_) | keeper::Reply::Text(_)) => Label::KeeperReply { op: 0, error: 0 },
    }
}

fn label_response<R: Records>(response: &Response<R>) -> Label {
    let records = match response {
        Response::Fetch(fetched) => {
            let parts = fetched.topics.iter().flat_map(|topic| &topic.partitions);
            parts.filter_map(|part| part.records.as_ref()).map(Records::count).sum()
        }
        _ => 0,
    };
    Label::KafkaReply { key: response.key().code(), error: response.first_error().0, records }
}

fn label_asked(request: &kafka::Request) -> Label {
    let records = match request {
        kafka::Request::Produce(produce) => {
            let parts = produce.topics.iter().flat_map(|topic| &topic.partitions);
            parts.filter_map(|part| part.records.as_ref()).map(Records::count).sum()
        }
        _ => 0,
    };
    Label::KafkaRequest { key: request.key().code(), records }
}

/// Records in a message, to be counted for its label.
pub trait Records {
    fn count(&self) -> u32;
}

impl Records for LogRange {
    /// At most so many: the host may put fewer bytes in.
    fn count(&self) -> u32 {
        u32::try_from((self.upto - self.from).max(0)).unwrap_or(u32::MAX)
    }
}

impl Records for Bytes {
    /// Hops over the batches by the lengths in their headers; what is cut short counts for nothing.
    fn count(&self) -> u32 {
        let number =
            |at: usize| self.get(at..at + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
        let (mut at, mut records) = (0usize, 0u32);
        while let (Some(length), Some(count)) = (number(at + 8), number(at + 57)) {
            records = records.saturating_add(count);
            at = at.saturating_add(12).saturating_add(length as usize);
        }
        records
    }
}

pub fn is_produce<R>(reply: &Reply<R>) -> bool {
    matches!(reply, Reply::Kafka { body: Response::Produce(_), .. })
}

/// Puts an error into every partition of a produce answer, as a tester of clients asked for.
pub fn fail_produce(reply: &mut Reply<Bytes>, error: i16) {
    if let Reply::Kafka { body: kafka::Response::Produce(produced), .. } = reply {
        for partition in produced.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error = ErrorCode(error);
        }
    }
}

// ---- the disk ------------------------------------------------------------------------------------------------------

pub fn stored(op: &StoreOp) -> Stored {
    match op {
        StoreOp::AppendTxn { zxid, .. } => Stored::Txn(*zxid),
        StoreOp::TruncateJournal { to } => Stored::Cut(*to),
        StoreOp::AcceptedEpoch(epoch) => Stored::AcceptedEpoch(epoch.0),
        StoreOp::CurrentEpoch(epoch) => Stored::CurrentEpoch(epoch.0),
        StoreOp::SnapshotBegin { zxid } | StoreOp::SnapshotEnd { zxid, .. } => Stored::Snapshot(*zxid),
        StoreOp::Append { batches } => Stored::Records {
            from: batches.first().map_or(-1, |batch| batch.base.0),
            upto: batches.last().map_or(-1, |batch| batch.last.0 + 1),
        },
        StoreOp::TruncateLog { to } => Stored::LogCut(to.0),
        StoreOp::RestartLog { start } => Stored::LogCut(start.0),
        StoreOp::HighWatermarks(_)
        | StoreOp::RecoveryPoints(_)
        | StoreOp::LogStarts(_)
        | StoreOp::LeaderEpochs { .. }
        | StoreOp::Producers { .. } => Stored::Checkpoint,
        _ => Stored::Other,
    }
}
