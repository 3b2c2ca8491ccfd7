//! The arguments of `tandem-load calls`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

pub(crate) const EXAMPLES: &str = "\
Examples:
  tandem-load calls --target 192.0.2.1:5060 --callee-listen 198.51.100.2:5060 --rates 50
  tandem-load calls --target 192.0.2.1:5060 --rates 100,200,400 --seconds 60 --svg calls.svg
  tandem-load calls --callee-listen 198.51.100.2:5060       On the second machine, until Ctrl-C
  tandem-load calls --target 192.0.2.1:5060 --rates 20 --concurrent 5000 --json

With --target it calls, with --callee-listen it answers, with both it does both. Without --audio the
parties negotiate audio and send none: the relay installs every flow, but a media timeout shorter than
the calls would end them. Needs SIPp 3.6 (sip-tester).";

/// Whom to call, how often, and for how long.
#[derive(Clone, Debug, Args)]
pub struct CallsArgs {
    /// Where the calls go: the relay's SIP address that faces the callers
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        required_unless_present = "callee_listen"
    )]
    pub target: Option<SocketAddr>,
    /// Where the callers are; otherwise the address from which the target is reached, and port 5060
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "target")]
    pub caller_listen: Option<Place>,
    /// Answer calls here
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub callee_listen: Option<Place>,
    /// The user part of the number that is called
    #[arg(long, value_name = "NUMBER", default_value = "4711")]
    pub number: String,
    /// Calls a second, one trial for each
    #[arg(long, value_name = "CALLS", value_delimiter = ',', default_value = "50",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rates: Vec<u32>,
    /// How long calls are started at each rate
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// How long each call talks
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = length)]
    pub length: f64,
    /// Calls that are to be up at a time: each talks as long as that takes, this number by the rate
    #[arg(long, value_name = "CALLS", conflicts_with = "length",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub concurrent: Option<u32>,
    /// Never more calls up than this; SIPp then starts fewer, and the trial does not pass
    #[arg(long, value_name = "CALLS", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub most: u32,
    /// How long after the last call has ended, or should have, it waits for it
    #[arg(long, value_name = "SECONDS", default_value_t = 15,
        value_parser = clap::value_parser!(u32).range(1..=300))]
    pub patience: u32,
    /// How long after the trial the relay's memory is looked at last: transactions keep some for 32 s (64 T1)
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "relay_pid",
        value_parser = clap::value_parser!(u32).range(0..=600))]
    pub settle: u32,
    /// The parties send audio: G.711, 20 ms a packet. SIPp keeps time only roughly, for some hundred calls
    #[arg(long)]
    pub audio: bool,
    /// The network namespace of the callers
    #[arg(long, value_name = "NAME", requires = "target")]
    pub caller_netns: Option<String>,
    /// The network namespace of the callees
    #[arg(long, value_name = "NAME", requires = "callee_listen")]
    pub callee_netns: Option<String>,
    /// The cores that SIPp may use, as `taskset` takes them
    #[arg(long, value_name = "CORES")]
    pub core: Option<String>,
    /// The relay's process, if it runs on this machine: its memory and processor time are reported
    #[arg(long, value_name = "PID", requires = "target",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub relay_pid: Option<u32>,
    /// Leave SIPp's own files in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub logs: Option<PathBuf>,
    /// Write a plot to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object on one line
    #[arg(long)]
    pub json: bool,
}

impl CallsArgs {
    /// How long each call talks at this rate, in milliseconds.
    pub(super) fn length_ms(&self, rate: u32) -> u64 {
        let seconds = match self.concurrent {
            Some(calls) => f64::from(calls) / f64::from(rate.max(1)),
            None => self.length,
        };
        (seconds * 1e3).round().max(1.0) as u64
    }

    /// The bound on calls at a time at this rate: half more than needed, for calls that take long to end.
    pub(super) fn limit(&self, rate: u32) -> u32 {
        let needed = u64::from(rate) * (self.length_ms(rate) + 1000) / 1000;
        let bound = needed + needed / 2 + 10;
        u32::try_from(bound).unwrap_or(u32::MAX).min(self.most)
    }
}

/// An address, and a port that may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The port; 5060 when none was named.
    pub port: u16,
}

impl Place {
    pub(super) fn at(address: IpAddr) -> Self {
        Self {
            address,
            port: 5060,
        }
    }

    /// The address as SIPp takes it: IPv6 in brackets.
    pub(super) fn host(&self) -> String {
        match self.address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        }
    }

    pub(super) fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let whole = text.parse::<SocketAddr>();
        let place = match (whole, bare.parse()) {
            (Ok(socket), _) => Self {
                address: socket.ip(),
                port: socket.port(),
            },
            (_, Ok(address)) => Self::at(address),
            _ => {
                return Err(
                    "no address like 192.0.2.1, 192.0.2.1:5060 or [2001:db8::1]:5060".into(),
                );
            }
        };
        match place.address.is_unspecified() || place.port == 0 {
            true => Err("an address that others can reach, and a port".to_owned()),
            false => Ok(place),
        }
    }
}

fn length(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=86_400.0).contains(&number) => Ok(number),
        _ => Err("not from 0 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_with_and_without_a_port() {
        let hosts = [
            "10.1.0.2",
            "10.1.0.2:5062",
            "fd01::2",
            "[fd01::2]",
            "[fd01::2]:5062",
        ]
        .map(|text| {
            text.parse::<Place>()
                .map(|place| (place.host(), place.port))
        });
        let v4 = |port| Ok(("10.1.0.2".to_owned(), port));
        let v6 = |port| Ok(("[fd01::2]".to_owned(), port));
        assert_eq!(hosts, [v4(5060), v4(5062), v6(5060), v6(5060), v6(5062)]);
        for bad in ["", "x", "10.1.0.2:", "10.1.0.2:0", "0.0.0.0:5060", "::"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn concurrency_makes_the_length_and_bounds_the_calls() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: CallsArgs,
        }
        let parse = |more: &[&str]| {
            let line = ["x", "--target", "10.1.0.1:5060"];
            <Line as clap::Parser>::try_parse_from(line.iter().chain(more)).map(|line| line.args)
        };
        let args = parse(&["--concurrent", "5000"]).expect("arguments");
        assert_eq!(args.length_ms(20), 250_000);
        assert_eq!(args.limit(20), 7540);
        let args = parse(&["--length", "0", "--most", "12"]).expect("arguments");
        assert_eq!((args.length_ms(7), args.limit(7)), (1, 12));
        assert!(parse(&["--length", "1", "--concurrent", "2"]).is_err());
        assert!(parse(&["--callee-netns", "x"]).is_err());
    }
}
