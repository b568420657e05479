//! The fuzz targets of `core/fuzz`, compiled here, so that none rots until the night that runs it: on stable, without
//! cargo-fuzz and its library. Each is also run for a moment, on good bytes of every kind and on the same bytes bent. It
//! finds no more than the tests of `tests/wire` do; it shows that the targets' own assertions hold.

// The targets say `#![no_main]`, which means nothing here.
#![allow(unused_attributes)]

// What they name as a crate of its own is this one.
extern crate self as libfuzzer_sys;

use glasshouse_core::rng::Rng;
use glasshouse_core::rules::Rules;
use glasshouse_core::sim::swarm;
use std::collections::BTreeSet;
use std::path::Path;

#[path = "../../core/fuzz/fuzz_targets/batch.rs"]
mod batch;
#[path = "../../core/fuzz/fuzz_targets/journal.rs"]
mod journal;
#[path = "../../core/fuzz/fuzz_targets/json.rs"]
mod json;
#[path = "../../core/fuzz/fuzz_targets/kafka_request.rs"]
mod kafka_request;
#[path = "../../core/fuzz/fuzz_targets/kafka_response.rs"]
mod kafka_response;
#[path = "../../core/fuzz/fuzz_targets/keeper_reply.rs"]
mod keeper_reply;
#[path = "../../core/fuzz/fuzz_targets/keeper_request.rs"]
mod keeper_request;
#[path = "../../core/fuzz/fuzz_targets/link.rs"]
mod link;
#[path = "../../core/fuzz/fuzz_targets/notification.rs"]
mod notification;
#[path = "../../core/fuzz/fuzz_targets/quorum_body.rs"]
mod quorum_body;
#[path = "../../core/fuzz/fuzz_targets/quorum_packet.rs"]
mod quorum_packet;
#[path = "../../core/fuzz/fuzz_targets/scenario.rs"]
mod scenario;
#[path = "../../core/fuzz/fuzz_targets/segment.rs"]
mod segment;
#[path = "../../core/fuzz/fuzz_targets/small_files.rs"]
mod small_files;
#[path = "../../core/fuzz/fuzz_targets/snapshot.rs"]
mod snapshot;
#[path = "../../core/fuzz/fuzz_targets/txn.rs"]
mod txn;

/// A target as a plain function; cargo-fuzz makes a program of it. It stands behind the targets, so that they take it
/// by the name they import.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:block) => {
        pub fn target($bytes: &[u8]) $body
    };
    (|$text:ident: &str| $body:block) => {
        pub fn target(bytes: &[u8]) {
            if let Ok($text) = std::str::from_utf8(bytes) $body
        }
    };
}

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 16] = [
    ("batch", batch::target),
    ("journal", journal::target),
    ("json", json::target),
    ("kafka_request", kafka_request::target),
    ("kafka_response", kafka_response::target),
    ("keeper_reply", keeper_reply::target),
    ("keeper_request", keeper_request::target),
    ("link", link::target),
    ("notification", notification::target),
    ("quorum_body", quorum_body::target),
    ("quorum_packet", quorum_packet::target),
    ("scenario", scenario::target),
    ("segment", segment::target),
    ("small_files", small_files::target),
    ("snapshot", snapshot::target),
    ("txn", txn::target),
];

#[test]
fn every_target_of_the_folder_is_compiled_here_and_known_to_cargo() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/fuzz");
    let here: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files = std::fs::read_dir(folder.join("fuzz_targets")).expect("there are targets").flatten();
    let files: BTreeSet<String> =
        files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".rs")?.to_owned())).collect();
    assert_eq!(here, files, "core/fuzz/fuzz_targets, and the modules of this test");

    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("they have a manifest");
    let programs = manifest.split("[[bin]]\n").skip(1).map(|bin| {
        let quoted = |key: &str| bin.split_once(&format!("{key} = \"")).and_then(|(_, rest)| rest.split_once('"'));
        let (name, path) = (quoted("name").map_or("", |it| it.0), quoted("path").map_or("", |it| it.0));
        assert_eq!(path, format!("fuzz_targets/{name}.rs"));
        name.to_owned()
    });
    assert_eq!(programs.collect::<BTreeSet<_>>(), here, "the [[bin]]s of core/fuzz/Cargo.toml");
}

/// Good bytes, of one kind or another.
fn samples() -> Vec<Vec<u8>> {
    let files: [&[u8]; 6] = [
        include_bytes!("../vectors/zookeeper/files/server-1/version-2/snapshot.100000102"),
        include_bytes!("../vectors/zookeeper/files/server-1/version-2/log.300000001"),
        include_bytes!("../vectors/kafka/files/log-dir/t1-0/00000000000000000000.log"),
        include_bytes!("../vectors/kafka/files/log-dir/t1-0/partition.metadata"),
        include_bytes!("../vectors/kafka/files/log-dir/meta.properties"),
        include_bytes!("../vectors/kafka/files/log-dir/recovery-point-offset-checkpoint"),
    ];
    let texts = [swarm::scenario(1, Rules::default()).to_string(), r#"{"version":1,"id":"one"}"#.to_owned()];
    let frames = [
        include_str!("../vectors/kafka/frames.jsonl"),
        include_str!("../vectors/zookeeper/client_frames.jsonl"),
        include_str!("../vectors/zookeeper/quorum.jsonl"),
    ];
    let frames = frames.into_iter().flat_map(|lines| lines.lines().step_by(lines.lines().count() / 30 + 1)).map(hex);
    files.into_iter().map(<[u8]>::to_vec).chain(texts.map(String::into_bytes)).chain(frames).collect()
}

/// The bytes of a recorded frame.
fn hex(line: &str) -> Vec<u8> {
    let line: serde_json::Value = serde_json::from_str(line).expect("a recorded frame");
    let hex = line["hex"].as_str().expect("its bytes");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
}

#[test]
fn every_target_holds_on_good_bytes_and_on_bent_ones() {
    let samples = samples();
    assert!(samples.len() > 60, "{}", samples.len());
    for (name, target) in TARGETS {
        let mut rng = Rng::new(0x66757a7a).fork(name);
        for sample in &samples {
            target(sample);
            for _ in 0..20 {
                let mut bytes = sample.clone();
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next() as u8;
                bytes.truncate(rng.range(1, bytes.len() as u64) as usize);
                target(&bytes);
            }
        }
    }
}
