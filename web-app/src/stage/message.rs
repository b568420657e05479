//! Messages in flight: a drop with its nose forward, a bead for each record behind. Where one is follows from when it
//! was sent and when it is due, so the picture is right at any moment one jumps to.

use super::layout::{Point, Rect};
use super::{Kind, Route, touch};
use crate::draw::{self, Hang, px};
use crate::intent::{Intent, Subject};
use glasshouse_core::view::*;
use yew::prelude::*;

/// At most so many are drawn; each link counts all of its own.
const DRAWN_MOST: usize = 60;
/// Traffic keeps right by this much.
const ASIDE: f64 = 4.5;
const BEADS_MOST: u32 = 5;

pub fn draw(
    view: &ClusterView,
    routes: &[Route],
    selected: &Option<Subject>,
    labels: bool,
    on: &Callback<Intent>,
) -> Html {
    let mut taken: Vec<Rect> = Vec::new();
    let drawn = view.messages.iter().filter_map(|message| Some((message, place(view, routes, message)?)));
    let drawn = drawn.take(DRAWN_MOST).map(|(message, (route, at, ahead))| {
        let is = *selected == Some(Subject::Message(message.id));
        let wants = is || labels && message.kind != MessageKind::Heartbeat && message.lost.is_none();
        let name = wants.then(|| name(message, route, at, ahead, is, &mut taken)).flatten();
        html! { <g key={message.id}>{ body(view, message, at, ahead, on) }{ name }</g> }
    });
    html! { <g class="messages">{ for drawn }</g> }
}

/// The line a message travels, where it is on it, and which way it looks.
fn place<'a>(view: &ClusterView, routes: &'a [Route], message: &MessageView) -> Option<(&'a Route, Point, Point)> {
    let ends = (message.from, message.to);
    let route = routes.iter().find(|route| (route.a, route.b) == ends || (route.b, route.a) == ends)?;
    let back = route.a != message.from;
    let whole = message.due.since(message.sent).0.max(1) as f64;
    let until = message.lost.unwrap_or(view.now).min(view.now);
    let mut share = until.since(message.sent).0 as f64 / whole;
    // On a stalled lane messages queue before the bar.
    let lane =
        view.link(message.from, message.to).map(|link| if link.a == message.from { link.forth } else { link.back });
    if lane.is_some_and(|lane| lane.state == LaneState::Stalled) {
        let before =
            view.messages.iter().filter(|other| (other.from, other.to) == ends && other.id < message.id).count();
        share = share.min(0.47 - 0.05 * before.min(8) as f64);
    }
    let (at, ahead) = route.path.lane(share, back, ASIDE);
    Some((route, at, ahead))
}

fn body(view: &ClusterView, message: &MessageView, at: Point, ahead: Point, on: &Callback<Intent>) -> Html {
    let (kind, sign) = match message.kind {
        MessageKind::Request => ("req", None),
        MessageKind::Reply { granted } => ("rep", granted),
        MessageKind::Heartbeat => ("hb", None),
    };
    let said = format!("{}, from {} to {}", message.label, view.name(message.from), view.name(message.to));
    let (x, y) = (px(at.x), px(at.y));
    let shape = if message.lost.is_some() {
        html! { <path class="burst" d={format!("M{x} {y}m-5 -5l10 10m0 -10l-10 10")} /> }
    } else if message.kind == MessageKind::Heartbeat {
        html! { <circle cx={x} cy={y} r="3" /> }
    } else {
        let turn = px(ahead.y.atan2(ahead.x).to_degrees());
        let mark = sign.map(|granted| {
            let upright = if granted { "m-2.6 -2.6v5.2" } else { "" };
            html! { <path class="sgn" d={format!("M{x} {y}m-2.6 0h5.2{upright}")} /> }
        });
        html! {
            <>
                { for beads(message, at, ahead) }
                <path class="head" transform={format!("translate({x} {y}) rotate({turn})")} d="M8.5 0L1.6 -5.3A5.5 5.5 0 1 0 1.6 5.3Z" />
                { mark }
            </>
        }
    };
    html! {
        <g class={classes!("msg", kind)} role="button" tabindex="-1" aria-label={said.clone()} onclick={touch(on, Subject::Message(message.id))}>
            <title>{ said }</title>
            { shape }
        </g>
    }
}

/// One for each record, in the hue of their epoch; above five a number.
fn beads(message: &MessageView, at: Point, ahead: Point) -> Vec<Html> {
    let hue = message.epoch.map_or("en", draw::hue);
    let behind = |by: f64| Point { x: at.x - ahead.x * by, y: at.y - ahead.y * by };
    if message.records > BEADS_MOST {
        let at = behind(14.0);
        return vec![draw::text(
            Point { x: at.x, y: at.y + 3.5 },
            "lbl f10",
            Hang::Middle,
            message.records.to_string(),
        )];
    }
    (0..message.records)
        .map(|bead| {
            let centre = behind(11.0 + 7.5 * f64::from(bead));
            draw::rect(Rect { x: centre.x - 3.2, y: centre.y - 3.2, w: 6.4, h: 6.4 }, classes!("bead", hue))
        })
        .collect()
}

/// The message's name beside it, where no other name stands already.
fn name(
    message: &MessageView,
    route: &Route,
    at: Point,
    ahead: Point,
    insist: bool,
    taken: &mut Vec<Rect>,
) -> Option<Html> {
    let width = message.label.chars().count() as f64 * 5.6;
    let lying = ahead.x.abs() >= ahead.y.abs();
    let above = matches!(route.kind, Kind::Ensemble | Kind::Replication) && ahead.x < 0.0;
    let (anchor, hang) = match (lying, above) {
        (true, true) => (Point { x: at.x, y: at.y - 10.0 }, Hang::Middle),
        (true, false) => (Point { x: at.x, y: at.y + 19.0 }, Hang::Middle),
        (false, _) => (Point { x: at.x + 11.0, y: at.y + 3.5 }, Hang::Start),
    };
    let left = if hang == Hang::Middle { anchor.x - width / 2.0 } else { anchor.x };
    let around = Rect { x: left - 2.0, y: anchor.y - 10.0, w: width + 4.0, h: 13.0 };
    if !insist && taken.iter().any(|other| other.overlaps(&around)) {
        return None;
    }
    taken.push(around);
    Some(draw::text(anchor, "lbl f10", hang, message.label.to_string()))
}
