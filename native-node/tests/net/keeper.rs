//! What a keeper's listener owes its clients: words answered as text, sessions kept apart from strangers.

use crate::host::{Client, Host, Speaks, framed, limits, patiently};
use bytes::Bytes;
use glasshouse_core::api::keeper::{
    Connect, Connected, ErrorCode, EventKind, Op, Reply, Request as Body, SessionState, WatchEvent, op_code,
};
use glasshouse_core::id::{ConnId, SessionId, Zxid};
use glasshouse_core::node::{Principal, RequestBody};
use glasshouse_core::wire::keeper::{ClientCodec, MAX_REQUEST, encode_reply, encode_request};
use glasshouse_node::net::Limits;
use tokio::io::AsyncWriteExt;

async fn host() -> Host {
    Host::start(Speaks::Keeper, Limits { frame: MAX_REQUEST, requests: 40, ..limits() }).await
}

fn connect() -> Body {
    Body::Connect(Connect {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 6000,
        session: SessionId(0),
        password: Bytes::from(vec![0; 16]),
        read_only: Some(false),
    })
}

fn connected() -> Bytes {
    let (session, read_only) = (SessionId(5), Some(false));
    encode_reply(&Reply::Connected(Connected {
        protocol_version: 0,
        timeout_ms: 6000,
        session,
        password: [7; 16],
        read_only,
    }))
}

fn get(xid: i32) -> Body {
    Body::Op { xid, op: Op::GetData { path: "/a".into(), watch: false } }
}

fn delete(xid: i32) -> Body {
    Body::Op { xid, op: Op::Delete { path: "/a".into(), version: -1 } }
}

fn answer(xid: i32) -> Bytes {
    encode_reply(&Reply::Answer { xid, zxid: Zxid(9), err: ErrorCode::NoNode, body: None })
}

async fn asked(host: &mut Host) -> (ConnId, Body) {
    let (conn, request) = host.asked().await;
    match request.body {
        RequestBody::Keeper(body) => (conn, body),
        RequestBody::Kafka(body) => panic!("{body:?}"),
    }
}

#[tokio::test]
async fn a_word_is_answered_as_text_to_whoever_has_hung_up_half() {
    for (sent, hangs_up) in [(&b"ruok"[..], true), (b"ruok\n", true), (b"ruok", false), (b"ruok\r\n", false)] {
        let mut host = host().await;
        let mut client = Client::connect(host.address).await;
        client.write(sent).await;
        if hangs_up {
            client.stream.shutdown().await.expect("half of it closes");
        }
        let conn = host.connected().await;
        assert_eq!(asked(&mut host).await, (conn, Body::FourLetter(*b"ruok")));
        host.send(conn, encode_reply(&Reply::Text("imok".to_owned())));
        host.let_go(conn);
        assert_eq!(client.rest().await, b"imok", "{sent:?}");
        assert_eq!(host.closed().await, conn);
    }
}

#[tokio::test]
async fn a_session_is_connected_asks_and_hears() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    let mut codec = ClientCodec::default();
    client.send(&codec.encode(&connect())).await;
    let conn = host.connected().await;
    let (from, request) = host.asked().await;
    assert_eq!((from, request.principal), (conn, Principal::Address("127.0.0.1".into())));
    host.send(conn, connected());
    let Reply::Connected(told) = codec.decode(client.receive().await).unwrap() else { panic!("no session") };
    assert_eq!(told.session, SessionId(5));
    client.send(&codec.encode(&get(1))).await;
    assert_eq!(asked(&mut host).await, (conn, get(1)));
    let (kind, state) = (EventKind::NodeCreated, SessionState::SyncConnected);
    let event = Reply::Event(WatchEvent { zxid: None, kind, state, path: "/a".into() });
    host.send(conn, encode_reply(&event));
    host.send(conn, answer(1));
    assert_eq!(codec.decode(client.receive().await), Ok(event));
    let Reply::Answer { xid, err, .. } = codec.decode(client.receive().await).unwrap() else { panic!("no answer") };
    assert_eq!((xid, err), (1, ErrorCode::NoNode));
    drop(client);
    assert_eq!(host.closed().await, conn);
}

#[tokio::test]
async fn writes_are_pipelined_deeper_than_reads_and_events_answer_nothing() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&encode_request(&connect())).await;
    let conn = host.connected().await;
    asked(&mut host).await;
    host.send(conn, connected());
    client.receive().await;
    let writes = (0..45).map(delete).flat_map(|body| framed(&encode_request(&body)));
    let stream: Vec<u8> = writes.chain(framed(&encode_request(&get(45)))).collect();
    client.write(&stream).await;
    for xid in 0..40 {
        assert_eq!(asked(&mut host).await.1, delete(xid));
    }
    let (kind, state) = (EventKind::NodeDeleted, SessionState::SyncConnected);
    let event = encode_reply(&Reply::Event(WatchEvent { zxid: None, kind, state, path: "/a".into() }));
    host.send(conn, event.clone());
    assert_eq!(client.receive().await, event);
    assert_eq!(host.next_now(), None, "an event made room");
    for xid in 0..13 {
        host.send(conn, answer(xid));
        client.receive().await;
    }
    for xid in 40..45 {
        assert_eq!(asked(&mut host).await.1, delete(xid));
    }
    assert_eq!(host.next_now(), None, "the read waits until fewer than 32 are in flight");
    host.send(conn, answer(13));
    assert_eq!(asked(&mut host).await.1, get(45));
}

#[tokio::test]
async fn what_cannot_be_read_is_the_machines_to_answer_and_what_has_no_header_is_the_end() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&encode_request(&connect())).await;
    let conn = host.connected().await;
    asked(&mut host).await;
    let header = [&3i32.to_be_bytes()[..], &op_code::DELETE.to_be_bytes(), &[0x7f; 6]].concat();
    client.send(&header).await;
    assert_eq!(asked(&mut host).await.1, Body::Undecodable { xid: 3, op: op_code::DELETE });
    client.send(b"abc").await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(host.closed().await, conn);
}

#[tokio::test]
async fn a_frame_above_jute_maxbuffer_closes_and_one_at_it_does_not() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&encode_request(&connect())).await;
    let conn = host.connected().await;
    asked(&mut host).await;
    let longest = [&4i32.to_be_bytes()[..], &op_code::SET_DATA.to_be_bytes(), &vec![0x7f; MAX_REQUEST as usize - 8]];
    client.send(&longest.concat()).await;
    assert_eq!(asked(&mut host).await.1, Body::Undecodable { xid: 4, op: op_code::SET_DATA });
    client.write(&(MAX_REQUEST + 1).to_be_bytes()).await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(host.closed().await, conn);
    patiently("another client", Client::connect(host.address)).await;
}
