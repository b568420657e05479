//! The task of a producer: sends what the queues have ready to whoever leads, and hands the answers back to them.

use super::super::connection::Result;
use super::super::{Client, Lane, refused};
use super::Shared;
use super::state::Send;
use crate::client::Error;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use glasshouse_core::api::kafka::{ErrorCode, ProducePartition, ProduceRequest, ProduceTopic, Response};
use glasshouse_core::id::TopicPartition;
use glasshouse_core::record::offset::Offset;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A send that ended.
struct Ended {
    partition: TopicPartition,
    number: u64,
    answer: Result<(ErrorCode, Offset, Option<String>)>,
}

/// Nothing is due before somebody wakes us.
const FAR: Duration = Duration::from_secs(3600);

/// Runs until the producer is dropped.
pub(super) async fn run(client: Client, shared: Arc<Shared>) {
    let backoff = client.settings().backoff;
    let mut flying: FuturesUnordered<BoxFuture<'static, Ended>> = FuturesUnordered::new();
    let mut asking: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut ask_after = Instant::now();
    let mut stale = false;
    loop {
        let now = Instant::now();
        let next = shared.state().next(now, &shared.settings, |place| client.leader(place).is_some());
        shared.room.add_permits(next.freed);
        let mut wake_at = next.wake_at.unwrap_or(now + FAR);
        for send in next.sends {
            flying.push(launch(&client, &shared, send));
        }
        if (stale || next.leaderless) && asking.is_empty() {
            if ask_after <= now {
                stale = false;
                ask_after = now + backoff;
                asking.push(ask(&client, &shared));
            } else {
                wake_at = wake_at.min(ask_after);
            }
        }
        tokio::select! {
            Some(ended) = flying.next(), if !flying.is_empty() => {
                // All that ended by now is looked at before anything is sent.
                let mut ended = Some(ended);
                while let Some(one) = ended {
                    stale |= land(&shared, one, backoff);
                    ended = futures_util::FutureExt::now_or_never(flying.next()).flatten();
                }
            }
            Some(()) = asking.next(), if !asking.is_empty() => {}
            () = shared.wake.notified() => {}
            () = sleep_until(wake_at) => {}
        }
    }
}

/// Asks who leads.
fn ask(client: &Client, shared: &Shared) -> BoxFuture<'static, ()> {
    let (client, topics) = (client.clone(), shared.state().topics());
    Box::pin(async move {
        // Who cannot be reached now is asked again after a rest.
        let _shown_by_what_is_known = client.metadata(Some(&topics)).await;
    })
}

/// Puts a batch on its way; the order of these calls is the order on the connection.
fn launch(client: &Client, shared: &Shared, send: Send) -> BoxFuture<'static, Ended> {
    let (partition, number) = (send.partition.clone(), send.number);
    let Some((_, leader)) = client.leader(&partition) else {
        let answer = Err(refused(partition.to_string(), ErrorCode::LEADER_NOT_AVAILABLE, None));
        return Box::pin(async move { Ended { partition, number, answer } });
    };
    let settings = &shared.settings;
    let request = ProduceRequest {
        acks: settings.acks,
        timeout_ms: settings.request_timeout.as_millis() as i32,
        topics: vec![ProduceTopic {
            name: partition.topic.clone(),
            partitions: vec![ProducePartition {
                index: partition.partition,
                records: Some(send.encode()),
                ..ProducePartition::default()
            }],
            ..ProduceTopic::default()
        }],
        ..ProduceRequest::default()
    };
    let unconfirmed = settings.acks == 0;
    // The leader answers REQUEST_TIMED_OUT by itself; only one that hangs is left behind.
    let limit = settings.request_timeout + Duration::from_secs(1);
    let answer = client.ask_on(&leader, Lane::Produce, request.into(), limit);
    Box::pin(async move {
        let answer = answer.await.and_then(|response| read(response, &partition, unconfirmed));
        Ended { partition, number, answer }
    })
}

fn read(
    response: Response<Bytes>,
    partition: &TopicPartition,
    unconfirmed: bool,
) -> Result<(ErrorCode, Offset, Option<String>)> {
    let strange = || Error::Malformed { address: partition.to_string(), why: "an answer to another Produce".into() };
    let Response::Produce(answer) = response else { return Err(strange()) };
    if unconfirmed {
        return Ok((ErrorCode::NONE, Offset(-1), None));
    }
    let row = answer.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let row = row.filter(|row| row.index == partition.partition).ok_or_else(strange)?;
    Ok((row.error, row.base_offset, row.error_message))
}

/// Tells the queues; true if who leads may have changed.
fn land(shared: &Shared, ended: Ended, backoff: Duration) -> bool {
    let Ended { partition, number, answer } = ended;
    let answered = shared.state().on_answer(Instant::now(), &partition, number, answer, backoff);
    shared.room.add_permits(answered.freed);
    answered.stale
}
