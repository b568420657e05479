//! What is answered from this keeper's own tree, without asking anybody (protocol.md B.5, B.6).

use super::apply::event_kind;
use super::{Keeper, Out};
use crate::api::keeper::{Body, ErrorCode, Op, Part, Reply, SessionState, SetWatches, WatchEvent, op_code};
use crate::id::{ConnId, SessionId};
use crate::znode::acl::perms;
use crate::znode::watch::{CatchUp, Rearm, WatchKind, WatchTable, catch_up};
use crate::znode::{Id, Tree, ZPath, Znode};
use std::sync::Arc;

/// What the parts of a multi-read hold together before no more is read: Apache's clients take no larger answer.
const MULTI_READ_BYTES: usize = 4 << 20;

/// What a read may look at, and the one table it may change.
struct Reading<'a> {
    tree: &'a Tree,
    watches: &'a mut WatchTable,
    conn: ConnId,
    session: SessionId,
    auth: &'a [Id],
    /// What setWatches finds to have happened already.
    missed: Vec<WatchEvent>,
}

type Answer = Result<Option<Body>, ErrorCode>;

impl Keeper {
    pub(super) fn answer_read(&mut self, conn: ConnId, xid: i32, op: &Op, out: &mut Out<'_>) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let session = connection.session;
        // Only the leader knows; a learner's reads are served wherever the session may be.
        if let Some(lead) = &mut self.lead
            && !matches!(op, Op::Ping)
        {
            match lead.sessions.check(session, self.config.zab.me) {
                Ok(()) => {}
                Err(ErrorCode::SessionMoved) => {
                    self.close(conn, out);
                    return;
                }
                Err(err) => {
                    self.answer(conn, xid, self.tree.last_zxid(), err, None, out);
                    return;
                }
            }
        }
        let mut reading = Reading {
            tree: &self.tree,
            watches: &mut self.watches,
            conn,
            session,
            auth: &connection.auth,
            missed: Vec::new(),
        };
        let answer = reading.read(op);
        for event in reading.missed {
            self.sent += 1;
            out.reply(conn, Reply::Event(event));
        }
        let (err, body) = match answer {
            Ok(body) => (ErrorCode::Ok, body),
            Err(err) => (err, None),
        };
        self.answer(conn, xid, self.tree.last_zxid(), err, body, out);
    }
}

impl Reading<'_> {
    fn read(&mut self, op: &Op) -> Answer {
        match op {
            Op::Ping => Ok(None),
            Op::Exists { path, watch } => self.exists(path, *watch),
            Op::GetData { path, watch } => {
                let (path, node) = self.readable(path)?;
                let body = Body::Data { data: node.data.clone(), stat: node.stat() };
                self.watch_if(*watch, &path, WatchKind::Data);
                Ok(Some(body))
            }
            Op::GetChildren { path, watch, stat } => {
                let (path, node) = self.readable(path)?;
                let names = self.tree.children(&path).map(|child| child.name().into()).collect();
                let body = Body::Children { names, stat: stat.then(|| node.stat()) };
                self.watch_if(*watch, &path, WatchKind::Child);
                Ok(Some(body))
            }
            Op::GetAcl { path } => {
                let (_, node) = self.node(path)?;
                if !node.acl.allows(perms::READ | perms::ADMIN, self.auth) {
                    return Err(ErrorCode::NoAuth);
                }
                let whole = node.acl.allows(perms::ADMIN, self.auth);
                let acl = if whole { node.acl.clone() } else { node.acl.masked() };
                Ok(Some(Body::Acl { acl, stat: node.stat() }))
            }
            // Only at the leader: it has what it has committed.
            Op::Sync { path } => Ok(Some(Body::Path(path.clone()))),
            Op::MultiRead(ops) => Ok(Some(Body::Multi(self.parts(ops)))),
            Op::SetWatches(watches) => {
                self.set_watches(watches);
                Ok(None)
            }
            Op::AddWatch { path, mode } => {
                let kind = match mode {
                    0 => WatchKind::Persistent,
                    1 => WatchKind::PersistentRecursive,
                    _ => return Err(ErrorCode::BadArguments),
                };
                let path = ZPath::parse(path).map_err(|_| ErrorCode::BadArguments)?;
                self.watches.set(&path, self.conn, kind);
                Ok(Some(Body::WatchAdded))
            }
            Op::CheckWatches { path, kind } => {
                self.watch_kinds(path, *kind, |watches, path, conn, kind| watches.contains(path, conn, kind))
            }
            Op::RemoveWatches { path, kind } => self.watch_kinds(path, *kind, WatchTable::remove),
            Op::GetEphemerals { prefix } => {
                let owned = self.tree.ephemerals(self.session).filter(|path| path.as_str().starts_with(&**prefix));
                Ok(Some(Body::Ephemerals(owned.map(|path| path.as_str().into()).collect())))
            }
            Op::GetAllChildrenNumber { path } => {
                let (path, _) = self.readable(path)?;
                Ok(Some(Body::Count(self.tree.descendants(&path) as i32)))
            }
            Op::WhoAmI => Ok(Some(Body::WhoAmI(self.auth.iter().map(user_of).collect()))),
            // Writes go through the leader, the others are answered where they arrive.
            Op::Create(_)
            | Op::Delete { .. }
            | Op::SetData { .. }
            | Op::SetAcl { .. }
            | Op::Check { .. }
            | Op::Multi(_)
            | Op::Reconfig { .. }
            | Op::Auth { .. }
            | Op::Sasl { .. }
            | Op::CloseSession
            | Op::CreateSession { .. }
            | Op::DeleteContainer { .. }
            | Op::Unknown { .. } => Err(ErrorCode::Unimplemented),
        }
    }

    /// The node at a path. A text that is no path names no node.
    fn node(&self, path: &str) -> Result<(ZPath, &Znode), ErrorCode> {
        let path = ZPath::parse(path).map_err(|_| ErrorCode::NoNode)?;
        let node = self.tree.node(&path).ok_or(ErrorCode::NoNode)?;
        Ok((path, node))
    }

    fn readable(&self, path: &str) -> Result<(ZPath, &Znode), ErrorCode> {
        let (path, node) = self.node(path)?;
        if node.acl.allows(perms::READ, self.auth) { Ok((path, node)) } else { Err(ErrorCode::NoAuth) }
    }

    fn watch_if(&mut self, wanted: bool, path: &ZPath, kind: WatchKind) {
        if wanted {
            self.watches.set(path, self.conn, kind);
        }
    }

    /// Watches what is not there, too.
    fn exists(&mut self, path: &str, watch: bool) -> Answer {
        let found = self.readable(path).map(|(_, node)| node.stat());
        if found != Err(ErrorCode::NoAuth)
            && let Ok(path) = ZPath::parse(path)
        {
            self.watch_if(watch, &path, WatchKind::Data);
        }
        found.map(|stat| Some(Body::Stat(stat)))
    }

    /// As many as one answer may hold: few bytes can ask for the same large node a thousand times.
    fn parts(&mut self, ops: &[Op]) -> Vec<Part> {
        let mut bytes = 0;
        let parts = ops.iter().map(|op| {
            if bytes > MULTI_READ_BYTES {
                return Part::Failed(ErrorCode::MarshallingError);
            }
            let part = self.part(op);
            bytes += part.length();
            part
        });
        parts.collect()
    }

    fn part(&mut self, op: &Op) -> Part {
        let code = match op {
            Op::GetData { .. } => op_code::GET_DATA,
            Op::GetChildren { stat: false, .. } => op_code::GET_CHILDREN,
            _ => return Part::Failed(ErrorCode::Unimplemented),
        };
        match self.read(op) {
            Ok(body) => Part::Done { op: code, body },
            Err(err) => Part::Failed(err),
        }
    }

    /// Arms again what a client had at another keeper, or tells it what it missed; those events carry no zxid.
    fn set_watches(&mut self, watches: &SetWatches) {
        let SetWatches { second: _, relative_zxid, data, exist, child, persistent, recursive } = watches;
        let kinds = [
            (Rearm::Data, data),
            (Rearm::Exist, exist),
            (Rearm::Child, child),
            (Rearm::Persistent, persistent),
            (Rearm::PersistentRecursive, recursive),
        ];
        for (wanted, paths) in kinds {
            for text in paths {
                let Ok(path) = ZPath::parse(text) else { continue };
                match catch_up(wanted, *relative_zxid, self.tree.node(&path).map(|node| &node.stat)) {
                    CatchUp::Arm(kind) => self.watches.set(&path, self.conn, kind),
                    CatchUp::Missed(change) => self.missed.push(WatchEvent {
                        zxid: None,
                        kind: event_kind(change),
                        state: SessionState::SyncConnected,
                        path: Arc::clone(text),
                    }),
                }
            }
        }
    }

    /// checkWatches and removeWatches: does what is asked to each kind that `code` names.
    fn watch_kinds(
        &mut self,
        path: &str,
        code: i32,
        ask: impl Fn(&mut WatchTable, &ZPath, ConnId, WatchKind) -> bool,
    ) -> Answer {
        let kinds: &[WatchKind] = match code {
            1 => &[WatchKind::Child],
            2 => &[WatchKind::Data],
            3 => &WatchKind::ALL,
            4 => &[WatchKind::Persistent],
            5 => &[WatchKind::PersistentRecursive],
            _ => return Err(ErrorCode::BadArguments),
        };
        let path = ZPath::parse(path).map_err(|_| ErrorCode::NoWatcher)?;
        let mut found = false;
        for kind in kinds {
            found |= ask(self.watches, &path, self.conn, *kind);
        }
        if found { Ok(None) } else { Err(ErrorCode::NoWatcher) }
    }
}

/// Who somebody is, without the proof: of a digest only the user's name.
fn user_of(id: &Id) -> Id {
    match id.id.split_once(':') {
        Some((user, _)) if &*id.scheme == "digest" => Id::new("digest", user),
        _ => id.clone(),
    }
}
