//! The small world of atomic broadcast: three keepers, FIFO streams, disks that sync when they like, crashes, power
//! losses and time-outs. Elections are an oracle's: it lets a quorum of keepers that look follow the best of them, and
//! a keeper that looks join a leader that has a quorum. Time stands still; what a time-out does is an action.
//!
//! A broken stream is seen at both ends at once. That leaves nothing out: what was still under way could as well have
//! arrived before the break, and answers to it are lost either way.

mod promises;
mod world;

use super::Report;
use super::search::{Limits, search};
use crate::api::peer::PacketType;
use crate::id::Zxid;
use crate::rules::Rules;
use core::fmt;
use world::Setup;

const KEEPERS: usize = 3;
const QUORUM: usize = 2;

/// How much may happen in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Proposals.
    pub txns: u8,
    /// Process crashes and power losses.
    pub crashes: u8,
    /// Roles given up although nothing is wrong.
    pub time_outs: u8,
    /// The search ends there.
    pub states: u64,
    /// The search ends with the first violation.
    pub until_violation: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { txns: 2, crashes: 1, time_outs: 0, states: u64::MAX, until_violation: false }
    }
}

/// What can happen next. Keepers are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Deliver {
        from: u8,
        to: u8,
    },
    Sync(u8),
    Crash {
        keeper: u8,
        power: bool,
    },
    Boot(u8),
    TimeOut(u8),
    /// A leader without a quorum of followers steps down.
    Abdicate(u8),
    /// Everyone in `quorum` (bits) follows `leader`.
    Elect {
        leader: u8,
        quorum: u8,
    },
    Join {
        keeper: u8,
        leader: u8,
    },
    Propose(u8),
}

/// Explores every run of three keepers within the bounds.
pub fn zab(bounds: Bounds, rules: Rules) -> Report {
    let setup = Setup::new(bounds, rules);
    let limits = Limits { states: bounds.states, until_violation: bounds.until_violation };
    search(setup.first_world(), &setup, limits)
}

/// An action as a violation tells it.
#[derive(Clone, Copy)]
pub struct Step {
    action: Action,
    /// What was delivered.
    packet: Option<(PacketType, Zxid)>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.action, self.packet) {
            (Action::Deliver { from, to }, Some((kind, zxid))) => {
                write!(f, "keeper-{} hears {} {zxid} from keeper-{}", to + 1, kind.name(), from + 1)
            }
            (Action::Deliver { from, to }, None) => write!(f, "keeper-{} hears from keeper-{}", to + 1, from + 1),
            (Action::Sync(at), _) => write!(f, "keeper-{}'s disk has synced", at + 1),
            (Action::Crash { keeper, power: false }, _) => write!(f, "keeper-{} crashes", keeper + 1),
            (Action::Crash { keeper, power: true }, _) => write!(f, "keeper-{} loses power", keeper + 1),
            (Action::Boot(at), _) => write!(f, "keeper-{} starts", at + 1),
            (Action::TimeOut(at), _) => write!(f, "keeper-{} gives up its role", at + 1),
            (Action::Abdicate(at), _) => write!(f, "keeper-{} steps down: no quorum follows it", at + 1),
            (Action::Elect { leader, quorum }, _) => {
                let who: Vec<_> = world::members(quorum).map(|at| format!("keeper-{}", at + 1)).collect();
                write!(f, "keeper-{} is elected by {}", leader + 1, who.join(", "))
            }
            (Action::Join { keeper, leader }, _) => write!(f, "keeper-{} joins keeper-{}", keeper + 1, leader + 1),
            (Action::Propose(at), _) => write!(f, "keeper-{} proposes", at + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{NewleaderAck, ProposalAck};

    #[test]
    fn without_faults_the_small_world_is_exhausted_and_holds() {
        let report = zab(Bounds { txns: 1, crashes: 0, ..Bounds::default() }, Rules::default());
        assert!(report.exhausted && report.states > 1_000, "{report:?}");
        assert_eq!(report.violations, []);
    }

    #[test]
    fn crashes_and_time_outs_break_nothing() {
        for (crashes, time_outs) in [(1, 0), (0, 1)] {
            let bounds = Bounds { txns: 1, crashes, time_outs, states: 30_000, until_violation: false };
            assert_eq!(zab(bounds, Rules::default()).violations, []);
        }
    }

    #[test]
    fn each_old_rule_breaks_a_promise() {
        let newleader = |newleader_ack| Rules { newleader_ack, ..Rules::default() };
        for rules in [
            newleader(NewleaderAck::BeforeHistory),
            newleader(NewleaderAck::EpochFirst),
            Rules { proposal_ack: ProposalAck::BeforeSync, ..Rules::default() },
        ] {
            let report = zab(Bounds { txns: 1, states: 300_000, until_violation: true, ..Bounds::default() }, rules);
            let violation = report.violations.first();
            assert!(violation.is_some_and(|violation| !violation.path.is_empty()), "{rules:?}: {report:?}");
        }
    }
}
