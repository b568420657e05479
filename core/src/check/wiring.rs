//! Which of the checkers' eyes have been open: how often each kind of observation reached them. A checker that nothing
//! is handed to cannot fail, so a test of many seeds asks that none of these stays at zero.

macro_rules! hooks {
    ($($hook:ident = $name:literal,)+) => {
        /// A kind of observation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Hook { $($hook),+ }

        const NAMES: &[&str] = &[$($name),+];
    };
}

hooks! {
    KeeperBoot = "a keeper starts",
    BrokerBoot = "a broker starts",
    LogBoot = "a broker finds a log",
    JournalStore = "a keeper writes its journal",
    ZabNote = "a keeper tells of its broadcast",
    KeeperNote = "a keeper tells of sessions and trees",
    Committed = "a transaction is committed",
    TreeApplied = "a keeper's tree moves",
    Unclean = "an unclean election is written",
    LogCreate = "a log is created",
    LogAppend = "batches are appended",
    LogTruncate = "a log is cut",
    LogRestart = "a log is dropped and goes on elsewhere",
    LogDropBelow = "old segments go",
    LogDelete = "a log is deleted",
    LogEpochs = "an epoch cache is written",
    BecameController = "a controller takes office",
    BecameLeader = "a broker leads",
    BecameFollower = "a broker follows",
    LeaderHighWatermark = "a leader's high watermark moves",
    FollowerHighWatermark = "a follower's high watermark moves",
    Acknowledged = "a leader acknowledges for the whole ISR",
    Registered = "a broker registers",
    WatchAsked = "a client asks for a watch",
    WatchTold = "a client is told of a change",
    WatchSet = "a client knows its watch set",
    ChildWatchSet = "a client knows its watch on children set",
    MultiDone = "a client is told that a multi is done",
    MultiRefused = "a client is told that a multi is refused",
    Synced = "a keeper owes a sync what was committed",
    Found = "a client is told whether a znode is there",
    Listed = "a client is told of children",
    AclSeen = "a client is told of an access list",
    SessionOver = "a client's session is over",
    EndTold = "a consumer is told where a partition ends",
    ClientTold = "a client tells what it was told",
    Compared = "everything is compared in full",
    ReplicaCompared = "a log is read from its disk",
    AtRest = "a world comes to rest",
}

/// How often each hook ran.
#[derive(Clone, Debug)]
pub(crate) struct Wiring([u64; NAMES.len()]);

impl Default for Wiring {
    fn default() -> Wiring {
        Wiring([0; NAMES.len()])
    }
}

impl Wiring {
    pub fn ran(&mut self, hook: Hook) {
        self.0[hook as usize] += 1;
    }

    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().copied().zip(self.0)
    }
}
