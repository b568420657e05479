//! Stories that are told twice: on the simulator, and on real processes. Each text with a line `# portable` is one.

use glasshouse_core::sim::scenario::Scenario;
use glasshouse_tests::cluster::{Processes, SimCluster, tell, unportable};
use glasshouse_tests::texts::below;
use std::panic::catch_unwind;
use std::sync::Mutex;

/// Clusters of processes that run at once: they wait more than they work.
const AT_ONCE: usize = 3;

fn stories() -> Vec<(String, Scenario)> {
    let texts = below("scenarios").into_iter().filter(|text| text.text.lines().any(|line| line == "# portable"));
    let stories = texts.map(|text| {
        let story = Scenario::parse(&text.text).unwrap_or_else(|mistake| panic!("{}: {mistake}", text.name));
        (text.name, story)
    });
    stories.collect()
}

#[test]
fn a_portable_story_has_nothing_that_only_a_simulator_can_do() {
    let stories = stories();
    assert!(stories.len() >= 6, "{} stories are portable", stories.len());
    let cannot = stories.iter().filter_map(|(name, story)| Some(format!("{name}: {}", unportable(story)?)));
    assert_eq!(cannot.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn they_end_well_on_the_simulator() {
    for (name, story) in stories() {
        assert_eq!(tell(SimCluster::new(&story), &story), Vec::<String>::new(), "{name}");
    }
}

/// STORY=NAME tells one alone.
#[test]
fn they_end_well_on_processes() {
    let one = std::env::var("STORY").unwrap_or_default();
    let told: Vec<(String, Scenario)> = stories().into_iter().filter(|(name, _)| name.contains(&one)).collect();
    assert!(!told.is_empty(), "no portable story is called {one}");
    let (next, wrongs) = (Mutex::new(told.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((name, story)) = next.lock().expect("nobody panics while drawing").next() else { return };
                    // A panic has told itself; the others go on.
                    let ended = catch_unwind(|| tell(Processes::start(story), story));
                    let ended = ended.unwrap_or_else(|_| vec!["it did not come to its end".to_owned()]);
                    println!("{name}: {}", if ended.is_empty() { "well" } else { "badly" });
                    wrongs
                        .lock()
                        .expect("nobody panics while adding")
                        .extend(ended.into_iter().map(|wrong| format!("{name}: {wrong}")));
                }
            });
        }
    });
    let wrongs = wrongs.into_inner().unwrap_or_default();
    assert!(wrongs.is_empty(), "\n{}\n", wrongs.join("\n"));
}
