//! Notes as log lines, in the core's own words. What changes who does what is told at `info`, what every message or
//! batch causes at `debug`. Nothing is formatted unless somebody listens at that level.

use crate::host::Ended;
use glasshouse_core::id::NodeId;
use glasshouse_core::note::Note;
use glasshouse_core::note::broker::BrokerNote;
use glasshouse_core::note::controller::ControllerNote;
use glasshouse_core::note::keeper::KeeperNote;
use glasshouse_core::note::zab::ZabNote;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Somebody should look at it.
    Warning,
    /// A turn of events.
    Notable,
    /// One of many.
    Chatty,
}

pub fn tell(me: NodeId, note: &Note) {
    let kind = kind(note);
    match weight(note) {
        Weight::Warning => tracing::warn!(node = %me, kind, "{note}"),
        Weight::Notable => tracing::info!(node = %me, kind, "{note}"),
        Weight::Chatty => tracing::debug!(node = %me, kind, "{note}"),
    }
}

pub fn ended(me: NodeId, ended: &Ended) {
    match ended {
        Ended::InOrder => tracing::info!(node = %me, kind = "host", "{ended}"),
        Ended::Killed => tracing::warn!(node = %me, kind = "host", "{ended}"),
        Ended::Halted(_) => tracing::error!(node = %me, kind = "host", "{ended}"),
    }
}

/// The room that tells it.
fn kind(note: &Note) -> &'static str {
    match note {
        Note::Zab(_) => "zab",
        Note::Keeper(_) => "keeper",
        Note::Broker(_) => "broker",
        Note::Controller(_) => "controller",
        Note::Client(_) => "client",
    }
}

fn weight(note: &Note) -> Weight {
    match note {
        Note::Zab(note) => of_zab(note),
        Note::Keeper(note) => of_keeper(note),
        Note::Broker(note) => of_broker(note),
        Note::Controller(note) => of_controller(note),
        Note::Client(_) => Weight::Chatty,
    }
}

fn of_zab(note: &ZabNote) -> Weight {
    use ZabNote::*;
    match note {
        Proposed { .. } | Committed { .. } | VotedFor { .. } => Weight::Chatty,
        Looking { .. }
        | Elected { .. }
        | EpochAccepted { .. }
        | SyncChosen { .. }
        | Joined { .. }
        | Established { .. }
        | UpToDate { .. }
        | Restored { .. } => Weight::Notable,
        Truncated { .. } | LearnerDropped { .. } | SteppedDown { .. } => Weight::Warning,
    }
}

fn of_keeper(note: &KeeperNote) -> Weight {
    use KeeperNote::*;
    match note {
        SessionCreated { .. }
        | SessionResumed { .. }
        | SessionMoved { .. }
        | SessionClosed { .. }
        | WriteRefused { .. }
        | WatchFired { .. } => Weight::Chatty,
        Serving { .. }
        | StoppedServing { .. }
        | SessionExpired { .. }
        | SessionRefused { .. }
        | SnapshotBegun { .. }
        | SnapshotTaken { .. } => Weight::Notable,
        TreeDiverged { .. } => Weight::Warning,
    }
}

fn of_broker(note: &BrokerNote) -> Weight {
    use BrokerNote::*;
    match note {
        HighWatermark { .. }
        | IsrProposed { .. }
        | NotEnoughReplicas { .. }
        | DuplicateBatch { .. }
        | Acknowledged { .. }
        | Divergence { .. } => Weight::Chatty,
        IdTaken { .. }
        | Registered { .. }
        | StaleRegistration { .. }
        | ShuttingDown { .. }
        | Stopped
        | BecameLeader { .. }
        | BecameFollower { .. }
        | ReplicaStopped { .. }
        | IsrExpanded { .. }
        | IsrRefused { .. }
        | FencedControl { .. }
        | FetchFenced { .. }
        | Rolled { .. }
        | Retained { .. } => Weight::Notable,
        NotRegistered { .. }
        | SessionLost { .. }
        | IsrShrunk { .. }
        | Truncated { .. }
        | LogCut { .. }
        | ReplicaDamaged { .. }
        | DamageCut { .. } => Weight::Warning,
    }
}

fn of_controller(note: &ControllerNote) -> Weight {
    match note {
        ControllerNote::UncleanElection { .. } | ControllerNote::OfflinePartition { .. } => Weight::Warning,
        ControllerNote::ProducerIds { .. } | ControllerNote::IsrChanged { .. } => Weight::Chatty,
        _ => Weight::Notable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::id::{BrokerEpoch, BrokerId, TopicPartition};
    use glasshouse_core::record::offset::Offset;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing::Level;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, notes: &[Note]) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            notes.iter().for_each(|note| tell(NodeId::Broker(1), note));
        });
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn turns_of_events_are_told_and_the_many_only_on_demand() {
        let registered = BrokerNote::Registered { id: BrokerId(1), epoch: BrokerEpoch(9) };
        let moved = BrokerNote::HighWatermark { partition: TopicPartition::new("orders", 0), offset: Offset(4) };
        let notes = [Note::Broker(registered), Note::Broker(moved)];
        let told = logged(Level::INFO, &notes);
        assert_eq!(told.lines().count(), 1, "{told}");
        let words = "is registered as broker 1 with broker epoch 9";
        assert!(told.contains(words) && told.contains("node=broker-1") && told.contains("kind=\"broker\""), "{told}");
        assert!(logged(Level::DEBUG, &notes).contains("moves the HW of orders-0 to 4"));
    }
}
