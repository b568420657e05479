//! Clients: how they connect, what becomes of each request, and how they are let go (protocol.md B.7).

use super::lead::Submission;
use super::pipeline::{Connection, Standing, Waiting};
use super::session::{negotiate, password};
use super::words::{Outside, is_about_clients};
use super::{Keeper, Out};
use crate::api::keeper::{Body, Connect, Connected, ErrorCode, Op, Reply, Request, op_code};
use crate::api::peer::PacketType;
use crate::codec::Writer;
use crate::id::{ConnId, SessionId, Zxid};
use crate::node::{self, Principal, RequestBody};
use crate::note::keeper::KeeperNote;
use crate::time::Span;
use crate::znode::Id;
use crate::znode::acl;
use std::sync::Arc;

impl Keeper {
    pub(super) fn on_request(&mut self, conn: ConnId, request: node::Request, out: &mut Out<'_>) {
        let RequestBody::Keeper(body) = request.body else {
            self.close(conn, out);
            return;
        };
        self.received += 1;
        if let Request::FourLetter(word) = body {
            let known = if is_about_clients(word) { self.inside() } else { Outside::default() };
            let text = self.word(word, &known);
            out.reply(conn, Reply::Text(text));
            self.close(conn, out);
            return;
        }
        if !self.role.is_serving() {
            self.close(conn, out);
            return;
        }
        self.connections.entry(conn).or_insert_with(|| Connection::new(first_ids(&request.principal)));
        match body {
            Request::Connect(connect) => self.on_connect(conn, connect, out),
            Request::Op { xid, op } => self.on_op(conn, xid, op, out),
            Request::Undecodable { xid, op: _ } => self.refuse(conn, xid, ErrorCode::MarshallingError, out),
            Request::FourLetter(_) => unreachable!("answered above"),
        }
    }

    // Connecting.

    fn on_connect(&mut self, conn: ConnId, connect: Connect, out: &mut Out<'_>) {
        let ahead = connect.last_zxid_seen > self.tree.last_zxid();
        let connection = self.connections.get_mut(&conn).expect("a connection was made for its first request");
        if connection.standing != Standing::Fresh || ahead {
            if ahead {
                let why = "the client has seen later transactions than this keeper";
                out.fx.note(KeeperNote::SessionRefused { session: connect.session, why });
            }
            self.close(conn, out);
            return;
        }
        let (min, max) = (self.config.session_timeout_min, self.config.session_timeout_max);
        connection.timeout_ms = negotiate(connect.timeout_ms, min, max);
        connection.read_only = connect.read_only;
        connection.standing = Standing::Opening;
        match connect.session {
            SessionId(0) => self.begin_session(conn, out),
            session => self.resume_session(conn, session, &connect.password, out),
        }
    }

    fn begin_session(&mut self, conn: ConnId, out: &mut Out<'_>) {
        let (tree, here) = (&self.tree, &self.by_session);
        let taken = |id: SessionId| tree.session_timeout(id).is_some() || here.contains_key(&id);
        let session = self.session_ids.draw(taken);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.session = session;
        self.by_session.insert(session, conn);
        let op = Op::CreateSession { timeout_ms: connection.timeout_ms };
        self.send_write(session, 0, op, &[], out);
    }

    fn resume_session(&mut self, conn: ConnId, session: SessionId, secret: &[u8], out: &mut Out<'_>) {
        // The client is here now; what its older connection to this keeper still asks, nobody hears.
        if let Some(older) = self.by_session.get(&session).copied() {
            self.close(older, out);
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.session = session;
        let timeout_ms = connection.timeout_ms;
        if secret != password(session) {
            self.finish_opening(conn, Err("its password is wrong"), out);
            return;
        }
        self.by_session.insert(session, conn);
        match &mut self.lead {
            Some(lead) => {
                let me = self.config.zab.me;
                let alive = lead.revalidate(session, timeout_ms, me, out);
                self.on_revalidated(conn, session, alive, out);
            }
            None => {
                let mut data = Writer::with_capacity(12);
                data.i64(session.0);
                data.i32(timeout_ms);
                self.tell_leader(PacketType::Revalidate, data.finish(), None, out);
            }
        }
    }

    /// The leader has said whether a session that a client came back with is there.
    pub(super) fn on_revalidated(&mut self, conn: ConnId, session: SessionId, alive: bool, out: &mut Out<'_>) {
        if alive {
            out.fx.note(KeeperNote::SessionResumed { session });
        }
        self.finish_opening(conn, alive.then_some(()).ok_or("it is over"), out);
    }

    /// The session is there, or is refused.
    pub(super) fn finish_opening(&mut self, conn: ConnId, alive: Result<(), &'static str>, out: &mut Out<'_>) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let (session, read_only) = (connection.session, connection.read_only);
        match alive {
            Ok(()) => {
                connection.standing = Standing::Open;
                let timeout_ms = connection.timeout_ms;
                let early = core::mem::take(&mut connection.early);
                let connected = Connected {
                    protocol_version: 0,
                    timeout_ms,
                    session,
                    password: password(session),
                    read_only: read_only.map(|_| false),
                };
                self.sent += 1;
                out.reply(conn, Reply::Connected(connected));
                self.touch(session, timeout_ms, out);
                for (xid, op) in early {
                    self.on_op(conn, xid, op, out);
                }
            }
            Err(why) => {
                out.fx.note(KeeperNote::SessionRefused { session, why });
                let read_only = read_only.map(|_| false);
                let over = Connected {
                    protocol_version: 0,
                    timeout_ms: 0,
                    session: SessionId(0),
                    password: [0; 16],
                    read_only,
                };
                out.reply(conn, Reply::Connected(over));
                self.close(conn, out);
            }
        }
    }

    pub(super) fn on_session_created(&mut self, session: SessionId, out: &mut Out<'_>) {
        let Some(conn) = self.by_session.get(&session).copied() else { return };
        let Some(connection) = self.connections.get(&conn) else { return };
        if connection.standing == Standing::Opening {
            let timeout = Span::millis(u64::from(connection.timeout_ms.unsigned_abs()));
            out.fx.note(KeeperNote::SessionCreated { session, timeout });
            self.finish_opening(conn, Ok(()), out);
        }
    }

    /// A sign of life: at the leader it counts at once, at a learner the next ping carries it.
    fn touch(&mut self, session: SessionId, timeout_ms: i32, out: &mut Out<'_>) {
        match &mut self.lead {
            Some(lead) => {
                lead.sessions.touch(session, timeout_ms, out.now.at);
            }
            None => self.learn.touch(session, timeout_ms),
        }
    }

    // Requests.

    fn on_op(&mut self, conn: ConnId, xid: i32, op: Op, out: &mut Out<'_>) {
        let leading = self.lead.is_some();
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match connection.standing {
            Standing::Open => {}
            Standing::Opening => {
                connection.early.push((xid, op));
                return;
            }
            Standing::Fresh => {
                self.close(conn, out);
                return;
            }
        }
        let (session, timeout_ms) = (connection.session, connection.timeout_ms);
        match op {
            Op::Auth { scheme, credentials } => self.on_auth(conn, xid, &scheme, &credentials, out),
            // The first two are the leader's own, the third may only stand in a multi, and nobody knows the last.
            Op::CreateSession { .. }
            | Op::DeleteContainer { .. }
            | Op::Check { .. }
            | Op::Sasl { .. }
            | Op::Unknown { .. } => self.refuse(conn, xid, ErrorCode::Unimplemented, out),
            Op::Sync { path } if !leading => {
                connection.waiting.push_back(Waiting::Sync { xid, path: path.clone() });
                let auth = connection.auth.clone();
                self.learn.syncs.push_back((conn, xid));
                self.send_write(session, xid, Op::Sync { path }, &auth, out);
            }
            write if write.is_write() => {
                connection.waiting.push_back(Waiting::Write { xid });
                let auth = core::mem::take(&mut connection.auth);
                self.send_write(session, xid, write, &auth, out);
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.auth = auth;
                }
            }
            read => {
                connection.waiting.push_back(Waiting::Read { xid, op: read });
                self.answer_what_can_be(conn, out);
            }
        }
        self.touch(session, timeout_ms, out);
    }

    /// To the leader's pipeline, which may be our own.
    fn send_write(&mut self, session: SessionId, cxid: i32, op: Op, auth: &[Id], out: &mut Out<'_>) {
        if self.lead.is_some() {
            let owner = self.config.zab.me;
            self.submit(Submission { owner, session, cxid, op: Ok(&op), auth }, out);
        } else {
            self.forward(session, cxid, &op, auth, out);
        }
    }

    fn refuse(&mut self, conn: ConnId, xid: i32, err: ErrorCode, out: &mut Out<'_>) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.waiting.push_back(Waiting::Refused { xid, err });
        self.answer_what_can_be(conn, out);
    }

    /// Answers whatever no longer waits behind a write of its own connection.
    pub(super) fn answer_what_can_be(&mut self, conn: ConnId, out: &mut Out<'_>) {
        while let Some(next) = self.connections.get_mut(&conn).and_then(Connection::take_local) {
            match next {
                Waiting::Read { xid, op } => self.answer_read(conn, xid, &op, out),
                Waiting::Refused { xid, err } => {
                    self.answer(conn, xid, self.tree.last_zxid(), err, None, out);
                    self.close(conn, out);
                }
                Waiting::Write { .. } | Waiting::Sync { .. } => unreachable!("these are not answered from here"),
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        conn: ConnId,
        xid: i32,
        zxid: Zxid,
        err: ErrorCode,
        body: Option<Body>,
        out: &mut Out<'_>,
    ) {
        self.sent += 1;
        out.reply(conn, Reply::Answer { xid, zxid, err, body });
    }

    /// Takes effect at once: later requests of the connection carry what it proves. The answer's zxid is zero.
    fn on_auth(&mut self, conn: ConnId, xid: i32, scheme: &str, credentials: &[u8], out: &mut Out<'_>) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let proved = match scheme {
            "digest" => Some(Id::new("digest", &acl::digest_id(&String::from_utf8_lossy(credentials)))),
            // The address is known already, and that is all this scheme ever proves.
            "ip" => connection.auth.iter().find(|id| &*id.scheme == "ip").cloned(),
            _ => None,
        };
        match proved.filter(|id| connection.prove(id.clone())) {
            Some(_) => {
                self.answer(conn, xid, Zxid::ZERO, ErrorCode::Ok, None, out);
            }
            None => {
                self.answer(conn, xid, Zxid::ZERO, ErrorCode::AuthFailed, None, out);
                self.close(conn, out);
            }
        }
    }

    /// The leader has answered the oldest sync of this learner.
    pub(super) fn on_synced_with_leader(&mut self, out: &mut Out<'_>) {
        let Some((conn, wanted)) = self.learn.syncs.pop_front() else { return };
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        // Everything before it was answered: the leader's answer came behind the commits of earlier writes.
        match connection.waiting.front() {
            Some(Waiting::Sync { xid, path }) if *xid == wanted => {
                let path: Arc<str> = path.clone();
                connection.waiting.pop_front();
                let zxid = self.tree.last_zxid();
                self.answer(conn, wanted, zxid, ErrorCode::Ok, Some(Body::Path(path)), out);
                self.answer_what_can_be(conn, out);
            }
            _ => {}
        }
    }

    // Letting go.

    /// Hangs up on a client.
    pub(super) fn close(&mut self, conn: ConnId, out: &mut Out<'_>) {
        out.fx.emit(node::Effect::Close { conn });
        self.forget_connection(conn);
    }

    /// The connection is gone; its session lives on until it expires.
    pub(super) fn forget_connection(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        self.watches.remove_connection(conn);
        let mut unheard = connection.writes().peekable();
        if unheard.peek().is_some() {
            self.unheard.entry(connection.session).or_default().extend(unheard);
        }
        if self.by_session.get(&connection.session) == Some(&conn) {
            self.by_session.remove(&connection.session);
        }
    }
}

/// Whom a connection is taken for before it proves anything.
fn first_ids(principal: &Principal) -> Vec<Id> {
    match principal {
        Principal::Anonymous => Vec::new(),
        Principal::Address(address) => vec![Id::new("ip", address)],
        Principal::User(name) => vec![Id::new("x509", name)],
    }
}

/// Is this op answered with the path it named?
pub(super) const fn is_sync(code: i32) -> bool {
    code == op_code::SYNC
}
