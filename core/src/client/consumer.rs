//! A Kafka consumer without a group: reads every partition of a topic from its beginning, by long polls.
//!
//! One Fetch is out for each leader. It tells what it reads, so that a checker can compare all readers. Of each new
//! leader it asks where the partition ends, and tells that too: it must not be less than it was (KIP-207).

use super::links::{Arrived, Links, is_retriable};
use crate::api::kafka::{
    self, EARLIEST, ErrorCode, FetchPartition, FetchRequest, FetchResponse, FetchTopic, LATEST, ListOffsetsRequest,
};
use crate::id::{BrokerId, LeaderEpoch, TopicPartition};
use crate::machine::Effects;
use crate::node::Effect;
use crate::note::client::ClientNote;
use crate::ordered::OrdMap;
use crate::record::batch::{Batch, batches};
use crate::record::offset::Offset;
use crate::time::{Instant, Now, Span};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub topic: Arc<str>,
    pub partitions: u32,
    pub max_wait: Span,
    pub backoff: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    Fetch {
        leader: BrokerId,
        from: Vec<(TopicPartition, Offset)>,
    },
    /// Where a partition begins, after OFFSET_OUT_OF_RANGE.
    Earliest {
        partition: TopicPartition,
    },
    /// Where it ends, as the leader of this epoch says.
    Latest {
        partition: TopicPartition,
        epoch: LeaderEpoch,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Reading {
    next: Offset,
    busy: bool,
    not_before: Instant,
    lost_place: bool,
    end: End,
}

/// Whether the end of a partition is known, and when to ask for it. Reading does not wait for that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct End {
    /// The leader epoch that told it last.
    epoch: LeaderEpoch,
    busy: bool,
    not_before: Instant,
}

impl Default for End {
    fn default() -> End {
        End { epoch: LeaderEpoch::NONE, busy: false, not_before: Instant::ZERO }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consumer {
    config: Config,
    links: Links<Asked>,
    reading: OrdMap<TopicPartition, Reading>,
    pub read: u64,
}

impl Consumer {
    pub fn new(config: Config, links: Links<Asked>) -> Consumer {
        let reading = (0..config.partitions)
            .map(|p| (TopicPartition::new(config.topic.clone(), p as i32), Reading::default()))
            .collect();
        Consumer { config, links, reading, read: 0 }
    }

    pub fn links(&mut self) -> &mut Links<Asked> {
        &mut self.links
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The next offset it wants of each partition.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.reading.iter().map(|(partition, reading)| (partition, reading.next))
    }

    pub fn on_wake(&mut self, now: Now, fx: &mut Effects<Effect>) {
        for arrived in self.links.on_wake(now.at, fx) {
            self.on_arrived(now, arrived, fx);
        }
        self.pump(now, fx);
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let retries = self.reading.values().flat_map(|reading| {
            let end = &reading.end;
            [(reading.busy, reading.not_before), (end.busy, end.not_before)]
        });
        let retry = retries.filter(|(busy, at)| !busy && *at > Instant::ZERO).map(|(_, at)| at).min();
        [retry, self.links.wake_at()].into_iter().flatten().min()
    }

    pub fn on_arrived(&mut self, now: Now, arrived: Arrived<Asked>, fx: &mut Effects<Effect>) {
        match arrived {
            Arrived::Described => {}
            Arrived::Unknown { what: Asked::Fetch { from, .. } } => {
                for (partition, _) in from {
                    self.back_off(now.at, &partition);
                }
            }
            Arrived::Unknown { what: Asked::Earliest { partition } } => self.back_off(now.at, &partition),
            Arrived::Unknown { what: Asked::Latest { partition, .. } } => self.ask_end_later(now.at, &partition),
            Arrived::Answer { what: Asked::Fetch { from, .. }, response: kafka::Response::Fetch(answer) } => {
                self.on_fetched(now, &from, answer, fx);
            }
            Arrived::Answer { what: Asked::Earliest { partition }, response: kafka::Response::ListOffsets(answer) } => {
                match (answer.of_one(), self.reading.get_mut(&partition)) {
                    (Some(start), Some(reading)) => {
                        fx.note(ClientNote::Reset { partition, from: reading.next, to: start });
                        *reading = Reading { next: start, end: reading.end.clone(), ..Reading::default() };
                    }
                    _ => self.back_off(now.at, &partition),
                }
            }
            Arrived::Answer {
                what: Asked::Latest { partition, epoch },
                response: kafka::Response::ListOffsets(answer),
            } => match (answer.of_one(), self.reading.get_mut(&partition)) {
                (Some(end), Some(reading)) => {
                    reading.end = End { epoch, ..End::default() };
                    fx.note(ClientNote::EndTold { partition, end, epoch });
                }
                _ => self.ask_end_later(now.at, &partition),
            },
            Arrived::Answer { what: Asked::Fetch { from, .. }, .. } => {
                for (partition, _) in from {
                    self.back_off(now.at, &partition);
                }
            }
            Arrived::Answer { what: Asked::Earliest { partition }, .. } => self.back_off(now.at, &partition),
            Arrived::Answer { what: Asked::Latest { partition, .. }, .. } => self.ask_end_later(now.at, &partition),
        }
        self.pump(now, fx);
    }

    fn ask_end_later(&mut self, now: Instant, partition: &TopicPartition) {
        if let Some(reading) = self.reading.get_mut(partition) {
            reading.end.busy = false;
            reading.end.not_before = now + self.config.backoff;
        }
    }

    fn back_off(&mut self, now: Instant, partition: &TopicPartition) {
        self.links.describe(now);
        if let Some(reading) = self.reading.get_mut(partition) {
            reading.busy = false;
            reading.not_before = now + self.config.backoff;
        }
    }

    fn on_fetched(
        &mut self,
        now: Now,
        from: &[(TopicPartition, Offset)],
        answer: FetchResponse<Bytes>,
        fx: &mut Effects<Effect>,
    ) {
        for (partition, _) in from {
            if let Some(reading) = self.reading.get_mut(partition) {
                reading.busy = false;
            }
        }
        for topic in answer.topics {
            for part in topic.partitions {
                let partition = TopicPartition::new(topic.name.clone(), part.partition);
                let Some(reading) = self.reading.get_mut(&partition) else { continue };
                match part.error {
                    ErrorCode::NONE => {
                        if let Some(records) = part.records {
                            self.read += take(reading, &partition, records, part.high_watermark, fx);
                        }
                    }
                    ErrorCode::OFFSET_OUT_OF_RANGE => reading.lost_place = true,
                    error => {
                        debug_assert!(is_retriable(error), "a fetch was refused for good: {error}");
                        self.back_off(now.at, &partition);
                    }
                }
            }
        }
    }

    /// Asks each leader that is new where its partition ends.
    fn ask_ends(&mut self, now: Now, fx: &mut Effects<Effect>) {
        for (partition, reading) in &mut self.reading {
            let end = &mut reading.end;
            let Some(led) = self.links.leaders.get(partition).copied() else {
                // Whoever leads next, of another topic of this name perhaps, is asked once it is known.
                if !end.busy {
                    *end = End::default();
                }
                continue;
            };
            if end.epoch == led.epoch {
                end.not_before = Instant::ZERO;
            }
            if end.busy || end.epoch == led.epoch || end.not_before > now.at {
                continue;
            }
            let what = Asked::Latest { partition: partition.clone(), epoch: led.epoch };
            end.busy = self.links.ask(
                now.at,
                led.leader,
                what,
                ListOffsetsRequest::of_one(partition, led.epoch, LATEST).into(),
                fx,
            );
            end.not_before = if end.busy { Instant::ZERO } else { now.at + self.config.backoff };
        }
    }

    fn pump(&mut self, now: Now, fx: &mut Effects<Effect>) {
        self.ask_ends(now, fx);
        let mut by_leader: OrdMap<BrokerId, Vec<FetchPartition>> = OrdMap::new();
        let mut lost = Vec::new();
        for (partition, reading) in &mut self.reading {
            let Some(led) = self.links.leaders.get(partition) else {
                reading.not_before = now.at + self.config.backoff;
                continue;
            };
            if reading.busy || reading.not_before > now.at {
                continue;
            }
            reading.busy = true;
            if reading.lost_place {
                lost.push((partition.clone(), *led));
                continue;
            }
            by_leader.entry(led.leader).or_default().push(FetchPartition {
                partition: partition.partition,
                current_leader_epoch: led.epoch,
                fetch_offset: reading.next,
                max_bytes: 1 << 20,
                ..FetchPartition::default()
            });
        }
        for (partition, led) in lost {
            let request = ListOffsetsRequest::of_one(&partition, led.epoch, EARLIEST);
            let what = Asked::Earliest { partition: partition.clone() };
            if !self.links.ask(now.at, led.leader, what, request.into(), fx) {
                self.back_off(now.at, &partition);
            }
        }
        for (leader, partitions) in by_leader {
            let from: Vec<_> = partitions
                .iter()
                .map(|p| (TopicPartition::new(self.config.topic.clone(), p.partition), p.fetch_offset))
                .collect();
            let request = FetchRequest {
                max_wait_ms: self.config.max_wait.as_millis() as i32,
                min_bytes: 1,
                max_bytes: 50 << 20,
                topics: vec![FetchTopic { name: self.config.topic.clone(), partitions, ..FetchTopic::default() }],
                ..FetchRequest::default()
            };
            let what = Asked::Fetch { leader, from: from.clone() };
            if !self.links.ask(now.at, leader, what, request.into(), fx) {
                for (partition, _) in from {
                    self.back_off(now.at, &partition);
                }
            }
        }
    }
}

/// Takes what arrived for a partition, and tells it. Gives the number of records.
fn take(
    reading: &mut Reading,
    partition: &TopicPartition,
    records: Bytes,
    high_watermark: Offset,
    fx: &mut Effects<Effect>,
) -> u64 {
    let mut read = 0;
    for batch in batches(records).map_while(Result::ok) {
        let header = batch.header;
        if header.last() < reading.next {
            continue;
        }
        fx.note(ClientNote::Read {
            partition: partition.clone(),
            base: header.base,
            records: header.count as u32,
            first: first_value(&batch).unwrap_or(0),
            high_watermark,
        });
        reading.next = header.next();
        read += header.count as u64;
    }
    read
}

/// The number that a simulated producer put at the front of the first record.
pub fn first_value(batch: &Batch) -> Option<u64> {
    let record = batch.records().ok()?.next()?.ok()?;
    record.value?.first_chunk::<8>().copied().map(u64::from_be_bytes)
}
