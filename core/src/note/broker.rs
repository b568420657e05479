//! What a broker of its partitions tells.

use core::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BrokerNote {}

impl fmt::Display for BrokerNote {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
