//! Listeners and trunks over TCP and TLS, and addresses behind a NAT.

use super::*;

const INSIDE: &str = "address = \"10.1.0.1:5060\"\n";

/// The example with an inside listener of TLS, its files in a directory.
fn over_tls(place: &std::path::Path, more: &str) -> String {
    let place = place.display();
    let keys = format!(
        "address = \"10.1.0.1:5061\"\ntransport = \"tls\"\ncertificate = \"{place}/c.pem\"\n\
         key = \"{place}/k.pem\"\ntrust = \"{place}/r.pem\"\n{more}\n"
    );
    changed(INSIDE, &keys).replace(
        "listeners = [\"inside4\", \"inside6\"]",
        "listeners = [\"inside4\"]\ntls_names = [\"Caller.example\"]",
    )
}

fn write_certificates(place: &std::path::Path) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["relay.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    for (name, text) in [
        ("c.pem", certificate.pem()),
        ("r.pem", certificate.pem()),
        ("k.pem", key.serialize_pem()),
    ] {
        std::fs::write(place.join(name), text).expect("the directory can be written to");
    }
}

#[test]
fn a_tls_listener_and_its_trunk_mean_what_they_say() {
    use controlplane::settings::{ClientCertificates, Transport};
    let place = tempfile::tempdir().expect("a directory");
    write_certificates(place.path());
    let more = "client_certificates = \"required\"\nadvertised = \"203.0.113.1\"\n\
                idle_timeout = \"2m\"\nkeep_alive = \"30s\"\nmax_connections = 7";
    let text = over_tls(place.path(), more).replace(
        "peers = [\"10.1.0.2\", \"fd01::2\"]",
        "peers = [\"10.1.0.2\"]",
    );
    let checked = check_text(&text, Some(&host()));
    let report = checked.report.to_string();
    let control = checked.config.unwrap_or_else(|| panic!("{report}")).control;
    assert_eq!(report, "");
    let listener = &control.listeners[0];
    assert_eq!(listener.transport, Transport::Tls);
    assert_eq!(
        listener.announced(),
        "203.0.113.1:5061".parse().expect("an address")
    );
    assert_eq!(listener.connections.connections, 7);
    assert_eq!(listener.connections.idle, Duration::from_secs(120));
    assert_eq!(
        listener.connections.keep_alive,
        Some(Duration::from_secs(30))
    );
    let tls = listener.tls.as_ref().expect("TLS");
    assert_eq!(tls.clients, ClientCertificates::Required);
    assert_eq!(tls.trust, Some(place.path().join("r.pem")));
    // Its only listener speaks TLS: so does the trunk.
    assert_eq!(control.trunks[0].peers[0].transport, Transport::Tls);
    assert_eq!(control.trunks[0].tls.names, ["caller.example"]);
    assert_eq!(control.trunks[1].peers[0].transport, Transport::Udp);
}

#[test]
fn files_that_cannot_be_used_are_pointed_at() {
    let place = tempfile::tempdir().expect("a directory");
    write_certificates(place.path());
    let report = |text: &str, host: Option<&Host>| check_text(text, host).report.to_string();
    let text = over_tls(place.path(), "client_certificates = \"optional\"").replace(
        "peers = [\"10.1.0.2\", \"fd01::2\"]",
        "peers = [\"10.1.0.2\"]",
    );
    let other = rcgen::KeyPair::generate().expect("a key");
    std::fs::write(place.path().join("k.pem"), other.serialize_pem()).expect("a file");
    let mismatched = report(&text, Some(&host()));
    assert!(
        mismatched.contains("does not fit the certificate"),
        "{mismatched}"
    );
    std::fs::remove_file(place.path().join("r.pem")).expect("it was there");
    let missing = report(&text, Some(&host()));
    assert!(missing.contains("r.pem: No such file"), "{missing}");
    // Elsewhere the files need not be.
    assert_eq!(report(&text, None), "");
}

#[test]
fn keys_of_another_transport_are_noted() {
    findings(
        INSIDE,
        "address = \"10.1.0.1:5060\"\nidle_timeout = \"60s\"\ntrust = \"/r.pem\"\n",
        &[
            "`idle_timeout` means nothing to a listener without connections",
            "`trust` means nothing to a listener without TLS",
            "cannot read /r.pem",
        ],
    );
    findings(
        "media = \"inside\"\n\n",
        "media = \"inside\"\ntls_names = [\"a.example\"]\n\n",
        &["`tls_names` means nothing to a trunk without a TLS listener"],
    );
    findings(
        INSIDE,
        "address = \"10.1.0.1:5060\"\ntransport = \"tls\"\nkey = \"/k.pem\"\n",
        &[
            "`certificate` is missing beside it",
            "no listener of the trunk speaks IPv4",
        ],
    );
    findings(
        INSIDE,
        "address = \"10.1.0.1:5060\"\nadvertised = \"2001:db8::1\"\n",
        &["2001:db8::1 is of another family than the address"],
    );
    findings(
        "media = \"inside\"\n\n",
        "media = \"inside\"\ntransport = \"tcp\"\n\n",
        &[
            "no listener of the trunk speaks TCP over IPv4",
            "no listener of the trunk speaks TCP over IPv6",
        ],
    );
}

#[test]
fn each_media_address_has_its_own_outer_one() {
    let addresses = "addresses = [\"10.1.0.1\", \"fd01::1\"]\n";
    let with = |advertised: &str| format!("{addresses}advertised = [{advertised}]\n");
    let right = "\"203.0.113.1\", \"2001:db8::1\"";
    let checked = check_text(&changed(addresses, &with(right)), Some(&host()));
    let report = checked.report.to_string();
    let control = checked.config.unwrap_or_else(|| panic!("{report}")).control;
    let group = &control.media_groups[0];
    let said = group.announced("10.1.0.1".parse().expect("an address"));
    assert_eq!(
        said,
        "203.0.113.1"
            .parse::<std::net::IpAddr>()
            .expect("an address")
    );
    for wrong in ["\"203.0.113.1\"", "\"2001:db8::1\", \"203.0.113.1\""] {
        findings(
            addresses,
            &with(wrong),
            &["`advertised` does not fit `addresses`"],
        );
    }
}

#[test]
fn udp_and_tcp_have_ports_of_their_own() {
    let second = |transport: &str| {
        format!(
            "{INSIDE}\n[[listener]]\nname = \"second\"\naddress = \"10.1.0.1:5060\"\n\
             transport = \"{transport}\"\n"
        )
    };
    findings(INSIDE, &second("tcp"), &[]);
    let twice = "two [[listener]] have the address 10.1.0.1:5060";
    findings(INSIDE, &second("udp"), &[twice]);
}
