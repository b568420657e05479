//! Links and what is under way on them.

use crate::api::peer::PacketType;
use crate::id::NodeId;
use crate::ordered::{OrdMap, sort_by};
use crate::sim::network::{Direction, End, InFlight, Label, Stream};
use crate::sim::trace::{api_name, op_name};
use crate::sim::world::World;
use crate::time::Span;
use crate::view::*;
use std::sync::Arc;

/// Messages in a view; each link counts all of its own.
const MESSAGES: usize = 120;
const FETCH: i16 = 1;
const PING: i32 = 11;

/// Clients that a view shows.
fn is_shown(node: NodeId, clients: &[ClientView]) -> bool {
    !matches!(node, NodeId::Client(_)) || clients.iter().any(|client| client.node == node)
}

fn lane(direction: Direction) -> LaneState {
    if direction.cut {
        LaneState::Cut
    } else if direction.stalled {
        LaneState::Stalled
    } else if direction.slow > Span::ZERO {
        LaneState::Slow { extra: direction.slow }
    } else {
        LaneState::Ok
    }
}

/// Each pair with a connection or some trouble, and every pair of keepers and of brokers.
pub fn links(world: &World, clients: &[ClientView]) -> Vec<LinkView> {
    let mut links: OrdMap<(NodeId, NodeId), LinkView> = OrdMap::new();
    let pair = |a: NodeId, b: NodeId| if a < b { (a, b) } else { (b, a) };
    let idle = |(a, b): (NodeId, NodeId)| LinkView { a, b, open: false, forth: LaneView::IDLE, back: LaneView::IDLE };
    let nodes: Vec<NodeId> = world.hosts().iter().map(|host| host.id).collect();
    for (at, a) in nodes.iter().enumerate() {
        for b in &nodes[at + 1..] {
            let meshed =
                matches!((a, b), (NodeId::Keeper(_), NodeId::Keeper(_)) | (NodeId::Broker(_), NodeId::Broker(_)));
            if meshed {
                links.insert(pair(*a, *b), idle(pair(*a, *b)));
            }
        }
    }
    let shown = |a: NodeId, b: NodeId| a != b && is_shown(a, clients) && is_shown(b, clients);
    for stream in world.network.streams.values() {
        let (near, far) = (stream.near, stream.far);
        if !shown(near, far) {
            continue;
        }
        let link = links.entry(pair(near, far)).or_insert_with(|| idle(pair(near, far)));
        link.open |= stream.open && stream.gone == [false; 2];
        let (first, second) = (stream.pipes[0].queue.len() as u32, stream.pipes[1].queue.len() as u32);
        let (forth, back) = if link.a == near { (first, second) } else { (second, first) };
        link.forth.in_flight += forth;
        link.back.in_flight += back;
    }
    for (from, to, direction) in world.network.troubled() {
        if !shown(from, to) {
            continue;
        }
        let link = links.entry(pair(from, to)).or_insert_with(|| idle(pair(from, to)));
        let side = if link.a == from { &mut link.forth } else { &mut link.back };
        side.state = lane(direction);
    }
    links.into_values().collect()
}

/// What is under way, in the order in which it was sent; the routine is left out where there is too much.
pub fn messages(world: &World, brokers: &[BrokerView], clients: &[ClientView]) -> Vec<MessageView> {
    let mut all = Vec::new();
    for stream in world.network.streams.values() {
        if !is_shown(stream.near, clients) || !is_shown(stream.far, clients) {
            continue;
        }
        for end in [End::Near, End::Far] {
            all.extend(stream.pipes[end as usize].queue.iter().map(|message| view(stream, end, message, brokers)));
        }
    }
    sort_by(&mut all, |a, b| a.id.cmp(&b.id));
    if all.len() > MESSAGES {
        all.retain(|message| !message.routine);
        all.truncate(MESSAGES);
    }
    all
}

fn view(stream: &Stream, end: End, message: &InFlight, brokers: &[BrokerView]) -> MessageView {
    let (from, to) = (stream.node(end), stream.node(end.other()));
    let (label, kind) = words(message.label);
    let (records, epoch) = match message.label {
        Label::KafkaReply { records, .. } if records > 0 => (records, leader_epoch(from, brokers)),
        Label::KafkaRequest { records, .. } => (records, None),
        Label::Packet { kind: PacketType::Proposal, zxid } => (1, Some(i64::from(zxid.epoch().0))),
        _ => (0, None),
    };
    let routine = match message.label {
        Label::KafkaRequest { key: FETCH, .. } | Label::KafkaReply { key: FETCH, records: 0, error: 0 } => true,
        _ => kind == MessageKind::Heartbeat,
    };
    MessageView {
        id: message.number,
        from,
        to,
        label,
        kind,
        sent: message.sent,
        due: message.due,
        records,
        epoch,
        lost: None,
        routine,
    }
}

/// The newest epoch in which the broker leads anything: that of the records it hands out.
fn leader_epoch(node: NodeId, brokers: &[BrokerView]) -> Option<i64> {
    let broker = brokers.iter().find(|broker| broker.node == node)?;
    let led = broker.replicas.iter().filter(|replica| replica.role == ReplicaRole::Leader);
    led.map(|replica| i64::from(replica.leader_epoch.0)).max()
}

/// A message in a word or two, and what sort it is.
fn words(label: Label) -> (Arc<str>, MessageKind) {
    let reply = |granted| MessageKind::Reply { granted };
    match label {
        Label::Vote => ("Vote".into(), MessageKind::Request),
        Label::Packet { kind: PacketType::Ping, .. } => ("Ping".into(), MessageKind::Heartbeat),
        Label::Packet { kind: PacketType::Proposal, zxid } => (format!("Propose {zxid}").into(), MessageKind::Request),
        Label::Packet { kind: PacketType::Ack, zxid } => (format!("Ack {zxid}").into(), reply(Some(true))),
        Label::Packet { kind: PacketType::Commit, zxid } => (format!("Commit {zxid}").into(), MessageKind::Request),
        Label::Packet { kind: PacketType::AckEpoch, .. } => ("Ack epoch".into(), reply(Some(true))),
        Label::Packet { kind, .. } => (title(kind.name()), MessageKind::Request),
        Label::KafkaRequest { key, .. } => (api_name(key).into(), MessageKind::Request),
        Label::KafkaReply { key: FETCH, error: 0, .. } => ("Fetch reply".into(), reply(None)),
        Label::KafkaReply { key, error, .. } => (format!("{} reply", api_name(key)).into(), reply(Some(error == 0))),
        Label::KeeperRequest { op: PING } | Label::KeeperReply { op: PING, .. } => {
            ("Ping".into(), MessageKind::Heartbeat)
        }
        Label::KeeperRequest { op } => (op_name(op).into(), MessageKind::Request),
        Label::KeeperReply { error, .. } => ("reply".into(), reply(Some(error == 0))),
        Label::KeeperEvent => ("watch event".into(), MessageKind::Request),
    }
}

/// `FOLLOWERINFO` as `Followerinfo`.
fn title(name: &str) -> Arc<str> {
    let (first, rest) = name.split_at(name.len().min(1));
    format!("{first}{}", rest.to_ascii_lowercase()).into()
}
