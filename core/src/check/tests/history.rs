//! Histories of clients.

use super::*;
use crate::check::history::Histories;
use crate::id::{NodeId, SessionId, ZabEpoch, Zxid};
use crate::note::client::ClientNote;
use crate::time::{Instant, UnixMillis};
use crate::znode::{AclList, CreateKind, Txn, TxnHeader, ZPath};
use bytes::Bytes;
use std::sync::Arc;

fn acknowledged(base: i64, first: u64, acks: i16) -> ClientNote {
    ClientNote::Acknowledged { partition: orders(), base: Offset(base), records: 1, first, acks }
}

fn read(base: i64, first: u64) -> ClientNote {
    ClientNote::Read { partition: orders(), base: Offset(base), records: 1, first, high_watermark: Offset(2) }
}

fn told(note: &ClientNote) -> Option<&'static str> {
    let (mut logs, mut find) = two_committed();
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    Histories::default().on_client(note, &logs, &mut find);
    fired(&find)
}

#[test]
fn a_producer_is_told_the_truth() {
    assert_eq!(told(&acknowledged(1, 11, -1)), None);
    assert_eq!(told(&acknowledged(0, 11, -1)), Some("HIST-1"), "somewhere else");
    assert_eq!(told(&acknowledged(2, 12, -1)), Some("HIST-1"), "not committed");
    assert_eq!(told(&acknowledged(2, 12, 1)), None, "acks=1 asks for no more");
}

#[test]
fn a_write_with_acks_1_may_be_lost() {
    let (mut logs, mut find) = two_committed();
    let mut histories = Histories::default();
    logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
    histories.on_client(&acknowledged(2, 12, 1), &logs, &mut find);
    logs.on_leader(B, &orders(), LeaderEpoch(2), &mut find);
    logs.on_append(B, &orders(), &[batch(2, 2, 22)], &mut find);
    logs.on_leader_high_watermark(B, &orders(), 3, None, &mut find);
    histories.on_committed_log(&orders(), logs.ghost(&orders()).unwrap(), &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["HIST-1"]), "K11");
}

#[test]
fn a_consumer_sees_what_is_committed_and_stays() {
    assert_eq!(told(&read(1, 11)), None);
    assert_eq!(told(&read(1, 10)), Some("HIST-2"));
    assert_eq!(told(&read(2, 12)), Some("HIST-3"));
}

/// A client of that number is told where the partition ends.
fn told_end(histories: &mut Histories, logs: &Logs, find: &mut Findings, client: u32, end: i64) {
    find.node = Some(NodeId::Client(client));
    histories.on_ends_asked([orders()].into_iter(), logs, find);
    let note = ClientNote::EndTold { partition: orders(), end: Offset(end), epoch: LeaderEpoch(1) };
    histories.on_client(&note, logs, find);
}

/// KIP-207: broker 2 leads next and has offsets 0 and 1, but does not know yet that both are committed.
#[test]
fn no_reader_is_told_less_than_it_knows() {
    let ends = |read_first: bool, ends: &[(u32, i64)]| {
        let (logs, mut find) = two_committed();
        let mut histories = Histories::default();
        if read_first {
            find.node = Some(NodeId::Client(1));
            histories.on_client(&read(1, 11), &logs, &mut find);
        }
        for (client, end) in ends {
            told_end(&mut histories, &logs, &mut find, *client, *end);
        }
        fired(&find)
    };
    assert_eq!(ends(false, &[(1, 1), (1, 2), (1, 2)]), None);
    assert_eq!(ends(false, &[(1, 2), (2, 1)]), None, "another reader may have been answered earlier");
    assert_eq!(ends(false, &[(1, 2), (1, 1)]), Some("HIST-11"), "told before");
    assert_eq!(ends(true, &[(1, 1)]), Some("HIST-11"), "read before");
    assert_eq!(ends(false, &[(1, 3)]), Some("HIST-3"), "nothing is committed there");
}

#[test]
fn no_reader_skips_what_is_committed() {
    let reads = |notes: &[ClientNote], given_up: bool| {
        let (mut logs, mut find) = two_committed();
        logs.on_append(A, &orders(), &[batch(2, 1, 12)], &mut find);
        logs.on_append(B, &orders(), &[batch(2, 1, 12)], &mut find);
        logs.on_leader_high_watermark(A, &orders(), 3, None, &mut find);
        if given_up {
            logs.on_unclean(&orders(), LeaderEpoch(2));
            logs.on_leader(C, &orders(), LeaderEpoch(2), &mut find);
        }
        let mut histories = Histories::default();
        find.node = Some(NodeId::Client(1));
        for note in notes {
            histories.on_client(note, &logs, &mut find);
        }
        fired(&find)
    };
    let lost = ClientNote::Reset { partition: orders(), from: Offset(1), to: Offset(2) };
    assert_eq!(reads(&[read(0, 10), read(1, 11), read(2, 12)], false), None);
    assert_eq!(reads(&[read(0, 10), read(2, 12)], false), Some("HIST-12"));
    assert_eq!(reads(&[read(2, 12), read(0, 10)], false), None, "it began anew");
    assert_eq!(reads(&[read(0, 10), lost, read(2, 12)], false), None, "it was told so");
    assert_eq!(reads(&[read(0, 10), read(2, 12)], true), None, "what is between was given up");
}

/// It goes on reading while the answer is under way.
#[test]
fn an_answer_may_be_older_than_what_was_read_meanwhile() {
    let (logs, mut find) = two_committed();
    let mut histories = Histories::default();
    find.node = Some(NodeId::Client(1));
    histories.on_ends_asked([orders()].into_iter(), &logs, &find);
    histories.on_client(&read(1, 11), &logs, &mut find);
    let note = ClientNote::EndTold { partition: orders(), end: Offset(1), epoch: LeaderEpoch(1) };
    histories.on_client(&note, &logs, &mut find);
    assert_eq!(fired(&find), None);
}

/// The answer was under way while the topic was deleted and made again.
#[test]
fn a_write_is_where_it_was_told_in_the_topic_it_was_told_of() {
    let acknowledged_after_rebirth = |first| {
        let (mut logs, mut find) = two_committed();
        logs.on_create(A, &orders(), TopicId([2; 16]));
        Histories::default().on_client(&acknowledged(1, first, -1), &logs, &mut find);
        fired(&find)
    };
    assert_eq!(acknowledged_after_rebirth(11), None);
    assert_eq!(acknowledged_after_rebirth(99), Some("HIST-1"));
}

/// The leader of the old topic has not heard yet that it is gone.
#[test]
fn a_reader_may_see_the_topic_that_was_there_before() {
    let (mut logs, mut find) = two_committed();
    logs.on_create(A, &orders(), TopicId([2; 16]));
    let mut histories = Histories::default();
    histories.on_client(&read(1, 11), &logs, &mut find);
    told_end(&mut histories, &logs, &mut find, 2, 2);
    assert_eq!(fired(&find), None);
    told_end(&mut histories, &logs, &mut find, 2, 3);
    assert_eq!(fired(&find), Some("HIST-3"), "neither had so much");
    let (mut logs, mut find) = two_committed();
    logs.on_create(A, &orders(), TopicId([2; 16]));
    histories.on_client(&read(1, 99), &logs, &mut find);
    assert_eq!(fired(&find), Some("HIST-3"), "neither had this");
}

#[test]
fn a_reader_may_be_told_less_of_what_was_given_up_or_made_again() {
    let (mut logs, mut find) = two_committed();
    let mut histories = Histories::default();
    told_end(&mut histories, &logs, &mut find, 1, 2);
    logs.on_unclean(&orders(), LeaderEpoch(2));
    logs.on_leader(C, &orders(), LeaderEpoch(2), &mut find);
    told_end(&mut histories, &logs, &mut find, 1, 0);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3", "HIST-11"]));
    let (mut logs, mut find) = two_committed();
    told_end(&mut histories, &logs, &mut find, 2, 2);
    logs.on_create(A, &orders(), TopicId([2; 16]));
    told_end(&mut histories, &logs, &mut find, 2, 0);
    assert_eq!(fired(&find), None, "another topic of that name");
}

#[test]
fn what_was_given_up_may_have_been_seen() {
    let (mut logs, mut find) = two_committed();
    logs.on_unclean(&orders(), LeaderEpoch(2));
    logs.on_leader(C, &orders(), LeaderEpoch(2), &mut find);
    let mut histories = Histories::default();
    histories.on_client(&read(1, 11), &logs, &mut find);
    histories.on_client(&acknowledged(1, 11, -1), &logs, &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3", "HIST-2", "HIST-1"]));
}

/// Broker 3, elected uncleanly, has offset 0 and not 1. An answer of the last leader arrives, which calls both committed.
#[test]
fn an_old_answer_may_call_committed_what_was_given_up() {
    let (mut logs, mut find) = two_committed();
    logs.on_append(C, &orders(), &[batch(0, 1, 10)], &mut find);
    logs.on_unclean(&orders(), LeaderEpoch(2));
    logs.on_leader(C, &orders(), LeaderEpoch(2), &mut find);
    assert_eq!(logs.ghost(&orders()).unwrap().high_watermark(), 1);
    Histories::default().on_client(&read(0, 10), &logs, &mut find);
    assert_eq!((fired(&find), allowed(&find)), (None, vec!["LOG-3"]));
}

/// Commits these batches of one producer.
fn sequences(batches: &[Stamped]) -> Option<&'static str> {
    let (mut logs, mut find) = replicated();
    logs.on_leader(A, &orders(), LeaderEpoch(1), &mut find);
    logs.on_append(A, &orders(), batches, &mut find);
    logs.on_leader_high_watermark(A, &orders(), batches.len() as i64, Some(&[A]), &mut find);
    Histories::default().on_committed_log(&orders(), logs.ghost(&orders()).unwrap(), &mut find);
    fired(&find)
}

#[test]
fn sequences_follow_each_other() {
    let at = |base: i64, epoch, sequence| numbered(base, 1, base as u64, epoch, sequence);
    assert_eq!(sequences(&[at(0, 0, 0), at(1, 0, 1), at(2, 1, 0)]), None);
    assert_eq!(sequences(&[at(0, 0, 0), at(1, 0, 0)]), Some("HIST-4"), "a duplicate");
    assert_eq!(sequences(&[at(0, 0, 0), at(1, 0, 2)]), Some("HIST-4"), "a gap");
}

/// The batch with value 1 was appended, but its producer did not know and began a new epoch with it.
#[test]
fn no_batch_comes_twice_in_two_epochs() {
    let at = |base: i64, value, epoch, sequence| numbered(base, 1, value, epoch, sequence);
    assert_eq!(sequences(&[at(0, 0, 0, 0), at(1, 1, 0, 1), at(2, 2, 1, 0)]), None);
    assert_eq!(sequences(&[at(0, 0, 0, 0), at(1, 1, 0, 1), at(2, 1, 1, 0)]), Some("HIST-4"));
}

const S: SessionId = SessionId(7);

fn z(counter: u32) -> Zxid {
    Zxid::new(ZabEpoch(1), counter)
}

fn header(counter: u32) -> TxnHeader {
    TxnHeader { session: S, cxid: 1, zxid: z(counter), time: UnixMillis(0) }
}

fn data(value: u64) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&value.to_be_bytes()))
}

fn commit(histories: &mut Histories, counter: u32, txn: &Txn) -> Option<&'static str> {
    let mut find = Findings::default();
    histories.on_committed(Instant(u64::from(counter)), &header(counter), txn, &mut find);
    fired(&find)
}

/// `/app/c` is created with 1 at 1:1, set to 2 at 1:3, and deleted at 1:5.
fn app() -> Histories {
    let mut histories = Histories::default();
    let path = ZPath::parse("/app/c").unwrap();
    let create = Txn::Create {
        kind: CreateKind::Plain,
        path: path.clone(),
        data: data(1),
        acl: AclList::open(),
        ephemeral: false,
        parent_cversion: 1,
    };
    let set = Txn::SetData { path: path.clone(), data: data(2), version: 1 };
    for (counter, txn) in [(1, create), (3, set), (5, Txn::Delete { path })] {
        commit(&mut histories, counter, &txn);
    }
    histories
}

fn heard(notes: &[ClientNote]) -> Option<&'static str> {
    let (mut histories, mut find) = (app(), Findings::default());
    for note in notes {
        histories.on_client(note, &Logs::default(), &mut find);
    }
    fired(&find)
}

fn wrote(value: u64, version: i32, at: u32) -> ClientNote {
    let path: Arc<str> = "/app/c".into();
    ClientNote::Wrote { session: S, path, data: Some(value), version, zxid: z(at) }
}

fn saw(value: Option<u64>, version: i32, modified: u32, seen: u32) -> ClientNote {
    let path: Arc<str> = "/app/c".into();
    ClientNote::Saw { session: S, path, data: value, version, modified: z(modified), seen: z(seen), watch: false }
}

#[test]
fn an_acknowledged_write_is_in_the_history() {
    assert_eq!(heard(&[wrote(1, 0, 1), wrote(2, 1, 3)]), None);
    assert_eq!(heard(&[wrote(2, 1, 2)]), Some("HIST-5"), "nothing was written at 1:2");
    assert_eq!(heard(&[wrote(2, 2, 3)]), Some("HIST-5"), "another version");
}

#[test]
fn a_session_never_goes_back() {
    assert_eq!(heard(&[saw(Some(2), 1, 3, 4), saw(Some(2), 1, 3, 4)]), None);
    assert_eq!(heard(&[saw(Some(2), 1, 3, 4), saw(Some(1), 0, 1, 2)]), Some("HIST-6"));
}

#[test]
fn a_read_returns_one_state() {
    let gone = ClientNote::Saw {
        session: S,
        path: "/app/c".into(),
        data: None,
        version: -1,
        modified: Zxid::ZERO,
        seen: z(6),
        watch: false,
    };
    assert_eq!(heard(&[saw(Some(1), 0, 1, 2), saw(Some(2), 1, 3, 4), gone]), None, "a lagging server's is a state too");
    assert_eq!(heard(&[saw(Some(1), 0, 1, 3)]), Some("HIST-7"), "the state of 1:3 has 2");
    assert_eq!(heard(&[saw(Some(2), 1, 3, 6)]), Some("HIST-7"), "it is gone by then");
}
