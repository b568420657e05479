//! A cluster of real processes for the tests: `glasshouse up` started, watched, stoned and stopped. Knows the command's
//! flags, its JSON line and its control port, and nothing of what runs inside.

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
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
    /// As they were started.
    pub nodes: Vec<Node>,
    /// Where it is asked what runs, and where stones are thrown.
    control: String,
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
        std::fs::create_dir_all(data).expect("a folder can be made");
        // A file and no pipe: it can be read at any time, and nobody has to drain it.
        let log = File::options().create(true).append(true).open(log_in(data)).expect("a log can be written");
        let mut child = Command::new(glasshouse())
            .args(["up", "--json", "--processes", "--kafka-port", "0", "--zookeeper-port", "0", "--mesh-port", "0"])
            .arg("--data")
            .arg(data)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("glasshouse can be started");
        let lines = lines_of(child.stdout.take().expect("stdout is a pipe"));
        let Ok(line) = lines.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let said = std::fs::read_to_string(log_in(data)).unwrap_or_default();
            panic!("the cluster does not serve after {PATIENCE:?}; it said:\n{said}");
        };
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        ProcessCluster {
            kafka: list(&told["kafka"]),
            zookeeper: list(&told["zookeeper"]),
            data: told["data"].as_str().expect("a folder").into(),
            nodes: nodes_of(&told),
            control: told["control"].as_str().expect("the control's address").to_owned(),
            took: begun.elapsed(),
            keeps_data: false,
            child,
        }
    }

    /// The folder outlives this value.
    pub fn keep_data(&mut self) {
        self.keeps_data = true;
    }

    /// The nodes that run now.
    pub fn running(&self) -> Vec<Node> {
        let (status, body) = http(&self.control, "GET", "/cluster", "").expect("the control answers");
        assert!(status == 200, "the control answers {status}: {body}");
        nodes_of(&serde_json::from_str(&body).expect("the control answers JSON"))
    }

    /// Throws a stone, as the control port takes it: `{"stone": "kill", "on": "broker-2"}`. The cluster must have been
    /// started with `--stones`.
    ///
    /// # Errors
    /// Why it was not thrown: a node that is down cannot be cut off.
    pub fn throw(&self, stone: &Value) -> Result<(), String> {
        let (status, body) = http(&self.control, "POST", "/stone", &stone.to_string()).map_err(|no| no.to_string())?;
        if status == 200 { Ok(()) } else { Err(body.trim().to_owned()) }
    }

    /// Whatever lies anywhere is taken away, and whoever is down is started, until nobody is.
    pub fn heal(&self) {
        eventually("every node runs and no stone lies anywhere", || {
            let running = self.running();
            let down: Vec<&Node> =
                self.nodes.iter().filter(|node| !running.iter().any(|it| it.name == node.name)).collect();
            for node in &down {
                let _tried_again = self.throw(&json!({"stone": "restart", "on": node.name}));
            }
            // One that has only begun to start cannot be healed yet, and needs it no more than any other.
            let healed = self.throw(&json!({"stone": "heal"}));
            if !down.is_empty() {
                // The supervisor takes a moment before it starts somebody again.
                std::thread::sleep(Duration::from_millis(300));
            }
            (down.is_empty() && healed.is_ok()).then_some(())
        });
    }

    /// What it and its nodes logged so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(log_in(&self.data)).unwrap_or_default()
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
        // Those that were started again since; whoever is paused would stay for ever.
        let cluster = std::fs::read_to_string(self.data.join("cluster.json")).unwrap_or_default();
        let now = serde_json::from_str(&cluster).map(|told| nodes_of(&told)).unwrap_or_default();
        for node in self.nodes.iter().chain(&now) {
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

/// Where a cluster's log goes.
fn log_in(data: &Path) -> PathBuf {
    data.join("up.log")
}

/// Those that have a process.
fn nodes_of(cluster: &Value) -> Vec<Node> {
    let node = |value: &Value| {
        Some(Node {
            name: value["name"].as_str()?.to_owned(),
            role: value["role"].as_str()?.to_owned(),
            pid: u32::try_from(value["pid"].as_u64()?).ok()?,
        })
    };
    cluster["nodes"].as_array().map(|nodes| nodes.iter().filter_map(node).collect()).unwrap_or_default()
}

/// One question over HTTP: status and body.
fn http(at: &str, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("no answer of HTTP"))?;
    Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
}

/// Sends a process a signal by its name; a process that is gone does not mind.
pub fn signal(name: &str, pid: u32) {
    signal_all(name, &[pid]);
}

/// The same for several, as nearly at once as can be.
pub fn signal_all(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(format!("-{name}")).args(pids).stderr(Stdio::null()).status();
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
