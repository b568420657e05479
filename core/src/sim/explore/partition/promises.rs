//! The invariants of the small world (protocol.md D.2), checked after every action.

use super::REPLICAS;
use super::replica::{Files, Record, seat};
use super::world::World;
use crate::id::LeaderEpoch;
use crate::record::offset::Offset;
use crate::sim::explore::search::Trouble;

/// What no broker reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// What lay below any leader's high watermark.
    pub committed: Vec<Record>,
    /// Who appended in which epoch.
    pub leaders: Vec<(LeaderEpoch, u8)>,
}

/// What the checks compare with: how it was before the action.
pub struct Before {
    logs: [usize; REPLICAS],
    marks: [Option<(LeaderEpoch, Offset)>; REPLICAS],
}

/// How many of the committed records a log begins with.
fn agrees_upto(files: &Files, committed: &[Record]) -> usize {
    files.log.iter().zip(committed).take_while(|(own, other)| own == other).count()
}

impl World {
    pub fn before(&self) -> Before {
        let log = |at: usize| agrees_upto(&self.replicas[at].written, &self.ghost.committed);
        Before { logs: core::array::from_fn(log), marks: core::array::from_fn(|at| self.mark(at)) }
    }

    /// A leader's epoch and high watermark.
    fn mark(&self, at: usize) -> Option<(LeaderEpoch, Offset)> {
        let machine = self.replicas[at].machine.as_ref()?;
        machine.leader().map(|_| (machine.leader_epoch(), machine.log.high_watermark()))
    }

    /// Checks everything, LOG-6 too: no member of the ISR cuts what is committed; `lost_power`: that replica's disk lost what was not synced.
    pub fn check(&mut self, before: &Before, lost_power: Option<usize>, trouble: &mut Trouble) {
        self.commit(trouble);
        self.check_marks(before, trouble);
        self.check_logs(trouble);
        self.check_isr(trouble);
        // (Who is out of the ISR counts for nothing, and may cut what it likes.)
        for at in (0..REPLICAS).filter(|at| lost_power != Some(*at) && self.controller.state.has(*at)) {
            let (was, now) = (before.logs[at], agrees_upto(&self.replicas[at].written, &self.ghost.committed));
            if now < was {
                trouble.push(("LOG-6", format!("broker-{} cuts committed records from offset {now}", at + 1)));
            }
        }
    }

    /// LOG-1: what leaders commit is one sequence, and below its high watermark every replica holds that.
    fn commit(&mut self, trouble: &mut Trouble) {
        for at in 0..REPLICAS {
            let Some((_, mark)) = self.mark(at) else { continue };
            let mark = mark.0 as usize;
            if mark > self.ghost.committed.len() {
                let new: Vec<Record> = self.replicas[at].written.log[self.ghost.committed.len()..mark].to_vec();
                self.ghost().committed.extend(new);
            }
        }
        for (at, replica) in self.replicas.iter().enumerate() {
            let Some(machine) = &replica.machine else { continue };
            let mark = machine.log.high_watermark().0 as usize;
            let known = mark.min(self.ghost.committed.len());
            if let Some(offset) = (0..known).find(|at| replica.written.log[*at] != self.ghost.committed[*at]) {
                let what = format!("broker-{} holds another record than was committed at offset {offset}", at + 1);
                trouble.push(("LOG-1", what));
            } else if mark > known {
                trouble.push(("LOG-7", format!("broker-{} believes {mark} committed, {known} are", at + 1)));
            }
        }
    }

    /// LOG-4 and LOG-5.
    fn check_marks(&self, before: &Before, trouble: &mut Trouble) {
        for (at, replica) in self.replicas.iter().enumerate() {
            if let (Some((epoch, was)), Some((now_epoch, now))) = (before.marks[at], self.mark(at))
                && epoch == now_epoch
                && now < was
            {
                trouble.push(("LOG-4", format!("broker-{}'s high watermark goes from {was} to {now}", at + 1)));
            }
            let Some(machine) = &replica.machine else { continue };
            for (offset, (epoch, _)) in replica.written.log.iter().enumerate() {
                let cached = machine.log.epochs().epoch_at(Offset(offset as i64));
                if cached != Some(*epoch) {
                    let what = format!(
                        "broker-{} has epoch {cached:?} cached for offset {offset}, which is of {epoch}",
                        at + 1
                    );
                    trouble.push(("LOG-5", what));
                }
            }
        }
    }

    /// LOG-2: one epoch at one offset is one history.
    fn check_logs(&self, trouble: &mut Trouble) {
        for a in 0..REPLICAS {
            for b in a + 1..REPLICAS {
                let (left, right) = (&self.replicas[a].written.log, &self.replicas[b].written.log);
                let same = left.iter().zip(right).rposition(|(left, right)| left.0 == right.0);
                if let Some(last) = same
                    && left[..=last] != right[..=last]
                {
                    let what = format!(
                        "broker-{} and broker-{} agree in epoch at offset {last} and differ up to there",
                        a + 1,
                        b + 1
                    );
                    trouble.push(("LOG-2", what));
                }
            }
        }
    }

    /// ISR-4: everything committed is on every member of the ISR; and the leader counts all members.
    fn check_isr(&self, trouble: &mut Trouble) {
        let state = &self.controller.state;
        for at in (0..REPLICAS).filter(|at| state.has(*at)) {
            if !self.replicas[at].written.begins_with(&self.ghost.committed) {
                let what = format!("broker-{} is in the ISR without all that is committed", at + 1);
                trouble.push(("ISR-4", what));
            }
        }
        let Some(leader) = state.leader.map(usize::from) else { return };
        let Some(machine) = &self.replicas[leader].machine else { return };
        if let Some(leads) = machine.leader()
            && machine.leader_epoch() == state.leader_epoch
        {
            let maximal: Vec<usize> = leads.isr.maximal().map(seat).collect();
            if let Some(missing) = (0..REPLICAS).find(|at| state.has(*at) && !maximal.contains(at)) {
                let what = format!("broker-{} leads without counting broker-{}", leader + 1, missing + 1);
                trouble.push(("ISR-4", what));
            }
        }
    }

    /// LOG-3: who is elected has everything.
    pub fn check_elected(&self, trouble: &mut Trouble) {
        let Some(leader) = self.controller.state.leader else { return };
        if !self.replicas[leader as usize].written.begins_with(&self.ghost.committed) {
            let what = format!("broker-{} is elected without all that was committed", leader + 1);
            trouble.push(("LOG-3", what));
        }
    }

    /// ISR-2: one leader appends in an epoch.
    pub fn check_append(&mut self, at: usize, epoch: LeaderEpoch, trouble: &mut Trouble) {
        let other = self.ghost.leaders.iter().find(|(led, _)| *led == epoch).map(|(_, who)| *who as usize);
        match other {
            Some(other) if other == at => {}
            Some(other) => {
                let what = format!("broker-{} and broker-{} append in epoch {epoch}", other + 1, at + 1);
                trouble.push(("ISR-2", what));
            }
            None => self.ghost().leaders.push((epoch, at as u8)),
        }
    }
}
