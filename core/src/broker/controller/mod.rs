//! The controller.

pub mod elect;
pub mod place;
