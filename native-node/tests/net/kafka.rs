//! What a broker's listener owes its clients: order, back-pressure, and the protocol's own errors.

use crate::host::{Client, Host, Seen, Speaks, answer, framed, kafka, limits, metadata, patiently};
use bytes::Bytes;
use glasshouse_core::api::kafka::{ApiKey, ApiVersionsRequest, ErrorCode, FetchRequest, ProduceRequest, Response};
use glasshouse_core::node::{Principal, Request, RequestBody};
use glasshouse_core::wire::kafka::decode_response;
use glasshouse_node::net::Limits;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

fn answer_to(request: &glasshouse_core::node::KafkaRequest) -> Bytes {
    let body = RequestBody::Kafka(request.clone());
    answer(&Request { listener: 0, principal: Principal::Anonymous, body }).expect("it wants an answer")
}

async fn host() -> Host {
    Host::start(Speaks::Kafka, limits()).await
}

#[tokio::test]
async fn requests_and_answers_keep_their_order_however_they_are_cut() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    let stream: Vec<u8> = (0..3).flat_map(|n| framed(&metadata(n))).collect();
    for piece in stream.chunks(7) {
        client.write(piece).await;
    }
    let conn = host.connected().await;
    let mut answers = Vec::new();
    for n in 0..3 {
        let (from, request) = host.asked_kafka().await;
        assert_eq!((from, request.correlation, request.client.as_deref()), (conn, n, Some("test")));
        answers.push(answer_to(&request));
    }
    for answer in answers {
        host.send(conn, answer);
    }
    for n in 0..3 {
        assert_eq!(client.receive_correlation().await, n);
    }
    drop(client);
    assert_eq!(host.closed().await, conn);
}

#[tokio::test]
async fn what_is_not_answered_holds_back_what_follows() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    let stream: Vec<u8> = (0..5).flat_map(|n| framed(&metadata(n))).collect();
    client.write(&stream).await;
    let conn = host.connected().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(host.asked_kafka().await.1);
    }
    // Another client is served meanwhile, and nothing more of the first comes in.
    let mut other = Client::connect(host.address).await;
    other.send(&metadata(77)).await;
    let second = host.connected().await;
    let (from, request) = host.asked_kafka().await;
    assert_eq!((from, request.correlation), (second, 77));
    host.send(second, answer_to(&request));
    assert_eq!(other.receive_correlation().await, 77);
    assert_eq!(host.next_now(), None);
    host.send(conn, answer_to(&waiting[0]));
    assert_eq!(host.asked_kafka().await.1.correlation, 3);
    assert_eq!(client.receive_correlation().await, 0);
}

#[tokio::test]
async fn produce_without_acknowledgement_is_neither_answered_nor_counted() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    let silent = ProduceRequest { acks: 0, ..ProduceRequest::default() };
    for n in 0..20 {
        client.send(&kafka(n, 9, silent.clone())).await;
    }
    client.send(&metadata(20)).await;
    let conn = host.connected().await;
    for n in 0..20 {
        assert_eq!(host.asked_kafka().await.1.correlation, n);
    }
    let (_, request) = host.asked_kafka().await;
    host.send(conn, answer_to(&request));
    assert_eq!(client.receive_correlation().await, 20);
}

#[tokio::test]
async fn a_fetch_waits_for_all_before_it() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&metadata(0)).await;
    client.send(&kafka(1, 12, FetchRequest::default())).await;
    let conn = host.connected().await;
    let (_, request) = host.asked_kafka().await;
    host.send(conn, answer_to(&request));
    assert_eq!(host.asked_kafka().await.1.correlation, 1);
    assert_eq!(client.receive_correlation().await, 0, "it was written before the fetch came in");
}

#[tokio::test]
async fn what_is_not_served_is_told_in_its_turn() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&metadata(0)).await;
    // ApiVersions 127, FindCoordinator 2, ApiVersions of a client with a strange name, and a key nobody knows.
    client.send(&[0, 18, 0, 127, 0, 0, 0, 1, 0xff, 0xff]).await;
    client.send(&[0, 10, 0, 2, 0, 0, 0, 2, 0xff, 0xff, 0, 1, b'g', 0]).await;
    let strange = ApiVersionsRequest { client_software_name: "<b>".to_owned(), ..ApiVersionsRequest::default() };
    client.send(&kafka(3, 3, strange)).await;
    client.send(&[3, 232, 0, 0, 0, 0, 0, 4, 0xff, 0xff]).await;
    let conn = host.connected().await;
    let (_, request) = host.asked_kafka().await;
    assert_eq!(host.next_now(), None);
    host.send(conn, answer_to(&request));
    assert_eq!(client.receive_correlation().await, 0);
    let (correlation, version, body) = decode_response(ApiKey::ApiVersions, 4, client.receive().await).unwrap();
    assert_eq!((correlation, version), (1, 0));
    let Response::ApiVersions(body) = body else { panic!("{}", body.name()) };
    assert_eq!((body.error, body.apis[0].key, body.apis.len()), (ErrorCode::UNSUPPORTED_VERSION, 18, 1));
    let coordinator = client.receive().await;
    assert_eq!(coordinator[..10], [0, 0, 0, 2, 0, 0, 0, 0, 0, 35]);
    let (correlation, _, body) = decode_response(ApiKey::ApiVersions, 3, client.receive().await).unwrap();
    assert_eq!((correlation, body.first_error()), (3, ErrorCode::INVALID_REQUEST));
    assert_eq!(client.rest().await, b"", "of the last one nothing is known but that it is the end");
    assert_eq!(host.closed().await, conn);
}

#[tokio::test]
async fn the_last_answers_reach_a_client_that_still_speaks() {
    let mut host = Host::start(Speaks::Kafka, Limits { requests: 1, ..limits() }).await;
    let mut client = Client::connect(host.address).await;
    for n in 0..50 {
        client.send(&metadata(n)).await;
    }
    let conn = host.connected().await;
    let (_, request) = host.asked_kafka().await;
    host.send(conn, answer_to(&request));
    host.let_go(conn);
    assert_eq!(client.receive_correlation().await, 0);
    assert_eq!(client.rest().await, b"");
    host.serve_until(|seen| *seen == Seen::Closed(conn)).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&metadata(0)).await;
    let conn = host.connected().await;
    host.asked_kafka().await;
    let outbox = host.outboxes[&conn].clone();
    let long = Bytes::from(vec![0; 30 << 20]);
    let mut sent = 0;
    while outbox.send(vec![long.clone()]).is_ok() {
        sent += 1;
        assert!(sent < 10, "it takes whatever it gets");
        tokio::task::yield_now().await;
    }
    assert_eq!(host.closed().await, conn);
}

#[tokio::test]
async fn a_paused_node_neither_reads_nor_writes_nor_accepts() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&metadata(0)).await;
    let conn = host.connected().await;
    let (_, request) = host.asked_kafka().await;
    host.stones.change(|lying| lying.paused = true);
    host.send(conn, answer_to(&request));
    client.send(&metadata(1)).await;
    let mut other = Client::connect(host.address).await;
    other.send(&metadata(2)).await;
    // Nothing happens, which can only be waited for.
    let mut byte = [0];
    let silent = tokio::time::timeout(Duration::from_millis(200), client.stream.read(&mut byte)).await;
    assert!(silent.is_err(), "an answer of a paused node");
    assert_eq!(host.next_now(), None);
    host.stones.change(|lying| lying.paused = false);
    assert_eq!(client.receive_correlation().await, 0);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        if let Seen::Asked(_, request) = host.next().await
            && let RequestBody::Kafka(request) = request.body
        {
            heard.push(request.correlation);
        }
    }
    heard.sort_unstable();
    assert_eq!(heard, [1, 2]);
}

#[tokio::test]
async fn a_late_answer_holds_back_those_behind_it() {
    let mut host = host().await;
    let mut client = Client::connect(host.address).await;
    client.send(&metadata(0)).await;
    client.send(&metadata(1)).await;
    let conn = host.connected().await;
    let (first, second) = (host.asked_kafka().await.1, host.asked_kafka().await.1);
    let began = Instant::now();
    host.outboxes[&conn].send_late(vec![answer_to(&first)], Duration::from_millis(100)).unwrap();
    host.send(conn, answer_to(&second));
    assert_eq!(client.receive_correlation().await, 0);
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.receive_correlation().await, 1);
}

#[tokio::test]
async fn megabytes_pass_whole() {
    let mut host = Host::start(Speaks::Kafka, Limits { frame: 8 << 20, ..limits() }).await;
    let address = host.address;
    let body = Bytes::from((0..5 << 20).map(|at: u32| (at % 251) as u8).collect::<Vec<u8>>());
    let sent = body.clone();
    let client = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        for n in 0..8 {
            let named =
                glasshouse_core::api::kafka::ProducePartition { records: Some(sent.clone()), ..Default::default() };
            let topic = glasshouse_core::api::kafka::ProduceTopic { partitions: vec![named], ..Default::default() };
            client.send(&kafka(n, 9, ProduceRequest { acks: 1, topics: vec![topic], ..Default::default() })).await;
        }
        for n in 0..8 {
            assert_eq!(client.receive_correlation().await, n);
        }
    });
    let conn = host.connected().await;
    for _ in 0..8 {
        let (_, request) = host.asked_kafka().await;
        let glasshouse_core::api::kafka::Request::Produce(produce) = &request.body else { panic!("{request:?}") };
        assert!(produce.topics[0].partitions[0].records.as_ref() == Some(&body));
        host.send(conn, answer_to(&request));
    }
    patiently("the client", client).await.expect("it does not panic");
}
