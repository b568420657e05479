//! Sessions: their ids and passwords, the timeout that is granted, and the leader's table of who is alive and through
//! which keeper it speaks (protocol.md A.7). Knows no connection and no znode.

use crate::api::keeper::ErrorCode;
use crate::id::{KeeperId, SessionId};
use crate::ordered::OrdMap;
use crate::time::{Deadlines, Instant, Span, UnixMillis};

/// Session ids of one boot: the keeper's id on top, then 40 bits of milliseconds, then a counter that runs over into
/// them. The milliseconds are the wall clock's: a host's monotone clock may start anew with each boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionIds {
    next: i64,
}

impl SessionIds {
    pub fn new(me: KeeperId, wall: UnixMillis) -> SessionIds {
        let millis = (((wall.0 as u64) << 24) >> 8) as i64;
        SessionIds { next: (i64::from(me.0) << 56) | millis }
    }

    /// A session is over: if it was opened here, none at or below its id is drawn any more. The wall clock may have gone back
    /// to a moment at which an earlier boot handed out ids. (Apache relies on the clock.)
    pub fn pass(&mut self, session: SessionId) {
        if session.0 >> 56 == self.next >> 56 && session.0 >= self.next {
            self.next = session.0.wrapping_add(1);
        }
    }

    /// An id that was not handed out before and is not `taken`.
    pub fn draw(&mut self, taken: impl Fn(SessionId) -> bool) -> SessionId {
        loop {
            let id = SessionId(self.next);
            self.next = self.next.wrapping_add(1);
            // i64::MIN is the mark of a container.
            if id.0 != i64::MIN && id.0 != 0 && !taken(id) {
                return id;
            }
        }
    }
}

/// A session's password: what `java.util.Random(id ^ 0xB3415C00).nextBytes` gives. Whoever knows the id knows it.
pub fn password(session: SessionId) -> [u8; 16] {
    const MULTIPLIER: i64 = 0x5_DEEC_E66D;
    const MASK: i64 = (1 << 48) - 1;
    let mut seed = (session.0 ^ 0xB341_5C00 ^ MULTIPLIER) & MASK;
    let mut bytes = [0; 16];
    for word in bytes.as_chunks_mut::<4>().0 {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        *word = ((seed >> 16) as i32).to_le_bytes();
    }
    bytes
}

/// The timeout a keeper grants, in milliseconds.
pub fn negotiate(wished_ms: i32, min: Span, max: Span) -> i32 {
    let limit = |span: Span| i32::try_from(span.as_millis()).unwrap_or(i32::MAX);
    wished_ms.max(limit(min)).min(limit(max))
}

/// When a session that was heard from at `now` expires: at the end of a bucket, so effectively after more than its
/// timeout and at most the width of a bucket later (in ZooKeeper, a tick).
pub fn bucket(now: Instant, timeout_ms: i32, width: Span) -> Instant {
    let due = now.0 + Span::millis(u64::from(timeout_ms.max(0).unsigned_abs())).0;
    let width = width.0.max(1);
    Instant((due / width + 1) * width)
}

/// The leader's table of global sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracker {
    /// Of a bucket.
    width: Span,
    sessions: OrdMap<SessionId, Tracked>,
    expiry: Deadlines<SessionId>,
}

/// One session as the leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tracked {
    pub timeout_ms: i32,
    /// The keeper it speaks through; unknown to a new leader until the first request.
    pub owner: Option<KeeperId>,
    /// Its closeSession is under way; it may do nothing more.
    pub closing: bool,
    /// Last sign of life that reached the leader.
    pub heard: Instant,
}

impl Tracker {
    /// A new leader gives every session a full timeout from now.
    pub fn new(width: Span, sessions: impl Iterator<Item = (SessionId, i32)>, now: Instant) -> Tracker {
        let mut tracker = Tracker { width, sessions: OrdMap::new(), expiry: Deadlines::default() };
        for (session, timeout_ms) in sessions {
            tracker.track(session, timeout_ms, now);
        }
        tracker
    }

    /// A session begins (or is known already): it is heard from now.
    pub fn track(&mut self, session: SessionId, timeout_ms: i32, now: Instant) {
        let fresh = Tracked { timeout_ms, owner: None, closing: false, heard: now };
        self.sessions.entry(session).or_insert(fresh);
        self.touch(session, timeout_ms, now);
    }

    /// The session gave a sign of life; its connection's timeout counts from now, even if that is less than before.
    /// False where there is no such session, or it is closing.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32, now: Instant) -> bool {
        match self.sessions.get_mut(&session) {
            Some(tracked) if !tracked.closing => {
                tracked.timeout_ms = timeout_ms;
                tracked.heard = now;
                self.expiry.set(session, bucket(now, timeout_ms, self.width));
                true
            }
            _ => false,
        }
    }

    /// May the session act through `owner`?
    ///
    /// # Errors
    /// `SessionExpired`, or `SessionMoved` where it speaks through another keeper now.
    pub fn check(&mut self, session: SessionId, owner: KeeperId) -> Result<(), ErrorCode> {
        match self.sessions.get_mut(&session) {
            None => Err(ErrorCode::SessionExpired),
            Some(tracked) if tracked.closing => Err(ErrorCode::SessionExpired),
            Some(tracked) if tracked.owner.is_some_and(|known| known != owner) => Err(ErrorCode::SessionMoved),
            Some(tracked) => {
                tracked.owner = Some(owner);
                Ok(())
            }
        }
    }

    /// The session speaks through `owner` from now on; gives the keeper it has left, if it moved.
    pub fn set_owner(&mut self, session: SessionId, owner: KeeperId) -> Option<KeeperId> {
        let tracked = self.sessions.get_mut(&session)?;
        tracked.owner.replace(owner).filter(|before| *before != owner)
    }

    /// Its closeSession is under way.
    pub fn set_closing(&mut self, session: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.closing = true;
            self.expiry.clear(&session);
        }
    }

    pub fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.expiry.clear(&session);
    }

    /// Takes out one session whose time is over; it is closing from here on.
    pub fn pop_expired(&mut self, now: Instant) -> Option<(SessionId, Tracked)> {
        let session = self.expiry.pop_due(now)?;
        let tracked = self.sessions.get_mut(&session)?;
        tracked.closing = true;
        Some((session, *tracked))
    }

    pub fn soonest(&self) -> Option<Instant> {
        self.expiry.soonest().map(|(at, _)| at)
    }

    pub fn get(&self, session: SessionId) -> Option<&Tracked> {
        self.sessions.get(&session)
    }

    /// Every session, with the moment it expires unless it is closing.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Tracked, Option<Instant>)> {
        self.sessions.iter().map(|(session, tracked)| (*session, tracked, self.expiry.get(session)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: SessionId = SessionId(0x0100_0000_0000_0001);
    const TICK: Span = Span::secs(2);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Span::millis(millis)
    }

    #[test]
    fn ids_carry_keeper_time_and_a_counter() {
        let mut ids = SessionIds::new(KeeperId(3), UnixMillis(0x12_3456_789a));
        assert_eq!(ids.draw(|_| false).to_string(), "0x3123456789a0000");
        assert_eq!(ids.draw(|id| id.0 & 0xf == 1).to_string(), "0x3123456789a0002");
    }

    #[test]
    fn ids_of_sessions_that_are_over_are_not_drawn_again_when_the_clock_goes_back() {
        let mut ids = SessionIds::new(KeeperId(3), UnixMillis(0x12_3456_789a));
        let last = [(); 3].map(|()| ids.draw(|_| false))[2];
        let mut again = SessionIds::new(KeeperId(3), UnixMillis(0x12_3456_789a));
        again.pass(last);
        again.pass(SessionId(ANNA.0 + (1 << 40)));
        assert_eq!(again.draw(|_| false).0, last.0 + 1);
    }

    #[test]
    fn a_password_is_what_javas_generator_gives() {
        // Random(0).nextInt() is -1155484576 and then -723955400.
        let password = password(SessionId(0xB341_5C00));
        assert_eq!(password[..4], (-1_155_484_576_i32).to_le_bytes());
        assert_eq!(password[4..8], (-723_955_400_i32).to_le_bytes());
    }

    #[test]
    fn a_timeout_is_clamped_to_what_the_ticks_allow() {
        let granted = |wished| negotiate(wished, TICK * 2, TICK * 20);
        assert_eq!([granted(-1), granted(1_000), granted(6_000), granted(90_000)], [4_000, 4_000, 6_000, 40_000]);
    }

    #[test]
    fn a_session_expires_after_its_timeout_and_within_a_tick_of_it() {
        let mut tracker = Tracker::new(TICK, [(ANNA, 4_000)].into_iter(), at(500));
        assert_eq!(tracker.soonest(), Some(at(6_000)));
        assert!(tracker.touch(ANNA, 4_000, at(2_100)));
        assert_eq!(tracker.soonest(), Some(at(8_000)));
        assert_eq!(tracker.pop_expired(at(7_999)), None);
        assert_eq!(tracker.pop_expired(at(8_000)).map(|(session, _)| session), Some(ANNA));
        assert!(!tracker.touch(ANNA, 4_000, at(8_000)));
        assert_eq!(tracker.check(ANNA, KeeperId(1)), Err(ErrorCode::SessionExpired));
    }

    #[test]
    fn a_session_has_one_owner_and_says_when_it_moves() {
        let mut tracker = Tracker::new(TICK, [(ANNA, 4_000)].into_iter(), at(0));
        assert_eq!(tracker.check(ANNA, KeeperId(1)), Ok(()));
        assert_eq!(tracker.set_owner(ANNA, KeeperId(2)), Some(KeeperId(1)));
        assert_eq!(tracker.check(ANNA, KeeperId(1)), Err(ErrorCode::SessionMoved));
        assert_eq!(tracker.set_owner(ANNA, KeeperId(2)), None);
    }
}
