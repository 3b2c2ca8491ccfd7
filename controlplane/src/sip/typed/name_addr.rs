//! An address with a display name: From, To, Contact, Route, Record-Route.

use super::{Params, TypedError, Uri};

/// `"Display" <sip:user@host>;tag=1234`, or the same without name and brackets (RFC 3261 §20.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name as it was written, quotes included.
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
        let _ = value;
        Err(TypedError::Malformed)
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
