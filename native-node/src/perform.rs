//! What a machine wants, done: stores are applied and submitted first, in order, then frames leave, in order. So nothing
//! that a peer hears can outrun what the page cache holds, and a batch costs one write for each file.

use crate::host::{Ended, Host};
use crate::net;
use crate::observe::Seen;
use crate::stones::ReplyStone;
use bytes::Bytes;
use glasshouse_core::api::kafka::{ErrorCode, ProduceResponse, Response};
use glasshouse_core::api::keeper;
use glasshouse_core::api::peer::{Channel, PeerMessage};
use glasshouse_core::api::storage::Lane;
use glasshouse_core::codec::Writer;
use glasshouse_core::id::{ConnId, DialId};
use glasshouse_core::machine::Ticket;
use glasshouse_core::node::{Address, Effect, Input, Reply, Request};
use glasshouse_core::record::offset::LogRange;
use glasshouse_core::store::StoreError;
use glasshouse_core::wire;

/// What leaves in the second pass.
enum Out {
    Send(Channel, PeerMessage<Bytes>),
    Hangup(Channel),
    Reply(ConnId, Reply<Bytes>),
    Close(ConnId),
    Dial(DialId, Address),
    Ask(DialId, Request),
    HangupDial(DialId),
    Sync(Lane, Ticket),
}

impl Host {
    /// Performs everything the last steps emitted. A misfortune ends the node (promise 5).
    pub(crate) fn perform(&mut self) {
        let effects = std::mem::take(&mut self.fx.effects);
        if self.ended.is_some() {
            // A death between steps: what they wanted dies too.
            return;
        }
        let mut out = Vec::with_capacity(effects.len());
        for effect in effects {
            self.observer.counters.emitted(&self.node, &effect);
            match self.apply(effect) {
                Ok(Some(one)) => out.push(one),
                Ok(None) => {}
                Err(error) => return self.halt(error.to_string()),
            }
            // It has stopped, or cannot go on: what was wanted before still takes place, what was wanted since does not.
            if self.ended.is_some() {
                break;
            }
        }
        if let Err(error) = self.store.flush() {
            return self.halt(error.to_string());
        }
        for one in out {
            self.leave(one);
        }
    }

    fn halt(&mut self, why: String) {
        self.ended = Some(Ended::Halted(why));
    }

    /// First pass: the disk's part, and bytes in the place of ranges.
    fn apply(&mut self, effect: Effect) -> Result<Option<Out>, StoreError> {
        Ok(Some(match effect {
            Effect::Send { channel, message } => Out::Send(channel, self.materialize_peer(message)?),
            Effect::Hangup { channel } => Out::Hangup(channel),
            Effect::Reply { conn, reply } => Out::Reply(conn, self.materialize_reply(reply)?),
            Effect::Close { conn } => Out::Close(conn),
            Effect::Dial { dial, to } => Out::Dial(dial, to),
            Effect::Ask { dial, request } => Out::Ask(dial, request),
            Effect::HangupDial { dial } => Out::HangupDial(dial),
            Effect::Sync { lane, ticket } => Out::Sync(lane, ticket),
            Effect::Store { lane, op } => {
                self.store.perform(&lane, op)?;
                return Ok(None);
            }
            Effect::Load { ticket, what, .. } => {
                let what = self.store.load(&what)?;
                self.own.push_back(Input::Loaded { ticket, what });
                return Ok(None);
            }
            Effect::Halt { why } => {
                self.halt(why);
                return Ok(None);
            }
            Effect::Stopped => {
                self.store.flush()?;
                self.store.disk.sync_everything()?;
                self.ended = Some(Ended::InOrder);
                return Ok(None);
            }
        }))
    }

    fn materialize_peer(&self, message: PeerMessage<LogRange>) -> Result<PeerMessage<Bytes>, StoreError> {
        Ok(match message {
            PeerMessage::Election(notification) => PeerMessage::Election(notification),
            PeerMessage::Quorum(packet) => PeerMessage::Quorum(packet),
            PeerMessage::Request { correlation, request } => PeerMessage::Request { correlation, request },
            PeerMessage::Response { correlation, response } => {
                PeerMessage::Response { correlation, response: self.materialize(response)? }
            }
        })
    }

    fn materialize_reply(&self, reply: Reply<LogRange>) -> Result<Reply<Bytes>, StoreError> {
        Ok(match reply {
            Reply::Kafka { version, correlation, body } => {
                Reply::Kafka { version, correlation, body: self.materialize(body)? }
            }
            Reply::Keeper(reply) => Reply::Keeper(reply),
        })
    }

    fn materialize(&self, response: Response<LogRange>) -> Result<Response<Bytes>, StoreError> {
        response.try_map_records(|range| self.store.materialize(&range))
    }

    /// Second pass: everything is submitted to the disk, now the world may hear of it.
    fn leave(&mut self, one: Out) {
        match one {
            Out::Send(channel, message) => {
                self.observer.counters.sent(&self.node, channel.peer, &message, Bytes::len);
                self.mesh.send(channel, message);
            }
            Out::Hangup(channel) => self.mesh.hangup(channel),
            Out::Reply(conn, reply) => self.reply(conn, reply),
            // Dropping its outbox closes the connection once what waits is written.
            Out::Close(conn) => {
                self.conns.remove(&conn);
            }
            Out::Dial(dial, to) => self.dials.dial(dial, to),
            Out::Ask(dial, request) => self.dials.ask(dial, request),
            Out::HangupDial(dial) => self.dials.hang_up(dial),
            // Completion comes back through the inbox; if a sync runs already, its successor will answer.
            Out::Sync(lane, ticket) => {
                if self.store.ask_sync(&lane, ticket) {
                    self.observer.counters.sync_began(&lane);
                }
            }
        }
    }

    fn reply(&mut self, conn: ConnId, mut reply: Reply<Bytes>) {
        if let Reply::Keeper(reply) = &reply {
            self.underway.answered(conn, reply);
        }
        let Some(outbox) = self.conns.get(&conn) else { return };
        let mut late = None;
        match &mut reply {
            Reply::Kafka { body: Response::Produce(produced), .. } => match self.stones.take_reply() {
                None => {}
                Some(ReplyStone::Lost) => {
                    self.conns.remove(&conn);
                    return;
                }
                Some(ReplyStone::Delayed(by)) => late = Some(by),
                Some(ReplyStone::Failed(code)) => fail_produce(produced, ErrorCode(code)),
            },
            Reply::Kafka { body: Response::ApiVersions(known), .. } => net::kafka::advertise(known),
            Reply::Keeper(keeper::Reply::Text(text)) => {
                let now = self.clock.now().at;
                let seen = Seen { node: &self.node, inbox: self.inbox.len(), connections: self.conns.len(), now };
                if let Some(more) = self.observer.counters.word(conn, &seen) {
                    *text = more;
                }
            }
            Reply::Kafka { .. } | Reply::Keeper(_) => {}
        }
        self.observer.counters.replied(&self.node, conn, &reply, Bytes::len);
        let segments = match &reply {
            Reply::Kafka { version, correlation, body } => {
                let mut writer = Writer::with_capacity(256);
                wire::kafka::write_response(*version, *correlation, body, &mut writer);
                writer.into_segments()
            }
            Reply::Keeper(reply) => {
                let frame = wire::keeper::encode_reply(reply);
                self.observer.counters.told(conn, reply, frame.len());
                vec![frame]
            }
        };
        let sent = match late {
            None => outbox.send(segments),
            Some(by) => outbox.send_late(segments, by),
        };
        if sent.is_err() {
            self.conns.remove(&conn);
        }
    }
}

/// Puts an error into every partition of a produce answer, as a tester of clients asked for.
fn fail_produce(produced: &mut ProduceResponse, error: ErrorCode) {
    for partition in produced.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error = error;
    }
}
