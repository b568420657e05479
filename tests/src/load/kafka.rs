//! Producers and consumers of a load. A producer's values are numbers that nobody else writes; a consumer reads each
//! partition from its first offset on, without a gap.

use super::book::Book;
use bytes::Bytes;
use glasshouse_core::id::{NodeId, TopicPartition};
use glasshouse_core::node::Address;
use glasshouse_core::note::client::ClientNote;
use glasshouse_core::record::batch::NewRecord;
use glasshouse_core::record::offset::Offset;
use glasshouse_node::client::kafka::{
    Client, Consumer, ConsumerSettings, Delivery, Producer, ProducerSettings, Reset, Settings, Start,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Nobody gives up before the test does.
const ENDLESS: Duration = Duration::from_secs(3600);

/// One producer, as it is to be.
#[derive(Clone, Debug)]
pub struct Producing {
    pub client: NodeId,
    /// Makes its values its own.
    pub number: u32,
    pub topic: Arc<str>,
    pub acks: i16,
    pub idempotent: bool,
    /// Between two records of its own accord; `None`: only when asked.
    pub every: Option<Duration>,
}

/// So many records to a partition.
pub type Wanted = (TopicPartition, u32);

/// How long a client waits for anything before it tries elsewhere. Short, for much is broken here.
pub fn patient(number: u32) -> Settings {
    Settings {
        name: format!("load-{number}").into(),
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(5),
        timeout: ENDLESS,
        backoff: Duration::from_millis(30),
    }
}

/// A client of these brokers, as soon as one of them answers.
pub async fn connect(brokers: &[Address], number: u32) -> Client {
    loop {
        match Client::connect(brokers.to_vec(), patient(number)).await {
            Ok(client) => return client,
            Err(_nobody_there_yet) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Writes until `stop` says so, and then until the fate of every record is decided.
pub async fn produce(
    brokers: Vec<Address>,
    how: Producing,
    book: Arc<Book>,
    mut wanted: mpsc::UnboundedReceiver<Wanted>,
    mut stop: watch::Receiver<bool>,
) {
    let client = connect(&brokers, how.number).await;
    let settings = ProducerSettings {
        acks: how.acks,
        idempotent: how.idempotent,
        delivery_timeout: ENDLESS,
        request_timeout: Duration::from_secs(4),
        ..ProducerSettings::default()
    };
    let (Ok(topic), Ok(producer)) = (client.topic(&how.topic, ENDLESS).await, Producer::start(client, settings).await)
    else {
        return book.wrong(how.client, format!("cannot begin to write to {}", how.topic));
    };
    let partitions = topic.partitions.len() as i32;
    let (sent, deliveries) = mpsc::unbounded_channel();
    let listening = tokio::spawn(listen(how.clone(), book.clone(), deliveries));
    let mut value = u64::from(how.number) << 40;
    let mut clock = how.every.map(tokio::time::interval);
    if let Some(clock) = &mut clock {
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        let (partition, records) = tokio::select! {
            biased;
            () = super::stopped(&mut stop) => break,
            Some((partition, records)) = wanted.recv() => (partition.partition, records),
            () = tick(&mut clock) => ((value % partitions.max(1) as u64) as i32, 1),
        };
        for _ in 0..records {
            let mut bytes = value.to_be_bytes().to_vec();
            bytes.resize(64, b'.');
            let partition_name = TopicPartition { topic: how.topic.clone(), partition };
            book.note(how.client, ClientNote::Produces { partition: partition_name, first: value, records: 1 });
            // By the clock: retention goes by it.
            let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64);
            match producer.send(&how.topic, Some(partition), NewRecord::new(now, None, Some(&bytes))).await {
                Ok(delivery) => drop(sent.send((partition, value, delivery))),
                Err(error) => book.wrong(how.client, format!("cannot send: {error}")),
            }
            value += 1;
        }
    }
    producer.flush().await;
    drop(sent);
    let _ended = listening.await;
}

/// One beat of a clock, if there is one.
async fn tick(clock: &mut Option<tokio::time::Interval>) {
    match clock {
        Some(clock) => drop(clock.tick().await),
        None => std::future::pending().await,
    }
}

/// Writes down what became of each record.
async fn listen(how: Producing, book: Arc<Book>, mut deliveries: mpsc::UnboundedReceiver<(i32, u64, Delivery)>) {
    while let Some((partition, first, delivery)) = deliveries.recv().await {
        let partition = TopicPartition { topic: how.topic.clone(), partition };
        match delivery.wait().await {
            Ok(delivered) => {
                let base = delivered.offset;
                book.note(how.client, ClientNote::Acknowledged { partition, base, records: 1, first, acks: how.acks });
            }
            Err(error) => {
                let code = error.code().unwrap_or(glasshouse_core::api::kafka::ErrorCode::NETWORK_EXCEPTION);
                book.note(how.client, ClientNote::GaveUp { partition, first, error: code });
            }
        }
    }
}

/// Reads until it has come to the offsets that `until` names, once it names any. With `resets` it may find that the
/// beginning of a log is gone.
pub async fn consume(
    brokers: Vec<Address>,
    me: NodeId,
    number: u32,
    topic: Arc<str>,
    resets: bool,
    book: Arc<Book>,
    until: watch::Receiver<Option<BTreeMap<TopicPartition, Offset>>>,
) {
    let client = connect(&brokers, number).await;
    let reset = if resets { Reset::Beginning } else { Reset::Fail };
    let settings = ConsumerSettings { start: Start::Beginning, reset, ..ConsumerSettings::default() };
    let mut consumer = match Consumer::start(client, &topic, settings).await {
        Ok(consumer) => consumer,
        Err(error) => return book.wrong(me, format!("cannot begin to read {topic}: {error}")),
    };
    loop {
        let records = match consumer.poll(Duration::from_millis(200)).await {
            Ok(records) => records,
            Err(error) => return book.wrong(me, format!("cannot read {topic} any more: {error}")),
        };
        let ends: BTreeMap<i32, Offset> = consumer.high_watermarks().collect();
        for consumed in records {
            let partition = TopicPartition { topic: topic.clone(), partition: consumed.partition };
            let high_watermark = ends.get(&consumed.partition).copied().unwrap_or_default();
            let first = number_of(consumed.record.value.as_ref());
            let base = consumed.record.offset;
            book.note(me, ClientNote::Read { partition, base, records: 1, first, high_watermark });
        }
        if let Some(ends) = &*until.borrow() {
            let reached = |(partition, next): (i32, Offset)| {
                let place = TopicPartition { topic: topic.clone(), partition };
                ends.get(&place).is_none_or(|end| next >= *end)
            };
            if consumer.positions().all(reached) {
                return;
            }
        }
    }
}

/// The number that a producer put into a record.
pub fn number_of(value: Option<&Bytes>) -> u64 {
    value.and_then(|value| value.first_chunk::<8>().copied()).map_or(u64::MAX, u64::from_be_bytes)
}
