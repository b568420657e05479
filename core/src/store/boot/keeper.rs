//! A keeper's start: the newest whole snapshot, the journal above it, the epoch files (protocol.md A.9).

use crate::api::storage::{Cut, KeeperImage, Lane, Refused};
use crate::id::{ZabEpoch, Zxid};
use crate::ordered::sort_by;
use crate::record::offset::Position;
use crate::store::Store;
use crate::store::disk::{Disk, DiskError, FileName};
use crate::store::journal::frame::{FILE_HEADER, Recovered, Tail, recover_journal};
use crate::store::journal::snapshot::{MARKER_NAME, Marker, is_whole};
use crate::store::journal::{Journal, LogFile, log_name, snapshot_name, zxid_of};
use bytes::Bytes;

/// Committed transactions kept at hand for learners that lag a little (ZooKeeper's commitLogCount).
const RECENT: usize = 500;

impl<D: Disk> Store<D> {
    /// Reads a keeper's disk and mends what a crash may have torn.
    ///
    /// # Errors
    /// [`Refused`] when the disk cannot be trusted: a damaged transaction with good ones after it, no whole snapshot
    /// among those there are, an epoch file that is not understood, or epochs that contradict the journal (Z13).
    pub fn boot_keeper(&mut self) -> Result<KeeperImage, Refused> {
        self.syncs.clear();
        self.journal = Journal::default();
        self.journal.roll();
        let mut image = KeeperImage::default();
        self.finish_replacement()?;
        let names: Vec<FileName> = self.disk.list().into_iter().map(|(name, _)| name).collect();
        image.snapshot = self.newest_snapshot(&names, &mut image.cuts)?;
        let base = image.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        for (zxid, txn) in self.read_journal(&names, &mut image.cuts)? {
            if zxid > base { image.txns.push((zxid, txn)) } else { image.recent.push((zxid, txn)) }
        }
        image.recent.drain(..image.recent.len().saturating_sub(RECENT));
        let newest = image.last_zxid().epoch();
        image.current_epoch = self.epoch_file("version-2/currentEpoch")?.unwrap_or(newest);
        image.accepted_epoch = self.epoch_file("version-2/acceptedEpoch")?.unwrap_or(newest.max(image.current_epoch));
        let refuse = |name: &str, why| Err(Refused { file: name.into(), at: None, why });
        // A last transaction newer than currentEpoch is what a crash between the two leaves behind (Z13): the peer
        // knows why it may go on, as long as acceptedEpoch covers the transaction.
        if newest > image.accepted_epoch {
            let why =
                format!("accepted epoch {} is older than that of the last transaction, {newest}", image.accepted_epoch);
            return refuse("version-2/acceptedEpoch", why);
        }
        if image.accepted_epoch < image.current_epoch {
            let (accepted, current) = (image.accepted_epoch, image.current_epoch);
            let why = format!("accepted epoch {accepted} is older than current epoch {current}");
            return refuse("version-2/acceptedEpoch", why);
        }
        self.settle()?;
        Ok(image)
    }

    /// What an operator does about a refusal over epochs (Z13): writes the epoch of the last transaction as current and,
    /// if it is larger, as accepted. Sound because the journal is one order: whoever logged a transaction of an epoch
    /// has logged all that came before it.
    pub fn mend_epochs(&mut self) {
        let last = self.journal.last().epoch();
        let of = |store: &mut Self, name| store.epoch_file(name).ok().flatten().unwrap_or_default();
        let (accepted, current) = (of(self, "version-2/acceptedEpoch"), of(self, "version-2/currentEpoch"));
        self.journal.accepted_epoch(&mut self.disk, accepted.max(current).max(last));
        self.journal.current_epoch(&mut self.disk, current.max(last));
    }

    /// A snapshot that replaces the history before it, cut short by a crash: done to its end, or as if never begun.
    fn finish_replacement(&mut self) -> Result<(), Refused> {
        let Some(text) = self.contents(MARKER_NAME)? else { return Ok(()) };
        let Some(marker) = Marker::parse(&text) else {
            return Err(Refused { file: MARKER_NAME.into(), at: None, why: "it is not understood".to_owned() });
        };
        if self.contents(marker.snapshot())?.is_some_and(|snapshot| marker.is(&snapshot)) {
            for name in &marker.obsolete {
                self.disk.remove(&Lane::Journal, name);
            }
        }
        self.disk.remove(&Lane::Journal, MARKER_NAME);
        Ok(())
    }

    /// The newest whole snapshot. Damaged ones are removed, and said to be.
    fn newest_snapshot(&mut self, names: &[FileName], cuts: &mut Vec<Cut>) -> Result<Option<(Zxid, Bytes)>, Refused> {
        let mut zxids: Vec<Zxid> = names.iter().filter_map(|name| zxid_of(name, "snapshot.")).collect();
        sort_by(&mut zxids, |a, b| b.cmp(a));
        let mut newest = None;
        for zxid in zxids.iter().copied() {
            let name = snapshot_name(zxid);
            let Some(file) = self.contents(&name)? else { continue };
            if is_whole(&file) {
                self.journal.snapshots.insert(zxid);
                newest = newest.or(Some((zxid, file)));
            } else {
                let why = "the snapshot's seal is wrong".to_owned();
                cuts.push(Cut { file: name.as_str().into(), at: None, bytes: file.len() as u64, why });
            }
        }
        if newest.is_none() && !zxids.is_empty() {
            let file = snapshot_name(zxids[0]).into();
            return Err(Refused { file, at: None, why: "no whole snapshot is left to start from".to_owned() });
        }
        for cut in cuts {
            self.disk.remove(&Lane::Snapshot, &cut.file);
        }
        Ok(newest)
    }

    /// Every transaction of the journal. The last file is cut where a crash tore it.
    fn read_journal(&mut self, names: &[FileName], cuts: &mut Vec<Cut>) -> Result<Vec<(Zxid, Bytes)>, Refused> {
        let mut firsts: Vec<Zxid> = names.iter().filter_map(|name| zxid_of(name, "log.")).collect();
        sort_by(&mut firsts, Ord::cmp);
        let mut txns: Vec<(Zxid, Bytes)> = Vec::new();
        let mut torn: Option<Refused> = None;
        for first in firsts {
            let name: FileName = log_name(first).into();
            let Some(file) = self.contents(&name)? else { continue };
            let read = recover_journal(&file);
            if let (Some(torn), false) = (&torn, read.frames.is_empty()) {
                let why = format!("{}, and transactions follow it in {name}", torn.why);
                return Err(Refused { why, ..torn.clone() });
            }
            if let Tail::Damaged { why, good_after } = read.tail {
                let refusal = Refused { file: name.clone(), at: Some(Position(read.end)), why: why.to_owned() };
                if let Some(after) = good_after {
                    let why = format!("{why}, and a good transaction follows it at byte {after}");
                    return Err(Refused { why, ..refusal });
                }
                torn = Some(refusal);
            }
            let size = file.len() as u64;
            self.adopt(first, &name, size, &read, cuts);
            for frame in read.frames {
                if txns.last().is_some_and(|(last, _)| *last >= frame.zxid) {
                    let why = format!("transaction {} does not come after the one before it", frame.zxid);
                    return Err(Refused { file: name, at: Some(Position(frame.at)), why });
                }
                txns.push((frame.zxid, frame.txn));
            }
        }
        Ok(txns)
    }

    /// Takes a log file as it was read: cut where it is torn, removed when nothing good is in it.
    fn adopt(&mut self, first: Zxid, name: &FileName, size: u64, read: &Recovered, cuts: &mut Vec<Cut>) {
        let damage = match &read.tail {
            Tail::Clean => None,
            Tail::Damaged { why, .. } => Some((*why).to_owned()),
        };
        if read.frames.is_empty() {
            self.disk.remove(&Lane::Journal, name);
            if size > FILE_HEADER.len() as u64 || damage.is_some() {
                let why = damage.unwrap_or_else(|| "it holds no transaction".to_owned());
                cuts.push(Cut { file: name.clone(), at: None, bytes: size, why });
            }
            return;
        }
        let file = self.disk.open(&Lane::Journal, name);
        if let Some(why) = damage {
            self.disk.truncate(file, Position(read.end));
            cuts.push(Cut { file: name.clone(), at: Some(Position(read.end)), bytes: size - read.end, why });
        }
        let mut log = LogFile::new(file);
        for frame in &read.frames {
            log.note(frame.zxid, frame.at, frame.end() - frame.at);
        }
        self.journal.files.insert(first, log);
    }

    fn epoch_file(&mut self, name: &str) -> Result<Option<ZabEpoch>, Refused> {
        let Some(bytes) = self.contents(name)? else { return Ok(None) };
        let epoch = core::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        match epoch {
            Some(epoch) => Ok(Some(ZabEpoch(epoch))),
            None => Err(Refused { file: name.into(), at: None, why: "it does not hold an epoch".to_owned() }),
        }
    }

    /// A file's contents, `None` if there is no such file.
    pub(super) fn contents(&mut self, name: &str) -> Result<Option<Bytes>, Refused> {
        if !self.disk.exists(name) {
            return Ok(None);
        }
        let lane = if name.starts_with("version-2/snapshot.") { Lane::Snapshot } else { Lane::Journal };
        let file = self.disk.open(&lane, name);
        let read = self.disk.read_all(file).map(Some);
        read.map_err(|error: DiskError| Refused { file: name.into(), at: None, why: error.to_string() })
    }
}
