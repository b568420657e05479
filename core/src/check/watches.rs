//! Watches of the simulated ZooKeeper clients (protocol.md D.1-20): told once, told before the change is seen, and told
//! in the end.
//!
//! It sees what clients ask, what they are answered and what they are told; it knows nothing of the servers' tables.

use super::Findings;
use crate::id::{SessionId, Zxid};
use crate::ordered::OrdMap;
use crate::time::Instant;
use std::sync::Arc;

/// What each session waits for.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    /// Watches each session asked for and was not yet told of, at most.
    asked: OrdMap<(SessionId, Arc<str>), u32>,
    /// Watches on data that a session knows to be set: the state of the server that set them.
    armed: OrdMap<(SessionId, Arc<str>), Zxid>,
}

impl Watches {
    /// A client asked for a watch.
    pub fn on_asked(&mut self, session: SessionId, path: &Arc<str>) {
        *self.asked.entry((session, path.clone())).or_default() += 1;
    }

    /// A client was told that what it watches changed.
    pub fn on_told(&mut self, session: SessionId, path: &Arc<str>, find: &mut Findings) {
        let place = (session, path.clone());
        self.armed.remove(&place);
        match self.asked.get_mut(&place) {
            Some(left) if *left > 0 => *left -= 1,
            _ => {
                find.fire("TREE-3", || format!("session {session} is told that {path} changed, and watches it no more"))
            }
        }
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
        let place = (session, path.clone());
        if let Some(since) = self.armed.get(&place).copied()
            && modified.is_none_or(|modified| modified > since)
        {
            find.fire("TREE-5", || {
                let how = modified.map_or("gone".to_owned(), |zxid| format!("changed at {zxid}"));
                format!("session {session} watches {path} since {since} and sees it {how} before it is told")
            });
        }
        if watch {
            self.armed.insert(place, seen);
        }
    }

    /// A client's session is over.
    pub fn on_session_over(&mut self, session: SessionId) {
        self.asked.retain(|(owner, _), _| *owner != session);
        self.armed.retain(|(owner, _), _| *owner != session);
    }

    /// The world has come to rest, and this session lives. `changed`: when a node changed last. Nothing that was changed
    /// before `long_ago` may still be waited for.
    pub fn at_rest(
        &self,
        session: SessionId,
        changed: impl Fn(&str) -> Option<(Zxid, Instant)>,
        long_ago: Instant,
        find: &mut Findings,
    ) {
        for ((_, path), since) in self.armed.iter().filter(|((owner, _), _)| *owner == session) {
            if let Some((zxid, at)) = changed(path)
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
