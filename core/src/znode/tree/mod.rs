//! The tree: znodes by path, the sessions, and how a transaction changes them.
//!
//! A clone shares everything with its original, so a tree can be kept for later at the price of a reference count. It
//! decides nothing about requests: whether a create is allowed was settled before it became a [`Txn`]. Applying is
//! idempotent, as a replay over a fuzzy snapshot demands (protocol.md A.9).

use crate::checksum::Crc32;
use crate::codec::Writer;
use crate::id::{SessionId, Zxid};
use crate::ordered::OrdMap;
use crate::time::UnixMillis;
use crate::znode::acl::AclList;
use crate::znode::cow_map::CowMap;
use crate::znode::path::{ZPath, sequential_suffix};
use crate::znode::stat::{Owner, Stat, StoredStat};
use crate::znode::txn::{CreateKind, Txn, TxnHeader, code};
use bytes::Bytes;
use std::sync::Arc;

/// The database of one keeper.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tree {
    nodes: CowMap<ZPath, Arc<Znode>>,
    /// Open global sessions and their negotiated timeouts in milliseconds.
    sessions: CowMap<SessionId, i32>,
    /// What dies with each session.
    ephemerals: CowMap<(SessionId, ZPath), ()>,
    /// Containers and nodes with a time to live, for the leader's reaper.
    mortals: CowMap<ZPath, ()>,
    /// Each access list in use, once, and by how many nodes.
    acls: Arc<OrdMap<AclList, u64>>,
    /// Sum over the nodes' own digests (protocol.md D.1-16).
    digest: u64,
    /// The last txn applied as a whole.
    last_zxid: Zxid,
}

/// One znode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Znode {
    pub data: Option<Bytes>,
    pub acl: AclList,
    pub stat: StoredStat,
    pub children: u32,
    /// The node's share of the tree's digest; 0 where it has none.
    digest: u32,
}

/// What a txn did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Applied {
    pub result: OpResult,
    /// What watches may wait for, in the order in which it happened.
    pub changes: Vec<Change>,
}

/// How one operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpResult {
    Created {
        kind: CreateKind,
        path: ZPath,
        stat: Stat,
    },
    Deleted,
    DataSet {
        stat: Stat,
    },
    AclSet {
        stat: Stat,
    },
    Checked,
    SessionCreated {
        timeout: i32,
    },
    SessionClosed,
    /// ZooKeeper's error code; 0 for a part of a failed multi that itself was in order.
    Error(i32),
    Multi(Vec<OpResult>),
}

/// A change a watch may wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub kind: ChangeKind,
    pub path: ZPath,
    /// Only who may read under this list is told: the node's own, for a deleted node its last.
    pub acl: AclList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    Created,
    Deleted,
    DataChanged,
    /// A child was created or deleted.
    ChildrenChanged,
}

/// The subtree whose nodes have no share in the digest.
const UNDIGESTED: &str = "/zookeeper/";

impl Znode {
    pub fn new(data: Option<Bytes>, acl: AclList, stat: StoredStat) -> Znode {
        Znode { data, acl, stat, children: 0, digest: 0 }
    }

    pub fn data_length(&self) -> u32 {
        self.data.as_ref().map_or(0, |data| data.len() as u32)
    }

    /// What clients see.
    pub fn stat(&self) -> Stat {
        self.stat.seen(self.data_length(), self.children)
    }

    pub fn owner(&self) -> Owner {
        self.stat.owner()
    }

    /// The suffix the next sequential child gets.
    pub fn next_sequential_suffix(&self) -> String {
        sequential_suffix(self.stat.cversion)
    }
}

/// A node's share of the tree's digest: CRC-32 over path, data and stored metadata; access lists are not covered.
/// Zero below `/zookeeper`, whose nodes each keeper may write by itself.
pub fn node_digest(path: &ZPath, data: Option<&[u8]>, stat: &StoredStat) -> u32 {
    if path.as_str().starts_with(UNDIGESTED) {
        return 0;
    }
    let mut fields = Writer::with_capacity(60);
    fields.i64(stat.czxid.to_wire());
    fields.i64(stat.mzxid.to_wire());
    fields.i64(stat.pzxid.to_wire());
    fields.i64(stat.ctime.0);
    fields.i64(stat.mtime.0);
    fields.i32(stat.version);
    fields.i32(stat.cversion);
    fields.i32(stat.aversion);
    fields.i64(stat.owner);
    let mut crc = Crc32::default();
    crc.update(if path.is_root() { b"" } else { path.as_str().as_bytes() });
    crc.update(data.unwrap_or_default());
    crc.update(fields.as_slice());
    crc.value()
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    /// The tree of a keeper that never saw a txn: the root, `/zookeeper`, and in it `config` and `quota`.
    pub fn new() -> Tree {
        let mut tree = Tree::bare();
        let empty = || Znode::new(Some(Bytes::new()), AclList::open(), StoredStat::default());
        for (path, children) in [("/", 1), ("/zookeeper", 2), ("/zookeeper/quota", 0)] {
            tree.put(ZPath::literal(path), Znode { children, ..empty() });
        }
        let mut config = Znode::new(Some(Bytes::new()), AclList::read_only(), StoredStat::default());
        config.stat.aversion = -1;
        tree.put(config_path(), config);
        tree
    }

    /// No node at all: what a snapshot is read into.
    pub(in crate::znode) fn bare() -> Tree {
        Tree {
            nodes: CowMap::default(),
            sessions: CowMap::default(),
            ephemerals: CowMap::default(),
            mortals: CowMap::default(),
            acls: Arc::default(),
            digest: 0,
            last_zxid: Zxid::ZERO,
        }
    }

    // Looking.

    pub fn node(&self, path: &ZPath) -> Option<&Znode> {
        self.nodes.get(path).map(|node| &**node)
    }

    /// What clients see of a node.
    pub fn stat(&self, path: &ZPath) -> Option<Stat> {
        self.node(path).map(Znode::stat)
    }

    /// The children of a node, in order.
    pub fn children<'a>(&'a self, parent: &'a ZPath) -> impl Iterator<Item = &'a ZPath> + use<'a> {
        let mut entries = self.nodes.iter_past(move |path| path <= parent);
        core::iter::from_fn(move || {
            let (path, node) = entries.next()?;
            if !path.is_child_of(parent) {
                return None;
            }
            if node.children > 0 {
                entries = self.nodes.iter_past(move |other| other <= path || other.is_below(path));
            }
            Some(path)
        })
    }

    /// How many nodes are below `path`, at any depth.
    pub fn descendants(&self, path: &ZPath) -> u32 {
        self.nodes.iter_past(|other| other <= path).take_while(|(other, _)| other.is_below(path)).count() as u32
    }

    /// Every node, parents before their children.
    pub fn walk(&self) -> impl Iterator<Item = (&ZPath, &Znode)> {
        self.nodes.iter().map(|(path, node)| (path, &**node))
    }

    /// The nodes after `path` in the walk; all of them for `None`. Used by whoever walks in pieces.
    pub fn walk_after<'a>(&'a self, path: Option<&ZPath>) -> impl Iterator<Item = (&'a ZPath, &'a Znode)> + use<'a> {
        let entries = match path {
            None => self.nodes.iter(),
            Some(path) => self.nodes.iter_past(|other| other <= path),
        };
        entries.map(|(path, node)| (path, &**node))
    }

    /// How many nodes there are.
    pub fn len(&self) -> u64 {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The open sessions with their timeouts in milliseconds.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, i32)> {
        self.sessions.iter().map(|(session, timeout)| (*session, *timeout))
    }

    /// The open sessions after `session`, in order; all of them for `None`.
    pub fn sessions_after(&self, session: Option<SessionId>) -> impl Iterator<Item = (SessionId, i32)> {
        let entries = match session {
            None => self.sessions.iter(),
            Some(session) => self.sessions.iter_past(|other| *other <= session),
        };
        entries.map(|(session, timeout)| (*session, *timeout))
    }

    pub fn session_count(&self) -> u64 {
        self.sessions.len()
    }

    pub fn session_timeout(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    /// The ephemeral nodes of a session, in order.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &ZPath> {
        let of_session = self.ephemerals.iter_past(move |(owner, _)| *owner < session);
        of_session.map(|(key, ())| key).take_while(move |(owner, _)| *owner == session).map(|(_, path)| path)
    }

    /// All ephemeral nodes with their sessions.
    pub fn all_ephemerals(&self) -> impl Iterator<Item = (SessionId, &ZPath)> {
        self.ephemerals.iter().map(|((session, path), ())| (*session, path))
    }

    /// The containers and expired nodes with a time to live that the leader may delete at `now`.
    pub fn reapable(&self, now: UnixMillis) -> impl Iterator<Item = &ZPath> {
        let is_due = move |path: &ZPath| {
            let Some(node) = self.node(path) else { return false };
            node.children == 0
                && match node.owner() {
                    Owner::Container => node.stat.cversion > 0,
                    Owner::Ttl { millis } => millis != 0 && now.0.saturating_sub(node.stat.mtime.0) > millis,
                    Owner::Persistent | Owner::Session(_) => false,
                }
        };
        self.mortals.iter().map(|(path, ())| path).filter(move |path| is_due(path))
    }

    /// The digest over all nodes; equal on all keepers at equal [`last_zxid`](Tree::last_zxid).
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The last txn that was applied as a whole.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The access lists in use.
    pub(in crate::znode) fn access_lists(&self) -> impl Iterator<Item = &AclList> {
        self.acls.keys()
    }

    // Changing.

    /// Applies a txn and says what it did. A create of what exists, a delete of what is gone and a part of a multi that
    /// fails are told as errors and otherwise tolerated: a replay over a fuzzy snapshot meets them.
    pub fn apply(&mut self, header: &TxnHeader, txn: &Txn) -> Applied {
        let mut changes = Vec::new();
        let result = match txn {
            Txn::Multi(parts) => OpResult::Multi(self.apply_multi(header, parts, &mut changes)),
            single => self.apply_single(header, single, &mut changes),
        };
        self.last_zxid = self.last_zxid.max(header.zxid);
        Applied { result, changes }
    }

    /// Where one part is an error, none has an effect: those before it were in order, those after it were not tried.
    fn apply_multi(&mut self, header: &TxnHeader, parts: &[Txn], changes: &mut Vec<Change>) -> Vec<OpResult> {
        let failed = parts.iter().position(|part| matches!(part, Txn::Error(_)));
        let outcome = |(at, part): (usize, &Txn)| match (part, failed) {
            (Txn::Error(code), _) => OpResult::Error(*code),
            (_, None) => self.apply_single(header, part, changes),
            (_, Some(failed)) if at < failed => OpResult::Error(code::OK),
            (_, Some(_)) => OpResult::Error(code::RUNTIME_INCONSISTENCY),
        };
        parts.iter().enumerate().map(outcome).collect()
    }

    fn apply_single(&mut self, header: &TxnHeader, txn: &Txn, changes: &mut Vec<Change>) -> OpResult {
        match txn {
            Txn::Create { kind, path, data, acl, ephemeral, parent_cversion } => {
                let owner = match kind {
                    CreateKind::Plain | CreateKind::WithStat if *ephemeral => Owner::Session(header.session),
                    CreateKind::Plain | CreateKind::WithStat => Owner::Persistent,
                    CreateKind::Container => Owner::Container,
                    CreateKind::Ttl { millis } => Owner::Ttl { millis: *millis },
                };
                let stat = StoredStat::born(header.zxid, header.time, owner);
                let node = Znode::new(data.clone(), acl.clone(), stat);
                match self.create(path, node, *parent_cversion, changes) {
                    Ok(stat) => OpResult::Created { kind: *kind, path: path.clone(), stat },
                    Err(code) => OpResult::Error(code),
                }
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => match self.delete(path, header.zxid, changes) {
                Ok(()) => OpResult::Deleted,
                Err(code) => OpResult::Error(code),
            },
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                let set = self.modify(path, |node| {
                    node.data = data.clone();
                    node.stat.version = *version;
                    node.stat.mzxid = header.zxid;
                    node.stat.mtime = header.time;
                });
                let Some(node) = set else { return OpResult::Error(code::NO_NODE) };
                changes.push(Change { kind: ChangeKind::DataChanged, path: path.clone(), acl: node.acl.clone() });
                OpResult::DataSet { stat: node.stat() }
            }
            Txn::SetAcl { path, acl, version } => match self.set_acl(path, acl, *version) {
                Some(stat) => OpResult::AclSet { stat },
                None => OpResult::Error(code::NO_NODE),
            },
            Txn::Check { .. } => OpResult::Checked,
            Txn::CreateSession { timeout } => {
                self.sessions.insert(header.session, *timeout);
                OpResult::SessionCreated { timeout: *timeout }
            }
            Txn::CloseSession { paths } => {
                self.close_session(header, paths, changes);
                OpResult::SessionClosed
            }
            Txn::Error(code) => OpResult::Error(*code),
            Txn::Multi(_) => unreachable!("a multi inside a multi at {}: no decoder makes one", header.zxid),
        }
    }

    fn create(
        &mut self,
        path: &ZPath,
        node: Znode,
        parent_cversion: i32,
        changes: &mut Vec<Change>,
    ) -> Result<Stat, i32> {
        let zxid = node.stat.czxid;
        let exists = self.nodes.contains_key(path);
        let parent = path.parent().ok_or(code::NODE_EXISTS)?;
        let acl_of_parent = self.modify(&parent, |parent| {
            let cversion = if parent_cversion == -1 { parent.stat.cversion.wrapping_add(1) } else { parent_cversion };
            // Only upwards: the child may be a replayed one, created and deleted before the parent was written down.
            // Where the child exists already this is the correction for a child that was created anew meanwhile.
            if cversion > parent.stat.cversion {
                parent.stat.cversion = cversion;
                parent.stat.pzxid = zxid;
            }
            parent.children += u32::from(!exists);
        });
        let acl_of_parent = acl_of_parent.ok_or(code::NO_NODE)?.acl.clone();
        if exists {
            return Err(code::NODE_EXISTS);
        }
        let (acl, stat) = (node.acl.clone(), node.stat());
        self.put(path.clone(), node);
        changes.push(Change { kind: ChangeKind::Created, path: path.clone(), acl });
        changes.push(Change { kind: ChangeKind::ChildrenChanged, path: parent, acl: acl_of_parent });
        Ok(stat)
    }

    fn delete(&mut self, path: &ZPath, zxid: Zxid, changes: &mut Vec<Change>) -> Result<(), i32> {
        let exists = self.nodes.contains_key(path);
        let parent = path.parent().ok_or(code::NO_NODE)?;
        let acl_of_parent = self.modify(&parent, |parent| {
            // Even where the child is gone: the parent may have been written down before that.
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
            parent.children -= u32::from(exists);
        });
        let acl_of_parent = acl_of_parent.ok_or(code::NO_NODE)?.acl.clone();
        let gone = self.take(path).ok_or(code::NO_NODE)?;
        if gone.children > 0 {
            // Only in a replay: a fuzzy snapshot holds children that were created after this delete and another create
            // of their parent. The txns that follow bring them back.
            self.take_below(path);
        }
        changes.push(Change { kind: ChangeKind::Deleted, path: path.clone(), acl: gone.acl.clone() });
        changes.push(Change { kind: ChangeKind::ChildrenChanged, path: parent, acl: acl_of_parent });
        Ok(())
    }

    fn set_acl(&mut self, path: &ZPath, acl: &AclList, version: i32) -> Option<Stat> {
        let before = self.node(path)?.acl.clone();
        let acl = self.share_acl(acl);
        let stat = self.modify(path, |node| {
            node.acl = acl;
            node.stat.aversion = version;
        });
        let stat = stat.map(Znode::stat);
        self.release_acl(&before);
        stat
    }

    /// Deletes what the txn names, then whatever else the session still owns here.
    fn close_session(&mut self, header: &TxnHeader, paths: &[ZPath], changes: &mut Vec<Change>) {
        for path in paths {
            let _already_gone = self.delete(path, header.zxid, changes);
        }
        let left: Vec<ZPath> = self.ephemerals(header.session).cloned().collect();
        for path in &left {
            let _already_gone = self.delete(path, header.zxid, changes);
        }
        self.sessions.remove(&header.session);
    }

    /// Writes the configuration this keeper believes in into `/zookeeper/config`, outside any txn, as a keeper does
    /// when it starts: `version` (the configuration's) becomes the node's mzxid.
    pub fn set_config(&mut self, text: Bytes, version: Zxid, time: UnixMillis) {
        self.modify(&config_path(), |node| {
            node.data = Some(text);
            node.stat.version = -1;
            node.stat.mzxid = version;
            node.stat.mtime = time;
        });
    }

    /// Moves [`last_zxid`](Tree::last_zxid) without a txn: to the start of a new epoch, or to what SNAP and TRUNC say.
    pub fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    pub(in crate::znode) fn put_session(&mut self, session: SessionId, timeout: i32) {
        self.sessions.insert(session, timeout);
    }

    /// Adds a node that is not there, without telling its parent.
    pub(in crate::znode) fn put(&mut self, path: ZPath, mut node: Znode) {
        node.acl = self.share_acl(&node.acl);
        node.digest = node_digest(&path, node.data.as_deref(), &node.stat);
        self.digest = self.digest.wrapping_add(u64::from(node.digest));
        match node.owner() {
            Owner::Persistent => {}
            Owner::Session(session) => {
                self.ephemerals.insert((session, path.clone()), ());
            }
            Owner::Container | Owner::Ttl { .. } => {
                self.mortals.insert(path.clone(), ());
            }
        }
        let before = self.nodes.insert(path, Arc::new(node));
        assert!(before.is_none(), "a node was put where one was");
    }

    /// Removes a node without telling its parent.
    fn take(&mut self, path: &ZPath) -> Option<Arc<Znode>> {
        let node = self.nodes.remove(path)?;
        self.digest = self.digest.wrapping_sub(u64::from(node.digest));
        match node.owner() {
            Owner::Persistent => {}
            Owner::Session(session) => {
                self.ephemerals.remove(&(session, path.clone()));
            }
            Owner::Container | Owner::Ttl { .. } => {
                self.mortals.remove(path);
            }
        }
        self.release_acl(&node.acl);
        Some(node)
    }

    fn take_below(&mut self, path: &ZPath) {
        let below = self.walk_after(Some(path)).map(|(other, _)| other).take_while(|other| other.is_below(path));
        let below: Vec<ZPath> = below.cloned().collect();
        for path in &below {
            self.take(path);
        }
    }

    /// Changes a node in place and keeps the digest true; `None` where there is no such node.
    pub(in crate::znode) fn modify(&mut self, path: &ZPath, change: impl FnOnce(&mut Znode)) -> Option<&Znode> {
        let node = Arc::make_mut(self.nodes.get_mut(path)?);
        let before = node.digest;
        change(node);
        node.digest = node_digest(path, node.data.as_deref(), &node.stat);
        self.digest = self.digest.wrapping_sub(u64::from(before)).wrapping_add(u64::from(node.digest));
        Some(node)
    }

    /// The one copy of an access list, counted once more.
    fn share_acl(&mut self, acl: &AclList) -> AclList {
        let acls = Arc::make_mut(&mut self.acls);
        let shared = acls.get_key_value(acl).map_or_else(|| acl.clone(), |(held, _)| held.clone());
        *acls.entry(shared.clone()).or_insert(0) += 1;
        shared
    }

    fn release_acl(&mut self, acl: &AclList) {
        let acls = Arc::make_mut(&mut self.acls);
        if let Some(uses) = acls.get_mut(acl) {
            *uses -= 1;
            if *uses == 0 {
                acls.remove(acl);
            }
        }
    }
}

/// `/zookeeper/config`.
pub fn config_path() -> ZPath {
    ZPath::literal("/zookeeper/config")
}

#[cfg(test)]
mod tests;
