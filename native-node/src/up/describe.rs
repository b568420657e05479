//! The running cluster, written down: in `cluster.json` of its folder, for the commands that look for it, and for the
//! person who started it.

use super::usage;
use crate::cli::term::count;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More than any description of a cluster.
const LONGEST_ANSWER: u64 = 1 << 20;

/// A cluster that `glasshouse up` runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Where Kafka's clients connect, as host:port.
    pub kafka: Vec<String>,
    /// Where ZooKeeper's clients connect.
    pub zookeeper: Vec<String>,
    pub data: PathBuf,
    pub nodes: Vec<Node>,
    pub cluster: String,
    /// The process that watches over it.
    pub pid: u32,
    /// Its HTTP address: GET /cluster, and POST /stone if stones may be thrown.
    pub control: String,
    pub stones: bool,
}

/// One of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// `keeper-1`, `broker-2`.
    pub name: String,
    pub role: String,
    /// The process it runs in; none while it is down.
    pub pid: Option<u32>,
    /// Where its clients connect.
    pub clients: String,
    /// Metrics and health.
    pub http: Option<String>,
}

impl Cluster {
    /// Its file in the folder of a cluster.
    pub fn file(data: &Path) -> PathBuf {
        data.join("cluster.json")
    }

    /// Its name until it is whole.
    fn aside(data: &Path) -> PathBuf {
        data.join("cluster.json.new")
    }

    /// Nothing runs with this folder any more.
    pub(super) fn remove(data: &Path) {
        let _ = std::fs::remove_file(Cluster::file(data));
        // Left behind where a disk was full.
        let _ = std::fs::remove_file(Cluster::aside(data));
    }

    /// The cluster that runs with this folder.
    ///
    /// # Errors
    /// One sentence: there is none, or the file is not ours.
    pub fn read(data: &Path) -> Result<Cluster> {
        let file = Cluster::file(data);
        let text = std::fs::read(&file)
            .with_context(|| format!("no cluster runs with {}: {} cannot be read", data.display(), file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} does not describe a cluster", file.display()))
    }

    /// Writes it down, whole or not at all.
    ///
    /// # Errors
    /// Of the disk.
    pub fn write(&self) -> Result<()> {
        let (file, aside) = (Cluster::file(&self.data), Cluster::aside(&self.data));
        let written = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        written
            .and_then(|text| std::fs::write(&aside, text))
            .and_then(|()| std::fs::rename(&aside, &file))
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    /// For whoever started it: addresses to paste into clients.
    pub fn block(&self, temporary: bool) -> String {
        let mut text = String::from("\n");
        let running = self.nodes.iter().filter(|node| node.pid.is_some()).count();
        let _ = writeln!(text, "  {}.\n", count(running, "node serves", "nodes serve"));
        let kept = if temporary { "  (temporary: removed at the end; keep it with --data DIR)" } else { "" };
        if !self.kafka.is_empty() {
            let _ = writeln!(text, "  Kafka      {}", self.kafka.join(","));
        }
        let _ = writeln!(text, "  ZooKeeper  {}", self.zookeeper.join(","));
        let _ = writeln!(text, "  data       {}{kept}", self.data.display());
        let _ = writeln!(text, "  control    http://{}/cluster", self.control);
        if self.stones {
            let usual = self.control.ends_with(&format!(":{}", super::CONTROL_PORT));
            let at = if usual { String::new() } else { format!("--control {} ", self.control) };
            let _ = writeln!(text, "  stones     glasshouse stone {at}kill {}", self.target());
        }
        let _ = writeln!(text, "\n  Ctrl-C stops it in order; another a second later, at once.");
        text
    }

    /// Whether its control says that it is the one, or says nothing: somebody listens who may only be slow.
    fn may_answer(&self) -> bool {
        let Ok(control) = self.control.parse::<SocketAddr>() else { return true };
        let ask = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect_timeout(&control, ANSWERS_WITHIN)?;
            stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
            stream.write_all(format!("GET /cluster HTTP/1.1\r\nHost: {control}\r\n\r\n").as_bytes())?;
            let mut answer = Vec::new();
            stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
            Ok(answer)
        };
        match ask() {
            Ok(answer) => {
                let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|at| &answer[at + 4..]);
                let told = body.and_then(|body| serde_json::from_slice::<Cluster>(body).ok());
                told.is_some_and(|told| told.pid == self.pid && told.cluster == self.cluster)
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn target(&self) -> &str {
        self.nodes.last().map_or("keeper-1", |node| &node.name)
    }
}

/// How long a cluster may take to say that it is the one.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// What the nodes of a cluster that was killed take to stop by themselves, and a little more.
const ORPHANS_END_WITHIN: Duration = Duration::from_secs(3);

/// Waits for the nodes of a cluster whose watcher was killed: until they have stopped, they hold folders and ports.
pub(super) fn let_orphans_end(data: &Path) {
    let Ok(cluster) = Cluster::read(data) else { return };
    let mut nodes = cluster.nodes.iter().filter_map(|node| node.pid).filter(|pid| *pid != cluster.pid).peekable();
    if nodes.peek().is_none() || runs(cluster.pid) {
        return;
    }
    let (began, orphans) = (Instant::now(), nodes.collect::<Vec<_>>());
    while orphans.iter().any(|pid| runs(*pid)) && began.elapsed() < ORPHANS_END_WITHIN {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process has this number now.
fn runs(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// Two clusters do not share a folder. What is left of one that was killed is no hindrance, though its number may be some
/// other process's now.
pub(super) fn refuse_running(data: &Path) -> Result<()> {
    let Ok(cluster) = Cluster::read(data) else { return Ok(()) };
    if runs(cluster.pid) && cluster.pid != std::process::id() && cluster.may_answer() {
        return Err(usage(format!("{} belongs to a cluster that runs (process {})", data.display(), cluster.pid)));
    }
    Ok(())
}
