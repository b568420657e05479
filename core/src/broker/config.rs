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

/// A setting's value as text.
trait Setting: Sized {
    fn parse(text: &str) -> Option<Self>;
    fn show(&self) -> String;
}

macro_rules! plain_settings {
    ($($kind:ty),+) => {$(
        impl Setting for $kind {
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}
plain_settings!(bool, u32, i32, i64);

/// Spans are written in milliseconds.
impl Setting for Span {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Span::millis)
    }
    fn show(&self) -> String {
        self.as_millis().to_string()
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

/// Declares a struct of settings: fields, names, defaults, and reading and writing them by name.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $key:literal $field:ident: $kind:ty = $default:expr;)+ }) => {
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
        "replica.lag.time.max.ms" replica_lag_time_max: Span = Span::secs(30);
        "replica.fetch.wait.max.ms" replica_fetch_wait_max: Span = Span::millis(500);
        "replica.fetch.min.bytes" replica_fetch_min_bytes: i32 = 1;
        "replica.fetch.backoff.ms" replica_fetch_backoff: Span = Span::secs(1);
        "replica.fetch.max.bytes" replica_fetch_max_bytes: i32 = 1024 * 1024;
        "replica.fetch.response.max.bytes" replica_fetch_response_max_bytes: i32 = 10 * 1024 * 1024;
        "replica.socket.timeout.ms" replica_socket_timeout: Span = Span::secs(30);
        "replica.high.watermark.checkpoint.interval.ms" high_watermark_checkpoint_interval: Span = Span::secs(5);
        "min.insync.replicas" min_insync_replicas: u32 = 1;
        "unclean.leader.election.enable" unclean_leader_election_enable: bool = false;
        "default.replication.factor" default_replication_factor: i32 = 1;
        "num.partitions" num_partitions: i32 = 1;
        "auto.create.topics.enable" auto_create_topics_enable: bool = true;
        "delete.topic.enable" delete_topic_enable: bool = true;
        "auto.leader.rebalance.enable" auto_leader_rebalance_enable: bool = true;
        /// In milliseconds here; Kafka's name says seconds.
        "leader.imbalance.check.interval.ms" leader_imbalance_check_interval: Span = Span::secs(300);
        "leader.imbalance.per.broker.percentage" leader_imbalance_per_broker_percentage: u32 = 10;
        "controlled.shutdown.enable" controlled_shutdown_enable: bool = true;
        "controlled.shutdown.max.retries" controlled_shutdown_max_retries: u32 = 3;
        "controlled.shutdown.retry.backoff.ms" controlled_shutdown_retry_backoff: Span = Span::secs(5);
        "controller.socket.timeout.ms" controller_socket_timeout: Span = Span::secs(30);
        "request.timeout.ms" request_timeout: Span = Span::secs(30);
        "zookeeper.session.timeout.ms" zookeeper_session_timeout: Span = Span::secs(18);
        "log.segment.bytes" log_segment_bytes: i32 = 1 << 30;
        "log.roll.ms" log_roll: i64 = 7 * 24 * 3_600_000;
        /// −1 keeps for ever.
        "log.retention.ms" log_retention: i64 = 7 * 24 * 3_600_000;
        /// −1 keeps everything.
        "log.retention.bytes" log_retention_bytes: i64 = -1;
        "log.retention.check.interval.ms" log_retention_check_interval: Span = Span::secs(300);
        "message.max.bytes" message_max_bytes: i32 = 1_048_588;
        "fetch.max.bytes" fetch_max_bytes: i32 = 55 * 1024 * 1024;
        "producer.id.expiration.ms" producer_id_expiration: i64 = 24 * 3_600_000;
        /// Ours: see [`Flush`].
        "flush" flush: Flush = Flush::Batch;
    }
}

settings! {
    /// What a topic may override, under its topic-level names; the broker's settings are the defaults.
    TopicSettings {
        "min.insync.replicas" min_insync_replicas: u32 = 1;
        "unclean.leader.election.enable" unclean_leader_election_enable: bool = false;
        "segment.bytes" segment_bytes: i32 = 1 << 30;
        "segment.ms" segment_ms: i64 = 7 * 24 * 3_600_000;
        "retention.ms" retention_ms: i64 = 7 * 24 * 3_600_000;
        "retention.bytes" retention_bytes: i64 = -1;
        "max.message.bytes" max_message_bytes: i32 = 1_048_588;
    }
}

impl TopicSettings {
    /// The broker's settings under a topic's overrides. An override that cannot be read is passed over.
    pub fn of(broker: &Settings, overrides: Option<&OrdMap<String, String>>) -> TopicSettings {
        let mut settings = TopicSettings {
            min_insync_replicas: broker.min_insync_replicas,
            unclean_leader_election_enable: broker.unclean_leader_election_enable,
            segment_bytes: broker.log_segment_bytes,
            segment_ms: broker.log_roll,
            retention_ms: broker.log_retention,
            retention_bytes: broker.log_retention_bytes,
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
        for name in Settings::NAMES {
            let text = settings.get(name).unwrap();
            assert_eq!(settings.set(name, &text), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_topic_overrides_its_broker() {
        let mut broker = Settings::default();
        broker.min_insync_replicas = 2;
        let overrides = OrdMap::from([("segment.bytes".to_owned(), "4096".to_owned())]);
        let topic = TopicSettings::of(&broker, Some(&overrides));
        assert_eq!((topic.min_insync_replicas, topic.segment_bytes, topic.retention_bytes), (2, 4096, -1));
    }
}
