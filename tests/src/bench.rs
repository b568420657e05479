//! `cargo sim --bench`: how fast the simulator is, on one core.

use crate::say;
use glasshouse_core::id::NodeId;
use glasshouse_core::sim::scenario::Action;
use glasshouse_core::sim::scenario::{ClientSpec, Scenario, TopicSpec};
use glasshouse_core::sim::trace::Keep;
use glasshouse_core::sim::world::World;
use glasshouse_core::time::{Instant, Span};
use serde_json::json;

/// 3 keepers and 3 brokers, 20 batches and 5 znode writes a second, a stone now and then, all checkers on.
pub fn scenario(length: Span) -> Scenario {
    let mut scenario = Scenario {
        seed: 1,
        topics: vec![TopicSpec { name: "orders".into(), partitions: 2, replicas: 3, min_isr: 2, unclean: false }],
        clients: vec![
            ClientSpec::Producer { topic: "orders".into(), acks: -1, idempotent: true, per_second: 20 },
            ClientSpec::Consumer { topic: "orders".into() },
            ClientSpec::Keeper { per_second: 5 },
        ],
        length,
        ..Scenario::default()
    };
    scenario.settings.broker_session = Span::secs(6);
    scenario.settings.replica_lag = Span::secs(10);
    let mut at = Instant::ZERO + Span::secs(20);
    let mut n = 0;
    while at < Instant::ZERO + length {
        let node =
            [NodeId::Broker(1), NodeId::keeper(3), NodeId::Broker(2), NodeId::keeper(1), NodeId::Broker(3)][n % 5];
        scenario.act(at, Action::Kill(node));
        scenario.act(at + Span::secs(12), Action::Restart(node));
        at += Span::secs(60);
        n += 1;
    }
    scenario
}

/// Measures and prints entries per second, the real-time factor and entries per simulated second.
pub fn run(as_json: bool) {
    let length = Span::secs(600);
    let mut world = World::new(&scenario(length));
    world.trace.keep = Keep::Nothing;
    let started = std::time::Instant::now();
    world.run_until(Instant::ZERO + length);
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(world.checks.fired(), None, "the bench's scenario holds its promises");
    let simulated = length.as_millis() as f64 / 1000.0;
    let (rate, factor) = (world.entries() as f64 / seconds, simulated / seconds);
    let density = world.entries() as f64 / simulated;
    if as_json {
        say!(
            "{}",
            json!({"entries_per_second": rate, "real_time_factor": factor, "entries": world.entries(),
            "entries_per_simulated_second": density, "simulated_seconds": simulated, "seconds": seconds})
        );
    } else {
        say!("{:.0} entries/s, {factor:.0}x real time, {density:.0} entries per simulated second", rate);
        say!(
            "({} entries, {simulated:.0} simulated seconds in {seconds:.2} s, one core, all checkers on)",
            world.entries()
        );
    }
}
