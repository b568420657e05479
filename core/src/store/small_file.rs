//! The small text files that are replaced whole: epochs, checkpoints, `meta.properties`, the mark of a clean stop.
//!
//! Texts in, values out, as Kafka and ZooKeeper write them. Readers are strict: a file that is not understood is a
//! reason not to start, never a guess.

use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::record::offset::Offset;
use bytes::Bytes;

pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub const META: &str = "meta.properties";
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// In a partition's folder: its topic's id.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// A checkpoint of offsets: "0", the count, then "topic partition offset" lines.
pub fn offsets_to_bytes(entries: &[(TopicPartition, Offset)]) -> Bytes {
    let mut text = format!("0\n{}\n", entries.len());
    for (partition, offset) in entries {
        text.push_str(&format!("{} {} {offset}\n", partition.topic, partition.partition));
    }
    text.into()
}

/// # Errors
/// What is wrong with it.
pub fn offsets_from_bytes(bytes: &[u8]) -> Result<Vec<(TopicPartition, Offset)>, &'static str> {
    checkpoint(bytes, |line| {
        let mut words = line.split(' ');
        let topic = words.next().filter(|topic| !topic.is_empty())?;
        let partition = words.next()?.parse().ok()?;
        let offset = words.next()?.parse().ok()?;
        words.next().is_none().then(|| (TopicPartition::new(topic, partition), Offset(offset)))
    })
}

/// A checkpoint of leader epochs: "0", the count, then "epoch start" lines.
pub fn epochs_to_bytes(entries: &[(LeaderEpoch, Offset)]) -> Bytes {
    let mut text = format!("0\n{}\n", entries.len());
    for (epoch, start) in entries {
        text.push_str(&format!("{epoch} {start}\n"));
    }
    text.into()
}

/// # Errors
/// What is wrong with it.
pub fn epochs_from_bytes(bytes: &[u8]) -> Result<Vec<(LeaderEpoch, Offset)>, &'static str> {
    checkpoint(bytes, |line| {
        let (epoch, start) = line.split_once(' ')?;
        Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)))
    })
}

fn checkpoint<T>(bytes: &[u8], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, &'static str> {
    let text = core::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err("version 0 was expected");
    }
    let count: u64 = lines.next().and_then(|line| line.parse().ok()).ok_or("a count was expected")?;
    let entries: Option<Vec<T>> = lines.filter(|line| !line.is_empty()).map(read).collect();
    let entries = entries.ok_or("a line is not understood")?;
    if entries.len() as u64 == count { Ok(entries) } else { Err("its count is not that of its lines") }
}

/// `meta.properties`.
pub fn meta_to_bytes(broker: BrokerId, cluster: &str) -> Bytes {
    format!("broker.id={broker}\nversion=0\ncluster.id={cluster}\n").into()
}

/// The broker's id and the cluster's; comments and other properties are passed over.
pub fn meta_from_bytes(bytes: &[u8]) -> Option<(BrokerId, String)> {
    let text = core::str::from_utf8(bytes).ok()?;
    let get = |key: &str| text.split(['\n', '\r']).find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Some((BrokerId(get("broker.id")?.parse().ok()?), get("cluster.id")?.to_owned()))
}

/// The topic id in a `partition.metadata`.
pub fn topic_id_from_bytes(bytes: &[u8]) -> Option<TopicId> {
    let text = core::str::from_utf8(bytes).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id: "))?;
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    if id.len() != 22 {
        return None;
    }
    let mut number = 0u128;
    for (at, byte) in id.bytes().enumerate() {
        let digit = u128::from(digit(byte)?);
        // 22 digits are 132 bits; the last digit's lowest four are padding.
        number = if at == 21 { (number << 2) | (digit >> 4) } else { (number << 6) | digit };
    }
    Some(TopicId(number.to_be_bytes()))
}

/// The content of `.kafka_cleanshutdown`.
pub fn clean_shutdown() -> Bytes {
    Bytes::from_static(br#"{"version":0,"brokerEpoch":-1}"#)
}

/// The partition that a folder is named for: the part after the last dash is its number.
pub fn partition_of(folder: &str) -> Option<TopicPartition> {
    let (topic, partition) = folder.rsplit_once('-')?;
    (!topic.is_empty()).then_some(TopicPartition::new(topic, partition.parse().ok().filter(|number| *number >= 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_read_what_they_write_and_nothing_else() {
        let entries = vec![(TopicPartition::new("orders", 3), Offset(17)), (TopicPartition::new("a.b", 0), Offset(0))];
        let bytes = offsets_to_bytes(&entries);
        assert_eq!(bytes, "0\n2\norders 3 17\na.b 0 0\n");
        assert_eq!(offsets_from_bytes(&bytes), Ok(entries));
        assert_eq!(offsets_from_bytes(b"0\n2\norders 3 17\n"), Err("its count is not that of its lines"));
        assert_eq!(offsets_from_bytes(b"1\n0\n"), Err("version 0 was expected"));
        assert_eq!(offsets_from_bytes(b"0\n1\norders 17\n"), Err("a line is not understood"));
        assert_eq!(epochs_from_bytes(b"0\n1\n4 20\n"), Ok(vec![(LeaderEpoch(4), Offset(20))]));
    }

    #[test]
    fn topic_ids_are_read_as_they_are_printed() {
        for id in [TopicId::NONE, TopicId([0xff; 16]), TopicId(core::array::from_fn(|at| at as u8 * 17))] {
            let metadata = format!("version: 0\ntopic_id: {id}");
            assert_eq!(topic_id_from_bytes(metadata.as_bytes()), Some(id));
        }
        assert_eq!(topic_id_from_bytes(b"version: 0\ntopic_id: short"), None);
    }

    #[test]
    fn folders_are_named_for_partitions() {
        assert_eq!(partition_of("my-topic-12"), Some(TopicPartition::new("my-topic", 12)));
        assert_eq!(partition_of("version-2x"), None);
        assert_eq!(partition_of("-1"), None);
    }

    #[test]
    fn meta_properties_pass_over_comments() {
        let text = "#\n#Sun Nov 22 17:10:49 UTC 2026\nbroker.id=1\nversion=0\ncluster.id=ULNCgPOITiuxo3Fj5LDndg\n";
        assert_eq!(meta_from_bytes(text.as_bytes()), Some((BrokerId(1), "ULNCgPOITiuxo3Fj5LDndg".to_owned())));
        assert_eq!(meta_from_bytes(&meta_to_bytes(BrokerId(2), "c")), Some((BrokerId(2), "c".to_owned())));
    }
}
