//! Who leads a partition, and which replicas stay in the ISR: the election strategies of protocol.md C.3 as pure
//! functions. Knows neither ZooKeeper nor requests; the state machines write what is decided here.

use crate::broker::znodes::{Assignment, PartitionState};
use crate::id::{BrokerId, ControllerEpoch, LeaderEpoch};
use core::fmt;

/// Why a leader is looked for, and so by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// A new partition gets its first leader.
    Initial,
    /// The leader is dead. `unclean`: a replica outside the ISR will do if no member is live (at the price of records).
    Offline { unclean: bool },
    /// The leader is not among the replicas a reassignment leads to.
    Reassign,
    /// Back to the head of the assignment.
    Preferred,
    /// The leader's broker is about to stop in order.
    ControlledShutdown,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Initial => "initial",
            Strategy::Offline { unclean: false } => "offline",
            Strategy::Offline { unclean: true } => "unclean",
            Strategy::Reassign => "reassign",
            Strategy::Preferred => "preferred",
            Strategy::ControlledShutdown => "controlled shutdown",
        })
    }
}

/// What an election looks at beside the state znode.
#[derive(Clone, Copy)]
pub struct Ballot<'a> {
    pub assignment: &'a Assignment,
    /// Registered, and the replica's log directory has not failed; a broker that is shutting down counts.
    pub registered: &'a dyn Fn(BrokerId) -> bool,
    pub shutting_down: &'a dyn Fn(BrokerId) -> bool,
}

impl Ballot<'_> {
    fn live(&self, id: BrokerId) -> bool {
        (self.registered)(id) && !(self.shutting_down)(id)
    }

    /// The assigned replicas that hear of the result.
    pub fn live_replicas(&self, strategy: Strategy) -> Vec<BrokerId> {
        let with_leaving = strategy == Strategy::ControlledShutdown;
        let of = self.assignment.replicas.iter().copied();
        of.filter(|id| if with_leaving { (self.registered)(*id) } else { self.live(*id) }).collect()
    }
}

/// The first state of a partition: led by the first live replica, all live ones in the ISR. `None` if there is none.
pub fn initial(ballot: Ballot<'_>, epoch: ControllerEpoch) -> Option<PartitionState> {
    let isr = ballot.live_replicas(Strategy::Initial);
    Some(PartitionState {
        controller_epoch: epoch,
        leader: Some(*isr.first()?),
        leader_epoch: LeaderEpoch(0),
        isr,
        recovering: false,
    })
}

/// The state after a successful election: one leader epoch on. `None` if the strategy finds nobody; nothing is written then.
pub fn elect(
    strategy: Strategy,
    state: &PartitionState,
    ballot: Ballot<'_>,
    epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let in_isr = |id: &BrokerId| state.isr.contains(id);
    let replicas = || ballot.assignment.replicas.iter().copied();
    let live = |id: &BrokerId| ballot.live(*id);
    match strategy {
        Strategy::Initial => initial(ballot, epoch),
        Strategy::Offline { unclean } => {
            if let Some(leader) = replicas().find(|id| live(id) && in_isr(id)) {
                let isr = state.isr.iter().copied().filter(live).collect();
                return Some(led_by(state, Some(leader), isr, epoch));
            }
            let leader = replicas().find(|id| unclean && live(id))?;
            Some(PartitionState { recovering: true, ..led_by(state, Some(leader), vec![leader], epoch) })
        }
        Strategy::Reassign => {
            let leader = ballot.assignment.target().into_iter().find(|id| live(id) && in_isr(id))?;
            Some(led_by(state, Some(leader), state.isr.clone(), epoch))
        }
        Strategy::Preferred => {
            let head = replicas().next().filter(|id| live(id) && in_isr(id))?;
            Some(led_by(state, Some(head), state.isr.clone(), epoch))
        }
        Strategy::ControlledShutdown => {
            let leader = replicas().find(|id| live(id) && in_isr(id))?;
            let isr = state.isr.iter().copied().filter(|id| !(ballot.shutting_down)(*id)).collect();
            Some(led_by(state, Some(leader), isr, epoch))
        }
    }
}

/// The state without `replica` in its ISR (C.2, OfflineReplica): the last member is kept, a leader that goes leaves
/// none, and the leader epoch grows in every case. `None` if it is not in the ISR: nothing is written.
pub fn without(replica: BrokerId, state: &PartitionState, epoch: ControllerEpoch) -> Option<PartitionState> {
    if !state.isr.contains(&replica) {
        return None;
    }
    let leader = state.leader.filter(|leader| *leader != replica);
    let isr = match state.isr.as_slice() {
        [last] => vec![*last],
        isr => isr.iter().copied().filter(|id| *id != replica).collect(),
    };
    Some(led_by(state, leader, isr, epoch))
}

/// The same leader and ISR, one leader epoch on: tells replicas of a changed assignment (C.3).
pub fn bumped(state: &PartitionState, epoch: ControllerEpoch) -> PartitionState {
    led_by(state, state.leader, state.isr.clone(), epoch)
}

fn led_by(
    state: &PartitionState,
    leader: Option<BrokerId>,
    isr: Vec<BrokerId>,
    epoch: ControllerEpoch,
) -> PartitionState {
    PartitionState {
        controller_epoch: epoch,
        leader,
        leader_epoch: LeaderEpoch(state.leader_epoch.0 + 1),
        isr,
        recovering: state.recovering,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[i32]) -> Vec<BrokerId> {
        of.iter().map(|id| BrokerId(*id)).collect()
    }

    /// "strategy: replicas [-removing]; isr; registered; leaving" gives "leader isr" of the election.
    fn check(strategy: Strategy, replicas: &[i32], isr: &[i32], registered: &[i32], leaving: &[i32]) -> String {
        check_moving(strategy, Assignment::of(ids(replicas)), isr, registered, leaving)
    }

    fn check_moving(
        strategy: Strategy,
        assignment: Assignment,
        isr: &[i32],
        registered: &[i32],
        leaving: &[i32],
    ) -> String {
        let ballot = Ballot {
            assignment: &assignment,
            registered: &|id| registered.contains(&id.0),
            shutting_down: &|id| leaving.contains(&id.0),
        };
        let state = PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(4),
            isr: ids(isr),
            recovering: false,
        };
        match elect(strategy, &state, ballot, ControllerEpoch(2)) {
            None => "nobody".to_owned(),
            Some(new) => {
                assert_eq!(new.controller_epoch, ControllerEpoch(2));
                let isr: Vec<String> = new.isr.iter().map(BrokerId::to_string).collect();
                let recovering = if new.recovering { " recovering" } else { "" };
                format!("{} of {} at {}{recovering}", new.leader.map_or(-1, |id| id.0), isr.join(","), new.leader_epoch)
            }
        }
    }

    #[test]
    fn the_first_leader_is_the_first_live_replica() {
        assert_eq!(check(Strategy::Initial, &[2, 1, 3], &[], &[1, 2, 3], &[]), "2 of 2,1,3 at 0");
        assert_eq!(check(Strategy::Initial, &[2, 1, 3], &[], &[1, 3], &[]), "1 of 1,3 at 0");
        assert_eq!(check(Strategy::Initial, &[2, 1, 3], &[], &[2, 3], &[2]), "3 of 3 at 0");
        assert_eq!(check(Strategy::Initial, &[2, 1], &[], &[3], &[]), "nobody");
    }

    #[test]
    fn a_dead_leader_is_followed_by_a_live_member_of_the_isr_in_assignment_order() {
        let clean = Strategy::Offline { unclean: false };
        let unclean = Strategy::Offline { unclean: true };
        assert_eq!(check(clean, &[1, 3, 2], &[2, 3, 1], &[2, 3], &[]), "3 of 2,3 at 5");
        assert_eq!(check(clean, &[1, 2, 3], &[1, 3], &[2, 3], &[]), "3 of 3 at 5");
        assert_eq!(check(clean, &[1, 2, 3], &[1], &[2, 3], &[]), "nobody");
        assert_eq!(check(unclean, &[1, 2, 3], &[1], &[2, 3], &[]), "2 of 2 at 5 recovering");
        assert_eq!(check(unclean, &[1, 2, 3], &[1, 3], &[2, 3], &[]), "3 of 3 at 5");
        assert_eq!(check(unclean, &[1, 2, 3], &[1], &[], &[]), "nobody");
    }

    #[test]
    fn a_reassignment_takes_the_first_of_its_target_and_leaves_the_isr() {
        let moving = Assignment::of(ids(&[1, 2])).reassign_to(&ids(&[3, 2]));
        assert_eq!(check_moving(Strategy::Reassign, moving.clone(), &[1, 2, 3], &[1, 2, 3], &[]), "3 of 1,2,3 at 5");
        assert_eq!(check_moving(Strategy::Reassign, moving.clone(), &[1, 2], &[1, 2, 3], &[]), "2 of 1,2 at 5");
        assert_eq!(check_moving(Strategy::Reassign, moving, &[1], &[1, 2, 3], &[]), "nobody");
    }

    #[test]
    fn the_preferred_leader_must_be_live_and_in_the_isr() {
        assert_eq!(check(Strategy::Preferred, &[2, 1], &[1, 2], &[1, 2], &[]), "2 of 1,2 at 5");
        assert_eq!(check(Strategy::Preferred, &[2, 1], &[1], &[1, 2], &[]), "nobody");
        assert_eq!(check(Strategy::Preferred, &[2, 1], &[1, 2], &[1], &[]), "nobody");
    }

    #[test]
    fn a_broker_that_leaves_in_order_leaves_the_isr_too() {
        assert_eq!(check(Strategy::ControlledShutdown, &[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1]), "2 of 2,3 at 5");
        assert_eq!(check(Strategy::ControlledShutdown, &[1, 2], &[1], &[1, 2], &[1]), "nobody");
    }

    #[test]
    fn leaving_the_isr_keeps_its_last_member() {
        let state = |leader: Option<i32>, epoch, isr: &[i32]| PartitionState {
            controller_epoch: ControllerEpoch(2),
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch(epoch),
            isr: ids(isr),
            recovering: false,
        };
        let out = |id, from: &PartitionState| without(BrokerId(id), from, ControllerEpoch(2));
        assert_eq!(out(1, &state(Some(1), 4, &[1, 2])), Some(state(None, 5, &[2])));
        assert_eq!(out(2, &state(Some(1), 4, &[1, 2])), Some(state(Some(1), 5, &[1])));
        assert_eq!(out(1, &state(Some(1), 4, &[1])), Some(state(None, 5, &[1])));
        assert_eq!(out(3, &state(Some(1), 4, &[1, 2])), None);
    }
}
