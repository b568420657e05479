//! `glasshouse up` and `glasshouse node` as an operator meets them: the binary is run, on free ports, and judged by what
//! it prints, what answers, and how it exits.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[path = "up/trouble.rs"]
mod trouble;

/// However slow the machine: what has not happened by then will not.
const PATIENCE: Duration = Duration::from_secs(120);

fn glasshouse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glasshouse"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> Output {
    glasshouse(arguments).output().unwrap()
}

/// One sentence on standard error, nothing on standard output, and this exit code.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = output(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
    errors.trim_end().to_owned()
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("glasshouse-test-up-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A cluster that was started; killed if the test ends before it.
struct Cluster {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    told: Value,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const FREE: [&str; 4] = ["--kafka-port", "0", "--zookeeper-port", "0"];

impl Cluster {
    fn start(arguments: &[&str]) -> Cluster {
        Cluster::start_with(arguments, Stdio::inherit())
    }

    /// With its standard error there.
    fn start_with(arguments: &[&str], errors: Stdio) -> Cluster {
        let mut command = glasshouse(&["up", "--json"]);
        command.args(FREE).args(arguments).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Cluster { child, out, told }
    }

    fn strings(&self, key: &str) -> Vec<String> {
        self.told[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    fn pid(&self, name: &str) -> Option<i64> {
        let file = Path::new(self.told["data"].as_str().unwrap()).join("cluster.json");
        let now: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        now["nodes"].as_array()?.iter().find(|node| node["name"] == name)?["pid"].as_i64()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        signal_to(i64::from(self.child.id()), signal);
    }

    /// SIGTERM, and how it ended.
    fn stop(mut self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::TERM);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

fn signal_to(pid: i64, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn http(at: &str, request: &str) -> Option<String> {
    use std::io::Write;
    let mut stream = TcpStream::connect(at).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn get(at: &str, path: &str) -> Option<String> {
    http(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n"))
}

fn post(at: &str, path: &str, body: &str) -> Option<String> {
    http(at, &format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn a_cluster_in_one_process_serves_and_stops_in_order() {
    let cluster = Cluster::start(&[]);
    let (kafka, zookeeper) = (cluster.strings("kafka"), cluster.strings("zookeeper"));
    assert_eq!((kafka.len(), zookeeper.len()), (3, 3));
    let nodes = cluster.told["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 6);
    for node in nodes {
        assert_eq!(node["pid"].as_u64(), Some(u64::from(cluster.child.id())));
        let ready = || get(node["http"].as_str().unwrap(), "/readyz").filter(|it| it.starts_with("HTTP/1.1 200"));
        match node["role"].as_str() {
            // One that is slow to follow is not waited for.
            Some("keeper") => until("a keeper follows", || ready().map(drop)),
            _ => assert!(ready().is_some(), "{node}"),
        }
    }
    for address in kafka.iter().chain(&zookeeper) {
        TcpStream::connect(address).unwrap();
    }
    let data = PathBuf::from(cluster.told["data"].as_str().unwrap());
    assert!(data.join("cluster.json").exists());
    assert_eq!(cluster.stop(), (Some(0), String::new()));
    assert!(!data.exists(), "the temporary folder is removed");
}

/// What a keeper says to a word, and from where it was asked.
fn word(at: &str, word: &str) -> (String, String) {
    use std::io::Write;
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer, stream.local_addr().unwrap().to_string())
}

/// A session that writes and reads; it lasts as long as the connection.
fn session_that_works(at: &str, writes: i32, reads: i32) -> TcpStream {
    use glasshouse_core::api::keeper::{Connect, Op, Request};
    use std::io::Write;
    let mut stream = TcpStream::connect(at).unwrap();
    let mut ask = |request: &Request| {
        let frame = glasshouse_core::wire::keeper::encode_request(request);
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &frame].concat()).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).unwrap();
    };
    let (session, password) = (glasshouse_core::id::SessionId(0), vec![0; 16].into());
    let last_zxid_seen = glasshouse_core::id::Zxid::ZERO;
    let read_only = Some(false);
    ask(&Request::Connect(Connect {
        protocol_version: 0,
        last_zxid_seen,
        timeout_ms: 60_000,
        session,
        password,
        read_only,
    }));
    for xid in 0..writes {
        let op = Op::SetData { path: "/zookeeper".into(), data: Some(vec![b'x'; 100].into()), version: -1 };
        ask(&Request::Op { xid, op });
    }
    for xid in writes..writes + reads {
        ask(&Request::Op { xid, op: Op::GetData { path: "/zookeeper".into(), watch: false } });
    }
    stream
}

#[test]
fn words_and_metrics_of_a_keeper_tell_who_is_there_and_how_long_answers_took() {
    let cluster = Cluster::start(&[]);
    let leads = |at: &&String| word(at, "srvr").0.contains("Mode: leader\n");
    let keepers = cluster.strings("zookeeper");
    let keeper = until("a keeper leads", || keepers.iter().find(leads));
    let session = session_that_works(keeper, 5, 20);
    let (stat, asker) = word(keeper, "stat");
    let session = format!("\n /{}[1](queued=0,recved=26,sent=26)\n", session.local_addr().unwrap());
    let asker = format!("\n /{asker}[0](queued=0,recved=1,sent=0)\n");
    assert!(stat.contains(&session) && stat.contains(&asker), "no {session} or no {asker} in\n{stat}");
    let latency = stat.lines().find_map(|line| line.strip_prefix("Latency min/avg/max: ")).unwrap();
    let latency: Vec<f64> = latency.split('/').map(|number| number.parse().unwrap()).collect();
    assert!(latency.is_sorted() && latency[1] > 0.0 && latency[2] < 60_000.0, "{latency:?}");
    assert!(stat.contains("\nProposal sizes last/min/max: "), "{stat}");

    let mntr = word(keeper, "mntr").0;
    let tells = |name: &str| {
        let value = mntr.lines().find_map(|line| line.strip_prefix(&format!("zk_{name}\t")));
        value.unwrap_or_else(|| panic!("no {name} in\n{mntr}")).parse::<f64>().unwrap()
    };
    for (less, more) in [
        ("min_latency", "avg_latency"),
        ("avg_latency", "max_latency"),
        ("min_updatelatency", "p50_updatelatency"),
        ("p50_readlatency", "p999_readlatency"),
        ("p999_readlatency", "max_readlatency"),
        ("min_proposal_size", "max_proposal_size"),
        ("open_file_descriptor_count", "max_file_descriptor_count"),
    ] {
        assert!(tells(less) <= tells(more), "{less} is more than {more} in\n{mntr}");
    }
    for (name, least) in [
        ("cnt_updatelatency", 6.0),
        ("cnt_readlatency", 20.0),
        ("num_alive_connections", 2.0),
        ("open_file_descriptor_count", 10.0),
        ("approximate_data_size", 100.0),
        ("max_proposal_size", 100.0),
        ("max_client_response_size", 100.0),
        ("uptime", 1.0),
        ("quorum_size", 3.0),
        ("learners", 1.0),
        ("synced_followers", 1.0),
        ("global_sessions", 1.0),
        ("current_epoch", 1.0),
    ] {
        assert!(tells(name) >= least, "{name} is less than {least} in\n{mntr}");
    }
    let nodes = cluster.told["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|node| node["clients"].as_str() == Some(keeper)).unwrap();
    let metrics = get(node["http"].as_str().unwrap(), "/metrics").unwrap();
    for name in ["avg_latency", "min_latency", "max_latency", "updatelatency_count", "readlatency_sum", "learners"] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        let value: f64 = value.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).parse().unwrap();
        assert!(value >= 0.0 && (name != "updatelatency_count" || value >= 6.0), "{name} is {value}");
    }
    assert_eq!(cluster.stop().0, Some(0));
}

#[test]
fn a_cluster_of_processes_survives_a_death_and_leaves_nobody_behind() {
    let folder = Folder::new();
    let cluster = Cluster::start(&["--processes", "--restart", "--stones", "--data", folder.text()]);
    let before = cluster.pid("broker-2").unwrap();
    assert_ne!(before, i64::from(cluster.child.id()));
    signal_to(before, rustix::process::Signal::KILL);
    let again = until("broker-2 runs again", || cluster.pid("broker-2").filter(|pid| *pid != before));

    let control = cluster.told["control"].as_str().unwrap().to_owned();
    let answer = post(&control, "/stone", r#"{"stone":"kill","on":"broker-2"}"#).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until("broker-2 runs a third time", || cluster.pid("broker-2").filter(|pid| *pid != again));
    let keeper = cluster.pid("keeper-1").unwrap();
    assert_eq!(cluster.stop().0, Some(0));
    assert!(!folder.0.join("cluster.json").exists(), "nothing runs any more");
    assert!(folder.0.join("keeper-1").exists(), "what was asked for by name stays");
    let pid = rustix::process::Pid::from_raw(i32::try_from(keeper).unwrap()).unwrap();
    until("keeper-1 is gone", || rustix::process::test_kill_process(pid).is_err().then_some(()));
}

#[test]
fn signals_that_come_together_ask_for_one_orderly_stop() {
    use rustix::process::Signal;
    for processes in [&[][..], &["--processes"]] {
        let folder = Folder::new();
        let errors = folder.0.join("errors");
        let arguments = [&["--keepers", "1", "--brokers", "1"], processes].concat();
        let cluster = Cluster::start_with(&arguments, std::fs::File::create(&errors).unwrap().into());
        // As `timeout` does: its child, and then the child's group; and a terminal that is closed.
        for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
            cluster.signal(signal);
        }
        let code = cluster.stop().0;
        let said = std::fs::read_to_string(&errors).unwrap();
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains("kill") && !said.contains("asked twice"), "{said}");
    }
}

#[test]
fn a_folder_takes_no_other_number_of_keepers_and_no_fewer_brokers() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let data = data.to_str().unwrap();
    let cluster = Cluster::start(&["--keepers", "1", "--brokers", "1", "--data", data]);
    let name = cluster.told["cluster"].clone();
    assert_eq!(cluster.stop().0, Some(0));

    let told = |keepers, brokers| {
        let arguments = ["up", "--kafka-port", "0", "--zookeeper-port", "0", "--data", data];
        refused(&[&arguments[..], &["--keepers", keepers, "--brokers", brokers]].concat(), 2)
    };
    let why = told("3", "1");
    assert!(why.starts_with(&format!("glasshouse: --keepers 3: {data} was made with --keepers 1")), "{why}");
    let why = told("1", "0");
    assert!(why.starts_with(&format!("glasshouse: --brokers 0: {data} was made with --brokers 1")), "{why}");

    let cluster = Cluster::start(&["--keepers", "1", "--brokers", "2", "--data", data]);
    assert_eq!((cluster.strings("kafka").len(), &cluster.told["cluster"]), (2, &name));
    assert_eq!(cluster.stop().0, Some(0));
    assert!(told("1", "1").contains("was made with --brokers 2"), "who joined belongs to it");
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let folder = Folder::new();
    let [one, two] = ["one", "two"].map(|name| folder.0.join(name));
    let names = [&one, &two].map(|data| {
        let cluster = Cluster::start(&["--keepers", "1", "--brokers", "0", "--data", data.to_str().unwrap()]);
        let name = cluster.told["cluster"].as_str().unwrap().to_owned();
        assert_eq!(cluster.stop().0, Some(0));
        name
    });
    std::fs::remove_dir_all(two.join("keeper-1")).unwrap();
    std::fs::rename(one.join("keeper-1"), two.join("keeper-1")).unwrap();
    let arguments = ["up", "--kafka-port", "0", "--zookeeper-port", "0", "--keepers", "1", "--brokers", "0", "--data"];
    let why = refused(&[&arguments[..], &[two.to_str().unwrap()]].concat(), 1);
    let [theirs, ours] = names;
    let sentence = format!("belongs to keeper-1 of cluster {theirs}, not to keeper-1 of cluster {ours}");
    assert!(why.contains(&sentence), "{why}");
}

#[test]
fn children_do_not_outlive_a_parent_that_is_killed() {
    let mut cluster = Cluster::start(&["--processes", "--keepers", "1", "--brokers", "1"]);
    let pids = ["keeper-1", "broker-1"].map(|name| cluster.pid(name).unwrap());
    let data = PathBuf::from(cluster.told["data"].as_str().unwrap());
    cluster.child.kill().unwrap();
    cluster.child.wait().unwrap();
    for pid in pids {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        until("a child is gone", || rustix::process::test_kill_process(pid).is_err().then_some(()));
    }
    let _ = std::fs::remove_dir_all(data);
}

#[test]
fn stones_want_permission() {
    let cluster = Cluster::start(&["--keepers", "1", "--brokers", "1"]);
    let control = cluster.told["control"].as_str().unwrap().to_owned();
    let answer = post(&control, "/stone", r#"{"stone":"kill","on":"broker-1"}"#).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(get(&control, "/cluster").unwrap().contains("broker-1"));
    assert_eq!(cluster.stop().0, Some(0));
}

#[test]
fn a_port_that_is_taken_starts_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = Folder::new();
    let data = folder.0.join("data");
    let arguments = ["up", "--zookeeper-port", "0", "--data", data.to_str().unwrap(), "--kafka-port", &port];
    let why = refused(&arguments, 2);
    assert_eq!(
        why,
        format!(
            "glasshouse: port {port}, for broker-1's clients, is taken; choose others with --kafka-port (0 picks free ones)"
        )
    );
    assert!(!data.exists(), "nothing was started");
}

#[test]
fn wrong_arguments_are_one_sentence() {
    let folder = Folder::new();
    let file = folder.0.join("node.toml");
    std::fs::write(&file, "roles = ['keeper']\ndata = '/d'\n[keeper]\nid = 1\nticks = 5\n").unwrap();
    let short = folder.0.join("secret");
    std::fs::write(&short, "short\n").unwrap();
    let (file, short) = (file.to_str().unwrap(), short.to_str().unwrap());
    let cases: [(&[&str], &str); 12] = [
        (&["fly"], "glasshouse: unrecognized subcommand 'fly'"),
        (&["up", "--keeper", "3"], "glasshouse: unexpected argument '--keeper' found"),
        (&["up", "--keepers", "0"], "glasshouse: invalid value '0' for '--keepers <N>'"),
        (&["up", "--host", "0.0.0.0"], "glasshouse: --host 0.0.0.0: clients cannot be told to connect to that"),
        (
            &["up", "--host", "192.0.2.1", "--kafka-port", "0", "--zookeeper-port", "0"],
            "glasshouse: --host 192.0.2.1: nobody can listen there: ",
        ),
        (
            &["up", "--kafka-port", "3000", "--zookeeper-port", "3002"],
            "glasshouse: port 3002 would be a keeper's and a broker's: choose others with --kafka-port",
        ),
        (
            &["up", "--kafka-port", "0", "--zookeeper-port", "0", "--set", "min.isr=2"],
            "glasshouse: no setting of a broker is called min.isr; the nearest one is ",
        ),
        (&["node"], "glasshouse: data: name the folder"),
        (&["node", "--config", "/no/such/file"], "glasshouse: /no/such/file cannot be read: "),
        (
            &["node", "--config", file],
            &format!("glasshouse: {file}: no setting is called keeper.ticks; the nearest one is keeper.tick-ms"),
        ),
        (
            &["node", "--roles", "keeper", "--data", "/d", "--keeper-id", "1", "--secret-file", short],
            "glasshouse: the secret has 5 bytes",
        ),
        (
            &["node", "--roles", "keeper", "--data", "/d", "--keeper-id", "1", "--keeper-mesh", "0.0.0.0:2888"],
            "glasshouse: keeper.mesh is 0.0.0.0:2888, which others can reach: give the cluster a secret",
        ),
    ];
    for (arguments, sentence) in cases {
        let why = refused(arguments, 2);
        assert!(why.starts_with(sentence), "{arguments:?}: {why}");
    }
}

#[test]
fn files_that_hold_no_certificate_are_found_out_before_anything_is_made() {
    let folder = Folder::new();
    let (empty, data) = (folder.0.join("empty.pem"), folder.0.join("data"));
    std::fs::write(&empty, "nothing of the kind\n").unwrap();
    let (file, data_flag) = (empty.to_str().unwrap(), data.to_str().unwrap());
    let arguments = ["node", "--roles", "keeper", "--keeper-id", "1", "--data", data_flag];
    let tls = ["--tls-certificate", file, "--tls-key", file, "--tls-authority", file];
    for check in [&["--check"][..], &[]] {
        let why = refused(&[&arguments[..], &tls, check].concat(), 2);
        assert_eq!(why, format!("glasshouse: TLS: {file}: there is no certificate in it"));
        assert!(!data.exists(), "nothing was made");
    }
}

#[test]
fn a_node_says_which_port_it_cannot_have() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let arguments = ["node", "--roles", "keeper", "--data", folder.text(), "--keeper-id", "1", "--keeper-listen", &at];
    let why = refused(&arguments, 1);
    let sentence = format!("glasshouse: keeper-1 cannot listen for clients at {at} (keeper.listen): ");
    assert!(why.starts_with(&sentence), "{why}");
    assert!(!folder.0.join("keeper-1").exists(), "nothing was started");
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let folder = Folder::new();
    let file = folder.0.join("node.toml");
    let text = "roles = ['keeper']\ndata = '/from/file'\ncluster = 'from-file'\n[keeper]\nid = 1\ntick-ms = 100\nsync-limit = 7\n";
    std::fs::write(&file, text).unwrap();
    let mut command = glasshouse(&["node", "--check", "--config", file.to_str().unwrap(), "--cluster", "from-flag"]);
    command.env("GLASSHOUSE_CLUSTER", "from-env").env("GLASSHOUSE_KEEPER_TICK_MS", "300");
    // One that is set to nothing is not set.
    for name in ["SECRET", "KEEPER_SYNC_LIMIT", "KEEPER_PEERS", "KEEPER_TTL", "SET", "LOG"] {
        command.env(format!("GLASSHOUSE_{name}"), "");
    }
    command.env("GLASSHOUSE_KEEPER_PEER", "1=a:1,2=b:1");
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.ends_with("\nGLASSHOUSE_KEEPER_PEER is set, and no setting has that name.\n"), "{told}");
    assert!(told.starts_with("keeper-1 of the cluster \"from-flag\"\n  files in /from/file/keeper-1\n"), "{told}");
    assert!(told.contains("tick 300 ms, a learner may take 3 s to follow and 2100 ms to answer"), "{told}");
}

#[test]
fn the_files_for_three_machines_say_what_they_would_do() {
    let folder = Folder::new();
    let secret = folder.0.join("secret");
    std::fs::write(&secret, "not short, and not guessed\n").unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy");
    let config = deploy.join("node.toml");
    let environment = std::fs::read_to_string(deploy.join("node.env")).unwrap();
    let mut command = glasshouse(&["node", "--check", "--config", config.to_str().unwrap()]);
    command.args(["--secret-file", secret.to_str().unwrap()]);
    for line in environment.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once('=').unwrap();
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "keeper-1 of the cluster \"example\"",
        "  peers connect to 0.0.0.0:2888, with a shared secret, without TLS",
        "  its peers are keeper-2 at two.example.org:2888, keeper-3 at three.example.org:2888",
        "  3 vote and 2 make a quorum",
        "  tick 2 s, a learner may take 20 s to follow and 10 s to answer",
        "broker-1 of the cluster \"example\"",
        "  clients are told to connect to one.example.org:9092",
        "  its session lasts 18 s",
        "  min.insync.replicas is 2, by default 1",
    ] {
        assert!(told.lines().any(|told| told == line), "{line:?} is not in\n{told}");
    }
}

#[test]
fn a_node_of_both_roles_runs_and_stops() {
    let folder = Folder::new();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap();
    let reserved: Vec<TcpListener> = (0..5).map(|_| free()).collect();
    let at: Vec<String> = reserved.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    let mut command = glasshouse(&["node", "--roles", "keeper,broker", "--keeper-id", "1", "--broker-id", "1"]);
    command.args(["--data", folder.text(), "--keeper-listen", &at[0], "--keeper-mesh", &at[1]]);
    command.args([
        "--broker-listen",
        &at[2],
        "--broker-mesh",
        &at[3],
        "--broker-http",
        &at[4],
        "--broker-keepers",
        &at[0],
    ]);
    drop(reserved);
    let mut child = command.spawn().unwrap();
    until("it is ready", || get(&at[4], "/readyz").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    signal_to(i64::from(child.id()), rustix::process::Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(folder.0.join("keeper-1").is_dir() && folder.0.join("broker-1").is_dir());
}
