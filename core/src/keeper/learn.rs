//! What a learner and its leader say to each other about clients: requests forwarded, sessions asked about, signs of
//! life (protocol.md A.5, A.7). Both sides are here, each packet beside its answer.

use super::clients::is_sync;
use super::lead::Submission;
use super::pipeline::Standing;
use super::{Keeper, Out};
use crate::api::keeper::body::{decode_body, encode_body};
use crate::api::keeper::{ErrorCode, Op};
use crate::api::peer::{Channel, PacketType, PeerMessage, QuorumPacket};
use crate::codec::{Reader, Result, Writer};
use crate::id::{ConnId, KeeperId, SessionId, Zxid};
use crate::node;
use crate::ordered::OrdMap;
use crate::queue::Queue;
use crate::znode::Id;
use bytes::Bytes;

/// What a learner keeps about its leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Learn {
    /// Sessions heard from since the last ping, with their timeouts.
    touched: OrdMap<SessionId, i32>,
    /// Syncs the leader has not answered, oldest first: connection and xid.
    pub(super) syncs: Queue<(ConnId, i32)>,
}

impl Learn {
    pub(super) fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        self.touched.insert(session, timeout_ms);
    }
}

impl Keeper {
    // A learner speaks.

    pub(super) fn forward(&mut self, session: SessionId, cxid: i32, op: &Op, auth: &[Id], out: &mut Out<'_>) {
        let mut data = Writer::with_capacity(64);
        data.i64(session.0);
        data.i32(cxid);
        data.i32(op.code());
        encode_body(op, &mut data);
        let ids = auth.iter().map(|id| (id.scheme.to_string(), id.id.to_string())).collect();
        self.tell_leader(PacketType::Request, data.finish(), Some(ids), out);
    }

    pub(super) fn tell_leader(
        &mut self,
        kind: PacketType,
        data: Bytes,
        authinfo: Option<Vec<(String, String)>>,
        out: &mut Out<'_>,
    ) {
        // Without a leader there is nobody to tell: the peer is about to look for one, and clients are let go then.
        self.peer.forward(QuorumPacket { kind, zxid: -1, data: Some(data), authinfo }, &mut out.zab);
    }

    /// Every ping carries home who was heard from.
    pub(super) fn answer_ping(&mut self, channel: Channel, zxid: Zxid, out: &mut Out<'_>) {
        let mut table = Writer::with_capacity(12 * self.learn.touched.len());
        for (session, timeout_ms) in core::mem::take(&mut self.learn.touched) {
            table.i64(session.0);
            table.i32(timeout_ms);
        }
        let packet = QuorumPacket::new(PacketType::Ping, zxid, Some(table.finish()));
        out.fx.emit(node::Effect::Send { channel, message: PeerMessage::Quorum(packet) });
    }

    pub(super) fn on_leader(&mut self, packet: QuorumPacket, out: &mut Out<'_>) {
        match packet.kind {
            PacketType::Sync => self.on_synced_with_leader(out),
            PacketType::Revalidate => {
                let mut data = Reader::new(packet.data.unwrap_or_default());
                let (Ok(session), Ok(alive)) = (data.i64().map(SessionId), data.bool()) else { return };
                let Some(conn) = self.by_session.get(&session).copied() else { return };
                // A client that dialled twice had us ask twice: the first answer opened its newer connection.
                if self.connections.get(&conn).is_none_or(|connection| connection.standing != Standing::Opening) {
                    return;
                }
                self.on_revalidated(conn, session, alive, out);
            }
            _ => {}
        }
    }

    // The leader hears.

    pub(super) fn on_touched(&mut self, table: Bytes, out: &mut Out<'_>) {
        let Some(lead) = &mut self.lead else { return };
        let mut table = Reader::new(table);
        while let (Ok(session), Ok(timeout_ms)) = (table.i64(), table.i32()) {
            lead.sessions.touch(SessionId(session), timeout_ms, out.now.at);
        }
    }

    pub(super) fn on_learner(&mut self, from: KeeperId, packet: QuorumPacket, out: &mut Out<'_>) {
        let auth: Vec<Id> = packet.authinfo.iter().flatten().map(|(scheme, id)| Id::new(scheme, id)).collect();
        let mut data = Reader::new(packet.data.unwrap_or_default());
        // A packet of ours that cannot be read is nobody's request: there is no one to answer.
        let _unreadable = match packet.kind {
            PacketType::Request => self.on_forwarded(from, &mut data, &auth, out),
            PacketType::Revalidate => self.on_revalidate(from, &mut data, out),
            _ => Ok(()),
        };
    }

    fn on_forwarded(&mut self, from: KeeperId, data: &mut Reader, auth: &[Id], out: &mut Out<'_>) -> Result<()> {
        let (session, cxid, code) = (SessionId(data.i64()?), data.i32()?, data.i32()?);
        if is_sync(code) {
            self.on_sync_request(from, out);
            return Ok(());
        }
        let op = decode_body(code, data);
        let op = op.as_ref().map_err(|_| ErrorCode::MarshallingError);
        self.submit(Submission { owner: from, session, cxid, op, auth }, out);
        Ok(())
    }

    fn on_revalidate(&mut self, from: KeeperId, data: &mut Reader, out: &mut Out<'_>) -> Result<()> {
        let (session, timeout_ms) = (SessionId(data.i64()?), data.i32()?);
        let Some(lead) = &mut self.lead else { return Ok(()) };
        let alive = lead.revalidate(session, timeout_ms, from, out);
        let mut answer = Writer::with_capacity(9);
        answer.i64(session.0);
        answer.bool(alive);
        let packet =
            QuorumPacket { kind: PacketType::Revalidate, zxid: -1, data: Some(answer.finish()), authinfo: None };
        self.peer.send_to(from, packet, &mut out.zab);
        Ok(())
    }
}
