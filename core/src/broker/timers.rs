//! What a broker does when it wakes: first what it has begun and what it said to itself, then what is due.

use super::{Broker, Timer};
use crate::machine::Effects;
use crate::node::Effect;
use crate::time::{Now, Span};

impl Timer {
    /// For a person to read.
    pub const fn why(self) -> &'static str {
        match self {
            Timer::ShrinkIsr => "looks for followers that lag",
            Timer::CheckpointHighWatermarks => "writes its high watermarks down",
            Timer::Retention => "looks for segments that are too old",
            Timer::Fetcher(_) => "fetches again",
            Timer::FetcherTimeout(_) => "gives up on an answer of its leader",
            Timer::AlterPartitionTimeout => "gives up on an answer of the controller",
            Timer::AlterPartition => "asks the controller for an ISR again",
            Timer::ProducerIds => "asks the controller for producer ids again",
            Timer::Registration => "tries to register again",
            Timer::Shutdown => "asks again to be let go",
        }
    }
}

impl Broker {
    /// The timers that always run.
    pub(super) fn set_timers(&mut self, now: Now) {
        self.deadlines.set(Timer::ShrinkIsr, now.at + self.shrink_interval());
        self.deadlines.set(Timer::Retention, now.at + self.settings.log_retention_check_interval);
    }

    fn shrink_interval(&self) -> Span {
        (self.settings.replica_lag_time_max / 2).max(Span::millis(1))
    }

    pub(super) fn on_wake(&mut self, now: Now, fx: &mut Effects<Effect>) {
        self.obey(now, fx);
        self.hear_myself(now, fx);
        while let Some(timer) = self.deadlines.pop_due(now.at) {
            self.on_timer(now, timer, fx);
        }
        self.answer_overdue(now, fx);
        let events = self.with_keeper(fx, |keeper, fx| keeper.on_wake(now, fx));
        self.on_keeper_events(now, events, fx);
        self.run_shutdown(now, fx);
        if self.controller.as_ref().and_then(|controller| controller.wake_at()).is_some_and(|wake| wake.at <= now.at) {
            self.controller_do(now, fx, |controller, now, fx| controller.on_wake(now, fx));
        }
    }

    fn on_timer(&mut self, now: Now, timer: Timer, fx: &mut Effects<Effect>) {
        match timer {
            Timer::ShrinkIsr => {
                self.shrink_isrs(now, fx);
                self.deadlines.set(timer, now.at + self.shrink_interval());
            }
            Timer::CheckpointHighWatermarks => {
                // Not while some partitions of a LeaderAndIsr are told and others not: those would be left out.
                if self.orders.is_none() {
                    self.checkpoint(fx);
                }
                self.deadlines.set(timer, now.at + self.settings.high_watermark_checkpoint_interval);
            }
            Timer::Retention => {
                let expiration = Span::millis(self.settings.producer_id_expiration.max(0) as u64);
                for partition in self.partitions.values_mut().filter(|partition| partition.settings_are_read) {
                    let settings = partition.settings.clone();
                    partition.log.retain(&settings, now.wall, fx);
                    partition.log.expire_producers(now.wall, expiration);
                }
                self.deadlines.set(timer, now.at + self.settings.log_retention_check_interval);
            }
            Timer::Fetcher(leader) => self.run_fetcher(now, leader, fx),
            Timer::FetcherTimeout(leader) => self.on_fetcher_timeout(now, leader, fx),
            Timer::AlterPartitionTimeout => self.on_alter_timeout(now, fx),
            // The step's end sends what is due.
            Timer::AlterPartition => {}
            Timer::ProducerIds => self.ask_for_producer_ids(now, fx),
            Timer::Registration => self.on_registration_timer(now, fx),
            Timer::Shutdown => self.on_shutdown_timer(now, fx),
        }
    }
}
