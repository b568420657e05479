//! What an established leader does besides leading: it turns requests into proposals, watches over all sessions, and
//! removes containers that nobody needs (protocol.md A.5, A.7, B.4).

use super::prepare::{Asker, prepare};
use super::session::Tracker;
use super::{Config, Keeper, Out};
use crate::api::keeper::{ErrorCode, Op};
use crate::api::peer::{PacketType, QuorumPacket};
use crate::id::{KeeperId, SessionId, Zxid};
use crate::note::keeper::KeeperNote;
use crate::queue::Queue;
use crate::time::{Instant, Wake};
use crate::znode::txn::{DIGEST_VERSION, encode_txn};
use crate::znode::{Applied, Id, Tree, Txn, TxnDigest, TxnHeader};
use std::sync::Arc;

/// Containers deleted in one round of the reaper at most (`znode.container.maxPerMinute`).
const REAPED_AT_ONCE: usize = 10_000;

/// The leader's part of a keeper.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lead {
    /// Every proposal not yet applied, with the tree as it will be then. Requests are judged against the last.
    pub(super) proposed: Queue<Proposed>,
    /// Who lives, and through which keeper.
    pub sessions: Tracker,
    /// Learners whose sync waits until this transaction is applied.
    pub(super) syncs: Queue<(Zxid, KeeperId)>,
    next_reap: Instant,
}

/// A proposal, and what it will do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposed {
    pub header: TxnHeader,
    pub after: Tree,
    pub applied: Applied,
}

/// A write on its way into the pipeline.
pub(super) struct Submission<'a> {
    /// The keeper the client speaks to.
    pub owner: KeeperId,
    pub session: SessionId,
    pub cxid: i32,
    /// A forwarded body may turn out unreadable: it becomes an error transaction, so that its sender goes on (Z20).
    pub op: Result<&'a Op, ErrorCode>,
    pub auth: &'a [Id],
}

impl Lead {
    pub(super) fn new(config: &Config, tree: &Tree, now: Instant) -> Lead {
        Lead {
            proposed: Queue::new(),
            sessions: Tracker::new(config.expiry_interval, tree.sessions(), now),
            syncs: Queue::new(),
            next_reap: now + config.reaper_interval,
        }
    }

    /// Proposals not yet applied.
    pub fn outstanding(&self) -> u32 {
        self.proposed.len() as u32
    }

    pub(super) fn wake_at(&self) -> Option<Wake> {
        let expiry = self.sessions.soonest().map(|at| Wake { at, why: "a session expires" });
        Wake::soonest(expiry, Some(Wake { at: self.next_reap, why: "empty containers are deleted" }))
    }

    /// Does the session still live? If so it speaks through `owner` from now on.
    pub(super) fn revalidate(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        owner: KeeperId,
        out: &mut Out<'_>,
    ) -> bool {
        let alive = self.sessions.touch(session, timeout_ms, out.now.at);
        if alive && let Some(from) = self.sessions.set_owner(session, owner) {
            out.fx.note(KeeperNote::SessionMoved { session, from, to: owner });
        }
        alive
    }
}

impl Keeper {
    /// Judges a request and proposes what it becomes.
    pub(super) fn submit(&mut self, submission: Submission<'_>, out: &mut Out<'_>) {
        // `None`: the peer has just stepped down, and will say so; the client's connection is closed then.
        let Some(zxid) = self.peer.next_zxid(out.now, &mut out.zab) else { return };
        let Some(lead) = &mut self.lead else { return };
        let Submission { owner, session, cxid, op, auth } = submission;
        let header = TxnHeader { session, cxid, zxid, time: out.now.wall };
        let tip = lead.proposed.back().map_or(&self.tree, |last| &last.after);
        assert!(tip.last_zxid() < zxid, "proposing {zxid} on a tree that is at {}", tip.last_zxid());

        let txn = match op {
            Ok(op) => {
                let checked = match op {
                    Op::CreateSession { .. } | Op::CloseSession | Op::DeleteContainer { .. } => Ok(()),
                    _ => lead.sessions.check(session, owner),
                };
                let ttl_enabled = self.config.ttl_enabled;
                prepare(tip, Asker { header: &header, auth, session: checked, ttl_enabled }, op)
            }
            Err(code) => Txn::Error(code.code()),
        };
        let mut after = tip.clone();
        let applied = after.apply(&header, &txn);
        match &txn {
            Txn::CreateSession { timeout } => {
                lead.sessions.track(session, *timeout, out.now.at);
                lead.sessions.set_owner(session, owner);
            }
            Txn::CloseSession { .. } => lead.sessions.set_closing(session),
            Txn::Error(code) => note_refusal(session, zxid, *code, out),
            Txn::Multi(parts) => {
                if let Some(Txn::Error(code)) = parts.iter().find(|part| matches!(part, Txn::Error(_))) {
                    note_refusal(session, zxid, *code, out);
                }
            }
            _ => {}
        }
        let digest = TxnDigest { version: DIGEST_VERSION, tree: after.digest() };
        let bytes = encode_txn(&header, &txn, Some(digest));
        lead.proposed.push_back(Proposed { header, after, applied });
        self.peer.propose(out.now, zxid, bytes, &mut out.zab);
    }

    /// Sessions that nobody vouched for, and containers that are due.
    pub(super) fn on_wake(&mut self, out: &mut Out<'_>) {
        while let Some((session, tracked)) = self.lead.as_mut().and_then(|lead| lead.sessions.pop_expired(out.now.at)) {
            let silent = out.now.at.since(tracked.heard);
            out.fx.note(KeeperNote::SessionExpired { session, silent });
            self.submit_own(session, &Op::CloseSession, out);
        }
        self.reap(out);
    }

    fn reap(&mut self, out: &mut Out<'_>) {
        let Some(lead) = self.lead.as_mut().filter(|lead| lead.next_reap <= out.now.at) else { return };
        lead.next_reap = out.now.at + self.config.reaper_interval;
        let due: Vec<Arc<str>> =
            self.tree.reapable(out.now.wall).take(REAPED_AT_ONCE).map(|path| path.as_str().into()).collect();
        for path in due {
            self.submit_own(SessionId(0), &Op::DeleteContainer { path }, out);
        }
    }

    fn submit_own(&mut self, session: SessionId, op: &Op, out: &mut Out<'_>) {
        let owner = self.config.zab.me;
        self.submit(Submission { owner, session, cxid: 0, op: Ok(op), auth: &[] }, out);
    }

    /// A learner's clients wait until it has everything that is outstanding now.
    pub(super) fn on_sync_request(&mut self, from: KeeperId, out: &mut Out<'_>) {
        let Some(lead) = &mut self.lead else { return };
        match self.peer.last_outstanding().filter(|last| *last > self.tree.last_zxid()) {
            Some(last) => lead.syncs.push_back((last, from)),
            None => self.answer_sync(from, out),
        }
    }

    /// `applied` is: whoever waited for it is told, behind the COMMIT.
    pub(super) fn answer_syncs(&mut self, applied: Zxid, out: &mut Out<'_>) {
        while let Some(lead) = &mut self.lead
            && let Some((_, from)) = lead.syncs.pop_front_if(|(last, _)| *last <= applied)
        {
            self.answer_sync(from, out);
        }
    }

    fn answer_sync(&mut self, learner: KeeperId, out: &mut Out<'_>) {
        let packet = QuorumPacket::new(PacketType::Sync, Zxid::ZERO, None);
        // A learner that is gone asks no more.
        self.peer.send_to(learner, packet, &mut out.zab);
    }
}

fn note_refusal(session: SessionId, zxid: Zxid, code: i32, out: &mut Out<'_>) {
    if let Some(err) = ErrorCode::from_code(code) {
        out.fx.note(KeeperNote::WriteRefused { session, zxid, err });
    }
}
