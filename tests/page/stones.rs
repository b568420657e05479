//! Stones thrown by hand: what the page shows of each and of its end, and that the cluster gets over it. A story goes by
//! the page's own time, so that it is the same on a slow machine; while that stands still nothing happens behind one's
//! back, and the page is looked at in peace.

use crate::driver::{Browser, until};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SEED: u64 = 7;
/// In simulated seconds: longer than a session of six takes to run out, a leader to be found, and a log to be copied.
const SOON: u64 = 40;

/// Somebody before the page.
struct Person {
    browser: Browser,
}

impl Person {
    /// Opens the page, sees the first records committed, and stops time.
    fn opens_the_page() -> Person {
        let browser = Browser::open(1440, 900);
        browser.go(&format!("{}#seed={SEED}", super::page()));
        until("records are committed", || (browser.count(".log.lead .cell.c") > 1).then_some(()));
        let person = Person { browser };
        person.stops_time();
        // As fast as it goes, once it goes on.
        for _ in 0..6 {
            person.browser.press("]");
        }
        person
    }

    fn stops_time(&self) {
        self.browser.click("#play[aria-label=Pause]");
        self.sees("that time stands", || self.browser.count("#play[aria-label=Play]") == 1);
    }

    fn lets_time_pass(&self) {
        self.browser.click("#play[aria-label=Play]");
        self.sees("that time passes", || self.browser.count("#play[aria-label=Pause]") == 1);
    }

    /// What the page answers to a click, without any simulated time.
    fn sees(&self, what: &str, is: impl Fn() -> bool) {
        until(&format!("to see {what}: {}", self.story()), || is().then_some(()));
    }

    /// Lets time pass until something is so, and stops it there.
    fn waits_until(&self, what: &str, is: impl Fn() -> bool) {
        let began = self.now();
        let mut moved = (began, Instant::now());
        self.lets_time_pass();
        loop {
            let now = self.now();
            if is() {
                break;
            }
            assert!(now <= began + SOON * 1000, "not {what} within {SOON} simulated seconds: {}", self.story());
            if now > moved.0 {
                moved = (now, Instant::now());
            }
            assert!(moved.1.elapsed() < Duration::from_secs(30), "time stands still at {now} ms");
            sleep(Duration::from_millis(20));
        }
        self.stops_time();
    }

    /// Simulated milliseconds since the beginning.
    fn now(&self) -> u64 {
        let now = self.browser.script("return document.querySelector('#tape').getAttribute('aria-valuenow')");
        now.as_str().and_then(|millis| millis.parse().ok()).expect("the tape says what time it is")
    }

    fn leader(&self) -> String {
        let (leader, _) = until("orders-0 has a leader", || super::leader(&self.browser));
        leader
    }

    /// Its session is gone, and another broker leads in its place.
    fn is_succeeded(&self, node: &str) -> bool {
        self.browser.count(".ring.gone") == 1 && super::leader(&self.browser).is_some_and(|leader| leader != node)
    }

    fn selects(&self, node: &str) {
        self.browser.click(&format!("#at-{node}"));
        self.sees(&format!("{node} selected"), || self.browser.text(".insp h2").contains(node));
    }

    /// Clicks one of the buttons below what is selected.
    fn throws(&self, stone: &str) {
        self.browser.click_word(".insp .acts button", stone);
    }

    /// The buttons below what is selected; those that do nothing now in parentheses.
    fn offers(&self) -> String {
        let all = "return [...document.querySelectorAll('.insp .acts button')]
             .map(e => e.disabled ? `(${e.textContent.trim()})` : e.textContent.trim()).join(' ')";
        self.browser.script(all).as_str().unwrap_or_default().to_owned()
    }

    /// The newest thing that somebody did, as the story tells it.
    fn last_act(&self) -> String {
        self.browser.text(".story li.you:not(li.you ~ li.you) .s")
    }

    fn story(&self) -> String {
        self.browser.text(".story li .s")
    }

    fn headline(&self) -> String {
        self.browser.text("#headline")
    }

    /// What the inspector says in the row of this name.
    fn row(&self, name: &str) -> String {
        let row = format!(
            "const name = [...document.querySelectorAll('.insp dt')].find(e => e.textContent === {name:?});
             return name ? name.nextElementSibling.textContent : ''"
        );
        self.browser.script(&row).as_str().unwrap_or_default().to_owned()
    }

    fn said_of(&self, node: &str) -> String {
        self.browser.labels(&format!("#at-{node}")).concat()
    }

    /// How many of the node's vessels are drawn as in sync; each broker holds two.
    fn in_sync(&self, broker: &str) -> usize {
        let all = self.browser.labels(".log.isr");
        all.iter().filter(|said| said.contains(&format!(" on {broker},"))).count()
    }

    fn links(&self) -> Vec<String> {
        self.browser.labels(".hit")
    }

    /// The high watermark and the end of each log that a selector finds.
    fn ends(&self, vessels: &str) -> Vec<String> {
        let labels = self.browser.labels(vessels);
        labels.iter().filter_map(|said| Some(said.split_once(", high watermark ")?.1.to_owned())).collect()
    }

    /// The highest offset that a replica of each partition tells under this name.
    fn highest(&self, vessels: &str, name: &str) -> [u64; 2] {
        let labels = self.browser.labels(vessels);
        ["orders-0", "orders-1"].map(|partition| {
            let of_it = labels.iter().filter(|said| said.starts_with(&format!("{partition} ")));
            let told = of_it.filter_map(|said| said.split(", ").find_map(|part| part.strip_prefix(name)));
            told.filter_map(|offset| offset.trim().parse().ok()).max().unwrap_or(0)
        })
    }

    /// Nothing is amiss any more: each partition commits records that no log holds yet.
    fn sees_records_committed_again(&self) {
        let ends = self.highest(".log", "log end");
        self.waits_until("committed again", || {
            let committed = self.highest(".log.lead", "high watermark");
            committed.iter().zip(ends).all(|(committed, end)| *committed > end)
        });
        assert_eq!(self.browser.count(".ledger.bad"), 0, "{}", self.browser.text(".ledger"));
        assert_eq!(self.browser.count("body[data-stopped]"), 0, "{}", self.headline());
    }
}

#[test]
#[ignore = "needs dist/ and chromedriver: make test-page"]
fn what_is_paused_stands_still_until_the_same_button_lets_it_go_on() {
    let person = Person::opens_the_page();
    for (node, drawn) in [(person.leader(), ".broker.paused"), ("keeper-2".to_owned(), ".keeper.paused")] {
        person.selects(&node);
        assert_eq!(person.offers(), "Kill Pause Cut (Restart)");
        person.throws("Pause");
        person.sees("it paused", || person.browser.count(drawn) == 1);
        assert_eq!(person.last_act(), format!("You paused {node}."));
        // On a slow machine the pause before it was long enough to be told first, as somebody's taking over.
        person.waits_until("it said", || person.headline() == format!("{node} is paused."));
        assert_eq!(person.offers(), "Kill Resume Cut (Restart)");
        assert!(person.browser.text(".insp h2 .r").starts_with("paused since "), "{}", person.browser.text(".insp h2"));
        assert_eq!(person.browser.count(&format!("{drawn} .hatch")), 1, "it is hatched");

        let written = || (person.row("last write"), person.ends(&format!("{drawn} .log")));
        let before = written();
        person.waits_until("it paused for a while", || {
            let said = person.said_of(&node);
            let (_, seconds) = said.split_once("paused for ").unwrap_or_else(|| panic!("it goes on: {said}"));
            !seconds.starts_with("0.")
        });
        assert_eq!(written(), before, "it writes nothing");

        person.throws("Resume");
        person.sees("it going on", || person.browser.count(drawn) == 0);
        assert_eq!(person.last_act(), format!("You let {node} go on."));
        assert_eq!(person.offers(), "Kill Pause Cut (Restart)");
        assert!(!person.said_of(&node).contains("paused"), "{}", person.said_of(&node));
        person.sees_records_committed_again();
    }
}

#[test]
#[ignore = "needs dist/ and chromedriver: make test-page"]
fn a_node_that_is_cut_off_is_given_up_and_catches_up_when_healed() {
    const CUT: &str = ", cut one way, cut the other";
    let person = Person::opens_the_page();
    let node = person.leader();
    person.selects(&node);
    let whole = person.links();
    assert!(whole.iter().all(|link| !link.contains(',')), "{whole:?}");

    person.throws("Cut");
    person.sees("it cut off", || person.offers() == "Kill Pause Heal (Restart)");
    assert_eq!(person.last_act(), format!("You cut off {node}."));
    assert_eq!(person.headline(), format!("{node} is cut off."));
    assert_eq!(person.row("hears from"), "nobody");
    let cut = |link: &String| if link.contains(&node) { format!("{link}{CUT}") } else { link.clone() };
    assert_eq!(person.links(), whole.iter().map(cut).collect::<Vec<_>>(), "its links and no others");
    let its = whole.iter().filter(|link| link.contains(&node)).count() as u64;
    assert_eq!(person.browser.count(".mark"), its, "each of them has two bars");
    assert!(person.said_of(&node).contains("leads orders-0"), "nobody is told of a cut");

    person.waits_until("given up", || person.is_succeeded(&node));
    assert!(person.story().contains(&format!("stopped hearing from {node}")), "{}", person.story());
    person.waits_until("out of sync", || person.in_sync(&node) == 0);

    person.throws("Heal");
    person.sees("it healed", || person.offers() == "Kill Pause Cut (Restart)");
    assert_eq!(person.last_act(), format!("You healed every link of {node}."));
    assert_eq!(person.browser.count(".mark"), 0);
    person.waits_until("in sync again", || person.in_sync(&node) == 2 && person.browser.count(".ring.gone") == 0);
    person.sees_records_committed_again();
}

#[test]
#[ignore = "needs dist/ and chromedriver: make test-page"]
fn a_link_that_is_cut_by_a_stone_of_the_rail_is_healed_by_its_own_button() {
    let person = Person::opens_the_page();
    let leader = person.leader();
    let follower = if leader == "broker-2" { "broker-3" } else { "broker-2" };
    let ends = if *leader < *follower { [leader.as_str(), follower] } else { [follower, leader.as_str()] };
    let link = format!("link {} to {}", ends[0], ends[1]);
    let drawn = format!(".hit[aria-label^='{link}']");

    person.browser.click_word(".rail .stone span", "Cut");
    person.sees("the stone taken", || person.browser.text(".rail .hint") == "Cut what? Esc drops it.");
    person.browser.click(&drawn);
    person.sees("the link cut", || person.browser.count(".mark") == 1);
    assert_eq!(person.browser.count(".stone.taken"), 0, "a stone is thrown once");
    assert_eq!(person.last_act(), format!("You cut the link between {} and {}.", ends[0], ends[1]));
    assert_eq!(person.headline(), "A link is cut.");
    assert_eq!(person.browser.labels(&drawn), [format!("{link}, cut one way, cut the other")]);

    person.browser.click(&drawn);
    person.sees("it selected", || person.browser.text(".insp h2").contains(&format!("{} to {}", ends[0], ends[1])));
    assert_eq!(person.offers(), "(Cut) Heal");
    assert!(person.row("one way").starts_with(&format!("to {}: cut", ends[1])), "{}", person.row("one way"));
    assert!(person.row("the other").starts_with(&format!("to {}: cut", ends[0])), "{}", person.row("the other"));
    person.waits_until("out of sync", || person.in_sync(follower) < 2);

    person.throws("Heal");
    person.sees("it healed", || person.browser.count(".mark") == 0);
    assert_eq!(person.last_act(), format!("You healed the link between {} and {}.", ends[0], ends[1]));
    assert_eq!(person.offers(), "Cut (Heal)");
    assert_eq!(person.browser.labels(&drawn), [link]);
    person.waits_until("in sync again", || ends.iter().all(|node| person.in_sync(node) == 2));
    person.sees_records_committed_again();
}

#[test]
#[ignore = "needs dist/ and chromedriver: make test-page"]
fn what_was_killed_is_restarted_and_comes_back() {
    let person = Person::opens_the_page();
    let node = person.leader();
    person.selects(&node);
    person.throws("Kill");
    person.sees("it down", || person.browser.count(".broker.down") == 1);
    assert_eq!(person.last_act(), format!("You killed {node}."));
    assert_eq!(person.offers(), "(Kill) (Pause) Cut Restart");
    assert_eq!(person.said_of(&node), format!("{node}, down for 0.0 s"));
    person.waits_until("missed", || person.is_succeeded(&node));

    person.throws("Restart");
    person.sees("it up", || person.browser.count(".broker.down") == 0);
    assert_eq!(person.last_act(), format!("You started {node}."));
    assert_eq!(person.offers(), "Kill Pause Cut (Restart)");
    assert!(person.browser.text(".insp h2 .r").starts_with("up since "), "{}", person.browser.text(".insp h2"));
    person.waits_until("in sync again", || person.in_sync(&node) == 2 && person.browser.count(".ring.gone") == 0);
    person.sees_records_committed_again();
}
