//! Clients at the foot of the stage: a producer's arrow points up, a consumer's down; ZooKeeper's own clients are
//! squares on their corner, beside the ensemble.

use super::layout::{Class, Layout, Point, Rect};
use super::{element_id, is_keeper_client, label, touch};
use crate::draw::{self, Hang, px};
use crate::intent::{Intent, Subject};
use crate::words;
use glasshouse_core::view::*;
use yew::prelude::*;

/// Where a client stands.
pub struct Place<'a> {
    pub client: &'a ClientView,
    pub at: Point,
    /// Its number among the producers and consumers, or among ZooKeeper's clients.
    pub index: usize,
}

pub fn places<'a>(view: &'a ClusterView, layout: &Layout) -> Vec<Place<'a>> {
    let (mut foot, mut corner) = (0, 0);
    view.clients
        .iter()
        .map(|client| {
            let count = if is_keeper_client(client) { &mut corner } else { &mut foot };
            let index = *count;
            *count += 1;
            let at = if is_keeper_client(client) { layout.keeper_client(index) } else { layout.client(index) };
            Place { client, at, index }
        })
        .collect()
}

pub fn draw(view: &ClusterView, layout: &Layout, place: &Place<'_>, selected: bool, on: &Callback<Intent>) -> Html {
    let Place { client, at, index } = place;
    if is_keeper_client(client) && layout.class == Class::Narrow {
        return html! {};
    }
    let lines = words::client_lines(client, layout.class, view.now);
    let said = format!("{}, {}", client.name, lines.iter().map(|line| line.0.as_str()).collect::<Vec<_>>().join(", "));
    let half = layout.client_half();
    let (x, y) = (at.x, at.y);
    let narrow = layout.class == Class::Narrow;
    // The roof is three eighths as high as the body is wide.
    let roof = half * 0.75;
    let body = match client.kind {
        ClientKind::Producer { .. } => {
            let side = half * 1.05;
            format!(
                "M{} {}l{h} {r}v{s}h-{}v-{s}z",
                px(x),
                px(y - 14.0 + (15.0 - half)),
                px(2.0 * half),
                h = px(half),
                r = px(roof),
                s = px(side)
            )
        }
        ClientKind::Consumer { .. } => {
            let side = half * 1.05;
            format!(
                "M{} {}h{}v{s}l-{h} {r}l-{h} -{r}z",
                px(x - half),
                px(y - 12.0 + (15.0 - half) * 0.5),
                px(2.0 * half),
                h = px(half),
                r = px(roof),
                s = px(side)
            )
        }
        ClientKind::Keeper { .. } => format!("M{} {}l12 12l-12 12l-12 -12z", px(x), px(y - 12.0)),
    };
    let (state, sign) = match client.state {
        NodeState::Up { .. } => ("", None),
        NodeState::Paused { .. } => ("paused", Some("bars")),
        NodeState::Down { .. } => ("down", Some("cross")),
    };
    let size = if narrow { "f12" } else { "f13" };
    let name = if is_keeper_client(client) {
        label(Point { x: x - 20.0, y: y - 4.0 }, Hang::End, &client.name, size, &lines, 14.0)
    } else {
        let at = Point { x: x + half + 9.0, y: y - if narrow { 2.0 } else { 3.0 } };
        label(at, Hang::Start, &client.name, size, &lines, 14.0)
    };
    let around = if is_keeper_client(client) {
        Rect { x: x - 18.0, y: y - 18.0, w: 36.0, h: 36.0 }
    } else {
        layout.around_client(*index)
    };
    html! {
        <>
            <g class={classes!("client", state)} role="button" tabindex="-1" id={element_id(client.node)} aria-label={said.clone()}
                aria-pressed={selected.to_string()} onclick={touch(on, Subject::Node(client.node))}>
                <title>{ said }</title>
                <path class="body" d={body} />
                if let Some(sign) = sign {
                    { draw::shape(sign, x - 6.0, y - 6.0, 12.0, 12.0) }
                }
            </g>
            { name }
            if selected {
                { draw::brackets(around) }
            }
        </>
    }
}
