//! The stage's twin: the same nodes, replicas, links and messages as rows, with the same buttons.

use super::actions;
use crate::intent::{Intent, Subject};
use crate::words;
use glasshouse_core::id::NodeId;
use glasshouse_core::view::*;
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub view: Rc<ClusterView>,
    pub on: Callback<Intent>,
}

#[component]
pub fn Table(props: &Props) -> Html {
    let Props { view, on } = props;
    html! {
        <div class="twin" id="table">
            { nodes(view, on) }
            { replicas(view) }
            { links(view, on) }
            { messages(view) }
        </div>
    }
}

fn table(caption: String, heads: &[&'static str], rows: Vec<Vec<Html>>) -> Html {
    let row = |cells: Vec<Html>| {
        let cells = cells.into_iter().enumerate().map(|(column, cell)| {
            if column == 0 {
                html! { <th scope="row">{ cell }</th> }
            } else {
                html! { <td>{ cell }</td> }
            }
        });
        html! { <tr>{ for cells }</tr> }
    };
    html! {
        <table>
            <caption>{ caption }</caption>
            <thead><tr>{ for heads.iter().map(|head| html! { <th scope="col">{ *head }</th> }) }</tr></thead>
            <tbody>{ for rows.into_iter().map(row) }</tbody>
        </table>
    }
}

fn cell(words: impl Into<String>) -> Html {
    let words: String = words.into();
    html! { { words } }
}

fn buttons(view: &ClusterView, subject: &Subject, on: &Callback<Intent>) -> Html {
    let buttons = actions::of(view, subject);
    html! { <div class="acts">{ for buttons.iter().map(|action| actions::button(action, "btn", on)) }</div> }
}

fn nodes(view: &ClusterView, on: &Callback<Intent>) -> Html {
    let row = |node: NodeId, role: String, state: NodeState, figures: String| {
        let state = words::not_up(state, view.now).unwrap_or_else(|| "up".into());
        vec![cell(view.name(node)), cell(role), cell(state), cell(figures), buttons(view, &Subject::Node(node), on)]
    };
    let keepers = view.keepers.iter().map(|keeper| {
        let role = format!("{}, Zab epoch {}", words::keeper_role(keeper.role).0, keeper.zab_epoch);
        row(keeper.node(), role, keeper.state, format!("last {}", keeper.last_zxid))
    });
    let brokers = view.brokers.iter().map(|broker| {
        let registration = view.known.registrations.iter().find(|registration| registration.node == broker.node);
        let session = match registration.map(|registration| registration.state) {
            Some(Registration::Here { expires, .. }) => format!("session {}", words::left_words(&expires, view.now)),
            Some(Registration::Gone { since }) => format!("session gone at {since}"),
            Some(Registration::Never) | None => "not registered yet".into(),
        };
        let role = format!(
            "{}{}",
            words::broker_role(broker, crate::stage::layout::Class::Wide),
            if broker.controller { ", controller" } else { "" }
        );
        row(broker.node, role, broker.state, session)
    });
    let clients = view.clients.iter().map(|client| {
        let lines = words::client_lines(client, crate::stage::layout::Class::Wide, view.now);
        let figures = lines.into_iter().map(|line| line.0).collect::<Vec<_>>().join(", ");
        let role = match client.kind {
            ClientKind::Producer { .. } => "producer",
            ClientKind::Consumer { .. } => "consumer",
            ClientKind::Keeper { .. } => "ZooKeeper client",
        };
        row(client.node, role.into(), client.state, figures)
    });
    let rows = keepers.chain(brokers).chain(clients).collect();
    table(format!("The stage as a table, at {}", view.now), &["Node", "Role", "State", "Figures", "Do"], rows)
}

fn replicas(view: &ClusterView) -> Html {
    let rows = view
        .brokers
        .iter()
        .flat_map(|broker| broker.replicas.iter().map(move |replica| (broker, replica)))
        .map(|(broker, replica)| {
            vec![
                cell(format!("{} on {}", replica.partition, broker.node)),
                cell(words::replica_role(replica)),
                cell(words::epoch_of(replica)),
                cell(words::sync_word(replica)),
                cell(format!("HW {}", replica.high_watermark)),
                cell(format!("end {}", replica.log_end)),
            ]
        })
        .collect();
    table("Replicas".into(), &["Replica", "Role", "Epoch", "In sync", "High watermark", "Log"], rows)
}

fn links(view: &ClusterView, on: &Callback<Intent>) -> Html {
    let rows = view
        .links
        .iter()
        .filter(|link| link.open || link.forth.state != LaneState::Ok || link.back.state != LaneState::Ok)
        .map(|link| {
            let lane = |lane: LaneView| cell(format!("{}, {} on the way", words::lane(lane.state), lane.in_flight));
            let subject = Subject::Link(link.a, link.b);
            vec![cell(actions::name(view, &subject)), lane(link.forth), lane(link.back), buttons(view, &subject, on)]
        })
        .collect();
    table("Links".into(), &["Link", "One way", "The other", "Do"], rows)
}

fn messages(view: &ClusterView) -> Html {
    let rows = view
        .messages
        .iter()
        .take(60)
        .map(|message| {
            vec![
                cell(message.label.to_string()),
                cell(view.name(message.from)),
                cell(view.name(message.to)),
                cell(message.sent.to_string()),
                cell(message.due.to_string()),
            ]
        })
        .collect();
    table("Messages on their way".into(), &["Message", "From", "To", "Sent", "Due"], rows)
}
