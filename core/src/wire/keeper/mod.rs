//! ZooKeeper's bytes: the client protocol, and what keepers send each other. Frames are without their length.
//!
//! A connection has one codec at each end. The server's knows only whether the first record has come; the client's
//! remembers what is in flight, because a reply does not say which operation it answers.

mod connect;
pub mod quorum;
mod reply;
mod request;

pub use reply::encode_reply;
pub use request::{encode_request, four_letter_word};

use crate::api::keeper::{Answer, Connect, Connected, Op, Reply, Request, xid};
use crate::codec::{Malformed, Result};
use crate::queue::Queue;
use bytes::Bytes;

/// The longest request a server takes (`jute.maxbuffer`); it closes the connection on a longer one.
pub const MAX_REQUEST: u32 = 0xf_ffff;

/// Reads a reply whose connection is not at hand (a recording's): the answer to an operation of this shape, or an event.
/// The answer to a connect record or to a word is none of these.
pub fn decode_reply(answer: Answer, frame: Bytes) -> Result<Reply> {
    let (header, mut body) = reply::decode_header(frame)?;
    match header.xid {
        xid::EVENT => reply::decode_event(&header, &mut body),
        _ => reply::decode_answer(&header, answer, &mut body),
    }
}

/// Reads the answer to a connect record, likewise.
pub fn decode_connected(frame: Bytes) -> Result<Connected> {
    connect::decode_response(frame)
}

/// Reads a connect record, likewise.
pub fn decode_connect(frame: Bytes) -> Result<Connect> {
    connect::decode_request(frame)
}

/// The server's end of a client's connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerCodec {
    connected: bool,
}

impl ServerCodec {
    /// Reads the next frame of the client. A four-letter word comes as a frame of just that word.
    ///
    /// # Errors
    /// The connect record or a header cannot be read: there is no xid to answer, the connection is to be closed. A body
    /// that cannot be read is [`Request::Undecodable`], which the keeper answers. Bytes behind a body are ignored.
    pub fn decode(&mut self, frame: Bytes) -> Result<Request> {
        if self.connected {
            return request::decode_op(frame);
        }
        if let Some(word) = frame.as_array::<4>().copied().and_then(four_letter_word) {
            return Ok(Request::FourLetter(word));
        }
        let connect = connect::decode_request(frame)?;
        self.connected = true;
        Ok(Request::Connect(connect))
    }

    /// Writes a reply or an event.
    pub fn encode(&self, reply: &Reply) -> Bytes {
        encode_reply(reply)
    }
}

/// The client's end of its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientCodec {
    stage: Stage,
    /// What is in flight, oldest first. Pings and auth are not here: their answers have reserved xids and no body.
    asked: Queue<(i32, Answer)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    /// The first frame of the server will answer the connect record.
    #[default]
    Connecting,
    Connected,
    /// All that will come is the answer to a four-letter word.
    Word,
}

impl ClientCodec {
    /// Writes a request and remembers how its answer is to be read.
    pub fn encode(&mut self, request: &Request) -> Bytes {
        match request {
            Request::FourLetter(_) => self.stage = Stage::Word,
            Request::Connect(_) => self.stage = Stage::Connecting,
            Request::Op { op: Op::Ping | Op::Auth { .. }, .. } => {}
            Request::Op { xid, op } => self.asked.push_back((*xid, op.answer())),
            Request::Undecodable { xid, .. } => self.asked.push_back((*xid, Answer::Nothing)),
        }
        encode_request(request)
    }

    /// Reads the next frame of the server.
    ///
    /// # Errors
    /// The frame cannot be read, or answers another request than the oldest in flight; the connection is to be closed.
    pub fn decode(&mut self, frame: Bytes) -> Result<Reply> {
        match self.stage {
            Stage::Word => Ok(Reply::Text(String::from_utf8_lossy(&frame).into_owned())),
            Stage::Connecting => {
                let connected = connect::decode_response(frame)?;
                self.stage = Stage::Connected;
                Ok(Reply::Connected(connected))
            }
            Stage::Connected => {
                let (header, mut body) = reply::decode_header(frame)?;
                match header.xid {
                    xid::EVENT => reply::decode_event(&header, &mut body),
                    xid::PING | xid::AUTH => reply::decode_answer(&header, Answer::Nothing, &mut body),
                    _ => match self.asked.pop_front() {
                        Some((asked, answer)) if asked == header.xid => {
                            reply::decode_answer(&header, answer, &mut body)
                        }
                        _ => Err(Malformed { at: 0, expected: "the xid of the oldest request in flight" }),
                    },
                }
            }
        }
    }
}
