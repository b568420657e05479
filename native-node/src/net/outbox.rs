//! What waits to be written to one connection: bounded in bytes, for each and for all of a listener together, never
//! waited for by the host. What the writer has taken and the socket has not counts for itself: one answer may have 55 MB,
//! and thousands of clients may ask for one and read nothing.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

/// Bytes that may wait for a peer that does not read. A Fetch answer alone may have 55 MB; the first frame always fits.
pub const ROOM: usize = 64 << 20;

/// Bytes that may wait for all clients of a listener together. With more, whoever has most of them has to go.
pub const BUDGET: usize = 256 << 20;

/// Bytes of all clients of a listener together that writers have taken and sockets have not. With more, whoever reads
/// nothing has to go.
pub const HELD: usize = 256 << 20;

/// And with more than these, whoever has most of them.
const HELD_AT_MOST: usize = 4 * HELD;

/// Who has read nothing for so long since there was no room goes.
const GRACE: Duration = Duration::from_millis(500);

/// All outboxes of one listener; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<All>);

#[derive(Debug, Default)]
struct All {
    waiting: AtomicUsize,
    writing: AtomicUsize,
    last: AtomicU64,
    boxes: Mutex<BTreeMap<u64, Weak<Shared>>>,
}

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

#[derive(Debug)]
struct Shared {
    number: u64,
    waiting: AtomicUsize,
    /// Taken by the writer, and not by the socket yet.
    writing: AtomicUsize,
    /// Since when the socket takes nothing, as far as somebody looked: a node that was busy for a second could not write.
    stuck: Mutex<Option<Instant>>,
    overflow: Notify,
    /// It has to go, and no longer counts among all.
    given_up: AtomicBool,
    all: Arc<All>,
}

#[derive(Debug)]
struct Frame {
    segments: Vec<Bytes>,
    not_before: Option<Instant>,
}

/// The connection is gone, or its peer reads so slowly that it has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Budget {
    pub fn outbox(&self) -> (Outbox, Frames) {
        let (sender, frames) = mpsc::unbounded_channel();
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            number,
            waiting: AtomicUsize::new(0),
            writing: AtomicUsize::new(0),
            stuck: Mutex::default(),
            overflow: Notify::new(),
            given_up: AtomicBool::new(false),
            all: self.0.clone(),
        });
        self.0.lock().insert(number, Arc::downgrade(&shared));
        (Outbox { frames: sender, shared: shared.clone() }, Frames { frames, held: None, shared })
    }
}

impl All {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Shared>>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that have not been given up. Kept until the lock is free again: the last to go takes it, too.
    fn boxes(&self) -> Vec<Arc<Shared>> {
        let mut boxes: Vec<Arc<Shared>> = self.lock().values().filter_map(Weak::upgrade).collect();
        boxes.retain(|one| !one.is_given_up());
        boxes
    }

    /// Gives up whoever reads nothing, the longest first, until what writers hold is within bounds; if that is not enough
    /// by far, whoever has most of it.
    fn make_room_for_writers(&self) {
        let mut boxes = self.boxes();
        boxes.retain(|one| one.writing() > 0);
        let now = Instant::now();
        boxes.sort_by_cached_key(|one| one.stuck_since(now));
        for one in boxes.iter().take_while(|one| now - one.stuck_since(now) >= GRACE) {
            if self.writing.load(Ordering::Relaxed) <= HELD {
                return;
            }
            one.give_up();
        }
        boxes.retain(|one| !one.is_given_up());
        boxes.sort_by_key(|one| one.writing());
        while self.writing.load(Ordering::Relaxed) > HELD_AT_MOST
            && let Some(largest) = boxes.pop()
        {
            largest.give_up();
        }
    }

    /// Gives up whoever has most that waits, until the rest is within the budget.
    fn make_room(&self) {
        let mut boxes = self.boxes();
        boxes.sort_by_key(|one| one.waiting());
        while self.waiting.load(Ordering::Relaxed) > BUDGET
            && let Some(largest) = boxes.pop()
        {
            largest.give_up();
        }
    }
}

impl Shared {
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if !self.is_given_up() {
            self.all.waiting.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn take(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        if !self.is_given_up() {
            self.all.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn writing(&self) -> usize {
        self.writing.load(Ordering::Relaxed)
    }

    fn stuck(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, if nobody has looked since the socket took something.
    fn stuck_since(&self, now: Instant) -> Instant {
        *self.stuck().get_or_insert(now)
    }

    /// From what waits to what is being written.
    fn begin(&self, bytes: usize) {
        self.take(bytes);
        if self.writing.fetch_add(bytes, Ordering::Relaxed) == 0 {
            *self.stuck() = None;
        }
        if !self.is_given_up() && self.all.writing.fetch_add(bytes, Ordering::Relaxed) + bytes > HELD {
            self.all.make_room_for_writers();
        }
    }

    /// The socket took so many bytes, lengths among them.
    fn end(&self, bytes: usize) {
        let bytes = bytes.min(self.writing());
        self.writing.fetch_sub(bytes, Ordering::Relaxed);
        if !self.is_given_up() {
            self.all.writing.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn give_up(&self) {
        if !self.given_up.swap(true, Ordering::Relaxed) {
            self.all.waiting.fetch_sub(self.waiting(), Ordering::Relaxed);
            self.all.writing.fetch_sub(self.writing(), Ordering::Relaxed);
        }
        self.overflow.notify_one();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.take(self.waiting());
        self.end(self.writing());
        self.all.lock().remove(&self.number);
    }
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
        let (length, before) = (frame.len(), self.shared.waiting());
        if before > 0 && before + length > ROOM {
            self.shared.give_up();
        } else {
            self.shared.add(length);
        }
        if self.shared.all.waiting.load(Ordering::Relaxed) > BUDGET {
            self.shared.all.make_room();
        }
        if self.shared.is_given_up() {
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
        self.shared.begin(frame.len());
        frame.segments
    }

    /// The socket took so many bytes of the frames that were taken out.
    pub fn moved(&self, bytes: usize) {
        *self.shared.stuck() = None;
        self.shared.end(bytes);
    }

    /// All that was taken out is written.
    pub fn written(&self) {
        self.shared.end(usize::MAX);
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
        let (outbox, mut frames) = Budget::default().outbox();
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
    async fn of_all_together_whoever_has_most_goes_when_it_is_too_much() {
        let budget = Budget::default();
        let many: Vec<(Outbox, Frames)> = (0..8).map(|_| budget.outbox()).collect();
        let each = BUDGET / 8;
        for (outbox, _) in &many[1..] {
            assert_eq!(outbox.send(frame(each)), Ok(()));
        }
        assert_eq!(many[0].0.send(frame(each - 10)), Ok(()));
        // Of its own it has room for more.
        let (newcomer, mut frames) = budget.outbox();
        assert_eq!(newcomer.send(frame(10)), Ok(()), "all is used");
        assert_eq!(many[3].0.send(frame(1)), Err(Broken), "it has most");
        many[3].0.weak().overflown().await;
        assert_eq!(newcomer.send(frame(each)), Ok(()), "in its place");
        assert_eq!(newcomer.send(frame(1)), Err(Broken), "now it is this one");
        assert_eq!(many[2].0.send(frame(1)), Ok(()));
        assert!(frames.next_now().is_some());
        drop(many);
        drop((newcomer, frames));
        assert_eq!((budget.0.waiting.load(Ordering::Relaxed), budget.0.lock().len()), (0, 0));
    }

    #[tokio::test]
    async fn what_writers_hold_is_bounded_and_who_reads_nothing_goes() {
        let budget = Budget::default();
        let mut many: Vec<(Outbox, Frames)> = (0..7).map(|_| budget.outbox()).collect();
        let held = |budget: &Budget| budget.0.writing.load(Ordering::Relaxed);
        for (outbox, frames) in &mut many[..6] {
            assert_eq!(outbox.send(frame(50 << 20)), Ok(()));
            assert!(frames.next_now().is_some());
        }
        assert_eq!(held(&budget), 300 << 20, "nobody is known to be slow");
        tokio::time::sleep(GRACE).await;
        // All but two of them read.
        for (_, frames) in &many[2..6] {
            frames.moved(1 << 20);
        }
        let (outbox, frames) = &mut many[6];
        assert_eq!(outbox.send(frame(50 << 20)), Ok(()));
        assert!(frames.next_now().is_some());
        let given_up: Vec<bool> = many.iter().map(|(outbox, _)| outbox.shared.is_given_up()).collect();
        assert_eq!(given_up, [true, true, false, false, false, false, false]);
        assert_eq!(held(&budget), 246 << 20);
        many[0].0.weak().overflown().await;
        assert_eq!(many[0].0.send(frame(1)), Err(Broken));
        many[2].1.written();
        assert_eq!(held(&budget), 197 << 20);
        drop(many);
        assert_eq!((held(&budget), budget.0.lock().len()), (0, 0));
    }

    #[tokio::test]
    async fn a_late_frame_holds_back_what_is_behind_it() {
        let (outbox, mut frames) = Budget::default().outbox();
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
