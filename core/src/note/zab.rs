//! What atomic broadcast tells.

use core::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ZabNote {}

impl fmt::Display for ZabNote {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
