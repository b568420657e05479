//! A ZooKeeper client with a life of its own: counters it owns and writes by version, ephemeral and sequential nodes,
//! reads and watches on what others write, and now and then a new session.
//!
//! It tells what it was told, so that a checker can compare the histories of all clients. It knows nothing of brokers.

use crate::id::{DialId, SessionId, Zxid};
use crate::keeper::client::op::{Answer, CreateMode, Done, Event, KeeperError, Op, WatchKind};
use crate::keeper::client::{ClientConfig, Effect as SessionEffect, SessionClient, speech};
use crate::machine::Effects;
use crate::node::{Address, Effect, Principal, Reply, Request, RequestBody};
use crate::note::client::ClientNote;
use crate::rng::Rng;
use crate::time::{Instant, Now, Span, Wake};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub keepers: Vec<Address>,
    /// The session time-out it asks for.
    pub session: Span,
    /// Between two writes.
    pub every: Span,
    /// Makes its paths and values its own.
    pub number: u32,
}

/// What is remembered of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    Root,
    Create {
        path: Arc<str>,
        value: u64,
    },
    Set {
        path: Arc<str>,
        value: u64,
    },
    Delete {
        path: Arc<str>,
    },
    /// `watch`: its next change is to be told.
    Read {
        path: Arc<str>,
        watch: bool,
    },
}

/// A question and when it was asked: its token at the session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    what: Asked,
    since: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeeperClient {
    config: Config,
    session: SessionClient<Question>,
    rng: Rng,
    next_write_at: Instant,
    next_value: u64,
    /// Nodes it made and may write again: path and the version it last knew.
    owned: Vec<(Arc<str>, i32)>,
    /// The outcome of the last write to a node is unknown: read it before the next.
    unsure: Vec<Arc<str>>,
    /// No session is wanted any more, or none yet: once the last one is closed, the next begins.
    between_sessions: bool,
    busy: bool,
    pub acknowledged: u64,
    pub failed: u64,
    pub last: Arc<str>,
}

/// The parent of everything these clients write.
pub const ROOT: &str = "/app";
/// Nodes one client keeps.
const OWNED: usize = 6;

impl KeeperClient {
    pub fn new(config: Config, rng: Rng, now: Now) -> KeeperClient {
        let session =
            SessionClient::new(ClientConfig::new(config.keepers.clone(), config.session), rng.fork("session"));
        KeeperClient {
            session,
            next_write_at: now.at + config.every,
            next_value: u64::from(config.number) << 40,
            rng: rng.fork("workload"),
            config,
            owned: Vec::new(),
            unsure: Vec::new(),
            between_sessions: true,
            busy: true,
            acknowledged: 0,
            failed: 0,
            last: "".into(),
        }
    }

    pub fn session(&self) -> Option<SessionId> {
        self.session.session()
    }

    pub fn in_flight(&self) -> u32 {
        self.session.pending() as u32
    }

    /// Since when the oldest question without an answer waits.
    pub fn waits_since(&self) -> Option<Instant> {
        self.session.oldest().map(|question| question.since)
    }

    pub fn set_busy(&mut self, now: Now, busy: bool) {
        self.busy = busy;
        self.next_write_at = now.at + self.config.every;
    }

    pub fn wake_at(&self) -> Option<Wake> {
        let write = Wake { at: self.next_write_at, why: "the next write" };
        let idle = self.between_sessions && self.session.is_closed();
        let start = idle.then_some(Wake { at: Instant::ZERO, why: "it starts" });
        Wake::soonest(start, Wake::soonest(self.session.wake_at(), self.busy.then_some(write)))
    }

    pub fn on_wake(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if self.between_sessions && self.session.is_closed() {
            self.between_sessions = false;
            self.within(fx, |client, fx| {
                client.session.start(now, fx);
                Vec::new()
            });
        }
        let events = self.within(fx, |client, fx| client.session.on_wake(now, fx));
        self.on_events(now, events, fx);
        if self.next_write_at <= now.at {
            self.next_write_at = now.at + self.config.every;
            if self.busy && !self.between_sessions && self.session.is_connected() && self.session.pending() < 8 {
                self.act(now, fx);
            }
        }
    }

    pub fn on_opened(&mut self, now: Now, dial: DialId, fx: &mut Effects<Effect>) {
        self.within(fx, |client, fx| {
            client.session.on_opened(now, dial, fx);
            Vec::new()
        });
    }

    pub fn on_hung(&mut self, now: Now, dial: DialId, fx: &mut Effects<Effect>) {
        let events = self.within(fx, |client, fx| client.session.on_hung(now, dial, fx));
        self.on_events(now, events, fx);
    }

    pub fn on_answer(&mut self, now: Now, dial: DialId, reply: Reply<Bytes>, fx: &mut Effects<Effect>) {
        let Reply::Keeper(reply) = reply else { return };
        let Some(heard) = speech::heard(reply) else { return };
        let events = self.within(fx, |client, fx| client.session.on_heard(now, dial, heard, fx));
        self.on_events(now, events, fx);
    }

    /// Runs the session's code with a sink of its own.
    fn within(
        &mut self,
        fx: &mut Effects<Effect>,
        run: impl FnOnce(&mut KeeperClient, &mut Effects<SessionEffect>) -> Vec<Event<Question>>,
    ) -> Vec<Event<Question>> {
        fx.scope(|fx| run(self, fx), translate)
    }

    fn ask(&mut self, now: Now, op: Op, what: Asked, fx: &mut Effects<Effect>) {
        let question = Question { what, since: now.at };
        fx.scope(|fx| self.session.ask(now, op, question, fx), translate);
    }

    fn on_events(&mut self, now: Now, events: Vec<Event<Question>>, fx: &mut Effects<Effect>) {
        for event in events {
            match event {
                Event::Connected { session, new: true } => {
                    fx.note(ClientNote::SessionOpened { session });
                    self.ask(now, Op::create(ROOT, None, CreateMode::Persistent), Asked::Root, fx);
                }
                Event::Connected { .. } | Event::Disconnected => {}
                Event::Expired { session } => {
                    fx.note(ClientNote::SessionLost { session });
                    self.within(fx, |client, fx| {
                        client.session.start(now, fx);
                        Vec::new()
                    });
                }
                Event::Watch { kind, path } => self.on_watch(now, kind, path, fx),
                Event::Reply { token, answer } => {
                    let zxid = self.session.last_zxid();
                    self.on_reply(now, token.what, zxid, answer, fx);
                }
            }
        }
    }

    fn on_watch(&mut self, now: Now, kind: WatchKind, path: Arc<str>, fx: &mut Effects<Effect>) {
        if let Some(session) = self.session.session() {
            let event = match kind {
                WatchKind::Created => 1,
                WatchKind::Deleted => 2,
                WatchKind::DataChanged => 3,
                WatchKind::ChildrenChanged => 4,
            };
            let zxid = self.session.last_zxid();
            fx.note(ClientNote::Watched { session, path: path.clone(), event, zxid });
        }
        if self.rng.chance(1, 2) {
            self.read(now, path, true, fx);
        }
    }

    fn read(&mut self, now: Now, path: Arc<str>, watch: bool, fx: &mut Effects<Effect>) {
        self.ask(now, Op::Get { path: path.clone(), watch }, Asked::Read { path, watch }, fx);
    }

    fn on_reply(&mut self, now: Now, asked: Asked, zxid: Zxid, answer: Answer, fx: &mut Effects<Effect>) {
        let Some(session) = self.session.session() else { return };
        let unknown = matches!(answer, Err(KeeperError::CONNECTIONLOSS | KeeperError::SESSIONEXPIRED));
        match (asked, answer) {
            (Asked::Root, _) => {}
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
            (Asked::Set { path, value }, Ok(Done::Stat(stat))) => {
                if let Some(owned) = self.owned.iter_mut().find(|(owned, _)| *owned == path) {
                    owned.1 = stat.version;
                }
                self.wrote(session, path, Some(value), stat.version, zxid, fx);
            }
            (Asked::Delete { path }, Ok(_)) => {
                self.owned.retain(|(owned, _)| *owned != path);
                self.wrote(session, path, None, -1, zxid, fx);
            }
            (Asked::Create { path, .. } | Asked::Set { path, .. } | Asked::Delete { path }, _) => {
                // Refused: somebody else's version, or it is there already, or gone with its session.
                self.failed += 1;
                self.owned.retain(|(owned, _)| *owned != path);
                self.read(now, path, false, fx);
            }
            (Asked::Read { path, watch }, Ok(Done::Data { data, stat })) => {
                let value = data.as_deref().and_then(|data| data.first_chunk::<8>().copied()).map(u64::from_be_bytes);
                self.unsure.retain(|unsure| *unsure != path);
                if let Some(owned) = self.owned.iter_mut().find(|(owned, _)| *owned == path) {
                    owned.1 = stat.version;
                }
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
            (Asked::Read { .. }, _) => {}
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

    /// One write, or a read of somebody's node, or a new session.
    fn act(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if let Some(path) = self.unsure.pop() {
            self.read(now, path, false, fx);
            return;
        }
        let value = self.next_value;
        self.next_value += 1;
        match self.rng.below(16) {
            0..5 if self.owned.len() < OWNED => self.create(now, value, fx),
            0..11 if !self.owned.is_empty() => {
                let (path, version) = self.owned[self.rng.below(self.owned.len() as u64) as usize].clone();
                let version = if self.rng.chance(1, 3) { -1 } else { version };
                let data = Bytes::copy_from_slice(&value.to_be_bytes());
                self.ask(
                    now,
                    Op::Set { path: path.clone(), data: Some(data), version },
                    Asked::Set { path, value },
                    fx,
                );
            }
            11 if !self.owned.is_empty() => {
                let (path, _) = self.owned.swap_remove(self.rng.below(self.owned.len() as u64) as usize);
                self.ask(now, Op::delete(&path, -1), Asked::Delete { path }, fx);
            }
            12 if self.rng.chance(1, 8) => {
                let events = self.within(fx, |client, fx| {
                    client.session.close(now, fx);
                    Vec::new()
                });
                self.on_events(now, events, fx);
                self.owned.clear();
                self.between_sessions = true;
            }
            _ => {
                // Somebody's counter: every client makes this one.
                let path: Arc<str> = format!("{ROOT}/c{}-0", self.rng.range(1, 12)).into();
                self.read(now, path, true, fx);
            }
        }
    }

    fn create(&mut self, now: Now, value: u64, fx: &mut Effects<Effect>) {
        let number = self.config.number;
        let (name, mode) = match self.rng.below(4) {
            0 => (format!("{ROOT}/c{number}-{}", self.rng.below(3)), CreateMode::Persistent),
            1 => (format!("{ROOT}/e{number}-{value}"), CreateMode::Ephemeral),
            2 => (format!("{ROOT}/s{number}-"), CreateMode::PersistentSequential),
            _ => (format!("{ROOT}/q{number}-"), CreateMode::EphemeralSequential),
        };
        let path: Arc<str> = name.into();
        let data = Bytes::copy_from_slice(&value.to_be_bytes());
        self.ask(now, Op::Create { path: path.clone(), data: Some(data), mode }, Asked::Create { path, value }, fx);
    }
}

fn translate(effect: SessionEffect) -> Effect {
    match effect {
        SessionEffect::Dial { dial, to } => Effect::Dial { dial, to },
        SessionEffect::HangupDial { dial } => Effect::HangupDial { dial },
        SessionEffect::Ask { dial, say } => Effect::Ask {
            dial,
            request: Request {
                listener: 0,
                principal: Principal::Anonymous,
                body: RequestBody::Keeper(speech::request(say)),
            },
        },
    }
}
