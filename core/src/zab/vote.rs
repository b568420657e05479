//! A vote and its total order (protocol.md A.1). Pure.

use crate::id::{KeeperId, ZabEpoch, Zxid};

/// Whom to follow, and how recent that keeper's history is. Ordered by epoch, then history, then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    pub leader: KeeperId,
    /// The last zxid of the proposed leader's journal.
    pub zxid: Zxid,
    /// The proposed leader's `currentEpoch`.
    pub peer_epoch: ZabEpoch,
}

impl Vote {
    /// Whether `self` beats `other` (ZooKeeper's `totalOrderPredicate`).
    pub fn beats(self, other: Vote) -> bool {
        (self.peer_epoch, self.zxid, self.leader) > (other.peer_epoch, other.zxid, other.leader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(leader: u8, epoch: u32, counter: u32, peer_epoch: u32) -> Vote {
        Vote { leader: KeeperId(leader), zxid: Zxid::new(ZabEpoch(epoch), counter), peer_epoch: ZabEpoch(peer_epoch) }
    }

    #[test]
    fn epoch_beats_history_beats_id() {
        assert!(vote(1, 1, 1, 2).beats(vote(3, 1, 9, 1)), "a later currentEpoch wins with a shorter history");
        assert!(vote(1, 1, 2, 1).beats(vote(3, 1, 1, 1)));
        assert!(vote(3, 1, 1, 1).beats(vote(1, 1, 1, 1)));
        assert!(!vote(3, 1, 1, 1).beats(vote(3, 1, 1, 1)));
    }
}
