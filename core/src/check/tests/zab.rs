//! Atomic broadcast: three keepers, of which 1 leads epoch 1.

use super::*;
use crate::api::storage::StoreOp;
use crate::check::Faults;
use crate::check::zab::{Ensemble, View};
use crate::id::{KeeperId, ZabEpoch, Zxid};
use crate::note::zab::{SyncKind, ZabNote, breach};
use bytes::Bytes;

fn k(id: u8) -> KeeperId {
    KeeperId(id)
}

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(ZabEpoch(epoch), counter)
}

/// An ensemble under observation.
struct Seen {
    ensemble: Ensemble,
    find: Findings,
}

impl Seen {
    fn new() -> Seen {
        let mut seen = Seen { ensemble: Ensemble::new(3), find: Findings::default() };
        for id in 1..=3 {
            seen.ensemble.on_boot(k(id), View::default(), Faults::default(), &mut seen.find);
        }
        seen
    }

    fn store(mut self, id: u8, op: StoreOp) -> Seen {
        self.ensemble.on_store(k(id), &op, &mut self.find);
        self
    }

    fn log_as(self, id: u8, zxid: Zxid, what: &'static str) -> Seen {
        self.store(id, StoreOp::AppendTxn { zxid, txn: Bytes::from_static(what.as_bytes()) })
    }

    fn log(self, id: u8, zxid: Zxid) -> Seen {
        self.log_as(id, zxid, "same")
    }

    fn synced(mut self, id: u8, upto: Zxid) -> Seen {
        self.ensemble.on_durable(k(id), upto);
        self
    }

    fn note_from(mut self, id: u8, view: View, note: ZabNote) -> Seen {
        self.ensemble.on_note(k(id), view, &note, &mut self.find);
        self
    }

    fn note(self, id: u8, note: ZabNote) -> Seen {
        self.note_from(id, View::default(), note)
    }

    fn leads(self, id: u8, epoch: u32) -> Seen {
        self.note(id, ZabNote::Established { epoch: ZabEpoch(epoch), history: Zxid::ZERO })
    }

    fn proposes(self, id: u8, zxid: Zxid) -> Seen {
        self.log(id, zxid).note(id, ZabNote::Proposed { zxid })
    }

    fn delivers(self, id: u8, zxid: Zxid) -> Seen {
        self.note(id, ZabNote::Committed { zxid })
    }

    fn boots(mut self, id: u8, last: Zxid, faults: Faults) -> Seen {
        let view = View { last, ..View::default() };
        self.ensemble.on_boot(k(id), view, faults, &mut self.find);
        self
    }

    fn fired(&self) -> Option<&'static str> {
        fired(&self.find)
    }
}

/// Keeper 1 leads epoch 1; 1:1 and 1:2 are on 1 and 2, and committed.
fn two() -> Seen {
    let mut seen = Seen::new().leads(1, 1);
    for counter in 1..=2 {
        seen = seen.proposes(1, z(1, counter)).log(2, z(1, counter));
    }
    seen = seen.synced(1, z(1, 2)).synced(2, z(1, 2));
    for counter in 1..=2 {
        seen = seen.delivers(1, z(1, counter)).delivers(2, z(1, counter));
    }
    assert_eq!(seen.fired(), None);
    seen
}

#[test]
fn one_leader_for_an_epoch() {
    assert_eq!(two().leads(2, 2).proposes(2, z(2, 1)).fired(), None);
    assert_eq!(two().leads(2, 1).fired(), Some("ZAB-1"));
    assert_eq!(two().proposes(2, z(1, 3)).fired(), Some("ZAB-1"), "another's epoch");
}

#[test]
fn only_what_was_proposed_is_delivered() {
    let three = || two().log(1, z(1, 3)).log(2, z(1, 3)).synced(1, z(1, 3)).synced(2, z(1, 3));
    assert_eq!(three().note(1, ZabNote::Proposed { zxid: z(1, 3) }).delivers(1, z(1, 3)).fired(), None);
    assert_eq!(three().delivers(1, z(1, 3)).fired(), Some("ZAB-2"));
    assert_eq!(two().delivers(1, z(1, 3)).fired(), Some("ZAB-2"), "it has no such transaction");
}

#[test]
fn one_zxid_is_one_transaction() {
    let other = |what| two().log(3, z(1, 1)).delivers(3, z(1, 1)).log_as(3, z(1, 2), what).delivers(3, z(1, 2)).fired();
    assert_eq!(other("same"), None);
    assert_eq!(other("other"), Some("ZAB-3"));
}

#[test]
fn everybody_delivers_in_the_same_order() {
    let both = || two().log(3, z(1, 1)).log(3, z(1, 2));
    assert_eq!(both().delivers(3, z(1, 1)).delivers(3, z(1, 2)).fired(), None);
    assert_eq!(both().delivers(3, z(1, 1)).delivers(3, z(1, 1)).fired(), Some("ZAB-4"), "twice");
    let restored = ZabNote::Restored { zxid: z(1, 1) };
    assert_eq!(both().note(3, restored).delivers(3, z(1, 2)).fired(), None, "a database took the place of the first");
}

#[test]
fn a_leaders_proposals_are_delivered_without_gaps() {
    let seen = || two().proposes(1, z(1, 3)).proposes(1, z(1, 4)).log(2, z(1, 3)).log(2, z(1, 4));
    let seen = || seen().synced(1, z(1, 4)).synced(2, z(1, 4));
    assert_eq!(seen().delivers(1, z(1, 3)).delivers(1, z(1, 4)).fired(), None);
    assert_eq!(seen().delivers(1, z(1, 4)).fired(), Some("ZAB-5"));
}

#[test]
fn earlier_leaders_come_first() {
    let both = || {
        let seen = two().leads(2, 2).proposes(2, z(2, 1)).log(1, z(2, 1)).synced(1, z(2, 1)).synced(2, z(2, 1));
        seen.delivers(2, z(2, 1)).log(3, z(1, 1)).log(3, z(1, 2)).log(3, z(2, 1)).delivers(3, z(1, 1))
    };
    assert_eq!(both().delivers(3, z(1, 2)).delivers(3, z(2, 1)).fired(), None);
    assert_eq!(both().delivers(3, z(2, 1)).fired(), Some("ZAB-6"));
}

#[test]
fn a_leader_proposes_with_all_that_is_committed() {
    // Keeper 3 led epoch 2 before keeper 1 committed 1:3 behind its back.
    let seen = two().log(3, z(1, 1)).log(3, z(1, 2)).leads(3, 2);
    assert_eq!(seen.fired(), None);
    let seen = seen.proposes(1, z(1, 3)).log(2, z(1, 3)).synced(1, z(1, 3)).synced(2, z(1, 3)).delivers(1, z(1, 3));
    assert_eq!(seen.fired(), None);
    assert_eq!(seen.proposes(3, z(2, 1)).fired(), Some("ZAB-7"));
}

#[test]
fn databases_are_of_what_was_committed() {
    let end = |zxid| StoreOp::SnapshotEnd { zxid, replaces_journal: true };
    assert_eq!(two().store(3, end(z(1, 2))).fired(), None);
    assert_eq!(two().store(3, end(z(1, 3))).fired(), Some("ZAB-8"));
}

/// Keeper 3 joins epoch 1 of keeper 1 with this journal.
fn joined(counters: &[u32], what: &'static str) -> Option<&'static str> {
    let to = z(1, 2);
    let mut seen = two().note(1, ZabNote::SyncChosen { learner: k(3), sync: SyncKind::Diff, from: Zxid::ZERO, to });
    for counter in counters {
        seen = seen.log_as(3, z(1, *counter), what);
    }
    let end = counters.last().map_or(Zxid::ZERO, |counter| z(1, *counter));
    let view =
        View { durable: end, current: ZabEpoch(1), accepted: ZabEpoch(1), follows: Some(k(1)), ..View::default() };
    seen.note_from(3, view, ZabNote::Joined { epoch: ZabEpoch(1) }).fired()
}

#[test]
fn who_joins_has_its_leaders_history_on_disk() {
    assert_eq!(joined(&[1, 2], "same"), None);
    assert_eq!(joined(&[1, 2], "other"), Some("ZAB-9"));
    assert_eq!(joined(&[1], "same"), Some("ZAB-13"), "Z2: the history is not there yet");
}

#[test]
fn a_new_leader_has_all_that_was_committed() {
    assert_eq!(two().leads(2, 2).fired(), None);
    assert_eq!(two().log(3, z(1, 1)).leads(3, 2).fired(), Some("ZAB-10"));
}

#[test]
fn committed_is_durable_on_a_quorum() {
    let three = || two().proposes(1, z(1, 3)).log(2, z(1, 3)).synced(1, z(1, 3));
    assert_eq!(three().synced(2, z(1, 3)).delivers(1, z(1, 3)).fired(), None);
    assert_eq!(three().delivers(1, z(1, 3)).fired(), Some("ZAB-11"), "Z17: keeper 2 has it in its page cache only");
    let cut = StoreOp::TruncateJournal { to: z(1, 1) };
    assert_eq!(two().store(2, cut).fired(), Some("ZAB-11"));
}

/// Keeper 3 lost its connection with 1:3 uncommitted, and comes back to the same leader: it is cut back to 1:2 and gets the
/// rest again. Meanwhile the others commit 1:3.
#[test]
fn a_cut_that_a_commit_overtakes_takes_nothing_from_the_quorum() {
    let cut = || StoreOp::TruncateJournal { to: z(1, 2) };
    let three = |epoch| {
        let seen = two().log(3, z(1, 1)).log(3, z(1, 2)).proposes(1, z(1, 3)).log(2, z(1, 3)).log(3, z(1, 3));
        let seen = seen.synced(1, z(1, 3)).synced(2, z(1, 3)).delivers(1, z(1, 3));
        seen.store(3, StoreOp::AcceptedEpoch(ZabEpoch(epoch)))
    };
    assert_eq!(three(1).store(3, cut()).fired(), None);
    assert_eq!(three(2).store(3, cut()).fired(), Some("ZAB-11"), "nobody is established who would send it again");
    assert_eq!(three(1).store(3, cut()).store(2, cut()).fired(), Some("ZAB-11"), "only the leader is left with it");
}

#[test]
fn what_was_durable_is_there_after_a_power_loss() {
    let power = Faults { cache: true, ..Faults::default() };
    let lying = Faults { lying: true, ..power };
    let replaced = Faults { replaced: true, ..power };
    let three = || two().log(2, z(1, 3));
    assert_eq!(three().boots(2, z(1, 2), power).fired(), None, "1:3 was not synced");
    assert_eq!(three().boots(2, z(1, 2), Faults::default()).fired(), Some("ZAB-11"), "only the process ended");
    assert_eq!(three().boots(2, z(1, 1), power).fired(), Some("ZAB-11"));
    assert_eq!(three().boots(2, z(1, 1), lying).fired(), Some("ZAB-11"), "sabotage");
    let seen = three().boots(2, Zxid::ZERO, replaced);
    assert_eq!((seen.fired(), allowed(&seen.find)), (None, vec!["ZAB-11"]));
}

/// What stands behind an epoch file that is not durable yet waits in the process, and goes with it.
#[test]
fn what_waits_behind_a_barrier_goes_with_the_process() {
    let epoch = || StoreOp::AcceptedEpoch(ZabEpoch(2));
    let process = Faults::default();
    let waits = || two().store(2, epoch()).log(2, z(1, 3));
    assert_eq!(waits().boots(2, z(1, 2), process).fired(), None);
    assert_eq!(waits().boots(2, z(1, 1), process).fired(), Some("ZAB-11"), "1:2 was before it");
    let three = || waits().synced(2, z(1, 3));
    assert_eq!(three().boots(2, z(1, 2), process).fired(), Some("ZAB-11"));
    assert_eq!(three().log(2, z(1, 4)).boots(2, z(1, 3), process).fired(), Some("ZAB-11"), "no barrier any more");
    assert_eq!(three().store(2, epoch()).log(2, z(1, 4)).boots(2, z(1, 3), process).fired(), None);
    let cut = || waits().note(2, ZabNote::Truncated { from: z(1, 3), to: z(1, 2) });
    let cut = || cut().store(2, StoreOp::TruncateJournal { to: z(1, 2) }).log(2, z(1, 3));
    assert_eq!(cut().boots(2, z(1, 2), process).fired(), None);
}

#[test]
fn nothing_new_without_all_that_is_committed() {
    let seen = two().log(3, z(1, 1)).log(3, z(1, 2)).leads(3, 2).proposes(3, z(2, 1)).log(1, z(2, 1));
    assert_eq!(seen.fired(), None);
    let without = two().log(3, z(2, 1)).delivers(3, z(2, 1));
    assert_eq!(without.fired(), Some("ZAB-12"));
}

#[test]
fn epochs_never_go_back() {
    let accepted = |epoch| StoreOp::AcceptedEpoch(ZabEpoch(epoch));
    let current = |epoch| StoreOp::CurrentEpoch(ZabEpoch(epoch));
    assert_eq!(two().store(1, accepted(2)).store(1, current(2)).fired(), None);
    assert_eq!(two().store(1, accepted(2)).store(1, accepted(1)).fired(), Some("ZAB-13"));
    assert_eq!(two().store(1, accepted(2)).store(1, current(3)).fired(), Some("ZAB-13"));
    let promised = two().note(2, ZabNote::EpochAccepted { epoch: ZabEpoch(2) });
    assert_eq!(promised.boots(2, z(1, 2), Faults::default()).fired(), Some("ZAB-13"), "it forgot its promise");
}

#[test]
fn zxids_rise_without_gaps() {
    assert_eq!(two().log(1, z(1, 3)).log(1, z(4, 1)).fired(), None);
    assert_eq!(two().log(1, z(1, 4)).fired(), Some("ZAB-14"));
    assert_eq!(two().log(1, z(1, 2)).fired(), Some("ZAB-14"));
    assert_eq!(two().log(1, z(2, 2)).fired(), Some("ZAB-14"));
}

#[test]
fn an_election_begins_with_what_is_on_disk() {
    let look = |applied, last| {
        let view = View { applied, last, ..View::default() };
        two().note_from(2, view, ZabNote::Looking { round: 1 }).fired()
    };
    assert_eq!(look(z(1, 1), z(1, 2)), None);
    assert_eq!(look(z(1, 1), z(1, 1)), Some("ZAB-15"), "Z1: the vote lags the journal");
    assert_eq!(look(z(1, 3), z(1, 2)), Some("ZAB-15"), "Z9: memory is ahead");
}

#[test]
fn no_packet_comes_out_of_turn() {
    let outcome = |note| fired(&Seen::new().note(1, note).find);
    for why in breach::ALL {
        assert_eq!(outcome(ZabNote::SteppedDown { why }), Some("ZAB-17"), "{why}");
        assert_eq!(outcome(ZabNote::LearnerDropped { learner: k(2), why }), Some("ZAB-17"), "{why}");
    }
    assert_eq!(outcome(ZabNote::SteppedDown { why: "its leader hung up" }), None);
}
