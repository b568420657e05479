//! Memory stays bounded by what arrived: thousands who claim much and send little, and who are idle. In a process of
//! its own, so that nothing else is counted.

use glasshouse_node::inbox::Inbox;
use glasshouse_node::net::{self, Limits};
use glasshouse_node::stones::Stones;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use tokio::net::TcpListener;

const CONNECTIONS: usize = 4000;

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

#[tokio::test]
async fn claims_cost_nothing_and_the_idle_little() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (inbox, mut received) = Inbox::new();
    let long = Duration::from_secs(600);
    let limits = Limits { frame: 100 << 20, connections: CONNECTIONS, requests: 5, first: long, idle: None };
    tokio::spawn(net::kafka::serve(listener, inbox, limits, Stones::default()));
    let before = resident();
    let mut strangers = Vec::new();
    for n in 0..CONNECTIONS {
        let stream = tokio::net::TcpStream::connect(address).await.expect("somebody listens");
        let mut stream: TcpStream = stream.into_std().expect("a socket");
        if n % 2 == 0 {
            // 90 MB are announced, and ten bytes come.
            stream
                .write_all(&(90u32 << 20).to_be_bytes())
                .and_then(|()| stream.write_all(&[7; 10]))
                .expect("it stands");
        }
        strangers.push(stream);
    }
    // One that is served behind them all: what they have sent was read by then, or will be soon.
    let mut client = TcpStream::connect(address).expect("somebody listens");
    client.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).expect("it stands");
    tokio::time::timeout(long, received.recv()).await.expect("it is heard").expect("the listener lives");
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let each = resident().saturating_sub(before) / CONNECTIONS;
    assert!(each < 12 << 10, "{each} bytes for each of {CONNECTIONS} connections");
}
