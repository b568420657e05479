//! Counters that the loop keeps, and the gauges that are read off the machine when somebody asks, as Prometheus' text.
//!
//! Where Apache's dashboards have a name for a figure it has that name here: ZooKeeper's as its
//! `PrometheusMetricsProvider` writes them, Kafka's as the JMX exporter does. Ours begin with `glasshouse_`.

mod kafka;
mod process;
mod report;
mod requests;
mod talks;
mod words;
mod zookeeper;

use super::spans::Spans;
use glasshouse_core::api::kafka::{ApiKey, FetchResponse};
use glasshouse_core::api::keeper;
use glasshouse_core::api::peer::{ChannelKind, PeerMessage};
use glasshouse_core::api::storage::{Lane, StoreOp};
use glasshouse_core::broker::Broker;
use glasshouse_core::id::{ConnId, NodeId};
use glasshouse_core::keeper::Keeper;
use glasshouse_core::node::{Effect, Input, Reply, RequestBody};
use glasshouse_core::nodes::Node;
use glasshouse_core::note::Note;
use glasshouse_core::time::Instant;
use report::Report;
use requests::{Asker, Requests};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use talks::{Sizes, Talks};

/// What the loop shows to whoever asks.
#[derive(Debug)]
pub struct Seen<'a> {
    pub node: &'a Node,
    /// Inputs that wait.
    pub inbox: usize,
    /// Connections of clients.
    pub connections: usize,
    /// Since the node started.
    pub now: Instant,
}

/// What has happened since the node started.
#[derive(Debug, Default)]
pub struct Counters {
    zookeeper: zookeeper::Counters,
    kafka: kafka::Counters,
    topics: BTreeMap<Arc<str>, Topic>,
    /// Requests of clients and of other brokers.
    requests: BTreeMap<ApiKey, u64>,
    answers: Requests,
    talks: Talks,
    /// Channels that are up.
    links: BTreeSet<(NodeId, ChannelKind)>,
    dials_opened: u64,
    dials_hung: u64,

    // The host.
    inputs: u64,
    effects: u64,
    turns: Spans,
    syncs: Spans,
    syncing: BTreeMap<Lane, std::time::Instant>,
}

/// What went in and out of one topic.
#[derive(Debug, Default)]
struct Topic {
    messages_in: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// As a follower.
    replication_in: u64,
    /// To followers.
    replication_out: u64,
}

impl Counters {
    /// A note was told.
    pub fn count(&mut self, now: Instant, note: &Note) {
        match note {
            Note::Zab(note) => self.zookeeper.count_zab(now, note),
            Note::Keeper(note) => self.zookeeper.count_keeper(now, note),
            Note::Broker(note) => self.kafka.count_broker(note),
            Note::Controller(note) => self.kafka.count_controller(note),
            Note::Client(_) => {}
        }
    }

    /// A client connected, from there.
    pub fn connected(&mut self, conn: ConnId, peer: SocketAddr) {
        self.talks.connected(conn, peer);
    }

    /// Before a step.
    pub fn heard(&mut self, input: &Input) {
        self.inputs += 1;
        match input {
            Input::Up { channel } => drop(self.links.insert((channel.peer, channel.kind))),
            Input::Down { channel } => {
                self.links.remove(&(channel.peer, channel.kind));
                self.answers.gone(Asker::Peer(channel.peer));
            }
            Input::Closed { conn } => {
                self.answers.gone(Asker::Client(*conn));
                self.talks.gone(*conn);
            }
            Input::Opened { .. } => self.dials_opened += 1,
            Input::Hung { .. } => self.dials_hung += 1,
            Input::Request { conn, request } => match &request.body {
                RequestBody::Kafka(request) => {
                    self.answers.heard(Asker::Client(*conn), request.correlation, &request.body);
                    *self.requests.entry(request.body.key()).or_default() += 1;
                }
                RequestBody::Keeper(request) => self.talks.heard(*conn, request),
            },
            Input::Peer { channel, message: PeerMessage::Request { correlation, request } } => {
                self.answers.heard(Asker::Peer(channel.peer), *correlation, request);
                *self.requests.entry(request.key()).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Before an effect is performed: what is proposed; what is appended, by topic.
    pub fn emitted(&mut self, node: &Node, effect: &Effect) {
        self.effects += 1;
        if let Effect::Store { op: StoreOp::AppendTxn { txn, .. }, .. } = effect
            && node.as_keeper().is_some_and(|keeper| keeper.lead().is_some())
        {
            self.zookeeper.proposed.add(txn.len());
        }
        let Effect::Store { lane: Lane::Log(name), op: StoreOp::Append { batches } } = effect else { return };
        let leads = node.as_broker().and_then(|broker| broker.partition(name)).is_some_and(|at| at.leader().is_some());
        let bytes: u64 = batches.iter().map(|batch| batch.size()).sum();
        let records: i64 = batches.iter().map(|batch| batch.last - batch.base + 1).sum();
        let topic = self.topic(&name.topic);
        if leads {
            topic.bytes_in += bytes;
            topic.messages_in += u64::try_from(records).unwrap_or(0);
        } else {
            topic.replication_in += bytes;
        }
    }

    /// An answer leaves for a client; of a consumer's Fetch, with records.
    pub fn replied<R>(&mut self, node: &Node, conn: ConnId, reply: &Reply<R>, length: impl Fn(&R) -> usize) {
        let Reply::Kafka { correlation, body, .. } = reply else { return };
        self.answers.answered(Asker::Client(conn), *correlation);
        if let glasshouse_core::api::kafka::Response::Fetch(fetch) = body {
            self.fetched(node, fetch, length, |topic, bytes| topic.bytes_out += bytes);
        }
    }

    /// So many bytes leave for a keeper's client.
    pub fn told(&mut self, conn: ConnId, reply: &keeper::Reply, bytes: usize) {
        self.talks.replied(conn, reply, bytes);
    }

    /// A message leaves for a peer; the answer to a follower's Fetch with records.
    pub fn sent<R>(&mut self, node: &Node, to: NodeId, message: &PeerMessage<R>, length: impl Fn(&R) -> usize) {
        if let PeerMessage::Response { correlation, .. } = message {
            self.answers.answered(Asker::Peer(to), *correlation);
        }
        if let PeerMessage::Response { response: glasshouse_core::api::kafka::Response::Fetch(fetch), .. } = message {
            self.fetched(node, fetch, length, |topic, bytes| topic.replication_out += bytes);
        }
    }

    fn fetched<R>(
        &mut self,
        node: &Node,
        fetch: &FetchResponse<R>,
        length: impl Fn(&R) -> usize,
        add: impl Fn(&mut Topic, u64),
    ) {
        for answered in &fetch.topics {
            let bytes: usize = answered.partitions.iter().filter_map(|part| part.records.as_ref()).map(&length).sum();
            if bytes == 0 {
                continue;
            }
            // From version 13 on an answer names topics by their ids.
            let by_id = |broker: &Broker| broker.metadata().topic_name(answered.topic_id).cloned();
            let name = if answered.name.is_empty() { node.as_broker().and_then(by_id) } else { None };
            add(self.topic(name.as_ref().unwrap_or(&answered.name)), bytes as u64);
        }
    }

    fn topic(&mut self, name: &Arc<str>) -> &mut Topic {
        if !self.topics.contains_key(name) {
            self.topics.insert(name.clone(), Topic::default());
        }
        self.topics.get_mut(name).expect("it was put there")
    }

    /// One turn of the loop, from the first input to the last effect.
    pub fn turned(&mut self, took: Duration) {
        self.turns.add(took);
    }

    pub fn sync_began(&mut self, lane: &Lane) {
        self.syncing.insert(lane.clone(), std::time::Instant::now());
    }

    pub fn sync_done(&mut self, lane: &Lane) {
        if let Some(began) = self.syncing.remove(lane) {
            self.syncs.add(began.elapsed());
        }
    }

    /// Everything, as Prometheus reads it.
    pub fn report(&mut self, me: NodeId, seen: &Seen<'_>) -> String {
        let mut report = Report::default();
        match seen.node {
            Node::Keeper(keeper) => {
                report.gauge("num_alive_connections", seen.connections);
                for (name, figure) in keeper.figures() {
                    report.gauge(name, figure);
                }
                self.report_keeper(keeper, seen, &mut report);
            }
            Node::Broker(broker) => self.report_broker(broker, seen, &mut report),
            Node::Client(_) => {}
        }
        self.report_host(me, seen, &mut report);
        process::report(&mut report);
        report.finish()
    }

    fn report_keeper(&mut self, keeper: &Keeper, seen: &Seen<'_>, report: &mut Report) {
        let (min, avg, max) = self.talks.latency();
        report.gauge("avg_latency", format!("{avg:?}"));
        report.gauge("max_latency", max);
        report.gauge("min_latency", min);
        self.zookeeper.report(keeper, seen, report);
        let Sizes { last, smallest, largest } = self.talks.answers;
        report.gauge("last_client_response_size", last);
        report.gauge("max_client_response_size", largest);
        report.gauge("min_client_response_size", smallest);
        report.gauge("auth_failed_count", self.talks.auth_failed);
        report.summary("readlatency", &self.talks.reads, 1e3);
        report.summary("updatelatency", &self.talks.updates, 1e3);
        report.summary("fsynctime", &self.syncs, 1e3);
    }

    fn report_broker(&self, broker: &Broker, seen: &Seen<'_>, report: &mut Report) {
        self.kafka.report(broker, report);
        let in_topics = |figure: fn(&Topic) -> u64| {
            self.topics.iter().map(move |(name, topic)| ([("topic", name.to_string())], figure(topic)))
        };
        report.counters("kafka_server_brokertopicmetrics_messagesin_total", in_topics(|topic| topic.messages_in));
        report.counters("kafka_server_brokertopicmetrics_bytesin_total", in_topics(|topic| topic.bytes_in));
        report.counters("kafka_server_brokertopicmetrics_bytesout_total", in_topics(|topic| topic.bytes_out));
        let into = |topic: &Topic| topic.replication_in;
        report.counters("kafka_server_brokertopicmetrics_replicationbytesin_total", in_topics(into));
        let out = |topic: &Topic| topic.replication_out;
        report.counters("kafka_server_brokertopicmetrics_replicationbytesout_total", in_topics(out));
        let requests = self.requests.iter().map(|(key, many)| ([("request", key.to_string())], *many));
        report.counters("kafka_network_requestmetrics_requests_total", requests);
        self.answers.report(report);
        report.gauge("kafka_network_requestchannel_requestqueuesize", seen.inbox);
        report.gauge("kafka_server_socket_server_metrics_connection_count", seen.connections);
        let ours = "kafka_server_sessionexpirelistener_";
        report.counter(&format!("{ours}zookeepersyncconnects_total"), self.dials_opened);
        report.counter(&format!("{ours}zookeeperdisconnects_total"), self.dials_hung);
        report.summary("kafka_log_logflushstats_logflushrateandtimems", &self.syncs, 1e3);
    }

    fn report_host(&self, me: NodeId, seen: &Seen<'_>, report: &mut Report) {
        let build = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("node", me.to_string())];
        report.gauges("glasshouse_build_info", [(build, 1)]);
        report.gauge("glasshouse_inbox_depth", seen.inbox);
        report.gauge("glasshouse_client_connections", seen.connections);
        report.counter("glasshouse_inputs_total", self.inputs);
        report.counter("glasshouse_effects_total", self.effects);
        report.summary("glasshouse_loop_seconds", &self.turns, 1.0);
        report.gauge("glasshouse_loop_longest_seconds", self.turns.longest.as_secs_f64());
        report.summary("glasshouse_fsync_seconds", &self.syncs, 1.0);
        let links = self.links.iter().map(|(peer, kind)| {
            let labels = [("peer", peer.to_string()), ("channel", kind.to_string())];
            (labels, 1)
        });
        report.gauges("glasshouse_mesh_link_up", links);
        let peers: BTreeSet<NodeId> = self.links.iter().map(|(peer, _)| *peer).collect();
        report.gauge("glasshouse_mesh_links_up", peers.len());
    }
}

#[cfg(test)]
mod tests;
