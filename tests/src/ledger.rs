//! A second judge of what producers and consumers of one partition were told, simple enough to be believed: the numbers
//! that lie in the log, against the numbers that were sent, acknowledged and read. Unlike the core's histories it sees a
//! number that lies there twice under two identities of one producer, a producer's numbers out of order, and a reader
//! that leaves something out or sees it again.

use glasshouse_core::id::{NodeId, TopicPartition};
use glasshouse_core::note::client::ClientNote;
use std::collections::BTreeMap;

/// One partition's log in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// What lies below was dropped, as retention may.
    pub start: i64,
    /// From there on, without a gap.
    pub numbers: Vec<u64>,
}

impl Log {
    fn at(&self, offset: i64) -> Option<u64> {
        usize::try_from(offset - self.start).ok().and_then(|at| self.numbers.get(at)).copied()
    }
}

/// What is wrong with what was told about `partition`, in the order in which each client was told.
pub fn wrongs<'a>(
    partition: &TopicPartition,
    log: &Log,
    told: impl IntoIterator<Item = (NodeId, &'a ClientNote)>,
) -> Vec<String> {
    let mut wrongs = Vec::new();
    let mut places: BTreeMap<u64, i64> = BTreeMap::new();
    let mut highest: BTreeMap<u64, u64> = BTreeMap::new();
    for (offset, number) in (log.start..).zip(&log.numbers) {
        if let Some(before) = places.insert(*number, offset) {
            wrongs.push(format!("{partition} holds {number} twice, at {before} and at {offset}"));
        }
        let producer = number >> 40;
        let before = highest.entry(producer).or_default();
        if *number < *before {
            wrongs.push(format!("{partition} holds {number} of producer {producer} at {offset}, behind {before}"));
        }
        *before = (*before).max(*number);
    }
    let mut sent = BTreeMap::new();
    let mut next: BTreeMap<NodeId, i64> = BTreeMap::new();
    for (client, note) in told {
        match note {
            ClientNote::Produces { partition: at, first, .. } if at == partition => drop(sent.insert(*first, client)),
            ClientNote::Acknowledged { partition: at, base, first, acks: -1, .. } if at == partition => {
                let place = places.get(first).copied();
                // −1: it is there, and nobody knows where any more.
                let there = place.is_some() && (base.0 < 0 || place == Some(base.0));
                let dropped = place.is_none() && (0..log.start).contains(&base.0);
                if !there && !dropped {
                    wrongs.push(format!(
                        "{client} was told that {first} lies at {base} of {partition}; it lies at {place:?}, and there lies {:?}",
                        log.at(base.0)
                    ));
                }
            }
            ClientNote::Read { partition: at, base, first, .. } if at == partition => {
                let expected = next.get(&client).copied().unwrap_or(0);
                // The beginning of a log may go while it is read.
                let jumps = base.0 > expected && base.0 <= log.start;
                if base.0 != expected && !jumps {
                    wrongs.push(format!("{client} reads {partition} at {base}, where {expected} comes next"));
                }
                if base.0 >= log.start && log.at(base.0) != Some(*first) {
                    let held = log.at(base.0);
                    wrongs.push(format!("{client} read {first} at {base} of {partition}, where {held:?} lies"));
                }
                next.insert(client, base.0 + 1);
            }
            _ => {}
        }
    }
    let end = log.start + log.numbers.len() as i64;
    for (client, next) in next {
        if next != end {
            wrongs.push(format!("{client} read {partition} up to {next}, it ends at {end}"));
        }
    }
    for (number, offset) in places.iter().filter(|(number, _)| !sent.contains_key(number)) {
        wrongs.push(format!("{partition} holds {number} at {offset}, which nobody sent"));
    }
    wrongs
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::record::offset::Offset;

    fn here() -> TopicPartition {
        TopicPartition::new("orders", 0)
    }

    fn sent(first: u64) -> ClientNote {
        ClientNote::Produces { partition: here(), first, records: 1 }
    }

    fn acknowledged(first: u64, base: i64) -> ClientNote {
        ClientNote::Acknowledged { partition: here(), base: Offset(base), records: 1, first, acks: -1 }
    }

    fn read(first: u64, base: i64) -> ClientNote {
        ClientNote::Read { partition: here(), base: Offset(base), records: 1, first, high_watermark: Offset(9) }
    }

    /// Numbers 1 to 4 were sent; these lie there, and this was told besides.
    fn judge(numbers: &[u64], notes: &[ClientNote]) -> Vec<String> {
        let log = Log { start: 0, numbers: numbers.to_vec() };
        let all: Vec<ClientNote> = (1..=4).map(sent).chain(notes.iter().cloned()).collect();
        wrongs(&here(), &log, all.iter().map(|note| (NodeId::Client(1), note)))
    }

    #[track_caller]
    fn fires(numbers: &[u64], notes: &[ClientNote], why: &str) {
        let told = judge(numbers, notes);
        assert!(told.iter().any(|wrong| wrong.contains(why)), "{why:?} is not in {told:?}");
    }

    #[test]
    fn what_is_true_is_not_wrong() {
        let notes = [acknowledged(2, 1), acknowledged(3, -1), read(1, 0), read(2, 1), read(3, 2)];
        assert_eq!(judge(&[1, 2, 3], &notes), Vec::<String>::new());
        assert_eq!(judge(&[1, 3], &[]), Vec::<String>::new(), "2 was never acknowledged");
    }

    #[test]
    fn a_lost_acknowledgement_is_seen() {
        fires(&[1, 2], &[acknowledged(3, 2)], "told that 3 lies at 2");
        fires(&[1, 2], &[acknowledged(3, -1)], "told that 3 lies at -1");
        fires(&[1, 3], &[acknowledged(2, 1)], "there lies Some(3)");
    }

    #[test]
    fn a_duplicate_and_disorder_are_seen() {
        fires(&[1, 2, 2], &[], "holds 2 twice, at 1 and at 2");
        fires(&[2, 1], &[], "holds 1 of producer 0 at 1, behind 2");
        fires(&[1, 5], &[], "holds 5 at 1, which nobody sent");
    }

    #[test]
    fn a_reader_that_goes_back_or_leaves_out_is_seen() {
        fires(&[1, 2, 3], &[read(1, 0), read(2, 1), read(2, 1)], "reads orders-0 at 1, where 2 comes next");
        fires(&[1, 2, 3], &[read(1, 0), read(3, 2)], "reads orders-0 at 2, where 1 comes next");
        fires(&[1, 2], &[read(1, 0), read(4, 1)], "read 4 at 1 of orders-0, where Some(2) lies");
        fires(&[1, 2], &[read(1, 0)], "up to 1, it ends at 2");
    }

    #[test]
    fn what_retention_dropped_is_missed_by_nobody() {
        let log = Log { start: 2, numbers: vec![3, 4] };
        let notes: Vec<ClientNote> =
            (1..=4).map(sent).chain([acknowledged(1, 0), read(1, 0), read(3, 2), read(4, 3)]).collect();
        let told = wrongs(&here(), &log, notes.iter().map(|note| (NodeId::Client(1), note)));
        assert_eq!(told, Vec::<String>::new());
    }
}
