//! The listeners and dials over loopback sockets: at one end a test that speaks bytes, at the other one that stands in
//! for a node's host and takes from its inbox. No machine runs here.

mod dial;
mod host;
mod hostile;
mod kafka;
mod keeper;
