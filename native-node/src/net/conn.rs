//! One client's connection, whatever it speaks: frames in, requests to the inbox, answers out, in order.
//!
//! Knows no protocol; that is a [`Protocol`]. The machine hears of a connection with its first frame that makes sense,
//! so strangers who say nothing, or nonsense, never reach it.

use super::frames::{Batch, FrameReader};
use super::gate::Gate;
use super::outbox::{Budget, Frames, WeakOutbox};
use super::vitals::Vitals;
use crate::inbox::{Inbox, Incoming};
use bytes::Bytes;
use glasshouse_core::id::ConnId;
use glasshouse_core::node::{Input, Request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

/// Bytes that one write gathers, unless a single frame has more.
const GATHER: usize = 256 << 10;

/// How long a client may take to hang up, once it was told everything.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a listener's clients speak: the state of one connection.
pub(crate) trait Protocol: Send + 'static {
    /// Says which first four bytes are no length, but a word that is answered by text.
    const WORD: Option<fn([u8; 4]) -> bool>;
    /// A client has proved to be one when it has asked something; otherwise when it was answered.
    const PROVEN_BY_ASKING: bool;

    fn judge(&mut self, frame: Bytes) -> Verdict;

    /// Whether a frame that goes out answers a request.
    fn is_answer(frame: &[Bytes]) -> bool;
}

/// What is to be done about a frame.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The machine is asked, once fewer than `behind` requests wait for answers.
    Ask { request: Request, answered: bool, behind: usize },
    /// The machine is asked, answers with bytes that are written as they are, and lets go.
    Word(Request),
    /// The listener answers this itself, in its turn.
    Answer(Bytes),
    /// There is no answer: the connection is closed, once what was asked before is answered.
    Refuse(String),
    /// It is closed at once.
    Nonsense(String),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything was said that the client will hear: it is let go gently.
    InOrder,
    /// By the client, by its mistake, or by a broken socket.
    Broken,
}

/// What a connection is made of.
pub(crate) struct Parts<P> {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub protocol: P,
    pub limit: u32,
    pub inbox: Inbox,
    pub gate: Gate,
    pub budget: Budget,
    pub vitals: Arc<Vitals>,
}

/// Serves one client to the end. Whoever calls it then sees to it that the machine is told ([`close`]).
pub(crate) async fn run<P: Protocol>(mut parts: Parts<P>) {
    let mut reader = FrameReader::new(parts.limit, P::WORD);
    let vitals = parts.vitals.clone();
    let first = tokio::select! {
        biased;
        () = vitals.closed() => return,
        first = reader.next(&mut parts.stream, &parts.gate) => first,
    };
    let (length, first) = match first {
        Ok(Some(frame)) => (frame.len(), parts.protocol.judge(frame)),
        Ok(None) => return,
        Err(trouble) => return tracing::debug!(peer = %parts.peer, "closed a connection: {trouble}"),
    };
    vitals.hear();
    if let Verdict::Refuse(why) | Verdict::Nonsense(why) = first {
        return tracing::debug!(peer = %parts.peer, "closed a connection: {why}");
    }
    let conn = parts.inbox.next_conn();
    let (outbox, frames) = parts.budget.outbox();
    let own = outbox.weak();
    let connected = Incoming::Connected { conn, peer: parts.peer, outbox };
    let told = tokio::select! {
        biased;
        // Where the inbox is full, whoever is sent away must not keep a socket.
        () = vitals.closed() => return,
        told = parts.inbox.put_incoming(connected) => told,
    };
    if !told {
        return;
    }
    vitals.set_conn(conn);
    let Parts { mut stream, peer, protocol, inbox, gate, .. } = parts;
    let (mut read, mut write) = stream.split();
    let raw = matches!(first, Verdict::Word(_));
    let (inbox, gate) = (&inbox, &gate);
    let mut speaking = Speaking { conn, peer, protocol, length, inbox, gate, vitals: &vitals, own: &own };
    let end = tokio::select! {
        biased;
        () = vitals.closed() => End::Broken,
        () = own.overflown() => {
            tracing::debug!(%peer, "closed a connection: it does not read what it is sent");
            End::Broken
        }
        end = write_answers::<P>(&mut write, frames, raw, gate, &vitals) => end,
        end = speaking.read_requests(first, &mut reader, &mut read) => end,
    };
    if end == End::Broken {
        // The socket is closed first: to tell the machine may take as long as the inbox is full.
        return;
    }
    close(inbox, &vitals).await;
    // What the client still sends is read: to close on unread bytes would take the last answers from it.
    reader.deafen();
    let parting = async {
        write.shutdown().await?;
        let _ = reader.next(&mut read, gate).await;
        std::io::Result::Ok(())
    };
    tokio::select! {
        biased;
        () = vitals.closed() => {}
        _ = timeout(FAREWELL, parting) => {}
    }
}

/// Tells the machine that the connection is gone, if it knows of it and nobody has told it yet.
pub(crate) async fn close(inbox: &Inbox, vitals: &Vitals) {
    if let Some(conn) = vitals.take_conn() {
        inbox.put(Input::Closed { conn }).await;
    }
}

/// The reading side.
struct Speaking<'a, P> {
    conn: ConnId,
    peer: SocketAddr,
    protocol: P,
    /// Of its last frame, in bytes.
    length: usize,
    inbox: &'a Inbox,
    gate: &'a Gate,
    vitals: &'a Vitals,
    own: &'a WeakOutbox,
}

impl<P: Protocol> Speaking<'_, P> {
    async fn read_requests(&mut self, first: Verdict, reader: &mut FrameReader, from: &mut ReadHalf<'_>) -> End {
        let mut verdict = first;
        loop {
            if let Verdict::Word(request) = verdict {
                return self.say_word(request, reader, from).await;
            }
            if let Err(end) = self.obey(verdict).await {
                return end;
            }
            verdict = match reader.next(from, self.gate).await {
                Ok(Some(frame)) => {
                    self.length = frame.len();
                    self.protocol.judge(frame)
                }
                Ok(None) => return End::Broken,
                Err(trouble) => {
                    tracing::debug!(peer = %self.peer, "closed a connection: {trouble}");
                    return End::Broken;
                }
            };
            self.vitals.hear();
        }
    }

    async fn obey(&mut self, verdict: Verdict) -> Result<(), End> {
        match verdict {
            Verdict::Ask { request, answered, behind } => {
                if answered {
                    self.vitals.room(behind).await;
                    self.vitals.ask();
                }
                if P::PROVEN_BY_ASKING {
                    self.vitals.prove();
                }
                self.put(request).await
            }
            Verdict::Answer(frame) => {
                self.vitals.room(1).await;
                self.vitals.ask();
                self.own.send(vec![frame]).map_err(|_| End::Broken)
            }
            Verdict::Refuse(why) => {
                self.vitals.room(1).await;
                tracing::debug!(peer = %self.peer, "closed a connection: {why}");
                Err(End::InOrder)
            }
            Verdict::Nonsense(why) => {
                tracing::debug!(peer = %self.peer, "closed a connection: {why}");
                Err(End::Broken)
            }
            Verdict::Word(_) => unreachable!("a word is only ever the first frame"),
        }
    }

    /// Asks the word and lets the writer end the connection: who sent a word may have hung up its sending side already.
    async fn say_word(&mut self, request: Request, reader: &mut FrameReader, from: &mut ReadHalf<'_>) -> End {
        self.vitals.ask();
        if let Err(end) = self.put(request).await {
            return end;
        }
        reader.deafen();
        let _ = reader.next(from, self.gate).await;
        std::future::pending().await
    }

    async fn put(&mut self, request: Request) -> Result<(), End> {
        match self.inbox.ask(self.conn, request, self.length).await {
            true => Ok(()),
            false => Err(End::Broken),
        }
    }
}

/// The writing side: ends when the host has let go and all is written.
async fn write_answers<P: Protocol>(
    to: &mut WriteHalf<'_>,
    mut frames: Frames,
    raw: bool,
    gate: &Gate,
    vitals: &Vitals,
) -> End {
    let mut batch = Batch::default();
    let mut answers = 0;
    while let Some(frame) = frames.next().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            answers += usize::from(P::is_answer(&frame));
            if raw {
                batch.push_raw(frame)
            } else {
                batch.push(frame)
            }
            next = if batch.len() < GATHER { frames.next_now() } else { None };
        }
        vitals.writing();
        let moved = |bytes| {
            vitals.writing();
            frames.moved(bytes);
        };
        if batch.write(to, gate, moved).await.is_err() {
            return End::Broken;
        }
        frames.written();
        vitals.written(std::mem::take(&mut answers));
    }
    End::InOrder
}
