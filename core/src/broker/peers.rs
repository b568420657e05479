//! Talking to other brokers, and to the controller in this one: requests under way, matched to their answers by
//! correlation id, over channels that come and go.

use super::controller::{self, Controller};
use super::fetcher::{self, Asked};
use super::metadata::mesh_node;
use super::partition::{Context, Partition};
use super::registration::Question;
use super::{Broker, Call, REQUESTS, Timer, ToMyself};
use crate::api::kafka::{ErrorCode, IsrMember, LATEST, Request, Response};
use crate::api::peer::{Channel, PeerMessage};
use crate::broker::alter::Proposal;
use crate::broker::connection::Asker;
use crate::broker::partition::isr;
use crate::broker::partition::leader::Settled;
use crate::id::{BrokerId, NodeId, TopicPartition};
use crate::machine::Effects;
use crate::node::Effect;
use crate::record::offset::LogRange;
use crate::time::Now;
use bytes::Bytes;

impl Broker {
    pub(super) fn on_up(&mut self, now: Now, channel: Channel, fx: &mut Effects<Effect>) {
        if channel.kind != REQUESTS {
            return;
        }
        if let Some(old) = self.channels.insert(channel.peer, channel)
            && old != channel
        {
            self.on_lost(now, old, fx);
        }
        if let Some(id) = self.metadata.broker_at(channel.peer) {
            if let Some(fetcher) = self.fetchers.get_mut(&id) {
                fetcher.reachable();
            }
            self.run_fetcher(now, id, fx);
        }
        self.tell_controller_of_channels(now, fx);
    }

    pub(super) fn on_down(&mut self, now: Now, channel: Channel, fx: &mut Effects<Effect>) {
        if self.channels.get(&channel.peer) == Some(&channel) {
            self.channels.remove(&channel.peer);
            self.on_lost(now, channel, fx);
            self.tell_controller_of_channels(now, fx);
        }
    }

    /// What was under way on a channel is lost, in both directions.
    fn on_lost(&mut self, now: Now, channel: Channel, fx: &mut Effects<Effect>) {
        self.purgatory.forget(|asker| matches!(asker, Asker::Peer { channel: gone, .. } if *gone == channel));
        let peer = channel.peer;
        let gone: Vec<(i32, Call)> = self
            .calls
            .iter()
            .filter(|(_, (_, at))| *at == peer)
            .map(|(correlation, (call, _))| (*correlation, call.clone()))
            .collect();
        for (correlation, call) in gone {
            self.calls.remove(&correlation);
            self.on_call_lost(now, call, fx);
        }
    }

    fn on_call_lost(&mut self, now: Now, call: Call, _: &mut Effects<Effect>) {
        match call {
            Call::Fetcher(leader) => {
                let until = now.at + self.settings.replica_fetch_backoff;
                if let Some(fetcher) = self.fetchers.get_mut(&leader) {
                    fetcher.lost(until);
                    self.deadlines.set(Timer::Fetcher(leader), until);
                    self.deadlines.clear(&Timer::FetcherTimeout(leader));
                }
            }
            Call::AlterPartition { .. } => {
                self.alter.lost(now.at);
                self.deadlines.clear(&Timer::AlterPartitionTimeout);
                self.set_alter_timer();
            }
            // Asked again when its own time has come.
            Call::ControlledShutdown { .. } | Call::AllocateProducerIds { .. } => {}
            // The controller sends again when the channel is up again.
            Call::Controller { .. } => {}
        }
    }

    /// Where in the mesh a broker is: as UpdateMetadata said, or as the controller in this broker has read.
    pub(super) fn node_of(&self, id: BrokerId) -> Option<NodeId> {
        if id == self.id {
            return Some(NodeId::Broker(self.config.number));
        }
        self.metadata.node_of(id).or_else(|| {
            let info = self.controller.as_ref()?.broker_info(id)?;
            mesh_node(&info.endpoints)
        })
    }

    /// Sends a request; to this broker itself it becomes a later input. `None`: it cannot be reached now.
    pub(super) fn call(&mut self, call: Call, request: Request, fx: &mut Effects<Effect>) -> Option<i32> {
        let to = call.to();
        let node = self.node_of(to)?;
        let correlation = self.last_correlation.wrapping_add(1) & i32::MAX;
        if to == self.id {
            self.to_myself.push_back(ToMyself::Request { correlation, request });
        } else {
            let channel = *self.channels.get(&node)?;
            fx.emit(Effect::Send { channel, message: PeerMessage::Request { correlation, request } });
        }
        self.last_correlation = correlation;
        self.calls.insert(correlation, (call, node));
        Some(correlation)
    }

    /// Takes in what this broker said to itself before this wake.
    pub(super) fn hear_myself(&mut self, now: Now, fx: &mut Effects<Effect>) {
        for message in core::mem::take(&mut self.to_myself) {
            match message {
                ToMyself::Request { correlation, request } => {
                    let version = request.key().max_version();
                    self.on_request(now, Asker::Myself { correlation }, version, request, fx);
                }
                ToMyself::Response { correlation, response } => {
                    let response = response.map_records(|range: LogRange| -> Bytes {
                        unreachable!("a broker fetches {} from itself", range.partition)
                    });
                    self.on_response(now, correlation, response, fx);
                }
            }
        }
    }

    /// An answer on its way to whoever asked.
    pub(super) fn answer(&mut self, asker: Asker, response: Response<LogRange>, fx: &mut Effects<Effect>) {
        match asker {
            Asker::Client { conn, seq } => self.connections.answer(conn, seq, response, fx),
            Asker::Peer { channel, correlation } => {
                if self.channels.get(&channel.peer) == Some(&channel) {
                    let message = PeerMessage::Response { correlation, response };
                    fx.emit(Effect::Send { channel, message });
                }
            }
            Asker::Myself { correlation } => {
                self.to_myself.push_back(ToMyself::Response { correlation, response });
            }
            Asker::Nobody => {}
        }
    }

    pub(super) fn on_response(
        &mut self,
        now: Now,
        correlation: i32,
        response: Response<Bytes>,
        fx: &mut Effects<Effect>,
    ) {
        let Some((call, _)) = self.calls.remove(&correlation) else { return };
        match (call, response) {
            (Call::Fetcher(leader), response) => self.on_fetcher_answer(now, leader, correlation, response, fx),
            (Call::AlterPartition { .. }, Response::AlterPartition(answer)) => {
                self.deadlines.clear(&Timer::AlterPartitionTimeout);
                for (name, proposal, part) in self.alter.answered(correlation, &answer, now.at) {
                    self.on_alter_answer(now, name, proposal, &part, fx);
                }
                self.set_alter_timer();
            }
            (Call::ControlledShutdown { .. }, Response::ControlledShutdown(answer)) => {
                self.on_controlled_shutdown(now, &answer, fx);
            }
            (Call::AllocateProducerIds { .. }, Response::AllocateProducerIds(answer)) => {
                self.on_producer_ids(now, &answer, fx);
            }
            (Call::Controller { to, correlation }, response) => {
                self.controller_do(now, fx, |controller, now, fx| {
                    controller.on_response(now, to, correlation, response, fx);
                });
            }
            // An answer of another kind than the question: the peer is broken; our side asks again in time.
            (call, _) => self.on_call_lost(now, call, fx),
        }
    }

    // Following.

    /// Asks a leader what is to be asked of it now, if nothing is under way.
    pub(super) fn run_fetcher(&mut self, now: Now, leader: BrokerId, fx: &mut Effects<Effect>) {
        let at =
            Context { me: self.id, now, settings: &self.settings, rules: self.config.rules, metadata: &self.metadata };
        let Some(fetcher) = self.fetchers.get_mut(&leader) else { return };
        let request = fetcher.next_request(&self.partitions, &at, self.registration.epoch);
        match request {
            Some((asked, request)) => self.call_leader(now, leader, asked, request, fx),
            None => match self.fetchers.get(&leader).and_then(|it| it.wakes_at(&self.partitions, now.at)) {
                Some(at) => self.deadlines.set(Timer::Fetcher(leader), at),
                None => self.deadlines.clear(&Timer::Fetcher(leader)),
            },
        }
    }

    fn call_leader(&mut self, now: Now, leader: BrokerId, asked: Asked, request: Request, fx: &mut Effects<Effect>) {
        let sent = self.call(Call::Fetcher(leader), request, fx);
        let Some(fetcher) = self.fetchers.get_mut(&leader) else { return };
        match sent {
            Some(correlation) => {
                fetcher.sent(correlation, asked);
                self.deadlines.clear(&Timer::Fetcher(leader));
                self.deadlines.set(Timer::FetcherTimeout(leader), now.at + self.settings.replica_socket_timeout);
            }
            // `Up` asks at once; the timer is for a leader whose place in the mesh is learned later.
            None => {
                let until = now.at + self.settings.replica_fetch_backoff;
                fetcher.lost(until);
                self.deadlines.set(Timer::Fetcher(leader), until);
            }
        }
    }

    /// The leader has not answered for too long: what it may still say is not waited for.
    pub(super) fn on_fetcher_timeout(&mut self, now: Now, leader: BrokerId, fx: &mut Effects<Effect>) {
        let call = self.fetchers.get(&leader).and_then(|fetcher| fetcher.call());
        if let Some((call, _)) = call.and_then(|correlation| self.calls.remove(&correlation)) {
            self.on_call_lost(now, call, fx);
        }
    }

    fn on_fetcher_answer(
        &mut self,
        now: Now,
        leader: BrokerId,
        correlation: i32,
        response: Response<Bytes>,
        fx: &mut Effects<Effect>,
    ) {
        let Some(fetcher) = self.fetchers.get_mut(&leader) else { return };
        let Some(asked) = fetcher.answered(correlation) else { return };
        self.deadlines.clear(&Timer::FetcherTimeout(leader));
        let at =
            Context { me: self.id, now, settings: &self.settings, rules: self.config.rules, metadata: &self.metadata };
        match (asked, response) {
            (Asked::Fetch(asked), Response::Fetch(answer)) => {
                fetcher::on_fetch_answer(asked, answer, &mut self.partitions, &at, fx);
            }
            (Asked::EpochEnds(asked), Response::OffsetForLeaderEpoch(answer)) => {
                fetcher::on_epoch_ends(&asked, &answer, &mut self.partitions, &at, fx);
            }
            (Asked::Range { partition, epoch, start: None }, Response::ListOffsets(answer)) => {
                if let Some(start) = answer.of_one()
                    && let Some(ours) = self.partitions.get(&partition).filter(|ours| ours.leader_epoch() == epoch)
                {
                    let (asked, request) = fetcher::ask_range(ours, LATEST, Some(start), self.id);
                    return self.call_leader(now, leader, asked, request, fx);
                }
                if let Some(ours) = self.partitions.get_mut(&partition) {
                    ours.on_leader_range(epoch, Err(ErrorCode::UNKNOWN_SERVER_ERROR), &at, fx);
                }
            }
            (Asked::Range { partition, epoch, start: Some(start) }, Response::ListOffsets(answer)) => {
                let end = answer.of_one().ok_or(ErrorCode::UNKNOWN_SERVER_ERROR);
                if let Some(ours) = self.partitions.get_mut(&partition) {
                    ours.on_leader_range(epoch, end.map(|end| (start, end)), &at, fx);
                }
            }
            (Asked::Fetch(_) | Asked::EpochEnds(_) | Asked::Range { .. }, _) => {
                return self.on_call_lost(now, Call::Fetcher(leader), fx);
            }
        }
        self.run_fetcher(now, leader, fx);
    }

    // Changing ISRs.

    /// Tells the controller what is proposed, if it can be told now.
    pub(super) fn run_alter_partition(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if !self.alter.is_due(now.at) {
            return;
        }
        let Some(to) = self.reachable_controller() else { return };
        let correlation = self.last_correlation.wrapping_add(1) & i32::MAX;
        let request = self.alter.take_request(self.id, self.registration.epoch, correlation);
        let sent = self.call(Call::AlterPartition { to }, request.into(), fx);
        assert!(sent == Some(correlation), "AlterPartition was not sent as {correlation}");
        self.deadlines.set(Timer::AlterPartitionTimeout, now.at + self.settings.controller_socket_timeout);
    }

    /// Who was the controller has not answered for too long: who is now is asked the same.
    pub(super) fn on_alter_timeout(&mut self, now: Now, fx: &mut Effects<Effect>) {
        if let Some((call, _)) = self.alter.call().and_then(|correlation| self.calls.remove(&correlation)) {
            self.on_call_lost(now, call, fx);
        }
    }

    /// The controller, if a request would reach it.
    pub(super) fn reachable_controller(&self) -> Option<BrokerId> {
        let id = self.metadata.controller()?;
        let reachable = id == self.id || self.node_of(id).is_some_and(|node| self.channels.contains_key(&node));
        reachable.then_some(id)
    }

    /// Puts a partition's proposal on its way.
    pub(super) fn queue_proposal(&mut self, name: &TopicPartition) {
        let Some(partition) = self.partitions.get(name) else { return };
        let Some(leader) = partition.leader() else { return };
        let Some(isr) = leader.isr.proposed() else { return };
        let member = |broker| {
            let seen = if broker == self.id { self.registration.epoch } else { leader.seen_epoch(broker) };
            IsrMember {
                broker,
                broker_epoch: isr::told_epoch(self.config.rules.isr_members, seen),
                ..IsrMember::default()
            }
        };
        let proposal = Proposal {
            topic_id: partition.log.topic_id,
            leader_epoch: partition.leader_epoch(),
            partition_epoch: leader.isr.epoch(),
            isr: isr.into_iter().map(member).collect(),
        };
        self.alter.propose(name.clone(), proposal);
    }

    fn on_alter_answer(
        &mut self,
        now: Now,
        name: TopicPartition,
        proposal: Proposal,
        answer: &crate::api::kafka::AlterPartitionDataResponse,
        fx: &mut Effects<Effect>,
    ) {
        let at =
            Context { me: self.id, now, settings: &self.settings, rules: self.config.rules, metadata: &self.metadata };
        let Some(partition) = self.partitions.get_mut(&name) else { return };
        let is_same = |partition: &Partition| {
            partition.leader().is_some_and(|leader| {
                partition.leader_epoch() == proposal.leader_epoch
                    && leader.isr.epoch() == proposal.partition_epoch
                    && leader.isr.proposed().is_some_and(|isr| isr.into_iter().eq(proposal.ids()))
            })
        };
        // A LeaderAndIsr that came meanwhile has replaced what we proposed.
        if !is_same(partition) {
            return;
        }
        let before = partition.log.high_watermark();
        match partition.on_alter_answer(answer, &at, fx) {
            Settled::Done => {}
            Settled::Resend => self.alter.resend(name.clone(), proposal, now.at),
        }
        // A smaller ISR may have let the high watermark move (KAFKA-13091).
        if self.partitions.get(&name).is_some_and(|partition| partition.log.high_watermark() > before) {
            self.on_high_watermark(now, &name, fx);
        }
    }

    pub(super) fn set_alter_timer(&mut self) {
        match self.alter.wakes_at() {
            Some(at) => self.deadlines.set(Timer::AlterPartition, at),
            None => self.deadlines.clear(&Timer::AlterPartition),
        }
    }

    // The controller in this broker.

    pub(super) fn start_controller(&mut self) {
        if self.controller.is_none() {
            self.controller = Some(Controller::new(self.id, self.settings.clone(), self.rng.fork("controller")));
        }
    }

    /// Lets the controller do something, and does what it asks for.
    pub(super) fn controller_do(
        &mut self,
        now: Now,
        fx: &mut Effects<Effect>,
        run: impl FnOnce(&mut Controller, Now, &mut Effects<controller::Effect>),
    ) {
        let Some(controller) = &mut self.controller else { return };
        let mut wishes = Effects { effects: Vec::new(), notes: core::mem::take(&mut fx.notes) };
        run(controller, now, &mut wishes);
        fx.notes = wishes.notes;
        let wishes = wishes.effects;
        for wish in wishes {
            match wish {
                controller::Effect::Zk { token, op } => {
                    self.ask_keeper(now, op, Question::Controller(token), fx);
                }
                controller::Effect::Send { to, correlation, request } => {
                    self.call(Call::Controller { to, correlation }, request, fx);
                }
                controller::Effect::Reply { to, response } => {
                    if let Some(asker) = self.askers.remove(&to) {
                        self.answer(asker, response, fx);
                    }
                }
            }
        }
        self.tell_controller_of_channels(now, fx);
    }

    /// Tells the controller which brokers it can reach, as far as that is news. Itself it always reaches.
    pub(super) fn tell_controller_of_channels(&mut self, now: Now, fx: &mut Effects<Effect>) {
        let Some(controller) = &self.controller else { return };
        let known = controller.brokers().chain(self.told_up.iter().copied());
        let is_up =
            |id: BrokerId| id == self.id || self.node_of(id).is_some_and(|node| self.channels.contains_key(&node));
        let news = known.map(|id| (id, is_up(id))).find(|(id, up)| *up != self.told_up.contains(id));
        if let Some((id, up)) = news {
            if up {
                self.told_up.insert(id);
            } else {
                self.told_up.remove(&id);
            }
            // One piece of news at a time: what the controller does about it may bring more.
            self.controller_do(now, fx, |controller, now, fx| controller.on_channel(now, id, up, fx));
        }
    }

    /// Gives the controller a request under a number of its own. Before this broker is registered it is there to refuse.
    pub(super) fn ask_controller(
        &mut self,
        now: Now,
        asker: Asker,
        version: i16,
        request: Request,
        fx: &mut Effects<Effect>,
    ) {
        self.start_controller();
        let number = self.number_asker(asker);
        self.controller_do(now, fx, |controller, now, fx| controller.on_request(now, number, version, request, fx));
    }

    pub(super) fn number_asker(&mut self, asker: Asker) -> u64 {
        self.last_asker += 1;
        self.askers.insert(self.last_asker, asker);
        self.last_asker
    }
}

impl Call {
    pub fn to(&self) -> BrokerId {
        match self {
            Call::Fetcher(to)
            | Call::AlterPartition { to }
            | Call::ControlledShutdown { to }
            | Call::AllocateProducerIds { to, .. }
            | Call::Controller { to, .. } => *to,
        }
    }
}
