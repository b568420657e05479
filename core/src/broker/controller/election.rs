//! Becoming controller, and what a new one does first (protocol.md C.2).

use super::*;

impl Controller {
    pub(super) fn on_looked(&mut self, answer: Answer, fx: Fx<'_>) {
        match answer {
            Ok(_) => self.read_controller(fx),
            Err(KeeperError::NONODE) => {
                self.leave_office("its /controller is gone", fx);
                self.office.holder = None;
                self.next([Step::Campaign]);
            }
            Err(_) => {}
        }
    }

    fn read_controller(&mut self, fx: Fx<'_>) {
        let ops = [Op::get(znodes::CONTROLLER, false), Op::get(znodes::CONTROLLER_EPOCH, false)];
        self.ask(ops, Then::ReadController, fx);
    }

    /// Somebody is controller: another, or this broker, whose multi may have succeeded though its reply was lost.
    ///
    /// It is ours only if our present session owns `/controller` and the very transaction that created it set the epoch.
    /// A broker that finds itself there takes office; Kafka 3.9 only notes it and never acts (KAFKA-13407).
    pub(super) fn on_controller_read(&mut self, mut answers: Vec<Answer>, fx: Fx<'_>) {
        let epoch = answers.pop().unwrap_or(Err(KeeperError::NONODE));
        let controller = answers.pop().unwrap_or(Err(KeeperError::NONODE));
        let (Ok(Done::Data { data, stat }), Ok(Done::Data { data: epoch, stat: epoch_stat })) = (controller, epoch)
        else {
            self.events.push_front(Event::Elect);
            return;
        };
        self.office.holder = data.as_deref().and_then(znodes::decode_controller);
        let is_ours = Some(stat.ephemeral_owner) == self.office.session && stat.czxid == epoch_stat.mzxid;
        if !is_ours {
            return self.leave_office("another broker is controller", fx);
        }
        if self.office.active.is_none()
            && let Some(epoch) = epoch.as_deref().and_then(znodes::decode_controller_epoch)
        {
            self.become_controller(epoch, epoch_stat.version, fx);
        }
    }

    pub(super) fn campaign(&mut self, fx: Fx<'_>) {
        self.ask([Op::get(znodes::CONTROLLER_EPOCH, false)], Then::ReadControllerEpoch, fx);
    }

    pub(super) fn on_epoch_read(&mut self, now: Now, answer: Answer, fx: Fx<'_>) {
        let Ok(Done::Data { data, stat }) = answer else {
            let zero = znodes::encode_controller_epoch(ControllerEpoch(0));
            let create = Op::create(znodes::CONTROLLER_EPOCH, Some(zero), CreateMode::Persistent);
            self.ask([create, Op::get(znodes::CONTROLLER_EPOCH, false)], Then::ReadControllerEpoch, fx);
            return;
        };
        let epoch = data.as_deref().and_then(znodes::decode_controller_epoch).unwrap_or_default();
        let next = ControllerEpoch(epoch.0 + 1);
        self.office.candidacy = Some((next, stat.version + 1));
        let claim = znodes::encode_controller(self.id, now.wall);
        let multi = Op::Multi(vec![
            Op::create(znodes::CONTROLLER, Some(claim), CreateMode::Ephemeral),
            Op::set(znodes::CONTROLLER_EPOCH, znodes::encode_controller_epoch(next), stat.version),
        ]);
        self.ask([multi], Then::Campaigned, fx);
    }

    pub(super) fn on_campaigned(&mut self, answer: Answer, fx: Fx<'_>) {
        let candidacy = self.office.candidacy.take();
        let won = matches!(&answer, Ok(Done::Multi(parts)) if parts.iter().all(Result::is_ok));
        match candidacy {
            Some((epoch, version)) if won => self.become_controller(epoch, version, fx),
            // NODEEXISTS or BADVERSION: another was faster, or the reply to the same multi was lost.
            _ => self.read_controller(fx),
        }
    }

    fn become_controller(&mut self, epoch: ControllerEpoch, version: i32, fx: Fx<'_>) {
        self.office.active = Some((epoch, version));
        self.office.holder = Some(self.id);
        self.context = Context::default();
        fx.note(ControllerNote::BecameController { epoch });
        self.next([
            Step::WatchNodes,
            Step::OldNotifications,
            Step::ReadBrokers { failover: true },
            Step::ReadTopics { failover: true },
            Step::ReadStates,
            Step::ReadDeletions { failover: true },
            Step::StartReplicas,
            Step::StartPartitions,
            Step::OnlineAll,
            Step::ReadReassignments,
            Step::ResumeReassignments,
            Step::ResumeDeletions,
            Step::ReadPreferred,
            Step::FailoverDone,
        ]);
        self.ask([Op::get(znodes::FEATURE, false)], Then::Features, fx);
    }

    pub(super) fn on_features(&mut self, answer: Answer, fx: Fx<'_>) {
        if answer == Err(KeeperError::NONODE) {
            let create = Op::create(znodes::FEATURE, Some(znodes::encode_feature()), CreateMode::Persistent);
            self.ask([create], Then::Nothing, fx);
        }
    }

    pub(super) fn delete_old_notifications(&mut self, fx: Fx<'_>) {
        let dirs = [znodes::LOG_DIR_EVENTS, znodes::ISR_CHANGES];
        self.ask(dirs.map(|dir| Op::children(dir, true)), Then::OldNotifications, fx);
    }

    pub(super) fn on_old_notifications(&mut self, answers: Vec<Answer>, fx: Fx<'_>) {
        let dirs = [znodes::LOG_DIR_EVENTS, znodes::ISR_CHANGES];
        let old = dirs.iter().zip(answers).flat_map(|(dir, answer)| {
            names(answer).into_iter().map(move |name| Op::delete(&format!("{dir}/{name}"), ANY_VERSION))
        });
        let deletes: Vec<Op> = old.map(|op| self.fenced(op)).collect();
        self.ask(deletes, Then::Nothing, fx);
    }

    /// Live replicas to Online, dead ones to Offline; everybody hears who is live first.
    pub(super) fn start_replicas(&mut self) {
        let mut online = Vec::new();
        let mut offline = Vec::new();
        let all: OrdSet<BrokerId> =
            self.context.partitions.values().flat_map(|part| part.assignment.replicas.iter().copied()).collect();
        for (tp, id) in self.context.replicas_on(&all) {
            let is_online = self.context.is_online(&tp, id);
            let Some(partition) = self.context.partitions.get_mut(&tp) else { continue };
            let state = if is_online { ReplicaState::Online } else { ReplicaState::DeletionIneligible };
            partition.replicas.insert(id, state);
            if is_online { &mut online } else { &mut offline }.push((tp, id));
        }
        let to = self.context.broker_ids();
        self.next([
            Step::UpdateMetadata { to, of: Vec::new() },
            Step::Replicas { to: ReplicaState::Online, of: online },
            Step::Replicas { to: ReplicaState::Offline, of: offline },
        ]);
    }

    pub(super) fn start_partitions(&mut self) {
        let context = &self.context;
        let statuses = context.partitions.iter().map(|(tp, partition)| match partition.led {
            None => Status::New,
            Some(_) if partition.leader().is_some_and(|id| context.is_online(tp, id)) => Status::Online,
            Some(_) => Status::Offline,
        });
        let statuses: Vec<Status> = statuses.collect();
        for (partition, status) in self.context.partitions.values_mut().zip(statuses) {
            partition.status = status;
        }
    }

    pub(super) fn on_failover_done(&mut self, now: Now, fx: Fx<'_>) {
        if self.settings.auto_leader_rebalance_enable {
            let first = FIRST_REBALANCE.min(self.settings.leader_imbalance_check_interval);
            self.deadlines.set(Timer::Rebalance, now.at + first);
        }
        let (brokers, partitions) = (self.context.brokers.len() as u32, self.context.partitions.len() as u32);
        fx.note(ControllerNote::FailoverDone { epoch: self.epoch(), brokers, partitions });
    }
}
