//! Runs a scenario from beginning to end and says how it ended.

use super::scenario::{Action, Command, Scenario};
use super::swarm;
use super::trace::Keep;
use super::world::World;
use crate::check::{AllowedLoss, Counts, Violation};
use crate::time::{Instant, Span};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Clean,
    /// An invariant was broken.
    Violated(Violation),
    /// After everything healed, something did not come back in time.
    Stuck(Violation),
}

/// A run's end, in figures.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// It was asked whether everything came back.
    pub at_rest: bool,
    pub entries: u64,
    /// Simulated.
    pub length: Span,
    pub digest: u64,
    pub counts: Counts,
    pub allowed: Vec<AllowedLoss>,
}

impl Outcome {
    /// The name of the invariant that was broken, if one was.
    pub fn broken(&self) -> Option<&'static str> {
        match &self.verdict {
            Verdict::Clean => None,
            Verdict::Violated(violation) | Verdict::Stuck(violation) => Some(violation.invariant),
        }
    }
}

/// Runs a scenario to its end, and asks what [`conclude`] asks.
pub fn run(scenario: &Scenario, keep: Keep) -> (Outcome, World) {
    let mut world = World::new(scenario);
    world.trace.keep = keep;
    world.run_until(Instant::ZERO + scenario.length);
    let outcome = conclude(&mut world);
    (outcome, world)
}

/// The world that the simulator is measured with.
pub fn bench(length: Span) -> World {
    let mut world = World::new(&Scenario::bench(length));
    world.trace.keep = Keep::Nothing;
    world
}

/// Goes on for so long. The digest of the trace after every ten seconds of that.
pub fn keyframes(world: &mut World, length: Span) -> Vec<u64> {
    const EVERY: Span = Span::secs(10);
    let (mut digests, end) = (Vec::new(), world.now() + length);
    while world.now() < end {
        world.run_until(world.now() + EVERY);
        digests.push(world.trace_digest());
    }
    digests
}

/// The verdict on a world that has run to its end. What must never happen is asked in any case; whether everything came
/// back, only if nothing was done to the world for as long as that may take.
pub fn conclude(world: &mut World) -> Outcome {
    let length = world.now().since(Instant::ZERO);
    if !world.checks.has_fired() {
        world.compare();
    }
    let at_rest = !world.checks.has_fired() && is_at_rest(world);
    if at_rest {
        world.check_at_rest();
    }
    let verdict = match world.checks.fired() {
        None => Verdict::Clean,
        Some(violation) if violation.invariant.starts_with("LIVE") => Verdict::Stuck(violation.clone()),
        Some(violation) => Verdict::Violated(violation.clone()),
    };
    Outcome {
        verdict,
        at_rest,
        entries: world.entries(),
        length,
        digest: world.digest(),
        counts: world.counts.clone(),
        allowed: world.checks.allowed().to_vec(),
    }
}

/// Nothing was done to the world for so long that it must be whole again.
fn is_at_rest(world: &World) -> bool {
    let scenario = world.as_scenario();
    world.now() >= rests_at(&scenario) && world.is_healed()
}

/// When a world must be whole again, if all that was done to it is healed by then.
pub fn rests_at(scenario: &Scenario) -> Instant {
    let stirs = |action: &Action| !matches!(action, Action::Ask { command: Command::Still, .. });
    let last = scenario.actions.iter().rfind(|timed| stirs(&timed.action)).map_or(Instant::ZERO, |timed| timed.at);
    last + swarm::calm(&scenario.settings)
}
