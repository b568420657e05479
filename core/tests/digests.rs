//! One digest everywhere: the same scenarios give the digests of `digests.txt` natively, in debug and in release, and in
//! a browser (`wasm-pack test --headless --chrome core`).
//!
//! A change of behaviour changes them: `UPDATE_EXPECT=1 cargo test -p glasshouse-core --test digests` writes them anew.

use glasshouse_core::rules::Rules;
use glasshouse_core::sim::{World, scenario::Scenario, swarm};
use glasshouse_core::time::{Instant, Span};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::{wasm_bindgen_test as test, wasm_bindgen_test_configure};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test_configure!(run_in_browser);

const KEPT: &str = include_str!("digests.txt");

/// A line for each second of the page's first world, and for each fifth of a few storms.
fn digests() -> String {
    let mut lines = String::new();
    let mut follow = |name: &str, scenario: &Scenario, step: Span, steps: u64| {
        let mut world = World::new(scenario);
        for n in 1..=steps {
            world.run_until(Instant::ZERO + step * n);
            lines += &format!("{name} {} {} {:016x}\n", world.now(), world.entries(), world.digest());
        }
    };
    follow("first-page", &Scenario::first_page(1), Span::secs(1), 5);
    for seed in [1, 2] {
        follow(&format!("seed-{seed}"), &swarm::scenario(seed, Rules::default()), Span::secs(5), 3);
    }
    lines
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the core touches no file; who renews its digests does")]
fn a_scenario_has_one_digest_everywhere() {
    let told = digests();
    #[cfg(not(target_arch = "wasm32"))]
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/digests.txt");
        std::fs::write(file, &told).expect("the digests can be written");
        return;
    }
    assert_eq!(told, KEPT, "the digests of tests/digests.txt; if behaviour was meant to change, write them anew");
}
