//! What goes over a wire, as bytes: frames in, frames out. Knows no socket; a frame here is without the four bytes of
//! length that a stream puts before it. Every decoder is bounded and refuses with [`Malformed`](crate::codec::Malformed).

pub mod kafka;
pub mod keeper;
pub mod link;
