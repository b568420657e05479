//! Everything that reaches a node comes in by one bounded queue: from connections, peers, the disk and the operator.
//!
//! Whoever puts something in waits while it is full; that is how sockets feel a busy node.

use crate::net::outbox::Outbox;
use crate::observe::routes::Question;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::id::ConnId;
use glasshouse_core::node::Input;
use glasshouse_core::store::disk::DiskError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Inputs that may wait.
const ROOM: usize = 4096;

/// What comes in.
#[derive(Debug)]
pub enum Incoming {
    /// As the machine takes it.
    Input(Input),
    /// A client connected, from there: answers to it go here. Comes before its first request.
    Connected { conn: ConnId, peer: SocketAddr, outbox: Outbox },
    /// The sync thread is done with a lane.
    SyncDone { lane: Lane, result: Result<(), DiskError> },
    /// Somebody asked over HTTP how it is.
    Asked(Question),
    /// Stop at once, as a crash of the process would (a stone thrown in a process that several nodes share).
    Kill,
}

/// Room for one input.
#[derive(Debug)]
pub struct Room<'a>(mpsc::Permit<'a, Incoming>);

impl Room<'_> {
    pub fn put(self, input: Input) {
        self.0.send(Incoming::Input(input));
    }
}

/// The sending end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    queue: mpsc::Sender<Incoming>,
    conns: Arc<AtomicU64>,
}

impl Inbox {
    pub fn new() -> (Inbox, mpsc::Receiver<Incoming>) {
        let (queue, receiver) = mpsc::channel(ROOM);
        (Inbox { queue, conns: Arc::default() }, receiver)
    }

    /// Puts an input in; waits for room. False: the node is gone.
    pub async fn put(&self, input: Input) -> bool {
        self.put_incoming(Incoming::Input(input)).await
    }

    /// As [`put`](Inbox::put).
    pub async fn put_incoming(&self, incoming: Incoming) -> bool {
        self.queue.send(incoming).await.is_ok()
    }

    /// Waits for room, and keeps it for one input: for who must not lose the input if the waiting is given up. `None`:
    /// the node is gone.
    pub async fn reserve(&self) -> Option<Room<'_>> {
        self.queue.reserve().await.ok().map(Room)
    }

    /// As [`put`](Inbox::put), from a thread that may block. Panics on a runtime's thread.
    pub fn put_blocking(&self, incoming: Incoming) -> bool {
        self.queue.blocking_send(incoming).is_ok()
    }

    /// A number for a new connection, never used twice by one boot.
    pub fn next_conn(&self) -> ConnId {
        ConnId(self.conns.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The node is gone.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}
