//! A scenario: format version, seed, settings and timed actions, as a readable text and as a value.
//!
//! Everything a person does in the page becomes such an action, a failing seed shrinks to such a text, and the text is
//! the regression test. Knows nothing of how a world carries it out.

mod action;
mod sense;
mod settings;
mod text;

pub use action::{Action, Change, Command, TopicSpec};
pub use settings::{ClientSpec, FlushMode, Settings};
pub use text::{Mistake, span_text};

use crate::id::NodeId;
use crate::rules::Rules;
use crate::time::{Instant, Span};

/// The version of the text format that this code writes; it reads no other.
pub const FORMAT: u32 = 1;

/// One run, completely: equal scenarios give equal traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scenario {
    pub seed: u64,
    pub rules: Rules,
    pub settings: Settings,
    pub topics: Vec<TopicSpec>,
    pub clients: Vec<ClientSpec>,
    /// How long it runs.
    pub length: Span,
    /// In order of time; at equal times in the order written.
    pub actions: Vec<Timed>,
    /// The invariant that this scenario is known to violate (with its rules), or `None`: it must end well.
    pub expect: Option<String>,
}

/// An action and when it is taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timed {
    pub at: Instant,
    pub action: Action,
}

impl Scenario {
    /// Reads a scenario's text.
    ///
    /// # Errors
    /// The first mistake: its line and what was expected there.
    pub fn parse(text: &str) -> Result<Scenario, Mistake> {
        text::parse(text)
    }

    /// Adds an action, keeping the order of time.
    pub fn act(&mut self, at: Instant, action: Action) {
        let place = self.actions.partition_point(|timed| timed.at <= at);
        self.actions.insert(place, Timed { at, action });
    }

    /// The first page: 3 keepers, 3 brokers, one topic of 2 partitions × 3 replicas, a producer and a consumer.
    pub fn first_page(seed: u64) -> Scenario {
        Scenario {
            seed,
            settings: Settings::lively(),
            topics: vec![TopicSpec { name: "orders".into(), partitions: 2, replicas: 3, min_isr: 2, unclean: false }],
            clients: vec![
                ClientSpec::Producer { topic: "orders".into(), acks: -1, idempotent: true, per_second: 4 },
                ClientSpec::Consumer { topic: "orders".into() },
            ],
            length: Span::secs(24 * 3600),
            ..Scenario::default()
        }
    }

    /// What the simulator is measured with: 3 keepers and 3 brokers, 20 batches and 5 znode writes a second, and a node
    /// killed and restarted every minute.
    pub fn bench(length: Span) -> Scenario {
        let mut scenario = Scenario::first_page(1);
        scenario.settings =
            Settings { broker_session: Span::secs(6), replica_lag: Span::secs(10), ..Settings::default() };
        scenario.clients[0] =
            ClientSpec::Producer { topic: "orders".into(), acks: -1, idempotent: true, per_second: 20 };
        scenario.clients.push(ClientSpec::Keeper { per_second: 5 });
        scenario.length = length;
        let nodes = [NodeId::Broker(1), NodeId::keeper(3), NodeId::Broker(2), NodeId::keeper(1), NodeId::Broker(3)];
        let minutes = (length.as_millis() + 39_999) / 60_000;
        for (minute, node) in (0..minutes).zip(nodes.into_iter().cycle()) {
            let at = Instant::ZERO + Span::secs(20 + 60 * minute);
            scenario.act(at, Action::Kill(node));
            scenario.act(at + Span::secs(12), Action::Restart(node));
        }
        scenario
    }
}
