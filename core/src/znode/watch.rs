//! Who waits for which change: one-shot watches for data and children, and persistent ones (protocol.md B.6).
//!
//! A watch belongs to a connection of one keeper and dies with it. The table says whom a change concerns; whether they
//! may read the node, and how they are told, is the keeper's affair.

use super::cow_map::CowMap;
use super::path::ZPath;
use super::stat::StoredStat;
use super::tree::{Change, ChangeKind};
use crate::id::{ConnId, Zxid};
use crate::ordered::OrdSet;

/// What a watch waits for, and whether it stays after it fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchKind {
    /// Once: the node's data changes, or the node is created or deleted. Set by getData and exists.
    Data,
    /// Once: a child is created or deleted, or the node itself is deleted. Set by getChildren.
    Child,
    /// Both of the above, and stays.
    Persistent,
    /// Created, deleted and data changed, here and everywhere below, and stays. Never "children changed".
    PersistentRecursive,
}

impl WatchKind {
    pub const ALL: [WatchKind; 4] =
        [WatchKind::Data, WatchKind::Child, WatchKind::Persistent, WatchKind::PersistentRecursive];

    /// Is this kind told of `change` to the very node it watches?
    fn hears(self, change: ChangeKind) -> bool {
        match (self, change) {
            (WatchKind::Persistent, _) | (_, ChangeKind::Deleted) => true,
            (WatchKind::Data | WatchKind::PersistentRecursive, ChangeKind::Created | ChangeKind::DataChanged) => true,
            (WatchKind::Data | WatchKind::PersistentRecursive, ChangeKind::ChildrenChanged) => false,
            (WatchKind::Child, change) => change == ChangeKind::ChildrenChanged,
        }
    }

    fn is_one_shot(self) -> bool {
        matches!(self, WatchKind::Data | WatchKind::Child)
    }
}

/// The watches of one keeper, by path and by connection. A keeper may hold a hundred thousand of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WatchTable {
    by_path: CowMap<(ZPath, ConnId, WatchKind), ()>,
    by_connection: CowMap<(ConnId, ZPath, WatchKind), ()>,
    /// Persistent recursive watches in force; without one no ancestor need be asked.
    recursive: u32,
}

impl WatchTable {
    /// Registers a watch. Setting what is set already changes nothing.
    pub fn set(&mut self, path: &ZPath, connection: ConnId, kind: WatchKind) {
        if self.by_path.insert((path.clone(), connection, kind), ()).is_none() {
            self.by_connection.insert((connection, path.clone(), kind), ());
            self.recursive += u32::from(kind == WatchKind::PersistentRecursive);
        }
    }

    pub fn contains(&self, path: &ZPath, connection: ConnId, kind: WatchKind) -> bool {
        self.by_path.contains_key(&(path.clone(), connection, kind))
    }

    /// Removes a watch; false where there is none.
    pub fn remove(&mut self, path: &ZPath, connection: ConnId, kind: WatchKind) -> bool {
        if self.by_path.remove(&(path.clone(), connection, kind)).is_none() {
            return false;
        }
        self.by_connection.remove(&(connection, path.clone(), kind));
        self.recursive -= u32::from(kind == WatchKind::PersistentRecursive);
        true
    }

    /// Removes every watch of a connection that is gone.
    pub fn remove_connection(&mut self, connection: ConnId) {
        let theirs: Vec<_> = self.of_connection(connection).map(|(path, kind)| (path.clone(), kind)).collect();
        for (path, kind) in theirs {
            self.remove(&path, connection, kind);
        }
    }

    /// The connections `change` concerns, each once; one-shot watches that waited for it are used up. A connection that
    /// watches a node's data and its children hears of its deletion once.
    pub fn fire(&mut self, change: &Change) -> OrdSet<ConnId> {
        let mut told = OrdSet::new();
        let mut spent = Vec::new();
        for (connection, kind) in self.of_path(&change.path).filter(|(_, kind)| kind.hears(change.kind)) {
            told.insert(connection);
            if kind.is_one_shot() {
                spent.push((connection, kind));
            }
        }
        for (connection, kind) in spent {
            self.remove(&change.path, connection, kind);
        }
        if self.recursive > 0 && WatchKind::PersistentRecursive.hears(change.kind) {
            for ancestor in change.path.to_root().skip(1) {
                let watches = self.of_path(&ancestor);
                told.extend(watches.filter(|(_, kind)| *kind == WatchKind::PersistentRecursive).map(|(conn, _)| conn));
            }
        }
        told
    }

    /// How many watches there are.
    pub fn len(&self) -> u64 {
        self.by_path.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// All watches, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&ZPath, ConnId, WatchKind)> {
        self.by_path.iter().map(|((path, connection, kind), ())| (path, *connection, *kind))
    }

    /// The watches of one path, by connection.
    fn of_path(&self, path: &ZPath) -> impl Iterator<Item = (ConnId, WatchKind)> {
        let from = self.by_path.iter_past(|(held, _, _)| held < path);
        from.map_while(move |((held, connection, kind), ())| (held == path).then_some((*connection, *kind)))
    }

    /// The watches of one connection, by path.
    pub fn of_connection(&self, connection: ConnId) -> impl Iterator<Item = (&ZPath, WatchKind)> {
        let from = self.by_connection.iter_past(|(held, _, _)| *held < connection);
        from.map_while(move |((held, path, kind), ())| (*held == connection).then_some((path, *kind)))
    }
}

/// What a client was waiting for when its connection broke, as setWatches tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rearm {
    /// A data watch on a node that was there.
    Data,
    /// A data watch on a node that was not there.
    Exist,
    Child,
    Persistent,
    PersistentRecursive,
}

/// What becomes of a watch that a reconnecting client brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// The change already happened: the event is sent at once and nothing is armed.
    Missed(ChangeKind),
    Arm(WatchKind),
}

/// The decision of setWatches for one path (protocol.md B.6): `seen` is the last zxid the client saw, `node` what is
/// there now. Persistent watches are armed without catching up, and a node deleted and created anew shows as changed
/// data only: both as in ZooKeeper.
pub fn catch_up(wanted: Rearm, seen: Zxid, node: Option<&StoredStat>) -> CatchUp {
    match (wanted, node) {
        (Rearm::Data | Rearm::Child, None) => CatchUp::Missed(ChangeKind::Deleted),
        (Rearm::Data, Some(stat)) if stat.mzxid > seen => CatchUp::Missed(ChangeKind::DataChanged),
        (Rearm::Child, Some(stat)) if stat.pzxid > seen => CatchUp::Missed(ChangeKind::ChildrenChanged),
        (Rearm::Exist, Some(_)) => CatchUp::Missed(ChangeKind::Created),
        (Rearm::Data, Some(_)) | (Rearm::Exist, None) => CatchUp::Arm(WatchKind::Data),
        (Rearm::Child, Some(_)) => CatchUp::Arm(WatchKind::Child),
        (Rearm::Persistent, _) => CatchUp::Arm(WatchKind::Persistent),
        (Rearm::PersistentRecursive, _) => CatchUp::Arm(WatchKind::PersistentRecursive),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::znode::AclList;

    const ANNA: ConnId = ConnId(1);
    const BOB: ConnId = ConnId(2);

    fn change(kind: ChangeKind, path: &str) -> Change {
        Change { kind, path: ZPath::literal(path), acl: AclList::open() }
    }

    fn fire(table: &mut WatchTable, kind: ChangeKind, path: &str) -> Vec<u64> {
        table.fire(&change(kind, path)).into_iter().map(|connection| connection.0).collect()
    }

    #[test]
    fn a_one_shot_watch_fires_once_for_what_it_waits_for() {
        let mut table = WatchTable::default();
        let a = ZPath::literal("/a");
        table.set(&a, ANNA, WatchKind::Data);
        table.set(&a, BOB, WatchKind::Child);
        assert_eq!(fire(&mut table, ChangeKind::ChildrenChanged, "/a"), [2]);
        assert_eq!(fire(&mut table, ChangeKind::ChildrenChanged, "/a"), [0; 0]);
        assert_eq!(fire(&mut table, ChangeKind::DataChanged, "/a/b"), [0; 0]);
        assert_eq!(fire(&mut table, ChangeKind::DataChanged, "/a"), [1]);
        assert!(table.is_empty());
    }

    #[test]
    fn who_watches_data_and_children_hears_of_the_deletion_once() {
        let mut table = WatchTable::default();
        let a = ZPath::literal("/a");
        for kind in WatchKind::ALL {
            table.set(&a, ANNA, kind);
        }
        assert_eq!(fire(&mut table, ChangeKind::Deleted, "/a"), [1]);
        assert_eq!(
            table.iter().map(|(_, _, kind)| kind).collect::<Vec<_>>(),
            [WatchKind::Persistent, WatchKind::PersistentRecursive]
        );
    }

    #[test]
    fn a_recursive_watch_hears_of_the_subtree_but_not_of_children_lists() {
        let mut table = WatchTable::default();
        table.set(&ZPath::literal("/a"), ANNA, WatchKind::PersistentRecursive);
        table.set(&ZPath::literal("/a"), BOB, WatchKind::Persistent);
        assert_eq!(fire(&mut table, ChangeKind::Created, "/a/b/c"), [1]);
        assert_eq!(fire(&mut table, ChangeKind::ChildrenChanged, "/a/b"), [0; 0]);
        assert_eq!(fire(&mut table, ChangeKind::ChildrenChanged, "/a"), [2]);
        assert_eq!(fire(&mut table, ChangeKind::DataChanged, "/a"), [1, 2]);
        assert_eq!(fire(&mut table, ChangeKind::Created, "/ab"), [0; 0]);
    }

    #[test]
    fn a_connection_takes_its_watches_with_it() {
        let mut table = WatchTable::default();
        for (path, kind) in [("/a", WatchKind::Data), ("/b", WatchKind::PersistentRecursive)] {
            table.set(&ZPath::literal(path), ANNA, kind);
            table.set(&ZPath::literal(path), BOB, kind);
        }
        table.remove_connection(ANNA);
        assert!(table.remove(&ZPath::literal("/a"), BOB, WatchKind::Data));
        assert!(!table.remove(&ZPath::literal("/a"), BOB, WatchKind::Data));
        assert_eq!(table.of_connection(BOB).count(), 1);
        table.remove_connection(BOB);
        assert_eq!(table, WatchTable::default());
    }

    #[test]
    fn among_thousands_of_watches_each_hears_of_its_own() {
        let mut table = WatchTable::default();
        let path = |n: u64| ZPath::literal(&format!("/a/n{:05}", n * 7919 % 20_000));
        for n in 0..20_000 {
            table.set(&path(n), ConnId(n % 3), WatchKind::Data);
            table.set(&path(n), ConnId(n % 5), WatchKind::Child);
        }
        assert_eq!((table.len(), table.of_connection(ANNA).count()), (40_000, 6_667 + 4_000));
        assert_eq!(fire(&mut table, ChangeKind::DataChanged, path(7).as_str()), [1]);
        assert_eq!(fire(&mut table, ChangeKind::Deleted, path(8).as_str()), [2, 3]);
        table.remove_connection(ANNA);
        assert_eq!((table.len(), table.of_connection(ANNA).count()), (40_000 - 6_667 - 4_000 - 2, 0));
        assert!(table.contains(&path(9), ConnId(0), WatchKind::Data));
    }

    #[test]
    fn reconnecting_clients_hear_what_they_missed() {
        use CatchUp::{Arm, Missed};
        let stat = StoredStat { mzxid: Zxid(5), pzxid: Zxid(7), ..StoredStat::default() };
        let decide = |wanted, seen, there: bool| catch_up(wanted, Zxid(seen), there.then_some(&stat));
        assert_eq!(decide(Rearm::Data, 4, true), Missed(ChangeKind::DataChanged));
        assert_eq!(decide(Rearm::Data, 5, true), Arm(WatchKind::Data));
        assert_eq!(decide(Rearm::Data, 9, false), Missed(ChangeKind::Deleted));
        assert_eq!(decide(Rearm::Exist, 9, true), Missed(ChangeKind::Created));
        assert_eq!(decide(Rearm::Exist, 0, false), Arm(WatchKind::Data));
        assert_eq!(decide(Rearm::Child, 6, true), Missed(ChangeKind::ChildrenChanged));
        assert_eq!(decide(Rearm::Child, 7, true), Arm(WatchKind::Child));
        assert_eq!(decide(Rearm::Child, 7, false), Missed(ChangeKind::Deleted));
        assert_eq!(decide(Rearm::Persistent, 0, true), Arm(WatchKind::Persistent));
        assert_eq!(decide(Rearm::PersistentRecursive, 0, false), Arm(WatchKind::PersistentRecursive));
    }
}
