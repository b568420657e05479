//! Who dials this node, until it has proved who it is. Strangers cost little: they are few at once, the longest waiting
//! goes first, and they are read a few kilobytes for a few seconds. Browsers are refused.

use super::Shared;
use super::connect::{Greeted, is_chooser};
use super::greeting::{self, PATIENCE, Refused};
use super::wire::{self, Bare, Wire};
use futures_util::StreamExt;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::http::header::ORIGIN;

/// Connections at once that have not greeted.
pub(super) const STRANGERS: usize = 64;
/// How long a second connection of a peer waits: meanwhile the peer gives it up if the first is fine.
const SECOND_THOUGHTS: Duration = Duration::from_millis(200);

/// Takes connections until it is dropped, and everything that greets with it.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    let mut strangers: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        shared.stones.paused().await;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok((stream, from)) => {
                strangers.retain(|task| !task.is_finished());
                if strangers.len() >= STRANGERS
                    && let Some(oldest) = strangers.pop_front()
                {
                    oldest.abort();
                }
                strangers.push_back(tasks.spawn(receive(shared.clone(), stream, from)));
            }
            Err(error) => {
                shared.complaints.say(format!("{}: no connection can be taken: {error}", shared.config.me));
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn receive(shared: Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    let refused = match timeout(PATIENCE, welcome(&shared, stream)).await {
        Ok(Ok(())) => return,
        Ok(Err(refused)) => refused,
        Err(_) => Refused::Gone(format!("it had not greeted after {PATIENCE:?}")),
    };
    let me = shared.config.me;
    if refused.is_lasting() {
        shared.complaints.say(format!("{me}: a connection from {from} is refused: {refused}"));
    } else {
        tracing::debug!("{me}: a connection from {from} came to nothing: {refused}");
    }
}

async fn welcome(shared: &Shared, stream: TcpStream) -> Result<(), Refused> {
    let gone = |error: std::io::Error| Refused::Gone(error.to_string());
    stream.set_nodelay(true).map_err(gone)?;
    shared.stones.paused().await;
    let bare = match &shared.tls {
        Some(tls) => tls.accept(stream).await.map_err(|error| Refused::Gone(format!("TLS: {error}")))?,
        None => Bare::Plain(stream),
    };
    let wire = Wire::new(bare);
    let life = wire.life();
    let socket =
        accept_hdr_async_with_config(wire, refuse_browsers, Some(wire::for_strangers())).await.map_err(|error| {
            if matches!(error, Error::Http(_)) { Refused::Browser } else { Refused::Gone(error.to_string()) }
        })?;
    let (mut socket, peer, boot) = greeting::welcome(socket, shared).await?;
    shared.meeting.greeted();
    let pair = &shared.pairs[&peer];
    if !is_chooser(shared, peer) {
        greeting::hear_go(&mut socket, shared, peer).await?;
    } else if *pair.held.borrow() == Some(boot) {
        // It dialled while we did, and will hang up once it hears which connection was chosen; or it has lost a link
        // that we still believe in, and waits.
        let mut held = pair.held.subscribe();
        tokio::select! {
            biased;
            _ = socket.next() => return Ok(()),
            _ = held.wait_for(|held| *held != Some(boot)) => {}
            () = sleep(SECOND_THOUGHTS) => {}
        }
    }
    let _ = shared.accepted[&peer].send(Greeted { socket, life, boot, dialled: false }).await;
    Ok(())
}

/// Pages of any site can make a browser open WebSockets to this machine; it always says for which.
#[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
fn refuse_browsers(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    if request.headers().contains_key(ORIGIN) {
        let mut refusal = ErrorResponse::new(Some("The mesh is for nodes, not for pages.".to_owned()));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        return Err(refusal);
    }
    Ok(response)
}

/// What is wrong with strangers, told at most once a second: they decide how many there are.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<(Option<Instant>, u64)>);

impl Complaints {
    pub(super) fn say(&self, sentence: String) {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *told {
            (Some(last), unsaid) if now - last < Duration::from_secs(1) => *told = (Some(last), unsaid + 1),
            (_, 0) => {
                *told = (Some(now), 0);
                tracing::warn!("{sentence}");
            }
            (_, unsaid) => {
                *told = (Some(now), 0);
                tracing::warn!("{sentence} ({unsaid} more before)");
            }
        }
    }
}
