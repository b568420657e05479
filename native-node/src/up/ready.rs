//! Whether a cluster serves: asked on the ports that its clients use, so that what is said here is what they will find.

use bytes::Bytes;
use glasshouse_core::api::kafka::{ApiKey, MetadataRequest, Response};
use glasshouse_core::codec::Writer;
use glasshouse_core::wire::kafka::{decode_response, write_request_of};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(5);
/// How long keepers get to follow a leader that serves.
const FOLLOWING: Duration = Duration::from_millis(300);
/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The longest answer that is taken.
const LONGEST: usize = 4 << 20;
/// Of Metadata: the first that names the controller and takes an empty list of topics is 1.
const VERSION: i16 = 4;

/// Returns once the ensemble has a leader, and its other keepers had a moment to follow it: whoever dials one that does
/// not serve yet is turned away and rests. `missing` always says what is still waited for.
pub async fn ensemble_serves(keepers: &[SocketAddr], missing: impl Fn(String)) {
    while keeper_leader(keepers).await.is_none() {
        missing("the ensemble has no leader".to_owned());
        sleep(EVERY).await;
    }
    let all = async {
        for at in keepers {
            while !word(*at, b"srvr").await.is_ok_and(|answer| answer.contains("Mode: ")) {
                sleep(EVERY).await;
            }
        }
    };
    let _ = timeout(FOLLOWING, all).await;
}

/// Returns once each of these brokers, whose numbers are their ids, knows all of them and the controller.
pub async fn brokers_serve(brokers: &[(u32, SocketAddr)], missing: impl Fn(String)) {
    for (number, at) in brokers {
        let mut connection = None;
        loop {
            match metadata(*at, &mut connection).await {
                Ok((known, None)) => {
                    missing(format!("broker-{number} knows {} brokers and no controller", known.len()))
                }
                Ok((known, Some(_))) => {
                    let found = brokers.iter().filter(|(number, _)| known.contains(number)).count();
                    if found == brokers.len() {
                        break;
                    }
                    missing(format!("broker-{number} knows {found} of {} brokers", brokers.len()));
                }
                Err(error) => {
                    connection = None;
                    missing(format!("broker-{number} does not answer: {error}"));
                }
            }
            sleep(EVERY).await;
        }
    }
}

/// Whether a broker answers its clients, and knows the controller.
pub async fn broker_serves(at: SocketAddr) -> bool {
    matches!(metadata(at, &mut None).await, Ok((_, Some(_))))
}

/// Which broker is the controller, by the first that answers: the number of its id.
pub async fn controller(brokers: &[SocketAddr]) -> Option<i32> {
    for at in brokers {
        if let Ok((_, Some(controller))) = metadata(*at, &mut None).await {
            return Some(controller);
        }
    }
    None
}

/// Which keeper leads, by its place in the list.
pub async fn keeper_leader(keepers: &[SocketAddr]) -> Option<usize> {
    for (place, at) in keepers.iter().enumerate() {
        let answer = timeout(LIMIT, word(*at, b"srvr")).await;
        if let Ok(Ok(answer)) = answer
            && (answer.contains("Mode: leader") || answer.contains("Mode: standalone"))
        {
            return Some(place);
        }
    }
    None
}

async fn word(at: SocketAddr, word: &[u8; 4]) -> Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(word).await?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Which brokers a broker knows, and who is the controller.
async fn metadata(at: SocketAddr, connection: &mut Option<TcpStream>) -> Result<(Vec<u32>, Option<i32>)> {
    match timeout(LIMIT, ask(at, connection)).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, "no answer in 2 s")),
    }
}

async fn ask(at: SocketAddr, connection: &mut Option<TcpStream>) -> Result<(Vec<u32>, Option<i32>)> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            connection.insert(stream)
        }
    };
    let request =
        MetadataRequest { topics: Some(Vec::new()), allow_auto_topic_creation: false, ..MetadataRequest::default() };
    let mut writer = Writer::with_capacity(64);
    write_request_of(1, VERSION, Some("glasshouse-up"), &request.into(), &mut writer);
    let body = writer.finish();
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    stream.write_all(&frame).await?;
    let length = stream.read_u32().await? as usize;
    let malformed = |why: String| Error::new(ErrorKind::InvalidData, why);
    if length > LONGEST {
        return Err(malformed(format!("a frame of {length} bytes")));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    match decode_response(ApiKey::Metadata, VERSION, Bytes::from(answer)) {
        Ok((_, _, Response::Metadata(metadata))) => {
            let controller = metadata.controller_id.0;
            let known = metadata.brokers.iter().filter_map(|broker| u32::try_from(broker.node.0).ok());
            Ok((known.collect(), (controller >= 0).then_some(controller)))
        }
        Ok(_) => Err(malformed("that is no answer to Metadata".to_owned())),
        Err(error) => Err(malformed(error.to_string())),
    }
}
