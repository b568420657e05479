//! The client against brokers of a few lines, which do as they are told: move the leader, lose an answer, be old.

use super::*;
use crate::client::frames::Frames;
use glasshouse_core::api::kafka::{
    ApiKey, ApiVersion, ApiVersionsResponse, CreateTopicsResponse, CreatedTopic, FetchPartitionResponse, FetchResponse,
    FetchTopicResponse, InitProducerIdResponse, ListOffsetsPartitionResponse, ListOffsetsResponse,
    ListOffsetsTopicResponse, MetadataBroker, MetadataPartition, ProducePartitionResponse, ProduceResponse,
    ProduceTopicResponse,
};
use glasshouse_core::id::{ProducerEpoch, ProducerId};
use glasshouse_core::node::KafkaRequest;
use glasshouse_core::record::batch::{NewRecord, validate_produced};
use glasshouse_core::record::offset::Offset;
use glasshouse_core::wire::kafka::{decode_request, encode_response, encode_unsupported_version};
use std::collections::VecDeque;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of two, with one topic `t` of one partition.
#[derive(Default)]
struct World {
    addresses: Vec<Address>,
    leader: i32,
    epoch: i32,
    controller: i32,
    /// Batches as they lie in the log, with their first offsets.
    log: Vec<(i64, Bytes)>,
    end: i64,
    /// (sequence, base offset) of what is there.
    sequences: BTreeMap<i32, i64>,
    created: bool,
    deleted: bool,
    old: bool,
    /// What happens to the next requests of a kind instead.
    tricks: VecDeque<(ApiKey, Trick)>,
    asked: Vec<&'static str>,
}

#[derive(Clone, Copy)]
enum Trick {
    /// Done, and the answer is lost.
    Lose,
    /// Not done, and answered so.
    Refuse(ErrorCode),
}

type Cluster = Arc<Mutex<World>>;

async fn cluster() -> Cluster {
    let world = Cluster::default();
    for id in 1..=2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        world.lock().unwrap().addresses.push(Address { host: "127.0.0.1".into(), port });
        let world = world.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(id, stream, world.clone()));
            }
        });
    }
    let mut state = world.lock().unwrap();
    (state.leader, state.controller) = (1, 1);
    drop(state);
    world
}

async fn serve(id: i32, stream: TcpStream, world: Cluster) {
    let (from, mut to) = stream.into_split();
    let mut frames = Frames::new(from, 1 << 26);
    while let Ok(Some(frame)) = frames.next().await {
        let request = decode_request(frame).unwrap();
        let answer = world.lock().unwrap().answer(id, request);
        let Some(answer) = answer else { return };
        to.write_all(&(answer.len() as u32).to_be_bytes()).await.unwrap();
        to.write_all(&answer).await.unwrap();
    }
}

impl World {
    fn answer(&mut self, me: i32, request: KafkaRequest) -> Option<Bytes> {
        let key = request.body.key();
        self.asked.push(key.name());
        let trick = self.tricks.front().filter(|(of, _)| *of == key).map(|(_, trick)| *trick);
        if trick.is_some() {
            self.tricks.pop_front();
        }
        let refused = match trick {
            Some(Trick::Refuse(code)) => Some(code),
            _ => None,
        };
        let body: Response<Bytes> = match request.body {
            Request::ApiVersions(_) if self.old && request.version > 0 => {
                return Some(encode_unsupported_version(request.correlation));
            }
            Request::ApiVersions(_) => versions().into(),
            Request::Metadata(_) => self.metadata().into(),
            Request::InitProducerId(_) => InitProducerIdResponse {
                producer_id: ProducerId(9),
                producer_epoch: ProducerEpoch(0),
                ..Default::default()
            }
            .into(),
            Request::Produce(produce) => {
                let records = produce.topics[0].partitions[0].records.clone().unwrap();
                self.produce(me, &records, refused).into()
            }
            Request::Fetch(fetch) => self.fetch(me, fetch.topics[0].partitions[0].fetch_offset.0).into(),
            Request::ListOffsets(list) => self.list(list.topics[0].partitions[0].timestamp).into(),
            Request::CreateTopics(create) => {
                let code = match () {
                    () if self.controller != me => ErrorCode::NOT_CONTROLLER,
                    () if self.created => ErrorCode::TOPIC_ALREADY_EXISTS,
                    () => refused.unwrap_or_default(),
                };
                self.created |= code == ErrorCode::NONE;
                let topic = CreatedTopic { name: create.topics[0].name.clone(), error: code, ..Default::default() };
                CreateTopicsResponse { topics: vec![topic], ..Default::default() }.into()
            }
            other => panic!("nobody asks for {}", other.name()),
        };
        let lost = matches!(trick, Some(Trick::Lose));
        (!lost).then(|| encode_response(request.version, request.correlation, &body))
    }

    fn metadata(&self) -> MetadataResponse {
        let brokers = self.addresses.iter().zip(1..).map(|(address, id)| MetadataBroker {
            node: BrokerId(id),
            host: address.host.clone(),
            port: i32::from(address.port),
            ..Default::default()
        });
        let part = MetadataPartition {
            leader: BrokerId(self.leader),
            leader_epoch: LeaderEpoch(self.epoch),
            replicas: vec![BrokerId(1), BrokerId(2)],
            ..Default::default()
        };
        let (error, partitions) = match self.deleted {
            true => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Vec::new()),
            false => (ErrorCode::NONE, vec![part]),
        };
        let topic = MetadataTopicResponse { error, name: Some("t".into()), partitions, ..Default::default() };
        MetadataResponse {
            brokers: brokers.collect(),
            controller_id: BrokerId(self.controller),
            topics: vec![topic],
            ..Default::default()
        }
    }

    fn produce(&mut self, me: i32, records: &Bytes, refused: Option<ErrorCode>) -> ProduceResponse {
        let batch = validate_produced(records).unwrap();
        let sequence = batch.header.base_sequence;
        let known = self.sequences.get(&sequence).copied();
        let (error, base) = match (self.leader == me, refused, known) {
            (false, ..) => (ErrorCode::NOT_LEADER_OR_FOLLOWER, -1),
            (true, Some(code), _) => (code, -1),
            (true, None, Some(base)) => (ErrorCode::NONE, base),
            (true, None, None) => {
                let stamped = batch.stamp(Offset(self.end), LeaderEpoch(self.epoch)).to_bytes();
                let base = self.end;
                self.log.push((base, stamped));
                self.end += i64::from(batch.header.count);
                self.sequences.insert(sequence, base);
                (ErrorCode::NONE, base)
            }
        };
        let row = ProducePartitionResponse { error, base_offset: Offset(base), ..Default::default() };
        let topic = ProduceTopicResponse { name: "t".into(), partitions: vec![row], ..Default::default() };
        ProduceResponse { topics: vec![topic], ..Default::default() }
    }

    fn fetch(&self, me: i32, from: i64) -> FetchResponse<Bytes> {
        let wrong = self.leader != me;
        let error = if wrong { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::NONE };
        // The batch that holds the offset, as a broker does, and one more.
        let first = self.log.iter().rposition(|(base, _)| *base <= from).unwrap_or(0);
        let here = if wrong || from >= self.end { &[] } else { &self.log[first..self.log.len().min(first + 2)] };
        let records: Vec<u8> = here.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        let row = FetchPartitionResponse {
            error,
            high_watermark: Offset(self.end),
            records: Some(records.into()),
            ..Default::default()
        };
        let topic = FetchTopicResponse { name: "t".into(), partitions: vec![row], ..Default::default() };
        FetchResponse { topics: vec![topic], ..Default::default() }
    }

    fn list(&self, timestamp: i64) -> ListOffsetsResponse {
        let offset = Offset(if timestamp == -2 { 0 } else { self.end });
        let row = ListOffsetsPartitionResponse { offset, ..Default::default() };
        let topic = ListOffsetsTopicResponse { name: "t".into(), partitions: vec![row], ..Default::default() };
        ListOffsetsResponse { topics: vec![topic], ..Default::default() }
    }
}

fn versions() -> ApiVersionsResponse {
    let apis = ApiKey::ALL.iter().map(|key| ApiVersion {
        key: key.code(),
        min_version: key.min_version(),
        max_version: key.max_version(),
        ..Default::default()
    });
    ApiVersionsResponse { apis: apis.collect(), ..Default::default() }
}

async fn client(world: &Cluster) -> Client {
    let bootstrap = vec![world.lock().unwrap().addresses[0].clone()];
    Client::connect(bootstrap, Settings { timeout: PATIENCE, ..Settings::default() }).await.unwrap()
}

/// All of the topic, as text.
async fn read_all(client: &Client, from: i64) -> Vec<String> {
    let settings = ConsumerSettings { start: Start::Offset(Offset(from)), ..ConsumerSettings::default() };
    let mut consumer = Consumer::start(client.clone(), "t", settings).await.unwrap();
    let end = consumer.ends().await.unwrap()[&0];
    let mut values = Vec::new();
    while consumer.positions().any(|(_, next)| next < end) {
        let records = consumer.poll(PATIENCE).await.unwrap();
        values.extend(records.into_iter().map(|it| String::from_utf8(it.record.value.unwrap().to_vec()).unwrap()));
    }
    values
}

#[tokio::test]
async fn records_arrive_once_and_in_order_whatever_happens_to_answers_and_leaders() {
    let world = cluster().await;
    let client = client(&world).await;
    world
        .lock()
        .unwrap()
        .tricks
        .extend([(ApiKey::Produce, Trick::Lose), (ApiKey::Produce, Trick::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS))]);
    let settings = ProducerSettings { linger: Duration::ZERO, batch_bytes: 1000, ..ProducerSettings::default() };
    let producer = Producer::start(client.clone(), settings).await.unwrap();
    let topic: Arc<str> = "t".into();
    let mut deliveries = Vec::new();
    for n in 0..1000 {
        if n == 500 {
            let mut world = world.lock().unwrap();
            (world.leader, world.epoch) = (2, 1);
        }
        let record = NewRecord::new(n, None, Some(format!("value {n}").as_bytes()));
        deliveries.push(producer.send(&topic, None, record).await.unwrap());
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    producer.flush().await;
    assert_eq!(producer.outstanding(), 0);
    for (delivery, n) in deliveries.into_iter().zip(0..) {
        assert_eq!(delivery.wait().await.unwrap().offset, Offset(n));
    }
    let wanted: Vec<String> = (0..1000).map(|n| format!("value {n}")).collect();
    assert_eq!(read_all(&client, 0).await, wanted);
    assert_eq!(read_all(&client, 777).await, wanted[777..], "a batch comes whole, its front is left out");
    assert!(world.lock().unwrap().tricks.is_empty());
}

#[tokio::test]
async fn a_reader_does_not_wait_for_ever_for_a_leader_or_a_topic() {
    for (deleted, code) in [(false, ErrorCode::LEADER_NOT_AVAILABLE), (true, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)] {
        let world = cluster().await;
        let settings = Settings { timeout: Duration::from_millis(300), ..Settings::default() };
        let bootstrap = vec![world.lock().unwrap().addresses[0].clone()];
        let client = Client::connect(bootstrap, settings).await.unwrap();
        let mut consumer = Consumer::start(client, "t", ConsumerSettings::default()).await.unwrap();
        {
            let mut world = world.lock().unwrap();
            (world.leader, world.epoch, world.deleted) = (-1, 1, deleted);
        }
        let error = loop {
            match timeout(PATIENCE, consumer.poll(Duration::from_millis(200))).await.unwrap() {
                Ok(records) => assert!(records.is_empty()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Some(code), "{error}");
    }
}

#[tokio::test]
async fn a_topic_is_made_by_the_controller_though_an_answer_is_lost() {
    let world = cluster().await;
    let client = client(&world).await;
    let create = || async { client.create_topic(&NewTopic { name: "t".into(), ..NewTopic::default() }).await };
    world.lock().unwrap().controller = 2;
    world.lock().unwrap().tricks.extend([
        (ApiKey::CreateTopics, Trick::Refuse(ErrorCode::NOT_CONTROLLER)),
        (ApiKey::CreateTopics, Trick::Lose),
    ]);
    assert!(create().await.is_ok());
    assert_eq!(world.lock().unwrap().asked.iter().filter(|name| **name == "CreateTopics").count(), 3);
    assert_eq!(create().await.unwrap_err().code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));
}

#[tokio::test]
async fn an_old_broker_is_asked_in_its_versions() {
    let world = cluster().await;
    world.lock().unwrap().old = true;
    let client = client(&world).await;
    assert_eq!(client.partitions("t"), Some(1));
    assert_eq!(world.lock().unwrap().asked, ["ApiVersions", "ApiVersions", "Metadata"]);
}

#[tokio::test]
async fn what_cannot_be_is_said_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = vec![Address { host: "127.0.0.1".into(), port: free }];
    let error = Client::connect(nobody, Settings::default()).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let world = cluster().await;
    let producer = Producer::start(client(&world).await, ProducerSettings::default()).await.unwrap();
    let error = producer.send(&"t".into(), Some(1), NewRecord::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}
