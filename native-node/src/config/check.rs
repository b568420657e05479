//! From settings to nodes that can be started, or to the sentence that says why they cannot.

use super::settings::{BrokerSettings, General, KeeperSection, Settings, nearest};
use super::{NodeConfig, Role, Usage};
use crate::disk::Hold;
use crate::net::mesh::Tls;
use glasshouse_core::broker::config::{BrokerConfig, Settings as KafkaSettings};
use glasshouse_core::id::{BrokerId, KeeperId, NodeId};
use glasshouse_core::keeper as zk;
use glasshouse_core::node::Address;
use glasshouse_core::time::Span;
use glasshouse_core::zab;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Bytes that a secret has at least.
const SECRET_MIN: usize = 16;
/// What Kafka has among a broker's settings, and we beside them.
const ELSEWHERE: [(&str, &str); 8] = [
    ("broker.id", "broker.id"),
    ("broker.rack", "broker.rack"),
    ("listeners", "broker.listen"),
    ("advertised.listeners", "broker.advertise"),
    ("zookeeper.connect", "broker.keepers"),
    ("broker.id.generation.enable", "broker.generated-id"),
    ("log.dir", "data"),
    ("log.dirs", "data"),
];
/// The four-letter words that the core answers.
const WORDS: [&[u8; 4]; 6] = [b"conf", b"isro", b"mntr", b"ruok", b"srvr", b"stat"];

/// A process as it would be started: its nodes, and how it logs.
#[derive(Clone, Debug)]
pub struct Process {
    /// The keeper first, if there is one.
    pub nodes: Vec<NodeConfig>,
    pub log: Log,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub filter: String,
    pub json: bool,
}

impl Log {
    /// Checks both.
    ///
    /// # Errors
    /// One sentence.
    pub fn new(filter: Option<String>, format: Option<&str>) -> Result<Log, Usage> {
        let filter = filter.unwrap_or_else(|| "info".to_owned());
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&filter) {
            return Err(Usage(format!("log: {filter:?} is no filter: {error}")));
        }
        let json = match format {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return Err(Usage(format!("log-format is text or json, not {other:?}"))),
        };
        Ok(Log { filter, json })
    }
}

/// Checks the settings of a process.
///
/// # Errors
/// One sentence about the first thing that is wrong.
pub fn check(settings: &Settings) -> Result<Process, Usage> {
    let general = &settings.general;
    let log = Log::new(general.log.clone(), general.log_format.as_deref())?;
    let common = Common::new(general)?;
    let (keeper, broker) = roles(general.roles.as_deref().unwrap_or_default())?;
    let mut nodes = Vec::new();
    if keeper {
        nodes.push(self::keeper(&settings.keeper, &common)?);
    }
    if broker {
        nodes.push(self::broker(&settings.broker, &common)?);
    }
    apart(&nodes)?;
    if nodes.len() > 1 {
        for node in &mut nodes {
            node.record = node.record.take().map(|file| named(&file, node.me));
        }
    }
    Ok(Process { nodes, log })
}

fn roles(roles: &[String]) -> Result<(bool, bool), Usage> {
    if let Some(other) = roles.iter().find(|role| !["keeper", "broker"].contains(&role.as_str())) {
        return Err(Usage(format!("roles are keeper and broker, not {other:?}")));
    }
    let has = |name: &str| roles.iter().any(|role| role == name);
    if roles.is_empty() {
        return Err(Usage("roles: say what this process is: keeper, broker, or keeper,broker".to_owned()));
    }
    Ok((has("keeper"), has("broker")))
}

/// No address of a process is listened at twice.
fn apart(nodes: &[NodeConfig]) -> Result<(), Usage> {
    let of = |node: &NodeConfig| {
        let section = match node.role {
            Role::Keeper(_) => "keeper",
            Role::Broker(_) => "broker",
        };
        let places = [("listen", Some(node.clients)), ("mesh", Some(node.mesh)), ("http", node.http)];
        places.into_iter().filter_map(move |(setting, at)| Some((format!("{section}.{setting}"), at?)))
    };
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    for (setting, at) in nodes.iter().flat_map(of).filter(|(_, at)| at.port() != 0) {
        if let Some((other, there)) = taken.iter().find(|(_, there)| clash(*there, at)) {
            return Err(Usage(format!("{other} and {setting} cannot both be {}", either(*there, at))));
        }
        taken.push((setting, at));
    }
    Ok(())
}

fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |at: SocketAddr| at.ip().is_unspecified() && at.is_ipv4() == one.is_ipv4();
    one.port() == other.port()
        && (one.ip() == other.ip() || one.is_ipv4() == other.is_ipv4() && (all(one) || all(other)))
}

fn either(one: SocketAddr, other: SocketAddr) -> String {
    if one == other { one.to_string() } else { format!("at port {}: {one} and {other}", one.port()) }
}

/// `run.rec` of a broker becomes `run-broker-1.rec`.
fn named(file: &Path, node: NodeId) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = match file.extension() {
        Some(extension) => format!("{stem}-{node}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{node}"),
    };
    file.with_file_name(name)
}

/// What both roles share.
struct Common {
    cluster: String,
    secret: Vec<u8>,
    data: PathBuf,
    tls: Option<Tls>,
    stones: bool,
    record: Option<PathBuf>,
    connections: usize,
    names: BTreeMap<NodeId, Address>,
    hold: Hold,
    faults: Option<PathBuf>,
}

impl Common {
    fn new(general: &General) -> Result<Common, Usage> {
        let Some(data) = general.data.clone() else {
            return Err(Usage("data: name the folder that holds the node's files".to_owned()));
        };
        let connections = general.connections.unwrap_or(20_000);
        if connections == 0 {
            return Err(Usage("connections: with 0 nobody can connect".to_owned()));
        }
        Ok(Common {
            cluster: cluster(general)?,
            secret: secret(general)?,
            data,
            tls: tls(general)?,
            stones: general.stones.unwrap_or(false),
            record: general.record.clone(),
            connections,
            names: names(general.names.as_deref().unwrap_or_default())?,
            hold: match general.hold.as_deref() {
                None | Some("page-cache") => Hold::PageCache,
                Some("process") => Hold::Process,
                Some(other) => return Err(Usage(format!("hold is page-cache or process, not {other:?}"))),
            },
            faults: faults(general)?,
        })
    }

    fn node(
        &self,
        me: NodeId,
        clients: SocketAddr,
        mesh: SocketAddr,
        http: Option<SocketAddr>,
        role: Role,
    ) -> NodeConfig {
        NodeConfig {
            me,
            cluster: self.cluster.clone(),
            secret: self.secret.clone(),
            data: self.data.join(me.to_string()),
            clients,
            mesh,
            peers: BTreeMap::new(),
            tls: self.tls.clone(),
            http,
            role,
            stones: self.stones,
            names: self.names.clone(),
            record: self.record.clone(),
            hold: self.hold,
            faults: self.faults.as_ref().map(|folder| folder.join(me.to_string())),
            connections: self.connections,
        }
    }
}

/// Nobody's disk fails by an oversight.
fn faults(general: &General) -> Result<Option<PathBuf>, Usage> {
    if general.faults.is_some() && !general.stones.unwrap_or(false) {
        return Err(Usage("faults: a disk that fails is a stone; allow them, too (stones)".to_owned()));
    }
    Ok(general.faults.clone())
}

fn cluster(general: &General) -> Result<String, Usage> {
    let name = general.cluster.clone().unwrap_or_else(|| "glasshouse".to_owned());
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
        return Err(Usage(format!("cluster: a name has 1 to 128 letters, digits, - _ or ., which {name:?} has not")));
    }
    Ok(name)
}

/// Empty where there is none.
fn secret(general: &General) -> Result<Vec<u8>, Usage> {
    let secret = match (&general.secret, &general.secret_file) {
        (Some(_), Some(_)) => return Err(Usage("secret and secret-file: give one of them".to_owned())),
        (None, None) => return Ok(Vec::new()),
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(file)) => std::fs::read(file)
            .map_err(|error| Usage(format!("secret-file: {} cannot be read: {error}", file.display())))?,
    };
    let secret = secret.trim_ascii().to_vec();
    if secret.len() < SECRET_MIN {
        return Err(Usage(format!("the secret has {} bytes; it needs {SECRET_MIN} at least", secret.len())));
    }
    Ok(secret)
}

fn tls(general: &General) -> Result<Option<Tls>, Usage> {
    let files = [&general.tls_certificate, &general.tls_key, &general.tls_authority];
    let [Some(certificate), Some(key), Some(authority)] = files else {
        if files.iter().all(|file| file.is_none()) {
            return Ok(None);
        }
        return Err(Usage("TLS needs all of tls-certificate, tls-key and tls-authority".to_owned()));
    };
    let tls = Tls { certificate: certificate.clone(), key: key.clone(), authority: authority.clone() };
    tls.check().map_err(|why| Usage(format!("TLS: {why}")))?;
    Ok(Some(tls))
}

fn names(pairs: &[String]) -> Result<BTreeMap<NodeId, Address>, Usage> {
    let mut names = BTreeMap::new();
    for pair in pairs {
        let parsed = pair.split_once('=').and_then(|(node, at)| Some((NodeId::parse(node)?, address(at)?)));
        let Some((node, at)) = parsed else {
            return Err(Usage(format!("names: broker-1=host:port is meant, not {pair:?}")));
        };
        names.insert(node, at);
    }
    Ok(names)
}

/// `host:port`, as others are reached.
fn address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = !host.is_empty() && host.chars().all(|letter| letter.is_ascii_graphic() && letter != '/');
    plain.then(|| Address { host: host.into(), port })
}

fn known(setting: &str, text: &str) -> Result<Address, Usage> {
    address(text).ok_or_else(|| Usage(format!("{setting}: host:port is meant, not {text:?}")))
}

/// Where we listen ourselves: an address of this machine, or a name of it.
fn listen(setting: &str, text: Option<&String>, default: u16) -> Result<SocketAddr, Usage> {
    let Some(text) = text else { return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, default))) };
    let parsed: Option<SocketAddr> = text.parse().ok();
    let resolved = parsed.or_else(|| text.to_socket_addrs().ok()?.next());
    match resolved {
        Some(address) if address.port() == 0 => {
            Err(Usage(format!("{setting}: port 0 of {text} would be any, and nobody would find it")))
        }
        Some(address) => Ok(address),
        None => Err(Usage(format!("{setting}: {text:?} is no address:port of this machine"))),
    }
}

fn optional(setting: &str, text: Option<&String>) -> Result<Option<SocketAddr>, Usage> {
    text.map(|text| listen(setting, Some(text), 0)).transpose()
}

/// A mesh beyond loopback is within reach of strangers.
fn guard(setting: &str, mesh: SocketAddr, common: &Common) -> Result<(), Usage> {
    if !mesh.ip().is_loopback() && common.secret.is_empty() {
        return Err(Usage(format!(
            "{setting} is {mesh}, which others can reach: give the cluster a secret (secret or secret-file)"
        )));
    }
    Ok(())
}

/// `1=host:port,…`
fn peers<N: Ord + Copy + ToString + std::str::FromStr>(
    setting: &str,
    pairs: &[String],
) -> Result<BTreeMap<N, Address>, Usage> {
    let mut peers: BTreeMap<N, Address> = BTreeMap::new();
    for pair in pairs {
        let parsed = pair.split_once('=').and_then(|(id, at)| Some((id.trim().parse().ok()?, address(at)?)));
        let Some((id, at)) = parsed else {
            return Err(Usage(format!("{setting}: 1=host:port is meant, not {pair:?}")));
        };
        if let Some((other, _)) = peers.iter().find(|(other, there)| **other != id && **there == at) {
            let (other, id) = (other.to_string(), id.to_string());
            return Err(Usage(format!("{setting}: {other} and {id} cannot both be at {at}")));
        }
        if peers.insert(id, at).is_some() {
            return Err(Usage(format!("{setting}: {pair:?} has an id that is there twice")));
        }
    }
    Ok(peers)
}

fn list<I: ToString>(ids: impl IntoIterator<Item = I>) -> String {
    ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

fn keeper(section: &KeeperSection, common: &Common) -> Result<NodeConfig, Usage> {
    let Some(id) = section.id else { return Err(Usage("keeper.id: give this keeper a number, 1 to 254".to_owned())) };
    let mut peers: BTreeMap<u8, Address> = peers("keeper.peers", section.peers.as_deref().unwrap_or_default())?;
    if !peers.is_empty() && !peers.contains_key(&id) {
        return Err(Usage(format!("keeper {id} is not among its own peers {}", list(peers.keys()))));
    }
    let ids: BTreeSet<u8> = peers.keys().copied().chain([id]).collect();
    if let Some(wrong) = ids.iter().find(|id| !(1..=254).contains(*id)) {
        return Err(Usage(format!("a keeper's id is 1 to 254, not {wrong}")));
    }
    let observers: BTreeSet<u8> = section.observers.iter().flatten().copied().collect();
    if let Some(stranger) = observers.iter().find(|id| !ids.contains(id)) {
        return Err(Usage(format!("keeper.observers: {stranger} is not among the peers {}", list(&ids))));
    }
    if ids == observers {
        return Err(Usage("keeper.observers: somebody has to vote".to_owned()));
    }
    let clients = listen("keeper.listen", section.listen.as_ref(), 2181)?;
    let mesh = listen("keeper.mesh", section.mesh.as_ref(), 2888)?;
    guard("keeper.mesh", mesh, common)?;
    let http = optional("keeper.http", section.http.as_ref())?;
    let config = keeper_config(section, id, &ids, &observers, clients.port())?;
    peers.remove(&id);
    let mut node = common.node(NodeId::keeper(id), clients, mesh, http, Role::Keeper(Box::new(config)));
    node.peers = peers.into_iter().map(|(id, at)| (NodeId::keeper(id), at)).collect();
    Ok(node)
}

fn keeper_config(
    section: &KeeperSection,
    me: u8,
    ids: &BTreeSet<u8>,
    observers: &BTreeSet<u8>,
    client_port: u16,
) -> Result<zk::Config, Usage> {
    let voters = ids.difference(observers).map(|id| KeeperId(*id));
    let mut zab = zab::Config::new(KeeperId(me), voters);
    zab.observers = observers.iter().map(|id| KeeperId(*id)).collect();
    let ms = |name: &str, value: Option<u64>, default: Span| match value {
        Some(0) => Err(Usage(format!("keeper.{name} cannot be 0"))),
        Some(ms) => Ok(Span::millis(ms)),
        None => Ok(default),
    };
    let count = |name: &str, value: Option<u32>, default: u32| match value {
        Some(0) => Err(Usage(format!("keeper.{name} cannot be 0"))),
        value => Ok(value.unwrap_or(default)),
    };
    zab.tick = ms("tick-ms", section.tick_ms, zab.tick)?;
    zab.init_limit = count("init-limit", section.init_limit, zab.init_limit)?;
    zab.sync_limit = count("sync-limit", section.sync_limit, zab.sync_limit)?;
    zab.finalize_wait = ms("finalize-wait-ms", section.finalize_wait_ms, zab.finalize_wait)?;
    let mut config = zk::Config::new(zab);
    config.session_timeout_min = ms("session-min-ms", section.session_min_ms, config.session_timeout_min)?;
    config.session_timeout_max = ms("session-max-ms", section.session_max_ms, config.session_timeout_max)?;
    if config.session_timeout_min > config.session_timeout_max {
        return Err(Usage("keeper.session-min-ms is above keeper.session-max-ms".to_owned()));
    }
    config.expiry_interval = ms("expiry-interval-ms", section.expiry_interval_ms, config.expiry_interval)?;
    config.snap_count = count("snap-count", section.snap_count, config.snap_count)?.max(2);
    config.snap_retain = count("snap-retain", section.snap_retain, config.snap_retain)?;
    config.ttl_enabled = section.ttl.unwrap_or(false);
    config.client_port = client_port;
    for word in section.words.iter().flatten().map(|word| word.trim()) {
        let meant: Vec<_> =
            WORDS.into_iter().copied().filter(|known| word == "*" || word.as_bytes() == known).collect();
        if meant.is_empty() {
            let known = list(WORDS.map(|word| String::from_utf8_lossy(word)));
            return Err(Usage(format!("keeper.words: {word:?} is none of those that are answered, {known}, nor *")));
        }
        config.words.extend(meant);
    }
    Ok(config)
}

fn broker(settings: &BrokerSettings, common: &Common) -> Result<NodeConfig, Usage> {
    let section = &settings.section;
    let Some(id) = section.id else { return Err(Usage("broker.id: give this broker a number".to_owned())) };
    // `reserved.broker.max.id`: what lies above is handed out by the ensemble.
    if id > 1000 {
        return Err(Usage(format!("broker.id is 0 to 1000, not {id}; higher ones are handed out (generated-id)")));
    }
    let mut peers: BTreeMap<u32, Address> = peers("broker.peers", section.peers.as_deref().unwrap_or_default())?;
    if !peers.is_empty() && !peers.contains_key(&id) {
        return Err(Usage(format!("broker {id} is not among its own peers {}", list(peers.keys()))));
    }
    let clients = listen("broker.listen", section.listen.as_ref(), 9092)?;
    let mesh = listen("broker.mesh", section.mesh.as_ref(), 9192)?;
    guard("broker.mesh", mesh, common)?;
    let http = optional("broker.http", section.http.as_ref())?;
    let advertised = match &section.advertise {
        Some(text) => {
            let at = known("broker.advertise", text)?;
            if at.host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()) {
                return Err(Usage(format!("broker.advertise: clients cannot connect to {text}: name an address")));
            }
            at
        }
        None if clients.ip().is_unspecified() => {
            let why = "broker.advertise: say where clients reach this broker; to";
            return Err(Usage(format!("{why} {clients}, where it listens, they cannot connect")));
        }
        None => Address { host: host_of(clients.ip()).into(), port: clients.port() },
    };
    let default = ["127.0.0.1:2181".to_owned()];
    let keepers = section.keepers.as_deref().unwrap_or(&default);
    if keepers.is_empty() {
        return Err(Usage("broker.keepers: say where the ensemble is".to_owned()));
    }
    let keepers = keepers.iter().map(|text| known("broker.keepers", text)).collect::<Result<Vec<_>, _>>()?;
    let broker_id = (!section.generated_id.unwrap_or(false)).then_some(BrokerId(id as i32));
    let mut config = BrokerConfig::new(id, broker_id, keepers);
    (config.host, config.port) = (advertised.host, advertised.port);
    config.rack = section.rack.as_deref().map(Into::into);
    config.cluster = Some(common.cluster.as_str().into());
    kafka_settings(&mut config.settings, &settings.settings)?;
    peers.remove(&id);
    let mut node = common.node(NodeId::Broker(id), clients, mesh, http, Role::Broker(Box::new(config)));
    node.peers = peers.into_iter().map(|(id, at)| (NodeId::Broker(id), at)).collect();
    Ok(node)
}

fn host_of(ip: IpAddr) -> String {
    ip.to_string()
}

fn kafka_settings(config: &mut KafkaSettings, given: &BTreeMap<String, String>) -> Result<(), Usage> {
    for (name, value) in given {
        if let Some((_, ours)) = ELSEWHERE.iter().find(|(kafkas, _)| kafkas == name) {
            let flag = ours.replace('.', "-");
            return Err(Usage(format!("{name} is none of broker.settings: it is the setting {ours}, or --{flag}")));
        }
        if !KafkaSettings::NAMES.contains(&name.as_str()) {
            let near = nearest(name, KafkaSettings::NAMES.iter().copied());
            return Err(Usage(format!("no setting of a broker is called {name}; the nearest one is {near}")));
        }
        config.set(name, value).map_err(|why| Usage(format!("broker.settings: {why}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(text: &str) -> Result<Process, String> {
        check(&Settings::parse(text).unwrap()).map_err(|Usage(why)| why)
    }

    fn why(text: &str) -> String {
        process(text).map(|_| ()).unwrap_err()
    }

    #[test]
    fn both_roles_are_two_nodes_with_two_folders() {
        let text =
            "roles = ['broker', 'keeper']\ndata = '/d'\nrecord = '/r/run.rec'\n[keeper]\nid = 1\n[broker]\nid = 2";
        let process = process(text).unwrap();
        let [keeper, broker] = &process.nodes[..] else { panic!("{process:?}") };
        assert_eq!((keeper.me, broker.me), (NodeId::keeper(1), NodeId::Broker(2)));
        assert_eq!(
            (keeper.data.as_path(), broker.data.as_path()),
            (Path::new("/d/keeper-1"), Path::new("/d/broker-2"))
        );
        assert_eq!(broker.record.as_deref(), Some(Path::new("/r/run-broker-2.rec")));
        assert_eq!((keeper.clients.port(), broker.clients.port()), (2181, 9092));
    }

    #[test]
    fn apaches_defaults_are_kept() {
        let process = process("roles = ['keeper', 'broker']\ndata = '/d'\n[keeper]\nid = 1\n[broker]\nid = 2").unwrap();
        let Role::Keeper(keeper) = &process.nodes[0].role else { panic!() };
        let (zab, min, max) = (&keeper.zab, keeper.session_timeout_min, keeper.session_timeout_max);
        assert_eq!((zab.tick, zab.init_limit, zab.sync_limit), (Span::secs(2), 10, 5));
        assert_eq!((min, max), (Span::secs(4), Span::secs(40)));
        let Role::Broker(broker) = &process.nodes[1].role else { panic!() };
        assert_eq!(broker.settings.zookeeper_session_timeout, Span::secs(18));
        assert_eq!(broker.settings, KafkaSettings::default());
        assert_eq!((&*broker.host, broker.port), ("127.0.0.1", 9092));
    }

    #[test]
    fn an_ensemble_with_an_observer() {
        let text = "roles = ['keeper']\ndata = '/d'\n[keeper]\nid = 2\npeers = ['1=a:2888', '2=b:2888', '3=c:2888', '4=[::1]:2888']\nobservers = [4]\ntick-ms = 500\nwords = ['*']";
        let process = process(text).unwrap();
        let node = &process.nodes[0];
        assert_eq!(node.peers.keys().copied().collect::<Vec<_>>(), [1, 3, 4].map(NodeId::keeper));
        assert_eq!(&*node.peers[&NodeId::keeper(4)].host, "::1");
        let Role::Keeper(keeper) = &node.role else { panic!() };
        assert_eq!(keeper.zab.voters, zab::Config::new(KeeperId(1), (1..=3).map(KeeperId)).voters);
        assert_eq!((keeper.session_timeout_min, keeper.words.len()), (Span::secs(1), 6));
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        let keeper = |rest: &str| format!("roles = ['keeper']\ndata = '/d'\n[keeper]\n{rest}");
        let broker = |rest: &str| format!("roles = ['broker']\ndata = '/d'\n[broker]\nid = 1\n{rest}");
        let cases = [
            (String::new(), "data: "),
            ("data = '/d'".to_owned(), "roles: say what this process is"),
            ("data = '/d'\nroles = ['king']".to_owned(), "roles are keeper and broker, not \"king\""),
            ("data = '/d'\nsecret = 'short'".to_owned(), "the secret has 5 bytes"),
            ("data = '/d'\nsecret-file = '/nowhere/at/all'".to_owned(), "secret-file: /nowhere/at/all cannot be read"),
            ("data = '/d'\ntls-key = '/k'".to_owned(), "TLS needs all of"),
            ("data = '/d'\nfaults = '/f'".to_owned(), "faults: a disk that fails is a stone; allow them, too"),
            ("data = '/d'\nlog = 'a=b=c'".to_owned(), "log: \"a=b=c\" is no filter"),
            ("data = '/d'\nlog-format = 'xml'".to_owned(), "log-format is text or json"),
            (keeper(""), "keeper.id: give"),
            (keeper("id = 0"), "a keeper's id is 1 to 254, not 0"),
            (keeper("id = 4\npeers = ['1=a:1', '2=b:1']"), "keeper 4 is not among its own peers 1, 2"),
            (keeper("id = 1\npeers = ['1=a:1', '1=b:1']"), "keeper.peers: \"1=b:1\" has an id that is there twice"),
            (keeper("id = 1\npeers = ['1=a:1', '2=a:1']"), "keeper.peers: 1 and 2 cannot both be at a:1"),
            (broker("peers = ['1=a:1', '2=b:1', '3=b:1']"), "broker.peers: 2 and 3 cannot both be at b:1"),
            (keeper("id = 1\npeers = ['one']"), "keeper.peers: 1=host:port is meant, not \"one\""),
            (keeper("id = 1\nobservers = [1]"), "keeper.observers: somebody has to vote"),
            (keeper("id = 1\nlisten = 'somewhere'"), "keeper.listen: \"somewhere\" is no address:port"),
            (keeper("id = 1\ntick-ms = 0"), "keeper.tick-ms cannot be 0"),
            (keeper("id = 1\nmesh = '0.0.0.0:2888'"), "keeper.mesh is 0.0.0.0:2888, which others can reach"),
            (keeper("id = 1\nwords = ['hello']"), "keeper.words: \"hello\" is none of those that are answered, conf, isro, mntr"),
            (keeper("id = 1\nwords = ['cons']"), "keeper.words: \"cons\" is none of those"),
            (keeper("id = 1\nmesh = '127.0.0.1:2181'"), "keeper.listen and keeper.mesh cannot both be 127.0.0.1:2181"),
            (broker("http = '0.0.0.0:9092'"), "broker.listen and broker.http cannot both be at port 9092: 127.0.0.1:9092 and 0.0.0.0:9092"),
            (broker("advertise = '0.0.0.0:9092'"), "broker.advertise: clients cannot connect to 0.0.0.0:9092"),
            (broker("advertise = '[::]:9092'"), "broker.advertise: clients cannot connect to [::]:9092"),
            (broker("listen = '0.0.0.0:9092'"), "broker.advertise: say where clients reach this broker"),
            (broker("keepers = ['a']"), "broker.keepers: host:port is meant, not \"a\""),
            (broker("[broker.settings]\nmin.insync.replica = 2"), "no setting of a broker is called min.insync.replica; the nearest one is min.insync.replicas"),
            (broker("[broker.settings]\nlisteners = 'a'"), "listeners is none of broker.settings: it is the setting broker.listen, or --broker-listen"),
            (broker("[broker.settings]\nmin.insync.replicas = 'two'"), "broker.settings: min.insync.replicas cannot be \"two\""),
            (
                "roles = ['keeper', 'broker']\ndata = '/d'\n[keeper]\nid = 1\n[broker]\nid = 1\nmesh = '127.0.0.1:2888'".to_owned(),
                "keeper.mesh and broker.mesh cannot both be 127.0.0.1:2888",
            ),
        ];
        for (text, sentence) in cases {
            let why = why(&text);
            assert!(why.starts_with(sentence), "{text}\n{why}");
            assert_eq!(why.lines().count(), 1, "{why}");
        }
    }

    #[test]
    fn a_secret_opens_the_mesh_to_others() {
        let text =
            "roles = ['keeper']\ndata = '/d'\nsecret = 'sixteen bytes ok'\n[keeper]\nid = 1\nmesh = '0.0.0.0:2888'";
        assert_eq!(process(text).unwrap().nodes[0].secret, b"sixteen bytes ok");
    }
}
