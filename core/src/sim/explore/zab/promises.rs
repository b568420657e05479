//! The invariants of the small world (protocol.md D.1), checked as things happen.

use super::world::{Txn, World};
use super::{KEEPERS, QUORUM};
use crate::id::ZabEpoch;
use crate::sim::explore::search::Trouble;
use crate::zab::{LeadingStage, Peer, Role};
use std::sync::Arc;

/// What no keeper reads.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Everything that any tree ever held, in order.
    pub committed: Vec<Txn>,
    /// Who was established, and with which history.
    pub leaders: Vec<(ZabEpoch, u8, Vec<Txn>)>,
}

impl World {
    fn ghost(&mut self) -> &mut Ghost {
        Arc::make_mut(&mut self.ghost)
    }

    /// ZAB-8, and with it agreement, integrity and total order: what trees hold are beginnings of one sequence.
    pub fn apply(&mut self, at: usize, txn: Txn, trouble: &mut Trouble) {
        let node = self.node(at);
        node.tree.push(txn);
        let place = node.tree.len() - 1;
        match self.ghost.committed.get(place).copied() {
            None => self.ghost().committed.push(txn),
            Some(other) if other == txn => {}
            Some(other) => {
                let what = format!("keeper-{} applies {} as number {place}, another keeper {}", at + 1, txn.0, other.0);
                trouble.push(("ZAB-8", what));
            }
        }
    }

    /// ZAB-1 and ZAB-10.
    pub fn on_role(&mut self, at: usize, role: Role, trouble: &mut Trouble) {
        let Role::Leading { epoch, established: true } = role else { return };
        if let Some((_, other, _)) = self.ghost.leaders.iter().find(|(led, _, _)| *led == epoch) {
            let what = format!("keeper-{} and keeper-{} lead epoch {epoch}", at + 1, other + 1);
            trouble.push(("ZAB-1", what));
        }
        let history: Vec<Txn> = self.nodes[at].written.history().collect();
        if !history.starts_with(&self.ghost.committed) {
            let what = format!("keeper-{} is established in epoch {epoch} without all that was committed", at + 1);
            trouble.push(("ZAB-10", what));
        }
        self.ghost().leaders.push((epoch, at as u8, history));
    }

    /// ZAB-9 and ZAB-13: who acknowledges NEWLEADER has the leader's history and its epoch on disk.
    pub fn check_joined(&mut self, at: usize, leader: usize, epoch: ZabEpoch, trouble: &mut Trouble) {
        let (node, leader_node) = (&self.nodes[at], &self.nodes[leader]);
        let leads = leader_node.peer.as_ref().and_then(Peer::leading).filter(|leading| leading.epoch == epoch);
        let Some(leading) = leads else { return };
        let history: Vec<Txn> = leader_node.written.history().collect();
        let initial: Vec<Txn> = history.iter().copied().filter(|(zxid, _)| zxid.epoch() < epoch).collect();
        if leading.stage >= LeadingStage::Synchronising
            && (node.durable.current < epoch || !node.durable.begins_with(&initial))
        {
            let what = format!("keeper-{} acknowledges epoch {epoch} without its history on disk", at + 1);
            trouble.push(("ZAB-13", what));
        }
        let own: Vec<Txn> = node.written.history().collect();
        if !history.starts_with(&own) {
            let what = format!("keeper-{} has joined keeper-{} with a history of its own", at + 1, leader + 1);
            trouble.push(("ZAB-9", what));
        }
    }

    /// ZAB-11 and the epoch files of ZAB-13.
    pub fn check_committed(&self, trouble: &mut Trouble) {
        let committed = &self.ghost.committed;
        if !committed.is_empty() {
            let holders = self.nodes.iter().filter(|node| node.durable.begins_with(committed)).count();
            if holders < QUORUM {
                let what = format!("{} committed transactions are on {holders} disk(s) of {KEEPERS}", committed.len());
                trouble.push(("ZAB-11", what));
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if node.written.current > node.written.accepted {
                trouble.push(("ZAB-13", format!("keeper-{}'s currentEpoch is ahead of its acceptedEpoch", at + 1)));
            }
        }
    }
}
