//! Domain names, as hosts and services have them.

use std::fmt;
use std::sync::Arc;

/// The longest name in characters, without the final dot (RFC 1035 §2.3.4).
const LONGEST: usize = 253;
/// The longest label.
const LONGEST_LABEL: usize = 63;

/// A domain name in lower case and without the final dot: letters, digits, hyphens, and the underscore
/// of services. The root, which SRV uses for "no such service", is empty. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<str>);

impl DomainName {
    /// Reads a name of at least one label; a final dot is allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        Self::from_labels(text.split('.').map(str::as_bytes))
    }

    /// Joins labels; none make the root. `None` when one has a character that no host's name has, or
    /// the whole is too long.
    pub fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut text = String::new();
        for label in labels {
            let fits = (1..=LONGEST_LABEL).contains(&label.len())
                && label
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
            if !fits {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(
                label
                    .iter()
                    .map(|byte| char::from(byte.to_ascii_lowercase())),
            );
        }
        (text.len() <= LONGEST).then(|| Self(text.into()))
    }

    /// The name with labels before it, such as `_sip._udp`.
    pub fn with_prefix(&self, labels: &str) -> Option<Self> {
        Self::parse(&format!("{labels}.{}", self.0))
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is `other` or lies above it.
    pub fn is_above_or_at(&self, other: &Self) -> bool {
        self.is_root()
            || other
                .0
                .strip_suffix(&*self.0)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_final_dot() {
        let name = DomainName::parse("SIP.Carrier.Example.").expect("a name");
        assert_eq!(name.as_str(), "sip.carrier.example");
        assert_eq!(Some(name), DomainName::parse("sip.carrier.example"));
        for wrong in ["", ".", "a..b", "a b", "a/b", ".a", "\u{e9}.example"] {
            assert_eq!(DomainName::parse(wrong), None, "{wrong}");
        }
        assert_eq!(DomainName::parse(&"a".repeat(64)), None);
        assert_eq!(DomainName::parse(&"a.".repeat(128)), None);
    }

    #[test]
    fn a_zone_is_above_its_names_only() {
        let name = |text| DomainName::parse(text).expect("a name");
        let root = DomainName::from_labels(std::iter::empty()).expect("the root");
        assert!(root.is_root() && root.is_above_or_at(&name("a.example")));
        assert!(name("example").is_above_or_at(&name("a.example")));
        assert!(name("a.example").is_above_or_at(&name("a.example")));
        assert!(!name("b.example").is_above_or_at(&name("ab.example")));
        assert!(!name("a.example").is_above_or_at(&name("example")));
    }
}
