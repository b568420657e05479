//! Records a node's inputs, so that the same machine can be run through them again.

use glasshouse_core::node::Input;
use glasshouse_core::time::Now;

/// The recording of one boot.
#[derive(Debug)]
pub struct Recorder {}

impl Recorder {
    pub fn record(&mut self, _now: Now, _input: &Input) {}
}
