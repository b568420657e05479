//! The client's side of a ZooKeeper session: the only way brokers, the controller, the CLI and the page reach the
//! ensemble (protocol.md B.6, B.7).
//!
//! It dials one keeper after another, keeps the session alive, matches replies to questions by their order, arms
//! watches again on a new connection and notices expiry. It does not know what is asked, and repeats nothing: a question
//! under way when the connection breaks is answered CONNECTIONLOSS, which means *unknown outcome*.

pub mod op;
pub mod speech;

use crate::id::{DialId, SessionId, Zxid};
use crate::machine::Effects;
use crate::node::Address;
use crate::ordered::OrdSet;
use crate::queue::Queue;
use crate::rng::Rng;
use crate::time::{Instant, Now, Span, Wake};
use bytes::Bytes;
use op::{Answer, Done, Event, KeeperError, Op, WatchKind};
use std::sync::Arc;

/// The most bytes of paths in one setWatches; more are split (B.6).
const WATCHES_PER_REQUEST: usize = 128 * 1024;
/// A connection that sends nothing for this long pings, however long its session may be.
const PING_AT_MOST: Span = Span::secs(10);

/// How a client reaches its ensemble.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientConfig {
    pub addresses: Vec<Address>,
    /// What is asked for; the leader may grant another.
    pub session_timeout: Span,
    /// (scheme, credentials), sent on every new connection.
    pub auth: Vec<(String, Bytes)>,
    /// Questions under way at most (Kafka's `zookeeper.max.in.flight.requests`).
    pub in_flight: u32,
    /// Number of the first dial, so that several clients of one node do not share numbers.
    pub first_dial: u64,
}

impl ClientConfig {
    pub fn new(addresses: Vec<Address>, session_timeout: Span) -> ClientConfig {
        ClientConfig { addresses, session_timeout, auth: Vec::new(), in_flight: 10, first_dial: 1 }
    }
}

/// What a client says on its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Say {
    Connect { last_zxid: Zxid, timeout: Span, session: SessionId, password: [u8; 16] },
    Auth { scheme: String, credentials: Bytes },
    Ping,
    SetWatches { relative: Zxid, data: Vec<Arc<str>>, exist: Vec<Arc<str>>, child: Vec<Arc<str>> },
    Op { xid: i32, op: Op },
    CloseSession { xid: i32 },
}

/// What it hears.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Heard {
    /// `timeout` zero: the session is gone.
    Connected {
        timeout: Span,
        session: SessionId,
        password: [u8; 16],
    },
    /// The answer to a ping, to setWatches, or to an auth that was accepted.
    Alive,
    AuthFailed,
    Watch {
        kind: WatchKind,
        path: Arc<str>,
    },
    Reply {
        xid: i32,
        zxid: Zxid,
        answer: Answer,
    },
}

/// What the client asks of the node it lives in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Dial { dial: DialId, to: Address },
    Ask { dial: DialId, say: Say },
    HangupDial { dial: DialId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    /// No session is wanted: not started, expired or closed.
    Idle,
    /// The next keeper is dialled at this moment.
    Resting {
        until: Instant,
    },
    /// Dialled, or connected and waiting for the answer to the ConnectRequest.
    Greeting {
        dial: DialId,
        give_up: Instant,
    },
    Open {
        dial: DialId,
    },
    /// closeSession is sent.
    Closing {
        dial: DialId,
        give_up: Instant,
    },
}

/// Paths this session waits for, as the keeper has them too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Watches {
    data: OrdSet<Arc<str>>,
    exist: OrdSet<Arc<str>>,
    child: OrdSet<Arc<str>>,
}

/// One session after another, each over one connection after another. `T` is the caller's name of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionClient<T> {
    config: ClientConfig,
    /// Draws the order of addresses and the rest before dialling again.
    rng: Rng,
    /// The addresses in the order they are tried; the next is `order[next_host]`.
    order: Vec<u32>,
    next_host: u32,
    next_dial: u64,
    link: Link,

    // The session. Zero before there is one.
    session: SessionId,
    password: [u8; 16],
    timeout: Span,
    /// The newest zxid an ordinary reply carried: no keeper behind it may serve us.
    last_zxid: Zxid,
    watches: Watches,

    // The connection.
    next_xid: i32,
    queued: Queue<(T, Op)>,
    flying: Queue<(i32, T, Op)>,
    heard_at: Instant,
    sent_at: Instant,
    /// Since when an established session has been without a connection.
    alone_since: Option<Instant>,
}

impl<T: Clone> SessionClient<T> {
    pub fn new(config: ClientConfig, mut rng: Rng) -> SessionClient<T> {
        let mut order: Vec<u32> = (0..config.addresses.len() as u32).collect();
        rng.shuffle(&mut order);
        SessionClient {
            rng,
            order,
            next_host: 0,
            next_dial: config.first_dial,
            link: Link::Idle,
            session: SessionId(0),
            password: [0; 16],
            timeout: config.session_timeout,
            last_zxid: Zxid::ZERO,
            watches: Watches::default(),
            next_xid: 1,
            queued: Queue::new(),
            flying: Queue::new(),
            heard_at: Instant::ZERO,
            sent_at: Instant::ZERO,
            alone_since: None,
            config,
        }
    }

    /// The session, if one was ever established and is not known to be gone.
    pub fn session(&self) -> Option<SessionId> {
        (self.session.0 != 0).then_some(self.session)
    }

    /// The newest zxid that an ordinary reply carried; right after a reply it is that reply's.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Open { .. })
    }

    /// The keeper this client is connected to or tries.
    pub fn address(&self) -> Option<&Address> {
        let last = (self.next_host as usize + self.order.len().checked_sub(1)?) % self.order.len();
        self.config.addresses.get(self.order[last] as usize)
    }

    /// The timeout the leader granted.
    pub fn timeout(&self) -> Span {
        self.timeout
    }

    /// The name of the question that has waited longest for its answer.
    pub fn oldest(&self) -> Option<&T> {
        let flying = self.flying.front().map(|(_, token, _)| token);
        flying.or(self.queued.front().map(|(token, _)| token))
    }

    /// Questions not yet answered.
    pub fn pending(&self) -> usize {
        self.queued.len() + self.flying.len()
    }

    /// Begins a new session; the first, or the one after `Expired`. Does nothing while there is one.
    pub fn start(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if self.link != Link::Idle {
            return;
        }
        self.session = SessionId(0);
        self.password = [0; 16];
        self.timeout = self.config.session_timeout;
        self.last_zxid = Zxid::ZERO;
        self.watches = Watches::default();
        self.alone_since = None;
        self.dial(now, fx);
    }

    /// Asks; the answer comes as `Event::Reply` with `token`. Without a connection the question waits for one.
    pub fn ask(&mut self, now: Now, op: Op, token: T, fx: &mut Effects<Effect>) {
        self.queued.push_back((token, op));
        self.send_queued(now, fx);
    }

    /// Ends the session in order: its ephemerals go at once. No event follows but the replies still owed.
    pub fn close(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if let Link::Open { dial } = self.link {
            let xid = self.take_xid();
            self.say(now, dial, Say::CloseSession { xid }, fx);
            self.link = Link::Closing { dial, give_up: now.at + self.timeout / 3 };
        } else {
            self.hang_up(fx);
            self.link = Link::Idle;
        }
    }

    /// The session was closed in order, or there is none.
    pub fn is_closed(&self) -> bool {
        self.link == Link::Idle
    }

    /// Whether this dial is ours, and still wanted.
    pub fn owns(&self, dial: DialId) -> bool {
        self.current_dial() == Some(dial)
    }

    pub fn on_opened(&mut self, now: Now, dial: DialId, fx: &mut Effects<Effect>) {
        if !matches!(self.link, Link::Greeting { dial: ours, .. } if ours == dial) {
            return;
        }
        let connect = Say::Connect {
            last_zxid: self.last_zxid,
            timeout: self.config.session_timeout,
            session: self.session,
            password: self.password,
        };
        self.say(now, dial, connect, fx);
    }

    /// The connection could not be made, or is gone.
    #[must_use]
    pub fn on_hung(&mut self, now: Now, dial: DialId, _: &mut Effects<Effect>) -> Vec<Event<T>> {
        if self.current_dial() != Some(dial) {
            return Vec::new();
        }
        self.become_alone(now)
    }

    #[must_use]
    pub fn on_heard(&mut self, now: Now, dial: DialId, heard: Heard, fx: &mut Effects<Effect>) -> Vec<Event<T>> {
        if self.current_dial() != Some(dial) {
            return Vec::new();
        }
        self.heard_at = now.at;
        match heard {
            Heard::Connected { timeout, session, password } => self.on_connected(now, timeout, session, password, fx),
            Heard::Alive => Vec::new(),
            Heard::AuthFailed => {
                self.hang_up(fx);
                self.become_expired(KeeperError::AUTHFAILED)
            }
            Heard::Watch { kind, path } => {
                self.watches.fire(kind, &path);
                vec![Event::Watch { kind, path }]
            }
            Heard::Reply { xid, zxid, answer } => self.on_reply(now, xid, zxid, answer, fx),
        }
    }

    #[must_use]
    pub fn on_wake(&mut self, now: Now, fx: &mut Effects<Effect>) -> Vec<Event<T>> {
        match self.link {
            Link::Idle => Vec::new(),
            _ if self.expires_alone_at().is_some_and(|at| at <= now.at) => {
                self.hang_up(fx);
                self.become_expired(KeeperError::SESSIONEXPIRED)
            }
            Link::Resting { until } => {
                if until <= now.at {
                    self.dial(now, fx);
                }
                Vec::new()
            }
            Link::Greeting { give_up, .. } if give_up <= now.at => {
                self.hang_up(fx);
                self.become_alone(now)
            }
            Link::Closing { give_up, .. } if give_up <= now.at => {
                self.hang_up(fx);
                self.link = Link::Idle;
                self.lose_all(KeeperError::CONNECTIONLOSS)
            }
            Link::Greeting { .. } | Link::Closing { .. } => Vec::new(),
            Link::Open { .. } if self.heard_at + self.read_timeout() <= now.at => {
                self.hang_up(fx);
                self.become_alone(now)
            }
            Link::Open { dial } => {
                if self.ping_at() <= now.at {
                    self.say(now, dial, Say::Ping, fx);
                }
                Vec::new()
            }
        }
    }

    pub fn wake_at(&self) -> Option<Wake> {
        let wake = |at, why| Some(Wake { at, why });
        let next = match self.link {
            Link::Idle => None,
            Link::Resting { until } => wake(until, "dials the next keeper"),
            Link::Greeting { give_up, .. } => wake(give_up, "gives up on this keeper"),
            Link::Closing { give_up, .. } => wake(give_up, "closes without an answer"),
            Link::Open { .. } => Wake::soonest(
                wake(self.heard_at + self.read_timeout(), "hears nothing from its keeper"),
                wake(self.ping_at(), "pings its keeper"),
            ),
        };
        Wake::soonest(next, self.expires_alone_at().and_then(|at| wake(at, "gives its session up")))
    }

    fn on_connected(
        &mut self,
        now: Now,
        timeout: Span,
        session: SessionId,
        password: [u8; 16],
        fx: &mut Effects<Effect>,
    ) -> Vec<Event<T>> {
        let Link::Greeting { dial, .. } = self.link else { return Vec::new() };
        if timeout == Span::ZERO {
            self.hang_up(fx);
            return self.become_expired(KeeperError::SESSIONEXPIRED);
        }
        let new = self.session != session;
        (self.session, self.password, self.timeout) = (session, password, timeout);
        self.alone_since = None;
        self.link = Link::Open { dial };
        for (scheme, credentials) in self.config.auth.clone() {
            self.say(now, dial, Say::Auth { scheme, credentials }, fx);
        }
        for watches in self.watches.in_requests(self.last_zxid) {
            self.say(now, dial, watches, fx);
        }
        self.send_queued(now, fx);
        vec![Event::Connected { session, new }]
    }

    fn on_reply(&mut self, now: Now, xid: i32, zxid: Zxid, answer: Answer, fx: &mut Effects<Effect>) -> Vec<Event<T>> {
        let in_turn = self.flying.front().is_some_and(|(ours, _, _)| *ours == xid);
        if !in_turn {
            self.hang_up(fx);
            if matches!(self.link, Link::Closing { .. }) {
                self.link = Link::Idle;
                self.session = SessionId(0);
                return self.lose_all(KeeperError::CONNECTIONLOSS);
            }
            return self.become_alone(now);
        }
        let Some((_, token, op)) = self.flying.pop_front() else { return Vec::new() };
        if zxid > Zxid::ZERO {
            // As ZooKeeper's own client has it: whoever is told less than before will say so.
            self.last_zxid = zxid;
        }
        self.watches.arm(&op, &answer);
        self.send_queued(now, fx);
        vec![Event::Reply { token, answer }]
    }

    fn dial(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let Some(host) = self.order.get(self.next_host as usize) else { return };
        let to = self.config.addresses[*host as usize].clone();
        self.next_host = (self.next_host + 1) % self.order.len() as u32;
        let dial = DialId(self.next_dial);
        self.next_dial += 1;
        self.link = Link::Greeting { dial, give_up: now.at + self.timeout / self.order.len() as u64 };
        fx.emit(Effect::Dial { dial, to });
    }

    fn current_dial(&self) -> Option<DialId> {
        match self.link {
            Link::Idle | Link::Resting { .. } => None,
            Link::Greeting { dial, .. } | Link::Open { dial } | Link::Closing { dial, .. } => Some(dial),
        }
    }

    fn hang_up(&mut self, fx: &mut Effects<Effect>) {
        if let Some(dial) = self.current_dial() {
            fx.emit(Effect::HangupDial { dial });
        }
    }

    /// The connection is gone: what was under way has an unknown outcome, and the next keeper is tried.
    fn become_alone(&mut self, now: Now) -> Vec<Event<T>> {
        match self.link {
            Link::Closing { .. } => {
                self.link = Link::Idle;
                self.session = SessionId(0);
                self.lose_all(KeeperError::CONNECTIONLOSS)
            }
            Link::Open { .. } => {
                self.alone_since = Some(now.at);
                self.rest(now);
                let mut events = self.lose_all(KeeperError::CONNECTIONLOSS);
                events.push(Event::Disconnected);
                events
            }
            Link::Greeting { .. } => {
                self.rest(now);
                Vec::new()
            }
            Link::Idle | Link::Resting { .. } => Vec::new(),
        }
    }

    /// Up to a second, or a share of a short session, so that clients of a dead keeper do not all dial at once.
    fn rest(&mut self, now: Now) {
        let longest = Span::secs(1).min(self.timeout / (4 * self.order.len().max(1) as u64));
        self.link = Link::Resting { until: now.at + Span(self.rng.below(longest.0.max(1))) };
    }

    fn become_expired(&mut self, why: KeeperError) -> Vec<Event<T>> {
        let session = self.session;
        self.link = Link::Idle;
        self.session = SessionId(0);
        self.watches = Watches::default();
        self.alone_since = None;
        let mut events = self.lose_all(why);
        events.push(Event::Expired { session });
        events
    }

    /// Answers everything not yet answered with `why`.
    fn lose_all(&mut self, why: KeeperError) -> Vec<Event<T>> {
        let flying = self.flying.drain(..).map(|(_, token, _)| token);
        let queued = self.queued.drain(..).map(|(token, _)| token);
        flying.chain(queued).map(|token| Event::Reply { token, answer: Err(why) }).collect()
    }

    fn send_queued(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let Link::Open { dial } = self.link else { return };
        while self.flying.len() < self.config.in_flight as usize
            && let Some((token, op)) = self.queued.pop_front()
        {
            let xid = self.take_xid();
            self.say(now, dial, Say::Op { xid, op: op.clone() }, fx);
            self.flying.push_back((xid, token, op));
        }
    }

    /// Xids are positive; the negative ones have meanings of their own (B.1).
    fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        xid
    }

    fn say(&mut self, now: Now, dial: DialId, say: Say, fx: &mut Effects<Effect>) {
        if self.sent_at < now.at || matches!(say, Say::Connect { .. }) {
            self.sent_at = now.at;
        }
        if matches!(say, Say::Connect { .. }) {
            self.heard_at = now.at;
        }
        fx.emit(Effect::Ask { dial, say });
    }

    fn read_timeout(&self) -> Span {
        self.timeout * 2 / 3
    }

    /// Half the read timeout after the last word, up to a second sooner.
    fn ping_at(&self) -> Instant {
        let half = self.read_timeout() / 2;
        let early = Span::secs(1).max(half - Span::secs(1));
        self.sent_at + half.min(early).min(PING_AT_MOST)
    }

    /// A session without a connection for 4/3 of its timeout is certainly gone (ZOOKEEPER-4508).
    fn expires_alone_at(&self) -> Option<Instant> {
        self.alone_since.map(|since| since + self.timeout * 4 / 3)
    }
}

impl Watches {
    /// Remembers the watch a question set, as the keeper did when it answered.
    fn arm(&mut self, op: &Op, answer: &Answer) {
        match (op, answer) {
            (Op::Exists { path, watch: true }, Ok(_)) | (Op::Get { path, watch: true }, Ok(_)) => {
                self.data.insert(path.clone());
            }
            (Op::Exists { path, watch: true }, Err(KeeperError::NONODE)) => {
                self.exist.insert(path.clone());
            }
            (Op::Children { path, watch: true }, Ok(_)) => {
                self.child.insert(path.clone());
            }
            _ => {}
        }
    }

    /// A watch fires once.
    fn fire(&mut self, kind: WatchKind, path: &str) {
        if kind == WatchKind::ChildrenChanged {
            self.child.remove(path);
            return;
        }
        self.data.remove(path);
        self.exist.remove(path);
        if kind == WatchKind::Deleted {
            self.child.remove(path);
        }
    }

    /// The setWatches that arm them all again, split so that none grows too long.
    fn in_requests(&self, relative: Zxid) -> Vec<Say> {
        let mut requests = Vec::new();
        let mut now: [Vec<Arc<str>>; 3] = Default::default();
        let mut bytes = 0;
        let of = [&self.data, &self.exist, &self.child];
        let paths = of.iter().enumerate().flat_map(|(kind, paths)| paths.iter().map(move |path| (kind, path)));
        for (kind, path) in paths {
            if bytes + path.len() > WATCHES_PER_REQUEST {
                let [data, exist, child] = core::mem::take(&mut now);
                requests.push(Say::SetWatches { relative, data, exist, child });
                bytes = 0;
            }
            bytes += path.len() + 4;
            now[kind].push(path.clone());
        }
        if bytes > 0 {
            let [data, exist, child] = now;
            requests.push(Say::SetWatches { relative, data, exist, child });
        }
        requests
    }
}

/// A failed multi fails as its first failing part did; a successful one is its parts.
pub fn parts(answer: Answer) -> Result<Vec<Done>, (u32, KeeperError)> {
    match answer {
        Ok(Done::Multi(parts)) => {
            let failed = parts.iter().position(|part| part.is_err());
            match failed {
                None => Ok(parts.into_iter().flatten().collect()),
                Some(at) => Err((at as u32, parts[at].as_ref().err().copied().unwrap_or(KeeperError::SYSTEMERROR))),
            }
        }
        Ok(done) => Ok(vec![done]),
        Err(why) => Err((0, why)),
    }
}

#[cfg(test)]
mod tests;
