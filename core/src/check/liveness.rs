//! What must have come back once everything is healed and time enough has passed (protocol.md D, "Liveness"), and the
//! full comparison of everything with everything that is too dear for every step.

use super::isr::Partition;
use super::{Checks, Findings};
use crate::broker::Broker;
use crate::client::Client;
use crate::id::{BrokerId, ControllerEpoch, KeeperId, NodeId, SessionId, TopicPartition, Zxid};
use crate::keeper::Keeper;
use crate::nodes::Node;
use crate::ordered::OrdSet;
use crate::time::Span;
use crate::zab::Role;

/// The machines of a world at rest.
#[derive(Default)]
pub struct Nodes<'a> {
    keepers: Vec<&'a Keeper>,
    brokers: Vec<&'a Broker>,
    clients: Vec<(NodeId, &'a Client)>,
}

impl<'a> Nodes<'a> {
    pub fn of(machines: impl Iterator<Item = (NodeId, &'a Node)>) -> Nodes<'a> {
        let mut nodes = Nodes::default();
        for (id, machine) in machines {
            match machine {
                Node::Keeper(keeper) => nodes.keepers.push(keeper),
                Node::Broker(broker) => nodes.brokers.push(broker),
                Node::Client(client) => nodes.clients.push((id, client)),
            }
        }
        nodes
    }

    pub fn check(&self, checks: &mut Checks) {
        self.compare(checks);
        let roles: Vec<_> = self
            .keepers
            .iter()
            .map(|keeper| (keeper.peer().config().me, keeper.role(), keeper.tree().last_zxid()))
            .collect();
        ensemble(&roles, checks.ensemble.last_committed(), &mut checks.find);
        if !self.brokers.is_empty() {
            let brokers: Vec<_> = self
                .brokers
                .iter()
                .map(|broker| (broker.id(), broker.is_registered(), broker.controller_epoch()))
                .collect();
            controller(&brokers, &mut checks.find);
            self.partitions(checks);
        }
        self.clients(checks);
    }

    /// Safety, in full.
    fn compare(&self, checks: &mut Checks) {
        for keeper in &self.keepers {
            let (me, tree) = (keeper.peer().config().me, keeper.tree());
            if keeper.role().is_serving() {
                checks.trees.compare(me, tree.last_zxid(), tree.digest(), &mut checks.find);
            }
            let open: OrdSet<_> = tree.sessions().map(|(session, _)| session).collect();
            if let Some((session, path)) = tree.all_ephemerals().find(|(session, _)| !open.contains(session)) {
                checks.find.fire("TREE-2", || {
                    format!("keeper-{me} holds {path} of session {session}, which is not open at {}", tree.last_zxid())
                });
            }
        }
        checks.logs.compare(&mut checks.find);
    }

    fn partitions(&self, checks: &mut Checks) {
        let Checks { cluster, logs, find, promise, .. } = checks;
        let live: OrdSet<BrokerId> = self.brokers.iter().map(|broker| broker.id()).collect();
        for (name, told) in cluster.partitions() {
            let Some(state) = &told.state else { continue };
            let leads = |broker: &&&Broker| {
                let here = broker.partition(name).filter(|here| here.leader_epoch() == state.leader_epoch);
                Some(broker.id()) == state.leader && here.is_some_and(|here| here.leader().is_some())
            };
            let log = self.brokers.iter().find(leads).and_then(|broker| broker.partition(name)).map(|here| &here.log);
            let ends = log.map(|log| (log.high_watermark().0, log.end().0));
            let still = logs.ghost(name).map_or(Span::ZERO, |ghost| find.at().since(ghost.grew()));
            partition(name, told, &live, ends, still > promise.patience, find);
        }
    }

    fn clients(&self, checks: &mut Checks) {
        let Checks { promise, find, histories, trees, .. } = checks;
        let patience = promise.patience;
        for (id, client) in &self.clients {
            match client {
                Client::Producer(producer) => {
                    let waits = producer.waits_since.is_some_and(|since| find.at().since(since) > patience);
                    if waits {
                        unanswered(
                            *id,
                            producer.in_flight(),
                            histories.is_silent_since(*id, find.at(), patience),
                            find,
                        );
                    }
                }
                Client::Keeper(client) => session(*id, client.session(), |session| trees.is_open(session), find),
                Client::Consumer(_) | Client::Admin(_) => {}
            }
        }
    }
}

/// LIVE-1. Of each keeper its role and how far it has applied.
pub fn ensemble(keepers: &[(KeeperId, Role, Zxid)], committed: Zxid, find: &mut Findings) {
    let leads = |role: &Role| matches!(role, Role::Leading { established: true, .. });
    let leaders: Vec<KeeperId> = keepers.iter().filter(|(_, role, _)| leads(role)).map(|(id, ..)| *id).collect();
    let [leader] = leaders[..] else {
        return find.fire("LIVE-1", || format!("the ensemble has {} leaders: {leaders:?}", leaders.len()));
    };
    for (me, role, applied) in keepers {
        let follows = match *role {
            Role::Looking => false,
            Role::Leading { .. } => *me == leader,
            Role::Following { leader: other, serving } | Role::Observing { leader: other, serving } => {
                serving && other == leader
            }
        };
        if !follows {
            find.fire("LIVE-1", || format!("keeper-{me} does not serve under keeper-{leader}: it is {role:?}"));
        } else if applied.epoch() < committed.epoch() && committed.counter() > 64 {
            find.fire("LIVE-1", || format!("keeper-{me} stands at {applied}, committed is {committed}"));
        }
    }
}

/// LIVE-2 and LIVE-7. Of each broker whether it is registered, and the epoch it is controller in.
pub fn controller(brokers: &[(BrokerId, bool, Option<ControllerEpoch>)], find: &mut Findings) {
    let controllers: Vec<BrokerId> = brokers.iter().filter(|(.., epoch)| epoch.is_some()).map(|(id, ..)| *id).collect();
    if controllers.len() != 1 {
        find.fire("LIVE-2", || format!("there are {} controllers: {controllers:?}", controllers.len()));
    }
    if let Some((id, ..)) = brokers.iter().find(|(_, registered, _)| !registered) {
        find.fire("LIVE-7", || format!("broker {id} is not registered"));
    }
}

/// LIVE-3 to LIVE-5. `ends`: high watermark and end of the log that leads. `still`: nothing was committed for too long.
pub fn partition(
    name: &TopicPartition,
    told: &Partition,
    live: &OrdSet<BrokerId>,
    ends: Option<(i64, i64)>,
    still: bool,
    find: &mut Findings,
) {
    let Some(state) = told.state.as_ref().filter(|state| state.isr.iter().any(|id| live.contains(id))) else { return };
    let Some((hw, end)) = ends else {
        return find.fire("LIVE-3", || {
            format!("nobody leads {name}: the ensemble has leader {:?}, epoch {}", state.leader, state.leader_epoch)
        });
    };
    if let Some(stray) = state.isr.iter().find(|id| !told.assigned.contains(id)) {
        find.fire("ISR-1", || format!("broker {stray} is in the ISR of {name}, assigned are {:?}", told.assigned));
    }
    let out: Vec<_> = told.assigned.iter().filter(|id| live.contains(id) && !state.isr.contains(id)).collect();
    if !out.is_empty() {
        find.fire("LIVE-4", || {
            format!("brokers {out:?} are live and not in the ISR of {name}, which is {:?}", state.isr)
        });
    }
    if hw < end && still {
        find.fire("LIVE-5", || format!("the high watermark of {name} stands at {hw}, the log ends at {end}"));
    }
}

/// LIVE-6. `silent`: it was answered nothing else either.
pub fn unanswered(client: NodeId, records: u32, silent: bool, find: &mut Findings) {
    if silent {
        find.fire("LIVE-6", || format!("{client} waits for an answer to {records} records"));
    }
}

/// LIVE-7.
pub fn session(client: NodeId, session: Option<SessionId>, is_open: impl Fn(SessionId) -> bool, find: &mut Findings) {
    if !session.is_some_and(is_open) {
        find.fire("LIVE-7", || format!("{client} has no session: {session:?}"));
    }
}
