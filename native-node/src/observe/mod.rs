//! What a node tells of itself: its notes become the log and the counters. Influences nothing.

pub mod recorder;

use crate::host::Ended;
use glasshouse_core::nodes::Node;
use glasshouse_core::note::Note;

/// Hears what the machine tells.
#[derive(Debug, Default)]
pub struct Observer {}

impl Observer {
    /// After each step: takes the notes away.
    pub fn told(&mut self, _node: &Node, notes: &mut Vec<Note>) {
        for note in notes.drain(..) {
            tracing::info!("{note}");
        }
    }

    pub fn ended(&mut self, ended: &Ended) {
        tracing::info!("{ended:?}");
    }
}
