//! The keeper's data model: znodes, their metadata, the transactions that change them, who watches them, and how they
//! are laid down in a snapshot. Knows no protocol, no quorum and no connection but its number.
//!
//! Everything here follows ZooKeeper 3.9 (protocol.md B.4 to B.6 and A.9).

pub mod acl;
pub mod checksum;
pub mod cow_map;
pub mod path;
pub mod snapshot;
pub mod stat;
pub mod tree;
pub mod txn;
pub mod watch;

#[cfg(test)]
mod apache;

pub use acl::{Acl, AclList, Id};
pub use path::ZPath;
pub use stat::{Owner, Stat, StoredStat};
pub use tree::{Applied, Change, ChangeKind, OpResult, Tree, Znode};
pub use txn::{CreateKind, LoggedTxn, Txn, TxnDigest, TxnHeader};
