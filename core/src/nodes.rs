//! A node of any kind, as a host runs it.

use crate::broker::Broker;
use crate::client::Client;
use crate::keeper::Keeper;
use crate::machine::{Effects, Machine};
use crate::node::{Effect, Input};
use crate::time::{Now, Wake};

/// One node's machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Keeper(Box<Keeper>),
    Broker(Box<Broker>),
    Client(Box<Client>),
}

impl Machine for Node {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input, fx: &mut Effects<Effect>) {
        match self {
            Node::Keeper(keeper) => keeper.step(now, input, fx),
            Node::Broker(broker) => broker.step(now, input, fx),
            Node::Client(client) => client.step(now, input, fx),
        }
    }

    fn wake_at(&self) -> Option<Wake> {
        match self {
            Node::Keeper(keeper) => keeper.wake_at(),
            Node::Broker(broker) => broker.wake_at(),
            Node::Client(client) => client.wake_at(),
        }
    }
}

impl Node {
    pub fn as_keeper(&self) -> Option<&Keeper> {
        match self {
            Node::Keeper(keeper) => Some(keeper),
            Node::Broker(_) | Node::Client(_) => None,
        }
    }

    pub fn as_broker(&self) -> Option<&Broker> {
        match self {
            Node::Broker(broker) => Some(broker),
            Node::Keeper(_) | Node::Client(_) => None,
        }
    }

    pub fn as_client(&self) -> Option<&Client> {
        match self {
            Node::Client(client) => Some(client),
            Node::Keeper(_) | Node::Broker(_) => None,
        }
    }
}
