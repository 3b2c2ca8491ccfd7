//! What a key's value may be: each kind knows how to read it and how to say what it expects. A kind
//! looks at one value alone; what depends on other keys or on the machine is checked elsewhere.

mod address;
mod duration;
mod normalisation;
mod peer;
mod secret;
mod time;
mod traffic;

use std::path::{Component, PathBuf};

use contract::DscpMarking;
use regex::Regex;
use toml::de::DeValue;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::nearest::did_you_mean;

pub(crate) use address::{
    advertised_address, control_address, host_name, ip_address, listen_address, port_range,
};
pub(crate) use duration::{duration, duration_or_off, read_duration, spell_duration};
pub(crate) use normalisation::{
    boolean, codec, header_name, header_value, pattern, replacement, unknown_capture,
};
pub(crate) use peer::{Peer, name_server, peer, server};
pub(crate) use secret::{
    SECRET_KEYS, digest_text, domain, ha1, password, password_file, user_part,
};
pub(crate) use time::{of_time, time_zone};
pub(crate) use traffic::{bit_rate, network};

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

/// A file that is read or written: an absolute path.
pub(crate) fn file_path() -> Kind<PathBuf> {
    Kind::of_text("an absolute path of a file", |text| {
        let path = PathBuf::from(text);
        if !path.is_absolute() {
            Err("is not absolute".to_owned())
        } else if !matches!(path.components().next_back(), Some(Component::Normal(_))) {
            Err("names no file".to_owned())
        } else {
            Ok(path)
        }
    })
}

/// A directory: an absolute path.
pub(crate) fn directory_path() -> Kind<PathBuf> {
    Kind::of_text(
        "an absolute path of a directory",
        |text| match PathBuf::from(text) {
            _ if text.contains('\0') => Err("has a NUL in it".to_owned()),
            path if path.is_absolute() => Ok(path),
            _ => Err("is not absolute".to_owned()),
        },
    )
}

/// What somebody knows us by: it is never shown.
pub(crate) fn shared_secret() -> Kind<String> {
    Kind::of_text("1 to 64 printable characters", |text| {
        match (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(text.to_owned()),
            false => Err("is empty, too long, or not printable".to_owned()),
        }
    })
}

/// Where a file is: absolute, or from the configuration file's directory.
pub(crate) fn table_path() -> Kind<PathBuf> {
    let expected = "a file's path, from the directory of the configuration file unless absolute";
    Kind::of_text(expected, |text| {
        let path = PathBuf::from(text);
        match path.components().next_back() {
            Some(Component::Normal(_)) if !text.contains('\0') => Ok(path),
            _ => Err("names no file".to_owned()),
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
    Kind::of_text(expected, |text| match is_log_filter(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("is {text:?}")),
    })
}

/// Whether this is a level or a filter. A word alone that is no level, "verbose", would be the name of a
/// module that there is not, and so silence everything: it is refused.
pub(crate) fn is_log_filter(text: &str) -> bool {
    let named = |part: &str| part.contains(['=', '[']) || part.parse::<LevelFilter>().is_ok();
    EnvFilter::try_new(text).is_ok() && text.split(',').map(str::trim).all(named)
}

/// Whatever it is: the caller reads it.
pub(crate) fn anything(expected: &str) -> Kind<()> {
    Kind::new(expected, |_| Ok(()))
}

/// The word "all", or `None` for anything else: the caller reads a list.
pub(crate) fn is_all(value: &DeValue<'_>) -> bool {
    value.as_str() == Some("all")
}

/// Reads a value in TOML's spelling.
#[cfg(test)]
fn read_for_tests<T: 'static>(kind: &Kind<T>, value: &str) -> Result<T, String> {
    let value = DeValue::parse(value).expect("the tests write valid TOML");
    kind.parse(value.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use read_for_tests as read;

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
        assert!(read(&log_filter(), "'off'").is_ok());
        assert!(read(&log_filter(), "'controlplane=loud'").is_err());
        assert!(read(&log_filter(), "'verbose'").is_err());
        assert!(read(&log_filter(), "'info,verbose'").is_err());
    }
}
