//! That every input survives the way into a recording and back, and that hostile bytes do no harm.

use super::*;
use glasshouse_core::api::kafka::*;
use glasshouse_core::api::keeper::*;
use glasshouse_core::api::peer::*;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::id::*;
use glasshouse_core::node::{Principal, Reply, Request};
use glasshouse_core::record::batch::{Batch, BatchBuilder, NewRecord};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::znode::acl::{AclList, Id};
use glasshouse_core::znode::stat::Stat;
use glasshouse_core::znode::txn::CreateKind;

const KEY: Key = Key([1; 32]);
const CONN: ConnId = ConnId(12);

fn channel(kind: ChannelKind) -> Channel {
    Channel { peer: NodeId::Broker(3), kind, generation: 7 }
}

fn peer(kind: ChannelKind, message: PeerMessage<Bytes>) -> Input {
    Input::Peer { channel: channel(kind), message }
}

fn request(principal: Principal, body: RequestBody) -> Input {
    Input::Request { conn: CONN, request: Request { listener: 1, principal, body } }
}

fn op(op: Op) -> Input {
    request(Principal::Anonymous, RequestBody::Keeper(keeper::Request::Op { xid: 4, op }))
}

fn kafka_request(version: i16, body: impl Into<kafka::Request>) -> Input {
    let request = KafkaRequest { version, correlation: 5, client: Some("c".into()), body: body.into() };
    self::request(Principal::User("alice".into()), RequestBody::Kafka(request))
}

fn answer(reply: keeper::Reply) -> Input {
    Input::Answer { dial: DialId(3), reply: Reply::Keeper(reply) }
}

fn body(body: Option<Body>) -> Input {
    answer(keeper::Reply::Answer { xid: 4, zxid: Zxid(9), err: keeper::ErrorCode::Ok, body })
}

fn lanes() -> Vec<Input> {
    let log = Lane::Log(TopicPartition::new("orders", 3));
    let lanes = [Lane::Journal, Lane::Snapshot, log, Lane::Checkpoint];
    lanes.into_iter().map(|lane| Input::Synced { lane, upto: Ticket(8) }).collect()
}

fn peers() -> Vec<Input> {
    let notification = Notification {
        state: ServerState::Leading,
        leader: KeeperId(2),
        zxid: Zxid(77),
        election_epoch: 3,
        peer_epoch: ZabEpoch(1),
        config: Bytes::from_static(b"server.1"),
    };
    let packet = QuorumPacket {
        kind: PacketType::Proposal,
        zxid: -1,
        data: Some(Bytes::from_static(b"txn")),
        authinfo: Some(vec![("ip".to_owned(), "::1".to_owned())]),
    };
    let fetched = FetchResponse { session_id: 6, ..Default::default() };
    vec![
        peer(ChannelKind::Election, PeerMessage::Election(notification)),
        peer(ChannelKind::Quorum, PeerMessage::Quorum(packet)),
        peer(ChannelKind::Requests, PeerMessage::Request { correlation: 1, request: FetchRequest::default().into() }),
        peer(ChannelKind::Requests, PeerMessage::Response { correlation: 1, response: fetched.into() }),
    ]
}

fn requests() -> Vec<Input> {
    let connect = Connect {
        protocol_version: 0,
        last_zxid_seen: Zxid(4),
        timeout_ms: 4000,
        session: SessionId(0x1_0000),
        password: Bytes::from_static(b"0123456789abcdef"),
        read_only: None,
    };
    let create =
        Create { kind: CreateKind::Ttl { millis: 900 }, path: "/a".into(), data: None, acl: AclList::open(), flags: 5 };
    let multi = vec![Op::Check { path: "/a".into(), version: 1 }, Op::Delete { path: "/a".into(), version: -1 }];
    let address = Principal::Address("10.0.0.1".into());
    vec![
        request(address, RequestBody::Keeper(keeper::Request::Connect(connect.clone()))),
        request(
            Principal::Anonymous,
            RequestBody::Keeper(keeper::Request::Connect(Connect { read_only: Some(true), ..connect })),
        ),
        request(Principal::Anonymous, RequestBody::Keeper(keeper::Request::FourLetter(*b"mntr"))),
        request(Principal::Anonymous, RequestBody::Keeper(keeper::Request::Undecodable { xid: 3, op: 1 })),
        op(Op::Create(create)),
        op(Op::Multi(multi)),
        op(Op::Ping),
        op(Op::Unknown { code: 9_999, body: Bytes::from_static(b"?") }),
        kafka_request(1, MetadataRequest { topics: Some(Vec::new()), ..Default::default() }),
        kafka_request(12, MetadataRequest { topics: None, ..Default::default() }),
    ]
}

fn answers() -> Vec<Input> {
    let stat = Stat::default();
    let names: Vec<std::sync::Arc<str>> = vec!["a".into(), "b".into()];
    let connected = Connected {
        protocol_version: 0,
        timeout_ms: 4000,
        session: SessionId(5),
        password: *b"0123456789abcdef",
        read_only: Some(false),
    };
    let event =
        WatchEvent { zxid: None, kind: EventKind::NodeDeleted, state: SessionState::SyncConnected, path: "/a".into() };
    let parts = vec![
        Part::Done { op: op_code::CREATE, body: Some(Body::Path("/a".into())) },
        Part::Done { op: op_code::DELETE, body: None },
        Part::Failed(keeper::ErrorCode::NoNode),
    ];
    let api: kafka::Response = ApiVersionsResponse::default().into();
    let mut all = vec![
        answer(keeper::Reply::Connected(connected)),
        answer(keeper::Reply::Event(event)),
        answer(keeper::Reply::Text("imok".to_owned())),
        answer(keeper::Reply::Answer { xid: 1, zxid: Zxid(2), err: keeper::ErrorCode::NoNode, body: None }),
        Input::Answer { dial: DialId(1), reply: Reply::Kafka { version: 3, correlation: 4, body: api } },
    ];
    let bodies = [
        Body::Path("/a".into()),
        Body::Created { path: "/a".into(), stat },
        Body::Stat(stat),
        Body::Data { data: Some(Bytes::from_static(b"d")), stat },
        Body::Acl { acl: AclList::open(), stat },
        Body::Children { names: names.clone(), stat: None },
        Body::Children { names: names.clone(), stat: Some(stat) },
        Body::Ephemerals(names),
        Body::Count(3),
        Body::WatchAdded,
        Body::Multi(parts),
        Body::WhoAmI(vec![Id::anyone()]),
        Body::Sasl { token: None },
    ];
    all.push(body(None));
    all.extend(bodies.into_iter().map(|what| body(Some(what))));
    all
}

fn loads() -> Vec<Input> {
    let txns = vec![(Zxid(1), Bytes::from_static(b"one")), (Zxid(2), Bytes::new())];
    let mut states = ProducerStates::default();
    let records = BatchBuilder::default()
        .idempotent(ProducerId(4), ProducerEpoch(1), 0)
        .record(NewRecord::new(5, None, None))
        .build();
    states.record(&Batch::take(&records).unwrap().header);
    let loaded = [
        Loaded::Txns { txns: Some(txns.clone()), complete: true },
        Loaded::Txns { txns: None, complete: false },
        Loaded::Database { snapshot: Some((Zxid(1), Bytes::from_static(b"snap"))), txns },
        Loaded::Records(Bytes::new()),
        Loaded::Producers(states),
        Loaded::OffsetForTime(Some((Offset(4), 99))),
        Loaded::OffsetForTime(None),
    ];
    loaded.into_iter().map(|what| Input::Loaded { ticket: Ticket(4), what }).collect()
}

/// One of everything a native node may be given.
fn everything() -> Vec<Input> {
    let mut all = vec![
        Input::Wake,
        Input::Shutdown,
        Input::Up { channel: channel(ChannelKind::Election) },
        Input::Down { channel: Channel { peer: NodeId::keeper(200), ..channel(ChannelKind::Quorum) } },
        Input::Closed { conn: CONN },
        Input::Opened { dial: DialId(u64::MAX) },
        Input::Hung { dial: DialId(0) },
    ];
    all.extend(lanes());
    all.extend(peers());
    all.extend(requests());
    all.extend(answers());
    all.extend(loads());
    all
}

fn write(input: &Input) -> Bytes {
    let mut to = Writer::new();
    assert!(put(input, &KEY, &mut to), "{input:?} is not recorded");
    to.finish()
}

#[test]
fn every_input_comes_back_as_it_was() {
    for input in everything() {
        let mut from = Reader::new(write(&input));
        assert_eq!(get(&mut from).as_ref(), Ok(&input));
        assert!(from.is_empty(), "{input:?}");
    }
}

#[test]
fn records_come_back_hollow_wherever_they_were() {
    let records = BatchBuilder::default().record(NewRecord::new(5, None, Some(b"a secret"))).build();
    let part = ProducePartition { index: 0, records: Some(records.clone()), ..Default::default() };
    let topic = ProduceTopic { name: "t".into(), partitions: vec![part], ..Default::default() };
    let part = FetchPartitionResponse { records: Some(records.clone()), ..Default::default() };
    let answered = FetchTopicResponse { partitions: vec![part], ..Default::default() };
    let response = FetchResponse { topics: vec![answered], ..Default::default() };
    for input in [
        kafka_request(9, ProduceRequest { topics: vec![topic], ..Default::default() }),
        peer(ChannelKind::Requests, PeerMessage::Response { correlation: 1, response: response.into() }),
        Input::Loaded { ticket: Ticket(1), what: Loaded::Records(records) },
    ] {
        let recorded = write(&input);
        assert!(!recorded.windows(8).any(|window| window == b"a secret"));
        let hollow = get(&mut Reader::new(recorded.clone())).unwrap();
        assert_ne!(hollow, input);
        // The hash is of other contents now, everything else is the same.
        assert_eq!(write(&hollow).len(), recorded.len());
    }
}

#[test]
fn hostile_bytes_are_refused_and_nothing_panics() {
    for input in everything() {
        let good = write(&input);
        for cut in 0..good.len() {
            let _ = get(&mut Reader::new(good.slice(..cut)));
        }
        for at in 0..good.len().min(200) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] ^= flip;
                let _ = get(&mut Reader::new(bad.into()));
            }
        }
    }
    assert!(get(&mut Reader::new(Bytes::new())).is_err());
    assert!(get(&mut Reader::new(Bytes::from_static(&[200]))).is_err());
}

#[test]
fn a_command_is_nothing_a_native_node_is_given() {
    let command = Input::Command(glasshouse_core::api::command::Command::Still);
    assert!(!put(&command, &KEY, &mut Writer::new()));
}
