//! A write request becomes a transaction, or the error that it is: judged against the tree as it will be once every
//! proposal is applied. Pure; a refused request becomes an error transaction, which takes its zxid all the same.
//!
//! The order of checks is ZooKeeper's (protocol.md B.5): the first that fails is what the client hears.

use crate::api::keeper::{Create, CreateMode, ErrorCode, Op};
use crate::id::SessionId;
use crate::znode::acl::{self, perms};
use crate::znode::stat::MAX_TTL_MILLIS;
use crate::znode::{Acl, AclList, CreateKind, Id, Owner, Tree, Txn, TxnHeader, ZPath, Znode};

/// Bytes of paths that a closeSession carries.
const CLOSED_BYTES: usize = 1 << 20;
/// Lines of an access list.
const ACL_LINES: usize = 1000;

/// Who asks, and where the transaction will stand.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub header: &'a TxnHeader,
    /// Whom the client's connection was authenticated as.
    pub auth: &'a [Id],
    /// What the session table says about it: closed, moved, or fine.
    pub session: Result<(), ErrorCode>,
    /// `extendedTypesEnabled`: nodes with a time to live are allowed.
    pub ttl_enabled: bool,
}

/// The transaction of a request.
pub fn prepare(tip: &Tree, asker: Asker<'_>, op: &Op) -> Txn {
    match op {
        Op::Multi(ops) => prepare_multi(tip, asker, ops),
        single => prepare_single(tip, asker, single).unwrap_or_else(|code| Txn::Error(code.code())),
    }
}

/// Each operation is judged after the effect of those before it. Behind the first that fails, none is tried.
fn prepare_multi(tip: &Tree, asker: Asker<'_>, ops: &[Op]) -> Txn {
    let mut scratch = tip.clone();
    let mut failed = false;
    let parts = ops.iter().map(|op| {
        if failed {
            return Txn::Error(ErrorCode::RuntimeInconsistency.code());
        }
        match prepare_single(&scratch, asker, op) {
            Ok(txn) => {
                scratch.apply(asker.header, &txn);
                txn
            }
            Err(code) => {
                failed = true;
                Txn::Error(code.code())
            }
        }
    });
    Txn::Multi(parts.collect())
}

fn prepare_single(tip: &Tree, asker: Asker<'_>, op: &Op) -> Result<Txn, ErrorCode> {
    match op {
        // Neither asks the session table: one begins the session, the leader itself sends the other two.
        Op::CreateSession { timeout_ms } => return Ok(Txn::CreateSession { timeout: *timeout_ms }),
        Op::CloseSession => return Ok(close_session(tip, asker.header.session)),
        Op::DeleteContainer { path } => return delete_container(tip, path),
        _ => asker.session?,
    }
    match op {
        Op::Create(create) => prepare_create(tip, asker, create),
        Op::Delete { path, version } => delete(tip, asker, path, *version),
        Op::SetData { path, data, version } => {
            let (path, node) = find(tip, asker, path, perms::WRITE)?;
            let version = next_version(node.stat.version, *version)?;
            Ok(Txn::SetData { path, data: data.clone(), version })
        }
        Op::SetAcl { path, acl, version } => {
            parse(path)?;
            let acl = fix_acl(acl, asker.auth)?;
            let (path, node) = find(tip, asker, path, perms::ADMIN)?;
            let version = next_version(node.stat.aversion, *version)?;
            Ok(Txn::SetAcl { path, acl, version })
        }
        Op::Check { path, version } => {
            let (path, node) = find(tip, asker, path, perms::READ)?;
            let version = next_version(node.stat.version, *version)?;
            Ok(Txn::Check { path, version })
        }
        Op::Reconfig { .. } => Err(ErrorCode::ReconfigDisabled),
        _ => Err(ErrorCode::Unimplemented),
    }
}

/// With the paths of its ephemerals, unless they are so many that no link would carry them and no keeper ever join again
/// (ZOOKEEPER-4306): whoever applies it deletes what the session still owns in any case.
fn close_session(tip: &Tree, session: SessionId) -> Txn {
    let bytes: usize = tip.ephemerals(session).map(|path| path.as_str().len()).sum();
    let paths = if bytes > CLOSED_BYTES { Vec::new() } else { tip.ephemerals(session).cloned().collect() };
    Txn::CloseSession { paths }
}

fn prepare_create(tip: &Tree, asker: Asker<'_>, create: &Create) -> Result<Txn, ErrorCode> {
    let mode = CreateMode::from_flags(create.flags).ok_or(ErrorCode::BadArguments)?;
    check_ttl(create.kind, mode, asker.ttl_enabled)?;

    let slash = create.path.rfind('/').filter(|_| !create.path.contains('\0')).ok_or(ErrorCode::BadArguments)?;
    let acl = fix_acl(&create.acl, asker.auth)?;
    let parent = if slash == 0 { "/" } else { &create.path[..slash] };
    let parent = tip.node(&ZPath::parse(parent).map_err(|_| ErrorCode::NoNode)?).ok_or(ErrorCode::NoNode)?;
    allow(parent, perms::CREATE, asker)?;

    let path = match mode.is_sequential() {
        true => parse(&format!("{}{}", create.path, parent.next_sequential_suffix()))?,
        false => parse(&create.path)?,
    };
    if tip.node(&path).is_some() {
        return Err(ErrorCode::NodeExists);
    }
    if matches!(parent.owner(), Owner::Session(_)) {
        return Err(ErrorCode::NoChildrenForEphemerals);
    }
    Ok(Txn::Create {
        kind: create.kind,
        path,
        data: create.data.clone(),
        acl,
        ephemeral: mode.is_ephemeral(),
        parent_cversion: parent.stat.cversion.wrapping_add(1),
    })
}

fn check_ttl(kind: CreateKind, mode: CreateMode, enabled: bool) -> Result<(), ErrorCode> {
    match kind {
        _ if mode.is_ttl() && !enabled => Err(ErrorCode::Unimplemented),
        CreateKind::Ttl { millis } if mode.is_ttl() && (1..=MAX_TTL_MILLIS).contains(&millis) => Ok(()),
        CreateKind::Ttl { millis } if !mode.is_ttl() && millis < 0 => Ok(()),
        CreateKind::Ttl { .. } => Err(ErrorCode::BadArguments),
        CreateKind::Plain | CreateKind::WithStat | CreateKind::Container if mode.is_ttl() => {
            Err(ErrorCode::BadArguments)
        }
        CreateKind::Plain | CreateKind::WithStat | CreateKind::Container => Ok(()),
    }
}

fn delete(tip: &Tree, asker: Asker<'_>, path: &str, version: i32) -> Result<Txn, ErrorCode> {
    let slash = path.rfind('/').filter(|_| !path.contains('\0')).ok_or(ErrorCode::BadArguments)?;
    if is_reserved(path) {
        return Err(ErrorCode::BadArguments);
    }
    let parent = ZPath::parse(if slash == 0 { "/" } else { &path[..slash] }).map_err(|_| ErrorCode::NoNode)?;
    allow(tip.node(&parent).ok_or(ErrorCode::NoNode)?, perms::DELETE, asker)?;
    let path = ZPath::parse(path).map_err(|_| ErrorCode::NoNode)?;
    let node = tip.node(&path).ok_or(ErrorCode::NoNode)?;
    next_version(node.stat.version, version)?;
    if node.children > 0 {
        return Err(ErrorCode::NotEmpty);
    }
    Ok(Txn::Delete { path })
}

/// The leader's reaper asks; a client made a child or another node meanwhile.
fn delete_container(tip: &Tree, path: &str) -> Result<Txn, ErrorCode> {
    let path = parse(path)?;
    let node = tip.node(&path).ok_or(ErrorCode::NoNode)?;
    match node.owner() {
        _ if node.children > 0 => Err(ErrorCode::NotEmpty),
        Owner::Container if node.stat.cversion > 0 => Ok(Txn::DeleteContainer { path }),
        Owner::Ttl { .. } => Ok(Txn::DeleteContainer { path }),
        Owner::Container | Owner::Persistent | Owner::Session(_) => Err(ErrorCode::BadVersion),
    }
}

/// The node at a path, if the asker may do `wanted` with it.
fn find<'a>(tip: &'a Tree, asker: Asker<'_>, path: &str, wanted: i32) -> Result<(ZPath, &'a Znode), ErrorCode> {
    let path = parse(path)?;
    let node = tip.node(&path).ok_or(ErrorCode::NoNode)?;
    allow(node, wanted, asker)?;
    Ok((path, node))
}

fn parse(path: &str) -> Result<ZPath, ErrorCode> {
    ZPath::parse(path).map_err(|_| ErrorCode::BadArguments)
}

fn allow(node: &Znode, wanted: i32, asker: Asker<'_>) -> Result<(), ErrorCode> {
    if node.acl.allows(wanted, asker.auth) { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

/// The version that follows, if the expected one (−1: any) is the current one.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(current.wrapping_add(1))
}

fn is_reserved(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}

/// A request's access list as it is stored: without duplicates, `auth` replaced by whom the connection is
/// authenticated as. One that is far too long to be meant is none: each line is compared with all before it.
fn fix_acl(wished: &AclList, auth: &[Id]) -> Result<AclList, ErrorCode> {
    let is_fine = |acl: &Acl| &*acl.id.scheme != "auth" && acl::is_valid(&acl.id);
    // The common case, one line for everybody, is kept as it is.
    if let [only] = wished.lines()
        && is_fine(only)
    {
        return Ok(wished.clone());
    }
    let mut lines: Vec<Acl> = Vec::new();
    for acl in wished.lines() {
        let meant: Vec<Acl> = if &*acl.id.scheme == "auth" {
            let proven = auth.iter().filter(|id| matches!(&*id.scheme, "digest" | "sasl" | "x509" | "super"));
            proven.map(|id| Acl { perms: acl.perms, id: id.clone() }).collect()
        } else {
            Vec::from_iter(is_fine(acl).then(|| acl.clone()))
        };
        if meant.is_empty() {
            return Err(ErrorCode::InvalidAcl);
        }
        for acl in meant {
            if !lines.contains(&acl) {
                lines.push(acl);
            }
        }
        if lines.len() > ACL_LINES {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    if lines.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(AclList::new(lines)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SessionId, Zxid};
    use crate::time::UnixMillis;

    const ANNA: SessionId = SessionId(0x0100_0000_0000_0001);

    /// A tree that grows by requests, and what each became.
    struct Bench {
        tree: Tree,
        zxid: u64,
        auth: Vec<Id>,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { tree: Tree::new(), zxid: 0, auth: Vec::new() }
        }

        fn ask_as(&mut self, session: Result<(), ErrorCode>, op: &Op) -> Txn {
            self.zxid += 1;
            let header =
                TxnHeader { session: ANNA, cxid: 1, zxid: Zxid((1 << 32) | self.zxid), time: UnixMillis(1_000) };
            let txn = prepare(&self.tree, Asker { header: &header, auth: &self.auth, session, ttl_enabled: false }, op);
            self.tree.apply(&header, &txn);
            txn
        }

        fn ask(&mut self, op: &Op) -> String {
            match self.ask_as(Ok(()), op) {
                Txn::Error(code) => ErrorCode::from_code(code).unwrap().to_string(),
                txn => txn.to_string(),
            }
        }
    }

    fn create(path: &str, flags: i32, acl: AclList) -> Op {
        Op::Create(Create { kind: CreateKind::Plain, path: path.into(), data: None, acl, flags })
    }

    fn open(path: &str, flags: i32) -> Op {
        create(path, flags, AclList::open())
    }

    fn delete(path: &str, version: i32) -> Op {
        Op::Delete { path: path.into(), version }
    }

    fn set(path: &str, version: i32) -> Op {
        Op::SetData { path: path.into(), data: None, version }
    }

    #[test]
    fn create_fails_in_the_order_of_checks() {
        let mut bench = Bench::new();
        let nobody = AclList::new([]);
        bench.ask(&open("/e", 1));
        bench.ask(&create("/closed", 0, AclList::read_only()));
        assert_eq!(bench.ask_as(Err(ErrorCode::SessionMoved), &open("/x", 99)), Txn::Error(-118));
        assert_eq!(bench.ask(&open("/x", 99)), "BADARGUMENTS");
        assert_eq!(bench.ask(&open("/x", 5)), "UNIMPLEMENTED");
        assert_eq!(bench.ask(&open("x", 0)), "BADARGUMENTS");
        assert_eq!(bench.ask(&create("/no/x/", 0, nobody)), "INVALIDACL");
        assert_eq!(bench.ask(&open("/no/x/", 0)), "NONODE");
        assert_eq!(bench.ask(&open("/closed/..", 0)), "NOAUTH");
        assert_eq!(bench.ask(&open("/e/..", 0)), "BADARGUMENTS");
        assert_eq!(bench.ask(&open("/e", 0)), "NODEEXISTS");
        assert_eq!(bench.ask(&open("/e/x", 0)), "NOCHILDRENFOREPHEMERALS");
        assert_eq!(bench.ask(&open("/x", 0)), "create /x");
    }

    #[test]
    fn delete_and_set_fail_in_the_order_of_checks() {
        let mut bench = Bench::new();
        bench.ask(&open("/a", 0));
        bench.ask(&open("/a/b", 0));
        bench.ask(&create("/closed", 0, AclList::read_only()));
        for (op, answer) in [
            (delete("/zookeeper", -1), "BADARGUMENTS"),
            (delete("/no/x", -1), "NONODE"),
            (delete("/closed/x", -1), "NOAUTH"),
            (delete("/a/x", -1), "NONODE"),
            (delete("/a", 7), "BADVERSION"),
            (delete("/a", 0), "NOTEMPTY"),
            (delete("/a/b", 0), "delete /a/b"),
            (set("/a/", -1), "BADARGUMENTS"),
            (set("/no", 3), "NONODE"),
            (set("/closed", 3), "NOAUTH"),
            (set("/a", 3), "BADVERSION"),
            (set("/a", 0), "set /a to version 1"),
            (Op::Check { path: "/a".into(), version: 0 }, "BADVERSION"),
            (Op::SetAcl { path: "/no".into(), acl: AclList::new([]), version: 0 }, "INVALIDACL"),
            (Op::SetAcl { path: "/no".into(), acl: AclList::open(), version: 0 }, "NONODE"),
        ] {
            assert_eq!(bench.ask(&op), answer, "{op}");
        }
    }

    #[test]
    fn sequential_names_count_creations_and_never_deletions() {
        let mut bench = Bench::new();
        bench.ask(&open("/q", 0));
        assert_eq!(bench.ask(&open("/q/n-", 2)), "create /q/n-0000000000");
        bench.ask(&open("/q/other", 0));
        bench.ask(&delete("/q/other", -1));
        assert_eq!(bench.ask(&open("/q/", 3)), "create ephemeral /q/0000000002");
    }

    #[test]
    fn a_multi_sees_its_own_effects_and_fails_as_a_whole() {
        let mut bench = Bench::new();
        let registration = Op::Multi(vec![open("/ids", 1), set("/ids", 0)]);
        assert_eq!(bench.ask(&registration), "multi [create ephemeral /ids, set /ids to version 1]");
        let fails = Op::Multi(vec![open("/x", 0), set("/ids", 0), open("/y", 0)]);
        assert_eq!(bench.ask(&fails), "multi [create /x, error -103, error -2]");
        assert_eq!(bench.tree.node(&ZPath::literal("/x")), None);
        assert_eq!(bench.tree.last_zxid().counter(), 2);
    }

    #[test]
    fn closing_a_session_names_its_ephemerals() {
        let mut bench = Bench::new();
        bench.ask(&open("/a", 1));
        bench.ask(&open("/b", 0));
        bench.ask(&open("/b/c", 1));
        let paths = ["/a", "/b/c"].map(ZPath::literal).to_vec();
        assert_eq!(bench.ask_as(Err(ErrorCode::SessionExpired), &Op::CloseSession), Txn::CloseSession { paths });
    }

    #[test]
    fn the_line_auth_means_whoever_the_client_has_proved_to_be() {
        let mut bench = Bench::new();
        let acl = AclList::new([Acl::new(perms::ALL, "auth", ""), Acl::new(perms::READ, "world", "anyone")]);
        assert_eq!(bench.ask(&create("/mine", 0, acl.clone())), "INVALIDACL");
        bench.auth = vec![Id::new("ip", "10.0.0.1"), Id::new("digest", "anna:hash")];
        assert_eq!(bench.ask(&create("/mine", 0, acl)), "create /mine");
        let stored = &bench.tree.node(&ZPath::literal("/mine")).unwrap().acl;
        let lines = [Acl::new(perms::ALL, "digest", "anna:hash"), Acl::new(perms::READ, "world", "anyone")];
        assert_eq!(stored.lines(), lines);
    }
}
