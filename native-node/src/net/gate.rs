//! Whether bytes may move: the one question that everything with a socket asks before it reads or writes.
//!
//! Knows the stones that lie on this node; knows no protocol. A closed gate is silence: what a peer sends stays in the
//! kernel, what waits for it stays with us.

use crate::stones::Stones;
use glasshouse_core::id::NodeId;

/// In front of one connection, or of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    stones: Stones,
    /// Who is at the other end, where that is a node of ours: links between nodes can be cut.
    other: Option<NodeId>,
}

impl Gate {
    pub fn new(stones: Stones, other: Option<NodeId>) -> Gate {
        Gate { stones, other }
    }

    /// To be asked at each poll, so that not one read is begun behind a stone.
    pub fn is_open(&self) -> bool {
        self.stones.is_free(self.other)
    }

    /// Returns at once if it is open, and otherwise when it opens.
    pub async fn opened(&self) {
        self.stones.passes(self.other).await;
    }
}
