//! What the ensemble holds of leaders, ISRs and controllers.

use super::*;
use crate::api::kafka::{
    self, AlterConfigsResource, AlterableConfig, ElectLeadersRequest, ElectLeadersTopic, IncrementalAlterConfigsRequest,
};
use crate::broker::znodes::{Assignment, PartitionState, TopicInfo, encode_configs, encode_controller_epoch};
use crate::check::isr::{Cluster, Known};
use crate::id::{BrokerEpoch, ControllerEpoch, NodeId, PartitionEpoch, Zxid};
use crate::ordered::OrdMap;
use crate::znode::{AclList, CreateKind, Txn, ZPath};
use bytes::Bytes;

const STATE: &str = "/brokers/topics/orders/partitions/0/state";

/// Without data as the controller writes wishes: a node may have none.
fn create(path: &str, data: impl Into<Option<Bytes>>) -> Txn {
    Txn::Create {
        kind: CreateKind::Plain,
        path: ZPath::parse(path).unwrap(),
        data: data.into(),
        acl: AclList::open(),
        ephemeral: false,
        parent_cversion: 1,
    }
}

fn set(path: &str, data: Bytes, version: i32) -> Txn {
    Txn::SetData { path: ZPath::parse(path).unwrap(), data: Some(data), version }
}

fn topic(replicas: &[BrokerId]) -> Bytes {
    TopicInfo { id: TopicId([1; 16]), partitions: OrdMap::from([(0, Assignment::of(replicas.to_vec()))]) }.encode()
}

fn state(leader: Option<BrokerId>, epoch: i32, isr: &[BrokerId], controller: i32) -> Bytes {
    PartitionState {
        controller_epoch: ControllerEpoch(controller),
        leader,
        leader_epoch: LeaderEpoch(epoch),
        isr: isr.to_vec(),
        recovering: false,
    }
    .encode()
}

/// A partition on brokers 1 and 2, led by 1 in epoch 0 under controller epoch 1; then these transactions.
fn after(txns: &[Txn]) -> (Cluster, Findings) {
    let (mut cluster, mut find) = (Cluster::default(), Findings::default());
    let before = [
        create("/controller_epoch", encode_controller_epoch(ControllerEpoch(1))),
        create("/brokers/topics/orders", topic(&[A, B])),
        create(STATE, state(Some(A), 0, &[A, B], 1)),
    ];
    for (at, txn) in before.iter().chain(txns).enumerate() {
        cluster.on_committed(Zxid(at as u64), txn, &mut find);
    }
    (cluster, find)
}

fn outcome(txns: &[Txn]) -> Option<&'static str> {
    fired(&after(txns).1)
}

/// What the checker says of broker 1's knowledge, while the znode has epoch 3, version 5 and both brokers in sync.
fn known(topic: u8, leader_epoch: i32, partition_epoch: i32, isr: Option<&[BrokerId]>) -> Option<&'static str> {
    let (cluster, mut find) = after(&[set(STATE, state(Some(A), 3, &[A, B], 1), 5)]);
    let (leader_epoch, partition_epoch) = (LeaderEpoch(leader_epoch), PartitionEpoch(partition_epoch));
    let known = Known { topic_id: TopicId([topic; 16]), leader_epoch, partition_epoch, isr };
    cluster.judge_known(&orders(), A, known, &mut find);
    fired(&find)
}

#[test]
fn no_replica_is_ahead_of_its_znode() {
    assert_eq!(known(1, 3, 5, Some(&[B, A])), None, "in another order");
    assert_eq!(known(1, 3, 4, Some(&[A])), None, "it has not heard of the newest");
    assert_eq!(known(1, 2, 4, None), None, "a follower");
    assert_eq!(known(2, 9, 9, Some(&[A])), None, "of another topic of that name");
    assert_eq!(known(1, 3, 5, Some(&[A])), Some("ISR-6"), "another ISR under that version");
    assert_eq!(known(1, 3, 6, Some(&[A, B])), Some("ISR-6"), "a version that was never written");
    assert_eq!(known(1, 4, 5, None), Some("ISR-6"), "an epoch that was never written");
}

#[test]
fn a_deletion_is_a_wish_until_it_is_done() {
    let wish = "/admin/delete_topics/orders";
    let (mut cluster, mut find) = after(&[create(wish, None)]);
    assert!(cluster.is_being_deleted("orders") && !cluster.is_being_deleted("events"));
    cluster.on_committed(Zxid(9), &Txn::Delete { path: ZPath::parse(wish).unwrap() }, &mut find);
    assert!(!cluster.is_being_deleted("orders"));
}

/// Two brokers, and min.insync.replicas is 2.
#[test]
fn a_write_is_owed_while_enough_are_in_sync() {
    let settings = encode_configs(&OrdMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]));
    let takes = |leader, isr: &[BrokerId]| {
        let settings = create("/config/topics/orders", settings.clone());
        after(&[settings, set(STATE, state(leader, 1, isr, 1), 1)]).0.takes_writes(&orders())
    };
    assert!(takes(Some(A), &[A, B]));
    assert!(!takes(Some(A), &[A]));
    assert!(!takes(None, &[A, B]));
    assert!(!after(&[]).0.takes_writes(&TopicPartition::new("not-there", 0)));
    let wish = create("/admin/delete_topics/orders", None);
    assert!(!after(&[wish, set(STATE, state(Some(A), 1, &[A, B], 1), 1)]).0.takes_writes(&orders()));
}

#[test]
fn the_leader_is_in_the_isr_and_the_isr_assigned() {
    assert_eq!(outcome(&[set(STATE, state(Some(A), 0, &[A], 1), 1)]), None);
    assert_eq!(outcome(&[set(STATE, state(None, 1, &[A], 1), 1)]), None, "no leader is legal");
    assert_eq!(outcome(&[set(STATE, state(Some(A), 1, &[B], 1), 1)]), Some("ISR-1"));
    assert_eq!(outcome(&[set(STATE, state(None, 1, &[], 1), 1)]), Some("ISR-1"));
    assert_eq!(outcome(&[set(STATE, state(Some(A), 0, &[A, C], 1), 1)]), Some("ISR-1"));
    assert_eq!(outcome(&[set("/brokers/topics/orders", topic(&[A]), 1)]), Some("ISR-1"), "2 is still in the ISR");
}

/// Called off, a reassignment's new replicas leave the ISR after the assignment is written (C.3).
#[test]
fn a_replica_of_a_reassignment_that_was_called_off_may_linger_in_the_isr() {
    let moving = Assignment { replicas: vec![A, B, C], adding: vec![C], removing: vec![] };
    let moving = TopicInfo { id: TopicId([1; 16]), partitions: OrdMap::from([(0, moving)]) }.encode();
    let topic_node = "/brokers/topics/orders";
    let joined = [set(topic_node, moving, 1), set(STATE, state(Some(A), 1, &[A, B, C], 1), 1)];
    let then = |more: &[Txn]| outcome(&[&joined[..], more].concat());
    let called_off = set(topic_node, topic(&[A, B]), 2);
    let left = set(STATE, state(Some(A), 2, &[A, B], 1), 2);
    assert_eq!(then(&[called_off.clone(), left.clone()]), None);
    let back = set(STATE, state(Some(A), 2, &[A, B, C], 1), 3);
    assert_eq!(then(&[called_off, left, back]), Some("ISR-1"), "it does not come back");
    assert_eq!(then(&[set(topic_node, topic(&[A, C]), 2)]), Some("ISR-1"), "broker 2 was not being added");
}

#[test]
fn a_reassignment_that_is_called_off_may_drop_the_whole_isr() {
    let moving = Assignment { replicas: vec![A, B, C], adding: vec![C], removing: vec![] };
    let moving = TopicInfo { id: TopicId([1; 16]), partitions: OrdMap::from([(0, moving)]) }.encode();
    let topic_node = "/brokers/topics/orders";
    let dropped = |isr: &[BrokerId]| {
        let joined = [set(topic_node, moving.clone(), 1), set(STATE, state(Some(C), 1, isr, 1), 1)];
        let (mut cluster, find) = after(&[&joined[..], &[set(topic_node, topic(&[A, B]), 2)]].concat());
        assert_eq!(fired(&find), None);
        cluster.take_dropped()
    };
    assert_eq!(dropped(&[C]), [(orders(), LeaderEpoch(1))]);
    assert_eq!(dropped(&[C, A]), []);
}

#[test]
fn who_joins_an_isr_before_its_restart_is_seen_is_noted() {
    let joins = |is_taken_in: bool| {
        let (mut cluster, mut find) = after(&[set(STATE, state(Some(A), 0, &[A], 1), 1)]);
        cluster.on_restarted(B);
        if is_taken_in {
            cluster.on_taken_in(B);
        }
        cluster.on_committed(Zxid::ZERO, &set(STATE, state(Some(A), 0, &[A, B], 1), 2), &mut find);
        cluster.take_unaware()
    };
    assert_eq!(joins(false), [(orders(), B)]);
    assert_eq!(joins(true), []);
}

#[test]
fn epochs_only_rise() {
    assert_eq!(outcome(&[set(STATE, state(Some(B), 1, &[A, B], 1), 1)]), None);
    assert_eq!(outcome(&[set(STATE, state(Some(B), 0, &[A, B], 1), 1)]), Some("ISR-3"), "a new leader, the same epoch");
    assert_eq!(outcome(&[set(STATE, state(Some(A), -1, &[A, B], 1), 1)]), Some("ISR-3"));
    assert_eq!(outcome(&[set(STATE, state(Some(A), 1, &[A, B], 1), 0)]), Some("ISR-3"), "the version stands still");
}

#[test]
fn controllers_are_fenced() {
    let next = set("/controller_epoch", encode_controller_epoch(ControllerEpoch(2)), 1);
    assert_eq!(outcome(&[next.clone(), set(STATE, state(Some(B), 1, &[B], 2), 1)]), None);
    assert_eq!(outcome(&[next.clone(), set(STATE, state(Some(B), 1, &[B], 1), 1)]), Some("CTL-2"), "K15");
    assert_eq!(outcome(&[next.clone(), next]), Some("CTL-1"));
}

#[test]
fn a_failed_multi_changes_nothing() {
    let multi = Txn::Multi(vec![Txn::Error(-103), set(STATE, state(Some(B), 0, &[], 1), 1)]);
    assert_eq!(outcome(&[multi]), None);
    let multi = Txn::Multi(vec![set(STATE, state(Some(B), 0, &[], 1), 1)]);
    assert_eq!(outcome(&[multi]), Some("ISR-1"));
}

#[test]
fn one_controller_and_one_registration_each() {
    let (mut cluster, mut find) = after(&[]);
    cluster.on_controller(NodeId::Broker(1), ControllerEpoch(1), &mut find);
    cluster.on_controller(NodeId::Broker(2), ControllerEpoch(2), &mut find);
    assert_eq!(fired(&find), None);
    cluster.on_controller(NodeId::Broker(3), ControllerEpoch(2), &mut find);
    assert_eq!(fired(&find), Some("CTL-3"));

    let (mut cluster, mut find) = after(&[]);
    cluster.on_registered(A, BrokerEpoch(7), &mut find);
    cluster.on_registered(A, BrokerEpoch(9), &mut find);
    assert_eq!(fired(&find), None);
    cluster.on_registered(A, BrokerEpoch(9), &mut find);
    assert_eq!(fired(&find), Some("CTL-5"));
}

#[test]
fn a_leader_from_outside_the_isr_is_an_unclean_election() {
    let (mut cluster, _) = after(&[
        set(STATE, state(Some(A), 0, &[A], 1), 1),
        set(STATE, state(None, 1, &[A], 1), 2),
        set(STATE, state(Some(B), 2, &[B], 1), 3),
    ]);
    let unclean = cluster.take_unclean();
    assert_eq!(unclean, [(orders(), LeaderEpoch(2))]);
    let judge = |allowed| {
        let mut find = Findings::default();
        crate::check::judge_unclean(&unclean[0].0, unclean[0].1, allowed, &mut find);
        fired(&find)
    };
    assert_eq!(judge(true), None);
    assert_eq!(judge(false), Some("CTL-4"));
}

/// An operator's wish is for one election of one partition; a setting is for its topic.
#[test]
fn an_unclean_election_is_allowed_where_it_was_asked_for() {
    let elect = |partition: i32| {
        kafka::Request::from(ElectLeadersRequest {
            election_type: 1,
            topics: Some(vec![ElectLeadersTopic {
                name: "orders".into(),
                partitions: vec![partition],
                ..Default::default()
            }]),
            ..Default::default()
        })
    };
    let set = |topic: &str, key: &str, value: &str| {
        kafka::Request::from(IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 2,
                resource_name: topic.to_owned(),
                configs: vec![AlterableConfig {
                    name: key.to_owned(),
                    value: Some(value.to_owned()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        })
    };
    let allowed = |requests: &[kafka::Request]| {
        let (mut cluster, _) = after(&[]);
        for request in requests {
            cluster.on_asked(request);
        }
        [cluster.was_unclean_asked(&orders()), cluster.was_unclean_asked(&orders())]
    };
    let unclean = "unclean.leader.election.enable";
    assert_eq!(allowed(&[]), [false, false]);
    assert_eq!(allowed(&[elect(0)]), [true, false]);
    assert_eq!(allowed(&[elect(1)]), [false, false], "another partition");
    assert_eq!(allowed(&[set("orders", unclean, "true")]), [true, true]);
    assert_eq!(allowed(&[set("orders", unclean, "false")]), [false, false]);
    assert_eq!(allowed(&[set("events", unclean, "true")]), [false, false], "another topic");
    assert_eq!(allowed(&[set("orders", "segment.bytes", "2000")]), [false, false], "another setting");
}

/// What a topic asks for is taken from its znode, never from the broker that is judged; the least of it since the topic was
/// made, for a change reaches its leader late.
#[test]
fn how_many_replicas_a_topic_asks_for() {
    let config = "/config/topics/orders";
    let min = |value: &str| encode_configs(&OrdMap::from([("min.insync.replicas".to_owned(), value.to_owned())]));
    let asked = |txns: &[Txn]| after(txns).0.min_isr("orders", 3);
    assert_eq!(asked(&[]), 1);
    assert_eq!(asked(&[create(config, min("2"))]), 2);
    assert_eq!(asked(&[create(config, min("5"))]), 3, "no more than there are");
    assert_eq!(asked(&[create(config, min("2")), set(config, min("3"), 1)]), 2);
    assert_eq!(asked(&[create(config, min("2")), set(config, encode_configs(&OrdMap::new()), 1)]), 1);
    let gone = Txn::Delete { path: ZPath::parse(config).unwrap() };
    assert_eq!(asked(&[create(config, min("1")), gone, create(config, min("2"))]), 2, "another of its name");
}

#[test]
fn nothing_is_committed_below_min_isr() {
    let judge = |in_sync, needed| {
        let mut find = Findings::default();
        crate::check::judge_in_sync(A, &orders(), Offset(3), in_sync, needed, &mut find);
        fired(&find)
    };
    assert_eq!(judge(2, 2), None);
    assert_eq!(judge(1, 2), Some("ISR-5"), "K24");
}
