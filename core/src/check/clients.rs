//! What clients ask and are told, on its way to the checkers.

use super::Checks;
use super::history::Owed;
use super::wiring::Hook;
use crate::api::kafka::{self, LATEST, ListOffsetsRequest};
use crate::api::keeper::{Op, Request as KeeperRequest};
use crate::client::Client;
use crate::client::keeper::KeeperClient;
use crate::id::{NodeId, TopicPartition};
use crate::machine::Effects;
use crate::node::{Effect, RequestBody};
use crate::note::Note;
use crate::note::client::ClientNote;
use crate::znode::Id;
use crate::znode::acl::digest_id;

impl Checks {
    pub(super) fn on_client(&mut self, client: &Client, fx: &Effects<Effect>) {
        for effect in &fx.effects {
            let Effect::Ask { request, .. } = effect else { continue };
            match (&request.body, client) {
                (RequestBody::Keeper(asked), Client::Keeper(client)) => self.on_keeper_asked(client, asked),
                (RequestBody::Kafka(asked), _) => self.cluster.on_asked(&asked.body),
                (RequestBody::Keeper(_), _) => {}
            }
        }
        for note in &fx.notes {
            let Note::Client(note) = note else { continue };
            self.wiring.ran(Hook::ClientTold);
            self.on_watch_note(note);
            self.histories.on_client(note, &self.logs, &mut self.find);
            self.on_keeper_note(note);
        }
        // What is asked in this step is asked after what it was told in it: an answer belongs to the question before.
        for effect in &fx.effects {
            if let Effect::Ask { request, .. } = effect
                && let RequestBody::Kafka(asked) = &request.body
                && let kafka::Request::ListOffsets(asked) = &asked.body
            {
                let Checks { histories, logs, find, .. } = self;
                histories.on_ends_asked(ends_asked(asked), logs, find);
            }
        }
    }

    fn on_keeper_asked(&mut self, client: &KeeperClient, asked: &KeeperRequest) {
        let (Some(node), session) = (self.find.node, client.session()) else { return };
        match (asked, session) {
            (KeeperRequest::Connect(_), _) => self.histories.on_connect(node),
            (KeeperRequest::Op { op: Op::Sync { .. }, .. }, _) => {
                let (epoch, committed) = (self.ensemble.newest_epoch(), self.ensemble.last_committed());
                let owed = match client.keeper() {
                    Some(NodeId::Keeper(keeper)) if self.ensemble.epoch_of(keeper) == epoch => {
                        Some(Owed { keeper, epoch, committed })
                    }
                    _ => None,
                };
                self.histories.on_sync_asked(node, owed);
            }
            (KeeperRequest::Op { op: Op::Auth { credentials, .. }, .. }, Some(session)) => {
                let id = digest_id(&String::from_utf8_lossy(credentials));
                self.histories.on_auth(session, Id::new("digest", &id));
            }
            (
                KeeperRequest::Op {
                    op:
                        op @ (Op::GetData { path, watch: true }
                        | Op::Exists { path, watch: true }
                        | Op::GetChildren { path, watch: true, .. }),
                    ..
                },
                Some(session),
            ) => {
                self.wiring.ran(Hook::WatchAsked);
                self.watches.on_asked(session, path, matches!(op, Op::GetChildren { .. }));
            }
            _ => {}
        }
    }

    /// What a ZooKeeper client is told that needs more than the histories.
    fn on_keeper_note(&mut self, note: &ClientNote) {
        let hook = match note {
            ClientNote::Synced { zxid, .. } => {
                let Checks { histories, ensemble, find, .. } = self;
                let Some(node) = find.node else { return };
                if !histories.on_synced(node, *zxid, |keeper| ensemble.epoch_of(keeper), find) {
                    return;
                }
                Hook::Synced
            }
            ClientNote::MultiAnswered { codes, .. } if codes.iter().all(|code| *code == 0) => Hook::MultiDone,
            ClientNote::MultiAnswered { .. } => Hook::MultiRefused,
            ClientNote::Found { .. } => Hook::Found,
            ClientNote::EndTold { .. } => Hook::EndTold,
            ClientNote::Listed { .. } => Hook::Listed,
            ClientNote::SawAcl { .. } => Hook::AclSeen,
            _ => return,
        };
        self.wiring.ran(hook);
    }

    fn on_watch_note(&mut self, note: &ClientNote) {
        let Checks { watches, find, wiring, .. } = self;
        match note {
            ClientNote::Watched { session, path, event, .. } => {
                watches.on_told(*session, path, *event, find);
                wiring.ran(Hook::WatchTold);
            }
            ClientNote::Listed { session, path, modified, seen, watch, .. } => {
                watches.on_listed(*session, path, *modified, *seen, *watch, find);
                if *watch {
                    wiring.ran(Hook::ChildWatchSet);
                }
            }
            ClientNote::Saw { session, path, version, modified, seen, watch, .. }
            | ClientNote::Found { session, path, version, modified, seen, watch } => {
                watches.on_saw(*session, path, (*version >= 0).then_some(*modified), *seen, *watch, find);
                if *watch {
                    wiring.ran(Hook::WatchSet);
                }
            }
            ClientNote::SessionLost { session } => {
                watches.on_session_over(*session);
                wiring.ran(Hook::SessionOver);
            }
            _ => {}
        }
    }
}

/// The partitions whose ends are asked for.
fn ends_asked(asked: &ListOffsetsRequest) -> impl Iterator<Item = TopicPartition> {
    asked.topics.iter().flat_map(|topic| {
        let wanted = topic.partitions.iter().filter(|wanted| wanted.timestamp == LATEST);
        wanted.map(|wanted| TopicPartition::new(topic.name.clone(), wanted.partition))
    })
}
