//! A cluster of real processes for the tests: `glasshouse up` started, watched and stopped. Knows the command's flags and
//! its JSON line, and nothing of what runs inside.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a machine that is busy with other tests may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The binary `glasshouse`, built beside the running test with the same profile.
pub fn glasshouse() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let profile = test.ancestors().find(|folder| folder.join("deps").is_dir()).expect("it lies in a target folder");
    let binary = profile.join("glasshouse");
    assert!(binary.exists(), "{} is not built: cargo build --release -p glasshouse-node", binary.display());
    binary
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub role: String,
    pub pid: u32,
}

/// `glasshouse up`, serving. Dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct ProcessCluster {
    child: Child,
    /// `host:port`, separated by commas.
    pub kafka: String,
    pub zookeeper: String,
    pub data: PathBuf,
    pub nodes: Vec<Node>,
    /// From the start of the process to its line that it serves.
    pub took: Duration,
    keeps_data: bool,
}

fn list(value: &Value) -> String {
    let list = value.as_array().expect("a list of addresses");
    list.iter().map(|one| one.as_str().expect("an address")).collect::<Vec<_>>().join(",")
}

impl ProcessCluster {
    /// Starts one on free ports, with a new folder, every node a process, and these flags besides.
    pub fn start(flags: &[&str]) -> ProcessCluster {
        let unique = format!("glasshouse-test-{}-{:?}", std::process::id(), std::time::SystemTime::now());
        let data = std::env::temp_dir().join(unique.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', ""));
        ProcessCluster::start_in(&data, flags)
    }

    /// As [`start`](ProcessCluster::start), in a folder that may hold an earlier run's data.
    pub fn start_in(data: &Path, flags: &[&str]) -> ProcessCluster {
        let begun = Instant::now();
        let mut child = Command::new(glasshouse())
            .args(["up", "--json", "--processes", "--kafka-port", "0", "--zookeeper-port", "0", "--mesh-port", "0"])
            .arg("--data")
            .arg(data)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("glasshouse can be started");
        let lines = lines_of(child.stdout.take().expect("stdout is a pipe"));
        // What it logs is shown if it does not come to serve, and drained in any case.
        let log = lines_of(child.stderr.take().expect("stderr is a pipe"));
        let Ok(line) = lines.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let said: Vec<String> = log.try_iter().collect();
            panic!("the cluster does not serve after {PATIENCE:?}; it said:\n{}", said.join("\n"));
        };
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        let node = |value: &Value| Node {
            name: value["name"].as_str().expect("a name").to_owned(),
            role: value["role"].as_str().expect("a role").to_owned(),
            pid: u32::try_from(value["pid"].as_u64().expect("a pid")).expect("a pid"),
        };
        ProcessCluster {
            kafka: list(&told["kafka"]),
            zookeeper: list(&told["zookeeper"]),
            data: told["data"].as_str().expect("a folder").into(),
            nodes: told["nodes"].as_array().expect("nodes").iter().map(node).collect(),
            took: begun.elapsed(),
            keeps_data: false,
            child,
        }
    }

    /// The folder outlives this value.
    pub fn keep_data(&mut self) {
        self.keeps_data = true;
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs `glasshouse` with these words against the cluster; what it printed, and how it ended.
    pub fn command(&self, words: &[&str]) -> (String, ExitStatus) {
        let output = Command::new(glasshouse())
            .args(words)
            .env("GLASSHOUSE_BOOTSTRAP", &self.kafka)
            .env("GLASSHOUSE_ZOOKEEPER", &self.zookeeper)
            .env("GLASSHOUSE_DATA", &self.data)
            .stdin(Stdio::null())
            .output()
            .expect("glasshouse can be started");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (text, output.status)
    }

    /// As [`command`](ProcessCluster::command), which must succeed.
    pub fn must(&self, words: &[&str]) -> String {
        let (text, status) = self.command(words);
        assert!(status.success(), "glasshouse {}: {status}\n{text}", words.join(" "));
        text
    }

    /// Stops it in order, as Ctrl-C does.
    pub fn stop(mut self) -> ExitStatus {
        signal("TERM", self.child.id());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it has not stopped after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for ProcessCluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            if node.pid != self.child.id() {
                signal("KILL", node.pid);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.keeps_data {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

/// Sends a process a signal by its name; a process that is gone does not mind.
pub fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status();
}

fn lines_of(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// Asks until it is answered with something.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
