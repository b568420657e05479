//! The built page in headless Chromium: it starts, commits, loses a leader and finds another. `make test-page` builds
//! the page first; without `dist/` there is nothing to test, so these tests are ignored elsewhere.

mod driver;

use driver::{Browser, serve, until};
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

    // At full speed, then ten times that: its session takes six seconds to run out.
    for _ in 0..6 {
        browser.script("window.dispatchEvent(new KeyboardEvent('keydown', {key: ']', bubbles: true}))");
    }
    let (after, _) = until("another broker leads orders-0", || leader(&browser).filter(|now| *now != before));
    println!("{before} led orders-0, {after} leads it now");
    until("the headline says so", || browser.text("#headline").contains(&format!("{after} took over")).then_some(()));
}
