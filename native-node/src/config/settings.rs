//! Every setting of a node, declared once: as a key of the file, as a flag, and as a variable of the environment. Says
//! how they are called and read, not whether they make sense together.

use super::Usage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Declares a section: each setting's flag, variable, and what stands for its value in the help.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty, $flag:literal, $env:literal, $value:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
        #[serde(default, rename_all = "kebab-case")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[arg(id = $flag, long = $flag, env = $env, value_name = $value)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$kind>,
            )+
        }

        impl $name {
            /// The keys of its file section.
            pub fn keys() -> Vec<String> {
                vec![$(stringify!($field).replace('_', "-")),+]
            }

            /// These settings, and where there is none, the others'.
            pub fn or(self, other: $name) -> $name {
                $name { $($field: self.$field.or(other.$field)),+ }
            }
        }
    };
}

section! {
    /// What a process is started with, whatever its roles.
    General {
        /// What this process is: keeper, broker, or both (two nodes with two folders)
        #[arg(value_delimiter = ',')]
        roles: Vec<String>, "roles", "GLASSHOUSE_ROLES", "ROLE,ROLE";
        /// The cluster's name; nodes of another one are turned away [default: glasshouse]
        cluster: String, "cluster", "GLASSHOUSE_CLUSTER", "NAME";
        /// What the cluster's nodes prove to each other that they know, 16 bytes or more
        #[arg(hide_env_values = true)]
        secret: String, "secret", "GLASSHOUSE_SECRET", "TEXT";
        /// The file that holds the secret
        secret_file: PathBuf, "secret-file", "GLASSHOUSE_SECRET_FILE", "FILE";
        /// The folder that holds a folder for each node
        data: PathBuf, "data", "GLASSHOUSE_DATA", "DIR";
        /// PEM file: the certificate that this process shows its peers
        tls_certificate: PathBuf, "tls-certificate", "GLASSHOUSE_TLS_CERTIFICATE", "FILE";
        /// PEM file: its key
        tls_key: PathBuf, "tls-key", "GLASSHOUSE_TLS_KEY", "FILE";
        /// PEM file: the authority that signs the certificates of all nodes
        tls_authority: PathBuf, "tls-authority", "GLASSHOUSE_TLS_AUTHORITY", "FILE";
        /// Let stones be thrown at this process, by its HTTP port
        #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        stones: bool, "stones", "GLASSHOUSE_STONES", "BOOL";
        /// Record the inputs of the node; with both roles, one file each, named after it
        record: PathBuf, "record", "GLASSHOUSE_RECORD", "FILE";
        /// Clients connected at once, for each role [default: 20000]
        connections: usize, "connections", "GLASSHOUSE_CONNECTIONS", "N";
        /// What is logged: error, warn, info, debug, trace, or a filter such as info,glasshouse_node::net=debug
        log: String, "log", "GLASSHOUSE_LOG", "FILTER";
        /// How it is logged: text or json
        log_format: String, "log-format", "GLASSHOUSE_LOG_FORMAT", "FORMAT";
        /// Who listens where, as broker-1=host:port: so that a cut between two nodes is felt by their clients' side too
        #[arg(value_delimiter = ',', hide = true)]
        names: Vec<String>, "names", "GLASSHOUSE_NAMES", "NODE=ADDRESS";
        /// Where writes wait for fdatasync: page-cache, or process, which makes of kill -9 a power loss. For tests
        #[arg(hide = true)]
        hold: String, "hold", "GLASSHOUSE_HOLD", "WHERE";
        /// A folder in which a file called after a node says what fails on its disk: full, or fdatasync. For tests, and
        /// only with stones
        #[arg(hide = true)]
        faults: PathBuf, "faults", "GLASSHOUSE_FAULTS", "DIR";
    }
}

section! {
    /// A keeper: one server of the ZooKeeper side.
    KeeperSection {
        /// The keeper's id, 1 to 254
        id: u8, "keeper-id", "GLASSHOUSE_KEEPER_ID", "N";
        /// Where its clients connect [default: 127.0.0.1:2181]
        listen: String, "keeper-listen", "GLASSHOUSE_KEEPER_LISTEN", "ADDRESS";
        /// Where its peers connect [default: 127.0.0.1:2888]
        mesh: String, "keeper-mesh", "GLASSHOUSE_KEEPER_MESH", "ADDRESS";
        /// Metrics and health [default: none]
        http: String, "keeper-http", "GLASSHOUSE_KEEPER_HTTP", "ADDRESS";
        /// The ensemble, itself included: id=host:port of each keeper's mesh [default: it alone]
        #[arg(value_delimiter = ',')]
        peers: Vec<String>, "keeper-peers", "GLASSHOUSE_KEEPER_PEERS", "ID=ADDRESS";
        /// Which of the ensemble do not vote
        #[arg(value_delimiter = ',')]
        observers: Vec<u8>, "keeper-observers", "GLASSHOUSE_KEEPER_OBSERVERS", "ID";
        /// tickTime [default: 2000]
        tick_ms: u64, "keeper-tick-ms", "GLASSHOUSE_KEEPER_TICK_MS", "MS";
        /// initLimit, in ticks [default: 10]
        init_limit: u32, "keeper-init-limit", "GLASSHOUSE_KEEPER_INIT_LIMIT", "TICKS";
        /// syncLimit, in ticks [default: 5]
        sync_limit: u32, "keeper-sync-limit", "GLASSHOUSE_KEEPER_SYNC_LIMIT", "TICKS";
        /// minSessionTimeout [default: two ticks]
        session_min_ms: u64, "keeper-session-min-ms", "GLASSHOUSE_KEEPER_SESSION_MIN_MS", "MS";
        /// maxSessionTimeout [default: twenty ticks]
        session_max_ms: u64, "keeper-session-max-ms", "GLASSHOUSE_KEEPER_SESSION_MAX_MS", "MS";
        /// Sessions expire in buckets this wide (in ZooKeeper always a tick) [default: a tick]
        expiry_interval_ms: u64, "keeper-expiry-interval-ms", "GLASSHOUSE_KEEPER_EXPIRY_INTERVAL_MS", "MS";
        /// How long an election waits for a better vote (zookeeper.fastleader.minNotificationInterval) [default: 200]
        finalize_wait_ms: u64, "keeper-finalize-wait-ms", "GLASSHOUSE_KEEPER_FINALIZE_WAIT_MS", "MS";
        /// snapCount [default: 100000]
        snap_count: u32, "keeper-snap-count", "GLASSHOUSE_KEEPER_SNAP_COUNT", "N";
        /// autopurge.snapRetainCount [default: 3]
        snap_retain: u32, "keeper-snap-retain", "GLASSHOUSE_KEEPER_SNAP_RETAIN", "N";
        /// extendedTypesEnabled: znodes with a time to live [default: false]
        #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        ttl: bool, "keeper-ttl", "GLASSHOUSE_KEEPER_TTL", "BOOL";
        /// 4lw.commands.whitelist; * allows all of them [default: srvr]
        #[arg(value_delimiter = ',')]
        words: Vec<String>, "keeper-words", "GLASSHOUSE_KEEPER_WORDS", "WORD";
    }
}

section! {
    /// A broker: one server of the Kafka side.
    BrokerSection {
        /// The broker's number: its place in the mesh, and its broker.id
        id: u32, "broker-id", "GLASSHOUSE_BROKER_ID", "N";
        /// Have the broker.id handed out by the ensemble (1001 and up) [default: false]
        #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        generated_id: bool, "broker-generated-id", "GLASSHOUSE_BROKER_GENERATED_ID", "BOOL";
        /// Where its clients connect [default: 127.0.0.1:9092]
        listen: String, "broker-listen", "GLASSHOUSE_BROKER_LISTEN", "ADDRESS";
        /// Where clients are told to connect [default: where it listens]
        advertise: String, "broker-advertise", "GLASSHOUSE_BROKER_ADVERTISE", "ADDRESS";
        /// Where its peers connect [default: 127.0.0.1:9192]
        mesh: String, "broker-mesh", "GLASSHOUSE_BROKER_MESH", "ADDRESS";
        /// Metrics and health [default: none]
        http: String, "broker-http", "GLASSHOUSE_BROKER_HTTP", "ADDRESS";
        /// All brokers, itself included: number=host:port of each broker's mesh [default: it alone]
        #[arg(value_delimiter = ',')]
        peers: Vec<String>, "broker-peers", "GLASSHOUSE_BROKER_PEERS", "N=ADDRESS";
        /// zookeeper.connect: where the keepers' clients connect [default: 127.0.0.1:2181]
        #[arg(value_delimiter = ',')]
        keepers: Vec<String>, "broker-keepers", "GLASSHOUSE_BROKER_KEEPERS", "ADDRESS";
        /// broker.rack
        rack: String, "broker-rack", "GLASSHOUSE_BROKER_RACK", "NAME";
    }
}

/// All settings of a process, from wherever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    #[serde(flatten)]
    pub general: General,
    pub keeper: KeeperSection,
    pub broker: BrokerSettings,
}

/// A broker's section, Kafka's own settings in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BrokerSettings {
    #[serde(flatten)]
    pub section: BrokerSection,
    /// By Kafka's names.
    pub settings: BTreeMap<String, String>,
}

impl Settings {
    /// These settings, and where there is none, the others'. Kafka's settings are merged one by one.
    pub fn or(self, other: Settings) -> Settings {
        let mut settings = other.broker.settings;
        settings.extend(self.broker.settings);
        Settings {
            general: self.general.or(other.general),
            keeper: self.keeper.or(other.keeper),
            broker: BrokerSettings { section: self.broker.section.or(other.broker.section), settings },
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// One sentence that names the file, and the key or the line.
    pub fn read(path: &Path) -> Result<Settings, Usage> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Usage(format!("{} cannot be read: {error}", path.display())))?;
        Settings::parse(&text).map_err(|Usage(why)| Usage(format!("{}: {why}", path.display())))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// One sentence that names the key or the line.
    pub fn parse(text: &str) -> Result<Settings, Usage> {
        let mut table: toml::Table = toml::from_str(text).map_err(|error| not_toml(text, &error))?;
        let keeper = take_table(&mut table, "keeper")?;
        let mut broker = take_table(&mut table, "broker")?;
        let settings =
            take_table(&mut broker, "settings").map_err(|_| Usage("[broker.settings] is no table".into()))?;
        let mut kafkas = BTreeMap::new();
        flatten("", settings, &mut kafkas)?;
        Ok(Settings {
            general: section("", table, General::keys())?,
            keeper: section("keeper.", keeper, KeeperSection::keys())?,
            broker: BrokerSettings { section: section("broker.", broker, BrokerSection::keys())?, settings: kafkas },
        })
    }
}

fn not_toml(text: &str, error: &toml::de::Error) -> Usage {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    Usage(format!("line {line}: {}", error.message().lines().next().unwrap_or("this is no TOML")))
}

fn take_table(table: &mut toml::Table, name: &str) -> Result<toml::Table, Usage> {
    match table.remove(name) {
        None => Ok(toml::Table::new()),
        Some(toml::Value::Table(inner)) => Ok(inner),
        Some(_) => Err(Usage(format!("{name} is a section: write [{name}] above its settings"))),
    }
}

/// A section's settings; its keys are looked at first, because a key that nobody knows is a setting that is ignored.
fn section<T: for<'de> Deserialize<'de>>(prefix: &str, table: toml::Table, known: Vec<String>) -> Result<T, Usage> {
    for key in table.keys() {
        if !known.contains(key) {
            return Err(unknown(prefix, key, &known));
        }
    }
    // One at a time, so that the sentence can name the one that is wrong.
    for (key, value) in &table {
        let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = T::deserialize(alone) {
            let why = error.message().lines().next().unwrap_or("the value cannot be read").to_owned();
            return Err(Usage(format!("{prefix}{key}: {why}")));
        }
    }
    T::deserialize(table).map_err(|error| Usage(format!("{prefix}: {}", error.message())))
}

fn unknown(prefix: &str, key: &str, known: &[String]) -> Usage {
    let elsewhere = [("", General::keys()), ("keeper.", KeeperSection::keys()), ("broker.", BrokerSection::keys())];
    let here = known.iter().map(|name| (apart(key, name), format!("{prefix}{name}")));
    // The same key may well exist one section further.
    let there = elsewhere.iter().flat_map(|(prefix, names)| names.iter().map(move |name| (prefix, name)));
    let there = there.filter(|(_, name)| *name == key).map(|(prefix, name)| (0, format!("{prefix}{name}")));
    let nearest = there.chain(here).min().map(|(_, name)| name).unwrap_or_default();
    Usage(format!("no setting is called {prefix}{key}; the nearest one is {nearest}"))
}

/// Kafka's settings: `min.insync.replicas = 2` is nested tables to TOML, `"min.insync.replicas" = 2` is not.
fn flatten(prefix: &str, table: toml::Table, into: &mut BTreeMap<String, String>) -> Result<(), Usage> {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(&format!("{name}."), inner, into)?;
                continue;
            }
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) => {
                return Err(Usage(format!(
                    "broker.settings.{name}: this is neither text nor a whole number nor a truth"
                )));
            }
        };
        into.insert(name, text);
    }
    Ok(())
}

/// How far a wrong name is from a right one; the beginning of it is near.
fn apart(wrong: &str, right: &str) -> usize {
    let wrong = wrong.to_lowercase().replace('_', "-");
    if !wrong.is_empty() && right.starts_with(&wrong) { 1 } else { distance(&wrong, right) }
}

/// How many letters have to be added, removed or exchanged (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in right.iter().enumerate() {
            let exchanged = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// The one of `known` that is nearest to `name`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    known.into_iter().min_by_key(|other| apart(name, other)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        Settings::parse(text).unwrap_err().0
    }

    #[test]
    fn a_file_is_read() {
        let text = r#"
            roles = ["keeper", "broker"]
            cluster = "prod"
            [keeper]
            id = 1
            tick-ms = 500
            [broker]
            id = 7
            [broker.settings]
            min.insync.replicas = 2
            "auto.create.topics.enable" = false
        "#;
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.general.roles, Some(vec!["keeper".to_owned(), "broker".to_owned()]));
        assert_eq!(
            (settings.keeper.id, settings.keeper.tick_ms, settings.broker.section.id),
            (Some(1), Some(500), Some(7))
        );
        assert_eq!(settings.broker.settings["min.insync.replicas"], "2");
        assert_eq!(settings.broker.settings["auto.create.topics.enable"], "false");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut settings = Settings::default();
        settings.general.cluster = Some("a".to_owned());
        settings.keeper.words = Some(vec!["mntr".to_owned()]);
        settings.broker.section.id = Some(3);
        settings.broker.settings.insert("min.insync.replicas".to_owned(), "2".to_owned());
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(Settings::parse(&text).unwrap(), settings);
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_named() {
        assert_eq!(why("clutser = 'a'"), "no setting is called clutser; the nearest one is cluster");
        assert_eq!(why("[keeper]\ntick = 5"), "no setting is called keeper.tick; the nearest one is keeper.tick-ms");
        assert_eq!(
            why("[keeper]\ntickms = 5"),
            "no setting is called keeper.tickms; the nearest one is keeper.tick-ms"
        );
        assert_eq!(why("tick-ms = 5"), "no setting is called tick-ms; the nearest one is keeper.tick-ms");
        assert_eq!(why("keeper = 1"), "keeper is a section: write [keeper] above its settings");
    }

    #[test]
    fn a_wrong_value_is_named() {
        assert!(why("[keeper]\nid = 'one'").starts_with("keeper.id: "), "{}", why("[keeper]\nid = 'one'"));
        assert!(why("[keeper]\nid = 300").starts_with("keeper.id: "), "{}", why("[keeper]\nid = 300"));
        assert!(why("a = ").starts_with("line 1: "), "{}", why("a = "));
        assert!(why("\n\nbroker = [").starts_with("line 3: "), "{}", why("\n\nbroker = ["));
    }

    #[test]
    fn the_first_of_two_wins_setting_by_setting() {
        let first = Settings::parse("cluster = 'a'\n[broker.settings]\nmin.insync.replicas = 1").unwrap();
        let second = Settings::parse(
            "cluster = 'b'\ndata = '/d'\n[broker.settings]\nmin.insync.replicas = 2\nnum.partitions = 3",
        );
        let both = first.or(second.unwrap());
        assert_eq!(both.general.cluster.as_deref(), Some("a"));
        assert_eq!(both.general.data.as_deref(), Some(Path::new("/d")));
        assert_eq!(both.broker.settings["min.insync.replicas"], "1");
        assert_eq!(both.broker.settings["num.partitions"], "3");
    }

    #[test]
    fn every_setting_is_a_flag_and_a_variable() {
        use clap::Args;
        let command = super::super::args::Args::augment_args(clap::Command::new("node"));
        let sections = [("", General::keys()), ("keeper-", KeeperSection::keys()), ("broker-", BrokerSection::keys())];
        for (prefix, keys) in sections {
            for key in keys {
                let flag = format!("{prefix}{key}");
                let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag.as_str()));
                let arg = arg.unwrap_or_else(|| panic!("no flag --{flag}"));
                let variable = format!("GLASSHOUSE_{}", flag.replace('-', "_").to_uppercase());
                assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
            }
        }
    }
}
