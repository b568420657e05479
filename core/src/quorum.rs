//! Majorities over small sets of keepers. Pure.

use crate::id::KeeperId;
use std::collections::BTreeSet;

/// Who votes. A value, so that a proposal may carry two during a reconfiguration (protocol.md A.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quorum {
    voters: BTreeSet<KeeperId>,
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

    /// Strictly more than half of the voters; who does not vote does not count.
    pub fn contains(&self, who: &BTreeSet<KeeperId>) -> bool {
        who.iter().filter(|id| self.is_voter(**id)).count() * 2 > self.voters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[u8]) -> BTreeSet<KeeperId> {
        of.iter().copied().map(KeeperId).collect()
    }

    #[test]
    fn majorities() {
        let three = Quorum::majority_of(ids(&[1, 2, 3]));
        assert!(!three.contains(&ids(&[1])));
        assert!(three.contains(&ids(&[1, 3])));
        assert!(!three.contains(&ids(&[1, 4, 5])), "observers never count");
        let four = Quorum::majority_of(ids(&[1, 2, 3, 4]));
        assert!(!four.contains(&ids(&[1, 2])) && four.contains(&ids(&[1, 2, 3])));
    }
}
