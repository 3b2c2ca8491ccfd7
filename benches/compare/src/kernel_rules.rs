//! The kernel's own forwarding, as an nftables ruleset: one DNAT and one SNAT rule, each with a map.
//!
//! ```text
//!   prerouting   destination (relay address, port)  ─► destination (party address, port)
//!   postrouting  destination (party address, port)  ─► source (relay address, port)
//! ```
//!
//! Both are looked up for the first packet of a stream; conntrack remembers the rest, also for the way back, which
//! has no rule of its own when A speaks first. It has one here, because B may.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tandem_load::streams::Stream;

use crate::error::Error;
use crate::streams::{self, directions, ipv4};

/// Print the nftables ruleset by which the kernel relays streams, for `nft -f -`
#[derive(Debug, Args)]
pub(crate) struct KernelRules {
    /// The stream file
    #[arg(long, value_name = "FILE")]
    streams: PathBuf,
}

impl KernelRules {
    /// Prints it.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let rules = ruleset(&streams::read(&self.streams)?)?;
        terminal::output::print(&rules).map_err(|error| Error::system("stdout", error))
    }
}

/// The table's name; nothing else of the namespace is touched.
const TABLE: &str = "comparison";

/// The ruleset for `nft -f`. Refuses streams that share a local port or a party, which a map cannot tell apart.
pub(crate) fn ruleset(streams: &[Stream]) -> Result<String, Error> {
    let mut to_party = Vec::new();
    let mut from_relay = Vec::new();
    let mut seen = HashSet::new();
    for direction in streams.iter().flat_map(directions) {
        if !seen.insert(direction.to) || !seen.insert(direction.destination) {
            return Err(Error::Usage(format!(
                "two streams at {} or {}",
                direction.to, direction.destination
            )));
        }
        to_party.push(element(direction.to, direction.destination)?);
        from_relay.push(element(direction.destination, direction.leaves_from)?);
    }
    let mut rules = String::new();
    let mut write = |text: &str| rules.push_str(text);
    write(&format!("table ip {TABLE} {{\n"));
    write(&map("to_party", &to_party));
    write(&map("from_relay", &from_relay));
    write(concat!(
        "\tchain prerouting {\n",
        "\t\ttype nat hook prerouting priority dstnat; policy accept;\n",
        "\t\tdnat ip to ip daddr . udp dport map @to_party\n",
        "\t}\n",
        "\tchain postrouting {\n",
        "\t\ttype nat hook postrouting priority srcnat; policy accept;\n",
        "\t\tsnat ip to ip daddr . udp dport map @from_relay\n",
        "\t}\n",
        "}\n",
    ));
    Ok(rules)
}

fn element(key: SocketAddr, value: SocketAddr) -> Result<String, Error> {
    let (key_address, value_address) = (ipv4(key)?, ipv4(value)?);
    Ok(format!(
        "{key_address} . {} : {value_address} . {}",
        key.port(),
        value.port()
    ))
}

fn map(name: &str, elements: &[String]) -> String {
    let mut text =
        format!("\tmap {name} {{\n\t\ttype ipv4_addr . inet_service : ipv4_addr . inet_service\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\t\telements = {{ {} }}\n\t}}",
        elements.join(",\n\t\t\t")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::chosen;

    #[test]
    fn every_direction_is_in_both_maps() {
        let rules = ruleset(&chosen(2)).expect("rules");
        let (to_party, from_relay) = rules.split_once("map from_relay").expect("two maps");
        for element in [
            "10.1.0.1 . 20000 : 10.2.0.2 . 20000",
            "10.2.0.1 . 20000 : 10.1.0.2 . 20000",
            "10.1.0.1 . 20002 : 10.2.0.2 . 20002",
        ] {
            assert!(to_party.contains(element), "{element} in {rules}");
        }
        for element in [
            "10.2.0.2 . 20000 : 10.2.0.1 . 20000",
            "10.1.0.2 . 20000 : 10.1.0.1 . 20000",
        ] {
            assert!(from_relay.contains(element), "{element} in {rules}");
        }
    }

    #[test]
    fn streams_that_a_map_cannot_tell_apart_are_refused() {
        assert!(ruleset(&[chosen(4)[3], chosen(4)[3]]).is_err());
        let mut two = chosen(2);
        two[1].b = two[0].b;
        assert!(ruleset(&two).is_err());
    }

    #[test]
    fn ipv6_is_refused() {
        let mut stream = chosen(1)[0];
        stream.a = "[fd01::2]:20000".parse().expect("an address");
        assert!(ruleset(&[stream]).is_err());
    }
}
