//! The second door: where rtpengine's control protocol is listened for, and what its calls go by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{MediaGroup, MediaGroupId, Network};

/// The second door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ng {
    /// Its sockets; none: the door is shut.
    pub listeners: Vec<ControlListener>,
    /// Which media serve when a client names no `direction`; `None`: the first group.
    pub media: Option<MediaGroupId>,
    /// What clients call media in `direction`, besides their own names.
    pub interfaces: Vec<Interface>,
    /// How long a call stays after it was deleted, for what is still under way.
    pub delete_delay: Duration,
    /// How long a call may stay without media on any of its streams; `None`: for ever.
    pub media_timeout: Option<Duration>,
    /// The same for a call whose media are all held or silenced.
    pub silent_timeout: Option<Duration>,
    /// How long an offer may wait for its call's first answer; `None`: for ever.
    pub offer_timeout: Option<Duration>,
    /// How long a call may stay at all; `None`: for ever.
    pub final_timeout: Option<Duration>,
    /// Whether calls can be recorded: it is said where to.
    pub recording: bool,
    /// Whether media can be forwarded: it is said where to.
    pub forwarding: bool,
    /// Whether files can be played: it is said from where. What comes with the request always can.
    pub playing: bool,
}

impl Default for Ng {
    /// Without listeners; the times are rtpengine's.
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            media: None,
            interfaces: Vec::new(),
            delete_delay: Duration::from_secs(30),
            media_timeout: Some(Duration::from_secs(60)),
            silent_timeout: Some(Duration::from_secs(3600)),
            offer_timeout: Some(Duration::from_secs(3600)),
            final_timeout: None,
            recording: false,
            forwarding: false,
            playing: false,
        }
    }
}

impl Ng {
    /// The media that a client means by an interface's name: what the settings say, or a group of that name.
    pub fn interface(&self, name: &[u8], groups: &[MediaGroup]) -> Option<MediaGroupId> {
        let mut mapped = self.interfaces.iter();
        if let Some(found) = mapped.find(|interface| interface.name.as_bytes() == name) {
            return Some(found.media);
        }
        let index = groups
            .iter()
            .position(|group| group.name.as_bytes() == name)?;
        u16::try_from(index).ok().map(MediaGroupId)
    }
}

/// A name that clients use in `direction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name, as rtpengine's `--interface` had it.
    pub name: String,
    /// What it means here.
    pub media: MediaGroupId,
}

/// What carries requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlTransport {
    /// Datagrams.
    #[default]
    Udp,
    /// Streams of messages.
    Tcp,
    /// POST requests and WebSockets.
    Http,
}

impl ControlTransport {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }

    /// Whether it has connections.
    pub const fn has_connections(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

impl fmt::Display for ControlTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A socket of the second door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlListener {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is bound; the unspecified address: at all of the host's.
    pub address: SocketAddr,
    /// What carries its requests.
    pub transport: ControlTransport,
    /// Who may ask. Nobody else gets an answer.
    pub allow: Vec<Network>,
    /// Connections at a time. One more is closed at once.
    pub connections: usize,
    /// How long a connection may be silent before it is closed.
    pub idle: Duration,
    /// Bytes of the largest request that is taken.
    pub largest_request: usize,
}

impl ControlListener {
    /// A listener with defaults for everything that is not said here: only this host may ask.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            transport: ControlTransport::Udp,
            allow: vec![
                Network::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
                Network::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
            connections: 256,
            idle: Duration::from_secs(600),
            // What one datagram can hold, over any transport: session descriptions are far smaller.
            largest_request: 65_535,
        }
    }

    /// The same over another transport.
    #[must_use]
    pub fn over(mut self, transport: ControlTransport) -> Self {
        self.transport = transport;
        self
    }

    /// Whether this address may ask.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::DeviceId;

    #[test]
    fn only_this_host_may_ask_unless_told() {
        let listener = ControlListener::new("ng", SocketAddr::from(([0, 0, 0, 0], 2223)));
        for (address, admitted) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::1", true),
            ("10.0.0.1", false),
            ("2001:db8::1", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(listener.admits(address), admitted, "{address}");
        }
    }

    #[test]
    fn an_interface_is_what_the_settings_say_or_else_a_media_group() {
        let group = |name: &str| MediaGroup::new(name, DeviceId(0), [], (2, 3));
        let groups = [group("core"), group("edge")];
        let ng = Ng {
            interfaces: vec![Interface {
                name: "core".to_owned(),
                media: MediaGroupId(1),
            }],
            ..Ng::default()
        };
        assert_eq!(ng.interface(b"core", &groups), Some(MediaGroupId(1)));
        assert_eq!(ng.interface(b"edge", &groups), Some(MediaGroupId(1)));
        assert_eq!(ng.interface(b"other", &groups), None);
        assert_eq!(
            Ng::default().interface(b"core", &groups),
            Some(MediaGroupId(0))
        );
    }
}
