//! What must have come back.

use super::*;
use crate::api::command::{Command, TopicSpec};
use crate::broker::znodes::PartitionState;
use crate::check::isr::Partition;
use crate::check::liveness::{self, Led, Standing};
use crate::id::{ControllerEpoch, KeeperId, NodeId, SessionId, ZabEpoch, Zxid};
use crate::ordered::OrdSet;
use crate::time::Span;
use crate::zab::Role;

fn seen(run: impl FnOnce(&mut Findings)) -> Option<&'static str> {
    let mut find = Findings::default();
    run(&mut find);
    fired(&find)
}

#[test]
fn one_leader_whom_all_follow() {
    let leads = Role::Leading { epoch: ZabEpoch(1), established: true };
    let follows = |leader| Role::Following { leader: KeeperId(leader), serving: true };
    let check = |roles: [Role; 3]| {
        let standing = |(id, role)| Standing { id, role, applied: Zxid::ZERO, lags: Span::ZERO };
        let keepers: Vec<_> = (1..).map(KeeperId).zip(roles).map(standing).collect();
        seen(|find| liveness::ensemble(&keepers, Span::secs(1), find))
    };
    assert_eq!(check([leads, follows(1), follows(1)]), None);
    assert_eq!(check([Role::Looking, follows(1), follows(1)]), Some("LIVE-1"));
    assert_eq!(check([leads, Role::Looking, follows(1)]), Some("LIVE-1"));
    assert_eq!(check([leads, leads, follows(1)]), Some("LIVE-1"));
}

#[test]
fn one_controller_and_all_registered() {
    let one = Some(ControllerEpoch(3));
    assert_eq!(seen(|find| liveness::controller(&[(A, true, one), (B, true, None)], find)), None);
    assert_eq!(seen(|find| liveness::controller(&[(A, true, None)], find)), Some("LIVE-2"));
    assert_eq!(seen(|find| liveness::controller(&[(A, true, one), (B, false, None)], find)), Some("LIVE-7"));
}

fn led(high_watermark: i64, end: i64) -> Option<Led> {
    Some(Led { high_watermark, end, partition_epoch: 1 })
}

fn partition(isr: &[BrokerId], led: Option<Led>, still: bool) -> Option<&'static str> {
    let state = PartitionState {
        controller_epoch: ControllerEpoch(1),
        leader: Some(A),
        leader_epoch: LeaderEpoch(1),
        isr: isr.to_vec(),
        recovering: false,
    };
    let told = Partition { state: Some(state), version: 1, assigned: vec![A, B, C], ..Partition::default() };
    let live = OrdSet::from([A, B]);
    seen(|find| liveness::partition(&orders(), &told, &live, led, still, find))
}

#[test]
fn a_partition_is_led_in_sync_and_committed() {
    assert_eq!(partition(&[A, B], led(5, 5), true), None, "broker 3 is not there");
    assert_eq!(partition(&[A, B], led(4, 5), false), None, "a moment ago it moved");
    assert_eq!(partition(&[C], None, true), None, "nobody live is in the ISR");
    assert_eq!(partition(&[A, B, BrokerId(4)], led(5, 5), true), Some("ISR-1"), "a stray");
    assert_eq!(partition(&[A, B], None, true), Some("LIVE-3"));
    assert_eq!(partition(&[A], led(5, 5), true), Some("LIVE-4"), "K17");
    assert_eq!(partition(&[A, B, C], led(5, 5), true), Some("LIVE-9"), "broker 3 is down");
    let unaware = Some(Led { high_watermark: 5, end: 5, partition_epoch: 0 });
    assert_eq!(partition(&[A, B], unaware, true), Some("LIVE-10"));
    assert_eq!(partition(&[A, B], led(4, 5), true), Some("LIVE-5"), "K23");
}

#[test]
fn a_reassignment_that_is_called_off_may_leave_nobody_to_lead() {
    let state = |leader| PartitionState {
        controller_epoch: ControllerEpoch(1),
        leader,
        leader_epoch: LeaderEpoch(3),
        isr: vec![C],
        recovering: false,
    };
    let outcome = |leader, assigned: &[BrokerId]| {
        let told = Partition { state: Some(state(leader)), assigned: assigned.to_vec(), ..Partition::default() };
        let live = OrdSet::from([A, B, C]);
        seen(|find| liveness::partition(&orders(), &told, &live, None, true, find))
    };
    assert_eq!(outcome(None, &[A, B]), None);
    assert_eq!(outcome(None, &[A, B, C]), Some("LIVE-3"), "broker 3 may");
    assert_eq!(outcome(Some(C), &[A, B]), Some("LIVE-3"), "broker 3 should have been taken back");
}

/// Also within the epoch of its leader: it follows, it serves, and it applies nothing.
#[test]
fn a_keeper_that_stands_still() {
    let check = |lags| {
        let leads = Role::Leading { epoch: ZabEpoch(1), established: true };
        let follows = Role::Following { leader: KeeperId(1), serving: true };
        let at = |counter| Zxid::new(ZabEpoch(1), counter);
        let keepers = [
            Standing { id: KeeperId(1), role: leads, applied: at(9), lags: Span::ZERO },
            Standing { id: KeeperId(2), role: follows, applied: at(4), lags },
        ];
        seen(|find| liveness::ensemble(&keepers, Span::secs(1), find))
    };
    assert_eq!(check(Span::secs(1)), None);
    assert_eq!(check(Span::millis(1_001)), Some("LIVE-1"));
}

/// With one of three brokers down for good.
#[test]
fn a_topic_of_more_replicas_than_there_are_brokers_is_not_owed() {
    let topic = TopicSpec { name: "orders".into(), partitions: 1, replicas: 3, min_isr: 1, unclean: false };
    let create = Command::CreateTopic(topic);
    assert_eq!((liveness::can_be_done(&create, 3), liveness::can_be_done(&create, 2)), (true, false));
    assert!(liveness::can_be_done(&Command::ElectPreferred(orders()), 2));
}

#[test]
fn clients_are_answered_and_have_sessions() {
    let client = NodeId::Client(1);
    let waits = |waits| seen(|find| liveness::unanswered(client, waits, Span::secs(1), "3 records", find));
    assert_eq!((waits(None), waits(Some(Span::secs(1)))), (None, None));
    assert_eq!(waits(Some(Span::secs(2))), Some("LIVE-6"));
    assert_eq!(seen(|find| liveness::session(client, Some(SessionId(1)), |_| true, find)), None);
    assert_eq!(seen(|find| liveness::session(client, Some(SessionId(1)), |_| false, find)), Some("LIVE-7"));
}

#[test]
fn who_was_started_runs() {
    assert_eq!(seen(|find| liveness::started(&[], find)), None);
    assert_eq!(seen(|find| liveness::started(&[(NodeId::Broker(2), "the disk is full")], find)), Some("LIVE-8"));
}
