//! A sequence that grows at its end and whose clones share everything: ghost histories, which keyframes clone.

use std::sync::Arc;

/// Entries of one chunk.
const CHUNK: usize = 128;

/// See the module. Positions count from the first entry ever pushed.
#[derive(Clone, Debug)]
pub struct Run<T> {
    chunks: Arc<Vec<Arc<Vec<T>>>>,
    /// Entries that were forgotten at the front; a multiple of the chunk.
    floor: usize,
    len: usize,
}

impl<T> Default for Run<T> {
    fn default() -> Run<T> {
        Run { chunks: Arc::new(Vec::new()), floor: 0, len: 0 }
    }
}

impl<T: Clone> Run<T> {
    /// One past the last position.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first position that is still known.
    pub fn floor(&self) -> usize {
        self.floor
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        let place = at.checked_sub(self.floor)?;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    pub fn last(&self) -> Option<&T> {
        self.get(self.len.checked_sub(1)?)
    }

    pub fn push(&mut self, entry: T) {
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => Arc::make_mut(chunk).push(entry),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                chunks.push(Arc::new(chunk));
            }
        }
        self.len += 1;
    }

    /// Cuts the sequence so that it ends before `len`.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len.max(self.floor) {
            let chunks = Arc::make_mut(&mut self.chunks);
            let Some(last) = chunks.last_mut() else { return };
            Arc::make_mut(last).pop();
            self.len -= 1;
            if last.is_empty() {
                chunks.pop();
            }
        }
    }

    /// Forgets whole chunks at the front while more than `keep` entries stay.
    pub fn keep_newest(&mut self, keep: usize) {
        if self.len - self.floor > keep + 8 * CHUNK {
            let chunks = (self.len - self.floor - keep) / CHUNK;
            Arc::make_mut(&mut self.chunks).drain(..chunks);
            self.floor += chunks * CHUNK;
        }
    }

    /// The first known position whose entry does not satisfy `before`, given that those which do come first.
    pub fn partition_point(&self, before: impl Fn(&T) -> bool) -> usize {
        let chunk = self.chunks.partition_point(|chunk| chunk.first().is_some_and(&before)).saturating_sub(1);
        let inside = self.chunks.get(chunk).map_or(0, |entries| entries.partition_point(before));
        self.floor + chunk * CHUNK + inside
    }

    pub fn iter_from(&self, at: usize) -> impl Iterator<Item = &T> {
        (at.max(self.floor)..self.len).map_while(|at| self.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_cut_and_forgotten() {
        let mut run = Run::default();
        for n in 0..5_000u64 {
            run.push(n * 2);
        }
        let kept = run.clone();
        assert_eq!((run.len(), run.get(700), run.last()), (5_000, Some(&1_400), Some(&9_998)));
        assert_eq!((run.partition_point(|n| *n < 1_399), run.partition_point(|n| *n < 20_000)), (700, 5_000));
        run.truncate(130);
        assert_eq!((run.len(), run.last(), kept.len()), (130, Some(&258), 5_000));
        run.push(7);
        assert_eq!(run.iter_from(129).copied().collect::<Vec<_>>(), [258, 7]);
        let mut run = kept;
        run.keep_newest(1_000);
        assert!(run.floor() > 3_000 && run.get(run.floor()) == Some(&(run.floor() as u64 * 2)));
        assert_eq!((run.get(0), run.partition_point(|n| *n < 9_000)), (None, 4_500));
    }
}
