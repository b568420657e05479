//! A recording: everything one boot of a node was given, and what the machine made of it, in brief.
//!
//! ```text
//! "GLASSREC" | version u16 | frame*          frame: length u32 | sum u32 | kind u8 | contents
//!   Beginning   settings, the disk as found, entropy, time        first, once
//!   Input       the time, and one input                           one for each step
//!   Check       steps so far; digests of inputs and effects, and of the machine's state
//!   End         as Check; the node stopped in order, or could not go on
//! ```
//!
//! A recording that ends in the middle of a frame was cut short by a death and is good up to there; one that is wrong
//! anywhere else is damaged. A keeper's recording holds what its disk and its clients held, znodes and credentials
//! included, and is to be guarded like them; of records it holds no contents ([`hollow`]).

pub mod boot;
pub(crate) mod coded;
pub mod hollow;
pub mod input;

use boot::Beginning;
use bytes::Bytes;
use coded::{Coded, fields};
use glasshouse_core::api::storage::StoreOp;
use glasshouse_core::codec::{Reader, Writer};
use glasshouse_core::digest::Digest;
use glasshouse_core::node::{Effect, Input};
use glasshouse_core::nodes::Node;
use glasshouse_core::record::batch::BatchHeader;
use glasshouse_core::time::Now;
use hollow::Key;
use std::hash::{Hash, Hasher};

const MAGIC: &[u8; 8] = b"GLASSREC";
const VERSION: u16 = 2;
/// Length and sum.
const FRAME_HEAD: usize = 8;

const BEGINNING: u8 = 0;
const INPUT: u8 = 1;
const CHECK: u8 = 2;
const END: u8 = 3;

/// One frame.
#[derive(Debug)]
pub enum Frame {
    /// Boxed: it is by far the largest, and comes once.
    Beginning(Box<Beginning>),
    Input(Now, Input),
    Check(Check),
    End(Check, String),
}

/// What a replay must reach after so many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub steps: u64,
    /// Of all inputs as recorded, and all effects but for the contents of records.
    pub digest: u64,
    /// Of the whole machine.
    pub state: u64,
}
fields!(Check { steps, digest, state });

/// The digests as they grow; the same in the live node and in its replay.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    steps: u64,
    digest: Digest,
}

impl Tally {
    /// A frame's contents: of an input as it was recorded.
    pub fn heard(&mut self, contents: &[u8]) {
        self.steps += 1;
        self.digest.write(contents);
    }

    /// What a step wanted.
    pub fn wanted(&mut self, effects: &[Effect]) {
        self.digest.write_usize(effects.len());
        for effect in effects {
            match effect {
                Effect::Store { lane, op: StoreOp::Append { batches } } => {
                    lane.hash(&mut self.digest);
                    for batch in batches {
                        // The contents are not there in a replay, and so the checksum is another.
                        let header = BatchHeader { crc: 0, ..batch.header() };
                        (header, batch.size()).hash(&mut self.digest);
                        (batch.base, batch.last, batch.epoch, batch.max_timestamp).hash(&mut self.digest);
                    }
                }
                other => other.hash(&mut self.digest),
            }
        }
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub fn check(&self, node: &Node) -> Check {
        Check { steps: self.steps, digest: self.digest.finish(), state: Digest::of(node) }
    }
}

/// What a file begins with.
pub fn head() -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_be_bytes());
    head
}

/// Puts a frame behind what is there.
pub fn put_frame(contents: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(contents.len()).expect("a frame below 4 GB");
    to.extend(length.to_be_bytes());
    to.extend(crc32c::crc32c(contents).to_be_bytes());
    to.extend(contents);
}

/// The contents of the first frame.
pub fn beginning(beginning: &Beginning) -> Bytes {
    let mut to = Writer::new();
    to.u8(BEGINNING);
    env!("CARGO_PKG_VERSION").to_owned().put(&mut to);
    beginning.put(&mut to);
    to.finish()
}

/// The contents of an input's frame; `None` of a command, which no native node takes.
pub fn input(now: Now, input: &Input, key: &Key) -> Option<Bytes> {
    let mut to = Writer::with_capacity(64);
    to.u8(INPUT);
    now.put(&mut to);
    input::put(input, key, &mut to).then(|| to.finish())
}

/// The contents of a check's frame.
pub fn check(check: Check) -> Bytes {
    let mut to = Writer::new();
    to.u8(CHECK);
    check.put(&mut to);
    to.finish()
}

/// The contents of the last frame; `how` in a sentence.
pub fn end(check: Check, how: &str) -> Bytes {
    let mut to = Writer::new();
    to.u8(END);
    check.put(&mut to);
    how.to_owned().put(&mut to);
    to.finish()
}

/// Reads a recording frame by frame.
#[derive(Debug)]
pub struct Frames {
    rest: Reader,
    began: bool,
    /// Bytes of a last frame that was not finished.
    pub cut: usize,
}

impl Frames {
    /// # Errors
    /// A sentence: it is no recording, or one of another format.
    pub fn open(bytes: Bytes) -> Result<Frames, String> {
        let mut rest = Reader::new(bytes);
        match rest.take(MAGIC.len(), "") {
            Ok(magic) if magic[..] == MAGIC[..] => {}
            _ => return Err("it is no recording of a node".to_owned()),
        }
        match rest.u16() {
            Ok(VERSION) => Ok(Frames { rest, began: false, cut: 0 }),
            Ok(other) => Err(format!("it is a recording of format {other}, and only {VERSION} is read here")),
            Err(_) => Err("it is no recording of a node".to_owned()),
        }
    }

    /// The next frame with its contents as recorded; `None` at the end, or where a death cut it short.
    ///
    /// # Errors
    /// A sentence that says where it is damaged.
    pub fn take(&mut self) -> Result<Option<(Frame, Bytes)>, String> {
        let at = self.rest.position();
        let damaged = |why: String| Err(format!("damaged at byte {at}: {why}"));
        let left = self.rest.remaining();
        let (Ok(length), Ok(sum)) = (self.rest.u32(), self.rest.u32()) else {
            self.cut = left;
            return Ok(None);
        };
        let Ok(contents) = self.rest.take(length as usize, "") else {
            self.cut = left.max(FRAME_HEAD);
            self.rest.rest();
            return Ok(None);
        };
        if crc32c::crc32c(&contents) != sum {
            return damaged("the checksum of a frame is wrong".to_owned());
        }
        let frame = match Frame::read(contents.clone()) {
            Ok(frame) => frame,
            Err(why) => return damaged(why),
        };
        if matches!(frame, Frame::Beginning(_)) == self.began {
            return damaged("a recording has one beginning, and it comes first".to_owned());
        }
        self.began = true;
        Ok(Some((frame, contents)))
    }
}

impl Frame {
    fn read(contents: Bytes) -> Result<Frame, String> {
        let mut from = Reader::new(contents);
        let frame = Frame::read_kind(&mut from)?;
        if from.is_empty() { Ok(frame) } else { Err("there is something behind a frame's contents".to_owned()) }
    }

    fn read_kind(from: &mut Reader) -> Result<Frame, String> {
        let sentence = |malformed: glasshouse_core::codec::Malformed| malformed.to_string();
        match from.u8().map_err(sentence)? {
            BEGINNING => {
                let version = String::get(from).map_err(sentence)?;
                let ours = env!("CARGO_PKG_VERSION");
                match Coded::get(from) {
                    Ok(beginning) => Ok(Frame::Beginning(Box::new(beginning))),
                    Err(why) if version == ours => Err(why.to_string()),
                    Err(why) => Err(format!("{why} (recorded by version {version}, read by {ours})")),
                }
            }
            INPUT => {
                let now = Now::get(from).map_err(sentence)?;
                Ok(Frame::Input(now, input::get(from).map_err(sentence)?))
            }
            CHECK => Check::get(from).map(Frame::Check).map_err(sentence),
            END => {
                let check = Check::get(from).map_err(sentence)?;
                Ok(Frame::End(check, Coded::get(from).map_err(sentence)?))
            }
            _ => Err("a frame of no known kind".to_owned()),
        }
    }
}
