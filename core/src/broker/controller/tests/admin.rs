//! What operators ask for, and write into `/admin` themselves.

use super::*;
use crate::api::kafka::{AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest};
use crate::broker::topic_names;

/// `delete.topic.enable=false`: a wish is taken back whoever wrote it, also one from before this controller.
#[test]
fn a_deletion_that_is_not_allowed_is_taken_back() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    let forbid = Settings { delete_topic_enable: false, ..Settings::default() };
    world.controllers.values_mut().for_each(|controller| controller.set_settings(forbid.clone()));
    let wish = |world: &mut World, topic: &str| {
        world.create(0, &znodes::delete_topic(topic), None, CreateMode::Persistent).unwrap();
    };
    wish(&mut world, "t");
    wish(&mut world, "nothing");
    world.settle();
    assert_eq!(world.children(znodes::DELETE_TOPICS), Vec::<Arc<str>>::new());
    assert_eq!(world.state("t"), "2 of 2,3 at 0/1, v0");
    world.frozen = Some(1);
    wish(&mut world, "t");
    world.settle();
    world.kill(1);
    assert_eq!(world.active(), 2);
    assert_eq!(world.children(znodes::DELETE_TOPICS), Vec::<Arc<str>>::new());
    assert_eq!(world.state("t"), "2 of 2,3 at 0/1, v0");
}

/// The old tool writes every partition into the znode.
#[test]
fn who_leads_already_is_not_elected_by_the_znode() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("led", &[3, 2]);
    world.create_topic("t", &[2, 3]);
    world.kill(2);
    world.start(2);
    assert_eq!(world.alter(3, "t", 1, 1, &[3, 2]), ErrorCode::NONE);
    let before = world.state("led");
    let all = br#"{"version":1,"partitions":[{"topic":"led","partition":0},{"topic":"t","partition":0},{"topic":"no","partition":0}]}"#;
    let data = Some(Bytes::from_static(all));
    world.create(0, znodes::PREFERRED_ELECTION, data, CreateMode::Persistent).unwrap();
    world.settle();
    assert_eq!(world.state("led"), before);
    assert_eq!(world.state("t"), "2 of 3,2 at 2/1, v3");
    assert!(!world.nodes.contains_key(znodes::PREFERRED_ELECTION));
}

/// Whatever is asked is answered, in the shape of its own API.
#[test]
fn every_request_of_a_controller_is_answered() {
    for key in kafka::ApiKey::ALL {
        let request = Request::empty(*key);
        if !Controller::wants(&request) {
            continue;
        }
        for of in [1, 2] {
            let mut world = World::new(&[1, 2, 3]);
            assert_eq!(world.ask(of, 5, key.max_version(), request.clone()).key(), *key);
        }
    }
}

/// A dead broker may stay a replica, but is not made one; nor is one that is about to stop.
#[test]
fn a_partition_moves_only_to_brokers_that_live() {
    let mut world = World::new(&[1, 2, 3, 4]);
    world.create_topic("t", &[1, 2]);
    let reassign = |world: &mut World, to: &[i32]| {
        let replicas = Some(to.iter().map(|id| BrokerId(*id)).collect());
        let partitions = vec![ReassignablePartition { partition: 0, replicas, ..Default::default() }];
        let topics = vec![ReassignableTopic { name: "t".into(), partitions, ..Default::default() }];
        let answer = world.ask(1, 5, 0, AlterPartitionReassignmentsRequest { topics, ..Default::default() });
        let Response::AlterPartitionReassignments(answer) = answer else { panic!("{answer:?}") };
        answer.topics[0].partitions[0].error
    };
    assert_eq!(reassign(&mut world, &[1, 9]), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    assert_eq!(
        reassign(&mut world, &[1, 3]),
        ErrorCode::NONE,
        "3 cannot catch up here, and is being added from now on"
    );
    world.kill(3);
    assert_eq!(reassign(&mut world, &[3, 1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT, "it is being added, and is dead");
    let request =
        ControlledShutdownRequest { broker_id: BrokerId(4), broker_epoch: world.broker_epoch(4), ..Default::default() };
    let _ = world.ask(1, 6, 3, request);
    assert_eq!(reassign(&mut world, &[1, 4]), ErrorCode::INVALID_REPLICA_ASSIGNMENT, "it stops");
    world.kill(2);
    assert_eq!(reassign(&mut world, &[2, 1]), ErrorCode::NONE, "it was a replica before");
}

fn plain(name: &str) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 2, ..CreatableTopic::default() }
}

fn error_of(answer: &Response<LogRange>) -> ErrorCode {
    match answer {
        Response::CreateTopics(answer) => answer.topics[0].error,
        Response::DeleteTopics(answer) => answer.topics[0].error,
        other => panic!("{other:?}"),
    }
}

/// It is done, but nobody has waited to see it.
#[test]
fn without_a_time_to_wait_nothing_is_known_to_have_happened() {
    let mut world = World::new(&[1, 2, 3]);
    let create =
        |name: &str, timeout_ms| CreateTopicsRequest { topics: vec![plain(name)], timeout_ms, ..Default::default() };
    let delete = |timeout_ms| DeleteTopicsRequest { names: vec!["t".into()], timeout_ms, ..Default::default() };
    assert_eq!(error_of(&world.ask(1, 5, 7, create("t", 0))), ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(error_of(&world.ask(1, 5, 7, create("t", 0))), ErrorCode::TOPIC_ALREADY_EXISTS);
    let dry = CreateTopicsRequest { validate_only: true, ..create("u", 0) };
    assert_eq!(error_of(&world.ask(1, 5, 7, dry)), ErrorCode::NONE);
    assert_eq!(error_of(&world.ask(1, 5, 5, delete(-1))), ErrorCode::REQUEST_TIMED_OUT);
    assert!(!world.nodes.contains_key(&znodes::topic("t")));
    assert_eq!(error_of(&world.ask(1, 5, 7, create("t", 1000))), ErrorCode::NONE);
    assert_eq!(world.make_here(2, plain("here")), ErrorCode::NONE);
}

/// Its successor deletes the topic. This one has not seen it go.
#[test]
fn what_waits_when_the_office_is_lost_is_not_answered_as_done() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    world.kill(3);
    let request = DeleteTopicsRequest { names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    let mut fx = Effects::default();
    let controller = world.controllers.get_mut(&1).unwrap();
    controller.on_request(World::now(), 5, 5, request.into(), &mut fx);
    world.perform(1, fx);
    world.settle();
    assert!(!world.replies.contains_key(&5), "it waits for broker 3");
    let mut fx = Effects::default();
    world.controllers.get_mut(&1).unwrap().on_expired(World::now(), &mut fx);
    world.perform(1, fx);
    assert_eq!(error_of(&world.replies[&5]), ErrorCode::REQUEST_TIMED_OUT);
}

/// What is known at once is said at once; it is not asked for again and again.
#[test]
fn what_cannot_be_made_is_not_begun() {
    let mut world = World::new(&[1, 2]);
    let offsets = topic_names::creatable(&topic_names::CONSUMER_OFFSETS.into(), &Settings::default());
    assert_eq!(world.make_here(2, offsets.clone()), ErrorCode::INVALID_REPLICATION_FACTOR, "it wants three brokers");
    let many = CreatableTopic { num_partitions: 20_000, ..plain("many") };
    assert_eq!(world.make_here(1, many), ErrorCode::INVALID_PARTITIONS);
    world.start(3);
    assert_eq!(world.make_here(2, offsets), ErrorCode::NONE);
    let info = TopicInfo::decode(world.nodes[&znodes::topic("__consumer_offsets")].data.as_ref().unwrap()).unwrap();
    assert_eq!(info.partitions.len(), 50);
    let configs = world.nodes[&znodes::config("topics", "__consumer_offsets")].data.clone().unwrap();
    assert_eq!(znodes::decode_configs(&configs).unwrap()["cleanup.policy"], "compact");
}

/// Kafka's metrics could not tell them apart (Topic.hasCollision).
#[test]
fn names_that_differ_in_dots_and_underscores_only_collide() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("a.b", &[2, 3]);
    assert_eq!(world.ask_for_topics(vec![plain("a_b")]), [ErrorCode::INVALID_TOPIC_EXCEPTION]);
    assert_eq!(world.ask_for_topics(vec![plain("a.b")]), [ErrorCode::TOPIC_ALREADY_EXISTS]);
    assert_eq!(world.ask_for_topics(vec![plain("a-b")]), [ErrorCode::NONE]);
    let both = vec![plain("c_d.e"), plain("c.d_e")];
    let dry = CreateTopicsRequest { topics: both.clone(), validate_only: true, ..Default::default() };
    let Response::CreateTopics(answer) = world.ask(1, 5, 7, dry) else { panic!("another answer") };
    assert!(answer.topics.iter().all(|topic| topic.error.is_none()), "{:?}", answer.topics);
    assert_eq!(world.ask_for_topics(both), [ErrorCode::INVALID_TOPIC_EXCEPTION, ErrorCode::NONE]);
    assert_eq!(world.make_here(2, plain("a_b")), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(world.make_here(2, plain("a.b")), ErrorCode::TOPIC_ALREADY_EXISTS);
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// One change of a topic's setting; the setting after it.
fn change(world: &mut World, name: &str, operation: i8, value: &str) -> Result<Option<String>, ErrorCode> {
    let value = Some(value.to_owned());
    let configs = vec![AlterableConfig { name: name.to_owned(), operation, value, ..Default::default() }];
    alter(world, 2, "t", configs)?;
    let data = world.nodes[&znodes::config("topics", "t")].data.clone().unwrap();
    Ok(znodes::decode_configs(&data).unwrap().get(name).cloned())
}

fn alter(world: &mut World, kind: i8, name: &str, configs: Vec<AlterableConfig>) -> Result<(), ErrorCode> {
    let (resource_type, resource_name) = (kind, name.to_owned());
    let resources = vec![AlterConfigsResource { resource_type, resource_name, configs, ..Default::default() }];
    let answer = world.ask(2, 5, 1, IncrementalAlterConfigsRequest { resources, ..Default::default() });
    let Response::IncrementalAlterConfigs(answer) = answer else { panic!("{answer:?}") };
    let error = answer.responses[0].error;
    if error.is_error() { Err(error) } else { Ok(()) }
}

/// ConfigAdminManager.prepareIncrementalConfigs.
#[test]
fn items_are_added_to_lists_only_and_to_their_defaults() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    let mut of = |name: &str, operation: i8, value: &str| change(&mut world, name, operation, value);
    let is = |value: &str| Ok(Some(value.to_owned()));
    assert_eq!(of("cleanup.policy", APPEND, "compact"), is("delete,compact"));
    assert_eq!(of("cleanup.policy", APPEND, "compact"), is("delete,compact"));
    assert_eq!(of("cleanup.policy", SUBTRACT, "delete"), is("compact"));
    assert_eq!(of("cleanup.policy", DELETE, ""), Ok(None));
    assert_eq!(of("cleanup.policy", SUBTRACT, "delete"), is(""));
    assert_eq!(of("leader.replication.throttled.replicas", APPEND, "0:1"), is("0:1"));
    let invalid = Err(ErrorCode::INVALID_CONFIG);
    assert_eq!(of("cleanup.policy", APPEND, "burn"), invalid);
    assert_eq!(of("retention.ms", APPEND, "5"), invalid);
    assert_eq!(of("compression.type", SET, "banana"), invalid);
    assert_eq!(of("max.compaction.lag.ms", SET, "5"), is("5"));
    assert_eq!(of("min.compaction.lag.ms", SET, "6"), invalid);
    assert_eq!(of("retention.ms", 4, "5"), Err(ErrorCode::INVALID_REQUEST));
}

#[test]
fn what_names_no_resource_is_refused() {
    let mut world = World::new(&[1, 2, 3]);
    let one = |value: Option<&str>| AlterableConfig {
        name: "min.insync.replicas".to_owned(),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let mut of = |kind: i8, name: &str, configs: Vec<AlterableConfig>| alter(&mut world, kind, name, configs);
    assert_eq!(of(2, "", vec![one(Some("2"))]), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(of(2, "a/b", vec![one(Some("2"))]), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(of(4, "first", vec![one(Some("2"))]), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(of(8, "", vec![one(Some("2"))]), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(of(4, "", vec![one(None)]), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(of(4, "", vec![one(Some("2")), one(Some("3"))]), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(of(4, "", vec![one(Some("2"))]), Ok(()));
}

/// Its deletion would leave the move without a leader, and a later controller waiting for both.
#[test]
fn a_topic_that_is_being_moved_is_deleted_afterwards() {
    let mut world = moving();
    let request = DeleteTopicsRequest { names: vec!["re".into()], timeout_ms: 0, ..Default::default() };
    let _ = world.ask(1, 6, 5, request);
    world.kill(2);
    world.start(2);
    assert!(!world.sent.iter().any(|sent| sent.contains("delete")), "{:?}", world.sent);
    assert_eq!(world.state("re"), "1 of 1 at 2/1, v2");
    assert_eq!(world.alter(1, "re", 2, 2, &[1, 2, 3]), ErrorCode::NONE);
    assert!(!world.nodes.contains_key(&znodes::topic("re")));
}

/// A broker starts anew while it deletes. What it said before is heard after it was asked again (seed 7579).
#[test]
fn a_refusal_from_before_a_restart_holds_up_no_deletion() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    world.damaged = Some(3);
    let request = DeleteTopicsRequest { names: vec!["t".into()], timeout_ms: 0, ..Default::default() };
    let _ = world.ask(1, 6, 5, request);
    world.release();
    assert!(world.sent.contains(&"3 Stop t-0@-2 delete".to_owned()), "{:?}", world.sent);
    world.frozen = Some(1);
    world.kill(3);
    world.start(3);
    world.frozen = None;
    world.damaged = None;
    world.release();
    assert!(!world.nodes.contains_key(&znodes::topic("t")));
}

/// Whether a log can be used is for the registration to say that the broker has now.
#[test]
fn a_log_that_was_broken_before_a_restart_is_not_broken() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    let before = world.broker_epoch(3);
    world.kill(3);
    world.start(3);
    let replica = (TopicPartition::new("t", 0), BrokerId(3));
    for (epoch, is_broken) in [(before, false), (world.broker_epoch(3), true)] {
        let what = Learned::Logs { broken: vec![replica.clone()], mended: vec![] };
        let controller = world.controllers.get_mut(&1).unwrap();
        controller.events.push_back(Event::Learned { by: (BrokerId(3), epoch), what });
        controller.run(World::now(), &mut Effects::default());
        assert_eq!(controller.context.broken.contains(&replica), is_broken);
    }
}

/// Where the broker that it goes to never comes back, its move is called off, and then it is deleted.
#[test]
fn the_move_of_a_topic_that_is_to_be_deleted_can_be_called_off() {
    let mut world = moving();
    let request = DeleteTopicsRequest { names: vec!["re".into()], timeout_ms: 0, ..Default::default() };
    let _ = world.ask(1, 6, 5, request);
    world.kill(3);
    let mut change = |replicas: Option<Vec<BrokerId>>| {
        let partitions = vec![ReassignablePartition { partition: 0, replicas, ..Default::default() }];
        let topics = vec![ReassignableTopic { name: "re".into(), partitions, ..Default::default() }];
        let answer = world.ask(1, 7, 0, AlterPartitionReassignmentsRequest { topics, ..Default::default() });
        let Response::AlterPartitionReassignments(answer) = answer else { panic!("{answer:?}") };
        answer.topics[0].partitions[0].error
    };
    assert_eq!(change(Some(vec![BrokerId(1)])), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(change(None), ErrorCode::NONE);
    assert!(!world.nodes.contains_key(&znodes::topic("re")));
}

/// The broker that the topic is moved away from cannot delete its copy, which is no part of the topic any more. The
/// controller hears of it while the deletion waits for a broker that has started anew (seed 848).
#[test]
fn what_a_move_leaves_behind_does_not_hold_up_a_deletion() {
    let mut world = moving();
    let request = DeleteTopicsRequest { names: vec!["re".into()], timeout_ms: 0, ..Default::default() };
    let _ = world.ask(1, 6, 5, request);
    world.damaged = Some(1);
    assert_eq!(world.alter(1, "re", 1, 1, &[1, 2, 3]), ErrorCode::NONE);
    world.release();
    assert!(world.sent.contains(&"1 Stop re-0@3 delete".to_owned()), "{:?}", world.sent);
    world.kill(3);
    world.start(3);
    while !world.late.is_empty() {
        assert!(world.nodes.contains_key(&znodes::topic("re")));
        world.release();
    }
    assert!(!world.nodes.contains_key(&znodes::topic("re")));
}

#[test]
fn a_topic_is_deleted_leaf_by_leaf() {
    let mut world = World::new(&[1, 2, 3]);
    world.create_topic("t", &[2, 3]);
    let request = DeleteTopicsRequest { names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    let Response::DeleteTopics(answer) = world.ask(1, 5, 5, request) else { panic!("another answer") };
    assert_eq!(answer.topics[0].error, ErrorCode::NONE);
    assert!(!world.nodes.keys().any(|path| path.ends_with("/t")), "{:?}", world.nodes);
    // A topic with a dead replica waits for it.
    world.create_topic("u", &[2, 3]);
    world.kill(3);
    let request = DeleteTopicsRequest { names: vec!["u".into()], timeout_ms: 0, ..Default::default() };
    let _ = world.ask(1, 6, 5, request);
    assert!(world.nodes.contains_key(&znodes::topic("u")));
    world.start(3);
    assert!(!world.nodes.contains_key(&znodes::topic("u")));
}
