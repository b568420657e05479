//! `glasshouse completions`: what a shell needs to complete our command line.

use clap::CommandFactory;
use std::process::ExitCode;

/// Flags of `glasshouse completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// For which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Prints the script.
///
/// # Errors
/// Of the output.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "glasshouse", &mut script);
    let script = String::from_utf8_lossy(&script);
    super::reach::ended(false, super::term::print(&script).map(|()| ExitCode::SUCCESS).map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_and_the_flags_do_not_contradict() {
        crate::cli::Cli::command().debug_assert();
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut crate::cli::Cli::command(), "glasshouse", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("produce"), "{shell}");
        }
    }
}
