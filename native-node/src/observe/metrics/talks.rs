//! What is said between a keeper and each of its clients: how many packets, how large the answers are, and how long
//! they take, from when the machine hears a request until its answer leaves.

use crate::observe::spans::Spans;
use glasshouse_core::api::keeper::{ErrorCode, Op, Reply, Request};
use glasshouse_core::id::{ConnId, SessionId};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Questions of one client that are remembered; who asks more and is never answered is not measured.
const OPEN: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Talks {
    talks: BTreeMap<ConnId, Talk>,
    /// As ZooKeeper parts them: a ping reads, and who begins a session writes.
    pub reads: Spans,
    pub updates: Spans,
    /// Of answers, in bytes.
    pub answers: Sizes,
    pub auth_failed: u64,
}

/// One client, since it connected.
#[derive(Debug)]
pub struct Talk {
    pub peer: SocketAddr,
    pub received: u64,
    pub sent: u64,
    /// The word it said, if it said one.
    pub word: Option<[u8; 4]>,
    open: VecDeque<Asked>,
}

#[derive(Debug)]
struct Asked {
    /// `None`: the session.
    xid: Option<i32>,
    writes: bool,
    at: Instant,
}

/// The last, the smallest and the largest of some bytes; as ZooKeeper does, -1 of none.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub last: i64,
    pub smallest: i64,
    pub largest: i64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { last: -1, smallest: -1, largest: -1 }
    }
}

impl Sizes {
    pub fn add(&mut self, bytes: usize) {
        self.last = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.smallest = if self.smallest < 0 { self.last } else { self.smallest.min(self.last) };
        self.largest = self.largest.max(self.last);
    }
}

impl Talks {
    pub fn connected(&mut self, conn: ConnId, peer: SocketAddr) {
        self.talks.insert(conn, Talk { peer, received: 0, sent: 0, word: None, open: VecDeque::new() });
    }

    pub fn gone(&mut self, conn: ConnId) {
        self.talks.remove(&conn);
    }

    /// Whoever is connected, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Talk)> {
        self.talks.iter().map(|(conn, talk)| (*conn, talk))
    }

    pub fn word_of(&self, conn: ConnId) -> Option<[u8; 4]> {
        self.talks.get(&conn)?.word
    }

    pub fn heard(&mut self, conn: ConnId, request: &Request) {
        let Some(talk) = self.talks.get_mut(&conn) else { return };
        talk.received += 1;
        let (xid, writes) = match request {
            Request::FourLetter(word) => {
                talk.word = Some(*word);
                return;
            }
            // To come back to a session is no transaction.
            Request::Connect(connect) if connect.session == SessionId(0) => (None, true),
            // Neither is what is not carried out.
            Request::Op { op: Op::Auth { .. }, .. } | Request::Connect(_) | Request::Undecodable { .. } => return,
            Request::Op { xid, op } => (Some(*xid), op.is_write()),
        };
        if talk.open.len() == OPEN {
            talk.open.pop_front();
        }
        talk.open.push_back(Asked { xid, writes, at: Instant::now() });
    }

    /// A reply of so many bytes leaves.
    pub fn replied(&mut self, conn: ConnId, reply: &Reply, bytes: usize) {
        let Some(talk) = self.talks.get_mut(&conn) else { return };
        talk.sent += 1;
        let xid = match reply {
            Reply::Connected(_) => None,
            Reply::Answer { xid, err, .. } => {
                self.auth_failed += u64::from(*err == ErrorCode::AuthFailed);
                self.answers.add(bytes);
                Some(*xid)
            }
            Reply::Event(_) | Reply::Text(_) => return,
        };
        let at = talk.open.iter().position(|asked| asked.xid == xid);
        if let Some(asked) = at.and_then(|at| talk.open.remove(at)) {
            let times = if asked.writes { &mut self.updates } else { &mut self.reads };
            times.add(asked.at.elapsed());
        }
    }

    /// The least, the mean and the longest time of all answers, in milliseconds: the first is rounded down, the last up.
    pub fn latency(&self) -> (u128, f64, u128) {
        let both = [&self.reads, &self.updates].into_iter().filter(|spans| spans.count > 0);
        let least = both.clone().map(|spans| spans.shortest).min().unwrap_or_default();
        let longest = both.clone().map(|spans| spans.longest).max().unwrap_or_default();
        let (sum, count) = both.fold((Duration::ZERO, 0), |(sum, count), one| (sum + one.sum, count + one.count));
        (least.as_millis(), mean(sum, count), longest.as_micros().div_ceil(1000))
    }
}

/// In milliseconds, with four digits behind the point; zero of none.
pub fn mean(sum: Duration, count: u64) -> f64 {
    (sum.as_secs_f64() * 1e7 / count.max(1) as f64).round() / 1e4
}
