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
        NotRegistered { .. } | SessionLost { .. } | IsrShrunk { .. } | Truncated { .. } | LogCut { .. } => {
            Weight::Warning
        }
    }
}

fn of_controller(note: &ControllerNote) -> Weight {
    match note {
        ControllerNote::UncleanElection { .. } | ControllerNote::OfflinePartition { .. } => Weight::Warning,
        ControllerNote::ProducerIds { .. } | ControllerNote::IsrChanged { .. } => Weight::Chatty,
        _ => Weight::Notable,
    }
}
