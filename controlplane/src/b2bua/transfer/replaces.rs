//! Replaces (RFC 3891): the name of a dialog, in a header or in the headers of a Refer-To.

use std::fmt;

use crate::dialog::Dialog;

/// The longest that is read. A Call-ID and two tags of the usual length are some 150 bytes.
const LONGEST: usize = 1024;

/// Which dialog is to be replaced, as the one that is asked to do so knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::b2bua) struct Replaces {
    pub(in crate::b2bua) call_id: String,
    /// The tag of the one that is asked.
    pub(in crate::b2bua) to_tag: String,
    pub(in crate::b2bua) from_tag: String,
    /// Only while nobody has answered.
    pub(in crate::b2bua) early_only: bool,
}

impl Replaces {
    /// Reads a value: `Call-ID;to-tag=…;from-tag=…`. `None` when it is malformed, names a tag twice or not at all.
    pub(in crate::b2bua) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        if text.len() > LONGEST {
            return None;
        }
        let mut parts = text.split(';').map(str::trim);
        let call_id = parts.next().filter(|id| is_word(id))?;
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim(), value.trim());
            let place = match name {
                _ if name.eq_ignore_ascii_case("to-tag") => &mut to_tag,
                _ if name.eq_ignore_ascii_case("from-tag") => &mut from_tag,
                _ if name.eq_ignore_ascii_case("early-only") => {
                    early_only = true;
                    continue;
                }
                _ => continue,
            };
            if place.is_some() || !is_word(value) {
                return None;
            }
            *place = Some(value.to_owned());
        }
        Some(Self {
            call_id: call_id.to_owned(),
            to_tag: to_tag?,
            from_tag: from_tag?,
            early_only,
        })
    }

    /// The name by which the peer of a dialog of ours knows it.
    pub(in crate::b2bua) fn of_peer(dialog: &Dialog, early_only: bool) -> Self {
        Self {
            call_id: dialog.call_id().to_owned(),
            to_tag: dialog.remote_tag().to_owned(),
            from_tag: dialog.local_tag().to_owned(),
            early_only,
        }
    }

    /// As it goes into the headers of a URI, escaped.
    pub(super) fn escaped(&self) -> String {
        let text = self.to_string();
        let mut escaped = String::with_capacity(text.len() * 2);
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
        escaped
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call_id,
            to_tag,
            from_tag,
            early_only,
        } = self;
        let early = if *early_only { ";early-only" } else { "" };
        write!(f, "{call_id};to-tag={to_tag};from-tag={from_tag}{early}")
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_needs_a_call_id_and_both_tags() {
        let parse = |text: &str| Replaces::parse(text.as_bytes());
        let read = parse("98732@sip.example.com ;from-tag=r33th4x0r;to-tag=ff87ff; Early-Only")
            .expect("a name");
        assert_eq!(read.call_id, "98732@sip.example.com");
        assert_eq!((&*read.to_tag, &*read.from_tag), ("ff87ff", "r33th4x0r"));
        assert!(read.early_only);
        for bad in [
            "",
            "a",
            "a;to-tag=1",
            ";to-tag=1;from-tag=2",
            "a;to-tag=1;to-tag=2;from-tag=3",
            "a;to-tag=;from-tag=2",
            "a b;to-tag=1;from-tag=2",
            "a;to-tag=1;from-tag=2,b;to-tag=1;from-tag=2",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_value_does_harm(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Replaces::parse(&value);
        }

        #[test]
        fn what_is_written_is_read_again(
            call_id in "[a-z0-9@.%-]{1,20}",
            to_tag in "[a-z0-9.]{1,10}",
            from_tag in "[a-z0-9.]{1,10}",
            early_only in any::<bool>(),
        ) {
            let name = Replaces { call_id, to_tag, from_tag, early_only };
            let uri = format!("sip:a@h?Replaces={}", name.escaped());
            let uri = crate::sip::typed::Uri::parse(uri.as_bytes()).expect("a URI");
            let header = uri.header("replaces").expect("a header");
            prop_assert_eq!(Replaces::parse(header.as_bytes()), Some(name));
        }
    }
}
