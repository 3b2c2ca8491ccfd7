//! Networks and bit rates.

use controlplane::settings::Network;

use super::Kind;

/// A network, or one host.
pub(crate) fn network() -> Kind<Network> {
    let expected = "a network such as \"192.0.2.0/24\" or \"2001:db8::/32\", or an address";
    Kind::of_text(expected, |text| {
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(Network::from(address));
        }
        let network: Network = text
            .parse()
            .map_err(|_| format!("is {text:?}, which is no network"))?;
        match network.trunc() == network {
            true => Ok(network),
            false => Err(format!("is {text:?}; the network is {}", network.trunc())),
        }
    })
}

/// Bits a second, with a unit: `"64k"`, `"100M"`, `"1G"`.
pub(crate) fn bit_rate() -> Kind<u64> {
    const UNITS: [(&str, u64); 3] = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
    let expected = "bits a second from \"1k\" to \"1000G\", such as \"512k\", \"100M\" or \"10G\"";
    Kind::of_text(expected, |text| {
        let wrong = || format!("is {text:?}");
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let (unit, scale) = unit.ok_or_else(wrong)?;
        let digits = text.strip_suffix(unit).unwrap_or_default();
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| plain);
        let bits = number.and_then(|number| number.checked_mul(*scale));
        bits.filter(|bits| (1_000..=1_000_000_000_000).contains(bits))
            .ok_or_else(wrong)
    })
}

#[cfg(test)]
mod tests {
    use super::super::read_for_tests as read;
    use super::*;

    #[test]
    fn networks_have_no_host_in_them() {
        assert!(read(&network(), "'10.0.0.0/8'").is_ok());
        assert!(read(&network(), "'2001:db8::/32'").is_ok());
        let host = read(&network(), "'192.0.2.7'").expect("a host");
        assert_eq!(host.to_string(), "192.0.2.7/32");
        assert_eq!(
            read(&network(), "'10.1.2.3/8'"),
            Err("is \"10.1.2.3/8\"; the network is 10.0.0.0/8".to_owned())
        );
        for wrong in ["'10.0.0.0/33'", "'here'", "''", "10"] {
            assert!(read(&network(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bit_rates_have_units() {
        assert_eq!(read(&bit_rate(), "'512k'"), Ok(512_000));
        assert_eq!(read(&bit_rate(), "'10G'"), Ok(10_000_000_000));
        for wrong in [
            "'0k'",
            "'100'",
            "'1.5M'",
            "'-1k'",
            "'M'",
            "'99999999999999999999G'",
            "64",
        ] {
            assert!(read(&bit_rate(), wrong).is_err(), "{wrong}");
        }
    }
}
