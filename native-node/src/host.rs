//! The loop that runs one node: takes what came in, steps the machine, performs what it wants. Nothing else.

use crate::clock::Clock;
use crate::disk::FileDisk;
use crate::inbox::{Arrivals, Inbox, Incoming};
use crate::net::dial::Dials;
use crate::net::doors::Doors;
use crate::net::mesh::Mesh;
use crate::net::outbox::Outbox;
use crate::observe::recorder::Recorder;
use crate::observe::{self, Observer, Seen};
use crate::stones::Stones;
use crate::turn::{Turn, records_of};
use crate::underway::Underway;
use glasshouse_core::id::ConnId;
use glasshouse_core::machine::{Effects, Machine};
use glasshouse_core::node::{Effect, Input, RequestBody};
use glasshouse_core::nodes::Node;
use glasshouse_core::store::Store;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Instant;
use tokio::task::yield_now;
use tokio::time::sleep_until;

/// How a node's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// `Input::Shutdown` was obeyed.
    InOrder,
    /// It cannot go on: the sentence says why.
    Halted(String),
    /// Somebody threw a stone at it.
    Killed,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::InOrder => f.write_str("stopped in order"),
            Ended::Halted(why) => write!(f, "cannot go on: {why}"),
            Ended::Killed => f.write_str("was killed by a stone"),
        }
    }
}

/// One node with everything it is connected to.
pub struct Host {
    pub(crate) node: Node,
    pub(crate) store: Store<FileDisk>,
    pub(crate) clock: Clock,
    pub(crate) inbox: Arrivals,
    /// What the node caused itself: loads that are answered.
    pub(crate) own: VecDeque<Input>,
    pub(crate) conns: BTreeMap<ConnId, Outbox>,
    pub(crate) underway: Underway,
    pub(crate) dials: Dials,
    pub(crate) mesh: Mesh,
    pub(crate) observer: Observer,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) stones: Stones,
    doors: Doors,
    pub(crate) fx: Effects<Effect>,
    turn: Turn,
    /// The last that was taken up was an answer of its own.
    own_last: bool,
    pub(crate) ended: Option<Ended>,
}

/// What a host is made of.
pub struct Parts {
    pub node: Node,
    pub store: Store<FileDisk>,
    pub clock: Clock,
    pub inbox: Arrivals,
    pub sender: Inbox,
    pub mesh: Mesh,
    pub observer: Observer,
    pub recorder: Option<Recorder>,
    pub stones: Stones,
    /// Opened once the node serves.
    pub doors: Doors,
    /// What the machine wanted when it was made.
    pub fx: Effects<Effect>,
}

impl Host {
    pub fn new(parts: Parts) -> Host {
        let Parts { node, store, clock, inbox, sender, mesh, observer, recorder, stones, doors, fx } = parts;
        Host {
            dials: Dials::new(sender, stones.clone()),
            own: VecDeque::new(),
            conns: BTreeMap::new(),
            underway: Underway::default(),
            turn: Turn::new(),
            own_last: false,
            ended: None,
            node,
            store,
            clock,
            inbox,
            mesh,
            observer,
            recorder,
            stones,
            doors,
            fx,
        }
    }

    /// Runs the node until it stops, one way or another.
    pub async fn run(mut self) -> Ended {
        self.perform();
        loop {
            if let Some(ended) = self.ended.take() {
                self.observer.ended(&ended);
                if let Some(recorder) = &mut self.recorder {
                    recorder.ended(&ended.to_string(), &self.node);
                }
                return ended;
            }
            self.turn = Turn::new();
            let first = self.next().await;
            // Thrown while it waited, a pause holds what came first.
            self.stones.paused().await;
            self.turn.began = Instant::now();
            self.take(first);
            while !self.turn.is_over(Instant::now())
                && self.ended.is_none()
                && let Some(next) = self.next_now()
            {
                self.take(next);
            }
            // A recording that ends with a death ends behind what the world has heard.
            if let Some(recorder) = &mut self.recorder {
                recorder.flush();
            }
            self.perform();
            if !self.doors.is_open() && observe::ready(&self.node).is_ok() {
                self.doors.open();
            }
            self.observer.counters.turned(self.turn.began.elapsed());
            // Much may be due at once, for seconds; what was said meanwhile has to reach the sockets, the session's pings
            // among it, and they share this thread.
            yield_now().await;
        }
    }

    /// What comes in next, a wake that is due among it.
    async fn next(&mut self) -> Incoming {
        loop {
            if let Some(next) = self.next_now() {
                return next;
            }
            let wake = self.node.wake_at().map(|wake| self.clock.moment(wake.at));
            let due = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let (has_much, backed_up) = (self.has_much(), self.mesh.is_backed_up());
            tokio::select! {
                biased;
                incoming = self.inbox.wait(!has_much) => return incoming.unwrap_or(Incoming::Kill),
                () = self.mesh.relieved(), if backed_up => {}
                () = due => return Incoming::Input(Input::Wake),
            }
        }
    }

    /// What is there already. What is overdue comes first, once in a turn; then its own answers and what comes in by
    /// turns: a flood of requests starves no timer, much that is due at once starves no request, and a request that makes
    /// it read ten thousand places starves none of them. As long as much waits for a peer, a quorum or the disk, clients'
    /// long requests wait too: otherwise who writes faster than a peer reads would cost it its channel, and who writes
    /// faster than disks take it would cost a keeper its quorum and a broker its session.
    fn next_now(&mut self) -> Option<Incoming> {
        let is_due = self.node.wake_at().is_some_and(|wake| wake.at <= self.clock.now().at);
        if is_due && !std::mem::replace(&mut self.turn.woken, true) {
            return Some(Incoming::Input(Input::Wake));
        }
        if (self.own_last || self.own.is_empty())
            && let Some(next) = self.inbox.next(!self.has_much())
        {
            self.own_last = false;
            return Some(next);
        }
        if let Some(next) = self.own.pop_front() {
            self.own_last = true;
            return Some(Incoming::Input(next));
        }
        (is_due && self.turn.may_go_on()).then_some(Incoming::Input(Input::Wake))
    }

    /// Whether so much waits for a peer, a quorum or the disk that what would make it more has to wait. It passes with an
    /// input that comes in, or with the mesh's relief.
    fn has_much(&self) -> bool {
        self.mesh.is_backed_up() || self.underway.is_full() || self.store.disk.is_backed_up()
    }

    fn take(&mut self, incoming: Incoming) {
        self.turn.taken += 1;
        match incoming {
            Incoming::Input(input) => self.step(input),
            Incoming::Long { conn, request, length } => {
                if let RequestBody::Keeper(body) = &request.body {
                    self.underway.began(conn, body, length);
                }
                self.step(Input::Request { conn, request });
            }
            Incoming::Connected { conn, peer, outbox } => {
                self.observer.counters.connected(conn, peer);
                self.conns.insert(conn, outbox);
            }
            Incoming::SyncDone { lane, result: Ok(()) } => {
                let (upto, again) = self.store.complete_sync(&lane);
                self.observer.counters.sync_done(&lane);
                if again {
                    self.observer.counters.sync_began(&lane);
                }
                self.step(Input::Synced { lane, upto });
            }
            // What it promised may not be on the disk, and a second fsync would not tell.
            Incoming::SyncDone { result: Err(error), .. } => self.ended = Some(Ended::Halted(error.to_string())),
            Incoming::Asked(question) => {
                let now = self.clock.now().at;
                let seen = Seen { node: &self.node, inbox: self.inbox.len(), connections: self.conns.len(), now };
                self.observer.answer(question, &seen);
            }
            Incoming::Kill => self.ended = Some(Ended::Killed),
        }
    }

    fn step(&mut self, input: Input) {
        match &input {
            Input::Closed { conn } => {
                self.conns.remove(conn);
                self.underway.closed(*conn);
            }
            // What a dial still says after the node has hung up, nobody wants to hear.
            Input::Opened { dial } | Input::Answer { dial, .. } | Input::Hung { dial } if !self.dials.knows(*dial) => {
                return;
            }
            Input::Hung { dial } => self.dials.forget(*dial),
            _ => {}
        }
        let now = self.clock.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.record(now, &input);
        }
        self.observer.counters.heard(&input);
        let before = self.fx.effects.len();
        self.node.step(now, input, &mut self.fx);
        self.turn.add(&self.fx.effects[before..], |range| records_of(&self.node, range));
        if let Some(recorder) = &mut self.recorder {
            recorder.stepped(&self.fx.effects[before..], &self.node);
        }
        self.observer.told(now.at, &mut self.fx.notes);
    }
}
