//! The cluster as native processes. Around the core's machines it puts what they know nothing of: sockets, disks, clocks.
//!
//! ```text
//!  net: clients over TCP, peers over WebSockets ──▶ inbox ──▶ host: step, perform ──▶ net
//!                                      disk: sync threads ─▶   │
//!                                                              └─▶ disk: files; observe: log, metrics
//! ```
//!
//! One thread runs one node: its host, its connections and its timers, on a runtime of its own; a few others, one to begin
//! with, do nothing but `fdatasync` and what goes with it. No lock guards protocol state, because nobody shares any.
#![forbid(unsafe_code)]
// `eprintln!` panics where standard error cannot be written; `cli::term::complain` does not.
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
mod cure;
pub mod disk;
pub mod host;
pub mod inbox;
mod logging;
pub mod net;
pub mod node;
pub mod observe;
mod perform;
mod shutdown;
pub mod stones;
mod turn;
mod underway;
pub mod up;
