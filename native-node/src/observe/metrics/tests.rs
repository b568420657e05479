//! That a report can be read by Prometheus, and has the names that dashboards ask for.

use super::*;
use glasshouse_core::api::kafka::{MetadataRequest, MetadataResponse, ProduceRequest};
use glasshouse_core::broker::config::BrokerConfig;
use glasshouse_core::id::{BrokerId, KeeperId, TopicPartition, Zxid};
use glasshouse_core::keeper::{Boot, Config, Keeper};
use glasshouse_core::machine::{Effects, Machine};
use glasshouse_core::node::KafkaRequest;
use glasshouse_core::note::broker::BrokerNote;
use glasshouse_core::record::batch::{Batch, BatchBuilder, NewRecord};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::rng::Rng;
use glasshouse_core::time::Now;

fn lone_keeper() -> Node {
    let config = Config::new(glasshouse_core::zab::Config::new(KeeperId(1), [KeeperId(1)]));
    let mut fx = Effects::default();
    Node::Keeper(Box::new(Keeper::recover(config, Boot::default(), Rng::new(1), Now::default(), &mut fx)))
}

fn lone_broker() -> Node {
    let config = BrokerConfig::new(1, Some(BrokerId(1)), Vec::new());
    let mut fx = Effects::default();
    let image = glasshouse_core::api::storage::BrokerImage::default();
    Node::Broker(Box::new(Broker::recover(config, image, 7, Now::default(), &mut fx)))
}

/// Every line is a comment, or a name, perhaps labels, and a number.
fn check(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with("# TYPE ")) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let bare = name.split('{').next().unwrap_or_default();
        assert!(bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
        assert!(name.contains('{') == name.ends_with('}'), "{line}");
    }
}

fn seen(node: &Node) -> Seen<'_> {
    Seen { node, inbox: 3, connections: 2, now: Instant(5_000_000_000) }
}

#[test]
fn a_keeper_reports_under_zookeepers_names() {
    let mut node = lone_keeper();
    let mut counters = Counters::default();
    let mut fx = Effects::default();
    node.step(Now::default(), Input::Wake, &mut fx);
    for note in &fx.notes {
        counters.count(Instant::ZERO, note);
    }
    let text = counters.report(NodeId::keeper(1), &seen(&node));
    check(&text);
    for name in [
        "znode_count",
        "watch_count",
        "ephemerals_count",
        "approximate_data_size",
        "num_alive_connections",
        "outstanding_requests",
        "packets_received",
        "packets_sent",
        "election_time_count",
        "proposal_count",
        "commit_count",
        "fsynctime_count",
        "snapshottime_sum",
        "avg_latency",
        "min_latency",
        "max_latency",
        "readlatency_count",
        "updatelatency_sum",
        "open_file_descriptor_count",
        "max_file_descriptor_count",
        "max_client_response_size",
        "uptime",
        "quorum_size",
        "glasshouse_inbox_depth",
    ] {
        assert!(text.contains(&format!("\n{name} ")), "no {name} in\n{text}");
    }
}

#[test]
fn a_broker_reports_under_kafkas_names() {
    let node = lone_broker();
    let mut counters = Counters::default();
    let partition = TopicPartition::new("or\"ders", 0);
    let records = BatchBuilder::default().records((0..3).map(|at| NewRecord::new(at, None, Some(b"v")))).build();
    let batch = Batch::take(&records).unwrap().stamp(Offset(4), glasshouse_core::id::LeaderEpoch(1));
    let append = StoreOp::Append { batches: vec![batch] };
    counters.emitted(&node, &Effect::Store { lane: Lane::Log(partition.clone()), op: append });
    counters.count(Instant::ZERO, &Note::Broker(BrokerNote::DuplicateBatch { partition, offset: Offset(1) }));
    let text = counters.report(NodeId::Broker(1), &seen(&node));
    check(&text);
    for name in [
        "kafka_server_replicamanager_underreplicatedpartitions",
        "kafka_server_replicamanager_partitioncount",
        "kafka_server_replicamanager_leadercount",
        "kafka_server_replicamanager_offlinereplicacount",
        "kafka_server_fetchsessioncache_numincrementalfetchsessions",
        "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached",
        "kafka_server_replicamanager_isrshrinks_total",
        "kafka_server_replicamanager_isrexpands_total",
        "kafka_controller_kafkacontroller_activecontrollercount",
        "kafka_controller_kafkacontroller_offlinepartitionscount",
        "kafka_server_sessionexpirelistener_zookeeperexpires_total",
        "kafka_network_requestchannel_requestqueuesize",
    ] {
        assert!(text.contains(&format!("\n{name} ")) || text.starts_with(&format!("{name} ")), "no {name} in\n{text}");
    }
    let replicated = format!("replicationbytesin_total{{topic=\"or\\\"ders\"}} {}\n", records.len());
    assert!(text.contains(&replicated), "no {replicated} in\n{text}");
    assert!(text.contains("glasshouse_duplicate_batches_total 1\n"));
}

#[test]
fn what_is_answered_is_timed() {
    let node = lone_broker();
    let mut counters = Counters::default();
    let conn = ConnId(7);
    let ask = |correlation, body| Input::Request {
        conn,
        request: glasshouse_core::node::Request {
            listener: 0,
            principal: glasshouse_core::node::Principal::Anonymous,
            body: RequestBody::Kafka(KafkaRequest { version: 0, correlation, client: None, body }),
        },
    };
    let answer =
        |correlation| Reply::<Vec<u8>>::Kafka { version: 0, correlation, body: MetadataResponse::default().into() };
    counters.heard(&ask(1, MetadataRequest::default().into()));
    counters.heard(&ask(2, MetadataRequest::default().into()));
    // It is never answered, so it is no answer's time.
    counters.heard(&ask(3, ProduceRequest { acks: 0, ..ProduceRequest::default() }.into()));
    counters.replied(&node, conn, &answer(2), Vec::len);
    let text = counters.report(NodeId::Broker(1), &seen(&node));
    check(&text);
    assert!(text.contains("kafka_network_requestmetrics_totaltimems_count{request=\"Metadata\"} 1\n"), "{text}");
    assert!(text.contains("totaltimems{request=\"Metadata\",quantile=\"0.99\"} "), "{text}");
    counters.heard(&Input::Closed { conn });
    counters.replied(&node, conn, &answer(1), Vec::len);
    let text = counters.report(NodeId::Broker(1), &seen(&node));
    assert!(text.contains("totaltimems_count{request=\"Metadata\"} 1\n"), "{text}");
    assert!(!text.contains("totaltimems_count{request=\"Produce\"}"), "{text}");
}

#[test]
fn a_keepers_answers_are_timed_and_words_tell_of_them() {
    let mut node = lone_keeper();
    let mut counters = Counters::default();
    let peer = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let (client, asker, stranger) = (ConnId(7), ConnId(8), ConnId(9));
    let ask = |conn, body| Input::Request {
        conn,
        request: glasshouse_core::node::Request {
            listener: 0,
            principal: glasshouse_core::node::Principal::Anonymous,
            body: RequestBody::Keeper(body),
        },
    };
    let read = |xid| keeper::Request::Op { xid, op: keeper::Op::GetData { path: "/".into(), watch: false } };
    let write = |xid| keeper::Request::Op { xid, op: keeper::Op::Delete { path: "/".into(), version: 0 } };
    let answer = |xid| keeper::Reply::Answer { xid, zxid: Zxid::ZERO, err: keeper::ErrorCode::Ok, body: None };
    counters.connected(client, peer(5000));
    for request in [write(1), read(2), read(3)] {
        counters.heard(&ask(client, request));
    }
    std::thread::sleep(Duration::from_millis(3));
    for (xid, bytes) in [(1, 20), (2, 30), (4, 10)] {
        counters.told(client, &answer(xid), bytes);
    }
    assert_eq!((counters.talks.updates.count, counters.talks.reads.count), (1, 1), "3 waits, and nobody asked 4");
    let (min, avg, max) = counters.talks.latency();
    assert!(3 <= min && min as f64 <= avg && avg <= max as f64, "{min}/{avg}/{max}");

    counters.connected(asker, peer(5001));
    let stat = ask(asker, keeper::Request::FourLetter(*b"srvr"));
    counters.heard(&stat);
    node.step(Now::default(), Input::Wake, &mut Effects::default());
    assert_eq!(counters.word(client, &seen(&node)), None, "it said none");
    assert_eq!(counters.word(stranger, &seen(&node)), None);
    let word = counters.word(asker, &seen(&node)).expect("it said one");
    let known = word.contains(&format!("Latency min/avg/max: {min}/{avg:?}/{max}\n"));
    assert!(known || word.contains("not currently serving"), "{word}");

    let Node::Keeper(keeper) = &node else { unreachable!() };
    let clients: Vec<String> = counters.clients(keeper).iter().map(ToString::to_string).collect();
    let lines = [" /127.0.0.1:5000[1](queued=0,recved=3,sent=3)", " /127.0.0.1:5001[0](queued=0,recved=1,sent=0)"];
    assert_eq!(clients, lines);
    let lines = counters.lines(keeper, &seen(&node));
    for line in ["zk_cnt_updatelatency\t1\n", "zk_max_client_response_size\t30\n", "zk_min_client_response_size\t10\n"]
    {
        assert!(lines.contains(line), "no {line:?} in\n{lines}");
    }
    assert!(!lines.contains('{') && !lines.contains("glasshouse") && !lines.contains('#'), "{lines}");
    counters.heard(&Input::Closed { conn: client });
    assert_eq!(counters.clients(keeper).len(), 1);
}
