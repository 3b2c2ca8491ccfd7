//! Certificates for journeys: authorities that are made up on the spot, and what both ends read of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::line::Secrets;

/// Somebody who vouches for others.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a root"),
        }
    }

    /// Writes its own certificate to a PEM file.
    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.issuer.pem()).expect("the directory can be written to");
    }

    /// Writes a certificate for this name, and its key, to `NAME.pem` and `NAME-key.pem`.
    pub(crate) fn issue(&self, directory: &Path, name: &str) -> [PathBuf; 2] {
        let (certificate, key) = self.make(name);
        let paths = ["", "-key"].map(|end| directory.join(format!("{name}{end}.pem")));
        std::fs::write(&paths[0], certificate.pem()).expect("the directory can be written to");
        std::fs::write(&paths[1], key.serialize_pem()).expect("the directory can be written to");
        paths
    }

    /// Writes what Kamailio needs to be of this name, to show it, and to believe nobody without a certificate: its TLS
    /// configuration, as a definition for `proxy.cfg`.
    pub(crate) fn kamailio(&self, directory: &Path, name: &str) -> String {
        let [certificate, key] = self.issue(directory, name);
        let roots = directory.join("kamailio-roots.pem");
        self.write(&roots);
        let domain = format!(
            "method = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\ncertificate = {}\n\
             private_key = {}\nca_list = {}\n",
            certificate.display(),
            key.display(),
            roots.display()
        );
        let path = directory.join("kamailio-tls.cfg");
        let text = format!("[server:default]\n{domain}[client:default]\n{domain}");
        std::fs::write(&path, text).expect("the directory can be written to");
        format!("\"{}\"", path.display())
    }

    /// What a peer of this name needs, who believes this authority and asks for the relay by a name.
    pub(crate) fn secrets(&self, name: &str, relay: &str) -> Secrets {
        let mut roots = RootCertStore::empty();
        let root = self.issuer.der().clone();
        roots.add(root).expect("a root");
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let (certificate, key) = self.make(name);
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .expect("there is a root");
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .expect("they fit");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("they fit");
        Secrets {
            server: Arc::new(server),
            client: Arc::new(client),
            relay: ServerName::try_from(relay.to_owned()).expect("a name"),
        }
    }

    fn make(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("ASCII"))];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }
}
