//! The ZooKeeper client protocol's listener, four-letter words included.

use super::conn::{Protocol, Verdict};
use super::{Limits, listener};
use crate::inbox::Inbox;
use crate::stones::Stones;
use bytes::Bytes;
use glasshouse_core::api::keeper::{Op, Request as Body, xid};
use glasshouse_core::node::{Principal, Request, RequestBody};
use glasshouse_core::wire::keeper::{ServerCodec, four_letter_word};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Reads of one connection that may wait for answers: each may have a megabyte, and they are answered at once, so more
/// of them would only wait in our memory.
const READS: usize = 32;

/// Serves clients until the node is gone.
pub async fn serve(listener: TcpListener, inbox: Inbox, limits: Limits, stones: Stones) {
    let requests = limits.requests.max(1);
    listener::serve(listener, inbox, limits, stones, |peer| Keeper::new(peer, requests)).await;
}

/// One connection.
#[derive(Debug)]
struct Keeper {
    codec: ServerCodec,
    /// Where it comes from, which is all that is known of it (ZooKeeper's scheme `ip`).
    address: Arc<str>,
    requests: usize,
}

impl Keeper {
    fn new(peer: SocketAddr, requests: usize) -> Keeper {
        Keeper { codec: ServerCodec::default(), address: peer.ip().to_canonical().to_string().into(), requests }
    }
}

impl Protocol for Keeper {
    const WORD: Option<fn([u8; 4]) -> bool> = Some(|first| four_letter_word(first).is_some());
    // A connect record costs nothing; a session does, and it is there when it is answered.
    const PROVEN_BY_ASKING: bool = false;

    fn judge(&mut self, frame: Bytes) -> Verdict {
        let body = match self.codec.decode(frame) {
            Ok(body) => body,
            Err(malformed) => return Verdict::Nonsense(malformed.to_string()),
        };
        let (is_word, behind) = match &body {
            Body::FourLetter(_) => (true, 1),
            Body::Op { op, .. } if is_large(op) => (false, READS.min(self.requests)),
            Body::Op { .. } | Body::Connect(_) | Body::Undecodable { .. } => (false, self.requests),
        };
        let principal = Principal::Address(self.address.clone());
        let request = Request { listener: 0, principal, body: RequestBody::Keeper(body) };
        match is_word {
            true => Verdict::Word(request),
            false => Verdict::Ask { request, answered: true, behind },
        }
    }

    /// Events answer nothing.
    fn is_answer(frame: &[Bytes]) -> bool {
        !frame.first().is_some_and(|first| first.starts_with(&xid::EVENT.to_be_bytes()))
    }
}

/// Whether the answer may have many bytes for few asked.
fn is_large(op: &Op) -> bool {
    matches!(op, Op::GetData { .. } | Op::GetChildren { .. } | Op::MultiRead(_) | Op::GetEphemerals { .. })
}
