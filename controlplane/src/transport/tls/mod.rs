//! TLS for one listener: what it shows, whom it believes, and who somebody turns out to be. Read from
//! files as a whole, so that a reload either takes place or changes nothing; what is open stays open.
//!
//! rustls with ring: no C library to keep up with, and no socket of its own, so that the loop drives it.

mod names;
mod pem;
#[cfg(test)]
pub(crate) mod test_authority;
mod verify;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::identity::Identity;
use crate::settings::{ClientCertificates, Listener, ListenerId, Trunk, TrunkId};
use verify::{ClientJudge, ServerJudge, TrunkJudge, Trust};

pub use pem::{PemError, read_pair, read_trust};

/// What the configuration lacks for a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// Nobody vouches for whom we connect to.
    #[error("no roots are configured that could vouch for {0}")]
    NoTrust(SocketAddr),
    /// rustls does not begin.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// What a listener shows and believes.
#[derive(Debug)]
pub struct Tls {
    server: Arc<ServerConfig>,
    /// For addresses of no trunk.
    anybody: Arc<ClientConfig>,
    trunks: Vec<TrunkTls>,
    trust: Option<Trust>,
}

/// What connections with one trunk show and believe.
#[derive(Debug)]
struct TrunkTls {
    id: TrunkId,
    name: String,
    /// Its peers and its outbound proxy.
    peers: Vec<SocketAddr>,
    /// Where its peers' names lead.
    located: Vec<SocketAddr>,
    client: Option<Arc<ClientConfig>>,
    names: Vec<String>,
    /// The name that a server is asked for (SNI); `None`: its address.
    asked: Option<ServerName<'static>>,
    /// The trunk's own roots.
    trust: Option<Trust>,
}

fn provider() -> Arc<CryptoProvider> {
    static RING: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&RING)
}

impl Tls {
    /// Reads every file that a TLS listener and its trunks name; `None` if the listener is none of TLS.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(
        id: ListenerId,
        listener: &Listener,
        trunks: &[Trunk],
    ) -> Result<Option<Self>, PemError> {
        let Some(own) = &listener.tls else {
            return Ok(None);
        };
        let identity = read_pair(&own.identity)?;
        let trust = own.trust.as_deref().map(read_trust).transpose()?;
        let trust = trust.map(Trust::new);
        let here = (0..).map(TrunkId).zip(trunks);
        let here = here.filter(|(_, trunk)| trunk.listeners.contains(&id));
        let trunks: Vec<_> = here
            .map(|(id, trunk)| TrunkTls::load(id, trunk, &identity, trust.as_ref()))
            .collect::<Result<_, _>>()?;
        let by_address = trust.clone().map(|trust| TrunkJudge {
            trust,
            names: Vec::new(),
        });
        let by_name = trunks.iter().filter(|trunk| !trunk.names.is_empty());
        let by_name = by_name.filter_map(|trunk| {
            let trust = trunk.trust.clone().or_else(|| trust.clone())?;
            let names = trunk.names.clone();
            Some(TrunkJudge { trust, names })
        });
        let judges = by_address.into_iter().chain(by_name).collect();
        let trusts = trunks.iter().filter_map(|trunk| trunk.trust.clone());
        let trusts: Vec<_> = trust.iter().cloned().chain(trusts).collect();
        Ok(Some(Self {
            server: server_config(own.clients, trusts, Arc::clone(&identity)),
            anybody: client_config(judges, identity),
            trunks,
            trust,
        }))
    }

    /// The names of a trunk's peers lead to these addresses now.
    pub(super) fn locate(&mut self, trunk: TrunkId, addresses: &[SocketAddr]) {
        if let Some(known) = self.trunks.iter_mut().find(|known| known.id == trunk) {
            known.located = addresses.to_vec();
        }
    }

    /// TLS for a connection that has been accepted.
    pub(super) fn accept(&self) -> Result<Connection, TlsError> {
        let connection = ServerConnection::new(Arc::clone(&self.server))?;
        Ok(connection.into())
    }

    /// TLS for a connection that we open.
    pub(super) fn connect(&self, remote: SocketAddr) -> Result<Connection, TlsError> {
        let trunk = self.trunk_at(remote);
        let client = match trunk {
            Some(trunk) => trunk.client.as_ref(),
            None => Some(&self.anybody),
        };
        let client = client.ok_or(TlsError::NoTrust(remote))?;
        let address = || ServerName::IpAddress(remote.ip().into());
        let asked = trunk.and_then(|trunk| trunk.asked.clone());
        let connection = ClientConnection::new(Arc::clone(client), asked.unwrap_or_else(address))?;
        Ok(connection.into())
    }

    /// Who has shown this chain in a handshake that succeeded.
    pub(super) fn identify(&self, chain: &[CertificateDer<'_>]) -> Option<Identity> {
        let (certificate, intermediates) = chain.split_first()?;
        let now = UnixTime::now();
        let vouches = |trust: &Trust| trust.vouches(certificate, intermediates, now).is_ok();
        let by_trunks = self
            .trunks
            .iter()
            .filter(|trunk| trunk.trust.as_ref().is_some_and(vouches))
            .map(|trunk| trunk.name.clone())
            .collect();
        Some(Identity {
            names: names::names_of(certificate),
            by_listener: self.trust.as_ref().is_some_and(vouches),
            by_trunks,
        })
    }

    /// Whether this is who must be at the address for us to connect there.
    pub(super) fn believes(&self, remote: SocketAddr, identity: &Identity) -> bool {
        let Some(trunk) = self.trunk_at(remote) else {
            return false;
        };
        let vouched = identity.is_vouched_for(&trunk.name, trunk.trust.is_some());
        let mut names = trunk.names.iter();
        let named = match trunk.names.is_empty() {
            true => identity.has(&remote.ip().to_string()),
            false => names.any(|name| identity.has(name)),
        };
        vouched && named
    }

    fn trunk_at(&self, remote: SocketAddr) -> Option<&TrunkTls> {
        let holding = |is_it: &dyn Fn(SocketAddr) -> bool| {
            let mut trunks = self.trunks.iter();
            trunks.find(|trunk| {
                let mut known = trunk.peers.iter().chain(&trunk.located);
                known.any(|&peer| is_it(peer))
            })
        };
        holding(&|peer| peer == remote).or_else(|| holding(&|peer| peer.ip() == remote.ip()))
    }
}

impl TrunkTls {
    fn load(
        id: TrunkId,
        trunk: &Trunk,
        of_listener: &Arc<CertifiedKey>,
        trusted: Option<&Trust>,
    ) -> Result<Self, PemError> {
        let own = trunk.tls.trust.as_deref().map(read_trust).transpose()?;
        let own = own.map(Trust::new);
        let identity = match &trunk.tls.identity {
            Some(pair) => read_pair(pair)?,
            None => Arc::clone(of_listener),
        };
        let trust = own.as_ref().or(trusted).cloned();
        let names = trunk.tls.names.clone();
        let expected = expected_of(trunk);
        let first = expected.first().cloned();
        Ok(Self {
            id,
            name: trunk.name.clone(),
            peers: trunk.called().map(|peer| peer.address).collect(),
            located: Vec::new(),
            client: trust.map(|trust| {
                let names = expected;
                client_config(vec![TrunkJudge { trust, names }], identity)
            }),
            names,
            asked: first.and_then(|name| ServerName::try_from(name).ok()),
            trust: own,
        })
    }
}

/// Whom the certificate of a trunk that we connect to must name: its TLS names, else the names that it is called by (RFC 5922 §4);
/// none: its address. Where some of its peers are addresses those of names must show the same.
fn expected_of(trunk: &Trunk) -> Vec<String> {
    if !trunk.tls.names.is_empty() || !trunk.peers.is_empty() || trunk.proxy.is_some() {
        return trunk.tls.names.clone();
    }
    let names = trunk.names.iter();
    names
        .map(|peer| peer.destination.host.as_str().to_owned())
        .collect()
}

fn server_config(
    clients: ClientCertificates,
    trusts: Vec<Trust>,
    identity: Arc<CertifiedKey>,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3");
    let judge = |mandatory| Arc::new(ClientJudge { trusts, mandatory });
    let builder = match clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Optional => builder.with_client_cert_verifier(judge(false)),
        ClientCertificates::Required => builder.with_client_cert_verifier(judge(true)),
    };
    let shown: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(identity));
    Arc::new(builder.with_cert_resolver(shown))
}

fn client_config(judges: Vec<TrunkJudge>, identity: Arc<CertifiedKey>) -> Arc<ClientConfig> {
    let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(identity));
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerJudge { judges }))
        .with_client_cert_resolver(shown);
    Arc::new(config)
}
