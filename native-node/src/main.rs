//! `glasshouse`: a cluster, a node of one, and the tools to look at it and to throw stones at it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    glasshouse_node::cli::main()
}
