//! A small HTTP/1.1 server for probes, metrics and stones: one request for each connection, everything bounded.
//!
//! It knows nothing of nodes; whoever starts it answers the requests. It serves scripts and Prometheus, not browsers: a
//! POST that a page sends (it has an `Origin`) is refused, and so is, on loopback, whatever asks for a `Host` by a name
//! that may be anybody's: who owns a name may have it mean this machine, and a page under it then reads what it gets.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Bytes of the request line and the headers.
const MAX_HEAD: usize = 8 << 10;
/// Bytes of a body.
const MAX_BODY: usize = 64 << 10;
/// From the connection to its end.
const DEADLINE: Duration = Duration::from_secs(5);
/// Connections at once; with one more the oldest is cut off.
const CONNECTIONS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Without what follows a question mark.
    pub path: String,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    pub body: String,
}

impl Response {
    /// A sentence.
    pub fn text(status: u16, body: impl Into<String>) -> Response {
        let mut body = body.into();
        body.push('\n');
        Response { status, kind: "text/plain; charset=utf-8", body }
    }

    pub fn json(status: u16, body: impl Into<String>) -> Response {
        Response { status, kind: "application/json", body: body.into() }
    }
}

/// Serves until it is dropped. `answer` gets a part of the connection's five seconds.
pub async fn serve<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    // Beyond loopback whoever reaches the port may read it, by whatever name.
    let private = listener.local_addr().is_ok_and(|at| at.ip().to_canonical().is_loopback());
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, as a rule: there may be some in a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let answer = answer.clone();
        let connection = tokio::spawn(async move {
            let _ = timeout(DEADLINE, converse(stream, private, answer)).await;
        });
        open.push_back(connection.abort_handle());
    }
}

async fn converse<A, F>(mut stream: TcpStream, private: bool, answer: A) -> std::io::Result<()>
where
    A: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    let response = match read_request(&mut stream, private).await? {
        Ok(request) => answer(request).await,
        Err(refused) => refused,
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\r\n",
        response.status,
        reason(response.status),
        response.kind,
        response.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(response.body.as_bytes()).await?;
    stream.shutdown().await?;
    // What the client still sends is read and forgotten: a close with unread bytes would reset the answer away.
    let mut rest = [0; 1024];
    for _ in 0..MAX_BODY / rest.len() {
        if stream.read(&mut rest).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Reads one request; the outer failure is the connection's, the inner one an answer that refuses it.
async fn read_request(stream: &mut TcpStream, private: bool) -> std::io::Result<Result<Request, Response>> {
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = find_end(&bytes) {
            break end;
        }
        if bytes.len() > MAX_HEAD {
            return Ok(Err(Response::text(431, "the headers are longer than 8 KB")));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = bytes.split_off(end);
    let head = match Head::parse(&bytes, private) {
        Ok(head) => head,
        Err(refused) => return Ok(Err(refused)),
    };
    while body.len() < head.length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    body.truncate(head.length);
    Ok(Ok(Request { method: head.method, path: head.path, body }))
}

/// Where the empty line behind the headers ends.
fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    method: Method,
    path: String,
    length: usize,
}

impl Head {
    /// `private`: a `Host` that may be anybody's name is refused.
    fn parse(bytes: &[u8], private: bool) -> Result<Head, Response> {
        let bad = |why: &str| Err(Response::text(400, why));
        if bytes.len() > MAX_HEAD {
            return Err(Response::text(431, "the headers are longer than 8 KB"));
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return bad("the headers are not text") };
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return bad("the first line is not METHOD PATH VERSION");
        };
        if !version.starts_with("HTTP/1.") {
            return Err(Response::text(505, "only HTTP/1.1 is spoken here"));
        }
        let method = match method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            _ => return Err(Response::text(405, "only GET and POST are answered here")),
        };
        let mut length = 0;
        for line in lines.filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { return bad("a header without a colon") };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => match value.trim().parse::<usize>() {
                    Ok(declared) if declared <= MAX_BODY => length = declared,
                    Ok(_) => return Err(Response::text(413, "the body is longer than 64 KB")),
                    Err(_) => return bad("Content-Length is not a number"),
                },
                "transfer-encoding" => return Err(Response::text(501, "send the body with a Content-Length")),
                "host" if private && !is_local(value.trim()) => {
                    return Err(Response::text(403, "this port is for this machine: ask by its address, or localhost"));
                }
                "origin" if method == Method::Post => {
                    return Err(Response::text(403, "pages of a browser may not do this"));
                }
                _ => {}
            }
        }
        let path = target.split('?').next().unwrap_or_default().to_owned();
        Ok(Head { method, path, length })
    }
}

/// Whether nobody from elsewhere can have made a browser send this `Host` here: an address, or a name that public name
/// servers never hold (RFC 6761's localhost; internal, by which containers know their host).
fn is_local(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':').unwrap_or(port)),
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let last = name.rsplit('.').next();
    port.bytes().all(|byte| byte.is_ascii_digit())
        && (name.parse::<IpAddr>().is_ok() || last == Some("localhost") || last == Some("internal"))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "See the body",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    async fn start() -> SocketAddr {
        start_on("127.0.0.1:0").await
    }

    async fn start_on(address: &str) -> SocketAddr {
        let listener = TcpListener::bind(address).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, |request: Request| async move {
            Response::text(200, format!("{:?} {} {}", request.method, request.path, request.body.len()))
        }));
        at
    }

    async fn say(at: SocketAddr, words: &[u8]) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let _ = stream.write_all(words).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn requests_are_answered_and_the_connection_is_closed() {
        let at = start().await;
        let answer = say(at, b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nGet /metrics 0\n"), "{answer}");
        let answer = say(at, b"POST /stone HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello").await;
        assert!(answer.ends_with("\r\n\r\nPost /stone 5\n"), "{answer}");
    }

    #[tokio::test]
    async fn what_is_too_long_or_strange_is_refused() {
        let at = start().await;
        let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'a'; 2 * MAX_HEAD]].concat();
        let cases: [(&[u8], &str); 8] = [
            (&endless, "HTTP/1.1 431 "),
            (b"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", "HTTP/1.1 413 "),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 "),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 501 "),
            (b"POST / HTTP/1.1\r\nOrigin: http://evil\r\n\r\n", "HTTP/1.1 403 "),
            (b"BREW / HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
            (b"GET / SPDY/3\r\n\r\n", "HTTP/1.1 505 "),
            (b"\xff\xfe\r\n\r\n", "HTTP/1.1 400 "),
        ];
        for (words, status) in cases {
            let answer = say(at, words).await;
            assert!(answer.starts_with(status), "{answer} is not {status}");
        }
    }

    #[tokio::test]
    async fn on_loopback_a_name_that_may_be_anybodys_is_refused() {
        let private = start().await;
        let public = SocketAddr::new(private.ip(), start_on("0.0.0.0:0").await.port());
        let local = [
            "127.0.0.1",
            "127.0.0.1:7070",
            "[::1]:7070",
            "10.0.0.7:80",
            "localhost",
            "LocalHost:7070",
            "localhost.",
            "keeper-1.localhost:7071",
            "host.docker.internal:7071",
        ];
        let strange = [
            "example.org",
            "example.org:7070",
            "localhost.example.org",
            "notlocalhost:80",
            "127.0.0.1.example.org",
            "127.0.0.1:80.example.org",
            "[::1].example.org",
            "",
        ];
        let hosts = local.map(|host| (host, "200")).into_iter().chain(strange.map(|host| (host, "403")));
        for (host, status) in hosts {
            for (at, status) in [(private, status), (public, "200")] {
                for line in [format!("Host: {host}"), format!("host:{host}\r\nHost: 127.0.0.1")] {
                    let answer = say(at, format!("GET /cluster HTTP/1.1\r\n{line}\r\n\r\n").as_bytes()).await;
                    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host:?}: {answer}");
                }
            }
        }
        // A browser never leaves it out; scripts and probes may.
        assert!(say(private, b"GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn silent_connections_keep_nobody_out() {
        let at = start().await;
        let mut silent = Vec::new();
        for _ in 0..3 * CONNECTIONS {
            silent.push(TcpStream::connect(at).await.unwrap());
        }
        let answer = say(at, b"GET /healthz HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        drop(silent);
    }
}
