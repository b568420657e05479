//! Apache's own dump tools read our files, and agree with us on every offset, epoch and zxid.

use crate::{java, must};
use glasshouse_tests::process::{ProcessCluster, eventually, glasshouse, signal};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files below a folder whose names end so, in order.
fn files(folder: &Path, ends: impl Fn(&str) -> bool + Copy) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the cluster's folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if path.file_name().and_then(|name| name.to_str()).is_some_and(ends) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What one line says of a name: `baseOffset: 7` gives 7.
fn said(line: &str, name: &str) -> Option<i64> {
    let rest = line.split(&format!("{name}: ")).nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit() && c != '-').next()?.parse().ok()
}

/// Writes some records and znodes, kills a leader meanwhile, and stops the cluster in order; its folder stays.
fn written() -> (PathBuf, usize) {
    let mut cluster = ProcessCluster::start(&["--restart", "--stones"]);
    cluster.keep_data();
    cluster.must(&["topic", "create", "dumped", "--partitions", "1", "--replicas", "3"]);
    let lines = |from: usize| (from..from + 500).map(|n| format!("line {n}\n")).collect::<String>();
    let produce = |from| {
        let mut command = Command::new(glasshouse());
        command.args(["produce", "dumped", "--acks", "all", "--bootstrap", &cluster.kafka]);
        must("glasshouse produce", &cluster, &mut command, &lines(from));
    };
    produce(0);
    cluster.must(&["stone", "kill", "broker-1"]);
    produce(500);
    for n in 0..50 {
        cluster.must(&["zk", "create", &format!("/dump-{n}"), "x"]);
    }
    let data = cluster.data.clone();
    assert!(cluster.stop().success(), "the cluster stops in order");
    (data, 1000)
}

/// The snapshots of a keeper that makes one every few transactions, while these znodes were created.
fn snapshots(names: &[String]) -> (PathBuf, Vec<PathBuf>) {
    let data = std::env::temp_dir().join(format!("glasshouse-snapshots-{}", std::process::id()));
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let [address, mesh] = free.map(|listener| listener.local_addr().expect("it is bound").to_string());
    let mut keeper = Command::new(glasshouse())
        .args(["node", "--roles", "keeper", "--keeper-id", "1", "--keeper-mesh", &mesh])
        .args(["--keeper-listen", &address, "--keeper-snap-count", "10", "--data"])
        .arg(&data)
        .stderr(Stdio::null())
        .spawn()
        .expect("glasshouse can be started");
    for name in names {
        eventually(&format!("{name} is created"), || {
            let mut zk = Command::new(glasshouse());
            zk.args(["zk", "--zookeeper", &address, "create", name, "x"]);
            zk.output().expect("glasshouse can be started").status.success().then_some(())
        });
    }
    signal("TERM", keeper.id());
    assert!(keeper.wait().expect("a child can be waited for").success(), "the keeper stops in order");
    let found = files(&data, |name| name.starts_with("snapshot."));
    (data, found)
}

#[test]
#[ignore = "needs Java: make interop"]
fn apaches_formatter_reads_our_snapshots() {
    let names: Vec<String> = (0..20).map(|n| format!("/formatted-{n}")).collect();
    let (data, snapshots) = snapshots(&names);
    assert!(!snapshots.is_empty(), "a snapshot every 10 transactions: {:?}", files(&data, |_| true));
    let mut newest = 0;
    for snapshot in &snapshots {
        let list = snapshot.to_str().expect("a path in UTF-8");
        let output = java(&["org.apache.zookeeper.server.SnapshotFormatter", list]).output().expect("Java runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("ZNode Details"), "{list}: {text}");
        // Created one after the other: a snapshot has the first so many, and none after those.
        let held = names.iter().take_while(|name| text.lines().any(|line| line == **name)).count();
        let beyond = names[held..].iter().any(|name| text.lines().any(|line| line == *name));
        assert!(!beyond && held >= newest, "{list} holds the first {held}, the one before {newest}: {text}");
        newest = held;
    }
    assert!(newest > 0, "the newest snapshot holds some of them");
    fs::remove_dir_all(data).expect("the folder can be removed");
}

#[test]
#[ignore = "needs Java: make interop"]
fn apaches_tools_read_our_files() {
    let (data, records) = written();

    // Partition logs: every batch is valid, offsets are without a gap, epochs never fall.
    let logs = files(&data, |name| name.ends_with(".log") && name.starts_with('0'));
    let dumped: Vec<_> = logs.iter().filter(|path| path.to_string_lossy().contains("dumped-0")).collect();
    assert_eq!(dumped.len(), 3, "a log for each replica: {logs:?}");
    for log in dumped {
        let list = log.to_str().expect("a path in UTF-8");
        let output = java(&["kafka.tools.DumpLogSegments", "--files", list]).output().expect("Java runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (mut next, mut epoch) = (0, 0);
        for line in text.lines().filter(|line| line.starts_with("baseOffset")) {
            assert!(line.contains("isvalid: true"), "{line}");
            assert_eq!(said(line, "baseOffset"), Some(next), "{line}");
            next = said(line, "lastOffset").expect("a last offset") + 1;
            let of = said(line, "partitionLeaderEpoch").expect("an epoch");
            assert!(of >= epoch, "{line} after epoch {epoch}");
            epoch = of;
        }
        assert_eq!(next, records as i64, "{list} holds every record:\n{text}");
        let checkpoint = log.parent().expect("a folder").join("leader-epoch-checkpoint");
        let epochs = fs::read_to_string(checkpoint).expect("an epoch checkpoint");
        // An epoch that began where the log ends has no record yet.
        let entries = epochs.lines().skip(2).filter_map(|line| line.split_once(' '));
        let written = entries.filter(|(_, start)| start.parse().is_ok_and(|start: i64| start < next));
        assert_eq!(written.last().map(|(of, _)| of.parse()), Some(Ok(epoch)), "the checkpoint's last epoch: {epochs}");
    }
    for index in files(&data, |name| name.ends_with(".index") || name.ends_with(".timeindex")) {
        let list = index.to_str().expect("a path in UTF-8");
        let output = java(&["kafka.tools.DumpLogSegments", "--index-sanity-check", "--files", list]).output();
        let output = output.expect("Java runs");
        let text = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
        assert!(output.status.success() && text.contains(list), "{list}: {text}");
        assert!(!text.contains("mismatch") && !text.contains("Exception"), "{text}");
    }

    // Keeper logs: no broken checksum, zxids ascend without a gap within an epoch.
    let journals = files(&data, |name| name.starts_with("log."));
    assert!(!journals.is_empty());
    for journal in &journals {
        let list = journal.to_str().expect("a path in UTF-8");
        let output =
            java(&["org.apache.zookeeper.server.persistence.TxnLogToolkit", "-d", list]).output().expect("Java runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("CRC ERROR"), "{text}");
        let zxids: Vec<u64> = text
            .lines()
            .filter_map(|line| line.split("zxid 0x").nth(1)?.split(' ').next())
            .map(|digits| u64::from_str_radix(digits, 16).expect("a zxid"))
            .collect();
        assert!(!zxids.is_empty(), "{list}: {text}");
        for pair in zxids.windows(2) {
            let follows = pair[1] == pair[0] + 1 || pair[1] >> 32 > pair[0] >> 32;
            assert!(follows, "{:x} is followed by {:x} in {list}", pair[0], pair[1]);
        }
        let name = journal.file_name().and_then(|name| name.to_str()).expect("a name");
        assert_eq!(format!("log.{:x}", zxids[0]), name, "a log is named after its first zxid");
    }
    fs::remove_dir_all(data).expect("the folder can be removed");
}
