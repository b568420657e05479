//! What a cluster looks like at one moment, as plain data for any picture of it.
//!
//! Machines and hosts fill it, pages and tables read it; nothing here decides anything. It knows no colours, no
//! pixels and no wording beyond labels that came from [`Note`](crate::note::Note)s. With the feature `serde` every
//! view can travel; the identifiers in it then travel as the text or number they are shown as.

use crate::id::{BrokerId, ControllerEpoch, KeeperId, LeaderEpoch, NodeId, SessionId, TopicPartition, ZabEpoch, Zxid};
use crate::record::offset::Offset;
use crate::time::{Instant, Span};
use std::sync::Arc;

/// Derives what every view has; serde only when the feature is on.
macro_rules! views {
    ($($(#[$meta:meta])* pub $what:ident $name:ident $body:tt)+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
            pub $what $name $body
        )+
    };
}

views! {
    /// The whole cluster at `now`. Nodes come in the order of their numbers, everything that happened oldest first.
    #[derive(Default)]
    pub struct ClusterView {
        pub now: Instant,
        /// How far the run is known: `now` while live, later after a step back.
        pub known_until: Instant,
        pub headline: Headline,
        pub keepers: Vec<KeeperView>,
        pub known: KnownView,
        pub brokers: Vec<BrokerView>,
        pub clients: Vec<ClientView>,
        /// Each pair once; a pair that is not listed has nothing between it.
        pub links: Vec<LinkView>,
        /// On their way now. A sample may be drawn; each link counts all of its own.
        pub messages: Vec<MessageView>,
        /// What every node next wants to be woken for, the soonest first.
        pub timers: Vec<TimerView>,
        /// The newest lines, oldest first.
        pub story: Vec<StoryLine>,
        /// The newest chain of causes that ended in a change of leader, ISR, log or promise; at most four steps.
        pub causes: Vec<CauseStep>,
        pub ledger: Ledger,
        pub promises: Vec<PromiseView>,
        pub tracks: Vec<TrackView>,
    }

    /// What changed, then why and who still waits.
    #[derive(Default)]
    pub struct Headline {
        /// At most 32 letters.
        pub title: Arc<str>,
        pub why: Arc<str>,
        /// A promise was broken.
        pub broken: bool,
    }

    /// Whether a machine runs.
    #[derive(Copy)]
    pub enum NodeState {
        Up { since: Instant },
        /// It computes nothing and hears nothing, but its time-outs at others run on.
        Paused { since: Instant },
        Down { since: Instant },
    }

    /// What a machine suffers from while it runs, with the figure where there is one.
    #[derive(Copy)]
    pub enum Ailment {
        SlowDisk { extra: Span },
        FullDisk,
        LyingSync,
        /// The wall clock is ahead by this many milliseconds (behind if negative).
        SkewedClock { millis: i64 },
    }

    /// A time-out that is running.
    #[derive(Copy)]
    pub struct Timeout {
        /// Its full length.
        pub span: Span,
        pub due: Instant,
        /// Somebody can do nothing until it has run out.
        pub awaited: bool,
    }

    pub struct KeeperView {
        pub id: KeeperId,
        pub state: NodeState,
        pub ailments: Vec<Ailment>,
        pub role: KeeperRole,
        /// The epoch it has accepted last (`currentEpoch`).
        pub zab_epoch: ZabEpoch,
        pub last_zxid: Zxid,
        /// The newest few writes of its journal.
        pub txns: Vec<TxnView>,
        /// The election's or the leader's time-out, while one runs.
        pub timeout: Option<Timeout>,
        /// Client sessions attached to this keeper.
        pub sessions: u32,
    }

    #[derive(Copy)]
    pub enum KeeperRole {
        /// Votes for `vote`; `votes` of the voters are known to agree with it, itself included.
        Looking { vote: KeeperId, votes: u8 },
        Following { leader: KeeperId },
        /// `established`: a quorum follows it now. Without one it leads nobody and what it proposes cannot commit.
        Leading { established: bool },
        /// Follows without a vote.
        Observing { leader: Option<KeeperId> },
    }

    pub struct TxnView {
        pub zxid: Zxid,
        /// What it writes, as the story names it: `create /brokers/ids/1`.
        pub label: Arc<str>,
        /// As this keeper knows it.
        pub committed: bool,
    }

    /// The znodes that brokers live by, as the ensemble has committed them.
    #[derive(Default)]
    pub struct KnownView {
        pub registrations: Vec<RegistrationView>,
        pub controller: Option<BrokerId>,
        pub controller_epoch: ControllerEpoch,
        pub partitions: Vec<PartitionView>,
    }

    /// A broker's `/brokers/ids` znode, and the session it hangs on.
    pub struct RegistrationView {
        pub node: NodeId,
        pub broker: BrokerId,
        pub state: Registration,
    }

    #[derive(Copy)]
    pub enum Registration {
        /// Not yet registered since the run began.
        Never,
        Here { session: SessionId, expires: Timeout, at: Option<KeeperId> },
        Gone { since: Instant },
    }

    /// `/brokers/topics/…/state`.
    pub struct PartitionView {
        pub partition: TopicPartition,
        pub leader: Option<BrokerId>,
        pub leader_epoch: LeaderEpoch,
        pub isr: Vec<BrokerId>,
        /// The assignment, the preferred leader first.
        pub replicas: Vec<BrokerId>,
    }

    pub struct BrokerView {
        pub node: NodeId,
        /// Its configured or assigned id.
        pub broker: BrokerId,
        pub state: NodeState,
        pub ailments: Vec<Ailment>,
        /// It believes that it is the controller.
        pub controller: bool,
        /// The keeper its session is attached to now.
        pub keeper: Option<KeeperId>,
        pub replicas: Vec<ReplicaView>,
    }

    /// One copy of a partition, as its broker knows it.
    pub struct ReplicaView {
        pub partition: TopicPartition,
        pub role: ReplicaRole,
        /// Member of the ISR, as the partition's znode says.
        pub in_isr: bool,
        pub leader_epoch: LeaderEpoch,
        /// Its leader epoch cache, ascending.
        pub epochs: Vec<EpochStart>,
        pub log_start: Offset,
        pub high_watermark: Offset,
        pub log_end: Offset,
        /// The newest records, oldest first. Truncated ones stay for a while, marked.
        pub records: Vec<RecordView>,
        /// For a follower: how long until the leader drops it from the ISR, while it lags.
        pub lag: Option<Timeout>,
    }

    #[derive(Copy)]
    pub enum ReplicaRole {
        Leader,
        Follower { leader: Option<BrokerId> },
        /// Not told yet, or stopped.
        Idle,
    }

    #[derive(Copy)]
    pub struct EpochStart {
        pub epoch: LeaderEpoch,
        pub start: Offset,
    }

    #[derive(Copy)]
    pub struct RecordView {
        pub offset: Offset,
        pub epoch: LeaderEpoch,
        pub fate: Fate,
        /// This copy was cut off the log; what is shown is what had been there.
        pub truncated: bool,
    }

    /// What the record's producer was told, and what became of it.
    #[derive(Copy)]
    pub enum Fate {
        Untold,
        /// Its producer was told that it is written.
        Promised,
        /// Promised, and no longer in the leader's log.
        Lost { allowed: bool },
    }

    pub struct ClientView {
        pub node: NodeId,
        /// As the story calls it: `producer-1`.
        pub name: Arc<str>,
        pub state: NodeState,
        pub kind: ClientKind,
        /// Set while it can do nothing but wait: since when, for what.
        pub waits: Option<Wait>,
    }

    pub struct Wait {
        pub since: Instant,
        pub for_what: Arc<str>,
    }

    pub enum ClientKind {
        /// `acks` as Kafka's setting: 0, 1, −1 for all. Counts are of records.
        Producer { acks: i16, idempotent: bool, in_flight: u32, acknowledged: u64, failed: u64 },
        Consumer { read: u64, positions: Vec<Position> },
        /// A ZooKeeper client. Counts are of writes.
        Keeper { in_flight: u32, acknowledged: u64, failed: u64, last: Arc<str> },
    }

    pub struct Position {
        pub partition: TopicPartition,
        pub next: Offset,
    }

    pub struct LinkView {
        pub a: NodeId,
        pub b: NodeId,
        /// There is a connection between them now.
        pub open: bool,
        /// From `a` to `b`.
        pub forth: LaneView,
        /// From `b` to `a`.
        pub back: LaneView,
    }

    #[derive(Copy)]
    pub struct LaneView {
        pub state: LaneState,
        /// Every message on its way, drawn or not.
        pub in_flight: u32,
    }

    #[derive(Copy)]
    pub enum LaneState {
        Ok,
        Slow { extra: Span },
        /// Nothing arrives, nothing is lost: messages queue.
        Stalled,
        Cut,
    }

    pub struct MessageView {
        /// Never used for another message of the run.
        pub id: u64,
        pub from: NodeId,
        pub to: NodeId,
        /// `Produce`, `Propose 1:98`.
        pub label: Arc<str>,
        pub kind: MessageKind,
        pub sent: Instant,
        /// When it arrives; a stalled message has passed it.
        pub due: Instant,
        pub records: u32,
        /// The leader epoch of the records, or the Zab epoch of the proposal.
        pub epoch: Option<i64>,
        /// It died on its way, at this moment.
        pub lost: Option<Instant>,
        /// Fetches that bring nothing, and their empty answers: the story leaves them out.
        pub routine: bool,
    }

    #[derive(Copy)]
    pub enum MessageKind {
        Request,
        /// `granted`: yes, no, or an answer that is neither.
        Reply { granted: Option<bool> },
        Heartbeat,
    }

    pub struct TimerView {
        pub node: NodeId,
        pub at: Instant,
        pub why: Arc<str>,
    }

    pub struct StoryLine {
        /// The entry of the trace; never used for another line of the run.
        pub id: u64,
        pub at: Instant,
        pub kind: StoryKind,
        /// Who saw it.
        pub subject: Option<NodeId>,
        pub text: Arc<str>,
        /// It changed a leader, an ISR, a log or a promise.
        pub turning: bool,
    }

    #[derive(Copy)]
    pub enum StoryKind {
        /// A person's act.
        You,
        Ensemble,
        Session,
        Leadership,
        Log,
        Isr,
        Client,
        Violation,
    }

    /// A step of the last chain of causes: where it took place, and the story line that tells it.
    pub struct CauseStep {
        pub story: u64,
        pub at: Instant,
        pub place: Place,
    }

    pub enum Place {
        Node(NodeId),
        /// A broker's registration, on the pane.
        Registration(BrokerId),
        Replica(NodeId, TopicPartition),
    }

    /// What clients were told, against what is there.
    #[derive(Default, Copy)]
    pub struct Ledger {
        /// Records whose producer was told yes.
        pub acknowledged: u64,
        /// Those of them that a consumer can still read.
        pub survive: u64,
        /// Records sent and not yet answered.
        pub waiting: u64,
        /// Znode writes whose client was told yes, and those of them in the committed tree.
        pub writes_acknowledged: u64,
        pub writes_kept: u64,
    }

    pub struct PromiseView {
        /// The invariant's stable name: `LOG-3`.
        pub name: Arc<str>,
        pub sentence: Arc<str>,
        pub verdict: PromiseVerdict,
    }

    pub enum PromiseVerdict {
        Holds,
        Violated { at: Instant, why: Arc<str> },
        /// The scenario's settings do not ask for it.
        NotOwed { why: Arc<str> },
        /// Something was lost that the settings allow to be lost.
        AllowedLoss { at: Instant, why: Arc<str> },
    }

    /// One lane of the tape.
    pub struct TrackView {
        pub name: Arc<str>,
        pub kind: TrackKind,
        pub spans: Vec<SpanView>,
        pub marks: Vec<MarkView>,
    }

    #[derive(Copy)]
    pub enum TrackKind {
        You,
        Ensemble,
        Partition,
        Clients,
    }

    pub struct SpanView {
        pub from: Instant,
        /// `None`: it goes on.
        pub until: Option<Instant>,
        pub kind: SpanKind,
        /// `keeper-3 leads`, `none`.
        pub label: Arc<str>,
    }

    #[derive(Copy)]
    pub enum SpanKind {
        /// Somebody leads at this epoch.
        Led { epoch: i64 },
        /// Nobody does.
        Leaderless,
        /// Clients wait.
        Waiting,
        /// A promised record is gone.
        Lost,
    }

    /// A person's act.
    pub struct MarkView {
        pub at: Instant,
        pub act: Act,
        pub label: Arc<str>,
    }

    #[derive(Copy, PartialOrd, Ord)]
    pub enum Act {
        Kill,
        Restart,
        Pause,
        Resume,
        PowerOff,
        Cut,
        Heal,
        Slow,
        Stall,
        Disk,
        Clock,
        Other,
    }
}

impl Timeout {
    /// What is left of it, zero once it has run out.
    pub fn left(&self, now: Instant) -> Span {
        self.due.since(now)
    }
}

impl NodeState {
    pub fn is_up(&self) -> bool {
        matches!(self, NodeState::Up { .. })
    }

    pub fn is_down(&self) -> bool {
        matches!(self, NodeState::Down { .. })
    }

    pub fn since(&self) -> Instant {
        match self {
            NodeState::Up { since } | NodeState::Paused { since } | NodeState::Down { since } => *since,
        }
    }
}

impl LaneView {
    pub const IDLE: LaneView = LaneView { state: LaneState::Ok, in_flight: 0 };
}

impl KeeperView {
    pub fn node(&self) -> NodeId {
        NodeId::Keeper(self.id)
    }
}

impl ClusterView {
    pub fn broker(&self, node: NodeId) -> Option<&BrokerView> {
        self.brokers.iter().find(|broker| broker.node == node)
    }

    pub fn keeper(&self, node: NodeId) -> Option<&KeeperView> {
        self.keepers.iter().find(|keeper| keeper.node() == node)
    }

    pub fn client(&self, node: NodeId) -> Option<&ClientView> {
        self.clients.iter().find(|client| client.node == node)
    }

    /// Whether a machine or client runs; `None` for one that is not in the cluster.
    pub fn state(&self, node: NodeId) -> Option<NodeState> {
        match node {
            NodeId::Keeper(_) => self.keeper(node).map(|keeper| keeper.state),
            NodeId::Broker(_) => self.broker(node).map(|broker| broker.state),
            NodeId::Client(_) => self.client(node).map(|client| client.state),
        }
    }

    /// The link between two nodes, whichever of them it names first.
    pub fn link(&self, a: NodeId, b: NodeId) -> Option<&LinkView> {
        self.links.iter().find(|link| (link.a, link.b) == (a, b) || (link.a, link.b) == (b, a))
    }

    /// The node's name as the story uses it: clients have their own.
    pub fn name(&self, node: NodeId) -> String {
        match self.client(node) {
            Some(client) => client.name.to_string(),
            None => node.to_string(),
        }
    }
}

/// How identifiers travel: numbers as numbers, names as the text they are shown as.
#[cfg(feature = "serde")]
mod travel {
    use super::*;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    macro_rules! number_travels {
        ($($name:ident($inner:ty)),+) => {
            $(
                impl Serialize for $name {
                    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                        self.0.serialize(to)
                    }
                }
                impl<'de> Deserialize<'de> for $name {
                    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                        <$inner>::deserialize(from).map($name)
                    }
                }
            )+
        };
    }
    number_travels!(
        KeeperId(u8),
        BrokerId(i32),
        ZabEpoch(u32),
        LeaderEpoch(i32),
        ControllerEpoch(i32),
        SessionId(i64),
        Zxid(u64),
        Instant(u64),
        Span(u64),
        Offset(i64)
    );

    macro_rules! name_travels {
        ($($name:ident by $parse:expr),+) => {
            $(
                impl Serialize for $name {
                    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                        to.collect_str(self)
                    }
                }
                impl<'de> Deserialize<'de> for $name {
                    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                        let text = String::deserialize(from)?;
                        $parse(&text).ok_or_else(|| D::Error::custom(format!("not a name: {text}")))
                    }
                }
            )+
        };
    }
    name_travels!(NodeId by NodeId::parse, TopicPartition by topic_partition);

    fn topic_partition(text: &str) -> Option<TopicPartition> {
        let (topic, partition) = text.rsplit_once('-')?;
        Some(TopicPartition::new(topic, partition.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_from_either_end() {
        let (a, b) = (NodeId::Broker(1), NodeId::keeper(2));
        let link = LinkView { a, b, open: true, forth: LaneView::IDLE, back: LaneView::IDLE };
        let view = ClusterView { links: vec![link.clone()], ..ClusterView::default() };
        assert_eq!((view.link(b, a), view.link(a, a)), (Some(&link), None));
    }

    #[test]
    fn a_timeout_that_ran_out_has_nothing_left() {
        let timeout = Timeout { span: Span::secs(6), due: Instant(6_000), awaited: false };
        assert_eq!((timeout.left(Instant(5_000)), timeout.left(Instant(7_000))), (Span(1_000), Span::ZERO));
    }
}
