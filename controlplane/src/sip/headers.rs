//! The header fields of a message, in order, each with its bytes as they came.
//!
//! Refuses to know what a value means, except that some are lists.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::{HeaderName, lexer};

/// One header field.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: HeaderName,
    /// Name, colon, value and folding as on the wire, without the final CRLF:
    ///
    /// ```text
    ///   Contact :  <sip:a@b>,CRLF   <sip:c@d>
    ///            ^ value_at
    /// ```
    raw: Vec<u8>,
    value_at: usize,
}

impl Header {
    /// A header with this value. Line ends in the value become spaces, so that a value can never
    /// start another header.
    pub fn new(name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        let mut raw = format!("{name}:").into_bytes();
        let value_at = raw.len();
        raw.push(b' ');
        raw.extend(value.as_ref().iter().map(|&byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        }));
        Self {
            name,
            raw,
            value_at,
        }
    }

    /// A field as it came, without its final CRLF: a token, a colon, and a value whose line ends are
    /// all folds. `None` if it has no name.
    pub(super) fn from_wire(raw: &[u8]) -> Option<Self> {
        let colon = raw.iter().position(|&byte| byte == b':')?;
        let before = raw.get(..colon)?;
        let spaces = before
            .iter()
            .rev()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let name = lexer::token(before.get(..colon - spaces)?)?;
        Some(Self {
            name: HeaderName::from(name),
            raw: raw.to_vec(),
            value_at: colon + 1,
        })
    }

    /// The name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The value, unfolded, without the white space around it.
    pub fn value(&self) -> Cow<'_, [u8]> {
        self.text(0..self.value_bytes().len())
    }

    /// The whole field as on the wire, without its final CRLF.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    fn value_bytes(&self) -> &[u8] {
        self.raw.get(self.value_at..).unwrap_or_default()
    }

    /// A part of the value, trimmed and unfolded.
    fn text(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let bytes = self.value_bytes();
        let range = lexer::trimmed(bytes, range);
        let part = bytes.get(range).unwrap_or_default();
        if part.contains(&b'\n') {
            Cow::Owned(lexer::unfolded(part))
        } else {
            Cow::Borrowed(part)
        }
    }

    /// Where the elements of the value are: several where the header is a list.
    fn elements(&self) -> Vec<Range<usize>> {
        let bytes = self.value_bytes();
        if self.name.is_list() {
            lexer::elements(bytes)
        } else {
            vec![lexer::trimmed(bytes, 0..bytes.len())]
        }
    }

    /// The field with `first` in the place of its first element, and the others as they came.
    fn with_first(&self, first: Option<&[u8]>) -> Option<Self> {
        let later = self.elements().get(1).map(|range| range.start);
        let later = later.and_then(|start| self.value_bytes().get(start..));
        let value = match (first, later) {
            (None, None) => return None,
            (Some(first), None) => return Some(Self::new(self.name.clone(), first)),
            (None, Some(later)) => later.to_vec(),
            (Some(first), Some(later)) => {
                let mut value = Self::new(self.name.clone(), first);
                value.raw.extend_from_slice(b", ");
                value.raw.extend_from_slice(later);
                return Some(value);
            }
        };
        let mut field = Self::new(self.name.clone(), "");
        field.raw.extend_from_slice(&value);
        Some(field)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.raw).fmt(f)
    }
}

/// The header fields of a message, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<Header>,
}

impl Headers {
    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.fields.iter()
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Gives back the room for fields that are not there.
    pub fn shrink(&mut self) {
        self.fields.shrink_to_fit();
        for field in &mut self.fields {
            field.raw.shrink_to_fit();
        }
    }

    /// Keeps only the fields that `keep` says yes to, and no room for others.
    pub fn retain(&mut self, keep: impl FnMut(&Header) -> bool) {
        self.fields.retain(keep);
        self.fields.shrink_to_fit();
    }

    /// Whether a field of the name is there.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }

    /// The first field of the name.
    pub fn first(&self, name: &HeaderName) -> Option<&Header> {
        self.fields.iter().find(|field| &field.name == name)
    }

    /// The fields of the name, in order.
    pub fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a Header> {
        self.fields.iter().filter(move |field| &field.name == name)
    }

    /// The values of the name, in order; where the header is a list, each element on its own.
    pub fn values(&self, name: &HeaderName) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        for field in self.all(name) {
            let elements = field.elements().into_iter();
            values.extend(elements.map(|range| field.text(range).into_owned()));
        }
        values
    }

    /// The first value of the name, as in [`Self::values`].
    pub fn value(&self, name: &HeaderName) -> Option<Vec<u8>> {
        self.all(name).find_map(|field| {
            let first = field.elements().into_iter().next()?;
            Some(field.text(first).into_owned())
        })
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: HeaderName, value: impl AsRef<[u8]>) {
        self.append(Header::new(name, value));
    }

    /// Adds a field before all others.
    pub fn push_front(&mut self, name: HeaderName, value: impl AsRef<[u8]>) {
        self.fields.insert(0, Header::new(name, value));
    }

    /// Adds a field at the end as it is: how a header of another message is passed on untouched.
    pub fn append(&mut self, field: Header) {
        self.fields.push(field);
    }

    /// Puts one field of the name in the place of all that there are, or at the end.
    pub fn set(&mut self, name: HeaderName, value: impl AsRef<[u8]>) {
        let place = self.fields.iter().position(|field| field.name == name);
        self.remove(&name);
        let place = place.unwrap_or(self.fields.len());
        self.fields.insert(place, Header::new(name, value));
    }

    /// Removes all fields of the name; how many there were.
    pub fn remove(&mut self, name: &HeaderName) -> usize {
        let before = self.fields.len();
        self.fields.retain(|field| &field.name != name);
        before - self.fields.len()
    }

    /// Puts `value` in the place of the first value of the name, and leaves the later ones alone,
    /// also those in the same field. False, and nothing done, when there is none.
    pub fn replace_first(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) -> bool {
        let Some(field) = self.first_with_value(name) else {
            return false;
        };
        if let Some(changed) = field.with_first(Some(value.as_ref())) {
            *field = changed;
        }
        true
    }

    /// Takes the first value of the name out, and leaves the later ones alone, also those in the same
    /// field.
    pub fn remove_first(&mut self, name: &HeaderName) -> Option<Vec<u8>> {
        let value = self.value(name)?;
        let field = self.first_with_value(name)?;
        match field.with_first(None) {
            Some(rest) => *field = rest,
            None => {
                let place = self
                    .fields
                    .iter()
                    .position(|field| &field.name == name && !field.elements().is_empty())?;
                self.fields.remove(place);
            }
        }
        Some(value)
    }

    fn first_with_value(&mut self, name: &HeaderName) -> Option<&mut Header> {
        self.fields
            .iter_mut()
            .find(|field| &field.name == name && !field.elements().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&str]) -> Headers {
        let mut headers = Headers::default();
        for field in fields {
            headers.append(Header::from_wire(field.as_bytes()).expect("a field"));
        }
        headers
    }

    fn wire(headers: &Headers) -> Vec<&str> {
        let fields = headers.iter();
        fields
            .map(|field| std::str::from_utf8(field.raw()).expect("text"))
            .collect()
    }

    #[test]
    fn values_are_split_where_the_header_is_a_list_and_unfolded() {
        let headers = headers(&[
            "v:  SIP/2.0/UDP a ;branch=1 ,\r\n  SIP/2.0/UDP b",
            "Via :SIP/2.0/UDP c",
            "Subject: one, two\r\n\tthree ",
            "Supported:",
        ]);
        assert_eq!(
            headers.values(&HeaderName::Via),
            [
                &b"SIP/2.0/UDP a ;branch=1"[..],
                b"SIP/2.0/UDP b",
                b"SIP/2.0/UDP c"
            ]
        );
        assert_eq!(
            headers.value(&HeaderName::Subject),
            Some(b"one, two three".to_vec())
        );
        assert_eq!(headers.value(&HeaderName::Supported), None);
        assert!(headers.contains(&HeaderName::Supported));
    }

    #[test]
    fn the_first_value_changes_and_the_others_keep_their_bytes() {
        let mut headers = headers(&["Via:", "v:  a ,  b ,\r\n\tc", "X: y", "Via: d"]);
        assert!(headers.replace_first(&HeaderName::Via, "A"));
        assert_eq!(
            wire(&headers),
            ["Via:", "Via: A, b ,\r\n\tc", "X: y", "Via: d"]
        );
        for expected in [&b"A"[..], b"b", b"c", b"d"] {
            assert_eq!(
                headers.remove_first(&HeaderName::Via).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(headers.remove_first(&HeaderName::Via), None);
        assert!(!headers.replace_first(&HeaderName::Via, "B"));
        assert_eq!(wire(&headers), ["Via:", "X: y"]);
    }

    #[test]
    fn set_takes_the_place_of_all_and_a_value_cannot_start_a_header() {
        let mut headers = headers(&["A: 1", "To: x", "B: 2", "t: y"]);
        headers.set(HeaderName::To, "z\r\nEvil: 1");
        headers.set(HeaderName::Server, "s");
        assert_eq!(
            wire(&headers),
            ["A: 1", "To: z  Evil: 1", "B: 2", "Server: s"]
        );
    }

    #[test]
    fn a_field_needs_a_token_before_its_colon() {
        for bad in ["no colon", ": x", " : x", "a b: c", "ü: d", ""] {
            assert_eq!(Header::from_wire(bad.as_bytes()), None, "{bad}");
        }
        let field = Header::from_wire(b"X-Y \t: z").expect("white space may precede the colon");
        assert_eq!(field.value().as_ref(), b"z");
    }
}
