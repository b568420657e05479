//! Frames behind four bytes of length, as both protocols send them. Never takes more memory than what has arrived is
//! worth, however long a frame claims to be.

use bytes::{Buf, Bytes, BytesMut};
use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room that is made at a time.
const STEP: usize = 64 * 1024;

/// Takes frames off a stream. A call that is given up loses nothing.
pub(super) struct Frames<R> {
    from: R,
    buffer: BytesMut,
    longest: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// `longest`: bytes of a frame that are still taken.
    pub(super) fn new(from: R, longest: usize) -> Frames<R> {
        Frames { from, buffer: BytesMut::new(), longest }
    }

    /// The next frame without its length; `None` where the stream ends between two.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let missing = match self.buffer.first_chunk::<4>() {
                None => 4,
                Some(length) => {
                    let length = i32::from_be_bytes(*length);
                    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= self.longest) else {
                        return Err(Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
                    };
                    if self.buffer.len() >= 4 + length {
                        self.buffer.advance(4);
                        return Ok(Some(self.buffer.split_to(length).freeze()));
                    }
                    4 + length - self.buffer.len()
                }
            };
            self.buffer.reserve(missing.clamp(4096, STEP));
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_whole_and_bad_lengths_are_refused() {
        let mut frames = Frames::new(&b"\0\0\0\x02ab\0\0\0\0\0\0\0\x09c"[..], 10);
        assert_eq!(frames.next().await.unwrap().unwrap(), "ab");
        assert_eq!(frames.next().await.unwrap().unwrap(), "");
        assert_eq!(frames.next().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        for bad in [&b"\0\0\0\x0b"[..], b"\xff\xff\xff\xff"] {
            assert_eq!(Frames::new(bad, 10).next().await.unwrap_err().kind(), ErrorKind::InvalidData);
        }
        assert!(Frames::new(&b""[..], 10).next().await.unwrap().is_none());
    }
}
