//! The command line: what can be asked for, and the way to whoever does it.
//!
//! `run` starts the appliance, `check` only reads its configuration; the other verbs ask a running
//! tandem over its admin socket and print what it says as tables, or as JSON. Exit codes: 0 done,
//! 1 failed (the reason is one sentence on stderr), 2 wrong usage.

mod calls;
mod cdr;
mod check;
mod client;
mod dns;
mod flows;
mod generate;
mod ng;
mod output;
mod registrations;
mod reload;
mod route;
mod sessions;
mod status;
mod stories;
mod top;
mod trunks;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::startup;
pub(crate) use check::verdict;
use terminal::{table, units as duration};

use client::Client;

/// Where a tandem is found when nobody says otherwise.
pub(crate) const DEFAULT_ADMIN_SOCKET: &str = "/run/tandem/admin.sock";

/// A kernel-bypass media relay appliance for telephone carriers.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  tandem check -c /etc/tandem.toml     What is wrong with this file?
  tandem run -c /etc/tandem.toml       Start
  tandem status                        Is it well?
  tandem calls                         Who is talking?

Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start the appliance and stay in the foreground
    #[command(after_help = "\
Examples:
  tandem run -c /etc/tandem.toml
  tandem run -c /etc/tandem.toml --log info,controlplane=debug
  tandem run -c /etc/tandem.toml --json 2>>/var/log/tandem.json

Signals:
  SIGTERM, SIGINT   refuse new calls with 503, leave `drain_timeout` to the others,
                    end the rest with BYE, exit with 0
  SIGINT again      (or after SIGTERM) exit at once, with 1
  SIGHUP            read the configuration again, as `tandem reload` does")]
    Run(RunArgs),
    /// Read a configuration file and report everything that is wrong with it
    #[command(after_help = "\
Examples:
  tandem check -c /etc/tandem.toml
  tandem check -c draft.toml --offline    On a machine without the devices and addresses
  tandem check -c draft.toml --json | jq -r '.findings[] | \"\\(.line): \\(.message)\"'

Exit code 0 when the file can be used, warnings or not.")]
    Check(CheckArgs),
    /// Show where a call would go, why, and what each trunk would be sent
    #[command(after_help = "\
Examples:
  tandem route callers +4930123456                      As the running tandem would do
  tandem route callers +4930123456 -c draft.toml        As this file says
  tandem route callers sip:100@example.com --header 'Privacy: id' --at '2026-12-24T20:00[Europe/Berlin]'
  tandem route callers 4930123456 --json | jq -r '.candidates[] | \"\\(.trunk) \\(.cost)\"'

Nothing is sent. Trunks that share a place by weight are drawn anew each time.")]
    Route(route::RouteArgs),
    /// Show the state of a running tandem: calls, devices, ports, refusals and drops
    #[command(after_help = "\
Examples:
  tandem status
  tandem status --json | jq .calls.active")]
    Status(Query),
    /// List, show or hang up calls
    #[command(after_help = "\
Examples:
  tandem calls                     The same as `tandem calls list`
  tandem calls list --limit 5000
  tandem calls show 17
  tandem calls hangup 17           Ends both legs with BYE
  tandem calls --json | jq '.calls[] | select(.state == \"established\") | .id'")]
    Calls(CallsArgs),
    /// Show the trunks: which peers are well, calls and limits, what was refused
    #[command(after_help = "\
Examples:
  tandem trunks
  tandem trunks --json | jq '.trunks[].peers[] | select(.state == \"down\") | .address'")]
    Trunks(Query),
    /// Tell what a call did, in order: messages, decisions, session descriptions, flows, its end
    #[command(after_help = "\
Examples:
  tandem explain 17                The call's number; `tandem calls` and the records have it
  tandem explain a84b4c76e66710    The Call-ID of either leg
  tandem explain 17 --json | jq -r '.lines[] | select(.kind == \"sdp\") | .text'

Calls that are over are remembered for a while: [explain] in the configuration.")]
    Explain(stories::ExplainArgs),
    /// Draw the signalling of a call as a ladder, or write it into a capture file
    #[command(after_help = "\
Examples:
  tandem trace 17
  tandem trace --keep on           Keep whole messages from now on
  tandem trace 17 --pcap call.pcap
  tandem trace --keep off

A capture file has the messages that passed while whole ones were kept.")]
    Trace(stories::TraceArgs),
    /// Print the records of calls that are over
    #[command(after_help = "\
Examples:
  tandem cdr tail
  tandem cdr tail -f --json")]
    Cdr(cdr::CdrArgs),
    /// Show what is known of names: where peers' names lead, and the records behind them
    #[command(after_help = "\
Examples:
  tandem dns
  tandem dns --json | jq '.names[] | select(.state != \"resolved\")'")]
    Dns(Query),
    /// Show what each worker, device and queue has carried: packets, drops, rings, residence time
    #[command(after_help = "\
Examples:
  tandem workers
  tandem workers --json | jq '.workers[] | {worker, rx_packets, tx_packets}'")]
    Workers(Query),
    /// Watch it: packets, bits, drops, rings, time and calls, each second
    #[command(after_help = "\
Examples:
  tandem top                          Until `q` is pressed; `?` tells the other keys
  tandem top --interval 5s
  tandem top --once                   One interval as tables
  tandem top --once --json | jq .totals.rx_pps
  tandem top --json | jq -c '[.at_ns, .totals.rx_pps, .drops]'    One line an interval")]
    Top(TopArgs),
    /// Show the flows of a call: addresses, latches, packets by worker
    #[command(after_help = "\
Examples:
  tandem flows 17
  tandem flows 17 --json | jq '.flows[] | {local, packets, wrong_source}'")]
    Flows(FlowsArgs),
    /// List, open or close sessions that are no call's: for load tests and scripts
    #[command(after_help = "\
Examples:
  tandem sessions                  The same as `tandem sessions list`
  tandem sessions open --a-media inside --b-media outside --a 10.1.0.2:20000 --b 10.2.0.2:20000
  tandem sessions flows 17
  tandem sessions close --all")]
    Sessions(sessions::SessionsArgs),
    /// Show our registrations at trunks: which stand, until when, and what failed
    #[command(after_help = "\
Examples:
  tandem registrations
  tandem registrations --json | jq '.registrations[] | select(.state != \"registered\")'")]
    Registrations(Query),
    /// Send one request of rtpengine's control protocol (ng), and print its reply
    #[command(after_help = "\
Examples:
  tandem ng '{\"command\":\"ping\"}'
  tandem ng '{\"command\":\"query\",\"call-id\":\"a84b4c76e66710\"}' --json | jq .totals
  tandem ng - < offer.json
  tandem ng '{\"command\":\"statistics\"}' --to 192.0.2.1:2223    Another one, over UDP: rtpengine as well

Exit code 1 when the reply is an error.")]
    Ng(ng::NgArgs),
    /// Read the configuration file again, and take over what has changed
    #[command(after_help = "\
Examples:
  tandem reload
  tandem reload --dry-run          What would change?
  tandem reload --json | jq -r '.changes[] | \"\\(.section) \\(.key)\"'

Calls that are up are not touched. A file with an error in it, or one that changes what needs a
restart (workers, devices, media, listeners, cdr, hep, log_rate, the admin socket), changes nothing:
exit code 1. Files that it names (tables, passwords, certificates) are read again too.
SIGHUP does the same, says so in the log, and opens the file of records anew.")]
    Reload(ReloadArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  tandem completions bash > /etc/bash_completion.d/tandem
  tandem completions zsh > /usr/share/zsh/site-functions/_tandem")]
    Completions(CompletionsArgs),
    /// Print the manual page
    #[command(after_help = "\
Examples:
  tandem man | man -l -
  tandem man > /usr/share/man/man1/tandem.1
  tandem man --json | jq -r .man    The same inside of a JSON object")]
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Write log messages as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Which log messages are written, instead of the configuration's `log`
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Check the file alone, not whether this machine has its devices, addresses and cores
    #[arg(long)]
    offline: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How to ask a running tandem, and how to print what it says.
#[derive(Debug, Args)]
struct Query {
    /// Print one JSON object on one line
    #[arg(long, global = true)]
    json: bool,
    /// The admin socket of the tandem to ask
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_ADMIN_SOCKET)]
    socket: PathBuf,
}

impl Query {
    fn client(&self) -> Client {
        Client::new(self.socket.clone())
    }
}

#[derive(Debug, Args)]
struct TopArgs {
    /// Print one interval and end
    #[arg(long)]
    once: bool,
    /// How long an interval is: 200ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = top::interval)]
    interval: Duration,
    #[command(flatten)]
    query: Query,
}

#[derive(Debug, Args)]
struct CallsArgs {
    #[command(subcommand)]
    verb: Option<CallsVerb>,
    #[command(flatten)]
    query: Query,
}

#[derive(Debug, Subcommand)]
enum CallsVerb {
    /// List the calls that are up, oldest first
    #[command(after_help = "Example:\n  tandem calls list --limit 5000")]
    List {
        /// List this many at the most
        #[arg(long, value_name = "N", default_value_t = crate::admin::protocol::DEFAULT_LIMIT)]
        limit: usize,
    },
    /// Show one call: its legs and its media
    #[command(after_help = "Example:\n  tandem calls show 17")]
    Show {
        /// The call's number in the list
        id: u64,
    },
    /// End a call with BYE towards both parties
    #[command(after_help = "Example:\n  tandem calls hangup 17")]
    Hangup {
        /// The call's number in the list
        id: u64,
    },
}

#[derive(Debug, Args)]
struct FlowsArgs {
    /// The call's number in `tandem calls`
    id: u64,
    #[command(flatten)]
    query: Query,
}

#[derive(Debug, Args)]
struct ReloadArgs {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    query: Query,
}

#[derive(Debug, Args)]
struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
    /// Print it as the `script` of a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ManArgs {
    /// Print it as the `man` of a JSON object
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Does what was asked for; the outcome is the process's exit code.
    pub(crate) fn execute(self) -> ExitCode {
        let outcome = match self.verb {
            Verb::Run(args) => return startup::run(&args),
            Verb::Check(args) => check::check(&args),
            Verb::Route(args) => route::route(&args),
            Verb::Status(query) => status::show(&query),
            Verb::Calls(args) => calls::execute(&args),
            Verb::Trunks(query) => trunks::show(&query),
            Verb::Explain(args) => stories::explain(&args),
            Verb::Trace(args) => stories::trace(&args),
            Verb::Cdr(args) => cdr::execute(&args),
            Verb::Dns(query) => dns::show(&query),
            Verb::Workers(query) => workers::show(&query),
            Verb::Top(args) => top::show(&args),
            Verb::Flows(args) => flows::show(&args),
            Verb::Sessions(args) => sessions::execute(&args),
            Verb::Registrations(query) => registrations::show(&query),
            Verb::Ng(args) => ng::ask(&args),
            Verb::Reload(args) => reload::reload(&args),
            Verb::Completions(args) => generate::completions(&args),
            Verb::Man(args) => generate::man(&args),
        };
        match outcome {
            Ok(code) => code,
            Err(failure) => {
                eprintln!("tandem: {failure}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Why a verb failed: one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration file could not be read.
    #[error(transparent)]
    Unreadable(#[from] crate::config::Unreadable),
    /// The machine's facts could not be read.
    #[error("cannot read what this machine has: {0}")]
    Host(std::io::Error),
    /// The running tandem could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// What was asked makes no sense.
    #[error("{0}")]
    Question(String),
    /// There were no two answers of one process.
    #[error("tandem was started again in this interval: its counters began anew")]
    Restarted,
    /// The terminal could not be used.
    #[error("cannot use the terminal: {0}")]
    Terminal(std::io::Error),
    /// No records are written.
    #[error(
        "no records of calls are written: the configuration has no [cdr] (`--file` names a file)"
    )]
    NoRecords,
    /// The file of records could not be read.
    #[error(transparent)]
    Records(#[from] crate::cdr::TailError),
    /// A capture file would be empty.
    #[error(
        "no whole message of this call was kept (`tandem trace --keep on` keeps those to come)"
    )]
    NoMessages,
    /// Some sessions were not opened: how many, by why.
    #[error("sessions were refused: {0}")]
    Refused(String),
    /// Counting up from the addresses ends before there are enough.
    #[error("there are fewer than {0} addresses from there on")]
    TooFewAddresses(usize),
    /// A file of streams could not be read or written.
    #[error("{}: {_1}", _0.display())]
    File(PathBuf, std::io::Error),
    /// What was asked for could not be written to stdout.
    #[error("cannot write to stdout: {0}")]
    Output(std::io::Error),
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
    fn every_verb_has_examples_in_its_help_and_speaks_json() {
        fn visit(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(help.contains("Example"), "{path} has no examples");
            for verb in command.get_subcommands() {
                visit(verb, &format!("{path} {}", verb.get_name()));
            }
        }
        let mut command = Cli::command();
        command.build();
        let named = |verb: &&mut clap::Command| verb.get_name() != "help";
        for verb in command.get_subcommands_mut().filter(named) {
            let name = verb.get_name().to_owned();
            let has_json = verb.get_arguments().any(|arg| arg.get_id() == "json");
            assert!(has_json, "{name} has no --json");
            let verb = verb.clone().disable_help_subcommand(true);
            let verbs: Vec<_> = verb
                .get_subcommands()
                .map(clap::Command::get_name)
                .collect();
            if verbs.is_empty() {
                visit(&verb, &name);
            }
        }
    }
}
