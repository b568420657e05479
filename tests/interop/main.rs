//! Clients that nobody here wrote, against real processes. `make setup-python` installs the Python ones; what needs Node,
//! Java or more of the system runs in `make interop`. A client that is missing is a failure, never a skip.

mod dumps;

use glasshouse_tests::process::{ProcessCluster, glasshouse};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that the Makefile's set-up fills.
fn tools() -> PathBuf {
    let cache = || {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).expect("a home folder").join("glasshouse")
    };
    std::env::var_os("GLASSHOUSE_TOOLS").map_or_else(cache, PathBuf::from)
}

/// A file beside this one.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name)
}

/// Java with Apache's jars.
fn java(words: &[&str]) -> Command {
    let jars = tools().join("apache/lib");
    assert!(jars.is_dir(), "{} is missing: make setup-interop", jars.display());
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).arg("-Xmx256m").args(words);
    command
}

/// Runs a client against the cluster; what it said. It must succeed.
fn must(what: &str, cluster: &ProcessCluster, command: &mut Command, input: &str) -> String {
    let mut child = command
        .env("GLASSHOUSE_KAFKA", &cluster.kafka)
        .env("GLASSHOUSE_ZOOKEEPER", &cluster.zookeeper)
        .env("GLASSHOUSE_DATA", &cluster.data)
        .env("GLASSHOUSE_BIN", glasshouse())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{what} cannot be started ({error}): make setup-interop"));
    child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()).expect("it reads its input");
    let output = child.wait_with_output().expect("a child can be waited for");
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success(), "{what}: {}\n{said}", output.status);
    said
}

/// Runs one of the Python stories against a cluster of its own, which is started with these flags.
fn python(script: &str, flags: &[&str]) {
    let python = tools().join("python/bin/python");
    assert!(python.exists(), "{} is missing: make setup-python", python.display());
    let cluster = ProcessCluster::start(flags);
    let said = must(script, &cluster, Command::new(python).arg(beside("python").join(script)), "");
    println!("{said}");
    assert!(cluster.stop().success(), "the cluster stops in order");
}

#[test]
fn confluent_kafka() {
    python("confluent_client.py", &[]);
}

#[test]
fn confluent_kafka_under_stones() {
    python("stones_client.py", &["--stones"]);
}

#[test]
fn ten_thousand_connections() {
    python("crowd_client.py", &[]);
}

#[test]
fn a_client_that_writes_faster_than_a_quorum_takes_it() {
    python("lag_client.py", &["--stones"]);
}

#[test]
fn kafka_python() {
    python("kafka_python_client.py", &[]);
}

#[test]
fn aiokafka() {
    python("aiokafka_client.py", &[]);
}

#[test]
fn what_is_not_served_is_answered() {
    python("refused_client.py", &[]);
}

#[test]
fn kazoo() {
    python("kazoo_client.py", &[]);
}

#[test]
#[ignore = "needs Node and kafkajs: make interop"]
fn kafkajs() {
    let cluster = ProcessCluster::start(&[]);
    let modules = tools().join("node/node_modules");
    let mut node = Command::new("node");
    println!(
        "{}",
        must("kafkajs", &cluster, node.arg(beside("node/kafkajs_client.js")).env("GLASSHOUSE_NODE", modules), "")
    );
}

/// The kcat of Debian 12, and the librdkafka below it. It comes from the system, where nothing can be pinned.
const KCAT: &str = "1.7.1 with librdkafka 2.0.2";

/// Fails unless this machine's kcat is the one that is written down. `KCAT='1.7.1 with librdkafka 2.8.0' make interop`
/// tries another on purpose.
fn require_kcat() {
    let output = Command::new("kcat").arg("-V").output();
    let output = output.unwrap_or_else(|error| panic!("kcat cannot be started ({error}): make setup-interop"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let told = |before: &str| said.split(before).nth(1)?.split([' ', ',', ')']).next();
    let found = format!(
        "{} with librdkafka {}",
        told("\nVersion ").unwrap_or("of no version"),
        told("librdkafka ").unwrap_or("of no version")
    );
    let wanted = std::env::var("KCAT").unwrap_or_else(|_| KCAT.to_owned());
    assert!(
        found == wanted,
        "kcat is {found}; this test is written for {wanted}. To try this one: KCAT={found:?} make interop; if all is \
         well, write it down in {}",
        file!()
    );
}

#[test]
#[ignore = "needs kcat: make interop"]
fn kcat() {
    require_kcat();
    let cluster = ProcessCluster::start(&[]);
    cluster.must(&["topic", "create", "cats", "--partitions", "2", "--replicas", "3"]);
    let lines: String = (0..1000).map(|n| format!("k{}:line {n}\n", n % 5)).collect();
    let mut produce = Command::new("kcat");
    produce.args(["-P", "-b", &cluster.kafka, "-t", "cats", "-K:", "-z", "lz4", "-X", "acks=all"]);
    must("kcat -P", &cluster, &mut produce, &lines);
    let mut consume = Command::new("kcat");
    consume.args(["-C", "-b", &cluster.kafka, "-t", "cats", "-o", "beginning", "-e", "-q", "-K:"]);
    let mut got: Vec<String> = must("kcat -C", &cluster, &mut consume, "").lines().map(str::to_owned).collect();
    let mut sent: Vec<String> = lines.lines().map(str::to_owned).collect();
    got.sort();
    sent.sort();
    assert_eq!(got, sent);
    let mut list = Command::new("kcat");
    list.args(["-L", "-b", &cluster.kafka]);
    let listed = must("kcat -L", &cluster, &mut list, "");
    assert!(listed.contains("3 brokers") && listed.contains("topic \"cats\" with 2 partitions"), "{listed}");
}

#[test]
#[ignore = "needs Java: make interop"]
fn apaches_java_clients() {
    let cluster = ProcessCluster::start(&[]);
    let file = beside("java/Clients.java");
    let file = file.to_str().expect("a path in UTF-8");
    println!("{}", must("Java's clients", &cluster, &mut java(&[file, "java"]), ""));
}

#[test]
#[ignore = "needs Java: make interop"]
fn zk_cli() {
    let cluster = ProcessCluster::start(&[]);
    let mut cli = java(&["org.apache.zookeeper.ZooKeeperMain", "-server", &cluster.zookeeper]);
    let script = "create /cli one\nset /cli two\nget /cli\nls /brokers/ids\nstat /cli\ngetAcl /cli\n\
                  create -s /cli/s- x\ncreate -e /cli/e x\nls /cli\ndeleteall /cli\nquit\n";
    let said = must("zkCli", &cluster, &mut cli, script);
    for words in ["Created /cli", "two", "[1, 2, 3]", "dataVersion = 1", "'world,'anyone", "s-0000000000"] {
        assert!(said.contains(words), "zkCli says nothing of {words:?}:\n{said}");
    }
}
