//! Which cluster a command speaks to, and how it says that nobody answers.

use super::term::{NotSo, Out, complain, is_broken_pipe, plain};
use crate::client::{self, Error, kafka, keeper, parse_addresses};
use crate::config::Usage;
use crate::up::describe::Cluster;
use anyhow::{Result, anyhow};
use glasshouse_core::api::kafka::ErrorCode;
use glasshouse_core::id::NodeId;
use glasshouse_core::keeper::client::op::KeeperError;
use glasshouse_core::node::Address;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What the exit codes mean, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, or nobody answers; 2 the arguments, or the input, make no sense; 3 what was asked for is not there, or \
not as it should be.";

/// Flags that say where the cluster is.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Reach {
    /// Brokers, as host:port,host:port [default: those of --data, or 127.0.0.1:9092]
    #[arg(long, value_name = "ADDRESSES", env = "GLASSHOUSE_BOOTSTRAP", global = true)]
    pub bootstrap: Option<String>,
    /// Keepers, as host:port,host:port [default: those of --data, or 127.0.0.1:2181]
    #[arg(long, value_name = "ADDRESSES", env = "GLASSHOUSE_ZOOKEEPER", global = true)]
    pub zookeeper: Option<String>,
    /// The folder of a cluster that `glasshouse up` runs
    #[arg(long, value_name = "DIR", env = "GLASSHOUSE_DATA", global = true)]
    pub data: Option<PathBuf>,
    /// Seconds after which an answer is no longer waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400), global = true)]
    pub timeout: u64,
    /// Say it as JSON, one line for each item
    #[arg(long, global = true)]
    pub json: bool,
}

impl Reach {
    /// The description of the cluster in `--data`, if that was given.
    ///
    /// # Errors
    /// No cluster runs there.
    pub fn cluster(&self) -> Result<Option<Cluster>> {
        let data = self.data.as_deref().filter(|data| !data.as_os_str().is_empty());
        let data = data.filter(|data| !(is_variable(data) && is_of_a_node(data)));
        data.map(Cluster::read).transpose()
    }

    /// As [`cluster`](Reach::cluster); where flags or variables say where everything is, only if it is that cluster.
    ///
    /// # Errors
    /// No cluster runs there, and that is not said.
    pub fn described(&self) -> Result<Option<Cluster>> {
        match [&self.bootstrap, &self.zookeeper].map(|text| text.as_deref().filter(|text| !text.is_empty())) {
            [Some(kafka), Some(zookeeper)] => {
                let is_told =
                    |address: &String| [kafka, zookeeper].iter().any(|all| all.split(',').any(|one| one == address));
                let fits = |cluster: &Cluster| cluster.kafka.iter().chain(&cluster.zookeeper).any(is_told);
                Ok(self.cluster().unwrap_or_default().filter(fits))
            }
            _ => self.cluster(),
        }
    }

    /// Where the brokers are.
    ///
    /// # Errors
    /// The addresses make no sense.
    pub fn brokers(&self) -> Result<Vec<Address>> {
        self.addresses(self.bootstrap.as_deref(), |cluster| cluster.kafka, 9092)
    }

    /// Where the keepers are.
    ///
    /// # Errors
    /// The addresses make no sense.
    pub fn keepers(&self) -> Result<Vec<Address>> {
        self.addresses(self.zookeeper.as_deref(), |cluster| cluster.zookeeper, 2181)
    }

    fn addresses(&self, given: Option<&str>, of: fn(Cluster) -> Vec<String>, port: u16) -> Result<Vec<Address>> {
        // A variable that is set to nothing is not set.
        let text = match given.filter(|text| !text.is_empty()) {
            Some(text) => text.to_owned(),
            None => match self.cluster()?.map(of) {
                Some(none) if none.is_empty() => return Err(NotSo("this cluster has no brokers".to_owned()).into()),
                Some(all) => all.join(","),
                None => format!("127.0.0.1:{port}"),
            },
        };
        parse_addresses(&text, port).map_err(|why| Usage(why).into())
    }

    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// A client of the brokers.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn kafka(&self) -> Result<kafka::Client> {
        self.kafka_within(self.limit()).await
    }

    /// As [`kafka`](Reach::kafka), with so much time for each question.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn kafka_within(&self, limit: Duration) -> Result<kafka::Client> {
        let settings = kafka::Settings {
            connect_timeout: limit.min(Duration::from_secs(5)),
            request_timeout: limit,
            timeout: limit,
            ..kafka::Settings::default()
        };
        Ok(kafka::Client::connect(self.brokers()?, settings).await?)
    }

    /// A session with the ensemble.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn session(&self) -> Result<keeper::Session> {
        let settings = keeper::Settings {
            connect_timeout: self.limit().min(Duration::from_secs(10)),
            request_timeout: self.limit(),
            ..keeper::Settings::default()
        };
        Ok(keeper::Session::connect(self.keepers()?, settings).await?)
    }
}

/// In a container the variable is there for `glasshouse node`, whose folder says nothing of a cluster: it runs on the
/// ports people expect, or its address is given.
fn is_variable(data: &Path) -> bool {
    std::env::var_os("GLASSHOUSE_DATA").is_some_and(|named| named == data.as_os_str())
}

/// Holds nodes that nobody started with `up`.
fn is_of_a_node(data: &Path) -> bool {
    let names = std::fs::read_dir(data).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    !crate::up::made(data) && names.iter().any(|name| NodeId::parse(name).is_some())
}

/// Runs a command on a runtime of its own, to its exit code. With `json` what it fails with is a line for programs, too.
///
/// # Errors
/// What is to be said to the user; [`ended`] has dealt with the rest.
pub fn run(json: bool, command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    ended(json, runtime.block_on(command))
}

/// Turns what a command ended with into what the process ends with.
///
/// # Errors
/// What is a failure (exit code 1) or a misuse (2).
pub fn ended(json: bool, outcome: Result<ExitCode>) -> Result<ExitCode> {
    let error = match outcome {
        Ok(code) => return Ok(code),
        Err(error) => error,
    };
    if json && !is_broken_pipe(&error) {
        // If standard output is what failed, the sentence below says so.
        let mut out = Out::new(true);
        let _ = out.item(&as_json(&error)).and_then(|()| out.flush());
    }
    let trouble = error.downcast_ref::<Error>().map(told);
    match exit_code(&error) {
        0 => Ok(ExitCode::SUCCESS),
        3 => {
            complain(format_args!("glasshouse: {}", trouble.unwrap_or_else(|| error.to_string())));
            Ok(ExitCode::from(3))
        }
        _ => Err(trouble.map_or(error, |trouble| anyhow!(trouble))),
    }
}

/// What a command fails with, for programs: the sentence, and whether it may have been done all the same.
pub fn as_json(error: &anyhow::Error) -> Value {
    let trouble = error.downcast_ref::<Error>();
    let sentence = trouble.map_or_else(|| plain(&format!("{error:#}")), told);
    json!({"error": sentence, "unknown": trouble.is_some_and(Error::is_unknown)})
}

/// What a command that fails so ends with, as [`EXIT_CODES`] says.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if is_broken_pipe(error) {
        0
    } else if error.is::<NotSo>() || error.downcast_ref::<Error>().is_some_and(is_missing) {
        3
    } else if error.is::<Usage>() {
        2
    } else {
        1
    }
}

fn is_missing(error: &Error) -> bool {
    match error {
        Error::Keeper { code, .. } => *code == KeeperError::NONODE,
        _ => matches!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::OFFSET_OUT_OF_RANGE)),
    }
}

/// A client's trouble as a sentence that says what to do.
pub fn told(error: &Error) -> String {
    let text = match error {
        Error::Unreachable { address, why } if why == "nothing listens there" => {
            format!(
                "nothing listens at {address}; is the cluster up? (glasshouse up; or say where it is: --bootstrap, --zookeeper, --data)"
            )
        }
        Error::Unreachable { address, why } if address.contains(", ") => format!("none of {address} answers: {why}"),
        Error::Unreachable { address, why } => format!("{address} does not answer: {why}"),
        Error::Lost { address, why } => {
            format!("the connection to {address} broke ({why}); whether it was done is unknown")
        }
        Error::Keeper { what, code } => format!("{what}: {}", keeper_words(*code)),
        Error::Refused { what, code, message } => {
            let words = kafka_words(*code);
            match message {
                Some(message) if !message.is_empty() => format!("{what}: {words} ({message})"),
                _ => format!("{what}: {words}"),
            }
        }
        Error::TimedOut { what, after, last: Some(last) } => {
            format!("{what}: not within {} s; last, {}", after.as_secs(), told(last))
        }
        other => other.to_string(),
    };
    plain(&text)
}

/// A keeper's code in plain words, its name behind them.
pub fn keeper_words(code: KeeperError) -> String {
    let words = match code {
        KeeperError::NONODE => "there is no such node",
        KeeperError::NODEEXISTS => "the node is there already",
        KeeperError::NOTEMPTY => "the node has children (delete -r takes them too)",
        KeeperError::BADVERSION => "the node has another version",
        KeeperError::NOAUTH => "not allowed",
        KeeperError::NOCHILDRENFOREPHEMERALS => "the parent is ephemeral and cannot have children",
        KeeperError::BADARGUMENTS => "that is no path",
        KeeperError::CONNECTIONLOSS => "the connection broke; whether it was done is unknown",
        KeeperError::SESSIONEXPIRED => "the session is gone",
        _ => return code.to_string(),
    };
    format!("{words} ({code})")
}

/// A broker's code in plain words, its name behind them.
pub fn kafka_words(code: ErrorCode) -> String {
    let words = match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "there is no such topic or partition",
        ErrorCode::TOPIC_ALREADY_EXISTS => "the topic is there already",
        ErrorCode::INVALID_TOPIC_EXCEPTION => "that cannot be a topic's name",
        ErrorCode::INVALID_REPLICATION_FACTOR => "not so many replicas: a broker holds one of each at most",
        ErrorCode::INVALID_PARTITIONS => "that cannot be a number of partitions",
        ErrorCode::INVALID_CONFIG => "a setting makes no sense",
        ErrorCode::NOT_CONTROLLER => "no broker is the controller at the moment; have the keepers a quorum?",
        ErrorCode::LEADER_NOT_AVAILABLE => "no leader at the moment",
        ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => "too few replicas are in sync",
        ErrorCode::OFFSET_OUT_OF_RANGE => "the log does not have that offset",
        ErrorCode::MESSAGE_TOO_LARGE => "longer than the topic takes",
        ErrorCode::BROKER_NOT_AVAILABLE => "no broker is there for it at the moment",
        _ => return code.to_string(),
    };
    format!("{words} ({code})")
}

/// Addresses as one text.
pub fn join(addresses: &[Address]) -> String {
    client::join(addresses)
}
