//! The laboratory: a whole cluster under a deterministic simulator.

pub mod clock;
pub mod disk;
pub mod network;
pub mod scenario;
pub mod schedule;
