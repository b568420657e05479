//! How much keeper clients have under way: requests that were taken up, long ones, and are not answered yet. Each of them
//! goes to every peer and onto every disk, and behind too many of them a quorum's acknowledgements come too late for its
//! leader. (ZooKeeper throttles by their number, `globalOutstandingLimit`; at a MB each a thousand of them take its leader
//! out, too.) Knows of a request no more than its name and length.

use glasshouse_core::api::keeper::{Reply, Request};
use glasshouse_core::id::ConnId;
use std::collections::{BTreeMap, VecDeque};

/// Bytes under way, of all clients together, above which further long requests wait.
const MOST: usize = 16 << 20;

/// One request: the name that its client gave it, and its bytes.
#[derive(Clone, Copy, Debug)]
struct Long {
    xid: i32,
    length: usize,
}

/// Of all connections of a node.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    /// Each connection's, in its order, which is that of the answers.
    conns: BTreeMap<ConnId, VecDeque<Long>>,
    bytes: usize,
}

impl Underway {
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > MOST
    }

    /// A long request is handed to the node.
    pub(crate) fn began(&mut self, conn: ConnId, request: &Request, length: usize) {
        // Whoever connects is answered before it asks for more, and what cannot be read ends its connection.
        if let Request::Op { xid, .. } = request {
            self.conns.entry(conn).or_default().push_back(Long { xid: *xid, length });
            self.bytes += length;
        }
    }

    /// The node says this to a client.
    pub(crate) fn answered(&mut self, conn: ConnId, reply: &Reply) {
        let Reply::Answer { xid, .. } = reply else { return };
        let Some(longs) = self.conns.get_mut(&conn) else { return };
        if let Some(long) = longs.pop_front_if(|long| long.xid == *xid) {
            self.bytes -= long.length;
        }
        if longs.is_empty() {
            self.conns.remove(&conn);
        }
    }

    /// The connection is no more: of what it asked for the node tells nobody.
    pub(crate) fn closed(&mut self, conn: ConnId) {
        let longs = self.conns.remove(&conn).unwrap_or_default();
        self.bytes -= longs.iter().map(|long| long.length).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::api::keeper::{ErrorCode, Op};
    use glasshouse_core::id::Zxid;

    const CONN: ConnId = ConnId(1);

    fn ask(underway: &mut Underway, xid: i32, length: usize) {
        underway.began(CONN, &Request::Op { xid, op: Op::Ping }, length);
    }

    fn answer(underway: &mut Underway, xid: i32) {
        underway.answered(CONN, &Reply::Answer { xid, zxid: Zxid::ZERO, err: ErrorCode::Ok, body: None });
    }

    #[test]
    fn what_is_answered_is_under_way_no_more() {
        let mut underway = Underway::default();
        ask(&mut underway, 1, MOST);
        assert!(!underway.is_full());
        ask(&mut underway, 3, 1);
        assert!(underway.is_full());
        answer(&mut underway, 0);
        answer(&mut underway, 2);
        assert!(underway.is_full(), "short requests count for nothing");
        answer(&mut underway, 1);
        assert!(!underway.is_full());
        answer(&mut underway, 3);
        assert_eq!((underway.bytes, underway.conns.len()), (0, 0));
    }

    #[test]
    fn a_closed_connection_has_nothing_under_way() {
        let mut underway = Underway::default();
        ask(&mut underway, 1, 2 * MOST);
        underway.closed(ConnId(2));
        assert!(underway.is_full());
        underway.closed(CONN);
        assert_eq!((underway.bytes, underway.conns.len()), (0, 0));
    }
}
