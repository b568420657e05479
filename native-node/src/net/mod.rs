//! Everything that has a socket: clients over TCP, the node's own dials to keepers, and the mesh over WebSockets.

pub mod dial;
pub mod kafka;
pub mod keeper;
pub mod mesh;
pub mod outbox;

/// What strangers may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame that is read; a longer one closes the connection.
    pub frame: u32,
    /// Connections at once; one more is closed at once, the idle longest first.
    pub connections: usize,
    /// Requests of one connection that may wait for an answer; more are not read until some are answered.
    pub requests: usize,
    /// A connection that says nothing for so long is closed; for keepers the session decides, once there is one.
    pub idle: std::time::Duration,
}
