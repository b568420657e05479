//! What the clients of a load were told, written down as it happens: the material of every judgement afterwards.

use glasshouse_core::id::NodeId;
use glasshouse_core::note::client::ClientNote;
use glasshouse_core::time::Instant;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One thing that a client was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Since the book was opened.
    pub at: Instant,
    pub client: NodeId,
    pub note: ClientNote,
}

#[derive(Debug, Default)]
struct Pages {
    told: Vec<Told>,
    /// Writes that each client was told are done, and records that it read.
    done: BTreeMap<NodeId, u64>,
    /// What no client of a cluster that keeps its promises ever meets.
    wrongs: Vec<String>,
}

/// See the module. Shared by all clients.
#[derive(Debug)]
pub struct Book {
    opened: std::time::Instant,
    pages: Mutex<Pages>,
}

impl Default for Book {
    fn default() -> Book {
        Book { opened: std::time::Instant::now(), pages: Mutex::default() }
    }
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Instant {
        Instant(self.opened.elapsed().as_nanos() as u64)
    }

    pub fn note(&self, client: NodeId, note: ClientNote) {
        let done = matches!(note, ClientNote::Acknowledged { .. } | ClientNote::Wrote { .. } | ClientNote::Read { .. });
        let told = Told { at: self.now(), client, note };
        let mut pages = self.pages();
        *pages.done.entry(client).or_default() += u64::from(done);
        pages.told.push(told);
    }

    /// Something that must not happen, whatever the disks hold in the end.
    pub fn wrong(&self, client: NodeId, why: String) {
        self.pages().wrongs.push(format!("{client}: {why}"));
    }

    /// How much each client got done so far.
    pub fn done(&self) -> BTreeMap<NodeId, u64> {
        self.pages().done.clone()
    }

    pub fn wrongs(&self) -> Vec<String> {
        self.pages().wrongs.clone()
    }

    /// Writes it down as text, a line for each note.
    ///
    /// # Errors
    /// Of the disk.
    pub fn write(&self, file: &std::path::Path) -> std::io::Result<()> {
        let lines = self
            .pages()
            .told
            .iter()
            .map(|told| format!("{} {} {:?}\n", told.at, told.client, told.note))
            .collect::<String>();
        std::fs::write(file, lines)
    }

    /// Everything, in the order in which it was told.
    pub fn told(&self) -> Vec<Told> {
        self.pages().told.clone()
    }
}
