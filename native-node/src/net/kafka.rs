//! The Kafka protocol's listener: frames in, requests to the inbox, answers out.

use crate::inbox::Inbox;
use crate::net::Limits;
use tokio::net::TcpListener;

/// Serves clients until the node is gone.
pub async fn serve(_listener: TcpListener, _inbox: Inbox, _limits: Limits) {
    unimplemented!("the Kafka listener is being written")
}
