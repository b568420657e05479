//! One client's connection: who it is, and what waits behind its own writes so that replies leave in the order of the
//! requests (protocol.md A.5). Knows neither tree nor ensemble.

use crate::api::keeper::{ErrorCode, Op};
use crate::id::SessionId;
use crate::queue::Queue;
use crate::znode::Id;
use std::sync::Arc;

/// Whom one connection may prove to be.
const IDENTITIES: usize = 100;

/// A connection, from its first request on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    pub standing: Standing,
    /// 0 until it has asked for one.
    pub session: SessionId,
    /// As negotiated.
    pub timeout_ms: i32,
    /// Whether its first record said anything about read-only service; the answer has the byte only then.
    pub read_only: Option<bool>,
    /// Whom it has proved to be.
    pub auth: Vec<Id>,
    /// What is not answered yet, in order. The first is always something that waits for the leader.
    pub(super) waiting: Queue<Waiting>,
    /// Sent before the session was there.
    pub(super) early: Vec<(i32, Op)>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It has not said who it is.
    Fresh,
    /// Its createSession is under way, or the leader is asked whether its session still lives.
    Opening,
    Open,
}

/// A request that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Waiting {
    /// Answered when its transaction is applied here.
    Write {
        xid: i32,
    },
    /// Answered when the leader says that we have what it had committed.
    Sync {
        xid: i32,
        path: Arc<str>,
    },
    Read {
        xid: i32,
        op: Op,
    },
    Refused {
        xid: i32,
        err: ErrorCode,
    },
}

impl Waiting {
    /// Can it be answered here as soon as it is first?
    pub(super) fn is_local(&self) -> bool {
        match self {
            Waiting::Write { .. } | Waiting::Sync { .. } => false,
            Waiting::Read { .. } | Waiting::Refused { .. } => true,
        }
    }
}

impl Connection {
    pub(super) fn new(auth: Vec<Id>) -> Connection {
        Connection {
            standing: Standing::Fresh,
            session: SessionId(0),
            timeout_ms: 0,
            read_only: None,
            auth,
            waiting: Queue::new(),
            early: Vec::new(),
        }
    }

    /// Requests not answered yet.
    pub fn outstanding(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Takes the first out if it is the write called `xid`.
    pub(super) fn take_write(&mut self, xid: i32) -> bool {
        let is_it = matches!(self.waiting.front(), Some(Waiting::Write { xid: first }) if *first == xid);
        if is_it {
            self.waiting.pop_front();
        }
        is_it
    }

    /// Takes the first out if it can be answered here.
    pub(super) fn take_local(&mut self) -> Option<Waiting> {
        if self.waiting.front()?.is_local() { self.waiting.pop_front() } else { None }
    }

    /// It has proved to be `id` as well. Returns whether that is kept: each of its writes carries whom it is.
    pub(super) fn prove(&mut self, id: Id) -> bool {
        if !self.auth.contains(&id) && self.auth.len() < IDENTITIES {
            self.auth.push(id);
            return true;
        }
        self.auth.contains(&id)
    }

    /// The writes that are not answered yet, oldest first.
    pub(super) fn writes(&self) -> impl Iterator<Item = i32> {
        self.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Write { xid } => Some(*xid),
            Waiting::Sync { .. } | Waiting::Read { .. } | Waiting::Refused { .. } => None,
        })
    }
}
