//! Machines as a view shows them: keepers, what the ensemble knows, brokers with their replicas, clients.

use super::chronicle::Chronicle;
use crate::broker::Broker;
use crate::broker::partition::{Partition, Role as PartitionRole};
use crate::broker::znodes::{self, PartitionState, TopicInfo};
use crate::client::Client;
use crate::id::{BrokerId, KeeperId, NodeId, TopicPartition, Zxid};
use crate::keeper::Keeper;
use crate::nodes::Node;
use crate::ordered::sort_by;
use crate::record::offset::Offset;
use crate::sim::build::WALL_AT_ZERO;
use crate::sim::host::Host;
use crate::sim::world::World;
use crate::time::{Instant, Span};
use crate::view::*;
use crate::zab::Role;
use crate::znode::stat::Owner;
use crate::znode::txn::LoggedTxn;
use crate::znode::{Tree, Txn, ZPath};
use std::sync::Arc;

/// The newest records of a replica, and the newest writes of a journal, that a view holds.
const RECORDS: usize = 16;
const TXNS: usize = 4;
/// A client that has waited for so long is said to wait.
const PATIENCE: Span = Span::millis(800);

pub fn state(host: &Host, chronicle: &Chronicle) -> NodeState {
    match (&host.down, host.paused) {
        (Some(down), _) => NodeState::Down { since: down.since },
        (None, Some(since)) => NodeState::Paused { since },
        (None, None) => NodeState::Up { since: chronicle.up_since(host.id) },
    }
}

fn ailments(host: &Host, now: Instant) -> Vec<Ailment> {
    let mut all = Vec::new();
    if host.slow_disk > Span::ZERO {
        all.push(Ailment::SlowDisk { extra: host.slow_disk });
    }
    if host.lying_disk {
        all.push(Ailment::LyingSync);
    }
    let millis = host.clock.read(now).wall.0 - WALL_AT_ZERO - (now.0 / 1_000_000) as i64;
    if millis.abs() >= 5 {
        all.push(Ailment::SkewedClock { millis });
    }
    all
}

// ---- keepers -------------------------------------------------------------------------------------------------------

pub fn keepers(world: &World) -> Vec<KeeperView> {
    let hosts = world.hosts().iter().filter_map(|host| match host.id {
        NodeId::Keeper(id) => Some((host, id)),
        NodeId::Broker(_) | NodeId::Client(_) => None,
    });
    let view = |(host, id): (&Host, KeeperId)| {
        let last = || world.chronicle.keepers.get(&host.id).cloned().unwrap_or_else(|| nobody(id));
        let mut view = match &host.machine {
            Some(machine) => machine.as_keeper().map_or_else(last, |machine| keeper(machine, world.now())),
            None => last(),
        };
        view.state = state(host, &world.chronicle);
        view.ailments = ailments(host, world.now());
        view
    };
    hosts.map(view).collect()
}

/// A keeper that never was up.
fn nobody(id: KeeperId) -> KeeperView {
    KeeperView {
        id,
        state: NodeState::Down { since: Instant::ZERO },
        ailments: Vec::new(),
        role: KeeperRole::Looking { vote: id, votes: 0 },
        zab_epoch: crate::id::ZabEpoch(0),
        last_zxid: Zxid::ZERO,
        txns: Vec::new(),
        timeout: None,
        sessions: 0,
    }
}

/// A keeper's machine; its host says whether it runs.
pub fn keeper(keeper: &Keeper, now: Instant) -> KeeperView {
    let peer = keeper.peer();
    let (vote, votes) = peer.vote();
    let role = match peer.role() {
        Role::Looking => KeeperRole::Looking { vote: vote.leader, votes: votes as u8 },
        Role::Leading { established, .. } => KeeperRole::Leading { established },
        Role::Following { leader, .. } => KeeperRole::Following { leader },
        Role::Observing { leader, .. } => KeeperRole::Observing { leader: Some(leader) },
    };
    let looking = matches!(peer.role(), Role::Looking);
    let timeout = crate::machine::Machine::wake_at(keeper).filter(|_| looking).map(|wake| Timeout {
        span: peer.election_waits(),
        due: wake.at.max(now),
        awaited: false,
    });
    KeeperView {
        id: peer.config().me,
        state: NodeState::Up { since: Instant::ZERO },
        ailments: Vec::new(),
        role,
        zab_epoch: peer.current_epoch(),
        last_zxid: peer.last_zxid(),
        txns: txns(keeper),
        timeout,
        sessions: keeper.connections().count() as u32,
    }
}

fn txns(keeper: &Keeper) -> Vec<TxnView> {
    let history = keeper.peer().history();
    let mut after = history.received();
    for _ in 0..TXNS {
        after = history.last_below(after);
    }
    let view = |(zxid, bytes): &(Zxid, bytes::Bytes)| TxnView {
        zxid: *zxid,
        label: LoggedTxn::decode(bytes.clone()).map_or_else(|_| "unreadable".into(), |logged| label(&logged.txn)),
        committed: *zxid <= history.committed(),
    };
    history.above(after).map(view).collect()
}

fn label(txn: &Txn) -> Arc<str> {
    match txn {
        Txn::Create { path, .. } => format!("create {}", path.as_str()).into(),
        Txn::Delete { path } | Txn::DeleteContainer { path } => format!("delete {}", path.as_str()).into(),
        Txn::SetData { path, .. } | Txn::Reconfig { path, .. } => format!("set {}", path.as_str()).into(),
        Txn::SetAcl { path, .. } => format!("set the ACL of {}", path.as_str()).into(),
        Txn::Check { path, .. } => format!("check {}", path.as_str()).into(),
        Txn::CreateSession { .. } => "create a session".into(),
        Txn::CloseSession { .. } => "close a session".into(),
        Txn::Error(_) => "a refused write".into(),
        Txn::Multi(parts) => match parts.iter().find(|part| !matches!(part, Txn::Check { .. })) {
            Some(first) => format!("{} and {} more", label(first), parts.len() - 1).into(),
            None => "multi".into(),
        },
    }
}

// ---- what all know -------------------------------------------------------------------------------------------------

/// The keeper that knows most of what is committed.
fn wisest(world: &World) -> Option<&Keeper> {
    let keepers = world.hosts().iter().filter_map(|host| host.machine.as_deref()?.as_keeper());
    keepers.max_by_key(|keeper| (keeper.tree().last_zxid(), keeper.lead().is_some()))
}

pub fn known(world: &World, brokers: &[BrokerView]) -> KnownView {
    let Some(wisest) = wisest(world) else { return KnownView::default() };
    let tree = wisest.tree();
    let data = |path: &str| ZPath::parse(path).ok().and_then(|path| tree.node(&path)?.data.clone());
    KnownView {
        registrations: brokers.iter().map(|broker| registration(world, tree, broker)).collect(),
        controller: data(znodes::CONTROLLER).and_then(|data| znodes::decode_controller(&data)),
        controller_epoch: data(znodes::CONTROLLER_EPOCH)
            .and_then(|data| znodes::decode_controller_epoch(&data))
            .unwrap_or_default(),
        partitions: partitions(tree),
    }
}

fn registration(world: &World, tree: &Tree, broker: &BrokerView) -> RegistrationView {
    let node = ZPath::parse(&znodes::broker(broker.broker)).ok().and_then(|path| tree.node(&path));
    let state = match node.map(|node| node.owner()) {
        Some(Owner::Session(session)) => {
            let span = Span::millis(tree.session_timeout(session).unwrap_or(0).max(0) as u64);
            let leader = world.hosts().iter().find_map(|host| {
                let lead = host.machine.as_deref()?.as_keeper()?.lead()?;
                let (_, tracked, due) = lead.sessions.iter().find(|(id, _, _)| *id == session)?;
                Some((tracked.owner, due.map(|due| host.clock.to_world(due))))
            });
            // Without a leader nobody counts: a new one gives every session its full time.
            let (at, due) = leader.unwrap_or((None, None));
            // The leader expires sessions in whole ticks, so that one may get a little more than its time.
            let due = due.unwrap_or(world.now() + span).min(world.now() + span);
            let awaited = !broker.state.is_up();
            Registration::Here { session, expires: Timeout { span, due, awaited }, at: broker.keeper.or(at) }
        }
        Some(_) | None if world.chronicle.has_registered(broker.node) => {
            Registration::Gone { since: world.chronicle.gone_since(broker.node).unwrap_or(world.now()) }
        }
        Some(_) | None => Registration::Never,
    };
    RegistrationView { node: broker.node, broker: broker.broker, state }
}

fn partitions(tree: &Tree) -> Vec<PartitionView> {
    let Ok(topics) = ZPath::parse(znodes::TOPICS) else { return Vec::new() };
    let mut all = Vec::new();
    for path in tree.children(&topics) {
        let info = tree.node(path).and_then(|node| TopicInfo::decode(node.data.as_deref()?));
        for (number, assignment) in info.into_iter().flat_map(|info| info.partitions) {
            let partition = TopicPartition::new(path.name(), number);
            let state = ZPath::parse(&znodes::partition_state(&partition)).ok().and_then(|path| tree.node(&path));
            let Some(state) = state.and_then(|node| PartitionState::decode(node.data.as_deref()?)) else { continue };
            all.push(PartitionView {
                partition,
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                isr: state.isr,
                replicas: assignment.replicas,
            });
        }
    }
    sort_by(&mut all, |a, b| a.partition.cmp(&b.partition));
    all
}

// ---- brokers -------------------------------------------------------------------------------------------------------

pub fn brokers(world: &World) -> Vec<BrokerView> {
    let hosts = world.hosts().iter().filter(|host| matches!(host.id, NodeId::Broker(_)));
    let view = |host: &Host| {
        let running = host.machine.as_deref().and_then(Node::as_broker).map(|machine| broker(host.id, machine));
        let mut view = running.or_else(|| world.chronicle.brokers_down.get(&host.id).cloned()).unwrap_or_else(|| {
            let NodeId::Broker(number) = host.id else { unreachable!("{} is a broker", host.id) };
            BrokerView {
                node: host.id,
                broker: BrokerId(number as i32),
                state: NodeState::Down { since: Instant::ZERO },
                ailments: Vec::new(),
                controller: false,
                keeper: None,
                replicas: Vec::new(),
            }
        });
        view.state = state(host, &world.chronicle);
        view.ailments = ailments(host, world.now());
        if view.state.is_down() {
            view.keeper = None;
        }
        for replica in &mut view.replicas {
            remember(replica, host.id, world);
        }
        view
    };
    let mut all: Vec<BrokerView> = hosts.map(view).collect();
    lags(world, &mut all);
    all
}

/// A broker's machine; its host says whether it runs.
pub fn broker(node: NodeId, broker: &Broker) -> BrokerView {
    let keeper = broker.keeper().and_then(|address| match NodeId::parse(&address.host) {
        Some(NodeId::Keeper(id)) => Some(id),
        _ => None,
    });
    let number = match node {
        NodeId::Broker(number) => number as i32,
        NodeId::Keeper(_) | NodeId::Client(_) => -1,
    };
    BrokerView {
        node,
        broker: if broker.id().0 >= 0 { broker.id() } else { BrokerId(number) },
        state: NodeState::Up { since: Instant::ZERO },
        ailments: Vec::new(),
        controller: broker.controller_epoch().is_some(),
        keeper,
        replicas: broker.partitions().map(replica).collect(),
    }
}

fn replica(partition: &Partition) -> ReplicaView {
    let log = &partition.log;
    let role = match &partition.role {
        PartitionRole::Leader(_) => ReplicaRole::Leader,
        PartitionRole::Follower(follower) => ReplicaRole::Follower { leader: Some(follower.leader) },
        PartitionRole::Idle => ReplicaRole::Idle,
    };
    let from = (log.end().0 - RECORDS as i64).max(log.start().0);
    // Also what a restart found on the disk: batch by batch only what came since is remembered.
    let records = (from..log.end().0).map(Offset).filter_map(|offset| {
        Some(RecordView { offset, epoch: log.epochs().epoch_at(offset)?, fate: Fate::Untold, truncated: false })
    });
    ReplicaView {
        partition: log.partition.clone(),
        role,
        in_isr: false,
        leader_epoch: partition.leader_epoch(),
        epochs: log
            .epochs()
            .entries()
            .iter()
            .map(|(epoch, start)| EpochStart { epoch: *epoch, start: *start })
            .collect(),
        log_start: log.start(),
        high_watermark: log.high_watermark(),
        log_end: log.end(),
        records: records.collect(),
        lag: None,
    }
}

/// Adds what only the run remembers: what producers were told, and what was cut a moment ago.
fn remember(replica: &mut ReplicaView, node: NodeId, world: &World) {
    let Some(history) = world.chronicle.history(&replica.partition) else { return };
    for record in &mut replica.records {
        record.fate = match history.fate(record.offset) {
            // Another record has that offset now.
            Fate::Lost { .. } => Fate::Untold,
            fate => fate,
        };
    }
    let allowed = !world.checks.has_fired();
    let end = replica.log_end;
    let cut = history.cut_from(node, world.now()).filter(|record| record.offset >= end);
    replica.records.extend(cut.map(|record| {
        let fate = match history.fate(record.offset) {
            Fate::Lost { .. } => Fate::Lost { allowed },
            fate => fate,
        };
        RecordView { fate, ..*record }
    }));
}

/// How long each leader still waits for followers that lag.
fn lags(world: &World, brokers: &mut [BrokerView]) {
    let mut found: Vec<(BrokerId, TopicPartition, Timeout)> = Vec::new();
    for host in world.hosts() {
        let Some(machine) = host.machine.as_deref().and_then(Node::as_broker) else { continue };
        let span = machine.settings().replica_lag_time_max;
        for partition in machine.partitions() {
            let Some(leader) = partition.leader() else { continue };
            for (id, progress) in &leader.progress {
                let behind = progress.end != Some(partition.log.end());
                let Some(caught_up) = progress.caught_up.filter(|_| behind && leader.isr.members().contains(id)) else {
                    continue;
                };
                let caught_up = host.clock.to_world(caught_up);
                if world.now().since(caught_up) > span / 4 {
                    let awaited = partition.log.high_watermark() < partition.log.end();
                    found.push((*id, partition.name().clone(), Timeout { span, due: caught_up + span, awaited }));
                }
            }
        }
    }
    for broker in brokers {
        for replica in &mut broker.replicas {
            let mine =
                |(id, of, _): &&(BrokerId, TopicPartition, Timeout)| *id == broker.broker && *of == replica.partition;
            replica.lag = found.iter().find(mine).map(|(_, _, timeout)| *timeout);
        }
    }
}

/// Marks the replicas that are in the ISR as all know it.
pub fn mark_isr(brokers: &mut [BrokerView], known: &KnownView) {
    for broker in brokers {
        for replica in &mut broker.replicas {
            let told = known.partitions.iter().find(|told| told.partition == replica.partition);
            replica.in_isr = told.is_some_and(|told| told.isr.contains(&broker.broker));
        }
    }
}

// ---- clients -------------------------------------------------------------------------------------------------------

/// Administrators are not shown: they do one thing and are done.
pub fn clients(world: &World) -> Vec<ClientView> {
    let view = |host: &Host| {
        let NodeId::Client(_) = host.id else { return None };
        let (kind, waits) = match host.machine.as_deref()?.as_client()? {
            Client::Producer(producer) => (
                ClientKind::Producer {
                    acks: producer.config().acks,
                    idempotent: producer.config().idempotent,
                    in_flight: producer.in_flight(),
                    acknowledged: producer.acknowledged,
                    failed: producer.failed,
                },
                producer.waits_since(|_| true).filter(|since| world.now().since(*since) > PATIENCE).map(|since| {
                    let records = producer.waiting();
                    let noun = if records == 1 { "record waits" } else { "records wait" };
                    Wait { since, for_what: format!("{records} {noun}").into() }
                }),
            ),
            Client::Consumer(consumer) => {
                let positions = consumer.positions();
                let position =
                    |(partition, next): (&TopicPartition, Offset)| Position { partition: partition.clone(), next };
                (ClientKind::Consumer { read: consumer.read, positions: positions.map(position).collect() }, None)
            }
            Client::Keeper(client) => (
                ClientKind::Keeper {
                    in_flight: client.in_flight(),
                    acknowledged: client.acknowledged,
                    failed: client.failed,
                    last: client.last.clone(),
                },
                None,
            ),
            Client::Admin(_) => return None,
        };
        let name = world.chronicle.client_name(host.id)?;
        Some(ClientView { node: host.id, name, state: state(host, &world.chronicle), kind, waits })
    };
    world.hosts().iter().filter_map(view).collect()
}
