//! What is selected, in figures, with what can be done to it.

use super::actions;
use crate::draw::seconds;
use crate::intent::{Intent, Subject};
use crate::words;
use glasshouse_core::id::NodeId;
use glasshouse_core::view::*;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub view: Rc<ClusterView>,
    pub selected: Option<Subject>,
    pub on: Callback<Intent>,
}

/// A name, what is said of it at the right, and the rows.
struct Sheet {
    aside: String,
    rows: Vec<(&'static str, String)>,
}

#[component]
pub fn Inspector(props: &Props) -> Html {
    let Props { view, selected, on } = props;
    let Some(subject) = selected else {
        return html! {
            <section class="insp" aria-label="Selected"><h2><small>{ "Selected" }</small>{ " nothing" }</h2><p class="none">{ "Click anything." }</p></section>
        };
    };
    let Sheet { aside, rows } = sheet(view, subject);
    let buttons = actions::of(view, subject);
    html! {
        <section class="insp" aria-label="Selected">
            <h2><small>{ "Selected" }</small>{ " " }{ actions::name(view, subject) }<span class="r">{ aside }</span></h2>
            <dl>{ for rows.into_iter().filter(|row| !row.1.is_empty()).map(|(name, value)| html! { <><dt>{ name }</dt><dd>{ value }</dd></> }) }</dl>
            <div class="acts">{ for buttons.iter().map(|action| actions::button(action, "btn", on)) }</div>
        </section>
    }
}

fn sheet(view: &ClusterView, subject: &Subject) -> Sheet {
    let found = match subject {
        Subject::Node(node @ NodeId::Keeper(_)) => view.keeper(*node).map(|keeper| of_keeper(view, keeper)),
        Subject::Node(node @ NodeId::Broker(_)) => view.broker(*node).map(|broker| of_broker(view, broker)),
        Subject::Node(node) => view.client(*node).map(|client| of_client(view, client)),
        Subject::Link(a, b) => view.link(*a, *b).map(|link| of_link(view, link)),
        Subject::Replica(node, partition) => view
            .broker(*node)
            .and_then(|broker| broker.replicas.iter().find(|replica| replica.partition == *partition))
            .map(of_replica),
        Subject::Message(id) => {
            view.messages.iter().find(|message| message.id == *id).map(|message| of_message(view, message))
        }
    };
    found.unwrap_or(Sheet { aside: String::new(), rows: vec![("", "It is no longer there.".into())] })
}

fn since(state: NodeState) -> String {
    match state {
        NodeState::Up { since } => format!("up since {since}"),
        NodeState::Paused { since } => format!("paused since {since}"),
        NodeState::Down { since } => format!("down since {since}"),
    }
}

/// Who can reach it while it runs: machines that run, over lanes that are not cut.
fn hears_from(view: &ClusterView, node: NodeId) -> String {
    let runs = |node: NodeId| view.state(node).is_some_and(|state| state.is_up());
    let names: Vec<String> = view
        .links
        .iter()
        .filter_map(|link| {
            let (other, inward) = if link.a == node { (link.b, link.back) } else { (link.a, link.forth) };
            let mine = link.a == node || link.b == node;
            let through = matches!(inward.state, LaneState::Ok | LaneState::Slow { .. });
            (mine && link.open && through && runs(node) && runs(other)).then(|| view.name(other))
        })
        .collect();
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}

fn of_keeper(view: &ClusterView, keeper: &KeeperView) -> Sheet {
    let role = match keeper.role {
        KeeperRole::Looking { vote, votes } => {
            format!("looking for a leader: votes for keeper-{vote}, {}", words::counted(u64::from(votes), "vote"))
        }
        KeeperRole::Following { leader } => format!("follows keeper-{leader}"),
        KeeperRole::Leading { established: true } => "leads the ensemble".into(),
        KeeperRole::Leading { established: false } => "leads nobody: no quorum follows it".into(),
        KeeperRole::Observing { leader: Some(leader) } => format!("observes, fed by keeper-{leader}"),
        KeeperRole::Observing { leader: None } => "observes, looking for a leader".into(),
    };
    let timeout = keeper.timeout.map_or_else(String::new, |timeout| {
        format!("{} of {} left", seconds(timeout.left(view.now)), seconds(timeout.span))
    });
    Sheet {
        aside: since(keeper.state),
        rows: vec![
            ("role", format!("{role}, Zab epoch {}", keeper.zab_epoch)),
            (
                "last write",
                keeper
                    .txns
                    .last()
                    .map_or_else(|| keeper.last_zxid.to_string(), |txn| format!("{}, {}", txn.zxid, txn.label)),
            ),
            ("sessions", keeper.sessions.to_string()),
            ("time-out", timeout),
            ("hears from", hears_from(view, keeper.node())),
            ("suffers", ailments(&keeper.ailments)),
        ],
    }
}

fn ailments(all: &[Ailment]) -> String {
    all.iter().map(|ailment| words::ailment(*ailment)).collect::<Vec<_>>().join(", ")
}

fn of_broker(view: &ClusterView, broker: &BrokerView) -> Sheet {
    let registration = view.known.registrations.iter().find(|registration| registration.node == broker.node);
    let session = match registration.map(|registration| registration.state) {
        Some(Registration::Here { expires, at, .. }) => {
            let at = at.map_or_else(String::new, |keeper| format!(", at keeper-{keeper}"));
            format!("{} of {} left{at}", seconds(expires.left(view.now)).trim_end_matches(" s"), seconds(expires.span))
        }
        Some(Registration::Gone { since }) => format!("gone at {since}"),
        Some(Registration::Never) | None => "none yet".into(),
    };
    Sheet {
        aside: since(broker.state),
        rows: vec![
            ("leads", words::partitions(broker, |role| role == ReplicaRole::Leader)),
            ("follows", words::partitions(broker, |role| matches!(role, ReplicaRole::Follower { .. }))),
            ("session", session),
            (
                "controller",
                if broker.controller { format!("yes, epoch {}", view.known.controller_epoch) } else { String::new() },
            ),
            ("hears from", hears_from(view, broker.node)),
            ("suffers", ailments(&broker.ailments)),
        ],
    }
}

fn of_client(view: &ClusterView, client: &ClientView) -> Sheet {
    let mut rows = match &client.kind {
        ClientKind::Producer { acks, idempotent, in_flight, acknowledged, failed } => vec![
            ("settings", format!("{}{}", words::acks_word(*acks), if *idempotent { ", idempotent" } else { "" })),
            ("in flight", words::counted(u64::from(*in_flight), "record")),
            ("told yes", words::counted(*acknowledged, "record")),
            ("told no", if *failed > 0 { words::counted(*failed, "record") } else { String::new() }),
        ],
        ClientKind::Consumer { read, positions } => {
            let at = positions.iter().map(|position| format!("{} at {}", position.partition, position.next));
            vec![("has read", words::counted(*read, "record")), ("next", at.collect::<Vec<_>>().join(", "))]
        }
        ClientKind::Keeper { in_flight, acknowledged, failed, last } => vec![
            ("last", last.to_string()),
            ("in flight", words::counted(u64::from(*in_flight), "write")),
            ("told yes", words::counted(*acknowledged, "write")),
            ("told no", if *failed > 0 { words::counted(*failed, "write") } else { String::new() }),
        ],
    };
    rows.push((
        "waits for",
        client.waits.as_ref().map_or_else(String::new, |wait| format!("{}, since {}", wait.for_what, wait.since)),
    ));
    rows.push(("hears from", hears_from(view, client.node)));
    Sheet { aside: since(client.state), rows }
}

fn of_link(view: &ClusterView, link: &LinkView) -> Sheet {
    let lane = |lane: LaneView| format!("{}, {} on the way", words::lane(lane.state), lane.in_flight);
    Sheet {
        aside: if link.open { "connected".into() } else { "not connected".into() },
        rows: vec![
            ("one way", format!("to {}: {}", view.name(link.b), lane(link.forth))),
            ("the other", format!("to {}: {}", view.name(link.a), lane(link.back))),
        ],
    }
}

fn of_replica(replica: &ReplicaView) -> Sheet {
    let epochs: Vec<String> =
        replica.epochs.iter().map(|entry| format!("{} from {}", entry.epoch, entry.start)).collect();
    Sheet {
        aside: format!("{}, {}", words::replica_role(replica), words::sync_word(replica)),
        rows: vec![
            ("leads now", words::epoch_of(replica)),
            ("epochs", epochs.join(", ")),
            ("log", format!("from {}, ends at {}", replica.log_start, replica.log_end)),
            ("committed", format!("below {}", replica.high_watermark)),
        ],
    }
}

fn of_message(view: &ClusterView, message: &MessageView) -> Sheet {
    Sheet {
        aside: match message.kind {
            MessageKind::Request => "request".into(),
            MessageKind::Reply { granted: Some(false) } => "reply, refused".into(),
            MessageKind::Reply { .. } => "reply".into(),
            MessageKind::Heartbeat => "heartbeat".into(),
        },
        rows: vec![
            ("from", view.name(message.from)),
            ("to", view.name(message.to)),
            ("sent", message.sent.to_string()),
            ("due", message.due.to_string()),
            (
                "carries",
                if message.records > 0 { words::counted(u64::from(message.records), "record") } else { String::new() },
            ),
        ],
    }
}
