//! `glasshouse produce`: a record for each line of standard input.

use super::reach::{EXIT_CODES, Reach, run as run_async, told};
use super::term::{Out, complain, count, plain};
use crate::client::Error;
use crate::client::kafka::{Delivered, Delivery, Producer, ProducerSettings};
use crate::config::Usage;
use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use glasshouse_core::record::batch::{Header, NewRecord};
use serde_json::json;
use std::collections::VecDeque;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Flags of `glasshouse produce`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// The topic; it has to be there
    pub topic: String,
    /// What stands between key and value; a line without it has no key
    #[arg(long, short, value_name = "TEXT", value_parser = separator)]
    pub key_separator: Option<String>,
    /// Whose confirmation is awaited: 0 nobody's, 1 the leader's, all in-sync replicas'
    #[arg(long, default_value = "all", value_parser = ["0", "1", "all", "-1"])]
    pub acks: String,
    /// The partition [default: the key's, as Kafka's own clients choose it; without a key, one after the other]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// No duplicates when something is sent again; as long as --acks is all
    #[arg(long, value_name = "true|false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub idempotent: Option<bool>,
    /// A header of every record; again for another
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Milliseconds that a batch waits for more
    #[arg(long, value_name = "MS", default_value_t = 5)]
    pub linger: u64,
    /// Bytes of a batch
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub batch: u32,
    /// Empty lines are records too
    #[arg(long)]
    pub empty: bool,
    /// Say nothing of progress
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub reach: Reach,
}

/// `\t` means a tabulator, and so on.
pub fn separator(text: &str) -> Result<String, String> {
    let text = text.replace("\\t", "\t").replace("\\n", "\n").replace("\\0", "\0").replace("\\\\", "\\");
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Args {
    fn settings(&self) -> Result<ProducerSettings> {
        let acks = match self.acks.as_str() {
            "0" => 0,
            "1" => 1,
            _ => -1,
        };
        if acks != -1 && self.idempotent == Some(true) {
            return Err(Usage("--idempotent needs --acks all: nobody else can tell what arrived".into()).into());
        }
        Ok(ProducerSettings {
            acks,
            idempotent: acks == -1 && self.idempotent.unwrap_or(true),
            linger: Duration::from_millis(self.linger),
            batch_bytes: self.batch as usize,
            delivery_timeout: self.reach.limit(),
            request_timeout: self.reach.limit(),
            ..ProducerSettings::default()
        })
    }
}

/// Sends standard input.
///
/// # Errors
/// Nothing could be sent. Records that failed are told line by line, and give exit code 1.
pub fn run(args: Args) -> Result<ExitCode> {
    run_async(args.reach.json, async move {
        let settings = args.settings()?;
        let client = args.reach.kafka().await?;
        let topic: Arc<str> = args.topic.as_str().into();
        client.topic(&topic, Duration::from_secs(2).min(args.reach.limit())).await?;
        let producer = Producer::start(client, settings).await?;
        let mut sending = Sending::new(&args, topic, producer);
        let whole = sending.all(chunks()).await;
        // What came before a line that cannot be sent is sent all the same.
        let ended = sending.end().await?;
        whole.map(|()| ended)
    })
}

/// The longest line: what a broker takes of a request (`socket.request.max.bytes`), less room for what is around it. It
/// would hang up on a longer one, and one without an end would fill our memory.
const LONGEST: usize = 99 << 20;

/// Standard input in pieces, read by a thread that may block.
fn chunks() -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut piece = vec![0; 128 * 1024];
            let read = match input.read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let done = !matches!(read, Ok(1..));
            let piece = read.map(|read| Bytes::from(piece).slice(..read));
            if sender.blocking_send(piece).is_err() || done {
                return;
            }
        }
    });
    receiver
}

/// Cuts pieces into lines without copying but where a line goes over from one piece to the next.
struct Lines {
    begun: BytesMut,
    /// Bytes that a line may have.
    longest: usize,
}

impl Lines {
    fn new(longest: usize) -> Lines {
        Lines { begun: BytesMut::new(), longest }
    }

    /// The lines that end in this piece.
    ///
    /// # Errors
    /// How many bytes a line has, that is too long, as far as it was read. Those before it were given.
    fn cut(&mut self, mut piece: Bytes, mut line: impl FnMut(Bytes)) -> Result<(), usize> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let head = piece.split_to(end + 1);
            let head = head.slice(..end);
            self.bound(head.len())?;
            if self.begun.is_empty() {
                line(without_return(head));
            } else {
                self.begun.extend_from_slice(&head);
                line(without_return(self.begun.split().freeze()));
            }
        }
        self.bound(piece.len())?;
        self.begun.extend_from_slice(&piece);
        Ok(())
    }

    /// Whether the line that has begun may have so many bytes more.
    fn bound(&self, more: usize) -> Result<(), usize> {
        let length = self.begun.len() + more;
        if length > self.longest { Err(length) } else { Ok(()) }
    }

    /// What stands behind the last end of a line.
    fn rest(&mut self) -> Option<Bytes> {
        (!self.begun.is_empty()).then(|| without_return(self.begun.split().freeze()))
    }
}

fn without_return(line: Bytes) -> Bytes {
    match line.last() {
        Some(b'\r') => line.slice(..line.len() - 1),
        _ => line,
    }
}

/// Key and value of a line.
fn split(line: &Bytes, separator: Option<&[u8]>) -> (Option<Bytes>, Bytes) {
    let found = separator.and_then(|separator| {
        line.windows(separator.len()).position(|window| window == separator).map(|at| (at, separator.len()))
    });
    match found {
        Some((at, length)) => (Some(line.slice(..at)), line.slice(at + length..)),
        None => (None, line.clone()),
    }
}

/// Failed lines that are told one by one.
const TOLD: u64 = 10;

struct Sending<'a> {
    args: &'a Args,
    topic: Arc<str>,
    producer: Producer,
    headers: Vec<Header>,
    out: Out,
    line: u64,
    bytes: u64,
    /// Undecided records with their lines, oldest first.
    open: VecDeque<(u64, Delivery)>,
    delivered: u64,
    failed: u64,
    began: Instant,
    shown: Instant,
    shows: bool,
}

impl Sending<'_> {
    fn new(args: &Args, topic: Arc<str>, producer: Producer) -> Sending<'_> {
        let headers = args.headers.iter().map(|(key, value)| Header {
            key: key.as_str().into(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        });
        let shows =
            !args.quiet && !args.reach.json && std::io::stderr().is_terminal() && !std::io::stdin().is_terminal();
        Sending {
            headers: headers.collect(),
            out: Out::new(args.reach.json),
            args,
            topic,
            producer,
            line: 0,
            bytes: 0,
            open: VecDeque::new(),
            delivered: 0,
            failed: 0,
            began: Instant::now(),
            shown: Instant::now(),
            shows,
        }
    }

    async fn all(&mut self, mut chunks: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<()> {
        let mut lines = Lines::new(LONGEST);
        let mut ready = Vec::new();
        while let Some(piece) = chunks.recv().await {
            let piece = piece.context("standard input cannot be read")?;
            if piece.is_empty() {
                break;
            }
            let cut = lines.cut(piece, |line| ready.push(line));
            for line in ready.drain(..) {
                self.send(line).await?;
            }
            if let Err(length) = cut {
                return Err(self.too_long(length));
            }
            self.settle()?;
            self.progress(false);
            // An input that never runs dry would leave those that send no turn until there is no room for more.
            tokio::task::yield_now().await;
        }
        if let Some(line) = lines.rest() {
            self.send(line).await?;
        }
        Ok(())
    }

    /// The next line, of which so much was read.
    fn too_long(&self, length: usize) -> anyhow::Error {
        let line = self.line + 1;
        Usage(format!("line {line} has {length} bytes or more, and {LONGEST} are the most that can be sent")).into()
    }

    async fn send(&mut self, line: Bytes) -> Result<()> {
        self.line += 1;
        if line.is_empty() && !self.args.empty {
            return Ok(());
        }
        self.bytes += line.len() as u64;
        let separator = self.args.key_separator.as_deref().map(str::as_bytes);
        let (key, value) = split(&line, separator);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record =
            NewRecord { timestamp: now.as_millis() as i64, key, value: Some(value), headers: self.headers.clone() };
        let delivery = self.producer.send(&self.topic, self.args.partition, record).await?;
        self.open.push_back((self.line, delivery));
        // The room for records bounds this queue only if it is looked at now and then.
        if self.open.len().is_multiple_of(8192) {
            self.settle()?;
        }
        Ok(())
    }

    /// Looks at what is decided, oldest first.
    fn settle(&mut self) -> Result<()> {
        while let Some((line, outcome)) = self.open.front().and_then(|(line, d)| Some((*line, d.now()?))) {
            self.open.pop_front();
            self.decided(line, outcome)?;
        }
        Ok(())
    }

    fn decided(&mut self, line: u64, outcome: Result<Delivered, Error>) -> Result<()> {
        match outcome {
            Ok(delivered) => {
                self.delivered += 1;
                let (partition, offset) = (delivered.partition.partition, delivered.offset.0);
                let offset = (offset >= 0).then_some(offset);
                if self.out.json {
                    self.out.item(&json!({"line": line, "partition": partition, "offset": offset}))?;
                }
            }
            Err(error) => {
                self.failed += 1;
                if self.out.json {
                    self.out.item(&json!({"line": line, "error": told(&error), "unknown": error.is_unknown()}))?;
                }
                match self.failed {
                    ..=TOLD => complain(format_args!("{}line {line}: {}", self.clear(), told(&error))),
                    failed if failed == TOLD + 1 => complain(format_args!("{}… and more", self.clear())),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn clear(&self) -> &'static str {
        if self.shows { "\r\x1b[K" } else { "" }
    }

    fn progress(&mut self, last: bool) {
        if !self.shows || (!last && self.shown.elapsed() < Duration::from_millis(200)) {
            return;
        }
        self.shown = Instant::now();
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        // Nobody has to be able to read it.
        let _best_effort = write!(
            std::io::stderr(),
            "\r\x1b[K{} records, {:.0}/s, {:.1} MB/s{}",
            self.delivered,
            self.delivered as f64 / seconds,
            self.bytes as f64 / seconds / 1e6,
            if last { "\n" } else { "" }
        );
    }

    /// Waits for the rest and says how it went.
    async fn end(mut self) -> Result<ExitCode> {
        self.producer.flush().await;
        while let Some((line, delivery)) = self.open.pop_front() {
            let outcome = delivery.wait().await;
            self.decided(line, outcome)?;
        }
        self.progress(true);
        self.out.flush()?;
        if self.failed > 0 {
            let (failed, topic) = (count(self.failed as usize, "record", "records"), plain(&self.topic));
            complain(format_args!("glasshouse: {failed} of {} to {topic} failed", self.failed + self.delivered));
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&'static str]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::new(LONGEST), Vec::new());
        for piece in pieces {
            lines.cut(Bytes::from_static(piece.as_bytes()), |line| all.push(line)).unwrap();
        }
        all.extend(lines.rest());
        all.into_iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    #[test]
    fn lines_go_over_from_piece_to_piece() {
        assert_eq!(lines(&["a\nb", "c\r\n\nd"]), ["a", "bc", "", "d"]);
        assert_eq!(lines(&["a\n"]), ["a"]);
        assert_eq!(lines(&["a", "b", "c\n", "\n"]), ["abc", ""]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_found_out_before_its_end() {
        let mut lines = Lines::new(4);
        let mut given = Vec::new();
        let mut cut = |piece: &'static str| lines.cut(Bytes::from_static(piece.as_bytes()), |line| given.push(line));
        assert_eq!([cut("abcd\nab"), cut("cd\nab"), cut("cd"), cut("e")], [Ok(()), Ok(()), Ok(()), Err(5)]);
        assert_eq!(lines.begun.len(), 4, "no more is kept");
        assert_eq!(given, ["abcd", "abcd"]);
        let whole = Lines::new(4).cut(Bytes::from_static(b"a\nabcdef\nb\n"), |line| given.push(line));
        assert_eq!((whole, given.len()), (Err(6), 3), "those before it are given, those behind it not");
    }

    #[test]
    fn a_line_is_split_at_its_first_separator() {
        let split = |line: &'static str, at: Option<&str>| {
            let (key, value) = split(&Bytes::from_static(line.as_bytes()), at.map(str::as_bytes));
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            (key.map(text), text(value))
        };
        assert_eq!(split("k:v:w", Some(":")), (Some("k".into()), "v:w".into()));
        assert_eq!(split("v", Some("::")), (None, "v".into()));
        assert_eq!(split(":v", Some(":")), (Some(String::new()), "v".into()));
        assert_eq!(split("k:v", None), (None, "k:v".into()));
        assert_eq!(separator("\\t").unwrap(), "\t");
        assert!(separator("").is_err());
    }
}
