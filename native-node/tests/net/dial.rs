//! A broker's dials: opened, asked, answered, hung up, and how stones between nodes act on them.

use crate::host::{framed, patiently};
use bytes::Bytes;
use glasshouse_core::api::keeper::{Connect, Connected, ErrorCode, Op, Reply as Answer, Request as Body};
use glasshouse_core::id::{DialId, KeeperId, NodeId, SessionId, Zxid};
use glasshouse_core::node::{Address, Input, Principal, Reply, Request, RequestBody};
use glasshouse_core::wire::keeper::{ServerCodec, encode_reply};
use glasshouse_node::inbox::{Arrivals, Inbox, Incoming};
use glasshouse_node::net::dial::Dials;
use glasshouse_node::stones::Stones;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const DIAL: DialId = DialId(4);
const KEEPER: NodeId = NodeId::Keeper(KeeperId(1));

struct Broker {
    dials: Dials,
    inbox: Arrivals,
    stones: Stones,
    keepers: TcpListener,
    keeper: Address,
}

impl Broker {
    async fn start() -> Broker {
        let keepers = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = keepers.local_addr().expect("it is bound").port();
        let (inbox, receiver) = Inbox::new();
        let stones = Stones::default();
        stones.name("127.0.0.1", port, KEEPER);
        let keeper = Address { host: "127.0.0.1".into(), port };
        Broker { dials: Dials::new(inbox, stones.clone()), inbox: receiver, stones, keepers, keeper }
    }

    async fn next(&mut self) -> Input {
        match patiently("the inbox", self.inbox.recv()).await {
            Some(Incoming::Input(input)) => input,
            other => panic!("{other:?}"),
        }
    }

    /// Dials, and is there at both ends.
    async fn open(&mut self) -> TcpStream {
        self.dials.dial(DIAL, self.keeper.clone());
        let (stream, _) = patiently("a dial", self.keepers.accept()).await.expect("a connection");
        assert_eq!(self.next().await, Input::Opened { dial: DIAL });
        stream
    }

    /// Nothing more comes, which can only be waited for.
    async fn nothing(&mut self) {
        let silence = timeout(Duration::from_millis(100), self.inbox.recv()).await;
        assert!(silence.is_err(), "{silence:?}");
    }
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

fn exists(xid: i32) -> Body {
    Body::Op { xid, op: Op::Exists { path: "/controller".into(), watch: true } }
}

fn request(body: Body) -> Request {
    Request { listener: 0, principal: Principal::Anonymous, body: RequestBody::Keeper(body) }
}

fn connected() -> Answer {
    let (session, read_only) = (SessionId(5), Some(false));
    Answer::Connected(Connected { protocol_version: 0, timeout_ms: 6000, session, password: [7; 16], read_only })
}

fn answer(xid: i32) -> Answer {
    Answer::Answer { xid, zxid: Zxid(9), err: ErrorCode::NoNode, body: None }
}

async fn receive(stream: &mut TcpStream) -> Bytes {
    let length = patiently("a request", stream.read_u32()).await.expect("the connection stands");
    let mut frame = vec![0; length as usize];
    patiently("a request", stream.read_exact(&mut frame)).await.expect("the connection stands");
    frame.into()
}

async fn send(stream: &mut TcpStream, answer: &Answer) {
    patiently("a write", stream.write_all(&framed(&encode_reply(answer)))).await.expect("the connection stands");
}

#[tokio::test]
async fn asked_and_answered_until_the_node_hangs_up() {
    let mut broker = Broker::start().await;
    let mut keeper = broker.open().await;
    let mut codec = ServerCodec::default();
    for body in [connect(), exists(1), exists(2)] {
        broker.dials.ask(DIAL, request(body.clone()));
        assert_eq!(codec.decode(receive(&mut keeper).await), Ok(body));
    }
    for told in [connected(), answer(1), answer(2)] {
        send(&mut keeper, &told).await;
        assert_eq!(broker.next().await, Input::Answer { dial: DIAL, reply: Reply::Keeper(told) });
    }
    // The last words leave, though nobody reads what comes back.
    send(&mut keeper, &answer(3)).await;
    broker.dials.ask(DIAL, request(exists(3)));
    broker.dials.hang_up(DIAL);
    assert!(!broker.dials.knows(DIAL));
    assert_eq!(codec.decode(receive(&mut keeper).await), Ok(exists(3)));
    let ended = patiently("the end", keeper.read_u8()).await;
    assert!(ended.is_err(), "{ended:?}");
    drop(keeper);
    while let Some(Incoming::Input(input)) = broker.inbox.next(true) {
        assert!(!matches!(input, Input::Hung { .. }));
    }
    broker.nothing().await;
}

#[tokio::test]
async fn nobody_there_is_told_once() {
    let mut broker = Broker::start().await;
    let port = {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        taken.local_addr().expect("it is bound").port()
    };
    broker.dials.dial(DIAL, Address { host: "127.0.0.1".into(), port });
    assert_eq!(broker.next().await, Input::Hung { dial: DIAL });
    broker.dials.forget(DIAL);
    broker.dials.ask(DIAL, request(connect()));
    broker.dials.dial(DialId(5), Address { host: "no-such-host.invalid".into(), port });
    assert_eq!(broker.next().await, Input::Hung { dial: DialId(5) });
    broker.nothing().await;
}

#[tokio::test]
async fn a_keeper_that_goes_or_talks_nonsense_is_told_once() {
    let mut broker = Broker::start().await;
    for nonsense in [&b""[..], b"\0\0\0\x01", b"\0\0\0\x01a", b"\x7f\0\0\0"] {
        let mut keeper = broker.open().await;
        broker.dials.ask(DIAL, request(connect()));
        receive(&mut keeper).await;
        keeper.write_all(nonsense).await.expect("the connection stands");
        drop(keeper);
        assert_eq!(broker.next().await, Input::Hung { dial: DIAL }, "{nonsense:?}");
        broker.dials.forget(DIAL);
        assert!(broker.inbox.is_empty());
    }
}

#[tokio::test]
async fn a_cut_is_silence_until_it_heals() {
    let mut broker = Broker::start().await;
    let stones = broker.stones.clone();
    stones.change(|lying| assert!(lying.cut.insert(KEEPER)));
    broker.dials.dial(DIAL, broker.keeper.clone());
    let silence = timeout(Duration::from_millis(100), broker.keepers.accept()).await;
    assert!(silence.is_err(), "it came through a cut");
    stones.change(|lying| lying.cut.clear());
    let (mut keeper, _) = patiently("a dial", broker.keepers.accept()).await.expect("a connection");
    assert_eq!(broker.next().await, Input::Opened { dial: DIAL });
    broker.dials.ask(DIAL, request(connect()));
    receive(&mut keeper).await;

    stones.change(|lying| assert!(lying.cut.insert(KEEPER)));
    send(&mut keeper, &connected()).await;
    broker.dials.ask(DIAL, request(exists(1)));
    let silence = timeout(Duration::from_millis(100), keeper.read_u8()).await;
    assert!(silence.is_err(), "it came through a cut");
    broker.nothing().await;
    stones.change(|lying| lying.cut.clear());
    receive(&mut keeper).await;
    assert_eq!(broker.next().await, Input::Answer { dial: DIAL, reply: Reply::Keeper(connected()) });
}

#[tokio::test]
async fn what_goes_to_a_slow_node_is_late_and_in_order() {
    let mut broker = Broker::start().await;
    let mut keeper = broker.open().await;
    let slow = Duration::from_millis(100);
    broker.stones.change(|lying| lying.slow = [(KEEPER, slow)].into());
    let began = Instant::now();
    let mut codec = ServerCodec::default();
    for body in [connect(), exists(1), exists(2)] {
        broker.dials.ask(DIAL, request(body));
    }
    for body in [connect(), exists(1), exists(2)] {
        assert_eq!(codec.decode(receive(&mut keeper).await), Ok(body));
        assert!(began.elapsed() >= slow);
    }
}
