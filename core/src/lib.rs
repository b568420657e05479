//! Glasshouse's core: Kafka and ZooKeeper as deterministic machines, and the laboratory that breaks them.
//!
//! It knows no clock, no socket, no file, no thread, no async and no unordered map. The rooms below are listed in
//! reading order; a file may import from rooms above its own, never from below (checked by `tests/tidy`).
#![forbid(unsafe_code)]

// Foundations.
pub mod codec;
pub mod digest;
pub mod id;
pub mod quorum;
pub mod rng;
pub mod rules;
pub mod time;

// Data without protocol.
pub mod record;
pub mod znode;

// Vocabularies: values, no bytes.
pub mod api;
pub mod machine;
pub mod node;
pub mod note;
pub mod view;

// Machines.
pub mod broker;
pub mod client;
pub mod keeper;
pub mod nodes;
pub mod zab;

// Bytes.
pub mod store;
pub mod wire;

// The laboratory.
pub mod check;
pub mod sim;
