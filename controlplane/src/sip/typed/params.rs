//! Parameters: `;name`, `;name=value`, `;name="value"`.

use std::fmt;

/// The parameters behind a value, in order. Names are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    list: Vec<(String, Option<Vec<u8>>)>,
}

impl Params {
    /// Whether the parameter is there, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.list
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The parameter's value as it was written, quotes included; `None` when it is absent, has no
    /// value, or is not UTF-8.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.list
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok())
    }

    /// Gives the parameter this value, in its place or at the end.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|text| text.as_bytes().to_vec());
        match self
            .list
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            Some(entry) => entry.1 = value,
            None => self.list.push((name.to_owned(), value)),
        }
    }

    /// Adds a parameter at the end, as it came.
    pub(super) fn append(&mut self, name: &str, value: Option<&[u8]>) {
        self.list.push((name.to_owned(), value.map(<[u8]>::to_vec)));
    }

    /// Takes the parameter away.
    pub fn remove(&mut self, name: &str) {
        self.list
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Name and value of each, as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.list
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// The parameters as bytes, each with its semicolon.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in &self.list {
            bytes.push(b';');
            bytes.extend_from_slice(name.as_bytes());
            if let Some(value) = value {
                bytes.push(b'=');
                bytes.extend_from_slice(value);
            }
        }
        bytes
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}
