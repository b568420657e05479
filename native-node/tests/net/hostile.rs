//! Strangers: nonsense, claims, silence and slowness. Each costs its own connection and nothing else.

use crate::host::{Client, Host, PATIENCE, Seen, Speaks, answer, framed, kafka, limits, metadata, patiently};
use futures_util::FutureExt;
use glasshouse_core::api::kafka::{CreateTopicsRequest, ProduceRequest};
use glasshouse_core::id::ConnId;
use glasshouse_core::node::Input;
use glasshouse_core::rng::Rng;
use glasshouse_node::inbox::Inbox;
use glasshouse_node::net::{self, Limits};
use glasshouse_node::stones::Stones;
use std::net::TcpStream;
use std::time::Duration;

const BOTH: [Speaks; 2] = [Speaks::Kafka, Speaks::Keeper];

#[tokio::test]
async fn cut_and_overlong_frames_end_their_connection_before_the_machine_hears_of_it() {
    let long = ((1u32 << 20) + 1).to_be_bytes();
    let nonsense: [&[u8]; 7] =
        [&long, b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\0", b"\0\0\0\x09abc", b"\0\0\0\0"];
    for speaks in BOTH {
        let mut host = Host::start(speaks, limits()).await;
        for bytes in nonsense {
            let mut client = Client::connect(host.address).await;
            client.write(bytes).await;
            tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.expect("half of it closes");
            assert_eq!(client.rest().await, b"", "{bytes:?}");
        }
        assert_eq!(host.next_now(), None);
    }
}

#[tokio::test]
async fn nonsense_from_a_client_ends_its_connection_once() {
    let mut host = Host::start(Speaks::Kafka, limits()).await;
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02ab", b"\0\0\0\x09\0\x03\0\x09abcde"] {
        let mut client = Client::connect(host.address).await;
        client.send(&metadata(1)).await;
        let conn = host.connected().await;
        let (_, request) = host.asked().await;
        host.send(conn, answer(&request).expect("it wants an answer"));
        assert_eq!(client.receive_correlation().await, 1);
        client.write(bytes).await;
        assert_eq!(client.rest().await, b"");
        assert_eq!(host.closed().await, conn);
    }
    assert_eq!(host.open(), 0);
}

/// Whole frames that were damaged, and whole noise.
fn damaged(rng: &mut Rng, originals: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = if rng.below(4) == 0 {
        (0..rng.below(200)).map(|_| rng.next() as u8).collect()
    } else {
        framed(&originals[rng.below(originals.len() as u64) as usize])
    };
    for _ in 0..rng.below(4) {
        if !bytes.is_empty() {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next() as u8;
        }
    }
    if rng.below(4) == 0 {
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
    }
    bytes
}

#[tokio::test]
async fn thousands_of_damaged_frames_harm_nobody_else() {
    let originals: Vec<Vec<u8>> = [
        metadata(1),
        kafka(2, 7, CreateTopicsRequest::default()),
        kafka(3, 9, ProduceRequest { acks: 1, ..ProduceRequest::default() }),
        kafka(4, 12, glasshouse_core::api::kafka::FetchRequest::default()),
    ]
    .iter()
    .map(|frame| frame.to_vec())
    .collect();
    let connect = [&[0; 24][..], &16u32.to_be_bytes(), &[0; 17]].concat();
    for speaks in BOTH {
        let mut host = Host::start(speaks, Limits { requests: 100, ..limits() }).await;
        let address = host.address;
        let (mut originals, connect) = (originals.clone(), connect.clone());
        originals.push(connect.clone());
        let attack = tokio::spawn(async move {
            for seed in 0..3000 {
                let mut rng = Rng::at(&[seed]);
                let mut client = Client::connect(address).await;
                for _ in 0..=rng.below(4) {
                    let bytes = damaged(&mut rng, &originals);
                    // It may be closed already.
                    if tokio::io::AsyncWriteExt::write_all(&mut client.stream, &bytes).await.is_err() {
                        break;
                    }
                }
            }
            // And a sign that all of it is over.
            let mut last = Client::connect(address).await;
            last.send(&connect).await;
            last.send(&metadata(4711)).await;
            last
        });
        let mut asked = 0u32;
        let serving = host.serve_until(|seen| {
            asked += u32::from(matches!(seen, Seen::Asked(..)));
            false
        });
        let _last = tokio::select! {
            () = serving => unreachable!("it serves for ever"),
            last = patiently("the attack", attack) => last.expect("it does not panic"),
        };
        assert!(asked > 100, "{asked} requests made sense");
    }
}

#[tokio::test]
async fn who_waits_for_a_full_inbox_and_is_sent_away_keeps_no_socket() {
    for speaks in BOTH {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (inbox, _arrivals) = Inbox::new();
        let limits = Limits { first: Duration::from_millis(50), ..limits() };
        match speaks {
            Speaks::Kafka => drop(tokio::spawn(net::kafka::serve(listener, inbox.clone(), limits, Stones::default()))),
            Speaks::Keeper => {
                drop(tokio::spawn(net::keeper::serve(listener, inbox.clone(), limits, Stones::default())))
            }
        }
        let connect = [&[0; 24][..], &16u32.to_be_bytes(), &[0; 17]].concat();
        let asks = if matches!(speaks, Speaks::Kafka) { metadata(1).to_vec() } else { connect };
        while inbox.put(Input::Closed { conn: ConnId(0) }).now_or_never().is_some() {
            tokio::task::yield_now().await;
        }
        let mut newcomer = Client::connect(address).await;
        newcomer.send(&asks).await;
        assert_eq!(newcomer.rest().await, b"", "it is closed");
    }
}

#[tokio::test]
async fn two_thousand_that_are_slow_keep_no_client_out() {
    for speaks in BOTH {
        let connections = 100;
        let mut host = Host::start(speaks, Limits { connections, ..limits() }).await;
        let mut slow = Vec::new();
        for n in 0..2000 {
            let stream = patiently("a connection", tokio::net::TcpStream::connect(host.address)).await;
            let stream = stream.expect("somebody listens").into_std().expect("a socket");
            // A first byte, or nothing at all.
            let _ = if n % 2 == 0 { std::io::Write::write(&mut &stream, &[0]) } else { Ok(0) };
            slow.push(stream);
        }
        let mut client = Client::connect(host.address).await;
        let asks = match speaks {
            Speaks::Kafka => metadata(1).to_vec(),
            Speaks::Keeper => [&[0; 24][..], &16u32.to_be_bytes(), &[0; 17]].concat(),
        };
        client.send(&asks).await;
        let conn = host.connected().await;
        assert_eq!(host.asked().await.0, conn);
        host.send(conn, bytes::Bytes::from_static(b"\0\0\0\x01 welcome"));
        assert_eq!(client.receive_correlation().await, 1);
        let closed = patiently("the slow ones", async {
            loop {
                let closed = slow.iter().filter(|stream| is_closed(stream)).count();
                if closed >= 2000 - connections {
                    return closed;
                }
                tokio::task::yield_now().await;
            }
        });
        assert!(closed.await <= 2000);
        assert_eq!(host.next_now(), None, "the machine never heard of them");
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[tokio::test]
async fn who_never_asks_and_who_asks_no_more_are_let_go() {
    let soon = Duration::from_millis(50);
    let mut host = Host::start(Speaks::Kafka, Limits { first: soon, idle: Some(PATIENCE), ..limits() }).await;
    let mut silent = Client::connect(host.address).await;
    silent.write(&[0, 0, 0]).await;
    assert_eq!(silent.rest().await, b"");
    assert_eq!(host.next_now(), None);

    let mut host = Host::start(Speaks::Kafka, Limits { first: PATIENCE, idle: Some(soon), ..limits() }).await;
    let mut client = Client::connect(host.address).await;
    client.send(&metadata(1)).await;
    let conn = host.connected().await;
    let (_, request) = host.asked().await;
    // While it waits for us it is not idle.
    let waited = tokio::time::timeout(4 * soon, client.stream.readable()).await;
    assert!(waited.is_err(), "it was closed");
    host.send(conn, answer(&request).expect("it wants an answer"));
    assert_eq!(client.receive_correlation().await, 1);
    assert_eq!(client.rest().await, b"");
    assert_eq!(host.closed().await, conn);
}

#[tokio::test]
async fn a_full_house_of_clients_that_have_just_spoken_takes_nobody_in() {
    let mut host = Host::start(Speaks::Kafka, Limits { connections: 2, ..limits() }).await;
    let mut clients = Vec::new();
    for n in 0..2 {
        let mut client = Client::connect(host.address).await;
        client.send(&metadata(n)).await;
        let conn = host.connected().await;
        let (_, request) = host.asked().await;
        host.send(conn, answer(&request).expect("it wants an answer"));
        assert_eq!(client.receive_correlation().await, n);
        clients.push(client);
    }
    let mut third = Client::connect(host.address).await;
    assert_eq!(third.rest().await, b"");
    clients.pop();
    host.closed().await;
    let mut fourth = Client::connect(host.address).await;
    fourth.send(&metadata(9)).await;
    host.connected().await;
}
