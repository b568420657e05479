//! The mesh: one duplex WebSocket for each pair of nodes of a kind, which carries their channels.

use crate::inbox::Inbox;
use crate::stones::Stones;
use bytes::Bytes;
use glasshouse_core::api::peer::{Channel, PeerMessage};
use glasshouse_core::id::NodeId;
use glasshouse_core::node::Address;
use std::collections::BTreeMap;
use tokio::net::TcpListener;

/// How a node takes part in the mesh.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    pub cluster: String,
    pub me: NodeId,
    /// The others of its kind, and where each listens for its peers.
    pub peers: BTreeMap<NodeId, Address>,
    /// What every node of the cluster knows and nobody else.
    pub secret: Vec<u8>,
    pub tls: Option<Tls>,
    /// A peer that is silent for so long is dead; pings go out at a third of it.
    pub dead_peer: std::time::Duration,
    /// The longest message.
    pub frame: usize,
}

/// PEM files; both ends show a certificate that the authority has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificate: std::path::PathBuf,
    pub key: std::path::PathBuf,
    pub authority: std::path::PathBuf,
}

/// The host's end of the mesh.
#[derive(Debug)]
pub struct Mesh {}

impl Mesh {
    /// Listens, and dials whom it has to, in the background, until the mesh is dropped.
    ///
    /// # Errors
    /// One sentence, if the certificates cannot be used.
    pub fn start(_config: MeshConfig, _listener: TcpListener, _inbox: Inbox, _stones: Stones) -> Result<Mesh, String> {
        unimplemented!("the mesh is being written")
    }

    /// Queues a message. Of a channel that is down or older than the present one nothing is sent. A full queue breaks it.
    pub fn send(&mut self, _channel: Channel, _message: PeerMessage<Bytes>) {}

    /// Breaks a channel; it comes up again under a higher generation.
    pub fn hangup(&mut self, _channel: Channel) {}
}
