//! A broker: a square cabinet with a glass vessel for each replica, records stacked in it, the high watermark as a
//! water-line.

use super::layout::{Class, Layout, Point, Rect, Vessel};
use super::{element_id, touch};
use crate::draw::{self, Hang, px};
use crate::intent::{Intent, Subject};
use crate::words;
use glasshouse_core::id::TopicPartition;
use glasshouse_core::time::Instant;
use glasshouse_core::view::*;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub broker: BrokerView,
    pub index: usize,
    pub layout: Layout,
    /// The offset at the foot of each vessel.
    pub foot: Vec<i64>,
    pub selected: bool,
    /// The selected replica, if it is one of this broker's.
    pub chosen: Option<TopicPartition>,
    pub now: Instant,
    pub on: Callback<Intent>,
}

#[component]
pub fn Broker(props: &Props) -> Html {
    let Props { broker, index, layout, selected, now, on, .. } = props;
    let cabinet = layout.cabinet(*index);
    let (up, down) = (broker.state.is_up(), broker.state.is_down());
    let state = if up {
        "up"
    } else if down {
        "down"
    } else {
        "paused"
    };
    let role = words::not_up(broker.state, *now).unwrap_or_else(|| words::broker_role(broker, layout.class));
    let said = format!("{}, {role}{}", broker.node, if broker.controller { ", controller" } else { "" });
    let narrow = layout.class == Class::Narrow;
    let (left, name_y, role_y) = if narrow { (7.0, 16.0, 31.0) } else { (12.0, 19.0, 35.0) };
    let at = |y: f64| Point { x: cabinet.x + left, y: cabinet.y + y };
    let ailment = broker.ailments.first().map(|ailment| {
        let line = words::ailment(*ailment);
        draw::text(Point { x: cabinet.right() - 10.0, y: cabinet.y + role_y }, "warn f10", Hang::End, line)
    });
    let vessels = broker.replicas.iter().enumerate().map(|(slot, replica)| vessel(props, slot, replica));
    html! {
        <g class={classes!("broker", state)}>
            <g role="button" tabindex="-1" id={element_id(broker.node)} aria-label={said.clone()} aria-pressed={selected.to_string()}
                onclick={touch(on, Subject::Node(broker.node))}>
                <title>{ said }</title>
                { draw::rect(cabinet, "cab") }
                if !up && !down {
                    { draw::rect(cabinet, "hatch") }
                    { draw::rect(Rect { x: cabinet.x + 4.0, y: cabinet.y + 4.0, w: cabinet.w * 0.62, h: role_y + 3.0 }, "plate") }
                }
                { draw::text(at(name_y), classes!("b", if narrow { "f12" } else { "f14" }), Hang::Start, broker.node.to_string()) }
                { draw::text(at(role_y), classes!("t2", if narrow { "f10" } else { "f11" }), Hang::Start, role) }
                { sign(broker, cabinet, layout.class) }
                { ailment }
            </g>
            { for vessels }
            if *selected {
                { draw::brackets(layout.around_cabinet(*index)) }
            }
        </g>
    }
}

/// The sign in the cabinet's upper right corner: down, paused or controller.
fn sign(broker: &BrokerView, cabinet: Rect, class: Class) -> Html {
    let right = |inset: f64| cabinet.right() - inset;
    match broker.state {
        NodeState::Down { .. } => draw::shape("cross", right(28.0), cabinet.y + 8.0, 16.0, 16.0),
        NodeState::Paused { .. } => draw::shape("bars", right(28.0), cabinet.y + 8.0, 16.0, 16.0),
        NodeState::Up { .. } if !broker.controller => html! {},
        NodeState::Up { .. } if class == Class::Narrow => {
            draw::shape("diamond", right(17.0), cabinet.y + 7.0, 10.0, 10.0)
        }
        NodeState::Up { .. } => {
            let word = Point { x: right(69.0), y: cabinet.y + 18.0 };
            html! {
                <>
                    { draw::shape("diamond", right(82.0), cabinet.y + 9.0, 10.0, 10.0) }
                    { draw::text(word, "f11 b", Hang::Start, "controller") }
                </>
            }
        }
    }
}

fn vessel(props: &Props, slot: usize, replica: &ReplicaView) -> Html {
    let Props { broker, index, layout, foot, chosen, on, .. } = props;
    let vessel = layout.vessel(*index, slot);
    let foot = foot.get(slot).copied().unwrap_or(0);
    let leads = replica.role == ReplicaRole::Leader;
    let class = classes!(
        "log",
        if leads { "lead" } else { "rep" },
        if replica.in_isr { "isr" } else { "out" },
        (replica.role == ReplicaRole::Idle).then_some("idle")
    );
    let said = words::replica_said(replica, &broker.node.to_string());
    let glass = vessel.glass;
    let outline =
        format!("M{} {}V{}H{}V{}", px(glass.x), px(glass.y), px(glass.bottom()), px(glass.right()), px(glass.y));
    let narrow = layout.class == Class::Narrow;
    let (crown_w, crown_rise) = if narrow { (14.0, 4.8) } else { (17.0, 6.9) };
    let lag = replica.lag.map(|lag| {
        let (left, warn) = words::left(&lag, props.now);
        draw::ring(Point { x: glass.centre_x(), y: glass.y + 22.0 }, if narrow { 7.0 } else { 9.0 }, left, warn)
    });
    let touched = Subject::Replica(broker.node, replica.partition.clone());
    let is_chosen = chosen.as_ref() == Some(&replica.partition);
    let caption = layout.captions().then(|| caption(replica, glass, narrow));
    html! {
        <g {class} role="button" tabindex="-1" aria-label={said.clone()} aria-pressed={is_chosen.to_string()} onclick={touch(on, touched)}>
            <title>{ said }</title>
            <rect class="touch" x={px(glass.x)} y={px(glass.y)} width={px(glass.w)} height={px(glass.h + 32.0)} />
            <path class="vessel" d={outline} />
            { for cells(replica, &vessel, foot, leads, layout.class) }
            { water_line(replica, &vessel, foot, narrow) }
            { for epochs(replica, &vessel, foot, layout) }
            { below(replica, &vessel, foot) }
            if leads {
                // One that fell out of sync was deposed, and does not know it yet.
                { draw::shape(if replica.in_isr { "crown" } else { "crown-hollow" }, glass.centre_x() - crown_w / 2.0, glass.y - crown_rise, crown_w, crown_w * 0.7) }
            }
            { lag }
            { caption }
            if is_chosen {
                { draw::brackets(Rect { x: glass.x - 5.0, y: glass.y - 10.0, w: glass.w + 10.0, h: glass.h + 16.0 }) }
            }
        </g>
    }
}

fn caption(replica: &ReplicaView, glass: Rect, narrow: bool) -> Html {
    let at = |down: f64| Point { x: glass.centre_x(), y: glass.bottom() + down };
    let figures = if narrow {
        format!("HW {}", replica.high_watermark)
    } else {
        format!("HW {}, end {}", replica.high_watermark, replica.log_end)
    };
    let size = if narrow { "f10" } else { "f11" };
    html! {
        <>
            { draw::text(at(if narrow { 13.0 } else { 14.0 }), classes!(size, "b"), Hang::Middle, replica.partition.to_string()) }
            { draw::text(at(if narrow { 26.0 } else { 28.0 }), classes!(size, "t2"), Hang::Middle, figures) }
        </>
    }
}

/// The records from the foot upward. A truncated record shares the row with the one that has its offset now.
fn cells(replica: &ReplicaView, vessel: &Vessel, foot: i64, leads: bool, class: Class) -> Vec<Html> {
    let narrow = class == Class::Narrow;
    let (indent, rise) = match class {
        Class::Wide => (5.0, 4.5),
        Class::Mid => (5.0, 4.5),
        Class::Narrow => (3.0, 4.0),
    };
    let lock = if narrow { 8.0 } else { 9.0 };
    let row_of =
        |record: &RecordView| (record.offset.0 - foot).try_into().ok().filter(|row: &usize| *row < vessel.rows + 1);
    let shared = |record: &RecordView| replica.records.iter().filter(|other| other.offset == record.offset).count() > 1;
    let draw_record = |record: &RecordView| {
        let row = row_of(record)?;
        let mut cell = vessel.cell(row);
        if shared(record) {
            cell.w /= 2.0;
            if record.truncated {
                cell.x += cell.w;
            }
        }
        let lost = matches!(record.fate, Fate::Lost { .. });
        let look = match record.truncated {
            true if lost => "ghost lost",
            true => "ghost",
            false if lost => "c lost",
            false if record.offset < replica.high_watermark => "c",
            false => "u",
        };
        let sign = match record.fate {
            Fate::Lost { .. } => Some("lock-broken"),
            Fate::Promised if leads && !record.truncated => Some("lock"),
            Fate::Promised | Fate::Untold => None,
        };
        let number = Point { x: cell.x + indent, y: cell.bottom() - rise };
        let wide_enough = cell.w >= 30.0;
        Some(html! {
            <g class={classes!("record", lost.then_some("red"))}>
                { draw::rect(cell, classes!("cell", look, draw::hue(i64::from(record.epoch.0)))) }
                if wide_enough {
                    { draw::text(number, classes!(if narrow { "f10" } else { "f11" }, record.truncated.then_some("strike")), Hang::Start, record.offset.to_string()) }
                }
                if let Some(sign) = sign {
                    { draw::shape(sign, cell.right() - lock - 2.5, cell.y + (cell.h - lock) / 2.0, lock, lock) }
                }
            </g>
        })
    };
    replica.records.iter().filter_map(draw_record).collect()
}

/// A replica so far behind that none of its records is in the window says so; an empty glass would tell of an empty log.
fn below(replica: &ReplicaView, vessel: &Vessel, foot: i64) -> Html {
    let glass = vessel.glass;
    if replica.log_end.0 >= foot || glass.w < 30.0 {
        return html! {};
    }
    let at = Point { x: glass.centre_x(), y: glass.bottom() - 6.0 };
    draw::text(at, "f10 t2", Hang::Middle, format!("{} below", foot - replica.log_end.0))
}

/// Just above the last committed record, with the sign that engineers draw.
fn water_line(replica: &ReplicaView, vessel: &Vessel, foot: i64, narrow: bool) -> Html {
    let below = replica.high_watermark.0 - foot;
    if below < 0 || replica.log_end.0 == 0 {
        return html! {};
    }
    let y = vessel.level((below as usize).min(vessel.rows));
    let (out_left, out_right, tip, half, height) =
        if narrow { (2.0, 3.0, 0.0, 3.5, 5.5) } else { (4.0, 9.0, 6.0, 5.0, 8.0) };
    let glass = vessel.glass;
    let line = format!("M{} 0H{}", px(glass.x - out_left), px(glass.right() + out_right));
    let tip =
        format!("M{} {}h{}l-{} {}z", px(glass.right() + tip), px(-height - 1.0), px(2.0 * half), px(half), px(height));
    // Moved as a whole, so that the style sheet can let it slide.
    html! {
        <g class="level" style={format!("transform:translateY({}px)", px(y))}>
            <path class="hw" d={line} />
            <path class="hwt" d={tip} />
        </g>
    }
}

/// A bar and a number for each leader epoch, left of its records. A new leader's stands above the last record.
fn epochs(replica: &ReplicaView, vessel: &Vessel, foot: i64, layout: &Layout) -> Vec<Html> {
    let narrow = layout.class == Class::Narrow;
    let top = foot + vessel.rows as i64;
    let bar = |(index, entry): (usize, &EpochStart)| {
        let next = replica.epochs.get(index + 1).map_or(replica.log_end.0, |next| next.start.0);
        let fresh = next <= entry.start.0;
        let (from, until) = (entry.start.0.max(foot), next.min(top));
        if entry.start.0 > top || (!fresh && until <= from) || (fresh && index + 1 < replica.epochs.len()) {
            return None;
        }
        let rows = |offset: i64| (offset - foot).max(0) as usize;
        let lowest = vessel.cell(rows(from));
        let (y, h) = if fresh {
            (lowest.y + 0.5, vessel.cell_h - 1.0)
        } else {
            let highest = vessel.cell(rows(until - 1));
            (highest.y + 0.5, lowest.bottom() - highest.y - 1.0)
        };
        let x = vessel.glass.x - if narrow { 5.0 } else { 6.0 };
        let class = draw::hue(i64::from(entry.epoch.0));
        let number = Point { x: x - 3.0, y: lowest.bottom() - 4.5 };
        Some(html! {
            <>
                { draw::rect(Rect { x, y, w: 3.0, h }, classes!("ebar", class)) }
                if !narrow && layout.captions() {
                    { draw::text(number, classes!("f10", if fresh { "b" } else { "t2" }), Hang::End, format!("e{}", entry.epoch)) }
                }
            </>
        })
    };
    replica.epochs.iter().enumerate().filter_map(bar).collect()
}
