//! What the controller has before it, as data: events to look into, the steps of the present one, and what to do with
//! the answers it waits for. The verbs are in the files beside this one.

use super::*;

/// Something to look into. Watch events carry no state: what they point at is read again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// Look at `/controller`, and try to become it if it is not there.
    Elect,
    BrokersChanged,
    BrokerChanged,
    TopicsChanged,
    TopicChanged(Arc<str>),
    DeletionsWanted,
    ReassignmentsWanted,
    PreferredWanted,
    LogDirsFailed,
    IsrsChanged,
    /// What the answer of one registration of a broker to a control request said of its replicas.
    Learned {
        by: (BrokerId, BrokerEpoch),
        what: Learned,
    },
    Rebalance,
    /// A topic, or every topic, may have an unclean leader from now on.
    UncleanAllowed,
    Request {
        from: Asker,
        version: i16,
        request: Request,
    },
    /// CreateTopics from this very broker, controller or not; `seats`: the brokers as it knows them.
    CreateHere {
        from: Asker,
        request: kafka::CreateTopicsRequest,
        seats: Vec<Seat>,
    },
}

/// What a broker said of the replicas it was told about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Learned {
    /// By its answer to LeaderAndIsr: those whose log cannot be used, and those whose log can be used again.
    Logs { broken: Vec<Replica>, mended: Vec<Replica> },
    /// By its answer to StopReplica: how deletions went.
    Deletions { done: Vec<Replica>, failed: Vec<Replica> },
}

/// What is done next, in order; a step may put others before the rest. The controller's own call stack, as data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Campaign,
    OldNotifications,
    WatchNodes,
    ReadBrokers {
        failover: bool,
    },
    ReadTopics {
        failover: bool,
    },
    ReadStates,
    ReadDeletions {
        failover: bool,
    },
    StartReplicas,
    StartPartitions,
    FailoverDone,

    Replicas {
        to: ReplicaState,
        of: Vec<Replica>,
    },
    Partitions {
        to: Status,
        of: Vec<TopicPartition>,
    },
    /// Partitions to Online: a first leader for new ones, an election by `strategy` for the others.
    Online {
        of: Vec<TopicPartition>,
        strategy: Strategy,
    },
    Initialize(Vec<TopicPartition>),
    Elect {
        of: Vec<TopicPartition>,
        strategy: Strategy,
    },
    LeaveIsr {
        replica: BrokerId,
        of: Vec<TopicPartition>,
    },
    /// Elections for everything New or Offline.
    OnlineAll,
    /// Leader epoch + 1, and LeaderAndIsr to all replicas.
    Bump(TopicPartition),
    Flush,
    /// Takes this into the batch.
    Gather(Box<Batch>),
    UpdateMetadata {
        to: Vec<BrokerId>,
        of: Vec<TopicPartition>,
    },

    BrokersUp(Vec<(BrokerId, context::LiveBroker)>),
    BrokersDown(Vec<BrokerId>),
    ReplicasOffline(Vec<Replica>),
    NewPartitions(Vec<TopicPartition>),

    ResumeDeletions,
    DeleteReplicas(Vec<Arc<str>>),
    DropTopic(Arc<str>),

    ReadReassignments,
    Reassign(TopicPartition, znodes::Assignment),
    ContinueReassign(TopicPartition),
    FinishReassign(TopicPartition),
    TakeTarget(TopicPartition),
    MoveLeader(TopicPartition),
    TrimReassignments,
    WriteTarget(TopicPartition),
    EndReassign(TopicPartition),
    CheckReassign(TopicPartition),
    ResumeReassignments,

    ReadPreferred,
    EndPreferred,
    ShutdownReply(BrokerId),
    ElectReply(Vec<(TopicPartition, ErrorCode)>, Strategy, Vec<(TopicPartition, Option<BrokerId>)>),
    Answer(Box<Response<LogRange>>),
    ReadStatesOf(Vec<TopicPartition>),
    ProducerIds(BrokerId),
}

/// What to do with the answers of ZooKeeper, in the order of the questions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// The answers tell nothing (but that we are fenced, which is looked for always).
    Nothing,
    LookedForController,
    ReadController,
    ReadControllerEpoch,
    Campaigned,
    Features,
    OldNotifications,
    /// A watch for a node that was not there is set; if it is there after all, the event is due.
    Armed(Box<Event>),
    Notifications {
        dir: &'static str,
    },
    NotificationsOf {
        dir: &'static str,
        names: Vec<Arc<str>>,
    },
    BrokerIds {
        failover: bool,
    },
    Brokers {
        failover: bool,
        ids: Vec<BrokerId>,
    },
    TopicNames {
        failover: bool,
    },
    Topics {
        failover: bool,
        names: Vec<Arc<str>>,
    },
    States(Vec<TopicPartition>),
    StatesAgain(Vec<TopicPartition>),
    Deletions {
        failover: bool,
    },
    Initialized(Vec<(TopicPartition, znodes::PartitionState)>),
    Adopt(Vec<TopicPartition>),
    ElectRead {
        of: Vec<TopicPartition>,
        topics: Vec<Arc<str>>,
        strategy: Strategy,
    },
    Elected {
        of: Vec<states::Elected>,
        strategy: Strategy,
    },
    LeaveIsrRead {
        replica: BrokerId,
        of: Vec<TopicPartition>,
    },
    LeftIsr {
        replica: BrokerId,
        of: Vec<(TopicPartition, znodes::PartitionState)>,
    },
    BumpRead(TopicPartition),
    Bumped(TopicPartition, znodes::PartitionState),
    TopicChanged(Arc<str>),
    Reassignments,
    AssignmentWritten(TopicPartition, znodes::Assignment),
    FinishCheck(TopicPartition),
    Checked(TopicPartition),
    ReassignNode,
    Preferred,
    TopicTree(Arc<str>),
    TopicDropped(Arc<str>),
    IsrWritten(Box<isr::Alter>),
    IsrReadBack(Box<isr::Alter>),
    LookedForTopics(Box<admin::Creation>),
    TopicsMade(Box<admin::Creation>),
    DeletionsAsked(Box<admin::Deletion>),
    ConfigsRead(Box<configs::Alteration>),
    ConfigsWritten(Box<configs::Alteration>),
    ProducerBlock(BrokerId),
    ProducerBlockWritten(BrokerId, znodes::ProducerIdBlock),
}
