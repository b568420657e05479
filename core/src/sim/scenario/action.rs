//! What can be done to a world, by a person, a scenario's text or the swarm.

pub use crate::api::command::{Change, Command, TopicSpec};
use crate::id::NodeId;
use crate::time::Span;

/// One thing done at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The process dies; what it had written stays in the page cache.
    Kill(NodeId),
    /// The machine loses power: un-synced bytes are kept, lost or torn.
    PowerOff(NodeId),
    /// Every node loses power at once.
    PowerOffAll,
    /// Starts a node that is down.
    Restart(NodeId),
    RestartAll,
    /// The node's disk is replaced by an empty one. The node, if up, dies first.
    Wipe(NodeId),
    /// The process stops running (SIGSTOP, a long GC pause); what is sent to it waits.
    Pause(NodeId),
    Resume(NodeId),
    /// Asks the node to stop in order (controlled shutdown).
    Shutdown(NodeId),

    /// Silence from one node to another: what is sent is lost.
    Cut {
        from: NodeId,
        to: NodeId,
    },
    /// What is sent waits.
    Stall {
        from: NodeId,
        to: NodeId,
    },
    /// Every message takes so much longer.
    Slow {
        from: NodeId,
        to: NodeId,
        by: Span,
    },
    /// The direction is as good as new.
    Heal {
        from: NodeId,
        to: NodeId,
    },
    HealAll,
    /// Every stream between the two breaks now, and comes up again.
    Break {
        a: NodeId,
        b: NodeId,
    },

    /// The monotone clock runs so many parts per million fast.
    Drift {
        node: NodeId,
        ppm: i32,
    },
    /// The wall clock jumps by so many milliseconds.
    Jump {
        node: NodeId,
        millis: i64,
    },

    /// Every sync takes so much longer.
    SlowDisk {
        node: NodeId,
        by: Span,
    },
    FullDisk(NodeId),
    /// Syncs are answered without being done.
    LyingDisk(NodeId),
    /// The disk is honest, fast and has space again.
    GoodDisk(NodeId),
    /// One bit of one file of a node that is down flips.
    BitRot(NodeId),

    /// The server's next answer to the client is lost after its request took effect, and the connection breaks.
    LoseReply {
        server: NodeId,
        client: NodeId,
    },
    /// The server's answers to the client wait.
    DelayReply {
        server: NodeId,
        client: NodeId,
        by: Span,
    },
    /// The server's next produce answer to the client says this error (a Kafka code), whatever happened.
    FailReply {
        server: NodeId,
        client: NodeId,
        error: i16,
    },

    /// Asks a client to do something.
    Ask {
        client: NodeId,
        command: Command,
    },
}
