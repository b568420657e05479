//! Kafka's client and inter-broker vocabulary: every request and response we speak, as values. No frames, no meaning.
//!
//! Each message is stated once, in the table of [`table`], from which its struct, reading and writing come. To add an
//! API: its two messages in a file here, one line in `apis!` below. Versions are those of a Kafka 3.9 broker in
//! ZooKeeper mode. What names something in the cluster (topics, hosts, racks) is an `Arc<str>`, other text a `String`.

pub mod table;

mod api;
mod cluster;
mod configs;
mod control;
mod describe;
mod error;
mod fetch;
mod isr;
mod metadata;
mod offsets;
mod produce;
mod topics;

pub use api::{ApiKey, Request, Response};
pub use cluster::*;
pub use configs::*;
pub use control::*;
pub use error::ErrorCode;
pub use fetch::*;
pub use isr::*;
pub use metadata::*;
pub use offsets::*;
pub use produce::*;
pub use table::Tags;
pub use topics::*;
