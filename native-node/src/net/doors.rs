//! A broker's port before it serves. Its listener is bound from the start, but a broker that has not heard of its cluster
//! would answer Metadata with no brokers at all, and a client that believes it forgets everybody it knew (librdkafka then
//! has "no usable brokers" for ever). Apache's broker processes nothing before it is registered; we hang up at once, so
//! that a client turns to another broker instead of waiting.

use tokio::net::TcpListener;
use tokio::sync::watch;

/// Shut until the node serves, then open for good; cheap to clone.
#[derive(Clone, Debug)]
pub struct Doors(watch::Sender<bool>);

impl Default for Doors {
    fn default() -> Doors {
        Doors(watch::Sender::new(false))
    }
}

impl Doors {
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Sends everybody away who comes to the port before the doors are open.
    pub async fn guard(&self, port: &TcpListener) {
        let mut open = self.0.subscribe();
        loop {
            tokio::select! {
                () = async { drop(open.wait_for(|open| *open).await) } => return,
                accepted = port.accept() => match accepted {
                    Ok((stream, _)) => drop(stream),
                    // Nobody can be taken in, not even to be sent away: descriptors have run out.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn who_comes_early_is_sent_away_and_the_next_is_left_to_the_listener() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, doors) = (port.local_addr().unwrap(), Doors::default());
        let guard = tokio::spawn({
            let doors = doors.clone();
            async move {
                doors.guard(&port).await;
                port
            }
        });
        let mut early = TcpStream::connect(at).await.unwrap();
        assert!(matches!(early.read(&mut [0]).await, Ok(0) | Err(_)), "it is hung up on");
        doors.open();
        let port = guard.await.unwrap();
        let _late = TcpStream::connect(at).await.unwrap();
        assert!(port.accept().await.is_ok());
    }
}
