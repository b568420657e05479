//! What every protocol machine is, and what it may expect of its host. Newcomers start here.
//!
//! A machine takes one input at a time and says what it wants done; it never does anything itself. The same machine
//! therefore runs in the page's simulator, in a native process and under the exhaustive explorer.
//!
//! # The five promises between machine and host
//!
//! 1. *Effects take place in the order they were emitted.* An append before a reply is visible to reads before the
//!    reply leaves.
//! 2. *A host may step many times before performing, never reorder.* This is where batching lives: drain the inbox,
//!    then perform once.
//! 3. *`Synced { upto }` speaks for every earlier ticket of its lane.* Hosts may therefore skip: one fsync answers a
//!    hundred tickets.
//! 4. *Links are FIFO and may break; a broken link loses a suffix, never a middle.* Channels and boots have
//!    generations, and a host drops any input, `Synced` included, that belongs to an earlier one. A full queue breaks
//!    its channel; that is how a machine feels back-pressure. What a node sends to itself arrives as a later input,
//!    never by recursion. Requests between brokers match their answers by correlation id.
//! 5. *A host that cannot perform an effect stops the node.* No "write failed, carry on": after a failed fsync nobody
//!    knows what is on the disk. Waking early or twice is harmless.

use crate::note::Note;
use crate::time::{Now, Wake};

/// A deterministic protocol machine.
pub trait Machine {
    type Input;
    type Effect;

    /// Takes one input at `now`. Everything the machine wants done about it is in `fx` on return.
    fn step(&mut self, now: Now, input: Self::Input, fx: &mut Effects<Self::Effect>);

    /// When, and why, the machine next wants `Input::Wake`.
    fn wake_at(&self) -> Option<Wake>;
}

/// Numbers what a machine waits for on one lane of its disk; grows by one with each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    /// The next ticket, which `self` becomes.
    pub fn take_next(&mut self) -> Ticket {
        self.0 += 1;
        *self
    }
}

/// The sink a step fills: effects in order, and notes, which influence nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Effects<E> {
    pub effects: Vec<E>,
    pub notes: Vec<Note>,
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Effects { effects: Vec::new(), notes: Vec::new() }
    }
}

impl<E> Effects<E> {
    pub fn emit(&mut self, effect: E) {
        self.effects.push(effect);
    }

    /// Tells a fact. Notes never influence behaviour; a host may drop them.
    pub fn note(&mut self, note: impl Into<Note>) {
        self.notes.push(note.into());
    }

    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.notes.is_empty()
    }

    /// Lets a child machine fill a sink of its own effects, and translates each of them into ours, in order.
    pub fn scope<C, T>(&mut self, run: impl FnOnce(&mut Effects<C>) -> T, translate: impl FnMut(C) -> E) -> T {
        let mut child = Effects { effects: Vec::new(), notes: core::mem::take(&mut self.notes) };
        let result = run(&mut child);
        self.notes = child.notes;
        self.effects.extend(child.effects.into_iter().map(translate));
        result
    }
}
