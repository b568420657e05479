//! What a keeper tells.

use core::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeeperNote {}

impl fmt::Display for KeeperNote {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
