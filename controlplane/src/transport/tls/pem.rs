//! Certificates, keys and roots from PEM files, and what can be wrong with them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::provider;
use crate::settings::KeyPair;

/// No PEM file is longer, in bytes: the roots of a whole system are some 250 kB.
const LONGEST_FILE: u64 = 4 << 20;

/// What is wrong with a PEM file.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// It is no PEM, or damaged.
    #[error("{} is no PEM file: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It holds nothing of what is looked for.
    #[error("{} holds no {what}", path.display())]
    Without {
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: &'static str,
    },
    /// The certificate and the key do not belong together, or the key is of a kind that nobody uses.
    #[error("the key in {} does not fit the certificate in {}: {problem}", key.display(), certificate.display())]
    Mismatched {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl PemError {
    /// The file that is to be looked at.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. }
            | Self::Malformed { path, .. }
            | Self::Without { path, .. } => path,
            Self::Mismatched { key, .. } => key,
        }
    }
}

/// A certificate with its chain and key, which fit.
///
/// # Errors
/// [`PemError`].
pub fn read_pair(pair: &KeyPair) -> Result<Arc<CertifiedKey>, PemError> {
    let chain = certificates(&pair.certificate)?;
    let bytes = read(&pair.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => PemError::Without {
            path: pair.key.clone(),
            what: "private key",
        },
        error => malformed(&pair.key, &error),
    })?;
    let certified = CertifiedKey::from_der(chain, key, &provider());
    certified
        .map(Arc::new)
        .map_err(|error| PemError::Mismatched {
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
            problem: error.to_string(),
        })
}

/// Roots that vouch for others.
///
/// # Errors
/// [`PemError`]; also when one of several certificates is none.
pub fn read_trust(path: &Path) -> Result<Arc<RootCertStore>, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| malformed(path, &error))?;
    }
    Ok(Arc::new(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| malformed(path, &error))?;
    match found.is_empty() {
        true => Err(PemError::Without {
            path: path.to_owned(),
            what: "certificate",
        }),
        false => Ok(found),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    let unreadable = |error| PemError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LONGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

fn malformed(path: &Path, error: &dyn std::fmt::Display) -> PemError {
    PemError::Malformed {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_authority::{Authority, directory};
    use super::*;

    #[test]
    fn each_fault_names_the_file_to_be_looked_at() {
        let place = directory("pem");
        let authority = Authority::new("one");
        let right = authority.issue(&place, "right", &["sbc.example"]);
        let other = authority.issue(&place, "other", &["sbc.example"]);
        assert!(read_pair(&right).is_ok());
        let mixed = KeyPair {
            certificate: right.certificate.clone(),
            key: other.key.clone(),
        };
        let error = read_pair(&mixed).expect_err("they do not fit");
        assert!(matches!(error, PemError::Mismatched { .. }), "{error}");
        assert_eq!(error.path(), other.key);
        let swapped = KeyPair {
            certificate: right.key.clone(),
            key: right.certificate.clone(),
        };
        let error = read_pair(&swapped).expect_err("a key is no certificate");
        assert!(matches!(error, PemError::Without { .. }), "{error}");
        let missing = place.join("missing.pem");
        let error = read_trust(&missing).expect_err("there is none");
        assert!(matches!(error, PemError::Unreadable { .. }), "{error}");
        assert_eq!(error.path(), missing);
        let broken = place.join("broken.pem");
        let text = "-----BEGIN CERTIFICATE-----\n$$$$\n-----END CERTIFICATE-----\n";
        std::fs::write(&broken, text).expect("the directory can be written to");
        let error = read_trust(&broken).expect_err("that is none");
        assert!(matches!(error, PemError::Malformed { .. }), "{error}");
    }
}
