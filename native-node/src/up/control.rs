//! The cluster's own HTTP port: what runs (GET /cluster), and, if it was started for that, stones (POST /stone).
//!
//! A stone names the node it is thrown `on`; the rest is what the node itself takes (`observe::routes`), and beyond that
//! `start`. Killing, starting and pausing is done here, because a node's process cannot do it to itself and answer.

use super::describe::Cluster;
use crate::observe::http::{Method, Request, Response};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the supervisor is asked to do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As a crash would.
    Kill,
    /// Again, if it is down; killed and started again, if not.
    Start,
    Pause(bool),
}

/// An order, the node's name, and where the answer goes: a sentence if it was not done.
pub type Ordered = (Order, String, oneshot::Sender<Result<(), String>>);

/// What answers.
#[derive(Clone, Debug)]
pub struct Control {
    pub orders: mpsc::Sender<Ordered>,
    pub cluster: watch::Receiver<Cluster>,
}

/// Why a stone was not thrown.
#[derive(Debug)]
enum NotThrown {
    /// No node has that name.
    Nobody(String),
    Otherwise(String),
}

impl From<String> for NotThrown {
    fn from(why: String) -> NotThrown {
        NotThrown::Otherwise(why)
    }
}

impl Control {
    pub async fn answer(self, request: Request) -> Response {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/cluster") => {
                let cluster = self.cluster.borrow().clone();
                match serde_json::to_string(&cluster) {
                    Ok(text) => Response::json(200, text),
                    Err(error) => Response::text(500, error.to_string()),
                }
            }
            (Method::Post, "/stone") if !self.cluster.borrow().stones => {
                Response::text(403, "this cluster was not started for stones (glasshouse up --stones)")
            }
            (Method::Post, "/stone") => match self.throw(&request.body).await {
                Ok(()) => Response::json(200, json!({"ok": true}).to_string()),
                Err(NotThrown::Nobody(why)) => Response::text(404, why),
                Err(NotThrown::Otherwise(why)) => Response::text(400, why),
            },
            (_, "/cluster" | "/stone") => Response::text(405, "wrong method"),
            _ => Response::text(404, "there are /cluster and, if allowed, /stone"),
        }
    }

    async fn throw(&self, body: &[u8]) -> Result<(), NotThrown> {
        let mut stone: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| format!("no stone: {error}"))?;
        let kind = stone.get("stone").and_then(Value::as_str).unwrap_or_default().to_owned();
        let on = match stone.remove("on") {
            Some(Value::String(name)) => name,
            None if kind == "heal" => return Ok(self.heal_all().await?),
            Some(_) | None => return Err("a stone needs \"on\": the node it is thrown at".to_owned().into()),
        };
        // Of a link both ends have to be there.
        let other = stone.get("node").and_then(Value::as_str);
        for name in [Some(on.as_str()), other].into_iter().flatten() {
            if !self.cluster.borrow().nodes.iter().any(|node| node.name == name) {
                return Err(NotThrown::Nobody(format!("no node of this cluster is called {name:?}")));
            }
        }
        match kind.as_str() {
            "kill" => self.order(Order::Kill, on).await?,
            "start" | "restart" => self.order(Order::Start, on).await?,
            "pause" => self.order(Order::Pause(true), on).await?,
            "resume" => self.order(Order::Pause(false), on).await?,
            _ => self.forward(&on, &Value::Object(stone)).await?,
        }
        Ok(())
    }

    async fn order(&self, order: Order, on: String) -> Result<(), String> {
        let (sender, answer) = oneshot::channel();
        let gone = || "the cluster is being stopped".to_owned();
        self.orders.send((order, on, sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Takes away whatever lies anywhere; what is down stays down.
    async fn heal_all(&self) -> Result<(), String> {
        let nodes = self.cluster.borrow().nodes.clone();
        for node in nodes.into_iter().filter(|node| node.pid.is_some()) {
            self.order(Order::Pause(false), node.name.clone()).await?;
            self.forward(&node.name, &json!({"stone": "heal"})).await?;
        }
        Ok(())
    }

    /// Gives a stone to the node itself.
    async fn forward(&self, on: &str, stone: &Value) -> Result<(), String> {
        let http = self.cluster.borrow().nodes.iter().find(|node| node.name == on).and_then(|node| node.http.clone());
        let Some(http) = http else { return Err(format!("{on} has no HTTP port")) };
        let (status, body) = match timeout(PATIENCE, post(&http, "/stone", &stone.to_string())).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(format!("{on} cannot be reached: {error}")),
            Err(_) => return Err(format!("{on} does not answer")),
        };
        if status == 200 { Ok(()) } else { Err(format!("{on}: {}", body.trim())) }
    }
}

/// One POST, and what came back.
async fn post(at: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at).await?;
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::describe::Node;

    fn cluster(stones: bool) -> Cluster {
        let node = |name: &str| Node {
            name: name.to_owned(),
            role: "broker".to_owned(),
            pid: Some(1),
            clients: "127.0.0.1:1".to_owned(),
            http: None,
        };
        Cluster {
            kafka: Vec::new(),
            zookeeper: Vec::new(),
            data: "/d".into(),
            nodes: vec![node("broker-1"), node("broker-2")],
            cluster: "c".to_owned(),
            pid: 1,
            control: String::new(),
            stones,
        }
    }

    fn post(body: &str) -> Request {
        Request { method: Method::Post, path: "/stone".to_owned(), body: body.as_bytes().to_vec() }
    }

    #[tokio::test]
    async fn orders_reach_the_supervisor() {
        let (orders, mut ordered) = mpsc::channel::<Ordered>(1);
        let control = Control { orders, cluster: watch::channel(cluster(true)).1 };
        let answer = tokio::spawn(control.answer(post(r#"{"stone":"kill","on":"broker-2"}"#)));
        let (order, on, done) = ordered.recv().await.unwrap();
        assert_eq!((order, on.as_str()), (Order::Kill, "broker-2"));
        done.send(Ok(())).unwrap();
        assert_eq!(answer.await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn what_is_not_allowed_or_not_understood_is_refused() {
        let (orders, _ordered) = mpsc::channel::<Ordered>(1);
        let closed = Control { orders: orders.clone(), cluster: watch::channel(cluster(false)).1 };
        assert_eq!(closed.answer(post(r#"{"stone":"kill","on":"broker-2"}"#)).await.status, 403);
        let control = Control { orders, cluster: watch::channel(cluster(true)).1 };
        for body in ["", "{}", r#"{"stone":"kill"}"#, r#"{"stone":"slow","on":"broker-1"}"#] {
            assert_eq!(control.clone().answer(post(body)).await.status, 400, "{body}");
        }
        for body in [r#"{"stone":"kill","on":"broker-9"}"#, r#"{"stone":"cut","on":"broker-1","node":"broker-9"}"#] {
            assert_eq!(control.clone().answer(post(body)).await.status, 404, "{body}");
        }
    }
}
