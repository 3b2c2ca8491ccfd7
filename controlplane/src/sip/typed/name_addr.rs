//! An address with a display name: From, To, Contact, Route, Record-Route.

use super::scanner::Scanner;
use super::{Params, TypedError, Uri};
use crate::sip::lexer;

/// `"Display" <sip:user@host>;tag=1234`, or the same without name and brackets (RFC 3261 §20.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name as it was written, quotes included. One that had to be quoted and was not is.
    pub display: Option<Vec<u8>>,
    /// The address.
    pub uri: Uri,
    /// The header's parameters (not the URI's).
    pub params: Params,
}

impl NameAddr {
    /// Reads a header value.
    ///
    /// # Errors
    /// It does not follow the grammar.
    pub fn parse(value: &[u8]) -> Result<Self, TypedError> {
        let mut scanner = Scanner::new(value);
        scanner.skip_space();
        let display = if scanner.peek() == Some(b'"') {
            let display = scanner.quoted()?;
            scanner.skip_space();
            Some(display.to_vec())
        } else if scanner
            .rest()
            .iter()
            .find(|byte| matches!(byte, b'<' | b';'))
            == Some(&b'<')
        {
            // Tokens by the grammar; in practice anything, Latin-1 included.
            let display = scanner.take_while(|byte| byte != b'<').trim_ascii();
            (!display.is_empty()).then(|| made_whole(display))
        } else {
            return Self::parse_bare(scanner);
        };
        if !scanner.byte(b'<') {
            return Err(TypedError::Malformed);
        }
        let uri = Uri::parse(scanner.take_while(|byte| byte != b'>').trim_ascii())?;
        if !scanner.byte(b'>') {
            return Err(TypedError::Malformed);
        }
        Ok(Self {
            display,
            uri,
            params: scanner.params()?,
        })
    }

    /// Without angle brackets: what follows a semicolon belongs to the header, and the URI can hold
    /// neither comma nor question mark (RFC 3261 §20).
    fn parse_bare(mut scanner: Scanner<'_>) -> Result<Self, TypedError> {
        let text = scanner.take_while(|byte| !lexer::is_space(byte) && byte != b';');
        if text.iter().any(|byte| matches!(byte, b',' | b'?')) {
            return Err(TypedError::Malformed);
        }
        Ok(Self {
            display: None,
            uri: Uri::parse(text)?,
            params: scanner.params()?,
        })
    }

    /// An address without display name and parameters.
    pub fn new(uri: Uri) -> Self {
        Self {
            display: None,
            uri,
            params: Params::default(),
        }
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.params.value("tag")
    }

    /// The same with this tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", Some(tag));
        self
    }

    /// The value as it goes into a header, always with angle brackets.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(display) = &self.display {
            bytes.extend_from_slice(display);
            bytes.push(b' ');
        }
        bytes.push(b'<');
        bytes.extend_from_slice(self.uri.as_str().as_bytes());
        bytes.push(b'>');
        bytes.extend(self.params.to_bytes());
        bytes
    }
}

/// A display name without quotes, with them if it is not made of tokens: what we take in bad form does not leave in it
/// (RFC 4475 §3.1.2.15).
fn made_whole(display: &[u8]) -> Vec<u8> {
    let mut words = display.split(|&byte| lexer::is_space(byte));
    if words.all(|word| word.is_empty() || lexer::token(word).is_some()) {
        return display.to_vec();
    }
    let mut quoted = vec![b'"'];
    for &byte in display {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> NameAddr {
        NameAddr::parse(value.as_bytes()).expect(value)
    }

    #[test]
    fn both_forms_are_read_and_parameters_belong_to_the_right_one() {
        let named = parse(r#""A \"q\" <b>" <sip:a@b;lr>;tag=x;q = "1;2""#);
        assert_eq!(named.display.as_deref(), Some(&br#""A \"q\" <b>""#[..]));
        assert_eq!(named.uri.as_str(), "sip:a@b;lr");
        assert_eq!(named.tag(), Some("x"));
        assert_eq!(named.params.value("q"), Some(r#""1;2""#));
        let bare = parse("sip:a@b;tag=y");
        assert_eq!((bare.uri.as_str(), bare.tag()), ("sip:a@b", Some("y")));
        let joined = parse("caller<sip:a@b> ; tag = 887s");
        assert_eq!(joined.display.as_deref(), Some(&b"caller"[..]));
        assert_eq!(joined.tag(), Some("887s"));
        let latin = NameAddr::parse(b"J\xfcrgen <tel:+49>").expect("Latin-1 display name");
        assert_eq!(latin.display.as_deref(), Some(&b"\"J\xfcrgen\""[..]));
        assert_eq!(latin.to_bytes(), b"\"J\xfcrgen\" <tel:+49>");
        let odd = parse(r"Bell \o, A. <sip:a@b>");
        assert_eq!(odd.to_bytes(), br#""Bell \\o, A." <sip:a@b>"#);
        let plain = parse("A. G.  Bell <sip:a@b>");
        assert_eq!(plain.to_bytes(), b"A. G.  Bell <sip:a@b>");
    }

    #[test]
    fn what_follows_no_grammar_is_refused() {
        for bad in [
            "",
            "*",
            "<sip:a@b",
            r#""open <sip:a@b>"#,
            "<>",
            "<sip:a@b> x",
            "<sip:a@b>;=",
            "sip:a@b?x=y",
            "sip:a b",
            "\"a\" sip:a@b",
            "<sip:a@b>;tag=",
            "<sip:a@b>;tag=a,b",
        ] {
            assert_eq!(
                NameAddr::parse(bad.as_bytes()),
                Err(TypedError::Malformed),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_tag_is_added_and_the_rest_stays() {
        let tagged = parse("\"A\" <sip:a@b>;x=1").with_tag("t");
        assert_eq!(tagged.to_bytes(), b"\"A\" <sip:a@b>;x=1;tag=t");
    }
}
