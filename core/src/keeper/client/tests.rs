//! A session against a scripted server.

use super::*;
use crate::znode::stat::Stat;

/// A client and what it said last.
struct Rig {
    client: SessionClient<u32>,
    fx: Effects<Effect>,
    at: Instant,
}

impl Rig {
    fn new() -> Rig {
        let address = |name: &str| Address { host: name.into(), port: 2181 };
        let config = ClientConfig::new(vec![address("k1"), address("k2"), address("k3")], Span::secs(6));
        Rig { client: SessionClient::new(config, Rng::new(1)), fx: Effects::default(), at: Instant::ZERO }
    }

    fn now(&self) -> Now {
        Now { at: self.at, ..Now::default() }
    }

    fn said(&mut self) -> Vec<String> {
        let told = self.fx.effects.drain(..).map(|effect| match effect {
            Effect::Dial { dial, to } => format!("dial {dial} {}", to.port),
            Effect::HangupDial { dial } => format!("hang up {dial}"),
            Effect::Ask { say: Say::Connect { last_zxid, session, .. }, .. } => {
                format!("connect {session} {last_zxid}")
            }
            Effect::Ask { say: Say::Op { xid, .. }, .. } => format!("op {xid}"),
            Effect::Ask { say: Say::Ping, .. } => "ping".to_owned(),
            Effect::Ask { say: Say::CloseSession { xid }, .. } => format!("close {xid}"),
            Effect::Ask { say: Say::Auth { scheme, .. }, .. } => format!("auth {scheme}"),
            Effect::Ask { say: Say::SetWatches { relative, data, exist, child }, .. } => {
                format!("watches {relative} data {data:?} exist {exist:?} child {child:?}")
            }
        });
        told.collect()
    }

    fn wake_after(&mut self, span: Span) -> Vec<Event<u32>> {
        self.at += span;
        let now = self.now();
        self.client.on_wake(now, &mut self.fx)
    }

    fn hear(&mut self, dial: u64, heard: Heard) -> Vec<Event<u32>> {
        let now = self.now();
        self.client.on_heard(now, DialId(dial), heard, &mut self.fx)
    }

    fn connect(&mut self, dial: u64, session: i64) -> Vec<Event<u32>> {
        let now = self.now();
        self.client.on_opened(now, DialId(dial), &mut self.fx);
        let heard = Heard::Connected { timeout: Span::secs(6), session: SessionId(session), password: [7; 16] };
        self.hear(dial, heard)
    }

    fn ask(&mut self, op: Op, token: u32) {
        let now = self.now();
        self.client.ask(now, op, token, &mut self.fx);
    }

    fn started() -> Rig {
        let mut rig = Rig::new();
        let now = rig.now();
        rig.client.start(now, &mut rig.fx);
        assert_eq!(rig.said(), ["dial 1 2181"]);
        assert_eq!(rig.connect(1, 5), [Event::Connected { session: SessionId(5), new: true }]);
        assert_eq!(rig.said(), ["connect 0x0 0:0"]);
        rig
    }

    fn reply(&mut self, dial: u64, xid: i32, zxid: u64, answer: Answer) -> Vec<Event<u32>> {
        self.hear(dial, Heard::Reply { xid, zxid: Zxid(zxid), answer })
    }
}

fn lost(token: u32) -> Event<u32> {
    Event::Reply { token, answer: Err(KeeperError::CONNECTIONLOSS) }
}

#[test]
fn at_most_ten_questions_are_under_way_and_answers_come_in_order() {
    let mut rig = Rig::started();
    for token in 0..12 {
        rig.ask(Op::exists("/a", false), token);
    }
    assert_eq!(rig.said().len(), 10);
    assert_eq!(rig.reply(1, 1, 9, Ok(Done::Nothing)), [Event::Reply { token: 0, answer: Ok(Done::Nothing) }]);
    assert_eq!(rig.said(), ["op 11"]);
    // An answer out of turn: the connection is given up, and every outcome is unknown.
    let events = rig.reply(1, 5, 9, Ok(Done::Nothing));
    assert_eq!(events, (1..12).map(lost).chain([Event::Disconnected]).collect::<Vec<_>>());
    assert_eq!(rig.said(), ["hang up 1"]);
}

#[test]
fn a_new_connection_goes_on_with_the_session_and_arms_its_watches() {
    let mut rig = Rig::started();
    rig.ask(Op::exists("/controller", true), 1);
    rig.ask(Op::children("/brokers/ids", true), 2);
    rig.ask(Op::get("/t", true), 3);
    rig.said();
    let _ = rig.reply(1, 1, 20, Err(KeeperError::NONODE));
    let _ = rig.reply(1, 2, 21, Ok(Done::Children { names: vec![], stat: Stat::default() }));
    let _ = rig.reply(1, 3, 21, Ok(Done::Data { data: None, stat: Stat::default() }));
    let watch = Heard::Watch { kind: WatchKind::DataChanged, path: "/t".into() };
    assert_eq!(rig.hear(1, watch), [Event::Watch { kind: WatchKind::DataChanged, path: "/t".into() }]);
    let now = rig.now();
    assert_eq!(rig.client.on_hung(now, DialId(1), &mut rig.fx), [Event::Disconnected]);
    rig.ask(Op::get("/t", true), 4);
    assert_eq!(rig.wake_after(Span::secs(1)), []);
    assert_eq!(rig.said(), ["dial 2 2181"]);
    assert_eq!(rig.connect(2, 5), [Event::Connected { session: SessionId(5), new: false }]);
    assert_eq!(
        rig.said(),
        ["connect 0x5 0:21", r#"watches 0:21 data [] exist ["/controller"] child ["/brokers/ids"]"#, "op 4"]
    );
}

#[test]
fn a_silent_keeper_is_pinged_then_left() {
    let mut rig = Rig::started();
    assert_eq!(rig.client.wake_at(), Some(Wake { at: Instant(1_000_000_000), why: "pings its keeper" }));
    assert_eq!(rig.wake_after(Span::secs(2)), []);
    assert_eq!(rig.said(), ["ping"]);
    assert_eq!(rig.hear(1, Heard::Alive), []);
    assert_eq!(rig.wake_after(Span::secs(4)), [Event::Disconnected]);
    assert_eq!(rig.said(), ["hang up 1"]);
    // A keeper that does not answer is given a third of the timeout, there being three.
    let _ = rig.wake_after(Span::secs(1));
    assert_eq!(rig.said(), ["dial 2 2181"]);
    assert_eq!(rig.wake_after(Span::secs(2)), []);
    assert_eq!(rig.said(), ["hang up 2"]);
}

#[test]
fn a_session_ends_by_the_keepers_word_or_by_time_alone() {
    let mut rig = Rig::started();
    let now = rig.now();
    let _ = rig.client.on_hung(now, DialId(1), &mut rig.fx);
    let _ = rig.wake_after(Span::secs(1));
    rig.ask(Op::exists("/a", false), 7);
    let now = rig.now();
    rig.client.on_opened(now, DialId(2), &mut rig.fx);
    let gone = Heard::Connected { timeout: Span::ZERO, session: SessionId(0), password: [0; 16] };
    let expired = Event::Reply { token: 7, answer: Err(KeeperError::SESSIONEXPIRED) };
    assert_eq!(rig.hear(2, gone), [expired, Event::Expired { session: SessionId(5) }]);
    assert_eq!(rig.client.wake_at(), None);

    let mut rig = Rig::started();
    let now = rig.now();
    let _ = rig.client.on_hung(now, DialId(1), &mut rig.fx);
    assert_eq!(rig.wake_after(Span::secs(8)), [Event::Expired { session: SessionId(5) }]);
    let now = rig.now();
    rig.client.start(now, &mut rig.fx);
    assert_eq!(rig.said(), ["dial 2 2181"]);
    assert_eq!(rig.connect(2, 6), [Event::Connected { session: SessionId(6), new: true }]);
    assert_eq!(rig.said(), ["connect 0x0 0:0"]);
}

#[test]
fn closing_waits_for_the_keepers_word() {
    let mut rig = Rig::started();
    let now = rig.now();
    rig.client.close(now, &mut rig.fx);
    assert_eq!(rig.said(), ["close 1"]);
    assert!(!rig.client.is_closed());
    assert_eq!(rig.reply(1, 1, 30, Ok(Done::Nothing)), []);
    assert_eq!(rig.said(), ["hang up 1"]);
    assert!(rig.client.is_closed());
}
