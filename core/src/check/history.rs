//! What clients were told, against what there is (protocol.md D.1-17 to -19, D.2-8 to -10, -15).
//!
//! Producers: what was acknowledged is where they were told. Consumers: nobody sees what is not committed, and what was
//! seen never changes. ZooKeeper's clients: writes and reads agree with the one order of transactions.

mod asked;
mod readers;

pub use asked::Owed;

use super::log::{Batch, Ghost, Logs};
use super::{Findings, or_none};
use crate::id::{SessionId, TopicPartition, Zxid};
use crate::note::client::ClientNote;
use crate::ordered::OrdMap;
use crate::time::Instant;
use crate::znode::acl::perms;
use crate::znode::{Txn, TxnHeader};
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

/// Versions of one znode that are remembered.
const VERSIONS: usize = 64;
/// Znodes below [`ROOT`] that are remembered.
const NODES: usize = 50_000;
/// Where the simulated clients write.
const ROOT: &str = "/app/";

/// One state of a znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    zxid: Zxid,
    /// −1 where it is gone.
    version: i32,
    data: Option<u64>,
    /// When it was committed.
    at: Instant,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&state(self.version, self.data, self.zxid))
    }
}

/// A znode's state as a sentence has it.
fn state(version: i32, data: Option<u64>, zxid: Zxid) -> String {
    format!("version {version}, value {}, written at {zxid}", or_none(data))
}

/// How far the sequences of one partition's committed log were followed.
#[derive(Clone, Debug, Default)]
struct Sequences {
    upto: usize,
    last: OrdMap<i64, Last>,
}

/// The last batch of one producer.
#[derive(Clone, Copy, Debug)]
struct Last {
    epoch: i16,
    /// Of its last record.
    sequence: i32,
    /// What its first record holds: a producer numbers all it makes, whatever its epoch.
    first: Option<u64>,
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} up to sequence {}, value {}", self.epoch, self.sequence, or_none(self.first))
    }
}

/// What clients were told, as far as it can still be contradicted.
#[derive(Clone, Debug, Default)]
pub struct Histories {
    sequences: OrdMap<TopicPartition, Sequences>,
    /// Acknowledged by a leader alone, and not yet committed: base offset to the first record's value.
    weak: OrdMap<TopicPartition, OrdMap<i64, u64>>,
    nodes: Arc<OrdMap<Arc<str>, Arc<Vec<Version>>>>,
    ephemerals: OrdMap<SessionId, Vec<Arc<str>>>,
    /// The last zxid each session saw.
    seen: OrdMap<SessionId, Zxid>,
    asked: asked::Asked,
    readers: readers::Readers,
}

impl Histories {
    // Kafka.

    /// The committed log of a partition grew, or was given up from somewhere on.
    pub fn on_committed_log(&mut self, partition: &TopicPartition, ghost: &Ghost, find: &mut Findings) {
        let sequences = match self.sequences.get_mut(partition) {
            Some(known) => known,
            None => self.sequences.entry(partition.clone()).or_default(),
        };
        let log = ghost.committed();
        if sequences.upto > log.len() {
            // Given up: what was followed no longer counts.
            *sequences = Sequences { upto: log.len(), last: OrdMap::new() };
        }
        for batch in log.iter_from(sequences.upto) {
            if batch.producer >= 0 {
                follow(&mut sequences.last, batch, partition, ghost, find);
            }
            if let Some(weak) = self.weak.get_mut(partition) {
                while let Some(entry) = weak.first_entry().filter(|entry| *entry.key() <= batch.base) {
                    let (base, first) = entry.remove_entry();
                    if batch.base != base || batch.first.is_some_and(|held| held != first) {
                        find.allow("HIST-1", || {
                            format!(
                                "{partition} lost the write at {base}, which only its leader had acknowledged (acks=1)"
                            )
                        });
                    }
                }
            }
        }
        sequences.upto = log.len();
    }

    /// A consumer asks where these partitions end.
    pub fn on_ends_asked(&mut self, partitions: impl Iterator<Item = TopicPartition>, logs: &Logs, find: &Findings) {
        for partition in partitions {
            if let Some(ghost) = logs.ghost(&partition) {
                self.readers.on_end_asked(&partition, ghost, find);
            }
        }
    }

    pub fn on_client(&mut self, note: &ClientNote, logs: &Logs, find: &mut Findings) {
        match note {
            ClientNote::Acknowledged { partition, base, records, first, acks } => {
                if let Some(ghost) = logs.ghost(partition) {
                    self.on_acknowledged(partition, base.0, *records, *first, *acks, ghost, find);
                }
            }
            ClientNote::Read { partition, base, records, first, high_watermark } => {
                if let Some(ghost) = logs.ghost(partition) {
                    let read = readers::Piece { base: base.0, records: *records, first: *first };
                    self.readers.on_read(partition, read, high_watermark.0, ghost, find);
                }
            }
            ClientNote::Reset { partition, .. } => self.readers.on_place_lost(partition, find),
            ClientNote::EndTold { partition, end, .. } => {
                if let Some(ghost) = logs.ghost(partition) {
                    self.readers.on_end(partition, end.0, ghost, find);
                }
            }
            ClientNote::SessionOpened { session } => {
                self.seen.insert(*session, Zxid::ZERO);
            }
            ClientNote::SessionLost { session } => {
                self.seen.remove(session);
            }
            ClientNote::Wrote { session, path, data, version, zxid } => {
                self.see(*session, *zxid, find);
                self.on_wrote(*session, path, *data, *version, *zxid, find);
            }
            ClientNote::Saw { session, path, data, version, modified, seen, .. } => {
                self.see(*session, *seen, find);
                self.on_saw(*session, path, Some(*data), *version, *modified, *seen, find);
            }
            ClientNote::Found { session, path, version, modified, seen, .. } => {
                self.see(*session, *seen, find);
                self.on_saw(*session, path, None, *version, *modified, *seen, find);
            }
            ClientNote::Listed { session, path, names, seen, .. } => {
                self.see(*session, *seen, find);
                self.on_listed(*session, path, names, *seen, find);
            }
            ClientNote::SawAcl { session, path, acl, version, seen } => {
                self.see(*session, *seen, find);
                self.on_saw_acl(*session, path, acl, *version, *seen, find);
            }
            ClientNote::MultiAnswered { session, codes, zxid } => {
                self.see(*session, *zxid, find);
                self.on_multi(*session, codes, *zxid, find);
            }
            ClientNote::Synced { session, zxid } => self.see(*session, *zxid, find),
            ClientNote::Produces { .. }
            | ClientNote::Refused { .. }
            | ClientNote::GaveUp { .. }
            | ClientNote::Administered { .. }
            | ClientNote::WriteUnknown { .. }
            | ClientNote::Watched { .. } => {}
        }
    }

    /// When a znode changed last, as far as that is remembered.
    pub fn changed(&self, path: &str) -> Option<(Zxid, Instant)> {
        self.nodes.get(path)?.last().map(|last| (last.zxid, last.at))
    }

    /// The same of a znode that is there.
    pub fn created(&self, path: &str) -> Option<(Zxid, Instant)> {
        self.nodes.get(path)?.last().filter(|last| last.version >= 0).map(|last| (last.zxid, last.at))
    }

    fn on_acknowledged(
        &mut self,
        partition: &TopicPartition,
        base: i64,
        records: u32,
        first: u64,
        acks: i16,
        ghost: &Ghost,
        find: &mut Findings,
    ) {
        if base < 0 || base < ghost.forgotten_below() {
            return;
        }
        if acks == -1 {
            let there = ghost.committed_at(base);
            let of_before = ghost.earlier().filter_map(|earlier| earlier.committed_at(base));
            // The answer may have been under way while the topic was deleted and made again.
            if there.into_iter().chain(of_before).any(|batch| is_it(batch, records, first)) {
                return;
            }
            match ghost.may_be_gone(base) {
                Some(why) => find.allow("HIST-1", || format!("{partition} lost the acknowledged write at {base}: {why}")),
                None => find.fire("HIST-1", || {
                    let held = or_none(there);
                    format!("value {first} was acknowledged at offset {base} of {partition} by acks=all; committed there: {held}")
                }),
            }
        } else if acks == 1 && base >= ghost.high_watermark() {
            if ghost.holds(base, first) {
                self.weak.entry(partition.clone()).or_default().insert(base, first);
            } else {
                find.allow("HIST-1", || {
                    format!("{partition} lost the write at {base}, which only its leader had acknowledged (acks=1)")
                });
            }
        } else if acks == 1 && ghost.committed_at(base).is_none_or(|batch| !is_it(batch, records, first)) {
            find.allow("HIST-1", || {
                format!("{partition} lost the write at {base}, which only its leader had acknowledged (acks=1)")
            });
        }
    }

    // ZooKeeper.

    fn see(&mut self, session: SessionId, zxid: Zxid, find: &mut Findings) {
        let before = self.seen.entry(session).or_default();
        if zxid < *before {
            let before = *before;
            find.fire("HIST-6", || {
                format!("session {session} is answered at {zxid} after it was answered at {before}")
            });
        }
        *before = (*before).max(zxid);
    }

    fn on_wrote(
        &self,
        session: SessionId,
        path: &Arc<str>,
        data: Option<u64>,
        version: i32,
        zxid: Zxid,
        find: &mut Findings,
    ) {
        let Some(versions) = self.nodes.get(path) else {
            if path.starts_with(ROOT) && self.nodes.len() < NODES {
                find.fire("HIST-5", || {
                    format!("session {session} was told that {path} is written at {zxid}; nothing was")
                });
            }
            return;
        };
        let at = versions.partition_point(|held| held.zxid < zxid);
        if at == 0 && versions.len() >= VERSIONS && versions[0].zxid > zxid {
            return;
        }
        // A multi may write a node more than once.
        let mut here = versions[at..].iter().take_while(|held| held.zxid == zxid);
        if !here.any(|held| held.version == version && held.data == data) {
            let held = versions.get(at);
            find.fire("HIST-5", || {
                let told = state(version, data, zxid);
                format!("session {session} was told of {path}: {told}; it has {}", or_none(held))
            });
        }
    }

    /// `data`: what the node holds, if that was asked.
    fn on_saw(
        &self,
        session: SessionId,
        path: &Arc<str>,
        data: Option<Option<u64>>,
        version: i32,
        modified: Zxid,
        seen: Zxid,
        find: &mut Findings,
    ) {
        if !path.starts_with(ROOT) {
            return;
        }
        let held = match self.nodes.get(path) {
            None => None,
            Some(versions) => match versions.partition_point(|held| held.zxid <= seen).checked_sub(1) {
                None if versions.len() >= VERSIONS => return,
                None => None,
                Some(at) => Some(versions[at]),
            },
        };
        let agrees = match held.filter(|held| held.version >= 0) {
            None => version == -1,
            Some(held) => held.version == version && held.zxid == modified && data.is_none_or(|data| data == held.data),
        };
        if !agrees {
            find.fire("HIST-7", || {
                let read = state(version, data.flatten(), modified);
                format!("session {session} reads {path}: {read}, in the state of {seen}: it is {}", or_none(held))
            });
        }
    }

    /// A transaction was committed at `at`.
    pub fn on_committed(&mut self, at: Instant, header: &TxnHeader, txn: &Txn, find: &mut Findings) {
        match txn {
            Txn::Multi(parts) => {
                self.on_committed_multi(header, parts);
                if !parts.iter().any(|part| matches!(part, Txn::Error(_))) {
                    for part in parts {
                        self.on_committed(at, header, part, find);
                    }
                }
            }
            Txn::Create { path, data, acl, ephemeral, .. } => {
                self.needs_of_parent(header, path.as_str(), perms::CREATE, find);
                self.on_list(path.as_str(), header.zxid, 0, acl);
                if let Some(path) = self.write(at, path.as_str(), header.zxid, 0, data.as_ref())
                    && *ephemeral
                {
                    self.ephemerals.entry(header.session).or_default().push(path);
                }
            }
            Txn::SetData { path, data, version } => {
                self.needs(header, path.as_str(), perms::WRITE, find);
                self.write(at, path.as_str(), header.zxid, *version, data.as_ref());
            }
            Txn::SetAcl { path, acl, version } => {
                self.needs(header, path.as_str(), perms::ADMIN, find);
                self.on_list(path.as_str(), header.zxid, *version, acl);
            }
            Txn::Delete { path } => {
                self.needs_of_parent(header, path.as_str(), perms::DELETE, find);
                self.write(at, path.as_str(), header.zxid, -1, None);
            }
            Txn::DeleteContainer { path } => {
                self.write(at, path.as_str(), header.zxid, -1, None);
            }
            Txn::CloseSession { paths } => {
                for path in paths {
                    self.write(at, path.as_str(), header.zxid, -1, None);
                }
                for path in self.ephemerals.remove(&header.session).unwrap_or_default() {
                    self.forget(at, &path, header.zxid);
                }
            }
            Txn::Reconfig { .. } | Txn::Check { .. } | Txn::CreateSession { .. } | Txn::Error(_) => {}
        }
    }

    fn write(&mut self, at: Instant, path: &str, zxid: Zxid, version: i32, data: Option<&Bytes>) -> Option<Arc<str>> {
        if !path.starts_with(ROOT) {
            return None;
        }
        let data = data.and_then(|data| data.first_chunk::<8>().copied()).map(u64::from_be_bytes);
        let nodes = Arc::make_mut(&mut self.nodes);
        if nodes.len() >= NODES {
            nodes.retain(|_, versions| versions.last().is_some_and(|last| last.version >= 0));
        }
        let path: Arc<str> = match nodes.get_key_value(path) {
            Some((held, _)) => held.clone(),
            None => path.into(),
        };
        let versions = Arc::make_mut(nodes.entry(path.clone()).or_default());
        if versions.len() >= 2 * VERSIONS {
            versions.drain(..VERSIONS);
        }
        versions.push(Version { zxid, version, data, at });
        Some(path)
    }

    /// An ephemeral that its session's end deletes, if it is still there.
    fn forget(&mut self, at: Instant, path: &Arc<str>, zxid: Zxid) {
        let alive = self.nodes.get(path).and_then(|versions| versions.last()).is_some_and(|last| last.version >= 0);
        if alive {
            self.write(at, path, zxid, -1, None);
        }
    }
}

fn is_it(batch: &Batch, records: u32, first: u64) -> bool {
    batch.first.is_none_or(|held| held == first) && batch.records() == i64::from(records)
}

/// HIST-4: sequences of one producer epoch follow each other without gap or repetition, and what a producer made later
/// comes later, also when it began a new epoch with what was not answered in the last.
fn follow(last: &mut OrdMap<i64, Last>, batch: &Batch, partition: &TopicPartition, ghost: &Ghost, find: &mut Findings) {
    let end = (i64::from(batch.sequence) + batch.records() - 1) & i64::from(i32::MAX);
    let now = Last { epoch: batch.producer_epoch, sequence: end as i32, first: batch.first };
    let before = last.insert(batch.producer, now);
    let fits = match before {
        // Its state may have been given up with what the log lost, or what it wrote first is not known any more.
        None => {
            batch.sequence == 0 || ghost.is_reborn() || ghost.begins_late() || ghost.may_be_gone(batch.base).is_some()
        }
        Some(Last { first: Some(first), .. }) if batch.first.is_some_and(|now| now <= first) => false,
        Some(Last { epoch, .. }) if batch.producer_epoch > epoch => batch.sequence == 0,
        Some(Last { epoch, sequence, .. }) => {
            let next = (i64::from(sequence) + 1) & i64::from(i32::MAX);
            batch.producer_epoch == epoch && i64::from(batch.sequence) == next
        }
    };
    if !fits && ghost.may_be_gone(batch.base).is_none() {
        find.fire("HIST-4", || {
            format!(
                "{partition}, offset {}: producer {} epoch {} sequence {}, value {}, follows {}",
                batch.base,
                batch.producer,
                batch.producer_epoch,
                batch.sequence,
                or_none(batch.first),
                or_none(before)
            )
        });
    }
}
