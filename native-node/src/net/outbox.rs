//! What waits to be written to one connection: bounded in bytes, never waited for by the host.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

/// Bytes that may wait for a peer that does not read. A Fetch answer alone may have 55 MB; the first frame always fits.
pub const ROOM: usize = 64 << 20;

/// The host's end. Dropping the last clone lets the writer finish what waits and close the connection.
#[derive(Clone, Debug)]
pub struct Outbox {
    frames: mpsc::UnboundedSender<Frame>,
    shared: Arc<Shared>,
}

/// Reaches an outbox without keeping the connection open.
#[derive(Clone, Debug)]
pub struct WeakOutbox {
    frames: mpsc::WeakUnboundedSender<Frame>,
    shared: Arc<Shared>,
}

/// The writer's end.
#[derive(Debug)]
pub struct Frames {
    frames: mpsc::UnboundedReceiver<Frame>,
    /// Taken out, but it is not its time yet.
    held: Option<Frame>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    overflow: Notify,
}

#[derive(Debug)]
struct Frame {
    segments: Vec<Bytes>,
    not_before: Option<Instant>,
}

/// The connection is gone, or its peer reads so slowly that it has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

pub fn outbox() -> (Outbox, Frames) {
    let (sender, frames) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::default());
    (Outbox { frames: sender, shared: shared.clone() }, Frames { frames, held: None, shared })
}

impl Outbox {
    /// Queues one frame, given in segments.
    ///
    /// # Errors
    /// [`Broken`]; the connection is to be given up.
    pub fn send(&self, segments: Vec<Bytes>) -> Result<(), Broken> {
        self.queue(Frame { segments, not_before: None })
    }

    /// As [`send`](Outbox::send), but it leaves so much later, and what is sent after it leaves behind it.
    ///
    /// # Errors
    /// As of [`send`](Outbox::send).
    pub fn send_late(&self, segments: Vec<Bytes>, by: Duration) -> Result<(), Broken> {
        self.queue(Frame { segments, not_before: Some(Instant::now() + by) })
    }

    fn queue(&self, frame: Frame) -> Result<(), Broken> {
        let length = frame.len();
        let before = self.shared.waiting.fetch_add(length, Ordering::Relaxed);
        if before > 0 && before + length > ROOM {
            self.shared.overflow.notify_one();
            return Err(Broken);
        }
        self.frames.send(frame).map_err(|_| Broken)
    }

    pub fn weak(&self) -> WeakOutbox {
        WeakOutbox { frames: self.frames.downgrade(), shared: self.shared.clone() }
    }
}

impl WeakOutbox {
    /// As [`Outbox::send`].
    ///
    /// # Errors
    /// [`Broken`], also where the host has let go.
    pub fn send(&self, segments: Vec<Bytes>) -> Result<(), Broken> {
        let frames = self.frames.upgrade().ok_or(Broken)?;
        Outbox { frames, shared: self.shared.clone() }.send(segments)
    }

    /// Returns when more waits than may.
    pub async fn overflown(&self) {
        self.shared.overflow.notified().await;
    }
}

impl Frames {
    /// The next frame, at its time; `None` when the host has let go and nothing waits. A call that is given up loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Vec<Bytes>> {
        if self.held.is_none() {
            self.held = Some(self.frames.recv().await?);
        }
        if let Some(at) = self.held.as_ref().and_then(|held| held.not_before) {
            sleep_until(at).await;
        }
        self.held.take().map(|frame| self.let_go(frame))
    }

    /// The next frame, if one waits already and it is its time.
    pub fn next_now(&mut self) -> Option<Vec<Bytes>> {
        let frame = self.held.take().or_else(|| self.frames.try_recv().ok())?;
        if frame.not_before.is_some_and(|at| at > Instant::now()) {
            self.held = Some(frame);
            return None;
        }
        Some(self.let_go(frame))
    }

    fn let_go(&self, frame: Frame) -> Vec<Bytes> {
        self.shared.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
        frame.segments
    }
}

impl Frame {
    fn len(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![0; length])]
    }

    #[tokio::test]
    async fn the_first_frame_always_fits_and_a_full_box_tells_the_writer() {
        let (outbox, mut frames) = outbox();
        let weak = outbox.weak();
        assert_eq!(outbox.send(frame(ROOM + 1)), Ok(()));
        assert_eq!(outbox.send(frame(1)), Err(Broken));
        weak.overflown().await;
        assert_eq!(frames.next().await.map(|frame| frame[0].len()), Some(ROOM + 1));
        drop(outbox);
        assert_eq!(weak.send(frame(1)), Err(Broken), "nobody holds it any more");
        assert_eq!(frames.next().await, None);
    }

    #[tokio::test]
    async fn a_late_frame_holds_back_what_is_behind_it() {
        let (outbox, mut frames) = outbox();
        let began = Instant::now();
        for (length, late) in [(1, 0), (2, 50), (3, 0)] {
            outbox.send_late(frame(length), Duration::from_millis(late)).unwrap();
        }
        assert_eq!(frames.next_now().map(|frame| frame[0].len()), Some(1));
        assert_eq!(frames.next_now(), None);
        drop(outbox);
        assert_eq!(frames.next().await.map(|frame| frame[0].len()), Some(2));
        assert!(began.elapsed() >= Duration::from_millis(50));
        assert_eq!(frames.next_now().map(|frame| frame[0].len()), Some(3));
        assert_eq!(frames.next().await, None);
    }
}
