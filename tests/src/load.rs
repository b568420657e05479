//! Clients that write to and read from a cluster of processes while things happen to it, and write down what they were
//! told. They are the clients of the command line (`glasshouse_node::client`), and do what a scenario's clients do.

pub mod book;
pub mod kafka;
pub mod keeper;

use crate::process::PATIENCE;
use book::Book;
use glasshouse_core::id::{NodeId, TopicPartition};
use glasshouse_core::node::Address;
use glasshouse_core::record::offset::Offset;
use glasshouse_core::rng::Rng;
use glasshouse_core::sim::scenario::{ClientSpec, TopicSpec};
use glasshouse_node::client::kafka::{At, Client, NewTopic};
use glasshouse_node::client::parse_addresses;
use kafka::{Producing, Wanted};
use keeper::Keeping;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// By which a producer is led.
struct Hand {
    wanted: mpsc::UnboundedSender<Wanted>,
    topic: Arc<str>,
    /// It writes only when it is asked.
    is_idle: bool,
}

/// Where the end of each partition is.
pub type Ends = BTreeMap<TopicPartition, Offset>;

/// See the module. Its clients run on a thread of their own; who holds it calls plain functions, which wait.
pub struct Load {
    runtime: Runtime,
    pub book: Arc<Book>,
    brokers: Vec<Address>,
    keepers: Vec<Address>,
    rng: Rng,
    /// What a ZooKeeper client asks for.
    pub session: Duration,
    /// Beginnings of logs may go while they are read.
    pub retention: bool,
    clients: u32,
    producers: BTreeMap<u32, Hand>,
    writing: Vec<(NodeId, JoinHandle<()>)>,
    reading: Vec<(NodeId, JoinHandle<()>)>,
    /// What was asked for and need not be done at once.
    asked: Vec<(NodeId, JoinHandle<()>)>,
    stop: watch::Sender<bool>,
    until: watch::Sender<Option<Ends>>,
}

impl Load {
    /// Nobody does anything yet. `kafka` and `zookeeper` are lists of host:port.
    pub fn new(kafka: &str, zookeeper: &str, seed: u64) -> Load {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Load {
            runtime: runtime.expect("a runtime can be made"),
            book: Arc::default(),
            brokers: parse_addresses(kafka, 9092).unwrap_or_default(),
            keepers: parse_addresses(zookeeper, 2181).unwrap_or_default(),
            rng: Rng::new(seed),
            session: Duration::from_secs(4),
            retention: false,
            clients: 0,
            producers: BTreeMap::new(),
            writing: Vec::new(),
            reading: Vec::new(),
            asked: Vec::new(),
            stop: watch::Sender::new(false),
            until: watch::Sender::new(None),
        }
    }

    /// Makes a topic; whoever knows it by then can be written to.
    pub fn create(&self, topic: &TopicSpec) {
        let new = NewTopic {
            name: topic.name.to_string(),
            partitions: topic.partitions as i32,
            replicas: topic.replicas as i16,
            assignment: Vec::new(),
            configs: vec![
                ("min.insync.replicas".to_owned(), topic.min_isr.to_string()),
                ("unclean.leader.election.enable".to_owned(), topic.unclean.to_string()),
            ],
        };
        self.asks("a topic is made", async |client| match client.create_topic(&new).await {
            Err(error) if error.code() != Some(glasshouse_core::api::kafka::ErrorCode::TOPIC_ALREADY_EXISTS) => {
                Err(error.to_string())
            }
            _ => client.topic(&topic.name, PATIENCE).await.map(drop).map_err(|error| error.to_string()),
        });
    }

    /// Asks brokers for something until it is so.
    pub fn asks<T>(&self, what: &str, mut ask: impl AsyncFnMut(&Client) -> Result<T, String>) -> T {
        let asking = async {
            let client = kafka::connect(&self.brokers, 0).await;
            let mut last = String::new();
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while tokio::time::Instant::now() < deadline {
                match tokio::time::timeout_at(deadline, ask(&client)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(why)) => last = why,
                    Err(_) => break,
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(last)
        };
        let asked = self.runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, asking).await });
        match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => panic!("{what}: not so after {PATIENCE:?}: {why}"),
            Err(_) => panic!("{what}: no broker can be reached for {:?}", 2 * PATIENCE),
        }
    }

    /// Starts the next client; the first is client 1.
    pub fn start(&mut self, spec: &ClientSpec) {
        self.clients += 1;
        let number = self.clients;
        let client = NodeId::Client(number);
        let every = |per_second: u32| (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        let (book, brokers) = (self.book.clone(), self.brokers.clone());
        match spec {
            ClientSpec::Producer { topic, acks, idempotent, per_second } => {
                let every = every(*per_second);
                let how =
                    Producing { client, number, topic: topic.clone(), acks: *acks, idempotent: *idempotent, every };
                let (sender, wanted) = mpsc::unbounded_channel();
                let hand = Hand { wanted: sender, topic: topic.clone(), is_idle: every.is_none() };
                self.producers.insert(number, hand);
                let task = kafka::produce(brokers, how, book, wanted, self.stop.subscribe());
                self.writing.push((client, self.runtime.spawn(task)));
            }
            ClientSpec::Consumer { topic } => {
                let until = self.until.subscribe();
                let task = kafka::consume(brokers, client, number, topic.clone(), self.retention, book, until);
                self.reading.push((client, self.runtime.spawn(task)));
            }
            ClientSpec::Keeper { per_second } => {
                let every = every(*per_second).unwrap_or(Duration::from_secs(1));
                let rng = self.rng.fork(&format!("keeper client {number}"));
                let how = Keeping { client, number, every, session: self.session, rng };
                let task = keeper::keep(self.keepers.clone(), how, book, self.stop.subscribe());
                self.writing.push((client, self.runtime.spawn(task)));
            }
            // It does nothing of its own accord.
            ClientSpec::Admin => {}
        }
    }

    /// Has `client` delete a topic, again and again until it is gone; nobody waits for that now.
    pub fn delete(&mut self, client: NodeId, topic: &Arc<str>) {
        let (brokers, topic, book) = (self.brokers.clone(), topic.clone(), self.book.clone());
        let task = async move {
            if let Err(error) = kafka::connect(&brokers, 0).await.delete_topic(&topic).await {
                book.wrong(client, format!("cannot delete {topic}: {error}"));
            }
        };
        self.asked.push((client, self.runtime.spawn(task)));
    }

    /// Has a producer write to a partition beside what it writes of its own accord.
    pub fn write(&self, client: u32, partition: &TopicPartition, records: u32) {
        let producer = self.producers.get(&client).unwrap_or_else(|| panic!("client-{client} is no producer"));
        producer.wanted.send((partition.clone(), records)).expect("the producer listens");
    }

    /// Returns once every client got something done from now on. One that writes only when it is asked is asked.
    pub fn moves(&self) {
        let before = self.book.done();
        for (number, hand) in self.producers.iter().filter(|(_, hand)| hand.is_idle) {
            self.write(*number, &TopicPartition { topic: hand.topic.clone(), partition: 0 }, 1);
        }
        let running = self.writing.iter().chain(&self.reading);
        let clients: Vec<NodeId> = running.filter(|(_, task)| !task.is_finished()).map(|(client, _)| *client).collect();
        crate::process::eventually("every client gets something done", || {
            let (now, wrongs) = (self.book.done(), self.book.wrongs());
            assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
            let moved = |client: &NodeId| now.get(client) > before.get(client);
            clients.iter().all(moved).then_some(())
        });
    }

    /// Nobody writes any more, and the fate of everything that was written is decided; then readers read to the end.
    pub fn finish(&mut self) -> Ends {
        self.stop.send_replace(true);
        let wait = |runtime: &Runtime, tasks: &mut Vec<(NodeId, JoinHandle<()>)>, what: &str| {
            for (client, task) in tasks.drain(..) {
                let ended = runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, task).await });
                let ended = ended.unwrap_or_else(|_| panic!("{client} {what} for {:?}", 2 * PATIENCE));
                ended.unwrap_or_else(|error| panic!("{client}: {error}"));
            }
        };
        wait(&self.runtime, &mut self.asked, "waits for what it asked for");
        wait(&self.runtime, &mut self.writing, "waits for answers");
        let topics: Vec<Arc<str>> = self.topics().into_iter().map(|(name, _)| name).collect();
        let mut ends = Ends::new();
        for topic in topics {
            ends.extend(self.ends(&topic));
        }
        self.until.send_replace(Some(ends.clone()));
        wait(&self.runtime, &mut self.reading, "reads and does not come to the end");
        ends
    }

    /// The topics there are, with each partition's in-sync replicas, replicas and leader.
    pub fn topics(&self) -> Vec<(Arc<str>, Vec<Replicas>)> {
        self.asks("the topics are told", async |client| {
            let metadata = client.metadata(None).await.map_err(|error| error.to_string())?;
            let topics = metadata.topics.into_iter().filter_map(|topic| {
                let partitions = topic.partitions.into_iter().map(|part| Replicas {
                    partition: part.partition,
                    leader: part.leader.0,
                    replicas: part.replicas.iter().map(|id| id.0).collect(),
                    in_sync: part.isr.iter().map(|id| id.0).collect(),
                });
                Some((topic.name?, partitions.collect()))
            });
            Ok(topics.collect())
        })
    }

    /// What readers see the end of.
    pub fn ends(&self, topic: &Arc<str>) -> Ends {
        self.asks("the ends of the partitions are told", async |client| {
            let described = client.topic(topic, PATIENCE).await.map_err(|error| error.to_string())?;
            let partitions: Vec<i32> = described.partitions.iter().map(|part| part.partition).collect();
            let ends = client.list_offsets(topic, &partitions, At::Latest).await.into_iter();
            ends.map(|(partition, end)| {
                let place = TopicPartition { topic: topic.clone(), partition };
                Ok((place, end.map_err(|error| error.to_string())?))
            })
            .collect()
        })
    }

    /// Every broker knows each partition to have a leader and all its replicas in sync.
    pub fn in_sync(&self) {
        // Each question goes to another broker; as many in a row as there are must say so.
        let brokers = self.brokers.len();
        let mut agreed = 0;
        self.asks("every replica is in sync", async |client| {
            let metadata = client.metadata(None).await.map_err(|error| error.to_string())?;
            let bad = metadata.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part)));
            let mut bad = bad.filter(|(_, part)| part.leader.0 < 0 || part.isr.len() < part.replicas.len());
            if let Some((topic, part)) = bad.next() {
                agreed = 0;
                return Err(format!(
                    "{}-{} is led by {}, in sync are {:?} of {:?}",
                    topic.name.as_deref().unwrap_or_default(),
                    part.partition,
                    part.leader,
                    part.isr,
                    part.replicas
                ));
            }
            agreed = if metadata.brokers.len() == brokers { agreed + 1 } else { 0 };
            if agreed > brokers { Ok(()) } else { Err(format!("{} of {brokers} brokers", metadata.brokers.len())) }
        });
    }
}

/// Waits until it is said.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _said_or_gone = stop.wait_for(|stop| *stop).await;
}

/// A partition as the cluster tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub partition: i32,
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}
