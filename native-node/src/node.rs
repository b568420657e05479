//! One node, started: its folder taken, its machine recovered, its sockets open, its loop running.

use crate::clock::Clock;
use crate::config::{NodeConfig, Role};
use crate::disk::{FileDisk, Identity};
use crate::host::{Ended, Host, Parts};
use crate::inbox::{Inbox, Incoming};
use crate::net::mesh::{Mesh, MeshConfig};
use crate::net::{self, Limits};
use crate::observe::Observer;
use crate::stones::Stones;
use glasshouse_core::broker::Broker;
use glasshouse_core::keeper::{self as zk, Keeper};
use glasshouse_core::machine::Effects;
use glasshouse_core::node::{Effect, Input};
use glasshouse_core::nodes::Node;
use glasshouse_core::rng::Rng;
use glasshouse_core::store::Store;
use glasshouse_core::time::Now;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Sockets that are bound before the node starts, so that a port that is taken stops it before anything else happens.
#[derive(Debug)]
pub struct Sockets {
    pub clients: std::net::TcpListener,
    pub mesh: std::net::TcpListener,
    pub http: Option<std::net::TcpListener>,
}

impl Sockets {
    /// Binds what the configuration names; port 0 picks free ones.
    ///
    /// # Errors
    /// One sentence that names the port.
    pub fn bind(config: &NodeConfig) -> Result<Sockets, String> {
        let bind = |what: &str, at: SocketAddr| {
            std::net::TcpListener::bind(at).map_err(|error| format!("{}: cannot listen for {what} at {at}: {error}", config.me))
        };
        Ok(Sockets {
            clients: bind("clients", config.clients)?,
            mesh: bind("peers", config.mesh)?,
            http: config.http.map(|at| bind("metrics", at)).transpose()?,
        })
    }
}

/// A node that runs on a thread of its own.
#[derive(Debug)]
pub struct Running {
    pub inbox: Inbox,
    pub stones: Stones,
    thread: std::thread::JoinHandle<Ended>,
}

impl Running {
    /// Asks it to stop in order.
    pub fn stop(&self) {
        self.inbox.put_blocking(Incoming::Input(Input::Shutdown));
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub fn join(self) -> Ended {
        self.thread.join().unwrap_or_else(|panic| {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Ended::Halted(format!("a mistake of ours: {}", why.unwrap_or_else(|| "it panicked".to_owned())))
        })
    }
}

/// Starts a node on a thread of its own.
///
/// # Errors
/// One sentence: its folder is another's, or damaged, or its certificates cannot be used.
pub fn start(config: NodeConfig, sockets: Sockets) -> Result<Running, String> {
    let (ready, started) = std::sync::mpsc::channel();
    let name = config.me.to_string();
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(format!("no runtime: {error}")));
                    return Ended::Halted("it did not start".to_owned());
                }
            };
            let ended = runtime.block_on(async move {
                match assemble(config, sockets) {
                    Ok((host, inbox, stones)) => {
                        let _ = ready.send(Ok((inbox, stones)));
                        host.run().await
                    }
                    Err(why) => {
                        let _ = ready.send(Err(why));
                        Ended::Halted("it did not start".to_owned())
                    }
                }
            });
            // Whatever still moves bytes gets a moment to write what waits, then it is cut off.
            runtime.shutdown_timeout(Duration::from_millis(100));
            ended
        })
        .map_err(|error| format!("{name}: no thread: {error}"))?;
    match started.recv() {
        Ok(Ok((inbox, stones))) => Ok(Running { inbox, stones, thread }),
        Ok(Err(why)) => Err(format!("{name}: {why}")),
        Err(_) => Err(format!("{name}: it ended before it had started")),
    }
}

/// Puts a node together on the present runtime.
fn assemble(config: NodeConfig, sockets: Sockets) -> Result<(Host, Inbox, Stones), String> {
    let (inbox, receiver) = Inbox::new();
    let stones = Stones::default();
    for (node, address) in &config.names {
        stones.name(&address.host, address.port, *node);
    }
    let done = {
        let inbox = inbox.clone();
        Arc::new(move |lane, result| {
            inbox.put_blocking(Incoming::SyncDone { lane, result });
        })
    };
    let identity = Identity { cluster: config.cluster.clone(), node: config.me };
    let mut store = Store::new(FileDisk::open(&config.data, &identity, config.hold, done)?);
    let clock = Clock::new();
    let mut fx = Effects::default();
    let machine = recover(&config, &mut store, clock.now(), &mut fx)?;

    let mesh = MeshConfig {
        cluster: config.cluster.clone(),
        me: config.me,
        peers: config.peers.clone(),
        secret: config.secret.clone(),
        tls: config.tls.clone(),
        dead_peer: dead_peer(&config.role),
        frame: 128 << 20,
    };
    let mesh = Mesh::start(mesh, listener(sockets.mesh)?, inbox.clone(), stones.clone())?;
    let limits = limits(&config);
    let clients = listener(sockets.clients)?;
    match &config.role {
        Role::Keeper(_) => drop(tokio::spawn(net::keeper::serve(clients, inbox.clone(), limits))),
        Role::Broker(_) => drop(tokio::spawn(net::kafka::serve(clients, inbox.clone(), limits))),
    }
    let host = Host::new(Parts {
        node: machine,
        store,
        clock,
        inbox: receiver,
        sender: inbox.clone(),
        mesh,
        observer: Observer::default(),
        recorder: None,
        stones: stones.clone(),
        fx,
    });
    Ok((host, inbox, stones))
}

fn listener(socket: std::net::TcpListener) -> Result<TcpListener, String> {
    socket
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(socket))
        .map_err(|error| format!("the socket cannot be used: {error}"))
}

/// The machine, from what its folder holds.
fn recover(
    config: &NodeConfig,
    store: &mut Store<FileDisk>,
    now: Now,
    fx: &mut Effects<Effect>,
) -> Result<Node, String> {
    let mut entropy = Rng::at(&[getrandom::u64().map_err(|error| format!("no entropy: {error}"))?]);
    match &config.role {
        Role::Keeper(settings) => {
            let image = store.boot_keeper().map_err(|refused| refused.to_string())?;
            let boot = zk::Boot {
                accepted: image.accepted_epoch,
                current: image.current_epoch,
                snapshot: image.snapshot,
                txns: image.txns,
            };
            Ok(Node::Keeper(Box::new(Keeper::recover((**settings).clone(), boot, entropy, now, fx))))
        }
        Role::Broker(settings) => {
            let image = store.boot_broker().map_err(|refused| refused.to_string())?;
            Ok(Node::Broker(Box::new(Broker::recover((**settings).clone(), image, entropy.next(), now, fx))))
        }
    }
}

/// How long a silent peer is waited for: what the protocols themselves would wait.
fn dead_peer(role: &Role) -> Duration {
    let span = match role {
        Role::Keeper(config) => config.zab.tick * u64::from(config.zab.sync_limit),
        Role::Broker(config) => config.settings.zookeeper_session_timeout,
    };
    Duration::from_nanos(span.0)
}

fn limits(config: &NodeConfig) -> Limits {
    match &config.role {
        Role::Keeper(settings) => Limits {
            frame: glasshouse_core::wire::keeper::MAX_REQUEST,
            connections: config.connections,
            requests: 1000,
            idle: Duration::from_nanos(settings.zab.tick.0 * 2),
        },
        // `socket.request.max.bytes` and `connections.max.idle.ms`.
        Role::Broker(_) => Limits {
            frame: 100 << 20,
            connections: config.connections,
            requests: 64,
            idle: Duration::from_secs(600),
        },
    }
}
