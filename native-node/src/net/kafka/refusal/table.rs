//! What is answered to each API that is not served, in the notation of [`super::notation`].
//!
//! All that Kafka 3.9's clients may ask is here, in all its versions: what is neither here nor served is a broker's or a
//! controller's own, or nobody's.

use glasshouse_core::api::kafka::ErrorCode;

/// The refusal of some versions of one API.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub key: i16,
    pub versions: (i16, i16),
    /// The first version with compact lengths and tagged fields.
    pub flexible: i16,
    pub error: ErrorCode,
    /// The request, as far as it has to be read: not at all where one error stands for everything that is asked.
    pub asked: &'static str,
    pub answer: &'static str,
}

const NEVER: i16 = i16::MAX;

const fn of(key: i16, versions: (i16, i16), flexible: i16, asked: &'static str, answer: &'static str) -> Refusal {
    Refusal { key, versions, flexible, error: ErrorCode::UNSUPPORTED_VERSION, asked, answer }
}

impl Refusal {
    /// As Apache's brokers do on a port without authentication, and without an authorizer.
    const fn with(self, error: ErrorCode) -> Refusal {
        Refusal { error, ..self }
    }
}

/// In the order of their keys.
pub const TABLE: &[Refusal] = &[
    // Fetch, ListOffsets: versions of old, and those with topic ids.
    of(
        1,
        (0, 3),
        NEVER,
        "replica:i32 wait:i32 least:i32 most:i32@3 topics[ topic:text partitions[ index:i32 offset:i64 most:i32 ] ]",
        "0:i32@1 topics[ topic partitions[ index error -1:i64 empty:bytes ] ]",
    ),
    of(1, (13, 17), 12, "", "0:i32 error 0:i32 empty:list"),
    of(
        2,
        (0, 0),
        NEVER,
        "replica:i32 topics[ name:text partitions[ index:i32 time:i64 many:i32 ] ]",
        "topics[ name partitions[ index error empty:list ] ]",
    ),
    // OffsetCommit, OffsetFetch.
    of(
        8,
        (0, 9),
        8,
        "group:text generation:i32@1 member:text@1 instance:text?@7 retention:i64@2-4 \
         topics[ name:text partitions[ index:i32 offset:i64 epoch:i32@6 time:i64@1-1 metadata:text? ] ]",
        "0:i32@3 topics[ name partitions[ index error ] ]",
    ),
    of(
        9,
        (0, 1),
        NEVER,
        "group:text topics[ name:text partitions( index:i32 ) ]",
        "topics[ name partitions[ index -1:i64 empty:text error ] ]",
    ),
    of(9, (2, 7), 6, "", "0:i32@3 empty:list error"),
    of(
        9,
        (8, 9),
        6,
        "groups[ group:text member:text?@9 epoch:i32@9 topics?[ name:text partitions( index:i32 ) ] ] stable:i8",
        "0:i32 groups[ group empty:list error ]",
    ),
    // FindCoordinator, JoinGroup, Heartbeat, LeaveGroup, SyncGroup, DescribeGroups, ListGroups.
    of(10, (0, 3), 3, "", "0:i32@1 error why@1 -1:i32 empty:text -1:i32"),
    of(10, (4, 6), 3, "kind:i8 keys( key:text )", "0:i32 keys[ key -1:i32 empty:text -1:i32 error why ]"),
    of(11, (0, 9), 6, "", "0:i32@2 error -1:i32 null:text@7 empty:text empty:text 0:i8@9 empty:text empty:list"),
    of(12, (0, 4), 4, "", "0:i32@1 error"),
    of(13, (0, 5), 4, "", "0:i32@1 error empty:list@3"),
    of(14, (0, 5), 4, "", "0:i32@1 error null:text@5 null:text@5 empty:bytes"),
    of(
        15,
        (0, 5),
        5,
        "groups( group:text ) operations:i8@3",
        "0:i32@1 groups[ error group empty:text empty:text empty:text empty:list -2147483648:i32@3 ]",
    ),
    of(16, (0, 5), 3, "", "0:i32@1 error empty:list"),
    // SaslHandshake.
    of(17, (0, 1), NEVER, "", "error empty:list").with(ErrorCode::ILLEGAL_SASL_STATE),
    // CreateTopics, DeleteTopics, in versions of old; DeleteRecords.
    of(
        19,
        (0, 1),
        NEVER,
        "topics[ name:text partitions:i32 replicas:i16 assigned[ index:i32 brokers( id:i32 ) ] \
         configs[ name:text value:text? ] ] timeout:i32 validate:i8@1",
        "topics[ name error why@1 ]",
    ),
    of(20, (0, 0), NEVER, "topics( name:text ) timeout:i32", "topics[ name error ]"),
    of(
        21,
        (0, 2),
        2,
        "topics[ name:text partitions[ index:i32 offset:i64 ] ] timeout:i32",
        "0:i32 topics[ name partitions[ index -1:i64 error ] ]",
    ),
    // InitProducerId of transactions that end in two steps; OffsetForLeaderEpoch of old.
    of(22, (5, 5), 2, "", "0:i32 error -1:i64 -1:i16"),
    of(
        23,
        (0, 1),
        NEVER,
        "topics[ topic:text partitions[ index:i32 epoch:i32 ] ]",
        "topics[ topic partitions[ error index -1:i32@1 -1:i64 ] ]",
    ),
    // AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, WriteTxnMarkers, TxnOffsetCommit.
    of(
        24,
        (0, 3),
        3,
        "transaction:text producer:i64 epoch:i16 topics[ name:text partitions( index:i32 ) ]",
        "0:i32 topics[ name partitions[ index error ] ]",
    ),
    of(24, (4, 5), 3, "", "0:i32 error empty:list"),
    of(25, (0, 4), 3, "", "0:i32 error"),
    of(26, (0, 4), 3, "", "0:i32 error"),
    of(
        27,
        (0, 1),
        1,
        "markers[ producer:i64 epoch:i16 commits:i8 topics[ name:text partitions( index:i32 ) ] coordinator:i32 ]",
        "markers[ producer topics[ name partitions[ index error ] ] ]",
    ),
    of(
        28,
        (0, 4),
        3,
        "transaction:text group:text producer:i64 epoch:i16 generation:i32@3 member:text@3 instance:text?@3 \
         topics[ name:text partitions[ index:i32 offset:i64 leader:i32@2 metadata:text? ] ]",
        "0:i32 topics[ name partitions[ index error ] ]",
    ),
    // DescribeAcls, CreateAcls, DeleteAcls.
    of(29, (0, 3), 2, "", "0:i32 error why empty:list").with(ErrorCode::SECURITY_DISABLED),
    of(
        30,
        (0, 3),
        2,
        "acls[ kind:i8 name:text pattern:i8@1 principal:text host:text operation:i8 permission:i8 ]",
        "0:i32 acls[ error why ]",
    )
    .with(ErrorCode::SECURITY_DISABLED),
    of(
        31,
        (0, 3),
        2,
        "filters[ kind:i8 name:text? pattern:i8@1 principal:text? host:text? operation:i8 permission:i8 ]",
        "0:i32 filters[ error why empty:list ]",
    )
    .with(ErrorCode::SECURITY_DISABLED),
    // DescribeConfigs, AlterConfigs.
    of(
        32,
        (0, 4),
        4,
        "resources[ kind:i8 name:text configs?( config:text ) ] synonyms:i8@1 documentation:i8@3",
        "0:i32 resources[ error why kind name empty:list ]",
    ),
    of(
        33,
        (0, 2),
        2,
        "resources[ kind:i8 name:text configs[ name:text value:text? ] ] validate:i8",
        "0:i32 resources[ error why kind name ]",
    ),
    // AlterReplicaLogDirs, DescribeLogDirs.
    of(
        34,
        (0, 2),
        2,
        "dirs[ path:text topics[ name:text partitions( index:i32 ) ] ]",
        "0:i32 dirs/topics[ name partitions[ index error ] ]",
    ),
    of(35, (0, 2), 2, "", "0:i32 one[ error empty:text empty:list ]"),
    of(35, (3, 4), 2, "", "0:i32 error empty:list"),
    // SaslAuthenticate.
    of(36, (0, 2), 2, "", "error why empty:bytes 0:i64@1").with(ErrorCode::ILLEGAL_SASL_STATE),
    // CreatePartitions.
    of(
        37,
        (0, 3),
        2,
        "topics[ name:text count:i32 assigned?[ brokers( id:i32 ) ] ] timeout:i32 validate:i8",
        "0:i32 topics[ name error why ]",
    ),
    // Delegation tokens: create, renew, expire, describe.
    of(
        38,
        (0, 3),
        2,
        "",
        "error empty:text empty:text empty:text@3 empty:text@3 -1:i64 -1:i64 -1:i64 empty:text empty:bytes 0:i32",
    )
    .with(ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
    of(39, (0, 2), 2, "", "error -1:i64 0:i32").with(ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
    of(40, (0, 2), 2, "", "error -1:i64 0:i32").with(ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
    of(41, (0, 3), 2, "", "error empty:list 0:i32").with(ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED),
    // DeleteGroups.
    of(42, (0, 2), 2, "groups( group:text )", "0:i32 groups[ group error ]"),
    // ElectLeaders.
    of(
        43,
        (0, 2),
        2,
        "kind:i8@1 topics?[ topic:text partitions( index:i32 ) ] timeout:i32",
        "0:i32 error@1 topics[ topic partitions[ index error why ] ]",
    ),
    // IncrementalAlterConfigs.
    of(
        44,
        (0, 1),
        1,
        "resources[ kind:i8 name:text configs[ name:text operation:i8 value:text? ] ] validate:i8",
        "0:i32 resources[ error why kind name ]",
    ),
    // AlterPartitionReassignments, ListPartitionReassignments, OffsetDelete.
    of(45, (0, 0), 0, "", "0:i32 error why empty:list"),
    of(46, (0, 0), 0, "", "0:i32 error why empty:list"),
    of(47, (0, 0), NEVER, "", "error 0:i32 empty:list"),
    // Quotas of clients: describe, alter.
    of(48, (0, 1), 1, "", "0:i32 error why null:list"),
    of(
        49,
        (0, 1),
        1,
        "entries[ entity[ kind:text name:text? ] ops[ key:text value:f64 remove:i8 ] ] validate:i8",
        "0:i32 entries[ error why entity[ kind name ] ]",
    ),
    // SCRAM credentials: describe, alter.
    of(50, (0, 0), 0, "", "0:i32 error why empty:list"),
    of(
        51,
        (0, 0),
        0,
        "deletions[ name:text mechanism:i8 ] \
         upsertions[ name:text mechanism:i8 iterations:i32 salt:bytes password:bytes ]",
        "0:i32 deletions+upsertions[ name error why ]",
    ),
    // DescribeQuorum, UpdateFeatures, DescribeProducers, UnregisterBroker.
    of(55, (0, 2), 0, "", "error why@2 empty:list empty:list@2"),
    of(57, (0, 1), 0, "", "0:i32 error why empty:list"),
    of(
        61,
        (0, 0),
        0,
        "topics[ name:text partitions( index:i32 ) ]",
        "0:i32 topics[ name partitions[ index error why empty:list ] ]",
    ),
    of(64, (0, 0), 0, "", "0:i32 error why"),
    // DescribeTransactions, ListTransactions.
    of(65, (0, 0), 0, "ids( id:text )", "0:i32 ids[ error id empty:text 0:i32 -1:i64 -1:i64 -1:i16 empty:list ]"),
    of(66, (0, 1), 0, "", "0:i32 error empty:list empty:list"),
    // ConsumerGroupHeartbeat, ConsumerGroupDescribe.
    of(68, (0, 0), 0, "", "0:i32 error why null:text 0:i32 0:i32 null:struct"),
    of(
        69,
        (0, 0),
        0,
        "groups( group:text ) operations:i8",
        "0:i32 groups[ error why group empty:text 0:i32 0:i32 empty:text empty:list -2147483648:i32 ]",
    ),
    // Telemetry: GetTelemetrySubscriptions, PushTelemetry, ListClientMetricsResources.
    of(71, (0, 0), 0, "", "0:i32 error 0:uuid 0:i32 empty:list 0:i32 0:i32 0:i8 empty:list"),
    of(72, (0, 0), 0, "", "0:i32 error"),
    of(74, (0, 0), 0, "", "0:i32 error empty:list"),
    // DescribeTopicPartitions. (Its cursor is not read.)
    of(
        75,
        (0, 0),
        0,
        "topics[ name:text ] limit:i32",
        "0:i32 topics[ error name 0:uuid 0:i8 empty:list -2147483648:i32 ] null:struct",
    ),
    // AddRaftVoter, RemoveRaftVoter.
    of(80, (0, 0), 0, "", "0:i32 error why"),
    of(81, (0, 0), 0, "", "0:i32 error why"),
];
