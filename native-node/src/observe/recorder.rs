//! Records a node's inputs, so that the same machine can be run through them again ([`super::recording`] is the file,
//! [`super::replay`] the way back).
//!
//! It costs a running node what it writes, and the digest of its whole state now and then; without `--record` nothing.

use super::recording::boot::Beginning;
use super::recording::hollow::Key;
use super::recording::{self, Tally};
use glasshouse_core::node::{Effect, Input};
use glasshouse_core::nodes::Node;
use glasshouse_core::time::Now;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Steps between two checks, at least.
const CHECK_EVERY: u64 = 64;
/// A check may take this part of the time.
const CHECK_SHARE: u32 = 50;
/// Bytes that wait for the end of a turn, at most.
const BUFFER: usize = 1 << 20;

/// The recording of one boot.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    /// `None`: writing failed, and nothing more is written.
    file: Option<File>,
    buffer: Vec<u8>,
    key: Key,
    tally: Tally,
    checked: u64,
    last_check: (Instant, Duration),
}

impl Recorder {
    /// Begins a recording. A file of that name is not overwritten, for it may tell of the boot that failed: the new one
    /// is called `FILE.2`, then `FILE.3`.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn create(path: &Path, beginning: &Beginning) -> Result<Recorder, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| format!("no entropy: {error}"))?;
        let (file, path) = create_new(path)?;
        tracing::info!(node = %beginning.node, kind = "host", "records its inputs into {}", path.display());
        let mut recorder = Recorder {
            path,
            file: Some(file),
            buffer: recording::head(),
            key: Key(key),
            tally: Tally::default(),
            checked: 0,
            last_check: (Instant::now(), Duration::ZERO),
        };
        recording::put_frame(&recording::beginning(beginning), &mut recorder.buffer);
        recorder.flush();
        match recorder.file {
            Some(_) => Ok(recorder),
            None => Err(format!("the recording {} cannot be written", recorder.path.display())),
        }
    }

    /// The file it writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine is made, and wants this.
    pub fn began(&mut self, effects: &[Effect], node: &Node) {
        self.tally.wanted(effects);
        self.check(node);
    }

    /// Before a step.
    pub fn record(&mut self, now: Now, input: &Input) {
        if self.file.is_none() {
            return;
        }
        let contents = recording::input(now, input, &self.key).expect("a native node is given no command");
        self.tally.heard(&contents);
        recording::put_frame(&contents, &mut self.buffer);
        if self.buffer.len() > BUFFER {
            self.flush();
        }
    }

    /// After a step: what it wanted.
    pub fn stepped(&mut self, effects: &[Effect], node: &Node) {
        if self.file.is_none() {
            return;
        }
        self.tally.wanted(effects);
        let (at, took) = self.last_check;
        if self.tally.steps() - self.checked >= CHECK_EVERY && at.elapsed() >= took * CHECK_SHARE {
            self.check(node);
        }
    }

    fn check(&mut self, node: &Node) {
        let began = Instant::now();
        let check = self.tally.check(node);
        recording::put_frame(&recording::check(check), &mut self.buffer);
        self.checked = check.steps;
        self.last_check = (Instant::now(), began.elapsed());
    }

    /// After a turn: what was recorded survives the process.
    pub fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.buffer)
        {
            // The node serves; its recording is only for us.
            tracing::error!(kind = "host", "the recording {} ends here: {error}", self.path.display());
            self.file = None;
        }
        self.buffer.clear();
    }

    /// The node stops, in order or because it cannot go on.
    pub fn ended(&mut self, how: &str, node: &Node) {
        if self.file.is_some() {
            let check = self.tally.check(node);
            recording::put_frame(&recording::end(check, how), &mut self.buffer);
            self.flush();
        }
    }
}

/// When an assertion of the machine fails, the input that did it must be in the file.
impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}

fn create_new(path: &Path) -> Result<(File, PathBuf), String> {
    for number in 1..=1000 {
        let mut name = path.as_os_str().to_owned();
        if number > 1 {
            name.push(format!(".{number}"));
        }
        // What it holds is not for everybody's eyes.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
            Ok(file) => return Ok((file, name.into())),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("the recording {} cannot be begun: {error}", path.display())),
        }
    }
    Err(format!("there are a thousand recordings called {} already", path.display()))
}

#[cfg(test)]
mod lab;
#[cfg(test)]
mod tests;
