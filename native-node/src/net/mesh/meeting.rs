//! What its peers think of a node, from its start until one of them has greeted it.
//!
//! A broker with the wrong secret, or of another cluster, speaks with clients and with the ensemble as any other would:
//! registered, it would be given partitions that nobody can replicate, and orders that never reach it. Only its peers
//! know. So it asks them before it registers. Refusals are mutual, and whoever listens at a peer's address can refuse:
//! they count only if they come from all peers, and only as long as none has greeted. One that was greeted once in this
//! run is no stranger any more, whatever it is told.

use glasshouse_core::id::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a broker holds back for peers that do not say either.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Meeting(watch::Sender<Peers>);

#[derive(Debug)]
struct Peers {
    /// Those that were dialled: why they refuse this node as a stranger, or nothing if they were not there or had other
    /// reasons.
    dialled: BTreeMap<NodeId, Option<String>>,
    all: usize,
    greeted: bool,
}

impl Peers {
    /// Why this node is a stranger to all of them; nothing as long as some have not said.
    fn foreign(&self) -> Option<String> {
        let reasons = self.dialled.iter().filter_map(|(peer, why)| Some(format!("{peer}: {}", why.as_deref()?)));
        let reasons: Vec<String> = reasons.collect();
        let all = !self.greeted && self.all > 0 && reasons.len() == self.all;
        all.then(|| {
            format!(
                "every peer refuses this node as a stranger ({}): is its secret, or its cluster, another one?",
                reasons.join("; ")
            )
        })
    }

    fn is_over(&self) -> bool {
        self.greeted || self.dialled.len() == self.all
    }
}

impl Meeting {
    pub(super) fn new(all: usize) -> Meeting {
        Meeting(watch::Sender::new(Peers { dialled: BTreeMap::new(), all, greeted: false }))
    }

    /// A peer and this node have proved to each other who they are.
    pub(super) fn greeted(&self) {
        self.0.send_if_modified(|peers| !std::mem::replace(&mut peers.greeted, true));
    }

    /// A peer was dialled in vain.
    pub(super) fn missed(&self, peer: NodeId, why_foreign: Option<String>) {
        self.0.send_if_modified(|peers| {
            !peers.greeted && peers.dialled.insert(peer, why_foreign.clone()) != Some(why_foreign)
        });
    }

    /// Returns once a peer has greeted, or each was dialled, or a moment is over.
    ///
    /// # Errors
    /// All of them refuse this node as a stranger.
    pub async fn introduced(&self) -> Result<(), String> {
        let _ = timeout(PATIENCE, self.0.subscribe().wait_for(Peers::is_over)).await;
        self.0.borrow().foreign().map_or(Ok(()), Err)
    }

    /// Returns if all of several peers come to refuse this node as a stranger, though none was there when it started. One
    /// alone does not end a node that serves: it may be the stranger itself.
    pub async fn foreign(&self) -> String {
        let mut told = self.0.subscribe();
        loop {
            let why = {
                let peers = told.borrow_and_update();
                peers.foreign().filter(|_| peers.all > 1)
            };
            if let Some(why) = why {
                return why;
            }
            if told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: [NodeId; 2] = [NodeId::Broker(2), NodeId::Broker(3)];

    fn differs() -> Option<String> {
        Some("the secrets differ".to_owned())
    }

    #[tokio::test]
    async fn a_stranger_to_all_is_told_so() {
        let meeting = Meeting::new(2);
        PEERS.into_iter().for_each(|peer| meeting.missed(peer, differs()));
        let why = meeting.introduced().await.unwrap_err();
        assert_eq!(
            why,
            "every peer refuses this node as a stranger (broker-2: the secrets differ; broker-3: the secrets differ): is \
             its secret, or its cluster, another one?"
        );
        assert_eq!(meeting.foreign().await, why);
    }

    #[tokio::test]
    async fn who_was_greeted_or_has_a_peer_that_is_away_is_no_stranger() {
        assert_eq!(Meeting::new(0).introduced().await, Ok(()), "who has no peers asks nobody");
        let meeting = Meeting::new(2);
        meeting.missed(PEERS[0], differs());
        meeting.missed(PEERS[1], None);
        assert_eq!(meeting.introduced().await, Ok(()), "the other stranger may be broker-2");
        meeting.greeted();
        PEERS.into_iter().for_each(|peer| meeting.missed(peer, differs()));
        assert_eq!(meeting.introduced().await, Ok(()));
    }

    #[tokio::test]
    async fn one_peer_alone_ends_nobody_that_serves() {
        let meeting = Meeting::new(1);
        meeting.missed(PEERS[0], differs());
        assert!(meeting.introduced().await.is_err(), "at the start it is believed");
        assert!(timeout(Duration::ZERO, meeting.foreign()).await.is_err(), "later it is not");
    }
}
