//! One task for each pair keeps it linked: it dials until a connection is chosen, dialled or accepted, runs the link,
//! and begins again.

use super::greeting::{self, PATIENCE, Refused};
use super::wire::{self, Bare, Life, Socket, Wire};
use super::{Shared, link};
use glasshouse_core::id::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::client_async_with_config;

/// A connection to a peer that has proved who it is.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) socket: Socket,
    pub(super) life: Arc<Life>,
    /// Of the peer.
    pub(super) boot: u64,
    /// By this node.
    pub(super) dialled: bool,
}

/// Whether it is this node that says which connection with the peer becomes the link.
pub(super) fn is_chooser(shared: &Shared, peer: NodeId) -> bool {
    shared.config.me < peer
}

/// Keeps this node linked with `peer` until it is dropped.
pub(super) async fn keep(shared: Arc<Shared>, peer: NodeId, mut accepted: mpsc::Receiver<Greeted>) {
    let (me, pair) = (shared.config.me, &shared.pairs[&peer]);
    let mut backoff = Backoff::default();
    let mut next = None;
    loop {
        let greeted = match next.take() {
            Some(greeted) => greeted,
            None => tokio::select! {
                biased;
                Some(greeted) = accepted.recv() => greeted,
                greeted = dial(&shared, peer, &mut backoff) => greeted,
            },
        };
        let began = Instant::now();
        pair.held.send_replace(Some(greeted.boot));
        tracing::info!("{me}: linked with {peer}, which {}", if greeted.dialled { "was dialled" } else { "dialled" });
        let why = tokio::select! {
            biased;
            why = link::run(greeted, &shared, pair, peer) => why,
            Some(newer) = accepted.recv() => {
                next = Some(newer);
                "another connection takes its place".to_owned()
            }
        };
        tracing::info!("{me}: the link with {peer} is gone: {why}");
        pair.become_unlinked();
        if !link::deliver(&shared.inbox, pair).await {
            return;
        }
        pair.held.send_replace(None);
        // A link that comes up only to break is not to be tried at full speed.
        if began.elapsed() > Backoff::SLOWEST {
            backoff = Backoff::default();
        }
    }
}

/// Dials until the peer has greeted and, if it is the one to choose, has chosen this connection.
async fn dial(shared: &Shared, peer: NodeId, backoff: &mut Backoff) -> Greeted {
    let mut told = None;
    loop {
        sleep(backoff.next()).await;
        shared.stones.passes(Some(peer)).await;
        let refused = match timeout(PATIENCE, attempt(shared, peer)).await {
            Ok(Ok(greeted)) => return greeted,
            Ok(Err(refused)) => refused,
            Err(_) => Refused::Gone(format!("it had not answered after {PATIENCE:?}")),
        };
        let (me, address) = (shared.config.me, &shared.config.peers[&peer]);
        shared.meeting.missed(peer, refused.is_foreign().then(|| refused.to_string()));
        if !refused.is_lasting() {
            tracing::debug!("{me}: {peer} at {address} cannot be reached: {refused}");
            continue;
        }
        if told.as_ref() != Some(&refused) {
            tracing::warn!("{me}: no link with {peer} at {address}: {refused}");
            told = Some(refused);
        }
        backoff.slow_down();
    }
}

pub(super) async fn attempt(shared: &Shared, peer: NodeId) -> Result<Greeted, Refused> {
    let address = &shared.config.peers[&peer];
    let host = address.host.as_ref();
    let gone = |error: std::io::Error| Refused::Gone(error.to_string());
    let stream = TcpStream::connect((host, address.port)).await.map_err(gone)?;
    // A port that nobody listens on may be drawn as our own end of the connection: TCP then connects it with itself,
    // and the peer could not listen there any more.
    if stream.local_addr().map_err(gone)? == stream.peer_addr().map_err(gone)? {
        return Err(Refused::Gone("nobody listens there".to_owned()));
    }
    stream.set_nodelay(true).map_err(gone)?;
    let bare = match &shared.tls {
        Some(tls) => tls.connect(host, stream).await.map_err(|error| Refused::Gone(format!("TLS: {error}")))?,
        None => Bare::Plain(stream),
    };
    let wire = Wire::new(bare);
    let life = wire.life();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request = format!("ws://{host}:{}/mesh", address.port);
    let config = wire::for_peers(shared.config.frame);
    let (mut socket, _) = client_async_with_config(request, wire, Some(config))
        .await
        .map_err(|error| Refused::Gone(format!("no WebSocket: {error}")))?;
    let boot = greeting::greet(&mut socket, shared, peer).await?;
    shared.meeting.greeted();
    if !is_chooser(shared, peer) {
        greeting::hear_go(&mut socket, shared, peer).await?;
    }
    Ok(Greeted { socket, life, boot, dialled: true })
}

/// How long to wait before the next try: at once, then 10 ms and twice as long each time, a little less by chance so
/// that nodes do not move in step.
#[derive(Debug, Default)]
struct Backoff {
    last: Duration,
}

impl Backoff {
    const FASTEST: Duration = Duration::from_millis(10);
    const SLOWEST: Duration = Duration::from_secs(1);

    fn next(&mut self) -> Duration {
        let wait = self.last;
        self.last = (self.last * 2).clamp(Backoff::FASTEST, Backoff::SLOWEST);
        let chance = getrandom::u32().unwrap_or_default() % 256;
        wait - wait / 1024 * chance
    }

    fn slow_down(&mut self) {
        self.last = Backoff::SLOWEST;
    }
}
