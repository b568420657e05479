//! The mesh over real sockets on loopback: nodes without machines, which the tests play.

use super::connect::{self, Greeted};
use super::greeting::Refused;
use super::wire::FRAGMENT;
use super::*;
use crate::inbox::{Arrivals, Incoming};
use futures_util::{SinkExt, StreamExt};
use glasshouse_core::api::kafka::{FetchRequest, FetchResponse};
use glasshouse_core::api::peer::{ChannelKind, Notification, PacketType, QuorumPacket, ServerState};
use glasshouse_core::id::{KeeperId, ZabEpoch, Zxid};
use glasshouse_core::node::Input;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

mod certificates;

/// Whatever takes longer is a failure; nothing takes nearly as long on any machine.
const LONG: Duration = Duration::from_secs(60);
const ONE: NodeId = NodeId::keeper(1);
const TWO: NodeId = NodeId::keeper(2);
const THREE: NodeId = NodeId::keeper(3);

/// A node of the mesh, played by a test.
struct Played {
    config: MeshConfig,
    mesh: Option<Mesh>,
    inbox: Arrivals,
    stones: Stones,
}

impl Played {
    async fn start(config: MeshConfig) -> Played {
        let address = &config.peers[&config.me];
        let at: SocketAddr = format!("{}:{}", address.host, address.port).parse().expect("an address");
        let listener = timeout(LONG, async {
            loop {
                match TcpListener::bind(at).await {
                    Ok(listener) => return listener,
                    // The one before has not let go yet.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        Played::on(config, listener.await.expect("the port is free"))
    }

    fn on(config: MeshConfig, listener: TcpListener) -> Played {
        let (sender, inbox) = Inbox::new();
        let stones = Stones::default();
        let mesh = Mesh::start(config.clone(), listener, sender, stones.clone()).expect("it starts");
        Played { config, mesh: Some(mesh), inbox, stones }
    }

    async fn restart(mut self) -> Played {
        self.mesh = None;
        Played::start(self.config).await
    }

    fn mesh(&mut self) -> &mut Mesh {
        self.mesh.as_mut().expect("it runs")
    }

    async fn next(&mut self) -> Input {
        match timeout(LONG, self.inbox.recv()).await.expect("something comes in time") {
            Some(Incoming::Input(input)) => input,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a channel to come up; nothing else may happen to it.
    async fn up(&mut self, peer: NodeId, kind: ChannelKind) -> Channel {
        loop {
            match self.next().await {
                Input::Up { channel } if (channel.peer, channel.kind) == (peer, kind) => return channel,
                Input::Down { channel } if (channel.peer, channel.kind) == (peer, kind) => {
                    panic!("{channel} went down")
                }
                _ => {}
            }
        }
    }

    async fn down(&mut self, channel: Channel) {
        loop {
            match self.next().await {
                Input::Down { channel: down } if down == channel => return,
                Input::Up { channel: up } if (up.peer, up.kind) == (channel.peer, channel.kind) => {
                    panic!("{up} came up")
                }
                _ => {}
            }
        }
    }

    /// What is heard next on a channel; it may not break before.
    async fn hear(&mut self, on: Channel) -> PeerMessage<Bytes> {
        loop {
            match self.next().await {
                Input::Peer { channel, message } if channel == on => return message,
                Input::Down { channel } if channel == on => panic!("{channel} went down"),
                _ => {}
            }
        }
    }

    fn say(&mut self, on: Channel, message: PeerMessage<Bytes>) {
        self.mesh().send(on, message);
    }
}

fn packet(counter: u32) -> PeerMessage<Bytes> {
    PeerMessage::Quorum(QuorumPacket::new(PacketType::Ack, Zxid::new(ZabEpoch(1), counter), None))
}

fn long_packet(length: usize) -> PeerMessage<Bytes> {
    let data: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    PeerMessage::Quorum(QuorumPacket::new(PacketType::Proposal, Zxid::new(ZabEpoch(1), 1), Some(data.into())))
}

fn vote(election_epoch: u64) -> PeerMessage<Bytes> {
    PeerMessage::Election(Notification {
        state: ServerState::Looking,
        leader: KeeperId(1),
        zxid: Zxid::ZERO,
        election_epoch,
        peer_epoch: ZabEpoch(0),
        config: Bytes::new(),
    })
}

/// Settings of nodes that listen on free ports of this machine, and their listeners.
async fn configure<const N: usize>(nodes: [NodeId; N]) -> [(MeshConfig, TcpListener); N] {
    let mut listeners = Vec::new();
    let mut peers = BTreeMap::new();
    for node in nodes {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        peers.insert(node, Address { host: "127.0.0.1".into(), port });
        listeners.push(listener);
    }
    let mut listeners = listeners.into_iter();
    nodes.map(|me| {
        let config = MeshConfig {
            cluster: "blue".to_owned(),
            me,
            peers: peers.clone(),
            secret: b"known to all".to_vec(),
            tls: None,
            dead_peer: Duration::from_secs(30),
            frame: 16 << 20,
        };
        (config, listeners.next().expect("one for each"))
    })
}

/// Two keepers that are linked, and their quorum channels.
async fn linked() -> (Played, Channel, Played, Channel) {
    linked_with(|_| {}).await
}

async fn linked_with(change: impl Fn(&mut MeshConfig)) -> (Played, Channel, Played, Channel) {
    let [mut one, mut two] = configure([ONE, TWO]).await.map(|(mut config, listener)| {
        change(&mut config);
        Played::on(config, listener)
    });
    let (to_two, to_one) = (one.up(TWO, ChannelKind::Quorum).await, two.up(ONE, ChannelKind::Quorum).await);
    (one, to_two, two, to_one)
}

/// Both hear each other, on these very channels.
async fn converse(one: &mut Played, to_two: Channel, two: &mut Played, to_one: Channel) {
    for counter in 0..10 {
        one.say(to_two, packet(counter));
        two.say(to_one, packet(100 + counter));
    }
    for counter in 0..10 {
        assert_eq!(two.hear(to_one).await, packet(counter));
        assert_eq!(one.hear(to_two).await, packet(100 + counter));
    }
}

/// One boot of a node whose connections a test makes by hand.
fn by_hand(config: &MeshConfig) -> Shared {
    let (inbox, _) = Inbox::new();
    Shared::new(config.clone(), inbox, Stones::default()).expect("usable settings").0
}

/// Connects and greets as the node of that configuration would.
async fn greet(config: &MeshConfig, peer: NodeId) -> Result<Greeted, Refused> {
    timeout(LONG, connect::attempt(&by_hand(config), peer)).await.expect("an answer")
}

/// Until the other end closes.
async fn closed(socket: &mut wire::Socket) {
    let closed = async { while let Some(Ok(_)) = socket.next().await {} };
    timeout(LONG, closed).await.expect("the connection is closed");
}

#[tokio::test]
async fn two_that_dial_each_other_at_once_have_one_link_and_keep_it() {
    let (mut one, to_two, mut two, to_one) = linked().await;
    assert_eq!((to_two.generation, to_one.generation), (1, 1));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        converse(&mut one, to_two, &mut two, to_one).await;
    }
}

#[tokio::test]
async fn long_messages_arrive_whole_both_ways() {
    let (mut one, to_two, mut two, to_one) = linked().await;
    for length in [FRAGMENT - 40, FRAGMENT, 3 * FRAGMENT, 5 * FRAGMENT + 17] {
        one.say(to_two, long_packet(length));
        two.say(to_one, long_packet(length));
        assert_eq!(two.hear(to_one).await, long_packet(length));
        assert_eq!(one.hear(to_two).await, long_packet(length));
    }
}

/// A tree of 200 MB, as a keeper that synchronises a learner says it: all of it before anything has left.
#[tokio::test]
async fn a_synchronisation_of_any_length_arrives() {
    const PIECES: usize = 400;
    let (mut one, to_two, mut two, to_one) = linked().await;
    let piece = long_packet(FRAGMENT / 2);
    for _ in 0..PIECES {
        one.say(to_two, piece.clone());
    }
    one.say(to_two, packet(7));
    assert!(one.mesh().is_backed_up());
    for _ in 0..PIECES {
        assert_eq!(two.hear(to_one).await, piece);
    }
    timeout(LONG, one.mesh().relieved()).await.expect("it passes");
    assert!(!one.mesh().is_backed_up());
    assert_eq!(two.hear(to_one).await, packet(7));
    converse(&mut one, to_two, &mut two, to_one).await;
}

#[tokio::test]
async fn a_peer_that_speaks_and_does_not_read_loses_its_link() {
    let [(mut config, listener), (two, _)] = configure([ONE, TWO]).await;
    config.dead_peer = Duration::from_secs(1);
    let mut one = Played::on(config, listener);
    let two = by_hand(&two);
    let greeted = timeout(LONG, connect::attempt(&two, ONE)).await.expect("an answer").expect("it is known");
    let mut socket = greeted.socket;
    socket.send(Message::binary(b"\x11\0\0\0\x01".to_vec())).await.expect("it is read");
    let up = one.up(TWO, ChannelKind::Quorum).await;
    assert!(!one.mesh().is_backed_up());
    for _ in 0..40 {
        one.say(up, long_packet(FRAGMENT));
    }
    assert!(one.mesh().is_backed_up());
    let speaking = async {
        // Something that needs no answer; an answer would wait behind the rest.
        while socket.send(Message::Pong(Bytes::new())).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(speaking, one.down(up));
    timeout(LONG, one.mesh().relieved()).await.expect("it passes");
    assert!(!one.mesh().is_backed_up());
}

#[tokio::test]
async fn brokers_ask_and_answer() {
    let nodes = [NodeId::Broker(1), NodeId::Broker(2)];
    let [mut one, mut two] = configure(nodes).await.map(|(config, listener)| Played::on(config, listener));
    let to_two = one.up(nodes[1], ChannelKind::Requests).await;
    let to_one = two.up(nodes[0], ChannelKind::Requests).await;
    let request = PeerMessage::Request { correlation: 5, request: FetchRequest::default().into() };
    let response = PeerMessage::Response { correlation: 5, response: FetchResponse::default().into() };
    one.say(to_two, request);
    assert!(matches!(two.hear(to_one).await, PeerMessage::Request { correlation: 5, .. }));
    two.say(to_one, response.clone());
    assert_eq!(one.hear(to_two).await, response);
}

#[tokio::test]
async fn a_hangup_ends_one_channel_while_the_other_goes_on() {
    let (mut one, first, mut two, to_one) = linked().await;
    let election = Channel { kind: ChannelKind::Election, ..first };
    one.mesh().hangup(first);
    one.down(first).await;
    two.down(to_one).await;
    let second = one.up(TWO, ChannelKind::Quorum).await;
    let to_one = two.up(ONE, ChannelKind::Quorum).await;
    assert_eq!((second.generation, to_one.generation), (2, 2));
    one.mesh().hangup(first);
    one.say(first, packet(1));
    one.say(second, packet(2));
    assert_eq!(two.hear(to_one).await, packet(2), "the first generation is over");
    one.say(election, vote(1));
    assert_eq!(two.hear(Channel { peer: ONE, ..election }).await, vote(1), "elections are where they were");
}

#[tokio::test]
async fn a_node_that_restarts_is_linked_again_and_hears_the_newest_vote() {
    let (mut one, to_two, two, _) = linked().await;
    let election = Channel { kind: ChannelKind::Election, ..to_two };
    one.say(election, vote(1));
    one.say(election, vote(2));
    let mut two = two.restart().await;
    one.down(to_two).await;
    let to_two = one.up(TWO, ChannelKind::Quorum).await;
    let to_one = two.up(ONE, ChannelKind::Election).await;
    assert_eq!((to_two.generation, to_one.generation), (2, 2));
    assert_eq!(two.hear(to_one).await, vote(2));

    // Who restarts has nothing to repeat: the first that is heard of it is what it says now.
    let mut one = one.restart().await;
    let election = one.up(TWO, ChannelKind::Election).await;
    two.down(to_one).await;
    let to_one = two.up(ONE, ChannelKind::Election).await;
    assert_eq!((election.generation, to_one.generation), (3, 3));
    one.say(election, vote(3));
    assert_eq!(two.hear(to_one).await, vote(3));
}

#[tokio::test]
async fn a_cut_is_silence_until_the_peer_counts_as_dead_and_heals() {
    let (mut one, to_two, mut two, to_one) = linked_with(|config| config.dead_peer = Duration::from_millis(600)).await;
    converse(&mut one, to_two, &mut two, to_one).await;
    one.stones.change(|lying| lying.cut = [TWO].into());
    two.stones.change(|lying| lying.cut = [ONE].into());
    one.say(to_two, packet(1));
    one.down(to_two).await;
    two.down(to_one).await;
    one.stones.change(|lying| lying.cut.clear());
    two.stones.change(|lying| lying.cut.clear());
    let to_two = one.up(TWO, ChannelKind::Quorum).await;
    let to_one = two.up(ONE, ChannelKind::Quorum).await;
    converse(&mut one, to_two, &mut two, to_one).await;
}

#[tokio::test]
async fn a_paused_node_counts_as_dead_until_it_goes_on() {
    let (mut one, to_two, mut two, to_one) = linked_with(|config| config.dead_peer = Duration::from_millis(600)).await;
    two.stones.change(|lying| lying.paused = true);
    one.down(to_two).await;
    two.stones.change(|lying| lying.paused = false);
    two.down(to_one).await;
    let to_two = one.up(TWO, ChannelKind::Quorum).await;
    let to_one = two.up(ONE, ChannelKind::Quorum).await;
    converse(&mut one, to_two, &mut two, to_one).await;
}

#[tokio::test]
async fn an_idle_link_stays() {
    let (mut one, to_two, mut two, to_one) = linked_with(|config| config.dead_peer = Duration::from_secs(1)).await;
    // Until a third node would have been given up three times over; nobody says anything.
    let idle = async {
        loop {
            match one.next().await {
                Input::Down { channel } => panic!("{channel} went down"),
                _ => continue,
            }
        }
    };
    assert!(timeout(Duration::from_secs(3), idle).await.is_err());
    converse(&mut one, to_two, &mut two, to_one).await;
}

#[tokio::test]
async fn what_is_slow_is_late_but_neither_lost_nor_out_of_order() {
    let (mut one, to_two, mut two, to_one) = linked().await;
    let late = Duration::from_millis(300);
    one.stones.change(|lying| lying.slow = [(TWO, late)].into());
    let began = Instant::now();
    for counter in 0..200 {
        one.say(to_two, packet(counter));
    }
    for counter in 0..200 {
        assert_eq!(two.hear(to_one).await, packet(counter));
        assert!(began.elapsed() >= late);
    }
    assert!(began.elapsed() < late * 100, "each waited for the one before");
}

#[tokio::test]
async fn strangers_are_refused_and_told_why() {
    let [(config, listener), (two, second), (three, _)] = configure([ONE, TWO, THREE]).await;
    let (mut one, mut two) = (Played::on(config, listener), Played::on(two, second));
    let (to_two, to_one) = (one.up(TWO, ChannelKind::Quorum).await, two.up(ONE, ChannelKind::Quorum).await);

    let change = |change: fn(&mut MeshConfig)| {
        let mut config = three.clone();
        change(&mut config);
        config
    };
    for (config, reason) in [
        (change(|config| config.secret = b"guessed".to_vec()), "the secrets differ"),
        (change(|config| config.cluster = "red".to_owned()), "this is another cluster"),
        (change(|config| config.me = NodeId::keeper(9)), "that id is not in the configuration here"),
        (change(|config| config.me = NodeId::Broker(3)), "that id is not in the configuration here"),
    ] {
        let refused = greet(&config, ONE).await.expect_err(reason);
        assert_eq!(refused, Refused::ByPeer(reason.to_owned()));
    }
    // Whoever is dialled has to be who it should be, too.
    let mut mixed_up = three.clone();
    let port = mixed_up.peers[&TWO].port;
    mixed_up.peers.insert(ONE, Address { host: "127.0.0.1".into(), port });
    assert_eq!(greet(&mixed_up, ONE).await.expect_err("keeper-2"), Refused::ByPeer("the ids are mixed up".to_owned()));
    greet(&three, ONE).await.expect("the true one is let in");
    converse(&mut one, to_two, &mut two, to_one).await;
}

#[tokio::test]
async fn a_node_that_its_peers_refuse_hears_that_it_is_a_stranger() {
    let brokers = [1, 2, 3].map(NodeId::Broker);
    for change in [
        (|config: &mut MeshConfig| config.secret = b"another secret than theirs".to_vec()) as fn(&mut MeshConfig),
        |config| config.cluster = "another".to_owned(),
    ] {
        let [(mut one, at_one), (two, at_two), (three, at_three)] = configure(brokers).await;
        change(&mut one);
        let (mut two, three) = (Played::on(two, at_two), Played::on(three, at_three));
        let mut one = Played::on(one, at_one);
        let stranger = one.mesh().meeting();
        let why = timeout(LONG, stranger.foreign()).await.expect("it is told");
        assert!(why.starts_with("every peer refuses this node as a stranger (broker-2: "), "{why}");
        let friend = two.mesh().meeting();
        assert_eq!(timeout(LONG, friend.introduced()).await.expect("it is greeted"), Ok(()));
        drop(three);
    }
}

/// What comes back until the connection is closed.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn browsers_garbage_and_crowds_are_kept_out() {
    let [(config, listener), (second, its)] = configure([ONE, TWO]).await;
    let port = config.peers[&ONE].port;
    let mut one = Played::on(config, listener);
    let connect = || async { TcpStream::connect(("127.0.0.1", port)).await.expect("it listens") };

    let mut browser = connect().await;
    let page = "GET /mesh HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://evil.test\r\n\r\n";
    browser.write_all(page.as_bytes()).await.expect("it is read");
    assert!(answer(&mut browser).await.starts_with("HTTP/1.1 403"));

    let mut garbage = connect().await;
    garbage.write_all(b"\x16\x03\x01\xff\xff\0\0\r\n\r\n").await.expect("it is read");
    assert_eq!(answer(&mut garbage).await, "");
    let mut endless = connect().await;
    let _ = endless.write_all(format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(40_000)).as_bytes()).await;
    assert_eq!(answer(&mut endless).await, "");

    let mut crowd = Vec::new();
    for _ in 0..3 * accept::STRANGERS {
        crowd.push(connect().await);
    }
    let mut two = Played::on(second, its);
    let (to_two, to_one) = (one.up(TWO, ChannelKind::Quorum).await, two.up(ONE, ChannelKind::Quorum).await);
    converse(&mut one, to_two, &mut two, to_one).await;
    assert_eq!(answer(&mut crowd[0]).await, "", "the longest waiting had to go");
}

#[tokio::test]
async fn a_peer_that_speaks_nonsense_loses_its_link_and_nobody_else_does() {
    let [(config, listener), (two, second), (three, _)] = configure([ONE, TWO, THREE]).await;
    let (mut one, mut two) = (Played::on(config, listener), Played::on(two, second));
    let (to_two, to_one) = (one.up(TWO, ChannelKind::Quorum).await, two.up(ONE, ChannelKind::Quorum).await);
    let piece = |what| Message::Frame(Frame::message(vec![1; FRAGMENT], OpCode::Data(what), false));
    let nonsense = [
        vec![Message::text("hello")],
        vec![Message::binary(b"".to_vec())],
        vec![Message::binary(b"\x02the requests of brokers".to_vec())],
        vec![Message::binary(b"\x01\xff\xff".to_vec())],
        vec![Message::binary(vec![1; FRAGMENT + 1])],
        [vec![piece(Data::Binary)], vec![piece(Data::Continue); 16]].concat(),
    ];
    for (times, messages) in nonsense.into_iter().enumerate() {
        let Greeted { mut socket, .. } = greet(&three, ONE).await.expect("it is known");
        // Opens the quorum channel, so that what follows is heard.
        let opened = socket.send(Message::binary(b"\x11\0\0\0\x01".to_vec())).await;
        opened.expect("it is read");
        let up = one.up(THREE, ChannelKind::Quorum).await;
        assert_eq!(up.generation, times as u32 + 1);
        for message in messages {
            let _ = socket.send(message).await;
        }
        closed(&mut socket).await;
        one.down(up).await;
    }
    converse(&mut one, to_two, &mut two, to_one).await;
}

#[tokio::test]
async fn a_second_connection_takes_over_only_if_its_peer_wants_it() {
    let [(config, listener), (two, _)] = configure([ONE, TWO]).await;
    let mut one = Played::on(config, listener);
    let two = by_hand(&two);
    let attempt =
        || async { timeout(LONG, connect::attempt(&two, ONE)).await.expect("an answer").expect("it is known") };
    let mut first = attempt().await;
    let opened = first.socket.send(Message::binary(b"\x11\0\0\0\x01".to_vec())).await;
    opened.expect("it is read");
    let up = one.up(TWO, ChannelKind::Quorum).await;

    // keeper-2 has lost the link and dials again, as the same boot; keeper-1 knows nothing of the loss.
    let second = attempt().await;
    closed(&mut first.socket).await;
    one.down(up).await;

    // Another boot is believed at once.
    let two = by_hand(&two.config);
    let third = timeout(LONG, connect::attempt(&two, ONE)).await.expect("an answer");
    third.expect("it is known");
    let mut second = second.socket;
    closed(&mut second).await;
}
