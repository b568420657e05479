//! Working the agenda off: answers, steps and events, one at a time, until ZooKeeper has to be waited for. Knows in which
//! order, and what a loss of the office ends; what each of them does is in the files beside this one.

use super::*;

impl Controller {
    /// Runs answers, steps and events, in this order of precedence, until it has to wait for ZooKeeper.
    pub(super) fn run(&mut self, now: Now, fx: Fx<'_>) {
        loop {
            if let Some(waiting) = &self.waiting {
                if waiting.asked.iter().any(|(_, answer)| answer.is_none()) {
                    break;
                }
                let Some(Waiting { asked, then, .. }) = self.waiting.take() else { break };
                if self.office.active.is_some() && asked.iter().any(|(op, answer)| is_fenced(op, answer.as_ref())) {
                    self.on_fenced(fx);
                    continue;
                }
                let answers = asked.into_iter().filter_map(|(_, answer)| answer).collect();
                self.resume(now, then, answers, fx);
            } else if let Some(step) = self.agenda.pop_front() {
                self.perform(now, step, fx);
            } else {
                if let Some((from, _, request)) = self.answering.take() {
                    self.refuse(from, &request, ErrorCode::UNKNOWN_SERVER_ERROR, fx);
                }
                self.settle_parked(now, fx);
                match self.events.pop_front() {
                    Some(event) => self.on_event(now, event, fx),
                    None => break,
                }
            }
        }
        for (to, correlation, request) in self.outbox.ready() {
            fx.emit(Effect::Send { to, correlation, request });
        }
    }

    fn on_event(&mut self, now: Now, event: Event, fx: Fx<'_>) {
        match event {
            Event::Elect => {
                if self.office.session.is_some() {
                    self.ask([Op::exists(znodes::CONTROLLER, true)], Then::LookedForController, fx);
                }
            }
            Event::CreateHere { from, request, seats } => {
                self.answering = Some((from, 7, request.into()));
                self.create_topics(now, Some(seats), fx)
            }
            Event::Request { from, version, request } => {
                let anywhere = matches!(request, Request::IncrementalAlterConfigs(_));
                if self.office.active.is_none() && !anywhere {
                    return self.refuse(from, &request, ErrorCode::NOT_CONTROLLER, fx);
                }
                self.answering = Some((from, version, request));
                self.on_asked(now, fx)
            }
            _ if self.office.active.is_none() => (),
            Event::BrokersChanged | Event::BrokerChanged => self.next([Step::ReadBrokers { failover: false }]),
            Event::TopicsChanged => self.next([Step::ReadTopics { failover: false }]),
            Event::TopicChanged(topic) => {
                let path = znodes::topic(&topic);
                self.ask([Op::get(&path, true)], Then::TopicChanged(topic), fx);
            }
            Event::DeletionsWanted => self.next([Step::ReadDeletions { failover: false }]),
            Event::ReassignmentsWanted => self.next([Step::ReadReassignments]),
            Event::PreferredWanted => self.next([Step::ReadPreferred]),
            Event::LogDirsFailed => self.read_notifications(znodes::LOG_DIR_EVENTS, fx),
            Event::IsrsChanged => self.read_notifications(znodes::ISR_CHANGES, fx),
            Event::Learned { by, what } => self.on_learned(by, what),
            Event::Rebalance => self.rebalance(),
            Event::UncleanAllowed => self.next([Step::OnlineAll]),
        }
    }

    fn perform(&mut self, now: Now, step: Step, fx: Fx<'_>) {
        match step {
            Step::Campaign => self.campaign(fx),
            Step::OldNotifications => self.delete_old_notifications(fx),
            Step::WatchNodes => {
                let nodes = [znodes::PREFERRED_ELECTION, znodes::REASSIGN_PARTITIONS];
                self.ask(nodes.map(|path| Op::exists(path, true)), Then::Nothing, fx);
            }
            Step::ReadBrokers { failover } => {
                self.ask([Op::children(znodes::BROKER_IDS, true)], Then::BrokerIds { failover }, fx);
            }
            Step::ReadTopics { failover } => {
                self.ask([Op::children(znodes::TOPICS, true)], Then::TopicNames { failover }, fx);
            }
            Step::ReadStates => {
                let all: Vec<TopicPartition> = self.context.partitions.keys().cloned().collect();
                let ops: Vec<Op> = all.iter().map(|tp| Op::get(&znodes::partition_state(tp), false)).collect();
                self.ask(ops, Then::States(all), fx);
            }
            Step::ReadDeletions { failover } => {
                self.ask([Op::children(znodes::DELETE_TOPICS, true)], Then::Deletions { failover }, fx);
            }
            Step::StartReplicas => self.start_replicas(),
            Step::StartPartitions => self.start_partitions(),
            Step::FailoverDone => self.on_failover_done(now, fx),
            Step::Replicas { to, of } => self.replicas_to(to, of),
            Step::Partitions { to, of } => self.partitions_to(to, of, fx),
            Step::Online { of, strategy } => self.partitions_online(of, strategy),
            Step::Initialize(of) => self.initialize(of, fx),
            Step::Elect { of, strategy } => self.read_for_election(of, strategy, fx),
            Step::LeaveIsr { replica, of } => self.read_to_leave_isr(replica, of, fx),
            Step::OnlineAll => self.online_all(),
            Step::Bump(tp) => self.ask([Op::get(&znodes::partition_state(&tp), false)], Then::BumpRead(tp), fx),
            Step::Flush => self.flush(),
            Step::Gather(batch) => self.batch = *batch,
            Step::UpdateMetadata { to, of } => {
                self.batch.update(to, of);
                self.flush();
            }
            Step::BrokersUp(brokers) => self.brokers_up(brokers, fx),
            Step::BrokersDown(ids) => self.brokers_down(ids, fx),
            Step::ReplicasOffline(replicas) => self.replicas_offline(replicas, fx),
            Step::NewPartitions(of) => self.new_partitions(of),
            Step::ResumeDeletions => self.resume_deletions(),
            Step::DeleteReplicas(topics) => self.delete_replicas(&topics),
            Step::DropTopic(topic) => self.drop_topic(topic, fx),
            Step::ReadReassignments => {
                self.ask([Op::get(znodes::REASSIGN_PARTITIONS, true)], Then::Reassignments, fx);
            }
            Step::Reassign(tp, to) => self.reassign(tp, to, fx),
            Step::ContinueReassign(tp) => self.check_for(tp, Then::FinishCheck, fx),
            Step::FinishReassign(tp) => self.finish_reassign(tp),
            Step::TakeTarget(tp) => self.take_target(&tp),
            Step::MoveLeader(tp) => self.move_leader(tp),
            Step::TrimReassignments => self.ask([Op::get(znodes::REASSIGN_PARTITIONS, true)], Then::ReassignNode, fx),
            Step::WriteTarget(tp) => self.write_target(tp, fx),
            Step::EndReassign(tp) => self.end_reassign(tp, fx),
            Step::CheckReassign(tp) => {
                if self.context.reassigning.contains(&tp) {
                    self.check_for(tp, Then::Checked, fx);
                }
            }
            Step::ResumeReassignments => self.resume_reassignments(),
            Step::ReadPreferred => self.ask([Op::get(znodes::PREFERRED_ELECTION, true)], Then::Preferred, fx),
            Step::EndPreferred => {
                let op = self.fenced(Op::delete(znodes::PREFERRED_ELECTION, -1));
                self.ask([op], Then::Nothing, fx);
            }
            Step::ShutdownReply(id) => self.reply_shutdown(id, fx),
            Step::ElectReply(refused, strategy, before) => self.reply_elections(refused, strategy, before, fx),
            Step::Answer(response) => self.reply(*response, fx),
            Step::ReadStatesOf(of) => {
                let ops: Vec<Op> = of.iter().map(|tp| Op::get(&znodes::partition_state(tp), false)).collect();
                self.ask(ops, Then::StatesAgain(of), fx);
            }
            Step::ProducerIds(to) => self.ask([Op::get(znodes::PRODUCER_ID_BLOCK, false)], Then::ProducerBlock(to), fx),
        }
    }

    fn resume(&mut self, now: Now, then: Then, mut answers: Vec<Answer>, fx: Fx<'_>) {
        match then {
            Then::Nothing => {}
            Then::LookedForController => self.on_looked(answers.remove(0), fx),
            Then::ReadController => self.on_controller_read(answers, fx),
            Then::ReadControllerEpoch => self.on_epoch_read(now, answers.pop().unwrap_or(Err(KeeperError::NONODE)), fx),
            Then::Campaigned => self.on_campaigned(answers.remove(0), fx),
            Then::Features => self.on_features(answers.remove(0), fx),
            Then::OldNotifications => self.on_old_notifications(answers, fx),
            Then::Armed(event) => {
                if answers.remove(0).is_ok() {
                    self.events.push_back(*event);
                }
            }
            Then::Notifications { dir } => self.on_notifications(dir, answers.remove(0), fx),
            Then::NotificationsOf { dir, names } => self.on_notifications_read(dir, names, answers, fx),
            Then::BrokerIds { failover } => self.on_broker_ids(failover, answers.remove(0), fx),
            Then::Brokers { failover, ids } => self.on_brokers_read(failover, ids, answers, fx),
            Then::TopicNames { failover } => self.on_topic_names(failover, answers.remove(0), fx),
            Then::Topics { failover, names } => self.on_topics_read(failover, names, answers),
            Then::States(of) => self.on_states_read(true, of, answers),
            Then::StatesAgain(of) => {
                self.on_states_read(false, of.clone(), answers);
                let to = self.context.broker_ids();
                self.next([Step::UpdateMetadata { to, of }]);
            }
            Then::Deletions { failover } => self.on_deletions_read(failover, answers.remove(0), fx),
            Then::Initialized(of) => self.on_initialized(of, answers, fx),
            Then::Adopt(of) => self.on_adopted(of, answers),
            Then::ElectRead { of, topics, strategy } => self.on_read_for_election(of, &topics, strategy, answers, fx),
            Then::Elected { of, strategy } => self.on_elected(of, strategy, answers, fx),
            Then::LeaveIsrRead { replica, of } => self.on_read_to_leave_isr(replica, of, answers, fx),
            Then::LeftIsr { replica, of } => self.on_left_isr(replica, of, answers, fx),
            Then::BumpRead(tp) => self.on_read_to_bump(tp, answers.remove(0), fx),
            Then::Bumped(tp, state) => self.on_bumped(tp, state, answers.remove(0)),
            Then::TopicChanged(topic) => self.on_topic_read(topic, answers.remove(0)),
            Then::Reassignments => self.on_reassignments_read(answers.remove(0), fx),
            Then::AssignmentWritten(tp, to) => self.on_assignment_written(tp, to, answers.remove(0), fx),
            Then::FinishCheck(tp) => self.on_finish_check(tp, answers.remove(0)),
            Then::Checked(tp) => self.on_checked(tp, answers.remove(0)),
            Then::ReassignNode => self.on_reassign_node(answers.remove(0), fx),
            Then::Preferred => self.on_preferred_read(answers.remove(0), fx),
            Then::TopicTree(topic) => self.on_topic_tree(topic, answers.remove(0), fx),
            Then::TopicDropped(topic) => self.on_topic_dropped(topic, fx),
            Then::IsrWritten(alter) => self.on_isr_written(*alter, answers, fx),
            Then::IsrReadBack(alter) => self.on_isr_read_back(*alter, answers, fx),
            Then::LookedForTopics(creation) => self.on_looked_for_topics(*creation, answers, fx),
            Then::TopicsMade(creation) => self.on_topics_made(now, *creation, answers, fx),
            Then::DeletionsAsked(deletion) => self.on_deletions_asked(now, *deletion, answers, fx),
            Then::ConfigsRead(alteration) => self.on_configs_read(*alteration, answers, fx),
            Then::ConfigsWritten(alteration) => self.on_configs_written(*alteration, answers, fx),
            Then::ProducerBlock(to) => self.on_producer_block(to, answers.remove(0), fx),
            Then::ProducerBlockWritten(to, block) => self.on_producer_block_written(to, block, answers.remove(0), fx),
        }
    }

    /// Puts steps before everything else that is to be done.
    pub(super) fn next(&mut self, steps: impl IntoIterator<Item = Step, IntoIter: DoubleEndedIterator>) {
        for step in steps.into_iter().rev() {
            self.agenda.push_front(step);
        }
    }

    /// Asks ZooKeeper all of these at once; `then` has the answers in the same order.
    pub(super) fn ask(&mut self, ops: impl IntoIterator<Item = Op>, then: Then, fx: Fx<'_>) {
        assert!(self.waiting.is_none(), "a second round of questions while waiting for the first");
        // A keeper would hang up on what is too large for it, and on every connection after that. It is an error here.
        let judged = |op: Op| {
            let is_too_large = bytes_of(&op) > MOST_BYTES;
            (op, is_too_large.then_some(Err(KeeperError::BADARGUMENTS)))
        };
        let asked: Vec<(Op, Option<Answer>)> = ops.into_iter().map(judged).collect();
        let first = self.next_token;
        self.next_token += asked.len() as u64;
        for (at, (op, _)) in asked.iter().enumerate().filter(|(_, (_, answer))| answer.is_none()) {
            fx.emit(Effect::Zk { token: first + at as u64, op: op.clone() });
        }
        self.waiting = Some(Waiting { first, asked, lost: OrdSet::new(), then });
    }

    /// The write, done only if no newer controller was elected (KAFKA-6082).
    pub(super) fn fenced(&self, op: Op) -> Op {
        match self.office.active {
            Some((_, version)) => Op::Multi(vec![Op::check(znodes::CONTROLLER_EPOCH, version), op]),
            None => op,
        }
    }

    pub(super) fn epoch(&self) -> ControllerEpoch {
        self.office.active.map_or(ControllerEpoch(0), |(epoch, _)| epoch)
    }

    pub(super) fn flush(&mut self) {
        let epoch = self.epoch();
        for (to, request) in self.batch.take(self.id, epoch, &self.context) {
            self.outbox.push(to, request);
        }
    }

    /// Answers the request at hand.
    pub(super) fn reply(&mut self, response: Response<LogRange>, fx: Fx<'_>) {
        if let Some((to, _, _)) = self.answering.take() {
            fx.emit(Effect::Reply { to, response });
        }
    }

    fn on_fenced(&mut self, fx: Fx<'_>) {
        fx.note(ControllerNote::Fenced { epoch: self.epoch() });
        self.leave_office("a newer controller is elected", fx);
        self.events.push_back(Event::Elect);
    }

    /// Forgets everything a controller knows; what it was asked is refused.
    pub(super) fn leave_office(&mut self, why: &'static str, fx: Fx<'_>) {
        if self.office.active.take().is_some() {
            fx.note(ControllerNote::Resigned { why });
        }
        self.office.candidacy = None;
        self.agenda.clear();
        self.waiting = None;
        self.batch = Batch::default();
        self.context = Context::default();
        self.outbox.clear();
        self.deadlines.clear_all();
        if let Some((from, _, request)) = self.answering.take() {
            self.refuse(from, &request, ErrorCode::NOT_CONTROLLER, fx);
        }
        // They are written, and the next controller sees to them. Kafka's wait on, for metadata that may come from that one,
        // and end like this (DelayedCreatePartitions.onComplete, DelayedDeleteTopics.onComplete).
        for mut parked in core::mem::take(&mut self.parked) {
            admin::time_out(&mut parked.response);
            fx.emit(Effect::Reply { to: parked.from, response: parked.response });
        }
    }

    pub(super) fn drop_events(&mut self, fx: Fx<'_>) {
        for event in core::mem::take(&mut self.events) {
            match event {
                Event::Request { from, request, .. } => self.refuse(from, &request, ErrorCode::NOT_CONTROLLER, fx),
                Event::CreateHere { from, request, .. } => {
                    self.refuse(from, &request.into(), ErrorCode::NOT_CONTROLLER, fx);
                }
                _ => {}
            }
        }
    }
}

/// What a keeper takes in one request: `jute.maxbuffer`, less what frames it.
pub(super) const MOST_BYTES: usize = 0xfffff - 1024;

/// Paths and data of a request.
fn bytes_of(op: &Op) -> usize {
    match op {
        Op::Create { path, data, .. } | Op::CreateWith { path, data, .. } | Op::Set { path, data, .. } => {
            path.len() + data.as_ref().map_or(0, Bytes::len)
        }
        Op::Multi(parts) => parts.iter().map(|part| bytes_of(part) + 32).sum(),
        Op::Exists { path, .. }
        | Op::Get { path, .. }
        | Op::Children { path, .. }
        | Op::GetAcl { path }
        | Op::SetAcl { path, .. }
        | Op::Delete { path, .. }
        | Op::Check { path, .. }
        | Op::Sync { path } => path.len(),
    }
}

/// Whether a write was refused because `/controller_epoch` had moved on.
fn is_fenced(op: &Op, answer: Option<&Answer>) -> bool {
    let Op::Multi(parts) = op else { return false };
    let fenced = matches!(parts.first(), Some(Op::Check { path, .. }) if &**path == znodes::CONTROLLER_EPOCH);
    let failed = match answer {
        Some(Ok(Done::Multi(results))) => results.first().and_then(|first| first.as_ref().err().copied()),
        _ => None,
    };
    fenced && matches!(failed, Some(KeeperError::BADVERSION | KeeperError::NONODE))
}
