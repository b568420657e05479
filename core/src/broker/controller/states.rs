//! The replica and partition state machines: legal moves, what each writes to ZooKeeper and tells the brokers
//! (protocol.md C.2, C.3).

use super::context::{Led, LiveBroker};
use super::*;
use crate::broker::config::TopicSettings;
use crate::broker::znodes::PartitionState;
use crate::id::{PartitionEpoch, Zxid};

/// An election that is being written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Elected {
    pub tp: TopicPartition,
    pub state: PartitionState,
    pub is_unclean: bool,
    pub recipients: Vec<BrokerId>,
}

/// A state znode that was read, with its version; `None` if it is not there or not Kafka's.
pub(super) fn read_state(answer: Answer) -> Option<(PartitionState, i32)> {
    match answer {
        Ok(Done::Data { data: Some(data), stat }) => Some((PartitionState::decode(&data)?, stat.version)),
        _ => None,
    }
}

impl Controller {
    /// Moves replicas whose present state allows it; the others stay as they are.
    pub(super) fn replicas_to(&mut self, to: ReplicaState, of: Vec<Replica>) {
        let mut leave: OrdMap<BrokerId, Vec<TopicPartition>> = OrdMap::new();
        for replica in of {
            let from = self.context.state_of(&replica);
            let (tp, id) = replica;
            if !to.follows(from) {
                continue;
            }
            let all = self.context.broker_ids();
            let Some(partition) = self.context.partitions.get_mut(&tp) else { continue };
            let is_led = partition.led.is_some();
            if to == ReplicaState::NonExistent {
                partition.replicas.remove(&id);
                let assignment = &mut partition.assignment;
                for list in [&mut assignment.replicas, &mut assignment.adding, &mut assignment.removing] {
                    list.retain(|other| *other != id);
                }
                continue;
            }
            partition.replicas.insert(id, to);
            match to {
                ReplicaState::New => self.batch.lead(&[id], &tp, true, &self.context),
                ReplicaState::Online if from == ReplicaState::New => {
                    if !partition.assignment.replicas.contains(&id) {
                        partition.assignment.replicas.push(id);
                    }
                }
                ReplicaState::Online => self.batch.lead(&[id], &tp, false, &self.context),
                ReplicaState::Offline => {
                    // One that cannot use its log has nothing to stop, and is told later that it left the ISR.
                    if !self.context.broken.contains(&(tp.clone(), id)) {
                        self.batch.stop(id, &tp, false);
                    }
                    if is_led {
                        leave.entry(id).or_default().push(tp);
                    } else {
                        self.batch.update(all, [tp]);
                    }
                }
                ReplicaState::DeletionStarted => self.batch.stop(id, &tp, true),
                ReplicaState::DeletionSuccessful | ReplicaState::DeletionIneligible | ReplicaState::NonExistent => {}
            }
        }
        let leave = leave.into_iter().map(|(replica, of)| Step::LeaveIsr { replica, of });
        self.next(leave.chain([Step::Flush]).collect::<Vec<_>>());
    }

    pub(super) fn partitions_to(&mut self, to: Status, of: Vec<TopicPartition>, _: Fx<'_>) {
        for tp in of {
            if let Some(partition) = self.context.partitions.get_mut(&tp)
                && to.follows(partition.status)
            {
                partition.status = to;
            }
        }
    }

    pub(super) fn partitions_online(&mut self, of: Vec<TopicPartition>, strategy: Strategy) {
        let status =
            |tp: &TopicPartition| self.context.partitions.get(tp).map_or(Status::NonExistent, |part| part.status);
        let of: Vec<TopicPartition> = of.into_iter().filter(|tp| Status::Online.follows(status(tp))).collect();
        let (fresh, elect) = of.into_iter().partition(|tp| status(tp) == Status::New);
        self.next([Step::Initialize(fresh), Step::Elect { of: elect, strategy }, Step::Flush]);
    }

    pub(super) fn online_all(&mut self) {
        let waits = |partition: &context::Partition| matches!(partition.status, Status::New | Status::Offline);
        let all = self.context.partitions.iter();
        let of = all.filter(|(tp, partition)| waits(partition) && !self.context.is_deleting(&tp.topic));
        let of = of.map(|(tp, _)| tp.clone()).collect();
        self.next([Step::Online { of, strategy: Strategy::Offline { unclean: false } }]);
    }

    /// Creates the state znodes of new partitions, and the nodes above them.
    pub(super) fn initialize(&mut self, of: Vec<TopicPartition>, fx: Fx<'_>) {
        let epoch = self.epoch();
        let found = of.into_iter().filter_map(|tp| {
            let state = self.context.ballot(&tp, |ballot| elect::initial(ballot, epoch))?;
            Some((tp, state))
        });
        let found: Vec<(TopicPartition, PartitionState)> = found.collect();
        if found.is_empty() {
            return;
        }
        let create = |path: &str, data| self.fenced(Op::create(path, data, CreateMode::Persistent));
        let topics: OrdSet<&Arc<str>> = found.iter().map(|(tp, _)| &tp.topic).collect();
        let mut ops: Vec<Op> = topics.into_iter().map(|topic| create(&znodes::partitions(topic), None)).collect();
        for (tp, state) in &found {
            ops.push(create(&znodes::partition(tp), None));
            ops.push(create(&znodes::partition_state(tp), Some(state.encode())));
        }
        self.ask(ops, Then::Initialized(found), fx);
    }

    pub(super) fn on_initialized(
        &mut self,
        of: Vec<(TopicPartition, PartitionState)>,
        answers: Vec<Answer>,
        fx: Fx<'_>,
    ) {
        let parents = answers.len() - 2 * of.len();
        let mut states = answers.into_iter().skip(parents + 1).step_by(2);
        let mut adopt = Vec::new();
        for (tp, state) in of {
            match states.next().map(written) {
                Some(Ok(_)) => self.on_first_leader(tp, state, PartitionEpoch(0), fx),
                // The reply to the same create was lost, or the node is of an earlier controller: read it.
                Some(Err(KeeperError::NODEEXISTS)) => adopt.push(tp),
                Some(Err(_)) | None => {}
            }
        }
        if !adopt.is_empty() {
            let ops: Vec<Op> = adopt.iter().map(|tp| Op::get(&znodes::partition_state(tp), false)).collect();
            self.ask(ops, Then::Adopt(adopt), fx);
        }
    }

    fn on_first_leader(&mut self, tp: TopicPartition, state: PartitionState, version: PartitionEpoch, fx: Fx<'_>) {
        if let Some(leader) = state.leader {
            fx.note(ControllerNote::Elected {
                partition: tp.clone(),
                leader,
                epoch: state.leader_epoch,
                isr: state.isr.clone(),
                strategy: "initial",
            });
        }
        let Some(partition) = self.context.partitions.get_mut(&tp) else { return };
        let isr = state.isr.clone();
        partition.led = Some(Led { state, epoch: version });
        partition.status = Status::Online;
        self.batch.lead(&isr, &tp, true, &self.context);
    }

    pub(super) fn on_adopted(&mut self, of: Vec<TopicPartition>, answers: Vec<Answer>) {
        let mut again = Vec::new();
        for (tp, answer) in of.into_iter().zip(answers) {
            let Some((state, version)) = read_state(answer) else { continue };
            let is_first = state.controller_epoch == self.epoch();
            let Some(partition) = self.context.partitions.get_mut(&tp) else { continue };
            let isr = state.isr.clone();
            partition.led = Some(Led { state, epoch: PartitionEpoch(version) });
            if is_first {
                partition.status = Status::Online;
                self.batch.lead(&isr, &tp, true, &self.context);
            } else {
                partition.status = Status::Offline;
                again.push(tp);
            }
        }
        self.next([Step::Elect { of: again, strategy: Strategy::Offline { unclean: false } }]);
    }

    pub(super) fn read_for_election(&mut self, of: Vec<TopicPartition>, strategy: Strategy, fx: Fx<'_>) {
        if of.is_empty() {
            return;
        }
        let mut ops: Vec<Op> = of.iter().map(|tp| Op::get(&znodes::partition_state(tp), false)).collect();
        let mut topics = Vec::new();
        if strategy == (Strategy::Offline { unclean: false }) {
            topics = of.iter().map(|tp| tp.topic.clone()).collect::<OrdSet<_>>().into_iter().collect();
            ops.extend(topics.iter().map(|topic| Op::get(&znodes::config("topics", topic), false)));
        }
        self.ask(ops, Then::ElectRead { of, topics, strategy }, fx);
    }

    pub(super) fn on_read_for_election(
        &mut self,
        of: Vec<TopicPartition>,
        topics: &[Arc<str>],
        strategy: Strategy,
        mut answers: Vec<Answer>,
        fx: Fx<'_>,
    ) {
        let configs = answers.split_off(of.len());
        let unclean: OrdMap<&Arc<str>, bool> =
            topics.iter().zip(configs).map(|(topic, answer)| (topic, self.may_be_unclean(answer))).collect();
        let epoch = self.epoch();
        let mut ops = Vec::new();
        let mut elections = Vec::new();
        for (tp, answer) in of.into_iter().zip(answers) {
            let Some((state, version)) = read_state(answer) else { continue };
            if state.controller_epoch > epoch {
                continue;
            }
            let strategy = match strategy {
                Strategy::Offline { unclean: asked } => {
                    Strategy::Offline { unclean: asked || unclean.get(&tp.topic).copied().unwrap_or(false) }
                }
                other => other,
            };
            let vote = |ballot: elect::Ballot<'_>| {
                Some((elect::elect(strategy, &state, ballot, epoch)?, ballot.live_replicas(strategy)))
            };
            match self.context.ballot(&tp, vote) {
                Some((new, recipients)) => {
                    let is_unclean = new.leader.is_some_and(|leader| !state.isr.contains(&leader));
                    let set = Op::set(&znodes::partition_state(&tp), new.encode(), version);
                    ops.push(self.fenced(set));
                    elections.push(Elected { tp, state: new, is_unclean, recipients });
                }
                None if matches!(strategy, Strategy::Offline { .. }) => {
                    fx.note(ControllerNote::OfflinePartition { partition: tp });
                }
                None => {}
            }
        }
        if !ops.is_empty() {
            self.ask(ops, Then::Elected { of: elections, strategy }, fx);
        }
    }

    /// Whether a topic's settings (or, without, the broker's) allow a leader from outside the ISR.
    fn may_be_unclean(&self, configs: Answer) -> bool {
        let configs = data(configs).and_then(|data| znodes::decode_configs(&data));
        let of_topic = configs.and_then(|configs| TopicSettings::unclean_leader(&configs));
        of_topic.unwrap_or(self.settings.unclean_leader_election_enable)
    }

    pub(super) fn on_elected(&mut self, of: Vec<Elected>, strategy: Strategy, answers: Vec<Answer>, fx: Fx<'_>) {
        let mut again = Vec::new();
        for (Elected { tp, state, is_unclean, recipients }, answer) in of.into_iter().zip(answers) {
            match written(answer) {
                Ok(done) => {
                    let version = done.stat().map_or(0, |stat| stat.version);
                    if let Some(leader) = state.leader {
                        let (partition, epoch, isr) = (tp.clone(), state.leader_epoch, state.isr.clone());
                        fx.note(if is_unclean {
                            ControllerNote::UncleanElection { partition, leader, epoch }
                        } else {
                            let strategy = match strategy {
                                Strategy::Initial => "initial",
                                Strategy::Offline { .. } => "offline",
                                Strategy::Reassign => "reassign",
                                Strategy::Preferred => "preferred",
                                Strategy::ControlledShutdown => "controlled shutdown",
                            };
                            ControllerNote::Elected { partition, leader, epoch, isr, strategy }
                        });
                    }
                    let Some(partition) = self.context.partitions.get_mut(&tp) else { continue };
                    partition.led = Some(Led { state, epoch: PartitionEpoch(version) });
                    partition.status = Status::Online;
                    self.batch.lead(&recipients, &tp, false, &self.context);
                }
                Err(KeeperError::BADVERSION) => again.push(tp),
                Err(_) => {}
            }
        }
        self.next([Step::Elect { of: again, strategy }]);
    }

    pub(super) fn read_to_leave_isr(&mut self, replica: BrokerId, of: Vec<TopicPartition>, fx: Fx<'_>) {
        let ops: Vec<Op> = of.iter().map(|tp| Op::get(&znodes::partition_state(tp), false)).collect();
        if !ops.is_empty() {
            self.ask(ops, Then::LeaveIsrRead { replica, of }, fx);
        }
    }

    pub(super) fn on_read_to_leave_isr(
        &mut self,
        replica: BrokerId,
        of: Vec<TopicPartition>,
        answers: Vec<Answer>,
        fx: Fx<'_>,
    ) {
        let epoch = self.epoch();
        let mut ops = Vec::new();
        let mut changes = Vec::new();
        for (tp, answer) in of.into_iter().zip(answers) {
            let Some((mut state, version)) = read_state(answer) else { continue };
            if state.controller_epoch > epoch {
                continue;
            }
            // A leader that this controller took for gone when it took office stays so until there was an election.
            let led = self.context.partitions.get(&tp).and_then(|partition| partition.led.as_ref());
            if led.is_some_and(|led| led.state.leader.is_none() && led.state.leader_epoch == state.leader_epoch) {
                state.leader = None;
            }
            match elect::without(replica, &state, epoch) {
                Some(new) => {
                    let set = Op::set(&znodes::partition_state(&tp), new.encode(), version);
                    ops.push(self.fenced(set));
                    changes.push((tp, new));
                }
                None => self.tell_others(replica, &tp, state, version),
            }
        }
        if !ops.is_empty() {
            self.ask(ops, Then::LeftIsr { replica, of: changes }, fx);
        }
    }

    pub(super) fn on_left_isr(
        &mut self,
        replica: BrokerId,
        of: Vec<(TopicPartition, PartitionState)>,
        answers: Vec<Answer>,
        fx: Fx<'_>,
    ) {
        let mut again = Vec::new();
        for ((tp, state), answer) in of.into_iter().zip(answers) {
            match written(answer) {
                Ok(done) => {
                    if !state.isr.contains(&replica) {
                        fx.note(ControllerNote::LeftIsr { partition: tp.clone(), replica, isr: state.isr.clone() });
                    }
                    self.tell_others(replica, &tp, state, done.stat().map_or(0, |stat| stat.version));
                }
                Err(KeeperError::BADVERSION) => again.push(tp),
                Err(_) => {}
            }
        }
        if !again.is_empty() {
            self.next([Step::LeaveIsr { replica, of: again }]);
        }
    }

    /// The state without `replica` is known: the other replicas hear of it, and it itself if its broker is live and only
    /// its log cannot be used. Out of the ISR it may cut what is damaged and follow. (Kafka's is told when it starts again.)
    fn tell_others(&mut self, replica: BrokerId, tp: &TopicPartition, state: PartitionState, version: i32) {
        let Some(partition) = self.context.partitions.get_mut(tp) else { return };
        partition.led = Some(Led { state, epoch: PartitionEpoch(version) });
        let is_broken = self.context.broken.contains(&(tp.clone(), replica));
        let hears = |id: &BrokerId| *id != replica || is_broken;
        let others: Vec<BrokerId> = partition.assignment.replicas.iter().copied().filter(hears).collect();
        if !self.context.is_deleting(&tp.topic) {
            self.batch.lead(&others, tp, false, &self.context);
        }
    }

    pub(super) fn on_read_to_bump(&mut self, tp: TopicPartition, answer: Answer, fx: Fx<'_>) {
        let Some((state, version)) = read_state(answer) else { return };
        if state.controller_epoch > self.epoch() {
            return;
        }
        let new = elect::bumped(&state, self.epoch());
        let set = self.fenced(Op::set(&znodes::partition_state(&tp), new.encode(), version));
        self.ask([set], Then::Bumped(tp, new), fx);
    }

    pub(super) fn on_bumped(&mut self, tp: TopicPartition, state: PartitionState, answer: Answer) {
        match written(answer) {
            Ok(done) => {
                let epoch = PartitionEpoch(done.stat().map_or(0, |stat| stat.version));
                let Some(partition) = self.context.partitions.get_mut(&tp) else { return };
                partition.led = Some(Led { state, epoch });
                let all = partition.assignment.replicas.clone();
                self.batch.lead(&all, &tp, false, &self.context);
                self.flush();
            }
            Err(KeeperError::BADVERSION) => self.next([Step::Bump(tp)]),
            Err(_) => {}
        }
    }

    /// States were read, by a new controller or because somebody else wrote them.
    pub(super) fn on_states_read(&mut self, failover: bool, of: Vec<TopicPartition>, answers: Vec<Answer>) {
        for (tp, answer) in of.into_iter().zip(answers) {
            let written = answer.as_ref().ok().and_then(|done| done.stat()).map_or(Zxid::ZERO, |stat| stat.mzxid);
            let Some((mut state, version)) = read_state(answer) else { continue };
            if failover && has_restarted(&state, written, &self.context.brokers) {
                state.leader = None;
            }
            if let Some(partition) = self.context.partitions.get_mut(&tp) {
                partition.led = Some(Led { state, epoch: PartitionEpoch(version) });
            }
        }
    }
}

/// Whether the leader registered after this state was written. Nobody was in office to see it go and come back, and it may
/// have lost what it had not synced: in its old epoch it would write those offsets a second time, and no follower that has
/// the first could tell. Here it is taken for gone, so that an election gives a new epoch.
///
/// | in epoch 6 | leader 1 | follower 2 |
/// |---|---|---|
/// | 1 appends offset 12, not synced; 2 fetches it | 12: a | 12: a |
/// | power goes everywhere; 1 starts, leads on | (none) | down |
/// | 1 appends again; 2 is back, and both end in epoch 6 | 12: b | 12: a |
fn has_restarted(state: &PartitionState, written: Zxid, brokers: &OrdMap<BrokerId, LiveBroker>) -> bool {
    let leader = state.leader.and_then(|id| brokers.get(&id));
    leader.is_some_and(|leader| leader.epoch.0 > written.to_wire())
}
