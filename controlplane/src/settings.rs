//! What the control plane is told at its start, already checked: the configuration file's meaning
//! without its syntax. Plain data; the binary's `config` makes it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{DeviceId, DscpMarking, LatchPolicy};

mod normalisation;
mod routes;

pub use normalisation::{
    CallerId, CauseRules, CodecName, CodecRules, Diversion, HeaderReplacement, HeaderRules,
    Identity, Normalisation, Pattern, Rules, SayCause, Trust, UserRule,
};
pub use routes::{Choice, Route, RouteTo};

use crate::resolver::{self, Destination};

mod authentication;
mod dialog;
mod explain;
mod ng;
mod service;
mod transfer;
mod transport;

pub use authentication::{Challenge, Registration, Scope};
pub use dialog::{
    DialogPolicy, EarlyMedia, Refresher, ReliableProvisional, SessionTimer, TimerMode,
};
pub use explain::Explain;
pub use ng::{ControlListener, ControlTransport, Interface, Ng};
pub use service::{Capacity, Check, Failover, Network, Overload, Rate, TrunkLimits};
pub use transfer::{Redirect, Refer, Takeover, TransferPolicy};
pub use transport::{
    ClientCertificates, ConnectionLimits, KeyPair, ListenerTls, Transport, TrunkTls,
};

pub use crate::digest::{Login, Secret, User};

/// A SIP listener: its index in [`Settings::listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// A media group: its index in [`Settings::media_groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaGroupId(pub u16);

/// A trunk: its index in [`Settings::trunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkId(pub u16);

/// Everything that the control plane is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The product token of the `Server` and `User-Agent` headers.
    pub server_name: String,
    /// Where SIP is listened for.
    pub listeners: Vec<Listener>,
    /// The media addresses, by group.
    pub media_groups: Vec<MediaGroup>,
    /// The neighbours in SIP.
    pub trunks: Vec<Trunk>,
    /// Tried in order; the first whose conditions hold decides.
    pub routes: Vec<Route>,
    /// RFC 3261 §17.1.1.1.
    pub timers: SipTimers,
    /// Bounds on what the control plane holds.
    pub limits: Limits,
    /// How long a call may stay without any media on a stream that should carry some, before it is
    /// ended; `None`: never.
    pub media_timeout: Option<Duration>,
    /// How long a port rests after its flow is removed, so that a new call cannot inherit stale media.
    pub port_rest: Duration,
    /// RFC 3261 timer C: how long an INVITE may ring before it is cancelled and answered with 408.
    pub no_answer: Duration,
    /// How long a drain leaves to the calls that are up.
    pub drain_timeout: Duration,
    /// How much is kept of what calls did.
    pub explain: Explain,
    /// Whether every SIP message is said again as [`crate::agent::Output::Mirror`], for a collector.
    pub mirror: bool,
    /// Bounds on what goes through, in all.
    pub capacity: Capacity,
    /// Who is not listened to at all.
    pub deny: Vec<Network>,
    /// What is done against more signalling than can be handled.
    pub overload: Overload,
    /// How names are resolved.
    pub dns: resolver::Config,
    /// The second door.
    pub ng: Ng,
}

/// Why settings cannot take the place of others in a running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlike {
    /// Sockets were opened from the former.
    #[error("the listeners are not those that are open")]
    Listeners,
    /// Sockets of the second door were opened from the former.
    #[error("the control listeners are not those that are open")]
    ControlListeners,
    /// Ports were made from the former.
    #[error("the media groups are not those that the ports belong to")]
    MediaGroups,
    /// Calls know their trunks by their numbers.
    #[error("the trunks do not keep their numbers")]
    Trunks,
}

impl Settings {
    /// Whether these settings can take the place of `former`: the same listeners and media groups, and each trunk at its
    /// place, be it as a retired one.
    ///
    /// # Errors
    /// What is unlike.
    pub fn check_successor_of(&self, former: &Self) -> Result<(), Unlike> {
        if self.listeners != former.listeners {
            return Err(Unlike::Listeners);
        }
        if self.ng.listeners != former.ng.listeners {
            return Err(Unlike::ControlListeners);
        }
        if self.media_groups != former.media_groups {
            return Err(Unlike::MediaGroups);
        }
        let mut trunks = former.trunks.iter().zip(&self.trunks);
        let kept = trunks.all(|(former, trunk)| former.name == trunk.name);
        match kept && self.trunks.len() >= former.trunks.len() {
            true => Ok(()),
            false => Err(Unlike::Trunks),
        }
    }
}

impl Settings {
    /// The listeners with their names for the machine.
    pub fn numbered_listeners(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        (0_u16..).map(ListenerId).zip(&self.listeners)
    }
}

impl Default for Settings {
    /// Without listeners, media, trunks and routes; the rest as the configuration's defaults.
    fn default() -> Self {
        Self {
            server_name: "tandem".to_owned(),
            listeners: Vec::new(),
            media_groups: Vec::new(),
            trunks: Vec::new(),
            routes: Vec::new(),
            timers: SipTimers::default(),
            limits: Limits::default(),
            media_timeout: Some(Duration::from_secs(60)),
            port_rest: Duration::from_secs(30),
            no_answer: Duration::from_secs(180),
            drain_timeout: Duration::from_secs(30),
            explain: Explain::default(),
            mirror: false,
            capacity: Capacity::default(),
            deny: Vec::new(),
            overload: Overload::default(),
            dns: resolver::Config::default(),
            ng: Ng::default(),
        }
    }
}

/// One SIP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is bound.
    pub address: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
    /// The address that others know it by, behind a NAT; port 0: that of `address`.
    pub advertised: Option<SocketAddr>,
    /// Bounds on its connections, if it has some.
    pub connections: ConnectionLimits,
    /// What it shows and believes. Always there when the transport is TLS.
    pub tls: Option<ListenerTls>,
}

impl Listener {
    /// A listener with defaults for everything that is not said here.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            transport: Transport::Udp,
            advertised: None,
            connections: ConnectionLimits::default(),
            tls: None,
        }
    }

    /// The same over another transport.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// What it says of itself in Via and Contact.
    pub fn announced(&self) -> SocketAddr {
        transport::announced(self.address, self.advertised)
    }
}

/// Media addresses that can stand for each other: what a trunk's media uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaGroup {
    /// Its name in the configuration.
    pub name: String,
    /// The device that the addresses are reached through.
    pub device: DeviceId,
    /// IPv4 and IPv6 addresses, at least one.
    pub addresses: Vec<IpAddr>,
    /// The address that others know each of `addresses` by, in their order, behind a 1:1 NAT that leaves the
    /// ports alone; what is missing is known by itself.
    pub advertised: Vec<IpAddr>,
    /// First and last port, inclusive; the first even, the last odd.
    pub ports: (u16, u16),
    /// Whom its flows believe.
    pub latch: LatchPolicy,
    /// The marking of what is sent from it.
    pub dscp: DscpMarking,
}

impl MediaGroup {
    /// A group with defaults for everything that is not said here.
    pub fn new(
        name: impl Into<String>,
        device: DeviceId,
        addresses: impl IntoIterator<Item = IpAddr>,
        ports: (u16, u16),
    ) -> Self {
        Self {
            name: name.into(),
            device,
            addresses: addresses.into_iter().collect(),
            advertised: Vec::new(),
            ports,
            latch: LatchPolicy::Learn {
                window: Duration::from_secs(10),
            },
            dscp: DscpMarking::Set(46),
        }
    }

    /// What session descriptions say in the place of one of its addresses.
    pub fn announced(&self, address: IpAddr) -> IpAddr {
        let place = self.addresses.iter().position(|own| *own == address);
        let outer = place.and_then(|place| self.advertised.get(place));
        outer.copied().unwrap_or(address)
    }
}

/// A neighbour in SIP: whom calls come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Its name in the configuration.
    pub name: String,
    /// Requests from these addresses are this trunk's; calls to it go to the first that answers.
    pub peers: Vec<Peer>,
    /// Requests from these networks are this trunk's, too.
    pub access: Vec<Network>,
    /// Peers that are known by name.
    pub names: Vec<NamedPeer>,
    /// The listeners that talk to it, at least one for each address family of its peers.
    pub listeners: Vec<ListenerId>,
    /// The addresses that its media uses.
    pub media: MediaGroupId,
    /// What TLS connections with it show and believe.
    pub tls: TrunkTls,
    /// How its messages differ from ours.
    pub normalisation: Normalisation,
    /// It is in the configuration no more. Calls that are up still know it by its number: it keeps its place,
    /// has no peers, and takes no calls.
    pub retired: bool,
    /// How its peers are known to be up or down.
    pub check: Check,
    /// When a call to it goes on to the next target.
    pub failover: Failover,
    /// What may go through it.
    pub limits: TrunkLimits,
    /// What its dialogs may use.
    pub dialog: DialogPolicy,
    /// The host that it is addressed by; `None`: the peer's address.
    pub domain: Option<String>,
    /// Where calls to it, and registrations, are sent instead of to the peers.
    pub proxy: Option<Server>,
    /// Who we are to it, by realm. None: what it asks for is passed to the caller.
    pub logins: Vec<Login>,
    /// What its own callers are asked for.
    pub challenge: Option<Challenge>,
    /// What we register there.
    pub registrations: Vec<Registration>,
    /// What it may do with calls besides taking them.
    pub transfer: TransferPolicy,
}

impl Trunk {
    /// A trunk with defaults for everything that is not said here: its peers are tried in order.
    pub fn new(
        name: impl Into<String>,
        peers: impl IntoIterator<Item = SocketAddr>,
        listeners: impl IntoIterator<Item = ListenerId>,
        media: MediaGroupId,
    ) -> Self {
        Self {
            name: name.into(),
            peers: (1..)
                .zip(peers)
                .map(|(priority, address)| Peer {
                    priority,
                    ..Peer::from(address)
                })
                .collect(),
            access: Vec::new(),
            names: Vec::new(),
            listeners: listeners.into_iter().collect(),
            media,
            tls: TrunkTls::default(),
            check: Check::default(),
            failover: Failover::default(),
            limits: TrunkLimits::default(),
            normalisation: Normalisation::default(),
            retired: false,
            dialog: DialogPolicy::default(),
            domain: None,
            proxy: None,
            logins: Vec::new(),
            challenge: None,
            registrations: Vec::new(),
            transfer: TransferPolicy::default(),
        }
    }

    /// The addresses that are known to be its own: its peers', and its proxy's.
    pub fn addresses(&self) -> impl Iterator<Item = Peer> {
        let proxy = self.proxy.as_ref().and_then(Server::address);
        self.peers.iter().copied().chain(proxy)
    }

    /// The addresses that we send to on its behalf: those, and its registrars'.
    pub fn called(&self) -> impl Iterator<Item = Peer> {
        let registrars = self.registrations.iter();
        let registrars = registrars.filter_map(|one| one.registrar.as_ref()?.address());
        self.addresses().chain(registrars)
    }

    /// What is left of a trunk that the configuration has no more.
    pub fn retired(name: impl Into<String>) -> Self {
        Self {
            retired: true,
            ..Self::new(name, [], [], MediaGroupId(0))
        }
    }
}

/// One of a trunk's machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is. Port 0: it may send from any port, and is called at its transport's default port.
    pub address: SocketAddr,
    /// What calls to it go over.
    pub transport: Transport,
    /// Peers with a lower one are called before those with a higher one.
    pub priority: u16,
    /// Its share among the peers of its priority; one with 0 is called after those with more.
    pub weight: u16,
}

impl From<SocketAddr> for Peer {
    /// Of the first priority, with the usual weight.
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            transport: Transport::Udp,
            priority: 1,
            weight: 1,
        }
    }
}

/// A peer, or several, that are known by a name which the DNS resolves (RFC 3263). Requests from any address
/// of it, and from any port, are the trunk's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPeer {
    /// The name.
    pub destination: Destination,
    /// Peers with a lower one are called before those with a higher one.
    pub priority: u16,
    /// Its share among the peers of its priority; one with 0 is called after those with more. Among the servers
    /// of the name the DNS decides.
    pub weight: u16,
}

/// Where a proxy or registrar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// At an address.
    Address(Peer),
    /// Where the DNS says (RFC 3263).
    Name(Destination),
}

impl Server {
    /// Its address, unless that is the DNS's to say.
    pub const fn address(&self) -> Option<Peer> {
        match self {
            Self::Address(peer) => Some(*peer),
            Self::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address.into())
    }
}

/// The base timers of RFC 3261 §17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipTimers {
    /// Round-trip estimate, 500 ms by default.
    pub t1: Duration,
    /// The longest interval between retransmissions, 4 s by default.
    pub t2: Duration,
    /// How long a message stays in the network, 5 s by default.
    pub t4: Duration,
}

impl Default for SipTimers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

/// Bounds on what the control plane holds. At a bound a new call is refused with 503 and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls at a time.
    pub calls: usize,
    /// SIP transactions at a time.
    pub transactions: usize,
    /// Media streams in one session description.
    pub streams: usize,
    /// Early dialogs of one INVITE (forking downstream).
    pub forks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 10_000,
            transactions: 80_000,
            streams: 8,
            forks: 8,
        }
    }
}
