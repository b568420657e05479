//! Stories whose middle counts: what a node says when its disk fails it, how a world is told again as a scenario, and
//! how a failing one becomes small.

use glasshouse_core::id::{NodeId, SessionId};
use glasshouse_core::rules::Rules;
use glasshouse_core::sim::World;
use glasshouse_core::sim::run::run;
use glasshouse_core::sim::scenario::{Action, ClientSpec, Scenario};
use glasshouse_core::sim::shrink::shrink;
use glasshouse_core::sim::swarm;
use glasshouse_core::sim::trace::Keep;
use glasshouse_core::time::{Instant, Span};
use glasshouse_core::view::Registration;

fn at(millis: u64) -> Instant {
    Instant::ZERO + Span::millis(millis)
}

/// Three keepers with a busy client, and short time-outs.
fn keepers(seed: u64) -> Scenario {
    let mut scenario = Scenario {
        seed,
        clients: vec![ClientSpec::Keeper { per_second: 50 }],
        length: Span::secs(14),
        ..Scenario::default()
    };
    scenario.settings.brokers = 0;
    scenario.settings.tick = Span::millis(200);
    scenario.settings.dead_peer = Span::millis(500);
    scenario
}

/// Why a node is down.
fn why(world: &World, node: NodeId) -> Option<String> {
    Some(world.host(node)?.down.as_ref()?.why.clone())
}

#[test]
fn a_full_disk_stops_the_node_with_a_sentence_until_there_is_space() {
    let two = NodeId::keeper(2);
    let mut scenario = keepers(1);
    scenario.act(at(4_000), Action::FullDisk(two));
    scenario.act(at(8_000), Action::GoodDisk(two));
    scenario.act(at(8_000), Action::Restart(two));
    let mut world = World::new(&scenario);
    world.run_until(at(7_000));
    let said = why(&world, two).expect("it stopped");
    assert!(said.contains("full"), "{said:?}");
    world.run_until(at(14_000));
    assert!(world.is_whole(), "{:?}", why(&world, two));
    assert_eq!(world.checks.fired(), None);
    assert_eq!(run(&scenario, Keep::Nothing).0.broken(), None);
}

/// A bit flips somewhere in a keeper's files, while its journal is short: the flip is in the last transaction now and then,
/// which a torn write could have left, and mostly before it, where only rot explains it. Either the keeper can start from
/// what is left, or it says why it cannot: both happen, and nothing acknowledged is missing from the ensemble.
#[test]
fn bit_rot_in_a_keepers_files_is_cut_or_refused_and_never_believed() {
    let two = NodeId::keeper(2);
    let mut refusals = Vec::new();
    let seeds = 0..20;
    for seed in seeds.clone() {
        let mut scenario = keepers(seed);
        scenario.clients = vec![ClientSpec::Keeper { per_second: 1 }];
        scenario.act(at(4_000), Action::Kill(two));
        scenario.act(at(4_100), Action::BitRot(two));
        scenario.act(at(4_200), Action::Restart(two));
        scenario.act(at(8_000), Action::Wipe(two));
        scenario.act(at(8_000), Action::Restart(two));
        let mut world = World::new(&scenario);
        world.run_until(at(7_000));
        refusals.extend(why(&world, two));
        world.run_until(at(14_000));
        assert_eq!(world.checks.fired(), None, "seed {seed}");
        assert!(world.is_whole(), "seed {seed}: {:?}", why(&world, two));
    }
    assert!(!refusals.is_empty() && refusals.len() < seeds.count(), "{refusals:?}");
    assert!(refusals.iter().all(|said| said.len() > 20), "a refusal is a sentence: {refusals:?}");
}

/// The brokers lose their power together, and a bit flips in the files of one of them, mostly in a log. Whether that replica
/// led or followed, it is in the ISR when it is back: it leaves before it cuts, or is refused, and nothing is lost.
#[test]
fn bit_rot_in_a_brokers_files_costs_nothing_that_another_holds() {
    let (mut damaged, mut cut) = (0, 0);
    for seed in 0..20 {
        let text = format!(
            "glasshouse scenario 1\nseed {seed}\nset tick 200ms\nset dead-peer 500ms\nset broker-session 1s\n\
             topic orders partitions 2 replicas 3 min-isr 2\nproducer orders acks all idempotent rate 40\nrun 25s\n\
             at 12s kill broker-1\nat 12s kill broker-2\nat 12s kill broker-3\nat 12.1s bit-rot broker-3\n\
             at 12.2s restart broker-1\nat 12.2s restart broker-2\nat 12.2s restart broker-3\n"
        );
        let (outcome, world) = run(&Scenario::parse(&text).expect("a scenario"), Keep::Notes);
        assert_eq!(outcome.broken(), None, "seed {seed}");
        assert!(outcome.allowed.is_empty(), "seed {seed}: {:?}", outcome.allowed);
        let told = |words: &str| world.trace.story.iter().any(|line| line.to_string().contains(words));
        damaged += usize::from(told("neither leads nor follows"));
        cut += usize::from(told("where it is damaged"));
    }
    assert!(damaged >= 10 && cut == damaged, "{damaged} found damage, {cut} cut it");
}

/// Power goes while a journal is being written, again and again: what was acknowledged is there.
#[test]
fn torn_journals_lose_nothing_that_was_acknowledged() {
    let mut lost = 0;
    for seed in 0..10 {
        let mut scenario = keepers(seed);
        scenario.settings.sync_latency = Span::millis(15);
        for round in 0..4 {
            // The client writes every 20 ms on the dot: only between its ticks is something on its way to the disks.
            let off = 3_000 + round * 2_000 + seed * 2;
            scenario.act(at(off), Action::PowerOffAll);
            scenario.act(at(off + 300), Action::RestartAll);
        }
        let (outcome, world) = run(&scenario, Keep::Nothing);
        assert_eq!(outcome.broken(), None, "seed {seed}: {:?}", outcome.verdict);
        assert!(world.is_whole(), "seed {seed}");
        lost += outcome.counts.get("power loss with un-synced bytes lost").copied().unwrap_or_default();
    }
    assert!(lost >= 10, "un-synced bytes were lost {lost} times only");
}

#[test]
fn what_was_done_by_hand_is_a_scenario_that_runs_the_same_way() {
    let mut world = World::new(&keepers(3));
    world.run_until(at(4_000));
    world.inject(Action::Kill(NodeId::keeper(3)));
    world.run_until(at(6_000));
    world.inject(Action::Cut { from: NodeId::keeper(1), to: NodeId::keeper(2) });
    world.run_until(at(7_500));
    world.inject(Action::HealAll);
    world.inject(Action::Restart(NodeId::keeper(3)));
    world.run_until(at(12_000));
    let text = world.as_scenario().to_string();
    let mut again = World::new(&Scenario::parse(&text).expect("a world's own scenario can be read"));
    again.run_until(at(12_000));
    assert_eq!((again.entries(), again.digest()), (world.entries(), world.digest()), "{text}");
}

#[test]
fn a_step_back_is_a_keyframe_and_the_way_from_there() {
    let mut world = World::new(&keepers(4));
    world.run_until(at(5_000));
    let keyframe = world.clone();
    world.run_until(at(7_000));
    let seen = world.digest();
    world.run_until(at(10_000));
    let mut back = keyframe;
    back.run_until(at(7_000));
    assert_eq!(back.digest(), seen);
}

#[test]
fn a_failing_scenario_shrinks_to_one_that_fails_the_same_way() {
    let mut rules = Rules::default();
    rules.set("truncation", "high-watermark").expect("it is a rule");
    let broken = |scenario: &Scenario| run(scenario, Keep::Nothing).0.broken().map(str::to_owned);
    let failing = (0..200).map(|seed| swarm::scenario(seed, rules)).find_map(|it| Some((broken(&it)?, it)));
    let (invariant, scenario) = failing.expect("200 seeds break an old rule");
    let small = shrink(&scenario, 60, |candidate| broken(candidate).as_ref() == Some(&invariant));
    assert_eq!(broken(&small), Some(invariant));
    assert!(
        small.actions.len() < scenario.actions.len(),
        "{} actions of {}",
        small.actions.len(),
        scenario.actions.len()
    );
}

#[test]
fn a_mistake_in_a_scenario_gets_one_sentence_that_names_its_line() {
    for (text, line, words) in [
        ("", 1, "glasshouse scenario 1"),
        ("glasshouse scenario 9\n", 1, "expected format 1"),
        ("glasshouse scenario 1\nseed many\n", 2, "whole number"),
        ("glasshouse scenario 1\n\nset colour red\n", 3, "no setting is called"),
        ("glasshouse scenario 1\nrule truncation=never\n", 2, "leader-epoch"),
        ("glasshouse scenario 1\nat 2s kill broker-1\nat 1s kill broker-2\n", 3, "in order of time"),
        ("glasshouse scenario 1\nat 2s explode broker-1\n", 2, "expected kill"),
    ] {
        let mistake = Scenario::parse(text).expect_err(text);
        assert!(mistake.line == line && mistake.expected.contains(words), "{text:?}: {mistake}");
    }
}

/// What only the whole text shows. The mistake stands on line 6 of each.
#[test]
fn a_mistake_against_another_line_names_its_own() {
    let before = "glasshouse scenario 1\nseed 1\ntopic a partitions 2 replicas 3 min-isr 2\nproducer a acks all idempotent rate 1\nadmin\n";
    for (statement, words) in [
        ("set keepers 99", "keepers is between 1 and 9, not 99"),
        ("set keepers 0", "between 1 and 9"),
        ("set brokers 17", "between 0 and 16"),
        ("set retention-every 0s", "retention-every is between 1ms and 86400s, not 0s"),
        ("set rebalance-every 0s", "between 1ms"),
        ("set broker-session 0s", "between 1ms"),
        ("set client-session 0s", "between 1ms"),
        ("set tick 900000s", "between 1ms"),
        ("set record-bytes 4000000000", "record-bytes is between 0 and 1000000"),
        ("set batch-records 0", "batch-records is between 1 and 1000"),
        ("set snapshot-piece 0", "between 1"),
        ("set min-isr 4", "min-isr is between 1 and 3"),
        ("set latency 2s", "broker-session is at least 24.0081s here"),
        ("set broker-session 1ms", "broker-session is at least 14100us here"),
        ("seed 2", "seed stands on line 2 already"),
        ("topic b partitions 0 replicas 1", "number of partitions is between 1 and 1000, not 0"),
        ("topic b partitions 1 replicas 9", "number of replicas is between 1 and 3, not 9"),
        ("topic b partitions 1 replicas 1 min-isr 5", "min-isr is between 1 and 1, not 5"),
        ("topic a partitions 1 replicas 1", "there is a topic \"a\" already"),
        ("topic b/c partitions 1 replicas 1", "letters, digits"),
        ("producer b acks all plain rate 1", "there is no topic \"b\""),
        ("producer a acks all plain rate 10001", "rate is between 0 and 10000"),
        ("consumer b", "there is no topic \"b\""),
        ("zookeeper-client rate 4000000000", "rate is between 1 and 10000"),
        ("expect LOG-99", "no invariant is called \"LOG-99\""),
        ("at 1s kill broker-9", "there is no broker-9; there are keeper-1"),
        ("at 1s cut broker-1 -> broker-1", "between broker-1 and itself there is no link"),
        ("at 1s break keeper-4 keeper-1", "there is no keeper-4"),
        ("at 1s lose-reply broker-1 broker-2", "expected a broker and a client"),
        ("at 1s slow-disk keeper-1 400000000s", "no time is longer"),
        ("at 1s jump keeper-1 9223372036854775807", "a wall clock jumps by between -315360000000 and 315360000000"),
        ("at 1s drift keeper-1 -2147483648", "a clock drifts by between -500000 and 500000"),
        ("at 1s fail-reply broker-1 client-1 999", "expected the code of one of Kafka's errors"),
        ("at 99s kill broker-1", "the run ends at 5s"),
        ("at 1s ask client-7 still", "there is no client-7"),
        ("at 1s ask broker-1 still", "expected a client"),
        ("at 1s ask client-2 still", "a producer or a ZooKeeper client can be asked that, and client-2 is `admin`"),
        ("at 1s ask client-1 elect-preferred a-0", "an admin can be asked that"),
        ("at 1s ask client-1 produce a-7 1", "a has no partition 7"),
        ("at 1s ask client-1 produce b-0 1", "there is no topic \"b\""),
        ("at 1s ask client-1 produce a-0 0", "the number of records"),
        ("at 1s ask client-2 reassign a-0 1,2,9", "no broker with the id 9"),
        ("at 1s ask client-2 reassign a-0 1,1", "stands twice"),
    ] {
        let text = format!("{before}{statement}\nrun 5s\n");
        let mistake = Scenario::parse(&text).expect_err(statement);
        assert!(mistake.line == 6 && mistake.expected.contains(words), "{statement}: {mistake}");
    }
    for statement in [
        "at 1s ask client-2 create-topic b partitions 1 replicas 1 min-isr 1",
        "at 1s ask client-1 still",
        "expect clean",
        "set latency 0s",
        "zookeeper-client rate 10000",
    ] {
        let text = format!("{before}{statement}\nrun 5s\n");
        assert_eq!(Scenario::parse(&text).map(drop), Ok(()), "{statement}");
    }
}

/// The session that a broker's registration hangs on.
fn registered_by(world: &World, node: NodeId) -> Option<SessionId> {
    world.view().known.registrations.iter().find(|it| it.node == node).and_then(|it| match it.state {
        Registration::Here { session, .. } => Some(session),
        Registration::Never | Registration::Gone { .. } => None,
    })
}

/// Its registration of before the crash stands until that session expires. It waits for that, and does not ask now and
/// then: clients that learn of the new leader should not learn that the broker does not exist.
#[test]
fn a_restarted_broker_is_registered_again_once_its_old_session_is_over() {
    let two = NodeId::Broker(2);
    for seed in 1..=5 {
        let mut scenario = Scenario::first_page(seed);
        scenario.settings.latency = Span::millis(1);
        scenario.settings.jitter = Span::millis(1);
        scenario.act(at(5_000), Action::Kill(two));
        scenario.act(at(5_200), Action::Restart(two));
        let mut world = World::new(&scenario);
        world.run_until(at(4_999));
        let before = registered_by(&world, two).expect("it is registered");
        let (mut now, mut stood, mut again) = (5_000, 0, 0);
        while again == 0 {
            now += 5;
            assert!(now < 30_000, "seed {seed}: it is not registered again");
            world.run_until(at(now));
            match registered_by(&world, two) {
                Some(session) if session == before => stood = now,
                Some(_) => again = now,
                None => {}
            }
        }
        assert!(stood > 6_000, "seed {seed}: its old session outlives it, and ended at {stood} ms");
        assert!(again - stood <= 100, "seed {seed}: gone after {stood} ms, back at {again} ms");
    }
}
