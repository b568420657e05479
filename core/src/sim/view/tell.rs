//! Which notes are worth a line of the story, and how a person's acts are called. Knows no state.

use crate::id::NodeId;
use crate::note::broker::BrokerNote;
use crate::note::client::ClientNote;
use crate::note::controller::ControllerNote;
use crate::note::keeper::KeeperNote;
use crate::note::zab::{SyncKind, ZabNote};
use crate::sim::scenario::Action;
use crate::time::Span;
use crate::view::{Act, StoryKind};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It happens all the time: only the newest few are kept.
    Chatter,
    Plain,
    /// It changed a leader, an ISR, a log or a promise.
    Turning,
}

use Weight::{Chatter, Plain, Turning};

type Worth = Option<(Weight, StoryKind)>;

/// `6.0 s`.
pub fn seconds(span: Span) -> String {
    let tenths = span.as_millis() / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

pub fn zab(note: &ZabNote) -> Worth {
    match note {
        ZabNote::SyncChosen { sync: SyncKind::Trunc | SyncKind::Snap, .. } => Some((Plain, StoryKind::Ensemble)),
        ZabNote::UpToDate { .. } | ZabNote::LearnerDropped { .. } | ZabNote::Restored { .. } => {
            Some((Plain, StoryKind::Ensemble))
        }
        ZabNote::Truncated { .. } => Some((Turning, StoryKind::Ensemble)),
        ZabNote::Looking { .. }
        | ZabNote::VotedFor { .. }
        | ZabNote::Elected { .. }
        | ZabNote::EpochAccepted { .. }
        | ZabNote::SyncChosen { .. }
        | ZabNote::Joined { .. }
        | ZabNote::Established { .. }
        | ZabNote::Proposed { .. }
        | ZabNote::Committed { .. }
        | ZabNote::SteppedDown { .. } => None,
    }
}

pub fn keeper(note: &KeeperNote) -> Worth {
    match note {
        KeeperNote::SessionRefused { .. } => Some((Plain, StoryKind::Session)),
        KeeperNote::SnapshotTaken { .. } => Some((Plain, StoryKind::Ensemble)),
        KeeperNote::TreeDiverged { .. } => Some((Turning, StoryKind::Violation)),
        KeeperNote::Serving { .. }
        | KeeperNote::StoppedServing { .. }
        | KeeperNote::SessionCreated { .. }
        | KeeperNote::SessionResumed { .. }
        | KeeperNote::SessionExpired { .. }
        | KeeperNote::SessionMoved { .. }
        | KeeperNote::SessionClosed { .. }
        | KeeperNote::WriteRefused { .. }
        | KeeperNote::WatchFired { .. }
        | KeeperNote::SnapshotBegun { .. } => None,
    }
}

pub fn broker(note: &BrokerNote) -> Worth {
    match note {
        BrokerNote::StaleRegistration { .. }
        | BrokerNote::NotRegistered { .. }
        | BrokerNote::SessionLost { .. }
        | BrokerNote::ShuttingDown { .. }
        | BrokerNote::Stopped => Some((Plain, StoryKind::Session)),
        BrokerNote::ReplicaStopped { deleted: true, .. }
        | BrokerNote::LogCut { .. }
        | BrokerNote::ReplicaDamaged { .. }
        | BrokerNote::DamageCut { .. }
        | BrokerNote::Divergence { .. }
        | BrokerNote::Retained { .. } => Some((Plain, StoryKind::Log)),
        BrokerNote::FencedControl { .. } => Some((Plain, StoryKind::Leadership)),
        BrokerNote::NotEnoughReplicas { .. } | BrokerNote::DuplicateBatch { .. } => Some((Chatter, StoryKind::Client)),
        _ => None,
    }
}

pub fn controller(note: &ControllerNote) -> Worth {
    match note {
        ControllerNote::Resigned { .. } | ControllerNote::Fenced { .. } => Some((Turning, StoryKind::Leadership)),
        ControllerNote::BrokerUp { .. }
        | ControllerNote::BrokerBounced { .. }
        | ControllerNote::ControlledShutdown { .. } => Some((Plain, StoryKind::Session)),
        ControllerNote::ReassignmentStarted { .. }
        | ControllerNote::ReassignmentFinished { .. }
        | ControllerNote::TopicCreated { .. }
        | ControllerNote::TopicDeleted { .. } => Some((Plain, StoryKind::Leadership)),
        _ => None,
    }
}

pub fn client(note: &ClientNote) -> Worth {
    match note {
        ClientNote::Acknowledged { .. }
        | ClientNote::Refused { .. }
        | ClientNote::Read { .. }
        | ClientNote::Wrote { .. } => Some((Chatter, StoryKind::Client)),
        ClientNote::GaveUp { .. } | ClientNote::SessionLost { .. } | ClientNote::WriteUnknown { .. } => {
            Some((Plain, StoryKind::Client))
        }
        ClientNote::Reset { .. } => Some((Turning, StoryKind::Client)),
        ClientNote::Produces { .. }
        | ClientNote::EndTold { .. }
        | ClientNote::Administered { .. }
        | ClientNote::SessionOpened { .. }
        | ClientNote::Saw { .. }
        | ClientNote::Found { .. }
        | ClientNote::Listed { .. }
        | ClientNote::SawAcl { .. }
        | ClientNote::Synced { .. }
        | ClientNote::MultiAnswered { .. }
        | ClientNote::Watched { .. } => None,
    }
}

/// A person's act: its kind, its words, and the node it was done to. Commands to clients are no trouble, so no act.
pub fn act(action: &Action, name: impl Fn(NodeId) -> String) -> Option<(Act, String, Option<NodeId>)> {
    let one = |act, verb: &str, node: NodeId| (act, format!("You {verb} {}", name(node)), Some(node));
    let way = |act, verb: &str, from: NodeId, to: NodeId, rest: &str| {
        (act, format!("You {verb} the way from {} to {}{rest}", name(from), name(to)), None)
    };
    Some(match action {
        Action::Kill(node) => one(Act::Kill, "killed", *node),
        Action::PowerOff(node) => one(Act::PowerOff, "cut the power of", *node),
        Action::PowerOffAll => (Act::PowerOff, "You cut the power of every machine".to_owned(), None),
        Action::Restart(node) => one(Act::Restart, "started", *node),
        Action::RestartAll => (Act::Restart, "You started every machine".to_owned(), None),
        Action::Wipe(node) => one(Act::Disk, "replaced the disk of", *node),
        Action::Pause(node) => one(Act::Pause, "paused", *node),
        Action::Resume(node) => (Act::Resume, format!("You let {} go on", name(*node)), Some(*node)),
        Action::Shutdown(node) => one(Act::Kill, "asked to stop in order", *node),
        Action::Cut { from, to } => way(Act::Cut, "cut", *from, *to, ""),
        Action::Stall { from, to } => way(Act::Stall, "stalled", *from, *to, ""),
        Action::Slow { from, to, by } => way(Act::Slow, "slowed", *from, *to, &format!(" by {by}")),
        Action::Heal { from, to } => way(Act::Heal, "healed", *from, *to, ""),
        Action::HealAll => (Act::Heal, "You healed every link".to_owned(), None),
        Action::Break { a, b } => {
            (Act::Other, format!("You broke the connections of {} and {}", name(*a), name(*b)), None)
        }
        Action::Drift { node, ppm } => {
            (Act::Clock, format!("You made the clock of {} run {ppm} ppm fast", name(*node)), Some(*node))
        }
        Action::Jump { node, millis } => {
            (Act::Clock, format!("You set the clock of {} {millis} ms ahead", name(*node)), Some(*node))
        }
        Action::SlowDisk { node, by } => {
            (Act::Disk, format!("You slowed the disk of {} by {by}", name(*node)), Some(*node))
        }
        Action::FullDisk(node) => one(Act::Disk, "filled the disk of", *node),
        Action::LyingDisk(node) => one(Act::Disk, "made a liar of the disk of", *node),
        Action::GoodDisk(node) => one(Act::Disk, "repaired the disk of", *node),
        Action::BitRot(node) => one(Act::Disk, "flipped a bit on the disk of", *node),
        Action::LoseReply { server, client } => {
            (Act::Other, format!("You take away the next answer of {} to {}", name(*server), name(*client)), None)
        }
        Action::DelayReply { server, client, by } => {
            (Act::Other, format!("You hold the answers of {} to {} for {by}", name(*server), name(*client)), None)
        }
        Action::FailReply { server, client, .. } => (
            Act::Other,
            format!("You turn the next answer of {} to {} into an error", name(*server), name(*client)),
            None,
        ),
        Action::Ask { .. } => return None,
    })
}

/// Several directions of one act, in one sentence: a link, or everything around one node.
pub fn ways(act: Act, ways: &[(NodeId, NodeId)], name: impl Fn(NodeId) -> String) -> Option<String> {
    let (first, rest) = ways.split_first()?;
    let verb = if act == Act::Cut { "cut" } else { "healed" };
    match rest {
        [] => None,
        [back] if *back == (first.1, first.0) => {
            Some(format!("You {verb} the link between {} and {}", name(first.0), name(first.1)))
        }
        _ => {
            let centre =
                [first.0, first.1].into_iter().find(|node| rest.iter().all(|(a, b)| a == node || b == node))?;
            let off = if act == Act::Cut { "off " } else { "every link of " };
            Some(format!("You {verb} {off}{}", name(centre)))
        }
    }
}
