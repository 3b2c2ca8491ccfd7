//! The SIP domains that a certificate names (RFC 5922 §7.1), and whether it is one of somebody's.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Names of one certificate that are looked at: a certificate of some thousand is somebody's joke.
const MOST_NAMES: usize = 64;

/// The certificate's SIP domains, in lower case: the hosts of its `sip:` URIs without a user and, only if
/// it has no such URI, its DNS names. Wildcards name nothing (RFC 5922 §7.2).
pub(super) fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(parsed) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let uris = parsed.valid_uri_names().filter_map(domain_of_uri);
    let mut names: Vec<String> = uris.take(MOST_NAMES).collect();
    if names.is_empty() {
        let domains = parsed.valid_dns_names().filter(|name| !name.contains('*'));
        names = domains
            .map(str::to_ascii_lowercase)
            .take(MOST_NAMES)
            .collect();
    }
    names
}

fn domain_of_uri(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let is_domain = scheme.eq_ignore_ascii_case("sip") && !rest.is_empty();
    let plain = !rest.contains(['@', ';', '?', ':', '*', '/']);
    (is_domain && plain).then(|| rest.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::test_authority::Authority;
    use super::*;

    #[test]
    fn uris_go_before_dns_names_and_wildcards_are_none() {
        let authority = Authority::new("one");
        let names = |all: &[&str]| names_of(&authority.certificate(all));
        assert_eq!(
            names(&["SBC.example", "b.example"]),
            ["sbc.example", "b.example"]
        );
        assert_eq!(
            names(&["a.example", "sip:Carrier.example"]),
            ["carrier.example"]
        );
        assert_eq!(names(&["*.example", "b.example"]), ["b.example"]);
        assert_eq!(names(&["sip:user@b.example", "c.example"]), ["c.example"]);
        assert_eq!(names(&["10.0.0.1"]), [""; 0]);
    }
}
