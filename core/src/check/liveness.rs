//! What must have come back once everything is healed and time enough has passed (protocol.md D, "Liveness"), and the
//! full comparison of everything with everything that is too dear for every step.

use super::isr::{Cluster, Known, Partition};
use super::log::whole::Held;
use super::watches::Awaited;
use super::wiring::Hook;
use super::{Checks, Findings, ReadLog, listed, or_none};
use crate::api::command::Command;
use crate::broker::Broker;
use crate::client::Client;
use crate::id::{BrokerId, ControllerEpoch, KeeperId, NodeId, SessionId, TopicPartition, Zxid};
use crate::keeper::Keeper;
use crate::nodes::Node;
use crate::ordered::OrdSet;
use crate::record::offset::Offset;
use crate::time::{Instant, Span};
use crate::zab::Role;
use std::sync::Arc;

/// The machines of a world.
#[derive(Default)]
pub struct Nodes<'a> {
    keepers: Vec<&'a Keeper>,
    brokers: Vec<(NodeId, &'a Broker)>,
    clients: Vec<(NodeId, &'a Client)>,
}

impl<'a> Nodes<'a> {
    pub fn of(machines: impl Iterator<Item = (NodeId, &'a Node)>) -> Nodes<'a> {
        let mut nodes = Nodes::default();
        for (id, machine) in machines {
            match machine {
                Node::Keeper(keeper) => nodes.keepers.push(keeper),
                Node::Broker(broker) => nodes.brokers.push((id, broker)),
                Node::Client(client) => nodes.clients.push((id, client)),
            }
        }
        nodes
    }

    /// Liveness: the world was healed, and has had its time.
    pub fn check(&self, checks: &mut Checks) {
        let now = checks.find.at();
        let standings: Vec<_> = self
            .keepers
            .iter()
            .map(|keeper| {
                let applied = keeper.tree().last_zxid();
                let beyond = checks.ensemble.committed_beyond(applied);
                let lags = beyond.map_or(Span::ZERO, |since| now.since(since));
                Standing { id: keeper.peer().config().me, role: keeper.role(), applied, lags }
            })
            .collect();
        ensemble(&standings, checks.promise.patience, &mut checks.find);
        if !self.brokers.is_empty() {
            let brokers: Vec<_> = self
                .brokers
                .iter()
                .map(|(_, broker)| (broker.id(), broker.is_registered(), broker.controller_epoch()))
                .collect();
            controller(&brokers, &mut checks.find);
            self.partitions(checks);
        }
        self.clients(checks);
    }

    /// Safety, in full.
    pub fn compare(&self, checks: &mut Checks, read: ReadLog<'_>) {
        for keeper in &self.keepers {
            let (me, tree) = (keeper.peer().config().me, keeper.tree());
            if !keeper.role().is_serving() {
                continue;
            }
            checks.trees.compare(me, tree.last_zxid(), tree.digest(), &mut checks.find);
            let open: OrdSet<_> = tree.sessions().map(|(session, _)| session).collect();
            if let Some((session, path)) = tree.all_ephemerals().find(|(session, _)| !open.contains(session)) {
                checks.find.fire("TREE-2", || {
                    format!("keeper-{me} holds {path} of session {session}, which is not open at {}", tree.last_zxid())
                });
            }
        }
        checks.logs.compare(&mut checks.find);
        for (node, broker) in &self.brokers {
            if !checks.rotten.contains(node) {
                compare_logs(*node, broker, checks, read);
            }
            for partition in broker.partitions() {
                let known = Known {
                    topic_id: partition.log.topic_id,
                    leader_epoch: partition.leader_epoch(),
                    partition_epoch: partition.partition_epoch(),
                    isr: partition.leader().map(|leader| leader.isr.members()),
                };
                checks.cluster.judge_known(partition.name(), broker.id(), known, &mut checks.find);
            }
        }
    }

    fn partitions(&self, checks: &mut Checks) {
        let Checks { cluster, logs, find, promise, .. } = checks;
        let live = self.live();
        let waiting = waiting(cluster, &live);
        for (name, told) in cluster.partitions() {
            let Some(state) = &told.state else { continue };
            if waiting.contains(&name.topic) {
                continue;
            }
            let leads = |broker: &&Broker| {
                let here = broker.partition(name).filter(|here| here.leader_epoch() == state.leader_epoch);
                Some(broker.id()) == state.leader && here.is_some_and(|here| here.leader().is_some())
            };
            let here =
                self.brokers.iter().map(|(_, broker)| *broker).find(leads).and_then(|broker| broker.partition(name));
            let led = here.map(|here| Led {
                high_watermark: here.log.high_watermark().0,
                end: here.log.end().0,
                partition_epoch: here.partition_epoch().0,
            });
            let still = logs.ghost(name).map_or(Span::ZERO, |ghost| find.at().since(ghost.grew())) > promise.patience;
            partition(name, told, &live, led, still && cluster.takes_writes(name), find);
        }
    }

    fn live(&self) -> OrdSet<BrokerId> {
        self.brokers.iter().map(|(_, broker)| broker.id()).collect()
    }

    fn clients(&self, checks: &mut Checks) {
        let Checks { promise, find, histories, trees, watches, cluster, .. } = checks;
        let waiting = waiting(cluster, &self.live());
        let now = find.at();
        let long_ago = Instant(now.0.saturating_sub(promise.patience.0));
        for (id, client) in &self.clients {
            let (waits, what) = match client {
                Client::Producer(producer) => {
                    let since = producer.waits_since(|partition| cluster.takes_writes(partition));
                    (since, format!("{} records", producer.waiting()))
                }
                Client::Keeper(client) => {
                    session(*id, client.session(), |session| trees.is_open(session), find);
                    if let Some(session) = client.session() {
                        let changed = |path: &str, awaited| match awaited {
                            Awaited::Data => histories.changed(path),
                            Awaited::Creation => histories.created(path),
                            Awaited::Children => histories.children_changed(path),
                        };
                        watches.at_rest(session, changed, long_ago, find);
                    }
                    (client.waits_since(), format!("{} questions", client.in_flight()))
                }
                Client::Admin(admin) => match admin.waits() {
                    Some((Command::DeleteTopic(topic), _)) if waiting.contains(topic) => (None, String::new()),
                    Some((command, since)) if can_be_done(command, self.brokers.len() as u32) => {
                        (Some(since), format!("\"{command}\""))
                    }
                    Some(_) | None => (None, String::new()),
                },
                Client::Consumer(_) => (None, String::new()),
            };
            unanswered(*id, waits.map(|since| now.since(since)), promise.patience, &what, find);
        }
    }
}

/// The topics whose deletion is wished for and waits: for every replica of every partition.
fn waiting(cluster: &Cluster, live: &OrdSet<BrokerId>) -> OrdSet<Arc<str>> {
    let waits = |name: &TopicPartition, told: &Partition| {
        cluster.is_being_deleted(&name.topic) && !told.assigned.iter().all(|id| live.contains(id))
    };
    let waiting = cluster.partitions().filter(|(name, told)| waits(name, told));
    waiting.map(|(name, _)| name.topic.clone()).collect()
}

/// Every log of a broker against what was written to it.
fn compare_logs(node: NodeId, broker: &Broker, checks: &mut Checks, read: ReadLog<'_>) {
    let Checks { logs, find, wiring, .. } = checks;
    for partition in broker.partitions() {
        let (name, log) = (partition.name(), &partition.log);
        let held = Held { topic_id: log.topic_id, start: log.start().0, end: log.end().0, epochs: log.epochs() };
        let read = |from, upto| read(node, &log.range(Offset(from), Offset(upto), READ_BYTES));
        if logs.compare_held(broker.id(), name, held, &read, find) {
            wiring.ran(Hook::ReplicaCompared);
        }
    }
}

/// So many bytes of a log are read at once.
const READ_BYTES: u32 = 1 << 20;

/// LIVE-8. `down`: who was started, was not stopped since, and does not run; and why.
pub fn started(down: &[(NodeId, &str)], find: &mut Findings) {
    if let Some((node, why)) = down.first() {
        find.fire("LIVE-8", || format!("{node} was started and is down: {why}"));
    }
}

/// A keeper, seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub id: KeeperId,
    pub role: Role,
    pub applied: Zxid,
    /// How long ago the first transaction was committed that it has not applied.
    pub lags: Span,
}

/// LIVE-1.
pub fn ensemble(keepers: &[Standing], patience: Span, find: &mut Findings) {
    let leads = |role: &Role| matches!(role, Role::Leading { established: true, .. });
    let leaders: Vec<KeeperId> = keepers.iter().filter(|keeper| leads(&keeper.role)).map(|keeper| keeper.id).collect();
    let [leader] = leaders[..] else {
        return find.fire("LIVE-1", || format!("the ensemble has {} leaders: {}", leaders.len(), listed(&leaders)));
    };
    for Standing { id: me, role, applied, lags } in keepers {
        let follows = match *role {
            Role::Looking => false,
            Role::Leading { .. } => *me == leader,
            Role::Following { leader: other, serving } | Role::Observing { leader: other, serving } => {
                serving && other == leader
            }
        };
        if !follows {
            find.fire("LIVE-1", || format!("keeper-{me} does not serve under keeper-{leader}: it is {}", name(*role)));
        } else if *lags > patience {
            find.fire("LIVE-1", || format!("keeper-{me} stands at {applied}; what follows was committed {lags} ago"));
        }
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Looking => "looking",
        Role::Leading { established: true, .. } => "leading",
        Role::Leading { established: false, .. } => "about to lead",
        Role::Following { serving: true, .. } => "following another",
        Role::Following { serving: false, .. } => "about to follow",
        Role::Observing { serving: true, .. } => "observing another",
        Role::Observing { serving: false, .. } => "about to observe",
    }
}

/// LIVE-2 and LIVE-7. Of each broker whether it is registered, and the epoch it is controller in.
pub fn controller(brokers: &[(BrokerId, bool, Option<ControllerEpoch>)], find: &mut Findings) {
    let controllers: Vec<BrokerId> = brokers.iter().filter(|(.., epoch)| epoch.is_some()).map(|(id, ..)| *id).collect();
    if controllers.len() != 1 {
        find.fire("LIVE-2", || format!("there are {} controllers: {}", controllers.len(), listed(&controllers)));
    }
    if let Some((id, ..)) = brokers.iter().find(|(_, registered, _)| !registered) {
        find.fire("LIVE-7", || format!("broker {id} is not registered"));
    }
}

/// The replica that leads.
#[derive(Clone, Copy, Debug)]
pub struct Led {
    pub high_watermark: i64,
    pub end: i64,
    pub partition_epoch: i32,
}

/// LIVE-3 to LIVE-5, LIVE-9, LIVE-10. `still`: nothing was committed for too long.
pub fn partition(
    name: &TopicPartition,
    told: &Partition,
    live: &OrdSet<BrokerId>,
    led: Option<Led>,
    still: bool,
    find: &mut Findings,
) {
    let Some(state) = told.state.as_ref().filter(|state| state.isr.iter().any(|id| live.contains(id))) else { return };
    if told.is_dropped() {
        return find.allow("LIVE-3", || {
            format!("nobody may lead {name}: a reassignment was called off when only replicas that it was adding were in sync")
        });
    }
    let Some(Led { high_watermark: hw, end, partition_epoch }) = led else {
        return find.fire("LIVE-3", || {
            format!(
                "nobody leads {name}: the ensemble has leader {}, epoch {}",
                or_none(state.leader),
                state.leader_epoch
            )
        });
    };
    if let Some(stray) = state.isr.iter().find(|id| !told.assigned.contains(id)) {
        find.fire("ISR-1", || {
            format!("broker {stray} is in the ISR of {name}, assigned are {}", listed(&told.assigned))
        });
    }
    let dead: Vec<_> = state.isr.iter().filter(|id| !live.contains(id)).collect();
    if !dead.is_empty() {
        find.fire("LIVE-9", || {
            format!("brokers {} are down and still in the ISR of {name}, which is {}", listed(dead), listed(&state.isr))
        });
    }
    if partition_epoch != told.version {
        find.fire("LIVE-10", || {
            format!("the leader of {name} knows partition epoch {partition_epoch}, its znode has {}", told.version)
        });
    }
    let out: Vec<_> = told.assigned.iter().filter(|id| live.contains(id) && !state.isr.contains(id)).collect();
    if !out.is_empty() {
        find.fire("LIVE-4", || {
            format!("brokers {} are live and not in the ISR of {name}, which is {}", listed(out), listed(&state.isr))
        });
    }
    if hw < end && still {
        find.fire("LIVE-5", || format!("the high watermark of {name} stands at {hw}, the log ends at {end}"));
    }
}

/// Whether so many live brokers can do it: an administrator asks for a topic until there are enough.
pub fn can_be_done(command: &Command, live: u32) -> bool {
    !matches!(command, Command::CreateTopic(topic) if topic.replicas > live)
}

/// LIVE-6. `waits`: how long the oldest of what was asked has waited.
pub fn unanswered(client: NodeId, waits: Option<Span>, patience: Span, what: &str, find: &mut Findings) {
    if let Some(waits) = waits.filter(|waits| *waits > patience) {
        find.fire("LIVE-6", || format!("{client} waits for an answer to {what}, to the first for {waits}"));
    }
}

/// LIVE-7.
pub fn session(client: NodeId, session: Option<SessionId>, is_open: impl Fn(SessionId) -> bool, find: &mut Findings) {
    if !session.is_some_and(is_open) {
        find.fire("LIVE-7", || format!("{client} has no session of the ensemble: {}", or_none(session)));
    }
}
