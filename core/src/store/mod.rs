//! Storage below the machines: formats, framing, checksums, indexes and recovery, over any [`disk::Disk`].
//!
//! File formats are exactly Kafka's and ZooKeeper's, so that Apache's own tools read our files. Machines never see it:
//! they speak `api::storage`.

pub mod disk;
pub mod sync_lane;
