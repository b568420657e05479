//! Inputs as a recording keeps them: requests, answers and packets in the encodings of their own protocols, the rest by
//! hand; records without their contents ([`hollow`]).

use super::coded::{Coded, fields};
use super::hollow::{self, Key};
use bytes::Bytes;
use glasshouse_core::api::kafka::{self, ApiKey};
use glasshouse_core::api::keeper::{self, Answer, Body};
use glasshouse_core::api::peer::PeerMessage;
use glasshouse_core::api::storage::Loaded;
use glasshouse_core::codec::{Malformed, Reader, Result, Writer};
use glasshouse_core::id::{ConnId, DialId};
use glasshouse_core::machine::Ticket;
use glasshouse_core::node::{Input, KafkaRequest, Reply, Request, RequestBody};
use glasshouse_core::record::producer::ProducerStates;
use glasshouse_core::wire;
use glasshouse_core::wire::keeper::quorum;
use std::sync::Arc;

const WAKE: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;
const PEER: u8 = 3;
const REQUEST: u8 = 4;
const CLOSED: u8 = 5;
const OPENED: u8 = 6;
const ANSWER: u8 = 7;
const HUNG: u8 = 8;
const SYNCED: u8 = 9;
const LOADED: u8 = 10;
const SHUTDOWN: u8 = 11;

fields!(SyncedUpto { ticket, lane });

/// `Input::Synced`.
struct SyncedUpto {
    ticket: Ticket,
    lane: glasshouse_core::api::storage::Lane,
}

/// Writes an input. False: it is a command to a simulated client, which no native node takes.
#[must_use]
pub fn put(input: &Input, key: &Key, to: &mut Writer) -> bool {
    match input {
        Input::Wake => to.u8(WAKE),
        Input::Up { channel } => tagged(UP, channel, to),
        Input::Down { channel } => tagged(DOWN, channel, to),
        Input::Peer { channel, message } => {
            tagged(PEER, channel, to);
            put_message(message, key, to);
        }
        Input::Request { conn, request } => {
            tagged(REQUEST, conn, to);
            put_request(request, key, to);
        }
        Input::Closed { conn } => tagged(CLOSED, conn, to),
        Input::Opened { dial } => tagged(OPENED, dial, to),
        Input::Answer { dial, reply } => {
            tagged(ANSWER, dial, to);
            put_reply(reply, key, to);
        }
        Input::Hung { dial } => tagged(HUNG, dial, to),
        Input::Synced { lane, upto } => tagged(SYNCED, &SyncedUpto { ticket: *upto, lane: lane.clone() }, to),
        Input::Loaded { ticket, what } => {
            tagged(LOADED, ticket, to);
            put_loaded(what, key, to);
        }
        Input::Command(_) => return false,
        Input::Shutdown => to.u8(SHUTDOWN),
    }
    true
}

fn tagged(tag: u8, value: &impl Coded, to: &mut Writer) {
    to.u8(tag);
    value.put(to);
}

/// Reads an input.
pub fn get(from: &mut Reader) -> Result<Input> {
    Ok(match from.u8()? {
        WAKE => Input::Wake,
        UP => Input::Up { channel: Coded::get(from)? },
        DOWN => Input::Down { channel: Coded::get(from)? },
        PEER => Input::Peer { channel: Coded::get(from)?, message: get_message(from)? },
        REQUEST => Input::Request { conn: ConnId::get(from)?, request: get_request(from)? },
        CLOSED => Input::Closed { conn: Coded::get(from)? },
        OPENED => Input::Opened { dial: Coded::get(from)? },
        ANSWER => Input::Answer { dial: DialId::get(from)?, reply: get_reply(from)? },
        HUNG => Input::Hung { dial: Coded::get(from)? },
        SYNCED => {
            let SyncedUpto { ticket, lane } = Coded::get(from)?;
            Input::Synced { lane, upto: ticket }
        }
        LOADED => Input::Loaded { ticket: Ticket::get(from)?, what: get_loaded(from)? },
        SHUTDOWN => Input::Shutdown,
        _ => return from.malformed("a kind of input"),
    })
}

// ---- peers ---------------------------------------------------------------------------------------------------------

const ELECTION: u8 = 0;
const QUORUM: u8 = 1;
const ASKED: u8 = 2;
const ANSWERED: u8 = 3;

fn put_message(message: &PeerMessage<Bytes>, key: &Key, to: &mut Writer) {
    match message {
        PeerMessage::Election(notification) => tagged(ELECTION, &quorum::encode_notification(notification), to),
        PeerMessage::Quorum(packet) => tagged(QUORUM, &quorum::encode_packet(packet), to),
        PeerMessage::Request { correlation, request } => {
            let version = request.key().max_version();
            let request = KafkaRequest { version, correlation: *correlation, client: None, body: request.clone() };
            to.u8(ASKED);
            put_kafka_request(request, key, to);
        }
        PeerMessage::Response { correlation, response } => {
            to.u8(ANSWERED);
            put_kafka_response(response.key().max_version(), *correlation, response, key, to);
        }
    }
}

fn get_message(from: &mut Reader) -> Result<PeerMessage<Bytes>> {
    Ok(match from.u8()? {
        ELECTION => PeerMessage::Election(quorum::decode_notification(Bytes::get(from)?)?),
        QUORUM => PeerMessage::Quorum(quorum::decode_packet(Bytes::get(from)?)?),
        ASKED => {
            let KafkaRequest { correlation, body, .. } = get_kafka_request(from)?;
            PeerMessage::Request { correlation, request: body }
        }
        ANSWERED => {
            let (_, correlation, response) = get_kafka_response(from)?;
            PeerMessage::Response { correlation, response }
        }
        _ => return from.malformed("a kind of message"),
    })
}

// ---- Kafka ---------------------------------------------------------------------------------------------------------

fn put_kafka_request(mut request: KafkaRequest, key: &Key, to: &mut Writer) {
    if let kafka::Request::Produce(produce) = &mut request.body {
        for partition in Arc::make_mut(produce).topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.records = partition.records.take().map(|records| hollow::fold(&records, key));
        }
    }
    wire::kafka::encode_request(&request).put(to);
}

fn get_kafka_request(from: &mut Reader) -> Result<KafkaRequest> {
    let at = from.position() as u64;
    let unknown = Malformed { at, expected: "a Kafka request" };
    let mut request = wire::kafka::decode_request(Bytes::get(from)?).map_err(|_| unknown)?;
    if let kafka::Request::Produce(produce) = &mut request.body {
        for partition in Arc::make_mut(produce).topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.records = partition.records.take().map(hollow::unfold).transpose()?;
        }
    }
    Ok(request)
}

fn put_kafka_response(version: i16, correlation: i32, response: &kafka::Response, key: &Key, to: &mut Writer) {
    let folded = response.clone().map_records(|records| hollow::fold(&records, key));
    to.i16(response.key().code());
    to.i16(version);
    wire::kafka::encode_response(version, correlation, &folded).put(to);
}

fn get_kafka_response(from: &mut Reader) -> Result<(i16, i32, kafka::Response)> {
    let (code, asked) = (from.i16()?, from.i16()?);
    let Some(key) = ApiKey::from_code(code) else { return from.malformed("the key of an API") };
    let (correlation, version, response) = wire::kafka::decode_response(key, asked, Bytes::get(from)?)?;
    Ok((version, correlation, response.try_map_records(hollow::unfold)?))
}

// ---- clients -------------------------------------------------------------------------------------------------------

const KAFKA: u8 = 0;
const CONNECT: u8 = 1;
const WORD: u8 = 2;
const OP: u8 = 3;
const UNDECODABLE: u8 = 4;

fn put_request(request: &Request, key: &Key, to: &mut Writer) {
    to.u8(request.listener);
    request.principal.put(to);
    match &request.body {
        RequestBody::Kafka(request) => {
            to.u8(KAFKA);
            put_kafka_request(request.clone(), key, to);
        }
        RequestBody::Keeper(request @ keeper::Request::Connect(_)) => {
            tagged(CONNECT, &wire::keeper::encode_request(request), to);
        }
        RequestBody::Keeper(keeper::Request::FourLetter(word)) => {
            to.u8(WORD);
            to.put(word);
        }
        RequestBody::Keeper(keeper::Request::Op { xid, op }) => {
            let mut body = Writer::new();
            keeper::body::encode_body(op, &mut body);
            to.u8(OP);
            to.i32(*xid);
            to.i32(op.code());
            body.finish().put(to);
        }
        RequestBody::Keeper(keeper::Request::Undecodable { xid, op }) => {
            to.u8(UNDECODABLE);
            to.i32(*xid);
            to.i32(*op);
        }
    }
}

fn get_request(from: &mut Reader) -> Result<Request> {
    let listener = from.u8()?;
    let principal = Coded::get(from)?;
    let body = match from.u8()? {
        KAFKA => RequestBody::Kafka(get_kafka_request(from)?),
        CONNECT => RequestBody::Keeper(keeper::Request::Connect(wire::keeper::decode_connect(Bytes::get(from)?)?)),
        WORD => {
            let word = from.take(4, "a word of four letters")?;
            RequestBody::Keeper(keeper::Request::FourLetter(std::array::from_fn(|at| word[at])))
        }
        OP => {
            let (xid, code) = (from.i32()?, from.i32()?);
            let mut body = Reader::new(Bytes::get(from)?);
            RequestBody::Keeper(keeper::Request::Op { xid, op: keeper::body::decode_body(code, &mut body)? })
        }
        UNDECODABLE => RequestBody::Keeper(keeper::Request::Undecodable { xid: from.i32()?, op: from.i32()? }),
        _ => return from.malformed("a kind of request"),
    };
    Ok(Request { listener, principal, body })
}

// ---- answers -------------------------------------------------------------------------------------------------------

const KAFKA_REPLY: u8 = 0;
const CONNECTED: u8 = 1;
const TEXT: u8 = 2;
const REPLY: u8 = 3;

const SHAPES: [Answer; 14] = [
    Answer::Nothing,
    Answer::Path,
    Answer::Created,
    Answer::Stat,
    Answer::Data,
    Answer::Acl,
    Answer::Children,
    Answer::ChildrenAndStat,
    Answer::Ephemerals,
    Answer::Count,
    Answer::WatchAdded,
    Answer::Multi,
    Answer::WhoAmI,
    Answer::Sasl,
];

fn shape(body: Option<&Body>) -> Answer {
    match body {
        None => Answer::Nothing,
        Some(Body::Path(_)) => Answer::Path,
        Some(Body::Created { .. }) => Answer::Created,
        Some(Body::Stat(_)) => Answer::Stat,
        Some(Body::Data { .. }) => Answer::Data,
        Some(Body::Acl { .. }) => Answer::Acl,
        Some(Body::Children { stat: None, .. }) => Answer::Children,
        Some(Body::Children { stat: Some(_), .. }) => Answer::ChildrenAndStat,
        Some(Body::Ephemerals(_)) => Answer::Ephemerals,
        Some(Body::Count(_)) => Answer::Count,
        Some(Body::WatchAdded) => Answer::WatchAdded,
        Some(Body::Multi(_)) => Answer::Multi,
        Some(Body::WhoAmI(_)) => Answer::WhoAmI,
        Some(Body::Sasl { .. }) => Answer::Sasl,
    }
}

fn put_reply(reply: &Reply<Bytes>, key: &Key, to: &mut Writer) {
    match reply {
        Reply::Kafka { version, correlation, body } => {
            to.u8(KAFKA_REPLY);
            put_kafka_response(*version, *correlation, body, key, to);
        }
        Reply::Keeper(reply @ keeper::Reply::Connected(_)) => {
            tagged(CONNECTED, &wire::keeper::encode_reply(reply), to);
        }
        Reply::Keeper(keeper::Reply::Text(text)) => tagged(TEXT, text, to),
        Reply::Keeper(reply @ (keeper::Reply::Answer { .. } | keeper::Reply::Event(_))) => {
            let shape = match reply {
                keeper::Reply::Answer { body, .. } => shape(body.as_ref()),
                _ => Answer::Nothing,
            };
            let number = SHAPES.iter().position(|known| *known == shape).expect("every shape is in the table");
            to.u8(REPLY);
            to.u8(number as u8);
            wire::keeper::encode_reply(reply).put(to);
        }
    }
}

fn get_reply(from: &mut Reader) -> Result<Reply<Bytes>> {
    Ok(match from.u8()? {
        KAFKA_REPLY => {
            let (version, correlation, body) = get_kafka_response(from)?;
            Reply::Kafka { version, correlation, body }
        }
        CONNECTED => Reply::Keeper(keeper::Reply::Connected(wire::keeper::decode_connected(Bytes::get(from)?)?)),
        TEXT => Reply::Keeper(keeper::Reply::Text(Coded::get(from)?)),
        REPLY => {
            let number = from.u8()?;
            let Some(shape) = SHAPES.get(usize::from(number)) else { return from.malformed("the shape of an answer") };
            Reply::Keeper(wire::keeper::decode_reply(*shape, Bytes::get(from)?)?)
        }
        _ => return from.malformed("a kind of answer"),
    })
}

// ---- the disk ------------------------------------------------------------------------------------------------------

const TXNS: u8 = 0;
const DATABASE: u8 = 1;
const RECORDS: u8 = 2;
const PRODUCERS: u8 = 3;
const OFFSET: u8 = 4;

fn put_loaded(loaded: &Loaded, key: &Key, to: &mut Writer) {
    match loaded {
        Loaded::Txns { txns, complete } => {
            tagged(TXNS, txns, to);
            to.bool(*complete);
        }
        Loaded::Database { snapshot, txns } => {
            tagged(DATABASE, snapshot, to);
            txns.put(to);
        }
        Loaded::Records(records) => tagged(RECORDS, &hollow::fold(records, key), to),
        Loaded::Producers(states) => tagged(PRODUCERS, states, to),
        Loaded::OffsetForTime(found) => tagged(OFFSET, found, to),
    }
}

fn get_loaded(from: &mut Reader) -> Result<Loaded> {
    Ok(match from.u8()? {
        TXNS => Loaded::Txns { txns: Coded::get(from)?, complete: from.bool()? },
        DATABASE => Loaded::Database { snapshot: Coded::get(from)?, txns: Coded::get(from)? },
        RECORDS => Loaded::Records(hollow::unfold(Bytes::get(from)?)?),
        PRODUCERS => Loaded::Producers(Coded::get(from)?),
        OFFSET => Loaded::OffsetForTime(Coded::get(from)?),
        _ => return from.malformed("a kind of what was loaded"),
    })
}

impl Coded for ProducerStates {
    fn put(&self, to: &mut Writer) {
        self.encode(to);
    }
    fn get(from: &mut Reader) -> Result<ProducerStates> {
        ProducerStates::decode(from)
    }
}

#[cfg(test)]
mod tests;
