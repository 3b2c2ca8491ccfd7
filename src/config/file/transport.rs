//! `[[listener]]`, and what `[[trunk]]` says of transports: what carries SIP, and what TLS shows and believes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use controlplane::settings::{ClientCertificates, ConnectionLimits, Transport};

use crate::config::kind;
use crate::config::section::{Located, Section};

const TRANSPORTS: &[(&str, Transport)] = &[
    ("udp", Transport::Udp),
    ("tcp", Transport::Tcp),
    ("tls", Transport::Tls),
];

/// `[[listener]]`: a SIP socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Option<Located<String>>,
    pub(crate) address: Option<Located<SocketAddr>>,
    pub(crate) transport: Transport,
    /// Port 0: that of the address.
    pub(crate) advertised: Option<Located<SocketAddr>>,
    pub(crate) files: Files,
    pub(crate) client_certificates: Option<Located<ClientCertificates>>,
    pub(crate) max_connections: Option<Located<u64>>,
    pub(crate) max_connections_per_peer: Option<Located<u64>>,
    pub(crate) idle_timeout: Option<Located<Duration>>,
    pub(crate) keep_alive: Option<Located<Option<Duration>>>,
}

/// The PEM files of a listener or a trunk.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) certificate: Option<Located<PathBuf>>,
    pub(crate) key: Option<Located<PathBuf>>,
    pub(crate) trust: Option<Located<PathBuf>>,
}

/// What `[[trunk]]` says of transports.
#[derive(Debug)]
pub(crate) struct TrunkTransport {
    /// `None`: that of its first listener, UDP before the others.
    pub(crate) transport: Option<Located<Transport>>,
    pub(crate) files: Files,
    pub(crate) tls_names: Vec<Located<String>>,
}

impl Listener {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        const CLIENTS: &[(&str, ClientCertificates)] = &[
            ("off", ClientCertificates::Off),
            ("optional", ClientCertificates::Optional),
            ("required", ClientCertificates::Required),
        ];
        let bound = kind::number(1, 100_000);
        let idle = kind::duration(Duration::from_secs(32), Duration::from_secs(86_400));
        let alive = kind::duration_or_off(Duration::from_secs(1), Duration::from_secs(3600));
        Self {
            name: section.required("name", &kind::name()),
            address: section.required("address", &kind::listen_address()),
            transport: section.or_default("transport", &kind::word(TRANSPORTS), Transport::Udp),
            advertised: section.optional("advertised", &kind::advertised_address()),
            files: Files::read(section),
            client_certificates: section.optional("client_certificates", &kind::word(CLIENTS)),
            max_connections: section.optional("max_connections", &bound),
            max_connections_per_peer: section.optional("max_connections_per_peer", &bound),
            idle_timeout: section.optional("idle_timeout", &idle),
            keep_alive: section.optional("keep_alive", &alive),
        }
    }

    /// The bounds on its connections.
    pub(crate) fn connections(&self) -> ConnectionLimits {
        let default = ConnectionLimits::default();
        let count = |number: &Option<Located<u64>>, default: usize| {
            let number = number.as_ref().map(|number| number.value);
            number.map_or(default, |number| usize::try_from(number).unwrap_or(default))
        };
        ConnectionLimits {
            connections: count(&self.max_connections, default.connections),
            from_one_address: count(&self.max_connections_per_peer, default.from_one_address),
            idle: self
                .idle_timeout
                .as_ref()
                .map_or(default.idle, |idle| idle.value),
            keep_alive: self
                .keep_alive
                .as_ref()
                .map_or(default.keep_alive, |alive| alive.value),
        }
    }
}

impl Files {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            certificate: section.optional("certificate", &kind::file_path()),
            key: section.optional("key", &kind::file_path()),
            trust: section.optional("trust", &kind::file_path()),
        }
    }
}

impl TrunkTransport {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            transport: section.optional("transport", &kind::word(TRANSPORTS)),
            files: Files::read(section),
            tls_names: section.optional_list("tls_names", &kind::host_name()),
        }
    }
}
