//! The laboratory in the page: owns a run, advances it on a fixed grid of virtual time within a frame budget, keeps
//! keyframes to go back to, and publishes the view. A run never depends on how often the page paints: the grid and
//! the places of a person's acts are part of it, frames are not.

use crate::intent::{Stone, Target, TimeIntent};
use crate::playback::Playback;
use crate::source::{Clock, Source};
use glasshouse_core::time::{Instant, Span};
use glasshouse_core::view::ClusterView;
use std::rc::Rc;

/// A deterministic run that can be copied: what the laboratory needs of a world.
pub trait Run: Clone {
    fn now(&self) -> Instant;
    /// Handles everything up to and including `until`, and makes that the present.
    fn run_until(&mut self, until: Instant);
    /// Handles what happens next and makes its moment the present. `false` if nothing is left to happen.
    fn step(&mut self) -> bool;
    /// When that is.
    fn next_at(&self) -> Option<Instant>;
    /// Entries handled since the beginning.
    fn entries(&self) -> u64;
    /// A checker has fired: nothing happens any more.
    fn has_stopped(&self) -> bool;
    /// A person's act: it is done at once, but after everything else that happens at this moment.
    fn inject(&mut self, stone: Stone, target: Target);
    fn view(&self) -> ClusterView;
    fn seed(&self) -> u64;
}

/// Virtual time advances in pieces of at most this length; the budget is looked at between them.
const PIECE: Span = Span::millis(1);
/// A keyframe at least this often, in virtual time; twice as far apart whenever there are too many.
const KEYFRAME_EVERY: Span = Span::millis(500);
const KEYFRAMES_MOST: usize = 120;
/// How far "to the next event" looks.
const NEXT_EVENT_WITHIN: Span = Span::secs(30);

/// An act and its place in the run: the end of a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Act {
    at: Instant,
    /// How many entries there were once it was done: as many as there must be when it is done again.
    entries: u64,
    stone: Stone,
    target: Target,
}

/// A run, and how many of the acts it has seen.
#[derive(Clone)]
struct Played<R> {
    run: R,
    acts: usize,
}

pub struct Lab<R: Run> {
    here: Played<R>,
    playback: Playback,
    view: Rc<ClusterView>,
    /// Copies at rising moments, the first from the beginning.
    keyframes: Vec<Played<R>>,
    keyframe_every: Span,
    /// What a person did on this branch, in order; after a step back some of it lies ahead, and is done again there.
    acts: Vec<Act>,
    /// The newest moment of this branch.
    known_until: Instant,
    reached: Option<u32>,
}

impl<R: Run> Lab<R> {
    pub fn new(run: R) -> Lab<R> {
        let here = Played { run, acts: 0 };
        Lab {
            view: Rc::new(here.run.view()),
            known_until: here.run.now(),
            keyframes: vec![here.clone()],
            keyframe_every: KEYFRAME_EVERY,
            here,
            playback: Playback::default(),
            acts: Vec::new(),
            reached: None,
        }
    }

    fn now(&self) -> Instant {
        self.here.run.now()
    }

    /// Runs to a moment ahead, doing on the way what a person did there.
    fn run_to(&mut self, until: Instant) {
        while let Some(act) = self.next_act().filter(|act| act.at <= until) {
            self.run_to_act(act);
        }
        self.here.run.run_until(until);
        self.arrived();
    }

    fn next_act(&self) -> Option<Act> {
        self.acts.get(self.here.acts).copied()
    }

    /// Goes to the act's own place, the end of its moment, and does it. It may have been thrown in the middle of that
    /// moment, after a single step; all the same it was done at the end.
    fn run_to_act(&mut self, act: Act) {
        let run = &mut self.here.run;
        run.run_until(act.at);
        run.inject(act.stone, act.target);
        assert!(run.now() == act.at, "an act of {}, done again at {}", act.at, run.now());
        assert!(run.entries() == act.entries, "after an act {} entries, this time {}", act.entries, run.entries());
        self.here.acts += 1;
    }

    fn step(&mut self) {
        let next = self.here.run.next_at();
        match self.next_act().filter(|act| next.is_none_or(|next| next > act.at)) {
            Some(act) => self.run_to_act(act),
            None => {
                self.here.run.step();
            }
        }
        self.arrived();
    }

    /// Notes how far the branch is known, and keeps a copy now and then.
    fn arrived(&mut self) {
        self.known_until = self.known_until.max(self.now());
        let last = self.keyframes.last().map_or(Instant::ZERO, |last| last.run.now());
        if self.now().since(last) < self.keyframe_every {
            return;
        }
        self.keyframes.push(self.here.clone());
        if self.keyframes.len() > KEYFRAMES_MOST {
            let mut index = 0;
            self.keyframes.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.keyframe_every = self.keyframe_every * 2;
        }
    }

    /// Back to the newest keyframe that `fits`; the beginning always does.
    fn rewind(&mut self, fits: impl Fn(&R) -> bool) {
        let count = self.keyframes.partition_point(|keyframe| fits(&keyframe.run)).max(1);
        self.here = self.keyframes[count - 1].clone();
    }

    fn seek(&mut self, to: Instant) {
        let to = to.min(self.known_until);
        if to < self.now() {
            self.rewind(|run| run.now() <= to);
        }
        self.run_to(to);
    }

    /// Undoes the newest step. One step may be several entries, so it is found by going there twice.
    fn step_back(&mut self) {
        let here = self.here.run.entries();
        self.rewind(|run| run.entries() < here);
        let from = self.here.clone();
        let mut steps = 0u64;
        while self.here.run.entries() < here {
            self.step();
            steps += 1;
        }
        self.here = from;
        for _ in 1..steps {
            self.step();
        }
    }

    /// Runs on until the story has a new line.
    fn next_event(&mut self) {
        let newest = |view: &ClusterView| view.story.last().map(|line| line.id);
        let (before, limit) = (newest(&self.view), self.now() + NEXT_EVENT_WITHIN);
        while self.now() < limit && newest(&self.here.run.view()) == before {
            self.run_to(self.now() + Span::millis(5));
        }
    }

    fn publish(&mut self) {
        let mut view = self.here.run.view();
        view.known_until = self.known_until;
        if self.playback.is_opening() && view.brokers.iter().any(has_committed) {
            self.playback.end_opening();
        }
        self.view = Rc::new(view);
    }
}

fn has_committed(broker: &glasshouse_core::view::BrokerView) -> bool {
    broker.replicas.iter().any(|replica| replica.high_watermark.0 > 0)
}

impl<R: Run> Source for Lab<R> {
    fn view(&self) -> Rc<ClusterView> {
        self.view.clone()
    }

    fn clock(&self) -> Clock {
        Clock {
            playing: self.playback.playing,
            live: self.now() >= self.known_until,
            speed: self.playback.speed(),
            notch: self.playback.index(),
            opening: self.playback.is_opening(),
            reached: self.reached,
        }
    }

    fn frame(&mut self, millis: f64, budget: f64, clock: &dyn Fn() -> f64) {
        if self.playback.playing && self.here.run.has_stopped() {
            self.playback.playing = false;
            self.publish();
        }
        let (start, asked) = (self.now(), self.playback.advance(millis));
        if asked == Span::ZERO {
            self.reached = None;
            return;
        }
        let (goal, began) = (start + asked, clock());
        while self.now() < goal && clock() - began <= budget {
            self.run_to(goal.min(self.now() + PIECE));
        }
        let speed = self.playback.speed();
        self.reached = (self.now() < goal).then(|| {
            let hundredths = self.now().since(start).0 * 100 * u64::from(speed.times);
            (hundredths / (asked.0 * u64::from(speed.over)).max(1)) as u32
        });
        self.publish();
    }

    fn time(&mut self, intent: TimeIntent) {
        match intent {
            TimeIntent::TogglePlay => self.playback.playing = !self.playback.playing,
            TimeIntent::Speed(index) => self.playback.choose(index),
            TimeIntent::Faster => self.playback.faster(),
            TimeIntent::Slower => self.playback.slower(),
            TimeIntent::Live => {
                self.seek(self.known_until);
                self.playback.playing = true;
            }
            TimeIntent::Seek(to) => self.seek(to),
            TimeIntent::Scrub(millis) => {
                let by = Span::millis(millis.unsigned_abs());
                let (now, ahead) = (self.now(), millis > 0);
                self.seek(if ahead { now + by } else { Instant(now.0.saturating_sub(by.0)) });
            }
            TimeIntent::Step | TimeIntent::StepBack | TimeIntent::NextEvent => {
                self.playback.playing = false;
                self.playback.end_opening();
                match intent {
                    TimeIntent::StepBack => self.step_back(),
                    TimeIntent::NextEvent => self.next_event(),
                    _ => self.step(),
                }
            }
        }
        self.publish();
    }

    /// In the past this makes a branch: what had come after is forgotten.
    fn throw(&mut self, stone: Stone, target: Target) {
        let (entries, at) = (self.here.run.entries(), self.now());
        self.acts.truncate(self.here.acts);
        self.keyframes.retain(|keyframe| (keyframe.run.entries(), keyframe.run.now()) <= (entries, at));
        self.known_until = at;
        self.here.run.inject(stone, target);
        self.acts.push(Act { at, entries: self.here.run.entries(), stone, target });
        self.here.acts += 1;
        self.publish();
    }

    fn seed(&self) -> u64 {
        self.here.run.seed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::id::NodeId;

    /// Ticks every 10 ms, and remembers after which tick it was killed.
    #[derive(Clone, Debug, PartialEq)]
    struct Ticker {
        now: Instant,
        ticks: u64,
        hits: Vec<(u64, Instant)>,
    }

    impl Run for Ticker {
        fn now(&self) -> Instant {
            self.now
        }
        fn run_until(&mut self, until: Instant) {
            while (self.ticks + 1) * 10_000_000 <= until.0 {
                self.step();
            }
            self.now = self.now.max(until);
        }
        fn step(&mut self) -> bool {
            self.ticks += 1;
            self.now = Instant(self.ticks * 10_000_000);
            true
        }
        fn next_at(&self) -> Option<Instant> {
            Some(Instant((self.ticks + 1) * 10_000_000))
        }
        fn entries(&self) -> u64 {
            self.ticks
        }
        fn has_stopped(&self) -> bool {
            false
        }
        fn inject(&mut self, _: Stone, _: Target) {
            self.hits.push((self.ticks, self.now));
        }
        fn view(&self) -> ClusterView {
            ClusterView { now: self.now, ..ClusterView::default() }
        }
        fn seed(&self) -> u64 {
            7
        }
    }

    fn lab() -> Lab<Ticker> {
        Lab::new(Ticker { now: Instant::ZERO, ticks: 0, hits: Vec::new() })
    }

    const KILL: (Stone, Target) = (Stone::Kill, Target::Node(NodeId::Broker(1)));

    fn play(lab: &mut Lab<Ticker>, frames: u32, millis: f64) {
        for _ in 0..frames {
            lab.frame(millis, 1e9, &|| 0.0);
        }
    }

    #[test]
    fn going_back_and_on_again_does_every_act_at_its_place() {
        let mut lab = lab();
        play(&mut lab, 30, 16.0);
        lab.throw(KILL.0, KILL.1);
        play(&mut lab, 40, 17.3);
        lab.time(TimeIntent::Step);
        lab.throw(KILL.0, KILL.1);
        play(&mut lab, 100, 16.0);
        let there = lab.here.run.clone();
        lab.time(TimeIntent::Seek(Instant(5_000_000)));
        assert_eq!(lab.here.run.hits, []);
        lab.time(TimeIntent::Seek(there.now));
        assert_eq!(lab.here.run, there);
    }

    /// A single step ends in the middle of a moment, sometimes with nothing to show for it; what is thrown there is done
    /// again at the same place, by a seek as by single steps.
    #[test]
    fn what_is_thrown_after_a_step_is_done_again_at_its_place() {
        let mut idle = 0;
        for (seed, warm_up) in [(1, 900), (2, 1_500), (3, 2_200), (4, 3_000)] {
            let mut lab = Lab::new(crate::world::first_page(seed));
            lab.time(TimeIntent::Seek(Instant::ZERO));
            lab.run_to(Instant::ZERO + Span::millis(warm_up));
            for target in [NodeId::Broker(1), NodeId::keeper(2), NodeId::Broker(3)] {
                let in_a_moment = |lab: &Lab<_>| Run::next_at(&lab.here.run) == Some(lab.now());
                for _ in 0..3_000 {
                    let entries = lab.here.run.entries();
                    lab.step();
                    if in_a_moment(&lab) && lab.here.run.entries() == entries {
                        idle += 1;
                        break;
                    }
                }
                while !in_a_moment(&lab) {
                    lab.step();
                }
                lab.throw(Stone::Kill, Target::Node(target));
                lab.run_to(lab.now() + Span::millis(40));
                lab.throw(Stone::Restart, Target::Node(target));
                lab.run_to(lab.now() + Span::millis(300));
            }
            let (there, digest) = (lab.now(), lab.here.run.digest());
            lab.time(TimeIntent::Seek(Instant(there.0 / 4)));
            lab.time(TimeIntent::Seek(there));
            assert_eq!(lab.here.run.digest(), digest, "seed {seed}, by a seek");
            lab.time(TimeIntent::Seek(Instant(there.0 - 250_000_000)));
            while lab.now() < there && Run::next_at(&lab.here.run).is_some_and(|next| next <= there) {
                lab.step();
            }
            lab.time(TimeIntent::Seek(there));
            assert_eq!(lab.here.run.digest(), digest, "seed {seed}, by steps");
        }
        assert!(idle > 0, "no step was without an entry");
    }

    #[test]
    fn an_act_in_the_past_forgets_what_came_after() {
        let mut lab = lab();
        play(&mut lab, 100, 16.0);
        lab.throw(KILL.0, KILL.1);
        lab.time(TimeIntent::Seek(Instant(1_000_000_000)));
        lab.throw(KILL.0, KILL.1);
        assert_eq!(lab.here.run.hits, [(100, Instant(1_000_000_000))]);
        assert_eq!(lab.view().known_until, Instant(1_000_000_000));
    }

    #[test]
    fn stepping_back_undoes_one_entry() {
        let mut lab = lab();
        play(&mut lab, 100, 16.0);
        let entries = lab.here.run.entries();
        lab.time(TimeIntent::StepBack);
        assert_eq!((lab.here.run.entries(), lab.clock().playing), (entries - 1, false));
    }

    #[test]
    fn the_run_does_not_depend_on_how_often_the_page_paints() {
        let (mut often, mut seldom) = (lab(), lab());
        play(&mut often, 100, 10.0);
        play(&mut seldom, 20, 50.0);
        assert_eq!(often.here.run, seldom.here.run);
    }
}
