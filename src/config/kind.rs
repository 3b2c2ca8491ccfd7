//! What a key's value may be: each kind knows how to read it and how to say what it expects. A kind
//! looks at one value alone; what depends on other keys or on the machine is checked elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, PathBuf};
use std::time::Duration;

use contract::DscpMarking;
use regex::Regex;
use toml::de::DeValue;

use super::nearest::did_you_mean;

/// Why a value is not of its kind: the predicate of a sentence whose subject is the key.
type Problem = String;
type Parse<T> = Box<dyn Fn(&DeValue<'_>) -> Result<T, Problem>>;

/// A kind of value.
pub(crate) struct Kind<T> {
    expected: String,
    parse: Parse<T>,
}

impl<T: 'static> Kind<T> {
    fn new(
        expected: impl Into<String>,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Problem> + 'static,
    ) -> Self {
        Self {
            expected: expected.into(),
            parse: Box::new(parse),
        }
    }

    /// A kind that is written as a string.
    fn of_text(
        expected: impl Into<String>,
        parse: impl Fn(&str) -> Result<T, Problem> + 'static,
    ) -> Self {
        Self::new(expected, move |value| parse(as_text(value)?))
    }

    /// What is expected, for the operator.
    pub(crate) fn expected(&self) -> &str {
        &self.expected
    }

    /// Reads a value.
    pub(crate) fn parse(&self, value: &DeValue<'_>) -> Result<T, Problem> {
        (self.parse)(value)
    }
}

fn as_text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Problem> {
    value.as_str().ok_or_else(|| wrong_type(value))
}

fn wrong_type(value: &DeValue<'_>) -> Problem {
    let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) {
        "an"
    } else {
        "a"
    };
    format!("is {article} {}", value.type_str())
}

/// A name that other sections refer to: up to 32 letters, digits, `-`, `_` and `.`.
pub(crate) fn name() -> Kind<String> {
    let expected = "a name of 1 to 32 letters, digits, `-`, `_` and `.`, such as \"inside\"";
    Kind::of_text(expected, |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match text {
            "" => Err("is empty".to_owned()),
            _ if text.len() > 32 => Err("is too long".to_owned()),
            _ => match text.chars().find(|&c| !allowed(c)) {
                Some(c) => Err(format!("contains {c:?}")),
                None => Ok(text.to_owned()),
            },
        }
    })
}

/// A reference to another section's name: only that it is text is checked here.
pub(crate) fn reference(to: &str) -> Kind<String> {
    Kind::of_text(format!("the name of a {to}"), |text| Ok(text.to_owned()))
}

/// A network device's name (`dev_valid_name` in the kernel's net/core/dev.c).
pub(crate) fn device_name() -> Kind<String> {
    Kind::of_text(
        "the kernel's name of a network device, such as \"eth1\"",
        |text| {
            let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace();
            if text.is_empty() || text.len() > 15 || text == "." || text == ".." {
                Err("is not 1 to 15 bytes".to_owned())
            } else if text.contains(forbidden) {
                Err("contains a slash, colon or blank".to_owned())
            } else {
                Ok(text.to_owned())
            }
        },
    )
}

/// Where a Unix socket is: an absolute path that fits into `sun_path` (unix(7): 107 bytes), also with the
/// suffix `.new` that it is bound under.
pub(crate) fn socket_path() -> Kind<PathBuf> {
    const LONGEST: usize = 103;
    let expected = format!("an absolute path of at most {LONGEST} bytes");
    Kind::of_text(expected, |text| {
        let path = PathBuf::from(text);
        if !path.is_absolute() {
            Err("is not absolute".to_owned())
        } else if text.len() > LONGEST {
            Err(format!("has {} bytes", text.len()))
        } else if !matches!(path.components().next_back(), Some(Component::Normal(_))) {
            Err("names no file".to_owned())
        } else {
            Ok(path)
        }
    })
}

/// A whole number within bounds, both inclusive.
pub(crate) fn number(least: u64, most: u64) -> Kind<u64> {
    Kind::new(
        format!("a whole number from {least} to {most}"),
        move |value| {
            let integer = value.as_integer().ok_or_else(|| wrong_type(value))?;
            match u64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(format!("is {integer}")),
            }
        },
    )
}

/// A power of two within bounds, both inclusive.
pub(crate) fn power_of_two(least: u32, most: u32) -> Kind<u32> {
    let within = number(u64::from(least), u64::from(most));
    Kind::new(
        format!("a power of two from {least} to {most}"),
        move |value| {
            let number = within.parse(value)?;
            match u32::try_from(number) {
                Ok(number) if number.is_power_of_two() => Ok(number),
                _ => Err(format!("is {number}")),
            }
        },
    )
}

/// One of some words.
pub(crate) fn word<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> Kind<T> {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    Kind::of_text(format!("one of {}", quoted.join(", ")), |text| {
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|&(_, meaning)| meaning).ok_or_else(|| {
            let near = did_you_mean(text, words.iter().map(|(word, _)| *word));
            format!("is {text:?}{near}")
        })
    })
}

/// A duration within bounds, both inclusive: numbers with units, largest first.
pub(crate) fn duration(least: Duration, most: Duration) -> Kind<Duration> {
    let expected = format!(
        "a duration from {} to {}, such as \"30s\", \"500ms\" or \"1m30s\"",
        spell_duration(least),
        spell_duration(most)
    );
    Kind::of_text(expected, move |text| {
        let duration = read_duration(text).ok_or_else(|| format!("is {text:?}"))?;
        if (least..=most).contains(&duration) {
            Ok(duration)
        } else {
            Err(format!("is {text:?}"))
        }
    })
}

/// A duration, or `"off"`.
pub(crate) fn duration_or_off(least: Duration, most: Duration) -> Kind<Option<Duration>> {
    let within = duration(least, most);
    Kind::new(
        format!("{}, or \"off\"", within.expected()),
        move |value| match as_text(value)? {
            "off" => Ok(None),
            _ => within.parse(value).map(Some),
        },
    )
}

/// In microseconds, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// `1h30m`, `500ms`: every unit at most once, larger ones first. `None` when it is not that.
fn read_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut micros: u64 = 0;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let place = units.iter().position(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(units[place].1)?;
        micros = micros.checked_add(part)?;
        units = &units[place + 1..];
        rest = tail;
    }
    (!text.is_empty()).then_some(Duration::from_micros(micros))
}

/// A duration as `read_duration` reads it, to the microsecond.
pub(crate) fn spell_duration(duration: Duration) -> String {
    let mut micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut spelt = String::new();
    for (unit, length) in UNITS {
        if micros >= length {
            spelt.push_str(&format!("{}{unit}", micros / length));
            micros %= length;
        }
    }
    if spelt.is_empty() {
        "0s".to_owned()
    } else {
        spelt
    }
}

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

/// A peer: an address and port, or an address alone (port 0: any port).
pub(crate) fn peer_address() -> Kind<SocketAddr> {
    let expected = "an address and port, such as \"192.0.2.9:5060\" or \"[2001:db8::9]:5060\", or \
                    an address alone for any source port";
    Kind::of_text(expected, |text| match text.parse::<IpAddr>() {
        Ok(address) => Ok(SocketAddr::new(usable(address)?, 0)),
        Err(_) => address_and_port(text),
    })
}

fn address_and_port(text: &str) -> Result<SocketAddr, Problem> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("is {text:?}, which is no address and port"))?;
    usable(address.ip())?;
    match address.port() {
        0 => Err("has port 0".to_owned()),
        _ => Ok(address),
    }
}

fn usable(address: IpAddr) -> Result<IpAddr, Problem> {
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

/// A regular expression for a user part. The control plane makes it match the whole.
pub(crate) fn user_pattern() -> Kind<Regex> {
    let expected = "a regular expression for the whole user part, such as \"0049[0-9]+\"";
    Kind::of_text(expected, |text| {
        Regex::new(text).map_err(|error| {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or_default().trim();
            format!(
                "is no regular expression: {}",
                last.trim_start_matches("error: ")
            )
        })
    })
}

/// What becomes of the DSCP.
pub(crate) fn dscp() -> Kind<DscpMarking> {
    let code_point = number(0, 63);
    let expected = "a code point from 0 to 63 (46 is expedited forwarding), or \"preserve\"";
    Kind::new(expected, move |value| match value.as_str() {
        Some("preserve") => Ok(DscpMarking::Preserve),
        Some(text) => Err(format!("is {text:?}")),
        None => {
            let number = code_point.parse(value)?;
            u8::try_from(number)
                .map(DscpMarking::Set)
                .map_err(|_| format!("is {number}"))
        }
    })
}

/// A filter for log messages.
pub(crate) fn log_filter() -> Kind<String> {
    let expected = "a level (error, warn, info, debug, trace) or a filter such as \
                    \"info,controlplane=debug\"";
    Kind::of_text(expected, |text| {
        let known = tracing_subscriber::filter::EnvFilter::try_new(text);
        known
            .map(|_| text.to_owned())
            .map_err(|_| format!("is {text:?}"))
    })
}

/// The word "all", or `None` for anything else: the caller reads a list.
pub(crate) fn is_all(value: &DeValue<'_>) -> bool {
    value.as_str() == Some("all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: 'static>(kind: &Kind<T>, value: &str) -> Result<T, String> {
        let value = DeValue::parse(value).expect("the tests write valid TOML");
        kind.parse(value.get_ref())
    }

    #[test]
    fn durations() {
        let all = duration(Duration::ZERO, Duration::from_secs(86_400));
        let millis = |text: &str| read(&all, text).map(|d| d.as_millis());
        assert_eq!(millis("'500ms'"), Ok(500));
        assert_eq!(millis("'30s'"), Ok(30_000));
        assert_eq!(millis("'1m30s'"), Ok(90_000));
        assert_eq!(millis("'24h'"), Ok(86_400_000));
        let micros = read(&all, "'1ms50us'").map(|d| d.as_micros());
        assert_eq!(micros, Ok(1_050));
        for wrong in [
            "''",
            "'30'",
            "'s'",
            "'-1s'",
            "'1.5s'",
            "'1s1m'",
            "'1s1s'",
            "'1 s'",
            "'99999999999999999999s'",
            "'18446744073709551615h'",
            "'25h'",
            "30",
        ] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
        assert_eq!(spell_duration(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!(spell_duration(Duration::ZERO), "0s");
        let or_off = duration_or_off(Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(read(&or_off, "'off'"), Ok(None));
        assert!(read(&or_off, "'0s'").is_err());
    }

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
        assert!(read(&listen_address(), "'192.0.2.1:0'").is_err());
        assert!(read(&listen_address(), "'2001:db8::1:5060'").is_err());
        let any_port = read(&peer_address(), "'2001:db8::9'").expect("an address alone");
        assert_eq!(any_port.port(), 0);
        assert!(read(&peer_address(), "'[2001:db8::9]:5060'").is_ok());
        assert!(read(&peer_address(), "'[ff02::9]:5060'").is_err());
    }

    #[test]
    fn user_patterns_say_what_is_wrong_with_them() {
        assert!(read(&user_pattern(), "'1[0-9]+|alice'").is_ok());
        for wrong in ["'('", "'[0-'", "'\\p{nonsense}'"] {
            let problem = read(&user_pattern(), wrong).expect_err("it is wrong");
            assert!(
                problem.starts_with("is no regular expression: "),
                "{problem}"
            );
        }
    }

    #[test]
    fn numbers_and_words() {
        assert_eq!(read(&number(1, 9), "0x9"), Ok(9));
        assert_eq!(read(&number(1, 9), "10"), Err("is 10".to_owned()));
        assert_eq!(read(&number(1, 9), "-1"), Err("is -1".to_owned()));
        assert_eq!(read(&number(1, 9), "1.0"), Err("is a float".to_owned()));
        assert_eq!(read(&power_of_two(64, 4096), "2_048"), Ok(2048));
        assert_eq!(
            read(&power_of_two(64, 4096), "2000"),
            Err("is 2000".to_owned())
        );
        let words = word(&[("learn", 1), ("sdp", 2)]);
        assert_eq!(read(&words, "'sdp'"), Ok(2));
        assert_eq!(
            read(&words, "'lern'"),
            Err("is \"lern\" (did you mean `learn`?)".to_owned())
        );
        assert_eq!(read(&dscp(), "46"), Ok(DscpMarking::Set(46)));
        assert_eq!(read(&dscp(), "'preserve'"), Ok(DscpMarking::Preserve));
        assert!(read(&dscp(), "64").is_err());
        assert!(read(&dscp(), "'EF'").is_err());
    }

    #[test]
    fn names_devices_paths_and_filters() {
        assert!(read(&name(), "'inside-4.a_b'").is_ok());
        assert_eq!(read(&name(), "'a b'"), Err("contains ' '".to_owned()));
        assert!(read(&name(), "''").is_err());
        assert!(read(&device_name(), "'eth0.100'").is_ok());
        assert!(read(&device_name(), "'a/b'").is_err());
        assert!(read(&device_name(), "'a-name-too-long-'").is_err());
        assert!(read(&socket_path(), "'/run/tandem/admin.sock'").is_ok());
        assert!(read(&socket_path(), "'admin.sock'").is_err());
        assert!(read(&socket_path(), "'/'").is_err());
        let long = format!("'/{}'", "x".repeat(103));
        assert_eq!(read(&socket_path(), &long), Err("has 104 bytes".to_owned()));
        assert!(read(&log_filter(), "'info,controlplane=debug'").is_ok());
        assert!(read(&log_filter(), "'controlplane=loud'").is_err());
    }
}
