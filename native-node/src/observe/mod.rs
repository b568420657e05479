//! What a node tells of itself: its notes become the log and the counters, and over HTTP it answers what it is asked.
//! Influences nothing.

pub mod http;
mod log;
mod metrics;
pub mod recorder;
pub mod recording;
pub mod replay;
pub mod routes;
mod spans;
pub mod waiting;

use crate::host::Ended;
use glasshouse_core::broker::Broker;
use glasshouse_core::id::NodeId;
use glasshouse_core::keeper::Keeper;
use glasshouse_core::nodes::Node;
use glasshouse_core::note::Note;
use glasshouse_core::time::Instant;
use metrics::Counters;
pub use metrics::Seen;
use routes::Question;

/// Hears what the machine tells.
#[derive(Debug)]
pub struct Observer {
    me: NodeId,
    pub counters: Counters,
}

impl Observer {
    pub fn new(me: NodeId) -> Observer {
        Observer { me, counters: Counters::default() }
    }

    /// After each step: takes the notes away.
    pub fn told(&mut self, now: Instant, notes: &mut Vec<Note>) {
        for note in notes.drain(..) {
            self.counters.count(now, &note);
            log::tell(self.me, &note);
        }
    }

    /// Somebody asked over HTTP. Who asked may be gone by now.
    pub fn answer(&mut self, question: Question, seen: &Seen<'_>) {
        match question {
            Question::Alive(sender) => drop(sender.send(())),
            Question::Ready(sender) => drop(sender.send(ready(seen.node))),
            Question::Metrics(sender) => drop(sender.send(self.counters.report(self.me, seen))),
        }
    }

    pub fn ended(&mut self, ended: &Ended) {
        log::ended(self.me, ended);
    }
}

/// Whether clients are served; if not, why not.
pub(crate) fn ready(node: &Node) -> Result<(), String> {
    match node {
        Node::Keeper(keeper) => keeper_ready(keeper),
        Node::Broker(broker) => broker_ready(broker),
        Node::Client(_) => Ok(()),
    }
}

fn keeper_ready(keeper: &Keeper) -> Result<(), String> {
    use glasshouse_core::zab::Role;
    match keeper.role() {
        role if role.is_serving() => Ok(()),
        Role::Looking => Err("it looks for a leader".to_owned()),
        Role::Leading { .. } => Err("it is elected, and no quorum follows it yet".to_owned()),
        Role::Following { leader, .. } | Role::Observing { leader, .. } => {
            Err(format!("it synchronises with keeper-{leader}"))
        }
    }
}

fn broker_ready(broker: &Broker) -> Result<(), String> {
    if broker.is_shutting_down() {
        Err("it shuts down".to_owned())
    } else if !broker.is_registered() {
        Err("it is not registered with the ensemble".to_owned())
    } else if !broker.metadata().is_alive(broker.id()) {
        Err("the controller has not told it of the cluster yet".to_owned())
    } else {
        Ok(())
    }
}
