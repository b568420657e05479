//! A bit flips in the log of a real broker while it is down, below its recovery point: it says so, leaves the ISR before it
//! cuts, copies what it lost from the others, and is counted again. Alone it stays offline.

use crate::file::flip;
use glasshouse_tests::process::{ProcessCluster, eventually, glasshouse, signal, signal_all};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LINES: usize = 400;

/// Acknowledged by the whole ISR, in several batches.
fn produce(cluster: &ProcessCluster, topic: &str) -> Vec<String> {
    let lines: Vec<String> = (0..LINES).map(|n| format!("{topic} {n}")).collect();
    for some in lines.chunks(LINES / 8) {
        let mut child = Command::new(glasshouse())
            .args(["produce", topic])
            .env("GLASSHOUSE_BOOTSTRAP", &cluster.kafka)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all((some.join("\n") + "\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    lines
}

fn consumed(cluster: &ProcessCluster, topic: &str) -> Vec<String> {
    let read = cluster.must(&["consume", topic, "--from", "beginning", "-n", &LINES.to_string()]);
    read.lines().filter(|line| line.starts_with(topic)).map(str::to_owned).collect()
}

/// Leader and ISR of the topic's one partition.
fn state(cluster: &ProcessCluster, topic: &str) -> Option<(i64, Vec<i64>)> {
    let (text, _) = cluster.command(&["topic", "describe", topic, "--json"]);
    let told: Value = text.lines().find_map(|line| serde_json::from_str(line).ok())?;
    let part = told["partitions"].get(0)?;
    Some((part["leader"].as_i64()?, part["isr"].as_array()?.iter().filter_map(Value::as_i64).collect()))
}

fn all_in_sync(cluster: &ProcessCluster) -> i64 {
    eventually("all three are in sync", || {
        state(cluster, "orders").filter(|(leader, isr)| *leader > 0 && isr.len() == 3).map(|(leader, _)| leader)
    })
}

fn log(data: &Path, broker: i64, topic: &str) -> PathBuf {
    data.join(format!("broker-{broker}/{topic}-0/00000000000000000000.log"))
}

fn is_promised(data: &Path, broker: i64, topic: &str) -> bool {
    let file = data.join(format!("broker-{broker}/recovery-point-offset-checkpoint"));
    let line = format!("{topic} 0 {LINES}");
    std::fs::read_to_string(file).is_ok_and(|points| points.lines().any(|point| point == line))
}

#[test]
fn a_bit_that_rots_in_a_log_costs_nothing_that_another_holds() {
    let mut cluster = ProcessCluster::start(&[]);
    let data = cluster.data.clone();
    cluster.must(&["topic", "create", "orders", "--partitions", "1", "--replicas", "3"]);
    cluster.must(&["topic", "create", "alone", "--partitions", "1", "--replicas", "1"]);
    let orders = produce(&cluster, "orders");
    produce(&cluster, "alone");
    let rotten = all_in_sync(&cluster);
    let (holder, _) = state(&cluster, "alone").unwrap();
    eventually("the recovery points are on the disk", || {
        (is_promised(&data, rotten, "orders") && is_promised(&data, holder, "alone")).then_some(())
    });

    // Everybody dies at once, so that all of them are in the ISR when they are back.
    cluster.keep_data();
    let mut pids: Vec<u32> = cluster.running().iter().map(|node| node.pid).collect();
    pids.push(cluster.pid());
    signal_all("KILL", &pids);
    drop(cluster);
    let whole = std::fs::read(log(&data, rotten, "orders")).unwrap();
    let alone = std::fs::read(log(&data, holder, "alone")).unwrap();
    flip(&log(&data, rotten, "orders"), 100);
    flip(&log(&data, holder, "alone"), alone.len() as u64 - 3);

    let cluster = ProcessCluster::start_in(&data, &["--stones"]);
    let leader = all_in_sync(&cluster);
    assert_eq!(consumed(&cluster, "orders"), orders);
    let said = cluster.said();
    assert!(said.contains("has lost orders-0 from 0 on") && said.contains("cuts orders-0 at 0"), "{said}");
    assert!(said.contains("has lost alone-0 from"), "{said}");
    assert_eq!(state(&cluster, "alone"), Some((-1, vec![holder])), "the last member stays, offline");
    assert_eq!(std::fs::metadata(log(&data, holder, "alone")).unwrap().len(), alone.len() as u64, "and keeps its disk");
    assert!(std::fs::read(log(&data, rotten, "orders")).unwrap().starts_with(&whole), "it is as it was");

    // One that stops in order has left the ISR when its bit flips. (Above where a log was cut since its start, nothing counts
    // as promised before the next one: it must be the third.)
    let other = (1..=3).find(|id| *id != leader && *id != rotten).unwrap();
    let name = format!("broker-{other}");
    signal("TERM", cluster.nodes.iter().find(|node| node.name == name).unwrap().pid);
    eventually("it has stopped", || cluster.running().iter().all(|node| node.name != name).then_some(()));
    let whole = std::fs::read(log(&data, other, "orders")).unwrap();
    flip(&log(&data, other, "orders"), whole.len() as u64 - 3);
    eventually("it is started", || cluster.throw(&json!({"stone": "restart", "on": name})).ok());
    eventually("it was cut", || cluster.said().matches("cuts orders-0 at").nth(1).map(|_| ()));
    all_in_sync(&cluster);
    assert_eq!(consumed(&cluster, "orders"), orders);
    assert_eq!(std::fs::read(log(&data, other, "orders")).unwrap(), whole);
}
