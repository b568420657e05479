//! Connections that the node makes: a broker's session with the ensemble, by the ZooKeeper client protocol over TCP.
//!
//! Knows who is reached at an address only where it was told, so that a cut between two nodes of ours holds here too.

use super::frames::{Batch, FrameReader};
use super::gate::Gate;
use crate::inbox::Inbox;
use crate::stones::Stones;
use bytes::Bytes;
use glasshouse_core::codec::{Malformed, Result as Decoded};
use glasshouse_core::id::{DialId, NodeId};
use glasshouse_core::node::{Address, Input, Reply, Request, RequestBody};
use glasshouse_core::wire::{kafka, keeper};
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long it may take to reach somebody, looking up the name included.
const CONNECT: Duration = Duration::from_secs(5);

/// How long what was asked before a hang-up may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The longest answer: the children of one znode can be many.
const ANSWER: u32 = 64 << 20;

/// Bytes that one write gathers.
const GATHER: usize = 256 << 10;

/// The node's dials that are under way or open.
#[derive(Debug)]
pub struct Dials {
    inbox: Inbox,
    stones: Stones,
    open: BTreeMap<DialId, Line>,
}

/// The host's end of one dial. To drop it is to hang up.
#[derive(Debug)]
struct Line {
    asks: mpsc::UnboundedSender<Asked>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Asked {
    request: Request,
    at: Instant,
}

impl Dials {
    pub fn new(inbox: Inbox, stones: Stones) -> Dials {
        Dials { inbox, stones, open: BTreeMap::new() }
    }

    /// Connects in the background: `Input::Opened` or `Input::Hung` follows.
    pub fn dial(&mut self, dial: DialId, to: Address) {
        let (asks, asked) = mpsc::unbounded_channel();
        let other = self.stones.node_at(&to.host, to.port);
        let gate = Gate::new(self.stones.clone(), other);
        let call = Call { dial, to, other, gate, stones: self.stones.clone(), inbox: self.inbox.clone() };
        let task = tokio::spawn(call.run(asked)).abort_handle();
        self.open.insert(dial, Line { asks, task });
    }

    /// Sends a request; its answer is `Input::Answer`. Nothing happens if the dial is gone.
    pub fn ask(&mut self, dial: DialId, request: Request) {
        if let Some(line) = self.open.get(&dial) {
            // A task that has ended has said so by `Input::Hung`, which is on its way.
            let _ = line.asks.send(Asked { request, at: Instant::now() });
        }
    }

    /// The node no longer needs it; no `Input::Hung` follows. What was asked before still leaves, if it can soon.
    pub fn hang_up(&mut self, dial: DialId) {
        if let Some(Line { asks, task }) = self.open.remove(&dial) {
            drop(asks);
            tokio::spawn(async move {
                sleep(LAST_WORDS).await;
                task.abort();
            });
        }
    }

    /// Whether the node still wants to hear of it: what a dial said before the node hung up may come in after.
    pub fn knows(&self, dial: DialId) -> bool {
        self.open.contains_key(&dial)
    }

    /// `Input::Hung` was delivered: it is gone.
    pub fn forget(&mut self, dial: DialId) {
        self.open.remove(&dial);
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The node has let go.
    HungUp,
    /// Nobody answered, or the connection is gone.
    Gone,
}

/// One dial's task.
struct Call {
    dial: DialId,
    to: Address,
    other: Option<NodeId>,
    gate: Gate,
    stones: Stones,
    inbox: Inbox,
}

impl Call {
    async fn run(self, mut asked: mpsc::UnboundedReceiver<Asked>) {
        if self.speak(&mut asked).await == End::Gone {
            self.inbox.put(Input::Hung { dial: self.dial }).await;
        }
    }

    async fn speak(&self, asked: &mut mpsc::UnboundedReceiver<Asked>) -> End {
        let mut early = Vec::new();
        let mut stream = {
            let mut connecting = pin!(timeout(CONNECT, self.connect()));
            loop {
                tokio::select! {
                    connected = &mut connecting => match connected {
                        Ok(Ok(stream)) => break stream,
                        Ok(Err(error)) => return self.gone(&error.to_string()),
                        Err(_) => return self.gone("nobody answers"),
                    },
                    request = asked.recv() => match request {
                        Some(request) => early.push(request),
                        None => return End::HungUp,
                    },
                }
            }
        };
        let _ = stream.set_nodelay(true);
        if !self.inbox.put(Input::Opened { dial: self.dial }).await {
            return End::HungUp;
        }
        let codec = Mutex::new(Codec::default());
        let mut frames = FrameReader::new(ANSWER, None);
        let (mut read, mut write) = stream.split();
        let end = tokio::select! {
            biased;
            end = self.write(early, asked, &mut write, &codec) => end,
            end = self.read(&mut frames, &mut read, &codec) => end,
        };
        if end == End::HungUp && write.shutdown().await.is_ok() {
            // To close on unread answers would take the last words from the other end. The host limits the time of it.
            frames.deafen();
            let _ = frames.next(&mut read, &self.gate).await;
        }
        end
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        self.gate.opened().await;
        self.late(Instant::now()).await;
        TcpStream::connect((&*self.to.host, self.to.port)).await
    }

    /// Waits until what was said at a moment may leave; false if nothing slows it down.
    async fn late(&self, said: Instant) -> bool {
        let slow = self.other.and_then(|other| self.stones.slowness(other));
        if let Some(slow) = slow {
            sleep_until(said + slow).await;
        }
        slow.is_some()
    }

    async fn write(
        &self,
        early: Vec<Asked>,
        asked: &mut mpsc::UnboundedReceiver<Asked>,
        to: &mut WriteHalf<'_>,
        codec: &Mutex<Codec>,
    ) -> End {
        let mut early = early.into_iter();
        let mut batch = Batch::default();
        loop {
            let first = match early.next() {
                Some(first) => first,
                None => match asked.recv().await {
                    Some(first) => first,
                    None => return End::HungUp,
                },
            };
            let mut next = Some(first);
            while let Some(Asked { request, at }) = next {
                let waited = self.late(at).await;
                match codec.lock().unwrap_or_else(PoisonError::into_inner).encode(&request) {
                    Some(frame) => batch.push(vec![frame]),
                    None => return self.gone("two protocols on one connection"),
                }
                let more = !waited && batch.len() < GATHER;
                next = if more { early.next().or_else(|| asked.try_recv().ok()) } else { None };
            }
            if let Err(error) = batch.write(to, &self.gate, |_| {}).await {
                return self.gone(&error.to_string());
            }
        }
    }

    async fn read(&self, frames: &mut FrameReader, from: &mut ReadHalf<'_>, codec: &Mutex<Codec>) -> End {
        loop {
            let frame = match frames.next(from, &self.gate).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return self.gone("it hung up"),
                Err(trouble) => return self.gone(&trouble.to_string()),
            };
            let decoded = codec.lock().unwrap_or_else(PoisonError::into_inner).decode(frame);
            match decoded {
                Ok(reply) => {
                    if !self.inbox.put(Input::Answer { dial: self.dial, reply }).await {
                        return End::HungUp;
                    }
                }
                Err(malformed) => {
                    tracing::warn!("{} answers what cannot be read: {malformed}", self.to);
                    return End::Gone;
                }
            }
        }
    }

    fn gone(&self, why: &str) -> End {
        tracing::debug!("connection to {}: {why}", self.to);
        End::Gone
    }
}

/// The client's end of a connection; what is asked first decides what is spoken.
#[derive(Debug, Default)]
enum Codec {
    #[default]
    Silent,
    Keeper(keeper::ClientCodec),
    Kafka(kafka::ClientCodec),
}

impl Codec {
    /// `None`: the other protocol is spoken already.
    fn encode(&mut self, request: &Request) -> Option<Bytes> {
        if matches!(self, Codec::Silent) {
            *self = match &request.body {
                RequestBody::Keeper(_) => Codec::Keeper(keeper::ClientCodec::default()),
                RequestBody::Kafka(_) => Codec::Kafka(kafka::ClientCodec::default()),
            };
        }
        match (self, &request.body) {
            (Codec::Keeper(codec), RequestBody::Keeper(request)) => Some(codec.encode(request)),
            (Codec::Kafka(codec), RequestBody::Kafka(request)) => Some(codec.encode(request)),
            _ => None,
        }
    }

    fn decode(&mut self, frame: Bytes) -> Decoded<Reply<Bytes>> {
        match self {
            Codec::Silent => Err(Malformed { at: 0, expected: "silence, for nothing was asked" }),
            Codec::Keeper(codec) => codec.decode(frame).map(Reply::Keeper),
            Codec::Kafka(codec) => codec.decode(frame),
        }
    }
}
