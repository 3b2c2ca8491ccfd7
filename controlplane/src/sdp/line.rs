//! One line of a session description, and the fields in it.

use std::ops::Range;

/// A line: its bytes, and the ending that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Without the ending.
    pub(super) text: Vec<u8>,
    pub(super) ending: Ending,
}

/// How a line ends. RFC 8866 §9 wants CRLF and tells receivers to take LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    CrLf,
    Lf,
    /// The body ends here.
    None,
}

impl Ending {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
            Self::None => b"",
        }
    }
}

impl Line {
    /// Every line of a body. Joined again with [`Line::write`] they are the body.
    pub(super) fn split(body: &[u8]) -> impl Iterator<Item = Self> + '_ {
        body.split_inclusive(|byte| *byte == b'\n').map(|raw| {
            let (text, ending) = if let Some(text) = raw.strip_suffix(b"\r\n") {
                (text, Ending::CrLf)
            } else if let Some(text) = raw.strip_suffix(b"\n") {
                (text, Ending::Lf)
            } else {
                (raw, Ending::None)
            };
            Self {
                text: text.to_vec(),
                ending,
            }
        })
    }

    /// Appends the line and its ending.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.text);
        to.extend_from_slice(self.ending.bytes());
    }

    /// What follows `<kind>=`, when the line is of that kind.
    pub(super) fn value(&self, kind: u8) -> Option<&[u8]> {
        match self.text.as_slice() {
            [first, b'=', value @ ..] if *first == kind => Some(value),
            _ => None,
        }
    }

    /// The name and value of an attribute: `a=name` or `a=name:value`.
    pub(super) fn attribute(&self) -> Option<(&[u8], Option<&[u8]>)> {
        let body = self.value(b'a')?;
        match body.iter().position(|byte| *byte == b':') {
            Some(colon) => Some((&body[..colon], Some(&body[colon + 1..]))),
            None => Some((body, None)),
        }
    }

    /// The value of the attribute of this name; of a bare attribute, the empty value.
    pub(super) fn attribute_named(&self, wanted: &str) -> Option<&[u8]> {
        let (name, value) = self.attribute()?;
        is_token(name, wanted).then(|| value.unwrap_or_default())
    }
}

/// Where the fields of a line are: runs of bytes between spaces.
pub(super) fn fields(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text.get(at..)?.iter().position(|byte| *byte != b' ')?;
        let length = text[start..].iter().position(|byte| *byte == b' ');
        at = length.map_or(text.len(), |length| start + length);
        Some(start..at)
    })
}

/// Whether a field is this word. Attribute names and tokens are compared without regard to case: some
/// senders shout.
pub(super) fn is_token(field: &[u8], word: &str) -> bool {
    let trimmed = field.trim_ascii_end();
    trimmed.eq_ignore_ascii_case(word.as_bytes())
}

/// A decimal number without sign; `None` when it is anything else or too large.
pub(super) fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_keep_the_ending_that_they_came_with() {
        let lines: Vec<_> = Line::split(b"v=0\r\ns=-\n\r\na=x\ry").collect();
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_slice()).collect();
        assert_eq!(texts, [&b"v=0"[..], b"s=-", b"", b"a=x\ry"]);
        let endings: Vec<_> = lines.iter().map(|line| line.ending).collect();
        assert_eq!(
            endings,
            [Ending::CrLf, Ending::Lf, Ending::CrLf, Ending::None]
        );
    }

    #[test]
    fn fields_are_runs_between_spaces() {
        let text = b" audio  49170 RTP/AVP ";
        let found: Vec<_> = fields(text).map(|range| &text[range]).collect();
        assert_eq!(found, [&b"audio"[..], b"49170", b"RTP/AVP"]);
        assert_eq!(fields(b"").count(), 0);
        assert_eq!(fields(b"   ").count(), 0);
    }

    #[test]
    fn attributes_have_a_name_and_perhaps_a_value() {
        let line = |text: &[u8]| Line {
            text: text.to_vec(),
            ending: Ending::None,
        };
        assert_eq!(
            line(b"a=RTCP:5 IN").attribute_named("rtcp"),
            Some(&b"5 IN"[..])
        );
        assert_eq!(
            line(b"a=rtcp-mux").attribute_named("rtcp-mux"),
            Some(&b""[..])
        );
        assert_eq!(line(b"a=rtcp-mux").attribute_named("rtcp"), None);
        assert_eq!(line(b"b=rtcp").attribute(), None);
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number::<u16>(b"65535"), Some(65_535));
        for wrong in [&b"65536"[..], b"+1", b"-1", b"", b" 1", b"1x", b"\xff"] {
            assert_eq!(number::<u16>(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn splitting_and_joining_gives_the_same_bytes(body: Vec<u8>) {
            let mut joined = Vec::new();
            Line::split(&body).for_each(|line| line.write(&mut joined));
            prop_assert_eq!(joined, body);
        }
    }
}
