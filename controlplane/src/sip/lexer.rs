//! Characters, lines and list elements: the lowest layer of reading SIP.
//!
//! Works on bytes, allocates nothing, and gives no meaning to what it finds.

use std::ops::Range;

/// A character of a token (RFC 3261 §25.1).
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}

/// White space within a value: space and tab, and the line ends of folding.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The text as a token, if it is one.
pub(super) fn token(text: &[u8]) -> Option<&str> {
    if text.is_empty() || !text.iter().copied().all(is_token) {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// A line of a message, or what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Where its text is, without the CRLF.
    Text(Range<usize>),
    /// A carriage return or line feed without the other, at this offset.
    Stray(usize),
    /// The bytes end before a CRLF.
    Unended,
}

/// The line that starts at `from`.
pub(super) fn line(bytes: &[u8], from: usize) -> Line {
    let rest = bytes.get(from..).unwrap_or_default();
    let Some(offset) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return Line::Unended;
    };
    match (rest.get(offset), rest.get(offset + 1)) {
        (Some(b'\r'), Some(b'\n')) => Line::Text(from..from + offset),
        (Some(b'\r'), None) => Line::Unended,
        _ => Line::Stray(from + offset),
    }
}

/// `range` of `bytes` without the white space at both ends.
pub(super) fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let Range { mut start, mut end } = range;
    while start < end && bytes.get(start).copied().is_some_and(is_space) {
        start += 1;
    }
    while start < end && bytes.get(end - 1).copied().is_some_and(is_space) {
        end -= 1;
    }
    start..end
}

/// The elements of a comma-separated list, trimmed, empty ones left out. A comma within a quoted
/// string or angle brackets separates nothing; a quote that is never closed reaches to the end.
pub(super) fn elements(value: &[u8]) -> Vec<Range<usize>> {
    #[derive(PartialEq)]
    enum Within {
        Plain,
        Quotes,
        Brackets,
    }
    let mut found = Vec::new();
    let mut within = Within::Plain;
    let mut start = 0;
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match (&within, byte) {
            (Within::Plain, b'"') => within = Within::Quotes,
            (Within::Plain, b'<') => within = Within::Brackets,
            (Within::Plain, b',') => {
                found.push(trimmed(value, start..at));
                start = at + 1;
            }
            (Within::Quotes, b'\\') => at += 1,
            (Within::Quotes, b'"') | (Within::Brackets, b'>') => within = Within::Plain,
            _ => {}
        }
        at += 1;
    }
    found.push(trimmed(value, start..value.len()));
    found.retain(|range| !range.is_empty());
    found
}

/// The value on one line: each fold, with the white space around it, becomes one space
/// (RFC 3261 §7.3.1).
pub(super) fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut flat = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if !matches!(byte, b'\r' | b'\n') {
            flat.push(byte);
            continue;
        }
        while bytes.peek().copied().is_some_and(is_space) {
            bytes.next();
        }
        while flat.last().copied().is_some_and(is_space) {
            flat.pop();
        }
        flat.push(b' ');
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(value: &str) -> Vec<&str> {
        let ranges = elements(value.as_bytes());
        ranges.into_iter().map(|range| &value[range]).collect()
    }

    #[test]
    fn commas_separate_except_within_quotes_and_brackets() {
        assert_eq!(split("a , b,c"), ["a", "b", "c"]);
        assert_eq!(
            split(r#""x,\",y" <sip:a,b@c>;d=e, f"#),
            [r#""x,\",y" <sip:a,b@c>;d=e"#, "f"]
        );
        assert_eq!(split(r#"<sip:a"b>, c"#), [r#"<sip:a"b>"#, "c"]);
        assert_eq!(split("  "), [""; 0]);
        assert_eq!(split(",a,,\r\n b ,"), ["a", "b"]);
        assert_eq!(split(r#""open, a"#), [r#""open, a"#]);
        assert_eq!(split(r#""open\"#), [r#""open\"#]);
    }

    #[test]
    fn lines_end_with_both_characters() {
        assert_eq!(line(b"ab\r\ncd", 0), Line::Text(0..2));
        assert_eq!(line(b"ab\r\ncd", 4), Line::Unended);
        assert_eq!(line(b"ab\ncd\r\n", 0), Line::Stray(2));
        assert_eq!(line(b"ab\rcd\r\n", 0), Line::Stray(2));
        assert_eq!(line(b"ab\r", 0), Line::Unended);
        assert_eq!(line(b"", 9), Line::Unended);
    }

    #[test]
    fn folds_become_one_space() {
        assert_eq!(unfolded(b"a \r\n\t b\r\n c"), b"a b c");
        assert_eq!(unfolded(b"plain  text"), b"plain  text");
    }
}
