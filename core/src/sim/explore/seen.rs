//! The states a search has been in, as digests: an open-addressing table, half full at most.

/// A set of 64-bit digests. (Ten million states meet by chance in one of 10⁵ searches.)
pub struct Seen {
    slots: Vec<u64>,
    len: usize,
}

impl Seen {
    pub fn new() -> Seen {
        Seen { slots: vec![0; 1 << 16], len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a digest; false if it was there.
    pub fn insert(&mut self, digest: u64) -> bool {
        // Zero marks an empty slot.
        let digest = digest.max(1);
        if (self.len + 1) * 2 > self.slots.len() {
            let larger = vec![0; self.slots.len() * 2];
            for old in core::mem::replace(&mut self.slots, larger).into_iter().filter(|old| *old != 0) {
                let at = self.place(old);
                self.slots[at] = old;
            }
        }
        let at = self.place(digest);
        if self.slots[at] == digest {
            return false;
        }
        self.slots[at] = digest;
        self.len += 1;
        true
    }

    /// Where a digest is, or would be.
    fn place(&self, digest: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = digest as usize & mask;
        while self.slots[at] != 0 && self.slots[at] != digest {
            at = (at + 1) & mask;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_digest_is_new_once_also_across_growth() {
        let mut seen = Seen::new();
        let digest = |n: u64| crate::rng::mix(n % 50_000);
        let new = (0..100_000).filter(|n| seen.insert(digest(*n))).count();
        assert_eq!((new, seen.len()), (50_000, 50_000));
    }
}
