//! A committed transaction takes effect: in the tree, then for those who watch, then for the client that asked. In this
//! order, so that an event is sent before any reply that shows the change (protocol.md B.6, D.1-20).

use super::{Keeper, Out, replay};
use crate::api::keeper::{Body, ErrorCode, EventKind, Part, Reply, SessionState, WatchEvent, op_code};
use crate::id::{SessionId, Zxid};
use crate::note::keeper::KeeperNote;
use crate::znode::acl::perms;
use crate::znode::snapshot::{self, Target};
use crate::znode::txn::{DIGEST_VERSION, decode_txn};
use crate::znode::{Applied, Change, ChangeKind, CreateKind, OpResult, Tree, TxnHeader};
use bytes::Bytes;
use std::sync::Arc;

impl Keeper {
    pub(super) fn on_committed(&mut self, zxid: Zxid, txn: Bytes, out: &mut Out<'_>) {
        let Some((header, applied)) = self.apply_to_tree(zxid, txn, out) else { return };
        self.snapshots.applied += 1;
        self.fire_watches(zxid, &applied.changes, out);
        match applied.result {
            OpResult::SessionCreated { timeout } => {
                if let Some(lead) = &mut self.lead {
                    lead.sessions.track(header.session, timeout, out.now.at);
                }
                self.on_session_created(header.session, out);
            }
            OpResult::SessionClosed => {
                self.session_ids.pass(header.session);
                self.on_session_closed(&header, &applied.changes, out);
            }
            result => self.answer_write(&header, result, out),
        }
        self.answer_syncs(zxid, out);
        self.begin_snapshot_if_due(out);
    }

    /// `None`: the transaction cannot be read, and the node stops.
    fn apply_to_tree(&mut self, zxid: Zxid, txn: Bytes, out: &mut Out<'_>) -> Option<(TxnHeader, Applied)> {
        if let Some(lead) = &mut self.lead
            && let Some(ours) = lead.proposed.pop_front_if(|proposed| proposed.header.zxid == zxid)
        {
            self.tree = ours.after;
            return Some((ours.header, ours.applied));
        }
        match decode_txn(txn) {
            Ok(logged) => {
                let applied = self.tree.apply(&logged.header, &logged.txn);
                if let Some(foretold) = logged.digest.filter(|digest| digest.version == DIGEST_VERSION) {
                    self.snapshots.compare(zxid, self.tree.digest(), foretold.tree, out);
                }
                Some((logged.header, applied))
            }
            Err(why) => {
                out.halt(format!("transaction {zxid} cannot be read: {why}"));
                None
            }
        }
    }

    fn fire_watches(&mut self, zxid: Zxid, changes: &[Change], out: &mut Out<'_>) {
        if self.watches.is_empty() {
            return;
        }
        for change in changes {
            let kind = event_kind(change.kind);
            for conn in self.watches.fire(change) {
                let Some(connection) = self.connections.get(&conn) else { continue };
                // Who may not read the node is not told of it (since 3.9.2).
                if !change.acl.allows(perms::READ, &connection.auth) {
                    continue;
                }
                let path: Arc<str> = change.path.as_str().into();
                out.fx.note(KeeperNote::WatchFired { session: connection.session, kind, path: path.clone() });
                let event = WatchEvent { zxid: Some(zxid), kind, state: SessionState::SyncConnected, path };
                self.sent += 1;
                out.reply(conn, Reply::Event(event));
            }
        }
    }

    fn answer_write(&mut self, header: &TxnHeader, result: OpResult, out: &mut Out<'_>) {
        if self.is_unheard(header) {
            return;
        }
        let Some(conn) = self.by_session.get(&header.session).copied() else { return };
        // Asked through an older connection, or another keeper: nobody here waits for it.
        if !self.connections.get_mut(&conn).is_some_and(|connection| connection.take_write(header.cxid)) {
            return;
        }
        if has_moved(&result) {
            self.close(conn, out);
            return;
        }
        let (err, body) = match result {
            OpResult::Error(code) => (error(code), None),
            fine => (ErrorCode::Ok, body_of(fine)),
        };
        self.answer(conn, header.cxid, header.zxid, err, body, out);
        self.answer_what_can_be(conn, out);
    }

    /// Whether it was asked through an older connection, in whose place is another perhaps.
    fn is_unheard(&mut self, header: &TxnHeader) -> bool {
        let Some(unheard) = self.unheard.get_mut(&header.session) else { return false };
        let is_it = unheard.first() == Some(&header.cxid);
        if is_it {
            unheard.remove(0);
        }
        if unheard.is_empty() {
            self.unheard.remove(&header.session);
        }
        is_it
    }

    fn on_session_closed(&mut self, header: &TxnHeader, changes: &[Change], out: &mut Out<'_>) {
        let session: SessionId = header.session;
        self.unheard.remove(&session);
        if let Some(lead) = &mut self.lead {
            lead.sessions.remove(session);
            let ephemerals = changes.iter().filter(|change| change.kind == ChangeKind::Deleted).count() as u32;
            out.fx.note(KeeperNote::SessionClosed { session, ephemerals });
        }
        let Some(conn) = self.by_session.get(&session).copied() else { return };
        if self.connections.get_mut(&conn).is_some_and(|connection| connection.take_write(header.cxid)) {
            self.answer(conn, header.cxid, header.zxid, ErrorCode::Ok, None, out);
        }
        self.close(conn, out);
    }

    // The whole tree at once.

    /// The leader sent its database.
    pub(super) fn restore(&mut self, zxid: Zxid, image: Bytes, out: &mut Out<'_>) {
        match snapshot::parse(image, Target::Stream, zxid) {
            Ok(tree) => {
                self.replace_tree(tree);
                self.store_received_snapshot(zxid, out);
            }
            Err(why) => out.halt(format!("the database of {zxid} that the leader sent cannot be read: {why}")),
        }
    }

    /// What was applied was cut: the disk gave what is left.
    pub(super) fn reload(
        &mut self,
        to: Zxid,
        from: Option<(Zxid, Bytes)>,
        txns: Vec<(Zxid, Bytes)>,
        out: &mut Out<'_>,
    ) {
        let tree = match from {
            None => Ok(Tree::new()),
            Some((zxid, bytes)) => snapshot::parse(bytes, Target::File, zxid)
                .map_err(|why| format!("the snapshot of {zxid} cannot be read: {why}")),
        };
        let tree = tree.and_then(|mut tree| {
            replay(&mut tree, txns)?;
            tree.set_last_zxid(to);
            Ok(tree)
        });
        match tree {
            Ok(tree) => self.replace_tree(tree),
            Err(why) => out.halt(why),
        }
    }

    fn replace_tree(&mut self, tree: Tree) {
        self.tree = tree;
        self.snapshots.forget();
    }
}

pub(super) fn event_kind(change: ChangeKind) -> EventKind {
    match change {
        ChangeKind::Created => EventKind::NodeCreated,
        ChangeKind::Deleted => EventKind::NodeDeleted,
        ChangeKind::DataChanged => EventKind::NodeDataChanged,
        ChangeKind::ChildrenChanged => EventKind::NodeChildrenChanged,
    }
}

/// The session speaks through another keeper: the connection is closed without an answer (ZOOKEEPER-710).
fn has_moved(result: &OpResult) -> bool {
    let moved = |code: i32| code == ErrorCode::SessionMoved.code();
    match result {
        OpResult::Error(code) => moved(*code),
        OpResult::Multi(parts) => parts.iter().any(|part| matches!(part, OpResult::Error(code) if moved(*code))),
        _ => false,
    }
}

fn error(code: i32) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::SystemError)
}

fn body_of(result: OpResult) -> Option<Body> {
    match result {
        OpResult::Created { kind: CreateKind::Plain, path, .. } => Some(Body::Path(path.as_str().into())),
        OpResult::Created { path, stat, .. } => Some(Body::Created { path: path.as_str().into(), stat }),
        OpResult::DataSet { stat } | OpResult::AclSet { stat } => Some(Body::Stat(stat)),
        OpResult::Multi(parts) => Some(Body::Multi(parts.into_iter().map(part_of).collect())),
        OpResult::Deleted
        | OpResult::Checked
        | OpResult::SessionCreated { .. }
        | OpResult::SessionClosed
        | OpResult::Error(_) => None,
    }
}

fn part_of(result: OpResult) -> Part {
    let op = match &result {
        OpResult::Error(code) => return Part::Failed(error(*code)),
        OpResult::Created { kind: CreateKind::Plain, .. } => op_code::CREATE,
        OpResult::Created { .. } => op_code::CREATE2,
        OpResult::Deleted => op_code::DELETE,
        OpResult::DataSet { .. } => op_code::SET_DATA,
        OpResult::AclSet { .. } => op_code::SET_ACL,
        OpResult::Checked => op_code::CHECK,
        OpResult::SessionCreated { .. } => op_code::CREATE_SESSION,
        OpResult::SessionClosed => op_code::CLOSE_SESSION,
        OpResult::Multi(_) => op_code::MULTI,
    };
    Part::Done { op, body: body_of(result) }
}
