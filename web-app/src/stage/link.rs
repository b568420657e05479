//! Lines between nodes, and what was done to them: cut, one-way cut, slow, stalled.

use super::layout::{Layout, Path, Point, Rect};
use super::{Kind, Route, client, is_keeper_client, touch};
use crate::draw::{self, Hang, outline, px};
use crate::intent::{Intent, Subject};
use crate::words;
use glasshouse_core::id::NodeId;
use glasshouse_core::ordered::sort_by;
use glasshouse_core::view::*;
use yew::prelude::*;

/// Every line of the stage. Links that carry nothing and never did are left out.
pub fn routes(view: &ClusterView, layout: &Layout) -> Vec<Route> {
    let keeper = |node: NodeId| view.keepers.iter().position(|keeper| keeper.node() == node);
    let broker = |node: NodeId| view.brokers.iter().position(|broker| broker.node == node);
    let down = |node: NodeId| view.state(node).is_some_and(|state| state.is_down());
    let mut routes: Vec<Route> = Vec::new();
    let mut feet = Vec::new();
    let places = client::places(view, layout);
    for link in &view.links {
        let (a, b) = (link.a, link.b);
        let drawn: Option<(Kind, Path)> = match (keeper(a), keeper(b), broker(a), broker(b)) {
            (Some(from), Some(to), _, _) => Some((Kind::Ensemble, layout.ensemble_link(from, to))),
            (_, _, Some(from), Some(to)) => Some((Kind::Replication, layout.broker_link(from, to))),
            (Some(keeper), _, _, Some(broker)) | (_, Some(keeper), Some(broker), _) if is_session(view, link) => {
                let mut path = layout.session_link(broker, keeper);
                if matches!(a, NodeId::Keeper(_)) {
                    path.points.reverse();
                }
                Some((Kind::Session, path))
            }
            _ => None,
        };
        if let Some((kind, path)) = drawn {
            routes.push(Route { a, b, path, kind, off: down(a) || down(b) });
            continue;
        }
        let (Some(place), other) = (
            places.iter().find(|place| place.client.node == a || place.client.node == b),
            if matches!(a, NodeId::Client(_)) { b } else { a },
        ) else {
            continue;
        };
        if !link.open && ok(link) {
            continue;
        }
        match (is_keeper_client(place.client), keeper(other), broker(other)) {
            (true, Some(keeper), _) => {
                let path = layout.keeper_client_link(place.index, keeper);
                routes.push(Route { a: place.client.node, b: other, path, kind: Kind::Client, off: down(other) });
            }
            (false, _, Some(broker)) => {
                let slot = view.brokers[broker].replicas.iter().position(|replica| replica.role == ReplicaRole::Leader);
                feet.push((place.client.node, other, (place.index, broker, slot)));
            }
            _ => {}
        }
    }
    sort_by(&mut feet, |a, b| (a.2.0, a.2.1).cmp(&(b.2.0, b.2.1)));
    let ends: Vec<_> = feet.iter().map(|foot| foot.2).collect();
    let paths = layout.client_links(&ends);
    routes.extend(feet.iter().zip(paths).map(|((a, b, _), path)| Route {
        a: *a,
        b: *b,
        path,
        kind: Kind::Client,
        off: down(*a) || down(*b),
    }));
    for (index, broker) in view.brokers.iter().enumerate() {
        let connected = routes
            .iter()
            .any(|route| route.kind == Kind::Session && (route.a == broker.node || route.b == broker.node));
        if !connected && index < view.keepers.len() {
            // A session line is there even without a connection: it says that there is none.
            let path = layout.session_link(index, index);
            routes.push(Route { a: broker.node, b: view.keepers[index].node(), path, kind: Kind::Session, off: true });
        }
    }
    routes
}

fn ok(link: &LinkView) -> bool {
    link.forth.state == LaneState::Ok && link.back.state == LaneState::Ok
}

/// A broker's line to a keeper is its session's: drawn to the keeper that it hangs on.
fn is_session(view: &ClusterView, link: &LinkView) -> bool {
    let (broker, keeper) = if matches!(link.a, NodeId::Broker(_)) { (link.a, link.b) } else { (link.b, link.a) };
    let attached = view.broker(broker).and_then(|broker| broker.keeper).map(NodeId::Keeper);
    match attached {
        Some(attached) => attached == keeper,
        None => link.open,
    }
}

pub fn draw(
    view: &ClusterView,
    route: &Route,
    layout: &Layout,
    selected: &Option<Subject>,
    on: &Callback<Intent>,
) -> Html {
    let kind = match route.kind {
        Kind::Ensemble => "ens",
        Kind::Session => "sess",
        Kind::Replication => "rep",
        Kind::Client => "cli",
    };
    let d = outline(&route.path);
    let name = match (route.kind, route.a, route.b) {
        (Kind::Session, broker @ NodeId::Broker(_), _) | (Kind::Session, _, broker) => format!("session of {broker}"),
        (_, a, b) => format!("link {} to {}", view.name(a), view.name(b)),
    };
    let link = view.link(route.a, route.b);
    let state = link.map(|link| marks(route, link, layout)).unwrap_or_default();
    let said = match link.filter(|link| !ok(link)) {
        Some(link) => {
            format!("{name}, {} one way, {} the other", words::lane(link.forth.state), words::lane(link.back.state))
        }
        None => name,
    };
    let is = selected.as_ref().is_some_and(|subject| subject.is_link(route.a, route.b));
    let around = is.then(|| draw::brackets(around(route, layout)));
    html! {
        <g class={classes!("link", kind)}>
            <path class={classes!("lk", kind, route.off.then_some("off"))} d={d.clone()} />
            { state }
            <path class="hit" {d} role="button" tabindex="-1" aria-label={said.clone()} onclick={touch(on, Subject::Link(route.a, route.b))}>
                <title>{ said }</title>
            </path>
            { around }
        </g>
    }
}

/// What was done to the link, drawn at its middle.
fn marks(route: &Route, link: &LinkView, layout: &Layout) -> Html {
    if ok(link) {
        return html! {};
    }
    let (at, ahead) = middle(route, layout);
    // `forth` is the link's own direction; the route may run the other way.
    let (forth, back) = if link.a == route.a { (link.forth, link.back) } else { (link.back, link.forth) };
    let turn = ahead.y.atan2(ahead.x).to_degrees();
    let frame = format!("translate({} {}) rotate({})", px(at.x), px(at.y), px(turn));
    let mark = match (forth.state, back.state) {
        (LaneState::Cut, LaneState::Cut) => {
            html! { <><path class="gap" d="M-9 0H9" /><path class="bar" d="M-5 -9V9M5 -9V9" /></> }
        }
        (LaneState::Cut, _) => html! { <path class="bar" d="M0 1V10" /> },
        (_, LaneState::Cut) => html! { <path class="bar" d="M0 -1V-10" /> },
        (LaneState::Stalled, LaneState::Stalled) => html! { <path class="bar" d="M0 -10V10" /> },
        (LaneState::Stalled, _) => html! { <path class="bar" d="M0 1V12" /> },
        (_, LaneState::Stalled) => html! { <path class="bar" d="M0 -1V-12" /> },
        _ => {
            html! { <><path class="gap" d="M-15 0H15" /><path class="wave" d="M-15 0C-9 0 -9 -9 -5 -9S2 9 7 9S9 0 15 0" /></> }
        }
    };
    let delay = [forth.state, back.state].into_iter().find_map(|lane| match lane {
        LaneState::Slow { extra } => Some(format!("+{} ms", extra.as_millis())),
        LaneState::Ok | LaneState::Stalled | LaneState::Cut => None,
    });
    let words = delay.map(|delay| draw::text(Point { x: at.x, y: at.y - 13.0 }, "lbl f10", Hang::Middle, delay));
    html! { <g class="mark"><g transform={frame}>{ mark }</g>{ words }</g> }
}

/// What the brackets of a selected link stand around: the place of its mark.
pub fn around(route: &Route, layout: &Layout) -> Rect {
    let (at, _) = middle(route, layout);
    Rect { x: at.x - 20.0, y: at.y - 20.0, w: 40.0, h: 40.0 }
}

/// Where marks stand, and which way the route goes there: the middle, or for a session between its broker and the pane.
fn middle(route: &Route, layout: &Layout) -> (Point, Point) {
    match (route.kind, route.path.points.first(), route.path.points.last()) {
        (Kind::Session, Some(first), Some(last)) => {
            // The broker stands below.
            let (foot, up) = if first.y > last.y { (first, -1.0) } else { (last, 1.0) };
            (Point { x: foot.x, y: (foot.y + layout.bands().pane_bottom) / 2.0 }, Point { x: 0.0, y: up })
        }
        _ => route.path.at(0.5),
    }
}
