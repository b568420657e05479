//! One connection to a broker: requests go out in the order they were asked, as many as are asked, and each has its
//! answer delivered. Versions are agreed on by ApiVersions before anything else. Repeats nothing.

use crate::client::frames::Frames;
use crate::client::{Error, dial};
use bytes::Bytes;
use glasshouse_core::api::kafka::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, ErrorCode, ProduceResponse, Request, Response,
};
use glasshouse_core::codec::Writer;
use glasshouse_core::node::Address;
use glasshouse_core::wire::kafka::{decode_response, write_request_of};
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::{mpsc, oneshot};

/// The longest answer that is taken.
const LONGEST: usize = 256 << 20;
/// Said of one that never answered as a broker does.
const NO_BROKER: &str = " (is that a broker's port?)";
/// Requests are gathered to so many bytes before they are written; longer pieces go as they are.
const GATHER: usize = 64 * 1024;

pub(super) type Result<T> = std::result::Result<T, Error>;

/// What is asked, and who waits for the answer.
struct Asked {
    body: Request,
    answer: oneshot::Sender<Result<Response<Bytes>>>,
}

/// Cheap to clone; the connection ends with its last clone.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    queue: mpsc::UnboundedSender<Asked>,
    task: tokio::task::AbortHandle,
    /// The other end has answered as a broker does; before, nothing was asked of it.
    greeted: Arc<AtomicBool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.body.name())
    }
}

impl Connection {
    /// Connects in the background; what is asked meanwhile waits in order.
    pub(super) fn open(address: Address, client: Arc<str>, limit: Duration) -> Connection {
        let (queue, asked) = mpsc::unbounded_channel();
        let greeted = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(run(address.clone(), client, limit, asked, greeted.clone())).abort_handle();
        Connection { shared: Arc::new(Shared { address, queue, task, greeted }) }
    }

    /// The answer did not come in time: breaks it off, for what comes after would be late as well.
    pub(super) fn too_late(&self, limit: Duration) -> Error {
        self.abort();
        let address = self.shared.address.to_string();
        match self.shared.greeted.load(Ordering::Relaxed) {
            true => Error::Lost { address, why: format!("no answer within {limit:?}") },
            false => Error::Unreachable { address, why: format!("no answer within {limit:?}{NO_BROKER}") },
        }
    }

    /// It ended: whatever is asked fails.
    pub(super) fn is_over(&self) -> bool {
        self.shared.queue.is_closed()
    }

    /// Breaks it off; whoever waits for an answer is told that it was lost.
    fn abort(&self) {
        self.shared.task.abort();
    }

    /// Asks; requests leave in the order of these calls. A Produce with acks 0 is answered, emptily, once it has left.
    pub(super) fn ask(&self, body: Request) -> impl Future<Output = Result<Response<Bytes>>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let address = self.shared.address.to_string();
        let queued = self.shared.queue.send(Asked { body, answer }).is_ok();
        async move {
            let lost = |why: &str| Err(Error::Lost { address, why: why.into() });
            match queued {
                true => answered.await.unwrap_or_else(|_| lost("it was broken off")),
                false => lost("it had ended before"),
            }
        }
    }
}

/// Answers that are awaited, in the order in which they must come.
type Waiting = Mutex<VecDeque<Awaited>>;

struct Awaited {
    correlation: i32,
    key: ApiKey,
    version: i16,
    answer: oneshot::Sender<Result<Response<Bytes>>>,
}

/// The life of a connection.
async fn run(
    address: Address,
    client: Arc<str>,
    limit: Duration,
    mut asked: mpsc::UnboundedReceiver<Asked>,
    greeted: Arc<AtomicBool>,
) {
    let waiting = Waiting::default();
    let error = match open(&address, &client, limit).await {
        Err(error) => error,
        Ok((versions, mut frames, to)) => {
            greeted.store(true, Ordering::Relaxed);
            let speaking = speak(&client, &versions, &address, &mut asked, to, &waiting);
            let why = tokio::select! {
                why = listen(&mut frames, &waiting, &address) => why,
                why = speaking => why,
            };
            match why {
                Some(error) => error,
                None => return,
            }
        }
    };
    asked.close();
    let waited = std::mem::take(&mut *lock(&waiting));
    for awaited in waited {
        let _gone = awaited.answer.send(Err(error.clone()));
    }
    while let Some(Asked { answer, .. }) = asked.recv().await {
        let _gone = answer.send(Err(error.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Halves = (Frames<tokio::net::tcp::OwnedReadHalf>, BufWriter<tokio::net::tcp::OwnedWriteHalf>);

/// Connects and agrees on versions.
async fn open(
    address: &Address,
    client: &str,
    limit: Duration,
) -> Result<(Versions, Frames<tokio::net::tcp::OwnedReadHalf>, BufWriter<tokio::net::tcp::OwnedWriteHalf>)> {
    let stream = dial(address, limit).await?;
    let (from, to) = stream.into_split();
    let mut halves = (Frames::new(from, LONGEST), BufWriter::with_capacity(GATHER, to));
    let greeted = tokio::time::timeout(limit, greet(address, client, &mut halves)).await;
    let versions = greeted.unwrap_or_else(|_| {
        Err(Error::Unreachable { address: address.to_string(), why: format!("no answer within {limit:?}{NO_BROKER}") })
    })?;
    Ok((versions, halves.0, halves.1))
}

/// What the broker speaks: key → lowest and highest version.
struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    /// The highest version that both ends speak, of those whose requests we fill in.
    fn of(&self, key: ApiKey) -> Option<i16> {
        let (low, high) = *self.0.get(&key.code())?;
        // Fetch 13 and later name topics by their ids only; ListOffsets 0 and Produce below 3 know other formats.
        let (least, most) = match key {
            ApiKey::Fetch => (4, 12),
            ApiKey::Produce => (3, key.max_version()),
            ApiKey::ListOffsets => (1, key.max_version()),
            _ => key.versions(),
        };
        let (low, high) = (low.max(least), high.min(most));
        (low <= high).then_some(high)
    }
}

async fn greet(address: &Address, client: &str, halves: &mut Halves) -> Result<Versions> {
    let mut version = ApiKey::ApiVersions.max_version();
    loop {
        let answer = ask_versions(address, client, version, halves).await?;
        let theirs = answer.apis.iter().map(|api| (api.key, (api.min_version, api.max_version))).collect();
        let versions = Versions(theirs);
        match answer.error {
            ErrorCode::NONE => return Ok(versions),
            ErrorCode::UNSUPPORTED_VERSION if version > 0 => {
                version = versions.of(ApiKey::ApiVersions).filter(|lower| *lower < version).unwrap_or(0);
            }
            code => return Err(Error::Refused { what: format!("{address}: ApiVersions"), code, message: None }),
        }
    }
}

async fn ask_versions(
    address: &Address,
    client: &str,
    version: i16,
    (from, to): &mut Halves,
) -> Result<ApiVersionsResponse> {
    let unreachable = |why: String| Error::Unreachable { address: address.to_string(), why };
    let lost = |why: std::io::Error| match why.kind() {
        // Such as the first letters of HTTP, which would be a length.
        ErrorKind::InvalidData => unreachable(format!("it does not speak Kafka's protocol{NO_BROKER}")),
        _ => unreachable(why.to_string()),
    };
    let body = ApiVersionsRequest {
        client_software_name: "glasshouse".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
        ..ApiVersionsRequest::default()
    };
    write(to, 0, version, client, &body.into()).await.map_err(lost)?;
    to.flush().await.map_err(lost)?;
    let Some(frame) = from.next().await.map_err(lost)? else {
        return Err(unreachable(format!("it hangs up at once{NO_BROKER}")));
    };
    match decode_response(ApiKey::ApiVersions, version, frame) {
        Ok((0, _, Response::ApiVersions(answer))) => Ok(answer),
        Ok(_) => Err(Error::Malformed { address: address.to_string(), why: "the answer to something else".into() }),
        Err(why) => Err(Error::Malformed { address: address.to_string(), why: why.to_string() }),
    }
}

/// Writes one frame. Long records are not copied.
async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    correlation: i32,
    version: i16,
    client: &str,
    body: &Request,
) -> std::io::Result<()> {
    let mut writer = Writer::with_capacity(256);
    write_request_of(correlation, version, Some(client), body, &mut writer);
    let segments = writer.into_segments();
    let length: usize = segments.iter().map(Bytes::len).sum();
    let length = i32::try_from(length).map_err(|_| std::io::Error::other("a request of more than 2 GiB"))?;
    to.write_all(&length.to_be_bytes()).await?;
    for segment in &segments {
        to.write_all(segment).await?;
    }
    Ok(())
}

/// Writes what is asked until nobody can ask any more (`None`) or the connection breaks.
async fn speak<W: AsyncWrite + Unpin>(
    client: &str,
    versions: &Versions,
    address: &Address,
    asked: &mut mpsc::UnboundedReceiver<Asked>,
    mut to: W,
    waiting: &Waiting,
) -> Option<Error> {
    let lost = |error: std::io::Error| Some(Error::Lost { address: address.to_string(), why: error.to_string() });
    let mut last = 0i32;
    let mut left: Vec<oneshot::Sender<_>> = Vec::new();
    while let Some(first) = asked.recv().await {
        let mut next = Some(first);
        while let Some(Asked { body, answer }) = next {
            let key = body.key();
            match versions.of(key) {
                None => {
                    let error = Error::Unsupported { address: address.to_string(), what: format!("{key} as we do") };
                    let _gone = answer.send(Err(error));
                }
                Some(version) => {
                    last = last.wrapping_add(1) & i32::MAX;
                    if matches!(&body, Request::Produce(produce) if produce.acks == 0) {
                        left.push(answer);
                    } else {
                        lock(waiting).push_back(Awaited { correlation: last, key, version, answer });
                    }
                    if let Err(error) = write(&mut to, last, version, client, &body).await {
                        return lost(error);
                    }
                }
            }
            next = asked.try_recv().ok();
        }
        if let Err(error) = to.flush().await {
            return lost(error);
        }
        for answer in left.drain(..) {
            let _gone = answer.send(Ok(ProduceResponse::default().into()));
        }
    }
    None
}

/// Delivers answers until the connection breaks.
async fn listen<R: AsyncRead + Unpin>(frames: &mut Frames<R>, waiting: &Waiting, address: &Address) -> Option<Error> {
    let address = || address.to_string();
    loop {
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Some(Error::Lost { address: address(), why: "it was closed".into() }),
            Err(error) => return Some(Error::Lost { address: address(), why: error.to_string() }),
        };
        let Some(awaited) = lock(waiting).pop_front() else {
            return Some(Error::Malformed { address: address(), why: "an answer to nothing".into() });
        };
        let error = match decode_response(awaited.key, awaited.version, frame) {
            Ok((correlation, _, body)) if correlation == awaited.correlation => {
                let _gone = awaited.answer.send(Ok(body));
                continue;
            }
            Ok(_) => Error::Malformed { address: address(), why: "an answer out of order".into() },
            Err(why) => Error::Malformed { address: address(), why: why.to_string() },
        };
        let _gone = awaited.answer.send(Err(error.clone()));
        return Some(error);
    }
}
