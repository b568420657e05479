//! The swarm: a seed draws every parameter of a scenario, and the stones that are thrown at it.
//!
//! Which kinds of stone fly is drawn too, so that some runs hold only one kind and many of it. Nothing is thrown that no
//! protocol promises to survive: disks do not lie here, and a keeper's disk is not replaced.

use super::scenario::{Action, ClientSpec, Command, FlushMode, Scenario, Settings, TopicSpec};
use crate::api::kafka::ErrorCode;
use crate::id::{NodeId, TopicPartition};
use crate::rng::Rng;
use crate::rules::Rules;
use crate::time::{Instant, Span};

/// Stones fly until then; after it everything heals.
const STORM: Span = Span::secs(40);
/// A run is at least so long.
const LENGTH: Span = Span::secs(60);

/// The scenario of a seed.
pub fn scenario(seed: u64, rules: Rules) -> Scenario {
    let rng = Rng::new(seed);
    let mut scenario = Scenario { seed, rules, settings: settings(&mut rng.fork("settings")), ..Scenario::default() };
    world_of(&mut scenario, &mut rng.fork("world"));
    storm(&mut scenario, &mut rng.fork("storm"));
    let healed = Instant::ZERO + STORM;
    // What a late stone would end later is ended now, with all the rest.
    scenario.actions.retain(|timed| timed.at <= healed);
    scenario.act(healed, Action::HealAll);
    for node in servers(&scenario.settings) {
        scenario.act(healed, Action::GoodDisk(node));
        scenario.act(healed, Action::Drift { node, ppm: 0 });
        scenario.act(healed, Action::Resume(node));
    }
    scenario.act(healed, Action::RestartAll);
    // A broker that was asked to stop a moment ago is still up then, and has stopped by now.
    let stopped = healed + scenario.settings.request_timeout;
    scenario.act(stopped, Action::RestartAll);
    // Now and then one does not come back, and the others must do without it.
    let mut end = rng.fork("end");
    if end.chance(1, 6)
        && let Some(node) = end.pick(&servers(&scenario.settings))
    {
        scenario.act(stopped, Action::Kill(*node));
    }
    scenario.length = LENGTH.max(stopped.since(Instant::ZERO) + calm(&scenario.settings));
    let rest = Instant::ZERO + (scenario.length - scenario.settings.client_session.max(Span::secs(2)));
    for (number, spec) in (1..).zip(scenario.clients.clone()) {
        // A client that closes its session of its own accord at the last moment would look like one that lost it.
        if matches!(spec, ClientSpec::Keeper { .. }) {
            scenario.act(rest, Action::Ask { client: NodeId::Client(number), command: Command::Still });
        }
    }
    scenario
}

/// How long a healed world may take to be whole again: sessions end, leaders are elected, replicas catch up.
pub fn calm(settings: &Settings) -> Span {
    let ensemble = settings.tick * u64::from(settings.init_limit + settings.sync_limit) + settings.finalize_wait * 8;
    let brokers = settings.broker_session * 2 + settings.replica_lag * 2 + settings.request_timeout * 3;
    ensemble * 2 + brokers + settings.dead_peer * 2 + settings.fetch_backoff * 4 + Span::secs(2)
}

/// Keepers, then brokers.
pub fn servers(settings: &Settings) -> Vec<NodeId> {
    let keepers = (1..=settings.keepers + settings.observers).map(|n| NodeId::keeper(n as u8));
    keepers.chain((1..=settings.brokers).map(NodeId::Broker)).collect()
}

/// A time-out: the default times a scale common to the run, give or take a factor of two, never below 1/50.
fn scaled(rng: &mut Rng, usual: Span, scale_permille: u64) -> Span {
    let permille = scale_permille * rng.range(700, 1400) / 1000;
    Span(usual.0 / 1000 * permille.clamp(20, 1000))
}

fn settings(rng: &mut Rng) -> Settings {
    let usual = Settings::default();
    // Most runs are quick, some are as slow as the defaults: 20, 40, … up to 1000 permille.
    let scale = (20 << rng.below(7)).min(1000);
    let tick = scaled(rng, usual.tick, scale);
    let latency = Span(rng.range(50_000, (tick.0 / 60).clamp(100_000, 2_000_000)));
    let broker_session = scaled(rng, usual.broker_session, scale).max(tick * 3);
    Settings {
        keepers: if rng.chance(1, 6) { 5 } else { 3 },
        observers: u32::from(rng.chance(1, 8)),
        brokers: rng.range(3, 4) as u32,
        generated_ids: rng.chance(1, 8),
        racks: if rng.chance(1, 4) { 2 } else { 0 },
        tick,
        finalize_wait: scaled(rng, usual.finalize_wait, scale).max(latency * 4),
        snap_count: if rng.chance(1, 2) { rng.range(10, 200) as u32 } else { usual.snap_count },
        snapshot_piece: if rng.chance(1, 2) { rng.range(64, 2_048) as u32 } else { usual.snapshot_piece },
        commit_log_count: if rng.chance(1, 2) { rng.range(2, 60) as u32 } else { usual.commit_log_count },
        broker_session,
        client_session: scaled(rng, usual.client_session, scale).max(tick * 3),
        replica_lag: scaled(rng, usual.replica_lag, scale),
        fetch_wait: scaled(rng, usual.fetch_wait, scale.max(100)),
        fetch_backoff: scaled(rng, usual.fetch_backoff, scale),
        request_timeout: scaled(rng, usual.request_timeout, scale),
        checkpoint_every: scaled(rng, usual.checkpoint_every, scale),
        rebalance_every: scaled(rng, Span::secs(30), scale),
        retention_every: Span::secs(rng.range(5, 30)),
        retention: if rng.chance(1, 8) { Span::secs(rng.range(5, 20)) } else { usual.retention },
        retention_bytes: if rng.chance(1, 6) { rng.range(20_000, 200_000) as u32 } else { 0 },
        segment_bytes: if rng.chance(1, 2) { rng.range(2_000, 40_000) as u32 } else { 1 << 20 },
        flush: if rng.chance(1, 5) { FlushMode::Kafka } else { FlushMode::Batch },
        record_bytes: rng.range(8, 200) as u32,
        batch_records: rng.range(1, 4) as u32,
        latency,
        jitter: Span(rng.range(0, latency.0 * 4)),
        dead_peer: (tick * rng.range(2, 12)).min(Span::secs(10)),
        reconnect: scaled(rng, Span::millis(500), scale).max(latency * 2),
        sync_latency: Span(rng.range(50_000, 2_000_000)),
        sync_jitter: Span(rng.range(0, 4_000_000)),
        ..usual
    }
}

fn world_of(scenario: &mut Scenario, rng: &mut Rng) {
    let brokers = scenario.settings.brokers;
    for name in ["orders", "events"].iter().take(rng.range(1, 2) as usize) {
        let replicas = if rng.chance(3, 4) { 3 } else { rng.range(2, u64::from(brokers)) as u32 };
        let min_isr = if rng.chance(2, 3) { 2 } else { 1 };
        scenario.topics.push(TopicSpec {
            name: (*name).into(),
            partitions: rng.range(1, 3) as u32,
            replicas,
            min_isr: min_isr.min(replicas),
            unclean: rng.chance(1, 5),
        });
    }
    for topic in &scenario.topics {
        for _ in 0..rng.range(1, 2) {
            let acks = if rng.chance(3, 4) { -1 } else { rng.range(0, 1) as i16 };
            let idempotent = acks == -1 && rng.chance(2, 3);
            let per_second = rng.range(1, 12) as u32;
            scenario.clients.push(ClientSpec::Producer { topic: topic.name.clone(), acks, idempotent, per_second });
        }
        scenario.clients.push(ClientSpec::Consumer { topic: topic.name.clone() });
    }
    for _ in 0..rng.range(1, 2) {
        scenario.clients.push(ClientSpec::Keeper { per_second: rng.range(1, 6) as u32 });
    }
    scenario.clients.push(ClientSpec::Admin);
}

/// Kinds of stone; a run draws a subset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stone {
    Kill,
    Power,
    PowerAll,
    Pause,
    Cut,
    Isolate,
    Stall,
    Slow,
    Break,
    Clock,
    Disk,
    Shutdown,
    Reply,
    Admin,
    Wipe,
}

const STONES: [Stone; 15] = [
    Stone::Kill,
    Stone::Power,
    Stone::PowerAll,
    Stone::Pause,
    Stone::Cut,
    Stone::Isolate,
    Stone::Stall,
    Stone::Slow,
    Stone::Break,
    Stone::Clock,
    Stone::Disk,
    Stone::Shutdown,
    Stone::Reply,
    Stone::Admin,
    Stone::Wipe,
];

fn storm(scenario: &mut Scenario, rng: &mut Rng) {
    let mut stones: Vec<Stone> = STONES.into_iter().filter(|_| rng.chance(1, 3)).collect();
    if rng.chance(2, 3) {
        stones.push(Stone::Admin);
    }
    if stones.is_empty() {
        stones = STONES.to_vec();
    }
    let settings = scenario.settings.clone();
    // A stone every fraction of the time that a failover takes.
    let usual = (settings.tick * 4 + settings.broker_session / 2).0;
    let gap = (usual / rng.range(1, 6)).clamp(100_000_000, 8_000_000_000);
    let mut at = Span::millis(rng.range(200, 3000)).0;
    while at < STORM.0 {
        if let Some(stone) = rng.pick(&stones).copied() {
            throw(scenario, &settings, stone, Instant(at), gap, rng);
        }
        at += rng.range(gap / 4, gap * 2);
    }
}

fn throw(scenario: &mut Scenario, settings: &Settings, stone: Stone, at: Instant, gap: u64, rng: &mut Rng) {
    let all = servers(settings);
    let node = all[rng.below(all.len() as u64) as usize];
    let other = all[rng.below(all.len() as u64) as usize];
    // Short against a session's time-out, or long.
    let lasting = if rng.chance(1, 2) { Span(rng.range(gap / 10, gap)) } else { Span(rng.range(gap, gap * 4)) };
    let then = at + lasting;
    let clients = scenario.clients.len() as u64;
    match stone {
        Stone::Kill => {
            scenario.act(at, Action::Kill(node));
            scenario.act(then, Action::Restart(node));
        }
        Stone::Power => {
            scenario.act(at, Action::PowerOff(node));
            scenario.act(then, Action::Restart(node));
        }
        Stone::PowerAll => {
            scenario.act(at, Action::PowerOffAll);
            let mut order = all.clone();
            rng.shuffle(&mut order);
            let mut up = at + Span(rng.range(gap / 10, gap));
            for node in order {
                scenario.act(up, Action::Restart(node));
                up += Span(rng.range(0, gap / 4));
            }
        }
        Stone::Pause => {
            scenario.act(at, Action::Pause(node));
            scenario.act(then, Action::Resume(node));
        }
        Stone::Cut if node != other => {
            scenario.act(at, Action::Cut { from: node, to: other });
            scenario.act(then, Action::Heal { from: node, to: other });
            if rng.chance(1, 2) {
                scenario.act(at, Action::Cut { from: other, to: node });
                scenario.act(then, Action::Heal { from: other, to: node });
            }
        }
        Stone::Isolate => isolate(scenario, &all, at, then, rng),
        Stone::Stall if node != other => {
            scenario.act(at, Action::Stall { from: node, to: other });
            scenario.act(then, Action::Heal { from: node, to: other });
        }
        Stone::Slow if node != other => {
            let by = Span(rng.range(settings.latency.0, settings.tick.0));
            scenario.act(at, Action::Slow { from: node, to: other, by });
            scenario.act(then, Action::Heal { from: node, to: other });
        }
        Stone::Break if node != other => scenario.act(at, Action::Break { a: node, b: other }),
        Stone::Cut | Stone::Stall | Stone::Slow | Stone::Break => {}
        Stone::Clock => {
            scenario.act(at, Action::Drift { node, ppm: rng.range(0, 100_000) as i32 - 50_000 });
            scenario.act(at, Action::Jump { node, millis: rng.range(0, 20_000) as i64 - 10_000 });
        }
        Stone::Disk => {
            let action = if rng.chance(1, 6) {
                Action::FullDisk(node)
            } else {
                Action::SlowDisk { node, by: Span(rng.range(1_000_000, settings.tick.0 * 3)) }
            };
            scenario.act(at, action);
            scenario.act(then, Action::GoodDisk(node));
            scenario.act(then, Action::Restart(node));
        }
        Stone::Shutdown => {
            let broker = NodeId::Broker(rng.range(1, u64::from(settings.brokers)) as u32);
            scenario.act(at, Action::Shutdown(broker));
            scenario.act(then + settings.request_timeout, Action::Restart(broker));
        }
        Stone::Reply => {
            let client = NodeId::Client(rng.range(1, clients) as u32);
            let server = NodeId::Broker(rng.range(1, u64::from(settings.brokers)) as u32);
            let action = match rng.below(3) {
                0 => Action::LoseReply { server, client },
                1 => {
                    let error = RETRIABLE[rng.below(RETRIABLE.len() as u64) as usize].0;
                    Action::FailReply { server, client, error }
                }
                _ => Action::DelayReply { server, client, by: lasting },
            };
            scenario.act(at, action);
        }
        Stone::Admin => administer(scenario, settings, at, rng),
        // Of brokers only, and seldom: what was on the disk alone is lost, as it may be. Without its meta.properties a
        // broker with a generated id would be another one.
        Stone::Wipe if !settings.generated_ids && rng.chance(1, 4) => {
            let broker = NodeId::Broker(rng.range(1, u64::from(settings.brokers)) as u32);
            scenario.act(at, Action::Wipe(broker));
            scenario.act(then, Action::Restart(broker));
        }
        Stone::Wipe => {}
    }
}

/// What a broker may answer to a produce request that it has carried out, or not: the producer asks again.
const RETRIABLE: [ErrorCode; 3] =
    [ErrorCode::REQUEST_TIMED_OUT, ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND];

/// One side of a cut through the cluster hears nothing from the other, in one direction or in both.
fn isolate(scenario: &mut Scenario, all: &[NodeId], at: Instant, then: Instant, rng: &mut Rng) {
    let mut order = all.to_vec();
    rng.shuffle(&mut order);
    let size = if rng.chance(1, 2) { 1 } else { rng.range(1, order.len() as u64 / 2) as usize };
    let (inside, outside) = order.split_at(size);
    let both = rng.chance(3, 4);
    for a in inside {
        for b in outside {
            let mut directions = vec![(*a, *b)];
            if both {
                directions.push((*b, *a));
            }
            for (from, to) in directions {
                scenario.act(at, Action::Cut { from, to });
                scenario.act(then, Action::Heal { from, to });
            }
        }
    }
}

/// An administrator's command: reassignments and elections mostly.
fn administer(scenario: &mut Scenario, settings: &Settings, at: Instant, rng: &mut Rng) {
    let admin = NodeId::Client(scenario.clients.len() as u32);
    let Some(topic) = rng.pick(&scenario.topics).cloned() else { return };
    let partition = TopicPartition::new(topic.name.clone(), rng.below(u64::from(topic.partitions)) as i32);
    let command = match rng.below(10) {
        0..4 if !settings.generated_ids => {
            let mut brokers: Vec<i32> = (1..=settings.brokers as i32).collect();
            rng.shuffle(&mut brokers);
            brokers.truncate(topic.replicas as usize);
            Command::Reassign { partition, replicas: brokers }
        }
        0..6 => Command::ElectPreferred(partition),
        6 => {
            let (key, value) = match rng.below(2) {
                0 => ("segment.bytes", rng.range(2_000, 50_000)),
                _ => ("min.insync.replicas", rng.range(1, u64::from(topic.replicas))),
            };
            Command::SetTopicConfig { topic: topic.name.clone(), key: key.to_owned(), value: value.to_string() }
        }
        7 => {
            // It is made again, mostly while some still know the old one.
            let again = at + Span::millis(rng.range(10, 2_000));
            scenario.act(again, Action::Ask { client: admin, command: Command::CreateTopic(topic.clone()) });
            Command::DeleteTopic(topic.name)
        }
        _ => Command::CreateTopic(TopicSpec {
            name: format!("extra-{}", rng.below(4)).into(),
            partitions: 1,
            replicas: topic.replicas,
            min_isr: 1,
            unclean: false,
        }),
    };
    scenario.act(at, Action::Ask { client: admin, command });
}
