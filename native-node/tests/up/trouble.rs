//! What `glasshouse up` does when a part of it cannot go on: the rest does, and says what helps.

use super::*;

#[test]
fn a_description_that_cannot_be_rewritten_does_not_end_the_cluster() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    // As good as a full disk: nothing of that name can be written.
    let in_the_way = data.join("cluster.json.new");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let data_flag = data.to_str().unwrap();
    let nodes = ["--keepers", "1", "--brokers", "2", "--data", data_flag];
    let why = refused(&[&["up"], &FREE[..], &nodes].concat(), 1);
    assert!(why.contains("cluster.json cannot be written"), "at the start it is an error: {why}");
    std::fs::remove_dir(&in_the_way).unwrap();

    let errors = folder.0.join("errors");
    let file = std::fs::File::create(&errors).unwrap();
    let cluster = Cluster::start_with(&[&nodes[..], &["--processes", "--restart"]].concat(), file.into());
    std::fs::create_dir(&in_the_way).unwrap();
    let control = cluster.told["control"].as_str().unwrap().to_owned();
    let pid = |name: &str| {
        let answer = get(&control, "/cluster")?;
        let now: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        now["nodes"].as_array()?.iter().find(|node| node["name"] == name)?["pid"].as_i64()
    };
    for _ in 0..2 {
        let before = pid("broker-2").unwrap();
        signal_to(before, rustix::process::Signal::KILL);
        until("broker-2 runs again", || pid("broker-2").filter(|pid| *pid != before));
    }
    assert_ne!(cluster.pid("broker-2"), pid("broker-2"), "the file is of before");
    std::fs::remove_dir(&in_the_way).unwrap();
    until("it is written again", || cluster.pid("broker-2").filter(|written| Some(*written) == pid("broker-2")));
    assert_eq!(cluster.stop().0, Some(0));
    let said = std::fs::read_to_string(&errors).unwrap();
    let warnings = said.lines().filter(|line| line.starts_with("glasshouse: ") && line.contains("cannot be written"));
    assert_eq!(warnings.count(), 1, "{said}");
    assert!(!data.join("cluster.json").exists() && !in_the_way.exists());
}

#[test]
fn the_rest_serves_without_those_that_cannot_start() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let arguments = ["--keepers", "3", "--brokers", "2", "--data", data.to_str().unwrap()];
    assert_eq!(Cluster::start(&arguments).stop().0, Some(0));
    let damage = |node: &str| std::fs::write(data.join(node).join("glasshouse.identity"), "no such thing\n").unwrap();
    damage("keeper-2");
    damage("broker-1");
    let errors = folder.0.join("errors");
    for processes in [&[][..], &["--processes"]] {
        let file = std::fs::File::create(&errors).unwrap();
        let cluster = Cluster::start_with(&[&arguments[..], processes].concat(), file.into());
        let nodes = cluster.told["nodes"].as_array().unwrap();
        let down: Vec<_> = nodes.iter().filter(|node| node["pid"].is_null()).map(|node| &node["name"]).collect();
        let said = std::fs::read_to_string(&errors).unwrap();
        assert_eq!(down, ["keeper-2", "broker-1"], "{said}");
        for node in ["keeper-2", "broker-1"] {
            let told =
                said.lines().filter(|line| line.starts_with(&format!("glasshouse: {node} "))).collect::<Vec<_>>();
            let [told] = told[..] else { panic!("{said}") };
            assert!(told.contains("is damaged: it does not say whose folder this is; the others go on"), "{told}");
            let folder = data.join(node);
            let cure = format!("glasshouse: if the files of {node} are damaged, move {} away", folder.display());
            assert_eq!(said.contains(&cure), node == "keeper-2", "{said}");
        }
        assert_eq!(cluster.stop().0, Some(0));
    }

    damage("keeper-3");
    let gives_up = glasshouse(&["up", "--json"]).args(FREE).args(arguments).output().unwrap();
    let said = String::from_utf8(gives_up.stderr).unwrap();
    assert_eq!((gives_up.status.code(), gives_up.stdout), (Some(1), Vec::new()), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("glasshouse: keeper-3 did not start: "), "{said}");
    assert!(last.ends_with("; 1 of 3 keepers are no majority"), "{said}");
    assert!(!said.contains("away"), "keeper-2 may hold what the others lack: {said}");
}

#[test]
fn a_broker_with_a_damaged_checkpoint_says_what_helps() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let arguments = ["--keepers", "1", "--brokers", "1", "--data", data.to_str().unwrap()];
    assert_eq!(Cluster::start(&arguments).stop().0, Some(0));
    let file = data.join("broker-1/replication-offset-checkpoint");
    std::fs::write(&file, "no such thing\n").unwrap();
    for processes in [&[][..], &["--processes"]] {
        let gives_up = glasshouse(&["up", "--json"]).args(FREE).args(arguments).args(processes).output().unwrap();
        let said = String::from_utf8(gives_up.stderr).unwrap();
        assert_eq!((gives_up.status.code(), gives_up.stdout), (Some(1), Vec::new()), "{said}");
        assert!(said.contains("replication-offset-checkpoint"), "{said}");
        assert!(said.contains("; move it away and start again: no record is lost"), "{said}");
    }
    std::fs::rename(&file, folder.0.join("aside")).unwrap();
    assert_eq!(Cluster::start(&arguments).stop().0, Some(0));
}

#[test]
fn a_keeper_that_lost_its_folder_comes_back() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let arguments = ["--keepers", "3", "--brokers", "1", "--data", data.to_str().unwrap()];
    assert_eq!(Cluster::start(&arguments).stop().0, Some(0));
    std::fs::rename(data.join("keeper-2"), folder.0.join("damaged")).unwrap();
    let cluster = Cluster::start(&arguments);
    let nodes = cluster.told["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node["pid"].is_u64()), "{nodes:?}");
    let http = nodes.iter().find(|node| node["name"] == "keeper-2").unwrap()["http"].as_str().unwrap().to_owned();
    until("keeper-2 serves", || get(&http, "/readyz").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    assert_eq!(cluster.stop().0, Some(0));
}

#[test]
fn a_broker_of_another_cluster_does_not_register() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let cluster = Cluster::start(&["--keepers", "1", "--brokers", "1", "--data", data.to_str().unwrap()]);
    let zookeeper = &cluster.strings("zookeeper")[0];
    let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [listen, mesh] = ports.map(|port| port.local_addr().unwrap().to_string());
    let stranger = folder.0.join("stranger");
    let arguments = ["node", "--roles", "broker", "--broker-id", "4", "--cluster", "stranger", "--log", "off"];
    let at = ["--broker-listen", &listen, "--broker-mesh", &mesh, "--broker-keepers", zookeeper];
    let why = refused(&[&arguments[..], &at, &["--data", stranger.to_str().unwrap()]].concat(), 1);
    let theirs = cluster.told["cluster"].as_str().unwrap();
    let sentence = format!("it is of the cluster stranger, and the ensemble is that of the cluster {theirs}");
    assert!(why.contains(&sentence), "{why}");
    let ids = output(&["zk", "ls", "/brokers/ids", "--zookeeper", zookeeper]);
    assert_eq!(String::from_utf8(ids.stdout).unwrap(), "1\n");
    assert_eq!(cluster.stop().0, Some(0));
}

#[test]
fn a_node_that_is_killed_whenever_it_starts_is_started_less_and_less_often() {
    let folder = Folder::new();
    let (data, errors) = (folder.0.join("data"), folder.0.join("errors"));
    let file = std::fs::File::create(&errors).unwrap();
    let arguments = ["--keepers", "1", "--brokers", "1", "--processes", "--restart", "--data", data.to_str().unwrap()];
    let cluster = Cluster::start_with(&arguments, file.into());
    // As a system does that is out of memory.
    let mut killed = None;
    until("a later pause is longer than the first", || {
        if let Some(pid) = cluster.pid("broker-1").filter(|pid| Some(*pid) != killed) {
            signal_to(pid, rustix::process::Signal::KILL);
            killed = Some(pid);
        }
        let said = std::fs::read_to_string(&errors).unwrap();
        said.contains("was killed by signal 9; it is started again in 400 ms").then_some(())
    });
    assert_eq!(cluster.stop().0, Some(0));
}

#[test]
fn what_a_killed_cluster_left_behind_is_not_taken_for_one_that_runs() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let arguments = ["--keepers", "1", "--brokers", "0", "--data", data.to_str().unwrap()];
    let cluster = Cluster::start(&arguments);
    let told = cluster.told.clone();
    let why = refused(&[&["up"], &FREE[..], &arguments].concat(), 2);
    assert!(why.contains(&format!("belongs to a cluster that runs (process {})", told["pid"])), "{why}");
    assert_eq!(cluster.stop().0, Some(0));

    // Its number is another process's now, and its control's port closed, or that of another cluster.
    let other = Cluster::start(&["--keepers", "1", "--brokers", "0"]);
    for control in [&told["control"], &other.told["control"]] {
        let mut left = told.clone();
        (left["pid"], left["control"]) = (std::process::id().into(), control.clone());
        std::fs::write(data.join("cluster.json"), left.to_string()).unwrap();
        assert_eq!(Cluster::start(&arguments).stop().0, Some(0));
    }
    // Somebody listens there and says nothing: it may be the one, and only be slow.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut left = told.clone();
    left["pid"] = std::process::id().into();
    left["control"] = silent.local_addr().unwrap().to_string().into();
    std::fs::write(data.join("cluster.json"), left.to_string()).unwrap();
    refused(&[&["up"], &FREE[..], &arguments].concat(), 2);
    assert_eq!(other.stop().0, Some(0));
}

/// The disk behind the log may be full, and whoever read it gone: nothing ends for that.
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    for extra in [&[][..], &["--processes", "--restart"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let arguments = ["--keepers", "1", "--brokers", "1", "--log", "info", "--stones"];
        let cluster = Cluster::start_with(&[&arguments, extra].concat(), full.into());
        let control = cluster.told["control"].as_str().unwrap().to_owned();
        if !extra.is_empty() {
            let before = cluster.pid("broker-1");
            signal_to(before.unwrap(), rustix::process::Signal::KILL);
            until("the broker is back", || cluster.pid("broker-1").filter(|pid| Some(*pid) != before));
        }
        assert!(get(&control, "/cluster").unwrap().contains("broker-1"));
        assert_eq!(cluster.stop().0, Some(0));
    }
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [&["up", "--flag"][..], &["node", "--check"], &["zk", "ls", "--zookeeper", ","]] {
        let status = glasshouse(arguments).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_cluster_of_processes_that_was_killed_can_be_started_at_once() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let arguments = ["--keepers", "1", "--brokers", "1", "--processes", "--data", data.to_str().unwrap()];
    let mut killed = Cluster::start(&arguments);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_eq!(Cluster::start(&arguments).stop().0, Some(0));
}

#[test]
fn a_stop_in_which_the_disk_fails_is_none_in_order() {
    let folder = Folder::new();
    let faults = folder.0.join("faults");
    std::fs::create_dir_all(&faults).unwrap();
    let errors = folder.0.join("errors");
    for processes in [&[][..], &["--processes"]] {
        let arguments = ["--keepers", "1", "--brokers", "1", "--stones", "--faults", faults.to_str().unwrap()];
        let file = std::fs::File::create(&errors).unwrap();
        let cluster = Cluster::start_with(&[&arguments[..], processes].concat(), file.into());
        std::fs::write(faults.join("keeper-1"), "fdatasync").unwrap();
        let code = cluster.stop().0;
        let said = std::fs::read_to_string(&errors).unwrap();
        assert_eq!(code, Some(1), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("glasshouse: keeper-1 ") && last.contains("fdatasync failed"), "{last}");
        std::fs::remove_file(faults.join("keeper-1")).unwrap();
    }
}
