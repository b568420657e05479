//! Trees, sessions and names.

use super::*;
use crate::check::tree::Trees;
use crate::id::{KeeperId, SessionId, ZabEpoch, Zxid};
use crate::note::keeper::KeeperNote;
use crate::time::{Span, UnixMillis};
use crate::znode::{AclList, CreateKind, Tree, Txn, TxnHeader, ZPath};

const S: SessionId = SessionId(7);

fn z(counter: u32) -> Zxid {
    Zxid::new(ZabEpoch(1), counter)
}

fn header(counter: u32) -> TxnHeader {
    TxnHeader { session: S, cxid: 1, zxid: z(counter), time: UnixMillis(0) }
}

fn create(path: &str, ephemeral: bool) -> Txn {
    Txn::Create {
        kind: CreateKind::Plain,
        path: ZPath::parse(path).unwrap(),
        data: None,
        acl: AclList::open(),
        ephemeral,
        parent_cversion: -1,
    }
}

/// These transactions are committed from 1:1 on.
fn committed(txns: &[Txn]) -> (Trees, Findings) {
    let (mut trees, mut find) = (Trees::default(), Findings::default());
    for (at, txn) in txns.iter().enumerate() {
        trees.on_committed(&header(at as u32 + 1), txn, &mut find);
    }
    (trees, find)
}

fn outcome(txns: &[Txn]) -> Option<&'static str> {
    fired(&committed(txns).1)
}

const OPEN: Txn = Txn::CreateSession { timeout: 100 };

#[test]
fn equal_zxids_mean_equal_trees() {
    let (mut trees, mut find) = committed(&[]);
    trees.compare(KeeperId(1), z(1), 5, &mut find);
    trees.compare(KeeperId(2), z(2), 6, &mut find);
    trees.compare(KeeperId(2), z(1), 5, &mut find);
    assert_eq!(fired(&find), None);
    trees.compare(KeeperId(3), z(2), 5, &mut find);
    assert_eq!(fired(&find), Some("TREE-1"));
}

#[test]
fn ephemerals_need_a_session() {
    let close = Txn::CloseSession { paths: Vec::new() };
    assert_eq!(outcome(&[OPEN, create("/e", true), close.clone(), create("/p", false)]), None);
    assert_eq!(outcome(&[OPEN, close, create("/e", true)]), Some("TREE-2"));
}

#[test]
fn ephemerals_end_with_their_session() {
    let close = Txn::CloseSession { paths: Vec::new() };
    let txns = [OPEN, create("/e", true), close];
    let (mut trees, mut find) = committed(&txns);
    let mut tree = Tree::new();
    for (at, txn) in txns.iter().enumerate() {
        tree.apply(&header(at as u32 + 1), txn);
    }
    trees.on_applied(KeeperId(1), &tree, z(2), &mut find);
    assert_eq!(fired(&find), None);
    // A keeper that skipped the end of the session (ZOOKEEPER-2355).
    let mut tree = Tree::new();
    tree.apply(&header(1), &txns[0]);
    tree.apply(&header(2), &txns[1]);
    tree.set_last_zxid(z(4));
    trees.on_applied(KeeperId(2), &tree, z(2), &mut find);
    assert_eq!(fired(&find), Some("TREE-2"));
}

#[test]
fn numbers_under_a_parent_rise() {
    let a = create("/q/a-0000000003", false);
    assert_eq!(outcome(&[a.clone(), create("/q/b-0000000004", false), create("/r/a-0000000003", false)]), None);
    assert_eq!(outcome(&[a.clone(), create("/q/b-0000000003", false)]), Some("TREE-4"));
    let gone = Txn::Delete { path: ZPath::parse("/q").unwrap() };
    assert_eq!(outcome(&[a.clone(), gone, a]), None, "a new parent counts anew");
}

#[test]
fn sessions_expire_late_and_ids_are_used_once() {
    let expire = |silent| {
        let (mut trees, mut find) = committed(&[OPEN]);
        trees.on_note(&KeeperNote::SessionExpired { session: S, silent: Span::millis(silent) }, &mut find);
        fired(&find)
    };
    assert_eq!(expire(100), None);
    assert_eq!(expire(99), Some("ZAB-23"));
    assert_eq!(outcome(&[OPEN, OPEN]), Some("ZAB-23"));
}

#[test]
fn a_tree_is_as_its_leader_foretold() {
    let (mut trees, mut find) = committed(&[]);
    trees.on_note(&KeeperNote::TreeDiverged { zxid: z(1), ours: 1, foretold: 2 }, &mut find);
    assert_eq!(fired(&find), Some("ZAB-16"));
}
