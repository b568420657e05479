//! Random stones at a cluster of real processes, under clients that write and read: kill -9, pauses, cuts, slow links,
//! and the power going everywhere at once. In the end no acknowledged record or znode write is missing, nothing is there
//! twice, and no read went back; and after every few stones the healed cluster serves everybody again.
//!
//! Once on the page cache, which survives `kill -9`, and once on a disk that holds writes in the process until
//! `fdatasync`, so that each `kill -9` is a power loss. A few stones in `make test`; `make soak` throws hundreds.
//! SOAK_SEED and SOAK_STONES say otherwise, and SOAK_LOG what nodes log. The schedule of stones is a function of the
//! seed; what processes make of it is not, so a failure keeps its folder and says where it is.

mod stones;

use glasshouse_core::sim::scenario::{ClientSpec, TopicSpec};
use glasshouse_tests::aftermath::Aftermath;
use glasshouse_tests::load::Load;
use glasshouse_tests::load::book::Book;
use glasshouse_tests::process::ProcessCluster;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use stones::Thrower;

/// Stones between two moments of peace.
const AT_A_TIME: u64 = 5;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Err(_) => default,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a whole number, not {text:?}")),
    }
}

/// Says where to look, if the test ends in a panic.
struct Evidence {
    seed: u64,
    data: PathBuf,
    book: Arc<Book>,
}

impl Drop for Evidence {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.book.write(&self.data.join("told.txt"));
            let (seed, data) = (self.seed, self.data.display());
            println!(
                "SOAK_SEED={seed}; the folder is kept: {data} (in it up.log, and told.txt: what clients were told)"
            );
        } else {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

/// What no node says in a cluster that is only stoned: it ended by itself, or could not start.
const NEVER: [&str; 4] = ["ended with code", "ended:", "cannot be started", "a mistake of ours"];

fn require_no_end(cluster: &ProcessCluster) {
    let said = cluster.said();
    let bad: Vec<&str> = said.lines().filter(|line| NEVER.iter().any(|never| line.contains(never))).collect();
    assert!(bad.is_empty(), "a node ended that nobody killed:\n{}", bad.join("\n"));
}

fn begin_load(cluster: &ProcessCluster, seed: u64) -> Load {
    let mut load = Load::new(&cluster.kafka, &cluster.zookeeper, seed);
    let topic = TopicSpec { name: "orders".into(), partitions: 4, replicas: 3, min_isr: 2, unclean: false };
    load.create(&topic);
    let producer = ClientSpec::Producer { topic: topic.name.clone(), acks: -1, idempotent: true, per_second: 50 };
    let consumer = ClientSpec::Consumer { topic: topic.name.clone() };
    let keeper = ClientSpec::Keeper { per_second: 40 };
    for spec in [&producer, &producer, &consumer, &consumer, &keeper, &keeper, &keeper] {
        load.start(spec);
    }
    load
}

fn soak(hold: &str, seed: u64) {
    let seed = number("SOAK_SEED", seed);
    let stones = number("SOAK_STONES", 20);
    println!("soak: SOAK_SEED={seed} SOAK_STONES={stones}, writes are held in the {hold}");
    let begun = Instant::now();
    let log = std::env::var("SOAK_LOG").unwrap_or_else(|_| "warn".to_owned());
    let mut cluster = ProcessCluster::start(&["--stones", "--hold", hold, "--log", &log]);
    cluster.keep_data();
    let mut load = begin_load(&cluster, seed);
    let evidence = Evidence { seed, data: cluster.data.clone(), book: load.book.clone() };
    load.moves();

    let mut thrower = Thrower::new(&cluster, seed);
    let mut thrown = 0;
    while thrown < stones {
        for _ in 0..AT_A_TIME.min(stones - thrown) {
            println!("{:7.1} s  {}", begun.elapsed().as_secs_f32(), thrower.throw());
            thrower.wait();
            thrown += 1;
        }
        thrower.heal();
        load.moves();
        load.in_sync();
        println!("{:7.1} s  all is healed: everybody is served, every replica in sync", begun.elapsed().as_secs_f32());
        require_no_end(&cluster);
    }
    let say = |what: &str| println!("{:7.1} s  {what}", begun.elapsed().as_secs_f32());
    load.finish();
    say("everything written is acknowledged, and read");
    load.in_sync();
    let data = cluster.data.clone();
    let stopped = cluster.stop();
    assert!(stopped.success(), "the cluster stops in order, not with {stopped}");

    say("the cluster has stopped in order");
    let (told, aftermath) = (load.book.told(), Aftermath::read(&data));
    let wrongs = [load.book.wrongs(), aftermath.judge(&told)].concat();
    assert!(wrongs.is_empty(), "{}", wrongs.iter().take(20).cloned().collect::<Vec<_>>().join("\n"));
    println!(
        "soak: {stones} stones in {:.0} s; {} notes of clients agree with {} batches and {} transactions; done: {:?}",
        begun.elapsed().as_secs_f32(),
        told.len(),
        aftermath.logs.values().map(Vec::len).sum::<usize>(),
        aftermath.txns.len(),
        load.book.done(),
    );
    drop(evidence);
}

#[test]
fn processes_are_killed() {
    soak("page-cache", 1);
}

#[test]
fn power_is_lost() {
    soak("process", 2);
}
