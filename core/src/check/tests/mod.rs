//! Every invariant is seen to fire, and a legal near miss of it not to.

mod afterwards;
mod asked;
mod history;
mod isr;
mod liveness;
mod log;
mod tree;
mod watches;
mod whole;
mod zab;

use super::log::Logs;
use super::{Findings, INVARIANTS};
use crate::id::{BrokerId, LeaderEpoch, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use crate::record::batch::{Batch, BatchBuilder, NewRecord, Stamped};
use crate::record::offset::Offset;

pub const A: BrokerId = BrokerId(1);
pub const B: BrokerId = BrokerId(2);
pub const C: BrokerId = BrokerId(3);

pub fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

/// What was reported, by name.
pub fn fired(find: &Findings) -> Option<&'static str> {
    find.fired.as_ref().map(|violation| violation.invariant)
}

/// The names under which losses were allowed.
pub fn allowed(find: &Findings) -> Vec<&'static str> {
    find.allowed.iter().map(|loss| loss.invariant).collect()
}

/// A batch of one record whose value is `value`.
pub fn batch(base: i64, epoch: i32, value: u64) -> Stamped {
    let plain = BatchBuilder::default().record(NewRecord::new(0, None, Some(&value.to_be_bytes()))).build();
    Batch::take(&plain).unwrap().stamp(Offset(base), LeaderEpoch(epoch))
}

/// The same by an idempotent producer.
pub fn numbered(base: i64, epoch: i32, value: u64, producer_epoch: i16, sequence: i32) -> Stamped {
    let builder = BatchBuilder::default().record(NewRecord::new(0, None, Some(&value.to_be_bytes())));
    let plain = builder.idempotent(ProducerId(9), ProducerEpoch(producer_epoch), sequence).build();
    Batch::take(&plain).unwrap().stamp(Offset(base), LeaderEpoch(epoch))
}

/// A partition on brokers 1 to 3.
pub fn replicated() -> (Logs, Findings) {
    let mut logs = Logs::default();
    for id in [A, B, C] {
        logs.on_create(id, &orders(), TopicId([1; 16]));
    }
    (logs, Findings::default())
}

/// Broker 1 leads in epoch 1, and offsets 0 and 1 are committed on brokers 1 and 2.
pub fn two_committed() -> (Logs, Findings) {
    let (mut logs, mut find) = replicated();
    logs.on_leader(A, &orders(), LeaderEpoch(1), &mut find);
    for id in [A, B] {
        logs.on_append(id, &orders(), &[batch(0, 1, 10), batch(1, 1, 11)], &mut find);
    }
    logs.on_leader_high_watermark(A, &orders(), 2, Some(&[A, B]), &mut find);
    assert_eq!(fired(&find), None);
    (logs, find)
}

#[test]
fn names_are_unique_and_sentences_end() {
    for (at, invariant) in INVARIANTS.iter().enumerate() {
        assert!(invariant.sentence.ends_with('.'), "{}", invariant.name);
        assert!(!INVARIANTS[..at].iter().any(|other| other.name == invariant.name), "{} stands twice", invariant.name);
    }
}

/// No invariant stands in the register that no test here has seen firing, and none fires that is not in the register.
#[test]
fn every_invariant_has_been_seen_to_fire() {
    let tests = [
        include_str!("asked.rs"),
        include_str!("history.rs"),
        include_str!("isr.rs"),
        include_str!("liveness.rs"),
        include_str!("log.rs"),
        include_str!("tree.rs"),
        include_str!("watches.rs"),
        include_str!("whole.rs"),
        include_str!("zab.rs"),
    ];
    for invariant in INVARIANTS {
        let seen = format!("Some(\"{}\")", invariant.name);
        assert!(tests.iter().any(|text| text.contains(&seen)), "{} is never seen to fire", invariant.name);
    }
    let sources = [
        include_str!("../mod.rs"),
        include_str!("../history.rs"),
        include_str!("../history/asked.rs"),
        include_str!("../history/readers.rs"),
        include_str!("../isr.rs"),
        include_str!("../liveness.rs"),
        include_str!("../log.rs"),
        include_str!("../log/duties.rs"),
        include_str!("../log/whole.rs"),
        include_str!("../tree.rs"),
        include_str!("../watches.rs"),
        include_str!("../zab.rs"),
    ];
    for text in sources.iter().flat_map(|text| text.split(".fire(\"").skip(1)) {
        let name = text.split('"').next().unwrap_or_default();
        assert!(super::register::find(name).is_some(), "{name} fires and is not in the register");
    }
}
