//! Brokers that come, go, and bounce between two looks (KIP-380), and replicas whose log directory fails.

use super::context::LiveBroker;
use super::*;
use crate::broker::znodes::BrokerInfo;
use crate::id::BrokerEpoch;

impl Controller {
    pub(super) fn on_broker_ids(&mut self, failover: bool, answer: Answer, fx: Fx<'_>) {
        let ids: Vec<BrokerId> = names(answer).iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
        let ops: Vec<Op> = ids.iter().map(|id| Op::get(&znodes::broker(*id), true)).collect();
        self.ask(ops, Then::Brokers { failover, ids }, fx);
    }

    pub(super) fn on_brokers_read(&mut self, failover: bool, ids: Vec<BrokerId>, answers: Vec<Answer>, fx: Fx<'_>) {
        let mut now = OrdMap::new();
        for (id, answer) in ids.into_iter().zip(answers) {
            if let Ok(Done::Data { data: Some(data), stat }) = answer
                && let Some(info) = BrokerInfo::decode(&data)
            {
                now.insert(id, LiveBroker { epoch: BrokerEpoch(stat.czxid.to_wire()), info });
            }
        }
        if failover {
            now.keys().for_each(|id| self.outbox.add(*id));
            self.context.brokers = now;
            return;
        }
        let known = &self.context.brokers;
        let dead: Vec<BrokerId> = known.keys().copied().filter(|id| !now.contains_key(id)).collect();
        let is_bounced = |id: &BrokerId, broker: &LiveBroker| known.get(id).is_some_and(|old| old.epoch < broker.epoch);
        let (mut fresh, mut bounced, mut changed) = (Vec::new(), Vec::new(), false);
        for (id, broker) in now {
            match known.get(&id) {
                None => fresh.push((id, broker)),
                Some(_) if is_bounced(&id, &broker) => bounced.push((id, broker)),
                Some(old) => changed |= old.info != broker.info,
            }
        }
        for (id, _) in &bounced {
            fx.note(ControllerNote::BrokerBounced { id: *id });
        }
        let gone: Vec<BrokerId> = bounced.iter().map(|(id, _)| *id).collect();
        let mut steps = Vec::new();
        if !fresh.is_empty() {
            steps.push(Step::BrokersUp(fresh));
        }
        if !bounced.is_empty() {
            steps.extend([Step::BrokersDown(gone), Step::BrokersUp(bounced)]);
        }
        if !dead.is_empty() {
            steps.push(Step::BrokersDown(dead));
        }
        if steps.is_empty() && changed {
            let of = self.context.partitions.keys().cloned().collect();
            steps.push(Step::UpdateMetadata { to: self.context.broker_ids(), of });
        }
        self.next(steps);
    }

    /// New registrations: they hear everything, the others of them, and their replicas go online.
    pub(super) fn brokers_up(&mut self, brokers: Vec<(BrokerId, LiveBroker)>, fx: Fx<'_>) {
        let others = self.context.broker_ids();
        let ids: OrdSet<BrokerId> = brokers.iter().map(|(id, _)| *id).collect();
        for (id, broker) in brokers {
            fx.note(ControllerNote::BrokerUp { id });
            self.outbox.add(id);
            self.context.brokers.insert(id, broker);
        }
        self.context.broken.retain(|(_, id)| !ids.contains(id));
        let of = self.context.replicas_on(&ids);
        let came = ids.clone();
        let all = self.context.partitions.keys().cloned().collect();
        self.next([
            Step::UpdateMetadata { to: others, of: Vec::new() },
            Step::UpdateMetadata { to: ids.into_iter().collect(), of: all },
            Step::Replicas { to: ReplicaState::Online, of: of.clone() },
            Step::OnlineAll,
        ]);
        let of_moves = self.context.reassigning.iter().filter(|tp| {
            let adding = self.context.partitions.get(tp).map(|partition| &partition.assignment.adding);
            adding.is_some_and(|adding| adding.iter().any(|id| came.contains(id)))
        });
        let moves: Vec<Step> = of_moves.cloned().map(Step::ContinueReassign).collect();
        self.agenda.extend(moves);
        // What is being moved goes on waiting for that. (Apache begins with it, and the next controller waits for a move
        // that can never end.)
        for (tp, _) in of {
            if !self.context.is_moving(&tp.topic) {
                self.context.deletion_waits.remove(&tp.topic);
            }
        }
        self.agenda.push_back(Step::ResumeDeletions);
    }

    pub(super) fn brokers_down(&mut self, ids: Vec<BrokerId>, fx: Fx<'_>) {
        let ids: OrdSet<BrokerId> = ids.into_iter().collect();
        for id in &ids {
            fx.note(ControllerNote::BrokerDown { id: *id });
            self.outbox.remove(*id);
            self.context.brokers.remove(id);
            self.context.shutting_down.remove(id);
        }
        self.context.broken.retain(|(_, id)| !ids.contains(id));
        let replicas = self.context.replicas_on(&ids);
        self.next([Step::ReplicasOffline(replicas)]);
    }

    /// The word of an earlier registration that is heard only now teaches nothing: the broker has been asked anew since, and
    /// what it found when it started anew may be otherwise.
    pub(super) fn on_learned(&mut self, (broker, epoch): (BrokerId, BrokerEpoch), what: Learned) {
        if self.context.brokers.get(&broker).is_some_and(|now| now.epoch != epoch) {
            return;
        }
        match what {
            Learned::Logs { broken, mended } => self.on_logs_judged(broken, mended),
            Learned::Deletions { done, failed } => self.on_replicas_deleted(done, failed),
        }
    }

    /// Replicas whose log cannot be used go offline, though their broker is live; others are back.
    fn on_logs_judged(&mut self, broken: Vec<Replica>, mended: Vec<Replica>) {
        for replica in &mended {
            self.context.broken.remove(replica);
            if let Some(partition) = self.context.partitions.get_mut(&replica.0)
                && partition.replica(replica.1) == ReplicaState::Offline
            {
                partition.replicas.insert(replica.1, ReplicaState::Online);
            }
        }
        let mut steps = Vec::new();
        if !mended.is_empty() {
            let of = mended.into_iter().map(|(tp, _)| tp).collect();
            steps.push(Step::UpdateMetadata { to: self.context.broker_ids(), of });
        }
        if !broken.is_empty() {
            self.context.broken.extend(broken.iter().cloned());
            steps.push(Step::ReplicasOffline(broken));
        }
        self.next(steps);
    }

    /// Leaders among them are replaced, then all of them leave their ISRs.
    pub(super) fn replicas_offline(&mut self, replicas: Vec<Replica>, _: Fx<'_>) {
        let (deleting, replicas): (Vec<Replica>, Vec<Replica>) =
            replicas.into_iter().partition(|(tp, _)| self.context.is_deleting(&tp.topic));
        let lost_leader = |tp: &TopicPartition, partition: &context::Partition| {
            partition.led.is_some()
                && !partition.leader().is_some_and(|id| self.context.is_online(tp, id))
                && !self.context.is_deleting(&tp.topic)
        };
        let offline: Vec<TopicPartition> = self
            .context
            .partitions
            .iter()
            .filter(|(tp, part)| lost_leader(tp, part))
            .map(|(tp, _)| tp.clone())
            .collect();
        let mut steps = vec![
            Step::Partitions { to: Status::Offline, of: offline.clone() },
            Step::OnlineAll,
            Step::Replicas { to: ReplicaState::Offline, of: replicas },
        ];
        if !deleting.is_empty() {
            for (tp, _) in &deleting {
                self.context.deletion_waits.insert(tp.topic.clone());
            }
            steps.push(Step::Replicas { to: ReplicaState::DeletionIneligible, of: deleting });
            steps.push(Step::ResumeDeletions);
        }
        if offline.is_empty() {
            steps.push(Step::UpdateMetadata { to: self.context.broker_ids(), of: Vec::new() });
        }
        self.next(steps);
    }

    pub(super) fn read_notifications(&mut self, dir: &'static str, fx: Fx<'_>) {
        self.ask([Op::children(dir, true)], Then::Notifications { dir }, fx);
    }

    pub(super) fn on_notifications(&mut self, dir: &'static str, answer: Answer, fx: Fx<'_>) {
        let names = names(answer);
        let ops: Vec<Op> = names.iter().map(|name| Op::get(&format!("{dir}/{name}"), false)).collect();
        self.ask(ops, Then::NotificationsOf { dir, names }, fx);
    }

    /// A failed log directory: LeaderAndIsr for all its broker's replicas brings out which ones failed. An ISR written
    /// by an old leader itself: its state is read again.
    pub(super) fn on_notifications_read(
        &mut self,
        dir: &'static str,
        names: Vec<Arc<str>>,
        answers: Vec<Answer>,
        fx: Fx<'_>,
    ) {
        let told: Vec<Bytes> = answers.into_iter().filter_map(data).collect();
        if dir == znodes::LOG_DIR_EVENTS {
            let ids = told.iter().filter_map(|data| znodes::decode_log_dir_event(data)).collect();
            let of = self.context.replicas_on(&ids);
            self.next([Step::Replicas { to: ReplicaState::Online, of }]);
        } else {
            let of = told.iter().filter_map(|data| znodes::decode_partitions(data)).flatten().collect();
            self.next([Step::ReadStatesOf(of)]);
        }
        let deletes: Vec<Op> =
            names.iter().map(|name| self.fenced(Op::delete(&format!("{dir}/{name}"), ANY_VERSION))).collect();
        self.ask(deletes, Then::Nothing, fx);
    }

    /// What a broker's answer to a control request teaches: failed log directories, and how deletions went.
    pub(super) fn learned(&self, from: BrokerId, asked: &Request, answer: &Response<Bytes>) -> Option<Event> {
        let learned = |epoch, what| Event::Learned { by: (from, epoch), what };
        match (asked, answer) {
            (Request::LeaderAndIsr(asked), Response::LeaderAndIsr(answer)) => {
                let rows =
                    answer.topics.iter().filter_map(|topic| Some((self.context.topic_named(topic.topic_id)?, topic)));
                let (mut broken, mut mended) = (Vec::new(), Vec::new());
                for (name, row) in rows.flat_map(|(name, topic)| topic.partitions.iter().map(move |row| (name, row))) {
                    let replica = (TopicPartition::new(name.clone(), row.partition), from);
                    match row.error {
                        ErrorCode::KAFKA_STORAGE_ERROR if !self.context.broken.contains(&replica) => {
                            broken.push(replica)
                        }
                        ErrorCode::NONE if self.context.broken.contains(&replica) => mended.push(replica),
                        _ => {}
                    }
                }
                let any = !broken.is_empty() || !mended.is_empty();
                any.then_some(learned(asked.broker_epoch, Learned::Logs { broken, mended }))
            }
            (Request::StopReplica(asked), Response::StopReplica(answer)) => {
                let rows =
                    asked.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |row| (&topic.name, row)));
                let deleted = rows.filter(|(name, row)| row.delete && self.context.is_deleting(name));
                let failed = |replica: &Replica| {
                    answer.error.is_error()
                        || answer.partitions.iter().any(|row| {
                            row.topic == replica.0.topic && row.partition == replica.0.partition && row.error.is_error()
                        })
                };
                let all =
                    deleted.into_iter().map(|(name, row)| (TopicPartition::new(name.clone(), row.partition), from));
                let (failed, done): (Vec<Replica>, Vec<Replica>) = all.partition(failed);
                let any = !failed.is_empty() || !done.is_empty();
                any.then_some(learned(asked.broker_epoch, Learned::Deletions { done, failed }))
            }
            _ => None,
        }
    }
}
