//! A keeper's figures, under the names of ZooKeeper 3.9's `PrometheusMetricsProvider`. Times are in milliseconds.

use super::report::Report;
use super::talks::Sizes;
use super::{Seen, process};
use crate::observe::spans::Spans;
use glasshouse_core::keeper::Keeper;
use glasshouse_core::note::keeper::KeeperNote;
use glasshouse_core::note::zab::{SyncKind, ZabNote};
use glasshouse_core::time::Instant;
use glasshouse_core::zab::{LearnerStage, Role};
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Counters {
    proposals: u64,
    commits: u64,
    looking: u64,
    looking_since: Option<Instant>,
    election: Spans,
    leading_since: Option<Instant>,
    diffs: u64,
    snaps: u64,
    dropped_learners: u64,
    expired: u64,
    refused_sessions: u64,
    snapshot_since: Option<Instant>,
    snapshots: Spans,
    watches_fired: u64,
    size: Size,
    /// What this keeper proposed since it leads.
    pub proposed: Sizes,
}

/// What the tree's data amounts to; counted again only once a thousand times the effort has passed.
#[derive(Debug, Default)]
struct Size {
    bytes: u64,
    counted: Option<(std::time::Instant, Duration)>,
}

impl Counters {
    pub fn count_zab(&mut self, now: Instant, note: &ZabNote) {
        match note {
            ZabNote::Looking { .. } => {
                self.looking += 1;
                self.looking_since.get_or_insert(now);
                self.leading_since = None;
            }
            ZabNote::Elected { .. } => {
                if let Some(since) = self.looking_since.take() {
                    self.election.add(Duration::from_nanos(now.since(since).0));
                }
            }
            ZabNote::Established { .. } => {
                self.leading_since = Some(now);
                self.proposed = Sizes::default();
            }
            ZabNote::SyncChosen { sync, .. } => match sync {
                SyncKind::Diff | SyncKind::DiffFromDisk | SyncKind::Trunc => self.diffs += 1,
                SyncKind::Snap => self.snaps += 1,
            },
            ZabNote::Proposed { .. } => self.proposals += 1,
            ZabNote::Committed { .. } => self.commits += 1,
            ZabNote::LearnerDropped { .. } => self.dropped_learners += 1,
            ZabNote::SteppedDown { .. } => self.leading_since = None,
            ZabNote::VotedFor { .. }
            | ZabNote::EpochAccepted { .. }
            | ZabNote::Joined { .. }
            | ZabNote::UpToDate { .. }
            | ZabNote::Truncated { .. }
            | ZabNote::Restored { .. } => {}
        }
    }

    pub fn count_keeper(&mut self, now: Instant, note: &KeeperNote) {
        match note {
            KeeperNote::SessionExpired { .. } => self.expired += 1,
            KeeperNote::SessionRefused { .. } => self.refused_sessions += 1,
            KeeperNote::WatchFired { .. } => self.watches_fired += 1,
            KeeperNote::SnapshotBegun { .. } => self.snapshot_since = Some(now),
            KeeperNote::SnapshotTaken { .. } => {
                if let Some(since) = self.snapshot_since.take() {
                    self.snapshots.add(Duration::from_nanos(now.since(since).0));
                }
            }
            KeeperNote::Serving { .. }
            | KeeperNote::StoppedServing { .. }
            | KeeperNote::SessionCreated { .. }
            | KeeperNote::SessionMoved { .. }
            | KeeperNote::SessionClosed { .. }
            | KeeperNote::WriteRefused { .. }
            | KeeperNote::SessionResumed { .. }
            | KeeperNote::TreeDiverged { .. } => {}
        }
    }

    /// What the keeper's own [figures](Keeper::figures) do not say.
    pub fn report(&mut self, keeper: &Keeper, seen: &Seen<'_>, report: &mut Report) {
        report.gauge("uptime", seen.now.0 / 1_000_000);
        report.gauge("approximate_data_size", self.size.of(keeper));
        // Each session is known to the whole ensemble here, and nobody is turned away by chance.
        report.gauge("local_sessions", 0);
        report.gauge("connection_drop_probability", "0.0");
        if let Some(open) = process::open_descriptors() {
            report.gauge("open_file_descriptor_count", open);
        }
        let most = process::most_descriptors().and_then(|most| i64::try_from(most).ok());
        report.gauge("max_file_descriptor_count", most.unwrap_or(i64::MAX));
        report.gauge("quorum_size", keeper.peer().config().voters.voters().count());
        self.report_leader(keeper, seen, report);

        report.counter("proposal_count", self.proposals);
        report.counter("commit_count", self.commits);
        report.counter("looking_count", self.looking);
        report.counter("diff_count", self.diffs);
        report.counter("snap_count", self.snaps);
        report.counter("stale_sessions_expired", self.expired);
        report.counter("glasshouse_sessions_refused_total", self.refused_sessions);
        report.counter("glasshouse_learners_dropped_total", self.dropped_learners);
        report.counter("glasshouse_watches_fired_total", self.watches_fired);
        report.summary("election_time", &self.election, 1e3);
        report.summary("snapshottime", &self.snapshots, 1e3);
    }

    fn report_leader(&self, keeper: &Keeper, seen: &Seen<'_>, report: &mut Report) {
        let peer = keeper.peer();
        // As `mntr` has it in words; dashboards count who says 1.
        let states = [
            ("looking", matches!(keeper.role(), Role::Looking)),
            ("leader", matches!(keeper.role(), Role::Leading { .. })),
            ("follower", matches!(keeper.role(), Role::Following { .. })),
            ("observer", matches!(keeper.role(), Role::Observing { .. })),
        ];
        report.gauges("server_state", states.map(|(name, is)| ([("state", name.to_owned())], u8::from(is))));
        report.gauge("glasshouse_zab_epoch", peer.current_epoch());
        report.gauge("glasshouse_zab_last_zxid", peer.last_zxid().0);
        report.gauge("glasshouse_zab_committed_zxid", peer.committed().0);
        let (Some(leading), Some(_)) = (peer.leading(), keeper.lead()) else { return };
        let serving = |observer: bool| {
            let of = leading.learners.iter().filter(|learner| learner.observer == observer);
            of.filter(|learner| learner.stage == LearnerStage::Serving).count()
        };
        report.gauge("learners", leading.learners.len());
        report.gauge("followers", leading.learners.iter().filter(|learner| !learner.observer).count());
        report.gauge("synced_followers", serving(false));
        report.gauge("synced_observers", serving(true));
        let since = self.leading_since.unwrap_or(seen.now);
        report.gauge("leader_uptime", seen.now.since(since).as_millis());
        let Sizes { last, smallest, largest } = self.proposed;
        report.gauge("last_proposal_size", last);
        report.gauge("min_proposal_size", smallest);
        report.gauge("max_proposal_size", largest);
    }
}

impl Size {
    fn of(&mut self, keeper: &Keeper) -> u64 {
        let fresh = |(at, took): (std::time::Instant, Duration)| at.elapsed() < took * 1000;
        if !self.counted.is_some_and(fresh) {
            let began = std::time::Instant::now();
            let sizes =
                keeper.tree().walk().map(|(path, node)| path.as_str().len() as u64 + u64::from(node.data_length()));
            self.bytes = sizes.sum();
            self.counted = Some((std::time::Instant::now(), began.elapsed()));
        }
        self.bytes
    }
}
