//! Clients as machines: the producers, consumers and administrators that a world runs, by the same protocols as anyone's.
//!
//! They reach nodes only through `Dial` and `Ask`; they know nothing of the simulator.

pub mod admin;
pub mod consumer;
pub mod keeper;
pub mod links;
pub mod producer;

use crate::api::command::Command;
use crate::id::DialId;
use crate::machine::{Effects, Machine};
use crate::node::{Effect, Input, Reply};
use crate::time::{Now, Wake};
use bytes::Bytes;

/// One client of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    Producer(producer::Producer),
    Consumer(consumer::Consumer),
    Admin(admin::Admin),
    Keeper(Box<keeper::KeeperClient>),
}

impl Machine for Client {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input, fx: &mut Effects<Effect>) {
        match input {
            Input::Wake => self.on_wake(now, fx),
            Input::Opened { dial } => self.on_opened(now, dial, fx),
            Input::Hung { dial } => self.on_hung(now, dial, fx),
            Input::Answer { dial, reply } => self.on_answer(now, dial, reply, fx),
            Input::Command(command) => self.on_command(now, command, fx),
            Input::Shutdown => fx.emit(Effect::Stopped),
            Input::Up { .. }
            | Input::Down { .. }
            | Input::Peer { .. }
            | Input::Request { .. }
            | Input::Closed { .. }
            | Input::Synced { .. }
            | Input::Loaded { .. } => {}
        }
    }

    fn wake_at(&self) -> Option<Wake> {
        let at = match self {
            Client::Producer(producer) => producer.wake_at(),
            Client::Consumer(consumer) => consumer.wake_at(),
            Client::Admin(admin) => admin.wake_at(),
            Client::Keeper(client) => return client.wake_at(),
        };
        at.map(|at| Wake { at, why: "the next request, or a request's time-out" })
    }
}

impl Client {
    fn on_wake(&mut self, now: Now, fx: &mut Effects<Effect>) {
        match self {
            Client::Producer(producer) => producer.on_wake(now, fx),
            Client::Consumer(consumer) => consumer.on_wake(now, fx),
            Client::Admin(admin) => admin.on_wake(now, fx),
            Client::Keeper(client) => client.on_wake(now, fx),
        }
    }

    fn on_opened(&mut self, now: Now, dial: DialId, fx: &mut Effects<Effect>) {
        match self {
            Client::Producer(producer) => producer.links().on_opened(dial, fx),
            Client::Consumer(consumer) => consumer.links().on_opened(dial, fx),
            Client::Admin(admin) => admin.links().on_opened(dial, fx),
            Client::Keeper(client) => client.on_opened(now, dial, fx),
        }
    }

    fn on_hung(&mut self, now: Now, dial: DialId, fx: &mut Effects<Effect>) {
        match self {
            Client::Producer(producer) => {
                for arrived in producer.links().on_hung(now.at, dial) {
                    producer.on_arrived(now, arrived, fx);
                }
            }
            Client::Consumer(consumer) => {
                for arrived in consumer.links().on_hung(now.at, dial) {
                    consumer.on_arrived(now, arrived, fx);
                }
            }
            Client::Admin(admin) => {
                for arrived in admin.links().on_hung(now.at, dial) {
                    admin.on_arrived(now, arrived, fx);
                }
            }
            Client::Keeper(client) => client.on_hung(now, dial, fx),
        }
    }

    fn on_answer(&mut self, now: Now, dial: DialId, reply: Reply<Bytes>, fx: &mut Effects<Effect>) {
        match self {
            Client::Producer(producer) => {
                if let Some(arrived) = producer.links().on_answer(now.at, reply) {
                    producer.on_arrived(now, arrived, fx);
                }
            }
            Client::Consumer(consumer) => {
                if let Some(arrived) = consumer.links().on_answer(now.at, reply) {
                    consumer.on_arrived(now, arrived, fx);
                }
            }
            Client::Admin(admin) => {
                if let Some(arrived) = admin.links().on_answer(now.at, reply) {
                    admin.on_arrived(now, arrived, fx);
                }
            }
            Client::Keeper(client) => client.on_answer(now, dial, reply, fx),
        }
    }

    fn on_command(&mut self, now: Now, command: Command, fx: &mut Effects<Effect>) {
        match (self, command) {
            (Client::Producer(producer), Command::Produce { partition, records }) => {
                producer.enqueue(now.at, &partition, records, fx);
                producer.on_wake(now, fx);
            }
            (Client::Producer(producer), Command::Still) => producer.set_busy(now, false),
            (Client::Producer(producer), Command::Busy) => producer.set_busy(now, true),
            (Client::Keeper(client), Command::Watch(path)) => client.exists(now, path, fx),
            (Client::Keeper(client), Command::List(path)) => client.children(now, path, fx),
            (Client::Keeper(client), Command::Multi(changes)) => client.multi(now, &changes, fx),
            (Client::Keeper(client), Command::Still) => client.set_busy(now, false),
            (Client::Keeper(client), Command::Busy) => client.set_busy(now, true),
            (Client::Admin(admin), command) => {
                admin.enqueue(now.at, command);
                admin.on_wake(now, fx);
            }
            (Client::Producer(_) | Client::Consumer(_) | Client::Keeper(_), _) => {}
        }
    }
}
