//! Vocabularies: what nodes say to clients, to each other and to their disks, as values. No bytes.

pub mod command;
pub mod kafka;
pub mod keeper;
pub mod peer;
pub mod quorum;
pub mod storage;
