//! Stones that were thrown at this node and still lie there: it is paused, its links are cut or slow, its answers are
//! tampered with. Everything that moves bytes asks here first; nothing is ever in the way unless somebody threw it.

use glasshouse_core::id::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What is done to the next Produce answer of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStone {
    /// The records are appended, the answer never leaves and the connection breaks.
    Lost,
    Delayed(Duration),
    /// It is answered with this error code instead, though the records are appended.
    Failed(i16),
}

/// What lies on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lying {
    pub paused: bool,
    /// Nothing goes to these nodes or comes from them: silence, not a broken connection.
    pub cut: BTreeSet<NodeId>,
    /// Whatever goes to these nodes is late by so much.
    pub slow: BTreeMap<NodeId, Duration>,
    pub reply: Option<ReplyStone>,
}

impl Lying {
    fn is_free(&self, other: Option<NodeId>) -> bool {
        !self.paused && other.is_none_or(|other| !self.cut.contains(&other))
    }
}

/// Who listens at a host and port.
type Names = BTreeMap<(Arc<str>, u16), NodeId>;

/// Shared by everything in a node that moves bytes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stones {
    lying: Arc<watch::Sender<Lying>>,
    /// Which node listens at an address, so that a cut reaches a broker's dials to keepers too.
    names: Arc<Mutex<Names>>,
}

impl Default for Stones {
    fn default() -> Stones {
        Stones { lying: Arc::new(watch::Sender::new(Lying::default())), names: Arc::default() }
    }
}

impl Stones {
    /// Throws or picks up.
    pub fn change(&self, change: impl FnOnce(&mut Lying)) {
        self.lying.send_modify(change);
    }

    pub fn lying(&self) -> Lying {
        self.lying.borrow().clone()
    }

    /// Tells which node listens at an address.
    pub fn name(&self, host: &str, port: u16, node: NodeId) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert((host.into(), port), node);
    }

    pub fn node_at(&self, host: &str, port: u16) -> Option<NodeId> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&(host.into(), port)).copied()
    }

    /// Returns at once unless the node is paused, and then when it goes on.
    pub async fn paused(&self) {
        if self.lying.borrow().paused {
            let _ = self.lying.subscribe().wait_for(|lying| !lying.paused).await;
        }
    }

    /// Before bytes go to or come from a node: returns when neither a cut nor a pause is in the way.
    pub async fn passes(&self, other: Option<NodeId>) {
        if !self.is_free(other) {
            let _ = self.lying.subscribe().wait_for(|lying| lying.is_free(other)).await;
        }
    }

    /// Whether neither a cut nor a pause is in the way now.
    pub fn is_free(&self, other: Option<NodeId>) -> bool {
        self.lying.borrow().is_free(other)
    }

    /// How late what goes to a node has to be.
    pub fn slowness(&self, other: NodeId) -> Option<Duration> {
        self.lying.borrow().slow.get(&other).copied()
    }

    /// Takes the stone that waits for the next Produce answer.
    pub fn take_reply(&self) -> Option<ReplyStone> {
        self.lying.borrow().reply?;
        let mut taken = None;
        self.lying.send_modify(|lying| taken = lying.reply.take());
        taken
    }
}
