//! Majorities over small sets of keepers. Pure.

use crate::id::KeeperId;
use crate::ordered::OrdSet;
use core::fmt;

/// A set of keepers, as small as their ids allow. Cheap to copy: a leader keeps one for each outstanding proposal.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeeperSet([u64; 4]);

impl KeeperSet {
    pub fn insert(&mut self, id: KeeperId) {
        self.0[usize::from(id.0 >> 6)] |= 1 << (id.0 & 63);
    }

    pub fn remove(&mut self, id: KeeperId) {
        self.0[usize::from(id.0 >> 6)] &= !(1 << (id.0 & 63));
    }

    pub fn contains(&self, id: KeeperId) -> bool {
        self.0[usize::from(id.0 >> 6)] & (1 << (id.0 & 63)) != 0
    }

    pub fn iter(&self) -> impl Iterator<Item = KeeperId> + '_ {
        (0..=u8::MAX).map(KeeperId).filter(|id| self.contains(*id))
    }
}

impl fmt::Debug for KeeperSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Who votes. A value, so that a proposal may carry two during a reconfiguration (protocol.md A.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quorum {
    voters: OrdSet<KeeperId>,
}

impl Quorum {
    pub fn majority_of(voters: impl IntoIterator<Item = KeeperId>) -> Quorum {
        Quorum { voters: voters.into_iter().collect() }
    }

    pub fn voters(&self) -> impl Iterator<Item = KeeperId> + '_ {
        self.voters.iter().copied()
    }

    pub fn is_voter(&self, id: KeeperId) -> bool {
        self.voters.contains(&id)
    }

    /// As [`Quorum::contains`], for who satisfies a question.
    pub fn is_reached(&self, mut by: impl FnMut(KeeperId) -> bool) -> bool {
        self.voters.iter().filter(|id| by(**id)).count() * 2 > self.voters.len()
    }

    /// Strictly more than half of the voters; who does not vote does not count.
    pub fn contains(&self, who: &OrdSet<KeeperId>) -> bool {
        who.iter().filter(|id| self.is_voter(**id)).count() * 2 > self.voters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[u8]) -> OrdSet<KeeperId> {
        of.iter().copied().map(KeeperId).collect()
    }

    #[test]
    fn majorities() {
        let three = Quorum::majority_of(ids(&[1, 2, 3]));
        assert!(!three.contains(&ids(&[1])));
        assert!(three.contains(&ids(&[1, 3])));
        assert!(!three.contains(&ids(&[1, 4, 5])), "observers never count");
        assert!(three.is_reached(|id| id.0 != 2) && !three.is_reached(|id| id.0 == 2));
        let four = Quorum::majority_of(ids(&[1, 2, 3, 4]));
        assert!(!four.contains(&ids(&[1, 2])) && four.contains(&ids(&[1, 2, 3])));
    }

    #[test]
    fn a_set_holds_every_id() {
        let mut set = KeeperSet::default();
        for id in [0, 63, 64, 255] {
            set.insert(KeeperId(id));
        }
        set.remove(KeeperId(63));
        assert_eq!(set.iter().collect::<Vec<_>>(), [KeeperId(0), KeeperId(64), KeeperId(255)]);
    }
}
