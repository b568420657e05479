//! `glasshouse up`: a whole cluster on this machine, from its first socket to its orderly end.
//!
//! Every socket is bound before anything starts, so that a port that is taken starts nothing. Its timing is not Apache's,
//! which `glasshouse node` keeps: a tick of 500 ms and broker sessions of 1.5 s, because everything is near.

mod control;
pub mod describe;
pub mod inherit;
mod layout;
mod member;
mod plan;
mod ready;
mod supervise;

use crate::config::Usage;
use crate::config::check::Log;
use crate::logging;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the control is looked for if nobody says where it is.
pub const CONTROL_PORT: u16 = 7070;

/// Flags of `glasshouse up`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Keepers: servers of the ZooKeeper side
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub keepers: u8,
    /// Brokers: servers of the Kafka side; 0 makes an ensemble alone
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=99))]
    pub brokers: u32,
    /// Where the data goes [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where clients connect, and are told to connect
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub host: std::net::IpAddr,
    /// The first broker's port, the others follow; 0 picks free ones
    #[arg(long, default_value_t = 9092, value_name = "PORT")]
    pub kafka_port: u16,
    /// The first keeper's port, the others follow; 0 picks free ones
    #[arg(long, default_value_t = 2181, value_name = "PORT")]
    pub zookeeper_port: u16,
    /// The first port between nodes, keepers before brokers; 0 picks free ones
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub mesh_port: u16,
    /// The first port for metrics and health, keepers before brokers; 0 picks free ones
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub http_port: u16,
    /// The port of the cluster's own control (GET /cluster; with --stones, POST /stone); 0 picks a free one [default:
    /// 7070, or a free one if that is taken or the clients' ports are free ones too]
    #[arg(long, value_name = "PORT")]
    pub control_port: Option<u16>,
    /// Run each node as a process of its own
    #[arg(long)]
    pub processes: bool,
    /// Start a node again whenever it has ended: by itself, by a stone, or by kill -9
    #[arg(long)]
    pub restart: bool,
    /// Let stones be thrown: glasshouse stone kill broker-2
    #[arg(long)]
    pub stones: bool,
    /// Say where the cluster is as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Record each node's inputs in a file of this folder
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// A setting of all brokers by Kafka's name, such as min.insync.replicas=2
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// tickTime of the keepers, from which their other times follow
    #[arg(long, default_value_t = 500, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub tick_ms: u64,
    /// What is logged: error, warn, info, debug, trace, or a filter
    #[arg(long, default_value = "warn", value_name = "FILTER", env = "GLASSHOUSE_LOG")]
    pub log: String,
    /// How it is logged: text or json
    #[arg(long, default_value = "text", value_name = "FORMAT", env = "GLASSHOUSE_LOG_FORMAT")]
    pub log_format: String,
    /// Where writes wait for fdatasync: page-cache, or process, which makes of kill -9 a power loss. For tests
    #[arg(long, default_value = "page-cache", value_name = "WHERE", hide = true)]
    pub hold: String,
    /// A folder in which a file called after a node says what fails on its disk: full, fdatasync or unlink. For tests, and
    /// only with --stones
    #[arg(long, value_name = "DIR", hide = true)]
    pub faults: Option<PathBuf>,
    /// Seconds that the cluster may take until it serves
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub patience: u64,
}

/// Runs a cluster until it is stopped.
///
/// # Errors
/// One sentence: a flag or a port that makes no sense ([`Usage`]), or what went wrong.
pub fn run(args: Args) -> Result<ExitCode> {
    let log = Log::new(Some(args.log.clone()), Some(&args.log_format))?;
    let plan = plan::Plan::new(&args)?;
    logging::start(&log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let ended = runtime.block_on(supervise::run(args, plan));
    runtime.shutdown_background();
    ended
}

/// Whether the folder is one that `up` made.
pub fn made(data: &Path) -> bool {
    layout::Layout::file(data).exists()
}

/// A port that is taken is the operator's mistake, too: nothing was started.
fn usage(why: impl Into<String>) -> anyhow::Error {
    Usage(why.into()).into()
}
