//! What a checked configuration would do, for `glasshouse node --check`.

use super::check::Process;
use super::{NodeConfig, Role};
use crate::disk::Hold;
use glasshouse_core::time::Span;
use std::fmt::Write;

/// The process in words, a paragraph for each node.
pub fn explain(process: &Process) -> String {
    let mut text = String::new();
    for node in &process.nodes {
        text.push_str(&explain_node(node));
        text.push('\n');
    }
    let format = if process.log.json { "JSON" } else { "text" };
    let _ = write!(text, "The log goes to standard error as {format}, filter {}.", process.log.filter);
    text
}

fn explain_node(node: &NodeConfig) -> String {
    let mut lines = vec![format!("{} of the cluster {:?}", node.me, node.cluster)];
    lines.push(format!("files in {}", node.data.display()));
    lines.push(format!("clients connect to {}", node.clients));
    let guarded = match (&node.tls, node.secret.is_empty()) {
        (Some(_), false) => "with TLS and a shared secret",
        (Some(_), true) => "with TLS, without a secret",
        (None, false) => "with a shared secret, without TLS",
        (None, true) => "without a secret, which is why it is loopback only",
    };
    lines.push(format!("peers connect to {}, {guarded}", node.mesh));
    let peers: Vec<String> = node.peers.iter().map(|(peer, at)| format!("{peer} at {at}")).collect();
    lines.push(match peers.is_empty() {
        true => "it has no peers".to_owned(),
        false => format!("its peers are {}", peers.join(", ")),
    });
    lines.extend(explain_role(node));
    lines.push(match node.http {
        Some(at) => format!("metrics and health at http://{at}"),
        None => "no metrics".to_owned(),
    });
    if node.stones {
        lines.push("stones may be thrown at it".to_owned());
    }
    if let Some(file) = &node.record {
        lines.push(format!("its inputs are recorded in {}", file.display()));
    }
    if node.hold == Hold::Process {
        lines.push("writes wait in the process for fdatasync: kill -9 loses them, as a power loss would".to_owned());
    }
    if let Some(file) = &node.faults {
        lines.push(format!("its disk fails as {} says", file.display()));
    }
    lines.push(format!("{} clients at most", node.connections));
    let mut text = lines.remove(0);
    for line in lines {
        let _ = write!(text, "\n  {line}");
    }
    text.push('\n');
    text
}

/// What only keepers, or only brokers have.
fn explain_role(node: &NodeConfig) -> Vec<String> {
    let mut lines = Vec::new();
    match &node.role {
        Role::Keeper(config) => {
            let zab = &config.zab;
            let voters = 1 + node.peers.len()
                - zab.observers.iter().filter(|id| **id != zab.me).count()
                - usize::from(zab.is_observer());
            lines.push(format!(
                "{voters} vote and {} make a quorum{}",
                voters / 2 + 1,
                if zab.is_observer() { "; it only observes" } else { "" }
            ));
            lines.push(format!(
                "tick {}, a learner may take {} to follow and {} to answer",
                span(zab.tick),
                span(zab.tick * u64::from(zab.init_limit)),
                span(zab.tick * u64::from(zab.sync_limit))
            ));
            let (min, max) = (span(config.session_timeout_min), span(config.session_timeout_max));
            lines.push(format!("sessions from {min} to {max}"));
            lines.push(format!("a snapshot after {} transactions, {} kept", config.snap_count, config.snap_retain));
        }
        Role::Broker(config) => {
            lines.push(match config.broker_id {
                Some(id) => format!("broker.id {id}"),
                None => "broker.id handed out by the ensemble".to_owned(),
            });
            lines.push(format!("clients are told to connect to {}:{}", config.host, config.port));
            let keepers: Vec<String> = config.keepers.iter().map(ToString::to_string).collect();
            lines.push(format!("the ensemble is at {}", keepers.join(", ")));
            lines.push(format!("its session lasts {}", span(config.settings.zookeeper_session_timeout)));
            let defaults = glasshouse_core::broker::config::Settings::default();
            for name in glasshouse_core::broker::config::Settings::NAMES {
                let (value, default) = (config.settings.get(name), defaults.get(name));
                if value != default {
                    let text = |value: Option<String>| value.unwrap_or_default();
                    lines.push(format!("{name} is {}, by default {}", text(value), text(default)));
                }
            }
        }
    }
    lines
}

fn span(span: Span) -> String {
    match span.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}
