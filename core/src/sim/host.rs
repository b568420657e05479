//! One node in the world: its machine, its store on a simulated disk, its clocks, and what its kernel would keep.
//!
//! Knows nothing of other nodes.

use super::clock::Clock;
use super::disk::SimDisk;
use super::network::StreamId;
use crate::api::storage::{Lane, Loaded};
use crate::id::{ConnId, DialId, NodeId};
use crate::machine::Ticket;
use crate::node::Input;
use crate::nodes::Node;
use crate::ordered::{OrdMap, OrdSet};
use crate::queue::Queue;
use crate::store::Store;
use crate::time::{Instant, Span};
use crate::wire::kafka::ClientCodec as KafkaCodec;
use crate::wire::keeper::{ClientCodec as KeeperCodec, ServerCodec as KeeperServerCodec};
use crate::wire::link::LinkCodec;

/// A process or the machine it would run on.
#[derive(Clone, Debug)]
pub struct Host {
    pub id: NodeId,
    pub clock: Clock,
    /// Counts the node's starts; inputs of an earlier boot are dropped.
    pub boot: u32,
    pub machine: Option<Box<Node>>,
    /// Why it is down, for people; and since when.
    pub down: Option<Down>,
    /// Somebody ended it, and nobody has started it since.
    pub ended: bool,
    pub paused: Option<Instant>,
    /// What arrived from within the machine (disk, timers) while the process was paused.
    pub backlog: Queue<Input>,

    pub store: Store<SimDisk>,
    pub loads: OrdMap<(Lane, Ticket), Loaded>,
    /// Added to every sync and load.
    pub slow_disk: Span,
    pub lying_disk: bool,
    /// A bit of its disk flipped, and it got no other.
    pub rotten: bool,

    pub conns: OrdMap<ConnId, Conn>,
    pub next_conn: u64,
    pub dials: OrdMap<DialId, Dial>,
    pub links: OrdMap<NodeId, LinkCodec>,

    /// When the world will look whether the node wants to be woken.
    pub look_at: Option<Instant>,

    /// When it last woke by itself, and how often at that moment.
    pub woke_at: Instant,
    pub wakes_now: u32,

    // What a tester asked for.
    pub lose_reply_to: OrdSet<NodeId>,
    pub fail_reply_to: OrdMap<NodeId, i16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Down {
    pub since: Instant,
    pub why: String,
}

/// A connection the node made.
#[derive(Clone, Debug)]
pub struct Dial {
    pub stream: StreamId,
    pub to: NodeId,
    pub codec: DialCodec,
}

/// A connection somebody made to the node.
#[derive(Clone, Debug)]
pub struct Conn {
    pub stream: StreamId,
    pub codec: ServerCodec,
}

/// What a server's end of a connection must remember to read the requests.
#[derive(Clone, Debug)]
pub enum ServerCodec {
    Kafka,
    Keeper(KeeperServerCodec),
}

/// What a client's end of a connection must remember to read the answers.
#[derive(Clone, Debug)]
pub enum DialCodec {
    Kafka(KafkaCodec),
    Keeper(KeeperCodec),
}

impl Host {
    pub fn new(id: NodeId, clock: Clock) -> Host {
        Host {
            id,
            clock,
            boot: 0,
            machine: None,
            down: None,
            ended: false,
            paused: None,
            backlog: Queue::new(),
            store: Store::new(SimDisk::new()),
            loads: OrdMap::new(),
            slow_disk: Span::ZERO,
            lying_disk: false,
            rotten: false,
            conns: OrdMap::new(),
            next_conn: 0,
            dials: OrdMap::new(),
            links: OrdMap::new(),
            look_at: None,
            woke_at: Instant::ZERO,
            wakes_now: 0,
            lose_reply_to: OrdSet::new(),
            fail_reply_to: OrdMap::new(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    pub fn is_running(&self) -> bool {
        self.machine.is_some() && self.paused.is_none()
    }

    /// Forgets everything that lived in the process.
    pub fn forget_process(&mut self) {
        self.machine = None;
        self.paused = None;
        self.backlog.clear();
        self.loads.clear();
        self.conns.clear();
        self.dials.clear();
        self.links.clear();
        self.look_at = None;
        self.lose_reply_to.clear();
        self.fail_reply_to.clear();
    }
}
