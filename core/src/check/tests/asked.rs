//! What ZooKeeper's clients are told beside single reads and writes.

use super::*;
use crate::check::history::{Histories, Owed};
use crate::id::{KeeperId, NodeId, SessionId, ZabEpoch, Zxid};
use crate::note::client::ClientNote;
use crate::time::{Instant, UnixMillis};
use crate::znode::acl::{Acl, perms};
use crate::znode::{AclList, CreateKind, Id, Txn, TxnHeader, ZPath};
use std::sync::Arc;

const ANNA: SessionId = SessionId(7);
const BOB: SessionId = SessionId(8);

fn z(counter: u32) -> Zxid {
    Zxid::new(ZabEpoch(1), counter)
}

fn commit(histories: &mut Histories, session: SessionId, counter: u32, txn: &Txn) -> Option<&'static str> {
    let (header, mut find) =
        (TxnHeader { session, cxid: 1, zxid: z(counter), time: UnixMillis(0) }, Findings::default());
    histories.on_committed(Instant(u64::from(counter)), &header, txn, &mut find);
    fired(&find)
}

fn told(histories: &mut Histories, note: &ClientNote) -> Option<&'static str> {
    let mut find = Findings::default();
    histories.on_client(note, &Logs::default(), &mut find);
    fired(&find)
}

fn create(path: &str, acl: AclList) -> Txn {
    let path = ZPath::parse(path).unwrap();
    Txn::Create { kind: CreateKind::Plain, path, data: None, acl, ephemeral: false, parent_cversion: 1 }
}

fn delete(path: &str) -> Txn {
    Txn::Delete { path: ZPath::parse(path).unwrap() }
}

fn set(path: &str, version: i32) -> Txn {
    Txn::SetData { path: ZPath::parse(path).unwrap(), data: None, version }
}

/// Anna's multi is done at 1:1, another of hers fails at 1:2.
fn multi(session: SessionId, codes: &[i32], at: u32) -> Option<&'static str> {
    let mut histories = Histories::default();
    let done = Txn::Multi(vec![create("/app/a", AclList::open()), create("/app/b", AclList::open())]);
    let failed = Txn::Multi(vec![delete("/app/a"), Txn::Error(-103), Txn::Error(-2)]);
    commit(&mut histories, ANNA, 1, &done);
    commit(&mut histories, ANNA, 2, &failed);
    told(&mut histories, &ClientNote::MultiAnswered { session, codes: codes.to_vec(), zxid: z(at) })
}

#[test]
fn a_multi_is_answered_as_a_whole() {
    assert_eq!((multi(ANNA, &[0, 0], 1), multi(ANNA, &[0, -103, -2], 2)), (None, None));
    assert_eq!(multi(ANNA, &[0, -103], 1), Some("HIST-8"), "half of it");
    assert_eq!(multi(ANNA, &[0, 0, 0], 2), Some("HIST-8"), "it failed");
    assert_eq!(multi(ANNA, &[0, 0], 3), Some("HIST-8"), "there is no such transaction");
    assert_eq!(multi(BOB, &[0, 0], 1), Some("HIST-8"), "somebody else's");
}

#[test]
fn a_failed_multi_leaves_nothing() {
    let mut histories = Histories::default();
    commit(&mut histories, ANNA, 1, &Txn::Multi(vec![create("/app/a", AclList::open()), Txn::Error(-103)]));
    let path: Arc<str> = "/app/a".into();
    let found = |version, modified| ClientNote::Found {
        session: ANNA,
        path: path.clone(),
        version,
        modified,
        seen: z(2),
        watch: false,
    };
    assert_eq!(told(&mut histories, &found(-1, Zxid::ZERO)), None);
    assert_eq!(told(&mut histories, &found(0, z(1))), Some("HIST-7"));
}

#[test]
fn a_sync_brings_a_keeper_up_to_what_was_committed() {
    let client = NodeId::Client(1);
    let owed = Owed { keeper: KeeperId(2), epoch: ZabEpoch(1), committed: z(5) };
    let synced = |owed: Option<Owed>, reconnects: bool, at: u32, epoch: u32| {
        let (mut histories, mut find) = (Histories::default(), Findings::default());
        histories.on_sync_asked(client, owed);
        if reconnects {
            histories.on_connect(client);
        }
        histories.on_synced(client, z(at), |_| ZabEpoch(epoch), &mut find);
        fired(&find)
    };
    assert_eq!(synced(Some(owed), false, 5, 1), None);
    assert_eq!(synced(Some(owed), false, 4, 1), Some("HIST-9"));
    assert_eq!(synced(None, false, 4, 1), None, "its leader was deposed");
    assert_eq!(synced(Some(owed), false, 4, 2), None, "it may have answered before it joined the next epoch");
    assert_eq!(synced(Some(owed), true, 4, 1), None, "what was asked before has no answer");
}

#[test]
fn children_are_those_of_the_state_they_are_told_in() {
    let mut histories = Histories::default();
    for (counter, path) in [(1, "/app/d"), (2, "/app/d/a"), (3, "/app/d/b"), (4, "/app/d/b/below"), (5, "/app/de")] {
        commit(&mut histories, ANNA, counter, &create(path, AclList::open()));
    }
    commit(&mut histories, ANNA, 6, &delete("/app/d/a"));
    let mut lists = |names: &[&str], seen: u32| {
        let names = names.iter().map(|name| Arc::from(*name)).collect();
        let (path, modified) = ("/app/d".into(), z(3));
        told(
            &mut histories,
            &ClientNote::Listed {
                session: SessionId(i64::from(seen)),
                path,
                names,
                modified,
                seen: z(seen),
                watch: false,
            },
        )
    };
    assert_eq!((lists(&["b", "a"], 5), lists(&["b"], 6), lists(&["a"], 2)), (None, None, None));
    assert_eq!(lists(&["a", "b"], 6), Some("HIST-7"), "one is gone");
    assert_eq!(lists(&["a"], 5), Some("HIST-7"), "one is missing");
    assert_eq!(histories.children_changed("/app/d"), Some((z(6), Instant(6))));
}

/// Anna's alone, everybody's to read.
fn annas() -> AclList {
    AclList::new([Acl::new(perms::ALL, "digest", "anna:hash"), Acl::new(perms::READ, "world", "anyone")])
}

/// Anna has made `/app/d`, which is hers, and a node below it.
fn hers() -> Histories {
    let mut histories = Histories::default();
    histories.on_auth(ANNA, Id::new("digest", "anna:hash"));
    assert_eq!(commit(&mut histories, ANNA, 1, &create("/app/d", annas())), None);
    assert_eq!(commit(&mut histories, ANNA, 2, &create("/app/d/a", AclList::open())), None);
    histories
}

#[test]
fn only_whom_an_access_list_allows_changes_a_znode() {
    let acl = Txn::SetAcl { path: ZPath::parse("/app/d").unwrap(), acl: AclList::open(), version: 1 };
    for txn in [set("/app/d", 1), create("/app/d/b", AclList::open()), delete("/app/d/a"), acl] {
        assert_eq!(commit(&mut hers(), ANNA, 3, &txn), None, "{txn}");
        assert_eq!(commit(&mut hers(), BOB, 3, &txn), Some("HIST-10"), "{txn}");
        assert_eq!(commit(&mut hers(), BOB, 3, &Txn::Multi(vec![txn])), Some("HIST-10"));
    }
    assert_eq!(commit(&mut hers(), BOB, 3, &set("/app/d/a", 1)), None, "everybody's");
    assert_eq!(commit(&mut hers(), BOB, 3, &delete("/app/d")), None, "its parent permits it");
}

#[test]
fn an_access_list_is_told_as_it_is() {
    let sees = |session, acl, version| {
        told(&mut hers(), &ClientNote::SawAcl { session, path: "/app/d".into(), acl, version, seen: z(2) })
    };
    assert_eq!((sees(ANNA, annas(), 0), sees(BOB, annas().masked(), 0)), (None, None));
    assert_eq!(sees(BOB, annas(), 0), Some("HIST-7"), "the hash is not for him");
    assert_eq!(sees(ANNA, AclList::open(), 0), Some("HIST-7"));
    assert_eq!(sees(ANNA, annas(), 1), Some("HIST-7"));
}
