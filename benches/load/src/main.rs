//! `tandem-load`: the load tool's command line.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    tandem_load::cli::Cli::parse().execute()
}
