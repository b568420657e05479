//! Snapshots: the periodic one, written in pieces between transactions, the one a leader sends, and the one a learner
//! received (protocol.md A.9). Decides when; the bytes are `znode::snapshot`'s.

use super::{Keeper, Out};
use crate::api::peer::{Channel, PacketType, PeerMessage, QuorumPacket};
use crate::api::storage::{Lane, StoreOp};
use crate::id::Zxid;
use crate::machine::Ticket;
use crate::node;
use crate::note::keeper::KeeperNote;
use crate::rng::Rng;
use crate::znode::snapshot::{SnapshotCursor, Target};

/// When the next snapshot is due, and the one under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snapshots {
    /// Transactions applied since the last one was begun.
    pub(super) applied: u32,
    /// So many that the next is begun: drawn, so that not all keepers write at once.
    due_after: u32,
    cursor: Option<Box<SnapshotCursor>>,
    /// The last ticket of `Lane::Snapshot`, and the snapshot whose end it waits for.
    ticket: Ticket,
    finishing: Option<(Ticket, Zxid)>,
    rng: Rng,
    /// The tree came from a snapshot and may hold part of what follows it: no digest means anything yet. Whoever wrote
    /// the snapshot had applied what it holds, so all of that is committed, and applied here when this keeper serves.
    fuzzy: bool,
    /// The last transaction after which the tree differed from what the leader foretold: what it was, what it should be.
    diverged: Option<(Zxid, u64, u64)>,
}

impl Snapshots {
    pub(super) fn new(rng: Rng, snap_count: u32) -> Snapshots {
        let mut snapshots = Snapshots {
            applied: 0,
            due_after: 0,
            cursor: None,
            ticket: Ticket::default(),
            finishing: None,
            rng,
            fuzzy: true,
            diverged: None,
        };
        snapshots.draw(snap_count);
        snapshots
    }

    fn draw(&mut self, snap_count: u32) {
        let half = snap_count / 2;
        self.due_after = (half + self.rng.below(u64::from(half.max(1))) as u32).max(1);
    }

    /// The tree was replaced under it: what is written so far is worth nothing.
    pub(super) fn forget(&mut self) {
        self.cursor = None;
        self.applied = 0;
        self.fuzzy = true;
        self.diverged = None;
    }

    /// Tells of the first transaction after which the tree, if whole, is not what the leader foretold.
    pub(super) fn compare(&mut self, zxid: Zxid, ours: u64, foretold: u64, out: &mut Out<'_>) {
        let before = self.diverged;
        self.diverged = (ours != foretold).then_some((zxid, ours, foretold));
        if before.is_none() && !self.fuzzy {
            self.tell_divergence(out);
        }
    }

    /// Everything a fuzzy snapshot may have held is applied.
    pub(super) fn become_whole(&mut self, out: &mut Out<'_>) {
        if core::mem::take(&mut self.fuzzy) {
            self.tell_divergence(out);
        }
    }

    fn tell_divergence(&self, out: &mut Out<'_>) {
        if let Some((zxid, ours, foretold)) = self.diverged {
            out.fx.note(KeeperNote::TreeDiverged { zxid, ours, foretold });
        }
    }
}

impl Keeper {
    pub(super) fn begin_snapshot_if_due(&mut self, out: &mut Out<'_>) {
        let snapshots = &mut self.snapshots;
        if snapshots.applied < snapshots.due_after || snapshots.cursor.is_some() || snapshots.finishing.is_some() {
            return;
        }
        snapshots.applied = 0;
        snapshots.draw(self.config.snap_count);
        let cursor = SnapshotCursor::new(&self.tree, Target::File);
        let zxid = cursor.zxid();
        snapshots.cursor = Some(Box::new(cursor));
        out.fx.note(KeeperNote::SnapshotBegun { zxid });
        out.store(Lane::Journal, StoreOp::RollJournal);
        out.store(Lane::Snapshot, StoreOp::SnapshotBegin { zxid });
    }

    /// One piece with each step, so that transactions go on in between.
    pub(super) fn write_snapshot_piece(&mut self, out: &mut Out<'_>) {
        let Some(cursor) = &mut self.snapshots.cursor else { return };
        if let Some(piece) = cursor.next_piece(&self.tree, self.config.snapshot_piece) {
            out.store(Lane::Snapshot, StoreOp::SnapshotPiece { piece });
        }
        if cursor.is_done() {
            let zxid = cursor.zxid();
            self.snapshots.cursor = None;
            out.store(Lane::Snapshot, StoreOp::SnapshotEnd { zxid, replaces_journal: false });
            let ticket = self.snapshots.ticket.take_next();
            self.snapshots.finishing = Some((ticket, zxid));
            out.fx.emit(node::Effect::Sync { lane: Lane::Snapshot, ticket });
        }
    }

    /// The snapshot is on disk: older ones and the journal before them may go.
    pub(super) fn on_snapshot_synced(&mut self, upto: Ticket, out: &mut Out<'_>) {
        if let Some((_, zxid)) = self.snapshots.finishing.take_if(|(ticket, _)| *ticket <= upto) {
            out.fx.note(KeeperNote::SnapshotTaken { zxid });
            out.store(Lane::Journal, StoreOp::PurgeJournal { keep: self.config.snap_retain });
        }
    }

    /// The leader's database, which the tree now is, goes to disk in one order with the journal.
    pub(super) fn store_received_snapshot(&mut self, zxid: Zxid, out: &mut Out<'_>) {
        out.store(Lane::Journal, StoreOp::SnapshotBegin { zxid });
        let mut cursor = SnapshotCursor::new(&self.tree, Target::File);
        while let Some(piece) = cursor.next_piece(&self.tree, self.config.snapshot_piece) {
            out.store(Lane::Journal, StoreOp::SnapshotPiece { piece });
        }
        out.store(Lane::Journal, StoreOp::SnapshotEnd { zxid, replaces_journal: true });
    }

    /// Sends the tree as it is to a learner.
    pub(super) fn dump(&mut self, channel: Channel, zxid: Zxid, out: &mut Out<'_>) {
        let mut cursor = SnapshotCursor::new(&self.tree, Target::Stream);
        while let Some(piece) = cursor.next_piece(&self.tree, self.config.snapshot_piece) {
            let packet = QuorumPacket::new(PacketType::SnapPiece, zxid, Some(piece));
            out.fx.emit(node::Effect::Send { channel, message: PeerMessage::Quorum(packet) });
        }
    }
}
