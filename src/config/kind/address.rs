//! Addresses and ports.

use std::net::{IpAddr, SocketAddr};

use super::{Kind, Problem};

/// An address that one host can have and others can send to.
pub(crate) fn ip_address() -> Kind<IpAddr> {
    let expected = "an IPv4 or IPv6 unicast address, such as \"192.0.2.1\" or \"2001:db8::1\"";
    Kind::of_text(expected, |text| {
        let address = text
            .parse()
            .map_err(|_| format!("is {text:?}, which is no IP address"))?;
        usable(address)
    })
}

/// An address and port of this host.
pub(crate) fn listen_address() -> Kind<SocketAddr> {
    let expected = "an address and port, such as \"192.0.2.1:5060\" or \"[2001:db8::1]:5060\"";
    Kind::of_text(expected, address_and_port)
}

/// The same, or all of its addresses.
pub(crate) fn control_address() -> Kind<SocketAddr> {
    let expected = "an address and port, such as \"127.0.0.1:2223\" or \"[::1]:2223\"";
    Kind::of_text(expected, |text| match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() && address.port() != 0 => Ok(address),
        _ => address_and_port(text),
    })
}

/// The address that others know a listener by, behind a NAT; port 0 when none is said.
pub(crate) fn advertised_address() -> Kind<SocketAddr> {
    let expected = "the address that a NAT gives to this one, such as \"203.0.113.1\", with a port if that \
                    differs";
    Kind::of_text(expected, |text| match text.parse::<IpAddr>() {
        Ok(address) => Ok(SocketAddr::new(usable(address)?, 0)),
        Err(_) => address_and_port(text),
    })
}

/// A domain name that a certificate can hold.
pub(crate) fn host_name() -> Kind<String> {
    Kind::of_text("a domain name, such as \"sbc.example.org\"", |text| {
        let label = |label: &str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            (1..=63).contains(&label.len()) && label.chars().all(inner)
        };
        match text.len() <= 253 && text.split('.').all(label) {
            true => Ok(text.to_ascii_lowercase()),
            false => Err(format!("is {text:?}, which is no domain name")),
        }
    })
}

pub(super) fn address_and_port(text: &str) -> Result<SocketAddr, Problem> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("is {text:?}, which is no address and port"))?;
    usable(address.ip())?;
    match address.port() {
        0 => Err("has port 0".to_owned()),
        _ => Ok(address),
    }
}

pub(super) fn usable(address: IpAddr) -> Result<IpAddr, Problem> {
    let why_not = match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4 address in IPv6 clothes"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    };
    match why_not {
        Some(what) => Err(format!("is {what}")),
        None => Ok(address),
    }
}

/// A range of media ports, `FIRST-LAST`: RTP takes the even port of a pair, RTCP the odd one.
pub(crate) fn port_range() -> Kind<(u16, u16)> {
    let expected = "a range of ports from 1024 up, the first even and the last odd, such as \
                    \"20000-29999\"";
    Kind::of_text(expected, |text| {
        let numbers = text.split_once('-').and_then(|(first, last)| {
            let first = first.trim().parse::<u16>().ok()?;
            Some((first, last.trim().parse::<u16>().ok()?))
        });
        let Some((first, last)) = numbers else {
            return Err(format!("is {text:?}, which is no range of ports"));
        };
        if first > last {
            Err("ends before it begins".to_owned())
        } else if first < 1024 {
            Err(format!("begins at {first}"))
        } else if first % 2 != 0 {
            Err(format!("begins at {first}, which is odd"))
        } else if last % 2 == 0 {
            Err(format!("ends at {last}, which is even"))
        } else {
            Ok((first, last))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::read_for_tests as read;
    use super::*;

    #[test]
    fn port_ranges_are_even_to_odd() {
        assert_eq!(read(&port_range(), "'20000-29999'"), Ok((20_000, 29_999)));
        assert_eq!(read(&port_range(), "'1024 - 65535'"), Ok((1024, 65_535)));
        let problem = |text| read(&port_range(), text).expect_err("it is wrong");
        assert_eq!(problem("'20001-29999'"), "begins at 20001, which is odd");
        assert_eq!(problem("'20000-30000'"), "ends at 30000, which is even");
        assert_eq!(problem("'30000-20001'"), "ends before it begins");
        assert_eq!(problem("'80-99'"), "begins at 80");
        assert_eq!(
            problem("'20000-65536'"),
            "is \"20000-65536\", which is no range of ports"
        );
        assert_eq!(problem("20000"), "is an integer");
    }

    #[test]
    fn names_are_domain_names_and_no_wildcards() {
        let name = |text| read(&host_name(), text);
        assert_eq!(name("'SBC.example.org'"), Ok("sbc.example.org".to_owned()));
        for wrong in [
            "''",
            "'*.example.org'",
            "'a..b'",
            "'sip:a.example'",
            "'a b'",
        ] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        let port = read(&advertised_address(), "'203.0.113.1'").map(|to| to.port());
        assert_eq!(port, Ok(0));
        assert!(read(&advertised_address(), "'203.0.113.1:5060'").is_ok());
        assert!(read(&advertised_address(), "'example.org'").is_err());
    }

    #[test]
    fn addresses_are_unicast_and_global_enough_to_be_announced() {
        assert!(read(&ip_address(), "'192.0.2.1'").is_ok());
        assert!(read(&ip_address(), "'2001:db8::1'").is_ok());
        for wrong in [
            "'0.0.0.0'",
            "'::'",
            "'224.0.0.1'",
            "'ff02::1'",
            "'255.255.255.255'",
            "'fe80::1'",
            "'::ffff:192.0.2.1'",
            "'example.org'",
            "'192.0.2.1/24'",
            "true",
        ] {
            assert!(read(&ip_address(), wrong).is_err(), "{wrong}");
        }
        assert!(read(&listen_address(), "'192.0.2.1:5060'").is_ok());
        assert!(read(&listen_address(), "'192.0.2.1'").is_err());
        assert!(read(&control_address(), "'127.0.0.1:2223'").is_ok());
        assert!(read(&control_address(), "'0.0.0.0:2223'").is_ok());
        assert!(read(&control_address(), "'0.0.0.0:0'").is_err());
        assert!(read(&listen_address(), "'192.0.2.1:0'").is_err());
        assert!(read(&listen_address(), "'2001:db8::1:5060'").is_err());
    }
}
