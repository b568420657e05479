//! Who asked, and in which order the answers must leave: per client connection, answers go out in the order of their
//! requests (both protocols demand it). Knows nothing of what is asked.

use crate::api::kafka::Response;
use crate::api::peer::Channel;
use crate::id::ConnId;
use crate::machine::Effects;
use crate::node::{Effect, Reply};
use crate::ordered::OrdMap;
use crate::queue::Queue;
use crate::record::offset::LogRange;

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    Client {
        conn: ConnId,
        seq: u64,
    },
    Peer {
        channel: Channel,
        correlation: i32,
    },
    /// This broker itself: the answer becomes a later input.
    Myself {
        correlation: i32,
    },
    /// Nobody waits for an answer.
    Nobody,
}

impl Asker {
    /// Somebody outside of the cluster, who may say anything of himself.
    pub fn is_client(self) -> bool {
        matches!(self, Asker::Client { .. })
    }
}

/// The connections of all clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connections {
    open: OrdMap<ConnId, Connection>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Connection {
    /// The number of the first request that is not answered yet.
    first: u64,
    /// Requests from `first` on, with their answers as far as there are any.
    slots: Queue<Slot>,
    /// It was hung up on. What it said before it noticed still comes in.
    is_over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    version: i16,
    correlation: i32,
    /// The client wants no answer (acks = 0).
    is_silent: bool,
    answer: Option<Response<LogRange>>,
}

impl Connections {
    /// A request came in: its answer has a place now. `is_silent`: it wants none. `None`: nobody would hear it.
    pub fn on_request(&mut self, conn: ConnId, version: i16, correlation: i32, is_silent: bool) -> Option<Asker> {
        let connection = self.open.entry(conn).or_default();
        if connection.is_over {
            return None;
        }
        let seq = connection.first + connection.slots.len() as u64;
        connection.slots.push_back(Slot { version, correlation, is_silent, answer: None });
        Some(Asker::Client { conn, seq })
    }

    /// The answer to request `seq`; it leaves when all before it have. One who wants no answer is hung up on when
    /// something failed, which is how it hears of it and asks for new metadata.
    pub fn answer(&mut self, conn: ConnId, seq: u64, response: Response<LogRange>, fx: &mut Effects<Effect>) {
        let Some(connection) = self.open.get_mut(&conn).filter(|connection| !connection.is_over) else { return };
        let Some(slot) = seq.checked_sub(connection.first).and_then(|at| connection.slots.get_mut(at as usize)) else {
            return;
        };
        assert!(slot.answer.is_none(), "request {seq} of connection {conn} is answered twice");
        slot.answer = Some(response);
        while let Some(slot) = connection.slots.pop_front_if(|slot| slot.answer.is_some()) {
            connection.first += 1;
            let Some(body) = slot.answer else { continue };
            if !slot.is_silent {
                let reply = Reply::Kafka { version: slot.version, correlation: slot.correlation, body };
                fx.emit(Effect::Reply { conn, reply });
            } else if has_failed(&body) {
                *connection = Connection { is_over: true, ..Connection::default() };
                return fx.emit(Effect::Close { conn });
            }
        }
    }

    pub fn on_closed(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    pub fn len(&self) -> u32 {
        self.open.values().filter(|connection| !connection.is_over).count() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether some partition of a Produce was not written.
fn has_failed(answer: &Response<LogRange>) -> bool {
    let Response::Produce(answer) = answer else { return false };
    answer.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.error.is_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kafka::{
        ApiVersionsResponse, ErrorCode, ProducePartitionResponse, ProduceResponse, ProduceTopicResponse,
    };

    #[test]
    fn answers_leave_in_the_order_of_their_requests() {
        let mut connections = Connections::default();
        let mut fx = Effects::default();
        let conn = ConnId(7);
        for correlation in 1..=3 {
            let seq = correlation as u64 - 1;
            assert_eq!(connections.on_request(conn, 0, correlation, false), Some(Asker::Client { conn, seq }));
        }
        let answer = |code| Response::from(ApiVersionsResponse { error: ErrorCode(code), ..Default::default() });
        connections.answer(conn, 1, answer(2), &mut fx);
        assert!(fx.is_empty(), "the first is not answered yet");
        connections.answer(conn, 0, answer(1), &mut fx);
        let left: Vec<i32> = fx
            .effects
            .iter()
            .map(|effect| match effect {
                Effect::Reply { reply: Reply::Kafka { correlation, .. }, .. } => *correlation,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(left, [1, 2]);
        connections.on_closed(conn);
        connections.answer(conn, 2, answer(3), &mut fx);
        assert_eq!(fx.effects.len(), 2);
    }

    /// As Apache does (KafkaApis.handleProduceRequest): without it, such a producer would never look for a new leader.
    #[test]
    fn a_client_that_wants_no_answer_is_hung_up_on_when_it_failed() {
        let mut connections = Connections::default();
        let mut fx = Effects::default();
        let conn = ConnId(7);
        let produced = |error| {
            let partitions = vec![ProducePartitionResponse { error, ..Default::default() }];
            let topics = vec![ProduceTopicResponse { partitions, ..Default::default() }];
            Response::from(ProduceResponse { topics, ..Default::default() })
        };
        for correlation in 1..=4 {
            let _ = connections.on_request(conn, 9, correlation, correlation != 2);
        }
        connections.answer(conn, 0, produced(ErrorCode::NONE), &mut fx);
        connections.answer(conn, 2, produced(ErrorCode::NOT_LEADER_OR_FOLLOWER), &mut fx);
        assert!(fx.is_empty(), "the second still waits for its answer");
        connections.answer(conn, 1, produced(ErrorCode::NONE), &mut fx);
        let [Effect::Reply { .. }, Effect::Close { conn: closed }] = fx.effects[..] else { panic!("{:?}", fx.effects) };
        assert_eq!(closed, conn);
        assert!(connections.is_empty());
        // What it had asked before is answered to nobody, and what it still says is not heard.
        assert_eq!(connections.on_request(conn, 9, 5, false), None);
        connections.answer(conn, 3, produced(ErrorCode::NONE), &mut fx);
        assert_eq!(fx.effects.len(), 2);
        connections.on_closed(conn);
        assert!(connections.on_request(conn, 9, 6, false).is_some());
    }
}
