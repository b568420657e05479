//! What a client tells.

use core::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientNote {}

impl fmt::Display for ClientNote {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
