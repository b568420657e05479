//! A cluster that stands still, for looking at the page without a run.

use glasshouse_core::id::*;
use glasshouse_core::record::offset::Offset;
use glasshouse_core::time::{Instant, Span};
use glasshouse_core::view::*;
use glasshouse_web::intent::{Stone, Target, TimeIntent};
use glasshouse_web::playback::SPEEDS;
use glasshouse_web::source::{Clock, Source};
use std::rc::Rc;

pub struct Still {
    pub view: Rc<ClusterView>,
    pub playing: bool,
    pub thrown: Vec<(Stone, Target)>,
}

impl Still {
    pub fn new(state: &str) -> Still {
        let view = if state == "failover" { failover() } else { first() };
        Still { view: Rc::new(view), playing: true, thrown: Vec::new() }
    }
}

impl Source for Still {
    fn view(&self) -> Rc<ClusterView> {
        self.view.clone()
    }
    fn clock(&self) -> Clock {
        Clock { playing: self.playing, live: true, speed: SPEEDS[3], notch: 3, opening: false, reached: None }
    }
    fn frame(&mut self, _: f64, _: f64, _: &dyn Fn() -> f64) {}
    fn time(&mut self, intent: TimeIntent) {
        if intent == TimeIntent::TogglePlay {
            self.playing = !self.playing;
        }
    }
    fn throw(&mut self, stone: Stone, target: Target) {
        self.thrown.push((stone, target));
    }
    fn seed(&self) -> u64 {
        7
    }
}

fn at(millis: u64) -> Instant {
    Instant(millis * 1_000_000)
}

fn orders(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn replica(partition: i32, leads: bool, hw: i64, end: i64, promised: i64) -> ReplicaView {
    let role =
        if leads { ReplicaRole::Leader } else { ReplicaRole::Follower { leader: Some(BrokerId(partition + 1)) } };
    ReplicaView {
        partition: orders(partition),
        role,
        in_isr: true,
        leader_epoch: LeaderEpoch(0),
        epochs: vec![EpochStart { epoch: LeaderEpoch(0), start: Offset(0) }],
        log_start: Offset(0),
        high_watermark: Offset(hw),
        log_end: Offset(end),
        records: (0..end)
            .map(|offset| RecordView {
                offset: Offset(offset),
                epoch: LeaderEpoch(0),
                fate: if offset < promised { Fate::Promised } else { Fate::Untold },
                truncated: false,
            })
            .collect(),
        lag: None,
    }
}

/// The first page as it was drawn.
pub fn first() -> ClusterView {
    let now = at(3_120);
    let up = NodeState::Up { since: at(700) };
    let keeper = |id: u8, role| KeeperView {
        id: KeeperId(id),
        state: NodeState::Up { since: at(0) },
        ailments: vec![],
        role,
        zab_epoch: ZabEpoch(1),
        last_zxid: Zxid::new(ZabEpoch(1), 14),
        txns: (11..15)
            .map(|n| TxnView { zxid: Zxid::new(ZabEpoch(1), n), label: "set /x".into(), committed: true })
            .collect(),
        timeout: None,
        sessions: 1,
    };
    let follows = KeeperRole::Following { leader: KeeperId(3) };
    let broker = |n: u32, controller, replicas| BrokerView {
        node: NodeId::Broker(n),
        broker: BrokerId(n as i32),
        state: up,
        ailments: vec![],
        controller,
        keeper: Some(KeeperId(n as u8)),
        replicas,
    };
    let registration = |n: i32, left: u64| RegistrationView {
        node: NodeId::Broker(n as u32),
        broker: BrokerId(n),
        state: Registration::Here {
            session: SessionId(n.into()),
            expires: Timeout { span: Span::secs(6), due: now + Span::millis(left), awaited: false },
            at: Some(KeeperId(n as u8)),
        },
    };
    let told = |n: i32| PartitionView {
        partition: orders(n),
        leader: Some(BrokerId(n + 1)),
        leader_epoch: LeaderEpoch(0),
        isr: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
    };
    let mut links = Vec::new();
    let mut link = |a, b, open| links.push(LinkView { a, b, open, forth: LaneView::IDLE, back: LaneView::IDLE });
    for (a, b) in [(1, 2), (2, 3), (1, 3)] {
        link(NodeId::keeper(a), NodeId::keeper(b), true);
        link(NodeId::Broker(a.into()), NodeId::Broker(b.into()), true);
    }
    for b in 1..=3u8 {
        for k in 1..=3u8 {
            link(NodeId::Broker(b.into()), NodeId::keeper(k), b == k);
        }
        for c in 1..=2u32 {
            link(NodeId::Client(c), NodeId::Broker(b.into()), b < 3);
        }
    }
    let message = |id, from, to, label: &str, kind, share: u64, records, epoch| MessageView {
        id,
        from,
        to,
        label: label.into(),
        kind,
        sent: Instant(now.0 - share * 1_000_000),
        due: Instant(now.0 - share * 1_000_000 + 100_000_000),
        records,
        epoch,
        lost: None,
        routine: false,
    };
    let reply = |granted| MessageKind::Reply { granted };
    let line = |id, millis, kind, turning, text: &str| StoryLine {
        id,
        at: at(millis),
        kind,
        subject: None,
        text: text.into(),
        turning,
    };
    let span = |from, kind, label: &str, until: Option<u64>| SpanView {
        from: at(from),
        until: until.map(at),
        kind,
        label: label.into(),
    };
    let track = |name: &str, kind, spans| TrackView { name: name.into(), kind, spans, marks: vec![] };
    ClusterView {
        now,
        known_until: now,
        headline: Headline {
            title: "It runs. Now break it.".into(),
            why: "This is a real cluster, and it lives in this page. Click a broker, a keeper, or a line between two of them.".into(),
            broken: false,
        },
        keepers: vec![keeper(1, follows), keeper(2, follows), keeper(3, KeeperRole::Leading { established: true })],
        known: KnownView {
            registrations: vec![registration(1, 5_800), registration(2, 5_400), registration(3, 5_900)],
            controller: Some(BrokerId(3)),
            controller_epoch: ControllerEpoch(1),
            partitions: vec![told(0), told(1)],
        },
        brokers: vec![
            broker(1, false, vec![replica(0, true, 4, 5, 4), replica(1, false, 2, 3, 0)]),
            broker(2, false, vec![replica(0, false, 4, 5, 4), replica(1, true, 3, 4, 3)]),
            broker(3, true, vec![replica(0, false, 3, 4, 0), replica(1, false, 2, 3, 0)]),
        ],
        clients: vec![
            ClientView {
                node: NodeId::Client(1),
                name: "producer-1".into(),
                state: up,
                kind: ClientKind::Producer { acks: -1, idempotent: true, in_flight: 2, acknowledged: 7, failed: 0 },
                waits: None,
            },
            ClientView {
                node: NodeId::Client(2),
                name: "consumer-1".into(),
                state: up,
                kind: ClientKind::Consumer { read: 7, positions: vec![] },
                waits: None,
            },
        ],
        links,
        messages: vec![
            message(1, NodeId::keeper(3), NodeId::keeper(1), "Commit 1:14", reply(Some(true)), 40, 0, None),
            message(2, NodeId::Broker(2), NodeId::Broker(3), "Fetch reply", reply(None), 68, 1, Some(0)),
            message(3, NodeId::Client(1), NodeId::Broker(1), "Produce", MessageKind::Request, 54, 1, None),
            message(4, NodeId::Broker(2), NodeId::Client(2), "Fetch reply", reply(None), 50, 1, Some(0)),
            message(5, NodeId::Broker(1), NodeId::keeper(1), "Ping", MessageKind::Heartbeat, 82, 0, None),
        ],
        timers: vec![],
        story: vec![
            line(1, 610, StoryKind::Ensemble, false, "keeper-3 leads the ensemble at Zab epoch 1: keeper-1 and keeper-2 follow it."),
            line(2, 1_105, StoryKind::Leadership, false, "broker-3 created /controller first, so it is the controller."),
            line(3, 1_420, StoryKind::Leadership, false, "broker-1 leads orders-0 and broker-2 leads orders-1, both at leader epoch 0."),
            line(4, 1_912, StoryKind::Log, true, "broker-1 raises the high watermark of orders-0 to 1: the first record is committed."),
            line(5, 2_940, StoryKind::Client, false, "consumer-1 reads record 2 of orders-1 from broker-2."),
            line(6, 3_085, StoryKind::Client, false, "producer-1 hears from broker-1: record 3 of orders-0 is safe on all three brokers."),
        ],
        causes: vec![],
        ledger: Ledger { acknowledged: 7, survive: 7, waiting: 2, writes_acknowledged: 0, writes_kept: 0 },
        promises: vec![],
        tracks: vec![
            track("You", TrackKind::You, vec![]),
            track("Ensemble", TrackKind::Ensemble, vec![
                span(0, SpanKind::Leaderless, "looking", Some(610)),
                span(610, SpanKind::Led { epoch: 1 }, "keeper-3 leads", None),
            ]),
            track("orders-0", TrackKind::Partition, vec![span(1_420, SpanKind::Led { epoch: 0 }, "broker-1 leads", None)]),
            track("orders-1", TrackKind::Partition, vec![span(1_420, SpanKind::Led { epoch: 0 }, "broker-2 leads", None)]),
        ],
    }
}

/// The same cluster with a dead broker, a cut link, a paused keeper and a chain of causes.
pub fn failover() -> ClusterView {
    let mut view = first();
    view.now = at(11_200);
    view.known_until = view.now;
    view.headline = Headline {
        title: "broker-2 took over orders-0.".into(),
        why: "broker-1 died 6.1 s ago. The ensemble waited until its session ran out; then the controller chose the next in-sync broker.".into(),
        broken: false,
    };
    view.brokers[0].state = NodeState::Down { since: at(5_100) };
    view.brokers[0].replicas[0].in_isr = false;
    view.known.registrations[0].state = Registration::Gone { since: at(11_050) };
    for partition in &mut view.known.partitions {
        partition.isr.remove(0);
    }
    view.known.partitions[0].leader = Some(BrokerId(2));
    view.known.partitions[0].leader_epoch = LeaderEpoch(1);
    let led = &mut view.brokers[1].replicas[0];
    led.role = ReplicaRole::Leader;
    led.leader_epoch = LeaderEpoch(1);
    led.epochs.push(EpochStart { epoch: LeaderEpoch(1), start: Offset(5) });
    led.log_end = Offset(7);
    led.records.extend((5..7).map(|offset| RecordView {
        offset: Offset(offset),
        epoch: LeaderEpoch(1),
        fate: Fate::Untold,
        truncated: false,
    }));
    view.brokers[2].replicas[0].lag = Some(Timeout { span: Span::secs(10), due: at(14_000), awaited: true });
    view.brokers[2].replicas[1].in_isr = false;
    view.brokers[2].replicas[1].records[2].truncated = true;
    view.brokers[2].replicas[1].records[1].fate = Fate::Lost { allowed: true };
    view.keepers[0].state = NodeState::Paused { since: at(10_000) };
    view.keepers[1].role = KeeperRole::Looking { vote: KeeperId(3), votes: 2 };
    view.keepers[1].timeout = Some(Timeout { span: Span::secs(2), due: at(12_000), awaited: false });
    for link in &mut view.links {
        if (link.a, link.b) == (NodeId::Broker(2), NodeId::Broker(3)) {
            link.forth.state = LaneState::Cut;
            link.back.state = LaneState::Cut;
        }
        if (link.a, link.b) == (NodeId::keeper(2), NodeId::keeper(3)) {
            link.back.state = LaneState::Slow { extra: Span::millis(80) };
        }
        if (link.a, link.b) == (NodeId::keeper(1), NodeId::keeper(2)) {
            link.back.state = LaneState::Cut;
        }
    }
    view.clients[0].waits = Some(Wait { since: at(5_200), for_what: "2 records wait".into() });
    view.story.push(StoryLine {
        id: 7,
        at: at(5_100),
        kind: StoryKind::You,
        subject: None,
        text: "You killed broker-1.".into(),
        turning: true,
    });
    view.story.push(StoryLine {
        id: 8,
        at: at(11_050),
        kind: StoryKind::Session,
        subject: None,
        text: "keeper-3 stopped hearing from broker-1 6.0 s ago: its session expires.".into(),
        turning: true,
    });
    view.causes = vec![
        CauseStep { story: 8, at: at(11_050), place: Place::Registration(BrokerId(1)) },
        CauseStep { story: 9, at: at(11_050), place: Place::Replica(NodeId::Broker(2), orders(0)) },
        CauseStep { story: 10, at: at(11_050), place: Place::Node(NodeId::Client(1)) },
    ];
    view.tracks[0].marks.push(MarkView { at: at(5_100), act: Act::Kill, label: "You killed broker-1".into() });
    view.tracks[2].spans[0].until = Some(at(5_100));
    view.tracks[2].spans.push(SpanView {
        from: at(5_100),
        until: Some(at(11_100)),
        kind: SpanKind::Leaderless,
        label: "none".into(),
    });
    view.tracks[2].spans.push(SpanView {
        from: at(11_100),
        until: None,
        kind: SpanKind::Led { epoch: 1 },
        label: "broker-2 leads".into(),
    });
    view
}
