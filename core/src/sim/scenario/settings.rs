//! The settings of a world: sizes, time-outs, disks and links. Each has one name, used in the text and on the page.

use super::text::span_text;
use crate::time::Span;
use core::fmt;
use std::sync::Arc;

/// When a partition's records count as written (design.md, "durability").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlushMode {
    /// After fsync: what a leader or follower reports as its end is durable.
    #[default]
    Batch,
    /// In the page cache, as Kafka does.
    Kafka,
}

/// A client that runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientSpec {
    /// `per_second`: batches. `acks`: −1 for all.
    Producer {
        topic: Arc<str>,
        acks: i16,
        idempotent: bool,
        per_second: u32,
    },
    Consumer {
        topic: Arc<str>,
    },
    /// A ZooKeeper client that writes, reads, watches and now and then closes its session. `per_second`: writes.
    Keeper {
        per_second: u32,
    },
    /// Carries out commands (topics, reassignments).
    Admin,
}

/// How a setting is read and written.
trait Setting: Sized {
    fn read(text: &str) -> Option<Self>;
    fn write(&self) -> String;
    const EXPECTED: &'static str;

    fn as_span(&self) -> Option<Span> {
        None
    }
}

impl Setting for u32 {
    fn read(text: &str) -> Option<u32> {
        text.parse().ok()
    }
    fn write(&self) -> String {
        self.to_string()
    }
    const EXPECTED: &'static str = "a whole number";
}

impl Setting for Span {
    fn read(text: &str) -> Option<Span> {
        super::text::read_span(text)
    }
    fn write(&self) -> String {
        span_text(*self)
    }
    const EXPECTED: &'static str = "a time such as 250us, 40ms or 1.5s";

    fn as_span(&self) -> Option<Span> {
        Some(*self)
    }
}

impl Setting for bool {
    fn read(text: &str) -> Option<bool> {
        match text {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
    fn write(&self) -> String {
        if *self { "yes" } else { "no" }.to_owned()
    }
    const EXPECTED: &'static str = "yes or no";
}

impl Setting for FlushMode {
    fn read(text: &str) -> Option<FlushMode> {
        match text {
            "batch" => Some(FlushMode::Batch),
            "kafka" => Some(FlushMode::Kafka),
            _ => None,
        }
    }
    fn write(&self) -> String {
        match self {
            FlushMode::Batch => "batch",
            FlushMode::Kafka => "kafka",
        }
        .to_owned()
    }
    const EXPECTED: &'static str = "batch or kafka";
}

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident = $name:literal: $kind:ty = $default:expr;)+) => {
        /// Sizes, time-outs, disks and links of one world. The defaults are Apache's where Apache has them.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct Settings { $($(#[$doc])* pub $field: $kind),+ }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($field: $default),+ }
            }
        }

        impl Settings {
            /// Sets one by its name.
            ///
            /// # Errors
            /// A sentence that says what was expected.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
                match name {
                    $($name => {
                        self.$field = <$kind as Setting>::read(value)
                            .ok_or_else(|| format!("{name} is {}, not {value:?}", <$kind as Setting>::EXPECTED))?;
                        Ok(())
                    })+
                    _ => Err(format!("no setting is called {name:?}; there are {}", [$($name),+].join(", "))),
                }
            }

            /// Sets one back to its default, by its name.
            pub fn reset(&mut self, name: &str) {
                let usual = Settings::default();
                match name {
                    $($name => self.$field = usual.$field,)+
                    _ => {}
                }
            }

            /// The times among them, by name.
            pub fn spans(&self) -> Vec<(&'static str, Span)> {
                [$(self.$field.as_span().map(|span| ($name, span))),+].into_iter().flatten().collect()
            }

            /// Those that differ from the default, as (name, value).
            pub fn changed(&self) -> Vec<(&'static str, String)> {
                let usual = Settings::default();
                let mut changed = Vec::new();
                $(if self.$field != usual.$field { changed.push(($name, self.$field.write())); })+
                changed
            }
        }
    };
}

settings! {
    keepers = "keepers": u32 = 3;
    /// Observers come after the voters: with 3 keepers and 1 observer, keeper-4 observes.
    observers = "observers": u32 = 0;
    brokers = "brokers": u32 = 3;
    /// Brokers take their ids from `/brokers/seqid`.
    generated_ids = "generated-ids": bool = false;
    /// So many racks; broker-n is in rack n mod racks. 0: no racks.
    racks = "racks": u32 = 0;

    tick = "tick": Span = Span::secs(2);
    /// In ticks.
    init_limit = "init-limit": u32 = 10;
    /// In ticks.
    sync_limit = "sync-limit": u32 = 5;
    finalize_wait = "finalize-wait": Span = Span::millis(200);
    snap_count = "snap-count": u32 = 100_000;
    /// Bytes of a snapshot that are written at once; transactions go on in between, which makes it fuzzy.
    snapshot_piece = "snapshot-piece": u32 = 64 << 10;
    commit_log_count = "commit-log-count": u32 = 500;

    broker_session = "broker-session": Span = Span::secs(18);
    client_session = "client-session": Span = Span::secs(10);
    replica_lag = "replica-lag": Span = Span::secs(30);
    fetch_wait = "fetch-wait": Span = Span::millis(500);
    fetch_backoff = "fetch-backoff": Span = Span::secs(1);
    request_timeout = "request-timeout": Span = Span::secs(30);
    checkpoint_every = "checkpoint-every": Span = Span::secs(5);
    /// How often a controller looks for leaders to move.
    rebalance_every = "rebalance-every": Span = Span::secs(300);
    retention_every = "retention-every": Span = Span::secs(300);
    retention = "retention": Span = Span::secs(7 * 24 * 3600);
    /// 0: no limit.
    retention_bytes = "retention-bytes": u32 = 0;
    segment_bytes = "segment-bytes": u32 = 1 << 30;
    /// Of topics that do not say it themselves.
    min_isr = "min-isr": u32 = 1;
    /// Of topics that do not say it themselves.
    unclean = "unclean": bool = false;
    flush = "flush": FlushMode = FlushMode::Batch;
    /// Bytes of one record's value.
    record_bytes = "record-bytes": u32 = 64;
    /// Records in one batch of a producer.
    batch_records = "batch-records": u32 = 1;

    latency = "latency": Span = Span::micros(500);
    jitter = "jitter": Span = Span::micros(500);
    /// How long a peer that went silent goes unnoticed by the hosts.
    dead_peer = "dead-peer": Span = Span::secs(10);
    /// How long after a break a channel comes up again.
    reconnect = "reconnect": Span = Span::millis(50);
    sync_latency = "sync-latency": Span = Span::micros(400);
    sync_jitter = "sync-jitter": Span = Span::micros(300);
}

impl Settings {
    /// The page's settings: time-outs short enough to watch, and links long enough: at a tenth of real time a message
    /// is under way for a quarter of a second.
    pub fn lively() -> Settings {
        Settings {
            tick: Span::millis(500),
            broker_session: Span::secs(6),
            replica_lag: Span::secs(5),
            fetch_wait: Span::millis(500),
            request_timeout: Span::secs(5),
            fetch_backoff: Span::millis(400),
            latency: Span::millis(18),
            jitter: Span::millis(14),
            dead_peer: Span::secs(4),
            snap_count: 2_000,
            rebalance_every: Span::secs(30),
            ..Settings::default()
        }
    }
}

impl fmt::Display for ClientSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientSpec::Producer { topic, acks, idempotent, per_second } => {
                let acks = if *acks < 0 { "all".to_owned() } else { acks.to_string() };
                let plain = if *idempotent { "idempotent" } else { "plain" };
                write!(f, "producer {topic} acks {acks} {plain} rate {per_second}")
            }
            ClientSpec::Consumer { topic } => write!(f, "consumer {topic}"),
            ClientSpec::Keeper { per_second } => write!(f, "zookeeper-client rate {per_second}"),
            ClientSpec::Admin => f.write_str("admin"),
        }
    }
}
