//! The mesh: one duplex WebSocket for each pair of nodes of a kind, which carries their channels.
//!
//! ```text
//!  Mesh::send ──▶ channels: queues, generations ──▶ link: writes ──▶ WebSocket
//!  inbox ◀── link: reads, decodes ◀── channels: who is up ◀── WebSocket
//!  connect: dials, or takes what accept let in, one link at a time      greeting: who may
//! ```
//!
//! Both ends dial, so whoever was away is back as soon as it knows where the others are. Of a pair it is the node with
//! the smaller id that decides which connection becomes the link, and says so on it; the other obeys. So two
//! connections that are made at once end as one link, the same at both ends, and it does not change afterwards.
//!
//! Knows nothing of what the messages mean.

mod accept;
mod channels;
mod connect;
mod greeting;
mod link;
mod meeting;
mod pair;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use crate::inbox::Inbox;
use crate::stones::Stones;
use accept::Complaints;
use bytes::Bytes;
use connect::Greeted;
use glasshouse_core::api::peer::{Channel, PeerMessage};
use glasshouse_core::id::NodeId;
use glasshouse_core::node::Address;
pub use meeting::Meeting;
use pair::Pair;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

/// How a node takes part in the mesh.
#[derive(Clone)]
pub struct MeshConfig {
    pub cluster: String,
    pub me: NodeId,
    /// The others of its kind, and where each listens for its peers.
    pub peers: BTreeMap<NodeId, Address>,
    /// What every node of the cluster knows and nobody else.
    pub secret: Vec<u8>,
    pub tls: Option<Tls>,
    /// A peer that is silent for so long is dead; pings go out at a third of it.
    pub dead_peer: Duration,
    /// The longest message, in bytes.
    pub frame: usize,
}

/// All but the secret.
impl fmt::Debug for MeshConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MeshConfig { cluster, me, peers, secret: _, tls, dead_peer, frame } = self;
        f.debug_struct("MeshConfig")
            .field("cluster", cluster)
            .field("me", me)
            .field("peers", peers)
            .field("tls", tls)
            .field("dead_peer", dead_peer)
            .field("frame", frame)
            .finish_non_exhaustive()
    }
}

/// PEM files; both ends show a certificate that the authority has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

impl Tls {
    /// Reads the files as a node does that starts.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn check(&self) -> Result<(), String> {
        tls::Ends::load(self).map(drop)
    }
}

/// What everything in a node's mesh shares.
struct Shared {
    config: MeshConfig,
    /// Drawn at each start: a peer whose number is new has restarted, and its former link is gone.
    boot: u64,
    tls: Option<tls::Ends>,
    inbox: Inbox,
    stones: Stones,
    pairs: BTreeMap<NodeId, Arc<Pair>>,
    /// To the task of each pair: connections that were accepted and may become its link.
    accepted: BTreeMap<NodeId, mpsc::Sender<Greeted>>,
    complaints: Complaints,
    /// Something that was backed up is no longer.
    relief: Arc<Notify>,
    meeting: Arc<Meeting>,
}

type Doors = Vec<(NodeId, mpsc::Receiver<Greeted>)>;

/// The host's end of the mesh.
pub struct Mesh {
    shared: Arc<Shared>,
    /// Dropping them ends them.
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Mesh {
    /// Listens, and dials whom it has to, in the background, until the mesh is dropped.
    ///
    /// # Errors
    /// One sentence, if the certificates cannot be used.
    pub fn start(config: MeshConfig, listener: TcpListener, inbox: Inbox, stones: Stones) -> Result<Mesh, String> {
        let (shared, doors) = Shared::new(config, inbox, stones)?;
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept::accept(shared.clone(), listener));
        for (peer, door) in doors {
            tasks.spawn(connect::keep(shared.clone(), peer, door));
        }
        Ok(Mesh { shared, _tasks: tasks })
    }

    /// What the peers think of this node.
    pub fn meeting(&self) -> Arc<Meeting> {
        self.shared.meeting.clone()
    }

    /// Queues a message. Of a channel that is down or older than the present one nothing is sent, but the newest
    /// election message is kept for the next. A full queue breaks its channel.
    pub fn send(&mut self, channel: Channel, message: PeerMessage<Bytes>) {
        if let Some(pair) = self.shared.pairs.get(&channel.peer) {
            pair.send(self.shared.lateness(channel.peer), channel, &message);
        }
    }

    /// Whether so much waits for a peer that the node should not take up what would make more. It passes: the peer reads,
    /// or its link ends.
    pub fn is_backed_up(&self) -> bool {
        self.shared.pairs.values().any(|pair| pair.backed_up().is_some())
    }

    /// Returns when one that was backed up is no longer; now and then without a reason.
    pub async fn relieved(&self) {
        self.shared.relief.notified().await;
    }

    /// Breaks a channel, behind what waits on it; it comes up again under a higher generation.
    pub fn hangup(&mut self, channel: Channel) {
        if let Some(pair) = self.shared.pairs.get(&channel.peer) {
            pair.hang_up(self.shared.lateness(channel.peer), channel);
        }
    }
}

impl Shared {
    /// Also gives, for each peer, where its accepted connections come out.
    fn new(config: MeshConfig, inbox: Inbox, stones: Stones) -> Result<(Shared, Doors), String> {
        let boot = getrandom::u64().map_err(|error| format!("no entropy: {error}"))?;
        let tls = config.tls.as_ref().map(tls::Ends::load).transpose()?;
        let relief = Arc::<Notify>::default();
        let (mut pairs, mut accepted, mut doors) = (BTreeMap::new(), BTreeMap::new(), Doors::new());
        for peer in config.peers.keys().copied().filter(|peer| *peer != config.me) {
            let (sender, door) = mpsc::channel(4);
            pairs.insert(peer, Arc::new(Pair::new(config.me, peer, config.frame, relief.clone())));
            accepted.insert(peer, sender);
            doors.push((peer, door));
        }
        let complaints = Complaints::default();
        let meeting = Arc::new(Meeting::new(pairs.len()));
        Ok((Shared { config, boot, tls, inbox, stones, pairs, accepted, complaints, relief, meeting }, doors))
    }

    /// How late what goes to a peer has to be: a stone's doing.
    fn lateness(&self, peer: NodeId) -> Duration {
        self.stones.slowness(peer).unwrap_or_default()
    }
}
