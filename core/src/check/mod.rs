//! What must never happen, and what is owed: invariants checked after every entry, incrementally, and at rest in full.
//!
//! Checkers look from outside: at effects, notes and machines' views, never at a host. What they keep beside the machines
//! is ghost state that no node reads. A loss that the settings allow is told as *allowed loss*, never as a pass or a
//! violation: [`Promise`] says which is which.

pub mod register;

pub use register::{INVARIANTS, Invariant};

use crate::id::NodeId;
use crate::machine::Effects;
use crate::node::Effect;
use crate::nodes::Node;
use crate::rules::Rules;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the settings of a world owe its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Promise {
    pub rules: Rules,
    /// Replicas count what is on their disks, not what is in their page caches.
    pub flush: bool,
    /// Each topic's `min.insync.replicas` and whether it allows unclean elections.
    pub topics: BTreeMap<Arc<str>, TopicPromise>,
    pub voters: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopicPromise {
    pub min_isr: u32,
    pub unclean: bool,
}

/// What befell a node, as far as promises depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process ended; its page cache is whole.
    Crash,
    /// Un-synced bytes may be gone.
    PowerLoss,
    DiskReplaced,
    /// Syncs were answered without being done.
    LyingSync,
    BitRot,
    /// It stopped by itself and said why.
    Halt,
    /// It would not start from what its disk holds.
    Refused,
}

/// An invariant that was broken: which, when, where, and how one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// Its stable name, such as `LOG-3`.
    pub invariant: &'static str,
    pub at: Instant,
    /// The number of the entry after which it was seen.
    pub entry: u64,
    pub node: Option<NodeId>,
    pub detail: String,
}

/// A loss that the settings allow: told, and neither a pass nor a violation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedLoss {
    pub invariant: &'static str,
    pub at: Instant,
    /// Which setting or event allows it, and what is gone.
    pub why: String,
}

/// How often something happened; the swarm prints it.
pub type Counts = BTreeMap<&'static str, u64>;

/// Where an observation was made.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub at: Instant,
    pub entry: u64,
    pub node: NodeId,
}

/// Every checker of one world.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    promise: Promise,
    fired: Option<Violation>,
    allowed: Vec<AllowedLoss>,
}

impl Checks {
    pub fn new(promise: Promise) -> Checks {
        Checks { promise, ..Checks::default() }
    }

    /// A node has started; `machine` is what it recovered.
    pub fn booted(&mut self, _seen: Seen, _machine: &Node, _fx: &Effects<Effect>) {}

    /// Something befell a node.
    pub fn befell(&mut self, _seen: Seen, _fault: Fault, _why: &str) {}

    /// A node has taken an input: its effects are not yet performed.
    pub fn stepped(&mut self, _seen: Seen, _machine: &Node, _fx: &Effects<Effect>, _counts: &mut Counts) {}

    /// The world has come to rest: everything healed, everybody up, and time enough.
    pub fn at_rest<'a>(&mut self, _at: Instant, _entry: u64, _machines: impl Iterator<Item = (NodeId, &'a Node)>) {}

    pub fn has_fired(&self) -> bool {
        self.fired.is_some()
    }

    pub fn fired(&self) -> Option<&Violation> {
        self.fired.as_ref()
    }

    pub fn allowed(&self) -> &[AllowedLoss] {
        &self.allowed
    }

    pub fn promise(&self) -> &Promise {
        &self.promise
    }
}
