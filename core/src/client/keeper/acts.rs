//! What a ZooKeeper client does: drawn from its own chance, or asked for.

use super::{Asked, KeeperClient, OWNED, ROOT, credentials};
use crate::api::command::Change;
use crate::keeper::client::op::{ANY_VERSION, CreateMode, Op};
use crate::machine::Effects;
use crate::node::Effect;
use crate::time::Now;
use crate::znode::acl::{Acl, AclList, digest_id, perms};
use bytes::Bytes;
use std::sync::Arc;

/// No znode here is written so often.
const NO_VERSION: i32 = 1_000_000;

impl KeeperClient {
    /// One write, or a read of somebody's node, or a new session.
    pub(super) fn act(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if let Some(path) = self.unsure.pop() {
            self.read(now, path, false, fx);
            return;
        }
        match self.rng.below(32) {
            0..8 if self.owned.len() < OWNED => {
                let (op, asked) = self.creation();
                self.ask(now, op, asked, fx);
            }
            0..18 if !self.owned.is_empty() => {
                let (path, version) = self.own();
                let version = if self.rng.chance(1, 3) { ANY_VERSION } else { version };
                self.set(now, path, version, fx);
            }
            18..20 if !self.owned.is_empty() => {
                let (path, _) = self.own();
                self.owned.retain(|(owned, _)| *owned != path);
                self.ask(now, Op::delete(&path, ANY_VERSION), Asked::Delete { path }, fx);
            }
            20..23 => self.drawn_multi(now, fx),
            23..25 => {
                self.ask(now, Op::Sync { path: ROOT.into() }, Asked::Sync, fx);
                let path = self.somebodys();
                self.read(now, path, false, fx);
            }
            25 => {
                let path = format!("{ROOT}/c{}-{}", self.config.number, self.rng.below(3));
                self.exists(now, path.into(), fx);
            }
            26 => {
                let path = match self.rng.below(3) {
                    0 => format!("{ROOT}/d{}", self.config.number).into(),
                    1 => self.somebodys(),
                    _ => ROOT.into(),
                };
                self.children(now, path, fx);
            }
            27 => {
                let path = if self.owned.is_empty() { self.somebodys() } else { self.own().0 };
                self.ask(now, Op::GetAcl { path: path.clone() }, Asked::Acl { path }, fx);
            }
            28 if !self.owned.is_empty() => {
                let (path, acl) = (self.own().0, self.access("digest"));
                let op = Op::SetAcl { path: path.clone(), acl: acl.clone(), version: ANY_VERSION };
                self.ask(now, op, Asked::SetAcl { path, acl }, fx);
            }
            29 if self.rng.chance(1, 4) => self.end_session(now, fx),
            30 => {
                let path = self.somebodys();
                self.set(now, path, ANY_VERSION, fx);
            }
            _ => {
                let path = self.somebodys();
                self.read(now, path, true, fx);
            }
        }
    }

    fn end_session(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let events = self.within(fx, |client, fx| {
            client.session.close(now, fx);
            Vec::new()
        });
        self.on_events(now, events, fx);
        self.owned.clear();
        self.between_sessions = true;
    }

    // Single questions.

    pub(super) fn read(&mut self, now: Now, path: Arc<str>, watch: bool, fx: &mut Effects<Effect>) {
        self.ask(now, Op::Get { path: path.clone(), watch }, Asked::Read { path, watch }, fx);
    }

    /// Watches what it asks about, there or not.
    pub fn exists(&mut self, now: Now, path: Arc<str>, fx: &mut Effects<Effect>) {
        self.ask(now, Op::exists(&path, true), Asked::Exists { path, watch: true }, fx);
    }

    pub fn children(&mut self, now: Now, path: Arc<str>, fx: &mut Effects<Effect>) {
        self.ask(now, Op::children(&path, true), Asked::Children { path, watch: true }, fx);
    }

    fn set(&mut self, now: Now, path: Arc<str>, version: i32, fx: &mut Effects<Effect>) {
        let (op, asked) = self.change(&path, version);
        self.ask(now, op, asked, fx);
    }

    // Multis.

    pub fn multi(&mut self, now: Now, changes: &[Change], fx: &mut Effects<Effect>) {
        let parts = changes.iter().map(|change| match change {
            Change::Create(path) => {
                let (value, data) = self.value();
                let (path, mode) = (path.clone(), CreateMode::Persistent);
                (Op::Create { path: path.clone(), data, mode }, Asked::Create { path, value })
            }
            Change::Set(path) => self.change(path, ANY_VERSION),
            Change::Delete(path) => (Op::delete(path, ANY_VERSION), Asked::Delete { path: path.clone() }),
            Change::Check(path, version) => (Op::check(path, *version), Asked::Check),
        });
        let (ops, asked) = parts.unzip();
        self.ask(now, Op::Multi(ops), Asked::Multi(asked), fx);
    }

    /// A few changes of nodes it owns; one in four holds a part that fails.
    fn drawn_multi(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let mut owned = self.owned.clone();
        self.rng.shuffle(&mut owned);
        owned.truncate(self.rng.range(1, 3) as usize);
        let mut parts: Vec<(Op, Asked)> = Vec::new();
        for (path, version) in owned {
            parts.push(match self.rng.below(4) {
                0 => (Op::check(&path, version), Asked::Check),
                1 => (Op::delete(&path, version), Asked::Delete { path }),
                _ => self.change(&path, version),
            });
        }
        if parts.is_empty() || self.rng.chance(1, 2) {
            parts.push(self.creation());
        }
        if self.rng.chance(1, 4) {
            let at = self.rng.below(parts.len() as u64 + 1) as usize;
            parts.insert(at, (Op::check(ROOT, NO_VERSION), Asked::Check));
        }
        let (ops, asked) = parts.into_iter().unzip();
        self.ask(now, Op::Multi(ops), Asked::Multi(asked), fx);
    }

    // What to ask about, and what to write.

    /// One of its own nodes, of which there is one.
    fn own(&mut self) -> (Arc<str>, i32) {
        self.owned[self.rng.below(self.owned.len() as u64) as usize].clone()
    }

    /// A node it has heard of, or a counter: every client makes this one.
    fn somebodys(&mut self) -> Arc<str> {
        match &self.neighbour {
            Some(path) if self.rng.chance(1, 2) => path.clone(),
            _ => format!("{ROOT}/c{}-0", self.rng.range(1, 12)).into(),
        }
    }

    /// A value nobody else writes.
    fn value(&mut self) -> (u64, Option<Bytes>) {
        let value = self.next_value;
        self.next_value += 1;
        (value, Some(Bytes::copy_from_slice(&value.to_be_bytes())))
    }

    fn change(&mut self, path: &Arc<str>, version: i32) -> (Op, Asked) {
        let (value, data) = self.value();
        (Op::Set { path: path.clone(), data, version }, Asked::Set { path: path.clone(), value })
    }

    fn creation(&mut self) -> (Op, Asked) {
        let number = self.config.number;
        let (name, mode) = match self.rng.below(6) {
            0 => (format!("c{number}-{}", self.rng.below(3)), CreateMode::Persistent),
            1 => (format!("e{number}-{}", self.next_value), CreateMode::Ephemeral),
            2 => (format!("s{number}-"), CreateMode::PersistentSequential),
            3 => (format!("q{number}-"), CreateMode::EphemeralSequential),
            // A parent, and what is below it, if it is there.
            4 => (format!("d{number}"), CreateMode::Persistent),
            _ => (format!("d{number}/n-"), CreateMode::PersistentSequential),
        };
        self.creation_of(&format!("{ROOT}/{name}").into(), mode)
    }

    /// By create, or by create2 with an access list.
    fn creation_of(&mut self, path: &Arc<str>, mode: CreateMode) -> (Op, Asked) {
        let (value, data) = self.value();
        let (path, asked) = (path.clone(), Asked::Create { path: path.clone(), value });
        if self.rng.chance(1, 3) {
            (Op::CreateWith { path, data, mode, acl: self.access("auth") }, asked)
        } else {
            (Op::Create { path, data, mode }, asked)
        }
    }

    /// Everybody's, or everybody's to read and its own to change; by its name, or as whoever it has proved to be.
    fn access(&mut self, scheme: &str) -> AclList {
        if self.rng.chance(1, 2) {
            return AclList::open();
        }
        let id = if scheme == "auth" { String::new() } else { digest_id(&credentials(self.config.number)) };
        AclList::new([Acl::new(perms::ALL, scheme, &id), Acl::new(perms::READ, "world", "anyone")])
    }
}
