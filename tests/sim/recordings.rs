//! `cargo sim --replay` as a shell and a program see it. The recordings are written here, of a keeper that looks for two
//! others in vain: a whole one, one cut short, and three in which something is wrong.

use crate::command::{Came, sim};
use glasshouse_core::id::{KeeperId, NodeId, ZabEpoch};
use glasshouse_core::keeper::{Boot, Config};
use glasshouse_core::machine::{Effects, Machine};
use glasshouse_core::node::{Effect, Input};
use glasshouse_core::time::{Instant, Now, UnixMillis};
use glasshouse_core::zab;
use glasshouse_node::observe::recording::boot::{Beginning, What};
use glasshouse_node::observe::recording::hollow::Key;
use glasshouse_node::observe::recording::{self, Check, Tally, put_frame};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const WAKES: u64 = 5;

/// A file of a recording; it goes with the value.
struct Recording(PathBuf);

impl Recording {
    fn of(bytes: &[u8]) -> Recording {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("glasshouse-recording-{}-{number}", std::process::id()));
        std::fs::write(&file, bytes).expect("there is room for a small file");
        Recording(file)
    }

    fn replayed(&self, options: &str) -> Came {
        sim(&format!("--replay {} {options}", self.0.display()))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn moment(at: Instant) -> Now {
    Now { at, wall: UnixMillis(1_700_000_000_000 + (at.0 / 1_000_000) as i64) }
}

/// The first frame, of a keeper that finds this on its disk.
fn beginning(boot: Boot) -> (Vec<u8>, Beginning) {
    let config = Config::new(zab::Config::new(KeeperId(1), [1, 2, 3].map(KeeperId)));
    let what = What::Keeper(Box::new(config), boot);
    let beginning = Beginning { node: NodeId::keeper(1), entropy: 7, now: moment(Instant(1_000)), what };
    let mut file = recording::head();
    put_frame(&recording::beginning(&beginning), &mut file);
    (file, beginning)
}

/// What a keeper wrote that woke a few times, and what its replay must reach.
fn woken() -> (Vec<u8>, Check) {
    let (mut file, beginning) = beginning(Boot::default());
    let (mut fx, mut tally) = (Effects::<Effect>::default(), Tally::default());
    let mut node = beginning.boot(&mut fx);
    tally.wanted(&fx.effects);
    for _ in 0..WAKES {
        let now = moment(node.wake_at().expect("who looks for a leader asks again").at);
        let contents = recording::input(now, &Input::Wake, &Key([7; 32])).expect("an input is recorded");
        put_frame(&contents, &mut file);
        tally.heard(&contents);
        let mut fx = Effects::default();
        node.step(now, Input::Wake, &mut fx);
        tally.wanted(&fx.effects);
    }
    (file, tally.check(&node))
}

fn whole() -> Recording {
    let (mut file, check) = woken();
    put_frame(&recording::end(check, "stopped in order"), &mut file);
    Recording::of(&file)
}

/// The node was last seen in another state than its replay is.
fn unlike() -> (Recording, Check) {
    let (mut file, check) = woken();
    let other = Check { state: check.state ^ 1, ..check };
    put_frame(&recording::check(other), &mut file);
    (Recording::of(&file), check)
}

/// No disk holds these epochs, so the machine's own assertion fails.
fn impossible() -> Recording {
    let boot = Boot { accepted: ZabEpoch(1), current: ZabEpoch(2), ..Boot::default() };
    let (mut file, _) = beginning(boot);
    let late = moment(Instant(60_000_000_000));
    put_frame(&recording::input(late, &Input::Wake, &Key([7; 32])).expect("an input is recorded"), &mut file);
    Recording::of(&file)
}

#[test]
fn each_end_of_a_replay_has_its_exit_code() {
    let (file, _) = woken();
    let cut_short = Recording::of(&file[..file.len() - 3]);
    let mut bent = file;
    *bent.last_mut().expect("it is not empty") ^= 1;
    let bent = Recording::of(&bent);
    for (what, recording, code) in [
        ("whole", &whole(), 0),
        ("cut short", &cut_short, 0),
        ("bent", &bent, 2),
        ("impossible", &impossible(), 3),
        ("unlike", &unlike().0, 6),
    ] {
        for options in ["", "--json", "--trace", "--trace --json"] {
            let came = recording.replayed(options);
            assert_eq!(came.code, Some(code), "{what} {options}\n{}{}", came.out, came.err);
        }
        let told_on_standard_error = recording.replayed("").err.starts_with("cargo sim: ");
        assert_eq!(told_on_standard_error, code == 2, "{what}");
    }
}

#[test]
fn a_replay_is_told_as_one_line_of_json() {
    let only = |recording: &Recording| {
        let lines = recording.replayed("--json").lines();
        let [line] = &lines[..] else { panic!("one line: {lines:?}") };
        assert_eq!(line["file"].as_str(), recording.0.to_str());
        line.clone()
    };
    let hex = |digest: u64| Value::from(format!("{digest:016x}"));
    let (_, check) = woken();

    let same = only(&whole());
    assert_eq!((&same["node"], &same["inputs"], &same["checks"]), (&json!("keeper-1"), &json!(WAKES), &json!(1)));
    assert_eq!((&same["digest"], &same["state"]), (&hex(check.digest), &hex(check.state)));
    assert_eq!(same["ended"], "stopped in order");
    assert!(same["entries"].as_u64() > Some(WAKES), "{same}");
    let (file, _) = woken();
    assert_eq!(only(&Recording::of(&file))["ended"], Value::Null, "nobody ended it");

    let differs = only(&unlike().0);
    assert_eq!(differs["steps"], WAKES);
    assert_eq!(differs["digests"], json!([hex(check.digest), hex(check.digest)]));
    assert_eq!(differs["states"], json!([hex(check.state ^ 1), hex(check.state)]), "the node's, and its replay's");

    assert_eq!(only(&impossible())["crash"], "currentEpoch 2 ≤ acceptedEpoch 1");
}

/// The boot, and then every input with the notes and effects that it led to.
#[test]
fn a_traced_replay_tells_every_entry_before_how_it_ended() {
    let mut lines = whole().replayed("--trace --json").lines();
    let end = lines.pop().expect("it ends");
    assert_eq!(end["entries"], lines.len());
    assert_eq!((&lines[0]["kind"], &lines[0]["node"]), (&json!("boot"), &json!("keeper-1")));
    for line in &lines {
        let known = ["boot", "input", "note", "effect"].contains(&line["kind"].as_str().unwrap_or_default());
        assert!(known && line["at"].is_string() && line["text"].is_string(), "{line}");
    }
    let inputs = lines.iter().filter(|line| line["kind"] == "input");
    assert!(inputs.clone().all(|line| line["text"] == "wakes"), "{lines:?}");
    assert_eq!(inputs.count() as u64, WAKES);

    let plain = whole().replayed("--trace");
    // As many, then the figures, and how it ended.
    assert_eq!(plain.out.lines().count(), lines.len() + 2, "{}", plain.out);
    assert!(plain.out.ends_with("    the node stopped in order\n"), "{}", plain.out);
}
