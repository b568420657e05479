//! Small stories of txns and what the tree makes of them.

use super::*;

/// Applies txns one after the other, at zxids 1, 2, … and times 1000 above them, in the name of session 7.
struct Story {
    tree: Tree,
    zxid: u64,
}

impl Story {
    fn begin() -> Story {
        Story { tree: Tree::new(), zxid: 0 }
    }

    fn apply_as(&mut self, session: i64, txn: Txn) -> Applied {
        self.zxid += 1;
        let time = UnixMillis(1000 + self.zxid as i64);
        self.tree.apply(&TxnHeader { session: SessionId(session), cxid: 1, zxid: Zxid(self.zxid), time }, &txn)
    }

    fn apply(&mut self, txn: Txn) -> OpResult {
        self.apply_as(7, txn).result
    }

    fn create(&mut self, path: &str) -> OpResult {
        let txn = self.creation(path, false);
        self.apply(txn)
    }

    /// The create a leader would make of it now.
    fn creation(&self, path: &str, ephemeral: bool) -> Txn {
        let path = ZPath::literal(path);
        let parent = path.parent().and_then(|parent| self.tree.node(&parent));
        let parent_cversion = parent.map_or(-1, |parent| parent.stat.cversion + 1);
        let (kind, acl, data) = (CreateKind::Plain, AclList::open(), Some(Bytes::from_static(b"data")));
        Txn::Create { kind, path, data, acl, ephemeral, parent_cversion }
    }

    fn stat(&self, path: &str) -> Stat {
        self.tree.stat(&ZPath::literal(path)).expect("a node")
    }
}

fn delete(path: &str) -> Txn {
    Txn::Delete { path: ZPath::literal(path) }
}

fn set(path: &str, version: i32) -> Txn {
    Txn::SetData { path: ZPath::literal(path), data: Some(Bytes::from_static(b"new")), version }
}

fn names<'a>(paths: impl Iterator<Item = &'a ZPath>) -> Vec<&'a str> {
    paths.map(ZPath::as_str).collect()
}

#[test]
fn a_new_tree_holds_what_zookeepers_holds() {
    let tree = Tree::new();
    assert_eq!(names(tree.walk().map(|(path, _)| path)), ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]);
    assert_eq!((tree.node(&config_path()).unwrap().stat.aversion, tree.last_zxid()), (-1, Zxid::ZERO));
}

#[test]
fn the_parents_cversion_counts_creations_and_shows_deletions() {
    let mut story = Story::begin();
    story.create("/a");
    story.create("/a/x");
    story.create("/a/y");
    let parent = story.stat("/a");
    assert_eq!((parent.cversion, parent.num_children, parent.pzxid), (2, 2, Zxid(3)));
    assert_eq!(story.apply(delete("/a/x")), OpResult::Deleted);
    let parent = story.stat("/a");
    assert_eq!((parent.cversion, parent.num_children, parent.pzxid), (3, 1, Zxid(4)));
    // Data of a child does not touch the parent.
    story.apply(set("/a/y", 1));
    assert_eq!(story.stat("/a"), parent);
    let child = story.stat("/a/y");
    assert_eq!((child.version, child.mzxid, child.mtime), (1, Zxid(5), UnixMillis(1005)));
    assert_eq!((child.czxid, child.ctime, child.data_length), (Zxid(3), UnixMillis(1003), 3));
}

#[test]
fn sequence_numbers_count_all_creations_and_no_deletion() {
    let mut story = Story::begin();
    story.create("/q");
    story.create("/q/plain");
    story.apply(delete("/q/plain"));
    story.create("/q/other");
    let next = story.tree.node(&ZPath::literal("/q")).unwrap().next_sequential_suffix();
    assert_eq!(next, "0000000002");
}

#[test]
fn changes_are_told_in_order_with_the_lists_that_guard_them() {
    let mut story = Story::begin();
    story.create("/a");
    let txn = story.creation("/a/b", false);
    let told = |applied: Applied| -> Vec<(ChangeKind, String)> {
        applied.changes.into_iter().map(|change| (change.kind, change.path.to_string())).collect()
    };
    assert_eq!(
        told(story.apply_as(7, txn)),
        [(ChangeKind::Created, "/a/b".into()), (ChangeKind::ChildrenChanged, "/a".into())]
    );
    assert_eq!(told(story.apply_as(7, set("/a/b", 1))), [(ChangeKind::DataChanged, "/a/b".into())]);
    assert_eq!(
        told(story.apply_as(7, delete("/a/b"))),
        [(ChangeKind::Deleted, "/a/b".into()), (ChangeKind::ChildrenChanged, "/a".into())]
    );
    assert_eq!(told(story.apply_as(7, delete("/a/b"))), []);
}

#[test]
fn ephemerals_die_with_their_session_at_one_zxid() {
    let mut story = Story::begin();
    story.apply_as(7, Txn::CreateSession { timeout: 6000 });
    story.apply_as(8, Txn::CreateSession { timeout: 9000 });
    for (session, path) in [(7, "/x"), (8, "/y"), (7, "/z")] {
        let txn = story.creation(path, true);
        story.apply_as(session, txn);
    }
    assert_eq!(names(story.tree.ephemerals(SessionId(7))), ["/x", "/z"]);
    assert_eq!(story.stat("/x").ephemeral_owner, SessionId(7));
    // The leader knew of /x only.
    let closed = story.apply_as(7, Txn::CloseSession { paths: vec![ZPath::literal("/x")] });
    assert_eq!((closed.result, closed.changes.len()), (OpResult::SessionClosed, 4));
    assert_eq!(names(story.tree.children(&ZPath::root())), ["/y", "/zookeeper"]);
    assert_eq!(story.tree.sessions().collect::<Vec<_>>(), [(SessionId(8), 9000)]);
    assert_eq!(story.tree.all_ephemerals().count(), 1);
}

#[test]
fn a_multi_has_all_its_effects_or_none() {
    let mut story = Story::begin();
    let create = story.creation("/m", false);
    let whole = story.apply(Txn::Multi(vec![create.clone(), set("/m", 1), delete("/m")]));
    let OpResult::Multi(results) = whole else { panic!("{whole:?}") };
    assert!(matches!(results[..], [OpResult::Created { .. }, OpResult::DataSet { .. }, OpResult::Deleted]));
    let before = story.tree.clone();
    let failed = story.apply(Txn::Multi(vec![create, Txn::Error(code::BAD_VERSION), set("/", 1)]));
    assert_eq!(
        failed,
        OpResult::Multi(vec![
            OpResult::Error(code::OK),
            OpResult::Error(code::BAD_VERSION),
            OpResult::Error(code::RUNTIME_INCONSISTENCY)
        ])
    );
    assert_eq!((story.tree.digest(), story.tree.len()), (before.digest(), before.len()));
    assert_eq!(story.tree.last_zxid(), Zxid(2));
}

#[test]
fn children_are_found_beside_and_above_deeper_nodes() {
    let mut story = Story::begin();
    for path in ["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/b-c", "/a/e", "/ab", "/a/e/f"] {
        assert!(matches!(story.create(path), OpResult::Created { .. }), "{path}");
    }
    assert_eq!(names(story.tree.children(&ZPath::literal("/a"))), ["/a/b", "/a/b-c", "/a/e"]);
    assert_eq!(names(story.tree.children(&ZPath::root())), ["/a", "/ab", "/zookeeper"]);
    assert_eq!(names(story.tree.children(&ZPath::literal("/ab"))), [""; 0]);
    assert_eq!(story.tree.descendants(&ZPath::literal("/a")), 6);
    assert_eq!(story.create("/none/child"), OpResult::Error(code::NO_NODE));
    assert_eq!(story.create("/a"), OpResult::Error(code::NODE_EXISTS));
}

#[test]
fn containers_and_expired_nodes_may_be_reaped_when_empty() {
    let mut story = Story::begin();
    let of_kind = |path: &str, kind| {
        let (acl, path) = (AclList::open(), ZPath::literal(path));
        Txn::Create { kind, path, data: None, acl, ephemeral: false, parent_cversion: -1 }
    };
    story.apply(of_kind("/never-used", CreateKind::Container));
    story.apply(of_kind("/used", CreateKind::Container));
    story.create("/used/x");
    story.apply(of_kind("/ttl", CreateKind::Ttl { millis: 50 }));
    assert_eq!(names(story.tree.reapable(UnixMillis(1054))), [""; 0]);
    story.apply(delete("/used/x"));
    assert_eq!(names(story.tree.reapable(UnixMillis(1055))), ["/ttl", "/used"]);
    assert_eq!(story.stat("/ttl").ephemeral_owner, SessionId(0));
    story.apply(Txn::DeleteContainer { path: ZPath::literal("/used") });
    assert_eq!(names(story.tree.reapable(UnixMillis(0))), [""; 0]);
}

#[test]
fn an_access_list_lives_as_long_as_a_node_uses_it() {
    let mut story = Story::begin();
    story.create("/a");
    let lists = |story: &Story| story.tree.access_lists().count();
    assert_eq!(lists(&story), 2);
    let private = AclList::new([crate::znode::Acl::new(31, "digest", "a:b")]);
    let path = ZPath::literal("/a");
    let set = story.apply(Txn::SetAcl { path: path.clone(), acl: private.clone(), version: 1 });
    assert!(matches!(set, OpResult::AclSet { stat } if stat.aversion == 1));
    assert_eq!((lists(&story), &story.tree.node(&path).unwrap().acl), (3, &private));
    story.apply(delete("/a"));
    assert_eq!(lists(&story), 2);
}

#[test]
fn the_digest_is_the_sum_over_the_nodes_as_they_are() {
    let mut story = Story::begin();
    story.create("/a");
    story.create("/a/b");
    story.apply(set("/a", 1));
    story.apply(delete("/a/b"));
    story.tree.set_config(Bytes::from_static(b"version=5"), Zxid(5), UnixMillis(9));
    let sum = story.tree.walk().map(|(path, node)| node_digest(path, node.data.as_deref(), &node.stat));
    assert_eq!(story.tree.digest(), sum.map(u64::from).sum::<u64>());
}
