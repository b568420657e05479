//! A cluster that ran somewhere else, judged afterwards: what its clients were told meanwhile, against what its disks
//! hold in the end. [`super::history`] judges; this only gives it the one history of each partition and of the ensemble
//! that were committed. Knows nothing of how the cluster ran, so it serves real processes.

use super::history::Histories;
use super::log::{Batch, Ghost, Logs};
use super::{AllowedLoss, Findings, Seen, Violation};
use crate::id::{NodeId, TopicPartition, Zxid};
use crate::note::client::ClientNote;
use crate::record::batch::{self, BatchError};
use crate::time::Instant;
use crate::znode::LoggedTxn;
use std::collections::VecDeque;

/// See the module. First comes what was committed, then what clients were told, each client's notes in its own order.
///
/// Every record counts for itself: a client's note is about one record, whatever batch it travelled in.
#[derive(Clone, Debug, Default)]
pub struct Afterwards {
    logs: Logs,
    histories: Histories,
    find: Findings,
    /// Committed transactions that no note has reached yet, the oldest first.
    coming: VecDeque<LoggedTxn>,
    notes: u64,
}

impl Afterwards {
    /// `txns`: everything the ensemble committed, in order of zxid. Panics if they are not in that order.
    pub fn new(txns: Vec<LoggedTxn>) -> Afterwards {
        for pair in txns.windows(2) {
            let (before, after) = (pair[0].header.zxid, pair[1].header.zxid);
            assert!(before < after, "transaction {after} comes after {before}");
        }
        Afterwards { coming: txns.into(), ..Afterwards::default() }
    }

    /// What a partition holds in the end, all of it committed. Retention may have taken its beginning; nothing is said of
    /// that any more.
    ///
    /// # Errors
    /// A batch whose records cannot be read.
    pub fn committed(&mut self, partition: &TopicPartition, batches: &[batch::Batch]) -> Result<(), BatchError> {
        let mut records = Vec::new();
        for batch in batches {
            let header = &batch.header;
            for (nth, record) in batch.records()?.enumerate() {
                let record = record?;
                let offset = record.offset.0;
                let sequence = (i64::from(header.base_sequence) + nth as i64) & i64::from(i32::MAX);
                records.push(Batch {
                    base: offset,
                    last: offset,
                    epoch: header.epoch.0,
                    crc: header.crc,
                    first: record.value.and_then(|value| value.first_chunk::<8>().copied()).map(u64::from_be_bytes),
                    producer: header.producer.0,
                    producer_epoch: header.producer_epoch.0,
                    sequence: if header.base_sequence < 0 { -1 } else { sequence as i32 },
                });
            }
        }
        let ghost = Ghost::of_committed(records);
        self.histories.on_committed_log(partition, &ghost, &mut self.find);
        self.logs.put(partition.clone(), ghost);
        Ok(())
    }

    /// What a client was told at `at`.
    pub fn told(&mut self, at: Instant, node: NodeId, note: &ClientNote) {
        self.notes += 1;
        self.find.look(Seen { at, entry: self.notes, node });
        let upto = match note {
            ClientNote::Wrote { zxid, .. } => *zxid,
            ClientNote::Saw { seen, .. } => *seen,
            _ => Zxid::ZERO,
        };
        while let Some(next) = self.coming.pop_front_if(|next| next.header.zxid <= upto) {
            self.histories.on_committed(at, &next.header, &next.txn, &mut self.find);
        }
        self.histories.on_client(note, &self.logs, &mut self.find);
    }

    /// The first thing that is wrong, if anything is.
    pub fn fired(&self) -> Option<&Violation> {
        self.find.fired.as_ref()
    }

    /// Losses that the clients' settings allow.
    pub fn allowed(&self) -> &[AllowedLoss] {
        &self.find.allowed
    }
}
