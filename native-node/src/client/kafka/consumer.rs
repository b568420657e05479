//! Reads the records of a topic, by long polls to whoever leads: one fetch under way for each leader. Positions are the
//! reader's own; nothing is committed anywhere.

use super::connection::Result;
use super::{At, Client, Lane, may_pass, passes, refused, unexpected, unpack};
use crate::client::Error;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use glasshouse_core::api::kafka::{
    ErrorCode, FetchPartition, FetchPartitionResponse, FetchRequest, FetchTopic, Response,
};
use glasshouse_core::id::TopicPartition;
use glasshouse_core::node::Address;
use glasshouse_core::record::batch::{BatchError, Record, batches};
use glasshouse_core::record::offset::Offset;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    /// Behind the last record that is there by then.
    End,
    /// In every partition; a partition that does not reach so far, or no longer, begins at its nearest end.
    Offset(Offset),
    /// With the first record that is not older, in milliseconds.
    Time(i64),
}

/// What to do where the wanted offset is not there (any more).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// Say so.
    #[default]
    Fail,
    Beginning,
    End,
}

/// How a consumer behaves.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// `None`: all.
    pub partitions: Option<Vec<i32>>,
    pub start: Start,
    pub reset: Reset,
    /// How long a broker holds a fetch that finds nothing.
    pub max_wait: Duration,
    /// Bytes of one partition in an answer; a batch that is longer comes all the same.
    pub max_bytes: i32,
    /// Leave out what open transactions wrote.
    pub read_committed: bool,
}

impl Default for ConsumerSettings {
    fn default() -> ConsumerSettings {
        ConsumerSettings {
            partitions: None,
            start: Start::Beginning,
            reset: Reset::Fail,
            max_wait: Duration::from_millis(500),
            max_bytes: 1 << 20,
            read_committed: false,
        }
    }
}

/// A record and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    pub partition: i32,
    pub record: Record,
}

#[derive(Clone, Debug)]
struct Position {
    next: Offset,
    /// What readers see the end of, as the last answer told.
    high_watermark: Option<Offset>,
    flying: bool,
    not_before: Instant,
    /// Since when nothing but errors came.
    failing_since: Option<Instant>,
}

/// A fetch that ended: whom it asked for which partitions.
struct Ended {
    address: Address,
    partitions: Vec<i32>,
    answer: Result<Response<Bytes>>,
}

/// The offset in each partition, or the end of it that is nearest.
async fn nearest(
    client: &Client,
    topic: &Arc<str>,
    partitions: &[i32],
    wanted: Offset,
) -> Result<BTreeMap<i32, Result<Offset>>> {
    let starts = client.list_offsets(topic, partitions, At::Earliest).await;
    let mut ends = client.list_offsets(topic, partitions, At::Latest).await;
    let mut is_somewhere = false;
    let mut places = BTreeMap::new();
    for (partition, start) in starts {
        let (start, end) = (start?, ends.remove(&partition).unwrap_or(Ok(wanted))?);
        is_somewhere |= start <= wanted && wanted <= end;
        places.insert(partition, Ok(wanted.clamp(start, end.max(start))));
    }
    let none = || refused(format!("offset {wanted} of {topic}"), ErrorCode::OFFSET_OUT_OF_RANGE, None);
    if is_somewhere { Ok(places) } else { Err(none()) }
}

/// A reader of one topic.
pub struct Consumer {
    client: Client,
    topic: Arc<str>,
    settings: ConsumerSettings,
    positions: BTreeMap<i32, Position>,
    flying: FuturesUnordered<BoxFuture<'static, Ended>>,
    asked_at: Instant,
}

impl Consumer {
    /// Finds the topic and where to begin.
    ///
    /// # Errors
    /// No such topic or partition; no partition has the offset; or a leader does not tell in time where its log begins
    /// or ends.
    pub async fn start(client: Client, topic: &str, settings: ConsumerSettings) -> Result<Consumer> {
        let topic: Arc<str> = topic.into();
        let described = client.topic(&topic, client.settings().timeout).await?;
        let all: Vec<i32> = described.partitions.iter().map(|part| part.partition).collect();
        let wanted = settings.partitions.clone().unwrap_or_else(|| all.clone());
        if let Some(missing) = wanted.iter().find(|wanted| !all.contains(wanted)) {
            let what = format!("{topic} has partitions 0 to {}, and none {missing}", all.len() - 1);
            return Err(refused(what, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None));
        }
        let starts = match settings.start {
            Start::Beginning => client.list_offsets(&topic, &wanted, At::Earliest).await,
            Start::End => client.list_offsets(&topic, &wanted, At::Latest).await,
            Start::Time(millis) => client.list_offsets(&topic, &wanted, At::Time(millis)).await,
            Start::Offset(offset) => nearest(&client, &topic, &wanted, offset).await?,
        };
        let now = Instant::now();
        let mut positions = BTreeMap::new();
        for (partition, start) in starts {
            let mut next = start?;
            if next.0 < 0 {
                // Nothing is that young: its end.
                let ends = client.list_offsets(&topic, &[partition], At::Latest).await;
                next = ends.into_values().next().unwrap_or(Ok(Offset::ZERO))?;
            }
            let position = Position { next, high_watermark: None, flying: false, not_before: now, failing_since: None };
            positions.insert(partition, position);
        }
        let flying = FuturesUnordered::new();
        Ok(Consumer { client, topic, settings, positions, flying, asked_at: now })
    }

    /// The partitions it reads and the offset that comes next in each.
    pub fn positions(&self) -> impl Iterator<Item = (i32, Offset)> + '_ {
        self.positions.iter().map(|(partition, position)| (*partition, position.next))
    }

    /// What readers see the end of, in each partition that was fetched from.
    pub fn high_watermarks(&self) -> impl Iterator<Item = (i32, Offset)> + '_ {
        self.positions.iter().filter_map(|(partition, position)| Some((*partition, position.high_watermark?)))
    }

    /// The ends of the partitions at this moment.
    ///
    /// # Errors
    /// A leader does not tell in time.
    pub async fn ends(&self) -> Result<BTreeMap<i32, Offset>> {
        let partitions: Vec<i32> = self.positions.keys().copied().collect();
        let ends = self.client.list_offsets(&self.topic, &partitions, At::Latest).await;
        ends.into_iter().map(|(partition, end)| Ok((partition, end?))).collect()
    }

    /// The next records, in the order of each partition; empty if none come within `at_most`. Leaders that change or
    /// cannot be reached are waited for, up to the client's timeout.
    ///
    /// # Errors
    /// What no waiting cures: the topic is gone, an offset is not there, a batch is damaged.
    pub async fn poll(&mut self, at_most: Duration) -> Result<Vec<Consumed>> {
        let deadline = Instant::now() + at_most;
        loop {
            let wake_at = self.launch();
            let ended = tokio::select! {
                Some(ended) = self.flying.next(), if !self.flying.is_empty() => ended,
                () = sleep_until(wake_at.unwrap_or(deadline).min(deadline)) => {
                    if Instant::now() >= deadline {
                        return Ok(Vec::new());
                    }
                    self.refresh(deadline).await?;
                    continue;
                }
            };
            let records = self.land(ended).await?;
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// Sends a fetch to each leader of partitions that none is under way for. Gives the moment to try again, if some
    /// partition rests or has no leader.
    fn launch(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut wake_at: Option<Instant> = None;
        let mut by_leader: BTreeMap<Address, Vec<i32>> = BTreeMap::new();
        for (partition, position) in self.positions.iter_mut().filter(|(_, position)| !position.flying) {
            let rests = position.not_before > now;
            let place = TopicPartition { topic: self.topic.clone(), partition: *partition };
            match self.client.leader(&place) {
                Some((_, address)) if !rests => by_leader.entry(address).or_default().push(*partition),
                _ => {
                    let at = position.not_before.max(now + self.client.settings().backoff);
                    wake_at = Some(wake_at.map_or(at, |sooner| sooner.min(at)));
                }
            }
        }
        for (address, partitions) in by_leader {
            let request = self.request(&partitions);
            for partition in &partitions {
                self.positions.get_mut(partition).expect("it was listed").flying = true;
            }
            let limit = self.settings.max_wait + self.client.settings().request_timeout;
            let answer = self.client.ask_on(&address, Lane::Fetch, request.into(), limit);
            self.flying.push(Box::pin(async move { Ended { address, partitions, answer: answer.await } }));
        }
        wake_at
    }

    fn request(&self, partitions: &[i32]) -> FetchRequest {
        let part = |partition: &i32| FetchPartition {
            partition: *partition,
            fetch_offset: self.positions[partition].next,
            max_bytes: self.settings.max_bytes,
            ..FetchPartition::default()
        };
        FetchRequest {
            max_wait_ms: self.settings.max_wait.as_millis() as i32,
            min_bytes: 1,
            max_bytes: 64 << 20,
            isolation_level: i8::from(self.settings.read_committed),
            topics: vec![FetchTopic {
                name: self.topic.clone(),
                partitions: partitions.iter().map(part).collect(),
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        }
    }

    /// Asks who leads, unless that was just done. A partition that nobody leads is never fetched from: it fails here.
    async fn refresh(&mut self, deadline: Instant) -> Result<()> {
        let backoff = self.client.settings().backoff;
        if self.asked_at + backoff > Instant::now() {
            return Ok(());
        }
        self.asked_at = Instant::now();
        let topics = [self.topic.clone()];
        let Ok(told) = timeout_at(deadline, self.client.metadata(Some(&topics))).await else { return Ok(()) };
        let trouble = match told {
            Ok(told) => told.topics.into_iter().next().filter(|topic| topic.error != ErrorCode::NONE).map(|topic| {
                let what = format!("topic {}", self.topic);
                refused(what, topic.error, None)
            }),
            Err(error) => Some(error).filter(may_pass),
        };
        let resting: Vec<i32> = self.positions.iter().filter(|(_, at)| !at.flying).map(|(index, _)| *index).collect();
        for partition in resting {
            let place = TopicPartition { topic: self.topic.clone(), partition };
            if self.client.leader(&place).is_none() {
                let unled = || refused(place.to_string(), ErrorCode::LEADER_NOT_AVAILABLE, None);
                self.pause(&[partition], self.asked_at + backoff, trouble.clone().unwrap_or_else(unled))?;
            }
        }
        Ok(())
    }

    async fn land(&mut self, ended: Ended) -> Result<Vec<Consumed>> {
        let now = Instant::now();
        let rest = now + self.client.settings().backoff;
        for partition in &ended.partitions {
            self.positions.get_mut(partition).expect("it was fetched").flying = false;
        }
        let response = match ended.answer {
            Ok(Response::Fetch(response)) if response.error == ErrorCode::NONE => response,
            Ok(Response::Fetch(response)) => {
                self.pause(&ended.partitions, rest, refused("fetch".into(), response.error, None))?;
                return Ok(Vec::new());
            }
            Ok(other) => return Err(unexpected(&ended.address, &other)),
            Err(error) => {
                self.pause(&ended.partitions, rest, error)?;
                return Ok(Vec::new());
            }
        };
        let mut records = Vec::new();
        for row in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            if !ended.partitions.contains(&row.partition) {
                continue;
            }
            match row.error {
                ErrorCode::NONE => self.read(row, &mut records)?,
                ErrorCode::OFFSET_OUT_OF_RANGE => self.reset(row.partition).await?,
                code => {
                    let what = format!("{}-{}", self.topic, row.partition);
                    self.pause(&[row.partition], rest, refused(what, code, None))?;
                }
            }
        }
        Ok(records)
    }

    /// Lets partitions rest after an error that may pass.
    fn pause(&mut self, partitions: &[i32], until: Instant, error: Error) -> Result<()> {
        let patience = self.client.settings().timeout;
        let passes = may_pass(&error) || error.code().is_some_and(passes);
        for partition in partitions {
            let position = self.positions.get_mut(partition).expect("it is read from");
            let since = *position.failing_since.get_or_insert_with(Instant::now);
            if !passes || since.elapsed() > patience {
                return Err(error);
            }
            position.not_before = until;
        }
        Ok(())
    }

    fn read(&mut self, row: FetchPartitionResponse, records: &mut Vec<Consumed>) -> Result<()> {
        let partition = row.partition;
        let damaged = |error: &dyn std::fmt::Display| Error::Malformed {
            address: format!("the leader of {}-{partition}", self.topic),
            why: error.to_string(),
        };
        let position = self.positions.get_mut(&partition).expect("it was fetched");
        position.high_watermark = Some(row.high_watermark);
        position.failing_since = None;
        for batch in batches(row.records.unwrap_or_default()) {
            let batch = match batch {
                Ok(batch) => batch,
                // Cut off at the end of the answer: it comes whole next time.
                Err(BatchError::Short { .. }) => break,
                Err(error) => return Err(damaged(&error)),
            };
            batch.verify().map_err(|error| damaged(&error))?;
            if !batch.header.attributes.is_control() {
                for record in unpack::records(&batch).map_err(|error| damaged(&error))? {
                    let record = record.map_err(|error| damaged(&error))?;
                    // A batch comes whole, even where only its end was asked for.
                    if record.offset >= position.next {
                        records.push(Consumed { partition, record });
                    }
                }
            }
            position.next = position.next.max(batch.header.last().next());
        }
        Ok(())
    }

    async fn reset(&mut self, partition: i32) -> Result<()> {
        let at = match self.settings.reset {
            Reset::Fail => {
                let what = format!("offset {} of {}-{partition}", self.positions[&partition].next, self.topic);
                return Err(refused(what, ErrorCode::OFFSET_OUT_OF_RANGE, None));
            }
            Reset::Beginning => At::Earliest,
            Reset::End => At::Latest,
        };
        for (partition, offset) in self.client.list_offsets(&self.topic, &[partition], at).await {
            self.positions.get_mut(&partition).expect("it was fetched").next = offset?;
        }
        Ok(())
    }
}
