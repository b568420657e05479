//! The built page in headless Chromium: it starts, commits, loses a leader and finds another. `make test-page` builds
//! the page first; without `dist/` there is nothing to test, so these tests are ignored elsewhere.

mod driver;
mod stones;

use driver::{Browser, serve, until};
use glasshouse_core::sim::run::{bench, keyframes};
use glasshouse_core::time::Span;
use std::path::Path;
use std::time::Duration;

fn page() -> String {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").join("dist");
    assert!(dist.join("index.html").exists(), "{} is not built: make build", dist.display());
    serve(dist)
}

/// The broker that leads orders-0, as the pane of the stage says.
fn leader(browser: &Browser) -> Option<String> {
    let lane = browser.script(
        "const lane = [...document.querySelectorAll('#tape .lane')].find(l => l.querySelector('.ln').textContent === 'orders-0');
         const spans = lane ? lane.querySelectorAll('.span') : [];
         return spans.length ? spans[spans.length - 1].title : ''",
    );
    lane.as_str()?.strip_suffix(" leads").map(str::to_owned)
}

#[test]
#[ignore = "needs dist/ and chromedriver: make test-page"]
fn a_leader_dies_and_another_takes_over() {
    let address = page();
    let browser = Browser::open(1440, 900);
    browser.go(&format!("{address}#seed=7"));
    let (_, took) = until("the first record is committed", || (browser.count(".log.lead .cell.c") > 0).then_some(()));
    println!("the first record is committed {:.1} s after loading", took.as_secs_f64());
    assert!(took <= Duration::from_secs(3), "{took:?} until the first record was committed");
    assert!(browser.text("#headline").contains("It runs"), "{}", browser.text("#headline"));

    let (before, _) = until("orders-0 has a leader", || leader(&browser));
    browser.click(&format!("#at-{before}"));
    until("it is selected", || browser.text(".insp h2").contains(&before).then_some(()));
    browser.click(".insp .acts button");
    until("it is down", || (browser.count(".broker.down") == 1).then_some(()));
    assert!(browser.text(".story").contains(&format!("You killed {before}.")), "{}", browser.text(".story"));

    // Each headline is noted: at speed one lasts for moments, and a slow machine asks too seldom.
    browser.script(
        "const headline = document.querySelector('#headline'); window.headlines = '';
         new MutationObserver(() => window.headlines += headline.textContent + '|')
             .observe(headline, {childList: true, subtree: true, characterData: true})",
    );
    // At full speed, then ten times that: its session takes six seconds to run out.
    for _ in 0..6 {
        browser.press("]");
    }
    let (after, _) = until("another broker leads orders-0", || leader(&browser).filter(|now| *now != before));
    println!("{before} led orders-0, {after} leads it now");
    let headlines = || browser.script("return window.headlines").as_str().unwrap_or_default().to_owned();
    until("the headline says so", || headlines().contains(&format!("{after} took over")).then_some(()));
}

/// What `measure` of the page does, here.
fn measure(seconds: u64) -> (f64, Vec<String>) {
    let length = Span::secs(seconds);
    let mut world = bench(length);
    let begun = std::time::Instant::now();
    let digests = keyframes(&mut world, length);
    let rate = world.entries() as f64 / begun.elapsed().as_secs_f64();
    (rate, digests.iter().map(|digest| format!("{digest:016x}")).collect())
}

/// Figures are printed, digests are compared. Three times each in turns, and the best of each: what else the machine does
/// only ever makes one slower.
#[test]
#[ignore = "needs dist/ and chromedriver: make test-page"]
fn the_browser_runs_the_same_trace() {
    const SECONDS: u64 = 120;
    let browser = Browser::open(1440, 900);
    browser.go(&page());
    until("the page is there", || browser.script("return window.wasmBindings ? true : null").as_bool());
    // It would run on beside the measurement.
    browser.press(" ");
    let (mut native, mut there) = (0.0, 0.0);
    for _ in 0..3 {
        let (rate, digests) = measure(SECONDS);
        native = f64::max(native, rate);
        let said = browser.script(&format!("return wasmBindings.measure({SECONDS})"));
        let words: Vec<&str> = said.as_str().expect("a line").split(' ').collect();
        let [entries, millis] = [words[0], words[1]].map(|word| word.parse::<f64>().expect("a number"));
        there = f64::max(there, entries / millis * 1000.0);
        assert_eq!(words[2..], digests, "the digest at every keyframe, in the browser and here");
    }
    println!("{there:.0} entries/s in the browser, {native:.0} here: {:.2}x; the goal is 0.4x", there / native);
}
