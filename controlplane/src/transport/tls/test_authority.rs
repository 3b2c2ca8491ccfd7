//! Certificates for tests: authorities that are made up on the spot.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair as Key, SanType,
};
use rustls::pki_types::CertificateDer;

use crate::settings::KeyPair;

/// Somebody who vouches for others.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, Key>,
}

/// A directory of one's own, below the build's own place for such things.
pub(crate) fn directory(name: &str) -> PathBuf {
    let place = std::env::temp_dir().join(format!("tandem-tls-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&place).expect("the temporary directory can be written to");
    place
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = Key::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a root"),
        }
    }

    /// Its own certificate as a PEM file.
    pub(crate) fn write(&self, place: &Path, name: &str) -> PathBuf {
        let path = place.join(format!("{name}-roots.pem"));
        std::fs::write(&path, self.issuer.pem()).expect("the directory can be written to");
        path
    }

    /// A certificate for these names (addresses, DNS names, `sip:` URIs), and its key, as PEM files.
    pub(crate) fn issue(&self, place: &Path, name: &str, names: &[&str]) -> KeyPair {
        let (certificate, key) = self.make(names);
        let pair = KeyPair {
            certificate: place.join(format!("{name}.pem")),
            key: place.join(format!("{name}-key.pem")),
        };
        std::fs::write(&pair.certificate, certificate.pem()).expect("a file");
        std::fs::write(&pair.key, key.serialize_pem()).expect("a file");
        pair
    }

    /// A certificate for these names.
    pub(crate) fn certificate(&self, names: &[&str]) -> CertificateDer<'static> {
        self.make(names).0.der().clone()
    }

    fn make(&self, names: &[&str]) -> (rcgen::Certificate, Key) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|&name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if name.starts_with("sip:") => SanType::URI(name.try_into().expect("ASCII")),
                Err(_) => SanType::DnsName(name.try_into().expect("ASCII")),
            })
            .collect();
        let key = Key::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }
}
