//! The cluster as this broker believes it to be: what the controller's UpdateMetadata told it, and what clients are
//! told of it. May lag the truth; decides nothing.

use super::controller::place::Seat;
use super::topic_names;
use super::znodes::Endpoint;
use crate::api::kafka::{
    ApiKey, ApiVersion, ApiVersionsResponse, DescribeClusterBroker, DescribeClusterResponse, ErrorCode, MetadataBroker,
    MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopicResponse, UpdateMetadataPartition,
    UpdateMetadataRequest,
};
use crate::id::{BrokerId, LeaderEpoch, NodeId, TopicId, TopicPartition};
use crate::ordered::{OrdMap, sort_by};
use std::sync::Arc;

/// The listener that clients use.
pub const CLIENTS: &str = "PLAINTEXT";
/// The listener whose host is the broker's place in the mesh: how a [`NodeId`] is found for a [`BrokerId`].
pub const MESH: &str = "MESH";

/// No leader.
const NOBODY: BrokerId = BrokerId(-1);
/// The topic is being deleted.
const DURING_DELETE: BrokerId = BrokerId(-2);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    pub cluster_id: Arc<str>,
    brokers: OrdMap<BrokerId, KnownBroker>,
    controller: Option<BrokerId>,
    topics: OrdMap<Arc<str>, KnownTopic>,
    names: OrdMap<TopicId, Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KnownBroker {
    node: Option<NodeId>,
    host: Arc<str>,
    port: i32,
    rack: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct KnownTopic {
    id: TopicId,
    partitions: OrdMap<i32, UpdateMetadataPartition>,
}

impl Metadata {
    /// Replaces the brokers and the controller, merges the partitions (C.5). Returns the partitions that go.
    pub fn on_update(&mut self, update: &UpdateMetadataRequest) {
        self.controller = (update.controller_id.0 >= 0).then_some(update.controller_id);
        self.brokers.clear();
        for broker in &update.live_brokers {
            let at = |listener: &str| broker.endpoints.iter().find(|endpoint| *endpoint.listener == *listener);
            let clients = at(CLIENTS).or(broker.endpoints.first());
            let known = KnownBroker {
                node: at(MESH).and_then(|endpoint| NodeId::parse(&endpoint.host)),
                host: clients.map_or_else(|| "".into(), |endpoint| endpoint.host.clone()),
                port: clients.map_or(-1, |endpoint| endpoint.port),
                rack: broker.rack.clone(),
            };
            self.brokers.insert(broker.id, known);
        }
        for told in &update.topics {
            for partition in &told.partitions {
                self.merge(&told.name, told.topic_id, partition);
            }
        }
    }

    fn merge(&mut self, name: &Arc<str>, id: TopicId, told: &UpdateMetadataPartition) {
        if told.leader == DURING_DELETE {
            if let Some(topic) = self.topics.get_mut(name) {
                topic.partitions.remove(&told.partition);
                if topic.partitions.is_empty() {
                    self.names.remove(&topic.id);
                    self.topics.remove(name);
                }
            }
            return;
        }
        let topic = self.topics.entry(name.clone()).or_default();
        if topic.id != id {
            self.names.remove(&topic.id);
            topic.id = id;
        }
        if id != TopicId::NONE {
            self.names.insert(id, name.clone());
        }
        topic.partitions.insert(told.partition, told.clone());
    }

    pub fn is_alive(&self, id: BrokerId) -> bool {
        self.brokers.contains_key(&id)
    }

    pub fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// A broker's place in the mesh.
    pub fn node_of(&self, id: BrokerId) -> Option<NodeId> {
        self.brokers.get(&id)?.node
    }

    pub fn broker_at(&self, node: NodeId) -> Option<BrokerId> {
        self.brokers.iter().find(|(_, broker)| broker.node == Some(node)).map(|(id, _)| *id)
    }

    pub fn brokers(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.brokers.keys().copied()
    }

    /// Where replicas can be placed.
    pub fn seats(&self) -> Vec<Seat> {
        self.brokers.iter().map(|(id, broker)| Seat { id: *id, rack: broker.rack.clone() }).collect()
    }

    pub fn topic_id(&self, name: &str) -> TopicId {
        self.topics.get(name).map_or(TopicId::NONE, |topic| topic.id)
    }

    pub fn topic_name(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    pub fn knows(&self, partition: &TopicPartition) -> bool {
        self.topics.get(&partition.topic).is_some_and(|topic| topic.partitions.contains_key(&partition.partition))
    }

    /// The leader and its epoch, as last told.
    pub fn leader_of(&self, partition: &TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        let known = self.topics.get(&partition.topic)?.partitions.get(&partition.partition)?;
        Some((known.leader, known.leader_epoch))
    }

    /// Whether a topic of this name would collide with one that is there.
    pub fn collides(&self, name: &str) -> bool {
        let unified = topic_names::unified(name);
        topic_names::may_collide(name)
            && self.topics.keys().any(|other| **other != *name && topic_names::unified(other) == unified)
    }

    /// Answers a Metadata request; the second result are the asked topics that nobody knows and that there can be,
    /// in their order and each once.
    pub fn answer(&self, request: &MetadataRequest, version: i16) -> (MetadataResponse, Vec<Arc<str>>) {
        let mut unknown = Vec::new();
        let all = request.topics.is_none() || (version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty));
        let topics = if all {
            self.topics.iter().map(|(name, topic)| self.describe(name, topic)).collect()
        } else {
            let asked = request.topics.iter().flatten();
            asked
                .map(|asked| {
                    let name = asked.name.as_ref().or_else(|| self.topic_name(asked.topic_id));
                    match name.and_then(|name| self.topics.get_key_value(name)) {
                        Some((name, topic)) => self.describe(name, topic),
                        None => {
                            let error = match &asked.name {
                                Some(name) if !topic_names::is_legal(name) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                                Some(name) => {
                                    unknown.push(name.clone());
                                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                                }
                                None => ErrorCode::UNKNOWN_TOPIC_ID,
                            };
                            let (name, topic_id) = (asked.name.clone(), asked.topic_id);
                            MetadataTopicResponse { error, name, topic_id, ..MetadataTopicResponse::default() }
                        }
                    }
                })
                .collect()
        };
        let brokers = self.brokers.iter().map(|(id, broker)| MetadataBroker {
            node: *id,
            host: broker.host.clone(),
            port: broker.port,
            rack: broker.rack.clone(),
            ..MetadataBroker::default()
        });
        let response = MetadataResponse {
            brokers: brokers.collect(),
            cluster_id: Some(self.cluster_id.clone()),
            controller_id: self.controller.filter(|id| self.is_alive(*id)).unwrap_or(NOBODY),
            topics,
            ..MetadataResponse::default()
        };
        sort_by(&mut unknown, Ord::cmp);
        unknown.dedup();
        (response, unknown)
    }

    fn describe(&self, name: &Arc<str>, topic: &KnownTopic) -> MetadataTopicResponse {
        let partitions = topic.partitions.values().map(|known| {
            let alive = self.is_alive(known.leader);
            MetadataPartition {
                error: if alive { ErrorCode::NONE } else { ErrorCode::LEADER_NOT_AVAILABLE },
                partition: known.partition,
                leader: if alive { known.leader } else { NOBODY },
                leader_epoch: known.leader_epoch,
                replicas: known.replicas.clone(),
                isr: known.isr.clone(),
                offline_replicas: known.replicas.iter().copied().filter(|id| !self.is_alive(*id)).collect(),
                ..MetadataPartition::default()
            }
        });
        MetadataTopicResponse {
            name: Some(name.clone()),
            topic_id: topic.id,
            is_internal: topic_names::is_internal(name),
            partitions: partitions.collect(),
            ..MetadataTopicResponse::default()
        }
    }

    pub fn describe_cluster(&self) -> DescribeClusterResponse {
        let brokers = self.brokers.iter().map(|(id, broker)| DescribeClusterBroker {
            broker: *id,
            host: broker.host.clone(),
            port: broker.port,
            rack: broker.rack.clone(),
            ..DescribeClusterBroker::default()
        });
        DescribeClusterResponse {
            cluster_id: self.cluster_id.clone(),
            controller_id: self.controller.unwrap_or(NOBODY),
            brokers: brokers.collect(),
            ..DescribeClusterResponse::default()
        }
    }
}

/// The lowest version that we serve, where it is not the lowest we can read: before these, records were in a format
/// older than the v2 batch.
const fn lowest_served(key: ApiKey) -> i16 {
    match key {
        ApiKey::Produce => 3,
        ApiKey::Fetch => 4,
        _ => key.min_version(),
    }
}

/// Whether a client may speak this version to us.
pub fn is_served(key: ApiKey, version: i16) -> bool {
    lowest_served(key) <= version && version <= key.max_version()
}

/// What we serve, in which versions.
pub fn api_versions(version: i16) -> ApiVersionsResponse {
    if !ApiKey::ApiVersions.supports(version) {
        return ApiVersionsResponse { error: ErrorCode::UNSUPPORTED_VERSION, ..ApiVersionsResponse::default() };
    }
    let apis = ApiKey::ALL.iter().map(|key| ApiVersion {
        key: key.code(),
        min_version: lowest_served(*key),
        max_version: key.max_version(),
        ..ApiVersion::default()
    });
    ApiVersionsResponse { apis: apis.collect(), finalized_features_epoch: 0, ..ApiVersionsResponse::default() }
}

/// What a broker's registration says: where clients reach it, and where it is in the mesh.
pub fn endpoints(host: &str, port: u16, number: u32) -> Vec<Endpoint> {
    let endpoint = |listener: &str, host: String, port: u16| Endpoint {
        listener: listener.to_owned(),
        protocol: CLIENTS.to_owned(),
        host,
        port: i32::from(port),
    };
    vec![endpoint(CLIENTS, host.to_owned(), port), endpoint(MESH, NodeId::Broker(number).to_string(), port)]
}

/// The place in the mesh that a registration's endpoints tell.
pub fn mesh_node(endpoints: &[Endpoint]) -> Option<NodeId> {
    endpoints.iter().find(|endpoint| endpoint.listener == MESH).and_then(|endpoint| NodeId::parse(&endpoint.host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kafka::{MetadataTopic, UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataTopic};

    fn broker(id: i32) -> UpdateMetadataBroker {
        let endpoint = |listener: &str, host: String| UpdateMetadataEndpoint {
            listener: listener.into(),
            host: host.into(),
            port: 9092,
            ..UpdateMetadataEndpoint::default()
        };
        UpdateMetadataBroker {
            id: BrokerId(id),
            endpoints: vec![endpoint(CLIENTS, format!("host-{id}")), endpoint(MESH, format!("broker-{id}"))],
            ..UpdateMetadataBroker::default()
        }
    }

    fn update(leader: i32, live: &[i32]) -> UpdateMetadataRequest {
        let partition = UpdateMetadataPartition {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(3),
            replicas: vec![BrokerId(1), BrokerId(2)],
            isr: vec![BrokerId(1)],
            ..UpdateMetadataPartition::default()
        };
        let topic = UpdateMetadataTopic {
            name: "orders".into(),
            topic_id: TopicId([7; 16]),
            partitions: vec![partition],
            ..UpdateMetadataTopic::default()
        };
        UpdateMetadataRequest {
            controller_id: BrokerId(2),
            topics: vec![topic],
            live_brokers: live.iter().map(|id| broker(*id)).collect(),
            ..UpdateMetadataRequest::default()
        }
    }

    #[test]
    fn brokers_are_replaced_partitions_merged() {
        let mut metadata = Metadata::default();
        metadata.on_update(&update(1, &[1, 2]));
        metadata.on_update(&UpdateMetadataRequest { topics: vec![], ..update(1, &[2]) });
        assert!(!metadata.is_alive(BrokerId(1)) && metadata.node_of(BrokerId(2)) == Some(NodeId::Broker(2)));
        assert_eq!(metadata.leader_of(&TopicPartition::new("orders", 0)), Some((BrokerId(1), LeaderEpoch(3))));
        let (answer, unknown) = metadata.answer(&MetadataRequest::default(), 9);
        assert!(unknown.is_empty());
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error, partition.leader), (ErrorCode::LEADER_NOT_AVAILABLE, BrokerId(-1)));
        assert_eq!(partition.offline_replicas, [BrokerId(1)]);
        metadata.on_update(&update(-2, &[1, 2]));
        assert!(!metadata.knows(&TopicPartition::new("orders", 0)) && metadata.topic_name(TopicId([7; 16])).is_none());
    }

    #[test]
    fn an_unknown_topic_is_told_apart() {
        let metadata = Metadata::default();
        let named = |name: &str| MetadataTopic { name: Some(name.into()), ..MetadataTopic::default() };
        let topics = Some(vec![named("new"), named("not one")]);
        let (answer, unknown) = metadata.answer(&MetadataRequest { topics, ..MetadataRequest::default() }, 9);
        assert_eq!(answer.topics[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(answer.topics[1].error, ErrorCode::INVALID_TOPIC_EXCEPTION);
        assert_eq!(unknown, ["new".into()]);
    }
}
