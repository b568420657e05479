//! Everything that has a socket: clients over TCP, the node's own dials to keepers, and the mesh over WebSockets.
//!
//! A client's connection, from the outside in: `listener` takes it in and may close it, `conn` serves it, `frames` cuts
//! its bytes, `kafka` and `keeper` say what they mean. Answers come back by its `outbox`.

mod conn;
pub mod dial;
pub mod doors;
mod frames;
mod gate;
pub mod kafka;
pub mod keeper;
mod listener;
pub mod mesh;
pub mod outbox;
mod vitals;

use std::time::Duration;

/// What strangers may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame that is read; a longer one closes the connection.
    pub frame: u32,
    /// Connections at once; one more is closed at once, the idle longest first.
    pub connections: usize,
    /// Requests of one connection that may wait for an answer; more are not read until some are answered.
    pub requests: usize,
    /// A connection that has not proved within this time to be a client's is closed: it has asked nothing that makes
    /// sense, or has no session.
    pub first: Duration,
    /// A client that waits for nothing and says nothing for so long is closed. `None`: its session decides.
    pub idle: Option<Duration>,
}
