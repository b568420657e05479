//! A keeper: a disc in the hue of its Zab epoch, its role in shape and word, its journal's last writes beside it.

use super::layout::{Class, Layout, Point, Rect, sin_cos};
use super::{element_id, label, touch};
use crate::draw::{self, Hang, px};
use crate::intent::{Intent, Subject};
use crate::words;
use glasshouse_core::time::Instant;
use glasshouse_core::view::*;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub keeper: KeeperView,
    pub index: usize,
    pub layout: Layout,
    pub selected: bool,
    pub stop: bool,
    pub now: Instant,
    pub on: Callback<Intent>,
}

#[component]
pub fn Keeper(props: &Props) -> Html {
    let Props { keeper, index, layout, selected, stop, now, on } = props;
    let (disc, radius) = (layout.disc(*index), layout.disc_radius());
    let (look, crown) = match keeper.role {
        KeeperRole::Looking { .. } => ("looking", None),
        KeeperRole::Following { .. } => ("following", None),
        KeeperRole::Leading { established: true } => ("leading", Some("crown")),
        KeeperRole::Leading { established: false } => ("leading claim", Some("crown-hollow")),
        KeeperRole::Observing { .. } => ("observing", None),
    };
    let up = keeper.state.is_up();
    let down = keeper.state.is_down();
    let state = if up {
        look
    } else if down {
        "down"
    } else {
        "paused"
    };
    let lines = lines(props);
    let said =
        format!("{}, {}", keeper.node(), lines.iter().map(|line| line.0.as_str()).collect::<Vec<_>>().join(", "));
    let ring = keeper.timeout.filter(|_| !down).map(|timeout| {
        let (left, warn) = words::left(&timeout, *now);
        draw::ring(disc, radius + 9.0, left, warn)
    });
    let circle = |class: &'static str, r: f64| html! { <circle {class} cx={px(disc.x)} cy={px(disc.y)} r={px(r)} /> };
    let crown_w = if layout.class == Class::Narrow { 15.0 } else { 18.0 };
    let (name_at, runs_left) = layout.keeper_label(*index);
    let hang = if runs_left { Hang::End } else { Hang::Start };
    let narrow = layout.class == Class::Narrow;
    html! {
        <>
            <g class={classes!("keeper", draw::zab_hue(keeper.zab_epoch.0), state)} role="button" id={element_id(keeper.node())}
                tabindex={if *stop { "0" } else { "-1" }} aria-label={said.clone()} aria-pressed={selected.to_string()}
                onclick={touch(on, Subject::Node(keeper.node()))}>
                <title>{ said }</title>
                { ring }
                if crown.is_some() && !down {
                    { circle("halo", radius + 4.5) }
                }
                { circle("disc", radius) }
                if !up && !down {
                    { circle("hatch", radius) }
                }
                { draw::text(Point { x: disc.x, y: disc.y + 5.5 }, "f16 b", Hang::Middle, keeper.id.to_string()) }
                if let Some(crown) = crown.filter(|_| !down) {
                    { draw::shape(crown, disc.x - crown_w / 2.0, disc.y - radius - 20.2, crown_w, crown_w * 0.7) }
                }
                if !up {
                    { draw::shape(if down { "cross" } else { "bars" }, disc.x + radius - 6.0, disc.y - radius - 6.0, 14.0, 14.0) }
                }
                { votes(keeper, disc, radius) }
            </g>
            { label(name_at, hang, &keeper.node().to_string(), if narrow { "f12" } else { "f13" }, &lines, if narrow { 12.0 } else { 14.0 }) }
            { journal(props) }
            if *selected {
                { draw::brackets(layout.around_disc(*index)) }
            }
        </>
    }
}

/// The words beside the disc: role and epoch, on one line where there is room for one only. Those at the ends stand
/// close to the edge of the stage: what they say is broken at its comma.
fn lines(props: &Props) -> Vec<words::Label> {
    let Props { keeper, index, layout, now, .. } = props;
    let epoch = keeper.zab_epoch;
    if let Some(words) = words::not_up(keeper.state, *now) {
        return vec![(words, false)];
    }
    let (role, warn) = words::keeper_role(keeper.role);
    let ends = *index == 0 || *index + 1 == layout.counts().keepers;
    let mut lines = match layout.class {
        Class::Narrow => vec![(format!("{role}, e{epoch}"), warn)],
        _ if ends => match role.split_once(", ") {
            Some((role, more)) => vec![(role.into(), warn), (format!("{more}, e{epoch}"), warn)],
            None => vec![(role, warn), (format!("Zab epoch {epoch}"), false)],
        },
        _ => vec![(format!("{role}, Zab epoch {epoch}"), warn)],
    };
    lines.extend(keeper.ailments.first().map(|ailment| (words::ailment(*ailment), true)));
    lines
}

/// While it looks for a leader: a dot on the rim for each vote that it knows to agree with its own.
fn votes(keeper: &KeeperView, disc: Point, radius: f64) -> Html {
    let KeeperRole::Looking { votes, .. } = keeper.role else { return html! {} };
    if !keeper.state.is_up() {
        return html! {};
    }
    let dots = (0..votes).map(|vote| {
        let angle = (f64::from(vote) - f64::from(votes - 1) / 2.0) * 0.5;
        let (sin, cos) = sin_cos(angle);
        let (x, y) = (disc.x + (radius - 7.0) * sin, disc.y + (radius - 7.0) * cos);
        html! { <circle class="vote" cx={px(x)} cy={px(y)} r="2" /> }
    });
    dots.collect()
}

fn journal(props: &Props) -> Html {
    let Props { keeper, index, layout, .. } = props;
    let (right, fits, cell) = layout.journal(*index);
    let txns = &keeper.txns[keeper.txns.len().saturating_sub(fits)..];
    let step = cell.x + 2.0;
    let left_of = |place: usize| right.x - (fits - place) as f64 * step + 2.0;
    let cells = txns.iter().enumerate().map(|(place, txn)| {
        let x = left_of(place);
        let fill = if txn.committed { "c" } else { "u" };
        let of = Rect { x, y: right.y, w: cell.x, h: cell.y };
        html! {
            <>
                { draw::rect(of, classes!("cell", fill, draw::zab_hue(txn.zxid.epoch().0))) }
                { draw::text(Point { x: x + cell.x / 2.0, y: right.y + cell.y / 2.0 + 3.8 }, "f10", Hang::Middle, txn.zxid.counter().to_string()) }
            </>
        }
    });
    let committed = txns.iter().take_while(|txn| txn.committed).count();
    let line = right.x - (fits - committed) as f64 * step + 1.0;
    let level = format!("M{} {}V{}", px(line), px(right.y - 3.0), px(right.y + cell.y + 3.0));
    html! {
        <g class="journal" aria-hidden="true">
            { for cells }
            if committed > 0 {
                <path class="hw" d={level} />
            }
        </g>
    }
}
