//! The world: nodes on their hosts, the network between them, and one total order of events.
//!
//! Decides when everything happens; knows nothing of what the machines decide. Equal scenarios give equal traces, on
//! every host, whatever is watched.

use super::clock::Clock;
use super::disk::PowerLoss;
use super::host::{Conn, Dial, Down, Host};
use super::network::{Arrival, Carries, Direction, End, Label, Latency, Network, Sent, StreamId};
use super::scenario::{Action, Scenario, Timed};
use super::schedule::{Class, Schedule};
use super::trace::{Entry, Keep, Told, Trace, What};
use super::view::Chronicle;
use super::{bridge, build};
use crate::api::peer::{Channel, ChannelKind, PeerMessage};
use crate::api::storage::{Lane, StoreOp};
use crate::check::{Checks, Counts, Fault, Seen, Violation};
use crate::digest::Digest;
use crate::id::{ConnId, DialId, NodeId};
use crate::machine::{Effects, Machine, Ticket};
use crate::node::{Address, Effect, Input, Reply, Request};
use crate::nodes::Node;
use crate::record::offset::LogRange;
use crate::rng::{Rng, mix};
use crate::time::{Instant, Span, UnixMillis};
use bytes::Bytes;
use core::hash::{Hash, Hasher};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is due in a world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Event {
    /// The scenario's next action.
    Act,
    /// The head of a pipe may have arrived.
    Arrive {
        stream: StreamId,
        from: End,
    },
    /// Both ends learn that a channel is up.
    ChannelUp {
        stream: StreamId,
    },
    /// The two try to bring a channel up.
    Connect {
        a: NodeId,
        b: NodeId,
        kind: ChannelKind,
    },
    /// A dial reaches its target.
    DialArrives {
        stream: StreamId,
    },
    /// The dialler learns that it is connected.
    DialOpens {
        stream: StreamId,
    },
    /// A stream breaks, if its reason still stands.
    Break {
        stream: StreamId,
        reason: Reason,
    },
    Synced {
        lane: Lane,
        boot: u32,
    },
    Loaded {
        lane: Lane,
        ticket: Ticket,
        boot: u32,
    },
    /// The node may want to be woken.
    Look {
        boot: u32,
    },
}

/// Why a stream is to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Reason {
    /// One end hung up, died or refused; whoever is left is told.
    Over,
    /// Nothing was heard for too long, if a direction is still cut or something was lost.
    Silence,
}

/// More wakes of one node at one moment are a livelock.
const WAKES_AT_ONCE: u32 = 1000;

/// A whole cluster with its network, disks, clocks and clients.
#[derive(Clone, Debug)]
pub struct World {
    scenario: Arc<Scenario>,
    /// Actions not yet taken: the scenario's, and those injected since.
    actions: Arc<Vec<Timed>>,
    next_action: usize,
    now: Instant,
    schedule: Schedule<Event>,
    pub network: Network,
    hosts: Vec<Host>,
    index: BTreeMap<NodeId, usize>,
    digest: Digest,
    entries: u64,
    pub trace: Trace,
    /// What a view remembers of the notes; no node and no checker reads it.
    pub(super) chronicle: Chronicle,
    pub checks: Checks,
    pub counts: Counts,
    /// Reused between steps; always empty there.
    effects: Effects<Effect>,
}

impl World {
    /// A world at its first moment: every node is about to start.
    pub fn new(scenario: &Scenario) -> World {
        let settings = &scenario.settings;
        let latency = Latency { base: settings.latency, jitter: settings.jitter };
        let mut world = World {
            actions: Arc::new(scenario.actions.clone()),
            next_action: 0,
            now: Instant::ZERO,
            schedule: Schedule::default(),
            network: Network::new(scenario.seed, latency, settings.dead_peer),
            hosts: Vec::new(),
            index: BTreeMap::new(),
            digest: Digest::default(),
            entries: 0,
            trace: Trace::default(),
            chronicle: Chronicle::new(scenario),
            checks: Checks::new(build::promise(scenario)),
            counts: Counts::new(),
            effects: Effects::default(),
            scenario: Arc::new(scenario.clone()),
        };
        for id in build::nodes(scenario) {
            world.index.insert(id, world.hosts.len());
            world.hosts.push(Host::new(id, Clock::new(UnixMillis(build::WALL_AT_ZERO))));
        }
        for at in 0..world.hosts.len() {
            world.boot(at);
        }
        world.schedule_actions();
        world
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The scenario with every action taken or waiting: what was done here, as a text that does it again.
    pub fn as_scenario(&self) -> Scenario {
        Scenario { actions: self.actions.to_vec(), ..(*self.scenario).clone() }
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// Inputs stepped and effects performed so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    pub fn host(&self, id: NodeId) -> Option<&Host> {
        self.index.get(&id).map(|at| &self.hosts[*at])
    }

    /// A digest of the whole run so far and of every machine's state now.
    pub fn digest(&self) -> u64 {
        let mut digest = self.digest;
        for host in &self.hosts {
            host.boot.hash(&mut digest);
            host.machine.hash(&mut digest);
        }
        digest.finish()
    }

    /// The digest of the entries alone: cheap, and equal for equal runs.
    pub fn trace_digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Takes an action now (or as soon as the world goes on), and remembers it as part of the scenario.
    pub fn inject(&mut self, action: Action) {
        let timed = Timed { at: self.now, action };
        let actions = Arc::make_mut(&mut self.actions);
        let place = self.next_action + actions[self.next_action..].partition_point(|other| other.at <= timed.at);
        actions.insert(place, timed);
        self.schedule.push(self.now, Class::Action, NodeId::keeper(0), Event::Act);
    }

    /// Drops what was still planned after now: a person acts in the past, and the future is written anew.
    pub fn forget_future_actions(&mut self) {
        Arc::make_mut(&mut self.actions).truncate(self.next_action);
    }

    fn schedule_actions(&mut self) {
        for timed in self.actions.iter() {
            self.schedule.push(timed.at, Class::Action, NodeId::keeper(0), Event::Act);
        }
    }

    /// Runs everything due up to and including `until`; time then stands there.
    pub fn run_until(&mut self, until: Instant) {
        while self.schedule.next_at().is_some_and(|at| at <= until) {
            if !self.step() {
                break;
            }
        }
        self.now = self.now.max(until);
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<Instant> {
        self.schedule.next_at()
    }

    /// Takes the next event. False if there is none, or a checker has fired.
    pub fn step(&mut self) -> bool {
        if self.checks.has_fired() {
            return false;
        }
        let Some((at, node, event)) = self.schedule.pop() else { return false };
        assert!(at >= self.now, "time runs backwards: {at} after {}", self.now);
        self.now = at;
        self.take(node, event);
        true
    }

    fn take(&mut self, node: NodeId, event: Event) {
        match event {
            Event::Act => self.act_next(),
            Event::Arrive { stream, from } => self.arrive(stream, from),
            Event::ChannelUp { stream } => self.channel_up(stream),
            Event::Connect { a, b, kind } => self.connect(a, b, kind),
            Event::DialArrives { stream } => self.dial_arrives(stream),
            Event::DialOpens { stream } => self.dial_opens(stream),
            Event::Break { stream, reason } => self.break_stream(stream, reason),
            Event::Synced { lane, boot } => self.synced(self.at(node), lane, boot),
            Event::Loaded { lane, ticket, boot } => self.loaded(self.at(node), lane, ticket, boot),
            Event::Look { boot } => self.look(self.at(node), boot),
        }
    }

    fn seen(&self, at: usize) -> Seen {
        Seen { at: self.now, entry: self.entries, node: self.hosts[at].id }
    }

    fn at(&self, node: NodeId) -> usize {
        self.index[&node]
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    // ---- the trace -------------------------------------------------------------------------------------------------

    fn record(&mut self, node: NodeId, what: What, bytes: u64) {
        let entry = Entry { at: self.now, node, what, bytes };
        entry.hash(&mut self.digest);
        self.entries += 1;
        if self.trace.keep == Keep::All {
            self.trace.entries.push(entry);
        }
    }

    // ---- starting and stopping nodes -------------------------------------------------------------------------------

    /// Starts a node from what its disk holds.
    fn boot(&mut self, at: usize) {
        let id = self.hosts[at].id;
        let host = &mut self.hosts[at];
        if host.is_up() {
            return;
        }
        host.boot += 1;
        let boot = host.boot;
        let entropy = Rng::at(&[self.scenario.seed, mix(at as u64), u64::from(boot)]);
        self.record(id, What::Booted { boot }, 0);
        let now = self.hosts[at].clock.read(self.now);
        let mut fx = core::mem::take(&mut self.effects);
        match build::machine(&self.scenario, id, &mut self.hosts[at].store, entropy, now, &mut fx) {
            Ok(machine) => {
                let host = &mut self.hosts[at];
                host.machine = Some(Box::new(machine));
                host.down = None;
                self.chronicle.started(self.now, id);
                let seen = self.seen(at);
                if let Some(machine) = &self.hosts[at].machine {
                    self.checks.booted(seen, machine, &fx);
                }
                self.finish_step(at, fx);
                self.connect_all_of(id);
            }
            Err(why) => {
                self.effects = fx;
                self.effects.effects.clear();
                self.effects.notes.clear();
                self.record(id, What::Halted, 0);
                self.checks.befell(self.seen(at), Fault::Refused, &why);
                self.hosts[at].down = Some(Down { since: self.now, why });
            }
        }
    }

    /// Ends a process. `silent`: the machine is gone too, so nobody is told.
    fn stop(&mut self, at: usize, why: String, silent: bool) {
        let id = self.hosts[at].id;
        self.chronicle.stopped(self.now, id, &why, self.hosts[at].machine.as_deref());
        self.hosts[at].forget_process();
        self.hosts[at].down = Some(Down { since: self.now, why });
        self.network.forget_votes_of(id);
        for stream in self.network.of_node(id) {
            self.hang_up(stream, id, silent);
        }
    }

    fn kill(&mut self, at: usize) {
        if !self.hosts[at].is_up() {
            return;
        }
        self.record(self.hosts[at].id, What::Killed, 0);
        self.checks.befell(self.seen(at), Fault::Crash, "killed");
        self.crash_disk(at);
        self.stop(at, "killed".to_owned(), false);
    }

    fn crash_disk(&mut self, at: usize) {
        let mut chance = Rng::at(&[self.scenario.seed, mix(at as u64 ^ 0x6372_6173), self.now.0]);
        self.hosts[at].store.disk.process_crash(&mut chance);
    }

    fn lose_power(&mut self, at: usize) {
        if !self.hosts[at].is_up() {
            return;
        }
        let id = self.hosts[at].id;
        self.record(id, What::LostPower, 0);
        let mut chance = Rng::at(&[self.scenario.seed, mix(at as u64 ^ 0x706f_7765), self.now.0]);
        self.checks.befell(self.seen(at), Fault::PowerLoss, "without power");
        let disk = &mut self.hosts[at].store.disk;
        let (before, kind) =
            (disk.digest(), if chance.chance(1, 3) { PowerLoss::AnyOrder } else { PowerLoss::InOrder });
        disk.power_loss(kind, &mut chance);
        if disk.digest() != before {
            self.count("power loss with un-synced bytes lost");
        }
        self.stop(at, "without power".to_owned(), true);
    }

    // ---- streams ---------------------------------------------------------------------------------------------------

    fn connect_all_of(&mut self, id: NodeId) {
        let others: Vec<NodeId> = self.hosts.iter().map(|host| host.id).filter(|other| *other != id).collect();
        for other in others {
            self.connect_pair(id, other);
        }
    }

    /// Asks for every channel that the two should have and have not.
    fn connect_pair(&mut self, a: NodeId, b: NodeId) {
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

    fn connect(&mut self, a: NodeId, b: NodeId, kind: ChannelKind) {
        let both_up = self.hosts[self.at(a)].is_up() && self.hosts[self.at(b)].is_up();
        if !both_up || self.network.channel(a, b, kind).is_some() || !self.network.reaches(a, b) {
            return;
        }
        let stream = self.network.open_channel(a, b, kind);
        let delay = self.network.delay(a, b, self.now) + self.network.delay(b, a, self.now);
        self.schedule.push(self.now + delay, Class::Network, a, Event::ChannelUp { stream });
    }

    fn channel_up(&mut self, id: StreamId) {
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

    fn dial_arrives(&mut self, id: StreamId) {
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

    fn dial_opens(&mut self, id: StreamId) {
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
    fn hang_up(&mut self, id: StreamId, by: NodeId, silent: bool) {
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

    fn break_stream(&mut self, id: StreamId, reason: Reason) {
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

    fn tell_broken(&mut self, at: usize, end: End, peer: NodeId, carries: Carries, open: bool) {
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
    fn transmit(&mut self, id: StreamId, from: NodeId, label: Label, bytes: Bytes) {
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

    fn arrive(&mut self, id: StreamId, from: End) {
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
    fn receive(&mut self, id: StreamId, at: usize, from: NodeId, label: Label, bytes: Bytes) {
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
                let request = bridge::decode_request(&mut known.codec, bytes)
                    .unwrap_or_else(|bad| panic!("{me} cannot read {label} from {from}: {bad}"));
                Input::Request { conn, request }
            }
        };
        self.input(at, input);
    }

    // ---- stepping a node -------------------------------------------------------------------------------------------

    /// Gives a node an input, at once or when it runs again.
    fn input(&mut self, at: usize, input: Input) {
        let host = &mut self.hosts[at];
        if host.machine.is_none() {
            return;
        }
        if host.paused.is_some() {
            host.backlog.push_back(input);
            return;
        }
        let now = host.clock.read(self.now);
        let mut fx = core::mem::take(&mut self.effects);
        if let Some(machine) = &mut host.machine {
            machine.step(now, input, &mut fx);
        }
        self.entries += 1;
        self.finish_step(at, fx);
    }

    /// After a step: the checkers look, the effects take place, the notes are told, the next wake is planned.
    fn finish_step(&mut self, at: usize, mut fx: Effects<Effect>) {
        if let Some(machine) = &self.hosts[at].machine {
            let seen = Seen { at: self.now, entry: self.entries, node: self.hosts[at].id };
            self.checks.stepped(seen, machine, &fx, &mut self.counts);
        }
        let node = self.hosts[at].id;
        if self.trace.keep != Keep::Nothing {
            for note in fx.notes.drain(..) {
                self.chronicle.told(self.now, node, &note, self.hosts[at].machine.as_deref());
                self.trace.story.push(Told { at: self.now, node, entry: self.entries, note });
            }
        }
        fx.notes.clear();
        for effect in fx.effects.drain(..) {
            if self.hosts[at].machine.is_none() {
                continue;
            }
            self.perform(at, effect);
        }
        self.effects = fx;
        if self.hosts[at].is_up() {
            if let Err(error) = self.hosts[at].store.flush() {
                self.halt(at, error.to_string());
            }
            self.plan_look(at);
        }
    }

    fn halt(&mut self, at: usize, why: String) {
        let id = self.hosts[at].id;
        self.record(id, What::Halted, 0);
        self.checks.befell(self.seen(at), Fault::Halt, &why);
        self.crash_disk(at);
        self.stop(at, why, false);
    }

    fn plan_look(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let Some(machine) = &host.machine else { return };
        let Some(wake) = machine.wake_at() else { return };
        let due = host.clock.to_world(wake.at).max(self.now);
        if host.look_at.is_none_or(|planned| due < planned) {
            host.look_at = Some(due);
            let event = Event::Look { boot: host.boot };
            self.schedule.push(due, Class::Timer, host.id, event);
        }
    }

    fn look(&mut self, at: usize, boot: u32) {
        let host = &mut self.hosts[at];
        if host.boot != boot || host.look_at != Some(self.now) {
            return;
        }
        host.look_at = None;
        if host.paused.is_some() {
            return;
        }
        let Some(machine) = &host.machine else { return };
        let now = host.clock.read(self.now);
        if let Some(wake) = machine.wake_at().filter(|wake| wake.at <= now.at) {
            self.record(self.hosts[at].id, What::Woke, 0);
            let why = wake.why;
            self.count_idle_wake(at, why);
            self.input(at, Input::Wake);
        } else {
            self.plan_look(at);
        }
    }

    /// A machine that wakes for ever at one moment would stop the world's time.
    fn count_idle_wake(&mut self, at: usize, why: &'static str) {
        let host = &mut self.hosts[at];
        host.wakes_now = if host.woke_at == self.now { host.wakes_now + 1 } else { 1 };
        host.woke_at = self.now;
        let (wakes, limit) = (host.wakes_now, WAKES_AT_ONCE);
        assert!(wakes <= limit, "{} wakes for the {wakes}th time at {} (at most {limit}): {why}", host.id, self.now);
    }

    // ---- effects ---------------------------------------------------------------------------------------------------

    fn perform(&mut self, at: usize, effect: Effect) {
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

    fn live_channel(&self, me: NodeId, channel: Channel) -> Option<StreamId> {
        let stream = self.network.channel(me, channel.peer, channel.kind)?;
        let known = &self.network.streams[&stream];
        let end = known.end_of(me);
        let same = matches!(known.carries, Carries::Channel { generation, .. } if generation == channel.generation);
        (same && known.open && !known.gone[end as usize]).then_some(stream)
    }

    fn send_peer(&mut self, at: usize, channel: Channel, message: PeerMessage<LogRange>) {
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

    fn reply(&mut self, at: usize, conn: ConnId, reply: Reply<LogRange>) {
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

    fn dial(&mut self, at: usize, dial: DialId, to: &Address) {
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
    fn schedule_refusal(&mut self, at: usize, dial: DialId) {
        let me = self.hosts[at].id;
        let stream = self.network.open(me, me, Carries::Connection { dial, conn: ConnId(0) });
        self.hosts[at].dials.insert(dial, Dial { stream, to: me, codec: bridge::dial_codec(me) });
        let due = self.now + self.network.latency.base;
        self.schedule.push(due, Class::Network, me, Event::Break { stream, reason: Reason::Over });
    }

    fn ask(&mut self, at: usize, dial: DialId, request: Request) {
        let me = self.hosts[at].id;
        let label = bridge::label_request(&request);
        let Some(known) = self.hosts[at].dials.get_mut(&dial) else { return };
        let stream = known.stream;
        let bytes = bridge::encode_request(&mut known.codec, &request);
        self.transmit(stream, me, label, bytes);
    }

    // ---- the disk --------------------------------------------------------------------------------------------------

    fn store(&mut self, at: usize, lane: &Lane, op: StoreOp) {
        let me = self.hosts[at].id;
        self.record(me, What::Stored { op: bridge::stored(&op) }, Digest::of(&op));
        if let Err(error) = self.hosts[at].store.perform(lane, op) {
            self.halt(at, error.to_string());
        }
    }

    /// How long a sync or a load takes now: a function of seed, disk and slot of time.
    fn disk_delay(&self, at: usize) -> Span {
        let settings = &self.scenario.settings;
        let draw = mix(self.scenario.seed ^ mix(at as u64 ^ mix((self.now.0 / 1_000_000) ^ 0x6469_736b)));
        let jitter = Span(((u128::from(draw) * u128::from(settings.sync_jitter.0)) >> 64) as u64);
        settings.sync_latency + jitter + self.hosts[at].slow_disk
    }

    fn sync(&mut self, at: usize, lane: Lane, ticket: Ticket) {
        self.record(self.hosts[at].id, What::SyncAsked { ticket }, 0);
        if let Err(error) = self.hosts[at].store.flush() {
            return self.halt(at, error.to_string());
        }
        if self.hosts[at].store.ask_sync(&lane, ticket) {
            self.schedule_synced(at, lane);
        }
    }

    fn schedule_synced(&mut self, at: usize, lane: Lane) {
        let (id, boot) = (self.hosts[at].id, self.hosts[at].boot);
        let due = self.now + self.disk_delay(at);
        self.schedule.push(due, Class::Disk, id, Event::Synced { lane, boot });
    }

    fn synced(&mut self, at: usize, lane: Lane, boot: u32) {
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

    fn loaded(&mut self, at: usize, lane: Lane, ticket: Ticket, boot: u32) {
        let host = &mut self.hosts[at];
        if host.boot != boot {
            return;
        }
        let Some(what) = host.loads.remove(&(lane, ticket)) else { return };
        let id = host.id;
        self.record(id, What::Loaded { ticket }, 0);
        self.input(at, Input::Loaded { ticket, what });
    }

    // ---- actions ---------------------------------------------------------------------------------------------------

    fn act_next(&mut self) {
        let Some(timed) = self.actions.get(self.next_action) else { return };
        if timed.at > self.now {
            return;
        }
        let action = timed.action.clone();
        self.next_action += 1;
        action.hash(&mut self.digest);
        self.act(action);
    }

    fn act(&mut self, action: Action) {
        self.chronicle.acted(self.now, &action);
        match action {
            Action::Kill(node) => self.on(node, World::kill),
            Action::PowerOff(node) => self.on(node, World::lose_power),
            Action::PowerOffAll => self.on_servers(World::lose_power),
            Action::Restart(node) => self.on(node, World::boot),
            Action::RestartAll => self.on_servers(World::boot),
            Action::Wipe(node) => self.on(node, |world, at| {
                world.kill(at);
                world.record(node, What::DiskReplaced, 0);
                world.hosts[at].store.disk.replace_disk();
                world.checks.befell(world.seen(at), Fault::DiskReplaced, "its disk was replaced");
            }),
            Action::Pause(node) => self.on(node, |world, at| {
                if world.hosts[at].is_running() {
                    world.record(node, What::Paused, 0);
                    world.hosts[at].paused = Some(world.now);
                }
            }),
            Action::Resume(node) => self.on(node, World::resume),
            Action::Shutdown(node) => self.on(node, |world, at| {
                if world.hosts[at].is_up() {
                    world.record(node, What::ShutdownAsked, 0);
                    world.input(at, Input::Shutdown);
                }
            }),
            Action::Cut { from, to } => {
                self.direct(from, to, |direction| direction.cut = true);
                for stream in self.network.between(from, to) {
                    let at = self.now + self.network.dead_peer;
                    let event = Event::Break { stream, reason: Reason::Silence };
                    self.schedule.push(at, Class::Network, to, event);
                }
            }
            Action::Stall { from, to } => self.direct(from, to, |direction| direction.stalled = true),
            Action::Slow { from, to, by } => self.direct(from, to, |direction| direction.slow = by),
            Action::Heal { from, to } => self.direct(from, to, |direction| *direction = Direction::default()),
            Action::HealAll => {
                let troubled: Vec<_> = self.network.troubled().map(|(from, to, _)| (from, to)).collect();
                for (from, to) in troubled {
                    self.direct(from, to, |direction| *direction = Direction::default());
                }
            }
            Action::Break { a, b } => {
                for stream in self.network.between(a, b) {
                    let event = Event::Break { stream, reason: Reason::Over };
                    self.schedule.push(self.now, Class::Network, a, event);
                }
            }
            Action::Drift { node, ppm } => self.on(node, |world, at| {
                let now = world.now;
                world.hosts[at].clock.set_drift(now, ppm);
                world.hosts[at].look_at = None;
                world.plan_look(at);
            }),
            Action::Jump { node, millis } => self.on(node, |world, at| world.hosts[at].clock.jump_wall(millis)),
            Action::SlowDisk { node, by } => self.on(node, |world, at| world.hosts[at].slow_disk = by),
            Action::FullDisk(node) => self.on(node, |world, at| world.hosts[at].store.disk.set_full(true)),
            Action::LyingDisk(node) => self.on(node, |world, at| {
                world.hosts[at].store.disk.set_lying(true);
                world.hosts[at].lying_disk = true;
                world.checks.befell(world.seen(at), Fault::LyingSync, "its disk lies");
            }),
            Action::GoodDisk(node) => self.on(node, |world, at| {
                let host = &mut world.hosts[at];
                host.slow_disk = Span::ZERO;
                host.lying_disk = false;
                host.store.disk.set_lying(false);
                host.store.disk.set_full(false);
            }),
            Action::BitRot(node) => self.on(node, |world, at| {
                if !world.hosts[at].is_up() {
                    let mut chance = Rng::at(&[world.scenario.seed, mix(at as u64 ^ 0x726f_7400), world.now.0]);
                    world.hosts[at].store.disk.rot(&mut chance, |_| true);
                    world.checks.befell(world.seen(at), Fault::BitRot, "a bit of its disk flipped");
                }
            }),
            Action::LoseReply { server, client } => self.on(server, |world, at| {
                world.hosts[at].lose_reply_to.insert(client);
            }),
            Action::DelayReply { server, client, by } => self.hold_replies(server, client, by),
            Action::FailReply { server, client, error } => self.on(server, |world, at| {
                world.hosts[at].fail_reply_to.insert(client, error);
            }),
            Action::Ask { client, command } => self.on(client, |world, at| {
                world.record(client, What::Commanded, 0);
                world.input(at, Input::Command(command));
            }),
        }
    }

    /// Does something to a node, if there is one of that name.
    fn on(&mut self, node: NodeId, act: impl FnOnce(&mut World, usize)) {
        if let Some(at) = self.index.get(&node).copied() {
            act(self, at);
        }
    }

    fn on_servers(&mut self, act: impl Fn(&mut World, usize)) {
        for at in 0..self.hosts.len() {
            if !matches!(self.hosts[at].id, NodeId::Client(_)) {
                act(self, at);
            }
        }
    }

    fn resume(&mut self, at: usize) {
        if self.hosts[at].paused.take().is_none() {
            return;
        }
        let me = self.hosts[at].id;
        self.record(me, What::Resumed, 0);
        while let Some(input) = self.hosts[at].backlog.pop_front() {
            self.input(at, input);
        }
        for other in self.hosts.iter().map(|host| host.id).collect::<Vec<_>>() {
            self.resume_pipes(other, me);
        }
        if self.hosts[at].is_up() {
            self.hosts[at].look_at = None;
            self.plan_look(at);
        }
    }

    fn resume_pipes(&mut self, from: NodeId, to: NodeId) {
        for (stream, end, due) in self.network.resume(from, to, self.now) {
            self.schedule.push(due, Class::Network, to, Event::Arrive { stream, from: end });
        }
    }

    /// Changes one direction between two nodes, and lets whatever that frees go on.
    fn direct(&mut self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Direction)) {
        if !self.index.contains_key(&from) || !self.index.contains_key(&to) {
            return;
        }
        let before = self.network.direction(from, to);
        let mut after = before;
        change(&mut after);
        self.network.set_direction(from, to, after);
        if before.stalled && !after.stalled {
            self.resume_pipes(from, to);
        }
        if before.cut && !after.cut {
            for stream in self.network.between(from, to) {
                let at = self.now + self.network.delay(from, to, self.now);
                let event = Event::Break { stream, reason: Reason::Silence };
                self.schedule.push(at, Class::Network, to, event);
            }
        }
        if !before.is_healthy() && after.is_healthy() {
            self.connect_pair(from, to);
        }
    }

    fn hold_replies(&mut self, server: NodeId, client: NodeId, by: Span) {
        let until = self.now + by;
        for id in self.network.between(server, client) {
            let Some(stream) = self.network.streams.get_mut(&id) else { continue };
            let end = stream.end_of(server);
            stream.pipe(end).held_until = until;
            self.schedule.push(until, Class::Network, client, Event::Arrive { stream: id, from: end });
        }
    }
}

impl World {
    /// Everybody is up, nothing is cut, and every disk is good.
    pub fn is_whole(&self) -> bool {
        self.network.troubled().next().is_none()
            && self.hosts.iter().all(|host| host.is_running() && !host.lying_disk && host.slow_disk == Span::ZERO)
    }

    /// What the checkers say to a world that has come to rest.
    pub fn check_at_rest(&mut self) -> Option<Violation> {
        let machines = self.hosts.iter().filter_map(|host| Some((host.id, host.machine.as_deref()?)));
        self.checks.at_rest(self.now, self.entries, machines);
        self.checks.fired().cloned()
    }

    /// The machine of a node that is up.
    pub fn machine(&self, id: NodeId) -> Option<&Node> {
        self.host(id)?.machine.as_deref()
    }
}
