//! A cluster judged afterwards.

use super::orders;
use crate::check::afterwards::Afterwards;
use crate::id::{NodeId, ProducerEpoch, ProducerId, SessionId, ZabEpoch, Zxid};
use crate::note::client::ClientNote;
use crate::record::batch::{Batch, BatchBuilder, NewRecord};
use crate::record::offset::Offset;
use crate::time::{Instant, UnixMillis};
use crate::znode::{AclList, CreateKind, LoggedTxn, Txn, TxnHeader, ZPath};
use bytes::Bytes;

/// A batch of an idempotent producer, as it lies in a log.
fn batch(base: i64, sequence: i32, values: &[u64]) -> Batch {
    let records = values.iter().map(|value| NewRecord::new(0, None, Some(&value.to_be_bytes())));
    let built = BatchBuilder::default().records(records).idempotent(ProducerId(9), ProducerEpoch(0), sequence).build();
    let stamped = Batch::take(&built).unwrap().stamp(Offset(base), crate::id::LeaderEpoch(1));
    Batch::take(&stamped.to_bytes()).unwrap()
}

fn txn(counter: u32, txn: Txn) -> LoggedTxn {
    let header =
        TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid::new(ZabEpoch(1), counter), time: UnixMillis(0) };
    LoggedTxn { header, txn, digest: None }
}

fn value(value: u64) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&value.to_be_bytes()))
}

/// Offsets 0 to 3 hold 10 to 13; `/app/a` is made with 1 and set to 2.
fn judge(batches: &[Batch], notes: &[ClientNote]) -> Option<&'static str> {
    let path = ZPath::parse("/app/a").unwrap();
    let create = Txn::Create {
        kind: CreateKind::Plain,
        path: path.clone(),
        data: value(1),
        acl: AclList::open(),
        ephemeral: false,
        parent_cversion: 1,
    };
    let mut afterwards =
        Afterwards::new(vec![txn(1, create), txn(2, Txn::SetData { path, data: value(2), version: 1 })]);
    afterwards.committed(&orders(), batches).unwrap();
    for note in notes {
        afterwards.told(Instant::ZERO, NodeId::Client(1), note);
    }
    afterwards.fired().map(|violation| violation.invariant)
}

fn good() -> [Batch; 2] {
    [batch(0, 0, &[10, 11]), batch(2, 2, &[12, 13])]
}

fn acknowledged(base: i64, first: u64) -> ClientNote {
    ClientNote::Acknowledged { partition: orders(), base: Offset(base), records: 1, first, acks: -1 }
}

fn read(base: i64, first: u64) -> ClientNote {
    ClientNote::Read { partition: orders(), base: Offset(base), records: 1, first, high_watermark: Offset(4) }
}

fn wrote(counter: u32, data: u64, version: i32) -> ClientNote {
    let zxid = Zxid::new(ZabEpoch(1), counter);
    ClientNote::Wrote { session: SessionId(7), path: "/app/a".into(), data: Some(data), version, zxid }
}

fn saw(seen: u32, data: u64, version: i32) -> ClientNote {
    let modified = Zxid::new(ZabEpoch(1), version as u32 + 1);
    let seen = Zxid::new(ZabEpoch(1), seen);
    let (session, path) = (SessionId(8), "/app/a".into());
    ClientNote::Saw { session, path, data: Some(data), version, modified, seen, watch: false }
}

#[test]
fn what_is_there_is_true_of_every_record() {
    let notes = [acknowledged(1, 11), acknowledged(2, 12), read(3, 13), wrote(1, 1, 0), saw(1, 1, 0), wrote(2, 2, 1)];
    assert_eq!(judge(&good(), &notes), None);
}

#[test]
fn what_retention_took_is_owed_to_nobody() {
    let rest = [batch(2, 2, &[12, 13])];
    assert_eq!(judge(&rest, &[acknowledged(0, 10), read(1, 11), acknowledged(3, 13)]), None);
    assert_eq!(judge(&rest, &[acknowledged(3, 12)]), Some("HIST-1"));
    assert_eq!(judge(&[rest[0].clone(), batch(4, 3, &[13])], &[]), Some("HIST-4"), "a duplicate");
}

#[test]
fn a_lost_record_is_seen() {
    assert_eq!(judge(&good(), &[acknowledged(4, 14)]), Some("HIST-1"), "behind the end");
    assert_eq!(judge(&good(), &[acknowledged(1, 12)]), Some("HIST-1"), "something else lies there");
    assert_eq!(judge(&good(), &[read(1, 12)]), Some("HIST-2"));
    assert_eq!(judge(&good(), &[read(4, 14)]), Some("HIST-3"));
}

#[test]
fn a_duplicate_is_seen() {
    let again = batch(4, 2, &[12, 13]);
    assert_eq!(judge(&[good().to_vec(), vec![again]].concat(), &[]), Some("HIST-4"));
}

#[test]
fn a_lost_write_and_a_read_that_goes_back_are_seen() {
    assert_eq!(judge(&[], &[wrote(3, 3, 2)]), Some("HIST-5"), "no such transaction");
    assert_eq!(judge(&[], &[saw(2, 2, 1), saw(1, 1, 0)]), Some("HIST-6"), "an answer from the past");
    assert_eq!(judge(&[], &[saw(2, 1, 0)]), Some("HIST-7"), "an old value in a new state");
}
