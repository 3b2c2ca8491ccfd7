//! The command line. Exit codes: 0 done, 1 failed (the reason is one sentence on stderr), 2 wrong usage.

mod kinds;
mod rtp_args;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use kinds::{DeviceQueues, Expect, Mac, Percentage};
pub use rtp_args::{Pace, RtpArgs, Source, XdpMode};

use crate::calls::{self, CallsArgs};
use crate::ng::{self, NgArgs};
use crate::rtp;

/// Load for an RTP relay, and the proof of what became of every packet of it.
#[derive(Debug, Parser)]
#[command(name = "tandem-load", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  tandem-load rtp --a-device a0 --b-device b0 --streams streams.json --rate 200000
  tandem-load rtp --a-device a0 --b-device b0 --install /run/tandem/admin.sock --count 1000 --find-ndr
  tandem-load calls --target 192.0.2.1:5060 --callee-listen 198.51.100.2:5060 --rates 50,100
  tandem-load ng --target tandem=192.0.2.1:2223 --caller 198.51.100.2 --callee 203.0.113.2

Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send streams of RTP or RTCP both ways through a relay, and verify every packet that it delivers
    #[command(after_help = rtp_args::EXAMPLES)]
    Rtp(Box<RtpArgs>),
    /// Place calls through a relay with SIPp, at one rate after the other, or answer them
    #[command(after_help = calls::EXAMPLES, args_override_self = true)]
    Calls(Box<CallsArgs>),
    /// Make calls over rtpengine's control protocol, as fast as a window allows, and compare those who answer
    #[command(after_help = ng::EXAMPLES)]
    Ng(Box<NgArgs>),
}

impl Cli {
    /// Does what was asked for; the outcome is the process's exit code.
    pub fn execute(self) -> ExitCode {
        let outcome = match self.verb {
            Verb::Rtp(args) => rtp::execute(&args).map_err(|error| error.to_string()),
            Verb::Calls(args) => calls::execute(&args).map_err(|error| error.to_string()),
            Verb::Ng(args) => ng::execute(&args).map_err(|error| error.to_string()),
        };
        match outcome {
            Ok(code) => code,
            Err(sentence) => {
                eprintln!("tandem-load: {sentence}");
                ExitCode::FAILURE
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

    #[test]
    fn every_verb_has_examples_and_speaks_json() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string);
            assert!(help.unwrap_or_default().contains("Example"));
            assert!(verb.get_arguments().any(|arg| arg.get_id() == "json"));
        }
    }
}
