//! The schedules of Z2, Z3 and Z17, under the old rule and under the new.

use super::*;

/// Z2: keeper-3 alone holds `t`; {1, 3} establish it; 1 crashes before it logs `t`; {1, 2} go on.
fn acknowledge_before_history(rule: NewleaderAck) -> (String, String) {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.rules.newleader_ack = rule);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    world.held.extend([(3, 1), (3, 2)]);
    world.propose(3, "t");
    world.settle();
    for id in [1, 2, 3] {
        world.crash(id, false);
    }
    world.held.clear();
    world.start(&[3, 1]);
    // Stop the world when the leader serves `t` and keeper-1 has not read UPTODATE.
    world.run_until(|world| world.role(3).is_serving());
    let seen = world.tree(3);
    world.crash(1, false);
    world.crash(3, false);
    world.start(&[1, 2]);
    let leader = world.run_to_leader();
    (seen, world.tree(leader))
}

#[test]
fn newleader_acknowledged_before_history_loses_a_committed_write() {
    let (seen, left) = acknowledge_before_history(NewleaderAck::BeforeHistory);
    assert_eq!((seen.as_str(), left.as_str()), ("t", ""));
    let (seen, left) = acknowledge_before_history(NewleaderAck::AfterHistoryAndEpoch);
    assert_eq!((seen.as_str(), left.as_str()), ("t", "t"));
}

/// Z3: {1, 3} commit `t`; 2 synchronises and crashes right behind writing currentEpoch; {1, 2} go on.
fn epoch_before_history(rule: NewleaderAck) -> (String, String) {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.rules.newleader_ack = rule);
    world.start(&[1, 3]);
    world.run_to_leader();
    world.commit(3, &["t"]);
    let seen = world.tree(1);
    world.crash(1, false);
    world.crash(3, false);
    world.nodes.get_mut(&2).expect("keeper-2").slow_disk = true;
    world.start(&[2, 3]);
    world.run(Span::secs(1));
    world.sync_disk(2); // acceptedEpoch
    world.settle();
    world.crash(2, false); // currentEpoch is written, its sync not answered
    world.crash(3, false);
    world.nodes.get_mut(&2).expect("keeper-2").slow_disk = false;
    world.start(&[1, 2]);
    let leader = world.run_to_leader();
    (seen, world.tree(leader))
}

#[test]
fn an_epoch_written_before_the_history_cuts_a_committed_write() {
    let (seen, left) = epoch_before_history(NewleaderAck::EpochFirst);
    assert_eq!((seen.as_str(), left.as_str()), ("t", ""));
    let (seen, left) = epoch_before_history(NewleaderAck::AfterHistoryAndEpoch);
    assert_eq!((seen.as_str(), left.as_str()), ("t", "t"));
}

/// Z17: all disks are slow; `t` commits; the power goes everywhere.
fn acknowledge_before_sync(rule: ProposalAck) -> (String, String) {
    let mut world = Ensemble::with(&[1, 2, 3], &[], |config| config.rules.proposal_ack = rule);
    world.start(&[1, 2, 3]);
    world.run_to_leader();
    for node in world.nodes.values_mut() {
        node.slow_disk = true;
    }
    world.propose(3, "t");
    world.settle();
    let seen = world.tree(3);
    for id in [1, 2, 3] {
        world.crash(id, true);
    }
    for node in world.nodes.values_mut() {
        node.slow_disk = false;
    }
    world.start(&[1, 2, 3]);
    let leader = world.run_to_leader();
    (seen, world.tree(leader))
}

#[test]
fn a_proposal_acknowledged_from_the_page_cache_is_lost_with_the_power() {
    let (seen, left) = acknowledge_before_sync(ProposalAck::BeforeSync);
    assert_eq!((seen.as_str(), left.as_str()), ("t", ""));
    let (seen, left) = acknowledge_before_sync(ProposalAck::AfterSync);
    assert_eq!((seen.as_str(), left.as_str()), ("", ""), "nothing was promised");
}
