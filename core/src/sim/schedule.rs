//! What happens next in a world: one total order over everything that is due, by (time, class, node, sequence).
//!
//! Knows nothing of what the events mean.

use crate::id::NodeId;
use crate::time::Instant;
use core::cmp::Reverse;
use std::collections::BinaryHeap;

/// At equal times: first what arrives, then the disk, then timers, and last what a person does: a world that is stopped
/// at a moment has lived through it, so an action by hand comes after all of it, and must when it is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Network,
    Disk,
    Timer,
    Action,
}

/// Something due, with its place in the total order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Due<E> {
    at: Instant,
    class: Class,
    node: NodeId,
    sequence: u64,
    event: E,
}

/// Everything that is due, the soonest first.
#[derive(Clone, Debug)]
pub struct Schedule<E: Ord> {
    due: BinaryHeap<Reverse<Due<E>>>,
    sequence: u64,
}

impl<E: Ord> Default for Schedule<E> {
    fn default() -> Self {
        Schedule { due: BinaryHeap::new(), sequence: 0 }
    }
}

impl<E: Ord> Schedule<E> {
    pub fn push(&mut self, at: Instant, class: Class, node: NodeId, event: E) {
        self.sequence += 1;
        self.due.push(Reverse(Due { at, class, node, sequence: self.sequence, event }));
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    pub fn pop(&mut self) -> Option<(Instant, NodeId, E)> {
        self.due.pop().map(|Reverse(due)| (due.at, due.node, due.event))
    }

    pub fn len(&self) -> usize {
        self.due.len()
    }

    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_are_ordered_by_class_then_node_then_arrival() {
        let mut schedule = Schedule::default();
        schedule.push(Instant(5), Class::Timer, NodeId::keeper(1), "timer of keeper-1");
        schedule.push(Instant(5), Class::Network, NodeId::Broker(1), "message to broker-1");
        schedule.push(Instant(5), Class::Network, NodeId::keeper(2), "first message to keeper-2");
        schedule.push(Instant(5), Class::Network, NodeId::keeper(2), "a second message to keeper-2");
        schedule.push(Instant(4), Class::Timer, NodeId::Client(9), "sooner");
        let order: Vec<_> = core::iter::from_fn(|| schedule.pop()).map(|(_, _, event)| event).collect();
        assert_eq!(
            order,
            [
                "sooner",
                "first message to keeper-2",
                "a second message to keeper-2",
                "message to broker-1",
                "timer of keeper-1",
            ]
        );
    }
}
