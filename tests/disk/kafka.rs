//! A log directory that Kafka 3.9.1 left behind: read as DumpLogSegments reads it, and written again to the byte.

use crate::{disk_of, vectors};
use bytes::Bytes;
use glasshouse_core::api::storage::{BrokerImage, Lane, StoreOp};
use glasshouse_core::id::{BrokerId, LeaderEpoch, ProducerId, TopicPartition};
use glasshouse_core::record::batch::{Stamped, batches};
use glasshouse_core::record::offset::{LogRange, Offset};
use glasshouse_core::record::producer::ProducerSnapshot;
use glasshouse_core::sim::disk::SimDisk;
use glasshouse_core::store::Store;
use glasshouse_core::store::segments::recover::recover_segment;
use glasshouse_core::store::small_file;

const PARTITIONS: [&str; 6] =
    ["files-0", "t1-0", "lat-0", "compacted-0", "__consumer_offsets-1", "__transaction_state-1"];

fn folder() -> std::path::PathBuf {
    vectors("kafka/files/log-dir")
}

fn boot() -> (Store<SimDisk>, BrokerImage) {
    let mut store = Store::new(disk_of(&folder()));
    let image = store.boot_broker().unwrap();
    (store, image)
}

/// The files of a partition with this ending: the offset in the name, and the bytes.
fn files(partition: &str, ending: &str) -> Vec<(i64, Bytes)> {
    let mut found: Vec<(i64, Bytes)> = std::fs::read_dir(folder().join(partition))
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let offset = path.file_name()?.to_str()?.strip_suffix(ending)?.parse().ok()?;
            Some((offset, Bytes::from(std::fs::read(&path).unwrap())))
        })
        .collect();
    found.sort_unstable_by_key(|(offset, _)| *offset);
    found
}

/// Lines of a dump as the fields that matter here.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let from = line.find(&format!("{name}: ")).unwrap_or_else(|| panic!("no {name} in {line}")) + name.len() + 2;
    line[from..].split_whitespace().next().unwrap()
}

#[test]
fn batches_are_those_of_the_dump() {
    let mut compared = 0;
    for partition in PARTITIONS {
        for (base, log) in files(partition, ".log") {
            let read = recover_segment(&log, Offset(base), None, LeaderEpoch::NONE, true);
            assert_eq!(read.damage, None, "{partition} {base}");
            let dump = folder().join(partition).join(format!("{base:020}.dump.txt"));
            let dump = String::from_utf8_lossy(&std::fs::read(dump).unwrap()).into_owned();
            let told: Vec<String> = dump
                .lines()
                .filter(|line| line.starts_with("baseOffset: "))
                .map(|line| {
                    [
                        "baseOffset",
                        "lastOffset",
                        "count",
                        "partitionLeaderEpoch",
                        "position",
                        "size",
                        "crc",
                        "producerId",
                    ]
                    .map(|name| field(line, name))
                    .join(" ")
                })
                .collect();
            let ours: Vec<String> = read
                .batches
                .iter()
                .map(|batch| {
                    let header = &batch.header;
                    format!(
                        "{} {} {} {} {} {} {} {}",
                        header.base,
                        header.last(),
                        header.count,
                        header.epoch,
                        batch.at,
                        header.size(),
                        header.crc,
                        header.producer
                    )
                })
                .collect();
            assert_eq!(ours, told, "{partition} {base}");
            compared += ours.len();
        }
    }
    assert!(compared > 100, "{compared} batches");
}

#[test]
fn a_clean_log_directory_boots_without_a_cut() {
    let (_, image) = boot();
    assert_eq!((image.broker, image.cluster.as_deref()), (Some(BrokerId(1)), Some("ULNCgPOITiuxo3Fj5LDndg")));
    assert!(image.clean);
    assert_eq!(image.cuts, []);
    let marks = std::fs::read(folder().join("replication-offset-checkpoint")).unwrap();
    let marks = small_file::offsets_from_bytes(&marks).unwrap();
    for name in PARTITIONS {
        let (topic, number) = name.rsplit_once('-').unwrap();
        let partition = TopicPartition::new(topic, number.parse().unwrap());
        let found = &image.partitions[&partition];
        let mark = marks.iter().find(|(other, _)| *other == partition).unwrap().1;
        assert_eq!(found.high_watermark.min(mark), found.high_watermark, "{name}");
        let epochs = std::fs::read(folder().join(name).join("leader-epoch-checkpoint")).unwrap();
        let mut epochs = small_file::epochs_from_bytes(&epochs).unwrap();
        epochs.retain(|(_, start)| *start < found.log_end);
        assert_eq!(found.epochs.entries(), epochs, "{name}");
    }
    let files = &image.partitions[&TopicPartition::new("files", 0)];
    assert_eq!((files.log_start, files.log_end, files.high_watermark), (Offset(0), Offset(51), Offset(51)));
    assert_eq!(files.topic_id.to_string(), "v25zAk2MTXWtr25Qe00GTA");
    assert_eq!(files.epochs.latest(), LeaderEpoch(3), "epoch 12 has no record: it goes at start (KAFKA-10706)");
}

#[test]
fn an_unclean_start_finds_the_same_log() {
    let (_, clean) = boot();
    let mut disk = disk_of(&folder());
    let mut rest = Store::new(disk.clone());
    rest.boot_broker().unwrap();
    disk = rest.disk;
    // The mark of the clean stop is gone now: everything from the recovery points on is verified.
    let mut store = Store::new(disk);
    let image = store.boot_broker().unwrap();
    assert!(!image.clean);
    assert_eq!(image.cuts, []);
    assert_eq!(image.partitions, clean.partitions);
}

#[test]
fn producer_snapshots_are_written_as_they_were_read() {
    let mut entries = 0;
    for partition in PARTITIONS {
        for (offset, bytes) in files(partition, ".snapshot") {
            let snapshot = ProducerSnapshot::from_bytes(Offset(offset), bytes.clone()).unwrap();
            entries += snapshot.entries.len();
            let mut sorted = snapshot.clone();
            sorted.entries.sort_by_key(|entry| entry.producer);
            if sorted == snapshot {
                assert_eq!(snapshot.to_bytes(), bytes, "{partition} {offset}");
            }
            assert_eq!(snapshot.to_bytes().len(), bytes.len(), "{partition} {offset}");
        }
    }
    assert!(entries > 5, "{entries} entries");
}

/// Replaying the whole log gives the producers that Kafka's last snapshot names.
#[test]
fn replay_agrees_with_the_last_snapshot() {
    let (mut store, image) = boot();
    for name in ["files-0", "t1-0"] {
        let (topic, number) = name.rsplit_once('-').unwrap();
        let partition = TopicPartition::new(topic, number.parse().unwrap());
        let (offset, bytes) = files(name, ".snapshot").pop().unwrap();
        let told = ProducerSnapshot::from_bytes(Offset(offset), bytes).unwrap();
        // Without the snapshots everything is read from the batches.
        let mut states = glasshouse_core::record::producer::ProducerStates::default();
        for (base, log) in files(name, ".log") {
            for batch in recover_segment(&log, Offset(base), None, LeaderEpoch::NONE, true).batches {
                match batch.marker {
                    Some((kind, epoch)) => drop(states.record_marker(&batch.header, kind, epoch)),
                    None => states.record(&batch.header),
                }
            }
        }
        let ours = states.snapshot(told.upto);
        for entry in &told.entries {
            let mine = ours.entries.iter().find(|mine| mine.producer == entry.producer);
            assert_eq!(mine, Some(entry), "{name}");
        }
        let load = glasshouse_core::api::storage::Load::Producers { partition: partition.clone(), upto: told.upto };
        let loaded = store.load(&load).unwrap();
        let glasshouse_core::api::storage::Loaded::Producers(loaded) = loaded else { panic!("{loaded:?}") };
        assert_eq!(loaded, image.partitions[&partition].producers);
        assert!(loaded.get(ProducerId(-1)).is_none());
    }
}

/// The same batches through our segments give the same three files.
#[test]
fn segments_are_written_again_to_the_byte() {
    for (name, interval) in [("files-0", 150), ("lat-0", 150), ("__transaction_state-1", 4096)] {
        let (topic, number) = name.rsplit_once('-').unwrap();
        let partition = TopicPartition::new(topic, number.parse().unwrap());
        let lane = Lane::Log(partition.clone());
        let mut store = Store::with_index_interval(SimDisk::new(), interval);
        store.boot_broker().unwrap();
        let topic_id = glasshouse_core::id::TopicId([7; 16]);
        store.perform(&lane, StoreOp::CreateLog { topic_id }).unwrap();
        let logs = files(name, ".log");
        for (base, log) in &logs {
            store.perform(&lane, StoreOp::Roll { base: Offset(*base) }).unwrap();
            for batch in batches(log.clone()) {
                let stamped: Stamped = batch.unwrap().keep();
                store.perform(&lane, StoreOp::Append { batches: vec![stamped] }).unwrap();
            }
        }
        store.perform(&Lane::Checkpoint, StoreOp::CleanShutdown).unwrap();
        for (base, log) in &logs {
            let ours = |kind: &str| store.disk.contents(&format!("{name}/{base:020}.{kind}")).unwrap();
            let theirs = |kind: &str| std::fs::read(folder().join(name).join(format!("{base:020}.{kind}"))).unwrap();
            assert_eq!(ours("log"), *log, "{name} {base}");
            assert_eq!(ours("index"), theirs("index"), "{name} {base}");
            assert_eq!(ours("timeindex"), theirs("timeindex"), "{name} {base}");
        }
        let range = LogRange { partition, from: Offset(5), upto: Offset(i64::MAX), max_bytes: 1 };
        let one: Vec<_> = batches(store.materialize(&range).unwrap()).map(Result::unwrap).collect();
        assert!(one.len() == 1 && one[0].header.base <= Offset(5) && one[0].header.last() >= Offset(5), "{one:?}");
    }
}
