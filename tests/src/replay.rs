//! `cargo sim --replay`: runs what a native node has recorded through the machine it was.

use glasshouse_core::api::keeper;
use glasshouse_core::api::peer::PeerMessage;
use glasshouse_core::id::NodeId;
use glasshouse_core::node::{Effect, Input, Reply, Request, RequestBody};
use glasshouse_core::time::Instant;
use glasshouse_node::observe::replay::{Replayed, Told, Trouble, replay};
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// The same digests were reached.
    Same,
    /// The file cannot be read, or is no whole recording.
    Unreadable,
    /// Our own assertion failed.
    Crashed,
    /// The machine did something else than it had.
    Differed,
}

/// Replays a file and prints what came of it; with `trace` every input, note and effect before.
pub fn run(file: &str, trace: bool, as_json: bool) -> Came {
    let recording = match std::fs::read(file) {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            eprintln!("cargo sim: {file} cannot be read: {error}");
            return Came::Unreadable;
        }
    };
    let mut entries = 0u64;
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        replay(recording, |at, node, told| {
            entries += 1;
            if trace {
                print_entry(at, node, &told, as_json);
            }
        })
    }));
    match attempt {
        Ok(Ok(replayed)) => {
            print_replayed(file, &replayed, entries, as_json);
            Came::Same
        }
        Ok(Err(Trouble::Damaged(why))) => {
            eprintln!("cargo sim: {file}: {why}");
            Came::Unreadable
        }
        Ok(Err(Trouble::Differs { recorded, replayed })) => {
            let steps = recorded.steps;
            if as_json {
                let hex = |digest: u64| format!("{digest:016x}");
                let pairs = [hex(recorded.digest), hex(replayed.digest)];
                let states = [hex(recorded.state), hex(replayed.state)];
                println!("{}", json!({"file": file, "steps": steps, "digests": pairs, "states": states}));
            } else {
                println!(
                    "{file}: after {steps} inputs the node had digest {:016x} and state {:016x}, its replay {:016x} and {:016x}",
                    recorded.digest, recorded.state, replayed.digest, replayed.state
                );
            }
            Came::Differed
        }
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let words = words.unwrap_or_default();
            if as_json {
                println!("{}", json!({"file": file, "crash": words}));
            } else {
                println!("{file}: our own mistake: {words}");
            }
            Came::Crashed
        }
    }
}

fn print_replayed(file: &str, replayed: &Replayed, entries: u64, as_json: bool) {
    let Replayed { node, steps, digest, state, checks, ended } = replayed;
    if as_json {
        println!(
            "{}",
            json!({"file": file, "node": node.to_string(), "inputs": steps, "entries": entries, "checks": checks,
                "digest": format!("{digest:016x}"), "state": format!("{state:016x}"), "ended": ended})
        );
        return;
    }
    println!(
        "{file}: {node}, {steps} inputs, {entries} entries, {checks} checks met, digest {digest:016x}, state {state:016x}"
    );
    match ended {
        Some(how) => println!("    the node {how}"),
        None => println!("    the recording was cut short there"),
    }
}

fn print_entry(at: Instant, node: NodeId, told: &Told<'_>, as_json: bool) {
    let (kind, text) = match told {
        Told::Booted => ("boot", "boots".to_owned()),
        Told::Input(input) => ("input", heard(input)),
        Told::Effect(effect) => ("effect", wanted(effect)),
        Told::Note(note) => ("note", note.to_string()),
    };
    if as_json {
        println!("{}", json!({"at": at.to_string(), "node": node.to_string(), "kind": kind, "text": text}));
    } else {
        let arrow = match told {
            Told::Booted | Told::Note(_) => "  ",
            Told::Input(_) => "<-",
            Told::Effect(_) => "->",
        };
        println!("{at:>12}  {node}  {arrow} {text}");
    }
}

fn heard(input: &Input) -> String {
    match input {
        Input::Wake => "wakes".to_owned(),
        Input::Up { channel } => format!("up {channel}"),
        Input::Down { channel } => format!("down {channel}"),
        Input::Peer { channel, message } => format!("{channel}: {}", spoken(message)),
        Input::Request { conn, request } => format!("client {conn}: {}", asked(request)),
        Input::Closed { conn } => format!("client {conn} is gone"),
        Input::Opened { dial } => format!("dial {dial} is open"),
        Input::Answer { dial, reply } => format!("dial {dial}: {}", answered(reply)),
        Input::Hung { dial } => format!("dial {dial} is gone"),
        Input::Synced { lane, upto } => format!("synced {lane:?} up to {}", upto.0),
        Input::Loaded { ticket, .. } => format!("loaded {}", ticket.0),
        Input::Command(command) => format!("is told to {command}"),
        Input::Shutdown => "is asked to stop".to_owned(),
    }
}

fn wanted(effect: &Effect) -> String {
    match effect {
        Effect::Send { channel, message } => format!("{channel}: {}", spoken(message)),
        Effect::Hangup { channel } => format!("hangs up {channel}"),
        Effect::Reply { conn, reply } => format!("client {conn}: {}", answered(reply)),
        Effect::Close { conn } => format!("closes client {conn}"),
        Effect::Dial { dial, to } => format!("dials {to} as {dial}"),
        Effect::Ask { dial, request } => format!("dial {dial}: {}", asked(request)),
        Effect::HangupDial { dial } => format!("hangs up dial {dial}"),
        Effect::Store { lane, op } => {
            // The name of what is stored; its contents may be long.
            let op = format!("{op:?}");
            format!("stores on {lane:?}: {}", op.split([' ', '(', '{']).next().unwrap_or_default())
        }
        Effect::Sync { lane, ticket } => format!("syncs {lane:?} as {}", ticket.0),
        Effect::Load { lane, ticket, .. } => format!("loads from {lane:?} as {}", ticket.0),
        Effect::Halt { why } => format!("cannot go on: {why}"),
        Effect::Stopped => "has stopped".to_owned(),
    }
}

fn spoken<R>(message: &PeerMessage<R>) -> String {
    match message {
        PeerMessage::Election(vote) => format!("vote for keeper-{} at {}", vote.leader, vote.zxid),
        PeerMessage::Quorum(packet) => packet.to_string(),
        PeerMessage::Request { correlation, request } => format!("{} #{correlation}", request.name()),
        PeerMessage::Response { correlation, response } => format!("{} answer #{correlation}", response.name()),
    }
}

fn asked(request: &Request) -> String {
    match &request.body {
        RequestBody::Kafka(request) => format!("{} v{} #{}", request.body.name(), request.version, request.correlation),
        RequestBody::Keeper(keeper::Request::Op { xid, op }) => format!("{op} #{xid}"),
        RequestBody::Keeper(request) => request.to_string(),
    }
}

fn answered<R>(reply: &Reply<R>) -> String {
    match reply {
        Reply::Kafka { correlation, body, .. } => format!("{} answer #{correlation}", body.name()),
        Reply::Keeper(reply) => reply.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_recording_is_unreadable() {
        let file = std::env::temp_dir().join(format!("glasshouse-no-recording-{}", std::process::id()));
        std::fs::write(&file, "a scenario, perhaps").unwrap();
        let name = file.to_str().unwrap();
        assert_eq!(run(name, false, false), Came::Unreadable);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(run(name, false, false), Came::Unreadable);
    }
}
