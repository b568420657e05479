//! One node, started: its folder taken, its machine recovered, its sockets open, its loop running.

use crate::clock::Clock;
use crate::config::{NodeConfig, Role};
use crate::cure::with_cure;
use crate::disk::{FileDisk, Identity};
use crate::host::{Ended, Host, Parts};
use crate::inbox::{Inbox, Incoming};
use crate::net::doors::Doors;
use crate::net::mesh::{Meeting, Mesh, MeshConfig};
use crate::net::{self, Limits};
use crate::observe::recorder::Recorder;
use crate::observe::recording::boot::{Beginning, What};
use crate::observe::routes::Routes;
use crate::observe::{Observer, http, waiting};
use crate::stones::Stones;
use glasshouse_core::machine::Effects;
use glasshouse_core::node::Input;
use glasshouse_core::store::Store;
use glasshouse_core::time::Now;
use std::any::Any;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Sockets that are bound before the node starts, so that a port that is taken stops it before anything else happens.
#[derive(Debug)]
pub struct Sockets {
    pub clients: std::net::TcpListener,
    pub mesh: std::net::TcpListener,
    pub http: Option<std::net::TcpListener>,
}

impl Sockets {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// One sentence that names the port and the setting.
    pub fn bind(config: &NodeConfig) -> Result<Sockets, String> {
        let section = match config.role {
            Role::Keeper(_) => "keeper",
            Role::Broker(_) => "broker",
        };
        let bind = |what: &str, setting: &str, at: SocketAddr| {
            bind(at).map_err(|error| {
                format!("{} cannot listen for {what} at {at} ({section}.{setting}): {error}", config.me)
            })
        };
        Ok(Sockets {
            clients: bind("clients", "listen", config.clients)?,
            mesh: bind("peers", "mesh", config.mesh)?,
            http: config.http.map(|at| bind("metrics", "http", at)).transpose()?,
        })
    }
}

/// Listens, with room for many that connect at once.
///
/// # Errors
/// Of the system.
pub fn bind(at: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(at)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// A node that runs on a thread of its own.
#[derive(Clone, Debug)]
pub struct Running {
    pub inbox: Inbox,
    pub stones: Stones,
    ended: watch::Receiver<Option<Ended>>,
}

impl Running {
    /// Asks it to stop in order; a pause that somebody threw is over then.
    pub async fn stop(&self) {
        self.stones.change(|lying| lying.paused = false);
        self.inbox.put(Input::Shutdown).await;
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&self) {
        self.stones.change(|lying| lying.paused = false);
        self.inbox.put_incoming(Incoming::Kill).await;
    }

    pub fn is_finished(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Ended::Killed),
            Err(_) => Ended::Halted("its thread is gone".to_owned()),
        }
    }
}

/// Starts a node on a thread of its own.
///
/// # Errors
/// One sentence: its folder is another's, or damaged, or its certificates cannot be used.
pub fn start(config: NodeConfig, sockets: Sockets) -> Result<Running, String> {
    let (ready, started) = std::sync::mpsc::channel();
    let (tell, ended) = watch::channel(None);
    let name = config.me.to_string();
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let run = AssertUnwindSafe(|| run(config, sockets, &ready));
            let ended = catch_unwind(run).unwrap_or_else(|panic| Ended::Halted(mistake(&*panic)));
            tell.send_replace(Some(ended));
        })
        .map_err(|error| format!("{name}: no thread: {error}"))?;
    match started.recv() {
        Ok(Ok((inbox, stones))) => Ok(Running { inbox, stones, ended }),
        Ok(Err(why)) => Err(format!("{name}: {why}")),
        Err(_) => Err(format!("{name}: it ended before it had started")),
    }
}

type Ready = std::sync::mpsc::Sender<Result<(Inbox, Stones), String>>;

/// The whole life of a node's thread.
fn run(config: NodeConfig, sockets: Sockets, ready: &Ready) -> Ended {
    let failed = |why: String| {
        let _ = ready.send(Err(why));
        Ended::Halted("it did not start".to_owned())
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(format!("no runtime: {error}")),
    };
    let ended = runtime.block_on(async move {
        match assemble(config, sockets) {
            Ok(Assembled { host, inbox, stones, meeting }) => {
                let _ = ready.send(Ok((inbox, stones)));
                match meeting {
                    Some(meeting) => live_among(&meeting, host).await,
                    None => host.run().await,
                }
            }
            Err(why) => failed(why),
        }
    });
    // Whatever still moves bytes gets a moment to write what waits, then it is cut off.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// Runs a broker unless its peers take it for a stranger: before it registers, and, if none of them was there then, once
/// they come.
async fn live_among(meeting: &Meeting, host: Host) -> Ended {
    if let Err(why) = meeting.introduced().await {
        return Ended::Halted(why);
    }
    tokio::select! {
        biased;
        ended = host.run() => ended,
        why = meeting.foreign() => Ended::Halted(why),
    }
}

/// What a panic said: our own mistake.
fn mistake(panic: &(dyn Any + Send)) -> String {
    let why = panic.downcast_ref::<String>().map(String::as_str);
    let why = why.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a mistake of ours: {}", why.unwrap_or("it panicked"))
}

/// A node that can be run.
struct Assembled {
    host: Host,
    inbox: Inbox,
    stones: Stones,
    /// Of a broker. A keeper whose peers refuse it has no quorum, and serves nobody.
    meeting: Option<Arc<Meeting>>,
}

/// Puts a node together on the present runtime.
fn assemble(config: NodeConfig, sockets: Sockets) -> Result<Assembled, String> {
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
    let disk = FileDisk::open(&config.data, &identity, config.hold, done).map_err(with_cure)?;
    if let Some(faults) = &config.faults {
        disk.obey(faults.clone());
    }
    let mut store = Store::new(disk);
    let clock = Clock::new();
    let mut fx = Effects::default();
    let beginning = beginning(&config, &mut store, clock.now())?;
    let mut recorder = config.record.as_deref().map(|path| Recorder::create(path, &beginning)).transpose()?;
    let machine = beginning.boot(&mut fx);
    if let Some(recorder) = &mut recorder {
        recorder.began(&fx.effects, &machine);
    }

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
    let meeting = matches!(config.role, Role::Broker(_)).then(|| mesh.meeting());
    let limits = limits(&config);
    let clients = listener(sockets.clients)?;
    let doors = Doors::default();
    match &config.role {
        Role::Keeper(_) => drop(tokio::spawn(net::keeper::serve(clients, inbox.clone(), limits, stones.clone()))),
        Role::Broker(settings) => {
            let keepers = crate::client::join(&settings.keepers);
            let needs = format!("the ensemble is at {keepers}, and no other broker may have its id");
            tokio::spawn(waiting::tell(config.me, inbox.clone(), needs, waiting::PATIENCE));
            let (doors, inbox, stones) = (doors.clone(), inbox.clone(), stones.clone());
            tokio::spawn(async move {
                doors.guard(&clients).await;
                net::kafka::serve(clients, inbox, limits, stones).await;
            });
        }
    }
    if let Some(http) = sockets.http {
        let routes =
            Routes { me: config.me, inbox: inbox.clone(), stones: stones.clone(), allow_stones: config.stones };
        tokio::spawn(http::serve(listener(http)?, move |request| routes.clone().answer(request)));
    }
    let host = Host::new(Parts {
        node: machine,
        store,
        clock,
        inbox: receiver,
        sender: inbox.clone(),
        mesh,
        observer: Observer::new(config.me),
        recorder,
        stones: stones.clone(),
        doors,
        fx,
    });
    Ok(Assembled { host, inbox, stones, meeting })
}

fn listener(socket: std::net::TcpListener) -> Result<TcpListener, String> {
    socket
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(socket))
        .map_err(|error| format!("the socket cannot be used: {error}"))
}

/// What the machine is made of, from what its folder holds.
fn beginning(config: &NodeConfig, store: &mut Store<FileDisk>, now: Now) -> Result<Beginning, String> {
    let entropy = getrandom::u64().map_err(|error| format!("no entropy: {error}"))?;
    let what = match &config.role {
        Role::Keeper(settings) => {
            let image = store.boot_keeper().map_err(|refused| refused.to_string())?;
            What::Keeper(settings.clone(), image.into())
        }
        Role::Broker(settings) => {
            let image = store.boot_broker().map_err(|refused| with_cure(refused.to_string()))?;
            What::Broker(settings.clone(), image)
        }
    };
    Ok(Beginning { node: config.me, entropy, now, what })
}

/// How long a silent peer is waited for: what the protocols themselves would wait.
fn dead_peer(role: &Role) -> Duration {
    let span = match role {
        Role::Keeper(config) => config.zab.tick * u64::from(config.zab.sync_limit),
        Role::Broker(config) => config.settings.zookeeper_session_timeout,
    };
    Duration::from_nanos(span.0)
}

/// How long a connection may take to show that it is a client's. Clients speak at once; what else comes by is let go
/// soon, and sooner where it takes up the room of others.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

fn limits(config: &NodeConfig) -> Limits {
    match &config.role {
        Role::Keeper(_) => Limits {
            frame: glasshouse_core::wire::keeper::MAX_REQUEST,
            connections: config.connections,
            requests: 1000,
            first: FIRST_REQUEST,
            idle: None,
        },
        // `socket.request.max.bytes` and `connections.max.idle.ms`.
        Role::Broker(_) => Limits {
            frame: 100 << 20,
            connections: config.connections,
            requests: 64,
            first: FIRST_REQUEST,
            idle: Some(Duration::from_secs(600)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::check;
    use crate::config::settings::Settings;
    use crate::net::outbox::Budget;
    use bytes::Bytes;
    use glasshouse_core::api::keeper;
    use glasshouse_core::id::ConnId;
    use glasshouse_core::node::{Effect, Reply};

    #[tokio::test]
    async fn what_was_wanted_before_a_stop_leaves_and_what_was_wanted_since_does_not() {
        let number = getrandom::u64().expect("entropy");
        let folder = std::env::temp_dir().join(format!("glasshouse-node-{number:016x}"));
        let text = format!("roles = ['keeper']\ndata = '{}'\n[keeper]\nid = 1", folder.display());
        let config = check(&Settings::parse(&text).unwrap()).unwrap().nodes.remove(0);
        let socket = || bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let sockets = Sockets { clients: socket(), mesh: socket(), http: None };
        let Ok(Assembled { mut host, .. }) = assemble(config, sockets) else { panic!("it does not start") };
        host.perform();
        let (outbox, mut frames) = Budget::default().outbox();
        host.conns.insert(ConnId(1), outbox);
        let reply =
            |text: &str| Effect::Reply { conn: ConnId(1), reply: Reply::Keeper(keeper::Reply::Text(text.to_owned())) };
        host.fx.effects = vec![reply("before"), Effect::Stopped, reply("since")];
        host.perform();
        assert_eq!(host.ended, Some(Ended::InOrder));
        assert_eq!(frames.next_now(), Some(vec![Bytes::from_static(b"before")]));
        assert_eq!(frames.next_now(), None);
        // Who is dead says nothing more.
        host.fx.effects = vec![reply("late")];
        host.perform();
        assert_eq!(frames.next_now(), None);
        drop(host);
        let _ = std::fs::remove_dir_all(folder);
    }
}
