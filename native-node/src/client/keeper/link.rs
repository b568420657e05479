//! One connection to a keeper: a task that moves frames both ways, and the codec that remembers what was asked on it.

use crate::client::frames::Frames;
use crate::client::{Error, dial};
use bytes::Bytes;
use glasshouse_core::api::keeper::Request;
use glasshouse_core::id::DialId;
use glasshouse_core::node::Address;
use glasshouse_core::wire::keeper::ClientCodec;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::mpsc;

/// The longest frame of a keeper that is taken: a reply may be longer than a request.
const LONGEST: usize = 64 << 20;

/// What a connection tells its session.
#[derive(Debug)]
pub(super) enum LinkEvent {
    Opened,
    Frame(Bytes),
    /// It could not be made (`refused`: nothing listens there), or is gone.
    Hung {
        why: String,
        address: String,
        refused: bool,
    },
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) dial: DialId,
    pub(super) codec: ClientCodec,
    frames: mpsc::UnboundedSender<Bytes>,
    task: tokio::task::AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Tell = mpsc::UnboundedSender<(DialId, LinkEvent)>;

impl Link {
    /// Connects in the background.
    pub(super) fn dial(id: DialId, to: Address, limit: Duration, tell: Tell) -> Link {
        let (frames, said) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(id, to, limit, said, tell)).abort_handle();
        Link { dial: id, codec: ClientCodec::default(), frames, task }
    }

    /// Queues a request.
    pub(super) fn say(&mut self, request: &Request) {
        let _gone_is_told_by_hung = self.frames.send(self.codec.encode(request));
    }
}

async fn run(id: DialId, to: Address, limit: Duration, mut said: mpsc::UnboundedReceiver<Bytes>, tell: Tell) {
    let (why, refused) = match dial(&to, limit).await {
        Err(Error::Unreachable { why, .. }) => (why, true),
        Err(error) => (error.to_string(), false),
        Ok(stream) => {
            let _gone = tell.send((id, LinkEvent::Opened));
            let (from, out) = stream.into_split();
            let why = tokio::select! {
                why = listen(id, Frames::new(from, LONGEST), &tell) => why,
                why = speak(BufWriter::with_capacity(64 * 1024, out), &mut said) => why,
            };
            (why, false)
        }
    };
    let _gone = tell.send((id, LinkEvent::Hung { why, address: to.to_string(), refused }));
}

async fn listen(id: DialId, mut frames: Frames<tokio::net::tcp::OwnedReadHalf>, tell: &Tell) -> String {
    loop {
        match frames.next().await {
            Ok(Some(frame)) => {
                if tell.send((id, LinkEvent::Frame(frame))).is_err() {
                    return "nobody listens any more".into();
                }
            }
            Ok(None) => return "it was closed".into(),
            Err(error) => return error.to_string(),
        }
    }
}

async fn speak<W: AsyncWrite + Unpin>(mut to: W, said: &mut mpsc::UnboundedReceiver<Bytes>) -> String {
    while let Some(first) = said.recv().await {
        let mut next = Some(first);
        while let Some(frame) = next {
            if let Err(error) = write(&mut to, &frame).await {
                return error.to_string();
            }
            next = said.try_recv().ok();
        }
        if let Err(error) = to.flush().await {
            return error.to_string();
        }
    }
    "nobody speaks any more".into()
}

async fn write<W: AsyncWrite + Unpin>(to: &mut W, frame: &Bytes) -> std::io::Result<()> {
    to.write_all(&(frame.len() as u32).to_be_bytes()).await?;
    to.write_all(frame).await
}
