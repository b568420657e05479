//! How long requests take, from when the machine hears them until their answer leaves: what Kafka calls TotalTimeMs.

use super::report::Report;
use crate::observe::spans::Spans;
use glasshouse_core::api::kafka::{ApiKey, Request};
use glasshouse_core::id::{ConnId, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Questions of one asker that are remembered; who asks more and is never answered is not measured.
const OPEN: usize = 1024;

/// Whose question it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    Client(ConnId),
    Peer(NodeId),
}

#[derive(Debug)]
struct Asked {
    correlation: i32,
    name: &'static str,
    at: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Requests {
    open: BTreeMap<Asker, VecDeque<Asked>>,
    took: BTreeMap<&'static str, Spans>,
}

impl Requests {
    pub fn heard(&mut self, asker: Asker, correlation: i32, request: &Request) {
        // Nobody answers that.
        if matches!(request, Request::Produce(produce) if produce.acks == 0) {
            return;
        }
        let open = self.open.entry(asker).or_default();
        if open.len() == OPEN {
            open.pop_front();
        }
        let name = match (request.key(), asker) {
            (ApiKey::Fetch, Asker::Client(_)) => "FetchConsumer",
            (ApiKey::Fetch, Asker::Peer(_)) => "FetchFollower",
            (key, _) => key.name(),
        };
        open.push_back(Asked { correlation, name, at: Instant::now() });
    }

    pub fn answered(&mut self, asker: Asker, correlation: i32) {
        let Some(open) = self.open.get_mut(&asker) else { return };
        let at = open.iter().position(|asked| asked.correlation == correlation);
        if let Some(asked) = at.and_then(|at| open.remove(at)) {
            self.took.entry(asked.name).or_default().add(asked.at.elapsed());
        }
    }

    pub fn gone(&mut self, asker: Asker) {
        self.open.remove(&asker);
    }

    pub fn report(&self, report: &mut Report) {
        report.summaries("kafka_network_requestmetrics_totaltimems", "request", &self.took, 1e3);
    }
}
