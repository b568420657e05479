//! The register of invariants: name, sentence, source. protocol.md D says them at length; ZAB-n is its D.1-n.

/// One thing that must never happen, or must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    pub name: &'static str,
    pub sentence: &'static str,
    /// The paper, KIP or JIRA it comes from.
    pub source: &'static str,
}

const fn of(name: &'static str, sentence: &'static str, source: &'static str) -> Invariant {
    Invariant { name, sentence, source }
}

/// The invariant of that name.
pub fn find(name: &str) -> Option<&'static Invariant> {
    INVARIANTS.iter().find(|invariant| invariant.name == name)
}

const ZAB: &str = "Junqueira, Reed, Serafini, DSN 2011";
const ZAB_SPEC: &str = "ZOOKEEPER-3615, Zab.tla";

/// Every invariant that is checked. ZAB-8 and ZAB-10 to ZAB-16, LOG, ISR, CTL and HIST after every entry; LIVE at rest.
pub const INVARIANTS: &[Invariant] = &[
    of("ZAB-1", "At most one keeper leads an epoch, and only it proposes in it.", ZAB),
    of(
        "ZAB-2",
        "Whatever is delivered was proposed, with these contents, and is in the journal of who delivers it.",
        ZAB,
    ),
    of("ZAB-3", "No two keepers deliver different transactions under one zxid.", ZAB),
    of("ZAB-4", "All keepers deliver in the same order, none twice and none left out.", ZAB),
    of("ZAB-5", "What one leader proposed is delivered in the order in which it was proposed, without gaps.", ZAB),
    of("ZAB-6", "What an earlier leader proposed is delivered before what a later one proposed.", ZAB),
    of("ZAB-7", "A leader proposes only when it has everything that was committed before.", ZAB),
    of(
        "ZAB-8",
        "Committed histories are beginnings of one another; so is every database taken from a leader.",
        ZAB_SPEC,
    ),
    of("ZAB-9", "A learner that acknowledges NEWLEADER has a beginning of its leader's history.", ZAB_SPEC),
    of("ZAB-10", "An established leader has everything that was committed in earlier epochs.", ZAB_SPEC),
    of(
        "ZAB-11",
        "What is committed is durable on a quorum, stays durable, and is not cut from a journal that the quorum needs.",
        "ZOOKEEPER-3911, ZOOKEEPER-4643, ZOOKEEPER-4646",
    ),
    of(
        "ZAB-12",
        "The committed sequence only grows: nobody delivers anything new without all that is committed.",
        ZAB_SPEC,
    ),
    of(
        "ZAB-13",
        "acceptedEpoch is never below currentEpoch, neither goes back, and who acknowledges NEWLEADER has both the epoch and the history on disk.",
        "ZOOKEEPER-1653, ZOOKEEPER-4643",
    ),
    of("ZAB-14", "Zxids in a journal rise, without a gap within an epoch.", "ZOOKEEPER-4925"),
    of(
        "ZAB-15",
        "When an election begins, memory is not ahead of the disk, and the vote names the end of the journal.",
        "ZOOKEEPER-2845, ZOOKEEPER-3642, ZOOKEEPER-5094",
    ),
    of("ZAB-16", "Applying a transaction gives the tree whose digest its leader foretold.", "ZOOKEEPER-3249"),
    of(
        "ZAB-17",
        "Between keepers that keep the protocol no packet comes out of turn: proposals follow each other, COMMIT and ACK name what was proposed.",
        "protocol.md D.1, action invariants",
    ),
    of("ZAB-23", "No session expires before its time-out, and no session id is used twice.", "protocol.md D.1-23"),
    of("TREE-1", "Equal zxids mean equal trees.", "protocol.md D.1-16"),
    of("TREE-2", "Ephemeral nodes belong to open sessions and end with them, on every keeper.", "ZOOKEEPER-2355"),
    of("TREE-3", "A watch tells at most once for each time it was set.", "protocol.md D.1-20"),
    of("TREE-4", "Numbers given to sequential nodes under one parent rise.", "protocol.md D.1-22"),
    of(
        "TREE-5",
        "Whoever watches a node is told of a change before it sees it, and of every change in the end.",
        "protocol.md D.1-20",
    ),
    of(
        "LOG-1",
        "Below its high watermark a replica holds exactly what was committed.",
        "KIP-101, KIP-279; protocol.md D.2-7",
    ),
    of(
        "LOG-2",
        "Batches of one leader epoch at one offset are the same on every replica.",
        "KIP-101; protocol.md D.2-7",
    ),
    of(
        "LOG-3",
        "Who leads a partition has every record that was ever committed.",
        "KIP-101, KAFKA-7128; protocol.md D.2-6",
    ),
    of("LOG-4", "A leader's high watermark never goes back within its epoch.", "KIP-207; protocol.md D.2-10"),
    of(
        "LOG-5",
        "Offsets and leader epochs rise along a log, and the epoch cache says so.",
        "KAFKA-7415, KAFKA-10706; protocol.md D.2-12",
    ),
    of("LOG-6", "A follower never cuts committed records.", "KIP-101; protocol.md D.2-13"),
    of(
        "LOG-7",
        "A follower's high watermark is at most its own log end and what its leader committed.",
        "protocol.md D.2-11",
    ),
    of(
        "LOG-8",
        "A restart keeps what the page cache or fsync was to keep: everything after a crash, what is committed after a power loss.",
        "design.md, durability; protocol.md D.2-8",
    ),
    of("LOG-9", "An acknowledgement by the whole ISR leaves only for what is committed.", "protocol.md D.2-8"),
    of(
        "LOG-10",
        "A log's disk holds what was written to it, and it ends where its broker says.",
        "protocol.md D.2-8, D.2-12",
    ),
    of("ISR-1", "The ISR is not empty, its members are assigned, and the leader is one of them.", "protocol.md D.2-2"),
    of("ISR-2", "At most one broker leads a partition in a leader epoch.", "protocol.md D.2-1"),
    of("ISR-3", "Leader epoch and partition epoch only rise, and a new leader has a new epoch.", "protocol.md D.2-3"),
    of(
        "ISR-4",
        "What is committed is on every member of the ISR that the ensemble knows.",
        "KIP-497, StrongIsr; protocol.md D.2-4, D.2-5",
    ),
    of(
        "ISR-5",
        "Nothing is committed while fewer than min.insync.replicas are in sync.",
        "KAFKA-15583; protocol.md D.2-14",
    ),
    of(
        "ISR-6",
        "No replica is ahead of its partition's znode, and a leader's ISR is the znode's of the same partition epoch.",
        "KIP-497; protocol.md D.2-20",
    ),
    of("CTL-1", "The controller epoch rises with every controller.", "protocol.md D.2-17"),
    of("CTL-2", "A partition's state is written by the current controller only.", "KAFKA-6082; protocol.md D.2-3"),
    of("CTL-3", "At most one broker is controller of a controller epoch.", "protocol.md D.2-17"),
    of("CTL-4", "A leader comes from the ISR, unless settings or an operator allow another.", "protocol.md D.2-6"),
    of(
        "CTL-5",
        "Each registration of a broker has a higher broker epoch than the last.",
        "KIP-380; protocol.md D.2-20",
    ),
    of(
        "HIST-1",
        "What a producer was told is written with acks=all is where it was told.",
        "protocol.md D.2-8, D.2-15",
    ),
    of("HIST-2", "What a consumer once read at an offset never changes.", "KIP-320; protocol.md D.2-9"),
    of("HIST-3", "No consumer sees what is not committed.", "protocol.md D.2-9"),
    of(
        "HIST-4",
        "Sequences of an idempotent producer follow each other in the log without gap or repetition, and no batch comes twice.",
        "KIP-98; protocol.md D.2-15",
    ),
    of(
        "HIST-5",
        "An acknowledged write of a ZooKeeper client is in the history as it was told.",
        "protocol.md D.1-17, D.1-24",
    ),
    of("HIST-6", "The zxids one session is told never go back.", "protocol.md D.1-18"),
    of("HIST-7", "A read returns the state at the zxid it was answered at.", "protocol.md D.1-19"),
    of(
        "HIST-8",
        "A multi's results are those of its one transaction: all of its parts are done, or none.",
        "protocol.md B.5, D.1-17",
    ),
    of(
        "HIST-9",
        "After a sync a session sees what was committed when it asked, unless its keeper's leader was deposed by then.",
        "protocol.md A.5, D.1-19",
    ),
    of("HIST-10", "No session changes a znode whose access list forbids it.", "protocol.md B.2"),
    of(
        "HIST-11",
        "The end of a partition that a reader is told never lies below what it was told or read before.",
        "KIP-207, KIP-320; protocol.md D.2-10",
    ),
    of("HIST-12", "A consumer that keeps its place skips no committed record.", "protocol.md D.2-9"),
    of("LIVE-1", "A healed ensemble has one leader, and everybody serves under it.", "protocol.md D.1, liveness"),
    of("LIVE-2", "A healed cluster has one controller.", "protocol.md D.2, liveness"),
    of("LIVE-3", "Every partition with a live member of its ISR has a leader.", "protocol.md D.2, liveness"),
    of("LIVE-4", "Every live assigned replica comes back into the ISR.", "KAFKA-2729; protocol.md D.2, liveness"),
    of("LIVE-5", "The high watermark reaches the log end.", "KAFKA-13091; protocol.md D.2, liveness"),
    of("LIVE-6", "Every write is answered.", "protocol.md D.2, liveness"),
    of("LIVE-7", "Every broker is registered and every client has a session.", "KAFKA-7165; protocol.md D, liveness"),
    of("LIVE-8", "Every server that was started and not stopped runs.", "protocol.md D, liveness"),
    of("LIVE-9", "A broker that is down leaves every ISR in which it is not the last.", "protocol.md D.2-18"),
    of("LIVE-10", "A leader comes to know the partition epoch of its znode.", "KAFKA-2729; protocol.md D.2-20"),
];
