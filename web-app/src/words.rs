//! Labels: the few words that stand beside a shape. Sentences about what happened come from the core.

use crate::draw::seconds;
use crate::stage::layout::Class;
use glasshouse_core::id::{BrokerId, TopicPartition};
use glasshouse_core::time::Instant;
use glasshouse_core::view::*;

/// Words, and whether they tell of trouble.
pub type Label = (String, bool);

fn plain(words: impl Into<String>) -> Label {
    (words.into(), false)
}

/// `down for 6.1 s`, `paused for 0.4 s`; nothing for a machine that is up.
pub fn not_up(state: NodeState, now: Instant) -> Option<String> {
    let word = match state {
        NodeState::Up { .. } => return None,
        NodeState::Paused { .. } => "paused",
        NodeState::Down { .. } => "down",
    };
    Some(format!("{word} for {}", seconds(now.since(state.since()))))
}

pub fn ailment(ailment: Ailment) -> String {
    match ailment {
        Ailment::SlowDisk { extra } => format!("disk +{} ms", extra.as_millis()),
        Ailment::FullDisk => "disk full".into(),
        Ailment::LyingSync => "sync lies".into(),
        Ailment::SkewedClock { millis } if millis < 0 => format!("clock −{} ms", -millis),
        Ailment::SkewedClock { millis } => format!("clock +{millis} ms"),
    }
}

pub fn keeper_role(role: KeeperRole) -> Label {
    match role {
        KeeperRole::Looking { votes, .. } => (format!("looking, {}", counted(u64::from(votes), "vote")), true),
        KeeperRole::Following { .. } => plain("follower"),
        KeeperRole::Leading { established: true } => plain("leader"),
        KeeperRole::Leading { established: false } => ("leads, no quorum".into(), true),
        KeeperRole::Observing { .. } => plain("observer"),
    }
}

/// `3 records`, `1 record`.
pub fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What a broker does: `leads orders-0`, `follows both`.
pub fn broker_role(broker: &BrokerView, class: Class) -> String {
    let led = names(broker, |role| role == ReplicaRole::Leader);
    let followed = names(broker, |role| matches!(role, ReplicaRole::Follower { .. }));
    let (verb, which) = if led.is_empty() { ("follows", followed) } else { ("leads", led) };
    let held = broker.replicas.len();
    match which.len() {
        0 if held == 0 => "holds no partition yet".into(),
        0 => "waits for the controller".into(),
        2 if held == 2 && (verb == "follows" || class == Class::Narrow) => format!("{verb} both"),
        n if n <= 2 => format!("{verb} {}", listed(&which)),
        n => format!("{verb} {n} of {held}"),
    }
}

fn names(broker: &BrokerView, role: impl Fn(ReplicaRole) -> bool) -> Vec<String> {
    broker.replicas.iter().filter(|replica| role(replica.role)).map(|replica| replica.partition.to_string()).collect()
}

pub fn partitions(broker: &BrokerView, role: impl Fn(ReplicaRole) -> bool) -> String {
    listed(&names(broker, role))
}

pub fn replica_role(replica: &ReplicaView) -> &'static str {
    match replica.role {
        ReplicaRole::Leader => "leader",
        ReplicaRole::Follower { .. } => "follower",
        ReplicaRole::Idle => "idle",
    }
}

pub fn sync_word(replica: &ReplicaView) -> &'static str {
    if replica.in_isr { "in sync" } else { "out of sync" }
}

/// `leader 1, epoch 0`.
pub fn told_leader(partition: &PartitionView) -> Label {
    match partition.leader {
        Some(leader) => plain(format!("leader {leader}, epoch {}", partition.leader_epoch)),
        None => (format!("no leader, epoch {}", partition.leader_epoch), true),
    }
}

/// Trouble by exception: `in sync 2 3, out 1`.
pub fn told_isr(partition: &PartitionView) -> Label {
    let out: Vec<BrokerId> =
        partition.replicas.iter().filter(|replica| !partition.isr.contains(replica)).copied().collect();
    let spaced = |ids: &[BrokerId]| ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(" ");
    if out.is_empty() {
        plain(format!("in sync {}", spaced(&partition.isr)))
    } else {
        (format!("in sync {}, out {}", spaced(&partition.isr), spaced(&out)), true)
    }
}

/// A client's lines under its name, at most two.
pub fn client_lines(client: &ClientView, class: Class, now: Instant) -> Vec<Label> {
    if let Some(words) = not_up(client.state, now) {
        return vec![plain(words)];
    }
    let mut lines = match &client.kind {
        ClientKind::Producer { acks, in_flight, .. } => {
            let acks = acks_word(*acks);
            match (class, in_flight) {
                (Class::Narrow, 0) => vec![plain(acks)],
                (Class::Narrow, n) => vec![plain(acks), plain(format!("{n} wait"))],
                (_, 0) => vec![plain(format!("{acks}, nothing waits"))],
                (_, n) => vec![plain(format!("{acks}, waits for {}", counted(u64::from(*n), "answer")))],
            }
        }
        ClientKind::Consumer { read, .. } => {
            let words = if class == Class::Narrow { "read" } else { "has read" };
            vec![plain(format!("{words} {}", counted(*read, "record")))]
        }
        ClientKind::Keeper { last, .. } => vec![plain(last.to_string())],
    };
    if let Some(wait) = &client.waits {
        lines.truncate(1);
        lines.push((format!("{}, for {}", wait.for_what, seconds(now.since(wait.since))), true));
    }
    lines
}

pub fn acks_word(acks: i16) -> String {
    if acks < 0 { "acks=all".into() } else { format!("acks={acks}") }
}

pub fn lane(state: LaneState) -> String {
    match state {
        LaneState::Ok => "open".into(),
        LaneState::Slow { extra } => format!("slow, +{} ms", extra.as_millis()),
        LaneState::Stalled => "stalled".into(),
        LaneState::Cut => "cut".into(),
    }
}

/// The epoch under which a replica's log now grows.
pub fn epoch_of(replica: &ReplicaView) -> String {
    if replica.leader_epoch.0 < 0 {
        "no leader epoch yet".into()
    } else {
        format!("leader epoch {}", replica.leader_epoch)
    }
}

pub fn replica_said(replica: &ReplicaView, broker: &str) -> String {
    format!(
        "{} on {broker}, {}, {}, {}, high watermark {}, log end {}",
        replica.partition,
        replica_role(replica),
        sync_word(replica),
        epoch_of(replica),
        replica.high_watermark,
        replica.log_end
    )
}

/// A share of a time-out that is left, 0 to 1, and whether to warn of it.
pub fn left(timeout: &Timeout, now: Instant) -> (f64, bool) {
    let share = timeout.left(now).0 as f64 / timeout.span.0.max(1) as f64;
    (share.min(1.0), share < 0.25 || timeout.awaited)
}

pub fn left_words(timeout: &Timeout, now: Instant) -> String {
    seconds(timeout.left(now))
}

/// The offset at the foot of every vessel of a partition: equal offset is equal height in each.
pub fn window_start(view: &ClusterView, partition: &TopicPartition, rows: usize) -> i64 {
    let ends =
        view.brokers.iter().flat_map(|broker| &broker.replicas).filter(|replica| replica.partition == *partition);
    let end = ends.map(|replica| replica.log_end.0).max().unwrap_or(0);
    (end - rows as i64).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pane_lists_who_is_out_not_who_is_fine() {
        let mut partition = PartitionView {
            partition: TopicPartition::new("orders", 0),
            leader: Some(BrokerId(2)),
            leader_epoch: glasshouse_core::id::LeaderEpoch(3),
            isr: vec![BrokerId(2), BrokerId(3)],
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        };
        assert_eq!(told_isr(&partition), ("in sync 2 3, out 1".into(), true));
        partition.isr.push(BrokerId(1));
        assert_eq!(told_isr(&partition), ("in sync 2 3 1".into(), false));
        partition.leader = None;
        assert_eq!(told_leader(&partition), ("no leader, epoch 3".into(), true));
    }

    #[test]
    fn lists_read_as_english() {
        let names = |n: usize| (0..n).map(|i| format!("orders-{i}")).collect::<Vec<_>>();
        assert_eq!([listed(&names(1)), listed(&names(3))], ["orders-0", "orders-0, orders-1 and orders-2"]);
        assert_eq!([counted(1, "record"), counted(0, "record")], ["1 record", "0 records"]);
    }
}
