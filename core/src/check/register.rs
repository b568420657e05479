//! The register of invariants: name, sentence, source. `ZAB-n`, `LOG-n` and so on; protocol.md D says them at length.

/// One thing that must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    pub name: &'static str,
    pub sentence: &'static str,
    /// The paper, KIP or JIRA it comes from.
    pub source: &'static str,
}

pub const INVARIANTS: &[Invariant] = &[];
