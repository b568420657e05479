//! Connections that the node makes: a broker's session with the ensemble, by the ZooKeeper client protocol over TCP.

use crate::inbox::Inbox;
use crate::stones::Stones;
use glasshouse_core::id::DialId;
use glasshouse_core::node::{Address, Request};

/// The node's dials that are under way or open.
#[derive(Debug)]
pub struct Dials {
    _inbox: Inbox,
    _stones: Stones,
}

impl Dials {
    pub fn new(inbox: Inbox, stones: Stones) -> Dials {
        Dials { _inbox: inbox, _stones: stones }
    }

    /// Connects in the background: `Input::Opened` or `Input::Hung` follows.
    pub fn dial(&mut self, _dial: DialId, _to: Address) {
        unimplemented!("dials are being written")
    }

    /// Sends a request; its answer is `Input::Answer`. Nothing happens if the dial is gone.
    pub fn ask(&mut self, _dial: DialId, _request: Request) {}

    /// The node no longer needs it; no `Input::Hung` follows.
    pub fn hang_up(&mut self, _dial: DialId) {}

    /// `Input::Hung` was delivered: it is gone.
    pub fn forget(&mut self, _dial: DialId) {}
}
