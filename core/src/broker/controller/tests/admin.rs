//! What operators ask for, and write into `/admin` themselves.

use super::*;

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
