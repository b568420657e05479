//! Runs a recording through the machine it was made with: the way back of [`super::recorder`]. No clock, no socket, no
//! disk: what the node was given is all in the file.

use super::recording::{Check, Frame, Frames, Tally};
use bytes::Bytes;
use glasshouse_core::id::NodeId;
use glasshouse_core::machine::{Effects, Machine};
use glasshouse_core::node::{Effect, Input};
use glasshouse_core::note::Note;
use glasshouse_core::time::{Instant, Now};

/// How a replay went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub node: NodeId,
    pub steps: u64,
    /// Of inputs and effects at the end.
    pub digest: u64,
    pub state: u64,
    /// Checks that were met.
    pub checks: u64,
    /// How the node ended, in a sentence; `None` if the recording was cut short, by a death or while it grew.
    pub ended: Option<String>,
}

/// Why it did not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is no recording, or a damaged one: a sentence.
    Damaged(String),
    /// The machine did something else this time.
    Differs { recorded: Check, replayed: Check },
}

/// What is told while it runs.
#[derive(Debug)]
pub enum Told<'a> {
    Booted,
    Input(&'a Input),
    Effect(&'a Effect),
    Note(&'a Note),
}

/// Runs a recording; `tell` hears everything in order.
///
/// # Errors
/// [`Trouble`].
///
/// # Panics
/// Where the machine's own assertions fail, as they may have done in the node.
pub fn replay(recording: Bytes, mut tell: impl FnMut(Instant, NodeId, Told<'_>)) -> Result<Replayed, Trouble> {
    let mut frames = Frames::open(recording).map_err(Trouble::Damaged)?;
    let Some((Frame::Beginning(beginning), _)) = frames.take().map_err(Trouble::Damaged)? else {
        return Err(Trouble::Damaged("it holds no whole beginning".to_owned()));
    };
    let (me, now) = (beginning.node, beginning.now);
    let mut fx = Effects::default();
    let mut node = beginning.boot(&mut fx);
    let mut tally = Tally::default();
    let (mut checks, mut ended) = (0, None);
    tally.wanted(&fx.effects);
    tell(now.at, me, Told::Booted);
    tell_all(now, me, &mut fx, &mut tell);
    while let Some((frame, contents)) = frames.take().map_err(Trouble::Damaged)? {
        if ended.is_some() {
            return Err(Trouble::Damaged("it goes on behind its end".to_owned()));
        }
        match frame {
            Frame::Beginning(_) => unreachable!("a second beginning was refused"),
            Frame::Input(now, input) => {
                tell(now.at, me, Told::Input(&input));
                tally.heard(&contents);
                node.step(now, input, &mut fx);
                tally.wanted(&fx.effects);
                tell_all(now, me, &mut fx, &mut tell);
            }
            Frame::Check(recorded) => {
                compare(recorded, tally.check(&node))?;
                checks += 1;
            }
            Frame::End(recorded, how) => {
                compare(recorded, tally.check(&node))?;
                checks += 1;
                ended = Some(how);
            }
        }
    }
    let Check { steps, digest, state } = tally.check(&node);
    Ok(Replayed { node: me, steps, digest, state, checks, ended })
}

fn compare(recorded: Check, replayed: Check) -> Result<(), Trouble> {
    if recorded == replayed { Ok(()) } else { Err(Trouble::Differs { recorded, replayed }) }
}

fn tell_all(now: Now, me: NodeId, fx: &mut Effects<Effect>, tell: &mut impl FnMut(Instant, NodeId, Told<'_>)) {
    for note in fx.notes.drain(..) {
        tell(now.at, me, Told::Note(&note));
    }
    for effect in fx.effects.drain(..) {
        tell(now.at, me, Told::Effect(&effect));
    }
}
