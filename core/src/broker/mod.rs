//! To be written.

pub mod controller;
pub mod znodes;
