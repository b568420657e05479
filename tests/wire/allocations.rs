//! How much memory a piece of code holds at its worst, counted per thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn held(change: i64) {
    // A thread that is ending has no counters left, and nothing to measure.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        held(-(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may exist at the same time.
        held(size as i64);
        held(-(layout.size() as i64));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `run` held at once beyond what was held before it, and what it returned.
pub fn peak<T>(run: impl FnOnce() -> T) -> (u64, T) {
    let before = HELD.get();
    PEAK.set(before);
    let result = run();
    ((PEAK.get() - before) as u64, result)
}

#[test]
fn the_worst_moment_is_counted() {
    let (peak, kept) = peak(|| {
        drop(Vec::<u8>::with_capacity(5000));
        Vec::<u8>::with_capacity(1000)
    });
    assert_eq!((peak, kept.capacity()), (5000, 1000));
}
