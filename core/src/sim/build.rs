//! Makes the nodes of a world from a scenario: which there are, how each is configured, what each finds on its disk.

use super::disk::SimDisk;
use super::scenario::{ClientSpec, FlushMode, Scenario};
use crate::api::command::Command;
use crate::broker::Broker;
use crate::broker::config::{BrokerConfig, Flush, Settings as BrokerSettings};
use crate::check::{Promise, TopicPromise};
use crate::client::links::Links;
use crate::client::{Client, admin, consumer, keeper, producer};
use crate::id::{BrokerId, KeeperId, NodeId};
use crate::keeper::{self as zk, Keeper};
use crate::machine::Effects;
use crate::node::{Address, Effect};
use crate::nodes::Node;
use crate::rng::Rng;
use crate::store::Store;
use crate::time::{Now, Span};
use crate::zab;

/// 2026-01-01: the wall clocks' zero.
pub const WALL_AT_ZERO: i64 = 1_767_225_600_000;

/// ZooKeeper's client port and Kafka's.
const KEEPER_PORT: u16 = 2181;
const BROKER_PORT: u16 = 9092;

/// Every node: keepers, brokers, then clients; an administrator comes last, if there are topics to create.
pub fn nodes(scenario: &Scenario) -> Vec<NodeId> {
    let settings = &scenario.settings;
    let keepers = (1..=settings.keepers + settings.observers).map(|n| NodeId::keeper(n as u8));
    let brokers = (1..=settings.brokers).map(NodeId::Broker);
    let clients = (1..=clients(scenario).len() as u32).map(NodeId::Client);
    keepers.chain(brokers).chain(clients).collect()
}

/// The scenario's clients, and the administrator its topics need if it has none of its own.
pub fn clients(scenario: &Scenario) -> Vec<ClientSpec> {
    let mut clients = scenario.clients.clone();
    if !scenario.topics.is_empty() && !clients.contains(&ClientSpec::Admin) {
        clients.push(ClientSpec::Admin);
    }
    clients
}

/// Which node answers to an address.
pub fn resolve(address: &Address) -> Option<NodeId> {
    NodeId::parse(&address.host)
}

fn keeper_addresses(scenario: &Scenario) -> Vec<Address> {
    let settings = &scenario.settings;
    (1..=settings.keepers + settings.observers)
        .map(|n| Address { host: format!("keeper-{n}").into(), port: KEEPER_PORT })
        .collect()
}

fn broker_addresses(scenario: &Scenario) -> Vec<Address> {
    (1..=scenario.settings.brokers).map(|n| Address { host: format!("broker-{n}").into(), port: BROKER_PORT }).collect()
}

/// What the checkers must hold the world to.
pub fn promise(scenario: &Scenario) -> Promise {
    let topics = scenario.topics.iter().map(|topic| {
        (
            topic.name.clone(),
            TopicPromise { min_isr: topic.min_isr, unclean: topic.unclean || scenario.settings.unclean },
        )
    });
    Promise {
        rules: scenario.rules,
        flush: scenario.settings.flush == FlushMode::Batch,
        topics: topics.collect(),
        voters: scenario.settings.keepers,
        patience: super::swarm::calm(&scenario.settings),
    }
}

/// Starts a node's machine from what its disk holds.
///
/// # Errors
/// A sentence, if the disk does not allow it.
pub fn machine(
    scenario: &Scenario,
    id: NodeId,
    store: &mut Store<SimDisk>,
    entropy: Rng,
    now: Now,
    fx: &mut Effects<Effect>,
) -> Result<Node, String> {
    match id {
        NodeId::Keeper(me) => {
            let image = store.boot_keeper().map_err(|refused| refused.to_string())?;
            let keeper = Keeper::recover(keeper_config(scenario, me), image.into(), entropy, now, fx);
            Ok(Node::Keeper(Box::new(keeper)))
        }
        NodeId::Broker(number) => {
            let image = store.boot_broker().map_err(|refused| refused.to_string())?;
            let mut entropy = entropy;
            let broker = Broker::recover(broker_config(scenario, number), image, entropy.next(), now, fx);
            Ok(Node::Broker(Box::new(broker)))
        }
        NodeId::Client(number) => Ok(Node::Client(Box::new(client(scenario, number, entropy, now)))),
    }
}

fn keeper_config(scenario: &Scenario, me: KeeperId) -> zk::Config {
    let settings = &scenario.settings;
    let voters = (1..=settings.keepers as u8).map(KeeperId);
    let observers = (settings.keepers as u8 + 1..=(settings.keepers + settings.observers) as u8).map(KeeperId);
    let zab = zab::Config {
        observers: observers.collect(),
        tick: settings.tick,
        init_limit: settings.init_limit,
        sync_limit: settings.sync_limit,
        finalize_wait: settings.finalize_wait,
        commit_log_count: settings.commit_log_count,
        rules: scenario.rules,
        ..zab::Config::new(me, voters)
    };
    zk::Config {
        snap_count: settings.snap_count,
        snapshot_piece: settings.snapshot_piece,
        client_port: KEEPER_PORT,
        ..zk::Config::new(zab)
    }
}

fn broker_config(scenario: &Scenario, number: u32) -> BrokerConfig {
    let settings = &scenario.settings;
    let id = (!settings.generated_ids).then_some(BrokerId(number as i32));
    let limit = |bytes: u32| if bytes == 0 { -1 } else { i64::from(bytes) };
    BrokerConfig {
        rack: (settings.racks > 0).then(|| format!("rack-{}", number % settings.racks).into()),
        port: BROKER_PORT,
        settings: BrokerSettings {
            replica_lag_time_max: settings.replica_lag,
            replica_fetch_wait_max: settings.fetch_wait,
            replica_fetch_backoff: settings.fetch_backoff,
            replica_socket_timeout: settings.request_timeout,
            high_watermark_checkpoint_interval: settings.checkpoint_every,
            min_insync_replicas: settings.min_isr,
            unclean_leader_election_enable: settings.unclean,
            leader_imbalance_check_interval: settings.rebalance_every,
            controlled_shutdown_retry_backoff: settings.request_timeout / 6,
            controller_socket_timeout: settings.request_timeout,
            request_timeout: settings.request_timeout,
            zookeeper_session_timeout: settings.broker_session,
            log_segment_bytes: settings.segment_bytes as i32,
            log_retention: settings.retention.as_millis() as i64,
            log_retention_bytes: limit(settings.retention_bytes),
            log_retention_check_interval: settings.retention_every,
            flush: match settings.flush {
                FlushMode::Batch => Flush::Batch,
                FlushMode::Kafka => Flush::Kafka,
            },
            ..BrokerSettings::default()
        },
        rules: scenario.rules,
        ..BrokerConfig::new(number, id, keeper_addresses(scenario))
    }
}

fn client(scenario: &Scenario, number: u32, entropy: Rng, now: Now) -> Client {
    let settings = &scenario.settings;
    let spec = clients(scenario)[number as usize - 1].clone();
    let backoff = (settings.fetch_backoff / 4).max(Span::millis(2));
    let partitions_of =
        |name: &str| scenario.topics.iter().find(|topic| &*topic.name == name).map_or(1, |topic| topic.partitions);
    match spec {
        ClientSpec::Producer { topic, acks, idempotent, per_second } => {
            let links = Links::new(
                broker_addresses(scenario),
                vec![topic.clone()],
                settings.request_timeout,
                backoff,
                entropy.fork("links"),
            );
            let config = producer::Config {
                partitions: partitions_of(&topic),
                topic,
                acks,
                idempotent,
                every: if per_second == 0 { Span::ZERO } else { Span::secs(1) / u64::from(per_second) },
                records: settings.batch_records,
                record_bytes: settings.record_bytes,
                request_timeout: settings.request_timeout / 2,
                backoff,
                number,
            };
            Client::Producer(producer::Producer::new(config, links, now))
        }
        ClientSpec::Consumer { topic } => {
            let links = Links::new(
                broker_addresses(scenario),
                vec![topic.clone()],
                settings.request_timeout + settings.fetch_wait,
                backoff,
                entropy.fork("links"),
            );
            let config =
                consumer::Config { partitions: partitions_of(&topic), topic, max_wait: settings.fetch_wait, backoff };
            Client::Consumer(consumer::Consumer::new(config, links))
        }
        ClientSpec::Admin => {
            let links = Links::new(
                broker_addresses(scenario),
                Vec::new(),
                settings.request_timeout,
                backoff,
                entropy.fork("links"),
            );
            let todo = scenario.topics.iter().cloned().map(Command::CreateTopic);
            Client::Admin(admin::Admin::new(links, backoff, todo))
        }
        ClientSpec::Keeper { per_second } => {
            let config = keeper::Config {
                keepers: keeper_addresses(scenario),
                session: settings.client_session,
                every: Span::secs(1) / u64::from(per_second.max(1)),
                number,
            };
            Client::Keeper(Box::new(keeper::KeeperClient::new(config, entropy, now)))
        }
    }
}
