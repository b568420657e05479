//! A world's connections: how channels and dials come up, what travels on them, how they break.

use super::{Event, Reason, World};
use crate::api::peer::{Channel, ChannelKind};
use crate::digest::Digest;
use crate::id::{ConnId, NodeId};
use crate::node::Input;
use crate::sim::bridge;
use crate::sim::host::Conn;
use crate::sim::network::{Arrival, Carries, End, Label, Sent, StreamId};
use crate::sim::schedule::Class;
use crate::sim::trace::What;
use bytes::Bytes;

impl World {
    pub(super) fn connect_all_of(&mut self, id: NodeId) {
        let others: Vec<NodeId> = self.hosts.iter().map(|host| host.id).filter(|other| *other != id).collect();
        for other in others {
            self.connect_pair(id, other);
        }
    }

    /// A machine that is back knows nothing of its former streams, and says so to whoever still speaks on one.
    pub(super) fn reset_streams_of(&mut self, id: NodeId) {
        for stream in self.network.of_node(id) {
            let known = &self.network.streams[&stream];
            let end = known.end_of(id);
            let other = known.node(end.other());
            if known.gone[end as usize] && !self.network.direction(id, other).cut {
                let at = self.now + self.network.delay(id, other, self.now);
                let event = Event::Break { stream, reason: Reason::Over };
                self.schedule.push(at, Class::Network, other, event);
            }
        }
    }

    /// Asks for every channel that the two should have and have not.
    pub(super) fn connect_pair(&mut self, a: NodeId, b: NodeId) {
        let kinds: &[ChannelKind] = match (a, b) {
            (NodeId::Keeper(_), NodeId::Keeper(_)) => &[ChannelKind::Election, ChannelKind::Quorum],
            (NodeId::Broker(_), NodeId::Broker(_)) => &[ChannelKind::Requests],
            _ => &[],
        };
        for kind in kinds {
            if self.network.channel(a, b, *kind).is_none() {
                self.schedule.push(self.now, Class::Network, a, Event::Connect { a, b, kind: *kind });
            }
        }
    }

    pub(super) fn connect(&mut self, a: NodeId, b: NodeId, kind: ChannelKind) {
        let both_up = self.hosts[self.at(a)].is_up() && self.hosts[self.at(b)].is_up();
        if !both_up || self.network.channel(a, b, kind).is_some() || !self.network.reaches(a, b) {
            return;
        }
        let stream = self.network.open_channel(a, b, kind);
        let delay = self.network.delay(a, b, self.now) + self.network.delay(b, a, self.now);
        self.schedule.push(self.now + delay, Class::Network, a, Event::ChannelUp { stream });
    }

    pub(super) fn channel_up(&mut self, id: StreamId) {
        let Some(stream) = self.network.streams.get_mut(&id) else { return };
        let Carries::Channel { kind, generation } = stream.carries else { return };
        let (near, far) = (stream.near, stream.far);
        stream.open = true;
        for (me, peer) in [(near, far), (far, near)] {
            let at = self.at(me);
            self.hosts[at].links.remove(&peer);
            self.record(me, What::ChannelUp { peer, kind, generation }, 0);
            self.input(at, Input::Up { channel: Channel { peer, kind, generation } });
            if kind == ChannelKind::Election
                && let Some((label, bytes)) = self.network.newest_vote(me, peer)
            {
                self.transmit(id, me, label, bytes);
            }
        }
    }

    pub(super) fn dial_arrives(&mut self, id: StreamId) {
        let Some(stream) = self.network.streams.get(&id) else { return };
        let (near, far) = (stream.near, stream.far);
        let target = self.at(far);
        let delay = self.network.delay(far, near, self.now);
        if !self.hosts[target].is_up() {
            self.schedule.push(
                self.now + delay,
                Class::Network,
                near,
                Event::Break { stream: id, reason: Reason::Over },
            );
            return;
        }
        let host = &mut self.hosts[target];
        host.next_conn += 1;
        let conn = ConnId(host.next_conn);
        host.conns.insert(conn, Conn { stream: id, codec: bridge::server_codec(far) });
        if let Some(stream) = self.network.streams.get_mut(&id)
            && let Carries::Connection { dial, .. } = stream.carries
        {
            stream.carries = Carries::Connection { dial, conn };
        }
        if !self.network.direction(far, near).cut {
            self.schedule.push(self.now + delay, Class::Network, near, Event::DialOpens { stream: id });
        }
    }

    pub(super) fn dial_opens(&mut self, id: StreamId) {
        let Some(stream) = self.network.streams.get_mut(&id) else { return };
        let Carries::Connection { dial, .. } = stream.carries else { return };
        let (near, far) = (stream.near, stream.far);
        stream.open = true;
        let at = self.at(near);
        if self.hosts[at].dials.contains_key(&dial) {
            self.record(near, What::Opened { to: far }, 0);
            self.input(at, Input::Opened { dial });
        }
    }

    /// One end lets go of a stream; the other learns it behind whatever is still under way to it.
    pub(super) fn hang_up(&mut self, id: StreamId, by: NodeId, silent: bool) {
        let Some(stream) = self.network.streams.get_mut(&id) else { return };
        let end = stream.end_of(by);
        let other = stream.node(end.other());
        let kind = stream.carries;
        stream.gone[end as usize] = true;
        stream.pipe(end.other()).doomed = true;
        let after = stream.pipe(end).last_due();
        let cut = self.network.direction(by, other).cut;
        let delay = if silent || cut { self.network.dead_peer } else { self.network.delay(by, other, self.now) };
        let at = (self.now + delay).max(after);
        self.schedule.push(at, Class::Network, other, Event::Break { stream: id, reason: Reason::Over });
        let host_at = self.at(by);
        match kind {
            Carries::Connection { dial, conn } => {
                if end == End::Near {
                    self.hosts[host_at].dials.remove(&dial);
                } else {
                    self.hosts[host_at].conns.remove(&conn);
                }
            }
            Carries::Channel { .. } => {}
        }
    }

    pub(super) fn break_stream(&mut self, id: StreamId, reason: Reason) {
        let Some(stream) = self.network.streams.get(&id) else { return };
        let (near, far) = (stream.near, stream.far);
        if reason == Reason::Silence {
            let cut = self.network.direction(near, far).cut || self.network.direction(far, near).cut;
            if !cut && !stream.pipes.iter().any(|pipe| pipe.doomed) {
                return;
            }
        }
        let Some(stream) = self.network.close(id) else { return };
        for (end, me, peer) in [(End::Near, near, far), (End::Far, far, near)] {
            if stream.gone[end as usize] {
                continue;
            }
            self.tell_broken(self.at(me), end, peer, stream.carries, stream.open);
        }
        if let Carries::Channel { kind, .. } = stream.carries {
            let at = self.now + self.scenario.settings.reconnect;
            self.schedule.push(at, Class::Network, near, Event::Connect { a: near, b: far, kind });
        }
    }

    pub(super) fn tell_broken(&mut self, at: usize, end: End, peer: NodeId, carries: Carries, open: bool) {
        let me = self.hosts[at].id;
        match (carries, end) {
            (Carries::Channel { kind, generation }, _) => {
                if open && self.hosts[at].is_up() {
                    self.record(me, What::ChannelDown { peer, kind, generation }, 0);
                    self.input(at, Input::Down { channel: Channel { peer, kind, generation } });
                }
            }
            (Carries::Connection { dial, .. }, End::Near) => {
                if self.hosts[at].dials.remove(&dial).is_some() {
                    self.record(me, What::Hung { to: peer }, 0);
                    self.input(at, Input::Hung { dial });
                }
            }
            (Carries::Connection { conn, .. }, End::Far) => {
                if self.hosts[at].conns.remove(&conn).is_some() {
                    self.record(me, What::Closed { by: peer }, 0);
                    self.input(at, Input::Closed { conn });
                }
            }
        }
    }

    /// Hands bytes to the network and schedules their arrival.
    pub(super) fn transmit(&mut self, id: StreamId, from: NodeId, label: Label, bytes: Bytes) {
        let Some(stream) = self.network.streams.get(&id) else { return };
        let end = stream.end_of(from);
        let to = stream.node(end.other());
        let (length, doomed_before) = (Digest::of(&bytes), stream.breaks_at.is_some());
        let sent = self.network.send(id, end, self.now, label, bytes);
        self.record(from, What::Sent { to, label, lost: sent == Sent::Lost }, length);
        match sent {
            Sent::Due(due) => {
                self.schedule.push(due, Class::Network, to, Event::Arrive { stream: id, from: end });
            }
            Sent::Waits => {}
            Sent::Lost => {
                if !doomed_before && let Some(at) = self.network.streams.get(&id).and_then(|s| s.breaks_at) {
                    let event = Event::Break { stream: id, reason: Reason::Silence };
                    self.schedule.push(at, Class::Network, to, event);
                }
            }
        }
    }

    pub(super) fn arrive(&mut self, id: StreamId, from: End) {
        let Some(stream) = self.network.streams.get(&id) else { return };
        let (sender, receiver) = (stream.node(from), stream.node(from.other()));
        let gone = stream.gone[from.other() as usize];
        let at = self.at(receiver);
        if self.hosts[at].paused.is_some() {
            return;
        }
        match self.network.arrive(id, from, self.now) {
            Arrival::Nothing => {}
            Arrival::Lost { .. } => {
                let breaks_at = self.now + self.network.dead_peer;
                let event = Event::Break { stream: id, reason: Reason::Silence };
                self.schedule.push(breaks_at, Class::Network, receiver, event);
            }
            Arrival::Message { message, next } => {
                if let Some(next) = next {
                    self.schedule.push(next, Class::Network, receiver, Event::Arrive { stream: id, from });
                }
                if !gone && self.hosts[at].is_up() {
                    self.receive(id, at, sender, message.label, message.bytes);
                }
            }
        }
    }

    /// Decodes what arrived and steps the node with it.
    pub(super) fn receive(&mut self, id: StreamId, at: usize, from: NodeId, label: Label, bytes: Bytes) {
        let Some(stream) = self.network.streams.get(&id) else { return };
        let (carries, is_near) = (stream.carries, stream.near == self.hosts[at].id);
        let me = self.hosts[at].id;
        self.record(me, What::Received { from, label }, bytes.len() as u64);
        let host = &mut self.hosts[at];
        let input = match carries {
            Carries::Channel { kind, generation } => {
                let codec = host.links.entry(from).or_default();
                let message = codec
                    .decode_on(kind, bytes)
                    .unwrap_or_else(|bad| panic!("{me} cannot read {label} from {from}: {bad}"));
                Input::Peer { channel: Channel { peer: from, kind, generation }, message }
            }
            Carries::Connection { dial, .. } if is_near => {
                let Some(known) = host.dials.get_mut(&dial) else { return };
                let reply = bridge::decode_reply(&mut known.codec, bytes)
                    .unwrap_or_else(|bad| panic!("{me} cannot read {label} from {from}: {bad}"));
                Input::Answer { dial, reply }
            }
            Carries::Connection { conn, .. } => {
                let Some(known) = host.conns.get_mut(&conn) else { return };
                let request = bridge::decode_request(&mut known.codec, from, bytes)
                    .unwrap_or_else(|bad| panic!("{me} cannot read {label} from {from}: {bad}"));
                Input::Request { conn, request }
            }
        };
        self.input(at, input);
    }
}
