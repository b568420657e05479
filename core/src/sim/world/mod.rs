//! The world: nodes on their hosts, the network between them, and one total order of events.
//!
//! Decides when everything happens; knows nothing of what the machines decide. Equal scenarios give equal traces, on
//! every host, whatever is watched.

mod actions;
mod effects;
mod streams;
#[cfg(test)]
mod tests;

use crate::api::peer::ChannelKind;
use crate::api::storage::Lane;
use crate::check::{Checks, Counts, Fault, Seen};
use crate::digest::Digest;
use crate::id::{KeeperId, NodeId};
use crate::machine::{Effects, Machine, Ticket};
use crate::node::{Effect, Input};
use crate::nodes::Node;
use crate::ordered::OrdMap;
use crate::quorum::Quorum;
use crate::record::offset::LogRange;
use crate::rng::{Rng, mix};
use crate::sim::build;
use crate::sim::clock::Clock;
use crate::sim::disk::PowerLoss;
use crate::sim::host::{Down, Host};
use crate::sim::network::{End, Latency, Network, StreamId};
use crate::sim::scenario::{Action, Scenario, Timed};
use crate::sim::schedule::{Class, Schedule};
use crate::sim::trace::{Entry, Keep, Told, Trace, What};
use crate::sim::view::Chronicle;
use crate::time::{Instant, Span, UnixMillis};
use core::hash::{Hash, Hasher};
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

/// So many entries lie between two full comparisons.
const COMPARE_EVERY: u64 = 50_000;

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
    index: OrdMap<NodeId, usize>,
    digest: Digest,
    entries: u64,
    /// The number of the newest entry of the trace.
    newest: u64,
    pub trace: Trace,
    /// What a view remembers of the notes; no node and no checker reads it.
    pub(super) chronicle: Chronicle,
    pub checks: Checks,
    pub counts: Counts,
    /// At this entry everything is compared in full.
    compare_at: u64,
    effects: Spare,
}

/// The sink of a step, reused for the next one. Between steps it is empty, so a copy of a world begins with a new one.
#[derive(Debug, Default)]
struct Spare(Effects<Effect>);

impl Clone for Spare {
    fn clone(&self) -> Spare {
        Spare::default()
    }
}

impl World {
    /// A world at its first moment: every node is about to start.
    pub fn new(scenario: &Scenario) -> World {
        World::keeping(scenario, Keep::default())
    }

    /// A new world that keeps so much of its trace from the first entry on.
    pub fn keeping(scenario: &Scenario, keep: Keep) -> World {
        let settings = &scenario.settings;
        let latency = Latency { base: settings.latency, jitter: settings.jitter };
        let mut world = World {
            actions: Arc::new(scenario.actions.clone()),
            next_action: 0,
            now: Instant::ZERO,
            schedule: Schedule::default(),
            network: Network::new(scenario.seed, latency, settings.dead_peer),
            hosts: Vec::new(),
            index: OrdMap::new(),
            digest: Digest::default(),
            entries: 0,
            newest: 0,
            trace: Trace { keep, ..Trace::default() },
            chronicle: Chronicle::new(scenario),
            checks: Checks::new(build::promise(scenario)),
            counts: Counts::new(),
            compare_at: COMPARE_EVERY,
            effects: Spare::default(),
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

    /// Entries of the trace and steps of machines so far: how much was done.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The number of the newest entry of the trace. Steps count on between entries, so that not every number has one; notes
    /// and violations are named by one that has.
    pub fn newest_entry(&self) -> u64 {
        self.newest
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
        if self.entries >= self.compare_at {
            self.compare_at = self.entries + COMPARE_EVERY;
            self.compare();
        }
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
        Seen { at: self.now, entry: self.newest, node: self.hosts[at].id }
    }

    fn at(&self, node: NodeId) -> usize {
        self.index[&node]
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    // ---- the trace -------------------------------------------------------------------------------------------------

    fn record(&mut self, node: NodeId, what: What, bytes: u64) {
        self.entries += 1;
        self.newest = self.entries;
        let entry = Entry { number: self.newest, at: self.now, node, what, bytes };
        entry.hash(&mut self.digest);
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
        let mut fx = core::mem::take(&mut self.effects.0);
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
                self.reset_streams_of(id);
                self.connect_all_of(id);
            }
            Err(why) => {
                fx.effects.clear();
                fx.notes.clear();
                self.effects.0 = fx;
                self.record(id, What::Halted, 0);
                self.checks.befell(self.seen(at), Fault::Refused, &why);
                self.count("refused start");
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
        let mut chance = self.chance(at, 0x6372_6173);
        self.hosts[at].store.disk.process_crash(&mut chance);
    }

    /// What befalls this host now, drawn by what it is about.
    pub(super) fn chance(&self, at: usize, what: u64) -> Rng {
        Rng::at(&[self.scenario.seed, mix(at as u64 ^ what), self.now.0])
    }

    /// The power of a machine goes, whether or not its process still runs: the kernel holds what a killed one had written.
    fn lose_power(&mut self, at: usize) {
        let was_up = self.hosts[at].is_up();
        if !was_up && self.hosts[at].store.disk.is_synced() {
            return;
        }
        self.record(self.hosts[at].id, What::LostPower, 0);
        let mut chance = self.chance(at, 0x706f_7765);
        self.checks.befell(self.seen(at), Fault::PowerLoss, "without power");
        let disk = &mut self.hosts[at].store.disk;
        let (before, kind) =
            (disk.digest(), if chance.chance(1, 3) { PowerLoss::AnyOrder } else { PowerLoss::InOrder });
        disk.power_loss(kind, &mut chance);
        if disk.digest() != before {
            self.count("power loss with un-synced bytes lost");
        }
        if was_up {
            self.stop(at, "without power".to_owned(), true);
        }
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
        let mut fx = core::mem::take(&mut self.effects.0);
        if let Some(machine) = &mut host.machine {
            machine.step(now, input, &mut fx);
        }
        self.entries += 1;
        self.finish_step(at, fx);
    }

    /// After a step: the checkers look, the effects take place, the notes are told, the next wake is planned.
    fn finish_step(&mut self, at: usize, mut fx: Effects<Effect>) {
        if let Some(machine) = &self.hosts[at].machine {
            let seen = self.seen(at);
            self.checks.stepped(seen, machine, &fx, &mut self.counts);
        }
        let node = self.hosts[at].id;
        if self.trace.keep != Keep::Nothing {
            for note in fx.notes.drain(..) {
                self.chronicle.told(self.now, node, &note, self.hosts[at].machine.as_deref());
                self.trace.story.push(Told { at: self.now, node, entry: self.newest, note });
            }
        }
        fx.notes.clear();
        for effect in fx.effects.drain(..) {
            if self.hosts[at].machine.is_none() {
                continue;
            }
            self.perform(at, effect);
        }
        self.effects.0 = fx;
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
        self.count("halt");
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
}

impl World {
    /// Everybody is up, nothing is cut, and every disk is good.
    pub fn is_whole(&self) -> bool {
        self.is_healed() && self.hosts.iter().all(Host::is_up)
    }

    /// Nothing is cut, nobody is paused, every disk is good, and whoever is down should be up, or there is a quorum
    /// without: whatever is missing now must come back by itself.
    pub fn is_healed(&self) -> bool {
        let is_well = |host: &Host| {
            let good_disk = !host.lying_disk && !host.store.disk.is_full() && host.slow_disk == Span::ZERO;
            good_disk && !host.rotten && host.paused.is_none()
        };
        let stays = |host: &Host| host.is_up() || !host.ended;
        let voters = Quorum::majority_of((1..=self.scenario.settings.keepers).map(|id| KeeperId(id as u8)));
        let quorum = voters.is_reached(|id| self.host(NodeId::Keeper(id)).is_some_and(stays));
        let mut brokers = self.hosts.iter().filter(|host| matches!(host.id, NodeId::Broker(_))).peekable();
        let served = brokers.peek().is_none() || brokers.any(stays);
        self.network.troubled().next().is_none() && self.hosts.iter().all(is_well) && quorum && served
    }

    /// Compares everything with everything: trees, and logs down to what is on the disks. What it finds is
    /// [`Checks::fired`].
    pub fn compare(&mut self) {
        let World { checks, hosts, index, now, newest, .. } = self;
        let machines = hosts.iter().filter_map(|host| Some((host.id, host.machine.as_deref()?)));
        let read = |node: NodeId, range: &LogRange| {
            hosts[index[&node]].store.materialize(range).map_err(|error| error.to_string())
        };
        checks.compare(*now, *newest, machines, &read);
    }

    /// Asks whether all has come back, of a world that was healed long enough ago.
    pub fn check_at_rest(&mut self) {
        let missed = self.hosts.iter().filter(|host| !host.ended);
        let down = missed.filter_map(|host| Some((host.id, &*host.down.as_ref()?.why))).collect::<Vec<_>>();
        let machines = self.hosts.iter().filter_map(|host| Some((host.id, host.machine.as_deref()?)));
        self.checks.at_rest(self.now, self.newest, machines, &down);
    }

    /// The machine of a node that is up.
    pub fn machine(&self, id: NodeId) -> Option<&Node> {
        self.host(id)?.machine.as_deref()
    }
}
