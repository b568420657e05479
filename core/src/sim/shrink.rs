//! Smaller scenarios with the same failure: first fewer actions, then fewer clients, then a shorter run.

use super::scenario::Scenario;
use crate::time::{Instant, Span};

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
    // Clients are named by their number, so only the last can go.
    while let Some(last) = best.clients.len().checked_sub(1) {
        let mut candidate = best.clone();
        candidate.clients.truncate(last);
        if !attempt(candidate, &mut best, &mut left) {
            break;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::sim::scenario::Action;

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
