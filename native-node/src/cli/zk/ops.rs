//! What each question to the ensemble does, and how its answer is printed.

use super::{Op, acl};
use crate::cli::term::{NotSo, Out, plain, plain_bytes, put_bytes};
use crate::client::Error;
use crate::client::keeper::{Event, Session};
use crate::config::Usage;
use anyhow::Result;
use bytes::Bytes;
use glasshouse_core::id::Zxid;
use glasshouse_core::keeper::client::op::{CreateMode, KeeperError, WatchKind};
use glasshouse_core::znode::path::ZPath;
use glasshouse_core::znode::stat::Stat;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// What an ensemble never deletes. It is asked for nothing else then either: what is below would be gone.
const RESERVED: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// Does it.
///
/// # Errors
/// What the ensemble says, or that a path is none.
pub async fn run(session: &Session, op: &Op, out: &mut Out) -> Result<()> {
    let op = &op.clone().tidied();
    check(op.path(), matches!(op, Op::Create { sequential: true, .. }))?;
    if let Op::Delete { path, .. } = op
        && RESERVED.contains(&path.as_str())
    {
        return Err(Usage(format!("{path} cannot be deleted: it is ZooKeeper's own")).into());
    }
    match op {
        Op::Ls { path, recursive: false } => {
            for name in session.children(path, false).await? {
                out.say(&plain(&name))?;
                out.item(&json!({"path": join(path, &name), "name": &*name}))?;
            }
        }
        Op::Ls { path, recursive: true } => {
            for path in below(session, path).await? {
                out.say(&plain(&path))?;
                out.item(&json!({"path": path}))?;
            }
        }
        Op::Get { path, stat, watch } => {
            let (data, stats) = session.get(path, *watch).await?;
            show_data(path, data.as_deref(), &stats, *stat, out)?;
        }
        Op::Set { path, value, if_version } => {
            let stat = session.set(path, Bytes::copy_from_slice(value.as_bytes()), *if_version).await?;
            out.say(&format!("{} has version {}", plain(path), stat.version))?;
            out.item(&stat_json(path, &stat))?;
        }
        Op::Create { path, value, ephemeral, sequential, parents } => {
            let data = Some(Bytes::copy_from_slice(value.as_bytes()));
            let made = match parents {
                true => create_with_parents(session, path, data).await?,
                false => session.create(path, data, mode(*ephemeral, *sequential)).await?,
            };
            out.say(&plain(&made))?;
            out.item(&json!({"path": &*made}))?;
        }
        Op::Delete { path, if_version, recursive } => {
            if *recursive {
                delete_below(session, path).await?;
            }
            session.delete(path, *if_version).await?;
            out.say(&format!("{} is deleted", plain(path)))?;
            out.item(&json!({"path": path, "deleted": true}))?;
        }
        Op::Stat { path, watch } => {
            let Some(stat) = session.exists(path, *watch).await? else {
                return Err(NotSo(format!("{}: there is no such node (NONODE)", plain(path))).into());
            };
            show_stat(path, &stat, out)?;
        }
        Op::GetAcl { path, stat } => {
            let (acl, stats) = session.acl(path).await?;
            let lines: Vec<String> = acl.lines().iter().map(acl::shown).collect();
            lines.iter().try_for_each(|line| out.say(&plain(line)))?;
            out.item(&json!({"path": path, "acl": lines, "aversion": stats.aversion}))?;
            if *stat {
                show_stat(path, &stats, out)?;
            }
        }
        Op::SetAcl { path, acl, if_version } => {
            let acl = acl::parse(acl).map_err(Usage)?;
            let stat = session.set_acl(path, acl, *if_version).await?;
            out.say(&format!("the access list of {} has version {}", plain(path), stat.aversion))?;
            out.item(&stat_json(path, &stat))?;
        }
        Op::Watch { path, count } => watch(session, path, *count, out).await?,
        Op::Sync { path } => {
            session.sync(path).await?;
            out.say("in step with the leader")?;
            out.item(&json!({"path": path, "synced": true}))?;
        }
    }
    Ok(())
}

impl Op {
    /// With the path as ZooKeeper has it: completion leaves a slash at its end.
    fn tidied(mut self) -> Op {
        let sequential = matches!(self, Op::Create { sequential: true, .. });
        let path = self.path_mut();
        while !sequential && path.len() > 1 && path.ends_with('/') {
            path.pop();
        }
        self
    }

    fn path_mut(&mut self) -> &mut String {
        match self {
            Op::Ls { path, .. }
            | Op::Get { path, .. }
            | Op::Set { path, .. }
            | Op::Create { path, .. }
            | Op::Delete { path, .. }
            | Op::Stat { path, .. }
            | Op::GetAcl { path, .. }
            | Op::SetAcl { path, .. }
            | Op::Watch { path, .. }
            | Op::Sync { path } => path,
        }
    }

    fn path(&self) -> &str {
        match self {
            Op::Ls { path, .. }
            | Op::Get { path, .. }
            | Op::Set { path, .. }
            | Op::Create { path, .. }
            | Op::Delete { path, .. }
            | Op::Stat { path, .. }
            | Op::GetAcl { path, .. }
            | Op::SetAcl { path, .. }
            | Op::Watch { path, .. }
            | Op::Sync { path } => path,
        }
    }
}

/// Before anything is asked. A sequential node may be named by its number alone.
fn check(path: &str, sequential: bool) -> Result<()> {
    let probe = if sequential { format!("{path}0") } else { path.to_owned() };
    match ZPath::parse(&probe) {
        Ok(_) => Ok(()),
        Err(why) => Err(Usage(format!("{}: {why}", plain(path))).into()),
    }
}

fn mode(ephemeral: bool, sequential: bool) -> CreateMode {
    match (ephemeral, sequential) {
        (false, false) => CreateMode::Persistent,
        (true, false) => CreateMode::Ephemeral,
        (false, true) => CreateMode::PersistentSequential,
        (true, true) => CreateMode::EphemeralSequential,
    }
}

/// The path of a child.
pub(super) fn join(path: &str, name: &str) -> String {
    format!("{}/{name}", path.trim_end_matches('/'))
}

/// The nodes below, each after its parent. One that goes meanwhile is left out.
async fn below(session: &Session, path: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let names = match session.children(&path, false).await {
            Err(Error::Keeper { code: KeeperError::NONODE, .. }) if !found.is_empty() => continue,
            names => names?,
        };
        open.extend(names.iter().rev().map(|name| join(&path, name)));
        found.push(path);
    }
    Ok(found)
}

async fn delete_below(session: &Session, path: &str) -> Result<(), Error> {
    for path in below(session, path).await?.into_iter().skip(1).rev() {
        match session.delete(&path, -1).await {
            Ok(()) | Err(Error::Keeper { code: KeeperError::NONODE, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn create_with_parents(session: &Session, path: &str, data: Option<Bytes>) -> Result<Arc<str>, Error> {
    if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        session.create_all(parent, None).await?;
    }
    session.create(path, data, CreateMode::Persistent).await
}

fn show_data(path: &str, data: Option<&[u8]>, stat: &Stat, with_stat: bool, out: &mut Out) -> Result<()> {
    if out.json {
        let mut object = match stat_json(path, stat) {
            Value::Object(stat) if with_stat => stat,
            _ => Map::from_iter([("path".to_owned(), path.into()), ("version".to_owned(), stat.version.into())]),
        };
        put_bytes(&mut object, "data", data);
        return Ok(out.item(&Value::Object(object))?);
    }
    // A person sees the text of it; a program behind a pipe gets the bytes.
    match (data, out.terminal) {
        (None, true) => out.own("null")?,
        (Some(data), true) if std::str::from_utf8(data).is_ok_and(|text| !text.contains('\u{1b}')) => {
            let lines: Vec<String> = data.split(|byte| *byte == b'\n').map(plain_bytes).collect();
            out.own(&lines.join("\n"))?;
        }
        (data, _) => out.raw(data.unwrap_or_default())?,
    }
    out.own("\n")?;
    if with_stat { show_stat(path, stat, out) } else { Ok(()) }
}

/// As ZooKeeper's own shell names them.
fn show_stat(path: &str, stat: &Stat, out: &mut Out) -> Result<()> {
    let hex = |zxid: Zxid| format!("{:#x}", zxid.0);
    let rows = [
        ("cZxid", hex(stat.czxid)),
        ("ctime", stat.ctime.0.to_string()),
        ("mZxid", hex(stat.mzxid)),
        ("mtime", stat.mtime.0.to_string()),
        ("pZxid", hex(stat.pzxid)),
        ("cversion", stat.cversion.to_string()),
        ("dataVersion", stat.version.to_string()),
        ("aclVersion", stat.aversion.to_string()),
        ("ephemeralOwner", stat.ephemeral_owner.to_string()),
        ("dataLength", stat.data_length.to_string()),
        ("numChildren", stat.num_children.to_string()),
    ];
    rows.iter().try_for_each(|(name, value)| out.say(&format!("{name} = {value}")))?;
    Ok(out.item(&stat_json(path, stat))?)
}

fn stat_json(path: &str, stat: &Stat) -> Value {
    json!({
        "path": path, "czxid": stat.czxid.0, "mzxid": stat.mzxid.0, "pzxid": stat.pzxid.0,
        "ctime": stat.ctime.0, "mtime": stat.mtime.0, "version": stat.version, "cversion": stat.cversion,
        "aversion": stat.aversion, "ephemeral_owner": stat.ephemeral_owner.to_string(),
        "data_length": stat.data_length, "children": stat.num_children,
    })
}

/// The name that ZooKeeper gives an event.
pub(super) fn event_name(kind: WatchKind) -> &'static str {
    match kind {
        WatchKind::Created => "NodeCreated",
        WatchKind::Deleted => "NodeDeleted",
        WatchKind::DataChanged => "NodeDataChanged",
        WatchKind::ChildrenChanged => "NodeChildrenChanged",
    }
}

/// Sets the watches of a node: what it is, and whose parent it is, if it is there.
async fn arm(session: &Session, path: &str) -> Result<(), Error> {
    if session.exists(path, true).await?.is_some() {
        match session.children(path, true).await {
            Ok(_) | Err(Error::Keeper { code: KeeperError::NONODE, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn watch(session: &Session, path: &str, count: Option<u64>, out: &mut Out) -> Result<()> {
    let mut events = session.events();
    arm(session, path).await?;
    out.item(&json!({"watching": path}))?;
    out.say(&format!("watching {}", plain(path)))?;
    out.flush()?;
    let mut told = 0;
    while count.is_none_or(|count| told < count) {
        match events.recv().await {
            Ok(Event::Watch { kind, path: at }) if *at == *path => {
                told += 1;
                out.say(&format!("{} {}", event_name(kind), plain(&at)))?;
                out.item(&json!({"event": event_name(kind), "path": &*at}))?;
                out.flush()?;
                // A watch fires once; what happens before it is armed again is told as one.
                arm(session, path).await?;
            }
            Ok(Event::Expired { .. }) | Err(RecvError::Closed) => {
                return Err(NotSo("the session is gone; nothing more will be told".into()).into());
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
        }
    }
    Ok(())
}
