//! `glasshouse node`: one process of a cluster, with one role or with both.

use crate::config::NodeConfig;
use crate::config::args::Args;
use crate::config::check::check;
use crate::config::explain::explain;
use crate::host::Ended;
use crate::logging;
use crate::node::{self, Running, Sockets};
use crate::shutdown::Signals;
use crate::up::inherit;
use anyhow::{Context, Result, anyhow};
use clap::CommandFactory;
use glasshouse_core::id::NodeId;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long an orderly stop may take before it is one no longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same when the process that started us is gone, and the other nodes perhaps with it.
const ORPHANED: Duration = Duration::from_secs(2);

/// Runs it until it is stopped.
///
/// # Errors
/// One sentence: a setting that makes no sense ([`Usage`](crate::config::Usage)), or why it cannot start or go on.
pub fn run(args: Args) -> Result<ExitCode> {
    let (check_only, inherit) = (args.check, args.inherit);
    let process = check(&args.settings()?)?;
    if check_only {
        let unknown: String = unknown_variables().iter().map(|name| format!("\n{name} {NO_SETTING}.")).collect();
        let told = super::term::print(&format!("{}{unknown}\n", explain(&process)));
        return super::reach::ended(false, told.map(|()| ExitCode::SUCCESS).map_err(Into::into));
    }
    logging::start(&process.log)?;
    for name in unknown_variables().iter().filter(|_| !inherit) {
        tracing::warn!("{name} {NO_SETTING}");
    }
    let (sockets, parent) = if inherit {
        let (sockets, parent) = inherit::take_over(&process.nodes).map_err(|why| anyhow!(why))?;
        (sockets, Some(parent))
    } else {
        let sockets = process.nodes.iter().map(Sockets::bind).collect::<Result<Vec<_>, _>>();
        (sockets.map_err(|why| anyhow!(why))?, None)
    };
    let last_words = parent.as_ref().and_then(|parent| parent.try_clone().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let ended = runtime.block_on(async {
        let signals = Signals::new().context("signals cannot be heard")?;
        let (orphan, orphaned) = mpsc::channel(1);
        if let Some(parent) = parent {
            std::thread::Builder::new()
                .name("parent".to_owned())
                .stack_size(64 << 10)
                .spawn(move || {
                    inherit::wait_for_the_end_of(parent);
                    let _ = orphan.blocking_send(());
                })
                .context("no thread")?;
        }
        serve(process.nodes, sockets, signals, orphaned).await
    });
    // A thread that still waits for the parent does not keep us.
    runtime.shutdown_background();
    match (ended, last_words) {
        // Who started us tells it; if it is gone, we do.
        (Err(why), Some(parent)) if inherit::say_why(&parent, &format!("{why:#}")) => Ok(ExitCode::FAILURE),
        (ended, _) => ended,
    }
}

/// Said of a variable: perhaps a slip, which in a file would be refused, and perhaps another program's.
const NO_SETTING: &str = "is set, and no setting has that name";

fn unknown_variables() -> Vec<String> {
    let known = super::variables(&super::Cli::command());
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("GLASSHOUSE_") && !known.contains(name)).collect()
}

async fn serve(
    nodes: Vec<NodeConfig>,
    sockets: Vec<Sockets>,
    mut signals: Signals,
    mut orphaned: mpsc::Receiver<()>,
) -> Result<ExitCode> {
    let mut running: Vec<(NodeId, Running)> = Vec::new();
    for (config, sockets) in nodes.into_iter().zip(sockets) {
        let me = config.me;
        match node::start(config, sockets) {
            Ok(node) => running.push((me, node)),
            Err(why) => {
                stop(&mut running, &mut signals, PATIENCE).await;
                return Err(anyhow!(why));
            }
        }
    }
    let patience = tokio::select! {
        () = signals.asked() => PATIENCE,
        Some(()) = orphaned.recv() => ORPHANED,
        (me, ended) = first_end(&mut running) => {
            stop(&mut running, &mut signals, PATIENCE).await;
            return ending(me, &ended);
        }
    };
    match stop(&mut running, &mut signals, patience).await {
        Stopped::InOrder => Ok(ExitCode::SUCCESS),
        Stopped::Failed(me, ended) => ending(me, &ended),
        Stopped::Late => Err(anyhow!("it did not stop in order in {} s", patience.as_secs())),
        Stopped::Insisted => Err(anyhow!("stopped at once, not in order, because asked twice")),
    }
}

/// The first node that ends by itself; it is taken out.
async fn first_end(running: &mut Vec<(NodeId, Running)>) -> (NodeId, Ended) {
    let ends = running.iter().map(|(_, node)| Box::pin(node.ended()));
    let (ended, at, _) = futures_util::future::select_all(ends).await;
    let (me, _) = running.remove(at);
    (me, ended)
}

fn ending(me: NodeId, ended: &Ended) -> Result<ExitCode> {
    match ended {
        Ended::InOrder => Ok(ExitCode::SUCCESS),
        Ended::Halted(why) => Err(anyhow!("{me}: {why}")),
        Ended::Killed => Err(anyhow!("{me} was killed by a stone")),
    }
}

/// How a stop went.
enum Stopped {
    InOrder,
    /// A node ended otherwise: its last sync failed, say.
    Failed(NodeId, Ended),
    Late,
    /// Somebody asked once more, and would not wait.
    Insisted,
}

/// Stops in order, the broker before the keeper it may need.
async fn stop(running: &mut Vec<(NodeId, Running)>, signals: &mut Signals, patience: Duration) -> Stopped {
    let in_order = async {
        let mut failed = None;
        while let Some((me, node)) = running.pop() {
            node.stop().await;
            match node.ended().await {
                Ended::InOrder => {}
                ended => failed = failed.or(Some((me, ended))),
            }
        }
        failed
    };
    tokio::select! {
        stopped = tokio::time::timeout(patience, in_order) => match stopped {
            Ok(None) => Stopped::InOrder,
            Ok(Some((me, ended))) => Stopped::Failed(me, ended),
            Err(_) => Stopped::Late,
        },
        () = signals.insisted() => Stopped::Insisted,
    }
}
