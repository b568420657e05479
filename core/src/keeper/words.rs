//! Four-letter words: what an administrator asks of a single keeper (protocol.md B.8).

use super::Keeper;
use crate::zab::Role;
use crate::znode::Owner;
use core::fmt::Write;

/// As `srvr` and `mntr` print it.
const VERSION: &str = "3.9.3-glasshouse";
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

impl Keeper {
    /// Requests taken and replies sent since the start.
    pub fn packets(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    /// The answer to a word.
    pub(super) fn word(&self, word: [u8; 4]) -> String {
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
            b"srvr" | b"stat" | b"mntr" if !serving => NOT_SERVING.to_owned(),
            b"srvr" => self.srvr(),
            b"stat" => self.stat(),
            b"mntr" => self.mntr(),
            other => {
                format!("{} is not executed because it is not in the whitelist.\n", String::from_utf8_lossy(other))
            }
        }
    }

    fn mode(&self) -> &'static str {
        match self.role {
            Role::Looking => "looking",
            Role::Leading { .. } => "leader",
            Role::Following { .. } => "follower",
            Role::Observing { .. } => "observer",
        }
    }

    fn outstanding(&self) -> u32 {
        self.connections.values().map(super::Connection::outstanding).sum()
    }

    fn srvr(&self) -> String {
        format!(
            "Zookeeper version: {VERSION}\n\
             Latency min/avg/max: 0/0.0/0\n\
             Received: {}\n\
             Sent: {}\n\
             Connections: {}\n\
             Outstanding: {}\n\
             Zxid: {:#x}\n\
             Mode: {}\n\
             Node count: {}\n",
            self.received,
            self.sent,
            self.connections.len(),
            self.outstanding(),
            self.tree.last_zxid().0,
            self.mode(),
            self.tree.len()
        )
    }

    fn stat(&self) -> String {
        let (version, rest) = split_first_line(self.srvr());
        let mut text = format!("{version}Clients:\n");
        for (conn, connection) in self.connections() {
            let _infallible =
                writeln!(text, " /{conn}[1](queued={},session={})", connection.outstanding(), connection.session);
        }
        text + "\n" + &rest
    }

    fn mntr(&self) -> String {
        let ephemerals = self.tree.walk().filter(|(_, node)| matches!(node.owner(), Owner::Session(_))).count();
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn core::fmt::Display| {
            let _infallible = writeln!(text, "zk_{key}\t{value}");
        };
        line("version", &VERSION);
        line("server_state", &self.mode());
        line("packets_received", &self.received);
        line("packets_sent", &self.sent);
        line("num_alive_connections", &self.connections.len());
        line("outstanding_requests", &self.outstanding());
        line("znode_count", &self.tree.len());
        line("watch_count", &self.watches.len());
        line("ephemerals_count", &ephemerals);
        line("global_sessions", &self.tree.session_count());
        if let Some(lead) = self.lead() {
            line("outstanding_proposals", &lead.outstanding());
            line("pending_syncs", &lead.syncs.len());
        }
        text
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
