//! What the controller tells.

use core::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ControllerNote {}

impl fmt::Display for ControllerNote {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
