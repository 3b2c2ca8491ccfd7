//! The grammar that challenges, credentials and Authentication-Info share:
//! `name=token, name="quoted string", …`.
//!
//! What stands between quotes is kept as it was written, backslashes included: the digest is made of those very
//! bytes (RFC 7616 §3.4.2 `unq`), and what is echoed must be what was said.

use std::fmt;

use super::DigestError;

/// How many parameters one value may have. RFC 7616 knows some ten.
const MAX_PARAMETERS: usize = 32;

/// The parameters of one challenge, or of credentials. Names are in lower case; none is there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    list: Vec<(String, String)>,
}

impl Parameters {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<String, DigestError> {
        let value = self.value(name).ok_or(DigestError::Malformed)?;
        Ok(value.to_owned())
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), DigestError> {
        let name = name.to_ascii_lowercase();
        // Of two, one reader would believe the first and another the last.
        if self.list.len() >= MAX_PARAMETERS || self.value(&name).is_some() {
            return Err(DigestError::Malformed);
        }
        self.list.push((name, value.to_owned()));
        Ok(())
    }
}

/// Reads the parameters of every Digest in a value: HTTP lets several challenges share one header, so a token
/// that no `=` follows begins another. Other schemes are an error: none has a use here.
pub(super) fn schemes(value: &[u8]) -> Result<Vec<Parameters>, DigestError> {
    let mut reader = Reader::new(value)?;
    let mut found: Vec<Parameters> = Vec::new();
    loop {
        let name = reader.token()?;
        if reader.passes('=') {
            let value = reader.value()?;
            let open = found.last_mut().ok_or(DigestError::Malformed)?;
            open.add(name, value)?;
        } else if !name.eq_ignore_ascii_case("Digest") {
            return Err(DigestError::OtherScheme);
        } else if found.len() < MAX_PARAMETERS {
            found.push(Parameters::default());
            // No comma between the scheme and its first parameter.
            continue;
        } else {
            return Err(DigestError::Malformed);
        }
        if reader.is_at_end() {
            return Ok(found);
        }
        if !reader.passes(',') {
            return Err(DigestError::Malformed);
        }
    }
}

/// Reads parameters that no scheme stands before.
pub(super) fn bare(value: &[u8]) -> Result<Parameters, DigestError> {
    let mut reader = Reader::new(value)?;
    let mut found = Parameters::default();
    loop {
        let name = reader.token()?;
        if !reader.passes('=') {
            return Err(DigestError::Malformed);
        }
        found.add(name, reader.value()?)?;
        if reader.is_at_end() {
            return Ok(found);
        }
        if !reader.passes(',') {
            return Err(DigestError::Malformed);
        }
    }
}

/// A cursor over a value.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(value: &'a [u8]) -> Result<Self, DigestError> {
        let text = std::str::from_utf8(value).map_err(|_| DigestError::Malformed)?;
        Ok(Self {
            rest: text.trim_matches(is_space),
        })
    }

    fn is_at_end(&mut self) -> bool {
        self.rest = self.rest.trim_start_matches(is_space);
        self.rest.is_empty()
    }

    /// Passes the letter and the space around it; whether it was there.
    fn passes(&mut self, letter: char) -> bool {
        let rest = self.rest.trim_start_matches(is_space);
        let Some(rest) = rest.strip_prefix(letter) else {
            return false;
        };
        self.rest = rest.trim_start_matches(is_space);
        true
    }

    fn token(&mut self) -> Result<&'a str, DigestError> {
        self.rest = self.rest.trim_start_matches(is_space);
        let token =
            self.take(|letter| letter.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(letter));
        if token.is_empty() {
            Err(DigestError::Malformed)
        } else {
            Ok(token)
        }
    }

    /// A quoted string without its quotes, or a run of other letters: wider than a token, because some write
    /// a nonce or a URI without quotes.
    fn value(&mut self) -> Result<&'a str, DigestError> {
        if let Some(rest) = self.rest.strip_prefix('"') {
            let length = quoted_length(rest).ok_or(DigestError::Malformed)?;
            let (value, behind) = rest
                .split_at_checked(length)
                .ok_or(DigestError::Malformed)?;
            self.rest = behind.strip_prefix('"').ok_or(DigestError::Malformed)?;
            return Ok(value);
        }
        let value = self.take(|letter| {
            !is_space(letter)
                && !letter.is_control()
                && letter != ','
                && letter != '"'
                && letter != '\\'
        });
        if value.is_empty() {
            Err(DigestError::Malformed)
        } else {
            Ok(value)
        }
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|letter| !wanted(letter))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

/// How many bytes there are up to the closing quote; `None` when there is none, or a control character before.
fn quoted_length(text: &str) -> Option<usize> {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some(at),
            '\\' => {
                letters
                    .next()
                    .filter(|(_, escaped)| !escaped.is_control())?;
            }
            '\t' => {}
            _ if letter.is_control() => return None,
            _ => {}
        }
    }
    None
}

const fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t')
}

/// Writes parameters, with the scheme in front and commas between.
pub(super) struct Writer<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    first: bool,
}

impl<'a, 'b> Writer<'a, 'b> {
    pub(super) fn digest(out: &'a mut fmt::Formatter<'b>) -> Result<Self, fmt::Error> {
        out.write_str("Digest ")?;
        Ok(Self { out, first: true })
    }

    pub(super) fn quoted(&mut self, name: &str, value: &str) -> fmt::Result {
        self.separate()?;
        write!(self.out, "{name}=\"{value}\"")
    }

    pub(super) fn plain(&mut self, name: &str, value: impl fmt::Display) -> fmt::Result {
        self.separate()?;
        write!(self.out, "{name}={value}")
    }

    fn separate(&mut self) -> fmt::Result {
        if std::mem::take(&mut self.first) {
            return Ok(());
        }
        self.out.write_str(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<(String, String)>>, DigestError> {
        let schemes = schemes(text.as_bytes())?;
        Ok(schemes.into_iter().map(|found| found.list).collect())
    }

    #[test]
    fn values_are_taken_as_they_stand_between_their_quotes() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("digest  Realm = \"a \\\"b\\\", c\" ,nonce=x/y=,qop=\"\""),
            Ok(vec![vec![
                pair("realm", "a \\\"b\\\", c"),
                pair("nonce", "x/y="),
                pair("qop", "")
            ]])
        );
        assert_eq!(
            read("Digest a=1, Digest b=2, c=3"),
            Ok(vec![
                vec![pair("a", "1")],
                vec![pair("b", "2"), pair("c", "3")]
            ])
        );
    }

    #[test]
    fn what_is_broken_is_refused() {
        for broken in [
            "",
            "Digest",
            "Digest a=",
            "Digest a=\"",
            "Digest a=\"\\\"",
            "Digest a=1 b=2",
            "Digest a=1,",
            "Digest ,a=1",
            "a=1",
            "Digest a=1, A=2",
            "Digest a=\"\u{1}\"",
            "Digest a=b\\",
        ] {
            assert_eq!(read(broken), Err(DigestError::Malformed), "{broken}");
        }
        assert_eq!(read("Basic YWxhZGRpbg=="), Err(DigestError::OtherScheme));
        assert_eq!(read("Digest a"), Err(DigestError::OtherScheme));
        assert_eq!(read("Basic realm=\"x\""), Err(DigestError::OtherScheme));
        let many: Vec<_> = (0..=MAX_PARAMETERS)
            .map(|number| format!("p{number}=1"))
            .collect();
        assert_eq!(
            read(&format!("Digest {}", many.join(","))),
            Err(DigestError::Malformed)
        );
    }
}
