//! Kafka's controller: won by creating `/controller`, it turns what changes in ZooKeeper into leaders, ISRs and
//! requests to brokers (protocol.md C.2 to C.4).
//!
//! Every broker has one; at most one of them is active. It speaks to ZooKeeper through its parent's session and to
//! brokers through its parent's channels, the broker it lives in included; it never sees a connection.
//!
//! # How the parent calls it
//!
//! | parent hears | parent calls |
//! |---|---|
//! | session established and `/brokers/ids/N` written | [`Controller::on_session`] |
//! | the same session connected again | [`Controller::on_connected`] |
//! | session expired | [`Controller::on_expired`], before it starts a new session |
//! | reply to an [`Effect::Zk`] | [`Controller::on_answer`] |
//! | any watch event | [`Controller::on_watch`]: ignores what is not its own |
//! | a request that only a controller answers, see [`Controller::wants`] | [`Controller::on_request`] |
//! | the answer to an [`Effect::Send`] | [`Controller::on_response`] |
//! | a channel to a broker comes up or breaks | [`Controller::on_channel`] |

//!
//! ```text
//! Controller::new(id: BrokerId, settings: Settings, rng: Rng) -> Controller
//! on_session(now, session: SessionId, fx)         on_connected(now, fx)        on_expired(now, fx)
//! on_answer(now, token: ZkToken, answer: Answer, fx)
//! on_watch(now, kind: WatchKind, path: &str, fx)
//! wants(request: &kafka::Request) -> bool
//! on_request(now, from: Asker, version: i16, request: kafka::Request, fx)
//! on_response(now, from: BrokerId, correlation: i32, response: kafka::Response<Bytes>, fx)
//! on_channel(now, broker: BrokerId, up: bool, fx)
//! on_wake(now, fx)         wake_at() -> Option<Wake>
//! is_active() -> Option<ControllerEpoch>           controller() -> Option<BrokerId>   (who holds /controller, as last read)
//! create_topic(now, topic: &str, partitions: i32, replication: i32, configs, from: Asker, fx)   (auto-creation, on any broker)
//! set_settings(settings: Settings)
//! fx: &mut Effects<controller::Effect>
//! ```

pub mod elect;
pub mod place;

use crate::api::kafka;
use crate::id::BrokerId;
use crate::keeper::client::op::Op;

/// Numbers a question to ZooKeeper; answered with the same number.
pub type ZkToken = u64;

/// Who asked, in the parent's own numbering; the answer goes back to it.
pub type Asker = u64;

/// What the controller asks of the broker it lives in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Zk {
        token: ZkToken,
        op: Op,
    },
    /// To a broker's control queue: in order, one at a time. To the own broker it is a later input, never recursion.
    Send {
        to: BrokerId,
        correlation: i32,
        request: kafka::Request,
    },
    Reply {
        to: Asker,
        response: kafka::Response<crate::record::offset::LogRange>,
    },
}
