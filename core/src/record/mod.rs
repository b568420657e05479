//! The broker's data model: offsets, batches, leader epochs, producer state. No protocol, no files.

pub mod batch;
pub mod epoch_cache;
pub mod offset;
pub mod producer;
