//! What a node asks of its host, performed: messages leave, connections are made, the disk works.

use super::{Event, Reason, World};
use crate::api::peer::{Channel, PeerMessage};
use crate::api::storage::{Lane, StoreOp};
use crate::check::Fault;
use crate::digest::Digest;
use crate::id::{ConnId, DialId, NodeId};
use crate::machine::Ticket;
use crate::node::{Address, Effect, Input, Reply, Request};
use crate::record::offset::LogRange;
use crate::rng::mix;
use crate::sim::host::Dial;
use crate::sim::network::{Carries, StreamId};
use crate::sim::schedule::Class;
use crate::sim::trace::What;
use crate::sim::{bridge, build};
use crate::time::Span;

impl World {
    pub(super) fn perform(&mut self, at: usize, effect: Effect) {
        let me = self.hosts[at].id;
        match effect {
            Effect::Send { channel, message } => self.send_peer(at, channel, message),
            Effect::Hangup { channel } => {
                self.record(me, What::HungUp { peer: channel.peer }, 0);
                if let Some(stream) = self.live_channel(me, channel) {
                    self.hang_up(stream, me, false);
                }
            }
            Effect::Reply { conn, reply } => self.reply(at, conn, reply),
            Effect::Close { conn } => {
                if let Some(stream) = self.hosts[at].conns.get(&conn).map(|known| known.stream) {
                    self.record(me, What::HungUp { peer: self.network.streams[&stream].near }, 0);
                    self.hang_up(stream, me, false);
                }
            }
            Effect::Dial { dial, to } => self.dial(at, dial, &to),
            Effect::Ask { dial, request } => self.ask(at, dial, request),
            Effect::HangupDial { dial } => {
                if let Some(known) = self.hosts[at].dials.get(&dial) {
                    let (stream, to) = (known.stream, known.to);
                    self.record(me, What::HungUp { peer: to }, 0);
                    self.hang_up(stream, me, false);
                }
            }
            Effect::Store { lane, op } => self.store(at, &lane, op),
            Effect::Sync { lane, ticket } => self.sync(at, lane, ticket),
            Effect::Load { lane, ticket, what } => {
                self.record(me, What::LoadAsked { ticket }, 0);
                match self.hosts[at].store.load(&what) {
                    Ok(loaded) => {
                        self.hosts[at].loads.insert((lane.clone(), ticket), loaded);
                        let boot = self.hosts[at].boot;
                        let due = self.now + self.disk_delay(at);
                        self.schedule.push(due, Class::Disk, me, Event::Loaded { lane, ticket, boot });
                    }
                    Err(error) => self.halt(at, error.to_string()),
                }
            }
            Effect::Halt { why } => self.halt(at, why),
            Effect::Stopped => {
                self.record(me, What::Stopped, 0);
                self.checks.befell(self.seen(at), Fault::Crash, "stopped in order");
                self.crash_disk(at);
                self.stop(at, "stopped in order".to_owned(), false);
            }
        }
    }

    pub(super) fn live_channel(&self, me: NodeId, channel: Channel) -> Option<StreamId> {
        let stream = self.network.channel(me, channel.peer, channel.kind)?;
        let known = &self.network.streams[&stream];
        let end = known.end_of(me);
        let same = matches!(known.carries, Carries::Channel { generation, .. } if generation == channel.generation);
        (same && known.open && !known.gone[end as usize]).then_some(stream)
    }

    pub(super) fn send_peer(&mut self, at: usize, channel: Channel, message: PeerMessage<LogRange>) {
        let me = self.hosts[at].id;
        let Some(stream) = self.live_channel(me, channel) else { return };
        let label = bridge::label_peer(&message);
        let host = &mut self.hosts[at];
        let message = match bridge::materialize_peer(message, &host.store) {
            Ok(message) => message,
            Err(error) => return self.halt(at, error.to_string()),
        };
        let codec = host.links.entry(channel.peer).or_default();
        let bytes = codec.encode(&message);
        self.transmit(stream, me, label, bytes);
    }

    pub(super) fn reply(&mut self, at: usize, conn: ConnId, reply: Reply<LogRange>) {
        let me = self.hosts[at].id;
        let Some(stream) = self.hosts[at].conns.get(&conn).map(|known| known.stream) else { return };
        let client = self.network.streams[&stream].near;
        let host = &mut self.hosts[at];
        let mut reply = match bridge::materialize_reply(reply, &host.store) {
            Ok(reply) => reply,
            Err(error) => return self.halt(at, error.to_string()),
        };
        if bridge::is_produce(&reply) {
            if host.lose_reply_to.remove(&client) {
                self.record(me, What::Sent { to: client, label: bridge::label_reply(&reply), lost: true }, 0);
                self.hang_up(stream, me, false);
                let event = Event::Break { stream, reason: Reason::Over };
                self.schedule.push(self.now, Class::Network, client, event);
                return;
            }
            if let Some(error) = host.fail_reply_to.remove(&client) {
                bridge::fail_produce(&mut reply, error);
            }
        }
        let label = bridge::label_reply(&reply);
        let bytes = bridge::encode_reply(&reply);
        self.transmit(stream, me, label, bytes);
    }

    pub(super) fn dial(&mut self, at: usize, dial: DialId, to: &Address) {
        let me = self.hosts[at].id;
        let Some(target) = build::resolve(to).filter(|target| self.index.contains_key(target)) else {
            self.schedule_refusal(at, dial);
            return;
        };
        self.record(me, What::Dialled { to: target }, 0);
        let stream = self.network.open(me, target, Carries::Connection { dial, conn: ConnId(0) });
        let codec = bridge::dial_codec(target);
        self.hosts[at].dials.insert(dial, Dial { stream, to: target, codec });
        let direction = self.network.direction(me, target);
        if direction.cut || direction.stalled {
            let at = self.now + self.network.dead_peer;
            self.schedule.push(at, Class::Network, me, Event::Break { stream, reason: Reason::Over });
        } else {
            let due = self.now + self.network.delay(me, target, self.now);
            self.schedule.push(due, Class::Network, target, Event::DialArrives { stream });
        }
    }

    /// A name that nobody has: the dial fails like one that nobody answers.
    pub(super) fn schedule_refusal(&mut self, at: usize, dial: DialId) {
        let me = self.hosts[at].id;
        let stream = self.network.open(me, me, Carries::Connection { dial, conn: ConnId(0) });
        self.hosts[at].dials.insert(dial, Dial { stream, to: me, codec: bridge::dial_codec(me) });
        let due = self.now + self.network.latency.base;
        self.schedule.push(due, Class::Network, me, Event::Break { stream, reason: Reason::Over });
    }

    pub(super) fn ask(&mut self, at: usize, dial: DialId, request: Request) {
        let me = self.hosts[at].id;
        let label = bridge::label_request(&request);
        let Some(known) = self.hosts[at].dials.get_mut(&dial) else { return };
        let stream = known.stream;
        let bytes = bridge::encode_request(&mut known.codec, &request);
        self.transmit(stream, me, label, bytes);
    }

    // ---- the disk --------------------------------------------------------------------------------------------------

    pub(super) fn store(&mut self, at: usize, lane: &Lane, op: StoreOp) {
        let me = self.hosts[at].id;
        self.record(me, What::Stored { op: bridge::stored(&op) }, Digest::of(&op));
        if let Err(error) = self.hosts[at].store.perform(lane, op) {
            self.halt(at, error.to_string());
        }
    }

    /// How long a sync or a load takes now: a function of seed, disk and slot of time.
    pub(super) fn disk_delay(&self, at: usize) -> Span {
        let settings = &self.scenario.settings;
        let draw = mix(self.scenario.seed ^ mix(at as u64 ^ mix((self.now.0 / 1_000_000) ^ 0x6469_736b)));
        let jitter = Span(((u128::from(draw) * u128::from(settings.sync_jitter.0)) >> 64) as u64);
        settings.sync_latency + jitter + self.hosts[at].slow_disk
    }

    pub(super) fn sync(&mut self, at: usize, lane: Lane, ticket: Ticket) {
        self.record(self.hosts[at].id, What::SyncAsked { ticket }, 0);
        if let Err(error) = self.hosts[at].store.flush() {
            return self.halt(at, error.to_string());
        }
        if self.hosts[at].store.ask_sync(&lane, ticket) {
            self.schedule_synced(at, lane);
        }
    }

    pub(super) fn schedule_synced(&mut self, at: usize, lane: Lane) {
        let (id, boot) = (self.hosts[at].id, self.hosts[at].boot);
        let due = self.now + self.disk_delay(at);
        self.schedule.push(due, Class::Disk, id, Event::Synced { lane, boot });
    }

    pub(super) fn synced(&mut self, at: usize, lane: Lane, boot: u32) {
        let host = &mut self.hosts[at];
        if host.boot != boot || !host.is_up() {
            return;
        }
        let (upto, again) = host.store.complete_sync(&lane);
        let id = host.id;
        self.record(id, What::Synced { upto }, 0);
        if again {
            self.schedule_synced(at, lane.clone());
        }
        self.input(at, Input::Synced { lane, upto });
    }

    pub(super) fn loaded(&mut self, at: usize, lane: Lane, ticket: Ticket, boot: u32) {
        let host = &mut self.hosts[at];
        if host.boot != boot {
            return;
        }
        let Some(what) = host.loads.remove(&(lane, ticket)) else { return };
        let id = host.id;
        self.record(id, What::Loaded { ticket }, 0);
        self.input(at, Input::Loaded { ticket, what });
    }
}
