//! Atomic broadcast as ZooKeeper 3.9 runs it (Junqueira, Reed, Serafini 2011; protocol.md A), phase by phase. Payloads
//! are opaque bytes; sessions, znodes and clients are not known here.
//!
//! ```text
//!            elected, is me            a quorum of FOLLOWERINFO, then of ACKEPOCH         a quorum of ACK NEWLEADER
//!  Looking ─────────────────▶ Leading ────────────────────────────────────▶ synchronising ─────────────▶ established
//!     ▲  │  elected, another               LEADERINFO, ACKEPOCH                 NEWLEADER, UPTODATE
//!     │  └──────────────────▶ Following ─────────────────────────────────▶ synchronising ─────────────▶ serving
//!     └────────────────────── a link broke, a time-out, no quorum, the counter is used up: from everywhere ──┘
//!       phase 0: election.rs              phase 1: discovery.rs              phase 2: sync.rs        phase 3: broadcast.rs
//! ```
//!
//! # Where this differs from ZooKeeper, and why
//!
//! ZooKeeper's tree may hold transactions that are logged and not committed, so that it must be fast-forwarded, cut and
//! cleared when a leader is lost, and five of its bugs live there. Here *the tree never holds an uncommitted
//! transaction*: `history.rs` keeps `applied ≤ committed ≤ appended`, elections use the last appended zxid, a
//! new leader's whole recovered history becomes committed when it is established, and a learner applies what its
//! leader said was committed when UPTODATE arrives, not before. Hence, by construction:
//!
//! - Z1 (memory kept across elections lags the log): the vote and ACKEPOCH carry the log's end, never the tree's.
//! - Z9 (memory ahead of the log after an interrupted TRUNC): nothing is applied between TRUNC and UPTODATE.
//! - Z10 (a SNAP that was not finished stays in memory): the image takes effect whole, together with its file.
//! - Z12 (a DIFF header moves the zxid): only appending moves it.
//! - Z19 (a snapshot of uncommitted transactions): snapshots are made of the tree, which has none.
//!
//! Other differences: a learner that is cut by TRUNC or SNAP loses its standing acknowledgements (a leader whose own
//! fsync is late could else commit by an ACK whose transaction was just cut); observers log their history before they
//! acknowledge NEWLEADER, as followers do; a keeper that crashed after its leader's history was durable and before
//! `currentEpoch` was starts again ([`Peer::recover`]); the database image of a SNAP is made of committed transactions
//! only, the rest of the leader's history follows it as proposals.
//!
//! # Who owns what
//!
//! The peer owns the tickets of `Lane::Journal`. Periodic snapshots are the keeper's: it counts what it applied, writes
//! on `Lane::Snapshot`, and asks for `RollJournal` and `PurgeJournal`; DIFF from disk asks the journal itself how far it
//! reaches back. Effects that need the tree ([`Effect::Dump`], [`Effect::AnswerPing`], [`Effect::Restore`]) stand in the
//! stream of effects at the place where the keeper must perform them: it walks the effects in order and puts its own in
//! their place.

mod broadcast;
mod discovery;
mod election;
mod following;
mod history;
mod leading;
mod peer;
mod sync;
mod vote;

pub use following::{Following, Stage as FollowingStage};
pub use history::History;
pub use leading::{Leading, Learner, LearnerStage, Outstanding, Stage as LeadingStage};
pub use peer::Peer;
pub use vote::Vote;

use crate::api::peer::{Channel, Notification, QuorumPacket};
use crate::api::storage::{Load, Loaded, StoreOp};
use crate::id::{KeeperId, ZabEpoch, Zxid};
use crate::machine::Ticket;
use crate::ordered::OrdSet;
use crate::quorum::Quorum;
use crate::rng::Rng;
use crate::rules::Rules;
use crate::time::Span;
use bytes::Bytes;

/// What one peer is configured with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub me: KeeperId,
    /// Who votes. Every keeper of the ensemble is in here or in `observers`.
    pub voters: Quorum,
    pub observers: OrdSet<KeeperId>,
    /// ZooKeeper's `tickTime`.
    pub tick: Span,
    /// Ticks a learner may take to connect and synchronise, and a leader to be established.
    pub init_limit: u32,
    /// Ticks a learner and its leader may be silent.
    pub sync_limit: u32,
    /// How long an election waits for a better vote once a quorum agrees (200 ms), and half of it between two tries to
    /// reach a leader (100 ms, five tries).
    pub finalize_wait: Span,
    /// Longest pause between two rounds of notifications (60 s).
    pub max_notification_interval: Span,
    /// Committed transactions kept in memory for DIFF (`zookeeper.commitLogCount`, 500).
    pub commit_log_count: u32,
    /// Most bytes of journal that a learner is sent instead of a snapshot; 0 turns DIFF from disk off. (ZooKeeper takes
    /// a third of the newest snapshot's size, without a limit where there is no snapshot.)
    pub disk_diff_max_bytes: u64,
    /// Bytes asked of the journal at once.
    pub load_bytes: u32,
    /// The counter that is never used: reaching it, the leader steps down for a new epoch (ZOOKEEPER-1277).
    /// `u32::MAX`, smaller in tests.
    pub counter_limit: u32,
    pub rules: Rules,
}

impl Config {
    /// ZooKeeper's defaults with the sample configuration's ticks (2 s, 10, 5), for keepers that all vote.
    pub fn new(me: KeeperId, voters: impl IntoIterator<Item = KeeperId>) -> Config {
        Config {
            me,
            voters: Quorum::majority_of(voters),
            observers: OrdSet::new(),
            tick: Span::secs(2),
            init_limit: 10,
            sync_limit: 5,
            finalize_wait: Span::millis(200),
            max_notification_interval: Span::secs(60),
            commit_log_count: 500,
            disk_diff_max_bytes: 4 << 20,
            load_bytes: 64 << 10,
            counter_limit: u32::MAX,
            rules: Rules::default(),
        }
    }

    /// Whether this peer only listens.
    pub fn is_observer(&self) -> bool {
        !self.voters.is_voter(self.me)
    }
}

/// What a peer finds on its disk when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovered {
    pub accepted_epoch: ZabEpoch,
    pub current_epoch: ZabEpoch,
    /// The zxid of the newest valid snapshot, which the keeper's tree holds; zero where there is none.
    pub snapshot_zxid: Zxid,
    /// Every transaction of the journal above the snapshot, in order: appended, and not known to be committed.
    pub history: Vec<(Zxid, Bytes)>,
    /// Chance for this boot.
    pub rng: Rng,
}

/// What a peer is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    Wake,
    Up { channel: Channel },
    Down { channel: Channel },
    Election { channel: Channel, notification: Notification },
    Packet { channel: Channel, packet: QuorumPacket },
    Synced { upto: Ticket },
    Loaded { ticket: Ticket, what: Loaded },
}

/// What a peer asks for. The keeper handles them in order; `Store`, `Sync` and `Load` go to `Lane::Journal`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// On the election channel.
    Notify {
        channel: Channel,
        notification: Notification,
    },
    /// On the quorum channel.
    Send {
        channel: Channel,
        packet: QuorumPacket,
    },
    Hangup {
        channel: Channel,
    },
    Store(StoreOp),
    Sync(Ticket),
    Load {
        ticket: Ticket,
        what: Load,
    },
    /// The node cannot go on.
    Halt {
        why: String,
    },

    // To the keeper.
    /// The role changed. Leaving a role, every request that waits for a commit will not be answered.
    Became(Role),
    /// A committed transaction: apply it to the tree. In zxid order, each once, except again after a `Restore` or
    /// `Reloaded` that lies below it.
    Apply {
        zxid: Zxid,
        txn: Bytes,
    },
    /// A whole database image came from the leader (the bytes after SNAP, "BenWasHere" included). The keeper replaces its
    /// tree by it and, in this place, before anything that follows, stores it on `Lane::Journal`: `SnapshotBegin`,
    /// `SnapshotPiece`…, `SnapshotEnd { replaces_journal: true }`. The peer syncs after it.
    Restore {
        zxid: Zxid,
        image: Bytes,
    },
    /// Applied transactions were cut (possible under historical rules only). The keeper replaces its tree by this
    /// snapshot and these transactions, which end at `to`.
    Reloaded {
        to: Zxid,
        snapshot: Option<(Zxid, Bytes)>,
        txns: Vec<(Zxid, Bytes)>,
    },
    /// Send the tree as it stands, in this place, to this learner: `SnapPiece` packets of bounded size, the last of
    /// which ends with the jute string "BenWasHere". `zxid` is the last applied.
    Dump {
        channel: Channel,
        zxid: Zxid,
    },
    /// Answer the leader's PING, in this place: a PING packet with the same zxid and the touched sessions as data.
    AnswerPing {
        channel: Channel,
        zxid: Zxid,
    },
    /// A learner's PING answer arrived at the leader: its touched sessions, (session i64, timeout i32)*.
    Touched {
        from: KeeperId,
        table: Bytes,
    },
    /// REQUEST or REVALIDATE of a learner arrived at the established leader.
    FromLearner {
        from: KeeperId,
        packet: QuorumPacket,
    },
    /// SYNC or REVALIDATE answer arrived from the leader.
    FromLeader {
        packet: QuorumPacket,
    },
}

/// What a peer is to its ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Looking,
    /// `established`: a quorum holds its history; it may propose. `epoch` is meaningful from then on.
    Leading {
        epoch: ZabEpoch,
        established: bool,
    },
    /// `serving`: UPTODATE arrived.
    Following {
        leader: KeeperId,
        serving: bool,
    },
    Observing {
        leader: KeeperId,
        serving: bool,
    },
}

impl Role {
    /// Whether clients may be served.
    pub const fn is_serving(self) -> bool {
        match self {
            Role::Looking => false,
            Role::Leading { established, .. } => established,
            Role::Following { serving, .. } | Role::Observing { serving, .. } => serving,
        }
    }
}

#[cfg(test)]
mod tests;
