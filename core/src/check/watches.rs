//! Watches of the simulated ZooKeeper clients (protocol.md D.1-20): told once, told before the change is seen, and told
//! in the end.
//!
//! It sees what clients ask, what they are answered and what they are told; it knows nothing of the servers' tables.

use super::Findings;
use crate::id::{SessionId, Zxid};
use crate::ordered::OrdMap;
use crate::time::Instant;
use std::sync::Arc;

/// What a watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Awaited {
    /// That the node changes, or goes.
    Data,
    /// That there is such a node.
    Creation,
    /// That children come or go, or the node itself goes.
    Children,
}

/// `NodeDeleted` and `NodeChildrenChanged` (protocol.md B.6).
const DELETED: i32 = 2;
const CHILDREN_CHANGED: i32 = 4;

/// How often a session may be told of a znode yet.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    data: u32,
    children: u32,
    in_all: u32,
}

/// What each session waits for.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    /// Watches each session asked for and was not yet told of, at most.
    asked: OrdMap<(SessionId, Arc<str>), Left>,
    /// Watches that a session knows to be set: the state of the server that set them.
    armed: OrdMap<(SessionId, Arc<str>, Awaited), Zxid>,
}

impl Watches {
    /// A client asked for a watch.
    pub fn on_asked(&mut self, session: SessionId, path: &Arc<str>, children: bool) {
        let left = self.asked.entry((session, path.clone())).or_default();
        *(if children { &mut left.children } else { &mut left.data }) += 1;
        left.in_all += 1;
    }

    /// A client was told that what it watches changed.
    pub fn on_told(&mut self, session: SessionId, path: &Arc<str>, event: i32, find: &mut Findings) {
        let children = event == CHILDREN_CHANGED;
        for awaited in [Awaited::Data, Awaited::Creation, Awaited::Children] {
            if event == DELETED || children == (awaited == Awaited::Children) {
                self.armed.remove(&(session, path.clone(), awaited));
            }
        }
        let left = self.asked.entry((session, path.clone())).or_default();
        // A deletion tells of either kind, and perhaps of both.
        let mut everything = left.in_all;
        let of_kind = match event {
            DELETED => &mut everything,
            CHILDREN_CHANGED => &mut left.children,
            _ => &mut left.data,
        };
        if *of_kind == 0 || left.in_all == 0 {
            find.fire("TREE-3", || format!("session {session} is told that {path} changed, and watches it no more"));
        }
        *of_kind = of_kind.saturating_sub(1);
        left.in_all = left.in_all.saturating_sub(1);
    }

    /// A client was answered a read, in the state of `seen`: a node modified at `modified`, `None` where there is none.
    /// `watch`: the read has set a watch.
    pub fn on_saw(
        &mut self,
        session: SessionId,
        path: &Arc<str>,
        modified: Option<Zxid>,
        seen: Zxid,
        watch: bool,
        find: &mut Findings,
    ) {
        self.judge(session, path, Awaited::Data, |since| modified.is_none_or(|modified| modified > since), find);
        self.judge(session, path, Awaited::Creation, |_| modified.is_some(), find);
        self.judge(session, path, Awaited::Children, |_| modified.is_none(), find);
        if watch {
            let awaited = if modified.is_some() { Awaited::Data } else { Awaited::Creation };
            self.armed.insert((session, path.clone(), awaited), seen);
        }
    }

    /// A client was told of children that changed last at `modified`, in the state of `seen`.
    pub fn on_listed(
        &mut self,
        session: SessionId,
        path: &Arc<str>,
        modified: Zxid,
        seen: Zxid,
        watch: bool,
        find: &mut Findings,
    ) {
        self.judge(session, path, Awaited::Creation, |_| true, find);
        self.judge(session, path, Awaited::Children, |since| modified > since, find);
        if watch {
            self.armed.insert((session, path.clone(), Awaited::Children), seen);
        }
    }

    /// Is there a watch that should have told of what is seen now?
    fn judge(
        &self,
        session: SessionId,
        path: &Arc<str>,
        awaited: Awaited,
        shows: impl Fn(Zxid) -> bool,
        find: &mut Findings,
    ) {
        if let Some(since) = self.armed.get(&(session, path.clone(), awaited)).copied().filter(|since| shows(*since)) {
            find.fire("TREE-5", || {
                format!("session {session} watches {path} since {since} and sees it changed before it is told")
            });
        }
    }

    /// A client's session is over.
    pub fn on_session_over(&mut self, session: SessionId) {
        self.asked.retain(|(owner, _), _| *owner != session);
        self.armed.retain(|(owner, _, _), _| *owner != session);
    }

    /// The world has come to rest, and this session lives. `changed`: when what it waits for happened last. Nothing that
    /// happened before `long_ago` may still be waited for.
    pub fn at_rest(
        &self,
        session: SessionId,
        changed: impl Fn(&str, Awaited) -> Option<(Zxid, Instant)>,
        long_ago: Instant,
        find: &mut Findings,
    ) {
        for ((_, path, awaited), since) in self.armed.iter().filter(|((owner, _, _), _)| *owner == session) {
            if let Some((zxid, at)) = changed(path, *awaited)
                && zxid > *since
                && at < long_ago
            {
                find.fire("TREE-5", || {
                    format!("session {session} watches {path} since {since} and was never told of {zxid}, at {at}")
                });
            }
        }
    }
}
