//! Notes: facts worth telling. Each is emitted only inside the transition that makes it true, and never influences
//! behaviour. Their `Display` is the project's single voice: transcripts, story, traces and native logs say the same.

pub mod broker;
pub mod client;
pub mod controller;
pub mod keeper;
pub mod zab;

use core::fmt;

/// A fact, by the room that tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    Zab(zab::ZabNote),
    Keeper(keeper::KeeperNote),
    Broker(broker::BrokerNote),
    Controller(controller::ControllerNote),
    Client(client::ClientNote),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Zab(note) => note.fmt(f),
            Note::Keeper(note) => note.fmt(f),
            Note::Broker(note) => note.fmt(f),
            Note::Controller(note) => note.fmt(f),
            Note::Client(note) => note.fmt(f),
        }
    }
}

macro_rules! into_note {
    ($($variant:ident($inner:ty)),+) => {
        $(impl From<$inner> for Note {
            fn from(note: $inner) -> Note {
                Note::$variant(note)
            }
        })+
    };
}

into_note!(
    Zab(zab::ZabNote),
    Keeper(keeper::KeeperNote),
    Broker(broker::BrokerNote),
    Controller(controller::ControllerNote),
    Client(client::ClientNote)
);
