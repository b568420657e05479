//! The command line: which commands there are, and how each ends. What a command does lies in a module of its own.

pub mod completions;
pub mod consume;
pub mod node;
pub mod produce;
pub mod reach;
pub mod status;
pub mod stone;
pub mod term;
pub mod topic;
pub mod zk;

use crate::config::Usage;
use anyhow::Result;
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

/// A Kafka and ZooKeeper cluster you can see through, and throw stones at.
#[derive(Debug, Parser)]
#[command(name = "glasshouse", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What it can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole cluster on this machine
    Up(Box<crate::up::Args>),
    /// Run one node of a cluster, or both roles in one process
    Node(Box<crate::config::args::Args>),
    /// Make, list, describe and delete topics
    Topic(topic::Args),
    /// Write a record for each line of standard input
    Produce(produce::Args),
    /// Print the records of a topic
    Consume(consume::Args),
    /// Ask the ensemble, or open a shell to it
    Zk(zk::Args),
    /// Tell how a cluster is
    Status(status::Args),
    /// Throw stones at a cluster that was started for it (up --stones)
    Stone(stone::Args),
    /// Print what a shell needs to complete this command line
    Completions(completions::Args),
}

/// Runs the command line of this process. It ends with 0, with 2 if the arguments make no sense, or else with 1.
pub fn main() -> ExitCode {
    let parsed = unset_where_empty(Cli::command()).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // Help, or the version.
        Err(error) if !error.use_stderr() => {
            let printed = error.print().and_then(|()| std::io::stdout().flush()).map_err(term::of_output);
            return match reach::ended(false, printed.map(|()| ExitCode::SUCCESS).map_err(Into::into)) {
                Ok(code) => code,
                Err(error) => {
                    term::complain(format_args!("glasshouse: {error:#}"));
                    ExitCode::FAILURE
                }
            };
        }
        Err(error) => {
            term::complain(format_args!("glasshouse: {} (see --help)", one_sentence(&error)));
            return ExitCode::from(2);
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            term::complain(format_args!("glasshouse: {error:#}"));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// A variable that is set to nothing is not set: whoever fills in a file of variables leaves some empty.
fn unset_where_empty(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(unset_where_empty)
}

/// The names of all variables that a command and those below it look at.
fn variables(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned()));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Up(args) => crate::up::run(*args),
        Command::Node(args) => node::run(*args),
        Command::Topic(args) => topic::run(args),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Zk(args) => zk::run(args),
        Command::Status(args) => status::run(args),
        Command::Stone(args) => stone::run(args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// What the parser says in paragraphs, without the summary of the usage.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return format!("say what to do: {}", listed(&text).join(", "));
    }
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join("; ").replace(":;", ":");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

/// The commands that a help lists, one on each line that is indented no further.
fn listed(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Commands")).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_do_not_contradict_themselves() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_is_one_sentence() {
        let sentence = |line: &str| {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            one_sentence(&error)
        };
        let unknown = sentence("glasshouse up --broker 3");
        assert!(unknown.starts_with("unexpected argument '--broker' found"), "{unknown}");
        assert!(unknown.contains("--brokers") && !unknown.contains('\n'), "{unknown}");
        let version = sentence("glasshouse zk set /a v --version 9");
        assert!(version.starts_with("unexpected argument '--version' found"), "{version}");
        assert!(version.contains("'--if-version'") && !version.contains('\n'), "{version}");
        let value = sentence("glasshouse up --kafka-port 70000");
        assert_eq!(sentence("glasshouse topic"), "say what to do: create, list, describe, delete");
        assert!(sentence("glasshouse").starts_with("say what to do: up, node, topic,"));
        assert!(value.contains("'70000'") && value.contains("--kafka-port") && !value.contains('\n'), "{value}");
    }
}
