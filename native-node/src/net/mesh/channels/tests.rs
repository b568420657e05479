//! Two ends of a pair's channels, with a link between them that tests hold in their hands.

use super::*;
use glasshouse_core::api::peer::{Notification, PacketType, QuorumPacket, ServerState};
use glasshouse_core::id::{KeeperId, ZabEpoch, Zxid};

const SOON: Duration = Duration::ZERO;

/// Two ends with a perfect link between them.
struct Two {
    now: Instant,
    ends: [Channels; 2],
    /// On their way to each end.
    flying: [VecDeque<Bytes>; 2],
}

impl Two {
    fn new() -> Two {
        let (one, two) = (NodeId::keeper(1), NodeId::keeper(2));
        let now = Instant::now();
        let mut ends = [Channels::new(one, two, 1 << 30, now), Channels::new(two, one, 1 << 30, now)];
        for end in &mut ends {
            end.become_linked(now);
        }
        Two { now, ends, flying: [VecDeque::new(), VecDeque::new()] }
    }

    /// What is due leaves `from`.
    fn leave(&mut self, from: usize) {
        let mut ready = Vec::new();
        self.ends[from].take_ready(self.now, SOON, usize::MAX, &mut ready);
        self.flying[1 - from].extend(ready.into_iter().map(|segments| Bytes::from(segments.concat())));
    }

    fn arrive(&mut self, at: usize) {
        while let Some(frame) = self.flying[at].pop_front() {
            self.ends[at].receive(self.now, SOON, frame).expect("the other end speaks our protocol");
        }
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            for end in [0, 1] {
                self.leave(end);
                self.arrive(1 - end);
            }
        }
    }

    fn wait(&mut self, span: Duration) {
        self.now += span;
        self.settle();
    }

    fn send(&mut self, from: usize, generation: u32, counter: u32) {
        let channel = self.quorum(from, generation);
        self.ends[from].send(self.now, SOON, channel, &packet(counter));
    }

    fn quorum(&self, at: usize, generation: u32) -> Channel {
        Channel { peer: self.ends[at].peer, kind: ChannelKind::Quorum, generation }
    }

    /// What an end was told of the quorum channel.
    fn told(&mut self, at: usize) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(event) = self.ends[at].next_event() {
            match event {
                Input::Up { channel } if channel.kind == ChannelKind::Quorum => {
                    told.push(format!("up {}", channel.generation));
                }
                Input::Down { channel } if channel.kind == ChannelKind::Quorum => {
                    told.push(format!("down {}", channel.generation));
                }
                Input::Peer { message: PeerMessage::Quorum(packet), .. } => {
                    told.push(packet.zxid().counter().to_string());
                }
                _ => {}
            }
        }
        told
    }
}

fn packet(counter: u32) -> PeerMessage<Bytes> {
    PeerMessage::Quorum(QuorumPacket::new(PacketType::Commit, Zxid::new(ZabEpoch(1), counter), None))
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

#[test]
fn a_hangup_takes_both_ends_through_the_same_generations() {
    let mut two = Two::new();
    two.settle();
    two.send(0, 1, 7);
    let quorum = two.quorum(0, 1);
    let now = two.now;
    two.ends[0].hang_up(now, SOON, quorum);
    two.send(0, 1, 8);
    two.send(1, 1, 9);
    two.leave(1);
    two.settle();
    assert_eq!(two.told(1), ["up 1", "7", "down 1"], "what was sent before arrives before");
    two.send(1, 1, 10);
    two.wait(REOPEN);
    two.send(1, 2, 11);
    two.settle();
    assert_eq!(two.told(0), ["up 1", "down 1", "up 2", "11"], "9 belonged to an earlier incarnation");
    assert_eq!(two.told(1), ["up 2"]);
}

#[test]
fn both_may_hang_up_at_once() {
    let mut two = Two::new();
    two.settle();
    for end in [0, 1] {
        let quorum = two.quorum(end, 1);
        let now = two.now;
        two.ends[end].hang_up(now, SOON, quorum);
        two.leave(end);
    }
    two.wait(REOPEN);
    for end in [0, 1] {
        assert_eq!(two.told(end), ["up 1", "down 1", "up 2"]);
    }
}

#[test]
fn only_the_newest_vote_leaves_and_again_with_every_generation() {
    let mut two = Two::new();
    let election = |generation| Channel { peer: NodeId::keeper(2), kind: ChannelKind::Election, generation };
    let votes = |two: &mut Two| {
        two.settle();
        let mut votes = Vec::new();
        while let Some(event) = two.ends[1].next_event() {
            if let Input::Peer { channel, message: PeerMessage::Election(vote) } = event {
                votes.push((channel.generation, vote.election_epoch));
            }
        }
        votes
    };
    let say = |two: &mut Two, generation, epoch| {
        let now = two.now;
        two.ends[0].send(now, SOON, election(generation), &vote(epoch));
    };
    say(&mut two, 0, 1);
    say(&mut two, 0, 2);
    assert_eq!(votes(&mut two), [(1, 2)], "said before the channel was up");
    assert_eq!(votes(&mut two), []);
    say(&mut two, 1, 3);
    say(&mut two, 1, 4);
    assert_eq!(votes(&mut two), [(1, 4)]);
    let now = two.now;
    for end in &mut two.ends {
        end.become_unlinked(now);
        end.become_linked(now);
    }
    assert_eq!(votes(&mut two), [(2, 4)], "across the loss of the link");
}

#[test]
fn a_full_queue_breaks_the_channel_and_nothing_else() {
    let mut two = Two::new();
    two.settle();
    let channel = two.quorum(0, 1);
    let data = Some(Bytes::from(vec![0; 1 << 20]));
    let long = PeerMessage::Quorum(QuorumPacket::new(PacketType::Proposal, Zxid::new(ZabEpoch(1), 1), data));
    // Nothing of it is copied.
    for _ in 0..=ROOM >> 20 {
        let now = two.now;
        two.ends[0].send(now, SOON, channel, &long);
    }
    assert_eq!(two.told(0), ["up 1", "down 1"]);
    two.wait(REOPEN);
    assert_eq!(two.told(0), ["up 2"]);
    assert_eq!(two.told(1), ["up 1", "down 1", "up 2"], "the suffix is lost");
    let election = two.ends.iter().map(|end| end.ends[0].generation);
    assert_eq!(election.collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn who_restarts_takes_up_the_number_of_who_did_not() {
    let mut two = Two::new();
    two.settle();
    let (now, peer) = (two.now, two.ends[0].peer);
    two.ends[0].become_unlinked(now);
    two.ends[0].become_linked(now);
    two.ends[1] = Channels::new(peer, two.ends[1].peer, 1 << 30, now);
    two.ends[1].become_linked(now);
    two.settle();
    assert_eq!(two.told(0), ["up 1", "down 1", "up 2"]);
    assert_eq!(two.told(1), ["up 2"]);
}

#[test]
fn nonsense_is_refused() {
    let mut two = Two::new();
    two.settle();
    let now = two.now;
    for frame in
        [&b""[..], b"\x02", b"\x0f\0", b"\x31\0\0\0\x01", b"\x11\0", b"\x11\0\0\0\x02", b"\x21\0\0\0\x09", b"\x01no"]
    {
        let received = two.ends[0].receive(now, SOON, Bytes::from_static(frame));
        assert!(received.is_err(), "{frame:?}");
    }
}
