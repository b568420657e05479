//! ZooKeeper's bytes: the client protocol, and what keepers send each other. Frames are without their length.

pub mod quorum;
