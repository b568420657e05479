//! A ZooKeeper client with a life of its own: counters it owns and writes by version, ephemeral and sequential nodes,
//! multis, access lists, reads and watches on what others write, and now and then a new session. [`acts`] draws what it
//! does, [`told`] says what it was told, so that a checker can compare the histories of all clients. It knows nothing of
//! brokers.

mod acts;
mod told;

use crate::id::{DialId, NodeId, SessionId};
use crate::keeper::client::op::{CreateMode, Event, Op, WatchKind};
use crate::keeper::client::{ClientConfig, Effect as SessionEffect, SessionClient, speech};
use crate::machine::Effects;
use crate::node::{Address, Effect, Principal, Reply, Request, RequestBody};
use crate::note::client::ClientNote;
use crate::rng::Rng;
use crate::time::{Instant, Now, Span, Wake};
use crate::znode::AclList;
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
enum Asked {
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
    Check,
    /// Of the four above.
    Multi(Vec<Asked>),
    SetAcl {
        path: Arc<str>,
        acl: AclList,
    },
    Acl {
        path: Arc<str>,
    },
    /// `watch`: its next change is to be told.
    Read {
        path: Arc<str>,
        watch: bool,
    },
    Exists {
        path: Arc<str>,
        watch: bool,
    },
    Children {
        path: Arc<str>,
        watch: bool,
    },
    Sync,
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
    /// A node it has seen somebody's parent have.
    neighbour: Option<Arc<str>>,
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
        let mut wanted = ClientConfig::new(config.keepers.clone(), config.session);
        wanted.auth.push(("digest".to_owned(), credentials(config.number).into()));
        KeeperClient {
            session: SessionClient::new(wanted, rng.fork("session")),
            next_write_at: now.at + config.every,
            next_value: u64::from(config.number) << 40,
            rng: rng.fork("workload"),
            config,
            owned: Vec::new(),
            unsure: Vec::new(),
            neighbour: None,
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

    /// The keeper it speaks to, or tries.
    pub fn keeper(&self) -> Option<NodeId> {
        NodeId::parse(&self.session.address()?.host)
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
        if self.busy && self.rng.chance(1, 2) {
            self.read(now, path, true, fx);
        }
    }
}

/// What a client of this number proves its name with.
fn credentials(number: u32) -> String {
    format!("client-{number}:secret")
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
