//! What Kafka keeps in ZooKeeper: the paths of protocol.md C.1 and the JSON in them, field order as Kafka 3.9 writes it.
//!
//! Knows nothing of sessions or of who writes when. A reader here takes what a node holds and answers `None` if that
//! is not what Kafka would have written.

pub mod json;

use crate::id::{BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition};
use crate::ordered::OrdMap;
use crate::time::UnixMillis;
use bytes::Bytes;
use json::{Json, map};
use std::sync::Arc;

pub const BROKER_IDS: &str = "/brokers/ids";
pub const TOPICS: &str = "/brokers/topics";
/// Broker ids are handed out through this node's version.
pub const SEQ_ID: &str = "/brokers/seqid";
pub const CLUSTER_ID: &str = "/cluster/id";
pub const CONTROLLER: &str = "/controller";
/// A plain decimal. Its znode version is the fencing token of C.2.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
pub const FEATURE: &str = "/feature";
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
pub const PREFERRED_ELECTION: &str = "/admin/preferred_replica_election";
pub const ISR_CHANGES: &str = "/isr_change_notification";
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
pub const CONFIG_CHANGES: &str = "/config/changes";
pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";

/// What every starting broker creates if absent, with null data, parents first (C.1).
pub const PERSISTENT_PATHS: [&str; 18] = [
    "/consumers",
    "/brokers",
    "/brokers/ids",
    "/brokers/topics",
    "/config",
    "/config/changes",
    "/admin",
    "/admin/delete_topics",
    "/brokers/seqid",
    "/isr_change_notification",
    "/latest_producer_id_block",
    "/log_dir_event_notification",
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
    "/cluster",
];

pub fn broker(id: BrokerId) -> String {
    format!("{BROKER_IDS}/{id}")
}
pub fn topic(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}
pub fn partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}
pub fn partition(tp: &TopicPartition) -> String {
    format!("{TOPICS}/{}/partitions/{}", tp.topic, tp.partition)
}
pub fn partition_state(tp: &TopicPartition) -> String {
    format!("{TOPICS}/{}/partitions/{}/state", tp.topic, tp.partition)
}
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}
/// `kind` is topics, brokers, clients, users or ips.
pub fn config(kind: &str, name: &str) -> String {
    format!("/config/{kind}/{name}")
}

fn bytes(json: &Json) -> Bytes {
    Bytes::from(json.to_string())
}

fn parse(data: &[u8]) -> Option<Json> {
    core::str::from_utf8(data).ok().and_then(Json::parse)
}

fn ids(list: &[BrokerId]) -> Json {
    Json::List(list.iter().map(|id| Json::Int(id.0.into())).collect())
}

fn read_ids(json: &Json) -> Option<Vec<BrokerId>> {
    json.as_list()?.iter().map(|id| id.as_i32().map(BrokerId)).collect()
}

fn int(n: impl Into<i64>) -> Json {
    Json::Int(n.into())
}

/// One address a broker listens at: `PLAINTEXT://127.0.0.1:9092`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub listener: String,
    pub protocol: String,
    pub host: String,
    pub port: i32,
}

/// `/brokers/ids/N`, version 5. Its czxid is the broker epoch (KIP-380).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerInfo {
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    pub timestamp: UnixMillis,
}

impl BrokerInfo {
    pub fn encode(&self) -> Bytes {
        let plain = self.endpoints.iter().find(|endpoint| endpoint.protocol == "PLAINTEXT");
        let protocols = self.endpoints.iter().map(|end| (end.listener.clone(), Json::text(&end.protocol))).collect();
        let urls = self.endpoints.iter().map(|end| Json::Text(format!("{}://{}:{}", end.listener, end.host, end.port)));
        let mut fields = vec![
            ("features", map([])),
            ("listener_security_protocol_map", Json::Map(protocols)),
            ("endpoints", Json::List(urls.collect())),
        ];
        if let Some(rack) = &self.rack {
            fields.push(("rack", Json::text(rack)));
        }
        fields.extend([
            ("jmx_port", int(-1)),
            ("port", int(plain.map_or(-1, |end| end.port))),
            ("host", plain.map_or(Json::Null, |end| Json::text(&end.host))),
            ("version", int(5)),
            ("timestamp", Json::Text(self.timestamp.0.to_string())),
        ]);
        bytes(&Json::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }

    pub fn decode(data: &[u8]) -> Option<BrokerInfo> {
        let json = parse(data)?;
        let protocols = json.get("listener_security_protocol_map");
        let endpoints = json.get("endpoints")?.as_list()?.iter().map(|url| {
            let (listener, rest) = url.as_str()?.split_once("://")?;
            let (host, port) = rest.rsplit_once(':')?;
            let protocol = protocols.and_then(|map| map.get(listener)).and_then(Json::as_str).unwrap_or(listener);
            Some(Endpoint {
                listener: listener.to_owned(),
                protocol: protocol.to_owned(),
                host: host.to_owned(),
                port: port.parse().ok()?,
            })
        });
        Some(BrokerInfo {
            endpoints: endpoints.collect::<Option<_>>()?,
            rack: json.get("rack").and_then(Json::as_str).map(str::to_owned),
            timestamp: UnixMillis(json.get("timestamp")?.as_str()?.parse().ok()?),
        })
    }
}

/// `/controller`, version 2: who is controller.
pub fn encode_controller(id: BrokerId, timestamp: UnixMillis) -> Bytes {
    bytes(&map([
        ("version", int(2)),
        ("brokerid", int(id.0)),
        ("timestamp", Json::Text(timestamp.0.to_string())),
        ("kraftControllerEpoch", int(-1)),
    ]))
}

pub fn decode_controller(data: &[u8]) -> Option<BrokerId> {
    parse(data)?.get("brokerid")?.as_i32().map(BrokerId)
}

/// `/controller_epoch`.
pub fn encode_controller_epoch(epoch: ControllerEpoch) -> Bytes {
    Bytes::from(epoch.to_string())
}

pub fn decode_controller_epoch(data: &[u8]) -> Option<ControllerEpoch> {
    core::str::from_utf8(data).ok()?.parse().ok().map(ControllerEpoch)
}

/// `/cluster/id`.
pub fn encode_cluster_id(id: &str) -> Bytes {
    bytes(&map([("version", Json::text("1")), ("id", Json::text(id))]))
}

pub fn decode_cluster_id(data: &[u8]) -> Option<String> {
    parse(data)?.get("id")?.as_str().map(str::to_owned)
}

/// As [`encode_cluster_id`], with the name that the cluster has in its nodes' configuration. Kafka's readers pass it over.
pub fn encode_named_cluster_id(id: &str, name: &str) -> Bytes {
    bytes(&map([("version", Json::text("1")), ("id", Json::text(id)), ("name", Json::text(name))]))
}

/// The name in `/cluster/id`, if whoever made it had one.
pub fn decode_cluster_name(data: &[u8]) -> Option<String> {
    parse(data)?.get("name")?.as_str().map(str::to_owned)
}

/// `/feature` with feature versioning enabled and no feature in it, as a new controller leaves it.
pub fn encode_feature() -> Bytes {
    bytes(&map([("features", map([])), ("version", int(2)), ("status", int(1))]))
}

/// Who holds a partition: all assigned replicas in preference order, and of these the ones a reassignment is adding
/// and removing (KIP-455).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Assignment {
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

impl Assignment {
    pub fn of(replicas: Vec<BrokerId>) -> Assignment {
        Assignment { replicas, adding: Vec::new(), removing: Vec::new() }
    }

    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// What a running reassignment leads to (TRS): RS without RR.
    pub fn target(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|id| !self.removing.contains(id)).collect()
    }

    /// What it came from (ORS): RS without AR.
    pub fn origin(&self) -> Vec<BrokerId> {
        self.replicas.iter().copied().filter(|id| !self.adding.contains(id)).collect()
    }

    /// The assignment while `self` is moved to `target`: TRS, then ORS without TRS (C.3).
    pub fn reassign_to(&self, target: &[BrokerId]) -> Assignment {
        let origin = self.origin();
        let mut replicas = target.to_vec();
        replicas.extend(origin.iter().copied().filter(|id| !target.contains(id)));
        Assignment {
            replicas,
            adding: target.iter().copied().filter(|id| !origin.contains(id)).collect(),
            removing: origin.iter().copied().filter(|id| !target.contains(id)).collect(),
        }
    }
}

/// `/brokers/topics/T`, version 3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopicInfo {
    /// [`TopicId::NONE`] if the node is of a version without one.
    pub id: TopicId,
    pub partitions: OrdMap<i32, Assignment>,
}

impl TopicInfo {
    pub fn encode(&self) -> Bytes {
        let table = |of: fn(&Assignment) -> &Vec<BrokerId>, all: bool| {
            let rows = self.partitions.iter().filter(|(_, assignment)| all || assignment.is_reassigning());
            let rows = rows.filter(|(_, assignment)| all || !of(assignment).is_empty());
            Json::Map(rows.map(|(number, assignment)| (number.to_string(), ids(of(assignment)))).collect())
        };
        bytes(&map([
            ("partitions", table(|assignment| &assignment.replicas, true)),
            ("topic_id", Json::Text(self.id.to_string())),
            ("adding_replicas", table(|assignment| &assignment.adding, false)),
            ("removing_replicas", table(|assignment| &assignment.removing, false)),
            ("version", int(3)),
        ]))
    }

    pub fn decode(data: &[u8]) -> Option<TopicInfo> {
        let json = parse(data)?;
        let mut partitions = OrdMap::new();
        for (number, replicas) in json.get("partitions")?.entries() {
            let moving = |field| {
                let list: Option<&Json> = json.get(field).and_then(|map: &Json| map.get(number));
                list.map_or(Some(Vec::new()), read_ids)
            };
            let assignment = Assignment {
                replicas: read_ids(replicas)?,
                adding: moving("adding_replicas")?,
                removing: moving("removing_replicas")?,
            };
            partitions.insert(number.parse().ok()?, assignment);
        }
        let id = json.get("topic_id").and_then(Json::as_str).and_then(parse_topic_id).unwrap_or(TopicId::NONE);
        Some(TopicInfo { id, partitions })
    }
}

/// Reads what [`TopicId`]'s `Display` writes: 16 bytes in URL-safe base64 without padding.
pub fn parse_topic_id(text: &str) -> Option<TopicId> {
    let mut id = [0; 16];
    let (mut word, mut bits, mut at) = (0u32, 0, 0);
    if text.len() != 22 {
        return None;
    }
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        word = (word << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 && at < 16 {
            bits -= 8;
            id[at] = (word >> bits) as u8;
            at += 1;
        }
    }
    Some(TopicId(id))
}

/// `/brokers/topics/T/partitions/P/state`. The znode's version is the partition epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionState {
    /// The controller that wrote it last.
    pub controller_epoch: ControllerEpoch,
    /// `None` is Kafka's −1.
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub isr: Vec<BrokerId>,
    /// The leader was elected uncleanly and has not yet said that it recovered (KIP-704).
    pub recovering: bool,
}

impl PartitionState {
    pub fn encode(&self) -> Bytes {
        let mut fields = vec![
            ("controller_epoch".to_owned(), int(self.controller_epoch.0)),
            ("leader".to_owned(), int(self.leader.map_or(-1, |id| id.0))),
            ("version".to_owned(), int(1)),
            ("leader_epoch".to_owned(), int(self.leader_epoch.0)),
            ("isr".to_owned(), ids(&self.isr)),
        ];
        if self.recovering {
            fields.push(("leader_recovery_state".to_owned(), int(1)));
        }
        bytes(&Json::Map(fields))
    }

    pub fn decode(data: &[u8]) -> Option<PartitionState> {
        let json = parse(data)?;
        let number = |field| json.get(field).and_then(Json::as_i32);
        Some(PartitionState {
            controller_epoch: ControllerEpoch(number("controller_epoch")?),
            leader: number("leader").filter(|id| *id >= 0).map(BrokerId),
            leader_epoch: LeaderEpoch(number("leader_epoch")?),
            isr: read_ids(json.get("isr")?)?,
            recovering: number("leader_recovery_state") == Some(1),
        })
    }
}

/// `/config/<kind>/<name>`: the dynamic settings of one thing.
pub type Configs = OrdMap<String, String>;

pub fn encode_configs(configs: &Configs) -> Bytes {
    let entries = configs.iter().map(|(name, value)| (name.clone(), Json::text(value))).collect();
    bytes(&map([("version", int(1)), ("config", Json::Map(entries))]))
}

pub fn decode_configs(data: &[u8]) -> Option<Configs> {
    let json = parse(data)?;
    let entries = json.get("config")?.entries();
    entries.map(|(name, value)| Some((name.to_owned(), value.as_str()?.to_owned()))).collect()
}

/// `/config/changes/config_change_N`, version 2: whose settings changed, as (kind, name).
pub fn encode_config_change(kind: &str, name: &str) -> Bytes {
    bytes(&map([("version", int(2)), ("entity_path", Json::Text(format!("{kind}/{name}")))]))
}

pub fn decode_config_change(data: &[u8]) -> Option<(String, String)> {
    let json = parse(data)?;
    let (kind, name) = json.get("entity_path")?.as_str()?.split_once('/')?;
    Some((kind.to_owned(), name.to_owned()))
}

/// `/admin/reassign_partitions`: where partitions shall go.
pub fn encode_reassignments(wanted: &OrdMap<TopicPartition, Vec<BrokerId>>) -> Bytes {
    let rows = wanted.iter().map(|(tp, replicas)| {
        map([("topic", Json::text(&*tp.topic)), ("partition", int(tp.partition)), ("replicas", ids(replicas))])
    });
    bytes(&map([("version", int(1)), ("partitions", Json::List(rows.collect()))]))
}

pub fn decode_reassignments(data: &[u8]) -> Option<OrdMap<TopicPartition, Vec<BrokerId>>> {
    let json = parse(data)?;
    let rows = json.get("partitions")?.as_list()?.iter();
    rows.map(|row| Some((read_partition(row)?, read_ids(row.get("replicas")?)?))).collect()
}

/// `/admin/preferred_replica_election`, and the older `/isr_change_notification/isr_change_N`.
pub fn encode_partitions(partitions: &[TopicPartition]) -> Bytes {
    let rows = partitions.iter().map(|tp| map([("topic", Json::text(&*tp.topic)), ("partition", int(tp.partition))]));
    bytes(&map([("version", int(1)), ("partitions", Json::List(rows.collect()))]))
}

pub fn decode_partitions(data: &[u8]) -> Option<Vec<TopicPartition>> {
    parse(data)?.get("partitions")?.as_list()?.iter().map(read_partition).collect()
}

fn read_partition(row: &Json) -> Option<TopicPartition> {
    Some(TopicPartition::new(Arc::from(row.get("topic")?.as_str()?), row.get("partition")?.as_i32()?))
}

/// `/log_dir_event_notification/log_dir_event_N`: this broker lost a log directory.
pub fn encode_log_dir_event(id: BrokerId) -> Bytes {
    bytes(&map([("version", int(1)), ("broker", int(id.0)), ("event", int(1))]))
}

pub fn decode_log_dir_event(data: &[u8]) -> Option<BrokerId> {
    parse(data)?.get("broker")?.as_i32().map(BrokerId)
}

/// `/latest_producer_id_block`: the newest thousand of producer ids, and who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProducerIdBlock {
    pub broker: BrokerId,
    pub start: i64,
    pub end: i64,
}

impl ProducerIdBlock {
    pub const LENGTH: i64 = 1000;

    /// The block after `latest`, for `broker`. `None` when the ids are used up.
    pub fn after(latest: Option<ProducerIdBlock>, broker: BrokerId) -> Option<ProducerIdBlock> {
        let start = latest.map_or(Some(0), |latest| latest.end.checked_add(1))?;
        Some(ProducerIdBlock { broker, start, end: start.checked_add(ProducerIdBlock::LENGTH - 1)? })
    }

    pub fn encode(&self) -> Bytes {
        bytes(&map([
            ("version", int(1)),
            ("broker", int(self.broker.0)),
            ("block_start", Json::Text(self.start.to_string())),
            ("block_end", Json::Text(self.end.to_string())),
        ]))
    }

    pub fn decode(data: &[u8]) -> Option<ProducerIdBlock> {
        let json = parse(data)?;
        let number = |field| json.get(field).and_then(Json::as_str).and_then(|text| text.parse().ok());
        let broker = BrokerId(json.get("broker")?.as_i32()?);
        Some(ProducerIdBlock { broker, start: number("block_start")?, end: number("block_end")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path and data of every node with data in Apache's dumps.
    fn dumped() -> Vec<(&'static str, String)> {
        let lines = include_str!("../../../../tests/vectors/kafka/znodes.txt").lines();
        let nodes = lines.filter_map(|line| {
            let (path, rest) = line.split_once('\t')?;
            let Json::Text(data) = Json::parse(rest.split_once('\t')?.0)? else { return None };
            Some((path, data))
        });
        nodes.collect()
    }

    /// Reads and writes every node that `is_one` names, and compares the bytes with Apache's.
    fn check<T>(
        is_one: impl Fn(&str) -> bool,
        decode: impl Fn(&[u8]) -> Option<T>,
        encode: impl Fn(T) -> Bytes,
    ) -> usize {
        let mut seen = 0;
        for (path, data) in dumped().into_iter().filter(|(path, _)| is_one(path)) {
            let value = decode(data.as_bytes()).unwrap_or_else(|| panic!("{path} is not read: {data}"));
            assert_eq!(core::str::from_utf8(&encode(value)), Ok(data.as_str()), "{path}");
            seen += 1;
        }
        seen
    }

    #[test]
    fn a_cluster_may_have_a_name_beside_its_id() {
        let named = encode_named_cluster_id("id", "prod");
        assert_eq!(named, r#"{"version":"1","id":"id","name":"prod"}"#);
        assert_eq!((decode_cluster_id(&named), decode_cluster_name(&named)), (Some("id".into()), Some("prod".into())));
        assert_eq!(decode_cluster_name(&encode_cluster_id("id")), None, "Apache's has none");
    }

    #[test]
    fn nodes_are_written_as_apache_writes_them() {
        assert!(check(|path| path.starts_with("/brokers/ids/"), BrokerInfo::decode, |info| info.encode()) > 10);
        assert!(check(|path| path.ends_with("/state"), PartitionState::decode, |state| state.encode()) > 100);
        let is_topic = |path: &str| path.starts_with("/brokers/topics/") && path.matches('/').count() == 3;
        assert!(check(is_topic, TopicInfo::decode, |info| info.encode()) > 50);
        assert!(check(|path| path == CONTROLLER_EPOCH, decode_controller_epoch, encode_controller_epoch) > 10);
        assert!(check(|path| path == PRODUCER_ID_BLOCK, ProducerIdBlock::decode, |block| block.encode()) > 5);
        assert!(check(|path| path == FEATURE, |_| Some(()), |()| encode_feature()) > 10);
        assert!(check(|path| path == CLUSTER_ID, decode_cluster_id, |id| encode_cluster_id(&id)) > 10);
        let is_change = |path: &str| path.starts_with("/config/changes/");
        assert!(check(is_change, decode_config_change, |(kind, name)| encode_config_change(&kind, &name)) > 10);
        let with_stamp = |data: &[u8]| {
            let stamp = parse(data)?.get("timestamp")?.as_str()?.parse().ok().map(UnixMillis)?;
            Some((decode_controller(data)?, stamp))
        };
        assert!(check(|path| path == CONTROLLER, with_stamp, |(id, stamp)| encode_controller(id, stamp)) > 10);
    }

    #[test]
    fn settings_are_read_from_apaches_nodes_and_read_back() {
        let mut seen = 0;
        for (path, data) in
            dumped().into_iter().filter(|(path, _)| path.starts_with("/config/") && !path.contains("changes"))
        {
            let configs = decode_configs(data.as_bytes()).unwrap_or_else(|| panic!("{path} is not read: {data}"));
            assert_eq!(decode_configs(&encode_configs(&configs)), Some(configs), "{path}");
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
        let one = r#"{"version":1,"config":{"min.insync.replicas":"2"}}"#;
        assert_eq!(decode_configs(one.as_bytes()).map(|configs| encode_configs(&configs)), Some(Bytes::from(one)));
    }

    #[test]
    fn a_running_reassignment_names_what_comes_and_what_goes() {
        let assignment = Assignment::of(vec![BrokerId(1), BrokerId(2)]).reassign_to(&[BrokerId(2), BrokerId(3)]);
        let info = TopicInfo {
            id: parse_topic_id("XZvVsMbbRzOOTiTh4D7C2w").unwrap(),
            partitions: OrdMap::from([(0, assignment.clone())]),
        };
        assert_eq!(
            core::str::from_utf8(&info.encode()),
            Ok(concat!(
                r#"{"partitions":{"0":[2,3,1]},"topic_id":"XZvVsMbbRzOOTiTh4D7C2w","#,
                r#""adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]},"version":3}"#
            ))
        );
        assert_eq!(assignment.target(), [BrokerId(2), BrokerId(3)]);
        assert_eq!(assignment.origin(), [BrokerId(2), BrokerId(1)]);
    }

    #[test]
    fn wishes_for_partitions_are_read_back() {
        let wanted = OrdMap::from([(TopicPartition::new("re", 0), vec![BrokerId(2), BrokerId(3)])]);
        let data = encode_reassignments(&wanted);
        assert_eq!(&data[..], br#"{"version":1,"partitions":[{"topic":"re","partition":0,"replicas":[2,3]}]}"#);
        assert_eq!(decode_reassignments(&data), Some(wanted));
        let some = vec![TopicPartition::new("t", 1)];
        assert_eq!(decode_partitions(&encode_partitions(&some)), Some(some));
        assert_eq!(decode_log_dir_event(&encode_log_dir_event(BrokerId(3))), Some(BrokerId(3)));
    }
}
