//! That what was recorded can be replayed, that what differs is found, and that a damaged recording is refused.

use super::lab::{KEEPER, Lab};
use super::*;
use crate::observe::recording::{Check, Frame, Frames, head, put_frame};
use crate::observe::replay::{Replayed, Trouble, replay};
use bytes::Bytes;
use glasshouse_core::api::kafka::*;
use glasshouse_core::api::keeper::{self, CreateMode, Op};
use glasshouse_core::id::{NodeId, ProducerEpoch, ProducerId, SessionId, TopicPartition, Zxid};
use glasshouse_core::record::batch::{BatchBuilder, NewRecord};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::znode::acl::AclList;
use glasshouse_core::znode::txn::CreateKind;

const SECRET: &[u8] = b"nobody else's business";

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("glasshouse-recorder-{:016x}", getrandom::u64().unwrap());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn batch(sequence: i32, values: usize) -> Bytes {
    let records = (0..values).map(|_| NewRecord::new(1_700_000_000_000, Some(b"key"), Some(SECRET)));
    BatchBuilder::default().idempotent(ProducerId(4), ProducerEpoch(0), sequence).records(records).build()
}

fn produce(lab: &mut Lab, leader: usize, records: Bytes) -> ErrorCode {
    let partition = ProducePartition { index: 0, records: Some(records), ..Default::default() };
    let topic = ProduceTopic { name: "orders".into(), partitions: vec![partition], ..Default::default() };
    lab.ask_broker(leader, ProduceRequest { acks: -1, timeout_ms: 1000, topics: vec![topic], ..Default::default() });
    let Response::Produce(produced) = lab.kafka_answer() else { panic!("not produced") };
    produced.topics[0].partitions[0].error
}

/// Topics, records, a reader, a client of the keeper: then everybody stops in order.
fn run(folder: &Folder) -> Lab {
    let mut lab = Lab::new(&folder.0);
    let knows = |lab: &Lab, at: usize| lab.seats[at].node.as_broker().unwrap().metadata().brokers().count();
    lab.until("both brokers know of each other", |lab| knows(lab, 1) == 2 && knows(lab, 2) == 2);
    let controller = (1..=2).find(|at| lab.seats[*at].node.as_broker().unwrap().controller_epoch().is_some()).unwrap();
    let orders =
        CreatableTopic { name: "orders".into(), num_partitions: 1, replication_factor: 2, ..Default::default() };
    lab.ask_broker(controller, CreateTopicsRequest { topics: vec![orders], ..Default::default() });
    let Response::CreateTopics(created) = lab.kafka_answer() else { panic!("not created") };
    assert_eq!(created.topics[0].error, ErrorCode::NONE);
    let name = TopicPartition::new("orders", 0);
    let leads = |lab: &Lab, at: usize| {
        let broker = lab.seats[at].node.as_broker().unwrap();
        broker.partition(&name).is_some_and(|partition| partition.leader().is_some() && partition.settings_are_read)
    };
    lab.until("somebody leads", |lab| leads(lab, 1) || leads(lab, 2));
    let leader = if leads(&lab, 1) { 1 } else { 2 };

    for at in 0..20 {
        assert_eq!(produce(&mut lab, leader, batch(at * 3, 3)), ErrorCode::NONE);
    }
    assert_eq!(produce(&mut lab, leader, batch(57, 3)), ErrorCode::NONE, "a duplicate");
    let mut broken = batch(60, 3).to_vec();
    broken[80] ^= 1;
    assert_eq!(produce(&mut lab, leader, broken.into()), ErrorCode::CORRUPT_MESSAGE);
    let end = lab.seats[leader].node.as_broker().unwrap().partition(&name).unwrap().log.end();
    assert_eq!(end, Offset(60));
    lab.ask_broker(leader, ListOffsetsRequest::default());
    lab.kafka_answer();
    use_keeper(&mut lab);
    for at in [1, 2, KEEPER] {
        lab.give(at, glasshouse_core::node::Input::Shutdown);
        lab.until("it stops", |lab| lab.seats[at].stopped);
    }
    lab
}

fn use_keeper(lab: &mut Lab) {
    let conn = lab.connect();
    let connect = keeper::Connect {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 10_000,
        session: SessionId(0),
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    };
    lab.ask_keeper(conn, &keeper::Request::Connect(connect));
    let create = |at: i32| keeper::Create {
        kind: CreateKind::WithStat,
        path: format!("/node-{at}").into(),
        data: Some(Bytes::from_static(b"data")),
        acl: AclList::open(),
        flags: CreateMode::Persistent as i32,
    };
    // More than one snapshot's worth.
    for at in 0..100 {
        lab.ask_keeper(conn, &keeper::Request::Op { xid: at + 1, op: Op::Create(create(at)) });
    }
    lab.ask_keeper(conn, &keeper::Request::Op { xid: 200, op: Op::GetData { path: "/node-7".into(), watch: true } });
    lab.until("the keeper has answered", |lab| lab.answers.len() >= 102);
    let word = lab.connect();
    lab.ask_keeper(word, &keeper::Request::FourLetter(*b"ruok"));
    lab.until("the keeper is well", |lab| lab.answers.len() >= 103);
    lab.answers.clear();
}

fn read(file: &Path) -> Bytes {
    Bytes::from(std::fs::read(file).unwrap())
}

fn again(recording: Bytes) -> Result<Replayed, Trouble> {
    replay(recording, |_, _, _| {})
}

#[test]
fn a_recorded_cluster_is_replayed_node_by_node() {
    let folder = Folder::new();
    let lab = run(&folder);
    for seat in &lab.seats {
        let recording = read(&seat.file);
        assert!(!recording.windows(SECRET.len()).any(|window| window == SECRET), "{} keeps a secret badly", seat.id);
        let replayed = again(recording).unwrap();
        assert_eq!((replayed.node, replayed.ended.as_deref()), (seat.id, Some("stopped in order")));
        assert_eq!(replayed.state, glasshouse_core::digest::Digest::of(&seat.node), "{}", seat.id);
        assert!(replayed.checks >= 2 && replayed.steps > 50, "{replayed:?}");
    }
}

/// The frames of a recording, with their contents.
fn frames(recording: &Bytes) -> Vec<(Frame, Bytes)> {
    let mut frames = Frames::open(recording.clone()).unwrap();
    std::iter::from_fn(|| frames.take().unwrap()).collect()
}

fn join(contents: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut file = head();
    contents.into_iter().for_each(|contents| put_frame(&contents, &mut file));
    file.into()
}

#[test]
fn a_death_cuts_a_recording_anywhere_and_what_is_whole_is_replayed() {
    let folder = Folder::new();
    let lab = run(&folder);
    let recording = read(&lab.seats[1].file);
    let lengths: Vec<usize> = frames(&recording).iter().map(|(_, contents)| contents.len() + 8).collect();
    let beginning = head().len() + lengths[0];
    for cut in [beginning, beginning + 1, beginning + 9, recording.len() / 3, recording.len() - 1] {
        let replayed = again(recording.slice(..cut)).unwrap();
        assert_eq!(replayed.ended, None, "cut at {cut}");
    }
    for cut in [0, 5, 9, 10, 30, beginning - 1] {
        assert!(matches!(again(recording.slice(..cut)), Err(Trouble::Damaged(_))), "cut at {cut}");
    }
}

#[test]
fn a_machine_that_does_something_else_is_found_out() {
    let folder = Folder::new();
    let lab = run(&folder);
    let recording = read(&lab.seats[2].file);
    let whole = frames(&recording);
    let inputs = whole.iter().enumerate().filter(|(_, (frame, _))| matches!(frame, Frame::Input(..)));
    let missing = inputs.map(|(at, _)| at).nth(40).unwrap();
    let without = whole.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, (_, contents))| contents.clone());
    assert!(matches!(again(join(without)), Err(Trouble::Differs { .. })));
    let lie = Check { steps: 0, digest: 1, state: 2 };
    let lied = [whole[0].1.clone(), crate::observe::recording::check(lie)];
    let Err(Trouble::Differs { recorded, replayed }) = again(join(lied)) else { panic!("the lie was believed") };
    assert_eq!((recorded, replayed.steps), (lie, 0));
}

#[test]
fn a_damaged_recording_is_refused() {
    let folder = Folder::new();
    let lab = run(&folder);
    let recording = read(&lab.seats[KEEPER].file);
    for at in [0, 9, 14, 40, recording.len() / 2, recording.len() - 3] {
        let mut flipped = recording.to_vec();
        flipped[at] ^= 0x20;
        // A length that grew can look like a death; it must not look like a whole recording.
        match again(flipped.into()) {
            Err(Trouble::Damaged(_)) => {}
            Ok(replayed) => assert_eq!(replayed.ended, None, "a bit at {at}"),
            Err(other) => panic!("a bit at {at}: {other:?}"),
        }
    }
    // A sum can be right, and the contents hostile all the same.
    let whole = frames(&recording);
    for (at, (_, contents)) in whole.iter().enumerate().step_by(37) {
        for cut in [0, 1, contents.len() / 2, contents.len().saturating_sub(1)] {
            let before = whole[..at].iter().map(|(_, contents)| contents.clone());
            let hostile = join(before.chain([contents.slice(..cut)]));
            assert!(matches!(again(hostile), Err(Trouble::Damaged(_))), "frame {at} cut at {cut}");
        }
    }
    let twice = join([whole[0].1.clone(), whole[0].1.clone()]);
    assert!(matches!(again(twice), Err(Trouble::Damaged(_))));
}

#[test]
fn an_earlier_recording_is_not_overwritten() {
    let folder = Folder::new();
    let (first, _) = (Lab::new(&folder.0), ());
    let second = Lab::new(&folder.0);
    drop((first, second));
    let recorded = |name: &str| again(read(&folder.0.join(name))).unwrap();
    assert_eq!(recorded("keeper-1").node, NodeId::keeper(1));
    assert_eq!(recorded("keeper-1.2"), recorded("keeper-1"));
}
