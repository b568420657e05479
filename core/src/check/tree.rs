//! Trees and sessions (protocol.md D.1-16, -21 to -23).
//!
//! The committed transactions say which sessions are open and what they own; keepers' trees are compared with each
//! other at equal zxids.

use super::Findings;
use crate::id::{KeeperId, SessionId, Zxid};
use crate::note::keeper::KeeperNote;
use crate::ordered::OrdMap;
use crate::queue::Queue;
use crate::time::Span;
use crate::znode::{Tree, Txn, TxnHeader};
use std::sync::Arc;

/// Digests that are remembered.
const DIGESTS: usize = 2_048;

/// What the committed transactions say of sessions and ephemerals.
#[derive(Clone, Debug, Default)]
pub struct Trees {
    /// A tree's digest at a zxid, as first seen; the newest.
    digests: Queue<(Zxid, u64)>,
    sessions: OrdMap<SessionId, i32>,
    /// Sessions that ended, by the zxid of their end; the newest.
    ended: OrdMap<Zxid, SessionId>,
    /// The highest number given out under each parent.
    numbers: OrdMap<Arc<str>, i64>,
}

impl Trees {
    pub fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// A transaction was committed.
    pub fn on_committed(&mut self, header: &TxnHeader, txn: &Txn, find: &mut Findings) {
        match txn {
            Txn::Multi(parts) => {
                if !parts.iter().any(|part| matches!(part, Txn::Error(_))) {
                    for part in parts {
                        self.on_committed(header, part, find);
                    }
                }
            }
            Txn::Create { path, ephemeral, .. } => {
                if *ephemeral && !self.sessions.contains_key(&header.session) {
                    find.fire("TREE-2", || {
                        format!(
                            "{path} is created at {} for session {}, which is not open",
                            header.zxid, header.session
                        )
                    });
                }
                self.on_name(path.as_str(), header.zxid, find);
            }
            Txn::CreateSession { timeout } => {
                // Its keeper's clock went back, and nothing that the keeper still has remembers the other one.
                self.ended.retain(|_, ended| *ended != header.session);
                if self.sessions.insert(header.session, *timeout).is_some() {
                    find.fire("ZAB-23", || {
                        format!("session {} is opened twice, again at {}", header.session, header.zxid)
                    });
                }
            }
            Txn::CloseSession { .. } => {
                self.sessions.remove(&header.session);
                self.ended.insert(header.zxid, header.session);
                if self.ended.len() > 4_096 {
                    self.ended.pop_first();
                }
            }
            Txn::Delete { path } => {
                self.numbers.remove(path.as_str());
            }
            Txn::DeleteContainer { .. }
            | Txn::SetData { .. }
            | Txn::Reconfig { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::Error(_) => {}
        }
    }

    /// TREE-4, for names that end in a dash or underscore and ten digits, as sequential names do here.
    fn on_name(&mut self, path: &str, zxid: Zxid, find: &mut Findings) {
        let Some((front, number)) = path.len().checked_sub(10).and_then(|at| path.split_at_checked(at)) else { return };
        if !front.ends_with(['-', '_']) || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return;
        }
        let (Ok(number), Some((parent, _))) = (number.parse::<i64>(), front.rsplit_once('/')) else { return };
        match self.numbers.get_mut(parent) {
            Some(highest) if *highest >= number => {
                let highest = *highest;
                find.fire("TREE-4", || {
                    format!("{path} is created at {zxid} after number {highest} was given out there")
                });
            }
            Some(highest) => *highest = number,
            None => {
                self.numbers.insert(parent.into(), number);
            }
        }
    }

    /// A keeper delivered up to what its tree says.
    pub fn on_applied(&mut self, me: KeeperId, tree: &Tree, from: Zxid, find: &mut Findings) {
        let zxid = tree.last_zxid();
        self.compare(me, zxid, tree.digest(), find);
        for (at, session) in self.ended.range((core::ops::Bound::Excluded(from), core::ops::Bound::Included(zxid))) {
            if let Some(path) = tree.ephemerals(*session).next() {
                find.fire("TREE-2", || {
                    format!("keeper-{me} holds {path} at {zxid}, though session {session} ended at {at}")
                });
            }
        }
    }

    /// TREE-1.
    pub fn compare(&mut self, keeper: KeeperId, zxid: Zxid, digest: u64, find: &mut Findings) {
        let at = self.digests.partition_point(|(held, _)| *held < zxid);
        match self.digests.get(at).filter(|(held, _)| *held == zxid) {
            Some((_, held)) if *held != digest => {
                let held = *held;
                find.fire("TREE-1", || {
                    format!("keeper-{keeper} has the tree {digest:#x} at {zxid}, another keeper had {held:#x}")
                });
            }
            Some(_) => {}
            None if at == 0 && self.digests.len() >= DIGESTS => {}
            None => {
                self.digests.insert(at, (zxid, digest));
                if self.digests.len() > DIGESTS {
                    self.digests.pop_front();
                }
            }
        }
    }

    pub fn on_note(&mut self, note: &KeeperNote, find: &mut Findings) {
        match note {
            KeeperNote::SessionExpired { session, silent } => {
                if let Some(timeout) = self.sessions.get(session)
                    && *silent < Span::millis(u64::from(timeout.unsigned_abs()))
                {
                    find.fire("ZAB-23", || {
                        format!("session {session} with a time-out of {timeout} ms expires after {silent} of silence")
                    });
                }
            }
            KeeperNote::TreeDiverged { zxid, ours, foretold } => {
                find.fire("ZAB-16", || format!("a tree is {ours:#x} at {zxid}; its leader foretold {foretold:#x}"));
            }
            _ => {}
        }
    }
}
