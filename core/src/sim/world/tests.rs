//! What a world's own comparisons find: a bit that flips under a running broker, a node that nobody stopped. And how what
//! it keeps of its trace is numbered.

use super::World;
use crate::api::kafka::{
    ApiKey, DescribeConfigsRequest, DescribeConfigsResource, ErrorCode, MetadataRequest, MetadataTopic, Request,
    Response,
};
use crate::api::peer::{Channel, ChannelKind, PeerMessage};
use crate::broker::Broker;
use crate::id::{ConnId, NodeId};
use crate::machine::{Effects, Machine};
use crate::node::{self, Effect, Input, KafkaRequest, Principal, Reply, RequestBody};
use crate::nodes::Node;
use crate::record::offset::{LogRange, Position};
use crate::sim::run::{Verdict, conclude, rests_at};
use crate::sim::scenario::Scenario;
use crate::sim::trace::Keep;
use crate::time::{Instant, Now, Span, UnixMillis};

fn scenario(actions: &str) -> Scenario {
    let text = format!(
        "glasshouse scenario 1
seed 3
set tick 200ms
set dead-peer 500ms
set broker-session 1s
set replica-lag 2s
set request-timeout 2s
topic orders partitions 1 replicas 3 min-isr 2
producer orders acks all idempotent rate 20
run 10s
{actions}"
    );
    Scenario::parse(&text).unwrap()
}

/// Nothing reads these bytes again: only the full comparison sees them.
#[test]
fn a_bit_that_flips_under_a_running_broker_is_found() {
    let mut world = World::new(&scenario(""));
    world.run_until(Instant::ZERO + Span::secs(8));
    world.compare();
    assert_eq!(world.checks.fired(), None);
    let at = world.index[&NodeId::Broker(2)];
    let log = "orders-0/00000000000000000000.log";
    assert!(world.hosts[at].store.disk.flip(log, Position(100), 3), "there is such a file");
    world.compare();
    assert_eq!(world.checks.fired().map(|violation| violation.invariant), Some("LOG-10"));
}

/// The same, by the comparison that every run makes now and then.
#[test]
fn everything_is_compared_now_and_then() {
    let mut world = World::new(&scenario(""));
    world.run_until(Instant::ZERO + Span::secs(8));
    let at = world.index[&NodeId::Broker(2)];
    assert!(world.hosts[at].store.disk.flip("orders-0/00000000000000000000.log", Position(100), 3));
    while world.entries() < 2 * super::COMPARE_EVERY && world.step() {}
    assert_eq!(world.checks.fired().map(|violation| violation.invariant), Some("LOG-10"));
}

/// Whatever is kept, it is the same run; and each number that is named belongs to an entry.
#[test]
fn entries_are_numbered_from_the_first_boot_on_and_notes_name_theirs() {
    let [mut watched, mut alone] = [Keep::All, Keep::Nothing].map(|keep| World::keeping(&scenario(""), keep));
    for world in [&mut watched, &mut alone] {
        world.run_until(Instant::ZERO + Span::secs(2));
    }
    let seen = |world: &World| (world.digest(), world.entries(), world.newest_entry());
    assert_eq!(seen(&watched), seen(&alone));
    let numbers: Vec<u64> = watched.trace.entries.iter().map(|entry| entry.number).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!((numbers.first(), numbers.last()), (Some(&1), Some(&watched.newest_entry())));
    for told in watched.trace.story.iter() {
        let of = numbers.binary_search(&told.entry).map(|at| watched.trace.entries.get(at as u64));
        assert_eq!(of.map(|entry| entry.map(|entry| (entry.at, entry.node))), Ok(Some((told.at, told.node))), "{told}");
    }
}

fn ends(actions: &str) -> (Option<&'static str>, bool) {
    let scenario = scenario(actions);
    let mut world = World::new(&scenario);
    world.run_until(rests_at(&scenario));
    let outcome = conclude(&mut world);
    let stuck = match outcome.verdict {
        Verdict::Stuck(violation) => Some(violation.invariant),
        Verdict::Clean => None,
        Verdict::Violated(violation) => panic!("{violation:?}"),
    };
    (stuck, outcome.at_rest)
}

#[test]
fn a_node_that_stopped_by_itself_is_missed_once_its_disk_is_good() {
    assert_eq!(ends("at 4s full-disk broker-2\nat 6s good-disk broker-2\nat 6s restart broker-2\n"), (None, true));
    assert_eq!(ends("at 4s full-disk broker-2\nat 6s good-disk broker-2\n"), (Some("LIVE-8"), true));
    assert_eq!(ends("at 4s full-disk broker-2\n"), (None, false), "nothing is healed");
    assert_eq!(ends("at 4s kill broker-2\n"), (None, true), "somebody wants it down, and the others can do without");
    assert_eq!(ends("at 4s kill keeper-1\nat 4s kill keeper-2\n"), (None, false), "and they cannot");
}

/// LeaderAndIsr names 300 partitions: each broker takes them a part at a time, and has all of them in the end.
#[test]
fn many_partitions_are_taken_a_part_at_a_time() {
    let text = "glasshouse scenario 1\nseed 3\ntopic many partitions 300 replicas 3 min-isr 2\nrun 10s\n";
    let mut world = World::new(&Scenario::parse(text).unwrap());
    let held = |world: &World| {
        let brokers = (1..=3).filter_map(|id| world.machine(NodeId::Broker(id)));
        let count = |node: &Node| if let Node::Broker(broker) = node { broker.partitions().count() } else { 0 };
        brokers.map(count).collect::<Vec<_>>()
    };
    let (mut before, mut most) = (held(&world), 0);
    while before != [300, 300, 300] {
        assert!(world.now() < Instant::ZERO + Span::secs(10) && world.step(), "{before:?}");
        let now = held(&world);
        most = now.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).chain([most]).max().unwrap();
        before = now;
    }
    assert!((8..=24).contains(&most), "{most} in one step");
    world.run_until(Instant::ZERO + Span::secs(10));
    let led = |world: &World| {
        let brokers = (1..=3).filter_map(|id| world.machine(NodeId::Broker(id)));
        let leads = |node: &Node| {
            if let Node::Broker(broker) = node {
                broker.partitions().filter(|here| here.leader().is_some()).count()
            } else {
                0
            }
        };
        brokers.map(leads).sum::<usize>()
    };
    assert_eq!(led(&world), 300);
    assert_eq!(world.checks.fired(), None);
}

/// What this broker answers at once, and with its next wake, to one request from a client and from a peer.
fn asked(broker: &Broker, now: Now, request: &Request) -> Vec<Response<LogRange>> {
    let (key, conn) = (request.key(), ConnId(99));
    let (version, channel) =
        (key.max_version(), Channel { peer: NodeId::Broker(2), kind: ChannelKind::Requests, generation: 9 });
    let body = RequestBody::Kafka(KafkaRequest { version, correlation: 7, client: None, body: request.clone() });
    let client = Input::Request { conn, request: node::Request { listener: 0, principal: Principal::Anonymous, body } };
    let peer = Input::Peer { channel, message: PeerMessage::Request { correlation: 7, request: request.clone() } };
    let mut answers = Vec::new();
    for inputs in [vec![client], vec![Input::Up { channel }, peer]] {
        let (mut broker, mut fx) = (broker.clone(), Effects::default());
        inputs.into_iter().chain([Input::Wake]).for_each(|input| broker.step(now, input, &mut fx));
        answers.extend(fx.effects.into_iter().filter_map(|effect| match effect {
            Effect::Reply { reply: Reply::Kafka { body, .. }, .. } => Some(body),
            Effect::Send { message: PeerMessage::Response { correlation: 7, response }, .. } => Some(response),
            _ => None,
        }));
    }
    answers
}

/// No request ends a broker, whoever sends it and whatever the broker is: just started, the controller, or not.
#[test]
fn every_request_is_taken_from_clients_and_peers() {
    let mut world = World::new(&scenario(""));
    let brokers = |world: &World| {
        let nodes = (1..=3).filter_map(|id| world.machine(NodeId::Broker(id)));
        let brokers =
            nodes.map(|node| if let Node::Broker(broker) = node { broker.clone() } else { panic!("a keeper") });
        brokers.collect::<Vec<_>>()
    };
    let mut all = brokers(&world);
    world.run_until(Instant::ZERO + Span::secs(8));
    all.extend(brokers(&world));
    assert_eq!(all.iter().filter(|broker| broker.controller_epoch().is_some()).count(), 1);
    let now = Now { at: world.now(), wall: UnixMillis(0) };
    for broker in &all {
        for key in ApiKey::ALL {
            let answers = asked(broker, now, &Request::empty(*key));
            assert!(answers.iter().all(|answer| answer.key() == *key), "{key:?}: {answers:?}");
        }
        let resources = vec![DescribeConfigsResource { resource_type: 2, ..Default::default() }];
        let request = DescribeConfigsRequest { resources, ..Default::default() }.into();
        let answers = asked(broker, now, &request);
        assert_eq!(answers.len(), 2);
        for answer in answers {
            let Response::DescribeConfigs(answer) = answer else { panic!("{answer:?}") };
            assert_eq!(answer.results[0].error, ErrorCode::UNSUPPORTED_VERSION);
        }
    }
}

/// A topic that a client asks for is being made, or it is told at once why not.
#[test]
fn a_topic_that_cannot_be_made_is_told_apart_from_one_that_is_being_made() {
    let text = "glasshouse scenario 1\nseed 3\nset brokers 2\ntopic a_b partitions 1 replicas 2 min-isr 1\nrun 10s\n";
    let mut world = World::new(&Scenario::parse(text).unwrap());
    world.run_until(Instant::ZERO + Span::secs(8));
    let now = Now { at: world.now(), wall: UnixMillis(0) };
    for id in 1..=2 {
        let Some(Node::Broker(broker)) = world.machine(NodeId::Broker(id)) else { panic!("no broker {id}") };
        let names = ["fresh", "not one", "a.b", "__consumer_offsets"];
        let topics = names.map(|name| MetadataTopic { name: Some(name.into()), ..Default::default() });
        let request =
            MetadataRequest { topics: Some(topics.into()), allow_auto_topic_creation: true, ..Default::default() };
        let answers = asked(broker, now, &request.into());
        assert_eq!(answers.len(), 2);
        for answer in answers {
            let Response::Metadata(answer) = answer else { panic!("{answer:?}") };
            let told: Vec<ErrorCode> = answer.topics.iter().map(|topic| topic.error).collect();
            let invalid = ErrorCode::INVALID_TOPIC_EXCEPTION;
            assert_eq!(
                told,
                [ErrorCode::LEADER_NOT_AVAILABLE, invalid, invalid, ErrorCode::INVALID_REPLICATION_FACTOR]
            );
        }
    }
}
