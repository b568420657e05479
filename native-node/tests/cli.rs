//! The commands for a running cluster as a person or a script meets them: the binary is run against a cluster that it
//! started itself, and judged by what it prints and how it exits.

use glasshouse_core::keeper::client::op::{CreateMode, KeeperError, Op, WatchKind};
use glasshouse_core::record::batch::NewRecord;
use glasshouse_node::client::kafka::{self, Consumer, ConsumerSettings, Producer, ProducerSettings};
use glasshouse_node::client::{keeper, parse_addresses};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// However slow the machine: what has not happened by then will not.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary, deaf to whatever the environment says of clusters.
fn glasshouse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glasshouse"));
    for name in ["GLASSHOUSE_BOOTSTRAP", "GLASSHOUSE_ZOOKEEPER", "GLASSHOUSE_DATA", "GLASSHOUSE_CONTROL"] {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// What a run ended with.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A cluster that was started; killed, and its folder removed, at the end.
struct Cluster {
    child: Child,
    data: PathBuf,
    told: Value,
    _out: BufReader<ChildStdout>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // In order first: with --processes the nodes are its children.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

impl Cluster {
    fn start(arguments: &[&str]) -> Cluster {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("glasshouse-test-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let mut command = glasshouse(&["up", "--json", "--kafka-port", "0", "--zookeeper-port", "0", "--data"]);
        let mut child = command.arg(&data).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("up said {line:?}"));
        Cluster { child, data, told, _out: out }
    }

    /// Where its `kafka` or its `zookeeper` is.
    fn addresses(&self, of: &str) -> Vec<glasshouse_core::node::Address> {
        let all: Vec<_> = self.told[of].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
        parse_addresses(&all.join(","), 0).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = glasshouse(arguments);
        command.env("GLASSHOUSE_DATA", &self.data).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().unwrap())
    }

    /// Runs what must succeed; gives what it printed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    /// As [`ok`](Cluster::ok), with what stands on standard input.
    #[track_caller]
    fn feed(&self, arguments: &[&str], input: &str) -> String {
        let ended = self.fed(arguments, input);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    /// How a run ends that has this on standard input.
    fn fed(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let ended = ended(child.wait_with_output().unwrap());
        writer.join().unwrap().unwrap();
        ended
    }

    /// Runs what must fail with this code; gives what it said of it.
    #[track_caller]
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        ended.err
    }

    /// The lines of JSON that a command prints.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        self.ok(&[arguments, &["--json"]].concat()).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asks for the status until it ends with this code.
    #[track_caller]
    fn until_status(&self, code: i32) -> Ended {
        let began = Instant::now();
        loop {
            let status = self.run(&["status"]);
            if status.code == code {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "never {code}: {status:?}");
        }
    }
}

#[test]
fn without_a_cluster_every_command_says_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for arguments in [&["topic", "list"][..], &["consume", "t"], &["produce", "t"], &["zk", "ls", "/"], &["status"]] {
        let at = ["--bootstrap", &free, "--zookeeper", &free];
        let output = glasshouse(&[arguments, &at].concat()).stdin(Stdio::null()).output().unwrap();
        let ended = ended(output);
        assert_eq!(ended.code, 1, "{arguments:?}: {ended:?}");
        let told = ended.err + &ended.out;
        assert!(told.contains("nothing listens"), "{arguments:?}: {told}");
    }
    for arguments in [
        &["topic", "list", "--bootstrap", "host:port"][..],
        &["topic", "create", "t", "--partitions", "0"],
        &["topic", "create", "t", "--config", "nonsense"],
        &["consume", "t", "--from", "soon"],
        &["produce", "t", "--acks", "2"],
        &["produce", "t", "--acks", "1", "--idempotent"],
        &["zk", "fly", "/"],
        &["zk", "get"],
        &["stone", "kill"],
        &["stone", "cut", "broker-1", "broker-1"],
        &["stone", "slow", "keeper-1", "keeper-1", "5"],
        &["stone", "reply", "keeper-1", "lost"],
        &["zk", "set", "/a", "v", "--version", "9"],
        &["completions", "abacus"],
        &["topic"],
        &[],
        &["stone", "kill", "broker-1", "--control", "localhost:port"],
        &["zk", "delete", "-r", "-v", "3", "/app"],
    ] {
        let ended = ended(glasshouse(arguments).stdin(Stdio::null()).output().unwrap());
        assert_eq!((ended.code, ended.err.lines().count()), (2, 1), "{arguments:?}: {ended:?}");
    }
    for arguments in [&["up", "--patience", "0"][..], &["stone", "reply", "broker-1", "error", "NO_SUCH_ERROR"]] {
        let ended = ended(glasshouse(arguments).stdin(Stdio::null()).output().unwrap());
        assert_eq!((ended.code, ended.err.lines().count()), (2, 1), "{arguments:?}: {ended:?}");
    }
    // With --json a failure is a line for programs as well.
    for arguments in [&["topic", "list"][..], &["zk", "ls", "/"], &["consume", "t"], &["produce", "t"]] {
        let at = ["--bootstrap", &free, "--zookeeper", &free, "--json"];
        let ended = ended(glasshouse(&[arguments, &at].concat()).stdin(Stdio::null()).output().unwrap());
        let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{arguments:?}: {ended:?}"));
        assert!(told["error"].as_str().unwrap().contains("nothing listens"), "{told}");
        assert_eq!((ended.code, &told["unknown"]), (1, &Value::from(false)), "{ended:?}");
    }
    // A full disk behind standard output is named as such.
    for arguments in [&["--help"][..], &["completions", "bash"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = glasshouse(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ended = ended(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 1, "{arguments:?}: {ended:?}");
        assert!(ended.err.starts_with("glasshouse: standard output cannot be written: "), "{ended:?}");
    }
    let stone = ended(glasshouse(&["stone", "kill", "broker-1", "--control", &free]).output().unwrap());
    assert_eq!(stone.code, 1);
    assert!(stone.err.contains("is the cluster up?"), "{stone:?}");
    let nowhere = ended(glasshouse(&["status", "--data", "/nowhere"]).output().unwrap());
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.err.contains("/nowhere"), "{nowhere:?}");
    // Where addresses are given, the folder says nothing new.
    let data = ["topic", "list", "--data", "/nowhere", "--bootstrap", &free];
    let given = ended(glasshouse(&data).output().unwrap());
    assert!(given.err.contains("nothing listens"), "{given:?}");
}

#[test]
fn a_cluster_is_used_from_the_command_line() {
    let cluster = Cluster::start(&[]);
    topics(&cluster);
    records(&cluster);
    znodes(&cluster);
    let status = cluster.until_status(0);
    assert!(status.out.contains("controller") && status.out.ends_with("healthy\n"), "{status:?}");
    assert_eq!(cluster.json(&["status"]).last().unwrap()["status"], "healthy");

    other_ports(&cluster);

    cluster.ok(&["topic", "delete", "lines"]);
    let gone = cluster.fails(3, &["topic", "delete", "lines"]);
    assert!(gone.contains("there is no such topic"), "{gone}");
    cluster.fails(3, &["consume", "lines", "--timeout", "2"]);
    cluster.ok(&["topic", "delete", "lines", "--if-exists"]);
}

/// Who asks at a port of another protocol is told so, and not that something may have been done.
fn other_ports(cluster: &Cluster) {
    let at = |name: &str| cluster.told[name].as_array().unwrap()[0].as_str().unwrap();
    let (kafka, zookeeper, control) = (at("kafka"), at("zookeeper"), cluster.told["control"].as_str().unwrap());
    for other in [zookeeper, control] {
        let told = cluster.fails(1, &["topic", "list", "--bootstrap", other, "--timeout", "3"]);
        assert!(told.contains("is that a broker's port?") && !told.contains("unknown"), "{told}");
    }
    for other in [kafka, control] {
        let told = cluster.fails(1, &["zk", "ls", "--zookeeper", other, "--timeout", "2"]);
        assert!(told.contains("is that ZooKeeper's port?"), "{told}");
    }
}

/// In a container the variable names the folder of `glasshouse node`, which says nothing of a cluster.
#[test]
fn the_folder_of_a_node_is_no_clusters() {
    let data = std::env::temp_dir().join(format!("glasshouse-test-cli-node-{}", std::process::id()));
    std::fs::create_dir_all(data.join("broker-1")).unwrap();
    let run = |arguments: &[&str]| ended(glasshouse(arguments).env("GLASSHOUSE_DATA", &data).output().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let listed = run(&["zk", "ls", "--zookeeper", &free]);
    assert!(listed.err.contains("nothing listens"), "{listed:?}");
    let status = run(&["status", "--timeout", "2"]);
    assert!(!status.err.contains("no cluster runs with"), "it is looked for where people expect it: {status:?}");
    std::fs::remove_dir(data.join("broker-1")).unwrap();
    let status = run(&["status"]);
    assert!(status.err.contains("no cluster runs with"), "a folder without nodes is a mistake: {status:?}");
    std::fs::remove_dir(&data).unwrap();
}

fn topics(cluster: &Cluster) {
    let made = cluster.ok(&[
        "topic",
        "create",
        "lines",
        "--partitions",
        "1",
        "--replicas",
        "3",
        "--config",
        "min.insync.replicas=2",
    ]);
    assert_eq!(made, "topic lines is made: 1 partition, 3 replicas\n");
    cluster.ok(&["topic", "create", "keyed", "-p", "3", "-r", "2"]);
    let again = cluster.fails(1, &["topic", "create", "keyed", "-p", "3"]);
    assert!(again.contains("the topic is there already (TOPIC_ALREADY_EXISTS)"), "{again}");
    cluster.ok(&["topic", "create", "keyed", "--if-not-exists"]);
    cluster.fails(1, &["topic", "create", "many", "--replicas", "9"]);
    cluster.fails(1, &["topic", "create", "not/a/name"]);

    let listed = cluster.json(&["topic", "list"]);
    let names: Vec<_> = listed.iter().map(|topic| topic["topic"].as_str().unwrap()).collect();
    assert_eq!(names, ["keyed", "lines"]);
    let described = cluster.ok(&["topic", "describe", "lines"]);
    assert!(described.contains("settings: min.insync.replicas=2"), "{described}");
    let described = cluster.json(&["topic", "describe", "keyed"]);
    let parts = described[0]["partitions"].as_array().unwrap();
    assert_eq!((parts.len(), parts[0]["replicas"].as_array().unwrap().len()), (3, 2));
    cluster.fails(3, &["topic", "describe", "none"]);
}

fn records(cluster: &Cluster) {
    let lines: String = (0..1000).map(|n| format!("line {n}\n")).collect();
    assert_eq!(cluster.feed(&["produce", "lines"], &lines), "");
    assert_eq!(cluster.ok(&["consume", "lines"]), lines);
    assert_eq!(cluster.ok(&["consume", "lines", "--from", "997"]), "line 997\nline 998\nline 999\n");
    assert_eq!(cluster.ok(&["consume", "lines", "-n", "2"]), "line 0\nline 1\n");
    assert_eq!(cluster.ok(&["consume", "lines", "-p", "0", "-p", "0", "-n", "1"]), "line 0\n");
    assert_eq!(cluster.ok(&["consume", "lines", "--from", "end"]), "");
    assert!(cluster.fails(3, &["consume", "lines", "--from", "5000"]).contains("does not have that offset"));

    for acks in ["0", "1", "all"] {
        cluster.feed(&["produce", "lines", "--acks", acks, "--json"], "one more\n");
    }
    let end = || cluster.json(&["topic", "describe", "lines"])[0]["partitions"][0]["high_watermark"].clone();
    let began = Instant::now();
    while end() != 1003 {
        assert!(began.elapsed() < PATIENCE, "{:?}", end());
    }

    let told = cluster.feed(&["produce", "keyed", "-k", ":", "-H", "from=test", "--json"], "a:1\nb:2\na:3\nnone\n");
    assert_eq!(told.lines().count(), 4, "{told}");
    let read = cluster.json(&["consume", "keyed"]);
    let of =
        |key: &str| read.iter().filter(|record| record["key"] == key).map(|r| r["value"].clone()).collect::<Vec<_>>();
    assert_eq!((of("a"), of("b")), (vec!["1".into(), "3".into()], vec![Value::from("2")]));
    assert_eq!(read[0]["headers"][0]["value"], "test");
    assert_eq!(cluster.ok(&["consume", "keyed", "-k", "="]).lines().filter(|line| line.starts_with("a=")).count(), 2);

    // A line without an end is given up where it is too long, and what came before it is there.
    let mut endless = cluster.command(&["produce", "lines"]);
    endless.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = endless.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || -> std::io::Result<()> {
        stdin.write_all(b"one more\n")?;
        loop {
            stdin.write_all(&[b'a'; 1 << 16])?;
        }
    });
    let refused = ended(child.wait_with_output().unwrap());
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.starts_with("glasshouse: line 2 has ") && refused.err.contains(" 103809024 are the most"));
    assert!(writer.join().unwrap().is_err(), "nobody reads any more");
    let began = Instant::now();
    while end() != 1004 {
        assert!(began.elapsed() < PATIENCE, "{:?}", end());
    }

    let none = cluster.fails(3, &["produce", "nothing", "--timeout", "2"]);
    assert!(none.contains("there is no such topic"), "{none}");

    // A reader that goes on gets what comes after it began.
    let mut follower = cluster.command(&["consume", "lines", "-f", "--from", "1004", "-n", "1"]);
    let child = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    cluster.feed(&["produce", "lines"], "news\n");
    let followed = ended(child.wait_with_output().unwrap());
    assert_eq!((followed.code, followed.out.as_str()), (0, "news\n"), "{followed:?}");
}

fn znodes(cluster: &Cluster) {
    let zk = |arguments: &[&str]| cluster.ok(&[&["zk"], arguments].concat());
    assert_eq!(zk(&["ls", "/brokers/ids/"]).lines().count(), 3);
    assert_eq!(zk(&["create", "/app", "one"]), "/app\n");
    assert_eq!(zk(&["get", "/app"]), "one\n");
    assert_eq!(zk(&["create", "-s", "/app/n-"]), "/app/n-0000000000\n");
    assert_eq!(zk(&["create", "-p", "/app/a/b/c", "deep"]), "/app/a/b/c\n");
    assert_eq!(zk(&["ls", "-R", "/app"]), "/app\n/app/a\n/app/a/b\n/app/a/b/c\n/app/n-0000000000\n");
    assert!(zk(&["stat", "/app"]).contains("numChildren = 2\n"));

    let mut watching = cluster.command(&["zk", "watch", "/app", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(told.next().unwrap(), "watching /app");
    assert_eq!(zk(&["set", "/app", "two", "-v", "0"]), "/app has version 1\n");
    assert_eq!(told.next().unwrap(), "NodeDataChanged /app");
    assert!(watching.wait().unwrap().success());

    let err = cluster.fails(1, &["zk", "set", "/app", "x", "--if-version", "7"]);
    assert!(err.contains("BADVERSION"), "{err}");
    assert!(cluster.fails(1, &["zk", "delete", "/app"]).contains("delete -r"));
    assert!(cluster.fails(3, &["zk", "get", "/none"]).contains("there is no such node (NONODE)"));
    assert!(cluster.fails(2, &["zk", "get", "none"]).contains("begins with /"));
    assert!(zk(&["sync"]).contains("in step"));
    assert_eq!(zk(&["getAcl", "/app"]), "world:anyone:cdrwa\n");
    assert_eq!(
        zk(&["setAcl", "/app/a", "world:anyone:rwd,ip:127.0.0.1:cdrwa"]),
        "the access list of /app/a has version 1\n"
    );
    assert_eq!(zk(&["getAcl", "/app/a"]), "world:anyone:drw\nip:127.0.0.1:cdrwa\n");
    assert!(cluster.fails(2, &["zk", "setAcl", "/app", "anyone"]).contains("SCHEME:ID:RIGHTS"));
    assert_eq!(zk(&["set", "/app/a", "-5"]), "/app/a has version 1\n");
    for root in ["/", "/zookeeper/quota"] {
        assert!(cluster.fails(2, &["zk", "delete", "-r", root]).contains("cannot be deleted"));
    }
    assert_eq!(zk(&["ls", "/brokers/ids"]).lines().count(), 3, "nothing below it is deleted either");
    zk(&["delete", "-r", "/app"]);
    cluster.fails(3, &["zk", "stat", "/app"]);

    // The shell, without a terminal: the ephemeral node lives as long as it does.
    let said = cluster.feed(&["zk"], "create -e /mine 'two words'\nget /mine\nquit\n");
    assert!(said.contains("/mine\ntwo words\n"), "{said}");
    cluster.fails(3, &["zk", "stat", "/mine"]);

    // A line that is no text is passed over, and told.
    let mut shell = cluster.command(&["zk"]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(b"get /\xff\xfe\nls /\n").unwrap();
    let ended = ended(shell.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (2, "a line is not UTF-8\n"), "{ended:?}");
    assert!(ended.out.contains("brokers\n"), "{ended:?}");

    // A script goes on after what fails, and ends with what went wrong first.
    for (script, code) in [
        ("ls /nope\nls /\n", 3),
        ("ls /\nset /brokers x --if-version 7\nls /nope\n", 1),
        ("get nope\nls /nope\n", 2),
        ("fly /\nls /\nquit\n", 2),
        ("get '/brokers\nls /\n", 2),
        ("ls /\n\nhelp\n", 0),
    ] {
        let ended = cluster.fed(&["zk"], script);
        assert_eq!(ended.code, code, "{script:?}: {ended:?}");
        assert_eq!(ended.out.contains("brokers\n"), script.contains("ls /\n"), "{script:?}: {ended:?}");
    }
}

#[test]
fn stones_are_thrown_and_the_status_tells() {
    let cluster = Cluster::start(&["--stones", "--processes"]);
    cluster.ok(&["topic", "create", "t", "-p", "3", "-r", "3", "--config", "min.insync.replicas=2"]);
    cluster.feed(&["produce", "t"], "before\n");
    cluster.until_status(0);

    for stone in [&["kill", "broker-9"][..], &["cut", "broker-1", "broker-9"], &["restart", "keeper-4"]] {
        let told = cluster.fails(3, &[&["stone"], stone].concat());
        assert!(told.contains("no node of this cluster is called"), "{told}");
    }
    cluster.ok(&["stone", "kill", "broker-2"]);
    let status = cluster.until_status(3);
    assert!(status.out.contains("degraded: "), "{status:?}");
    cluster.feed(&["produce", "t"], "meanwhile\n");
    let items = cluster.run(&["status", "--json"]).out;
    assert!(items.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{items}");
    cluster.ok(&["stone", "restart", "broker-2"]);
    cluster.until_status(0);

    // One that hangs is found out before its session has lapsed, or is missing then.
    cluster.ok(&["stone", "pause", "broker-2"]);
    let status = cluster.until_status(3);
    assert!(
        status.out.contains("broker 2 does not answer") || status.out.contains("broker 2 is missing"),
        "{status:?}"
    );
    cluster.ok(&["stone", "resume", "broker-2"]);
    cluster.until_status(0);

    cluster.ok(&["stone", "kill", "keeper-1"]);
    let status = cluster.until_status(3);
    assert!(status.out.contains("keeper-1"), "{status:?}");
    cluster.ok(&["stone", "restart", "keeper-1"]);
    cluster.until_status(0);

    // An answer that is lost after the append: the record is there once.
    for broker in ["broker-1", "broker-2", "broker-3"] {
        cluster.ok(&["stone", "reply", broker, "lost"]);
    }
    cluster.feed(&["produce", "t"], "after\n");
    cluster.ok(&["stone", "heal"]);
    let mut values: Vec<String> = cluster.ok(&["consume", "t"]).lines().map(str::to_owned).collect();
    values.sort();
    assert_eq!(values, ["after", "before", "meanwhile"]);

    cluster.ok(&["stone", "cut", "broker-1", "keeper-3"]);
    cluster.ok(&["stone", "slow", "broker-1", "broker-3", "5"]);
    cluster.ok(&["stone", "heal", "broker-1", "keeper-3"]);
    cluster.ok(&["stone", "heal"]);
    cluster.until_status(0);
}

/// What the bench and the soak are built on: the library under a load, while nodes are killed.
#[tokio::test]
async fn clients_live_through_kills() {
    let cluster = Cluster::start(&["--stones"]);
    cluster.ok(&["topic", "create", "t", "-p", "3", "-r", "3", "--config", "min.insync.replicas=2"]);
    records_survive(&cluster).await;
    cluster.ok(&["stone", "restart", "broker-1"]);
    session_survives(&cluster).await;
}

async fn records_survive(cluster: &Cluster) {
    let settings = kafka::Settings { timeout: PATIENCE, ..kafka::Settings::default() };
    let client = kafka::Client::connect(cluster.addresses("kafka"), settings).await.unwrap();
    let settings = ProducerSettings { batch_bytes: 4096, ..ProducerSettings::default() };
    let producer = Producer::start(client.clone(), settings).await.unwrap();
    let topic = "t".into();
    let mut deliveries = Vec::new();
    for n in 0..3000 {
        let record = NewRecord::new(n, None, Some(n.to_string().as_bytes()));
        deliveries.push(producer.send(&topic, Some((n % 3) as i32), record).await.unwrap());
        if n == 1500 {
            // What is under way is answered, or not, while the command runs.
            let kill = cluster.command(&["stone", "kill", "broker-1"]).spawn().unwrap();
            tokio::task::spawn_blocking(move || kill.wait_with_output()).await.unwrap().unwrap();
        }
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.wait().await.unwrap();
    }
    let mut consumer = Consumer::start(client, "t", ConsumerSettings::default()).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 3000 {
        for consumed in consumer.poll(PATIENCE).await.unwrap() {
            read.push(String::from_utf8(consumed.record.value.unwrap().to_vec()).unwrap());
        }
    }
    let ends = consumer.ends().await.unwrap().into_values().map(|end| end.0).sum::<i64>();
    assert_eq!((read.iter().collect::<BTreeSet<_>>().len(), ends), (3000, 3000), "each of them once");
}

async fn session_survives(cluster: &Cluster) {
    let session = keeper::Session::connect(cluster.addresses("zookeeper"), keeper::Settings::default()).await.unwrap();
    let mut events = session.events();
    session.create("/load", None, CreateMode::Persistent).await.unwrap();
    session.create("/mine", None, CreateMode::Ephemeral).await.unwrap();
    session.children("/load/", false).await.unwrap_err();
    assert!(session.exists("/watched", true).await.unwrap().is_none());
    let mut asked = Vec::new();
    for n in 0..1000 {
        asked.push((n, session.ask(Op::create(&format!("/load/{n}"), None, CreateMode::Persistent))));
        if n == 500 {
            let kill = cluster.command(&["stone", "kill", "keeper-1"]).spawn().unwrap();
            tokio::task::spawn_blocking(move || kill.wait_with_output()).await.unwrap().unwrap();
        }
    }
    let mut sure = Vec::new();
    for (n, asked) in asked {
        let answered = asked.await;
        match answered.answer {
            Ok(_) => sure.push(n.to_string()),
            Err(KeeperError::CONNECTIONLOSS) => {}
            Err(error) => panic!("/load/{n}: {error}"),
        }
    }
    session.sync("/").await.unwrap();
    let there: BTreeSet<String> =
        session.children("/load", false).await.unwrap().iter().map(|n| n.to_string()).collect();
    assert!(sure.iter().all(|name| there.contains(name)), "what was acknowledged is there");
    assert!(session.exists("/mine", false).await.unwrap().is_some(), "the session lives");
    session.create("/watched", None, CreateMode::Persistent).await.unwrap();
    loop {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            keeper::Event::Watch { kind: WatchKind::Created, path } => break assert_eq!(&*path, "/watched"),
            keeper::Event::Expired { .. } => panic!("the session is gone"),
            _ => {}
        }
    }
    session.close().await;
    cluster.fails(3, &["zk", "stat", "/mine"]);
}
