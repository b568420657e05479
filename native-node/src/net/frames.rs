//! Frames off a stream and onto it: four bytes of length before each, as Kafka's and ZooKeeper's protocols both have it.
//!
//! Knows no message. Never takes more memory than a small multiple of what has arrived, however long a frame claims to
//! be. Between frames a reader holds nothing at all: what it reads ahead lies in a buffer that all of its thread share.

use super::gate::Gate;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::{fmt, mem};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes read ahead at most.
const AHEAD: usize = 64 << 10;

/// Read ahead behind a long frame: another long one is likely, and what is read ahead of it has to be copied.
const PEEK: usize = 512;

/// When so much of a frame is missing, it is read to where it will stay.
const LONG: usize = 16 << 10;

/// Pieces that one write takes.
const SLICES: usize = 64;

/// Shorter segments are copied together: a piece of its own costs more than they do.
const WORTH_A_PIECE: usize = 4 << 10;

thread_local! {
    /// Where reading ahead goes. What is in it never outlives the poll that put it there.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; AHEAD].into_boxed_slice());
}

/// Why no more frames come.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The first four bytes of a frame, which are no length that is allowed here.
    Length {
        first: [u8; 4],
        limit: u32,
    },
    /// The stream ended inside a frame.
    Truncated,
    Socket(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Socket(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Length { first: [0x16, 3, ..], .. } => f.write_str("it speaks TLS, and this port does not"),
            Trouble::Length { first, .. } if [b"GET ", b"POST", b"HEAD", b"PUT "].contains(&first) => {
                f.write_str("it speaks HTTP, and this port does not")
            }
            Trouble::Length { first, limit } => {
                write!(f, "a frame of {} bytes; {limit} are allowed", i32::from_be_bytes(*first))
            }
            Trouble::Truncated => f.write_str("it hung up inside a frame"),
            Trouble::Socket(error) => error.fmt(f),
        }
    }
}

/// Takes frames off a stream. A call that is given up loses nothing.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// The longest body.
    limit: u32,
    /// Says whether the very first four bytes are a frame of their own (ZooKeeper's four-letter words).
    word: Option<fn([u8; 4]) -> bool>,
    /// Nothing that comes is looked at any more.
    deaf: bool,

    /// The length, as far as it is there.
    header: [u8; 4],
    header_len: usize,
    /// What is there of a body whose length is known.
    body: BytesMut,
    length: Option<usize>,
    /// Whole frames that were read ahead.
    ready: VecDeque<Bytes>,
    /// What comes behind them instead of a frame.
    trouble: Option<Trouble>,

    /// A frame may reserve so much at once, because one so long has arrived here not long ago.
    trust: usize,
    ahead: usize,
}

impl FrameReader {
    pub fn new(limit: u32, word: Option<fn([u8; 4]) -> bool>) -> FrameReader {
        FrameReader {
            limit,
            word,
            deaf: false,
            header: [0; 4],
            header_len: 0,
            body: BytesMut::new(),
            length: None,
            ready: VecDeque::new(),
            trouble: None,
            trust: 0,
            ahead: AHEAD,
        }
    }

    /// From now on everything that comes is thrown away; [`next`](FrameReader::next) returns when the stream ends.
    pub fn deafen(&mut self) {
        self.deaf = true;
        self.length = None;
        self.header_len = 0;
        self.body = BytesMut::new();
        self.ready = VecDeque::new();
        self.trouble = None;
    }

    /// The next frame, without its length; `None` where the stream ends between two.
    ///
    /// # Errors
    /// [`Trouble`]; the connection is to be given up.
    pub async fn next<R: AsyncRead + Unpin>(&mut self, from: &mut R, gate: &Gate) -> Result<Option<Bytes>, Trouble> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                if self.ready.is_empty() {
                    self.ready = VecDeque::new();
                }
                return Ok(Some(frame));
            }
            if let Some(trouble) = self.trouble.take() {
                return Err(trouble);
            }
            let missing = self.length.map_or(0, |length| length - self.body.len());
            let read = if missing > LONG {
                self.read_body(from, gate, missing).await?
            } else {
                self.read_ahead(from, gate).await?
            };
            match read {
                None => gate.opened().await,
                Some(0) if self.length.is_none() && self.header_len == 0 => return Ok(None),
                Some(0) => return Err(Trouble::Truncated),
                Some(_) => {}
            }
        }
    }

    /// Reads whatever is there; `None` if the gate is closed.
    async fn read_ahead<R: AsyncRead + Unpin>(&mut self, from: &mut R, gate: &Gate) -> Result<Option<usize>, Trouble> {
        poll_fn(|cx| {
            if !gate.is_open() {
                return Poll::Ready(Ok(None));
            }
            SCRATCH.with_borrow_mut(|scratch| {
                let mut into = ReadBuf::new(&mut scratch[..self.ahead]);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut into))?;
                let read = into.filled().len();
                self.ahead = if read == self.ahead { AHEAD } else { self.ahead };
                self.take(into.filled());
                Poll::Ready(Ok(Some(read)))
            })
        })
        .await
    }

    /// Reads on in a long frame, and not beyond it; `None` if the gate is closed.
    async fn read_body<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        gate: &Gate,
        missing: usize,
    ) -> Result<Option<usize>, Trouble> {
        if self.body.len() == self.body.capacity() {
            self.body.reserve(self.body.len().max(LONG).min(missing));
        }
        let room = missing.min(self.body.capacity() - self.body.len());
        let read = poll_fn(|cx| {
            if !gate.is_open() {
                return Poll::Ready(Ok(None));
            }
            let mut into = (&mut self.body).limit(room);
            let reading = pin!(from.read_buf(&mut into));
            reading.poll(cx).map_ok(Some)
        })
        .await?;
        self.ahead = PEEK;
        self.finish_if_whole();
        Ok(read)
    }

    /// Splits what was read ahead.
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.deaf && self.trouble.is_none() {
            match self.length {
                None => {
                    let piece = (4 - self.header_len).min(bytes.len());
                    self.header[self.header_len..][..piece].copy_from_slice(&bytes[..piece]);
                    self.header_len += piece;
                    bytes = &bytes[piece..];
                    if self.header_len == 4 {
                        self.begin(bytes.len());
                    }
                }
                Some(length) => {
                    let piece = (length - self.body.len()).min(bytes.len());
                    if piece == length {
                        self.finish(Bytes::copy_from_slice(&bytes[..piece]));
                    } else {
                        self.body.extend_from_slice(&bytes[..piece]);
                        self.finish_if_whole();
                    }
                    bytes = &bytes[piece..];
                }
            }
        }
    }

    /// A length has come, and `at_hand` bytes behind it.
    fn begin(&mut self, at_hand: usize) {
        if let Some(is_word) = self.word.take()
            && is_word(self.header)
        {
            self.deafen();
            self.ready.push_back(Bytes::copy_from_slice(&self.header));
            return;
        }
        let declared = u32::from_be_bytes(self.header);
        let length = declared as usize;
        if declared > self.limit {
            self.trouble = Some(Trouble::Length { first: self.header, limit: self.limit });
        } else if length == 0 {
            self.finish(Bytes::new());
        } else {
            self.length = Some(length);
            if length > at_hand {
                self.body = BytesMut::with_capacity(length.min(self.trust.max(2 * at_hand)));
            }
        }
    }

    fn finish_if_whole(&mut self) {
        if self.length == Some(self.body.len()) {
            let body = mem::take(&mut self.body).freeze();
            self.finish(body);
        }
    }

    fn finish(&mut self, body: Bytes) {
        self.trust = body.len().max(self.trust - self.trust / 8);
        self.length = None;
        self.header_len = 0;
        self.ready.push_back(body);
    }
}

/// Frames that go out with one write, if the socket takes them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pieces: VecDeque<Bytes>,
    /// Behind the pieces: short segments and lengths, copied together.
    short: BytesMut,
    /// Of the pieces and what is behind them.
    bytes: usize,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Adds a frame and its length.
    pub fn push(&mut self, segments: Vec<Bytes>) {
        let length: usize = segments.iter().map(Bytes::len).sum();
        let declared =
            i32::try_from(length).unwrap_or_else(|_| panic!("a frame of {length} bytes, more than {}", i32::MAX));
        self.short.put_i32(declared);
        self.bytes += 4;
        self.push_raw(segments);
    }

    /// Adds bytes as they are.
    pub fn push_raw(&mut self, segments: Vec<Bytes>) {
        for segment in segments {
            self.bytes += segment.len();
            if segment.len() < WORTH_A_PIECE {
                self.short.extend_from_slice(&segment);
            } else {
                self.seal();
                self.pieces.push_back(segment);
            }
        }
    }

    fn seal(&mut self) {
        if !self.short.is_empty() {
            self.pieces.push_back(self.short.split().freeze());
        }
    }

    /// Writes everything; `moved` is told each time how many bytes the socket took.
    ///
    /// # Errors
    /// Of the socket.
    pub async fn write<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        gate: &Gate,
        moved: impl Fn(usize),
    ) -> io::Result<()> {
        self.seal();
        while !self.pieces.is_empty() {
            let written = poll_fn(|cx| {
                if !gate.is_open() {
                    return Poll::Ready(Ok(None));
                }
                let mut slices = [IoSlice::new(&[]); SLICES];
                let filled = slices.iter_mut().zip(&self.pieces).map(|(slice, piece)| *slice = IoSlice::new(piece));
                let count = filled.count();
                Pin::new(&mut *to).poll_write_vectored(cx, &slices[..count]).map_ok(Some)
            })
            .await?;
            match written {
                None => gate.opened().await,
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(written) => {
                    self.advance(written);
                    moved(written);
                }
            }
        }
        // An idle connection keeps nothing.
        self.short = BytesMut::new();
        self.pieces = VecDeque::new();
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(first) = self.pieces.front_mut() else { break };
            let piece = written.min(first.len());
            first.advance(piece);
            written -= piece;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stones::Stones;
    use tokio::io::AsyncWriteExt;

    fn gate() -> Gate {
        Gate::new(Stones::default(), None)
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[..], body].concat()
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_whole_however_they_are_cut() {
        let sizes = [0, 1, 3, 4, 511, 512, 70_000, 1, 16_384, 16_385, 65_532, 65_533, 65_536, 300_000, 0, 9];
        let bodies: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, size)| vec![at as u8 + 1; *size]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
        for chunk in [1, 3, 4, 5, 1000, 65_536, stream.len()] {
            let (mut near, mut far) = tokio::io::duplex(chunk);
            let all = stream.clone();
            let writing = tokio::spawn(async move { near.write_all(&all).await });
            let mut frames = FrameReader::new(1 << 20, None);
            for body in &bodies {
                let frame = frames.next(&mut far, &gate()).await.unwrap().unwrap();
                assert!(frame == body, "a frame of {} bytes, cut into {chunk}", body.len());
            }
            assert!(frames.next(&mut far, &gate()).await.unwrap().is_none());
            writing.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_long_claim_reserves_little() {
        let mut frames = FrameReader::new(100 << 20, None);
        frames.take(&[&(90u32 << 20).to_be_bytes()[..], b"0123456789"].concat());
        assert!(frames.body.capacity() < 1000, "{} bytes", frames.body.capacity());
        let mut arrived = &vec![0; 100_000][..];
        while !arrived.is_empty() {
            frames.read_body(&mut arrived, &gate(), 80 << 20).await.unwrap();
            let (have, reserved) = (frames.body.len(), frames.body.capacity());
            assert!(reserved <= 2 * have + 2 * LONG, "{reserved} bytes for {have}");
        }
    }

    #[tokio::test]
    async fn bad_lengths_and_cut_frames_are_told_apart() {
        let next = async |bytes: &'static [u8]| {
            let mut bytes = bytes;
            FrameReader::new(10, None).next(&mut bytes, &gate()).await.map_err(|trouble| trouble.to_string())
        };
        assert_eq!(next(b"\0\0\0\x0b").await, Err("a frame of 11 bytes; 10 are allowed".to_owned()));
        assert_eq!(next(b"\xff\xff\xff\xff").await, Err("a frame of -1 bytes; 10 are allowed".to_owned()));
        assert_eq!(next(b"GET / HTTP/1.1\r\n").await, Err("it speaks HTTP, and this port does not".to_owned()));
        assert_eq!(next(b"\x16\x03\x01\x02\0").await, Err("it speaks TLS, and this port does not".to_owned()));
        for cut in [&b"\0"[..], b"\0\0\0\x03", b"\0\0\0\x03ab"] {
            assert_eq!(next(cut).await, Err("it hung up inside a frame".to_owned()), "{cut:?}");
        }
        assert_eq!(next(b"").await, Ok(None));
    }

    #[tokio::test]
    async fn a_word_is_a_frame_only_at_the_beginning() {
        fn is_word(first: [u8; 4]) -> bool {
            &first == b"ruok"
        }
        let mut bytes = &b"ruok\nwhatever"[..];
        let mut frames = FrameReader::new(10, Some(is_word));
        assert_eq!(frames.next(&mut bytes, &gate()).await.unwrap().unwrap(), "ruok");
        assert!(frames.next(&mut bytes, &gate()).await.unwrap().is_none());
        let mut bytes = &b"\0\0\0\x01aruok"[..];
        let mut frames = FrameReader::new(10, Some(is_word));
        assert_eq!(frames.next(&mut bytes, &gate()).await.unwrap().unwrap(), "a");
        assert!(matches!(frames.next(&mut bytes, &gate()).await, Err(Trouble::Length { .. })));
    }

    #[tokio::test]
    async fn a_batch_writes_lengths_and_segments_in_order() {
        let long = Bytes::from(vec![7; 10_000]);
        let mut batch = Batch::default();
        batch.push(vec![Bytes::from_static(b"ab"), long.clone(), Bytes::from_static(b"c")]);
        batch.push(vec![]);
        batch.push_raw(vec![Bytes::from_static(b"imok")]);
        for _ in 0..200 {
            batch.push(vec![long.clone(), Bytes::new(), long.clone()]);
        }
        let expected: Vec<u8> = [framed(&[b"ab", &long[..], b"c"].concat()), framed(b""), b"imok".to_vec()]
            .into_iter()
            .chain((0..200).map(|_| framed(&[&long[..], &long[..]].concat())))
            .flatten()
            .collect();
        assert_eq!(batch.len(), expected.len());
        let (mut near, mut far) = tokio::io::duplex(30_000);
        let writing = tokio::spawn(async move { batch.write(&mut near, &gate(), |_| {}).await });
        let mut written = Vec::new();
        far.read_to_end(&mut written).await.unwrap();
        writing.await.unwrap().unwrap();
        assert!(written == expected);
    }
}
