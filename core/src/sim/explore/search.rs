//! The search itself, over clones of a small world: each state is entered once, depth first, which keeps few states, or
//! breadth first, which finds the shortest way to a violation.

use super::seen::Seen;
use super::{Report, Violation};
use core::fmt;
use std::collections::VecDeque;

/// What went wrong in one step: an invariant's name, and what is the case.
pub type Trouble = Vec<(&'static str, String)>;

/// A bounded world that can be searched.
pub trait Small: Clone {
    /// What is the same in all states.
    type Setup;
    /// Something that can happen next.
    type Action: Copy;
    /// The same as a violation tells it.
    type Step: fmt::Display + Copy;

    /// What tells this state from others.
    fn digest(&self) -> u64;
    /// Everything that can happen next, within the bounds.
    fn actions(&self, setup: &Self::Setup) -> Vec<Self::Action>;
    /// What an action will look like from here.
    fn step(&self, action: Self::Action) -> Self::Step;
    /// Lets it happen, and says what it broke.
    fn take(&mut self, action: Self::Action, setup: &Self::Setup, trouble: &mut Trouble);
}

/// Where a search ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub states: u64,
    /// With the first violation.
    pub until_violation: bool,
}

/// A state on the path, and what is still to be tried in it.
struct Frame<W: Small> {
    world: W,
    actions: Vec<W::Action>,
}

/// Enters every state that can be reached from `first`.
pub fn search<W: Small>(first: W, setup: &W::Setup, limits: Limits) -> Report {
    let mut report = Report::default();
    let mut seen = Seen::new();
    // What led to the present state.
    let mut path: Vec<W::Step> = Vec::new();
    seen.insert(first.digest());
    let actions = first.actions(setup);
    let mut stack: Vec<Frame<W>> = vec![Frame { world: first, actions }];
    while let Some(frame) = stack.last_mut() {
        let Some(action) = frame.actions.pop() else {
            stack.pop();
            path.pop();
            continue;
        };
        path.push(frame.world.step(action));
        let mut next = frame.world.clone();
        let mut trouble = Trouble::new();
        next.take(action, setup, &mut trouble);
        report.transitions += 1;
        for (invariant, what) in trouble {
            report.tell(invariant, what, &path);
        }
        if !seen.insert(next.digest()) {
            path.pop();
            continue;
        }
        report.depth = report.depth.max(path.len() as u32);
        let broken = limits.until_violation && !report.violations.is_empty();
        if broken || seen.len() as u64 >= limits.states {
            report.states = seen.len() as u64;
            return report;
        }
        let actions = next.actions(setup);
        stack.push(Frame { world: next, actions });
    }
    report.states = seen.len() as u64;
    report.exhausted = true;
    report
}

/// As [`search`], with the states nearest to `first` entered first.
pub fn search_nearest<W: Small>(first: W, setup: &W::Setup, limits: Limits) -> Report {
    let mut report = Report::default();
    let mut seen = Seen::new();
    // How each state came about: from which other, by what.
    let mut ways: Vec<(u32, Option<W::Step>)> = vec![(0, None)];
    seen.insert(first.digest());
    let mut ahead = VecDeque::from([(0, 0, first)]);
    while let Some((from, depth, world)) = ahead.pop_front() {
        for action in world.actions(setup) {
            let mut next = world.clone();
            let mut trouble = Trouble::new();
            next.take(action, setup, &mut trouble);
            report.transitions += 1;
            if !trouble.is_empty() {
                let path = way_to(from, &ways, world.step(action));
                for (invariant, what) in trouble {
                    report.tell(invariant, what, &path);
                }
                // What follows a broken promise is nothing new.
                continue;
            }
            if !seen.insert(next.digest()) {
                continue;
            }
            report.depth = report.depth.max(depth + 1);
            ways.push((from, Some(world.step(action))));
            ahead.push_back((ways.len() as u32 - 1, depth + 1, next));
        }
        let broken = limits.until_violation && !report.violations.is_empty();
        if broken || seen.len() as u64 >= limits.states {
            report.states = seen.len() as u64;
            return report;
        }
    }
    report.states = seen.len() as u64;
    report.exhausted = true;
    report
}

/// The steps that led to state number `at`, and `last`.
fn way_to<S: Copy>(mut at: u32, ways: &[(u32, Option<S>)], last: S) -> Vec<S> {
    let mut path = vec![last];
    while let (from, Some(step)) = ways[at as usize] {
        path.push(step);
        at = from;
    }
    path.reverse();
    path
}

impl Report {
    fn tell<S: fmt::Display>(&mut self, invariant: &'static str, what: String, path: &[S]) {
        if self.violations.iter().all(|violation| violation.invariant != invariant) {
            let path = path.iter().map(S::to_string).collect();
            self.violations.push(Violation { invariant, what, path });
        }
    }
}
