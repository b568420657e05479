//! What waits to be written to one connection: bounded in bytes, never waited for by the host.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Bytes that may wait for a peer that does not read. A Fetch answer alone may have 55 MB; the first frame always fits.
pub const ROOM: usize = 64 << 20;

/// The host's end. Dropping the last clone lets the writer finish what waits and close the connection.
#[derive(Clone, Debug)]
pub struct Outbox {
    frames: mpsc::UnboundedSender<Vec<Bytes>>,
    waiting: Arc<AtomicUsize>,
}

/// The writer's end.
#[derive(Debug)]
pub struct Frames {
    frames: mpsc::UnboundedReceiver<Vec<Bytes>>,
    waiting: Arc<AtomicUsize>,
}

/// The connection is gone, or its peer reads so slowly that it has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

pub fn outbox() -> (Outbox, Frames) {
    let (sender, frames) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Outbox { frames: sender, waiting: waiting.clone() }, Frames { frames, waiting })
}

impl Outbox {
    /// Queues one frame, given in segments.
    ///
    /// # Errors
    /// [`Broken`]; the connection is to be given up.
    pub fn send(&self, segments: Vec<Bytes>) -> Result<(), Broken> {
        let length: usize = segments.iter().map(Bytes::len).sum();
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        if before > 0 && before + length > ROOM {
            return Err(Broken);
        }
        self.frames.send(segments).map_err(|_| Broken)
    }
}

impl Frames {
    /// The next frame; `None` when the host has let go and nothing waits.
    pub async fn next(&mut self) -> Option<Vec<Bytes>> {
        let frame = self.frames.recv().await?;
        self.forget(&frame);
        Some(frame)
    }

    /// The next frame, if one waits already.
    pub fn next_now(&mut self) -> Option<Vec<Bytes>> {
        let frame = self.frames.try_recv().ok()?;
        self.forget(&frame);
        Some(frame)
    }

    fn forget(&self, frame: &[Bytes]) {
        let length: usize = frame.iter().map(Bytes::len).sum();
        self.waiting.fetch_sub(length, Ordering::Relaxed);
    }
}
