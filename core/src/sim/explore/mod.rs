//! Exhaustive small worlds: every order in which a bounded world can go on, over clones of the real machines.
//!
//! A search is depth-first, remembers the digest of each state it has been in, and checks the invariants on the way;
//! a violation is told with the path that led to it. What a world is and what can happen in it is in the file of that
//! world.

pub mod partition;
mod search;
mod seen;
pub mod zab;

pub use partition::partition;
pub use zab::zab;

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Different states.
    pub states: u64,
    /// Actions taken, also those that led to a state already seen.
    pub transitions: u64,
    /// The longest path without a state seen before.
    pub depth: u32,
    /// Whether nothing is left: the bound on states did not end the search.
    pub exhausted: bool,
    /// The first violation of each invariant.
    pub violations: Vec<Violation>,
}

/// A broken invariant, and how it came to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as `cargo sim --invariants` lists it.
    pub invariant: &'static str,
    pub what: String,
    /// Every action from the beginning.
    pub path: Vec<String>,
}
