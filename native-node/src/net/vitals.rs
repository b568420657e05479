//! What one client's connection and its listener both look at: whether it proved to be a client, when it last said
//! something whole, what it waits for.

use glasshouse_core::id::ConnId;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Of one connection. Times are milliseconds since the listener began.
#[derive(Debug)]
pub(crate) struct Vitals {
    began: Instant,
    /// When it was accepted, or its last whole frame came, or its last answer was written.
    heard: AtomicU64,
    /// When the socket last took something of what waits to be written; [`NOTHING`] while nothing does.
    moved: AtomicU64,
    proven: AtomicBool,
    /// Requests whose answers are not written yet.
    in_flight: AtomicUsize,
    answered: Notify,
    close: Notify,
    /// Set while the machine knows the connection.
    conn: Mutex<Option<ConnId>>,
}

const NOTHING: u64 = u64::MAX;

impl Vitals {
    pub fn new(began: Instant) -> Vitals {
        Vitals {
            began,
            heard: AtomicU64::new(millis(began)),
            moved: AtomicU64::new(NOTHING),
            proven: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            answered: Notify::new(),
            close: Notify::new(),
            conn: Mutex::new(None),
        }
    }

    // The connection tells.

    pub fn hear(&self) {
        self.heard.store(millis(self.began), Ordering::Relaxed);
    }

    /// It has shown that it speaks the protocol.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    pub fn set_conn(&self, conn: ConnId) {
        *self.conn.lock().unwrap_or_else(PoisonError::into_inner) = Some(conn);
    }

    /// Whoever takes it tells the machine that the connection is closed; so that is said once.
    pub fn take_conn(&self) -> Option<ConnId> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn ask(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when fewer than `limit` requests wait for an answer.
    pub async fn room(&self, limit: usize) {
        while self.in_flight() >= limit {
            self.answered.notified().await;
        }
    }

    /// The writer has something to write, or the socket took some of it.
    pub fn writing(&self) {
        self.moved.store(millis(self.began), Ordering::Relaxed);
    }

    /// All of it is written, `answers` among it.
    pub fn written(&self, answers: usize) {
        self.moved.store(NOTHING, Ordering::Relaxed);
        if answers > 0 {
            self.hear();
            self.prove();
            let left = self.in_flight().saturating_sub(answers);
            self.in_flight.store(left, Ordering::Relaxed);
            self.answered.notify_one();
        }
    }

    /// Returns when the listener wants it closed.
    pub async fn closed(&self) {
        self.close.notified().await;
    }

    // The listener looks.

    pub fn close(&self) {
        self.close.notify_one();
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Since when the socket takes nothing, though something waits.
    pub fn stuck_since(&self) -> Option<u64> {
        Some(self.moved.load(Ordering::Relaxed)).filter(|moved| *moved != NOTHING)
    }
}

/// Milliseconds since a moment.
pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(NOTHING - 1)
}
