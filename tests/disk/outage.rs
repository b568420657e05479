//! The disk of a real node is full, or its `fdatasync` fails: the node ends with a sentence, the others go on with what
//! was acknowledged, and once the disk is well again the node starts and takes part as before.

use crate::scratch::Scratch;
use glasshouse_core::sim::scenario::{ClientSpec, TopicSpec};
use glasshouse_tests::aftermath::Aftermath;
use glasshouse_tests::load::Load;
use glasshouse_tests::process::{ProcessCluster, eventually};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What the node says of it, behind its exit code.
const FULL: (&str, &str) = ("full", "the disk is full");
const FDATASYNC: (&str, &str) = ("fdatasync", "fdatasync failed: Input/output error (os error 5)");

/// A cluster whose disks fail on demand.
struct Outage {
    cluster: ProcessCluster,
    faults: PathBuf,
}

impl Outage {
    fn start(scratch: &Scratch) -> Outage {
        let (data, faults) = (scratch.next(), scratch.next());
        std::fs::create_dir_all(&faults).unwrap();
        let mut cluster = ProcessCluster::start_in(&data, &["--stones", "--faults", faults.to_str().unwrap()]);
        cluster.keep_data();
        Outage { cluster, faults }
    }

    fn fail(&self, node: &str, fault: &str) {
        // Nobody reads half a word.
        let aside = self.faults.join("aside");
        std::fs::write(&aside, fault).unwrap();
        std::fs::rename(aside, self.faults.join(node)).unwrap();
    }

    fn mend(&self, node: &str) {
        std::fs::remove_file(self.faults.join(node)).unwrap();
    }

    fn restart(&self, node: &str) {
        eventually("it is started", || self.cluster.throw(&json!({"stone": "restart", "on": node})).ok());
    }

    /// What the supervisor told of nodes that ended.
    fn ends(&self) -> Vec<String> {
        let said = self.cluster.said();
        let ends = said.lines().filter(|line| line.starts_with("glasshouse: ") && line.contains(" ended "));
        ends.map(str::to_owned).collect()
    }

    /// Waits until `node` has ended so many times, nobody else, and each time with this sentence.
    fn ends_saying(&self, node: &str, sentence: &str, times: usize) {
        let ends = eventually("it has ended", || Some(self.ends()).filter(|ends| ends.len() >= times));
        let as_it_should = |end: &String| {
            end.starts_with(&format!("glasshouse: {node} ended with code 1: ")) && end.ends_with(sentence)
        };
        assert!(ends.len() == times && ends.iter().all(as_it_should), "{ends:#?}");
    }

    /// A keeper's role, or none if it does not serve.
    fn role(&self, keeper: &str) -> Option<String> {
        let (told, _) = self.cluster.command(&["status", "--json"]);
        let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["keeper"] == *keeper).find_map(|line| line["role"].as_str().map(str::to_owned))
    }

    fn keeper_that(&self, role: &str) -> String {
        let keepers = || self.cluster.nodes.iter().filter(|node| node.role == "keeper").map(|node| node.name.clone());
        eventually("a keeper has that role", || keepers().find(|keeper| self.role(keeper).as_deref() == Some(role)))
    }
}

fn begin_load(cluster: &ProcessCluster) -> Load {
    let mut load = Load::new(&cluster.kafka, &cluster.zookeeper, 1);
    let topic = TopicSpec { name: "orders".into(), partitions: 4, replicas: 3, min_isr: 2, unclean: false };
    load.create(&topic);
    let producer = ClientSpec::Producer { topic: topic.name.clone(), acks: -1, idempotent: true, per_second: 50 };
    for spec in [&producer, &ClientSpec::Consumer { topic: topic.name }, &ClientSpec::Keeper { per_second: 40 }] {
        load.start(spec);
    }
    load.moves();
    load
}

/// The disk of a node fails and is mended, under clients that write and read all the time.
fn tell(story: &str, (fault, sentence): (&str, &str), choose: impl FnOnce(&Outage, &Load) -> String) {
    let scratch = Scratch::new(story);
    let outage = Outage::start(&scratch);
    let mut load = begin_load(&outage.cluster);
    load.in_sync();
    outage.cluster.must(&["zk", "create", "/before", "acknowledged"]);
    let node = choose(&outage, &load);

    outage.fail(&node, fault);
    outage.ends_saying(&node, sentence, 1);
    // Two of three are enough to write, and who comes now reads everything.
    load.start(&ClientSpec::Consumer { topic: "orders".into() });
    load.moves();
    assert!(outage.cluster.must(&["zk", "get", "/before"]).contains("acknowledged"));

    outage.restart(&node);
    outage.ends_saying(&node, sentence, 2);
    load.moves();

    outage.mend(&node);
    outage.restart(&node);
    load.in_sync();
    if node.starts_with("keeper") {
        eventually("it follows or leads", || outage.role(&node));
    }
    load.moves();
    outage.ends_saying(&node, sentence, 2);
    load.finish();
    load.in_sync();
    let data = outage.cluster.data.clone();
    assert!(outage.cluster.stop().success(), "the cluster stops in order");
    let wrongs = [load.book.wrongs(), Aftermath::read(&data).judge(&load.book.told())].concat();
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

fn leader_of_orders(_: &Outage, load: &Load) -> String {
    let topics = load.topics();
    let (_, partitions) = topics.iter().find(|(name, _)| &**name == "orders").unwrap();
    format!("broker-{}", partitions[0].leader)
}

#[test]
fn a_broker_whose_disk_is_full_ends_and_comes_back() {
    tell("broker-full", FULL, leader_of_orders);
}

#[test]
fn a_broker_whose_disk_makes_nothing_durable_ends_and_comes_back() {
    tell("broker-fdatasync", FDATASYNC, leader_of_orders);
}

#[test]
fn a_leading_keeper_whose_disk_is_full_ends_and_comes_back() {
    tell("keeper-full", FULL, |outage, _| outage.keeper_that("leader"));
}

#[test]
fn a_following_keeper_whose_disk_makes_nothing_durable_ends_and_comes_back() {
    tell("keeper-fdatasync", FDATASYNC, |outage, _| outage.keeper_that("follower"));
}
