//! What can be done to what is selected: for the strip, the inspector and the table alike.

use crate::draw::icon;
use crate::intent::{Intent, Stone, Subject, Target};
use glasshouse_core::id::NodeId;
use glasshouse_core::view::*;
use yew::prelude::*;

pub struct Action {
    pub stone: Stone,
    pub target: Target,
    pub word: &'static str,
    /// Why it cannot be done now.
    pub barred: Option<&'static str>,
}

pub fn of(view: &ClusterView, subject: &Subject) -> Vec<Action> {
    match subject.target() {
        Some(target @ Target::Node(node)) => at_node(view, node, target),
        Some(target @ Target::Link(a, b)) => at_link(view, a, b, target),
        None => Vec::new(),
    }
}

fn at_node(view: &ClusterView, node: NodeId, target: Target) -> Vec<Action> {
    let Some(state) = view.state(node) else { return Vec::new() };
    let (down, paused) = (state.is_down(), matches!(state, NodeState::Paused { .. }));
    let cut = is_cut_off(view, node);
    let act = |stone, word, barred: Option<&'static str>| Action { stone, target, word, barred };
    vec![
        act(Stone::Kill, "Kill", down.then_some("It is down already.")),
        act(Stone::Pause, if paused { "Resume" } else { "Pause" }, down.then_some("It is down.")),
        if cut { act(Stone::Heal, "Heal", None) } else { act(Stone::Cut, "Cut", None) },
        act(Stone::Restart, "Restart", (!down).then_some("It is up.")),
    ]
}

fn at_link(view: &ClusterView, a: NodeId, b: NodeId, target: Target) -> Vec<Action> {
    let lanes = view.link(a, b).map(|link| [link.forth.state, link.back.state]);
    let cut = lanes.is_some_and(|lanes| lanes.iter().all(|lane| *lane == LaneState::Cut));
    let whole = lanes.is_none_or(|lanes| lanes.iter().all(|lane| *lane == LaneState::Ok));
    vec![
        Action { stone: Stone::Cut, target, word: "Cut", barred: cut.then_some("It is cut already.") },
        Action { stone: Stone::Heal, target, word: "Heal", barred: whole.then_some("Nothing is wrong with it.") },
    ]
}

/// All of its links are cut in both directions.
fn is_cut_off(view: &ClusterView, node: NodeId) -> bool {
    let mut links = view.links.iter().filter(|link| link.a == node || link.b == node).peekable();
    links.peek().is_some() && links.all(|link| link.forth.state == LaneState::Cut && link.back.state == LaneState::Cut)
}

/// Why a stone cannot be thrown at a target; `None` if it can.
pub fn barred(view: &ClusterView, stone: Stone, target: Target) -> Option<&'static str> {
    let actions = match target {
        Target::Node(node) => at_node(view, node, target),
        Target::Link(a, b) => at_link(view, a, b, target),
    };
    match actions.iter().find(|action| action.stone == stone) {
        Some(action) => action.barred,
        // A node that is not wholly cut off offers no Heal, yet some of its links may need it.
        None if stone == Stone::Heal && matches!(target, Target::Node(_)) => None,
        None if stone == Stone::Cut => Some("It is cut already."),
        None => Some("That stone is for machines."),
    }
}

pub fn button(action: &Action, class: &'static str, on: &Callback<Intent>) -> Html {
    let (stone, target) = (action.stone, action.target);
    let onclick = on.reform(move |event: MouseEvent| {
        event.stop_propagation();
        Intent::Throw { stone, target }
    });
    let icon_name = if action.word == "Resume" { "play" } else { stone.icon() };
    html! {
        <button type="button" {class} {onclick} disabled={action.barred.is_some()} title={action.barred} aria-description={action.barred}>
            { icon(icon_name) }<span>{ action.word }</span>
        </button>
    }
}

/// What the subject is called.
pub fn name(view: &ClusterView, subject: &Subject) -> String {
    match subject {
        Subject::Node(node) => view.name(*node),
        Subject::Link(a, b) => format!("{} to {}", view.name(*a), view.name(*b)),
        Subject::Replica(node, partition) => format!("{partition} on {node}"),
        Subject::Message(id) => view
            .messages
            .iter()
            .find(|message| message.id == *id)
            .map_or_else(|| "a message that has arrived".into(), |message| message.label.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::time::Instant;

    #[test]
    fn what_cannot_be_done_says_why() {
        let broker = BrokerView {
            node: NodeId::Broker(1),
            broker: glasshouse_core::id::BrokerId(1),
            state: NodeState::Down { since: Instant::ZERO },
            ailments: vec![],
            controller: false,
            keeper: None,
            replicas: vec![],
        };
        let view = ClusterView { brokers: vec![broker], ..ClusterView::default() };
        let target = Target::Node(NodeId::Broker(1));
        assert_eq!(barred(&view, Stone::Kill, target), Some("It is down already."));
        assert_eq!(barred(&view, Stone::Restart, target), None);
    }
}
