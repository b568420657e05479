//! A node's checked settings: what files, flags and the environment say, once it makes sense.

pub mod args;
pub mod check;
pub mod explain;
pub mod settings;

use crate::disk::Hold;
use crate::net::mesh::Tls;
use glasshouse_core::broker::config::BrokerConfig;
use glasshouse_core::id::NodeId;
use glasshouse_core::node::Address;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings that make no sense, in one sentence; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Everything one node is started with. A process with both roles has two of them.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub me: NodeId,
    pub cluster: String,
    /// What the cluster's nodes prove to each other that they know.
    pub secret: Vec<u8>,
    /// The node's own folder.
    pub data: PathBuf,
    /// Where its clients connect.
    pub clients: SocketAddr,
    /// Where its peers connect.
    pub mesh: SocketAddr,
    /// The others of its kind, and where each listens for its peers.
    pub peers: BTreeMap<NodeId, Address>,
    pub tls: Option<Tls>,
    /// Metrics, health and, if allowed, stones.
    pub http: Option<SocketAddr>,
    pub role: Role,
    /// Stones may be thrown at it.
    pub stones: bool,
    /// Where each node of the cluster is reached by clients: so that a cut reaches dials too.
    pub names: BTreeMap<NodeId, Address>,
    pub record: Option<PathBuf>,
    pub hold: Hold,
    /// The file that says what fails on its disk.
    pub faults: Option<PathBuf>,
    pub connections: usize,
}

/// What it is, with the core's own settings of it.
#[derive(Clone, Debug)]
pub enum Role {
    Keeper(Box<glasshouse_core::keeper::Config>),
    Broker(Box<BrokerConfig>),
}
