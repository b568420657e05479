//! ZooKeeper's frames, quorum packets and notifications as Apache's servers and clients sent them: read, written, the
//! same bytes; and the same bytes cut and bent, which must not hurt.

use crate::allocations::peak;
use crate::hostile::bend;
use bytes::Bytes;
use glasshouse_core::api::keeper::{Op, Reply, Request};
use glasshouse_core::api::peer::PacketType;
use glasshouse_core::api::quorum::{
    Activate, ForwardedRequest, LearnerInfo, Revalidate, Revalidated, decode_ack_epoch, decode_leader_info,
    decode_touches, encode_ack_epoch, encode_leader_info, encode_touches,
};
use glasshouse_core::rng::Rng;
use glasshouse_core::wire::keeper::quorum::{decode_notification, decode_packet, encode_notification, encode_packet};
use glasshouse_core::wire::keeper::{ClientCodec, ServerCodec, encode_reply, encode_request, four_letter_word};
use glasshouse_core::znode::snapshot::{SnapshotImage, Target};
use glasshouse_core::znode::txn::decode_txn;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a decoder may hold for each byte that arrived: a part of a multi takes nine.
const MULTIPLE: u64 = 64;
const SLACK: u64 = 1024;

fn lines(text: &'static str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes_of(line: &Value) -> Bytes {
    let hex = line["hex"].as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Both ends of a recorded connection at one of its frames.
struct Client {
    line: Value,
    frame: Bytes,
    /// The request that a response answers.
    question: Option<Bytes>,
}

impl Client {
    fn is_connect(&self) -> bool {
        self.line["op"] == "connect"
    }

    fn server(&self) -> ServerCodec {
        let mut codec = ServerCodec::default();
        if !self.is_connect() {
            codec.decode(connect_request()).unwrap();
        }
        codec
    }

    /// A client that has asked what this frame answers.
    fn client(&self) -> ClientCodec {
        let mut codec = ClientCodec::default();
        if !self.is_connect() {
            codec.decode(connect_response()).unwrap();
            if let Some(question) = &self.question {
                codec.encode(&self.server().decode(question.clone()).unwrap());
            }
        }
        codec
    }
}

/// 44 bytes: an old client's connect record, and the answer to it.
fn connect_request() -> Bytes {
    let mut bytes = vec![0; 44];
    bytes[27] = 16;
    bytes.into()
}

fn connect_response() -> Bytes {
    let mut bytes = vec![0; 36];
    bytes[19] = 16;
    bytes.into()
}

fn recorded_clients() -> Vec<Client> {
    let lines = lines(include_str!("../vectors/zookeeper/client_frames.jsonl"));
    let place = |line: &Value, seq: &str| (line["conn"].as_i64(), line[seq].as_i64());
    let requests = lines.iter().filter(|line| line["dir"] == "request");
    let requests: BTreeMap<_, _> = requests.map(|line| (place(line, "seq"), bytes_of(line).slice(4..))).collect();
    let client = |line: Value| {
        let frame = bytes_of(&line).slice(4..);
        Client { frame, question: requests.get(&place(&line, "req_seq")).cloned(), line }
    };
    lines.into_iter().map(client).collect()
}

#[test]
fn every_recorded_client_frame_is_written_as_it_was_read() {
    let mut seen = BTreeSet::new();
    let mut undecodable = Vec::new();
    for client in recorded_clients() {
        let (line, frame) = (&client.line, client.frame.clone());
        seen.insert((line["dir"].as_str().unwrap().to_owned(), line["op"].as_str().unwrap().to_owned()));
        if line["dir"] == "request" {
            match client.server().decode(frame.clone()).unwrap_or_else(|why| panic!("{line}: {why}")) {
                Request::Undecodable { xid, op } => undecodable.push((xid, op)),
                request => {
                    assert_eq!(encode_request(&request), frame, "{line}: {request:?}");
                    if let (Request::Op { xid, op }, Some(recorded)) = (&request, line["xid"].as_i64()) {
                        assert_eq!((i64::from(*xid), Some(i64::from(op.code()))), (recorded, line["type"].as_i64()));
                    }
                }
            }
        } else {
            let reply = client.client().decode(frame.clone()).unwrap_or_else(|why| panic!("{line}: {why}"));
            assert_eq!(encode_reply(&reply), frame, "{line}: {reply:?}");
            if let (Reply::Answer { err, .. }, Some(recorded)) = (&reply, line["err"].as_i64()) {
                assert_eq!(i64::from(err.code()), recorded, "{line}");
            }
        }
    }
    // A getData with half a body, which Apache answered with MARSHALLINGERROR.
    assert_eq!(undecodable, [(1, 4)]);
    assert!(seen.len() > 60, "only {} kinds of frames: {seen:?}", seen.len());
}

#[test]
fn a_reply_must_answer_the_oldest_request_in_flight() {
    let mut codec = ClientCodec::default();
    codec.decode(connect_response()).unwrap();
    let ask = |xid| Request::Op { xid, op: Op::Delete { path: "/a".into(), version: -1 } };
    codec.encode(&ask(1));
    codec.encode(&ask(2));
    codec.encode(&Request::Op { xid: -2, op: Op::Ping });
    let reply = |xid: i32| {
        let mut bytes = vec![0; 16];
        bytes[..4].copy_from_slice(&xid.to_be_bytes());
        Bytes::from(bytes)
    };
    assert!(codec.decode(reply(-2)).is_ok(), "a ping's answer may come whenever it likes");
    assert!(codec.decode(reply(1)).is_ok());
    assert!(codec.decode(reply(3)).is_err());
}

#[test]
fn four_letters_instead_of_a_first_frame_are_a_word() {
    assert_eq!(ServerCodec::default().decode(Bytes::from_static(b"ruok")), Ok(Request::FourLetter(*b"ruok")));
    assert_eq!(four_letter_word(*b"what"), None);
    assert_eq!(four_letter_word([0, 0, 0, 44]), None);
    let mut codec = ClientCodec::default();
    codec.encode(&Request::FourLetter(*b"ruok"));
    assert_eq!(codec.decode(Bytes::from_static(b"imok")), Ok(Reply::Text("imok".into())));
}

/// Every body empty, cut at each byte, and too long: read, or told apart as undecodable with its xid and op.
#[test]
fn a_body_that_cannot_be_read_keeps_its_header() {
    for client in recorded_clients().iter().filter(|client| client.line["dir"] == "request" && !client.is_connect()) {
        let xid = i32::from_be_bytes(*client.frame.first_chunk().unwrap());
        for length in 8..client.frame.len() {
            match client.server().decode(client.frame.slice(..length)).unwrap() {
                Request::Op { xid: read, .. } | Request::Undecodable { xid: read, .. } => assert_eq!(read, xid),
                request => panic!("{request:?}"),
            }
        }
        let mut long = client.frame.to_vec();
        long.extend([0; 3]);
        assert!(client.server().decode(long.into()).is_ok());
        for length in 0..8 {
            assert!(client.server().decode(client.frame.slice(..length)).is_err());
        }
    }
}

fn recorded_quorum(kind: &str, whats: impl Fn(&str) -> bool) -> Vec<(String, Bytes)> {
    let all = lines(include_str!("../vectors/zookeeper/quorum.jsonl"));
    let wanted = all.iter().filter(|line| line["kind"] == kind && whats(line["what"].as_str().unwrap()));
    wanted.map(|line| (format!("{} {}", line["what"].as_str().unwrap(), line["dir"]), bytes_of(line))).collect()
}

#[test]
fn every_quorum_packet_and_notification_is_written_as_it_was_read() {
    let packets = recorded_quorum("quorum", |what| what != "SNAPBODY");
    for (what, bytes) in &packets {
        let packet = decode_packet(bytes.clone()).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert!(what.starts_with(packet.kind.name()), "{what} was read as {packet}");
        assert_eq!(encode_packet(&packet), bytes, "{what}");
    }
    let notifications = recorded_quorum("election", |what| what == "notification");
    for (what, bytes) in &notifications {
        // Behind the length.
        let notification = decode_notification(bytes.slice(4..)).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(encode_notification(&notification), bytes.slice(4..), "{what}");
    }
    assert_eq!((packets.len(), notifications.len()), (662, 98));
}

#[test]
fn what_packets_carry_is_written_as_it_was_read() {
    for (what, bytes) in recorded_quorum("quorum", |what| what != "SNAPBODY") {
        let packet = decode_packet(bytes).unwrap();
        let to_leader = what.contains("c2s");
        let data = packet.data.as_ref();
        let again = match packet.kind {
            PacketType::FollowerInfo | PacketType::ObserverInfo => LearnerInfo::decode(data).unwrap().encode(),
            PacketType::LeaderInfo => {
                assert_eq!(decode_leader_info(data), Ok(0x10000));
                encode_leader_info()
            }
            PacketType::AckEpoch => encode_ack_epoch(decode_ack_epoch(data).unwrap()),
            PacketType::Request => ForwardedRequest::decode(data).unwrap().encode(),
            PacketType::Ping if to_leader => encode_touches(&decode_touches(data).unwrap()),
            PacketType::Revalidate if to_leader => Revalidate::decode(data).unwrap().encode(),
            PacketType::Revalidate => Revalidated::decode(data).unwrap().encode(),
            PacketType::Proposal | PacketType::Inform => decode_txn(data.unwrap().clone()).unwrap().encode(),
            PacketType::CommitAndActivate | PacketType::InformAndActivate => {
                let activate = Activate::decode(data).unwrap();
                if packet.kind == PacketType::InformAndActivate {
                    assert_eq!(decode_txn(activate.txn.clone()).unwrap().encode(), activate.txn);
                }
                activate.encode()
            }
            PacketType::Ack
            | PacketType::Commit
            | PacketType::Ping
            | PacketType::Sync
            | PacketType::NewLeader
            | PacketType::UpToDate
            | PacketType::Diff
            | PacketType::Trunc
            | PacketType::Snap
            | PacketType::SnapPiece => data.cloned().unwrap_or_default(),
        };
        assert_eq!(again, data.cloned().unwrap_or_default(), "{what}");
    }
}

#[test]
fn every_recorded_snap_is_written_as_it_was_read() {
    let streams = recorded_quorum("quorum", |what| what == "SNAPBODY");
    assert_eq!(streams.len(), 3);
    for (what, bytes) in streams {
        let image = SnapshotImage::parse(bytes.clone(), Target::Stream).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(image.encode(Target::Stream), bytes);
    }
}

/// Decodes within the limit and says whether it was accepted; what is accepted is read back equal after writing.
fn provoke<T: PartialEq + std::fmt::Debug, E>(
    bytes: &Bytes,
    decode: impl Fn(Bytes) -> Result<T, E>,
    encode: impl Fn(&T) -> Bytes,
) -> bool {
    let (held, decoded) = peak(|| decode(bytes.clone()));
    let limit = bytes.len() as u64 * MULTIPLE + SLACK;
    assert!(held <= limit, "{} bytes made a decoder hold {held}: {bytes:02x?}", bytes.len());
    let Ok(decoded) = decoded else { return false };
    let Ok(again) = decode(encode(&decoded)) else { panic!("written and then refused: {decoded:?}") };
    assert_eq!(again, decoded);
    true
}

#[test]
fn bent_frames_are_refused_or_understood_but_never_hurt() {
    let root = Rng::new(0x7a6b);
    let mut verdicts = [0u32; 2];
    for (number, client) in recorded_clients().iter().enumerate() {
        let mut rng = root.fork(&number.to_string());
        let is_request = client.line["dir"] == "request";
        for _ in 0..120 {
            let mut bytes = client.frame.to_vec();
            for _ in 0..rng.range(1, 3) {
                bend(&mut bytes, &mut rng);
            }
            let bytes = Bytes::from(bytes);
            let accepted = if is_request {
                provoke(&bytes, |bytes| client.server().decode(bytes), encode_request)
            } else {
                let codec = client.client();
                provoke(&bytes, |bytes| codec.clone().decode(bytes), encode_reply)
            };
            verdicts[usize::from(accepted)] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > 3_000), "refused and accepted: {verdicts:?}");
}

#[test]
fn bent_packets_are_refused_or_understood_but_never_hurt() {
    let root = Rng::new(0x7162);
    let mut verdicts = [0u32; 2];
    for (number, (what, whole)) in recorded_quorum("quorum", |_| true).iter().enumerate() {
        let mut rng = root.fork(&number.to_string());
        for _ in 0..60 {
            let mut bytes = whole.to_vec();
            bend(&mut bytes, &mut rng);
            let bytes = Bytes::from(bytes);
            let accepted = if what.starts_with("SNAPBODY") {
                let parse = |bytes| SnapshotImage::parse(bytes, Target::Stream);
                provoke(&bytes, parse, |image| image.encode(Target::Stream))
            } else {
                if let Ok(data) = decode_packet(bytes.clone()).map(|packet| packet.data.unwrap_or_default()) {
                    provoke(&data, decode_txn, |logged| logged.encode());
                }
                provoke(&bytes, decode_packet, encode_packet)
            };
            verdicts[usize::from(accepted)] += 1;
        }
    }
    for (number, (_, whole)) in recorded_quorum("election", |what| what == "notification").iter().enumerate() {
        let mut rng = root.fork(&format!("notification {number}"));
        for _ in 0..100 {
            let mut bytes = whole[4..].to_vec();
            bend(&mut bytes, &mut rng);
            verdicts[usize::from(provoke(&bytes.into(), decode_notification, encode_notification))] += 1;
        }
    }
    assert!(verdicts.iter().all(|count| *count > 3_000), "refused and accepted: {verdicts:?}");
}
