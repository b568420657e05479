//! What `glasshouse up` is going to start: who, with which settings, on which sockets. All of them are bound here, or
//! nothing is.

use super::layout::Layout;
use super::{Args, CONTROL_PORT, usage};
use crate::cli::term::complain;
use crate::config::NodeConfig;
use crate::config::check::check;
use crate::config::settings::Settings;
use crate::node::{Sockets, bind as bind_socket};
use anyhow::{Context, Result};
use glasshouse_core::id::NodeId;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// How long a broker's session lasts: an orderly restart is quicker, a dead broker is noticed soon.
const BROKER_SESSION_MS: u64 = 1500;
/// An election waits for a better vote: near neighbours need no fifth of a second.
const FINALIZE_WAIT_MS: u64 = 30;
/// Free ports are looked for here, below those that the system gives to outgoing connections: a node that dials a port
/// of those while nobody listens may be given that very port, and talk to itself.
const FREE_PORTS: std::ops::Range<u16> = 10_000..32_000;

/// See the module.
#[derive(Debug)]
pub struct Plan {
    pub data: Data,
    pub cluster: String,
    /// Keepers before brokers.
    pub nodes: Vec<Planned>,
    pub control: TcpListener,
}

/// One node.
#[derive(Debug)]
pub struct Planned {
    pub settings: Settings,
    pub config: NodeConfig,
    /// Until it is started.
    pub sockets: Option<Sockets>,
}

/// The folder; a temporary one goes with it.
#[derive(Debug)]
pub struct Data {
    pub folder: PathBuf,
    pub temporary: bool,
}

impl Drop for Data {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            complain(format_args!("glasshouse: {} is left behind: {error}", self.folder.display()));
        }
    }
}

impl Data {
    fn new(folder: Option<&Path>) -> Result<Data> {
        let (folder, temporary) = match folder {
            Some(folder) => (folder.to_owned(), false),
            None => {
                let number = getrandom::u32().context("no entropy")?;
                (std::env::temp_dir().join(format!("glasshouse-{}-{number:08x}", std::process::id())), true)
            }
        };
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let folder = folder.canonicalize().with_context(|| format!("{} cannot be used", folder.display()))?;
        Ok(Data { folder, temporary })
    }
}

impl Plan {
    /// # Errors
    /// One sentence: which port is taken, which setting makes no sense, or why the folder cannot be used.
    pub fn new(args: &Args) -> Result<Plan> {
        if args.host.is_unspecified() {
            return Err(usage(format!(
                "--host {}: clients cannot be told to connect to that; name an address",
                args.host
            )));
        }
        if let Err(error) = bind_socket(SocketAddr::new(args.host, 0)) {
            return Err(usage(format!("--host {}: nobody can listen there: {error}", args.host)));
        }
        let kept = args.data.as_deref().map(Layout::read).transpose()?.flatten();
        let layout = match (kept, &args.data) {
            (Some(kept), Some(data)) => kept.with(data, args.keepers, args.brokers)?,
            (_, _) => Layout::draw(args.keepers, args.brokers)?,
        };
        if let Some(data) = &args.data {
            super::describe::let_orphans_end(data);
        }
        let mut bound = bind(args)?;
        let control = bind_control(args)?;
        let settings = all_settings(args, &layout.cluster, &bound)?;
        // Before there is a folder: what makes no sense leaves nothing behind.
        for settings in &settings {
            check(settings)?;
        }
        let data = Data::new(args.data.as_deref())?;
        super::describe::refuse_running(&data.folder)?;
        layout.write(&data.folder)?;
        if let Some(folder) = &args.record {
            std::fs::create_dir_all(folder).with_context(|| format!("--record {} cannot be made", folder.display()))?;
        }
        let mut nodes = Vec::new();
        for (mut settings, (_, sockets)) in settings.into_iter().zip(bound.drain(..)) {
            settings.general.data = Some(data.folder.clone());
            let config = check(&settings)?.nodes.remove(0);
            nodes.push(Planned { settings, config, sockets: Some(sockets) });
        }
        Ok(Plan { data, cluster: layout.cluster, nodes, control })
    }
}

type Bound = Vec<(NodeId, Sockets)>;

/// Binds everything that nodes listen on.
fn bind(args: &Args) -> Result<Bound> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut zookeeper = Ports::new("--zookeeper-port", args.zookeeper_port, args.host);
    let mut kafka = Ports::new("--kafka-port", args.kafka_port, args.host);
    let mut mesh = Ports::new("--mesh-port", args.mesh_port, loopback);
    let mut http = Ports::new("--http-port", args.http_port, loopback);
    let keepers = (1..=args.keepers).map(NodeId::keeper);
    let brokers = (1..=args.brokers).map(NodeId::Broker);
    let (keeper_ports, broker_ports) = (zookeeper.range(args.keepers.into()), kafka.range(args.brokers));
    if let (Some(keeper_ports), Some(broker_ports)) = (keeper_ports, broker_ports)
        && let Some(both) = broker_ports.clone().find(|port| keeper_ports.contains(port))
    {
        return Err(usage(format!("port {both} would be a keeper's and a broker's: choose others with --kafka-port")));
    }
    let mut bound = Bound::new();
    for node in keepers.chain(brokers) {
        let clients = if matches!(node, NodeId::Keeper(_)) { &mut zookeeper } else { &mut kafka };
        let clients = clients.next(&format!("{node}'s clients"))?;
        let mesh = mesh.next(&format!("{node}'s peers"))?;
        let http = http.next(&format!("{node}'s metrics"))?;
        bound.push((node, Sockets { clients, mesh, http: Some(http) }));
    }
    Ok(bound)
}

/// The usual port of the control is only a wish: a second cluster has another.
fn bind_control(args: &Args) -> Result<TcpListener> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if args.control_port.is_none()
        && args.kafka_port != 0
        && let Ok(listener) = bind_socket(SocketAddr::new(loopback, CONTROL_PORT))
    {
        return Ok(listener);
    }
    Ports::new("--control-port", args.control_port.unwrap_or(0), loopback).next("the cluster's control")
}

/// Ports that follow each other, or free ones.
struct Ports {
    flag: &'static str,
    host: IpAddr,
    next: Option<u16>,
    free: bool,
}

impl Ports {
    fn new(flag: &'static str, first: u16, host: IpAddr) -> Ports {
        Ports { flag, host, next: Some(first), free: first == 0 }
    }

    /// The ports of so many nodes, unless free ones are looked for.
    fn range(&self, nodes: u32) -> Option<std::ops::Range<u32>> {
        let first = self.next.filter(|_| !self.free)?;
        Some(u32::from(first)..u32::from(first) + nodes)
    }

    fn next(&mut self, what: &str) -> Result<TcpListener> {
        if self.free {
            return free_port(self.host).with_context(|| format!("there is no free port for {what}"));
        }
        let flag = self.flag;
        let port = self.next.ok_or_else(|| usage(format!("{flag}: there is no port above 65535 for {what}")))?;
        self.next = port.checked_add(1);
        bind_socket(SocketAddr::new(self.host, port)).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                usage(format!("port {port}, for {what}, is taken; choose others with {flag} (0 picks free ones)"))
            }
            _ => usage(format!("port {port}, for {what}, cannot be used ({flag}): {error}")),
        })
    }
}

fn free_port(host: IpAddr) -> Result<TcpListener> {
    for _ in 0..200 {
        let draw = getrandom::u32().context("no entropy")? % u32::from(FREE_PORTS.end - FREE_PORTS.start);
        if let Ok(listener) = bind_socket(SocketAddr::new(host, FREE_PORTS.start + draw as u16)) {
            return Ok(listener);
        }
    }
    Ok(bind_socket(SocketAddr::new(host, 0))?)
}

/// The settings of every node, in the order of `bound`; still without a folder's true place.
fn all_settings(args: &Args, cluster: &str, bound: &Bound) -> Result<Vec<Settings>> {
    let secret: String =
        (0..4).map(|_| getrandom::u64().map(|part| format!("{part:016x}"))).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for (node, sockets) in bound {
        let mut settings = Settings::default();
        let general = &mut settings.general;
        general.cluster = Some(cluster.to_owned());
        general.secret = Some(secret.clone());
        general.data = Some(args.data.clone().unwrap_or_else(std::env::temp_dir));
        general.stones = Some(args.stones);
        general.log = Some(args.log.clone());
        general.log_format = Some(args.log_format.clone());
        general.hold = Some(args.hold.clone());
        general.faults.clone_from(&args.faults);
        general.record = args.record.as_ref().map(|folder| folder.join(format!("{node}.rec")));
        general.names = Some(
            bound
                .iter()
                .map(|(node, sockets)| Ok(format!("{node}={}", at(&sockets.clients)?)))
                .collect::<Result<_>>()?,
        );
        let listen = Listen {
            clients: at(&sockets.clients)?,
            mesh: at(&sockets.mesh)?,
            http: sockets.http.as_ref().map(at).transpose()?,
        };
        match node {
            NodeId::Keeper(id) => {
                settings.general.roles = Some(vec!["keeper".to_owned()]);
                keeper(args, id.0, listen, &mut settings);
                settings.keeper.peers = Some(peers(bound, true)?);
            }
            NodeId::Broker(number) => {
                settings.general.roles = Some(vec!["broker".to_owned()]);
                broker(args, *number, listen, bound, &mut settings)?;
            }
            NodeId::Client(_) => {}
        }
        all.push(settings);
    }
    Ok(all)
}

/// Where one node listens.
struct Listen {
    clients: SocketAddr,
    mesh: SocketAddr,
    http: Option<SocketAddr>,
}

fn at(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().context("a socket without an address")
}

fn keeper(args: &Args, id: u8, listen: Listen, settings: &mut Settings) {
    let section = &mut settings.keeper;
    section.id = Some(id);
    section.listen = Some(listen.clients.to_string());
    section.mesh = Some(listen.mesh.to_string());
    section.http = listen.http.map(|at| at.to_string());
    section.tick_ms = Some(args.tick_ms);
    section.finalize_wait_ms = Some(FINALIZE_WAIT_MS);
    // In buckets of a tick, a session of 1.5 s would be missed for up to 2 s.
    section.expiry_interval_ms = Some((args.tick_ms / 5).max(1));
    section.words = Some(vec!["*".to_owned()]);
}

fn broker(args: &Args, number: u32, listen: Listen, bound: &Bound, settings: &mut Settings) -> Result<()> {
    let section = &mut settings.broker.section;
    section.id = Some(number);
    section.listen = Some(listen.clients.to_string());
    section.mesh = Some(listen.mesh.to_string());
    section.http = listen.http.map(|at| at.to_string());
    section.peers = Some(peers(bound, false)?);
    let keepers = bound.iter().filter(|(node, _)| is_keeper(*node));
    section.keepers = Some(keepers.map(|(_, sockets)| Ok(at(&sockets.clients)?.to_string())).collect::<Result<_>>()?);
    let kafkas = &mut settings.broker.settings;
    let session = BROKER_SESSION_MS.max(args.tick_ms * 2);
    kafkas.insert("zookeeper.session.timeout.ms".to_owned(), session.to_string());
    // The last broker has nobody to hand its leaders to, and need not wait for that long.
    kafkas.insert("controlled.shutdown.retry.backoff.ms".to_owned(), "300".to_owned());
    for pair in &args.set {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(usage(format!("--set takes NAME=VALUE, which {pair:?} is not")));
        };
        kafkas.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    Ok(())
}

fn is_keeper(node: NodeId) -> bool {
    matches!(node, NodeId::Keeper(_))
}

/// Everyone of a kind, as its peers are told.
fn peers(bound: &Bound, keepers: bool) -> Result<Vec<String>> {
    let kind = bound.iter().filter(|(node, _)| is_keeper(*node) == keepers);
    kind.map(|(node, sockets)| {
        let name = node.to_string();
        let id = name.rsplit('-').next().unwrap_or_default();
        Ok(format!("{id}={}", at(&sockets.mesh)?))
    })
    .collect()
}
