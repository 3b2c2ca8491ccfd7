//! Who is at the other end of a TLS connection, and whose requests are therefore believed.

use std::collections::HashMap;

use crate::path::Path;
use crate::settings::TrunkTls;

/// What a certificate says of its owner, once somebody whom we trust has vouched for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The SIP domains that the certificate names (RFC 5922 §7.1), in lower case.
    pub names: Vec<String>,
    /// The roots of the listener vouch for it.
    pub by_listener: bool,
    /// The trunks, by name, whose own roots vouch for it.
    pub by_trunks: Vec<String>,
}

impl Identity {
    /// Whether it is the trunk's: one of the trunk's names, and vouched for by whom the trunk trusts.
    pub fn is_of(&self, trunk: &str, tls: &TrunkTls) -> bool {
        let trusted = self.is_vouched_for(trunk, tls.trust.is_some());
        trusted && tls.names.iter().any(|name| self.has(name))
    }

    /// Whether somebody vouches for it whom the trunk trusts: its own roots, if it has some, or else the listener's.
    pub fn is_vouched_for(&self, trunk: &str, has_roots: bool) -> bool {
        match has_roots {
            true => self.by_trunks.iter().any(|name| name == trunk),
            false => self.by_listener,
        }
    }

    /// Whether this is one of its names.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The identities of the connections that there are: as many as the transport has connections.
#[derive(Debug, Default)]
pub struct Identities {
    by_connection: HashMap<Path, Identity>,
}

impl Identities {
    /// Notes who is at the other end of a connection.
    pub fn note(&mut self, path: Path, identity: Identity) {
        self.by_connection.insert(path, identity);
    }

    /// The connection has ended.
    pub fn forget(&mut self, path: Path) {
        self.by_connection.remove(&path);
    }

    /// Who is at the other end.
    pub fn of(&self, path: Path) -> Option<&Identity> {
        self.by_connection.get(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(trust: Option<&str>, names: &[&str]) -> TrunkTls {
        TrunkTls {
            trust: trust.map(Into::into),
            identity: None,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn a_name_counts_only_when_the_trunks_own_roots_vouch_for_it() {
        let identity = Identity {
            names: vec!["sbc.example".to_owned()],
            by_listener: true,
            by_trunks: vec!["carrier".to_owned()],
        };
        assert!(identity.is_of("other", &tls(None, &["a.example", "sbc.example"])));
        assert!(identity.is_of("carrier", &tls(Some("roots.pem"), &["sbc.example"])));
        assert!(!identity.is_of("other", &tls(Some("roots.pem"), &["sbc.example"])));
        assert!(!identity.is_of("other", &tls(None, &["example"])));
        assert!(!identity.is_of("other", &tls(None, &[])));
        let foreign = Identity {
            by_listener: false,
            ..identity
        };
        assert!(!foreign.is_of("other", &tls(None, &["sbc.example"])));
    }
}
