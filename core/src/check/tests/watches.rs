//! Watches: told once, in time, and in the end.

use super::*;
use crate::check::watches::Watches;
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

/// A watch asked for, and set in the state of 1:5.
fn armed() -> (Watches, Findings) {
    let (mut watches, mut find) = (Watches::default(), Findings::default());
    watches.on_asked(S, &path());
    watches.on_saw(S, &path(), Some(z(2)), z(5), true, &mut find);
    (watches, find)
}

#[test]
fn a_watch_tells_once() {
    let (mut watches, mut find) = armed();
    watches.on_told(S, &path(), &mut find);
    assert_eq!(fired(&find), None);
    watches.on_told(S, &path(), &mut find);
    assert_eq!(fired(&find), Some("TREE-3"));
}

#[test]
fn a_change_is_told_before_it_is_seen() {
    let sees = |told: bool, modified: Option<Zxid>| {
        let (mut watches, mut find) = armed();
        if told {
            watches.on_told(S, &path(), &mut find);
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
        watches.at_rest(S, |_| Some((changed, Instant(at))), Instant(100), &mut find);
        fired(&find)
    };
    assert_eq!(rests(z(5), 7, false), None, "the change of 1:5 was seen when the watch was set");
    assert_eq!(rests(z(6), 100, false), None, "it may still be under way");
    assert_eq!(rests(z(6), 99, true), None, "the watch ended with its session");
    assert_eq!(rests(z(6), 99, false), Some("TREE-5"));
}
