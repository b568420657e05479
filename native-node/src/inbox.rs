//! Everything that reaches a node comes in by two bounded queues: what clients say, and what peers, keepers, the disk and
//! the operator say. They are taken from by turns: a crowd of clients keeps no peer waiting, and no client waits for ever.
//!
//! Whoever puts something in waits while its queue is full; that is how sockets feel a busy node. What one connection or
//! one channel says is always in one queue, and so in order.

use crate::net::outbox::Outbox;
use crate::observe::routes::Question;
use glasshouse_core::api::kafka;
use glasshouse_core::api::storage::Lane;
use glasshouse_core::id::ConnId;
use glasshouse_core::node::{Input, KafkaRequest, Request, RequestBody};
use glasshouse_core::store::disk::DiskError;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Inputs that may wait in each queue.
const ROOM: usize = 4096;

/// Requests of more bytes wait while links are backed up or much is under way. What is shorter makes little to send, and
/// sessions live by it: pings, watches, reads.
const SHORT: usize = 512;

/// Kilobytes of longer ones that may wait in the clients' queue: a request may have 100 MB.
const LONG: u32 = 64 << 10;

/// What comes in.
#[derive(Debug)]
pub enum Incoming {
    /// As the machine takes it.
    Input(Input),
    /// A client's long request, of so many bytes, that may make more to send or to write. Others are inputs.
    Long { conn: ConnId, request: Request, length: usize },
    /// A client connected, from there: answers to it go here. Comes before its first request.
    Connected { conn: ConnId, peer: SocketAddr, outbox: Outbox },
    /// The sync thread is done with a lane.
    SyncDone { lane: Lane, result: Result<(), DiskError> },
    /// Somebody asked over HTTP how it is.
    Asked(Question),
    /// Stop at once, as a crash of the process would (a stone thrown in a process that several nodes share).
    Kill,
}

impl Incoming {
    /// The client of the node that says it, or that it is about.
    fn client(&self) -> Option<ConnId> {
        match self {
            Incoming::Connected { conn, .. }
            | Incoming::Long { conn, .. }
            | Incoming::Input(Input::Request { conn, .. } | Input::Closed { conn }) => Some(*conn),
            Incoming::Input(_) | Incoming::SyncDone { .. } | Incoming::Asked(_) | Incoming::Kill => None,
        }
    }
}

/// Whether a request may make more to send to peers, or to write. Who reads records on, of a hundred partitions and so in a
/// long request, does not have to wait for those who write them.
fn adds(body: &RequestBody) -> bool {
    !matches!(body, RequestBody::Kafka(KafkaRequest { body: kafka::Request::Fetch(_), .. }))
}

/// What a client said.
#[derive(Debug)]
struct Said {
    conn: ConnId,
    incoming: Incoming,
    /// Of a long one: its part of the room for them, until it is taken out.
    _room: Option<OwnedSemaphorePermit>,
}

/// Room for one input that no client says.
#[derive(Debug)]
pub struct Room<'a>(mpsc::Permit<'a, Incoming>);

impl Room<'_> {
    pub fn put(self, input: Input) {
        self.0.send(Incoming::Input(input));
    }
}

/// The sending end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    clients: mpsc::Sender<Said>,
    others: mpsc::Sender<Incoming>,
    /// Whether long requests are welcome.
    welcome: watch::Receiver<bool>,
    /// And how many kilobytes of them there is room for.
    long: Arc<Semaphore>,
    conns: Arc<AtomicU64>,
}

impl Inbox {
    pub fn new() -> (Inbox, Arrivals) {
        let (clients, of_clients) = mpsc::channel(ROOM);
        let (others, of_others) = mpsc::channel(ROOM);
        let (welcome, is_welcome) = watch::channel(true);
        let long = Arc::new(Semaphore::new(LONG as usize));
        let arrivals = Arrivals {
            clients: of_clients,
            others: of_others,
            welcome,
            held: VecDeque::new(),
            holding: BTreeMap::new(),
            clients_last: false,
        };
        (Inbox { clients, others, welcome: is_welcome, long, conns: Arc::default() }, arrivals)
    }

    /// Puts an input in; waits for room. False: the node is gone.
    pub async fn put(&self, input: Input) -> bool {
        self.put_incoming(Incoming::Input(input)).await
    }

    /// As [`put`](Inbox::put).
    pub async fn put_incoming(&self, incoming: Incoming) -> bool {
        match incoming.client() {
            Some(conn) => self.clients.send(Said { conn, incoming, _room: None }).await.is_ok(),
            None => self.others.send(incoming).await.is_ok(),
        }
    }

    /// As [`put`](Inbox::put): a client's request, which had so many bytes. A long one waits until such are welcome, unless
    /// it is a consumer's, and until others leave room for it.
    pub async fn ask(&self, conn: ConnId, request: Request, length: usize) -> bool {
        if length <= SHORT {
            return self.put(Input::Request { conn, request }).await;
        }
        let adds = adds(&request.body);
        if adds {
            // An error is the node's end, which is told below.
            let _ = self.welcome.clone().wait_for(|welcome| *welcome).await;
        }
        let kilobytes = u32::try_from(length >> 10).unwrap_or(LONG).min(LONG);
        let room = self.long.clone().acquire_many_owned(kilobytes).await.ok();
        let incoming = match adds {
            true => Incoming::Long { conn, request, length },
            false => Incoming::Input(Input::Request { conn, request }),
        };
        self.clients.send(Said { conn, incoming, _room: room }).await.is_ok()
    }

    /// Waits for room, and keeps it for one input: for who must not lose the input if the waiting is given up. `None`:
    /// the node is gone. Not for what clients say.
    pub async fn reserve(&self) -> Option<Room<'_>> {
        self.others.reserve().await.ok().map(Room)
    }

    /// As [`put`](Inbox::put), from a thread that may block. Panics on a runtime's thread. Not for what clients say.
    pub fn put_blocking(&self, incoming: Incoming) -> bool {
        self.others.blocking_send(incoming).is_ok()
    }

    /// A number for a new connection, never used twice by one boot.
    pub fn next_conn(&self) -> ConnId {
        ConnId(self.conns.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The node is gone.
    pub fn is_closed(&self) -> bool {
        self.others.is_closed()
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Arrivals {
    clients: mpsc::Receiver<Said>,
    others: mpsc::Receiver<Incoming>,
    /// Tells those who would ask whether long requests are welcome.
    welcome: watch::Sender<bool>,
    /// Requests that were in the queue and are too long for now, and what their connections said behind them.
    held: VecDeque<Said>,
    /// How many of them each connection has.
    holding: BTreeMap<ConnId, usize>,
    clients_last: bool,
}

impl Arrivals {
    /// What is next, of both by turns. `None`: nobody can put anything in any more.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.wait(true).await
    }

    /// As [`recv`](Arrivals::recv), but unless long requests are welcome they wait, and so does what their connections say
    /// behind them; nobody else does: others ping, and live by it. A call that is given up loses nothing.
    pub async fn wait(&mut self, long: bool) -> Option<Incoming> {
        loop {
            if let Some(next) = self.next(long) {
                return Some(next);
            }
            tokio::select! {
                biased;
                other = self.others.recv() => return other.or_else(|| self.next_of_clients(true)),
                // None: all who could say something are gone, those of the other queue, too.
                said = self.clients.recv(), if self.held.len() < ROOM => if let Some(next) = self.pass(said?, long) {
                    return Some(next);
                },
            }
        }
    }

    /// What is there already, of both by turns.
    pub fn next(&mut self, long: bool) -> Option<Incoming> {
        self.welcome.send_if_modified(|welcome| std::mem::replace(welcome, long) != long);
        let next = match self.clients_last {
            true => self.next_of_others().map(|next| (next, false)),
            false => self.next_of_clients(long).map(|next| (next, true)),
        };
        let next = next
            .or_else(|| self.next_of_others().map(|next| (next, false)))
            .or_else(|| self.next_of_clients(long).map(|next| (next, true)));
        let (next, clients) = next?;
        self.clients_last = clients;
        Some(next)
    }

    fn next_of_others(&mut self) -> Option<Incoming> {
        self.others.try_recv().ok()
    }

    fn next_of_clients(&mut self, long: bool) -> Option<Incoming> {
        if long && let Some(said) = self.held.pop_front() {
            if let Some(many) = self.holding.get_mut(&said.conn) {
                *many -= 1;
                if *many == 0 {
                    self.holding.remove(&said.conn);
                }
            }
            return Some(said.incoming);
        }
        while self.held.len() < ROOM {
            let said = self.clients.try_recv().ok()?;
            if let Some(next) = self.pass(said, long) {
                return Some(next);
            }
        }
        None
    }

    /// What comes out of the clients' queue, unless it has to wait.
    fn pass(&mut self, said: Said, long: bool) -> Option<Incoming> {
        if !long && (matches!(said.incoming, Incoming::Long { .. }) || self.holding.contains_key(&said.conn)) {
            *self.holding.entry(said.conn).or_default() += 1;
            self.held.push_back(said);
            return None;
        }
        Some(said.incoming)
    }

    /// Inputs that wait.
    pub fn len(&self) -> usize {
        self.clients.len() + self.others.len() + self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_core::api::keeper::{Op, Request as Body};
    use glasshouse_core::id::DialId;
    use glasshouse_core::node::Principal;

    fn ping(xid: i32) -> Request {
        let body = RequestBody::Keeper(Body::Op { xid, op: Op::Ping });
        Request { listener: 0, principal: Principal::Anonymous, body }
    }

    /// `c7`: a client's request 7; `d7`: dial 7 is open.
    fn name(incoming: Incoming) -> String {
        match incoming {
            Incoming::Input(Input::Request { request: Request { body: RequestBody::Keeper(body), .. }, .. })
            | Incoming::Long { request: Request { body: RequestBody::Keeper(body), .. }, .. } => {
                let Body::Op { xid, .. } = body else { panic!("{body:?}") };
                format!("c{xid}")
            }
            Incoming::Input(Input::Opened { dial }) => format!("d{}", dial.0),
            other => panic!("{other:?}"),
        }
    }

    fn waiting(arrivals: &mut Arrivals, long: bool) -> Vec<String> {
        std::iter::from_fn(|| arrivals.next(long).map(name)).collect()
    }

    #[tokio::test]
    async fn clients_and_others_are_heard_by_turns_and_each_in_order() {
        let (inbox, mut arrivals) = Inbox::new();
        for number in 0..5 {
            assert!(inbox.ask(ConnId(1), ping(number), 10).await);
        }
        for number in 0..3 {
            assert!(inbox.put(Input::Opened { dial: DialId(number) }).await);
        }
        assert_eq!(arrivals.len(), 8);
        assert_eq!(waiting(&mut arrivals, true), ["c0", "d0", "c1", "d1", "c2", "d2", "c3", "c4"]);
        assert!(arrivals.is_empty());
    }

    #[tokio::test]
    async fn a_crowd_of_clients_leaves_room_for_others() {
        let (inbox, mut arrivals) = Inbox::new();
        let mut said = 0;
        while inbox.clients.capacity() > 0 {
            inbox.ask(ConnId(1), ping(said), 10).await;
            said += 1;
        }
        assert!(inbox.reserve().await.is_some());
        assert!(inbox.put(Input::Opened { dial: DialId(1) }).await);
        let first_two = [arrivals.recv().await, arrivals.recv().await].map(|next| name(next.unwrap()));
        assert!(first_two.contains(&"d1".to_owned()), "{first_two:?}");
    }

    #[tokio::test]
    async fn a_long_request_waits_with_what_its_connection_says_behind_it_and_nobody_else_for_it() {
        let (inbox, mut arrivals) = Inbox::new();
        for (conn, number, length) in [(1, 0, 10), (1, 1, SHORT + 1), (1, 2, 10), (2, 3, 10)] {
            inbox.ask(ConnId(conn), ping(number), length).await;
        }
        inbox.put(Input::Opened { dial: DialId(1) }).await;
        assert_eq!(waiting(&mut arrivals, false), ["c0", "d1", "c3"]);
        inbox.ask(ConnId(1), ping(4), 10).await;
        inbox.ask(ConnId(2), ping(5), 10).await;
        assert_eq!(arrivals.wait(false).await.map(name).as_deref(), Some("c5"));
        assert_eq!(arrivals.len(), 3);
        assert_eq!(waiting(&mut arrivals, true), ["c1", "c2", "c4"]);
        inbox.ask(ConnId(1), ping(6), 10).await;
        assert_eq!(waiting(&mut arrivals, false), ["c6"], "it waits for nothing any more");
        drop(inbox);
        assert!(arrivals.recv().await.is_none());
    }

    #[tokio::test]
    async fn who_only_reads_on_is_always_welcome() {
        let (inbox, mut arrivals) = Inbox::new();
        assert!(arrivals.next(false).is_none());
        let body =
            KafkaRequest { version: 12, correlation: 1, client: None, body: kafka::FetchRequest::default().into() };
        let request = Request { listener: 0, principal: Principal::Anonymous, body: RequestBody::Kafka(body) };
        assert!(inbox.ask(ConnId(1), request, 100 * SHORT).await);
        assert!(matches!(arrivals.next(false), Some(Incoming::Input(Input::Request { conn: ConnId(1), .. }))));
    }

    #[tokio::test]
    async fn a_long_request_is_not_put_in_before_it_is_welcome() {
        let (inbox, mut arrivals) = Inbox::new();
        assert_eq!(waiting(&mut arrivals, false), [""; 0]);
        let asking = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.ask(ConnId(1), ping(1), SHORT + 1).await }
        });
        tokio::task::yield_now().await;
        inbox.ask(ConnId(2), ping(2), SHORT).await;
        assert_eq!(waiting(&mut arrivals, false), ["c2"]);
        assert!(arrivals.is_empty() && !asking.is_finished());
        assert_eq!(waiting(&mut arrivals, true), [""; 0]);
        assert_eq!(arrivals.recv().await.map(name).as_deref(), Some("c1"));
        assert!(asking.await.unwrap());
    }

    #[tokio::test]
    async fn long_requests_have_room_by_their_bytes_and_short_ones_do_not_wait_for_it() {
        let (inbox, mut arrivals) = Inbox::new();
        let length = (LONG as usize / 4) << 10;
        let asking: Vec<_> = (0..5)
            .map(|number| {
                let inbox = inbox.clone();
                tokio::spawn(async move { inbox.ask(ConnId(number), ping(number as i32), length).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(asking.iter().filter(|asking| asking.is_finished()).count(), 4);
        inbox.ask(ConnId(6), ping(6), SHORT).await;
        assert_eq!(waiting(&mut arrivals, true), ["c0", "c1", "c2", "c3", "c6"]);
        assert_eq!(arrivals.recv().await.map(name).as_deref(), Some("c4"));
        // What is longer than all the room takes all of it.
        inbox.ask(ConnId(7), ping(7), usize::MAX).await;
        assert_eq!(waiting(&mut arrivals, true), ["c7"]);
        assert_eq!(inbox.long.available_permits(), LONG as usize);
    }
}
