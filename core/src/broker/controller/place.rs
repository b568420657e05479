//! Where the replicas of new partitions go (protocol.md C.10, Kafka's `AdminUtils`): spread over brokers, and over
//! racks where brokers have them. Pure; chance is an argument.

use crate::id::BrokerId;
use crate::ordered::{OrdMap, OrdSet, sort_by};
use crate::rng::Rng;
use std::sync::Arc;

/// A broker that may hold replicas.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    pub id: BrokerId,
    pub rack: Option<Arc<str>>,
}

/// Why nothing was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// No partition, or no replica, was asked for.
    Nothing,
    /// More replicas than brokers.
    TooFewBrokers { brokers: u32 },
    /// Some brokers have a rack and some have none.
    RacksMissing,
}

/// Where counting starts. New topics draw it, added partitions go on from their topic's first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    pub index: u64,
    pub shift: u64,
    pub partition: u64,
}

impl Start {
    pub fn drawn(brokers: u64, rng: &mut Rng) -> Start {
        let brokers = brokers.max(1);
        Start { index: rng.below(brokers), shift: rng.below(brokers), partition: 0 }
    }

    /// For partitions added to a topic whose partition 0 begins with `first`, and which has `partitions` already.
    pub fn after(first: BrokerId, partitions: u64, seats: &[Seat]) -> Start {
        let mut ids: Vec<BrokerId> = seats.iter().map(|seat| seat.id).collect();
        sort_by(&mut ids, Ord::cmp);
        let index = ids.iter().position(|id| *id >= first).unwrap_or(0) as u64;
        Start { index, shift: index, partition: partitions }
    }
}

/// The replicas of `partitions` new partitions, `replication` each, the preferred leader first.
///
/// # Errors
/// See [`Refused`].
pub fn place(seats: &[Seat], partitions: u32, replication: u32, start: Start) -> Result<Vec<Vec<BrokerId>>, Refused> {
    if partitions == 0 || replication == 0 {
        return Err(Refused::Nothing);
    }
    if replication as usize > seats.len() {
        return Err(Refused::TooFewBrokers { brokers: seats.len() as u32 });
    }
    let mut racks: OrdMap<&str, Vec<BrokerId>> = OrdMap::new();
    for seat in seats {
        racks.entry(seat.rack.as_deref().unwrap_or_default()).or_default().push(seat.id);
    }
    let with_rack = seats.iter().filter(|seat| seat.rack.is_some()).count();
    if with_rack != 0 && with_rack != seats.len() {
        return Err(Refused::RacksMissing);
    }
    for ids in racks.values_mut() {
        sort_by(ids, Ord::cmp);
    }
    let ring = alternated(&racks);
    let racks_of: OrdMap<BrokerId, &str> =
        racks.iter().flat_map(|(rack, ids)| ids.iter().map(|id| (*id, *rack))).collect();
    let rack_count = if with_rack == 0 { 1 } else { racks.len() };
    let n = ring.len() as u64;
    let mut shift = start.shift;
    let mut placed = Vec::with_capacity(partitions as usize);
    for partition in start.partition..start.partition + u64::from(partitions) {
        if partition > 0 && partition % n == 0 {
            shift += 1;
        }
        let first = (partition + start.index) % n;
        placed.push(spread(&ring, &racks_of, first, shift * rack_count as u64, replication as usize));
    }
    Ok(placed)
}

/// One partition's replicas: from `first` on around the ring, one to a rack until every rack has one.
fn spread(
    ring: &[BrokerId],
    racks: &OrdMap<BrokerId, &str>,
    first: u64,
    shift: u64,
    replication: usize,
) -> Vec<BrokerId> {
    let n = ring.len() as u64;
    let rack_count = racks.values().collect::<OrdSet<_>>().len();
    let leader = ring[first as usize];
    let mut replicas = vec![leader];
    let mut racks_used = OrdSet::from([racks[&leader]]);
    let mut step = 0;
    while replicas.len() < replication {
        let id = ring[((first + 1 + (shift + step) % (n - 1)) % n) as usize];
        step += 1;
        let rack_is_free = !racks_used.contains(racks[&id]) || racks_used.len() == rack_count;
        if rack_is_free && !replicas.contains(&id) {
            replicas.push(id);
            racks_used.insert(racks[&id]);
        }
    }
    replicas
}

/// The brokers in turn by rack: the first of every rack, the second of every rack, and so on.
fn alternated(racks: &OrdMap<&str, Vec<BrokerId>>) -> Vec<BrokerId> {
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| racks.values().filter_map(move |ids| ids.get(at).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(of: &[(i32, &str)]) -> Vec<Seat> {
        let rack = |rack: &str| (!rack.is_empty()).then(|| Arc::from(rack));
        of.iter().map(|(id, name)| Seat { id: BrokerId(*id), rack: rack(name) }).collect()
    }

    fn numbers(placed: Vec<Vec<BrokerId>>) -> Vec<Vec<i32>> {
        placed.into_iter().map(|replicas| replicas.into_iter().map(|id| id.0).collect()).collect()
    }

    /// Kafka's AdminRackAwareTest and AdminTest use these tables.
    #[test]
    fn without_racks_replicas_go_around_the_brokers() {
        let brokers = seats(&[(0, ""), (1, ""), (2, ""), (3, ""), (4, "")]);
        let placed = place(&brokers, 10, 3, Start { index: 0, shift: 0, partition: 0 });
        assert_eq!(
            placed.map(numbers),
            Ok(vec![
                vec![0, 1, 2],
                vec![1, 2, 3],
                vec![2, 3, 4],
                vec![3, 4, 0],
                vec![4, 0, 1],
                vec![0, 2, 3],
                vec![1, 3, 4],
                vec![2, 4, 0],
                vec![3, 0, 1],
                vec![4, 1, 2],
            ])
        );
    }

    #[test]
    fn with_racks_every_partition_spans_them() {
        let brokers = seats(&[(0, "rack1"), (1, "rack3"), (2, "rack3"), (3, "rack2"), (4, "rack2"), (5, "rack1")]);
        let placed = numbers(place(&brokers, 7, 3, Start { index: 0, shift: 0, partition: 0 }).unwrap());
        assert_eq!(placed, [[0, 3, 1], [3, 1, 5], [1, 5, 4], [5, 4, 2], [4, 2, 0], [2, 0, 3], [0, 4, 2],]);
    }

    #[test]
    fn more_replicas_than_racks_use_a_rack_twice_but_no_broker() {
        let brokers = seats(&[(0, "a"), (1, "a"), (2, "b"), (3, "b")]);
        for replicas in place(&brokers, 8, 3, Start { index: 1, shift: 2, partition: 0 }).unwrap() {
            assert_eq!(replicas.iter().collect::<OrdSet<_>>().len(), 3, "{replicas:?}");
            assert_eq!(replicas.iter().map(|id| id.0 / 2).collect::<OrdSet<_>>().len(), 2, "{replicas:?}");
        }
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let start = Start { index: 0, shift: 0, partition: 0 };
        assert_eq!(place(&seats(&[(1, "")]), 1, 2, start), Err(Refused::TooFewBrokers { brokers: 1 }));
        assert_eq!(place(&seats(&[(1, "")]), 0, 1, start), Err(Refused::Nothing));
        assert_eq!(place(&seats(&[(1, ""), (2, "x")]), 1, 1, start), Err(Refused::RacksMissing));
        assert_eq!(numbers(place(&seats(&[(1, "")]), 2, 1, start).unwrap()), [[1], [1]]);
    }
}
