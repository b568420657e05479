//! The channels of a pair as one of its ends sees them: which are up, in which generation, what waits to be sent. Knows
//! no sockets; both ends together are a protocol of three messages, each behind one byte of ours (above the kind, which
//! is the lower half of that byte).
//!
//! | message | says |
//! |---|---|
//! | 0 | what one machine says to the other |
//! | 1 open | "my next generation would be this one": the channel is up, in the higher of both, once both have said so |
//! | 2 close | "this generation is over": whatever of it still arrives is dropped, until the next open |
//!
//! A link is FIFO, so nothing else has to carry a generation: between the other's open and the first close of either,
//! everything belongs to one incarnation.
//!
//! ```text
//!  A: Hangup of #5      close 5 ──▶  B: Down #5
//!  drops message of #5 ◀── message   (sent before the close was heard)
//!  remembers             ◀── open 6  B is ready at once
//!  50 ms later: Up #6    open 6 ──▶  B: Up #6
//! ```

use bytes::{Buf, Bytes};
use glasshouse_core::api::peer::{Channel, ChannelKind, PeerMessage};
use glasshouse_core::codec::Writer;
use glasshouse_core::id::NodeId;
use glasshouse_core::node::Input;
use glasshouse_core::wire::link::LinkCodec;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// Bytes that may wait on a channel; more break it. The first message always fits. It is no measure of a slow peer: a
/// synchronisation is said at once, the whole tree if need be, and has to arrive however long that takes.
pub(super) const ROOM: usize = 2 << 30;
/// Bytes on a channel that is backed up: of a peer that meanwhile reads nothing for as long as a dead one is waited for,
/// the link ends.
pub(super) const BACKED_UP: usize = 16 << 20;
/// What a message costs while it waits, besides its bytes.
const OVERHEAD: usize = 128;
/// How long whoever broke a channel waits before it opens the next generation.
const REOPEN: Duration = Duration::from_millis(50);
/// Shorter messages are copied out of the buffer they were read into, so that who keeps one does not keep the buffer.
const WORTH_SHARING: usize = 4 << 10;

pub(super) const MESSAGE: u8 = 0;
const OPEN: u8 = 1;
const CLOSE: u8 = 2;

/// The channels between two nodes.
#[derive(Debug)]
pub(super) struct Channels {
    peer: NodeId,
    /// The longest message.
    frame: usize,
    /// The election channel comes first, and so do its messages.
    ends: Vec<End>,
    linked: bool,
    /// What the node has to be told, in order.
    events: VecDeque<Input>,
}

/// This node's end of one channel.
#[derive(Debug)]
struct End {
    kind: ChannelKind,
    /// The highest that was up since this process started.
    generation: u32,
    state: State,
    codec: LinkCodec,
    /// A message may be followed by the close of its incarnation, and that by the next open.
    queue: VecDeque<Frame>,
    bytes: usize,
    /// The newest election message: sent again whenever the channel comes up.
    newest: Option<Vec<Bytes>>,
    /// When the newest message has to leave, unless it has.
    newest_due: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Opens at that time; the other end may have opened already.
    Down {
        opens: Instant,
        theirs: Option<u32>,
    },
    /// This end has opened, the other has not.
    Opened {
        ours: u32,
    },
    Up,
}

/// One WebSocket message, in segments.
#[derive(Debug)]
struct Frame {
    due: Instant,
    is_message: bool,
    segments: Vec<Bytes>,
    /// What it costs of the room, in bytes. What controls the channel costs nothing.
    cost: usize,
}

impl Frame {
    fn message(due: Instant, segments: Vec<Bytes>) -> Frame {
        let cost = segments.iter().map(Bytes::len).sum::<usize>() + OVERHEAD;
        Frame { due, is_message: true, segments, cost }
    }

    fn control(due: Instant, what: u8, kind: ChannelKind, generation: u32) -> Frame {
        let mut writer = Writer::with_capacity(5);
        writer.u8(what << 4 | code(kind));
        writer.u32(generation);
        Frame { due, is_message: false, segments: writer.into_segments(), cost: 0 }
    }
}

fn code(kind: ChannelKind) -> u8 {
    match kind {
        ChannelKind::Election => 0,
        ChannelKind::Quorum => 1,
        ChannelKind::Requests => 2,
    }
}

fn kinds(me: NodeId, peer: NodeId) -> &'static [ChannelKind] {
    match (me, peer) {
        (NodeId::Keeper(_), NodeId::Keeper(_)) => &[ChannelKind::Election, ChannelKind::Quorum],
        (NodeId::Broker(_), NodeId::Broker(_)) => &[ChannelKind::Requests],
        _ => &[],
    }
}

impl End {
    fn new(kind: ChannelKind, now: Instant) -> End {
        End {
            kind,
            generation: 0,
            state: State::Down { opens: now, theirs: None },
            codec: LinkCodec::default(),
            queue: VecDeque::new(),
            bytes: 0,
            newest: None,
            newest_due: None,
        }
    }

    fn push(&mut self, frame: Frame) {
        self.bytes += frame.cost;
        self.queue.push_back(frame);
    }

    /// Nothing of this incarnation leaves any more, except what controls the channel.
    fn forget_messages(&mut self) {
        self.queue.retain(|frame| !frame.is_message);
        self.bytes = 0;
    }

    fn become_down(&mut self, opens: Instant) {
        self.state = State::Down { opens, theirs: None };
        self.codec = LinkCodec::default();
        self.newest_due = None;
    }

    fn encode(&mut self, message: &PeerMessage<Bytes>) -> Vec<Bytes> {
        let mut writer = Writer::with_capacity(256);
        writer.u8(MESSAGE << 4 | code(self.kind));
        self.codec.write(message, &mut writer);
        writer.into_segments()
    }
}

impl Channels {
    pub(super) fn new(me: NodeId, peer: NodeId, frame: usize, now: Instant) -> Channels {
        let ends = kinds(me, peer).iter().map(|kind| End::new(*kind, now)).collect();
        Channels { peer, frame, ends, linked: false, events: VecDeque::new() }
    }

    fn channel(&self, at: usize) -> Channel {
        Channel { peer: self.peer, kind: self.ends[at].kind, generation: self.ends[at].generation }
    }

    fn find(&self, kind: ChannelKind) -> Option<usize> {
        self.ends.iter().position(|end| end.kind == kind)
    }

    /// Where the channel is if it is up, in this generation.
    fn live(&self, channel: Channel) -> Option<usize> {
        let at = self.find(channel.kind)?;
        (matches!(self.ends[at].state, State::Up) && self.ends[at].generation == channel.generation).then_some(at)
    }

    /// There is a link: every channel opens at once.
    pub(super) fn become_linked(&mut self, now: Instant) {
        assert!(!self.linked, "{} has a link already", self.peer);
        self.linked = true;
        for end in &mut self.ends {
            end.become_down(now);
        }
    }

    /// The link is gone, and with it what was queued; only the newest election message stays.
    pub(super) fn become_unlinked(&mut self, now: Instant) {
        self.linked = false;
        for at in 0..self.ends.len() {
            self.become_down(at, now);
            self.ends[at].queue.clear();
            self.ends[at].bytes = 0;
        }
    }

    fn become_up(&mut self, at: usize, generation: u32, due: Instant) {
        let end = &mut self.ends[at];
        assert!(generation > end.generation, "generation {generation} after {}", end.generation);
        end.generation = generation;
        end.state = State::Up;
        end.newest_due = end.newest.is_some().then_some(due);
        let channel = self.channel(at);
        self.events.push_back(Input::Up { channel });
    }

    /// Ends the present incarnation, if there is one. The node is told of every one that was up.
    fn become_down(&mut self, at: usize, opens: Instant) {
        if matches!(self.ends[at].state, State::Up) {
            let channel = self.channel(at);
            self.events.push_back(Input::Down { channel });
        }
        self.ends[at].become_down(opens);
    }

    /// Queues a message that is to leave `late` from now.
    pub(super) fn send(&mut self, now: Instant, late: Duration, channel: Channel, message: &PeerMessage<Bytes>) {
        if channel.kind == ChannelKind::Election {
            return self.post(now + late, message);
        }
        let Some(at) = self.live(channel) else { return };
        let end = &mut self.ends[at];
        let frame = Frame::message(now + late, end.encode(message));
        let length = frame.cost - OVERHEAD;
        let full = end.bytes > 0 && end.bytes + frame.cost > ROOM;
        if length > self.frame {
            let most = self.frame;
            tracing::error!("{channel}: a message of {length} bytes, {most} are allowed: the channel breaks");
        } else if full {
            tracing::warn!("{channel}: {} messages with {} bytes wait: the channel breaks", end.queue.len(), end.bytes);
        } else {
            return end.push(frame);
        }
        end.forget_messages();
        self.break_channel(at, now, late);
    }

    /// The mailbox: overwrites what has not left. It then leaves when that would have, so that votes in close order
    /// do not put each other off.
    fn post(&mut self, due: Instant, message: &PeerMessage<Bytes>) {
        let Some(at) = self.find(ChannelKind::Election) else { return };
        let end = &mut self.ends[at];
        end.newest = Some(end.encode(message));
        if matches!(end.state, State::Up) {
            end.newest_due = Some(end.newest_due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// Breaks a channel behind what was sent on it.
    pub(super) fn hang_up(&mut self, now: Instant, late: Duration, channel: Channel) {
        if let Some(at) = self.live(channel) {
            self.break_channel(at, now, late);
        }
    }

    fn break_channel(&mut self, at: usize, now: Instant, late: Duration) {
        let end = &mut self.ends[at];
        let close = Frame::control(now + late, CLOSE, end.kind, end.generation);
        end.push(close);
        self.become_down(at, now + REOPEN);
    }

    /// Takes one WebSocket message.
    ///
    /// # Errors
    /// What is wrong with it: the link has to go.
    pub(super) fn receive(&mut self, now: Instant, late: Duration, mut frame: Bytes) -> Result<(), String> {
        let first = if frame.has_remaining() { frame.get_u8() } else { return Err("it sent nothing".to_owned()) };
        let Some(at) = self.ends.iter().position(|end| code(end.kind) == first & 0xf) else {
            return Err(format!("it speaks on channel {}, which these two do not have", first & 0xf));
        };
        if first >> 4 == MESSAGE {
            return self.hear(at, frame);
        }
        if frame.len() != 4 {
            return Err(format!("{} bytes where a generation has 4", frame.len()));
        }
        let generation = frame.get_u32();
        match first >> 4 {
            OPEN => self.hear_open(at, generation, now + late),
            CLOSE => self.hear_close(at, generation, now),
            other => Err(format!("message {other}, which this node does not know")),
        }
    }

    fn hear(&mut self, at: usize, frame: Bytes) -> Result<(), String> {
        let channel = self.channel(at);
        let end = &mut self.ends[at];
        if !matches!(end.state, State::Up) {
            return Ok(());
        }
        let frame = if frame.len() < WORTH_SHARING { Bytes::copy_from_slice(&frame) } else { frame };
        let message = end.codec.decode_on(end.kind, frame).map_err(|error| format!("{}: {error}", end.kind))?;
        self.events.push_back(Input::Peer { channel, message });
        Ok(())
    }

    fn hear_open(&mut self, at: usize, generation: u32, due: Instant) -> Result<(), String> {
        let end = &mut self.ends[at];
        // Nobody gets there by counting, and a number near the end would leave no room for the next.
        if generation > u32::MAX / 2 {
            return Err(format!("generation {generation} is not a likely one"));
        }
        match &mut end.state {
            State::Down { theirs, .. } if theirs.is_none() => *theirs = Some(generation),
            State::Opened { ours } => {
                let generation = generation.max(*ours);
                self.become_up(at, generation, due);
            }
            State::Down { .. } | State::Up => return Err(format!("it opens the {} channel twice", end.kind)),
        }
        Ok(())
    }

    fn hear_close(&mut self, at: usize, generation: u32, now: Instant) -> Result<(), String> {
        let end = &mut self.ends[at];
        match end.state {
            State::Up if end.generation == generation => {
                end.forget_messages();
                self.become_down(at, now);
                Ok(())
            }
            State::Up => Err(format!("it closes {} channel {generation}, {} is up", end.kind, end.generation)),
            // Both closed at once.
            State::Down { .. } | State::Opened { .. } => Ok(()),
        }
    }

    /// Moves what is due to `ready`, about `budget` bytes of it, opening what is to be opened.
    pub(super) fn take_ready(&mut self, now: Instant, late: Duration, budget: usize, ready: &mut Vec<Vec<Bytes>>) {
        let mut taken = 0;
        for at in 0..self.ends.len() {
            self.open(at, now, late);
            let end = &mut self.ends[at];
            while taken < budget && end.queue.front().is_some_and(|front| front.due <= now) {
                let Some(frame) = end.queue.pop_front() else { break };
                end.bytes -= frame.cost;
                taken += frame.cost;
                ready.push(frame.segments);
            }
            if end.queue.is_empty()
                && end.newest_due.is_some_and(|due| due <= now)
                && let Some(newest) = &end.newest
            {
                ready.push(newest.clone());
                end.newest_due = None;
            }
        }
    }

    fn open(&mut self, at: usize, now: Instant, late: Duration) {
        let end = &mut self.ends[at];
        let State::Down { opens, theirs } = end.state else { return };
        if !self.linked || opens > now {
            return;
        }
        let ours = end.generation + 1;
        end.push(Frame::control(now + late, OPEN, end.kind, ours));
        match theirs {
            Some(theirs) => self.become_up(at, ours.max(theirs), now + late),
            None => end.state = State::Opened { ours },
        }
    }

    /// When `take_ready` next has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = |end: &End| {
            let opens = match end.state {
                State::Down { opens, .. } => Some(opens),
                State::Opened { .. } | State::Up => None,
            };
            [opens, end.queue.front().map(|front| front.due), end.newest_due].into_iter().flatten().min()
        };
        if self.linked { self.ends.iter().filter_map(due).min() } else { None }
    }

    /// A channel on which so much waits that it is not good to say more, if there is one.
    pub(super) fn backed_up(&self) -> Option<Channel> {
        let is_backed_up = |end: &End| matches!(end.state, State::Up) && end.bytes > BACKED_UP;
        self.ends.iter().position(is_backed_up).map(|at| self.channel(at))
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn next_event(&mut self) -> Option<Input> {
        self.events.pop_front()
    }
}
