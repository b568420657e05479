//! A broker's settings under Kafka's own names, with Kafka's defaults (protocol.md C.11), and what a topic overrides.
//!
//! Knows how a setting is written and read as text; not where the text comes from (`/config` in ZooKeeper, a scenario,
//! a file).

use crate::id::BrokerId;
use crate::node::Address;
use crate::ordered::OrdMap;
use crate::rules::Rules;
use crate::time::Span;
use std::sync::Arc;

/// When a replica counts its own log end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flush {
    /// The durable end: the leader counts what is on its disk, a follower fetches on after `Synced`. Our default.
    #[default]
    Batch,
    /// The end in the page cache, as Kafka does: durability is replication.
    Kafka,
}

/// What becomes of old records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cleanup {
    /// Segments go by time and size.
    #[default]
    Delete,
    /// Nothing goes but what a newer record of the same key replaces. Here nothing goes: compaction, which may come late
    /// in Kafka, never comes.
    Compact,
    /// Both: segments go by time and size.
    CompactAndDelete,
}

/// A setting's value as text.
trait Setting: Sized {
    fn parse(text: &str) -> Option<Self>;
    fn show(&self) -> String;
    /// To compare with the least that is allowed.
    fn number(&self) -> i64 {
        i64::MAX
    }
}

impl Setting for bool {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! numbers {
    ($($kind:ty),+) => {$(
        impl Setting for $kind {
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn show(&self) -> String {
                self.to_string()
            }
            fn number(&self) -> i64 {
                i64::from(*self)
            }
        }
    )+};
}
numbers!(u32, i32, i64);

/// A hundred years: longer spans, which are written to say "never", are this long.
const NEVER_MILLIS: u64 = 100 * 366 * 24 * 3_600_000;

/// Spans are written in milliseconds.
impl Setting for Span {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(|millis: u64| Span::millis(millis.min(NEVER_MILLIS)))
    }
    fn show(&self) -> String {
        self.as_millis().to_string()
    }
    fn number(&self) -> i64 {
        self.as_millis() as i64
    }
}

impl Setting for Cleanup {
    fn parse(text: &str) -> Option<Self> {
        let policies: Vec<&str> = text.split(',').map(str::trim).collect();
        if !policies.iter().all(|policy| matches!(*policy, "delete" | "compact")) {
            return None;
        }
        Some(match (policies.contains(&"delete"), policies.contains(&"compact")) {
            (true, true) => Cleanup::CompactAndDelete,
            (false, true) => Cleanup::Compact,
            (_, false) => Cleanup::Delete,
        })
    }
    fn show(&self) -> String {
        match self {
            Cleanup::Delete => "delete",
            Cleanup::Compact => "compact",
            Cleanup::CompactAndDelete => "compact,delete",
        }
        .to_owned()
    }
}

impl Setting for Flush {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "batch" => Some(Flush::Batch),
            "kafka" => Some(Flush::Kafka),
            _ => None,
        }
    }
    fn show(&self) -> String {
        match self {
            Flush::Batch => "batch",
            Flush::Kafka => "kafka",
        }
        .to_owned()
    }
}

/// Declares a struct of settings: fields, names, defaults, the least that each may be, and reading and writing them by
/// name.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $key:literal $field:ident: $kind:ty = $default:expr $(, at least $least:literal)?;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind),+ }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default),+ }
            }
        }

        impl $name {
            /// Every setting's name.
            pub const NAMES: &[&str] = &[$($key),+];

            /// Sets one setting by its name.
            ///
            /// # Errors
            /// A sentence that says what is wrong with the name or the value.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
                match name {
                    $($key => match <$kind as Setting>::parse(value) {
                        $(Some(parsed) if parsed.number() < $least => {
                            Err(format!("{name} cannot be \"{value}\": it is at least {}", $least))
                        })?
                        Some(parsed) => {
                            self.$field = parsed;
                            Ok(())
                        }
                        None => Err(format!("{name} cannot be \"{value}\"")),
                    },)+
                    _ => Err(format!("no setting is called \"{name}\"")),
                }
            }

            /// A setting as text.
            pub fn get(&self, name: &str) -> Option<String> {
                match name {
                    $($key => Some(self.$field.show()),)+
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// What a broker can be told by name, statically or through `/config/brokers`.
    Settings {
        "replica.lag.time.max.ms" replica_lag_time_max: Span = Span::secs(30), at least 1;
        "replica.fetch.wait.max.ms" replica_fetch_wait_max: Span = Span::millis(500);
        "replica.fetch.min.bytes" replica_fetch_min_bytes: i32 = 1, at least 0;
        "replica.fetch.backoff.ms" replica_fetch_backoff: Span = Span::secs(1), at least 1;
        "replica.fetch.max.bytes" replica_fetch_max_bytes: i32 = 1024 * 1024, at least 0;
        "replica.fetch.response.max.bytes" replica_fetch_response_max_bytes: i32 = 10 * 1024 * 1024, at least 0;
        "replica.socket.timeout.ms" replica_socket_timeout: Span = Span::secs(30), at least 1;
        "replica.high.watermark.checkpoint.interval.ms" high_watermark_checkpoint_interval: Span = Span::secs(5), at least 1;
        "min.insync.replicas" min_insync_replicas: u32 = 1, at least 1;
        "unclean.leader.election.enable" unclean_leader_election_enable: bool = false;
        "default.replication.factor" default_replication_factor: i32 = 1;
        "num.partitions" num_partitions: i32 = 1, at least 1;
        "auto.create.topics.enable" auto_create_topics_enable: bool = true;
        "delete.topic.enable" delete_topic_enable: bool = true;
        "auto.leader.rebalance.enable" auto_leader_rebalance_enable: bool = true;
        /// In milliseconds here; Kafka's name says seconds.
        "leader.imbalance.check.interval.ms" leader_imbalance_check_interval: Span = Span::secs(300), at least 1;
        "leader.imbalance.per.broker.percentage" leader_imbalance_per_broker_percentage: u32 = 10;
        "controlled.shutdown.enable" controlled_shutdown_enable: bool = true;
        "controlled.shutdown.max.retries" controlled_shutdown_max_retries: u32 = 3;
        "controlled.shutdown.retry.backoff.ms" controlled_shutdown_retry_backoff: Span = Span::secs(5), at least 1;
        "controller.socket.timeout.ms" controller_socket_timeout: Span = Span::secs(30), at least 1;
        "request.timeout.ms" request_timeout: Span = Span::secs(30), at least 1;
        "zookeeper.session.timeout.ms" zookeeper_session_timeout: Span = Span::secs(18), at least 1;
        "log.segment.bytes" log_segment_bytes: i32 = 1 << 30, at least 14;
        "log.roll.ms" log_roll: i64 = 7 * 24 * 3_600_000, at least 1;
        /// −1 keeps for ever.
        "log.retention.ms" log_retention: i64 = 7 * 24 * 3_600_000, at least -1;
        /// −1 keeps everything.
        "log.retention.bytes" log_retention_bytes: i64 = -1, at least -1;
        "log.cleanup.policy" log_cleanup_policy: Cleanup = Cleanup::Delete;
        "log.retention.check.interval.ms" log_retention_check_interval: Span = Span::secs(300), at least 1;
        "message.max.bytes" message_max_bytes: i32 = 1_048_588, at least 0;
        "fetch.max.bytes" fetch_max_bytes: i32 = 55 * 1024 * 1024, at least 1024;
        "producer.id.expiration.ms" producer_id_expiration: i64 = 24 * 3_600_000, at least 1;
        /// Ours: see [`Flush`].
        "flush" flush: Flush = Flush::Batch;
    }
}

settings! {
    /// What a topic may override, under its topic-level names; the broker's settings are the defaults.
    TopicSettings {
        "min.insync.replicas" min_insync_replicas: u32 = 1, at least 1;
        "unclean.leader.election.enable" unclean_leader_election_enable: bool = false;
        "segment.bytes" segment_bytes: i32 = 1 << 30, at least 14;
        "segment.ms" segment_ms: i64 = 7 * 24 * 3_600_000, at least 1;
        "retention.ms" retention_ms: i64 = 7 * 24 * 3_600_000, at least -1;
        "retention.bytes" retention_bytes: i64 = -1, at least -1;
        "cleanup.policy" cleanup_policy: Cleanup = Cleanup::Delete;
        "max.message.bytes" max_message_bytes: i32 = 1_048_588, at least 0;
    }
}

/// Settings of a topic that Kafka 3.9 knows and that change nothing that a client could see here: they are kept with the
/// others.
const KEPT: [&str; 25] = [
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "preallocate",
    "segment.index.bytes",
    "segment.jitter.ms",
    "remote.log.delete.on.disable",
];

/// Those that would have to change something, with the one value that asks for nothing.
const REFUSED: [(&str, &str); 3] = [
    ("message.timestamp.type", "CreateTime"),
    ("remote.storage.enable", "false"),
    ("remote.log.copy.disable", "false"),
];

impl TopicSettings {
    /// Whether a topic may be given this setting.
    ///
    /// # Errors
    /// INVALID_CONFIG's sentence.
    pub fn check(name: &str, value: &str) -> Result<(), &'static str> {
        if TopicSettings::NAMES.contains(&name) {
            return TopicSettings::default().set(name, value).map_err(|_| "a setting's value cannot be read");
        }
        match REFUSED.iter().find(|(refused, _)| *refused == name) {
            Some((_, nothing)) if value == *nothing => Ok(()),
            Some(_) => Err("a setting asks for what is not served here"),
            None if KEPT.contains(&name) => Ok(()),
            None => Err("no setting of a topic has that name"),
        }
    }

    /// The broker's settings under a topic's overrides. An override that cannot be read is passed over.
    pub fn of(broker: &Settings, overrides: Option<&OrdMap<String, String>>) -> TopicSettings {
        let mut settings = TopicSettings {
            min_insync_replicas: broker.min_insync_replicas,
            unclean_leader_election_enable: broker.unclean_leader_election_enable,
            segment_bytes: broker.log_segment_bytes,
            segment_ms: broker.log_roll,
            retention_ms: broker.log_retention,
            retention_bytes: broker.log_retention_bytes,
            cleanup_policy: broker.log_cleanup_policy,
            max_message_bytes: broker.message_max_bytes,
        };
        for (name, value) in overrides.into_iter().flatten() {
            let _ = settings.set(name, value);
        }
        settings
    }
}

/// Everything a broker is started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerConfig {
    /// Its place in the mesh: it is `NodeId::Broker(number)`, and says so in its registration.
    pub number: u32,
    /// `broker.id`; `None` has one handed out through `/brokers/seqid` (1001 and up).
    pub broker_id: Option<BrokerId>,
    pub rack: Option<Arc<str>>,
    /// Where clients reach it.
    pub host: Arc<str>,
    pub port: u16,
    /// `zookeeper.connect`.
    pub keepers: Vec<Address>,
    pub settings: Settings,
    pub rules: Rules,
}

impl BrokerConfig {
    /// Kafka's defaults for a broker of this id and place.
    pub fn new(number: u32, broker_id: Option<BrokerId>, keepers: Vec<Address>) -> BrokerConfig {
        BrokerConfig {
            number,
            broker_id,
            rack: None,
            host: format!("broker-{number}").into(),
            port: 9092,
            keepers,
            settings: Settings::default(),
            rules: Rules::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_written_by_kafkas_names() {
        let mut settings = Settings::default();
        assert_eq!(settings.set("replica.lag.time.max.ms", "600"), Ok(()));
        assert_eq!(settings.replica_lag_time_max, Span::millis(600));
        assert_eq!(settings.get("replica.lag.time.max.ms"), Some("600".to_owned()));
        assert_eq!(settings.set("flush", "kafka"), Ok(()));
        assert!(settings.set("flush", "sometimes").unwrap_err().contains("cannot be"));
        assert!(settings.set("colour", "red").unwrap_err().contains("no setting"));
        let none = settings.set("log.retention.check.interval.ms", "0").unwrap_err();
        assert_eq!(none, "log.retention.check.interval.ms cannot be \"0\": it is at least 1");
        assert_eq!(settings.set("replica.lag.time.max.ms", "18446744073709551615"), Ok(()), "which means never");
        assert_eq!(settings.replica_lag_time_max, Span::millis(NEVER_MILLIS));
        for name in Settings::NAMES {
            let text = settings.get(name).unwrap();
            assert_eq!(settings.set(name, &text), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_topic_overrides_its_broker() {
        let broker = Settings { min_insync_replicas: 2, ..Settings::default() };
        let overrides = OrdMap::from([("segment.bytes".to_owned(), "4096".to_owned())]);
        let topic = TopicSettings::of(&broker, Some(&overrides));
        assert_eq!((topic.min_insync_replicas, topic.segment_bytes, topic.retention_bytes), (2, 4096, -1));
    }

    #[test]
    fn a_topic_is_given_what_kafka_knows() {
        assert_eq!(TopicSettings::check("retention.ms", "1000"), Ok(()));
        assert_eq!(TopicSettings::check("compression.type", "zstd"), Ok(()));
        assert_eq!(TopicSettings::check("message.timestamp.type", "CreateTime"), Ok(()));
        for policy in ["delete", "compact", "compact,delete"] {
            assert_eq!(TopicSettings::check("cleanup.policy", policy), Ok(()));
            assert_eq!(Cleanup::parse(policy).unwrap().show(), policy);
        }
        assert_eq!(TopicSettings::check("cleanup.policy", "burn"), Err("a setting's value cannot be read"));
        assert_eq!(TopicSettings::check("retention.ms", "long"), Err("a setting's value cannot be read"));
        assert_eq!(TopicSettings::check("retention.msx", "1"), Err("no setting of a topic has that name"));
        let refused = Err("a setting asks for what is not served here");
        assert_eq!(TopicSettings::check("message.timestamp.type", "LogAppendTime"), refused);
    }
}
