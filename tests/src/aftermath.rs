//! What a cluster of processes left on its disks once it was stopped in order, and the judgement over what its clients
//! were told: by the core's own histories (`check::afterwards`), and by the [`ledger`](crate::ledger).

use crate::ledger::{self, Log};
use crate::load::book::Told;
use crate::load::kafka::number_of;
use bytes::Bytes;
use glasshouse_core::check::afterwards::Afterwards;
use glasshouse_core::id::{TopicPartition, Zxid};
use glasshouse_core::note::client::ClientNote;
use glasshouse_core::record::batch::{Batch, batches};
use glasshouse_core::store::journal::frame::{Tail, recover_journal};
use glasshouse_core::store::small_file::partition_of;
use glasshouse_core::znode::LoggedTxn;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Aftermath {
    /// Everything the ensemble committed, by zxid.
    pub txns: BTreeMap<Zxid, Bytes>,
    /// The batches of each partition, the same on all of its replicas.
    pub logs: BTreeMap<TopicPartition, Vec<Batch>>,
    /// Where disks disagree with each other or are not whole.
    pub wrongs: Vec<String>,
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<PathBuf> = read.unwrap_or_default();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn bytes(path: &Path) -> Bytes {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

impl Aftermath {
    /// Reads the folder of a cluster that is stopped.
    pub fn read(data: &Path) -> Aftermath {
        let mut found = Aftermath::default();
        let folders = entries(data);
        for folder in folders.iter().filter(|folder| name(folder).starts_with("keeper-")) {
            found.read_keeper(folder);
        }
        found.require_no_gap();
        let mut replicas: BTreeMap<TopicPartition, Vec<(String, Bytes)>> = BTreeMap::new();
        for folder in folders.iter().filter(|folder| name(folder).starts_with("broker-")) {
            for log in entries(folder) {
                if let Some(partition) = partition_of(&name(&log)) {
                    let segments = entries(&log).into_iter().filter(|file| name(file).ends_with(".log"));
                    let whole: Vec<u8> = segments.flat_map(|file| bytes(&file)).collect();
                    replicas.entry(partition).or_default().push((name(folder), whole.into()));
                }
            }
        }
        for (partition, replicas) in replicas {
            found.read_partition(partition, &replicas);
        }
        found
    }

    fn read_keeper(&mut self, folder: &Path) {
        let version = folder.join("version-2");
        for file in entries(&version).into_iter().filter(|file| name(file).starts_with("log.")) {
            let journal = recover_journal(&bytes(&file));
            if journal.tail != Tail::Clean {
                self.wrongs.push(format!("{} is damaged behind {}: {:?}", file.display(), journal.end, journal.tail));
            }
            for frame in journal.frames {
                match self.txns.get(&frame.zxid) {
                    Some(other) if *other != frame.txn => {
                        self.wrongs.push(format!("{} holds another transaction {}", file.display(), frame.zxid));
                    }
                    Some(_) => {}
                    None => drop(self.txns.insert(frame.zxid, frame.txn)),
                }
            }
        }
    }

    /// A leader counts its transactions from 1 on.
    fn require_no_gap(&mut self) {
        let mut before = Zxid::ZERO;
        for zxid in self.txns.keys() {
            let next = if zxid.epoch() == before.epoch() { before.counter() + 1 } else { 1 };
            if zxid.counter() != next {
                self.wrongs.push(format!("transaction {zxid} follows {before}: what is between them lies nowhere"));
            }
            before = *zxid;
        }
    }

    fn read_partition(&mut self, partition: TopicPartition, replicas: &[(String, Bytes)]) {
        let Some((first, log)) = replicas.first() else { return };
        let mut read = Vec::new();
        for batch in batches(log.clone()) {
            match batch {
                Ok(batch) => {
                    if let Err(error) = batch.verify() {
                        self.wrongs.push(format!("{partition} on {first}: {error}"));
                    }
                    read.push(batch);
                }
                Err(error) => self.wrongs.push(format!("{partition} on {first} is damaged: {error}")),
            }
        }
        for pair in read.windows(2) {
            let (before, after) = (pair[0].header.last(), pair[1].header.base);
            if after != before.next() {
                self.wrongs.push(format!("{partition} on {first}: offset {after} follows {before}"));
            }
        }
        // Retention is each replica's own affair: what all of them still hold must be the same.
        for (other, bytes) in &replicas[1..] {
            let shorter = log.len().min(bytes.len());
            if log[log.len() - shorter..] != bytes[bytes.len() - shorter..] {
                let (one, two) = (log.len(), bytes.len());
                self.wrongs.push(format!("{partition} differs: {one} bytes on {first}, {two} on {other}"));
            }
        }
        self.logs.insert(partition, read);
    }

    /// Everything that is wrong: on the disks, or between them and what clients were told.
    pub fn judge(&self, told: &[Told]) -> Vec<String> {
        let mut wrongs = self.wrongs.clone();
        let decode = |(zxid, bytes): (&Zxid, &Bytes)| {
            LoggedTxn::decode(bytes.clone()).map_err(|error| format!("transaction {zxid} cannot be read: {error}"))
        };
        let txns = match self.txns.iter().map(decode).collect::<Result<Vec<_>, _>>() {
            Ok(txns) => txns,
            Err(wrong) => return [wrongs, vec![wrong]].concat(),
        };
        let mut afterwards = Afterwards::new(txns);
        for (partition, batches) in &self.logs {
            if let Err(error) = afterwards.committed(partition, batches) {
                wrongs.push(format!("the records of {partition} cannot be read: {error}"));
            }
        }
        for Told { at, client, note } in told {
            afterwards.told(*at, *client, note);
        }
        wrongs.extend(afterwards.fired().map(|violation| format!("{}: {}", violation.invariant, violation.detail)));
        for (partition, log) in &self.logs {
            let notes = told.iter().map(|told| (told.client, &told.note));
            wrongs.extend(ledger::wrongs(partition, &numbers(log), notes));
        }
        let missing = told.iter().find_map(|told| match &told.note {
            ClientNote::Acknowledged { partition, .. } if !self.logs.contains_key(partition) => Some(partition),
            _ => None,
        });
        wrongs.extend(missing.map(|partition| format!("{partition} was written, and is on no disk")));
        wrongs
    }
}

/// What a log holds, as the ledger counts it.
fn numbers(log: &[Batch]) -> Log {
    let start = log.first().map_or(0, |batch| batch.header.base.0);
    let records = log.iter().filter_map(|batch| batch.records().ok()).flatten().flatten();
    Log { start, numbers: records.map(|record| number_of(record.value.as_ref())).collect() }
}
