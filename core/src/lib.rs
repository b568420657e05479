//! Glasshouse's core: Kafka and ZooKeeper as deterministic machines, and the laboratory that breaks them.
//!
//! It knows no clock, no socket, no file, no thread, no async and no unordered map. The rooms below are listed in
//! reading order; a file may import from rooms above its own, never from below (checked by `tests/tidy`).
#![forbid(unsafe_code)]

// Foundations.
pub mod ordered;
pub mod queue;
pub mod id;
pub mod time;
pub mod rng;
pub mod codec;
pub mod checksum;
pub mod quorum;
pub mod digest;
pub mod rules;

// Data without protocol.
pub mod record;
pub mod znode;

// Vocabularies: values, no bytes.
pub mod api;
pub mod note;
pub mod view;
pub mod machine;
pub mod node;

// Machines.
pub mod zab;
pub mod keeper;
pub mod broker;
pub mod client;
pub mod nodes;

// Bytes.
pub mod wire;
pub mod store;

// The laboratory.
pub mod check;
pub mod sim;
