//! A ZooKeeper client of a load: nodes that it alone writes, some ephemeral, some numbered; reads of everybody's nodes;
//! several questions under way at once; and now and then a session that it closes, or loses.

use super::book::Book;
use bytes::Bytes;
use glasshouse_core::id::{NodeId, SessionId, Zxid};
use glasshouse_core::keeper::client::op::{CreateMode, Done, KeeperError, Op};
use glasshouse_core::node::Address;
use glasshouse_core::note::client::ClientNote;
use glasshouse_core::rng::Rng;
use glasshouse_node::client::keeper::{Answered, Session, Settings};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The parent of everything these clients write; the histories look at nothing else.
pub const ROOT: &str = "/app";
/// Nodes one client keeps.
const OWNED: usize = 6;
/// Questions of one client under way.
const IN_FLIGHT: usize = 8;

/// One of these clients, as it is to be.
#[derive(Clone, Debug)]
pub struct Keeping {
    pub client: NodeId,
    /// Makes its paths and values its own.
    pub number: u32,
    pub every: Duration,
    pub session: Duration,
    pub rng: Rng,
}

/// What was asked.
#[derive(Clone, Debug)]
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
    /// Several of one's own, or none.
    SetAll(Vec<(Arc<str>, u64)>),
    Delete {
        path: Arc<str>,
    },
    Read {
        path: Arc<str>,
    },
}

type Awaited = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// One session's worth of it.
struct Life {
    how: Keeping,
    book: Arc<Book>,
    session: Session,
    /// Tells the sessions of all clients apart; the ensemble's own number is not needed.
    name: SessionId,
    waiting: VecDeque<(Asked, Awaited)>,
    /// Nodes it made and may write again: path and the version it last knew.
    owned: Vec<(Arc<str>, i32)>,
    /// The outcome of the last write to a node is unknown: read it before the next.
    unsure: Vec<Arc<str>>,
    next_value: u64,
    expired: bool,
}

/// How a session ended.
enum Ended {
    Stopped,
    Lost,
    Closed,
}

/// Lives until `stop` says so, and then until everything it asked is answered.
pub async fn keep(keepers: Vec<Address>, how: Keeping, book: Arc<Book>, mut stop: watch::Receiver<bool>) {
    let settings = Settings {
        session_timeout: how.session,
        connect_timeout: Duration::from_secs(3),
        request_timeout: Duration::from_secs(20),
        in_flight: IN_FLIGHT as u32,
    };
    let (mut lives, mut next_value, mut rng) = (0, u64::from(how.number) << 40, how.rng.clone());
    while !*stop.borrow() {
        let Ok(session) = Session::connect(keepers.clone(), settings.clone()).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        lives += 1;
        let name = SessionId((i64::from(how.number) << 32) + lives);
        book.note(how.client, ClientNote::SessionOpened { session: name });
        let mut life = Life {
            how: Keeping { rng: rng.clone(), ..how.clone() },
            book: book.clone(),
            session,
            name,
            waiting: VecDeque::new(),
            owned: Vec::new(),
            unsure: Vec::new(),
            next_value,
            expired: false,
        };
        let ended = life.live(&mut stop).await;
        (next_value, rng) = (life.next_value, life.how.rng.clone());
        match ended {
            Ended::Stopped | Ended::Closed => life.session.close().await,
            Ended::Lost => book.note(how.client, ClientNote::SessionLost { session: name }),
        }
    }
}

impl Life {
    async fn live(&mut self, stop: &mut watch::Receiver<bool>) -> Ended {
        let mut clock = tokio::time::interval(self.how.every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.ask(Op::create(ROOT, None, CreateMode::Persistent), Asked::Root);
        loop {
            if self.expired {
                return Ended::Lost;
            }
            let stopped = *stop.borrow();
            if stopped && self.waiting.is_empty() {
                return Ended::Stopped;
            }
            tokio::select! {
                answered = first(&mut self.waiting), if !self.waiting.is_empty() => {
                    if let Some((asked, _)) = self.waiting.pop_front() {
                        self.on_answer(asked, answered);
                    }
                }
                _ = clock.tick(), if !stopped && self.waiting.len() < IN_FLIGHT => {
                    if self.how.rng.chance(1, 150) {
                        return self.end().await;
                    }
                    self.act();
                }
                () = super::stopped(stop), if !stopped => {}
            }
        }
    }

    /// Everything is answered before the session is closed.
    async fn end(&mut self) -> Ended {
        while let Some((asked, awaited)) = self.waiting.pop_front() {
            let answered = awaited.await;
            self.on_answer(asked, answered);
        }
        if self.expired { Ended::Lost } else { Ended::Closed }
    }

    fn ask(&mut self, op: Op, asked: Asked) {
        self.waiting.push_back((asked, Box::pin(self.session.ask(op))));
    }

    fn value(&mut self) -> (u64, Bytes) {
        self.next_value += 1;
        (self.next_value, Bytes::copy_from_slice(&self.next_value.to_be_bytes()))
    }

    /// One write, or a read of somebody's node.
    fn act(&mut self) {
        if let Some(path) = self.unsure.pop() {
            return self.read(path);
        }
        let owned = self.owned.len() as u64;
        match self.how.rng.below(16) {
            0..5 if self.owned.len() < OWNED => self.create(),
            0..9 if owned > 0 => {
                let (path, version) = self.owned[self.how.rng.below(owned) as usize].clone();
                let version = if self.how.rng.chance(1, 3) { -1 } else { version };
                let (value, data) = self.value();
                self.ask(Op::Set { path: path.clone(), data: Some(data), version }, Asked::Set { path, value });
            }
            9..11 if owned > 1 => self.set_all(),
            11 if owned > 0 => {
                let (path, _) = self.owned.swap_remove(self.how.rng.below(owned) as usize);
                self.ask(Op::delete(&path, -1), Asked::Delete { path });
            }
            _ => {
                // Somebody's counter: every client makes these.
                let path = format!("{ROOT}/c{}-{}", self.how.rng.range(1, 8), self.how.rng.below(3));
                self.read(path.into());
            }
        }
    }

    fn read(&mut self, path: Arc<str>) {
        self.ask(Op::get(&path, false), Asked::Read { path });
    }

    fn create(&mut self) {
        let number = self.how.number;
        let (value, data) = self.value();
        let (name, mode) = match self.how.rng.below(4) {
            0 | 1 => (format!("{ROOT}/c{number}-{}", self.how.rng.below(3)), CreateMode::Persistent),
            2 => (format!("{ROOT}/e{number}-{value}"), CreateMode::Ephemeral),
            _ => (format!("{ROOT}/q{number}-"), CreateMode::EphemeralSequential),
        };
        self.ask(Op::create(&name, Some(data), mode), Asked::Create { path: name.into(), value });
    }

    fn set_all(&mut self) {
        let (mut ops, mut writes) = (Vec::new(), Vec::new());
        for (path, _) in self.owned.clone().into_iter().take(2) {
            let (value, data) = self.value();
            ops.push(Op::set(&path, data, -1));
            writes.push((path, value));
        }
        self.ask(Op::Multi(ops), Asked::SetAll(writes));
    }

    fn on_answer(&mut self, asked: Asked, Answered { zxid, answer }: Answered) {
        let lost = matches!(answer, Err(KeeperError::CONNECTIONLOSS | KeeperError::SESSIONEXPIRED));
        self.expired |= answer == Err(KeeperError::SESSIONEXPIRED);
        match (asked, answer) {
            (Asked::Root, _) => {}
            (Asked::Create { path, value } | Asked::Set { path, value }, Err(_)) if lost => {
                self.unknown(path, Some(value));
            }
            (Asked::SetAll(writes), Err(_)) if lost => {
                writes.into_iter().for_each(|(path, value)| self.unknown(path, Some(value)));
            }
            (Asked::Delete { path }, Err(_)) if lost => self.unknown(path, None),
            (Asked::Create { value, .. }, Ok(Done::Created { path })) => {
                self.owned.push((path.clone(), 0));
                self.wrote(path, Some(value), 0, zxid);
            }
            (Asked::Set { path, value }, Ok(Done::Stat(stat))) => {
                self.knows(&path, stat.version);
                self.wrote(path, Some(value), stat.version, zxid);
            }
            (Asked::SetAll(writes), Ok(Done::Multi(parts))) if parts.iter().all(Result::is_ok) => {
                for ((path, value), part) in writes.into_iter().zip(parts) {
                    if let Ok(Done::Stat(stat)) = part {
                        self.knows(&path, stat.version);
                        self.wrote(path, Some(value), stat.version, zxid);
                    }
                }
            }
            (Asked::Delete { path }, Ok(_)) => {
                self.owned.retain(|(owned, _)| *owned != path);
                self.wrote(path, None, -1, zxid);
            }
            // Refused: another version, or it is there already, or gone with its session.
            (Asked::Create { path, .. } | Asked::Set { path, .. } | Asked::Delete { path }, _) => {
                self.owned.retain(|(owned, _)| *owned != path);
                self.unsure.push(path);
            }
            (Asked::SetAll(writes), _) => self.unsure.extend(writes.into_iter().map(|(path, _)| path)),
            (Asked::Read { path }, Ok(Done::Data { data, stat })) => {
                let data = data.and_then(|data| data.first_chunk::<8>().copied()).map(u64::from_be_bytes);
                self.knows(&path, stat.version);
                let (version, modified) = (stat.version, stat.mzxid);
                self.note(ClientNote::Saw {
                    session: self.name,
                    path,
                    data,
                    version,
                    modified,
                    seen: zxid,
                    watch: false,
                });
            }
            (Asked::Read { path }, Err(KeeperError::NONODE)) => {
                self.owned.retain(|(owned, _)| *owned != path);
                let (version, modified) = (-1, Zxid::ZERO);
                self.note(ClientNote::Saw {
                    session: self.name,
                    path,
                    data: None,
                    version,
                    modified,
                    seen: zxid,
                    watch: false,
                });
            }
            (Asked::Read { .. }, _) => {}
        }
    }

    fn note(&self, note: ClientNote) {
        self.book.note(self.how.client, note);
    }

    fn knows(&mut self, path: &Arc<str>, version: i32) {
        if let Some(owned) = self.owned.iter_mut().find(|(owned, _)| owned == path) {
            owned.1 = version;
        }
    }

    fn unknown(&mut self, path: Arc<str>, data: Option<u64>) {
        self.unsure.push(path.clone());
        self.note(ClientNote::WriteUnknown { session: self.name, path, data });
    }

    fn wrote(&mut self, path: Arc<str>, data: Option<u64>, version: i32, zxid: Zxid) {
        self.note(ClientNote::Wrote { session: self.name, path, data, version, zxid });
    }
}

/// The answer that comes next; there is one to wait for.
async fn first(waiting: &mut VecDeque<(Asked, Awaited)>) -> Answered {
    match waiting.front_mut() {
        Some((_, awaited)) => awaited.as_mut().await,
        None => std::future::pending().await,
    }
}
