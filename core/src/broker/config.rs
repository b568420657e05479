//! A broker's settings under Kafka's own names, with Kafka's defaults (protocol.md C.11), and what a topic overrides.
//!
//! Knows how a setting is written and read as text; not where the text comes from (`/config` in ZooKeeper, a scenario,
//! a file).

use crate::id::BrokerId;
use crate::node::Address;
use crate::ordered::OrdMap;
use crate::rules::Rules;
use crate::time::{Span, UnixMillis};
use std::sync::Arc;

mod kept;

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
    /// An empty list: nothing goes.
    Nothing,
}

impl Cleanup {
    /// Whether newer records take the place of older ones with the same key.
    pub fn is_by_key(self) -> bool {
        matches!(self, Cleanup::Compact | Cleanup::CompactAndDelete)
    }
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

/// As Kafka reads them, `TRUE` is one, too; and around every value there may be blanks (ConfigDef.parseType).
impl Setting for bool {
    fn parse(text: &str) -> Option<Self> {
        let is = |word: &str| text.trim().eq_ignore_ascii_case(word);
        if is("true") { Some(true) } else { is("false").then_some(false) }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! numbers {
    ($($kind:ty),+) => {$(
        impl Setting for $kind {
            fn parse(text: &str) -> Option<Self> {
                text.trim().parse().ok()
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
        text.trim().parse().ok().map(|millis: u64| Span::millis(millis.min(NEVER_MILLIS)))
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
        if text.trim().is_empty() {
            return Some(Cleanup::Nothing);
        }
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
            Cleanup::Nothing => "",
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
        "max.incremental.fetch.session.cache.slots" fetch_session_slots: u32 = 1000;
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
        "message.timestamp.before.max.ms" message_timestamp_before_max: i64 = i64::MAX, at least 0;
        "message.timestamp.after.max.ms" message_timestamp_after_max: i64 = i64::MAX, at least 0;
        "message.timestamp.difference.max.ms" message_timestamp_difference_max: i64 = i64::MAX, at least 0;
    }
}

/// A record that bears no time.
const NO_TIMESTAMP: i64 = -1;

/// INVALID_CONFIG's sentence for a value.
const UNREADABLE: &str = "a setting's value cannot be read";

/// Settings that are lists, to which items are added and from which they are taken, with what Kafka has without them.
const LISTS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("follower.replication.throttled.replicas", ""),
    ("leader.replication.throttled.replicas", ""),
    ("log.cleanup.policy", "delete"),
];

/// The default of a setting that is a list; `None` if it is none.
pub fn list_default(name: &str) -> Option<&'static str> {
    LISTS.iter().find(|(list, _)| *list == name).map(|(_, default)| *default)
}

impl TopicSettings {
    /// Whether a topic may be given this setting.
    ///
    /// # Errors
    /// INVALID_CONFIG's sentence.
    pub fn check(name: &str, value: &str) -> Result<(), &'static str> {
        if TopicSettings::NAMES.contains(&name) {
            return TopicSettings::default().set(name, value).map_err(|_| UNREADABLE);
        }
        kept::check(name, value)
    }

    /// Whether settings of one topic, each of which may be given, fit together.
    ///
    /// # Errors
    /// INVALID_CONFIG's sentence.
    pub fn check_together(configs: &OrdMap<String, String>) -> Result<(), &'static str> {
        let lag = |name: &str| configs.get(name).and_then(|value| i64::parse(value));
        if lag(kept::MIN_LAG).unwrap_or(0) > lag(kept::MAX_LAG).unwrap_or(i64::MAX) {
            return Err("min.compaction.lag.ms is above max.compaction.lag.ms");
        }
        Ok(())
    }

    /// What a topic says of unclean leaders; `None` if that is left to the broker's settings.
    pub fn unclean_leader(configs: &OrdMap<String, String>) -> Option<bool> {
        bool::parse(configs.get("unclean.leader.election.enable")?)
    }

    /// Whether it matters when a record was made.
    pub fn limits_timestamps(&self) -> bool {
        self.furthest_before().min(self.furthest_after()) < i64::MAX
    }

    /// Whether a record that arrives now may bear this time (LogValidator.validateTimestamp).
    pub fn allows_timestamp(&self, timestamp: i64, now: UnixMillis) -> bool {
        let age = now.0.saturating_sub(timestamp);
        timestamp == NO_TIMESTAMP || (age <= self.furthest_before() && age.saturating_neg() <= self.furthest_after())
    }

    /// The older setting counts where the newer one is not given (LogConfig.getMessageTimestampBeforeMaxMs).
    fn furthest_before(&self) -> i64 {
        let of = self.message_timestamp_before_max;
        if of == i64::MAX { self.message_timestamp_difference_max } else { of }
    }

    fn furthest_after(&self) -> i64 {
        let of = self.message_timestamp_after_max;
        if of == i64::MAX { self.message_timestamp_difference_max } else { of }
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
            ..TopicSettings::default()
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
    /// The name that the cluster has in its nodes' configuration: with an ensemble of another one it does not register.
    /// Nobody is a stranger where there is none.
    pub cluster: Option<Arc<str>>,
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
            cluster: None,
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
        for policy in ["delete", "compact", "compact,delete", ""] {
            assert_eq!(TopicSettings::check("cleanup.policy", policy), Ok(()));
            assert_eq!(Cleanup::parse(policy).unwrap().show(), policy);
        }
        assert_eq!(TopicSettings::check("cleanup.policy", "burn"), Err("a setting's value cannot be read"));
        assert_eq!(TopicSettings::check("unclean.leader.election.enable", "TRUE"), Ok(()));
        assert_eq!(TopicSettings::check("unclean.leader.election.enable", "yes"), Err(UNREADABLE));
        assert_eq!(TopicSettings::check("message.timestamp.after.max.ms", "-1"), Err(UNREADABLE));
        let lags = |least: &str| {
            OrdMap::from([(kept::MIN_LAG.to_owned(), least.to_owned()), (kept::MAX_LAG.to_owned(), "5".to_owned())])
        };
        assert_eq!(TopicSettings::check_together(&lags("5")), Ok(()));
        assert!(TopicSettings::check_together(&lags("6")).is_err());
        assert_eq!(TopicSettings::check("retention.ms", "long"), Err("a setting's value cannot be read"));
        assert_eq!(TopicSettings::check("retention.msx", "1"), Err("no setting of a topic has that name"));
        let refused = Err("a setting asks for what is not served here");
        assert_eq!(TopicSettings::check("message.timestamp.type", "LogAppendTime"), refused);
    }

    #[test]
    fn a_record_is_neither_too_old_nor_from_too_far_ahead() {
        let allows = |settings: &TopicSettings, timestamp: i64| settings.allows_timestamp(timestamp, UnixMillis(1_000));
        let anything = TopicSettings::default();
        assert!(!anything.limits_timestamps() && allows(&anything, 0) && allows(&anything, i64::MAX));
        let before = TopicSettings { message_timestamp_before_max: 10, ..TopicSettings::default() };
        assert!(before.limits_timestamps());
        assert_eq!([989, 990, 2_000, -1].map(|at| allows(&before, at)), [false, true, true, true]);
        let after = TopicSettings { message_timestamp_after_max: 10, ..TopicSettings::default() };
        assert_eq!([0, 1_010, 1_011, i64::MAX].map(|at| allows(&after, at)), [true, true, false, false]);
        let both = TopicSettings { message_timestamp_difference_max: 5, ..after };
        assert_eq!([994, 995, 1_010, 1_011].map(|at| allows(&both, at)), [false, true, true, false]);
    }
}
