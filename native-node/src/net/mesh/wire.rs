//! The bytes below a WebSocket: TCP or TLS, with a count of what arrives and of what is taken, so that a peer that says
//! or reads nothing is noticed and a stranger cannot say much. Knows nothing of messages.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// A WebSocket of the mesh.
pub(super) type Socket = WebSocketStream<Wire>;

/// Bytes that are read of a peer before it has proved who it is; its greeting has about 500.
const BEFORE_GREETING: usize = 8 << 10;
/// A longer message is sent in frames of this length: what is reserved for a frame that was announced, and what is
/// moved when a socket takes only a part of it, stays small.
pub(super) const FRAGMENT: usize = 1 << 20;
/// Bytes that wait before a link writes them. A frame is taken only when those before it have been written, or are fewer.
const WRITTEN_AT: usize = 128 << 10;

/// The settings of a socket whose peer is unknown.
pub(super) fn for_strangers() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(BEFORE_GREETING)
        .max_write_buffer_size(4 * BEFORE_GREETING)
        .max_message_size(Some(BEFORE_GREETING))
        .max_frame_size(Some(BEFORE_GREETING))
}

/// The settings of a link whose longest message has `frame` bytes.
pub(super) fn for_peers(frame: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(32 << 10)
        .write_buffer_size(WRITTEN_AT)
        // Room for a frame, and for the pongs to a peer that asks and does not read: with more of them the link ends.
        .max_write_buffer_size(WRITTEN_AT + 2 * FRAGMENT)
        .max_message_size(Some(frame))
        .max_frame_size(Some(FRAGMENT))
}

/// Whether something was heard of the other end lately, and whether it took something.
#[derive(Debug, Default)]
pub(super) struct Life {
    reads: AtomicU64,
    writes: AtomicU64,
    deaf: AtomicBool,
}

impl Life {
    /// Grows whenever bytes arrive.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Grows whenever the socket takes bytes.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Says that nobody listens at the moment because the node is busy: then the silence is not the peer's.
    pub(super) fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(super) enum Bare {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    bare: Bare,
    life: Arc<Life>,
    /// Bytes that may still be read; `None` once the peer is known.
    budget: Option<usize>,
}

impl Wire {
    pub(super) fn new(bare: Bare) -> Wire {
        Wire { bare, life: Arc::default(), budget: Some(BEFORE_GREETING) }
    }

    pub(super) fn life(&self) -> Arc<Life> {
        self.life.clone()
    }

    /// The peer has proved who it is.
    pub(super) fn trust(&mut self) {
        self.budget = None;
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Wire { bare, life, budget } = self.get_mut();
        let before = buf.filled().len();
        ready!(match bare {
            Bare::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Bare::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        })?;
        let read = buf.filled().len() - before;
        if read > 0 {
            life.reads.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(left) = budget {
            match left.checked_sub(read) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Err(io::Error::other("it says too much before it has greeted"))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Wire { bare, life, .. } = self.get_mut();
        let written = ready!(match bare {
            Bare::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Bare::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        })?;
        if written > 0 {
            life.writes.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bare {
            Bare::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Bare::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bare {
            Bare::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Bare::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
