//! What is owed of a partition's records, and what is told when some are gone: as a loss that the settings allow, or as
//! a violation. Knows the ghosts that [`super`] keeps, not how it learns of them.

use super::*;

/// A restart cost a replica its log from `end` on.
pub(super) fn lose(
    ghost: &mut Ghost,
    replica: &mut Replica,
    id: BrokerId,
    partition: &TopicPartition,
    end: i64,
    restart: Restart,
    find: &mut Findings,
) {
    let Restart { faults, flush, in_sync } = restart;
    let before = replica.end(&ghost.committed);
    let lost = replica.cut(&ghost.committed, end);
    if !faults.has_lost_cache() && !faults.lying {
        find.fire("LOG-8", || {
            format!(
                "broker {id} restarted and {partition} ends at {end}, not at {before}, though only its process ended"
            )
        });
    } else if !flush || faults.has_bad_disk() {
        let from = replica.damaged.map_or(end, |damage| damage.from.min(end));
        let counted = in_sync || !flush || replica.damaged.is_some_and(|damage| damage.counted);
        replica.damaged = Some(Damage { from, upto: before, how: faults.how(), counted });
        if !flush {
            ghost.torn = Some(ghost.torn.map_or(end, |torn| torn.min(end)));
        }
    } else if let Some(lost) = lost.filter(|lost| in_sync && replica.damaged.is_none_or(|damage| damage.from > *lost)) {
        let hw = ghost.high_watermark;
        find.fire("LOG-8", || {
            format!(
                "broker {id} is in the ISR of {partition} and lost offset {lost}, committed below {hw}: it had said that it is on disk"
            )
        });
    }
}

/// A deletion may not have been on disk yet, though another log was begun since: if the last one does not explain what was
/// found, what is left of the newest that does is there again.
pub(super) fn bring_back(ghost: &mut Ghost, id: BrokerId, found: Recovered) {
    let mut deleted = ghost.deleted.remove(&id).unwrap_or_default();
    let explains = |replica: &Replica| {
        replica.is_found(&ghost.committed, found) || replica.without_cuts(&ghost.committed, found).is_some()
    };
    let at = match ghost.replicas.get(&id) {
        Some(last) if explains(last) => return,
        Some(_) => deleted.iter().rposition(explains),
        None => deleted.iter().rposition(explains).or(deleted.len().checked_sub(1)),
    };
    if let Some(mut replica) = at.map(|at| deleted.swap_remove(at)) {
        if replica.without_cuts(&ghost.committed, found).is_none() {
            replica.cut(&ghost.committed, found.end);
        }
        ghost.replicas.insert(id, replica);
    }
}

/// A leader that lost the end of its log may write those offsets again in the epochs it has led in.
pub(super) fn note_rewrite(ghost: &mut Ghost, id: BrokerId, from: i64, faults: Faults) {
    if !faults.has_lost_cache() && !faults.lying {
        return;
    }
    let Some(epoch) = ghost.leaders.iter().rev().find(|(_, leader)| **leader == id).map(|(epoch, _)| *epoch) else {
        return;
    };
    let (before, upto, how) = ghost.rewritten.unwrap_or((from, epoch, faults.how()));
    ghost.rewritten = Some((before.min(from), upto.max(epoch), how));
}

/// Why committed batches from `offset` on may be missing.
pub(super) fn excuse(ghost: &Ghost, replica: &Replica, offset: i64) -> Option<String> {
    if let Some(why) = ghost.may_be_gone(offset) {
        return Some(why.to_owned());
    }
    let damage = replica.damaged.filter(|damage| damage.from <= offset)?;
    Some(format!("{} took it from this replica", damage.how))
}

/// The committed history grows by what the leader has below its high watermark.
pub(super) fn commit(ghost: &mut Ghost, leader: &mut Replica, to: i64) {
    leader.advance(&ghost.committed);
    if leader.agreed != ghost.committed.len() {
        return;
    }
    while let Some(batch) = leader.tail.pop_front_if(|batch| batch.last < to) {
        ghost.committed.push(batch);
        leader.agreed += 1;
    }
    ghost.committed.keep_newest(KEEP);
    ghost.high_watermark = to;
}

/// LOG-1: below its high watermark a replica holds what was committed.
pub(super) fn match_below(
    ghost: &Ghost,
    replica: &Replica,
    id: BrokerId,
    partition: &TopicPartition,
    find: &mut Findings,
) {
    let below = replica.high_watermark.min(ghost.high_watermark);
    let differs = match (replica.tail.front(), ghost.committed.get(replica.agreed)) {
        (Some(front), _) => front.base < below,
        (None, Some(missing)) => missing.last < below && missing.base >= replica.start,
        (None, None) => false,
    };
    let at = ghost.committed.get(replica.agreed).map_or(below, |batch| batch.base);
    if differs && ghost.has_joined(replica) && !ghost.is_torn(at) {
        find.fire("LOG-1", || {
            format!("broker {id} differs from the committed log of {partition} at offset {at}, below its high watermark {below}")
        });
    }
}

/// LOG-3: who leads has all that was committed; or it was allowed to be lost, and the history is what the leader has.
pub(super) fn require_complete(ghost: &mut Ghost, id: BrokerId, partition: &TopicPartition, find: &mut Findings) {
    // A leader that started again has not heard that it leads.
    let elected = ghost.leader().filter(|(_, leader)| *leader == id).map(|(epoch, _)| epoch);
    let Some(replica) = ghost.replicas.get_mut(&id) else { return };
    replica.advance(&ghost.committed);
    let agreed = replica.agreed;
    let Some(missing) = ghost.committed.get(agreed).filter(|batch| batch.base >= replica.start).copied() else {
        // Another leader had lost them before, and this one still has them: they are history again.
        if ghost.may_be_gone(ghost.high_watermark).is_some() {
            take_history_of(ghost, id);
        }
        return;
    };
    let epoch = replica.leads.or(elected).unwrap_or(-1);
    let mut damaged = ghost.replicas.values().filter_map(|other| other.damaged);
    let damaged = damaged.find(|damage| damage.counted && damage.from <= missing.base);
    let why = if ghost.unclean.is_some_and(|unclean| unclean <= epoch) {
        format!("broker {id} was elected uncleanly in epoch {epoch}")
    } else if ghost.dropped.is_some_and(|dropped| dropped < epoch) {
        "a reassignment was called off when only replicas that it was adding were in sync".to_owned()
    } else if let Some(why) = ghost.may_be_gone(missing.base) {
        why.to_owned()
    } else if let Some(Damage { how, .. }) = damaged {
        format!("{how} took them from a replica that still counted as in sync")
    } else {
        find.fire("LOG-3", || {
            format!(
                "broker {id} leads {partition} in epoch {epoch} without offset {}, committed in epoch {}",
                missing.base, missing.epoch
            )
        });
        return;
    };
    let records: i64 = ghost.committed.iter_from(agreed).map(Batch::records).sum();
    find.allow("LOG-3", || {
        format!("{partition} lost {records} committed records from offset {} on: {why}", missing.base)
    });
    let Ghost { committed, replicas, deleted, .. } = ghost;
    for other in replicas.values_mut().chain(deleted.values_mut().flatten()) {
        other.retreat(committed, agreed);
        other.damaged = None;
    }
    committed.truncate(agreed);
    ghost.high_watermark = missing.base;
    give_up(ghost, missing.base, epoch, why);
    take_history_of(ghost, id);
}

/// What the leader has below its own high watermark is the history from here on.
fn take_history_of(ghost: &mut Ghost, id: BrokerId) {
    if let Some(mut replica) = ghost.replicas.remove(&id) {
        let to = replica.high_watermark;
        if to > ghost.high_watermark {
            commit(ghost, &mut replica, to);
        }
        ghost.replicas.insert(id, replica);
    }
}

/// A new leader may have below its own high watermark what was given up under the last one: its readers see it, and it is
/// the history again.
pub(super) fn take_back(ghost: &mut Ghost, id: BrokerId, epoch: i32) {
    let Some(mut replica) = ghost.replicas.remove(&id) else { return };
    let to = replica.high_watermark;
    let given_up = ghost.given_up.clone().filter(|(from, _)| *from < to);
    if let Some((from, why)) = given_up.filter(|_| to > ghost.high_watermark) {
        give_up(ghost, from, epoch, why);
        commit(ghost, &mut replica, to);
    }
    ghost.replicas.insert(id, replica);
}

pub(super) fn give_up(ghost: &mut Ghost, from: i64, epoch: i32, why: String) {
    ghost.resumed = ghost.resumed.max(epoch);
    let from = ghost.given_up.as_ref().map_or(from, |(before, _)| from.min(*before));
    ghost.given_up = Some((from, why));
}

/// ISR-4: what is committed is on every member of the ISR that the ensemble knows.
pub(super) fn require_in_sync(
    ghost: &mut Ghost,
    partition: &TopicPartition,
    in_sync: &[BrokerId],
    find: &mut Findings,
) {
    let Ghost { committed, replicas, resumed, torn, .. } = ghost;
    for id in in_sync {
        let lacks = match replicas.get_mut(id) {
            Some(replica) => {
                replica.advance(committed);
                let missing = committed.get(replica.agreed).filter(|batch| batch.base >= replica.start);
                let excused = replica.damaged.is_some_and(|damage| damage.counted) || replica.epoch < *resumed;
                missing.filter(|_| !excused).map(|batch| batch.base)
            }
            None => committed.get(committed.floor()).map(|batch| batch.base),
        };
        if let Some(lacks) = lacks.filter(|lacks| torn.is_none_or(|from| *lacks < from)) {
            find.fire("ISR-4", || {
                format!(
                    "offset {lacks} of {partition} is committed and not on broker {id}, which is in the ISR {}",
                    listed(in_sync)
                )
            });
        }
    }
}
