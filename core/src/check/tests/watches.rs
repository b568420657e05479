//! Watches: told once, in time, and in the end.

use super::*;
use crate::check::watches::{Awaited, Watches};
use crate::id::{SessionId, ZabEpoch, Zxid};
use crate::time::Instant;
use std::sync::Arc;

const S: SessionId = SessionId(7);

fn z(counter: u32) -> Zxid {
    Zxid::new(ZabEpoch(1), counter)
}

fn path() -> Arc<str> {
    "/app/c1-0".into()
}

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

/// A watch asked for, and set in the state of 1:5.
fn armed() -> (Watches, Findings) {
    let (mut watches, mut find) = (Watches::default(), Findings::default());
    watches.on_asked(S, &path(), false);
    watches.on_saw(S, &path(), Some(z(2)), z(5), true, &mut find);
    (watches, find)
}

#[test]
fn a_watch_tells_once() {
    let (mut watches, mut find) = armed();
    watches.on_told(S, &path(), DATA_CHANGED, &mut find);
    assert_eq!(fired(&find), None);
    watches.on_told(S, &path(), DATA_CHANGED, &mut find);
    assert_eq!(fired(&find), Some("TREE-3"));
}

#[test]
fn a_change_is_told_before_it_is_seen() {
    let sees = |told: bool, modified: Option<Zxid>| {
        let (mut watches, mut find) = armed();
        if told {
            watches.on_told(S, &path(), DATA_CHANGED, &mut find);
        }
        watches.on_saw(S, &path(), modified, z(9), false, &mut find);
        fired(&find)
    };
    assert_eq!(sees(true, Some(z(8))), None);
    assert_eq!(sees(false, Some(z(2))), None, "nothing changed");
    assert_eq!(sees(false, Some(z(8))), Some("TREE-5"));
    assert_eq!(sees(false, None), Some("TREE-5"), "it was deleted");
}

#[test]
fn every_change_is_told_in_the_end() {
    let rests = |changed: Zxid, at: u64, over: bool| {
        let (mut watches, mut find) = armed();
        if over {
            watches.on_session_over(S);
        }
        watches.at_rest(S, |_, _| Some((changed, Instant(at))), Instant(100), &mut find);
        fired(&find)
    };
    assert_eq!(rests(z(5), 7, false), None, "the change of 1:5 was seen when the watch was set");
    assert_eq!(rests(z(6), 100, false), None, "it may still be under way");
    assert_eq!(rests(z(6), 99, true), None, "the watch ended with its session");
    assert_eq!(rests(z(6), 99, false), Some("TREE-5"));
}

/// A watch on children asked for, and set in the state of 1:5, where they had changed at 1:4.
fn armed_for_children() -> (Watches, Findings) {
    let (mut watches, mut find) = (Watches::default(), Findings::default());
    watches.on_asked(S, &path(), true);
    watches.on_listed(S, &path(), z(4), z(5), true, &mut find);
    (watches, find)
}

#[test]
fn watches_on_data_and_on_children_are_two() {
    let tells = |event: i32| {
        let (mut watches, mut find) = armed_for_children();
        watches.on_told(S, &path(), event, &mut find);
        fired(&find)
    };
    assert_eq!((tells(CHILDREN_CHANGED), tells(DELETED)), (None, None));
    assert_eq!(tells(DATA_CHANGED), Some("TREE-3"));
    let (mut both, mut find) = armed_for_children();
    both.on_asked(S, &path(), false);
    both.on_told(S, &path(), DELETED, &mut find);
    both.on_told(S, &path(), DATA_CHANGED, &mut find);
    assert_eq!(fired(&find), None, "the second may have been set after the deletion");
    both.on_told(S, &path(), CHILDREN_CHANGED, &mut find);
    assert_eq!(fired(&find), Some("TREE-3"), "three times for two watches");
}

#[test]
fn other_children_are_told_before_they_are_seen() {
    let lists = |told: Option<i32>, modified: Zxid| {
        let (mut watches, mut find) = armed_for_children();
        if let Some(event) = told {
            watches.on_told(S, &path(), event, &mut find);
        }
        watches.on_listed(S, &path(), modified, z(9), false, &mut find);
        fired(&find)
    };
    assert_eq!(lists(Some(CHILDREN_CHANGED), z(8)), None);
    assert_eq!(lists(None, z(4)), None, "nothing changed");
    assert_eq!(lists(None, z(8)), Some("TREE-5"));
}

#[test]
fn a_creation_is_told_before_it_is_seen() {
    let sees = |told: bool, modified: Option<Zxid>| {
        let (mut watches, mut find) = (Watches::default(), Findings::default());
        watches.on_asked(S, &path(), false);
        watches.on_saw(S, &path(), None, z(5), true, &mut find);
        if told {
            watches.on_told(S, &path(), CREATED, &mut find);
        }
        watches.on_saw(S, &path(), modified, z(9), false, &mut find);
        fired(&find)
    };
    assert_eq!(sees(true, Some(z(8))), None);
    assert_eq!(sees(false, None), None, "it is still not there");
    assert_eq!(sees(false, Some(z(8))), Some("TREE-5"));
}

#[test]
fn each_watch_is_asked_in_the_end_for_what_it_waits_for() {
    let (watches, mut find) = armed_for_children();
    let changed = |_: &str, awaited| (awaited == Awaited::Data).then_some((z(6), Instant(7)));
    watches.at_rest(S, changed, Instant(100), &mut find);
    assert_eq!(fired(&find), None, "only its data changed");
    let changed = |_: &str, awaited| (awaited == Awaited::Children).then_some((z(6), Instant(7)));
    watches.at_rest(S, changed, Instant(100), &mut find);
    assert_eq!(fired(&find), Some("TREE-5"));
}
