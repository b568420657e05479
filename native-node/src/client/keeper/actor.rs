//! The task of a session: steps the core's session client with what comes from its users, its connection and the clock.

use super::link::{Link, LinkEvent};
use super::{Answered, Event, Settings};
use crate::clock::Clock;
use glasshouse_core::api::keeper::Reply;
use glasshouse_core::id::{DialId, Zxid};
use glasshouse_core::keeper::client::op::{Event as Told, KeeperError, Op};
use glasshouse_core::keeper::client::{ClientConfig, Effect, SessionClient, speech};
use glasshouse_core::machine::Effects;
use glasshouse_core::node::Address;
use glasshouse_core::rng::Rng;
use glasshouse_core::time::Span;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::sleep_until;

/// What users of a session send its task.
#[derive(Debug)]
pub(super) enum Asked {
    Op { op: Op, answer: oneshot::Sender<Answered> },
    Close { closed: oneshot::Sender<()> },
}

/// Told once: the session is there, or why it never will be.
pub(super) type Ready = oneshot::Sender<Result<(), String>>;

struct Actor {
    client: SessionClient<u64>,
    clock: Clock,
    fx: Effects<Effect>,
    /// The connection that is dialled or open.
    link: Option<Link>,
    incoming: mpsc::UnboundedSender<(DialId, LinkEvent)>,
    waiting: BTreeMap<u64, oneshot::Sender<Answered>>,
    last_token: u64,
    events: broadcast::Sender<Event>,
    ready: Option<Ready>,
    settings: Settings,
    /// Addresses that refused while no session was there yet.
    refused: BTreeSet<String>,
    addresses: usize,
    closed: Option<oneshot::Sender<()>>,
}

/// Runs until the session is closed, or nobody holds it any more.
pub(super) async fn run(
    addresses: Vec<Address>,
    settings: Settings,
    mut asked: mpsc::UnboundedReceiver<Asked>,
    events: broadcast::Sender<Event>,
    ready: Ready,
) {
    let mut config = ClientConfig::new(addresses, Span(settings.session_timeout.as_nanos() as u64));
    config.in_flight = settings.in_flight.max(1);
    let (incoming, mut arrived) = mpsc::unbounded_channel();
    let entropy = Rng::new(getrandom::u64().unwrap_or_default());
    let mut actor = Actor {
        addresses: config.addresses.len(),
        client: SessionClient::new(config, entropy),
        clock: Clock::new(),
        fx: Effects::default(),
        link: None,
        incoming,
        waiting: BTreeMap::new(),
        last_token: 0,
        events,
        ready: Some(ready),
        settings,
        refused: BTreeSet::new(),
        closed: None,
    };
    actor.client.start(actor.clock.now(), &mut actor.fx);
    actor.perform();
    loop {
        let wake_at = actor.client.wake_at().map(|wake| actor.clock.moment(wake.at));
        tokio::select! {
            biased;
            Some((dial, event)) = arrived.recv() => actor.on_link(dial, event),
            question = asked.recv() => match question {
                None => return,
                Some(question) => {
                    actor.on_asked(question);
                    while let Ok(question) = asked.try_recv() {
                        actor.on_asked(question);
                    }
                }
            },
            () = sleep_until(wake_at.unwrap_or_else(tokio::time::Instant::now)), if wake_at.is_some() => {
                let told = actor.client.on_wake(actor.clock.now(), &mut actor.fx);
                actor.tell(told);
            }
        }
        actor.perform();
        if actor.closed.is_some() && actor.client.is_closed() {
            if let Some(closed) = actor.closed.take() {
                let _gone = closed.send(());
            }
            return;
        }
    }
}

impl Actor {
    fn on_asked(&mut self, asked: Asked) {
        match asked {
            Asked::Op { answer, .. } if self.client.is_closed() => {
                let _gone = answer.send(Answered { zxid: Zxid::ZERO, answer: Err(KeeperError::SESSIONEXPIRED) });
            }
            Asked::Op { op, answer } => {
                self.last_token += 1;
                self.waiting.insert(self.last_token, answer);
                self.client.ask(self.clock.now(), op, self.last_token, &mut self.fx);
            }
            Asked::Close { closed } => {
                self.client.close(self.clock.now(), &mut self.fx);
                self.closed = Some(closed);
            }
        }
    }

    fn on_link(&mut self, dial: DialId, event: LinkEvent) {
        let now = self.clock.now();
        if !self.client.owns(dial) {
            return;
        }
        match event {
            LinkEvent::Opened => self.client.on_opened(now, dial, &mut self.fx),
            LinkEvent::Hung { why, address, refused } => {
                self.link = None;
                let told = self.client.on_hung(now, dial, &mut self.fx);
                self.tell(told);
                if refused && self.ready.is_some() {
                    self.on_refused(address, why);
                }
            }
            LinkEvent::Frame(frame) => {
                let Some(link) = self.link.as_mut().filter(|link| link.dial == dial) else { return };
                match link.codec.decode(frame) {
                    Ok(reply) => self.on_reply(dial, reply),
                    Err(_) => {
                        self.link = None;
                        let told = self.client.on_hung(now, dial, &mut self.fx);
                        self.tell(told);
                    }
                }
            }
        }
    }

    /// Before there is a session: once nothing listens anywhere, there is no point in waiting.
    fn on_refused(&mut self, address: String, why: String) {
        self.refused.insert(address);
        if self.refused.len() >= self.addresses
            && let Some(ready) = self.ready.take()
        {
            let _gone = ready.send(Err(why));
        }
    }

    fn on_reply(&mut self, dial: DialId, reply: Reply) {
        let Some(heard) = speech::heard(reply) else { return };
        let told = self.client.on_heard(self.clock.now(), dial, heard, &mut self.fx);
        self.tell(told);
    }

    fn tell(&mut self, told: Vec<Told<u64>>) {
        for told in told {
            let event = match told {
                Told::Reply { token, answer } => {
                    if let Some(waiting) = self.waiting.remove(&token) {
                        let _gone = waiting.send(Answered { zxid: self.client.last_zxid(), answer });
                    }
                    continue;
                }
                Told::Connected { session, new } => {
                    if let Some(ready) = self.ready.take() {
                        let _gone = ready.send(Ok(()));
                    }
                    Event::Connected { session, new }
                }
                Told::Disconnected => Event::Disconnected,
                Told::Expired { session } => Event::Expired { session },
                Told::Watch { kind, path } => Event::Watch { kind, path },
            };
            let _nobody_listens = self.events.send(event);
        }
    }

    /// Does what the session client wants done.
    fn perform(&mut self) {
        for effect in std::mem::take(&mut self.fx).effects {
            match effect {
                Effect::Dial { dial, to } => {
                    self.link = Some(Link::dial(dial, to, self.settings.connect_timeout, self.incoming.clone()));
                }
                Effect::Ask { dial, say } => {
                    if let Some(link) = self.link.as_mut().filter(|link| link.dial == dial) {
                        link.say(&speech::request(say));
                    }
                }
                Effect::HangupDial { dial } => {
                    if self.link.as_ref().is_some_and(|link| link.dial == dial) {
                        self.link = None;
                    }
                }
            }
        }
    }
}
