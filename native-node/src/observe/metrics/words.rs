//! Four-letter words, with what only the host knows: who is connected from where, how long answers took, what the
//! process has open. Each of Prometheus' figures of a keeper is a line of `mntr`, too.

use super::report::Report;
use super::{Counters, Seen};
use glasshouse_core::id::ConnId;
use glasshouse_core::keeper::{Client, Keeper, Outside, is_about_clients};
use glasshouse_core::nodes::Node;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

impl Counters {
    /// The answer to the word that a client said, if it said one.
    pub fn word(&mut self, conn: ConnId, seen: &Seen<'_>) -> Option<String> {
        let word = self.talks.word_of(conn)?;
        let Node::Keeper(keeper) = seen.node else { return None };
        // To the others the keeper's own answer stands: a probe is not to cost as much as there are clients.
        if !is_about_clients(word) {
            return None;
        }
        let (min, avg, max) = self.talks.latency();
        let sizes = self.zookeeper.proposed;
        let figures = if &word == b"mntr" { self.lines(keeper, seen) } else { String::new() };
        let outside = Outside {
            latency: format!("{min}/{avg:?}/{max}"),
            clients: self.clients(keeper),
            proposals: keeper.lead().map(|_| format!("{}/{}/{}", sizes.last, sizes.smallest, sizes.largest)),
            figures,
        };
        Some(keeper.word(word, &outside))
    }

    pub(super) fn clients(&self, keeper: &Keeper) -> Vec<Client> {
        let known: BTreeMap<ConnId, u32> =
            keeper.connections().map(|(conn, connection)| (conn, connection.outstanding())).collect();
        let clients = self.talks.iter().map(|(conn, talk)| Client {
            address: written(talk.peer),
            reading: talk.word.is_none(),
            queued: known.get(&conn).copied().unwrap_or(0),
            received: talk.received,
            sent: talk.sent,
        });
        clients.collect()
    }

    pub(super) fn lines(&mut self, keeper: &Keeper, seen: &Seen<'_>) -> String {
        let mut report = Report::words();
        self.report_keeper(keeper, seen, &mut report);
        // Ours: the epoch of the last zxid is that of before an election, until something is written.
        report.finish() + &format!("zk_current_epoch\t{}\n", keeper.peer().current_epoch())
    }
}

/// As Java writes an address: it abbreviates nothing.
fn written(peer: SocketAddr) -> String {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{ip}:{}", peer.port()),
        IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:x}"));
            format!("[{}]:{}", groups.join(":"), peer.port())
        }
    }
}
