//! What every host speaks with a node, whatever the node is: the inputs it takes and the effects it asks for.

use crate::api::command::Command;
use crate::api::peer::{Channel, PeerMessage};
use crate::api::storage::{Lane, Load, Loaded, StoreOp};
use crate::api::{kafka, keeper};
use crate::id::{ConnId, DialId};
use crate::machine::Ticket;
use crate::record::offset::LogRange;
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

/// Where a client connects to: a host's name and a port, as configuration and registrations write it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub host: Arc<str>,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Who a connection was authenticated as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Principal {
    #[default]
    Anonymous,
    /// Nobody proved anything, but this is the address it comes from (ZooKeeper's scheme `ip`).
    Address(Arc<str>),
    User(Arc<str>),
}

/// A client's request with what its connection knows beside the body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Which of the node's listeners it came in by; listeners are numbered in the configuration.
    pub listener: u8,
    pub principal: Principal,
    pub body: RequestBody,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestBody {
    Kafka(KafkaRequest),
    Keeper(keeper::Request),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KafkaRequest {
    pub version: i16,
    pub correlation: i32,
    pub client: Option<Arc<str>>,
    pub body: kafka::Request,
}

/// An answer to a client. `R` as in [`PeerMessage`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply<R> {
    Kafka { version: i16, correlation: i32, body: kafka::Response<R> },
    Keeper(keeper::Reply),
}

/// What a host tells a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// It is `wake_at`, or later; early and double wakes are harmless.
    Wake,
    Up {
        channel: Channel,
    },
    Down {
        channel: Channel,
    },
    Peer {
        channel: Channel,
        message: PeerMessage<Bytes>,
    },

    // Others are our clients.
    Request {
        conn: ConnId,
        request: Request,
    },
    Closed {
        conn: ConnId,
    },

    // We are a client.
    Opened {
        dial: DialId,
    },
    Answer {
        dial: DialId,
        reply: Reply<Bytes>,
    },
    /// The connection could not be made, or is gone.
    Hung {
        dial: DialId,
    },

    // The disk.
    Synced {
        lane: Lane,
        upto: Ticket,
    },
    Loaded {
        ticket: Ticket,
        what: Loaded,
    },

    /// A person asks a simulated client to do something.
    Command(Command),
    /// The operator asks the node to stop in order; it emits `Effect::Stopped` when it has.
    Shutdown,
}

/// What a node asks of its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Send {
        channel: Channel,
        message: PeerMessage<LogRange>,
    },
    /// Breaks a channel; the host brings it up again under a new generation.
    Hangup {
        channel: Channel,
    },

    Reply {
        conn: ConnId,
        reply: Reply<LogRange>,
    },
    Close {
        conn: ConnId,
    },

    Dial {
        dial: DialId,
        to: Address,
    },
    Ask {
        dial: DialId,
        request: Request,
    },
    /// We no longer need this connection; no `Hung` follows.
    HangupDial {
        dial: DialId,
    },

    Store {
        lane: Lane,
        op: StoreOp,
    },
    Sync {
        lane: Lane,
        ticket: Ticket,
    },
    Load {
        lane: Lane,
        ticket: Ticket,
        what: Load,
    },

    /// The node cannot go on, and says why in a sentence (a client of ours would say: a host's misfortune).
    Halt {
        why: String,
    },
    /// The orderly stop that `Input::Shutdown` asked for is done.
    Stopped,
}
