//! What a node answers over HTTP: metrics, health, readiness, and, if its operator allowed it, stones.
//!
//! The node's loop itself is asked, so an answer proves that it turns; a node that is paused does not answer. Stones
//! are thrown without it, so that a paused node can be resumed.

use super::http::{Method, Request, Response};
use crate::inbox::{Inbox, Incoming};
use crate::stones::{ReplyStone, Stones};
use glasshouse_core::id::NodeId;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the loop may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(2);

/// A question to the node's loop, and where the answer goes.
#[derive(Debug)]
pub enum Question {
    /// The metrics, in Prometheus' text format.
    Metrics(oneshot::Sender<String>),
    /// Is it there, and does it turn?
    Alive(oneshot::Sender<()>),
    /// Does it serve, and if not, why not?
    Ready(oneshot::Sender<Result<(), String>>),
}

/// What answers.
#[derive(Clone, Debug)]
pub struct Routes {
    pub me: NodeId,
    pub inbox: Inbox,
    pub stones: Stones,
    /// Stones may be thrown.
    pub allow_stones: bool,
}

impl Routes {
    pub async fn answer(self, request: Request) -> Response {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/metrics") => match self.ask(Question::Metrics).await {
                Some(body) => Response { status: 200, kind: "text/plain; version=0.0.4; charset=utf-8", body },
                None => stuck(),
            },
            (Method::Get, "/healthz") => match self.ask(Question::Alive).await {
                Some(()) => Response::text(200, "alive"),
                None => stuck(),
            },
            (Method::Get, "/readyz") => match self.ask(Question::Ready).await {
                Some(Ok(())) => Response::text(200, "ready"),
                Some(Err(why)) => Response::text(503, why),
                None => stuck(),
            },
            (Method::Post, "/stone") if !self.allow_stones => {
                Response::text(403, "this node was not started for stones (stones = true, or up --stones)")
            }
            (Method::Post, "/stone") => self.throw(&request.body).await,
            (_, "/metrics" | "/healthz" | "/readyz" | "/stone") => Response::text(405, "wrong method"),
            _ => Response::text(404, "there are /metrics, /healthz, /readyz and, if allowed, /stone"),
        }
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let asked = async {
            self.inbox.put_incoming(Incoming::Asked(question(sender))).await.then_some(())?;
            answer.await.ok()
        };
        timeout(PATIENCE, asked).await.ok().flatten()
    }

    async fn throw(&self, body: &[u8]) -> Response {
        let no_stone = |why: serde_json::Error| Response::text(400, format!("no stone: {why}"));
        let mut stone: Map<String, Value> = match serde_json::from_slice(body) {
            Ok(stone) => stone,
            Err(why) => return no_stone(why),
        };
        // As the control of a whole cluster takes it; here there is one node only.
        if let Some(on) = stone.remove("on")
            && on.as_str() != Some(self.me.to_string().as_str())
        {
            return Response::text(404, format!("this is the port of {}: each node has its own", self.me));
        }
        let stone = match Stone::deserialize(Value::Object(stone)) {
            Ok(stone) => stone,
            Err(why) => return no_stone(why),
        };
        match self.change(stone).await {
            Ok(()) => Response::json(200, "{\"ok\":true}"),
            Err(why) => Response::text(400, why),
        }
    }

    async fn change(&self, stone: Stone) -> Result<(), String> {
        match stone {
            Stone::Pause => self.stones.change(|lying| lying.paused = true),
            Stone::Resume => self.stones.change(|lying| lying.paused = false),
            Stone::Cut { node } => {
                let node = self.other(&node)?;
                self.stones.change(|lying| {
                    lying.cut.insert(node);
                });
            }
            Stone::Slow { node, ms } => {
                let node = self.other(&node)?;
                self.stones.change(|lying| {
                    lying.slow.insert(node, Duration::from_millis(ms));
                });
            }
            Stone::Heal { node: None } => self.stones.change(|lying| *lying = Default::default()),
            Stone::Heal { node: Some(node) } => {
                let node = self.other(&node)?;
                self.stones.change(|lying| {
                    lying.cut.remove(&node);
                    lying.slow.remove(&node);
                });
            }
            Stone::Reply { .. } if !matches!(self.me, NodeId::Broker(_)) => {
                return Err(format!("{} is no broker, and only brokers answer Produce: name a broker", self.me));
            }
            Stone::Reply { how, ms, code } => {
                let stone = match how {
                    How::Lost => ReplyStone::Lost,
                    How::Delayed => ReplyStone::Delayed(Duration::from_millis(ms)),
                    How::Failed => ReplyStone::Failed(code),
                };
                self.stones.change(|lying| lying.reply = Some(stone));
            }
            Stone::Kill => {
                // A paused node takes nothing out of its inbox, not even this.
                self.stones.change(|lying| lying.paused = false);
                self.inbox.put_incoming(Incoming::Kill).await;
            }
        }
        Ok(())
    }

    /// The other end of a link.
    fn other(&self, node: &str) -> Result<NodeId, String> {
        match NodeId::parse(node) {
            Some(node) if node == self.me => Err(format!("a link is between two nodes, not between {node} and itself")),
            Some(node) => Ok(node),
            None => Err(format!("{node:?} is no node's name: write keeper-1 or broker-2")),
        }
    }
}

fn stuck() -> Response {
    Response::text(503, "the node's loop does not answer: it is paused, busy or gone")
}

/// What `POST /stone` takes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "stone", rename_all = "lowercase", deny_unknown_fields)]
enum Stone {
    Pause,
    Resume,
    /// Silence between this node and another, both ways.
    Cut {
        node: String,
    },
    /// What goes to another node is late by so many milliseconds.
    Slow {
        node: String,
        ms: u64,
    },
    /// Takes away what was thrown: all of it, or what lies between this node and another.
    Heal {
        #[serde(default)]
        node: Option<String>,
    },
    /// For the next Produce answer: `lost`, `delayed` with `ms`, `failed` with `code`.
    Reply {
        how: How,
        #[serde(default)]
        ms: u64,
        #[serde(default)]
        code: i16,
    },
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    Lost,
    Delayed,
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(body: &str) -> Request {
        Request { method: Method::Post, path: "/stone".to_owned(), body: body.as_bytes().to_vec() }
    }

    fn get(path: &str) -> Request {
        Request { method: Method::Get, path: path.to_owned(), body: Vec::new() }
    }

    #[tokio::test]
    async fn stones_are_thrown_and_healed() {
        let (inbox, mut receiver) = Inbox::new();
        let stones = Stones::default();
        let routes = Routes { me: NodeId::Broker(1), inbox, stones: stones.clone(), allow_stones: true };
        let broker = NodeId::Broker(2);
        for body in [
            r#"{"stone":"pause"}"#,
            r#"{"stone":"cut","node":"keeper-3"}"#,
            r#"{"stone":"slow","node":"broker-2","ms":40}"#,
            r#"{"stone":"reply","how":"failed","code":6,"on":"broker-1"}"#,
        ] {
            assert_eq!(routes.clone().answer(post(body)).await.status, 200, "{body}");
        }
        let lying = stones.lying();
        assert!(lying.paused && lying.cut.contains(&NodeId::keeper(3)));
        assert_eq!(lying.slow.get(&broker), Some(&Duration::from_millis(40)));
        assert_eq!(lying.reply, Some(ReplyStone::Failed(6)));
        routes.clone().answer(post(r#"{"stone":"heal","node":"broker-2"}"#)).await;
        assert_eq!((stones.lying().slow.len(), stones.lying().cut.len()), (0, 1));
        routes.clone().answer(post(r#"{"stone":"heal"}"#)).await;
        assert_eq!(stones.lying(), crate::stones::Lying::default());
        let at_another = routes.clone().answer(post(r#"{"stone":"kill","on":"broker-2"}"#)).await;
        assert_eq!(at_another.status, 404, "nobody else is hit");
        assert!(timeout(Duration::from_millis(50), receiver.recv()).await.is_err());
        routes.clone().answer(post(r#"{"stone":"kill","on":"broker-1"}"#)).await;
        assert!(matches!(receiver.recv().await, Some(Incoming::Kill)));
    }

    #[tokio::test]
    async fn what_is_no_stone_or_not_allowed_is_refused() {
        let (inbox, _receiver) = Inbox::new();
        let stones = Stones::default();
        let routes = Routes { me: NodeId::keeper(1), inbox, stones: stones.clone(), allow_stones: true };
        for body in [
            "",
            "{}",
            r#"{"stone":"cut"}"#,
            r#"{"stone":"cut","node":"moon-1"}"#,
            r#"{"stone":"fire"}"#,
            r#"{"stone":"reply","how":"odd"}"#,
            // What could do nothing.
            r#"{"stone":"cut","node":"keeper-1"}"#,
            r#"{"stone":"slow","node":"keeper-1","ms":5}"#,
            r#"{"stone":"reply","how":"lost"}"#,
        ] {
            assert_eq!(routes.clone().answer(post(body)).await.status, 400, "{body}");
        }
        let barred = Routes { allow_stones: false, ..routes };
        assert_eq!(barred.answer(post(r#"{"stone":"pause"}"#)).await.status, 403);
        assert_eq!(stones.lying(), crate::stones::Lying::default());
    }

    #[tokio::test]
    async fn probes_ask_the_loop() {
        let (inbox, mut receiver) = Inbox::new();
        let routes = Routes { me: NodeId::keeper(1), inbox, stones: Stones::default(), allow_stones: false };
        let asking = tokio::spawn(routes.clone().answer(get("/readyz")));
        let Some(Incoming::Asked(Question::Ready(answer))) = receiver.recv().await else { panic!("not asked") };
        answer.send(Err("it looks for a leader".to_owned())).unwrap();
        assert_eq!(asking.await.unwrap(), Response::text(503, "it looks for a leader"));
        drop(receiver);
        assert_eq!(routes.clone().answer(get("/healthz")).await, stuck());
        assert_eq!(routes.answer(get("/else")).await.status, 404);
    }
}
