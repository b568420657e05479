//! Four-letter words: what an administrator asks of a single keeper (protocol.md B.8).
//!
//! Some of what they tell only the keeper's host knows: addresses, descriptors, how long answers took. A host that cares
//! asks for the text again when it sends the answer, with an [`Outside`]; where nobody does, as in the simulator, clients
//! are called by the numbers of their connections, and no time passes.

use super::Keeper;
use crate::id::Zxid;
use crate::zab::Role;
use core::fmt::{self, Write};

/// As `srvr` and `mntr` print it.
const VERSION: &str = "3.9.3-glasshouse";
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// What a keeper's host knows and the keeper does not. Only words show it.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The least, the mean and the longest time that answers took, in milliseconds, with slashes between them.
    pub latency: String,
    /// Whoever is connected.
    pub clients: Vec<Client>,
    /// Bytes of the last, the smallest and the largest proposal, if they are known; of a leader.
    pub proposals: Option<String>,
    /// Further lines of `mntr`.
    pub figures: String,
}

/// A line of `stat`.
#[derive(Clone, Debug)]
pub struct Client {
    /// With the port.
    pub address: String,
    /// Whether anything more is read from it; a word is the last that a connection says.
    pub reading: bool,
    /// Requests not answered yet.
    pub queued: u32,
    /// Requests taken, and what was sent: answers and events.
    pub received: u64,
    pub sent: u64,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Client { address, reading, queued, received, sent } = self;
        let interest = u8::from(*reading);
        write!(f, " /{address}[{interest}](queued={queued},recved={received},sent={sent})")
    }
}

/// Whether the answer to a word tells of clients, so that somebody has to list them. To probes they cost nothing.
pub fn is_about_clients(word: [u8; 4]) -> bool {
    matches!(&word, b"srvr" | b"stat" | b"mntr")
}

impl Keeper {
    /// The keeper's own figures, by the names that `mntr` and ZooKeeper's metrics have for them.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let mut figures = vec![
            ("packets_received", self.received),
            ("packets_sent", self.sent),
            ("outstanding_requests", u64::from(self.outstanding())),
            ("znode_count", self.tree.len()),
            ("watch_count", self.watches.len()),
            ("ephemerals_count", self.tree.all_ephemerals().count() as u64),
            ("global_sessions", self.tree.session_count()),
        ];
        if let Some(lead) = self.lead() {
            figures.push(("outstanding_proposals", u64::from(lead.outstanding())));
            figures.push(("pending_syncs", lead.syncs.len() as u64));
        }
        figures
    }

    /// The answer to a word, of a host that knows more than this keeper.
    pub fn word(&self, word: [u8; 4], outside: &Outside) -> String {
        let allowed = &word == b"srvr" || self.config.words.contains(&word);
        let serving = self.role.is_serving();
        match &word {
            _ if !allowed => {
                let word = String::from_utf8_lossy(&word);
                format!("{word} is not executed because it is not in the whitelist.\n")
            }
            b"ruok" => "imok".to_owned(),
            b"isro" => if serving { "rw" } else { "null" }.to_owned(),
            b"conf" => self.conf(),
            _ if is_about_clients(word) && !serving => NOT_SERVING.to_owned(),
            b"srvr" => self.srvr(outside),
            b"stat" => self.stat(outside),
            b"mntr" => self.mntr(outside),
            other => {
                format!("{} is not executed because it is not in the whitelist.\n", String::from_utf8_lossy(other))
            }
        }
    }

    /// What this keeper knows itself of what is outside.
    pub(super) fn inside(&self) -> Outside {
        let clients = self.connections().map(|(conn, connection)| Client {
            address: conn.to_string(),
            reading: true,
            queued: connection.outstanding(),
            received: 0,
            sent: 0,
        });
        let clients = clients.collect();
        Outside { latency: "0/0.0/0".to_owned(), clients, proposals: None, figures: String::new() }
    }

    fn mode(&self) -> &'static str {
        match self.role {
            Role::Looking => "looking",
            Role::Leading { .. } => "leader",
            Role::Following { .. } => "follower",
            Role::Observing { .. } => "observer",
        }
    }

    /// As a peer of the ensemble that serves.
    fn peer_state(&self) -> &'static str {
        match self.role {
            Role::Looking => "looking",
            Role::Leading { .. } => "leading - broadcast",
            Role::Following { .. } => "following - broadcast",
            Role::Observing { .. } => "observing - broadcast",
        }
    }

    fn outstanding(&self) -> u32 {
        self.connections.values().map(super::Connection::outstanding).sum()
    }

    /// Where it stands. A leader stands in its own epoch before the first write there (`Leader.startZkServer`).
    fn zxid(&self) -> Zxid {
        let began = match self.role {
            Role::Leading { .. } => Zxid::start_of(self.peer.current_epoch()),
            Role::Looking | Role::Following { .. } | Role::Observing { .. } => Zxid::ZERO,
        };
        self.tree.last_zxid().max(began)
    }

    fn srvr(&self, outside: &Outside) -> String {
        let mut text = format!(
            "Zookeeper version: {VERSION}\n\
             Latency min/avg/max: {}\n\
             Received: {}\n\
             Sent: {}\n\
             Connections: {}\n\
             Outstanding: {}\n\
             Zxid: {:#x}\n\
             Mode: {}\n\
             Node count: {}\n",
            outside.latency,
            self.received,
            self.sent,
            outside.clients.len(),
            self.outstanding(),
            self.zxid().0,
            self.mode(),
            self.tree.len()
        );
        if let Some(sizes) = &outside.proposals {
            let _infallible = writeln!(text, "Proposal sizes last/min/max: {sizes}");
        }
        text
    }

    fn stat(&self, outside: &Outside) -> String {
        let (version, rest) = split_first_line(self.srvr(outside));
        let mut text = format!("{version}Clients:\n");
        for client in &outside.clients {
            let _infallible = writeln!(text, "{client}");
        }
        text + "\n" + &rest
    }

    fn mntr(&self, outside: &Outside) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn fmt::Display| {
            let _infallible = writeln!(text, "zk_{key}\t{value}");
        };
        line("version", &VERSION);
        line("server_state", &self.mode());
        line("peer_state", &self.peer_state());
        line("num_alive_connections", &outside.clients.len());
        for (key, value) in self.figures() {
            line(key, &value);
        }
        text + &outside.figures
    }

    fn conf(&self) -> String {
        let config = &self.config;
        format!(
            "clientPort={}\ntickTime={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nserverId={}\ninitLimit={}\nsyncLimit={}\n\
             membership: \n{}\n",
            config.client_port,
            config.zab.tick.as_millis(),
            config.session_timeout_min.as_millis(),
            config.session_timeout_max.as_millis(),
            config.zab.me,
            config.zab.init_limit,
            config.zab.sync_limit,
            String::from_utf8_lossy(&config.members)
        )
    }
}

fn split_first_line(text: String) -> (String, String) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    (text[..end].to_owned(), text[end..].to_owned())
}
