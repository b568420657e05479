//! `glasshouse consume`: the records of a topic, a line for each.

use super::reach::{EXIT_CODES, Reach, run as run_async};
use super::term::{Out, put_bytes};
use crate::client::kafka::{Consumed, Consumer, ConsumerSettings, Reset, Start};
use anyhow::Result;
use glasshouse_core::record::offset::Offset;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `glasshouse consume`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The topic
    pub topic: String,
    /// Where to begin: beginning, end, or an offset [default: beginning; with --follow, end]
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub from: Option<Start>,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<u64>,
    /// Go on at the end, and wait for more
    #[arg(long, short)]
    pub follow: bool,
    /// Only this partition; again for another
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Vec<i32>,
    /// Print keys too, and this between key and value
    #[arg(long, short, value_name = "TEXT", value_parser = super::produce::separator)]
    pub key_separator: Option<String>,
    /// Leave out what open transactions wrote
    #[arg(long)]
    pub committed: bool,
    #[command(flatten)]
    pub reach: Reach,
}

fn from(text: &str) -> Result<Start, String> {
    match text {
        "beginning" | "earliest" => Ok(Start::Beginning),
        "end" | "latest" => Ok(Start::End),
        number => match number.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Start::Offset(Offset(offset))),
            _ => Err("write beginning, end, or an offset".to_owned()),
        },
    }
}

/// A broker refuses to be asked for a partition twice.
fn once_each(partitions: &[i32]) -> Vec<i32> {
    partitions.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Reads and prints.
///
/// # Errors
/// What the cluster says.
pub fn run(args: Args) -> Result<ExitCode> {
    run_async(args.reach.json, async move {
        let client = args.reach.kafka().await?;
        let topic = args.topic.as_str().into();
        client.topic(&topic, Duration::from_secs(2).min(args.reach.limit())).await?;
        let usual = if args.follow { Start::End } else { Start::Beginning };
        let settings = ConsumerSettings {
            partitions: (!args.partition.is_empty()).then(|| once_each(&args.partition)),
            start: args.from.unwrap_or(usual),
            // Someone who asks for an offset wants that one; after the start, what retention took is passed over.
            reset: if matches!(args.from, Some(Start::Offset(_))) { Reset::Fail } else { Reset::Beginning },
            read_committed: args.committed,
            ..ConsumerSettings::default()
        };
        let consumer = Consumer::start(client, &args.topic, settings).await?;
        let out = Out::new(args.reach.json);
        Printing { args: &args, out, printed: 0 }.all(consumer).await
    })
}

struct Printing<'a> {
    args: &'a Args,
    out: Out,
    printed: u64,
}

impl Printing<'_> {
    async fn all(&mut self, mut consumer: Consumer) -> Result<ExitCode> {
        // What is written while we read is not waited for.
        let ends = if self.args.follow { BTreeMap::new() } else { consumer.ends().await? };
        loop {
            let enough = self.args.count.is_some_and(|count| self.printed >= count);
            let at_end = || consumer.positions().all(|(partition, next)| next >= ends[&partition]);
            if enough || (!self.args.follow && at_end()) {
                self.out.flush()?;
                return Ok(ExitCode::SUCCESS);
            }
            for consumed in consumer.poll(Duration::from_secs(1)).await? {
                if self.args.count.is_some_and(|count| self.printed >= count) {
                    break;
                }
                // Beyond the end as it was when we began.
                let beyond = ends.get(&consumed.partition).is_some_and(|end| consumed.record.offset >= *end);
                if !beyond {
                    self.print(&consumed)?;
                    self.printed += 1;
                }
            }
            self.out.flush()?;
        }
    }

    fn print(&mut self, consumed: &Consumed) -> Result<()> {
        if self.out.json {
            return Ok(self.out.item(&as_json(&self.args.topic, consumed))?);
        }
        let record = &consumed.record;
        if let Some(separator) = &self.args.key_separator {
            self.out.raw(record.key.as_deref().unwrap_or(b"null"))?;
            self.out.own(separator)?;
        }
        self.out.raw(record.value.as_deref().unwrap_or(b"null"))?;
        Ok(self.out.own("\n")?)
    }
}

fn as_json(topic: &str, consumed: &Consumed) -> Value {
    let record = &consumed.record;
    let mut object = Map::new();
    object.insert("topic".into(), topic.into());
    object.insert("partition".into(), consumed.partition.into());
    object.insert("offset".into(), record.offset.0.into());
    object.insert("timestamp".into(), record.timestamp.into());
    put_bytes(&mut object, "key", record.key.as_deref());
    put_bytes(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|header| {
        let mut object = Map::new();
        object.insert("key".into(), json!(&*header.key));
        put_bytes(&mut object, "value", header.value.as_deref());
        Value::Object(object)
    });
    object.insert("headers".into(), headers.collect());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use glasshouse_core::record::batch::Record;

    #[test]
    fn where_to_begin_is_read() {
        assert_eq!(from("beginning"), Ok(Start::Beginning));
        assert_eq!(from("end"), Ok(Start::End));
        assert_eq!(from("17"), Ok(Start::Offset(Offset(17))));
        assert!(from("-1").is_err() && from("soon").is_err());
    }

    #[test]
    fn a_record_becomes_json() {
        let record = Record {
            offset: Offset(5),
            timestamp: 7,
            key: None,
            value: Some(Bytes::from_static(b"\x1b[2J")),
            headers: vec![],
        };
        let text = as_json("t", &Consumed { partition: 1, record }).to_string();
        assert_eq!(
            text,
            r#"{"headers":[],"key":null,"offset":5,"partition":1,"timestamp":7,"topic":"t","value":"\u001b[2J"}"#
        );
    }
}
