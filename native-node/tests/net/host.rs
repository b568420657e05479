//! A stand-in for a node's host, and a client that speaks frames. Whatever should happen is waited for; what takes
//! longer than [`PATIENCE`] does not happen.

use bytes::Bytes;
use glasshouse_core::api::kafka::{ApiVersionsResponse, MetadataRequest, MetadataResponse, Response};
use glasshouse_core::id::ConnId;
use glasshouse_core::node::{Input, KafkaRequest, Request, RequestBody};
use glasshouse_core::wire;
use glasshouse_node::inbox::{Arrivals, Inbox, Incoming};
use glasshouse_node::net::outbox::Outbox;
use glasshouse_node::net::{self, Limits};
use glasshouse_node::stones::Stones;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing in {PATIENCE:?}"))
}

pub fn limits() -> Limits {
    Limits { frame: 1 << 20, connections: 1000, requests: 3, first: PATIENCE, idle: None }
}

/// What came in, without its outbox.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Connected(ConnId),
    Asked(ConnId, Box<Request>),
    Closed(ConnId),
}

#[derive(Clone, Copy)]
pub enum Speaks {
    Kafka,
    Keeper,
}

/// The host's side of one listener. Asserts that each connection is opened and closed once.
pub struct Host {
    pub address: SocketAddr,
    pub stones: Stones,
    pub outboxes: BTreeMap<ConnId, Outbox>,
    open: BTreeSet<ConnId>,
    inbox: Arrivals,
}

impl Host {
    pub async fn start(speaks: Speaks, limits: Limits) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (inbox, receiver) = Inbox::new();
        let stones = Stones::default();
        match speaks {
            Speaks::Kafka => drop(tokio::spawn(net::kafka::serve(listener, inbox, limits, stones.clone()))),
            Speaks::Keeper => drop(tokio::spawn(net::keeper::serve(listener, inbox, limits, stones.clone()))),
        }
        Host { address, stones, outboxes: BTreeMap::new(), open: BTreeSet::new(), inbox: receiver }
    }

    pub async fn next(&mut self) -> Seen {
        let incoming = patiently("the inbox", self.inbox.recv()).await.expect("the listener lives");
        self.see(incoming)
    }

    /// What is there already.
    pub fn next_now(&mut self) -> Option<Seen> {
        let incoming = self.inbox.next(true)?;
        Some(self.see(incoming))
    }

    fn see(&mut self, incoming: Incoming) -> Seen {
        match incoming {
            Incoming::Connected { conn, outbox, peer } => {
                assert!(self.open.insert(conn), "connection {conn} twice");
                assert!(peer.ip().is_loopback(), "{peer}");
                self.outboxes.insert(conn, outbox);
                Seen::Connected(conn)
            }
            Incoming::Input(Input::Request { conn, request }) | Incoming::Long { conn, request, .. } => {
                assert!(self.open.contains(&conn), "a request of connection {conn}, which is not open");
                Seen::Asked(conn, Box::new(request))
            }
            Incoming::Input(Input::Closed { conn }) => {
                assert!(self.open.remove(&conn), "connection {conn}, which is not open, is closed");
                self.outboxes.remove(&conn);
                Seen::Closed(conn)
            }
            other => panic!("a listener said {other:?}"),
        }
    }

    pub fn open(&self) -> usize {
        self.open.len()
    }

    pub async fn connected(&mut self) -> ConnId {
        match self.next().await {
            Seen::Connected(conn) => conn,
            other => panic!("{other:?}"),
        }
    }

    pub async fn asked(&mut self) -> (ConnId, Request) {
        match self.next().await {
            Seen::Asked(conn, request) => (conn, *request),
            other => panic!("{other:?}"),
        }
    }

    pub async fn asked_kafka(&mut self) -> (ConnId, KafkaRequest) {
        match self.asked().await {
            (conn, Request { body: RequestBody::Kafka(request), .. }) => (conn, request),
            other => panic!("{other:?}"),
        }
    }

    pub async fn closed(&mut self) -> ConnId {
        match self.next().await {
            Seen::Closed(conn) => conn,
            other => panic!("{other:?}"),
        }
    }

    pub fn send(&self, conn: ConnId, frame: Bytes) {
        self.outboxes[&conn].send(vec![frame]).expect("it has room");
    }

    /// Answers whatever comes until `until` says so.
    pub async fn serve_until(&mut self, mut until: impl FnMut(&Seen) -> bool) {
        loop {
            let seen = self.next().await;
            if let Seen::Asked(conn, request) = &seen
                && let Some(answer) = answer(request)
                && let Some(outbox) = self.outboxes.get(conn)
            {
                // The client may be gone already; then that comes next.
                let _ = outbox.send(vec![answer]);
            }
            if until(&seen) {
                return;
            }
        }
    }

    /// Lets go of a connection, as the machine's `Close` does.
    pub fn let_go(&mut self, conn: ConnId) {
        self.outboxes.remove(&conn);
    }
}

/// An answer with nothing in it, if the request wants one.
pub fn answer(request: &Request) -> Option<Bytes> {
    let RequestBody::Kafka(request) = &request.body else { return None };
    let body: Response<Bytes> = match &request.body {
        glasshouse_core::api::kafka::Request::Produce(produce) if produce.acks == 0 => return None,
        glasshouse_core::api::kafka::Request::Metadata(_) => MetadataResponse::default().into(),
        glasshouse_core::api::kafka::Request::ApiVersions(_) => ApiVersionsResponse::default().into(),
        // Nobody reads it: only the correlation id at its beginning counts.
        _ => return Some(Bytes::copy_from_slice(&request.correlation.to_be_bytes())),
    };
    Some(wire::kafka::encode_response(request.version, request.correlation, &body))
}

/// A client that speaks frames.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub async fn connect(to: SocketAddr) -> Client {
        Client { stream: patiently("a connection", TcpStream::connect(to)).await.expect("somebody listens") }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        patiently("a write", self.stream.write_all(bytes)).await.expect("the connection stands");
    }

    pub async fn send(&mut self, frame: &[u8]) {
        self.write(&framed(frame)).await;
    }

    pub async fn receive(&mut self) -> Bytes {
        let length = patiently("an answer", self.stream.read_u32()).await.expect("the connection stands");
        let mut frame = vec![0; length as usize];
        patiently("an answer", self.stream.read_exact(&mut frame)).await.expect("the connection stands");
        frame.into()
    }

    /// The correlation id of the next answer.
    pub async fn receive_correlation(&mut self) -> i32 {
        let frame = self.receive().await;
        i32::from_be_bytes(*frame.first_chunk().expect("an answer has at least four bytes"))
    }

    /// Everything until the other end closes, which it does.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = patiently("the end", self.stream.read_to_end(&mut rest)).await;
        rest
    }
}

pub fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
}

pub fn metadata(correlation: i32) -> Bytes {
    kafka(correlation, 9, MetadataRequest::default())
}

pub fn kafka(correlation: i32, version: i16, body: impl Into<glasshouse_core::api::kafka::Request>) -> Bytes {
    let client = Some("test".into());
    wire::kafka::encode_request(&KafkaRequest { version, correlation, client, body: body.into() })
}
