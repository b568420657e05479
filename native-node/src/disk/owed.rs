//! How many bytes were written and are not durable yet. Knows lanes and numbers, no files.

use glasshouse_core::api::storage::Lane;
use std::collections::BTreeMap;

/// Bytes above which a node should not take up what would add many. A file system makes whoever writes wait for what is
/// being synced, and the thread that writes is also the one by which the node's session lives: behind 100 MB a disk that
/// several nodes share keeps it for longer than a second.
const MOST: u64 = 32 << 20;

#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Those that owe something, or are being synced.
    lanes: BTreeMap<Lane, Debt>,
    bytes: u64,
    /// Lanes that are being synced and will be told of.
    syncs: usize,
}

#[derive(Debug, Default)]
struct Debt {
    written: u64,
    /// What the sync makes durable that will be told of.
    syncing: Option<u64>,
}

impl Owed {
    /// Whether much is owed, and something will tell when it is less.
    pub(super) fn is_much(&self) -> bool {
        self.bytes > MOST && self.syncs > 0
    }

    pub(super) fn wrote(&mut self, lane: &Lane, bytes: u64) {
        match self.lanes.get_mut(lane) {
            Some(debt) => debt.written += bytes,
            None if bytes == 0 => {}
            None => drop(self.lanes.insert(lane.clone(), Debt { written: bytes, syncing: None })),
        }
        self.bytes += bytes;
    }

    /// A sync begins that will be told of.
    pub(super) fn began(&mut self, lane: &Lane) {
        let debt = self.lanes.entry(lane.clone()).or_default();
        if debt.syncing.is_none() {
            self.syncs += 1;
        }
        *debt.syncing.get_or_insert(0) += std::mem::take(&mut debt.written);
    }

    /// It is done.
    pub(super) fn ended(&mut self, lane: &Lane) {
        let Some(debt) = self.lanes.get_mut(lane) else { return };
        if let Some(bytes) = debt.syncing.take() {
            self.bytes -= bytes;
            self.syncs -= 1;
        }
        if debt.written == 0 {
            self.lanes.remove(lane);
        }
    }

    /// A thread was given it, and nobody will be told.
    pub(super) fn left(&mut self, lane: &Lane) {
        let Some(debt) = self.lanes.get_mut(lane) else { return };
        self.bytes -= std::mem::take(&mut debt.written);
        if debt.syncing.is_none() {
            self.lanes.remove(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_during_a_sync_is_owed_until_the_next() {
        let (lane, mut owed) = (Lane::Journal, Owed::default());
        owed.wrote(&lane, MOST + 1);
        assert!(!owed.is_much(), "nothing would tell when it is less");
        owed.began(&lane);
        owed.wrote(&lane, 7);
        assert!(owed.is_much());
        owed.ended(&lane);
        assert_eq!((owed.is_much(), owed.bytes, owed.syncs), (false, 7, 0));
        owed.began(&lane);
        owed.wrote(&lane, MOST);
        owed.left(&lane);
        assert_eq!((owed.bytes, owed.syncs), (7, 1));
        owed.ended(&lane);
        assert_eq!((owed.lanes.len(), owed.bytes, owed.syncs), (0, 0, 0));
    }
}
