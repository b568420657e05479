//! What a client tells: what it sent, what it was told, what it read. Checkers compare these with what is there.

use crate::api::kafka::ErrorCode;
use crate::api::keeper;
use crate::id::{LeaderEpoch, SessionId, TopicPartition, Zxid};
use crate::record::offset::Offset;
use crate::znode::AclList;
use core::fmt;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientNote {
    // Kafka. `first` is the number in the first record's value; the batch's others follow.
    Produces {
        partition: TopicPartition,
        first: u64,
        records: u32,
    },
    Acknowledged {
        partition: TopicPartition,
        base: Offset,
        records: u32,
        first: u64,
        acks: i16,
    },
    /// Told to try again.
    Refused {
        partition: TopicPartition,
        first: u64,
        error: ErrorCode,
    },
    /// Told no, for good.
    GaveUp {
        partition: TopicPartition,
        first: u64,
        error: ErrorCode,
    },
    Read {
        partition: TopicPartition,
        base: Offset,
        records: u32,
        first: u64,
        high_watermark: Offset,
    },
    /// A consumer asked the leader of this epoch where the partition ends for readers.
    EndTold {
        partition: TopicPartition,
        end: Offset,
        epoch: LeaderEpoch,
    },
    /// The consumer's place is gone: it goes on elsewhere.
    Reset {
        partition: TopicPartition,
        from: Offset,
        to: Offset,
    },
    /// A command was carried out, or refused for good.
    Administered {
        command: String,
        error: ErrorCode,
    },

    // ZooKeeper.
    SessionOpened {
        session: SessionId,
    },
    SessionLost {
        session: SessionId,
    },
    /// A write was acknowledged. `data`: what the node at `path` holds by it; `None`: it is gone.
    Wrote {
        session: SessionId,
        path: Arc<str>,
        data: Option<u64>,
        version: i32,
        zxid: Zxid,
    },
    /// A write has an unknown outcome.
    WriteUnknown {
        session: SessionId,
        path: Arc<str>,
        data: Option<u64>,
    },
    /// A read. `version` is −1 where there is no such node; `seen` is the server's zxid. `watch`: the session will be told
    /// of the next change.
    Saw {
        session: SessionId,
        path: Arc<str>,
        data: Option<u64>,
        version: i32,
        modified: Zxid,
        seen: Zxid,
        watch: bool,
    },
    /// exists, or a creation that says what it made. `version` is −1 where there is no such node.
    Found {
        session: SessionId,
        path: Arc<str>,
        version: i32,
        modified: Zxid,
        seen: Zxid,
        watch: bool,
    },
    /// The children of a node. `modified`: its pzxid.
    Listed {
        session: SessionId,
        path: Arc<str>,
        names: Vec<Arc<str>>,
        modified: Zxid,
        seen: Zxid,
        watch: bool,
    },
    /// An access list: read, or just written. `version` is the node's aversion.
    SawAcl {
        session: SessionId,
        path: Arc<str>,
        acl: AclList,
        version: i32,
        seen: Zxid,
    },
    /// A sync was answered.
    Synced {
        session: SessionId,
        zxid: Zxid,
    },
    /// A multi was answered: an error code for each part, all of them 0 where it took effect.
    MultiAnswered {
        session: SessionId,
        codes: Vec<i32>,
        zxid: Zxid,
    },
    /// A watch set by this session fired. `zxid`: the newest state it had seen before.
    Watched {
        session: SessionId,
        path: Arc<str>,
        event: i32,
        zxid: Zxid,
    },
}

impl fmt::Display for ClientNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientNote::Produces { partition, records, .. } => write!(f, "sends {} to {partition}.", count(*records)),
            ClientNote::Acknowledged { partition, base, records: 1, acks, .. } => {
                write!(f, "hears that record {base} of {partition} is {}.", kept(*acks))
            }
            ClientNote::Acknowledged { partition, base, records, acks, .. } => {
                let last = *base + (i64::from(*records) - 1);
                write!(f, "hears that records {base} to {last} of {partition} are {}.", kept(*acks))
            }
            ClientNote::Refused { partition, error, .. } => {
                write!(f, "is told to try {partition} again: {}.", words(*error))
            }
            ClientNote::GaveUp { partition, error, .. } => write!(f, "is refused by {partition}: {}.", words(*error)),
            ClientNote::Read { partition, base, records: 1, .. } => write!(f, "reads record {base} of {partition}."),
            ClientNote::Read { partition, base, records, .. } => {
                write!(f, "reads records {base} to {} of {partition}.", *base + (i64::from(*records) - 1))
            }
            ClientNote::EndTold { partition, end, epoch } => {
                write!(f, "hears from the leader of epoch {epoch} that {partition} ends at {end}.")
            }
            ClientNote::Reset { partition, from, to } => {
                write!(f, "lost its place at {from} of {partition} and goes on at {to}.")
            }
            ClientNote::Administered { command, error: ErrorCode::NONE } => write!(f, "is done: {command}."),
            ClientNote::Administered { command, error } => write!(f, "is refused: {command}: {}.", words(*error)),
            ClientNote::SessionOpened { session } => write!(f, "opens session {session}."),
            ClientNote::SessionLost { session } => write!(f, "learns that its session {session} has expired."),
            ClientNote::Wrote { path, data: Some(_), .. } => write!(f, "hears that {path} is written."),
            ClientNote::Wrote { path, data: None, .. } => write!(f, "hears that {path} is deleted."),
            ClientNote::WriteUnknown { path, data, .. } => {
                let what = if data.is_some() { "written" } else { "deleted" };
                write!(f, "does not know whether {path} was {what}: the connection broke.")
            }
            ClientNote::Saw { path, version: -1, .. } => write!(f, "sees no {path}."),
            ClientNote::Saw { path, version, .. } => write!(f, "sees version {version} of {path}."),
            ClientNote::Found { path, version: -1, .. } => write!(f, "finds no {path}."),
            ClientNote::Found { path, version, .. } => write!(f, "finds version {version} of {path}."),
            ClientNote::Listed { path, names, .. } if names.len() == 1 => write!(f, "sees 1 child of {path}."),
            ClientNote::Listed { path, names, .. } => write!(f, "sees {} children of {path}.", names.len()),
            ClientNote::SawAcl { path, version, .. } => write!(f, "sees version {version} of the ACL of {path}."),
            ClientNote::Synced { zxid, .. } => write!(f, "hears that its keeper has caught up, at {zxid}."),
            ClientNote::MultiAnswered { codes, zxid, .. } => match codes.iter().position(|code| *code != 0) {
                None => write!(f, "hears that its multi of {} is done, at {zxid}.", codes.len()),
                Some(at) => {
                    let why = keeper::ErrorCode::from_code(codes[at]).unwrap_or(keeper::ErrorCode::SystemError);
                    write!(f, "hears that its multi of {} is refused for part {}: {why}.", codes.len(), at + 1)
                }
            },
            ClientNote::Watched { path, event: 1, .. } => write!(f, "is told that {path} was created."),
            ClientNote::Watched { path, event: 2, .. } => write!(f, "is told that {path} was deleted."),
            ClientNote::Watched { path, event: 4, .. } => write!(f, "is told that the children of {path} changed."),
            ClientNote::Watched { path, .. } => write!(f, "is told that {path} changed."),
        }
    }
}

fn count(records: u32) -> String {
    if records == 1 { "a record".to_owned() } else { format!("{records} records") }
}

fn kept(acks: i16) -> &'static str {
    if acks == 1 { "written by the leader" } else { "safe" }
}

/// `NOT_ENOUGH_REPLICAS` as words: "not enough replicas".
fn words(error: ErrorCode) -> String {
    error.to_string().to_ascii_lowercase().replace('_', " ")
}
