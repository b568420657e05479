//! The queues without a broker: what is sent when, and what answers change.

use super::*;
use glasshouse_core::record::batch::Batch;

struct Rig {
    state: State,
    settings: ProducerSettings,
    start: Instant,
    deliveries: Vec<Delivery>,
}

fn place() -> TopicPartition {
    TopicPartition::new("t", 0)
}

impl Rig {
    fn new() -> Rig {
        let settings = ProducerSettings { linger: Duration::ZERO, in_flight: 2, ..ProducerSettings::default() };
        let state = State::new(Some((ProducerId(7), ProducerEpoch(0))));
        Rig { state, settings, start: Instant::now(), deliveries: Vec::new() }
    }

    /// A batch of its own.
    fn put(&mut self, text: &str) {
        let record = NewRecord::new(1, None, Some(text.as_bytes()));
        let taken = self.state.take(place(), record, 1, &self.settings);
        self.deliveries.push(taken.delivery);
        self.state.queues.get_mut(&place()).unwrap().lots.back_mut().unwrap().sealed = true;
    }

    /// (number, epoch, sequence) of what is sent after so many seconds.
    fn sends(&mut self, seconds: u64) -> Vec<(u64, i16, i32)> {
        let next = self.state.next(self.start + Duration::from_secs(seconds), &self.settings, |_| true);
        let header = |send: Send| {
            let number = send.number;
            let header = Batch::take(&send.encode()).unwrap().header;
            (number, header.producer_epoch.0, header.base_sequence)
        };
        next.sends.into_iter().map(header).collect()
    }

    fn answer(&mut self, number: u64, answer: Result<(ErrorCode, Offset, Option<String>)>) {
        let _ = self.state.on_answer(self.start, &place(), number, answer, Duration::ZERO);
    }

    fn code(&mut self, number: u64, code: ErrorCode) {
        self.answer(number, Ok((code, Offset(100), None)));
    }

    fn lost(&mut self, number: u64) {
        self.answer(number, Err(Error::Lost { address: "b".into(), why: "gone".into() }));
    }

    fn outcomes(&self) -> Vec<&'static str> {
        let told = |delivery: &Delivery| match delivery.now() {
            None => "open",
            Some(Ok(_)) => "ok",
            Some(Err(_)) => "failed",
        };
        self.deliveries.iter().map(told).collect()
    }
}

#[test]
fn what_was_lost_goes_again_in_order_under_its_sequence() {
    let mut rig = Rig::new();
    ["a", "b", "c"].iter().for_each(|text| rig.put(text));
    assert_eq!(rig.sends(1), [(1, 0, 0), (2, 0, 1)]);
    rig.lost(1);
    assert_eq!(rig.sends(2), [], "the second is still under way");
    rig.code(2, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(rig.sends(3), [(1, 0, 0), (2, 0, 1)]);
    rig.code(1, ErrorCode::NONE);
    rig.code(2, ErrorCode::DUPLICATE_SEQUENCE_NUMBER);
    assert_eq!(rig.sends(4), [(3, 0, 2)]);
    assert_eq!(rig.outcomes(), ["ok", "ok", "open"]);
}

#[test]
fn a_gap_begins_a_new_epoch_and_nothing_that_may_be_there_is_sent_again() {
    let mut rig = Rig::new();
    rig.settings.in_flight = 3;
    ["a", "b", "c", "d"].iter().for_each(|text| rig.put(text));
    assert_eq!(rig.sends(1).len(), 3);
    rig.code(1, ErrorCode::MESSAGE_TOO_LARGE);
    rig.code(2, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    rig.lost(3);
    assert_eq!(rig.sends(2), [(2, 1, 0), (4, 1, 1)]);
    assert_eq!(rig.outcomes(), ["failed", "open", "failed", "open"]);
    rig.code(2, ErrorCode::NONE);
    rig.code(4, ErrorCode::NONE);
    assert_eq!(rig.outcomes(), ["failed", "ok", "failed", "ok"]);
    assert_eq!(rig.state.outstanding(), 0);
}

/// A broker remembers five batches of each producer, and fewer after a restart: an older one that it has is out of order
/// to it.
#[test]
fn what_may_be_there_is_not_sent_again_because_a_broker_forgot_it() {
    let mut rig = Rig::new();
    rig.settings.in_flight = 3;
    ["a", "b", "c"].iter().for_each(|text| rig.put(text));
    assert_eq!(rig.sends(1).len(), 3);
    (1..=3).for_each(|number| rig.lost(number));
    assert_eq!(rig.sends(2), [(1, 0, 0), (2, 0, 1), (3, 0, 2)]);
    // All three are in the log; the broker knows the last.
    rig.code(2, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    rig.code(1, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    rig.code(3, ErrorCode::NONE);
    assert_eq!(rig.sends(3), []);
    assert_eq!(rig.outcomes(), ["failed", "failed", "ok"]);
    assert!(rig.deliveries.iter().take(2).all(|it| it.now().unwrap().unwrap_err().is_unknown()));
    rig.put("d");
    assert_eq!(rig.sends(4), [(4, 1, 0)], "what comes next begins a new epoch");
}

#[test]
fn a_batch_is_given_up_after_the_delivery_timeout() {
    let mut rig = Rig::new();
    rig.put("a");
    assert_eq!(rig.sends(1).len(), 1);
    rig.code(1, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(rig.outcomes(), ["open"]);
    assert_eq!(rig.sends(1000), []);
    let error = rig.deliveries[0].now().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert!(error.to_string().starts_with("1 records to t-0: not within 120s; last: t-0: NOT_LEADER"), "{error}");
}

#[test]
fn records_gather_until_they_linger_no_more_or_are_flushed() {
    let mut rig = Rig::new();
    rig.settings.linger = Duration::from_secs(10);
    for text in ["a", "b"] {
        let record = NewRecord::new(1, None, Some(text.as_bytes()));
        let taken = rig.state.take(place(), record, 1, &rig.settings);
        rig.deliveries.push(taken.delivery);
    }
    assert_eq!(rig.sends(1), []);
    let _ = rig.state.flush();
    assert_eq!(rig.sends(1), [(1, 0, 0)]);
    rig.code(1, ErrorCode::NONE);
    let offsets = rig.deliveries.iter().map(|delivery| delivery.now().unwrap().unwrap().offset);
    assert_eq!(offsets.collect::<Vec<_>>(), [Offset(100), Offset(101)]);
}
