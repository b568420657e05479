//! Incremental fetches (KIP-227): a client names once what it wants, from then on only what changes of that, and is
//! answered only what is new to it.
//!
//! Knows what each session wants and what it was told last. Nothing of logs: a fetch within a session is made a full one
//! before it is judged, and its full answer is thinned out at the end.

use crate::api::kafka::{
    ErrorCode, FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopic, FetchTopicResponse,
};
use crate::id::TopicId;
use crate::ordered::{OrdMap, sort_by};
use crate::record::offset::{LogRange, Offset};
use crate::rng::Rng;
use crate::time::{Instant, Span};
use std::sync::Arc;

/// From this version of Fetch on topics have ids instead of names.
const WITH_TOPIC_IDS: i16 = 13;
/// A session that was not used for so long gives its place to any other, and one that has been there for so long to a
/// larger one (`min.incremental.fetch.session.eviction.ms`, which is no setting in Kafka either).
const SPARED: Span = Span::secs(120);
/// Partitions of all sessions together. A client without a session is served as well; a broker without memory serves none.
const PARTITIONS: usize = 200_000;

/// The sessions of one broker. Their ids are drawn, so that nobody meets another's after the broker started anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchSessions {
    rng: Rng,
    open: OrdMap<i32, Session>,
    /// Of all of them.
    partitions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    /// Of its next request.
    epoch: i32,
    has_topic_ids: bool,
    created: Instant,
    used: Instant,
    /// In the order in which it is served: what had records goes to the end.
    wants: Vec<Wanted>,
}

/// A partition that a session wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    /// Empty where the topic has an id.
    name: Arc<str>,
    topic_id: TopicId,
    partition: FetchPartition,
    /// As told last.
    high_watermark: Offset,
    log_start: Offset,
}

/// Which session a fetch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Within {
    /// None: it is answered in full.
    None,
    /// One that begins with its answer.
    New,
    /// `epoch`: of the request that follows it.
    Session { id: i32, epoch: i32 },
}

impl FetchSessions {
    pub fn new(rng: Rng) -> FetchSessions {
        FetchSessions { rng, open: OrdMap::new(), partitions: 0 }
    }

    /// A fetch comes in. Within a session it is given all that the session wants (`FetchManager.newContext`).
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR: the client begins anew.
    pub fn enter(&mut self, at: Instant, version: i16, request: &mut Arc<FetchRequest>) -> Result<Within, ErrorCode> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch <= 0 {
            self.close(id);
            return Ok(if epoch == 0 { Within::New } else { Within::None });
        }
        let before = self.partitions;
        let session = self.open.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.has_topic_ids != (version >= WITH_TOPIC_IDS) {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        self.partitions -= session.wants.len();
        session.change(request);
        self.partitions += session.wants.len();
        (session.used, session.epoch) = (at, if epoch == i32::MAX { 1 } else { epoch + 1 });
        let (next, is_empty) = (session.epoch, session.wants.is_empty());
        if is_empty || (self.partitions > PARTITIONS && self.partitions > before) {
            self.close(id);
            return if is_empty { Ok(Within::None) } else { Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND) };
        }
        Arc::make_mut(request).topics = session.topics();
        Ok(Within::Session { id, epoch: next })
    }

    /// The answer to `request`, whose rows are in the order of what was asked, as its client is to get it. At most
    /// `slots` sessions are kept.
    pub fn leave(
        &mut self,
        at: Instant,
        (within, version): (Within, i16),
        request: &FetchRequest,
        mut answer: FetchResponse<LogRange>,
        slots: u32,
    ) -> FetchResponse<LogRange> {
        match within {
            Within::None => answer,
            Within::New => {
                answer.session_id = self.begin(at, version >= WITH_TOPIC_IDS, request, &answer, slots).unwrap_or(0);
                answer
            }
            Within::Session { id, epoch } => match self.open.get_mut(&id) {
                Some(session) if session.epoch == epoch => {
                    answer.session_id = id;
                    session.thin_out(&mut answer.topics);
                    answer
                }
                // It was used again, or had to go, while this fetch waited.
                other => {
                    let error = match other {
                        Some(_) => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
                        None => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
                    };
                    FetchResponse { error, ..FetchResponse::default() }
                }
            },
        }
    }

    /// How many there are, and of how many partitions.
    pub fn len(&self) -> (usize, usize) {
        (self.open.len(), self.partitions)
    }

    /// Begins a session with what was asked in full, if there is room for it.
    fn begin(
        &mut self,
        at: Instant,
        has_topic_ids: bool,
        request: &FetchRequest,
        answer: &FetchResponse<LogRange>,
        slots: u32,
    ) -> Option<i32> {
        let rows = request.topics.iter().zip(&answer.topics).flat_map(|(topic, answered)| {
            topic.partitions.iter().zip(&answered.partitions).map(move |(partition, row)| {
                let mut wanted = Wanted::new(topic, partition, has_topic_ids);
                wanted.is_news(row);
                wanted
            })
        });
        let wants: Vec<Wanted> = rows.collect();
        let is_room = self.partitions + wants.len() <= PARTITIONS && !wants.is_empty();
        if !is_room || !self.make_room(at, wants.len(), slots) {
            return None;
        }
        let id = loop {
            let id = (self.rng.next() >> 33) as i32;
            if id != 0 && !self.open.contains_key(&id) {
                break id;
            }
        };
        self.partitions += wants.len();
        self.open.insert(id, Session { epoch: 1, has_topic_ids, created: at, used: at, wants });
        Some(id)
    }

    /// Whether a session of so many partitions may begin; another may have to go (`FetchSessionCache.tryEvict`).
    fn make_room(&mut self, at: Instant, size: usize, slots: u32) -> bool {
        if self.open.len() < slots as usize {
            return true;
        }
        let is_due = |since: Instant| at.since(since) > SPARED;
        let stalest = self.open.iter().map(|(id, session)| (session.used, *id)).min();
        let stale = stalest.filter(|(used, _)| is_due(*used)).map(|(_, id)| id);
        let old = self.open.iter().filter(|(_, session)| is_due(session.created));
        let smallest = || old.map(|(id, session)| (session.wants.len(), *id)).min();
        let Some(id) = stale.or_else(|| smallest().filter(|(other, _)| *other < size).map(|(_, id)| id)) else {
            return false;
        };
        self.close(id);
        true
    }

    fn close(&mut self, id: i32) {
        if let Some(session) = self.open.remove(&id) {
            self.partitions -= session.wants.len();
        }
    }
}

impl Session {
    /// Takes in what a request names anew or otherwise, and lets go of what it forgets.
    fn change(&mut self, request: &FetchRequest) {
        let mut places: Vec<usize> = Vec::new();
        if !(request.topics.is_empty() && request.forgotten_topics.is_empty()) {
            places = (0..self.wants.len()).collect();
            sort_by(&mut places, |a, b| self.wants[*a].key().cmp(&self.wants[*b].key()));
        }
        let known = self.wants.len();
        let mut added: Vec<Wanted> = Vec::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                let wanted = Wanted::new(topic, partition, self.has_topic_ids);
                match places.binary_search_by(|place| self.wants[*place].key().cmp(&wanted.key())) {
                    Ok(found) => self.wants[places[found]].partition = wanted.partition,
                    Err(_) => added.push(wanted),
                }
            }
        }
        let mut is_forgotten = vec![false; known];
        for topic in &request.forgotten_topics {
            let name = if self.has_topic_ids { "" } else { &*topic.name };
            for partition in &topic.partitions {
                let key = (name, topic.topic_id, *partition);
                if let Ok(found) = places.binary_search_by(|place| self.wants[*place].key().cmp(&key)) {
                    is_forgotten[places[found]] = true;
                }
            }
        }
        let mut forgotten = is_forgotten.into_iter();
        self.wants.retain(|_| !forgotten.next().unwrap_or(false));
        self.wants.extend(added);
    }

    /// All that it wants, as a full fetch asks for it.
    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for wanted in &self.wants {
            if topics.last().is_none_or(|last| last.name != wanted.name || last.topic_id != wanted.topic_id) {
                let (name, topic_id) = (wanted.name.clone(), wanted.topic_id);
                topics.push(FetchTopic { name, topic_id, ..FetchTopic::default() });
            }
            if let Some(last) = topics.last_mut() {
                last.partitions.push(wanted.partition.clone());
            }
        }
        topics
    }

    /// Leaves of an answer to all that it wants what is new.
    fn thin_out(&mut self, topics: &mut Vec<FetchTopicResponse<LogRange>>) {
        let mut wants = core::mem::take(&mut self.wants).into_iter();
        let mut served = Vec::new();
        for topic in topics.iter_mut() {
            topic.partitions.retain(|row| {
                let Some(mut wanted) = wants.next() else { return true };
                let number = wanted.partition.partition;
                assert_eq!(number, row.partition, "partition {number} was asked for, {} answered", row.partition);
                let is_news = wanted.is_news(row);
                if has_records(row) {
                    served.push(wanted)
                } else {
                    self.wants.push(wanted)
                }
                is_news
            });
        }
        self.wants.append(&mut served);
        topics.retain(|topic| !topic.partitions.is_empty());
    }
}

impl Wanted {
    fn new(topic: &FetchTopic, partition: &FetchPartition, has_topic_ids: bool) -> Wanted {
        Wanted {
            name: if has_topic_ids { "".into() } else { topic.name.clone() },
            topic_id: topic.topic_id,
            partition: FetchPartition {
                partition: partition.partition,
                current_leader_epoch: partition.current_leader_epoch,
                fetch_offset: partition.fetch_offset,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
                max_bytes: partition.max_bytes,
                ..FetchPartition::default()
            },
            high_watermark: Offset(-1),
            log_start: Offset(-1),
        }
    }

    fn key(&self) -> (&str, TopicId, i32) {
        (&self.name, self.topic_id, self.partition.partition)
    }

    /// Whether the session must be told this row, which is remembered as told. After an error the row that follows is
    /// news (`CachedPartition.maybeUpdateResponseData`).
    fn is_news(&mut self, row: &FetchPartitionResponse<LogRange>) -> bool {
        let is_error = row.error.is_error();
        let told = (if is_error { Offset(-1) } else { row.high_watermark }, row.log_start_offset);
        let is_other = (self.high_watermark, self.log_start) != told;
        (self.high_watermark, self.log_start) = told;
        is_other || is_error || has_records(row) || row.diverging_epoch.end_offset.0 >= 0
    }
}

fn has_records(row: &FetchPartitionResponse<LogRange>) -> bool {
    row.records.as_ref().is_some_and(|range| range.from < range.upto)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kafka::ForgottenTopic;
    use crate::id::TopicPartition;

    const NOW: Instant = Instant(0);
    const SLOTS: u32 = 2;

    fn asked(id: i32, epoch: i32, partitions: &[(i32, i64)]) -> Arc<FetchRequest> {
        let part = |(partition, at): &(i32, i64)| FetchPartition {
            partition: *partition,
            fetch_offset: Offset(*at),
            ..FetchPartition::default()
        };
        let partitions: Vec<FetchPartition> = partitions.iter().map(part).collect();
        let topics = vec![FetchTopic { name: "t".into(), partitions, ..FetchTopic::default() }];
        let topics = topics.into_iter().filter(|topic| !topic.partitions.is_empty()).collect();
        FetchRequest { session_id: id, session_epoch: epoch, topics, ..FetchRequest::default() }.into()
    }

    /// A log of `t-<partition>` that ends at `end`, of which all is committed.
    fn answered(request: &FetchRequest, end: impl Fn(i32) -> i64) -> FetchResponse<LogRange> {
        let row = |wanted: &FetchPartition| {
            let upto = Offset(end(wanted.partition));
            let partition = TopicPartition::new("t", wanted.partition);
            FetchPartitionResponse {
                partition: wanted.partition,
                high_watermark: upto,
                log_start_offset: Offset(0),
                records: Some(LogRange { partition, from: wanted.fetch_offset, upto, max_bytes: 1 }),
                ..FetchPartitionResponse::default()
            }
        };
        let topics = request.topics.iter().map(|topic| FetchTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(row).collect(),
            ..FetchTopicResponse::default()
        });
        FetchResponse { topics: topics.collect(), ..FetchResponse::default() }
    }

    fn numbers(answer: &FetchResponse<LogRange>) -> Vec<i32> {
        answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|row| row.partition)).collect()
    }

    /// Asks, and is answered from logs that end there: the session's id, and the partitions that are told.
    fn fetch(
        sessions: &mut FetchSessions,
        at: Instant,
        mut request: Arc<FetchRequest>,
        end: impl Fn(i32) -> i64,
    ) -> Result<(i32, Vec<i32>), ErrorCode> {
        let within = sessions.enter(at, 12, &mut request)?;
        let answer = sessions.leave(at, (within, 12), &request, answered(&request, end), SLOTS);
        if answer.error.is_error() { Err(answer.error) } else { Ok((answer.session_id, numbers(&answer))) }
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut sessions = FetchSessions::new(Rng::new(1));
        let (id, told) = fetch(&mut sessions, NOW, asked(0, 0, &[(0, 0), (1, 0), (2, 0)]), |_| 0).unwrap();
        assert!(id > 0 && told == [0, 1, 2], "{id} {told:?}");
        assert_eq!(fetch(&mut sessions, NOW, asked(id, 1, &[]), |_| 0), Ok((id, vec![])));
        assert_eq!(fetch(&mut sessions, NOW, asked(id, 2, &[]), |p| i64::from(p == 0)), Ok((id, vec![0])));
        // What had records is asked for last from now on.
        let mut request = asked(id, 3, &[(0, 1)]);
        let within = sessions.enter(NOW, 12, &mut request).unwrap();
        assert_eq!(numbers(&answered(&request, |_| 0)), [1, 2, 0]);
        assert_eq!(request.topics[0].partitions[2].fetch_offset, Offset(1));
        // It fails, and is told again once it is well: nothing else is new.
        let mut failed = answered(&request, |p| i64::from(p == 0));
        failed.topics[0].partitions[0].error = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        let answer = sessions.leave(NOW, (within, 12), &request, failed, SLOTS);
        assert_eq!(numbers(&answer), [1]);
        assert_eq!(fetch(&mut sessions, NOW, asked(id, 4, &[]), |p| i64::from(p == 0)), Ok((id, vec![1])));
    }

    #[test]
    fn a_session_changes_what_it_wants() {
        let mut sessions = FetchSessions::new(Rng::new(1));
        let (id, _) = fetch(&mut sessions, NOW, asked(0, 0, &[(0, 0), (1, 0)]), |_| 0).unwrap();
        let mut request = asked(id, 1, &[(7, 0)]);
        let forgotten = ForgottenTopic { name: "t".into(), partitions: vec![0, 5], ..ForgottenTopic::default() };
        Arc::make_mut(&mut request).forgotten_topics.push(forgotten.clone());
        assert_eq!(fetch(&mut sessions, NOW, request, |_| 1), Ok((id, vec![1, 7])));
        assert_eq!(sessions.len(), (1, 2));
        // A session that wants nothing is none.
        let mut request = asked(id, 2, &[]);
        Arc::make_mut(&mut request).forgotten_topics.push(ForgottenTopic { partitions: vec![7, 1], ..forgotten });
        assert_eq!(fetch(&mut sessions, NOW, request, |_| 1), Ok((0, vec![])));
        assert_eq!(sessions.len(), (0, 0));
    }

    #[test]
    fn who_is_out_of_step_begins_anew() {
        let mut sessions = FetchSessions::new(Rng::new(1));
        let (id, _) = fetch(&mut sessions, NOW, asked(0, 0, &[(0, 0)]), |_| 0).unwrap();
        let of = |sessions: &mut FetchSessions, id, epoch| fetch(sessions, NOW, asked(id, epoch, &[]), |_| 0);
        assert_eq!(of(&mut sessions, id, 2), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        assert_eq!(of(&mut sessions, id + 1, 1), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        let by_id = sessions.enter(NOW, 13, &mut asked(id, 1, &[]));
        assert_eq!(by_id, Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        // The answer to a fetch that waited, when its client has gone on without it.
        let mut waits = asked(id, 1, &[]);
        let within = sessions.enter(NOW, 12, &mut waits).unwrap();
        assert_eq!(of(&mut sessions, id, 2), Ok((id, vec![])));
        let late = sessions.leave(NOW, (within, 12), &waits, answered(&waits, |_| 9), SLOTS);
        assert_eq!((late.error, late.session_id), (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 0));
        // A full fetch ends the session it names: with epoch 0 another begins, with −1 none.
        let (other, _) = fetch(&mut sessions, NOW, asked(id, 0, &[(0, 0)]), |_| 0).unwrap();
        assert_eq!(of(&mut sessions, id, 3), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(fetch(&mut sessions, NOW, asked(other, -1, &[(0, 0)]), |_| 0), Ok((0, vec![0])));
        assert_eq!(sessions.len(), (0, 0));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut sessions = FetchSessions::new(Rng::new(1));
        let begin = |sessions: &mut FetchSessions, at: Instant, of: &[(i32, i64)]| {
            fetch(sessions, at, asked(0, 0, of), |_| 0).unwrap().0
        };
        let small = begin(&mut sessions, NOW, &[(0, 0)]);
        let large = begin(&mut sessions, NOW, &[(0, 0), (1, 0)]);
        assert_eq!(
            begin(&mut sessions, NOW, &[(0, 0), (1, 0), (2, 0)]),
            0,
            "both are spared: it is served without one"
        );
        // Both were used lately, and have been there for long: a larger one takes the place of the smaller.
        let soon = NOW + SPARED;
        assert_eq!(fetch(&mut sessions, soon, asked(small, 1, &[]), |_| 0), Ok((small, vec![])));
        assert_eq!(fetch(&mut sessions, soon, asked(large, 1, &[]), |_| 0), Ok((large, vec![])));
        let later = soon + Span::millis(1);
        assert_eq!(begin(&mut sessions, later, &[(0, 0)]), 0, "no larger than the smallest");
        assert!(begin(&mut sessions, later, &[(0, 0), (1, 0)]) > 0);
        assert_eq!(
            fetch(&mut sessions, later, asked(small, 2, &[]), |_| 0),
            Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
        );
        // One that nobody used gives its place to any.
        assert!(begin(&mut sessions, soon + SPARED + Span::millis(1), &[(0, 0)]) > 0);
        assert_eq!(
            fetch(&mut sessions, later, asked(large, 2, &[]), |_| 0),
            Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
        );
        let all: Vec<(i32, i64)> = (0..=PARTITIONS as i32).map(|partition| (partition, 0)).collect();
        let much_later = later + SPARED + SPARED;
        assert_eq!(begin(&mut sessions, much_later, &all), 0, "more than all sessions may have");
    }
}
