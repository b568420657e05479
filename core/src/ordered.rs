//! Ordered maps and sets for state: sorted vectors behind the verbs of the standard library's trees.
//!
//! Nearly every map of a machine holds a handful of entries, is walked more often than it is changed, and is cloned whole
//! for keyframes; there a vector is faster than a tree. It is also a tenth of a tree's code, once for each of some two
//! hundred pairs of key and value that the page would otherwise download. Appending at the end costs nothing, any other
//! insertion moves what is above it: state that grows without bounds and out of order needs another shape, as the znodes'
//! chunks have.

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Bound, Index, RangeBounds};
use std::{slice, vec};

/// A map whose entries lie in the order of their keys, each key once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrdMap<K, V> {
    entries: Vec<(K, V)>,
}

/// A set whose elements lie in order, each once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrdSet<T> {
    elements: Vec<T>,
}

impl<K, V> OrdMap<K, V> {
    pub const fn new() -> OrdMap<K, V> {
        OrdMap { entries: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.entries.iter())
    }

    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        IterMut(self.entries.iter_mut())
    }

    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys(self.entries.iter())
    }

    pub fn values(&self) -> Values<'_, K, V> {
        Values(self.entries.iter())
    }

    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        ValuesMut(self.entries.iter_mut())
    }

    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator {
        self.entries.into_iter().map(|(key, _)| key)
    }

    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> + ExactSizeIterator {
        self.entries.into_iter().map(|(_, value)| value)
    }

    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.entries.first().map(|(key, value)| (key, value))
    }

    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.entries.last().map(|(key, value)| (key, value))
    }

    pub fn first_entry(&mut self) -> Option<EndEntry<'_, K, V>> {
        if self.entries.is_empty() { None } else { Some(EndEntry { entries: &mut self.entries, at: 0 }) }
    }

    pub fn last_entry(&mut self) -> Option<EndEntry<'_, K, V>> {
        let at = self.entries.len().checked_sub(1)?;
        Some(EndEntry { entries: &mut self.entries, at })
    }

    pub fn pop_first(&mut self) -> Option<(K, V)> {
        if self.entries.is_empty() { None } else { Some(self.entries.remove(0)) }
    }

    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.entries.pop()
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }
}

impl<K: Ord, V> OrdMap<K, V> {
    /// Where the key is, or where it would be put. Out of line, so that each pair of types pays for it once.
    #[inline(never)]
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.entries.binary_search_by(|(held, _)| held.borrow().cmp(key))
    }

    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let (key, value) = self.entries.get(self.find(key).ok()?)?;
        Some((key, value))
    }

    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Puts `value` under `key`; the value it replaces is returned.
    #[inline(never)]
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(core::mem::replace(&mut self.entries[at].1, value)),
            Err(at) => {
                self.entries.insert(at, (key, value));
                None
            }
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        Some(self.entries.remove(at).1)
    }

    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        let place = self.find(&key);
        Entry { entries: &mut self.entries, place, key }
    }

    /// The entries whose keys are in the range, ascending.
    pub fn range<R: RangeBounds<K>>(&self, range: R) -> Iter<'_, K, V> {
        let from = match range.start_bound() {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.entries.partition_point(|(held, _)| held < key),
            Bound::Excluded(key) => self.entries.partition_point(|(held, _)| held <= key),
        };
        let upto = match range.end_bound() {
            Bound::Unbounded => self.entries.len(),
            Bound::Included(key) => self.entries.partition_point(|(held, _)| held <= key),
            Bound::Excluded(key) => self.entries.partition_point(|(held, _)| held < key),
        };
        Iter(self.entries[from..upto.max(from)].iter())
    }

    /// Takes out the entries from `key` upwards.
    pub fn split_off(&mut self, key: &K) -> OrdMap<K, V> {
        let at = self.entries.partition_point(|(held, _)| held < key);
        OrdMap { entries: self.entries.split_off(at) }
    }
}

/// The place of one key, taken or not.
pub struct Entry<'a, K, V> {
    entries: &'a mut Vec<(K, V)>,
    place: Result<usize, usize>,
    key: K,
}

impl<'a, K, V> Entry<'a, K, V> {
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    pub fn or_insert_with(self, value: impl FnOnce() -> V) -> &'a mut V {
        let at = match self.place {
            Ok(at) => at,
            Err(at) => {
                self.entries.insert(at, (self.key, value()));
                at
            }
        };
        &mut self.entries[at].1
    }

    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}

/// The first or the last entry.
pub struct EndEntry<'a, K, V> {
    entries: &'a mut Vec<(K, V)>,
    at: usize,
}

impl<K, V> EndEntry<'_, K, V> {
    pub fn key(&self) -> &K {
        &self.entries[self.at].0
    }

    pub fn get(&self) -> &V {
        &self.entries[self.at].1
    }

    pub fn get_mut(&mut self) -> &mut V {
        &mut self.entries[self.at].1
    }

    pub fn remove(self) -> V {
        self.remove_entry().1
    }

    pub fn remove_entry(self) -> (K, V) {
        self.entries.remove(self.at)
    }
}

/// Ways to walk a map, all of them over the slice of its entries.
macro_rules! walks {
    ($($name:ident $over:ident $item:ty: $entry:pat => $what:expr;)*) => { $(
        pub struct $name<'a, K, V>(slice::$over<'a, (K, V)>);

        impl<'a, K, V> Iterator for $name<'a, K, V> {
            type Item = $item;

            fn next(&mut self) -> Option<Self::Item> {
                self.0.next().map(|$entry| $what)
            }

            fn nth(&mut self, n: usize) -> Option<Self::Item> {
                self.0.nth(n).map(|$entry| $what)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<K, V> DoubleEndedIterator for $name<'_, K, V> {
            fn next_back(&mut self) -> Option<Self::Item> {
                self.0.next_back().map(|$entry| $what)
            }
        }

        impl<K, V> ExactSizeIterator for $name<'_, K, V> {}
    )* };
}

walks! {
    Iter Iter (&'a K, &'a V): (key, value) => (key, value);
    IterMut IterMut (&'a K, &'a mut V): (key, value) => (&*key, value);
    Keys Iter &'a K: (key, _) => key;
    Values Iter &'a V: (_, value) => value;
    ValuesMut IterMut &'a mut V: (_, value) => value;
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Iter(self.0.clone())
    }
}

impl<K, V> Clone for Keys<'_, K, V> {
    fn clone(&self) -> Self {
        Keys(self.0.clone())
    }
}

impl<K, V> Clone for Values<'_, K, V> {
    fn clone(&self) -> Self {
        Values(self.0.clone())
    }
}

impl<'a, K, V> IntoIterator for &'a OrdMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, K, V> IntoIterator for &'a mut OrdMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<K, V> IntoIterator for OrdMap<K, V> {
    type Item = (K, V);
    type IntoIter = vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K, V> Default for OrdMap<K, V> {
    fn default() -> Self {
        OrdMap::new()
    }
}

/// Of equal keys the last one counts.
impl<K: Ord, V> FromIterator<(K, V)> for OrdMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let mut map = OrdMap::new();
        map.extend(iter);
        map
    }
}

impl<K: Ord, V> Extend<(K, V)> for OrdMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, iter: I) {
        for (key, value) in iter {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for OrdMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Borrow<Q>, Q: Ord + ?Sized, V> Index<&Q> for OrdMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is in the map")
    }
}

/// As the standard library's tree writes itself, so that a digest does not tell them apart.
impl<K: Hash, V: Hash> Hash for OrdMap<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        for (key, value) in self {
            key.hash(state);
            value.hash(state);
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OrdMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<T> OrdSet<T> {
    pub const fn new() -> OrdSet<T> {
        OrdSet { elements: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.elements.len()
    }

    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    pub fn clear(&mut self) {
        self.elements.clear();
    }

    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.elements.iter()
    }

    pub fn first(&self) -> Option<&T> {
        self.elements.first()
    }

    pub fn last(&self) -> Option<&T> {
        self.elements.last()
    }

    pub fn pop_first(&mut self) -> Option<T> {
        if self.elements.is_empty() { None } else { Some(self.elements.remove(0)) }
    }

    pub fn pop_last(&mut self) -> Option<T> {
        self.elements.pop()
    }

    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.elements.retain(keep);
    }
}

impl<T: Ord> OrdSet<T> {
    #[inline(never)]
    fn find<Q: Ord + ?Sized>(&self, element: &Q) -> Result<usize, usize>
    where
        T: Borrow<Q>,
    {
        self.elements.binary_search_by(|held| held.borrow().cmp(element))
    }

    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.find(element).is_ok()
    }

    /// Whether it is new.
    #[inline(never)]
    pub fn insert(&mut self, element: T) -> bool {
        match self.find(&element) {
            Ok(_) => false,
            Err(at) => {
                self.elements.insert(at, element);
                true
            }
        }
    }

    /// Whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        let found = self.find(element);
        if let Ok(at) = found {
            self.elements.remove(at);
        }
        found.is_ok()
    }

    /// The elements in the range, ascending.
    pub fn range<R: RangeBounds<T>>(&self, range: R) -> slice::Iter<'_, T> {
        let from = match range.start_bound() {
            Bound::Unbounded => 0,
            Bound::Included(bound) => self.elements.partition_point(|held| held < bound),
            Bound::Excluded(bound) => self.elements.partition_point(|held| held <= bound),
        };
        let upto = match range.end_bound() {
            Bound::Unbounded => self.elements.len(),
            Bound::Included(bound) => self.elements.partition_point(|held| held <= bound),
            Bound::Excluded(bound) => self.elements.partition_point(|held| held < bound),
        };
        self.elements[from..upto.max(from)].iter()
    }

    /// Takes out the elements from `from` upwards.
    pub fn split_off(&mut self, from: &T) -> OrdSet<T> {
        let at = self.elements.partition_point(|held| held < from);
        OrdSet { elements: self.elements.split_off(at) }
    }

    pub fn is_subset(&self, of: &OrdSet<T>) -> bool {
        self.iter().all(|element| of.contains(element))
    }
}

impl<'a, T> IntoIterator for &'a OrdSet<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> IntoIterator for OrdSet<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.elements.into_iter()
    }
}

impl<T> Default for OrdSet<T> {
    fn default() -> Self {
        OrdSet::new()
    }
}

impl<T: Ord> FromIterator<T> for OrdSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut set = OrdSet::new();
        set.extend(iter);
        set
    }
}

impl<T: Ord> Extend<T> for OrdSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, iter: I) {
        for element in iter {
            self.insert(element);
        }
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for OrdSet<T> {
    fn from(elements: [T; N]) -> Self {
        elements.into_iter().collect()
    }
}

/// As the standard library's tree writes itself.
impl<T: Hash> Hash for OrdSet<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        for element in self {
            element.hash(state);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for OrdSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

/// Sorts a slice whose elements are too seldom sorted to be worth a sort of their own in the page: equal ones keep their
/// order, and only the last step knows their type.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut order = order_of(items.len(), &|a, b| compare(&items[a], &items[b]));
    // Along each cycle of places once.
    for first in 0..order.len() {
        let mut at = first;
        while order[at] != first {
            let from = core::mem::replace(&mut order[at], at);
            items.swap(at, from);
            at = from;
        }
        order[at] = at;
    }
}

/// The places of as many things in ascending order: runs of twice the length, until there is one.
fn order_of(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut merged = Vec::with_capacity(count);
    let mut run = 1;
    while run < count {
        for start in (0..count).step_by(2 * run) {
            let (middle, end) = ((start + run).min(count), (start + 2 * run).min(count));
            let (mut left, mut right) = (start, middle);
            while left < middle || right < end {
                let is_left = right == end || (left < middle && compare(order[left], order[right]).is_le());
                let next = if is_left { &mut left } else { &mut right };
                merged.push(order[*next]);
                *next += 1;
            }
        }
        core::mem::swap(&mut order, &mut merged);
        merged.clear();
        run *= 2;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::hash::DefaultHasher;

    /// Chance for the tests: this room stands above the generator's.
    struct Rng(u64);

    impl Rng {
        fn range(&mut self, from: u64, to: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            from + (self.0 >> 33) % (to - from + 1)
        }
    }

    fn hash(value: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn sorting_keeps_equals_in_their_order() {
        for seed in 1..=50 {
            let mut rng = Rng(seed);
            let mut ours: Vec<(u64, u64)> = (0..rng.range(0, 60)).map(|n| (rng.range(0, 20), n)).collect();
            let mut model = ours.clone();
            sort_by(&mut ours, |a, b| a.0.cmp(&b.0));
            model.sort_by_key(|(key, _)| *key);
            assert_eq!(ours, model);
        }
    }

    #[test]
    fn a_map_is_what_the_standard_librarys_is() {
        for seed in 1..=50 {
            let mut rng = Rng(seed);
            let (mut ours, mut model) = (OrdMap::new(), BTreeMap::new());
            for step in 0..200u64 {
                let key = rng.range(0, 40);
                match rng.range(0, 7) {
                    0..=2 => assert_eq!(ours.insert(key, step), model.insert(key, step)),
                    3 => assert_eq!(ours.remove(&key), model.remove(&key)),
                    4 => {
                        *ours.entry(key).or_default() += step;
                        *model.entry(key).or_default() += step;
                    }
                    5 => assert_eq!(ours.pop_first(), model.pop_first()),
                    6 => assert_eq!(ours.split_off(&key).len(), model.split_off(&key).len()),
                    _ => {
                        ours.retain(|held, _| held % 3 != key % 3);
                        model.retain(|held, _| held % 3 != key % 3);
                    }
                }
                assert_eq!(ours, model.iter().rev().map(|(key, value)| (*key, *value)).collect());
                assert!(ours.iter().eq(model.iter()) && ours.range(key..).eq(model.range(key..)));
                assert!(ours.range(..=key).rev().eq(model.range(..=key).rev()));
                assert_eq!((ours.get(&key), hash(&ours)), (model.get(&key), hash(&model)));
                assert_eq!(format!("{ours:?}"), format!("{model:?}"));
            }
        }
    }

    #[test]
    fn a_set_is_what_the_standard_librarys_is() {
        for seed in 1..=50 {
            let mut rng = Rng(seed);
            let (mut ours, mut model) = (OrdSet::new(), BTreeSet::new());
            for _ in 0..200 {
                let element = rng.range(0, 40);
                match rng.range(0, 5) {
                    0..=2 => assert_eq!(ours.insert(element), model.insert(element)),
                    3 => assert_eq!(ours.remove(&element), model.remove(&element)),
                    4 => assert_eq!(ours.pop_last(), model.pop_last()),
                    _ => assert!(ours.split_off(&element).iter().eq(model.split_off(&element).iter())),
                }
                assert!(ours.iter().eq(model.iter()) && ours.range(element..).eq(model.range(element..)));
                assert_eq!((ours.contains(&element), hash(&ours)), (model.contains(&element), hash(&model)));
                assert_eq!(format!("{ours:?}"), format!("{model:?}"));
            }
        }
    }
}
