//! `glasshouse topic`: makes, lists, describes and deletes topics.

use super::reach::{EXIT_CODES, Reach, run as run_async, told};
use super::term::{NotSo, Out, Table, count, plain};
use crate::client::Error;
use crate::client::kafka::{At, Client, ConfigEntry, NewTopic};
use crate::config::Usage;
use anyhow::Result;
use glasshouse_core::api::kafka::{ErrorCode, MetadataTopicResponse};
use glasshouse_core::id::BrokerId;
use glasshouse_core::record::offset::Offset;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

/// Flags of `glasshouse topic`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
    #[command(flatten)]
    pub reach: Reach,
}

/// What is done with topics.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum What {
    /// Make a topic
    Create {
        /// Its name: letters, digits, . _ and -
        name: String,
        /// How many partitions [default: the brokers' num.partitions]
        #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// How many replicas of each [default: the brokers' default.replication.factor]
        #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
        replicas: Option<i16>,
        /// Which brokers hold which partition, the preferred leader first: 1:2,2:3
        #[arg(long, value_name = "B:B,B:B", conflicts_with_all = ["partitions", "replicas"], value_parser = assignment)]
        assignment: Option<Assignment>,
        /// A setting of the topic, such as min.insync.replicas=2
        #[arg(long = "config", short, value_name = "NAME=VALUE", value_parser = setting)]
        configs: Vec<(String, String)>,
        /// That it is there already is no failure
        #[arg(long)]
        if_not_exists: bool,
    },
    /// List the topics
    List,
    /// Describe topics: leaders, replicas, ISR, offsets, settings
    Describe {
        /// Which one [default: all]
        name: Option<String>,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        name: String,
        /// That it is not there is no failure
        #[arg(long)]
        if_exists: bool,
    },
}

/// Brokers for each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment(Vec<Vec<BrokerId>>);

fn assignment(text: &str) -> Result<Assignment, String> {
    let broker = |id: &str| id.parse().map(BrokerId).map_err(|_| format!("{id:?} is no broker's id"));
    let replicas = |part: &str| part.split(':').map(broker).collect::<Result<Vec<_>, _>>();
    text.split(',').map(replicas).collect::<Result<Vec<_>, _>>().map(Assignment)
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Does it.
///
/// # Errors
/// What the cluster says.
pub fn run(args: Args) -> Result<ExitCode> {
    run_async(args.reach.json, async move {
        if let What::Create { name, .. } | What::Delete { name, .. } = &args.what
            && name.is_empty()
        {
            return Err(Usage("a topic needs a name".into()).into());
        }
        let client = args.reach.kafka().await?;
        let mut out = Out::new(args.reach.json);
        let code = match &args.what {
            What::Create { .. } => create(&client, &args.what, &mut out).await,
            What::List => list(&client, &mut out).await,
            What::Describe { name } => describe(&client, &args.reach, name.as_deref(), &mut out).await,
            What::Delete { name, if_exists } => delete(&client, name, *if_exists, &mut out).await,
        };
        out.flush()?;
        code
    })
}

async fn create(client: &Client, what: &What, out: &mut Out) -> Result<ExitCode> {
    let What::Create { name, partitions, replicas, assignment, configs, if_not_exists } = what else {
        return Ok(ExitCode::SUCCESS);
    };
    let topic = NewTopic {
        name: name.clone(),
        partitions: partitions.unwrap_or(-1),
        replicas: replicas.unwrap_or(-1),
        assignment: assignment.clone().map(|assignment| assignment.0).unwrap_or_default(),
        configs: configs.clone(),
    };
    let there = match client.create_topic(&topic).await {
        Ok(_) => false,
        Err(error) if *if_not_exists && error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => true,
        Err(error) => return Err(error.into()),
    };
    // The controller has made it; the brokers hear of it, and take over, a moment later.
    let name: Arc<str> = name.as_str().into();
    let made = led(client, &name).await?;
    let replicas = made.partitions.first().map_or(0, |part| part.replicas.len());
    let parts = made.partitions.len();
    let verb = if there { "is there already" } else { "is made" };
    out.say(&format!(
        "topic {} {verb}: {}, {}",
        plain(&name),
        count(parts, "partition", "partitions"),
        count(replicas, "replica", "replicas")
    ))?;
    out.item(&json!({"topic": &*name, "created": !there, "partitions": parts, "replicas": replicas}))?;
    Ok(ExitCode::SUCCESS)
}

/// The topic, once all of its partitions have a leader; or, when the time is up, as it is then.
async fn led(client: &Client, name: &Arc<str>) -> Result<MetadataTopicResponse, Error> {
    let patience = client.settings().timeout;
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let topic = client.topic(name, patience).await?;
        let all_led = topic.partitions.iter().all(|part| part.leader.0 >= 0);
        if all_led || tokio::time::Instant::now() >= deadline {
            return Ok(topic);
        }
        tokio::time::sleep(client.settings().backoff).await;
    }
}

async fn delete(client: &Client, name: &str, if_exists: bool, out: &mut Out) -> Result<ExitCode> {
    let there = match client.delete_topic(name).await {
        Ok(()) => true,
        Err(error) if if_exists && error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => false,
        Err(error) => return Err(error.into()),
    };
    out.say(&format!("topic {} {}", plain(name), if there { "is deleted" } else { "was not there" }))?;
    out.item(&json!({"topic": name, "deleted": there}))?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, out: &mut Out) -> Result<ExitCode> {
    let metadata = client.metadata(None).await?;
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS", "UNDER-REPLICATED", "LEADERLESS"]);
    for topic in sorted(metadata.topics) {
        let health = Health::of(&topic);
        let replicas = topic.partitions.first().map_or(0, |part| part.replicas.len());
        let name = topic.name.as_deref().unwrap_or_default();
        let numbers = [topic.partitions.len(), replicas, health.under_replicated, health.leaderless];
        table.row([name.to_owned()].into_iter().chain(numbers.map(|number| number.to_string())));
        out.item(&json!({
            "topic": name, "id": topic.topic_id.to_string(), "partitions": numbers[0], "replicas": numbers[1],
            "under_replicated": numbers[2], "leaderless": numbers[3], "internal": topic.is_internal,
        }))?;
    }
    if table.is_empty() {
        out.say("no topics yet (glasshouse topic create NAME)")?;
    } else {
        table.lines().iter().try_for_each(|line| out.say(line))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// By name.
pub fn sorted(mut topics: Vec<MetadataTopicResponse>) -> Vec<MetadataTopicResponse> {
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    for topic in &mut topics {
        topic.partitions.sort_by_key(|part| part.partition);
    }
    topics
}

/// How a topic's partitions are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Replicas are missing from the ISR.
    pub under_replicated: usize,
    pub leaderless: usize,
}

impl Health {
    pub fn of(topic: &MetadataTopicResponse) -> Health {
        let under = topic.partitions.iter().filter(|part| part.isr.len() < part.replicas.len()).count();
        let leaderless = topic.partitions.iter().filter(|part| part.leader.0 < 0).count();
        Health { under_replicated: under, leaderless }
    }
}

async fn describe(client: &Client, reach: &Reach, name: Option<&str>, out: &mut Out) -> Result<ExitCode> {
    let topics = match name {
        Some(name) => {
            let names: [Arc<str>; 1] = [name.into()];
            let metadata = client.metadata(Some(&names)).await?;
            let topic = metadata.topics.into_iter().next().filter(|topic| !topic.partitions.is_empty());
            vec![topic.ok_or_else(|| NotSo(format!("there is no topic {}", plain(name))))?]
        }
        None => client.metadata(None).await?.topics,
    };
    if topics.is_empty() {
        out.say("no topics yet (glasshouse topic create NAME)")?;
    }
    for (at, topic) in sorted(topics).into_iter().enumerate() {
        if at > 0 {
            out.say("")?;
        }
        let configs = configs(client, reach, topic.name.as_deref().unwrap_or_default()).await;
        describe_one(client, &topic, &configs, out).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A topic's own settings, as brokers or, where they do not tell, as ZooKeeper has them.
async fn configs(client: &Client, reach: &Reach, topic: &str) -> Result<Vec<ConfigEntry>, String> {
    match client.describe_configs(topic).await {
        Ok(Some(configs)) => return Ok(configs.into_iter().filter(|config| !config.is_default).collect()),
        Ok(None) => {}
        Err(error) => return Err(told(&error)),
    }
    let unknown = |error: anyhow::Error| error.downcast_ref::<Error>().map_or_else(|| error.to_string(), told);
    let session = reach.session().await.map_err(unknown)?;
    let read = session.get(&format!("/config/topics/{topic}"), false).await;
    session.close().await;
    match read {
        Ok((data, _)) => Ok(overrides(&data.unwrap_or_default())),
        Err(Error::Keeper { code: glasshouse_core::keeper::client::op::KeeperError::NONODE, .. }) => Ok(Vec::new()),
        Err(error) => Err(told(&error)),
    }
}

/// `{"version":1,"config":{"name":"value"}}`.
fn overrides(json: &[u8]) -> Vec<ConfigEntry> {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let entries = value.get("config").and_then(Value::as_object).into_iter().flatten();
    let entry = |(name, value): (&String, &Value)| ConfigEntry {
        name: name.clone(),
        value: Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        is_default: false,
    };
    entries.map(entry).collect()
}

/// Begin and end of each partition, as far as anybody tells.
#[derive(Debug, Default)]
pub struct Offsets {
    pub start: BTreeMap<i32, Offset>,
    pub high_watermark: BTreeMap<i32, Offset>,
    pub log_end: BTreeMap<i32, Offset>,
    /// Partitions whose leader gave no answer, as opposed to one that is none.
    pub silent: BTreeSet<i32>,
}

impl Offsets {
    /// Asks once; partitions without a leader are left out.
    pub async fn of(client: &Client, topic: &MetadataTopicResponse) -> Offsets {
        let name = topic.name.clone().unwrap_or_default();
        let led: Vec<i32> =
            topic.partitions.iter().filter(|part| part.leader.0 >= 0).map(|part| part.partition).collect();
        let asked = |at| {
            let (name, led) = (name.clone(), led.clone());
            async move { client.list_offsets_once(&name, &led, at).await }
        };
        let (start, high_watermark, log_end) = tokio::join!(asked(At::Earliest), asked(At::Latest), asked(At::LogEnd));
        let is_silent = |error: &Error| matches!(error, Error::Unreachable { .. } | Error::Lost { .. });
        let silent = high_watermark.iter().filter(|(_, told)| told.as_ref().err().is_some_and(is_silent));
        let silent = silent.map(|(partition, _)| *partition).collect();
        let known = |told: Vec<(i32, Result<Offset, Error>)>| {
            told.into_iter().filter_map(|(partition, offset)| Some((partition, offset.ok()?))).collect()
        };
        Offsets { start: known(start), high_watermark: known(high_watermark), log_end: known(log_end), silent }
    }

    /// Records that the leader has and not all in-sync replicas.
    pub fn lag(&self, partition: i32) -> Option<i64> {
        Some((*self.log_end.get(&partition)? - *self.high_watermark.get(&partition)?).max(0))
    }
}

async fn describe_one(
    client: &Client,
    topic: &MetadataTopicResponse,
    configs: &Result<Vec<ConfigEntry>, String>,
    out: &mut Out,
) -> Result<()> {
    let name = topic.name.as_deref().unwrap_or_default();
    let offsets = Offsets::of(client, topic).await;
    out.say(&format!("topic {}  id {}", plain(name), topic.topic_id))?;
    match configs {
        Ok(configs) if configs.is_empty() => out.say("settings: none of its own")?,
        Ok(configs) => {
            let shown = |config: &ConfigEntry| format!("{}={}", config.name, config.value.as_deref().unwrap_or("null"));
            out.say(&format!("settings: {}", plain(&configs.iter().map(shown).collect::<Vec<_>>().join(" "))))?;
        }
        Err(why) => out.say(&format!("settings: unknown ({why})"))?,
    }
    let mut table = Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "BEGINS", "ENDS", "TO REPLICATE"]);
    let mut parts = Vec::new();
    for part in &topic.partitions {
        let index = part.partition;
        let offset = |of: &BTreeMap<i32, Offset>| of.get(&index).map(|offset| offset.0);
        let (start, high) = (offset(&offsets.start), offset(&offsets.high_watermark));
        let shown = |number: Option<i64>| number.map_or("?".to_owned(), |number| number.to_string());
        table.row([
            index.to_string(),
            if part.leader.0 < 0 { "none".to_owned() } else { part.leader.to_string() },
            part.leader_epoch.to_string(),
            ids(&part.replicas),
            ids(&part.isr),
            shown(start),
            shown(high),
            shown(offsets.lag(index)),
        ]);
        let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
        parts.push(json!({
            "partition": index, "leader": part.leader.0, "epoch": part.leader_epoch.0,
            "replicas": numbers(&part.replicas), "isr": numbers(&part.isr),
            "log_start": start, "high_watermark": high, "log_end": offset(&offsets.log_end),
        }));
    }
    table.lines().iter().try_for_each(|line| out.say(line))?;
    let as_object = |configs: &Vec<ConfigEntry>| -> Value {
        configs.iter().map(|config| (config.name.clone(), config.value.clone().into())).collect::<Map<_, _>>().into()
    };
    // Unknown is not none.
    let configs = configs.as_ref().map_or(Value::Null, as_object);
    out.item(&json!({"topic": name, "id": topic.topic_id.to_string(), "configs": configs, "partitions": parts}))?;
    Ok(())
}

/// `1,2,3`.
pub fn ids(brokers: &[BrokerId]) -> String {
    brokers.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read() {
        assert_eq!(setting("min.insync.replicas=2"), Ok(("min.insync.replicas".into(), "2".into())));
        assert_eq!(setting("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(setting("a").is_err() && setting("=b").is_err());
        let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        assert_eq!(assignment("1:2,3"), Ok(Assignment(vec![brokers(&[1, 2]), brokers(&[3])])));
        assert!(assignment("1:x").is_err());
        assert_eq!(ids(&brokers(&[1, 2, 3])), "1,2,3");
    }

    #[test]
    fn overrides_are_read_from_zookeepers_json() {
        let read = overrides(br#"{"version":1,"config":{"retention.ms":"5","x":7}}"#);
        let shown: Vec<_> = read.iter().map(|entry| (&*entry.name, entry.value.as_deref())).collect();
        assert_eq!(shown, [("retention.ms", Some("5")), ("x", Some("7"))]);
        assert_eq!(overrides(b"nonsense"), []);
    }
}
