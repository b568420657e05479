//! The strip of actions beside what is selected: three or four icons with words. Plain HTML over the drawing.

use super::layout::{Class, Layout, Point, Rect};
use super::{Route, client};
use crate::draw::px;
use crate::intent::{Intent, Subject};
use crate::panel::actions;
use glasshouse_core::id::NodeId;
use glasshouse_core::view::*;
use yew::prelude::*;

/// As the style sheet has it, for four actions: what the gap between two cabinets takes.
fn size(class: Class) -> Point {
    Point { x: if class == Class::Mid { 52.0 } else { 74.0 }, y: 132.0 }
}

pub fn draw(
    view: &ClusterView,
    layout: &Layout,
    routes: &[Route],
    selected: &Option<Subject>,
    on: &Callback<Intent>,
) -> Html {
    // On narrow screens the tab "Selected" carries the actions.
    let Some(subject) = selected.as_ref().filter(|_| layout.class != Class::Narrow) else { return html! {} };
    let Some(at) = place(view, layout, routes, subject) else { return html! {} };
    let (w, h) = layout.class.size();
    let share = |part: f64, whole: f64| px(part / whole * 1000.0);
    // In thousandths, since lengths here have one decimal.
    let style = format!("left:calc({}%/10);top:calc({}%/10)", share(at.x, w), share(at.y, h));
    let buttons = actions::of(view, subject).into_iter().map(|action| actions::button(&action, "stone", on));
    html! {
        <div class="strip" role="group" aria-label={format!("What to do to {}", actions::name(view, subject))} {style}
            onclick={Callback::from(|event: MouseEvent| event.stop_propagation())}>
            { for buttons }
        </div>
    }
}

fn place(view: &ClusterView, layout: &Layout, routes: &[Route], subject: &Subject) -> Option<Point> {
    let around = match subject {
        Subject::Node(node @ NodeId::Keeper(_)) => {
            layout.around_disc(view.keepers.iter().position(|keeper| keeper.node() == *node)?)
        }
        Subject::Node(node @ NodeId::Broker(_)) | Subject::Replica(node, _) => {
            layout.around_cabinet(view.brokers.iter().position(|broker| broker.node == *node)?)
        }
        Subject::Node(node) => {
            let place = client::places(view, layout).into_iter().find(|place| place.client.node == *node)?;
            Rect { x: place.at.x - 90.0, y: place.at.y - 110.0, w: 92.0, h: 30.0 }
        }
        Subject::Link(a, b) => {
            let route = routes.iter().find(|route| (route.a, route.b) == (*a, *b) || (route.b, route.a) == (*a, *b))?;
            super::link::around(route, layout)
        }
        Subject::Message(_) => return None,
    };
    Some(layout.strip_beside(around, size(layout.class)))
}
