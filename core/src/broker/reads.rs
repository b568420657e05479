//! What is read here: fetches of followers and consumers, and the offsets of a log by time and by leader epoch
//! (protocol.md C.6, C.7). Answers point into logs; bytes never pass through.

use super::Broker;
use super::connection::Asker;
use super::fetcher::epoch_end;
use super::partition::Context;
use super::partition::isr::Change;
use super::partition::leader::{Found, Reader};
use super::partition::purgatory::{Due, FetchWait};
use crate::api::kafka::{
    DivergingEpoch, EARLIEST, EARLIEST_LOCAL, ErrorCode, FetchPartition, FetchPartitionResponse, FetchRequest,
    FetchResponse, FetchTopic, FetchTopicResponse, LATEST, ListOffsetsPartition, ListOffsetsPartitionResponse,
    ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse, MAX_TIMESTAMP, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, OffsetForLeaderTopicResponse,
};
use crate::api::storage::{Lane, Load, StoreOp};
use crate::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::machine::{Effects, Ticket};
use crate::node::Effect;
use crate::note::broker::BrokerNote;
use crate::ordered::{OrdSet, sort_by};
use crate::record::offset::{LogRange, Offset};
use crate::record::producer::ProducerStates;
use crate::time::{Now, Span};
use std::collections::VecDeque;
use std::sync::Arc;

/// What was asked of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// A row of a ListOffsets answer.
    ByTime { listing: u64, topic: u32, row: u32, partition: TopicPartition },
    /// The producers' states after a cut.
    Producers { partition: TopicPartition, upto: Offset },
}

/// What was asked of the disk and not answered yet. A ring: one client may ask for many thousand rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reads {
    /// Tickets that were taken before the first of `open`.
    taken: u64,
    open: VecDeque<Option<Read>>,
}

impl Reads {
    fn begin(&mut self, read: Read) -> Ticket {
        self.open.push_back(Some(read));
        Ticket(self.taken + self.open.len() as u64)
    }

    fn end(&mut self, ticket: Ticket) -> Option<Read> {
        let at = ticket.0.checked_sub(self.taken + 1)?;
        let read = self.open.get_mut(at as usize)?.take();
        while self.open.front().is_some_and(Option::is_none) {
            self.open.pop_front();
            self.taken += 1;
        }
        read
    }
}

/// A ListOffsets request, some of whose rows wait for the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listing {
    asker: Asker,
    version: i16,
    response: ListOffsetsResponse,
    open: u32,
}

/// A fetch as the purgatory judges it.
struct Judged {
    bytes: u64,
    /// Something that cannot wait: an error, a divergence.
    urgent: bool,
}

impl Broker {
    // Fetch.

    pub(super) fn on_fetch(
        &mut self,
        now: Now,
        asker: Asker,
        version: i16,
        mut request: Arc<FetchRequest>,
        fx: &mut Effects<Effect>,
    ) {
        if asker.is_client() && request.replica().is_some() {
            return self.refuse_follower(asker, &request, fx);
        }
        let within = match self.fetch_sessions.enter(now.at, version, &mut request) {
            Ok(within) => within,
            Err(error) => {
                let response = FetchResponse::<LogRange> { error, ..FetchResponse::default() };
                return self.answer(asker, response.into(), fx);
            }
        };
        self.name_topics(Arc::make_mut(&mut request));
        let judged = match request.replica() {
            Some(replica) => self.follow(now, replica, &request, fx),
            None => self.judge_fetch(version, &request),
        };
        let enough = judged.bytes >= request.min_bytes.max(0) as u64;
        let wait = Span::millis(request.max_wait_ms.max(0) as u64);
        let names: Vec<TopicPartition> = partitions_of(&request).map(|(name, _)| name).collect();
        // With more rows than there are replicas some are named twice: every record would have to look at all of them.
        let is_too_long = names.len() > self.partitions.len();
        if judged.urgent || enough || wait == Span::ZERO || names.is_empty() || is_too_long {
            return self.answer_fetch(FetchWait { asker, version, within, request }, fx);
        }
        self.purgatory.park_fetch(FetchWait { asker, version, within, request }, names.into_iter(), now.at + wait);
    }

    /// Followers fetch over the mesh, where they are known. A client that says it is one would move the high watermark
    /// over records that nobody holds (CVE-2018-1288).
    fn refuse_follower(&mut self, asker: Asker, request: &FetchRequest, fx: &mut Effects<Effect>) {
        let refused = |wanted: &FetchPartition| FetchPartitionResponse::<LogRange> {
            partition: wanted.partition,
            error: ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            high_watermark: Offset(-1),
            ..FetchPartitionResponse::default()
        };
        let topics = request.topics.iter().map(|topic| FetchTopicResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(refused).collect(),
            ..FetchTopicResponse::default()
        });
        let response = FetchResponse::<LogRange> { topics: topics.collect(), ..FetchResponse::default() };
        self.answer(asker, response.into(), fx);
    }

    /// Newer versions name topics by id only.
    fn name_topics(&self, request: &mut FetchRequest) {
        for topic in request.topics.iter_mut().filter(|topic| topic.name.is_empty()) {
            if let Some(name) = self.topic_name(topic.topic_id) {
                topic.name = name;
            }
        }
    }

    /// A topic's name: from the metadata, or from a replica's own log, which may know it earlier.
    fn topic_name(&self, id: TopicId) -> Option<Arc<str>> {
        let ours = || self.partitions.values().find(|partition| partition.log.topic_id == id);
        self.metadata.topic_name(id).cloned().or_else(|| ours().map(|partition| partition.name().topic.clone()))
    }

    /// A follower's fetch: what it asks for says what it holds. What it may read was decided before that counted.
    fn follow(&mut self, now: Now, replica: BrokerId, request: &FetchRequest, fx: &mut Effects<Effect>) -> Judged {
        let mut judged = Judged { bytes: 0, urgent: false };
        for (name, wanted) in partitions_of(request) {
            let at = Context {
                me: self.id,
                now,
                settings: &self.settings,
                rules: self.config.rules,
                metadata: &self.metadata,
            };
            let Some(partition) = self.partitions.get_mut(&name) else {
                judged.urgent = true;
                continue;
            };
            match partition.read(wanted, Reader::Replica(replica)) {
                Err(_) => judged.urgent = true,
                Ok(read) => match read.found {
                    Found::Diverging(end) => {
                        judged.urgent = true;
                        let (epoch, end) = (end.epoch, end.end);
                        fx.note(BrokerNote::Divergence { partition: name, replica, epoch, end });
                    }
                    Found::Upto(upto) => {
                        judged.bytes += partition.log.bytes_between(wanted.fetch_offset, upto);
                        let moved = partition.on_follower_at(
                            (replica, request.replica_state.replica_epoch),
                            wanted,
                            read.end,
                            &at,
                            fx,
                        );
                        let expand = !self.alter.is_busy(&name) && partition.may_expand(replica, &at);
                        if expand {
                            partition.propose(Change::Expand(replica), fx);
                            self.queue_proposal(&name);
                        }
                        if moved {
                            self.on_high_watermark(now, &name, fx);
                        }
                    }
                },
            }
        }
        judged
    }

    /// Whether a fetch has enough to be answered; changes nothing.
    fn judge_fetch(&self, version: i16, request: &FetchRequest) -> Judged {
        let mut judged = Judged { bytes: 0, urgent: false };
        let reader = reader_of(request, version);
        for (name, wanted) in partitions_of(request) {
            let read = self.partitions.get(&name).map(|partition| (partition, partition.read(wanted, reader)));
            match read {
                Some((partition, Ok(read))) => match read.found {
                    Found::Upto(upto) => judged.bytes += partition.log.bytes_between(wanted.fetch_offset, upto),
                    Found::Diverging(_) => judged.urgent = true,
                },
                Some((_, Err(_))) | None => judged.urgent = true,
            }
        }
        judged
    }

    /// Something happened to a partition: fetches that waited for it may be answered now.
    pub(super) fn wake_fetches(&mut self, _: Now, name: &TopicPartition, fx: &mut Effects<Effect>) {
        for id in self.purgatory.fetches_of(name) {
            let Some(wait) = self.purgatory.fetch(id) else { continue };
            let judged = self.judge_fetch(wait.version, &wait.request);
            if (judged.urgent || judged.bytes >= wait.request.min_bytes.max(0) as u64)
                && let Some(wait) = self.purgatory.take_fetch(id)
            {
                self.answer_fetch(wait, fx);
            }
        }
    }

    /// Answers with what there is now: pointers into the logs, never bytes.
    fn answer_fetch(&mut self, wait: FetchWait, fx: &mut Effects<Effect>) {
        let FetchWait { asker, version, within, request } = wait;
        let reader = reader_of(&request, version);
        let mut room = i64::from(request.max_bytes.min(self.settings.fetch_max_bytes).max(0));
        let mut first = true;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let mut row = self.fetch_row(topic, wanted, reader, room, first);
                if let Some(range) = &row.records
                    && range.from < range.upto
                {
                    let name = &range.partition;
                    let there = self.partitions.get(name).map_or(0, |it| it.log.bytes_between(range.from, range.upto));
                    room -= (there.min(u64::from(range.max_bytes))) as i64;
                    first = false;
                }
                // Followers need no empty record set; old clients do.
                if request.replica().is_some() && row.records.as_ref().is_some_and(|range| range.from == range.upto) {
                    row.records = None;
                }
                partitions.push(row);
            }
            topics.push(FetchTopicResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions,
                ..FetchTopicResponse::default()
            });
        }
        let response = FetchResponse::<LogRange> { topics, ..FetchResponse::default() };
        let slots = self.settings.fetch_session_slots;
        let response = self.fetch_sessions.leave(self.now, (within, version), &request, response, slots);
        self.answer(asker, response.into(), fx);
    }

    fn fetch_row(
        &self,
        topic: &FetchTopic,
        wanted: &FetchPartition,
        reader: Reader,
        room: i64,
        first: bool,
    ) -> FetchPartitionResponse<LogRange> {
        let empty = FetchPartitionResponse::<LogRange> {
            partition: wanted.partition,
            high_watermark: Offset(-1),
            ..FetchPartitionResponse::default()
        };
        if topic.name.is_empty() {
            return FetchPartitionResponse { error: ErrorCode::UNKNOWN_TOPIC_ID, ..empty };
        }
        let name = TopicPartition { topic: topic.name.clone(), partition: wanted.partition };
        let Some(partition) = self.partitions.get(&name) else {
            return FetchPartitionResponse { error: self.missing(&name), ..empty };
        };
        let asked = topic.topic_id;
        if !asked.may_be(partition.log.topic_id) {
            return FetchPartitionResponse { error: ErrorCode::INCONSISTENT_TOPIC_ID, ..empty };
        }
        match partition.read(wanted, reader) {
            Err(error) => {
                let moved = matches!(error, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH);
                let current_leader = if moved { partition.current_leader(self.id) } else { Default::default() };
                FetchPartitionResponse { error, current_leader, ..empty }
            }
            Ok(read) => {
                let row = FetchPartitionResponse {
                    high_watermark: read.high_watermark,
                    last_stable_offset: read.last_stable,
                    log_start_offset: read.start,
                    ..empty
                };
                match read.found {
                    Found::Diverging(end) => {
                        let diverging_epoch =
                            DivergingEpoch { epoch: end.epoch, end_offset: end.end, ..DivergingEpoch::default() };
                        FetchPartitionResponse { diverging_epoch, ..row }
                    }
                    Found::Upto(upto) => {
                        let from = wanted.fetch_offset;
                        let upto = if room > 0 || first { upto } else { from };
                        let max_bytes = i64::from(wanted.max_bytes).clamp(0, room.max(0)) as u32;
                        FetchPartitionResponse { records: Some(partition.log.range(from, upto, max_bytes)), ..row }
                    }
                }
            }
        }
    }

    /// What waited long enough is answered with what there is.
    pub(super) fn answer_overdue(&mut self, now: Now, fx: &mut Effects<Effect>) {
        while let Some(due) = self.purgatory.pop_due(now.at) {
            match due {
                Due::Fetch(wait) => self.answer_fetch(wait, fx),
                Due::Produce(wait) => self.answer_produce(wait, -1, fx),
            }
        }
    }

    // Offsets.

    pub(super) fn on_list_offsets(
        &mut self,
        asker: Asker,
        version: i16,
        request: &ListOffsetsRequest,
        fx: &mut Effects<Effect>,
    ) {
        self.last_asker += 1;
        let listing = self.last_asker;
        let mut open = 0;
        let rows =
            request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|row| (&topic.name, row.partition)));
        let twice = named_twice(rows);
        let mut topics = Vec::with_capacity(request.topics.len());
        for (at, topic) in request.topics.iter().enumerate() {
            let mut rows = Vec::with_capacity(topic.partitions.len());
            for (row, wanted) in topic.partitions.iter().enumerate() {
                let name = TopicPartition { topic: topic.name.clone(), partition: wanted.partition };
                let is_replica = !asker.is_client() && request.replica_id.0 >= 0;
                let found = match twice.binary_search(&(&topic.name, wanted.partition)) {
                    Ok(_) => Err(ErrorCode::INVALID_REQUEST),
                    Err(_) => self.list_offset(&name, wanted, (request.isolation_level, is_replica), version),
                };
                let empty = ListOffsetsPartitionResponse { partition: wanted.partition, ..Default::default() };
                rows.push(match found {
                    Ok(Listed::At(offset, epoch)) => answered_row(empty, version, offset, -1, epoch),
                    Ok(Listed::ByTime(load)) => {
                        open += 1;
                        let read = Read::ByTime { listing, topic: at as u32, row: row as u32, partition: name.clone() };
                        let ticket = self.reads.begin(read);
                        fx.emit(Effect::Load { lane: Lane::Log(name), ticket, what: load });
                        empty
                    }
                    Err(error) => ListOffsetsPartitionResponse { error, ..empty },
                });
            }
            topics.push(ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions: rows,
                ..ListOffsetsTopicResponse::default()
            });
        }
        let response = ListOffsetsResponse { topics, ..ListOffsetsResponse::default() };
        if open == 0 {
            return self.answer(asker, response.into(), fx);
        }
        self.listings.insert(listing, Listing { asker, version, response, open });
    }

    fn list_offset(
        &self,
        name: &TopicPartition,
        wanted: &ListOffsetsPartition,
        (isolation_level, is_replica): (i8, bool),
        version: i16,
    ) -> Result<Listed, ErrorCode> {
        let partition = self.partitions.get(name).ok_or_else(|| self.missing(name))?;
        partition.check_epoch(wanted.current_leader_epoch)?;
        if partition.leader().is_none() {
            return Err(partition.not_leading());
        }
        let log = &partition.log;
        let visible = match isolation_level {
            _ if is_replica => log.end(),
            1 => log.last_stable(),
            _ => log.high_watermark(),
        };
        let by_time = |timestamp: Option<i64>| {
            Listed::ByTime(Load::OffsetForTime { partition: name.clone(), timestamp, from: log.start(), upto: visible })
        };
        match wanted.timestamp {
            LATEST if !is_replica && !partition.latest_is_known() => Err(not_available(version)),
            LATEST => Ok(Listed::At(visible, log.epochs().latest())),
            EARLIEST | EARLIEST_LOCAL => {
                Ok(Listed::At(log.start(), log.epochs().epoch_at(log.start()).unwrap_or(LeaderEpoch::NONE)))
            }
            // Only the disk knows which is the latest: what the segments tell here may have been cut since.
            MAX_TIMESTAMP => Ok(by_time(None)),
            timestamp if timestamp >= 0 => Ok(by_time(Some(timestamp))),
            _ => Ok(Listed::At(Offset(-1), LeaderEpoch::NONE)),
        }
    }

    /// The disk found, or did not find, a record of that time.
    pub(super) fn on_offset_found(&mut self, ticket: Ticket, found: Option<(Offset, i64)>, fx: &mut Effects<Effect>) {
        let Some(Read::ByTime { listing: number, topic, row, partition }) = self.reads.end(ticket) else { return };
        let partition = self.partitions.get(&partition);
        let Some(listing) = self.listings.get_mut(&number) else { return };
        let row = &mut listing.response.topics[topic as usize].partitions[row as usize];
        match (found, partition) {
            (Some((offset, timestamp)), Some(partition)) => {
                let epoch = partition.log.epochs().epoch_at(offset).unwrap_or(LeaderEpoch::NONE);
                *row = answered_row(core::mem::take(row), listing.version, offset, timestamp, epoch);
            }
            // Nothing visible is that young: a new leader may not know yet what is (KIP-207).
            (None, Some(partition)) if !partition.latest_is_known() => row.error = not_available(listing.version),
            (None, Some(_)) => {}
            (_, None) => row.error = ErrorCode::NOT_LEADER_OR_FOLLOWER,
        }
        listing.open -= 1;
        if listing.open == 0
            && let Some(listing) = self.listings.remove(&number)
        {
            self.answer(listing.asker, listing.response.into(), fx);
        }
    }

    /// Asks the disk for the producers' states of every log that was cut, as the effects from `before` on tell.
    pub(super) fn reload_producers(&mut self, before: usize, fx: &mut Effects<Effect>) {
        let cut = |effect: &Effect| match effect {
            Effect::Store { lane: Lane::Log(name), op: StoreOp::TruncateLog { .. } } => Some(name.clone()),
            _ => None,
        };
        let cut: OrdSet<TopicPartition> = fx.effects[before..].iter().filter_map(cut).collect();
        for name in cut {
            let Some(partition) = self.partitions.get_mut(&name) else { continue };
            if let Some(upto) = partition.log.ask_for_producers() {
                let ticket = self.reads.begin(Read::Producers { partition: name.clone(), upto });
                let what = Load::Producers { partition: name.clone(), upto };
                fx.emit(Effect::Load { lane: Lane::Log(name.clone()), ticket, what });
            }
        }
    }

    pub(super) fn on_producers(&mut self, now: Now, ticket: Ticket, states: ProducerStates, fx: &mut Effects<Effect>) {
        let Some(Read::Producers { partition, upto }) = self.reads.end(ticket) else { return };
        let Some(ours) = self.partitions.get_mut(&partition) else { return };
        ours.log.on_producers(states, upto);
        if let Some(leader) = ours.follower().map(|follower| follower.leader) {
            self.run_fetcher(now, leader, fx);
        }
    }

    pub(super) fn on_offset_for_leader_epoch(
        &mut self,
        asker: Asker,
        request: &OffsetForLeaderEpochRequest,
        fx: &mut Effects<Effect>,
    ) {
        let topics = request.topics.iter().map(|topic| {
            let rows = topic.partitions.iter().map(|wanted| {
                let name = TopicPartition { topic: topic.name.clone(), partition: wanted.partition };
                match self.partitions.get(&name) {
                    Some(partition) => epoch_end(partition, wanted),
                    None => crate::api::kafka::EpochEndOffset {
                        error: self.missing(&name),
                        partition: wanted.partition,
                        ..Default::default()
                    },
                }
            });
            OffsetForLeaderTopicResponse {
                name: topic.name.clone(),
                partitions: rows.collect(),
                ..OffsetForLeaderTopicResponse::default()
            }
        });
        let response = OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() };
        self.answer(asker, response.into(), fx);
    }
}

/// An offset that is known, or one the disk has to find.
enum Listed {
    At(Offset, LeaderEpoch),
    ByTime(Load),
}

/// The partitions that a request names more than once, in order: it is a mistake (`duplicatePartitions`), and may not
/// cost more than it is long.
pub(super) fn named_twice<'a>(named: impl Iterator<Item = (&'a Arc<str>, i32)>) -> Vec<(&'a Arc<str>, i32)> {
    let mut named: Vec<(&Arc<str>, i32)> = named.collect();
    // As nearly everybody sends them: nothing has to be sorted for each Produce.
    if named.is_sorted_by(|a, b| a < b) {
        return Vec::new();
    }
    sort_by(&mut named, Ord::cmp);
    let mut twice: Vec<(&Arc<str>, i32)> = named.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    twice.dedup();
    twice
}

fn answered_row(
    row: ListOffsetsPartitionResponse,
    version: i16,
    offset: Offset,
    timestamp: i64,
    leader_epoch: LeaderEpoch,
) -> ListOffsetsPartitionResponse {
    let old_style_offsets = if version == 0 && offset >= Offset::ZERO { vec![offset] } else { Vec::new() };
    ListOffsetsPartitionResponse { offset, timestamp, leader_epoch, old_style_offsets, ..row }
}

/// KIP-207's answer, as older clients know it.
fn not_available(version: i16) -> ErrorCode {
    if version >= 5 { ErrorCode::OFFSET_NOT_AVAILABLE } else { ErrorCode::LEADER_NOT_AVAILABLE }
}

/// Clients that know KIP-392 (version 11) may read from followers.
fn reader_of(request: &FetchRequest, version: i16) -> Reader {
    match request.replica() {
        Some(id) => Reader::Replica(id),
        None => Reader::Consumer { committed: request.isolation_level == 1, at_leader: version < 11 },
    }
}

fn partitions_of(request: &FetchRequest) -> impl Iterator<Item = (TopicPartition, &FetchPartition)> {
    request.topics.iter().flat_map(|topic| {
        let name = |wanted: &FetchPartition| TopicPartition { topic: topic.name.clone(), partition: wanted.partition };
        topic.partitions.iter().map(move |wanted| (name(wanted), wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_answers_is_found_again() {
        let read = |upto| Read::Producers { partition: TopicPartition::new("t", 0), upto: Offset(upto) };
        let mut reads = Reads::default();
        let tickets: Vec<Ticket> = (0..3).map(|upto| reads.begin(read(upto))).collect();
        assert_eq!(tickets, [Ticket(1), Ticket(2), Ticket(3)]);
        assert_eq!(reads.end(Ticket(2)), Some(read(1)));
        assert_eq!(reads.end(Ticket(2)), None, "only once");
        assert_eq!(reads.end(Ticket(1)), Some(read(0)));
        assert_eq!(reads.begin(read(3)), Ticket(4));
        assert_eq!((reads.end(Ticket(4)), reads.end(Ticket(3))), (Some(read(3)), Some(read(2))));
        assert_eq!((reads.end(Ticket(0)), reads.end(Ticket(5)), reads.open.len()), (None, None, 0));
    }

    #[test]
    fn a_partition_is_named_once() {
        let names: [Arc<str>; 2] = ["a".into(), "b".into()];
        let rows = [(0, 0), (0, 1), (1, 2), (1, 2), (1, 2), (0, 1), (0, 3)];
        let twice = named_twice(rows.iter().map(|(name, partition)| (&names[*name], *partition)));
        assert_eq!(twice, [(&"a".into(), 1), (&"b".into(), 2)]);
    }
}
