//! What a ZooKeeper client is told beside single reads and writes: multis, syncs, children and access lists.

use super::{Histories, ROOT, VERSIONS, Version};
use crate::check::Findings;
use crate::id::{KeeperId, NodeId, SessionId, ZabEpoch, Zxid};
use crate::ordered::OrdMap;
use crate::queue::Queue;
use crate::time::Instant;
use crate::znode::acl::{AclList, Id, perms};
use crate::znode::{Txn, TxnHeader};
use std::sync::Arc;

/// Multis that are remembered.
const MULTIS: usize = 1_024;

/// A committed multi: what it is to answer.
#[derive(Clone, Debug)]
struct Multi {
    zxid: Zxid,
    session: SessionId,
    codes: Vec<i32>,
}

/// What a sync owes: its keeper was in the ensemble's newest epoch, and this was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    pub keeper: KeeperId,
    pub epoch: ZabEpoch,
    pub committed: Zxid,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    multis: Queue<Multi>,
    /// The syncs under way on each client's connection; nothing is owed by a keeper whose leader was deposed.
    syncs: OrdMap<NodeId, Queue<Option<Owed>>>,
    /// Whom sessions have proved to be.
    proved: OrdMap<SessionId, Vec<Id>>,
    /// Access lists with their aversions, since when; of znodes that are, or once were, not everybody's.
    lists: OrdMap<Arc<str>, Vec<(Zxid, i32, AclList)>>,
}

impl Histories {
    // Multis.

    pub(super) fn on_committed_multi(&mut self, header: &TxnHeader, parts: &[Txn]) {
        let code = |part: &Txn| if let Txn::Error(code) = part { *code } else { 0 };
        let codes = parts.iter().map(code).collect();
        self.asked.multis.push_back(Multi { zxid: header.zxid, session: header.session, codes });
        if self.asked.multis.len() > MULTIS {
            self.asked.multis.pop_front();
        }
    }

    pub(super) fn on_multi(&self, session: SessionId, codes: &[i32], zxid: Zxid, find: &mut Findings) {
        let multis = &self.asked.multis;
        if multis.len() >= MULTIS && multis.front().is_some_and(|oldest| zxid < oldest.zxid) {
            return;
        }
        let at = multis.partition_point(|multi| multi.zxid < zxid);
        let is_it = |multi: &&Multi| multi.zxid == zxid && multi.session == session && multi.codes == codes;
        if multis.get(at).filter(is_it).is_none() {
            find.fire("HIST-8", || {
                let done = codes.iter().all(|code| *code == 0);
                let how = if done { "is done" } else { "is refused" };
                format!("session {session} is told that its multi of {} {how} at {zxid}, which is not so", codes.len())
            });
        }
    }

    // Syncs.

    /// A client greets a keeper: what it asked over its last connection has no answer any more.
    pub fn on_connect(&mut self, client: NodeId) {
        self.asked.syncs.remove(&client);
    }

    pub fn on_sync_asked(&mut self, client: NodeId, owed: Option<Owed>) {
        self.asked.syncs.entry(client).or_default().push_back(owed);
    }

    /// A sync was answered. `epoch`: that of a keeper now. Gives whether anything was owed.
    pub fn on_synced(
        &mut self,
        client: NodeId,
        zxid: Zxid,
        epoch: impl Fn(KeeperId) -> ZabEpoch,
        find: &mut Findings,
    ) -> bool {
        let owed = self.asked.syncs.get_mut(&client).and_then(Queue::pop_front).flatten();
        let Some(Owed { keeper, committed, .. }) = owed.filter(|owed| epoch(owed.keeper) == owed.epoch) else {
            return false;
        };
        if zxid < committed {
            find.fire("HIST-9", || {
                format!("keeper-{keeper} answers a sync at {zxid}; {committed} was committed before it was asked")
            });
        }
        true
    }

    // Children.

    /// The children of a node that are remembered, with their names.
    fn children(&self, path: &str) -> impl Iterator<Item = (&str, &[Version])> {
        let start: Arc<str> = format!("{path}/").into();
        let below = self
            .nodes
            .range(start.clone()..)
            .map_while(move |(child, versions)| Some((child.strip_prefix(&*start)?, versions.as_slice())));
        below.filter(|(name, _)| !name.contains('/'))
    }

    pub(super) fn on_listed(
        &self,
        session: SessionId,
        path: &str,
        names: &[Arc<str>],
        seen: Zxid,
        find: &mut Findings,
    ) {
        if !path.starts_with(ROOT.trim_end_matches('/')) {
            return;
        }
        let mut there = Vec::new();
        for (name, versions) in self.children(path) {
            match versions.partition_point(|held| held.zxid <= seen).checked_sub(1) {
                None if versions.len() >= VERSIONS => return,
                Some(at) if versions[at].version >= 0 => there.push(name),
                _ => {}
            }
        }
        let mut told: Vec<&str> = names.iter().map(|name| &**name).collect();
        told.sort_unstable();
        if told != there {
            find.fire("HIST-7", || {
                format!(
                    "session {session} is told in the state of {seen} that the children of {path} are {}; they are {}",
                    told.join(" "),
                    there.join(" ")
                )
            });
        }
    }

    /// When a child of a node was created or deleted last, or the node itself deleted.
    pub fn children_changed(&self, path: &str) -> Option<(Zxid, Instant)> {
        let is_change = |held: &&Version| held.version <= 0;
        let children = self.children(path).filter_map(|(_, versions)| versions.iter().rfind(is_change));
        let gone = self.nodes.get(path).and_then(|versions| versions.last()).filter(|held| held.version < 0);
        children.chain(gone).map(|held| (held.zxid, held.at)).max()
    }

    // Access lists.

    pub fn on_auth(&mut self, session: SessionId, id: Id) {
        let ids = self.asked.proved.entry(session).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }

    fn proved(&self, session: SessionId) -> &[Id] {
        self.asked.proved.get(&session).map_or(&[], Vec::as_slice)
    }

    /// A transaction is committed that its session needs this permission for.
    pub(super) fn needs(&self, header: &TxnHeader, path: &str, wanted: i32, find: &mut Findings) {
        let list = self.asked.lists.get(path).and_then(|lists| lists.last());
        if list.is_some_and(|(_, _, list)| !list.allows(wanted, self.proved(header.session))) {
            find.fire("HIST-10", || {
                format!("session {} changes {path} at {}, whose access list forbids it", header.session, header.zxid)
            });
        }
    }

    /// The same of a child's creation or deletion, which its parent permits.
    pub(super) fn needs_of_parent(&self, header: &TxnHeader, path: &str, wanted: i32, find: &mut Findings) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.needs(header, parent, wanted, find);
        }
    }

    pub(super) fn on_list(&mut self, path: &str, zxid: Zxid, version: i32, acl: &AclList) {
        let is_new = path.starts_with(ROOT) && (version > 0 || *acl != AclList::open());
        if let Some(lists) = self.asked.lists.get_mut(path) {
            lists.push((zxid, version, acl.clone()));
        } else if is_new {
            self.asked.lists.insert(path.into(), vec![(zxid, version, acl.clone())]);
        }
    }

    pub(super) fn on_saw_acl(
        &self,
        session: SessionId,
        path: &str,
        acl: &AclList,
        version: i32,
        seen: Zxid,
        find: &mut Findings,
    ) {
        if !path.starts_with(ROOT) {
            return;
        }
        let lists = self.asked.lists.get(path).map_or(&[][..], Vec::as_slice);
        let held = lists.partition_point(|(zxid, _, _)| *zxid <= seen).checked_sub(1).map(|at| lists[at].clone());
        let (_, aversion, list) = held.unwrap_or_else(|| (Zxid::ZERO, 0, AclList::open()));
        let list = if list.allows(perms::ADMIN, self.proved(session)) { list } else { list.masked() };
        if version != aversion || *acl != list {
            find.fire("HIST-7", || {
                format!("session {session} is told of version {version} of the ACL of {path} in the state of {seen}, where it is another or has version {aversion}")
            });
        }
    }
}
