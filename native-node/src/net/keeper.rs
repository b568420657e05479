//! The ZooKeeper client protocol's listener, four-letter words included.

use crate::inbox::Inbox;
use crate::net::Limits;
use tokio::net::TcpListener;

/// Serves clients until the node is gone.
pub async fn serve(_listener: TcpListener, _inbox: Inbox, _limits: Limits) {
    unimplemented!("the keeper's listener is being written")
}
