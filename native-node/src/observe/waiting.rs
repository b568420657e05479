//! Tells, once each time, that a node does not come to serve: a broker that finds no ensemble would say nothing else.

use super::routes::Question;
use crate::inbox::{Inbox, Incoming};
use glasshouse_core::id::NodeId;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// An election and a registration take less.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the node's loop so often, until that is gone; `needs` is what it waits for.
pub async fn tell(me: NodeId, inbox: Inbox, needs: String, every: Duration) {
    let (mut since, mut told) = (Instant::now(), false);
    loop {
        sleep(every).await;
        let (sender, answer) = oneshot::channel();
        inbox.put_incoming(Incoming::Asked(Question::Ready(sender))).await;
        match answer.await {
            Ok(Ok(())) => (since, told) = (Instant::now(), false),
            Ok(Err(why)) if !told => {
                told = true;
                tracing::warn!(node = %me, "does not serve since {} s: {why} ({needs})", since.elapsed().as_secs());
            }
            Ok(Err(_)) => {}
            Err(_gone) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_asks_until_the_loop_is_gone() {
        let (inbox, mut receiver) = Inbox::new();
        let telling = tokio::spawn(tell(NodeId::Broker(1), inbox, "a".to_owned(), Duration::from_millis(1)));
        for answer in [Err("no ensemble".to_owned()), Ok(())] {
            let Some(Incoming::Asked(Question::Ready(asked))) = receiver.recv().await else { panic!("not asked") };
            asked.send(answer).unwrap();
        }
        drop(receiver);
        telling.await.unwrap();
    }
}
