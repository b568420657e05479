//! What one client may cost the others, and what it may hear that was not for it.

use super::*;
use crate::znode::{Acl, Id};

fn bytes(path: &str, size: usize) -> Op {
    Op::SetData { path: path.into(), data: Some(Bytes::from(vec![7; size])), version: -1 }
}

/// A client counts anew with each connection, as kazoo does: its write 7 is not the write 7 that the last one asked for.
#[test]
fn an_answer_goes_to_the_connection_that_asked() {
    for still_open in [true, false] {
        let mut ensemble = Ensemble::new();
        let client = ensemble.connect(ensemble.follower());
        ensemble.ask(client, 1, create("/a", 0));
        ensemble.say(client, 7, create("/b", 0));
        if !still_open {
            ensemble.step(client.at, Input::Closed { conn: client.conn });
        }
        let again = Client { conn: ConnId(77), ..client };
        let connect = Connect {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 4_000,
            session: client.session,
            password: Bytes::copy_from_slice(&session::password(client.session)),
            read_only: None,
        };
        ensemble.send(again.at, again.conn, Request::Connect(connect));
        ensemble.say(again, 7, set("/a", "y", -1));
        ensemble.run();
        assert_eq!(ensemble.hear(again), ["connected", "7: v1"], "still open: {still_open}");
        assert_eq!(ensemble.ask(again, 8, get("/b", false)), "8: x v0");
        assert_eq!(ensemble.ask(again, 7, set("/b", "y", -1)), "7: v1", "nothing is left of the older connection");
    }
}

#[test]
fn many_ephemerals_go_without_their_names() {
    let mut ensemble = Ensemble::new();
    let client = ensemble.connect(ensemble.follower());
    let long = "x".repeat(600_000);
    for n in 0..3 {
        assert_eq!(ensemble.ask(client, n, create(&format!("/{n}{long}"), 1)), format!("{n}: /{n}{long}"));
    }
    assert_eq!(ensemble.ask(client, 9, Op::CloseSession), "9: ok, closed");
    let longest = ensemble.disks.values().flat_map(|disk| disk.boot.txns.iter().map(|(_, txn)| txn.len())).max();
    assert!(longest < Some(700_000), "{longest:?}");
    assert_eq!(ensemble.keepers[&client.at].tree().ephemerals(client.session).count(), 0);
    ensemble.assert_one_tree();
}

#[test]
fn an_access_list_and_who_one_is_have_an_end() {
    let mut ensemble = Ensemble::new();
    let client = ensemble.connect(ensemble.leader());
    let lines = |count: u32| {
        AclList::new(
            (0..count)
                .map(|n| Acl { perms: 1, id: Id::new("ip", &format!("10.0.{}.{}", n / 256, n % 256)) })
                .collect::<Vec<_>>(),
        )
    };
    let of =
        |path: &str, acl| Op::Create(Create { kind: CreateKind::Plain, path: path.into(), data: None, acl, flags: 0 });
    assert_eq!(ensemble.ask(client, 1, of("/most", lines(1000))), "1: /most");
    assert_eq!(ensemble.ask(client, 2, of("/more", lines(1001))), "2: INVALIDACL");
    let auth = |n: i32| Op::Auth { scheme: "digest".into(), credentials: format!("user{n}:x").into_bytes().into() };
    // The address is one of them.
    for n in 1..100 {
        assert_eq!(ensemble.ask(client, -4, auth(n)), "-4: ok");
    }
    assert_eq!(ensemble.ask(client, -4, auth(1)), "-4: ok", "known already");
    assert_eq!(ensemble.ask(client, -4, auth(100)), "-4: AUTHFAILED, closed");
}

#[test]
fn a_multi_read_holds_so_much() {
    let mut ensemble = Ensemble::new();
    let client = ensemble.connect(ensemble.leader());
    ensemble.ask(client, 1, create("/large", 0));
    ensemble.ask(client, 2, bytes("/large", 1_000_000));
    ensemble.raw.clear();
    ensemble.ask(client, 3, Op::MultiRead(vec![get("/large", false); 1000]));
    let Some((_, Reply::Answer { body: Some(Body::Multi(parts)), .. })) = ensemble.raw.last() else {
        panic!("no answer")
    };
    let read = parts.iter().filter(|part| matches!(part, Part::Done { .. })).count();
    assert_eq!((parts.len(), read), (1000, 5));
    assert_eq!(parts[5], Part::Failed(ErrorCode::MarshallingError));
}
