//! What each keeper tells of itself by the four-letter words `srvr` and `mntr`.

use crate::cli::reach::told;
use crate::client::keeper::four_letter_word;
use glasshouse_core::id::{ZabEpoch, Zxid};
use glasshouse_core::node::Address;
use std::collections::BTreeMap;
use std::time::Duration;

/// A keeper, and how it is; or why nobody knows.
pub struct Keeper {
    pub address: Address,
    pub state: Result<State, String>,
}

/// How a keeper that serves is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub role: String,
    pub zxid: Zxid,
    numbers: BTreeMap<String, u64>,
}

impl State {
    /// The epoch it is in. One that does not tell (ZooKeeper's own, or ours without `mntr`) is believed to be in that of
    /// its last transaction, which after an election is an older one until something is written.
    pub fn epoch(&self) -> ZabEpoch {
        let told = self.number("current_epoch").and_then(|epoch| u32::try_from(epoch).ok());
        told.map_or(self.zxid.epoch(), ZabEpoch)
    }

    /// One of its counts, if it tells it.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.numbers.get(key).copied()
    }
}

/// Asks all of them at once.
pub async fn ask(addresses: &[Address], limit: Duration) -> Vec<Keeper> {
    let limit = limit.min(Duration::from_secs(3));
    let asked = addresses.iter().map(|address| async move {
        let words = tokio::join!(four_letter_word(address, b"srvr", limit), four_letter_word(address, b"mntr", limit));
        let state = match words {
            // `mntr` may not be allowed; what it adds is then unknown.
            (Ok(srvr), mntr) => read(&srvr, &mntr.unwrap_or_default()),
            (Err(error), _) => Err(match error {
                crate::client::Error::Unreachable { why, .. } => why,
                error => told(&error),
            }),
        };
        Keeper { address: address.clone(), state }
    });
    futures_util::future::join_all(asked).await
}

fn read(srvr: &str, mntr: &str) -> Result<State, String> {
    let mut state = State::default();
    for line in srvr.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        match key {
            "Mode" => state.role = value.trim().to_owned(),
            "Zxid" => state.zxid = zxid(value.trim()).unwrap_or_default(),
            _ => {
                if let Ok(number) = value.trim().parse() {
                    // As `mntr` calls it.
                    let key = if key == "Node count" {
                        "znode_count".to_owned()
                    } else {
                        key.to_lowercase().replace(' ', "_")
                    };
                    state.numbers.insert(key, number);
                }
            }
        }
    }
    for line in mntr.lines() {
        let Some((key, value)) = line.split_once('\t') else { continue };
        if let (Some(key), Ok(number)) = (key.strip_prefix("zk_"), value.trim().parse()) {
            state.numbers.insert(key.to_owned(), number);
        }
    }
    if state.role.is_empty() { Err("does not serve (no quorum, or it catches up)".to_owned()) } else { Ok(state) }
}

fn zxid(text: &str) -> Option<Zxid> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok().map(Zxid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let srvr = "Zookeeper version: 3.9.3\nLatency min/avg/max: 0/0.0/0\nReceived: 5\nConnections: 2\n\
                    Outstanding: 0\nZxid: 0x200000011\nMode: leader\nNode count: 7\n";
        let state = read(srvr, "zk_version\t3.9\nzk_watch_count\t4\n").unwrap();
        assert_eq!((state.role.as_str(), state.zxid.epoch().0, state.zxid.counter()), ("leader", 2, 17));
        let number = |key| state.number(key);
        assert_eq!((number("connections"), number("watch_count"), number("none")), (Some(2), Some(4), None));
        assert_eq!(number("znode_count"), Some(7), "srvr has it too");
        assert_eq!(state.epoch().0, 2, "as its zxid says");
        let elected = read(srvr, "zk_current_epoch\t3\n").unwrap();
        assert_eq!((elected.epoch().0, elected.zxid.epoch().0), (3, 2), "nothing was written since");
        assert!(read("This ZooKeeper instance is not currently serving requests\n", "").is_err());
    }
}
