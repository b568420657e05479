//! How much a host takes up before it performs and lets its sockets have the thread. Influences only what is done
//! together, never what is done; so nothing of it is recorded.

use bytes::Bytes;
use glasshouse_core::api::kafka::{FetchResponse, Response};
use glasshouse_core::api::keeper;
use glasshouse_core::api::peer::PeerMessage;
use glasshouse_core::api::storage::StoreOp;
use glasshouse_core::node::{Effect, Reply};
use glasshouse_core::nodes::Node;
use glasshouse_core::record::offset::LogRange;
use std::time::{Duration, Instant};

/// Effects after which a turn ends, however much still waits.
const BATCH: usize = 512;
/// Inputs after which it ends as well: many cause nothing to be performed.
const INPUTS: usize = 1024;
/// How long it may take, about: some inputs cost as much as a thousand others, and peers that hear nothing meanwhile
/// hold elections.
const SPAN: Duration = Duration::from_millis(20);
/// Bytes that it may have to send or to write, about: more are handed to the links before any of them has written, and
/// to a disk that may be slow.
const BYTES: usize = 4 << 20;
/// Effects that make, replace or remove files, each of which may take milliseconds, after which nothing is taken up that
/// the node itself wants to go on with.
const FILES: usize = 32;

/// One turn of a host, so far.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) began: Instant,
    /// What was due was done in it.
    pub(crate) woken: bool,
    /// Inputs that were taken up.
    pub(crate) taken: usize,
    effects: usize,
    files: usize,
    bytes: usize,
}

impl Turn {
    pub(crate) fn new() -> Turn {
        Turn { began: Instant::now(), woken: false, taken: 0, effects: 0, files: 0, bytes: 0 }
    }

    /// Something was stepped, and this is wanted; `records` says how many bytes of records a range has, about.
    pub(crate) fn add(&mut self, effects: &[Effect], records: impl Fn(&LogRange) -> u64) {
        self.effects += effects.len();
        self.files += effects.iter().filter(|effect| is_about_files(effect)).count();
        let bytes = effects.iter().map(|effect| length(effect, &records)).fold(0, usize::saturating_add);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether it should end. Of the first two inputs one may be a wake, which costs what it likes each time: whoever
    /// waits behind it is heard all the same.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.taken > 1
            && (self.effects >= BATCH
                || self.taken >= INPUTS
                || self.bytes >= BYTES
                || now.saturating_duration_since(self.began) >= SPAN)
    }

    /// Whether the node may go on with what it wants itself.
    pub(crate) fn may_go_on(&self) -> bool {
        self.files < FILES
    }
}

/// How many bytes of records a range has, as far as the machine knows: of what was appended a while ago it may be fewer. To
/// read them takes as long as they are many, and meanwhile the node hears nothing, its own timers among it.
pub(crate) fn records_of(node: &Node, range: &LogRange) -> u64 {
    let partition = node.as_broker().and_then(|broker| broker.partition(&range.partition));
    let there = partition.map_or(0, |partition| partition.log.bytes_between(range.from, range.upto));
    there.min(range.max_bytes.into())
}

/// Bytes that it sends or writes, where they may be many and that is seen at a glance.
fn length(effect: &Effect, records: impl Fn(&LogRange) -> u64) -> usize {
    match effect {
        Effect::Send { message: PeerMessage::Quorum(packet), .. } => packet.data.as_ref().map_or(0, Bytes::len),
        Effect::Send { message: PeerMessage::Response { response: Response::Fetch(fetch), .. }, .. }
        | Effect::Reply { reply: Reply::Kafka { body: Response::Fetch(fetch), .. }, .. } => fetched(fetch, records),
        Effect::Reply { reply: Reply::Keeper(keeper::Reply::Answer { body: Some(body), .. }), .. } => body.length(),
        Effect::Reply { reply: Reply::Keeper(keeper::Reply::Text(text)), .. } => text.len(),
        Effect::Store { op: StoreOp::Append { batches }, .. } => {
            batches.iter().map(|batch| batch.size() as usize).sum()
        }
        Effect::Store { op: StoreOp::AppendTxn { txn, .. }, .. } => txn.len(),
        _ => 0,
    }
}

fn fetched(fetch: &FetchResponse<LogRange>, records: impl Fn(&LogRange) -> u64) -> usize {
    let ranges = fetch.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|part| part.records.as_ref());
    usize::try_from(ranges.map(records).fold(0, u64::saturating_add)).unwrap_or(usize::MAX)
}

/// Whether it makes, replaces or removes files.
fn is_about_files(effect: &Effect) -> bool {
    use StoreOp::{CreateLog, DeleteLog, DropSegments, LeaderEpochs, Producers, RestartLog, Roll};
    let Effect::Store { op, .. } = effect else { return false };
    matches!(
        op,
        CreateLog { .. }
            | DeleteLog
            | DropSegments { .. }
            | LeaderEpochs { .. }
            | Producers { .. }
            | RestartLog { .. }
            | Roll { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::api::kafka::{FetchPartitionResponse, FetchTopicResponse};
    use glasshouse_core::api::keeper::{Body, ErrorCode};
    use glasshouse_core::api::peer::{Channel, ChannelKind, PacketType, QuorumPacket};
    use glasshouse_core::api::storage::Lane;
    use glasshouse_core::id::{ConnId, NodeId, TopicPartition, Zxid};
    use glasshouse_core::record::offset::Offset;

    fn proposal(length: usize) -> Effect {
        let channel = Channel { peer: NodeId::keeper(2), kind: ChannelKind::Quorum, generation: 1 };
        let packet = QuorumPacket::new(PacketType::Proposal, Zxid::ZERO, Some(vec![0; length].into()));
        Effect::Send { channel, message: PeerMessage::Quorum(packet) }
    }

    fn written(length: usize) -> Effect {
        let txn = vec![0; length].into();
        Effect::Store { lane: Lane::Journal, op: StoreOp::AppendTxn { zxid: Zxid::ZERO, txn } }
    }

    fn children(names: usize) -> Effect {
        let body = Body::Children { names: vec!["a-name-of-16-byte".into(); names], stat: None };
        let answer = keeper::Reply::Answer { xid: 1, zxid: Zxid::ZERO, err: ErrorCode::Ok, body: Some(body) };
        Effect::Reply { conn: ConnId(1), reply: Reply::Keeper(answer) }
    }

    /// An answer to a consumer, with so many records.
    fn fetched(records: i64) -> Effect {
        let (from, upto) = (Offset(0), Offset(records));
        let range = LogRange { partition: TopicPartition::new("t", 0), from, upto, max_bytes: 1 << 20 };
        let partition = FetchPartitionResponse { records: Some(range), ..Default::default() };
        let topic = FetchTopicResponse { partitions: vec![partition], ..Default::default() };
        let body = FetchResponse { topics: vec![topic], ..Default::default() }.into();
        Effect::Reply { conn: ConnId(1), reply: Reply::Kafka { version: 4, correlation: 1, body } }
    }

    /// One that took up so many inputs, each of which wants this; a record has 100,000 bytes.
    fn turn(inputs: usize, wanted: &[Effect]) -> Turn {
        let mut turn = Turn::new();
        for _ in 0..inputs {
            turn.taken += 1;
            turn.add(wanted, |range| (range.upto.0 - range.from.0) as u64 * 100_000);
        }
        turn
    }

    #[test]
    fn what_is_long_ends_a_turn_and_so_does_what_takes_long() {
        let is_over = |turn: Turn| turn.is_over(turn.began);
        assert!(!is_over(turn(3, &[proposal(1 << 20)])));
        assert!(is_over(turn(4, &[proposal(1 << 20)])));
        assert!(is_over(turn(2, &[children(130_000)])));
        assert!(!is_over(turn(3, &[written(1 << 20)])) && is_over(turn(4, &[written(1 << 20)])));
        assert!(!is_over(turn(2, &[fetched(10)])) && is_over(turn(2, &[fetched(30)])), "records may be long");
        assert!(!is_over(turn(511, &[proposal(10)])) && is_over(turn(512, &[proposal(10)])));
        assert!(!is_over(turn(1023, &[])) && is_over(turn(1024, &[])));
        let slow = turn(2, &[]);
        assert!(!slow.is_over(slow.began + SPAN / 2) && slow.is_over(slow.began + SPAN));
    }

    #[test]
    fn two_inputs_are_taken_whatever_they_cost() {
        let costly = turn(1, &[proposal(BYTES)]);
        assert!(!costly.is_over(costly.began + 2 * SPAN), "a wake alone would starve everybody");
    }
}
