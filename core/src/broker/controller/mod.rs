//! The controller: to be written.
