//! `glasshouse stone`: throws stones at a running cluster that was started for it, by its control port.

use super::reach::{EXIT_CODES, Reach, run as run_async};
use super::term::{NotSo, Out, complain, plain};
use crate::client::{parse_addresses, shown};
use crate::config::Usage;
use anyhow::{Context, Result, anyhow, bail};
use glasshouse_core::api::kafka::ErrorCode;
use glasshouse_core::id::NodeId;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Flags of `glasshouse stone`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    #[command(subcommand)]
    pub stone: Stone,
    #[command(flatten)]
    pub reach: Reach,
    /// The control port of the cluster, as `up` prints it, or the HTTP port of a node that was started with --stones
    /// [default: that of --data, or 127.0.0.1:7070]
    #[arg(long, value_name = "URL", env = "GLASSHOUSE_CONTROL", global = true)]
    pub control: Option<String>,
}

/// What may be thrown. Nodes are called keeper-1, broker-2.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Stone {
    /// Kill a node as kill -9 does
    Kill {
        /// Which one: keeper-1, broker-2
        node: String,
    },
    /// Start a node that is down; one that runs is killed first
    Restart {
        /// Which one: keeper-1, broker-2
        node: String,
    },
    /// Stop a node's time
    Pause {
        /// Which one: keeper-1, broker-2
        node: String,
    },
    /// Let a paused node go on
    Resume {
        /// Which one: keeper-1, broker-2
        node: String,
    },
    /// Cut the link between two nodes: silence both ways
    Cut {
        /// One end: keeper-1, broker-2
        a: String,
        /// The other end
        b: String,
    },
    /// Make whatever goes between two nodes late
    Slow {
        /// One end: keeper-1, broker-2
        a: String,
        /// The other end
        b: String,
        /// Milliseconds, in each direction
        #[arg(value_name = "MS")]
        ms: u64,
    },
    /// Take all stones away, or those between two nodes; what is down stays down
    Heal {
        /// One end of a link: keeper-1, broker-2 [default: all stones]
        #[arg(requires = "b")]
        a: Option<String>,
        /// The other end
        b: Option<String>,
    },
    /// Tamper with the next Produce answer of a broker, to test clients; the records are appended all the same
    Reply {
        /// The broker: broker-2
        node: String,
        #[command(subcommand)]
        how: Reply,
    },
}

/// What is done to the answer.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Reply {
    /// It never leaves, and the connection breaks
    Lost,
    /// It is late
    Delay {
        /// Milliseconds
        #[arg(value_name = "MS")]
        ms: u64,
    },
    /// It is answered with this error code instead
    Error {
        /// Kafka's name of it, or its number: NOT_LEADER_OR_FOLLOWER, 6
        #[arg(value_name = "CODE", allow_negative_numbers = true, value_parser = code)]
        code: i16,
    },
}

fn code(text: &str) -> Result<i16, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let named = ErrorCode::ALL.iter().find(|code| code.name().is_some_and(|name| name.eq_ignore_ascii_case(text)));
    named.map(|code| code.0).ok_or_else(|| "that is neither a number nor Kafka's name of an error".to_owned())
}

/// Throws it.
///
/// # Errors
/// The cluster is not there, or does not take stones.
pub fn run(args: Args) -> Result<ExitCode> {
    args.stone.check()?;
    run_async(args.reach.json, async move {
        let control = control(&args)?;
        let mut out = Out::new(args.reach.json);
        let mut done = 0;
        let mut failed = None;
        for body in args.stone.bodies() {
            match throw(&control, &body, args.reach.limit()).await {
                Ok(()) => done += 1,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if done == 0 => return Err(error),
            // The other end is down, and a link has two.
            Some(error) => complain(format_args!("glasshouse: only one end: {error:#}")),
            None => {}
        }
        out.say(&args.stone.told())?;
        out.item(&json!({"ok": true, "stone": args.stone.told()}))?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
}

fn control(args: &Args) -> Result<String> {
    // A variable that is set to nothing is not set.
    let url = match args.control.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => url.to_owned(),
        None => match args.reach.cluster()? {
            Some(cluster) if cluster.stones => cluster.control,
            Some(_) => bail!("this cluster was not started for stones: glasshouse up --stones"),
            None => format!("127.0.0.1:{}", crate::up::CONTROL_PORT),
        },
    };
    let at = url.strip_prefix("http://").unwrap_or(&url);
    let at = parse_addresses(at.split('/').next().unwrap_or(at), crate::up::CONTROL_PORT).map_err(Usage)?;
    match &at[..] {
        [at] => Ok(shown(at)),
        _ => Err(Usage("--control: a cluster has one control port".to_owned()).into()),
    }
}

impl Stone {
    /// What could do nothing is not thrown.
    fn check(&self) -> Result<(), Usage> {
        match self {
            Stone::Cut { a, b } | Stone::Slow { a, b, .. } | Stone::Heal { a: Some(a), b: Some(b) } if a == b => {
                Err(Usage(format!("a link is between two nodes, not between {} and itself", plain(a))))
            }
            Stone::Reply { node, .. } if matches!(NodeId::parse(node), Some(NodeId::Keeper(_))) => {
                Err(Usage(format!("{node} is a keeper, and only brokers answer Produce: name a broker")))
            }
            Stone::Kill { .. }
            | Stone::Restart { .. }
            | Stone::Pause { .. }
            | Stone::Resume { .. }
            | Stone::Cut { .. }
            | Stone::Slow { .. }
            | Stone::Heal { .. }
            | Stone::Reply { .. } => Ok(()),
        }
    }

    /// What is sent for it; a stone at a link is thrown from both ends.
    fn bodies(&self) -> Vec<Value> {
        let on = |stone: &str, node: &str| vec![json!({"stone": stone, "on": node})];
        match self {
            Stone::Kill { node } => on("kill", node),
            Stone::Restart { node } => on("restart", node),
            Stone::Pause { node } => on("pause", node),
            Stone::Resume { node } => on("resume", node),
            Stone::Cut { a, b } => both(a, b, |on, node| json!({"stone": "cut", "on": on, "node": node})),
            Stone::Slow { a, b, ms } => {
                both(a, b, |on, node| json!({"stone": "slow", "on": on, "node": node, "ms": ms}))
            }
            Stone::Heal { a: Some(a), b: Some(b) } => {
                both(a, b, |on, node| json!({"stone": "heal", "on": on, "node": node}))
            }
            Stone::Heal { .. } => vec![json!({"stone": "heal"})],
            Stone::Reply { node, how } => {
                let how = match how {
                    Reply::Lost => json!({"how": "lost"}),
                    Reply::Delay { ms } => json!({"how": "delayed", "ms": ms}),
                    Reply::Error { code } => json!({"how": "failed", "code": code}),
                };
                let mut body = json!({"stone": "reply", "on": node});
                if let (Value::Object(body), Value::Object(how)) = (&mut body, how) {
                    body.extend(how);
                }
                vec![body]
            }
        }
    }

    fn told(&self) -> String {
        plain(&match self {
            Stone::Kill { node } => format!("{node} is killed"),
            Stone::Restart { node } => format!("{node} starts again"),
            Stone::Pause { node } => format!("{node} is paused"),
            Stone::Resume { node } => format!("{node} goes on"),
            Stone::Cut { a, b } => format!("nothing passes between {a} and {b}"),
            Stone::Slow { a, b, ms } => format!("what passes between {a} and {b} is {ms} ms late"),
            Stone::Heal { a: Some(a), b: Some(b) } => format!("the link between {a} and {b} is whole"),
            Stone::Heal { .. } => "no stone lies anywhere".to_owned(),
            Stone::Reply { node, how: Reply::Lost } => format!("the next Produce answer of {node} will be lost"),
            Stone::Reply { node, how: Reply::Delay { ms } } => {
                format!("the next Produce answer of {node} will be {ms} ms late")
            }
            Stone::Reply { node, how: Reply::Error { code } } => {
                let code = ErrorCode(*code);
                format!("the next Produce answer of {node} will be {code}")
            }
        })
    }
}

fn both(a: &str, b: &str, body: impl Fn(&str, &str) -> Value) -> Vec<Value> {
    vec![body(a, b), body(b, a)]
}

async fn throw(control: &str, body: &Value, limit: Duration) -> Result<()> {
    let posted = tokio::time::timeout(limit, post(control, "/stone", &body.to_string())).await;
    let (status, answer) = posted
        .with_context(|| format!("the control port {control} does not answer"))?
        .with_context(|| format!("nothing answers at the control port {control}; is the cluster up?"))?;
    match status {
        200 => Ok(()),
        404 => Err(NotSo(plain(answer.trim())).into()),
        _ => Err(anyhow!("{}", plain(answer.trim()))),
    }
}

/// One POST, and what came back: status and body.
async fn post(at: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(at).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("it does not answer as HTTP does"))?;
    Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_named_or_numbered() {
        assert_eq!((code("NOT_LEADER_OR_FOLLOWER"), code("not_enough_replicas"), code("-1")), (Ok(6), Ok(19), Ok(-1)));
        assert!(code("40000").is_err() && code("NOT_SO").is_err() && code("").is_err());
    }

    #[test]
    fn a_stone_at_a_link_is_thrown_from_both_ends() {
        let cut = Stone::Slow { a: "broker-1".into(), b: "keeper-3".into(), ms: 50 };
        let bodies: Vec<String> = cut.bodies().iter().map(Value::to_string).collect();
        assert_eq!(
            bodies,
            [
                r#"{"ms":50,"node":"keeper-3","on":"broker-1","stone":"slow"}"#,
                r#"{"ms":50,"node":"broker-1","on":"keeper-3","stone":"slow"}"#,
            ]
        );
        assert_eq!(cut.told(), "what passes between broker-1 and keeper-3 is 50 ms late");
        let reply = Stone::Reply { node: "broker-2".into(), how: Reply::Error { code: 19 } };
        assert_eq!(reply.bodies()[0].to_string(), r#"{"code":19,"how":"failed","on":"broker-2","stone":"reply"}"#);
        assert!(reply.told().ends_with("NOT_ENOUGH_REPLICAS"));
        assert_eq!(Stone::Heal { a: None, b: None }.bodies(), [json!({"stone": "heal"})]);
    }
}
