//! The arguments of `tandem-load ng`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::Args;

pub(crate) const EXAMPLES: &str = "\
Examples:
  tandem-load ng --target tandem=192.0.2.1:2223 --caller 198.51.100.2 --callee 203.0.113.2
  tandem-load ng --target tandem=192.0.2.1:2223 --target rtpengine=192.0.2.9:2223 --caller 198.51.100.2 \\
      --callee 203.0.113.2 --interfaces inside,outside --clients 8 --json

Targets are measured one after the other; the ratio is that of the first to each other one. Whoever answers must be
allowed to be asked from here, and `list` and `statistics` must tell of these calls alone.";

/// Whom to ask, how hard, and about whose media.
#[derive(Clone, Debug, Args)]
pub struct NgArgs {
    /// Whom to ask, by UDP; the process, if it runs on this machine, for its processor time. May come several times
    #[arg(
        long = "target",
        value_name = "NAME=ADDRESS:PORT[@PID]",
        required = true
    )]
    pub targets: Vec<Target>,
    /// Where the offers say that the callers are
    #[arg(long, value_name = "ADDRESS")]
    pub caller: IpAddr,
    /// Where the answers say that the callees are
    #[arg(long, value_name = "ADDRESS")]
    pub callee: IpAddr,
    /// The interfaces that face them: `direction` of the offers
    #[arg(long, value_name = "CALLERS,CALLEES")]
    pub interfaces: Option<Interfaces>,
    /// Clients, each with a socket of its own
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub clients: u16,
    /// Calls that each client has under way at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub window: u16,
    /// How long calls are started, of each target
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Fail unless the first target carried out 5,000 commands a second with a 99th percentile under 10 ms, and none
    /// was lost, an error, or left anything
    #[arg(long)]
    pub check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is called in the report.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: Option<u32>,
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('=').ok_or("no NAME=ADDRESS:PORT")?;
        let (address, pid) = match rest.split_once('@') {
            None => (rest, None),
            Some((address, pid)) => {
                let pid = pid.parse().map_err(|_| "the process is no number")?;
                (address, Some(pid))
            }
        };
        let address = address.parse().map_err(|_| "no ADDRESS:PORT")?;
        match name {
            "" => Err("no name"),
            name => Ok(Self {
                name: name.to_owned(),
                address,
                pid,
            }),
        }
    }
}

/// The interfaces that face callers and callees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces(pub [String; 2]);

impl FromStr for Interfaces {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(',') {
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(',') => {
                Ok(Self([a.to_owned(), b.to_owned()]))
            }
            _ => Err("not two names"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_names_addresses_and_perhaps_processes() {
        let target: Target = "tandem=[fd01::1]:2223@42".parse().expect("a target");
        assert_eq!((target.name.as_str(), target.pid), ("tandem", Some(42)));
        assert!(target.address.is_ipv6());
        let target: Target = "x=10.1.0.1:2223".parse().expect("a target");
        assert_eq!(target.pid, None);
        for wrong in [
            "10.1.0.1:2223",
            "=10.1.0.1:2223",
            "x=10.1.0.1",
            "x=10.1.0.1:1@x",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn interfaces_are_two() {
        let Interfaces(two) = "inside,outside".parse().expect("two");
        assert_eq!(two, ["inside", "outside"]);
        for wrong in ["inside", ",", "a,b,c", "a,"] {
            assert!(wrong.parse::<Interfaces>().is_err(), "{wrong}");
        }
    }
}
