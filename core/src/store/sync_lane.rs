//! Group commit: who asks for a sync while one is running joins the next one, so one fsync answers a hundred tickets.

use crate::machine::Ticket;

/// The syncs of one lane. Both hosts use it; neither keeps a queue of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SyncLane {
    /// The highest ticket of the sync that runs.
    in_flight: Option<Ticket>,
    /// The highest ticket asked for since it began.
    queued: Option<Ticket>,
}

impl SyncLane {
    /// A ticket wants what was written before it to be durable. True: the host starts a sync now.
    #[must_use]
    pub fn ask(&mut self, ticket: Ticket) -> bool {
        if self.in_flight.is_some() {
            self.queued = self.queued.max(Some(ticket));
            return false;
        }
        self.in_flight = Some(ticket);
        true
    }

    /// The sync that ran is complete: the ticket up to which `Synced` speaks, and whether the host starts the next one.
    #[must_use]
    pub fn complete(&mut self) -> (Ticket, bool) {
        let done = self.in_flight.expect("a sync completes that was never begun");
        self.in_flight = self.queued.take();
        (done, self.in_flight.is_some())
    }

    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_tickets_cost_two_syncs() {
        let mut lane = SyncLane::default();
        assert!(lane.ask(Ticket(1)));
        for ticket in 2..=100 {
            assert!(!lane.ask(Ticket(ticket)), "one is running");
        }
        assert_eq!(lane.complete(), (Ticket(1), true));
        assert!(lane.is_busy());
        assert_eq!(lane.complete(), (Ticket(100), false));
        assert!(!lane.is_busy());
    }
}
