//! Topics by their names: which there can be, which are Kafka's own, and how one is made that somebody asked for before
//! it was there. Pure; knows no topic that exists.

use super::config::Settings;
use crate::api::kafka::{CreatableConfig, CreatableTopic};
use std::sync::Arc;

/// Where committed offsets are kept.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Where transactions are kept.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Where share groups are kept, from Kafka 4 on.
const SHARE_GROUP_STATE: &str = "__share_group_state";

/// `offsets.topic.num.partitions` and `transaction.state.log.num.partitions`, which cannot be set here.
const OWN_PARTITIONS: i32 = 50;
/// `offsets.topic.replication.factor` and `transaction.state.log.replication.factor`, likewise.
const OWN_REPLICATION: i16 = 3;
/// `offsets.topic.segment.bytes` and `transaction.state.log.segment.bytes`, likewise.
const OWN_SEGMENT_BYTES: &str = "104857600";
/// `transaction.state.log.min.isr`, likewise.
const OWN_MIN_ISR: &str = "2";

const LONGEST: usize = 249;

/// Whether a topic may be called this (Apache's Topic.validate).
pub fn is_legal(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !matches!(name, "" | "." | "..") && name.len() <= LONGEST && name.chars().all(is_legal)
}

/// Whether it is one of Kafka's own (Topic.isInternal).
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

/// Whether there are other names that collide with it (Topic.hasCollisionChars).
pub fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Topics collide whose names are the same here: in the names of Kafka's metrics a dot becomes an underscore
/// (Topic.unifyCollisionChars).
pub fn unified(name: &str) -> String {
    name.replace('.', "_")
}

/// The topic that is made for whoever asks for this name (AutoTopicCreationManager.creatableTopic).
pub fn creatable(name: &Arc<str>, settings: &Settings) -> CreatableTopic {
    let config = |(name, value): &(&str, &str)| CreatableConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..CreatableConfig::default()
    };
    let own = |configs: &[(&str, &str)]| CreatableTopic {
        name: name.clone(),
        num_partitions: OWN_PARTITIONS,
        replication_factor: OWN_REPLICATION,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    match &**name {
        // GroupCoordinator.groupMetadataTopicConfigs.
        CONSUMER_OFFSETS => own(&[
            ("cleanup.policy", "compact"),
            ("compression.type", "producer"),
            ("segment.bytes", OWN_SEGMENT_BYTES),
        ]),
        // TransactionStateManager.transactionTopicConfigs.
        TRANSACTION_STATE => own(&[
            ("cleanup.policy", "compact"),
            ("compression.type", "uncompressed"),
            ("min.insync.replicas", OWN_MIN_ISR),
            ("segment.bytes", OWN_SEGMENT_BYTES),
            ("unclean.leader.election.enable", "false"),
        ]),
        _ => CreatableTopic {
            name: name.clone(),
            num_partitions: settings.num_partitions,
            replication_factor: settings.default_replication_factor as i16,
            ..CreatableTopic::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::config::TopicSettings;

    #[test]
    fn names_are_legal_as_kafka_has_it() {
        let long = "x".repeat(LONGEST);
        for legal in ["a", "A-1_b.c", "...", "__consumer_offsets", &long] {
            assert!(is_legal(legal), "{legal}");
        }
        let longer = "x".repeat(LONGEST + 1);
        for illegal in ["", ".", "..", "a b", "a/b", "ä", &longer] {
            assert!(!is_legal(illegal), "{illegal}");
        }
        assert!(is_internal("__consumer_offsets") && !is_internal("__consumer_offsets2"));
        assert!(unified("a.b_c") == unified("a_b.c") && unified("a.b") != unified("a-b"));
    }

    #[test]
    fn kafkas_own_topics_are_made_as_it_wants_them() {
        let settings = Settings { num_partitions: 4, default_replication_factor: 2, ..Settings::default() };
        let of = |name: &str| {
            let topic = creatable(&name.into(), &settings);
            (topic.num_partitions, topic.replication_factor, topic.configs)
        };
        assert_eq!(of("orders"), (4, 2, Vec::new()));
        for name in [CONSUMER_OFFSETS, TRANSACTION_STATE] {
            let (partitions, replication, configs) = of(name);
            assert_eq!((partitions, replication), (50, 3));
            assert_eq!((&*configs[0].name, configs[0].value.as_deref()), ("cleanup.policy", Some("compact")));
            for config in configs {
                assert_eq!(TopicSettings::check(&config.name, &config.value.unwrap()), Ok(()), "{}", config.name);
            }
        }
    }
}
