//! Smaller scenarios with the same failure: first fewer actions, then fewer clients, topics and settings, then a shorter
//! run.

use super::scenario::{Action, ClientSpec, Command, Scenario};
use crate::id::NodeId;
use crate::time::{Instant, Span};
use std::sync::Arc;

/// Takes away what the failure does not need. `fails` runs a scenario and says whether it fails in the same way; it is
/// called at most `budget` times.
pub fn shrink(scenario: &Scenario, budget: u32, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone();
    let mut left = budget;
    let mut attempt = |candidate: Scenario, best: &mut Scenario, left: &mut u32| {
        if *left == 0 || candidate == *best {
            return false;
        }
        *left -= 1;
        let smaller = fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    let mut chunk = best.actions.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut progress = false;
        while at < best.actions.len() {
            let mut candidate = best.clone();
            let end = (at + chunk).min(candidate.actions.len());
            candidate.actions.drain(at..end);
            if attempt(candidate, &mut best, &mut left) {
                progress = true;
            } else {
                at += chunk;
            }
        }
        if chunk == 1 && !progress || left == 0 {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    let clients = (1..=best.clients.len() as u32).rev().map(Part::Client);
    let topics = best.topics.iter().map(|topic| Part::Topic(topic.name.clone()));
    let settings = best.settings.changed().into_iter().map(|(name, _)| Part::Setting(name));
    for part in clients.chain(topics).chain(settings).collect::<Vec<_>>() {
        attempt(part.without(&best), &mut best, &mut left);
    }
    for quarter in [1, 2, 3] {
        let mut candidate = best.clone();
        candidate.length = Span(scenario.length.0 / 4 * quarter);
        let end = Instant::ZERO + candidate.length;
        candidate.actions.retain(|timed| timed.at <= end);
        if attempt(candidate, &mut best, &mut left) {
            break;
        }
    }
    best
}

/// What a scenario may do without, beside its actions.
enum Part {
    /// By its number, as actions name it.
    Client(u32),
    Topic(Arc<str>),
    /// It goes back to its default.
    Setting(&'static str),
}

impl Part {
    /// The scenario without this, and without what makes no sense without it.
    fn without(&self, scenario: &Scenario) -> Scenario {
        let mut smaller = scenario.clone();
        match self {
            Part::Client(number) => {
                smaller.clients.remove(*number as usize - 1);
                smaller.actions.retain(|timed| !clients_of(&mut timed.action.clone()).iter().any(|c| **c == *number));
                for timed in &mut smaller.actions {
                    for other in clients_of(&mut timed.action) {
                        *other -= u32::from(*other > *number);
                    }
                }
            }
            Part::Topic(name) => {
                smaller.topics.retain(|topic| topic.name != *name);
                smaller.actions.retain(|timed| !speaks_of(&timed.action, name));
                for number in (1..=smaller.clients.len() as u32).rev() {
                    let uses = match &smaller.clients[number as usize - 1] {
                        ClientSpec::Producer { topic, .. } | ClientSpec::Consumer { topic } => topic == name,
                        ClientSpec::Keeper { .. } | ClientSpec::Admin => false,
                    };
                    if uses {
                        smaller = Part::Client(number).without(&smaller);
                    }
                }
            }
            Part::Setting(name) => smaller.settings.reset(name),
        }
        smaller
    }
}

/// The numbers of the clients an action names.
fn clients_of(action: &mut Action) -> Vec<&mut u32> {
    let nodes = match action {
        Action::Kill(node)
        | Action::PowerOff(node)
        | Action::Restart(node)
        | Action::Wipe(node)
        | Action::Pause(node)
        | Action::Resume(node)
        | Action::Shutdown(node)
        | Action::Drift { node, .. }
        | Action::Jump { node, .. }
        | Action::SlowDisk { node, .. }
        | Action::FullDisk(node)
        | Action::LyingDisk(node)
        | Action::GoodDisk(node)
        | Action::BitRot(node)
        | Action::Ask { client: node, .. } => vec![node],
        Action::Cut { from: a, to: b }
        | Action::Stall { from: a, to: b }
        | Action::Slow { from: a, to: b, .. }
        | Action::Heal { from: a, to: b }
        | Action::Break { a, b }
        | Action::LoseReply { server: a, client: b }
        | Action::DelayReply { server: a, client: b, .. }
        | Action::FailReply { server: a, client: b, .. } => vec![a, b],
        Action::PowerOffAll | Action::RestartAll | Action::HealAll => Vec::new(),
    };
    let mut numbers = Vec::new();
    for node in nodes {
        if let NodeId::Client(number) = node {
            numbers.push(number);
        }
    }
    numbers
}

fn speaks_of(action: &Action, name: &Arc<str>) -> bool {
    let Action::Ask { command, .. } = action else { return false };
    match command {
        Command::CreateTopic(topic) => topic.name == *name,
        Command::DeleteTopic(topic) | Command::SetTopicConfig { topic, .. } => topic == name,
        Command::Reassign { partition, .. }
        | Command::ElectPreferred(partition)
        | Command::ElectUnclean(partition)
        | Command::Produce { partition, .. } => partition.topic == *name,
        Command::Watch(_) | Command::List(_) | Command::Multi(_) | Command::Still | Command::Busy => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: &str = "\
glasshouse scenario 1
seed 7
set tick 200ms
set flush kafka
topic orders partitions 1 replicas 1 min-isr 1
topic events partitions 1 replicas 1 min-isr 1
producer orders acks 1 plain rate 1
consumer orders
producer events acks 1 plain rate 0
admin
run 8s
at 1s ask client-1 produce orders-0 1
at 2s ask client-3 produce events-0 1
at 3s lose-reply broker-1 client-3
at 4s ask client-4 elect-preferred events-0
";

    /// Only the second topic and its producer matter: the others go, and who is left is named anew.
    #[test]
    fn topics_clients_and_settings_go_and_the_rest_is_named_anew() {
        let scenario = Scenario::parse(BUSY).unwrap();
        let produces = |scenario: &Scenario| {
            let text = scenario.to_string();
            text.contains("produce events-0 1") && text.contains("set flush kafka") && Scenario::parse(&text).is_ok()
        };
        let small = shrink(&scenario, 500, produces);
        let left = "\
glasshouse scenario 1
seed 7
set flush kafka
topic events partitions 1 replicas 1 min-isr 1
producer events acks 1 plain rate 0
run 2s
at 2s ask client-1 produce events-0 1
";
        assert_eq!(small.to_string(), left);
    }

    #[test]
    fn only_the_two_actions_that_matter_are_left() {
        let mut scenario = Scenario { length: Span::secs(60), ..Scenario::default() };
        for second in 1..40 {
            scenario.act(Instant(second * 1_000_000_000), Action::Kill(NodeId::Broker(second as u32)));
        }
        let has = |scenario: &Scenario, n| scenario.actions.iter().any(|t| t.action == Action::Kill(NodeId::Broker(n)));
        let small = shrink(&scenario, 500, |candidate| has(candidate, 3) && has(candidate, 14));
        let left: Vec<String> = small.actions.iter().map(|timed| timed.action.to_string()).collect();
        assert_eq!(left, ["kill broker-3", "kill broker-14"]);
        assert_eq!(small.length, Span::secs(15));
    }
}
