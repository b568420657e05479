//! The world's network: streams that are FIFO, may stall, and may break, losing a suffix, never a middle; and the
//! election mailboxes, whose newest message overwrites.
//!
//! A direction between two nodes can be cut (silence: what is sent is lost, and the stream is doomed), stalled (what is
//! sent waits) or slow, each direction on its own. Nobody is told of a cut at once: the ends notice by their own
//! time-outs, when a dead peer is detected, or when the direction heals and the doomed stream breaks. Knows nothing of
//! what the bytes mean; a message's [`Label`] is for people.

use crate::api::peer::{ChannelKind, PacketType};
use crate::id::{ConnId, DialId, NodeId, Zxid};
use crate::ordered::OrdMap;
use crate::queue::Queue;
use crate::rng::mix;
use crate::time::{Instant, Span};
use bytes::Bytes;

/// Names one stream; never used twice in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// From which end of a stream: `Near` is the one that opened it (or the smaller id of a pair).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Near,
    Far,
}

impl End {
    pub const fn other(self) -> End {
        match self {
            End::Near => End::Far,
            End::Far => End::Near,
        }
    }
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carries {
    Channel {
        kind: ChannelKind,
        generation: u32,
    },
    /// A client's connection: the near end dialled, the far end serves.
    Connection {
        dial: DialId,
        conn: ConnId,
    },
}

/// What a message is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    Vote,
    Packet { kind: PacketType, zxid: Zxid },
    KafkaRequest { key: i16, records: u32 },
    KafkaReply { key: i16, error: i16, records: u32 },
    KeeperRequest { op: i32 },
    KeeperReply { op: i32, error: i32 },
    KeeperEvent,
}

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InFlight {
    /// Its number among all that were ever under way in this world.
    pub number: u64,
    pub sent: Instant,
    pub due: Instant,
    pub label: Label,
    pub bytes: Bytes,
}

/// One direction of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pipe {
    pub queue: Queue<InFlight>,
    /// Nothing may arrive before this: streams are FIFO.
    last_due: Instant,
    /// Something was lost; everything after it is lost too, and the stream will break.
    pub doomed: bool,
    /// A person holds this pipe until then.
    pub held_until: Instant,
    /// Election only: what waits for the one in flight to arrive, and what is sent again when the channel comes up.
    waiting: Option<(Label, Bytes)>,
}

impl Pipe {
    /// When the last message handed to this pipe arrives.
    pub fn last_due(&self) -> Instant {
        self.last_due
    }
}

/// A stream between two nodes: a channel of the mesh, or a client's connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    pub near: NodeId,
    pub far: NodeId,
    pub carries: Carries,
    /// Handshake done: both ends were, or are about to be, told.
    pub open: bool,
    pub pipes: [Pipe; 2],
    /// A doomed stream breaks by itself at this time (dead-peer detection).
    pub breaks_at: Option<Instant>,
    /// Which ends have let go of it and need not be told.
    pub gone: [bool; 2],
}

impl Stream {
    pub fn node(&self, end: End) -> NodeId {
        match end {
            End::Near => self.near,
            End::Far => self.far,
        }
    }

    pub fn end_of(&self, node: NodeId) -> End {
        if node == self.near { End::Near } else { End::Far }
    }

    /// The pipe by which `from` sends.
    pub fn pipe(&mut self, from: End) -> &mut Pipe {
        &mut self.pipes[from as usize]
    }

    pub fn is_mailbox(&self) -> bool {
        matches!(self.carries, Carries::Channel { kind: ChannelKind::Election, .. })
    }
}

/// What a person, or the swarm, did to one direction between two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Direction {
    pub cut: bool,
    pub stalled: bool,
    /// Added to every message's latency.
    pub slow: Span,
}

impl Direction {
    pub fn is_healthy(&self) -> bool {
        *self == Direction::default()
    }
}

/// How fast messages travel when nobody interferes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Latency {
    pub base: Span,
    /// Up to so much more, drawn anew for each direction and slot of time.
    pub jitter: Span,
}

/// What became of a message handed to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It arrives then, unless something happens on the way.
    Due(Instant),
    /// It waits: the direction is stalled, or (in a mailbox) an earlier one is still under way.
    Waits,
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    seed: u64,
    pub latency: Latency,
    /// How long a doomed stream goes unnoticed by the hosts.
    pub dead_peer: Span,
    directions: OrdMap<(NodeId, NodeId), Direction>,
    pub streams: OrdMap<StreamId, Stream>,
    next_stream: u64,
    next_message: u64,
    generations: OrdMap<(NodeId, NodeId, ChannelKind), u32>,
    channels: OrdMap<(NodeId, NodeId, ChannelKind), StreamId>,
    /// The newest election message from one keeper to another: sent again when their channel comes up.
    newest_vote: OrdMap<(NodeId, NodeId), (Label, Bytes)>,
}

/// Weather changes every so often.
const SLOT: u64 = 10_000_000;

fn code(node: NodeId) -> u64 {
    match node {
        NodeId::Keeper(id) => 0x1_0000 | u64::from(id.0),
        NodeId::Broker(n) => 0x2_0000_0000 | u64::from(n),
        NodeId::Client(n) => 0x3_0000_0000 | u64::from(n),
    }
}

impl Network {
    pub fn new(seed: u64, latency: Latency, dead_peer: Span) -> Network {
        Network {
            seed,
            latency,
            dead_peer,
            directions: OrdMap::new(),
            streams: OrdMap::new(),
            next_stream: 0,
            next_message: 0,
            generations: OrdMap::new(),
            channels: OrdMap::new(),
            newest_vote: OrdMap::new(),
        }
    }

    /// The state of one direction.
    pub fn direction(&self, from: NodeId, to: NodeId) -> Direction {
        self.directions.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Every direction with something done to it.
    pub fn troubled(&self) -> impl Iterator<Item = (NodeId, NodeId, Direction)> + '_ {
        self.directions.iter().map(|((from, to), direction)| (*from, *to, *direction))
    }

    pub fn set_direction(&mut self, from: NodeId, to: NodeId, direction: Direction) {
        if direction.is_healthy() {
            self.directions.remove(&(from, to));
        } else {
            self.directions.insert((from, to), direction);
        }
    }

    /// How long a message sent now takes: a function of seed, direction and slot of time, so that one more message
    /// changes no other's weather.
    pub fn delay(&self, from: NodeId, to: NodeId, now: Instant) -> Span {
        let draw = mix(self.seed ^ mix(code(from) ^ mix(code(to) ^ mix(now.0 / SLOT))));
        let jitter = Span(((u128::from(draw) * u128::from(self.latency.jitter.0)) >> 64) as u64);
        self.latency.base + jitter + self.direction(from, to).slow
    }

    /// Whether a handshake between the two can succeed now.
    pub fn reaches(&self, a: NodeId, b: NodeId) -> bool {
        let open = |direction: Direction| !direction.cut && !direction.stalled;
        open(self.direction(a, b)) && open(self.direction(b, a))
    }

    /// Opens a stream from `near` to `far`.
    pub fn open(&mut self, near: NodeId, far: NodeId, carries: Carries) -> StreamId {
        self.next_stream += 1;
        let id = StreamId(self.next_stream);
        let stream = Stream {
            near,
            far,
            carries,
            open: false,
            pipes: [Pipe::default(), Pipe::default()],
            breaks_at: None,
            gone: [false; 2],
        };
        self.streams.insert(id, stream);
        id
    }

    fn pair(a: NodeId, b: NodeId, kind: ChannelKind) -> (NodeId, NodeId, ChannelKind) {
        if a < b { (a, b, kind) } else { (b, a, kind) }
    }

    /// Opens the next generation of a channel between a pair.
    pub fn open_channel(&mut self, a: NodeId, b: NodeId, kind: ChannelKind) -> StreamId {
        let pair = Network::pair(a, b, kind);
        let generation = self.generations.entry(pair).or_default();
        *generation += 1;
        let generation = *generation;
        let id = self.open(pair.0, pair.1, Carries::Channel { kind, generation });
        self.channels.insert(pair, id);
        id
    }

    /// The stream that carries a channel now, if there is one.
    pub fn channel(&self, a: NodeId, b: NodeId, kind: ChannelKind) -> Option<StreamId> {
        self.channels.get(&Network::pair(a, b, kind)).copied()
    }

    /// Removes a stream with everything under way on it.
    pub fn close(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        if let Carries::Channel { kind, .. } = stream.carries {
            let pair = Network::pair(stream.near, stream.far, kind);
            if self.channels.get(&pair) == Some(&id) {
                self.channels.remove(&pair);
            }
        }
        Some(stream)
    }

    /// Hands a message to a stream.
    pub fn send(&mut self, id: StreamId, from: End, now: Instant, label: Label, bytes: Bytes) -> Sent {
        let Some(stream) = self.streams.get(&id) else { return Sent::Lost };
        let (sender, receiver) = (stream.node(from), stream.node(from.other()));
        let mailbox = stream.is_mailbox();
        if mailbox {
            self.newest_vote.insert((sender, receiver), (label, bytes.clone()));
        }
        let delay = self.delay(sender, receiver, now);
        let direction = self.direction(sender, receiver);
        let dead_at = now + self.dead_peer;
        self.next_message += 1;
        let number = self.next_message;
        let Some(stream) = self.streams.get_mut(&id) else { return Sent::Lost };
        if direction.cut || stream.pipes[from as usize].doomed {
            stream.pipe(from).doomed = true;
            stream.breaks_at.get_or_insert(dead_at);
            return Sent::Lost;
        }
        let pipe = stream.pipe(from);
        if mailbox && !pipe.queue.is_empty() {
            pipe.waiting = Some((label, bytes));
            return Sent::Waits;
        }
        let due = (now + delay).max(pipe.last_due).max(pipe.held_until);
        pipe.last_due = due;
        pipe.queue.push_back(InFlight { number, sent: now, due, label, bytes });
        if direction.stalled { Sent::Waits } else { Sent::Due(due) }
    }

    /// The newest message for a mailbox that just came up.
    pub fn newest_vote(&self, from: NodeId, to: NodeId) -> Option<(Label, Bytes)> {
        self.newest_vote.get(&(from, to)).cloned()
    }

    /// A keeper that restarts has nothing to repeat.
    pub fn forget_votes_of(&mut self, node: NodeId) {
        self.newest_vote.retain(|(from, _), _| *from != node);
    }

    /// Takes the message at the head of a pipe if it is due, and says when the next one is.
    pub fn arrive(&mut self, id: StreamId, from: End, now: Instant) -> Arrival {
        let Some(stream) = self.streams.get(&id) else { return Arrival::Nothing };
        let (sender, receiver) = (stream.node(from), stream.node(from.other()));
        let direction = self.direction(sender, receiver);
        let delay = self.delay(sender, receiver, now);
        let dead_at = now + self.dead_peer;
        self.next_message += 1;
        let number = self.next_message;
        let Some(stream) = self.streams.get_mut(&id) else { return Arrival::Nothing };
        let pipe = &mut stream.pipes[from as usize];
        let Some(head) = pipe.queue.front() else { return Arrival::Nothing };
        if head.due > now || pipe.held_until > now || direction.stalled {
            return Arrival::Nothing;
        }
        if direction.cut || pipe.doomed {
            // It was under way when the wire was cut: the suffix from here on is lost.
            let lost = core::mem::take(&mut pipe.queue);
            pipe.waiting = None;
            pipe.doomed = true;
            stream.breaks_at.get_or_insert(dead_at);
            return Arrival::Lost { count: lost.len() as u32 };
        }
        let message = pipe.queue.pop_front();
        if let Some((label, bytes)) = pipe.waiting.take() {
            let due = (now + delay).max(pipe.last_due);
            pipe.last_due = due;
            pipe.queue.push_back(InFlight { number, sent: now, due, label, bytes });
        }
        let next = pipe.queue.front().map(|next| next.due.max(now));
        match message {
            Some(message) => Arrival::Message { message, next },
            None => Arrival::Nothing,
        }
    }

    /// After a stall ends or a hold is over: when the head of each pipe of this direction arrives.
    pub fn resume(&mut self, from: NodeId, to: NodeId, now: Instant) -> Vec<(StreamId, End, Instant)> {
        let mut due = Vec::new();
        for (id, stream) in &mut self.streams {
            if (stream.near, stream.far) != (from, to) && (stream.far, stream.near) != (from, to) {
                continue;
            }
            let end = stream.end_of(from);
            if let Some(head) = stream.pipe(end).queue.front() {
                due.push((*id, end, head.due.max(now)));
            }
        }
        due
    }

    /// Streams between two nodes.
    pub fn between(&self, a: NodeId, b: NodeId) -> Vec<StreamId> {
        let joins = |stream: &Stream| (stream.near, stream.far) == (a, b) || (stream.near, stream.far) == (b, a);
        self.streams.iter().filter(|(_, stream)| joins(stream)).map(|(id, _)| *id).collect()
    }

    /// Streams that end at a node.
    pub fn of_node(&self, node: NodeId) -> Vec<StreamId> {
        let touches = |stream: &Stream| stream.near == node || stream.far == node;
        self.streams.iter().filter(|(_, stream)| touches(stream)).map(|(id, _)| *id).collect()
    }
}

/// What the head of a pipe was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    Nothing,
    Message { message: InFlight, next: Option<Instant> },
    Lost { count: u32 },
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::keeper(1);
    const B: NodeId = NodeId::keeper(2);
    const COMMIT: Label = Label::Packet { kind: PacketType::Commit, zxid: Zxid(7) };

    fn network() -> (Network, StreamId) {
        let latency = Latency { base: Span::millis(1), jitter: Span::millis(5) };
        let mut network = Network::new(7, latency, Span::secs(10));
        let id = network.open_channel(A, B, ChannelKind::Quorum);
        (network, id)
    }

    fn text(of: &'static str) -> Bytes {
        Bytes::from_static(of.as_bytes())
    }

    /// Everything that arrives from A at B up to `until`, in order.
    fn received(network: &mut Network, id: StreamId, until: Instant) -> Vec<Bytes> {
        let mut all = Vec::new();
        while let Arrival::Message { message, .. } = network.arrive(id, End::Near, until) {
            all.push(message.bytes);
        }
        all
    }

    #[test]
    fn a_stream_keeps_its_order_whatever_the_weather() {
        let (mut network, id) = network();
        for n in 0..50u64 {
            network.send(id, End::Near, Instant(n * 7_000_000), COMMIT, Bytes::from(vec![n as u8]));
        }
        let all = received(&mut network, id, Instant(u64::MAX / 2));
        assert_eq!(all, (0..50).map(|n| Bytes::from(vec![n])).collect::<Vec<_>>());
    }

    #[test]
    fn a_cut_loses_a_suffix_and_dooms_the_stream() {
        let (mut network, id) = network();
        network.send(id, End::Near, Instant(0), COMMIT, text("before"));
        assert_eq!(received(&mut network, id, Instant(1 << 30)), ["before"]);
        network.set_direction(A, B, Direction { cut: true, ..Direction::default() });
        assert_eq!(network.send(id, End::Near, Instant(1 << 30), COMMIT, text("during")), Sent::Lost);
        network.set_direction(A, B, Direction::default());
        assert_eq!(network.send(id, End::Near, Instant(1 << 31), COMMIT, text("after")), Sent::Lost, "never a middle");
        assert!(network.streams[&id].breaks_at.is_some());
    }

    #[test]
    fn a_stall_loses_nothing() {
        let (mut network, id) = network();
        network.set_direction(A, B, Direction { stalled: true, ..Direction::default() });
        assert_eq!(network.send(id, End::Near, Instant(0), COMMIT, text("one")), Sent::Waits);
        assert_eq!(network.arrive(id, End::Near, Instant(1 << 40)), Arrival::Nothing);
        network.set_direction(A, B, Direction::default());
        assert_eq!(network.resume(A, B, Instant(1 << 40)), [(id, End::Near, Instant(1 << 40))]);
        assert_eq!(received(&mut network, id, Instant(1 << 40)), ["one"]);
    }

    #[test]
    fn a_mailbox_holds_only_the_newest() {
        let (mut network, _) = network();
        let id = network.open_channel(A, B, ChannelKind::Election);
        for vote in ["first", "second", "third"] {
            network.send(id, End::Near, Instant(0), Label::Vote, text(vote));
        }
        let far = Instant(1 << 40);
        assert_eq!(received(&mut network, id, far)[0], "first");
        assert_eq!(received(&mut network, id, far + Span::secs(1)), ["third"]);
        assert_eq!(network.newest_vote(A, B), Some((Label::Vote, text("third"))));
    }
}
