//! One node of a cluster that `up` runs: a thread of this process, or a child. Starts it, stops it, kills it, and tells
//! how it ended.

use super::inherit;
use super::plan::Planned;
use crate::config::NodeConfig;
use crate::host::Ended;
use crate::node::{self, Running, Sockets};
use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// How a node's run ended, as its member says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Which of the members.
    pub at: usize,
    /// Which of its runs.
    pub run: u32,
    /// It was told to stop, and did.
    pub in_order: bool,
    /// A clause: "was killed by signal 9".
    pub how: String,
}

/// A node that runs.
#[derive(Debug)]
pub struct Body {
    kind: Kind,
    pub pid: u32,
}

#[derive(Debug)]
enum Kind {
    Thread(Running),
    Child {
        pid: Pid,
        /// While it is open, the child knows that we live.
        parent: UnixStream,
        /// What it still waits for.
        sockets: Option<Sockets>,
    },
}

/// How nodes are started.
#[derive(Clone, Debug)]
pub struct How {
    /// As children of this program; else as threads.
    pub program: Option<PathBuf>,
    pub ends: mpsc::UnboundedSender<End>,
}

impl Body {
    /// Starts a node; the sockets are bound already, or are bound now. With `wait` a child gets ready and then waits for
    /// [`go`](Body::go).
    ///
    /// # Errors
    /// One sentence.
    pub fn start(planned: &mut Planned, at: usize, run: u32, how: &How, wait: bool) -> Result<Body> {
        let sockets = match planned.sockets.take() {
            Some(sockets) => sockets,
            None => Sockets::bind(&planned.config).map_err(|why| anyhow!(why))?,
        };
        let ends = how.ends.clone();
        match &how.program {
            None => thread(planned.config.clone(), sockets, at, run, ends),
            Some(program) => {
                let mut body = child(program, planned, sockets, at, run, ends)?;
                if !wait {
                    body.go()?;
                }
                Ok(body)
            }
        }
    }

    /// Lets a node that waits begin.
    ///
    /// # Errors
    /// Of the system.
    pub fn go(&mut self) -> Result<()> {
        if let Kind::Child { parent, sockets, .. } = &mut self.kind
            && let Some(sockets) = sockets.take()
        {
            inherit::hand_over(parent, &sockets).context("the sockets cannot be handed over")?;
        }
        Ok(())
    }

    /// Asks it to stop in order.
    pub async fn stop(&self) {
        match &self.kind {
            Kind::Thread(running) => running.stop().await,
            // One that is paused hears nothing.
            Kind::Child { pid, .. } => {
                send(*pid, Signal::TERM);
                send(*pid, Signal::CONT);
            }
        }
    }

    /// Ends it as a crash would.
    pub async fn kill(&self) {
        match &self.kind {
            Kind::Thread(running) => running.kill().await,
            Kind::Child { pid, .. } => send(*pid, Signal::KILL),
        }
    }

    /// Halts it in the middle of whatever it does, or lets it go on.
    pub fn pause(&self, paused: bool) {
        match &self.kind {
            Kind::Thread(running) => running.stones.change(|lying| lying.paused = paused),
            Kind::Child { pid, .. } => send(*pid, if paused { Signal::STOP } else { Signal::CONT }),
        }
    }
}

/// Whoever is gone needs no signal: its end is told by other means.
fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

fn thread(config: NodeConfig, sockets: Sockets, at: usize, run: u32, ends: mpsc::UnboundedSender<End>) -> Result<Body> {
    let running = node::start(config, sockets).map_err(|why| anyhow!(why))?;
    let watched = running.clone();
    tokio::spawn(async move {
        let (in_order, how) = match watched.ended().await {
            Ended::InOrder => (true, "stopped in order".to_owned()),
            Ended::Killed => (false, "was killed by a stone".to_owned()),
            Ended::Halted(why) => (false, format!("cannot go on: {why}")),
        };
        let _ = ends.send(End { at, run, in_order, how });
    });
    Ok(Body { kind: Kind::Thread(running), pid: std::process::id() })
}

fn child(
    program: &Path,
    planned: &Planned,
    sockets: Sockets,
    at: usize,
    run: u32,
    ends: mpsc::UnboundedSender<End>,
) -> Result<Body> {
    let me = planned.config.me;
    let file = write_settings(planned)?;
    let (parent, theirs) = UnixStream::pair().context("no socket pair")?;
    let mut command = Command::new(program);
    command.arg("node").arg("--inherit").arg("--config").arg(&file);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
    // A terminal's Ctrl-C goes to us alone: we stop them in order.
    command.process_group(0);
    // What was meant for us would go before their file.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GLASSHOUSE_")) {
        command.env_remove(name);
    }
    let mut child = command.spawn().with_context(|| format!("{me} cannot be started"))?;
    let id = child.id().and_then(|id| Some((id, Pid::from_raw(i32::try_from(id).ok()?)?)));
    let (number, pid) = id.ok_or_else(|| anyhow!("{me} has no process id"))?;
    let words = parent.try_clone().context("no socket pair")?;
    tokio::spawn(async move {
        let (in_order, mut how) = watch(&mut child).await;
        if let Some(why) = inherit::hear_why(words) {
            how = format!("{how}: {}", why.strip_prefix(&format!("{me}: ")).unwrap_or(&why));
        }
        let _ = ends.send(End { at, run, in_order, how });
    });
    Ok(Body { kind: Kind::Child { pid, parent, sockets: Some(sockets) }, pid: number })
}

async fn watch(child: &mut Child) -> (bool, String) {
    use std::os::unix::process::ExitStatusExt;
    match child.wait().await {
        Err(error) => (false, format!("cannot be waited for: {error}")),
        Ok(status) if status.success() => (true, "stopped in order".to_owned()),
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => (false, format!("was killed by signal {signal}")),
            (None, Some(code)) => (false, format!("ended with code {code}")),
            (None, None) => (false, format!("ended: {status}")),
        },
    }
}

/// `node.toml` in the node's own folder, for its owner's eyes only: the secret is in it.
fn write_settings(planned: &Planned) -> Result<PathBuf> {
    let folder = &planned.config.data;
    let file = folder.join("node.toml");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let text = toml::to_string(&planned.settings).map_err(std::io::Error::other)?;
        let mut options = std::fs::OpenOptions::new();
        let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&file)?;
        out.write_all(text.as_bytes())
    };
    write().with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(file)
}
