//! What is done to a world, carried out: stones at nodes, links, clocks, disks and replies.

use super::{Event, Reason, World};
use crate::check::Fault;
use crate::id::NodeId;
use crate::node::Input;
use crate::sim::network::Direction;
use crate::sim::scenario::Action;
use crate::sim::schedule::Class;
use crate::sim::trace::What;
use crate::time::Span;
use core::hash::Hash;

impl World {
    pub(super) fn act_next(&mut self) {
        let Some(timed) = self.actions.get(self.next_action) else { return };
        if timed.at > self.now {
            return;
        }
        let action = timed.action.clone();
        self.next_action += 1;
        action.hash(&mut self.digest);
        self.act(action);
    }

    pub(super) fn act(&mut self, action: Action) {
        self.chronicle.acted(self.now, &action);
        match action {
            Action::Kill(node) => self.on(node, |world, at| world.end(at, World::kill)),
            Action::PowerOff(node) => self.on(node, |world, at| world.end(at, World::lose_power)),
            Action::PowerOffAll => self.on_servers(|world, at| world.end(at, World::lose_power)),
            Action::Restart(node) => self.on(node, World::start),
            Action::RestartAll => self.on_servers(World::start),
            Action::Wipe(node) => self.on(node, |world, at| {
                world.end(at, World::kill);
                world.hosts[at].rotten = false;
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
                    world.hosts[at].ended = true;
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
                    let mut chance = world.chance(at, 0x726f_7400);
                    world.hosts[at].store.disk.rot(&mut chance, |_| true);
                    world.hosts[at].rotten = true;
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

    /// Somebody ends a node in one way or another: it is not missed until somebody starts it.
    fn end(&mut self, at: usize, how: impl FnOnce(&mut World, usize)) {
        self.hosts[at].ended = true;
        how(self, at);
    }

    fn start(&mut self, at: usize) {
        if !self.hosts[at].is_up() {
            self.hosts[at].ended = false;
            self.boot(at);
        }
    }

    /// Does something to a node, if there is one of that name.
    pub(super) fn on(&mut self, node: NodeId, act: impl FnOnce(&mut World, usize)) {
        if let Some(at) = self.index.get(&node).copied() {
            act(self, at);
        }
    }

    pub(super) fn on_servers(&mut self, act: impl Fn(&mut World, usize)) {
        for at in 0..self.hosts.len() {
            if !matches!(self.hosts[at].id, NodeId::Client(_)) {
                act(self, at);
            }
        }
    }

    pub(super) fn resume(&mut self, at: usize) {
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

    pub(super) fn resume_pipes(&mut self, from: NodeId, to: NodeId) {
        for (stream, end, due) in self.network.resume(from, to, self.now) {
            self.schedule.push(due, Class::Network, to, Event::Arrive { stream, from: end });
        }
    }

    /// Changes one direction between two nodes, and lets whatever that frees go on.
    pub(super) fn direct(&mut self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Direction)) {
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

    pub(super) fn hold_replies(&mut self, server: NodeId, client: NodeId, by: Span) {
        let until = self.now + by;
        for id in self.network.between(server, client) {
            let Some(stream) = self.network.streams.get_mut(&id) else { continue };
            let end = stream.end_of(server);
            stream.pipe(end).held_until = until;
            self.schedule.push(until, Class::Network, client, Event::Arrive { stream: id, from: end });
        }
    }
}
