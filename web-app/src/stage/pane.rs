//! The backdrop, and what all know: the znodes that brokers live by, with a ring for each session's time-out.

use super::layout::{Class, Layout, Point, Rect};
use crate::draw::{self, Hang, px};
use crate::words;
use glasshouse_core::view::*;
use yew::prelude::*;

/// Beyond the drawing, so that the bands reach the edges of any stage.
const FAR: f64 = 600.0;

pub fn bands(layout: &Layout) -> Html {
    let bands = layout.bands();
    let (w, _) = layout.class.size();
    let across = |top: f64, bottom: f64| Rect { x: -FAR, y: top, w: w + 2.0 * FAR, h: bottom - top };
    let edge = |y: f64| html! { <path class="edge" d={format!("M{} {}H{}", px(-FAR), px(y), px(w + FAR))} /> };
    let head = |x: f64, y: f64, words: &'static str| {
        draw::text(
            Point { x, y },
            classes!("b", if layout.class == Class::Narrow { "f13" } else { "f14" }),
            Hang::Start,
            words,
        )
    };
    let small = |x: f64, y: f64, words: &'static str| draw::text(Point { x, y }, "t3 f11", Hang::Start, words);
    let captions = match layout.class {
        Class::Wide => html! {
            <>
                { head(14.0, 24.0, "Ensemble") }
                { small(14.0, 40.0, "ZooKeeper: the keepers agree") }
                { small(14.0, 54.0, "on who is alive and who leads") }
                { draw::text(Point { x: 14.0, y: 212.0 }, "t2 f11 b", Hang::Start, "Known to all") }
                { small(14.0, 227.0, "kept by the") }
                { small(14.0, 240.0, "ensemble") }
                { head(14.0, 266.0, "Brokers") }
                { small(14.0, 280.0, "Kafka keeps the records") }
            </>
        },
        Class::Mid => html! {
            <>
                { head(14.0, 24.0, "Ensemble") }
                { small(14.0, 40.0, "ZooKeeper: the keepers agree") }
                { small(14.0, 54.0, "on who is alive and who leads") }
                { head(14.0, 252.0, "Brokers") }
                { small(14.0, 266.0, "Kafka: records") }
            </>
        },
        Class::Narrow => html! { <>{ head(8.0, 18.0, "Ensemble") }{ head(8.0, 223.0, "Brokers") }</> },
    };
    html! {
        <>
            { draw::rect(across(bands.pane_bottom, bands.clients_top), "mid") }
            { draw::rect(across(bands.pane_top, bands.pane_bottom), "pane") }
            { edge(bands.pane_top) }
            { edge(bands.pane_bottom) }
            { captions }
        </>
    }
}

pub fn draw(view: &ClusterView, layout: &Layout) -> Html {
    let rings = view.known.registrations.iter().filter_map(|registration| {
        let index = view.brokers.iter().position(|broker| broker.node == registration.node)?;
        Some(registered(view, layout, registration, index))
    });
    html! { <g class="known">{ for rings }{ partitions(view, layout) }</g> }
}

fn registered(view: &ClusterView, layout: &Layout, registration: &RegistrationView, index: usize) -> Html {
    let (centre, radius) = layout.ring(index);
    let controller = view.known.controller == Some(registration.broker);
    let narrow = layout.class == Class::Narrow;
    let name = match layout.class {
        Class::Wide => format!("/brokers/ids/{}", registration.broker),
        Class::Mid | Class::Narrow => format!("ids/{}", registration.broker),
    };
    let (shape, line, gone) = match registration.state {
        Registration::Never => (spent(centre, radius, false), ("not registered yet".to_owned(), false), false),
        Registration::Gone { since } => {
            (spent(centre, radius, true), (format!("gone at {}", draw::axis_moment(since)), false), true)
        }
        Registration::Here { expires, .. } => {
            let (left, warn) = words::left(&expires, view.now);
            (
                draw::ring(centre, radius, left, warn),
                (format!("session {}", words::left_words(&expires, view.now)), warn),
                false,
            )
        }
    };
    let x = centre.x + radius + 7.0;
    let name_class = classes!("b", if narrow { "f10" } else { "f11" }, gone.then_some("strike t3"));
    if narrow {
        let mark = controller.then(|| draw::shape("diamond", x + 30.0, centre.y - 4.5, 9.0, 9.0));
        return html! { <>{ shape }{ draw::text(Point { x, y: centre.y + 4.0 }, name_class, Hang::Start, name) }{ mark }</> };
    }
    let y = centre.y - if controller { 11.0 } else { 3.0 };
    let line_class = classes!("f11", if line.1 { "warn" } else { "t2" });
    html! {
        <>
            { shape }
            { draw::text(Point { x, y }, name_class, Hang::Start, name) }
            { draw::text(Point { x, y: y + 14.0 }, line_class, Hang::Start, line.0) }
            if controller {
                { draw::shape("diamond", x, y + 20.0, 9.0, 9.0) }
                { draw::text(Point { x: x + 12.0, y: y + 28.5 }, "f11 b", Hang::Start, "/controller") }
            }
        </>
    }
}

/// A ring without a session: none yet, or one that ran out.
fn spent(centre: Point, radius: f64, crossed: bool) -> Html {
    html! {
        <g class="ring gone">
            <circle class="trk" cx={px(centre.x)} cy={px(centre.y)} r={px(radius)} />
            if crossed {
                { draw::shape("i-kill", centre.x - 7.0, centre.y - 7.0, 14.0, 14.0) }
            }
        </g>
    }
}

fn partitions(view: &ClusterView, layout: &Layout) -> Html {
    let all = &view.known.partitions;
    let places = layout.told_places();
    let mut lines: Vec<(String, [words::Label; 2])> = Vec::new();
    if all.len() <= places {
        lines.extend(all.iter().map(|p| (p.partition.to_string(), [words::told_leader(p), words::told_isr(p)])));
    } else if let Some(first) = all.iter().find(|p| p.isr.len() < p.replicas.len()).or(all.first()) {
        let lacking = all.iter().filter(|p| p.isr.len() < p.replicas.len()).count();
        lines.push((first.partition.to_string(), [words::told_leader(first), words::told_isr(first)]));
        if places > 1 {
            let sentence = (
                format!("{lacking} of {}", all.len()),
                [("are not".to_owned(), lacking > 0), ("in full sync".to_owned(), lacking > 0)],
            );
            lines.push(sentence);
        }
    }
    let told = lines.into_iter().enumerate().map(|(place, (name, [leader, isr]))| {
        let at = layout.told(place);
        let down = |by: f64| Point { x: at.x, y: at.y + by };
        let class = |size: &'static str, warn: bool| classes!(size, if warn { "warn" } else { "t2" });
        if layout.class == Class::Narrow {
            let head = format!("{name}: {}", leader.0.replace("epoch ", "e"));
            html! { <>{ draw::text(at, "f10 b", Hang::Start, head) }{ draw::text(down(13.0), class("f10", isr.1), Hang::Start, isr.0) }</> }
        } else {
            html! {
                <>
                    { draw::text(at, "f11 b", Hang::Start, name) }
                    { draw::text(down(14.0), class("f11", leader.1), Hang::Start, leader.0) }
                    { draw::text(down(28.0), class("f11", isr.1), Hang::Start, isr.0) }
                </>
            }
        }
    });
    told.collect()
}
