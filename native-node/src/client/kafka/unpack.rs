//! The records of a fetched batch, whatever it was compressed with.

use glasshouse_core::record::batch::{Batch, BatchError, Records};

/// Reads them one by one.
///
/// # Errors
/// The codec is not one that is read here.
pub(super) fn records(batch: &Batch) -> Result<Records, BatchError> {
    batch.records()
}
