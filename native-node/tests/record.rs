//! Real processes as an observer meets them: their HTTP ports while they run, and afterwards their recordings, which
//! must reach the same digests in a replay.

use glasshouse_node::observe::replay::{Replayed, replay};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SECRET: &str = "nobody else's business";

fn glasshouse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glasshouse"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A cluster that records, and everything it leaves behind, gone at the end.
struct Cluster {
    folder: PathBuf,
    child: Child,
    told: Value,
}

impl Cluster {
    fn start() -> Cluster {
        let folder = std::env::temp_dir().join(format!("glasshouse-test-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (data, record) = (folder.join("data"), folder.join("rec"));
        let mut command = glasshouse(&["up", "--json", "--processes", "--stones", "--keepers", "1", "--brokers", "2"]);
        command.args(["--kafka-port", "0", "--zookeeper-port", "0"]);
        command.arg("--data").arg(data).arg("--record").arg(record);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Cluster { folder, child, told }
    }

    fn node(&self, name: &str) -> &Value {
        self.told["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap()
    }

    /// Runs a command against it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = glasshouse(words);
        command.arg("--data").arg(self.folder.join("data"));
        command
    }

    fn recording(&self, name: &str) -> PathBuf {
        self.folder.join("rec").join(format!("{name}.rec"))
    }

    fn http(&self, name: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(self.node(name)["http"].as_str().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, name: &str, path: &str) -> String {
        self.http(name, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn signal(&self, pid: i64, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn replayed(file: &Path) -> Replayed {
    let recording = std::fs::read(file).unwrap();
    assert!(!recording.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{file:?} tells a secret");
    replay(recording.into(), |_, _, _| {}).unwrap_or_else(|trouble| panic!("{file:?}: {trouble:?}"))
}

#[test]
fn a_recorded_cluster_is_seen_from_outside_and_replayed() {
    let mut cluster = Cluster::start();
    must(&mut cluster.command(&["topic", "create", "orders", "--partitions", "2", "--replicas", "2"]));
    let mut producer = cluster.command(&["produce", "orders"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = producer.stdin.take().unwrap();
    for number in 0..500 {
        writeln!(lines, "{SECRET} {number}").unwrap();
    }
    drop(lines);
    assert!(producer.wait().unwrap().success());

    for (name, metric) in [
        ("keeper-1", "znode_count "),
        ("broker-1", "kafka_server_replicamanager_leadercount 1"),
        ("broker-2", "kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} "),
    ] {
        assert!(cluster.get(name, "/healthz").starts_with("HTTP/1.1 200 "), "{name} is alive");
        assert!(cluster.get(name, "/readyz").starts_with("HTTP/1.1 200 "), "{name} is ready");
        let metrics = cluster.get(name, "/metrics");
        assert!(metrics.contains(metric), "no {metric:?} in {metrics}");
    }
    let stone = "{\"stone\":\"pause\"}";
    let post = |header: &str| format!("POST /stone HTTP/1.1\r\n{header}Content-Length: {}\r\n\r\n{stone}", stone.len());
    assert!(cluster.http("broker-1", &post("Origin: http://example.org\r\n")).starts_with("HTTP/1.1 403 "));
    assert!(cluster.http("broker-1", &post("")).starts_with("HTTP/1.1 200 "));
    assert!(cluster.get("broker-1", "/healthz").starts_with("HTTP/1.1 503 "), "it is paused");
    let resume = "POST /stone HTTP/1.1\r\nContent-Length: 18\r\n\r\n{\"stone\":\"resume\"}";
    assert!(cluster.http("broker-1", resume).starts_with("HTTP/1.1 200 "));
    assert!(cluster.get("broker-1", "/healthz").starts_with("HTTP/1.1 200 "));

    // One dies with its recording, the others stop in order.
    cluster.signal(cluster.node("broker-2")["pid"].as_i64().unwrap(), rustix::process::Signal::KILL);
    cluster.signal(i64::from(cluster.child.id()), rustix::process::Signal::TERM);
    cluster.child.wait().unwrap();
    for (name, ended) in
        [("keeper-1", Some("stopped in order")), ("broker-1", Some("stopped in order")), ("broker-2", None)]
    {
        let replayed = replayed(&cluster.recording(name));
        assert_eq!(replayed.node.to_string(), name);
        assert_eq!(replayed.ended.as_deref(), ended, "{replayed:?}");
        assert!(replayed.steps > 30 && replayed.checks > 0, "{replayed:?}");
    }
}
