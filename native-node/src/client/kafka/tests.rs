//! The client against a broker of a few lines.
