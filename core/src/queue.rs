//! A queue in one vector, for what waits in machines: rarely more than a handful, a thousand at most.
//!
//! What leaves in front moves the rest up, which costs little at such lengths, and in return a queue is a slice: it is
//! walked, copied and compared as one, without the code for a ring that has two halves.

use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut, RangeBounds};
use std::{slice, vec};

/// First in, first out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue<T> {
    elements: Vec<T>,
}

impl<T> Queue<T> {
    pub const fn new() -> Queue<T> {
        Queue { elements: Vec::new() }
    }

    pub fn push_back(&mut self, element: T) {
        self.elements.push(element);
    }

    pub fn push_front(&mut self, element: T) {
        self.elements.insert(0, element);
    }

    pub fn pop_front(&mut self) -> Option<T> {
        if self.elements.is_empty() { None } else { Some(self.elements.remove(0)) }
    }

    /// Takes the first element if it is wanted.
    pub fn pop_front_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        if wanted(self.front()?) { self.pop_front() } else { None }
    }

    /// Takes the last element if it is wanted.
    pub fn pop_back_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        if wanted(self.back()?) { self.pop_back() } else { None }
    }

    pub fn pop_back(&mut self) -> Option<T> {
        self.elements.pop()
    }

    pub fn front(&self) -> Option<&T> {
        self.elements.first()
    }

    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.elements.first_mut()
    }

    pub fn back(&self) -> Option<&T> {
        self.elements.last()
    }

    pub fn back_mut(&mut self) -> Option<&mut T> {
        self.elements.last_mut()
    }

    pub fn insert(&mut self, at: usize, element: T) {
        self.elements.insert(at, element);
    }

    pub fn remove(&mut self, at: usize) -> Option<T> {
        if at < self.elements.len() { Some(self.elements.remove(at)) } else { None }
    }

    pub fn clear(&mut self) {
        self.elements.clear();
    }

    pub fn truncate(&mut self, len: usize) {
        self.elements.truncate(len);
    }

    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.elements.retain(keep);
    }

    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> vec::Drain<'_, T> {
        self.elements.drain(range)
    }
}

impl<T> Deref for Queue<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T> DerefMut for Queue<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<T> From<Vec<T>> for Queue<T> {
    fn from(elements: Vec<T>) -> Self {
        Queue { elements }
    }
}

impl<T, const N: usize> From<[T; N]> for Queue<T> {
    fn from(elements: [T; N]) -> Self {
        Queue { elements: elements.into() }
    }
}

impl<T> FromIterator<T> for Queue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        Queue { elements: iter.into_iter().collect() }
    }
}

impl<T> Extend<T> for Queue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, iter: I) {
        self.elements.extend(iter);
    }
}

impl<T> IntoIterator for Queue<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.elements.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Queue<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.elements.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Queue<T> {
    type Item = &'a mut T;
    type IntoIter = slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.elements.iter_mut()
    }
}

/// Element by element, whatever they are.
impl<T: Hash> Hash for Queue<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        for element in self {
            element.hash(state);
        }
    }
}
