//! The small world of one partition: three replicas as the brokers run them, and a controller that may do whatever a
//! controller may. It elects any member of the ISR, tells of it late and to some before others, decides on ISR changes
//! when it likes, and loses answers. Brokers crash or lose power, and fetch when they like.
//!
//! Time passes between any two steps: nobody counts as caught up for what he had before. A replica lags as soon as it
//! does not have everything. The checkpointed high watermark is as old as can be: after a crash it is zero. A leader
//! hears a question as it is asked, its answer may take its time; with [`Bounds::late_questions`] the question may too.

mod controller;
mod promises;
mod replica;
mod world;

use super::Report;
use super::search::{Limits, search_nearest};
use crate::rules::Rules;
use core::fmt;
use world::Setup;

const REPLICAS: usize = 3;

/// How much may happen in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Records appended by leaders.
    pub records: u8,
    /// Elections that nothing forces.
    pub elections: u8,
    /// Process crashes.
    pub crashes: u8,
    /// Power losses. Without any, a disk syncs at once: it makes no difference then.
    pub power_losses: u8,
    /// Proposals to shrink the ISR.
    pub shrinks: u8,
    /// `min.insync.replicas`.
    pub min_isr: u32,
    /// Followers' questions are under way for a while, too.
    pub late_questions: bool,
    /// The search ends there.
    pub states: u64,
    /// The search ends with the first violation.
    pub until_violation: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            records: 2,
            elections: 2,
            crashes: 0,
            power_losses: 0,
            shrinks: 0,
            min_isr: 2,
            late_questions: false,
            states: u64::MAX,
            until_violation: false,
        }
    }
}

/// What can happen next. Replicas are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A producer's record.
    Append(u8),
    /// All that was written so far is on the disk.
    Sync(u8),
    /// Asks its leader for records, or where an epoch ends, or where the log does.
    Ask(u8),
    /// `leader` hears the follower's question and answers.
    Answer {
        follower: u8,
        leader: u8,
    },
    /// The follower hears the answer.
    Hear {
        follower: u8,
        leader: u8,
    },
    /// Finds who lags, and proposes an ISR without them.
    Shrink(u8),
    /// The controller decides on the proposal under way.
    Decide(u8),
    /// The proposer hears the decision.
    Learn(u8),
    /// The LeaderAndIsr of this epoch arrives; older ones that are still under way are lost.
    Tell {
        replica: u8,
        epoch: i32,
    },
    /// The controller moves leadership although nothing is wrong.
    Elect(u8),
    /// The controller notices that a broker is gone, and has another member lead if it was the leader.
    Replace {
        gone: u8,
        leader: Option<u8>,
    },
    Crash {
        replica: u8,
        power: bool,
    },
    Boot(u8),
}

/// Explores every run of one partition with three replicas within the bounds.
pub fn partition(bounds: Bounds, rules: Rules) -> Report {
    let setup = Setup::new(bounds, rules);
    let limits = Limits { states: bounds.states, until_violation: bounds.until_violation };
    search_nearest(setup.first_world(), &setup, limits)
}

/// An action as a violation tells it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |at: &u8| format!("broker-{}", at + 1);
        match self {
            Action::Append(at) => write!(f, "{} appends a record", name(at)),
            Action::Sync(at) => write!(f, "{}'s disk has synced", name(at)),
            Action::Ask(at) => write!(f, "{} asks its leader", name(at)),
            Action::Answer { follower, leader } => write!(f, "{} answers {}", name(leader), name(follower)),
            Action::Hear { follower, leader } => write!(f, "{} hears {}'s answer", name(follower), name(leader)),
            Action::Shrink(at) => write!(f, "{} proposes an ISR without those that lag", name(at)),
            Action::Decide(at) => write!(f, "the controller decides on {}'s proposal", name(at)),
            Action::Learn(at) => write!(f, "{} hears what became of its proposal", name(at)),
            Action::Tell { replica, epoch } => write!(f, "{} is told who leads epoch {epoch}", name(replica)),
            Action::Elect(at) => write!(f, "{} is elected", name(at)),
            Action::Replace { gone, leader: Some(leader) } => {
                write!(f, "the controller sees that {} is gone, and elects {}", name(gone), name(leader))
            }
            Action::Replace { gone, leader: None } => write!(f, "the controller sees that {} is gone", name(gone)),
            Action::Crash { replica, power: false } => write!(f, "{} crashes", name(replica)),
            Action::Crash { replica, power: true } => write!(f, "{} loses power", name(replica)),
            Action::Boot(at) => write!(f, "{} starts", name(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{IsrJoin, Truncation};

    const SMALL: Bounds = Bounds {
        records: 1,
        elections: 1,
        crashes: 0,
        power_losses: 0,
        shrinks: 0,
        min_isr: 2,
        late_questions: false,
        states: 500_000,
        until_violation: true,
    };

    #[test]
    fn without_faults_the_small_world_is_exhausted_and_holds() {
        let report = partition(SMALL, Rules::default());
        assert_eq!(report.violations, []);
        assert!(report.exhausted && report.states > 100, "{report:?}");
    }

    #[test]
    fn old_rules_break_a_promise() {
        let truncation = |truncation| Rules { truncation, ..Rules::default() };
        let joining = Rules { isr_join: IsrJoin::HighWatermark, ..Rules::default() };
        for (rules, bounds) in [
            (truncation(Truncation::HighWatermark), SMALL),
            (joining, Bounds { elections: 0, crashes: 1, shrinks: 1, ..SMALL }),
        ] {
            let report = partition(bounds, rules);
            assert!(report.violations.first().is_some_and(|v| !v.path.is_empty()), "{rules:?}: {report:?}");
        }
    }
}
