//! What must have come back once everything is healed and time enough has passed (protocol.md D, "Liveness"), and the
//! full comparison of everything with everything that is too dear for every step.

use super::Checks;
use crate::broker::Broker;
use crate::client::Client;
use crate::id::{BrokerId, NodeId};
use crate::keeper::Keeper;
use crate::nodes::Node;
use crate::zab::Role;
use std::collections::BTreeSet;

/// The machines of a world at rest.
pub struct Nodes<'a> {
    keepers: Vec<&'a Keeper>,
    brokers: Vec<&'a Broker>,
    clients: Vec<(NodeId, &'a Client)>,
}

impl<'a> Nodes<'a> {
    pub fn of(machines: impl Iterator<Item = (NodeId, &'a Node)>) -> Nodes<'a> {
        let mut nodes = Nodes { keepers: Vec::new(), brokers: Vec::new(), clients: Vec::new() };
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
        self.ensemble(checks);
        if !self.brokers.is_empty() {
            self.controller(checks);
            self.partitions(checks);
        }
        self.clients(checks);
    }

    /// Safety, in full.
    fn compare(&self, checks: &mut Checks) {
        for keeper in &self.keepers {
            let (me, tree) = (keeper.peer().config().me, keeper.tree());
            if checks.compared.get(&me).is_none_or(|compared| tree.last_zxid() >= compared.fuzzy_below) {
                checks.trees.compare(me.0, tree.last_zxid(), tree.digest(), &mut checks.find);
            }
            let open: BTreeSet<_> = tree.sessions().map(|(session, _)| session).collect();
            if let Some((session, path)) = tree.all_ephemerals().find(|(session, _)| !open.contains(session)) {
                checks.find.fire("TREE-2", || {
                    format!("keeper-{me} holds {path} of session {session}, which is not open at {}", tree.last_zxid())
                });
            }
        }
        checks.logs.compare(&mut checks.find);
    }

    /// LIVE-1.
    fn ensemble(&self, checks: &mut Checks) {
        let leads = |keeper: &&&Keeper| matches!(keeper.role(), Role::Leading { established: true, .. });
        let leaders: Vec<_> = self.keepers.iter().filter(leads).map(|keeper| keeper.peer().config().me).collect();
        let [leader] = leaders[..] else {
            checks.find.fire("LIVE-1", || format!("the ensemble has {} leaders: {leaders:?}", leaders.len()));
            return;
        };
        for keeper in &self.keepers {
            let me = keeper.peer().config().me;
            let follows = match keeper.role() {
                Role::Looking => false,
                Role::Leading { .. } => me == leader,
                Role::Following { leader: other, serving } | Role::Observing { leader: other, serving } => {
                    serving && other == leader
                }
            };
            let (applied, last) = (keeper.tree().last_zxid(), checks.ensemble.last_committed());
            if !follows {
                checks.find.fire("LIVE-1", || {
                    format!("keeper-{me} does not serve under keeper-{leader}: it is {:?}", keeper.role())
                });
            } else if applied.epoch() != last.epoch() && last.counter() > 64 {
                checks.find.fire("LIVE-1", || format!("keeper-{me} stands at {applied}, committed is {last}"));
            }
        }
    }

    /// LIVE-2.
    fn controller(&self, checks: &mut Checks) {
        let epochs: Vec<_> =
            self.brokers.iter().filter_map(|broker| Some((broker.id(), broker.controller_epoch()?))).collect();
        if epochs.len() != 1 {
            checks.find.fire("LIVE-2", || format!("there are {} controllers: {epochs:?}", epochs.len()));
        }
        for broker in &self.brokers {
            if !broker.is_registered() && !broker.is_shutting_down() {
                checks.find.fire("LIVE-7", || format!("broker {} is not registered", broker.id()));
            }
        }
    }

    /// LIVE-3 to LIVE-5.
    fn partitions(&self, checks: &mut Checks) {
        let Checks { cluster, logs, find, promise, .. } = checks;
        let live: BTreeSet<BrokerId> = self.brokers.iter().map(|broker| broker.id()).collect();
        for (name, partition) in cluster.partitions() {
            let Some(state) = &partition.state else { continue };
            if !state.isr.iter().any(|id| live.contains(id)) {
                continue;
            }
            let leads = |broker: &&&Broker| {
                let here = broker.partition(name).filter(|here| here.leader_epoch() == state.leader_epoch);
                Some(broker.id()) == state.leader && here.is_some_and(|here| here.leader().is_some())
            };
            let Some(leader) = self.brokers.iter().find(leads) else {
                find.fire("LIVE-3", || {
                    format!("nobody leads {name}: the ensemble has leader {:?}, epoch {}", state.leader, state.leader_epoch)
                });
                continue;
            };
            let out: Vec<_> =
                partition.assigned.iter().filter(|id| live.contains(id) && !state.isr.contains(id)).collect();
            if !out.is_empty() {
                find.fire("LIVE-4", || {
                    format!("brokers {out:?} are live and not in the ISR of {name}, which is {:?}", state.isr)
                });
            }
            let (Some(here), Some(ghost)) = (leader.partition(name), logs.ghost(name)) else { continue };
            let (hw, end) = (here.log.high_watermark(), here.log.end());
            if hw < end && find.at().since(ghost.grew()) > promise.patience {
                find.fire("LIVE-5", || format!("the high watermark of {name} stands at {hw}, the log ends at {end}"));
            }
        }
    }

    /// LIVE-6 and LIVE-7.
    fn clients(&self, checks: &mut Checks) {
        let patience = checks.promise.patience;
        for (id, client) in &self.clients {
            match client {
                Client::Producer(producer) => {
                    let waits = producer.waits_since.is_some_and(|since| checks.find.at().since(since) > patience);
                    if waits && checks.histories.is_silent_since(*id, checks.find.at(), patience) {
                        checks.find.fire("LIVE-6", || {
                            format!("{id} waits for an answer to {} records", producer.in_flight())
                        });
                    }
                }
                Client::Keeper(client) => {
                    if client.session().is_none_or(|session| !checks.trees.is_open(session)) {
                        checks.find.fire("LIVE-7", || format!("{id} has no session: {:?}", client.session()));
                    }
                }
                Client::Consumer(_) | Client::Admin(_) => {}
            }
        }
    }
}
