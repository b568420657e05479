//! The laboratory: a whole cluster under a deterministic simulator.
//!
//! Reading order: [`scenario`] says what is done to a world, [`world`] does it; [`host`], [`network`], [`disk`] and
//! [`clock`] are what nodes live on; [`trace`] is what happened; [`run`], [`swarm`] and [`shrink`] look for trouble.

mod bridge;
pub mod build;
pub mod clock;
pub mod disk;
pub mod explore;
pub mod host;
pub mod network;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod shrink;
pub mod swarm;
pub mod trace;
mod view;
pub mod world;

pub use scenario::Scenario;
pub use world::World;
