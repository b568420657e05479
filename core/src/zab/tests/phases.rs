//! Each phase, and each way out of it.

use super::*;

#[test]
fn three_keepers_elect_the_highest_id_and_commit() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    assert_eq!(world.run_to_leader(), 3);
    assert_eq!(world.role(1), Role::Following { leader: KeeperId(3), serving: true });
    world.commit(3, &["a", "b"]);
    for id in [1, 2, 3] {
        assert_eq!((world.tree(id), world.peer(id).committed()), ("a b".to_owned(), z(1, 2)));
        assert_eq!(world.peer(id).durable(), z(1, 2));
    }
}

#[test]
fn the_packets_of_a_first_election() {
    let mut world = Ensemble::new(&[1, 2]);
    world.start(&[1, 2]);
    assert_eq!(world.run_to_leader(), 2);
    assert_eq!(
        world.told(SYNC),
        // The first FOLLOWERINFO comes before keeper-2 has decided: it hangs up, and keeper-1 tries again.
        "\
keeper-1 → keeper-2 FOLLOWERINFO
keeper-1 → keeper-2 FOLLOWERINFO
keeper-2 → keeper-1 LEADERINFO 1:0
keeper-1 → keeper-2 ACKEPOCH
keeper-2 brings keeper-1 from 0:0 to 0:0 by DIFF
keeper-2 → keeper-1 DIFF
keeper-2 → keeper-1 NEWLEADER 1:0
keeper-1 → keeper-2 ACK 1:0
keeper-2 → keeper-1 UPTODATE
keeper-1 → keeper-2 ACK 1:0"
    );
    world.commit(2, &["a"]);
    assert_eq!(
        world.told(&[""]),
        "\
keeper-2 proposes 1:1
keeper-2 → keeper-1 PROPOSAL 1:1
keeper-1 → keeper-2 ACK 1:1
keeper-2 knows 1:1 as committed
keeper-2 → keeper-1 COMMIT 1:1
keeper-1 knows 1:1 as committed"
    );
}

#[test]
fn a_crashed_leader_is_replaced_and_its_return_finds_the_new_one() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.crash(3, false);
    assert_eq!(world.run_to_leader(), 2);
    world.commit(2, &["b"]);
    assert_eq!(world.peer(2).last_zxid(), z(2, 1));
    world.told(&[]);
    world.start(&[3]);
    world.run(Span::secs(2));
    assert_eq!(world.role(3), Role::Following { leader: KeeperId(2), serving: true });
    assert_eq!((world.tree(1), world.tree(3)), ("a b".to_owned(), "a b".to_owned()));
    assert!(world.told(&["brings"]).contains("brings keeper-3 from 1:1 to 2:1 by DIFF"));
}

#[test]
fn a_learner_that_lags_beyond_memory_is_served_from_the_journal() {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| {
        config.commit_log_count = 2;
        config.load_bytes = 3;
    });
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.crash(1, false);
    world.commit(3, &["b", "c", "d", "e", "f", "g"]);
    assert!(world.peer(3).history().floor() > z(1, 3));
    world.start(&[1]);
    world.run(Span::secs(2));
    assert_eq!(world.told(&["brings keeper-1 from 1"]), "keeper-3 brings keeper-1 from 1:1 to 1:7 by DIFF from disk");
    assert_eq!(world.tree(1), "a b c d e f g");
}

#[test]
fn a_learner_that_lags_beyond_the_journal_gets_the_database() {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.commit_log_count = 1);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.crash(1, false);
    world.commit(3, &["b", "c", "d"]);
    world.snapshot(3);
    world.start(&[1]);
    world.run(Span::secs(2));
    assert_eq!(
        world.told(&["brings keeper-1 from 1", "database"]),
        "\
keeper-3 brings keeper-1 from 1:1 to 1:4 by SNAP
keeper-1 takes its leader's database as of 1:4 in place of its own"
    );
    world.commit(3, &["e"]);
    assert_eq!(world.tree(1), "a b c d e");
    // What came by SNAP survives a power loss at once.
    world.crash(1, true);
    world.start(&[1]);
    world.run(Span::secs(2));
    assert_eq!(world.tree(1), "a b c d e");
}

#[test]
fn what_a_dead_leader_proposed_alone_is_truncated() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.held.extend([(3, 1), (3, 2)]);
    world.propose(3, "lost");
    world.settle();
    world.crash(3, false);
    world.held.clear();
    assert_eq!(world.run_to_leader(), 2);
    world.start(&[3]);
    world.run(Span::secs(2));
    assert!(world.told(&["brings"]).ends_with("brings keeper-3 from 1:2 to 1:1 by TRUNC"));
    world.commit(2, &["b"]);
    assert_eq!((world.tree(3), world.peer(3).durable()), ("a b".to_owned(), z(2, 1)));
}

#[test]
fn a_divergent_history_of_an_older_epoch_is_replaced() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.held.extend([(3, 1), (3, 2)]);
    world.propose(3, "lost");
    world.settle();
    world.crash(3, false);
    world.held.clear();
    world.run_to_leader();
    world.commit(2, &["b", "c"]);
    world.start(&[3]);
    world.run(Span::secs(2));
    assert!(world.told(&["brings"]).ends_with("brings keeper-3 from 1:2 to 2:2 by SNAP"));
    assert_eq!(world.tree(3), "a b c");
}

#[test]
fn a_late_joiner_gets_what_is_proposed_between_newleader_and_uptodate() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.nodes.get_mut(&1).expect("keeper-1").slow_disk = true;
    world.start(&[1]);
    world.run(Span::millis(300));
    world.sync_disk(1); // acceptedEpoch
    world.settle();
    assert!(world.told(&["NEWLEADER"]).ends_with("keeper-3 → keeper-1 NEWLEADER 1:0"));
    world.commit(3, &["b"]); // proposed and committed while keeper-1 writes its history
    world.propose(3, "c");
    world.held.insert((2, 3));
    world.sync_disk(1);
    world.settle();
    assert_eq!(world.tree(1), "a b");
    world.sync_disk(1);
    world.settle();
    assert_eq!((world.tree(1), world.tree(3)), ("a b c".to_owned(), "a b c".to_owned()));
}

#[test]
fn an_observer_hears_what_is_committed_and_never_counts() {
    let mut world = Ensemble::with(&[1, 2, 3], &[4], |_| {});
    world.start(&[1, 2, 3, 4]);
    world.run_to_leader();
    world.run(Span::secs(1));
    assert_eq!(world.role(4), Role::Observing { leader: KeeperId(3), serving: true });
    world.commit(3, &["a"]);
    assert_eq!((world.tree(4), world.peer(4).durable()), ("a".to_owned(), z(1, 1)));
    world.crash(1, false);
    world.crash(2, false);
    world.propose(3, "b");
    world.settle();
    assert_eq!((world.peer(3).last_outstanding(), world.tree(4)), (Some(z(1, 2)), "a".to_owned()));
    assert!(!world.told(&["INFORM", "ACK 1:2"]).contains("keeper-4 → keeper-3 ACK 1:2"));
}

#[test]
fn a_leader_without_a_quorum_abdicates() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.isolate(3);
    assert_eq!(world.role(3), Role::Leading { epoch: ZabEpoch(1), established: true }, "it has not noticed yet");
    world.run(Span::secs(12));
    assert_eq!(world.role(3), Role::Looking);
    assert!(
        world.told(&["gives up"]).contains("keeper-3 gives up its role: it hears no quorum within syncLimit ticks")
    );
    assert_eq!(world.run_to_leader(), 2);
    world.commit(2, &["a"]);
    world.heal(3, 1);
    world.heal(3, 2);
    world.run(Span::secs(2));
    assert_eq!(
        (world.role(3), world.tree(3)),
        (Role::Following { leader: KeeperId(2), serving: true }, "a".to_owned())
    );
}

#[test]
fn a_channel_that_comes_up_during_the_last_try_is_used() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.disconnect(1, 3, None);
    world.run_until(|world| world.role(1) == Role::Following { leader: KeeperId(3), serving: false });
    world.run(Span::millis(450));
    world.connect(1, 3, ChannelKind::Quorum);
    world.run(Span::millis(100));
    assert_eq!(world.role(1), Role::Following { leader: KeeperId(3), serving: true });
}

#[test]
fn a_silent_leader_is_given_up_after_sync_limit_ticks() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.held.extend([(3, 1), (3, 2)]);
    world.run(Span::secs(9));
    assert!(world.role(1).is_serving());
    world.run(Span::secs(3));
    assert_ne!(world.role(1), Role::Following { leader: KeeperId(3), serving: true });
}

#[test]
fn a_used_up_counter_forces_a_new_epoch() {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.counter_limit = 3);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.commit(3, &["a", "b"]);
    assert_eq!(world.propose(3, "c"), None);
    assert_eq!(world.role(3), Role::Looking);
    let leader = world.run_to_leader();
    world.commit(leader, &["c"]);
    assert_eq!(world.peer(leader).last_zxid(), z(2, 1));
    assert_eq!(world.tree(1), "a b c");
}

#[test]
fn the_leader_counts_itself_only_when_its_own_disk_has_answered() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.nodes.get_mut(&3).expect("keeper-3").slow_disk = true;
    world.held.insert((3, 1));
    world.propose(3, "a");
    world.settle();
    assert_eq!(world.tree(3), "", "keeper-2 alone is no quorum");
    world.held.clear();
    world.settle();
    assert_eq!(world.tree(3), "a", "the leader's own ACK is not needed");
    assert_eq!(world.peer(3).durable(), Zxid::ZERO);
}

#[test]
fn an_ack_of_what_was_cut_does_not_count() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.nodes.get_mut(&3).expect("keeper-3").slow_disk = true;
    world.held.insert((3, 1));
    world.propose(3, "a");
    world.settle(); // keeper-2 has it on disk and said so
    world.disconnect(3, 2, None);
    world.connect(3, 2, ChannelKind::Quorum);
    world.held.insert((3, 2));
    world.run(Span::secs(1));
    world.held.remove(&(3, 2));
    while world.deliver_one() && !world.story.last().is_some_and(|line| line.contains("cuts its journal")) {}
    world.held.insert((3, 2));
    world.sync_disk(3);
    world.settle();
    assert_eq!(world.tree(3), "", "keeper-2 was told to cut it");
    world.held.clear();
    world.run(Span::secs(1));
    assert_eq!(world.tree(3), "a");
}

#[test]
fn a_crash_between_history_and_epoch_is_no_reason_to_stay_down() {
    let mut world = Ensemble::new(&[1, 2, 3]);
    world.start(&[2, 3]);
    world.run_to_leader();
    world.commit(3, &["a"]);
    world.start(&[1]);
    world.run(Span::secs(1));
    world.crash(1, false);
    world.nodes.get_mut(&1).expect("keeper-1").disk.written.current = ZabEpoch(0);
    world.start(&[1]);
    world.run(Span::secs(1));
    assert_eq!(
        (world.role(1), world.tree(1)),
        (Role::Following { leader: KeeperId(3), serving: true }, "a".to_owned())
    );
}

/// keeper-2, elected by both, refuses keeper-1 once, since it has not concluded yet; then their channel is down for a
/// while. Gives whether keeper-1 still follows after each of its wakes until `up`, and what it does when the channel is up.
fn refused_and_late(up: Span) -> (Vec<bool>, Vec<PacketType>) {
    let mut world = Ensemble::new(&[1, 2]);
    world.start(&[1]);
    let mut peer = world.nodes.get_mut(&1).and_then(|node| node.peer.take()).unwrap();
    let channel = |generation| Channel { peer: NodeId::keeper(2), kind: ChannelKind::Quorum, generation };
    let mut at = Instant::ZERO;
    let now = |at| Now { at, wall: UnixMillis(0) };
    let mut fx = Effects::default();
    peer.step(now(at), Input::Up { channel: channel(1) }, &mut fx);
    peer.elect_by_oracle(KeeperId(2), now(at), &mut fx);
    peer.step(now(at), Input::Down { channel: channel(1) }, &mut fx);
    fx = Effects::default();
    let mut follows = Vec::new();
    while at < Instant::ZERO + up {
        follows.push(matches!(peer.role(), Role::Following { .. }));
        at = peer.wake_at().unwrap().at;
        peer.step(now(at), Input::Wake, &mut fx);
    }
    peer.step(now(at), Input::Up { channel: channel(2) }, &mut fx);
    peer.step(now(peer.wake_at().unwrap().at), Input::Wake, &mut fx);
    let sent = fx.effects.iter().filter_map(|effect| match effect {
        Effect::Send { packet, .. } => Some(packet.kind),
        _ => None,
    });
    (follows, sent.collect())
}

#[test]
fn no_try_is_lost_while_the_channel_that_a_leader_closed_is_down() {
    let (follows, sent) = refused_and_late(Span::secs(2));
    assert!(follows.len() > 10 && follows.iter().all(|follows| *follows), "{follows:?}");
    assert_eq!(sent, [PacketType::FollowerInfo]);
    let (follows, _) = refused_and_late(Span::secs(21));
    assert!(follows.iter().any(|follows| !follows), "initLimit is ten ticks of two seconds");
}
