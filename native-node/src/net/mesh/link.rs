//! A link that runs: what waits is written, what arrives is told, and a peer that has fallen silent, or deaf, is noticed.

use super::Shared;
use super::connect::{Greeted, is_chooser};
use super::greeting;
use super::pair::Pair;
use super::wire::{FRAGMENT, Life, Socket};
use crate::inbox::Inbox;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use glasshouse_core::id::NodeId;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Bytes that are taken from the queues at a time: what is taken can no longer be counted as waiting.
const ROUND: usize = 1 << 20;

/// Runs the link until it breaks; says why. The channels are to be told afterwards.
pub(super) async fn run(greeted: Greeted, shared: &Shared, pair: &Pair, peer: NodeId) -> String {
    let Greeted { mut socket, life, .. } = greeted;
    if is_chooser(shared, peer)
        && let Err(refused) = greeting::say_go(&mut socket, shared, peer).await
    {
        return refused.to_string();
    }
    pair.become_linked();
    let (sink, stream) = socket.split();
    tokio::select! {
        biased;
        why = write(sink, shared, pair, peer) => why,
        why = read(stream, shared, pair, peer, &life) => why,
        why = watch(shared, pair, &life) => why,
    }
}

/// Tells the node what it has to know. False: the node is gone. Nothing is lost if it is given up half-way.
pub(super) async fn deliver(inbox: &Inbox, pair: &Pair) -> bool {
    while pair.has_events() {
        let Some(room) = inbox.reserve().await else { return false };
        if let Some(event) = pair.next_event() {
            room.put(event);
        }
    }
    true
}

async fn write(mut sink: SplitSink<Socket, Message>, shared: &Shared, pair: &Pair, peer: NodeId) -> String {
    let third = (shared.config.dead_peer / 3).max(Duration::from_millis(1));
    let mut ping_at = Instant::now() + third;
    let mut ready = Vec::new();
    let mut unflushed = false;
    loop {
        shared.stones.passes(Some(peer)).await;
        let due = pair.take_ready(shared.lateness(peer), ROUND, &mut ready);
        let result = if !ready.is_empty() {
            unflushed = true;
            ping_at = Instant::now() + third;
            feed(&mut sink, &mut ready).await
        } else if unflushed {
            unflushed = false;
            sink.flush().await
        } else {
            let due = due.map_or(ping_at, |due| due.min(ping_at));
            tokio::select! {
                biased;
                () = pair.work.notified() => continue,
                () = sleep_until(due) => {}
            }
            if Instant::now() < ping_at {
                continue;
            }
            ping_at = Instant::now() + third;
            unflushed = true;
            sink.feed(Message::Ping(Bytes::new())).await
        };
        if let Err(error) = result {
            return describe(&error);
        }
    }
}

async fn feed(sink: &mut SplitSink<Socket, Message>, ready: &mut Vec<Vec<Bytes>>) -> Result<(), Error> {
    for segments in ready.drain(..) {
        let mut left: usize = segments.iter().map(Bytes::len).sum();
        if left <= FRAGMENT {
            sink.feed(Message::Binary(join(segments, left))).await?;
            continue;
        }
        let mut segments = segments.into_iter();
        let mut rest = Bytes::new();
        let mut what = Data::Binary;
        while left > 0 {
            let piece = cut(&mut segments, &mut rest, FRAGMENT);
            left -= piece.len();
            sink.feed(Message::Frame(Frame::message(piece, OpCode::Data(what), left == 0))).await?;
            what = Data::Continue;
        }
    }
    Ok(())
}

/// Segments as one piece of memory.
fn join(mut segments: Vec<Bytes>, length: usize) -> Bytes {
    if segments.len() == 1 {
        return segments.remove(0);
    }
    let mut whole = BytesMut::with_capacity(length);
    for segment in &segments {
        whole.extend_from_slice(segment);
    }
    whole.freeze()
}

/// The next `most` bytes of segments of which `rest` was begun; fewer at their end.
fn cut(segments: &mut impl Iterator<Item = Bytes>, rest: &mut Bytes, most: usize) -> Bytes {
    let mut piece = BytesMut::new();
    loop {
        if rest.is_empty() {
            let Some(next) = segments.next() else { return piece.freeze() };
            *rest = next;
        }
        let wanted = most - piece.len();
        if piece.is_empty() && rest.len() >= wanted {
            return rest.split_to(wanted);
        }
        piece.reserve(wanted);
        piece.extend_from_slice(&rest.split_to(wanted.min(rest.len())));
        if piece.len() == most {
            return piece.freeze();
        }
    }
}

async fn read(mut stream: SplitStream<Socket>, shared: &Shared, pair: &Pair, peer: NodeId, life: &Life) -> String {
    loop {
        if pair.has_events() {
            life.set_deaf(true);
            if !deliver(&shared.inbox, pair).await {
                return "the node has stopped".to_owned();
            }
            life.set_deaf(false);
        }
        let next = async {
            shared.stones.passes(Some(peer)).await;
            stream.next().await
        };
        let message = tokio::select! {
            biased;
            () = pair.told.notified() => continue,
            message = next => message,
        };
        // It may have come before a cut, but then it was not heard before.
        shared.stones.passes(Some(peer)).await;
        match message {
            Some(Ok(Message::Binary(frame))) => {
                if let Err(why) = pair.receive(shared.lateness(peer), frame) {
                    return why;
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_) | Message::Frame(_))) => return "it sent text".to_owned(),
            Some(Ok(Message::Close(_))) | None => return "it closed the connection".to_owned(),
            Some(Err(error)) => return describe(&error),
        }
    }
}

/// Returns when nothing has arrived for as long as a dead peer is waited for, or nothing was taken though a channel is
/// backed up. Counts moments rather than time: while this process was stopped nothing could arrive, and nobody is to
/// blame.
async fn watch(shared: &Shared, pair: &Pair, life: &Life) -> String {
    const MOMENTS: u32 = 8;
    let moment = (shared.config.dead_peer / MOMENTS).max(Duration::from_millis(1));
    let (mut reads, mut silent) = (life.reads(), 0);
    let (mut writes, mut stuck) = (life.writes(), 0);
    loop {
        let began = Instant::now();
        sleep(moment).await;
        shared.stones.paused().await;
        let asleep = began.elapsed() > moment * 2;
        if asleep || life.is_deaf() || life.reads() != reads {
            (reads, silent) = (life.reads(), 0);
        } else {
            silent += 1;
        }
        let backed_up = pair.backed_up();
        if asleep || life.writes() != writes || backed_up.is_none() {
            (writes, stuck) = (life.writes(), 0);
        } else {
            stuck += 1;
        }
        if silent >= MOMENTS {
            return format!("it was silent for {:?}", shared.config.dead_peer);
        }
        if let Some(channel) = backed_up.filter(|_| stuck >= MOMENTS) {
            return format!("it read nothing for {:?}, though much waits on {channel}", shared.config.dead_peer);
        }
    }
}

fn describe(error: &Error) -> String {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "it closed the connection".to_owned(),
        other => other.to_string(),
    }
}
