//! Logs: what may differ, what may be cut, what may be lost.

use super::*;
use crate::check::log::{Recovered, Restart};
use crate::check::{Faults, Findings};

/// A restart of a broker that is not in the ISR and counted what was in its page cache.
fn outside(faults: Faults) -> Restart {
    Restart { faults, flush: false, in_sync: false }
}

fn e(epoch: i32) -> LeaderEpoch {
    LeaderEpoch(epoch)
}

#[test]
fn a_follower_that_differs_below_its_high_watermark() {
    let (mut logs, mut find) = replicated();
    logs.on_leader(A, &orders(), e(1), &mut find);
    logs.on_append(C, &orders(), &[batch(0, 0, 99)], &mut find);
    for id in [A, B] {
        logs.on_append(id, &orders(), &[batch(0, 1, 10)], &mut find);
    }
    logs.on_leader_high_watermark(A, &orders(), 1, Some(&[A, B]), &mut find);
    assert_eq!(fired(&find), None, "above its own high watermark broker 3 may hold what it will cut");
    logs.on_follower_high_watermark(C, &orders(), 1, &mut find);
    assert_eq!(fired(&find), Some("LOG-1"));
}

#[test]
fn one_epoch_and_offset_is_one_batch() {
    let (mut logs, mut find) = replicated();
    logs.on_append(A, &orders(), &[batch(0, 1, 10)], &mut find);
    logs.on_append(B, &orders(), &[batch(0, 2, 11)], &mut find);
    assert_eq!(fired(&find), None, "epochs differ");
    logs.on_append(C, &orders(), &[batch(0, 1, 12)], &mut find);
    assert_eq!(fired(&find), Some("LOG-2"));
}

#[test]
fn a_leader_without_what_was_committed() {
    let (mut logs, mut find) = two_committed();
    logs.on_leader(B, &orders(), e(2), &mut find);
    assert_eq!(fired(&find), None, "broker 2 has both");
    logs.on_leader(C, &orders(), e(3), &mut find);
    assert_eq!(fired(&find), Some("LOG-3"));
}

#[test]
fn an_unclean_election_may_lose_records() {
    let (mut logs, mut find) = two_committed();
    logs.on_unclean(&orders(), e(2));
    logs.on_leader(C, &orders(), e(2), &mut find);
    logs.on_append(C, &orders(), &[batch(0, 2, 20)], &mut find);
    logs.on_truncate(A, &orders(), 0, &mut find);
    logs.on_append(A, &orders(), &[batch(0, 2, 20)], &mut find);
    logs.on_leader_high_watermark(C, &orders(), 1, Some(&[C, A]), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]));
}

#[test]
fn after_an_unclean_election_everything_is_owed_again() {
    let (mut logs, mut find) = two_committed();
    logs.on_unclean(&orders(), e(2));
    logs.on_leader(C, &orders(), e(2), &mut find);
    logs.on_append(C, &orders(), &[batch(0, 2, 20)], &mut find);
    logs.on_leader_high_watermark(C, &orders(), 1, Some(&[C]), &mut find);
    logs.on_follower(A, &orders(), e(2));
    assert_eq!(fired(&find), None);
    logs.on_follower_high_watermark(A, &orders(), 1, &mut find);
    assert_eq!(fired(&find), Some("LOG-1"), "it follows the new leader and kept the old records");
}

/// Broker 2 hears at once whom to follow, but a cut link keeps it from fetching there: its readers are not served, and its
/// log is still the one that was given up.
#[test]
fn what_was_given_up_is_held_until_the_first_fetch() {
    let (mut logs, mut find) = two_committed();
    logs.on_follower_high_watermark(B, &orders(), 2, &mut find);
    logs.on_unclean(&orders(), e(2));
    logs.on_leader(C, &orders(), e(2), &mut find);
    logs.on_follower(B, &orders(), e(2));
    logs.on_append(C, &orders(), &[batch(0, 2, 20)], &mut find);
    logs.on_leader_high_watermark(C, &orders(), 1, Some(&[C]), &mut find);
    logs.compare(&mut find);
    assert_eq!(fired(&find), None, "it has fetched nothing from broker 3");
    logs.on_append(B, &orders(), &[batch(2, 2, 21)], &mut find);
    logs.compare(&mut find);
    assert_eq!(fired(&find), Some("LOG-1"), "it took a record from broker 3 and kept the old ones");
}

/// Brokers 1 and 2 have what was committed; 3, elected uncleanly, has nothing. When 2 leads again, its readers see what it
/// has below its own high watermark: that is the history once more, and it is owed.
#[test]
fn what_was_given_up_may_come_back_with_the_next_leader() {
    let (mut logs, mut find) = two_committed();
    logs.on_follower_high_watermark(B, &orders(), 2, &mut find);
    logs.on_unclean(&orders(), e(2));
    logs.on_leader(C, &orders(), e(2), &mut find);
    assert_eq!((fired(&find), logs.ghost(&orders()).unwrap().high_watermark()), (None, 0));
    logs.on_leader(B, &orders(), e(3), &mut find);
    assert_eq!((fired(&find), logs.ghost(&orders()).unwrap().high_watermark()), (None, 2));
    logs.on_follower(A, &orders(), e(3));
    logs.on_follower_high_watermark(A, &orders(), 2, &mut find);
    assert_eq!(fired(&find), None, "it has both");
    logs.on_leader(C, &orders(), e(4), &mut find);
    assert_eq!(logs.ghost(&orders()).unwrap().high_watermark(), 0, "allowed again: nobody is owed what was given up");
}

#[test]
fn a_deposed_leader_commits_for_nobody_after_an_unclean_election() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(C, &orders(), &[batch(0, 1, 10), batch(1, 1, 11)], &mut find);
    logs.on_unclean(&orders(), e(2));
    logs.on_leader(C, &orders(), e(2), &mut find);
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_leader_high_watermark(A, &orders(), 3, None, &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]), "K20");

    let (mut logs, mut find) = two_committed();
    logs.on_leader(B, &orders(), e(2), &mut find);
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_leader_high_watermark(A, &orders(), 3, None, &mut find);
    assert_eq!(fired(&find), Some("LOG-3"), "after a clean one it must not");
}

/// Broker 2 was elected and loses its disk before it hears so. Its predecessor, paused all the while, commits on with a
/// follower that knows no better: all that is given up in the successor's epoch, of which neither has heard.
#[test]
fn a_deposed_leader_commits_for_nobody_after_its_successor_lost_its_disk() {
    let (mut logs, mut find) = two_committed();
    let replaced = Faults { replaced: true, ..Faults::default() };
    let restart = |_: &TopicPartition| Restart { faults: replaced, flush: true, in_sync: true };
    logs.on_append(C, &orders(), &[batch(0, 1, 10), batch(1, 1, 11)], &mut find);
    logs.on_leader(B, &orders(), e(2), &mut find);
    logs.on_boot_without(B, |_| None, restart, &mut find);
    for id in [A, C] {
        logs.on_append(id, &orders(), &[batch(2, 1, 12)], &mut find);
    }
    logs.on_leader_high_watermark(A, &orders(), 3, None, &mut find);
    logs.on_follower_high_watermark(C, &orders(), 3, &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]));
}

#[test]
fn a_high_watermark_that_goes_back() {
    let (mut logs, mut find) = two_committed();
    logs.on_leader(B, &orders(), e(2), &mut find);
    logs.on_leader_high_watermark(B, &orders(), 1, None, &mut find);
    assert_eq!(fired(&find), None, "a new leader's may lag");
    logs.on_leader_high_watermark(B, &orders(), 0, None, &mut find);
    assert_eq!(fired(&find), Some("LOG-4"));
}

#[test]
fn offsets_and_epochs_rise() {
    let (mut logs, mut find) = replicated();
    logs.on_append(A, &orders(), &[batch(0, 1, 10), batch(5, 2, 11)], &mut find);
    assert_eq!(fired(&find), None, "gaps are legal");
    logs.on_append(A, &orders(), &[batch(6, 1, 12)], &mut find);
    assert_eq!(fired(&find), Some("LOG-5"));

    let check = |entries: &[(i32, i64)]| {
        let (mut logs, mut find) = replicated();
        logs.on_append(A, &orders(), &[batch(0, 1, 10), batch(1, 2, 11)], &mut find);
        let entries: Vec<_> = entries.iter().map(|(epoch, start)| (e(*epoch), Offset(*start))).collect();
        logs.on_epochs(A, &orders(), &entries, &mut find);
        fired(&find)
    };
    assert_eq!(check(&[(1, 0), (2, 1), (3, 2)]), None, "epoch 3 has no record yet");
    assert_eq!(check(&[(1, 0), (2, 0)]), Some("LOG-5"));
    assert_eq!(check(&[(1, 0), (3, 1)]), Some("LOG-5"));
}

#[test]
fn a_follower_that_cuts_committed_records() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_truncate(B, &orders(), 2, &mut find);
    assert_eq!(fired(&find), None, "offset 2 was not committed");
    logs.on_truncate(B, &orders(), 1, &mut find);
    assert_eq!(fired(&find), Some("LOG-6"), "K1");
}

#[test]
fn a_follower_beyond_its_leader() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_follower_high_watermark(B, &orders(), 2, &mut find);
    assert_eq!(fired(&find), None);
    logs.on_follower_high_watermark(B, &orders(), 3, &mut find);
    assert_eq!(fired(&find), Some("LOG-7"));
}

fn found(end: i64, high_watermark: i64) -> Recovered {
    Recovered { start: 0, end, high_watermark, last_epoch: Some(1) }
}

/// Broker 2, in the ISR, restarts after these faults and finds its log up to `end`.
fn restarted(faults: Faults, flush: bool, end: i64) -> (Logs, Findings) {
    let (mut logs, mut find) = two_committed();
    logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_boot(B, &orders(), found(end, 0), Restart { faults, flush, in_sync: true }, &mut find);
    (logs, find)
}

#[test]
fn a_restart_keeps_what_it_must() {
    let power = Faults { cache: true, ..Faults::default() };
    let lying = Faults { lying: true, cache: true, ..Faults::default() };
    let outcome = |faults, flush, end| fired(&restarted(faults, flush, end).1);
    assert_eq!(outcome(Faults::default(), false, 3), None);
    assert_eq!(outcome(Faults::default(), false, 2), Some("LOG-8"), "the page cache outlives a process");
    assert_eq!(outcome(power, true, 2), None, "offset 2 is not committed");
    assert_eq!(outcome(power, true, 1), Some("LOG-8"), "it had said that offset 1 is on disk");
    assert_eq!(outcome(lying, true, 1), Some("LOG-8"), "sabotage");
    assert_eq!(outcome(power, false, 1), None, "flush = kafka");
}

/// Epochs do not tell the first offset 1 of epoch 1 from the second.
#[test]
fn what_page_caches_held_and_lost_is_owed_to_nobody() {
    let check = |flush, end| {
        let (mut logs, mut find) = two_committed();
        logs.on_append(C, &orders(), &[batch(0, 1, 10), batch(1, 1, 11), batch(2, 1, 12)], &mut find);
        let restart = Restart { faults: Faults { cache: true, ..Faults::default() }, flush, in_sync: false };
        logs.on_boot(C, &orders(), found(end, 0), restart, &mut find);
        logs.on_append(C, &orders(), &[batch(2, 1, 22)], &mut find);
        logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
        logs.on_leader_high_watermark(A, &orders(), 2, Some(&[A, B]), &mut find);
        fired(&find)
    };
    assert_eq!(check(false, 2), None);
    assert_eq!(check(true, 2), Some("LOG-2"), "what was fsynced is told apart");
}

#[test]
fn what_a_power_loss_took_may_be_lost_by_all() {
    let power = Faults { cache: true, ..Faults::default() };
    let (mut logs, mut find) = restarted(power, false, 1);
    logs.on_leader(B, &orders(), e(2), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]), "K13");
    logs.on_append(B, &orders(), &[batch(1, 2, 21)], &mut find);
    logs.on_truncate(A, &orders(), 1, &mut find);
    assert_eq!(fired(&find), None);
}

/// A disk that was replaced is no power loss: what the others hold is still owed.
#[test]
fn what_was_fetched_again_is_owed_again() {
    let replaced = Faults { replaced: true, ..Faults::default() };
    let (mut logs, mut find) = restarted(replaced, true, 1);
    logs.on_append(B, &orders(), &[batch(1, 1, 11), batch(2, 1, 12)], &mut find);
    logs.on_append(B, &orders(), &[batch(3, 1, 13)], &mut find);
    logs.on_leader(C, &orders(), e(2), &mut find);
    assert_eq!(fired(&find), Some("LOG-3"));
}

/// Broker 2, in the ISR with a replaced disk, fetches again what it had, and the power goes.
#[test]
fn what_is_fetched_again_is_there_when_the_next_fetch_says_so() {
    let lost_again = |goes_on: bool| {
        let (mut logs, mut find) = restarted(Faults { replaced: true, ..Faults::default() }, true, 0);
        logs.on_append(B, &orders(), &[batch(0, 1, 10), batch(1, 1, 11), batch(2, 1, 12)], &mut find);
        if goes_on {
            logs.on_append(B, &orders(), &[batch(3, 1, 13)], &mut find);
        }
        let power = Faults { cache: true, ..Faults::default() };
        logs.on_boot(B, &orders(), found(1, 0), Restart { faults: power, flush: true, in_sync: true }, &mut find);
        fired(&find)
    };
    assert_eq!(lost_again(false), None);
    assert_eq!(lost_again(true), Some("LOG-8"), "it fetched offset 3 with the others on its disk");
}

#[test]
fn what_a_replaced_disk_took_may_be_lost_by_all() {
    let (mut logs, mut find) = two_committed();
    let replaced = Faults { replaced: true, ..Faults::default() };
    let restart = |faults| move |_: &TopicPartition| Restart { faults, flush: true, in_sync: true };
    logs.on_boot_without(B, |_| None, restart(replaced), &mut find);
    logs.on_create(B, &orders(), TopicId([1; 16]));
    logs.on_leader(B, &orders(), e(2), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]));
    let (mut logs, mut find) = two_committed();
    logs.on_boot_without(B, |_| None, restart(Faults::default()), &mut find);
    assert_eq!(fired(&find), Some("LOG-8"), "a whole log is gone after a crash");
}

/// Broker 2 was not in the ISR when it lost its disk: to join it must fetch everything again, unless no controller could
/// know that it had started again (K14).
#[test]
fn a_disk_that_was_replaced_outside_of_the_isr_excuses_nobody() {
    let replaced = |_: &TopicPartition| Restart {
        faults: Faults { replaced: true, ..Faults::default() },
        flush: true,
        in_sync: false,
    };
    let elected = |is_known: bool| {
        let (mut logs, mut find) = two_committed();
        logs.on_boot_without(B, |_| None, replaced, &mut find);
        logs.on_create(B, &orders(), TopicId([1; 16]));
        if !is_known {
            logs.on_unaware(&orders(), B);
        }
        logs.on_leader(B, &orders(), e(2), &mut find);
        (fired(&find), allowed(&find))
    };
    assert_eq!(elected(true), (Some("LOG-3"), vec![]));
    assert_eq!(elected(false), (None, vec!["LOG-3"]));
}

/// Retention had taken offset 0 everywhere. The log that begins anew on an empty disk begins there all the same.
#[test]
fn a_replaced_disk_forgets_where_its_log_began() {
    let (mut logs, mut find) = two_committed();
    for id in [A, B] {
        logs.on_drop_below(id, &orders(), 1);
    }
    let faults = Faults { replaced: true, ..Faults::default() };
    let restart = |_: &TopicPartition| Restart { faults, flush: true, in_sync: true };
    logs.on_boot_without(B, |_| None, restart, &mut find);
    logs.on_create(B, &orders(), TopicId([1; 16]));
    logs.on_leader(B, &orders(), e(2), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]));
}

#[test]
fn a_reassignment_that_is_called_off_may_take_the_only_replica_in_sync() {
    let (mut logs, mut find) = two_committed();
    logs.on_dropped(&orders(), e(1));
    logs.on_leader(B, &orders(), e(2), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec![]), "its deletion did not reach broker 2");
    logs.on_leader(C, &orders(), e(3), &mut find);
    assert_eq!(fired(&find), Some("LOG-3"), "and broker 2 had everything");

    let (mut logs, mut find) = two_committed();
    logs.on_dropped(&orders(), e(1));
    logs.on_delete(B, &orders());
    logs.on_create(B, &orders(), TopicId([1; 16]));
    logs.on_leader(B, &orders(), e(2), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]));
}

#[test]
fn an_acknowledgement_before_the_commit() {
    let (mut logs, mut find) = two_committed();
    logs.on_acknowledged(A, &orders(), 1, &mut find);
    assert_eq!(fired(&find), None);
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_acknowledged(A, &orders(), 2, &mut find);
    assert_eq!(fired(&find), Some("LOG-9"));
}

#[test]
fn committed_is_on_the_whole_isr() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_leader_high_watermark(A, &orders(), 3, Some(&[A, B]), &mut find);
    assert_eq!(fired(&find), None, "broker 3 is not in the ISR");
    for id in [A, B] {
        logs.on_append(id, &orders(), &[batch(3, 1, 13)], &mut find);
    }
    logs.on_leader_high_watermark(A, &orders(), 4, Some(&[A, B, C]), &mut find);
    assert_eq!(fired(&find), Some("ISR-4"), "K9");
}

#[test]
fn retention_is_no_loss() {
    let (mut logs, mut find) = two_committed();
    logs.on_drop_below(A, &orders(), 1);
    logs.on_restart(C, &orders(), 1, &mut find);
    logs.on_append(C, &orders(), &[batch(1, 1, 11)], &mut find);
    logs.on_follower_high_watermark(C, &orders(), 2, &mut find);
    logs.on_leader(C, &orders(), e(2), &mut find);
    logs.compare(&mut find);
    assert_eq!(fired(&find), None);
}

#[test]
fn another_topic_of_the_same_name_starts_anew() {
    let (mut logs, mut find) = two_committed();
    logs.on_delete(A, &orders());
    logs.on_create(A, &orders(), TopicId([2; 16]));
    logs.on_leader(A, &orders(), e(1), &mut find);
    logs.on_append(A, &orders(), &[batch(0, 1, 30)], &mut find);
    logs.on_leader_high_watermark(A, &orders(), 1, Some(&[A]), &mut find);
    assert_eq!(fired(&find), None);
}

#[test]
fn two_leaders_in_one_epoch() {
    let (mut logs, mut find) = two_committed();
    logs.on_leader(A, &orders(), e(1), &mut find);
    assert_eq!(fired(&find), None, "the same broker again, after a restart");
    logs.on_leader(B, &orders(), e(1), &mut find);
    assert_eq!(fired(&find), Some("ISR-2"));
}

#[test]
fn an_epoch_that_goes_on_after_a_power_loss_writes_its_offsets_again() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
    let (mut crashed, mut seen) = (logs.clone(), find.clone());
    let power = Faults { cache: true, ..Faults::default() };
    logs.on_boot(A, &orders(), found(2, 2), Restart { flush: true, ..outside(power) }, &mut find);
    logs.on_leader(A, &orders(), e(1), &mut find);
    logs.on_append(A, &orders(), &[batch(2, 1, 22)], &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-2"]));
    crashed.on_boot(A, &orders(), found(3, 2), outside(Faults::default()), &mut seen);
    crashed.on_truncate(A, &orders(), 2, &mut seen);
    crashed.on_append(A, &orders(), &[batch(2, 1, 22)], &mut seen);
    assert_eq!(fired(&seen), Some("LOG-2"), "nothing took the first one");
    logs.on_leader(A, &orders(), e(2), &mut find);
    logs.on_append(A, &orders(), &[batch(3, 2, 23)], &mut find);
    logs.on_append(B, &orders(), &[batch(3, 2, 24)], &mut find);
    assert_eq!(fired(&find), Some("LOG-2"), "the next epoch is its own");
}

#[test]
fn a_deleted_log_that_a_power_loss_brings_back() {
    let (mut logs, mut find) = two_committed();
    logs.on_delete(B, &orders());
    let power = Faults { cache: true, ..Faults::default() };
    logs.on_boot(B, &orders(), found(1, 0), outside(power), &mut find);
    logs.on_follower(B, &orders(), e(1));
    logs.on_append(B, &orders(), &[batch(1, 1, 11)], &mut find);
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
    logs.on_leader_high_watermark(A, &orders(), 3, Some(&[A, B]), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec![]));
}

/// Broker 2 deleted its log and began another in its place; a power loss takes both back.
#[test]
fn a_deleted_log_that_comes_back_in_place_of_the_next() {
    let then_found = |found: Recovered| {
        let (mut logs, mut find) = two_committed();
        logs.on_delete(B, &orders());
        logs.on_create(B, &orders(), TopicId([1; 16]));
        let power = Faults { cache: true, ..Faults::default() };
        logs.on_boot(B, &orders(), found, outside(power), &mut find);
        logs.on_follower(B, &orders(), e(1));
        for id in [A, B] {
            logs.on_append(id, &orders(), &[batch(2, 1, 12)], &mut find);
        }
        logs.on_leader_high_watermark(A, &orders(), 3, Some(&[A]), &mut find);
        logs.on_follower_high_watermark(B, &orders(), 3, &mut find);
        fired(&find)
    };
    assert_eq!(then_found(found(2, 0)), None, "it has both records again");
    let empty = Recovered { last_epoch: None, ..found(0, 0) };
    assert_eq!(then_found(empty), Some("LOG-1"), "the next log is there, and empty");
}

#[test]
fn a_log_that_is_not_found_twice_was_lost_once() {
    let (mut logs, mut find) = two_committed();
    let power = Faults { cache: true, ..Faults::default() };
    logs.on_boot_without(B, |_| None, |_| outside(power), &mut find);
    logs.on_boot_without(B, |_| None, |_| outside(Faults::default()), &mut find);
    assert_eq!(fired(&find), None);
}

#[test]
fn a_deposed_leader_may_commit_what_its_successor_has() {
    let (mut logs, mut find) = two_committed();
    for id in [A, B] {
        logs.on_append(id, &orders(), &[batch(2, 1, 12)], &mut find);
    }
    logs.on_leader(B, &orders(), e(2), &mut find);
    logs.on_leader_high_watermark(A, &orders(), 3, None, &mut find);
    assert_eq!(fired(&find), None);
    logs.on_append(A, &orders(), &[batch(3, 1, 13)], &mut find);
    logs.on_leader_high_watermark(A, &orders(), 4, None, &mut find);
    assert_eq!(fired(&find), Some("LOG-3"));
}

#[test]
fn a_power_loss_may_undo_a_cut() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(B, &orders(), &[batch(2, 1, 12), batch(3, 1, 13)], &mut find);
    logs.on_truncate(B, &orders(), 2, &mut find);
    logs.on_append(B, &orders(), &[batch(2, 2, 22)], &mut find);
    let power = Faults { cache: true, ..Faults::default() };
    logs.on_boot(B, &orders(), found(4, 0), Restart { faults: power, flush: true, in_sync: true }, &mut find);
    logs.on_leader(B, &orders(), e(3), &mut find);
    logs.on_append(A, &orders(), &[batch(2, 1, 12), batch(3, 1, 13)], &mut find);
    logs.on_leader_high_watermark(B, &orders(), 4, Some(&[A, B]), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec![]), "what was cut is there again");
}

#[test]
fn a_leader_that_may_lose_records_serves_what_it_knows_to_be_committed() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(C, &orders(), &[batch(0, 0, 30), batch(1, 0, 31)], &mut find);
    let power = Faults { cache: true, ..Faults::default() };
    logs.on_boot(C, &orders(), Recovered { last_epoch: Some(0), ..found(2, 2) }, outside(power), &mut find);
    logs.on_unclean(&orders(), e(2));
    logs.on_leader(C, &orders(), e(2), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]));
    assert_eq!(logs.ghost(&orders()).map(|ghost| (ghost.high_watermark(), ghost.committed().len())), Some((2, 2)));
}
