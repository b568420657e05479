//! What a ZooKeeper client is answered, and tells.

use super::{Asked, KeeperClient, ROOT};
use crate::id::{SessionId, Zxid};
use crate::keeper::client::op::{Answer, Done, KeeperError};
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::client::ClientNote;
use crate::time::Now;
use crate::znode::Stat;
use std::sync::Arc;

impl KeeperClient {
    pub(super) fn on_reply(&mut self, now: Now, asked: Asked, zxid: Zxid, answer: Answer, fx: &mut Effects<Effect>) {
        let Some(session) = self.session.session() else { return };
        match (asked, answer) {
            (Asked::Multi(parts), Ok(Done::Multi(results))) => {
                let codes: Vec<i32> = results.iter().map(|one| one.as_ref().err().map_or(0, |why| why.0)).collect();
                let refused = codes.iter().position(|code| *code != 0);
                fx.note(ClientNote::MultiAnswered { session, codes, zxid });
                // Of a refused one, only the part that was refused has anything to tell.
                let told = parts.into_iter().zip(results).enumerate();
                for (_, (part, result)) in told.filter(|(at, _)| refused.is_none_or(|refused| refused == *at)) {
                    self.on_written(now, session, part, zxid, result, fx);
                }
            }
            (Asked::Multi(parts), answer) => {
                for part in parts {
                    self.on_written(now, session, part, zxid, answer.clone(), fx);
                }
            }
            (asked @ (Asked::Create { .. } | Asked::Set { .. } | Asked::Delete { .. }), answer) => {
                self.on_written(now, session, asked, zxid, answer, fx);
            }
            (asked, answer) => self.on_read(session, asked, zxid, answer, fx),
        }
    }

    fn on_written(
        &mut self,
        now: Now,
        session: SessionId,
        asked: Asked,
        zxid: Zxid,
        answer: Answer,
        fx: &mut Effects<Effect>,
    ) {
        let unknown = matches!(answer, Err(KeeperError::CONNECTIONLOSS | KeeperError::SESSIONEXPIRED));
        match (asked, answer) {
            (Asked::Create { path, value } | Asked::Set { path, value }, Err(_)) if unknown => {
                self.failed += 1;
                self.unsure.push(path.clone());
                fx.note(ClientNote::WriteUnknown { session, path, data: Some(value) });
            }
            (Asked::Delete { path }, Err(_)) if unknown => {
                self.failed += 1;
                fx.note(ClientNote::WriteUnknown { session, path, data: None });
            }
            (Asked::Create { value, .. }, Ok(Done::Created { path })) => {
                self.owned.push((path.clone(), 0));
                self.wrote(session, path, Some(value), 0, zxid, fx);
            }
            (Asked::Create { value, .. }, Ok(Done::CreatedWith { path, stat })) => {
                self.owned.push((path.clone(), stat.version));
                found(session, path.clone(), Some(&stat), zxid, false, fx);
                self.wrote(session, path, Some(value), stat.version, zxid, fx);
            }
            (Asked::Set { path, value }, Ok(Done::Stat(stat))) => {
                self.knows(&path, stat.version);
                self.wrote(session, path, Some(value), stat.version, zxid, fx);
            }
            (Asked::Delete { path }, Ok(_)) => {
                self.owned.retain(|(owned, _)| *owned != path);
                self.wrote(session, path, None, -1, zxid, fx);
            }
            (Asked::Create { path, .. } | Asked::Set { path, .. } | Asked::Delete { path }, _) => {
                // Refused: somebody else's version or node, or it is there already, or gone with its session.
                self.failed += 1;
                self.owned.retain(|(owned, _)| *owned != path);
                self.read(now, path, false, fx);
            }
            _ => {}
        }
    }

    fn on_read(&mut self, session: SessionId, asked: Asked, zxid: Zxid, answer: Answer, fx: &mut Effects<Effect>) {
        match (asked, answer) {
            (Asked::Read { path, watch }, Ok(Done::Data { data, stat })) => {
                let value = data.as_deref().and_then(|data| data.first_chunk::<8>().copied()).map(u64::from_be_bytes);
                self.unsure.retain(|unsure| *unsure != path);
                self.knows(&path, stat.version);
                let (version, modified) = (stat.version, stat.mzxid);
                fx.note(ClientNote::Saw { session, path, data: value, version, modified, seen: zxid, watch });
            }
            (Asked::Read { path, .. }, Err(KeeperError::NONODE)) => {
                self.unsure.retain(|unsure| *unsure != path);
                self.owned.retain(|(owned, _)| *owned != path);
                // Of a node that is not there getData leaves no watch.
                let (version, modified) = (-1, Zxid::ZERO);
                fx.note(ClientNote::Saw { session, path, data: None, version, modified, seen: zxid, watch: false });
            }
            (Asked::Exists { path, watch }, Ok(Done::Stat(stat))) => {
                found(session, path, Some(&stat), zxid, watch, fx);
            }
            (Asked::Exists { path, watch }, Err(KeeperError::NONODE)) => found(session, path, None, zxid, watch, fx),
            (Asked::Children { path, watch }, Ok(Done::Children { names, stat })) => {
                if &*path == ROOT && !names.is_empty() {
                    let name = &names[self.rng.below(names.len() as u64) as usize];
                    self.neighbour = Some(format!("{ROOT}/{name}").into());
                }
                let modified = stat.pzxid;
                fx.note(ClientNote::Listed { session, path, names, modified, seen: zxid, watch });
            }
            (Asked::Acl { path }, Ok(Done::Acl { acl, stat }))
            | (Asked::SetAcl { path, acl }, Ok(Done::Stat(stat))) => {
                fx.note(ClientNote::SawAcl { session, path, acl, version: stat.aversion, seen: zxid });
            }
            (Asked::Children { path, .. } | Asked::Acl { path }, Err(KeeperError::NONODE)) => {
                found(session, path, None, zxid, false, fx);
            }
            (Asked::Sync, Ok(_)) => fx.note(ClientNote::Synced { session, zxid }),
            _ => {}
        }
    }

    /// The version of a node, if it is one of its own.
    fn knows(&mut self, path: &str, version: i32) {
        if let Some(owned) = self.owned.iter_mut().find(|(owned, _)| **owned == *path) {
            owned.1 = version;
        }
    }

    fn wrote(
        &mut self,
        session: SessionId,
        path: Arc<str>,
        data: Option<u64>,
        version: i32,
        zxid: Zxid,
        fx: &mut Effects<Effect>,
    ) {
        self.acknowledged += 1;
        self.last = path.clone();
        fx.note(ClientNote::Wrote { session, path, data, version, zxid });
    }
}

/// Tells what `exists` says, in the state of `seen`.
fn found(session: SessionId, path: Arc<str>, stat: Option<&Stat>, seen: Zxid, watch: bool, fx: &mut Effects<Effect>) {
    let (version, modified) = stat.map_or((-1, Zxid::ZERO), |stat| (stat.version, stat.mzxid));
    fx.note(ClientNote::Found { session, path, version, modified, seen, watch });
}
