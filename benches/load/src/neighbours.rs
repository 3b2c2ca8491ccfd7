//! What the kernel knows of the network: next hops and own addresses, asked through `ip` (iproute2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cli::Mac;

/// How long a neighbour may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at the neighbour table.
const PAUSE: Duration = Duration::from_millis(50);
/// Where a datagram is sent to make the kernel resolve a neighbour: discard (RFC 863).
const DISCARD: u16 = 9;

/// Why the kernel could not tell.
#[derive(Debug, thiserror::Error)]
pub enum NeighbourError {
    /// No iproute2.
    #[error("cannot run `ip` (iproute2): {0}")]
    NoIp(io::Error),
    /// It said no.
    #[error("`ip {arguments}` failed: {reason}")]
    Refused {
        /// What was asked.
        arguments: String,
        /// What it said.
        reason: String,
    },
    /// Nobody answers.
    #[error(
        "{hop}, the next hop to {relay}, does not answer at {device}; `--next-hop-{side} MAC` needs no answer"
    )]
    Silent {
        /// The relay's address.
        relay: IpAddr,
        /// The neighbour.
        hop: IpAddr,
        /// The device.
        device: String,
        /// `a` or `b`.
        side: char,
    },
    /// The device has none.
    #[error("{device} has no address of the family that is needed")]
    NoAddress {
        /// The device.
        device: String,
    },
}

/// An address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    prefix_len: u32,
}

impl OwnAddress {
    /// Whether another is in its network.
    pub fn covers(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let difference = own.to_bits() ^ other.to_bits();
                difference.leading_zeros() >= self.prefix_len
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let difference = own.to_bits() ^ other.to_bits();
                difference.leading_zeros() >= self.prefix_len
            }
            _ => false,
        }
    }
}

/// The addresses of a device that are not link-local, in the kernel's order.
pub fn addresses(device: &str) -> Result<Vec<OwnAddress>, NeighbourError> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        addr_info: Vec<Info>,
    }
    #[derive(Deserialize)]
    struct Info {
        local: Option<IpAddr>,
        prefixlen: u32,
        scope: String,
    }
    let entries: Vec<Entry> = ask(&["-j", "address", "show", "dev", device])?;
    let infos = entries.into_iter().flat_map(|entry| entry.addr_info);
    Ok(infos
        .filter(|info| info.scope == "global")
        .filter_map(|info| {
            Some(OwnAddress {
                address: info.local?,
                prefix_len: info.prefixlen,
            })
        })
        .collect())
}

/// The MAC address of the next hop to `relay` by `device`; makes the kernel resolve it.
pub fn next_hop(device: &str, side: char, relay: IpAddr) -> Result<Mac, NeighbourError> {
    let hop = gateway(device, relay)?.unwrap_or(relay);
    let start = Instant::now();
    let mut asked = None;
    while start.elapsed() < PATIENCE {
        if let Some(mac) = neighbour(device, hop)? {
            return Ok(mac);
        }
        if asked.is_none_or(|asked: Instant| asked.elapsed() > Duration::from_secs(1)) {
            solicit(hop);
            asked = Some(Instant::now());
        }
        thread::sleep(PAUSE);
    }
    Err(NeighbourError::Silent {
        relay,
        hop,
        device: device.to_owned(),
        side,
    })
}

fn gateway(device: &str, relay: IpAddr) -> Result<Option<IpAddr>, NeighbourError> {
    #[derive(Deserialize)]
    struct Route {
        gateway: Option<IpAddr>,
    }
    let relay = relay.to_string();
    let routes: Vec<Route> = ask(&["-j", "route", "get", &relay, "oif", device])?;
    Ok(routes.first().and_then(|route| route.gateway))
}

fn neighbour(device: &str, hop: IpAddr) -> Result<Option<Mac>, NeighbourError> {
    #[derive(Deserialize)]
    struct Neighbour {
        lladdr: Option<String>,
        #[serde(default)]
        state: Vec<String>,
    }
    let hop = hop.to_string();
    let known: Vec<Neighbour> = ask(&["-j", "neighbour", "show", "to", &hop, "dev", device])?;
    let resolved = known.into_iter().find(|neighbour| {
        let unusable = |state: &String| state == "FAILED" || state == "INCOMPLETE";
        !neighbour.state.iter().any(unusable)
    });
    Ok(resolved
        .and_then(|neighbour| neighbour.lladdr)
        .and_then(|mac| mac.parse().ok()))
}

/// A datagram to nobody: what comes of it is seen in the neighbour table, or not.
fn solicit(hop: IpAddr) {
    let unspecified: IpAddr = match hop {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let sent = UdpSocket::bind(SocketAddr::new(unspecified, 0))
        .and_then(|socket| socket.send_to(&[], SocketAddr::new(hop, DISCARD)));
    drop(sent);
}

fn ask<T: DeserializeOwned + Default>(arguments: &[&str]) -> Result<T, NeighbourError> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(NeighbourError::NoIp)?;
    let refused = |reason: String| NeighbourError::Refused {
        arguments: arguments.join(" "),
        reason,
    };
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(refused(reason));
    }
    if output.stdout.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_their_addresses() {
        let own = |address: &str, prefix_len| OwnAddress {
            address: address.parse().expect("an address"),
            prefix_len,
        };
        let address = |text: &str| text.parse().expect("an address");
        assert!(own("10.1.0.2", 24).covers(address("10.1.0.77")));
        assert!(!own("10.1.0.2", 24).covers(address("10.1.1.2")));
        assert!(own("10.1.0.2", 0).covers(address("192.0.2.1")));
        assert!(!own("10.1.0.2", 32).covers(address("10.1.0.3")));
        assert!(own("fd01::2", 64).covers(address("fd01::99")));
        assert!(!own("fd01::2", 64).covers(address("fd02::2")));
        assert!(!own("fd01::2", 0).covers(address("10.0.0.1")));
    }

    #[test]
    fn the_loopback_has_addresses_but_none_to_be_reached_at() {
        assert_eq!(addresses("lo").expect("`ip` runs"), []);
        let error = addresses("no-such-dev0").expect_err("no device");
        assert!(error.to_string().contains("no-such-dev0"), "{error}");
    }
}
