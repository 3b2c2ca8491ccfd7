//! Peers and name servers: addresses, and names that lead to some.

use std::net::{IpAddr, SocketAddr};

use controlplane::resolver::{Destination, DomainName};
use controlplane::settings::Transport;

use super::address::{address_and_port, usable};
use super::{Kind, Problem};

/// The port of name servers (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// At an address and port; port 0: any.
    Address(SocketAddr),
    /// Where the DNS says.
    Name(Destination),
}

/// A peer: an address and port, an address alone (port 0: any port), or a name.
pub(crate) fn peer() -> Kind<Peer> {
    let expected = "an address and port, such as \"192.0.2.9:5060\" or \"[2001:db8::9]:5060\", an address alone \
                    for any source port, or a name, such as \"sip.carrier.example\" or \
                    \"sip.carrier.example:5060\"";
    Kind::of_text(expected, read_peer)
}

fn read_peer(text: &str) -> Result<Peer, Problem> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Peer::Address(SocketAddr::new(usable(address)?, 0)));
    }
    match named(text) {
        Some(destination) => Ok(Peer::Name(destination?)),
        None => address_and_port(text).map(Peer::Address),
    }
}

/// A proxy or registrar: an address and port, an address alone (port 0: the default port), or a name.
pub(crate) fn server() -> Kind<Peer> {
    let expected = "an address, such as \"192.0.2.9\", an address and port, such as \"[2001:db8::9]:5061\", or a \
                    name, such as \"sip.carrier.example\"";
    Kind::of_text(expected, read_peer)
}

/// A name server: an address, with a port other than 53 if need be.
pub(crate) fn name_server() -> Kind<SocketAddr> {
    let expected = "an address, such as \"192.0.2.53\", or an address and port";
    Kind::of_text(expected, |text| match text.parse::<IpAddr>() {
        Ok(address) => Ok(SocketAddr::new(usable(address)?, DNS_PORT)),
        Err(_) => address_and_port(text),
    })
}

/// A name with its port and transport, if it is meant for one: its last label begins with a letter (RFC 3261
/// §25.1, `toplabel`).
fn named(text: &str) -> Option<Result<Destination, Problem>> {
    let (host, transport) = text.split_once(";transport=").unwrap_or((text, ""));
    let (host, port) = match host.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    };
    let last = host.trim_end_matches('.').rsplit('.').next()?;
    if !last.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let host = DomainName::parse(host)?;
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => return Some(Err(format!("is {text:?}, whose port is none"))),
    };
    let transport = match Transport::named(transport) {
        None if !transport.is_empty() => {
            return Some(Err(format!("is {text:?}, whose transport is none")));
        }
        transport => transport,
    };
    Some(Ok(Destination {
        transport,
        ..Destination::of(host, port)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::read_for_tests as read;
    use super::*;

    #[test]
    fn peers_are_addresses_or_names() {
        let address = |text: &str| match read(&peer(), text) {
            Ok(Peer::Address(address)) => address.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(address("'2001:db8::9'"), "[2001:db8::9]:0");
        assert_eq!(address("'[2001:db8::9]:5060'"), "[2001:db8::9]:5060");
        assert_eq!(address("'192.0.2.9:5080'"), "192.0.2.9:5080");
        let name = |text: &str| match read(&peer(), text) {
            Ok(Peer::Name(destination)) => destination.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(name("'SIP.Carrier.Example.'"), "sip.carrier.example");
        assert_eq!(name("'localhost'"), "localhost");
        assert_eq!(name("'1und1.example:5070'"), "1und1.example:5070");
        let both = name("'a.example:5061;transport=TLS'");
        assert_eq!(both, "a.example:5061;transport=tls");
        for wrong in [
            "'[ff02::9]:5060'",
            "'192.0.2.9:0'",
            "'192.0.2.300'",
            "'a.example:0'",
            "'a.example:x'",
            "'a.example;transport=ws'",
            "'a b.example'",
            "'sip:a.example'",
            "''",
            "5060",
        ] {
            assert!(read(&peer(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn name_servers_are_addresses() {
        let server = |text| read(&name_server(), text).map(|server| server.to_string());
        assert_eq!(server("'192.0.2.53'").as_deref(), Ok("192.0.2.53:53"));
        assert_eq!(server("'127.0.0.1:5353'").as_deref(), Ok("127.0.0.1:5353"));
        assert_eq!(server("'::1'").as_deref(), Ok("[::1]:53"));
        assert!(server("'ns.example'").is_err());
    }
}
