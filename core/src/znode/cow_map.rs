//! An ordered map whose clones share everything, for state that is cloned whole now and then and changed a little at a
//! time: a run of chunks, each copied only when it is changed while a clone still holds it.
//!
//! A clone costs one reference count; the first change after it copies the run of chunks (eight bytes for each 64
//! entries) and one chunk. Lookups are two binary searches.

use core::hash::{Hash, Hasher};
use std::sync::Arc;

/// Entries a chunk holds before it is cut in two.
const CHUNK: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub struct CowMap<K, V> {
    /// No chunk is empty; keys ascend within and across them.
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    len: u64,
}

type Chunk<K, V> = Vec<(K, V)>;

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        CowMap { chunks: Arc::new(Vec::new()), len: 0 }
    }
}

/// Where a key is, or where it would be put.
struct Place {
    chunk: usize,
    slot: core::result::Result<usize, usize>,
}

impl<K: Ord + Clone, V: Clone> CowMap<K, V> {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&self, key: &K) -> Place {
        let after = self.chunks.partition_point(|chunk| chunk[0].0 <= *key);
        let chunk = after.saturating_sub(1);
        let slot = match self.chunks.get(chunk) {
            None => Err(0),
            Some(entries) => entries.binary_search_by(|(held, _)| held.cmp(key)),
        };
        Place { chunk, slot }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        let Place { chunk, slot } = self.place(key);
        slot.ok().map(|slot| &self.chunks[chunk][slot].1)
    }

    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).slot.is_ok()
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let Place { chunk, slot } = self.place(key);
        let slot = slot.ok()?;
        Some(&mut Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk])[slot].1)
    }

    /// Puts `value` under `key`; the value it replaces is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Place { chunk, slot } = self.place(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let slot = match slot {
            Ok(slot) => return Some(core::mem::replace(&mut Arc::make_mut(&mut chunks[chunk])[slot].1, value)),
            Err(slot) => slot,
        };
        self.len += 1;
        if chunks.is_empty() {
            chunks.push(Arc::new(vec![(key, value)]));
            return None;
        }
        let entries = Arc::make_mut(&mut chunks[chunk]);
        entries.insert(slot, (key, value));
        if entries.len() > CHUNK {
            // Keys often arrive in ascending order: then the full chunk stays full.
            let cut = if slot + 1 == entries.len() { entries.len() - 1 } else { entries.len() / 2 };
            let upper = entries.split_off(cut);
            chunks.insert(chunk + 1, Arc::new(upper));
        }
        None
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let Place { chunk, slot } = self.place(key);
        let slot = slot.ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[chunk]);
        let (_, value) = entries.remove(slot);
        self.len -= 1;
        if entries.is_empty() {
            chunks.remove(chunk);
        } else if entries.len() < CHUNK / 4 && chunk + 1 < chunks.len() && chunks[chunk + 1].len() < CHUNK / 2 {
            let next = chunks.remove(chunk + 1);
            Arc::make_mut(&mut chunks[chunk]).extend(next.iter().cloned());
        }
        Some(value)
    }

    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { chunks: &self.chunks, chunk: 0, slot: 0 }
    }

    /// The entries whose keys are `key` or greater, ascending.
    pub fn iter_from(&self, key: &K) -> Iter<'_, K, V> {
        let Place { chunk, slot } = self.place(key);
        Iter { chunks: &self.chunks, chunk, slot: slot.unwrap_or_else(|slot| slot) }
    }

    /// The entries from the first whose key is not `before`; `before` must hold for a prefix of the keys.
    pub fn iter_past(&self, before: impl Fn(&K) -> bool) -> Iter<'_, K, V> {
        let chunk = self.chunks.partition_point(|chunk| before(&chunk[0].0)).saturating_sub(1);
        let slot = self.chunks.get(chunk).map_or(0, |entries| entries.partition_point(|(key, _)| before(key)));
        Iter { chunks: &self.chunks, chunk, slot }
    }
}

/// Entries in ascending order of their keys.
#[derive(Clone, Debug)]
pub struct Iter<'a, K, V> {
    chunks: &'a [Arc<Chunk<K, V>>],
    chunk: usize,
    slot: usize,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entries = self.chunks.get(self.chunk)?;
            if let Some((key, value)) = entries.get(self.slot) {
                self.slot += 1;
                return Some((key, value));
            }
            (self.chunk, self.slot) = (self.chunk + 1, 0);
        }
    }
}

/// Equal entries; where chunks are cut does not matter.
impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for CowMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) || (self.len == other.len && self.iter().eq(other.iter()))
    }
}

impl<K: Ord + Clone, V: Clone + Eq> Eq for CowMap<K, V> {}

impl<K: Ord + Clone + Hash, V: Clone + Hash> Hash for CowMap<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.len);
        for entry in self.iter() {
            entry.hash(state);
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for CowMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = CowMap::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn it_does_what_an_ordered_map_does_and_clones_keep_what_they_saw() {
        let mut rng = Rng::new(7);
        let (mut ours, mut model) = (CowMap::default(), BTreeMap::new());
        let mut kept = Vec::new();
        for round in 0..6000u32 {
            let key = rng.below(700);
            if rng.below(5) < 3 {
                assert_eq!(ours.insert(key, round), model.insert(key, round));
            } else {
                assert_eq!(ours.remove(&key), model.remove(&key));
            }
            if let Some(value) = ours.get_mut(&(key + 1)) {
                *value += 1;
                *model.get_mut(&(key + 1)).unwrap() += 1;
            }
            assert_eq!((ours.len(), ours.get(&key)), (model.len() as u64, model.get(&key)));
            if round % 500 == 0 {
                assert!(ours.iter_from(&key).eq(model.range(key..)));
                assert!(ours.iter_past(|held| *held <= key).eq(model.range(key + 1..)));
                kept.push((ours.clone(), model.clone()));
            }
        }
        for (ours, model) in kept {
            assert!(ours.iter().eq(model.iter()));
            assert_eq!(ours, model.into_iter().collect());
        }
    }
}
