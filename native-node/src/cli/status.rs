//! `glasshouse status`: how a cluster is, as its keepers and brokers tell it.

mod keepers;

use super::reach::{Reach, run as run_async, told};
use super::term::{Out, Table, count, plain};
use super::topic::{Health, Offsets, ids, sorted};
use crate::client::kafka::Client;
use crate::client::{Error, join, shown};
use crate::up::describe::Cluster;
use anyhow::Result;
use glasshouse_core::api::kafka::{MetadataBroker, MetadataResponse, MetadataTopicResponse};
use glasshouse_core::id::BrokerId;
use glasshouse_core::node::Address;
use keepers::Keeper;
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Flags of `glasshouse status`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 healthy; 1 nobody answers; 2 the arguments make no sense; 3 degraded: a node is \
                        missing, a partition has no leader or not all of its replicas in sync."
)]
pub struct Args {
    /// List healthy partitions too
    #[arg(long, short)]
    pub all: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// Looks and tells.
///
/// # Errors
/// Nobody answers.
pub fn run(args: Args) -> Result<ExitCode> {
    run_async(args.reach.json, async move {
        let cluster = args.reach.described()?;
        let keeper_addresses = args.reach.keepers()?;
        let has_brokers =
            cluster.as_ref().is_none_or(|cluster| !cluster.kafka.is_empty()) || args.reach.bootstrap.is_some();
        // The time is for all of it: one that hangs may take a third, and the rest is still asked.
        let (each, deadline) = (args.reach.limit() / 3, Instant::now() + args.reach.limit());
        let asked = async { if has_brokers { Some(brokers(&args.reach, each, deadline - each).await) } else { None } };
        let (keepers, brokers) = tokio::join!(keepers::ask(&keeper_addresses, each), asked);
        let (cluster, out) = (cluster.as_ref(), Out::new(args.reach.json));
        let mut report =
            Report { args: &args, cluster, deadline, late: false, silent: BTreeSet::new(), out, wrong: Vec::new() };
        report.keepers(&keepers)?;
        let mut unreachable = keepers.iter().all(|keeper| keeper.state.is_err());
        match brokers {
            Some(Ok((client, metadata))) => {
                unreachable = false;
                report.brokers(&metadata)?;
                report.topics(&client, metadata.topics).await?;
            }
            Some(Err(error)) => {
                unreachable &= error.is_unreachable();
                report.wrong.push(told(&error));
                report.out.say(&format!("\nbrokers: {}", told(&error)))?;
            }
            None => {}
        }
        report.end(unreachable)
    })
}

fn address_of(broker: &MetadataBroker) -> String {
    shown(&Address { host: broker.host.clone(), port: broker.port as u16 })
}

async fn brokers(reach: &Reach, each: Duration, until: Instant) -> Result<(Client, MetadataResponse), Error> {
    let unreachable = |error: anyhow::Error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::Unreachable { address: "the brokers".into(), why: error.to_string() },
    };
    let asked = async {
        let client = reach.kafka_within(each).await.map_err(unreachable)?;
        let metadata = client.metadata(None).await?;
        Ok((client, metadata))
    };
    let late = || {
        let address = reach.brokers().map_or_else(|_| "the cluster".to_owned(), |all| join(&all));
        Err(Error::Unreachable { address, why: "no answer in time".into() })
    };
    timeout_at(until, asked).await.unwrap_or_else(|_| late())
}

struct Report<'a> {
    args: &'a Args,
    cluster: Option<&'a Cluster>,
    /// When no answer is waited for any more.
    deadline: Instant,
    /// It came before all topics were asked about.
    late: bool,
    /// Leaders that do not answer.
    silent: BTreeSet<BrokerId>,
    out: Out,
    /// What is not as it should be, in words.
    wrong: Vec<String>,
}

impl Report<'_> {
    fn name_at(&self, address: &str) -> String {
        let nodes = self.cluster.iter().flat_map(|cluster| &cluster.nodes);
        let mut named = nodes.filter(|node| node.clients == address);
        named.next().map_or_else(|| address.to_owned(), |node| node.name.clone())
    }

    fn keepers(&mut self, keepers: &[Keeper]) -> Result<()> {
        let mut table =
            Table::new(&["KEEPER", "ADDRESS", "ROLE", "EPOCH", "ZXID", "CONNECTIONS", "ZNODES", "SESSIONS", "WATCHES"]);
        for keeper in keepers {
            let address = shown(&keeper.address);
            let name = self.name_at(&address);
            match &keeper.state {
                Ok(state) => {
                    let number = |key: &str| state.number(key).map_or("?".to_owned(), |number| number.to_string());
                    table.row([
                        name.clone(),
                        address.clone(),
                        state.role.clone(),
                        state.epoch().to_string(),
                        format!("{:#x}", state.zxid.0),
                        number("connections"),
                        number("znode_count"),
                        number("global_sessions"),
                        number("watch_count"),
                    ]);
                    self.out.item(&json!({
                        "keeper": name, "address": address, "role": state.role, "epoch": state.epoch().0,
                        "zxid": state.zxid.0, "connections": state.number("connections"),
                        "znodes": state.number("znode_count"), "sessions": state.number("global_sessions"),
                        "outstanding": state.number("outstanding"), "watches": state.number("watch_count"),
                    }))?;
                }
                Err(why) => {
                    table.row([name.clone(), address.clone(), why.clone()]);
                    self.out.item(&json!({"keeper": name, "address": address, "role": null, "error": why}))?;
                    self.wrong.push(format!("{name}: {why}"));
                }
            }
        }
        // Who follows has a leader, though perhaps not one of those that were asked.
        let serves = |role: &str| matches!(role, "leader" | "standalone" | "follower" | "observer");
        if !keepers.iter().any(|keeper| keeper.state.as_ref().is_ok_and(|state| serves(&state.role))) {
            self.wrong.push("no keeper leads".into());
        }
        Ok(table.lines().iter().try_for_each(|line| self.out.say(line))?)
    }

    fn brokers(&mut self, metadata: &MetadataResponse) -> Result<()> {
        let mut table = Table::new(&["BROKER", "ID", "ADDRESS", "STATE", "LEADS", "REPLICAS"]);
        let mut ids: BTreeSet<BrokerId> = metadata.brokers.iter().map(|broker| broker.node).collect();
        let parts = || metadata.topics.iter().flat_map(|topic| &topic.partitions);
        // Whoever holds a replica belongs to the cluster, there or not.
        ids.extend(parts().flat_map(|part| part.replicas.iter().copied()));
        for id in ids {
            let there = metadata.brokers.iter().find(|broker| broker.node == id);
            let address = there.map(address_of);
            let name = address.as_deref().map_or_else(|| format!("broker {id}"), |address| self.name_at(address));
            let state = match there {
                None => "missing",
                Some(_) if metadata.controller_id == id => "controller",
                Some(_) => "registered",
            };
            let leads = parts().filter(|part| part.leader == id).count();
            let replicas = parts().filter(|part| part.replicas.contains(&id)).count();
            table.row([
                name.clone(),
                id.to_string(),
                address.clone().unwrap_or_else(|| "?".into()),
                state.to_owned(),
                leads.to_string(),
                replicas.to_string(),
            ]);
            self.out.item(&json!({
                "broker": id.0, "name": name, "address": address, "registered": there.is_some(),
                "controller": metadata.controller_id == id, "leads": leads, "replicas": replicas,
            }))?;
            if there.is_none() {
                self.wrong.push(format!("broker {id} is missing"));
            }
        }
        self.missing_by_description(metadata);
        if metadata.controller_id.0 < 0 {
            self.wrong.push("there is no controller".into());
        }
        self.out.say("")?;
        Ok(table.lines().iter().try_for_each(|line| self.out.say(line))?)
    }

    /// Brokers that were started and are not registered, though they hold nothing.
    fn missing_by_description(&mut self, metadata: &MetadataResponse) {
        let nodes = self.cluster.iter().flat_map(|cluster| &cluster.nodes);
        for node in nodes.filter(|node| node.name.starts_with("broker-")) {
            if !metadata.brokers.iter().any(|broker| address_of(broker) == node.clients) {
                self.wrong.push(format!("{} is not registered", node.name));
            }
        }
    }

    async fn topics(&mut self, client: &Client, topics: Vec<MetadataTopicResponse>) -> Result<()> {
        let mut table = Table::new(&["PARTITION", "LEADER", "REPLICAS", "ISR", "ENDS", "TO REPLICATE"]);
        let (mut partitions, mut under, mut leaderless) = (0, 0, 0);
        let number = topics.len();
        for topic in sorted(topics) {
            let health = Health::of(&topic);
            partitions += topic.partitions.len();
            under += health.under_replicated;
            leaderless += health.leaderless;
            self.topic(client, &topic, &mut table).await?;
        }
        let summary = format!(
            "\n{}, {}: {under} under-replicated, {leaderless} without a leader",
            count(number, "topic", "topics"),
            count(partitions, "partition", "partitions")
        );
        self.out.say(&summary)?;
        if !table.is_empty() {
            table.lines().iter().try_for_each(|line| self.out.say(line))?;
        }
        self.wrong.extend(self.silent.iter().map(|id| format!("broker {id} does not answer")));
        if self.late {
            self.wrong.push("not all answers came in time".into());
        }
        if under > 0 {
            self.wrong.push(count(under, "partition is under-replicated", "partitions are under-replicated"));
        }
        if leaderless > 0 {
            self.wrong.push(count(leaderless, "partition has no leader", "partitions have no leader"));
        }
        Ok(())
    }

    async fn topic(&mut self, client: &Client, topic: &MetadataTopicResponse, table: &mut Table) -> Result<()> {
        let offsets = match timeout_at(self.deadline, Offsets::of(client, topic)).await {
            Ok(offsets) => offsets,
            Err(_) => {
                self.late = true;
                Offsets::default()
            }
        };
        // It may be registered, and dead to its clients all the same.
        let silent = topic.partitions.iter().filter(|part| offsets.silent.contains(&part.partition));
        self.silent.extend(silent.map(|part| part.leader));
        let name = topic.name.as_deref().unwrap_or_default();
        let mut parts = Vec::new();
        for part in &topic.partitions {
            let (end, lag) = (offsets.high_watermark.get(&part.partition), offsets.lag(part.partition));
            let is_well = part.leader.0 >= 0 && part.isr.len() == part.replicas.len();
            if self.args.all || !is_well {
                table.row([
                    format!("{name}-{}", part.partition),
                    if part.leader.0 < 0 { "none".to_owned() } else { part.leader.to_string() },
                    ids(&part.replicas),
                    ids(&part.isr),
                    end.map_or("?".to_owned(), |end| end.0.to_string()),
                    lag.map_or("?".to_owned(), |lag| lag.to_string()),
                ]);
            }
            let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
            parts.push(json!({
                "partition": part.partition, "leader": part.leader.0, "replicas": numbers(&part.replicas),
                "isr": numbers(&part.isr), "high_watermark": end.map(|end| end.0), "lag": lag,
            }));
        }
        let health = Health::of(topic);
        Ok(self.out.item(&json!({
            "topic": name, "under_replicated": health.under_replicated, "leaderless": health.leaderless,
            "partitions": parts,
        }))?)
    }

    fn end(mut self, unreachable: bool) -> Result<ExitCode> {
        let state = match (unreachable, self.wrong.is_empty()) {
            (true, _) => "unreachable",
            (false, true) => "healthy",
            (false, false) => "degraded",
        };
        let words = self.wrong.iter().map(|wrong| plain(wrong)).collect::<Vec<_>>();
        let tail = if words.is_empty() { String::new() } else { format!(": {}", words.join("; ")) };
        self.out.say(&format!("\n{state}{tail}"))?;
        self.out.item(&json!({"status": state, "why": self.wrong}))?;
        self.out.flush()?;
        Ok(match state {
            "healthy" => ExitCode::SUCCESS,
            "degraded" => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        })
    }
}
