//! Who is let in and whom we let ourselves in with: certificate chains held against roots, and names
//! against what the configuration says (RFC 5922 §7).

use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};

use super::names::names_of;
use super::provider;

/// Roots that vouch for certificates.
#[derive(Clone, Debug)]
pub(super) struct Trust(Arc<RootCertStore>);

impl Trust {
    pub(super) const fn new(roots: Arc<RootCertStore>) -> Self {
        Self(roots)
    }

    /// Whether a chain leads from the certificate to a root, now. A SIP server is a client to others and
    /// the other way round: a certificate for either use will do.
    pub(super) fn vouches(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = EndEntityCert::try_from(certificate).map_err(meaning)?;
        let algorithms = algorithms().all;
        let serves = |usage: KeyUsage| {
            let roots = &self.0.roots;
            let path =
                parsed.verify_for_usage(algorithms, roots, intermediates, now, usage, None, None);
            path.map(|_| ()).map_err(meaning)
        };
        serves(KeyUsage::server_auth()).or_else(|_| serves(KeyUsage::client_auth()))
    }
}

fn meaning(error: webpki::Error) -> Error {
    let certificate = match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::BadDer => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    Error::InvalidCertificate(certificate)
}

/// Says whether somebody whom we connect to is one trunk.
#[derive(Debug)]
pub(super) struct TrunkJudge {
    pub(super) trust: Trust,
    /// One of them must be the certificate's; empty: it must name the address.
    pub(super) names: Vec<String>,
}

impl TrunkJudge {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        self.trust.vouches(end_entity, intermediates, now)?;
        let is_it = match self.names.is_empty() {
            true => {
                let parsed = EndEntityCert::try_from(end_entity).map_err(meaning)?;
                parsed.verify_is_valid_for_subject_name(server_name).is_ok()
            }
            false => {
                let shown = names_of(end_entity);
                self.names.iter().any(|name| shown.contains(name))
            }
        };
        match is_it {
            true => Ok(()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }
}

/// Judges whom we connect to: the trunk that has the address; or, at an address that is no trunk's (a Contact or a
/// route leads there, or a name that was resolved), one of the trunks by name, or the address itself.
#[derive(Debug)]
pub(super) struct ServerJudge {
    pub(super) judges: Vec<TrunkJudge>,
}

impl ServerCertVerifier for ServerJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        first_that_agrees(&self.judges, |judge| {
            judge.judge(end_entity, intermediates, server_name, now)
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Judges who connects to us: anybody's roots must vouch for the certificate. Whose requests may follow
/// from it is decided later, by its names.
#[derive(Debug)]
pub(super) struct ClientJudge {
    pub(super) trusts: Vec<Trust>,
    pub(super) mandatory: bool,
}

impl ClientCertVerifier for ClientJudge {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        first_that_agrees(&self.trusts, |trust| {
            trust.vouches(end_entity, intermediates, now)
        })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// The last one's reason, if none agrees.
fn first_that_agrees<T>(
    judges: &[T],
    agrees: impl Fn(&T) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut outcome = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
    for judge in judges {
        outcome = agrees(judge);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
        LazyLock::new(|| provider().signature_verification_algorithms);
    &ALGORITHMS
}

#[cfg(test)]
mod tests {
    use super::super::pem::read_trust;
    use super::super::test_authority::{Authority, directory};
    use super::*;

    #[test]
    fn a_trunk_is_who_it_must_be_by_name_or_by_address() {
        let place = directory("verify");
        let (authority, other) = (Authority::new("one"), Authority::new("two"));
        let roots = read_trust(&authority.write(&place, "one")).expect("roots");
        let judged = |names: &[&str], by: &Authority, shown: &[&str]| {
            let judge = TrunkJudge {
                trust: Trust::new(Arc::clone(&roots)),
                names: names.iter().map(|&name| name.to_owned()).collect(),
            };
            let address = ServerName::IpAddress(std::net::IpAddr::from([10, 0, 0, 2]).into());
            let certificate = by.certificate(shown);
            judge.judge(&certificate, &[], &address, UnixTime::now())
        };
        assert!(judged(&["b.example"], &authority, &["a.example", "B.example"]).is_ok());
        assert!(judged(&[], &authority, &["10.0.0.2"]).is_ok());
        let wrong = Error::InvalidCertificate(CertificateError::NotValidForName);
        for (names, shown) in [
            (&["b.example"][..], "a.example"),
            (&["b.example"][..], "10.0.0.2"),
            (&["b.example"][..], "*.example"),
            (&[][..], "10.0.0.3"),
            (&[][..], "a.example"),
        ] {
            let outcome = judged(names, &authority, &[shown]);
            assert_eq!(outcome.err(), Some(wrong.clone()), "{names:?} {shown}");
        }
        let stranger = judged(&["b.example"], &other, &["b.example"]);
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(stranger.err(), Some(unknown));
    }

    #[test]
    fn elsewhere_it_is_one_of_the_trunks_or_the_address() {
        let place = directory("anybody");
        let (authority, other) = (Authority::new("one"), Authority::new("two"));
        let judge = |authority: &Authority, file: &str, names: &[&str]| TrunkJudge {
            trust: Trust::new(read_trust(&authority.write(&place, file)).expect("roots")),
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let anybody = ServerJudge {
            judges: vec![
                judge(&authority, "one", &[]),
                judge(&other, "two", &["b.example"]),
            ],
        };
        let judged = |by: &Authority, shown: &str| {
            let address = ServerName::IpAddress(std::net::IpAddr::from([10, 0, 0, 2]).into());
            let certificate = by.certificate(&[shown]);
            let now = UnixTime::now();
            anybody
                .verify_server_cert(&certificate, &[], &address, &[], now)
                .is_ok()
        };
        assert!(judged(&authority, "10.0.0.2") && judged(&other, "b.example"));
        assert!(!judged(&authority, "b.example") && !judged(&other, "10.0.0.2"));
    }

    #[test]
    fn a_client_is_let_in_when_one_of_the_roots_vouches_for_it() {
        let place = directory("clients");
        let [one, two, three] = ["one", "two", "three"].map(Authority::new);
        let trust = |authority: &Authority, name: &str| {
            Trust::new(read_trust(&authority.write(&place, name)).expect("roots"))
        };
        let judge = ClientJudge {
            trusts: vec![trust(&one, "one"), trust(&two, "two")],
            mandatory: true,
        };
        let judged = |by: &Authority| {
            let certificate = by.certificate(&["a.example"]);
            judge.verify_client_cert(&certificate, &[], UnixTime::now())
        };
        assert!(judged(&one).is_ok() && judged(&two).is_ok());
        assert!(judged(&three).is_err());
    }
}
