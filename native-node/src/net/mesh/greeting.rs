//! The greeting: two nodes find out that they belong to the same cluster, are who they should be, and know the secret.
//! Nothing else is said on a connection before.
//!
//! ```text
//!  dialler   ── introduction: version, cluster, who I am, who you should be, boot, nonce ──▶   acceptor
//!            ◀── introduction ──
//!            ── HMAC(secret, "dialler", both introductions) ──▶
//!            ◀── HMAC(secret, "acceptor", both introductions) ──
//!            ◀── go ──▶     from the node with the smaller id, once this connection is the link of the two
//! ```
//!
//! The secret is never sent. Who dials proves first, so a stranger gets no proof to work on; the proofs differ by role,
//! so one cannot be sent back. Whoever refuses says why in its close frame.

use super::wire::{self, Socket};
use super::{MeshConfig, Shared};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use glasshouse_core::codec::{Malformed, Reader, Writer};
use glasshouse_core::id::NodeId;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The protocol of the mesh that this node speaks.
pub(super) const VERSION: u16 = 1;
/// A greeting that takes longer is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const MAGIC: &[u8; 4] = b"GLSM";
const GO: &[u8] = b"go";
const LONGEST_NAME: usize = 512;

/// Why two nodes do not speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Version {
        theirs: u16,
    },
    Cluster {
        theirs: String,
    },
    /// Its id is not among this node's peers.
    Unknown {
        who: String,
    },
    /// It dialled somebody else.
    NotMe {
        wanted: String,
    },
    /// Somebody else answered.
    Impostor {
        who: String,
    },
    Secret,
    Nonsense(&'static str),
    /// It refused this node, for that reason.
    ByPeer(String),
    /// It is a web page's connection.
    Browser,
    /// Not a refusal: the connection is gone, or never was.
    Gone(String),
}

impl Refused {
    /// What the other end is told; nothing if there is nobody to tell.
    fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Refused::Version { .. } => "the mesh is spoken in another version here",
            Refused::Cluster { .. } => "this is another cluster",
            Refused::Unknown { .. } => "that id is not in the configuration here",
            Refused::NotMe { .. } | Refused::Impostor { .. } => "the ids are mixed up",
            Refused::Secret => "the secrets differ",
            Refused::Nonsense(_) => "this is no greeting",
            Refused::ByPeer(_) | Refused::Browser | Refused::Gone(_) => return None,
        })
    }

    /// The two do not belong to the same cluster; which of them is the stranger, neither can tell.
    pub(super) fn is_foreign(&self) -> bool {
        let theirs = [Refused::Secret.reason(), Refused::Cluster { theirs: String::new() }.reason()];
        match self {
            Refused::Cluster { .. } | Refused::Secret => true,
            Refused::ByPeer(reason) => theirs.contains(&Some(reason.as_str())),
            Refused::Version { .. }
            | Refused::Unknown { .. }
            | Refused::NotMe { .. }
            | Refused::Impostor { .. }
            | Refused::Nonsense(_)
            | Refused::Browser
            | Refused::Gone(_) => false,
        }
    }

    /// Trying again soon is of no use: somebody has to change a configuration.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self, Refused::Gone(_))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Version { theirs } => {
                write!(f, "it speaks version {theirs} of the mesh, this node version {VERSION}")
            }
            Refused::Cluster { theirs } => write!(f, "it belongs to another cluster, {theirs:?}"),
            Refused::Unknown { who } => write!(f, "it says it is {who:?}, which is not in this node's configuration"),
            Refused::NotMe { wanted } => write!(f, "it wants {wanted:?}, which is not this node"),
            Refused::Impostor { who } => write!(f, "it says it is {who:?}"),
            Refused::Secret => f.write_str("it does not know the cluster's secret"),
            Refused::Nonsense(what) => write!(f, "this is no greeting: {what}"),
            Refused::ByPeer(reason) => write!(f, "it refused this node: {reason}"),
            Refused::Browser => f.write_str("it sent an Origin header, as only browsers do"),
            Refused::Gone(why) => f.write_str(why),
        }
    }
}

/// What either says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Introduction {
    cluster: String,
    from: String,
    to: String,
    boot: u64,
    nonce: [u8; 32],
}

impl Introduction {
    fn of(shared: &Shared, to: NodeId) -> Result<Introduction, Refused> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| Refused::Gone(format!("no entropy: {error}")))?;
        let MeshConfig { cluster, me, .. } = &shared.config;
        Ok(Introduction {
            cluster: cluster.clone(),
            from: me.to_string(),
            to: to.to_string(),
            boot: shared.boot,
            nonce,
        })
    }

    fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(256);
        writer.put(MAGIC);
        writer.u16(VERSION);
        for text in [&self.cluster, &self.from, &self.to] {
            writer.jute_string(text);
        }
        writer.i64(self.boot.cast_signed());
        writer.put(&self.nonce);
        writer.finish()
    }

    fn parse(bytes: Bytes) -> Result<Introduction, Refused> {
        let nonsense = |malformed: Malformed| Refused::Nonsense(malformed.expected);
        let mut reader = Reader::new(bytes);
        if *reader.take(MAGIC.len(), "an introduction").map_err(nonsense)? != MAGIC[..] {
            return Err(Refused::Nonsense("expected an introduction"));
        }
        // Magic and version stay where they are in every version, so that this can be said.
        let theirs = reader.u16().map_err(nonsense)?;
        if theirs != VERSION {
            return Err(Refused::Version { theirs });
        }
        let mut text = || {
            let text = reader.jute_string().map_err(nonsense)?;
            if text.len() > LONGEST_NAME { Err(Refused::Nonsense("a name is too long")) } else { Ok(text) }
        };
        let (cluster, from, to) = (text()?, text()?, text()?);
        let boot = reader.i64().map_err(nonsense)?.cast_unsigned();
        let mut nonce = [0; 32];
        nonce.copy_from_slice(&reader.take(32, "a nonce").map_err(nonsense)?);
        if !reader.is_empty() {
            return Err(Refused::Nonsense("it goes on behind its end"));
        }
        Ok(Introduction { cluster, from, to, boot, nonce })
    }

    /// Who it is, if it is one of ours that means us.
    fn check(&self, config: &MeshConfig) -> Result<NodeId, Refused> {
        if self.cluster != config.cluster {
            return Err(Refused::Cluster { theirs: self.cluster.clone() });
        }
        let peer = NodeId::parse(&self.from).filter(|peer| *peer != config.me && config.peers.contains_key(peer));
        let peer = peer.ok_or_else(|| Refused::Unknown { who: self.from.clone() })?;
        if self.to != config.me.to_string() {
            return Err(Refused::NotMe { wanted: self.to.clone() });
        }
        Ok(peer)
    }
}

/// Which end proves that it knows the secret.
#[derive(Clone, Copy, Debug)]
enum Prover {
    Dialler,
    Acceptor,
}

/// What a proof is about: everything that both have said so far.
struct Transcript<'a> {
    dialler: &'a Bytes,
    acceptor: &'a Bytes,
}

impl Transcript<'_> {
    fn mac(&self, secret: &[u8], prover: Prover) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key may have any length");
        mac.update(match prover {
            Prover::Dialler => b"glasshouse mesh dialler",
            Prover::Acceptor => b"glasshouse mesh acceptor",
        });
        for introduction in [self.dialler, self.acceptor] {
            mac.update(&(introduction.len() as u64).to_be_bytes());
            mac.update(introduction);
        }
        mac
    }

    fn proof(&self, secret: &[u8], prover: Prover) -> Bytes {
        Bytes::copy_from_slice(&self.mac(secret, prover).finalize().into_bytes())
    }

    /// In constant time.
    fn verify(&self, secret: &[u8], prover: Prover, proof: &[u8]) -> Result<(), Refused> {
        self.mac(secret, prover).verify_slice(proof).map_err(|_| Refused::Secret)
    }
}

/// Greets `peer`, which was dialled. Returns its boot.
pub(super) async fn greet(socket: &mut Socket, shared: &Shared, peer: NodeId) -> Result<u64, Refused> {
    let result = greet_as_dialler(socket, shared, peer).await;
    tell(socket, result.as_ref().err()).await;
    result
}

async fn greet_as_dialler(socket: &mut Socket, shared: &Shared, peer: NodeId) -> Result<u64, Refused> {
    let secret = &shared.config.secret;
    let mine = Introduction::of(shared, peer)?.encode();
    say(socket, shared, Some(peer), mine.clone()).await?;
    let theirs = hear(socket, shared, Some(peer)).await?;
    let introduction = Introduction::parse(theirs.clone())?;
    let who = introduction.check(&shared.config)?;
    if who != peer {
        return Err(Refused::Impostor { who: introduction.from });
    }
    let transcript = Transcript { dialler: &mine, acceptor: &theirs };
    say(socket, shared, Some(peer), transcript.proof(secret, Prover::Dialler)).await?;
    let proof = hear(socket, shared, Some(peer)).await?;
    transcript.verify(secret, Prover::Acceptor, &proof)?;
    socket.get_mut().trust();
    Ok(introduction.boot)
}

/// Greets whoever dialled this node. Returns who it is and its boot, and the socket with the buffers of a link.
pub(super) async fn welcome(mut socket: Socket, shared: &Shared) -> Result<(Socket, NodeId, u64), Refused> {
    match welcome_as_acceptor(&mut socket, shared).await {
        Ok((peer, boot, proof)) => {
            // An honest peer says nothing now until it has the proof, so no buffer holds anything.
            let mut wire = socket.into_inner();
            wire.trust();
            let config = wire::for_peers(shared.config.frame);
            let mut socket = WebSocketStream::from_raw_socket(wire, Role::Server, Some(config)).await;
            say(&mut socket, shared, Some(peer), proof).await?;
            Ok((socket, peer, boot))
        }
        Err(refused) => {
            tell(&mut socket, Some(&refused)).await;
            Err(refused)
        }
    }
}

async fn welcome_as_acceptor(socket: &mut Socket, shared: &Shared) -> Result<(NodeId, u64, Bytes), Refused> {
    let secret = &shared.config.secret;
    let theirs = hear(socket, shared, None).await?;
    let introduction = Introduction::parse(theirs.clone())?;
    let peer = introduction.check(&shared.config)?;
    let mine = Introduction::of(shared, peer)?.encode();
    say(socket, shared, Some(peer), mine.clone()).await?;
    let transcript = Transcript { dialler: &theirs, acceptor: &mine };
    let proof = hear(socket, shared, Some(peer)).await?;
    transcript.verify(secret, Prover::Dialler, &proof)?;
    Ok((peer, introduction.boot, transcript.proof(secret, Prover::Acceptor)))
}

/// The node with the smaller id has chosen this connection.
pub(super) async fn say_go(socket: &mut Socket, shared: &Shared, peer: NodeId) -> Result<(), Refused> {
    say(socket, shared, Some(peer), Bytes::from_static(GO)).await
}

/// Waits until the node with the smaller id has chosen this connection.
pub(super) async fn hear_go(socket: &mut Socket, shared: &Shared, peer: NodeId) -> Result<(), Refused> {
    let heard = hear(socket, shared, Some(peer)).await?;
    if heard == GO { Ok(()) } else { Err(Refused::Nonsense("expected a go")) }
}

async fn say(socket: &mut Socket, shared: &Shared, to: Option<NodeId>, what: Bytes) -> Result<(), Refused> {
    shared.stones.passes(to).await;
    socket.send(Message::Binary(what)).await.map_err(|error| Refused::Gone(error.to_string()))
}

async fn hear(socket: &mut Socket, shared: &Shared, from: Option<NodeId>) -> Result<Bytes, Refused> {
    loop {
        shared.stones.passes(from).await;
        match socket.next().await {
            Some(Ok(Message::Binary(what))) => return Ok(what),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(Some(frame)))) if !frame.reason.is_empty() => {
                return Err(Refused::ByPeer(frame.reason.as_str().to_owned()));
            }
            Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                return Err(Refused::Nonsense("only binary messages are"));
            }
            Some(Ok(Message::Close(_))) | None => return Err(Refused::Gone("it closed the connection".to_owned())),
            Some(Err(error)) => return Err(Refused::Gone(error.to_string())),
        }
    }
}

/// Tells the other end why it is refused, if it can be told at once.
async fn tell(socket: &mut Socket, refused: Option<&Refused>) {
    if let Some(reason) = refused.and_then(Refused::reason) {
        let frame = CloseFrame { code: CloseCode::Policy, reason: reason.into() };
        let _ = timeout(Duration::from_secs(1), socket.close(Some(frame))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduction(from: &str, to: &str, nonce: u8) -> Introduction {
        let (from, to) = (from.to_owned(), to.to_owned());
        Introduction { cluster: "blue".to_owned(), from, to, boot: u64::MAX - 6, nonce: [nonce; 32] }
    }

    #[test]
    fn an_introduction_is_read_back() {
        let said = introduction("keeper-1", "keeper-2", 7);
        assert_eq!(Introduction::parse(said.encode()), Ok(said.clone()));
        for cut in 0..said.encode().len() {
            assert!(Introduction::parse(said.encode().slice(..cut)).is_err(), "{cut} bytes");
        }
        let mut newer = said.encode().to_vec();
        newer[5] = 9;
        newer.truncate(6);
        assert_eq!(Introduction::parse(newer.into()), Err(Refused::Version { theirs: 9 }));
    }

    #[test]
    fn a_proof_speaks_for_one_end_of_one_greeting_only() {
        let dialler = introduction("keeper-1", "keeper-2", 1).encode();
        let acceptor = introduction("keeper-2", "keeper-1", 2).encode();
        let greeting = Transcript { dialler: &dialler, acceptor: &acceptor };
        let proof = greeting.proof(b"secret", Prover::Dialler);
        assert_eq!(greeting.verify(b"secret", Prover::Dialler, &proof), Ok(()));
        assert_eq!(greeting.verify(b"other", Prover::Dialler, &proof), Err(Refused::Secret));
        assert_eq!(greeting.verify(b"secret", Prover::Acceptor, &proof), Err(Refused::Secret), "sent back");
        assert_eq!(greeting.verify(b"secret", Prover::Dialler, &proof[..31]), Err(Refused::Secret));
        let other = introduction("keeper-2", "keeper-1", 3).encode();
        let replayed = Transcript { dialler: &dialler, acceptor: &other };
        assert_eq!(replayed.verify(b"secret", Prover::Dialler, &proof), Err(Refused::Secret), "replayed");
    }
}
