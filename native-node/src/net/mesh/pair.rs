//! The channels of a pair between the host, which sends and never waits, and the task that runs the pair's link.

use super::channels::{Channels, MESSAGE};
use bytes::Bytes;
use glasshouse_core::api::peer::{Channel, PeerMessage};
use glasshouse_core::id::NodeId;
use glasshouse_core::node::Input;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The channels of a pair, shared by the host, which sends, and by the task that runs the pair's link.
#[derive(Debug)]
pub(super) struct Pair {
    channels: Mutex<Channels>,
    /// There may be something to send.
    pub(super) work: Notify,
    /// The node has to be told something.
    pub(super) told: Notify,
    /// A channel is no longer backed up.
    relief: Arc<Notify>,
    /// Which boot of the peer this node has a link with.
    pub(super) held: watch::Sender<Option<u64>>,
}

impl Pair {
    pub(super) fn new(me: NodeId, peer: NodeId, frame: usize, relief: Arc<Notify>) -> Pair {
        Pair {
            channels: Mutex::new(Channels::new(me, peer, frame, Instant::now())),
            work: Notify::new(),
            told: Notify::new(),
            relief,
            held: watch::Sender::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the channels, and wakes whoever now has work.
    fn change<T>(&self, change: impl FnOnce(&mut Channels) -> T) -> T {
        let (result, told) = self.relieve(|channels| (change(channels), channels.has_events()));
        if told {
            self.told.notify_one();
        }
        result
    }

    /// Does something to the channels, and says if they were backed up and are no longer.
    fn relieve<T>(&self, change: impl FnOnce(&mut Channels) -> T) -> T {
        let mut channels = self.lock();
        let before = channels.backed_up().is_some();
        let result = change(&mut channels);
        if before && channels.backed_up().is_none() {
            self.relief.notify_one();
        }
        result
    }

    pub(super) fn send(&self, late: Duration, channel: Channel, message: &PeerMessage<Bytes>) {
        self.change(|channels| channels.send(Instant::now(), late, channel, message));
        self.work.notify_one();
    }

    pub(super) fn hang_up(&self, late: Duration, channel: Channel) {
        self.change(|channels| channels.hang_up(Instant::now(), late, channel));
        self.work.notify_one();
    }

    pub(super) fn become_linked(&self) {
        self.change(|channels| channels.become_linked(Instant::now()));
    }

    pub(super) fn become_unlinked(&self) {
        self.change(|channels| channels.become_unlinked(Instant::now()));
    }

    /// As [`Channels::receive`]. Whoever receives also tells.
    pub(super) fn receive(&self, late: Duration, frame: Bytes) -> Result<(), String> {
        let controls = frame.first().is_some_and(|first| first >> 4 != MESSAGE);
        let result = self.relieve(|channels| channels.receive(Instant::now(), late, frame));
        if controls {
            self.work.notify_one();
        }
        result
    }

    /// As [`Channels::take_ready`]; returns when to come again.
    pub(super) fn take_ready(&self, late: Duration, budget: usize, ready: &mut Vec<Vec<Bytes>>) -> Option<Instant> {
        self.change(|channels| {
            channels.take_ready(Instant::now(), late, budget, ready);
            channels.next_due()
        })
    }

    /// As [`Channels::backed_up`].
    pub(super) fn backed_up(&self) -> Option<Channel> {
        self.lock().backed_up()
    }

    pub(super) fn next_event(&self) -> Option<Input> {
        self.lock().next_event()
    }

    pub(super) fn has_events(&self) -> bool {
        self.lock().has_events()
    }
}
