//! A port that clients connect to: takes them in, keeps their number bounded, closes who is idle.
//!
//! Knows no protocol. Its promise: ten thousand connections that say nothing, or say it slowly, keep no real client
//! out. When there is no room, whoever has waited longest without proving to be a client goes first.

use super::Limits;
use super::conn::{self, Parts, Protocol};
use super::gate::Gate;
use super::outbox::Budget;
use super::vitals::{Vitals, millis};
use crate::inbox::Inbox;
use crate::stones::Stones;
use futures_util::FutureExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Connections that the kernel may hold ready for us.
const BACKLOG: i32 = 4096;

/// When room has to be made, this part of it is made at once.
const ROOM_MADE: usize = 64;

/// A client that has spoken within this time is not sent away for a newcomer.
const FRESH: Duration = Duration::from_secs(10);

/// A client that reads nothing for so long, though something waits for it, is given up.
const STALL: Duration = Duration::from_secs(60);

/// How long to wait when nobody can be taken in: for descriptors to come free.
const BREATH: Duration = Duration::from_millis(50);

/// Listeners in this process: they share its descriptors.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// Serves clients until the node is gone; `protocol` is the state of a new connection from an address.
pub(crate) async fn serve<P: Protocol>(
    listener: TcpListener,
    inbox: Inbox,
    limits: Limits,
    stones: Stones,
    protocol: impl Fn(SocketAddr) -> P,
) {
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::debug!("the kernel keeps to a short backlog: {error}");
    }
    let _counted = Counted::new();
    let (gate, budget) = (Gate::new(stones, None), Budget::default());
    let mut crowd = Crowd::new(limits.clone());
    let mut tasks: JoinSet<u64> = JoinSet::new();
    let mut sweep = interval(crowd.sweep_every());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !inbox.is_closed() {
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                if let Ok(number) = ended {
                    crowd.known.remove(&number);
                }
            }
            accepted = accept(&listener, &gate) => match accepted {
                Ok((stream, peer)) => {
                    let Some((number, vitals)) = crowd.admit(crowd.now()) else {
                        tracing::debug!(%peer, "sent away: all {} connections are in use", crowd.capacity());
                        continue;
                    };
                    let _ = stream.set_nodelay(true);
                    let (limit, inbox, gate) = (limits.frame, inbox.clone(), gate.clone());
                    let (protocol, budget) = (protocol(peer), budget.clone());
                    let parts = Parts { stream, peer, protocol, limit, inbox, gate, budget, vitals };
                    tasks.spawn(live(number, parts));
                }
                Err(error) => {
                    tracing::debug!("cannot take a connection: {error}");
                    crowd.make_room(crowd.now());
                    sleep(BREATH).await;
                }
            },
            _ = sweep.tick() => crowd.sweep(crowd.now(), gate.is_open()),
        }
    }
}

/// One connection's task: whatever becomes of it, the machine is told, and the others go on.
async fn live<P: Protocol>(number: u64, parts: Parts<P>) -> u64 {
    let (inbox, vitals) = (parts.inbox.clone(), parts.vitals.clone());
    if AssertUnwindSafe(conn::run(parts)).catch_unwind().await.is_err() {
        tracing::error!("a mistake of ours ended one client's connection");
    }
    conn::close(&inbox, &vitals).await;
    number
}

/// The next connection; while the node is paused they stay with the kernel.
async fn accept(listener: &TcpListener, gate: &Gate) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        gate.opened().await;
        let accepted = poll_fn(|cx| match gate.is_open() {
            true => listener.poll_accept(cx).map(Some),
            false => Poll::Ready(None),
        });
        if let Some(accepted) = accepted.await {
            return accepted;
        }
    }
}

/// Everybody who is connected.
#[derive(Debug)]
struct Crowd {
    limits: Limits,
    began: Instant,
    known: BTreeMap<u64, Arc<Vitals>>,
    last: u64,
    /// Silence counts from here at the earliest: before, it was we who did not listen.
    listening_since: u64,
    swept: u64,
}

impl Crowd {
    fn new(limits: Limits) -> Crowd {
        Crowd { limits, began: Instant::now(), known: BTreeMap::new(), last: 0, listening_since: 0, swept: 0 }
    }

    /// Milliseconds since it began, as all times here.
    fn now(&self) -> u64 {
        millis(self.began)
    }

    /// Connections at once: what is allowed, and what this process has descriptors for. Half of those are left to files
    /// and links, which no stranger may starve.
    fn capacity(&self) -> usize {
        let share = descriptors() / 2 / LISTENERS.load(Ordering::Relaxed).max(1);
        self.limits.connections.min(share).max(1)
    }

    /// A place for a newcomer, if there is one or one can be made.
    fn admit(&mut self, now: u64) -> Option<(u64, Arc<Vitals>)> {
        if self.known.len() >= self.capacity() {
            self.make_room(now);
        }
        if self.known.len() >= self.capacity() {
            return None;
        }
        self.last += 1;
        let vitals = Arc::new(Vitals::new(self.began));
        self.known.insert(self.last, vitals.clone());
        Some((self.last, vitals))
    }

    /// Closes some: first who has not proved to be a client, then who waits for nothing, and of those the longest idle.
    fn make_room(&mut self, now: u64) {
        let fresh = now.saturating_sub(as_millis(FRESH));
        let mut places: Vec<(bool, bool, u64, u64)> = self
            .known
            .iter()
            .map(|(number, one)| (one.is_proven(), one.in_flight() > 0, one.heard(), *number))
            .filter(|(proven, _, heard, _)| !proven || *heard < fresh)
            .collect();
        let wanted = (self.capacity() / ROOM_MADE).max(1).min(places.len());
        if wanted == 0 {
            return;
        }
        places.select_nth_unstable(wanted - 1);
        for (.., number) in &places[..wanted] {
            self.close(*number);
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(vitals) = self.known.remove(&number) {
            vitals.close();
        }
    }

    /// Closes whom no real client would resemble: silent too long, or reading nothing.
    fn sweep(&mut self, now: u64, listening: bool) {
        let late = now.saturating_sub(self.swept) > 3 * as_millis(self.sweep_every());
        self.swept = now;
        if !listening || late {
            self.listening_since = now;
        }
        let since = self.listening_since;
        let silent = |from: u64| Duration::from_millis(now.saturating_sub(from.max(since)));
        let overdue: Vec<u64> = self
            .known
            .iter()
            .filter(|(_, one)| {
                let idle = match one.is_proven() {
                    false => Some(self.limits.first),
                    true => self.limits.idle,
                };
                let idle = one.in_flight() == 0 && idle.is_some_and(|idle| silent(one.heard()) > idle);
                idle || one.stuck_since().is_some_and(|from| silent(from) > STALL)
            })
            .map(|(number, _)| *number)
            .collect();
        for number in overdue {
            self.close(number);
        }
    }

    fn sweep_every(&self) -> Duration {
        let shortest = self.limits.idle.unwrap_or(self.limits.first).min(self.limits.first);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

fn as_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Counts one listener while it lives.
struct Counted;

impl Counted {
    fn new() -> Counted {
        LISTENERS.fetch_add(1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Descriptors that this process may have. The first call raises the limit as far as it goes.
fn descriptors() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile);
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
            tracing::debug!("the limit of open files stays as it is: {error}");
        }
        let now = getrlimit(Resource::Nofile).current;
        now.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::id::ConnId;

    fn crowd(connections: usize) -> Crowd {
        let (first, idle) = (Duration::from_millis(40), Some(Duration::from_secs(600)));
        Crowd::new(Limits { frame: 100, connections, requests: 10, first, idle })
    }

    #[test]
    fn strangers_make_room_for_newcomers_and_fresh_clients_do_not() {
        let mut crowd = crowd(3);
        let now = crowd.now();
        let admitted: Vec<_> = (0..3).map(|_| crowd.admit(now).expect("there is room")).collect();
        admitted[0].1.prove();
        admitted[2].1.prove();
        let (number, newcomer) = crowd.admit(now).expect("the second makes room");
        assert!(crowd.known.keys().copied().eq([1, 3, number]));
        newcomer.prove();
        assert!(crowd.admit(now).is_none(), "three clients that have just spoken");
        let (number, _) = crowd.admit(now + 3_600_000).expect("one that was idle for an hour makes room");
        assert!(crowd.known.contains_key(&number));
    }

    #[test]
    fn silence_counts_only_while_we_listen() {
        let mut crowd = crowd(3);
        let (_, one) = crowd.admit(crowd.now()).expect("there is room");
        one.set_conn(ConnId(1));
        let heard = one.heard();
        // Paused; then a sweep that comes late, because the whole process was; then sweeps as they should be.
        crowd.sweep(heard + 50, false);
        for now in [500, 520, 540] {
            crowd.sweep(heard + now, true);
            assert_eq!(crowd.known.len(), 1, "{now} ms");
        }
        crowd.sweep(heard + 541, true);
        assert_eq!(crowd.known.len(), 0);
        assert_eq!(one.take_conn(), Some(ConnId(1)), "its task tells the machine, not the sweep");
    }
}
