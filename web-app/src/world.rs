//! The simulator as the laboratory's run: what a person throws becomes actions of the scenario.

use crate::intent::{Stone, Target};
use crate::lab::Run;
use glasshouse_core::id::NodeId;
use glasshouse_core::sim::scenario::{Action, Scenario};
use glasshouse_core::sim::{World, trace::Keep};
use glasshouse_core::time::Instant;
use glasshouse_core::view::ClusterView;

/// The world of the first page. Equal seeds give equal worlds.
pub fn first_page(seed: u64) -> World {
    let mut world = World::new(&Scenario::first_page(seed));
    world.trace.keep = Keep::Notes;
    world
}

impl Run for World {
    fn now(&self) -> Instant {
        World::now(self)
    }

    fn run_until(&mut self, until: Instant) {
        World::run_until(self, until);
    }

    fn step(&mut self) -> bool {
        World::step(self)
    }

    fn next_at(&self) -> Option<Instant> {
        World::next_at(self)
    }

    fn entries(&self) -> u64 {
        World::entries(self)
    }

    fn has_stopped(&self) -> bool {
        self.checks.has_fired()
    }

    fn inject(&mut self, stone: Stone, target: Target) {
        for action in actions(self, stone, target) {
            World::inject(self, action);
        }
        // They are done now, last of all that happens at this moment.
        self.run_until(World::now(self));
    }

    fn view(&self) -> ClusterView {
        World::view(self)
    }

    fn seed(&self) -> u64 {
        self.scenario().seed
    }
}

/// What a stone does to a target. A link is cut or healed both ways; a node that is cut hears nobody.
fn actions(world: &World, stone: Stone, target: Target) -> Vec<Action> {
    let both = |a: NodeId, b: NodeId, act: fn(NodeId, NodeId) -> Action| [act(a, b), act(b, a)];
    let cut: fn(NodeId, NodeId) -> Action = |from, to| Action::Cut { from, to };
    let heal: fn(NodeId, NodeId) -> Action = |from, to| Action::Heal { from, to };
    match (stone, target) {
        (Stone::Kill, Target::Node(node)) => vec![Action::Kill(node)],
        (Stone::Restart, Target::Node(node)) => vec![Action::Restart(node)],
        (Stone::Pause, Target::Node(node)) => {
            let paused = world.host(node).is_some_and(|host| host.paused.is_some());
            vec![if paused { Action::Resume(node) } else { Action::Pause(node) }]
        }
        (Stone::Cut, Target::Link(a, b)) => both(a, b, cut).to_vec(),
        (Stone::Heal, Target::Link(a, b)) => both(a, b, heal).to_vec(),
        (Stone::Cut | Stone::Heal, Target::Node(node)) => {
            let act = if stone == Stone::Cut { cut } else { heal };
            let others = world.hosts().iter().map(|host| host.id).filter(|other| *other != node);
            others.flat_map(|other| both(node, other, act)).collect()
        }
        // The page offers none of these.
        (Stone::Kill | Stone::Restart | Stone::Pause, Target::Link(..)) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::time::Span;
    use glasshouse_core::view::{KeeperRole, KeeperView, NodeState, StoryKind};

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Span::millis(millis)
    }

    #[test]
    fn the_first_record_is_committed_soon() {
        for seed in 1..=5 {
            let mut world = first_page(seed);
            let committed = |view: &ClusterView| {
                view.brokers.iter().flat_map(|broker| &broker.replicas).any(|replica| replica.high_watermark.0 > 0)
            };
            let mut now = 0;
            while !committed(&Run::view(&world)) {
                now += 50;
                assert!(now <= 5_000, "seed {seed}: nothing is committed after {now} ms");
                Run::run_until(&mut world, at(now));
            }
            println!("seed {seed}: the first record is committed at {now} ms");
        }
    }

    #[test]
    fn a_killed_leader_is_replaced_and_the_story_tells_it() {
        let mut world = first_page(7);
        Run::run_until(&mut world, at(6_000));
        let led = |view: &ClusterView| view.known.partitions[0].leader;
        let before = led(&Run::view(&world)).expect("orders-0 is led");
        Run::inject(&mut world, Stone::Kill, Target::Node(NodeId::Broker(before.0 as u32)));
        let view = Run::view(&world);
        assert!(matches!(view.state(NodeId::Broker(before.0 as u32)), Some(NodeState::Down { .. })));
        Run::run_until(&mut world, at(20_000));
        let view = Run::view(&world);
        assert!(led(&view).is_some_and(|leader| leader != before), "{:?}", view.known.partitions);
        let told = |kind| view.story.iter().any(|line| line.kind == kind && line.turning);
        assert!(told(StoryKind::You) && told(StoryKind::Session) && told(StoryKind::Leadership));
        assert!(view.causes.len() >= 3, "{:?}", view.causes);
        assert_eq!(view.ledger.acknowledged, view.ledger.survive);
    }

    /// Runs on, and looks every so often: who is said to be down is, and who is said to choose can.
    fn watch(world: &mut World, until: u64) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        while world.now() < at(until) {
            Run::run_until(world, World::now(world) + Span::millis(20));
            let view = Run::view(world);
            let why = view.headline.why.to_string();
            for broker in &view.brokers {
                assert!(!why.contains(&format!("{} is down", broker.node)) || broker.state.is_down(), "{why}");
            }
            let controls = |id| view.brokers.iter().any(|broker| broker.broker == id && broker.state.is_up());
            assert!(!why.contains("is choosing") || view.known.controller.is_some_and(controls), "{why}");
            said.push(why);
        }
        said
    }

    fn tells(said: &[String], words: &str) -> bool {
        said.iter().any(|why| why.contains(words))
    }

    #[test]
    fn the_headline_is_true_of_a_leader_that_is_back_before_its_session_ran_out() {
        let mut world = first_page(7);
        Run::run_until(&mut world, at(6_000));
        let leader = Run::view(&world).known.partitions[0].leader.expect("orders-0 is led");
        let target = Target::Node(NodeId::Broker(leader.0 as u32));
        Run::inject(&mut world, Stone::Kill, target);
        assert!(tells(&watch(&mut world, 8_000), "the ensemble does not know yet"));
        Run::inject(&mut world, Stone::Restart, target);
        let back = Run::view(&world);
        let broker = back.brokers.iter().find(|broker| broker.broker == leader).expect("it is there");
        for replica in &broker.replicas {
            assert_eq!(
                replica.records.last().map(|record| record.offset.0 + 1),
                Some(replica.log_end.0),
                "on its disk"
            );
        }
        let said = watch(&mut world, 20_000);
        assert!(tells(&said, "is back, but its session of before still stands"), "{said:?}");
        assert!(tells(&said, "is to lead it"), "{said:?}");
    }

    /// Brokers that lost the ensemble for long come back with new sessions, and their old ones run out meanwhile.
    #[test]
    fn the_story_does_not_take_an_old_session_for_the_broker_that_had_it() {
        let mut world = first_page(7);
        Run::run_until(&mut world, at(6_000));
        let keepers = [1, 2, 3].map(|number| Target::Node(NodeId::keeper(number)));
        for keeper in keepers {
            Run::inject(&mut world, Stone::Kill, keeper);
        }
        Run::run_until(&mut world, at(18_000));
        for keeper in keepers {
            Run::inject(&mut world, Stone::Restart, keeper);
        }
        Run::run_until(&mut world, at(34_000));
        let view = Run::view(&world);
        let told: Vec<&str> = view.story.iter().map(|line| &*line.text).collect();
        assert!(told.iter().any(|line| line.contains("from old session 0x")), "{told:?}");
        assert!(!told.iter().any(|line| line.ends_with("its session expires.")), "{told:?}");
    }

    #[test]
    fn the_headline_says_who_waits_when_few_are_left() {
        let mut world = first_page(7);
        Run::run_until(&mut world, at(6_000));
        let brokers = [1, 2, 3].map(|number| Target::Node(NodeId::Broker(number)));
        for broker in brokers {
            Run::inject(&mut world, Stone::Kill, broker);
        }
        assert!(tells(&watch(&mut world, 16_000), "nobody can choose a leader"));
        Run::inject(&mut world, Stone::Restart, brokers[0]);
        let said = watch(&mut world, 30_000);
        assert!(tells(&said, "until one of its ISR was back"), "{said:?}");
        assert!(tells(&said, "Too few replicas are in sync"), "{said:?}");

        let mut world = first_page(7);
        Run::run_until(&mut world, at(6_000));
        let leads = |view: &ClusterView| {
            let leads = |keeper: &&KeeperView| keeper.role == KeeperRole::Leading { established: true };
            view.keepers.iter().find(leads).map(KeeperView::node)
        };
        let leader = leads(&Run::view(&world)).expect("the ensemble is led");
        Run::inject(&mut world, Stone::Pause, Target::Node(leader));
        let said = watch(&mut world, 12_000);
        assert!(tells(&said[..1], "It leads the ensemble"), "{said:?}");
        assert!(tells(&said, "The other keepers are a majority"), "{said:?}");
    }

    #[test]
    fn each_stone_becomes_what_it_says_on_each_target() {
        let mut world = first_page(7);
        let (one, two) = (NodeId::Broker(1), NodeId::keeper(2));
        let thrown = |world: &World, stone| {
            [Target::Node(one), Target::Link(one, two)].map(|target| actions(world, stone, target))
        };
        assert_eq!(thrown(&world, Stone::Kill), [vec![Action::Kill(one)], vec![]]);
        assert_eq!(thrown(&world, Stone::Restart), [vec![Action::Restart(one)], vec![]]);
        assert_eq!(thrown(&world, Stone::Pause), [vec![Action::Pause(one)], vec![]]);

        // A link is cut and healed both ways; a node's links are those to everybody else, clients too.
        let cut = |from, to| Action::Cut { from, to };
        let heal = |from, to| Action::Heal { from, to };
        let others = ["keeper-1", "keeper-2", "keeper-3", "broker-2", "broker-3", "client-1", "client-2", "client-3"];
        let others = others.map(|name| NodeId::parse(name).expect("a node's name"));
        let around =
            |act: fn(NodeId, NodeId) -> Action| others.iter().flat_map(move |it| [act(one, *it), act(*it, one)]);
        assert_eq!(thrown(&world, Stone::Cut), [around(cut).collect(), vec![cut(one, two), cut(two, one)]]);
        assert_eq!(thrown(&world, Stone::Heal), [around(heal).collect(), vec![heal(one, two), heal(two, one)]]);

        // What is paused goes on by the same stone, and is paused again by the next; the others are not meant.
        Run::inject(&mut world, Stone::Pause, Target::Node(one));
        assert_eq!(actions(&world, Stone::Pause, Target::Node(one)), [Action::Resume(one)]);
        assert_eq!(actions(&world, Stone::Pause, Target::Node(two)), [Action::Pause(two)]);
        assert_eq!(actions(&world, Stone::Kill, Target::Node(one)), [Action::Kill(one)]);
        Run::inject(&mut world, Stone::Pause, Target::Node(one));
        assert_eq!(actions(&world, Stone::Pause, Target::Node(one)), [Action::Pause(one)]);
    }

    #[test]
    fn looking_changes_nothing() {
        let (mut watched, mut alone) = (first_page(3), first_page(3));
        for step in 1..=300 {
            Run::run_until(&mut watched, at(step * 10));
            let _ = Run::view(&watched);
        }
        Run::run_until(&mut alone, at(3_000));
        assert_eq!(watched.digest(), alone.digest());
    }
}
