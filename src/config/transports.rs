//! What listeners and trunks say of transports: what clashes, what is missing, and what it means.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use controlplane::settings as control;
use controlplane::settings::{ClientCertificates, Transport};
use controlplane::transport::tls::{PemError, read_pair, read_trust};

use super::diagnostic::Diagnostic;
use super::file::{File, Files, Listener, Media, Trunk};
use super::section::Located;

/// Notes keys that mean nothing to a listener's transport, and those that it lacks.
pub(crate) fn check(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    for listener in &file.listeners {
        check_listener(listener, diagnostics);
    }
    for trunk in &file.trunks {
        check_trunk(file, trunk, diagnostics);
    }
    for media in &file.media {
        check_media(media, diagnostics);
    }
}

/// Each advertised address stands for the address at the same place.
fn check_media(media: &Media, diagnostics: &mut Vec<Diagnostic>) {
    let alike = |(address, advertised): (&Located<IpAddr>, &Located<IpAddr>)| {
        address.value.is_ipv4() == advertised.value.is_ipv4()
    };
    let pairs = media.addresses.iter().zip(&media.advertised);
    let fit = media.addresses.len() == media.advertised.len() && pairs.into_iter().all(alike);
    if let Some(first) = media.advertised.first().filter(|_| !fit) {
        let message = "`advertised` does not fit `addresses`";
        let expected = "for each of the addresses one of its family, in the same order";
        diagnostics.push(Diagnostic::error(first.span.clone(), message, expected));
    }
}

fn check_listener(listener: &Listener, diagnostics: &mut Vec<Diagnostic>) {
    let files = &listener.files;
    if listener.transport != Transport::Tls {
        let keys = [
            ("certificate", span(files.certificate.as_ref())),
            ("key", span(files.key.as_ref())),
            ("trust", span(files.trust.as_ref())),
            (
                "client_certificates",
                span(listener.client_certificates.as_ref()),
            ),
        ];
        let expected = "transport = \"tls\", or no such key";
        note_all(keys, "a listener without TLS", expected, diagnostics);
    } else {
        check_pair(files, diagnostics);
        if let (None, Some(name)) = (&files.certificate, &listener.name)
            && files.key.is_none()
        {
            let message = format!(
                "listener \"{}\" speaks TLS and has no certificate",
                name.value
            );
            let expected = "`certificate` and `key`: PEM files";
            diagnostics.push(Diagnostic::error(name.span.clone(), message, expected));
        }
    }
    if !listener.transport.is_reliable() {
        let keys = [
            ("max_connections", span(listener.max_connections.as_ref())),
            (
                "max_connections_per_peer",
                span(listener.max_connections_per_peer.as_ref()),
            ),
            ("idle_timeout", span(listener.idle_timeout.as_ref())),
            ("keep_alive", span(listener.keep_alive.as_ref())),
        ];
        let expected = "transport = \"tcp\" or \"tls\", or no such key";
        note_all(
            keys,
            "a listener without connections",
            expected,
            diagnostics,
        );
    }
    if let (Some(address), Some(advertised)) = (&listener.address, &listener.advertised)
        && address.value.is_ipv4() != advertised.value.is_ipv4()
    {
        let message = format!(
            "{} is of another family than the address",
            advertised.value.ip()
        );
        let expected = "the address that a 1:1 NAT gives to this one";
        diagnostics.push(Diagnostic::error(
            advertised.span.clone(),
            message,
            expected,
        ));
    }
}

fn check_trunk(file: &File, trunk: &Trunk, diagnostics: &mut Vec<Diagnostic>) {
    let files = &trunk.transport.files;
    let over_tls: Vec<_> = listeners_of(file, trunk)
        .filter(|listener| listener.transport == Transport::Tls)
        .collect();
    if over_tls.is_empty() {
        let names = trunk.transport.tls_names.first();
        let keys = [
            ("certificate", span(files.certificate.as_ref())),
            ("key", span(files.key.as_ref())),
            ("trust", span(files.trust.as_ref())),
            ("tls_names", span(names)),
        ];
        let expected = "a [[listener]] with transport = \"tls\" among its `listeners`";
        note_all(
            keys,
            "a trunk without a TLS listener",
            expected,
            diagnostics,
        );
        return;
    }
    check_pair(files, diagnostics);
    let trusting = |listener: &&Listener| listener.files.trust.is_some();
    let trusts = files.trust.is_some() || over_tls.iter().all(trusting);
    if !trusts
        && speaks(file, trunk) == Transport::Tls
        && let Some(name) = &trunk.name
    {
        let message = format!(
            "nobody vouches for the certificates of trunk \"{}\"",
            name.value
        );
        let expected = "`trust`, a PEM file of roots, in the trunk or in its TLS listeners";
        diagnostics.push(Diagnostic::error(name.span.clone(), message, expected));
    }
    let asks = |listener: &&Listener| {
        let clients = listener.client_certificates.as_ref();
        clients.is_some_and(|clients| clients.value != ClientCertificates::Off)
    };
    if let Some(first) = trunk.transport.tls_names.first()
        && !over_tls.iter().any(asks)
    {
        let message =
            "none of the trunk's TLS listeners asks for a certificate: no request is the trunk's";
        let expected =
            "client_certificates = \"required\" or \"optional\" in a [[listener]] of the trunk";
        diagnostics.push(Diagnostic::warning(first.span.clone(), message, expected));
    }
}

fn check_pair(files: &Files, diagnostics: &mut Vec<Diagnostic>) {
    let (have, lack) = match (&files.certificate, &files.key) {
        (Some(certificate), None) => (certificate, "key"),
        (None, Some(key)) => (key, "certificate"),
        _ => return,
    };
    let message = format!("`{lack}` is missing beside it");
    let expected = "`certificate` and `key`, or neither";
    diagnostics.push(Diagnostic::error(have.span.clone(), message, expected));
}

/// Notes what is wrong with the PEM files, which are this machine's.
pub(crate) fn check_files(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    let listeners = file.listeners.iter().map(|listener| &listener.files);
    let trunks = file.trunks.iter().map(|trunk| &trunk.transport.files);
    for files in listeners.chain(trunks) {
        if let Some(pair) = files.pair()
            && let Err(error) = read_pair(&pair)
        {
            let place = [&files.certificate, &files.key].into_iter().flatten();
            note_pem(&error, place, diagnostics);
        }
        if let Some(trust) = &files.trust
            && let Err(error) = read_trust(&trust.value)
        {
            note_pem(&error, std::iter::once(trust), diagnostics);
        }
    }
}

fn note_pem<'f>(
    error: &PemError,
    mut places: impl Iterator<Item = &'f Located<std::path::PathBuf>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let expected = match error {
        PemError::Unreadable { .. } => "a file that tandem can read",
        PemError::Malformed { .. } => "a PEM file (`openssl x509 -in FILE -noout` tells more)",
        PemError::Without { .. } => {
            "a certificate and its chain, or a private key in PKCS #8, PKCS #1 or SEC 1"
        }
        PemError::Mismatched { .. } => "the key that the certificate was made for",
    };
    if let Some(place) = places.find(|place| place.value == error.path()) {
        diagnostics.push(Diagnostic::error(
            place.span.clone(),
            error.to_string(),
            expected,
        ));
    }
}

impl Files {
    fn pair(&self) -> Option<control::KeyPair> {
        Some(control::KeyPair {
            certificate: self.certificate.as_ref()?.value.clone(),
            key: self.key.as_ref()?.value.clone(),
        })
    }

    fn trust(&self) -> Option<std::path::PathBuf> {
        self.trust.as_ref().map(|trust| trust.value.clone())
    }
}

/// What the control plane is told of a listener; `None` if it has no address.
pub(crate) fn listener(listener: &Listener) -> Option<control::Listener> {
    let name = listener.name.as_ref().map(|name| name.value.clone());
    let address = listener.address.as_ref()?.value;
    let identity = listener.files.pair();
    let tls = identity.filter(|_| listener.transport == Transport::Tls);
    Some(control::Listener {
        transport: listener.transport,
        advertised: listener.advertised.as_ref().map(|to| to.value),
        connections: listener.connections(),
        tls: tls.map(|identity| control::ListenerTls {
            identity,
            trust: listener.files.trust(),
            clients: listener
                .client_certificates
                .as_ref()
                .map_or(ClientCertificates::Off, |clients| clients.value),
        }),
        ..control::Listener::new(name.unwrap_or_default(), address)
    })
}

/// What the control plane is told of a trunk's TLS.
pub(crate) fn trunk_tls(trunk: &Trunk) -> control::TrunkTls {
    let names = trunk.transport.tls_names.iter();
    control::TrunkTls {
        trust: trunk.transport.files.trust(),
        identity: trunk.transport.files.pair(),
        names: names.map(|name| name.value.to_ascii_lowercase()).collect(),
    }
}

/// What calls to a trunk go over: what it says, or UDP if it has such a listener, or what its first listener
/// speaks.
pub(crate) fn speaks(file: &File, trunk: &Trunk) -> Transport {
    if let Some(transport) = &trunk.transport.transport {
        return transport.value;
    }
    let spoken: Vec<_> = listeners_of(file, trunk)
        .map(|listener| listener.transport)
        .collect();
    match spoken.contains(&Transport::Udp) {
        true => Transport::Udp,
        false => spoken.first().copied().unwrap_or_default(),
    }
}

/// Whether a listener reaches a peer over a transport. An address that could not be read has been noted.
pub(crate) fn reaches(listener: &Listener, peer: SocketAddr, transport: Transport) -> bool {
    let same_family = |address: &Located<SocketAddr>| address.value.is_ipv4() == peer.is_ipv4();
    let family = listener.address.as_ref().is_none_or(same_family);
    family && listener.transport == transport
}

fn listeners_of<'f>(file: &'f File, trunk: &'f Trunk) -> impl Iterator<Item = &'f Listener> {
    file.listeners.iter().filter(|listener| {
        let name = listener.name.as_ref().map(|name| &name.value);
        trunk.listeners.iter().any(|used| Some(&used.value) == name)
    })
}

fn span<T>(located: Option<&Located<T>>) -> Option<Range<usize>> {
    located.map(|located| located.span.clone())
}

fn note_all<const N: usize>(
    keys: [(&str, Option<Range<usize>>); N],
    to_whom: &str,
    expected: &str,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (key, span) in keys {
        if let Some(span) = span {
            let message = format!("`{key}` means nothing to {to_whom}");
            diagnostics.push(Diagnostic::error(span, message, expected));
        }
    }
}
