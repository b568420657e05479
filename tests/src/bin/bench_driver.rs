//! The driver of the keeper's benchmarks: one thread, plain blocking sockets, ZooKeeper's client protocol. It measures
//! our ensemble and Apache's the same way, where a client library would be the limit. Prints one JSON line.
//!
//!     bench-driver creates  HOST:PORT,… COUNT IN_FLIGHT    creates of 1 KiB through the first server that answers
//!     bench-driver failover HOST:PORT,… PID…               kills the leader, tries every server until a write succeeds

use bytes::Bytes;
use glasshouse_core::api::keeper::{Connect, Create, ErrorCode, Op, Reply, Request};
use glasshouse_core::id::{SessionId, Zxid};
use glasshouse_core::wire::keeper::ClientCodec;
use glasshouse_core::znode::acl::AclList;
use glasshouse_core::znode::txn::CreateKind;
use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// One session over one connection.
struct Session {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    codec: ClientCodec,
    xid: i32,
    queued: Vec<u8>,
}

impl Session {
    fn open(server: &str, patience: Duration) -> io::Result<Session> {
        let address = server.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        let reader = BufReader::with_capacity(1 << 16, stream.try_clone()?);
        let mut session = Session { stream, reader, codec: ClientCodec::default(), xid: 0, queued: Vec::new() };
        session.queue(&Request::Connect(Connect {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 10_000,
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        }));
        session.send()?;
        match session.receive()? {
            Reply::Connected(connected) if connected.timeout_ms > 0 => Ok(session),
            other => Err(io::Error::other(format!("no session: {other:?}"))),
        }
    }

    fn queue(&mut self, request: &Request) {
        let frame = self.codec.encode(request);
        self.queued.extend((frame.len() as u32).to_be_bytes());
        self.queued.extend(&frame);
    }

    fn queue_create(&mut self, path: &str, data: &Bytes) {
        self.xid += 1;
        let (acl, data) = (AclList::open(), Some(data.clone()));
        let create = Create { kind: CreateKind::Plain, path: path.into(), data, acl, flags: 0 };
        self.queue(&Request::Op { xid: self.xid, op: Op::Create(create) });
    }

    fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.queued)?;
        self.queued.clear();
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Reply> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length).min(64 << 20) as usize];
        self.reader.read_exact(&mut frame)?;
        self.codec.decode(frame.into()).map_err(|bad| io::Error::other(bad.to_string()))
    }

    /// The answer to the oldest create.
    fn created(&mut self) -> io::Result<()> {
        match self.receive()? {
            Reply::Answer { err: ErrorCode::Ok | ErrorCode::NodeExists, .. } => Ok(()),
            other => Err(io::Error::other(format!("not created: {other:?}"))),
        }
    }
}

fn creates(servers: &[&str], count: usize, in_flight: usize) -> io::Result<String> {
    let opened = servers.iter().find_map(|server| Session::open(server, Duration::from_secs(30)).ok());
    let mut session = opened.ok_or_else(|| io::Error::other("no server answers"))?;
    let data = Bytes::from(vec![b'x'; 1024]);
    let root = format!("/bench-{in_flight}-{}", std::process::id());
    session.queue_create(&root, &Bytes::new());
    session.send()?;
    session.created()?;
    let (mut asked, mut sent, begun) = (0, VecDeque::new(), Instant::now());
    let mut took = Vec::with_capacity(count);
    while took.len() < count {
        // Half of what may be in flight is asked for at once: few writes, and the server never runs dry.
        if sent.len() <= in_flight / 2 {
            while asked < count && sent.len() < in_flight {
                session.queue_create(&format!("{root}/{asked:08}"), &data);
                sent.push_back(Instant::now());
                asked += 1;
            }
            session.send()?;
        }
        session.created()?;
        took.push(sent.pop_front().map(|at| at.elapsed()).unwrap_or_default());
    }
    let seconds = begun.elapsed().as_secs_f64();
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    Ok(format!(
        "{{\"per_second\":{:.1},\"p50_ms\":{:.4},\"p99_ms\":{:.4},\"seconds\":{seconds:.3}}}",
        count as f64 / seconds,
        at(0.5),
        at(0.99)
    ))
}

/// Which server leads: asked with the word `srvr`, which every keeper answers.
fn leader(servers: &[&str]) -> Option<usize> {
    servers.iter().position(|server| {
        let Ok(mut stream) = TcpStream::connect(server) else { return false };
        let mut said = String::new();
        stream.write_all(b"srvr").is_ok() && stream.read_to_string(&mut said).is_ok() && said.contains("Mode: leader")
    })
}

fn failover(servers: &[&str], pids: &[&str]) -> io::Result<String> {
    let found = leader(servers).ok_or_else(|| io::Error::other("no server leads"))?;
    let pid = pids.get(found).ok_or_else(|| io::Error::other("a pid for each server"))?;
    Command::new("kill").args(["-KILL", pid]).status()?;
    let begun = Instant::now();
    let left: Vec<&str> = servers.iter().enumerate().filter(|(at, _)| *at != found).map(|(_, one)| *one).collect();
    for round in 0.. {
        for server in &left {
            let path = format!("/failover-{}-{round}", std::process::id());
            let tried = Session::open(server, Duration::from_millis(500)).and_then(|mut session| {
                session.queue_create(&path, &Bytes::new());
                session.send()?;
                session.created()
            });
            if tried.is_ok() {
                return Ok(format!("{{\"ms\":{:.1}}}", begun.elapsed().as_secs_f64() * 1000.0));
            }
        }
        if begun.elapsed() > Duration::from_secs(120) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(io::Error::other("no write succeeded within two minutes"))
}

fn run(words: &[&str]) -> io::Result<String> {
    let number = |word: &str| word.parse::<usize>().map_err(|_| io::Error::other(format!("{word:?} is no number")));
    match words {
        ["creates", servers, count, in_flight] => {
            creates(&servers.split(',').collect::<Vec<_>>(), number(count)?, number(in_flight)?.max(1))
        }
        ["failover", servers, pids @ ..] => failover(&servers.split(',').collect::<Vec<_>>(), pids),
        _ => Err(io::Error::other("usage: creates SERVERS COUNT IN_FLIGHT | failover SERVERS PID…")),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-driver: {error}");
            ExitCode::FAILURE
        }
    }
}
