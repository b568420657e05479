//! The animated picture: one SVG, drawn from a view and a layout. What stands still is drawn by components that are
//! skipped while what they show is unchanged.

mod broker;
mod client;
mod keeper;
pub mod layout;
mod link;
mod message;
mod pane;
mod strip;

use crate::draw::{self, Hang, px};
use crate::intent::{Intent, Stone, Subject};
use crate::words;
use glasshouse_core::id::NodeId;
use glasshouse_core::view::*;
use layout::{Class, Counts, Layout, Path, Point};
use std::rc::Rc;
use wasm_bindgen::JsCast;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub view: Rc<ClusterView>,
    pub class: Class,
    pub selected: Option<Subject>,
    pub armed: Option<Stone>,
    /// Messages carry their names.
    pub labels: bool,
    pub on: Callback<Intent>,
}

/// A line of the stage and who stands at its ends.
pub struct Route {
    pub a: NodeId,
    pub b: NodeId,
    pub path: Path,
    pub kind: Kind,
    /// Nothing can go there now: an end is down.
    pub off: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Ensemble,
    Session,
    Replication,
    Client,
}

pub fn layout_of(view: &ClusterView, class: Class) -> Layout {
    let vessels = view.brokers.iter().map(|broker| broker.replicas.len()).max().unwrap_or(0).clamp(2, VESSELS_MOST);
    let clients = view.clients.iter().filter(|client| !is_keeper_client(client)).count();
    Layout::new(class, Counts { keepers: view.keepers.len(), brokers: view.brokers.len(), clients, vessels })
}

/// A broker with more shows these and a count.
const VESSELS_MOST: usize = 8;

fn is_keeper_client(client: &ClientView) -> bool {
    matches!(client.kind, ClientKind::Keeper { .. })
}

/// Calls back with a touch of `subject`.
pub fn touch(on: &Callback<Intent>, subject: Subject) -> Callback<MouseEvent> {
    on.reform(move |event: MouseEvent| {
        event.stop_propagation();
        Intent::Touch(subject.clone())
    })
}

/// The element of a node, for focus to walk to.
pub fn element_id(node: NodeId) -> String {
    format!("at-{node}")
}

#[component]
pub fn Stage(props: &Props) -> Html {
    let Props { view, class, selected, armed, labels, on } = props;
    let layout = layout_of(view, *class);
    let (w, h) = class.size();
    let routes = link::routes(view, &layout);
    let is = |node: NodeId| selected.as_ref().is_some_and(|subject| subject.is_node(node));
    let stop = tab_stop(view, selected);
    let keepers = view.keepers.iter().enumerate().map(|(index, keeper)| {
        html! {
            <keeper::Keeper key={keeper.id.0} keeper={keeper.clone()} {index} {layout} selected={is(keeper.node())}
                stop={stop == Some(keeper.node())} now={drawn_now(view, keeper.state, keeper.timeout.is_some())} on={on.clone()} />
        }
    });
    let brokers = view.brokers.iter().enumerate().map(|(index, broker)| {
        let lag = broker.replicas.iter().any(|replica| replica.lag.is_some());
        let chosen = match selected {
            Some(Subject::Replica(node, partition)) if *node == broker.node => Some(partition.clone()),
            _ => None,
        };
        let foot: Vec<i64> = broker
            .replicas
            .iter()
            .map(|replica| words::window_start(view, &replica.partition, layout.vessel(0, 0).rows))
            .collect();
        html! {
            <broker::Broker key={broker.node.to_string()} broker={broker.clone()} {index} {layout} {foot} {chosen}
                selected={is(broker.node)} now={drawn_now(view, broker.state, lag)} on={on.clone()} />
        }
    });
    let clients = client::places(view, &layout)
        .into_iter()
        .map(|place| client::draw(view, &layout, &place, is(place.client.node), on));
    let onclick = on.reform(|_: MouseEvent| Intent::Select(None));
    html! {
        <div class={classes!("sv", class.name(), armed.map(|_| "armed"))} {onclick} onkeydown={walk(view, on)}>
            <svg class={classes!("st", class.name())} viewBox={format!("0 0 {} {}", px(w), px(h))} preserveAspectRatio="xMidYMin meet"
                role="group" aria-label={summary(view)}>
                { pane::bands(&layout) }
                { for routes.iter().map(|route| link::draw(view, route, &layout, selected, on)) }
                { for keepers }
                { pane::draw(view, &layout) }
                { for brokers }
                { for clients }
                { message::draw(view, &routes, selected, *labels && *class != Class::Narrow, on) }
                { causes(view, &layout) }
            </svg>
            { strip::draw(view, &layout, &routes, selected, on) }
        </div>
    }
}

/// The one element of the stage that Tab reaches; arrows walk on from there.
fn tab_stop(view: &ClusterView, selected: &Option<Subject>) -> Option<NodeId> {
    match selected {
        Some(Subject::Node(node)) if matches!(node, NodeId::Keeper(_)) => Some(*node),
        _ => view.keepers.first().map(KeeperView::node),
    }
}

/// The moment a component needs, to a tenth of a second, or none: then it is not drawn anew as time goes by.
fn drawn_now(view: &ClusterView, state: NodeState, timing: bool) -> glasshouse_core::time::Instant {
    if timing {
        view.now
    } else if state.is_up() {
        glasshouse_core::time::Instant::ZERO
    } else {
        glasshouse_core::time::Instant(view.now.0 / 100_000_000 * 100_000_000)
    }
}

/// What a reader who cannot see the stage is told of it.
fn summary(view: &ClusterView) -> String {
    let down: Vec<String> = view
        .keepers
        .iter()
        .map(|keeper| (keeper.node(), keeper.state))
        .chain(view.brokers.iter().map(|broker| (broker.node, broker.state)))
        .filter(|(_, state)| !state.is_up())
        .map(|(node, _)| node.to_string())
        .collect();
    let counts = format!(
        "The cluster: {}, {}, {}.",
        words::counted(view.keepers.len() as u64, "keeper"),
        words::counted(view.brokers.len() as u64, "broker"),
        words::counted(view.clients.len() as u64, "client")
    );
    match down.len() {
        0 => format!("{counts} All are up."),
        1 => format!("{counts} {} is not up.", down[0]),
        _ => format!("{counts} {} are not up.", words::listed(&down)),
    }
}

/// Arrows walk: up and down the strata, left and right within; Enter opens.
fn walk(view: &Rc<ClusterView>, on: &Callback<Intent>) -> Callback<KeyboardEvent> {
    let strata: [Vec<NodeId>; 3] = [
        view.keepers.iter().map(KeeperView::node).collect(),
        view.brokers.iter().map(|broker| broker.node).collect(),
        view.clients.iter().map(|client| client.node).collect(),
    ];
    let on = on.clone();
    Callback::from(move |event: KeyboardEvent| {
        let Some(document) = web_sys::window().and_then(|window| window.document()) else { return };
        let focused = document.active_element().map(|element| element.id()).unwrap_or_default();
        let Some(node) = focused.strip_prefix("at-").and_then(NodeId::parse) else { return };
        let Some(row) = strata.iter().position(|row| row.contains(&node)) else { return };
        let column = strata[row].iter().position(|other| *other == node).unwrap_or(0);
        let (row, column) = match event.key().as_str() {
            "ArrowUp" if row > 0 => (row - 1, column),
            "ArrowDown" if row < 2 => (row + 1, column),
            "ArrowLeft" if column > 0 => (row, column - 1),
            "ArrowRight" => (row, column + 1),
            "Enter" => {
                on.emit(Intent::Touch(Subject::Node(node)));
                return;
            }
            "ArrowUp" | "ArrowDown" | "ArrowLeft" => (row, column),
            _ => return,
        };
        event.prevent_default();
        event.stop_propagation();
        if let Some(next) = strata[row].get(column.min(strata[row].len().saturating_sub(1)))
            && let Some(element) = document.get_element_by_id(&element_id(*next))
        {
            // SVG's elements have this of HTML's.
            let _ = element.unchecked_into::<web_sys::HtmlElement>().focus();
        }
    })
}

/// The numbered dots of the last cause; the same numbers stand in the story.
fn causes(view: &ClusterView, layout: &Layout) -> Html {
    let broker_at = |node: NodeId| view.brokers.iter().position(|broker| broker.node == node);
    let place = |place: &Place| match place {
        Place::Node(NodeId::Keeper(id)) => {
            let disc = layout.disc(view.keepers.iter().position(|keeper| keeper.id == *id)?);
            let aside = layout.disc_radius() * 0.78 + 8.0;
            Some(Point { x: disc.x - aside, y: disc.y + aside })
        }
        Place::Node(node @ NodeId::Broker(_)) => {
            let cabinet = layout.cabinet(broker_at(*node)?);
            Some(Point { x: cabinet.x, y: cabinet.y + 24.0 })
        }
        Place::Node(node) => {
            let place = client::places(view, layout).into_iter().find(|place| place.client.node == *node)?;
            Some(Point { x: place.at.x - layout.client_half() - 13.0, y: place.at.y })
        }
        Place::Registration(broker) => {
            let index = view.brokers.iter().position(|other| other.broker == *broker)?;
            let (ring, radius) = layout.ring(index);
            Some(Point { x: ring.x - radius - 13.0, y: ring.y })
        }
        Place::Replica(node, partition) => {
            let index = broker_at(*node)?;
            let slot = view.brokers[index].replicas.iter().position(|replica| replica.partition == *partition)?;
            let glass = layout.vessel(index, slot).glass;
            Some(Point { x: if slot == 0 { layout.cabinet(index).x } else { glass.x - 8.0 }, y: glass.y + 15.0 })
        }
    };
    let dots =
        view.causes.iter().enumerate().filter_map(|(index, step)| Some(draw::dot(place(&step.place)?, index + 1)));
    html! { <g aria-hidden="true">{ for dots }</g> }
}

/// A name at a point with lines under it, as all labels of the stage are set.
pub fn label(at: Point, hang: Hang, name: &str, size: &'static str, lines: &[words::Label], step: f64) -> Html {
    let rest = lines.iter().enumerate().map(|(index, (line, warn))| {
        let class = classes!(if size == "f12" { "f10" } else { "f11" }, if *warn { "warn" } else { "t2" });
        draw::text(Point { x: at.x, y: at.y + 1.0 + step * (index as f64 + 1.0) }, class, hang, line.clone())
    });
    html! { <>{ draw::text(at, classes!(size, "b"), hang, name.to_owned()) }{ for rest }</> }
}
