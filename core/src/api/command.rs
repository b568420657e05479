//! What a client in the world can be asked to do, and how that is written.

use crate::id::TopicPartition;
use core::fmt;
use std::sync::Arc;

/// A topic to create when the cluster is up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicSpec {
    pub name: Arc<str>,
    pub partitions: u32,
    pub replicas: u32,
    pub min_isr: u32,
    /// `unclean.leader.election.enable`.
    pub unclean: bool,
}

/// One part of a multi.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Create(Arc<str>),
    Set(Arc<str>),
    Delete(Arc<str>),
    /// The version it must have.
    Check(Arc<str>, i32),
}

/// What a client in the world can be asked to do, beside what it does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    CreateTopic(TopicSpec),
    DeleteTopic(Arc<str>),
    Reassign {
        partition: TopicPartition,
        replicas: Vec<i32>,
    },
    ElectPreferred(TopicPartition),
    ElectUnclean(TopicPartition),
    SetTopicConfig {
        topic: Arc<str>,
        key: String,
        value: String,
    },
    /// A producer sends one batch of so many records.
    Produce {
        partition: TopicPartition,
        records: u32,
    },
    /// A ZooKeeper client waits for the next change of a znode, or for its creation.
    Watch(Arc<str>),
    /// It reads the names of a znode's children, and waits for the next change of these.
    List(Arc<str>),
    /// It asks for these changes, all or none.
    Multi(Vec<Change>),
    /// A producer or ZooKeeper client stops, or goes on, doing things by itself.
    Still,
    Busy,
}

impl fmt::Display for TopicSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicSpec { name, partitions, replicas, min_isr, unclean } = self;
        write!(f, "{name} partitions {partitions} replicas {replicas} min-isr {min_isr}")?;
        if *unclean { f.write_str(" unclean") } else { Ok(()) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Create(path) => write!(f, "create {path}"),
            Change::Set(path) => write!(f, "set {path}"),
            Change::Delete(path) => write!(f, "delete {path}"),
            Change::Check(path, version) => write!(f, "check {path} {version}"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::CreateTopic(topic) => write!(f, "create-topic {topic}"),
            Command::DeleteTopic(topic) => write!(f, "delete-topic {topic}"),
            Command::Reassign { partition, replicas } => {
                let list: Vec<String> = replicas.iter().map(i32::to_string).collect();
                write!(f, "reassign {partition} {}", list.join(","))
            }
            Command::ElectPreferred(partition) => write!(f, "elect-preferred {partition}"),
            Command::ElectUnclean(partition) => write!(f, "elect-unclean {partition}"),
            Command::SetTopicConfig { topic, key, value } => write!(f, "configure {topic} {key}={value}"),
            Command::Produce { partition, records } => write!(f, "produce {partition} {records}"),
            Command::Watch(path) => write!(f, "watch {path}"),
            Command::List(path) => write!(f, "list {path}"),
            Command::Multi(changes) => {
                f.write_str("multi")?;
                changes.iter().try_for_each(|change| write!(f, " {change}"))
            }
            Command::Still => f.write_str("still"),
            Command::Busy => f.write_str("busy"),
        }
    }
}
