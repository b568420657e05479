//! The decoders beside the big ones: small files, znodes, scenarios, mesh links, the bodies of quorum packets, and record
//! batches. Bent by a seeded hand as frames are: none panics, none holds much more than arrived, and what is accepted
//! reads back equal after writing it. `core/fuzz` has a target for each.

use crate::allocations::peak;
use crate::hostile::bend;
use crate::vectors::recorded;
use bytes::Bytes;
use glasshouse_core::api::kafka::ApiKey;
use glasshouse_core::api::peer::PeerMessage;
use glasshouse_core::api::quorum::{
    Activate, ForwardedRequest, LearnerInfo, Revalidate, Revalidated, decode_ack_epoch, decode_leader_info,
    decode_touches, encode_ack_epoch, encode_leader_info, encode_touches,
};
use glasshouse_core::broker::znodes::json::Json;
use glasshouse_core::broker::znodes::{self, BrokerInfo, PartitionState, ProducerIdBlock, TopicInfo};
use glasshouse_core::id::{
    BrokerId, KeeperId, LeaderEpoch, ProducerEpoch, ProducerId, SessionId, TopicPartition, Zxid,
};
use glasshouse_core::record::batch::build::control_batch;
use glasshouse_core::record::batch::{Batch, BatchBuilder, ControlKind, NewRecord, batches};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::record::producer::{ProducerSnapshot, SnapshotEntry};
use glasshouse_core::rng::Rng;
use glasshouse_core::rules::Rules;
use glasshouse_core::sim::scenario::Scenario;
use glasshouse_core::sim::swarm;
use glasshouse_core::store::journal::snapshot::Marker;
use glasshouse_core::store::small_file;
use glasshouse_core::time::UnixMillis;
use glasshouse_core::wire::kafka::{decode_request, decode_response};
use glasshouse_core::wire::link::LinkCodec;
use glasshouse_core::znode::checksum::adler32;
use std::collections::BTreeMap;

/// What a decoder may hold for each byte that arrived: two bytes of JSON are a value, while its list grows.
pub const MULTIPLE: u64 = 64;
/// A refused text costs a sentence, a scenario its settings.
pub const SLACK: u64 = 4096;

/// How many bent copies were refused, and how many accepted.
#[derive(Debug, Default)]
pub struct Verdicts([u32; 2]);

impl Verdicts {
    /// Bends every one of `wholes` many times. `decode` gives `None` for a refusal; what it gives otherwise, `encode`
    /// must turn into bytes that are read as the same.
    pub fn provoke<T: PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        wholes: &[Bytes],
        decode: impl Fn(Bytes) -> Option<T>,
        encode: impl Fn(&T) -> Bytes,
    ) {
        let root = Rng::new(0x736d).fork(name);
        for (number, whole) in wholes.iter().enumerate() {
            assert!(decode(whole.clone()).is_some(), "{name} {number} is refused as it is");
            let mut rng = root.fork(&number.to_string());
            for length in (0..whole.len()).take(200) {
                self.judge(name, whole.slice(..length), &decode, &encode);
            }
            for _ in 0..300 {
                let mut bytes = whole.to_vec();
                for _ in 0..rng.range(1, 3) {
                    bend(&mut bytes, &mut rng);
                }
                self.judge(name, bytes.into(), &decode, &encode);
            }
        }
    }

    fn judge<T: PartialEq + std::fmt::Debug>(
        &mut self,
        name: &str,
        bytes: Bytes,
        decode: &impl Fn(Bytes) -> Option<T>,
        encode: &impl Fn(&T) -> Bytes,
    ) {
        let (held, read) = peak(|| decode(bytes.clone()));
        let limit = bytes.len() as u64 * MULTIPLE + SLACK;
        assert!(held <= limit, "{} bytes made {name} hold {held}: {bytes:02x?}", bytes.len());
        self.0[usize::from(read.is_some())] += 1;
        if let Some(read) = read {
            assert_eq!(decode(encode(&read)).as_ref(), Some(&read), "{name}: {bytes:02x?}");
        }
    }

    pub fn assert_both(&self, least: u32) {
        assert!(self.0.iter().all(|count| *count >= least), "refused and accepted: {:?}", self.0);
    }
}

fn text(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[test]
fn bent_checkpoints_and_properties_are_refused_or_understood_but_never_hurt() {
    let mut verdicts = Verdicts::default();
    let offsets = vec![(TopicPartition::new("orders", 3), Offset(17)), (TopicPartition::new("a.b", 0), Offset(0))];
    let offsets = small_file::offsets_to_bytes(&offsets);
    let decode = |bytes: Bytes| small_file::offsets_from_bytes(&bytes).ok();
    verdicts.provoke("offsets", &[offsets], decode, |read| small_file::offsets_to_bytes(read));
    let epochs = small_file::epochs_to_bytes(&[(LeaderEpoch(0), Offset(0)), (LeaderEpoch(4), Offset(20))]);
    let decode = |bytes: Bytes| small_file::epochs_from_bytes(&bytes).ok();
    verdicts.provoke("epochs", &[epochs], decode, |read| small_file::epochs_to_bytes(read));
    let metas = [
        small_file::meta_to_bytes(BrokerId(2), "ULNCgPOITiuxo3Fj5LDndg"),
        Bytes::from_static(include_bytes!("../vectors/kafka/files/log-dir/meta.properties")),
    ];
    let decode = |bytes: Bytes| small_file::meta_from_bytes(&bytes);
    verdicts.provoke("meta", &metas, decode, |(id, cluster)| small_file::meta_to_bytes(*id, cluster));
    let metadata = Bytes::from_static(include_bytes!("../vectors/kafka/files/log-dir/t1-0/partition.metadata"));
    let decode = |bytes: Bytes| small_file::topic_id_from_bytes(&bytes);
    verdicts.provoke("topic id", &[metadata], decode, |id| format!("version: 0\ntopic_id: {id}").into());
    let marker =
        Bytes::from_static(b"version-2/snapshot.10000002a 81 0badcafe\nversion-2/log.1\nversion-2/log.100000001\n");
    // Its last line is a sum over the others, put right here, as only a bug or an enemy would.
    let sealed = |bytes: Bytes| [&bytes[..], format!("{:08x}\n", adler32(&bytes)).as_bytes()].concat();
    let unsealed = |marker: &Marker| marker.to_bytes().slice(..marker.to_bytes().len() - 9);
    verdicts.provoke("marker", &[marker], |bytes| Marker::parse(&sealed(bytes)), unsealed);
    verdicts.assert_both(200);
}

#[test]
fn a_bent_producer_snapshot_is_refused() {
    let entry = |id: i64| SnapshotEntry {
        producer: ProducerId(id),
        epoch: ProducerEpoch(1),
        last_sequence: 41,
        last: Offset(100 + id),
        offset_delta: 2,
        timestamp: 1_700_000_000_000,
        coordinator_epoch: -1,
        transaction: (id == 2).then_some(Offset(90)),
    };
    let snapshot = ProducerSnapshot { upto: Offset(200), entries: (0..4).map(entry).collect() };
    let decode = |bytes: Bytes| ProducerSnapshot::from_bytes(Offset(200), bytes).ok();
    let mut verdicts = Verdicts::default();
    verdicts.provoke("producers", &[snapshot.to_bytes()], decode, ProducerSnapshot::to_bytes);
    // And with a checksum that was put right again, as only a bug or an enemy would.
    let resealed = |bytes: Bytes| {
        let mut bytes = bytes.to_vec();
        if bytes.len() > 6 {
            let sum = crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&sum.to_be_bytes());
        }
        ProducerSnapshot::from_bytes(Offset(200), bytes.into()).ok()
    };
    verdicts.provoke("resealed producers", &[snapshot.to_bytes()], resealed, ProducerSnapshot::to_bytes);
    verdicts.assert_both(50);
}

/// CRC-32C, bit by bit.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The data of every znode in Apache's dumps whose path begins so.
fn dumped(prefix: &str) -> Vec<Bytes> {
    let lines = include_str!("../vectors/kafka/znodes.txt").lines().filter(|line| line.starts_with(prefix));
    let data = lines.filter_map(|line| match Json::parse(line.split('\t').nth(1)?)? {
        Json::Text(data) if data.starts_with('{') => Some(Bytes::from(data)),
        _ => None,
    });
    data.take(8).collect()
}

#[test]
fn bent_json_and_znodes_are_refused_or_understood_but_never_hurt() {
    let mut verdicts = Verdicts::default();
    let json = |bytes: Bytes| Json::parse(text(&bytes)?);
    verdicts.provoke("json", &dumped("/"), json, |read| read.to_string().into());
    let deep: Bytes = format!("{}1{}", "[".repeat(12), "]".repeat(12)).into();
    verdicts.provoke("deep json", &[deep], json, |read| read.to_string().into());
    verdicts.provoke("broker", &dumped("/brokers/ids/"), |data| BrokerInfo::decode(&data), BrokerInfo::encode);
    let states: Vec<Bytes> =
        dumped("/brokers/topics/").into_iter().filter(|data| data.starts_with(b"{\"contr")).collect();
    verdicts.provoke("state", &states, |data| PartitionState::decode(&data), PartitionState::encode);
    let topics: Vec<Bytes> = dumped("/brokers/topics/").into_iter().filter(|data| !states.contains(data)).collect();
    verdicts.provoke("topic", &topics, |data| TopicInfo::decode(&data), TopicInfo::encode);
    let block = |data: Bytes| ProducerIdBlock::decode(&data);
    verdicts.provoke("block", &dumped("/latest_producer_id_block"), block, ProducerIdBlock::encode);
    let configs = |data: Bytes| znodes::decode_configs(&data);
    verdicts.provoke("configs", &dumped("/config/topics/"), configs, znodes::encode_configs);
    let orders = TopicPartition::new("orders", 0);
    let wanted = [(orders.clone(), vec![BrokerId(1), BrokerId(2)])].into_iter().collect();
    let wanted = znodes::encode_reassignments(&wanted);
    let decode = |data: Bytes| znodes::decode_reassignments(&data);
    verdicts.provoke("reassignments", &[wanted], decode, znodes::encode_reassignments);
    let decode = |data: Bytes| znodes::decode_partitions(&data);
    let partitions = [znodes::encode_partitions(&[orders])];
    verdicts.provoke("partitions", &partitions, decode, |read| znodes::encode_partitions(read));
    let decode = |data: Bytes| znodes::decode_config_change(&data);
    let change = [znodes::encode_config_change("topics", "orders")];
    verdicts.provoke("config change", &change, decode, |(kind, name)| znodes::encode_config_change(kind, name));
    let event = [znodes::encode_log_dir_event(BrokerId(3))];
    verdicts.provoke(
        "log dir",
        &event,
        |data| znodes::decode_log_dir_event(&data),
        |id| znodes::encode_log_dir_event(*id),
    );
    let holder = |data: Bytes| znodes::decode_controller(&data);
    let encode = |id: &BrokerId| znodes::encode_controller(*id, UnixMillis(1_700_000_000_000));
    let controllers: Vec<Bytes> =
        dumped("/controller").into_iter().filter(|data| data.windows(8).any(|key| key == b"brokerid")).collect();
    assert!(!controllers.is_empty());
    verdicts.provoke("controller", &controllers, holder, encode);
    let epoch = |data: Bytes| znodes::decode_controller_epoch(&data);
    let epochs = [Bytes::from_static(b"1"), Bytes::from_static(b"2147483647")];
    verdicts.provoke("controller epoch", &epochs, epoch, |epoch| znodes::encode_controller_epoch(*epoch));
    let cluster = |data: Bytes| znodes::decode_cluster_id(&data);
    verdicts.provoke("cluster id", &dumped("/cluster/id"), cluster, |id| znodes::encode_cluster_id(id));
    verdicts.assert_both(500);
}

#[test]
fn a_bent_scenario_is_understood_or_told_its_line() {
    let texts: Vec<Bytes> = (0..20).map(|seed| swarm::scenario(seed, Rules::default()).to_string().into()).collect();
    let mut verdicts = Verdicts::default();
    let parse = |bytes: Bytes| {
        let text = text(&bytes)?;
        let lines = text.lines().count().max(1) as u32;
        Scenario::parse(text).inspect_err(|why| assert!((1..=lines).contains(&why.line), "{why} of {lines}")).ok()
    };
    verdicts.provoke("scenario", &texts, parse, |scenario| scenario.to_string().into());
    verdicts.assert_both(300);
}

/// What went over connections to brokers, as it would go over a link between them.
#[test]
fn bent_frames_of_a_link_are_refused_or_understood_but_never_hurt() {
    let mut verdicts = Verdicts::default();
    let mut asked: BTreeMap<(i64, i64), (ApiKey, i16)> = BTreeMap::new();
    let mut seen: BTreeMap<(ApiKey, bool), u32> = BTreeMap::new();
    for frame in recorded().iter().filter(|frame| frame.api().supports(frame.version)) {
        let (key, is_request) = (frame.api(), frame.is_request());
        let message: PeerMessage<Bytes> = match frame.answers {
            None => {
                asked.insert((frame.conn, frame.seq), (key, frame.version));
                let Ok(request) = decode_request(frame.bytes.clone()) else { continue };
                PeerMessage::Request { correlation: 7, request: request.body }
            }
            Some(request) => {
                let Some((key, version)) = asked.get(&(frame.conn, request)) else { continue };
                let Ok((_, _, response)) = decode_response(*key, *version, frame.bytes.clone()) else { continue };
                PeerMessage::Response { correlation: 7, response }
            }
        };
        let times = seen.entry((key, is_request)).or_default();
        *times += 1;
        if *times > 3 {
            continue;
        }
        // An end that has asked what this answers, under every number that bending is likely to make of 7.
        let mut end = LinkCodec::default();
        if let PeerMessage::Response { .. } = &message {
            let question = asked_for(key);
            for correlation in [7, 6, 5, 3, 15, 23, 39, 71, 135] {
                end.encode(&PeerMessage::Request { correlation, request: question.clone() });
            }
        }
        let encode = |message: &PeerMessage<Bytes>| LinkCodec::default().encode(message);
        let name = format!("link {} {is_request}", key.name());
        verdicts.provoke(&name, &[encode(&message)], |bytes| end.clone().decode(bytes).ok(), encode);
    }
    verdicts.assert_both(3_000);
}

/// Any request of this API: what a link remembers of a question is its kind.
fn asked_for(key: ApiKey) -> glasshouse_core::api::kafka::Request {
    let frames = recorded();
    let same = frames.iter().filter(|frame| frame.is_request() && frame.api() == key && key.supports(frame.version));
    same.filter_map(|frame| decode_request(frame.bytes.clone()).ok()).next().expect("it was asked").body
}

#[test]
fn bent_bodies_of_quorum_packets_are_refused_or_understood_but_never_hurt() {
    let mut verdicts = Verdicts::default();
    let info = LearnerInfo { id: KeeperId(3), protocol: 0x10000, config_version: Zxid::ZERO };
    verdicts.provoke("learner", &[info.encode()], |data| LearnerInfo::decode(Some(&data)).ok(), LearnerInfo::encode);
    let leader = |data: Bytes| decode_leader_info(Some(&data)).ok().filter(|protocol| *protocol == 0x10000);
    verdicts.provoke("leader", &[encode_leader_info()], leader, |_| encode_leader_info());
    let epoch = |data: Bytes| decode_ack_epoch(Some(&data)).ok();
    verdicts.provoke("ack epoch", &[encode_ack_epoch(5)], epoch, |epoch| encode_ack_epoch(*epoch));
    let forwarded = ForwardedRequest {
        session: SessionId(9),
        cxid: 4,
        op: 5,
        body: Bytes::from_static(b"\0\0\0\x02/a\xff\xff\xff\xff"),
    };
    let decode = |data: Bytes| ForwardedRequest::decode(Some(&data)).ok();
    verdicts.provoke("forwarded", &[forwarded.encode()], decode, ForwardedRequest::encode);
    let touches = encode_touches(&[(SessionId(1), 4_000), (SessionId(2), 6_000)]);
    let decode = |data: Bytes| decode_touches(Some(&data)).ok();
    verdicts.provoke("touches", &[touches], decode, |touches| encode_touches(touches));
    let session = SessionId(0x0100_0043_ebd3_0006);
    let moved = Revalidate { session, timeout: 8_000 };
    verdicts.provoke("revalidate", &[moved.encode()], |data| Revalidate::decode(Some(&data)).ok(), Revalidate::encode);
    let told = Revalidated { session, valid: true };
    verdicts.provoke(
        "revalidated",
        &[told.encode()],
        |data| Revalidated::decode(Some(&data)).ok(),
        Revalidated::encode,
    );
    let activate = Activate { designated: KeeperId(2), txn: Bytes::from_static(b"txn") };
    verdicts.provoke("activate", &[activate.encode()], |data| Activate::decode(Some(&data)).ok(), Activate::encode);
    verdicts.assert_both(300);
}

/// Record sets as a fetch brings them: batches, their records, and what a control batch says.
#[test]
fn bent_batches_are_refused_or_understood_but_never_hurt() {
    let plain = BatchBuilder::default()
        .record(NewRecord::new(1_000, Some(b"key"), Some(b"value")).header("h", Some(b"1")).header("null", None))
        .record(NewRecord::new(1_001, None, None))
        .build();
    let marker = control_batch(ProducerId(5), ProducerEpoch(1), ControlKind::Commit, 3, 2_000);
    let set: Bytes = [plain.as_ref(), marker.as_ref(), plain.as_ref()].concat().into();
    let apache = Bytes::from_static(include_bytes!("../vectors/kafka/files/log-dir/t1-0/00000000000000000000.log"));
    let first = Batch::take(&apache).expect("Apache's own batch").bytes;
    let mut verdicts = Verdicts::default();
    let read = |bytes: Bytes| {
        let mut rest = bytes.len();
        for batch in batches(bytes) {
            let batch = batch.ok()?;
            rest -= batch.bytes.len();
            let _ = (batch.verify(), batch.marker());
            // Every record, or the first that cannot be read.
            if let Ok(records) = batch.records() {
                let _ = records.take_while(Result::is_ok).count();
            }
        }
        (rest == 0).then_some(())
    };
    let again = set.clone();
    verdicts.provoke("batches", &[plain, marker, set, first], read, |()| again.clone());
    verdicts.assert_both(200);
}
