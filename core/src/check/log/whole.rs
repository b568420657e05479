//! A log in full: what its disk holds, where its broker says it ends and what its epoch cache says, against all that was
//! ever written to it. Too dear for every step; [`super::super::Checks::compare`] asks for it now and then.

use super::*;
use crate::record::batch::Batch as OnDisk;
use crate::record::epoch_cache::EpochCache;
use crate::record::offset::Offset;
use bytes::{Buf, Bytes};

/// A log as its broker has it.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    pub topic_id: TopicId,
    pub start: i64,
    pub end: i64,
    pub epochs: &'a EpochCache,
}

/// Gives the bytes of whole batches from an offset up to another, as many as it likes but at least one.
pub type Read<'a> = &'a dyn Fn(i64, i64) -> Result<Bytes, String>;

impl Logs {
    /// Compares a replica with its ghost. True if there is one.
    pub fn compare_held(
        &mut self,
        id: BrokerId,
        partition: &TopicPartition,
        held: Held<'_>,
        read: Read<'_>,
        find: &mut Findings,
    ) -> bool {
        let Some((ghost, mut replica)) = self.replica(id, partition) else { return false };
        let same = ghost.topic_id == held.topic_id;
        if same {
            replica.advance(&ghost.committed);
            let of = Of { ghost, replica: &replica, id, partition };
            of.compare_end(held, find);
            of.compare_disk(held, read, find);
        }
        ghost.replicas.insert(id, replica);
        same
    }
}

/// One replica of one partition.
struct Of<'a> {
    ghost: &'a Ghost,
    replica: &'a Replica,
    id: BrokerId,
    partition: &'a TopicPartition,
}

impl Of<'_> {
    /// From here on nothing is known of what the disk should hold.
    fn known_upto(&self, end: i64) -> i64 {
        self.ghost.torn.map_or(end, |torn| torn.min(end))
    }

    fn compare_end(&self, held: Held<'_>, find: &mut Findings) {
        let Of { ghost, replica, id, partition } = self;
        let forgotten = replica.agreed > 0 && ghost.committed.get(replica.agreed - 1).is_none();
        let end = replica.end(&ghost.committed);
        if end != held.end && !forgotten && self.known_upto(end) == end {
            find.fire("LOG-10", || {
                format!(
                    "broker {id} says that {partition} ends at {}, and what was written to it ends at {end}",
                    held.end
                )
            });
        }
    }

    /// Every batch on the disk, one after the other, is the one that was written there.
    fn compare_disk(&self, held: Held<'_>, read: Read<'_>, find: &mut Findings) {
        let Of { ghost, replica, id, partition } = self;
        let from = held.start.max(ghost.forgotten_below());
        let mut at = from;
        let upto = self.known_upto(held.end);
        let agreed = ghost.committed.partition_point(|batch| batch.base < from);
        let agreed = ghost.committed.iter_from(agreed).take(replica.agreed.saturating_sub(agreed));
        let mut written = agreed.chain(&replica.tail).skip_while(|batch| batch.base < from);
        while at < upto {
            let next = match read(at, upto).and_then(|bytes| next_batches(bytes, at)) {
                Ok(batches) => batches,
                Err(why) => {
                    return find
                        .fire("LOG-10", || format!("broker {id} cannot read {partition} from offset {at} on: {why}"));
                }
            };
            for batch in next.into_iter().filter(|batch| batch.header.base.0 >= from) {
                let (base, last, epoch) = (batch.header.base.0, batch.header.last().0, batch.header.epoch.0);
                if last >= upto && upto < held.end {
                    return;
                }
                let wanted = written.next();
                let is_it = |wanted: &Batch| {
                    (wanted.base, wanted.last, wanted.epoch, wanted.crc) == (base, last, epoch, batch.header.crc)
                };
                if !wanted.is_some_and(is_it) {
                    find.fire("LOG-10", || {
                        format!(
                            "broker {id} holds offsets {base} to {last} of epoch {epoch} of {partition} on its disk, where this was written: {}",
                            or_none(wanted)
                        )
                    });
                }
                let cached = held.epochs.epoch_at(Offset(base));
                if cached.map(|cached| cached.0) != Some(epoch) {
                    find.fire("LOG-5", || {
                        format!(
                            "broker {id}: offset {base} of {partition} is of epoch {epoch}, its epoch cache says {}",
                            or_none(cached)
                        )
                    });
                }
                at = last + 1;
            }
        }
    }
}

/// The whole batches of `bytes`, each with its checksum verified; at least one that reaches to `at` or beyond.
fn next_batches(mut bytes: Bytes, at: i64) -> Result<Vec<OnDisk>, String> {
    let mut batches: Vec<OnDisk> = Vec::new();
    while !bytes.is_empty() {
        let batch = OnDisk::take(&bytes).map_err(|bad| bad.to_string())?;
        batch.verify().map_err(|bad| bad.to_string())?;
        bytes.advance(batch.bytes.len());
        batches.push(batch);
    }
    let reaches = batches.last().is_some_and(|batch| batch.header.base.0 >= at);
    if reaches { Ok(batches) } else { Err("there is nothing".to_owned()) }
}
