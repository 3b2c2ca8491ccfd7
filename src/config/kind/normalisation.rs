//! Kinds of values of a trunk's rules: header names and values, patterns, replacements, codecs.

use controlplane::normalise::FIXED;
use controlplane::settings::{CodecName, Pattern};
use controlplane::sip::HeaderName;
use regex::Regex;

use super::{Kind, wrong_type};

/// `true` or `false`.
pub(crate) fn boolean() -> Kind<bool> {
    Kind::new("true or false", |value| {
        value.as_bool().ok_or_else(|| wrong_type(value))
    })
}

/// A header that rules may name.
pub(crate) fn header_name() -> Kind<HeaderName> {
    let expected = "the name of a header that is not made for each leg, such as \"X-Carrier\"";
    Kind::of_text(expected, |text| {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
        if text.is_empty() || !text.chars().all(is_token) {
            return Err(format!("is {text:?}, which is no token"));
        }
        let name = HeaderName::from(text);
        match FIXED.contains(&name) {
            true => Err(format!("is {text:?}, which has rules of its own or none")),
            false => Ok(name),
        }
    })
}

/// A header's value.
pub(crate) fn header_value() -> Kind<String> {
    let expected = "text of one line without control characters";
    Kind::of_text(expected, |text| match text.chars().any(char::is_control) {
        true => Err("has a control character".to_owned()),
        false => Ok(text.to_owned()),
    })
}

/// A regular expression for a whole text.
pub(crate) fn pattern() -> Kind<Pattern> {
    let expected = "a regular expression for the whole text, such as \"00([1-9][0-9]*)\"";
    Kind::of_text(expected, |text| {
        let whole = Regex::new(text).and_then(|regex| Pattern::whole(&regex));
        whole.map_err(|error| {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or_default().trim();
            format!(
                "is no regular expression: {}",
                last.trim_start_matches("error: ")
            )
        })
    })
}

/// What takes a text's place.
pub(crate) fn replacement() -> Kind<String> {
    let expected = "text with captures of `match`, such as \"+$1\" or \"+${1}0\"";
    Kind::of_text(expected, |text| match text.chars().any(char::is_control) {
        true => Err("has a control character".to_owned()),
        false => Ok(text.to_owned()),
    })
}

/// The first capture that a replacement names and the pattern does not have.
pub(crate) fn unknown_capture(pattern: &Pattern, replacement: &str) -> Option<String> {
    let known = |name: &str| match name.parse::<usize>() {
        Ok(number) => number < pattern.regex().captures_len(),
        Err(_) => pattern
            .regex()
            .capture_names()
            .flatten()
            .any(|known| known == name),
    };
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(escaped) = after.strip_prefix('$') {
            rest = escaped;
            continue;
        }
        let (name, end) = match after.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((name, end)) => (name, end),
                None => return None,
            },
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let length = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
                after.split_at(length)
            }
        };
        if !name.is_empty() && !known(name) {
            return Some(name.to_owned());
        }
        rest = end;
    }
    None
}

/// A codec by its encoding name, with or without its clock rate.
pub(crate) fn codec() -> Kind<CodecName> {
    let expected =
        "a codec's name, with its clock rate if it matters, such as \"PCMA\" or \"L16/44100\"";
    Kind::of_text(expected, |text| {
        let (name, rate) = match text.split_once('/') {
            Some((name, rate)) => (name, Some(rate)),
            None => (text, None),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
        let rate = rate.map(str::parse::<u32>).transpose();
        match rate {
            Ok(rate) if !name.is_empty() && name.chars().all(is_name) => Ok(CodecName {
                name: name.to_ascii_lowercase(),
                rate,
            }),
            _ => Err(format!("is {text:?}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::read_for_tests as read;
    use super::*;

    #[test]
    fn headers_that_are_made_for_each_leg_have_no_rules() {
        assert!(read(&header_name(), "'X-Carrier'").is_ok());
        assert!(read(&header_name(), "'Subject'").is_ok());
        for wrong in ["'Via'", "'v'", "'a b'", "''", "'x:'"] {
            assert!(read(&header_name(), wrong).is_err(), "{wrong}");
        }
        assert!(read(&header_value(), r#""a\r\nEvil: 1""#).is_err());
    }

    #[test]
    fn codecs_have_a_name_and_perhaps_a_rate() {
        let codec_of = |text| read(&codec(), text).map(|codec| (codec.name, codec.rate));
        assert_eq!(codec_of("'PCMA'"), Ok(("pcma".to_owned(), None)));
        assert_eq!(
            codec_of("'L16/44100'"),
            Ok(("l16".to_owned(), Some(44_100)))
        );
        for wrong in ["'/8000'", "'a b'", "'PCMA/'", "'PCMA/8000/1'"] {
            assert!(codec_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn replacements_name_only_what_was_captured() {
        let pattern = read(&pattern(), "'(a)(?<rest>b)'").expect("a pattern");
        let unknown = |text| unknown_capture(&pattern, text);
        for right in ["$0$1$2", "${rest}x", "$rest", "$$9", "x", "${", "$"] {
            assert_eq!(unknown(right), None, "{right}");
        }
        assert_eq!(unknown("$3"), Some("3".to_owned()));
        assert_eq!(unknown("+$1x"), Some("1x".to_owned()));
        assert_eq!(unknown("${other}"), Some("other".to_owned()));
    }
}
