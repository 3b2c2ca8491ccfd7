//! `tandem-compare`: tandem beside its peers, each measured by the same load tool, in the same place, in turn.
//!
//! ```text
//!   tandembench-PID-load   a0 10.1.0.2 ─────── in0 10.1.0.1   tandembench-PID-relay
//!   tandem-load, core 0      b0 10.2.0.2 ─────── out0 10.2.0.1  one of the relays, core 1
//! ```

#![forbid(unsafe_code)]

mod cpu;
mod error;
mod huge_pages;
mod kernel_rules;
mod limits;
mod load;
mod measure;
mod ng;
mod peers;
mod probe;
mod process;
mod ratios;
mod report;
mod run;
mod signals;
mod socket_relay;
mod streams;
mod targets;
mod topology;
mod xdp_relay;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Error;

/// tandem beside its peers: the same streams, the same core, alternating rounds
#[derive(Debug, Parser)]
#[command(name = "tandem-compare", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  tandem-compare run --json >comparison.json
  tandem-compare run --quick --peers tandem,socket
  tandem-compare socket-relay --streams streams.json --core 1

Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run::Run>),
    Check(Box<run::Check>),
    SocketRelay(socket_relay::SocketRelay),
    XdpRelay(xdp_relay::XdpRelay),
    KernelRules(kernel_rules::KernelRules),
    RtpengineCalls(peers::OpenCalls),
    Probe(probe::Probe),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(args) => args.run(),
        Verb::Check(args) => args.run(),
        Verb::KernelRules(args) => args.run(),
        Verb::RtpengineCalls(args) => args.run(),
        Verb::SocketRelay(args) => args.run(),
        Verb::XdpRelay(args) => args.run(),
        Verb::Probe(args) => args.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem-compare: {error}");
            match error {
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
