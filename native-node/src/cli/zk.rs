//! `glasshouse zk`: one question to the ensemble, or a shell.

mod acl;
mod ops;
mod shell;

use super::reach::{EXIT_CODES, Reach, run as run_async};
use super::term::{Out, complain};
use anyhow::Result;
use std::process::ExitCode;

/// Flags of `glasshouse zk`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXIT_CODES, subcommand_help_heading = "Commands (without one: a shell)")]
pub struct Args {
    #[command(subcommand)]
    pub op: Option<Op>,
    #[command(flatten)]
    pub reach: Reach,
}

/// What can be asked. Paths begin with `/`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Op {
    /// List the children of a node
    Ls {
        /// The node's path
        #[arg(default_value = "/")]
        path: String,
        /// And theirs, all the way down
        #[arg(short = 'R', long)]
        recursive: bool,
    },
    /// Print a node's data
    Get {
        /// The node's path
        path: String,
        /// And its stat
        #[arg(short, long)]
        stat: bool,
        /// In the shell: tell when it changes, once
        #[arg(short, long)]
        watch: bool,
    },
    /// Replace a node's data
    Set {
        /// The node's path
        path: String,
        /// The new data, as text
        #[arg(value_name = "DATA", allow_negative_numbers = true)]
        value: String,
        /// Only if it still has this version
        #[arg(short = 'v', long, value_name = "N", default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
        if_version: i32,
    },
    /// Make a node
    Create {
        /// The new node's path
        path: String,
        /// Its data, as text [default: none]
        #[arg(value_name = "DATA", default_value = "", hide_default_value = true, allow_negative_numbers = true)]
        value: String,
        /// It goes with this session
        #[arg(short, long)]
        ephemeral: bool,
        /// Its name is completed with a number
        #[arg(short, long)]
        sequential: bool,
        /// With whatever is missing above it
        #[arg(short, long, conflicts_with_all = ["ephemeral", "sequential"])]
        parents: bool,
    },
    /// Delete a node
    Delete {
        /// The node's path
        path: String,
        /// Only if it still has this version
        #[arg(short = 'v', long, value_name = "N", default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
        if_version: i32,
        /// With everything below it, whatever version that has
        #[arg(short, long, conflicts_with = "if_version")]
        recursive: bool,
    },
    /// Print a node's stat
    Stat {
        /// The node's path
        path: String,
        /// In the shell: tell when it comes, changes or goes, once
        #[arg(short, long)]
        watch: bool,
    },
    /// Print who may do what with a node
    #[command(name = "getAcl", alias = "getacl")]
    GetAcl {
        /// The node's path
        path: String,
        /// And its stat
        #[arg(short, long)]
        stat: bool,
    },
    /// Say who may do what with a node
    #[command(name = "setAcl", alias = "setacl")]
    SetAcl {
        /// The node's path
        path: String,
        /// Lines of SCHEME:ID:RIGHTS, separated by commas; rights are letters of cdrwa: world:anyone:r
        #[arg(value_name = "ACL")]
        acl: String,
        /// Only if its access list still has this version
        #[arg(short = 'v', long, value_name = "N", default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
        if_version: i32,
    },
    /// Tell what happens to a node and its children, until interrupted
    Watch {
        /// The node's path
        path: String,
        /// End after so many events
        #[arg(short = 'n', long, value_name = "N")]
        count: Option<u64>,
    },
    /// Let the keeper catch up with the leader
    Sync {
        /// The node's path
        #[arg(default_value = "/")]
        path: String,
    },
}

/// Asks, or opens the shell.
///
/// # Errors
/// What the ensemble says.
pub fn run(args: Args) -> Result<ExitCode> {
    let Some(op) = args.op else { return super::reach::ended(args.reach.json, shell::run(&args.reach)) };
    run_async(args.reach.json, async move {
        let session = args.reach.session().await?;
        let mut out = Out::new(args.reach.json);
        if matches!(op, Op::Create { ephemeral: true, .. }) {
            complain(format_args!(
                "glasshouse: the node goes with this session, which ends now; in the shell (glasshouse zk) it stays"
            ));
        }
        let done = ops::run(&session, &op, &mut out).await;
        let flushed = out.flush();
        session.close().await;
        done?;
        flushed?;
        Ok(ExitCode::SUCCESS)
    })
}
