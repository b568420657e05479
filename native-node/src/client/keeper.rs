//! A session with the ensemble: one after another keeper is tried, watches are armed again, the session is kept alive.
//! What is asked is answered in order, and as many questions as one likes may be under way.
//!
//! Around the core's [`SessionClient`], which decides all of that, this puts sockets and a clock. It repeats nothing: a
//! question that was under way when a connection broke is answered CONNECTIONLOSS, which means *unknown*.

mod actor;
mod link;
mod word;

pub use word::four_letter_word;

use super::Error;
use actor::Asked;
use bytes::Bytes;
use glasshouse_core::id::{SessionId, Zxid};
use glasshouse_core::keeper::client::op::{Answer, CreateMode, Done, KeeperError, Op, WatchKind};
use glasshouse_core::node::Address;
use glasshouse_core::znode::acl::AclList;
use glasshouse_core::znode::stat::Stat;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// How a session is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is asked for; the leader may grant another.
    pub session_timeout: Duration,
    /// For the session to come about.
    pub connect_timeout: Duration,
    /// For one answer. The question may be carried out all the same.
    pub request_timeout: Duration,
    /// Questions under way at once; more wait here.
    pub in_flight: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            session_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            in_flight: 200,
        }
    }
}

/// What a session tells whoever listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `new`: it is not the session that was there before.
    Connected { session: SessionId, new: bool },
    /// The next keeper is tried.
    Disconnected,
    /// The session and its ephemerals are gone; whatever is asked from now on is answered SESSIONEXPIRED.
    Expired { session: SessionId },
    /// A watch fired; it fires once.
    Watch { kind: WatchKind, path: Arc<str> },
}

/// An answer, and what the keeper had applied by then: for a write, its own zxid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub zxid: Zxid,
    pub answer: Answer,
}

/// A session; cheap to clone. It is closed by [`Session::close`], and lapses some time after the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Session {
    asked: mpsc::UnboundedSender<Asked>,
    events: broadcast::Sender<Event>,
    addresses: Arc<[Address]>,
    settings: Arc<Settings>,
}

/// Whether one of them, at least, is a keeper: without a quorum it says so to `srvr`.
async fn some_keeper(addresses: &[Address]) -> bool {
    let limit = Duration::from_millis(500);
    let asked = addresses.iter().map(|address| four_letter_word(address, b"srvr", limit));
    let answers = futures_util::future::join_all(asked).await;
    answers.iter().flatten().any(|answer| answer.to_ascii_lowercase().contains("zookeeper"))
}

/// Events that wait for a listener who is slow; the oldest go first.
const EVENTS: usize = 1024;

impl Session {
    /// Begins a session.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: at once if nothing listens anywhere, otherwise when the time is up.
    pub async fn connect(addresses: Vec<Address>, settings: Settings) -> Result<Session, Error> {
        let (asked, questions) = mpsc::unbounded_channel();
        let (ready, established) = oneshot::channel();
        let events = broadcast::Sender::new(EVENTS);
        let limit = settings.connect_timeout;
        tokio::spawn(actor::run(addresses.clone(), settings.clone(), questions, events.clone(), ready));
        let unreachable = |why: String| Error::Unreachable { address: super::join(&addresses), why };
        match tokio::time::timeout(limit, established).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(why))) => return Err(unreachable(why)),
            Ok(Err(_)) => return Err(unreachable("the session ended before it began".into())),
            Err(_) => {
                let question = match some_keeper(&addresses).await {
                    true => "has it a quorum?",
                    false => "nobody there answers as a keeper does: is that ZooKeeper's port?",
                };
                return Err(unreachable(format!("no keeper opens a session within {limit:?}; {question}")));
            }
        }
        Ok(Session { asked, events, addresses: addresses.into(), settings: Arc::new(settings) })
    }

    /// What happens from now on. A listener that falls far behind misses the oldest events.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Where its keepers are.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Asks at once; questions are carried out in the order of these calls. The answer need not be awaited.
    pub fn ask(&self, op: Op) -> impl Future<Output = Answered> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let queued = self.asked.send(Asked::Op { op, answer }).is_ok();
        let limit = self.settings.request_timeout;
        async move {
            let lost = Answered { zxid: Zxid::ZERO, answer: Err(KeeperError::CONNECTIONLOSS) };
            match queued {
                true => tokio::time::timeout(limit, answered).await.ok().and_then(Result::ok).unwrap_or(lost),
                false => Answered { answer: Err(KeeperError::SESSIONEXPIRED), ..lost },
            }
        }
    }

    /// As [`ask`](Session::ask), with the error as a sentence.
    async fn done(&self, op: Op, what: &str) -> Result<Done, Error> {
        let answered = self.ask(op).await;
        answered.answer.map_err(|code| Error::Keeper { what: what.to_owned(), code })
    }

    /// A read, again on another connection if one breaks. Watches are set by the read that succeeds.
    async fn read(&self, op: Op, what: &str) -> Result<Done, Error> {
        let deadline = tokio::time::Instant::now() + self.settings.request_timeout;
        loop {
            match self.done(op.clone(), what).await {
                Err(Error::Keeper { code: KeeperError::CONNECTIONLOSS, .. })
                    if tokio::time::Instant::now() < deadline => {}
                answer => return answer,
            }
        }
    }

    /// Makes a node; the path as it became, which a sequential node completes.
    ///
    /// # Errors
    /// [`Error::Keeper`], as for all that follow: with NONODE, BADVERSION and so on, or CONNECTIONLOSS, which means
    /// *unknown*.
    pub async fn create(&self, path: &str, data: Option<Bytes>, mode: CreateMode) -> Result<Arc<str>, Error> {
        match self.done(Op::create(path, data, mode), path).await? {
            Done::Created { path } => Ok(path),
            _ => Ok(path.into()),
        }
    }

    /// Makes a node and whatever is missing above it; that it is there already is no error.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn create_all(&self, path: &str, data: Option<Bytes>) -> Result<(), Error> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            let data = if end == path.len() { data.clone() } else { None };
            match self.create(&path[..end], data, CreateMode::Persistent).await {
                Ok(_) | Err(Error::Keeper { code: KeeperError::NODEEXISTS, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Data and stat.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn get(&self, path: &str, watch: bool) -> Result<(Option<Bytes>, Stat), Error> {
        match self.read(Op::get(path, watch), path).await? {
            Done::Data { data, stat } => Ok((data, stat)),
            other => Ok((None, other.stat().copied().unwrap_or_default())),
        }
    }

    /// The stat, if the node is there.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn exists(&self, path: &str, watch: bool) -> Result<Option<Stat>, Error> {
        match self.read(Op::exists(path, watch), path).await {
            Ok(done) => Ok(done.stat().copied()),
            Err(Error::Keeper { code: KeeperError::NONODE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of the children, sorted.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn children(&self, path: &str, watch: bool) -> Result<Vec<Arc<str>>, Error> {
        match self.read(Op::children(path, watch), path).await? {
            Done::Children { mut names, .. } => {
                names.sort();
                Ok(names)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Writes; version −1 is any. The stat as it became.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn set(&self, path: &str, data: Bytes, version: i32) -> Result<Stat, Error> {
        let done = self.done(Op::set(path, data, version), path).await?;
        Ok(done.stat().copied().unwrap_or_default())
    }

    /// Who may do what with a node, and its stat.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn acl(&self, path: &str) -> Result<(AclList, Stat), Error> {
        match self.read(Op::GetAcl { path: path.into() }, path).await? {
            Done::Acl { acl, stat } => Ok((acl, stat)),
            other => unreachable!("getACL is answered with {other:?}"),
        }
    }

    /// Replaces that; version −1 is any. The stat as it became.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn set_acl(&self, path: &str, acl: AclList, version: i32) -> Result<Stat, Error> {
        let done = self.done(Op::SetAcl { path: path.into(), acl, version }, path).await?;
        Ok(done.stat().copied().unwrap_or_default())
    }

    /// Deletes a node without children; version −1 is any.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        self.done(Op::delete(path, version), path).await.map(drop)
    }

    /// Lets the keeper catch up with the leader: what is read next is at least as new as this call.
    ///
    /// # Errors
    /// [`Error::Keeper`].
    pub async fn sync(&self, path: &str) -> Result<(), Error> {
        self.read(Op::Sync { path: path.into() }, path).await.map(drop)
    }

    /// Ends the session in order: its ephemerals are gone on return, unless the ensemble does not answer.
    pub async fn close(self) {
        let (closed, done) = oneshot::channel();
        if self.asked.send(Asked::Close { closed }).is_ok() {
            let _best_effort = tokio::time::timeout(self.settings.request_timeout, done).await;
        }
    }
}
