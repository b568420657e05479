//! Every intention of a person as a value. They come from buttons and keys, and are applied in one place, `app.rs`;
//! those that touch the cluster become actions of the scenario.

use glasshouse_core::id::{NodeId, TopicPartition};
use glasshouse_core::time::Instant;

#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    Time(TimeIntent),
    Select(Option<Subject>),
    /// Takes a stone from the rail (or drops it); the next click on a target throws it.
    Arm(Option<Stone>),
    Throw {
        stone: Stone,
        target: Target,
    },
    /// A click on something of the stage: throws the armed stone, or selects.
    Touch(Subject),
    ShowTable(bool),
    ShowTab(Tab),
    TurnTheme,
    ShowKeys(bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TimeIntent {
    TogglePlay,
    Step,
    StepBack,
    Speed(usize),
    Faster,
    Slower,
    /// Back to the newest moment, and on from there.
    Live,
    Seek(Instant),
    /// A share of a second back or ahead, in simulated milliseconds.
    Scrub(i64),
    /// To the next event that the story tells.
    NextEvent,
}

/// What can be selected.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    Node(NodeId),
    Link(NodeId, NodeId),
    Replica(NodeId, TopicPartition),
    Message(u64),
}

/// What a person can throw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stone {
    Kill,
    Restart,
    Pause,
    Cut,
    Heal,
}

/// What a stone can hit. A cut node is one whose links are all cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Node(NodeId),
    Link(NodeId, NodeId),
}

/// The panels of a narrow page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Story,
    Promises,
    Selected,
    Break,
}

impl Stone {
    pub const AT_MACHINES: [Stone; 3] = [Stone::Kill, Stone::Restart, Stone::Pause];
    pub const AT_LINKS: [Stone; 2] = [Stone::Cut, Stone::Heal];

    pub fn name(self) -> &'static str {
        match self {
            Stone::Kill => "Kill",
            Stone::Restart => "Restart",
            Stone::Pause => "Pause",
            Stone::Cut => "Cut",
            Stone::Heal => "Heal",
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Stone::Kill => "K",
            Stone::Restart => "R",
            Stone::Pause => "P",
            Stone::Cut => "X",
            Stone::Heal => "H",
        }
    }

    pub fn icon(self) -> &'static str {
        match self {
            Stone::Kill => "kill",
            Stone::Restart => "restart",
            Stone::Pause => "pause",
            Stone::Cut => "cut",
            Stone::Heal => "heal",
        }
    }

    pub fn from_key(key: &str) -> Option<Stone> {
        Stone::AT_MACHINES.into_iter().chain(Stone::AT_LINKS).find(|stone| stone.key().eq_ignore_ascii_case(key))
    }
}

impl Subject {
    pub fn is_node(&self, node: NodeId) -> bool {
        *self == Subject::Node(node)
    }

    pub fn is_link(&self, a: NodeId, b: NodeId) -> bool {
        *self == Subject::Link(a, b) || *self == Subject::Link(b, a)
    }

    /// What a stone thrown at it hits; a replica stands for its broker, a message for nothing.
    pub fn target(&self) -> Option<Target> {
        match self {
            Subject::Node(node) | Subject::Replica(node, _) => Some(Target::Node(*node)),
            Subject::Link(a, b) => Some(Target::Link(*a, *b)),
            Subject::Message(_) => None,
        }
    }
}
