//! Between the session client and the node it lives in: its dials and requests become the node's, replies become what
//! it hears.

use super::Broker;
use super::registration::Question;
use crate::api::keeper;
use crate::id::DialId;
use crate::keeper::client::{self, SessionClient, speech};
use crate::machine::Effects;
use crate::node::{Effect, Principal, Request, RequestBody};
use crate::time::Now;

impl Broker {
    /// Lets the session client do something, and passes on what it asks for.
    pub(super) fn with_keeper<T>(
        &mut self,
        fx: &mut Effects<Effect>,
        run: impl FnOnce(&mut SessionClient<Question>, &mut Effects<client::Effect>) -> T,
    ) -> T {
        fx.scope(|fx| run(&mut self.keeper, fx), translate)
    }

    pub(super) fn on_keeper_reply(&mut self, now: Now, dial: DialId, reply: keeper::Reply, fx: &mut Effects<Effect>) {
        let Some(heard) = speech::heard(reply) else { return };
        let events = self.with_keeper(fx, |keeper, fx| keeper.on_heard(now, dial, heard, fx));
        self.on_keeper_events(now, events, fx);
        self.run_shutdown(now, fx);
    }
}

fn translate(effect: client::Effect) -> Effect {
    match effect {
        client::Effect::Dial { dial, to } => Effect::Dial { dial, to },
        client::Effect::Ask { dial, say } => {
            let body = RequestBody::Keeper(speech::request(say));
            Effect::Ask { dial, request: Request { listener: 0, principal: Principal::Anonymous, body } }
        }
        client::Effect::HangupDial { dial } => Effect::HangupDial { dial },
    }
}
